"""The one choke point: every reading of a student takes a `Scope`.

A scope is worked out anew at each request from the viewer, the agreements in force, the role,
active program enrolment, consents and opt-outs. What is outside it is not "forbidden" but absent:
rows are missing and values are null before anything downstream sees them.
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import date, datetime
from enum import StrEnum
from functools import cached_property
from typing import Any, Literal

import ibis
import pandas as pd
import pyarrow as pa
from sqlalchemy import select

from records.canonical.schema import CONSENT_CATEGORIES, HOUSING_SUPPORTS, Category, canonical_table
from records.database.engine import (
    ConsentRow,
    Database,
    EmergencyRow,
    LegalHoldRow,
    OptOutRow,
    StaffRow,
    UnfinishedDestructionRow,
)
from records.permissions.agreements import (
    PER_STUDENT_BASES,
    Agreement,
    LegalBasis,
    agreements_in_force,
)
from records.snapshots.queries import (
    DateLike,
    EmptyTables,
    QueryableTables,
    TableProvider,
    as_date,
    compile_on,
    compile_query,
    placeholder_table,
    students_param,
    students_placeholder,
)
from records.snapshots.snapshot import Snapshot
from records.system.clock import to_utc
from records.system.errors import UserError


class Role(StrEnum):
    """What a person does; with the agreement it decides what they may see."""

    CASEWORKER = "caseworker"
    COORDINATOR = "coordinator"
    PARTNER_ADMIN = "partner_admin"
    DATA_SCIENTIST = "data_scientist"
    EQUITY_REVIEWER = "equity_reviewer"
    DISTRICT_ADMIN = "district_admin"
    PIPELINE = "pipeline"


_ALL = frozenset(Category)
ROLE_CATEGORIES: Mapping[Role, frozenset[Category]] = {
    Role.CASEWORKER: _ALL,
    Role.COORDINATOR: frozenset({Category.DIRECTORY, Category.SCHEDULE, Category.SERVICES}),
    Role.PARTNER_ADMIN: frozenset({Category.DIRECTORY, Category.SERVICES}),
    Role.DATA_SCIENTIST: frozenset(),
    Role.EQUITY_REVIEWER: frozenset(),
    Role.DISTRICT_ADMIN: _ALL,
    Role.PIPELINE: _ALL,
}
"""The most that a role may see, whatever an agreement grants."""

SENSITIVE_CATEGORIES = frozenset(
    {
        Category.DEMOGRAPHICS,
        Category.ENGLISH_LEARNER,
        Category.SPECIAL_EDUCATION,
        Category.HOUSING,
        Category.MEAL_ELIGIBILITY,
    }
)
"""Read by the fairness audit alone; never by the pipeline that makes features and trains models."""

EMERGENCY_BASIS = "health_or_safety_emergency"
"""34 CFR 99.31(a)(10) and 99.36."""

EMERGENCY_CATEGORIES = (
    _ALL - CONSENT_CATEGORIES - {Category.BEHAVIOR, Category.DEMOGRAPHICS, Category.ENGLISH_LEARNER}
)
"""The most that an emergency opens. What needs a family's consent stays closed, and so do incidents
and group facts: none of them helps to find or treat a child in danger."""

DISTRICT = "district"
PARTNER_ROLES = frozenset({Role.CASEWORKER, Role.COORDINATOR, Role.PARTNER_ADMIN})


class NotInScope(UserError, LookupError):
    """No such student for this viewer. The same for a student who exists elsewhere and for one who
    does not.
    """


@dataclass(frozen=True)
class Viewer:
    """Who asks."""

    user_id: str
    login: str
    name: str
    role: Role
    organization_id: str


@dataclass(frozen=True)
class Grant:
    """Why one student may be seen: an agreement's line, as it applies to this student and this
    role.
    """

    agreement_id: str
    agreement_sha256: str
    legal_basis: str
    purpose: str
    organization_id: str
    categories: frozenset[Category]
    supports: tuple[str, ...]


@dataclass(frozen=True)
class Scope:
    """Students x categories that one viewer may see on one day."""

    viewer: Viewer
    today: date
    grants: Mapping[str, tuple[Grant, ...]]
    secret: bytes

    @property
    def students(self) -> frozenset[str]:
        return frozenset(self.grants)

    def categories(self, student_id: str) -> frozenset[Category]:
        """The categories visible of this student; empty when the student is out of scope."""
        return frozenset().union(*(grant.categories for grant in self.grants.get(student_id, ())))

    def sees_housing_services(self, student_id: str) -> bool:
        """Whether other organisations' services may be seen even where they tell of this student's
        housing.

        The pipelines see them: whom such a help served is what training learns from, and no page
        reads it there.
        """
        return self.viewer.role is Role.PIPELINE or Category.HOUSING in self.categories(student_id)

    def supports(self, student_id: str) -> tuple[str, ...]:
        """The supports that may be suggested for this student, in the agreements' order."""
        return tuple(
            dict.fromkeys(s for grant in self.grants.get(student_id, ()) for s in grant.supports)
        )

    def handle(self, student_id: str) -> str:
        """The opaque identifier of a student for this organisation: 20 hex digits, another for each
        organisation.

        Raises:
            NotInScope: the student is not in scope.
        """
        if student_id not in self.grants:
            raise NotInScope("not found")
        message = f"{self.viewer.organization_id}\0{student_id}".encode()
        return hmac.new(self.secret, message, hashlib.sha256).hexdigest()[:20]

    def student_of(self, handle: str) -> str:
        """The student behind a handle.

        Raises:
            NotInScope: no student in scope has this handle.
        """
        try:
            return self._by_handle[handle]
        except KeyError:
            raise NotInScope("not found") from None

    @cached_property
    def by_agreement(self) -> Scope:
        """This scope without what emergencies open: lists, alerts and suggestions rest on it
        alone.
        """
        if self.viewer.role not in PARTNER_ROLES:
            return self
        kept = {
            student: tuple(grant for grant in grants if grant.legal_basis != EMERGENCY_BASIS)
            for student, grants in self.grants.items()
        }
        return replace(self, grants={student: grants for student, grants in kept.items() if grants})

    def grounds(self, student_id: str) -> tuple[Scope, ...]:
        """What opens one student, a ground at a time: agreements, then what each emergency adds to
        what came before.

        Raises:
            NotInScope: the student is not in scope.
        """
        self.handle(student_id)
        agreed = self.by_agreement.grants.get(student_id, ())
        seen = self.by_agreement.categories(student_id)
        found = [replace(self, grants={student_id: agreed})] if agreed else []
        for grant in self.grants[student_id]:
            if grant.legal_basis == EMERGENCY_BASIS and grant.categories - seen:
                added = replace(grant, categories=grant.categories - seen)
                found.append(replace(self, grants={student_id: (added,)}))
                seen |= added.categories
        return tuple(found)

    def narrowed(self, student_id: str, grant: Grant) -> Scope:
        """One student of this scope on another ground, and of them no more than this scope shows.

        Raises:
            NotInScope: the student is not in scope.
        """
        self.handle(student_id)
        kept = replace(grant, categories=grant.categories & self.categories(student_id))
        return replace(self, grants={student_id: (kept,)})

    @cached_property
    def _by_handle(self) -> dict[str, str]:
        return {self.handle(student): student for student in self.grants}

    def fingerprint(self) -> str:
        """A digest of everything that decides what is visible: results may be shared only where it
        is equal.
        """
        lines = [f"{self.viewer.organization_id} {self.viewer.role}"]
        for student in sorted(self.grants):
            seen = ",".join(sorted(self.categories(student)))
            lines.append(f"{student}|{seen}|{','.join(self.supports(student))}")
        return hashlib.sha256("\n".join(lines).encode()).hexdigest()


