"""Attendance features, from the school days of every stay of a student at a school.

Which days count, and what was missed of them, is said in `records.access.attendance_days`; where no
day counts, every attendance feature is missing.

Days are counted back from the last one that counts, which is 1. A run of absences is of days of
which more than half was missed; the sums and rates are of parts of days. Source of what a day
absent is: U.S. Department of Education, EDFacts file C195, which counts a day of which at least
half was missed; with parts of days added up, a student who misses half of 18 days has missed 9.
"""

from __future__ import annotations

from records.access.attendance_days import CountedDays, days_of_students
from records.access.expressions import (
    Day,
    TableExpr,
    date_of,
    descending,
    known_where,
    row_number,
    table,
    window,
)
from records.access.scoped_records import ScopedRecords
from records.canonical.columns import ColumnName, SchoolEnrollments, Students


class StudentDays(CountedDays):
    """The columns of `student_days`: those of days that count, with 0 where there is no entry.

    `MONDAY` is 0 or 1, `DAYS_AGO` the place of the day, counted back from the last, which is 1.
    """

    MONDAY = ColumnName("monday")
    DAYS_AGO = ColumnName("days_ago")


MOST_OF_A_DAY = 0.5
"""A day of which more than this share was missed belongs to a run of absences."""

MOST_DAYS_SINCE = 2
"""School days since the last one on record after which nothing is said of the last days: the school
has gone silent, or the student has left."""

_AWAY = ColumnName("away")
_LAST_10, _CHANGE, _CURRENT_RUN = (
    ColumnName("absences_last_10"),
    ColumnName("absence_change"),
    ColumnName("current_run"),
)
_UNEXCUSED_AWAY, _MAYBE_UNEXCUSED = ColumnName("unexcused_away"), ColumnName("maybe_unexcused")
_UNEXCUSED_RUN, _LONGEST_UNEXCUSED = ColumnName("unexcused_run"), ColumnName("longest_unexcused")
_EXPLAINED, _ABSENT_YEAR, _UNEXCUSED_DAYS, _UNEXCUSED_RATE = (
    ColumnName("explained"),
    ColumnName("absent_days_year"),
    ColumnName("unexcused_days_year"),
    ColumnName("unexcused_rate_year"),
)
_RECENCY, _STAY_STUDENT, _STAY_GRADE = (
    ColumnName("recency"),
    ColumnName("stay_student"),
    ColumnName("stay_grade"),
)
_ABSENCE_NUMBER, _RUN_LENGTH, _RUN_STUDENT, _LONGEST_RUN = (
    ColumnName("absence_number"),
    ColumnName("run_length"),
    ColumnName("run_student"),
    ColumnName("longest_run_60"),
)


def student_days(records: ScopedRecords, as_of: Day, settled: Day | None = None) -> TableExpr:
    """One row a student and school day of this school year, with the columns of `StudentDays`.

    Args:
        as_of: the last day that may count.
        settled: the last day that may count without an entry at a school so small that nobody need
            have been absent; `as_of` if left out. On a page that stands on today it is yesterday:
            nobody knows yet who is at school today.
    """
    days = days_of_students(records, as_of, as_of if settled is None else settled)
    newest_first = window(Students.STUDENT_ID, order_by=[descending(StudentDays.DATE)])
    return days.select(
        StudentDays.STUDENT_ID,
        StudentDays.DATE,
        absent=days[StudentDays.ABSENT].fill_null(0.0),
        excused=days[StudentDays.EXCUSED].fill_null(0.0),
        unexcused=days[StudentDays.UNEXCUSED].fill_null(0.0),
        late=days[StudentDays.LATE].fill_null(0),
        monday=(days[StudentDays.DATE].day_of_week.index() == 0).cast("int64"),
        days_ago=row_number().over(newest_first) + 1,
        days_since=days[StudentDays.DAYS_SINCE],
        school_id=days[StudentDays.SCHOOL_ID],
    )


