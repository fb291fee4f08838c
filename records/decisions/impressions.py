"""Every list of suggestions that somebody was shown, with the chance that each support had to stand
first.

Later evaluation weighs what was chosen by the chance that it was shown; where that chance was not
written down, it has to be guessed (Bottou et al. 2013, "Counterfactual reasoning and learning
systems", JMLR 14). Beside the list stands what a challenger would have shown, which nobody sees. A
list is kept once, however often it is looked at, and goes with the student's other records.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from datetime import date, datetime
from typing import Any

from sqlalchemy import select
from sqlalchemy.dialects import postgresql, sqlite

from records.database.engine import Database
from records.database.tables import ImpressionRow
from records.people.viewer import Scope

_INSERTS = {"postgresql": postgresql.insert, "sqlite": sqlite.insert}


@dataclass(frozen=True)
class RankedSupport:
    """One place on a list. `first_chance`: how likely it was to stand first, 0 to 1, given what
    scope showed.
    """

    support: str
    rank: int
    first_chance: float
    benefit: float
    lower: float


@dataclass(frozen=True)
class Impression:
    """One list as one organisation's staff saw it. `drawn`: its order was drawn by lot.

    `challenger`: the supports that the challenger would have shown, best first; `challenger_sha256`
    is empty where no challenger ran.
    """

    student_id: str
    organization_id: str
    as_of: date
    snapshot_id: str
    model_sha256: str
    listed: tuple[RankedSupport, ...]
    drawn: bool = False
    challenger_sha256: str = ""
    challenger: tuple[str, ...] = ()

    @property
    def first(self) -> str:
        """The support that stood first; an empty text on an empty list."""
        return min(self.listed, key=lambda entry: entry.rank).support if self.listed else ""

    @property
    def key(self) -> str:
        """The same for the same list, and for no other."""
        return hashlib.sha256(
            json.dumps(asdict(self), sort_keys=True, default=str).encode()
        ).hexdigest()


def log_impressions(database: Database, lists: Iterable[Impression], now: datetime) -> None:
    """Keep lists that are about to be shown; one that is kept already stays as it is."""
    rows = [
        {
            "key": one.key,
            "shown_at": now,
            "student_id": one.student_id,
            "organization_id": one.organization_id,
            "as_of": one.as_of,
            "snapshot_id": one.snapshot_id,
            "model_sha256": one.model_sha256,
            "listed": json.dumps([asdict(entry) for entry in one.listed]),
            "drawn": one.drawn,
            "challenger_sha256": one.challenger_sha256,
            "challenger": json.dumps(one.challenger),
        }
        for one in lists
    ]
    if not rows:
        return
    with database.session() as session:
        insert: Any = _INSERTS[session.get_bind().dialect.name]
        session.execute(insert(ImpressionRow).on_conflict_do_nothing(index_elements=["key"]), rows)


def logged_impressions(
    database: Database, scope: Scope, challenger_sha256: str | None = None
) -> Sequence[Impression]:
    """Lists about the students of a scope, the oldest first.

    Args:
        challenger_sha256: only those beside which this challenger ran.
    """
    query = select(ImpressionRow).order_by(ImpressionRow.id)
    if challenger_sha256 is not None:
        query = query.where(ImpressionRow.challenger_sha256 == challenger_sha256)
    with database.session() as session:
        return [_shown(row) for row in session.scalars(query) if row.student_id in scope.students]


def _shown(row: ImpressionRow) -> Impression:
    listed = tuple(RankedSupport(**entry) for entry in json.loads(row.listed))
    return Impression(
        row.student_id,
        row.organization_id,
        row.as_of,
        row.snapshot_id,
        row.model_sha256,
        listed,
        row.drawn,
        row.challenger_sha256,
        tuple(json.loads(row.challenger)),
    )
