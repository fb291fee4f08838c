"""The page of changes since training: for the district's auditors alone, plain, and out of date
when it is.
"""

from __future__ import annotations

import re
import shutil
from dataclasses import replace
from datetime import date
from pathlib import Path

import pytest

from records.snapshots.snapshot import Snapshot
from tests.records.conftest import snapshot_of
from tests.serving import district
from tests.serving.conftest import NOW, STAFF, TestSite, add_partners_and_staff, open_site
from tests.serving.crawl import Page
from tests.serving.html_text import one_line
from training.episodes.outcome import OutcomeDefinition
from training.estimation.policy_value import Estimate
from training.evaluation.drift import (
    DayDrift,
    FeatureDrift,
    LargestShift,
    Quintile,
    RealizedBenefit,
)
from training.monitoring.drift_report import DriftReport, drift_report_file, write_drift_report
from training.registry.registry import model_version

AUDITORS = ("district_admin", "data_scientist", "equity_reviewer")
ABSENCES = FeatureDrift("absent_days_year", 0.61, 0.03, None, None, LargestShift(4.0, 0.22, 0.48))
MARKS = FeatureDrift("grade_average", 0.12, 0.03, 0.03, 0.31, LargestShift(70.0, 0.8, 0.78))
GRADE = FeatureDrift("grade_level", 0.02, 0.03, None, None, None)
DAY = DayDrift(date(2025, 12, 9), 75, 1_800, (GRADE, ABSENCES, MARKS))
CAME = RealizedBenefit(
    (date(2025, 12, 9),),
    1_780,
    1.3,
    Estimate(0.2, -0.4, 0.8),
    None,
    (
        Quintile(1, 0.9, Estimate(0.6, -0.2, 1.4), 360),
        Quintile(5, 2.0, Estimate(0.1, -0.5, 0.7), 360),
    ),
)


@pytest.fixture(scope="module")
def approved_home(approved: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The district of the site's tests in a home that has a version of a model."""
    home = tmp_path_factory.mktemp("approved") / "home"
    shutil.copytree(approved, home)
    snapshot_of(district.rows(), home)
    return home


@pytest.fixture
def site(approved_home: Path, tmp_path: Path) -> TestSite:
    shutil.copytree(approved_home, tmp_path / "home")
    found = open_site(tmp_path / "home")
    add_partners_and_staff(found.database)
    return found


def put(site: TestSite, **changes: object) -> DriftReport:
    """What was found of the version that is registered, on the records that serve."""
    made = model_version(site.home)
    found = DriftReport(
        NOW,
        made.version,
        made.sha256,
        Snapshot.current(site.home).id,
        OutcomeDefinition.declared().sha256,
        date(2025, 10, 15),
        True,
        (DAY,),
        date(2026, 10, 14),
        40,
        CAME,
    )
    found = replace(found, **changes)
    write_drift_report(found, site.home)
    return found


@pytest.mark.parametrize("who", AUDITORS)
def test_the_district_reads_what_changed_what_came_and_what_to_do(site: TestSite, who: str):
    put(site)
    page = one_line(site.browser(who).get("/drift").text)
    assert "there was much change in attendance and some change in course grades." in page
    assert "Absences this school year: above 4, 22% of students then and 48% now" in page
    assert "not on record for 3% then and 31% now" in page
    assert (
        "Observed progress with supports was lower than predicted. On average +1.3 points were"
        " predicted" in page
    )
    assert "What to do: the student population changed much. Retrain (handrail train)" in page
    assert "out of date" not in page
    assert page.count('class="drift-much"') == 1 and page.count('class="drift-some"') == 1
    assert 'href="/drift" aria-current="page"' in page


def test_before_anything_was_worked_out_the_page_says_which_command(site: TestSite):
    page = one_line(site.browser("equity_reviewer").get("/drift").text)
    assert "No results yet" in page and "<code>handrail drift</code>" in page


def test_a_version_with_no_decision_day_since_or_without_a_reference_says_so(site: TestSite):
    put(site, days=(), realised=None, why_not="it is too early")
    page = one_line(site.browser("data_scientist").get("/drift").text)
    assert (
        "No decision day has passed since October 15, 2025" in page
        and "October 14, 2026, school day 40" in page
    )
    assert (
        "There is not enough data yet to say whether progress with supports was as predicted: it"
        " is too early" in page
    )
    put(site, days=(), realised=None, why_not="it is too early", known=False)
    assert "was trained before Handrail stored reference data about its students" in one_line(
        site.browser("data_scientist").get("/drift").text
    )


def test_newer_records_another_version_or_another_outcome_make_it_out_of_date(site: TestSite):
    put(site, version=2, snapshot_id="older")
    page = one_line(site.browser("district_admin").get("/drift").text)
    assert "out of date: newer records were loaded, and version 1 is monitored now." in page
    put(site, at=NOW.replace(hour=12), outcome_sha256="another")
    assert "out of date: the definition of progress was changed." in one_line(
        site.browser("district_admin").get("/drift").text
    )


@pytest.mark.parametrize("who", sorted(set(STAFF) - set(AUDITORS)))
def test_nobody_of_a_partner_finds_the_page(site: TestSite, who: str):
    put(site)
    browser = site.browser(who)
    response, missing = browser.get("/drift"), browser.get("/nothing/here")
    assert (response.status_code, response.content) == (404, missing.content)
    assert "/drift" not in one_line(browser.get("/agreements").text)


def test_findings_that_were_changed_are_not_shown(site: TestSite):
    found = put(site)
    file = drift_report_file(site.home, found.version, found.snapshot_id)
    file.write_text(file.read_text().replace("0.48", "0.28"))
    page = one_line(site.browser("district_admin").get("/drift").text)
    assert "The findings cannot be shown." in page and "28%" not in page


@pytest.mark.parametrize("who", AUDITORS)
def test_the_filled_page_is_whole_html_names_no_student_and_writes_no_look_down(
    site: TestSite, who: str
):
    put(site)
    text = one_line(site.browser(who).get("/drift").text)
    page = Page(text)
    assert page.problems == [] and page.open == []
    ids = [attributes["id"] for _, attributes in page.tags if "id" in attributes]
    assert len(ids) == len(set(ids))
    assert {attributes.get("aria-labelledby") for _, attributes in page.tags} - {None} <= set(ids)
    assert "style=" not in text and "<script" not in text and not re.search(r"risk", text, re.I)
    names = [
        str(row[name])
        for row in district.rows()["students"]
        for name in ("first_name", "last_name")
    ]
    assert not [name for name in [*district.STUDENTS, *names] if name in text]
    assert site.log() == []
