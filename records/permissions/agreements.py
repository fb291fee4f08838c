"""Agreements: what a partner may see, for which purpose, on which ONE legal basis, from when to
when.

An agreement is a TOML file that a lawyer can read. This module refuses a file that lacks any
element that the law asks a written agreement for (34 CFR 99.35(a)(3); PTAC, "Written Agreement
Checklist"), and names the line. A text that was accepted once counts as it was accepted: a newer
rule holds for newer files.
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

from records.canonical.schema import CONSENT_CATEGORIES, SUPPORTS, Category
from records.database.engine import Database
from records.database.tables import AgreementRow, AgreementTermsRow, OrganizationRow
from records.system.errors import UserError


class LegalBasis(StrEnum):
    """The one ground on which records are shared."""

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
"""The bases that open a single student's record. The others open aggregates only."""


PURPOSE_KINDS: Mapping[LegalBasis, tuple[str, ...]] = {
    LegalBasis.SCHOOL_OFFICIAL: ("service",),
    LegalBasis.CONSENT: ("service",),
    LegalBasis.AUDIT_EVALUATION: ("audit", "evaluation", "compliance"),
    LegalBasis.STUDIES: ("predictive_tests", "student_aid", "instruction"),
}
"""What each basis may be used for: help to students; 34 CFR 99.35(a)(3)(ii)(B); 34 CFR
99.31(a)(6)(i)."""


class AgreementError(UserError, ValueError):
    """An agreement that cannot be accepted or is not there; of a file the message names the
    line.
    """


@dataclass(frozen=True)
class Element:
    """One thing that every agreement says. `source` is where the law asks for it, if it does."""

    key: str
    type: type
    says: str
    source: str = ""


_RULE = "34 CFR 99.35(a)(3)"
ELEMENTS: tuple[Element, ...] = (
    Element("agreement_id", str, "what the agreement is called, in letters, digits, - and _"),
    Element("version", int, "1, and one more for each change"),
    Element("organization_id", str, "whom the district designates", f"{_RULE}(i)"),
    Element("legal_basis", str, "the one ground in law", "34 CFR 99.31(a)"),
    Element("purpose", str, "what the records are shared for", f"{_RULE}(ii)(B)"),
    Element("purpose_kind", str, "which of the purposes that its ground allows", f"{_RULE}(ii)(B)"),
    Element("activity", str, "what is done with the records, and how", f"{_RULE}(ii)(C)"),
    Element("categories", list, "which records are shared", f"{_RULE}(ii)(A)"),
    Element(
        "consent_required",
        list,
        "which of them also need each family's signed consent",
        "34 CFR 99.30",
    ),
    Element("programs", list, "the programs whose students are meant"),
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
        "breach_notice_hours", int, "how soon the district hears of a breach, at most 72 hours"
    ),
)
"""In the order in which an agreement is read. PTAC, "Written Agreement Checklist", asks for the
notice of a breach."""

_TYPES = {
    str: "words in quotes",
    int: "a whole number",
    list: "a list in square brackets",
    date: "a day such as 2026-07-31, without quotes",
}
_IDENTIFIER = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,79}")
_RESERVED = "explain"  # the site has a page of its own at this place among the agreements


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
        """True from the first day to the last, both included."""
        return self.start <= today <= self.end

    def line_of(self, key: str, value: str = "") -> int:
        """The line of the text that says `key`, or within its list the line that names `value`."""
        return line_number_of(self.text, key, value)


