"""The page of data loads: how fresh, what became of rows, what looks odd; and what an old feed
silences.
"""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

from records.canonical.quarantine import Value
from records.checks.school_figures import keep_figures, school_figures
from records.connectors.oneroster.files import OneRosterFiles
from records.connectors.partner_files.service_history import ServiceHistory
from records.connectors.profiles.profile import read_profile
from records.disclosure_log.limits import DisclosureLimits
from records.loading.load import load
from records.loading.load_history import STALE_AFTER, record_load
from records.loading.load_report import LoadReport
from records.snapshots.snapshot import Snapshot
from tests.records.conftest import snapshot_of
from tests.serving import district
from tests.serving.conftest import NOW, TestSite, open_site
from tests.serving.html_text import one_line

NewSite = Callable[[str], TestSite]
Rows = dict[str, list[dict[str, Value]]]


def loaded(site: TestSite, hours_ago: float) -> None:
    report = LoadReport("rows", snapshot_id=Snapshot.current(site.home).id)
    record_load(
        site.home, report, ("students", "attendance_events"), NOW - timedelta(hours=hours_ago)
    )


def damage(site: TestSite) -> None:
    """Load the district again with a conflicting mark of s01, which is set aside, and a child born
    in 1990.
    """
    rows = district.rows()
    rows["course_grades"].append(rows["course_grades"][0] | {"grade": 11.0})
    rows["students"][3]["birth_date"] = NOW.date().replace(year=1990)
    snapshot_of(rows, site.home)


def test_an_old_feed_is_said_on_each_page_and_no_absence_raises_an_alert(new_site: NewSite):  # R42
    fresh, old = new_site("fresh"), new_site("old")
    loaded(fresh, 35)
    loaded(old, STALE_AFTER / timedelta(hours=1) + 0.1)
    before, after = (
        one_line(site.browser("caseworker").get("/caseload").text) for site in (fresh, old)
    )
    assert "Absent the last 5 school days in a row" in before
    assert "Attendance was last loaded on" not in before
    assert "Attendance was last loaded on April 15, 2026, 10:24 PM" in after
    assert "Absent" not in after
    assert "Grade below 60" in after, "what is not about absences is still raised"
    assert "Attendance was last loaded on" in one_line(
        old.browser("district_admin").get("/agreements").text
    )
    handle = old.handle("caseworker", "s01")
    alerts = old.browser("caseworker").get(f"/api/v1/students/{handle}/alerts").json()["alerts"]
    assert not [alert for alert in alerts if "Absent" in alert["headline"]]


def test_the_page_says_how_fresh_what_is_odd_and_what_was_set_aside(site: TestSite):
    damage(site)
    loaded(site, 40)
    page = one_line(site.browser("district_admin").get("/data").text)
    assert "More than 36 hours ago" in page
    row = next(
        one for one in page.split("<tr>") if "Students younger than 2 or older than 22" in one
    )
    assert re.findall(r"<td[^>]*>(.*?)</td>", row) == ["Impossible date", "1", "12", "8%"]
    assert re.search(r"another row has the same key.*</td><td class=\"number\">1</td>", page)
    assert "/data/quarantine.csv" in page
    assert "/data/quarantine.csv" not in one_line(site.browser("data_scientist").get("/data").text)


def test_the_page_names_no_student(site: TestSite):
    damage(site)
    page = one_line(site.browser("data_scientist").get("/data").text)
    students = district.rows()["students"]
    names = [
        str(row[name]) for row in students for name in ("first_name", "last_name", "student_id")
    ]
    assert not [name for name in names if re.search(rf"\b{name}\b", page)]
    assert site.log() == []


def test_the_file_of_rows_set_aside_is_the_districts_alone_and_is_written_down(
    site: TestSite,
):  # R23, R27
    damage(site)
    answer = site.browser("district_admin").get("/data/quarantine.csv")
    assert answer.headers["content-type"] == "text/csv; charset=utf-8"
    *rows, last = csv.DictReader(io.StringIO(answer.text))
    assert [row["file"] for row in rows] == ["course_grades.rows"]
    assert last["file"].startswith("# Shown to Staff district_admin, The District")
    assert [(row.student_id, row.route) for row in site.log()] == [("s01", "/data/quarantine.csv")]
    for who in ("caseworker", "partner_admin", "data_scientist", "equity_reviewer"):
        assert site.browser(who).get("/data/quarantine.csv").status_code == 404


def test_rows_that_name_too_many_students_for_a_page_are_taken_by_command(site: TestSite):  # R31
    damage(site)
    site.database.engine.dispose()
    page = one_line(
        open_site(site.home, DisclosureLimits(per_response=0))
        .browser("district_admin")
        .get("/data")
        .text
    )
    assert "/data/quarantine.csv" not in page and "handrail records quarantine --to FILE" in page


def test_what_waits_and_what_stays_is_counted_without_a_name(site: TestSite, tmp_path: Path):
    students = [str(row["student_id"]) for row in district.rows()["students"]]
    lines = [f"{student},student,Ann,Lee,05" for student in students]
    header = "sourcedId,role,givenName,familyName,grades"
    (tmp_path / "users.csv").write_text("\n".join([header, *lines]) + "\n")
    load(OneRosterFiles(), tmp_path, site.home, merge=True)
    page = one_line(site.browser("district_admin").get("/data").text)
    assert "None: every row is of a student in the present roster." in page
    assert (
        "<code>attendance.csv</code>, so these stay as an earlier load brought them: attendance"
        " events" in page
    )
    assert "<code>results.csv</code>, so these stay empty: marks for single pieces of work" in page
    (tmp_path / "enrollments.csv").write_text(
        "student_id,program_id,organization_id,start_date\nVanished77,p1,tutors,2026-01-05\n"
    )
    load(ServiceHistory("tutors"), tmp_path, site.home, merge=True)
    for role in ("district_admin", "data_scientist"):
        page = one_line(site.browser(role).get("/data").text)
        assert (
            "1 row of program enrollments of 1 student who is not in the present roster is waiting;"
            " it comes back with the student" in page
        )
        assert "after 400 days" in page and "Vanished77" not in page


