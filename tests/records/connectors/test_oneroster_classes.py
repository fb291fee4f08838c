"""OneRoster with attendance by classes and with a summer session, through the real load."""

from __future__ import annotations

from datetime import date, timedelta
from pathlib import Path

import pytest

from records.connectors.oneroster.files import OneRosterFiles
from records.connectors.profiles.profile import read_profile
from records.loading.load import load
from records.loading.load_report import LoadReport
from records.snapshots.snapshot import Snapshot

DAYS = [day for n in range(60) if (day := date(2025, 9, 1) + timedelta(days=n)).weekday() < 5]
CODES = '[attendance.codes]\nUX = "absent_unexcused"\nEX = "absent_excused"\nT = "tardy"\n'
ROSTER = {
    "orgs.csv": "sourcedId,type,name\n100,school,North High\n200,school,South Elementary\n",
    "academicSessions.csv": (
        "sourcedId,title,type,startDate,endDate,schoolYear\n"
        "y,2025-2026,schoolYear,2025-08-18,2026-06-04,2026\n"
        "s,Summer 2026,term,2026-06-15,2026-07-10,2026\n"
    ),
    "users.csv": (
        "sourcedId,role,givenName,familyName,grades,orgSourcedIds\n"
        "1,student,Ana,Test,10,100\n2,student,Ben,Test,10,100\n3,student,Cy,Test,03,200\n"
        "T1,teacher,Dee,Test,,100\n"
    ),
    "classes.csv": (
        "sourcedId,schoolSourcedId,title,termSourcedIds\n"
        "A,100,Algebra,y\nB,100,Biology,y\nH,200,Homeroom,y\nR,200,Reading,s\n"
    ),
    "enrollments.csv": (
        "userSourcedId,classSourcedId,role,beginDate,endDate\n"
        "1,A,student,2025-08-18,\n1,B,student,2025-08-18,\n2,A,student,2025-08-18,\n"
        "3,H,student,2025-08-18,2026-06-04\n3,R,student,2026-06-15,2026-07-10\n"
        "1,R,student,2026-06-15,2026-07-10\n"
    ),
    "calendar.csv": "school_id,date,school_year\n"
    + "".join(f"{school},{day},2026\n" for day in DAYS for school in ("100", "200"))
    + "200,2026-06-15,2026\n200,2026-06-16,2026\n",
}
ATTENDANCE = """\
userSourcedId,school_id,date,status,classSourcedId
1,100,2025-09-02,UX,A
1,100,2025-09-02,UX,B
1,100,2025-09-02,UX,C
1,100,2025-09-02,EX,D
1,100,2025-09-03,UX,A
1,100,2025-09-04,UX,A
1,100,2025-09-04,T,A
1,100,2025-09-05,present,B
2,100,2025-09-05,T,A
2,100,2025-09-08,EX,A
2,100,2025-09-08,EX,B
3,200,2025-09-05,EX,
9,100,2025-09-05,UX,A
T1,100,2025-09-05,UX,A
"""


def loaded(home: Path, rule: str, attendance: str = ATTENDANCE) -> tuple[LoadReport, Snapshot]:
    folder, profile = home / "in", home / "profiles" / "oneroster.toml"
    folder.mkdir(parents=True)
    profile.parent.mkdir()
    profile.write_text(f"[attendance]\n{rule}\n{CODES}")
    for name, text in {**ROSTER, "attendance.csv": attendance}.items():
        (folder / name).write_text(text)
    report = load(OneRosterFiles(profile=read_profile("oneroster", home)), folder, home)
    for count in report.files:
        assert count.read == len((folder / count.file).read_text().splitlines()) - 1, count
    return report, Snapshot.current(home)


def days(snapshot: Snapshot) -> dict[tuple[str, str], dict[str, float | None]]:
    """Status and share of the day, by student and date."""
    found: dict[tuple[str, str], dict[str, float | None]] = {}
    for row in snapshot.table("attendance_events").to_pyarrow().to_pylist():
        of_day = found.setdefault((row["student_id"], str(row["date"])), {})
        of_day[row["status"]] = row["absent_share"]
    return found


