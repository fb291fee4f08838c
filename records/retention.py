"""The end of a record: what an agreement's end or a district's decision destroys, and the certificate that says so.

`destroy_student` removes a child from every store that Handrail has: the snapshot that serves, the older ones, feature
tables, the mirrors of sources, the operational store, and the name behind the disclosure log's references, whose chain
still holds. `destroy_view` removes what one organisation's agreement made. Neither touches a record under a legal hold.
What is destroyed stays away: the next load leaves it out. Copies kept elsewhere are named, with the day they expire.
Sources: 34 CFR 99.35(b); NIST SP 800-88 (certificate of disposition).
"""

from __future__ import annotations

import hashlib
import hmac
import json
import shutil
from collections.abc import Callable
from dataclasses import asdict, dataclass
from datetime import date, datetime
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
from sqlalchemy import CursorResult, Result, delete, func, select, text, update
from sqlalchemy.orm import Session

from records.agreements import all_agreements
from records.connectors.mirror import open_mirror
from records.database import (
    BackupRow,
    ConsentRow,
    Database,
    DecisionRow,
    DestructionRow,
    EmergencyRow,
    LegalDemandRow,
    LegalHoldRow,
    LogStudentRow,
    OptOutRow,
    ParticipantCandidateRow,
    ParticipantRow,
    StaffRow,
    WebSessionRow,
)
from records.disclosures import forget_student
from records.legal_holds import held
from records.officers import require_officer
from records.published import publish_if_needed, withdraw_others
from records.scope import Viewer
from records.snapshots import NoSnapshot, Snapshot, rewrite_without

DERIVED = ("features",)
"""Folders of a home that hold what was worked out from records: made again when they are next asked for."""

_OF_A_STUDENT = (ConsentRow, OptOutRow, DecisionRow, EmergencyRow, LegalHoldRow, ParticipantCandidateRow,
                 ParticipantRow)  # fmt: skip
_ACT = "destroy records"
_OF_AN_ORGANIZATION = (ConsentRow, DecisionRow, EmergencyRow, ParticipantCandidateRow, ParticipantRow)


class DestructionRefused(ValueError):
    """Something that must not be destroyed, or is not there; nothing was changed."""


@dataclass(frozen=True)
class Removed:
    """What was removed from one store. `items` are rows, or files."""

    store: str
    items: int
    how: str


@dataclass(frozen=True)
class Copy:
    """A backup: where it is, when it was made, and when it ends by itself."""

    name: str
    place: str
    taken_at: datetime
    expires_on: date
    destroyed_at: datetime | None = None


@dataclass(frozen=True)
class Certificate:
    """What was destroyed, by whom and when. `text` is what `sha256` is over; it names no student."""

    number: int
    at: datetime
    kind: str
    text: str
    sha256: str


@dataclass(frozen=True)
class Overdue:
    """An agreement whose data should have been destroyed, and have not been."""

    agreement_id: str
    organization_id: str
    destruction_date: date


def destroy_student(database: Database, home: Path, student_id: str, officer: Viewer, now: datetime,
                    secret: bytes) -> Certificate:  # fmt: skip
    """Remove one student from every store, and keep them out of later loads.

    Raises:
        NotAnOfficer: the officer does not act for the district.
        DestructionRefused: a legal hold freezes the record, or no store knows the student.
        LoadInProgress: records are being loaded.
    """
    with database.session() as session:
        require_officer(session, officer, _ACT)
    if student_id in held(database):
        raise DestructionRefused("a legal hold is on this record: it must be lifted before anything is destroyed")
    if not _known(database, home, student_id):
        raise DestructionRefused("no store holds a student with this identifier")
    removed = [*_from_snapshots(database, home, student_id), *_from_mirrors(home, student_id), *_derived(home)]
    with database.write_transaction() as session:
        for row in _OF_A_STUDENT:
            count = _rows(session.execute(delete(row).where(row.student_id == student_id)))
            removed.append(Removed(row.__tablename__, count, "rows deleted"))
        of_them = update(LegalDemandRow).where(LegalDemandRow.student_id == student_id)
        cut = _rows(session.execute(of_them.values(student_id="destroyed")))
        removed.append(Removed(LegalDemandRow.__tablename__, cut, "the register stays; whom it named is cut out"))
        known = forget_student(session, student_id)
        removed.append(Removed("disclosures", int(known), "the log stays whole; whom its references name is cut out"))
        certificate = _certify(session, "student", digest_of(student_id, secret), officer, now, removed)
    _wipe(database)
    return certificate


