"""The one choke point: every reading of a student takes a `Scope`.

A scope is worked out anew at each request from the viewer, the agreements in force, the role,
active program enrolment, consents and opt-outs. What is outside it is not "forbidden" but absent:
rows are missing and values are null before anything downstream sees them.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import date, datetime
from typing import Any, Literal

from sqlalchemy import select

from records.canonical.schema import CONSENT_CATEGORIES, Category
from records.database.engine import Database
from records.database.tables import (
    ConsentRow,
    EmergencyRow,
    LegalHoldRow,
    OptOutRow,
    StaffRow,
    UnfinishedDestructionRow,
)
from records.people.viewer import (
    _ALL,
    DISTRICT,
    EMERGENCY_BASIS,
    EMERGENCY_CATEGORIES,
    PARTNER_ROLES,
    ROLE_CATEGORIES,
    SENSITIVE_CATEGORIES,
    Grant,
    Role,
    Scope,
    Viewer,
    emergency_reference,
)
from records.permissions.agreements import (
    PER_STUDENT_BASES,
    Agreement,
    LegalBasis,
    agreements_in_force,
)
from records.snapshots.queries import (
    DateLike,
    TableProvider,
    as_date,
    compile_query,
    students_param,
    students_placeholder,
)
from records.snapshots.snapshot import Snapshot
from records.system.clock import to_utc


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


def pipeline_scope(
    snapshot: Snapshot, purpose: Literal["features", "training", "audit"], today: date
) -> Scope:
    """The system's own reading of every student. Only an audit may read sensitive categories."""
    categories = _ALL if purpose == "audit" else _ALL - SENSITIVE_CATEGORIES
    viewer = Viewer(f"pipeline-{purpose}", "", purpose, Role.PIPELINE, DISTRICT)
    return Scope(viewer, today, _everyone(snapshot, purpose, categories), b"")


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
