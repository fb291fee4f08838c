"""Destructions of a student that were begun and are not certified yet: nobody sees the student any
more, whatever opened the record.

`records.law.destruction` begins and ends them.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import select

from records.database.engine import Database
from records.database.tables import (
    UnfinishedDestructionRow,
)
from records.permissions import legal_holds


@dataclass(frozen=True)
class UnfinishedDestruction:
    """A student's destruction that was begun and has no certificate yet. `held`: a legal hold makes
    it wait.
    """

    number: int
    begun_at: datetime
    officer: str
    held: bool


def in_force(database: Database) -> frozenset[str]:
    """The students whose records are being destroyed: nobody sees them any more."""
    with database.session() as session:
        return frozenset(session.scalars(select(UnfinishedDestructionRow.student_id)))


def unfinished_destructions(database: Database) -> list[UnfinishedDestruction]:
    """Every destruction of a student that has no certificate yet, the oldest first."""
    waiting = legal_holds.in_force(database)
    with database.session() as session:
        rows = session.scalars(
            select(UnfinishedDestructionRow).order_by(UnfinishedDestructionRow.id)
        )
        return [
            UnfinishedDestruction(row.id, row.begun_at, row.officer, row.student_id in waiting)
            for row in rows
        ]


def unfinished_destruction_of(database: Database, student_id: str) -> UnfinishedDestruction | None:
    """The destruction of this student that is under way, if one is."""
    query = select(UnfinishedDestructionRow).where(
        UnfinishedDestructionRow.student_id == student_id
    )
    with database.session() as session:
        row = session.scalar(query)
        return (
            UnfinishedDestruction(
                row.id, row.begun_at, row.officer, student_id in legal_holds.in_force(database)
            )
            if row
            else None
        )


def is_begun(database: Database, subject: str) -> bool:
    query = select(UnfinishedDestructionRow.id).where(UnfinishedDestructionRow.subject == subject)
    with database.session() as session:
        return session.scalar(query) is not None
