"""Which days count of which student, and what was missed of them: the one place that says so.

A day counts when the student was enrolled on it, classes were held, and the school took attendance
(`records.loading.coverage`). A student without an entry on such a day was at school. Of days on
which nobody took attendance nothing is known, and they count neither way.

A day is missed as far as its entries say: half a day and another half are one day, never more. The
features of a student count each day at one school (`days_of_students`), the figures of a school
each of its own students' days (`days_at_schools`).

A school may have several calendars. An enrollment follows the one that it names, if the school has
it in the enrollment's own year; else the days common to all, which have no code: no other day is
known to be one of the student's.
"""

from __future__ import annotations

from datetime import timedelta

from records.access.expressions import (
    Day,
    TableExpr,
    date_of,
    descending,
    earlier,
    null,
    row_number,
    smaller,
    table,
    text,
    window,
)
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
from records.snapshots.queries import TableProvider


class CountedDays:
    """The columns of days that count.

    `ABSENT`, `EXCUSED` and `UNEXCUSED` are shares of the day, 0 to 1; of an absence that is neither
    excused nor unexcused on record only `ABSENT` speaks. `LATE` is 0 or 1. All four are missing
    where the day has no entry. `DAYS_SINCE` is how many school days the school has had since.
    """

    STUDENT_ID = Students.STUDENT_ID
    SCHOOL_ID = SchoolEnrollments.SCHOOL_ID
    DATE = Calendar.DATE
    DAYS_SINCE = ColumnName("days_since")
    ABSENT = ColumnName("absent")
    EXCUSED = ColumnName("excused")
    UNEXCUSED = ColumnName("unexcused")
    LATE = ColumnName("late")


IS_KNOWN = ColumnName("is_known")
"""Of a school day: whether it is known who was at school."""

_ONE_YEAR = timedelta(days=365)
_STAYS = SchoolEnrollments
_EVENT_STUDENT, _EVENT_DATE, _EVENT_SCHOOL = (
    ColumnName("event_student"),
    ColumnName("event_date"),
    ColumnName("event_school"),
)
_TAKEN_SCHOOL, _TAKEN_DATE = ColumnName("taken_school"), ColumnName("taken_date")
_CODED_SCHOOL, _CODED_YEAR, _CODED = (
    ColumnName("coded_school"),
    ColumnName("coded_year"),
    ColumnName("coded"),
)
_CODE = ColumnName("code")
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
_EVER_TAKEN = ColumnName("ever_taken")
_SCHOOL_DAYS, _SCHOOL_DAY_NUMBER = ColumnName("school_days"), ColumnName("school_day_number")
_ONE_DAY = (Students.STUDENT_ID, Calendar.DATE)
_OF_A_DAY = (
    CountedDays.STUDENT_ID,
    CountedDays.SCHOOL_ID,
    CountedDays.DATE,
    CountedDays.DAYS_SINCE,
    CountedDays.ABSENT,
    CountedDays.EXCUSED,
    CountedDays.UNEXCUSED,
    CountedDays.LATE,
)


def days_of_students(records: TableProvider, as_of: Day, settled: Day) -> TableExpr:
    """One row a student and day of this school year that counts, with the columns `CountedDays`.

    Args:
        as_of: the last day that may count.
        settled: the last day that may count without an entry at a school so small that nobody need
            have been absent.

    Days before the student entered, after the student left and between two stays are left out. On a
    day at two schools the student's school now counts, else the one entered last.
    """
    taken = _days_taken(records, as_of, settled)
    stays, in_two = _stays(records, as_of)
    events = _daily_attendance(records, as_of)
    return _days_at_one_school(stays, in_two, taken, events).union(
        _days_at_two_schools(stays, in_two, taken, events)
    )


def days_at_schools(records: TableProvider, as_of: Day, settled: Day) -> TableExpr:
    """As `days_of_students`, but on a day at two schools a row for each of them.

    There an absence counts at the school that recorded it.
    """
    taken = _days_taken(records, as_of, settled)
    stays, in_two = _stays(records, as_of)
    events = _daily_attendance(records, as_of)
    return _days_at_one_school(stays, in_two, taken, events).union(
        _days_at_each_school(stays, in_two, taken, events)
    )


