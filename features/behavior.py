"""Features of discipline incidents.

They are shown where granted, and read by a model only where a district opts in.
"""

from __future__ import annotations

from datetime import timedelta

from records.access.expressions import Day, TableExpr, date_of, table
from records.access.scoped_records import ScopedRecords
from records.canonical.columns import BehaviorIncidents

_YEAR, _RECENT = timedelta(days=365), timedelta(days=60)


def behavior(records: ScopedRecords, as_of: Day) -> TableExpr:
    """One row a student with an incident in the 365 days up to `as_of`."""
    incidents = table(records, BehaviorIncidents.TABLE)
    day = incidents[BehaviorIncidents.DATE]
    incidents = incidents.filter(day <= date_of(as_of), day > date_of(as_of - _YEAR))
    recent = incidents[BehaviorIncidents.DATE] > date_of(as_of - _RECENT)
    return incidents.group_by(BehaviorIncidents.STUDENT_ID).aggregate(
        incidents_60=recent.cast("int64").sum(),
        incidents_year=incidents.count(),
        days_removed_year=incidents[BehaviorIncidents.DAYS_REMOVED].sum().fill_null(0),
    )
