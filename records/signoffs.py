"""Reviewers' signatures and refusals: each bound to the bytes of one model and of one audit, and never changed.

A later decision about the same model counts instead of an earlier one; both stay on record.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Literal

from sqlalchemy import select

from records.database import Database, SignoffRow

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


def add_signoff(database: Database, signoff: Signoff) -> None:
    """Keep a decision.

    Raises:
        ValueError: the decision is neither "signed" nor "refused".
    """
    if signoff.decision not in (SIGNED, REFUSED):
        raise ValueError(f"the decision is {signoff.decision!r}; it must be 'signed' or 'refused'")
    with database.session() as session:
        session.add(SignoffRow(at=signoff.at, reviewer_id=signoff.reviewer_id, model_version=signoff.model_version,
                               model_sha256=signoff.model_sha256, audit_sha256=signoff.audit_sha256,
                               decision=signoff.decision, reason=signoff.reason))  # fmt: skip


def signoffs(database: Database, model_sha256: str | None = None) -> list[Signoff]:
    """Decisions in the order in which they were kept, the newest first; of one model's bytes or of all."""
    query = select(SignoffRow).order_by(SignoffRow.id.desc())
    if model_sha256 is not None:
        query = query.where(SignoffRow.model_sha256 == model_sha256)
    with database.session() as session:
        return [Signoff(row.at, row.reviewer_id, row.model_version, row.model_sha256, row.audit_sha256,
                        SIGNED if row.decision == SIGNED else REFUSED, row.reason)
                for row in session.scalars(query).all()]  # fmt: skip
