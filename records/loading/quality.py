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

YOUNGEST, OLDEST = 2, 22
"""Ages at which a student may be enrolled: preschool special education to the end of the
entitlement at 21 (34 CFR 300.101), and a year to either side."""


@dataclass(frozen=True)
class Check:
    """A condition that no row, or few, should meet. `{today}` stands for the day of the look.

    `needs` are other tables that the condition reads; without them it is not asked.
    """

    table: str
    kind: str
    words: str
    condition: str
    needs: tuple[str, ...] = ()


@dataclass(frozen=True)
class Finding:
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
CHECKS: tuple[Check, ...] = (
    Check("students", HOLE, "students without a name", "first_name is null or last_name is null"),
    Check("students", HOLE, "students without a date of birth", "birth_date is null"),
    Check("students", HOLE, "students without a grade", "grade_level is null"),
    Check("students", HOLE, "students without a school", "school_id is null"),
    Check(
        "students",
        DATE,
        f"students younger than {YOUNGEST} or older than {OLDEST}",
        f"birth_date is not null and datediff('year', birth_date, {{today}}) not between {YOUNGEST}"
        f" and {OLDEST}",
    ),
    Check(
        "students",
        CONTRADICTION,
        "students at a school that is not in the list of schools",
        "school_id is not null and school_id not in (select school_id from schools)",
        ("schools",),
    ),
    Check(
        "students",
        HOLE,
        "students with no enrollment at a school",
        "student_id not in (select student_id from school_enrollments)",
        ("school_enrollments",),
    ),
    Check(
        "students",
        HOLE,
        "students with nothing recorded about attendance",
        "student_id not in (select student_id from attendance_events)",
        ("attendance_events",),
    ),
    Check(
        "school_enrollments",
        DATE,
        "enrollments that end before they begin",
        "exit_date < entry_date",
    ),
    Check(
        "school_enrollments", DATE, "enrollments that begin in the future", "entry_date > {today}"
    ),
    Check("attendance_events", DATE, "attendance on a day in the future", "date > {today}"),
    Check(
        "attendance_events",
        CONTRADICTION,
        "attendance on a day without classes at that school",
        "(school_id, date) not in (select school_id, date from calendar)",
        ("calendar",),
    ),
    Check("course_grades", DATE, "marks of a day in the future", "date > {today}"),
    Check(
        "course_grades", CONTRADICTION, "marks below 0 or above 110", "grade not between 0 and 110"
    ),
    Check("gradebook_entries", HOLE, "pieces of work without a mark", "grade is null"),
    Check("assessments", DATE, "tests taken in the future", "date > {today}"),
    Check("behavior_incidents", DATE, "incidents in the future", "date > {today}"),
    Check(
        "service_enrollments",
        DATE,
        "stays in a program that end before they begin",
        "end_date < start_date",
    ),
    Check(
        "service_enrollments",
        CONTRADICTION,
        "stays in a program that is not in the list of programs",
        "program_id not in (select program_id from programs)",
        ("programs",),
    ),
    Check("service_sessions", DATE, "sessions in the future", "date > {today}"),
    Check(
        "service_sessions",
        CONTRADICTION,
        "sessions of more than eight hours, or of less than none",
        "minutes is not null and minutes not between 0 and 480",
    ),
    Check(
        "service_sessions",
        CONTRADICTION,
        "sessions of students who were not in that program",
        "(student_id, program_id) not in (select student_id, program_id from service_enrollments)",
        ("service_enrollments",),
    ),
)


@dataclass(frozen=True)
class Gap:
    """School days in a row, at all schools, on which no attendance at all was recorded."""

    first: date
    last: date
    days: int


LONGEST_QUIET = 2
"""School days without a single record of attendance in the whole district that are not yet worth a
question."""


def findings(snapshot: Snapshot, today: date) -> list[Finding]:
    """Every check that found something, in the order in which they are declared."""
    with duckdb.connect() as engine:
        there = _views(engine, snapshot)
        found = []
        for check in CHECKS:
            if check.table in there and there.issuperset(check.needs):
                rows = _count(
                    engine,
                    check.table,
                    check.condition.replace("{today}", f"date '{today.isoformat()}'"),
                )
                if rows:
                    found.append(
                        Finding(
                            check.table, check.kind, check.words, rows, _count(engine, check.table)
                        )
                    )
    return found


def quiet_spells(snapshot: Snapshot, today: date) -> list[Gap]:
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
        Gap(spell[0], spell[-1], len(spell))
        for spell in reversed(spells)
        if len(spell) > LONGEST_QUIET
    ]


def _views(engine: duckdb.DuckDBPyConnection, snapshot: Snapshot) -> set[str]:
    there = {name for name in TABLES if (snapshot.path / f"{name}.parquet").exists()}
    for name in there:
        engine.read_parquet(str(snapshot.path / f"{name}.parquet")).create_view(name)
    return there


def _count(engine: duckdb.DuckDBPyConnection, table: str, condition: str = "true") -> int:
    found = engine.table(table).filter(condition).aggregate("count(*)").fetchall()
    return int(found[0][0])
