"""Profiles: the version that a load was made by, vendors' own words, programs, and empty files."""

from __future__ import annotations

import json
import shutil
from datetime import date
from pathlib import Path

import pytest

from records.connectors.edfi.files import EdFiFiles
from records.connectors.oneroster.files import OneRosterFiles, system_named
from records.connectors.profiles.profile import (
    ProfileError,
    read_profile,
    standard_profile,
    vendor_of,
    vendors,
)
from records.connectors.profiles.survey import draft_profile, survey_codes
from records.connectors.protocol import SourceRefused
from records.loading.load import load
from records.loading.load_history import loads, record_load
from records.loading.load_report import LoadReport
from records.loading.profile_versions import profile_versions
from records.snapshots.snapshot import Snapshot
from tests.records.conftest import at_noon
from tests.records.connectors.test_edfi_cases import (
    facts_of,
    of_student,
    reference,
    rows_of,
    student,
    wrote,
)
from tests.records.connectors.test_marks import own_profile
from tests.records.synthetic_roster import Roster, roster, write_csv

DAY = date(2025, 12, 19)
ATTENDANCE = "userSourcedId,school_id,date,status"


def silent(file: str, done: int, total: int) -> None: ...


def roster_folder(tmp_path: Path, made: Roster | None = None, **files: str) -> Path:
    folder = tmp_path / "in"
    shutil.rmtree(folder, ignore_errors=True)
    write_csv(made or roster(), folder)
    (folder / "manifest.csv").unlink()
    for name, text in files.items():
        (folder / f"{name}.csv").write_text(text)
    return folder


def loaded(folder: Path, home: Path, *, merge: bool = False) -> LoadReport:
    connector = OneRosterFiles(profile=read_profile("oneroster", home))
    report = load(connector, folder, home, merge=merge)
    record_load(home, report, connector.tables, at_noon(DAY))
    return report


def test_a_snapshot_keeps_the_profile_that_it_was_made_by(tmp_path: Path):
    text = '# Ours.\n[attendance.codes]\nUX = "absent_unexcused"\n'
    profile = own_profile("oneroster", text, tmp_path)
    loaded(roster_folder(tmp_path), tmp_path)
    [source] = Snapshot.current(tmp_path).manifest["sources"]
    assert source["profile"] == {"digest": profile.digest, "text": text}
    assert loads(tmp_path)[0].profile == profile.digest
    [version] = profile_versions(Snapshot.current(tmp_path), tmp_path)
    assert version.change == "" and version.digest == profile.digest
    assert version.words == (
        f"oneroster was read by profile version {profile.digest[:12]} (profiles/oneroster.toml)"
    )


def test_a_profile_that_changed_since_the_load_is_said(tmp_path: Path):
    own_profile("oneroster", "", tmp_path)
    loaded(roster_folder(tmp_path), tmp_path)
    own_profile("oneroster", "# Only a comment.\n", tmp_path)
    assert [one.change for one in profile_versions(Snapshot.current(tmp_path), tmp_path)] == [""]
    own_profile("oneroster", '[attendance.codes]\nUX = "tardy"\n', tmp_path)
    [version] = profile_versions(Snapshot.current(tmp_path), tmp_path)
    assert version.change == "profiles/oneroster.toml changed since the last load: load again"
    (tmp_path / "profiles" / "oneroster.toml").write_text("[attendance]\nby = 3\n")
    [version] = profile_versions(Snapshot.current(tmp_path), tmp_path)
    assert "[attendance] by is 3" in version.change and "cannot be used" in version.change


def test_a_load_from_before_versions_were_kept_has_none(tmp_path: Path):
    loaded(roster_folder(tmp_path), tmp_path)
    history = tmp_path / "snapshots" / "loads.jsonl"
    line = json.loads(history.read_text())
    del line["profile"]
    history.write_text(json.dumps(line) + "\n")
    assert loads(tmp_path)[0].profile is None


def test_every_vendors_table_names_its_source_and_reads(tmp_path: Path):
    assert set(vendors()) == {"aeries", "infinite_campus", "powerschool", "skyward", "synergy"}
    folder = Path("records/connectors/profiles")
    for vendor in vendors():
        assert "# Source: " in (folder / f"vendor_{vendor}.toml").read_text()
        profile = own_profile("oneroster", f'vendor = "{vendor}"\n', tmp_path)
        tardy = profile.attendance("T" if vendor == "aeries" else "tardy")
        assert profile.vendor == vendor and tardy is not None and tardy.status == "tardy"


