"""Loads are all or nothing, repeatable, and never mixed."""

from __future__ import annotations

import fcntl
from pathlib import Path

import pytest

from records.connectors.edfi import EdFi
from records.snapshots import LoadInProgress, NoSnapshot, Snapshot, SnapshotDamaged, load

HEAD = '<InterchangeStudent xmlns="http://ed-fi.org/5.2.0">'


def students(folder: Path, count: int, extra: str = "") -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    rows = "\n".join(f"<Student><StudentUniqueId>{i}</StudentUniqueId></Student>" for i in range(count))
    (folder / "Student.xml").write_text(f"{HEAD}\n{rows}\n{extra}</InterchangeStudent>")
    return folder


def test_without_a_load_there_is_no_snapshot_and_the_error_says_what_to_run(tmp_path: Path):
    with pytest.raises(NoSnapshot, match="handrail load"):
        Snapshot.current(tmp_path)


def test_the_same_files_twice_change_nothing(tmp_path: Path):  # R37
    folder = students(tmp_path / "in", 5)
    first, second = (load(EdFi(), folder, tmp_path / "home") for _ in range(2))
    assert (first.snapshot_id, first.changed, second.changed) == (second.snapshot_id, True, False)


def test_an_equal_row_is_a_duplicate_and_a_conflicting_row_is_quarantined(tmp_path: Path):  # R35
    extra = (
        "<Student><StudentUniqueId>1</StudentUniqueId></Student>"
        "<Student><StudentUniqueId>2</StudentUniqueId><Name><FirstName>Ada</FirstName></Name></Student>"
    )
    report = load(EdFi(), students(tmp_path / "in", 4, extra), tmp_path / "home")
    (count,) = report.files
    assert (count.read, count.kept, count.duplicates, count.quarantined) == (6, 4, 1, 1)
    assert "same key" in Snapshot.current(tmp_path / "home").quarantined().to_pylist()[0]["reason"]


def test_a_row_of_an_unknown_student_is_quarantined(tmp_path: Path):
    folder = students(tmp_path / "in", 2)
    (folder / "StudentSchoolAttendance.xml").write_text(
        '<I xmlns="http://ed-fi.org/5.2.0"><StudentSchoolAttendanceEvent><AttendanceEvent><EventDate>2022-01-10'
        "</EventDate><AttendanceEventCategory>x#Tardy</AttendanceEventCategory></AttendanceEvent><StudentReference>"
        "<StudentIdentity><StudentUniqueId>99</StudentUniqueId></StudentIdentity></StudentReference><SchoolReference>"
        "<SchoolIdentity><SchoolId>7</SchoolId></SchoolIdentity></SchoolReference></StudentSchoolAttendanceEvent></I>"
    )
    load(EdFi(), folder, tmp_path / "home")
    snapshot = Snapshot.current(tmp_path / "home")
    assert snapshot.table("attendance_events").count().execute() == 0
    assert snapshot.quarantined().to_pylist()[0]["column"] == "student_id"


def test_two_loads_at_once_are_refused_not_mixed(tmp_path: Path):  # R37
    folder = students(tmp_path / "in", 2)
    (tmp_path / "home" / "snapshots").mkdir(parents=True)
    with (tmp_path / "home" / "snapshots" / ".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        with pytest.raises(LoadInProgress):
            load(EdFi(), folder, tmp_path / "home")


def test_a_pointer_to_a_snapshot_that_is_gone_is_an_error_and_never_an_empty_district(tmp_path: Path):
    (tmp_path / "snapshots").mkdir()
    (tmp_path / "snapshots" / "CURRENT").write_text("gone\n")
    with pytest.raises(SnapshotDamaged, match="load the records again"):
        Snapshot.current(tmp_path)
