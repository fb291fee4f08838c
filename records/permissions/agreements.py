"""Data-sharing agreements: what a partner may see, why, when, and on which one legal basis.

An agreement is a TOML file that a lawyer can read. This module refuses a file that lacks any
element that the law requires of a written agreement (34 CFR 99.35(a)(3); PTAC, "Written Agreement
Checklist"), and names the line. A text that was accepted stays accepted: stricter checks apply to
newer files only.
"""

from __future__ import annotations

import hashlib
import re
import tomllib
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from enum import StrEnum
from pathlib import Path
from typing import Any, NoReturn

from sqlalchemy import select

from records.canonical.schema import CONSENT_CATEGORIES, Category
from records.canonical.supports import SupportCatalog
from records.database.engine import Database
from records.database.tables import AgreementRow, AgreementTermsRow, OrganizationRow
from records.system.errors import UserError


class LegalBasis(StrEnum):
    """The provision of FERPA under which records are shared; an agreement has exactly one."""

    SCHOOL_OFFICIAL = "school_official"
    CONSENT = "consent"
    AUDIT_EVALUATION = "audit_evaluation"
    STUDIES = "studies"


CITATIONS = {
    LegalBasis.SCHOOL_OFFICIAL: "34 CFR 99.31(a)(1)",
    LegalBasis.CONSENT: "34 CFR 99.30",
    LegalBasis.AUDIT_EVALUATION: "34 CFR 99.31(a)(3) and 99.35",
    LegalBasis.STUDIES: "34 CFR 99.31(a)(6)",
}
PER_STUDENT_BASES = frozenset({LegalBasis.SCHOOL_OFFICIAL, LegalBasis.CONSENT})
"""The legal bases that allow individual records. The others allow aggregates only."""

PURPOSE_KINDS: Mapping[LegalBasis, tuple[str, ...]] = {
    LegalBasis.SCHOOL_OFFICIAL: ("service",),
    LegalBasis.CONSENT: ("service",),
    LegalBasis.AUDIT_EVALUATION: ("audit", "evaluation", "compliance"),
    LegalBasis.STUDIES: ("predictive_tests", "student_aid", "instruction"),
}
"""The purposes that each legal basis allows: services to students, then those of 34 CFR
99.35(a)(3)(ii)(B) and 99.31(a)(6)(i)."""


class AgreementError(UserError, ValueError):
    """An agreement that cannot be accepted or does not exist; of a file the line is named."""


@dataclass(frozen=True)
class Element:
    """One element of every agreement. `source` is the provision that requires it, if one does."""

    key: str
    type: type
    description: str
    source: str = ""


_RULE = "34 CFR 99.35(a)(3)"
ELEMENTS: tuple[Element, ...] = (
    Element("agreement_id", str, "what the agreement is called, in letters, digits, - and _"),
    Element("version", int, "1, and one more for each change"),
    Element("organization_id", str, "the organization the district designates", f"{_RULE}(i)"),
    Element("legal_basis", str, "the legal basis", "34 CFR 99.31(a)"),
    Element("purpose", str, "what the records are shared for", f"{_RULE}(ii)(B)"),
    Element(
        "purpose_kind", str, "which purpose allowed by its legal basis applies", f"{_RULE}(ii)(B)"
    ),
    Element("activity", str, "what is done with the records, and how", f"{_RULE}(ii)(C)"),
    Element("categories", list, "which records are shared", f"{_RULE}(ii)(A)"),
    Element(
        "consent_required",
        list,
        "which of them also need each family's signed consent",
        "34 CFR 99.30",
    ),
    Element("programs", list, "the programs whose students are covered"),
    Element("supports", list, "the supports that may be suggested"),
    Element("start", date, "the first day", "34 CFR 99.31(a)(6)(iii)(C)(1)"),
    Element("end", date, "the last day", "34 CFR 99.31(a)(6)(iii)(C)(1)"),
    Element(
        "destruction_date",
        date,
        "the day by which the records are destroyed",
        f"{_RULE}(iii) and (iv)",
    ),
    Element("officers", list, "who answers for the records", f"{_RULE}(i)"),
    Element(
        "safeguards",
        str,
        "how the records are protected, and whose use they are limited to",
        f"{_RULE}(v)",
    ),
    Element("redisclosure", str, "whether and how they may be passed on", f"{_RULE}(v)"),
    Element(
        "breach_notice_hours",
        int,
        "how soon the district is notified of a breach, at most 72 hours",
    ),
)
"""In reading order. The notice of a breach is from PTAC, "Written Agreement Checklist"."""

