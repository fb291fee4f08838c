"""Progress: what is measured after a decision, and what a district lets it count for.

Each measure is a change from before the decision to the days after it, so that a student is
compared with nobody else. A measure is unknown (NaN) where the records do not hold both sides: the
student moved away, was given no mark or took no test. What becomes of the unknown is for
`training.episodes.censoring`.
"""

from __future__ import annotations

import hashlib
import json
import tomllib
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from datetime import date, timedelta
from functools import cache
from pathlib import Path
from typing import Any

import pandas as pd

from features.attendance import student_days
from records.access.scoped_records import ScopedRecords
from records.snapshots.queries import DateLike, as_date
from records.system.errors import UserError

OUTCOME_FILE = Path(__file__).parent / "outcome.toml"
MEASURE_UNITS: Mapping[str, str] = {
    "attendance": "school days attended in every hundred",
    "grades": "points of 100 in the course average",
    "courses_passed": "courses passed in every hundred",
    "assessments": "tenths of a standard deviation in the same test",
    "incident_free_days": "school days without an incident in every hundred",
}
"""Every measure with its unit, in which one more is worth its weight."""
BASELINE_LOOKBACK = timedelta(days=400)
"""Marks and tests further back than this say nothing of where a student stood at a decision."""
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


class OutcomeError(UserError, ValueError):
    """A file of weights that cannot be used; the message names the file, the entry and what would
    be right.
    """


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
        """The one that comes with Handrail."""
        return cls.read(OUTCOME_FILE)

    @classmethod
    def of(cls, home: Path) -> OutcomeDefinition:
        """The district's own, where `outcome.toml` lies beside its data; else the one that comes
        with Handrail.

        Raises:
            OutcomeError: as `read`.
        """
        own = home / OUTCOME_FILE.name
        return cls.read(own) if own.exists() else cls.declared()

    @classmethod
    def read(cls, file: Path) -> OutcomeDefinition:
        """The outcome in a file.

        Raises:
            OutcomeError: it is no TOML, or an entry is missing, unknown, no number or out of its
                range, or no weight is above zero.
        """
        try:
            content = tomllib.loads(file.read_text(encoding="utf-8"))
        except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
            raise OutcomeError(f"{file}: {error}") from None
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
            raise OutcomeError(
                f"{file}: weights: one at least must be above 0, or there is nothing to learn from"
            )
        return cls(**content, weights={name: float(weights[name]) for name in MEASURE_UNITS})

    @property
    def counted(self) -> tuple[str, ...]:
        """The measures that count, in the order of `MEASURE_UNITS`."""
        return tuple(name for name in MEASURE_UNITS if self.weights[name] > 0)

    @property
    def sha256(self) -> str:
        """A digest of everything that decides what progress is."""
        return hashlib.sha256(json.dumps(asdict(self), sort_keys=True).encode()).hexdigest()


def weights_of(home: Path, sha256: str) -> Mapping[str, float] | None:
    """The weights of the district's outcome, if it is the one of this digest; None where it was
    changed since.
    """
    try:
        outcome = OutcomeDefinition.of(home)
    except OutcomeError:
        return None
    return outcome.weights if outcome.sha256 == sha256 else None


def progress_points(records: ScopedRecords, day: date, outcome: OutcomeDefinition) -> pd.DataFrame:
    """Change of each counted measure from before `day` to the days after it, times its weight.

    Returns:
        Progress points, students x `outcome.counted`; NaN where a measure is not known on both
        sides.
    """
    index = pd.Index(records.students, name="student_id", dtype=object)
    found = {name: _CHANGES[name](records, day, outcome) for name in outcome.counted}
    points = {
        name: outcome.weights[name] * change.astype("float64").reindex(index)
        for name, change in found.items()
    }
    return pd.DataFrame(points, index=index, columns=list(outcome.counted), dtype="float64")


def _attended(records: ScopedRecords, day: date, outcome: OutcomeDefinition) -> pd.Series:
    return _fewer(records.ask(_absences, day, outcome.window_days), outcome)


def _incident_free(records: ScopedRecords, day: date, outcome: OutcomeDefinition) -> pd.Series:
    return _fewer(records.ask(_incidents, day, outcome.window_days), outcome)


