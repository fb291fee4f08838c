"""The end of a record: what an agreement's end or a district's decision destroys, and the
certificate that says so.

`destroy_student` removes a child from every store that Handrail has: the snapshot that serves, the
older ones, feature tables, the mirrors of sources, the operational store, and the name behind the
disclosure log's references, whose chain still holds. It is written down before the first store is
touched: from then on nobody sees the child, and if it is cut off, `finish_destructions` or the same
command goes on; the certificate comes last. `destroy_agreement_data` removes what one
organisation's agreement made. Neither touches a record under a legal hold. What is destroyed stays
away: the next load leaves it out. Copies kept elsewhere are named, with the day they expire.
Sources: 34 CFR 99.35(b); NIST SP 800-88 (certificate of disposition).
"""

from __future__ import annotations

import hashlib
import hmac
import json
import shutil
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import asdict, dataclass
from datetime import date, datetime
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
from sqlalchemy import CursorResult, Result, delete, func, select, text, update
from sqlalchemy.orm import Session

from records.access.publication import (
    has_row_security,
    publish_if_needed,
    withdraw_other_publications,
)
from records.canonical.schema import TABLES
from records.connectors.http.mirror import open_mirror
from records.database.engine import Database
from records.database.tables import (
    BackupRow,
    ConsentRow,
    DecisionRow,
    DestructionRow,
    EmergencyRow,
    ImpressionRow,
    LegalDemandRow,
    LegalHoldRow,
    LogStudentRow,
    OptOutRow,
    ParticipantCandidateRow,
    ParticipantRow,
    StaffRow,
    UnfinishedDestructionRow,
    WebSessionRow,
)
from records.disclosure_log.disclosures import unlink_student
from records.people.district_admins import require_district_admin
from records.people.viewer import Viewer
from records.permissions import legal_holds
from records.permissions.agreements import latest_agreements
from records.permissions.destructions import is_begun
from records.snapshots.rewriting import count_quarantined_mentions, rewrite_without_student
from records.snapshots.snapshot import NoSnapshot, Snapshot
from records.system.errors import UserError

DERIVED_FOLDERS = ("features",)
"""Folders of a home that hold what was worked out from records: made again when they are next asked
for."""

_OF_A_STUDENT = (
    ConsentRow,
    OptOutRow,
    DecisionRow,
    ImpressionRow,
    EmergencyRow,
    LegalHoldRow,
    ParticipantCandidateRow,
    ParticipantRow,
)
_ACT = "destroy records"
_MADE_ANEW = "files deleted; made anew from what is left"
_STUDENT_TABLES = frozenset(name for name, canonical in TABLES.items() if canonical.is_student)
_OF_AN_ORGANIZATION = (
    ConsentRow,
    DecisionRow,
    ImpressionRow,
    EmergencyRow,
    ParticipantCandidateRow,
    ParticipantRow,
)


class DestructionError(UserError, ValueError):
    """Something that must not be destroyed, or is not there; nothing was changed."""


@dataclass(frozen=True)
class RemovedItems:
    """What was removed from one store. `items` are rows, or files."""

    store: str
    items: int
    how: str


@dataclass(frozen=True)
class Backup:
    """A backup: where it is, when it was made, and when it ends by itself."""

    name: str
    place: str
    taken_at: datetime
    expires_on: date
    destroyed_at: datetime | None = None


@dataclass(frozen=True)
class Certificate:
    """What was destroyed, by whom and when. `text` is what `sha256` is over; it names no
    student.
    """

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


