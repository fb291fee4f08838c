"""Housing, meals and disability: neither shown nor felt without the agreement and this student's
own signed consent.
"""

from __future__ import annotations

import copy
import re
import shutil
from datetime import date
from pathlib import Path

import httpx2
import pytest

from records.access.scope import scope_for
from records.canonical.schema import Category
from records.permissions.agreements import parse_agreement, save_agreement
from records.permissions.consents import SignedConsent, add_consent, consents, revoke_consent
from records.snapshots.snapshot import Snapshot
from records.staff.accounts import active_staff_member
from records.staff.sessions import start_session
from records.staff.viewer import Scope
from tests.records.conftest import agreement_text, snapshot_of
from tests.serving import district
from tests.serving.conftest import GRANTED, NOW, SECRET, STAFF, TestSite, open_site
from tests.serving.trained_model import install_model, train_model
from training.ranking.model_file import RankerModel

FACTS = {
    Category.HOUSING: (
        "Housing",
        re.compile(r"hous|homeless|mckinney|shelter|stable home", re.IGNORECASE),
    ),
    Category.MEAL_ELIGIBILITY: (
        "School meals",
        re.compile(r"meal|lunch|reduced-price", re.IGNORECASE),
    ),
    Category.SPECIAL_EDUCATION: (
        "Special education",
        re.compile(r"special|disab|\bIEP\b|504", re.IGNORECASE),
    ),
}
"""What the record calls each fact, and every word that would tell of it."""


@pytest.fixture(scope="module")
def model() -> RankerModel:
    return train_model("mentoring")


@pytest.fixture
def granting(site: TestSite, model: RankerModel) -> TestSite:
    """The tutors' agreement names all three; no family has signed yet. A model serves."""
    grant(site)
    install_model(site, model)
    return site


def grant(site: TestSite) -> None:
    named = sorted(FACTS)
    text = agreement_text(
        categories=[*GRANTED, *named],
        consent_required=named,
        supports=["tutoring", "mentoring", "food"],
    ).replace("version = 1", "version = 2")
    save_agreement(site.database, parse_agreement(text, "a1"))


def answers(
    site: TestSite, browser: httpx2.Client, who: str = "caseworker", student: str = "s01"
) -> dict[str, str]:
    """Everything that tells somebody about a student, by its path: list, page, record, alerts,
    suggestions, search.
    """
    handle = site.handle(who, student)
    paths = (
        "/caseload",
        "/caseload?alerts=true",
        "/caseload?sort=name",
        f"/students/{handle}",
        "/api/v1/students",
        f"/api/v1/students/{handle}",
        f"/api/v1/students/{handle}/alerts",
        f"/api/v1/students/{handle}/suggestions",
    )
    found = {path: browser.get(path) for path in paths}
    assert all(response.status_code == 200 for response in found.values())
    return {path: response.text for path, response in found.items()}


def officer_of(site: TestSite) -> Scope:
    viewer = active_staff_member(site.database, STAFF["district_admin"][0])
    return scope_for(viewer, site.database, Snapshot.current(site.home), NOW, SECRET)


@pytest.mark.parametrize("category", sorted(FACTS))
def test_without_a_consent_absent_with_one_shown_and_gone_when_it_is_revoked(
    granting: TestSite, category: Category
):  # R9, R10, R12
    label, words = FACTS[category]
    browser, officer = granting.browser("caseworker"), officer_of(granting)
    for path, text in answers(granting, browser).items():
        assert not words.search(text), path
    signed = SignedConsent(
        "s01",
        "tutors",
        frozenset({category}),
        "Help",
        "A parent",
        date(2026, 4, 1),
        date(2026, 8, 31),
    )
    kept = add_consent(granting.database, officer, signed, NOW)
    with_consent = answers(granting, browser)
    record = f"/api/v1/students/{granting.handle('caseworker', 's01')}"
    assert label in browser.get(record).json()["facts"] and words.search(
        with_consent[record.removeprefix("/api/v1")]
    )
    other = answers(granting, browser, student="s03")
    assert not words.search(other[f"/students/{granting.handle('caseworker', 's03')}"])
    for who in ("coordinator", "partner_admin"):
        page = granting.browser(who).get(f"/students/{granting.handle(who, 's01')}").text
        assert not words.search(page), who
    revoke_consent(
        granting.database, officer.viewer, kept.number, by="A parent", on=NOW.date(), now=NOW
    )
    for path, text in answers(granting, browser).items():
        assert not words.search(text), path


