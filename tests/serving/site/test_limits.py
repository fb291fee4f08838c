"""Nobody takes all students' records: so many in one answer, so many in one day, and the district
is told.
"""

from __future__ import annotations

import re
import shutil
from datetime import datetime, timedelta
from pathlib import Path

import httpx2
import pytest

from records.disclosure_log.limits import DisclosureLimits
from records.disclosure_log.verification import verify_log
from records.staff.notices import Notice, notices
from tests.records.conftest import snapshot_of
from tests.serving import district
from tests.serving.conftest import TestSite, open_site

_NAME = re.compile("Given[0-9]+|Lastname|Quillfeather")


@pytest.fixture
def small(filled_home: Path, tmp_path: Path) -> TestSite:
    """At most three students in one answer, at most four in a day."""
    shutil.copytree(filled_home, tmp_path / "home")
    return open_site(tmp_path / "home", DisclosureLimits(per_response=3, a_day=4))


def seen_by(site: TestSite, who: str) -> set[str | None]:
    """Students whom the log has this person see."""
    user = next(row.user_id for row in site.log() if row.organization_id == site_organization(who))
    return {row.student_id for row in site.log() if row.user_id == user}


def site_organization(who: str) -> str:
    return {"district_admin": "district", "caseworker": "tutors"}[who]


def refused(response: httpx2.Response) -> bool:
    assert response.status_code in (200, 429), response.text
    if response.status_code == 429:
        assert not _NAME.search(response.text)
        assert "Nothing was shown" in response.text
    return response.status_code == 429


def about_limits(site: TestSite) -> list[Notice]:
    return [notice for notice in notices(site.database) if notice.kind == "too-many-students"]


@pytest.mark.parametrize("who", ["caseworker", "district_admin"])
@pytest.mark.parametrize(
    "path", ["/students/{}", "/api/v1/students/{}", "/api/v1/students/{}/alerts"]
)
def test_the_fifth_student_of_a_day_is_shown_to_nobody(small: TestSite, who: str, path: str):  # R31
    browser = small.browser(who)
    handles = [small.handle(who, student) for student in district.TUTORED]
    answers = [browser.get(path.format(handle)) for handle in handles]
    assert [refused(answer) for answer in answers] == [False] * 4 + [True] * 2
    assert len(small.log()) == 4 and verify_log(small.database).rows == 4, (
        "what was not shown is not on the log as shown"
    )
    assert answers[4].headers["retry-after"] == str(13 * 60 * 60 + 30 * 60), (
        "to midnight from half past ten"
    )
    if path.startswith("/api/"):
        assert answers[4].json()["error"] == "You have reached today's limit"
    else:
        assert "at most 4 different students in a day" in answers[4].text
    assert not refused(browser.get(path.format(handles[0]))), "whom they saw today stays open"
    assert refused(browser.get(path.format(handles[5])))


def test_a_spreadsheet_for_each_family_counts_as_one_student(small: TestSite):  # R31
    browser = small.browser("district_admin")
    handles = [small.handle("district_admin", student) for student in district.STUDENTS]
    for end in (".csv", ".pdf", ""):
        answers = [browser.get(f"/students/{handle}/disclosures{end}") for handle in handles]
        assert [answer.status_code for answer in answers] == [200] * 4 + [429] * 8
        assert not any(_NAME.search(answer.text) for answer in answers[4:])


@pytest.mark.parametrize(
    ("who", "path"),
    [
        ("caseworker", "/caseload"),
        ("caseworker", "/api/v1/students"),
        ("caseworker", "/caseload?q=given"),
        ("district_admin", "/students"),
        ("district_admin", "/api/v1/students?limit=4"),
    ],
)
def test_a_list_longer_than_the_limit_is_not_shown(small: TestSite, who: str, path: str):  # R31
    answer = small.browser(who).get(path)
    assert refused(answer) and "At most 3 students can be shown at once" in answer.text
    assert "retry-after" not in answer.headers, "tomorrow the same answer would be as long"
    assert small.log() == [] and len(about_limits(small)) == 1


