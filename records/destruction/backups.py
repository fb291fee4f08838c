"""Backups that are stored elsewhere, by name, with the day each expires.

Handrail cannot destroy a record in a backup. It lists them, so that a certificate of destruction
names those that still hold the record.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, datetime

from sqlalchemy import select
from sqlalchemy.orm import Session

from records.database.engine import Database
from records.database.tables import BackupRow
from records.system.errors import UserError


class BackupError(UserError, ValueError):
    """A backup that cannot be listed or marked; nothing was changed."""


@dataclass(frozen=True)
class Backup:
    """A backup: where it is, when it was made, and the day on which it expires by itself."""

    name: str
    place: str
    taken_at: datetime
    expires_on: date
    destroyed_at: datetime | None = None


def add_backup(database: Database, backup: Backup) -> None:
    """Put a backup on the list of those that a certificate of destruction names.

    Raises:
        BackupError: a backup of this name is on the list.
    """
    with database.session() as session:
        if session.scalar(select(BackupRow.id).where(BackupRow.name == backup.name)) is not None:
            raise BackupError(f"a backup named {backup.name!r} is on the list already")
        session.add(
            BackupRow(
                name=backup.name,
                place=backup.place,
                taken_at=backup.taken_at,
                expires_on=backup.expires_on,
                destroyed_at=None,
            )
        )


def mark_backup_destroyed(database: Database, name: str, now: datetime) -> None:
    """Record that a backup is gone; the first time given counts.

    Raises:
        BackupError: no backup of this name is on the list.
    """
    with database.session() as session:
        row = session.scalar(select(BackupRow).where(BackupRow.name == name))
        if row is None:
            raise BackupError(f"there is no backup named {name!r} on the list")
        row.destroyed_at = row.destroyed_at or now


def backups(database: Database) -> list[Backup]:
    """Every backup on the list, the newest first."""
    query = select(BackupRow).order_by(BackupRow.taken_at.desc())
    with database.session() as session:
        return [_backup(row) for row in session.scalars(query)]


def existing_backups(session: Session, now: datetime) -> list[Backup]:
    """Backups taken by now that are neither destroyed nor expired, the first to expire first."""
    query = (
        select(BackupRow)
        .where(
            BackupRow.destroyed_at.is_(None),
            BackupRow.expires_on >= now.date(),
            BackupRow.taken_at <= now,
        )
        .order_by(BackupRow.expires_on)
    )
    return [_backup(row) for row in session.scalars(query)]


def _backup(row: BackupRow) -> Backup:
    return Backup(
        name=row.name,
        place=row.place,
        taken_at=row.taken_at,
        expires_on=row.expires_on,
        destroyed_at=row.destroyed_at,
    )
