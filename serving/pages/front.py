"""The front page sends each person to the first page of their role."""

from __future__ import annotations

from fastapi import APIRouter
from starlette.responses import RedirectResponse, Response

from serving.site.dependencies import CurrentVisit
from serving.site.navigation import navigation

router = APIRouter()


@router.get("/")
def front(visit: CurrentVisit) -> Response:
    path, _ = navigation(visit.viewer.role)[0].pages[0]
    return RedirectResponse(path, 303)
