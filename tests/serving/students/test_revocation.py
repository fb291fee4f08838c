"""Whatever ends, ends for the next request: at the stroke of midnight, by a revocation, with an
account, by a hold.
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from zoneinfo import ZoneInfo

import httpx2
import pytest

from records.access.scope import scope_for
from records.canonical.schema import Category
from records.database.tables import StaffRow
from records.permissions.agreements import (
    AgreementError,
    parse_agreement,
    revoke_agreement,
    save_agreement,
)
from records.permissions.consents import SignedConsent, add_consent, revoke_consent
from records.permissions.legal_holds import place_hold
from records.permissions.opt_outs import add_opt_out, end_opt_out
from records.permissions.reinstatements import reinstate
from records.snapshots.snapshot import Snapshot
from records.staff.accounts import active_staff_member
from records.staff.viewer import Scope
from tests.records.conftest import agreement_text, snapshot_of
from tests.serving import district
from tests.serving.conftest import GRANTED, NOW, SECRET, STAFF, TestSite, open_site
from tests.serving.html_text import one_line

PACIFIC = ZoneInfo("America/Los_Angeles")
ORDINARY, SHORT, LONG = date(2026, 7, 31), date(2026, 3, 8), date(2026, 11, 1)
"""A last day of 24 hours, one of 23 on which clocks go forward, and one of 25 on which they go
back."""


def scope_of(site: TestSite, who: str, now: datetime = NOW) -> Scope:
    viewer = active_staff_member(site.database, STAFF[who][0])
    return scope_for(viewer, site.database, Snapshot.current(site.home), now, SECRET)


def answers(site: TestSite, browser: httpx2.Client, handle: str) -> set[int]:
    """How the page and the answers about one student are answered now."""
    return {
        browser.get(path.format(handle)).status_code
        for path in (
            "/students/{}",
            "/api/v1/students/{}",
            "/api/v1/students/{}/alerts",
            "/api/v1/students/{}/suggestions",
        )
    }


def local(moment: datetime) -> datetime:
    """The district's clock at an instant."""
    return moment.astimezone(PACIFIC).replace(tzinfo=None)


@pytest.mark.parametrize("last_day", [ORDINARY, SHORT, LONG])
def test_an_agreement_ends_with_its_last_day_while_the_session_goes_on(
    site: TestSite, last_day: date
):  # R11
    text = (
        agreement_text(categories=GRANTED)
        .replace("version = 1", "version = 2")
        .replace("2026-07-31", str(last_day))
    )
    text = text.replace("2026-09-30", "2026-12-31")
    save_agreement(site.database, parse_agreement(text, "a1"))
    midnight = datetime.combine(
        last_day + timedelta(days=1), datetime.min.time(), PACIFIC
    ).astimezone(UTC)
    site.clock[0] = local(midnight - timedelta(seconds=1))
    assert site.clock[0] == datetime.combine(last_day, datetime.max.time()).replace(microsecond=0)
    browser, handle = site.browser("caseworker"), site.handle("caseworker", "s01")
    assert answers(site, browser, handle) == {200}
    site.clock[0] = local(midnight)
    assert answers(site, browser, handle) == {404}
    page = browser.get("/agreements/a1")
    assert page.status_code == 200 and "Ended on" in one_line(page.text)


def test_the_hour_that_comes_twice_is_one_of_the_last_day(site: TestSite):  # R11
    text = (
        agreement_text(categories=GRANTED)
        .replace("version = 1", "version = 2")
        .replace("2026-07-31", str(LONG))
    )
    save_agreement(site.database, parse_agreement(text.replace("2026-09-30", "2026-12-31"), "a1"))
    first = datetime(2026, 11, 1, 1, 50, tzinfo=PACIFIC).astimezone(UTC)
    site.clock[0] = local(first)
    browser, handle = site.browser("caseworker"), site.handle("caseworker", "s01")
    for minutes in (0, 20, 40, 60, 80):
        site.clock[0] = local(first + timedelta(minutes=minutes))
        assert answers(site, browser, handle) == {200}, site.clock[0]


def test_taking_part_ends_with_its_last_day(site: TestSite):  # R11
    rows = copy.deepcopy(district.rows())
    for row in rows["service_enrollments"]:
        row |= {"end_date": date(2026, 4, 17)} if row["student_id"] == "s01" else {}
    site.database.engine.dispose()
    snapshot_of(rows, site.home)
    site = open_site(site.home)
    site.clock[0] = datetime(2026, 4, 17, 23, 59, 59)
    browser, handle = site.browser("caseworker"), site.handle("caseworker", "s01")
    assert answers(site, browser, handle) == {200}
    site.clock[0] += timedelta(seconds=1)
    assert answers(site, browser, handle) == {404}
    assert answers(site, browser, site.handle("caseworker", "s02")) == {200}


def by_opt_out(site: TestSite) -> None:
    add_opt_out(site.database, scope_of(site, "district_admin"), "s01", NOW.date(), NOW)


def by_hold(site: TestSite) -> None:
    place_hold(site.database, scope_of(site, "district_admin"), "s01", "A court case", NOW)


def by_suspension(site: TestSite) -> None:
    """An organization is suspended by revoking all that it has."""
    revoke_agreement(site.database, "a1", NOW)


