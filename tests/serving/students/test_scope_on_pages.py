"""What is out of scope is on no page: not as a word, not as a number, not as another kind of "not
found".
"""

from __future__ import annotations

import copy
import html
import re
import shutil
from datetime import date, datetime, timedelta
from pathlib import Path

import httpx2
import pytest

from records.permissions.agreements import revoke_agreement
from records.staff.accounts import active_staff_member
from records.staff.sessions import start_session
from tests.records.conftest import snapshot_of
from tests.serving import district
from tests.serving.conftest import NOW, STAFF, TestSite, open_site
from tests.serving.crawl import crawl

HOUSING_WORDS = re.compile(r"hous|homeless|mckinney|shelter|stable home", re.IGNORECASE)
NEVER = ["0" * 20, "nobody", "s01", "s10", "1' OR '1'='1", "%00", "a" * 4_000]
METHODS = ["GET", "HEAD", "POST", "PUT", "DELETE", "OPTIONS"]
PARTNERS = ("caseworker", "coordinator", "partner_admin", "pantry", "evaluator")
Crawled = dict[str, dict[str, httpx2.Response]]
"""By whom, and by its path."""


def test_out_of_scope_and_unknown_students_get_the_same_bytes(site: TestSite):  # R3
    browser = site.browser("caseworker")
    others = [
        site.handle("pantry", "s05"),
        site.handle("pantry", "s09"),
        site.handle("district_admin", "s01"),
    ]
    paths = [
        "/students/{}",
        "/students/{}/suggestions/tutoring",
        "/students/{}/disclosures",
        "/api/v1/students/{}",
        "/api/v1/students/{}/alerts",
        "/api/v1/students/{}/suggestions",
        "/api/v1/students/{}/suggestions/tutoring/decisions",
    ]
    for path in paths:
        for method in METHODS:
            answers = {
                (response.status_code, response.content, tuple(sorted(response.headers.items())))
                for handle in [*others, *NEVER]
                for response in [browser.request(method, path.format(handle))]
            }
            assert len(answers) == 1, (method, path)
            assert next(iter(answers))[0] in (404, 405)


def test_an_unknown_route_answers_as_an_unknown_student(site: TestSite):  # R3
    browser = site.browser("caseworker")
    student, route = browser.get("/students/" + "0" * 20), browser.get("/nothing/here")
    assert (
        (student.status_code, student.content)
        == (route.status_code, route.content)
        == (404, student.content)
    )


@pytest.fixture(scope="module")
def crawled(filled_home: Path, tmp_path_factory: pytest.TempPathFactory) -> Crawled:
    """Every page that each account can reach, read once."""
    home = tmp_path_factory.mktemp("crawled") / "home"
    shutil.copytree(filled_home, home)
    site = open_site(home)
    return {who: crawl(site.browser(who)) for who in STAFF}


def test_no_student_identifier_of_the_district_is_on_any_page(crawled: Crawled):  # R19
    for who, pages in crawled.items():
        for path, response in pages.items():
            assert not re.search(r"\bs(0[1-9]|1[0-2])\b", response.text), (who, path)


@pytest.mark.parametrize("who", PARTNERS)
def test_districts_that_differ_only_out_of_scope_answer_alike(
    filled_home: Path, tmp_path: Path, who: str
):  # R1, R20
    homes = [tmp_path / name for name in ("before", "after")]
    for home in homes:
        shutil.copytree(filled_home, home)
    before = open_site(homes[0])
    token = start_session(before.database, active_staff_member(before.database, STAFF[who][0]), NOW)
    before.database.engine.dispose()
    shutil.copyfile(homes[0] / "handrail.db", homes[1] / "handrail.db")
    snapshot_of(scrambled(who), homes[1])
    answers = []
    for home in homes:
        site = open_site(home)
        browser = site.browser()
        browser.cookies.set("handrail", token)
        pages = crawl(browser)
        for path in (
            "/caseload?q=Given1",
            "/caseload?sort=school",
            "/caseload?page=2",
            "/caseload?alerts=true",
            "/places?places_tutoring=3&floor=school",
            "/api/v1/students",
            "/api/v1/students?offset=3&limit=2",
            "/api/v1/agreements",
        ):
            pages[path] = browser.get(path)
        for handle in re.findall(r"/students/([0-9a-f]{20})", " ".join(pages)):
            for end in ("", "/alerts", "/suggestions"):
                path = f"/api/v1/students/{handle}{end}"
                pages[path] = browser.get(path)
        answers.append(
            {
                path: (page.status_code, page.content, dict(page.headers))
                for path, page in pages.items()
            }
        )
    assert answers[0].keys() == answers[1].keys()
    for path, answer in answers[0].items():
        assert answer == answers[1][path], path


