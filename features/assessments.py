"""Features of test results: each test against its own time before, never against other students."""

from __future__ import annotations

from typing import Any

import ibis

from records.access.scoped_records import ScopedRecords
from records.snapshots.queries import DateLike, as_date


def assessments(records: ScopedRecords, as_of: DateLike) -> Any:
    """One row a student: the mean of the latest scores, and the mean change since the time
    before.
    """
    tests = records.table("assessments")
    tests = tests.filter(tests["date"] <= as_date(as_of))
    order = ibis.window(
        group_by=["student_id", "assessment", "measure"], order_by=[ibis.desc("date"), "score"]
    )
    ranked = tests.mutate(
        back=ibis.row_number().over(order), before=tests["score"].lead().over(order)
    )
    last = ranked.filter(ranked["back"] == 0)
    return last.group_by("student_id").aggregate(
        assessment_last=last["score"].mean(),
        assessment_change=(last["score"] - last["before"]).mean(),
    )
