"""Taking the revocation of an agreement back, which only a district administrator does, on purpose
and with a reason.

A revocation lasts: a newer text does not end it by the way. What comes back is a newer version, and
the revoked ones stay revoked, so that the register keeps both what was revoked when and who took it
back why.
"""

from __future__ import annotations

from datetime import datetime

from records.database.engine import Database
from records.people.district_admins import require_district_admin
from records.people.viewer import Viewer
from records.permissions.agreements import Agreement, Reinstatement, save_agreement


def reinstate(
    database: Database, agreement: Agreement, officer: Viewer, reason: str, now: datetime
) -> None:
    """Store a newer version of a revoked agreement, so that it counts from the next request on.

    Raises:
        NotADistrictAdmin: the officer does not act for the district.
        AgreementError: the agreement is not revoked, the version is not newer, or no reason is
            given.
    """
    with database.session() as session:
        require_district_admin(session, officer, "take a revocation back")
    save_agreement(database, agreement, Reinstatement(now, officer.user_id, reason.strip()))
