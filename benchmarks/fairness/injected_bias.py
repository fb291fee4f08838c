"""What is done to a district or a model, and whether the gate finds it.

A bias counts as caught where the check that it belongs to fails for the group that it wrongs.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass
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
from fairness.audit.audit import group_comparisons
from fairness.gate.gate import (
    ComparisonVerdict,
    Verdict,
    assign_verdicts,
    consequence,
    overall_verdict,
)
from fairness.policy.checks import INTERSECTION_SEPARATOR
from fairness.policy.policy_file import Consequence
from fairness.population.comparisons import GroupComparison, Measure, compare_groups
from fairness.population.students import AuditPopulation, alert_severities, suggestions_for
from handrail.demo.simulation import OfferBias
from records.access.scope import pipeline_scope
from records.access.scoped_records import ScopedRecords
from training.estimation.arrays import BoolArray
from training.ranking.model_file import RankerModel
from training.ranking.suggestions import open_to_grade

Scenario = Callable[[District], Iterator["Trial"]]
POINTS = 0.10
TUTORING_BIAS: OfferBias = {GROUP: {"tutoring": 0.48}}
UNWRITTEN = 0.07
SIZES: Mapping[str, tuple[str, str]] = {
    "Hispanic": ("race_ethnicity", "hispanic"),
    "Black": ("race_ethnicity", "black"),
    "special education": ("special_education", "yes"),
    "learning English": ("english_learner", "yes"),
    "Asian": ("race_ethnicity", "asian"),
}
LARGE = 200
"""Students in need of a group that is large enough to be judged by most checks."""


@dataclass(frozen=True)
class Trial:
    """One trial: what was to be found, whether it was, and how large it was in truth."""

    scenario: str
    caught: bool
    gap: float
    note: str = ""


def fair(district: District) -> Iterator[Trial]:
    """Every group fact is dealt out anew among the students, so that no group differs from the
    others but by chance; the past offered supports to all alike.
    """
    for _, found in district.deals:
        judged = assign_verdicts(found, POLICY)
        answers = [_answer(one) for one in judged]
        plain = [
            (one, what)
            for one, what in zip(judged, answers, strict=True)
            if INTERSECTION_SEPARATOR not in one.comparison.attribute
        ]
        stops = any(what is Consequence.STOPS for _, _, what in answers)
        failed = any(verdict is Verdict.FAIL and counts for verdict, counts, _ in answers)
        large = [
            what for one, what in plain if one.sufficient_data and one.comparison.rows >= LARGE
        ]
        yield Trial("fair: nothing stops it", not stops, 0.0)
        yield Trial("fair: no check fails", not failed, 0.0)
        yield Trial(
            f"fair: passes, groups of {LARGE} or more in need",
            overall_verdict(large) is Verdict.PASS,
            0.0,
        )
        yield Trial(
            "fair: passes, every group",
            overall_verdict(what for _, what in plain) is Verdict.PASS,
            0.0,
        )


def unfair_model(district: District) -> Iterator[Trial]:
    """A model that, at equal need, leaves 10 points more of a group in need without a suggestion:
    suggestions that they would have are withheld from as many. Groups of five sizes, in districts
    that are fair otherwise.
    """
    rng = np.random.default_rng(district.seed)
    for (name, (attribute, value)), (students, found) in zip(
        SIZES.items(), district.deals, strict=True
    ):
        need = students.in_need(POLICY)
        missed = (
            need & ~students.in_support & ~suggestions_for(district.model, students).has_suggestion
        )
        ours = (students.groups[attribute] == value).to_numpy() & need
        taken = rng.choice(
            np.flatnonzero(ours & ~missed), round(POINTS * ours.sum()), replace=False
        )
        spoiled = missed.copy()
        spoiled[taken] = True
        rest = [one for one in found if one.check not in {"missed", "access"}]
        told = compare_groups(
            list(_told(students, spoiled, need)), students.groups, students.cohorts
        )
        caught = fails([*told, *rest], ("missed", "access"), attribute, value)
        others_in_need = (students.groups[attribute] != value).to_numpy() & need
        gap = float(spoiled[ours].mean() - spoiled[others_in_need].mean())
        yield Trial(f"model: {name}", caught, gap, f"{ours.sum()} in need")


def attendance(district: District) -> Iterator[Trial]:
    """Of 100 absences of Black students 10 are not written down."""
    yield _unwritten(district, POINTS, "attendance: 10 in 100 not written down")


def attendance_alerts(district: District) -> Iterator[Trial]:
    """So many absences of Black students are not written down that of those truly in need 10 points
    more have no alert: 7 in 100.
    """
    yield _unwritten(district, UNWRITTEN, "attendance: 10 points more without an alert")


def discipline(district: District) -> Iterator[Trial]:
    """An incident is written down of 10 in 100 Black students who had none."""
    found = district.spoiled(add_incidents(POINTS, district.seed), "discipline")
    before, after = (
        (one.students.features["incidents_year"] > 0).to_numpy() for one in (district.true, found)
    )
    caught = fails(_figures(found), ("discipline_record",), "race_ethnicity", GROUP)
    yield Trial(
        "discipline: 10 points more with an incident",
        caught,
        _apart(after, found.ours) - _apart(before, found.ours),
    )


def tutoring(district: District) -> Iterator[Trial]:
    """In the past, Black students were offered tutoring so seldom that, of those whose marks were
    low, 10 points fewer started it in a school year.
    """
    found = district.with_past(TUTORING_BIAS)
    caught = fails(_figures(found), ("past_support",), "race_ethnicity", GROUP, "tutoring")
    yield Trial("tutoring: 10 points fewer a year", caught, -_tutored_apart(found))


SCENARIOS: Mapping[str, Scenario] = {
    "fair": fair,
    "model": unfair_model,
    "attendance": attendance,
    "discipline": discipline,
    "tutoring": tutoring,
    "attendance_alerts": attendance_alerts,
}


def trials(seed: int, model: RankerModel, names: list[str]) -> pd.DataFrame:
    """Every trial of one district: a row an `Trial`."""
    with TemporaryDirectory() as folder:
        district = District(Path(folder), seed, model)
        return pd.DataFrame(
            [
                asdict(one) | {"seed": seed, "asked": name}
                for name in names
                for one in SCENARIOS[name](district)
            ]
        )


def fails(
    found: Iterable[GroupComparison],
    checks: tuple[str, ...],
    attribute: str,
    value: str,
    item: str | None = None,
) -> bool:
    """Whether any of the checks fails for the group, among all that is judged."""
    failed: list[ComparisonVerdict] = [
        one for one in assign_verdicts(list(found), POLICY) if one.verdict is Verdict.FAIL
    ]
    return any(
        one.comparison.check in checks
        and (one.comparison.attribute, one.comparison.value) == (attribute, value)
        and (item is None or one.comparison.item == item)
        for one in failed
    )


def _figures(found: LoadedDistrict) -> list[GroupComparison]:
    return group_comparisons(*found.measured())


def _answer(one: ComparisonVerdict) -> tuple[Verdict, bool, Consequence]:
    counts = POLICY.counts(one.comparison.check, one.comparison.attribute)
    return (
        one.verdict,
        counts,
        consequence(one.verdict, POLICY.checks[one.comparison.check], counts),
    )


def _unwritten(district: District, share: float, name: str) -> Trial:
    """The gap is what it does: of those truly in need, how many points more have no alert."""
    found = district.spoiled(drop_absences(share, district.seed), name)
    need = district.true.students.in_need(POLICY)
    caught = fails(_figures(found), ("attendance_record",), "race_ethnicity", GROUP)
    return Trial(name, caught, _apart(~found.students.in_need(POLICY), found.ours, need))


def _apart(flags: BoolArray, ours: BoolArray, among: BoolArray | None = None) -> float:
    """The group's share less that of all others."""
    some = np.ones(len(ours), dtype=bool) if among is None else among
    return float(flags[some & ours].mean() - flags[some & ~ours].mean())