@pytest.mark.parametrize(
    ("rule", "expected"),
    [
        (
            "share",
            {
                ("1", "2025-09-02"): {"absent_unexcused": 0.75, "absent_excused": 0.25},
                ("1", "2025-09-03"): {"absent_unexcused": 0.25},
                ("2", "2025-09-08"): {"absent_excused": 0.5},
            },
        ),
        (
            "half",
            {
                ("1", "2025-09-02"): {"absent_unexcused": 1.0},
                ("2", "2025-09-08"): {"absent_excused": 1.0},
            },
        ),
        (
            "any",
            {
                ("1", "2025-09-02"): {"absent_unexcused": 1.0},
                ("1", "2025-09-03"): {"absent_unexcused": 1.0},
                ("2", "2025-09-08"): {"absent_excused": 1.0},
            },
        ),
    ],
)
def test_classes_missed_become_days_by_the_rule_of_the_profile(
    tmp_path: Path, rule: str, expected: dict[tuple[str, str], dict[str, float]]
):
    _, snapshot = loaded(tmp_path, f'section_rule = "{rule}"\nclasses_a_day = 4')
    by_days = {("3", "2025-09-05"): {"absent_excused": None}}
    late = {("1", "2025-09-04"): {"tardy": None}, ("2", "2025-09-05"): {"tardy": None}}
    assert days(snapshot) == expected | by_days | late


def test_lines_about_classes_that_cannot_count_are_named(tmp_path: Path):
    report, snapshot = loaded(tmp_path, "classes_a_day = 4")
    aside = {(row.line, row.column): row.reason for row in snapshot.set_aside()}
    assert list(aside) == [(14, "userSourcedId")] and "'9'" in aside[14, "userSourcedId"]
    (attendance,) = [count for count in report.files if count.file == "attendance.csv"]
    assert attendance.ignored_kinds == {"present in one class": 1, "not a student": 1}


def test_without_the_number_of_classes_a_day_no_day_is_made_of_them(tmp_path: Path):
    _, snapshot = loaded(tmp_path, "")
    assert set(days(snapshot)) == {
        ("1", "2025-09-04"),
        ("2", "2025-09-05"),
        ("3", "2025-09-05"),
    }
    reasons = {row.reason for row in snapshot.set_aside() if row.column == "classSourcedId"}
    assert len(reasons) == 4
    assert all("must say how many of them a day has, as classes_a_day" in why for why in reasons)


def test_a_school_that_records_days_is_not_read_by_classes(tmp_path: Path):
    by_days = "".join(f"{who},100,2025-09-0{day},EX,\n" for who in (1, 2) for day in (2, 3, 4))
    report, snapshot = loaded(tmp_path, "classes_a_day = 4", ATTENDANCE + by_days)
    assert days(snapshot)["1", "2025-09-02"] == {"absent_excused": None}
    (attendance,) = [count for count in report.files if count.file == "attendance.csv"]
    assert attendance.ignored_kinds["absence from one class (the school day's own record is used)"]


def test_a_summer_session_is_apart_from_the_school_year(tmp_path: Path):
    report, snapshot = loaded(tmp_path, "classes_a_day = 4")
    listed = {row["date"] for row in snapshot.table("calendar").to_pyarrow().to_pylist()}
    assert max(listed) == DAYS[-1]
    stays = snapshot.table("school_enrollments").to_pyarrow().to_pylist()
    assert {(row["student_id"], row["school_id"], row["exit_date"]) for row in stays} == {
        ("1", "100", None),
        ("2", "100", None),
        ("3", "200", date(2026, 6, 4)),
    }
    kinds = {count.file: count.ignored_kinds for count in report.files}
    assert kinds["calendar.csv"] == {"a day of a summer session, apart from the school year": 2}
    assert kinds["enrollments.csv"] == {
        "of a class of a summer session, apart from the school year": 2
    }
