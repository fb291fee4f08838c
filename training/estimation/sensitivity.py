"""How strong something that is not on record would have to be to explain a difference away: the
E-value.

Source: VanderWeele & Ding (2017), "Sensitivity analysis in observational research: introducing the
E-value", Annals of Internal Medicine 167(4). A difference of means is read as a risk ratio of about
exp(0.91 d), where d is the difference in standard deviations of the outcome (their table 2, after
Chinn 2000). The E-value says how strong, not how likely.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from training.estimation.policy_value import Estimate

RATIO_PER_DEVIATION = 0.91
"""Logarithm of the risk ratio for a difference of one standard deviation."""


@dataclass(frozen=True)
class EValue:
    """The least risk ratio, with both what was chosen and the outcome, that an unrecorded
    difference between the groups must have to explain the estimate away. 1 where nothing is
    needed.
    """

    point: float
    limit: float
    """The same for the end of the interval that is nearer zero; 1 where the interval holds zero."""


def e_value(difference: Estimate, deviation: float) -> EValue:
    """The E-value of a difference of means.

    Args:
        difference: with its 95% interval, in the outcome's unit.
        deviation: standard deviation of the outcome among the episodes, in the same unit.

    Raises:
        ValueError: the deviation is not above zero, or the difference is not a number.
    """
    if not (math.isfinite(deviation) and deviation > 0):
        raise ValueError(f"the outcome's standard deviation must be above zero; it is {deviation}")
    if not all(map(math.isfinite, (difference.value, difference.lower, difference.upper))):
        raise ValueError(f"the difference and its interval must be numbers; they are {difference}")
    nearer = max(difference.lower, 0.0) if difference.value > 0 else min(difference.upper, 0.0)
    return EValue(
        *(e_value_of_risk_ratio(_risk_ratio(one, deviation)) for one in (difference.value, nearer))
    )


def e_value_of_risk_ratio(ratio: float) -> float:
    """RR + sqrt(RR (RR - 1)), of 1/RR where RR is below 1: VanderWeele & Ding (2017), table 1."""
    away = max(ratio, 1.0 / ratio)
    return away + math.sqrt(away * (away - 1.0))


def e_value_sentence(
    difference: Estimate, deviation: float, compared: str = "were given this support"
) -> str:
    """What to print beside a claim: how strong something not on record would have to be to explain
    it away.

    Args:
        difference, deviation: as for `e_value`.
        compared: what the students whom the claim is about did or were given, after "the students
            who".
    """
    found = e_value(difference, deviation)
    if found.limit == 1.0:
        return (
            "The interval holds zero: this is not told apart from no difference, so nothing that is"
            " missing from the records is needed to explain it away."
        )
    way = "well" if difference.value > 0 else "badly"
    point, limit = _times(found.point), _times(found.limit)
    return (
        f"Something not on record would have to be at least {point} times as common among the"
        f" students who {compared} as among the others, and doing {way} at least {point} times as"
        " common where it is present as where it is not, over and above everything on record, to"
        f" explain this away; {limit} times each would be enough to leave it in doubt. Whether"
        " there is such a thing the records cannot say."
    )


def _risk_ratio(difference: float, deviation: float) -> float:
    return math.exp(RATIO_PER_DEVIATION * difference / deviation)


def _times(ratio: float) -> str:
    """Rounded down, so that no claim looks sturdier than it is."""
    return f"{math.floor(ratio * 100) / 100:.2f}"