def destroy_student(
    database: Database, home: Path, student_id: str, officer: Viewer, now: datetime, secret: bytes
) -> Certificate:
    """Remove one student from every store, and keep them out of later loads; or go on where this
    was cut off.

    Raises:
        NotADistrictAdmin: the officer does not act for the district.
        DestructionError: a legal hold freezes the record, no store knows the student, or the
            login may not rewrite what PostgreSQL keeps.
        LoadInProgress: records are being loaded; what was begun stays unfinished.
    """
    with database.session() as session:
        require_district_admin(session, officer, _ACT)
    _require_owner(database)
    if student_id in legal_holds.in_force(database):
        raise DestructionError(
            "a legal hold is on this record: it must be lifted before anything is destroyed"
        )
    subject = destroyed_student_digest(student_id, secret)
    if not is_begun(database, subject):
        if not _known(database, home, student_id):
            raise DestructionError(_never_there(database, subject))
        _begin(database, subject, student_id, officer, _found(database, home, student_id), now)
    return _finish(database, home, subject, now)


def finish_destructions(database: Database, home: Path, now: datetime) -> list[Certificate]:
    """Go on with every destruction of a student that was cut off, but for those that a legal hold
    makes wait.

    Raises:
        LoadInProgress: records are being loaded.
        DestructionError: the login may not rewrite what PostgreSQL keeps.
    """
    waiting = legal_holds.in_force(database)
    with database.session() as session:
        rows = session.scalars(
            select(UnfinishedDestructionRow).order_by(UnfinishedDestructionRow.id)
        )
        subjects = [row.subject for row in rows if row.student_id not in waiting]
    if subjects:
        _require_owner(database)
    return [_finish(database, home, subject, now) for subject in subjects]


def destroy_agreement_data(
    database: Database, home: Path, agreement_id: str, officer: Viewer, now: datetime
) -> Certificate:
    """Remove what an ended agreement made: the organisation's decisions, consents, participants,
    emergencies, sessions.

    Staff of an organisation without another agreement in force can no longer sign in.

    Raises:
        NotADistrictAdmin: the officer does not act for the district.
        DestructionError: there is no such agreement, or it, or another of the same organisation,
            is still in force.
    """
    with database.session() as session:
        require_district_admin(session, officer, _ACT)
    stored = next(
        (one for one in latest_agreements(database) if one.agreement.agreement_id == agreement_id),
        None,
    )
    if stored is None:
        raise DestructionError(f"there is no agreement {agreement_id!r}")
    organization = stored.agreement.organization_id
    for one in latest_agreements(database, organization):
        if one.revoked_at is None and one.agreement.end >= now.date():
            raise DestructionError(
                f"agreement {one.agreement.agreement_id} of {organization} is in force until"
                f" {one.agreement.end}: what it shares is still needed; revoke it first"
            )
    removed = _delete_derived(home)
    with database.write_transaction() as session:
        for row in _OF_AN_ORGANIZATION:
            count = _rows(session.execute(delete(row).where(row.organization_id == organization)))
            removed.append(RemovedItems(row.__tablename__, count, "rows deleted"))
        people = select(StaffRow.user_id).where(StaffRow.organization_id == organization)
        ended = _rows(
            session.execute(delete(WebSessionRow).where(WebSessionRow.user_id.in_(people)))
        )
        removed.append(
            RemovedItems(WebSessionRow.__tablename__, ended, "sessions ended and deleted")
        )
        active = update(StaffRow).where(StaffRow.organization_id == organization, StaffRow.active)
        closed = _rows(session.execute(active.values(active=False)))
        removed.append(RemovedItems(StaffRow.__tablename__, closed, "accounts closed"))
        who = (officer.user_id, officer.name, officer.login)
        certificate = _certify(session, "agreement", agreement_id, who, now, removed)
    _wipe(database)
    return certificate


def certificates(database: Database) -> list[Certificate]:
    """Every certificate, the newest first."""
    with database.session() as session:
        rows = session.scalars(select(DestructionRow).order_by(DestructionRow.id.desc()))
        return [_certificate(row) for row in rows]


