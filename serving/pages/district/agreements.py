"""Agreements as anybody can read them: a partner's own, or all for the district.

The text is given out to the byte, each version with what it changed in the one before. For the
district a page explains what one person may see of one student, and which line says so.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime, time
from typing import Annotated, Any

from fastapi import APIRouter, HTTPException, Query
from pydantic import BeforeValidator
from starlette.responses import Response

from records.access.explanation import (
    EXPLAINED_CATEGORIES,
    Explanation,
    agreement_status,
    explain_access,
)
from records.canonical.schema import CONSENT_CATEGORIES, Category
from records.canonical.supports import SupportCatalog
from records.permissions.agreement_diff import DiffLine, describe_changes, diff_lines
from records.permissions.agreements import (
    PER_STUDENT_BASES,
    Agreement,
    LegalBasis,
    StoredAgreement,
    agreement_versions,
)
from records.staff.accounts import all_staff, staff_names
from records.staff.viewer import PARTNER_ROLES, ROLE_CATEGORIES, NotInScope, Role, Viewer
from serving.pages.forms import NO_SUCH_STUDENT
from serving.services.agreements import visible_agreements
from serving.site.dependencies import CurrentVisit, DistrictAdminVisit
from serving.site.visit import Visit
from serving.wording import words

router = APIRouter()
Version = Annotated[int | None, Query(ge=1, le=1_000_000)]
NO_SUCH_LOGIN = "No user has this login."


@dataclass(frozen=True)
class VersionDiff:
    """What a version changed in the one before it."""

    before: Agreement
    changes: list[str]
    lines: list[DiffLine]


@router.get("/agreements")
def agreements_page(visit: CurrentVisit) -> Response:
    stored = visible_agreements(visit)
    return visit.page(
        "agreements.html",
        agreements=[
            (version.agreement, agreement_status(version, visit.today)) for version in stored
        ],
    )


@router.get("/agreements/explain")
def explain_page(
    visit: DistrictAdminVisit,
    person: Annotated[str, Query(max_length=200)] = "",
    student: Annotated[str, Query(max_length=40)] = "",
    on: Annotated[date | None, BeforeValidator(lambda text: text or None), Query()] = None,
) -> Response:
    """What one person may see of one student. The lookup counts as a view of the student and is
    logged.
    """
    people = all_staff(visit.database)
    viewer = next((account for account in people if account.login == person), None)
    form: dict[str, Any] = {
        "people": people,
        "person": person,
        "student_code": student,
        "on": on,
        "explanation": None,
        "problem": "",
        "terms": "",
    }
    if not person or not student:
        return visit.page("explain.html", **form)
    try:
        student_id = visit.find_student(student)
    except NotInScope:
        return visit.page("explain.html", status=422, **form | {"problem": NO_SUCH_STUDENT})
    if viewer is None:
        return visit.page("explain.html", status=422, **form | {"problem": NO_SUCH_LOGIN})
    explanation = _explanation(visit, viewer, student_id, on)
    visit.disclosures.record([student_id], EXPLAINED_CATEGORIES)
    form |= {
        "explanation": explanation,
        "viewer": viewer,
        "student": visit.lists.roster[student_id],
        "terms": visit.disclosures.terms([student_id]),
    }
    return visit.page("explain.html", **form)


@router.get("/agreements/{agreement_id}.txt")
def agreement_text(agreement_id: str, visit: CurrentVisit, version: Version = None) -> Response:
    """The file as it was signed, to the byte."""
    shown, _ = _find_version(visit, agreement_id, version)
    return Response(shown.agreement.text.encode(), media_type="text/plain; charset=utf-8")


@router.get("/agreements/{agreement_id}")
def agreement_page(agreement_id: str, visit: CurrentVisit, version: Version = None) -> Response:
    shown, stored = _find_version(visit, agreement_id, version)
    agreement, newest = shown.agreement, stored[0]
    versions = [each.agreement for each in stored]
    programs = [visit.program_names.get(program, program) for program in sorted(agreement.programs)]
    return visit.page(
        "agreement.html",
        agreement=agreement,
        programs=programs,
        versions=versions,
        state=(
            agreement_status(newest, visit.today)
            if shown == newest
            else f"Replaced by version {newest.agreement.version}"
        ),
        version_diff=_version_diff(agreement, versions),
        access_sentences=access_sentences(agreement, visit.viewer.role, programs, visit.supports),
        is_study=agreement.legal_basis is LegalBasis.STUDIES,
        reinstatement=shown.reinstatement if visit.is_district_admin else None,
        staff=staff_names(visit.database),
    )


def access_sentences(
    agreement: Agreement, role: Role, programs: list[str], supports: SupportCatalog
) -> list[str]:
    """What somebody in this role at the partner sees under it, in sentences; none for other roles.

    Args:
        programs: names of the agreement's programs.
        supports: the district's kinds of support. One that the agreement names and the list no
            longer has is not suggested.
    """
    if role not in PARTNER_ROLES:
        return []
    if agreement.legal_basis not in PER_STUDENT_BASES:
        return [
            "It does not give you or your colleagues access to individual student records: no"
            " student list, no alerts, and no suggestions. It allows figures about groups."
        ]
    seen = agreement.categories & ROLE_CATEGORIES[role]
    signed = seen if agreement.legal_basis is LegalBasis.CONSENT else seen & CONSENT_CATEGORIES
    if not seen:
        return [
            "It does not give you access to any student's record. It may give colleagues in another"
            " role access to some."
        ]
    sentences = [f"It covers students enrolled in {' or '.join(programs)} today."]
    if seen - signed:
        sentences.append(f"You see their {words.categories(seen - signed)}.")
    if signed:
        sentences.append(
            f"You see {words.categories(signed)} only for students whose family has signed a"
            " consent."
        )
    suggested = [supports.label(key) for key in agreement.supports if key in supports]
    if role is Role.CASEWORKER and suggested:
        sentences.append(
            f"Handrail may suggest, where it is likely to help: {_listed_supports(suggested)}."
        )
    elif role is not Role.CASEWORKER:
        sentences.append("You see no alerts and no suggestions.")
    if Category.SERVICES_OTHER in seen:
        sentences.append(
            "You see other partners' housing programs only for students whose family has signed a"
            " consent for housing."
            if Category.HOUSING in seen
            else "You do not see other partners' housing programs for any student."
        )
    return [*sentences, "Students whose family opted out are hidden from you."]


def _listed_supports(labels: Sequence[str]) -> str:
    first, *others = labels
    return ", ".join([first, *(label.lower() for label in others)])


def _find_version(
    visit: Visit, agreement_id: str, version: int | None
) -> tuple[StoredAgreement, list[StoredAgreement]]:
    """The version asked for, or the newest, and all of them, the newest first.

    Raises:
        HTTPException: there is none, or it is another organization's: nobody can tell which.
    """
    versions = agreement_versions(visit.database, agreement_id)
    own = versions and versions[0].agreement.organization_id == visit.viewer.organization_id
    if own or visit.is_district_staff:
        for stored in versions:
            if version in (None, stored.agreement.version):
                return stored, versions
    raise HTTPException(404)


def _version_diff(after: Agreement, versions: Sequence[Agreement]) -> VersionDiff | None:
    before = next((each for each in versions if each.version < after.version), None)
    if before is None:
        return None
    changes = describe_changes(before, after)
    return VersionDiff(before, changes, diff_lines(before.text, after.text))


def _explanation(visit: Visit, viewer: Viewer, student_id: str, on: date | None) -> Explanation:
    """As of now, or of noon on another day."""
    moment = visit.now if on is None or on == visit.today else datetime.combine(on, time(12))
    return explain_access(viewer, student_id, visit.database, visit.snapshot, moment)
