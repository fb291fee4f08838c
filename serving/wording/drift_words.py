"""What is said of drift, in plain words, by the command and on the page: what changed, what came
true, what to do.
"""

from __future__ import annotations

from collections.abc import Mapping
from itertools import groupby

from features.catalog import FEATURES_BY_NAME
from serving.wording import words
from serving.wording.effect_words import interval_text, signed_points
from training.estimation.policy_value import Estimate
from training.evaluation.drift import (
    DayDrift,
    DriftLevel,
    FeatureDrift,
    PredictionCheck,
    Quintile,
    RealizedBenefit,
)
from training.monitoring.drift_report import DriftReport

QUINTILES: Mapping[int, str] = {
    1: "the fifth with the least",
    2: "the second fifth",
    3: "the middle fifth",
    4: "the fourth fifth",
    5: "the fifth with the most",
}
RETRAIN = "Train anew (handrail train), then audit the new version (handrail audit)."
points = signed_points


def summary(drift: DriftReport) -> list[str]:
    """All that somebody in a hurry needs, what to do last."""
    return [*students(drift), outcome_sentence(drift), recommended_action(drift)]


def students(drift: DriftReport) -> list[str]:
    """Whether students look as they did."""
    if not drift.known:
        return [
            f"Version {drift.version} was trained before it was kept what its students looked like,"
            " so changes cannot be told. A version that is trained now keeps it."
        ]
    if not drift.days:
        return [
            f"No decision day has passed since {words.day(drift.learned_until)}, the last that"
            f" version {drift.version} learned from, so there is nothing to compare yet."
            f" {next_day(drift)}"
        ]
    return [day_summary(one) for one in drift.days]


def next_day(drift: DriftReport) -> str:
    """When the next decision day is."""
    if drift.next_day is None:
        return (
            "The next one is not in the calendar that is on record: it will be in the next school"
            " year."
        )
    return (
        f"The next one is {words.day(drift.next_day)}, school day {drift.next_place} of its year."
    )


def day_summary(found: DayDrift) -> str:
    """One decision day in a sentence."""
    at = f"On {words.day(found.day)}, school day {found.place} of its year,"
    if not found.features:
        return f"{at} it cannot be told whether students changed: {found.cannot_tell}."
    if found.verdict is DriftLevel.AS_BEFORE:
        return f"{at} students looked as they did when the model learned, in every kind of record."
    changed = sorted(
        (one for one in found.families if one.verdict is not DriftLevel.AS_BEFORE),
        key=lambda one: one.verdict is not DriftLevel.MUCH,
    )
    parts = [
        f"{verdict} in {', '.join(words.feature_family(one.name).lower() for one in group)}"
        for verdict, group in groupby(changed, key=lambda one: one.verdict)
    ]
    return f"{at} there was {' and '.join(parts)}."


def largest_shift(found: FeatureDrift) -> str:
    """What moved most in one feature: "Absences this school year: above 4, 22% of students then and
    41% now".
    """
    feature = FEATURES_BY_NAME[found.name]
    said = []
    if found.turn is not None:
        said.append(
            f"above {_value(found.turn.above, feature.unit)}, {words.share(found.turn.then)} of"
            f" students then and {words.share(found.turn.now)} now"
        )
    if found.missing_then != found.missing_now:
        said.append(
            f"not on record for {_missing(found.missing_then)} then and"
            f" {_missing(found.missing_now)} now"
        )
    return f"{feature.description}{': ' if said else ''}{'; '.join(said)}"


def outcome_sentence(drift: DriftReport) -> str:
    """Whether what was predicted came true."""
    if drift.realised is None:
        return (
            "Whether as much progress went with supports as was predicted cannot be told yet:"
            f" {drift.why_not}."
        )
    found = drift.realised
    return f"{OUTCOME_SENTENCES[found.verdict]} {_figures(found)}"


OUTCOME_SENTENCES: Mapping[PredictionCheck, str] = {
    PredictionCheck.AS_PREDICTED: "What went with supports is in line with what was predicted.",
    PredictionCheck.MORE: "More went with supports than was predicted.",
    PredictionCheck.LESS: "Less went with supports than was predicted.",
    PredictionCheck.UNKNOWN: (
        "Whether as much progress went with supports as was predicted cannot be told: the records"
        " are too few to tell the prediction from no benefit at all."
    ),
}


def recommended_action(drift: DriftReport) -> str:
    """The last word: what follows from it."""
    if drift.train_anew:
        reason = (
            "students changed much"
            if drift.features is DriftLevel.MUCH
            else "less came than was predicted"
        )
        return f"What to do: {reason}. {RETRAIN}"
    if not drift.known:
        return f"What to do: {RETRAIN}"
    if not drift.days:
        return "What to do: nothing now. Run handrail drift again after the next decision day."
    if drift.features is DriftLevel.SOME:
        return (
            "What to do: nothing now. Run handrail drift again after the next decision day: some"
            " change may grow."
        )
    return "What to do: nothing now."


def estimate_with_interval(found: Estimate) -> str:
    """A figure with its range: "+1.2 (+0.4 to +2.0)"."""
    return f"{signed_points(found.value)} ({interval_text(found)})"


def quintile_verdict(found: Quintile) -> str:
    """Whether the range of what came to a fifth holds what was predicted."""
    if found.came.upper < found.predicted:
        return str(PredictionCheck.LESS)
    return (
        str(PredictionCheck.MORE)
        if found.came.lower > found.predicted
        else "the range holds what was predicted"
    )


def _figures(found: RealizedBenefit) -> str:
    """The level and the slope."""
    said = (
        f"On average {points(found.predicted)} points were predicted of the support that is"
        f" expected to help most; {estimate_with_interval(found.came)} came."
    )
    if found.slope is not None and found.slope.upper < 1:
        said += " Students of whom more was predicted did not gain as much more as predicted."
    return said


def _missing(share: float | None) -> str:
    return "hardly anybody" if share is None else words.share(share)


def _value(value: float, unit: str) -> str:
    return f"{100 * value:.0f}%" if unit.startswith("share") else f"{value:g}"
