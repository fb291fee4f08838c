"""Emergencies on the site: what opens for whom, until which minute, what stays as it was, and who
is told.
"""

from __future__ import annotations

import re
from datetime import timedelta
from types import SimpleNamespace

import httpx2
import pytest
from sqlalchemy import text

from records.access.scope import scope_for
from records.canonical.schema import Category
from records.permissions.emergencies import REQUESTABLE_CATEGORIES, emergencies
from records.permissions.legal_holds import place_hold
from records.snapshots.snapshot import Snapshot
from records.staff.accounts import active_staff_member
from tests.records.conftest import add_agreement
from tests.serving.conftest import NOW, SECRET, STAFF, TestSite
from tests.serving.crawl import crawl, csrf_of
from tests.serving.html_text import one_line
from tests.serving.students.test_decisions import model

__all__ = ["model"]
THREAT = "A neighbour saw them leave with a stranger at noon"
REASON = "The other places they go to are where to look first"


def fields(browser: httpx2.Client, **changes: object) -> dict[str, object]:
    return {
        "csrf": csrf_of(browser.get("/agreements")),
        "categories": ["services_other"],
        "threat": THREAT,
        "reason": REASON,
        "hours": "2",
    } | changes


def opened(site: TestSite, student: str = "s05", **changes: object) -> httpx2.Response:
    """The tutors' caseworker opens the pantry's sessions of a student of theirs."""
    browser, handle = site.browser("caseworker"), site.handle("caseworker", student)
    return browser.post(f"/students/{handle}/emergency", data=fields(browser, **changes))


def opened_by_district(site: TestSite, student: str, who: str, *categories: str) -> httpx2.Response:
    browser = site.browser("district_admin")
    person = active_staff_member(site.database, STAFF[who][0]).user_id
    return browser.post(
        "/emergencies",
        data=fields(
            browser,
            categories=list(categories),
            person=person,
            student=site.handle("district_admin", student),
        ),
    )


def test_it_opens_what_was_asked_says_so_and_closes_at_its_minute(site: TestSite):  # R30
    path = f"/students/{site.handle('caseworker', 's05')}"
    browser = site.browser("caseworker")
    before = one_line(browser.get(path).text)
    assert "Weekend bags" not in before and f'href="{path}/emergency"' in before
    assert "Other partners&#39; services" in one_line(browser.get(f"{path}/emergency").text)
    response = opened(site)
    assert (response.status_code, response.headers["location"]) == (303, path)
    page = one_line(browser.get(path).text)
    assert "Weekend bags" in page
    assert (
        "Open for an emergency until April 17, 2026, 12:30 PM: other partners&#39; services" in page
    )
    assert "The district has been notified" in page
    assert (
        "Shared with Staff caseworker, Tutors under agreement a1 and for a health or safety"
        " emergency (34 CFR 99.36) on April 17, 2026, 10:30 AM." in page
    )
    assert "Disruption" not in page and "Housing" not in page
    other = one_line(browser.get(f"/students/{site.handle('caseworker', 's06')}").text)
    assert "Weekend bags" not in other and "emergency (34" not in other, "only this student"
    for colleague in ("coordinator", "partner_admin"):
        assert "Weekend bags" not in one_line(site.browser(colleague).get(path).text), (
            "only this person"
        )
    site.clock[0] = NOW + timedelta(hours=2, seconds=-1)
    browser = site.browser("caseworker")
    assert "Weekend bags" in one_line(browser.get(path).text)
    site.clock[0] += timedelta(seconds=1)
    after = one_line(browser.get(path).text)
    assert "Weekend bags" not in after and "Open for an emergency" not in after


