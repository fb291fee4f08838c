"""Agreements: what a partner may see, for which purpose, on which ONE legal basis, from when to when.

An agreement is a TOML file that a lawyer can read. This module refuses a file that lacks any element that the
law asks a written agreement for (34 CFR 99.35(a)(3); PTAC, "Written Agreement Checklist"), and names the line.
"""

from __future__ import annotations

import hashlib
import tomllib
from dataclasses import dataclass
from datetime import date, datetime
from enum import StrEnum
from typing import Any

from sqlalchemy import select

from records.database import AgreementRow, Database
from records.schema import CONSENT_CATEGORIES, SUPPORTS, Category


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


class AgreementError(ValueError):
    """An agreement file that cannot be accepted; the message names file and line."""


@dataclass(frozen=True)
class Agreement:
    """One version of one agreement. `end` is its last day; `sha256` is over the exact text."""

    agreement_id: str
    version: int
    organization_id: str
    legal_basis: LegalBasis
    purpose: str
    categories: frozenset[Category]
    programs: frozenset[str]
    supports: tuple[str, ...]
    start: date
    end: date
    destruction_date: date
    officers: tuple[str, ...]
    redisclosure: str
    breach_notice_hours: int
    text: str
    sha256: str

    def in_force(self, today: date) -> bool:
        """True from the first day to the last, both included."""
        return self.start <= today <= self.end


_KEYS: dict[str, type] = {
    "agreement_id": str, "version": int, "organization_id": str, "legal_basis": str, "purpose": str,
    "categories": list, "consent_required": list, "programs": list, "supports": list, "start": date, "end": date,
    "destruction_date": date, "officers": list, "redisclosure": str, "breach_notice_hours": int,
}  # fmt: skip


def parse_agreement(text: str, file: str) -> Agreement:
    """Read and check one agreement.

    Raises:
        AgreementError: naming file and line of the first thing that is wrong.
    """
    try:
        found = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise AgreementError(f"{file}: not valid TOML: {error}") from None
    reader = _Reader(text, file, found)
    reader.check_keys()
    categories = frozenset(Category(name) for name in reader.known("categories", tuple(Category)))
    consent = frozenset(Category(name) for name in reader.known("consent_required", tuple(Category)))
    basis = LegalBasis(reader.known_one("legal_basis", tuple(LegalBasis)))
    unguarded = sorted((categories & CONSENT_CATEGORIES) - consent)
    if unguarded:
        reader.refuse("consent_required", f"must name {', '.join(unguarded)}: the law asks for each family's consent")
    if consent - categories:
        reader.refuse("consent_required", "names categories that the agreement does not grant")
    if not categories:
        reader.refuse("categories", "is empty: an agreement that grants nothing shares nothing")
    supports = tuple(reader.known("supports", SUPPORTS))
    if supports and basis not in PER_STUDENT_BASES:
        reader.refuse("supports", f"must be empty: {basis} never opens a suggestion ({CITATIONS[basis]})")
    if found["end"] < found["start"]:
        reader.refuse("end", f"is {found['end']}, before the start on {found['start']}")
    if found["destruction_date"] < found["end"]:
        reader.refuse("destruction_date", f"is {found['destruction_date']}, before the end on {found['end']}")
    if found["version"] < 1:
        reader.refuse("version", "must be 1 or more")
    if not 0 < found["breach_notice_hours"] <= 72:
        reader.refuse("breach_notice_hours", "must be from 1 to 72")
    if not found["officers"]:
        reader.refuse("officers", "must name at least one person who answers for the data")
    if basis in PER_STUDENT_BASES and not found["programs"]:
        reader.refuse("programs", "is empty: students are reached only through a program that they take part in")
    return Agreement(
        agreement_id=found["agreement_id"], version=found["version"], organization_id=found["organization_id"],
        legal_basis=basis, purpose=found["purpose"], categories=categories,
        programs=frozenset(reader.texts("programs")), supports=supports, start=found["start"], end=found["end"],
        destruction_date=found["destruction_date"], officers=tuple(reader.texts("officers")),
        redisclosure=found["redisclosure"], breach_notice_hours=found["breach_notice_hours"], text=text,
        sha256=hashlib.sha256(text.encode()).hexdigest(),
    )  # fmt: skip


