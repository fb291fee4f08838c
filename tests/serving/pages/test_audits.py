"""The audit's page: read by whoever answers for the model, signed or refused by the reviewer
alone.
"""

from __future__ import annotations

import re
import shutil
from collections.abc import Mapping
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import httpx2
import pytest

from fairness.approval.signoff import ApprovalService, record_audit
from fairness.audit.audit import Audit
from fairness.checks.policy import Policy
from fairness.checks.policy_file import Consequence
from fairness.gate.gate import Verdict
from fairness.report.report import audit_folder, latest_audit
from records.database.engine import open_database
from records.decisions.signoffs import signoffs
from serving.students.caseload import NO_APPROVED_MODEL
from tests.approved_home import NOW, REASON, SECRET
from tests.fairness.handwritten_audits import CURVES
from tests.records.conftest import snapshot_of
from tests.serving import district
from tests.serving.conftest import TestSite, add_partners_and_staff, open_site
from tests.serving.crawl import Page, csrf_of
from tests.serving.html_text import one_line
from tests.serving.pdf_text import pdf_text
from tests.serving.site.test_html import check_page
from training.registry.registry import (
    CHAMPION,
    REGISTERED_MODEL,
    champion_version,
    model_version,
    register_model,
    registry_client,
    set_challenger,
)

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
        for day in district.school_days()
        if day.weekday() == 0
    ]
    snapshot_of(rows, home)
    database = open_database(f"sqlite:///{home / 'handrail.db'}")
    add_partners_and_staff(database)
    database.engine.dispose()
    return home


@pytest.fixture
def site(approved_district: Path, tmp_path: Path) -> TestSite:
    shutil.copytree(approved_district, tmp_path / "home")
    return open_site(tmp_path / "home")


def decide(
    browser: httpx2.Client, decision: str, reason: str, version: int = 1, audit: str = ""
) -> httpx2.Response:
    """What the form of a version's page sends; who has no such page guesses."""
    csrf = csrf_of(browser.get("/agreements"))
    form = {
        "csrf": csrf,
        "decision": decision,
        "reason": reason,
        "audit": audit or audit_on(browser, version),
    }
    return browser.post(f"/audits/{version}", data=form)


def audit_on(browser: httpx2.Client, version: int = 1) -> str:
    found = re.search(
        r'name="audit" value="([0-9a-f]{64})"', one_line(browser.get(f"/audits/{version}").text)
    )
    return found[1] if found else "0" * 64


def suggests(site: TestSite) -> bool:
    """Whether the caseworker of s02, who misses every Monday, is advised now, on the caseload and
    on the page.
    """
    browser = site.browser("caseworker")
    page = one_line(browser.get(f"/students/{site.handle('caseworker', ADVISED)}").text)
    assert ("Accept" in page) != (NO_APPROVED_MODEL in page)
    assert ("Food" in one_line(browser.get("/caseload").text)) == ("Accept" in page)
    return "Accept" in page


def test_a_signed_model_suggests_and_the_page_says_who_signed_it_and_why(site: TestSite):  # R61
    assert suggests(site)
    page = one_line(site.browser("data_scientist").get("/audits/1").text)
    assert "It is in use." in page and REASON in page and "Signed" in page
    assert "In use" in one_line(site.browser("district_admin").get("/audits").text)


@pytest.mark.parametrize("reason", ["fine", " " * 40 + "fine"])
def test_a_doubtful_audit_is_not_signed_for_a_short_reason(site: TestSite, reason: str):  # R61
    before = signoffs(site.database)
    response = decide(site.browser("equity_reviewer"), "sign", reason)
    assert response.status_code == 409
    assert re.search(
        r"The audit leaves \d+ questions? open: say in 40 characters or more", response.text
    )
    assert "why this version may still be used." in one_line(response.text)
    assert signoffs(site.database) == before
    assert suggests(site)


def test_a_refusal_takes_effect_at_the_next_request_and_a_later_signature_brings_the_model_back(
    site: TestSite,
):  # R61
    reviewer = site.browser("equity_reviewer")
    assert suggests(site)
    response = decide(reviewer, "refuse", "Two families complained; we look again.")
    assert (response.status_code, response.headers["location"]) == (303, "/audits/1")
    assert not suggests(site)
    assert champion_version(site.home) is None
    page = one_line(reviewer.get("/audits/1").text)
    assert "Refused</strong> by Staff equity_reviewer" in page and "Two families complained" in page
    assert "It is in use" not in page
    caseworker = site.browser("caseworker")
    student = caseworker.get(
        f"/api/v1/students/{site.handle('caseworker', 's01')}/suggestions"
    ).json()
    assert student["suggestions"] == [] and NO_APPROVED_MODEL in str(student)
    assert decide(reviewer, "sign", LONG_REASON).status_code == 303
    assert suggests(site)


