"""The district's clock on the wall, and instants that go on when it is put forward or back.

Handrail keeps the district's local time, which is what people read. A span of hours is counted in
instants: on the night on which clocks go back the same hour comes twice, and on the other one an
hour does not come.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta


def to_utc(local: datetime) -> datetime:
    """The same moment in UTC, without a zone. Of an hour that comes twice, `fold` says which one is
    meant.

    Args:
        local: the district's local time, without a zone; the machine's own zone is the district's.
    """
    return local.astimezone(UTC).replace(tzinfo=None)


def add_elapsed(local: datetime, span: timedelta) -> datetime:
    """What the clock shows when so much time has really passed."""
    return datetime.fromtimestamp(local.timestamp() + span.total_seconds())