def overdue_destructions(database: Database, today: date) -> list[Overdue]:
    """Agreements past their day of destruction without a certificate, the longest first."""
    with database.session() as session:
        done = set(
            session.scalars(
                select(DestructionRow.subject).where(DestructionRow.kind == "agreement")
            )
        )
    late = [
        Overdue(
            one.agreement.agreement_id,
            one.agreement.organization_id,
            one.agreement.destruction_date,
        )
        for one in latest_agreements(database)
        if one.agreement.destruction_date < today and one.agreement.agreement_id not in done
    ]
    return sorted(late, key=lambda one: one.destruction_date)


def destroyed_student_filter(database: Database, secret: bytes) -> Callable[[str], bool] | None:
    """Whether a student's records were destroyed, or are being, so that a load leaves them out;
    None if nobody's.
    """
    with database.session() as session:
        done = select(DestructionRow.subject).where(DestructionRow.kind == "student")
        digests = frozenset(session.scalars(done.union(select(UnfinishedDestructionRow.subject))))
    if not digests:
        return None
    return lambda student_id: destroyed_student_digest(student_id, secret) in digests


def destroyed_student_digest(student_id: str, secret: bytes) -> str:
    """How a certificate names a student: 64 hex digits that only this installation can work out."""
    return hmac.new(secret, f"destroyed\0{student_id}".encode(), hashlib.sha256).hexdigest()


def add_backup(database: Database, copy: Backup) -> None:
    """Put a copy on the list of those that a certificate of destruction names.

    Raises:
        DestructionError: a copy of this name is on the list.
    """
    with database.session() as session:
        if session.scalar(select(BackupRow.id).where(BackupRow.name == copy.name)) is not None:
            raise DestructionError(f"a backup named {copy.name!r} is on the list already")
        session.add(
            BackupRow(
                name=copy.name,
                place=copy.place,
                taken_at=copy.taken_at,
                expires_on=copy.expires_on,
                destroyed_at=None,
            )
        )


def mark_backup_destroyed(database: Database, name: str, now: datetime) -> None:
    """Write down that a copy is gone.

    Raises:
        DestructionError: no copy of this name is on the list.
    """
    with database.session() as session:
        row = session.scalar(select(BackupRow).where(BackupRow.name == name))
        if row is None:
            raise DestructionError(f"there is no backup named {name!r} on the list")
        row.destroyed_at = row.destroyed_at or now


def backups(database: Database) -> list[Backup]:
    """Every copy on the list, the newest first."""
    with database.session() as session:
        return [
            _copy(row)
            for row in session.scalars(select(BackupRow).order_by(BackupRow.taken_at.desc()))
        ]


def _require_owner(database: Database) -> None:
    """PostgreSQL rewrites a table, so that no deleted row is left in its file, for the owner of the
    table alone.
    """
    if not has_row_security(database):
        return
    with database.engine.connect() as connection:
        owns = connection.scalar(
            text(
                "SELECT pg_has_role(current_user, relowner, 'USAGE') FROM pg_class WHERE oid ="
                " 'public.staff'::regclass"
            )
        )
    if not owns:
        raise DestructionError(
            "only the database's owner can destroy: give the command with the owner's login"
        )


def _never_there(database: Database, subject: str) -> str:
    query = select(DestructionRow).where(
        DestructionRow.kind == "student", DestructionRow.subject == subject
    )
    with database.session() as session:
        done = session.scalar(query.order_by(DestructionRow.id.desc()))
        certified = (
            f": certificate {done.id} of {done.at:%Y-%m-%d} says that it was destroyed"
            if done
            else ""
        )
    return f"no store holds a student with this identifier{certified}"


def _known(database: Database, home: Path, student_id: str) -> bool:
    """Whether anything holds the student: asked before anything is changed."""
    if any(_rows_of(folder, student_id, ["students"]) for folder in _snapshots(home)):
        return True
    with database.session() as session:
        if any(
            _count(session, row, student_id)
            for row in (*_OF_A_STUDENT, LegalDemandRow, LogStudentRow)
        ):
            return True
    return any(_in_mirrors(home, student_id).values())


