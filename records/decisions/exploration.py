"""The district's setting for randomizing the order of near-equal suggestions.

A little chance in the order, recorded when it is drawn, lets a later evaluation compare supports
without guessing why one was listed first. It is off until a district administrator turns it on with
a reason. Every setting stays on record.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import select

from records.database.engine import Database
from records.database.tables import ExplorationRow
from records.staff.district_admins import require_district_admin
from records.staff.viewer import Viewer
from records.system.errors import UserError

MAX_SHARE = 0.1
"""Largest share of lists whose order may be randomized."""

MAX_MARGIN = 1.0
"""Largest difference from the best support, in progress points, that may still be exchanged."""

MIN_REASON_LENGTH = 20
"""Characters."""


class ExplorationError(UserError, ValueError):
    """A setting that is not allowed, and why; nothing was changed."""


@dataclass(frozen=True)
class ExplorationPolicy:
    """For which share of lists, and among which supports, the order may be randomized.

    `share` is a share of lists, 0 to 1. `within` is how far a support may be from the best one, in
    progress points.
    """

    share: float = 0.0
    within: float = 0.0

    @property
    def on(self) -> bool:
        """Whether any list's order may be randomized."""
        return self.share > 0


NO_EXPLORATION = ExplorationPolicy()


@dataclass(frozen=True)
class ExplorationSetting:
    """One setting on record: who set it (an account), when and why."""

    exploration: ExplorationPolicy
    set_by: str
    set_at: datetime
    reason: str


def set_exploration(
    database: Database, admin: Viewer, policy: ExplorationPolicy, reason: str, now: datetime
) -> ExplorationSetting:
    """Randomize the order of a share of lists from now on; a share of 0 turns it off.

    Raises:
        NotADistrictAdmin: `admin` is not an active district administrator.
        ExplorationError: a number is out of its range, or the reason is too short.
    """
    if not 0 <= policy.share <= MAX_SHARE:
        raise ExplorationError(f"the share is {policy.share:g}; it must be from 0 to {MAX_SHARE:g}")
    if not 0 <= policy.within <= MAX_MARGIN or (policy.on and not policy.within):
        raise ExplorationError(
            f"near is {policy.within:g}; it must be above 0 and at most {MAX_MARGIN:g} progress"
            " points"
        )
    if len(reason.strip()) < MIN_REASON_LENGTH:
        raise ExplorationError(
            f"the reason must be a sentence of {MIN_REASON_LENGTH} characters or more"
        )
    setting = ExplorationSetting(
        exploration=policy if policy.on else NO_EXPLORATION,
        set_by=admin.user_id,
        set_at=now,
        reason=reason.strip(),
    )
    with database.session() as session:
        require_district_admin(session, admin, "let the order of suggestions be drawn")
        session.add(
            ExplorationRow(
                share=setting.exploration.share,
                within=setting.exploration.within,
                set_by=setting.set_by,
                set_at=setting.set_at,
                reason=setting.reason,
            )
        )
    return setting


def exploration_settings(database: Database) -> list[ExplorationSetting]:
    """Every setting, the newest first."""
    query = select(ExplorationRow).order_by(ExplorationRow.id.desc())
    with database.session() as session:
        return [
            ExplorationSetting(
                exploration=ExplorationPolicy(row.share, row.within),
                set_by=row.set_by,
                set_at=row.set_at,
                reason=row.reason,
            )
            for row in session.scalars(query)
        ]


def current_exploration(database: Database) -> ExplorationPolicy:
    """The policy in force; `NO_EXPLORATION` where none was ever set."""
    query = (
        select(ExplorationRow.share, ExplorationRow.within)
        .order_by(ExplorationRow.id.desc())
        .limit(1)
    )
    with database.session() as session:
        row = session.execute(query).first()
    return ExplorationPolicy(*row) if row else NO_EXPLORATION
