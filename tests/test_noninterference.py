"""Two districts that differ only out of a viewer's scope answer that viewer alike, to the last byte (R1).

Each world is drawn whole: records, agreements on every legal basis, consents, opt-outs, holds, emergencies, staff. For
a viewer of it, everything out of that viewer's scope is drawn anew, and every answer of the site is compared: pages and
API, lists with their order and counts, alerts, suggestions with reasons, errors, a form that is sent. Each fact that
changed is one probe: (viewer, student, change). All of them change together, since one byte that depended on any of
them would differ.
"""

from __future__ import annotations

import re
import shutil
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from sqlalchemy import create_engine, insert, select, text

from records.accounts import start_session
from records.database import Database, Table, open_database
from records.published import publish
from records.scope import Role, Viewer, scope_for
from records.snapshots import Snapshot
from serving.app import SiteConfig, create_app
from tests.records.conftest import snapshot_of
from tests.serving.conftest import SECRET, TestSite
from tests.serving.crawl import crawl, csrf_of
from tests.worlds import NOW, ROLES, draw_law, draw_rows, scramble, scramble_law

WORLDS = 8
VIEWERS_A_WORLD = 4
STUDENTS = 130
PROBES = 200_000
LOOKED_AT = 4
"""Students whose own pages and API answers are compared; the lists have all of them."""

PAGES = ("/caseload?q=a", "/caseload?alerts=true", "/caseload?sort=name", "/caseload?sort=grade", "/caseload?page=2",
         "/caseload?sort=nothing", "/students/" + "0" * 20, "/students", "/disclosures", "/data")  # fmt: skip
API = ("/api/v1/me", "/api/v1/students?limit=200", "/api/v1/students?limit=2&offset=1", "/api/v1/agreements",
       "/api/v1/students/" + "0" * 20, "/api/v1/disclosures")  # fmt: skip
Answers = dict[str, tuple[int, bytes, dict[str, str]]]
Store = Callable[[Path], Database]


@dataclass(frozen=True)
class Stores:
    """Where operational data lives: `open` the store of a home, `copy` one home with its store."""

    open: Store
    copy: Callable[[Path, Path], None]


@pytest.fixture(params=["sqlite", "postgresql"])
def stores(request: pytest.FixtureRequest) -> Stores:
    if request.param == "sqlite":
        return Stores(lambda home: open_database(f"sqlite:///{home / 'handrail.db'}"), shutil.copytree)
    server: str = request.getfixturevalue("postgres_server")

    def copy(old: Path, new: Path) -> None:
        shutil.copytree(old, new)
        admin = create_engine(server.format(name="postgres"), isolation_level="AUTOCOMMIT")
        with admin.connect() as connection:
            connection.execute(text(f'CREATE DATABASE "{new.name}" TEMPLATE "{old.name}"'))
        admin.dispose()

    def open_store(home: Path) -> Database:
        return open_database(server.format(name=home.name))

    return Stores(open_store, copy)


def test_what_is_out_of_scope_changes_no_byte_of_any_answer(  # R1, R3, R5, R7, R20
    stores: Stores, approved: Path, tmp_path: Path, request: pytest.FixtureRequest
):
    probes: Counter[str] = Counter()
    compared: Counter[Role] = Counter()
    start = tmp_path / f"start{id(tmp_path):x}"
    begin(stores, approved, start, request)
    for seed in range(WORLDS):
        rng = np.random.default_rng(seed)
        home = tmp_path / f"{start.name}w{seed}"
        stores.copy(start, home)
        rows = draw_rows(rng, STUDENTS)
        with opened(stores, home) as database:
            viewers = draw_law(rng, database, [str(row["student_id"]) for row in rows["students"]])
            snapshot = snapshot_of(rows, home)
            publish(database, snapshot)
            chosen = [viewers[place] for place in rng.permutation(len(viewers))[:VIEWERS_A_WORLD]]
            tokens = {viewer: start_session(database, viewer, NOW) for viewer in chosen}
            scopes = {viewer: scope_for(viewer, database, snapshot, NOW, SECRET) for viewer in chosen}
        for number, viewer in enumerate(chosen):
            other = tmp_path / f"{home.name}v{number}"
            stores.copy(home, other)
            changes = scramble(rows, scopes[viewer], rng)
            with opened(stores, other) as database:
                changes.made += scramble_law(rng, database, scopes[viewer], [str(s) for s in sorted(
                    {row["student_id"] for row in rows["students"]})])  # fmt: skip
                publish(database, snapshot_of(changes.rows, other))
            compare(stores, viewer, tokens[viewer], home, other)
            probes[viewer.role] += len(set(changes.made))
            compared[viewer.role] += 1
            shutil.rmtree(other)
    assert set(compared) == set(ROLES)
    assert probes.total() >= PROBES, probes


