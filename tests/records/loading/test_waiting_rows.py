"""No load destroys what it does not bring: rows wait for their student, tables for their file."""

from __future__ import annotations

import json
import shutil
from collections.abc import Collection, Mapping
from datetime import date, timedelta
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sqlalchemy import text
from typer.testing import CliRunner

from handrail.cli import app
from records.access.publication import has_row_security, publish_snapshot
from records.access.scope import pipeline_scope
from records.access.scoped_records import ScopedRecords
from records.canonical.schema import TABLES
from records.connectors.edfi.api import RESOURCES
from records.connectors.edfi.files import EXPECTED_FILES, EdFiFiles
from records.connectors.missing_files import MISSING_COLUMNS, MISSING_FILES, tables_without
from records.connectors.oneroster.api import RESOURCES as ONEROSTER_RESOURCES
from records.connectors.oneroster.files import OneRosterFiles
from records.connectors.oneroster.rules import FILES
from records.connectors.partner_files.service_history import ServiceHistory
from records.connectors.powerschool import QUERIES
from records.connectors.protocol import Connector, RowSink
from records.database.engine import Database, open_database
from records.destruction.destruction import destroy_student
from records.loading.load import load
from records.loading.load_history import (
    load_warnings,
    loads,
    record_load,
    stale_attendance_since,
)
from records.loading.load_report import LoadReport
from records.snapshots.rewriting import rewrite_without_student
from records.snapshots.snapshot import Snapshot
from records.snapshots.waiting_rows import WAITS_FOR, waiting_file, waiting_words
from records.staff.viewer import DISTRICT, Role
from records.system.progress import ProgressCallback
from tests.records.conftest import SECRET, Rows, add_organization, at_noon, snapshot_of
from tests.records.disk_contents import files_on_disk

DAY = date(2025, 12, 19)
SERVICES = ("service_enrollments", "service_sessions")
USERS = "sourcedId,role,givenName,familyName,grades"
ATTENDANCE = "userSourcedId,school_id,date,status"
ENROLLMENTS = "student_id,program_id,organization_id,start_date"
SESSIONS = "student_id,session_id,program_id,organization_id,date,attended"


def csv(folder: Path, file: str, header: str, *lines: str) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / file).write_text("\n".join((header, *lines)) + "\n")
    return folder


def roster(folder: Path, *students: str) -> Path:
    """An export with `users.csv` alone."""
    return csv(
        folder, "users.csv", USERS, *(f"{student},student,Ann,Lee,05" for student in students)
    )


def load_onto(
    home: Path,
    connector: Connector,
    folder: Path,
    day: date | None = DAY,
    *,
    destroyed: Collection[str] = (),
    on_hold: Collection[str] = (),
) -> LoadReport:
    """Load as the command does: onto the current snapshot if there is one."""
    return load(
        connector,
        folder,
        home,
        merge=(home / "snapshots" / "CURRENT").exists(),
        leave_out=destroyed.__contains__,
        day=day,
        on_hold=on_hold,
    )


def load_roster(home: Path, folder: Path, day: date | None = DAY) -> LoadReport:
    return load_onto(home, OneRosterFiles(), folder, day)


def load_partner(
    home: Path, folder: Path, day: date | None = DAY, partner: str | None = None
) -> LoadReport:
    return load_onto(home, ServiceHistory(partner), folder, day)


def enrollments(folder: Path, *students: str, partner: str = "tutors") -> Path:
    lines = (f"{student},{partner}-p,{partner},2025-09-01" for student in students)
    return csv(folder, "enrollments.csv", ENROLLMENTS, *lines)


def students_in(home: Path, table: str) -> list[str]:
    ids: list[str] = Snapshot.current(home).table(table)["student_id"].to_pyarrow().to_pylist()
    return sorted(ids)


def waiting_in(home: Path, table: str = "service_enrollments") -> list[dict[str, object]]:
    file = waiting_file(Snapshot.current(home).path, table)
    return pq.read_table(file).to_pylist() if file.exists() else []


def waiting_students(home: Path, table: str = "service_enrollments") -> list[object]:
    return [row["student_id"] for row in waiting_in(home, table)]


def assert_rows_add_up(report: LoadReport) -> None:
    for file in report.files:
        assert file.read == file.kept + file.quarantined + file.duplicates + file.ignored


