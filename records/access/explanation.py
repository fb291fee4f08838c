"""Why a person can or cannot see each category of a student's record, and where that is written.

The conditions are those of `records.access.scope`, checked one by one for one student, and the
results agree with it. A category is visible if one access path to it is open: an agreement, a
referral, an emergency, or being the district. If none is, the reason is the first condition that
failed on the path that got furthest.

An explanation reveals enrollments and consents, so it is for the district only.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, datetime
from typing import Any, NamedTuple

from records.access.scope import existing_students
from records.canonical.schema import CONSENT_CATEGORIES, Category
from records.database.engine import Database
from records.database.tables import StaffRow
from records.permissions import consents, emergencies, legal_holds, opt_outs
from records.permissions.agreements import (
    CITATIONS,
    PER_STUDENT_BASES,
    Agreement,
    LegalBasis,
    StoredAgreement,
    latest_agreements,
)
from records.permissions.consents import Consent
from records.permissions.destructions_in_progress import (
    UnfinishedDestruction,
    unfinished_destruction_of,
)
from records.permissions.emergencies import Emergency
from records.permissions.legal_holds import Hold
from records.permissions.opt_outs import OptOut
from records.referrals.referrals import ANSWER_WITHIN, Referral, opening_to, referrals_to
from records.referrals.states import State
from records.snapshots.queries import (
    TableProvider,
    compile_query,
    students_param,
    students_placeholder,
)
from records.snapshots.snapshot import Snapshot
from records.staff.viewer import (
    DISTRICT,
    EMERGENCY_CATEGORIES,
    PARTNER_ROLES,
    ROLE_CATEGORIES,
    Role,
    Viewer,
)
from records.system.errors import UserError

EXPLAINED_CATEGORIES = frozenset({Category.DIRECTORY, Category.SERVICES, Category.SERVICES_OTHER})
"""What an explanation itself discloses: that a student is in the records, and their programs."""

_CONSENT_LAW = {
    Category.HOUSING: "42 U.S.C. 11432(g)(3)(G)",
    Category.MEAL_ELIGIBILITY: "7 CFR 245.6",
    Category.SPECIAL_EDUCATION: "34 CFR 300.622",
}
_ROLE_RULE = "Handrail's rule for each role"
_EMERGENCY_RULE = "Handrail's rule for emergencies (34 CFR 99.36)"


class UnknownStudent(UserError, LookupError):
    """No student in the records has this identifier."""


@dataclass(frozen=True)
class AccessCondition:
    """One question, whether the condition holds, the answer in words, and where it is written."""

    asked: str
    holds: bool
    answer: str
    written: str


@dataclass(frozen=True)
class AccessPath:
    """One way to a category, with its conditions in the order in which they are checked.

    The path is open if all of them hold. `opens` is the one that grants the category, while the
    others only allow it: the agreement's line, with the family's consent if the law requires one.
    `sha256` is over the agreement's text, empty for other paths.
    """

    name: str
    sha256: str
    conditions: tuple[AccessCondition, ...]
    opens: AccessCondition

    @property
    def open(self) -> bool:
        """Whether all conditions hold."""
        return all(condition.holds for condition in self.conditions)

    @property
    def went(self) -> int:
        """How many conditions hold before the first that does not."""
        failed = (place for place, condition in enumerate(self.conditions) if not condition.holds)
        return next(failed, len(self.conditions))

    @property
    def decides(self) -> AccessCondition:
        """The condition that grants the category, or the first that fails."""
        return self.opens if self.open else self.conditions[self.went]


@dataclass(frozen=True)
class CategoryAccess:
    """Whether one category is visible, and every path to it that was tried."""

    category: Category
    ways: tuple[AccessPath, ...]

    @property
    def visible(self) -> bool:
        """Whether at least one path is open."""
        return any(path.open for path in self.ways)

    @property
    def way(self) -> AccessPath:
        """The first open path, or else the first of those that got furthest."""
        return max(self.ways, key=lambda path: (path.open, 0 if path.open else path.went))

    @property
    def reason(self) -> AccessCondition:
        """The condition that decided."""
        return self.way.decides


@dataclass(frozen=True)
class Explanation:
    """What one person may see of one student at one moment, by category in reading order."""

    viewer: Viewer
    student_id: str
    now: datetime
    answers: tuple[CategoryAccess, ...]

    @property
    def visible(self) -> frozenset[Category]:
        """The visible categories."""
        return frozenset(access.category for access in self.answers if access.visible)

    @property
    def housing_services(self) -> str:
        """A sentence on other organizations' services that reveal housing; empty if irrelevant."""
        if Category.SERVICES_OTHER not in self.visible:
            return ""
        verdict = "are visible" if Category.HOUSING in self.visible else "are not visible"
        law = _CONSENT_LAW[Category.HOUSING]
        return (
            "Other organizations' programs that help with housing, or whose kind is not recorded,"
            f" {verdict}: that needs both other partners' services and housing ({law})."
        )


