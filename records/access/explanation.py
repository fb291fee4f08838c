"""Why a person may or may not see a part of a student's record: every question that was asked, and
where it is written.

The questions are those of `records.access.scope`, put one by one about one student, and the answers
agree with it. A part of the record is visible if one way to it is open: an agreement, an emergency,
or being the district. Where none is, the reason is the first question that failed on the way that
went furthest.

An explanation speaks of enrolments and consents, so it is for the district alone.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, datetime
from typing import Any

from records.access.scope import existing_students
from records.canonical.schema import CONSENT_CATEGORIES, Category
from records.database.engine import Database
from records.database.tables import StaffRow
from records.people.viewer import (
    DISTRICT,
    EMERGENCY_CATEGORIES,
    PARTNER_ROLES,
    ROLE_CATEGORIES,
    Role,
    Viewer,
)
from records.permissions.agreements import (
    CITATIONS,
    PER_STUDENT_BASES,
    Agreement,
    LegalBasis,
    StoredAgreement,
    latest_agreements,
)
from records.permissions.consents import Consent, consents
from records.permissions.destructions import UnfinishedDestruction, unfinished_destruction_of
from records.permissions.emergencies import Emergency, emergencies
from records.permissions.legal_holds import Hold, holds
from records.permissions.opt_outs import OptOut, opt_outs
from records.snapshots.queries import (
    TableProvider,
    compile_query,
    students_param,
    students_placeholder,
)
from records.snapshots.snapshot import Snapshot
from records.system.errors import UserError

EXPLAINED_CATEGORIES = frozenset({Category.DIRECTORY, Category.SERVICES, Category.SERVICES_OTHER})
"""What an explanation tells of a student: that they are on record, and in whose programs they take
part."""

_CONSENT_LAW = {
    Category.HOUSING: "42 U.S.C. 11432(g)(3)(G)",
    Category.MEAL_ELIGIBILITY: "7 CFR 245.6",
    Category.SPECIAL_EDUCATION: "34 CFR 300.622",
}
_ROLE_RULE = "Handrail's rule for each role"
_EMERGENCY_RULE = "Handrail's rule for emergencies (34 CFR 99.36)"


class UnknownStudent(UserError, LookupError):
    """No student on record has this identifier."""


@dataclass(frozen=True)
class AccessCondition:
    """One question, whether it let the person through, the answer in words, and where that is
    written.
    """

    asked: str
    holds: bool
    answer: str
    written: str


@dataclass(frozen=True)
class AccessPath:
    """One way to a part of a record, with its questions in the order in which they were put. Open
    if all hold.

    `opens` is what grants the part, where the others only allow it: the agreement's line, with the
    family's consent where the law asks for one. `sha256` is over the agreement's text.
    """

    name: str
    sha256: str
    conditions: tuple[AccessCondition, ...]
    opens: AccessCondition

    @property
    def open(self) -> bool:
        return all(one.holds for one in self.conditions)

    @property
    def went(self) -> int:
        """How many questions let the person through before one did not."""
        return next(
            (place for place, one in enumerate(self.conditions) if not one.holds),
            len(self.conditions),
        )

    @property
    def decides(self) -> AccessCondition:
        return self.opens if self.open else self.conditions[self.went]


@dataclass(frozen=True)
class CategoryAccess:
    """Whether one category may be seen, and every way to it that was tried."""

    category: Category
    ways: tuple[AccessPath, ...]

    @property
    def visible(self) -> bool:
        return any(way.open for way in self.ways)

    @property
    def way(self) -> AccessPath:
        """The first way that is open, or else the first of those that went furthest."""
        return max(self.ways, key=lambda way: (way.open, 0 if way.open else way.went))

    @property
    def reason(self) -> AccessCondition:
        return self.way.decides


@dataclass(frozen=True)
class Explanation:
    """What one person may see of one student at one moment, in the order in which people read
    categories.
    """

    viewer: Viewer
    student_id: str
    now: datetime
    answers: tuple[CategoryAccess, ...]

    @property
    def visible(self) -> frozenset[Category]:
        return frozenset(answer.category for answer in self.answers if answer.visible)

    @property
    def housing_services(self) -> str:
        """A sentence on other organisations' services that tell of the child's housing; empty where
        none are seen.
        """
        if Category.SERVICES_OTHER not in self.visible:
            return ""
        seen = "are seen" if Category.HOUSING in self.visible else "are not seen"
        law = _CONSENT_LAW[Category.HOUSING]
        return (
            "Other organisations' programs that help with housing, or whose kind is not on record,"
            f" {seen}: that needs both, other partners' services and housing ({law})."
        )


def explain_access(
    viewer: Viewer, student_id: str, database: Database, snapshot: Snapshot, now: datetime
) -> Explanation:
    """What `viewer` may see of this student, and why.

    Args:
        now: the district's local time. Asked about another day, what is on record now is asked
            about that day: an agreement that was revoked since is revoked.

    Raises:
        UnknownStudent: there is no such student on record.
    """
    if not existing_students(snapshot, [student_id]):
        raise UnknownStudent("no student on record has this identifier")
    account, facts = _account(database, viewer), _facts(viewer, student_id, database, snapshot)
    answers = tuple(
        CategoryAccess(category, _ways(account, viewer, category, facts, now))
        for category in Category
    )
    return Explanation(viewer, student_id, now, answers)


def agreement_status(stored: StoredAgreement, today: date) -> str:
    """In a few words, whether an agreement counts today."""
    agreement = stored.agreement
    if stored.revoked_at is not None:
        return f"Revoked on {_day(stored.revoked_at)}"
    if today < agreement.start:
        return f"Starts on {_day(agreement.start)}"
    return f"Ended on {_day(agreement.end)}" if today > agreement.end else "In force"


@dataclass(frozen=True)
class _Facts:
    """All that is on record about one person's organisation and one student."""

    agreements: list[StoredAgreement]
    enrolled: list[tuple[str, date, date | None]]
    opt_outs: list[OptOut]
    holds: list[Hold]
    consents: list[Consent]
    emergencies: list[Emergency]
    going: AccessCondition


