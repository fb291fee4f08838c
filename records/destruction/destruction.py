"""The end of a record: destroying what an agreement's end or the district's decision requires.

`destroy_student` removes a child from every store that Handrail has: the current snapshot, the
older ones, feature tables, the mirrors of sources, the operational database, and the name behind
the disclosure log's references, whose chain still holds. It is recorded before the first store is
touched: from then on nobody sees the child, and if it is interrupted, `finish_destructions` or the
same command goes on; the certificate comes last. `destroy_agreement_data` removes what one
organization's agreement produced. Neither touches a record under a legal hold. What is destroyed
stays away: the next load leaves it out. Source: 34 CFR 99.35(b).
"""

from __future__ import annotations

import hashlib
import hmac
import shutil
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import asdict
from datetime import datetime
from pathlib import Path
from typing import Any

from sqlalchemy import CursorResult, Result, delete, select, text, update
from sqlalchemy.orm import Session

from records.access.publication import (
    has_row_security,
    publish_if_needed,
    withdraw_other_publications,
)
from records.connectors.http.mirror import open_mirror
from records.database.engine import Database
from records.database.tables import (
    ConsentRow,
    DecisionRow,
    DestructionRow,
    EmergencyRow,
    ImpressionRow,
    LegalDemandRow,
    ParticipantCandidateRow,
    ParticipantRow,
    StaffRow,
    UnfinishedDestructionRow,
    WebSessionRow,
)
from records.destruction.certificates import (
    Administrator,
    Certificate,
    certify,
    student_certificate,
)
from records.destruction.inventory import (
    DERIVED_FOLDERS,
    STUDENT_ROWS,
    RemovedItems,
    derived_items,
    holds_student,
    take_inventory,
)
from records.disclosure_log.student_references import unlink_student
from records.identity.aliases import identifiers_of
from records.permissions import legal_holds
from records.permissions.agreements import latest_agreements
from records.permissions.destructions_in_progress import is_begun
from records.snapshots.rewriting import rewrite_without_student
from records.snapshots.snapshot import NoSnapshot, Snapshot
from records.staff.district_admins import require_district_admin
from records.staff.viewer import Viewer
from records.system.errors import UserError

_ACT = "destroy records"
_ORGANIZATION_ROWS = (
    ConsentRow,
    DecisionRow,
    ImpressionRow,
    EmergencyRow,
    ParticipantCandidateRow,
    ParticipantRow,
)
"""Tables of the database whose rows are deleted with what an agreement produced."""


class DestructionError(UserError, ValueError):
    """A record that must not be destroyed, or is not there; nothing was changed."""


def destroy_student(
    database: Database, home: Path, student_id: str, admin: Viewer, now: datetime, secret: bytes
) -> Certificate:
    """Remove one student from every store, and keep them out of later loads.

    Where a destruction of this student was interrupted, it goes on from there. A student's further
    identifiers are destroyed with it, each with a certificate of its own, so that the child does
    not come back under one of them.

    Args:
        student_id: any identifier of the student.
        admin: the district administrator who decides it.
        secret: the installation's own, with which a certificate names the student by a digest.

    Returns:
        The certificate of the student's own identifier.

    Raises:
        NotADistrictAdmin: `admin` is not an active district administrator.
        DestructionError: a legal hold is on the record, no store holds the student, or the
            database login may not rewrite tables in PostgreSQL.
        LoadInProgress: records are being loaded; what was begun stays unfinished.
    """
    with database.session() as session:
        require_district_admin(session, admin, _ACT)
    _require_owner(database)
    identifiers = identifiers_of(database, student_id)
    if not legal_holds.in_force(database).isdisjoint(identifiers):
        raise DestructionError(
            "a legal hold is on this record: it must be lifted before anything is destroyed"
        )
    subjects = []
    for identifier in reversed(identifiers):  # the student's own last: the aliases hang on it
        subject = destroyed_student_digest(identifier, secret)
        if not is_begun(database, subject):
            is_alias = identifier != identifiers[0]
            if is_alias and _is_certified(database, subject):
                continue
            if not is_alias and not holds_student(database, home, identifier):
                raise DestructionError(_not_found_message(database, subject))
            inventory = take_inventory(database, home, identifier)
            _begin(database, subject, identifier, admin, inventory, now)
        subjects.append(subject)
    return [_finish(database, home, subject, now) for subject in subjects][-1]


