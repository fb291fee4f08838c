"""Every page is whole HTML that a screen reader can follow."""

from __future__ import annotations

import pytest

from tests.serving.conftest import STAFF, TestSite
from tests.serving.crawl import Page, crawl


@pytest.mark.parametrize("who", [None, *STAFF])
def test_every_page_has_a_language_a_title_one_heading_and_labelled_fields(
    site: TestSite, who: str | None
):
    browser = site.browser(who)
    for path, response in (crawl(browser) | {"/none": browser.get("/none")}).items():
        if not response.headers.get("content-type", "").startswith("text/html"):
            continue
        check_page(path, response.text)


def check_page(path: str, html: str) -> None:
    """What a screen reader needs of every page."""
    page = Page(html)
    assert page.problems == [] and page.open == [], (path, page.problems)
    assert page.all("html")[0]["lang"] == "en" and "<title>" in html, path
    assert len(page.all("h1")) == 1 and len(page.all("main")) == 1, path
    assert page.all("a")[0]["href"] == "#main", path
    labelled = {label.get("for") for label in page.all("label")}
    fields = [
        field for field in page.all("input", "select", "textarea") if field.get("type") != "hidden"
    ]
    assert all(field.get("id") in labelled for field in fields), path
    assert all(image.get("alt") is not None for image in page.all("img")), path
    ids = [attributes["id"] for _, attributes in page.tags if "id" in attributes]
    assert len(ids) == len(set(ids)), path
    named = {attributes.get("aria-labelledby") for _, attributes in page.tags} - {None}
    assert named <= set(ids), path


def test_names_are_text_never_markup(site: TestSite):  # R50
    page = (
        site.browser("caseworker")
        .get("/caseload", params={"q": "<script>alert(1)</script>\"'"})
        .text
    )
    assert "<script" not in page and "&lt;script&gt;" in page
