"""The Ed-Fi sample, which nobody here wrote, goes the whole way: to alerts, records and "no
suggestion yet".
"""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

from playwright.sync_api import Page, expect

from tests.journeys.conftest import handrail, served, wait_for_model

PASSWORD = "a password for this test only"
AGREEMENT = """
agreement_id = "check-in-2021"
version = 1
organization_id = "19255901"
legal_basis = "school_official"
purpose = "Check and Connect for ninth grade"
purpose_kind = "service"
activity = "Mentors read attendance to see whom to check in with"
categories = ["directory", "attendance", "services"]
consent_required = []
programs = ["255901001-CheckAndConnect-NinthGrade"]
supports = ["mentoring", "tutoring"]
start = 2021-08-01
end = 2022-07-31
destruction_date = 2022-09-30
officers = ["A data officer"]
safeguards = "Read in Handrail only, by trained staff"
redisclosure = "None without the district's written word"
breach_notice_hours = 24
"""


def test_the_sample_is_loaded_built_refused_by_training_and_still_shown(
    shared_data: Path, tmp_path: Path, page: Page
):
    home = ("--home", str(tmp_path / "home"))
    loaded = handrail("load", "edfi", str(shared_data / "edfi"), *home)
    assert loaded.returncode == 0, loaded.stderr
    for file in ("StudentEnrollment.xml", "StudentTranscript.xml", "StudentGrade.xml"):
        assert f"Not found: {file}. Not available without it:" in loaded.stdout
    built = handrail("features", "build", *home)
    assert built.returncode == 0, built.stderr
    assert "29 features of 960 students" in built.stdout
    refused = handrail("train", *home)
    assert refused.returncode == 2
    assert "there is not enough evidence for a model" in refused.stderr
    assert "25 program enrollments on record" in refused.stderr
    unaudited = handrail("audit", *home)
    assert unaudited.returncode == 2
    assert "no model is registered yet; run `handrail train`" in unaudited.stderr

    organizations, agreement = tmp_path / "organizations.csv", tmp_path / "agreement.toml"
    organizations.write_text(
        "organization_id,name,kind\ndistrict,Grand Bend,district\n19255901,Check In,mentoring\n"
    )
    agreement.write_text(AGREEMENT)
    assert handrail("accounts", "organizations", str(organizations), *home).returncode == 0
    assert handrail("agreements", "add", str(agreement), *home).returncode == 0
    for login, role, organization in (
        ("ann@grandbend.example", "district_admin", "district"),
        ("cal@checkin.example", "caseworker", "19255901"),
    ):
        added = handrail(
            "accounts",
            "staff",
            login,
            "Somebody",
            role,
            organization,
            *home,
            HANDRAIL_PASSWORD=PASSWORD,
        )
        assert added.returncode == 0, added.stderr
    with closing(sqlite3.connect(tmp_path / "home" / "handrail.db")) as stored:
        hashes = [
            password_hash for (password_hash,) in stored.execute("SELECT password_hash FROM staff")
        ]
    assert len(hashes) == 2 and all(
        password_hash.startswith("$argon2id$v=19$m=65536,t=3,p=1$") for password_hash in hashes
    ), "RFC 9106, section 4"
    with served(tmp_path / "home", HANDRAIL_TODAY="2022-05-27") as site:
        sign_in_with_password(page, site, "ann@grandbend.example")
        expect(page.locator("main")).to_contain_text("960 students")
        expect(page.locator(".alert-cell").first).not_to_contain_text("No alert")
        page.locator("table.roster tbody a").first.click()
        expect(page.get_by_role("heading", name="What stands out")).to_be_visible()
        expect(page.get_by_role("heading", name="Attendance this school year")).to_be_visible()

        sign_in_with_password(page, site, "cal@checkin.example")
        wait_for_model(page)
        expect(page.locator("main")).to_contain_text("25 students")
        page.locator("table.roster tbody a").first.click()
        expect(page.locator("main")).to_contain_text("No suggestion yet")
        expect(page.get_by_role("heading", name="Attendance this school year")).to_be_visible()


def sign_in_with_password(page: Page, site: str, login: str) -> None:
    page.context.clear_cookies()
    page.goto(f"{site}/sign-in")
    page.get_by_label("Login").fill(login)
    page.get_by_label("Password").fill(PASSWORD)
    page.get_by_role("button", name="Sign in", exact=True).click()
    page.wait_for_url(lambda url: "/sign-in" not in url)
