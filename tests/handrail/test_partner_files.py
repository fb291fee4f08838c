"""From a partner's own export to its history, by the commands that somebody types."""

from __future__ import annotations

import subprocess
import zipfile
from datetime import datetime
from pathlib import Path

import pytest
from typer.testing import CliRunner

from handrail.cli import app
from records.database.engine import open_database
from records.identity.participants import (
    Match,
    MatchStatus,
    Participant,
    record_matches,
    resolve_participant,
)
from records.snapshots.snapshot import Snapshot
from records.staff.accounts import Organization, add_organization

ROSTER = "sourcedId,role,givenName,familyName,grades,orgSourcedIds\n" + "".join(
    f"s{n},student,{first},{last},05,k1\n"
    for n, (first, last) in enumerate(
        (("Ada", "Quillfeather"), ("Bo", "Tanglewood"), ("Cy", "Ironmonger"))
    )
)
PARTICIPANTS = """\
participant_id,first_name,last_name,birth_date,grade,school
P-100,Ada,Quillfeather,2015-03-04,5,
P-101,Bo,Tanglewood,2015-05-06,5,
"""
ENROLLMENTS = """\
Record ID,Participant ID,Last Name,Program Name,Enrollment Date,Exit Date
E1,P-100,Quillfeather,After School,01/13/2026,
E2,P-101,Tanglewood,After School,01/05/2026,03/27/2026
E3,P-777,Nobody,After School,01/05/2026,
"""
ATTENDANCE = """\
Record ID,Participant ID,Program Name,Service Date,Attended?,Duration (min)
S1,P-100,After School,01/14/2026,Present,45
S1,P-101,After School,01/14/2026,No Show,0
S2,P-100,After School,01/21/2026,Present,45
"""