def test_what_hangs_on_a_student_waits_out_a_night_with_one_bad_line(cases: Path, tmp_path: Path):
    case = cases / "105-one-bad-line-on-one-night"
    load_roster(tmp_path, case / "night1")
    with_services = load_partner(tmp_path, case / "service")
    bad = shutil.copytree(case / "night2", tmp_path / "night2")
    whole, _, _ = (bad / "users.csv").read_text().rpartition(',"Grade 7"')
    (bad / "users.csv").write_text(f"{whole}\n")
    night2 = load_roster(tmp_path, bad)
    assert night2.waiting == {"service_enrollments": 1, "service_sessions": 2}
    assert [students_in(tmp_path, name) for name in ("students", *SERVICES)] == [["1"]] * 3
    snapshot = Snapshot.current(tmp_path)
    assert snapshot.manifest["waiting"] == night2.waiting
    assert {f"waiting-{name}.parquet" for name in SERVICES} <= set(snapshot.manifest["hashes"])
    assert waiting_words(snapshot.manifest) == [
        "1 row of program enrollments of 1 student who is not in the present roster is waiting;"
        " it comes back with the student",
        "2 rows of program sessions of 1 student who is not in the present roster are waiting;"
        " they come back with the student",
    ]
    night3 = load_roster(tmp_path, case / "night3")
    assert students_in(tmp_path, "service_enrollments") == ["1", "2"]
    assert students_in(tmp_path, "service_sessions") == ["1", "2", "2"]
    assert night3.waiting == {} and waiting_in(tmp_path) == []
    assert night3.snapshot_id == with_services.snapshot_id, "as if that night had not been"
    assert "2 rows of program sessions that had waited came back" in night3.notes
    for report in (with_services, night2, night3):
        assert_rows_add_up(report)