def _fewer(rates: pd.DataFrame, outcome: OutcomeDefinition) -> pd.Series:
    """How much less there was after than before in every hundred school days, of those with enough
    on both sides.
    """
    rates = rates.set_index("student_id")
    enough = rates[rates[["days_before", "days_after"]].min(axis=1) >= outcome.fewest_school_days]
    return 100.0 * (enough["before"] - enough["after"])


def _absences(records: ScopedRecords, day: DateLike, window: int) -> Any:
    return _two_sides(student_days(records, day + timedelta(days=window)), day, "absent")


def _incidents(records: ScopedRecords, day: DateLike, window: int) -> Any:
    days = student_days(records, day + timedelta(days=window))
    incidents = (
        records.table("behavior_incidents")
        .select(incident_student="student_id", incident_date="date")
        .distinct()
    )
    joined = days.left_join(
        incidents, [("student_id", "incident_student"), ("date", "incident_date")]
    )
    marked = joined.mutate(incident=joined["incident_date"].notnull().cast("int64"))
    return _two_sides(marked, day, "incident")


def _two_sides(days: Any, day: DateLike, what: str) -> Any:
    """Share of school days with `what`, before and after, and how many days there are."""
    later = days["date"] > as_date(day)
    return days.group_by("student_id").aggregate(
        before=days[what].mean(where=~later),
        after=days[what].mean(where=later),
        days_before=(~later).cast("int64").sum(),
        days_after=later.cast("int64").sum(),
    )


def _graded(records: ScopedRecords, day: date, outcome: OutcomeDefinition) -> pd.Series:
    return _higher(records.ask(_marks, day, outcome.window_days, None))


def _passed(records: ScopedRecords, day: date, outcome: OutcomeDefinition) -> pd.Series:
    return 100.0 * _higher(records.ask(_marks, day, outcome.window_days, outcome.passing_mark))


def _higher(averages: pd.DataFrame) -> pd.Series:
    averages = averages.set_index("student_id").astype("float64")
    change: pd.Series = averages["after"] - averages["before"]
    return change


def _marks(records: ScopedRecords, day: DateLike, window: int, passing: float | None) -> Any:
    """Mean of the marks given in the window and of those of the year before it; with `passing`, the
    share of those.
    """
    marks = _within(records.table("course_grades"), day, window)
    later = marks["date"] > as_date(day)
    value = marks["grade"] if passing is None else (marks["grade"] >= passing).cast("float64")
    return marks.group_by("student_id").aggregate(
        before=value.mean(where=~later), after=value.mean(where=later)
    )


def _within(rows: Any, day: DateLike, window: int) -> Any:
    """Rows of the window and of `BASELINE_LOOKBACK`."""
    return rows.filter(
        rows["date"] <= as_date(day + timedelta(days=window)),
        rows["date"] > as_date(day - BASELINE_LOOKBACK),
    )


def _results(records: ScopedRecords, day: DateLike, window: int) -> Any:
    tests = _within(records.table("assessments"), day, window)
    return tests.select("student_id", "assessment", "measure", "date", "score")


def _grown(records: ScopedRecords, day: date, outcome: OutcomeDefinition) -> pd.Series:
    """Last result within the window less the last before it, in tenths of the test's standard
    deviation before.
    """
    rows = records.ask(_results, day, outcome.window_days)
    rows["measure"] = rows["measure"].fillna("")
    rows = rows.sort_values(["date", "score"])
    later = pd.to_datetime(rows["date"]) > pd.Timestamp(day)
    test, keys = ["assessment", "measure"], ["student_id", "assessment", "measure"]
    before = rows[~later].groupby(keys)["score"].last()
    after = rows[later].groupby(keys)["score"].last()
    spread = before.groupby(level=test).agg(["std", "count"])
    usable = spread.loc[(spread["count"] >= MIN_TESTED_STUDENTS) & (spread["std"] > 0), "std"]
    grown = (
        (after - before)
        .dropna()
        .rename("change")
        .reset_index()
        .merge(usable.reset_index(), on=test)
    )
    grown["tenths"] = 10.0 * grown["change"] / grown["std"]
    change: pd.Series = grown.groupby("student_id")["tenths"].mean()
    return change


_CHANGES: Mapping[str, Callable[[ScopedRecords, date, OutcomeDefinition], pd.Series]] = {
    "attendance": _attended,
    "grades": _graded,
    "courses_passed": _passed,
    "assessments": _grown,
    "incident_free_days": _incident_free,
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
