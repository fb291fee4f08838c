"""The gate: figures with errors become pass, fail or cannot tell, and these a verdict on the model.

It refuses to take "not shown to be unfair" for "fair": a pass needs the whole interval within the
policy's limit. That every group passes is sure enough when each does at its own confidence, since a
single unfair group must then pass by chance (Berger 1982, Technometrics 24(4)). That some group
fails would come about by chance where many are compared, so for a failure their number counts (Holm
1979, Scandinavian Journal of Statistics 6(2)).
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import StrEnum

import numpy as np
from scipy.special import stdtr

from fairness.checks.checks import CHECKS
from fairness.checks.policy import Policy, Threshold
from fairness.checks.policy_file import Consequence
from fairness.population.comparisons import GroupComparison


class Verdict(StrEnum):
    PASS = "pass"
    FAIL = "fail"
    CANNOT_TELL = "cannot_tell"


@dataclass(frozen=True)
class ComparisonVerdict:
    """The verdict on one group's comparison.

    Attributes:
        adjusted_p: how likely a gap like this is where there is none, over all comparisons at once
            that count, or over all that do not (Holm's adjusted p value); NaN where nothing was
            compared.
        sufficient_data: whether the group is large enough to be judged at all.
    """

    comparison: GroupComparison
    verdict: Verdict
    adjusted_p: float
    sufficient_data: bool


def assign_verdicts(figures: Sequence[GroupComparison], policy: Policy) -> list[ComparisonVerdict]:
    """The verdict on every figure, in their order.

    Figures that are only shown are corrected for their number too, but apart: they take no part in
    that of the others.
    """
    enough = [_enough(figure, policy) for figure in figures]
    adjusted: dict[int, float] = {}
    for matters in (True, False):
        tested = [
            place
            for place, figure in enumerate(figures)
            if enough[place] and _could_matter(figure, policy) is matters
        ]
        adjusted |= zip(tested, holm([_p_value(figures[place]) for place in tested]), strict=True)
    verdicts = []
    for place, figure in enumerate(figures):
        p = adjusted.get(place, math.nan)
        verdict = _verdict(figure, p, policy) if enough[place] else Verdict.CANNOT_TELL
        verdicts.append(ComparisonVerdict(figure, verdict, p, enough[place]))
    return verdicts


def holm(p_values: Sequence[float]) -> list[float]:
    """P values adjusted for their number, stepping down from the least. Source: Holm (1979)."""
    order = np.argsort(p_values, kind="stable")
    adjusted = [0.0] * len(p_values)
    least = 0.0
    for done, place in enumerate(order):
        least = max(least, min(1.0, (len(order) - done) * p_values[place]))
        adjusted[place] = least
    return adjusted


def consequence(verdict: Verdict, threshold: Threshold, counts: bool) -> Consequence:
    """What an answer does: nothing where it passes or is not counted."""
    if not counts or verdict is Verdict.PASS:
        return Consequence.SHOWS
    return threshold.fails if verdict is Verdict.FAIL else threshold.unsure


def overall_verdict(answers: Iterable[tuple[Verdict, bool, Consequence]]) -> Verdict:
    """The verdict on a model: it fails where anything stops it, and cannot be told where anything
    asks, or where nothing that counts has passed.

    Args:
        answers: of each figure the verdict, whether it counts, and what it does.
    """
    listed = list(answers)
    does = {what for _, _, what in listed}
    if Consequence.STOPS in does:
        return Verdict.FAIL
    passed = any(counts and verdict is Verdict.PASS for verdict, counts, _ in listed)
    return Verdict.PASS if passed and Consequence.ASKS not in does else Verdict.CANNOT_TELL


def worst_verdict(verdicts: Iterable[Verdict]) -> Verdict:
    """Fail if any fails; else cannot tell if any is so, or if there is none; else pass."""
    present = set(verdicts)
    for verdict in (Verdict.FAIL, Verdict.CANNOT_TELL):
        if verdict in present:
            return verdict
    return Verdict.PASS if present else Verdict.CANNOT_TELL


def _enough(figure: GroupComparison, policy: Policy) -> bool:
    fewest = figure.rows if figure.contrast == "mean" else min(figure.rows, figure.others_size)
    known = (
        math.isfinite(figure.estimate)
        and math.isfinite(figure.t_statistic)
        and figure.standard_error > 0
    )
    return fewest >= policy.fewest_in_need and known


def _could_matter(figure: GroupComparison, policy: Policy) -> bool:
    """Whether failing would do anything."""
    return (
        policy.counts(figure.check, figure.attribute)
        and policy.checks[figure.check].fails is not Consequence.SHOWS
    )


def _p_value(figure: GroupComparison) -> float:
    """One-sided: how likely a gap so far to the group's harm is where there is none."""
    return float(
        stdtr(figure.degrees_of_freedom, -CHECKS[figure.check].harm_sign * figure.t_statistic)
    )


def _verdict(figure: GroupComparison, p: float, policy: Policy) -> Verdict:
    """A ratio below its threshold harms, where less is harm; so does a difference above it, where
    more is.
    """
    threshold, harm = policy.checks[figure.check], CHECKS[figure.check].harm_sign
    lower, upper = figure.interval(policy.confidence)
    if figure.contrast == "ratio":
        beyond, within = figure.gap < threshold.beyond, lower >= threshold.within
    else:
        beyond = harm * figure.gap > threshold.beyond
        within = (upper if harm > 0 else -lower) <= threshold.within
    if beyond and p < 1 - policy.confidence:
        return Verdict.FAIL
    return Verdict.PASS if within else Verdict.CANNOT_TELL
