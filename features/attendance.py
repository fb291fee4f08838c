"""Attendance features, from the school days of every stay of a student at a school.

A day counts when the student was enrolled on it, classes were held, and the school took attendance
(`records.loading.coverage`). A student without an entry on such a day was at school. Of
days on which nobody took attendance nothing is known, and they count neither way; where no day
counts, every attendance feature is missing.

A day is missed as far as its entries say: half a day and another half are one day, never more. Days
are counted back from the last one that counts, which is 1. A run of absences is of days of which
more than half was missed; the sums and rates are of parts of days. Source of what a day absent is:
U.S. Department of Education, EDFacts file C195, which counts a day of which at least half was
missed; with parts of days added up, a student who misses half of 18 days has missed 9.
"""

from __future__ import annotations

from datetime import timedelta

from features.expressions import (
    Day,
    TableExpr,
    date_of,
    descending,
    earlier,
    known_where,
    null,
    row_number,
    smaller,
    table,
    text,
    window,
)
from records.access.scoped_records import ScopedRecords
from records.canonical.columns import (
    AttendanceEvents,
    AttendanceTaken,
    Calendar,
    ColumnName,
    Coverage,
    SchoolEnrollments,
    Students,
)
from records.canonical.schema import ABSENT_STATUSES


class StudentDays:
    """The columns of `student_days`.

    `ABSENT`, `EXCUSED` and `UNEXCUSED` are shares of the day, 0 to 1; of an absence that is neither
    excused nor unexcused on record only `ABSENT` speaks. `LATE` and `MONDAY` are 0 or 1.
    `DAYS_SINCE` is how many school days the school has had since.
    """

    STUDENT_ID = Students.STUDENT_ID
    DATE = Calendar.DATE
    ABSENT = ColumnName("absent")
    EXCUSED = ColumnName("excused")
    UNEXCUSED = ColumnName("unexcused")
    LATE = ColumnName("late")
    MONDAY = ColumnName("monday")
    DAYS_AGO = ColumnName("days_ago")
    DAYS_SINCE = ColumnName("days_since")


MOST_OF_A_DAY = 0.5
"""A day of which more than this share was missed belongs to a run of absences."""

MOST_DAYS_SINCE = 2
"""School days since the last one on record after which nothing is said of the last days: the school
has gone silent, or the student has left."""

_ONE_YEAR = timedelta(days=365)
_STAYS = SchoolEnrollments
_EVENT_STUDENT, _EVENT_DATE, _EVENT_SCHOOL = (
    ColumnName("event_student"),
    ColumnName("event_date"),
    ColumnName("event_school"),
)
_TAKEN_SCHOOL, _TAKEN_DATE = ColumnName("taken_school"), ColumnName("taken_date")
_TWO_STUDENT, _OTHER_SCHOOL, _OTHER_ENTRY, _OTHER_EXIT = (
    ColumnName("two_student"),
    ColumnName("other_school"),
    ColumnName("other_entry"),
    ColumnName("other_exit"),
)
_HALF_BEGUN, _YEAR_BEGAN = ColumnName("half_begun"), ColumnName("year_began")
_ENROLLING = timedelta(days=60)
"""How long before the first school day a school year's enrollments may begin."""

