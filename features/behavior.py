"""Features of discipline incidents: shown where granted, a model's input only where a district opts
in.
"""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from records.access.scoped_records import ScopedRecords
from records.snapshots.queries import DateLike, as_date


def behavior(records: ScopedRecords, as_of: DateLike) -> Any:
    """Incidents in 60 and in 365 days up to `as_of`, and days out of class."""
    rows = records.table("behavior_incidents")
    day, year, recent = as_of, as_of - timedelta(days=365), as_of - timedelta(days=60)
    rows = rows.filter(rows["date"] <= as_date(day), rows["date"] > as_date(year))
    return rows.group_by("student_id").aggregate(
        incidents_60=(rows["date"] > as_date(recent)).cast("int64").sum(),
        incidents_year=rows.count(),
        days_removed_year=rows["days_removed"].sum().fill_null(0),
    )
