"""Agreements on the site: the text to the byte, every version, what one opens for whom, and which
line says so.
"""

from __future__ import annotations

import re

import pytest

from records.access.explanation import explain_access
from records.canonical.schema import Category
from records.permissions.agreements import (
    LegalBasis,
    agreement_versions,
    parse_agreement,
    revoke_agreement,
    save_agreement,
)
from records.snapshots.snapshot import Snapshot
from records.staff.accounts import active_staff_member
from tests.records.conftest import add_agreement, agreement_text
from tests.serving import district
from tests.serving.conftest import GRANTED, NOW, STAFF, TestSite
from tests.serving.crawl import crawl
from tests.serving.html_text import one_line

PARTNERS = ["caseworker", "coordinator", "partner_admin", "pantry", "evaluator"]
PARTS = {
    "attendance": Category.ATTENDANCE,
    "marks": Category.GRADES,
    "tests": Category.ASSESSMENTS,
    "incidents": Category.BEHAVIOR,
}
"""Parts of the record in an answer of the API, and the category that each of them is."""


def amended(site: TestSite, **changes: object) -> str:
    """Put a second version of the tutors' agreement in force; its text."""
    values = {"categories": GRANTED, "supports": ["tutoring", "mentoring", "food"]} | changes
    text = agreement_text(**values).replace("version = 1", "version = 2")
    save_agreement(site.database, parse_agreement(text, "a1"))
    return text


def test_the_plain_text_is_the_file_to_the_byte_for_whoever_sees_the_page(site: TestSite):
    (kept,) = agreement_versions(site.database, "a1")
    for who in ("caseworker", "coordinator", "district_admin", "equity_reviewer"):
        response = site.browser(who).get("/agreements/a1.txt")
        assert response.content == kept.agreement.text.encode(), who
        assert response.headers["content-type"] == "text/plain; charset=utf-8"
    for who in ("pantry", "evaluator"):
        for path in (
            "/agreements/a1.txt",
            "/agreements/a1.txt?version=1",
            "/agreements/a1?version=1",
        ):
            assert (
                site.browser(who).get(path).content
                == site.browser(who).get("/agreements/none.txt").content
            )
    assert site.browser("caseworker").get("/agreements/a1.txt?version=9").status_code == 404


def test_every_version_stays_readable_with_what_it_changed(site: TestSite):
    first = agreement_versions(site.database, "a1")[0].agreement
    text = amended(site, categories=["directory", "attendance", "services"])
    browser = site.browser("caseworker")
    page = one_line(browser.get("/agreements/a1").text)
    newest = agreement_versions(site.database, "a1")[0].agreement
    assert newest.sha256 in page and first.sha256 in page and "Version 2" in page
    assert "What version 2 changed in version 1" in page
    assert "Which records are shared: no longer grades, assessments." in page
    assert page.count('class="line-added"') == page.count('class="line-removed"') == 2
    assert browser.get("/agreements/a1.txt").content == text.encode()
    assert browser.get("/agreements/a1.txt?version=1").content == first.text.encode()
    older = one_line(browser.get("/agreements/a1?version=1").text)
    assert "Replaced by version 2" in older and "changed in version" not in older


def test_a_newer_version_counts_at_the_next_request(site: TestSite):  # R12
    browser, path = (
        site.browser("caseworker"),
        f"/api/v1/students/{site.handle('caseworker', 's01')}",
    )
    assert "marks" in browser.get(path).json()
    amended(site, categories=["directory", "attendance", "services"])
    assert {"marks", "tests"}.isdisjoint(browser.get(path).json())


@pytest.mark.parametrize(
    ("who", "said", "unsaid"),
    [
        (
            "caseworker",
            [
                "It covers students enrolled in After-school tutoring today.",
                (
                    "You see their name, grade level, and school, attendance, course grades, test"
                    " scores, the partner"
                ),
                (
                    "Handrail may suggest, where it is likely to help: Tutoring, mentoring, food"
                    " assistance."
                ),
            ],
            ["no alerts"],
        ),
        (
            "coordinator",
            [
                "You see their name, grade level, and school, the partner",
                "You see no alerts and no suggestions",
            ],
            ["course grades.", "may suggest"],
        ),
        (
            "evaluator",
            [
                "It does not give you or your colleagues access to individual student records",
                "no student list, no alerts, and no suggestions",
            ],
            ["students enrolled in"],
        ),
    ],
)
def test_a_partners_page_says_what_it_opens_for_the_role_of_its_reader(
    site: TestSite, who: str, said: list[str], unsaid: list[str]
):
    page = one_line(
        site.browser(who).get("/agreements/" + ("a3" if who == "evaluator" else "a1")).text
    )
    opens = re.search(r"What you may see.*?</section>", page, re.S)
    assert opens is not None
    assert all(words in opens[0] for words in said), opens[0]
    assert not any(words in opens[0] for words in unsaid), opens[0]
    assert "What you may see" not in one_line(
        site.browser("district_admin").get("/agreements/a1").text
    )


