"""Legal demands and legal holds: the district's register of papers that ask for a student's record.

Only a district administrator finds these pages. Each demand is refused until the law, one person
and then another say otherwise; a release is one student's, and each taking is written down before a
byte leaves.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import date
from typing import Annotated, Literal

from fastapi import APIRouter, Depends, Form, HTTPException, Query
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field
from starlette.responses import RedirectResponse, Response

from records.canonical.schema import Category
from records.law.legal_demands import (
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
from records.law.legal_documents import (
    DEMANDABLE_CATEGORIES,
    DOCUMENT_KINDS,
    NOTICE_DAYS,
    NOTICE_EXCEPTIONS,
    LegalDemandError,
    LegalDocument,
)
from records.people.accounts import staff_names
from records.people.viewer import NotInScope
from records.permissions.legal_holds import Hold, LegalHoldError, holds, lift_hold, place_hold
from serving.exports.legal_release import create_release
from serving.site.dependencies import DistrictAdminVisit
from serving.site.visit import Visit
from serving.students.roster import RosterEntry
from serving.wording import words

router = APIRouter()
MAX_LISTED = 50
"""Demands, and holds: together no more students than the site shows at once."""

NO_SUCH_STUDENT = "There is no student with this number or code in the records."
Day = Annotated[date | None, BeforeValidator(lambda given: given or None)]
Reason = Annotated[str, Field(max_length=2000)]
Code = Annotated[str, Field(max_length=40)]
RELEASE_DECISIONS: dict[str, Callable[..., Demand]] = {
    "propose": propose_release,
    "approve": approve_release,
    "deny": deny_release,
}


class ReasonForm(BaseModel):
    model_config = ConfigDict(extra="forbid")
    csrf: str
    reason: Reason = ""


class DemandForm(ReasonForm):
    student: Code = ""
    kind: Code = ""
    issuer: Annotated[str, Field(max_length=200)] = ""
    received_on: Day = None
    of_court: bool = False
    signed_by_judge: bool = False
    categories: list[Category] = []


class NoticeForm(ReasonForm):
    told_on: Day = None
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

    what: Demand | Hold
    student: RosterEntry | None
    handle: str


@dataclass(frozen=True)
class AllowedActions:
    """What may be done with a demand now, by whoever looks at it, and why nothing is released, if
    so.
    """

    notify: bool
    propose: bool
    approve: bool
    deny: bool
    take: bool
    why_not: str


def demand_from_path(number: int, visit: DistrictAdminVisit) -> Demand:
    """The demand of the path, before anything else of the request is looked at."""
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
def new_page(
    visit: DistrictAdminVisit, student: Annotated[str, Query(max_length=40)] = ""
) -> Response:
    return _new(visit, DemandForm(csrf=visit.csrf, student=student))


@router.post("/demands")
def record(visit: DistrictAdminVisit, form: Annotated[DemandForm, Form()]) -> Response:
    visit.check_csrf(form.csrf)
    if form.received_on is None:
        return _new(visit, form, "Please give the day on which it came.")
    paper = LegalDocument(
        form.kind,
        form.issuer,
        form.received_on,
        form.of_court,
        form.signed_by_judge,
        frozenset(form.categories),
    )
    try:
        made = record_demand(
            visit.database,
            visit.scope,
            visit.student_named(form.student),
            paper,
            form.reason,
            visit.now,
        )
    except NotInScope:
        return _new(visit, form, NO_SUCH_STUDENT)
    except LegalDemandError as error:
        return _new(visit, form, str(error))
    return RedirectResponse(f"/demands/{made.number}", 303)


@router.get("/demands/{number}")
def demand_page(visit: DistrictAdminVisit, found: DemandFromPath) -> Response:
    return _show(visit, found)


@router.post("/demands/{number}")
def decide(
    visit: DistrictAdminVisit, found: DemandFromPath, form: Annotated[DecisionForm, Form()]
) -> Response:
    visit.check_csrf(form.csrf)
    try:
        RELEASE_DECISIONS[form.decision](
            visit.database, visit.viewer, found.number, form.reason, visit.now
        )
    except LegalDemandError as error:
        return _show(visit, found, str(error))
    return RedirectResponse(f"/demands/{found.number}", 303)


@router.post("/demands/{number}/notice")
def record_family_notice(
    visit: DistrictAdminVisit, found: DemandFromPath, form: Annotated[NoticeForm, Form()]
) -> Response:
    visit.check_csrf(form.csrf)
    try:
        record_notice(
            visit.database,
            visit.viewer,
            found.number,
            form.told_on,
            form.exception,
            form.reason,
            visit.now,
        )
    except LegalDemandError as error:
        return _show(visit, found, str(error))
    return RedirectResponse(f"/demands/{found.number}", 303)


@router.post("/demands/{number}/release")
def download_release(
    visit: DistrictAdminVisit, found: DemandFromPath, form: Annotated[ReasonForm, Form()]
) -> Response:
    """The file itself is the answer: a page of its own for it could be opened a second time
    unwritten.
    """
    visit.check_csrf(form.csrf)
    terms = (
        f"Released by {visit.viewer.name}, {visit.organization.name}, on"
        f" {words.date_time(visit.now)} to answer legal demand {found.number} of"
        f" {found.paper.issuer} (34 CFR 99.31(a)(9)): for that matter alone. Do not pass it on"
        " otherwise (34 CFR 99.33)."
    )
    try:
        made = create_release(
            visit.database,
            visit.snapshot,
            visit.scope,
            found.number,
            reason=form.reason,
            terms=terms,
            route=visit.request.scope["route"].path,
            now=visit.now,
            limits=visit.site.config.limits,
        )
    except LegalDemandError as error:
        return _show(visit, found, str(error))
    return Response(
        made.content,
        media_type="application/zip",
        headers={"Content-Disposition": f'attachment; filename="{made.name}"'},
    )


@router.post("/holds")
def place(visit: DistrictAdminVisit, form: Annotated[HoldForm, Form()]) -> Response:
    visit.check_csrf(form.csrf)
    try:
        place_hold(
            visit.database, visit.scope, visit.student_named(form.student), form.reason, visit.now
        )
    except NotInScope:
        return _register(visit, form, NO_SUCH_STUDENT)
    except LegalHoldError as error:
        return _register(visit, form, str(error))
    return RedirectResponse("/demands#holds", 303)


@router.post("/holds/{number}/lift")
def lift(number: int, visit: DistrictAdminVisit, form: Annotated[ReasonForm, Form()]) -> Response:
    visit.check_csrf(form.csrf)
    try:
        lift_hold(visit.database, visit.viewer, number, form.reason, visit.now)
    except LegalHoldError as error:
        return _register(visit, HoldForm(csrf=visit.csrf), str(error))
    return RedirectResponse("/demands#holds", 303)


def _register(visit: Visit, form: HoldForm, problem: str = "") -> Response:
    found = demands(visit.database, MAX_LISTED)
    placed = sorted(holds(visit.database), key=lambda hold: hold.lifted_at is not None)[:MAX_LISTED]
    named = _disclose(visit, [*found, *placed])
    response = visit.page(
        "demands.html",
        found=[_about(visit, one) for one in found],
        most=MAX_LISTED,
        kinds=DOCUMENT_KINDS,
        placed=[_about(visit, one) for one in placed],
        form=form,
        problem=problem,
        staff=staff_names(visit.database),
        stamp=visit.disclosures.stamp(named),
    )
    response.status_code = 422 if problem else 200
    return response


def _new(visit: Visit, form: DemandForm, problem: str = "") -> Response:
    response = visit.page(
        "demand_new.html",
        form=form,
        kinds=DOCUMENT_KINDS,
        offered=DEMANDABLE_CATEGORIES,
        problem=problem,
    )
    response.status_code = 422 if problem else 200
    return response


def _show(visit: Visit, found: Demand, problem: str = "") -> Response:
    named = _disclose(visit, [found])
    done = events(visit.database, found.number)
    approved = found.status is DemandStatus.APPROVED
    response = visit.page(
        "demand.html",
        found=found,
        about=_about(visit, found),
        done=done,
        steps=_steps(visit, found),
        problem=problem,
        closes=release_closes_at(done) if approved else None,
        exceptions=NOTICE_EXCEPTIONS,
        notice_days=NOTICE_DAYS,
        release_days=RELEASE_DAYS,
        staff=staff_names(visit.database),
        stamp=visit.disclosures.stamp(named),
    )
    response.status_code = 409 if problem else 200
    return response


def _steps(visit: Visit, found: Demand) -> AllowedActions:
    done = events(visit.database, found.number)
    proposers = [event.user_id for event in done if event.action is DemandAction.PROPOSED]
    good = found.status is DemandStatus.APPROVED and visit.now < release_closes_at(done)
    why_not = release_barrier(found, visit.today)
    paper = found.paper
    return AllowedActions(
        notify=paper.parent_notified_on is None and not paper.notice_exception,
        propose=not why_not and found.status is not DemandStatus.PROPOSED and not good,
        approve=found.status is DemandStatus.PROPOSED and proposers[-1] != visit.viewer.user_id,
        deny=found.status is DemandStatus.PROPOSED or good,
        take=good,
        why_not=why_not,
    )


def _disclose(visit: Visit, found: Iterable[Demand | Hold]) -> list[str]:
    """The students named on a page are looks, which are written down first."""
    named = list(
        dict.fromkeys(one.student_id for one in found if one.student_id in visit.scope.students)
    )
    visit.disclosures.record(named, [Category.DIRECTORY])
    return named


def _about(visit: Visit, what: Demand | Hold) -> LegalMatterItem:
    known = visit.lists.roster.get(what.student_id)
    return LegalMatterItem(what, known, visit.scope.handle(what.student_id) if known else "")