_SCHOOL_NOW, _STUDENT_NOW = ColumnName("school_now"), ColumnName("student_now")
_CHOICE, _SCHOOLS_THAT_DAY = ColumnName("choice"), ColumnName("schools_that_day")
_AWAY, _EVER_TAKEN = ColumnName("away"), ColumnName("ever_taken")
_SCHOOL_DAYS, _SCHOOL_DAY_NUMBER = ColumnName("school_days"), ColumnName("school_day_number")
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

    Days before the student entered, after the student left and between two stays are left out. On a
    day at two schools the student's school now counts, else the one entered last.
    """
    taken = _days_taken(records, as_of, as_of if settled is None else settled)
    stays = _all_stays(records, as_of)
    in_two = _students_at_two_schools(stays)
    pairs = [(_STAYS.STUDENT_ID, _TWO_STUDENT)]
    events = _daily_attendance(records, as_of)
    days = _days_at_one_school(stays.anti_join(in_two, pairs), taken, events).union(
        _days_at_two_schools(stays.semi_join(in_two, pairs), taken, events)
    )
    newest_first = window(Students.STUDENT_ID, order_by=[descending(Calendar.DATE)])
    return days.select(
        Students.STUDENT_ID,
        Calendar.DATE,
        absent=days[StudentDays.ABSENT].fill_null(0.0),
        excused=days[StudentDays.EXCUSED].fill_null(0.0),
        unexcused=days[StudentDays.UNEXCUSED].fill_null(0.0),
        late=days[StudentDays.LATE].fill_null(0),
        monday=(days[Calendar.DATE].day_of_week.index() == 0).cast("int64"),
        days_ago=row_number().over(newest_first) + 1,
        days_since=days[StudentDays.DAYS_SINCE],
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


_OF_A_DAY = (
    Students.STUDENT_ID,
    Calendar.DATE,
    StudentDays.DAYS_SINCE,
    StudentDays.ABSENT,
    StudentDays.EXCUSED,
    StudentDays.UNEXCUSED,
    StudentDays.LATE,
)


def _days_at_one_school(stays: TableExpr, taken: TableExpr, events: TableExpr) -> TableExpr:
    """The days that count of students who were never at two schools at once, with their entries."""
    return _with_entries(_days_of_stays(stays, taken), _capped(events))


def _days_at_two_schools(stays: TableExpr, taken: TableExpr, events: TableExpr) -> TableExpr:
    """The days that count of the others: each day at the one school that counts that day."""
    days = _days_of_stays(stays, taken)
    one_day = (Students.STUDENT_ID, Calendar.DATE)
    days = days.mutate(
        choice=row_number().over(
            window(
                *one_day,
                order_by=[
                    descending((days[_SCHOOL_NOW] == days[_STAYS.SCHOOL_ID]).fill_null(False)),
                    descending(_STAYS.ENTRY_DATE),
                    _STAYS.SCHOOL_ID,
                ],
            )
        ),
        schools_that_day=days[_STAYS.SCHOOL_ID].nunique().over(window(*one_day)),
    )
    days = days.filter(days[_CHOICE] == 0)
    return _with_entries(days, _missed(days, events))


def _with_entries(days: TableExpr, missed: TableExpr) -> TableExpr:
    """Days with what was missed of them, in the columns `_OF_A_DAY`."""
    return days.left_join(
        missed, [(Students.STUDENT_ID, _EVENT_STUDENT), (Calendar.DATE, _EVENT_DATE)]
    ).select(*_OF_A_DAY)


def _days_of_stays(stays: TableExpr, taken: TableExpr) -> TableExpr:
    """One row a stay and day within it on which its school took attendance."""
    days = stays.inner_join(taken, [(_STAYS.SCHOOL_ID, Calendar.SCHOOL_ID)])
    day, entered, left = days[Calendar.DATE], days[_STAYS.ENTRY_DATE], days[_STAYS.EXIT_DATE]
    begun = earlier(days[_YEAR_BEGAN], _ENROLLING)
    return days.filter(
        entered.isnull() | (day >= entered),
        left.isnull() | (day <= left),
        left.notnull()
        | (entered >= begun).fill_null(True)
        | (days[_HALF_BEGUN] < begun).fill_null(True),
    )


def _students_at_two_schools(stays: TableExpr) -> TableExpr:
    """The students of whom two stays have a day in common."""
    others = stays.select(
        two_student=_STAYS.STUDENT_ID,
        other_school=_STAYS.SCHOOL_ID,
        other_entry=_STAYS.ENTRY_DATE,
        other_exit=_STAYS.EXIT_DATE,
    ).view()
    pairs = stays.inner_join(others, [(_STAYS.STUDENT_ID, _TWO_STUDENT)])
    entered, left = pairs[_STAYS.ENTRY_DATE], pairs[_STAYS.EXIT_DATE]
    entered_other, left_other = pairs[_OTHER_ENTRY], pairs[_OTHER_EXIT]
    is_another = (pairs[_STAYS.SCHOOL_ID] != pairs[_OTHER_SCHOOL]) | (entered != entered_other)
    return (
        pairs.filter(
            is_another,
            left_other.isnull() | (entered <= left_other),
            left.isnull() | (entered_other <= left),
        )
        .select(_TWO_STUDENT)
        .distinct()
    )


def _days_taken(records: ScopedRecords, as_of: Day, settled: Day) -> TableExpr:
    """The school days of this school year on which each school took attendance, and days since.

    A school year that began more than a year before `as_of` is not this one, whatever came last;
    and before any school has taken attendance in a year, no day of it counts.
    """
    calendar = table(records, Calendar.TABLE)
    calendar = calendar.filter(calendar[Calendar.DATE] <= date_of(as_of))
    calendar = calendar.filter(
        calendar[Calendar.SCHOOL_YEAR] == calendar[Calendar.SCHOOL_YEAR].max().as_scalar()
    )
    calendar = calendar.filter(
        calendar[Calendar.DATE].min().as_scalar() > date_of(as_of - _ONE_YEAR)
    )
    taken = table(records, AttendanceTaken.TABLE).select(
        AttendanceTaken.STATE,
        taken_school=AttendanceTaken.SCHOOL_ID,
        taken_date=AttendanceTaken.DATE,
    )
    days = calendar.inner_join(
        taken, [(Calendar.SCHOOL_ID, _TAKEN_SCHOOL), (Calendar.DATE, _TAKEN_DATE)]
    )
    is_taken = days[AttendanceTaken.STATE] == "taken"
    is_quiet = days[AttendanceTaken.STATE] == "quiet"
    is_settled = days[Calendar.DATE] <= date_of(settled)
    of_school = window(Calendar.SCHOOL_ID)
    in_order = window(Calendar.SCHOOL_ID, order_by=[Calendar.DATE])
    days = days.mutate(
        ever_taken=is_taken.any().over(window()),
        year_began=days[Calendar.DATE].min().over(window()),
        school_day_number=row_number().over(in_order) + 1,
        school_days=is_settled.cast("int64").sum().over(of_school),
    )
    days = days.mutate(days_since=days[_SCHOOL_DAYS] - days[_SCHOOL_DAY_NUMBER])
    return days.filter(days[_EVER_TAKEN], is_taken | (is_quiet & is_settled)).select(
        Calendar.SCHOOL_ID, Calendar.DATE, StudentDays.DAYS_SINCE, _YEAR_BEGAN
    )


def _all_stays(records: ScopedRecords, as_of: Day) -> TableExpr:
    """Every stay that began up to `as_of`, beside the student's school now.

    Where the district sends no enrollments at all, a student is at the school now, on every day.
    `_HALF_BEGUN` is the day by which half of the open stays had begun: where that is this year, an
    open stay of an earlier year is one that nobody closed.
    """
    enrollments = table(records, SchoolEnrollments.TABLE)
    enrollments = enrollments.filter(enrollments[_STAYS.ENTRY_DATE] <= date_of(as_of))
    enrollments = enrollments.select(
        _STAYS.STUDENT_ID, _STAYS.SCHOOL_ID, _STAYS.ENTRY_DATE, _STAYS.EXIT_DATE
    )
    students = table(records, Students.TABLE).select(
        student_now=Students.STUDENT_ID, school_now=Students.SCHOOL_ID
    )
    coverage = table(records, Coverage.TABLE)
    sends_enrollments = coverage.filter(coverage[Coverage.TABLE_NAME] == SchoolEnrollments.TABLE)
    without = students.select(
        student_id=_STUDENT_NOW,
        school_id=_SCHOOL_NOW,
        entry_date=null("date"),
        exit_date=null("date"),
    )
    without = without.mutate(table_name=text(SchoolEnrollments.TABLE)).anti_join(
        sends_enrollments.select(Coverage.TABLE_NAME), [(Coverage.TABLE_NAME, Coverage.TABLE_NAME)]
    )
    without = without.drop(Coverage.TABLE_NAME)
    stays = enrollments.union(without)
    stays = stays.inner_join(students, [(_STAYS.STUDENT_ID, _STUDENT_NOW)]).drop(_STUDENT_NOW)
    return stays.mutate(half_begun=sends_enrollments[Coverage.LAST_DATE].max().as_scalar())


def _daily_attendance(records: ScopedRecords, as_of: Day) -> TableExpr:
    """One row a student, school and day with an entry: how much of the day was missed, and how."""
    events = table(records, AttendanceEvents.TABLE)
    events = events.filter(events[AttendanceEvents.DATE] <= date_of(as_of))
    status, share = events[AttendanceEvents.STATUS], events[AttendanceEvents.ABSENT_SHARE]
    is_absent = status.isin(ABSENT_STATUSES).cast("float64")
    is_partial = (status == "partial").cast("float64")
    missed = is_absent * share.fill_null(1.0) + is_partial * share.fill_null(0.0)
    events = events.mutate(
        absent=missed,
        excused=missed * (status == "absent_excused").cast("float64"),
        unexcused=missed * (status == "absent_unexcused").cast("float64"),
        late=(status == "tardy").cast("int64"),
    )
    return events.group_by(
        event_student=events[AttendanceEvents.STUDENT_ID],
        event_date=events[AttendanceEvents.DATE],
        event_school=events[AttendanceEvents.SCHOOL_ID],
    ).aggregate(
        absent=events[StudentDays.ABSENT].sum(),
        excused=events[StudentDays.EXCUSED].sum(),
        unexcused=events[StudentDays.UNEXCUSED].sum(),
        late=events[StudentDays.LATE].max(),
    )


def _missed(days: TableExpr, events: TableExpr) -> TableExpr:
    """One row a student and day with an entry; at two schools, only the one that counts."""
    matched = events.inner_join(
        days, [(_EVENT_STUDENT, Students.STUDENT_ID), (_EVENT_DATE, Calendar.DATE)]
    )
    return _capped(
        matched.filter(
            (matched[_SCHOOLS_THAT_DAY] == 1)
            | (matched[_EVENT_SCHOOL] == matched[_STAYS.SCHOOL_ID])
        )
    )


def _capped(events: TableExpr) -> TableExpr:
    """The entries of each student and day added up, to one day at most."""
    sums = events.group_by(_EVENT_STUDENT, event_date=events[_EVENT_DATE]).aggregate(
        absent=events[StudentDays.ABSENT].sum(),
        excused=events[StudentDays.EXCUSED].sum(),
        unexcused=events[StudentDays.UNEXCUSED].sum(),
        late=events[StudentDays.LATE].max(),
    )
    excused = smaller(sums[StudentDays.EXCUSED], 1.0)
    return sums.mutate(
        absent=smaller(sums[StudentDays.ABSENT], 1.0),
        excused=excused,
        unexcused=smaller(sums[StudentDays.UNEXCUSED], 1.0 - excused),
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
