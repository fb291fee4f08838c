"""The page of partner programs: for the district alone, out of date when it is, and costs by
whoever may state them.
"""

from __future__ import annotations

import re
from datetime import date
from pathlib import Path

import httpx2
import pytest

from records.decisions.program_costs import cost_history, program_costs
from tests.records.conftest import snapshot_of
from tests.serving import district
from tests.serving.conftest import STAFF, TestSite
from tests.serving.crawl import Page, csrf_of
from tests.serving.html_text import one_line
from tests.serving.synthetic_effects import effect_of, program, put_effects, suppressed_effect
from training.effects.dose_response import NEVER_ATTENDED, DoseBand

AUDITORS = ("district_admin", "data_scientist", "equity_reviewer")
FIGURES = re.compile(r"4\.3|about 120|\$600|Readers")


def fill_page(site: TestSite) -> None:
    """A gain that was paid for, a loss, and a program that nobody can tell anything about."""
    bands = (
        DoseBand(NEVER_ATTENDED, 0, 0, suppressed_effect(served=11)),
        DoseBand("low", 1, 5, effect_of(1.0, -0.2, 2.2, served=40)),
        DoseBand("high", 6, 31, effect_of(6.0, 5.0, 7.0, served=72)),
    )
    put_effects(
        site.home,
        program(effect_of(4.3, 3.0, 5.6), *bands),
        program(
            effect_of(-2.0, -3.0, -1.0),
            key="p2",
            name="Weekend bags",
            support="food",
            organization="pantry",
            cost=None,
        ),
    )


def section(text: str, name: str) -> str:
    """What the page says of one program."""
    return next(part for part in text.split("<article")[1:] if f">{name}</h3>" in part)


@pytest.mark.parametrize("who", AUDITORS)
def test_the_district_reads_figures_with_what_must_stand_beside_them(site: TestSite, who: str):
    fill_page(site)
    page = one_line(site.browser(who).get("/effects").text)
    assert (
        "1 program was associated with more progress than similar students made: Readers." in page
    )
    gain, loss = section(page, "Readers"), section(page, "Weekend bags")
    assert (
        "gained 4.3 points more than similar students who did not (between 3.0 and 5.6 points more)"
        in gain
    )
    assert (
        "An unrecorded factor would have to be at least" in gain and "unadjusted comparison" in gain
    )
    assert "Fewest sessions (up to 5)" in gain and '+6.0 <span class="ends">(+5.0 to +7.0)' in gain
    assert "31" not in gain, "the most that one student received"
    assert "gained 2.0 points less" in loss and "What the program costs is not on record." in loss
    silence = section(page, "Weekly mentoring")
    assert "Not enough data to compare: nobody whose progress is known began it" in silence
    assert page.count('class="plot-range"') == 2 and page.count("<rect") == 2, (
        "a loss has another shape"
    )
    assert "Out of date" not in page and "out of date" not in page
    assert ('<form method="post" action="/effects/costs"' in page) == (who == "district_admin")


@pytest.mark.parametrize("who", sorted(set(STAFF) - set(AUDITORS)))
def test_nobody_of_a_partner_finds_the_page_or_a_figure_of_it(site: TestSite, who: str):  # R1, R3
    fill_page(site)
    browser = site.browser(who)
    for response in (
        browser.get("/effects"),
        browser.post("/effects/costs", data={"program": "p1"}),
    ):
        missing = browser.get("/nothing/here")
        assert (response.status_code, response.content) == (404, missing.content)
    for path in ("/caseload", "/agreements"):
        page = one_line(browser.get(path).text)
        assert "/effects" not in page and not FIGURES.search(page), path


def test_the_page_names_no_student_and_writes_no_look_down(site: TestSite):
    fill_page(site)
    for who in AUDITORS:
        page = one_line(site.browser(who).get("/effects").text)
        names = [
            str(row[name])
            for row in district.rows()["students"]
            for name in ("first_name", "last_name")
        ]
        assert not [name for name in [*district.STUDENTS, *names] if name in page]
    assert site.log() == []


def test_before_anything_was_worked_out_the_page_says_which_command(site: TestSite):
    page = one_line(site.browser("district_admin").get("/effects").text)
    assert "No results yet" in page and "<code>handrail effects</code>" in page
    assert not FIGURES.search(page) and page.count('action="/effects/costs"') == 3, (
        "costs can be stated before"
    )


def test_newer_records_make_the_figures_out_of_date_and_they_stay_readable(site: TestSite):
    fill_page(site)
    rows = district.rows()
    rows["programs"].append(
        {"program_id": "p4", "organization_id": "pantry", "name": "Art", "support": None}
    )
    rows["students"][0]["birth_date"] = date(2012, 1, 1)
    snapshot_of(rows, site.home)
    page = one_line(site.browser("equity_reviewer").get("/effects").text)
    assert "These figures are out of date: newer records were loaded." in page
    assert "gained 4.3 points more" in page
    assert "It is not in the figures above" in section(page, "Art")


