"""Who may sign in: organizations, staff accounts, and passwords.

Passwords are stored as argon2id hashes; a wrong login and a wrong password take the same work and
get the same answer. Source: OWASP ASVS 5, chapter 6.
"""

from __future__ import annotations

import csv
import hashlib
import secrets
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import cache
from pathlib import Path

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError
from sqlalchemy import delete, func, select

from records.database.engine import Database
from records.database.tables import OrganizationRow, SignInAttemptRow, StaffRow
from records.staff.viewer import DISTRICT, Role, Viewer
from records.system.errors import UserError

MIN_PASSWORD_LENGTH = 12
"""In characters."""
ATTEMPTS_PER_MINUTE = 6
HASHER = PasswordHasher(time_cost=3, memory_cost=64 * 1024, parallelism=1)
"""The work of one guess: RFC 9106, section 4, second recommended option, on one lane."""
_DISTRICT_ROLES = frozenset({Role.DATA_SCIENTIST, Role.EQUITY_REVIEWER, Role.DISTRICT_ADMIN})


class AccountError(UserError, ValueError):
    """An account or organization that cannot be added, or a file of them; the message says why."""


@dataclass(frozen=True)
class Organization:
    """An organization whose staff may sign in. `kind` is free text, such as "mentoring"."""

    organization_id: str
    name: str
    kind: str


def add_organization(database: Database, organization: Organization) -> None:
    """Add an organization, or update its name and kind."""
    with database.session() as session:
        session.merge(
            OrganizationRow(
                organization_id=organization.organization_id,
                name=organization.name,
                kind=organization.kind,
            )
        )


def organizations(database: Database) -> dict[str, Organization]:
    """All organizations by identifier, in the order of their names."""
    with database.session() as session:
        rows = session.scalars(select(OrganizationRow).order_by(OrganizationRow.name)).all()
        return {
            row.organization_id: Organization(row.organization_id, row.name, row.kind)
            for row in rows
        }


def staff_names(database: Database) -> dict[str, str]:
    """The name of everybody who ever had an account, by user identifier."""
    with database.session() as session:
        return {row.user_id: row.name for row in session.scalars(select(StaffRow)).all()}


def all_staff(database: Database) -> list[Viewer]:
    """Everybody who ever had an account, by organization and name."""
    with database.session() as session:
        rows = session.scalars(
            select(StaffRow).order_by(StaffRow.organization_id, StaffRow.name, StaffRow.login)
        )
        return [_viewer(row) for row in rows]


def add_staff(
    database: Database, login: str, name: str, role: Role, organization_id: str, password: str
) -> Viewer:
    """Add a person who may sign in; their login is stored in lower case.

    Raises:
        AccountError: the password is short, the login is taken, the organization is unknown, or it
            does not have this role.
    """
    login = login.strip().lower()
    if len(password) < MIN_PASSWORD_LENGTH:
        raise AccountError(
            f"the password of {login} has {len(password)} characters; it needs"
            f" {MIN_PASSWORD_LENGTH}"
        )
    if role is Role.PIPELINE or (role in _DISTRICT_ROLES) != (organization_id == DISTRICT):
        raise AccountError(f"{login}: the role {role} does not exist at {organization_id}")
    hashed = HASHER.hash(password)
    with database.session() as session:
        if session.get(OrganizationRow, organization_id) is None:
            raise AccountError(f"{login}: there is no organization {organization_id!r}")
        if session.scalar(select(StaffRow).where(StaffRow.login == login)) is not None:
            raise AccountError(f"the login {login} is taken")
        viewer = Viewer(secrets.token_hex(8), login, name, role, organization_id)
        session.add(
            StaffRow(
                user_id=viewer.user_id,
                login=login,
                name=name,
                role=role,
                active=True,
                organization_id=organization_id,
                password_hash=hashed,
            )
        )
    return viewer


