"""Features of partners' services, as far as the viewer may see other partners' services."""

from __future__ import annotations

from datetime import timedelta

from records.access.expressions import Day, TableExpr, date_of, table
from records.access.scoped_records import ScopedRecords
from records.canonical.columns import ServiceEnrollments, ServiceSessions

_RECENT = timedelta(days=60)


def active_programs(records: ScopedRecords, as_of: Day) -> TableExpr:
    """One row a student in a program on `as_of`: how many programs."""
    enrollments = table(records, ServiceEnrollments.TABLE)
    start, end = (
        enrollments[ServiceEnrollments.START_DATE],
        enrollments[ServiceEnrollments.END_DATE],
    )
    active = enrollments.filter(start <= date_of(as_of), end.isnull() | (end > date_of(as_of)))
    return active.group_by(ServiceEnrollments.STUDENT_ID).aggregate(
        services_active=active[ServiceEnrollments.PROGRAM_ID].nunique()
    )


def recent_sessions(records: ScopedRecords, as_of: Day) -> TableExpr:
    """One row a student with a session in the 60 days up to `as_of`: how many were attended."""
    sessions = table(records, ServiceSessions.TABLE)
    day = sessions[ServiceSessions.DATE]
    recent = sessions.filter(day <= date_of(as_of), day > date_of(as_of - _RECENT))
    return recent.group_by(ServiceSessions.STUDENT_ID).aggregate(
        service_sessions_60=recent[ServiceSessions.ATTENDED].cast("int64").sum()
    )
