"""Whatever shows a student is on the log first; without the log nothing is shown."""

from __future__ import annotations

import csv
import io
import logging
import re
import shutil
from dataclasses import dataclass, field
from pathlib import Path
from typing import cast

import httpx2
import pytest
from sqlalchemy import text

from records.access.publication import publish_if_needed
from records.access.scope import scope_for
from records.canonical.schema import Category
from records.database.engine import Database
from records.disclosure_log.history import Disclosure, count_disclosures, disclosures
from records.disclosure_log.student_references import unlink_student
from records.permissions.emergencies import open_emergency
from records.snapshots.snapshot import Snapshot
from records.staff.accounts import active_staff_member
from serving.app import SiteConfig, create_app
from serving.wording import words
from tests.database_copies import copy_rows
from tests.records.conftest import database, snapshot_of
from tests.serving import district
from tests.serving.conftest import NOW, SECRET, STAFF, TestSite
from tests.serving.crawl import crawl
from tests.serving.html_text import one_line
from tests.serving.pdf_text import pdf_text

__all__ = ["database"]
_HANDLE = re.compile(r"/students/([0-9a-f]{20})")
WHO = (
    "caseworker",
    "coordinator",
    "partner_admin",
    "pantry",
    "district_admin",
    "equity_reviewer",
    "data_scientist",
)
API = (
    "/students",
    "/students?limit=3&offset=2",
    "/students/{}",
    "/students/{}/alerts",
    "/students/{}/suggestions",
    "/agreements",
    "/disclosures",
    "/audits",
    "/me",
)


@pytest.fixture
def either_site(database: Database, filled_home: Path, tmp_path: Path) -> TestSite:
    """The site on SQLite, and on PostgreSQL."""
    home = tmp_path / "home"
    shutil.copytree(filled_home, home)
    copy_rows(home, database)
    publish_if_needed(database, Snapshot.current(home))
    app = create_app(SiteConfig(home, database, SECRET, lambda: NOW))
    app.state.site.approved_models.wait()
    return TestSite(home, database, app)


@dataclass
class Reader:
    """Somebody who reads all that they can find, with what each answer showed and what it wrote
    into the log.
    """

    site: TestSite
    who: str
    seen: list[tuple[str, httpx2.Response, set[str], list[Disclosure]]] = field(
        default_factory=list
    )

    def __post_init__(self) -> None:
        self.browser = self.site.browser(self.who)
        viewer = active_staff_member(self.site.database, STAFF[self.who][0])
        scope = scope_for(viewer, self.site.database, Snapshot.current(self.site.home), NOW, SECRET)
        self.signs = {
            sign: student
            for student in scope.students
            for sign in (
                f"Given{district.STUDENTS.index(student):02}",
                f"/students/{scope.handle(student)}",
                f':"{scope.handle(student)}"',
            )
        }

    def get(self, path: str) -> httpx2.Response:
        before = count_disclosures(self.site.database)
        response = self.browser.get(path)
        written = count_disclosures(self.site.database) - before
        told = path + words_in(response) if response.status_code == 200 else ""
        shown = {student for sign, student in self.signs.items() if sign in told}
        rows = disclosures(self.site.database, limit=written) if written else []
        self.seen.append((path, response, shown, rows))
        return response

    def read_all(self) -> None:
        """Every page that can be reached by following links, and every answer of the API."""
        found = crawl(cast(httpx2.Client, self))
        handles = sorted({match[1] for path in found if (match := _HANDLE.search(path))})[:2]
        for path in API:
            for handle in handles if "{}" in path else [""]:
                self.get("/api/v1" + path.format(handle))


def words_in(response: httpx2.Response) -> str:
    return pdf_text(response.content) if response.content.startswith(b"%PDF") else response.text


def close_the_log(database: Database) -> None:
    """Nothing can be added to the log any more."""
    on_sqlite = (
        "CREATE TRIGGER closed BEFORE INSERT ON disclosures BEGIN SELECT RAISE(ABORT, 'no'); END"
    )
    on_postgresql = (
        "CREATE FUNCTION closed() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RAISE EXCEPTION"
        " $$no$$; END';CREATE TRIGGER closed BEFORE INSERT ON disclosures EXECUTE FUNCTION closed()"
    )
    with database.engine.begin() as connection:
        connection.execute(
            text(on_sqlite if connection.dialect.name == "sqlite" else on_postgresql)
        )