def scope_for(
    viewer: Viewer, database: Database, snapshot: Snapshot, now: datetime, secret: bytes
) -> Scope:
    """What `viewer` may see `now`. Asked anew at each request, so that a revocation counts at once.

    Args:
        now: the district's local time; agreements, enrolments and consents count by its day,
            emergencies by its minute.
    """
    today = now.date()
    with database.session() as session:
        staff = session.get(StaffRow, viewer.user_id)
        current = (
            staff is not None
            and staff.active
            and staff.role == viewer.role
            and (staff.organization_id == viewer.organization_id)
        )
    if not current:
        return Scope(viewer, today, {}, secret)
    going = _being_destroyed(database)
    if viewer.role is Role.DISTRICT_ADMIN and viewer.organization_id == DISTRICT:
        everyone = _everyone(snapshot, "the district's own records", _ALL)
        return Scope(
            viewer,
            today,
            {one: grants for one, grants in everyone.items() if one not in going},
            secret,
        )
    if viewer.role not in PARTNER_ROLES:
        return Scope(viewer, today, {}, secret)
    closed = _opted_out(database, today) | _held(database) | going
    consents = _consents(database, viewer.organization_id, today)
    grants: dict[str, tuple[Grant, ...]] = {}
    for agreement in agreements_in_force(database, viewer.organization_id, today):
        if agreement.legal_basis not in PER_STUDENT_BASES:
            continue
        for student in _taking_part(snapshot, agreement, today) - closed:
            grant = _grant(agreement, viewer.role, consents.get(student, frozenset()))
            if grant.categories:
                grants[student] = (*grants.get(student, ()), grant)
    for student, grant in _emergencies(database, snapshot, viewer, now):
        if student not in going:
            grants[student] = (*grants.get(student, ()), grant)
    return Scope(viewer, today, grants, secret)


