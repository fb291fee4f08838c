"""Attendance features, from the school days of each student's own school.

A school day without an entry counts as attended. Days are counted back from the last one up to
`as_of`, which is 1.
"""

from __future__ import annotations

from features.expressions import (
    ColumnExpr,
    Day,
    TableExpr,
    date_of,
    descending,
    row_number,
    table,
    window,
)
from records.access.scoped_records import ScopedRecords
from records.canonical.columns import (
    AttendanceEvents,
    Calendar,
    ColumnName,
    SchoolEnrollments,
    Students,
)
from records.canonical.schema import ABSENT_STATUSES


class StudentDays:
    """The columns of `student_days`. The flags are 0 or 1."""

    STUDENT_ID = Students.STUDENT_ID
    DATE = Calendar.DATE
    ABSENT = ColumnName("absent")
    EXCUSED = ColumnName("excused")
    LATE = ColumnName("late")
    MONDAY = ColumnName("monday")
    DAYS_AGO = ColumnName("days_ago")


_AT_SCHOOL, _ENTERED, _ENTERED_YEAR, _LEFT = (
    ColumnName("at_school"),
    ColumnName("entered"),
    ColumnName("entered_year"),
    ColumnName("left"),
)
_EVENT_STUDENT, _EVENT_DATE = ColumnName("event_student"), ColumnName("event_date")
_RECENCY, _STAY_STUDENT, _STAY_SCHOOL, _STAY_GRADE = (
    ColumnName("recency"),
    ColumnName("stay_student"),
    ColumnName("stay_school"),
    ColumnName("stay_grade"),
)
_ABSENCE_NUMBER, _RUN_LENGTH, _RUN_STUDENT, _LONGEST_RUN = (
    ColumnName("absence_number"),
    ColumnName("run_length"),
    ColumnName("run_student"),
    ColumnName("longest_run_60"),
)


def student_days(records: ScopedRecords, as_of: Day) -> TableExpr:
    """One row a student and school day of this school year, with the columns of `StudentDays`.

    The school is that of the latest enrollment up to `as_of`; where no enrollment is loaded, the
    student's school now. Days before the student entered and after the student left are left out.
    """
    days = _enrolled_days(records, as_of)
    events = _daily_attendance(records, as_of)
    joined = days.left_join(
        events, [(Students.STUDENT_ID, _EVENT_STUDENT), (Calendar.DATE, _EVENT_DATE)]
    )
    newest_first = window(Students.STUDENT_ID, order_by=[descending(Calendar.DATE)])
    return joined.select(
        Students.STUDENT_ID,
        Calendar.DATE,
        absent=joined[StudentDays.ABSENT].fill_null(0),
        excused=joined[StudentDays.EXCUSED].fill_null(0),
        late=joined[StudentDays.LATE].fill_null(0),
        monday=(joined[Calendar.DATE].day_of_week.index() == 0).cast("int64"),
        days_ago=row_number().over(newest_first) + 1,
    )


def attendance(records: ScopedRecords, as_of: Day) -> TableExpr:
    """One row a student with the attendance features."""
    days = student_days(records, as_of)
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
        current_run=(days_ago.min(where=absent == 0) - 1).fill_null(days.count()),
        unexcused_60=(absent - days[StudentDays.EXCUSED]).sum(where=last_60),
        excused_60=days[StudentDays.EXCUSED].sum(where=last_60),
        monday_absences_60=(absent * days[StudentDays.MONDAY]).sum(where=last_60),
        tardies_60=days[StudentDays.LATE].sum(where=last_60),
        days_enrolled_year=days.count(),
    )
    longest = _longest_runs(days.filter(last_60, absent == 1))
    joined = counts.left_join(longest, [(StudentDays.STUDENT_ID, _RUN_STUDENT)]).drop(_RUN_STUDENT)
    return joined.mutate(longest_run_60=joined[_LONGEST_RUN].fill_null(0))


