"""Destructions of a student's records that have begun and have no certificate yet.

From the moment one begins nobody sees the student any more, whatever opened the record.
`records.destruction.destruction` begins and completes them.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import select

from records.database.engine import Database
from records.database.tables import UnfinishedDestructionRow
from records.permissions import legal_holds


@dataclass(frozen=True)
class UnfinishedDestruction:
    """One destruction without a certificate. `held`: a legal hold makes it wait."""

    number: int
    begun_at: datetime
    officer: str
    held: bool


def in_force(database: Database) -> frozenset[str]:
    """The students whose records are being destroyed; nobody may see them."""
    with database.session() as session:
        return frozenset(session.scalars(select(UnfinishedDestructionRow.student_id)))


def unfinished_destructions(database: Database) -> list[UnfinishedDestruction]:
    """Every destruction without a certificate, the oldest first."""
    on_hold = legal_holds.in_force(database)
    with database.session() as session:
        rows = session.scalars(
            select(UnfinishedDestructionRow).order_by(UnfinishedDestructionRow.id)
        )
        return [
            UnfinishedDestruction(row.id, row.begun_at, row.officer, row.student_id in on_hold)
            for row in rows
        ]


def unfinished_destruction_of(database: Database, student_id: str) -> UnfinishedDestruction | None:
    """The destruction of this student that is under way, or None."""
    query = select(UnfinishedDestructionRow).where(
        UnfinishedDestructionRow.student_id == student_id
    )
    with database.session() as session:
        row = session.scalar(query)
        if row is None:
            return None
        on_hold = student_id in legal_holds.in_force(database)
        return UnfinishedDestruction(row.id, row.begun_at, row.officer, on_hold)


def is_begun(database: Database, subject: str) -> bool:
    """Whether the destruction of the student with this digest is under way."""
    query = select(UnfinishedDestructionRow.id).where(UnfinishedDestructionRow.subject == subject)
    with database.session() as session:
        return session.scalar(query) is not None
