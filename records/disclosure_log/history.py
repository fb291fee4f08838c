"""Reading the disclosure log: single disclosures, and sums by party and by account.

Answers a family that asks who saw a record, and a district that asks what one account saw. It
writes nothing, and does not verify the chain of what it reads: categories of a tampered row are
read too, as plain strings where they name none.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from typing import Any

from sqlalchemy import ColumnElement, Select, func, or_, select

from records.database.engine import Database
from records.database.tables import DisclosureRow, LogStudentRow, StudentAliasRow
from records.disclosure_log.disclosures import HASHED_COLUMNS
from records.disclosure_log.student_references import REFERENCE_MATCHES
from records.permissions.emergencies import Emergency
from records.staff.viewer import emergency_reference


@dataclass(frozen=True)
class Disclosure:
    """One student's record shown once. `student_id` is None once the student was destroyed.

    `shown_together` counts the students of the same response; `law_requires` says whether 34 CFR
    99.32 requires this record.
    """

    seq: int
    at: str
    user_id: str
    organization_id: str
    student_ref: str
    student_id: str | None
    categories: frozenset[str]
    purpose: str
    legal_basis: str
    law_requires: bool
    agreement_id: str
    agreement_sha256: str
    route: str
    shown_together: int
    hash: str


@dataclass(frozen=True)
class Party:
    """All disclosures of one student to one organization for one purpose.

    `looks` is their number; `first` and `last` are the times of the earliest and the latest.
    """

    organization_id: str
    purpose: str
    legal_basis: str
    law_requires: bool
    agreement_id: str
    categories: frozenset[str]
    looks: int
    first: str
    last: str


@dataclass(frozen=True)
class Exposure:
    """What one account saw of one student; `student_id` is None once the student was destroyed."""

    student_id: str | None
    categories: frozenset[str]
    looks: int
    first: str
    last: str


def disclosures(
    database: Database,
    *,
    student_id: str | None = None,
    organization_id: str | None = None,
    but_not: str | None = None,
    agreement_id: str | None = None,
    user_id: str | None = None,
    offset: int = 0,
    limit: int = 200,
) -> list[Disclosure]:
    """Disclosures that match every filter given, the newest first.

    Args:
        but_not: an organization whose disclosures are left out.
        offset: how many of the newest to skip.
        limit: how many to return at most.
    """
    filters = _filters(student_id, organization_id, but_not, agreement_id, user_id)
    query = (
        select(*HASHED_COLUMNS, DisclosureRow.hash, LogStudentRow.student_id)
        .outerjoin(LogStudentRow, REFERENCE_MATCHES)
        .where(*filters)
        .order_by(DisclosureRow.seq.desc())
        .offset(offset)
        .limit(limit)
    )
    with database.session() as session:
        return [_disclosure(row) for row in session.execute(query)]


def count_disclosures(
    database: Database,
    *,
    student_id: str | None = None,
    organization_id: str | None = None,
    but_not: str | None = None,
    agreement_id: str | None = None,
    user_id: str | None = None,
) -> int:
    """How many rows `disclosures` would return with these filters and no limit."""
    filters = _filters(student_id, organization_id, but_not, agreement_id, user_id)
    query = select(func.count()).select_from(DisclosureRow).where(*filters)
    with database.session() as session:
        return session.scalar(query) or 0


def emergency_disclosure_count(database: Database, emergency: Emergency) -> int:
    """How many disclosures were made under an emergency."""
    return count_disclosures(
        database,
        student_id=emergency.student_id,
        agreement_id=emergency_reference(emergency.number),
    )


def parties(database: Database, student_id: str) -> list[Party]:
    """To whom one student's record was shown and for what purpose, the latest first."""
    party_columns = (
        DisclosureRow.organization_id,
        DisclosureRow.purpose,
        DisclosureRow.legal_basis,
        DisclosureRow.law_requires,
        DisclosureRow.agreement_id,
    )
    groups: dict[tuple[str, ...], list[Any]] = defaultdict(list)
    with database.session() as session:
        query = _grouped(*party_columns).where(*_filters(student_id))
        for *party, categories, count, first, last in session.execute(query):
            groups[tuple(party)].append((categories, count, first, last))
    combined = [
        Party(organization_id, purpose, basis, required == "yes", agreement_id, *_combine(parts))
        for (organization_id, purpose, basis, required, agreement_id), parts in groups.items()
    ]
    return sorted(combined, key=lambda party: party.last, reverse=True)


def exposures(database: Database, user_id: str, since: date, until: date) -> list[Exposure]:
    """What one account saw, one entry for each student, sorted by student ID.

    Args:
        since: the first day, included.
        until: the last day, included.
    """
    query = (
        _grouped(DisclosureRow.student_ref, LogStudentRow.student_id)
        .outerjoin(LogStudentRow, REFERENCE_MATCHES)
        .where(
            DisclosureRow.user_id == user_id,
            DisclosureRow.at >= since.isoformat(),
            DisclosureRow.at < (until + timedelta(days=1)).isoformat(),
        )
    )
    groups: dict[tuple[str, str | None], list[Any]] = defaultdict(list)
    with database.session() as session:
        for reference, student_id, *part in session.execute(query):
            groups[reference, student_id].append(part)
    combined = [Exposure(student_id, *_combine(parts)) for (_, student_id), parts in groups.items()]
    return sorted(
        combined,
        key=lambda exposure: (exposure.student_id is None, exposure.student_id or exposure.first),
    )


def _filters(
    student_id: str | None,
    organization_id: str | None = None,
    but_not: str | None = None,
    agreement_id: str | None = None,
    user_id: str | None = None,
) -> list[ColumnElement[bool]]:
    filters: list[ColumnElement[bool]] = []
    if student_id is not None:
        aliases = select(StudentAliasRow.alias_id).where(StudentAliasRow.student_id == student_id)
        references = select(LogStudentRow.student_ref).where(
            or_(LogStudentRow.student_id == student_id, LogStudentRow.student_id.in_(aliases))
        )
        filters.append(DisclosureRow.student_ref.in_(references))
    if organization_id is not None:
        filters.append(DisclosureRow.organization_id == organization_id)
    if but_not is not None:
        filters.append(DisclosureRow.organization_id != but_not)
    if agreement_id is not None:
        filters.append(DisclosureRow.agreement_id == agreement_id)
    if user_id is not None:
        filters.append(DisclosureRow.user_id == user_id)
    return filters


def _grouped(*columns: Any) -> Select[Any]:
    """By these columns and the categories text: categories, number, first and last time."""
    sums = (
        DisclosureRow.categories,
        func.count(),
        func.min(DisclosureRow.at),
        func.max(DisclosureRow.at),
    )
    return select(*columns, *sums).group_by(*columns, DisclosureRow.categories)


def _combine(parts: Sequence[Sequence[Any]]) -> tuple[frozenset[str], int, str, str]:
    """Groups that differ in their categories alone, as one."""
    categories, counts, first, last = zip(*parts, strict=True)
    all_categories: frozenset[str] = frozenset().union(*categories)
    return all_categories, sum(counts), min(first), max(last)


def _disclosure(row: Any) -> Disclosure:
    return Disclosure(**dict(row._mapping) | {"law_requires": row.law_requires == "yes"})
