"""Rows of the disclosure log in words, with names and handles where they may be shown."""

from __future__ import annotations

from records.disclosure_log.history import Disclosure
from records.people.accounts import staff_names
from serving.exports.disclosure_report import (
    DisclosureLine,
    disclosure_line,
)
from serving.site.visit import Visit

DESTROYED = "A student whose record was destroyed"


FORMER_STUDENT = "A student no longer on the rolls"


def disclosure_lines(visit: Visit, rows: list[Disclosure]) -> list[DisclosureLine]:
    """These rows in words; the students on them are themselves looked at, which is written down
    first.
    """
    visit.disclosures.record_log_view(
        [
            student
            for student in dict.fromkeys(row.student_id for row in rows)
            if student is not None
        ]
    )
    staff = staff_names(visit.database)
    return [
        disclosure_line(row, staff, visit.organizations, *_student(visit, row.student_id))
        for row in rows
    ]


def _student(visit: Visit, student_id: str | None) -> tuple[str, str]:
    """Name and handle."""
    if student_id is None:
        return DESTROYED, ""
    return _name(visit, student_id) or FORMER_STUDENT, _handle(visit, student_id)


def _name(visit: Visit, student_id: str) -> str | None:
    """None for a student who has left."""
    return visit.lists.roster[student_id].name if student_id in visit.lists.roster else None


def _handle(visit: Visit, student_id: str) -> str:
    return (visit.scope if student_id in visit.scope.students else visit.log_scope).handle(
        student_id
    )
