"""Where records speak, and where they are silent: what the absence of a row may mean.

Of each table with dates, `coverage` says from when to when there are records; before the first one
nothing is known of anybody. Of each school day, `attendance_taken` says whether the school took
attendance. Most sources list absences and late arrivals only, so a student without an entry was at
school, if attendance was taken. A whole school without an entry was hardly ever all at school: its
day is missing, and says nothing of anybody. A small school may well have had a day without one.

A run of days is missing from the day on which at least `EXPECTED_ENTRIES` should have come since
it began, and fewer than `FEWEST_SHARE` of them did; never at a school with fewer students than
`FEWEST_STUDENTS`. What a school usually has is its own mean up to that day, and no more than
`USUAL_SHARE` of its students. The same is asked of all schools together, so that one day on which
nobody has taken attendance yet, or a holiday that the calendar lists, is missing at small schools
too. The state of a day rests on nothing that came after it.

A school that records who was there, and up to the day hardly an absence, is missing too, once
`EXPECTED_ENTRIES` absences should have come beside so many presences: a student without an entry
may have been absent, or nobody entered it. Never at a school with fewer students than
`FEWEST_STUDENTS` either.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import duckdb

from records.canonical.schema import TABLES
from records.loading.parquet import write_sorted
from records.snapshots.snapshot import DATE_COLUMNS
from records.snapshots.views import create_views

USUAL_SHARE = 0.05
"""Share of students with an entry on an ordinary day: about 6% of days are missed nationally in a
good year (U.S. Department of Education, average daily attendance of 94%), and a little less is
asked for."""

EXPECTED_ENTRIES = 5.0
"""Entries that a run of days should have before their absence is doubted: of that many expected,
none come by chance in 1 of 150 cases (a Poisson count)."""

FEWEST_SHARE = 0.1
"""Below this share of the expected entries a day counts as one without: a planned absence that was
entered ahead does not mean that attendance was taken."""

FEWEST_STUDENTS = 20
"""At a smaller school a run of days is never doubted: a handful of students may well have a good
autumn, and another child's moving there must not change what is said of this one."""

FEWEST_ABSENCES = 0.0025
"""Absences for each presence on record, below which a school does not record absences: about 6% of
days are missed, so that a list of both has twenty times as many."""

_QUERY = """
with entries as (
  select school_id, date, count(distinct student_id) as entries
  from attendance_events group by all
), presences as (
  select school_id, date,
    sum(count(*) filter (status = 'present')) over so_far as present,
    sum(count(*) filter (status not in ('present', 'tardy'))) over so_far as absent
  from attendance_events group by school_id, date
  window so_far as (partition by school_id order by date)
), stays as (
  select student_id, school_id, entry_date, exit_date, coalesce(calendar_code, '') as code
  from school_enrollments
  union all
  select student_id, school_id, null, null, '' from students
  where not exists (from school_enrollments)
), changes as (
  select school_id, code, coalesce(entry_date, date '1900-01-01') as date, 1 as change from stays
  union all
  select school_id, code, exit_date + 1, -1 from stays where exit_date is not null
), totals as (
  select school_id, code, date,
    sum(sum(change)) over (partition by school_id, code order by date) as total
  from changes group by school_id, code, date
), listed as (
  select school_id, date, school_year, coalesce(calendar_code, '') as code from calendar
), codes as (
  select distinct school_id, school_year, code from listed
), held as (
  select distinct c.school_id, c.date, s.code
  from listed c join (select distinct school_id, code from stays) s using (school_id)
  where c.code = s.code or (c.code = '' and
    (c.school_id, c.school_year, s.code) not in (select (school_id, school_year, code) from codes))
), enrolled as (
  select h.school_id, h.date, sum(t.total) as enrolled
  from held h asof join totals t
    on h.school_id = t.school_id and h.code = t.code and h.date >= t.date
  group by h.school_id, h.date
), days as (
  select c.school_id, c.date, c.school_year, coalesce(n.enrolled, 0) as enrolled,
    coalesce(e.entries, 0) as entries
  from (select school_id, date, max(school_year) as school_year from listed group by all) c
  left join enrolled n on c.school_id = n.school_id and c.date = n.date
  left join entries e on c.school_id = e.school_id and c.date = e.date
), usual as (
  select *, least($usual, coalesce(
    sum(entries) over earlier / nullif(sum(enrolled) filter (entries > 0) over earlier, 0), $usual
  )) as share
  from days
  window earlier as (partition by school_id, school_year order by date)
), schools as (
  select *, enrolled * share as expected from usual
), district as (
  select date, sum(entries) as entries, sum(expected) as expected,
    sum(enrolled) as enrolled
  from schools group by date
), everyone as (
  select school_id, date, entries, expected, enrolled from schools
  union all
  select null, date, entries, expected, enrolled from district
), numbered as (
  select *, entries < $fewest * expected or entries = 0 as is_thin,
    row_number() over (partition by school_id order by date)
      - row_number() over (
          partition by school_id, entries < $fewest * expected or entries = 0 order by date
        ) as run
  from everyone
), judged as (
  select *, is_thin and sum(expected - entries) over (
    partition by school_id, is_thin, run order by date
  ) >= $expected and enrolled >= $students as is_missing
  from numbered
)
select s.school_id, s.date,
  case
    when s.is_missing or (d.is_missing and s.is_thin) then 'missing'
    when s.enrolled >= $students and p.present * $usual >= $expected
      and p.absent < $fewest_absences * p.present then 'missing'
    when s.entries > 0 then 'taken'
    else 'quiet'
  end as state
from judged s join judged d on s.date = d.date and d.school_id is null
asof left join presences p on s.school_id = p.school_id and s.date >= p.date
where s.school_id is not null
"""


