"""The district's local time, and spans of hours that daylight saving time does not change.

Handrail stores the district's local time, which is what people read. A span of hours is counted in
UTC: when clocks go back an hour occurs twice, and when they go forward an hour does not occur.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta


def to_utc(local: datetime) -> datetime:
    """A local time in UTC, without a zone; of an hour that occurs twice, `fold` says which.

    Args:
        local: the district's local time, without a zone; the machine's own zone is the district's.
    """
    return local.astimezone(UTC).replace(tzinfo=None)


def add_elapsed(local: datetime, span: timedelta) -> datetime:
    """The local time after a span of elapsed time.

    Args:
        local: the district's local time, without a zone.
    """
    return datetime.fromtimestamp(local.timestamp() + span.total_seconds())
