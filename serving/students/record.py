"""One student's record as it is read: attendance by month, marks by period, tests, incidents,
services.

Every part is worked out from `ScopedRecords` alone and ends on `as_of`. A part that may not be seen
is not there.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from itertools import groupby
from typing import Any

import pandas as pd

from features.attendance import student_days
from records.access.scoped_records import ScopedRecords
from records.canonical.schema import Category
from records.snapshots.queries import DateLike
from serving.rendering.charts import Sparkline, sparkline
from serving.wording import words

_PERIODS_SHOWN = 6
_SESSIONS_SHOWN = 12


@dataclass(frozen=True)
class SchoolDay:
    day: date
    status: str

    @property
    def label(self) -> str:
        return f"{self.day:%A} {self.day.day} {self.day:%B}: {words.DAY_STATUSES[self.status]}"


@dataclass(frozen=True)
class Month:
    """Weeks of five weekdays; None where there was no school or the student was not on the roll."""

    name: str
    weeks: tuple[tuple[SchoolDay | None, ...], ...]


@dataclass(frozen=True)
class Attendance:
    months: tuple[Month, ...]
    counts: Mapping[str, int]
    summary: str


@dataclass(frozen=True)
class CourseGrades:
    """`rows`: course, then one mark a period (None where there is none); `average` likewise."""

    periods: tuple[tuple[str, int], ...]
    rows: tuple[tuple[str, tuple[float | None, ...]], ...]
    average: tuple[float | None, ...]
    line: Sparkline
    summary: str


@dataclass(frozen=True)
class TestScores:
    name: str
    results: tuple[tuple[date, str, str], ...]
    line: Sparkline
    summary: str


@dataclass(frozen=True)
class Incident:
    day: date
    kind: str
    response: str
    days_removed: float


@dataclass(frozen=True)
class ProgramEnrollment:
    program: str
    organization: str
    since: date
    until: date | None
    end_reason: str
    own: bool
    attended: int
    missed: int
    last: date | None


@dataclass(frozen=True)
class ServiceSession:
    day: date
    program: str
    attended: bool
    minutes: float | None


@dataclass(frozen=True)
class Services:
    enrollments: tuple[ProgramEnrollment, ...]
    sessions: tuple[ServiceSession, ...]


@dataclass(frozen=True)
class StudentRecord:
    """None is a part that may not be seen."""

    attendance: Attendance | None
    marks: CourseGrades | None
    tests: tuple[TestScores, ...] | None
    incidents: tuple[Incident, ...] | None
    services: Services | None
    facts: tuple[tuple[str, str], ...] | None


FACTS: tuple[tuple[Category, str, str, Mapping[Any, str]], ...] = (
    (
        Category.HOUSING,
        "unstable_housing",
        "Housing",
        {True: "The family has no stable home now (McKinney-Vento)", False: "Nothing to note"},
    ),
    (
        Category.MEAL_ELIGIBILITY,
        "meal_eligible",
        "School meals",
        {True: "Free or reduced-price meals", False: "Full price"},
    ),
    (
        Category.SPECIAL_EDUCATION,
        "special_education",
        "Special education",
        {True: "Has a plan (IEP or 504)", False: "No plan"},
    ),
    (Category.ENGLISH_LEARNER, "english_learner", "Learning English", {True: "Yes", False: "No"}),
    (Category.DEMOGRAPHICS, "sex", "Sex", words.SEXES),
    (Category.DEMOGRAPHICS, "race_ethnicity", "Federal group", words.RACE_ETHNICITY_GROUPS),
)


def read_student(
    records: ScopedRecords, student: str, as_of: date, organizations: Mapping[str, str]
) -> StudentRecord:
    """The record of the one student that `records` holds.

    Args:
        organizations: names of organisations by identifier.
    """
    seen = records.scope.categories(student)

    def part(make: Callable[[ScopedRecords, date], Any], *categories: Category) -> Any:
        return make(records, as_of) if seen & set(categories) else None

    return StudentRecord(
        part(read_attendance, Category.ATTENDANCE),
        part(read_course_grades, Category.GRADES),
        part(read_test_scores, Category.ASSESSMENTS),
        part(read_incidents, Category.BEHAVIOR),
        part(
            lambda r, d: read_services(r, d, organizations),
            Category.SERVICES,
            Category.SERVICES_OTHER,
        ),
        part(lambda r, d: read_facts(r, student), *(category for category, *_ in FACTS)),
    )


def read_attendance(records: ScopedRecords, as_of: date) -> Attendance:
    """Every school day of this school year up to `as_of`."""
    frame = records.ask(_days_in_order, as_of)
    days = [
        SchoolDay(pd.Timestamp(row["date"]).date(), _status(row))
        for row in frame.to_dict("records")
    ]
    counts = {status: sum(day.status == status for day in days) for status in words.DAY_STATUSES}
    months = tuple(
        _month(list(group))
        for _, group in groupby(days, key=lambda day: (day.day.year, day.day.month))
    )
    return Attendance(months, counts, _attendance_summary(len(days), counts))


def read_course_grades(records: ScopedRecords, as_of: date) -> CourseGrades | None:
    """Course marks of the last grading periods, and their average; None where there are none."""
    frame = _until(records.frame("course_grades"), "date", as_of)
    keys = sorted(set(zip(frame["school_year"], frame["period"], strict=True)))[-_PERIODS_SHOWN:]
    if not keys:
        return None
    by_period = dict(iter(frame.groupby(["school_year", "period"])))
    average = tuple(float(by_period[key]["grade"].mean()) for key in keys)
    courses = sorted({course for key in keys for course in by_period[key]["course"]})
    marks = {
        (course, key): float(grade)
        for key in keys
        for course, grade in by_period[key][["course", "grade"]].itertuples(index=False)
    }
    rows = tuple((course, tuple(marks.get((course, key)) for key in keys)) for course in courses)
    names = tuple((f"{year - 1}-{year % 100:02d}", int(period)) for year, period in keys)
    said = (
        f"The average of all courses was {average[-1]:.0f} of 100 in period {names[-1][1]} of"
        f" {names[-1][0]}"
    )
    said += (
        f" and {average[0]:.0f} in period {names[0][1]} of {names[0][0]}." if len(keys) > 1 else "."
    )
    return CourseGrades(names, rows, average, sparkline(average, 0, 100), said)


def read_test_scores(records: ScopedRecords, as_of: date) -> tuple[TestScores, ...]:
    """Results of each test, the oldest first."""
    frame = _until(records.frame("assessments"), "date", as_of)
    return tuple(_test(str(name), rows) for name, rows in frame.groupby("assessment", sort=True))


def read_incidents(records: ScopedRecords, as_of: date) -> tuple[Incident, ...]:
    """Incidents, the newest first."""
    frame = _until(records.frame("behavior_incidents"), "date", as_of).sort_values(
        "date", ascending=False
    )
    return tuple(
        Incident(
            pd.Timestamp(row["date"]).date(),
            _text(row["behavior"]),
            _text(row["action"]),
            _number(row["days_removed"]) or 0.0,
        )
        for row in frame.to_dict("records")
    )


def read_services(
    records: ScopedRecords, as_of: date, organizations: Mapping[str, str]
) -> Services:
    """Programs that the student takes or took part in, the newest first, and the last sessions of
    the viewer's own.
    """
    named = records.frame("programs").dropna(subset=["name"])
    programs: dict[str, str] = dict(zip(named["program_id"], named["name"], strict=True))
    mine = records.scope.viewer.organization_id
    sessions = _until(records.frame("service_sessions"), "date", as_of).sort_values(
        "date", ascending=False
    )
    enrolled = _until(records.frame("service_enrollments"), "start_date", as_of)
    enrolled = enrolled.sort_values(["start_date", "program_id"], ascending=[False, True])
    own = sessions[sessions["organization_id"] == mine]
    return Services(
        tuple(
            _enrollment(row, sessions, programs, organizations, mine)
            for row in enrolled.to_dict("records")
        ),
        tuple(
            ServiceSession(
                pd.Timestamp(row["date"]).date(),
                programs.get(row["program_id"], row["program_id"]),
                bool(row["attended"]),
                _number(row["minutes"]),
            )
            for row in own.head(_SESSIONS_SHOWN).to_dict("records")
        ),
    )


def read_facts(records: ScopedRecords, student: str) -> tuple[tuple[str, str], ...]:
    """Other facts that this viewer may see, each as a label and what is on record."""
    frame = records.frame("characteristics")
    row = frame.to_dict("records")[0] if len(frame) else {}
    seen = records.scope.categories(student)
    return tuple(
        (label, said.get(row.get(column), "Not on record"))
        for category, column, label, said in FACTS
        if category in seen
    )


def _days_in_order(records: ScopedRecords, as_of: DateLike) -> Any:
    return student_days(records, as_of).order_by("date")


def _status(row: Mapping[Any, Any]) -> str:
    if row["absent"]:
        return "excused" if row["excused"] else "unexcused"
    return "late" if row["late"] else "present"


def _attendance_summary(days: int, counts: Mapping[str, int]) -> str:
    if not days:
        return "No school days are on record this year."
    absent = counts["excused"] + counts["unexcused"]
    return (
        f"At school on {days - absent} of {words.count(days, 'school day', 'school days')} this"
        f" year: {words.count(absent, 'day', 'days')} absent ({counts['excused']} excused,"
        f" {counts['unexcused']} not), {words.count(counts['late'], 'day', 'days')} late."
    )


def _month(days: Sequence[SchoolDay]) -> Month:
    by_day = {day.day: day for day in days}
    return Month(
        f"{days[0].day:%B %Y}",
        tuple(
            tuple(by_day.get(monday + timedelta(days=offset)) for offset in range(5))
            for monday in _mondays(days[0].day, days[-1].day)
        ),
    )


def _mondays(first: date, last: date) -> Iterator[date]:
    monday = first - timedelta(days=first.weekday())
    while monday <= last:
        yield monday
        monday += timedelta(days=7)


def _test(name: str, rows: pd.DataFrame) -> TestScores:
    rows = rows.sort_values("date")
    scores = [float(score) for score in rows["score"]]
    results = tuple(
        (pd.Timestamp(row["date"]).date(), f"{row['score']:g}", _text(row["measure"]))
        for row in rows.to_dict("records")
    )
    said = f"{name}: {scores[0]:g} on {words.day(results[0][0])}"
    said += f", {scores[-1]:g} on {words.day(results[-1][0])}." if len(scores) > 1 else "."
    return TestScores(name, results, sparkline(scores, min(scores) - 5, max(scores) + 5), said)


def _enrollment(
    row: Mapping[Any, Any],
    sessions: pd.DataFrame,
    programs: Mapping[str, str],
    organizations: Mapping[str, str],
    mine: str,
) -> ProgramEnrollment:
    since, until = pd.Timestamp(row["start_date"]), pd.Timestamp(row["end_date"])
    days = pd.to_datetime(sessions["date"])
    held = sessions[(sessions["program_id"] == row["program_id"]) & (days >= since)]
    held = held if pd.isna(until) else held[pd.to_datetime(held["date"]) <= until]
    attended = held[held["attended"].astype(bool)]
    organization = str(row["organization_id"])
    return ProgramEnrollment(
        programs.get(row["program_id"], row["program_id"]),
        organizations.get(organization, organization),
        since.date(),
        None if pd.isna(until) else until.date(),
        _text(row["exit_reason"]),
        organization == mine,
        len(attended),
        len(held) - len(attended),
        None if attended.empty else pd.Timestamp(attended["date"].max()).date(),
    )


def _until(frame: pd.DataFrame, column: str, as_of: date) -> pd.DataFrame:
    return frame[pd.to_datetime(frame[column]) <= pd.Timestamp(as_of)]


def _text(value: Any) -> str:
    return "" if pd.isna(value) else str(value)


def _number(value: Any) -> float | None:
    return None if pd.isna(value) else float(value)
