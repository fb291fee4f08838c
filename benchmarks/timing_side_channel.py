"""Whether response times reveal that a student exists: out of scope versus unknown, alternating.

Run:
    .venv/bin/python -m benchmarks.timing_side_channel
    .venv/bin/python -m benchmarks.timing_side_channel 2000

The number is how many requests are made (20,000 by default). SQLite is measured, and PostgreSQL
where its programs are installed.
"""

from __future__ import annotations

import random
import sys
import tempfile
from dataclasses import replace
from pathlib import Path
from statistics import median

from fastapi.testclient import TestClient

from benchmarks.disclosure_log import postgresql_is_installed, temporary_postgresql
from benchmarks.timing import seconds
from records.access.publication import publish_if_needed
from records.access.scope import scope_for
from records.database.engine import Database, open_database
from records.snapshots.snapshot import Snapshot
from records.staff.accounts import active_staff_member
from records.staff.sessions import start_session
from serving.app import SiteConfig, create_app
from tests.approved_home import SECRET
from tests.records.conftest import snapshot_of
from tests.serving import district
from tests.serving.conftest import NOW, STAFF, add_partners_and_staff

CALLS = 20_000
WARM_UP_CALLS = 20
STUDENTS = 2_000


def make_home(home: Path) -> None:
    """A district of 2,000 students, every fourth of whom takes part in the tutors' program."""
    names = [f"n{number:05}" for number in range(STUDENTS)]
    rows = district.rows()
    rows["students"] = [rows["students"][1] | {"student_id": name} for name in names]
    rows["service_enrollments"] = [
        rows["service_enrollments"][0] | {"student_id": name} for name in names[::4]
    ]
    snapshot_of(rows, home)


def alternating_handles(database: Database, home: Path, calls: int) -> list[tuple[str, str]]:
    """(kind, handle) of each request: a student out of scope, then a handle of no student."""
    viewer, snapshot = active_staff_member(database, STAFF["caseworker"][0]), Snapshot.current(home)
    scope = scope_for(viewer, database, snapshot, NOW, SECRET)
    students = snapshot.table("students")["student_id"].to_pyarrow().to_pylist()
    everybody = replace(scope, grants=dict.fromkeys(students, next(iter(scope.grants.values()))))
    hidden = [everybody.handle(student) for student in students if student not in scope.students]
    rng = random.Random(4)
    unknown = [f"{rng.getrandbits(80):020x}" for _ in hidden]
    handles = []
    for number in range(calls // 2):
        handles.append(("out of scope", hidden[number % len(hidden)]))
        handles.append(("unknown", unknown[number % len(unknown)]))
    return handles


def request_hidden_page(browser: TestClient, handle: str) -> None:
    assert browser.get(f"/students/{handle}").status_code == 404


def measure(database: Database, home: Path, calls: int) -> None:
    add_partners_and_staff(database)
    publish_if_needed(database, Snapshot.current(home))
    browser = TestClient(
        create_app(SiteConfig(home, database, SECRET, lambda: NOW)), follow_redirects=False
    )
    token = start_session(database, active_staff_member(database, STAFF["caseworker"][0]), NOW)
    browser.cookies.set("handrail", token)
    handles = alternating_handles(database, home, calls)
    for _, handle in handles[:WARM_UP_CALLS]:
        request_hidden_page(browser, handle)
    times: dict[str, list[float]] = {"out of scope": [], "unknown": []}
    for kind, handle in handles:
        times[kind].append(
            seconds(lambda handle=handle: request_hidden_page(browser, handle))  # type: ignore[misc]
        )
    hidden, unknown = median(times["out of scope"]), median(times["unknown"])
    name = "PostgreSQL" if database.engine.dialect.name == "postgresql" else "SQLite"
    print(
        f"| {name} | {calls:,} | {1000 * hidden:.2f} ms | {1000 * unknown:.2f} ms |"
        f" {hidden / unknown:.3f} |",
        flush=True,
    )


def main(calls: int) -> None:
    print("| database | calls | out of scope | unknown | ratio |\n|---|---|---|---|---|")
    with tempfile.TemporaryDirectory() as folder:
        home = Path(folder)
        make_home(home)
        measure(open_database(f"sqlite:///{home}/handrail.db"), home, calls)
        if postgresql_is_installed():
            with temporary_postgresql() as url:
                measure(open_database(url), home, calls)


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else CALLS)
