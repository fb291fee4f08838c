"""The check that somebody is an active district administrator, made again at each act."""

from __future__ import annotations

from sqlalchemy.orm import Session

from records.database.tables import StaffRow
from records.staff.viewer import DISTRICT, Role, Viewer
from records.system.errors import UserError


class NotADistrictAdmin(UserError, ValueError):
    """The person does not act for the district; nothing was changed."""


def is_district_admin(session: Session, viewer: Viewer) -> bool:
    """Whether somebody is an active district administrator now.

    Their role when they signed in does not count.
    """
    row = session.get(StaffRow, viewer.user_id)
    return (
        row is not None
        and row.active
        and (row.role, row.organization_id) == (Role.DISTRICT_ADMIN, DISTRICT)
    )


def require_district_admin(session: Session, viewer: Viewer, act: str = "do this") -> None:
    """Refuse everybody who is not an active district administrator.

    Args:
        act: completes the message "only they may ...".

    Raises:
        NotADistrictAdmin: they are not.
    """
    if not is_district_admin(session, viewer):
        raise NotADistrictAdmin(
            f"{viewer.login} is not an active district administrator: only they may {act}"
        )
