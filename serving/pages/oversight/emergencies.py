"""Emergencies: a caseworker opens more of one student's record for a few hours; the district reads
of each.

What is opened is on the student's own page alone. The district's page is the report that the law
asks for: who saw which parts of whose record, on account of which threat (34 CFR 99.32(a)(5)).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from fastapi import APIRouter, Form, Query
from pydantic import BaseModel, ConfigDict, Field
from starlette.responses import RedirectResponse, Response

from records.canonical.schema import Category
from records.disclosure_log.history import emergency_disclosure_count
from records.people.accounts import staff_names
from records.people.viewer import NotInScope, Role
from records.permissions.emergencies import (
    MAX_HOURS,
    MIN_STATEMENT_LENGTH,
    REQUESTABLE_CATEGORIES,
    Emergency,
    EmergencyError,
    eligible_partner_staff,
    emergencies,
    end_emergency,
    open_emergency,
)
from serving.site.dependencies import (
    DistrictAdminVisit,
    StudentInFullScope,
    StudentInScope,
    require_role,
)
from serving.site.visit import Visit
from serving.students.roster import RosterEntry

router = APIRouter()
ForCaseworker = Annotated[Visit, require_role(Role.CASEWORKER)]
MAX_LISTED = 100
LongText = Annotated[str, Field(max_length=2000)]
ShortText = Annotated[str, Field(max_length=40)]


class EmergencyForm(BaseModel):
    model_config = ConfigDict(extra="forbid")
    csrf: str
    categories: list[Category] = []
    threat: LongText = ""
    reason: LongText = ""
    hours: float = 1


class DistrictEmergencyForm(EmergencyForm):
    student: ShortText = ""
    person: ShortText = ""


class EndForm(BaseModel):
    model_config = ConfigDict(extra="forbid")
    csrf: str


@dataclass(frozen=True)
class EmergencyItem:
    """One emergency as the district reads it. `student` is None where they are no longer in the
    records.
    """

    emergency: Emergency
    student: RosterEntry | None
    handle: str
    person: str
    organization: str
    opener: str
    open_now: bool
    looks: int


@router.get("/students/{handle}/emergency")
def form_page(handle: str, visit: ForCaseworker, student: StudentInScope) -> Response:
    return _form(visit, handle, student, EmergencyForm(csrf=visit.csrf))


@router.post("/students/{handle}/emergency")
def open_for_oneself(
    handle: str,
    visit: ForCaseworker,
    student: StudentInScope,
    form: Annotated[EmergencyForm, Form()],
) -> Response:
    visit.check_csrf(form.csrf)
    try:
        open_emergency(
            visit.database,
            visit.whole_scope,
            student,
            categories=form.categories,
            threat=form.threat,
            reason=form.reason,
            hours=form.hours,
            now=visit.now,
        )
    except EmergencyError as error:
        return _form(visit, handle, student, form, str(error))
    return RedirectResponse(f"/students/{handle}", 303)


@router.post("/students/{handle}/emergency/end")
def end_own(
    handle: str, visit: ForCaseworker, student: StudentInFullScope, form: Annotated[EndForm, Form()]
) -> Response:
    """Ends all that this person opened of this student."""
    visit.check_csrf(form.csrf)
    for one in visit.emergencies:
        if one.student_id == student and one.opened_by == visit.viewer.user_id:
            end_emergency(visit.database, visit.viewer, one.number, visit.now)
    still_theirs = student in visit.scope.students
    return RedirectResponse(f"/students/{handle}" if still_theirs else "/caseload", 303)


@router.get("/emergencies")
def emergencies_page(
    visit: DistrictAdminVisit, student: Annotated[str, Query(max_length=40)] = ""
) -> Response:
    return _report(visit, DistrictEmergencyForm(csrf=visit.csrf, student=student))


@router.post("/emergencies")
def open_for_somebody(
    visit: DistrictAdminVisit, form: Annotated[DistrictEmergencyForm, Form()]
) -> Response:
    visit.check_csrf(form.csrf)
    try:
        open_emergency(
            visit.database,
            visit.scope,
            visit.student_named(form.student),
            categories=form.categories,
            threat=form.threat,
            reason=form.reason,
            hours=form.hours,
            now=visit.now,
            user_id=form.person,
        )
    except NotInScope:
        return _report(visit, form, "There is no student with this number or code in the records.")
    except EmergencyError as error:
        return _report(visit, form, str(error))
    return RedirectResponse("/emergencies", 303)


@router.post("/emergencies/{number}/end")
def end(number: int, visit: DistrictAdminVisit, form: Annotated[EndForm, Form()]) -> Response:
    visit.check_csrf(form.csrf)
    try:
        end_emergency(visit.database, visit.viewer, number, visit.now)
    except EmergencyError as error:
        return _report(visit, DistrictEmergencyForm(csrf=visit.csrf), str(error), 409)
    return RedirectResponse("/emergencies", 303)


def _form(
    visit: Visit, handle: str, student: str, form: EmergencyForm, problem: str = ""
) -> Response:
    offered = [
        category
        for category in Category
        if category in REQUESTABLE_CATEGORIES - visit.scope.categories(student)
    ]
    visit.disclosures.record([student], [Category.DIRECTORY])
    response = visit.page(
        "emergency.html",
        listed=visit.lists.roster[student],
        handle=handle,
        form=form,
        problem=problem,
        offered=offered,
        fewest=MIN_STATEMENT_LENGTH,
        hours=range(1, MAX_HOURS + 1),
        stamp=visit.disclosures.stamp([student]),
    )
    response.status_code = 422 if problem else 200
    return response


def _report(
    visit: Visit, form: DistrictEmergencyForm, problem: str = "", status: int = 422
) -> Response:
    """The newest emergencies; the names on the page are looks, which are written down first."""
    found = emergencies(visit.database, limit=MAX_LISTED)
    named = list(
        dict.fromkeys(one.student_id for one in found if one.student_id in visit.scope.students)
    )
    visit.disclosures.record(named, [Category.DIRECTORY])
    staff = staff_names(visit.database)
    response = visit.page(
        "emergencies.html",
        told=[_told(visit, one, staff) for one in found],
        most=MAX_LISTED,
        form=form,
        problem=problem,
        people=eligible_partner_staff(visit.database, visit.today),
        fewest=MIN_STATEMENT_LENGTH,
        offered=[category for category in Category if category in REQUESTABLE_CATEGORIES],
        hours=range(1, MAX_HOURS + 1),
        stamp=visit.disclosures.stamp(named),
    )
    response.status_code = status if problem else 200
    return response


def _told(visit: Visit, one: Emergency, staff: dict[str, str]) -> EmergencyItem:
    known = visit.lists.roster.get(one.student_id)
    organization = visit.organizations.get(one.organization_id)
    return EmergencyItem(
        one,
        known,
        visit.scope.handle(one.student_id) if known else "",
        staff.get(one.user_id, "Somebody who has left"),
        organization.name if organization else one.organization_id,
        staff.get(one.opened_by, "Somebody who has left"),
        one.is_open(visit.now),
        emergency_disclosure_count(visit.database, one),
    )