def test_a_vendors_words_are_added_and_the_districts_own_win(tmp_path: Path):
    text = 'vendor = "infinite_campus"\n[attendance.codes]\n"Absent Exempt" = "absent_excused"\n'
    profile = own_profile("oneroster", text, tmp_path)
    found = {word: profile.attendance(word) for word in ("absent - excused", "Absent Exempt", "UX")}
    assert {word: code and code.status for word, code in found.items()} == {
        "absent - excused": "absent_excused",
        "Absent Exempt": "absent_excused",
        "UX": None,
    }
    assert profile.attendance("Absent Unknown") is None, "nobody knows yet"
    with pytest.raises(ProfileError, match="vendor is 'campus'; it must be one of aeries, inf"):
        own_profile("oneroster", 'vendor = "campus"\n', tmp_path)


@pytest.mark.parametrize(
    ("system", "vendor"),
    [
        ("PowerSchool SIS", "powerschool"),
        ("Infinite Campus", "infinite_campus"),
        ("Skyward Qmlativ", "skyward"),
        ("Qmlativ", "skyward"),
        ("Edupoint", "synergy"),
        ("aeries", "aeries"),
        ("Our own", None),
        ("", None),
    ],
)
def test_the_vendor_is_read_off_the_name_of_the_system(system: str, vendor: str | None):
    assert vendor_of(system) == vendor


def test_the_system_of_an_export_is_what_its_manifest_says(tmp_path: Path):
    folder = write_csv(roster(), tmp_path / "in")
    assert system_named(folder) == ""
    with (folder / "manifest.csv").open("a") as manifest:
        manifest.write("source.systemName,Infinite Campus\n")
    assert system_named(folder) == "Infinite Campus"


def test_codes_of_attendance_by_ceds_are_known():
    profile = standard_profile("oneroster")
    found = [profile.attendance(code) for code in ("ExcusedAbsence", "Early Departure")]
    assert [code and code.status for code in found] == ["absent_excused", "partial"]


def test_the_draft_asks_for_marks_types_and_statuses(tmp_path: Path):
    made = roster()
    made["results.csv"]["r-s0"]["scoreStatus"] = "Zed"
    marks = "\n".join(
        ["userSourcedId,course,school_year,period,date,grade"]
        + [f"{pupil},Art,2026,1,2025-10-17,{mark}" for pupil, mark in (("s0", "A-"), ("s2", "4"))]
    )
    folder = roster_folder(tmp_path, made, course_grades=marks + "\n")
    uses = survey_codes(OneRosterFiles(), folder, silent)
    text = draft_profile(uses, DAY, "skyward")
    for part in (
        '# vendor = "skyward"',
        "[grades]",
        '# [grades.points."4.0"]',
        "[grades.letters]\n",
        '# "A-" = ...',
        "[grades.score_statuses]",
        '# "zed" = "..."',
    ):
        assert part in text
    file = tmp_path / "profiles" / "oneroster.toml"
    file.parent.mkdir()
    file.write_text(text)
    read_profile("oneroster", tmp_path)


@pytest.mark.parametrize("text", [f"{ATTENDANCE}\n", f"{ATTENDANCE}\r\n\r\n , , ,\n"])
def test_a_file_with_a_header_alone_counts_as_missing(text: str, tmp_path: Path):
    line = "s0,k1,2025-10-17,absent_excused\n"
    loaded(roster_folder(tmp_path, attendance=f"{ATTENDANCE}\n{line}"), tmp_path)
    report = loaded(roster_folder(tmp_path, attendance=text), tmp_path, merge=True)
    assert "attendance.csv has a header and no rows: it counts as a missing file" in report.notes
    assert "attendance.csv" in {missing.file for missing in report.missing}
    assert report.not_brought["attendance_events"] == ["attendance.csv"]
    assert report.rows["attendance_events"] == 1, "what an earlier load brought stays"


def test_a_header_alone_says_of_nobody_that_they_were_at_school(tmp_path: Path):
    report = loaded(roster_folder(tmp_path, attendance=f"{ATTENDANCE}\n"), tmp_path)
    assert "attendance.csv" in {missing.file for missing in report.missing}
    assert rows_of(Snapshot.current(tmp_path), "attendance_taken") == []


def test_a_calendar_of_a_header_alone_is_worked_out_from_terms(tmp_path: Path):
    loaded(roster_folder(tmp_path, calendar="school_id,date,school_year\n"), tmp_path)
    assert len(rows_of(Snapshot.current(tmp_path), "calendar")) > 100


