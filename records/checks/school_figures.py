"""The figures of each school that a data officer looks at before trusting a load.

A figure is None where the records say nothing: unknown is never zero. Figures are of schools, never
of a student, and what is about fewer students than the rule for small numbers allows is withheld by
`measures.py`; nothing else may be shown. The figures of a load are kept beside it in `checks/`, to
stand beside those of the next.

Days that count are those of `records.access.attendance_days`, as in `features.attendance`; here
each school counts its own students' days, also of students who have left.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import duckdb

from records.access.attendance_days import CountedDays, days_at_schools, school_days
from records.access.expressions import Day, TableExpr
from records.canonical.schema import PERIOD_CATEGORIES
from records.canonical.supports import SupportCatalog
from records.checks.quality import SilentSchool, silent_schools
from records.loading.load_history import loads
from records.snapshots.queries import TableProvider, compile_query
from records.snapshots.snapshot import Snapshot
from records.snapshots.views import create_views
from records.suppression.small_numbers import SmallNumbers
from records.system.files import write_atomic

CHRONIC_SHARE, FEWEST_DAYS = 0.10, 10
"""A student is chronically absent who missed at least this share of the days enrolled, of at least
so many. Source: U.S. Department of Education, EDFacts file C195."""

FLAGS = tuple(PERIOD_CATEGORIES)
GROUPED_BY = ("sex", "race_ethnicity", *FLAGS)
"""The characteristics by which the fairness audit groups students."""


@dataclass(frozen=True)
class SchoolFigures:
    """What the records say of one school on a day; exact, so not to be shown as it is.

    Attributes:
        enrolled: students enrolled on the day.
        school_days: of this year, before the day; None without a calendar.
        days_known: those that count; None where attendance is not known at all.
        last_taken: the last day of this year on which attendance was taken.
        attended_by: students with a day that counts.
        attendance: share of their days on which they were at school, 0 to 1.
        judged, chronic: students with at least `FEWEST_DAYS`, and those chronically absent.
        marked: enrolled students with a mark of the school's last grading period.
        lowest, highest: where their marks lie, without as many students at either end as may not be
            shown; None where there are too few.
        mean_mark: mean of those marks, in points of 100.
        with_flag, without_flag: enrolled students, by each of `FLAGS`.
        unknown: enrolled students of whom it is unknown, by each of `GROUPED_BY`.
        in_programs: enrolled students who take part in a program; None without such records.
        program_enrollments: their active enrollments.
    """

    school_id: str
    name: str
    enrolled: int
    school_days: int | None = None
    days_known: int | None = None
    last_taken: date | None = None
    attended_by: int = 0
    attendance: float | None = None
    judged: int = 0
    chronic: int = 0
    marked: int = 0
    lowest: float | None = None
    highest: float | None = None
    mean_mark: float | None = None
    with_flag: Mapping[str, int] = field(default_factory=dict)
    without_flag: Mapping[str, int] = field(default_factory=dict)
    unknown: Mapping[str, int] = field(default_factory=dict)
    in_programs: int | None = None
    program_enrollments: int | None = None


@dataclass(frozen=True)
class LoadFigures:
    """The figures of all schools, by identifier, as of the day of a load.

    Attributes:
        smallest_cell: the smallest number of students that may be shown, when they were computed.
        silent: schools that have stopped sending attendance.
    """

    day: date
    smallest_cell: int
    schools: Mapping[str, SchoolFigures]
    silent: tuple[SilentSchool, ...] = ()


def school_figures(
    snapshot: Snapshot, today: date, small_numbers: SmallNumbers | None = None
) -> LoadFigures:
    """The figures of every school that is in the list of schools or has students, by name."""
    rule = small_numbers or SmallNumbers.declared()
    with duckdb.connect(config={"memory_limit": "400MB", "threads": "2"}) as engine:
        loaded = create_views(engine, snapshot.path)
        _create_stays(engine, today)
        by_school: dict[str, dict[str, Any]] = {}
        _add(engine, _SCHOOLS, by_school)
        if "calendar" in loaded:
            _create_days(engine, snapshot, today)
            _add(engine, _SCHOOL_DAYS, by_school)
        if {"calendar", "attendance_taken"} <= loaded:
            _add(engine, _ATTENDANCE, by_school, _CHRONIC)
        if "course_grades" in loaded:
            _add(engine, _MARKS, by_school, {"smallest": rule.smallest_cell})
        if "service_enrollments" in loaded:
            _add(engine, _PROGRAMS, by_school)
        _add_groups(engine, by_school)
    schools = sorted((SchoolFigures(**values) for values in by_school.values()), key=_by_name)
    return LoadFigures(
        today,
        rule.smallest_cell,
        {one.school_id: one for one in schools},
        tuple(silent_schools(snapshot, today)),
    )


def keep_figures(home: Path, snapshot: Snapshot, figures: LoadFigures) -> Path:
    """Write the figures of a load beside it, for the next one; returns the file."""
    content = asdict(figures) | {"schools": [asdict(one) for one in figures.schools.values()]}
    return write_atomic(_file(home, snapshot.id), json.dumps(content, default=str, indent=1) + "\n")


def figures_before(
    home: Path, snapshot: Snapshot, small_numbers: SmallNumbers | None = None
) -> LoadFigures | None:
    """The figures of the last load that led to another snapshot.

    Returns:
        None where there was none, where its figures were not kept, or where they were computed
        under another rule for small numbers.
    """
    before = next((one.snapshot_id for one in loads(home) if one.snapshot_id != snapshot.id), None)
    return None if before is None else kept_figures(home, before, small_numbers)


def kept_figures(
    home: Path, snapshot_id: str, small_numbers: SmallNumbers | None = None
) -> LoadFigures | None:
    """The figures that a load kept.

    Returns:
        None where they were not kept, or were computed under another rule for small numbers.
    """
    rule, file = small_numbers or SmallNumbers.declared(), _file(home, snapshot_id)
    if not file.exists():
        return None
    content = json.loads(file.read_text(encoding="utf-8"))
    if content["smallest_cell"] != rule.smallest_cell:
        return None
    schools = [
        SchoolFigures(**one | {"last_taken": _day(one["last_taken"])}) for one in content["schools"]
    ]
    return LoadFigures(
        date.fromisoformat(content["day"]),
        content["smallest_cell"],
        {one.school_id: one for one in schools},
        tuple(
            SilentSchool(**one | {"since": _day(one["since"])}) for one in content.get("silent", ())
        ),
    )


def _file(home: Path, snapshot_id: str) -> Path:
    return home / "checks" / f"{snapshot_id}.json"


def _day(text: str | None) -> date | None:
    return None if text is None else date.fromisoformat(text)


def _by_name(school: SchoolFigures) -> tuple[str, str]:
    return school.name, school.school_id


def _create_stays(engine: duckdb.DuckDBPyConnection, today: date) -> None:
    engine.execute(_DAY.replace("{today}", today.isoformat()))
    for statement in (_STAYS, _ENROLLED):
        engine.execute(statement)


def _create_days(engine: duckdb.DuckDBPyConnection, snapshot: Snapshot, today: date) -> None:
    """The school days of this year, and what each student missed of those that count."""
    views = _Views(snapshot.id, snapshot.supports, engine)
    for name, make in (("year_days", school_days), ("students_days", _days_and_missed)):
        query = compile_query(make, today, today - timedelta(days=1))
        engine.register(name, query.arrow(views))


def _days_and_missed(records: TableProvider, as_of: Day, settled: Day) -> TableExpr:
    """One row a school and student: the days that count there, and how many were missed."""
    days = days_at_schools(records, as_of, settled)
    return days.group_by(CountedDays.SCHOOL_ID, CountedDays.STUDENT_ID).aggregate(
        days=days.count(), missed=days[CountedDays.ABSENT].fill_null(0.0).sum()
    )


@dataclass(frozen=True)
class _Views:
    """The views of a snapshot in an engine of its own, for a compiled query."""

    id: str
    supports: SupportCatalog
    engine: duckdb.DuckDBPyConnection

    def table(self, name: str) -> object:
        """Not used: a compiled query names its tables."""
        raise NotImplementedError(name)

    def from_clause(self, name: str) -> str:
        return f'"{name}"'


def _add(
    engine: duckdb.DuckDBPyConnection,
    query: str,
    by_school: dict[str, dict[str, Any]],
    parameters: Mapping[str, object] | None = None,
) -> None:
    """Add the columns of a query, one row a school, to the values of each."""
    result = engine.sql(query, params=parameters)
    for row in result.fetchall():
        values = dict(zip(result.columns, row, strict=True))
        by_school.setdefault(values["school_id"], {}).update(values)


def _add_groups(engine: duckdb.DuckDBPyConnection, by_school: dict[str, dict[str, Any]]) -> None:
    for values in by_school.values():
        values |= {"with_flag": {}, "without_flag": {}, "unknown": {}}
    for name in GROUPED_BY:
        is_flag = name in FLAGS
        query = (_FLAG if is_flag else _CHARACTERISTIC).replace("{name}", name)
        for school, yes, no, unknown in engine.sql(query).fetchall():
            if is_flag:
                by_school[school]["with_flag"][name] = yes
                by_school[school]["without_flag"][name] = no
            by_school[school]["unknown"][name] = unknown


_CHRONIC = {"fewest": FEWEST_DAYS, "chronic": CHRONIC_SHARE}

_DAY = "create table today as select date '{today}' as day"

_STAYS = """
create table stays as
select student_id, e.school_id, entry_date as first, coalesce(exit_date, date '9999-12-31') as last
from school_enrollments e join students s using (student_id), today
where entry_date <= day
union all
select student_id, school_id, date '1900-01-01', date '9999-12-31' from students
where school_id is not null and student_id not in (select student_id from school_enrollments)
"""

_ENROLLED = """
create table enrolled as
select distinct student_id, school_id from stays, today where day between first and last
"""

_SCHOOLS = """
with ids as (
  select school_id from schools union select school_id from enrolled
), counts as (
  select school_id, count(*) as enrolled from enrolled group by all
)
select school_id, coalesce(name, school_id) as name, coalesce(enrolled, 0) as enrolled
from ids left join schools using (school_id) left join counts using (school_id)
"""

_SCHOOL_DAYS = """
select i.school_id, count(distinct date) as school_days
from (select school_id from schools union select school_id from enrolled) i
left join (select school_id, date from year_days, today where date < day) using (school_id)
group by all
"""

_ATTENDANCE = """
with counts as (
  select school_id, count(*) as attended_by, 1 - sum(missed) / sum(days) as attendance,
    count(*) filter (days >= $fewest) as judged,
    count(*) filter (days >= $fewest and missed >= $chronic * days - 1e-9) as chronic
  from students_days group by all
), taken as (
  select school_id, count(distinct date) filter (is_known and date < day) as days_known,
    max(date) filter (state = 'taken') as last_taken
  from year_days, today group by all
)
select school_id, days_known, last_taken, coalesce(attended_by, 0) as attended_by, attendance,
  coalesce(judged, 0) as judged, coalesce(chronic, 0) as chronic