def test_another_outcome_makes_the_figures_out_of_date(site: TestSite):
    fill_page(site)
    declared = (Path(__file__).parents[3] / "training" / "episodes" / "outcome.toml").read_text()
    (site.home / "outcome.toml").write_text(
        declared.replace("window_days = 90", "window_days = 60")
    )
    for text in (None, "window_days = "):
        if text is not None:
            (site.home / "outcome.toml").write_text(text)
        page = one_line(site.browser("data_scientist").get("/effects").text)
        assert "out of date: the definition of progress was changed." in page


def state(browser: httpx2.Client, **fields: str) -> httpx2.Response:
    form = {
        "csrf": csrf_of(browser.get("/effects")),
        "program": "p1",
        "dollars": "1,250.50",
        "per": "year",
    }
    return browser.post("/effects/costs", data=form | fields)


def test_an_administrator_states_a_cost_and_the_figures_are_out_of_date_then(site: TestSite):
    fill_page(site)
    browser = site.browser("district_admin")
    response = state(browser)
    assert (response.status_code, response.headers["location"]) == (303, "/effects?done=cost")
    (kept,) = program_costs(site.database).values()
    assert (kept.price.program_id, kept.price.dollars, kept.price.per, kept.stated_at) == (
        "p1",
        1250.5,
        "year",
        site.clock[0],
    )
    page = one_line(browser.get("/effects?done=cost").text)
    assert "Program cost saved." in page
    assert "These figures are out of date: a program&#39;s cost was updated." in page
    assert (
        "It costs $1,250.50 a year now, which is not in the figures yet. The cost was entered by"
        " Staff" in page
    )
    assert 'value="1250.50"' in section(page, "Readers")
    state(browser, dollars="38", per="session")
    assert [one.ended_at is None for one in cost_history(site.database)] == [False, True]


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        (
            {"dollars": "much"},
            "US dollars: this is &#39;much&#39;; it must be an amount such as 1250 or 1250.50.",
        ),
        (
            {"per": "month"},
            "For each: this is &#39;month&#39;; it must be student, year or session.",
        ),
        (
            {"program": "p9"},
            "Program: this is &#39;p9&#39;; it must be a program on record: p1, p2, p3.",
        ),
        ({"program": "<b>"}, "Program: this is &#39;&lt;b&gt;&#39;"),
    ],
)
def test_a_wrong_cost_is_refused_in_words_and_what_was_typed_stays(
    site: TestSite, fields: dict[str, str], said: str
):
    response = state(site.browser("district_admin"), **fields)
    assert response.status_code == 422 and said in one_line(response.text)
    assert program_costs(site.database) == {}
    if fields.get("program") is None:
        own = section(response.text, "After-school tutoring")
        assert "<details open>" in own and f'value="{fields.get("dollars", "1,250.50")}"' in own


def test_a_form_of_another_session_or_with_other_fields_states_nothing(site: TestSite):  # R21, R46
    browser = site.browser("district_admin")
    foreign = csrf_of(site.browser("district_admin").get("/effects"))
    assert state(browser, csrf=foreign).status_code == 403
    assert state(browser, stated_by="somebody").status_code == 422
    for who in ("data_scientist", "equity_reviewer"):
        other = site.browser(who)
        form = {
            "csrf": csrf_of(other.get("/effects")),
            "program": "p1",
            "dollars": "1",
            "per": "year",
        }
        assert other.post("/effects/costs", data=form).status_code == 404
    assert cost_history(site.database) == []


def test_figures_that_were_changed_are_not_shown(site: TestSite):
    fill_page(site)
    (file,) = (site.home / "effects").iterdir()
    file.write_text(file.read_text().replace("4.3", "9.3"))
    page = one_line(site.browser("district_admin").get("/effects").text)
    assert "The figures cannot be shown." in page and "9.3" not in page


@pytest.mark.parametrize("who", AUDITORS)
def test_the_filled_page_is_whole_html_with_labels(site: TestSite, who: str):
    fill_page(site)
    response = site.browser(who).get("/effects")
    page = Page(response.text)
    assert page.problems == [] and page.open == []
    ids = [attributes["id"] for _, attributes in page.tags if "id" in attributes]
    assert len(ids) == len(set(ids))
    named = {attributes.get("aria-labelledby") for _, attributes in page.tags} - {None}
    assert named <= set(ids)
    labelled = {label.get("for") for label in page.all("label")}
    fields = [field for field in page.all("input", "select") if field.get("type") != "hidden"]
    assert {field["id"] for field in fields} == labelled
    targets = set(re.findall(r'href="#([^"]+)"', response.text)) - {"main"}
    assert targets and targets <= set(ids)
    assert "style=" not in one_line(response.text) and "<script" not in one_line(response.text)
