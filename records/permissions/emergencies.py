"""Access to one student's record in a health or safety emergency (34 CFR 99.31(a)(10), 99.36).

One person sees certain categories of one student's record for a few hours. Whoever opens them
states the threat and why these categories are needed (99.32(a)(5)); the district is notified in the
same transaction, or nothing opens. The record can only be read: it gets no alerts, suggestions or
place in lists. Access ends by the clock.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from datetime import date, datetime, timedelta

from sqlalchemy import select
from sqlalchemy.orm import Session

from records.canonical.schema import Category
from records.database.engine import Database
from records.database.tables import EmergencyRow, OrganizationRow, StaffRow
from records.permissions.agreements import PER_STUDENT_BASES, agreements_in_force
from records.staff.district_admins import is_district_admin
from records.staff.notices import add_notice
from records.staff.viewer import DISTRICT, EMERGENCY_CATEGORIES, PARTNER_ROLES, Role, Scope, Viewer
from records.system.clock import add_elapsed, to_utc

MIN_STATEMENT_LENGTH = 20
"""In characters, for the threat and for the need: enough to require thought, little enough for a
hurry."""

MAX_HOURS = 4
"""Long enough to find or treat a child. Whoever needs more opens it again, with another notice."""

REQUESTABLE_CATEGORIES = EMERGENCY_CATEGORIES - {Category.SCHEDULE}
"""What can be requested. Class schedules are in no table, so to offer them would mislead."""


class EmergencyError(ValueError):
    """Access that cannot be opened or ended; the message says why, and nothing was changed."""


@dataclass(frozen=True)
class Emergency:
    """One emergency: who may read which categories of whom, from when to when, and why.

    `organization_id` is that of `user_id`, the person who may read; `opened_by` is that person or a
    district administrator. `opened_utc` and `ends_utc` decide; the other times are local.
    """

    number: int
    opened_at: datetime
    ends_at: datetime
    opened_utc: datetime
    ends_utc: datetime
    ended_at: datetime | None
    opened_by: str
    user_id: str
    organization_id: str
    student_id: str
    categories: frozenset[Category]
    threat: str
    reason: str

    @property
    def until(self) -> datetime:
        """The local time at which it ended or will end."""
        return self.ended_at or self.ends_at

    def is_open(self, now: datetime) -> bool:
        """Whether the record may be read at this local time."""
        return self.ended_at is None and self.opened_utc <= to_utc(now) < self.ends_utc


def open_emergency(
    database: Database,
    scope: Scope,
    student_id: str,
    *,
    categories: Collection[Category],
    threat: str,
    reason: str,
    hours: float,
    now: datetime,
    user_id: str | None = None,
) -> Emergency:
    """Open categories of one student's record to one person, and notify the district.

    A caseworker opens them for themselves, for a student whom an agreement shows them. A district
    administrator opens them for `user_id`, one of `eligible_partner_staff`, for any student of the
    district.

    Args:
        scope: that of whoever opens.
        threat: what is happening, so that others can understand it later.
        reason: why these categories are needed.
        hours: how long they stay open, at most `MAX_HOURS`.

    Raises:
        NotInScope: the student is not in the scope by an agreement.
        EmergencyError: something is missing, too long or can never be opened, or this person may
            not open it.
    """
    scope.without_emergencies.handle(student_id)
    threat, reason, requested = threat.strip(), reason.strip(), frozenset(categories)
    _check(threat, reason, requested, hours)
    person = _reader(database, scope, student_id, requested, user_id, now.date())
    with database.session() as session:
        row = EmergencyRow(
            opened_at=now,
            ends_at=add_elapsed(now, timedelta(hours=hours)),
            ended_at=None,
            opened_by=scope.viewer.user_id,
            user_id=person.user_id,
            organization_id=person.organization_id,
            student_id=student_id,
            categories=requested,
            threat=threat,
            reason=reason,
        )
        session.add(row)
        session.flush()
        add_notice(
            session,
            "emergency",
            _notice_text(session, scope.viewer, person, row.ends_at),
            "/emergencies",
            now,
        )
        return _emergency(row)


def end_emergency(database: Database, viewer: Viewer, number: int, now: datetime) -> Emergency:
    """End an emergency early, which the district may, and whoever opened it.

    Raises:
        EmergencyError: there is none with this number, it is over, or they may not end it.
    """
    with database.session() as session:
        row = session.get(EmergencyRow, number)
        if row is None or not (
            row.opened_by == viewer.user_id or is_district_admin(session, viewer)
        ):
            raise EmergencyError("There is no emergency of yours to end.")
        if not _emergency(row).is_open(now):
            raise EmergencyError("This emergency is over.")
        row.ended_at = now
        return _emergency(row)


def emergencies(
    database: Database,
    *,
    student_id: str | None = None,
    user_id: str | None = None,
    limit: int | None = None,
) -> list[Emergency]:
    """The newest emergencies first: all, those of one student, or those opened to one person."""
    query = select(EmergencyRow).order_by(EmergencyRow.id.desc()).limit(limit)
    if student_id is not None:
        query = query.where(EmergencyRow.student_id == student_id)
    if user_id is not None:
        query = query.where(EmergencyRow.user_id == user_id)
    with database.session() as session:
        return [_emergency(row) for row in session.scalars(query)]


def in_force(database: Database, viewer: Viewer, now: datetime) -> list[Emergency]:
    """The emergencies that are open to one person at a moment, the oldest first.

    Only in the organization in which the record was opened to them.
    """
    query = (
        select(EmergencyRow)
        .where(
            EmergencyRow.user_id == viewer.user_id,
            EmergencyRow.organization_id == viewer.organization_id,
        )
        .order_by(EmergencyRow.id)
    )
    with database.session() as session:
        opened = [_emergency(row) for row in session.scalars(query)]
    return [emergency for emergency in opened if emergency.is_open(now)]


def eligible_partner_staff(database: Database, today: date) -> list[Viewer]:
    """The active staff for whom the district may open an emergency, by organization and name.

    Staff of an organization without an agreement on individual records are not among them:
    evaluations and studies open nobody's record, not even in an emergency.
    """
    query = select(StaffRow).where(StaffRow.active, StaffRow.organization_id != DISTRICT)
    with database.session() as session:
        people = [
            Viewer(row.user_id, row.login, row.name, Role(row.role), row.organization_id)
            for row in session.scalars(query.order_by(StaffRow.organization_id, StaffRow.name))
        ]
    eligible = {
        organization
        for organization in {person.organization_id for person in people}
        if any(
            agreement.legal_basis in PER_STUDENT_BASES
            for agreement in agreements_in_force(database, organization, today)
        )
    }
    return [
        person
        for person in people
        if person.organization_id in eligible and person.role in PARTNER_ROLES
    ]


def _check(threat: str, reason: str, requested: frozenset[Category], hours: float) -> None:
    if len(threat) < MIN_STATEMENT_LENGTH:
        raise EmergencyError(
            f"Describe what is happening in at least {MIN_STATEMENT_LENGTH} characters."
        )
    if len(reason) < MIN_STATEMENT_LENGTH:
        raise EmergencyError(
            f"Explain in at least {MIN_STATEMENT_LENGTH} characters why these parts of the record"
            " are needed."
        )
    if not 0 < hours <= MAX_HOURS:
        raise EmergencyError(f"A record can be opened for at most {MAX_HOURS} hours.")
    if not requested:
        raise EmergencyError("Please choose which parts of the record are needed.")
    if excluded := requested - REQUESTABLE_CATEGORIES:
        names = ", ".join(sorted(category.replace("_", " ") for category in excluded))
        raise EmergencyError(f"Emergency access does not include: {names}.")


def _reader(
    database: Database,
    scope: Scope,
    student_id: str,
    requested: frozenset[Category],
    user_id: str | None,
    today: date,
) -> Viewer:
    """The person who is to read the record: the caseworker, or whom the district chose."""
    viewer = scope.viewer
    if viewer.role is Role.CASEWORKER and user_id is None:
        if requested <= scope.without_emergencies.categories(student_id):
            raise EmergencyError("You see these parts of the record already, without an emergency.")
        return viewer
    with database.session() as session:
        opens_for_district = is_district_admin(session, viewer)
    if not opens_for_district:
        raise EmergencyError(
            "Only a caseworker, for themselves, or a district administrator opens a record for an "
            "emergency."
        )
    for person in eligible_partner_staff(database, today):
        if person.user_id == user_id:
            return person
    raise EmergencyError(
        "Please choose who is to see the record: somebody active at a partner whose agreement "
        "opens students' records."
    )


def _notice_text(session: Session, opener: Viewer, person: Viewer, until: datetime) -> str:
    organization = session.get_one(OrganizationRow, person.organization_id).name
    ending = f"for an emergency, until {until:%H:%M} on {until.day} {until:%B}."
    if opener.user_id == person.user_id:
        return f"{person.name} of {organization} opened parts of a student's record {ending}"
    return (
        f"{opener.name} gave {person.name} of {organization} access to parts of a student's record"
        f" {ending}"
    )


def _emergency(row: EmergencyRow) -> Emergency:
    return Emergency(
        row.id,
        row.opened_at,
        row.ends_at,
        row.opened_utc,
        row.ends_utc,
        row.ended_at,
        row.opened_by,
        row.user_id,
        row.organization_id,
        row.student_id,
        row.categories,
        row.threat,
        row.reason,
    )
