"""The fairness gate's verdict on each audit, and reviewers' signatures and refusals: all sealed.

Each is bound to the bytes of one model and of one audit, and never changed. A seal is made with the
district's secret: a row that somebody without the secret wrote into the database, or changed there,
does not count. A later decision about a model counts instead of an earlier one; both stay on
record.
"""

from __future__ import annotations

import hashlib
import hmac
import json
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Literal

from sqlalchemy import select

from records.database.engine import Database
from records.database.tables import GateRecordRow, SignoffRow

SIGNED: Literal["signed"] = "signed"
REFUSED: Literal["refused"] = "refused"


@dataclass(frozen=True)
class Signoff:
    """One decision. `audit_sha256` is empty where a model was refused before it was audited."""

    at: datetime
    reviewer_id: str
    model_version: int
    model_sha256: str
    audit_sha256: str
    decision: Literal["signed", "refused"]
    reason: str


@dataclass(frozen=True)
class GateRecord:
    """The gate's verdict on one audit: "pass", "fail" or "cannot_tell"."""

    at: datetime
    model_version: int
    model_sha256: str
    audit_sha256: str
    policy_sha256: str
    verdict: str


def add_signoff(database: Database, signoff: Signoff, secret: bytes) -> None:
    """Store a decision, sealed.

    Raises:
        ValueError: the decision is neither "signed" nor "refused".
    """
    if signoff.decision not in (SIGNED, REFUSED):
        raise ValueError(f"the decision is {signoff.decision!r}; it must be 'signed' or 'refused'")
    with database.session() as session:
        session.add(SignoffRow(**asdict(signoff), seal=seal(signoff, secret)))


def signoffs(database: Database, model_sha256: str | None = None) -> list[Signoff]:
    """Decisions on one model or on all, the newest first.

    They are what is on record, whether the seal is intact or not: see `verified_signoffs`.
    """
    return [signoff for signoff, _ in _signoffs_and_seals(database, model_sha256)]


def verified_signoffs(
    database: Database, secret: bytes, model_sha256: str | None = None
) -> list[Signoff]:
    """Decisions that count, the newest first: signatures with an intact seal, and all refusals.

    A refusal whose seal is broken still refuses.
    """
    return [
        signoff
        for signoff, stored_seal in _signoffs_and_seals(database, model_sha256)
        if signoff.decision == REFUSED or hmac.compare_digest(stored_seal, seal(signoff, secret))
    ]


def add_gate_record(database: Database, record: GateRecord, secret: bytes) -> None:
    """Store the gate's verdict on an audit, sealed."""
    with database.session() as session:
        session.add(GateRecordRow(**asdict(record), seal=seal(record, secret)))


def gate_records(
    database: Database, secret: bytes, model_sha256: str | None = None
) -> list[GateRecord]:
    """The gate's verdicts on one model or on all, the newest first; only with an intact seal."""
    query = select(GateRecordRow).order_by(GateRecordRow.id.desc())
    if model_sha256 is not None:
        query = query.where(GateRecordRow.model_sha256 == model_sha256)
    with database.session() as session:
        records_and_seals = [(_gate_record(row), row.seal) for row in session.scalars(query)]
    return [
        record
        for record, stored_seal in records_and_seals
        if hmac.compare_digest(stored_seal, seal(record, secret))
    ]


def seal(record: Signoff | GateRecord, secret: bytes) -> str:
    """The seal of a row: 64 hex digits that any change of it changes. Source: RFC 2104 (HMAC).

    The class's name and the names of its fields are part of what is sealed.
    """
    content = json.dumps([type(record).__name__, asdict(record)], sort_keys=True, default=str)
    return hmac.new(secret, f"gate\0{content}".encode(), hashlib.sha256).hexdigest()


def _signoffs_and_seals(database: Database, model_sha256: str | None) -> list[tuple[Signoff, str]]:
    query = select(SignoffRow).order_by(SignoffRow.id.desc())
    if model_sha256 is not None:
        query = query.where(SignoffRow.model_sha256 == model_sha256)
    with database.session() as session:
        return [(_signoff(row), row.seal) for row in session.scalars(query)]


def _signoff(row: SignoffRow) -> Signoff:
    return Signoff(
        at=row.at,
        reviewer_id=row.reviewer_id,
        model_version=row.model_version,
        model_sha256=row.model_sha256,
        audit_sha256=row.audit_sha256,
        decision=SIGNED if row.decision == SIGNED else REFUSED,
        reason=row.reason,
    )


def _gate_record(row: GateRecordRow) -> GateRecord:
    return GateRecord(
        at=row.at,
        model_version=row.model_version,
        model_sha256=row.model_sha256,
        audit_sha256=row.audit_sha256,
        policy_sha256=row.policy_sha256,
        verdict=row.verdict,
    )
