"""The one place that decides which students and categories a viewer may see now.

A scope is worked out anew for each request, from the account, the agreements in force, the role,
program enrollment, referrals, consents, opt-outs, legal holds, emergencies and destructions. This
module only combines their rules; each belongs to a module of `records.permissions` or
`records.referrals`. Every reading of a student takes a `Scope`, through
`records.access.scoped_records`.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from datetime import date, datetime
from typing import Any, Literal

from records.canonical.schema import CONSENT_CATEGORIES, Category
from records.database.engine import Database
from records.permissions import (
    consents,
    emergencies,
    legal_holds,
    opt_outs,
)
from records.permissions import (
    destructions_in_progress as destructions,
)
from records.permissions.agreements import (
    PER_STUDENT_BASES,
    Agreement,
    LegalBasis,
    agreements_in_force,
)
from records.permissions.emergencies import Emergency
from records.referrals.referrals import OpenReferral, opening_to
from records.snapshots.queries import (
    DateLike,
    TableProvider,
    as_date,
    compile_query,
    students_param,
    students_placeholder,
)
from records.snapshots.snapshot import Snapshot
from records.staff.accounts import is_current
from records.staff.viewer import (
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


def scope_for(
    viewer: Viewer, database: Database, snapshot: Snapshot, now: datetime, secret: bytes
) -> Scope:
    """What `viewer` may see `now`; worked out for each request, so that a revocation takes effect.

    Args:
        now: the district's local time. Agreements, enrollments and consents are judged by its date,
            emergencies by its minute.
        secret: the key of the handles that stand for students.
    """
    nothing = Scope(viewer, now.date(), {}, secret)
    if not is_current(database, viewer):
        return nothing
    # Read before the grants: a destruction that ends in between leaves no trace in the database.
    being_destroyed = destructions.in_force(database)
    if viewer.role is Role.DISTRICT_ADMIN and viewer.organization_id == DISTRICT:
        grants = _all_students(snapshot, "the district's own records", ALL_CATEGORIES)
    elif viewer.role in PARTNER_ROLES:
        grants = _grants_by_agreement(viewer, database, snapshot, now.date())
        for student, grant in (
            *_grants_by_referral(viewer, database, snapshot, now.date()),
            *_grants_by_emergency(viewer, database, snapshot, now),
        ):
            grants[student] = (*grants.get(student, ()), grant)
    else:
        return nothing
    return replace(
        nothing,
        grants={
            student: student_grants
            for student, student_grants in grants.items()
            if student not in being_destroyed
        },
    )


def pipeline_scope(
    snapshot: Snapshot, purpose: Literal["features", "training", "audit"], today: date
) -> Scope:
    """The system's own scope of every student; only an audit may read sensitive categories."""
    categories = ALL_CATEGORIES if purpose == "audit" else ALL_CATEGORIES - SENSITIVE_CATEGORIES
    viewer = Viewer(f"pipeline-{purpose}", "", purpose, Role.PIPELINE, DISTRICT)
    return Scope(viewer, today, _all_students(snapshot, purpose, categories), b"")


def existing_students(snapshot: Snapshot, students: Iterable[str]) -> frozenset[str]:
    """Those of the students that are in the snapshot."""
    existing = compile_query(_existing).arrow(snapshot, students_param(students))
    return frozenset(existing["student_id"].to_pylist())


def _all_students(
    snapshot: Snapshot, purpose: str, categories: frozenset[Category]
) -> dict[str, tuple[Grant, ...]]:
    grant = Grant(
        agreement_id=DISTRICT,
        agreement_sha256="",
        legal_basis="own_records",
        purpose=purpose,
        organization_id=DISTRICT,
        categories=categories,
        supports=(),
    )
    students = compile_query(_student_ids).arrow(snapshot)["student_id"].to_pylist()
    return dict.fromkeys(students, (grant,))


def _grants_by_agreement(
    viewer: Viewer, database: Database, snapshot: Snapshot, today: date
) -> dict[str, tuple[Grant, ...]]:
    """What agreements open of those enrolled, without students whom the family or a hold closes."""
    closed = _closed_to_partners(database, today)
    consented = consents.in_force(database, viewer.organization_id, today)
    grants: dict[str, tuple[Grant, ...]] = {}
    for agreement in agreements_in_force(database, viewer.organization_id, today):
        if agreement.legal_basis not in PER_STUDENT_BASES:
            continue
        for student in _enrolled_students(snapshot, agreement, today) - closed:
            grant = _agreement_grant(agreement, viewer.role, consented.get(student, frozenset()))
            if grant.categories:
                grants[student] = (*grants.get(student, ()), grant)
    return grants