def finish_destructions(database: Database, home: Path, now: datetime) -> list[Certificate]:
    """Go on with every interrupted destruction of a student, except those under a legal hold.

    Raises:
        LoadInProgress: records are being loaded.
        DestructionError: the database login may not rewrite tables in PostgreSQL.
    """
    students_on_hold = legal_holds.in_force(database)
    query = select(UnfinishedDestructionRow).order_by(UnfinishedDestructionRow.id)
    with database.session() as session:
        subjects = [
            row.subject for row in session.scalars(query) if row.student_id not in students_on_hold
        ]
    if subjects:
        _require_owner(database)
    return [_finish(database, home, subject, now) for subject in subjects]


def destroy_agreement_data(
    database: Database, home: Path, agreement_id: str, admin: Viewer, now: datetime
) -> Certificate:
    """Remove what an ended agreement produced, and close the organization's staff accounts.

    Deleted are its decisions, logged suggestion lists, consents, participants, emergencies and web
    sessions; the district's own records stay.

    Args:
        admin: the district administrator who decides it.

    Raises:
        NotADistrictAdmin: `admin` is not an active district administrator.
        DestructionError: there is no such agreement, or it or another one of the same organization
            is still in force.
    """
    with database.session() as session:
        require_district_admin(session, admin, _ACT)
    organization_id = _organization_without_agreement(database, agreement_id, now)
    removed = _delete_derived(home)
    with database.write_transaction() as session:
        removed += _delete_organization_rows(session, organization_id)
        certificate = certify(
            session,
            kind="agreement",
            subject=agreement_id,
            admin=Administrator(admin.user_id, admin.name, admin.login),
            removed=removed,
            begun_at=now,
            now=now,
        )
    _vacuum(database)
    return certificate


def destroyed_student_filter(database: Database, secret: bytes) -> Callable[[str], bool] | None:
    """The filter by which a load leaves out students whose records are or are being destroyed.

    Returns:
        A function of the student ID, true for such a student; None where there is none.
    """
    certified = select(DestructionRow.subject).where(DestructionRow.kind == "student")
    with database.session() as session:
        digests = frozenset(
            session.scalars(certified.union(select(UnfinishedDestructionRow.subject)))
        )
    if not digests:
        return None
    return lambda student_id: destroyed_student_digest(student_id, secret) in digests


def destroyed_student_digest(student_id: str, secret: bytes) -> str:
    """How a certificate names a student: 64 hex digits that only this installation can compute."""
    return hmac.new(secret, f"destroyed\0{student_id}".encode(), hashlib.sha256).hexdigest()


def _require_owner(database: Database) -> None:
    """PostgreSQL lets only a table's owner rewrite it, so that its file keeps no deleted row."""
    if not has_row_security(database):
        return
    with database.engine.connect() as connection:
        is_owner = connection.scalar(
            text(
                "SELECT pg_has_role(current_user, relowner, 'USAGE') FROM pg_class"
                " WHERE oid = 'public.staff'::regclass"
            )
        )
    if not is_owner:
        raise DestructionError(
            "only the database's owner can destroy records: run the command with the owner's login"
        )


def _is_certified(database: Database, subject: str) -> bool:
    with database.session() as session:
        return student_certificate(session, subject) is not None


def _not_found_message(database: Database, subject: str) -> str:
    with database.session() as session:
        certificate = student_certificate(session, subject)
    message = "no store holds a student with this identifier"
    if certificate is None:
        return message
    return (
        f"{message}: certificate {certificate.number} of {certificate.at:%Y-%m-%d}"
        " says that it was destroyed"
    )


def _organization_without_agreement(database: Database, agreement_id: str, now: datetime) -> str:
    """The organization of an agreement, none of whose agreements is in force.

    Raises:
        DestructionError: there is no such agreement, or one is in force.
    """
    organization_id = next(
        (
            stored.agreement.organization_id
            for stored in latest_agreements(database)
            if stored.agreement.agreement_id == agreement_id
        ),
        None,
    )
    if organization_id is None:
        raise DestructionError(f"there is no agreement {agreement_id!r}")
    for stored in latest_agreements(database, organization_id):
        if stored.revoked_at is None and stored.agreement.end >= now.date():
            raise DestructionError(
                f"agreement {stored.agreement.agreement_id} of {organization_id} is in force until"
                f" {stored.agreement.end}: what it shares is still needed; revoke it first"
            )
    return organization_id


