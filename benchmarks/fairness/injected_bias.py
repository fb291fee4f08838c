"""Biases that are injected into a district or a model, and whether the gate detects each.

A bias counts as detected if the check that it belongs to fails for the disadvantaged group.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pandas as pd

from benchmarks.fairness.generated_districts import (
    GROUP,
    POLICY,
    District,
    LoadedDistrict,
    add_incidents,
    drop_absences,
)
from fairness.checks.checks import INTERSECTION_SEPARATOR
from fairness.checks.policy_file import Consequence
from fairness.gate.gate import (
    ComparisonVerdict,
    Verdict,
    assign_verdicts,
    consequence,
    overall_verdict,
)
from fairness.population.comparisons import GroupComparison, Measure, compare_groups
from fairness.population.students import AuditPopulation, alert_severities, suggestions_for
from features.alerts import AlertRules
from handrail.demo.simulation import OfferBias
from records.access.scope import pipeline_scope
from records.access.scoped_records import ScopedRecords
from training.estimation.arrays import BoolArray
from training.ranking.model_file import RankerModel
from training.ranking.suggestions import open_to_grade

Scenario = Callable[[District], Iterator["Trial"]]
POINTS = 0.10
"""Size of most injected gaps, as a share."""

ABSENCES_DROPPED = 0.07
"""Share of absences whose loss leaves 10 points more of a group in need without an alert."""

TUTORING_BIAS: OfferBias = {GROUP: {"tutoring": 0.48}}
"""How often the group was offered tutoring relative to others at equal need: 10 points fewer of
those with low course grades then start it in a school year."""

DISADVANTAGED_GROUPS: Mapping[str, tuple[str, str]] = {
    "Hispanic": ("race_ethnicity", "hispanic"),
    "Black": ("race_ethnicity", "black"),
    "special education": ("special_education", "yes"),
    "learning English": ("english_learner", "yes"),
    "Asian": ("race_ethnicity", "asian"),
}
"""Groups of five sizes, each as (attribute, value); one for each permutation of a district."""

LARGE_GROUP = 200
"""Students in need from which a group is large enough for most checks to give a verdict."""


@dataclass(frozen=True)
class Trial:
    """One trial.

    Attributes:
        scenario: what was expected of the gate.
        detected: whether the gate did it.
        gap: the injected gap as measured in the data, as a share.
        note: how many students it is about.
    """

    scenario: str
    detected: bool
    gap: float
    note: str = ""


def fair(district: District) -> Iterator[Trial]:
    """Group memberships are permuted among the students, so that groups differ only by chance, and
    past offers had no bias.
    """
    for _, comparisons in district.permutations:
        verdicts = assign_verdicts(comparisons, POLICY)
        answers = [_answer(verdict) for verdict in verdicts]
        single = [
            (verdict, answer)
            for verdict, answer in zip(verdicts, answers, strict=True)
            if INTERSECTION_SEPARATOR not in verdict.comparison.attribute
        ]
        large = [
            answer
            for verdict, answer in single
            if verdict.sufficient_data and verdict.comparison.rows >= LARGE_GROUP
        ]
        stops = any(result is Consequence.STOPS for _, _, result in answers)
        failed = any(verdict is Verdict.FAIL and counts for verdict, counts, _ in answers)
        passes_large = overall_verdict(large) is Verdict.PASS
        passes = overall_verdict(answer for _, answer in single) is Verdict.PASS
        yield Trial("fair: nothing stops it", not stops, 0.0)
        yield Trial("fair: no check fails", not failed, 0.0)
        yield Trial(f"fair: passes, groups of {LARGE_GROUP} or more in need", passes_large, 0.0)
        yield Trial("fair: passes, every group", passes, 0.0)


def unfair_model(district: District) -> Iterator[Trial]:
    """A model that, at equal need, leaves 10 points more of a group in need without a suggestion.

    As many suggestions as that takes are removed at random from the group, in a district that is
    fair otherwise. Groups of five sizes are tried.
    """
    rng = np.random.default_rng(district.seed)
    for (name, (attribute, value)), (students, comparisons) in zip(
        DISADVANTAGED_GROUPS.items(), district.permutations, strict=True
    ):
        need = students.in_need(POLICY)
        suggested = suggestions_for(district.model, students).has_suggestion
        missed = need & ~students.in_support & ~suggested
        in_group = (students.groups[attribute] == value).to_numpy()
        missed = _remove_suggestions(missed, in_group & need, rng)
        changed = compare_groups(
            list(_measures_of_missed(students, missed, need)), students.groups, students.cohorts
        )
        unchanged = [
            comparison for comparison in comparisons if comparison.check not in {"missed", "access"}
        ]
        detected = fails([*changed, *unchanged], ("missed", "access"), attribute, value)
        gap = _gap(missed, in_group, among=need)
        yield Trial(f"model: {name}", detected, gap, f"{(in_group & need).sum()} in need")


def attendance(district: District) -> Iterator[Trial]:
    """10 in 100 absences of Black students are not recorded."""
    yield _absences_dropped(district, POINTS, "attendance: 10 in 100 not written down")


def attendance_alerts(district: District) -> Iterator[Trial]:
    """So many absences of Black students are not recorded (7 in 100) that 10 points more of those
    truly in need have no alert.
    """
    name = "attendance: 10 points more without an alert"
    yield _absences_dropped(district, ABSENCES_DROPPED, name)


def discipline(district: District) -> Iterator[Trial]:
    """An incident is recorded for 10 in 100 Black students who had none."""
    injected = district.with_injection(add_incidents(POINTS, district.seed), "discipline")
    before, after = (
        (loaded.students.features["incidents_year"] > 0).to_numpy()
        for loaded in (district.unchanged, injected)
    )
    detected = fails(injected.comparisons(), ("discipline_record",), "race_ethnicity", GROUP)
    gap = _gap(after, injected.in_group) - _gap(before, injected.in_group)
    yield Trial("discipline: 10 points more with an incident", detected, gap)


def tutoring(district: District) -> Iterator[Trial]:
    """In the past, Black students were offered tutoring so seldom that, of those with low course
    grades, 10 points fewer started it in a school year.
    """
    injected = district.with_past_bias(TUTORING_BIAS)
    detected = fails(injected.comparisons(), ("past_support",), "race_ethnicity", GROUP, "tutoring")
    yield Trial("tutoring: 10 points fewer a year", detected, -_tutoring_gap(injected))


SCENARIOS: Mapping[str, Scenario] = {
    "fair": fair,
    "model": unfair_model,
    "attendance": attendance,
    "discipline": discipline,
    "tutoring": tutoring,
    "attendance_alerts": attendance_alerts,
}


"""Scenarios by name, as `--scenarios` takes them."""


def trials(seed: int, model: RankerModel, names: list[str]) -> pd.DataFrame:
    """Every trial of one district, one row each, with the columns of the `--out` file."""
    with TemporaryDirectory() as folder:
        district = District(Path(folder), seed, model)
        return pd.DataFrame(
            [
                {
                    "scenario": trial.scenario,
                    "caught": trial.detected,
                    "gap": trial.gap,
                    "note": trial.note,
                    "seed": seed,
                    "asked": name,
                }
                for name in names
                for trial in SCENARIOS[name](district)
            ]
        )


def fails(
    comparisons: Iterable[GroupComparison],
    checks: tuple[str, ...],
    attribute: str,
    value: str,
    item: str | None = None,
) -> bool:
    """Whether any of these checks fails for the group, among all figures that get a verdict.

    Args:
        comparisons: all figures of an audit; their number counts in the correction.
        checks: names of checks.
        attribute: a group attribute, such as `race_ethnicity`.
        value: the group.
        item: the support, for checks that are made for each support.
    """
    return any(
        verdict.verdict is Verdict.FAIL
        and verdict.comparison.check in checks
        and (verdict.comparison.attribute, verdict.comparison.value) == (attribute, value)
        and (item is None or verdict.comparison.item == item)
        for verdict in assign_verdicts(list(comparisons), POLICY)
    )


def _answer(verdict: ComparisonVerdict) -> tuple[Verdict, bool, Consequence]:
    """The verdict, whether it counts, and what follows from it under the policy."""
    check = POLICY.checks[verdict.comparison.check]
    counts = POLICY.counts(verdict.comparison.check, verdict.comparison.attribute)
    return verdict.verdict, counts, consequence(verdict.verdict, check, counts)


def _remove_suggestions(
    missed: BoolArray, group_in_need: BoolArray, rng: np.random.Generator
) -> BoolArray:
    """`missed` with `POINTS` of the group in need added at random."""
    chosen = rng.choice(
        np.flatnonzero(group_in_need & ~missed), round(POINTS * group_in_need.sum()), replace=False
    )
    more_missed = missed.copy()
    more_missed[chosen] = True
    return more_missed


def _absences_dropped(district: District, share: float, name: str) -> Trial:
    """The gap is the consequence: of those truly in need, how many points more have no alert."""
    injected = district.with_injection(drop_absences(share, district.seed), name)
    truly_in_need = district.unchanged.students.in_need(POLICY)
    detected = fails(injected.comparisons(), ("attendance_record",), "race_ethnicity", GROUP)
    without_alert = ~injected.students.in_need(POLICY)
    return Trial(name, detected, _gap(without_alert, injected.in_group, among=truly_in_need))


def _gap(flags: BoolArray, in_group: BoolArray, among: BoolArray | None = None) -> float:
    """The group's share of flags less that of all others, optionally only among some students."""
    population = np.ones(len(in_group), dtype=bool) if among is None else among
    return float(flags[population & in_group].mean() - flags[population & ~in_group].mean())


