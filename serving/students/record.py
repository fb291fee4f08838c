"""One student's record as a page reads it: attendance, course grades, tests, incidents, services.

Every part is computed from `ScopedRecords` alone and ends on `as_of`. A part that may not be seen
is None.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from itertools import groupby
from typing import Any

import pandas as pd

from features.attendance import MOST_OF_A_DAY, student_days
from records.access.characteristics import characteristics_on
from records.access.scoped_records import ScopedRecords
from records.canonical.schema import Category
from records.snapshots.queries import DateLike
from serving.rendering.charts import Sparkline, sparkline
from serving.wording import words

_PERIODS_SHOWN = 6
_SESSIONS_SHOWN = 12

WEEKDAYS = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")


@dataclass(frozen=True)
class SchoolDay:
    """One school day and what the student's attendance was, a key of `words.DAY_STATUSES`."""

    day: date
    status: str

    @property
    def label(self) -> str:
        """The day and its status: "Monday, April 6: absent, excused"."""
        return f"{self.day:%A, %B} {self.day.day}: {words.DAY_STATUSES[self.status]}"


@dataclass(frozen=True)
class Month:
    """Weeks of `weekdays`, five unless there was school on a weekend.

    None stands for a day without school, or on which the student was not enrolled or attendance was
    not taken.
    """

    name: str
    weekdays: tuple[str, ...]
    weeks: tuple[tuple[SchoolDay | None, ...], ...]


@dataclass(frozen=True)
class Attendance:
    """This school year: its months, how many days of each status, and a sentence.

    Nothing is on record where there are no months; then there are no counts either.
    """

    months: tuple[Month, ...]
    counts: Mapping[str, int]
    summary: str


@dataclass(frozen=True)
class CourseGrades:
    """Course grades, points of 100, by grading period.

    Attributes:
        periods: school year and number of each period, the oldest first.
        rows: a course, and its grade in each period or None.
        average: the mean of all courses in each period.
    """

    periods: tuple[tuple[str, int], ...]
    rows: tuple[tuple[str, tuple[float | None, ...]], ...]
    average: tuple[float | None, ...]
    sparkline: Sparkline
    summary: str


@dataclass(frozen=True)
class TestScores:
    """The results of one test, the oldest first: day, score, and what it measures."""

    name: str
    results: tuple[tuple[date, str, str], ...]
    sparkline: Sparkline
    summary: str


@dataclass(frozen=True)
class Incident:
    """One behavior incident and the school's response. Its fields are those of the JSON answer."""

    day: date
    kind: str
    response: str
    days_removed: float


@dataclass(frozen=True)
class ProgramEnrollment:
    """One program that the student takes or took part in, and the sessions of that time.

    Attributes:
        until: the last day, None where it has not ended.
        own: whether it is a program of the viewer's organization.
        last: the day of the last session attended.
    """

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
    """One session of a program, attended or missed."""

    day: date
    program: str
    attended: bool
    minutes: float | None


@dataclass(frozen=True)
class Services:
    """Programs, and the last sessions of the viewer's own programs."""

    enrollments: tuple[ProgramEnrollment, ...]
    sessions: tuple[ServiceSession, ...]


@dataclass(frozen=True)
class StudentRecord:
    """The parts of one record; None is a part that may not be seen."""

    attendance: Attendance | None
    course_grades: CourseGrades | None
    test_scores: tuple[TestScores, ...] | None
    incidents: tuple[Incident, ...] | None
    services: Services | None
    facts: tuple[tuple[str, str], ...] | None