def destroy_view(database: Database, home: Path, agreement_id: str, officer: Viewer,
                 now: datetime) -> Certificate:  # fmt: skip
    """Remove what an ended agreement made: the organisation's decisions, consents, participants, emergencies, sessions.

    Staff of an organisation without another agreement in force can no longer sign in.

    Raises:
        NotAnOfficer: the officer does not act for the district.
        DestructionRefused: there is no such agreement, or it, or another of the same organisation, is still in force.
    """
    with database.session() as session:
        require_officer(session, officer, _ACT)
    stored = next((one for one in all_agreements(database) if one.agreement.agreement_id == agreement_id), None)
    if stored is None:
        raise DestructionRefused(f"there is no agreement {agreement_id!r}")
    organization = stored.agreement.organization_id
    for one in all_agreements(database, organization):
        if one.revoked_at is None and one.agreement.end >= now.date():
            raise DestructionRefused(
                f"agreement {one.agreement.agreement_id} of {organization} is in force until {one.agreement.end}: "
                "what it shares is still needed; revoke it first"
            )
    removed = _derived(home)
    with database.write_transaction() as session:
        for row in _OF_AN_ORGANIZATION:
            count = _rows(session.execute(delete(row).where(row.organization_id == organization)))
            removed.append(Removed(row.__tablename__, count, "rows deleted"))
        people = select(StaffRow.user_id).where(StaffRow.organization_id == organization)
        ended = _rows(session.execute(delete(WebSessionRow).where(WebSessionRow.user_id.in_(people))))
        removed.append(Removed(WebSessionRow.__tablename__, ended, "sessions ended and deleted"))
        active = update(StaffRow).where(StaffRow.organization_id == organization, StaffRow.active)
        closed = _rows(session.execute(active.values(active=False)))
        removed.append(Removed(StaffRow.__tablename__, closed, "accounts closed"))
        certificate = _certify(session, "agreement", agreement_id, officer, now, removed)
    _wipe(database)
    return certificate


def certificates(database: Database) -> list[Certificate]:
    """Every certificate, the newest first."""
    with database.session() as session:
        rows = session.scalars(select(DestructionRow).order_by(DestructionRow.id.desc()))
        return [_certificate(row) for row in rows]


def overdue(database: Database, today: date) -> list[Overdue]:
    """Agreements past their day of destruction without a certificate, the longest first."""
    with database.session() as session:
        done = set(session.scalars(select(DestructionRow.subject).where(DestructionRow.kind == "agreement")))
    late = [Overdue(one.agreement.agreement_id, one.agreement.organization_id, one.agreement.destruction_date)
            for one in all_agreements(database)
            if one.agreement.destruction_date < today and one.agreement.agreement_id not in done]  # fmt: skip
    return sorted(late, key=lambda one: one.destruction_date)


def destroyed_before(database: Database, secret: bytes) -> Callable[[str], bool] | None:
    """Whether a student's records were destroyed, so that a load leaves them out; None when nobody's were."""
    with database.session() as session:
        digests = frozenset(session.scalars(select(DestructionRow.subject).where(DestructionRow.kind == "student")))
    if not digests:
        return None
    return lambda student_id: digest_of(student_id, secret) in digests


def digest_of(student_id: str, secret: bytes) -> str:
    """How a certificate names a student: 64 hex digits that only this installation can work out."""
    return hmac.new(secret, f"destroyed\0{student_id}".encode(), hashlib.sha256).hexdigest()


def add_backup(database: Database, copy: Copy) -> None:
    """Put a copy on the list of those that a certificate of destruction names.

    Raises:
        DestructionRefused: a copy of this name is on the list.
    """
    with database.session() as session:
        if session.scalar(select(BackupRow.id).where(BackupRow.name == copy.name)) is not None:
            raise DestructionRefused(f"a backup named {copy.name!r} is on the list already")
        session.add(BackupRow(name=copy.name, place=copy.place, taken_at=copy.taken_at, expires_on=copy.expires_on,
                              destroyed_at=None))  # fmt: skip


def backup_destroyed(database: Database, name: str, now: datetime) -> None:
    """Write down that a copy is gone.

    Raises:
        DestructionRefused: no copy of this name is on the list.
    """
    with database.session() as session:
        row = session.scalar(select(BackupRow).where(BackupRow.name == name))
        if row is None:
            raise DestructionRefused(f"there is no backup named {name!r} on the list")
        row.destroyed_at = row.destroyed_at or now