_TYPES = {
    str: "words in quotes",
    int: "a whole number",
    list: "a list in square brackets",
    date: "a day such as 2026-07-31, without quotes",
}
_IDENTIFIER = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,79}")
_RESERVED = "explain"
"""The site has another page at /agreements/explain."""

_TOKEN = re.compile(r"""\"{3}|'{3}|"(?:\\.|[^"\\])*"|'[^']*'|[\[\]]|#.*""")
"""What matters in a line of TOML outside a text: quotes, brackets and comments."""

_TEXT_END = {'"""': re.compile(r'(?:[^\\]|\\.)*?"""'), "'''": re.compile("[^\0]*?'''")}
"""Opening of a text over several lines -> the rest of it up to its end."""


@dataclass(frozen=True)
class Agreement:
    """One version of one agreement. `end` is its last day; `sha256` is over the exact text."""

    agreement_id: str
    version: int
    organization_id: str
    legal_basis: LegalBasis
    purpose: str
    purpose_kind: str
    activity: str
    categories: frozenset[Category]
    programs: frozenset[str]
    supports: tuple[str, ...]
    start: date
    end: date
    destruction_date: date
    officers: tuple[str, ...]
    safeguards: str
    redisclosure: str
    breach_notice_hours: int
    text: str
    sha256: str

    def in_force(self, today: date) -> bool:
        """Whether today is between the first and the last day, both included."""
        return self.start <= today <= self.end

    def line_number_of(self, key: str, value: str = "") -> int:
        """The line of the text with `key`, or within its list the line that names `value`."""
        return line_number_of(self.text, key, value)


def read_agreement(file: Path, supports: SupportCatalog) -> Agreement:
    """Read and check an agreement's file.

    Args:
        supports: the kinds of support that it may name.

    Raises:
        AgreementError: naming file and line of the first thing that is wrong.
        OSError: the file cannot be read.
    """
    content = file.read_bytes()
    try:
        text = content.decode("utf-8")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise AgreementError(
            f"{file.name}, line {line}: not UTF-8; save it as plain text in UTF-8"
        ) from None
    return parse_agreement(text, file.name, supports)


def parse_agreement(text: str, file: str, supports: SupportCatalog | None = None) -> Agreement:
    """Read and check the text of an agreement.

    Args:
        file: the name of the file, for messages.
        supports: the kinds of support that it may name; by default those of Handrail.

    Raises:
        AgreementError: naming file and line of the first thing that is wrong.
    """
    elements = _parse_toml(text, file)
    document = _Document(text, file, elements)
    document.check_elements(supports or SupportCatalog.declared())
    agreement = _agreement(elements, text)
    _check_scope(document, agreement)
    _check_terms(document, agreement)
    return agreement


def line_number_of(text: str, key: str, value: str = "") -> int:
    """The line number of a key in a TOML text, or of the line in its list that names `value`.

    If the key is missing it is the number after the last line's.
    """
    lines = _lines(text)
    keys = [
        _key_of(line) if outside else ""
        for line, outside in zip(lines, _starts_outside(lines), strict=True)
    ]
    if key not in keys:
        return len(lines) + 1
    first = keys.index(key)
    for index in range(first, len(lines)):
        if index > first and keys[index]:
            break
        if value and re.search(rf"""(["']){re.escape(value)}\1""", lines[index]):
            return index + 1
    return first + 1


@dataclass(frozen=True)
class Reinstatement:
    """Who reinstated a revoked agreement (a user identifier), when and why."""

    at: datetime
    by: str
    reason: str


