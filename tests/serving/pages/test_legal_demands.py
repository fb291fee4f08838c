"""Legal demands and holds on the site: refused by default, two people, one student, and no way for
a partner.
"""

from __future__ import annotations

import csv
import hashlib
import io
import re
import zipfile
from datetime import timedelta

import httpx2
import pytest
from sqlalchemy import text

from records.legal_demands.legal_demands import RELEASE_DAYS, demands, events
from records.legal_demands.legal_documents import NOTICE_DAYS
from records.permissions import legal_holds
from records.staff.accounts import add_staff
from records.staff.sessions import start_session
from records.staff.viewer import DISTRICT, Role
from tests.records.conftest import snapshot_of
from tests.serving import district
from tests.serving.conftest import NOW, PASSWORD, STAFF, TestSite
from tests.serving.crawl import crawl, csrf_of
from tests.serving.html_text import one_line

PARTNERS = ("caseworker", "coordinator", "partner_admin", "pantry", "evaluator")
TOLD = (NOW - timedelta(days=NOTICE_DAYS)).date().isoformat()


@pytest.fixture
def second(site: TestSite) -> httpx2.Client:
    """Another district administrator."""
    viewer = add_staff(
        site.database, "second@district.example", "Second", Role.DISTRICT_ADMIN, DISTRICT, PASSWORD
    )
    browser = site.browser()
    browser.cookies.set("handrail", start_session(site.database, viewer, NOW))
    return browser


@pytest.fixture
def first(site: TestSite) -> httpx2.Client:
    return site.browser("district_admin")


def send(browser: httpx2.Client, path: str, **fields: object) -> httpx2.Response:
    return browser.post(path, data={"csrf": csrf_of(browser.get("/agreements"))} | fields)


def written_down(site: TestSite, browser: httpx2.Client, **changes: object) -> httpx2.Response:
    """A subpoena about s01 that came long enough ago."""
    asked: dict[str, object] = {
        "student": site.handle("district_admin", "s01"),
        "kind": "subpoena",
        "issuer": "County court, 26-118",
        "received_on": TOLD,
        "of_court": "true",
        "categories": ["attendance", "grades"],
        "reason": "By post",
    }
    return send(browser, "/demands", **(asked | changes))


def approved(site: TestSite, first: httpx2.Client, second: httpx2.Client, **changes: object) -> str:
    """The path of a demand that the family was told of, one proposed and the other approved."""
    path = written_down(site, first, **changes).headers["location"]
    assert send(first, f"{path}/notice", told_on=TOLD, reason="By letter").status_code == 303
    assert send(first, path, decision="propose", reason="Counsel has read it").status_code == 303
    assert send(second, path, decision="approve", reason="I have too").status_code == 303
    return path


def files_of(response: httpx2.Response) -> dict[str, list[list[str]]]:
    with zipfile.ZipFile(io.BytesIO(response.content)) as archive:
        return {
            name: list(csv.reader(io.StringIO(archive.read(name).decode("utf-8-sig"))))
            for name in archive.namelist()
        }


def test_what_is_written_down_is_refused_and_says_what_the_paper_can_compel(
    site: TestSite, first: httpx2.Client
):  # R28
    response = written_down(site, first)
    assert (response.status_code, response.headers["location"]) == (303, "/demands/1")
    page = one_line(first.get("/demands/1").text)
    assert "Refused" in page and "It can compel the records that it names" in page
    assert (
        "The family has not been notified" in page
        and "Quillfeather" in page
        and "Shown to Staff district_admin" in page
    )
    assert (
        "Recorded and refused</strong> by Staff district_admin on April 17, 2026, 10:30 AM" in page
    )
    listed = one_line(first.get("/demands").text)
    assert "Demand 1" in listed and "County court, 26-118" in listed
    assert all(row.student_id == "s01" for row in site.log())


