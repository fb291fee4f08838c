"""One student: alerts, suggested supports, what was decided, and the parts of the record that may
be seen.
"""

from __future__ import annotations

from typing import Annotated, Literal

from fastapi import APIRouter, Form
from pydantic import BaseModel, ConfigDict, Field
from starlette.responses import RedirectResponse, Response

from records.decisions.decisions import decisions_for_student
from records.people.accounts import staff_names
from records.people.viewer import Role
from serving.rendering import charts
from serving.services.decisions import decide_on_suggestion
from serving.services.shown_categories import ALERT_CATEGORIES, STUDENT_PAGE_CATEGORIES
from serving.site.dependencies import CurrentVisit, StudentInFullScope, StudentInScope
from serving.students.record import read_student

router = APIRouter()
Done = Literal["", "accepted", "dismissed"]


class DecisionForm(BaseModel):
    model_config = ConfigDict(extra="forbid")
    csrf: str
    action: str
    reason: str = Field("", max_length=200)
    detail: str = Field("", max_length=600)
    rank: int
    model_sha256: str


@router.get("/students/{handle}")
def student_page(
    handle: str, student: StudentInFullScope, visit: CurrentVisit, done: Done = ""
) -> Response:
    names = {key: organization.name for key, organization in visit.organizations.items()}
    record = read_student(visit.whole_record(student), student, visit.as_of, names)
    agreed = student in visit.scope.students
    supports = visit.scope.supports(student)
    alerted = bool(visit.scope.categories(student) & ALERT_CATEGORIES)
    advice = visit.lists.caseload.advice.get(student) if supports else None
    suggestions = advice.suggestions if advice else ()
    visit.disclosures.record_whole(student, STUDENT_PAGE_CATEGORIES)
    if supports:
        visit.lists.record_impressions([student])
    return visit.page(
        "student.html",
        listed=visit.lists.entry(student),
        handle=handle,
        record=record,
        alerts=visit.lists.caseload.alerts.get(student, ()) if alerted else (),
        shows_alerts=alerted,
        suggestions=suggestions,
        silence=advice.silence if advice else "",
        suggests=bool(supports),
        by_lot=bool(advice and advice.open_to_draw),
        decided=decisions_for_student(visit.database, visit.scope, student) if agreed else [],
        model_sha256=visit.model[0].sha256 if visit.model[0] else "",
        staff=staff_names(visit.database),
        done=done,
        emergencies=[one for one in visit.emergencies if one.student_id == student],
        may_open=agreed and visit.viewer.role is Role.CASEWORKER,
        stamp=visit.disclosures.stamp_whole(student),
        charts=charts,
        scale=max((one.upper for one in suggestions), default=1.0),
        point=visit.point,
    )


@router.post("/students/{handle}/suggestions/{support}")
def decide(
    handle: str,
    support: str,
    student: StudentInScope,
    visit: CurrentVisit,
    form: Annotated[DecisionForm, Form()],
) -> Response:
    visit.check_csrf(form.csrf)
    reason = ": ".join(part.strip() for part in (form.reason, form.detail) if part.strip())
    decide_on_suggestion(visit, student, support, form.action, reason, form.rank, form.model_sha256)
    return RedirectResponse(f"/students/{handle}?done={form.action}#supports", 303)