def explain_access(
    viewer: Viewer, student_id: str, database: Database, snapshot: Snapshot, now: datetime
) -> Explanation:
    """What `viewer` may see of this student, and why.

    Args:
        now: the district's local time. For another day, what is on record now is judged as of that
            day: an agreement revoked since then counts as revoked.

    Raises:
        UnknownStudent: there is no such student in the records.
    """
    if not existing_students(snapshot, [student_id]):
        raise UnknownStudent("no student in the records has this ID")
    account = _account_condition(database, viewer)
    facts = _read_facts(viewer, student_id, database, snapshot, now.date())
    return Explanation(
        viewer,
        student_id,
        now,
        tuple(
            CategoryAccess(category, _access_paths(account, viewer, category, facts, now))
            for category in Category
        ),
    )


def agreement_status(stored: StoredAgreement, today: date) -> str:
    """Whether an agreement is in force today, in a few words."""
    agreement = stored.agreement
    if stored.revoked_at is not None:
        return f"Revoked on {_day(stored.revoked_at)}"
    if today < agreement.start:
        return f"Starts on {_day(agreement.start)}"
    return f"Ended on {_day(agreement.end)}" if today > agreement.end else "In force"


class _Enrollment(NamedTuple):
    program_id: str
    start: date
    end: date | None

    def is_active(self, today: date) -> bool:
        return self.start <= today and (self.end is None or self.end >= today)


@dataclass(frozen=True)
class _Facts:
    """All that is on record about one person's organization and one student."""

    agreements: list[StoredAgreement]
    enrollments: list[_Enrollment]
    opt_outs: list[OptOut]
    holds: list[Hold]
    consents: list[Consent]
    emergencies: list[Emergency]
    referrals: list[Referral]
    open_referrals: frozenset[int]
    unfinished_destruction: UnfinishedDestruction | None


def _read_facts(
    viewer: Viewer, student_id: str, database: Database, snapshot: Snapshot, today: date
) -> _Facts:
    enrollments = compile_query(_enrollments, viewer.organization_id).arrow(
        snapshot, students_param([student_id])
    )
    return _Facts(
        agreements=latest_agreements(database, viewer.organization_id),
        enrollments=[
            _Enrollment(row["program_id"], row["start_date"], row["end_date"])
            for row in enrollments.to_pylist()
        ],
        opt_outs=opt_outs.opt_outs(database, student_id),
        holds=[hold for hold in legal_holds.holds(database) if hold.student_id == student_id],
        consents=[
            consent
            for consent in consents.consents(database, student_id)
            if consent.signed.organization_id == viewer.organization_id
        ],
        emergencies=[
            emergency
            for emergency in emergencies.emergencies(
                database, student_id=student_id, user_id=viewer.user_id
            )
            if emergency.organization_id == viewer.organization_id
        ],
        referrals=referrals_to(database, viewer.organization_id, student_id),
        open_referrals=frozenset(
            referral.number
            for referral in opening_to(database, viewer.organization_id, today)
            if referral.student_id == student_id
        ),
        unfinished_destruction=unfinished_destruction_of(database, student_id),
    )


def _enrollments(tables: TableProvider, organization_id: str) -> Any:
    rows = tables.table("service_enrollments").semi_join(students_placeholder(), "student_id")
    own = rows.filter(rows["organization_id"] == organization_id).order_by(
        ["start_date", "program_id"]
    )
    return own.select("program_id", "start_date", "end_date")


