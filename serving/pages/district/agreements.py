"""Agreements as anybody can read them: a partner's own, or all of them for the district; and what
one opens for whom.

The text is handed out to the byte, each version with what it changed in the one before. For the
district a page says what one person may see of one student, and which line says so.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, datetime, time
from typing import Annotated

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
from records.people.accounts import all_staff, staff_names
from records.people.viewer import PARTNER_ROLES, ROLE_CATEGORIES, NotInScope, Role, Viewer
from records.permissions.agreement_diff import DiffLine, describe_changes, diff_lines
from records.permissions.agreements import (
    PER_STUDENT_BASES,
    Agreement,
    LegalBasis,
    StoredAgreement,
    agreement_versions,
)
from serving.services.agreements import visible_agreements
from serving.site.dependencies import CurrentVisit, DistrictAdminVisit
from serving.site.visit import Visit
from serving.wording import words

router = APIRouter()
Version = Annotated[int | None, Query(ge=1, le=1_000_000)]
NO_SUCH_STUDENT = "There is no student with this number or code in the records."
NO_SUCH_PERSON = "Nobody has this sign-in."


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
        agreements=[(one.agreement, agreement_status(one, visit.today)) for one in stored],
    )


@router.get("/agreements/explain")
def explain_page(
    visit: DistrictAdminVisit,
    person: Annotated[str, Query(max_length=200)] = "",
    student: Annotated[str, Query(max_length=40)] = "",
    on: Annotated[date | None, BeforeValidator(lambda given: given or None), Query()] = None,
) -> Response:
    """What one person may see of one student. Asking is a look at the student, and written down as
    one.
    """
    people = all_staff(visit.database)
    viewer = next((one for one in people if one.login == person), None)
    asked: dict[str, object] = {"people": people, "person": person, "student": student, "on": on}
    if not person or not student:
        return visit.page("explain.html", **asked, found=None, problem="", stamp="")
    try:
        student_id = visit.student_named(student)
    except NotInScope:
        return _not_explained(visit, NO_SUCH_STUDENT, asked)
    if viewer is None:
        return _not_explained(visit, NO_SUCH_PERSON, asked)
    found = _explained(visit, viewer, student_id, on)
    visit.disclosures.record([student_id], EXPLAINED_CATEGORIES)
    return visit.page(
        "explain.html",
        **asked,
        found=found,
        viewer=viewer,
        listed=visit.lists.roster[student_id],
        problem="",
        stamp=visit.disclosures.stamp([student_id]),
    )


@router.get("/agreements/{agreement_id}.txt")
def agreement_text(agreement_id: str, visit: CurrentVisit, version: Version = None) -> Response:
    """The file as it was signed, to the byte."""
    shown, _ = _version(visit, agreement_id, version)
    return Response(shown.agreement.text.encode(), media_type="text/plain; charset=utf-8")


@router.get("/agreements/{agreement_id}")
def agreement_page(agreement_id: str, visit: CurrentVisit, version: Version = None) -> Response:
    shown, versions = _version(visit, agreement_id, version)
    agreement = shown.agreement
    programs = [visit.program_names.get(program, program) for program in sorted(agreement.programs)]
    states = {one.agreement.version: agreement_status(one, visit.today) for one in versions[:1]}
    return visit.page(
        "agreement.html",
        agreement=agreement,
        programs=programs,
        versions=[one.agreement for one in versions],
        state=states.get(agreement.version, f"Replaced by version {versions[0].agreement.version}"),
        amendment=_amendment(agreement, [one.agreement for one in versions]),
        opens=access_sentences(agreement, visit.viewer.role, programs),
        is_study=agreement.legal_basis is LegalBasis.STUDIES,
        taken_back=shown.reinstatement if visit.is_officer else None,
        staff=staff_names(visit.database),
    )


def access_sentences(agreement: Agreement, role: Role, programs: list[str]) -> list[str]:
    """What somebody in this role at the partner sees by it, in plain sentences; none for other
    roles.
    """
    if role not in PARTNER_ROLES:
        return []
    if agreement.legal_basis not in PER_STUDENT_BASES:
        return [
            "It opens no single student's record, neither to you nor to a colleague: no list of"
            " students, no alert and no suggestion. It allows figures about groups."
        ]
    seen = agreement.categories & ROLE_CATEGORIES[role]
    signed = seen if agreement.legal_basis is LegalBasis.CONSENT else seen & CONSENT_CATEGORIES
    if not seen:
        return [
            "It opens no student's record to you. It may open some to colleagues in another role."
        ]
    said = [f"It is about students who take part in {' or '.join(programs)} today."]
    if seen - signed:
        said.append(f"You see their {words.categories(seen - signed)}.")
    if signed:
        said.append(
            f"You see {words.categories(signed)} only of those whose family has signed for it."
        )
    if role is Role.CASEWORKER and agreement.supports:
        named = [
            words.support(agreement.supports[0]),
            *(words.support(one).lower() for one in agreement.supports[1:]),
        ]
        said.append(f"Handrail may suggest, where it is likely to help: {', '.join(named)}.")
    elif role is not Role.CASEWORKER:
        said.append("You see no alerts and no suggestions.")
    if Category.SERVICES_OTHER in seen:
        housing = (
            "those whose family has signed for housing" if Category.HOUSING in seen else "nobody"
        )
        said.append(f"You see other partners' programs that help with housing of {housing}.")
    return [*said, "A student whose family has asked for it is kept out of your sight."]


def _version(
    visit: Visit, agreement_id: str, version: int | None
) -> tuple[StoredAgreement, list[StoredAgreement]]:
    """The version asked for, or the newest, and all of them; none of it exists for another
    organisation.
    """
    versions = agreement_versions(visit.database, agreement_id)
    if versions and (
        visit.of_district or versions[0].agreement.organization_id == visit.viewer.organization_id
    ):
        for one in versions:
            if version in (None, one.agreement.version):
                return one, versions
    raise HTTPException(404)


def _amendment(after: Agreement, versions: list[Agreement]) -> VersionDiff | None:
    before = next((one for one in versions if one.version < after.version), None)
    return (
        VersionDiff(before, describe_changes(before, after), diff_lines(before.text, after.text))
        if before
        else None
    )


def _explained(visit: Visit, viewer: Viewer, student_id: str, on: date | None) -> Explanation:
    moment = visit.now if on is None or on == visit.today else datetime.combine(on, time(12))
    return explain_access(viewer, student_id, visit.database, visit.snapshot, moment)


def _not_explained(visit: Visit, problem: str, asked: dict[str, object]) -> Response:
    response = visit.page("explain.html", **asked, found=None, problem=problem, stamp="")
    response.status_code = 422
    return response
