"""Writing the disclosure log: append-only, each row hashed together with the one before it.

A row is written before anything is shown, one for each student; it holds references, identifiers
and categories, never a name or a value of a record. `records.disclosure_log.verification` finds an
edit, a deletion, an insertion or a reordering; with checkpoints stored elsewhere
(`records.disclosure_log.checkpoints`) it also finds rows cut off the end and a log that was
rewritten from start to finish.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from datetime import datetime

from sqlalchemy import insert, select
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.orm import Session

from records.canonical.schema import Category
from records.database.category_list import encode_categories
from records.database.engine import Database
from records.database.tables import DisclosureRow
from records.disclosure_log.hash_chain import GENESIS, SEPARATOR, digest
from records.disclosure_log.limits import DisclosureLimits, exceeded_limit, notify_once_a_day
from records.disclosure_log.recordkeeping import law_requires
from records.disclosure_log.student_references import ensure_references
from records.staff.viewer import Scope
from records.system.errors import UserError

HASHED_COLUMNS = (
    DisclosureRow.seq,
    DisclosureRow.at,
    DisclosureRow.user_id,
    DisclosureRow.organization_id,
    DisclosureRow.student_ref,
    DisclosureRow.categories,
    DisclosureRow.purpose,
    DisclosureRow.legal_basis,
    DisclosureRow.law_requires,
    DisclosureRow.agreement_id,
    DisclosureRow.agreement_sha256,
    DisclosureRow.route,
    DisclosureRow.shown_together,
)
"""Every column of a row but its hash, in the order in which they are hashed."""


class DisclosureLogUnavailable(UserError, RuntimeError):
    """The log could not be written, so nothing may be shown."""


class DisclosureLogDamaged(UserError, ValueError):
    """A log whose chain does not hold, or a saved checkpoint that cannot be read."""


def record_disclosures(
    database: Database,
    scope: Scope,
    students: Sequence[str],
    categories: Collection[Category],
    route: str,
    now: datetime,
    limits: DisclosureLimits | None = None,
) -> None:
    """Append one row for each student whom a response is about to show.

    A row names those of the categories that the student's grants allow. Students out of scope
    cannot be shown.

    Args:
        students: identifiers of the students in the response, all of them.
        route: the page or command that shows them.
        now: the district's local time.
        limits: how much one person may see; None for a command, whose user has the files anyway.

    Raises:
        DisclosureLogUnavailable: the log could not be written.
        NotInScope: a student is not in scope.
        TooManyStudents: a limit would be exceeded. Nothing was appended except, once a day, a
            notice to the district.
        UnknownLegalBasis: a grant's legal basis has no recordkeeping rule.
    """
    for student in students:
        scope.handle(student)
    entries = [
        _log_entry(scope, student, categories, route, now, shown_together=len(students))
        for student in students
    ]
    if not entries:
        return
    try:
        with database.write_transaction() as session:
            exceeded = limits and exceeded_limit(session, limits, scope.viewer, set(students), now)
            if exceeded:
                notify_once_a_day(session, scope.viewer, exceeded, now)
            else:
                _append(session, students, entries)
    except SQLAlchemyError as error:
        raise DisclosureLogUnavailable(
            "the disclosure log cannot be written, so nothing is shown"
        ) from error
    if exceeded:
        raise exceeded


def chain_hash(previous: str, row: Mapping[str, object]) -> str:
    """SHA-256 over the hashed columns of a row and the previous row's hash, 64 hexadecimal digits.

    The fields are joined with a separator that no field may hold, so that two different rows never
    give the same text.

    Raises:
        DisclosureLogUnavailable: a field holds the separator.
    """
    fields = [_hashed_text(row[column.key]) for column in HASHED_COLUMNS]
    if any(SEPARATOR in field for field in fields):
        raise DisclosureLogUnavailable(
            "a control character cannot be written into the disclosure log"
        )
    return digest([*fields, previous])


def _hashed_text(value: object) -> str:
    """A field as it is hashed, which is as it is stored."""
    return encode_categories(value) if isinstance(value, frozenset) else str(value)


def last_entry(session: Session) -> tuple[int, str]:
    """Number and hash of the last row; 0 and `GENESIS` where the log is empty."""
    query = (
        select(DisclosureRow.seq, DisclosureRow.hash).order_by(DisclosureRow.seq.desc()).limit(1)
    )
    row = session.execute(query).first()
    return (row.seq, row.hash) if row else (0, GENESIS)


def timestamp(now: datetime) -> str:
    """A time as the log writes it: ISO 8601 with milliseconds."""
    return now.isoformat(timespec="milliseconds")


def _log_entry(
    scope: Scope,
    student: str,
    categories: Collection[Category],
    route: str,
    now: datetime,
    shown_together: int,
) -> dict[str, object]:
    """A row but for its number, reference and hash, which are known once the log is locked."""
    grants = scope.grants[student]
    shown = scope.categories(student) & frozenset(categories)
    grant = next((grant for grant in grants if grant.categories & shown), grants[0])
    return {
        "at": timestamp(now),
        "user_id": scope.viewer.user_id,
        "organization_id": scope.viewer.organization_id,
        "categories": shown,
        "purpose": grant.purpose,
        "legal_basis": grant.legal_basis,
        "law_requires": "yes" if law_requires(grant.legal_basis) else "no",
        "agreement_id": grant.agreement_id,
        "agreement_sha256": grant.agreement_sha256,
        "route": route,
        "shown_together": shown_together,
    }


def _append(
    session: Session, students: Sequence[str], entries: Sequence[Mapping[str, object]]
) -> None:
    """Chain one entry for each student to the end of the log."""
    references = ensure_references(session, students)
    seq, previous = last_entry(session)
    rows = []
    for student, entry in zip(students, entries, strict=True):
        seq += 1
        row = {**entry, "seq": seq, "student_ref": references[student]}
        previous = chain_hash(previous, row)
        rows.append(row | {"hash": previous})
    session.execute(insert(DisclosureRow), rows)
