"""What a family is told about one student's record: who has looked at it, what for, and what the
law says of it.

Everything here is in words, ready for a page, a PDF, a spreadsheet or a terminal. The report holds
no value of the record, and it is itself a look, which whoever makes it writes down first. Sources:
34 CFR 99.10, 99.20 to 99.22, 99.32, 99.63 and 99.64.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from datetime import datetime
from pathlib import Path

from markupsafe import Markup

from records.database.engine import Database
from records.disclosure_log.history import Disclosure, Party, disclosures, parties
from records.disclosure_log.recordkeeping import RECORDKEEPING_RULES
from records.law.legal_demands import JUDICIAL_BASIS
from records.people.accounts import Organization, organizations, staff_names
from records.people.viewer import EMERGENCY_BASIS, emergency_reference
from records.permissions.agreements import latest_agreements
from records.permissions.emergencies import Emergency, emergencies
from records.system.pdf import render_pdf
from serving.exports.csv_export import csv_bytes
from serving.rendering.templates import template_environment
from serving.wording import words

MAX_DISCLOSURES_LISTED = 5_000
"""Looks that a page or a PDF lists, the newest; it says so when there are more. The summary counts
them all."""

ABOUT: tuple[tuple[str, str], ...] = (
    (
        "What this list is",
        (
            "Handrail writes down every look at this student's record before it shows anything. The"
            " law asks the district to keep a record of some of these looks only (34 CFR 99.32);"
            " the list says of which. It does not repeat what the record holds."
        ),
    ),
    (
        "Who may ask for it",
        (
            "A parent or guardian may ask the district for this list. So may the student, who takes"
            " over this right at 18 or on going to college. The district has to show it within 45"
            " days (34 CFR 99.10 and 99.32(c))."
        ),
    ),
    (
        "If something is not right",
        (
            "Tell the district which line, and why; it can say more about who looked and what for."
            " A family that has signed a consent may take it back at any time, and from then on"
            " nothing is shown on it. A family may also ask the district not to show the record to"
            " its partners. If the record itself is wrong, the family may ask for it to be put"
            " right, and for a hearing if the district refuses (34 CFR 99.20 to 99.22). A complaint"
            " may be sent to the Student Privacy Policy Office of the U.S. Department of Education"
            " within 180 days (34 CFR 99.63 and 99.64)."
        ),
    ),
)
HEADER = (
    "when",
    "person",
    "organization",
    "what was shown",
    "purpose",
    "ground",
    "agreement, emergency or legal demand",
    "the law asks for this record",
    "students in the same list",
    "the danger that was seen in an emergency",
)
DISCLOSURE_LIST_ONLY = "who had looked at it and when"
"""What a look at nothing of the record itself has shown."""

_OWN = "own_records"
_NEEDS_NO_PURPOSE = frozenset({_OWN, EMERGENCY_BASIS})
"""Grounds that say themselves what for."""
_HERE = Path(__file__).parents[1]


@dataclass(frozen=True)
class DisclosureLine:
    """One look in words. `student` and `handle` are for lists of several students; a handle is
    empty where the student was destroyed. `under` is empty for the district's own looks, `purpose`
    for those and for emergencies; `path` is the district's page about what it was under. `danger`
    is what was said of an emergency.
    """

    at: str
    person: str
    organization: str
    student: str
    handle: str
    categories: str
    purpose: str
    basis: str
    agreement_id: str
    under: str
    path: str
    together: int
    law_requires: bool
    danger: str


@dataclass(frozen=True)
class PartySummary:
    """All looks by one organisation for one purpose. `passing_on` is what its agreement says of
    it.
    """

    organization: str
    purpose: str
    basis: str
    under: str
    path: str
    categories: str
    looks: str
    first: str
    last: str
    law: str
    passing_on: str


@dataclass(frozen=True)
class DisclosureReport:
    """What is told about one student's record. `looks` are the newest of `total`."""

    title: str
    lead: str
    total: int
    parties: tuple[PartySummary, ...]
    looks: tuple[DisclosureLine, ...]
    about: tuple[tuple[str, str], ...]
    stamp: str


def read_report(
    database: Database,
    student_id: str,
    name: str | None,
    now: datetime,
    stamp: str,
    most: int | None = MAX_DISCLOSURES_LISTED,
) -> DisclosureReport:
    """Everything that the log says of one student, as of now.

    Args:
        name: the student's name, as it is to be read; None where the records no longer hold them.
        most: how many looks are listed; None lists all of them.
    """
    known, staff = organizations(database), staff_names(database)
    passing_on = {
        one.agreement.agreement_id: one.agreement.redisclosure
        for one in latest_agreements(database)
    }
    found = parties(database, student_id)
    total = sum(party.looks for party in found)
    rows = disclosures(database, student_id=student_id, limit=min(total, most) if most else total)
    organizations_named = {party.organization_id for party in found}
    cut = f" The list has the newest {len(rows):,} of them." if len(rows) < total else ""
    opened = emergencies(database, student_id=student_id)
    dangers = {emergency_reference(one.number): _danger(one) for one in opened}
    told = (
        *(() if name else (_left(student_id),)),
        *(_emergency(one, known, staff) for one in opened),
    )
    return DisclosureReport(
        f"Who has seen the record of {name or f'student {student_id}, who has left'}",
        f"{words.count(total, 'look', 'looks')} until {words.date_time(now)}, by "
        f"{words.count(len(organizations_named), 'organisation', 'organisations')}.{cut}",
        total,
        tuple(_party(party, known, passing_on) for party in found),
        tuple(disclosure_line(row, staff, known, "", "", dangers) for row in rows),
        told + ABOUT,
        stamp,
    )


