"""Rosters and gradebooks as districts really export them, with what each record then means.

Each case of real exports that once went wrong is loaded from its folder; the tests beside it try
other spellings of the same, in both versions of the standard, as files and over REST.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Mapping
from datetime import date
from pathlib import Path
from typing import Any

import pytest

from records.connectors.oneroster.files import OneRosterFiles
from records.connectors.powerschool import STORED_GRADES, STUDENTS
from records.connectors.protocol import SourceRefused
from records.loading.load import load
from records.loading.load_report import LoadReport
from records.snapshots.snapshot import Snapshot
from tests.records.fake_http_server import Reply
from tests.records.fake_oneroster_api import LONG_AGO, FakeOneRosterApi
from tests.records.fake_powerschool import FakePowerSchool, fill
from tests.records.synthetic_roster import Roster, roster, write_csv


def loaded(folder: Path, home: Path) -> LoadReport:
    """Load a folder; every physical line of it must be accounted for."""
    report = load(OneRosterFiles(), folder, home)
    lines = {
        file.name: len(file.read_bytes().splitlines()) - 1
        for file in folder.glob("*.csv")
        if len(file.read_bytes().splitlines()) > 1
    }
    assert {count.file: count.read for count in report.files} == lines
    assert all(
        count.read == count.kept + count.quarantined + count.duplicates + count.ignored
        for count in report.files
    )
    return report


def loaded_case(name: str, cases: Path, tmp_path: Path) -> LoadReport:
    return loaded(cases / name, tmp_path / "home")


def loaded_roster(made: Roster, tmp_path: Path, version: str = "1.1") -> LoadReport:
    folder = tmp_path / "in"
    shutil.rmtree(folder, ignore_errors=True)
    write_csv(made, folder, version=version)
    (folder / "manifest.csv").unlink()
    return loaded(folder, tmp_path / "home")


def rows(tmp_path: Path, table: str) -> list[dict[str, Any]]:
    all_rows: list[dict[str, Any]] = (
        Snapshot.current(tmp_path / "home").table(table).to_pyarrow().to_pylist()
    )
    return all_rows


def column(tmp_path: Path, table: str, name: str) -> dict[str, Any]:
    return {row["student_id"]: row[name] for row in rows(tmp_path, table)}


def asides(tmp_path: Path) -> list[tuple[str, int, str | None, str]]:
    return [
        (row["file"], row["line"], row["column"], row["reason"])
        for row in Snapshot.current(tmp_path / "home").quarantined().to_pylist()
    ]


def ignored(report: LoadReport, file: str) -> Mapping[str, int]:
    return next(count.ignored_kinds for count in report.files if count.file == file)


def test_a_class_for_four_grades_says_nothing_about_one_student(cases: Path, tmp_path: Path):
    loaded_case("21-or-class-grades", cases, tmp_path)
    assert column(tmp_path, "students", "grade_level") == {"1": 12, "2": 11}
    assert column(tmp_path, "school_enrollments", "grade_level") == {"1": 12, "2": 11}


@pytest.mark.parametrize(
    ("own", "of_class", "expected"),
    [
        ("12", "09,10,11,12", 12),
        ("12", "09;10;11;12", 12),
        ("12", "09", 12),
        ("", "09,10,11,12", None),
        ("", "9-12", None),
        ("", "09", 9),
        ("", '["09"]', 9),
        ("", "09,9th", 9),
        ("10,11", "11", 11),
        ("10,11", "10,11", None),
        ("10;11", "", None),
        ("10,10th", "", 10),
        ("UG", "09", None),
        ("ninety", "09", None),
        ("Ninth grade", "10", 9),
        ("", "", None),
    ],
)
def test_a_students_own_grade_wins_over_that_of_a_class(
    own: str, of_class: str, expected: int | None, tmp_path: Path
):
    made = roster(1)
    made["users.csv"]["s0"]["grades"] = own
    for in_class in made["classes.csv"].values():
        in_class["grades"] = of_class
    loaded_roster(made, tmp_path)
    assert column(tmp_path, "students", "grade_level") == {"s0": expected}
    assert column(tmp_path, "school_enrollments", "grade_level") == {"s0": expected}


def test_classes_of_different_grades_do_not_say_which_is_the_students(tmp_path: Path):
    made = roster(1)
    made["users.csv"]["s0"]["grades"] = ""
    enrollment = made["enrollments.csv"]["e-s0"]
    made["enrollments.csv"]["e2"] = enrollment | {"classSourcedId": "c2"}
    loaded_roster(made, tmp_path)
    assert column(tmp_path, "students", "grade_level") == {"s0": None}


def test_the_grade_now_is_not_the_grade_of_an_earlier_year(tmp_path: Path):
    made = roster(1)
    enrollment = made["enrollments.csv"]["e-s0"]
    made["classes.csv"]["c1"]["grades"] = "05"
    made["classes.csv"]["c3"] = made["classes.csv"]["c1"] | {"grades": "05,06"}
    made["enrollments.csv"]["old"] = enrollment | {"beginDate": "2024-08-19"}
    made["enrollments.csv"]["e-s0"] = enrollment | {"classSourcedId": "c3"}
    loaded_roster(made, tmp_path)
    stays = {row["school_year"]: row["grade_level"] for row in rows(tmp_path, "school_enrollments")}
    assert stays == {2025: 5, 2026: 6}


def test_a_student_in_no_grade_stays_with_all_records(cases: Path, tmp_path: Path):
    report = loaded_case("22-or-grades-ug", cases, tmp_path)
    grades = {"1": None, "2": None, "3": None, "4": 7, "5": 7, "6": 7, "7": -1, "8": -1, "9": 0}
    assert column(tmp_path, "students", "grade_level") == grades
    assert column(tmp_path, "school_enrollments", "grade_level") == grades
    assert [row["grade"] for row in rows(tmp_path, "gradebook_entries")] == [75.0]
    assert asides(tmp_path) == []
    assert not any("not understood" in note for note in report.notes)


def test_a_word_that_is_no_grade_is_named_and_the_student_stays(tmp_path: Path):
    made = roster(4)
    for student, text in (("s0", "ninety"), ("s1", "ninety"), ("s2", "Level Q")):
        made["users.csv"][student]["grades"] = text
    report = loaded_roster(made, tmp_path)
    assert column(tmp_path, "students", "grade_level") == dict.fromkeys(("s0", "s1", "s2")) | {
        "s3": 7
    }
    assert report.notes[-1] == (
        "users.csv: grades is not understood in 3 records: 'ninety' (2), 'Level Q' (1); the grade"
        " stays unknown there"
    )


def test_terms_make_the_school_year_where_none_is_listed(cases: Path, tmp_path: Path):
    report = loaded_case("25-or-terms-only", cases, tmp_path)
    days = {row["date"] for row in rows(tmp_path, "calendar")}
    assert {row["school_year"] for row in rows(tmp_path, "calendar")} == {2026}
    assert report.rows["calendar"] == 2 * 190 and len(days) == 90 + 100
    assert date(2025, 12, 22) not in days, "between the terms there is no school"
    assert {missing.file: missing.stays_empty for missing in report.missing}["calendar.csv"] == (
        "school days (worked out from terms instead)"
    )
    assert report.notes == [
        "school days were worked out from the weekdays of each school year: holidays count as days",
        "academicSessions.csv lists no school year 2025-2026: it was put together from terms (2),"
        " from 2025-08-18 to 2026-05-22",
    ]
    assert len({row["date"] for row in rows(tmp_path, "attendance_events")} & days) == 20


def session(kind: str, start: str, end: str, title: str = "", year: str = "") -> dict[str, str]:
    return {"title": title, "type": kind, "startDate": start, "endDate": end, "schoolYear": year}


FALL, SPRING = ("2025-08-18", "2025-12-19"), ("2026-01-05", "2026-05-29")


@pytest.mark.parametrize("year", ["2026", "", "2025-2026", "2025"])
@pytest.mark.parametrize("kind", ["term", "semester", "gradingPeriod", "Term"])
def test_a_school_year_is_named_for_the_year_in_which_it_ends(kind: str, year: str, tmp_path: Path):
    made = roster(1)
    made["academicSessions.csv"] = {
        "f": session(kind, *FALL, "Fall", year),
        "s": session(kind, *SPRING, "Spring", year),
        "u": session(kind, "2026-06-08", "2026-07-17", "Summer 2026", year),
    }
    loaded_roster(made, tmp_path)
    calendar = rows(tmp_path, "calendar")
    assert {row["school_year"] for row in calendar} == {2026}
    assert max(row["date"] for row in calendar) == date(2026, 5, 29), "a summer session is extra"


@pytest.mark.parametrize("kind", ["schoolYear", "SchoolYear", "school year", "SCHOOLYEAR"])
def test_a_summer_session_within_a_listed_school_year_is_no_regular_time(kind: str, tmp_path: Path):
    made = roster(1)
    made["academicSessions.csv"] = {
        "y": session(kind, "2025-07-01", "2026-06-30", "2025-2026"),
        "s": session("term", *SPRING),
        "p": session("term", "2025-06-16", "2025-06-27", "Orientation", "2026"),
        "u": session("term", "2026-06-01", "2026-07-17", "Summer session"),
    }
    loaded_roster(made, tmp_path)
    days = {row["date"] for row in rows(tmp_path, "calendar")}
    assert (min(days), max(days)) == (date(2025, 7, 1), date(2026, 5, 29))


def test_sessions_that_say_nothing_are_put_aside_and_missing_days_are_named(tmp_path: Path):
    made = roster(1)
    made["academicSessions.csv"] = {
        "a": session("term", "2025-12-19", "2025-08-18"),
        "b": session("schoolYear", "2000-01-01", "2099-12-31"),
    }
    report = loaded_roster(made, tmp_path)
    assert asides(tmp_path) == [
        ("academicSessions.csv", 2, "endDate", "endDate 2025-08-18 is before startDate 2025-12-19"),
        (
            "academicSessions.csv",
            3,
            "endDate",
            "the session lasts 36,524 days; a school year or a term is shorter than 550 days",
        ),
    ]
    assert {missing.file: missing.stays_empty for missing in report.missing}["calendar.csv"] == (
        "school days (academicSessions.csv has no school year and no term with dates either)"
    )


def test_an_enrollment_without_a_date_begins_with_the_term_of_its_class(
    cases: Path, tmp_path: Path
):
    report = loaded_case("29-or-no-begin-date", cases, tmp_path)
    stays = {
        row["student_id"]: (
            row["school_id"],
            row["school_year"],
            row["entry_date"],
            row["exit_date"],
        )
        for row in rows(tmp_path, "school_enrollments")
    }
    assert stays == {
        "1": ("100", 2026, date(2025, 8, 18), None),
        "2": ("100", 2026, date(2025, 8, 18), date(2025, 10, 3)),
    }
    assert report.notes == [
        "enrollments without beginDate: 2 (they were taken to begin with the first term of their"
        " class)"
    ]


def test_without_a_term_an_enrollment_begins_with_the_school_year_if_there_is_one(tmp_path: Path):
    made = roster(2)
    for id_ in ("e-s0", "e-s1"):
        made["enrollments.csv"][id_]["beginDate"] = ""
    report = loaded_roster(made, tmp_path)
    assert set(column(tmp_path, "school_enrollments", "entry_date").values()) == {date(2025, 8, 18)}
    assert report.notes[-1] == (
        "enrollments without beginDate, whose class has no term that is known: 2 (they were taken"
        " to begin with the school year)"
    )
    made["academicSessions.csv"]["y2"] = session("schoolYear", "2026-08-17", "2027-05-28")
    loaded_roster(made, tmp_path)
    assert "school_enrollments" not in Snapshot.current(tmp_path / "home").manifest["hashes"]
    assert asides(tmp_path)[0] == (
        "enrollments.csv",
        3,
        "beginDate",
        "beginDate is empty, and neither a term of the class nor a single school year in"
        " academicSessions.csv says when the enrollment began",
    )


@pytest.mark.parametrize(
    ("back", "stays"),
    [
        ("2026-01-05", [(date(2025, 8, 18), None)]),
        (
            "2026-02-02",
            [(date(2025, 8, 18), date(2025, 12, 19)), (date(2026, 2, 2), None)],
        ),
    ],
)
def test_who_has_no_class_on_school_days_was_away_and_a_break_is_no_absence_from_school(
    back: str, stays: list[tuple[date, date | None]], tmp_path: Path
):
    made = roster(1)
    made["academicSessions.csv"]["t1"] = session("term", "2025-08-18", "2025-12-19")
    made["academicSessions.csv"]["t2"] = session("term", "2026-01-05", "2026-05-29")
    enrollment = made["enrollments.csv"]["e-s0"]
    made["enrollments.csv"] |= {
        "e-s0": enrollment | {"endDate": "2025-12-19"},
        "e2": enrollment | {"endDate": "2025-10-17"},
        "e3": enrollment | {"beginDate": back},
    }
    loaded_roster(made, tmp_path)
    found = rows(tmp_path, "school_enrollments")
    assert [(row["entry_date"], row["exit_date"]) for row in found] == stays


def test_an_enrollment_that_ends_before_it_begins_is_put_aside(tmp_path: Path):
    made = roster(2)
    made["enrollments.csv"]["e-s0"]["endDate"] = "2025-08-01"
    loaded_roster(made, tmp_path)
    assert set(column(tmp_path, "school_enrollments", "entry_date")) == {"s1"}
    assert asides(tmp_path) == [
        ("enrollments.csv", 3, "endDate", "endDate 2025-08-01 is before beginDate 2025-08-18")
    ]


def test_a_disabled_account_of_an_enrolled_student_is_counted(cases: Path, tmp_path: Path):
    report = loaded_case("31-or-disabled", cases, tmp_path)
    assert set(column(tmp_path, "students", "grade_level")) == {"1", "2"}
    assert report.notes[-1] == (
        "students whose account is disabled (enabledUser is false): 1 (they were kept, as the"
        " source has enrollments of theirs or no enrollments at all)"
    )


@pytest.mark.parametrize("text", ["false", "FALSE", "0", "No"])
def test_a_student_with_a_disabled_account_and_no_enrollment_has_left(text: str, tmp_path: Path):
    made = roster(3)
    made["users.csv"]["s0"]["enabledUser"] = text
    del made["enrollments.csv"]["e-s0"]
    report = loaded_roster(made, tmp_path)
    assert set(column(tmp_path, "students", "grade_level")) == {"s1", "s2"}
    assert set(column(tmp_path, "characteristics", "sex")) == {"s1", "s2"}
    assert ignored(report, "users.csv") == {
        "not a student (teacher)": 1,
        "the account is disabled (enabledUser is false), and there is no enrollment": 1,
    }
    for file in ("demographics.csv", "results.csv"):
        assert ignored(report, file) == {"of a student who was left out (disabled account)": 1}
    assert asides(tmp_path) == []


def test_letters_and_numbers_for_race_and_sex_are_read(cases: Path, tmp_path: Path):
    report = loaded_case("69-csv-demographics-yn", cases, tmp_path)
    assert column(tmp_path, "characteristics", "race_ethnicity") == {
        "1": "black",
        "2": "two_or_more",
    }
    assert [row["sex"] for row in rows(tmp_path, "characteristics")] == [None, "another"]
    assert report.notes == []


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({"asian": "TRUE", "white": "f"}, "asian"),
        ({"asian": "Yes", "white": "no"}, "asian"),
        ({"asian": "1", "white": "1"}, "two_or_more"),
        ({"asian": "1", "hispanicOrLatinoEthnicity": "Y"}, "hispanic"),
        ({"asian": "0", "white": "N"}, None),
        ({"asian": "", "white": ""}, None),
        ({"asian": "Vietnamese", "white": "Y"}, None),
        ({"asian": "Y", "hispanicOrLatinoEthnicity": "Mexican"}, None),
    ],
)
def test_race_follows_the_federal_rule_or_is_unknown(
    fields: dict[str, str], expected: str | None, tmp_path: Path
):
    made = roster(2)
    made["demographics.csv"]["s0"] = {"sex": "F"} | fields
    report = loaded_roster(made, tmp_path)
    assert column(tmp_path, "characteristics", "race_ethnicity")["s0"] == expected
    odd = [text for text in fields.values() if len(text) > 5]
    assert [note for note in report.notes if "not understood" in note] == [
        f"demographics.csv: {name} is not understood in 1 record: {text!r} (1); race and ethnicity"
        " stays unknown there"
        for name, text in fields.items()
        if text in odd
    ]


def test_a_word_that_is_no_sex_is_named_and_unknown(tmp_path: Path):
    texts = ("Female", "m", "U", "Not Selected", "nonbinary", "X", "other", "9")
    made = roster(len(texts))
    for number, text in enumerate(texts):
        made["demographics.csv"][f"s{number}"]["sex"] = text
    report = loaded_roster(made, tmp_path)
    sexes = column(tmp_path, "characteristics", "sex")
    assert [sexes[f"s{number}"] for number in range(len(texts))] == [
        *("female", "male", None, None, "another", "another", "another", None)
    ]
    assert report.notes[-1] == (
        "demographics.csv: sex is not understood in 1 record: '9' (1); sex stays unknown there"
    )


def test_an_empty_file_of_roles_leaves_the_roles_of_users(cases: Path, tmp_path: Path):
    loaded_case("102-or-roles-empty", cases, tmp_path)
    assert column(tmp_path, "students", "school_id") == {"1": "100", "2": "100"}


def test_a_user_without_a_line_in_roles_keeps_the_role_of_the_record(tmp_path: Path):
    made = roster(3)
    made["users.csv"]["s0"]["role"] = "Student"
    folder = write_csv(made, tmp_path / "in", version="1.1")
    (folder / "manifest.csv").unlink()
    (folder / "roles.csv").write_text(
        "sourcedId,userSourcedId,roleType,role,orgSourcedId\n"
        "r1,s1,primary,STUDENT,d1\nr2,s1,secondary,student,k2\nr3,s2,primary,teacher,k1\n"
    )
    loaded(folder, tmp_path / "home")
    assert column(tmp_path, "students", "school_id") == {"s0": "k1", "s1": "k2", "s2": "k1"}


def test_users_without_a_student_are_refused_with_the_roles_that_were_seen(tmp_path: Path):
    made = roster(3)
    for user in made["users.csv"].values():
        user["role"] = "teacher" if user["role"] == "teacher" else "lerner"
    with pytest.raises(SourceRefused) as refused:
        loaded_roster(made, tmp_path)
    assert str(refused.value) == (
        "users.csv: none of its 4 users could be loaded as a student (roles: 3 lerner, 1 teacher)."
        " A student has the role student in users.csv or in roles.csv"
    )
    made = roster(1)
    made["users.csv"]["s0"]["givenName"] = "123-45-6789"
    with pytest.raises(SourceRefused, match=r"The first that could not be read is line 3: givenN"):
        loaded_roster(made, tmp_path)
    made = roster(1)
    made["users.csv"]["s0"]["enabledUser"] = "false"
    del made["enrollments.csv"]["e-s0"]
    with pytest.raises(SourceRefused, match=r"1 have a disabled account and no enrollment"):
        loaded_roster(made, tmp_path)


@pytest.mark.parametrize(
    ("orgs", "expected"),
    [("d1,k2", "k2"), ("k1,k2", "k1"), ("d1", None), ("d1;k2", "k2"), ("", None), ("k9", "k9")],
)
def test_a_students_school_is_the_first_organization_that_is_one(
    orgs: str, expected: str | None, tmp_path: Path
):
    made = roster(1)
    made["users.csv"]["s0"]["orgSourcedIds"] = orgs
    report = loaded_roster(made, tmp_path)
    assert column(tmp_path, "students", "school_id") == {"s0": expected}
    noted = "students at no organization that is a school: 1 (their school is unknown)"
    assert (noted in report.notes) == (orgs == "d1")


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({"score": "15"}, 75.0),
        ({"score": "25"}, 125.0),
        ({"score": ""}, None),
        ({"score": "0", "scoreStatus": "fully graded"}, 0.0),
        ({"score": "0", "scoreStatus": "exempt"}, "exempt"),
        ({"score": "0", "scoreStatus": "Not Submitted"}, "not submitted"),
        ({"score": "0", "scoreStatus": "notSubmitted"}, "not submitted"),
        ({"score": "0", "scoreStatus": "missing"}, "missing"),
        ({"score": "0", "missing": "true"}, "missing"),
        ({"score": "0", "inProgress": "true"}, "in progress"),
        ({"score": "0", "scoreStatus": "submitted"}, None),
        ({"score": "15", "scoreStatus": "submitted"}, 75.0),
        ({"score": "5", "scoreStatus": "partially graded"}, None),
        ({"score": "15", "scoreStatus": "late"}, 75.0),
        ({"score": "", "textScore": "Meets"}, None),
    ],
)
@pytest.mark.parametrize("way", ["files", "api"])
def test_a_result_is_a_mark_only_where_the_work_was_marked(
    way: str, fields: dict[str, str], expected: float | str | None, tmp_path: Path
):
    made = roster(2)
    made["results.csv"]["r-s0"] |= fields
    report = loaded_roster(made, tmp_path) if way == "files" else fetched(made, "1.2", tmp_path)
    grades = column(tmp_path, "gradebook_entries", "grade")
    file = "results.csv" if way == "files" else "results"
    if isinstance(expected, str):
        assert "s0" not in grades
        assert ignored(report, file) == {f"work without a mark ({expected})": 1}
    else:
        assert grades["s0"] == expected
        assert ignored(report, file) == {}


@pytest.mark.parametrize("most", ["0", "", "-5"])
def test_without_a_maximum_a_score_is_no_share_of_anything(most: str, tmp_path: Path):
    made = roster(1)
    made["lineItems.csv"]["w1"]["resultValueMax"] = most
    report = loaded_roster(made, tmp_path)
    assert column(tmp_path, "gradebook_entries", "grade") == {"s0": None}
    assert report.notes[-1] == (
        "results whose lineItem has no resultValueMax above 0: 1 (their mark stays unknown)"
    )


def test_a_score_below_zero_is_put_aside(tmp_path: Path):
    made = roster(2)
    made["results.csv"]["r-s0"]["score"] = "-1"
    loaded_roster(made, tmp_path)
    assert asides(tmp_path) == [("results.csv", 2, "score", "score is -1; it must be 0 or more")]


def fetched(made: Roster, version: str, tmp_path: Path, **habits: Any) -> LoadReport:
    server = FakeOneRosterApi(version, **habits)
    with server.running():
        server.set_roster(made, LONG_AGO)
        connector = server.connector(500)
        connector.fetch(tmp_path / "mirror", lambda name, done, total: None)
        return load(connector, tmp_path / "mirror", tmp_path / "home")


class EdFiOneRoster(FakeOneRosterApi):
    """A server as the Ed-Fi Alliance's edfi-oneroster is: 1.2, Ed-Fi's code values, no count.

    A student has the code value of the Ed-Fi descriptor as the one grade, fields without a value
    are null or absent, and there is no gradebook.
    """

    def __init__(self, most: int = 500) -> None:
        super().__init__("1.2", counts=False, most=most)
        self.without = {"lineItems": 404, "results": 404}

    def answer(self, method: str, path: str, params: Mapping[str, str], body: bytes) -> Reply:
        reply = super().answer(method, path, params, body)
        for user in reply.data.get("users", ()):
            user |= {"userMasterIdentifier": None, "enabledUser": "true"}
            user["roles"] = user["roles"] or None
            user["grades"] = user.get("grades") or [None]
        return reply


@pytest.fixture
def edfi_oneroster() -> Iterator[EdFiOneRoster]:
    server = EdFiOneRoster()
    with server.running():
        yield server


def large_roster(students: int) -> Roster:
    made = roster(students)
    for number in range(students):
        made["users.csv"][f"s{number}"]["grades"] = "Ninth grade"
    return made


@pytest.mark.parametrize("page_size", [500, 1000, 200])
def test_all_students_of_a_server_that_clamps_its_pages_come_with_their_grade(
    page_size: int, edfi_oneroster: EdFiOneRoster, tmp_path: Path
):
    made = large_roster(1301)
    made["users.csv"]["s7"] |= {"grades": "", "orgSourcedIds": ""}
    edfi_oneroster.set_roster(made, LONG_AGO)
    connector = edfi_oneroster.connector(page_size)
    connector.fetch(tmp_path / "mirror", lambda name, done, total: None)
    report = load(connector, tmp_path / "mirror", tmp_path / "home")
    grades = column(tmp_path, "students", "grade_level")
    assert len(grades) == 1301
    assert [student for student, grade in grades.items() if grade != 9] == ["s7"]
    assert all(
        int(request.params.get("limit", 0)) <= page_size for request in edfi_oneroster.requests
    )
    assert next(count.read for count in report.files if count.file == "students") == 1301


def test_a_server_that_ignores_the_offset_is_refused_instead_of_cut_off(
    edfi_oneroster: EdFiOneRoster, tmp_path: Path
):
    edfi_oneroster.set_roster(large_roster(700), LONG_AGO)
    honest = edfi_oneroster.answer

    def first_page(method: str, path: str, params: Mapping[str, str], body: bytes) -> Reply:
        return honest(method, path, dict(params) | {"offset": "0"}, body)

    edfi_oneroster.answer = first_page  # type: ignore[method-assign]
    with pytest.raises(
        SourceRefused, match=r"/students: the source gives the same 500 records at offset 499 as at"
    ):
        edfi_oneroster.connector(500).fetch(tmp_path, lambda name, done, total: None)


@pytest.mark.parametrize(("students", "page_size"), [(3, 500), (101, 500), (150, 100)])
def test_a_server_that_gives_everything_at_once_is_read(
    students: int, page_size: int, edfi_oneroster: EdFiOneRoster, tmp_path: Path
):
    edfi_oneroster.set_roster(large_roster(students), LONG_AGO)
    honest = edfi_oneroster.answer

    def everything(method: str, path: str, params: Mapping[str, str], body: bytes) -> Reply:
        return honest(method, path, dict(params) | {"offset": "0", "limit": "500"}, body)

    edfi_oneroster.answer = everything  # type: ignore[method-assign]
    connector = edfi_oneroster.connector(page_size)
    connector.fetch(tmp_path / "mirror", lambda name, done, total: None)
    assert load(connector, tmp_path / "mirror", tmp_path / "home").rows["students"] == students


@pytest.mark.parametrize("version", ["1.1", "1.2"])
def test_an_api_says_what_files_say(version: str, tmp_path: Path):
    made = roster(6)
    made["academicSessions.csv"] = {
        "f": session("term", *FALL, "Fall", "2026"),
        "s": session("term", *SPRING, "Spring", "2026"),
        "u": session("term", "2026-06-08", "2026-07-17", "Summer", "2026"),
    }
    for in_class in made["classes.csv"].values():
        in_class |= {"termSourcedIds": "f,s", "grades": "06,07"}
    made["classes.csv"]["c2"]["grades"] = "07"
    made["users.csv"]["s0"]["grades"] = ""
    made["users.csv"]["s1"]["grades"] = ""
    made["users.csv"]["s2"]["orgSourcedIds"] = "d1,k2"
    made["users.csv"]["s3"]["enabledUser"] = "false"
    made["enrollments.csv"]["e-s2"]["beginDate"] = ""
    made["demographics.csv"]["s4"] |= {"sex": "X", "white": "true"}
    del made["enrollments.csv"]["e-s3"]
    fetched(made, version, tmp_path)
    by_api = Snapshot.current(tmp_path / "home").manifest["hashes"]
    assert column(tmp_path, "students", "grade_level") == {
        "s0": None,
        "s1": 7,
        "s2": 6,
        "s4": 6,
        "s5": 7,
    }
    assert column(tmp_path, "students", "school_id")["s2"] == "k2"
    loaded_roster(made, tmp_path)
    by_files = Snapshot.current(tmp_path / "home").manifest["hashes"]
    assert by_api.keys() == by_files.keys()
    assert {name for name in by_api if by_api[name] != by_files[name]} <= {"quarantine.parquet"}


def stored_grades(
    marks: list[tuple[str, Any, Any]], tmp_path: Path, *, has_grades: bool = True
) -> LoadReport:
    """Load stored grades (course, percent, grade) of one student; others have 75 in Algebra I."""
    server = FakePowerSchool()
    with server.running():
        fill(server, students=2)
        server.delete("storedgrades", "studentid = 1000")
        server.change("storedgrades", "studentid = 1001", percent=75, grade="C")
        for course, percent, grade in marks:
            server.add(
                "storedgrades",
                studentid=1000,
                course_name=course,
                termid=3501,
                storecode="Q1",
                datestored="2025-10-17",
                percent=percent,
                grade=grade if has_grades else None,
            )
        connector = server.connector()
        connector.fetch(tmp_path / "mirror", lambda name, done, total: None)
        report = load(connector, tmp_path / "mirror", tmp_path / "home")
        count = next(count for count in report.files if count.file == STORED_GRADES.name)
        assert count.read == len(marks) + 1
        assert count.read == count.kept + count.quarantined + count.duplicates + count.ignored
    return report


def marks_of_700(tmp_path: Path) -> dict[str, float]:
    return {
        row["course"]: row["grade"]
        for row in rows(tmp_path, "course_grades")
        if row["student_id"] == "700"
    }


@pytest.mark.parametrize("has_grades", [True, False])
def test_a_percentage_of_zero_with_a_pass_or_a_letter_is_no_mark(has_grades: bool, tmp_path: Path):
    """Case 90: the marks that were left out no longer pull the average from 88 to 29."""
    marks = [("English", 88, "B+"), ("Band", 0, "P"), ("Seminar", 0, "F"), ("Art", "0.00", "A")]
    report = stored_grades(marks, tmp_path, has_grades=has_grades)
    assert marks_of_700(tmp_path) == {"English": 88.0}
    kinds = ignored(report, STORED_GRADES.name)
    assert sum(kinds.values()) == 3
    if has_grades:
        assert kinds == {
            f"a mark without a percentage (0 percent stored, grade {grade})": 1 for grade in "PFA"
        }


@pytest.mark.parametrize(
    ("course", "percent", "grade", "expected"),
    [
        ("Algebra I", 0, "F", 0.0),
        ("Algebra I", 0, "f", 0.0),
        ("Algebra I", 0, "0", 0.0),
        ("Algebra I", 0, "0.0%", 0.0),
        ("Seminar", 0, "0", 0.0),
        ("Algebra I", 0, "INC", None),
        ("Algebra I", 0, "W", None),
        ("Algebra I", 0, "CR", None),
        ("Algebra I", 0, "S", None),
        ("Algebra I", 0, "NC", None),
        ("Algebra I", 0, "D", None),
        ("Algebra I", 0, "", None),
        ("Algebra I", None, "B", None),
        ("Algebra I", 59.5, "F", 59.5),
        ("Band", 100, "P", None),
        ("Algebra I", 45, "INC", None),
    ],
)
def test_a_percentage_of_zero_counts_where_somebody_earned_it(
    course: str, percent: Any, grade: str, expected: float | None, tmp_path: Path
):
    stored_grades([("English", 88, "B+"), (course, percent, grade)], tmp_path)
    marks = marks_of_700(tmp_path)
    assert marks.pop("English") == 88.0
    assert marks == ({} if expected is None else {course: expected})


def test_a_failing_mark_of_a_course_where_others_only_pass_is_no_zero(tmp_path: Path):
    server = FakePowerSchool()
    with server.running():
        fill(server, students=3)
        server.change("storedgrades", "studentid = 1000", percent=0, grade="F")
        server.change("storedgrades", "studentid > 1000", percent=100, grade="P")
        connector = server.connector()
        connector.fetch(tmp_path / "mirror", lambda name, done, total: None)
        load(connector, tmp_path / "mirror", tmp_path / "home")
    assert marks_of_700(tmp_path) == {}


def test_a_gender_that_powerschool_leaves_open_is_unknown(tmp_path: Path):
    server = FakePowerSchool()
    with server.running():
        fill(server, students=4)
        for number, gender in enumerate(("U", "X", "", "Q")):
            server.change("students", f"id = {1000 + number}", gender=gender)
        connector = server.connector()
        connector.fetch(tmp_path / "mirror", lambda name, done, total: None)
        report = load(connector, tmp_path / "mirror", tmp_path / "home")
    sexes = column(tmp_path, "characteristics", "sex")
    assert [sexes[str(number)] for number in range(700, 704)] == [None, "another", None, None]
    assert report.notes == [f"{STUDENTS.name}: gender is not understood: 'Q' (1); it stays unknown"]


def test_an_absence_from_one_class_is_not_an_absent_day(tmp_path: Path):
    server = FakePowerSchool()
    with server.running():
        fill(server, students=1)
        connector = server.connector()
        connector.fetch(tmp_path / "mirror", lambda name, done, total: None)
        load(connector, tmp_path / "mirror", tmp_path / "home")
        modes = server.database.execute("SELECT att_mode_code FROM attendance").fetchall()
    assert sorted(mode[0] for mode in modes) == ["ATT_ModeDaily"] * 2 + ["ATT_ModeMeeting"]
    assert [(row["date"].day, row["status"]) for row in rows(tmp_path, "attendance_events")] == [
        (2, "absent_unexcused"),
        (3, "tardy"),
    ]


@pytest.mark.parametrize("version", ["1.1", "1.2"])
def test_a_department_is_part_of_the_school_above_it(version: str, tmp_path: Path):
    made = roster(1)
    made["orgs.csv"]["k1"]["parentSourcedId"] = "d1"
    made["orgs.csv"]["dep"] = {"name": "Math", "type": "department", "parentSourcedId": "k1"}
    made["orgs.csv"]["team"] = {"name": "Algebra", "type": "department", "parentSourcedId": "dep"}
    made["orgs.csv"]["loop"] = {"name": "Loop", "type": "local", "parentSourcedId": "loop"}
    made["users.csv"]["s0"]["orgSourcedIds"] = "team"
    made["classes.csv"]["c1"]["schoolSourcedId"] = "loop"
    made["enrollments.csv"]["e-s0"]["schoolSourcedId"] = "dep"
    loaded_roster(made, tmp_path, version)
    assert column(tmp_path, "students", "school_id") == {"s0": "k1"}
    assert column(tmp_path, "school_enrollments", "school_id") == {"s0": "k1"}
