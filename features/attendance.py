"""Attendance features, from the school days of each student's own school and what was recorded on
them.

A school day without an entry was attended. Days are counted back from the last one up to `as_of`: 1
is the last.
"""

from __future__ import annotations

from typing import Any

import ibis

from records.access.scoped_records import ScopedRecords
from records.canonical.schema import ABSENT_STATUSES
from records.snapshots.queries import DateLike, as_date


def student_days(records: ScopedRecords, as_of: DateLike) -> Any:
    """One row a student and school day of this school year: date, back, absent, excused, late,
    monday.

    The school is that of the latest enrolment up to `as_of`; where no enrolment is loaded, the
    student's school now. Days before the student entered and after the student left are left out.
    """
    calendar = records.table("calendar")
    calendar = calendar.filter(calendar["date"] <= as_date(as_of))
    calendar = calendar.filter(calendar["school_year"] == calendar["school_year"].max().as_scalar())
    stay = _stays(records, as_of).view()
    days = stay.inner_join(calendar, [("at_school", "school_id")])
    days = days.filter(
        days["entered"].isnull()
        | (days["date"] >= days["entered"])
        | (days["entered_year"] != days["school_year"]),
        days["left"].isnull() | (days["date"] <= days["left"]),
    ).select("student_id", "date")
    events = records.table("attendance_events").filter(lambda t: t["date"] <= as_date(as_of))
    events = (
        events.group_by("student_id", event_date=events["date"])
        .aggregate(
            absent=events["status"].isin(ABSENT_STATUSES).max().cast("int64"),
            excused=(events["status"] == "absent_excused").max().cast("int64"),
            late=(events["status"] == "tardy").max().cast("int64"),
        )
        .rename(event_student="student_id")
    )
    joined = days.left_join(events, [("student_id", "event_student"), ("date", "event_date")])
    newest_first = ibis.window(group_by="student_id", order_by=ibis.desc("date"))
    return joined.select(
        "student_id",
        "date",
        absent=joined["absent"].fill_null(0),
        excused=joined["excused"].fill_null(0),
        late=joined["late"].fill_null(0),
        monday=(joined["date"].day_of_week.index() == 0).cast("int64"),
        back=ibis.row_number().over(newest_first) + 1,
    )


def attendance(records: ScopedRecords, as_of: DateLike) -> Any:
    """One row a student with the attendance features."""
    days = student_days(records, as_of)
    recent = days["back"] <= 60
    absent = days["absent"]
    this_month, before = days["back"] <= 30, (days["back"] > 30) & recent
    counts = days.group_by("student_id").aggregate(
        absences_last_10=absent.sum(where=days["back"] <= 10),
        absences_last_30=absent.sum(where=this_month),
        absence_rate_year=absent.mean(),
        absence_rate_60=absent.mean(where=recent),
        absence_change=absent.mean(where=this_month) - absent.mean(where=before),
        absent_days_year=absent.sum(),
        current_run=(days["back"].min(where=absent == 0) - 1).fill_null(days.count()),
        unexcused_60=(absent - days["excused"]).sum(where=recent),
        excused_60=days["excused"].sum(where=recent),
        monday_absences_60=(absent * days["monday"]).sum(where=recent),
        tardies_60=days["late"].sum(where=recent),
        days_enrolled_year=days.count(),
    )
    missed = days.filter(recent, absent == 1)
    in_order = ibis.window(group_by="student_id", order_by="back")
    numbered = missed.mutate(place=ibis.row_number().over(in_order))
    runs = numbered.group_by("student_id", island=numbered["back"] - numbered["place"]).aggregate(
        run=numbered.count()
    )
    longest = (
        runs.group_by("student_id")
        .aggregate(longest_run_60=runs["run"].max())
        .rename(run_student="student_id")
    )
    joined = counts.left_join(longest, [("student_id", "run_student")]).drop("run_student")
    return joined.mutate(longest_run_60=joined["longest_run_60"].fill_null(0))


def _stays(records: ScopedRecords, as_of: DateLike) -> Any:
    enrolled = records.table("school_enrollments")
    enrolled = enrolled.filter(enrolled["entry_date"] <= as_date(as_of))
    latest_first = ibis.window(
        group_by="student_id", order_by=[ibis.desc("entry_date"), "school_id"]
    )
    in_year = ibis.window(group_by=["student_id", "school_year"])
    ranked = enrolled.mutate(
        place=ibis.row_number().over(latest_first),
        entered=enrolled["entry_date"].min().over(in_year),
    )
    latest = ranked.filter(ranked["place"] == 0).select(
        stay_student="student_id",
        stay_school="school_id",
        entered="entered",
        entered_year="school_year",
        left="exit_date",
        stay_grade="grade_level",
    )
    students = records.table("students").select("student_id", "school_id", "grade_level")
    joined = students.left_join(latest, [("student_id", "stay_student")])
    return joined.select(
        "student_id",
        "entered",
        "entered_year",
        "left",
        at_school=joined["stay_school"].fill_null(joined["school_id"]),
        grade_level=joined["stay_grade"].fill_null(joined["grade_level"]),
    )


def grade_level(records: ScopedRecords, as_of: DateLike) -> Any:
    """Grade on the day; where no enrolment is loaded, the grade now."""
    return _stays(records, as_of).select("student_id", "grade_level")