def test_two_people_release_one_student_and_the_parts_that_the_paper_names(  # R23, R27, R28
    site: TestSite, first: httpx2.Client, second: httpx2.Client
):
    path = approved(site, first, second)
    before = len(site.log())
    response = send(second, f"{path}/release", reason="To the clerk, by hand")
    assert response.status_code == 200 and response.headers["content-type"] == "application/zip"
    assert response.headers["content-disposition"] == 'attachment; filename="legal-demand-1.zip"'
    files = files_of(response)
    assert set(files) == {"attendance_events.csv", "course_grades.csv", "READ-ME.txt"}
    rows = district.rows()
    for name in ("attendance_events", "course_grades"):
        (terms,), header, *lines = files[f"{name}.csv"]
        assert terms.startswith(
            "# Released by Second, The District, on April 17, 2026, 10:30 AM to answer legal"
            " demand 1"
        )
        assert "(34 CFR 99.33)" in terms
        expected = [row for row in rows[name] if row["student_id"] == "s01"]
        assert sorted(lines) == sorted(
            [str(row.get(column, "")) for column in header] for row in expected
        )
    (look,) = site.log()[before:]
    assert (
        look.student_id,
        look.agreement_id,
        look.legal_basis,
        look.categories,
        look.route,
        look.law_requires,
    ) == (
        "s01",
        "demand-1",
        "judicial_order",
        {"attendance", "grades"},
        "/demands/{number}/release",
        True,
    )
    digest = hashlib.sha256(response.content).hexdigest()
    assert [event.action for event in events(site.database, 1)] == [
        "recorded",
        "notified",
        "proposed",
        "approved",
        "released",
    ]
    assert digest in one_line(second.get(path).text) and "To the clerk, by hand" in one_line(
        second.get(path).text
    )
    report = one_line(
        first.get(f"/students/{site.handle('district_admin', 's01')}/disclosures").text
    )
    assert "34 CFR 99.31(a)(9)" in report
    assert "released the records for legal demand 1" in one_line(first.get("/notices").text)


def test_everything_that_can_be_demanded_comes_without_a_formula(  # R52
    site: TestSite, first: httpx2.Client, second: httpx2.Client
):
    rows = district.rows()
    rows["course_grades"][0]["course"] = "=HYPERLINK(1)"
    rows["behavior_incidents"][0]["days_removed"] = -1.5
    snapshot_of(rows, site.home)
    every = [
        "directory",
        "attendance",
        "grades",
        "assessments",
        "behavior",
        "special_education",
        "english_learner",
        "housing",
        "demographics",
        "services_other",
    ]
    files = files_of(
        send(second, f"{approved(site, first, second, categories=every)}/release", reason="By hand")
    )
    assert set(files) == {
        "students.csv",
        "characteristics.csv",
        "attendance_events.csv",
        "course_grades.csv",
        "assessments.csv",
        "behavior_incidents.csv",
        "service_enrollments.csv",
        "service_sessions.csv",
        "READ-ME.txt",
    }
    cells = [cell for lines in files.values() for line in lines for cell in line]
    assert "'=HYPERLINK(1)" in cells and "=HYPERLINK(1)" not in cells and "-1.5" in cells
    assert "meal_eligible" not in files["characteristics.csv"][1]
    identifiers = {
        line[0] for name, lines in files.items() if name.endswith(".csv") for line in lines[2:]
    }
    assert identifiers == {"s01"}


def test_one_person_alone_releases_nothing(
    site: TestSite, first: httpx2.Client, second: httpx2.Client
):  # R28
    path = written_down(site, first).headers["location"]
    send(first, f"{path}/notice", told_on=TOLD, reason="By letter")
    send(first, path, decision="propose", reason="Read")
    page = one_line(first.get(path).text)
    assert (
        "Another district administrator must approve it" in page and 'value="approve"' not in page
    )
    alone = send(first, path, decision="approve", reason="I agree with myself")
    assert (
        alone.status_code == 409
        and "Another district administrator must approve it" in one_line(alone.text)
    )
    for browser in (first, second):
        taken = send(browser, f"{path}/release", reason="Now")
        assert taken.status_code == 409 and "must approve it first" in one_line(taken.text)
    assert 'value="approve"' in one_line(second.get(path).text)
    assert send(second, path, decision="deny", reason="It names another child").status_code == 303
    assert send(second, path, decision="approve", reason="After all").status_code == 409
    assert demands(site.database)[0].status == "refused"
    assert all(row.legal_basis == "own_records" for row in site.log())


