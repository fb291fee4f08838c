"""Accounts, passwords and browser sessions, on both databases."""

from __future__ import annotations

from datetime import datetime, timedelta
from pathlib import Path

import pytest
from sqlalchemy import update

from records.database.engine import Database
from records.database.tables import StaffRow
from records.staff.accounts import (
    AccountError,
    Organization,
    add_organization,
    add_staff,
    authenticate,
    read_organizations,
    staff_member,
)
from records.staff.sessions import end_session, session_viewer, start_session
from records.staff.viewer import Role

NOW = datetime(2026, 4, 17, 9, 0)
PASSWORD = "nine green bottles"


@pytest.fixture
def viewer(database: Database):
    add_organization(database, Organization("tutors", "Tutors", "tutoring"))
    return add_staff(database, "Ana@Tutors.example", "Ana", Role.CASEWORKER, "tutors", PASSWORD)


def test_the_right_password_opens_and_a_wrong_one_or_an_unknown_login_does_not(
    database: Database, viewer
):
    assert authenticate(database, "ana@tutors.example", PASSWORD, NOW) == viewer
    assert authenticate(database, "ana@tutors.example", "wrong password", NOW) is None
    assert authenticate(database, "bo@tutors.example", PASSWORD, NOW) is None


def test_after_six_wrong_passwords_within_a_minute_even_the_right_one_waits(
    database: Database, viewer
):
    for _ in range(6):
        authenticate(database, viewer.login, "wrong password", NOW)
    assert authenticate(database, viewer.login, PASSWORD, NOW) is None
    assert authenticate(database, viewer.login, PASSWORD, NOW + timedelta(minutes=3)) == viewer


def test_a_session_ends_idle_at_twelve_hours_at_sign_out_and_with_its_person(
    database: Database, viewer
):
    token = start_session(database, viewer, NOW)
    signed_in = session_viewer(database, token, NOW + timedelta(minutes=29))
    assert signed_in is not None and signed_in[0] == viewer and len(signed_in[1]) >= 24
    assert session_viewer(database, token, NOW + timedelta(minutes=60)) is None
    token = start_session(database, viewer, NOW)
    for minutes in range(0, 12 * 60, 20):
        assert session_viewer(database, token, NOW + timedelta(minutes=minutes)) is not None
    assert session_viewer(database, token, NOW + timedelta(minutes=12 * 60 + 1)) is None
    token = start_session(database, viewer, NOW)
    end_session(database, token, NOW)
    assert session_viewer(database, token, NOW) is None
    token = start_session(database, viewer, NOW)
    with database.session() as session:
        session.execute(update(StaffRow).values(active=False))
    assert session_viewer(database, token, NOW) is None


def test_accounts_that_should_not_exist_are_refused_with_the_reason(database: Database, viewer):
    with pytest.raises(AccountError, match="needs 12"):
        add_staff(database, "b@x.example", "B", Role.CASEWORKER, "tutors", "short")
    with pytest.raises(AccountError, match="is taken"):
        add_staff(database, viewer.login, "B", Role.CASEWORKER, "tutors", PASSWORD)
    with pytest.raises(AccountError, match="does not exist at tutors"):
        add_staff(database, "b@x.example", "B", Role.DISTRICT_ADMIN, "tutors", PASSWORD)


def test_somebody_whose_account_is_closed_is_still_known_by_login(database: Database, viewer):
    with database.session() as session:
        session.execute(update(StaffRow).values(active=False))
    assert staff_member(database, " ANA@tutors.example ") == viewer
    with pytest.raises(AccountError, match="nobody has the login"):
        staff_member(database, "bo@tutors.example")


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (b"organization_id,name\nx,X\n", "line 1: there is no column 'kind'"),
        (b"organization_id,name,kind\nx,X\n", "line 2: too few or too many fields"),
        (b'organization_id,name,kind\nx,"X,partner\n', "not CSV in UTF-8"),
        (b"organization_id,name,kind\nx,F\xfcr alle,partner\n", "not CSV in UTF-8"),
    ],
)
def test_a_file_that_cannot_be_read_names_its_line(tmp_path: Path, content: bytes, problem: str):
    file = tmp_path / "organizations.csv"
    file.write_bytes(content)
    with pytest.raises(AccountError, match=rf"organizations\.csv, .*{problem}"):
        read_organizations(file)