DATED: Mapping[str, str] = DATE_COLUMNS | {
    "behavior_incidents": "date",
    "service_enrollments": "start_date",
}
"""Table -> the column with its dates."""


def write_coverage(folder: Path, *, understands_attendance: bool) -> None:
    """Work out `coverage` and `attendance_taken` of the snapshot in `folder`, and write them there.

    Args:
        understands_attendance: whether somebody has explained the attendance codes. If not, no day
            is known, as where there is no calendar or no entry at all.
    """
    with duckdb.connect(config={"memory_limit": "400MB", "threads": "2"}) as engine:
        loaded = create_views(engine, folder)
        spans = [
            engine.table(name).aggregate(
                f"'{name}' as table_name, min({column}) as first_date, max({column}) as last_date"
            )
            for name, column in DATED.items()
        ]
        known = [span.filter("first_date is not null") for span in (*spans, _enrollments(engine))]
        (folder / "coverage.parquet").unlink(missing_ok=True)
        write_sorted(known, folder / "coverage.parquet", TABLES["coverage"])
        target = folder / "attendance_taken.parquet"
        target.unlink(missing_ok=True)
        if understands_attendance and "attendance_events" in loaded:
            states = engine.sql(
                _QUERY,
                params={
                    "usual": USUAL_SHARE,
                    "expected": EXPECTED_ENTRIES,
                    "fewest": FEWEST_SHARE,
                    "students": FEWEST_STUDENTS,
                    "fewest_absences": FEWEST_ABSENCES,
                },
            )
            write_sorted([states], target, TABLES["attendance_taken"])


def schools_without_absences(folder: Path) -> list[str]:
    """The schools of a snapshot that record who was there, and hardly an absence."""
    with duckdb.connect() as engine:
        if "attendance_events" not in create_views(engine, folder):
            return []
        schools = engine.sql(
            "select school_id from attendance_events group by school_id having"
            " count(*) filter (status = 'present') * $usual >= $expected"
            " and count(*) filter (status not in ('present', 'tardy'))"
            " < $fewest_absences * count(*) filter (status = 'present') order by school_id",
            params={
                "usual": USUAL_SHARE,
                "expected": EXPECTED_ENTRIES,
                "fewest_absences": FEWEST_ABSENCES,
            },
        )
        return [school for (school,) in schools.fetchall()]


def _enrollments(engine: duckdb.DuckDBPyConnection) -> duckdb.DuckDBPyRelation:
    """The span of enrollments: up to the day by which half of those that are open had begun.

    Where that is in this school year, the district enrolls its students anew each year.
    """
    return engine.table("school_enrollments").aggregate(
        "'school_enrollments' as table_name, min(entry_date) as first_date, coalesce("
        "quantile_disc(entry_date, 0.5) filter (exit_date is null), max(entry_date)) as last_date"
    )
