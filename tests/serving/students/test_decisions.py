"""Accepting and dismissing: what is kept, who reads it, what is refused."""

from __future__ import annotations

import json
from datetime import datetime
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest

from features.catalog import feature_names
from records.access.scope import scope_for
from records.decisions.decisions import DecisionError, decisions_for_student, record_decision
from records.snapshots.snapshot import Snapshot
from records.staff.accounts import active_staff_member
from records.staff.viewer import NotInScope, Scope
from tests.serving.conftest import NOW, SECRET, STAFF, TestSite
from tests.serving.crawl import csrf_of
from tests.serving.html_text import one_line
from training.ranking.model_file import RankerModel
from training.ranking.ranker import BenefitRanker

SHA = "ab" * 32


@pytest.fixture(scope="session")
def model() -> RankerModel:
    """A real ranker, taught that mentoring is followed by progress whoever takes part."""
    rng = np.random.default_rng(3)
    features = pd.DataFrame({name: rng.normal(0, 1, 600) for name in feature_names()})
    support = pd.Series(np.where(rng.random(600) < 0.4, "mentoring", "none"))
    outcome = pd.Series(np.where(support == "mentoring", 4.0, 0.0) + rng.normal(0, 1, 600))
    students = pd.Series([f"t{i}" for i in range(600)])
    ranker = BenefitRanker(("mentoring",), n_folds=2, min_leaf=30, rounds=8).fit(
        features, outcome, support, students
    )
    return RankerModel(ranker, {}, SHA)


@pytest.fixture
def advised(site: TestSite, model: RankerModel) -> TestSite:
    """The site with that ranker approved. Approval itself is proved in tests/fairness."""
    site.app.state.site.approved_models = SimpleNamespace(
        model=lambda now: (model, ""), challenger=lambda now: None
    )
    return site


def scope_of(site: TestSite, who: str) -> Scope:
    viewer = active_staff_member(site.database, STAFF[who][0])
    return scope_for(viewer, site.database, Snapshot.current(site.home), NOW, SECRET)


def test_a_suggestion_is_shown_with_parts_that_add_up(advised: TestSite):  # R6
    browser, handle = advised.browser("caseworker"), advised.handle("caseworker", "s02")
    page = one_line(browser.get(f"/students/{handle}").text)
    assert "Mentoring" in page and "Weekly mentoring" in page and "Accept" in page
    answer = browser.get(f"/api/v1/students/{handle}/suggestions").json()
    (found,) = answer["suggestions"]
    assert found["support"] == "mentoring" and answer["model_sha256"] == SHA
    assert (
        abs(found["base"] + sum(reason["points"] for reason in found["reasons"]) - found["benefit"])
        < 1e-9
    )
    assert "Mentoring" in one_line(browser.get("/caseload").text)


def test_accepting_is_kept_with_who_when_and_what_was_shown(advised: TestSite):  # R34
    browser, handle = advised.browser("caseworker"), advised.handle("caseworker", "s02")
    path = f"/students/{handle}"
    fields = {
        "csrf": csrf_of(browser.get(path)),
        "action": "accepted",
        "rank": "1",
        "model_sha256": SHA,
    }
    response = browser.post(f"{path}/suggestions/mentoring", data=fields)
    assert (response.status_code, response.headers["location"]) == (
        303,
        f"{path}?done=accepted#supports",
    )
    (kept,) = decisions_for_student(advised.database, scope_of(advised, "caseworker"), "s02")
    assert (kept.action, kept.support, kept.rank, kept.model_sha256, kept.at) == (
        "accepted",
        "mentoring",
        1,
        SHA,
        NOW,
    )
    assert json.loads(kept.shown)["lower"] > 0
    page = one_line(browser.get(path + "?done=accepted").text)
    assert "Accepted</strong> by Staff caseworker on April 17, 2026" in page
    assert "Your decision is saved" in page