def _delete_organization_rows(session: Session, organization_id: str) -> list[RemovedItems]:
    """Delete an organization's rows, end its staff's web sessions and close their accounts."""
    removed = []
    for row in _ORGANIZATION_ROWS:
        deleted = session.execute(delete(row).where(row.organization_id == organization_id))
        removed.append(RemovedItems(row.__tablename__, _row_count(deleted), "rows deleted"))
    staff = select(StaffRow.user_id).where(StaffRow.organization_id == organization_id)
    ended = session.execute(delete(WebSessionRow).where(WebSessionRow.user_id.in_(staff)))
    closed = session.execute(
        update(StaffRow)
        .where(StaffRow.organization_id == organization_id, StaffRow.active)
        .values(active=False)
    )
    return [
        *removed,
        RemovedItems(WebSessionRow.__tablename__, _row_count(ended), "sessions ended and deleted"),
        RemovedItems(StaffRow.__tablename__, _row_count(closed), "accounts closed"),
    ]


def _begin(
    database: Database,
    subject: str,
    student_id: str,
    admin: Viewer,
    inventory: Sequence[RemovedItems],
    now: datetime,
) -> None:
    """Record what is about to be destroyed: from its commit on, nobody sees the student."""
    with database.write_transaction() as session:
        session.add(
            UnfinishedDestructionRow(
                subject=subject,
                student_id=student_id,
                begun_at=now,
                by=admin.user_id,
                officer=admin.name,
                login=admin.login,
                found=[asdict(items) for items in inventory],
            )
        )


def _finish(database: Database, home: Path, subject: str, now: datetime) -> Certificate:
    """Do what is left of a destruction; each step may have been done before, in part or in full.

    The row of the unfinished destruction loses the student's ID once no other store holds it, and
    is replaced by the certificate at the very end.
    """
    unfinished = select(UnfinishedDestructionRow).where(UnfinishedDestructionRow.subject == subject)
    with database.session() as session:
        row = session.scalar(unfinished)
        student_id = row.student_id if row else ""
    if student_id:
        _delete_from_files(database, home, student_id)
        _delete_from_database(database, student_id)
    _vacuum(database)
    with database.write_transaction() as session:
        row = session.scalar(unfinished)
        if row is None:  # another process has finished it in the meantime
            certificate = student_certificate(session, subject)
            assert certificate is not None
            return certificate
        session.delete(row)
        return certify(
            session,
            kind="student",
            subject=subject,
            admin=Administrator(row.by, row.officer, row.login),
            removed=[RemovedItems(**items) for items in row.found],
            begun_at=row.begun_at,
            now=now,
        )


def _delete_from_files(database: Database, home: Path, student_id: str) -> None:
    """Remove the student from snapshots, their publications, mirrors and derived files."""
    with suppress(NoSnapshot):
        rewrite_without_student(
            home, student_id, publish=lambda snapshot: publish_if_needed(database, snapshot)
        )
        withdraw_other_publications(database, Snapshot.current(home))
    for folder in sorted((home / "sources").glob("*/")):
        with open_mirror(folder) as mirror:
            mirror.forget(student_id)
    _delete_derived(home)


def _delete_from_database(database: Database, student_id: str) -> None:
    """Delete the student's rows, and the student from the rows that stay, in one transaction."""
    with database.write_transaction() as session:
        for row in STUDENT_ROWS:
            session.execute(delete(row).where(row.student_id == student_id))
        session.execute(
            update(LegalDemandRow)
            .where(LegalDemandRow.student_id == student_id)
            .values(student_id="destroyed")
        )
        unlink_student(session, student_id)
        session.execute(
            update(UnfinishedDestructionRow)
            .where(UnfinishedDestructionRow.student_id == student_id)
            .values(student_id="")
        )


def _delete_derived(home: Path) -> list[RemovedItems]:
    removed = derived_items(home)
    for name in DERIVED_FOLDERS:
        shutil.rmtree(home / name, ignore_errors=True)
    return removed


def _row_count(result: Result[Any]) -> int:
    assert isinstance(result, CursorResult)
    return result.rowcount


def _vacuum(database: Database) -> None:
    """Leave no bytes of deleted rows: rewrite the database files and empty the write-ahead log."""
    with database.engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        if database.engine.dialect.name == "sqlite":
            connection.execute(text("PRAGMA wal_checkpoint(TRUNCATE)"))
            connection.execute(text("VACUUM"))
            connection.execute(text("PRAGMA wal_checkpoint(TRUNCATE)"))
        else:
            connection.execute(text("VACUUM FULL"))
