"""Legal holds, which stop destruction and partner access while a legal matter is open.

A hold is in force from the next request on; once it is lifted, partners see again what agreements
open. Both need a reason. A hold is never deleted: a lifted one stays on the list, with who lifted
it and why.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import select

from records.database.engine import Database
from records.database.tables import LegalHoldRow
from records.staff.district_admins import require_district_admin
from records.staff.viewer import Scope, Viewer
from records.system.errors import UserError


class LegalHoldError(UserError, ValueError):
    """A hold that cannot be placed or lifted; the message says why, and nothing was changed."""


@dataclass(frozen=True)
class Hold:
    """One hold. `placed_by` and `lifted_by` are user identifiers.

    `lifted_by` is None also for a lifted hold of an older version, if its text named nobody known.
    """

    number: int
    student_id: str
    since: datetime
    placed_by: str
    reason: str
    lifted_at: datetime | None
    lifted_by: str | None
    lift_reason: str | None


def place_hold(
    database: Database, scope: Scope, student_id: str, reason: str, now: datetime
) -> Hold:
    """Place one student's records on hold.

    Args:
        scope: that of the district administrator who places the hold.

    Raises:
        NotADistrictAdmin: the viewer does not act for the district.
        LegalHoldError: there is no such student, they are already on hold, or no reason is given.
    """
    reason = _reason(reason)
    with database.write_transaction() as session:
        require_district_admin(session, scope.viewer)
        if student_id not in scope.students:
            raise LegalHoldError("There is no student with this number or code in the records.")
        open_now = select(LegalHoldRow.id).where(
            LegalHoldRow.student_id == student_id, LegalHoldRow.lifted_at.is_(None)
        )
        if session.scalar(open_now) is not None:
            raise LegalHoldError("This student's records are under a legal hold already.")
        row = LegalHoldRow(
            student_id=student_id,
            since=now,
            lifted_at=None,
            placed_by=scope.viewer.user_id,
            reason=reason,
        )
        session.add(row)
        session.flush()
        return _hold(row)


def lift_hold(database: Database, viewer: Viewer, number: int, reason: str, now: datetime) -> Hold:
    """End a hold: from the next request on partners see the student again if agreements allow.

    Raises:
        NotADistrictAdmin: the viewer does not act for the district.
        LegalHoldError: there is no such hold, it was lifted before, or no reason is given.
    """
    reason = _reason(reason)
    with database.write_transaction() as session:
        require_district_admin(session, viewer)
        row = session.get(LegalHoldRow, number)
        if row is None:
            raise LegalHoldError(f"There is no legal hold {number}.")
        if row.lifted_at is not None:
            raise LegalHoldError(f"Legal hold {number} was lifted before.")
        row.lifted_at, row.lifted_by, row.lift_reason = now, viewer.user_id, reason
        return _hold(row)


def in_force(database: Database) -> frozenset[str]:
    """The students whose records are on hold now; no partner may see them."""
    return frozenset(hold.student_id for hold in holds(database) if hold.lifted_at is None)


def holds(database: Database) -> list[Hold]:
    """Every hold, the newest first."""
    with database.session() as session:
        return [
            _hold(row)
            for row in session.scalars(select(LegalHoldRow).order_by(LegalHoldRow.id.desc()))
        ]


def _reason(text: str) -> str:
    if not text.strip():
        raise LegalHoldError("Please say why.")
    return text.strip()


def _hold(row: LegalHoldRow) -> Hold:
    return Hold(
        row.id,
        row.student_id,
        row.since,
        row.placed_by,
        row.reason,
        row.lifted_at,
        row.lifted_by,
        row.lift_reason,
    )
