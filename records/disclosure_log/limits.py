"""How many students' records one person may be shown, and the notice when somebody exceeds it.

Nobody's work needs all students' records, so nobody gets them, the district's administrators
included.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime, time, timedelta

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from records.database.tables import DisclosureRow, NoticeRow, OrganizationRow
from records.disclosure_log.student_references import existing_references
from records.staff.notices import add_notice
from records.staff.viewer import Viewer

BEYOND_LIMIT = "too-many-students"
"""The kind of the notice about a person who requested more students than the limits allow."""


class TooManyStudents(RuntimeError):
    """More students than one person may be shown: nothing is shown, and the district is notified.

    `most` is the limit. `until` is when the day's count starts over; None where one response alone
    is too large, on any day.
    """

    def __init__(self, most: int, until: datetime | None) -> None:
        super().__init__(f"more than {most:,} students {'in one day' if until else 'at once'}")
        self.most = most
        self.until = until


@dataclass(frozen=True)
class DisclosureLimits:
    """How many different students one person may be shown, in one response and in one day.

    A day is a calendar day of the district and counts every response of the site.
    """

    per_response: int = 200
    a_day: int = 1_000


def exceeded_limit(
    session: Session,
    limits: DisclosureLimits,
    viewer: Viewer,
    student_ids: Collection[str],
    now: datetime,
) -> TooManyStudents | None:
    """The limit that showing these students would exceed; None if they may be shown.

    A student whom the viewer has already been shown today is not counted again.
    """
    if len(student_ids) > limits.per_response:
        return TooManyStudents(limits.per_response, None)
    tomorrow = datetime.combine(now.date() + timedelta(days=1), time())
    shown_today = (
        DisclosureRow.user_id == viewer.user_id,
        DisclosureRow.at >= now.date().isoformat(),
        DisclosureRow.at < tomorrow.date().isoformat(),
    )
    # On most days the number of rows is below the limit, and an index alone answers it.
    row_count = session.scalar(select(func.count()).select_from(DisclosureRow).where(*shown_today))
    if (row_count or 0) + len(student_ids) <= limits.a_day:
        return None
    on_the_site = DisclosureRow.route.startswith("/")
    seen_references = set(
        session.scalars(
            select(DisclosureRow.student_ref).where(*shown_today, on_the_site).distinct()
        )
    )
    references = existing_references(session, list(student_ids))
    new_students = sum(references.get(student) not in seen_references for student in student_ids)
    if new_students and len(seen_references) + new_students > limits.a_day:
        return TooManyStudents(limits.a_day, tomorrow)
    return None


def notify_once_a_day(
    session: Session, viewer: Viewer, exceeded: TooManyStudents, now: datetime
) -> None:
    """Add a notice to the district, unless today's notice about this person is already there."""
    path = f"/disclosures?person={viewer.user_id}"
    todays_notice = select(NoticeRow.id).where(
        NoticeRow.kind == BEYOND_LIMIT,
        NoticeRow.path == path,
        NoticeRow.at >= datetime.combine(now, time()),
    )
    if session.scalar(todays_notice.limit(1)) is not None:
        return
    organization = session.get_one(OrganizationRow, viewer.organization_id).name
    period = "in one day" if exceeded.until else "at once"
    add_notice(
        session,
        BEYOND_LIMIT,
        f"{viewer.name} of {organization} requested the records of more than"
        f" {exceeded.most:,} different students {period} and access was blocked."
        " Please follow up: someone else may be using the account.",
        path,
        now,
    )
