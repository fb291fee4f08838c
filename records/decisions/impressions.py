"""Impressions: the suggestion lists that people were shown, with each support's propensity.

A later evaluation weights what was chosen by the probability with which it was shown first; where
that was not recorded, it has to be guessed (Bottou et al. 2013, "Counterfactual reasoning and
learning systems", JMLR 14). Stored with each list is what a challenger would have shown, which
nobody sees. A list is stored once, however often it is viewed, and is destroyed with the student's
other records.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import date, datetime
from typing import Any

from sqlalchemy import select
from sqlalchemy.dialects import postgresql, sqlite

from records.database.engine import Database
from records.database.tables import ImpressionRow
from records.staff.viewer import Scope

_INSERT_OF_DIALECT = {"postgresql": postgresql.insert, "sqlite": sqlite.insert}


@dataclass(frozen=True)
class RankedSupport:
    """One place on a list: its rank from 1, and the model's estimate of the support's benefit.

    `top_propensity` is the probability, 0 to 1, that it was listed first, given what scope showed.
    `benefit` and its lower bound `lower` are in progress points.
    """

    support: str
    rank: int
    top_propensity: float
    benefit: float
    lower: float


@dataclass(frozen=True)
class Impression:
    """One list as one organization's staff saw it; `drawn` if its order was randomized.

    `challenger` has the supports that the challenger model would have shown, best first;
    `challenger_sha256` is empty where no challenger ran.
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
        """The support that was listed first; an empty text for an empty list."""
        return min(self.listed, key=lambda entry: entry.rank).support if self.listed else ""

    @property
    def key(self) -> str:
        """A digest over all fields, equal for equal lists alone; it is stored with the list."""
        stored_fields = asdict(self) | {"listed": [_stored_fields(entry) for entry in self.listed]}
        return hashlib.sha256(
            json.dumps(stored_fields, sort_keys=True, default=str).encode()
        ).hexdigest()


def log_impressions(database: Database, lists: Iterable[Impression], now: datetime) -> None:
    """Store lists that are about to be shown; one that is already stored stays as it is."""
    rows = [
        {
            "key": impression.key,
            "shown_at": now,
            "student_id": impression.student_id,
            "organization_id": impression.organization_id,
            "as_of": impression.as_of,
            "snapshot_id": impression.snapshot_id,
            "model_sha256": impression.model_sha256,
            "listed": json.dumps([_stored_fields(entry) for entry in impression.listed]),
            "drawn": impression.drawn,
            "challenger_sha256": impression.challenger_sha256,
            "challenger": json.dumps(impression.challenger),
        }
        for impression in lists
    ]
    if not rows:
        return
    with database.session() as session:
        insert: Any = _INSERT_OF_DIALECT[session.get_bind().dialect.name]
        session.execute(insert(ImpressionRow).on_conflict_do_nothing(index_elements=["key"]), rows)


def logged_impressions(
    database: Database, scope: Scope, challenger_sha256: str | None = None
) -> Sequence[Impression]:
    """Lists about the students of a scope, the oldest first.

    Args:
        challenger_sha256: only those for which this challenger ran.
    """
    query = select(ImpressionRow).order_by(ImpressionRow.id)
    if challenger_sha256 is not None:
        query = query.where(ImpressionRow.challenger_sha256 == challenger_sha256)
    with database.session() as session:
        return [
            _impression(row) for row in session.scalars(query) if row.student_id in scope.students
        ]


def _stored_fields(entry: RankedSupport) -> dict[str, Any]:
    """The keys of the column `listed`, which are also in the digest of a list."""
    return {
        "support": entry.support,
        "rank": entry.rank,
        "first_chance": entry.top_propensity,
        "benefit": entry.benefit,
        "lower": entry.lower,
    }


def _ranked_support(stored: Mapping[str, Any]) -> RankedSupport:
    return RankedSupport(
        support=stored["support"],
        rank=stored["rank"],
        top_propensity=stored["first_chance"],
        benefit=stored["benefit"],
        lower=stored["lower"],
    )


def _impression(row: ImpressionRow) -> Impression:
    return Impression(
        student_id=row.student_id,
        organization_id=row.organization_id,
        as_of=row.as_of,
        snapshot_id=row.snapshot_id,
        model_sha256=row.model_sha256,
        listed=tuple(_ranked_support(entry) for entry in json.loads(row.listed)),
        drawn=row.drawn,
        challenger_sha256=row.challenger_sha256,
        challenger=tuple(json.loads(row.challenger)),
    )
