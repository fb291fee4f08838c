"""What row-level security costs: one site over one PostgreSQL, read with it and without.

Run:
    .venv/bin/python -m benchmarks.row_security demo-district DATABASE_URL

The first argument is the folder of a finished `make demo`, the second the URL of an empty
database, such as `postgresql+psycopg://OWNER@HOST/EMPTY_DATABASE`.
"""

from __future__ import annotations

import shutil
import sys
import tempfile
from dataclasses import replace
from functools import partial
from pathlib import Path
from statistics import median
from unittest.mock import patch

from fastapi.testclient import TestClient

import serving.site.visit
from benchmarks.timing import median_seconds, seconds
from handrail.commands.serve import site_config
from handrail.settings import Settings
from records.access.publication import publish_snapshot, withdraw_other_publications
from records.access.row_security import RowSecuredSnapshot
from records.access.scope import scope_for
from records.access.scoped_records import ScopedRecords
from records.database.engine import open_database
from records.snapshots.snapshot import Snapshot
from records.staff.accounts import active_staff_member
from records.staff.sessions import start_session
from serving.app import create_app
from tests.database_copies import copy_rows

CASEWORKER = "caseworker@brightpath.example"
RUNS = 15


def print_row(task: str, secured: list[float], plain: list[float]) -> None:
    """One row of the table, from times in seconds."""
    own, reference = median(secured), median(plain)
    print(
        f"| {task} | {1000 * own:,.0f} ms | {1000 * reference:,.0f} ms | {own / reference:.2f} |",
        flush=True,
    )


def time_visits(settings: Settings) -> dict[str, float]:
    """One person's way through a site with empty caches, in seconds by page."""
    config = site_config(settings)
    app = create_app(config)
    app.state.site.approved_models.wait()
    browser = TestClient(app, follow_redirects=False)
    viewer = active_staff_member(config.database, CASEWORKER)
    browser.cookies.set("handrail", start_session(config.database, viewer, settings.now()))
    first = seconds(lambda: browser.get("/caseload"))
    then = median_seconds(lambda: browser.get("/caseload"), RUNS)
    student = browser.get("/caseload").text.split('href="/students/')[1][:20]
    student_page = median_seconds(lambda: browser.get(f"/students/{student}"), RUNS)
    config.database.engine.dispose()
    return {
        "GET /caseload, the first time": first,
        "GET /caseload, then": then,
        "GET one student": student_page,
    }


def time_tables(settings: Settings, snapshot: Snapshot) -> None:
    """Reading whole tables of one caseload and of one student, as features do."""
    database = open_database(settings.database_url)
    viewer, now = active_staff_member(database, CASEWORKER), settings.now()
    scope = scope_for(viewer, database, snapshot, now, b"")
    for name in ("attendance_events", "course_grades", "service_sessions"):
        for students in (None, sorted(scope.students)[:1]):
            secured: list[float] = []
            plain: list[float] = []
            for _ in range(RUNS):
                view = RowSecuredSnapshot(snapshot, database, viewer.user_id, now, students)
                for tables, times in ((view, secured), (snapshot, plain)):
                    read = ScopedRecords(tables, scope, students).frame
                    times.append(seconds(partial(read, name)))
            rows = len(ScopedRecords(snapshot, scope, students).frame(name))
            count = len(students or scope.students)
            print_row(f"{rows:,} rows of {name}, students: {count}", secured, plain)


def main(folder: Path, url: str) -> None:
    with tempfile.TemporaryDirectory() as copy:
        home = Path(copy) / "home"
        shutil.copytree(folder / "home", home)
        settings = replace(Settings.from_environment(home), database_url=url)
        snapshot = Snapshot.current(home)
        database = open_database(url)
        copy_rows(home, database)
        rows = sum(snapshot.manifest["rows"].values())
        publishing = seconds(lambda: publish_snapshot(database, snapshot))
        # A second publication, so that there is an older copy to withdraw.
        publish_snapshot(database, snapshot)
        withdrawing = seconds(lambda: withdraw_other_publications(database, snapshot))
        print(
            f"publishing {rows:,} rows took {publishing:.1f} s, withdrawing the previous copy"
            f" {withdrawing:.1f} s\n"
        )
        print("| task | with row security | without | ratio |\n|---|---|---|---|")
        time_tables(settings, snapshot)
        secured, plain = [], []
        for _ in range(3):
            secured.append(time_visits(settings))
            with patch.object(
                serving.site.visit,
                "records_for",
                lambda viewer, database, snapshot, *rest: snapshot,
            ):
                plain.append(time_visits(settings))
        for task in secured[0]:
            print_row(task, [times[task] for times in secured], [times[task] for times in plain])


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2])