def test_what_needs_a_signature_is_said_apart(site: TestSite):
    amended(site, categories=[*GRANTED, "meal_eligibility"], consent_required=["meal_eligibility"])
    page = one_line(site.browser("caseworker").get("/agreements/a1").text)
    assert "You see meal eligibility only for students whose family has signed a consent." in page


@pytest.mark.parametrize(
    ("basis", "why"),
    [
        (LegalBasis.AUDIT_EVALUATION, "Your agreement is for evaluation"),
        (LegalBasis.STUDIES, "Your agreement is for a study"),
    ],
)
def test_evaluation_and_study_open_no_page_or_answer_about_a_student(
    site: TestSite, basis: str, why: str
):  # R13
    revoke_agreement(site.database, "a3", NOW)
    add_agreement(
        site.database,
        agreement_id="a4",
        organization_id="college",
        legal_basis=basis,
        supports=[],
        categories=GRANTED,
        programs=["p1", "p2"],
    )
    browser = site.browser("evaluator")
    assert why in one_line(browser.get("/caseload").text)
    assert browser.get("/api/v1/students").json()["students"] == []
    for who in ("caseworker", "pantry", "district_admin"):
        handle = site.handle(who, "s05")
        for path in (
            f"/students/{handle}",
            f"/students/{handle}/disclosures",
            f"/students/{handle}/emergency",
            f"/consents/{handle}",
            f"/api/v1/students/{handle}",
            f"/api/v1/students/{handle}/alerts",
            f"/api/v1/students/{handle}/suggestions",
        ):
            assert browser.get(path).status_code == 404, path
    crawled = crawl(browser)
    assert not [path for path in crawled if path.startswith(("/students/", "/api/v1/students/"))]
    assert not any(
        "Lastname" in one_line(page.text) or district.CANARY in one_line(page.text)
        for page in crawled.values()
    )
    page = one_line(browser.get("/agreements/a4").text)
    assert ("Handrail makes no extracts" in page) == (basis is LegalBasis.STUDIES)


def test_an_explanation_names_the_line_and_is_itself_written_down(site: TestSite):  # R15, R23
    browser, handle = site.browser("district_admin"), site.handle("district_admin", "s01")
    before = len(site.log())
    page = one_line(
        browser.get(
            "/agreements/explain", params={"person": STAFF["caseworker"][0], "student": handle}
        ).text
    )
    (row,) = site.log()[before:]
    assert (row.student_id, row.route) == ("s01", "/agreements/explain")
    assert row.categories == {"directory", "services", "services_other"}
    (kept,) = agreement_versions(site.database, "a1")
    line = (
        kept.agreement.text.splitlines().index(
            next(one for one in kept.agreement.text.splitlines() if one.startswith("categories"))
        )
        + 1
    )
    assert f"Line {line} of a1, version 1" in page and kept.agreement.sha256 in page
    assert (
        "Staff caseworker may see: name, grade level, and school, attendance, course grades, test"
        " scores" in page
    )
    assert "Does the agreement cover this part of the record? No." in page
    assert f"Given00 {district.CANARY}" in page and "Shown to Staff district_admin" in page


def test_an_explanation_of_another_day_and_of_a_closed_account(site: TestSite):
    browser, handle = site.browser("district_admin"), site.handle("district_admin", "s01")
    asked = {"person": STAFF["caseworker"][0], "student": handle}
    later = one_line(browser.get("/agreements/explain", params=asked | {"on": "2026-08-01"}).text)
    assert (
        "No: its last day is 31 July 2026" in later
        and "may not see anything about this student" in later
    )
    unknown = browser.get("/agreements/explain", params=asked | {"person": "nobody@tutors.example"})
    assert unknown.status_code == 422 and "No user has this login." in one_line(unknown.text)
    missing = browser.get("/agreements/explain", params=asked | {"student": "0" * 20})
    assert missing.status_code == 422 and "No student has this ID or page code" in one_line(
        missing.text
    )
    assert "Every question" not in one_line(
        browser.get("/agreements/explain", params={"student": handle}).text
    )


def test_what_is_explained_is_what_the_site_answers(site: TestSite):  # R15
    snapshot = Snapshot.current(site.home)
    asked = 0
    for who in PARTNERS:
        viewer, browser = active_staff_member(site.database, STAFF[who][0]), site.browser(who)
        for student in district.STUDENTS:
            visible = explain_access(viewer, student, site.database, snapshot, NOW).visible
            if not visible:
                with pytest.raises(LookupError):
                    site.handle(who, student)
                continue
            answer = browser.get(f"/api/v1/students/{site.handle(who, student)}")
            assert answer.status_code == 200
            for part, category in PARTS.items():
                assert (part in answer.json()) == (category in visible), (who, student, part)
            assert answer.json()["name"].startswith("Given") == (Category.DIRECTORY in visible)
            asked += 1
    assert asked > 20
