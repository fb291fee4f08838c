"""The district reads what was destroyed, what is overdue, and which copies still hold it; a page
outlives nobody.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from html import unescape

import pytest

from records.destruction.backups import Backup, add_backup
from records.destruction.certificates import certificates
from records.destruction.destruction import destroy_student
from records.staff.accounts import active_staff_member
from tests.serving import district
from tests.serving.conftest import NOW, SECRET, STAFF, TestSite
from tests.serving.html_text import one_line


def destroy(site: TestSite, student: str) -> None:
    officer = active_staff_member(site.database, STAFF["district_admin"][0])
    destroy_student(site.database, site.home, student, officer, NOW, SECRET)


def test_a_destroyed_student_is_not_found_in_the_next_request(site: TestSite):  # R32
    browsers = {
        who: (site.browser(who), site.handle(who, "s01"))
        for who in ("caseworker", "district_admin")
    }
    for browser, handle in browsers.values():
        assert browser.get(f"/students/{handle}").status_code == 200
        assert district.CANARY in one_line(browser.get("/caseload").text) + one_line(
            browser.get("/students").text
        )
    destroy(site, "s01")
    for browser, handle in browsers.values():
        for path in (
            f"/students/{handle}",
            f"/api/v1/students/{handle}",
            f"/students/{handle}/disclosures",
        ):
            assert browser.get(path).status_code == 404
        for path in (
            "/caseload",
            "/students",
            "/disclosures?organization=everybody",
            "/data",
            "/retention",
        ):
            assert district.CANARY not in one_line(browser.get(path).text)
    looks = one_line(browsers["district_admin"][0].get("/disclosures?organization=everybody").text)
    assert "whose record was destroyed" in looks, "that somebody looked is still known"


def test_the_certificate_can_be_read_and_names_no_student(site: TestSite):  # R32
    add_backup(
        site.database,
        Backup("monday", "vault", NOW - timedelta(days=1), NOW.date() + timedelta(days=9)),
    )
    destroy(site, "s01")
    browser = site.browser("district_admin")
    page = unescape(one_line(browser.get("/retention").text))
    assert (
        "/retention/certificates/1" in page and "monday" in page and "One student's record" in page
    )
    certificate = browser.get("/retention/certificates/1.json")
    assert certificate.text == certificates(site.database)[0].text
    read = unescape(one_line(browser.get("/retention/certificates/1").text))
    for told in (
        "Certificate of destruction 1",
        "Records in use",
        "Folders deleted",
        "monday",
        "vault",
        certificates(site.database)[0].sha256,
        "/retention/certificates/1.json",
    ):
        assert told in read, told
    for shown in (certificate.text, read):
        assert district.CANARY not in shown and '"s01"' not in shown and ">s01<" not in shown
    for path in (
        "/retention/certificates/2",
        "/retention/certificates/2.json",
        "/retention/certificates/none",
    ):
        assert browser.get(path).status_code in (404, 422)


def test_an_agreement_past_its_day_of_destruction_is_on_the_page(site: TestSite):  # R32
    browser = site.browser("district_admin")
    assert "No agreement is past the date" in one_line(browser.get("/retention").text)
    site.clock[0] = datetime(2026, 10, 1, 9)
    page = one_line(site.browser("district_admin").get("/retention").text)
    assert "3 agreements are past the date" in page and "handrail destroy agreement a1" in page


def test_a_destruction_that_was_cut_off_is_on_the_page_and_its_student_on_none(  # R32
    site: TestSite, monkeypatch: pytest.MonkeyPatch
):
    browsers = {
        who: (site.browser(who), site.handle(who, "s01"))
        for who in ("caseworker", "district_admin")
    }

    def stop(*_: object) -> int:
        raise OSError("the disk is full")

    with monkeypatch.context() as patched:
        patched.setattr("records.destruction.destruction.publish_if_needed", stop)
        with pytest.raises(OSError, match="disk"):
            destroy(site, "s01")
    for browser, handle in browsers.values():
        for path in (
            f"/students/{handle}",
            f"/api/v1/students/{handle}",
            f"/api/v1/students/{handle}/suggestions",
        ):
            assert browser.get(path).status_code == 404
        assert district.CANARY not in one_line(browser.get("/caseload").text) + one_line(
            browser.get("/students").text
        )
    page = one_line(browsers["district_admin"][0].get("/retention").text)
    assert (
        "1 destruction was started and not finished" in page and "handrail destroy finish" in page
    )
    destroy(site, "s01")
    assert "not finished" not in one_line(browsers["district_admin"][0].get("/retention").text)
    assert len(certificates(site.database)) == 1