def _tutoring_gap(district: LoadedDistrict) -> float:
    """The group's share less that of all others: of school years in which a student's course grades
    were low, those in which tutoring began.
    """
    records = ScopedRecords(
        district.snapshot, pipeline_scope(district.snapshot, "training", date.max)
    )
    started = _tutoring_years(records)
    years = _years_with_low_grades(district, records)
    race = district.students.groups["race_ethnicity"].reindex([student for student, _ in years])
    return _gap(np.array([year in started for year in years]), (race == GROUP).to_numpy())


def _tutoring_years(records: ScopedRecords) -> set[tuple[str, int]]:
    """(student, school year) of each start of tutoring."""
    services = records.frame("service_enrollments").merge(
        records.frame("programs")[["program_id", "support"]]
    )
    tutoring_starts = services[services["support"] == "tutoring"]
    years = _school_year(tutoring_starts["start_date"])
    return set(zip(tutoring_starts["student_id"], years, strict=True))


def _years_with_low_grades(
    district: LoadedDistrict, records: ScopedRecords
) -> list[tuple[str, int]]:
    """(student, school year) with an alert on course grades and tutoring open to the student."""
    episodes = district.episodes
    features = episodes.features.set_axis(range(len(episodes)), axis=0)
    severity = alert_severities(features, AlertRules.declared())["grades"].to_numpy()
    eligible = open_to_grade(
        records.frame("programs"), episodes.features["grade_level"], ["tutoring"]
    )["tutoring"].to_numpy()
    enrolled = episodes.student.isin(district.students.groups.index).to_numpy()
    rows = np.flatnonzero((severity >= POLICY.need_severity) & eligible & enrolled)
    students = episodes.student.iloc[rows]
    years = _school_year(episodes.decision_date.iloc[rows])
    return sorted({*zip(students, years, strict=True)})


def _school_year(days: pd.Series) -> pd.Series:
    """The calendar year in which each day's school year began."""
    return (pd.to_datetime(days) - pd.DateOffset(months=7)).dt.year


def _measures_of_missed(
    students: AuditPopulation, missed: BoolArray, need: BoolArray
) -> Iterator[Measure]:
    has_open_support = students.eligible.to_numpy(dtype=bool).any(axis=1)
    yield Measure("missed", "", missed.astype(float), need.astype(float))
    yield Measure(
        "access",
        "",
        (missed & has_open_support).astype(float),
        (need & has_open_support).astype(float),
        students.need,
    )
