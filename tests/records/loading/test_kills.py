"""kill -9 at any moment: a load is done or not begun, and the disclosure log still holds."""

from __future__ import annotations

import random
import shutil
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from datetime import datetime
from pathlib import Path

import pyarrow.parquet as pq

from records.access.scope import scope_for
from records.canonical.schema import Category
from records.connectors.edfi.files import EdFiFiles
from records.connectors.oneroster.files import OneRosterFiles
from records.connectors.partner_files.service_history import ServiceHistory
from records.database.engine import open_database
from records.disclosure_log.disclosures import record_disclosures
from records.disclosure_log.history import count_disclosures
from records.disclosure_log.verification import verify_log
from records.loading.load import load
from records.snapshots.snapshot import Snapshot
from records.snapshots.waiting_rows import waiting_files
from records.staff.accounts import active_staff_member
from records.staff.viewer import Role
from tests.records import six_student_district
from tests.records.conftest import (
    SECRET,
    TODAY,
    add_agreement,
    add_organization,
    at_noon,
    snapshot_of,
)

KILLS = 200
STUDENTS = 400
FORK = """
import os, signal, sys, time
from pathlib import Path
{imports}
for line in sys.stdin:
    source, home, kill_after = line.split()
    pid = os.fork()
    if pid == 0:
        {work}
        os._exit(0)
    if float(kill_after) >= 0:
        time.sleep(float(kill_after))
        os.kill(pid, signal.SIGKILL)
    print(os.waitpid(pid, 0)[1], flush=True)
"""
LOADING = FORK.format(
    imports=(
        "import pandas\n"
        "from records.connectors.edfi.files import EdFiFiles\n"
        "from records.loading.load import load"
    ),
    work="load(EdFiFiles(), Path(source), Path(home))",
)
LOADING_A_ROSTER = FORK.format(
    imports=(
        "import pandas\n"
        "from datetime import date\n"
        "from records.connectors.oneroster.files import OneRosterFiles\n"
        "from records.loading.load import load"
    ),
    work=("load(OneRosterFiles(), Path(source), Path(home), merge=True, day=date(2026, 4, 17))"),
)
LOGGING = FORK.format(
    imports="from tests.records.loading.test_kills import log_disclosures_forever",
    work="log_disclosures_forever(Path(home))",
)


