"""Legal demands and holds from the command line: to read, to hold and to lift; never to release."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import pytest
import typer

from handrail.cli import app
from handrail.settings import Settings
from records.access.scope import scope_for
from records.canonical.schema import Category
from records.database.engine import Database, open_database
from records.legal_demands.legal_demands import propose_release, record_demand
from records.legal_demands.legal_documents import LegalDocument
from records.permissions import legal_holds
from records.snapshots.snapshot import Snapshot
from records.staff.accounts import Organization, add_organization, add_staff
from records.staff.viewer import DISTRICT, Role, Viewer
from tests.handrail.test_cli import PASSWORD, in_process
from tests.records import six_student_district
from tests.records.conftest import SECRET, snapshot_of


@pytest.fixture
def home(tmp_path: Path) -> Path:
    snapshot_of(six_student_district.rows(), tmp_path)
    return tmp_path


@pytest.fixture
def database(home: Path) -> Database:
    opened = open_database(f"sqlite:///{home / 'handrail.db'}")
    for key, name in ((DISTRICT, "The District"), ("tutors", "Tutors")):
        add_organization(opened, Organization(key, name, "partner"))
    return opened


@pytest.fixture
def admin(database: Database) -> Viewer:
    add_staff(database, "cal@tutors.example", "Cal Low", Role.CASEWORKER, "tutors", PASSWORD)
    return add_staff(
        database, "grace@district.example", "Grace Olander", Role.DISTRICT_ADMIN, DISTRICT, PASSWORD
    )


def test_a_hold_is_placed_and_lifted_with_a_district_administrators_password(
    database, admin, home
):  # R29
    at = ("--home", str(home))
    hold = ("legal", "hold", "s1", "--reason", "Lawsuit 26-77", *at)
    for login, password, expected in (
        ("grace@district.example", "not the password", "its password is wrong"),
        (
            "cal@tutors.example",
            PASSWORD,
            "cal@tutors.example is not an active district administrator",
        ),
    ):
        run = in_process(*hold, "--as", login, password=password)
        assert run.returncode == 2 and expected in run.stderr.replace("\n", " "), run.stderr
    assert legal_holds.in_force(database) == frozenset()
    run = in_process(*hold, "--as", "grace@district.example")
    assert (run.returncode, legal_holds.in_force(database)) == (0, {"s1"}), run.stderr
    assert "No partner sees this student" in run.stdout
    for student, expected in (
        ("s1", "under a legal hold already"),
        ("nobody", "no student with this number or code"),
    ):
        again = in_process(
            "legal", "hold", student, "--as", "grace@district.example", "--reason", "x", *at
        )
        assert again.returncode == 2 and expected in again.stderr.replace("\n", " ")
    assert "Lawsuit 26-77" in in_process("legal", "list", *at).stdout
    lifted = in_process(
        "legal", "lift", "1", "--as", "grace@district.example", "--reason", "Settled", *at
    )
    assert (lifted.returncode, lifted.stdout) == (0, "Legal hold 1 is lifted.\n")
    assert legal_holds.in_force(database) == frozenset()


def test_a_demand_is_read_with_all_that_was_done_about_it(database, admin, home):
    at = ("--home", str(home))
    now = Settings.from_environment(home).now()
    notified_on = now.date() - timedelta(days=20)
    paper = LegalDocument(
        "subpoena",
        "County court [26-118]",
        notified_on,
        True,
        False,
        frozenset({Category.GRADES}),
        notified_on,
    )
    scope = scope_for(admin, database, Snapshot.current(home), now, SECRET)
    record_demand(database, scope, "s1", paper, "By post", now)
    propose_release(database, admin, 1, "Counsel has read it", now)
    listed = in_process("legal", "list", *at).stdout
    assert "subpoena" in listed and "proposed" in listed and "[26-118]" in listed
    shown = in_process("legal", "show", "1", *at).stdout
    assert "Demand 1 of County court [26-118] about student s1: proposed." in shown
    assert (
        "It can compel the records that it names." in shown and "proposed by Grace Olander" in shown
    )
    assert f"{now:%Y-%m-%d %H:%M} recorded by Grace Olander: By post" in shown
    run = in_process("legal", "show", "7", *at)
    assert (run.returncode, run.stderr) == (2, "handrail: there is no legal demand 7\n")


def test_no_command_proposes_approves_or_takes_a_release():  # R28
    group = typer.main.get_command(app).commands["legal"].command  # type: ignore[attr-defined]
    assert set(group.commands) == {"list", "show", "hold", "lift"}