def test_its_looks_stand_on_its_own_ground_and_the_family_reads_them(
    site: TestSite,
):  # R23, R30, 99.32(a)(5)
    opened(site)
    handle = site.handle("caseworker", "s05")
    for path in (f"/students/{handle}", f"/api/v1/students/{handle}"):
        before = len(site.log())
        answer = site.browser("caseworker").get(path)
        assert "Weekend bags" in one_line(
            answer.text
        ) and "for a health or safety emergency (34 CFR 99.36)" in one_line(answer.text)
        agreed, urgent = site.log()[before:]
        assert (agreed.agreement_id, agreed.legal_basis) == ("a1", "school_official")
        assert "services_other" not in agreed.categories
        assert (urgent.agreement_id, urgent.categories) == ("emergency-1", {"services_other"})
        assert urgent.law_requires
    browser = site.browser("district_admin")
    report = one_line(
        browser.get(f"/students/{site.handle('district_admin', 's05')}/disclosures").text
    )
    assert "emergency (34 CFR 99.31(a)(10) and 99.36)" in report
    for said in (
        "The emergency of April 17, 2026, 10:30 AM",
        f"Threat identified: {THREAT}.",
        REASON,
        "Staff caseworker of Tutors could read: other partners&#39; services",
    ):
        assert said in report, said
    assert "Views</dt><dd>2 views" in one_line(browser.get("/emergencies").text)


def test_the_district_is_told_on_every_page_until_it_has_seen_it(site: TestSite):  # R30
    browser = site.browser("district_admin")
    assert "Notices</a>" in one_line(browser.get("/agreements").text)
    opened(site)
    assert "Notices (1)</a>" in one_line(
        browser.get("/agreements").text
    ) and "Notices (1)</a>" in one_line(browser.get("/students").text)
    page = one_line(browser.get("/notices").text)
    assert (
        "Staff caseworker of Tutors opened parts of a student&#39;s record for an emergency, until"
        " 12:30 on 17 April." in page
    )
    assert not re.search(r"Given|Lastname|stranger|\bs05\b", page)
    response = browser.post("/notices/1/seen", data={"csrf": csrf_of(browser.get("/notices"))})
    assert response.status_code == 303
    assert "Notices</a>" in one_line(browser.get("/agreements").text)
    assert "seen by Staff district_admin" in one_line(browser.get("/notices").text)
    for who in ("caseworker", "equity_reviewer", "data_scientist"):
        assert "Notices" not in one_line(site.browser(who).get("/agreements").text)


def test_without_its_notice_nothing_opens(site: TestSite):  # R30
    with site.database.engine.begin() as connection:
        connection.execute(
            text(
                "CREATE TRIGGER closed BEFORE INSERT ON notices BEGIN SELECT RAISE(ABORT,"
                " 'no'); END"
            )
        )
    assert opened(site).status_code == 500
    assert emergencies(site.database) == []
    path = f"/students/{site.handle('caseworker', 's05')}"
    assert "Weekend bags" not in one_line(site.browser("caseworker").get(path).text)


@pytest.mark.parametrize(
    ("change", "status", "said"),
    [
        *(
            ({"categories": [str(one)]}, 422, "Emergency access does not include")
            for one in sorted(set(Category) - REQUESTABLE_CATEGORIES)
        ),
        ({"threat": "bad things"}, 422, "what is happening in at least 20 characters"),
        ({"reason": ""}, 422, "at least 20 characters why these parts"),
        ({"hours": "4.5"}, 422, "at most 4 hours"),
        ({"categories": []}, 422, "which parts"),
        ({"categories": ["grades"]}, 422, "already, without an emergency"),
        ({"hours": "nan"}, 422, "at most 4 hours"),
        ({"categories": ["everything"]}, 422, "Something is missing"),
        ({"approved_by": "me"}, 422, "Something is missing"),
        ({"csrf": "x"}, 403, "form cannot be used"),
    ],
)
def test_what_lacks_something_opens_nothing(
    site: TestSite, change: dict[str, object], status: int, said: str
):  # R30
    response = opened(site, **change)
    assert response.status_code == status and said in one_line(response.text)
    assert emergencies(site.database) == []


