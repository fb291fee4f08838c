"""Who saw which student's record: an append-only log, each row hashed over the one before.

A row is written before anything is shown, one a student; it holds references, identifiers and
categories, never a name or a value. `verify_log` finds an edit, a deletion, an insertion or a
reordering; with heads kept elsewhere it also finds rows cut off the end and a log that was
rewritten whole.

A row names its student by a reference, an HMAC of the district's identifier under a random salt.
Salt and identifier stand in a table of their own: without a student's row there, the looks stay in
the chain and are nobody's.
"""

from __future__ import annotations

import hmac
import json
import secrets
from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from datetime import date, datetime, time, timedelta
from pathlib import Path
from typing import Any

from sqlalchemy import (
    ColumnElement,
    CursorResult,
    Select,
    String,
    Text,
    case,
    cast,
    delete,
    func,
    insert,
    select,
)
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.orm import Session

from records.canonical.schema import Category
from records.database.engine import Database
from records.database.tables import (
    DisclosureRow,
    LogStudentRow,
    NoticeRow,
    OrganizationRow,
)
from records.disclosure_log.hash_chain import GENESIS, SEPARATOR, Segment, check_segments, digest
from records.people.district_admins import is_district_admin
from records.people.notices import add_notice
from records.people.viewer import (
    DISTRICT,
    EMERGENCY_BASIS,
    Grant,
    Scope,
    Viewer,
    emergency_reference,
)
from records.permissions.agreements import LegalBasis
from records.permissions.emergencies import Emergency
from records.system.errors import UserError

CHECKPOINTS_FILE = "log-heads.jsonl"
"""The file of a home to which each start of the site adds the log's head."""

BEYOND_LIMIT = "too-many-students"
"""The kind of the notice about somebody who asked for more students than the limits allow."""

_ASKED_AT_ONCE = 10_000
"""Students named in one query: each is a parameter, of which a database takes a limited number."""

_BATCH = 10_000
_STRETCH = 125_000
"""Rows of the log that one process checks at a time."""


class DisclosureLogUnavailable(UserError, RuntimeError):
    """The log could not be written, so nothing may be shown."""


class DisclosureLogDamaged(UserError, ValueError):
    """A log that does not hold, or a kept head that cannot be read, where it must be relied on."""


class TooManyStudents(RuntimeError):
    """More students than one person may be shown at once or in a day: nothing is shown, and the
    district is told.

    `until` is when the day's count starts anew; None where the answer itself is too long, on any
    day.
    """

    def __init__(self, most: int, until: datetime | None) -> None:
        super().__init__(
            f"more than {most:,} students {'in one day' if until else 'in one answer'}"
        )
        self.most = most
        self.until = until


class UnknownLegalBasis(ValueError):
    """A legal basis of which nobody has declared whether the law asks for a record."""


@dataclass(frozen=True)
class DisclosureLimits:
    """How many different students one person may be shown in one answer, and in all answers of a
    day of the district.

    Nobody's work needs all students' records, so nobody gets them, the district's administrators
    included.
    """

    at_once: int = 200
    a_day: int = 1_000


@dataclass(frozen=True)
class RecordkeepingRule:
    """Whether 34 CFR 99.32 asks for a record of what is shown on a legal basis, and where it says
    so.
    """

    recorded: bool
    citation: str


RECORDKEEPING_RULES: Mapping[str, RecordkeepingRule] = {
    LegalBasis.SCHOOL_OFFICIAL: RecordkeepingRule(False, "34 CFR 99.32(d)(2)"),
    LegalBasis.CONSENT: RecordkeepingRule(False, "34 CFR 99.32(d)(3)"),
    LegalBasis.AUDIT_EVALUATION: RecordkeepingRule(True, "34 CFR 99.32(a)(1)"),
    LegalBasis.STUDIES: RecordkeepingRule(True, "34 CFR 99.32(a)(1)"),
    EMERGENCY_BASIS: RecordkeepingRule(True, "34 CFR 99.32(a)(5)"),
    "judicial_order": RecordkeepingRule(True, "34 CFR 99.32(a)(1)"),
    "own_records": RecordkeepingRule(False, "34 CFR 99.32(d)(2)"),
    "parent": RecordkeepingRule(False, "34 CFR 99.32(d)(1)"),
}
"""By legal basis. Handrail writes down every look; of these the law alone would ask for those that
are `recorded`.

`judicial_order` is 99.31(a)(9)(i) and (ii): an order that forbids telling anybody,
99.31(a)(9)(ii)(A) to (C), is not among them and must never reach this log, which a parent may read.
"""


