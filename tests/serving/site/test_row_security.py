"""The site over PostgreSQL: the pages of SQLite to the letter, and with the filter of the code off
still no leak.
"""

from __future__ import annotations

import re
import shutil
import uuid
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path

import pytest
from sqlalchemy import text
from sqlalchemy.exc import ProgrammingError

from records.access.publication import publish_snapshot
from records.access.scoped_records import ScopedRecords
from records.canonical.schema import Category
from records.database.engine import Database
from records.disclosure_log.limits import DisclosureLimits
from records.disclosure_log.student_references import unlink_student
from records.disclosure_log.verification import verify_log
from records.snapshots.queries import _compile
from records.snapshots.snapshot import Snapshot
from records.staff.notices import notices
from records.staff.viewer import Grant, Scope, Viewer
from serving.app import SiteConfig, create_app
from tests.database_copies import copy_rows
from tests.records.row_secured_database import RowSecuredDatabase, row_secured_database
from tests.serving import district
from tests.serving.conftest import NOW, SECRET, TestSite
from tests.serving.crawl import crawl

PARTNERS = ("caseworker", "coordinator", "partner_admin", "pantry", "evaluator")
EVERYONE = {f"Lastname{place:02d}" for place in range(1, 12)} | {district.CANARY}


@pytest.fixture
def walled(postgres_server: str) -> RowSecuredDatabase:
    return row_secured_database(postgres_server, f"site{uuid.uuid4().hex[:12]}")


@pytest.fixture
def walled_site(walled: RowSecuredDatabase, filled_home: Path, tmp_path: Path) -> TestSite:
    """The district of the other tests, on PostgreSQL, served by the login that is the site's
    own.
    """
    home = tmp_path / "walled"
    shutil.copytree(filled_home, home)
    copy_rows(home, walled.owner)
    publish_snapshot(walled.owner, Snapshot.current(home))
    app = create_app(SiteConfig(home, walled.site, SECRET, lambda: NOW))
    app.state.site.approved_models.wait()
    return TestSite(home, walled.site, app)


def pages(site: TestSite, who: str) -> dict[str, tuple[int, str]]:
    return {
        path: (response.status_code, re.sub(r'name="csrf" value="[^"]+"', "", response.text))
        for path, response in crawl(site.browser(who)).items()
    }


def names_on(site: TestSite, who: str) -> set[str]:
    text = " ".join(text for _, text in pages(site, who).values())
    return {name for name in EVERYONE if name in text}


def test_partners_get_the_same_pages_through_the_wall_as_without_it(
    walled_site: TestSite, site: TestSite
):  # R16
    for who in PARTNERS:
        through, plain = pages(walled_site, who), pages(site, who)
        assert through.keys() == plain.keys(), who
        for path, answer in plain.items():
            assert through[path] == answer, (who, path)
    assert len(pages(walled_site, "caseworker")) > 10