def test_a_load_in_which_everybody_has_a_new_identifier_is_held(
    cases: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    case = cases / "106-all-identifiers-new"
    monkeypatch.setenv("HANDRAIL_HOME", str(tmp_path))
    monkeypatch.setenv("HANDRAIL_TODAY", str(DAY))
    monkeypatch.delenv("HANDRAIL_DATABASE_URL", raising=False)
    assert run("load", "oneroster", case / "before")[0] == 0
    assert run("load", "service-history", case / "service")[0] == 0
    before = Snapshot.current(tmp_path).id
    code, output = run("load", "oneroster", case / "after-new-ids")
    assert code == 2
    assert (
        "of the 30 student identifiers of the current records 0 are in it, and 30 others are new:"
        " has the district changed its student numbers?" in output
    )
    assert "give the same command with --accept" in output
    assert Snapshot.current(tmp_path).id == before and len(loads(tmp_path)) == 2
    code, output = run("load", "oneroster", case / "after-new-ids", "--accept")
    waits = (
        "Waiting: 30 rows of program enrollments of 30 students who are not in the present roster"
        " are waiting; they come back with the students."
    )
    assert code == 0 and waits in output
    assert waits in run("records", "status")[1]
    assert len(waiting_in(tmp_path)) == 30 and students_in(tmp_path, "service_enrollments") == []
    assert waiting_in(tmp_path)[0]["waiting_since"] == DAY


def run(*arguments: object) -> tuple[int, str]:
    done = CliRunner().invoke(app, [str(argument) for argument in arguments])
    return done.exit_code, " ".join(done.output.split())


def test_the_same_load_on_another_day_gives_the_same_snapshot(tmp_path: Path):
    load_roster(tmp_path, roster(tmp_path / "a", "s1", "s2"))
    load_partner(tmp_path, enrollments(tmp_path / "p", "s1", "s2", "s9"))
    without = roster(tmp_path / "b", "s1")
    first = load_roster(tmp_path, without)
    later = load_roster(tmp_path, without, DAY + timedelta(days=3))
    assert (later.snapshot_id, later.changed) == (first.snapshot_id, False)
    partner = load_partner(tmp_path, tmp_path / "p", DAY + timedelta(days=4))
    again = load_partner(tmp_path, tmp_path / "p", DAY + timedelta(days=9))
    assert (again.snapshot_id, again.changed) == (partner.snapshot_id, False)
    assert {row["waiting_since"] for row in waiting_in(tmp_path)} == {DAY}


def test_a_partners_file_that_comes_before_the_roster_waits_for_it(tmp_path: Path):
    load_roster(tmp_path, roster(tmp_path / "a", "s1"))
    report = load_partner(tmp_path, enrollments(tmp_path / "p", "s1", "s2", "s3"))
    assert_rows_add_up(report)
    assert (report.files[0].kept, report.files[0].quarantined) == (3, 0)
    assert waiting_students(tmp_path) == ["s2", "s3"]
    assert (
        "enrollments.csv: 2 rows name a student who is not in the present roster, and wait for"
        " them (lines 3, 4)" in report.notes
    )
    assert not any("s2" in note or "s3" in note for note in report.notes)
    load_roster(tmp_path, roster(tmp_path / "a", "s1", "s2"))
    assert students_in(tmp_path, "service_enrollments") == ["s1", "s2"]
    assert waiting_students(tmp_path) == ["s3"]


def test_a_row_of_nobody_does_not_wait_with_the_key_of_a_good_one(tmp_path: Path):
    load_roster(tmp_path, roster(tmp_path / "a", "s1"))
    rows = (f"{student},x1,p,tutors,2025-09-02,true" for student in ("nobody", "s1"))
    report = load_partner(tmp_path, csv(tmp_path / "p", "sessions.csv", SESSIONS, *rows))
    assert_rows_add_up(report)
    assert students_in(tmp_path, "service_sessions") == ["s1"]
    (aside,) = Snapshot.current(tmp_path).set_aside()
    assert aside.line == 2 and "same key" in aside.reason
    assert waiting_in(tmp_path, "service_sessions") == []


def test_a_newer_file_of_the_partner_replaces_what_waits_of_it_and_of_nobody_else(tmp_path: Path):
    load_roster(tmp_path, roster(tmp_path / "a", "s1"))
    for partner in ("tutors", "pantry"):
        folder = enrollments(tmp_path / partner, "s2", "s3", partner=partner)
        load_partner(tmp_path, folder, partner=partner)
    load_partner(tmp_path, enrollments(tmp_path / "tutors", "s3"), partner="tutors")
    assert sorted((row["organization_id"], row["student_id"]) for row in waiting_in(tmp_path)) == [
        ("pantry", "s2"),
        ("pantry", "s3"),
        ("tutors", "s3"),
    ]
    load_roster(tmp_path, roster(tmp_path / "a", "s1", "s2", "s3"))
    assert students_in(tmp_path, "service_enrollments") == ["s2", "s3", "s3"]


def test_rows_wait_for_four_hundred_days_and_no_longer(tmp_path: Path):
    load_roster(tmp_path, roster(tmp_path / "a", "s1"))
    load_partner(tmp_path, enrollments(tmp_path / "p", "s2", "s3"))
    last = DAY + WAITS_FOR
    assert load_roster(tmp_path, tmp_path / "a", last).waiting == {"service_enrollments": 2}
    undated = load_roster(tmp_path, tmp_path / "a", None)
    assert undated.waiting == {"service_enrollments": 2}, "without a day nothing is too late"
    day_after = last + timedelta(days=1)
    over = load_onto(tmp_path, OneRosterFiles(), tmp_path / "a", day_after, on_hold={"s3"})
    assert waiting_students(tmp_path) == ["s3"], "a legal hold keeps them"
    assert (
        "1 rows of program enrollments had waited more than 400 days for a student who did not come"
        " back: they were deleted" in over.notes
    )


def test_rows_that_waited_since_an_unknown_day_wait_from_the_first_day_given(tmp_path: Path):
    load_roster(tmp_path, roster(tmp_path / "a", "s1"), None)
    load_partner(tmp_path, enrollments(tmp_path / "p", "s2"), None)
    assert [row["waiting_since"] for row in waiting_in(tmp_path)] == [None]
    load_roster(tmp_path, tmp_path / "a", DAY)
    assert [row["waiting_since"] for row in waiting_in(tmp_path)] == [DAY]


def test_a_district_table_of_another_load_waits_too(tmp_path: Path):
    """A table that this source does not bring, and one whose file is missing."""
    entry = {"student_id": "s2", "program_id": "p", "organization_id": "o", "start_date": DAY}
    snapshot_of(
        {
            "students": [{"student_id": "s1"}, {"student_id": "s2"}],
            "assessments": [
                {"student_id": "s2", "assessment": "Reading", "date": DAY, "score": 7.0}
            ],
            "service_enrollments": [entry],
        },
        tmp_path,
    )
    load_roster(tmp_path, roster(tmp_path / "a", "s1"))
    names = ("assessments", "service_enrollments")
    assert [waiting_students(tmp_path, name) for name in names] == [["s2"], ["s2"]]
    load_roster(tmp_path, roster(tmp_path / "a", "s1", "s2"))
    assert [students_in(tmp_path, name) for name in names] == [["s2"], ["s2"]]
    load_roster(tmp_path, roster(tmp_path / "a", "s1"))
    csv(tmp_path / "a", "assessments.csv", "userSourcedId,assessment,date,score")
    load_roster(tmp_path, tmp_path / "a")
    assert waiting_students(tmp_path, "assessments") == ["s2"], "a header alone says nothing"
    line = "s1,Reading,2025-10-01,7"
    csv(tmp_path / "a", "assessments.csv", "userSourcedId,assessment,date,score", line)
    load_roster(tmp_path, tmp_path / "a")
    assert waiting_in(tmp_path, "assessments") == [], "the file is there: it has none of s2"


def test_an_empty_roster_loses_nothing(tmp_path: Path):
    load_roster(tmp_path, roster(tmp_path / "a", "s1"))
    load_partner(tmp_path, enrollments(tmp_path / "p", "s1", "s2"))
    csv(tmp_path / "b", "users.csv", USERS, "s1,student,Ann")
    for _ in range(2):
        load_roster(tmp_path, tmp_path / "b")
        assert waiting_students(tmp_path) == ["s1", "s2"]
        assert students_in(tmp_path, "service_enrollments") == []
    load_roster(tmp_path, tmp_path / "a")
    assert students_in(tmp_path, "service_enrollments") == ["s1"]


def test_nobody_reads_what_waits(tmp_path: Path, database: Database):
    home = tmp_path / "home"
    load_roster(home, roster(tmp_path / "a", "s1", "Vanished77"))
    load_partner(home, enrollments(tmp_path / "p", "s1", "Vanished77"))
    load_roster(home, roster(tmp_path / "a", "s1"))
    snapshot = Snapshot.current(home)
    for name in TABLES:
        assert "Vanished77" not in str(snapshot.table(name).to_pyarrow().to_pylist())
    records = ScopedRecords(snapshot, pipeline_scope(snapshot, "features", DAY))
    assert records.table("service_enrollments")["student_id"].to_pyarrow().to_pylist() == ["s1"]
    if has_row_security(database):
        publish_snapshot(database, snapshot)
        with database.engine.connect() as connection:
            rows = connection.scalars(
                text("SELECT student_id FROM district_records.service_enrollments")
            )
            assert list(rows) == ["s1"]


def test_a_destruction_removes_the_rows_that_wait_for_the_student(tmp_path: Path):
    home = tmp_path / "home"
    database = open_database(f"sqlite:///{tmp_path / 'handrail.db'}")
    (admin,) = add_organization(database, DISTRICT, Role.DISTRICT_ADMIN)
    load_roster(home, roster(tmp_path / "a", "s1", "Vanished77"))
    load_partner(home, enrollments(tmp_path / "p", "s1", "s2", "Vanished77"))
    load_roster(home, roster(tmp_path / "a", "s1"))
    for folder in (home / "snapshots").glob("[0-9a-f]*/"):
        if folder != Snapshot.current(home).path:
            shutil.rmtree(folder)
    assert any(b"Vanished77" in contents for _, contents in files_on_disk(home))
    certificate = destroy_student(database, home, "Vanished77", admin, at_noon(DAY), SECRET)
    removed = {entry["store"]: entry["items"] for entry in json.loads(certificate.text)["removed"]}
    assert removed["waiting rows"] == 1 and removed["snapshot"] == 0
    assert not any(b"Vanished77" in contents for _, contents in files_on_disk(home))
    assert Snapshot.current(home).manifest["waiting"] == {"service_enrollments": 1}
    assert rewrite_without_student(home, "s2").waiting == 1
    snapshot = Snapshot.current(home)
    assert snapshot.manifest["waiting"] == {} and not list(snapshot.path.glob("waiting-*"))


# What a load does not bring of its own tables.


def full_export(folder: Path) -> Path:
    roster(folder, "s1", "s2")
    csv(folder, "attendance.csv", ATTENDANCE, "s1,k1,2025-10-01,tardy", "s2,k1,soon,tardy")
    return csv(folder, "orgs.csv", "sourcedId,type,name", "k1,school,Harbor")


def test_a_table_whose_file_is_missing_one_night_stays_as_it_was(tmp_path: Path):
    folder = full_export(tmp_path / "a")
    connector = OneRosterFiles()
    for day in (15, 16):
        report = load_roster(tmp_path, folder)
        record_load(tmp_path, report, connector.tables, at_noon(date(2025, 12, day)))
    (folder / "attendance.csv").unlink()
    partial = load_roster(tmp_path, folder)
    record_load(tmp_path, partial, connector.tables, at_noon(date(2025, 12, 19)))
    assert partial.not_brought["attendance_events"] == ["attendance.csv"]
    assert students_in(tmp_path, "attendance_events") == ["s1"]
    assert (
        "attendance.csv was not there: attendance events are as of the load of 2025-12-16"
        in partial.notes
    )
    assert [row.file for row in Snapshot.current(tmp_path).set_aside()] == ["attendance.csv"], (
        "its quarantined line can still be corrected"
    )
    newest = loads(tmp_path)[0]
    assert "students" in newest.tables and "attendance_events" not in newest.tables
    assert stale_attendance_since(tmp_path, at_noon(DAY)) == at_noon(date(2025, 12, 16))
    assert load_roster(tmp_path, folder).snapshot_id == partial.snapshot_id
    assert "schools" not in partial.not_brought
    csv(folder, "attendance.csv", ATTENDANCE)
    assert load_roster(tmp_path, folder).not_brought["attendance_events"] == ["attendance.csv"]
    assert students_in(tmp_path, "attendance_events") == ["s1"], "a header alone says nothing"
    csv(folder, "attendance.csv", ATTENDANCE, "s2,k1,2025-12-18,tardy")
    assert "attendance_events" not in load_roster(tmp_path, folder).not_brought
    assert students_in(tmp_path, "attendance_events") == ["s2"]
    assert Snapshot.current(tmp_path).set_aside() == []


def test_a_file_that_the_manifest_calls_absent_takes_nothing_away(tmp_path: Path):
    folder = full_export(tmp_path / "a")
    load_roster(tmp_path, folder)
    csv(folder, "manifest.csv", "propertyName,value", "file.users,bulk", "file.attendance,absent")
    assert "attendance_events" in load_roster(tmp_path, folder).not_brought
    assert students_in(tmp_path, "attendance_events") == ["s1"]


def test_an_export_kept_for_changes_takes_nothing_away_either(tmp_path: Path):
    folder, connector = full_export(tmp_path / "a"), OneRosterFiles(tmp_path / "mirror")
    load_onto(tmp_path, connector, folder)
    (folder / "attendance.csv").unlink()
    report = load_onto(tmp_path, connector, folder)
    assert "attendance_events" in report.not_brought
    assert students_in(tmp_path, "attendance_events") == ["s1"]


def test_a_calendar_is_not_replaced_by_one_that_is_worked_out(tmp_path: Path):
    folder = full_export(tmp_path / "a")
    sessions = "sourcedId,type,startDate,endDate"
    csv(folder, "academicSessions.csv", sessions, "y,schoolYear,2025-12-01,2025-12-31")

    def days(home: Path) -> list[date]:
        found: list[date] = (
            Snapshot.current(home)
            .table("calendar")
            .order_by("date")["date"]
            .to_pyarrow()
            .to_pylist()
        )
        return found

    for _ in range(2):
        assert "calendar" not in load_roster(tmp_path / "never", folder).not_brought
        assert len(days(tmp_path / "never")) == 23, "there never was a calendar: weekdays"
    calendar = ("k1,2025-12-01,2025", "k1,2025-12-02,2025")
    home = tmp_path / "home"
    load_roster(home, csv(folder, "calendar.csv", "school_id,date,school_year", *calendar))
    (folder / "calendar.csv").unlink()
    for _ in range(2):
        report = load_roster(home, folder)
        assert report.not_brought["calendar"] == ["calendar.csv"]
        assert days(home) == [date(2025, 12, 1), date(2025, 12, 2)], "not the weekdays"
        assert_rows_add_up(report)
    years = ("y,schoolYear,2025-12-01,2025-12-31", "z,schoolYear,2026-08-31,2026-09-01")
    load_roster(home, csv(folder, "academicSessions.csv", sessions, *years))
    assert days(home)[2:] == [date(2026, 8, 31), date(2026, 9, 1)], "of a new year there is none"


def test_columns_whose_file_is_missing_stay_as_they_were(tmp_path: Path):
    folder = roster(tmp_path / "a", "s1", "s2", "s3")
    born = ("s1,2014-01-01,female", "s2,2014-01-02,male", "s3,2014-01-03,male")
    csv(folder, "demographics.csv", "sourcedId,birthDate,sex", *born)
    csv(folder, "characteristics.csv", "userSourcedId,english_learner", "s1,true", "s2,false")
    load_roster(tmp_path, folder)
    (folder / "demographics.csv").unlink()
    roster(folder, "s1", "s2")
    csv(folder, "characteristics.csv", "userSourcedId,english_learner", "s1,false")
    for _ in range(2):
        report = load_roster(tmp_path, folder)
        assert "characteristics" not in report.not_brought
        assert facts(tmp_path, "students", "birth_date") == {
            "s1": (date(2014, 1, 1),),
            "s2": (date(2014, 1, 2),),
        }
        assert facts(tmp_path, "characteristics", "sex", "english_learner") == {
            "s1": ("female", False),
            "s2": ("male", None),
        }
        assert (
            "demographics.csv not there: 2 rows of characteristics keep sex, race_ethnicity as an"
            " earlier load brought them" in report.notes
        )
    csv(folder, "demographics.csv", "sourcedId,birthDate,sex", "s1,2014-01-01,")
    load_roster(tmp_path, folder)
    assert facts(tmp_path, "students", "birth_date")["s2"] == (None,), "the file is there"


def facts(home: Path, table: str, *columns: str) -> dict[str, tuple[object, ...]]:
    rows = Snapshot.current(home).table(table).to_pyarrow().to_pylist()
    return {row["student_id"]: tuple(row[column] for column in columns) for row in rows}


def interchange(folder: Path, file: str, *elements: str) -> Path:
    folder.mkdir(exist_ok=True)
    (folder / file).write_text(
        f'<I xmlns="http://ed-fi.org/5.2.0">{"".join(elements)}</I>', encoding="utf-8"
    )
    return folder


def test_a_missing_interchange_takes_nothing_away(tmp_path: Path):
    students = [f"<Student><StudentUniqueId>s{n}</StudentUniqueId></Student>" for n in (1, 2)]
    school = "<School><SchoolId>7</SchoolId><NameOfInstitution>Harbor</NameOfInstitution></School>"
    folder = interchange(tmp_path / "a", "Student.xml", *students)
    interchange(folder, "EducationOrganization.xml", school)
    load_onto(tmp_path, EdFiFiles(), folder)
    (folder / "Student.xml").unlink()
    report = load_onto(tmp_path, EdFiFiles(), folder)
    assert report.not_brought["students"] == ["Student.xml"]
    assert students_in(tmp_path, "students") == ["s1", "s2"]
    interchange(folder, "Student.xml", students[0])
    (folder / "EducationOrganization.xml").unlink()
    report = load_onto(tmp_path, EdFiFiles(), folder)
    assert "schools" in report.not_brought and students_in(tmp_path, "students") == ["s1"]
    assert Snapshot.current(tmp_path).manifest["rows"]["schools"] == 1


class SchoolRun:
    """A district's source that also reports its schools' own supports, in two files."""

    name = "edfi"
    tables: tuple[str, ...] = ("students", "service_enrollments")

    def __init__(self, rows: Rows, missing: bool) -> None:
        self.rows, self.missing = rows, missing

    def read(self, directory: Path, sink: RowSink, progress: ProgressCallback) -> None:
        if self.missing:
            sink.missing("StudentIntervention.xml", "service_enrollments of school-run supports")
        for table, rows in self.rows.items():
            for line, row in enumerate(rows, start=1):
                sink.keep(table, row, f"{table}.rows", line)


def test_a_partner_of_whom_nothing_was_brought_one_night_is_replaced_on_the_next(tmp_path: Path):
    students: Rows = {"students": [{"student_id": "s1"}, {"student_id": "s2"}]}

    def with_help(student: str, organization: str) -> Rows:
        row = {"student_id": student, "program_id": "p", "start_date": DAY}
        return {**students, "service_enrollments": [row | {"organization_id": organization}]}

    nights = (
        (SchoolRun(with_help("s1", "k1"), missing=False), ["s1"]),
        (SchoolRun(students, missing=True), ["s1"]),
        (SchoolRun(with_help("s2", "k2"), missing=False), ["s2"]),
    )
    for connector, right in nights:
        load_onto(tmp_path, connector, tmp_path)
        assert students_in(tmp_path, "service_enrollments") == right


def test_each_file_that_a_connector_may_miss_has_its_tables():
    """Another file, or another name, would empty a table without a word."""
    assert {f"{start}.xml" for start in EXPECTED_FILES} == set(MISSING_FILES["edfi"])
    assert {resource.name for resource in RESOURCES} == set(MISSING_FILES["edfi-api"])
    files = {name for name, file in FILES.items() if file.stays_empty is not None}
    assert files == set(MISSING_FILES["oneroster"])
    resources = {resource.name for resource in ONEROSTER_RESOURCES if resource.file in files}
    assert files | resources == set(MISSING_FILES["oneroster-api"])
    assert {query.name for query in QUERIES} | files == set(MISSING_FILES["powerschool"])
    assert {name for files in MISSING_FILES.values() for t in files.values() for name in t} <= set(
        TABLES
    )
    assert tables_without(OneRosterFiles(), "attendance.csv") == ("attendance_events",)
    assert tables_without(OneRosterFiles(), "unheard-of.csv") == ()
    assert tables_without(ServiceHistory(), "sessions.csv") == ()
    for connector, columns in MISSING_COLUMNS.items():
        assert set(columns.values()) <= set(MISSING_FILES[connector])
        for table, column in columns:
            TABLES[table].column(column)


# Loads that a person has to look at.


def district(students: range, prefix: str = "s", **tables: list[dict[str, object]]) -> Rows:
    return {"students": [{"student_id": f"{prefix}{n}"} for n in students], **tables}  # type: ignore[dict-item]


def test_identifiers_that_change_are_doubted_though_the_count_is_steady(tmp_path: Path):
    current = snapshot_of(district(range(100)), tmp_path / "current")

    def warnings(students: range) -> list[str]:
        return load_warnings(snapshot_of(district(students), tmp_path / str(students)), current)

    assert warnings(range(20, 120)) == []
    assert warnings(range(21, 121)) == [
        "21 of the 100 students of the current records are not in it, and 21 others are new"
    ]
    (renumbered,) = warnings(range(51, 151))
    assert renumbered.startswith("of the 100 student identifiers of the current records 49 are in")
    assert len(warnings(range(21, 100))) == 1, "a loss alone is not said twice"
    assert len(warnings(range(100, 140))) == 2


def rows_of(table: str, count: int, year: int = 2026) -> list[dict[str, object]]:
    first = date(year - 1, 9, 1)
    days = [first + timedelta(n) for n in range(count)]
    rows: Mapping[str, list[dict[str, object]]] = {
        "attendance_events": [
            {"student_id": "s1", "school_id": "k", "date": day, "status": "tardy"} for day in days
        ],
        "calendar": [{"school_id": "k", "date": day, "school_year": year} for day in days],
        "school_enrollments": [
            {"student_id": "s1", "school_id": "k", "school_year": year, "entry_date": day}
            for day in days
        ],
        "course_grades": [
            {
                "student_id": "s1",
                "course": f"c{n}",
                "school_year": year,
                "period": 1,
                "date": day,
                "grade": 70.0,
            }
            for n, day in enumerate(days)
        ],
    }
    return rows[table]


@pytest.mark.parametrize(
    "table", ["attendance_events", "calendar", "school_enrollments", "course_grades"]
)
def test_a_table_that_is_nearly_empty_within_a_school_year_is_doubted(tmp_path: Path, table: str):
    def snapshot(name: str, rows: list[dict[str, object]]) -> Snapshot:
        return snapshot_of(district(range(3), **{table: rows}), tmp_path / name)

    current = snapshot("current", rows_of(table, 40))
    assert load_warnings(snapshot("half", rows_of(table, 20)), current) == []
    (warning,) = load_warnings(snapshot("less", rows_of(table, 19)), current, DAY)
    assert "it has 19 rows of " in warning
    assert warning.endswith("of the school year that ends in 2026, and the current records have 40")
    assert len(load_warnings(snapshot("none", []), current)) == 1
    next_year = snapshot("next", rows_of(table, 1, 2027))
    assert load_warnings(next_year, current) == [], "a new year begins with few rows"
    assert load_warnings(snapshot("july", []), current, date(2026, 8, 20)) == []
    assert load_warnings(snapshot("few", []), snapshot("nineteen", rows_of(table, 19))) == []


# At every moment each row that the last file of its partner brought is somewhere.

STUDENTS = ("s1", "s2", "s3", "s4")
ALWAYS_THERE = "s0"
"""In every file, because a source without a single row is refused."""

PARTNERS = ("tutors", "pantry")
rosters = st.sets(st.sampled_from(STUDENTS), min_size=1).map(sorted)
partner_files = st.tuples(
    st.sampled_from(PARTNERS),
    st.lists(
        st.tuples(st.sampled_from((*STUDENTS, "bad date")), st.integers(1, 3)),
        min_size=1,
        max_size=5,
        unique=True,
    ),
)
steps = st.lists(
    st.one_of(
        rosters.map(lambda students: ("roster", students)),
        partner_files.map(lambda file: ("partner", file)),
        st.sampled_from(STUDENTS).map(lambda student: ("destroy", student)),
    ),
    min_size=1,
    max_size=6,
)


@settings(max_examples=20, deadline=None)
@given(steps=steps)
def test_each_row_of_a_partners_last_file_is_in_exactly_one_place(
    tmp_path_factory: pytest.TempPathFactory, steps: list[tuple[str, object]]
):
    folder = tmp_path_factory.mktemp("steps")
    home, last, destroyed = folder / "home", dict[str, list[tuple[str, int]]](), set[str]()
    present = {ALWAYS_THERE, *STUDENTS}
    load_roster(home, roster(folder / "first", *sorted(present)))
    for number, (kind, what) in enumerate(steps):
        day, source = DAY + timedelta(number), folder / str(number)
        if kind == "roster":
            present = {ALWAYS_THERE, *what}  # type: ignore[misc]
            folder_of_day = roster(source, *sorted(present))
            load_onto(home, OneRosterFiles(), folder_of_day, day, destroyed=destroyed)
        elif kind == "partner":
            partner, rows = what  # type: ignore[misc]
            rows = [(ALWAYS_THERE, 0), *rows]
            last[partner] = rows
            lines = (
                f"s1,{partner}{n}x,{partner},soon"
                if student == "bad date"
                else f"{student},{partner}{n},{partner},2025-09-01"
                for student, n in rows
            )
            folder_of_day = csv(source, "enrollments.csv", ENROLLMENTS, *lines)
            load_onto(home, ServiceHistory(partner), folder_of_day, day, destroyed=destroyed)
        else:
            destroyed.add(str(what))
            rewrite_without_student(home, str(what))
        snapshot = Snapshot.current(home)
        held = snapshot.table("service_enrollments").to_pyarrow().to_pylist()
        in_table = [(row["student_id"], row["program_id"]) for row in held]
        waiting = [(row["student_id"], row["program_id"]) for row in waiting_in(home)]
        aside = [row.organization_id for row in snapshot.set_aside()]
        brought = [
            (student, f"{partner}{n}")
            for partner, rows in last.items()
            for student, n in rows
            if student != "bad date" and student not in destroyed
        ]
        assert sorted(in_table + waiting) == sorted(brought)
        assert all(student in present for student, _ in in_table)
        assert not any(student in present for student, _ in waiting)
        assert len(aside) == sum(
            student == "bad date" for rows in last.values() for student, _ in rows
        )
