"""The application: pages for people, JSON answers under /api/v1, one security layer around both.

Nothing is shown that `records.access.scope` does not let through, and nothing of a student before
the disclosure log has it.
"""

from __future__ import annotations

from pathlib import Path

from fastapi import FastAPI
from starlette.requests import Request
from starlette.responses import Response
from starlette.staticfiles import StaticFiles

from serving.api import v1
from serving.pages import front, sign_in
from serving.pages.casework import placement, student, students
from serving.pages.district import agreements, consents, data_loads, identity_matches, notices
from serving.pages.models import audits, drift, effects
from serving.pages.oversight import disclosures, emergencies, legal_demands, retention
from serving.site.error_responses import add_exception_handlers, error_response
from serving.site.security import SecurityMiddleware
from serving.site.site import Site, SiteConfig

__all__ = ["SiteConfig", "create_app"]
_PAGES = (
    front,
    sign_in,
    students,
    student,
    placement,
    agreements,
    consents,
    disclosures,
    identity_matches,
    legal_demands,
    emergencies,
    notices,
    retention,
    audits,
    drift,
    effects,
    data_loads,
)


def create_app(config: SiteConfig) -> FastAPI:
    """The application of one site. It reads no clock, environment or file but those of `config`."""
    app = FastAPI(title="Handrail", version="1", openapi_url=None, docs_url=None, redoc_url=None)
    app.state.site = site = Site(config)
    for page in _PAGES:
        app.include_router(page.router, include_in_schema=False)
    app.include_router(v1.router)
    app.mount("/static", StaticFiles(directory=Path(__file__).parent / "static"), name="static")
    add_exception_handlers(app)

    def error_page(request: Request, status: int) -> Response:
        request.scope.setdefault("app", app)
        return error_response(request, status)

    app.add_middleware(SecurityMiddleware, error_page=error_page)
    site.approved_models.start(config.clock())
    return app
