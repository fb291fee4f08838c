"""Headers, sessions, foreign requests, extra fields."""

from __future__ import annotations

import re
from datetime import timedelta
from pathlib import Path

import pytest

from serving.app import SiteConfig, create_app
from serving.site.security import safe_redirect_path
from tests.serving.conftest import NOW, PASSWORD, SECRET, STAFF, TestSite
from tests.serving.crawl import Page, crawl, csrf_of

LOGIN = STAFF["caseworker"][0]
FOREIGN = re.compile(r"(?:href|src|action)=\"(?:https?:)?//|url\(|@import|<script|javascript:")


def sign_in(browser, password: str = PASSWORD, login: str = LOGIN, **more: str):
    return browser.post("/sign-in", data={"login": login, "password": password, **more})


@pytest.mark.parametrize("who", [None, *STAFF])
def test_every_answer_has_every_header_and_asks_nothing_of_another_site(
    site: TestSite, who: str | None
):  # R49
    browser = site.browser(who)
    others = ("/sign-in", "/none", "/api/v1/me", "/caseload?page=x")
    pages = crawl(browser) | {path: browser.get(path) for path in others}
    for path, response in pages.items():
        headers = response.headers
        assert headers["content-security-policy"].startswith("default-src 'self';"), path
        assert "unsafe" not in headers[
            "content-security-policy"
        ] and "frame-ancestors 'none'" in str(headers), path
        assert (
            headers["x-content-type-options"] == "nosniff"
            and headers["referrer-policy"] == "no-referrer"
        ), path
        assert headers["strict-transport-security"].startswith("max-age=31536000"), path
        assert (
            headers["cross-origin-opener-policy"] == "same-origin"
            and "permissions-policy" in headers
        ), path
        assert headers["cache-control"] == "no-store", path
        if headers.get("content-type", "").startswith("text/html"):
            assert not FOREIGN.search(response.text), path
            for tag, attributes in Page(response.text).tags:
                assert not any(name == "style" or name.startswith("on") for name in attributes), (
                    path,
                    tag,
                )


def test_no_file_of_the_site_names_another_site():  # R49
    for file in Path("serving").rglob("*"):
        if file.suffix in (".css", ".html", ".js", ".svg"):
            text = file.read_text().replace("http://www.w3.org/2000/svg", "")
            assert not re.search(r"https?://|url\(|@import", text), file


def test_static_files_may_be_kept(site: TestSite):
    response = site.browser().get("/static/site.css")
    assert response.status_code == 200 and response.headers["cache-control"].startswith("public")
    assert site.browser().get("/static/none.css").headers["cache-control"] == "no-store"