@pytest.mark.parametrize("kind", ["administrative", "no_paper", "parents_lawyer", "other"])
def test_a_paper_without_a_judge_cannot_be_proposed_and_the_page_says_so(  # R28
    site: TestSite, first: httpx2.Client, kind: str
):
    path = written_down(site, first, kind=kind, of_court="").headers["location"]
    page = one_line(first.get(path).text)
    assert "Nothing can be released for this kind of document" in page
    assert 'value="propose"' not in page and "Notify the family" not in page
    refused = send(first, path, decision="propose", reason="They insist")
    assert refused.status_code == 409 and "Nothing can be released" in one_line(refused.text)
    claimed = written_down(site, first, kind=kind, signed_by_judge="true")
    assert claimed.status_code == 422 and "does not come from a court" in one_line(claimed.text)
    assert len(demands(site.database)) == 1


def test_an_order_to_keep_silent_is_never_answered_from_here(site: TestSite, first: httpx2.Client):
    path = written_down(site, first).headers["location"]
    send(first, f"{path}/notice", exception="kept_secret", reason="Order of 2 April, page 2")
    refused = send(first, path, decision="propose", reason="It is urgent")
    assert refused.status_code == 409 and "Families can read the disclosure log" in one_line(
        refused.text
    )


def test_the_family_has_its_days(site: TestSite, first: httpx2.Client):  # R28
    path = written_down(site, first).headers["location"]
    send(first, f"{path}/notice", told_on=NOW.date().isoformat(), reason="By letter")
    assert "may still object" in one_line(first.get(path).text)
    assert send(first, path, decision="propose", reason="Now").status_code == 409
    site.clock[0] = NOW + timedelta(days=NOTICE_DAYS)
    assert (
        send(site.browser("district_admin"), path, decision="propose", reason="Now").status_code
        == 303
    )


def test_a_release_closes_at_its_minute(
    site: TestSite, first: httpx2.Client, second: httpx2.Client
):  # R11, R28
    path = approved(site, first, second)
    site.clock[0] = NOW + timedelta(days=RELEASE_DAYS, seconds=-1)
    assert (
        send(site.browser("district_admin"), f"{path}/release", reason="To the clerk").status_code
        == 200
    )
    site.clock[0] += timedelta(seconds=1)
    browser = site.browser("district_admin")
    assert send(browser, f"{path}/release", reason="To the clerk").status_code == 409
    assert "Approved, now expired" in one_line(browser.get(path).text)


def test_without_the_log_nothing_is_released(
    site: TestSite, first: httpx2.Client, second: httpx2.Client
):  # R23
    path = approved(site, first, second)
    token = csrf_of(first.get("/agreements"))
    with site.database.engine.begin() as connection:
        connection.execute(
            text(
                "CREATE TRIGGER closed BEFORE INSERT ON disclosures BEGIN SELECT RAISE(ABORT,"
                " 'no'); END"
            )
        )
    response = first.post(f"{path}/release", data={"csrf": token, "reason": "To the clerk"})
    assert response.status_code == 503 and b"PK" not in response.content
    assert "released" not in [event.action for event in events(site.database, 1)]


def test_two_students_are_never_released_in_one_go(
    site: TestSite, first: httpx2.Client, second: httpx2.Client
):  # R31
    handles = [site.handle("district_admin", student) for student in ("s01", "s02")]
    for student in ([*handles], " ".join(handles), ",".join(handles)):
        response = written_down(site, first, student=student)
        assert response.status_code in (303, 422)
    assert all(demand.student_id in ("s01", "s02") for demand in demands(site.database))
    path = approved(site, first, second)
    for extra in ({"student": handles[1]}, {"students": handles}, {"categories": "behavior"}):
        assert send(first, f"{path}/release", reason="All", **extra).status_code == 422
    answer = files_of(send(first, f"{path}/release", reason="All"))
    assert {
        line[0] for name, lines in answer.items() if name.endswith(".csv") for line in lines[2:]
    } == {"s01"}