def disclosure_line(
    row: Disclosure,
    staff: Mapping[str, str],
    known: Mapping[str, Organization],
    student: str,
    handle: str,
    dangers: Mapping[str, str] | None = None,
) -> DisclosureLine:
    """One row of the log in words.

    Args:
        dangers: what was said of each emergency, by the ground that the log names.
    """
    own = row.legal_basis == _OWN
    return DisclosureLine(
        row.at,
        staff.get(row.user_id, "Somebody who has left"),
        _organization(row.organization_id, known),
        student,
        handle,
        words.categories(row.categories) or DISCLOSURE_LIST_ONLY,
        _purpose(row),
        words.basis(row.legal_basis),
        "" if own else row.agreement_id,
        *_under(row.legal_basis, row.agreement_id),
        row.shown_together,
        row.law_requires,
        (dangers or {}).get(row.agreement_id, ""),
    )


def report_csv(report: DisclosureReport) -> bytes:
    """The looks as a spreadsheet, one a line."""
    rows = (
        (
            look.at,
            look.person,
            look.organization,
            look.categories,
            look.purpose,
            look.basis,
            look.under,
            "yes" if look.law_requires else "no",
            str(look.together),
            look.danger,
        )
        for look in report.looks
    )
    return csv_bytes(report.stamp, HEADER, rows)


def report_pdf(report: DisclosureReport) -> bytes:
    """The report to be printed or sent."""
    looks = [asdict(look) | {"at": words.date_time(look.at)} for look in report.looks]
    summed = [asdict(party) | {"under": words.capital(party.under)} for party in report.parties]
    return render_pdf(
        _HERE / "templates" / "report.typ", asdict(report) | {"looks": looks, "parties": summed}
    )


def report_html(report: DisclosureReport) -> bytes:
    """The report as a page that stands alone."""
    style = Markup((_HERE / "static" / "site.css").read_text())
    page = (
        template_environment()
        .get_template("report_file.html")
        .render(report=report, stylesheet_text=style)
    )
    return page.encode()


def report_text(report: DisclosureReport) -> str:
    """The report for a terminal: what a page says, line by line."""
    lines = [report.title, report.stamp, "", report.lead]
    for party in report.parties:
        told = [
            party.looks,
            f"{party.first} to {party.last}",
            party.categories,
            party.purpose,
            party.basis,
            words.capital(party.under),
            f"The law asks for a record: {party.law}",
            party.passing_on and f"Passing it on: {party.passing_on}",
        ]
        lines += ["", party.organization, *(f"  {line}" for line in told if line)]
    lines += ["", *(_line(look) for look in report.looks)]
    for title, text in report.about:
        lines += ["", title, text]
    return "\n".join(lines) + "\n"


def _party(
    party: Party, known: Mapping[str, Organization], passing_on: Mapping[str, str]
) -> PartySummary:
    citation = RECORDKEEPING_RULES[party.legal_basis].citation
    return PartySummary(
        _organization(party.organization_id, known),
        _purpose(party),
        words.basis(party.legal_basis),
        *_under(party.legal_basis, party.agreement_id),
        words.categories(party.categories) or DISCLOSURE_LIST_ONLY,
        words.count(party.looks, "look", "looks"),
        words.date_time(party.first),
        words.date_time(party.last),
        f"{'Yes' if party.law_requires else 'No'} ({citation})",
        passing_on.get(party.agreement_id, ""),
    )


def _purpose(looked: Disclosure | Party) -> str:
    return "" if looked.legal_basis in _NEEDS_NO_PURPOSE else looked.purpose


def _under(legal_basis: str, agreement_id: str) -> tuple[str, str]:
    """What a look rests on, in words, and the district's page about it; empty for the district's
    own records.
    """
    number = agreement_id.rpartition("-")[2]
    if legal_basis == _OWN:
        return "", ""
    if legal_basis == EMERGENCY_BASIS:
        return f"emergency {number}", f"/emergencies#emergency-{number}"
    if legal_basis == JUDICIAL_BASIS:
        return f"legal demand {number}", f"/demands/{number}"
    return f"agreement {agreement_id}", f"/agreements/{agreement_id}"


def _left(student_id: str) -> tuple[str, str]:
    return (
        "The student's name",
        (
            "The student is no longer on the district's rolls, so its records hold no name any"
            f" more. The list is that of the student with the district's number {student_id}."
        ),
    )


def _emergency(
    one: Emergency, known: Mapping[str, Organization], staff: Mapping[str, str]
) -> tuple[str, str]:
    """What 34 CFR 99.32(a)(5) asks to be told of an emergency: the threat that was seen, and to
    whom it opened what.
    """
    who = (
        f"{staff.get(one.user_id, 'somebody who has left')} of"
        f" {_organization(one.organization_id, known)}"
    )
    opened = (
        f"Until {words.date_time(one.until)}, {who} could read: {words.categories(one.categories)}."
    )
    return f"The emergency of {words.date_time(one.opened_at)}", f"{opened} {_danger(one)}"


def _danger(one: Emergency) -> str:
    return (
        f"The danger that was seen: {one.threat.rstrip('.')}. Why this was needed:"
        f" {one.reason.rstrip('.')}."
    )


def _organization(organization_id: str, known: Mapping[str, Organization]) -> str:
    return known[organization_id].name if organization_id in known else organization_id


def _line(look: DisclosureLine) -> str:
    law = "; the law asks for this record" if look.law_requires else ""
    return f"{words.date_time(look.at)}: {look.person}, {look.organization}: {look.categories}{law}"
