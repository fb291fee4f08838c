"""What each person comes for, in a real browser on the whole demo."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, expect

from tests.journeys.conftest import PHONE, handrail, sign_in, wait_for_model


def test_the_tutors_caseworker_accepts_tutoring_for_the_top_alert_and_the_district_sees_the_view(
    page: Page, demo_site: str, demo_home: Path
):
    refused: list[str] = []
    page.on(
        "console", lambda message: refused.append(message.text) if message.type == "error" else None
    )
    sign_in(page, demo_site, "Dana Whitfield")
    wait_for_model(page)
    top = page.locator("table.roster tbody tr").first
    expect(top.locator(".alert-cell")).to_contain_text("Act now")
    student = top.get_by_role("link").inner_text()
    top.get_by_role("link").click()

    expect(page.get_by_role("heading", level=1)).to_have_text(student)
    tutoring = page.locator("li.support", has=page.get_by_role("heading", name="Tutoring"))
    expect(tutoring).to_contain_text("Students with a similar record who took part")
    expect(tutoring.locator(".reasons")).to_contain_text("Course grades:")
    tutoring.get_by_role("button", name="Accept Tutoring").click()
    expect(page.get_by_role("status")).to_contain_text("Accepted")
    expect(tutoring).to_contain_text("Accepted by Dana Whitfield on April 17, 2026")
    expect(page.get_by_text("Do not pass it on (34 CFR 99.33)")).to_be_visible()

    sign_in(page, demo_site, "Grace Olander")
    page.get_by_role("link", name="Who saw what").click()
    page.get_by_label("Organization").select_option(label="BrightPath Tutoring")
    page.get_by_role("button", name="Show", exact=True).click()
    newest = page.locator("tbody tr").first
    expect(newest).to_contain_text("Dana Whitfield")
    expect(newest).to_contain_text(student)
    page.get_by_role("button", name="Verify the log's integrity").click()
    expect(page.get_by_role("status").first).to_contain_text("The log is intact")
    assert refused == []
    run = handrail("disclosures", "verify", "--home", str(demo_home))
    assert "The disclosure log is intact" in run.stdout


def test_the_grandparent_readers_coordinator_sees_name_grade_school_and_own_sessions_only(
    page: Page, demo_site: str
):
    sign_in(page, demo_site, "Edna Marsh")
    headings = page.locator("table.roster thead th").all_inner_texts()
    assert headings == ["Student", "Grade level and school", "Sessions with you this school year"]
    page.locator("table.roster tbody a").first.click()
    assert page.locator("h2").all_inner_texts() == ["Programs and sessions"]
    text = page.locator("main").inner_text().lower()
    for word in (
        "absen",
        "mark",
        "test result",
        "incident",
        "born",
        "birth",
        "suggest",
        "alert",
        "hous",
        "meal",
        "female",
        "male",
        "tutoring",
        "pantry",
    ):
        assert not re.search(rf"\b{word}", text), word


def test_a_dismissal_needs_a_reason_and_is_kept_with_it(page: Page, demo_site: str):
    sign_in(page, demo_site, "Noel Ferris")
    wait_for_model(page)
    rows = page.locator("table.roster tbody tr").filter(
        has_not=page.locator(".suggestion-cell", has_text="None")
    )
    rows.first.get_by_role("link").click()
    card = page.locator("li.support").first
    card.get_by_text("Dismiss…").click()
    card.get_by_role("button", name=re.compile("^Dismiss ")).click()
    assert not page.get_by_text("Your decision is saved").is_visible()
    card.locator("select").select_option("The family said no")
    card.get_by_role("button", name=re.compile("^Dismiss ")).click()
    expect(page.get_by_role("status")).to_contain_text("Dismissed")
    expect(page.locator("li.support").first).to_contain_text("The family said no")


def test_the_reviewer_reads_the_audit_that_was_signed(page: Page, demo_site: str):
    sign_in(page, demo_site, "Marcus Bell")
    page.get_by_role("link", name=re.compile("Version 1")).first.click()
    expect(page.get_by_role("heading", level=1)).to_contain_text("1")
    expect(page.locator("main")).to_contain_text("Marcus Bell")
    page.wait_for_load_state("load")
    chart = page.locator("main img").first
    assert chart.evaluate("image => image.complete && image.naturalWidth > 0")


def test_the_district_reads_what_went_along_with_each_program_and_states_what_one_costs(
    page: Page, demo_site: str
):
    sign_in(page, demo_site, "Grace Olander")
    page.get_by_role("link", name="Programs", exact=True).click()
    expect(page.get_by_role("heading", name="In short")).to_be_visible()
    assert page.locator("figure svg circle, figure svg rect").count() > 3
    page.get_by_role("link", name="Weekly mentoring").click()
    own = page.locator("article", has=page.get_by_role("heading", name="Weekly mentoring"))
    expect(own).to_contain_text("It costs $640 for each student.")
    own.get_by_text("Enter the cost of Weekly mentoring").press("Enter")
    own.get_by_label("US dollars").fill("655.50")
    own.get_by_role("button", name="Save for Weekly mentoring").click()
    expect(page.get_by_role("status").first).to_contain_text("Program cost saved.")
    expect(page.locator("main")).to_contain_text("out of date: a program's cost was updated")


PAGES = {
    "Dana Whitfield": ("/caseload", "/agreements"),
    "Edna Marsh": ("/caseload",),
    "Hugh Prentiss": ("/caseload", "/agreements"),
    "Priya Raman": ("/audits", "/audits/1", "/effects", "/data"),
    "Marcus Bell": ("/audits", "/audits/1", "/effects"),
    "Grace Olander": (
        "/students",
        "/matches",
        "/matches?show=decided",
        "/consents",
        "/agreements",
        "/agreements/brightpath-2025",
        "/agreements/explain",
        "/disclosures",
        "/demands",
        "/demands/1",
        "/demands/2",
        "/demands/new",
        "/emergencies",
        "/notices",
        "/data",
        "/retention",
        "/audits/1",
        "/effects",
    ),
}


@pytest.mark.parametrize("name", PAGES)
def test_pages_fit_a_phone_and_break_no_rule_of_the_content_policy(
    browser: Browser, demo_site: str, name: str
):  # R49
    context = browser.new_context(viewport=PHONE, is_mobile=True)
    page = context.new_page()
    messages: list[str] = []
    page.on("console", lambda message: messages.append(f"{page.url}: {message.text}"))
    requests: list[str] = []
    page.on("request", lambda request: requests.append(request.url))
    sign_in(page, demo_site, name)
    for path in PAGES[name]:
        page.goto(f"{demo_site}{path}")
        width = page.evaluate("document.documentElement.scrollWidth")
        assert width <= PHONE["width"], f"{path} is {width} pixels wide"
        assert page.locator("h1").count() == 1, path
    first = page.locator("table.roster tbody a")
    if first.count():
        first.first.click()
        assert page.evaluate("document.documentElement.scrollWidth") <= PHONE["width"]
    assert [text for text in messages if "Failed to load" not in text] == []
    assert [url for url in requests if not url.startswith(demo_site)] == []
    context.close()


def test_the_second_person_approves_what_the_first_proposed_by_the_menu_of_a_phone(
    browser: Browser, demo_site: str
):
    context = browser.new_context(viewport=PHONE, is_mobile=True)
    page = context.new_page()
    sign_in(page, demo_site, "Grace Olander")
    page.get_by_text("Menu", exact=True).press("Enter")
    page.get_by_role("link", name="Legal demands").click()
    page.get_by_role("link", name="Demand 2").click()
    expect(page.locator("main")).to_contain_text("Ines Moreau")
    approve = page.get_by_role("button", name=re.compile("Approve"))
    expect(approve).to_be_visible()
    context.close()


def test_the_clinics_caseworker_reads_what_the_running_emergency_opens(
    page: Page, demo_site: str, demo_home: Path
):
    assert handrail("demo", str(demo_home.parent), "--no-site").returncode == 0, (
        "opens one where none is open now"
    )
    sign_in(page, demo_site, "Grace Olander")
    page.goto(f"{demo_site}/emergencies")
    running = page.locator("li.panel", has_text="Open now")
    expect(running).to_contain_text("Mina Castell")
    student = running.get_by_role("heading").inner_text()
    sign_in(page, demo_site, "Mina Castell")
    page.get_by_role("link", name="Open it").click()
    expect(page.get_by_role("heading", level=1)).to_have_text(student)
    expect(page.get_by_role("status").first).to_contain_text("Open for an emergency until")


def test_a_page_is_worked_by_keyboard_alone(page: Page, demo_site: str):
    sign_in(page, demo_site, "Dana Whitfield")
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.getAttribute('href')") == "#main"
    page.keyboard.press("Enter")
    link = page.locator("table.roster tbody a").first
    for _ in range(40):
        page.keyboard.press("Tab")
        if link.evaluate("node => node === document.activeElement"):
            break
    outline = link.evaluate(
        "node => getComputedStyle(node).outlineStyle + getComputedStyle(node).boxShadow"
    )
    assert outline != "nonenone"
    page.keyboard.press("Enter")
    page.wait_for_url(re.compile("/students/[0-9a-f]{20}"))


def test_a_finished_demo_is_served_again_without_being_made_again(demo_home: Path):
    before = (demo_home / "snapshots" / "CURRENT").stat().st_mtime_ns
    run = handrail("demo", str(demo_home.parent), "--no-site")
    assert run.returncode == 0
    assert "caseworker@brightpath.example" in run.stdout
    assert (demo_home / "snapshots" / "CURRENT").stat().st_mtime_ns == before


def test_a_demo_is_not_served_to_others(demo_home: Path):  # R54
    run: subprocess.CompletedProcess[str] = handrail(
        "serve", "--host", "0.0.0.0", "--home", str(demo_home)
    )
    assert run.returncode == 2
    assert "only on this machine" in run.stderr
