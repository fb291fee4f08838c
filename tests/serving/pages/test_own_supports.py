"""A district's own kinds of support, on every page that names one and in the API."""

from __future__ import annotations

from pathlib import Path

import pytest

from records.canonical.supports import SUPPORTS_FILE, SupportCatalog
from serving.students.caseload import NO_LISTED_SUPPORTS
from tests.own_supports import own_list, write_own_list
from tests.records.conftest import add_agreement
from tests.serving.conftest import GRANTED, TestSite
from tests.serving.html_text import one_line
from tests.serving.trained_model import install_model, train_model


@pytest.fixture
def advised(site: TestSite) -> TestSite:
    """The site with a model that suggests mentoring to everybody."""
    install_model(site, train_model("mentoring"))
    return site


def rename(home: Path, old: str, new: str) -> None:
    (home / SUPPORTS_FILE.name).write_text(own_list().replace(f'"{old}"', f'"{new}"'))


def suggested(site: TestSite, student: str = "s02") -> dict[str, object]:
    handle = site.handle("caseworker", student)
    answer = site.browser("caseworker").get(f"/api/v1/students/{handle}/suggestions")
    assert answer.status_code == 200
    found: dict[str, object] = answer.json()
    return found


def test_every_page_and_the_api_use_the_districts_name_of_a_kind(advised: TestSite):
    browser, handle = advised.browser("caseworker"), advised.handle("caseworker", "s02")
    rename(advised.home, "Mentoring", "A friend at school")
    for path in (f"/students/{handle}", "/caseload", "/agreements/a1"):
        page = one_line(browser.get(path).text)
        assert "friend at school" in page, path
        assert "Mentoring" not in page.replace("Weekly mentoring", ""), path
    (found,) = suggested(advised)["suggestions"]  # type: ignore[misc]
    assert (found["support"], found["support_name"]) == ("mentoring", "A friend at school")


def test_a_kind_that_left_the_list_is_suggested_to_nobody_from_the_next_request_on(
    advised: TestSite,
):
    browser, handle = advised.browser("caseworker"), advised.handle("caseworker", "s02")
    assert suggested(advised)["suggestions"]
    write_own_list(advised.home, "mentoring")
    answer = suggested(advised)
    assert answer["suggestions"] == [] and answer["silence"].startswith("No suggestion")  # type: ignore[attr-defined]
    assert "Accept" not in browser.get(f"/students/{handle}").text
    page = one_line(browser.get("/agreements/a1").text)
    assert "Tutoring, mentoring (no longer on the district's list), food assistance" in page
    assert "where it is likely to help: Tutoring, food assistance." in page
    write_own_list(advised.home, "mentoring", "tutoring", "food")
    assert suggested(advised)["silence"] == NO_LISTED_SUPPORTS
    assert "where it is likely to help" not in one_line(browser.get("/agreements/a1").text)
    write_own_list(advised.home)
    assert suggested(advised)["suggestions"]


def test_an_agreement_on_an_own_kind_names_it_in_words(site: TestSite):
    add_agreement(
        site.database,
        kinds=write_own_list(site.home),
        agreement_id="m1",
        categories=GRANTED,
        supports=["motel_vouchers", "homework_club"],
    )
    page = one_line(site.browser("caseworker").get("/agreements/m1").text)
    assert "Motel vouchers, homework club" in page
    (site.home / SUPPORTS_FILE.name).unlink()
    page = one_line(site.browser("caseworker").get("/agreements/m1").text)
    assert "Motel vouchers (no longer on the district's list)" in page


def test_a_kind_may_be_told_of_housing_by_a_change_of_the_list_alone(site: TestSite):
    add_agreement(
        site.database,
        agreement_id="a9",
        categories=[*GRANTED, "services_other"],
    )
    browser, handle = site.browser("caseworker"), site.handle("caseworker", "s05")
    assert "Weekend bags" in browser.get(f"/students/{handle}").text
    text = own_list()
    food = text.index("[food]")
    text = text[:food] + text[food:].replace("housing = false", "housing = true", 1)
    (site.home / SUPPORTS_FILE.name).write_text(text)
    assert "food" not in SupportCatalog.of(site.home).harmless
    assert "Weekend bags" not in browser.get(f"/students/{handle}").text


def test_a_list_with_a_mistake_shows_no_record(site: TestSite):
    browser, handle = site.browser("caseworker"), site.handle("caseworker", "s02")
    (site.home / SUPPORTS_FILE.name).write_text("[food]\n")
    for path in (f"/students/{handle}", "/caseload", f"/api/v1/students/{handle}"):
        answer = browser.get(path)
        assert answer.status_code == 503, path
        assert "The district&#39;s rules cannot be read" in answer.text or (
            "The district's rules cannot be read" in answer.text
        )
