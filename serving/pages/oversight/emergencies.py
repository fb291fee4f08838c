"""Emergencies: time-limited access of one person to more of one student's record.

A caseworker opens it for themselves, the district for somebody at a partner. What is opened is on
the student's own page alone. The district's page is the report that the law requires: who saw which
parts of whose record, because of which threat (34 CFR 99.32(a)(5)).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated

from fastapi import APIRouter, Form, Query
from pydantic import Field
from starlette.responses import RedirectResponse, Response

from records.canonical.schema import Category
from records.disclosure_log.history import emergency_disclosure_count
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
from records.staff.accounts import staff_names
from records.staff.viewer import NotInScope
from serving.pages.forms import NO_SUCH_STUDENT, Code, CsrfForm, LongText
from serving.site.dependencies import (
    CaseworkerVisit,
    DistrictAdminVisit,
    StudentInFullScope,
    StudentInScope,
)
from serving.site.visit import Visit
from serving.students.roster import RosterEntry
from serving.wording import words

router = APIRouter()
MAX_LISTED = 100


class EmergencyForm(CsrfForm):
    categories: list[Category] = Field(default_factory=list)
    threat: LongText = ""
    reason: LongText = ""
    hours: float = 1


class DistrictEmergencyForm(EmergencyForm):
    student: Code = ""
    person: Code = ""


@dataclass(frozen=True)
class EmergencyItem:
    """One emergency as the district reads it.

    Attributes:
        student, handle: None and empty where the student is no longer in the records.
        person, organization: who was given access.
        disclosure_count: how often they viewed what it opened.
    """

    emergency: Emergency
    student: RosterEntry | None
    handle: str
    person: str
    organization: str
    opened_by: str
    is_open: bool
    disclosure_count: int


@router.get("/students/{handle}/emergency")
def form_page(handle: str, visit: CaseworkerVisit, student: StudentInScope) -> Response:
    return _form(visit, handle, student, EmergencyForm(csrf=visit.csrf))


@router.post("/students/{handle}/emergency")
def open_for_oneself(
    handle: str,
    visit: CaseworkerVisit,
    student: StudentInScope,
    form: Annotated[EmergencyForm, Form()],
) -> Response:
    visit.check_csrf(form.csrf)
    try:
        open_emergency(
            visit.database,
            visit.full_scope,
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
    handle: str,
    visit: CaseworkerVisit,
    student: StudentInFullScope,
    form: Annotated[CsrfForm, Form()],
) -> Response:
    """End every emergency that this person opened for this student."""
    visit.check_csrf(form.csrf)
    for emergency in visit.emergencies:
        if emergency.student_id == student and emergency.opened_by == visit.viewer.user_id:
            end_emergency(visit.database, visit.viewer, emergency.number, visit.now)
    still_visible = student in visit.scope.students
    return RedirectResponse(f"/students/{handle}" if still_visible else "/caseload", 303)


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
            visit.find_student(form.student),
            categories=form.categories,
            threat=form.threat,
            reason=form.reason,
            hours=form.hours,
            now=visit.now,
            user_id=form.person,
        )
    except NotInScope:
        return _report(visit, form, NO_SUCH_STUDENT)
    except EmergencyError as error:
        return _report(visit, form, str(error))
    return RedirectResponse("/emergencies", 303)


@router.post("/emergencies/{number}/end")
def end(number: int, visit: DistrictAdminVisit, form: Annotated[CsrfForm, Form()]) -> Response:
    visit.check_csrf(form.csrf)
    try:
        end_emergency(visit.database, visit.viewer, number, visit.now)
    except EmergencyError as error:
        return _report(visit, DistrictEmergencyForm(csrf=visit.csrf), str(error), 409)
    return RedirectResponse("/emergencies", 303)


def _form(
    visit: Visit, handle: str, student: str, form: EmergencyForm, problem: str = ""
) -> Response:
    not_visible = REQUESTABLE_CATEGORIES - visit.scope.categories(student)
    visit.disclosures.record([student], [Category.DIRECTORY])
    return visit.page(
        "emergency.html",
        status=422 if problem else 200,
        student=visit.lists.roster[student],
        handle=handle,
        form=form,
        problem=problem,
        openable_categories=[category for category in Category if category in not_visible],
        min_length=MIN_STATEMENT_LENGTH,
        hours=range(1, MAX_HOURS + 1),
        terms=visit.disclosures.terms([student]),
    )


def _report(
    visit: Visit, form: DistrictEmergencyForm, problem: str = "", status: int = 422
) -> Response:
    """The newest emergencies. The disclosure of the names on the page is logged first."""
    newest = emergencies(visit.database, limit=MAX_LISTED)
    students = dict.fromkeys(emergency.student_id for emergency in newest)
    named = [student for student in students if student in visit.scope.students]
    visit.disclosures.record(named, [Category.DIRECTORY])
    staff = staff_names(visit.database)
    return visit.page(
        "emergencies.html",
        status=status if problem else 200,
        emergencies=[_item(visit, emergency, staff) for emergency in newest],
        max_listed=MAX_LISTED,
        form=form,
        problem=problem,
        people=eligible_partner_staff(visit.database, visit.today),
        openable_categories=[
            category for category in Category if category in REQUESTABLE_CATEGORIES
        ],
        min_length=MIN_STATEMENT_LENGTH,
        hours=range(1, MAX_HOURS + 1),
        terms=visit.disclosures.terms(named),
    )


def _item(visit: Visit, emergency: Emergency, staff: Mapping[str, str]) -> EmergencyItem:
    student = visit.lists.roster.get(emergency.student_id)
    organization = visit.organizations.get(emergency.organization_id)
    return EmergencyItem(
        emergency=emergency,
        student=student,
        handle=visit.scope.handle(emergency.student_id) if student else "",
        person=words.capital(words.staff_name(staff, emergency.user_id)),
        organization=organization.name if organization else emergency.organization_id,
        opened_by=words.capital(words.staff_name(staff, emergency.opened_by)),
        is_open=emergency.is_open(visit.now),
        disclosure_count=emergency_disclosure_count(visit.database, emergency),
    )
