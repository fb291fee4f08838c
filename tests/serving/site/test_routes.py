"""Who may open what: every route of the site is in this table, or the test fails."""

from __future__ import annotations

import re
from collections.abc import Iterator

import pytest
from starlette.routing import BaseRoute

from records.canonical.schema import CONSENT_CATEGORIES, Category
from records.permissions.agreements import parse_agreement, save_agreement
from tests.records.conftest import add_consent, agreement_text
from tests.serving.conftest import STAFF, TestSite
from tests.serving.crawl import crawl
from tests.serving.district import CANARY

EVERYBODY = frozenset(STAFF)
PARTNERS = frozenset({"caseworker", "coordinator", "partner_admin", "pantry", "evaluator"})
ADMIN = frozenset({"district_admin"})
PLANNERS = frozenset({"caseworker", "pantry", "evaluator"})
AUDITORS = frozenset({"district_admin", "equity_reviewer", "data_scientist"})
SEES_S01 = frozenset({"caseworker", "coordinator", "partner_admin", "district_admin"})
NOBODY: frozenset[str] = frozenset()
OPEN = "without signing in"

ROUTES: dict[tuple[str, str], frozenset[str] | str] = {
    ("GET", "/"): EVERYBODY,
    ("GET", "/sign-in"): OPEN,
    ("POST", "/sign-in"): OPEN,
    ("POST", "/sign-out"): EVERYBODY,
    ("GET", "/caseload"): PARTNERS,
    ("GET", "/places"): PLANNERS,
    ("GET", "/students"): ADMIN,
    ("GET", "/students/{handle}"): SEES_S01,
    ("POST", "/students/{handle}/suggestions/{support}"): SEES_S01,
    ("GET", "/students/{handle}/disclosures"): ADMIN,
    ("GET", "/students/{handle}/disclosures.pdf"): ADMIN,
    ("GET", "/students/{handle}/disclosures.csv"): ADMIN,
    ("GET", "/agreements"): EVERYBODY,
    ("GET", "/agreements/explain"): ADMIN,
    ("GET", "/agreements/{agreement_id}"): SEES_S01 | AUDITORS,
    ("GET", "/agreements/{agreement_id}.txt"): SEES_S01 | AUDITORS,
    ("GET", "/consents"): ADMIN,
    ("GET", "/consents/{handle}"): ADMIN,
    ("POST", "/consents/{handle}"): ADMIN,
    ("POST", "/consents/{handle}/revoke"): ADMIN,
    ("POST", "/consents/{handle}/opt-out"): ADMIN,
    ("POST", "/consents/{handle}/opt-out/end"): ADMIN,
    ("GET", "/disclosures"): ADMIN,
    ("GET", "/matches"): ADMIN,
    ("POST", "/matches"): ADMIN,
    ("POST", "/matches/look-up"): ADMIN,
    ("POST", "/matches/undo"): ADMIN,
    ("GET", "/audits"): AUDITORS,
    ("GET", "/audits/findings.css"): AUDITORS,
    ("GET", "/audits/compare"): AUDITORS,
    ("GET", "/audits/{version}"): NOBODY,
    ("POST", "/audits/{version}"): frozenset({"equity_reviewer"}),
    ("GET", "/audits/{version}/chart.svg"): NOBODY,
    ("GET", "/audits/{version}/chart-narrow.svg"): NOBODY,
    ("GET", "/audits/{version}/curves.svg"): NOBODY,
    ("GET", "/audits/{version}/report.html"): NOBODY,
    ("GET", "/audits/{version}/report.pdf"): NOBODY,
    ("GET", "/audits/{version}/audit.json"): NOBODY,
    ("GET", "/drift"): AUDITORS,
    ("GET", "/effects"): AUDITORS,
    ("POST", "/effects/costs"): ADMIN,
    ("GET", "/data"): frozenset({"district_admin", "data_scientist"}),
    ("POST", "/data/confirm"): ADMIN,
    ("POST", "/data/confirm/take-back"): ADMIN,
    ("GET", "/data/quarantine.csv"): ADMIN,
    ("GET", "/students/{handle}/emergency"): frozenset({"caseworker"}),
    ("POST", "/students/{handle}/emergency"): frozenset({"caseworker"}),
    ("POST", "/students/{handle}/emergency/end"): frozenset({"caseworker"}),
    ("GET", "/emergencies"): ADMIN,
    ("POST", "/emergencies"): ADMIN,
    ("POST", "/emergencies/{number}/end"): ADMIN,
    ("GET", "/demands"): ADMIN,
    ("POST", "/demands"): ADMIN,
    ("GET", "/demands/new"): ADMIN,
    ("GET", "/demands/{number}"): NOBODY,
    ("POST", "/demands/{number}"): NOBODY,
    ("POST", "/demands/{number}/notice"): NOBODY,
    ("POST", "/demands/{number}/release"): NOBODY,
    ("POST", "/holds"): ADMIN,
    ("POST", "/holds/{number}/lift"): ADMIN,
    ("GET", "/notices"): ADMIN,
    ("POST", "/notices/{number}/seen"): ADMIN,
    ("GET", "/retention"): ADMIN,
    ("GET", "/retention/certificates/{number}"): NOBODY,
    ("GET", "/retention/certificates/{number}.json"): NOBODY,
    ("GET", "/api/v1/openapi.json"): EVERYBODY,
    ("GET", "/api/v1/me"): EVERYBODY,
    ("GET", "/api/v1/students"): EVERYBODY,
    ("GET", "/api/v1/students/{handle}"): SEES_S01,
    ("GET", "/api/v1/students/{handle}/alerts"): SEES_S01,
    ("GET", "/api/v1/students/{handle}/suggestions"): SEES_S01,
    ("POST", "/api/v1/students/{handle}/suggestions/{support}/decisions"): SEES_S01,
    ("GET", "/api/v1/agreements"): EVERYBODY,
    ("GET", "/api/v1/disclosures"): ADMIN,
    ("GET", "/api/v1/audits"): AUDITORS,
}
"""Who finds something there, asked of student s01, agreement a1 and a version that is not
registered; an empty form is refused only after that."""
MALFORMED = ["0" * 20, "' OR 1=1 --", "s01", "%F0%9F%92%A9", "9" * 300]


