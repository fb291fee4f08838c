"""`handrail destroy` and `handrail backups` as they are typed."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from handrail.cli import app
from records.accounts import Organization, add_organization, add_staff
from records.database import open_database
from records.scope import DISTRICT, Role
from tests.records.conftest import add_agreement, snapshot_of
from tests.serving import district

PASSWORD = "a password of the test"


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("HANDRAIL_HOME", str(tmp_path))
    monkeypatch.setenv("HANDRAIL_PASSWORD", PASSWORD)
    monkeypatch.setenv("HANDRAIL_TODAY", "2026-10-01")
    monkeypatch.delenv("HANDRAIL_DATABASE_URL", raising=False)
    snapshot_of(district.rows(), tmp_path)
    database = open_database(f"sqlite:///{tmp_path / 'handrail.db'}")
    for organization in ("tutors", DISTRICT):
        add_organization(database, Organization(organization, organization, "partner"))
    add_agreement(database)
    add_staff(database, "officer@district.example", "Grace", Role.DISTRICT_ADMIN, DISTRICT, PASSWORD)
    add_staff(database, "data@district.example", "Priya", Role.DATA_SCIENTIST, DISTRICT, PASSWORD)
    database.engine.dispose()
    return tmp_path


def run(*arguments: str) -> tuple[int, str]:
    done = CliRunner().invoke(app, list(arguments))
    return done.exit_code, " ".join(done.output.split())


def test_a_student_is_destroyed_with_a_certificate_on_file(home: Path):  # R32
    file = home / "certificate.json"
    assert run("backups", "add", "monday", "vault", "--expires", "2026-12-31")[0] == 0
    code, said = run("destroy", "student", "s01", "--as", "officer@district.example", "--certificate", str(file))
    assert code == 0, said
    assert "Certificate 1, SHA-256" in said
    assert json.loads(file.read_text())["copies_that_still_hold_it"][0]["name"] == "monday"
    code, said = run("destroy", "student", "s01", "--as", "officer@district.example")
    assert (code, "no store holds a student" in said) == (2, True)


def test_only_a_district_administrator_with_the_password_destroys(home: Path, monkeypatch: pytest.MonkeyPatch):  # R32
    code, said = run("destroy", "student", "s01", "--as", "data@district.example")
    assert (code, "only they may destroy records" in said) == (2, True)
    monkeypatch.setenv("HANDRAIL_PASSWORD", "another password")
    code, said = run("destroy", "student", "s01", "--as", "officer@district.example")
    assert (code, "password is wrong" in said) == (2, True)


def test_what_is_overdue_is_an_exit_status_until_it_is_done(home: Path):  # R32
    code, said = run("destroy", "list")
    assert (code, "Overdue: a1 of tutors was to be destroyed by 2026-09-30" in said) == (1, True)
    code, said = run("records", "status")
    assert (code, "a1 of tutors" in said) == (1, True)
    assert run("destroy", "agreement", "a1", "--as", "officer@district.example")[0] == 0
    assert run("destroy", "list")[0] == 0
    assert run("records", "status")[0] == 0


def test_a_backup_that_is_not_on_the_list_or_has_no_day_is_said_plainly(home: Path):
    code, said = run("backups", "destroyed", "friday")
    assert (code, said) == (2, "handrail: there is no backup named 'friday' on the list")
    code, said = run("backups", "add", "monday", "vault", "--expires", "next week")
    assert (code, "it must be a day such as 2026-12-31" in said) == (2, True)
