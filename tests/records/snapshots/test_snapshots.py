"""Loads are atomic, repeatable and never mixed."""

from __future__ import annotations

import fcntl
import json
import random
import shutil
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from records.canonical.schema import TABLES
from records.connectors.edfi.files import EdFiFiles
from records.connectors.partner_files.service_history import ServiceHistory
from records.connectors.protocol import RowSink
from records.loading.load import load
from records.snapshots.snapshot import NoSnapshot, Snapshot, SnapshotDamaged
from records.snapshots.staging import LoadInProgress
from records.system.progress import ProgressCallback
from tests.records import six_student_district
from tests.records.conftest import snapshot_of

HEAD = '<InterchangeStudent xmlns="http://ed-fi.org/5.2.0">'


def students(folder: Path, count: int, extra: str = "") -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    rows = "\n".join(
        f"<Student><StudentUniqueId>{i}</StudentUniqueId></Student>" for i in range(count)
    )
    (folder / "Student.xml").write_text(f"{HEAD}\n{rows}\n{extra}</InterchangeStudent>")
    return folder


def test_without_a_load_there_is_no_snapshot_and_the_error_says_what_to_run(tmp_path: Path):
    with pytest.raises(NoSnapshot, match="handrail load"):
        Snapshot.current(tmp_path)


def test_the_same_files_twice_change_nothing(tmp_path: Path):  # R37
    folder = students(tmp_path / "in", 5)
    first, second = (load(EdFiFiles(), folder, tmp_path / "home") for _ in range(2))
    assert (first.snapshot_id, first.changed, second.changed) == (second.snapshot_id, True, False)


def test_an_equal_row_is_a_duplicate_and_a_conflicting_row_is_quarantined(tmp_path: Path):  # R35
    extra = (
        "<Student><StudentUniqueId>1</StudentUniqueId></Student>"
        "<Student><StudentUniqueId>2</StudentUniqueId><Name><FirstName>Ada</FirstName></Name></Student>"
    )
    report = load(EdFiFiles(), students(tmp_path / "in", 4, extra), tmp_path / "home")
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
    load(EdFiFiles(), folder, tmp_path / "home")
    snapshot = Snapshot.current(tmp_path / "home")
    assert snapshot.table("attendance_events").count().execute() == 0
    assert snapshot.quarantined().to_pylist()[0]["column"] == "student_id"