def test_suggestions_alerts_and_lists_stay_as_they_were(site: TestSite, model: object):  # R1, R5
    """An emergency opens a record to be read. What the model and the alerts rest on is what
    agreements open.
    """
    site.app.state.site.approved_models = SimpleNamespace(
        model=lambda now: (model, ""), challenger=lambda now: None
    )
    with site.database.engine.begin() as connection:
        connection.execute(text("DELETE FROM agreement_terms"))
        connection.execute(text("DELETE FROM agreements WHERE agreement_id = 'a1'"))
    add_agreement(
        site.database,
        categories=["directory", "services"],
        supports=["tutoring", "mentoring", "food"],
    )
    browser, handle = site.browser("caseworker"), site.handle("caseworker", "s01")
    paths = [
        "/caseload",
        "/caseload?sort=name",
        "/api/v1/students",
        f"/api/v1/students/{handle}/alerts",
        f"/api/v1/students/{handle}/suggestions",
    ]
    before = {path: browser.get(path).content for path in paths}
    shown = one_line(browser.get(f"/students/{handle}").text)
    assert "Suggested supports" in shown and "Act now" not in shown and "Mathematics" not in shown
    assert (
        opened(site, "s01", categories=["attendance", "grades", "assessments"]).status_code == 303
    )
    assert {path: browser.get(path).content for path in paths} == before
    page = one_line(browser.get(f"/students/{handle}").text)
    assert (
        "Mathematics" in page
        and "Reading benchmark" in page
        and "Attendance this school year" in page
    )
    for heading in ("What stands out", "Act now"):
        assert heading not in page
    supports = re.compile(r'<section aria-labelledby="supports">.*?</section>', re.S)
    assert supports.findall(page) == supports.findall(shown) != []
    assert "Act now" in one_line(site.browser("district_admin").get("/students").text), (
        "there is something to be alerted to"
    )


def test_a_student_whom_only_an_emergency_opens_is_on_a_page_of_their_own(
    site: TestSite,
):  # R3, R30
    assert (
        opened_by_district(site, "s12", "coordinator", "directory", "attendance").status_code == 303
    )
    browser, handle = site.browser("coordinator"), site.handle("coordinator", "s12")
    listed = one_line(browser.get("/caseload").text)
    assert "Given11" not in listed
    assert "You have emergency access to a record until April 17, 2026, 12:30 PM." in listed
    assert f'href="/students/{handle}"' in listed
    page = one_line(browser.get(f"/students/{handle}").text)
    assert "Given11" in page and "Attendance this school year" in page and "Mathematics" not in page
    assert "Suggested supports" not in page and "What stands out" not in page
    assert (
        "Shared with Staff coordinator, Tutors for a health or safety emergency (34 CFR 99.36)"
        in page
    )
    assert browser.get(f"/api/v1/students/{handle}").json()["name"] == "Given11 Lastname11"
    assert all(
        one["handle"] != handle for one in browser.get("/api/v1/students").json()["students"]
    )
    for end in ("/alerts", "/suggestions"):
        assert browser.get(f"/api/v1/students/{handle}{end}").status_code == 404
    for end in ("/emergency", "/disclosures", "/suggestions/tutoring"):
        assert browser.post(f"/students/{handle}{end}").status_code in (404, 405)
    assert site.browser("caseworker").get(f"/students/{handle}").status_code == 404
    site.clock[0] = NOW + timedelta(hours=2)
    browser = site.browser("coordinator")
    gone, never = browser.get(f"/students/{handle}"), browser.get("/students/" + "0" * 20)
    assert (
        (gone.status_code, gone.content)
        == (never.status_code, never.content)
        == (404, never.content)
    )


def test_a_name_stays_closed_where_the_emergency_does_not_open_it(site: TestSite):  # R30
    opened_by_district(site, "s12", "pantry", "attendance")
    page = one_line(site.browser("pantry").get(f"/students/{site.handle('pantry', 's12')}").text)
    assert "Name not shared" in page and "Given11" not in page and "Hill School" not in page


