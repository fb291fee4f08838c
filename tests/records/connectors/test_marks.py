"""What a mark is worth: scales, letters, pass or fail, and the terms that marks are about.

A number that is read on the wrong scale is a wrong number about a child: 3.7 of 4 is no 3.7 of 100.
"""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from records.connectors.edfi.files import EdFiFiles
from records.connectors.oneroster.files import OneRosterFiles
from records.connectors.profiles.grades import number_of
from records.connectors.profiles.profile import ProfileError, SourceProfile, read_profile
from records.loading.load import load
from records.loading.load_history import code_warnings
from records.loading.load_report import LoadReport
from records.snapshots.snapshot import Snapshot
from tests.records.connectors.test_edfi_cases import (
    PERIODS,
    SCHOOL,
    grade,
    grading_period,
    letter,
    of_student,
    points,
    reference,
    student,
    wrote,
)
from tests.records.fake_powerschool import FakePowerSchool, fill
from tests.records.synthetic_roster import Roster, roster, write_csv

FOUR_POINTS = '[grades]\nscale = "4.0"\n[grades.points."4.0"]\n4 = 95\n3 = 85\n2 = 75\n0 = 50\n'
COURSES = "userSourcedId,course,school_year,period,date,grade"


def own_profile(source: str, text: str, folder: Path) -> SourceProfile:
    file = folder / "profiles" / f"{source}.toml"
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(text)
    return read_profile(source, folder)


def assert_accounted_for(report: LoadReport) -> None:
    assert all(
        count.read == count.kept + count.quarantined + count.duplicates + count.ignored
        for count in report.files
    )


def course_grades(
    marks: Mapping[str, str], tmp_path: Path, profile: str = ""
) -> tuple[LoadReport, Snapshot]:
    """The load of a roster whose students s0, s2, s4 (at k1) and s1, s3, s5 (at k2) have marks."""
    shutil.rmtree(tmp_path / "in", ignore_errors=True)
    folder = write_csv(roster(), tmp_path / "in")
    (folder / "manifest.csv").unlink()
    lines = [f'{student},Algebra I,2026,1,2025-10-17,"{mark}"' for student, mark in marks.items()]
    (folder / "course_grades.csv").write_text("\n".join([COURSES, *lines]) + "\n")
    connector = OneRosterFiles(profile=own_profile("oneroster", profile, tmp_path / "home"))
    report = load(connector, folder, tmp_path / "home")
    count = next(count for count in report.files if count.file == "course_grades.csv")
    assert count.read == len(marks)
    assert_accounted_for(report)
    return report, Snapshot.current(tmp_path / "home")


