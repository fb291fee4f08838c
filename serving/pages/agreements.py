"""Agreements as anybody can read them: a partner's own, or all of them for the district."""

from __future__ import annotations

from datetime import date

from fastapi import APIRouter, HTTPException
from starlette.responses import Response

from records.agreements import StoredAgreement, all_agreements
from serving import words
from serving.context import SignedIn, Visit

router = APIRouter()


@router.get("/agreements")
def agreements_page(visit: SignedIn) -> Response:
    stored = visible_agreements(visit)
    return visit.page("agreements.html", agreements=[(one.agreement, state(one, visit.today)) for one in stored])


@router.get("/agreements/{agreement_id}")
def agreement_page(agreement_id: str, visit: SignedIn) -> Response:
    for one in visible_agreements(visit):
        if one.agreement.agreement_id == agreement_id:
            programs = [visit.program_names.get(program, program) for program in sorted(one.agreement.programs)]
            return visit.page("agreement.html", agreement=one.agreement, state=state(one, visit.today),
                              programs=programs)  # fmt: skip
    raise HTTPException(404)


def visible_agreements(visit: Visit) -> list[StoredAgreement]:
    """The organisation's own agreements; the district's staff see all."""
    return all_agreements(visit.database, None if visit.of_district else visit.viewer.organization_id)


def state(stored: StoredAgreement, today: date) -> str:
    """In a few words, whether an agreement counts today."""
    agreement = stored.agreement
    if stored.revoked_at is not None:
        return f"Revoked on {words.day(stored.revoked_at)}"
    if today < agreement.start:
        return f"Starts on {words.day(agreement.start)}"
    return f"Ended on {words.day(agreement.end)}" if today > agreement.end else "In force"
