"""Rows of the disclosure log in words, with names and handles where they may be shown."""

from __future__ import annotations

from records.disclosure_log.history import Disclosure
from records.staff.accounts import staff_names
from serving.exports.disclosure_report import DisclosureLine, disclosure_line
from serving.site.visit import Visit

DESTROYED = "A student whose record was destroyed"
FORMER_STUDENT = "A student no longer enrolled in the district"


def disclosure_lines(visit: Visit, rows: list[Disclosure]) -> list[DisclosureLine]:
    """These rows in words. Reading them is itself a view of the students on them, logged first."""
    students = {row.student_id: None for row in rows if row.student_id is not None}
    visit.disclosures.record_log_view(list(students))
    staff = staff_names(visit.database)
    return [
        disclosure_line(row, staff, visit.organizations, *_name_and_handle(visit, row.student_id))
        for row in rows
    ]


def logged_student_name(visit: Visit, student_id: str) -> str | None:
    """The name of a student in the log; None where the records no longer hold them."""
    entry = visit.lists.roster.get(student_id)
    return entry.name if entry else None


def logged_student_handle(visit: Visit, student_id: str) -> str:
    """The code in the address of a student's pages, also of one who has left."""
    in_scope = student_id in visit.scope.students
    return (visit.scope if in_scope else visit.disclosure_log_scope).handle(student_id)


def _name_and_handle(visit: Visit, student_id: str | None) -> tuple[str, str]:
    if student_id is None:
        return DESTROYED, ""
    name = logged_student_name(visit, student_id) or FORMER_STUDENT
    return name, logged_student_handle(visit, student_id)
