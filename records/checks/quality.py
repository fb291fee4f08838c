"""Data-quality checks: holes, impossible dates and contradictions in the records, as counts.

Each check is declared once, as a condition over one table; no student is named. A finding is a
question to the district's data office, not a verdict: nothing is changed and nothing is left out
because of it.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date

import duckdb

from records.loading.coverage import EXPECTED_ENTRIES, USUAL_SHARE
from records.snapshots.snapshot import Snapshot
from records.snapshots.views import create_views

MIN_AGE, MAX_AGE = 2, 22
"""Ages at which a student may be enrolled: preschool special education to the end of the
entitlement at 21 (34 CFR 300.101), and a year to either side."""


@dataclass(frozen=True)
class QualityCheck:
    """A condition that no row of a table, or few, should meet.

    `words` describes such rows to people. `condition` is SQL, in which `{today}` stands for the day
    of the check. `needs` are other tables that it reads; without them the check is skipped.
    """

    table: str
    kind: str
    words: str
    condition: str
    needs: tuple[str, ...] = ()


@dataclass(frozen=True)
class QualityFinding:
    """How many rows of a table meet a check's condition: `rows` of `of`."""

    table: str
    kind: str
    words: str
    rows: int
    of: int

    @property
    def share(self) -> float:
        """Share of the table's rows, 0 to 1."""
        return self.rows / self.of if self.of else 0.0


@dataclass(frozen=True)
class AttendanceGap:
    """School days in a row, at all schools, on which no attendance at all was recorded."""

    first: date
    last: date
    days: int


@dataclass(frozen=True)
class SilentSchool:
    """A school that has stopped sending attendance.

    Attributes:
        since: the last school day on which it took attendance this year; None where there is none.
        days: school days since then, up to yesterday.
        is_unknown: whether these days are unknown of its students. Those of a school that is too
            small to be doubted (`records.loading.coverage`) count as attended.
    """

    name: str
    since: date | None
    days: int
    school_id: str
    is_unknown: bool = True


_KINDS_OF_RECORDS = (
    ("attendance", "attendance_taken", "state = 'taken'"),
    ("course grades", "course_grades", "true"),
    ("test results", "assessments", "true"),
    ("behavior incidents", "behavior_incidents", "true"),
    ("partners' services", "service_enrollments", "true"),
    ("English learners", "characteristics", "english_learner is not null"),
    ("special education", "characteristics", "special_education is not null"),
    ("housing", "characteristics", "unstable_housing is not null"),
    ("school meals", "characteristics", "meal_eligible is not null"),
    ("sex", "characteristics", "sex is not null"),
    ("race and ethnicity", "characteristics", "race_ethnicity is not null"),
)
"""Words, table, and the condition of a row that says something."""

MAX_GAP_DAYS = 2
"""School days without a single attendance record in the whole district that are not yet worth a
question."""

HOLE, DATE, CONTRADICTION = "hole", "date", "contradiction"
QUALITY_CHECKS: tuple[QualityCheck, ...] = (
    QualityCheck(
        "students", HOLE, "students without a name", "first_name is null or last_name is null"
    ),
    QualityCheck("students", HOLE, "students without a date of birth", "birth_date is null"),
    QualityCheck("students", HOLE, "students without a grade", "grade_level is null"),
    QualityCheck("students", HOLE, "students without a school", "school_id is null"),
    QualityCheck(
        "students",
        DATE,
        f"students younger than {MIN_AGE} or older than {MAX_AGE}",
        f"birth_date is not null and datediff('year', birth_date, {{today}}) not between {MIN_AGE}"
        f" and {MAX_AGE}",
    ),
    QualityCheck(
        "students",
        CONTRADICTION,
        "students at a school that is not in the list of schools",
        "school_id is not null and school_id not in (select school_id from schools)",
        ("schools",),
    ),
    QualityCheck(
        "students",
        HOLE,
        "students with no enrollment at a school",
        "student_id not in (select student_id from school_enrollments)",
        ("school_enrollments",),
    ),
    QualityCheck(
        "students",
        HOLE,
        "students with nothing recorded about attendance",
        "student_id not in (select student_id from attendance_events)",
        ("attendance_events",),
    ),
    QualityCheck(
        "school_enrollments",
        DATE,
        "enrollments that end before they begin",
        "exit_date < entry_date",
    ),
    QualityCheck(
        "school_enrollments", DATE, "enrollments that begin in the future", "entry_date > {today}"
    ),
    QualityCheck("attendance_events", DATE, "attendance dated in the future", "date > {today}"),
    QualityCheck(
        "attendance_events",
        CONTRADICTION,
        "attendance on a day without classes at that school",
        "(school_id, date) not in (select school_id, date from calendar)",
        ("calendar",),
    ),
    QualityCheck("course_grades", DATE, "grades dated in the future", "date > {today}"),
    QualityCheck(
        "course_grades", CONTRADICTION, "grades below 0 or above 110", "grade not between 0 and 110"
    ),
    QualityCheck("gradebook_entries", HOLE, "assignments without a grade", "grade is null"),
    QualityCheck("assessments", DATE, "tests dated in the future", "date > {today}"),
    QualityCheck("behavior_incidents", DATE, "incidents dated in the future", "date > {today}"),
    QualityCheck(
        "service_enrollments",
        DATE,
        "program enrollments that end before they begin",
        "end_date < start_date",
    ),
    QualityCheck(
        "service_enrollments",
        CONTRADICTION,
        "enrollments in a program that is not in the list of programs",
        "program_id not in (select program_id from programs)",
        ("programs",),
    ),
    QualityCheck("service_sessions", DATE, "sessions dated in the future", "date > {today}"),
    QualityCheck(
        "service_sessions",
        CONTRADICTION,
        "sessions longer than eight hours or shorter than zero",
        "minutes is not null and minutes not between 0 and 480",
    ),
    QualityCheck(
        "service_sessions",
        CONTRADICTION,
        "sessions of students who were not in that program",
        "(student_id, program_id) not in (select student_id, program_id from service_enrollments)",
        ("service_enrollments",),
    ),
)