def active_staff_member(database: Database, login: str) -> Viewer:
    """The active account of a login.

    Raises:
        AccountError: there is none.
    """
    with database.session() as session:
        row = session.scalar(
            select(StaffRow).where(StaffRow.login == login.strip().lower(), StaffRow.active)
        )
        if row is None:
            raise AccountError(f"nobody active has the login {login!r}")
        return _viewer(row)


def staff_member(database: Database, login: str) -> Viewer:
    """The account of a login, whether open or closed.

    Raises:
        AccountError: there never was one.
    """
    with database.session() as session:
        row = session.scalar(select(StaffRow).where(StaffRow.login == login.strip().lower()))
        if row is None:
            raise AccountError(f"nobody has the login {login!r}")
        return _viewer(row)


def authenticate(database: Database, login: str, password: str, now: datetime) -> Viewer | None:
    """The person with this login and password; None if either is wrong.

    None too, whatever the password, after `ATTEMPTS_PER_MINUTE` failed attempts within a minute.
    """
    login = login.strip().lower()
    digest = hashlib.sha256(login.encode()).hexdigest()
    with database.session() as session:
        recent = session.scalar(
            select(func.count()).where(
                SignInAttemptRow.login_sha256 == digest,
                SignInAttemptRow.at > now - timedelta(minutes=1),
            )
        )
        row = session.scalar(select(StaffRow).where(StaffRow.login == login))
        stored = row.password_hash if row is not None else _dummy_hash()
        viewer = _viewer(row) if row is not None and row.active else None
    matches = _matches(stored, password)
    with database.session() as session:
        if viewer is not None and matches and (recent or 0) < ATTEMPTS_PER_MINUTE:
            return viewer
        session.execute(
            delete(SignInAttemptRow).where(SignInAttemptRow.at < now - timedelta(hours=1))
        )
        session.add(SignInAttemptRow(login_sha256=digest, at=now))
    return None


def is_current(database: Database, viewer: Viewer) -> bool:
    """Whether a person is still active, with the role and organization of their sign-in."""
    with database.session() as session:
        row = session.get(StaffRow, viewer.user_id)
        return (
            row is not None
            and row.active
            and (row.role, row.organization_id) == (viewer.role, viewer.organization_id)
        )


def read_organizations(file: Path) -> list[Organization]:
    """Organizations from a CSV file with the columns organization_id, name and kind.

    Raises:
        AccountError: naming file and line of what cannot be read.
    """
    return [
        Organization(row["organization_id"], row["name"], row["kind"])
        for _, row in read_csv_rows(file, ("organization_id", "name", "kind"))
    ]


def read_csv_rows(file: Path, names: tuple[str, ...]) -> Iterator[tuple[int, dict[str, str]]]:
    """The line number and the fields of each row of a CSV file with at least these columns.

    Raises:
        AccountError: naming file and line of what cannot be read.
    """
    with file.open(encoding="utf-8-sig", newline="") as stream:
        reader = csv.DictReader(stream, strict=True)
        try:
            for name in names:
                if name not in (reader.fieldnames or ()):
                    raise AccountError(f"{file.name}, line 1: there is no column {name!r}")
            for row in reader:
                if None in row or None in row.values():
                    raise AccountError(
                        f"{file.name}, line {reader.line_num}: too few or too many fields"
                    )
                yield reader.line_num, row
        except (csv.Error, UnicodeDecodeError) as error:
            raise AccountError(
                f"{file.name}, line {reader.line_num}: not CSV in UTF-8: {error}"
            ) from None


def _viewer(row: StaffRow) -> Viewer:
    return Viewer(row.user_id, row.login, row.name, Role(row.role), row.organization_id)


def _matches(stored: str, password: str) -> bool:
    try:
        return HASHER.verify(stored, password)
    except (VerificationError, InvalidHashError):
        return False


@cache
def _dummy_hash() -> str:
    """Checked for an unknown login, so that it takes as long as a known one."""
    return HASHER.hash(secrets.token_urlsafe(24))
