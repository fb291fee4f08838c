"""What a route asks for: the visit, the role it is for, and the student that its path names."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Annotated, Any

from fastapi import Depends, HTTPException, Request

from records.staff.sessions import session_viewer
from records.staff.viewer import PARTNER_ROLES, NotInScope, Role
from serving.site.exceptions import SignInRequired
from serving.site.navigation import AUDITOR_ROLES, PLACEMENT_ROLES
from serving.site.security import cookie_name
from serving.site.site import Site
from serving.site.visit import Visit


def current_visit(request: Request) -> Iterator[Visit]:
    """The visit of whoever is signed in; it is closed once the response is made.

    Raises:
        SignInRequired: nobody is signed in.
    """
    site: Site = request.app.state.site
    token = request.cookies.get(cookie_name(site.config.secure_cookies))
    session = session_viewer(site.config.database, token, site.config.clock()) if token else None
    if session is None:
        raise SignInRequired
    viewer, csrf = session
    visit = Visit(site, request, viewer, csrf)
    try:
        yield visit
    finally:
        visit.close()


CurrentVisit = Annotated[Visit, Depends(current_visit)]


def require_role(roles: Iterable[Role]) -> Any:
    """The visit of somebody in one of these roles; for everybody else the page does not exist."""
    allowed = frozenset(roles)

    def visit_in_role(visit: CurrentVisit) -> Visit:
        if visit.viewer.role not in allowed:
            raise HTTPException(404)
        return visit

    return Depends(visit_in_role)


PartnerVisit = Annotated[Visit, require_role(PARTNER_ROLES)]
CaseworkerVisit = Annotated[Visit, require_role([Role.CASEWORKER])]
PlannerVisit = Annotated[Visit, require_role(PLACEMENT_ROLES)]
AuditorVisit = Annotated[Visit, require_role(AUDITOR_ROLES)]
ReviewerVisit = Annotated[Visit, require_role([Role.EQUITY_REVIEWER])]
DataVisit = Annotated[Visit, require_role([Role.DISTRICT_ADMIN, Role.DATA_SCIENTIST])]
DistrictAdminVisit = Annotated[Visit, require_role([Role.DISTRICT_ADMIN])]


def student_in_scope(handle: str, visit: CurrentVisit) -> str:
    """The ID of the student behind the handle in the path, read before the rest of the request.

    Raises:
        NotInScope: no such student, or one whom this viewer may not see; nobody can tell which.
    """
    return visit.scope.student_for_handle(handle)


def student_in_full_scope(handle: str, visit: CurrentVisit) -> str:
    """The ID of the student behind the handle, also where only an emergency opens the record.

    Raises:
        NotInScope: no such student, or one whom this viewer may not see; nobody can tell which.
    """
    return visit.full_scope.student_for_handle(handle)


def student_in_log(handle: str, visit: DistrictAdminVisit) -> str:
    """The ID of the student behind the handle, for a district administrator who asks who viewed
    them; students who have left the district are found too.

    Raises:
        NotInScope: neither the records nor the log name them.
    """
    try:
        return visit.scope.student_for_handle(handle)
    except NotInScope:
        return visit.disclosure_log_scope.student_for_handle(handle)


StudentInScope = Annotated[str, Depends(student_in_scope)]
StudentInFullScope = Annotated[str, Depends(student_in_full_scope)]
StudentInLog = Annotated[str, Depends(student_in_log)]
