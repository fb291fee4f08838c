"""Notices: items for the district to review, open until an administrator marks them as seen."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Form
from starlette.responses import RedirectResponse, Response

from records.staff.accounts import staff_names
from records.staff.notices import mark_seen, notices
from serving.pages.forms import CsrfForm
from serving.site.dependencies import DistrictAdminVisit

router = APIRouter()


@router.get("/notices")
def notices_page(visit: DistrictAdminVisit) -> Response:
    return visit.page(
        "notices.html", notices=notices(visit.database), staff=staff_names(visit.database)
    )


@router.post("/notices/{number}/seen")
def mark_notice_seen(
    number: int, visit: DistrictAdminVisit, form: Annotated[CsrfForm, Form()]
) -> Response:
    visit.check_csrf(form.csrf)
    mark_seen(visit.database, visit.viewer, number, visit.now)
    return RedirectResponse("/notices", 303)