def routes_of(routes: list[BaseRoute]) -> Iterator[tuple[str, str]]:
    for route in routes:
        included = getattr(route, "original_router", None)
        if included is not None:
            yield from routes_of(included.routes)
        for method in getattr(route, "methods", None) or ():
            yield method, str(getattr(route, "path", ""))


def test_every_route_is_in_the_table(site: TestSite):  # R2
    assert set(routes_of(site.app.routes)) == set(ROUTES)


@pytest.mark.parametrize("who", sorted(STAFF))
def test_each_account_finds_what_the_table_says(site: TestSite, who: str):  # R2
    browser = site.browser(who)
    handle = site.handle(who, "s01") if who in SEES_S01 else "0" * 20
    for (method, path), allowed in ROUTES.items():
        if allowed == OPEN or path == "/sign-out":
            continue
        asked = path.format(
            handle=handle, support="tutoring", agreement_id="a1", version=7, number=7
        )
        status = browser.request(method, asked).status_code
        assert (status != 404) == (who in allowed), (method, path, status)
        if method == "GET" and who in allowed:
            assert status in (200, 303), (path, status)


def test_a_malformed_handle_is_not_found_for_anybody(site: TestSite):  # R2
    for who in STAFF:
        browser = site.browser(who)
        for method, path in ROUTES:
            if "{handle}" in path:
                for handle in MALFORMED:
                    asked = path.format(handle=handle, support="tutoring")
                    assert browser.request(method, asked).status_code == 404, (who, asked)


def test_nothing_is_open_to_somebody_who_is_not_signed_in(site: TestSite):  # R2
    browser = site.browser()
    for (method, path), allowed in ROUTES.items():
        if allowed != OPEN:
            asked = path.format(
                handle="0" * 20, support="tutoring", agreement_id="a1", version=7, number=7
            )
            response = browser.request(method, asked)
            assert response.status_code == (401 if path.startswith("/api/") else 303), (
                method,
                path,
            )
            if response.status_code == 303:
                assert response.headers["location"].startswith("/sign-in")


@pytest.mark.parametrize("basis", ["audit_evaluation", "studies"])
def test_who_comes_to_evaluate_or_for_a_study_finds_no_single_student_on_any_route(  # R9, R13
    site: TestSite, basis: str
):
    handles = {
        who: site.handle(who, "s01") for who in ("caseworker", "coordinator", "partner_admin")
    }
    assert all(
        site.browser(who).get(f"/students/{handle}").status_code == 200
        for who, handle in handles.items()
    )
    text = agreement_text(
        legal_basis=basis,
        supports=[],
        categories=[*Category],
        consent_required=sorted(CONSENT_CATEGORIES),
    )
    save_agreement(site.database, parse_agreement(text.replace("version = 1", "version = 2"), "a1"))
    add_consent(site.database, "s01", *Category)
    for who, handle in handles.items():
        browser = site.browser(who)
        for method, path in ROUTES:
            if "{handle}" in path:
                asked = browser.request(method, path.format(handle=handle, support="tutoring"))
                assert asked.status_code == 404, (who, method, path)
        pages = crawl(browser)
        told = " ".join(
            page.text for path, page in pages.items() if not path.startswith("/agreements")
        )
        assert not any(path.startswith("/students/") for path in pages)
        assert CANARY not in told and not COUNTED.search(told), who
        assert browser.get("/api/v1/students").json()["students"] == []


COUNTED = re.compile(r"[1-9][0-9]* (of [0-9]+ )?(students|children)")
"""A number of students: nobody who may see no student is told how many there are of any kind."""


@pytest.mark.parametrize("who", ["caseworker", "coordinator", "partner_admin", "pantry"])
def test_no_page_of_a_partner_counts_students_by_what_needs_a_familys_consent(
    site: TestSite, who: str
):  # R9, R10
    text = agreement_text(categories=[*Category], consent_required=sorted(CONSENT_CATEGORIES))
    save_agreement(site.database, parse_agreement(text.replace("version = 1", "version = 2"), "a1"))
    for student in ("s01", "s02"):
        add_consent(site.database, student, *Category)
    browser = site.browser(who)
    for path in crawl(browser):
        if path.startswith(("/students/", "/agreements", "/api/")):
            continue  # one student's own record; the text of an agreement
        page = browser.get(path).text.lower()
        for word in ("housing", "free or reduced", "meal", "iep", "504"):
            assert word not in page, (path, word)
