"""What a route asks for: the visit, the role it is for, and the student that its path names."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Any

from fastapi import Depends, HTTPException, Request

from records.people.accounts import session_viewer
from records.people.viewer import NotInScope, Role
from serving.site.exceptions import SignInRequired
from serving.site.security import cookie_name
from serving.site.site import Site
from serving.site.visit import Visit


def current_visit(request: Request) -> Iterator[Visit]:
    """The visit of whoever is signed in.

    Raises:
        SignInRequired: nobody is.
    """
    site: Site = request.app.state.site
    token = request.cookies.get(cookie_name(site.config.secure_cookies))
    found = session_viewer(site.config.database, token, site.config.clock()) if token else None
    if found is None:
        raise SignInRequired
    visit = Visit(site, request, *found)
    try:
        yield visit
    finally:
        visit.close()


CurrentVisit = Annotated[Visit, Depends(current_visit)]


def require_role(*roles: Role) -> Any:
    """The visit of somebody in one of these roles; for everybody else the page does not exist."""

    def allowed(visit: CurrentVisit) -> Visit:
        if visit.viewer.role not in roles:
            raise HTTPException(404)
        return visit

    return Depends(allowed)


DistrictAdminVisit = Annotated[Visit, require_role(Role.DISTRICT_ADMIN)]


def student_in_scope(handle: str, visit: CurrentVisit) -> str:
    """The student behind the handle of the path, before anything else of the request is looked at.

    Raises:
        NotInScope: the same whether they exist or not.
    """
    return visit.scope.student_of(handle)


StudentInScope = Annotated[str, Depends(student_in_scope)]


def student_in_log(handle: str, visit: DistrictAdminVisit) -> str:
    """The student behind the handle, for an officer who asks for the looks at them, whether they
    have left or not.

    Raises:
        NotInScope: neither the records nor the log name them.
    """
    try:
        return visit.scope.student_of(handle)
    except NotInScope:
        return visit.log_scope.student_of(handle)


StudentInLog = Annotated[str, Depends(student_in_log)]


def student_in_full_scope(handle: str, visit: CurrentVisit) -> str:
    """The student behind the handle, where an emergency may have opened the record too.

    Raises:
        NotInScope: the same whether they exist or not.
    """
    return visit.whole_scope.student_of(handle)


StudentInFullScope = Annotated[str, Depends(student_in_full_scope)]


AuditorVisit = Annotated[
    Visit, require_role(Role.EQUITY_REVIEWER, Role.DATA_SCIENTIST, Role.DISTRICT_ADMIN)
]
