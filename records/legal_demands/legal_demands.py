"""Legal demands: requests for one student's record, from a subpoena to an officer's bare request.

Each is refused from the moment it is recorded. It is released only where a court or a judge stands
behind it and the family has had time to object (34 CFR 99.31(a)(9)), after one district
administrator has proposed it and another has approved; then for a few days, to the district alone,
one student and the categories that the document names. What was done, by whom, when and why is only
ever added to. Not legal advice: a district asks its own counsel first.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from enum import StrEnum

from sqlalchemy import select
from sqlalchemy.orm import Session

from records.database.engine import Database
from records.database.tables import LegalDemandEventRow, LegalDemandRow
from records.legal_demands.legal_documents import (
    DOCUMENT_KINDS,
    NOTICE_DAYS,
    NOTICE_EXCEPTIONS,
    DocumentKind,
    LegalDemandError,
    LegalDocument,
    check_document,
    check_notice,
)
from records.staff.district_admins import require_district_admin
from records.staff.notices import add_notice
from records.staff.viewer import Scope, Viewer
from records.system.errors import UserError

JUDICIAL_BASIS = "judicial_order"
"""34 CFR 99.31(a)(9): to comply with a judicial order or a lawfully issued subpoena."""

RELEASE_DAYS = 7
"""Days from approval until a release closes again: the documents that it rests on may be withdrawn
or replaced."""

_NOTICE_KIND = "legal_demand"


class NoSuchDemand(UserError, LookupError):
    """There is no demand of this number."""


class DemandStatus(StrEnum):
    """Where a demand stands. Each begins as `refused`, and a denial leads back to it."""

    REFUSED = "refused"
    PROPOSED = "proposed"
    APPROVED = "approved"


class DemandAction(StrEnum):
    """What was done about a demand."""

    RECORDED = "recorded"
    NOTIFIED = "notified"
    PROPOSED = "proposed"
    APPROVED = "approved"
    DENIED = "denied"
    RELEASED = "released"


@dataclass(frozen=True)
class Demand:
    """One demand on the register."""

    number: int
    student_id: str
    paper: LegalDocument
    recorded_at: datetime
    recorded_by: str
    status: DemandStatus

    @property
    def kind(self) -> DocumentKind:
        """The kind of its document, with its legal effect."""
        return DOCUMENT_KINDS[self.paper.kind]


@dataclass(frozen=True)
class DemandEvent:
    """Something that was done about a demand: when, by which account, and why."""

    at: datetime
    user_id: str
    action: DemandAction
    reason: str


def record_demand(
    database: Database,
    scope: Scope,
    student_id: str,
    document: LegalDocument,
    reason: str,
    now: datetime,
) -> Demand:
    """Record a demand. It is refused from here on.

    Args:
        scope: that of the district administrator who records it.
        reason: how it came: who brought or sent it, and what was answered.

    Raises:
        NotADistrictAdmin: the viewer is not an active district administrator.
        LegalDemandError: there is no such student, or the document contradicts itself or lacks
            something.
    """
    reason = _require_reason(reason)
    check_document(document, now.date())
    if student_id not in scope.students:
        raise LegalDemandError("No student with this ID or code is in the records.")
    with database.write_transaction() as session:
        require_district_admin(session, scope.viewer)
        row = LegalDemandRow(
            received_on=document.received_on,
            recorded_at=now,
            recorded_by=scope.viewer.user_id,
            student_id=student_id,
            kind=document.kind,
            issuer=document.issuer.strip(),
            of_court=document.of_court,
            signed_by_judge=document.signed_by_judge,
            parent_notified_on=document.parent_notified_on,
            notice_exception=document.notice_exception,
            categories=document.categories,
            status=DemandStatus.REFUSED,
        )
        session.add(row)
        session.flush()
        _add_event(session, row, scope.viewer, DemandAction.RECORDED, reason, now)
        return _demand(row)


def record_notice(
    database: Database,
    viewer: Viewer,
    number: int,
    notified_on: date | None,
    exception: str,
    reason: str,
    now: datetime,
) -> Demand:
    """Record when the family was notified of the demand, or why the law allows not to.

    Args:
        notified_on: the day; None with an exception.
        exception: one of `NOTICE_EXCEPTIONS`; empty with a day.
        reason: how they were notified, or where the exception is written.

    Raises:
        NotADistrictAdmin: the viewer is not an active district administrator.
        NoSuchDemand: there is none of this number.
        LegalDemandError: neither or both are given, it was recorded before, or the day cannot be.
    """
    reason = _require_reason(reason)
    with database.write_transaction() as session:
        row = _demand_row(session, viewer, number)
        if row.parent_notified_on is not None or row.notice_exception:
            raise LegalDemandError("The notification of the family is already recorded.")
        check_notice(row.received_on, notified_on, exception, now.date())
        row.parent_notified_on, row.notice_exception = notified_on, exception
        _add_event(session, row, viewer, DemandAction.NOTIFIED, reason, now)
        return _demand(row)


def propose_release(
    database: Database, viewer: Viewer, number: int, reason: str, now: datetime
) -> Demand:
    """Propose to comply with a demand, and notify the district's other administrators.

    Raises:
        NotADistrictAdmin: the viewer is not an active district administrator.
        NoSuchDemand: there is none of this number.
        LegalDemandError: the law does not allow it, now or ever, or it is proposed or approved
            already.
    """
    reason = _require_reason(reason)
    with database.write_transaction() as session:
        row = _demand_row(session, viewer, number)
        if barrier := release_barrier(_demand(row), now.date()):
            raise LegalDemandError(barrier)
        approval_is_open = row.status == DemandStatus.APPROVED and now < release_closes_at(
            _events(session, number)
        )
        if row.status == DemandStatus.PROPOSED or approval_is_open:
            raise LegalDemandError(f"A release is already {row.status}.")
        row.status = DemandStatus.PROPOSED
        _add_event(session, row, viewer, DemandAction.PROPOSED, reason, now)
        add_notice(
            session,
            _NOTICE_KIND,
            f"{viewer.name} proposes to comply with legal demand {number}. Another administrator"
            " must approve it or deny it.",
            f"/demands/{number}",
            now,
        )
        return _demand(row)


def approve_release(
    database: Database, viewer: Viewer, number: int, reason: str, now: datetime
) -> Demand:
    """Approve a proposed release; from here on it is available for `RELEASE_DAYS` days.

    Raises:
        NotADistrictAdmin: the viewer is not an active district administrator.
        NoSuchDemand: there is none of this number.
        LegalDemandError: nothing is proposed, the viewer proposed it, or the law does not allow it.
    """
    reason = _require_reason(reason)
    with database.write_transaction() as session:
        row = _demand_row(session, viewer, number)
        if row.status != DemandStatus.PROPOSED:
            raise LegalDemandError("No release has been proposed.")
        proposal = _last_event(_events(session, number), DemandAction.PROPOSED)
        if proposal.user_id == viewer.user_id:
            raise LegalDemandError(
                "You proposed this release. Another district administrator must approve it."
            )
        if barrier := release_barrier(_demand(row), now.date()):
            raise LegalDemandError(barrier)
        row.status = DemandStatus.APPROVED
        _add_event(session, row, viewer, DemandAction.APPROVED, reason, now)
        return _demand(row)


def deny_release(
    database: Database, viewer: Viewer, number: int, reason: str, now: datetime
) -> Demand:
    """Refuse what is proposed, or close what is approved.

    Any one district administrator may, also the one who proposed it.

    Raises:
        NotADistrictAdmin: the viewer is not an active district administrator.
        NoSuchDemand: there is none of this number.
        LegalDemandError: nothing is proposed or approved.
    """
    reason = _require_reason(reason)
    with database.write_transaction() as session:
        row = _demand_row(session, viewer, number)
        if row.status == DemandStatus.REFUSED:
            raise LegalDemandError("This demand is already refused.")
        row.status = DemandStatus.REFUSED
        _add_event(session, row, viewer, DemandAction.DENIED, reason, now)
        return _demand(row)


def approved_demand(database: Database, viewer: Viewer, number: int, now: datetime) -> Demand:
    """A demand for which this district administrator may release the records now.

    Raises:
        NotADistrictAdmin: the viewer is not an active district administrator.
        NoSuchDemand: there is none of this number.
        LegalDemandError: it is not approved, or the approval has ended.
    """
    with database.session() as session:
        return _demand(_approved_row(session, viewer, number, now))


def record_release(
    database: Database, viewer: Viewer, number: int, reason: str, sha256: str, now: datetime
) -> None:
    """Record that the records were released, and notify the district.

    Args:
        reason: to whom they are handed over, and how.
        sha256: the digest of what is handed over.

    Raises:
        NotADistrictAdmin: the viewer is not an active district administrator.
        NoSuchDemand: there is none of this number.
        LegalDemandError: it is not approved, the approval has ended, or no reason is given.
    """
    reason = _require_reason(reason)
    with database.write_transaction() as session:
        row = _approved_row(session, viewer, number, now)
        _add_event(session, row, viewer, DemandAction.RELEASED, f"{reason}\nSHA-256 {sha256}", now)
        add_notice(
            session,
            _NOTICE_KIND,
            f"{viewer.name} released the records for legal demand {number}.",
            f"/demands/{number}",
            now,
        )


def demands(database: Database, limit: int | None = None) -> list[Demand]:
    """Demands, the newest first; at most `limit` of them."""
    query = select(LegalDemandRow).order_by(LegalDemandRow.id.desc()).limit(limit)
    with database.session() as session:
        return [_demand(row) for row in session.scalars(query)]


def demand(database: Database, number: int) -> Demand:
    """One demand.

    Raises:
        NoSuchDemand: there is none of this number.
    """
    with database.session() as session:
        row = session.get(LegalDemandRow, number)
        if row is None:
            raise NoSuchDemand(f"there is no legal demand {number}")
        return _demand(row)


def events(database: Database, number: int) -> list[DemandEvent]:
    """What was done about a demand, the oldest first."""
    with database.session() as session:
        return _events(session, number)


def release_barrier(legal_demand: Demand, today: date) -> str:
    """Why the law does not allow to comply with a demand today, as a sentence; empty if it does."""
    document, needs = legal_demand.paper, legal_demand.kind.needs
    if not needs:
        return "Nothing can be released for this kind of document."
    if not (document.signed_by_judge or (document.of_court and needs == "a court")):
        return f"Nothing can be released: {needs} must stand behind this document, and none does."
    if document.notice_exception:
        return NOTICE_EXCEPTIONS[document.notice_exception].release_barrier
    if document.parent_notified_on is None:
        return (
            "The family has not been notified. Notification is required unless a legal exception"
            " applies."
        )
    if today < document.parent_notified_on + timedelta(days=NOTICE_DAYS):
        return f"The family was notified less than {NOTICE_DAYS} days ago and may still object."
    return ""


def release_closes_at(history: Sequence[DemandEvent]) -> datetime:
    """When the release closes that the last approval among these events opened.

    Raises:
        LookupError: none of them is an approval.
    """
    return _last_event(history, DemandAction.APPROVED).at + timedelta(days=RELEASE_DAYS)


def _last_event(history: Sequence[DemandEvent], action: DemandAction) -> DemandEvent:
    for event in reversed(history):
        if event.action is action:
            return event
    raise LookupError(f"no event is {action}")


def _approved_row(session: Session, viewer: Viewer, number: int, now: datetime) -> LegalDemandRow:
    row = _demand_row(session, viewer, number)
    if row.status != DemandStatus.APPROVED:
        raise LegalDemandError(
            "The release is not available: two district administrators must approve it first."
        )
    if now >= release_closes_at(_events(session, number)):
        raise LegalDemandError(
            f"The release is not available: the approval was valid for {RELEASE_DAYS} days and has"
            " ended."
        )
    return row


def _demand_row(session: Session, viewer: Viewer, number: int) -> LegalDemandRow:
    """The row of a demand, for a district administrator alone."""
    require_district_admin(session, viewer)
    row = session.get(LegalDemandRow, number)
    if row is None:
        raise NoSuchDemand(f"there is no legal demand {number}")
    return row


def _require_reason(text: str) -> str:
    if not text.strip():
        raise LegalDemandError("Please give a reason.")
    return text.strip()


def _add_event(
    session: Session,
    row: LegalDemandRow,
    viewer: Viewer,
    action: DemandAction,
    reason: str,
    now: datetime,
) -> None:
    session.add(
        LegalDemandEventRow(
            demand_id=row.id, at=now, user_id=viewer.user_id, action=action, reason=reason
        )
    )
    session.flush()


def _events(session: Session, number: int) -> list[DemandEvent]:
    query = (
        select(LegalDemandEventRow)
        .where(LegalDemandEventRow.demand_id == number)
        .order_by(LegalDemandEventRow.id)
    )
    return [
        DemandEvent(row.at, row.user_id, DemandAction(row.action), row.reason)
        for row in session.scalars(query)
    ]


def _demand(row: LegalDemandRow) -> Demand:
    document = LegalDocument(
        kind=row.kind,
        issuer=row.issuer,
        received_on=row.received_on,
        of_court=row.of_court,
        signed_by_judge=row.signed_by_judge,
        categories=row.categories,
        parent_notified_on=row.parent_notified_on,
        notice_exception=row.notice_exception,
    )
    return Demand(
        number=row.id,
        student_id=row.student_id,
        paper=document,
        recorded_at=row.recorded_at,
        recorded_by=row.recorded_by,
        status=DemandStatus(row.status),
    )