def _access_paths(
    account: AccessCondition, viewer: Viewer, category: Category, facts: _Facts, now: datetime
) -> tuple[AccessPath, ...]:
    if not account.holds:
        return (_path("the account", (), account),)
    not_destroyed = _destruction_condition(facts.unfinished_destruction)
    if viewer.role is Role.DISTRICT_ADMIN and viewer.organization_id == DISTRICT:
        return (_path("the district's own records", (account, not_destroyed), _DISTRICT_RECORDS),)
    role = _role_condition(viewer)
    if not role.holds:
        return (_path("the role", (account,), role),)
    first = (account, role, not_destroyed)
    by_agreement = [
        _agreement_path(first, stored, viewer.role, category, facts, now.date())
        for stored in facts.agreements
    ]
    by_referral = [
        _agreement_path(first, stored, viewer.role, category, facts, now.date(), referral)
        for referral in facts.referrals
        for stored in facts.agreements
        if referral.program_id in stored.agreement.programs
    ]
    return (
        *(by_agreement or [_path("no agreement", first, _NO_AGREEMENT)]),
        *by_referral,
        *(_emergency_path(first, emergency, category, now) for emergency in facts.emergencies),
    )


def _path(name: str, before: tuple[AccessCondition, ...], opens: AccessCondition) -> AccessPath:
    """A path whose last condition grants the category."""
    return AccessPath(name, sha256="", conditions=(*before, opens), opens=opens)


def _agreement_path(
    first: tuple[AccessCondition, ...],
    stored: StoredAgreement,
    role: Role,
    category: Category,
    facts: _Facts,
    today: date,
    referral: Referral | None = None,
) -> AccessPath:
    """What an agreement opens of a student who is enrolled in one of its programs, or referred."""
    agreement = stored.agreement
    opens = grants = _grants_condition(agreement, category)
    if referral is None:
        grounds: tuple[AccessCondition, ...] = (
            _enrollment_condition(agreement, facts.enrollments, today),
        )
    else:
        grounds = (
            _referral_condition(referral, facts.open_referrals),
            _named_role_condition(referral, category),
        )
    conditions = (
        *first,
        *_validity_conditions(stored, today),
        _legal_basis_condition(agreement),
        *grounds,
        _opt_out_condition(facts.opt_outs, today),
        _hold_condition(facts.holds),
        grants,
        _role_category_condition(role, category),
    )
    if agreement.legal_basis is LegalBasis.CONSENT or category in CONSENT_CATEGORIES:
        consent = _consent_condition(agreement, category, facts.consents, today)
        conditions = (*conditions, consent)
        opens = AccessCondition(
            asked=grants.asked,
            holds=grants.holds,
            answer=f"{grants.answer}. {consent.asked} {consent.answer}",
            written=f"{grants.written}; {consent.written}",
        )
    name = f"agreement {agreement.agreement_id}, version {agreement.version}"
    if referral is not None:
        name = f"referral {referral.number}, {name}"
    return AccessPath(name, agreement.sha256, conditions, opens)


def _emergency_path(
    first: tuple[AccessCondition, ...], emergency: Emergency, category: Category, now: datetime
) -> AccessPath:
    name = f"Emergency {emergency.number}"
    is_open, can_open = emergency.is_open(now), category in EMERGENCY_CATEGORIES
    hours = f"from {_moment(emergency.opened_at)} to {_moment(emergency.until)}"
    requested = category in emergency.categories
    conditions = (
        *first,
        AccessCondition(
            asked="Is the emergency open?",
            holds=is_open,
            answer=f"{_yes(is_open)}: {hours}",
            written=name,
        ),
        AccessCondition(
            asked="Can emergency access include this?",
            holds=can_open,
            answer=_yes(can_open),
            written=_EMERGENCY_RULE,
        ),
    )
    opens = AccessCondition(
        asked="Was this part of the record requested?",
        holds=requested,
        answer=_yes(requested),
        written=name,
    )
    return _path(f"emergency {emergency.number}", conditions, opens)


