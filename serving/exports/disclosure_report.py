"""The disclosure report for a family: who has seen one student's record, why, and what the law is.

Everything here is in words, ready for a page, a PDF, a spreadsheet or a terminal. The report holds
no value of the record. Making one is itself a disclosure, which the caller logs first. Sources:
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
from records.legal_demands.legal_demands import JUDICIAL_BASIS
from records.permissions.agreements import latest_agreements
from records.permissions.emergencies import Emergency, emergencies
from records.staff.accounts import Organization, organizations, staff_names
from records.staff.viewer import EMERGENCY_BASIS, emergency_reference
from records.system.pdf import render_pdf
from serving.exports.csv_export import csv_bytes
from serving.rendering.templates import template_environment
from serving.wording import words

MAX_DISCLOSURES_LISTED = 5_000
"""Views that a page or a PDF lists: the newest, and it says when there are more."""

ABOUT: tuple[tuple[str, str], ...] = (
    (
        "What this list is",
        (
            "Handrail logs every view of this student's record before it shows anything. The law"
            " requires the district to keep a record of only some of these views (34 CFR 99.32);"
            " the list marks which. It does not repeat what the record holds."
        ),
    ),
    (
        "Who may ask for it",
        (
            "A parent or guardian may ask the district for this list. At 18, or on starting"
            " college, the student has this right instead. The district must show it within 45 days"
            " (34 CFR 99.10 and 99.32(c))."
        ),
    ),
    (
        "If something is not right",
        (
            "Tell the district which line, and why; it can say more about who saw the record and"
            " why. A family that has signed a consent may revoke it at any time; from then on"
            " nothing is shared under it. A family may also ask the district not to show the record"
            " to its partners. If the record itself is wrong, the family may ask the district to"
            " correct it, and for a hearing if the district refuses (34 CFR 99.20 to 99.22). A"
            " complaint may be sent to the Student Privacy Policy Office of the U.S. Department of"
            " Education within 180 days (34 CFR 99.63 and 99.64)."
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
"""Titles of the columns, which scripts read: they stay as they are."""

DISCLOSURE_LIST_ONLY = "the list of who viewed it and when"
"""What somebody has seen who saw nothing of the record itself."""

_OWN = "own_records"
_NEEDS_NO_PURPOSE = frozenset({_OWN, EMERGENCY_BASIS})
"""Legal bases that name the purpose themselves."""

_SERVING = Path(__file__).parents[1]


@dataclass(frozen=True)
class DisclosureLine:
    """One view of one student's record, in words. What does not apply is empty.

    Attributes:
        at: the moment in ISO form.
        student, handle: for lists of several students; no handle for a destroyed record.
        purpose: empty where the legal basis names it.
        authority: the agreement, emergency or legal demand it was under; empty for the district's
            own.
        path: the district's page about that.
        students_in_list: how many students the same answer showed.
        law_requires: whether 34 CFR 99.32 requires a record of it.
        threat: what was stated of an emergency.
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
    authority: str
    path: str
    students_in_list: int
    law_requires: bool
    threat: str


@dataclass(frozen=True)
class PartySummary:
    """All views by one organization for one purpose, in words. What does not apply is empty.

    Attributes:
        authority, path: as of `DisclosureLine`.
        views: how many: "3 views".
        recordkeeping: whether the law requires a record of them, with its citation.
        redisclosure: what the agreement says of passing the records on.
    """

    organization: str
    purpose: str
    basis: str
    authority: str
    path: str
    categories: str
    views: str
    first: str
    last: str
    recordkeeping: str
    redisclosure: str


@dataclass(frozen=True)
class DisclosureReport:
    """The report of one student's record.

    Attributes:
        disclosures: the newest of `total`.
        about: titles and texts on what the list is and what a family may do.
        terms: to whom, when and on what terms the report itself was shown.
    """

    title: str
    lead: str
    total: int
    parties: tuple[PartySummary, ...]
    disclosures: tuple[DisclosureLine, ...]
    about: tuple[tuple[str, str], ...]
    terms: str