from taken left join counts using (school_id)
where school_id in (select school_id from schools union select school_id from enrolled)
"""

_MARKS = """
with dated as (
  select e.school_id, student_id, grade, school_year * 1000 + period as term
  from course_grades join enrolled e using (student_id), today where date <= day
), marks as (
  select * from dated qualify term = max(term) over (partition by school_id)
), ends as (
  select school_id, student_id, min(grade) as low, max(grade) as high from marks group by all
), ranked as (
  select *, row_number() over (partition by school_id order by low) as from_low,
    row_number() over (partition by school_id order by high desc) as from_high
  from ends
), limits as (
  select school_id, count(*) as marked,
    if(count(*) >= 2 * $smallest, min(low) filter (from_low = $smallest), null) as lowest,
    if(count(*) >= 2 * $smallest, max(high) filter (from_high = $smallest), null) as highest
  from ranked group by all
)
select school_id, marked, lowest, highest, avg(grade) as mean_mark
from limits join marks using (school_id) group by all
"""

_PROGRAMS = """
with active as (
  select e.school_id, student_id from service_enrollments join enrolled e using (student_id), today
  where start_date <= day and (end_date is null or end_date >= day)
)
select school_id, count(distinct student_id) as in_programs,
  count(student_id) as program_enrollments
from (select school_id from schools union select school_id from enrolled)
left join active using (school_id) group by all
"""

_FLAG = """
with periods as (
  select student_id, bool_or(first_date <= day) as has_begun,
    bool_or(first_date <= day and (last_date is null or last_date >= day)) as holds
  from {name}_periods, today group by all
), facts as (
  select school_id, case
    when holds is null then {name}
    when holds then true
    when has_begun or {name} is not null then false end as value
  from enrolled left join characteristics using (student_id) left join periods using (student_id)
)
select school_id, count(*) filter (value), count(*) filter (not value),
  count(*) filter (value is null)
from facts group by all
"""

_CHARACTERISTIC = """
select school_id, 0, 0, count(*) filter ({name} is null)
from enrolled left join characteristics using (student_id) group by all
"""