@pytest.mark.parametrize(
    "headers",
    [
        {"Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "same-site"},
        {"Origin": "https://elsewhere.example"},
        {"Origin": "null"},
    ],
)
def test_a_change_asked_for_by_another_site_is_refused(
    site: TestSite, headers: dict[str, str]
):  # R46
    browser = site.browser("caseworker")
    csrf = csrf_of(browser.get("/caseload"))
    assert browser.post("/sign-out", data={"csrf": csrf}, headers=headers).status_code == 403
    assert browser.get("/caseload").status_code == 200
    response = browser.post(
        "/sign-in", data={"login": LOGIN, "password": PASSWORD}, headers=headers
    )
    assert response.status_code == 403 and "set-cookie" not in response.headers
    assert browser.post("/api/v1/none", headers=headers).status_code == 403


def test_the_sites_own_forms_are_let_through_though_no_referrer_makes_their_origin_null(
    site: TestSite,
):  # R46
    browser = site.browser("caseworker")
    headers = {"Origin": "null", "Sec-Fetch-Site": "same-origin"}
    assert (
        browser.post(
            "/sign-out", data={"csrf": csrf_of(browser.get("/caseload"))}, headers=headers
        ).status_code
        == 303
    )


def test_a_form_needs_the_token_of_its_own_session(site: TestSite):  # R46
    browser = site.browser("caseworker")
    other = csrf_of(site.browser("caseworker").get("/caseload"))
    for token in ("x", other):
        assert browser.post("/sign-out", data={"csrf": token}).status_code == 403
    assert browser.get("/caseload").status_code == 200


def test_no_get_changes_anything_but_the_log(site: TestSite):  # R46
    def stored() -> list[list[tuple[object, ...]]]:
        with site.database.engine.connect() as connection:
            tables = (
                "agreements",
                "staff",
                "consents",
                "opt_outs",
                "decisions",
                "signoffs",
                "organizations",
                "web_sessions",
                "sign_in_attempts",
            )
            return [
                [tuple(row) for row in connection.exec_driver_sql(f"SELECT * FROM {table}")]  # noqa: S608
                for table in tables
            ]

    browser = site.browser("district_admin")
    before = stored()
    crawl(browser)
    assert stored() == before


def test_extra_fields_are_refused_and_change_nothing(site: TestSite):  # R21
    browser = site.browser("caseworker")
    assert sign_in(browser, role="district_admin").status_code == 422
    csrf = csrf_of(browser.get("/caseload"))
    assert browser.post("/sign-out", data={"csrf": csrf, "org": "district"}).status_code == 422
    assert browser.get("/caseload").status_code == 200


def test_a_new_session_at_each_sign_in_and_the_old_one_is_dead(site: TestSite):  # R44
    browser = site.browser()
    first = sign_in(browser).cookies["handrail"]
    second = sign_in(browser).cookies["handrail"]
    assert first != second
    browser.cookies.clear()
    browser.cookies.set("handrail", first)
    assert browser.get("/caseload").status_code == 303


def test_a_session_ends_at_sign_out_on_the_server_too(site: TestSite):  # R44
    browser = site.browser("caseworker")
    token = browser.cookies["handrail"]
    response = browser.post("/sign-out", data={"csrf": csrf_of(browser.get("/caseload"))})
    assert (response.status_code, response.headers["location"]) == (303, "/sign-in")
    browser.cookies.clear()
    browser.cookies.set("handrail", token)
    assert browser.get("/caseload").status_code == 303
    assert browser.get("/api/v1/me").status_code == 401


def test_a_session_ends_when_it_is_not_used(site: TestSite):  # R44
    browser = site.browser("caseworker")
    site.clock[0] = NOW + timedelta(minutes=31)
    assert browser.get("/caseload").headers["location"] == "/sign-in?next=/caseload"


def test_the_cookie_is_out_of_reach_of_scripts_and_other_sites(
    site: TestSite, tmp_path: Path
):  # R45
    plain = sign_in(site.browser()).headers["set-cookie"]
    assert (
        plain.startswith("handrail=")
        and "HttpOnly" in plain
        and "SameSite=lax" in plain
        and "Path=/" in plain
    )
    config = SiteConfig(site.home, site.database, SECRET, lambda: NOW, secure_cookies=True)
    from fastapi.testclient import TestClient

    secure = sign_in(
        TestClient(create_app(config), base_url="https://testserver", follow_redirects=False)
    )
    cookie = secure.headers["set-cookie"]
    assert cookie.startswith("__Host-handrail=") and "Secure" in cookie and "Domain" not in cookie


def test_wrong_login_and_wrong_password_are_told_alike(site: TestSite):  # R48
    browser = site.browser()
    wrong = (
        sign_in(browser, "not the password"),
        sign_in(browser, PASSWORD, "nobody@tutors.example"),
    )
    assert [response.status_code for response in wrong] == [401, 401]
    texts = [
        response.text.replace(login, "LOGIN")
        for response, login in zip(wrong, (LOGIN, "nobody@tutors.example"), strict=True)
    ]
    assert texts[0] == texts[1] and "not the password" not in texts[0]


def test_guessing_is_slowed_down(site: TestSite):  # R48
    browser = site.browser()
    for _ in range(6):
        assert sign_in(browser, "not the password").status_code == 401
    assert sign_in(browser).status_code == 401
    site.clock[0] = NOW + timedelta(minutes=2)
    assert sign_in(browser).status_code == 303


def test_signing_in_leads_back_to_this_site_only(site: TestSite):
    browser = site.browser()
    assert browser.get("/agreements").headers["location"] == "/sign-in?next=/agreements"
    assert sign_in(browser, next="/agreements").headers["location"] == "/agreements"
    for foreign in (
        "https://elsewhere.example/",
        "//elsewhere.example",
        "/\\elsewhere.example",
        "javascript:x",
        "x",
        "/\t/elsewhere.example",
        "///elsewhere.example",
    ):
        assert safe_redirect_path(foreign) == "/"


def test_without_records_the_site_says_so(site: TestSite):
    browser = site.browser("caseworker")
    (site.home / "snapshots" / "CURRENT").unlink()
    response = browser.get("/caseload")
    assert response.status_code == 503 and "No records are loaded yet" in response.text
