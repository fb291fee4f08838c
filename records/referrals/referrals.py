"""Referrals on record: made, moved from state to state, and read by those whom they concern.

Every step is kept with who took it, when and why, so that the time in each state is known. The
district's administrators see every referral. A partner sees those that it made, and those that it
received from the day they were sent; of others it does not learn that they exist.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from types import MappingProxyType
from typing import Any

from sqlalchemy import ColumnElement, or_, select
from sqlalchemy.orm import Session

from records.database.engine import Database
from records.database.tables import ConsentRow, OrganizationRow, ReferralRow, ReferralStepRow
from records.permissions.agreements import (
    PER_STUDENT_BASES,
    Agreement,
    LegalBasis,
    agreements_in_force,
)
from records.permissions.consents import consent_counts
from records.referrals.states import ENDED, REASONS, STEPS, VISIBLE, Side, State
from records.staff.district_admins import is_district_admin
from records.staff.viewer import DISTRICT, PARTNER_ROLES, Role, Scope, Viewer
from records.system.errors import UserError

ANSWER_WITHIN = timedelta(days=30)
"""How long a referral that nobody has answered shows the student to its receiver."""

NAMED_ROLES = (Role.CASEWORKER, Role.COORDINATOR)
"""The roles that a referral can name: the most that its receiver's staff see of the student."""

PROPOSERS = frozenset({Role.DISTRICT_ADMIN, Role.CASEWORKER})


class ReferralError(UserError, ValueError):
    """A referral that cannot be made or moved; the message says why, and nothing was changed."""


class NoSuchReferral(UserError, LookupError):
    """No referral of this number concerns this person, whether or not there is one."""


@dataclass(frozen=True)
class ReferralStep:
    """One step of a referral: to which state, when, by whom (an account) and why.

    `reason` is one of `REASONS`, or empty where the state needs none.
    """

    at: datetime
    user_id: str
    state: State
    reason: str


@dataclass(frozen=True)
class Referral:
    """A student who was proposed for a program, with every step since; the first is the proposal.

    Attributes:
        role: the most that the receiver's staff see of the student is what this role may.
        sender_id: the organization whose staff made it.
        organization_id: the receiver, which runs the program.
        consent: the number of the family's consent; None where there is none.
    """

    number: int
    student_id: str
    program_id: str
    organization_id: str
    role: Role
    sender_id: str
    consent: int | None
    steps: tuple[ReferralStep, ...]

    @property
    def state(self) -> State:
        """Where it stands."""
        return self.steps[-1].state

    @property
    def since(self) -> datetime:
        """Since when it has stood there."""
        return self.steps[-1].at

    @property
    def reason(self) -> str:
        """Why it was moved to its state, where that needs a reason."""
        return self.steps[-1].reason

    @property
    def is_ended(self) -> bool:
        """Whether nothing follows any more."""
        return self.state in ENDED

    def durations(self, now: datetime) -> Mapping[State, timedelta]:
        """How long it stood, or has stood until now, in each state that it came to.

        A state after which nothing follows has no duration.
        """
        ends = [step.at for step in self.steps[1:]] + [now]
        return MappingProxyType(
            {
                step.state: end - step.at
                for step, end in zip(self.steps, ends, strict=True)
                if step.state not in ENDED
            }
        )


@dataclass(frozen=True)
class OpenReferral:
    """A referral that shows its student to the receiver, as far as the referral itself decides."""

    number: int
    student_id: str
    program_id: str
    role: Role


def propose_referral(
    database: Database,
    scope: Scope,
    student_id: str,
    *,
    program_id: str,
    organization_id: str,
    role: Role,
    now: datetime,
) -> Referral:
    """Propose a student for a program. Nobody else is told anything yet.

    Args:
        scope: that of the district administrator or the partner's caseworker who proposes.
        program_id: a program of `organization_id`, the receiver.
        role: one of `NAMED_ROLES`.

    Raises:
        NotInScope: the student is not in the scope.
        ReferralError: this person may not propose, no agreement in force would show the student to
            the receiver, or the student has a referral to the program that has not ended.
    """
    scope.handle(student_id)
    if scope.viewer.role not in PROPOSERS:
        raise ReferralError("Only a caseworker or the district can propose a referral.")
    if role not in NAMED_ROLES:
        raise ReferralError(f"A referral names a role: {' or '.join(NAMED_ROLES)}.")
    if organization_id == scope.viewer.organization_id:
        raise ReferralError("A referral goes to another organization than one's own.")
    with database.write_transaction() as session:
        organization = session.get(OrganizationRow, organization_id)
        if organization is None or organization_id == DISTRICT:
            raise ReferralError(f"{organization_id} is not a registered partner organization.")
        if covering_agreement(database, organization_id, program_id, now.date()) is None:
            raise ReferralError(
                f"No agreement in force with {organization.name} covers the program {program_id}:"
                " they could not be shown the student."
            )
        _refuse_a_second(session, student_id, program_id)
        row = ReferralRow(
            student_id=student_id,
            program_id=program_id,
            organization_id=organization_id,
            role=role,
            sender_id=scope.viewer.organization_id,
            state=State.PROPOSED,
            since=now,
            consent_id=None,
        )
        session.add(row)
        session.flush()
        _add_step(session, row, scope.viewer, State.PROPOSED, "", now)
        return _referrals(session, [row])[0]


