"""Features of partners' services, as far as other partners' services may be seen."""

from __future__ import annotations

from datetime import date, timedelta
from typing import Any

import ibis

from records.scope import ScopedRecords


def enrollments(records: ScopedRecords, as_of: date) -> Any:
    """Programs that the student takes part in on `as_of`."""
    rows, day = records.table("service_enrollments"), ibis.date(as_of.isoformat())
    active = rows.filter(rows["start_date"] <= day, rows["end_date"].isnull() | (rows["end_date"] > day))
    return active.group_by("student_id").aggregate(services_active=active["program_id"].nunique())


def sessions(records: ScopedRecords, as_of: date) -> Any:
    """Sessions attended in the 60 days up to `as_of`."""
    rows, first = records.table("service_sessions"), as_of - timedelta(days=60)
    recent = rows.filter(rows["date"] <= ibis.date(as_of.isoformat()), rows["date"] > ibis.date(first.isoformat()))
    return recent.group_by("student_id").aggregate(service_sessions_60=recent["attended"].cast("int64").sum())