def rows(snapshot: Snapshot, table: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = snapshot.table(table).to_pyarrow().to_pylist()
    return found


def kept(snapshot: Snapshot) -> dict[str, float]:
    return {row["student_id"]: row["grade"] for row in rows(snapshot, "course_grades")}


def asides(snapshot: Snapshot) -> list[tuple[str, int, str, str]]:
    return [
        (row["file"], row["line"], row["column"], row["reason"])
        for row in snapshot.quarantined().to_pylist()
    ]


@pytest.mark.parametrize(
    ("text", "number"),
    [
        ("3.7", (3.7, False)),
        ("95%", (95.0, True)),
        ("95 %", (95.0, True)),
        ("87,5", (87.5, False)),
        ("105", (105.0, False)),
        (".5", (0.5, False)),
        ("-1", (-1.0, False)),
        ("A-", None),
        ("1,000", None),
        ("nan", None),
        ("1e2", None),
        ("", None),
    ],
)
def test_the_number_of_a_mark(text: str, number: tuple[float, bool] | None):
    assert number_of(text) == number


def test_a_roster_on_a_4_point_scale_is_no_class_of_failing_students(tmp_path: Path):
    _, snapshot = course_grades({"s0": "3.7", "s2": "4", "s4": "2,5"}, tmp_path)
    assert kept(snapshot) == {}
    assert [aside[:3] for aside in asides(snapshot)] == [
        ("course_grades.csv", line, "grade") for line in (2, 3, 4)
    ]
    assert "no mark of this school is above 5" in asides(snapshot)[0][3]
    assert code_warnings(snapshot, "oneroster") == [
        "of 3 values of grade of course_grades.csv, 3 are codes that nobody has explained ('a"
        " number up to 5, as of a 4-point scale' 3)"
    ]


def test_the_scale_is_told_by_school(tmp_path: Path):
    marks = {"s0": "3.7", "s2": "4", "s1": "3", "s3": "91"}
    _, snapshot = course_grades(marks, tmp_path)
    assert kept(snapshot) == {"s1": 3.0, "s3": 91.0}


def test_a_percentage_is_in_points_of_100_whatever_the_others_are(tmp_path: Path):
    _, snapshot = course_grades({"s0": "95%", "s2": "3.7"}, tmp_path)
    assert kept(snapshot) == {"s0": 95.0}


def test_a_stated_scale_with_its_points_is_converted(tmp_path: Path):
    marks = {"s0": "3.7", "s2": "4", "s4": "1", "s1": "5", "s3": "95%"}
    _, snapshot = course_grades(marks, tmp_path, FOUR_POINTS)
    assert kept(snapshot) == {
        "s0": pytest.approx(92.0),
        "s2": 95.0,
        "s4": pytest.approx(62.5),
        "s3": 95.0,
    }
    [(file, line, column, reason)] = asides(snapshot)
    assert (file, line, column) == ("course_grades.csv", 5, "grade")
    assert reason.startswith("grade is '5', which [grades.points.\"4.0\"]")


def test_one_school_may_have_a_scale_of_its_own(tmp_path: Path):
    text = '[grades.schools]\nk1 = "1-4"\nk2 = "0-100"\n'
    report, snapshot = course_grades({"s0": "3", "s2": "4", "s1": "3", "s3": "4"}, tmp_path, text)
    assert kept(snapshot) == {"s1": 3.0, "s3": 4.0}
    assert asides(snapshot) == [] and code_warnings(snapshot, "oneroster") == []
    [count] = [count for count in report.files if count.file == "course_grades.csv"]
    assert count.ignored_kinds == {"no mark on a scale (3)": 1, "no mark on a scale (4)": 1}


@pytest.mark.parametrize("word", ["P", "inc", "NG", "Pass", "W", "N/A", "No Grade"])
def test_words_that_are_no_mark_are_left_out_and_counted(word: str, tmp_path: Path):
    _, snapshot = course_grades({"s0": word, "s2": "88"}, tmp_path)
    assert kept(snapshot) == {"s2": 88.0}
    assert asides(snapshot) == [] and code_warnings(snapshot, "oneroster") == []


def test_letters_count_by_the_districts_table_and_are_asked_for_without_it(tmp_path: Path):
    marks = {"s0": "A-", "s2": "b", "s4": "P", "s1": "S"}
    _, snapshot = course_grades(marks, tmp_path)
    assert [aside[1] for aside in asides(snapshot)] == [2, 3]
    assert "[grades.letters] of profiles/oneroster.toml" in asides(snapshot)[0][3]
    assert len(code_warnings(snapshot, "oneroster")) == 1
    table = '[grades]\nno_mark = ["NM"]\n[grades.letters]\nA- = 91\nB = 85\nS = 80\n'
    _, snapshot = course_grades({**marks, "s3": "NM"}, tmp_path, table)
    assert kept(snapshot) == {"s0": 91.0, "s2": 85.0, "s1": 80.0}
    assert asides(snapshot) == [] and code_warnings(snapshot, "oneroster") == []


@pytest.mark.parametrize("mark", ["950", "-3", "111"])
def test_a_course_mark_beyond_the_scale_is_refused(mark: str, tmp_path: Path):
    _, snapshot = course_grades({"s0": mark, "s2": "105"}, tmp_path)
    assert kept(snapshot) == {"s2": 105.0}
    assert asides(snapshot) == [
        (
            "course_grades.csv",
            2,
            "grade",
            f"grade is '{mark}'; it must be from 0 to 110 points of 100",
        )
    ]


def results(
    made: Roster, tmp_path: Path, profile: str = ""
) -> tuple[LoadReport, dict[str, float | None]]:
    shutil.rmtree(tmp_path / "in", ignore_errors=True)
    folder = write_csv(made, tmp_path / "in")
    (folder / "manifest.csv").unlink()
    connector = OneRosterFiles(profile=own_profile("oneroster", profile, tmp_path / "home"))
    report = load(connector, folder, tmp_path / "home")
    assert_accounted_for(report)
    snapshot = Snapshot.current(tmp_path / "home")
    return report, {row["student_id"]: row["grade"] for row in rows(snapshot, "gradebook_entries")}


@pytest.mark.parametrize("most", ["4", "100"])
def test_results_on_a_4_point_scale_have_no_mark(most: str, tmp_path: Path):
    made = roster()
    made["lineItems.csv"]["w1"]["resultValueMax"] = most
    for number, result in enumerate(made["results.csv"].values()):
        result["score"] = f"{1 + number % 4}"
    _, marks = results(made, tmp_path)
    assert marks == dict.fromkeys(made["demographics.csv"])
    assert len(code_warnings(Snapshot.current(tmp_path / "home"), "oneroster")) == 1
    table = '[grades]\nscale = "1-4"\n[grades.points."1-4"]\n1 = 60\n2 = 70\n3 = 85\n4 = 95\n'
    if most == "4":
        _, marks = results(made, tmp_path, table)
        assert set(marks.values()) == {60.0, 70.0, 85.0, 95.0}


def test_results_of_a_quiz_of_4_points_count_where_other_work_has_more(tmp_path: Path):
    made = roster()
    made["lineItems.csv"]["w2"] = {**made["lineItems.csv"]["w1"], "resultValueMax": "4"}
    for student_id in ("s0", "s1"):
        made["results.csv"][f"r-{student_id}"] |= {"lineItemSourcedId": "w2", "score": "3"}
    _, marks = results(made, tmp_path)
    assert set(marks.values()) == {75.0}
    assert code_warnings(Snapshot.current(tmp_path / "home"), "oneroster") == []


def test_a_score_of_many_times_the_points_is_refused(tmp_path: Path):
    made = roster()
    made["results.csv"]["r-s0"]["score"] = "950"
    _, marks = results(made, tmp_path)
    assert "s0" not in marks
    [(file, line, column, reason)] = asides(Snapshot.current(tmp_path / "home"))
    assert (file, line, column) == ("results.csv", 2, "score")
    assert reason.startswith("score is 950, and its lineItem has 20 points")


@pytest.mark.parametrize("word", ["Awaiting moderation", "X1"])
def test_a_status_of_work_that_is_not_understood_leaves_the_mark_unknown(word: str, tmp_path: Path):
    made = roster()
    made["results.csv"]["r-s0"] |= {"score": "0", "scoreStatus": word}
    report, marks = results(made, tmp_path)
    assert marks["s0"] is None and marks["s1"] == 75.0
    assert any("scoreStatus is not understood: 1" in note for note in report.notes)
    assert code_warnings(Snapshot.current(tmp_path / "home"), "oneroster") == [
        f"of 1 values of scoreStatus, 1 are codes that nobody has explained ('{word.lower()}' 1)"
    ]
    _, marks = results(made, tmp_path, f'[grades.score_statuses]\n"{word}" = "no_mark"\n')
    assert "s0" not in marks


def graded(
    tmp_path: Path, *grades: str, profile: str = "", periods: str = PERIODS
) -> tuple[LoadReport, Snapshot]:
    folder = wrote(
        tmp_path / "in",
        Student=student(1) + student(2),
        EducationOrgCalendar=periods,
        StudentGrade="".join(f"\n{one}" for one in grades),
    )
    connector = EdFiFiles(own_profile("edfi", profile, tmp_path / "home"))
    report = load(connector, folder, tmp_path / "home")
    assert_accounted_for(report)
    return report, Snapshot.current(tmp_path / "home")


def marks_of(snapshot: Snapshot) -> list[tuple[str, int, float]]:
    return sorted(
        (row["course"], row["period"], row["grade"]) for row in rows(snapshot, "course_grades")
    )


SEMESTERS = grading_period("First Semester", "2025-12-20", "1") + grading_period(
    "Second Semester", "2026-05-22", "2"
)


def test_a_semester_of_the_same_place_never_stands_in_for_a_quarter(tmp_path: Path):
    _, snapshot = graded(
        tmp_path,
        grade(points(80), period="First Nine Weeks"),
        grade(points(70), period="First Semester"),
        grade(points(65), "Semester", period="First Semester"),
        grade(points(60), period="First Semester", course="ART"),
        grade(points(90), period="Second Nine Weeks", course="GYM"),
        periods=PERIODS + SEMESTERS,
    )
    assert marks_of(snapshot) == [("ART", 2, 60.0), ("GYM", 2, 90.0), ("MATH7", 1, 80.0)]


def test_a_district_of_semesters_alone_keeps_their_places(tmp_path: Path):
    _, snapshot = graded(
        tmp_path,
        grade(points(70), period="First Semester"),
        grade(points(60), "Semester", period="Second Semester"),
        periods=SEMESTERS,
    )
    assert marks_of(snapshot) == [("MATH7", 1, 70.0), ("MATH7", 2, 60.0)]


def test_six_weeks_beside_nine_weeks_are_numbered_by_their_last_days(tmp_path: Path):
    _, snapshot = graded(
        tmp_path,
        grade(points(70), period="First Six Weeks", course="ART"),
        grade(points(80), period="First Nine Weeks"),
        periods=PERIODS + grading_period("First Six Weeks", "2025-09-26", "1"),
    )
    assert marks_of(snapshot) == [("ART", 1, 70.0), ("MATH7", 2, 80.0)]


def test_a_district_says_which_types_of_its_own_count(tmp_path: Path):
    both = (grade(points(80), "RC1"), grade(points(70), "Exam Grade", course="ART"))
    _, snapshot = graded(tmp_path, *both)
    assert marks_of(snapshot) == []
    assert code_warnings(snapshot, "edfi") == [
        "of 2 values of GradeType, 1 are codes that nobody has explained ('RC1' 1)"
    ]
    own = '[grades.types]\nRC1 = "grading_period"\n"exam-grade" = "course"\n'
    _, snapshot = graded(tmp_path, *both, profile=own)
    assert marks_of(snapshot) == [("ART", 1, 70.0), ("MATH7", 1, 80.0)]
    assert code_warnings(snapshot, "edfi") == []


def test_edfi_marks_of_a_stated_scale_are_converted_or_left_out(tmp_path: Path):
    marks = (grade(points("3.5")), grade(points("2"), number=2), grade(letter("P"), course="GYM"))
    _, snapshot = graded(tmp_path, *marks, profile=FOUR_POINTS)
    assert marks_of(snapshot) == [("MATH7", 1, 75.0), ("MATH7", 1, 90.0)]
    for scale in ("1-4", "pass/fail"):
        _, snapshot = graded(tmp_path, *marks, profile=f'[grades]\nscale = "{scale}"\n')
        assert marks_of(snapshot) == []
        assert asides(snapshot) == [] and code_warnings(snapshot, "edfi") == []


def test_where_the_scale_is_letters_the_letter_counts_and_the_number_does_not(tmp_path: Path):
    own = '[grades]\nscale = "letters"\n[grades.letters]\nA = 95\nB = 85\n'
    _, snapshot = graded(
        tmp_path,
        grade(points(4) + letter("A")),
        grade(points(93) + letter("b"), number=2),
        profile=own,
    )
    assert marks_of(snapshot) == [("MATH7", 1, 85.0), ("MATH7", 1, 95.0)]


@pytest.mark.parametrize("text", ["91", "91%", "91.0"])
def test_a_number_in_the_letters_place_is_a_number(text: str, tmp_path: Path):
    _, snapshot = graded(tmp_path, grade(letter(text)))
    assert marks_of(snapshot) == [("MATH7", 1, 91.0)]


def stored(
    tmp_path: Path, profile: str = "", **changes: Any
) -> tuple[LoadReport, dict[str, tuple[int, float]]]:
    """Stored grades of PowerSchool, those of the first student with these changes."""
    server = FakePowerSchool()
    with server.running():
        fill(server, students=2)
        server.change("storedgrades", "studentid = 1000", **changes)
        connector = server.connector()
        connector.profile = own_profile("powerschool", profile, tmp_path / "home")
        connector.fetch(tmp_path / "mirror", lambda name, done, total: None)
        report = load(connector, tmp_path / "mirror", tmp_path / "home")
    assert_accounted_for(report)
    found = rows(Snapshot.current(tmp_path / "home"), "course_grades")
    return report, {row["student_id"]: (row["period"], row["grade"]) for row in found}


def test_a_stored_grade_of_an_unknown_store_code_is_asked_for(tmp_path: Path):
    _, marks = stored(tmp_path, storecode="T2", percent=77)
    assert "700" not in marks and "701" in marks
    assert code_warnings(Snapshot.current(tmp_path / "home"), "powerschool") == [
        "of 2 values of storecode, 1 are codes that nobody has explained ('T2' 1)"
    ]
    _, marks = stored(
        tmp_path, '[grades.types]\nT2 = "grading_period"\n', storecode="T2", percent=77
    )
    assert marks["700"] == (2, 77.0)
    for code in ("S1", "Y1", "E1"):
        _, marks = stored(tmp_path, storecode=code)
        assert "700" not in marks
        assert code_warnings(Snapshot.current(tmp_path / "home"), "powerschool") == []


@pytest.mark.parametrize(("percent", "letter"), [("950", "A"), ("45", "INC"), ("88", "P")])
def test_a_stored_percentage_that_is_no_mark_does_not_count(
    percent: str, letter: str, tmp_path: Path
):
    _, marks = stored(tmp_path, percent=percent, grade=letter)
    assert "700" not in marks and "701" in marks


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('[grades]\nscale = "5"', r"\[grades\] scale is '5'; it must be one of 0-100, 4.0, 1-4"),
        ('[grades.schools]\n100 = "GPA"', r"schools says 'GPA' of '100'; it must be one of"),
        ('[grades.types]\nRC = "final"', r"types says 'final' of 'RC'; it must be one of grading"),
        ("[grades.points]\n4 = 95", r"points must have a table for each scale"),
        ('[grades.points."0-100"]\n4 = 95', r"points has '0-100'; the scales with points are 4.0"),
        ('[grades.points."4.0"]\nA = 95', r"must say for each number of 4.0 how many points"),
        ('[grades.letters]\nA = "high"', r"letters must say for each letter how many points"),
        ('[grades.score_statuses]\nX = "late"', r"score_statuses says 'late' of 'X'"),
        ('[grades.type_words]\nother = ["x"]', r"type_words must have a list of words"),
        ("[grades]\nno_mark = 3", r"no_mark is 3; it must be a list of texts"),
    ],
)
def test_a_table_of_marks_that_cannot_be_right_is_refused(text: str, message: str, tmp_path: Path):
    with pytest.raises(ProfileError, match=message):
        own_profile("oneroster", text, tmp_path)


