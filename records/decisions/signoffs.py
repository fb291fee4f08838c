"""What the fairness gate said of each audit, and reviewers' signatures and refusals: sealed, and
never changed.

Each is bound to the bytes of one model and of one audit. A seal is made with the district's secret,
so that a row that was written into the database, or changed there, by somebody who has not the
secret does not count. A later decision about the same model counts instead of an earlier one; both
stay on record.
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
    """What the gate said of one audit. `verdict` is "pass", "fail" or "cannot_tell"."""

    at: datetime
    model_version: int
    model_sha256: str
    audit_sha256: str
    policy_sha256: str
    verdict: str


def add_signoff(database: Database, signoff: Signoff, secret: bytes) -> None:
    """Keep a decision, sealed.

    Raises:
        ValueError: the decision is neither "signed" nor "refused".
    """
    if signoff.decision not in (SIGNED, REFUSED):
        raise ValueError(f"the decision is {signoff.decision!r}; it must be 'signed' or 'refused'")
    with database.session() as session:
        session.add(SignoffRow(**asdict(signoff), seal=seal(signoff, secret)))


def signoffs(database: Database, model_sha256: str | None = None) -> list[Signoff]:
    """Decisions in the order in which they were kept, the newest first; of one model's bytes or of
    all.

    They are what is on record, whether the seal is whole or not: see `verified_signoffs`.
    """
    return [signoff for signoff, _ in _signoffs(database, model_sha256)]


def verified_signoffs(
    database: Database, secret: bytes, model_sha256: str | None = None
) -> list[Signoff]:
    """The decisions whose seal is whole, the newest first. A broken refusal still refuses: only
    signatures need one.
    """
    return [
        one
        for one, found in _signoffs(database, model_sha256)
        if one.decision == REFUSED or hmac.compare_digest(found, seal(one, secret))
    ]


def add_gate_record(database: Database, record: GateRecord, secret: bytes) -> None:
    """Keep what the gate said, sealed."""
    with database.session() as session:
        session.add(GateRecordRow(**asdict(record), seal=seal(record, secret)))


def gate_records(
    database: Database, secret: bytes, model_sha256: str | None = None
) -> list[GateRecord]:
    """What the gate said, of one model's bytes or of all, the newest first; only rows whose seal is
    whole.
    """
    query = select(GateRecordRow).order_by(GateRecordRow.id.desc())
    if model_sha256 is not None:
        query = query.where(GateRecordRow.model_sha256 == model_sha256)
    with database.session() as session:
        found = [
            (
                GateRecord(
                    row.at,
                    row.model_version,
                    row.model_sha256,
                    row.audit_sha256,
                    row.policy_sha256,
                    row.verdict,
                ),
                row.seal,
            )
            for row in session.scalars(query)
        ]
    return [record for record, kept in found if hmac.compare_digest(kept, seal(record, secret))]


def seal(kept: Signoff | GateRecord, secret: bytes) -> str:
    """The seal of a row: 64 hex digits, another for every change of it. Source: RFC 2104 (HMAC)."""
    said = json.dumps([type(kept).__name__, asdict(kept)], sort_keys=True, default=str)
    return hmac.new(secret, f"gate\0{said}".encode(), hashlib.sha256).hexdigest()


def _signoffs(database: Database, model_sha256: str | None) -> list[tuple[Signoff, str]]:
    query = select(SignoffRow).order_by(SignoffRow.id.desc())
    if model_sha256 is not None:
        query = query.where(SignoffRow.model_sha256 == model_sha256)
    with database.session() as session:
        return [
            (
                Signoff(
                    row.at,
                    row.reviewer_id,
                    row.model_version,
                    row.model_sha256,
                    row.audit_sha256,
                    SIGNED if row.decision == SIGNED else REFUSED,
                    row.reason,
                ),
                row.seal,
            )
            for row in session.scalars(query)
        ]