def save_agreement(
    database: Database, agreement: Agreement, reinstatement: Reinstatement | None = None
) -> None:
    """Store a new version.

    Args:
        reinstatement: for a version of a revoked agreement
            (`records.permissions.reinstatements.reinstate`).

    Raises:
        AgreementError: its organization is unknown, the version exists with another text or is not
            the newest, or the agreement is revoked and this does not reinstate it.
    """
    with database.session() as session:
        if session.get(OrganizationRow, agreement.organization_id) is None:
            raise AgreementError(
                f"agreement {agreement.agreement_id}: there is no organization"
                f" {agreement.organization_id!r}; add it first"
            )
        rows = session.scalars(
            select(AgreementRow)
            .where(AgreementRow.agreement_id == agreement.agreement_id)
            .order_by(AgreementRow.version)
        ).all()
        revoked_at = rows[-1].revoked_at if rows else None
        _check_revocation(agreement, revoked_at, reinstatement)
        for row in rows:
            if (
                row.version == agreement.version
                and row.sha256 == agreement.sha256
                and reinstatement is None
            ):
                return
            if row.version >= agreement.version or row.organization_id != agreement.organization_id:
                raise AgreementError(
                    f"agreement {agreement.agreement_id} has version {row.version} with"
                    f" {row.organization_id} already; a change needs a higher version for the same"
                    " organization"
                )
        session.add(
            AgreementRow(
                agreement_id=agreement.agreement_id,
                version=agreement.version,
                sha256=agreement.sha256,
                organization_id=agreement.organization_id,
                document=agreement.text,
                revoked_at=None,
                reinstated_at=reinstatement and reinstatement.at,
                reinstated_by=reinstatement and reinstatement.by,
                reinstatement_reason=reinstatement and reinstatement.reason,
            )
        )
        session.flush()
        session.add(_terms(agreement))


def revoke_agreement(database: Database, agreement_id: str, now: datetime) -> None:
    """End an agreement at once: from the next request on it opens nothing.

    Raises:
        AgreementError: there is no such agreement.
    """
    with database.session() as session:
        rows = session.scalars(
            select(AgreementRow).where(AgreementRow.agreement_id == agreement_id)
        ).all()
        if not rows:
            raise AgreementError(f"there is no agreement {agreement_id!r}")
        for row in rows:
            row.revoked_at = row.revoked_at or now


def agreements_in_force(database: Database, organization_id: str, today: date) -> list[Agreement]:
    """The organization's agreements in force: newest versions, not revoked, within their dates."""
    return [
        stored.agreement
        for stored in latest_agreements(database, organization_id)
        if stored.revoked_at is None and stored.agreement.in_force(today)
    ]


@dataclass(frozen=True)
class StoredAgreement:
    """One version of an agreement as it is stored, whether in force or not."""

    agreement: Agreement
    revoked_at: datetime | None
    reinstatement: Reinstatement | None = None


def latest_agreements(
    database: Database, organization_id: str | None = None
) -> list[StoredAgreement]:
    """The newest version of every agreement, of one organization or all; ended ones too."""
    query = select(AgreementRow).order_by(AgreementRow.agreement_id, AgreementRow.version)
    if organization_id is not None:
        query = query.where(AgreementRow.organization_id == organization_id)
    with database.session() as session:
        newest = {row.agreement_id: row for row in session.scalars(query).all()}
        return [_stored(row) for row in newest.values()]


def agreement_versions(database: Database, agreement_id: str) -> list[StoredAgreement]:
    """Every version of one agreement, the newest first; empty if there is none."""
    query = (
        select(AgreementRow)
        .where(AgreementRow.agreement_id == agreement_id)
        .order_by(AgreementRow.version.desc())
    )
    with database.session() as session:
        return [_stored(row) for row in session.scalars(query).all()]


def _stored(row: AgreementRow) -> StoredAgreement:
    reinstatement = None
    if row.reinstated_at is not None:
        reinstatement = Reinstatement(
            row.reinstated_at, row.reinstated_by or "", row.reinstatement_reason or ""
        )
    return StoredAgreement(
        _agreement(tomllib.loads(row.document), row.document), row.revoked_at, reinstatement
    )