def test_no_word_on_housing_reaches_a_partner_without_it(crawled: Crawled):  # R8
    for who in PARTNERS:
        for path, response in crawled[who].items():
            assert not HOUSING_WORDS.search(response.text), (who, path)


def test_a_coordinator_sees_name_grade_school_and_own_sessions_only(site: TestSite):
    browser = site.browser("coordinator")
    listed = browser.get("/caseload").text
    page = browser.get(f"/students/{site.handle('coordinator', 's01')}").text
    assert (
        "Given00" in page
        and "Grade 1" in page
        and "Hill School" in page
        and "After-school tutoring" in page
    )
    for text in (listed, page):
        for absent in (
            "Act now",
            "Absent",
            "Attendance",
            "Mathematics",
            "Reading benchmark",
            "Suggested",
            "Disruption",
            "Weekend bags",
            "Also on record",
        ):
            assert absent not in text, absent


def test_a_birth_date_is_nowhere_on_the_site(crawled: Crawled):
    for who, pages in crawled.items():
        for path, response in pages.items():
            assert not re.search(
                r"2013|July 21|21 July|07[-/.]21|21[-/.]07|birth", response.text
            ), (who, path)


def test_an_evaluation_agreement_opens_no_student(site: TestSite):  # R13
    browser = site.browser("evaluator")
    assert "not to any single student's record" in " ".join(
        html.unescape(browser.get("/caseload").text).split()
    )
    for who in ("caseworker", "pantry", "district_admin"):
        handle = site.handle(who, "s05")
        for path in (
            f"/students/{handle}",
            f"/api/v1/students/{handle}",
            f"/api/v1/students/{handle}/suggestions",
        ):
            assert browser.get(path).status_code == 404
    assert browser.get("/api/v1/students").json()["students"] == []


def test_a_revoked_agreement_closes_the_page_at_the_next_request(site: TestSite):  # R12
    browser, path = site.browser("caseworker"), f"/students/{site.handle('caseworker', 's01')}"
    assert browser.get(path).status_code == 200
    revoke_agreement(site.database, "a1", NOW)
    assert browser.get(path).status_code == 404
    assert "no agreement in force" in browser.get("/caseload").text


def test_an_agreement_ends_at_midnight_of_its_last_day(site: TestSite):  # R11
    path = f"/students/{site.handle('caseworker', 's01')}"
    site.clock[0] = datetime(2026, 7, 31, 23, 59, 59)
    browser = site.browser("caseworker")
    assert browser.get(path).status_code == 200
    site.clock[0] += timedelta(seconds=1)
    assert browser.get(path).status_code == 404


def scrambled(who: str) -> district.Rows:
    """The district with everything changed that `who` may not see; who takes part in their program
    stays.
    """
    rows = copy.deepcopy(district.rows())
    inside = {"pantry": set(district.FED), "evaluator": set()}.get(who, set(district.TUTORED))
    sees_records = who == "caseworker"
    for row in rows["students"]:
        if row["student_id"] not in inside:
            row |= {
                "first_name": "Changed",
                "last_name": "Given1",
                "grade_level": 12,
                "school_id": "k1",
            }
        row["birth_date"] = date(2010, 1, 1)
    for row in rows["characteristics"]:
        row |= {
            "unstable_housing": not row["unstable_housing"],
            "meal_eligible": False,
            "sex": "male",
        }
    for name, column, value in (
        ("attendance_events", "status", "tardy"),
        ("course_grades", "grade", 12.0),
        ("assessments", "score", 1.0),
    ):
        for row in rows[name]:
            if row["student_id"] not in inside or not sees_records:
                row[column] = value
    rows["behavior_incidents"] = [
        {"student_id": s, "incident_id": f"n{s}", "date": district.TODAY} for s in district.STUDENTS
    ]
    own = "pantry" if who == "pantry" else "tutors"
    rows["service_sessions"] = [
        row | ({} if row["organization_id"] == own else {"attended": True, "minutes": 1.0})
        for row in rows["service_sessions"]
    ]
    rows["service_enrollments"].append(
        {
            "student_id": "s12",
            "program_id": "p3",
            "organization_id": "mentors",
            "start_date": date(2026, 2, 2),
        }
    )
    rows["students"].append(
        {"student_id": "s99", "first_name": "New", "last_name": "Child", "school_id": "k1"}
    )
    return rows