@pytest.fixture
def no_filter(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The first wall is gone: everybody's scope is everything, and nothing is filtered by it.

    The SQL that an earlier test has had compiled holds the filter, so none of it may serve here,
    nor the other way.
    """

    def everything(
        viewer: Viewer, database: Database, snapshot: Snapshot, now: datetime, secret: bytes
    ) -> Scope:
        grant = Grant(
            "a1",
            "0" * 64,
            "school_official",
            "Help",
            viewer.organization_id,
            frozenset(Category),
            (),
        )
        return Scope(viewer, now.date(), dict.fromkeys(district.STUDENTS, (grant,)), secret)

    monkeypatch.setattr("serving.site.visit.scope_for", everything)
    _compile.cache_clear()
    monkeypatch.setattr(ScopedRecords, "table", lambda self, name: self._tables.table(name))
    yield
    _compile.cache_clear()


@pytest.mark.parametrize(
    ("who", "theirs"),
    [
        ("caseworker", district.TUTORED),
        ("coordinator", district.TUTORED),
        ("pantry", district.FED),
        ("evaluator", []),
    ],
)
def test_with_the_filter_switched_off_no_page_names_a_student_out_of_scope(  # R18
    walled_site: TestSite, no_filter: None, who: str, theirs: list[str]
):
    allowed = {
        str(row["last_name"]) for row in district.rows()["students"] if row["student_id"] in theirs
    }
    assert names_on(walled_site, who) == allowed


def test_with_the_filter_switched_off_no_page_shows_a_category_that_is_not_granted(
    walled_site: TestSite, no_filter: None
):  # R18
    for who, granted in (("caseworker", True), ("coordinator", False), ("pantry", False)):
        text = " ".join(text for _, text in pages(walled_site, who).values())
        assert ("Reading benchmark" in text) is granted, who
        assert "Disruption" not in text, who


def test_without_the_wall_the_same_fault_would_show_everybody(site: TestSite, no_filter: None):
    assert names_on(site, "pantry") == EVERYONE


def test_before_its_records_are_published_the_site_says_so_and_shows_nobody(walled_site: TestSite):
    (walled_site.home / "snapshots" / "CURRENT").write_text(another_snapshot(walled_site.home))
    answer = walled_site.browser("caseworker").get("/caseload")
    assert answer.status_code == 503
    assert "The records are being updated" in answer.text
    assert walled_site.log() == []


def test_the_site_s_own_login_adds_to_the_log_and_can_change_nothing_on_it(
    walled_site: TestSite,
):  # R24, R31
    officer, handle = (
        walled_site.browser("district_admin"),
        walled_site.handle("district_admin", "s01"),
    )
    for end in ("", "/disclosures", "/disclosures.csv"):
        assert officer.get(f"/students/{handle}{end}").status_code == 200
    assert walled_site.browser("caseworker").get("/caseload").status_code == 200
    before = verify_log(walled_site.database)
    assert before.ok and before.rows == 3 + len(district.TUTORED)
    changes = (
        "DELETE FROM {}",
        "UPDATE {} SET student_ref = 'x'",
        "TRUNCATE {}",
        "DROP TABLE {}",
        "ALTER TABLE {} DISABLE TRIGGER ALL",
    )
    for change in [
        change.format(table) for table in ("disclosures", "log_students") for change in changes
    ]:
        with (
            pytest.raises(ProgrammingError) as refused,
            walled_site.database.engine.begin() as connection,
        ):
            connection.execute(text(change))
        assert getattr(refused.value.orig, "sqlstate", "") == "42501", (
            change
        )  # insufficient_privilege
    with pytest.raises(ProgrammingError), walled_site.database.write_transaction() as session:
        unlink_student(session, "s01")
    assert verify_log(walled_site.database) == before


def test_the_owner_s_login_can_cut_a_name_off_the_log(
    walled_site: TestSite, walled: RowSecuredDatabase
):
    walled_site.browser("caseworker").get("/caseload")
    with walled.owner.write_transaction() as session:
        assert unlink_student(session, "s01")
    found = verify_log(walled_site.database)
    assert (found.ok, found.nameless) == (True, 1)


def test_a_limit_is_kept_and_told_by_the_site_s_own_login(walled_site: TestSite):  # R31
    app = create_app(
        SiteConfig(
            walled_site.home,
            walled_site.database,
            SECRET,
            lambda: NOW,
            limits=DisclosureLimits(200, 3),
        )
    )
    site = TestSite(walled_site.home, walled_site.database, app)
    browser = site.browser("caseworker")
    answers = [
        browser.get(f"/students/{site.handle('caseworker', student)}")
        for student in district.TUTORED
    ]
    assert [answer.status_code for answer in answers] == [200] * 3 + [429] * 3
    assert [one.kind for one in notices(site.database)] == ["too-many-students"]


def another_snapshot(home: Path) -> str:
    snapshot = Snapshot.current(home)
    shutil.copytree(snapshot.path, home / "snapshots" / "0123456789abcdef0123")
    return "0123456789abcdef0123\n"
