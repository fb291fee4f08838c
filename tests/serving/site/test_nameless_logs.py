"""Two thousand planted names and identifiers, and notes: on every page, at every kind of error, in
no log.
"""

from __future__ import annotations

import logging
import re
import shutil
from collections import Counter
from datetime import date
from pathlib import Path

import httpx2
import pytest
from sqlalchemy import text

from records.canonical.quarantine import Value
from records.canonical.schema import Category
from records.database.engine import open_database
from tests.records.conftest import add_consent, snapshot_of
from tests.serving import district
from tests.serving.conftest import STAFF, TestSite, add_partners_and_staff, open_site
from tests.serving.crawl import crawl, csrf_of

STUDENTS = 700
MARK = "qzx"
"""In every planted name, identifier and note, and nowhere else."""
BORN = "2009-02-2"


def planted() -> district.Rows:
    """The small district grown to 700 students: 2,100 names and identifiers, and notes wherever
    text is free.
    """
    small = district.rows()
    grown: district.Rows = {name: [] for name in small}
    for name, rows in small.items():
        of_students = name not in ("schools", "calendar", "programs")
        for place in range(STUDENTS if of_students else 1):
            like = district.STUDENTS[place % len(district.STUDENTS)]
            grown[name] += [
                marked(row, place) for row in rows if not of_students or row["student_id"] == like
            ]
    return grown


def marked(row: dict[str, Value], place: int) -> dict[str, Value]:
    changes: dict[str, Value] = {}
    if "student_id" in row:
        changes["student_id"] = f"{MARK}id{place:04}"
    if "birth_date" in row:
        changes["birth_date"] = date(2009, 2, 21 + place % 8)
    for name in (
        "first_name",
        "last_name",
        "course",
        "assessment",
        "measure",
        "behavior",
        "action",
    ):
        if name in row:
            changes[name] = f"{name} {MARK}{place:04}"
    for name in ("session_id", "incident_id"):
        if name in row:
            changes[name] = f"{name}-{place}-{row[name]}"
    return row | changes