_DISTRICT_RECORDS = AccessCondition(
    asked="Are these the district's own records?",
    holds=True,
    answer="Yes: its administrators see all of them",
    written=_ROLE_RULE,
)
_NO_AGREEMENT = AccessCondition(
    asked="Does the organization have an agreement?",
    holds=False,
    answer="No: none was ever added",
    written="The agreements",
)


def _account_condition(database: Database, viewer: Viewer) -> AccessCondition:
    with database.session() as session:
        row = session.get(StaffRow, viewer.user_id)
        if row is None:
            problem = "there is no such account"
        elif not row.active:
            problem = "the account is closed"
        elif (row.role, row.organization_id) != (viewer.role, viewer.organization_id):
            problem = "the account now has a different role or organization"
        else:
            problem = ""
    return AccessCondition(
        asked="May this person sign in?",
        holds=not problem,
        answer=f"No: {problem}" if problem else "Yes",
        written="The accounts",
    )


def _role_condition(viewer: Viewer) -> AccessCondition:
    holds = viewer.role in PARTNER_ROLES
    return AccessCondition(
        asked="Does the role allow access to individual students?",
        holds=holds,
        answer=f"{_yes(holds)}: {_role_name(viewer.role)}",
        written=_ROLE_RULE,
    )


def _validity_conditions(stored: StoredAgreement, today: date) -> tuple[AccessCondition, ...]:
    agreement, revoked_at = stored.agreement, stored.revoked_at
    started, not_ended = agreement.start <= today, today <= agreement.end
    if revoked_at is None:
        revocation, written = "Yes: it was not revoked", "The agreements"
    else:
        revocation = f"No: it was revoked on {_day(revoked_at)}"
        written = f"The district's revocation of {agreement.agreement_id}"
    return (
        AccessCondition(
            asked="Is the agreement still valid (not revoked)?",
            holds=revoked_at is None,
            answer=revocation,
            written=written,
        ),
        AccessCondition(
            asked="Has it started?",
            holds=started,
            answer=f"{_yes(started)}: its first day is {_day(agreement.start)}",
            written=_agreement_line(agreement, "start"),
        ),
        AccessCondition(
            asked="Is it still in force?",
            holds=not_ended,
            answer=f"{_yes(not_ended)}: its last day is {_day(agreement.end)}",
            written=_agreement_line(agreement, "end"),
        ),
    )


def _legal_basis_condition(agreement: Agreement) -> AccessCondition:
    holds = agreement.legal_basis in PER_STUDENT_BASES
    basis = f"{agreement.legal_basis.replace('_', ' ')} ({CITATIONS[agreement.legal_basis]})"
    return AccessCondition(
        asked="Does its legal basis allow access to individual students?",
        holds=holds,
        answer=f"{_yes(holds)}: {basis}",
        written=_agreement_line(agreement, "legal_basis"),
    )


def _enrollment_condition(
    agreement: Agreement, enrollments: list[_Enrollment], today: date
) -> AccessCondition:
    covered = [
        enrollment for enrollment in enrollments if enrollment.program_id in agreement.programs
    ]
    active = next((enrollment for enrollment in covered if enrollment.is_active(today)), None)
    if active is not None:
        program, answer = active.program_id, f"in {active.program_id} since {_day(active.start)}"
    elif covered:
        program, start, end = covered[-1]
        when = f"from {_day(start)}" if start > today or end is None else f"until {_day(end)}"
        answer = f"in {program} {when}"
    else:
        program, answer = "", "in none of them"
    return AccessCondition(
        asked="Is the student enrolled in one of its programs today?",
        holds=active is not None,
        answer=f"{_yes(active is not None)}: {answer}",
        written=_agreement_line(agreement, "programs", program),
    )


def _referral_condition(referral: Referral, open_referrals: frozenset[int]) -> AccessCondition:
    is_open = referral.number in open_referrals
    answer = f"{_yes(is_open)}: {referral.state.replace('_', ' ')} since {_moment(referral.since)}"
    if not is_open and referral.state is State.SENT:
        answer += (
            f", and not answered within {ANSWER_WITHIN.days} days, or the family's consent ended"
        )
    return AccessCondition(
        asked="Is the referral open?",
        holds=is_open,
        answer=answer,
        written=f"Referral {referral.number}",
    )