def move_referral(
    database: Database,
    viewer: Viewer,
    number: int,
    state: State,
    now: datetime,
    *,
    reason: str = "",
    consent: int | None = None,
) -> Referral:
    """Move a referral to another state.

    Only the district sends, because it is its records that are shown then, and only the district
    records that a family agreed.

    Args:
        reason: one of `REASONS`, for a state that needs one.
        consent: the number of the family's consent on record, to move to `FAMILY_AGREED`.

    Raises:
        NoSuchReferral: no such referral concerns this person.
        ReferralError: this person may not take the step, there is no such step from where the
            referral stands, the reason is missing or unknown, or the law asks for a consent that is
            not there.
    """
    with database.write_transaction() as session:
        row = session.get(ReferralRow, number)
        if row is None or not _concerns(session, viewer, row):
            raise NoSuchReferral(f"There is no referral {number}.")
        side = STEPS.get((State(row.state), state))
        if side is None:
            raise ReferralError(
                f"Referral {number} is {_words(row.state)}; it cannot become {_words(state)}."
            )
        _require_side(session, viewer, row, side, state)
        _check_reason(state, reason)
        if state is State.FAMILY_AGREED:
            row.consent_id = _consent_of(session, row, consent, now.date())
        if state is State.SENT:
            _check_may_be_sent(database, session, row, now.date())
        row.state, row.since = state, now
        _add_step(session, row, viewer, state, reason, now)
        return _referrals(session, [row])[0]


def referral(database: Database, viewer: Viewer, number: int) -> Referral:
    """One referral that concerns this person.

    Raises:
        NoSuchReferral: there is no such referral, or it does not concern them.
    """
    with database.session() as session:
        row = session.get(ReferralRow, number)
        if row is None or not _concerns(session, viewer, row):
            raise NoSuchReferral(f"There is no referral {number}.")
        return _referrals(session, [row])[0]


def referrals_for(
    database: Database, viewer: Viewer, student_id: str | None = None
) -> list[Referral]:
    """The referrals that concern this person, or those about one student, the newest first."""
    with database.session() as session:
        query = select(ReferralRow).where(_concerning(session, viewer))
        if student_id is not None:
            query = query.where(ReferralRow.student_id == student_id)
        return _referrals(session, list(session.scalars(query.order_by(ReferralRow.id.desc()))))


def opening_to(database: Database, organization_id: str, today: date) -> list[OpenReferral]:
    """The referrals that show their students to an organization today.

    A referral with a family's consent opens nothing once that is revoked or has ended; one that was
    sent and not answered opens nothing after `ANSWER_WITHIN`. Agreements, opt-outs and holds are
    not judged here.
    """
    query = (
        select(ReferralRow, ConsentRow)
        .outerjoin(ConsentRow, ConsentRow.id == ReferralRow.consent_id)
        .where(
            ReferralRow.organization_id == organization_id,
            ReferralRow.state.in_(sorted(VISIBLE)),
        )
        .order_by(ReferralRow.id)
    )
    with database.session() as session:
        return [
            OpenReferral(row.id, row.student_id, row.program_id, Role(row.role))
            for row, consent in session.execute(query)
            if _is_answered_in_time(State(row.state), row.since, today)
            and (row.consent_id is None or (consent is not None and consent_counts(consent, today)))
        ]


def referrals_to(database: Database, organization_id: str, student_id: str) -> list[Referral]:
    """The referrals of one student to one organization, the newest first, whoever asks: only for
    what the district reads.
    """
    query = (
        select(ReferralRow)
        .where(ReferralRow.organization_id == organization_id, ReferralRow.student_id == student_id)
        .order_by(ReferralRow.id.desc())
    )
    with database.session() as session:
        return _referrals(session, list(session.scalars(query)))


def covering_agreement(
    database: Database, organization_id: str, program_id: str, today: date
) -> Agreement | None:
    """An agreement in force on which the organization may be shown a student of the program.

    One that asks no consent of every family comes first.
    """
    covering = [
        agreement
        for agreement in agreements_in_force(database, organization_id, today)
        if agreement.legal_basis in PER_STUDENT_BASES and program_id in agreement.programs
    ]
    return min(
        covering, key=lambda agreement: agreement.legal_basis is LegalBasis.CONSENT, default=None
    )