@pytest.mark.parametrize("end", [by_opt_out, by_hold, by_suspension])
def test_what_closes_a_record_closes_it_for_the_next_request(
    site: TestSite, end: Callable[[TestSite], None]
):  # R12
    browser, handle = site.browser("caseworker"), site.handle("caseworker", "s01")
    assert answers(site, browser, handle) == {200}
    assert (
        handle in one_line(browser.get("/caseload").text)
        and handle in browser.get("/api/v1/students").text
    )
    end(site)
    assert answers(site, browser, handle) == {404}
    listed = browser.get("/caseload")
    assert (
        listed.status_code == 200
        and handle not in one_line(listed.text)
        and district.CANARY not in one_line(listed.text)
    )
    assert handle not in browser.get("/api/v1/students").text


def test_a_suspended_organizations_staff_are_told_why_their_list_is_empty(site: TestSite):  # R12
    by_suspension(site)
    assert "no agreement in force today" in one_line(
        site.browser("coordinator").get("/caseload").text
    )


def test_an_opt_out_that_ends_opens_the_record_again(site: TestSite):
    browser, handle = site.browser("caseworker"), site.handle("caseworker", "s01")
    by_opt_out(site)
    assert answers(site, browser, handle) == {404}
    end_opt_out(site.database, scope_of(site, "district_admin").viewer, "s01", NOW.date(), NOW)
    assert answers(site, browser, handle) == {200}


def test_a_closed_account_is_signed_out_at_its_next_request(site: TestSite):  # R12
    browser, handle = site.browser("caseworker"), site.handle("caseworker", "s01")
    with site.database.session() as session:
        session.get_one(
            StaffRow, active_staff_member(site.database, STAFF["caseworker"][0]).user_id
        ).active = False
    page = browser.get(f"/students/{handle}")
    assert page.status_code == 303 and page.headers["location"].startswith("/sign-in")
    assert browser.get(f"/api/v1/students/{handle}").status_code == 401


def by_consent(site: TestSite, until: date = date(2026, 8, 31)) -> int:
    """The tutors see only what families sign for, and the family of s01 has signed for names and
    attendance.
    """
    text = agreement_text(legal_basis="consent", categories=GRANTED).replace(
        "version = 1", "version = 2"
    )
    save_agreement(site.database, parse_agreement(text, "a1"))
    named = frozenset({Category.DIRECTORY, Category.ATTENDANCE})
    signed = SignedConsent("s01", "tutors", named, "Tutoring", "A parent", date(2026, 4, 1), until)
    return add_consent(site.database, scope_of(site, "district_admin"), signed, NOW).number


def test_a_revoked_consent_takes_back_alerts_that_were_worked_out_before_it(site: TestSite):  # R12
    number = by_consent(site)
    browser, handle = site.browser("caseworker"), site.handle("caseworker", "s01")
    assert "in a row" in one_line(browser.get("/caseload").text)
    officer = scope_of(site, "district_admin").viewer
    revoke_consent(site.database, officer, number, by="A parent", on=NOW.date(), now=NOW)
    assert answers(site, browser, handle) == {404}
    after = one_line(browser.get("/caseload").text)
    assert "in a row" not in after and handle not in after


def test_a_consent_that_expires_overnight_is_gone_in_the_morning(site: TestSite):  # R11
    by_consent(site, until=date(2026, 5, 31))
    site.clock[0] = datetime(2026, 5, 31, 23, 59, 59)
    browser, handle = site.browser("caseworker"), site.handle("caseworker", "s01")
    assert answers(site, browser, handle) == {200}
    site.clock[0] += timedelta(seconds=1)
    assert answers(site, browser, handle) == {404}


@pytest.mark.parametrize("end", [by_opt_out, by_hold, by_suspension])
def test_what_is_kept_between_requests_is_kept_for_another_scope_once_something_ended(
    site: TestSite, end: Callable[[TestSite], None]
):  # R12
    before = scope_of(site, "caseworker").fingerprint()
    assert scope_of(site, "caseworker").fingerprint() == before
    end(site)
    assert scope_of(site, "caseworker").fingerprint() != before


def test_a_consents_end_changes_what_is_kept_too(site: TestSite):  # R12
    number = by_consent(site)
    before = scope_of(site, "caseworker").fingerprint()
    officer = scope_of(site, "district_admin").viewer
    revoke_consent(site.database, officer, number, by="A parent", on=NOW.date(), now=NOW)
    assert scope_of(site, "caseworker").fingerprint() != before


def test_a_newer_version_of_a_revoked_agreement_opens_nothing_until_an_officer_takes_that_back(
    site: TestSite,
):  # R12
    browser, handle = site.browser("caseworker"), site.handle("caseworker", "s01")
    text = agreement_text(categories=GRANTED).replace("version = 1", "version = 2")
    revoke_agreement(site.database, "a1", NOW)
    with pytest.raises(AgreementError, match="was revoked"):
        save_agreement(site.database, parse_agreement(text, "a1"))
    assert answers(site, browser, handle) == {404}
    officer = scope_of(site, "district_admin").viewer
    reinstate(site.database, parse_agreement(text, "a1"), officer, "The breach was put right", NOW)
    assert answers(site, browser, handle) == {200}
    said = "The breach was put right"
    assert said in one_line(site.browser("district_admin").get("/agreements/a1").text)
    assert said not in one_line(browser.get("/agreements/a1").text), "why is for the district"
