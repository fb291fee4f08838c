"""Signed family consents and their revocation, with who recorded each and when.

A consent names one student, one organization and the categories that it opens, from the day it was
signed to the day it ends; a family may revoke it at any time. Each takes effect at the next
request. Only a district administrator records them. Nothing is deleted here, so that what was in
force on a past day stays known. Source: 34 CFR 99.30.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, datetime
from pathlib import Path

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from records.canonical.schema import Category
from records.database.engine import Database
from records.database.tables import ConsentRow, OrganizationRow
from records.staff.accounts import AccountError, read_csv_rows
from records.staff.district_admins import require_district_admin
from records.staff.viewer import DISTRICT, Scope, Viewer
from records.system.errors import UserError

CONSENT_COLUMNS = (
    "student_id",
    "organization_id",
    "categories",
    "purpose",
    "signer",
    "signed_on",
    "expires_on",
)
"""The columns of a file of consents; `categories` are separated by `;`, dates are ISO 8601."""

_MAX_SIGNER_LENGTH = 200
_COUNT = select(func.count()).select_from(ConsentRow)


class ConsentError(UserError, ValueError):
    """A consent or an opt-out that cannot be recorded; nothing was changed.

    `field` is the one of `CONSENT_COLUMNS` that is wrong, or empty; the message names it.
    """

    def __init__(self, reason: str, field: str = "") -> None:
        super().__init__(f"{field} {reason}".strip())
        self.reason, self.field = reason, field


@dataclass(frozen=True)
class SignedConsent:
    """What a family signed, valid from `signed_on` to `expires_on`, both included."""

    student_id: str
    organization_id: str
    categories: frozenset[Category]
    purpose: str
    signer: str
    signed_on: date
    expires_on: date


@dataclass(frozen=True)
class Consent:
    """A consent on record, with who recorded it and who recorded its revocation.

    `revoked_by` is the family member who revoked it. The other people are user identifiers, None in
    rows of older versions.
    """

    number: int
    signed: SignedConsent
    recorded_by: str | None
    recorded_at: datetime | None
    revoked_on: date | None
    revoked_by: str | None
    revocation_recorded_by: str | None
    revocation_recorded_at: datetime | None

    def counts(self, today: date) -> bool:
        """Whether the consent is in force on this day."""
        revoked = self.revoked_on is not None and self.revoked_on <= today
        return self.signed.signed_on <= today <= self.signed.expires_on and not revoked


def parse_consent(fields: Mapping[str, str]) -> SignedConsent:
    """A consent from the fields of a form or of a file's row, by the names in `CONSENT_COLUMNS`.

    Raises:
        ConsentError: naming what is wrong and what would be right.
    """
    names = [name.strip() for name in fields["categories"].split(";") if name.strip()]
    for name in names:
        if name not in tuple(Category):
            raise ConsentError(f"names {name!r}; it may name {', '.join(Category)}", "categories")
    return SignedConsent(
        fields["student_id"].strip(),
        fields["organization_id"].strip(),
        frozenset(map(Category, names)),
        fields["purpose"].strip(),
        fields["signer"].strip(),
        parse_date("signed_on", fields["signed_on"]),
        parse_date("expires_on", fields["expires_on"]),
    )


def parse_date(name: str, text: str) -> date:
    """A date as it is written in forms, files and options, such as 2026-04-17.

    Args:
        name: the field, for the message.

    Raises:
        ConsentError: the text is not a date.
    """
    try:
        return date.fromisoformat(text.strip())
    except ValueError:
        raise ConsentError(f"is {text!r}; it must be a day such as 2026-04-17", name) from None


def add_consent(database: Database, scope: Scope, signed: SignedConsent, now: datetime) -> Consent:
    """Record one consent; an identical one on record stays as it is, revoked or not.

    Args:
        scope: that of the district administrator who records it.

    Raises:
        NotADistrictAdmin: the viewer does not act for the district.
        ConsentError: the student or the organization is unknown, or the consent is incomplete.
    """
    with database.write_transaction() as session:
        require_district_admin(session, scope.viewer)
        return _consent(_existing_or_new(session, scope, signed, now))


def add_consents(database: Database, scope: Scope, file: Path, now: datetime) -> int:
    """Record the consents of a CSV file with `CONSENT_COLUMNS`; returns how many are new.

    Raises:
        NotADistrictAdmin: the viewer does not act for the district.
        ConsentError: naming file, line and column of the first thing that is wrong; then none is
            recorded.
    """
    with database.write_transaction() as session:
        require_district_admin(session, scope.viewer)
        before = session.scalar(_COUNT) or 0
        try:
            for line, row in read_csv_rows(file, CONSENT_COLUMNS):
                try:
                    _existing_or_new(session, scope, parse_consent(row), now)
                except ConsentError as error:
                    raise ConsentError(f"{file.name}, line {line}: {error}") from None
        except AccountError as error:
            raise ConsentError(str(error)) from None
        return (session.scalar(_COUNT) or 0) - before


def revoke_consent(
    database: Database, viewer: Viewer, number: int, *, by: str, on: date, now: datetime
) -> Consent:
    """Record that a family revoked a consent, which is not in force from the day `on`.

    Args:
        by: who revoked it: a parent, or the student once of age.

    Raises:
        NotADistrictAdmin: the viewer does not act for the district.
        ConsentError: there is no such consent, it was revoked before, or the date or the person
            cannot be right.
    """
    with database.write_transaction() as session:
        require_district_admin(session, viewer)
        row = session.get(ConsentRow, number)
        if row is None:
            raise ConsentError(f"There is no consent {number}.")
        if row.revoked_on is not None:
            raise ConsentError(f"Consent {number} was revoked before, on {row.revoked_on}.")
        if on < row.signed_on:
            raise ConsentError(
                f"Consent {number} was signed on {row.signed_on}; it cannot be revoked on {on}."
            )
        row.revoked_by = _person("revoked_by", by)
        row.revoked_on, row.revocation_recorded_by, row.revocation_recorded_at = (
            on,
            viewer.user_id,
            now,
        )
        return _consent(row)


def consents(database: Database, student_id: str | None = None) -> list[Consent]:
    """Every consent on record, or those of one student, the newest first."""
    query = select(ConsentRow).order_by(ConsentRow.id.desc())
    if student_id is not None:
        query = query.where(ConsentRow.student_id == student_id)
    with database.session() as session:
        return [_consent(row) for row in session.scalars(query)]


def in_force(database: Database, organization_id: str, day: date) -> dict[str, frozenset[Category]]:
    """What the consents in force on a day open to an organization, by student."""
    opened: dict[str, frozenset[Category]] = {}
    query = select(ConsentRow).where(ConsentRow.organization_id == organization_id)
    with database.session() as session:
        for row in session.scalars(query):
            consent = _consent(row)
            if consent.counts(day):
                student = consent.signed.student_id
                opened[student] = opened.get(student, frozenset()) | consent.signed.categories
    return opened


def consent_counts(row: ConsentRow, today: date) -> bool:
    """Whether the consent in a row of the database is in force on this day."""
    return _consent(row).counts(today)


def require_known_student(scope: Scope, student_id: str) -> None:
    """Refuse a student who is not in the records.

    Raises:
        ConsentError: there is no such student.
    """
    if student_id not in scope.students:
        raise ConsentError(
            f"is {student_id!r}; there is no such student in the records", "student_id"
        )


def _existing_or_new(
    session: Session, scope: Scope, signed: SignedConsent, now: datetime
) -> ConsentRow:
    require_known_student(scope, signed.student_id)
    _check(session, signed, now.date())
    identical = select(ConsentRow).where(
        ConsentRow.student_id == signed.student_id,
        ConsentRow.organization_id == signed.organization_id,
        ConsentRow.signer == signed.signer,
        ConsentRow.signed_on == signed.signed_on,
        ConsentRow.expires_on == signed.expires_on,
        ConsentRow.purpose == signed.purpose,
        ConsentRow.categories == signed.categories,
    )
    existing = session.scalar(identical)
    if existing is not None:
        return existing
    row = ConsentRow(
        student_id=signed.student_id,
        organization_id=signed.organization_id,
        categories=signed.categories,
        purpose=signed.purpose,
        signer=signed.signer,
        signed_on=signed.signed_on,
        expires_on=signed.expires_on,
        revoked_on=None,
        recorded_by=scope.viewer.user_id,
        recorded_at=now,
    )
    session.add(row)
    session.flush()
    return row


def _check(session: Session, signed: SignedConsent, today: date) -> None:
    if (
        signed.organization_id == DISTRICT
        or session.get(OrganizationRow, signed.organization_id) is None
    ):
        raise ConsentError(
            f"is {signed.organization_id!r}; it must be a registered partner organization",
            "organization_id",
        )
    if not signed.categories:
        raise ConsentError(
            f"is empty; it must name at least one of {', '.join(Category)}", "categories"
        )
    if not signed.purpose:
        raise ConsentError("is empty; it must say what the family agreed to", "purpose")
    _person("signer", signed.signer)
    if signed.signed_on > today:
        raise ConsentError(
            f"is {signed.signed_on}, after today; it must be the day of the signature", "signed_on"
        )
    if signed.expires_on < signed.signed_on:
        raise ConsentError(
            f"is {signed.expires_on}, before the signature on {signed.signed_on}", "expires_on"
        )


def _person(name: str, text: str) -> str:
    text = text.strip()
    if not 0 < len(text) <= _MAX_SIGNER_LENGTH:
        raise ConsentError(
            f"is {'too long' if text else 'empty'}; it must say who, by name or by relation", name
        )
    return text


def _consent(row: ConsentRow) -> Consent:
    signed = SignedConsent(
        row.student_id,
        row.organization_id,
        row.categories,
        row.purpose,
        row.signer,
        row.signed_on,
        row.expires_on,
    )
    return Consent(
        row.id,
        signed,
        row.recorded_by,
        row.recorded_at,
        row.revoked_on,
        row.revoked_by,
        row.revocation_recorded_by,
        row.revocation_recorded_at,
    )
