"""Features of partners' services, as far as other partners' services may be seen."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from records.access.scoped_records import ScopedRecords
from records.snapshots.queries import DateLike, as_date


def active_programs(records: ScopedRecords, as_of: DateLike) -> Any:
    """Programs that the student takes part in on `as_of`."""
    rows, day = records.table("service_enrollments"), as_date(as_of)
    active = rows.filter(
        rows["start_date"] <= day, rows["end_date"].isnull() | (rows["end_date"] > day)
    )
    return active.group_by("student_id").aggregate(services_active=active["program_id"].nunique())


def recent_sessions(records: ScopedRecords, as_of: DateLike) -> Any:
    """Sessions attended in the 60 days up to `as_of`."""
    rows, first = records.table("service_sessions"), as_of - timedelta(days=60)
    recent = rows.filter(rows["date"] <= as_date(as_of), rows["date"] > as_date(first))
    return recent.group_by("student_id").aggregate(
        service_sessions_60=recent["attended"].cast("int64").sum()
    )
