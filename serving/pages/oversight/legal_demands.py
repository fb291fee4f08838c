"""Legal demands and legal holds: the district's register of documents that ask for a record.

Only a district administrator finds these pages. Each demand is refused until the law, one person
and then another say otherwise; a release is about one student, and each download is logged before a
byte leaves.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Annotated, Literal

from fastapi import APIRouter, Depends, Form, HTTPException, Query
from pydantic import Field
from starlette.responses import RedirectResponse, Response

from records.canonical.schema import Category
from records.legal_demands.legal_demands import (
    RELEASE_DAYS,
    Demand,
    DemandAction,
    DemandStatus,
    NoSuchDemand,
    approve_release,
    demand,
    demands,
    deny_release,
    events,
    propose_release,
    record_demand,
    record_notice,
    release_barrier,
    release_closes_at,
)
from records.legal_demands.legal_documents import (
    DEMANDABLE_CATEGORIES,
    DOCUMENT_KINDS,
    NOTICE_DAYS,
    NOTICE_EXCEPTIONS,
    LegalDemandError,
    LegalDocument,
)
from records.permissions.legal_holds import Hold, LegalHoldError, holds, lift_hold, place_hold
from records.staff.accounts import staff_names
from records.staff.viewer import NotInScope
from serving.exports.legal_release import create_release
from serving.pages.forms import (
    NO_SUCH_STUDENT,
    Code,
    CsrfForm,
    LongText,
    OptionalDay,
    ShortText,
)
from serving.site.dependencies import DistrictAdminVisit
from serving.site.visit import Visit
from serving.students.roster import RosterEntry
from serving.wording import words

router = APIRouter()
MAX_LISTED = 50
"""Demands, and holds: together no more students than the site shows at once."""

RELEASE_DECISIONS: dict[str, Callable[..., Demand]] = {
    "propose": propose_release,
    "approve": approve_release,
    "deny": deny_release,
}


class ReasonForm(CsrfForm):
    reason: LongText = ""


class DemandForm(ReasonForm):
    student: Code = ""
    kind: Code = ""
    issuer: ShortText = ""
    received_on: OptionalDay = None
    of_court: bool = False
    signed_by_judge: bool = False
    categories: list[Category] = Field(default_factory=list)


class NoticeForm(ReasonForm):
    told_on: OptionalDay = None
    exception: Code = ""


class DecisionForm(ReasonForm):
    decision: Literal["propose", "approve", "deny"]


class HoldForm(ReasonForm):
    student: Code = ""


@dataclass(frozen=True)
class LegalMatterItem:
    """A demand or a hold with the student it is about; None where they are no longer in the
    records.
    """

    matter: Demand | Hold
    student: RosterEntry | None
    handle: str


@dataclass(frozen=True)
class AllowedActions:
    """What the viewer may do with a demand now.

    Attributes:
        no_release_reason: why nothing may be released; empty where something may.
    """

    notify: bool
    propose: bool
    approve: bool
    deny: bool
    download: bool
    no_release_reason: str


def demand_from_path(number: int, visit: DistrictAdminVisit) -> Demand:
    """The demand that the path names, read before the rest of the request."""
    try:
        return demand(visit.database, number)
    except NoSuchDemand:
        raise HTTPException(404) from None


DemandFromPath = Annotated[Demand, Depends(demand_from_path)]


@router.get("/demands")
def demands_page(
    visit: DistrictAdminVisit, student: Annotated[str, Query(max_length=40)] = ""
) -> Response:
    return _register(visit, HoldForm(csrf=visit.csrf, student=student))


@router.get("/demands/new")
def new_demand_page(
    visit: DistrictAdminVisit, student: Annotated[str, Query(max_length=40)] = ""
) -> Response:
    return _form_page(visit, DemandForm(csrf=visit.csrf, student=student))


@router.post("/demands")
def record_new_demand(visit: DistrictAdminVisit, form: Annotated[DemandForm, Form()]) -> Response:
    visit.check_csrf(form.csrf)
    if form.received_on is None:
        return _form_page(visit, form, "Enter the date received.")
    document = LegalDocument(
        form.kind,
        form.issuer,
        form.received_on,
        form.of_court,
        form.signed_by_judge,
        frozenset(form.categories),
    )
    try:
        student = visit.find_student(form.student)
        recorded = record_demand(
            visit.database, visit.scope, student, document, form.reason, visit.now
        )
    except NotInScope:
        return _form_page(visit, form, NO_SUCH_STUDENT)
    except LegalDemandError as error:
        return _form_page(visit, form, str(error))
    return RedirectResponse(f"/demands/{recorded.number}", 303)


@router.get("/demands/{number}")
def demand_page(visit: DistrictAdminVisit, matter: DemandFromPath) -> Response:
    return _demand_page(visit, matter)


@router.post("/demands/{number}")
def decide(
    visit: DistrictAdminVisit, matter: DemandFromPath, form: Annotated[DecisionForm, Form()]
) -> Response:
    visit.check_csrf(form.csrf)
    try:
        RELEASE_DECISIONS[form.decision](
            visit.database, visit.viewer, matter.number, form.reason, visit.now
        )
    except LegalDemandError as error:
        return _demand_page(visit, matter, str(error))
    return RedirectResponse(f"/demands/{matter.number}", 303)


@router.post("/demands/{number}/notice")
def record_family_notice(
    visit: DistrictAdminVisit, matter: DemandFromPath, form: Annotated[NoticeForm, Form()]
) -> Response:
    visit.check_csrf(form.csrf)
    try:
        record_notice(
            visit.database,
            visit.viewer,
            matter.number,
            form.told_on,
            form.exception,
            form.reason,
            visit.now,
        )
    except LegalDemandError as error:
        return _demand_page(visit, matter, str(error))
    return RedirectResponse(f"/demands/{matter.number}", 303)


@router.post("/demands/{number}/release")
def download_release(
    visit: DistrictAdminVisit, matter: DemandFromPath, form: Annotated[ReasonForm, Form()]
) -> Response:
    """The file itself is the response: behind an address of its own it could be opened a second
    time without being logged.
    """
    visit.check_csrf(form.csrf)
    terms = (
        f"Released by {visit.viewer.name}, {visit.organization.name}, on"
        f" {words.date_time(visit.now)} to answer legal demand {matter.number} of"
        f" {matter.paper.issuer} (34 CFR 99.31(a)(9)): for that matter alone. Do not pass it on"
        " otherwise (34 CFR 99.33)."
    )
    try:
        archive = create_release(
            visit.database,
            visit.snapshot,
            visit.scope,
            matter.number,
            reason=form.reason,
            terms=terms,
            route=visit.request.scope["route"].path,
            now=visit.now,
            limits=visit.site.config.limits,
        )
    except LegalDemandError as error:
        return _demand_page(visit, matter, str(error))
    return Response(
        archive.content,
        media_type="application/zip",
        headers={"Content-Disposition": f'attachment; filename="{archive.name}"'},
    )


@router.post("/holds")
def place_new_hold(visit: DistrictAdminVisit, form: Annotated[HoldForm, Form()]) -> Response:
    visit.check_csrf(form.csrf)
    try:
        student = visit.find_student(form.student)
        place_hold(visit.database, visit.scope, student, form.reason, visit.now)
    except NotInScope:
        return _register(visit, form, NO_SUCH_STUDENT)
    except LegalHoldError as error:
        return _register(visit, form, str(error))
    return RedirectResponse("/demands#holds", 303)


@router.post("/holds/{number}/lift")
def lift_one_hold(
    number: int, visit: DistrictAdminVisit, form: Annotated[ReasonForm, Form()]
) -> Response:
    visit.check_csrf(form.csrf)
    try:
        lift_hold(visit.database, visit.viewer, number, form.reason, visit.now)
    except LegalHoldError as error:
        return _register(visit, HoldForm(csrf=visit.csrf), str(error))
    return RedirectResponse("/demands#holds", 303)


def _register(visit: Visit, form: HoldForm, problem: str = "") -> Response:
    newest = demands(visit.database, MAX_LISTED)
    in_force_first = sorted(holds(visit.database), key=lambda hold: hold.lifted_at is not None)
    listed_holds = in_force_first[:MAX_LISTED]
    named = _disclose_names(visit, [*newest, *listed_holds])
    return visit.page(
        "demands.html",
        status=422 if problem else 200,
        demands=[_item(visit, demand) for demand in newest],
        holds=[_item(visit, hold) for hold in listed_holds],
        max_listed=MAX_LISTED,
        kinds=DOCUMENT_KINDS,
        form=form,
        problem=problem,
        staff=staff_names(visit.database),
        terms=visit.disclosures.terms(named),
    )


def _form_page(visit: Visit, form: DemandForm, problem: str = "") -> Response:
    return visit.page(
        "demand_new.html",
        status=422 if problem else 200,
        form=form,
        kinds=DOCUMENT_KINDS,
        demandable_categories=DEMANDABLE_CATEGORIES,
        problem=problem,
    )


def _demand_page(visit: Visit, matter: Demand, problem: str = "") -> Response:
    named = _disclose_names(visit, [matter])
    history = events(visit.database, matter.number)
    approved = matter.status is DemandStatus.APPROVED
    return visit.page(
        "demand.html",
        status=409 if problem else 200,
        demand=matter,
        item=_item(visit, matter),
        events=history,
        actions=_allowed_actions(visit, matter),
        problem=problem,
        closes_at=release_closes_at(history) if approved else None,
        exceptions=NOTICE_EXCEPTIONS,
        notice_days=NOTICE_DAYS,
        release_days=RELEASE_DAYS,
        staff=staff_names(visit.database),
        terms=visit.disclosures.terms(named),
    )


def _allowed_actions(visit: Visit, matter: Demand) -> AllowedActions:
    history = events(visit.database, matter.number)
    proposers = [event.user_id for event in history if event.action is DemandAction.PROPOSED]
    proposed = matter.status is DemandStatus.PROPOSED
    approved = matter.status is DemandStatus.APPROVED
    release_open = approved and visit.now < release_closes_at(history)
    barrier = release_barrier(matter, visit.today)
    document = matter.paper
    return AllowedActions(
        notify=document.parent_notified_on is None and not document.notice_exception,
        propose=not barrier and not proposed and not release_open,
        approve=proposed and proposers[-1] != visit.viewer.user_id,
        deny=proposed or release_open,
        download=release_open,
        no_release_reason=barrier,
    )


def _disclose_names(visit: Visit, matters: Iterable[Demand | Hold]) -> list[str]:
    """Log the disclosure of the students named on a page, and say who they are."""
    students = dict.fromkeys(matter.student_id for matter in matters)
    named = [student for student in students if student in visit.scope.students]
    visit.disclosures.record(named, [Category.DIRECTORY])
    return named


def _item(visit: Visit, matter: Demand | Hold) -> LegalMatterItem:
    student = visit.lists.roster.get(matter.student_id)
    handle = visit.scope.handle(matter.student_id) if student else ""
    return LegalMatterItem(matter, student, handle)
