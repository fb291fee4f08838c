"""What was destroyed and what should have been: certificates, overdue agreements, backups."""

from __future__ import annotations

import json
from datetime import date

from fastapi import APIRouter, HTTPException
from starlette.responses import Response

from records.destruction.backups import backups
from records.destruction.certificates import Certificate, certificates, overdue_destructions
from records.permissions.destructions_in_progress import unfinished_destructions
from serving.site.dependencies import DistrictAdminVisit
from serving.site.visit import Visit

router = APIRouter()


@router.get("/retention")
def retention_page(visit: DistrictAdminVisit) -> Response:
    return visit.page(
        "retention.html",
        overdue=overdue_destructions(visit.database, visit.today),
        unfinished=unfinished_destructions(visit.database),
        certificates=certificates(visit.database),
        backups=backups(visit.database),
    )


@router.get("/retention/certificates/{number}.json")
def certificate_text(number: int, visit: DistrictAdminVisit) -> Response:
    """The certificate as it was written: what its digest is over."""
    return Response(_find_certificate(visit, number).text, media_type="application/json")


@router.get("/retention/certificates/{number}")
def certificate_page(number: int, visit: DistrictAdminVisit) -> Response:
    """The facts of the certificate, to be read and printed."""
    certificate = _find_certificate(visit, number)
    facts = json.loads(certificate.text)
    for copy in facts["copies_that_still_hold_it"]:
        copy["expires_on"] = date.fromisoformat(copy["expires_on"])
    return visit.page("certificate.html", certificate=certificate, facts=facts)


def _find_certificate(visit: Visit, number: int) -> Certificate:
    for certificate in certificates(visit.database):
        if certificate.number == number:
            return certificate
    raise HTTPException(404)