def test_no_partner_finds_a_way_to_take_a_record_away(
    site: TestSite, first: httpx2.Client, second: httpx2.Client
):
    # R28, R31
    path = approved(site, first, second)
    asked = [
        ("GET", "/demands"),
        ("GET", "/demands/new"),
        ("POST", "/demands"),
        ("GET", path),
        ("POST", path),
        ("POST", f"{path}/notice"),
        ("POST", f"{path}/release"),
        ("POST", "/holds"),
        ("POST", "/holds/1/lift"),
        ("GET", "/emergencies"),
        ("POST", "/emergencies"),
        ("POST", "/emergencies/1/end"),
        ("GET", "/notices"),
        ("POST", "/notices/1/seen"),
    ]
    for who in (*PARTNERS, "equity_reviewer", "data_scientist"):
        browser = site.browser(who)
        token = {
            "csrf": csrf_of(browser.get("/agreements")),
            "reason": "Please",
            "decision": "approve",
        }
        never = browser.get("/nothing/here").content
        for method, where in asked:
            response = browser.request(method, where, data=token if method == "POST" else None)
            assert (response.status_code, response.content) == (404, never), (who, method, where)
        for where, page in crawl(browser).items():
            kind = page.headers.get("content-type", "").split(";")[0]
            assert "content-disposition" not in page.headers and kind in (
                "",
                "text/html",
                "text/plain",
            ), (who, where)
    assert [event.action for event in events(site.database, 1)][-1] == "approved"


def test_a_hold_hides_the_student_at_the_next_request_and_lifting_brings_them_back(  # R12, R29
    site: TestSite, first: httpx2.Client
):
    caseworker, path = site.browser("caseworker"), f"/students/{site.handle('caseworker', 's01')}"
    assert caseworker.get(path).status_code == 200
    code = site.handle("district_admin", "s01")
    assert (
        send(first, "/holds", student=code, reason="Lawsuit 26-77").headers["location"]
        == "/demands#holds"
    )
    assert legal_holds.in_force(site.database) == {"s01"}
    never = caseworker.get("/students/" + "0" * 20)
    assert (caseworker.get(path).status_code, caseworker.get(path).content) == (404, never.content)
    assert "Quillfeather" not in one_line(caseworker.get("/caseload").text)
    for student, reason, said in (
        (code, "Again", "under a legal hold already"),
        ("0" * 20, "x", "No student has this ID or page code"),
        (code, " ", "say why"),
    ):
        refused = send(first, "/holds", student=student, reason=reason)
        assert refused.status_code == 422 and said in one_line(refused.text)
    assert send(first, "/holds/1/lift", reason="Settled").status_code == 303
    assert caseworker.get(path).status_code == 200
    page = one_line(first.get("/demands").text)
    assert "<p>Lawsuit 26-77</p>" in page and "<p>Settled</p>" in page
    assert "Lifted by Staff district_admin on April 17, 2026" in page
    assert send(first, "/holds/1/lift", reason="Again").status_code == 422


@pytest.mark.parametrize(
    "change",
    [
        {"student": "0" * 20},
        {"kind": ""},
        {"kind": "summons"},
        {"issuer": " "},
        {"received_on": ""},
        {"received_on": "2026-04-18"},
        {"received_on": "soon"},
        {"categories": []},
        {"categories": ["meal_eligibility"]},
        {"categories": ["schedule"]},
        {"reason": " "},
        {"status": "approved"},
        {"approved_by": "me"},
    ],
)
def test_what_is_not_whole_is_not_written_down(
    site: TestSite, first: httpx2.Client, change: dict[str, object]
):  # R21
    assert written_down(site, first, **change).status_code == 422
    assert demands(site.database) == []


def test_what_was_typed_is_still_there_when_something_was_missing(
    site: TestSite, first: httpx2.Client
):
    page = one_line(
        written_down(site, first, reason=" ", issuer='"><script>alert(1)</script>').text
    )
    assert "Please give a reason" in page and "<script" not in page and "&lt;script&gt;" in page
    assert re.search(r'value="subpoena" required checked', page) and re.search(
        r'value="attendance" checked', page
    )


def test_another_sites_form_changes_nothing(
    site: TestSite, first: httpx2.Client, second: httpx2.Client
):  # R46
    path = approved(site, first, second)
    for where, fields in (
        (f"{path}/release", {}),
        (path, {"decision": "deny"}),
        (f"{path}/notice", {}),
        ("/demands", {}),
        ("/holds", {}),
        ("/holds/1/lift", {}),
    ):
        response = first.post(where, data={"csrf": "forged", "reason": "x"} | fields)
        assert response.status_code == 403, where
    assert [event.action for event in events(site.database, 1)][
        -1
    ] == "approved" and legal_holds.in_force(site.database) == frozenset()
    assert set(STAFF) >= set(PARTNERS)