def read_report(
    database: Database,
    student_id: str,
    name: str | None,
    now: datetime,
    terms: str,
    max_listed: int | None = MAX_DISCLOSURES_LISTED,
) -> DisclosureReport:
    """Everything that the log says of one student, as of now.

    Args:
        name: the student's name as it is to be read; None where the records no longer hold them.
        terms: the sentence that says to whom the report is shown.
        max_listed: how many views are listed; None lists all of them.
    """
    known, staff = organizations(database), staff_names(database)
    redisclosure = {
        stored.agreement.agreement_id: stored.agreement.redisclosure
        for stored in latest_agreements(database)
    }
    viewers = parties(database, student_id)
    total = sum(party.looks for party in viewers)
    limit = min(total, max_listed) if max_listed else total
    rows = disclosures(database, student_id=student_id, limit=limit)
    opened = emergencies(database, student_id=student_id)
    threats = {emergency_reference(emergency.number): _threat(emergency) for emergency in opened}
    about = [_about_emergency(emergency, known, staff) for emergency in opened]
    if not name:
        about.insert(0, _about_former_student(student_id))
    return DisclosureReport(
        title=f"Who has seen the record of {name or f'student {student_id}, who has left'}",
        lead=_lead(total, len(rows), len({party.organization_id for party in viewers}), now),
        total=total,
        parties=tuple(_party(party, known, redisclosure) for party in viewers),
        disclosures=tuple(disclosure_line(row, staff, known, "", "", threats) for row in rows),
        about=(*about, *ABOUT),
        terms=terms,
    )


def disclosure_line(
    row: Disclosure,
    staff: Mapping[str, str],
    known: Mapping[str, Organization],
    student: str,
    handle: str,
    threats: Mapping[str, str] | None = None,
) -> DisclosureLine:
    """One row of the log in words.

    Args:
        staff: names by account.
        known: organizations by ID.
        threats: what was stated of each emergency, by the reference that the log holds.
    """
    authority, path = _authority(row.legal_basis, row.agreement_id)
    return DisclosureLine(
        at=row.at,
        person=words.capital(words.staff_name(staff, row.user_id)),
        organization=_organization(row.organization_id, known),
        student=student,
        handle=handle,
        categories=words.categories(row.categories) or DISCLOSURE_LIST_ONLY,
        purpose=_purpose(row),
        basis=words.basis(row.legal_basis),
        agreement_id="" if row.legal_basis == _OWN else row.agreement_id,
        authority=authority,
        path=path,
        students_in_list=row.shown_together,
        law_requires=row.law_requires,
        threat=(threats or {}).get(row.agreement_id, ""),
    )


def report_csv(report: DisclosureReport) -> bytes:
    """The views as a CSV file, one a line."""
    rows = (
        (
            line.at,
            line.person,
            line.organization,
            line.categories,
            line.purpose,
            line.basis,
            line.authority,
            "yes" if line.law_requires else "no",
            str(line.students_in_list),
            line.threat,
        )
        for line in report.disclosures
    )
    return csv_bytes(report.terms, HEADER, rows)


def report_pdf(report: DisclosureReport) -> bytes:
    """The report as a PDF, to be printed or sent. `report.typ` reads the fields by name."""
    lines = [asdict(line) | {"at": words.date_time(line.at)} for line in report.disclosures]
    viewers = [
        asdict(party) | {"authority": words.capital(party.authority)} for party in report.parties
    ]
    return render_pdf(
        _SERVING / "templates" / "report.typ",
        asdict(report) | {"disclosures": lines, "parties": viewers},
    )


def report_html(report: DisclosureReport) -> bytes:
    """The report as one HTML file with its styles."""
    style = Markup((_SERVING / "static" / "site.css").read_text())
    template = template_environment().get_template("report_file.html")
    return template.render(report=report, stylesheet_text=style).encode()


