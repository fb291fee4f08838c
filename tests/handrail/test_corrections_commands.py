"""Rows of every kind of source are handed out, put right and loaded again, by the commands that
somebody types.
"""

from __future__ import annotations

import csv
import zipfile
from collections.abc import Callable
from datetime import datetime
from pathlib import Path

import pytest
from typer.testing import CliRunner

from handrail.cli import app
from records.connectors.corrections import FORMULA_GUARD
from records.database.engine import Database, open_database
from records.identity.participants import Candidate, Match, MatchStatus, Participant, record_matches
from records.loading.load_history import loads
from records.snapshots.snapshot import Snapshot
from records.staff.accounts import Organization, add_organization, add_staff
from records.staff.viewer import DISTRICT, Role

PASSWORD = "a password of the test"
OFFICER = "officer@district.example"
USERS = "sourcedId,role,givenName,familyName,grades,ssn\n" + "".join(
    f"s{n},student,Given{n},Last{n},05,\n" for n in range(4)
)
ATTENDANCE = (
    "userSourcedId,school_id,date,status\n"
    "s1,k1,April,tardy\n"
    "s2,k1,2026-04-01,tardy\n"
    "s9,k1,2026-04-01,tardy\n"
)
MAPPING = """\
organization_id = "{organization}"
[programs]
"After School" = {{ program_id = "{organization}-after", support = "tutoring" }}
[[file]]
name = "Enrollments.csv"
holds = "enrollments"
dates = ["MM/DD/YYYY"]
[file.columns]
participant_id = "Participant ID"
program_id = "Program Name"
start_date = "Enrollment Date"
"""
ENROLLMENTS = """\
Record ID,Participant ID,Last Name,Program Name,Enrollment Date,SSN
E1,P-1,"Quill, the elder",After School,January,123-45-6789
E2,P-2,Tanglewood,After School,01/05/2026,
"""


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A district of four students from a ZIP file, an officer, and two partners' participants."""
    home = tmp_path / "home"
    monkeypatch.setenv("HANDRAIL_HOME", str(home))
    monkeypatch.setenv("HANDRAIL_PASSWORD", PASSWORD)
    monkeypatch.setenv("HANDRAIL_TODAY", "2026-04-17")
    monkeypatch.delenv("HANDRAIL_DATABASE_URL", raising=False)
    with zipfile.ZipFile(tmp_path / "sis.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("export/users.csv", USERS)
        archive.writestr("export/attendance.csv", ATTENDANCE)
    code, output = run("load", "oneroster", tmp_path / "sis.zip")
    assert code == 0, output
    database = open_database(f"sqlite:///{home / 'handrail.db'}")
    add_organization(database, Organization(DISTRICT, "The District", "district"))
    add_staff(database, OFFICER, "Grace", Role.DISTRICT_ADMIN, DISTRICT, PASSWORD)
    for partner in ("tutors", "harbor"):
        add_organization(database, Organization(partner, partner.capitalize(), "partner"))
        linked(database, partner)
    return home


def linked(database: Database, organization: str) -> None:
    record_matches(
        database,
        organization,
        [
            Match(
                Participant(organization, f"P-{n}", f"Given{n}", f"Last{n}", None, 5, ""),
                MatchStatus.LINKED,
                f"s{n}",
                (Candidate(f"s{n}", 1.0),),
            )
            for n in (1, 2)
        ],
        datetime(2026, 4, 17, 9),
    )


def run(*arguments: object) -> tuple[int, str]:
    done = CliRunner().invoke(app, [str(argument) for argument in arguments])
    return done.exit_code, " ".join(done.output.split())


def put_right(file: Path, change: Callable[[dict[str, str]], str]) -> list[dict[str, str]]:
    """Take the quarantine and edit each row's raw line with `change`; the rows as they were."""
    code, output = run("records", "quarantine", "--to", file, "--as", OFFICER)
    assert code == 0, output
    *rows, terms = csv.DictReader(file.open(newline=""))
    with file.open("w", newline="") as stream:
        writer = csv.DictWriter(stream, terms.keys())
        writer.writeheader()
        writer.writerows([*(row | {"raw": change(row)} for row in rows), terms])
    return rows


def partner_export(folder: Path, organization: str) -> Path:
    folder.mkdir()
    (folder / "Enrollments.csv").write_text(ENROLLMENTS)
    (folder / "mapping.toml").write_text(MAPPING.format(organization=organization))
    return folder


def test_a_row_of_a_zip_file_is_put_right_and_the_zip_file_loaded_again(
    home: Path, tmp_path: Path
):  # R35, R38
    source, file = tmp_path / "sis.zip", tmp_path / "aside.csv"
    before = source.read_bytes()
    put_right(file, lambda row: row["raw"].replace("April", "2026-04-02"))
    code, output = run("load", "oneroster", source, "--corrections", file)
    assert code == 0, output
    serving = Snapshot.current(home)
    assert serving.manifest["rows"]["attendance_events"] == 2
    assert [(row.line, row.column) for row in serving.set_aside()] == [(4, "student_id")]
    assert source.read_bytes() == before and not list(home.rglob(".*rrected*"))


def test_a_row_that_is_wrong_only_beside_others_is_put_right_at_its_source(
    home: Path, tmp_path: Path
):  # R35
    file = tmp_path / "aside.csv"
    rows = put_right(file, lambda row: row["raw"].replace("s9", "s3"))
    assert [row["columns"] != "" for row in rows] == [True, False]
    before = Snapshot.current(home).id
    code, output = run("load", "oneroster", tmp_path / "sis.zip", "--corrections", file)
    assert (
        code == 2
        and "aside.csv, line 3: this row is not a line of one file" in output
        and "in the source system" in output
    )
    assert Snapshot.current(home).id == before


def test_a_row_of_a_mapped_export_is_put_right_without_what_was_cut_out(
    home: Path, tmp_path: Path
):  # R35, R38
    folder, file = partner_export(tmp_path / "export", "tutors"), tmp_path / "aside.csv"
    load = ("load", "service-history", folder, "--mapping", folder / "mapping.toml")
    code, output = run(*load)
    assert code == 0, output
    rows = put_right(file, lambda row: row["raw"].replace("January", "01/13/2026"))
    [row] = [row for row in rows if row["source"] == "service-history"]
    assert (row["organization"], row["line"]) == ("tutors", "2")
    assert row["columns"] == FORMULA_GUARD + "Participant ID,Program Name,Enrollment Date"
    assert row["raw"] == FORMULA_GUARD + "P-1,After School,January"
    code, output = run(*load, "--corrections", file)
    assert code == 0, output
    enrollments = Snapshot.current(home).table("service_enrollments").to_pyarrow().to_pylist()
    assert [
        (enrollment["student_id"], str(enrollment["start_date"])) for enrollment in enrollments
    ] == [
        ("s1", "2026-01-13"),
        ("s2", "2026-01-05"),
    ]
    assert not [
        row for row in Snapshot.current(home).set_aside() if row.source == "service-history"
    ]
    (folder / "Enrollments.csv").write_text(ENROLLMENTS.replace("P-1", "P-2"))
    code, output = run(*load, "--corrections", file)
    assert (
        code == 2
        and "Enrollments.csv, line 2" in output
        and "the source has changed since" in output
    )


def test_a_correction_of_a_mapped_line_must_have_its_fields(home: Path, tmp_path: Path):
    folder, file = partner_export(tmp_path / "export", "tutors"), tmp_path / "aside.csv"
    load = ("load", "service-history", folder, "--mapping", folder / "mapping.toml")
    code, output = run(*load)
    assert code == 0, output
    for raw, says in (
        (
            "|P-1,After School",
            "has 2 fields; it needs 3: Participant ID,Program Name,Enrollment Date",
        ),
        ('|P-1,"After School,01/13/2026', "cannot be read"),
    ):
        put_right(file, lambda row, raw=raw: raw if row["organization"] == "tutors" else row["raw"])
        code, output = run(*load, "--corrections", file)
        assert code == 2 and says in output, output


def test_an_unreadable_line_of_a_mapped_export_can_be_written_anew(
    home: Path, tmp_path: Path
):  # R35
    folder, file = partner_export(tmp_path / "export", "tutors"), tmp_path / "aside.csv"
    (folder / "Enrollments.csv").write_text(ENROLLMENTS.replace('the elder",', "the elder,"))
    load = ("load", "service-history", folder, "--mapping", folder / "mapping.toml")
    code, output = run(*load)
    assert code == 0, output
    put_right(
        file,
        lambda row: (
            FORMULA_GUARD + "P-1,After School,01/13/2026"
            if "not kept" in row["raw"]
            else row["raw"]
        ),
    )
    code, output = run(*load, "--corrections", file)
    assert code == 0, output
    assert Snapshot.current(home).manifest["rows"]["service_enrollments"] == 2


def test_two_partners_whose_files_have_one_name_are_told_apart(home: Path, tmp_path: Path):
    folders = [partner_export(tmp_path / name, name) for name in ("tutors", "harbor")]
    load = [
        ("load", "service-history", folder, "--mapping", folder / "mapping.toml")
        for folder in folders
    ]
    assert [run(*arguments)[0] for arguments in load] == [0, 0]
    file = tmp_path / "aside.csv"
    put_right(
        file,
        lambda row: (
            row["raw"].replace("January", "01/13/2026")
            if row["organization"] == "harbor"
            else row["raw"]
        ),
    )
    code, output = run(*load[0], "--corrections", file)
    assert code == 2 and "aside.csv corrects no line of service-history of tutors" in output
    assert run(*load[1], "--corrections", file)[0] == 0
    assert Snapshot.current(home).manifest["rows"]["service_enrollments"] == 3


def test_rows_of_an_hmis_export_are_put_right_and_where_somebody_went_stays_cut_out(
    home: Path, tmp_path: Path
):  # R38
    folder, file = tmp_path / "hmis", tmp_path / "aside.csv"
    folder.mkdir()
    (folder / "Enrollment.csv").write_text(
        "EnrollmentID,PersonalID,ProjectID,DisablingCondition,EntryDate\n"
        "E1,P-1,10,1,5 January\n"
        "E2,P-2,10,0,2026-01-05\n"
    )
    (folder / "Exit.csv").write_text(
        "EnrollmentID,ExitDate,Destination,DateDeleted\nE1,2026-02-03,410,\nE2,February,435,\n"
    )
    load = ("load", "hmis", folder, "--organization", "harbor")
    code, output = run(*load)
    assert code == 0, output
    rows = put_right(
        file,
        lambda row: row["raw"].replace("5 January", "2026-01-05").replace("February", "2026-02-03"),
    )
    handed_out = {
        (row["file"], row["line"]): (row["columns"], row["raw"])
        for row in rows
        if row["source"] == "hmis"
    }
    assert handed_out == {
        ("Enrollment.csv", "2"): (
            "|EnrollmentID,PersonalID,ProjectID,EntryDate",
            "|E1,P-1,10,5 January",
        ),
        ("Exit.csv", "2"): ("|EnrollmentID,ExitDate", "|E1,2026-02-03"),
        ("Exit.csv", "3"): ("|EnrollmentID,ExitDate", "|E2,February"),
    }
    code, output = run(*load, "--corrections", file)
    assert code == 0, output
    enrollments = Snapshot.current(home).table("service_enrollments").to_pyarrow().to_pylist()
    assert [
        (enrollment["student_id"], str(enrollment["end_date"]), enrollment["exit_reason"])
        for enrollment in enrollments
    ] == [
        ("s1", "2026-02-03", "Moved to a lasting home"),
        ("s2", "2026-02-03", "Moved to a lasting home"),
    ]
    assert not [row for row in Snapshot.current(home).set_aside() if row.source == "hmis"]


def test_a_row_of_an_export_that_is_kept_for_changes_is_put_right(
    home: Path, tmp_path: Path
):  # R35
    source, file = tmp_path / "sis.zip", tmp_path / "aside.csv"
    assert run("load", "oneroster", source, "--keep-for-changes")[0] == 0
    put_right(file, lambda row: row["raw"].replace("April", "2026-04-02"))
    code, output = run("load", "oneroster", source, "--corrections", file)
    assert code == 0, output
    assert Snapshot.current(home).manifest["rows"]["attendance_events"] == 2


def test_what_comes_by_an_api_is_put_right_in_the_districts_own_system(home: Path, tmp_path: Path):
    settings, file = tmp_path / "api.toml", tmp_path / "aside.csv"
    settings.write_text("")
    put_right(file, lambda row: row["raw"].replace("April", "2026-04-02"))
    before = len(loads(home))
    for source in ("edfi-api", "oneroster-api", "powerschool"):
        code, output = run("load", source, settings, "--corrections", file)
        assert (
            code == 2
            and "--corrections is for files" in output
            and "the district's own system" in output
        )
    assert len(loads(home)) == before and not (home / "sources").exists()