def begin(stores: Stores, approved: Path, home: Path, request: pytest.FixtureRequest) -> None:
    """A home with an approved model and its sign-off in the store that is tested."""
    if stores.copy is shutil.copytree:
        shutil.copytree(approved, home)
        return
    server: str = request.getfixturevalue("postgres_server")
    shutil.copytree(approved, home)
    admin = create_engine(server.format(name="postgres"), isolation_level="AUTOCOMMIT")
    with admin.connect() as connection:
        connection.execute(text(f'CREATE DATABASE "{home.name}"'))
    admin.dispose()
    old, new = open_database(f"sqlite:///{home / 'handrail.db'}"), stores.open(home)
    with old.engine.connect() as reading, new.engine.begin() as writing:
        for table in Table.metadata.sorted_tables:
            rows = [dict(row._mapping) for row in reading.execute(select(table))]
            if rows:
                writing.execute(insert(table), rows)
    old.engine.dispose()
    new.engine.dispose()


def compare(stores: Stores, viewer: Viewer, token: str, *homes: Path) -> None:
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
    """Every answer of the site to this session, by method and path."""
    app = create_app(SiteConfig(home, database, SECRET, lambda: NOW))
    app.state.site.shelf.wait()
    browser = TestSite(home, database, app).browser()
    browser.cookies.set("handrail", token)
    pages = {f"GET {path}": page for path, page in crawl(browser).items()}
    for path in (*PAGES, *API):
        pages[f"GET {path}"] = browser.get(path)
    listed = [one["handle"] for one in browser.get("/api/v1/students?limit=200").json()["students"]]
    for handle in sorted(listed)[:LOOKED_AT]:
        for path in (f"/students/{handle}", *(f"/api/v1/students/{handle}{end}" for end in
                                              ("", "/alerts", "/suggestions"))):  # fmt: skip
            pages[f"GET {path}"] = browser.get(path)
        shown = pages[f"GET /students/{handle}"]
        if "/suggestions/" in shown.text and 'name="csrf"' in shown.text:
            path, form = suggestion_form(shown.text)
            pages[f"POST {path}"] = browser.post(path, data=form | {"csrf": csrf_of(shown)})
    return {path: (page.status_code, page.content, {name: value for name, value in page.headers.items()
                                                    if name not in ("date", "x-request-id")})
            for path, page in pages.items()}  # fmt: skip


def suggestion_form(page: str) -> tuple[str, dict[str, str]]:
    path = re.search(r'action="(/students/[0-9a-f]{20}/suggestions/[a-z_]+)"', page)
    rank, model = re.search(r'name="rank" value="(\d+)"', page), re.search(r'name="model_sha256" value="(\w+)"', page)
    assert path and rank and model
    return path[1], {"action": "accepted", "rank": rank[1], "model_sha256": model[1]}


def test_the_model_does_suggest_and_the_answers_do_depend_on_what_is_in_scope(approved: Path, tmp_path: Path):
    rng = np.random.default_rng(0)
    shutil.copytree(approved, tmp_path / "home")
    database = open_database(f"sqlite:///{tmp_path / 'home' / 'handrail.db'}")
    students = [f"s{place:04d}" for place in range(STUDENTS)]
    viewers = draw_law(rng, database, students)
    tokens = {viewer: start_session(database, viewer, NOW) for viewer in viewers if viewer.role is Role.CASEWORKER}
    found = []
    for seed in (1, 2):
        snapshot_of(draw_rows(np.random.default_rng(seed), STUDENTS), tmp_path / "home")
        found.append({viewer: answers(tmp_path / "home", database, token) for viewer, token in tokens.items()})
    assert any(b"Accept" in content for answer in found[0].values() for _, content, _ in answer.values())
    differing = [viewer for viewer in tokens if found[0][viewer] != found[1][viewer]]
    seeing = [viewer for viewer in tokens if scope_for(viewer, database, Snapshot.current(tmp_path / "home"), NOW,
                                                       SECRET).students]  # fmt: skip
    assert seeing and set(seeing) <= set(differing)
