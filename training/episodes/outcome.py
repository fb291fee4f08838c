"""Progress: what is measured after a decision, and what a district lets it count for.

Each measure is a change from before the decision to the days after it, so that a student is
compared with nobody else. A measure is unknown (NaN) where the records do not hold both sides: the
student moved away, was given no grade or took no test. Unknown measures are imputed by
`training.episodes.censoring`.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from datetime import date, timedelta
from functools import cache
from pathlib import Path
from typing import Any

import pandas as pd

from features.attendance import StudentDays, student_days
from records.access.expressions import Day, TableExpr, date_of, table
from records.access.scoped_records import ScopedRecords
from records.canonical.columns import (
    Assessments,
    BehaviorIncidents,
    ColumnName,
    CourseGrades,
    Students,
)
from records.system.errors import UserError
from records.system.files import district_file, read_toml

OUTCOME_FILE = Path(__file__).parent / "outcome.toml"
MEASURE_UNITS: Mapping[str, str] = {
    "attendance": "school days attended per 100",
    "grades": "points in the course average (0-100)",
    "courses_passed": "courses passed per 100",
    "assessments": "tenths of a standard deviation on the same test",
    "incident_free_days": "incident-free school days per 100",
}
"""Every measure with its unit, in which one more is worth its weight."""
BASELINE_LOOKBACK = timedelta(days=400)
"""Grades and tests further back than this say nothing of where a student stood at a decision."""
MIN_TESTED_STUDENTS = 30
"""Students with a result before, below which a test's standard deviation is too rough to measure
growth by."""
_RANGES: Mapping[str, tuple[float, float]] = {
    "window_days": (14, 400),
    "start_within_days": (1, 120),
    "smallest_benefit": (0, 100),
    "fewest_school_days": (5, 200),
    "passing_mark": (0, 100),
}
_INCIDENT_STUDENT, _INCIDENT_DATE, _INCIDENT = (
    ColumnName("incident_student"),
    ColumnName("incident_date"),
    ColumnName("incident"),
)


class OutcomeError(UserError, ValueError):
    """A file of weights that cannot be used; the message names the file and the entry."""


@dataclass(frozen=True)
class OutcomeDefinition:
    """How progress is measured: `training/outcome.toml`, or a district's own copy."""

    window_days: int
    start_within_days: int
    smallest_benefit: float
    fewest_school_days: int
    passing_mark: float
    weights: Mapping[str, float]

    @classmethod
    @cache
    def declared(cls) -> OutcomeDefinition:
        """The definition that comes with Handrail."""
        return cls.read(OUTCOME_FILE)

    @classmethod
    def of(cls, home: Path) -> OutcomeDefinition:
        """The district's own definition: `outcome.toml` in `home`; else the one of Handrail.

        Raises:
            OutcomeError: as `read`.
        """
        file = district_file(home, OUTCOME_FILE)
        return cls.declared() if file == OUTCOME_FILE else cls.read(file)

    @classmethod
    def read(cls, file: Path) -> OutcomeDefinition:
        """The definition in a file.

        Raises:
            OutcomeError: it is not TOML; an entry is missing, unknown, not a number or out of its
                range; or no weight is above zero.
        """
        content = read_toml(file, OutcomeError)
        weights = content.pop("weights", None)
        _check_names(f"{file}: ", content, _RANGES)
        if not isinstance(weights, dict):
            raise OutcomeError(
                f"{file}: there must be a table [weights] with {', '.join(MEASURE_UNITS)}"
            )
        _check_names(f"{file}: weights.", weights, MEASURE_UNITS)
        for name, (low, high) in _RANGES.items():
            _check_number(f"{file}: {name}", content[name], low, high, whole=name.endswith("_days"))
        for name, weight in weights.items():
            _check_number(f"{file}: weights.{name}", weight, 0, 100)
        if not any(weights.values()):
            raise OutcomeError(f"{file}: weights: at least one weight must be above 0")
        return cls(**content, weights={name: float(weights[name]) for name in MEASURE_UNITS})

    @property
    def weighted_measures(self) -> tuple[str, ...]:
        """The measures with a weight above zero, in the order of `MEASURE_UNITS`."""
        return tuple(name for name in MEASURE_UNITS if self.weights[name] > 0)

    @property
    def sha256(self) -> str:
        """A digest of everything that decides what progress is."""
        return hashlib.sha256(json.dumps(asdict(self), sort_keys=True).encode()).hexdigest()