@dataclass(frozen=True)
class Disclosure:
    """One look at one student. `student_id` is None once the student was destroyed.
    `shown_together` counts the students of the same answer; `law_requires` says whether 34 CFR
    99.32 asks for this record.
    """

    seq: int
    at: str
    user_id: str
    organization_id: str
    student_ref: str
    student_id: str | None
    categories: str
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
    """All looks at one student by one organisation for one purpose: how many, at what, from when to
    when.
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
    """What one account saw of one student. `student_id` is None once the student was destroyed."""

    student_id: str | None
    categories: frozenset[str]
    looks: int
    first: str
    last: str


@dataclass(frozen=True)
class Checkpoint:
    """The last row of the log at some moment."""

    seq: int
    hash: str


@dataclass(frozen=True)
class Verification:
    """The outcome of reading the whole chain: rows read and, unless it holds, the first thing that
    is wrong.

    `nameless` counts students whose looks are nobody's any more: as many as were destroyed, or
    somebody hid one.
    """

    ok: bool
    rows: int
    problem: str | None = None
    nameless: int = 0


_OF_A_LOOK = (
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
"""All that a row says, in the order in which it is hashed."""

_NAMED = LogStudentRow.student_ref == DisclosureRow.student_ref


def law_requires(legal_basis: str) -> bool:
    """Whether 34 CFR 99.32 asks for a record of what is shown on this basis.

    Raises:
        UnknownLegalBasis: nobody has declared it.
    """
    try:
        return RECORDKEEPING_RULES[legal_basis].recorded
    except KeyError:
        raise UnknownLegalBasis(
            f"nobody has said whether the law asks for a record of {legal_basis!r}"
        ) from None


def record_disclosures(
    database: Database,
    scope: Scope,
    students: Sequence[str],
    categories: Collection[Category],
    route: str,
    now: datetime,
    limits: DisclosureLimits | None = None,
) -> None:
    """Append one row for each student that an answer is about to show.

    The row names the categories shown that the student's agreement allows. Students out of scope
    cannot be shown.

    Args:
        limits: what the site holds everybody to; None for a command, whose user has the files
            anyway.

    Raises:
        DisclosureLogUnavailable: the log could not be written.
        NotInScope: a student is not in scope.
        TooManyStudents: that would go beyond a limit. Nothing was appended but, once a day, a
            notice to the district.
    """
    for student in students:
        scope.handle(student)
    looks = [_look(scope, student, categories, route, now, len(students)) for student in students]
    if not looks:
        return
    try:
        with database.write_transaction() as session:
            too_many = limits and _beyond(session, limits, scope.viewer, set(students), now)
            if too_many:
                _tell_once_a_day(session, scope.viewer, too_many, now)
            else:
                _append(session, students, looks)
    except SQLAlchemyError as error:
        raise DisclosureLogUnavailable(
            "the disclosure log cannot be written, so nothing is shown"
        ) from error
    if too_many:
        raise too_many


def with_former_students(database: Database, scope: Scope) -> Scope:
    """An officer's scope, and in it those whom the log names and the records no longer hold, of
    whom nothing is shown.

    A parent of somebody who has left may still ask who saw the record (34 CFR 99.10, 99.32(c)). A
    student whose record was destroyed is not among them; nobody else's scope grows.
    """
    with database.session() as session:
        if not is_district_admin(session, scope.viewer):
            return scope
        named = frozenset(session.scalars(select(LogStudentRow.student_id)))
    nothing = Grant(
        DISTRICT, "", "own_records", "the district's own records", DISTRICT, frozenset(), ()
    )
    return replace(scope, grants={**dict.fromkeys(named, (nothing,)), **scope.grants})


def unlink_student(session: Session, student_id: str) -> bool:
    """Cut a student's name off the log, whose chain still holds; False when the log has never named
    them.

    Args:
        session: a write transaction, so that no look is being written meanwhile.
    """
    done = session.execute(delete(LogStudentRow).where(LogStudentRow.student_id == student_id))
    assert isinstance(done, CursorResult)
    return done.rowcount > 0


def verify_log(
    database: Database,
    heads: Iterable[Checkpoint] = (),
    progress: Callable[[int, int], None] = lambda done, total: None,
    processes: int = 1,
) -> Verification:
    """Read the chain from its beginning, and compare it with the heads that were kept of it.

    Args:
        progress: called with the rows read and all that there are, once in a while.
        processes: how many may read side by side.
    """
    kept = [(head.seq, head.hash) for head in heads]
    total = latest_checkpoint(database).seq
    stretches = _stretches(database, total, kept)
    firsts: dict[str, int] = {}
    rows = 0
    for checked in check_segments(stretches, processes):
        rows = checked.place
        if checked.problem is not None:
            return Verification(False, rows, checked.problem)
        for reference, place in checked.firsts.items():
            firsts.setdefault(reference, place)
        progress(rows, max(rows, total))
    furthest = max((seq for seq, _ in kept), default=0)
    if rows < furthest:
        return Verification(False, rows, f"rows {rows + 1} to {furthest} were cut off the end")
    return _verify_names(database, rows, firsts)


def latest_checkpoint(database: Database) -> Checkpoint:
    """The last row of the log; the row before the first where the log is empty."""
    with database.session() as session:
        return _last(session)


def export_checkpoint(database: Database, file: Path) -> None:
    """Write the head to a file, to be kept where nobody can rewrite the log with it."""
    file.write_text(json.dumps(asdict(latest_checkpoint(database))) + "\n")


def save_checkpoint(database: Database, home: Path, now: datetime) -> None:
    """Add the head to the heads that a home keeps, unless it is the last of them."""
    head = latest_checkpoint(database)
    if head not in saved_checkpoints(home)[-1:]:
        with (home / CHECKPOINTS_FILE).open("a") as stream:
            stream.write(json.dumps({"at": _moment(now)} | asdict(head)) + "\n")


def saved_checkpoints(home: Path) -> list[Checkpoint]:
    """The heads that a home has kept; none before the site was first started."""
    file = home / CHECKPOINTS_FILE
    return read_checkpoints(file) if file.exists() else []


def read_checkpoints(file: Path) -> list[Checkpoint]:
    """The heads of a file, one a line: an exported head, or all that a home has kept.

    Raises:
        DisclosureLogDamaged: a line is no head.
    """
    return [
        _head(file, number, line)
        for number, line in enumerate(file.read_text().splitlines(), start=1)
    ]


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
    """The newest rows first: of one student or all, by one person, one organisation, all, or all
    `but_not` one.
    """
    query = select(*_OF_A_LOOK, DisclosureRow.hash, LogStudentRow.student_id).outerjoin(
        LogStudentRow, _NAMED
    )
    asked = _of(student_id, organization_id, but_not, agreement_id, user_id)
    query = query.where(*asked).order_by(DisclosureRow.seq.desc())
    with database.session() as session:
        return [_disclosure(row) for row in session.execute(query.offset(offset).limit(limit))]


def count_disclosures(
    database: Database,
    *,
    student_id: str | None = None,
    organization_id: str | None = None,
    but_not: str | None = None,
    agreement_id: str | None = None,
    user_id: str | None = None,
) -> int:
    """How many rows `disclosures` would give without a limit."""
    query = select(func.count()).select_from(DisclosureRow)
    with database.session() as session:
        return (
            session.scalar(
                query.where(*_of(student_id, organization_id, but_not, agreement_id, user_id))
            )
            or 0
        )


def parties(database: Database, student_id: str) -> list[Party]:
    """Who has looked at one student and what for, those who looked last first."""
    by = (
        DisclosureRow.organization_id,
        DisclosureRow.purpose,
        DisclosureRow.legal_basis,
        DisclosureRow.law_requires,
        DisclosureRow.agreement_id,
    )
    found: dict[tuple[str, ...], list[Any]] = defaultdict(list)
    with database.session() as session:
        for *party, categories, looks, first, last in session.execute(
            _summed(*by).where(*_of(student_id))
        ):
            found[tuple(party)].append((categories, looks, first, last))
    summed = [
        Party(organization, purpose, basis, required == "yes", agreement, *_together(parts))
        for (organization, purpose, basis, required, agreement), parts in found.items()
    ]
    return sorted(summed, key=lambda party: party.last, reverse=True)


def exposures(database: Database, user_id: str, since: date, until: date) -> list[Exposure]:
    """What one account saw from the first day to the last, both included: one entry a student, by
    identifier.
    """
    query = (
        _summed(DisclosureRow.student_ref, LogStudentRow.student_id)
        .outerjoin(LogStudentRow, _NAMED)
        .where(
            DisclosureRow.user_id == user_id,
            DisclosureRow.at >= since.isoformat(),
            DisclosureRow.at < (until + timedelta(days=1)).isoformat(),
        )
    )
    found: dict[tuple[str, str | None], list[Any]] = defaultdict(list)
    with database.session() as session:
        for reference, student, *part in session.execute(query):
            found[reference, student].append(part)
    seen = [Exposure(student, *_together(parts)) for (_, student), parts in found.items()]
    return sorted(seen, key=lambda one: (one.student_id is None, one.student_id or one.first))


def chain_hash(previous: str, row: Mapping[str, object]) -> str:
    """SHA-256 over all that a row says and the previous hash, with a separator between that no
    field may hold.

    A tuple of as many other fields never gives the same text: each separator in a field would be
    one too many.

    Raises:
        DisclosureLogUnavailable: a field holds the separator.
    """
    said = [str(row[column.key]) for column in _OF_A_LOOK]
    if any(SEPARATOR in field for field in said):
        raise DisclosureLogUnavailable(
            "a control character cannot be written into the disclosure log"
        )
    return digest([*said, previous])


def _stretches(database: Database, total: int, kept: Sequence[tuple[int, str]]) -> list[Segment]:
    """The whole log in parts that can be checked side by side. The first begins wherever the log
    does and the last goes on to its end, so that no row stands outside of them.
    """
    engine = database.engine
    arguments, options = engine.dialect.create_connect_args(engine.url)
    options = {
        name: value for name, value in options.items() if isinstance(value, str | int | float)
    }
    starts = [*range(0, total, _STRETCH)] or [0]
    with database.session() as session:
        before = dict(
            session.execute(
                select(DisclosureRow.seq, DisclosureRow.hash).where(DisclosureRow.seq.in_(starts))
            ).all()
        )
    found = []
    for after, until in zip(starts, [*starts[1:], None], strict=True):
        rows = _in_order(engine.dialect.name)
        if after:
            rows = rows.where(DisclosureRow.seq > after)
        if until is not None:
            rows = rows.where(DisclosureRow.seq <= until)
        query = str(rows.compile(engine, compile_kwargs={"literal_binds": True}))
        heads = [head for head in kept if head[0] > after and (until is None or head[0] <= until)]
        found.append(
            Segment(
                engine.dialect.loaded_dbapi.__name__,
                tuple(arguments),
                options,
                query,
                after,
                until,
                before.get(after, "") if after else GENESIS,
                heads,
            )
        )
    return found


def _in_order(dialect: str) -> Select[Any]:
    """Number, hash, reference and all that a row says, as text.

    PostgreSQL joins the fields, which a driver fetches twice as fast as thirteen. SQLite would be
    no faster, and would join bytes that stand where text belongs.
    """
    said: list[Any] = [
        column if isinstance(column.type, String) else cast(column, Text) for column in _OF_A_LOOK
    ]
    if dialect != "sqlite":
        whole = func.num_nulls(*said) == 0  # concat_ws leaves out a NULL, so that fields could move
        said = [case((whole, func.concat_ws(SEPARATOR, *said)))]
    numbered = (DisclosureRow.seq, DisclosureRow.hash, DisclosureRow.student_ref)
    fields = (field.label(f"said_{place}") for place, field in enumerate(said))
    return select(*numbered, *fields).order_by(DisclosureRow.seq)


def _verify_names(database: Database, rows: int, firsts: Mapping[str, int]) -> Verification:
    """Whether each reference that has a name has the one that it was made of."""
    with database.session() as session:
        rows_of_names = session.scalars(select(LogStudentRow))
        named = {row.student_ref: _reference(row.salt, row.student_id) for row in rows_of_names}
    exchanged = [firsts[kept] for kept, made in named.items() if kept != made and kept in firsts]
    if exchanged:
        return Verification(
            False, rows, f"row {min(exchanged)} was given the name of another student"
        )
    return Verification(True, rows, nameless=len(firsts.keys() - named.keys()))


def _beyond(
    session: Session,
    limits: DisclosureLimits,
    viewer: Viewer,
    students: Collection[str],
    now: datetime,
) -> TooManyStudents | None:
    """The limit that an answer with these students would go beyond. Whoever was seen today counts
    once.
    """
    if len(students) > limits.at_once:
        return TooManyStudents(limits.at_once, None)
    tomorrow = datetime.combine(now.date() + timedelta(days=1), time())
    today = (
        DisclosureRow.user_id == viewer.user_id,
        DisclosureRow.at >= now.date().isoformat(),
        DisclosureRow.at < tomorrow.date().isoformat(),
    )
    looks = session.scalar(select(func.count()).select_from(DisclosureRow).where(*today)) or 0
    if looks + len(students) <= limits.a_day:  # as on most days: the index alone has answered
        return None
    on_the_site = DisclosureRow.route.startswith("/")
    seen = set(
        session.scalars(select(DisclosureRow.student_ref).where(*today, on_the_site).distinct())
    )
    references = _known_references(session, list(students))
    more = sum(references.get(student) not in seen for student in students)
    if more and len(seen) + more > limits.a_day:
        return TooManyStudents(limits.a_day, tomorrow)
    return None


def _tell_once_a_day(
    session: Session, viewer: Viewer, beyond: TooManyStudents, now: datetime
) -> None:
    """A notice to the district, unless there is one of today about this person."""
    path = f"/disclosures?person={viewer.user_id}"
    told = select(NoticeRow.id).where(
        NoticeRow.kind == BEYOND_LIMIT,
        NoticeRow.path == path,
        NoticeRow.at >= datetime.combine(now, time()),
    )
    if session.scalar(told.limit(1)) is None:
        organization = session.get_one(OrganizationRow, viewer.organization_id).name
        most = (
            f"{beyond.most:,} different students"
            f" {'in one day' if beyond.until else 'in one answer'}"
        )
        add_notice(
            session,
            BEYOND_LIMIT,
            f"{viewer.name} of {organization} asked for the records of more than {most} "
            "and was not shown them. Please ask what for; somebody else may be using the account.",
            path,
            now,
        )


def _append(
    session: Session, students: Sequence[str], looks: Sequence[Mapping[str, object]]
) -> None:
    """The looks at these students, one each, at the end of the chain."""
    references = _references(session, students)
    last = _last(session)
    seq, previous, rows = last.seq, last.hash, []
    for student, look in zip(students, looks, strict=True):
        seq += 1
        row = {**look, "seq": seq, "student_ref": references[student]}
        previous = chain_hash(previous, row)
        rows.append(row | {"hash": previous})
    session.execute(insert(DisclosureRow), rows)


def _known_references(session: Session, students: Sequence[str]) -> dict[str, str]:
    """The reference of each of these students who was ever looked at."""
    known: dict[str, str] = {}
    for first in range(0, len(students), _ASKED_AT_ONCE):
        named = LogStudentRow.student_id.in_(students[first : first + _ASKED_AT_ONCE])
        query = select(LogStudentRow.student_id, LogStudentRow.student_ref).where(named)
        known |= dict(session.execute(query).all())
    return known


def _references(session: Session, students: Sequence[str]) -> dict[str, str]:
    """The reference of each student, made now for those who were never looked at."""
    known = _known_references(session, students)
    made = []
    for student in dict.fromkeys(students):
        if student not in known:
            salt = secrets.token_hex(32)
            known[student] = _reference(salt, student)
            made.append({"student_ref": known[student], "student_id": student, "salt": salt})
    if made:
        session.execute(insert(LogStudentRow), made)
    return known


def _reference(salt: str, student_id: str) -> str:
    return hmac.digest(salt.encode(), student_id.encode(), "sha256").hex()


def _last(session: Any) -> Checkpoint:
    query = (
        select(DisclosureRow.seq, DisclosureRow.hash).order_by(DisclosureRow.seq.desc()).limit(1)
    )
    last = session.execute(query).first()
    return Checkpoint(last.seq, last.hash) if last else Checkpoint(0, GENESIS)


def _head(file: Path, number: int, line: str) -> Checkpoint:
    try:
        found = json.loads(line)
        return Checkpoint(int(found["seq"]), str(found["hash"]))
    except (ValueError, TypeError, KeyError):
        raise DisclosureLogDamaged(
            f'{file.name}, line {number} is no head of the log; one reads {{"seq": 12, "hash": "64'
            ' hex digits"}'
        ) from None


def _of(
    student_id: str | None,
    organization_id: str | None = None,
    but_not: str | None = None,
    agreement_id: str | None = None,
    user_id: str | None = None,
) -> list[ColumnElement[bool]]:
    found = []
    if student_id is not None:
        reference = select(LogStudentRow.student_ref).where(LogStudentRow.student_id == student_id)
        found.append(DisclosureRow.student_ref == reference.scalar_subquery())
    if organization_id is not None:
        found.append(DisclosureRow.organization_id == organization_id)
    if but_not is not None:
        found.append(DisclosureRow.organization_id != but_not)
    if agreement_id is not None:
        found.append(DisclosureRow.agreement_id == agreement_id)
    if user_id is not None:
        found.append(DisclosureRow.user_id == user_id)
    return found


def _summed(*by: Any) -> Select[Any]:
    """By `by` and by categories: categories, looks, the first and the last of them."""
    looked = (
        DisclosureRow.categories,
        func.count(),
        func.min(DisclosureRow.at),
        func.max(DisclosureRow.at),
    )
    return select(*by, *looked).group_by(*by, DisclosureRow.categories)


def _together(parts: Sequence[Sequence[Any]]) -> tuple[frozenset[str], int, str, str]:
    """What groups that differ in their categories alone come to."""
    categories, looks, first, last = zip(*parts, strict=True)
    return (
        frozenset(filter(None, ";".join(categories).split(";"))),
        sum(looks),
        min(first),
        max(last),
    )


def _disclosure(row: Any) -> Disclosure:
    return Disclosure(**dict(row._mapping) | {"law_requires": row.law_requires == "yes"})


def _moment(now: datetime) -> str:
    return now.isoformat(timespec="milliseconds")


def _look(
    scope: Scope,
    student: str,
    categories: Collection[Category],
    route: str,
    now: datetime,
    together: int,
) -> dict[str, object]:
    grants = scope.grants[student]
    shown = scope.categories(student) & frozenset(categories)
    grant = next((grant for grant in grants if grant.categories & shown), grants[0])
    return {
        "at": _moment(now),
        "user_id": scope.viewer.user_id,
        "organization_id": scope.viewer.organization_id,
        "categories": ";".join(sorted(shown)),
        "purpose": grant.purpose,
        "legal_basis": grant.legal_basis,
        "law_requires": "yes" if law_requires(grant.legal_basis) else "no",
        "agreement_id": grant.agreement_id,
        "agreement_sha256": grant.agreement_sha256,
        "route": route,
        "shown_together": together,
    }


def emergency_disclosure_count(database: Database, emergency: Emergency) -> int:
    """How many looks were taken under it."""
    return count_disclosures(
        database,
        student_id=emergency.student_id,
        agreement_id=emergency_reference(emergency.number),
    )
