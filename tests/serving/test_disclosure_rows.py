"""Whatever shows a student is on the log first; without the log nothing is shown."""

from __future__ import annotations

import logging
import re

import pytest
from sqlalchemy import text

from tests.serving import district
from tests.serving.conftest import TestSite

_HANDLE = re.compile(r"/students/([0-9a-f]{20})")


def test_a_list_writes_one_row_for_each_student_on_it(site: TestSite):  # R23
    browser = site.browser("caseworker")
    for query in ("", "?q=Given0", "?q=nobody", "?page=9"):
        before = len(site.log())
        shown = set(_HANDLE.findall(browser.get("/caseload" + query).text))
        rows = site.log()[before:]
        assert {site.handle("caseworker", row.student_id) for row in rows} == shown
        assert len(rows) == len(shown) and all(row.shown_together == len(shown) for row in rows)


def test_a_student_page_writes_what_it_shows_and_nothing_else(site: TestSite):  # R23
    browser = site.browser("coordinator")
    assert browser.get(f"/students/{site.handle('coordinator', 's01')}").status_code == 200
    (row,) = site.log()
    assert (row.student_id, row.route, row.shown_together) == ("s01", "/students/{handle}", 1)
    assert (row.categories, row.agreement_id, row.organization_id) == ("directory;services", "a1", "tutors")
    site.browser("caseworker").get(f"/students/{site.handle('caseworker', 's01')}")
    assert site.log()[-1].categories == "assessments;attendance;directory;grades;services"


def test_an_answer_of_the_api_is_a_look_too(site: TestSite):  # R23
    browser, handle = site.browser("caseworker"), site.handle("caseworker", "s02")
    for end in ("", "/alerts", "/suggestions"):
        before = len(site.log())
        browser.get(f"/api/v1/students/{handle}{end}")
        (row,) = site.log()[before:]
        assert (row.student_id, row.route) == ("s02", "/api/v1/students/{handle}" + end)
    before = len(site.log())
    assert len(browser.get("/api/v1/students?limit=4").json()["students"]) == len(site.log()) - before == 4


def test_what_is_not_found_is_no_look(site: TestSite):  # R23
    browser = site.browser("caseworker")
    for path in ("/students/" + "0" * 20, "/students/" + site.handle("pantry", "s09"), "/agreements", "/nothing"):
        browser.get(path)
    assert site.log() == []


@pytest.mark.parametrize("who", ["caseworker", "coordinator", "district_admin"])
def test_without_the_log_no_student_is_shown(site: TestSite, who: str):  # R23
    browser, handle = site.browser(who), site.handle(who, "s01")
    with site.database.engine.begin() as connection:
        connection.execute(text("CREATE TRIGGER closed BEFORE INSERT ON disclosures BEGIN SELECT RAISE(ABORT, 'no'); "
                                "END"))  # fmt: skip
    front = "/students" if who == "district_admin" else "/caseload"
    for path in (front, f"/students/{handle}", "/api/v1/students", f"/api/v1/students/{handle}",
                 f"/api/v1/students/{handle}/alerts"):  # fmt: skip
        response = browser.get(path)
        assert response.status_code == 503, path
        assert not re.search("Given|Lastname|Quillfeather|School", response.text), path


def test_the_logs_hold_no_name(site: TestSite, caplog: pytest.LogCaptureFixture):  # R25
    caplog.set_level(logging.DEBUG)
    browser, handle = site.browser("district_admin"), site.handle("district_admin", "s01")
    for path in ("/students", f"/students/{handle}", f"/students/{handle}/disclosures", "/disclosures?check=true"):
        assert browser.get(path).status_code == 200
    for row in site.log():
        assert not re.search("Given|Lastname|Quillfeather", str(row))
    assert district.CANARY not in caplog.text


def test_a_crash_says_nothing_of_what_it_held(site: TestSite, caplog: pytest.LogCaptureFixture):  # R25
    browser = site.browser("caseworker")
    (site.home / "snapshots" / "CURRENT").write_text(f"{district.CANARY}-gone")
    response = browser.get("/caseload")
    assert response.status_code == 500 and "default-src" in response.headers["content-security-policy"]
    assert district.CANARY not in response.text and district.CANARY not in caplog.text
    assert "at /" in caplog.text


def test_a_student_page_carries_the_terms_on_which_it_was_shared(site: TestSite):  # R27
    page = site.browser("caseworker").get(f"/students/{site.handle('caseworker', 's01')}").text
    assert ("Shared with Staff caseworker, Tutors under agreement a1 on 17 April 2026, 10:30. "
            "Do not pass it on (34 CFR 99.33).") in page  # fmt: skip


def test_the_district_reads_who_saw_a_student_and_its_own_look_is_on_it(site: TestSite):  # R26
    site.browser("caseworker").get(f"/students/{site.handle('caseworker', 's01')}")
    browser, handle = site.browser("district_admin"), site.handle("district_admin", "s01")
    page = browser.get(f"/students/{handle}/disclosures").text
    assert "Staff caseworker" in page and "Tutors" in page and "2 looks" in page
    assert "The list is whole" in browser.get("/disclosures?check=true").text
    assert browser.get("/disclosures?student=" + "0" * 20).status_code == 404
