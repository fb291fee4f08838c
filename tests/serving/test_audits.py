"""The audit's page: read by whoever answers for the model, signed or refused by the reviewer alone."""

from __future__ import annotations

import shutil
from pathlib import Path

import httpx
import pytest

from records.database import open_database
from records.signoffs import signoffs
from serving.recommend import NOT_APPROVED
from tests.approved_home import REASON
from tests.records.conftest import snapshot_of
from tests.serving import district
from tests.serving.conftest import TestSite, fill, open_site
from tests.serving.crawl import csrf_of
from training.lifecycle import CHAMPION, REGISTERED_MODEL, champion_version, model_version, register_model, registry

LONG_REASON = "I read the report: the groups are small, and their caseworkers were told so."
ADVISED = "s02"


@pytest.fixture(scope="module")
def approved_district(approved: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The district of the site's tests in a home whose model was signed."""
    home = tmp_path_factory.mktemp("approved-district") / "home"
    shutil.copytree(approved, home)
    rows = district.rows()
    rows["attendance_events"] += [
        {"student_id": ADVISED, "school_id": "k1", "date": day, "status": "absent_unexcused"}
        for day in district.school_days() if day.weekday() == 0
    ]  # fmt: skip
    snapshot_of(rows, home)
    database = open_database(f"sqlite:///{home / 'handrail.db'}")
    fill(database)
    database.engine.dispose()
    return home


@pytest.fixture
def site(approved_district: Path, tmp_path: Path) -> TestSite:
    shutil.copytree(approved_district, tmp_path / "home")
    return open_site(tmp_path / "home")


def decide(browser: httpx.Client, decision: str, reason: str) -> httpx.Response:
    csrf = csrf_of(browser.get("/agreements"))
    return browser.post("/audits/1", data={"csrf": csrf, "decision": decision, "reason": reason})


def suggests(site: TestSite) -> bool:
    """Whether the caseworker of s02, who misses every Monday, is advised now, on the caseload and on the page."""
    browser = site.browser("caseworker")
    page = browser.get(f"/students/{site.handle('caseworker', ADVISED)}").text
    assert ("Accept" in page) != (NOT_APPROVED in page)
    assert ("Food" in browser.get("/caseload").text) == ("Accept" in page)
    return "Accept" in page


def test_a_signed_model_suggests_and_the_page_says_who_signed_it_and_why(site: TestSite):  # R61
    assert suggests(site)
    page = site.browser("data_scientist").get("/audits/1").text
    assert "It serves now." in page and REASON in page and "Signed" in page
    assert "Serves now" in site.browser("district_admin").get("/audits").text


@pytest.mark.parametrize("reason", ["fine", " " * 40 + "fine"])
def test_a_doubtful_audit_is_not_signed_for_a_short_reason(site: TestSite, reason: str):  # R61
    before = signoffs(site.database)
    response = decide(site.browser("equity_reviewer"), "sign", reason)
    assert response.status_code == 409
    assert "The audit cannot tell for some groups: say in" in response.text
    assert "characters or more why it may serve all the same." in response.text
    assert signoffs(site.database) == before
    assert suggests(site)


def test_a_refusal_takes_effect_at_the_next_request_and_a_later_signature_brings_the_model_back(site: TestSite):  # R61
    reviewer = site.browser("equity_reviewer")
    assert suggests(site)
    response = decide(reviewer, "refuse", "Two families complained; we look again.")
    assert (response.status_code, response.headers["location"]) == (303, "/audits/1")
    assert not suggests(site)
    assert champion_version(site.home) is None
    page = reviewer.get("/audits/1").text
    assert "Refused</strong> by Staff equity_reviewer" in page and "Two families complained" in page
    assert "It serves now" not in page
    caseworker = site.browser("caseworker")
    student = caseworker.get(f"/api/v1/students/{site.handle('caseworker', 's01')}/suggestions").json()
    assert student["suggestions"] == [] and NOT_APPROVED in str(student)
    assert decide(reviewer, "sign", LONG_REASON).status_code == 303
    assert suggests(site)


@pytest.mark.parametrize("who", ["data_scientist", "district_admin", "caseworker", "partner_admin"])
def test_nobody_but_the_reviewer_signs_or_refuses(site: TestSite, who: str):  # R61
    before = signoffs(site.database)
    for decision in ("sign", "refuse"):
        assert decide(site.browser(who), decision, LONG_REASON).status_code == 404
    assert signoffs(site.database) == before
    if who == "data_scientist":
        assert "<textarea" not in site.browser(who).get("/audits/1").text


def test_a_form_of_another_session_or_with_other_fields_decides_nothing(site: TestSite):  # R21, R46
    before, reviewer = signoffs(site.database), site.browser("equity_reviewer")
    form = {"csrf": csrf_of(reviewer.get("/audits/1")), "decision": "refuse", "reason": LONG_REASON}
    foreign = csrf_of(site.browser("equity_reviewer").get("/audits/1"))
    assert reviewer.post("/audits/1", data=form | {"csrf": foreign}).status_code == 403
    for change in ({"approved_by": "me"}, {"decision": "approve"}, {"reason": ""}, {"reason": "x" * 2_001}):
        assert reviewer.post("/audits/1", data=form | change).status_code == 422, change
    assert reviewer.post("/audits/2", data=form).status_code == 404
    assert signoffs(site.database) == before


def test_an_alias_moved_by_hand_suggests_nothing_and_the_page_says_why(site: TestSite):  # R61
    assert suggests(site)
    first = model_version(site.home)
    gain = {"same_places.gain.value": 9.0, "same_places.gain.lower": 8.0, "same_places.gain.upper": 10.0}
    copy = site.home / "models" / "copy.json"
    shutil.copyfile(first.file, copy)
    second = register_model(site.home, copy, first.sha256, "none", gain, {})
    registry(site.home).set_registered_model_alias(REGISTERED_MODEL, CHAMPION, str(second.version))
    assert not suggests(site)
    for who in ("equity_reviewer", "data_scientist", "district_admin"):
        page = site.browser(who).get("/audits").text
        assert "None serves: The champion alias points to version 2, which nobody has signed." in page, who
        assert "Serves now" not in page


def test_a_model_file_changed_on_disk_serves_no_longer(site: TestSite):  # R56
    assert suggests(site)
    file = model_version(site.home).file
    file.write_bytes(file.read_bytes().replace(b"0", b"1", 1))
    fresh = open_site(site.home)
    assert not suggests(fresh)
    assert "is not the one that was registered" in fresh.browser("data_scientist").get("/audits").text


def test_page_chart_and_report_carry_no_student(site: TestSite):  # R25, R60
    told = [*district.STUDENTS, *(str(row[name]) for row in district.rows()["students"]
                                  for name in ("first_name", "last_name"))]  # fmt: skip
    handles = [site.handle("district_admin", student) for student in district.STUDENTS]
    for who in ("equity_reviewer", "data_scientist", "district_admin"):
        browser = site.browser(who)
        for path in ("/audits", "/audits/1", "/audits/1/chart.svg", "/audits/1/report.html"):
            response = browser.get(path)
            assert response.status_code == 200 and len(response.content) > 500, path
            assert not [one for one in told + handles if one in response.text], (who, path)
    for path in ("/audits", "/audits/1", "/audits/1/chart.svg", "/audits/1/report.html"):
        assert site.browser("caseworker").get(path).status_code == 404
