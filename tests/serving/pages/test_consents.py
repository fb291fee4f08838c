"""The district's page of consents: each change is checked, written down with who made it, and
counts at once.
"""

from __future__ import annotations

from datetime import date

import httpx2
import pytest

from records.canonical.schema import Category
from records.permissions.consents import consents
from records.permissions.opt_outs import opt_outs
from records.staff.accounts import active_staff_member
from tests.serving import district
from tests.serving.conftest import NOW, STAFF, TestSite
from tests.serving.crawl import csrf_of
from tests.serving.html_text import one_line

SIGNED = {
    "organization_id": "tutors",
    "categories": ["housing", "meal_eligibility"],
    "purpose": "Help with housing",
    "signer": "A parent",
    "signed_on": "2026-04-01",
    "expires_on": "2026-08-31",
}


@pytest.fixture
def officer(site: TestSite) -> httpx2.Client:
    return site.browser("district_admin")


@pytest.fixture
def path(site: TestSite) -> str:
    return f"/consents/{site.handle('district_admin', 's01')}"


def post(browser: httpx2.Client, path: str, **fields: object) -> httpx2.Response:
    return browser.post(path, data={"csrf": csrf_of(browser.get("/consents"))} | fields)


def test_a_consent_is_written_down_with_who_did_it_and_shown(
    site: TestSite, officer: httpx2.Client, path: str
):
    answer = post(officer, path, **SIGNED)
    assert (answer.status_code, answer.headers["location"]) == (303, f"{path}?done=added")
    (kept,) = consents(site.database, "s01")
    me = active_staff_member(site.database, STAFF["district_admin"][0]).user_id
    assert (kept.recorded_by, kept.recorded_at) == (me, NOW)
    assert kept.signed.categories == {Category.HOUSING, Category.MEAL_ELIGIBILITY}
    assert (kept.signed.signed_on, kept.signed.expires_on) == (date(2026, 4, 1), date(2026, 8, 31))
    page = one_line(officer.get(f"{path}?done=added").text)
    assert "Tutors may see housing, meal eligibility" in page and "Consent saved" in page
    assert "Recorded by Staff district_admin on April 17, 2026, 10:30 AM" in page
    assert 'Tutors</th><td class="number">1<' in one_line(officer.get("/consents").text)


def test_a_revocation_names_who_took_it_back_and_from_which_day(
    site: TestSite, officer: httpx2.Client, path: str
):
    post(officer, path, **SIGNED)
    (kept,) = consents(site.database, "s01")
    answer = post(
        officer,
        f"{path}/revoke",
        number=str(kept.number),
        revoked_by="The parent",
        revoked_on="2026-04-17",
    )
    assert (answer.status_code, answer.headers["location"]) == (303, f"{path}?done=revoked")
    (revoked,) = consents(site.database, "s01")
    assert (revoked.revoked_by, revoked.revoked_on) == ("The parent", date(2026, 4, 17))
    page = one_line(officer.get(path).text)
    assert "By The parent, as of April 17, 2026" in page and "Revoked" in page
    again = post(
        officer,
        f"{path}/revoke",
        number=str(kept.number),
        revoked_by="The parent",
        revoked_on="2026-04-17",
    )
    assert again.status_code == 422 and "was revoked before" in one_line(again.text)


