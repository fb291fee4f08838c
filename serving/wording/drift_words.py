"""What a drift report found, in sentences, for the command and the page: what changed, whether the
predictions held, what to do.
"""

from __future__ import annotations

from collections.abc import Mapping
from itertools import groupby

from features.catalog import FEATURES_BY_NAME
from serving.wording import words
from serving.wording.effect_words import estimate_with_interval as estimate_with_interval
from serving.wording.effect_words import signed_points
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
    1: "lowest fifth",
    2: "second fifth",
    3: "middle fifth",
    4: "fourth fifth",
    5: "highest fifth",
}
RETRAIN = "Retrain (handrail train), then audit the new version (handrail audit)."
OUTCOME_SENTENCES: Mapping[PredictionCheck, str] = {
    PredictionCheck.AS_PREDICTED: "Observed progress with supports is in line with predictions.",
    PredictionCheck.MORE: "Observed progress with supports was higher than predicted.",
    PredictionCheck.LESS: "Observed progress with supports was lower than predicted.",
    PredictionCheck.UNKNOWN: (
        "There is not enough data to say whether progress with supports was as predicted: the"
        " records are too few to distinguish the prediction from no benefit."
    ),
}
points = signed_points


def summary(drift: DriftReport) -> list[str]:
    """All that somebody in a hurry needs, what to do last."""
    return [*students(drift), outcome_sentence(drift), recommended_action(drift)]


def students(drift: DriftReport) -> list[str]:
    """Whether the student population has changed: a sentence for each decision day, or why not."""
    if not drift.known:
        return [
            f"Version {drift.version} was trained before Handrail stored reference data about its"
            " students, so changes cannot be measured. A version trained now stores them."
        ]
    if not drift.days:
        return [
            f"No decision day has passed since {words.day(drift.learned_until)}, the last that"
            f" version {drift.version} learned from, so there is nothing to compare yet."
            f" {next_day(drift)}"
        ]
    return [day_summary(day) for day in drift.days]


def next_day(drift: DriftReport) -> str:
    """When the next decision day is."""
    if drift.next_day is None:
        return "The next one is not in the calendar on record: it will be in the next school year."
    return (
        f"The next one is {words.day(drift.next_day)}, school day {drift.next_place} of its year."
    )


def day_summary(day: DayDrift) -> str:
    """One decision day in a sentence."""
    when = f"On {words.day(day.day)}, school day {day.place} of its year,"
    if not day.features:
        return (
            f"{when} there was not enough data to say whether students changed: {day.cannot_tell}."
        )
    if day.verdict is DriftLevel.STABLE:
        return (
            f"{when} the student population looked as it did in training, in every kind of record."
        )
    changed = sorted(
        (family for family in day.families if family.verdict is not DriftLevel.STABLE),
        key=lambda family: family.verdict is not DriftLevel.MAJOR,
    )
    parts = []
    for verdict, families in groupby(changed, key=lambda family: family.verdict):
        labels = (words.feature_family(family.name).lower() for family in families)
        parts.append(f"{verdict} in {', '.join(labels)}")
    return f"{when} there was {' and '.join(parts)}."


def largest_shift(drift: FeatureDrift) -> str:
    """What moved most in one feature: "Absences this school year: above 4, 22% of students then and
    41% now".
    """
    feature = FEATURES_BY_NAME[drift.name]
    shifts = []
    if drift.turn is not None:
        shifts.append(
            f"above {_value(drift.turn.above, feature.unit)}, {words.share(drift.turn.then)} of"
            f" students then and {words.share(drift.turn.now)} now"
        )
    if drift.missing_then != drift.missing_now:
        shifts.append(
            f"not on record for {_missing(drift.missing_then)} then and"
            f" {_missing(drift.missing_now)} now"
        )
    return ": ".join(filter(None, (feature.description, "; ".join(shifts))))


def outcome_sentence(drift: DriftReport) -> str:
    """Whether the predictions held."""
    if drift.realised is None:
        return (
            "There is not enough data yet to say whether progress with supports was as predicted:"
            f" {drift.why_not}."
        )
    return f"{OUTCOME_SENTENCES[drift.realised.verdict]} {_figures(drift.realised)}"


def recommended_action(drift: DriftReport) -> str:
    """What to do now."""
    if drift.needs_retraining:
        much_change = drift.features is DriftLevel.MAJOR
        reason = (
            "the student population changed much"
            if much_change
            else "observed progress was lower than predicted"
        )
        return f"What to do: {reason}. {RETRAIN}"
    if not drift.known:
        return f"What to do: {RETRAIN}"
    if not drift.days:
        return "What to do: nothing now. Run handrail drift again after the next decision day."
    if drift.features is DriftLevel.MODERATE:
        return (
            "What to do: nothing now. Run handrail drift again after the next decision day: the"
            " change may grow."
        )
    return "What to do: nothing now."


def quintile_verdict(quintile: Quintile) -> str:
    """Whether the interval of what was observed in a fifth includes what was predicted."""
    if quintile.came.upper < quintile.predicted:
        return str(PredictionCheck.LESS)
    if quintile.came.lower > quintile.predicted:
        return str(PredictionCheck.MORE)
    return "the interval includes the prediction"


def _figures(benefit: RealizedBenefit) -> str:
    """The level and the slope."""
    sentence = (
        f"On average {points(benefit.predicted)} points were predicted of the support expected to"
        f" help most; {estimate_with_interval(benefit.came)} were observed."
    )
    if benefit.slope is not None and benefit.slope.upper < 1:
        sentence += " Students of whom more was predicted did not gain as much more as predicted."
    return sentence


def _missing(share: float | None) -> str:
    return "almost nobody" if share is None else words.share(share)


def _value(value: float, unit: str) -> str:
    return f"{100 * value:.0f}%" if unit.startswith("share") else f"{value:g}"