def test_an_audit_that_the_reviewer_has_not_read_is_not_signed(site: TestSite):  # R61
    reviewer = site.browser("equity_reviewer")
    read, before = audit_on(reviewer), signoffs(site.database)
    audit = latest_audit(site.home, 1)
    assert audit is not None and audit.sha256 == read
    later = replace(audit, at=audit.at + timedelta(seconds=1))
    record_audit(ApprovalService(site.database, site.home, Policy.declared(), SECRET), later)
    site.clock[0] = max(site.clock[0], later.at + timedelta(minutes=1))
    response = decide(reviewer, "sign", LONG_REASON, audit=read)
    assert (
        response.status_code == 409
        and "was audited again since you opened this page" in one_line(response.text)
    )
    assert signoffs(site.database) == before
    assert decide(reviewer, "sign", LONG_REASON).status_code == 303


@pytest.mark.parametrize("who", ["data_scientist", "district_admin", "caseworker", "partner_admin"])
def test_nobody_but_the_reviewer_signs_or_refuses(site: TestSite, who: str):  # R61
    before = signoffs(site.database)
    for decision in ("sign", "refuse"):
        assert decide(site.browser(who), decision, LONG_REASON).status_code == 404
    assert signoffs(site.database) == before
    if who == "data_scientist":
        assert "<textarea" not in one_line(site.browser(who).get("/audits/1").text)


def test_a_form_of_another_session_or_with_other_fields_decides_nothing(site: TestSite):  # R21, R46
    before, reviewer = signoffs(site.database), site.browser("equity_reviewer")
    form = {
        "csrf": csrf_of(reviewer.get("/audits/1")),
        "decision": "refuse",
        "reason": LONG_REASON,
        "audit": audit_on(reviewer),
    }
    foreign = csrf_of(site.browser("equity_reviewer").get("/audits/1"))
    assert reviewer.post("/audits/1", data=form | {"csrf": foreign}).status_code == 403
    for change in (
        {"approved_by": "me"},
        {"decision": "approve"},
        {"reason": ""},
        {"reason": "x" * 2_001},
        {"audit": ""},
        {"audit": "x" * 64},
    ):
        assert reviewer.post("/audits/1", data=form | change).status_code == 422, change
    assert reviewer.post("/audits/2", data=form).status_code == 404
    assert signoffs(site.database) == before


def test_an_alias_moved_by_hand_suggests_nothing_and_the_page_says_why(site: TestSite):  # R61
    assert suggests(site)
    first = model_version(site.home)
    gain = {
        "same_places.gain.value": 9.0,
        "same_places.gain.lower": 8.0,
        "same_places.gain.upper": 10.0,
    }
    copy = site.home / "models" / "copy.json"
    shutil.copyfile(first.file, copy)
    second = register_model(site.home, copy, first.sha256, "none", gain, {})
    registry_client(site.home).set_registered_model_alias(
        REGISTERED_MODEL, CHAMPION, str(second.version)
    )
    assert not suggests(site)
    for who in ("equity_reviewer", "data_scientist", "district_admin"):
        page = one_line(site.browser(who).get("/audits").text)
        assert (
            "No version is in use. The champion alias points to version 2, which nobody has signed."
            in page
        ), who
        assert "In use" not in page


def test_a_model_file_changed_on_disk_serves_no_longer(site: TestSite):  # R56
    assert suggests(site)
    file = model_version(site.home).file
    file.write_bytes(file.read_bytes().replace(b"0", b"1", 1))
    fresh = open_site(site.home)
    assert not suggests(fresh)
    assert "is not the one that was registered" in one_line(
        fresh.browser("data_scientist").get("/audits").text
    )


PAGES = (
    "/audits",
    "/audits/1",
    "/audits/1/chart.svg",
    "/audits/1/chart-narrow.svg",
    "/audits/1/report.html",
    "/audits/1/report.pdf",
    "/audits/1/audit.json",
    "/audits/compare",
    "/audits/compare?first=1&second=2",
    "/audits/2",
    "/audits/2/curves.svg",
    "/audits/2/report.pdf",
)


