"""What the last loads read, kept and left out: counts and file names, never a student."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter
from starlette.responses import Response

from records.scope import Role
from serving.context import Visit, only

router = APIRouter()


@router.get("/data")
def data_page(visit: Annotated[Visit, only(Role.DISTRICT_ADMIN, Role.DATA_SCIENTIST)]) -> Response:
    manifest = visit.snapshot.manifest
    return visit.page("data.html", sources=manifest["sources"], rows=manifest["rows"], snapshot=visit.snapshot.id)