def work_marks(
    tmp_path: Path, *numbers: str, profile: str = ""
) -> tuple[LoadReport, dict[str, float | None]]:
    """Marks of one piece of work of an Ed-Fi school, by its students from 1 on."""
    people = range(1, len(numbers) + 1)
    offering = reference("CourseOffering", f"<LocalCourseCode>MATH</LocalCourseCode>{SCHOOL}")
    section = reference("Section", f"<SectionIdentifier>1</SectionIdentifier>{offering}")
    name = "<GradebookEntryIdentifier>quiz</GradebookEntryIdentifier>"
    work = f"<GradebookEntry>{name}<Title>Quiz</Title>{section}</GradebookEntry>"
    work += "".join(
        f"\n<StudentGradebookEntry>{points(number) if number else ''}"
        f"{reference('GradebookEntry', name)}{of_student(person)}</StudentGradebookEntry>"
        for person, number in zip(people, numbers, strict=True)
    )
    shutil.rmtree(tmp_path / "in", ignore_errors=True)
    (tmp_path / "in").mkdir(parents=True)
    folder = wrote(tmp_path / "in", Student="".join(map(student, people)), StudentGradebook=work)
    report = load(
        EdFiFiles(profile=own_profile("edfi", profile, tmp_path)), folder, tmp_path / "home"
    )
    assert_accounted_for(report)
    snapshot = Snapshot.current(tmp_path / "home")
    return report, {
        row["student_id"]: row["grade"]
        for row in snapshot.table("gradebook_entries").to_pyarrow().to_pylist()
    }


