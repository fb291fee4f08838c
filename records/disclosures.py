"""Who saw which student's record: an append-only log, each row hashed over the one before.

A row is written before anything is shown, one a student; it holds identifiers and categories, never a name or a
value. `verify` finds an edit, a deletion, an insertion or a reordering; with an exported head it also finds rows
cut off the end and a log that was rewritten whole.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, fields
from datetime import datetime
from pathlib import Path
from typing import Any

from sqlalchemy import func, insert, select
from sqlalchemy.exc import SQLAlchemyError

from records.agreements import PER_STUDENT_BASES
from records.database import Database, DisclosureRow
from records.schema import Category
from records.scope import Scope

GENESIS = "0" * 64
_UNRECORDED_BASES = frozenset(str(basis) for basis in PER_STUDENT_BASES) | {"own_records"}


class DisclosureLogUnavailable(RuntimeError):
    """The log could not be written, so nothing may be shown."""


@dataclass(frozen=True)
class Disclosure:
    """One look at one student. `shown_together` counts the students of the same answer."""

    seq: int
    at: str
    user_id: str
    organization_id: str
    student_id: str
    categories: str
    purpose: str
    legal_basis: str
    agreement_id: str
    agreement_sha256: str
    route: str
    shown_together: int
    prev_hash: str
    hash: str

    @property
    def law_requires(self) -> bool:
        """Whether 34 CFR 99.32 asks for this record: not for school officials, for consent, or the district itself."""
        return self.legal_basis not in _UNRECORDED_BASES


@dataclass(frozen=True)
class Verification:
    """The outcome of reading the whole chain: rows read and, unless it holds, the first thing that is wrong."""

    ok: bool
    rows: int
    problem: str | None = None


_COLUMNS = tuple(getattr(DisclosureRow, field.name) for field in fields(Disclosure))


def chain_hash(row: dict[str, object]) -> str:
    """SHA-256 over the previous hash and every field of the row, as canonical JSON."""
    hashed = {name: value for name, value in row.items() if name != "hash"}
    return hashlib.sha256(json.dumps(hashed, sort_keys=True, separators=(",", ":")).encode()).hexdigest()


def record_disclosures(database: Database, scope: Scope, students: Sequence[str], categories: Collection[Category],
                       route: str, now: datetime) -> None:  # fmt: skip
    """Append one row for each student that an answer is about to show.

    The row names the categories shown that the student's agreement allows. Students out of scope cannot be shown.

    Raises:
        DisclosureLogUnavailable: the log could not be written.
        NotInScope: a student is not in scope.
    """
    for student in students:
        scope.handle(student)
    try:
        with database.write_transaction() as session:
            last = session.execute(
                select(DisclosureRow.seq, DisclosureRow.hash).order_by(DisclosureRow.seq.desc()).limit(1)
            ).first()
            seq, previous = (last.seq, last.hash) if last else (0, GENESIS)
            rows = []
            for student in students:
                seq += 1
                row = _row(scope, student, categories, route, now, len(students)) | {"seq": seq, "prev_hash": previous}
                previous = chain_hash(row)
                rows.append(row | {"hash": previous})
            if rows:
                session.execute(insert(DisclosureRow), rows)
    except SQLAlchemyError as error:
        raise DisclosureLogUnavailable("the disclosure log cannot be written, so nothing is shown") from error


def verify(database: Database, head: Path | None = None) -> Verification:
    """Read the chain from its beginning; with the file of an exported head, compare with that too."""
    expected = json.loads(head.read_text()) if head is not None else None
    previous, count = GENESIS, 0
    for row in _rows(database):
        count += 1
        if row["seq"] != count:
            return Verification(False, count, f"row {count} is missing or out of order: {row['seq']} was found")
        if row["prev_hash"] != previous:
            return Verification(False, count, f"row {count} does not follow from the row before it")
        if row["hash"] != chain_hash(row):
            return Verification(False, count, f"row {count} was changed")
        previous = str(row["hash"])
        if expected is not None and count == expected["seq"] and previous != expected["hash"]:
            return Verification(False, count, f"row {count} is not the one whose head was exported")
    if expected is not None and count < expected["seq"]:
        return Verification(False, count, f"rows {count + 1} to {expected['seq']} were cut off the end")
    return Verification(True, count)


def export_head(database: Database, file: Path) -> None:
    """Write the sequence number and hash of the last row, to be kept where nobody can rewrite the log with it."""
    with database.session() as session:
        last = session.execute(
            select(DisclosureRow.seq, DisclosureRow.hash).order_by(DisclosureRow.seq.desc()).limit(1)
        ).first()
    file.write_text(json.dumps({"seq": last.seq if last else 0, "hash": last.hash if last else GENESIS}))


def disclosures(database: Database, *, student_id: str | None = None, organization_id: str | None = None,
                but_not: str | None = None, offset: int = 0, limit: int = 200) -> list[Disclosure]:  # fmt: skip
    """The newest rows first: of one student or all, by one organisation, by all, or by all `but_not` one."""
    query = _of(select(*_COLUMNS), student_id, organization_id, but_not).order_by(DisclosureRow.seq.desc())
    with database.session() as session:
        return [Disclosure(**row._mapping) for row in session.execute(query.offset(offset).limit(limit))]


def count_disclosures(database: Database, *, student_id: str | None = None, organization_id: str | None = None,
                      but_not: str | None = None) -> int:  # fmt: skip
    """How many rows `disclosures` would give without a limit."""
    query = _of(select(func.count()).select_from(DisclosureRow), student_id, organization_id, but_not)
    with database.session() as session:
        return session.scalar(query) or 0


def _of(query: Any, student_id: str | None, organization_id: str | None, but_not: str | None) -> Any:
    if but_not is not None:
        query = query.where(DisclosureRow.organization_id != but_not)
    if student_id is not None:
        query = query.where(DisclosureRow.student_id == student_id)
    if organization_id is not None:
        query = query.where(DisclosureRow.organization_id == organization_id)
    return query


def _row(scope: Scope, student: str, categories: Collection[Category], route: str, now: datetime,
         together: int) -> dict[str, object]:  # fmt: skip
    grants = scope.grants[student]
    shown = scope.categories(student) & frozenset(categories)
    grant = next((grant for grant in grants if grant.categories & shown), grants[0])
    return {
        "at": now.isoformat(timespec="milliseconds"), "user_id": scope.viewer.user_id,
        "organization_id": scope.viewer.organization_id, "student_id": student,
        "categories": ";".join(sorted(shown)), "purpose": grant.purpose, "legal_basis": grant.legal_basis,
        "agreement_id": grant.agreement_id, "agreement_sha256": grant.agreement_sha256, "route": route,
        "shown_together": together,
    }  # fmt: skip


def _rows(database: Database) -> Iterator[dict[str, object]]:
    with database.engine.connect() as connection:
        query = select(*_COLUMNS).order_by(DisclosureRow.seq).execution_options(yield_per=20_000)
        for row in connection.execute(query):
            yield dict(row._mapping)


