"""`handrail load` as it is typed: a doubtful export is held, a corrected line is read, a load is
written down.
"""

from __future__ import annotations

import csv
from pathlib import Path

import pytest
from typer.testing import CliRunner

from handrail.cli import app
from records.database.engine import open_database
from records.disclosure_log.history import disclosures
from records.loading.load_history import loads
from records.snapshots.snapshot import Snapshot
from records.staff.accounts import Organization, add_organization, add_staff
from records.staff.viewer import DISTRICT, Role

PASSWORD = "a password of the test"
OFFICER = "officer@district.example"


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    home = tmp_path / "home"
    monkeypatch.setenv("HANDRAIL_HOME", str(home))
    monkeypatch.setenv("HANDRAIL_PASSWORD", PASSWORD)
    monkeypatch.setenv("HANDRAIL_TODAY", "2026-04-17")
    monkeypatch.delenv("HANDRAIL_DATABASE_URL", raising=False)
    return home


def district(folder: Path, students: int, *absences: str) -> Path:
    folder.mkdir(exist_ok=True)
    users = [f"s{i},student,Given{i},Last{i},05" for i in range(students)]
    (folder / "users.csv").write_text(
        "\n".join(["sourcedId,role,givenName,familyName,grades", *users]) + "\n"
    )
    (folder / "attendance.csv").write_text(
        "\n".join(["userSourcedId,school_id,date,status", *absences]) + "\n"
    )
    return folder


def run(*arguments: object) -> tuple[int, str]:
    done = CliRunner().invoke(app, [str(argument) for argument in arguments])
    return done.exit_code, " ".join(done.output.split())


def test_an_export_with_far_fewer_students_is_held_until_somebody_says_it_is_right(
    home: Path, tmp_path: Path
):  # R42
    assert run("load", "oneroster", district(tmp_path / "a", 100, "s1,k1,2026-04-01,tardy"))[0] == 0
    before = Snapshot.current(home).id
    fewer = district(tmp_path / "b", 79, "s1,k1,2026-04-01,tardy")
    code, output = run("load", "oneroster", fewer)
    assert (
        code == 2
        and "it has 79 students, and the current records have 100" in output
        and "--accept" in output
    )
    assert Snapshot.current(home).id == before
    assert len(loads(home)) == 1
    assert run("load", "oneroster", fewer, "--accept")[0] == 0
    assert Snapshot.current(home).manifest["rows"]["students"] == 79
    assert [load.source for load in loads(home)] == ["oneroster", "oneroster"]


def test_a_day_on_which_everybody_is_absent_is_held(home: Path, tmp_path: Path):  # R42
    assert run("load", "oneroster", district(tmp_path / "a", 40, "s1,k1,2026-04-01,tardy"))[0] == 0
    closed = [f"s{i},k1,2026-04-02,absent_unexcused" for i in range(40)]
    code, output = run("load", "oneroster", district(tmp_path / "b", 40, *closed))
    assert code == 2 and "on 2026-04-02 40 of 40 students are absent" in output


def test_rows_set_aside_are_handed_out_put_right_and_loaded(home: Path, tmp_path: Path):  # R23, R35
    folder, file = (
        district(tmp_path / "a", 30, "s1,k1,April,tardy", "s2,k1,2026-04-01,tardy"),
        tmp_path / "aside.csv",
    )
    assert run("load", "oneroster", folder)[0] == 0
    database = open_database(f"sqlite:///{home / 'handrail.db'}")
    add_organization(database, Organization(DISTRICT, "The District", "district"))
    add_staff(database, OFFICER, "Grace", Role.DISTRICT_ADMIN, DISTRICT, PASSWORD)
    add_staff(database, "data@district.example", "Priya", Role.DATA_SCIENTIST, DISTRICT, PASSWORD)
    assert "2 attendance.csv" not in run("records", "quarantine")[1]
    for options, says in (
        ((), "--to needs --as"),
        (("--as", "data@district.example"), "not a district administrator"),
    ):
        code, output = run("records", "quarantine", "--to", file, *options)
        assert code == 2 and says in output and not file.exists()
    assert run("records", "quarantine", "--to", file, "--as", OFFICER)[0] == 0
    assert [(look.student_id, look.route) for look in disclosures(database)] == [
        ("s1", "records quarantine")
    ]
    rows = list(csv.DictReader(file.open(newline="")))
    rows[0]["raw"] = rows[0]["raw"].replace("April", "2026-04-02")
    with file.open("w", newline="") as stream:
        writer = csv.DictWriter(stream, rows[0].keys())
        writer.writeheader()
        writer.writerows(rows)
    code, output = run("load", "oneroster", folder, "--corrections", file)
    assert code == 0, output
    assert Snapshot.current(home).manifest["rows"]["attendance_events"] == 2
    assert Snapshot.current(home).set_aside() == []
    assert not list(home.rglob(".corrected-*"))
    (folder / "attendance.csv").write_text("userSourcedId,school_id,date,status\n")
    code, output = run("load", "oneroster", folder, "--corrections", file)
    assert code == 2 and "the source has changed since" in output


def test_an_old_feed_is_an_exit_status(
    home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):  # R42
    assert run("load", "oneroster", district(tmp_path / "a", 30, "s1,k1,2026-04-01,tardy"))[0] == 0
    code, output = run("records", "status")
    assert code == 0 and "oneroster was last loaded on 2026-04-17" in output
    monkeypatch.setenv("HANDRAIL_TODAY", "2026-04-20")
    code, output = run("records", "status")
    assert code == 1 and "attendance is older than 36 hours" in output
