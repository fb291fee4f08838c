"""What the second wall costs: the same site over the same PostgreSQL, reading through row-level
security and without.

Run: .venv/bin/python benchmarks/row_security.py demo-district
postgresql+psycopg://OWNER@HOST/EMPTY_DATABASE
"""

from __future__ import annotations

import shutil
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from statistics import median
from unittest.mock import patch

from fastapi.testclient import TestClient
from sqlalchemy import insert, select

import serving.site.visit
from handrail.commands.serve import site_config
from handrail.settings import Settings
from records.access.publication import publish_snapshot, withdraw_other_publications
from records.access.row_security import RowSecuredSnapshot
from records.access.scope import scope_for
from records.access.scoped_records import ScopedRecords
from records.database.engine import open_database
from records.database.tables import OrmTable
from records.people.accounts import active_staff_member, start_session
from records.snapshots.snapshot import Snapshot
from serving.app import create_app

CASEWORKER = "caseworker@brightpath.example"
RUNS = 15


def seconds(work: Callable[[], object]) -> float:
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def row(what: str, walled: list[float], plain: list[float]) -> None:
    ours, theirs = median(walled), median(plain)
    print(
        f"| {what} | {1000 * ours:,.0f} ms | {1000 * theirs:,.0f} ms | {ours / theirs:.2f} |",
        flush=True,
    )


def move(home: Path, url: str) -> None:
    """Copy what the demo keeps in SQLite to PostgreSQL."""
    old, new = open_database(f"sqlite:///{home / 'handrail.db'}"), open_database(url)
    with old.engine.connect() as reading, new.engine.begin() as writing:
        for table in OrmTable.metadata.sorted_tables:
            rows = [dict(found._mapping) for found in reading.execute(select(table))]
            if rows:
                writing.execute(insert(table), rows)
    old.engine.dispose()
    new.engine.dispose()


def visits(settings: Settings) -> dict[str, float]:
    """One person's way through a site that has nothing kept: the caseload twice, then a student
    twice.
    """
    config = site_config(settings)
    app = create_app(config)
    app.state.site.shelf.wait()
    browser = TestClient(app, follow_redirects=False)
    viewer = active_staff_member(config.database, CASEWORKER)
    browser.cookies.set("handrail", start_session(config.database, viewer, settings.now()))
    found = {"GET /caseload, the first time": seconds(lambda: browser.get("/caseload"))}
    found["GET /caseload, then"] = median(
        seconds(lambda: browser.get("/caseload")) for _ in range(RUNS)
    )
    student = browser.get("/caseload").text.split('href="/students/')[1][:20]
    found["GET one student"] = median(
        seconds(lambda: browser.get(f"/students/{student}")) for _ in range(RUNS)
    )
    config.database.engine.dispose()
    return found


def tables(settings: Settings, snapshot: Snapshot) -> None:
    """Reading whole tables of one caseload, as features do."""
    database = open_database(settings.database_url)
    viewer, now = active_staff_member(database, CASEWORKER), settings.now()
    scope = scope_for(viewer, database, snapshot, now, b"")
    for name in ("attendance_events", "course_grades", "service_sessions"):
        for asked in (None, sorted(scope.students)[:1]):
            walled, plain = [], []
            for _ in range(RUNS):
                through = RowSecuredSnapshot(snapshot, database, viewer.user_id, now, asked)
                walled.append(seconds(partial(ScopedRecords(through, scope, asked).frame, name)))
                plain.append(seconds(partial(ScopedRecords(snapshot, scope, asked).frame, name)))
            rows = len(ScopedRecords(snapshot, scope, asked).frame(name))
            row(f"{rows:,} rows of {name}, students: {len(asked or scope.students)}", walled, plain)


def main(folder: Path, url: str) -> None:
    with tempfile.TemporaryDirectory() as copy:
        home = Path(copy) / "home"
        shutil.copytree(folder / "home", home)
        settings = replace(Settings.from_environment(home), database_url=url)
        snapshot = Snapshot.current(home)
        move(home, url)
        database = open_database(url)
        rows, took = (
            sum(snapshot.manifest["rows"].values()),
            seconds(lambda: publish_snapshot(database, snapshot)),
        )
        publish_snapshot(database, snapshot)
        withdrawing = seconds(lambda: withdraw_other_publications(database, snapshot))
        print(
            f"publishing {rows:,} rows took {took:.1f} s, withdrawing the copy before"
            f" {withdrawing:.1f} s\n"
        )
        print("| what | through the wall | without | ratio |\n|---|---|---|---|")
        tables(settings, snapshot)
        walled, plain = [], []
        for _ in range(3):
            walled.append(visits(settings))
            with patch.object(
                serving.site.visit,
                "records_for",
                lambda viewer, database, snapshot, *rest: snapshot,
            ):
                plain.append(visits(settings))
        for what in walled[0]:
            row(what, [one[what] for one in walled], [one[what] for one in plain])


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2])