@contextmanager
def forking(script: str) -> Iterator[subprocess.Popen[str]]:
    """A process with everything imported, which forks a worker for each line that it is sent."""
    process = subprocess.Popen(
        [sys.executable, "-c", script], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    try:
        yield process
    finally:
        process.communicate()
        assert process.returncode == 0


def run(parent: subprocess.Popen[str], source: Path, home: Path, kill_after: float = -1) -> bool:
    """Let a worker work and kill -9 it after so many seconds; whether it was killed at work."""
    assert parent.stdin is not None and parent.stdout is not None
    parent.stdin.write(f"{source} {home} {kill_after}\n")
    parent.stdin.flush()
    status = int(parent.stdout.readline())
    assert status in (0, signal.SIGKILL), "a worker that nobody kills succeeds"
    return status != 0


def students(folder: Path, count: int) -> Path:
    folder.mkdir()
    rows = "\n".join(
        f"<Student><StudentUniqueId>{i}</StudentUniqueId></Student>" for i in range(count)
    )
    (folder / "Student.xml").write_text(f'<I xmlns="http://ed-fi.org/5.2.0">\n{rows}\n</I>')
    return folder


def test_a_load_killed_at_two_hundred_moments_leaves_the_old_or_the_new_snapshot_whole(
    tmp_path: Path,
):  # R36
    old, new = students(tmp_path / "old", 50), students(tmp_path / "new", STUDENTS)
    load(EdFiFiles(), old, tmp_path / "original")
    home, rng, seen = tmp_path / "home", random.Random(36), {50: 0, STUDENTS: 0}
    with forking(LOADING) as parent:
        for _ in range(3):
            shutil.rmtree(home, ignore_errors=True)
            shutil.copytree(tmp_path / "original", home)
            begun = time.monotonic()
            assert not run(parent, new, home)
            longest = time.monotonic() - begun
        killed = 0
        while killed < KILLS:
            if rows_of(home) == STUDENTS:
                shutil.rmtree(home)
                shutil.copytree(tmp_path / "original", home)
            killed += run(parent, new, home, rng.uniform(0, longest))
            seen[rows_of(home)] += 1
        assert seen[50] > KILLS / 4, "many were killed before the end"
        assert not run(parent, new, home)
    assert rows_of(home) == STUDENTS
    assert not (home / "snapshots" / ".staging").exists()


def test_a_roster_load_killed_at_any_moment_loses_no_row_that_waits(tmp_path: Path):  # R36
    home, rng, students_each = tmp_path / "home", random.Random(105), 50
    ids = [f"s{n}" for n in range(2 * students_each)]
    everybody, half = roster(tmp_path / "all", ids), roster(tmp_path / "half", ids[::2])
    load(OneRosterFiles(), everybody, home)
    lines = "".join(f"{student},p,tutors,2026-01-05\n" for student in ids)
    (tmp_path / "partner").mkdir()
    (tmp_path / "partner" / "enrollments.csv").write_text(
        f"student_id,program_id,organization_id,start_date\n{lines}"
    )
    load(ServiceHistory("tutors"), tmp_path / "partner", home, merge=True)
    seen, killed = {0: 0, students_each: 0}, 0
    with forking(LOADING_A_ROSTER) as parent:
        for source in (half, everybody, half):
            begun = time.monotonic()
            assert not run(parent, source, home)
            longest = time.monotonic() - begun
        while killed < KILLS // 10:
            source = everybody if waiting_rows(home, ids) else half
            was_killed = run(parent, source, home, rng.uniform(0, longest))
            killed += was_killed
            # A busy machine is slower in one moment than in another.
            longest *= 1.1 if was_killed else 0.9
            seen[waiting_rows(home, ids)] += 1
    assert min(seen.values()) > 0, "both snapshots served"


def roster(folder: Path, ids: list[str]) -> Path:
    folder.mkdir()
    lines = "".join(f"{student},student,Ann,Lee,05\n" for student in ids)
    (folder / "users.csv").write_text(f"sourcedId,role,givenName,familyName,grades\n{lines}")
    return folder


def waiting_rows(home: Path, ids: list[str]) -> int:
    """The number of rows that wait, where each of these students has a row, waiting or not."""
    snapshot = Snapshot.current(home)
    files = [file for _, file in waiting_files(snapshot.path)]
    waiting = [
        student for file in files for student in pq.read_table(file)["student_id"].to_pylist()
    ]
    present = pq.read_table(snapshot.path / "service_enrollments.parquet")["student_id"].to_pylist()
    assert sorted(present + waiting) == sorted(ids)
    assert sum(snapshot.manifest["waiting"].values()) == len(waiting)
    return len(waiting)


def rows_of(home: Path) -> int:
    """The number of students in the current snapshot, which is complete."""
    snapshot = Snapshot.current(home)
    rows = pq.read_table(snapshot.path / "students.parquet").num_rows
    assert rows == snapshot.manifest["rows"]["students"]
    assert snapshot.quarantined().num_rows == 0
    return rows


def test_a_log_whose_writer_is_killed_still_holds(tmp_path: Path):  # R36, R24
    home, rng = tmp_path / "home", random.Random(24)
    snapshot_of(six_student_district.rows(), home)
    database = open_database(f"sqlite:///{home / 'handrail.db'}")
    add_organization(database, "tutors", Role.CASEWORKER)
    add_agreement(database)
    before, killed, longest = 0, 0, 0.4
    with forking(LOGGING) as parent:
        while killed < KILLS // 10:
            run(parent, home, home, rng.uniform(0.1, longest))
            outcome = verify_log(database)
            assert outcome.ok, outcome.problem
            assert outcome.rows >= before and outcome.rows % 2 == 0, (
                "both students of a disclosure are in the log or none"
            )
            if outcome.rows == before:
                # Killed before its first disclosure: a busy machine needs longer.
                longest = min(longest * 1.2, 20.0)
            else:
                killed += 1
            before = outcome.rows
            with closing(sqlite3.connect(home / "handrail.db")) as file:
                assert file.execute("PRAGMA integrity_check").fetchone() == ("ok",)
    assert count_disclosures(database) > 100


def log_disclosures_forever(home: Path) -> None:
    """Log disclosures of two students until somebody kills this process."""
    database = open_database(f"sqlite:///{home / 'handrail.db'}")
    viewer = active_staff_member(database, "caseworker@tutors.example")
    scope = scope_for(viewer, database, Snapshot.current(home), at_noon(TODAY), SECRET)
    while True:
        record_disclosures(
            database, scope, ["s1", "s2"], [Category.DIRECTORY], "/", datetime(2026, 4, 17, 10)
        )