def test_pages_charts_and_files_carry_no_student(site: TestSite):  # R25, R60
    candidate(site, fails=True)
    told = [
        *district.STUDENTS,
        *(
            str(row[name])
            for row in district.rows()["students"]
            for name in ("first_name", "last_name")
        ),
    ]
    handles = [site.handle("district_admin", student) for student in district.STUDENTS]
    for who in ("equity_reviewer", "data_scientist", "district_admin"):
        browser = site.browser(who)
        for path in PAGES:
            response = browser.get(path)
            assert response.status_code == 200 and len(response.content) > 500, path
            shown = pdf_text(response.content) if path.endswith(".pdf") else response.text
            assert not [one for one in told + handles if one in shown], (who, path)


@pytest.mark.parametrize(
    "who", ["caseworker", "coordinator", "partner_admin", "pantry", "evaluator"]
)
def test_nothing_of_an_audit_is_there_for_a_partner(site: TestSite, who: str):  # R2
    candidate(site, fails=True)
    browser = site.browser(who)
    assert [browser.get(path).status_code for path in PAGES] == [404] * len(PAGES)


GAIN = {
    "same_places.gain.value": 1.25,
    "same_places.gain.lower": 0.4,
    "same_places.gain.upper": 2.1,
}


def candidate(site: TestSite, *, fails: bool = False, gain: Mapping[str, float] = GAIN) -> Audit:
    """Another version, of the same bytes, with its audit: one that may be signed, or one that a
    check stops.
    """
    first = model_version(site.home)
    copy = site.home / "models" / "copy.json"
    shutil.copyfile(first.file, copy)
    made = register_model(site.home, copy, first.sha256, "none", gain, {})
    audit = latest_audit(site.home, 1)
    assert audit is not None
    audit = replace(audit, version=made.version)
    audit = stopped(audit) if fails else audit
    record_audit(ApprovalService(site.database, site.home, Policy.declared(), SECRET), audit)
    return audit


def stopped(audit: Audit) -> Audit:
    """The same with one check that stops the model."""
    place = next(
        place for place, one in enumerate(audit.findings) if one.check == "missed" and one.counts
    )
    fails = replace(audit.findings[place], verdict=Verdict.FAIL, does=Consequence.STOPS)
    findings = (*audit.findings[:place], fails, *audit.findings[place + 1 :])
    return replace(audit, findings=findings, verdict=Verdict.FAIL, curves=CURVES)


def part(page: str, name: str) -> str:
    """What stands under one heading of the list of audits."""
    found = re.search(rf'<h2 id="{name}">.*?</section>', page, re.DOTALL)
    assert found is not None
    return found[0]


def test_a_candidate_waits_in_the_queue_until_it_is_decided(site: TestSite):
    browser = site.browser("equity_reviewer")
    assert "No version is waiting." in one_line(browser.get("/audits").text)
    candidate(site)
    stopped = candidate(site, fails=True, gain={})
    waiting = part(one_line(browser.get("/audits").text), "waiting")
    assert waiting.index("Version 3") < waiting.index("Version 2") and "Version 1<" not in waiting
    third, second = waiting.split("Version 2")
    assert (
        "Failed" in third
        and "<dt>Stopped by</dt><dd>Missed</dd>" in third
        and "not evaluated" in third
    )
    assert f"<dd>{len(stopped.asking)}: " in third
    assert "Cannot tell" in second and "Stopped by" not in second
    assert "+1.25 (+0.40 to +2.10) progress points" in second and "Challenger" not in waiting
    failed, doubtful = (one_line(browser.get(f"/audits/{version}").text) for version in (3, 2))
    assert "The audit of version 3 failed: it may not serve. You may refuse it." in failed
    assert (
        "Sign: it may be used" not in failed
        and 'value="refuse"' in failed
        and ">Refuse</a>" in failed
    )
    assert (
        "Version 2 was not compared with version 1, which serves" in doubtful
        and "Sign: it may be used" in doubtful
    )
    set_challenger(site.home, 2)
    assert (
        "Challenger" in part(one_line(browser.get("/audits").text), "waiting").split("Version 2")[1]
    )
    decide(browser, "refuse", "It fails.", 3)
    decide(browser, "sign", LONG_REASON, 2)
    page = one_line(browser.get("/audits").text)
    assert "No version is waiting." in page and "Version 2" in part(page, "serves")


def audited_again(site: TestSite, found: Audit) -> None:
    """Version 1 is audited now, with the same findings as these, and nobody has signed that."""
    later = replace(found, at=site.clock[0] + timedelta(seconds=1))
    record_audit(ApprovalService(site.database, site.home, Policy.declared(), SECRET), later)
    site.clock[0] += timedelta(seconds=2)