def _found(database: Database, home: Path, student_id: str) -> list[RemovedItems]:
    """What every store holds of the student and will lose: counted before, so that what is cut off
    loses no count.
    """
    found = []
    with suppress(NoSnapshot):
        serving = Snapshot.current(home)
        older = [folder for folder in _snapshots(home) if folder != serving.path]
        found = [
            RemovedItems(
                "snapshot",
                _rows_of(serving.path, student_id, TABLES),
                f"{serving.id} written anew without them",
            ),
            RemovedItems(
                "quarantine",
                count_quarantined_mentions(serving, student_id),
                "what was set aside stays counted; its content was struck out",
            ),
            RemovedItems("older snapshots", len(older), "folders deleted"),
        ]
    found += [
        RemovedItems(f"mirror of {source}", records, "records deleted")
        for source, records in _in_mirrors(home, student_id).items()
    ]
    found += [RemovedItems(name, len(files), _MADE_ANEW) for name, files in _derived(home).items()]
    with database.session() as session:
        found += [
            RemovedItems(row.__tablename__, _count(session, row, student_id), "rows deleted")
            for row in _OF_A_STUDENT
        ]
        found.append(
            RemovedItems(
                LegalDemandRow.__tablename__,
                _count(session, LegalDemandRow, student_id),
                "the register stays; whom it named is cut out",
            )
        )
        found.append(
            RemovedItems(
                "disclosures",
                _count(session, LogStudentRow, student_id),
                "the log stays whole; whom its references name is cut out",
            )
        )
    return found


def _begin(
    database: Database,
    subject: str,
    student_id: str,
    officer: Viewer,
    found: list[RemovedItems],
    now: datetime,
) -> None:
    """Write down what is about to be destroyed: from its commit on, nobody sees the student."""
    with database.write_transaction() as session:
        session.add(
            UnfinishedDestructionRow(
                subject=subject,
                student_id=student_id,
                begun_at=now,
                by=officer.user_id,
                officer=officer.name,
                login=officer.login,
                found=[asdict(one) for one in found],
            )
        )


def _finish(database: Database, home: Path, subject: str, now: datetime) -> Certificate:
    """Do what is left of a destruction. Each step may have been done before, in part or whole; the
    last is the end.
    """
    begun = select(UnfinishedDestructionRow).where(UnfinishedDestructionRow.subject == subject)
    with database.session() as session:
        row = session.scalar(begun)
        student_id = row.student_id if row else ""
    if student_id:
        _from_files(database, home, student_id)
        _from_store(database, student_id)
    _wipe(database)
    with database.write_transaction() as session:
        row = session.scalar(begun)
        if row is not None:
            session.delete(row)
            return _certify(
                session,
                "student",
                subject,
                (row.by, row.officer, row.login),
                now,
                [RemovedItems(**one) for one in row.found],
                begun_at=row.begun_at,
            )
        done = select(DestructionRow).where(
            DestructionRow.kind == "student", DestructionRow.subject == subject
        )
        return _certificate(session.scalars(done).one())


def _from_files(database: Database, home: Path, student_id: str) -> None:
    with suppress(NoSnapshot):
        rewrite_without_student(
            home, student_id, publish=lambda snapshot: publish_if_needed(database, snapshot)
        )
        withdraw_other_publications(database, Snapshot.current(home))
    for folder in sorted((home / "sources").glob("*/")):
        with open_mirror(folder) as mirror:
            mirror.forget(student_id)
    _delete_derived(home)


def _from_store(database: Database, student_id: str) -> None:
    """Delete the student's rows, and the student from what is left, all at once."""
    with database.write_transaction() as session:
        for row in _OF_A_STUDENT:
            session.execute(delete(row).where(row.student_id == student_id))
        of_them = update(LegalDemandRow).where(LegalDemandRow.student_id == student_id)
        session.execute(of_them.values(student_id="destroyed"))
        unlink_student(session, student_id)
        begun = update(UnfinishedDestructionRow).where(
            UnfinishedDestructionRow.student_id == student_id
        )
        session.execute(begun.values(student_id=""))


