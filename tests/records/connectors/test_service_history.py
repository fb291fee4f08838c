"""Partners' own exports through a mapping, and one partner's history beside the others'."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from records.connectors.partner_files.mapping import parse_mapping
from records.connectors.partner_files.service_history import AWAITING_IDENTIFICATION, ServiceHistory
from records.connectors.protocol import SourceRefused
from records.loading.load import load
from records.loading.load_report import LoadReport
from records.snapshots.snapshot import Snapshot
from tests.records import six_student_district
from tests.records.conftest import snapshot_of

MAPPING = """
organization_id = "tutors"

[programs."After School"]
program_id = "p1"
support = "tutoring"

[[file]]
name = "Enrollments*.csv"
holds = "enrollments"
dates = ["MM/DD/YYYY"]
[file.columns]
participant_id = "Participant ID"
program_id = "Program Name"
start_date = "Enrollment Date"
enrollment_id = "Record ID"

[[file]]
name = "Exits.csv"
holds = "exits"
dates = ["MM/DD/YYYY"]
[file.columns]
enrollment_id = "Enrollment Record ID"
end_date = "Exit Date"
exit_reason = "Exit Reason"
[file.values.exit_reason]
"Moved away" = "Moved"

[[file]]
name = "Attendance.csv"
holds = "sessions"
dates = ["MM/DD/YYYY"]
[file.columns]
participant_id = "Participant ID"
program_id = "Program Name"
session_id = ["Record ID", "Participant ID"]
date = "Service Date"
attended = "Attended?"
minutes = "Duration (min)"
[file.values.attended]
"Present" = true
"No Show" = false
[file.leave_out]
attended = ["Cancelled"]
"""
LINKS = {"P-1": "s1", "P-2": "s2"}
ENROLLMENTS = """\
Record ID,Participant ID,Name,Program Name,Enrollment Date
E1,P-1,Ada Green,After School,01/13/2026
E2,P-2,Bo Blue,after  school,01/05/2026
E3,P-3,Cy Red,After School,01/05/2026
E4,P-1,Ada Green,Knitting,01/05/2026
E5,P-1,Ada Green,After School,2026-01-05
"""
EXITS = """\
Enrollment Record ID,Exit Date,Exit Reason
E2,03/27/2026,Moved away
E9,03/27/2026,Moved away
E1,03/27/2026,Told us about home
"""
ATTENDANCE = """\
Record ID,Participant ID,Program Name,Service Date,Attended?,Duration (min)
S1,P-1,After School,01/14/2026,Present,45
S1,P-2,After School,01/14/2026,no show,0
S2,P-1,After School,01/15/2026,Cancelled,
S3,P-1,After School,01/16/2026,Danced,45
S4,P-1,After School,01/16/2026,Present,2000
"""


def export(folder: Path, **files: str) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in files.items():
        (folder / f"{name}.csv").write_text(text, encoding="utf-8")
    return folder


def load_mapped(
    home: Path, mapping: str = MAPPING, links: Mapping[str, str] = LINKS, **files: str
) -> LoadReport:
    snapshot_of(six_student_district.rows(), home)
    connector = ServiceHistory("tutors", parse_mapping(mapping, "tutors.toml"), links)
    return load(connector, export(home / "in", **files), home, merge=True)


def rows(home: Path, name: str, organization: str = "tutors") -> list[dict[str, Any]]:
    table = Snapshot.current(home).table(name)
    loaded = table.filter(table["organization_id"] == organization).to_pyarrow().to_pylist()
    return [
        {key: str(value) if "date" in key and value else value for key, value in row.items()}
        for row in loaded
    ]


def aside(home: Path) -> list[tuple[str, int, str, str]]:
    quarantined = Snapshot.current(home).quarantined().to_pylist()
    return [(row["file"], row["line"], row["column"], row["reason"]) for row in quarantined]


def test_an_export_becomes_enrolments_with_their_exits_and_sessions(tmp_path: Path):  # R35
    report = load_mapped(tmp_path, Enrollments_2026=ENROLLMENTS, Exits=EXITS, Attendance=ATTENDANCE)
    assert rows(tmp_path, "service_enrollments") == [
        {
            "student_id": "s1",
            "program_id": "p1",
            "organization_id": "tutors",
            "start_date": "2026-01-13",
            "end_date": None,
            "exit_reason": None,
        },
        {
            "student_id": "s2",
            "program_id": "p1",
            "organization_id": "tutors",
            "start_date": "2026-01-05",
            "end_date": "2026-03-27",
            "exit_reason": "Moved",
        },
    ]
    assert [
        (row["session_id"], row["attended"], row["minutes"])
        for row in rows(tmp_path, "service_sessions")
    ] == [("S1/P-1", True, 45.0), ("S1/P-2", False, 0.0)]
    [program] = rows(tmp_path, "programs")
    assert (program["program_id"], program["name"], program["support"]) == (
        "p1",
        "After School",
        "tutoring",
    )
    counts = {
        count.file: (count.read, count.kept, count.quarantined, count.ignored)
        for count in report.files
    }
    assert counts == {
        "Enrollments_2026.csv": (5, 2, 3, 0),
        "Exits.csv": (3, 1, 2, 0),
        "Attendance.csv": (5, 2, 2, 1),
    }
    assert report.files[-1].ignored_kinds == {"Attended? is cancelled": 1}


def test_what_was_put_aside_is_told_in_the_exports_own_words(tmp_path: Path):  # R35
    load_mapped(tmp_path, Enrollments=ENROLLMENTS, Exits=EXITS, Attendance=ATTENDANCE)
    assert aside(tmp_path) == [
        (
            "Attendance.csv",
            5,
            "Attended?",
            "Attended? is 'Danced', and tutors.toml does not say what that means",
        ),
        (
            "Attendance.csv",
            6,
            "Duration (min)",
            "Duration (min) is '2000'; a session lasts from nothing to a whole day",
        ),
        ("Enrollments.csv", 4, "Participant ID", AWAITING_IDENTIFICATION),
        (
            "Enrollments.csv",
            5,
            "Program Name",
            "Program Name is 'Knitting', no program in tutors.toml",
        ),
        (
            "Enrollments.csv",
            6,
            "Enrollment Date",
            "Enrollment Date is '2026-01-05'; a date must look like MM/DD/YYYY",
        ),
        ("Exits.csv", 3, None, "no enrolment was found that this exit ends"),
        (
            "Exits.csv",
            4,
            "Exit Reason",
            "Exit Reason is 'Told us about home', and tutors.toml does not say what that means",
        ),
    ]
    raw_lines = "".join(
        str(row["raw"]) for row in Snapshot.current(tmp_path).quarantined().to_pylist()
    )
    assert "P-3" in raw_lines and "Cy Red" not in raw_lines, (
        "a column that the mapping does not name is not kept"
    )


def test_a_participant_waits_until_somebody_says_who_it_is(tmp_path: Path):
    load_mapped(tmp_path, links={}, Enrollments=ENROLLMENTS)
    assert rows(tmp_path, "service_enrollments") == []
    assert [entry[3] for entry in aside(tmp_path)].count(AWAITING_IDENTIFICATION) == 5
    load_mapped(tmp_path / "later", Enrollments=ENROLLMENTS)
    assert [row["student_id"] for row in rows(tmp_path / "later", "service_enrollments")] == [
        "s1",
        "s2",
    ]


@pytest.mark.parametrize(
    ("columns", "texts", "minutes"),
    [
        ('hours = "h"', "1.5", 90.0),
        ('hours = "h"', "1:30", 90.0),
        ('hours = "h"', "", None),
        ('hours = "h"', '"1,5"', 90.0),
        ('hours = "h"', "1h 30", 90.0),
        ('hours = "h"', "1 hr 30 min", 90.0),
        ('hours = "h"', "90 min", 90.0),
        ('minutes = "h"', "1.5 hours", 90.0),
        ('minutes = "h"', "45 minutes", 45.0),
        ('minutes = "h"', "N/A", None),
        ('start_time = "h"\nend_time = "to"', "15:30,16:15", 45.0),
        ('start_time = "h"\nend_time = "to"', "11:30 AM,12:15 pm", 45.0),
        ('start_time = "h"\nend_time = "to"', "2026-01-14T09:00:00,2026-01-14T10:00:00", 60.0),
    ],
)
def test_a_length_may_be_hours_or_from_a_time_to_a_time(
    columns: str, texts: str, minutes: float, tmp_path: Path
):
    mapping = MAPPING.replace('minutes = "Duration (min)"', columns)
    to = ",to" if "end_time" in columns else ""
    load_mapped(
        tmp_path,
        mapping,
        Attendance="Record ID,Participant ID,Program Name,Service Date,Attended?,h"
        + to
        + f"\nS1,P-1,After School,01/14/2026,Present,{texts}\n",
    )
    assert [row["minutes"] for row in rows(tmp_path, "service_sessions")] == [minutes], aside(
        tmp_path
    )


@pytest.mark.parametrize(
    "texts", ["16:15,15:30", "25:00,26:00", "noon,13:00", "13:00 pm,14:00 pm", ",15:00"]
)
def test_a_time_that_cannot_be_is_put_aside(texts: str, tmp_path: Path):  # R35
    mapping = MAPPING.replace('minutes = "Duration (min)"', 'start_time = "In"\nend_time = "Out"')
    load_mapped(
        tmp_path,
        mapping,
        Attendance="Record ID,Participant ID,Program Name,Service Date,Attended?,In,Out"
        f"\nS1,P-1,After School,01/14/2026,Present,{texts}\n",
    )
    [(_, _, column, reason)] = aside(tmp_path)
    assert column in ("In", "Out") and ("must look like" in reason or "before" in reason)


def test_an_exit_without_an_enrolments_identifier_ends_the_one_that_had_begun(tmp_path: Path):
    mapping = MAPPING.replace(
        'enrollment_id = "Enrollment Record ID"',
        'participant_id = "Participant ID"\nprogram_id = "Program Name"',
    )
    load_mapped(
        tmp_path,
        mapping,
        Enrollments="Record ID,Participant ID,Program Name,Enrollment Date\n"
        "E1,P-1,After School,09/01/2025\n"
        "E2,P-1,After School,02/01/2026\n",
        Exits="Participant ID,Program Name,Exit Date,Exit Reason\n"
        "P-1,After School,03/01/2026,\n"
        "P-1,After School,12/20/2025,Moved away\n",
    )
    assert [
        (row["start_date"], row["end_date"], row["exit_reason"])
        for row in rows(tmp_path, "service_enrollments")
    ] == [("2025-09-01", "2025-12-20", "Moved"), ("2026-02-01", "2026-03-01", None)]


def test_a_mapping_of_another_organisation_or_of_no_file_that_is_there_is_refused(tmp_path: Path):
    mapping = parse_mapping(MAPPING, "tutors.toml")
    with pytest.raises(
        SourceRefused, match=r"tutors\.toml is the mapping of tutors, not of pantry"
    ):
        ServiceHistory("pantry", mapping)
    with pytest.raises(SourceRefused, match=r"holds none of Enrollments\*\.csv, Exits\.csv"):
        load_mapped(tmp_path, Something="a,b\n1,2\n")
    twice = MAPPING.replace('name = "Exits.csv"', 'name = "Enroll*.csv"')
    with pytest.raises(SourceRefused, match=r"names Enrollments\.csv in two places"):
        load_mapped(tmp_path, twice, Enrollments=ENROLLMENTS)
    with pytest.raises(SourceRefused, match=r"Exits\.csv, line 1: there is no column 'Exit Date'"):
        load_mapped(tmp_path, Exits="Enrollment Record ID,When\nE1,x\n")


SESSIONS = "session_id,student_id,program_id,organization_id,date,attended,minutes\n"
PROGRAMS = "program_id,organization_id,name,support\n"


def load_one(home: Path, organization: str, sessions: str = "", programs: str = "") -> LoadReport:
    """One partner's files with canonical headers."""
    folder = export(home / organization, sessions=SESSIONS + sessions, programs=PROGRAMS + programs)
    return load(ServiceHistory(organization), folder, home, merge=True)