def read_agreement(file: Path) -> Agreement:
    """Read and check an agreement's file, to the last byte.

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
    return parse_agreement(text, file.name)


def parse_agreement(text: str, file: str) -> Agreement:
    """Read and check one agreement.

    Raises:
        AgreementError: naming file and line of the first thing that is wrong.
    """
    found = _toml(text, file)
    reader = _Reader(text, file, found)
    reader.check_elements()
    agreement = _agreement(found, text)
    _check_scope(reader, agreement)
    _check_terms(reader, agreement)
    return agreement


def line_number_of(text: str, key: str, value: str = "") -> int:
    """The line on which a key of a TOML text stands, or the line of its list that names `value`.

    Where the key is missing it is the line after the last.
    """
    lines = _lines(text)
    keys = [
        _key_of(line) if begins else ""
        for line, begins in zip(lines, _begin_something(lines), strict=True)
    ]
    if key not in keys:
        return len(lines) + 1
    first = keys.index(key)
    for place in range(first, len(lines)):
        if place > first and keys[place]:
            break
        if value and re.search(rf"""(["']){re.escape(value)}\1""", lines[place]):
            return place + 1
    return first + 1


@dataclass(frozen=True)
class Reinstatement:
    """Who takes a revocation back (a member of staff), when, and why."""

    at: datetime
    by: str
    reason: str


def save_agreement(
    database: Database, agreement: Agreement, reinstatement: Reinstatement | None = None
) -> None:
    """Store a new version.

    Args:
        reinstatement: for a version of an agreement that was revoked
            (`records.permissions.reinstatements.reinstate`).

    Raises:
        AgreementError: its organisation is not known, the version exists with another text or is
            not the newest, or the agreement was revoked and nobody takes that back.
    """
    with database.session() as session:
        if session.get(OrganizationRow, agreement.organization_id) is None:
            raise AgreementError(
                f"agreement {agreement.agreement_id}: there is no organisation "
                f"{agreement.organization_id!r}; add it first"
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
                    f" {row.organization_id} already; a change needs a higher version, with the"
                    " same organisation"
                )
        session.add(
            AgreementRow(
                agreement_id=agreement.agreement_id,
                version=agreement.version,
                sha256=agreement.sha256,
                organization_id=agreement.organization_id,
                document=agreement.text,
                revoked_at=None,
                **(
                    {
                        "reinstated_at": reinstatement.at,
                        "reinstated_by": reinstatement.by,
                        "reinstatement_reason": reinstatement.reason,
                    }
                    if reinstatement
                    else {}
                ),
            )
        )
        session.flush()
        session.add(_terms(agreement))


def revoke_agreement(database: Database, agreement_id: str, now: datetime) -> None:
    """End an agreement at once: the next request sees nothing by it.

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
    """The organisation's agreements that are in force: newest version each, not revoked, within
    their dates.
    """
    stored = latest_agreements(database, organization_id)
    return [
        one.agreement for one in stored if one.revoked_at is None and one.agreement.in_force(today)
    ]


@dataclass(frozen=True)
class StoredAgreement:
    """One version of an agreement as it is kept, whether in force or not."""

    agreement: Agreement
    revoked_at: datetime | None
    reinstatement: Reinstatement | None = None


def latest_agreements(
    database: Database, organization_id: str | None = None
) -> list[StoredAgreement]:
    """The newest version of every agreement, of one organisation or of all: ended and revoked ones
    too.
    """
    query = select(AgreementRow).order_by(AgreementRow.agreement_id, AgreementRow.version)
    if organization_id is not None:
        query = query.where(AgreementRow.organization_id == organization_id)
    with database.session() as session:
        newest = {row.agreement_id: row for row in session.scalars(query).all()}
        return [_stored(row) for row in newest.values()]


def agreement_versions(database: Database, agreement_id: str) -> list[StoredAgreement]:
    """Every version of one agreement, the newest first; empty where there is none."""
    query = (
        select(AgreementRow)
        .where(AgreementRow.agreement_id == agreement_id)
        .order_by(AgreementRow.version.desc())
    )
    with database.session() as session:
        return [_stored(row) for row in session.scalars(query).all()]


def _stored(row: AgreementRow) -> StoredAgreement:
    taken_back = None
    if row.reinstated_at is not None:
        taken_back = Reinstatement(
            row.reinstated_at, row.reinstated_by or "", row.reinstatement_reason or ""
        )
    return StoredAgreement(
        _agreement(tomllib.loads(row.document), row.document), row.revoked_at, taken_back
    )


def _check_revocation(
    agreement: Agreement, revoked_at: datetime | None, reinstatement: Reinstatement | None
) -> None:
    name = agreement.agreement_id
    if revoked_at is not None and reinstatement is None:
        raise AgreementError(
            f"agreement {name} was revoked on {revoked_at:%Y-%m-%d}, and a newer version does not"
            " take that back: a district administrator may, with `handrail agreements reinstate`"
        )
    if reinstatement is not None and revoked_at is None:
        raise AgreementError(f"agreement {name} is not revoked: there is nothing to take back")
    if reinstatement is not None and not reinstatement.reason.strip():
        raise AgreementError(f"agreement {name} was revoked: say why that is taken back")


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


def _agreement(found: Mapping[str, Any], text: str) -> Agreement:
    """The agreement that a text says. Texts kept from before have no word on `purpose_kind` and
    what stands by it.
    """
    return Agreement(
        agreement_id=found["agreement_id"],
        version=found["version"],
        organization_id=found["organization_id"],
        legal_basis=LegalBasis(found["legal_basis"]),
        purpose=found["purpose"],
        purpose_kind=found.get("purpose_kind", ""),
        activity=found.get("activity", ""),
        categories=frozenset(map(Category, found["categories"])),
        programs=frozenset(found["programs"]),
        supports=tuple(found["supports"]),
        start=found["start"],
        end=found["end"],
        destruction_date=found["destruction_date"],
        officers=tuple(found["officers"]),
        safeguards=found.get("safeguards", ""),
        redisclosure=found["redisclosure"],
        breach_notice_hours=found["breach_notice_hours"],
        text=text,
        sha256=hashlib.sha256(text.encode()).hexdigest(),
    )


def _toml(text: str, file: str) -> dict[str, Any]:
    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        place = re.search(r"\(at line (\d+), column \d+\)", str(error))
        line = place[1] if place else len(_lines(text))
        raise AgreementError(f"{file}, line {line}: not valid TOML: {error}") from None


def _lines(text: str) -> list[str]:
    return text.rstrip("\n").split("\n")


_TOKEN = re.compile(r"""\"{3}|'{3}|"(?:\\.|[^"\\])*"|'[^']*'|[\[\]]|#.*""")
_ENDS = {'"""': re.compile(r'(?:[^\\]|\\.)*?"""'), "'''": re.compile("[^\0]*?'''")}


def _begin_something(lines: Sequence[str]) -> Iterator[bool]:
    """Of each line, whether it stands neither in a text nor in a list that began on a line
    above.
    """
    opened, depth = "", 0
    for line in lines:
        yield not opened and depth == 0
        place = 0
        while (
            found := (_ENDS[opened].match if opened else _TOKEN.search)(line, place)
        ) is not None:
            place = found.end()
            if opened:
                opened = ""
            elif found[0] in _ENDS:
                opened = found[0]
            else:
                depth += {"[": 1, "]": -1}.get(found[0], 0)


def _key_of(line: str) -> str:
    found = re.match(r"""\s*\[*\s*["']?([A-Za-z0-9_-]+)["']?\s*[=.\]]""", line)
    return found[1] if found else ""


def _check_scope(reader: _Reader, agreement: Agreement) -> None:
    basis, consent = agreement.legal_basis, frozenset(reader.found["consent_required"])
    if agreement.purpose_kind not in PURPOSE_KINDS[basis]:
        reader.refuse(
            "purpose_kind",
            f"is {agreement.purpose_kind!r}, for which {basis} ({CITATIONS[basis]}) is no "
            f"ground; its purposes are: {', '.join(PURPOSE_KINDS[basis])}",
        )
    if not agreement.categories:
        reader.refuse("categories", "is empty: an agreement that grants nothing shares nothing")
    unguarded = sorted((agreement.categories & CONSENT_CATEGORIES) - consent)
    if unguarded:
        reader.refuse(
            "consent_required",
            f"must name {', '.join(unguarded)}: the law asks for each family's consent",
        )
    if consent - agreement.categories:
        reader.refuse("consent_required", "names categories that the agreement does not grant")
    beyond = sorted(consent - CONSENT_CATEGORIES)
    if beyond and basis is not LegalBasis.CONSENT:
        reader.refuse(
            "consent_required",
            f"names {', '.join(beyond)}, for which no family is asked alone; where each "
            'is to sign for everything, the ground is legal_basis = "consent"',
            beyond[0],
        )
    if agreement.supports and basis not in PER_STUDENT_BASES:
        reader.refuse(
            "supports", f"must be empty: {basis} never opens a suggestion ({CITATIONS[basis]})"
        )
    if basis in PER_STUDENT_BASES and not agreement.programs:
        reader.refuse(
            "programs",
            "is empty: students are reached only through a program that they take part in",
        )


def _check_terms(reader: _Reader, agreement: Agreement) -> None:
    if not _IDENTIFIER.fullmatch(agreement.agreement_id) or agreement.agreement_id == _RESERVED:
        reader.refuse(
            "agreement_id",
            f"is {agreement.agreement_id!r}; it may have up to 80 letters, digits, - and _, "
            f"and may not be {_RESERVED!r}",
        )
    if agreement.version < 1:
        reader.refuse("version", "must be 1 or more")
    if agreement.end < agreement.start:
        reader.refuse("end", f"is {agreement.end}, before the start on {agreement.start}")
    if agreement.destruction_date < agreement.end:
        reader.refuse(
            "destruction_date",
            f"is {agreement.destruction_date}, before the end on {agreement.end}",
        )
    if not 0 < agreement.breach_notice_hours <= 72:
        reader.refuse("breach_notice_hours", "must be from 1 to 72")
    if not agreement.officers:
        reader.refuse("officers", "must name at least one person who answers for the data")


@dataclass(frozen=True)
class _Reader:
    text: str
    file: str
    found: dict[str, Any]

    def refuse(self, key: str, reason: str, value: str = "") -> NoReturn:
        raise AgreementError(
            f"{self.file}, line {line_number_of(self.text, key, value)}: {key} {reason}"
        )

    def check_elements(self) -> None:
        """Every element is there, of its kind and not empty; nothing else is; names are among those
        that exist.
        """
        known = {element.key for element in ELEMENTS}
        for key in self.found:
            if key not in known:
                self.refuse(
                    key,
                    "is not part of an agreement; the parts are"
                    f" {', '.join(e.key for e in ELEMENTS)}",
                )
        for element in ELEMENTS:
            self._check(element)
        basis = self.found["legal_basis"]
        if basis not in tuple(LegalBasis):
            self.refuse("legal_basis", f"is {basis!r}; it must be one of {', '.join(LegalBasis)}")
        for key in ("categories", "consent_required"):
            self._check_known(key, self.found[key], tuple(Category))
        self._check_known("supports", self.found["supports"], SUPPORTS)

    def _check(self, element: Element) -> None:
        if element.key not in self.found:
            asks = f" ({element.source})" if element.source else ""
            self.refuse(element.key, f"is missing: {element.says}{asks}")
        value = self.found[element.key]
        if type(value) is not element.type:
            self.refuse(element.key, f"is {value!r}; it must be {_TYPES[element.type]}")
        if isinstance(value, str) and not value.strip():
            self.refuse(element.key, f"is empty; it must say {element.says}")
        if isinstance(value, list):
            if not all(isinstance(one, str) and one.strip() for one in value):
                self.refuse(element.key, "must hold words in quotes only")
            if len(set(value)) != len(value):
                self.refuse(element.key, "names something twice")

    def _check_known(self, key: str, values: Collection[str], allowed: tuple[str, ...]) -> None:
        for value in values:
            if value not in allowed:
                self.refuse(key, f"names {value!r}; it may name {', '.join(allowed)}", value)