def report_text(report: DisclosureReport) -> str:
    """The report for a terminal: what the page says, line by line."""
    lines = [report.title, report.terms, "", report.lead]
    for party in report.parties:
        details = [
            party.views,
            f"{party.first} to {party.last}",
            party.categories,
            party.purpose,
            party.basis,
            words.capital(party.authority),
            f"Recordkeeping required by law: {party.recordkeeping}",
            party.redisclosure and f"Redisclosure: {party.redisclosure}",
        ]
        lines += ["", party.organization, *(f"  {detail}" for detail in details if detail)]
    lines += ["", *(_text_line(line) for line in report.disclosures)]
    for title, text in report.about:
        lines += ["", title, text]
    return "\n".join(lines) + "\n"


def _lead(total: int, listed: int, organizations: int, now: datetime) -> str:
    """How many views there are, by how many organizations, and how many of them are listed."""
    views = words.count(total, "view", "views")
    viewers = words.count(organizations, "organization", "organizations")
    cut = f" The list has the newest {listed:,} of them." if listed < total else ""
    return f"{views} as of {words.date_time(now)}, by {viewers}.{cut}"


def _party(
    party: Party, known: Mapping[str, Organization], redisclosure: Mapping[str, str]
) -> PartySummary:
    authority, path = _authority(party.legal_basis, party.agreement_id)
    citation = RECORDKEEPING_RULES[party.legal_basis].citation
    return PartySummary(
        organization=_organization(party.organization_id, known),
        purpose=_purpose(party),
        basis=words.basis(party.legal_basis),
        authority=authority,
        path=path,
        categories=words.categories(party.categories) or DISCLOSURE_LIST_ONLY,
        views=words.count(party.looks, "view", "views"),
        first=words.date_time(party.first),
        last=words.date_time(party.last),
        recordkeeping=f"{'Yes' if party.law_requires else 'No'} ({citation})",
        redisclosure=redisclosure.get(party.agreement_id, ""),
    )


def _purpose(logged: Disclosure | Party) -> str:
    return "" if logged.legal_basis in _NEEDS_NO_PURPOSE else logged.purpose


def _authority(legal_basis: str, agreement_id: str) -> tuple[str, str]:
    """What allowed a view, in words, and the district's page about it; empty for own records."""
    number = agreement_id.rpartition("-")[2]
    if legal_basis == _OWN:
        return "", ""
    if legal_basis == EMERGENCY_BASIS:
        return f"emergency {number}", f"/emergencies#emergency-{number}"
    if legal_basis == JUDICIAL_BASIS:
        return f"legal demand {number}", f"/demands/{number}"
    return f"agreement {agreement_id}", f"/agreements/{agreement_id}"


def _about_former_student(student_id: str) -> tuple[str, str]:
    return (
        "The student's name",
        (
            "The student is no longer enrolled in the district, so its records no longer hold a"
            f" name. This is the list for the student with the district's ID {student_id}."
        ),
    )


def _about_emergency(
    emergency: Emergency, known: Mapping[str, Organization], staff: Mapping[str, str]
) -> tuple[str, str]:
    """What 34 CFR 99.32(a)(5) requires of an emergency: the threat, and who could see what."""
    person = words.staff_name(staff, emergency.user_id)
    opened = (
        f"Until {words.date_time(emergency.until)}, {person} of"
        f" {_organization(emergency.organization_id, known)} could read:"
        f" {words.categories(emergency.categories)}."
    )
    title = f"The emergency of {words.date_time(emergency.opened_at)}"
    return title, f"{opened} {_threat(emergency)}"


def _threat(emergency: Emergency) -> str:
    return (
        f"Threat identified: {emergency.threat.rstrip('.')}. Why this was needed:"
        f" {emergency.reason.rstrip('.')}."
    )


def _organization(organization_id: str, known: Mapping[str, Organization]) -> str:
    return known[organization_id].name if organization_id in known else organization_id


def _text_line(line: DisclosureLine) -> str:
    law = "; recordkeeping required by law" if line.law_requires else ""
    viewer = f"{line.person}, {line.organization}"
    return f"{words.date_time(line.at)}: {viewer}: {line.categories}{law}"