_OWN = AccessCondition(
    "Are these the district's own records?",
    True,
    "Yes: its administrators see all of them",
    _ROLE_RULE,
)
_NO_AGREEMENT = AccessCondition(
    "Has the organisation an agreement?", False, "No: none was ever added", "The agreements"
)


def _facts(viewer: Viewer, student_id: str, database: Database, snapshot: Snapshot) -> _Facts:
    enrolled = compile_query(_enrolled, viewer.organization_id).arrow(
        snapshot, students_param([student_id])
    )
    return _Facts(
        latest_agreements(database, viewer.organization_id),
        [(row["program_id"], row["start_date"], row["end_date"]) for row in enrolled.to_pylist()],
        opt_outs(database, student_id),
        [hold for hold in holds(database) if hold.student_id == student_id],
        [
            one
            for one in consents(database, student_id)
            if one.signed.organization_id == viewer.organization_id
        ],
        [
            one
            for one in emergencies(database, student_id=student_id, user_id=viewer.user_id)
            if one.organization_id == viewer.organization_id
        ],
        _going(unfinished_destruction_of(database, student_id)),
    )


def _enrolled(tables: TableProvider, organization_id: str) -> Any:
    rows = tables.table("service_enrollments").semi_join(students_placeholder(), "student_id")
    mine = rows.filter(rows["organization_id"] == organization_id).order_by(
        ["start_date", "program_id"]
    )
    return mine.select("program_id", "start_date", "end_date")


def _ways(
    account: AccessCondition, viewer: Viewer, category: Category, facts: _Facts, now: datetime
) -> tuple[AccessPath, ...]:
    if not account.holds:
        return (_way("the account", (), account),)
    if viewer.role is Role.DISTRICT_ADMIN and viewer.organization_id == DISTRICT:
        return (_way("the district's own records", (account, facts.going), _OWN),)
    role = _role(viewer)
    if not role.holds:
        return (_way("the role", (account,), role),)
    asked = (account, role, facts.going)
    agreements = [
        _by_agreement(asked, stored, viewer.role, category, facts, now.date())
        for stored in facts.agreements
    ]
    return (
        *(agreements or [_way("no agreement", asked, _NO_AGREEMENT)]),
        *(_by_emergency(asked, one, category, now) for one in facts.emergencies),
    )