@pytest.fixture
def site(approved: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> TestSite:
    """Everything is logged from before the site and its database are opened."""
    caplog.set_level(logging.DEBUG)
    shutil.copytree(approved, tmp_path / "home")
    snapshot_of(planted(), tmp_path / "home")
    database = open_database(f"sqlite:///{tmp_path / 'home' / 'handrail.db'}")
    add_partners_and_staff(database)
    add_consent(database, f"{MARK}id0000", Category.HOUSING)
    database.engine.dispose()
    return open_site(tmp_path / "home")


def test_no_log_holds_a_name_an_identifier_or_a_note(
    site: TestSite, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
):  # R25
    answers: Counter[int] = Counter()
    shown = ""
    for who in (None, *STAFF):
        browser = site.browser(who)
        for response in (*crawl(browser).values(), *wrong_requests(site, browser, who)):
            answers[response.status_code] += 1
            shown += response.text if response.status_code == 200 else ""
    for response in broken(site):
        answers[response.status_code] += 1
        assert MARK not in response.text
    assert {200, 303, 401, 403, 404, 409, 422, 500, 503} <= set(answers), answers
    assert len(set(re.findall(rf"first_name {MARK}\d+", shown))) > 50, (
        "the pages do show what is planted"
    )
    assert_nameless(site, caplog, capfd)


def wrong_requests(
    site: TestSite, browser: httpx2.Client, who: str | None
) -> list[httpx2.Response]:
    """Names and notes in paths, queries, forms and bodies, as people and programs send them by
    mistake.
    """
    note, name = f"a note on {MARK}0007", f"first_name {MARK}0001"
    found = [
        browser.get(path)
        for path in (
            f"/students/{MARK}id0001",
            f"/caseload?q={name}",
            f"/students?q={name}",
            f"/{name}",
            f"/agreements/{name}",
            f"/caseload?page={name}",
            f"/disclosures?student={MARK}id0001",
            f"/api/v1/students?limit={name}",
            f"/api/v1/students/{MARK}id0001/suggestions",
            f"/audits/{MARK}",
        )
    ]
    found.append(
        browser.post("/sign-in", data={"login": f"{MARK}@tutors.example", "password": note})
    )
    if who not in ("caseworker", "partner_admin", "district_admin"):
        return found
    handle = site.handle(who, f"{MARK}id0001")
    page = browser.get(f"/students/{handle}")
    form = {
        "csrf": csrf_of(page),
        "action": "dismissed",
        "reason": "Other",
        "detail": note,
        "rank": "9",
        "model_sha256": "0" * 64,
    }
    path = f"/students/{handle}/suggestions/tutoring"
    found += [
        page,
        browser.post(path, data=form),
        browser.post(path, data=form | {"csrf": name}),
        browser.post(path, data=form | {name: note}),
        browser.post(path, data=form | {"rank": name}),
        browser.post(path, data=form, headers={"Origin": f"https://{MARK}.example"}),
    ]
    api, token = f"/api/v1{path}/decisions", {"X-CSRF-Token": form["csrf"]}
    body = {"action": "dismissed", "rank": 9, "model_sha256": "0" * 64, "reason": note}
    found += [
        browser.post(api, json=body, headers=token),
        browser.post(api, json=body | {name: note}, headers=token),
        browser.post(api, content=f'{{"reason": "{note}', headers=token),
    ]
    offered = re.search(r'action="([^"]+/suggestions/[a-z_]+)"', page.text)
    model = re.search(r'name="model_sha256" value="(\w+)"', page.text)
    if offered and model:
        found.append(browser.post(offered[1], data=form | {"rank": "1", "model_sha256": model[1]}))
        assert found[-1].status_code == 303, "a note with a decision is kept, and not in a log"
    return found


def broken(site: TestSite) -> list[httpx2.Response]:
    """A log that cannot be written, a snapshot file that cannot be read, a snapshot that is not
    there.
    """
    browser = site.browser("caseworker")
    paths = (
        "/caseload",
        f"/students/{site.handle('caseworker', f'{MARK}id0001')}",
        "/api/v1/students",
    )
    with site.database.engine.begin() as connection:
        connection.execute(
            text(
                f"CREATE TRIGGER closed BEFORE INSERT ON disclosures BEGIN "
                f"SELECT RAISE(ABORT, '{MARK}'); END"
            )
        )
    found = [browser.get(path) for path in paths]
    assert {response.status_code for response in found} == {503}
    current = site.home / "snapshots" / "CURRENT"
    for file in (site.home / "snapshots" / current.read_text().strip()).glob("*.parquet"):
        file.write_bytes(f"first_name {MARK}0001".encode() * 9)
    fresh = open_site(site.home).browser()
    fresh.cookies = browser.cookies
    found += [fresh.get(path) for path in paths]
    current.write_text(f"{MARK}-gone")
    found += [fresh.get(path) for path in paths]
    assert {response.status_code for response in found[3:]} == {500}
    current.unlink()
    return [*found, fresh.get("/caseload")]


def assert_nameless(
    site: TestSite, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    """No planted text in what the site logged, printed or wrote down; httpx2 here is the browser of
    the test.
    """
    ours = [
        record for record in caplog.records if not record.name.startswith(("httpx2", "httpcore2"))
    ]
    assert any(record.name == "handrail.serving" for record in ours), "the crashes were logged"
    formatter = logging.Formatter("%(name)s %(message)s")
    for record in ours:
        line = formatter.format(record)
        assert MARK not in line and BORN not in line, (record.name, line[:300])
    printed = capfd.readouterr()
    assert MARK not in printed.err and MARK not in printed.out
    rows = site.log()
    students = {f"{MARK}id{place:04}" for place in range(STUDENTS)}
    assert len(rows) > 100 and {row.student_id for row in rows} <= students
    for row in rows:
        told = {name: value for name, value in vars(row).items() if name != "student_id"}
        assert MARK not in str(told), row