def backups(database: Database) -> list[Copy]:
    """Every copy on the list, the newest first."""
    with database.session() as session:
        return [_copy(row) for row in session.scalars(select(BackupRow).order_by(BackupRow.taken_at.desc()))]


def _known(database: Database, home: Path, student_id: str) -> bool:
    """Whether anything holds the student: asked before anything is changed."""
    tables = [*(home / "snapshots").glob("*/students.parquet")]
    if any(pq.read_table(file, filters=[("student_id", "=", student_id)]).num_rows for file in tables):
        return True
    with database.session() as session:
        if any(session.scalar(select(func.count()).select_from(row).where(row.student_id == student_id))
               for row in (*_OF_A_STUDENT, LegalDemandRow, LogStudentRow)):  # fmt: skip
            return True
    for folder in (home / "sources").glob("*/"):
        with open_mirror(folder) as mirror:
            if mirror.holds(student_id):
                return True
    return False


def _from_snapshots(database: Database, home: Path, student_id: str) -> list[Removed]:
    try:
        before = Snapshot.current(home)
    except NoSnapshot:
        return []
    rewritten = rewrite_without(home, student_id, publish=lambda snapshot: publish_if_needed(database, snapshot))
    withdraw_others(database, Snapshot.current(home))
    return [
        Removed("snapshot", rewritten.rows, f"{before.id} was written anew without them: {rewritten.snapshot_id}"),
        Removed("quarantine", rewritten.quarantined, "what was set aside stays counted; its content was struck out"),
        Removed("older snapshots", rewritten.older, "folders deleted"),
    ]  # fmt: skip


def _from_mirrors(home: Path, student_id: str) -> list[Removed]:
    """What the mirrors of sources hold of the student."""
    removed = []
    for folder in sorted((home / "sources").glob("*/")):
        with open_mirror(folder) as mirror:
            removed.append(Removed(f"mirror of {folder.name}", mirror.forget(student_id), "records deleted"))
    return removed


def _derived(home: Path) -> list[Removed]:
    removed = []
    for name in DERIVED:
        folder = home / name
        files = sum(1 for file in folder.rglob("*") if file.is_file()) if folder.is_dir() else 0
        shutil.rmtree(folder, ignore_errors=True)
        removed.append(Removed(name, files, "files deleted; made anew from what is left"))
    return removed


def _certify(session: Session, kind: str, subject: str, officer: Viewer, now: datetime,
             removed: list[Removed]) -> Certificate:  # fmt: skip
    living = select(BackupRow).where(BackupRow.destroyed_at.is_(None), BackupRow.expires_on >= now.date(),
                                     BackupRow.taken_at <= now)  # fmt: skip
    copies = session.scalars(living.order_by(BackupRow.expires_on))
    facts: dict[str, Any] = {
        "kind": kind, "subject": subject, "at": now.isoformat(timespec="seconds"),
        "officer": officer.name, "login": officer.login, "removed": [asdict(one) for one in removed],
        "copies_that_still_hold_it": [
            {"name": copy.name, "place": copy.place, "taken_at": copy.taken_at.isoformat(timespec="seconds"),
             "expires_on": copy.expires_on.isoformat()} for copy in copies],
    }  # fmt: skip
    body = json.dumps(facts, indent=1, sort_keys=True)
    row = DestructionRow(at=now, by=officer.user_id, kind=kind, subject=subject, certificate=body,
                         sha256=hashlib.sha256(body.encode()).hexdigest())  # fmt: skip
    session.add(row)
    session.flush()
    return _certificate(row)


def _rows(done: Result[Any]) -> int:
    assert isinstance(done, CursorResult)
    return done.rowcount


def _certificate(row: DestructionRow) -> Certificate:
    return Certificate(row.id, row.at, row.kind, row.certificate, row.sha256)


def _copy(row: BackupRow) -> Copy:
    return Copy(row.name, row.place, row.taken_at, row.expires_on, row.destroyed_at)


def _wipe(database: Database) -> None:
    """Leave no bytes of deleted rows: rewrite the database's files and empty the write-ahead log."""
    with database.engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        if database.engine.dialect.name == "sqlite":
            connection.execute(text("PRAGMA wal_checkpoint(TRUNCATE)"))
            connection.execute(text("VACUUM"))
            connection.execute(text("PRAGMA wal_checkpoint(TRUNCATE)"))
        else:
            connection.execute(text("VACUUM FULL"))