def _check_revocation(
    agreement: Agreement, revoked_at: datetime | None, reinstatement: Reinstatement | None
) -> None:
    name = agreement.agreement_id
    if revoked_at is not None and reinstatement is None:
        raise AgreementError(
            f"agreement {name} was revoked on {revoked_at:%Y-%m-%d}, and a newer version does not"
            " undo that: a district administrator may, with `handrail agreements reinstate`"
        )
    if reinstatement is not None and revoked_at is None:
        raise AgreementError(f"agreement {name} is not revoked: there is no revocation to undo")
    if reinstatement is not None and not reinstatement.reason.strip():
        raise AgreementError(f"agreement {name} was revoked: give a reason for reinstating it")


def _terms(agreement: Agreement) -> AgreementTermsRow:
    return AgreementTermsRow(
        agreement_id=agreement.agreement_id,
        version=agreement.version,
        sha256=agreement.sha256,
        legal_basis=agreement.legal_basis,
        starts_on=agreement.start,
        ends_on=agreement.end,
        categories=agreement.categories,
        programs=sorted(agreement.programs),
    )


def _agreement(elements: Mapping[str, Any], text: str) -> Agreement:
    """The agreement with these elements.

    Texts accepted by older versions lack `purpose_kind`, `activity` and `safeguards`.
    """
    return Agreement(
        agreement_id=elements["agreement_id"],
        version=elements["version"],
        organization_id=elements["organization_id"],
        legal_basis=LegalBasis(elements["legal_basis"]),
        purpose=elements["purpose"],
        purpose_kind=elements.get("purpose_kind", ""),
        activity=elements.get("activity", ""),
        categories=frozenset(map(Category, elements["categories"])),
        programs=frozenset(elements["programs"]),
        supports=tuple(elements["supports"]),
        start=elements["start"],
        end=elements["end"],
        destruction_date=elements["destruction_date"],
        officers=tuple(elements["officers"]),
        safeguards=elements.get("safeguards", ""),
        redisclosure=elements["redisclosure"],
        breach_notice_hours=elements["breach_notice_hours"],
        text=text,
        sha256=hashlib.sha256(text.encode()).hexdigest(),
    )


def _parse_toml(text: str, file: str) -> dict[str, Any]:
    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        position = re.search(r"\(at line (\d+), column \d+\)", str(error))
        line = position[1] if position else len(_lines(text))
        raise AgreementError(f"{file}, line {line}: not valid TOML: {error}") from None


def _lines(text: str) -> list[str]:
    return text.rstrip("\n").split("\n")


def _starts_outside(lines: Sequence[str]) -> Iterator[bool]:
    """Whether each line starts outside the texts and lists that began on a line above."""
    opening, depth = "", 0
    for line in lines:
        yield not opening and depth == 0
        position = 0
        while token := (_TEXT_END[opening].match if opening else _TOKEN.search)(line, position):
            position = token.end()
            if opening:
                opening = ""
            elif token[0] in _TEXT_END:
                opening = token[0]
            else:
                depth += {"[": 1, "]": -1}.get(token[0], 0)


def _key_of(line: str) -> str:
    key = re.match(r"""\s*\[*\s*["']?([A-Za-z0-9_-]+)["']?\s*[=.\]]""", line)
    return key[1] if key else ""


def _check_scope(document: _Document, agreement: Agreement) -> None:
    """Check that what is shared agrees with the legal basis."""
    basis, consent = agreement.legal_basis, frozenset(document.elements["consent_required"])
    if agreement.purpose_kind not in PURPOSE_KINDS[basis]:
        document.refuse(
            "purpose_kind",
            f"is {agreement.purpose_kind!r}, which {basis} ({CITATIONS[basis]}) does not allow;"
            f" its purposes are: {', '.join(PURPOSE_KINDS[basis])}",
        )
    if not agreement.categories:
        document.refuse("categories", "is empty: an agreement that grants nothing shares nothing")
    without_consent = sorted((agreement.categories & CONSENT_CATEGORIES) - consent)
    if without_consent:
        document.refuse(
            "consent_required",
            f"must name {', '.join(without_consent)}: the law requires each family's consent",
        )
    if consent - agreement.categories:
        document.refuse("consent_required", "names categories that the agreement does not grant")
    consent_not_needed = sorted(consent - CONSENT_CATEGORIES)
    if consent_not_needed and basis is not LegalBasis.CONSENT:
        document.refuse(
            "consent_required",
            f"names {', '.join(consent_not_needed)}, which do not require individual consent; if"
            ' every family must consent to everything, use legal_basis = "consent"',
            consent_not_needed[0],
        )
    if agreement.supports and basis not in PER_STUDENT_BASES:
        document.refuse(
            "supports", f"must be empty: {basis} allows no suggestions ({CITATIONS[basis]})"
        )
    if basis in PER_STUDENT_BASES and not agreement.programs:
        document.refuse(
            "programs",
            "is empty: students are covered only if they are enrolled in a program",
        )


