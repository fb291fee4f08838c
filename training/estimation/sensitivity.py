"""How strong an unrecorded factor would have to be to explain a difference away: the E-value.

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
    """The smallest risk ratio, with treatment and outcome, of a factor that explains it away.

    1 where none is needed.
    """

    point: float
    limit: float
    """For the end of the interval nearer zero; 1 where the interval includes zero."""


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
    nearer_end = max(difference.lower, 0.0) if difference.value > 0 else min(difference.upper, 0.0)
    return EValue(
        point=e_value_of_risk_ratio(_risk_ratio(difference.value, deviation)),
        limit=e_value_of_risk_ratio(_risk_ratio(nearer_end, deviation)),
    )


def e_value_of_risk_ratio(ratio: float) -> float:
    """RR + sqrt(RR (RR - 1)), of 1/RR where RR is below 1: VanderWeele & Ding (2017), table 1."""
    away = max(ratio, 1.0 / ratio)
    return away + math.sqrt(away * (away - 1.0))


def e_value_sentence(
    difference: Estimate, deviation: float, compared: str = "were given this support"
) -> str:
    """The sentence to print with a claim: how strong an unrecorded factor would have to be.

    Args:
        difference, deviation: as for `e_value`.
        compared: what the students in the claim did or received, after "the students who".
    """
    strength = e_value(difference, deviation)
    if strength.limit == 1.0:
        return (
            "The interval includes zero, so the difference could be due to chance; no unrecorded"
            " factor is needed to explain it."
        )
    direction = "well" if difference.value > 0 else "badly"
    point, limit = _rounded_down(strength.point), _rounded_down(strength.limit)
    return (
        f"An unrecorded factor would have to be at least {point} times as common among the students"
        f" who {compared} as among the others, and students with it would have to do {direction} at"
        f" least {point} times as often, beyond everything on record, to fully explain this result;"
        f" {limit} times each would be enough to make it uncertain. The records cannot show whether"
        " such a factor exists."
    )


def _risk_ratio(difference: float, deviation: float) -> float:
    return math.exp(RATIO_PER_DEVIATION * difference / deviation)


def _rounded_down(ratio: float) -> str:
    """Two decimals, rounded down, so that no claim looks stronger than it is."""
    return f"{math.floor(ratio * 100) / 100:.2f}"