def emergency_reference(number: int) -> str:
    """How the log and a grant name an emergency, where else they name an agreement."""
    return f"emergency-{number}"


def non_housing_programs(tables: TableProvider) -> Any:
    """The programs, as an Ibis column of identifiers, of which taking part does not tell of a
    child's housing.

    A program whose kind of support nobody has said, or that is on no list, is not one of them: it
    may be a shelter.
    """
    programs = tables.table("programs")
    return programs.filter(
        programs["support"].notnull(), programs["support"].notin(sorted(HOUSING_SUPPORTS))
    )["program_id"]


def pipeline_scope(
    snapshot: Snapshot, purpose: Literal["features", "training", "audit"], today: date
) -> Scope:
    """The system's own reading of every student. Only an audit may read sensitive categories."""
    categories = _ALL if purpose == "audit" else _ALL - SENSITIVE_CATEGORIES
    viewer = Viewer(f"pipeline-{purpose}", "", purpose, Role.PIPELINE, DISTRICT)
    return Scope(viewer, today, _everyone(snapshot, purpose, categories), b"")


class ScopedRecords:
    """The canonical tables as one scope shows them, for all its students or for some of them."""

    def __init__(
        self, snapshot: QueryableTables, scope: Scope, students: Iterable[str] | None = None
    ) -> None:
        self.snapshot = snapshot
        self.scope = scope
        asked = scope.students if students is None else scope.students & frozenset(students)
        self.students = tuple(sorted(asked))

    def table(self, name: str) -> Any:
        """The table as an Ibis expression: rows and values out of scope are not in it.

        Raises:
            UnknownTable: there is no such table.
        """
        canonical = canonical_table(name)
        rows = self._tables.table(name)
        if not canonical.is_student:
            return rows
        joined = rows.inner_join(self._visible, rows["student_id"] == self._visible["_student"])
        if canonical.is_service:
            own = joined["organization_id"] == joined[_ORGANIZATION]
            freely = (
                joined["program_id"].isin(non_housing_programs(self._tables))
                | joined[_SEES_HOUSING_SERVICES]
            )
            joined = joined.filter(
                (own & joined[_flag(Category.SERVICES)])
                | (~own & joined[_flag(Category.SERVICES_OTHER)] & freely)
            )
            return joined.select(*(column.name for column in canonical.columns))
        facts = [
            column
            for column in canonical.columns
            if column.name != "student_id" and column.category
        ]
        masked = joined.select(
            "student_id",
            **{
                column.name: ibis.ifelse(
                    joined[_flag(column.category)],
                    joined[column.name],
                    ibis.null().cast(joined[column.name].type()),
                )
                for column in facts
                if column.category is not None
            },
        )
        return masked.filter(ibis.or_(*(masked[column.name].notnull() for column in facts)))

    def frame(self, name: str) -> pd.DataFrame:
        """The table as a data frame, ordered by its key."""
        return self.ask(_in_order, name)

    def ask(self, make: Callable[..., Any], *given: Any) -> pd.DataFrame:
        """The answer to a query over these records, whose SQL is written out once a process.

        Args:
            make: a function of a module that makes an Ibis expression of records and of what is
                given. It may look at tables alone: asked for its scope or its students, what it
                gets has none.
            given: what can be hashed. In place of a day `make` gets an expression, for
                `records.snapshots.queries.as_date`.
        """
        return compile_on(make, _Written, *given).frame(self.snapshot, {_VISIBLE: self._seen})

    @property
    def _tables(self) -> TableProvider:
        return self.snapshot

    @cached_property
    def _visible(self) -> Any:
        return ibis.memtable(self._seen)

    @cached_property
    def _seen(self) -> pa.Table:
        """One row a student: what the scope opens of them, and whose services are the viewer's
        own.
        """
        seen = [self.scope.categories(student) for student in self.students]
        own = [self.scope.viewer.organization_id] * len(self.students)
        housing = [self.scope.sees_housing_services(student) for student in self.students]
        return pa.table(
            [
                pa.array(self.students, pa.string()),
                pa.array(own, pa.string()),
                pa.array(housing, pa.bool_()),
                *(
                    pa.array([category in categories for categories in seen], pa.bool_())
                    for category in Category
                ),
            ],
            schema=_SEEN,
        )


