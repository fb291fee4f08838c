"""Notices to the district, each written in the same transaction as the event that it reports.

If a notice cannot be written, the event does not happen. A notice says what was done and where to
read on; it never names a student.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from records.database.engine import Database
from records.database.tables import NoticeRow
from records.staff.district_admins import require_district_admin
from records.staff.viewer import Viewer


@dataclass(frozen=True)
class Notice:
    """One notice. `path` is the page that says more; `seen_by` is empty until it has been seen."""

    number: int
    at: datetime
    kind: str
    text: str
    path: str
    seen_at: datetime | None
    seen_by: str


def add_notice(session: Session, kind: str, text: str, path: str, now: datetime) -> None:
    """Add a notice to a transaction that is already open."""
    session.add(NoticeRow(at=now, kind=kind, text=text, path=path, seen_at=None, seen_by=""))
    session.flush()


def notices(database: Database, *, unseen: bool = False, limit: int = 200) -> list[Notice]:
    """The newest notices first: all of them, or those that nobody has seen."""
    query = select(NoticeRow).order_by(NoticeRow.id.desc()).limit(limit)
    if unseen:
        query = query.where(NoticeRow.seen_at.is_(None))
    with database.session() as session:
        return [
            Notice(row.id, row.at, row.kind, row.text, row.path, row.seen_at, row.seen_by)
            for row in session.scalars(query)
        ]


def count_unseen(database: Database) -> int:
    """How many notices nobody has seen."""
    with database.session() as session:
        query = select(func.count()).select_from(NoticeRow).where(NoticeRow.seen_at.is_(None))
        return session.scalar(query) or 0


def mark_seen(database: Database, viewer: Viewer, number: int, now: datetime) -> None:
    """Record who saw a notice first; nothing changes if it was seen before or does not exist.

    Raises:
        NotADistrictAdmin: the viewer does not act for the district.
    """
    with database.session() as session:
        require_district_admin(session, viewer)
        row = session.get(NoticeRow, number)
        if row is not None and row.seen_at is None:
            row.seen_at, row.seen_by = now, viewer.user_id