def test_whoever_opened_it_and_the_district_end_it_at_once(site: TestSite):  # R30
    opened(site)
    path = f"/students/{site.handle('caseworker', 's05')}"
    browser = site.browser("caseworker")
    page = browser.get(path)
    response = browser.post(f"{path}/emergency/end", data={"csrf": csrf_of(page)})
    assert (response.status_code, response.headers["location"]) == (303, path)
    assert "Weekend bags" not in one_line(browser.get(path).text)
    opened_by_district(site, "s05", "caseworker", "services_other")
    page = browser.get(path)
    assert "Weekend bags" in one_line(
        page.text
    ) and "End the emergency access I opened" not in one_line(page.text)
    browser.post(f"{path}/emergency/end", data={"csrf": csrf_of(page)})
    assert "Weekend bags" in one_line(browser.get(path).text), "the district opened it"
    admin = site.browser("district_admin")
    token = {"csrf": csrf_of(admin.get("/emergencies"))}
    assert admin.post("/emergencies/2/end", data=token).headers["location"] == "/emergencies"
    assert "Weekend bags" not in one_line(browser.get(path).text)
    again = admin.post("/emergencies/2/end", data=token)
    assert again.status_code == 409 and "This emergency is over" in one_line(again.text)


def test_the_districts_report_says_who_saw_whom_and_on_account_of_what(
    site: TestSite,
):  # R30, 99.32(a)(5)
    opened(site, threat=f"{THREAT} <script>alert(1)</script>")
    browser = site.browser("district_admin")
    before = len(site.log())
    page = one_line(browser.get("/emergencies").text)
    for said in (
        "Given04 Lastname04",
        "Staff caseworker, Tutors",
        "Other partners&#39; services",
        THREAT,
        REASON,
        "April 17, 2026, 10:30 AM to April 17, 2026, 12:30 PM",
        "Open now",
        "Views</dt><dd>0 views",
    ):
        assert said in page, said
    assert "<script" not in page
    assert [(row.student_id, row.route) for row in site.log()[before:]] == [("s05", "/emergencies")]
    assert "Shown to Staff district_admin" in page


def test_the_district_opens_for_partners_staff_alone(site: TestSite):  # R13
    for who in ("evaluator", "equity_reviewer", "district_admin"):
        refused = opened_by_district(site, "s12", who, "attendance")
        assert refused.status_code == 422 and "somebody active at a partner" in one_line(
            refused.text
        )
    browser = site.browser("district_admin")
    person = active_staff_member(site.database, STAFF["pantry"][0]).user_id
    refused = browser.post("/emergencies", data=fields(browser, person=person, student="0" * 20))
    assert refused.status_code == 422 and "No student has this ID or page code" in one_line(
        refused.text
    )
    assert emergencies(site.database) == []


def test_a_record_under_a_hold_is_opened_by_the_district_alone(site: TestSite):  # R12, R29
    admin = active_staff_member(site.database, STAFF["district_admin"][0])
    path = f"/students/{site.handle('caseworker', 's05')}"
    scope = scope_for(admin, site.database, Snapshot.current(site.home), NOW, SECRET)
    place_hold(site.database, scope, "s05", "A lawsuit", NOW)
    browser = site.browser("caseworker")
    assert browser.get(path).status_code == 404
    assert browser.post(f"{path}/emergency", data=fields(browser)).status_code == 404
    opened_by_district(site, "s05", "caseworker", "directory", "attendance")
    assert "Given04" in one_line(browser.get(path).text)


def test_nothing_of_another_organizations_emergency_reaches_a_partner(site: TestSite):  # R1
    before = {path: page.content for path, page in crawl(site.browser("pantry")).items()}
    opened(site)
    opened_by_district(site, "s05", "coordinator", "attendance")
    after = {path: page.content for path, page in crawl(site.browser("pantry")).items()}
    assert {re.sub(rb'name="csrf" value="[^"]+"', b"", page) for page in after.values()} == {
        re.sub(rb'name="csrf" value="[^"]+"', b"", page) for page in before.values()
    }