FACTS: tuple[tuple[Category, str, str, Mapping[Any, str]], ...] = (
    (
        Category.HOUSING,
        "unstable_housing",
        "Housing",
        {True: "No stable housing now (McKinney-Vento)", False: "No concern on record"},
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
    (Category.ENGLISH_LEARNER, "english_learner", "English learner", {True: "Yes", False: "No"}),
    (Category.DEMOGRAPHICS, "sex", "Sex", words.SEXES),
    (Category.DEMOGRAPHICS, "race_ethnicity", "Race/ethnicity", words.RACE_ETHNICITY_GROUPS),
)
"""Category, column of `characteristics`, label, and the words for each value."""


def read_student(
    records: ScopedRecords, student: str, as_of: date, organizations: Mapping[str, str]
) -> StudentRecord:
    """The record of the one student that `records` holds.

    Args:
        organizations: names of organizations by ID.
    """
    visible = records.scope.categories(student)

    def part(read: Callable[[ScopedRecords, date], Any], *categories: Category) -> Any:
        return read(records, as_of) if visible & set(categories) else None

    return StudentRecord(
        part(read_attendance, Category.ATTENDANCE),
        part(read_course_grades, Category.GRADES),
        part(read_test_scores, Category.ASSESSMENTS),
        part(read_incidents, Category.BEHAVIOR),
        part(
            lambda records, as_of: read_services(records, as_of, organizations),
            Category.SERVICES,
            Category.SERVICES_OTHER,
        ),
        part(
            lambda records, day: read_facts(records, student, day),
            *(category for category, *_ in FACTS),
        ),
    )


def read_attendance(records: ScopedRecords, as_of: date) -> Attendance:
    """Every school day of this school year on which attendance was taken.

    Args:
        as_of: today, on which nobody knows yet who is at school.
    """
    frame = records.ask(_days_in_order, as_of, as_of - timedelta(days=1))
    days = [
        SchoolDay(pd.Timestamp(row["date"]).date(), _status(row))
        for row in frame.to_dict("records")
    ]
    counts = {status: sum(day.status == status for day in days) for status in words.DAY_STATUSES}
    months = tuple(
        _month(list(group))
        for _, group in groupby(days, key=lambda day: (day.day.year, day.day.month))
    )
    return Attendance(months, counts if days else {}, _attendance_summary(frame))


def read_course_grades(records: ScopedRecords, as_of: date) -> CourseGrades | None:
    """Course grades of the last grading periods, and their average; None where there are none."""
    frame = _until(records.frame("course_grades"), "date", as_of)
    periods = sorted(set(zip(frame["school_year"], frame["period"], strict=True)))
    periods = periods[-_PERIODS_SHOWN:]
    if not periods:
        return None
    by_period = dict(iter(frame.groupby(["school_year", "period"])))
    averages = tuple(float(by_period[period]["grade"].mean()) for period in periods)
    courses = sorted({course for period in periods for course in by_period[period]["course"]})
    grades = {
        (course, period): float(grade)
        for period in periods
        for course, grade in by_period[period][["course", "grade"]].itertuples(index=False)
    }
    rows = tuple(
        (course, tuple(grades.get((course, period)) for period in periods)) for course in courses
    )
    labels = tuple((f"{year - 1}-{year % 100:02d}", int(number)) for year, number in periods)
    summary = _grades_summary(labels, averages)
    return CourseGrades(labels, rows, averages, sparkline(averages, 0, 100), summary)


def read_test_scores(records: ScopedRecords, as_of: date) -> tuple[TestScores, ...]:
    """Results of each test, the oldest first."""
    frame = _until(records.frame("assessments"), "date", as_of)
    return tuple(
        _test_scores(str(name), rows) for name, rows in frame.groupby("assessment", sort=True)
    )


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
    """Programs of the student, the newest first, and the last sessions of the viewer's own."""
    named = records.frame("programs").dropna(subset=["name"])
    program_names: dict[str, str] = dict(zip(named["program_id"], named["name"], strict=True))
    viewer_organization = records.scope.viewer.organization_id
    sessions = _until(records.frame("service_sessions"), "date", as_of).sort_values(
        "date", ascending=False
    )
    enrolled = _until(records.frame("service_enrollments"), "start_date", as_of)
    enrolled = enrolled.sort_values(["start_date", "program_id"], ascending=[False, True])
    own_sessions = sessions[sessions["organization_id"] == viewer_organization]
    return Services(
        tuple(
            _enrollment(row, sessions, program_names, organizations, viewer_organization)
            for row in enrolled.to_dict("records")
        ),
        tuple(
            ServiceSession(
                pd.Timestamp(row["date"]).date(),
                program_names.get(row["program_id"], row["program_id"]),
                bool(row["attended"]),
                _number(row["minutes"]),
            )
            for row in own_sessions.head(_SESSIONS_SHOWN).to_dict("records")
        ),
    )


def read_facts(records: ScopedRecords, student: str, as_of: date) -> tuple[tuple[str, str], ...]:
    """Other facts that this viewer may see, each as a label and what the record says of the day."""
    frame = characteristics_on(records, as_of)
    row = frame.to_dict("records")[0] if len(frame) else {}
    visible = records.scope.categories(student)
    return tuple(
        (label, labels.get(row.get(column), "Not on record"))
        for category, column, label, labels in FACTS
        if category in visible
    )


def _days_in_order(records: ScopedRecords, as_of: DateLike, settled: DateLike) -> Any:
    return student_days(records, as_of, settled).order_by("date")


def _status(row: Mapping[Any, Any]) -> str:
    """What the day's cell of the calendar says: a day mostly missed is one absent."""
    if row["absent"] > MOST_OF_A_DAY:
        if not row["excused"] and not row["unexcused"]:
            return "unexplained"
        return "unexcused" if row["unexcused"] >= row["excused"] else "excused"
    if row["absent"]:
        return "part"
    return "late" if row["late"] else "present"


def _attendance_summary(days: pd.DataFrame) -> str:
    """Days missed with their parts added up, and the last day that is known."""
    if days.empty:
        return "No attendance is on record for this school year."
    absent, excused, unexcused, late = (
        float(days[name].sum()) for name in ("absent", "excused", "unexcused", "late")
    )
    kinds = [f"{words.decimal(excused)} excused", f"{words.decimal(unexcused)} unexcused"]
    unexplained = absent - excused - unexcused
    if words.decimal(unexplained) != "0":
        kinds.append(f"{words.decimal(unexplained)} with no reason recorded")
    last = words.day(pd.Timestamp(days["date"].max()).date())
    return (
        f"Present on {words.decimal(len(days) - absent)} of"
        f" {words.count(len(days), 'school day', 'school days')} this year, through {last}:"
        f" {words.decimal_count(absent, 'day', 'days')} absent ({', '.join(kinds)}),"
        f" {words.count(int(late), 'day', 'days')} late."
    )


def _grades_summary(periods: Sequence[tuple[str, int]], averages: Sequence[float]) -> str:
    """The average now, and at the start of the periods shown."""
    year, number = periods[-1]
    summary = (
        f"The average of all courses was {averages[-1]:.0f} of 100 in period {number} of {year}"
    )
    if len(periods) == 1:
        return f"{summary}."
    year, number = periods[0]
    return f"{summary} and {averages[0]:.0f} in period {number} of {year}."


def _month(days: Sequence[SchoolDay]) -> Month:
    by_day = {day.day: day for day in days}
    weekdays = WEEKDAYS if any(day.day.weekday() > 4 for day in days) else WEEKDAYS[:5]
    return Month(
        f"{days[0].day:%B %Y}",
        weekdays,
        tuple(
            tuple(by_day.get(monday + timedelta(days=offset)) for offset in range(len(weekdays)))
            for monday in _mondays(days[0].day, days[-1].day)
        ),
    )


def _mondays(first: date, last: date) -> Iterator[date]:
    monday = first - timedelta(days=first.weekday())
    while monday <= last:
        yield monday
        monday += timedelta(days=7)


def _test_scores(name: str, rows: pd.DataFrame) -> TestScores:
    rows = rows.sort_values("date")
    scores = [float(score) for score in rows["score"]]
    results = tuple(
        (pd.Timestamp(row["date"]).date(), f"{row['score']:g}", _text(row["measure"]))
        for row in rows.to_dict("records")
    )
    summary = f"{name}: {scores[0]:g} on {words.day(results[0][0])}"
    if len(scores) > 1:
        summary += f", {scores[-1]:g} on {words.day(results[-1][0])}"
    low, high = min(scores) - 5, max(scores) + 5
    return TestScores(name, results, sparkline(scores, low, high), f"{summary}.")


def _enrollment(
    row: Mapping[Any, Any],
    sessions: pd.DataFrame,
    program_names: Mapping[str, str],
    organizations: Mapping[str, str],
    viewer_organization: str,
) -> ProgramEnrollment:
    since, until = pd.Timestamp(row["start_date"]), pd.Timestamp(row["end_date"])
    days = pd.to_datetime(sessions["date"])
    during = (sessions["program_id"] == row["program_id"]) & (days >= since)
    if not pd.isna(until):
        during &= days <= until
    held = sessions[during]
    attended = held[held["attended"].astype(bool)]
    organization = str(row["organization_id"])
    return ProgramEnrollment(
        program=program_names.get(row["program_id"], row["program_id"]),
        organization=organizations.get(organization, organization),
        since=since.date(),
        until=None if pd.isna(until) else until.date(),
        end_reason=_text(row["exit_reason"]),
        own=organization == viewer_organization,
        attended=len(attended),
        missed=len(held) - len(attended),
        last=None if attended.empty else pd.Timestamp(attended["date"].max()).date(),
    )


def _until(frame: pd.DataFrame, column: str, as_of: date) -> pd.DataFrame:
    return frame[pd.to_datetime(frame[column]) <= pd.Timestamp(as_of)]


def _text(value: Any) -> str:
    return "" if pd.isna(value) else str(value)


def _number(value: Any) -> float | None:
    return None if pd.isna(value) else float(value)
