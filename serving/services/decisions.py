"""Deciding on a suggestion, by a page or by the API."""

from __future__ import annotations

from records.decisions.decisions import Decision, record_decision
from serving.site.exceptions import StaleSuggestion
from serving.site.visit import Visit
from serving.students.caseload import Suggestion


def decide_on_suggestion(
    visit: Visit,
    student: str,
    support: str,
    *,
    action: str,
    reason: str,
    rank: int,
    model_sha256: str,
) -> Decision:
    """Record a decision about a suggestion as it is shown now.

    Args:
        rank: the suggestion's place on the list that was decided on, from 1.
        model_sha256: the model that made that list.

    Raises:
        StaleSuggestion: another suggestion, rank or model is shown now.
        DecisionError: the action or the reason is not allowed.
    """
    suggestion = current_suggestion(visit, student, support)
    model = visit.champion
    if (
        suggestion is None
        or model is None
        or suggestion.rank != rank
        or model.sha256 != model_sha256
    ):
        raise StaleSuggestion
    shown = {
        "summary": suggestion.summary,
        "benefit": suggestion.benefit,
        "lower": suggestion.lower,
        "upper": suggestion.upper,
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
        shown,
        visit.now,
    )


def current_suggestion(visit: Visit, student: str, support: str) -> Suggestion | None:
    """The suggestion of this support as the student's page shows it now, if it does."""
    advice = visit.lists.caseload.advice.get(student)
    suggestions = advice.suggestions if advice else ()
    return next((shown for shown in suggestions if shown.support == support), None)
