"""What is odd about the records that serve: holes, impossible dates, contradictions. Counts only,
never a student.

Each check is declared once, as a condition over one table. A finding is a question to the
district's data office, not a verdict: nothing is changed and nothing is left out because of it.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date

import duckdb

from records.canonical.schema import TABLES
from records.snapshots.snapshot import Snapshot

MIN_AGE, MAX_AGE = 2, 22
"""Ages at which a student may be enrolled: preschool special education to the end of the
entitlement at 21 (34 CFR 300.101), and a year to either side."""


@dataclass(frozen=True)
class QualityCheck:
    """A condition that no row, or few, should meet. `{today}` stands for the day of the look.

    `needs` are other tables that the condition reads; without them it is not asked.
    """

    table: str
    kind: str
    words: str
    condition: str
    needs: tuple[str, ...] = ()


@dataclass(frozen=True)
class QualityFinding:
    """How many rows of a table meet a check's condition, of how many."""

    table: str
    kind: str
    words: str
    rows: int
    of: int

    @property
    def share(self) -> float:
        """Of the table's rows, from 0 to 1."""
        return self.rows / self.of if self.of else 0.0


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
    QualityCheck("attendance_events", DATE, "attendance on a day in the future", "date > {today}"),
    QualityCheck(
        "attendance_events",
        CONTRADICTION,
        "attendance on a day without classes at that school",
        "(school_id, date) not in (select school_id, date from calendar)",
        ("calendar",),
    ),
    QualityCheck("course_grades", DATE, "marks of a day in the future", "date > {today}"),
    QualityCheck(
        "course_grades", CONTRADICTION, "marks below 0 or above 110", "grade not between 0 and 110"
    ),
    QualityCheck("gradebook_entries", HOLE, "pieces of work without a mark", "grade is null"),
    QualityCheck("assessments", DATE, "tests taken in the future", "date > {today}"),
    QualityCheck("behavior_incidents", DATE, "incidents in the future", "date > {today}"),
    QualityCheck(
        "service_enrollments",
        DATE,
        "stays in a program that end before they begin",
        "end_date < start_date",
    ),
    QualityCheck(
        "service_enrollments",
        CONTRADICTION,
        "stays in a program that is not in the list of programs",
        "program_id not in (select program_id from programs)",
        ("programs",),
    ),
    QualityCheck("service_sessions", DATE, "sessions in the future", "date > {today}"),
    QualityCheck(
        "service_sessions",
        CONTRADICTION,
        "sessions of more than eight hours, or of less than none",
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


@dataclass(frozen=True)
class AttendanceGap:
    """School days in a row, at all schools, on which no attendance at all was recorded."""

    first: date
    last: date
    days: int


MAX_GAP_DAYS = 2
"""School days without a single record of attendance in the whole district that are not yet worth a
question."""


def quality_findings(snapshot: Snapshot, today: date) -> list[QualityFinding]:
    """Every check that found something, in the order in which they are declared."""
    with duckdb.connect() as engine:
        there = _views(engine, snapshot)
        found = []
        for check in QUALITY_CHECKS:
            if check.table in there and there.issuperset(check.needs):
                rows = _count(
                    engine,
                    check.table,
                    check.condition.replace("{today}", f"date '{today.isoformat()}'"),
                )
                if rows:
                    found.append(
                        QualityFinding(
                            check.table, check.kind, check.words, rows, _count(engine, check.table)
                        )
                    )
    return found


def attendance_gaps(snapshot: Snapshot, today: date) -> list[AttendanceGap]:
    """School days in a row without any attendance record between the first record and today, the
    latest first.
    """
    with duckdb.connect() as engine:
        if not _views(engine, snapshot).issuperset({"calendar", "attendance_events"}):
            return []
        days = engine.execute(
            "with recorded as (select distinct date from attendance_events) "
            "select distinct c.date, c.date in (select date from recorded) from calendar c "
            "where c.date between (select min(date) from recorded) and $today order by 1",
            {"today": today},
        ).fetchall()
    spells: list[list[date]] = [[]]
    for day, recorded in days:
        if recorded:
            spells.append([])
        else:
            spells[-1].append(day)
    return [
        AttendanceGap(spell[0], spell[-1], len(spell))
        for spell in reversed(spells)
        if len(spell) > MAX_GAP_DAYS
    ]


def _views(engine: duckdb.DuckDBPyConnection, snapshot: Snapshot) -> set[str]:
    there = {name for name in TABLES if (snapshot.path / f"{name}.parquet").exists()}
    for name in there:
        engine.read_parquet(str(snapshot.path / f"{name}.parquet")).create_view(name)
    return there


def _count(engine: duckdb.DuckDBPyConnection, table: str, condition: str = "true") -> int:
    found = engine.table(table).filter(condition).aggregate("count(*)").fetchall()
    return int(found[0][0])