@pytest.mark.parametrize("who", WHO)
def test_whatever_shows_a_student_has_written_them_down_once_and_carries_its_terms(
    site: TestSite, who: str
):
    # R23, R27: pages, CSV, PDF and JSON
    reader = Reader(site, who)
    reader.read_all()
    kinds = set()
    for path, response, shown, rows in reader.seen:
        assert {row.student_id for row in rows} == shown, path
        assert len(rows) == len(shown) and all(row.shown_together == len(shown) for row in rows), (
            path
        )
        if shown:
            kinds.add(response.headers["content-type"].split(";")[0])
            assert re.search("Shown to Staff|Shared with Staff", words_in(response)), path
    if who == "district_admin":
        assert kinds == {"text/html", "application/json", "text/csv", "application/pdf"}


@pytest.mark.parametrize("who", ["caseworker", "district_admin"])
def test_on_either_database_nothing_is_shown_without_the_log(
    either_site: TestSite, who: str
):  # R23
    reader = Reader(either_site, who)
    reader.read_all()
    showing = [path for path, _, shown, _ in reader.seen if shown]
    assert len(showing) > 12
    assert any(path.endswith(".pdf") for path in showing) == (who == "district_admin")
    close_the_log(either_site.database)
    for path in showing:
        response = reader.browser.get(path)
        assert response.status_code == 503, path
        assert not re.search("Given|Lastname|Quillfeather|School|%PDF", response.text), path


def test_a_list_writes_one_row_for_each_student_on_it(site: TestSite):  # R23
    browser = site.browser("caseworker")
    for query in ("", "?q=Given0", "?q=nobody", "?page=9"):
        before = len(site.log())
        shown = set(_HANDLE.findall(one_line(browser.get("/caseload" + query).text)))
        rows = site.log()[before:]
        assert {site.handle("caseworker", row.student_id) for row in rows} == shown
        assert len(rows) == len(shown) and all(row.shown_together == len(shown) for row in rows)


def test_a_student_page_writes_what_it_shows_and_nothing_else(site: TestSite):  # R23
    browser = site.browser("coordinator")
    assert browser.get(f"/students/{site.handle('coordinator', 's01')}").status_code == 200
    (row,) = site.log()
    assert (row.student_id, row.route, row.shown_together) == ("s01", "/students/{handle}", 1)
    assert (row.categories, row.agreement_id, row.organization_id) == (
        {"directory", "services"},
        "a1",
        "tutors",
    )
    site.browser("caseworker").get(f"/students/{site.handle('caseworker', 's01')}")
    assert site.log()[-1].categories == {
        "assessments",
        "attendance",
        "directory",
        "grades",
        "services",
    }


def test_an_answer_of_the_api_is_a_look_too(site: TestSite):  # R23
    browser, handle = site.browser("caseworker"), site.handle("caseworker", "s02")
    for end in ("", "/alerts", "/suggestions"):
        before = len(site.log())
        browser.get(f"/api/v1/students/{handle}{end}")
        (row,) = site.log()[before:]
        assert (row.student_id, row.route) == ("s02", "/api/v1/students/{handle}" + end)
    before = len(site.log())
    assert (
        len(browser.get("/api/v1/students?limit=4").json()["students"])
        == len(site.log()) - before
        == 4
    )


def test_what_is_not_found_is_no_look(site: TestSite):  # R23
    browser = site.browser("caseworker")
    for path in (
        "/students/" + "0" * 20,
        "/students/" + site.handle("pantry", "s09"),
        "/agreements",
        "/nothing",
    ):
        browser.get(path)
    assert site.log() == []


def test_the_logs_hold_no_name(site: TestSite, caplog: pytest.LogCaptureFixture):  # R25
    caplog.set_level(logging.DEBUG)
    browser, handle = site.browser("district_admin"), site.handle("district_admin", "s01")
    for path in (
        "/students",
        f"/students/{handle}",
        f"/students/{handle}/disclosures",
        "/disclosures?check=true",
    ):
        assert browser.get(path).status_code == 200
    for row in site.log():
        assert not re.search("Given|Lastname|Quillfeather", str(row))
    assert district.CANARY not in one_line(caplog.text)