def test_two_loads_at_once_are_refused_not_mixed(tmp_path: Path):  # R37
    folder = students(tmp_path / "in", 2)
    (tmp_path / "home" / "snapshots").mkdir(parents=True)
    with (tmp_path / "home" / "snapshots" / ".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        with pytest.raises(LoadInProgress):
            load(EdFiFiles(), folder, tmp_path / "home")


RACING = """
import json, os, sys
from pathlib import Path
import pandas, pyarrow.parquet  # once, and not by each racer
from records.connectors.partner_files.service_history import ServiceHistory
from records.loading.load import load
from records.snapshots.staging import LoadInProgress
for line in sys.stdin:
    home, *partners = json.loads(line)
    started, start = os.pipe()
    racers = {}
    for partner in partners:
        pid = os.fork()
        if pid == 0:
            os.close(start)
            os.read(started, 1)
            try:
                load(ServiceHistory(partner), Path(home).parent / partner, Path(home), merge=True)
            except LoadInProgress:
                os._exit(3)
            os._exit(0)
        racers[pid] = partner
    os.close(started)
    os.close(start)
    ended = dict(os.wait() for _ in partners)
    codes = {partner: os.waitstatus_to_exitcode(ended[pid]) for pid, partner in racers.items()}
    print(json.dumps(codes), flush=True)
"""


def test_fifty_races_of_two_loads_end_as_one_after_the_other_would(tmp_path: Path):  # R37
    for partner, student in (("tutors", "s1"), ("readers", "s2")):
        (tmp_path / partner).mkdir()
        (tmp_path / partner / "sessions.csv").write_text(
            "session_id,student_id,program_id,organization_id,date,attended,minutes\n"
            + "".join(f"{n},{student},p,{partner},2026-03-01,true,45\n" for n in range(200))
        )

    snapshot_of(six_student_district.rows(), tmp_path / "base")

    def serial(*partners: str) -> str:
        home = tmp_path / "-".join(("serial", *partners))
        shutil.copytree(tmp_path / "base", home)
        for partner in partners:
            load(ServiceHistory(partner), tmp_path / partner, home, merge=True)
        return Snapshot.current(home).id

    expected = {
        ("tutors",): serial("tutors"),
        ("readers",): serial("readers"),
        ("readers", "tutors"): serial("readers", "tutors"),
    }
    assert expected["readers", "tutors"] == serial("tutors", "readers")
    assert len(set(expected.values())) == 3
    refused = 0
    with subprocess.Popen(
        [sys.executable, "-c", RACING], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as parent:
        assert parent.stdin is not None and parent.stdout is not None
        for number in range(50):
            home = tmp_path / f"race-{number}"
            shutil.copytree(tmp_path / "base", home)
            parent.stdin.write(json.dumps([str(home), "tutors", "readers"]) + "\n")
            parent.stdin.flush()
            ended: dict[str, int] = json.loads(parent.stdout.readline())
            assert set(ended.values()) <= {0, 3} and 0 in ended.values(), (
                "one is done or plainly refused"
            )
            done = tuple(sorted(partner for partner, status in ended.items() if status == 0))
            assert Snapshot.current(home).id == expected[done]
            assert not (home / "snapshots" / ".staging").exists()
            refused += 3 in ended.values()
        parent.stdin.close()
    assert refused > 10, "many really ran at once"


LOADING = """
import sys
from pathlib import Path
from records.connectors.partner_files.service_history import ServiceHistory
from records.loading.load import load
from tests.records.peak_memory import peak_mb
steps = []
report = load(ServiceHistory(), Path(sys.argv[1]), Path(sys.argv[2]), merge=True,
              progress=lambda file, done, total: steps.append(done / total))
assert steps == sorted(steps) and steps[-1] == 1 and len(steps) > 3
print(report.rows["service_sessions"], peak_mb())
"""


def peak_of(folder: Path, home: Path, rows: int) -> int:
    """The megabytes that a process needs to load so many sessions, one in a hundred damaged."""
    folder.mkdir()
    rng = random.Random(rows)
    with (folder / "sessions.csv").open("w") as out:
        out.write("session_id,student_id,program_id,organization_id,date,attended,minutes\n")
        for n in range(rows):
            attended = "perhaps" if n % 100 == 0 else "true"
            student, day = rng.randint(1, 6), f"2026-{n % 12 + 1:02}-{n % 28 + 1:02}"
            out.write(f"x{n},s{student},p1,tutors,{day},{attended},45\n")
    snapshot_of(six_student_district.rows() | {"service_sessions": []}, home)
    run = subprocess.run(
        [sys.executable, "-c", LOADING, folder, home], capture_output=True, text=True, check=True
    )
    row_count, peak = map(int, run.stdout.split())
    assert row_count == rows - rows // 100
    return peak


def test_ten_times_the_rows_do_not_need_ten_times_the_memory(tmp_path: Path):
    few = peak_of(tmp_path / "few", tmp_path / "home-few", 100_000)
    many = peak_of(tmp_path / "many", tmp_path / "home-many", 1_000_000)
    assert many - few < 270, (few, many)


class OneSession:
    """A connector of one session, first of an unknown student and then of two students."""

    name = "rows"
    tables: tuple[str, ...] = ("service_sessions",)

    def read(self, directory: Path, sink: RowSink, progress: ProgressCallback) -> None:
        row = six_student_district.rows()["service_sessions"][0]
        for line, student in enumerate(("nobody", "s1", "s2"), start=1):
            sink.keep("service_sessions", row | {"student_id": student}, "sessions.rows", line)


def test_a_row_of_nobody_does_not_take_the_place_of_a_good_one_with_its_key(tmp_path: Path):  # R35
    snapshot_of(six_student_district.rows() | {"service_sessions": []}, tmp_path)
    load(OneSession(), tmp_path, tmp_path, merge=True)
    snapshot = Snapshot.current(tmp_path)
    assert snapshot.table("service_sessions")["student_id"].to_pyarrow().to_pylist() == ["s1"]
    aside = snapshot.quarantined().to_pylist()
    assert [(row["line"], row["column"]) for row in aside] == [
        (1, "student_id"),
        (3, "organization_id"),
    ]
    assert (
        "no student has this identifier" in aside[0]["reason"] and "same key" in aside[1]["reason"]
    )


def test_a_pointer_to_a_snapshot_that_is_gone_is_an_error_and_never_an_empty_district(
    tmp_path: Path,
):
    (tmp_path / "snapshots").mkdir()
    (tmp_path / "snapshots" / "CURRENT").write_text("gone\n")
    with pytest.raises(SnapshotDamaged, match="load the records again"):
        Snapshot.current(tmp_path)


def test_a_table_without_rows_is_empty_and_typed_on_each_threads_own_connection(tmp_path: Path):
    snapshot_of(
        six_student_district.rows() | {"service_sessions": [], "service_enrollments": []}, tmp_path
    )

    def look(_: int) -> list[tuple[int, list[str]]]:
        snapshot = Snapshot.current(tmp_path)
        empty = [
            snapshot.table(name)
            for name in ("service_sessions", "service_enrollments", "service_sessions")
        ]
        joined = empty[0].join(snapshot.table("students"), "student_id")
        assert {
            id(backend) for rows in (*empty, joined) for backend in rows._find_backends()[0]
        } == {id(snapshot.connection)}
        return [
            (rows.count().to_pyarrow().as_py(), list(rows.columns)) for rows in (*empty, joined)
        ]

    with ThreadPoolExecutor(8) as pool:
        seen = list(pool.map(look, range(40)))
    assert seen == seen[:1] * 40 and [rows for rows, _ in seen[0]] == [0, 0, 0, 0]
    assert seen[0][0][1] == [column.name for column in TABLES["service_sessions"].columns]
