"""Certificates of destruction: what was destroyed, by whom and when, without naming a student.

A certificate is JSON with a digest over its text, written in the transaction that ends a
destruction and never changed. Source: NIST SP 800-88 (certificate of disposition).
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import date, datetime
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from records.database.engine import Database
from records.database.tables import DestructionRow
from records.destruction.backups import existing_backups
from records.destruction.inventory import RemovedItems
from records.permissions.agreements import latest_agreements


@dataclass(frozen=True)
class Certificate:
    """What was destroyed, by whom and when. `sha256` is over `text`, which names no student."""

    number: int
    at: datetime
    kind: str
    text: str
    sha256: str


@dataclass(frozen=True)
class Administrator:
    """The district administrator who decided a destruction: account, name and login."""

    user_id: str
    name: str
    login: str


@dataclass(frozen=True)
class Overdue:
    """An agreement whose data is past its day of destruction and has not been destroyed."""

    agreement_id: str
    organization_id: str
    destruction_date: date


def certificates(database: Database) -> list[Certificate]:
    """Every certificate, the newest first."""
    query = select(DestructionRow).order_by(DestructionRow.id.desc())
    with database.session() as session:
        return [_certificate(row) for row in session.scalars(query)]


def student_certificate(session: Session, subject: str) -> Certificate | None:
    """The latest certificate about a student, by the digest that names them; None if none was."""
    query = (
        select(DestructionRow)
        .where(DestructionRow.kind == "student", DestructionRow.subject == subject)
        .order_by(DestructionRow.id.desc())
    )
    row = session.scalars(query).first()
    return None if row is None else _certificate(row)


def overdue_destructions(database: Database, today: date) -> list[Overdue]:
    """Agreements past their day of destruction without a certificate, the longest overdue first."""
    query = select(DestructionRow.subject).where(DestructionRow.kind == "agreement")
    with database.session() as session:
        certified = set(session.scalars(query))
    agreements = [stored.agreement for stored in latest_agreements(database)]
    overdue = [
        Overdue(agreement.agreement_id, agreement.organization_id, agreement.destruction_date)
        for agreement in agreements
        if agreement.destruction_date < today and agreement.agreement_id not in certified
    ]
    return sorted(overdue, key=lambda agreement: agreement.destruction_date)


def certify(
    session: Session,
    kind: str,
    subject: str,
    admin: Administrator,
    removed: Sequence[RemovedItems],
    begun_at: datetime,
    now: datetime,
) -> Certificate:
    """Write a certificate, which also names the backups that still hold what was destroyed.

    Args:
        session: the write transaction that ends the destruction.
        kind: "student" or "agreement".
        subject: the digest of a student, or the ID of an agreement.
    """
    facts: dict[str, Any] = {
        "kind": kind,
        "subject": subject,
        "begun_at": begun_at.isoformat(timespec="seconds"),
        "at": now.isoformat(timespec="seconds"),
        "officer": admin.name,
        "login": admin.login,
        "removed": [asdict(items) for items in removed],
        "copies_that_still_hold_it": [
            {
                "name": backup.name,
                "place": backup.place,
                "taken_at": backup.taken_at.isoformat(timespec="seconds"),
                "expires_on": backup.expires_on.isoformat(),
            }
            for backup in existing_backups(session, now)
        ],
    }
    body = json.dumps(facts, indent=1, sort_keys=True)
    row = DestructionRow(
        at=now,
        by=admin.user_id,
        kind=kind,
        subject=subject,
        certificate=body,
        sha256=hashlib.sha256(body.encode()).hexdigest(),
    )
    session.add(row)
    session.flush()
    return _certificate(row)


def _certificate(row: DestructionRow) -> Certificate:
    return Certificate(
        number=row.id, at=row.at, kind=row.kind, text=row.certificate, sha256=row.sha256
    )