def test_a_crash_says_nothing_of_what_it_held(
    site: TestSite, caplog: pytest.LogCaptureFixture
):  # R25
    browser = site.browser("caseworker")
    (site.home / "snapshots" / "CURRENT").write_text(f"{district.CANARY}-gone")
    response = browser.get("/caseload")
    assert (
        response.status_code == 500 and "default-src" in response.headers["content-security-policy"]
    )
    assert district.CANARY not in one_line(response.text) and district.CANARY not in one_line(
        caplog.text
    )
    assert "at /" in one_line(caplog.text)


def test_a_student_page_carries_the_terms_on_which_it_was_shared(site: TestSite):  # R27
    page = one_line(
        site.browser("caseworker").get(f"/students/{site.handle('caseworker', 's01')}").text
    )
    assert (
        "Shared with Staff caseworker, Tutors under agreement a1 on April 17, 2026, 10:30 AM. "
        "Do not pass it on (34 CFR 99.33)." in page
    )


def test_the_district_reads_who_saw_a_student_and_its_own_look_is_on_it(site: TestSite):  # R26
    site.browser("caseworker").get(f"/students/{site.handle('caseworker', 's01')}")
    browser, handle = site.browser("district_admin"), site.handle("district_admin", "s01")
    page = one_line(browser.get(f"/students/{handle}/disclosures").text)
    assert "Staff caseworker" in page and "Tutors" in page and "2 views" in page
    assert "The log is intact" in one_line(browser.get("/disclosures?check=true").text)
    assert browser.get("/disclosures?student=" + "0" * 20).status_code == 404


@pytest.mark.parametrize("end", ["", ".pdf"])
def test_a_family_reads_who_looked_what_for_and_what_the_law_says(site: TestSite, end: str):  # R26
    for _ in range(3):
        site.browser("caseworker").get(f"/students/{site.handle('caseworker', 's01')}")
    browser, handle = site.browser("district_admin"), site.handle("district_admin", "s01")
    response = browser.get(f"/students/{handle}/disclosures{end}")
    told = re.sub(
        r"<[^>]+>|\s+", " ", words_in(response).replace("&#39;", "'").replace("\u2019", "'")
    )
    told = re.sub(r"\s+", " ", told)
    assert "Who has seen the record of Given00 Quillfeather" in told
    assert "4 views as of April 17, 2026, 10:30 AM, by 2 organizations." in told
    assert (
        "Tutoring after school" in told and "3 views" in told and "No (34 CFR 99.32(d)(2))" in told
    )
    assert "Redisclosure: None without the district's written word" in told
    assert "must show it within 45 days (34 CFR 99.10 and 99.32(c))" in told
    assert "Student Privacy Policy Office" in told
    headings = (
        "Who viewed the record, and why",
        "If something is not right",
        "All views, newest first",
    )
    assert sorted(headings, key=told.index) == list(headings)
    assert site.log()[-1].route == f"/students/{{handle}}/disclosures{end}"


def test_the_spreadsheet_holds_every_look_and_its_terms(site: TestSite):  # R26, R27
    site.browser("caseworker").get(f"/students/{site.handle('caseworker', 's01')}")
    browser, handle = site.browser("district_admin"), site.handle("district_admin", "s01")
    response = browser.get(f"/students/{handle}/disclosures.csv")
    assert response.headers["content-disposition"] == 'attachment; filename="who-has-seen.csv"'
    stamp, header, own, tutors = csv.reader(
        io.StringIO(response.content.decode("utf-8-sig"), newline="")
    )
    assert stamp == [
        "# Shown to Staff district_admin, The District from the district's own records on April 17,"
        " 2026, 10:30 AM."
    ]
    assert (
        header[:3] == ["when", "person", "organization"]
        and header[7] == "the law asks for this record"
    )
    assert (own[2], tutors[2], tutors[4], tutors[6:]) == (
        "The District",
        "Tutors",
        "Tutoring after school",
        ["agreement a1", "no", "1", ""],
    )


def test_a_destroyed_student_is_nobody_on_the_list(site: TestSite):
    site.browser("caseworker").get(f"/students/{site.handle('caseworker', 's01')}")
    with site.database.write_transaction() as session:
        unlink_student(session, "s01")
    page = one_line(site.browser("district_admin").get("/disclosures?check=true").text)
    assert "A student whose record was destroyed" in page and "Quillfeather" not in page
    assert "The views of 1 student no longer name a student" in page


def load_without(site: TestSite, student: str) -> None:
    kept = {
        name: [row for row in found if row.get("student_id") != student]
        for name, found in district.rows().items()
    }
    snapshot_of(kept, site.home)