def _snapshots(home: Path) -> list[Path]:
    """Every whole snapshot: what a load is writing, or was when it was killed, is none."""
    return sorted((home / "snapshots").glob("[0-9a-f]*/"))


def _rows_of(folder: Path, student_id: str, names: Iterable[str]) -> int:
    files = [folder / f"{name}.parquet" for name in names if name in _STUDENT_TABLES]
    return sum(
        pq.read_table(
            file, columns=["student_id"], filters=[("student_id", "=", student_id)]
        ).num_rows
        for file in files
        if file.exists()
    )


def _count(session: Session, row: Any, student_id: str) -> int:
    return (
        session.scalar(select(func.count()).select_from(row).where(row.student_id == student_id))
        or 0
    )


def _in_mirrors(home: Path, student_id: str) -> dict[str, int]:
    """How many records of each source's mirror name the student."""
    found = {}
    for folder in sorted((home / "sources").glob("*/")):
        with open_mirror(folder) as mirror:
            found[folder.name] = mirror.holds(student_id)
    return found


def _derived(home: Path) -> dict[str, list[Path]]:
    return {
        name: [file for file in (home / name).rglob("*") if file.is_file()]
        for name in DERIVED_FOLDERS
    }


def _delete_derived(home: Path) -> list[RemovedItems]:
    removed = [RemovedItems(name, len(files), _MADE_ANEW) for name, files in _derived(home).items()]
    for name in DERIVED_FOLDERS:
        shutil.rmtree(home / name, ignore_errors=True)
    return removed


def _certify(
    session: Session,
    kind: str,
    subject: str,
    officer: tuple[str, str, str],
    now: datetime,
    removed: list[RemovedItems],
    begun_at: datetime | None = None,
) -> Certificate:
    living = select(BackupRow).where(
        BackupRow.destroyed_at.is_(None),
        BackupRow.expires_on >= now.date(),
        BackupRow.taken_at <= now,
    )
    copies = session.scalars(living.order_by(BackupRow.expires_on))
    by, name, login = officer
    facts: dict[str, Any] = {
        "kind": kind,
        "subject": subject,
        "begun_at": (begun_at or now).isoformat(timespec="seconds"),
        "at": now.isoformat(timespec="seconds"),
        "officer": name,
        "login": login,
        "removed": [asdict(one) for one in removed],
        "copies_that_still_hold_it": [
            {
                "name": copy.name,
                "place": copy.place,
                "taken_at": copy.taken_at.isoformat(timespec="seconds"),
                "expires_on": copy.expires_on.isoformat(),
            }
            for copy in copies
        ],
    }
    body = json.dumps(facts, indent=1, sort_keys=True)
    row = DestructionRow(
        at=now,
        by=by,
        kind=kind,
        subject=subject,
        certificate=body,
        sha256=hashlib.sha256(body.encode()).hexdigest(),
    )
    session.add(row)
    session.flush()
    return _certificate(row)


def _rows(done: Result[Any]) -> int:
    assert isinstance(done, CursorResult)
    return done.rowcount


def _certificate(row: DestructionRow) -> Certificate:
    return Certificate(row.id, row.at, row.kind, row.certificate, row.sha256)


def _copy(row: BackupRow) -> Backup:
    return Backup(row.name, row.place, row.taken_at, row.expires_on, row.destroyed_at)


def _wipe(database: Database) -> None:
    """Leave no bytes of deleted rows: rewrite the database's files and empty the write-ahead
    log.
    """
    with database.engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        if database.engine.dialect.name == "sqlite":
            connection.execute(text("PRAGMA wal_checkpoint(TRUNCATE)"))
            connection.execute(text("VACUUM"))
            connection.execute(text("PRAGMA wal_checkpoint(TRUNCATE)"))
        else:
            connection.execute(text("VACUUM FULL"))
