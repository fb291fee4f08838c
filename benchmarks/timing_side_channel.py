"""Whether time tells a student out of scope from one who does not exist: the same page asked for
both, in turns.

Run: PYTHONPATH=. .venv/bin/python benchmarks/timing_side_channel.py           # SQLite, and
PostgreSQL where it is installed
     PYTHONPATH=. .venv/bin/python benchmarks/timing_side_channel.py 2000      # fewer calls than
     20,000
"""

from __future__ import annotations

import random
import sys
import tempfile
from dataclasses import replace
from pathlib import Path
from statistics import median

import httpx2
from disclosure_log import postgresql, seconds
from fastapi.testclient import TestClient

from records.access.publication import publish_if_needed
from records.access.scope import scope_for
from records.database.engine import Database, open_database
from records.people.accounts import active_staff_member, start_session
from records.snapshots.snapshot import Snapshot
from serving.app import SiteConfig, create_app
from tests.records.conftest import snapshot_of
from tests.serving import district
from tests.serving.conftest import NOW, SECRET, STAFF, add_partners_and_staff

CALLS = 20_000
STUDENTS = 2_000


def make_home(home: Path) -> None:
    """A district of 2,000 students, of whom the tutors see every fourth."""
    names = [f"n{number:05}" for number in range(STUDENTS)]
    rows = district.rows()
    rows["students"] = [rows["students"][1] | {"student_id": name} for name in names]
    rows["service_enrollments"] = [
        rows["service_enrollments"][0] | {"student_id": name} for name in names[::4]
    ]
    snapshot_of(rows, home)


def handles(database: Database, home: Path, calls: int) -> list[tuple[str, str]]:
    """(kind, handle) for each call: students whom the caseworker does not see, and nobody's, in
    turns.
    """
    viewer, snapshot = active_staff_member(database, STAFF["caseworker"][0]), Snapshot.current(home)
    scope = scope_for(viewer, database, snapshot, NOW, SECRET)
    students = snapshot.table("students")["student_id"].to_pyarrow().to_pylist()
    everybody = replace(scope, grants=dict.fromkeys(students, next(iter(scope.grants.values()))))
    hidden = [everybody.handle(student) for student in students if student not in scope.students]
    drawn = random.Random(4)
    nobodys = [f"{drawn.getrandbits(80):020x}" for _ in hidden]
    return [
        one
        for number in range(calls // 2)
        for one in (
            ("out of scope", hidden[number % len(hidden)]),
            ("unknown", nobodys[number % len(nobodys)]),
        )
    ]


def ask(browser: httpx2.Client, handle: str) -> None:
    assert browser.get(f"/students/{handle}").status_code == 404


def measure(database: Database, home: Path, calls: int) -> None:
    add_partners_and_staff(database)
    publish_if_needed(database, Snapshot.current(home))
    browser = TestClient(
        create_app(SiteConfig(home, database, SECRET, lambda: NOW)), follow_redirects=False
    )
    token = start_session(database, active_staff_member(database, STAFF["caseworker"][0]), NOW)
    browser.cookies.set("handrail", token)
    asked = handles(database, home, calls)
    taken: dict[str, list[float]] = {"out of scope": [], "unknown": []}
    for kind, handle in [*asked[:20], *asked]:
        taken[kind].append(seconds(lambda handle=handle: ask(browser, handle)))  # type: ignore[misc]
    hidden, unknown = (median(times[10:]) for times in taken.values())
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
        if list(Path("/usr/lib/postgresql").glob("*/bin/initdb")):
            with postgresql() as url:
                measure(open_database(url), home, calls)


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else CALLS)
