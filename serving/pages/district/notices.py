"""Notices: what the district's administrators must look at, until one of them has."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Form
from pydantic import BaseModel, ConfigDict
from starlette.responses import RedirectResponse, Response

from records.people.accounts import staff_names
from records.people.notices import mark_seen, notices
from serving.site.dependencies import DistrictAdminVisit

router = APIRouter()


class SeenForm(BaseModel):
    model_config = ConfigDict(extra="forbid")
    csrf: str


@router.get("/notices")
def notices_page(visit: DistrictAdminVisit) -> Response:
    return visit.page(
        "notices.html", notices=notices(visit.database), staff=staff_names(visit.database)
    )


@router.post("/notices/{number}/seen")
def seen(number: int, visit: DistrictAdminVisit, form: Annotated[SeenForm, Form()]) -> Response:
    visit.check_csrf(form.csrf)
    mark_seen(visit.database, visit.viewer, number, visit.now)
    return RedirectResponse("/notices", 303)