def handrail(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    run = CliRunner().invoke(app, [str(argument) for argument in arguments])
    return subprocess.CompletedProcess(arguments, run.exit_code, run.stdout, run.stderr)


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """A district of three students, loaded from a ZIP file, and one partner."""
    with zipfile.ZipFile(tmp_path / "sis.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("users.csv", ROSTER)
        archive.writestr(
            "demographics.csv", "sourcedId,birthDate\ns0,2015-03-04\ns1,2015-05-06\ns2,2015-07-08\n"
        )
    folder = tmp_path / "home"
    run = handrail("load", "oneroster", tmp_path / "sis.zip", "--home", folder)
    assert run.returncode == 0, run.stderr
    add_organization(
        open_database(f"sqlite:///{folder / 'handrail.db'}"),
        Organization("tutors", "Tutors", "partner"),
    )
    return folder


@pytest.fixture
def export(tmp_path: Path) -> Path:
    folder = tmp_path / "export"
    folder.mkdir()
    (folder / "Enrollments.csv").write_text(ENROLLMENTS)
    (folder / "Attendance.csv").write_text(ATTENDANCE)
    (tmp_path / "participants.csv").write_text(PARTICIPANTS)
    return folder


def test_an_export_is_mapped_linked_and_loaded(home: Path, export: Path, tmp_path: Path):
    draft = tmp_path / "mapping.toml"
    run = handrail(
        "map",
        export / "Enrollments.csv",
        export / "Attendance.csv",
        "--organization",
        "tutors",
        "--out",
        draft,
    )
    assert run.returncode == 0, run.stderr
    for line in (
        "Enrollments.csv: enrollments",
        "Attendance.csv: sessions",
        "participant_id",
        "sure",
        "not read",
    ):
        assert line in run.stdout, run.stdout
    for value in ("Quillfeather", "P-100", "01/13/2026", "Present", "After School"):
        assert value not in run.stdout, "values of rows are not shown"
    load = ("load", "service-history", export, "--mapping", draft, "--home", home)
    waiting = handrail(*load)
    assert waiting.returncode == 0, waiting.stderr
    assert Snapshot.current(home).table("service_enrollments").count().to_pyarrow().as_py() == 0
    assert "waiting for somebody" in str(Snapshot.current(home).quarantined().to_pylist())
    linked = handrail(
        "identity",
        "link",
        tmp_path / "participants.csv",
        "--organization",
        "tutors",
        "--home",
        home,
    )
    assert linked.returncode == 0 and "Linked to a student: 2." in linked.stdout, (
        linked.stdout + linked.stderr
    )
    assert handrail(*load).returncode == 0
    sessions = Snapshot.current(home).table("service_sessions").to_pyarrow().to_pylist()
    assert [(row["student_id"], row["session_id"], row["attended"]) for row in sessions] == [
        ("s0", "S1/P-100", True),
        ("s0", "S2/P-100", True),
        ("s1", "S1/P-101", False),
    ]
    assert Snapshot.current(home).quarantined()["column"].to_pylist() == ["Participant ID"], (
        "one is no student"
    )
    assert "already was the current one" in handrail(*load).stdout.replace("\n", " ")
    said_to_be_no_student(home, "P-777")
    assert "of a participant who is not a student of this district (1)" in handrail(*load).stdout
    assert Snapshot.current(home).quarantined().num_rows == 0
    status = handrail("identity", "status", "--home", home).stdout
    assert [cell.strip() for cell in status.split("Tutors")[1].splitlines()[0].split("│")][
        1:-1
    ] == list("20011")


def said_to_be_no_student(home: Path, participant_id: str) -> None:
    now = datetime(2026, 4, 17, 9)
    database = open_database(f"sqlite:///{home / 'handrail.db'}")
    nobody = Participant("tutors", participant_id, "Nobody", "Nowhere", None, None, "")
    record_matches(database, "tutors", [Match(nobody, MatchStatus.NONE, None, ())], now)
    resolve_participant(database, "tutors", participant_id, None, "somebody", now)


def test_a_housing_partners_export_is_linked_and_loaded(home: Path, tmp_path: Path):
    folder = tmp_path / "hmis"
    folder.mkdir()
    (folder / "Client.csv").write_text(
        "PersonalID,FirstName,LastName,SSN,DOB\nC1,Cy,Ironmonger,123-45-6789,2015-07-08\n"
    )
    (folder / "Enrollment.csv").write_text(
        "EnrollmentID,PersonalID,ProjectID,EntryDate,DisablingCondition\nE1,C1,10,2026-01-05,1\n"
    )
    linked = handrail("identity", "link", folder, "--organization", "tutors", "--home", home)
    assert "Linked to a student: 1." in linked.stdout, linked.stdout + linked.stderr
    run = handrail("load", "hmis", folder, "--organization", "tutors", "--home", home)
    assert run.returncode == 0, run.stderr
    assert (
        "Never stored: DisablingCondition in Enrollment.csv (disability or health)."
        in run.stdout.replace("\n", " ")
    )
    [row] = Snapshot.current(home).table("service_enrollments").to_pyarrow().to_pylist()
    assert (row["student_id"], row["program_id"]) == ("s2", "tutors-10")


def test_wrong_use_is_one_plain_sentence_and_exit_two(home: Path, export: Path, tmp_path: Path):
    broken = tmp_path / "broken.toml"
    broken.write_text('organization_id = "tutors"\n[[file]]\nname = "x.csv"\nholds = "nothing"\n')
    draft = tmp_path / "there.toml"
    draft.write_text("")
    at = ("--home", home)
    for arguments, part in (
        (("load", "hmis", export, *at), "needs --organization"),
        (
            ("load", "hmis", export, "--organization", "nobody", *at),
            "there is no organization 'nobody'",
        ),
        (
            ("load", "service-history", export, "--organization", "tutors", *at),
            "Enrollments.csv, line 1: there is no column 'student_id'",
        ),
        (
            ("load", "service-history", export, "--mapping", broken, *at),
            "broken.toml, line 4: holds is 'nothing'",
        ),
        (
            ("load", "service-history", export, "--mapping", tmp_path / "none.toml", *at),
            "is not a file",
        ),
        (
            ("load", "oneroster", export, "--organization", "tutors", *at),
            "are for service-history and hmis",
        ),
        (("load", "oneroster", broken, *at), "is not a folder or a ZIP file"),
        (("map", tmp_path / "none.csv"), "is not a file"),
        (("map", export / "Attendance.csv", "--out", draft), "exists already"),
    ):
        run = handrail(*arguments)
        assert run.returncode == 2, (arguments, run.stdout)
        assert part in run.stderr.replace("\n", " ") and "Traceback" not in run.stderr, (
            part,
            run.stderr,
        )