def needs_consent(agreement: Agreement) -> bool:
    """Whether the law lets nothing be shown under this agreement before the family has signed."""
    return agreement.legal_basis is LegalBasis.CONSENT


def _is_answered_in_time(state: State, since: datetime, today: date) -> bool:
    return state is not State.SENT or today <= since.date() + ANSWER_WITHIN


def _concerning(session: Session, viewer: Viewer) -> ColumnElement[bool]:
    if is_district_admin(session, viewer):
        return ReferralRow.id.is_not(None)
    if viewer.role not in PARTNER_ROLES:
        return ReferralRow.id.is_(None)
    was_sent = select(ReferralStepRow.referral_id).where(ReferralStepRow.state == State.SENT)
    return or_(
        ReferralRow.sender_id == viewer.organization_id,
        (ReferralRow.organization_id == viewer.organization_id) & ReferralRow.id.in_(was_sent),
    )


def _concerns(session: Session, viewer: Viewer, row: ReferralRow) -> bool:
    query = select(ReferralRow.id).where(ReferralRow.id == row.id, _concerning(session, viewer))
    return session.scalar(query) is not None


def _require_side(
    session: Session, viewer: Viewer, row: ReferralRow, side: Side, state: State
) -> None:
    if side is Side.RECEIVER:
        if viewer.organization_id != row.organization_id:
            raise ReferralError("Only the organization that was asked can answer a referral.")
        return
    if is_district_admin(session, viewer):
        return
    if state in {State.SENT, State.FAMILY_AGREED}:
        raise ReferralError(f"Only the district can record that a referral is {_words(state)}.")
    if viewer.organization_id != row.sender_id:
        raise ReferralError("Only the organization that made a referral or the district can do so.")


def _check_reason(state: State, reason: str) -> None:
    known = REASONS.get(state, ())
    if known and reason not in known:
        raise ReferralError(f"Please choose a reason: {', '.join(map(_words, known))}.")
    if reason and not known:
        raise ReferralError(f"A referral that is {_words(state)} has no reason.")


def _consent_of(session: Session, row: ReferralRow, number: int | None, today: date) -> int:
    consent = session.get(ConsentRow, number) if number is not None else None
    if (
        consent is None
        or (consent.student_id, consent.organization_id) != (row.student_id, row.organization_id)
        or not consent_counts(consent, today)
    ):
        raise ReferralError(
            "The family's consent must be on record first: for this student and the organization"
            " that is asked, and in force today."
        )
    return consent.id


def _check_may_be_sent(database: Database, session: Session, row: ReferralRow, today: date) -> None:
    agreement = covering_agreement(database, row.organization_id, row.program_id, today)
    if agreement is None:
        raise ReferralError(
            f"No agreement in force covers the program {row.program_id} any more: its organization"
            " could not be shown the student."
        )
    if row.consent_id is not None:
        _consent_of(session, row, row.consent_id, today)
    elif needs_consent(agreement):
        raise ReferralError(
            f"Agreement {agreement.agreement_id} asks for the family's consent: ask the family and"
            " record what they signed before this is sent."
        )


def _refuse_a_second(session: Session, student_id: str, program_id: str) -> None:
    open_one = session.scalar(
        select(ReferralRow.id).where(
            ReferralRow.student_id == student_id,
            ReferralRow.program_id == program_id,
            ReferralRow.state.not_in(sorted(ENDED)),
        )
    )
    if open_one is not None:
        raise ReferralError("This student already has a referral to this program.")


def _add_step(
    session: Session, row: ReferralRow, viewer: Viewer, state: State, reason: str, now: datetime
) -> None:
    session.add(
        ReferralStepRow(
            referral_id=row.id,
            student_id=row.student_id,
            at=now,
            user_id=viewer.user_id,
            state=state,
            reason=reason,
        )
    )
    session.flush()


def _referrals(session: Session, rows: list[ReferralRow]) -> list[Referral]:
    steps: dict[int, list[ReferralStep]] = {row.id: [] for row in rows}
    query: Any = (
        select(ReferralStepRow)
        .where(ReferralStepRow.referral_id.in_(sorted(steps)))
        .order_by(ReferralStepRow.id)
    )
    for step in session.scalars(query):
        steps[step.referral_id].append(
            ReferralStep(step.at, step.user_id, State(step.state), step.reason)
        )
    return [
        Referral(
            row.id,
            row.student_id,
            row.program_id,
            row.organization_id,
            Role(row.role),
            row.sender_id,
            row.consent_id,
            tuple(steps[row.id]),
        )
        for row in rows
    ]


def _words(name: str) -> str:
    return name.replace("_", " ")
