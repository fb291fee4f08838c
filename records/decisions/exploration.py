"""Whether the district lets the order of near-equal supports be drawn by lot, for how many lists,
and how near.

A little chance in the order, written down when it is drawn, lets a later evaluation compare
supports without guessing why one stood first. It is off until a district administrator turns it on
with a reason. Every setting stays on record.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import select

from records.database.engine import Database
from records.database.tables import ExplorationRow
from records.people.district_admins import require_district_admin
from records.people.viewer import Viewer
from records.system.errors import UserError

MAX_SHARE = 0.1
MAX_MARGIN = 1.0
MIN_REASON_LENGTH = 20


class ExplorationError(UserError, ValueError):
    """A setting that is not allowed, and why; nothing was changed."""


@dataclass(frozen=True)
class ExplorationPolicy:
    """`share` of lists whose order may be drawn by lot, among supports within `within` progress
    points of the best.
    """

    share: float = 0.0
    within: float = 0.0

    @property
    def on(self) -> bool:
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
    database: Database, officer: Viewer, asked: ExplorationPolicy, reason: str, now: datetime
) -> ExplorationSetting:
    """Let the order be drawn for a share of lists from now on; a share of 0 turns it off.

    Raises:
        NotADistrictAdmin: they do not act for the district.
        ExplorationError: a number is out of its range, or the reason is too short.
    """
    if not 0 <= asked.share <= MAX_SHARE:
        raise ExplorationError(f"the share is {asked.share:g}; it must be from 0 to {MAX_SHARE:g}")
    if not 0 <= asked.within <= MAX_MARGIN or (asked.on and not asked.within):
        raise ExplorationError(
            f"near is {asked.within:g}; it must be above 0 and at most {MAX_MARGIN:g} progress "
            "points"
        )
    if len(reason.strip()) < MIN_REASON_LENGTH:
        raise ExplorationError(
            f"the reason must be a sentence of {MIN_REASON_LENGTH} characters or more"
        )
    made = ExplorationSetting(
        asked if asked.on else NO_EXPLORATION, officer.user_id, now, reason.strip()
    )
    with database.session() as session:
        require_district_admin(session, officer, "let the order of suggestions be drawn")
        session.add(
            ExplorationRow(
                share=made.exploration.share,
                within=made.exploration.within,
                set_by=made.set_by,
                set_at=made.set_at,
                reason=made.reason,
            )
        )
    return made


def exploration_settings(database: Database) -> list[ExplorationSetting]:
    """Every setting, the newest first."""
    query = select(ExplorationRow).order_by(ExplorationRow.id.desc())
    with database.session() as session:
        return [
            ExplorationSetting(
                ExplorationPolicy(row.share, row.within), row.set_by, row.set_at, row.reason
            )
            for row in session.scalars(query)
        ]


def current_exploration(database: Database) -> ExplorationPolicy:
    """What holds now: off where nothing was ever set."""
    query = (
        select(ExplorationRow.share, ExplorationRow.within)
        .order_by(ExplorationRow.id.desc())
        .limit(1)
    )
    with database.session() as session:
        found = session.execute(query).first()
    return ExplorationPolicy(*found) if found else NO_EXPLORATION