def test_a_row_that_names_another_organisation_is_put_aside(tmp_path: Path):  # R35
    snapshot_of(six_student_district.rows(), tmp_path)
    report = load_one(
        tmp_path,
        "tutors",
        "x1,s1,p1,tutors,2026-03-01,true,45\nx2,s1,p2,pantry,2026-03-01,true,45\n",
    )
    assert report.files[-1].quarantined == 1
    assert aside(tmp_path) == [
        (
            "sessions.csv",
            3,
            "organization_id",
            "organization_id is 'pantry'; these are the files of tutors",
        )
    ]
    assert [row["session_id"] for row in rows(tmp_path, "service_sessions", "pantry")] == ["x2"]


def test_loading_one_partner_leaves_the_others_as_they_were_and_replaces_its_own(tmp_path: Path):
    snapshot_of(six_student_district.rows(), tmp_path)
    load_one(
        tmp_path,
        "tutors",
        "t1,s1,p1,tutors,2026-03-01,true,45\n",
        "p1,tutors,After school,tutoring\n",
    )
    load_one(
        tmp_path, "readers", "r1,s3,p9,readers,2026-03-02,true,20\nbad,s3,p9,readers,when,true,20\n"
    )
    load_one(
        tmp_path,
        "tutors",
        "t2,s2,p1,tutors,2026-03-03,true,45\n",
        "p1,tutors,After school,tutoring\n",
    )
    sessions = {
        organization: [
            row["session_id"] for row in rows(tmp_path, "service_sessions", organization)
        ]
        for organization in ("tutors", "readers", "pantry")
    }
    assert sessions == {"tutors": ["t2"], "readers": ["r1"], "pantry": ["x2"]}
    assert rows(tmp_path, "service_enrollments", "tutors") == [], (
        "a file that a partner no longer sends is gone"
    )
    assert len(rows(tmp_path, "service_enrollments", "pantry")) == 2
    snapshot = Snapshot.current(tmp_path)
    assert [
        (source["source"], source["organization_id"]) for source in snapshot.manifest["sources"]
    ] == [
        ("rows", None),
        ("service-history", "readers"),
        ("service-history", "tutors"),
    ]
    assert [entry[:2] for entry in aside(tmp_path)] == [("sessions.csv", 3)], (
        "what waits of other loads is still there"
    )