def test_a_later_audit_of_what_serves_is_told_and_waits_for_a_signature_where_it_stops_it(
    site: TestSite,
):
    browser, first = site.browser("equity_reviewer"), latest_audit(site.home, 1)
    assert first is not None
    audited_again(site, first)
    page = one_line(browser.get("/audits").text)
    assert "No version is waiting." in page and "<dt>Audited again</dt>" in part(page, "serves")
    assert decide(browser, "sign", LONG_REASON).status_code == 303
    assert "Audited again" not in one_line(browser.get("/audits").text)
    audited_again(site, stopped(first))
    page = one_line(browser.get("/audits").text)
    assert "Version 1" in part(page, "waiting") and "A later audit of version 1 failed" in part(
        page, "serves"
    )
    decide(browser, "refuse", "It fails.")
    assert "No version is waiting." in one_line(browser.get("/audits").text)
    audited_again(site, first)
    assert "Version 1" in part(one_line(browser.get("/audits").text), "waiting"), (
        "what was refused is no longer the newest"
    )


def test_a_version_that_gave_way_to_another_does_not_wait_when_it_was_audited_since(site: TestSite):
    browser, first = site.browser("equity_reviewer"), latest_audit(site.home, 1)
    assert first is not None
    audited_again(site, first)
    candidate(site)
    assert decide(browser, "sign", LONG_REASON, 2).status_code == 303
    assert "No version is waiting." in one_line(browser.get("/audits").text)


def test_the_list_says_what_serves_and_until_when_its_audit_holds(site: TestSite):
    serves = part(one_line(site.browser("data_scientist").get("/audits").text), "serves")
    until = NOW + timedelta(days=Policy.declared().valid_days)
    assert (
        "Version 1" in serves
        and f"{until:%B} {until.day}, {until.year}" in serves
        and "+1.00 (+0.50 to +1.50)" in serves
    )
    candidate(site)
    assert "Version 1" in part(
        one_line(site.browser("data_scientist").get("/audits").text), "serves"
    )


def test_decisions_are_listed_the_newest_first_with_who_and_why(site: TestSite):
    decide(site.browser("equity_reviewer"), "refuse", "Two families complained <b>.")
    history = part(one_line(site.browser("district_admin").get("/audits").text), "history")
    assert history.index("Refused") < history.index("Signed")
    assert (
        "by Staff equity_reviewer on April 17, 2026, 10:30 AM. Two families complained &lt;b&gt;."
        in history
    )
    assert REASON in history and "does not count" not in history


def test_a_decision_that_was_changed_in_the_store_is_marked_and_its_version_waits(site: TestSite):
    with site.database.engine.begin() as connection:
        connection.exec_driver_sql("UPDATE signoffs SET reason = 'All is well.'")
    page = one_line(site.browser("equity_reviewer").get("/audits").text)
    assert "All is well. <strong>This entry was altered and does not count.</strong>" in page
    assert "Version 1" in part(page, "waiting") and "No version is in use" in part(page, "serves")


def test_a_version_whose_audit_was_changed_is_said_to_have_one_that_cannot_be_trusted(
    site: TestSite,
):
    audit = candidate(site)
    file = audit_folder(site.home, audit) / "audit.json"
    file.write_text(
        file.read_text(encoding="utf-8").replace('"snapshot_id": "', '"snapshot_id": "of-another-')
    )
    browser, why = (
        site.browser("equity_reviewer"),
        "he audit is not as it was written: its digest is another",
    )
    waiting = part(one_line(browser.get("/audits").text), "waiting")
    assert "Audit damaged" in waiting and f"T{why}" in waiting
    page = one_line(browser.get("/audits/2").text)
    assert (
        f"An audit of this version cannot be trusted: t{why}." in page
        and "has not been audited" not in page
    )


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("report.html", "text/html"),
        ("report.pdf", "application/pdf"),
        ("audit.json", "application/json"),
    ],
)
def test_every_audit_of_a_version_can_be_taken_home(site: TestSite, name: str, kind: str):
    first = latest_audit(site.home, 1)
    assert first is not None
    second = replace(first, at=first.at + timedelta(hours=1))
    record_audit(ApprovalService(site.database, site.home, Policy.declared(), SECRET), second)
    browser = site.browser("district_admin")
    for audit in (first, second):
        response = browser.get(f"/audits/1/{name}?audit={audit.sha256}")
        assert response.status_code == 200 and response.headers["content-type"].startswith(kind)
        assert (
            f"handrail-audit-version-1.{name.split('.')[1]}"
            in response.headers["content-disposition"]
        )
        assert response.content == (audit_folder(site.home, audit) / name).read_bytes()
        assert f"/audits/1/{name}?audit={audit.sha256}" in one_line(
            browser.get(f"/audits/1?audit={audit.sha256}").text
        )
    assert (
        browser.get(f"/audits/1/{name}").content
        == (audit_folder(site.home, second) / name).read_bytes()
    )
    assert browser.get(f"/audits/1/{name}?audit={'0' * 64}").status_code == 404
    assert browser.get(f"/audits/1/{name}?audit=../../secret").status_code == 422