def test_dismissing_needs_a_reason(advised: TestSite):  # R34
    browser, handle = advised.browser("caseworker"), advised.handle("caseworker", "s02")
    fields = {
        "csrf": csrf_of(browser.get("/caseload")),
        "action": "dismissed",
        "rank": "1",
        "model_sha256": SHA,
    }
    path = f"/students/{handle}/suggestions/mentoring"
    refused = browser.post(path, data=fields | {"reason": "", "detail": "  "})
    assert refused.status_code == 422 and "reason" in one_line(refused.text)
    assert decisions_for_student(advised.database, scope_of(advised, "caseworker"), "s02") == []
    assert (
        browser.post(
            path, data=fields | {"reason": "No place is free", "detail": "till May"}
        ).status_code
        == 303
    )
    (kept,) = decisions_for_student(advised.database, scope_of(advised, "caseworker"), "s02")
    assert kept.reason == "No place is free: till May"


@pytest.mark.parametrize("change", [{"rank": "2"}, {"model_sha256": "0" * 64}])
def test_a_list_that_has_changed_is_not_decided_on(advised: TestSite, change: dict[str, str]):
    browser, handle = advised.browser("caseworker"), advised.handle("caseworker", "s02")
    fields = {
        "csrf": csrf_of(browser.get("/caseload")),
        "action": "accepted",
        "rank": "1",
        "model_sha256": SHA,
    }
    response = browser.post(f"/students/{handle}/suggestions/mentoring", data=fields | change)
    assert response.status_code == 409 and "This list has changed" in one_line(response.text)
    assert browser.post(f"/students/{handle}/suggestions/food", data=fields).status_code == 409
    assert decisions_for_student(advised.database, scope_of(advised, "caseworker"), "s02") == []


def test_extra_fields_and_wrong_tokens_decide_nothing(advised: TestSite):  # R21, R46
    browser, handle = advised.browser("caseworker"), advised.handle("caseworker", "s02")
    fields = {
        "csrf": csrf_of(browser.get("/caseload")),
        "action": "accepted",
        "rank": "1",
        "model_sha256": SHA,
    }
    path = f"/students/{handle}/suggestions/mentoring"
    for name in ("role", "org", "score", "approved_by"):
        assert browser.post(path, data=fields | {name: "x"}).status_code == 422
    assert browser.post(path, data=fields | {"csrf": "x"}).status_code == 403
    api = f"/api/v1{path}/decisions"
    body = {"action": "accepted", "rank": 1, "model_sha256": SHA}
    token = {"X-CSRF-Token": browser.get("/api/v1/me").json()["csrf"]}
    assert browser.post(api, json=body).status_code == 403
    assert browser.post(api, json=body | {"approved_by": "me"}, headers=token).status_code == 422
    assert decisions_for_student(advised.database, scope_of(advised, "caseworker"), "s02") == []
    assert browser.post(api, json=body, headers=token).status_code == 201
    assert len(decisions_for_student(advised.database, scope_of(advised, "caseworker"), "s02")) == 1


def test_a_decision_stays_within_the_organization_that_made_it(site: TestSite):
    mine, theirs = scope_of(site, "caseworker"), scope_of(site, "pantry")
    record_decision(site.database, mine, "s05", "tutoring", "accepted", "", SHA, 1, {}, NOW)
    assert len(decisions_for_student(site.database, mine, "s05")) == 1
    assert decisions_for_student(site.database, theirs, "s05") == []
    assert decisions_for_student(site.database, scope_of(site, "district_admin"), "s05") == []


@pytest.mark.parametrize(
    ("support", "action", "reason"),
    [
        ("tutoring", "dismissed", " "),
        ("tutoring", "approved", "so"),
        ("health", "accepted", ""),
        ("tutoring", "dismissed", "x" * 1_001),
    ],
)
def test_a_decision_that_says_nothing_is_refused(
    site: TestSite, support: str, action: str, reason: str
):
    with pytest.raises(DecisionError):
        record_decision(
            site.database,
            scope_of(site, "caseworker"),
            "s01",
            support,
            action,
            reason,
            SHA,
            1,
            {},
            NOW,
        )


def test_nothing_is_decided_about_a_student_out_of_scope(site: TestSite):  # R3
    scope = scope_of(site, "caseworker")
    for student in ("s09", "s12", "nobody"):
        with pytest.raises(NotInScope):
            record_decision(
                site.database, scope, student, "tutoring", "accepted", "", SHA, 1, {}, datetime.min
            )
        with pytest.raises(NotInScope):
            decisions_for_student(site.database, scope, student)
