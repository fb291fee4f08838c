"""One student: alerts, suggested supports, decisions, and the parts of the record in scope."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from fastapi import APIRouter, Form
from pydantic import Field
from starlette.responses import RedirectResponse, Response

from records.decisions.decisions import decisions_for_student
from records.staff.accounts import staff_names
from records.staff.viewer import Role
from serving.pages.forms import CsrfForm
from serving.rendering import charts
from serving.services.decisions import decide_on_suggestion
from serving.services.shown_categories import STUDENT_PAGE_CATEGORIES
from serving.site.dependencies import CurrentVisit, StudentInFullScope, StudentInScope
from serving.site.visit import Visit
from serving.students.record import read_student

router = APIRouter()
Done = Literal["", "accepted", "dismissed"]


class DecisionForm(CsrfForm):
    action: str
    reason: str = Field("", max_length=200)
    detail: str = Field("", max_length=600)
    rank: int
    model_sha256: str


@router.get("/students/{handle}")
def student_page(
    handle: str, student: StudentInFullScope, visit: CurrentVisit, done: Done = ""
) -> Response:
    organization_names = {key: known.name for key, known in visit.organizations.items()}
    record = read_student(visit.full_record(student), student, visit.as_of, organization_names)
    in_agreement = student in visit.scope.students
    visit.disclosures.record_full_record(student, STUDENT_PAGE_CATEGORIES)
    return visit.page(
        "student.html",
        student=visit.lists.roster_entry(student),
        handle=handle,
        record=record,
        done=done,
        emergencies=[open_ for open_ in visit.emergencies if open_.student_id == student],
        may_open_emergency=in_agreement and visit.viewer.role is Role.CASEWORKER,
        decisions=(
            decisions_for_student(visit.database, visit.scope, student) if in_agreement else []
        ),
        staff=staff_names(visit.database),
        terms=visit.disclosures.full_record_terms(student),
        **_alerts(visit, student),
        **_suggestions(visit, student),
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
    decide_on_suggestion(
        visit,
        student,
        support,
        action=form.action,
        reason=reason,
        rank=form.rank,
        model_sha256=form.model_sha256,
    )
    return RedirectResponse(f"/students/{handle}?done={form.action}#supports", 303)


def _alerts(visit: Visit, student: str) -> dict[str, Any]:
    """What the page shows of alerts, for viewers who see what an alert may rest on."""
    shows_alerts = bool(visit.scope.categories(student) & visit.alert_rules.categories)
    return {
        "shows_alerts": shows_alerts,
        "alerts": visit.lists.caseload.alerts.get(student, ()) if shows_alerts else (),
        "doubt_notes": visit.lists.doubt_notes([student]) if shows_alerts else [],
        "rules_since": visit.site.alert_rules_since(visit.alert_rules, visit.now),
    }


def _suggestions(visit: Visit, student: str) -> dict[str, Any]:
    """What the page shows of suggestions, for viewers whose agreement lists supports. The list is
    logged as an impression.
    """
    supports = visit.scope.supports(student)
    advice = visit.lists.caseload.advice.get(student) if supports else None
    suggestions = advice.suggestions if advice else ()
    if supports:
        visit.lists.record_impressions([student])
    return {
        "shows_suggestions": bool(supports),
        "suggestions": suggestions,
        "no_suggestion_reason": advice.no_suggestion_reason if advice else "",
        "order_can_be_randomized": bool(advice and advice.can_be_randomized),
        "model_sha256": visit.champion.sha256 if visit.champion else "",
        "progress_point": visit.progress_point_text,
        "charts": charts,
        "scale_end": max((suggestion.upper for suggestion in suggestions), default=1.0),
    }