def _by_agreement(
    asked: tuple[AccessCondition, ...],
    stored: StoredAgreement,
    role: Role,
    category: Category,
    facts: _Facts,
    today: date,
) -> AccessPath:
    agreement = stored.agreement
    opens = granted = _granted(agreement, category)
    conditions = (
        *asked,
        *_in_force(stored, today),
        _basis(agreement),
        _takes_part(agreement, facts.enrolled, today),
        _opt_out(facts.opt_outs, today),
        _hold(facts.holds),
        granted,
        _role_sees(role, category),
    )
    if agreement.legal_basis is LegalBasis.CONSENT or category in CONSENT_CATEGORIES:
        signed = _signed(agreement, category, facts.consents, today)
        conditions = (*conditions, signed)
        opens = AccessCondition(
            granted.asked,
            granted.holds,
            f"{granted.answer}. {signed.asked} {signed.answer}",
            f"{granted.written}; {signed.written}",
        )
    name = f"agreement {agreement.agreement_id}, version {agreement.version}"
    return AccessPath(name, agreement.sha256, conditions, opens)


def _by_emergency(
    asked: tuple[AccessCondition, ...], emergency: Emergency, category: Category, now: datetime
) -> AccessPath:
    register = f"Emergency {emergency.number}"
    hours = f"from {_moment(emergency.opened_at)} to {_moment(emergency.until)}"
    open_now = emergency.is_open(now)
    named = category in emergency.categories
    conditions = (
        *asked,
        AccessCondition("Is the emergency open?", open_now, f"{_yes(open_now)}: {hours}", register),
        AccessCondition(
            "May an emergency ever open this?",
            category in EMERGENCY_CATEGORIES,
            _yes(category in EMERGENCY_CATEGORIES),
            _EMERGENCY_RULE,
        ),
    )
    opens = AccessCondition("Was this part of the record asked for?", named, _yes(named), register)
    return _way(f"emergency {emergency.number}", conditions, opens)


def _way(name: str, before: tuple[AccessCondition, ...], opens: AccessCondition) -> AccessPath:
    return AccessPath(name, "", (*before, opens), opens)


def _account(database: Database, viewer: Viewer) -> AccessCondition:
    asked, written = "May this person sign in?", "The accounts"
    with database.session() as session:
        row = session.get(StaffRow, viewer.user_id)
        if row is None:
            return AccessCondition(asked, False, "No: there is no such account", written)
        if not row.active:
            return AccessCondition(asked, False, "No: the account is closed", written)
        same = row.role == viewer.role and row.organization_id == viewer.organization_id
    return AccessCondition(
        asked,
        same,
        "Yes" if same else "No: the account has another role or organisation now",
        written,
    )


def _role(viewer: Viewer) -> AccessCondition:
    opens = viewer.role in PARTNER_ROLES
    return AccessCondition(
        "Does the role open single students?",
        opens,
        f"{_yes(opens)}: {viewer.role.replace('_', ' ')}",
        _ROLE_RULE,
    )


def _in_force(stored: StoredAgreement, today: date) -> tuple[AccessCondition, ...]:
    agreement, revoked = stored.agreement, stored.revoked_at
    started, lasts = agreement.start <= today, today <= agreement.end
    return (
        AccessCondition(
            "Does the agreement stand?",
            revoked is None,
            f"No: it was revoked on {_day(revoked)}" if revoked else "Yes: it was not revoked",
            (
                f"The district's revocation of {agreement.agreement_id}"
                if revoked
                else "The agreements"
            ),
        ),
        AccessCondition(
            "Has it begun?",
            started,
            f"{_yes(started)}: its first day is {_day(agreement.start)}",
            _line(agreement, "start"),
        ),
        AccessCondition(
            "Is it still in force?",
            lasts,
            f"{_yes(lasts)}: its last day is {_day(agreement.end)}",
            _line(agreement, "end"),
        ),
    )


def _basis(agreement: Agreement) -> AccessCondition:
    opens = agreement.legal_basis in PER_STUDENT_BASES
    said = f"{agreement.legal_basis.replace('_', ' ')} ({CITATIONS[agreement.legal_basis]})"
    return AccessCondition(
        "Does its ground in law open single students?",
        opens,
        f"{_yes(opens)}: {said}",
        _line(agreement, "legal_basis"),
    )


