"""Figures that no school has: no alert of that category there, until the district says "right"."""

from __future__ import annotations

import re

from records.canonical.schema import Category
from records.checks.confirmations import confirmed_figures
from records.checks.school_figures import keep_figures, school_figures
from tests.records.conftest import snapshot_of
from tests.serving.conftest import NOW, TestSite
from tests.serving.crawl import csrf_of
from tests.serving.html_text import one_line
from tests.serving.pages.test_data_loads import larger_district

NOTE = (
    "Attendance: the records of Harbor School look unusual. The district is checking them, so no"
    " attendance alerts are shown for its students."
)
FORM = {"school": "k1", "measure": "attendance"}


def doubted(site: TestSite, absent: int = 28) -> None:
    """Load the district with most of Harbor School absent on every day."""
    snapshot = snapshot_of(larger_district(absent), site.home)
    keep_figures(site.home, snapshot, school_figures(snapshot, NOW.date()))


def student_page(site: TestSite, student: str = "s04", who: str = "caseworker") -> str:
    handle = site.handle(who, student)
    return one_line(site.browser(who).get(f"/students/{handle}").text)


def confirm(site: TestSite, reason: str, who: str = "district_admin") -> int:
    browser = site.browser(who)
    token = csrf_of(browser.get("/data"))
    answer = browser.post("/data/confirm", data=FORM | {"reason": reason, "csrf": token})
    return answer.status_code


def test_a_doubted_school_raises_no_alert_of_that_category_and_says_why(site: TestSite):
    before = student_page(site)
    assert "Absent the last 5 school days in a row" in before and NOTE not in before
    doubted(site)
    after = student_page(site)
    assert NOTE in after and "Absent the last" not in after
    assert "Grade below 60" in after, "what is not about attendance is still raised"
    caseload = one_line(site.browser("caseworker").get("/caseload").text)
    assert caseload.count(NOTE) == 1
    handle = site.handle("caseworker", "s04")
    answer = site.browser("caseworker").get(f"/api/v1/students/{handle}/alerts").json()
    assert answer["doubted"] == ["attendance"]
    assert not [alert for alert in answer["alerts"] if "Absent" in alert["headline"]]


def test_students_of_other_schools_keep_their_alerts(site: TestSite):
    doubted(site)
    browser = site.browser("district_admin")
    page = one_line(browser.get("/students?alerts=true").text)
    rows = [row for row in page.split("<tr>") if "Absent" in row]
    assert rows and not [row for row in rows if "Harbor School" in row]


def test_who_may_not_see_attendance_reads_nothing_of_it(site: TestSite):
    doubted(site)
    page = one_line(site.browser("pantry").get("/caseload").text)
    assert "look unusual" not in page and "Being checked" not in page


def test_an_ordinary_school_is_not_doubted(site: TestSite):
    doubted(site, absent=10)
    assert "look unusual" not in student_page(site)


def test_the_district_says_that_it_is_right_and_alerts_are_raised_again(site: TestSite):
    doubted(site)
    page = one_line(site.browser("district_admin").get("/data").text)
    assert "Alerts that are silent" in page and ">This is right</button>" in page
    scientist = one_line(site.browser("data_scientist").get("/data").text)
    assert "Alerts that are silent" in scientist and "This is right" not in scientist
    assert confirm(site, "short") == 422
    assert confirmed_figures(site.database) == []
    assert confirm(site, "A night school, checked with its clerk") == 303
    [kept] = confirmed_figures(site.database)
    assert (kept.school_id, kept.measure, kept.at, kept.school_year) == (
        "k1",
        "attendance",
        NOW,
        2026,
    )
    page = one_line(site.browser("data_scientist").get("/data").text)
    assert "Alerts that are silent" not in page
    assert "Harbor School: the average attendance" in page
    assert "Staff district_admin, April 17, 2026" in page
    assert "A night school, checked with its clerk" in page
    assert re.search(r'data-label="Counts now">Yes<', page)
    after = student_page(site)
    assert NOTE not in after and "Absent the last 5 school days in a row" in after
    assert confirm(site, "A night school, checked with its clerk") == 422, "nothing is doubted"


def test_what_was_said_is_taken_back_and_alerts_are_silent_again(site: TestSite):
    doubted(site)
    assert confirm(site, "A night school, checked with its clerk") == 303
    [kept] = confirmed_figures(site.database)
    scientist = site.browser("data_scientist").get("/data").text
    assert "/data/confirm/take-back" not in scientist
    browser = site.browser("district_admin")
    form = {"confirmation": str(kept.id), "csrf": csrf_of(browser.get("/data"))}
    assert browser.post("/data/confirm/take-back", data=form).status_code == 303
    assert NOTE in student_page(site)
    page = one_line(browser.get("/data").text)
    assert "No. Taken back by Staff district_admin, April 17, 2026" in page
    assert "A night school, checked with its clerk" in page, "what was said stays on record"
    again = browser.post("/data/confirm/take-back", data=form)
    assert again.status_code == 422 and "was taken back on 2026-04-17" in one_line(again.text)
    assert confirm(site, "A night school, asked its principal") == 303
    assert NOTE not in student_page(site)


def test_only_an_administrator_of_the_district_confirms(site: TestSite):
    doubted(site)
    for who in ("data_scientist", "caseworker", "equity_reviewer"):
        browser = site.browser(who)
        answer = browser.post("/data/confirm", data=FORM | {"reason": "Right enough", "csrf": "x"})
        assert answer.status_code == 404
    answer = site.browser("district_admin").post(
        "/data/confirm", data=FORM | {"reason": "Right enough", "csrf": "x"}
    )
    assert answer.status_code == 403 and confirmed_figures(site.database) == []


def test_a_mistake_in_the_districts_ranges_shows_no_alert_at_all(site: TestSite):
    (site.home / "plausible_ranges.toml").write_text("[attendance]\nlow = 1\n")
    doubted(site)
    page = site.browser("caseworker").get("/caseload")
    assert page.status_code == 503 and "plausible figures" in one_line(page.text)
    assert Category.ATTENDANCE not in page.text