def test_a_piece_of_work_of_ed_fi_is_marked_in_points_of_100(tmp_path: Path):
    _, marks = work_marks(tmp_path, "87,5", "3.7", "950", "-3", "111", "", "105")
    assert marks == {"1": 87.5, "2": 3.7, "6": None, "7": 105}
    refused = Snapshot.current(tmp_path / "home").quarantined().to_pylist()
    assert [(row["line"], row["column"]) for row in refused] == [
        (line, "NumericGradeEarned") for line in (4, 5, 6)
    ]
    assert refused[0]["reason"].endswith("a mark must be from 0 to 110 points of 100")


def test_a_piece_of_work_on_a_scale_of_4_is_never_points_of_100(tmp_path: Path):
    report, marks = work_marks(tmp_path / "told", "3.7", "2", "0")
    assert marks == {"1": None, "2": None, "3": None}
    assert any("look like a 4-point scale" in note and ": 3." in note for note in report.notes)
    _, marks = work_marks(tmp_path / "stated", "3.5", "2", "1", "92%", profile=FOUR_POINTS)
    assert marks == {"1": 90, "2": 75, "3": 62.5, "4": 92}
    _, marks = work_marks(tmp_path / "letters", "3.5", profile='[grades]\nscale = "letters"\n')
    assert marks == {"1": None}