def test_an_opt_out_and_its_end_are_written_down(site: TestSite, officer: httpx2.Client, path: str):
    assert (
        post(officer, f"{path}/opt-out", day="2026-04-17").headers["location"]
        == f"{path}?done=kept-out"
    )
    assert "1 student is hidden from all partners" in one_line(officer.get("/consents").text)
    page = one_line(officer.get(path).text)
    assert (
        "out of sharing with all partners as of April 17, 2026" in page and "/opt-out/end" in page
    )
    assert post(officer, f"{path}/opt-out", day="2026-04-17").status_code == 422
    assert (
        post(officer, f"{path}/opt-out/end", day="2026-04-17").headers["location"]
        == f"{path}?done=ended"
    )
    (kept,) = opt_outs(site.database, "s01")
    assert (kept.since, kept.ended, kept.end_recorded_at) == (
        date(2026, 4, 17),
        date(2026, 4, 17),
        NOW,
    )
    assert post(officer, f"{path}/opt-out/end", day="2026-04-17").status_code == 422


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        (
            {"organization_id": "nobody"},
            "Partner: this is &#39;nobody&#39;; it must be a registered partner organization.",
        ),
        ({"organization_id": "district"}, "Partner: this is"),
        ({"categories": []}, "Categories shared: this is empty"),
        ({"purpose": " "}, "What the family agreed to: this is empty"),
        ({"signer": ""}, "Signed by: this is empty"),
        ({"signed_on": ""}, "Signed on: this is"),
        ({"signed_on": "2026-04-18"}, "Signed on: this is 2026-04-18, after today"),
        ({"expires_on": "2026-03-01"}, "Valid through: this is 2026-03-01, before the signature"),
    ],
)
def test_what_is_not_right_is_said_and_what_was_filled_in_stays(
    site: TestSite, officer: httpx2.Client, path: str, changes: dict[str, object], said: str
):
    answer = post(officer, path, **(SIGNED | changes))
    assert answer.status_code == 422 and said in one_line(answer.text), answer.text
    assert ("Help with housing" in one_line(answer.text)) == ("purpose" not in changes)
    assert consents(site.database) == []


def test_nothing_changes_without_the_forms_own_token_or_with_a_field_more(
    site: TestSite, officer: httpx2.Client, path: str
):  # R21, R46
    post(officer, path, **SIGNED)
    before = consents(site.database)
    revocation = {
        "number": str(before[0].number),
        "revoked_by": "A parent",
        "revoked_on": "2026-04-17",
    }
    for end, fields in (
        ("", SIGNED),
        ("/revoke", revocation),
        ("/opt-out", {"day": "2026-04-17"}),
        ("/opt-out/end", {"day": "2026-04-17"}),
    ):
        assert officer.post(path + end, data=fields | {"csrf": "x"}).status_code == 403
        assert post(officer, path + end, **(fields | {"recorded_by": "me"})).status_code == 422
    assert consents(site.database) == before and opt_outs(site.database) == []


def test_a_consent_cannot_be_revoked_on_another_students_page(
    site: TestSite, officer: httpx2.Client, path: str
):
    post(officer, path, **SIGNED)
    (kept,) = consents(site.database)
    other = f"/consents/{site.handle('district_admin', 's02')}/revoke"
    answer = post(
        officer, other, number=str(kept.number), revoked_by="A parent", revoked_on="2026-04-17"
    )
    assert answer.status_code == 422 and "This student has no such consent." in one_line(
        answer.text
    )
    assert consents(site.database) == [kept]


def test_a_students_page_is_found_by_code_and_is_a_look(
    site: TestSite, officer: httpx2.Client, path: str
):  # R23, R27
    code = path.rsplit("/", 1)[1]
    assert officer.get("/consents", params={"student": f" {code} "}).headers["location"] == path
    assert officer.get("/consents", params={"student": " s01 "}).headers["location"] == path, (
        "by number"
    )
    missing = officer.get("/consents", params={"student": "0" * 20})
    assert missing.status_code == 422 and "No student has this ID or page code" in one_line(
        missing.text
    )
    before = len(site.log())
    assert (
        district.CANARY not in one_line(officer.get("/consents").text) and len(site.log()) == before
    )
    page = one_line(officer.get(path).text)
    (row,) = site.log()[before:]
    assert (row.student_id, row.route, row.categories) == (
        "s01",
        "/consents/{handle}",
        {"directory"},
    )
    assert district.CANARY in page and "Shown to Staff district_admin" in page
