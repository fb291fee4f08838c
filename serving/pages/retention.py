"""What was destroyed and what should have been: certificates, agreements past their day, copies kept elsewhere."""

from __future__ import annotations

from fastapi import APIRouter, HTTPException
from starlette.responses import PlainTextResponse, Response

from records.retention import backups, certificates, overdue, unfinished
from serving.context import ForDistrict

router = APIRouter()


@router.get("/retention")
def retention_page(visit: ForDistrict) -> Response:
    return visit.page("retention.html", late=overdue(visit.database, visit.today),
                      begun=unfinished(visit.database), certificates=certificates(visit.database),
                      copies=backups(visit.database))  # fmt: skip


@router.get("/retention/certificates/{number}")
def certificate_text(number: int, visit: ForDistrict) -> Response:
    """The certificate as it was written: what its digest is over."""
    for one in certificates(visit.database):
        if one.number == number:
            return PlainTextResponse(one.text)
    raise HTTPException(404)
