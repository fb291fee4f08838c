"""The front page sends each person to their own."""

from __future__ import annotations

from fastapi import APIRouter
from starlette.responses import RedirectResponse, Response

from serving.site.dependencies import CurrentVisit
from serving.site.navigation import navigation

router = APIRouter()


@router.get("/")
def front(visit: CurrentVisit) -> Response:
    return RedirectResponse(navigation(visit.viewer.role)[0].pages[0][0], 303)