def test_a_family_of_a_student_who_has_left_is_still_told_who_looked(
    site: TestSite,
):  # R26: 34 CFR 99.10, 99.32(a)(4)
    handle = site.handle("district_admin", "s01")
    site.browser("caseworker").get(f"/students/{site.handle('caseworker', 's01')}")
    load_without(site, "s01")
    officer = site.browser("district_admin")
    assert (
        f'href="/students/{handle}/disclosures">A student no longer enrolled in the district'
        in one_line(officer.get("/disclosures").text)
    )
    for asked in ("s01", handle):
        found = officer.get(f"/disclosures?organization=everybody&student={asked}")
        assert (
            found.status_code == 200
            and f'href="/students/{handle}/disclosures">Disclosure report for the family'
            in one_line(found.text)
        )
    for end in ("", ".pdf", ".csv"):
        told = officer.get(f"/students/{handle}/disclosures{end}")
        assert told.status_code == 200, end
        said = re.sub(
            r"<[^>]+>|\s+",
            " ",
            told.content.decode("utf-8-sig") if end == ".csv" else words_in(told),
        )
        assert "Staff caseworker" in said and "Tutors" in said and "Quillfeather" not in said, end
        row = site.log()[-1]
        assert (row.student_id, row.categories, row.route) == (
            "s01",
            frozenset(),
            f"/students/{{handle}}/disclosures{end}",
        )
        if end != ".csv":
            assert "Who has seen the record of student s01, who has left" in re.sub(
                r"\s+", " ", said
            )
            assert "no longer hold a name" in re.sub(r"\s+", " ", said)
    for path in (f"/students/{handle}", f"/api/v1/students/{handle}", f"/consents/{handle}"):
        assert officer.get(path).status_code == 404, "of the record itself nothing is left"
    for who in ("caseworker", "data_scientist", "equity_reviewer"):
        assert site.browser(who).get(f"/students/{handle}/disclosures").status_code == 404
    with site.database.write_transaction() as session:
        unlink_student(session, "s01")
    for end in ("", ".pdf", ".csv"):
        assert officer.get(f"/students/{handle}/disclosures{end}").status_code == 404, (
            "destroyed is not found"
        )
    assert officer.get("/disclosures?student=s01").status_code == 404


def test_a_look_in_an_emergency_says_so_in_words_with_its_number_and_what_was_feared(
    site: TestSite,
):  # R30
    feared = "The student has been missing since this morning"
    needed = "The last days at school say whom to ask first"
    viewer = active_staff_member(site.database, STAFF["pantry"][0])
    scope = scope_for(viewer, site.database, Snapshot.current(site.home), NOW, SECRET)
    open_emergency(
        site.database,
        scope,
        "s05",
        categories=[Category.ATTENDANCE],
        threat=feared,
        reason=needed,
        hours=1,
        now=NOW,
    )
    site.browser("pantry").get(f"/students/{site.handle('pantry', 's05')}")
    officer, handle = site.browser("district_admin"), site.handle("district_admin", "s05")
    for path in ("/disclosures", f"/students/{handle}/disclosures"):
        page = one_line(officer.get(path).text)
        assert (
            '<a href="/emergencies#emergency-1">emergency 1</a>' in page
            and "emergency-1</" not in page
        ), path
        assert '<a href="/agreements/a2">agreement a2</a>' in page, path
    assert 'id="emergency-1"' in one_line(officer.get("/emergencies").text)
    *_, emergency, agreed = csv.reader(
        io.StringIO(
            officer.get(f"/students/{handle}/disclosures.csv").content.decode("utf-8-sig"),
            newline="",
        )
    )
    assert (emergency[6], agreed[6], agreed[-1]) == ("emergency 1", "agreement a2", "")
    assert emergency[-1] == f"Threat identified: {feared}. Why this was needed: {needed}."
    printed = re.sub(
        r"\s+", " ", pdf_text(officer.get(f"/students/{handle}/disclosures.pdf").content)
    )
    assert "Emergency 1" in printed and "emergency-1" not in printed and feared in printed


def test_a_category_keeps_the_capitals_it_has():
    assert (
        words.capital("attendance, English learner status") == "Attendance, English learner status"
    )
    assert [words.category(one) for one in Category if "English" in words.CATEGORIES[one]] == [
        "English learner status"
    ]
    for template in (Path(words.__file__).parents[1] / "templates").iterdir():
        assert "|capitalize" not in template.read_text(), template.name
