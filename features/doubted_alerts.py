"""Alerts that are not raised, because figures of a student's school are doubted.

Where the records of a category at a school look unlike any school's, an alert that rests on them
would be said of children of whom nobody knows it. Pages, audits and previews leave out the same
ones, by the school at which a student is now. What is doubted is in `records.checks.doubts`.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping

from features.alerts import Alert
from records.access.scoped_records import ScopedRecords
from records.canonical.schema import Category

Doubted = Collection[tuple[str, Category]]
"""Schools by identifier, each with a category of its records."""


def doubted_categories(
    records: ScopedRecords, doubted: Doubted
) -> Mapping[str, frozenset[Category]]:
    """What is doubted of each student: the categories that are at the school where they are now.
    Who is at another school, or at none that may be seen, is left out.
    """
    if not doubted:
        return {}
    by_school: dict[str, set[Category]] = {}
    for school, category in doubted:
        by_school.setdefault(school, set()).add(category)
    students = records.frame("students").set_index("student_id")["school_id"].dropna()
    return {
        str(student): frozenset(by_school[str(school)])
        for student, school in students.items()
        if str(school) in by_school
    }


def undoubted(alerts: Iterable[Alert], doubted: Mapping[str, frozenset[Category]]) -> list[Alert]:
    """The alerts that rest on nothing that is doubted of their student, in their order.

    Args:
        doubted: as `doubted_categories` returns it.
    """
    nothing: frozenset[Category] = frozenset()
    return [
        alert
        for alert in alerts
        if alert.categories.isdisjoint(doubted.get(alert.student_id, nothing))
    ]
