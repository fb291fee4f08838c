"""Deciding on a suggestion, by a page or by the API."""

from __future__ import annotations

from records.decisions.decisions import Decision, record_decision
from serving.site.exceptions import StaleSuggestion
from serving.site.visit import Visit
from serving.students.caseload import Suggestion


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
    advice = visit.lists.caseload.advice.get(student)
    return (
        next((one for one in advice.suggestions if one.support == support), None)
        if advice
        else None
    )