def _tutored_apart(found: LoadedDistrict) -> float:
    """The group's share less that of all others: of school years in which a student's marks were
    low, those in which tutoring began.
    """
    records = ScopedRecords(found.snapshot, pipeline_scope(found.snapshot, "training", date.max))
    services = records.frame("service_enrollments").merge(
        records.frame("programs")[["program_id", "support"]]
    )
    began = services[services["support"] == "tutoring"]
    begun = set(zip(began["student_id"], _school_year(began["start_date"]), strict=True))
    episodes = found.episodes
    marks = alert_severities(episodes.features.set_axis(range(len(episodes)), axis=0))[
        "grades"
    ].to_numpy()
    may = open_to_grade(records.frame("programs"), episodes.features["grade_level"], ["tutoring"])[
        "tutoring"
    ]
    here = episodes.student.isin(found.students.groups.index).to_numpy()
    low = np.flatnonzero((marks >= POLICY.need_severity) & may.to_numpy() & here)
    years = sorted(
        {
            *zip(
                episodes.student.iloc[low],
                _school_year(episodes.decision_date.iloc[low]),
                strict=True,
            )
        }
    )
    race = found.students.groups["race_ethnicity"].reindex([student for student, _ in years])
    return _apart(np.array([year in begun for year in years]), (race == GROUP).to_numpy())


def _school_year(days: pd.Series) -> pd.Series:
    """The calendar year in which each day's school year began."""
    return (pd.to_datetime(days) - pd.DateOffset(months=7)).dt.year


def _told(students: AuditPopulation, missed: BoolArray, need: BoolArray) -> Iterator[Measure]:
    open_to = students.eligible.to_numpy(dtype=bool).any(axis=1)
    yield Measure("missed", "", missed.astype(float), need.astype(float))
    yield Measure(
        "access",
        "",
        (missed & open_to).astype(float),
        (need & open_to).astype(float),
        students.need,
    )
