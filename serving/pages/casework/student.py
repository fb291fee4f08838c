"""One student: alerts, suggested supports, what was decided, and the parts of the record that may
be seen.
"""

from __future__ import annotations

from typing import Annotated, Literal

from fastapi import APIRouter, Form
from pydantic import BaseModel, ConfigDict, Field
from starlette.responses import RedirectResponse, Response

from records.canonical.schema import Category
from records.decisions.decisions import Decision, decisions_for_student, record_decision
from records.people.accounts import staff_names
from records.people.viewer import Role
from serving.pages.casework.students import ALERT_CATEGORIES
from serving.site import charts
from serving.site.context import (
    CurrentVisit,
    StaleSuggestion,
    StudentInFullScope,
    StudentInScope,
    Visit,
)
from serving.students.caseload import Suggestion
from serving.students.record import read_student

router = APIRouter()
Done = Literal["", "accepted", "dismissed"]
STUDENT_PAGE_CATEGORIES = frozenset(Category) - {Category.SCHEDULE}
"""What the page shows where scope allows it: class schedules are not on it."""


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
    advice = visit.caseload.advice.get(student) if supports else None
    suggestions = advice.suggestions if advice else ()
    visit.disclose_whole(student, STUDENT_PAGE_CATEGORIES)
    if supports:
        visit.write_down_lists([student])
    return visit.page(
        "student.html",
        listed=visit.listed(student),
        handle=handle,
        record=record,
        alerts=visit.caseload.alerts.get(student, ()) if alerted else (),
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
        stamp=visit.stamp_whole(student),
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


def decide_on_suggestion(
    visit: Visit, student: str, support: str, action: str, reason: str, rank: int, model_sha256: str
) -> Decision:
    """Record a decision about a suggestion as it is shown now.

    Raises:
        StaleSuggestion: another suggestion, rank or model is shown now.
        DecisionError: the action or the reason is not right.
    """
    shown = current_suggestion(visit, student, support)
    model = visit.model[0]
    if shown is None or model is None or shown.rank != rank or model.sha256 != model_sha256:
        raise StaleSuggestion
    seen = {
        "summary": shown.summary,
        "benefit": shown.benefit,
        "lower": shown.lower,
        "upper": shown.upper,
    }
    return record_decision(
        visit.database,
        visit.scope,
        student,
        support,
        action,
        reason,
        model_sha256,
        rank,
        seen,
        visit.now,
    )


def current_suggestion(visit: Visit, student: str, support: str) -> Suggestion | None:
    """The suggestion of this support as the student's page has it now."""
    advice = visit.caseload.advice.get(student)
    return (
        next((one for one in advice.suggestions if one.support == support), None)
        if advice
        else None
    )