def weights_of(home: Path, sha256: str) -> Mapping[str, float] | None:
    """The weights of the district's outcome; None where its digest is not `sha256` any more."""
    try:
        outcome = OutcomeDefinition.of(home)
    except OutcomeError:
        return None
    return outcome.weights if outcome.sha256 == sha256 else None


def progress_points(records: ScopedRecords, day: date, outcome: OutcomeDefinition) -> pd.DataFrame:
    """Change of each weighted measure from before `day` to the days after it, times its weight.

    Returns:
        Progress points, students x `outcome.weighted_measures`; NaN where a measure is not known on
        both sides.
    """
    index = pd.Index(records.students, name=Students.STUDENT_ID, dtype=object)
    measures = outcome.weighted_measures
    changes = {measure: _CHANGES[measure](records, day, outcome) for measure in measures}
    points = {
        measure: outcome.weights[measure] * change.astype("float64").reindex(index)
        for measure, change in changes.items()
    }
    return pd.DataFrame(points, index=index, columns=list(measures), dtype="float64")


def _attendance_change(records: ScopedRecords, day: date, outcome: OutcomeDefinition) -> pd.Series:
    return _decrease(records.ask(_absence_rates, day, outcome.window_days), outcome)


def _incident_free_change(
    records: ScopedRecords, day: date, outcome: OutcomeDefinition
) -> pd.Series:
    return _decrease(records.ask(_incident_rates, day, outcome.window_days), outcome)


def _decrease(rates: pd.DataFrame, outcome: OutcomeDefinition) -> pd.Series:
    """The decrease per 100 school days, of students with enough days on both sides."""
    rates = rates.set_index(Students.STUDENT_ID)
    fewest_days = rates[["days_before", "days_after"]].min(axis=1)
    enough = rates[fewest_days >= outcome.fewest_school_days]
    return 100.0 * (enough["before"] - enough["after"])


def _absence_rates(records: ScopedRecords, day: Day, window_days: int) -> TableExpr:
    days = student_days(records, day + timedelta(days=window_days))
    return _rates_before_and_after(days, day, StudentDays.ABSENT)


def _incident_rates(records: ScopedRecords, day: Day, window_days: int) -> TableExpr:
    days = student_days(records, day + timedelta(days=window_days))
    incidents = (
        table(records, BehaviorIncidents.TABLE)
        .select(incident_student=BehaviorIncidents.STUDENT_ID, incident_date=BehaviorIncidents.DATE)
        .distinct()
    )
    joined = days.left_join(
        incidents,
        [(StudentDays.STUDENT_ID, _INCIDENT_STUDENT), (StudentDays.DATE, _INCIDENT_DATE)],
    )
    flagged = joined.mutate(incident=joined[_INCIDENT_DATE].notnull().cast("int64"))
    return _rates_before_and_after(flagged, day, _INCIDENT)


def _rates_before_and_after(days: TableExpr, day: Day, flag: ColumnName) -> TableExpr:
    """Share of school days with the flag, before and after, and how many days there are."""
    later = days[StudentDays.DATE] > date_of(day)
    return days.group_by(StudentDays.STUDENT_ID).aggregate(
        before=days[flag].mean(where=~later),
        after=days[flag].mean(where=later),
        days_before=(~later).cast("int64").sum(),
        days_after=later.cast("int64").sum(),
    )


def _grades_change(records: ScopedRecords, day: date, outcome: OutcomeDefinition) -> pd.Series:
    return _increase(records.ask(_average_grades, day, outcome.window_days, None))


def _courses_passed_change(
    records: ScopedRecords, day: date, outcome: OutcomeDefinition
) -> pd.Series:
    shares = records.ask(_average_grades, day, outcome.window_days, outcome.passing_mark)
    return 100.0 * _increase(shares)


