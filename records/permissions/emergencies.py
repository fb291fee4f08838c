"""Access opened for a health or safety emergency (34 CFR 99.31(a)(10) and 99.36), and the record
that the law asks for.

One person sees named parts of one student's record for a few hours. Whoever opens it says which
threat is seen and why these parts are needed (99.32(a)(5)); the district is told in the same
transaction, or nothing opens. It opens the record to be read and nothing else: no alert, no
suggestion, no list. `records.access.scope` ends it by the clock.
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
from records.people.district_admins import is_district_admin
from records.people.notices import add_notice
from records.people.viewer import (
    DISTRICT,
    EMERGENCY_CATEGORIES,
    PARTNER_ROLES,
    Role,
    Scope,
    Viewer,
)
from records.permissions.agreements import PER_STUDENT_BASES, agreements_in_force
from records.system.clock import add_elapsed, to_utc

MIN_STATEMENT_LENGTH = 20
"""Of what is said about the threat and about the need: too many to type without thinking, few
enough in a hurry."""

MAX_HOURS = 4
"""Long enough to find or treat a child; whoever needs more opens it again, and the district is told
again."""

REQUESTABLE_CATEGORIES = EMERGENCY_CATEGORIES - {Category.SCHEDULE}
"""What can be asked for. No table holds class schedules: to open them would promise what is not
there."""


class EmergencyError(ValueError):
    """Access that cannot be opened or ended; the message says why in plain words, and nothing was
    changed.
    """


@dataclass(frozen=True)
class Emergency:
    """One opening: for whom, of whom, what, from when to when, and what was said.

    `organization_id` is that of `user_id`, the person who may read; `opened_by` may be the
    district.
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
        """When it ended or will end."""
        return self.ended_at or self.ends_at

    def is_open(self, now: datetime) -> bool:
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
    """Open parts of one student's record to one person, and tell the district.

    A caseworker opens them to themselves, for a student whom an agreement shows them. A district
    administrator opens them to `user_id`, one of `eligible_partner_staff`, for any student of the
    district.

    Args:
        scope: that of whoever opens.
        threat: what is happening, so that others can follow it.
        reason: why these parts of the record are needed.

    Raises:
        NotInScope: the student is not in the scope, or not by an agreement.
        EmergencyError: something is missing, too long or never opened, or this is not theirs to
            do.
    """
    scope.by_agreement.handle(student_id)
    threat, reason, asked = threat.strip(), reason.strip(), frozenset(categories)
    _check(threat, reason, asked, hours)
    person = _for_whom(database, scope, student_id, asked, user_id, now.date())
    with database.session() as session:
        row = EmergencyRow(
            opened_at=now,
            ends_at=add_elapsed(now, timedelta(hours=hours)),
            ended_at=None,
            opened_by=scope.viewer.user_id,
            user_id=person.user_id,
            organization_id=person.organization_id,
            student_id=student_id,
            categories=asked,
            threat=threat,
            reason=reason,
        )
        session.add(row)
        session.flush()
        add_notice(
            session,
            "emergency",
            _told(session, scope.viewer, person, row.ends_at),
            "/emergencies",
            now,
        )
        return _emergency(row)


def end_emergency(database: Database, viewer: Viewer, number: int, now: datetime) -> Emergency:
    """Close it before its time: the district may, and whoever opened it.

    Raises:
        EmergencyError: there is none of this number, it is over, or it is not theirs to end.
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
    """The newest first: all, of one student, or opened to one person."""
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
    """The active staff for whom the district may open an emergency, by organisation and name.

    Those of an organisation without an agreement that opens single students are not among them:
    evaluation and studies open nobody's record, in an emergency either.
    """
    query = select(StaffRow).where(StaffRow.active, StaffRow.organization_id != DISTRICT)
    with database.session() as session:
        people = [
            Viewer(row.user_id, row.login, row.name, Role(row.role), row.organization_id)
            for row in session.scalars(query.order_by(StaffRow.organization_id, StaffRow.name))
        ]
    opening = {
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
        if person.organization_id in opening and person.role in PARTNER_ROLES
    ]


def _check(threat: str, reason: str, asked: frozenset[Category], hours: float) -> None:
    if len(threat) < MIN_STATEMENT_LENGTH:
        raise EmergencyError(
            f"Please say in {MIN_STATEMENT_LENGTH} characters or more what is happening."
        )
    if len(reason) < MIN_STATEMENT_LENGTH:
        raise EmergencyError(
            f"Please say in {MIN_STATEMENT_LENGTH} characters or more why these parts of the record"
            " are needed."
        )
    if not 0 < hours <= MAX_HOURS:
        raise EmergencyError(f"A record can be opened for at most {MAX_HOURS} hours.")
    if not asked:
        raise EmergencyError("Please choose which parts of the record are needed.")
    if never := asked - REQUESTABLE_CATEGORIES:
        names = ", ".join(sorted(category.replace("_", " ") for category in never))
        raise EmergencyError(f"An emergency does not open this part of a record: {names}.")


def _for_whom(
    database: Database,
    scope: Scope,
    student_id: str,
    asked: frozenset[Category],
    user_id: str | None,
    today: date,
) -> Viewer:
    viewer = scope.viewer
    if viewer.role is Role.CASEWORKER and user_id is None:
        if asked <= scope.by_agreement.categories(student_id):
            raise EmergencyError("You see these parts of the record already, without an emergency.")
        return viewer
    with database.session() as session:
        of_district = is_district_admin(session, viewer)
    if not of_district:
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


def _told(session: Session, opener: Viewer, person: Viewer, until: datetime) -> str:
    organization = session.get_one(OrganizationRow, person.organization_id).name
    ending = f"for an emergency, until {until:%H:%M} on {until.day} {until:%B}."
    if opener.user_id == person.user_id:
        return f"{person.name} of {organization} opened parts of a student's record {ending}"
    return (
        f"{opener.name} opened parts of a student's record to {person.name} of {organization}"
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
