"""The one choke point: every reading of a student takes a `Scope`.

A scope is worked out anew at each request from the viewer, the agreements in force, the role,
active program enrolment, consents and opt-outs. What is outside it is not "forbidden" but absent:
rows are missing and values are null before anything downstream sees them.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from datetime import date, datetime
from typing import Any, Literal

from records.canonical.schema import CONSENT_CATEGORIES, Category
from records.database.engine import Database
from records.people.accounts import is_current
from records.people.viewer import (
    ALL_CATEGORIES,
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
from records.permissions import consents, destructions, emergencies, legal_holds, opt_outs
from records.permissions.agreements import (
    PER_STUDENT_BASES,
    Agreement,
    LegalBasis,
    agreements_in_force,
)
from records.permissions.emergencies import Emergency
from records.snapshots.queries import (
    DateLike,
    TableProvider,
    as_date,
    compile_query,
    students_param,
    students_placeholder,
)
from records.snapshots.snapshot import Snapshot


def scope_for(
    viewer: Viewer, database: Database, snapshot: Snapshot, now: datetime, secret: bytes
) -> Scope:
    """What `viewer` may see `now`. Asked anew at each request, so that a revocation counts at once.

    Args:
        now: the district's local time; agreements, enrolments and consents count by its day,
            emergencies by its minute.
    """
    today = now.date()
    nobody = Scope(viewer, today, {}, secret)
    if not is_current(database, viewer):
        return nobody
    destroyed = destructions.in_force(database)
    if viewer.role is Role.DISTRICT_ADMIN and viewer.organization_id == DISTRICT:
        grants = _everyone(snapshot, "the district's own records", ALL_CATEGORIES)
    elif viewer.role in PARTNER_ROLES:
        grants = _by_agreement(viewer, database, snapshot, today)
        for student, grant in _by_emergency(viewer, database, snapshot, now):
            grants[student] = (*grants.get(student, ()), grant)
    else:
        return nobody
    return replace(
        nobody, grants={student: grants[student] for student in grants if student not in destroyed}
    )


def pipeline_scope(
    snapshot: Snapshot, purpose: Literal["features", "training", "audit"], today: date
) -> Scope:
    """The system's own reading of every student. Only an audit may read sensitive categories."""
    categories = ALL_CATEGORIES if purpose == "audit" else ALL_CATEGORIES - SENSITIVE_CATEGORIES
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
        compile_query(_existing).arrow(snapshot, students_param(students))["student_id"].to_pylist()
    )


def _existing(tables: TableProvider) -> Any:
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


def _enrolled_students(snapshot: Snapshot, agreement: Agreement, today: date) -> frozenset[str]:
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


def _by_agreement(
    viewer: Viewer, database: Database, snapshot: Snapshot, today: date
) -> dict[str, tuple[Grant, ...]]:
    """What agreements open, but for students whom an opt-out or a legal hold closes."""
    closed = opt_outs.in_force(database, today) | legal_holds.in_force(database)
    consented = consents.in_force(database, viewer.organization_id, today)
    grants: dict[str, tuple[Grant, ...]] = {}
    for agreement in agreements_in_force(database, viewer.organization_id, today):
        if agreement.legal_basis not in PER_STUDENT_BASES:
            continue
        for student in _enrolled_students(snapshot, agreement, today) - closed:
            grant = _grant(agreement, viewer.role, consented.get(student, frozenset()))
            if grant.categories:
                grants[student] = (*grants.get(student, ()), grant)
    return grants


def _by_emergency(
    viewer: Viewer, database: Database, snapshot: Snapshot, now: datetime
) -> list[tuple[str, Grant]]:
    """What open emergencies let this one person see, before an opt-out and a legal hold."""
    opened = emergencies.in_force(database, viewer, now)
    if not opened:
        return []
    known = existing_students(snapshot, [emergency.student_id for emergency in opened])
    return [
        (emergency.student_id, _emergency_grant(emergency))
        for emergency in opened
        if emergency.student_id in known
    ]


def _emergency_grant(emergency: Emergency) -> Grant:
    return Grant(
        emergency_reference(emergency.number),
        "",
        EMERGENCY_BASIS,
        "A health or safety emergency",
        emergency.organization_id,
        emergency.categories & EMERGENCY_CATEGORIES,
        (),
    )
