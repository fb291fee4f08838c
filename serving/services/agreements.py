"""Which agreements somebody may read."""

from __future__ import annotations

from records.permissions.agreements import StoredAgreement, latest_agreements
from serving.site.visit import Visit


def visible_agreements(visit: Visit) -> list[StoredAgreement]:
    """The newest version of each agreement of the viewer's organization; all, for the district."""
    organization = None if visit.is_district_staff else visit.viewer.organization_id
    return latest_agreements(visit.database, organization)
