"""Snapshots share one engine per process, but no views."""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import duckdb
import ibis
import pyarrow as pa
import pytest

from records.access.scope import pipeline_scope
from records.access.scoped_records import ScopedRecords
from records.snapshots.snapshot import Snapshot
from tests.records.conftest import TODAY, snapshot_of

STUDENTS = [f"s{place}" for place in range(20)]


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("reading")
    snapshot_of(
        {"students": [{"student_id": student, "first_name": "Ana"} for student in STUDENTS]}, folder
    )
    return folder


def read(home: Path) -> list[str]:
    snapshot = Snapshot.current(home)
    records = ScopedRecords(snapshot, pipeline_scope(snapshot, "features", TODAY))
    return [str(student) for student in records.frame("students")["student_id"]]


def test_no_reading_sees_what_another_has_named(home: Path):  # R1
    one, other = Snapshot.current(home), Snapshot.current(home)
    one.connection.con.register("named", pa.table({"student_id": STUDENTS}))
    read_table = one.table("students")
    joined = read_table.inner_join(
        ibis.memtable(pa.table({"student_id": STUDENTS[:3]})), "student_id"
    )
    assert sorted(joined.to_pyarrow()["student_id"].to_pylist()) == STUDENTS[:3]
    for name in ("named", read_table.get_name()):
        assert len(one.connection.con.table(name).fetchall()) == len(STUDENTS)
        with pytest.raises(duckdb.CatalogException):
            other.connection.con.table(name)
    views = (
        "SELECT view_name FROM duckdb_views() WHERE NOT internal UNION ALL SELECT table_name FROM"
        " duckdb_tables()"
    )
    assert other.connection.con.execute(views).fetchall() == []


def test_a_reading_that_has_ended_ends_no_other(home: Path):
    one, other = Snapshot.current(home), Snapshot.current(home)
    rows = other.table("students")
    one.table("students").count().execute()
    one.connection.disconnect()
    assert rows.count().execute() == len(STUDENTS)


def test_many_threads_read_at_once(home: Path):
    with ThreadPoolExecutor(8) as pool:
        assert all(students == sorted(STUDENTS) for students in pool.map(read, [home] * 64))


def test_a_fork_reads_with_an_engine_of_its_own(home: Path):
    assert read(home) == sorted(STUDENTS)
    child = os.fork()
    if child == 0:
        os._exit(0 if read(home) == sorted(STUDENTS) else 1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


def test_no_bytes_of_a_file_stay_in_the_engine(
    home: Path,
):  # what is destroyed on disk is destroyed
    snapshot = Snapshot.current(home)
    snapshot.table("students").count().execute()
    setting = (
        "SELECT current_setting('enable_external_file_cache'),"
        " current_setting('parquet_metadata_cache')"
    )
    assert snapshot.connection.con.execute(setting).fetchall() == [(False, False)]
