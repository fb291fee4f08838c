"""A district's own alert rules on the site: read anew when they change, and never half used."""

from __future__ import annotations

from features.alert_versions import versions_in_force
from features.alerts import AlertRules
from tests.serving.conftest import TestSite
from tests.serving.html_text import one_line

ROW = """
[two_in_a_row]
severity = 3
features = ["current_run"]
when.current_run.at_least = 2
headline = "Away {current_run:day|days} on end"
source = "The district's own policy"
"""


def caseload(site: TestSite) -> str:
    return one_line(site.browser("caseworker").get("/caseload").text)


def test_the_districts_own_rules_raise_the_alerts_from_the_next_page_on(site: TestSite):
    assert "Absent the last 5 school days in a row, excused or not" in caseload(site)
    (site.home / "alerts.toml").write_text(ROW)
    page = caseload(site)
    assert "Away 5 days on end" in page and "in a row" not in page and "Grade below" not in page
    handle = site.handle("caseworker", "s01")
    told = site.browser("caseworker").get(f"/api/v1/students/{handle}/alerts").json()["alerts"]
    assert [alert["source"] for alert in told] == ["The district's own policy"]
    assert [entry.version for entry in versions_in_force(site.home)] == [
        AlertRules.declared().version,
        AlertRules.of(site.home).version,
    ]


def test_an_alert_says_by_which_version_of_the_rules_it_was_raised(site: TestSite):
    (site.home / "alerts.toml").write_text(ROW)
    handle = site.handle("caseworker", "s01")
    page = one_line(site.browser("caseworker").get(f"/students/{handle}").text)
    version = AlertRules.of(site.home).version
    assert f"By version {version} of the rules for alerts, in force since April 17, 2026." in page


def test_rules_with_a_mistake_are_said_and_no_others_stand_in(site: TestSite):
    assert site.browser("caseworker").get("/caseload").status_code == 200
    (site.home / "alerts.toml").write_text(ROW.replace("severity = 3", "severity = 4"))
    for path in ("/caseload", f"/students/{site.handle('caseworker', 's01')}"):
        answer = site.browser("caseworker").get(path)
        assert answer.status_code == 503
        assert "figures or kinds of support, has a mistake" in one_line(answer.text)
        assert "in a row" not in answer.text
    (site.home / "alerts.toml").unlink()
    assert "in a row" in caseload(site)


def test_a_list_is_logged_with_what_its_alerts_rest_on(site: TestSite):
    (site.home / "alerts.toml").write_text(
        ROW.replace('["current_run"]', '["current_run", "assessment_last"]')
    )
    caseload(site)
    logged = {category for row in site.log() for category in row.categories}
    assert {"attendance", "assessments"} <= logged
