"""`handrail destroy` and `handrail backups` as they are typed."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from handrail.cli import app
from handrail.commands.serve import resume_destructions
from handrail.settings import Settings
from records.database.engine import open_database
from records.destruction.certificates import certificates
from records.staff.accounts import Organization, add_organization, add_staff
from records.staff.viewer import DISTRICT, Role
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
    add_staff(
        database, "officer@district.example", "Grace", Role.DISTRICT_ADMIN, DISTRICT, PASSWORD
    )
    add_staff(database, "data@district.example", "Priya", Role.DATA_SCIENTIST, DISTRICT, PASSWORD)
    database.engine.dispose()
    return tmp_path


def run(*arguments: str) -> tuple[int, str]:
    done = CliRunner().invoke(app, list(arguments))
    return done.exit_code, " ".join(done.output.split())


def test_a_student_is_destroyed_with_a_certificate_on_file(home: Path):  # R32
    file = home / "certificate.json"
    assert run("backups", "add", "monday", "vault", "--expires", "2026-12-31")[0] == 0
    code, output = run(
        "destroy", "student", "s01", "--as", "officer@district.example", "--certificate", str(file)
    )
    assert code == 0, output
    assert "Certificate 1, SHA-256" in output
    assert json.loads(file.read_text())["copies_that_still_hold_it"][0]["name"] == "monday"
    code, output = run("destroy", "student", "s01", "--as", "officer@district.example")
    assert (code, "no store holds a student" in output) == (2, True)


def test_only_a_district_administrator_with_the_password_destroys(
    home: Path, monkeypatch: pytest.MonkeyPatch
):  # R32
    code, output = run("destroy", "student", "s01", "--as", "data@district.example")
    assert (code, "only they may destroy records" in output) == (2, True)
    monkeypatch.setenv("HANDRAIL_PASSWORD", "another password")
    code, output = run("destroy", "student", "s01", "--as", "officer@district.example")
    assert (code, "password is wrong" in output) == (2, True)


def test_what_is_overdue_is_an_exit_status_until_it_is_done(home: Path):  # R32
    code, output = run("destroy", "list")
    assert (code, "Overdue: a1 of tutors was to be destroyed by 2026-09-30" in output) == (1, True)
    code, output = run("records", "status")
    assert (code, "a1 of tutors" in output) == (1, True)
    assert run("destroy", "agreement", "a1", "--as", "officer@district.example")[0] == 0
    assert run("destroy", "list")[0] == 0
    assert run("records", "status")[0] == 0


def test_a_backup_that_is_not_on_the_list_or_has_no_day_is_said_plainly(home: Path):
    code, output = run("backups", "destroyed", "friday")
    assert (code, output) == (2, "handrail: there is no backup named 'friday' on the list")
    code, output = run("backups", "add", "monday", "vault", "--expires", "next week")
    assert (code, "it must be a day such as 2026-12-31" in output) == (2, True)


def test_what_was_cut_off_is_said_finished_by_command_and_by_the_sites_start(  # R32
    home: Path, monkeypatch: pytest.MonkeyPatch
):
    def stop(*_: object) -> int:
        raise OSError("the disk is full")

    for student, arguments in (("s01", ("destroy", "finish")), ("s02", ())):
        with monkeypatch.context() as patched:
            patched.setattr("records.destruction.destruction.publish_if_needed", stop)
            code, output = run("destroy", "student", student, "--as", "officer@district.example")
            assert (code, "the disk is full" in output) == (2, True)
        for command in (("destroy", "list"), ("records", "status")):
            code, output = run(*command)
            assert (code, "Unfinished: a student's destruction that Grace began" in output) == (
                1,
                True,
            ), output
        if arguments:
            code, output = run(*arguments)
            assert (
                code == 0
                and "Certificate 1" in output
                and "No destruction is unfinished." in output
            )
        else:
            settings = Settings.from_environment(home)
            resume_destructions(open_database(settings.database_url), settings)
        assert "Unfinished" not in run("destroy", "list")[1]
    assert len(certificates(open_database(f"sqlite:///{home / 'handrail.db'}"))) == 2
