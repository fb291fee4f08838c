"""Legal holds: records that are neither destroyed nor shown to a partner while a legal matter is
open.

A hold counts from the next request on, and lifting it brings everything back that agreements open.
Both say why. A hold is never deleted: one that was lifted stays on the list, with who lifted it and
why.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import select

from records.database.engine import Database
from records.database.tables import LegalHoldRow
from records.people.district_admins import require_district_admin
from records.people.viewer import Scope, Viewer
from records.system.errors import UserError


class LegalHoldError(UserError, ValueError):
    """A hold that cannot be placed or lifted; the message says why in plain words, and nothing was
    changed.
    """


@dataclass(frozen=True)
class Hold:
    """One hold. `placed_by` and `lifted_by` are staff; of a hold that was lifted long ago nobody
    may know by whom.
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
    """Freeze one student's records.

    Args:
        scope: that of the district administrator who places the hold.

    Raises:
        NotADistrictAdmin: the viewer does not act for the district.
        LegalHoldError: there is no such student, they are under a hold already, or no reason is
            given.
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
    """End a hold: partners see the student again at the next request, as far as agreements go.

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
    """The students whose records a hold freezes now: no partner sees them while it lasts."""
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
