"""Features of course grades and of class work."""

from __future__ import annotations

from datetime import timedelta

from records.access.expressions import (
    Day,
    TableExpr,
    date_of,
    dense_rank,
    descending,
    table,
    window,
)
from records.access.scoped_records import ScopedRecords
from records.canonical.columns import ColumnName, CourseGrades, GradebookEntries

PERIODS_AGO = ColumnName("periods_ago")
_RECENT = timedelta(days=60)


def grades(records: ScopedRecords, as_of: Day) -> TableExpr:
    """One row a student with the features of course grades final up to `as_of`."""
    ranked = _by_period(records, as_of)
    last, previous = ranked[PERIODS_AGO] == 0, ranked[PERIODS_AGO] == 1
    grade = ranked[CourseGrades.GRADE]
    return ranked.group_by(CourseGrades.STUDENT_ID).aggregate(
        grade_average=grade.mean(where=last),
        grade_previous=grade.mean(where=previous),
        grade_change=grade.mean(where=last) - grade.mean(where=previous),
        lowest_grade=grade.min(where=last),
        courses_below_70=(grade < 70).cast("int64").sum(where=last),
        courses_below_60=(grade < 60).cast("int64").sum(where=last),
        grade_long_average=grade.mean(),
    )


def courses_below(records: ScopedRecords, as_of: Day, mark: int) -> TableExpr:
    """One row a student with `courses_below`: courses below a mark in the last grading period."""
    ranked = _by_period(records, as_of)
    is_below = (ranked[CourseGrades.GRADE] < mark).cast("int64")
    return ranked.group_by(CourseGrades.STUDENT_ID).aggregate(
        courses_below=is_below.sum(where=ranked[PERIODS_AGO] == 0)
    )


def gradebook(records: ScopedRecords, as_of: Day) -> TableExpr:
    """One row a student: the average of class work due in the 60 days up to `as_of`."""
    entries = table(records, GradebookEntries.TABLE)
    due = entries[GradebookEntries.DUE_DATE]
    recent = entries.filter(due <= date_of(as_of), due > date_of(as_of - _RECENT))
    return recent.group_by(GradebookEntries.STUDENT_ID).aggregate(
        gradebook_average_60=recent[GradebookEntries.GRADE].mean()
    )


def _by_period(records: ScopedRecords, as_of: Day) -> TableExpr:
    """The course grades final up to `as_of`, with how many grading periods ago each was given."""
    course_grades = table(records, CourseGrades.TABLE)
    course_grades = course_grades.filter(course_grades[CourseGrades.DATE] <= date_of(as_of))
    # Years have fewer than 100 grading periods, so this orders the periods of all years.
    period = course_grades[CourseGrades.SCHOOL_YEAR] * 100 + course_grades[CourseGrades.PERIOD]
    newest_first = window(CourseGrades.STUDENT_ID, order_by=[descending(period)])
    return course_grades.mutate(periods_ago=dense_rank().over(newest_first))