def _increase(averages: pd.DataFrame) -> pd.Series:
    averages = averages.set_index(Students.STUDENT_ID).astype("float64")
    change: pd.Series = averages["after"] - averages["before"]
    return change


def _average_grades(
    records: ScopedRecords, day: Day, window_days: int, passing: float | None
) -> TableExpr:
    """Mean grade before and in the window; with `passing`, the share of grades that pass."""
    grades = _in_lookback_and_window(
        table(records, CourseGrades.TABLE), CourseGrades.DATE, day, window_days
    )
    later, grade = grades[CourseGrades.DATE] > date_of(day), grades[CourseGrades.GRADE]
    value = grade if passing is None else (grade >= passing).cast("float64")
    return grades.group_by(CourseGrades.STUDENT_ID).aggregate(
        before=value.mean(where=~later), after=value.mean(where=later)
    )


def _in_lookback_and_window(
    rows: TableExpr, date_column: ColumnName, day: Day, window_days: int
) -> TableExpr:
    """Rows of `BASELINE_LOOKBACK` and of the window."""
    date_ = rows[date_column]
    return rows.filter(
        date_ <= date_of(day + timedelta(days=window_days)),
        date_ > date_of(day - BASELINE_LOOKBACK),
    )


def _test_results(records: ScopedRecords, day: Day, window_days: int) -> TableExpr:
    tests = _in_lookback_and_window(
        table(records, Assessments.TABLE), Assessments.DATE, day, window_days
    )
    return tests.select(
        Assessments.STUDENT_ID,
        Assessments.ASSESSMENT,
        Assessments.MEASURE,
        Assessments.DATE,
        Assessments.SCORE,
    )


def _assessments_change(records: ScopedRecords, day: date, outcome: OutcomeDefinition) -> pd.Series:
    """Change of test results, in tenths of the test's standard deviation before.

    The last result within the window less the last before it.
    """
    results = records.ask(_test_results, day, outcome.window_days)
    results[Assessments.MEASURE] = results[Assessments.MEASURE].fillna("")
    results = results.sort_values([Assessments.DATE, Assessments.SCORE])
    later = pd.to_datetime(results[Assessments.DATE]) > pd.Timestamp(day)
    test = [Assessments.ASSESSMENT, Assessments.MEASURE]
    student_and_test = [Assessments.STUDENT_ID, *test]
    before = results[~later].groupby(student_and_test)[Assessments.SCORE].last()
    after = results[later].groupby(student_and_test)[Assessments.SCORE].last()
    spread = before.groupby(level=test).agg(["std", "count"])
    is_usable = (spread["count"] >= MIN_TESTED_STUDENTS) & (spread["std"] > 0)
    growth = (
        (after - before)
        .dropna()
        .rename("change")
        .reset_index()
        .merge(spread.loc[is_usable, "std"].reset_index(), on=test)
    )
    growth["tenths"] = 10.0 * growth["change"] / growth["std"]
    change: pd.Series = growth.groupby(Assessments.STUDENT_ID)["tenths"].mean()
    return change


_CHANGES: Mapping[str, Callable[[ScopedRecords, date, OutcomeDefinition], pd.Series]] = {
    "attendance": _attendance_change,
    "grades": _grades_change,
    "courses_passed": _courses_passed_change,
    "assessments": _assessments_change,
    "incident_free_days": _incident_free_change,
}


def _check_names(where: str, given: Mapping[str, Any], known: Mapping[str, Any]) -> None:
    for name in given:
        if name not in known:
            raise OutcomeError(f"{where}{name} is not known; there are {', '.join(known)}")
    for name in known:
        if name not in given:
            raise OutcomeError(f"{where}{name} is missing")


def _check_number(
    where: str, value: object, low: float, high: float, *, whole: bool = False
) -> None:
    kind = "a whole number" if whole else "a number"
    if (
        isinstance(value, bool)
        or not isinstance(value, int if whole else (int, float))
        or not low <= value <= high
    ):
        raise OutcomeError(f"{where} is {value!r}; it must be {kind} from {low:g} to {high:g}")
