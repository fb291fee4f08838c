"""Reinstating a revoked agreement, which only a district administrator may do, with a reason.

A newer version alone does not end a revocation. Reinstating stores a newer version, and the revoked
ones stay revoked, so that the register shows when each was revoked and who reinstated it why.
"""

from __future__ import annotations

from datetime import datetime

from records.database.engine import Database
from records.permissions.agreements import Agreement, Reinstatement, save_agreement
from records.staff.district_admins import require_district_admin
from records.staff.viewer import Viewer


def reinstate(
    database: Database, agreement: Agreement, admin: Viewer, reason: str, now: datetime
) -> None:
    """Store a newer version of a revoked agreement, in force from the next request on.

    Raises:
        NotADistrictAdmin: they do not act for the district.
        AgreementError: the agreement is not revoked, the version is not newer, or no reason is
            given.
    """
    with database.session() as session:
        require_district_admin(session, admin, "undo a revocation")
    save_agreement(database, agreement, Reinstatement(now, admin.user_id, reason.strip()))