def _check_terms(document: _Document, agreement: Agreement) -> None:
    """Check identifiers, dates and limits."""
    if not _IDENTIFIER.fullmatch(agreement.agreement_id) or agreement.agreement_id == _RESERVED:
        document.refuse(
            "agreement_id",
            f"is {agreement.agreement_id!r}; it may have up to 80 letters, digits, - and _, "
            f"and may not be {_RESERVED!r}",
        )
    if agreement.version < 1:
        document.refuse("version", "must be 1 or more")
    if agreement.end < agreement.start:
        document.refuse("end", f"is {agreement.end}, before the start on {agreement.start}")
    if agreement.destruction_date < agreement.end:
        document.refuse(
            "destruction_date",
            f"is {agreement.destruction_date}, before the end on {agreement.end}",
        )
    if not 0 < agreement.breach_notice_hours <= 72:
        document.refuse("breach_notice_hours", "must be from 1 to 72")
    if not agreement.officers:
        document.refuse("officers", "must name at least one person who answers for the data")


@dataclass(frozen=True)
class _Document:
    """The text of an agreement with its elements as TOML reads them."""

    text: str
    file: str
    elements: dict[str, Any]

    def refuse(self, key: str, problem: str, value: str = "") -> NoReturn:
        """Raise an error that names the line of the key, or of a value in its list."""
        raise AgreementError(
            f"{self.file}, line {line_number_of(self.text, key, value)}: {key} {problem}"
        )

    def check_elements(self, supports: SupportCatalog) -> None:
        """Check that every element is present, of its type, not empty, and names known things."""
        known = {element.key for element in ELEMENTS}
        for key in self.elements:
            if key not in known:
                self.refuse(
                    key,
                    "is not part of an agreement; the parts are"
                    f" {', '.join(element.key for element in ELEMENTS)}",
                )
        for element in ELEMENTS:
            self._check_element(element)
        basis = self.elements["legal_basis"]
        if basis not in tuple(LegalBasis):
            self.refuse("legal_basis", f"is {basis!r}; it must be one of {', '.join(LegalBasis)}")
        for key in ("categories", "consent_required"):
            self._check_known(key, self.elements[key], tuple(Category))
        self._check_supports(supports)

    def _check_element(self, element: Element) -> None:
        if element.key not in self.elements:
            source = f" ({element.source})" if element.source else ""
            self.refuse(element.key, f"is missing: {element.description}{source}")
        value = self.elements[element.key]
        if type(value) is not element.type:
            self.refuse(element.key, f"is {value!r}; it must be {_TYPES[element.type]}")
        if isinstance(value, str) and not value.strip():
            self.refuse(element.key, f"is empty; it must say {element.description}")
        if isinstance(value, list):
            if not all(isinstance(item, str) and item.strip() for item in value):
                self.refuse(element.key, "must hold words in quotes only")
            if len(set(value)) != len(value):
                self.refuse(element.key, "names something twice")

    def _check_known(self, key: str, values: Collection[str], allowed: tuple[str, ...]) -> None:
        for value in values:
            if value not in allowed:
                self.refuse(key, f"names {value!r}; it may name {', '.join(allowed)}", value)

    def _check_supports(self, supports: SupportCatalog) -> None:
        for value in self.elements["supports"]:
            if value not in supports:
                self.refuse(
                    "supports",
                    f"names {value!r}; it may name {', '.join(supports.keys)}"
                    f"{supports.advice(value)}",
                    value,
                )