def quality_findings(snapshot: Snapshot, today: date) -> list[QualityFinding]:
    """A finding for every check that some rows meet, in the order of `QUALITY_CHECKS`."""
    today_sql = f"date '{today.isoformat()}'"
    findings = []
    with duckdb.connect() as engine:
        tables = create_views(engine, snapshot.path)
        for check in QUALITY_CHECKS:
            if not tables.issuperset({check.table, *check.needs}):
                continue
            rows = _count(engine, check.table, check.condition.replace("{today}", today_sql))
            if rows:
                findings.append(
                    QualityFinding(
                        table=check.table,
                        kind=check.kind,
                        words=check.words,
                        rows=rows,
                        of=_count(engine, check.table),
                    )
                )
    return findings


def attendance_gaps(snapshot: Snapshot, today: date) -> list[AttendanceGap]:
    """Gaps of more than `MAX_GAP_DAYS` school days in the attendance records, the latest first.

    School days count from the first attendance record until today.
    """
    with duckdb.connect() as engine:
        if not create_views(engine, snapshot.path).issuperset({"calendar", "attendance_events"}):
            return []
        school_days = engine.execute(
            "with recorded as (select distinct date from attendance_events) "
            "select distinct c.date, c.date in (select date from recorded) from calendar c "
            "where c.date between (select min(date) from recorded) and $today order by 1",
            {"today": today},
        ).fetchall()
    gaps: list[list[date]] = [[]]
    for day, is_recorded in school_days:
        if is_recorded:
            gaps.append([])
        else:
            gaps[-1].append(day)
    return [
        AttendanceGap(first=gap[0], last=gap[-1], days=len(gap))
        for gap in reversed(gaps)
        if len(gap) > MAX_GAP_DAYS
    ]


def silent_schools(snapshot: Snapshot, today: date) -> list[SilentSchool]:
    """Schools without attendance on more than `MAX_GAP_DAYS` school days up to yesterday, by name.

    A school too small to be doubted is among them once as many entries should have come as would be
    asked of a larger one. A whole district that is silent is among `attendance_gaps` too.
    """
    with duckdb.connect() as engine:
        if not create_views(engine, snapshot.path) >= {"calendar", "attendance_taken", "schools"}:
            return []
        rows = engine.execute(
            "with days as (select distinct c.school_id, c.date, state from calendar c"
            "  join attendance_taken using (school_id, date)"
            "  where c.date < $today and c.school_year ="
            "    (select max(school_year) from calendar where date < $today)),"
            " last as (select school_id, max(date) filter (state = 'taken') as since"
            "  from days group by school_id),"
            " sizes as (select school_id, count(*) as size from students group by school_id)"
            " select coalesce(name, school_id) as name, since, count(*) as silent, school_id,"
            "  bool_or(state = 'missing') as is_unknown"
            " from days join last using (school_id) join schools using (school_id)"
            "  left join sizes using (school_id)"
            " where date > coalesce(since, date '1900-01-01') group by all"
            " having silent > $most and (is_unknown or"
            "  silent * coalesce(any_value(size), 0) * $usual >= $expected) order by name",
            {
                "today": today,
                "most": MAX_GAP_DAYS,
                "usual": USUAL_SHARE,
                "expected": EXPECTED_ENTRIES,
            },
        ).fetchall()
    return [SilentSchool(*row) for row in rows]


def not_on_record(snapshot: Snapshot) -> list[str]:
    """The kinds of records of which no source says anything about anybody, in words.

    What they would say is unknown of every student, and never zero or no.
    """
    with duckdb.connect() as engine:
        tables = create_views(engine, snapshot.path)
        absent = [
            words
            for words, table, condition in _KINDS_OF_RECORDS
            if table not in tables or not _count(engine, table, condition)
        ]
    return absent


def _count(engine: duckdb.DuckDBPyConnection, table: str, condition: str = "true") -> int:
    [(count,)] = engine.table(table).filter(condition).aggregate("count(*)").fetchall()
    return int(count)