def test_a_candidate_is_held_against_what_serves_and_an_audit_against_the_one_before(
    site: TestSite,
):
    first = latest_audit(site.home, 1)
    assert first is not None
    browser = site.browser("data_scientist")
    assert "/audits/compare" not in one_line(browser.get("/audits/1").text)
    stopped = candidate(site, fails=True)
    beside = (
        f"/audits/compare?first=1&second=2&first_audit={first.sha256}&second_audit={stopped.sha256}"
    )
    link = f'<a href="{beside.replace("&", "&amp;")}">Compare with the version in use</a>'
    assert link in one_line(browser.get("/audits/2").text)
    page = one_line(browser.get(beside).text)
    changed = part(page, "changed")
    assert "Missed" in changed and "Failed" in changed and changed.count('scope="row">') == 1
    assert "<td>0</td><td>1</td>" in page, "answers that stop it"
    again = replace(first, at=first.at + timedelta(hours=1))
    record_audit(ApprovalService(site.database, site.home, Policy.declared(), SECRET), again)
    assert "Compare with the previous audit" in one_line(browser.get("/audits/1").text)
    assert "Compare with the previous audit" not in one_line(
        browser.get(f"/audits/1?audit={first.sha256}").text
    )
    page = one_line(
        browser.get(
            f"/audits/compare?first=1&second=1&first_audit={first.sha256}&second_audit={again.sha256}"
        ).text
    )
    assert "Nothing that counts toward the verdict has changed." in page


@pytest.mark.parametrize(
    "query",
    [
        "first=1&second=7",
        "first=7&second=1",
        "first=1",
        "second=1",
        f"first=1&second=1&second_audit={'0' * 64}",
    ],
)
def test_what_is_not_there_cannot_be_compared(site: TestSite, query: str):
    assert site.browser("equity_reviewer").get(f"/audits/compare?{query}").status_code == 404


def test_two_versions_are_chosen_in_a_form(site: TestSite):
    candidate(site)
    page = one_line(site.browser("equity_reviewer").get("/audits/compare").text)
    assert page.count("<option") == 4 and "Version 1 (in use)" in page


def test_a_version_that_is_stopped_shows_ways_to_mend_it_and_one_that_is_not_shows_none(
    site: TestSite,
):
    candidate(site, fails=True)
    browser = site.browser("equity_reviewer")
    page = one_line(browser.get("/audits/2").text)
    assert "Mitigation options" in page and "Nothing here is applied by itself" in page
    assert "<code>handrail train --without FAMILY</code>" in page and "students who wait" in page
    assert browser.get("/audits/2/curves.svg").headers["content-type"] == "image/svg+xml"
    assert "Mitigation options" not in one_line(browser.get("/audits/1").text)
    assert browser.get("/audits/1/curves.svg").status_code == 404


def test_audit_pages_are_whole_html_that_a_screen_reader_can_follow(site: TestSite):  # R49
    candidate(site, fails=True)
    browser = site.browser("equity_reviewer")
    for path in (
        "/audits",
        "/audits/1",
        "/audits/2",
        "/audits/compare",
        "/audits/compare?first=1&second=2",
    ):
        html = one_line(browser.get(path).text)
        check_page(path, html)
        page = Page(html)
        assert not any("style" in attributes for _, attributes in page.tags), path
        assert all("scope" in cell for cell in page.all("th")) and html.count(
            "<table"
        ) == html.count("<caption"), path
        scrolled = [
            one
            for one in page.all("div")
            if {"audit-wide", "scroll"} & set((one.get("class") or "").split())
        ]
        assert all(one.get("tabindex") == "0" and one.get("aria-label") for one in scrolled), path
        targets = {
            link["href"][1:] for link in page.all("a") if (link["href"] or "").startswith("#")
        }
        assert targets <= {attributes.get("id") for _, attributes in page.tags}, path