def _named_role_condition(referral: Referral, category: Category) -> AccessCondition:
    holds = category in ROLE_CATEGORIES[referral.role]
    return AccessCondition(
        asked="May the role that the referral names see it?",
        holds=holds,
        answer=f"{_yes(holds)}: {_role_name(referral.role)}",
        written=f"Referral {referral.number}",
    )


def _opt_out_condition(student_opt_outs: list[OptOut], today: date) -> AccessCondition:
    asked = "Has the family opted out?"
    for opt_out in student_opt_outs:
        if opt_out.counts(today):
            answer = f"Yes: since {_day(opt_out.since)}"
            return AccessCondition(asked, False, answer, f"Opt-out {opt_out.number}")
    return AccessCondition(asked, True, "No", "The opt-outs")


def _hold_condition(holds: list[Hold]) -> AccessCondition:
    asked = "Is there a legal hold on the record?"
    for hold in holds:
        if hold.lifted_at is None:
            answer = f"Yes: since {_moment(hold.since)}"
            return AccessCondition(asked, False, answer, f"Legal hold {hold.number}")
    return AccessCondition(asked, True, "No", "The legal holds")


def _destruction_condition(unfinished: UnfinishedDestruction | None) -> AccessCondition:
    asked = "Is the record being destroyed?"
    if unfinished is None:
        return AccessCondition(asked, True, "No", "The certificates of destruction")
    answer = f"Yes: since {_moment(unfinished.begun_at)}"
    return AccessCondition(asked, False, answer, f"Unfinished destruction {unfinished.number}")


def _grants_condition(agreement: Agreement, category: Category) -> AccessCondition:
    holds = category in agreement.categories
    return AccessCondition(
        asked="Does the agreement cover this part of the record?",
        holds=holds,
        answer=_yes(holds),
        written=_agreement_line(agreement, "categories", category),
    )


def _role_category_condition(role: Role, category: Category) -> AccessCondition:
    holds = category in ROLE_CATEGORIES[role]
    return AccessCondition(
        asked="May the role see it?",
        holds=holds,
        answer=f"{_yes(holds)}: {_role_name(role)}",
        written=_ROLE_RULE,
    )


def _consent_condition(
    agreement: Agreement, category: Category, student_consents: list[Consent], today: date
) -> AccessCondition:
    law = _CONSENT_LAW.get(category, CITATIONS[LegalBasis.CONSENT])
    asked = f"Has the family consented to it ({law})?"
    covering = [consent for consent in student_consents if category in consent.signed.categories]
    for consent in covering:
        if consent.counts(today):
            signed = consent.signed
            answer = (
                f"Yes: {signed.signer} on {_day(signed.signed_on)}, until {_day(signed.expires_on)}"
            )
            return AccessCondition(asked, True, answer, f"Consent {consent.number}")
    if covering:
        answer = f"No: {_why_not_in_force(covering[0], today)}"
        return AccessCondition(asked, False, answer, f"Consent {covering[0].number}")
    key = "consent_required" if category in CONSENT_CATEGORIES else "legal_basis"
    written = _agreement_line(agreement, key, category)
    return AccessCondition(asked, False, "No: no consent covers it", written)


def _why_not_in_force(consent: Consent, today: date) -> str:
    if consent.revoked_on is not None and consent.revoked_on <= today:
        return f"it was revoked on {_day(consent.revoked_on)}"
    if consent.signed.signed_on > today:
        return f"it was not signed until {_day(consent.signed.signed_on)}"
    return f"it ended on {_day(consent.signed.expires_on)}"


def _agreement_line(agreement: Agreement, key: str, value: str = "") -> str:
    line = agreement.line_number_of(key, value)
    return f"Line {line} of {agreement.agreement_id}, version {agreement.version}"


def _role_name(role: Role) -> str:
    return role.replace("_", " ")


def _yes(holds: bool) -> str:
    return "Yes" if holds else "No"


def _day(value: date) -> str:
    return f"{value.day} {value:%B %Y}"


def _moment(value: datetime) -> str:
    return f"{_day(value)}, {value:%H:%M}"
