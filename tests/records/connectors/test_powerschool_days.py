"""School days of a PowerSchool server: classes missed, tracks, and a plugin that is too old."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import date
from pathlib import Path
from typing import Any

import pytest

from records.connectors.powerschool import BELLS, CALENDAR_DAYS, PowerSchool
from records.connectors.protocol import SourceRefused
from records.loading.load import load
from records.loading.load_report import LoadReport
from records.snapshots.snapshot import Snapshot
from tests.records.fake_powerschool import (
    FakePowerSchool,
    add_timetable,
    fill,
    miss_class,
    take_classes,
)

ABSENT, TARDY, PRESENT = 0, 1, 2
"""Ids of the attendance codes that the server has."""

STUDENT = 1002
"""A student of school 1, whose number is 702."""


@pytest.fixture
def server() -> Iterator[FakePowerSchool]:
    """Two schools without an entry of attendance; school 1 has days A and B in turn, of four
    classes each, all eight of which the student takes.
    """
    made = FakePowerSchool()
    with made.running():
        fill(made)
        made.delete("attendance", "1 = 1")
        made.delete("cc", "1 = 1")
        for table in ("period", "bell_schedule_items", "cycle_day", "sections", "section_meeting"):
            made.delete(table, "1 = 1")
        add_timetable(made, 1, "AB")
        made.change("calendar_day", "schoolid = 1 AND date_value = '2025-09-03'", cycle_day_id=11)
        made.change("calendar_day", "schoolid = 1 AND date_value = '2025-09-05'", cycle_day_id=11)
        take_classes(made, STUDENT, 1, 101, 102, 103, 104, 111, 112, 113, 114)
        yield made


def loaded(server: FakePowerSchool, home: Path, **options: Any) -> tuple[LoadReport, Snapshot]:
    connector: PowerSchool = server.connector(page_size=500, **options)
    connector.fetch(home / "mirror", lambda name, done, total: None)
    return load(connector, home / "mirror", home), Snapshot.current(home)


def missed(snapshot: Snapshot) -> dict[tuple[str, str, str], float | None]:
    """Share of the day that was missed, by student, day and status."""
    return {
        (row["student_id"], str(row["date"]), row["status"]): row["absent_share"]
        for row in snapshot.table("attendance_events").to_pyarrow().to_pylist()
    }


def test_classes_missed_are_a_share_of_those_that_meet_on_the_day_of_the_cycle(
    server: FakePowerSchool, tmp_path: Path
):
    for section in (101, 102):
        miss_class(server, STUDENT, "2025-09-02", section, ABSENT)
    miss_class(server, STUDENT, "2025-09-03", 111, ABSENT)
    miss_class(server, STUDENT, "2025-09-04", 101, ABSENT)
    miss_class(server, STUDENT, "2025-09-04", 102, TARDY)
    miss_class(server, STUDENT, "2025-09-04", 103, PRESENT)
    _, snapshot = loaded(server, tmp_path)
    assert missed(snapshot) == {
        ("702", "2025-09-02", "absent_unexcused"): 0.5,
        ("702", "2025-09-03", "absent_unexcused"): 0.25,
        ("702", "2025-09-04", "absent_unexcused"): 0.25,
        ("702", "2025-09-04", "tardy"): None,
    }


def test_a_bell_schedule_without_a_period_shortens_the_day(server: FakePowerSchool, tmp_path: Path):
    for period in (11, 12):
        server.add("bell_schedule_items", bell_schedule_id=99, period_id=period)
    server.change("calendar_day", "schoolid = 1 AND date_value = '2025-09-02'", bell_schedule_id=99)
    miss_class(server, STUDENT, "2025-09-02", 101, ABSENT)
    _, snapshot = loaded(server, tmp_path)
    assert missed(snapshot) == {("702", "2025-09-02", "absent_unexcused"): 0.5}


def test_a_dropped_class_counts_until_it_was_left_and_its_absence_stays(
    server: FakePowerSchool, tmp_path: Path
):
    server.change("cc", "sectionid = 101", sectionid=-101, dateleft="2025-09-04")
    miss_class(server, STUDENT, "2025-09-02", 101, ABSENT)
    miss_class(server, STUDENT, "2025-09-04", 102, ABSENT)
    _, snapshot = loaded(server, tmp_path)
    assert missed(snapshot) == {
        ("702", "2025-09-02", "absent_unexcused"): 0.25,
        ("702", "2025-09-04", "absent_unexcused"): pytest.approx(1 / 3),
    }


def test_a_class_that_does_not_count_for_attendance_is_no_class_of_the_day(
    server: FakePowerSchool, tmp_path: Path
):
    server.change("sections", "id = 104", exclude_ada=1)
    miss_class(server, STUDENT, "2025-09-02", 101, ABSENT)
    miss_class(server, STUDENT, "2025-09-02", 104, ABSENT)
    report, snapshot = loaded(server, tmp_path)
    assert missed(snapshot) == {("702", "2025-09-02", "absent_unexcused"): pytest.approx(1 / 3)}
    ignored = {kind for count in report.files for kind in count.ignored_kinds}
    assert "a class that does not count for attendance (Exclude_ADA)" in ignored


def test_a_day_and_its_classes_are_never_added_up(server: FakePowerSchool, tmp_path: Path):
    """Where most days are recorded by classes, a day that the office recorded stands alone."""
    take_classes(server, 1004, 1, 103, 104)
    for day in ("2025-09-02", "2025-09-04"):
        miss_class(server, 1004, day, 101, ABSENT)
        miss_class(server, STUDENT, day, 101, ABSENT)
    miss_class(server, STUDENT, "2025-09-03", 111, ABSENT)
    server.add("attendance_code", id=9, att_code="H", presence_status_cd="Absent")
    server.add(
        "attendance",
        studentid=STUDENT,
        schoolid=1,
        att_date="2025-09-02",
        att_mode_code="ATT_ModeDaily",
        attendance_codeid=9,
    )
    server.delete("attendance", "studentid = 1004 AND att_date = '2025-09-04'")
    _, snapshot = loaded(
        server, tmp_path, attendance={"A": "absent_unexcused", "H": "absent_excused"}
    )
    assert {key: share for key, share in missed(snapshot).items() if key[0] == "702"} == {
        ("702", "2025-09-02", "absent_excused"): None,
        ("702", "2025-09-03", "absent_unexcused"): 0.25,
        ("702", "2025-09-04", "absent_unexcused"): 0.25,
    }


def test_attendance_by_intervals_is_named_and_never_taken_for_a_day(
    server: FakePowerSchool, tmp_path: Path
):
    miss_class(server, STUDENT, "2025-09-02", 101, ABSENT)
    server.change("attendance", "studentid = 1002", att_mode_code="ATT_ModeInterval")
    report, snapshot = loaded(server, tmp_path)
    assert missed(snapshot) == {}
    assert any("mode ATT_ModeInterval is not read: 1 rows" in note for note in report.notes)


def days_of_calendars(snapshot: Snapshot, school: str) -> dict[str | None, set[date]]:
    """Days of one school, by the code of the calendar."""
    days: dict[str | None, set[date]] = {}
    for row in snapshot.table("calendar").to_pyarrow().to_pylist():
        if row["school_id"] == school:
            days.setdefault(row["calendar_code"], set()).add(row["date"])
    return days


def test_a_student_of_a_track_is_at_school_on_its_days_and_others_on_all(
    server: FakePowerSchool, tmp_path: Path
):
    everyday = {date(2025, 9, day) for day in (2, 3, 4, 5)}
    for day, tracks in (("02", "ab"), ("03", "a"), ("04", "b"), ("05", "b")):
        flags = {track: int(track in tracks) for track in "abcdef"}
        server.change("calendar_day", f"schoolid = 1 AND date_value = '2025-09-{day}'", **flags)
    server.change("students", "id = 1000", track="A")
    server.change("students", "id = 1002", track="E")
    server.change("students", "id = 1001", track="A")
    report, snapshot = loaded(server, tmp_path)
    code = {
        row["student_id"]: row["calendar_code"]
        for row in snapshot.table("school_enrollments").to_pyarrow().to_pylist()
        if row["school_year"] == 2026
    }
    days = days_of_calendars(snapshot, "1")
    assert days[code["700"]] == {date(2025, 9, 2), date(2025, 9, 3)}
    assert days[code["704"]] == everyday and code["704"] is None
    assert days[code["702"]] == {date(2025, 9, 2)}, "of track E nothing is known"
    assert any("School 1: students are of track E, which has no" in note for note in report.notes)
    assert days_of_calendars(snapshot, "2") == {None: everyday}, "its calendar has no tracks"
    days_read = next(count for count in report.files if count.file == CALENDAR_DAYS.name)
    assert days_read.read == days_read.kept == 8


def test_days_without_membership_are_none_and_half_days_are_named(
    server: FakePowerSchool, tmp_path: Path
):
    server.change("calendar_day", "schoolid = 1 AND date_value = '2025-09-02'", membershipvalue=0)
    server.change("calendar_day", "schoolid = 1 AND date_value = '2025-09-03'", membershipvalue=0.5)
    server.change(
        "calendar_day", "schoolid = 1 AND date_value = '2025-09-04'", membershipvalue=None
    )
    report, snapshot = loaded(server, tmp_path)
    assert days_of_calendars(snapshot, "1") == {None: {date(2025, 9, day) for day in (3, 4, 5)}}
    assert any("less than a day of membership" in note and " 1. " in note for note in report.notes)


def test_a_plugin_that_is_too_old_is_refused_with_the_version_that_is_needed(
    server: FakePowerSchool, tmp_path: Path
):
    server.refused_queries = {BELLS.name: 404}
    with pytest.raises(SourceRefused, match=r"older than version 1\.2.* Install the plugin"):
        loaded(server, tmp_path)
