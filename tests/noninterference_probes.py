"""Pairs of districts that differ only out of a viewer's scope, and every answer of the site.

A district is drawn at random: records, agreements on every legal basis, consents, opt-outs, holds,
emergencies, staff. For one of its viewers, everything out of that viewer's scope is drawn again,
and every answer of the site is compared (R1): pages and API, lists with their order and counts,
alerts, suggestions with reasons, errors, a submitted form. Each changed fact is one probe: (viewer,
student, change). All facts change together, because a single byte that depends on any of them would
differ.
"""

from __future__ import annotations

import re
import shutil
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from records.access.publication import publish_snapshot
from records.access.scope import scope_for
from records.checks.school_figures import keep_figures, school_figures
from records.database.engine import Database, open_database
from records.staff.sessions import start_session
from records.staff.viewer import Role, Viewer
from serving.app import SiteConfig, create_app
from tests.database_copies import copy_rows, make_database
from tests.own_supports import write_own_list
from tests.random_districts import (
    NOW,
    SUPPORTS,
    TODAY,
    draw_access_rules,
    draw_rows,
    redraw_others_access_rules,
    redraw_out_of_scope,
)
from tests.records.conftest import snapshot_of
from tests.serving.conftest import SECRET, TestSite
from tests.serving.crawl import crawl, csrf_of

DISTRICTS = 3
CASEWORKERS_PER_DISTRICT = 2
OTHERS_PER_DISTRICT = 2
STUDENTS = 215
PROBES = 200_000
"""The least number of probes on each kind of database."""

DOUBTED = 1
"""The district of which every school is doubted, whatever its students' records are. Whether a
school is doubted is one bit about all of them (decision 26): it stays, and nothing else is told."""

NO_SCHOOL_IS_PLAUSIBLE = """[attendance]
low = 0.999
high = 1.0
silence_below = 0.99
source = "No school of the random district has such attendance"
"""

STUDENTS_COMPARED = 4
"""Students whose own pages and API answers are compared; lists hold all students."""

PLACES = "&".join(f"places_{support}=2" for support in SUPPORTS)
PAGES = (
    "/caseload?q=a",
    "/caseload?alerts=true",
    "/caseload?sort=name",
    "/caseload?sort=grade",
    "/caseload?page=2",
    "/caseload?sort=nothing",
    "/caseload?page=none",
    "/students/" + "0" * 20,
    "/students/none",
    "/students",
    "/disclosures",
    "/data",
    "/places",
    *(
        f"/places?{PLACES}{end}"
        for end in ("", "&page=2", "&floor=school", "&floor=grade_half", "&places_food=none")
    ),
)
API = (
    "/api/v1/me",
    "/api/v1/students?limit=200",
    "/api/v1/students?limit=2&offset=1",
    "/api/v1/agreements",
    "/api/v1/students/" + "0" * 20,
    "/api/v1/disclosures",
)
Answers = dict[str, tuple[int, bytes, dict[str, str]]]
"""Status, body and headers by method and path."""


@dataclass(frozen=True)
class Stores:
    """How the operational databases of homes are made.

    Attributes:
        open: the database of a home.
        copy: one home, with its database, to another folder.
        begin: a home from an approved one, whose database is SQLite.
    """

    open: Callable[[Path], Database]
    copy: Callable[[Path, Path], None]
    begin: Callable[[Path, Path], None]


def in_sqlite() -> Stores:
    return Stores(
        lambda home: open_database(f"sqlite:///{home / 'handrail.db'}"),
        shutil.copytree,
        shutil.copytree,
    )


def in_postgresql(server: str) -> Stores:
    """One database for each home, with the home's name."""

    def copy(old: Path, new: Path) -> None:
        shutil.copytree(old, new)
        make_database(server, new.name, old.name)

    def open_home(home: Path) -> Database:
        return open_database(server.format(name=home.name))

    def begin(approved: Path, home: Path) -> None:
        """Copy the approved model's sign-off from SQLite to a new database on PostgreSQL."""
        shutil.copytree(approved, home)
        make_database(server, home.name)
        database = open_home(home)
        copy_rows(home, database)
        database.engine.dispose()

    return Stores(open_home, copy, begin)