class _Written(ScopedRecords):
    """Records with tables and without a scope, for a query that is only to be written out."""

    def __init__(self) -> None:
        pass

    @property
    def _tables(self) -> TableProvider:
        return EmptyTables()

    @cached_property
    def _visible(self) -> Any:
        return placeholder_table(_VISIBLE, _SEEN)


def _in_order(records: ScopedRecords, name: str) -> Any:
    return records.table(name).order_by(list(canonical_table(name).key))


_VISIBLE = "_visible"
_ORGANIZATION = "_organization"
_SEES_HOUSING_SERVICES = "_sees_housing_services"


def _flag(category: Category) -> str:
    return f"_sees_{category.value}"


_SEEN = pa.schema(
    [
        ("_student", pa.string()),
        (_ORGANIZATION, pa.string()),
        (_SEES_HOUSING_SERVICES, pa.bool_()),
        *((_flag(category), pa.bool_()) for category in Category),
    ]
)


def _everyone(
    snapshot: Snapshot, purpose: str, categories: frozenset[Category]
) -> dict[str, tuple[Grant, ...]]:
    grant = Grant(DISTRICT, "", "own_records", purpose, DISTRICT, categories, ())
    students = compile_query(_of_students).arrow(snapshot)["student_id"].to_pylist()
    return dict.fromkeys(students, (grant,))


def _of_students(tables: TableProvider) -> Any:
    return tables.table("students").select("student_id")


def existing_students(snapshot: Snapshot, students: Iterable[str]) -> frozenset[str]:
    """Those of the students that are on record."""
    return frozenset(
        compile_query(_of_these).arrow(snapshot, students_param(students))["student_id"].to_pylist()
    )


def _of_these(tables: TableProvider) -> Any:
    return _of_students(tables).semi_join(students_placeholder(), "student_id")