def school_days(records: TableProvider, as_of: Day, settled: Day) -> TableExpr:
    """One row a school, calendar of the school and school day of this school year, up to `as_of`.

    A school year that began more than a year before `as_of` is not this one, whatever came last;
    and before any school has taken attendance in a year, no day of it is known.

    Returns:
        School, code of the calendar (empty for the days common to all), date, state, `IS_KNOWN`,
        `CountedDays.DAYS_SINCE` and the first day of the year.
    """
    calendar = table(records, Calendar.TABLE)
    calendar = calendar.mutate(code=calendar[Calendar.CALENDAR_CODE].fill_null(text("")))
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
    days = calendar.left_join(
        taken, [(Calendar.SCHOOL_ID, _TAKEN_SCHOOL), (Calendar.DATE, _TAKEN_DATE)]
    )
    days = days.mutate(state=days[AttendanceTaken.STATE].fill_null(text("missing")))
    is_taken = days[AttendanceTaken.STATE] == "taken"
    is_quiet = days[AttendanceTaken.STATE] == "quiet"
    is_settled = days[Calendar.DATE] <= date_of(settled)
    of_calendar = window(Calendar.SCHOOL_ID, _CODE)
    in_order = window(Calendar.SCHOOL_ID, _CODE, order_by=[Calendar.DATE])
    days = days.mutate(
        ever_taken=is_taken.any().over(window()),
        year_began=days[Calendar.DATE].min().over(window()),
        school_day_number=row_number().over(in_order) + 1,
        school_days=is_settled.cast("int64").sum().over(of_calendar),
        is_known=is_taken | (is_quiet & is_settled),
    )
    return days.select(
        Calendar.SCHOOL_ID,
        _CODE,
        Calendar.DATE,
        AttendanceTaken.STATE,
        _YEAR_BEGAN,
        is_known=days[_EVER_TAKEN] & days[IS_KNOWN],
        days_since=days[_SCHOOL_DAYS] - days[_SCHOOL_DAY_NUMBER],
    )


def _days_taken(records: TableProvider, as_of: Day, settled: Day) -> TableExpr:
    days = school_days(records, as_of, settled)
    return days.filter(days[IS_KNOWN]).drop(IS_KNOWN, AttendanceTaken.STATE)


def _stays(records: TableProvider, as_of: Day) -> tuple[TableExpr, TableExpr]:
    """Every stay, and the students of whom two stays have a day in common."""
    stays = _with_calendars(records, _all_stays(records, as_of), as_of)
    return stays, _students_at_two_schools(stays)


def _days_at_one_school(
    stays: TableExpr, in_two: TableExpr, taken: TableExpr, events: TableExpr
) -> TableExpr:
    """The days that count of students who were never at two schools at once, with their entries."""
    own = stays.anti_join(in_two, [(_STAYS.STUDENT_ID, _TWO_STUDENT)])
    return _with_entries(_days_of_stays(own, taken), _capped(events))


def _days_at_two_schools(
    stays: TableExpr, in_two: TableExpr, taken: TableExpr, events: TableExpr
) -> TableExpr:
    """The days that count of the others: each day at the one school that counts that day."""
    own = stays.semi_join(in_two, [(_STAYS.STUDENT_ID, _TWO_STUDENT)])
    days = _days_of_stays(own, taken)
    days = days.mutate(
        choice=row_number().over(
            window(
                *_ONE_DAY,
                order_by=[
                    descending((days[_SCHOOL_NOW] == days[_STAYS.SCHOOL_ID]).fill_null(False)),
                    descending(_STAYS.ENTRY_DATE),
                    _STAYS.SCHOOL_ID,
                ],
            )
        ),
        schools_that_day=days[_STAYS.SCHOOL_ID].nunique().over(window(*_ONE_DAY)),
    )
    days = days.filter(days[_CHOICE] == 0)
    return _with_entries(days, _capped(_missed(days, events)))


def _days_at_each_school(
    stays: TableExpr, in_two: TableExpr, taken: TableExpr, events: TableExpr
) -> TableExpr:
    """The days that count of the others at every school, once for each."""
    own = stays.semi_join(in_two, [(_STAYS.STUDENT_ID, _TWO_STUDENT)])
    days = _days_of_stays(own, taken)
    days = days.select(
        Students.STUDENT_ID, _STAYS.SCHOOL_ID, Calendar.DATE, CountedDays.DAYS_SINCE
    ).distinct()
    days = days.mutate(schools_that_day=days[_STAYS.SCHOOL_ID].nunique().over(window(*_ONE_DAY)))
    missed = _missed(days, events)
    by_school = missed.select(
        _EVENT_STUDENT,
        _EVENT_DATE,
        CountedDays.ABSENT,
        CountedDays.EXCUSED,
        CountedDays.UNEXCUSED,
        CountedDays.LATE,
        event_school=_STAYS.SCHOOL_ID,
    )
    pairs = [
        (Students.STUDENT_ID, _EVENT_STUDENT),
        (Calendar.DATE, _EVENT_DATE),
        (_STAYS.SCHOOL_ID, _EVENT_SCHOOL),
    ]
    return days.left_join(_capped(by_school, _EVENT_SCHOOL), pairs).select(*_OF_A_DAY)


def _with_entries(days: TableExpr, missed: TableExpr) -> TableExpr:
    """Days with what was missed of them, in the columns `_OF_A_DAY`."""
    return days.left_join(
        missed, [(Students.STUDENT_ID, _EVENT_STUDENT), (Calendar.DATE, _EVENT_DATE)]
    ).select(*_OF_A_DAY)