def test_users_of_a_header_alone_are_refused(tmp_path: Path):
    loaded(roster_folder(tmp_path), tmp_path)
    before = Snapshot.current(tmp_path).id
    folder = roster_folder(tmp_path)
    header = (folder / "users.csv").read_text().splitlines()[0]
    (folder / "users.csv").write_text(header + "\n")
    with pytest.raises(SourceRefused, match=r"users\.csv has a header and no rows"):
        loaded(folder, tmp_path, merge=True)
    assert Snapshot.current(tmp_path).id == before


def test_a_file_of_edfi_without_a_record_counts_as_missing_and_students_are_refused(
    tmp_path: Path,
):
    folder = wrote(tmp_path / "in", Student=student(), StudentSchoolAttendance="")
    report = load(EdFiFiles(), folder, tmp_path / "home")
    assert "StudentSchoolAttendance.xml" in {missing.file for missing in report.missing}
    assert any(
        note.startswith("StudentSchoolAttendance.xml holds no record") for note in report.notes
    )
    with pytest.raises(SourceRefused, match=r"Student\.xml holds no record"):
        load(EdFiFiles(), wrote(tmp_path / "in", Student=""), tmp_path / "home")


@pytest.mark.parametrize("title", ["Summer 2026", "ESY 2026", "Extended School Year", "(esy)"])
def test_terms_apart_from_the_school_year_hold_no_school_days(title: str, tmp_path: Path):
    made = roster()
    term = {"title": title, "type": "term", "schoolYear": "2026"}
    made["academicSessions.csv"]["x"] = {**term, "startDate": "2026-06-08", "endDate": "2026-06-26"}
    made["academicSessions.csv"]["y"] |= {"type": "semester", "title": "Fall"}
    loaded(roster_folder(tmp_path, made), tmp_path)
    days = [row["date"] for row in rows_of(Snapshot.current(tmp_path), "calendar")]
    assert max(days) == date(2026, 5, 29)


def test_a_districts_own_word_for_a_term_apart_counts(tmp_path: Path):
    own_profile("oneroster", '[calendar]\nsummer_terms = ["bridge"]\n', tmp_path)
    made = roster()
    term = {"title": "Bridge weeks", "type": "term", "schoolYear": "2026"}
    made["academicSessions.csv"]["x"] = {**term, "startDate": "2026-06-08", "endDate": "2026-06-26"}
    made["academicSessions.csv"]["y"] |= {"type": "semester", "title": "Fall"}
    loaded(roster_folder(tmp_path, made), tmp_path)
    days = [row["date"] for row in rows_of(Snapshot.current(tmp_path), "calendar")]
    assert max(days) == date(2026, 5, 29)


def program(name: str, begins: str, number: int = 1) -> str:
    of = reference("Program", f"<ProgramName>{name}</ProgramName>")
    begin = f"<BeginDate>{begins}</BeginDate>"
    return f"<StudentProgramAssociation>{of_student(number)}{of}{begin}</StudentProgramAssociation>"


def test_a_district_says_which_of_its_programs_say_what(tmp_path: Path):
    folder = wrote(
        tmp_path / "in",
        Student=student(1) + student(2) + student(3),
        StudentProgram=program("ELD Newcomers", "2025-08-18")
        + program("Bilingual Theater", "2025-08-18", 2)
        + program("Homeless Liaison", "2025-08-18", 3),
    )
    own = '[programs]\nenglish_learner = ["ELD"]\nother = ["Bilingual Theater"]\n'
    load(EdFiFiles(own_profile("edfi", own, tmp_path)), folder, tmp_path / "home")
    facts = facts_of(Snapshot.current(tmp_path / "home"))
    assert [facts[number]["english_learner"] for number in "123"] == [True, False, False]
    assert facts["3"]["unstable_housing"] is True
    with pytest.raises(
        ProfileError, match="without_end is 'never'; it must be one of open, school"
    ):
        own_profile("edfi", '[programs]\nwithout_end = "never"\n', tmp_path)


@pytest.mark.parametrize(
    ("without_end", "last"), [("open", None), ("school year", date(2025, 6, 30))]
)
def test_a_program_without_an_end_is_open_or_ends_with_its_school_year(
    without_end: str, last: date | None, tmp_path: Path
):
    folder = wrote(
        tmp_path / "in",
        Student=student(1) + student(2),
        StudentProgram=program("Bilingual", "2024-08-19") + program("Bilingual", "2025-08-18", 2),
    )
    own = f'[programs]\nwithout_end = "{without_end}"\n'
    load(EdFiFiles(own_profile("edfi", own, tmp_path)), folder, tmp_path / "home")
    periods = rows_of(Snapshot.current(tmp_path / "home"), "english_learner_periods")
    ends = {row["student_id"]: row["last_date"] for row in periods}
    assert ends == {"1": last, "2": None if last is None else date(2026, 6, 30)}
