"""Two districts that differ only out of a viewer's scope, and every answer of the site to that
viewer in both (R1).

Each world is drawn whole: records, agreements on every legal basis, consents, opt-outs, holds,
emergencies, staff. For a viewer of it, everything out of that viewer's scope is drawn anew, and
every answer of the site is compared: pages and API, lists with their order and counts, alerts,
suggestions with reasons, errors, a form that is sent. Each fact that changed is one probe: (viewer,
student, change). All of them change together, since one byte that depended on any of them would
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
from records.canonical.schema import SUPPORTS
from records.database.engine import Database, open_database
from records.people.accounts import start_session
from records.people.viewer import Role, Viewer
from serving.app import SiteConfig, create_app
from tests.database_copies import copy_rows, make_database
from tests.random_districts import (
    NOW,
    draw_access_rules,
    draw_rows,
    redraw_others_access_rules,
    redraw_out_of_scope,
)
from tests.records.conftest import snapshot_of
from tests.serving.conftest import SECRET, TestSite
from tests.serving.crawl import crawl, csrf_of

WORLDS = 3
CASEWORKERS_A_WORLD = 2
OTHERS_A_WORLD = 2
STUDENTS = 215
PROBES = 200_000
"""How many there must be, on each kind of store."""

STUDENTS_COMPARED = 4
"""Students whose own pages and API answers are compared; the lists have all of them."""

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
Store = Callable[[Path], Database]


@dataclass(frozen=True)
class Stores:
    """Where operational data lives: `open` the store of a home, `copy` one home with its store,
    `begin` a home from one whose store is SQLite.
    """

    open: Store
    copy: Callable[[Path, Path], None]
    begin: Callable[[Path, Path], None]


def in_sqlite() -> Stores:
    return Stores(
        lambda home: open_database(f"sqlite:///{home / 'handrail.db'}"),
        shutil.copytree,
        shutil.copytree,
    )


def in_postgresql(server: str) -> Stores:
    """A database for each home, named like it."""

    def copy(old: Path, new: Path) -> None:
        shutil.copytree(old, new)
        make_database(server, new.name, old.name)

    def open_store(home: Path) -> Database:
        return open_database(server.format(name=home.name))

    def begin(approved: Path, home: Path) -> None:
        """The approved model's sign-off is in SQLite; here its rows are in a store of
        PostgreSQL.
        """
        shutil.copytree(approved, home)
        make_database(server, home.name)
        new = open_store(home)
        copy_rows(home, new)
        new.engine.dispose()

    return Stores(open_store, copy, begin)


def run_probes(stores: Stores, approved: Path, folder: Path) -> Counter[Role]:
    """Draw the worlds, change what each viewer may not see, compare every answer; the probes made
    by role.

    Args:
        approved: a home with a model that may serve.
        folder: an empty folder; its name must be nobody else's, since databases are named by homes.
    """
    probes: Counter[Role] = Counter()
    start = folder / f"start{id(folder):x}"
    stores.begin(approved, start)
    for seed in range(WORLDS):
        rng = np.random.default_rng(seed)
        home = folder / f"{start.name}w{seed}"
        stores.copy(start, home)
        rows = draw_rows(rng, STUDENTS)
        with opened(stores, home) as database:
            viewers = draw_access_rules(
                rng, database, [str(row["student_id"]) for row in rows["students"]]
            )
            snapshot = snapshot_of(rows, home)
            publish_snapshot(database, snapshot)
            chosen = choose([viewers[place] for place in rng.permutation(len(viewers))])
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
                    [str(s) for s in sorted({row["student_id"] for row in rows["students"]})],
                )
                publish_snapshot(database, snapshot_of(changes.rows, other))
            compare_answers(stores, viewer, tokens[viewer], home, other)
            probes[viewer.role] += len(set(changes.made))
            shutil.rmtree(other)
    return probes


def choose(viewers: Sequence[Viewer]) -> list[Viewer]:
    """Caseworkers first, since they see the most: two of them, and two of the others."""
    caseworkers = [viewer for viewer in viewers if viewer.role is Role.CASEWORKER]
    others = [viewer for viewer in viewers if viewer.role is not Role.CASEWORKER]
    return [*caseworkers[:CASEWORKERS_A_WORLD], *others[:OTHERS_A_WORLD]]


def compare_answers(stores: Stores, viewer: Viewer, token: str, *homes: Path) -> None:
    found = []
    for home in homes:
        with opened(stores, home) as database:
            found.append(answers(home, database, token))
    before, after = found
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
    """Every answer of the site to this session, by method and path. The plan of places is open to
    caseworkers too: only their scopes hold what it is made of.
    """
    app = create_app(SiteConfig(home, database, SECRET, lambda: NOW))
    app.state.site.shelf.wait()
    browser = TestSite(home, database, app).browser()
    browser.cookies.set("handrail", token)
    pages = {f"GET {path}": page for path, page in crawl(browser).items()}
    for path in (*PAGES, *API):
        pages[f"GET {path}"] = browser.get(path)
    listed = [one["handle"] for one in browser.get("/api/v1/students?limit=200").json()["students"]]
    for handle in sorted(listed)[:STUDENTS_COMPARED]:
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