def _days_of_stays(stays: TableExpr, taken: TableExpr) -> TableExpr:
    """One row a stay and day within it on which its school took attendance."""
    days = stays.inner_join(taken, [(_STAYS.SCHOOL_ID, Calendar.SCHOOL_ID), (_CODE, _CODE)])
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


def _all_stays(records: TableProvider, as_of: Day) -> TableExpr:
    """Every stay that began up to `as_of`, beside the student's school now.

    Where the district sends no enrollments at all, a student is at the school now, on every day.
    `_HALF_BEGUN` is the day by which half of the open stays had begun: where that is this year, an
    open stay of an earlier year is one that nobody closed.
    """
    enrollments = table(records, SchoolEnrollments.TABLE)
    enrollments = enrollments.filter(enrollments[_STAYS.ENTRY_DATE] <= date_of(as_of))
    enrollments = enrollments.select(
        _STAYS.STUDENT_ID,
        _STAYS.SCHOOL_ID,
        _STAYS.ENTRY_DATE,
        _STAYS.EXIT_DATE,
        _STAYS.SCHOOL_YEAR,
        _STAYS.CALENDAR_CODE,
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
        school_year=null("int32"),
        calendar_code=null("string"),
    )
    without = without.mutate(table_name=text(SchoolEnrollments.TABLE)).anti_join(
        sends_enrollments.select(Coverage.TABLE_NAME), [(Coverage.TABLE_NAME, Coverage.TABLE_NAME)]
    )
    without = without.drop(Coverage.TABLE_NAME)
    stays = enrollments.union(without)
    stays = stays.inner_join(students, [(_STAYS.STUDENT_ID, _STUDENT_NOW)]).drop(_STUDENT_NOW)
    return stays.mutate(half_begun=sends_enrollments[Coverage.LAST_DATE].max().as_scalar())


def _with_calendars(records: TableProvider, stays: TableExpr, as_of: Day) -> TableExpr:
    """Stays with the code of the calendar that counts this year; empty for the common days."""
    calendar = table(records, Calendar.TABLE)
    begun = calendar.filter(calendar[Calendar.DATE] <= date_of(as_of))
    this_year = begun[Calendar.SCHOOL_YEAR].max().as_scalar()
    coded = (
        calendar.filter(
            calendar[Calendar.CALENDAR_CODE].notnull(),
            calendar[Calendar.SCHOOL_YEAR] == this_year,
        )
        .select(
            coded_school=Calendar.SCHOOL_ID,
            coded_year=Calendar.SCHOOL_YEAR,
            coded=Calendar.CALENDAR_CODE,
        )
        .distinct()
    )
    pairs = [
        (_STAYS.SCHOOL_ID, _CODED_SCHOOL),
        (_STAYS.SCHOOL_YEAR, _CODED_YEAR),
        (_STAYS.CALENDAR_CODE, _CODED),
    ]
    named = stays.left_join(coded, pairs)
    return named.mutate(code=named[_CODED].fill_null(text(""))).drop(
        _CODED, _CODED_SCHOOL, _CODED_YEAR, _STAYS.SCHOOL_YEAR, _STAYS.CALENDAR_CODE
    )


def _daily_attendance(records: TableProvider, as_of: Day) -> TableExpr:
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
        absent=events[CountedDays.ABSENT].sum(),
        excused=events[CountedDays.EXCUSED].sum(),
        unexcused=events[CountedDays.UNEXCUSED].sum(),
        late=events[CountedDays.LATE].max(),
    )


def _missed(days: TableExpr, events: TableExpr) -> TableExpr:
    """The entries of these days; at two schools at once only those of the day's own school."""
    matched = events.inner_join(
        days, [(_EVENT_STUDENT, Students.STUDENT_ID), (_EVENT_DATE, Calendar.DATE)]
    )
    return matched.filter(
        (matched[_SCHOOLS_THAT_DAY] == 1) | (matched[_EVENT_SCHOOL] == matched[_STAYS.SCHOOL_ID])
    )


def _capped(events: TableExpr, *more: ColumnName) -> TableExpr:
    """The entries of each student and day (and `more`) added up, to one day at most."""
    sums = events.group_by(_EVENT_STUDENT, _EVENT_DATE, *more).aggregate(
        absent=events[CountedDays.ABSENT].sum(),
        excused=events[CountedDays.EXCUSED].sum(),
        unexcused=events[CountedDays.UNEXCUSED].sum(),
        late=events[CountedDays.LATE].max(),
    )
    excused = smaller(sums[CountedDays.EXCUSED], 1.0)
    return sums.mutate(
        absent=smaller(sums[CountedDays.ABSENT], 1.0),
        excused=excused,
        unexcused=smaller(sums[CountedDays.UNEXCUSED], 1.0 - excused),
    )