def _grants_by_referral(
    viewer: Viewer, database: Database, snapshot: Snapshot, today: date
) -> list[tuple[str, Grant]]:
    """What open referrals show: what an agreement that covers their program opens."""
    opening = opening_to(database, viewer.organization_id, today)
    if not opening:
        return []
    existing = existing_students(snapshot, [referral.student_id for referral in opening])
    allowed = existing - _closed_to_partners(database, today)
    consented = consents.in_force(database, viewer.organization_id, today)
    agreements = [
        agreement
        for agreement in agreements_in_force(database, viewer.organization_id, today)
        if agreement.legal_basis in PER_STUDENT_BASES
    ]
    granted = [
        (
            referral.student_id,
            _referral_grant(
                referral,
                agreement,
                viewer.role,
                consented.get(referral.student_id, frozenset()),
            ),
        )
        for referral in opening
        if referral.student_id in allowed
        for agreement in agreements
        if referral.program_id in agreement.programs
    ]
    return [(student, grant) for student, grant in granted if grant.categories]


def _referral_grant(
    referral: OpenReferral, agreement: Agreement, role: Role, consented: frozenset[Category]
) -> Grant:
    """An agreement as it applies to a referred student, in the role that the referral names."""
    grant = _agreement_grant(agreement, role, consented)
    return replace(
        grant,
        purpose=f"Referral {referral.number}: {grant.purpose}",
        categories=grant.categories & ROLE_CATEGORIES[referral.role],
        supports=grant.supports if referral.role is Role.CASEWORKER else (),
    )


def _closed_to_partners(database: Database, today: date) -> frozenset[str]:
    """Students whom an opt-out or a legal hold keeps from every partner."""
    return frozenset(opt_outs.in_force(database, today) | legal_holds.in_force(database))


def _agreement_grant(agreement: Agreement, role: Role, consented: frozenset[Category]) -> Grant:
    """An agreement as it applies to one student.

    Args:
        consented: the categories that this student's family has consented to.
    """
    categories = agreement.categories & ROLE_CATEGORIES[role]
    if agreement.legal_basis is LegalBasis.CONSENT:
        categories &= consented
    categories -= CONSENT_CATEGORIES - consented
    return Grant(
        agreement_id=agreement.agreement_id,
        agreement_sha256=agreement.sha256,
        legal_basis=agreement.legal_basis,
        purpose=agreement.purpose,
        organization_id=agreement.organization_id,
        categories=categories,
        supports=agreement.supports if role is Role.CASEWORKER else (),
    )


def _grants_by_emergency(
    viewer: Viewer, database: Database, snapshot: Snapshot, now: datetime
) -> list[tuple[str, Grant]]:
    """What open emergencies show to this person. Opt-outs and legal holds do not close them."""
    opened = emergencies.in_force(database, viewer, now)
    if not opened:
        return []
    existing = existing_students(snapshot, [emergency.student_id for emergency in opened])
    return [
        (emergency.student_id, _emergency_grant(emergency))
        for emergency in opened
        if emergency.student_id in existing
    ]


def _emergency_grant(emergency: Emergency) -> Grant:
    return Grant(
        agreement_id=emergency_reference(emergency.number),
        agreement_sha256="",
        legal_basis=EMERGENCY_BASIS,
        purpose="A health or safety emergency",
        organization_id=emergency.organization_id,
        categories=emergency.categories & EMERGENCY_CATEGORIES,
        supports=(),
    )


def _enrolled_students(snapshot: Snapshot, agreement: Agreement, today: date) -> frozenset[str]:
    """The students enrolled today in a program of the agreement."""
    query = compile_query(_enrolled_on, agreement.organization_id, agreement.programs, today)
    return frozenset(query.arrow(snapshot)["student_id"].to_pylist())


def _student_ids(tables: TableProvider) -> Any:
    return tables.table("students").select("student_id")


def _existing(tables: TableProvider) -> Any:
    return _student_ids(tables).semi_join(students_placeholder(), "student_id")


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
