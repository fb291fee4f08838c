"""The documents that demand a student's record: their kinds, their legal effect, and notice.

Declares what each kind of document can compel, who must stand behind it for a release, and when the
family need not be notified first; checks a document as a person records it. Not legal advice: a
district asks its own counsel first.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date
from typing import Literal

from records.canonical.schema import Category

NOTICE_DAYS = 14
"""Days between notifying the family and a release. 34 CFR 99.31(a)(9)(ii) requires notice in
advance, so that they may seek protection; a subpoena may be objected to for 14 days after service
(Federal Rules of Civil Procedure, 45(d)(2)(B))."""

DEMANDABLE_CATEGORIES = tuple(
    category
    for category in Category
    if category not in (Category.SCHEDULE, Category.SERVICES, Category.MEAL_ELIGIBILITY)
)
"""What a demand may name. Schedules are not stored here; every partner's services are
`services_other` to the district; meal eligibility may not be disclosed for a subpoena (42 U.S.C.
1758(b)(6); 7 CFR 245.6)."""

MAX_ISSUER_LENGTH = 200
"""Characters."""

_ONE_OF_TWO = "Enter either the date the family was notified or the legal exception."


class LegalDemandError(ValueError):
    """Something that may not be done with a demand; the message is shown to the user as written."""


@dataclass(frozen=True)
class DocumentKind:
    """A kind of document: its label, what it can compel, and who must stand behind it.

    `needs` is empty where nothing can be released for this kind.
    """

    name: str
    label: str
    compels: str
    needs: Literal["a court", "a judge", ""]


DOCUMENT_KINDS: dict[str, DocumentKind] = {
    kind.name: kind
    for kind in (
        DocumentKind(
            name="court_order",
            label="A court order",
            compels="It can compel the records that it names. The family is notified first, unless"
            " the order forbids it.",
            needs="a court",
        ),
        DocumentKind(
            name="subpoena",
            label="A subpoena from a court or a grand jury",
            compels="It can compel the records that it names. The family is notified first and may"
            " object, unless a court has ordered that it be kept confidential.",
            needs="a court",
        ),
        DocumentKind(
            name="judicial_warrant",
            label="A warrant signed by a judge",
            compels="It can compel what it names if a judge has signed it. Look for the names of"
            " the judge and the court.",
            needs="a judge",
        ),
        DocumentKind(
            name="administrative",
            label="A warrant or subpoena that an agency issued itself, such as immigration"
            " enforcement",
            compels="It compels nothing by itself, because no judge has signed it. Nothing is"
            " released for it, whoever brings it. If a court orders compliance, record that order"
            " as a demand of its own.",
            needs="",
        ),
        DocumentKind(
            name="no_paper",
            label="A request without any document, from the police or an immigration officer",
            compels="It compels nothing. Nothing is released for it. If someone's life or health is"
            " in danger, open an emergency instead.",
            needs="",
        ),
        DocumentKind(
            name="parents_lawyer",
            label="A letter from a parent's lawyer",
            compels="It compels nothing by itself. Parents may see their child's record in any case"
            " (34 CFR 99.10) and may sign a consent for others (34 CFR 99.30).",
            needs="",
        ),
        DocumentKind(
            name="other",
            label="Another document",
            compels="It compels nothing until the district's counsel says which of the other kinds"
            " it is.",
            needs="",
        ),
    )
}


@dataclass(frozen=True)
class NoticeException:
    """A legal reason not to notify the family.

    `release_barrier` says why nothing is released here even so; empty where a release is possible.
    """

    name: str
    label: str
    release_barrier: str


NOTICE_EXCEPTIONS: dict[str, NoticeException] = {
    exception.name: exception
    for exception in (
        NoticeException(
            name="parent_is_party",
            label="The parent is a party to a court case on the care or protection of a child, and"
            " the order was made in that case (20 U.S.C. 1232g(b)(2)(B))",
            release_barrier="",
        ),
        NoticeException(
            name="kept_secret",
            label="A court has ordered that the demand be kept confidential"
            " (34 CFR 99.31(a)(9)(ii)(A) to (C))",
            release_barrier="A court has ordered confidentiality. Families can read the disclosure"
            " log, so nothing is released here: the district's counsel responds.",
        ),
    )
}


@dataclass(frozen=True)
class LegalDocument:
    """What a document says, and whether the family was notified.

    `kind` is a key of `DOCUMENT_KINDS`. The notice is a date, or a key of `NOTICE_EXCEPTIONS`, or
    neither as long as it is due.
    """

    kind: str
    issuer: str
    received_on: date
    of_court: bool
    signed_by_judge: bool
    categories: frozenset[Category]
    parent_notified_on: date | None = None
    notice_exception: str = ""


def check_document(document: LegalDocument, today: date) -> None:
    """Refuse a document that lacks something, contradicts itself, or asks for too much.

    Raises:
        LegalDemandError: saying what is wrong and what would be right.
    """
    kind = DOCUMENT_KINDS.get(document.kind)
    if kind is None:
        raise LegalDemandError(
            f"There is no kind of document {document.kind!r}; the kinds are"
            f" {', '.join(DOCUMENT_KINDS)}."
        )
    if not 0 < len(document.issuer.strip()) <= MAX_ISSUER_LENGTH:
        raise LegalDemandError(
            f"Please enter who issued it, in at most {MAX_ISSUER_LENGTH} characters."
        )
    if document.received_on > today:
        raise LegalDemandError("The date received cannot be in the future.")
    if not document.categories:
        raise LegalDemandError("Please choose which parts of the record it asks for.")
    if excluded := document.categories - set(DEMANDABLE_CATEGORIES):
        names = ", ".join(sorted(category.replace("_", " ") for category in excluded))
        raise LegalDemandError(f"A legal demand cannot include: {names}.")
    if not kind.needs and (document.of_court or document.signed_by_judge):
        raise LegalDemandError(
            "This kind of document does not come from a court and has no judge's signature. If this"
            " one does, choose a court order, a subpoena, or a warrant signed by a judge."
        )
    if document.parent_notified_on is not None or document.notice_exception:
        check_notice(
            document.received_on, document.parent_notified_on, document.notice_exception, today
        )


def check_notice(received_on: date, notified_on: date | None, exception: str, today: date) -> None:
    """Refuse a notice that is neither a possible date nor one of `NOTICE_EXCEPTIONS`.

    Args:
        received_on: the day on which the district received the document.

    Raises:
        LegalDemandError: neither or both are given, or one is impossible.
    """
    if notified_on is not None and not received_on <= notified_on <= today:
        raise LegalDemandError("The notification date must be between the date received and today.")
    if exception and exception not in NOTICE_EXCEPTIONS:
        raise LegalDemandError(
            f"There is no exception {exception!r}; the exceptions are"
            f" {', '.join(NOTICE_EXCEPTIONS)}."
        )
    if (notified_on is None) != bool(exception):
        raise LegalDemandError(_ONE_OF_TWO)