def test_the_page_says_by_which_profile_a_source_was_read(site: TestSite, tmp_path: Path):
    (tmp_path / "users.csv").write_text(
        "sourcedId,role,givenName,familyName,grades\n"
        + "".join(
            f"{row['student_id']},student,Ann,Lee,05\n" for row in district.rows()["students"]
        )
    )
    own = site.home / "profiles" / "oneroster.toml"
    own.parent.mkdir()
    own.write_text('[attendance.codes]\nU = "absent_unexcused"\n')
    profile = read_profile("oneroster", site.home)
    load(OneRosterFiles(profile=profile), tmp_path, site.home, merge=True)
    browser = site.browser("data_scientist")
    version = f"version <code>{profile.digest[:12]}</code> (<code>profiles/oneroster.toml</code>)."
    page = one_line(browser.get("/data").text)
    assert version in page and "changed since" not in page
    own.write_text('[attendance.codes]\nU = "absent_excused"\n')
    page = one_line(browser.get("/data").text)
    assert f"{version} profiles/oneroster.toml changed since the last load: load again." in page
    assert "By which profile each source was read: 1 changed since" in page


def test_two_partners_who_send_the_same_kind_of_files_are_told_apart(
    site: TestSite, tmp_path: Path
):
    for hours, partner in ((50, "tutors"), (1, "harbor")):
        folder = tmp_path / partner
        folder.mkdir()
        (folder / "programs.csv").write_text(
            f"program_id,organization_id,name\n{partner}-1,{partner},Help\n"
        )
        report = load(ServiceHistory(partner), folder, site.home, merge=True)
        record_load(site.home, report, ("programs",), NOW - timedelta(hours=hours))
    page = one_line(site.browser("district_admin").get("/data").text)
    rows = dict(
        re.findall(
            r'<tr><th scope="row">(Partners&#39; service history: \w+)</th><td[^>]*>(.*?)</td>',
            page,
        )
    )
    assert sorted(rows) == [
        "Partners&#39; service history: Tutors",
        "Partners&#39; service history: harbor",
    ]
    assert "More than 36 hours ago" in rows["Partners&#39; service history: Tutors"]
    assert "More than" not in rows["Partners&#39; service history: harbor"]
    assert page.count(">Partners&#39; service history: Tutors</h2>") == 1


def larger_district(absent: int) -> Rows:
    """The district with 30 more students at Harbor School, some of them absent on every day."""
    rows = district.rows()
    harbor = next(row for row in rows["schools"] if row["name"] == "Harbor School")["school_id"]
    for number in range(30):
        student = f"x{number:02}"
        rows["students"].append(
            {"student_id": student, "first_name": "Xenia", "school_id": harbor, "grade_level": 6}
        )
        rows["attendance_events"] += [
            {"student_id": student, "school_id": harbor, "date": day, "status": "absent_excused"}
            for day in district.school_days()
            if number < absent
        ]
    return rows


def cells(page: str, figure: str) -> list[str]:
    """What stands beside a figure of Harbor School."""
    harbor = page[page.index('aria-label="Figures of Harbor School"') :]
    row = next(one for one in harbor.split("<tr>") if f'<th scope="row">{figure}</th>' in one)
    return re.findall(r"<td[^>]*>(.*?)</td>", row)


def test_each_schools_figures_stand_beside_the_last_load_with_what_is_odd_first(site: TestSite):
    before = snapshot_of(larger_district(2), site.home)
    loaded(site, 40)
    keep_figures(site.home, before, school_figures(before, NOW.date()))
    snapshot_of(larger_district(20), site.home)
    loaded(site, 20)
    for who in ("district_admin", "data_scientist"):
        page = one_line(site.browser(who).get("/data").text)
        odd = page.index("At Harbor School the average attendance is")
        assert page.index("Beyond what is plausible, the worst first") < odd
        assert odd < page.index('aria-label="Figures of Harbor School"')
        assert "The last load with other records was on April 17, 2026" in page
        assert "Plausible for the average attendance: 80% to 99%. NCES" in page
        now, was, others, plausible = cells(page, "The average attendance")
        assert re.fullmatch(r"\d\d% <span class=\"tag tag-bad\">Not plausible</span>", now)
        assert re.fullmatch(r"9\d%", was)
        assert (others, plausible) == ("none", "80% to 99%")
        assert cells(page, "The share of English learners")[0] == "unknown"
        assert "Xenia" not in page and not re.search(r"\bx\d\d\b", page)
    assert site.log() == []


def test_a_school_of_fewer_than_ten_students_shows_no_figure_about_them(site: TestSite):
    page = one_line(site.browser("data_scientist").get("/data").text)
    assert "Nothing is beyond what is plausible." in page
    for figure in ("The number of students enrolled", "The average attendance"):
        assert cells(page, figure)[0] == "withheld"