def attendance(records: ScopedRecords, as_of: Day, settled: Day | None = None) -> TableExpr:
    """One row a student with the attendance features; see `student_days` for the days."""
    days = student_days(records, as_of, settled)
    days = days.mutate(
        away=(days[StudentDays.ABSENT] > MOST_OF_A_DAY).cast("int64"),
        unexcused_away=(days[StudentDays.UNEXCUSED] > MOST_OF_A_DAY).cast("int64"),
        # Of an absence that is neither excused nor unexcused on record nobody knows which it was.
        maybe_unexcused=(days[StudentDays.ABSENT] - days[StudentDays.EXCUSED] > MOST_OF_A_DAY).cast(
            "int64"
        ),
    )
    absent, days_ago = days[StudentDays.ABSENT], days[StudentDays.DAYS_AGO]
    last_60, last_30, last_10 = days_ago <= 60, days_ago <= 30, days_ago <= 10
    month_before = (days_ago > 30) & last_60
    counts = days.group_by(StudentDays.STUDENT_ID).aggregate(
        absences_last_10=absent.sum(where=last_10),
        absences_last_30=absent.sum(where=last_30),
        absence_rate_year=absent.mean(),
        absence_rate_60=absent.mean(where=last_60),
        absence_change=absent.mean(where=last_30) - absent.mean(where=month_before),
        absent_days_year=absent.sum(),
        # Whoever was absent on every day has no last attended day: all days are the run.
        current_run=(days_ago.min(where=days[_AWAY] == 0) - 1).fill_null(days.count()),
        unexcused_run=(days_ago.min(where=days[_UNEXCUSED_AWAY] == 0) - 1).fill_null(days.count()),
        longest_unexcused=(days_ago.min(where=days[_MAYBE_UNEXCUSED] == 0) - 1).fill_null(
            days.count()
        ),
        unexcused_days_year=days[StudentDays.UNEXCUSED].sum(),
        unexcused_rate_year=days[StudentDays.UNEXCUSED].mean(),
        explained=(days[StudentDays.EXCUSED] + days[StudentDays.UNEXCUSED]).sum(),
        unexcused_60=days[StudentDays.UNEXCUSED].sum(where=last_60),
        excused_60=days[StudentDays.EXCUSED].sum(where=last_60),
        monday_absences_60=(absent * days[StudentDays.MONDAY]).sum(where=last_60),
        tardies_60=days[StudentDays.LATE].sum(where=last_60),
        days_enrolled_year=days.count(),
        days_since=days[StudentDays.DAYS_SINCE].min(where=days_ago == 1),
    )
    is_recent = counts[StudentDays.DAYS_SINCE] <= MOST_DAYS_SINCE
    # Where absences are on record and none says of what kind, how many were unexcused is unknown.
    is_explained = (counts[_EXPLAINED] > 0) | (counts[_ABSENT_YEAR] == 0)
    counts = counts.mutate(
        absences_last_10=known_where(is_recent, counts[_LAST_10]),
        absence_change=known_where(is_recent, counts[_CHANGE]),
        current_run=known_where(is_recent, counts[_CURRENT_RUN]),
        unexcused_run=known_where(
            is_recent & (counts[_UNEXCUSED_RUN] == counts[_LONGEST_UNEXCUSED]),
            counts[_UNEXCUSED_RUN],
        ),
        unexcused_days_year=known_where(is_explained, counts[_UNEXCUSED_DAYS]),
        unexcused_rate_year=known_where(is_explained, counts[_UNEXCUSED_RATE]),
    ).drop(StudentDays.DAYS_SINCE, _LONGEST_UNEXCUSED, _EXPLAINED)
    longest = _longest_runs(days.filter(last_60, days[_AWAY] == 1))
    joined = counts.left_join(longest, [(StudentDays.STUDENT_ID, _RUN_STUDENT)]).drop(_RUN_STUDENT)
    return joined.mutate(longest_run_60=joined[_LONGEST_RUN].fill_null(0))


def grade_level(records: ScopedRecords, as_of: Day) -> TableExpr:
    """Grade on the day, by the latest enrollment; where no enrollment is loaded, the grade now."""
    enrollments = table(records, SchoolEnrollments.TABLE)
    entry_date = enrollments[SchoolEnrollments.ENTRY_DATE]
    enrollments = enrollments.filter(entry_date <= date_of(as_of))
    latest_first = window(
        SchoolEnrollments.STUDENT_ID,
        order_by=[descending(SchoolEnrollments.ENTRY_DATE), SchoolEnrollments.SCHOOL_ID],
    )
    ranked = enrollments.mutate(recency=row_number().over(latest_first))
    latest = ranked.filter(ranked[_RECENCY] == 0).select(
        stay_student=SchoolEnrollments.STUDENT_ID,
        stay_grade=SchoolEnrollments.GRADE_LEVEL,
    )
    students = table(records, Students.TABLE).select(Students.STUDENT_ID, Students.GRADE_LEVEL)
    joined = students.left_join(latest, [(Students.STUDENT_ID, _STAY_STUDENT)])
    return joined.select(
        Students.STUDENT_ID,
        grade_level=joined[_STAY_GRADE].fill_null(joined[Students.GRADE_LEVEL]),
    )


def _longest_runs(absences: TableExpr) -> TableExpr:
    """The longest run of absences in a row of each student.

    Within a run, `days_ago` less the number of the absence is constant, and it differs between runs
    ("gaps and islands").
    """
    in_order = window(StudentDays.STUDENT_ID, order_by=[StudentDays.DAYS_AGO])
    numbered = absences.mutate(absence_number=row_number().over(in_order))
    run = numbered[StudentDays.DAYS_AGO] - numbered[_ABSENCE_NUMBER]
    runs = numbered.group_by(StudentDays.STUDENT_ID, run=run).aggregate(run_length=numbered.count())
    return (
        runs.group_by(StudentDays.STUDENT_ID)
        .aggregate(longest_run_60=runs[_RUN_LENGTH].max())
        .rename(run_student=StudentDays.STUDENT_ID)
    )