def _takes_part(
    agreement: Agreement, enrolled: list[tuple[str, date, date | None]], today: date
) -> AccessCondition:
    asked = "Does the student take part in one of its programs today?"
    named = [one for one in enrolled if one[0] in agreement.programs]
    for program, since, until in named:
        if since <= today and (until is None or until >= today):
            return AccessCondition(
                asked,
                True,
                f"Yes: in {program} since {_day(since)}",
                _line(agreement, "programs", program),
            )
    if not named:
        return AccessCondition(asked, False, "No: in none of them", _line(agreement, "programs"))
    program, since, until = named[-1]
    when = f"from {_day(since)}" if since > today or until is None else f"until {_day(until)}"
    return AccessCondition(
        asked, False, f"No: in {program} {when}", _line(agreement, "programs", program)
    )


def _opt_out(found: list[OptOut], today: date) -> AccessCondition:
    asked = "Has the family kept the student out?"
    for one in found:
        if one.counts(today):
            return AccessCondition(
                asked, False, f"Yes: since {_day(one.since)}", f"Opt-out {one.number}"
            )
    return AccessCondition(asked, True, "No", "The opt-outs")


def _hold(found: list[Hold]) -> AccessCondition:
    asked = "Is there a legal hold on the record?"
    for one in found:
        if one.lifted_at is None:
            return AccessCondition(
                asked, False, f"Yes: since {_moment(one.since)}", f"Legal hold {one.number}"
            )
    return AccessCondition(asked, True, "No", "The legal holds")


def _going(found: UnfinishedDestruction | None) -> AccessCondition:
    asked = "Is the record being destroyed?"
    if found is None:
        return AccessCondition(asked, True, "No", "The certificates of destruction")
    return AccessCondition(
        asked,
        False,
        f"Yes: since {_moment(found.begun_at)}",
        f"Unfinished destruction {found.number}",
    )


def _granted(agreement: Agreement, category: Category) -> AccessCondition:
    grants = category in agreement.categories
    return AccessCondition(
        "Does the agreement name this part of the record?",
        grants,
        _yes(grants),
        _line(agreement, "categories", category),
    )


def _role_sees(role: Role, category: Category) -> AccessCondition:
    sees = category in ROLE_CATEGORIES[role]
    return AccessCondition(
        "May the role see it?", sees, f"{_yes(sees)}: {role.replace('_', ' ')}", _ROLE_RULE
    )


def _signed(
    agreement: Agreement, category: Category, found: list[Consent], today: date
) -> AccessCondition:
    law = _CONSENT_LAW.get(category, CITATIONS[LegalBasis.CONSENT])
    asked = f"Has the family signed for it ({law})?"
    named = [one for one in found if category in one.signed.categories]
    for one in named:
        if one.counts(today):
            signed = one.signed
            said = (
                f"Yes: {signed.signer} on {_day(signed.signed_on)}, until {_day(signed.expires_on)}"
            )
            return AccessCondition(asked, True, said, f"Consent {one.number}")
    if named:
        return AccessCondition(
            asked, False, f"No: {_why_not(named[0], today)}", f"Consent {named[0].number}"
        )
    key = "consent_required" if category in CONSENT_CATEGORIES else "legal_basis"
    return AccessCondition(asked, False, "No: no consent names it", _line(agreement, key, category))


def _why_not(consent: Consent, today: date) -> str:
    if consent.revoked_on is not None and consent.revoked_on <= today:
        return f"it was revoked on {_day(consent.revoked_on)}"
    if consent.signed.signed_on > today:
        return f"it was signed on {_day(consent.signed.signed_on)} only"
    return f"it ended on {_day(consent.signed.expires_on)}"


def _line(agreement: Agreement, key: str, value: str = "") -> str:
    return (
        f"Line {agreement.line_of(key, value)} of {agreement.agreement_id}, version"
        f" {agreement.version}"
    )


def _yes(holds: bool) -> str:
    return "Yes" if holds else "No"


def _day(value: date) -> str:
    return f"{value.day} {value:%B %Y}"


def _moment(value: datetime) -> str:
    return f"{_day(value)}, {value:%H:%M}"