def test_the_order_in_which_partners_are_loaded_makes_no_difference(tmp_path: Path):  # R37
    loads = (
        ("tutors", "t1,s1,p1,tutors,2026-03-01,true,45\n"),
        ("readers", "r1,s3,p9,readers,2026-03-02,maybe,20\n"),
    )
    names = []
    for number, order in enumerate((loads, loads[::-1])):
        home = tmp_path / str(number)
        snapshot_of(six_student_district.rows(), home)
        for organization, sessions in order:
            report = load_one(home, organization, sessions)
        names.append(report.snapshot_id)
        assert not load_one(home, *order[-1]).changed, "the same file twice changes nothing"
    assert names[0] == names[1]


def test_a_program_of_another_organisation_cannot_be_taken(tmp_path: Path):
    snapshot_of(six_student_district.rows(), tmp_path)
    load_one(
        tmp_path, "readers", programs="p1,readers,Reading,tutoring\np9,readers,Reading,tutoring\n"
    )
    assert [row["program_id"] for row in rows(tmp_path, "programs", "readers")] == ["p9"]
    assert [row["program_id"] for row in rows(tmp_path, "programs", "tutors")] == ["p1"]
    [(file, line, column, reason)] = aside(tmp_path)
    assert (file, line, column) == ("programs.csv", 2, "program_id")
    assert reason == "another organisation has a row with the same key (program_id)"


def test_a_file_of_several_partners_replaces_those_it_brings_or_brought(tmp_path: Path):
    snapshot_of(six_student_district.rows() | {"service_sessions": []}, tmp_path)
    load_one(tmp_path, "readers", "r1,s3,p9,readers,2026-03-02,true,20\n")
    both = "t1,s1,p1,tutors,2026-03-01,true,45\nc1,s1,p5,choir,2026-03-01,true,45\n"
    folder = export(tmp_path / "all", sessions=SESSIONS + both)
    load(ServiceHistory(), folder, tmp_path, merge=True)
    assert rows(tmp_path, "service_sessions", "readers") and rows(
        tmp_path, "service_sessions", "choir"
    )
    export(folder, sessions=SESSIONS + both.splitlines()[0] + "\n")
    load(ServiceHistory(), folder, tmp_path, merge=True)
    assert rows(tmp_path, "service_sessions", "readers") and rows(
        tmp_path, "service_sessions", "tutors"
    )
    assert not rows(tmp_path, "service_sessions", "choir"), (
        "a partner who is gone from the file is gone"
    )
