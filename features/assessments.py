"""Features of test results, each compared with the same student's previous one."""

from __future__ import annotations

from records.access.expressions import (
    Day,
    TableExpr,
    date_of,
    descending,
    row_number,
    table,
    window,
)
from records.access.scoped_records import ScopedRecords
from records.canonical.columns import Assessments, ColumnName

TESTS_AGO = ColumnName("tests_ago")
PREVIOUS_SCORE = ColumnName("previous_score")


def assessments(records: ScopedRecords, as_of: Day) -> TableExpr:
    """One row a student: the mean of each test's latest score, and their mean change."""
    tests = table(records, Assessments.TABLE)
    tests = tests.filter(tests[Assessments.DATE] <= date_of(as_of))
    newest_first = window(
        Assessments.STUDENT_ID,
        Assessments.ASSESSMENT,
        Assessments.MEASURE,
        order_by=[descending(Assessments.DATE), Assessments.SCORE],
    )
    ranked = tests.mutate(
        tests_ago=row_number().over(newest_first),
        previous_score=tests[Assessments.SCORE].lead().over(newest_first),
    )
    latest = ranked.filter(ranked[TESTS_AGO] == 0)
    score = latest[Assessments.SCORE]
    return latest.group_by(Assessments.STUDENT_ID).aggregate(
        assessment_last=score.mean(),
        assessment_change=(score - latest[PREVIOUS_SCORE]).mean(),
    )