def save_agreement(database: Database, agreement: Agreement) -> None:
    """Store a new version.

    Raises:
        AgreementError: the version exists with another text, or is not newer than the newest.
    """
    with database.session() as session:
        rows = session.scalars(
            select(AgreementRow).where(AgreementRow.agreement_id == agreement.agreement_id)
        ).all()
        for row in rows:
            if row.version == agreement.version and row.sha256 == agreement.sha256:
                return
            if row.version >= agreement.version or row.organization_id != agreement.organization_id:
                raise AgreementError(
                    f"agreement {agreement.agreement_id} has version {row.version} with {row.organization_id} already; "
                    "a change needs a higher version, with the same organisation"
                )
        session.add(
            AgreementRow(agreement_id=agreement.agreement_id, version=agreement.version, sha256=agreement.sha256,
                         organization_id=agreement.organization_id, document=agreement.text, revoked_at=None)
        )  # fmt: skip


def revoke(database: Database, agreement_id: str, now: datetime) -> None:
    """End an agreement at once: the next request sees nothing by it.

    Raises:
        AgreementError: there is no such agreement.
    """
    with database.session() as session:
        rows = session.scalars(select(AgreementRow).where(AgreementRow.agreement_id == agreement_id)).all()
        if not rows:
            raise AgreementError(f"there is no agreement {agreement_id!r}")
        for row in rows:
            row.revoked_at = row.revoked_at or now


def agreements_of(database: Database, organization_id: str, today: date) -> list[Agreement]:
    """The organisation's agreements that are in force: newest version each, not revoked, within their dates."""
    stored = all_agreements(database, organization_id)
    return [one.agreement for one in stored if one.revoked_at is None and one.agreement.in_force(today)]


@dataclass(frozen=True)
class StoredAgreement:
    """The newest version of an agreement as it is kept, whether in force or not."""

    agreement: Agreement
    revoked_at: datetime | None


def all_agreements(database: Database, organization_id: str | None = None) -> list[StoredAgreement]:
    """The newest version of every agreement, of one organisation or of all: ended and revoked ones too."""
    query = select(AgreementRow).order_by(AgreementRow.agreement_id, AgreementRow.version)
    if organization_id is not None:
        query = query.where(AgreementRow.organization_id == organization_id)
    with database.session() as session:
        newest = {row.agreement_id: row for row in session.scalars(query).all()}
        return [StoredAgreement(parse_agreement(row.document, row.agreement_id), row.revoked_at)
                for row in newest.values()]  # fmt: skip


@dataclass(frozen=True)
class _Reader:
    text: str
    file: str
    found: dict[str, Any]

    def line_of(self, key: str) -> int:
        for number, line in enumerate(self.text.splitlines(), start=1):
            if line.split("=", 1)[0].strip() == key:
                return number
        return len(self.text.splitlines()) + 1

    def refuse(self, key: str, reason: str) -> None:
        raise AgreementError(f"{self.file}, line {self.line_of(key)}: {key} {reason}")

    def check_keys(self) -> None:
        for key in self.found:
            if key not in _KEYS:
                self.refuse(key, f"is not part of an agreement; the parts are {', '.join(_KEYS)}")
        for key, kind in _KEYS.items():
            if key not in self.found:
                self.refuse(key, "is missing")
            value = self.found[key]
            if type(value) is not kind:
                self.refuse(key, f"is {value!r}; it must be a {kind.__name__}")
            if kind is str and not value.strip():
                self.refuse(key, "is empty")

    def texts(self, key: str) -> list[str]:
        values = self.found[key]
        if not all(isinstance(value, str) and value.strip() for value in values):
            self.refuse(key, "must hold words only")
        if len(set(values)) != len(values):
            self.refuse(key, "names something twice")
        return list(values)

    def known(self, key: str, allowed: tuple[str, ...]) -> list[str]:
        for value in self.texts(key):
            if value not in allowed:
                self.refuse(key, f"names {value!r}; it may name {', '.join(allowed)}")
        return self.texts(key)

    def known_one(self, key: str, allowed: tuple[str, ...]) -> str:
        value = str(self.found[key])
        if value not in allowed:
            self.refuse(key, f"is {value!r}; it must be one of {', '.join(allowed)}")
        return value