def test_a_consent_opens_nothing_that_the_agreement_does_not_name(site: TestSite):  # R9, R10
    everything = SignedConsent(
        "s01",
        "tutors",
        frozenset(Category),
        "Help",
        "A parent",
        date(2026, 4, 1),
        date(2026, 8, 31),
    )
    add_consent(site.database, officer_of(site), everything, NOW)
    browser = site.browser("caseworker")
    assert "facts" not in browser.get(f"/api/v1/students/{site.handle('caseworker', 's01')}").json()


def test_a_consent_for_one_partner_opens_nothing_to_another(granting: TestSite):  # R9, R10
    signed = SignedConsent(
        "s01", "pantry", frozenset(FACTS), "Help", "A parent", date(2026, 4, 1), date(2026, 8, 31)
    )
    kept = add_consent(granting.database, officer_of(granting), signed, NOW)
    assert consents(granting.database) == [kept]
    for path, text in answers(granting, granting.browser("caseworker")).items():
        assert not any(words.search(text) for _, words in FACTS.values()), path


def test_suggestions_are_the_same_with_and_without_the_consents(granting: TestSite):  # R5, R7
    browser, handle = granting.browser("caseworker"), granting.handle("caseworker", "s02")
    before = browser.get(f"/api/v1/students/{handle}/suggestions").json()
    assert [one["support"] for one in before["suggestions"]] == ["mentoring"]
    signed = SignedConsent(
        "s02", "tutors", frozenset(FACTS), "Help", "A parent", date(2026, 4, 1), date(2026, 8, 31)
    )
    add_consent(granting.database, officer_of(granting), signed, NOW)
    assert browser.get(f"/api/v1/students/{handle}/suggestions").json() == before


def twins(homeless: str) -> district.Rows:
    """s01 and s02 alike in all that the tutors see, absent the last four school days; one has no
    stable home.
    """
    rows = copy.deepcopy(district.rows())
    for name in (
        "attendance_events",
        "course_grades",
        "assessments",
        "service_sessions",
        "service_enrollments",
    ):
        rows[name] = [row for row in rows[name] if row["student_id"] != "s02"]
    rows["attendance_events"] = [
        row for row in rows["attendance_events"] if row["student_id"] != "s01"
    ]
    rows["attendance_events"] += [
        {"student_id": "s01", "school_id": "k2", "date": day, "status": "absent_unexcused"}
        for day in district.school_days()[-4:]
    ]
    for name in (
        "attendance_events",
        "course_grades",
        "assessments",
        "service_sessions",
        "service_enrollments",
    ):
        rows[name] += [
            row
            | {"student_id": "s02"}
            | ({"session_id": f"twin {row['session_id']}"} if "session_id" in row else {})
            for row in rows[name]
            if row["student_id"] == "s01"
        ]
    for row in rows["students"]:
        if row["student_id"] in ("s01", "s02"):
            row |= {"first_name": "Given", "last_name": "Twin", "grade_level": 5, "school_id": "k2"}
    for row in rows["characteristics"]:
        if row["student_id"] in ("s01", "s02"):
            row |= dict.fromkeys(
                ("unstable_housing", "meal_eligible"), row["student_id"] == homeless
            )
    return rows


def test_a_homeless_student_and_a_housed_twin_get_the_same_alert_and_the_same_place(
    filled_home: Path, tmp_path: Path, model: RankerModel
):  # R7, R8
    homes = {homeless: tmp_path / homeless for homeless in ("s01", "s02")}
    for home in homes.values():
        shutil.copytree(filled_home, home)
    first = open_site(homes["s01"])
    grant(first)
    token = start_session(
        first.database, active_staff_member(first.database, STAFF["caseworker"][0]), NOW
    )
    first.database.engine.dispose()
    shutil.copyfile(homes["s01"] / "handrail.db", homes["s02"] / "handrail.db")
    seen = []
    for homeless, home in homes.items():
        snapshot_of(twins(homeless), home)
        site = open_site(home)
        install_model(site, model)
        browser = site.browser()
        browser.cookies.set("handrail", token)
        told = {
            student: browser.get(
                f"/api/v1/students/{site.handle('caseworker', student)}/alerts"
            ).json()["alerts"]
            for student in ("s01", "s02")
        }
        assert (
            told["s01"] == told["s02"]
            and told["s01"][0]["headline"]
            == "Absent the last 4 school days in a row, excused or not"
        )
        order = re.findall(r'href="/students/([0-9a-f]{20})"', browser.get("/caseload").text)
        places = [order.index(site.handle("caseworker", student)) for student in ("s01", "s02")]
        assert abs(places[0] - places[1]) == 1
        pages = {student: answers(site, browser, student=student) for student in ("s01", "s02")}
        assert not any(
            words.search(text)
            for found in pages.values()
            for text in found.values()
            for _, words in FACTS.values()
        )
        seen.append(pages)
    assert seen[0] == seen[1]
