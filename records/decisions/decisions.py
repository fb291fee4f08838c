"""What people did with suggestions: accepted or dismissed, with the reason and with what they were
shown.

A decision changes no record of the student and denies no service. It is kept for the student's file
with the organisation that made it, and nobody else reads it.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from datetime import datetime
from typing import Any

from sqlalchemy import select

from records.database.engine import Database
from records.database.tables import DecisionRow
from records.people.viewer import NotInScope, Role, Scope

ACCEPTED, DISMISSED = "accepted", "dismissed"
ACTIONS = (ACCEPTED, DISMISSED)
MAX_REASON_LENGTH = 1000


class DecisionError(ValueError):
    """A decision that cannot be recorded; the message says why in plain words."""


@dataclass(frozen=True)
class Decision:
    """One decision. `shown` is what stood on the page when it was made, as JSON."""

    at: datetime
    user_id: str
    organization_id: str
    student_id: str
    support: str
    action: str
    reason: str
    model_sha256: str
    rank: int
    shown: str


def record_decision(
    database: Database,
    scope: Scope,
    student_id: str,
    support: str,
    action: str,
    reason: str,
    model_sha256: str,
    rank: int,
    shown: Mapping[str, Any],
    now: datetime,
) -> Decision:
    """Keep what the viewer decided about one suggestion.

    Raises:
        NotInScope: the student is not in the viewer's scope.
        DecisionError: the action is unknown, the support is not theirs to suggest, or a dismissal
            gives no reason.
    """
    scope.handle(student_id)
    reason = reason.strip()
    if action not in ACTIONS:
        raise DecisionError("A suggestion is either accepted or dismissed.")
    if support not in scope.supports(student_id):
        raise DecisionError("Your agreement does not name this kind of support.")
    if action == DISMISSED and not reason:
        raise DecisionError("Please give a reason when you dismiss a suggestion.")
    if len(reason) > MAX_REASON_LENGTH:
        raise DecisionError(f"Please keep the reason within {MAX_REASON_LENGTH:,} characters.")
    decision = Decision(
        now,
        scope.viewer.user_id,
        scope.viewer.organization_id,
        student_id,
        support,
        action,
        reason,
        model_sha256,
        rank,
        json.dumps(shown, sort_keys=True),
    )
    with database.session() as session:
        session.add(
            DecisionRow(**{field.name: getattr(decision, field.name) for field in fields(decision)})
        )
    return decision


def decisions_for_student(database: Database, scope: Scope, student_id: str) -> list[Decision]:
    """What the viewer's own organisation decided about a student, the newest first.

    Raises:
        NotInScope: the student is not in the viewer's scope.
    """
    scope.handle(student_id)
    query = (
        select(*_COLUMNS)
        .where(
            DecisionRow.student_id == student_id,
            DecisionRow.organization_id == scope.viewer.organization_id,
        )
        .order_by(DecisionRow.at.desc(), DecisionRow.id.desc())
    )
    with database.session() as session:
        return [Decision(**row._mapping) for row in session.execute(query)]


def decisions_for_model(database: Database, scope: Scope, model_sha256: str) -> list[Decision]:
    """What anybody decided about a scope's students on suggestions of one model, the oldest first:
    without reasons.

    It is for the fairness audit, whose pipeline alone has every student in its scope.

    Raises:
        NotInScope: the scope is somebody's, not a pipeline's.
    """
    if scope.viewer.role is not Role.PIPELINE:
        raise NotInScope("Decisions of other organisations are for the audit alone.")
    query = (
        select(*_COLUMNS).where(DecisionRow.model_sha256 == model_sha256).order_by(DecisionRow.id)
    )
    with database.session() as session:
        found = [Decision(**row._mapping) for row in session.execute(query)]
    return [replace(one, reason="") for one in found if one.student_id in scope.students]


_COLUMNS = tuple(getattr(DecisionRow, field.name) for field in fields(Decision))
