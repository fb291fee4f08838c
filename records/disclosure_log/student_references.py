"""How the log refers to a student: an HMAC of the district's identifier under a random salt.

Salt and identifier are stored in a table of their own. Without a student's row there, their
disclosures stay in the chain and can no longer be traced to them.
"""

from __future__ import annotations

import hmac
import secrets
from collections.abc import Sequence
from dataclasses import replace

from sqlalchemy import CursorResult, delete, insert, select
from sqlalchemy.orm import Session

from records.database.engine import Database
from records.database.tables import DisclosureRow, LogStudentRow
from records.staff.district_admins import is_district_admin
from records.staff.viewer import DISTRICT, Grant, Scope

REFERENCE_MATCHES = LogStudentRow.student_ref == DisclosureRow.student_ref
"""Joins a row of the log with the student it refers to."""

_IDS_PER_QUERY = 10_000
"""Each identifier is a parameter, and a database takes a limited number of them."""


def with_former_students(database: Database, scope: Scope) -> Scope:
    """A district administrator's scope with former students added; other scopes unchanged.

    A former student is one whom the log names and the records no longer hold; nothing of them can
    be shown. Their parent may still ask who saw the record (34 CFR 99.10, 99.32(c)). A student
    whose record was destroyed is not among them.
    """
    with database.session() as session:
        if not is_district_admin(session, scope.viewer):
            return scope
        logged_students = frozenset(session.scalars(select(LogStudentRow.student_id)))
    empty_grant = Grant(
        agreement_id=DISTRICT,
        agreement_sha256="",
        legal_basis="own_records",
        purpose="the district's own records",
        organization_id=DISTRICT,
        categories=frozenset(),
        supports=(),
    )
    return replace(scope, grants={**dict.fromkeys(logged_students, (empty_grant,)), **scope.grants})


def unlink_student(session: Session, student_id: str) -> bool:
    """Remove a student's name from the log, whose chain still holds; False when it was never there.

    Args:
        session: a write transaction, so that no disclosure is being logged meanwhile.
    """
    result = session.execute(delete(LogStudentRow).where(LogStudentRow.student_id == student_id))
    assert isinstance(result, CursorResult)
    return result.rowcount > 0


def existing_references(session: Session, student_ids: Sequence[str]) -> dict[str, str]:
    """The reference of each student who is already in the log, by student ID."""
    references: dict[str, str] = {}
    for start in range(0, len(student_ids), _IDS_PER_QUERY):
        query = select(LogStudentRow.student_id, LogStudentRow.student_ref).where(
            LogStudentRow.student_id.in_(student_ids[start : start + _IDS_PER_QUERY])
        )
        references |= dict(session.execute(query).all())
    return references


def ensure_references(session: Session, student_ids: Sequence[str]) -> dict[str, str]:
    """The reference of each student, by student ID, created for those who have none yet."""
    references = existing_references(session, student_ids)
    new_rows = []
    for student_id in dict.fromkeys(student_ids):
        if student_id not in references:
            salt = secrets.token_hex(32)
            references[student_id] = student_reference(salt, student_id)
            new_rows.append(
                {
                    "student_ref": references[student_id],
                    "student_id": student_id,
                    "salt": salt,
                }
            )
    if new_rows:
        session.execute(insert(LogStudentRow), new_rows)
    return references


def student_reference(salt: str, student_id: str) -> str:
    """HMAC-SHA256 of the student ID under the salt: 64 hexadecimal digits."""
    return hmac.digest(salt.encode(), student_id.encode(), "sha256").hex()
