"""Opt-outs: students whom no partner may see, because the family does not want it.

An opt-out is in force from its first day until the day on which the family ends it. Only a district
administrator records one; none is ever deleted. Source: 34 CFR 99.31 and 99.37.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, datetime

from sqlalchemy import select
from sqlalchemy.orm import Session

from records.database.engine import Database
from records.database.tables import OptOutRow
from records.permissions.consents import ConsentError, require_known_student
from records.staff.district_admins import require_district_admin
from records.staff.viewer import Scope, Viewer


@dataclass(frozen=True)
class OptOut:
    """One opt-out, in force from the day `since` up to, but not including, the day it `ended`."""

    number: int
    student_id: str
    since: date
    ended: date | None
    recorded_by: str | None
    recorded_at: datetime | None
    end_recorded_by: str | None
    end_recorded_at: datetime | None

    def counts(self, today: date) -> bool:
        """Whether the opt-out is in force on this day."""
        return self.since <= today and (self.ended is None or self.ended > today)


def add_opt_out(
    database: Database, scope: Scope, student_id: str, since: date, now: datetime
) -> OptOut:
    """Record that a family opted a student out from the day `since` on.

    Args:
        scope: that of the district administrator who records it.

    Raises:
        NotADistrictAdmin: the viewer does not act for the district.
        ConsentError: there is no such student, or they are already opted out.
    """
    with database.write_transaction() as session:
        require_district_admin(session, scope.viewer)
        require_known_student(scope, student_id)
        current = _current_opt_out(session, student_id, now.date())
        if current is not None:
            raise ConsentError(f"This student has already been opted out since {current.since}.")
        row = OptOutRow(
            student_id=student_id,
            since=since,
            ended=None,
            recorded_by=scope.viewer.user_id,
            recorded_at=now,
        )
        session.add(row)
        session.flush()
        return _opt_out(row)


def end_opt_out(
    database: Database, viewer: Viewer, student_id: str, on: date, now: datetime
) -> OptOut:
    """Record that a family ended its opt-out: from the day `on` it is not in force.

    Raises:
        NotADistrictAdmin: the viewer does not act for the district.
        ConsentError: no opt-out of this student is in force, or it began later.
    """
    with database.write_transaction() as session:
        require_district_admin(session, viewer)
        row = _current_opt_out(session, student_id, now.date())
        if row is None:
            raise ConsentError("No opt-out is in effect for this student.")
        if on < row.since:
            raise ConsentError(f"The opt-out begins on {row.since}; it cannot end on {on}.")
        row.ended, row.end_recorded_by, row.end_recorded_at = on, viewer.user_id, now
        return _opt_out(row)


def opt_outs(database: Database, student_id: str | None = None) -> list[OptOut]:
    """Every opt-out on record, or those of one student, the newest first."""
    query = select(OptOutRow).order_by(OptOutRow.id.desc())
    if student_id is not None:
        query = query.where(OptOutRow.student_id == student_id)
    with database.session() as session:
        return [_opt_out(row) for row in session.scalars(query)]


def in_force(database: Database, day: date) -> frozenset[str]:
    """The students whose families' opt-outs are in force on a day."""
    with database.session() as session:
        rows = session.scalars(select(OptOutRow).where(OptOutRow.since <= day))
        return frozenset(row.student_id for row in rows if _opt_out(row).counts(day))


def _current_opt_out(session: Session, student_id: str, today: date) -> OptOutRow | None:
    rows = session.scalars(
        select(OptOutRow).where(OptOutRow.student_id == student_id).order_by(OptOutRow.id)
    )
    return next((row for row in rows if row.ended is None or row.ended > today), None)


def _opt_out(row: OptOutRow) -> OptOut:
    return OptOut(
        row.id,
        row.student_id,
        row.since,
        row.ended,
        row.recorded_by,
        row.recorded_at,
        row.end_recorded_by,
        row.end_recorded_at,
    )