def test_the_district_is_told_once_a_day_of_each_person(small: TestSite):  # R31
    caseworker, officer = small.browser("caseworker"), small.browser("district_admin")
    for path in ("/caseload", "/api/v1/students", "/caseload?sort=name"):
        refused(caseworker.get(path))
    refused(officer.get("/students"))
    small.clock[0] += timedelta(days=1)
    refused(small.browser("caseworker").get("/caseload"))
    told = about_limits(small)[::-1]
    assert [(one.at.date().day, one.text.split(" requested")[0]) for one in told] == [
        (17, "Staff caseworker of Tutors"),
        (17, "Staff district_admin of The District"),
        (18, "Staff caseworker of Tutors"),
    ]
    page = small.browser("district_admin").get("/notices").text
    assert (
        "requested the records of more than 3 different students at once and access was blocked"
        in page
    )
    assert small.browser("caseworker").get("/notices").status_code == 404


def test_a_notice_leads_to_what_that_person_saw(small: TestSite):  # R31
    caseworker = small.browser("caseworker")
    for student in district.TUTORED[:5]:
        caseworker.get(f"/students/{small.handle('caseworker', student)}")
    small.browser("coordinator").get(f"/students/{small.handle('coordinator', 's01')}")
    small.clock[0] += timedelta(hours=2)
    officer = small.browser("district_admin")
    (told,) = about_limits(small)
    assert told.path in officer.get("/notices").text
    page = officer.get(told.path)
    assert refused(page), "four students are more than this district shows at once"
    wide = open_site(small.home)
    page = wide.browser("district_admin").get(told.path)
    assert "4 views by Staff caseworker" in page.text and page.text.count("Staff coordinator") == 0


def test_two_people_do_not_share_a_limit_and_the_next_day_starts_anew(small: TestSite):  # R31
    small.clock[0] = datetime(2026, 4, 17, 23, 59, 59)
    browser = small.browser("caseworker")
    paths = [f"/students/{small.handle('caseworker', student)}" for student in district.TUTORED]
    assert [refused(browser.get(path)) for path in paths] == [False] * 4 + [True] * 2
    assert browser.get(paths[4]).headers["retry-after"] == "1"
    assert not refused(small.browser("coordinator").get(paths[4])), (
        "somebody else of the same organization"
    )
    small.clock[0] += timedelta(seconds=1)
    assert [refused(browser.get(path)) for path in paths[2:]] == [False] * 4


def test_when_the_district_cannot_be_told_nothing_is_shown_either(small: TestSite):  # R31, R23
    with small.database.engine.begin() as connection:
        connection.exec_driver_sql("ALTER TABLE notices RENAME TO gone")
    answer = small.browser("caseworker").get("/caseload")
    assert answer.status_code == 503 and not _NAME.search(answer.text)


def test_the_default_lets_a_large_caseload_be_read_and_stops_whoever_reads_on(
    site: TestSite,
):  # R31
    rows = district.rows()
    many = [f"m{n:04}" for n in range(1, 1_101)]
    rows["students"] = [
        row | {"student_id": student} for student in many for row in rows["students"][1:2]
    ]
    rows["service_enrollments"] = [
        rows["service_enrollments"][0] | {"student_id": student} for student in many[:618]
    ]
    for name in (
        "characteristics",
        "attendance_events",
        "course_grades",
        "behavior_incidents",
        "assessments",
        "service_sessions",
    ):
        rows[name] = []
    snapshot_of(rows, site.home)
    caseworker, officer = site.browser("caseworker"), site.browser("district_admin")
    assert not any(
        refused(caseworker.get(f"/caseload?sort=name&page={page}")) for page in range(1, 14)
    )
    assert len(seen_by(site, "caseworker")) == 618 and about_limits(site) == []
    read = [
        refused(officer.get(f"/api/v1/students?limit=200&offset={offset}"))
        for offset in range(0, 1_100, 200)
    ]
    assert read == [False] * 5 + [True]
    assert refused(officer.get("/students?sort=name&page=21")) and not refused(
        officer.get("/students?sort=name")
    )
    assert len(seen_by(site, "district_admin")) == 1_000 and len(about_limits(site)) == 1
    assert officer.get("/api/v1/students?limit=201").status_code == 422
