"""Features of course marks and of class work."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import ibis

from records.access.scoped_records import ScopedRecords
from records.snapshots.queries import DateLike, as_date


def grades(records: ScopedRecords, as_of: DateLike) -> Any:
    """One row a student with the features of marks final up to `as_of`."""
    marks = records.table("course_grades")
    marks = marks.filter(marks["date"] <= as_date(as_of))
    order = marks["school_year"] * 100 + marks["period"]
    ranked = marks.mutate(
        back=ibis.dense_rank().over(ibis.window(group_by="student_id", order_by=ibis.desc(order)))
    )
    last, previous, grade = ranked["back"] == 0, ranked["back"] == 1, ranked["grade"]
    return ranked.group_by("student_id").aggregate(
        grade_average=grade.mean(where=last),
        grade_previous=grade.mean(where=previous),
        grade_change=grade.mean(where=last) - grade.mean(where=previous),
        lowest_grade=grade.min(where=last),
        courses_below_70=(grade < 70).cast("int64").sum(where=last),
        courses_below_60=(grade < 60).cast("int64").sum(where=last),
        grade_long_average=grade.mean(),
    )


def gradebook(records: ScopedRecords, as_of: DateLike) -> Any:
    """The average of class work that was due in the 60 days up to `as_of`."""
    work = records.table("gradebook_entries")
    first = as_of - timedelta(days=60)
    due = work["due_date"]
    work = work.filter(due <= as_date(as_of), due > as_date(first))
    return work.group_by("student_id").aggregate(gradebook_average_60=work["grade"].mean())
