"""Legal demands: papers that ask for one student's record, from a subpoena to an officer's bare
request.

Each is refused from the moment it is written down. It is released only where a court or a judge
stands behind it and the family has had time to object (34 CFR 99.31(a)(9)), after one district
administrator has proposed it and another has approved; then for a few days, to the district alone,
one student and the categories that the paper names. What was done, by whom, when and why is only
ever added to. Not legal advice: a district asks its own counsel first.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from enum import StrEnum
from typing import Literal

from sqlalchemy import select
from sqlalchemy.orm import Session

from records.canonical.schema import Category
from records.database.engine import Database
from records.database.tables import LegalDemandEventRow, LegalDemandRow
from records.people.district_admins import require_district_admin
from records.people.notices import add_notice
from records.people.viewer import Scope, Viewer
from records.system.errors import UserError

JUDICIAL_BASIS = "judicial_order"
"""34 CFR 99.31(a)(9): to comply with a judicial order or a lawfully issued subpoena."""

NOTICE_DAYS = 14
"""Between telling the family and a release. 34 CFR 99.31(a)(9)(ii) asks for notice in advance, so
that they may seek protection; a subpoena may be objected to for 14 days after service (Federal
Rules of Civil Procedure, 45(d)(2)(B))."""

RELEASE_DAYS = 7
"""From approval until a release closes again: the papers that it rests on may be withdrawn or
replaced."""

DEMANDABLE_CATEGORIES = tuple(
    category
    for category in Category
    if category not in (Category.SCHEDULE, Category.SERVICES, Category.MEAL_ELIGIBILITY)
)
"""What a demand may name. Nobody keeps schedules here; every partner's services are
`services_other` to the district; meal eligibility may not answer a subpoena (42 U.S.C. 1758(b)(6);
7 CFR 245.6)."""


_EITHER = "Please give either the day on which the family was told, or the lawful exception."


class LegalDemandError(ValueError):
    """Something that may not be done with a demand; the message says why in plain words, and
    nothing was changed.
    """


class NoSuchDemand(UserError, LookupError):
    """There is no demand of this number."""


class DemandStatus(StrEnum):
    """Where a demand stands. `refused` is where each begins, and where a denial leads back to."""

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
class DocumentKind:
    """A kind of paper: what it is called, what it can compel, and who must stand behind it for a
    release.
    """

    name: str
    label: str
    compels: str
    needs: Literal["a court", "a judge", ""]


DOCUMENT_KINDS: dict[str, DocumentKind] = {
    kind.name: kind
    for kind in (
        DocumentKind(
            "court_order",
            "A court's order",
            "It can compel the records that it names. The family is told first, unless the order"
            " itself forbids it.",
            "a court",
        ),
        DocumentKind(
            "subpoena",
            "A subpoena of a court or a grand jury",
            "It can compel the records that it names. The family is told first and may object,"
            " unless a court has ordered that it stay secret.",
            "a court",
        ),
        DocumentKind(
            "judicial_warrant",
            "A warrant signed by a judge",
            "It can compel what it names, where a judge has signed it. Look for the judge's name"
            " and the court's.",
            "a judge",
        ),
        DocumentKind(
            "administrative",
            "A warrant or subpoena that an agency issued itself, such as immigration enforcement",
            "It compels nothing by itself, because no judge has signed it. Nothing is released on"
            " it, whoever brings it. If a court orders that it be followed, record that order as a"
            " demand of its own.",
            "",
        ),
        DocumentKind(
            "no_paper",
            "A request without any paper, by the police or an immigration officer",
            "It compels nothing. Nothing is released on it. Where somebody's life or health is in"
            " danger, open an emergency instead.",
            "",
        ),
        DocumentKind(
            "parents_lawyer",
            "A letter from a parent's lawyer",
            "It compels nothing by itself. A parent may see their child's record in any case (34"
            " CFR 99.10), and may sign a consent for others (34 CFR 99.30).",
            "",
        ),
        DocumentKind(
            "other",
            "Another paper",
            "It compels nothing until the district's counsel says which of the others it is.",
            "",
        ),
    )
}


@dataclass(frozen=True)
class NoticeException:
    """A lawful reason why the family is not told. `why_not`: why nothing is released here all the
    same, if so.
    """

    name: str
    label: str
    why_not: str


NOTICE_EXCEPTIONS: dict[str, NoticeException] = {
    exception.name: exception
    for exception in (
        NoticeException(
            "parent_is_party",
            "The parent is a party to the court's own case on the care or protection of a child,"
            " and the order was made in it (20 U.S.C. 1232g(b)(2)(B))",
            "",
        ),
        NoticeException(
            "kept_secret",
            "A court has ordered that nobody be told (34 CFR 99.31(a)(9)(ii)(A) to (C))",
            "A court has ordered that nobody be told. Every look is on a list that the family may"
            " read, so nothing is released from here: the district's counsel answers.",
        ),
    )
}


@dataclass(frozen=True)
class LegalDocument:
    """What stands on the paper, and how the family was told: a day, one of `NOTICE_EXCEPTIONS`, or
    not yet.
    """

    kind: str
    issuer: str
    received_on: date
    of_court: bool
    signed_by_judge: bool
    categories: frozenset[Category]
    parent_notified_on: date | None = None
    notice_exception: str = ""


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
        return DOCUMENT_KINDS[self.paper.kind]


@dataclass(frozen=True)
class DemandEvent:
    """Something that was done about a demand, and why."""

    at: datetime
    user_id: str
    action: DemandAction
    reason: str


def record_demand(
    database: Database,
    scope: Scope,
    student_id: str,
    paper: LegalDocument,
    reason: str,
    now: datetime,
) -> Demand:
    """Write a demand down. It is refused from here on.

    Args:
        scope: that of the district administrator who writes it down.
        reason: how it came: who brought or sent it, and what was answered.

    Raises:
        NotADistrictAdmin: the viewer does not act for the district.
        LegalDemandError: there is no such student, or the paper contradicts itself or lacks
            something.
    """
    reason = _reason(reason)
    _check_paper(paper, now.date())
    if student_id not in scope.students:
        raise LegalDemandError("There is no student with this number or code in the records.")
    with database.write_transaction() as session:
        require_district_admin(session, scope.viewer)
        row = LegalDemandRow(
            received_on=paper.received_on,
            recorded_at=now,
            recorded_by=scope.viewer.user_id,
            student_id=student_id,
            kind=paper.kind,
            issuer=paper.issuer.strip(),
            of_court=paper.of_court,
            signed_by_judge=paper.signed_by_judge,
            parent_notified_on=paper.parent_notified_on,
            notice_exception=paper.notice_exception,
            categories=paper.categories,
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
    told_on: date | None,
    exception: str,
    reason: str,
    now: datetime,
) -> Demand:
    """Write down on which day the family was told of the demand, or why the law lets them not be
    told.

    Args:
        exception: one of `NOTICE_EXCEPTIONS`; empty where the family was told.
        reason: how they were told, or where the exception is written.

    Raises:
        NotADistrictAdmin: the viewer does not act for the district.
        NoSuchDemand: there is none of this number.
        LegalDemandError: neither or both are given, it was written down before, or the day cannot
            be.
    """
    reason = _reason(reason)
    with database.write_transaction() as session:
        row = _open_row(session, viewer, number)
        if row.parent_notified_on is not None or row.notice_exception:
            raise LegalDemandError("How the family was told is written down already.")
        if told_on is None and not exception:
            raise LegalDemandError(_EITHER)
        _check_notice(row.received_on, told_on, exception, now.date())
        row.parent_notified_on, row.notice_exception = told_on, exception
        _add_event(session, row, viewer, DemandAction.NOTIFIED, reason, now)
        return _demand(row)


def propose_release(
    database: Database, viewer: Viewer, number: int, reason: str, now: datetime
) -> Demand:
    """The first of two: say why the demand should be answered. The district's others are told that
    it waits.

    Raises:
        NotADistrictAdmin: the viewer does not act for the district.
        NoSuchDemand: there is none of this number.
        LegalDemandError: the law does not allow it, now or ever, or it is proposed or approved
            already.
    """
    reason = _reason(reason)
    with database.write_transaction() as session:
        row = _open_row(session, viewer, number)
        if why := release_barrier(_demand(row), now.date()):
            raise LegalDemandError(why)
        if row.status == DemandStatus.PROPOSED or (
            row.status == DemandStatus.APPROVED
            and now < release_closes_at(_events(session, number))
        ):
            raise LegalDemandError(f"A release is {row.status} already.")
        row.status = DemandStatus.PROPOSED
        _add_event(session, row, viewer, DemandAction.PROPOSED, reason, now)
        add_notice(
            session,
            "legal_demand",
            f"{viewer.name} proposes to answer legal demand {number}. Somebody else "
            "must approve it or deny it.",
            f"/demands/{number}",
            now,
        )
        return _demand(row)


def approve_release(
    database: Database, viewer: Viewer, number: int, reason: str, now: datetime
) -> Demand:
    """The second of two: from here on the release can be taken, for `RELEASE_DAYS` days.

    Raises:
        NotADistrictAdmin: the viewer does not act for the district.
        NoSuchDemand: there is none of this number.
        LegalDemandError: nothing is proposed, or the same person proposed it.
    """
    reason = _reason(reason)
    with database.write_transaction() as session:
        row = _open_row(session, viewer, number)
        if row.status != DemandStatus.PROPOSED:
            raise LegalDemandError("No release is proposed.")
        if _last(_events(session, number), DemandAction.PROPOSED).user_id == viewer.user_id:
            raise LegalDemandError(
                "You proposed this release. Another district administrator must approve it."
            )
        if why := release_barrier(_demand(row), now.date()):
            raise LegalDemandError(why)
        row.status = DemandStatus.APPROVED
        _add_event(session, row, viewer, DemandAction.APPROVED, reason, now)
        return _demand(row)


def deny_release(
    database: Database, viewer: Viewer, number: int, reason: str, now: datetime
) -> Demand:
    """Refuse what is proposed, or close what is approved. Any one district administrator may, the
    proposer too.

    Raises:
        NotADistrictAdmin: the viewer does not act for the district.
        NoSuchDemand: there is none of this number.
        LegalDemandError: nothing is proposed or approved.
    """
    reason = _reason(reason)
    with database.write_transaction() as session:
        row = _open_row(session, viewer, number)
        if row.status == DemandStatus.REFUSED:
            raise LegalDemandError("This demand is refused already.")
        row.status = DemandStatus.REFUSED
        _add_event(session, row, viewer, DemandAction.DENIED, reason, now)
        return _demand(row)


def approved_demand(database: Database, viewer: Viewer, number: int, now: datetime) -> Demand:
    """A demand whose release this district administrator may take now.

    Raises:
        NotADistrictAdmin: the viewer does not act for the district.
        NoSuchDemand: there is none of this number.
        LegalDemandError: it is not approved, or the approval has ended.
    """
    with database.session() as session:
        return _demand(_approved_row(session, viewer, number, now))


def record_release(
    database: Database, viewer: Viewer, number: int, reason: str, sha256: str, now: datetime
) -> None:
    """Write down that a release is taken, with the digest of what is handed over; the district is
    told.

    Raises:
        As `approved_demand`; and LegalDemandError where no reason is given.
    """
    reason = _reason(reason)
    with database.write_transaction() as session:
        row = _approved_row(session, viewer, number, now)
        _add_event(session, row, viewer, DemandAction.RELEASED, f"{reason}\nSHA-256 {sha256}", now)
        add_notice(
            session,
            "legal_demand",
            f"{viewer.name} took what answers legal demand {number}.",
            f"/demands/{number}",
            now,
        )


def demands(database: Database, limit: int | None = None) -> list[Demand]:
    """The newest first."""
    with database.session() as session:
        return [
            _demand(row)
            for row in session.scalars(
                select(LegalDemandRow).order_by(LegalDemandRow.id.desc()).limit(limit)
            )
        ]


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


def release_barrier(found: Demand, today: date) -> str:
    """Why the law does not let this demand be answered today, in a plain sentence; empty where it
    does.
    """
    paper, needs = found.paper, found.kind.needs
    if not needs:
        return "Nothing can be released on this kind of paper."
    if not (paper.signed_by_judge or (paper.of_court and needs == "a court")):
        return f"Nothing can be released on it: {needs} must stand behind it, and none does."
    if paper.notice_exception:
        return NOTICE_EXCEPTIONS[paper.notice_exception].why_not
    if paper.parent_notified_on is None:
        return "The family has not been told. They must be, but for a lawful exception."
    ready = paper.parent_notified_on + timedelta(days=NOTICE_DAYS)
    return (
        f"The family was told less than {NOTICE_DAYS} days ago and may still object."
        if today < ready
        else ""
    )


def release_closes_at(done: Sequence[DemandEvent]) -> datetime:
    """When the release closes that the last approval among these events opened.

    Raises:
        LookupError: none of them is an approval.
    """
    return _last(done, DemandAction.APPROVED).at + timedelta(days=RELEASE_DAYS)


def _last(done: Sequence[DemandEvent], action: DemandAction) -> DemandEvent:
    for event in reversed(done):
        if event.action is action:
            return event
    raise LookupError(f"nothing was {action}")


def _approved_row(session: Session, viewer: Viewer, number: int, now: datetime) -> LegalDemandRow:
    row = _open_row(session, viewer, number)
    if row.status != DemandStatus.APPROVED:
        raise LegalDemandError(
            "Nothing can be taken: two district administrators have not agreed to a release."
        )
    if now >= release_closes_at(_events(session, number)):
        raise LegalDemandError(
            f"Nothing can be taken: the approval was good for {RELEASE_DAYS} days and has ended."
        )
    return row


def _open_row(session: Session, viewer: Viewer, number: int) -> LegalDemandRow:
    require_district_admin(session, viewer)
    row = session.get(LegalDemandRow, number)
    if row is None:
        raise NoSuchDemand(f"there is no legal demand {number}")
    return row


def _check_paper(paper: LegalDocument, today: date) -> None:
    kind = DOCUMENT_KINDS.get(paper.kind)
    if kind is None:
        raise LegalDemandError(
            f"There is no kind of paper {paper.kind!r}; the kinds are {', '.join(DOCUMENT_KINDS)}."
        )
    if not 0 < len(paper.issuer.strip()) <= 200:
        raise LegalDemandError("Please say who issued it, in at most 200 characters.")
    if paper.received_on > today:
        raise LegalDemandError("It cannot have come on a day that is still to come.")
    if not paper.categories:
        raise LegalDemandError("Please choose which parts of the record it asks for.")
    if never := paper.categories - set(DEMANDABLE_CATEGORIES):
        names = ", ".join(sorted(category.replace("_", " ") for category in never))
        raise LegalDemandError(f"No demand opens this part of a record: {names}.")
    if not kind.needs and (paper.of_court or paper.signed_by_judge):
        raise LegalDemandError(
            "This kind of paper comes from no court and has no judge's signature. If this one does,"
            " choose a court's order, a subpoena or a warrant signed by a judge."
        )
    _check_notice(paper.received_on, paper.parent_notified_on, paper.notice_exception, today)


def _check_notice(received_on: date, told_on: date | None, exception: str, today: date) -> None:
    if told_on is not None and not received_on <= told_on <= today:
        raise LegalDemandError(
            "The family can only have been told between the day the paper came and today."
        )
    if exception and exception not in NOTICE_EXCEPTIONS:
        raise LegalDemandError(
            f"There is no exception {exception!r}; there are {', '.join(NOTICE_EXCEPTIONS)}."
        )
    if told_on is not None and exception:
        raise LegalDemandError(_EITHER)


def _reason(text: str) -> str:
    if not text.strip():
        raise LegalDemandError("Please say why.")
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
    paper = LegalDocument(
        row.kind,
        row.issuer,
        row.received_on,
        row.of_court,
        row.signed_by_judge,
        row.categories,
        row.parent_notified_on,
        row.notice_exception,
    )
    return Demand(
        row.id, row.student_id, paper, row.recorded_at, row.recorded_by, DemandStatus(row.status)
    )
