"""What caseworkers did with suggestions: accepted or dismissed, why, and what they were shown.

A decision changes no record of the student and denies no service. It is stored for the student's
file with the organization that made it, and no other organization reads it.
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
from records.staff.viewer import NotInScope, Role, Scope

ACCEPTED, DISMISSED = "accepted", "dismissed"
ACTIONS = (ACCEPTED, DISMISSED)
MAX_REASON_LENGTH = 1000
"""Characters."""


class DecisionError(ValueError):
    """A decision that cannot be recorded; the message is shown to the user as written."""


@dataclass(frozen=True)
class Decision:
    """One decision. `shown` is what was on the page when it was made, as JSON.

    `rank` is the place of the support on that list, from 1.
    """

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


_COLUMNS = tuple(getattr(DecisionRow, field.name) for field in fields(Decision))


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
    """Record what the viewer decided about one suggestion.

    Raises:
        NotInScope: the student is not in the viewer's scope.
        DecisionError: the action is unknown, the viewer's agreement does not name the support, the
            reason is too long, or a dismissal gives none.
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
        at=now,
        user_id=scope.viewer.user_id,
        organization_id=scope.viewer.organization_id,
        student_id=student_id,
        support=support,
        action=action,
        reason=reason,
        model_sha256=model_sha256,
        rank=rank,
        shown=json.dumps(shown, sort_keys=True),
    )
    with database.session() as session:
        session.add(
            DecisionRow(**{field.name: getattr(decision, field.name) for field in fields(decision)})
        )
    return decision


def decisions_for_student(database: Database, scope: Scope, student_id: str) -> list[Decision]:
    """What the viewer's own organization decided about a student, the newest first.

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
    """Every organization's decisions on one model's suggestions, the oldest first, without reasons.

    For the fairness audit, whose pipeline alone has every student in its scope.

    Raises:
        NotInScope: the scope is a person's, not a pipeline's.
    """
    if scope.viewer.role is not Role.PIPELINE:
        raise NotInScope("Only the fairness audit can read the decisions of other organizations.")
    query = (
        select(*_COLUMNS).where(DecisionRow.model_sha256 == model_sha256).order_by(DecisionRow.id)
    )
    with database.session() as session:
        decisions = [Decision(**row._mapping) for row in session.execute(query)]
    return [
        replace(decision, reason="")
        for decision in decisions
        if decision.student_id in scope.students
    ]