def run_probes(stores: Stores, approved: Path, folder: Path) -> Counter[Role]:
    """Draw districts, change what each viewer may not see and compare every answer.

    Args:
        stores: where operational data lives.
        approved: a home with a model that may serve.
        folder: an empty folder with a unique name, because databases are named after homes.

    Returns:
        The number of probes by the viewer's role.

    Raises:
        AssertionError: two answers differ.
    """
    probes: Counter[Role] = Counter()
    start = folder / f"start{id(folder):x}"
    stores.begin(approved, start)
    write_own_list(start)
    for seed in range(DISTRICTS):
        rng = np.random.default_rng(seed)
        home = folder / f"{start.name}w{seed}"
        stores.copy(start, home)
        rows = draw_rows(rng, STUDENTS)
        if seed == DOUBTED:
            (home / "plausible_ranges.toml").write_text(NO_SCHOOL_IS_PLAUSIBLE)
        with opened(stores, home) as database:
            viewers = draw_access_rules(
                rng, database, [str(row["student_id"]) for row in rows["students"]]
            )
            snapshot = snapshot_of(rows, home)
            keep_figures(home, snapshot, school_figures(snapshot, TODAY))
            publish_snapshot(database, snapshot)
            chosen = choose_viewers([viewers[index] for index in rng.permutation(len(viewers))])
            tokens = {viewer: start_session(database, viewer, NOW) for viewer in chosen}
            scopes = {
                viewer: scope_for(viewer, database, snapshot, NOW, SECRET) for viewer in chosen
            }
        for number, viewer in enumerate(chosen):
            other = folder / f"{home.name}v{number}"
            stores.copy(home, other)
            changes = redraw_out_of_scope(rows, scopes[viewer], rng)
            with opened(stores, other) as database:
                changes.made += redraw_others_access_rules(
                    rng,
                    database,
                    scopes[viewer],
                    sorted({str(row["student_id"]) for row in rows["students"]}),
                )
                changed = snapshot_of(changes.rows, other)
                keep_figures(other, changed, school_figures(changed, TODAY))
                publish_snapshot(database, changed)
            compare_answers(stores, viewer, tokens[viewer], home, other)
            probes[viewer.role] += len(set(changes.made))
            shutil.rmtree(other)
    return probes


def choose_viewers(viewers: Sequence[Viewer]) -> list[Viewer]:
    """Two caseworkers, who see the most, and two viewers of other roles."""
    caseworkers = [viewer for viewer in viewers if viewer.role is Role.CASEWORKER]
    others = [viewer for viewer in viewers if viewer.role is not Role.CASEWORKER]
    return [*caseworkers[:CASEWORKERS_PER_DISTRICT], *others[:OTHERS_PER_DISTRICT]]


def compare_answers(stores: Stores, viewer: Viewer, token: str, *homes: Path) -> None:
    by_home = []
    for home in homes:
        with opened(stores, home) as database:
            by_home.append(answers(home, database, token))
    before, after = by_home
    assert before.keys() == after.keys(), viewer
    for path, answer in before.items():
        assert answer == after[path], (viewer, path)


@contextmanager
def opened(stores: Stores, home: Path) -> Iterator[Database]:
    database = stores.open(home)
    try:
        yield database
    finally:
        database.engine.dispose()


def answers(home: Path, database: Database, token: str) -> Answers:
    """Every answer of the site to one signed-in person, by method and path."""
    app = create_app(SiteConfig(home, database, SECRET, lambda: NOW))
    app.state.site.approved_models.wait()
    browser = TestSite(home, database, app).browser()
    browser.cookies.set("handrail", token)
    pages = {f"GET {path}": page for path, page in crawl(browser).items()}
    for path in (*PAGES, *API):
        pages[f"GET {path}"] = browser.get(path)
    students = browser.get("/api/v1/students?limit=200").json()["students"]
    for handle in sorted(student["handle"] for student in students)[:STUDENTS_COMPARED]:
        for path in (
            f"/students/{handle}",
            *(f"/api/v1/students/{handle}{end}" for end in ("", "/alerts", "/suggestions")),
        ):
            pages[f"GET {path}"] = browser.get(path)
        shown = pages[f"GET /students/{handle}"]
        if "/suggestions/" in shown.text and 'name="csrf"' in shown.text:
            path, form = suggestion_form(shown.text)
            pages[f"POST {path}"] = browser.post(path, data=form | {"csrf": csrf_of(shown)})
    return {
        path: (
            page.status_code,
            page.content,
            {
                name: value
                for name, value in page.headers.items()
                if name not in ("date", "x-request-id")
            },
        )
        for path, page in pages.items()
    }


def suggestion_form(page: str) -> tuple[str, dict[str, str]]:
    path = re.search(r'action="(/students/[0-9a-f]{20}/suggestions/[a-z_]+)"', page)
    rank, model = (
        re.search(r'name="rank" value="(\d+)"', page),
        re.search(r'name="model_sha256" value="(\w+)"', page),
    )
    assert path and rank and model
    return path[1], {"action": "accepted", "rank": rank[1], "model_sha256": model[1]}