def _grant(agreement: Agreement, role: Role, consented: frozenset[Category]) -> Grant:
    categories = agreement.categories & ROLE_CATEGORIES[role]
    if agreement.legal_basis is LegalBasis.CONSENT:
        categories &= consented
    categories -= CONSENT_CATEGORIES - consented
    supports = agreement.supports if role is Role.CASEWORKER else ()
    return Grant(
        agreement.agreement_id,
        agreement.sha256,
        agreement.legal_basis,
        agreement.purpose,
        agreement.organization_id,
        categories,
        supports,
    )


def _taking_part(snapshot: Snapshot, agreement: Agreement, today: date) -> frozenset[str]:
    query = compile_query(_enrolled_on, agreement.organization_id, agreement.programs, today)
    return frozenset(query.arrow(snapshot)["student_id"].to_pylist())


def _enrolled_on(
    tables: TableProvider, organization_id: str, programs: frozenset[str], today: DateLike
) -> Any:
    rows, day = tables.table("service_enrollments"), as_date(today)
    active = rows.filter(
        rows["organization_id"] == organization_id,
        rows["program_id"].isin(sorted(programs)),
        rows["start_date"] <= day,
        rows["end_date"].isnull() | (rows["end_date"] >= day),
    )
    return active.select("student_id")


def _opted_out(database: Database, today: date) -> frozenset[str]:
    with database.session() as session:
        rows = session.scalars(select(OptOutRow).where(OptOutRow.since <= today)).all()
        return frozenset(row.student_id for row in rows if row.ended is None or row.ended > today)


def _held(database: Database) -> frozenset[str]:
    """Students whose records a legal hold freezes: no partner sees them while it lasts."""
    with database.session() as session:
        return frozenset(
            session.scalars(select(LegalHoldRow.student_id).where(LegalHoldRow.lifted_at.is_(None)))
        )


def _being_destroyed(database: Database) -> frozenset[str]:
    """Students whose records are being destroyed: nobody sees them any more, whatever opened
    them.
    """
    with database.session() as session:
        return frozenset(session.scalars(select(UnfinishedDestructionRow.student_id)))


def _emergencies(
    database: Database, snapshot: Snapshot, viewer: Viewer, now: datetime
) -> list[tuple[str, Grant]]:
    """What an open emergency lets this one person see. It comes before an opt-out and before a
    legal hold.
    """
    with database.session() as session:
        query = (
            select(EmergencyRow)
            .where(
                EmergencyRow.user_id == viewer.user_id,
                EmergencyRow.organization_id == viewer.organization_id,
                EmergencyRow.opened_utc <= to_utc(now),
                EmergencyRow.ends_utc > to_utc(now),
                EmergencyRow.ended_at.is_(None),
            )
            .order_by(EmergencyRow.id)
        )
        found = [(row.student_id, _emergency_grant(row)) for row in session.scalars(query)]
    if not found:
        return []
    known = existing_students(snapshot, [student for student, _ in found])
    return [(student, grant) for student, grant in found if student in known]


def _emergency_grant(row: EmergencyRow) -> Grant:
    categories = (
        frozenset(Category(name) for name in row.categories.split(";")) & EMERGENCY_CATEGORIES
    )
    return Grant(
        emergency_reference(row.id),
        "",
        EMERGENCY_BASIS,
        "A health or safety emergency",
        row.organization_id,
        categories,
        (),
    )


def _consents(
    database: Database, organization_id: str, today: date
) -> dict[str, frozenset[Category]]:
    found: dict[str, frozenset[Category]] = {}
    with database.session() as session:
        query = select(ConsentRow).where(ConsentRow.organization_id == organization_id)
        for row in session.scalars(query).all():
            revoked = row.revoked_on is not None and row.revoked_on <= today
            if row.signed_on <= today <= row.expires_on and not revoked:
                named = frozenset(Category(name) for name in row.categories.split(";"))
                found[row.student_id] = found.get(row.student_id, frozenset()) | named
    return found
