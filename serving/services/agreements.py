"""Which agreements somebody may read."""

from __future__ import annotations

from records.permissions.agreements import (
    StoredAgreement,
    latest_agreements,
)
from serving.site.visit import Visit


def visible_agreements(visit: Visit) -> list[StoredAgreement]:
    """The organisation's own agreements; the district's staff see all."""
    return latest_agreements(
        visit.database, None if visit.of_district else visit.viewer.organization_id
    )