def grade_level(records: ScopedRecords, as_of: Day) -> TableExpr:
    """Grade on the day; where no enrollment is loaded, the grade now."""
    return _stays(records, as_of).select(Students.STUDENT_ID, Students.GRADE_LEVEL)


def _enrolled_days(records: ScopedRecords, as_of: Day) -> TableExpr:
    """The days of this school year up to `as_of` on which each student was enrolled."""
    calendar = table(records, Calendar.TABLE)
    calendar = calendar.filter(calendar[Calendar.DATE] <= date_of(as_of))
    calendar = calendar.filter(
        calendar[Calendar.SCHOOL_YEAR] == calendar[Calendar.SCHOOL_YEAR].max().as_scalar()
    )
    stays = _stays(records, as_of).view()
    days = stays.inner_join(calendar, [(_AT_SCHOOL, Calendar.SCHOOL_ID)])
    day, entered, left = days[Calendar.DATE], days[_ENTERED], days[_LEFT]
    return days.filter(
        entered.isnull()
        | (day >= entered)
        # An enrollment of an earlier year that never ended says nothing of when this year began.
        | (days[_ENTERED_YEAR] != days[Calendar.SCHOOL_YEAR]),
        left.isnull() | (day <= left),
    ).select(Students.STUDENT_ID, Calendar.DATE)


def _daily_attendance(records: ScopedRecords, as_of: Day) -> TableExpr:
    """One row a student and day with an entry: whether absent, excused and late."""
    events = table(records, AttendanceEvents.TABLE)
    events = events.filter(events[AttendanceEvents.DATE] <= date_of(as_of))
    status = events[AttendanceEvents.STATUS]

    def flag(condition: ColumnExpr) -> ColumnExpr:
        return condition.max().cast("int64")

    return (
        events.group_by(AttendanceEvents.STUDENT_ID, event_date=events[AttendanceEvents.DATE])
        .aggregate(
            absent=flag(status.isin(ABSENT_STATUSES)),
            excused=flag(status == "absent_excused"),
            late=flag(status == "tardy"),
        )
        .rename(event_student=AttendanceEvents.STUDENT_ID)
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


def _stays(records: ScopedRecords, as_of: Day) -> TableExpr:
    """One row a student: the latest enrollment up to `as_of`, with its year's first entry."""
    enrollments = table(records, SchoolEnrollments.TABLE)
    entry_date = enrollments[SchoolEnrollments.ENTRY_DATE]
    enrollments = enrollments.filter(entry_date <= date_of(as_of))
    latest_first = window(
        SchoolEnrollments.STUDENT_ID,
        order_by=[descending(SchoolEnrollments.ENTRY_DATE), SchoolEnrollments.SCHOOL_ID],
    )
    same_year = window(SchoolEnrollments.STUDENT_ID, SchoolEnrollments.SCHOOL_YEAR)
    ranked = enrollments.mutate(
        recency=row_number().over(latest_first),
        entered=enrollments[SchoolEnrollments.ENTRY_DATE].min().over(same_year),
    )
    latest = ranked.filter(ranked[_RECENCY] == 0).select(
        stay_student=SchoolEnrollments.STUDENT_ID,
        stay_school=SchoolEnrollments.SCHOOL_ID,
        entered=_ENTERED,
        entered_year=SchoolEnrollments.SCHOOL_YEAR,
        left=SchoolEnrollments.EXIT_DATE,
        stay_grade=SchoolEnrollments.GRADE_LEVEL,
    )
    students = table(records, Students.TABLE).select(
        Students.STUDENT_ID, Students.SCHOOL_ID, Students.GRADE_LEVEL
    )
    joined = students.left_join(latest, [(Students.STUDENT_ID, _STAY_STUDENT)])
    return joined.select(
        Students.STUDENT_ID,
        _ENTERED,
        _ENTERED_YEAR,
        _LEFT,
        at_school=joined[_STAY_SCHOOL].fill_null(joined[Students.SCHOOL_ID]),
        grade_level=joined[_STAY_GRADE].fill_null(joined[Students.GRADE_LEVEL]),
    )
