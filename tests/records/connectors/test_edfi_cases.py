"""What Ed-Fi records mean, against exports that went wrong once and the kinds that they stand for.

The codes are those of the Ed-Fi Data Standard 2.0 to 5.2.
"""

from __future__ import annotations

import xml.etree.ElementTree as ElementTree
from collections.abc import Mapping
from dataclasses import replace
from datetime import date
from pathlib import Path
from typing import Any

import pytest

from features.alerts import AlertRules, raise_alerts
from features.build import build_features
from records.access.scope import pipeline_scope
from records.access.scoped_records import ScopedRecords
from records.connectors.edfi.descriptors import federal_group, sex_of
from records.connectors.edfi.files import EdFiFiles
from records.connectors.profiles.grades import MarkTerm
from records.connectors.profiles.profile import SourceProfile, standard_profile
from records.loading.load import load
from records.loading.load_report import LoadReport
from records.snapshots.snapshot import Snapshot
from tests.records.fake_edfi_api import FakeEdFiApi, descriptor

AS_OF = date(2025, 12, 19)
LETTERS = {"A": 95, "A-": 91, "B+": 88, "C": 75, "D": 65, "F": 50}
Rows = list[dict[str, Any]]


def profile_with(letters: Mapping[str, float]) -> SourceProfile:
    standard = standard_profile("edfi")
    return replace(standard, grades=replace(standard.grades, letters=letters))


def loaded(
    folder: Path, home: Path, letter_marks: Mapping[str, float] | None = None
) -> tuple[LoadReport, Snapshot]:
    """The load of a folder, of which every record is accounted for."""
    report = load(EdFiFiles(profile_with(letter_marks or {})), folder, home)
    records = {
        file.name: len(ElementTree.parse(file).getroot())
        for file in folder.iterdir()
        if file.suffix.lower() == ".xml"
    }
    assert {count.file: count.read for count in report.files} == records
    assert all(sum(count.ignored_kinds.values()) == count.ignored for count in report.files)
    return report, Snapshot.current(home)


def rows_of(snapshot: Snapshot, table: str) -> Rows:
    rows: Rows = snapshot.table(table).to_pyarrow().to_pylist()
    return rows


def facts_of(snapshot: Snapshot) -> dict[str, dict[str, Any]]:
    """Facts by student; a student without a row has None for each."""
    facts = {row["student_id"]: row for row in rows_of(snapshot, "characteristics")}
    unknown = dict.fromkeys(
        (
            "sex",
            "race_ethnicity",
            "english_learner",
            "special_education",
            "unstable_housing",
            "meal_eligible",
        )
    )
    return {
        row["student_id"]: facts.get(row["student_id"], unknown)
        for row in rows_of(snapshot, "students")
    }


def ignored(report: LoadReport, file: str) -> dict[str, int]:
    return next(count.ignored_kinds for count in report.files if count.file == file)


def wrote(folder: Path, **files: str) -> Path:
    """A folder of interchange files by name, each with its records."""
    folder.mkdir(exist_ok=True)
    for name, body in files.items():
        (folder / f"{name}.xml").write_text(
            f'<Interchange{name} xmlns="http://ed-fi.org/5.2.0">{body}</Interchange{name}>'
        )
    return folder


def student(number: int | str = 1, name: str = "", more: str = "") -> str:
    return f"<Student><StudentUniqueId>{number}</StudentUniqueId>{name}{more}</Student>"


def reference(kind: str, inner: str) -> str:
    return f"<{kind}Reference><{kind}Identity>{inner}</{kind}Identity></{kind}Reference>"


def of_student(number: int | str = 1) -> str:
    return reference("Student", f"<StudentUniqueId>{number}</StudentUniqueId>")


SCHOOL = reference("School", "<SchoolId>100</SchoolId>")


def test_students_in_a_file_of_version_2_get_school_and_grade(cases: Path, tmp_path: Path):
    report, snapshot = loaded(cases / "08-edfi-studentparent", tmp_path)
    found = {row["student_id"]: row for row in rows_of(snapshot, "students")}
    assert {(row["grade_level"], row["school_id"]) for row in found.values()} == {(7, "100")}
    assert len(found) == 2
    assert not {"Student.xml", "StudentEnrollment.xml"} & {one.file for one in report.missing}


@pytest.mark.parametrize("first", ["Student", "StudentEnrollment"])
def test_the_order_of_records_and_the_names_of_files_do_not_matter(first: str, tmp_path: Path):
    enrollment = (
        f"<StudentSchoolAssociation>{of_student()}{SCHOOL}<EntryDate>2025-08-18</EntryDate>"
        "<EntryGradeLevel><CodeValue>SEVENTH  GRADE</CodeValue></EntryGradeLevel>"
        "</StudentSchoolAssociation>"
    )
    bodies = {"Student": student(), "StudentEnrollment": enrollment}
    folder = tmp_path / "in"
    folder.mkdir()
    (folder / "ALL.XML").write_text(f"<Records>{bodies.pop(first)}{bodies.popitem()[1]}</Records>")
    report, snapshot = loaded(folder, tmp_path / "home")
    [row] = rows_of(snapshot, "students")
    assert (row["grade_level"], row["school_id"]) == (7, "100")
    assert not {"Student.xml", "StudentEnrollment.xml"} & {one.file for one in report.missing}


def test_a_student_given_twice_is_a_duplicate_and_keeps_school_and_grade(tmp_path: Path):
    folder = wrote(
        tmp_path / "in",
        Student=student(),
        StudentParent=student(),
        StudentEnrollment=f"<StudentSchoolAssociation>{of_student()}{SCHOOL}<EntryDate>2025-08-18"
        "</EntryDate><EntryGradeLevel>Ninth grade</EntryGradeLevel></StudentSchoolAssociation>",
    )
    report, snapshot = loaded(folder, tmp_path / "home")
    [row] = rows_of(snapshot, "students")
    assert (row["grade_level"], row["school_id"]) == (9, "100")
    assert sum(count.duplicates for count in report.files) == 1
    assert snapshot.quarantined().num_rows == 0


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("", (None, None)),
        ("<Name><FirstName>Cher</FirstName></Name>", ("Cher", None)),
        ("<Name><FirstName>Cher</FirstName><LastSurname/></Name>", ("Cher", None)),
        ("<OtherName><FirstName>C</FirstName></OtherName>", (None, None)),
        (
            "<Name><FirstName>Ana</FirstName><LastSurname>Ruiz</LastSurname></Name><OtherName>"
            "<FirstName>Annie</FirstName></OtherName><OtherName><LastSurname>R</LastSurname>"
            "</OtherName>",
            ("Ana", "Ruiz"),
        ),
    ],
)
def test_a_student_with_part_of_a_name_is_kept_without_the_rest(
    name: str, expected: tuple[str | None, str | None], tmp_path: Path
):
    _, snapshot = loaded(wrote(tmp_path / "in", Student=student(1, name)), tmp_path / "home")
    [row] = rows_of(snapshot, "students")
    assert (row["first_name"], row["last_name"]) == expected


@pytest.mark.parametrize("level", ["Ungraded", "Postsecondary", "Adult Education", "Other"])
def test_an_enrollment_without_a_grade_of_a_school_is_kept(level: str, tmp_path: Path):
    enrollment = (
        f"<StudentSchoolAssociation>{of_student()}{SCHOOL}<EntryDate>2025-08-18</EntryDate>"
        f"<EntryGradeLevel>{level}</EntryGradeLevel></StudentSchoolAssociation>"
    )
    folder = wrote(tmp_path / "in", Student=student(), StudentEnrollment=enrollment)
    _, snapshot = loaded(folder, tmp_path / "home")
    [row] = rows_of(snapshot, "students")
    assert (row["grade_level"], row["school_id"]) == (None, "100")


def grade(
    mark: str,
    type_: str = "Grading Period",
    number: int = 1,
    course: str = "MATH7",
    period: str = "First Nine Weeks",
    more: str = "",
) -> str:
    given = f"<GradeType>uri://ed-fi.org/GradeTypeDescriptor#{type_}</GradeType>" if type_ else ""
    offering = reference("CourseOffering", f"<LocalCourseCode>{course}</LocalCourseCode>{SCHOOL}")
    section = reference("Section", f"<SectionIdentifier>1</SectionIdentifier>{offering}")
    association = reference("StudentSectionAssociation", f"{of_student(number)}{section}")
    at = reference(
        "GradingPeriod",
        f"<GradingPeriodName>{period}</GradingPeriodName><SchoolYear>2025-2026</SchoolYear>{SCHOOL}",
    )
    return f"<Grade>{mark}{given}{more}{association}{at}</Grade>"


def points(mark: float | str) -> str:
    return f"<NumericGradeEarned>{mark}</NumericGradeEarned>"


def letter(mark: str) -> str:
    return f"<LetterGradeEarned>{mark}</LetterGradeEarned>"


def grading_period(name: str, ends: str, sequence: str = "") -> str:
    place = f"<PeriodSequence>{sequence}</PeriodSequence>" if sequence else ""
    return (
        f"<GradingPeriod><GradingPeriodName>{name}</GradingPeriodName>"
        f"<SchoolYear>2025-2026</SchoolYear><EndDate>{ends}</EndDate>{place}{SCHOOL}</GradingPeriod>"
    )


PERIODS = grading_period("First Nine Weeks", "2025-10-17", "1") + grading_period(
    "Second Nine Weeks", "2025-12-19", "2"
)


def graded(
    tmp_path: Path, *grades: str, letter_marks: Mapping[str, float] | None = None
) -> tuple[LoadReport, Snapshot]:
    folder = wrote(
        tmp_path / "in",
        Student=student(1) + student(2),
        EducationOrgCalendar=PERIODS,
        StudentGrade="".join(f"\n{one}" for one in grades),
    )
    return loaded(folder, tmp_path / "home", letter_marks)


def marks(snapshot: Snapshot) -> list[tuple[str, int, float]]:
    return sorted(
        (row["course"], row["period"], row["grade"]) for row in rows_of(snapshot, "course_grades")
    )


def test_an_exam_and_a_progress_report_are_no_final_marks(cases: Path, tmp_path: Path):
    report, snapshot = loaded(cases / "11-edfi-grade-types", tmp_path)
    assert marks(snapshot) == [("English 7", 1, 90.0), ("Math 7", 1, 85.0)]
    records = ScopedRecords(snapshot, pipeline_scope(snapshot, "features", AS_OF))
    features = build_features(records, AS_OF)
    assert features.loc["1", "grade_average"] == 87.5
    assert raise_alerts(features.loc[["1"]], AlertRules.declared()) == []
    assert ignored(report, "StudentGrade.xml") == {
        f"Grade of the type {type_!r}: not a final mark": 1
        for type_ in ("Mid-Term Grade", "Exam", "Progress Report")
    }


def test_letters_need_a_table_and_the_message_says_so(cases: Path, tmp_path: Path):
    report, snapshot = loaded(cases / "13-edfi-letter-grades", tmp_path / "without")
    bad = snapshot.quarantined().to_pylist()
    assert [(row["file"], row["line"], row["column"]) for row in bad] == [
        ("StudentGrade.xml", line, "NumericGradeEarned") for line in range(3, 9)
    ]
    assert bad[1]["reason"] == (
        "NumericGradeEarned is empty and LetterGradeEarned is 'A-': a table from letters to points"
        " of 100 is needed that lists this letter"
    )
    assert [note for note in report.notes if "letters alone" in note and ": 6." in note]
    assert ignored(report, "StudentGrade.xml") == {
        "Grade with the letter 'P': not a mark": 1,
        "Grade with the letter 'INC': not a mark": 1,
    }
    _, snapshot = loaded(cases / "13-edfi-letter-grades", tmp_path / "with", LETTERS)
    assert sorted(row["grade"] for row in rows_of(snapshot, "course_grades")) == sorted(
        LETTERS.values()
    )
    assert snapshot.quarantined().num_rows == 0


def test_a_letter_that_the_table_lacks_is_refused_with_those_that_it_lists(tmp_path: Path):
    _, snapshot = graded(
        tmp_path, grade(letter("a")), grade(letter("E"), number=2), letter_marks={"A": 95, "B": 85}
    )
    assert marks(snapshot) == [("MATH7", 1, 95.0)]
    [bad] = snapshot.quarantined().to_pylist()
    assert bad["line"] == 3 and bad["reason"].endswith("lists this letter; it lists A, B")


def test_zero_beside_incomplete_is_no_mark(tmp_path: Path):
    report, snapshot = graded(
        tmp_path,
        grade(points(0) + letter("INC")),
        grade(points(0), number=2),
        grade(points(90), course="ART"),
    )
    assert marks(snapshot) == [("ART", 1, 90.0), ("MATH7", 1, 0.0)]
    assert ignored(report, "StudentGrade.xml") == {"Grade with the letter 'INC': not a mark": 1}


def test_marks_of_a_4_point_scale_are_refused_and_not_taken_for_points_of_100(tmp_path: Path):
    report, snapshot = graded(tmp_path, grade(points("3.7")), grade(points(4), number=2))
    assert marks(snapshot) == []
    bad = snapshot.quarantined().to_pylist()
    assert [(row["line"], row["column"]) for row in bad] == [
        (2, "NumericGradeEarned"),
        (3, "NumericGradeEarned"),
    ]
    assert "3.7" in bad[0]["reason"] and "looks like a 4-point scale" in bad[0]["reason"]
    assert bad[0]["raw"].startswith("Grade: 3.7")
    assert any("4-point scale: 2." in note for note in report.notes)


def test_beside_a_number_of_a_4_point_scale_a_letter_of_the_table_counts(tmp_path: Path):
    _, snapshot = graded(
        tmp_path,
        grade(points(4) + letter("A")),
        grade(points(3), number=2),
        letter_marks=LETTERS,
    )
    assert marks(snapshot) == [("MATH7", 1, 95.0)]
    [bad] = snapshot.quarantined().to_pylist()
    assert (bad["line"], bad["column"]) == (3, "NumericGradeEarned")


def test_a_low_mark_of_a_source_with_points_of_100_counts(tmp_path: Path):
    _, snapshot = graded(tmp_path, grade(points(3)), grade(points(91), number=2))
    assert sorted(grade for _, _, grade in marks(snapshot)) == [3.0, 91.0]
    assert snapshot.quarantined().num_rows == 0


@pytest.mark.parametrize("mark", ["850", "-1", "nan", "ninety"])
def test_a_mark_beyond_the_scale_is_refused(mark: str, tmp_path: Path):
    _, snapshot = graded(tmp_path, grade(points(mark)), grade(points(80), number=2))
    [bad] = snapshot.quarantined().to_pylist()
    assert (bad["line"], bad["column"]) == (2, "NumericGradeEarned") and mark in bad["reason"]


def test_the_finest_final_marks_of_a_course_are_used(tmp_path: Path):
    report, snapshot = graded(
        tmp_path,
        grade(points(70), "Semester"),
        grade(points(80)),
        grade(points(71), "Final"),
        grade(points(60), "Final", course="ART"),
        grade(points(61), "Semester", course="ART"),
        grade(points(50), "Final", course="GYM"),
    )
    assert marks(snapshot) == [("ART", 1, 61.0), ("GYM", 1, 50.0), ("MATH7", 1, 80.0)]
    assert ignored(report, "StudentGrade.xml") == {
        "Grade of the type 'Semester': the marks of shorter terms are used": 1,
        "Grade of the type 'Final': the marks of shorter terms are used": 2,
    }


def test_a_mark_that_is_still_changing_does_not_count(tmp_path: Path):
    current = "<CurrentGradeIndicator>true</CurrentGradeIndicator>"
    report, snapshot = graded(
        tmp_path, grade(points(40), more=current), grade(points(80), number=2)
    )
    assert marks(snapshot) == [("MATH7", 1, 80.0)]
    assert sum(ignored(report, "StudentGrade.xml").values()) == 1


@pytest.mark.parametrize(
    ("code", "term"),
    [
        ("Grading Period", MarkTerm.GRADING_PERIOD),
        ("GRADING-PERIOD", MarkTerm.GRADING_PERIOD),
        ("gradingPeriod", MarkTerm.GRADING_PERIOD),
        ("Quarter", MarkTerm.GRADING_PERIOD),
        ("Second Nine Weeks", MarkTerm.GRADING_PERIOD),
        ("Six Weeks", MarkTerm.GRADING_PERIOD),
        ("Trimester", MarkTerm.GRADING_PERIOD),
        ("Semester", MarkTerm.SEMESTER),
        ("Semester 1", MarkTerm.SEMESTER),
        ("Final", MarkTerm.COURSE),
        ("Course Final", MarkTerm.COURSE),
        ("Exam", MarkTerm.NOT_FINAL),
        ("Semester Exam", MarkTerm.NOT_FINAL),
        ("Final Exam", MarkTerm.NOT_FINAL),
        ("Mid-Term Grade", MarkTerm.NOT_FINAL),
        ("Mid Term", MarkTerm.NOT_FINAL),
        ("Midterm", MarkTerm.NOT_FINAL),
        ("Progress Report", MarkTerm.NOT_FINAL),
        ("Conduct", MarkTerm.NOT_FINAL),
        ("Citizenship", MarkTerm.NOT_FINAL),
        ("Something of the district", None),
    ],
)
def test_the_type_of_a_mark_says_what_it_is_about(code: str, term: MarkTerm | None):
    assert standard_profile("edfi").grades.term(code) is term


def test_a_type_that_is_not_understood_does_not_count_and_is_named(tmp_path: Path):
    report, snapshot = graded(tmp_path, grade(points(80), "Z9"), grade(points(81), ""))
    assert marks(snapshot) == [("MATH7", 1, 81.0)]
    assert ignored(report, "StudentGrade.xml") == {"Grade of the type 'Z9': not understood": 1}
    assert [note for note in report.notes if "'Z9'" in note and note.endswith(": 1")]


def test_two_sections_of_one_title_both_count(cases: Path, tmp_path: Path):
    _, snapshot = loaded(cases / "15-edfi-same-title", tmp_path)
    assert {row["section_id"]: row["grade"] for row in rows_of(snapshot, "course_grades")} == {
        "1": 95.0,
        "2": 55.0,
    }
    records = ScopedRecords(snapshot, pipeline_scope(snapshot, "features", AS_OF))
    features = build_features(records, AS_OF).loc["1"]
    assert (features["grade_average"], features["lowest_grade"]) == (75.0, 55.0)


def test_the_unique_section_code_of_version_2_tells_sections_apart(tmp_path: Path):
    older = grade(points(80)).replace("SectionIdentifier", "UniqueSectionCode")
    _, snapshot = graded(tmp_path, older)
    [row] = rows_of(snapshot, "course_grades")
    assert row["section_id"] == "1"


def test_grading_periods_without_a_place_are_numbered_by_their_last_day(tmp_path: Path):
    folder = wrote(
        tmp_path / "in",
        Student=student(),
        EducationOrgCalendar=grading_period("Second", "2025-12-19")
        + grading_period("First", "2025-10-17"),
        StudentGrade=grade(points(70), period="First") + grade(points(80), period="Second"),
    )
    _, snapshot = loaded(folder, tmp_path / "home")
    assert marks(snapshot) == [("MATH7", 1, 70.0), ("MATH7", 2, 80.0)]


def test_grading_periods_of_version_2_are_known_by_their_first_day(tmp_path: Path):
    descriptor_of_2 = "<GradingPeriod><CodeValue>First Six Weeks</CodeValue></GradingPeriod>"
    begin = "<BeginDate>2025-08-18</BeginDate>"
    at = reference("GradingPeriod", f"{descriptor_of_2}{begin}{SCHOOL}")
    mark = grade(points(80))
    folder = wrote(
        tmp_path / "in",
        Student=student(),
        EducationOrgCalendar=f"<GradingPeriod>{SCHOOL}{descriptor_of_2}{begin}"
        "<EndDate>2025-09-26</EndDate></GradingPeriod>",
        StudentGrade=mark[: mark.index("<GradingPeriodReference>")] + at + "</Grade>",
    )
    _, snapshot = loaded(folder, tmp_path / "home")
    [row] = rows_of(snapshot, "course_grades")
    assert (row["school_year"], row["period"], row["date"]) == (2026, 1, date(2025, 9, 26))


def incident(identifier: str, day: str, more: str = "") -> str:
    return (
        f"<DisciplineIncident><IncidentIdentifier>{identifier}</IncidentIdentifier>"
        f"<IncidentDate>{day}</IncidentDate>{SCHOOL}{more}</DisciplineIncident>"
    )


def of_incident(identifier: str) -> str:
    return reference(
        "DisciplineIncident", f"<IncidentIdentifier>{identifier}</IncidentIdentifier>{SCHOOL}"
    )


def part(identifier: str, role: str = "Perpetrator", behavior: str = "Other") -> str:
    return (
        f"<StudentDisciplineIncidentAssociation>{of_student()}{of_incident(identifier)}"
        f"<StudentParticipationCode>{role}</StudentParticipationCode>{behavior_of(behavior)}"
        "</StudentDisciplineIncidentAssociation>"
    )


def behavior_of(code: str) -> str:
    return f"<Behavior><Behavior>uri://ed-fi.org/BehaviorDescriptor#{code}</Behavior></Behavior>"


def action(identifier: str, references: str, days: float | str, more: str = "") -> str:
    return (
        f"<DisciplineAction><DisciplineActionIdentifier>{identifier}</DisciplineActionIdentifier>"
        "<Discipline>Out of School Suspension</Discipline><DisciplineDate>2025-12-02"
        f"</DisciplineDate><DisciplineActionLength>{days}</DisciplineActionLength>{more}"
        f"{of_student()}{references}</DisciplineAction>"
    )


def disciplined(tmp_path: Path, *records: str) -> tuple[LoadReport, Snapshot]:
    body = "".join(f"\n{record}" for record in records)
    folder = wrote(tmp_path / "in", Student=student(), StudentDiscipline=body)
    return loaded(folder, tmp_path / "home")


def incidents(snapshot: Snapshot) -> dict[str, tuple[Any, ...]]:
    return {
        row["incident_id"]: (row["behavior"], row["action"], row["days_removed"])
        for row in rows_of(snapshot, "behavior_incidents")
    }


def test_an_incident_of_version_3_counts(cases: Path, tmp_path: Path):
    _, snapshot = loaded(cases / "17-edfi-discipline-ds3", tmp_path)
    [row] = rows_of(snapshot, "behavior_incidents")
    assert (row["student_id"], row["date"], row["behavior"]) == (
        "1",
        date(2025, 12, 1),
        "School Code of Conduct",
    )
    records = ScopedRecords(snapshot, pipeline_scope(snapshot, "features", AS_OF))
    assert build_features(records, AS_OF).loc["1", "incidents_60"] == 1


@pytest.mark.parametrize("role", ["Victim", "Witness", "Reporter"])
def test_a_victim_and_a_witness_have_no_incident(role: str, tmp_path: Path):
    report, snapshot = disciplined(tmp_path, incident("A", "2025-12-01"), part("A", role))
    assert incidents(snapshot) == {}
    assert ignored(report, "StudentDiscipline.xml") == {
        "StudentDisciplineIncidentAssociation of a victim, witness or reporter": 1
    }


def test_a_part_that_is_not_understood_is_refused(tmp_path: Path):
    _, snapshot = disciplined(tmp_path, incident("A", "2025-12-01"), part("A", "Third party"))
    [bad] = snapshot.quarantined().to_pylist()
    assert (bad["line"], bad["column"]) == (3, "StudentParticipationCode")
    assert "'Third party'" in bad["reason"] and "Perpetrator" in bad["reason"]


def test_an_action_that_names_an_incident_directly_makes_it_the_students(tmp_path: Path):
    _, snapshot = disciplined(
        tmp_path,
        action("1", of_incident("A"), 2),
        incident("A", "2025-12-01", behavior_of("Fight")),
    )
    assert incidents(snapshot) == {"A_100": ("Fight", "Out of School Suspension", 2.0)}


@pytest.mark.parametrize("are_parts_given", [True, False])
def test_the_days_of_one_action_for_several_incidents_count_once(
    are_parts_given: bool, tmp_path: Path
):
    parts = [part("B"), part("A")] if are_parts_given else []
    _, snapshot = disciplined(
        tmp_path,
        incident("A", "2025-12-01"),
        incident("B", "2025-11-30"),
        *parts,
        action("1", of_incident("A") + of_incident("B"), 3),
    )
    behavior = "Other" if are_parts_given else None
    assert incidents(snapshot) == {
        "A_100": (behavior, "Out of School Suspension", None),
        "B_100": (behavior, "Out of School Suspension", 3.0),
    }


def test_an_action_that_names_the_students_part_finds_it(tmp_path: Path):
    references = reference("StudentDisciplineIncidentAssociation", of_student() + of_incident("A"))
    _, snapshot = disciplined(
        tmp_path, action("1", references, 2), part("A"), incident("A", "2025-12-01")
    )
    assert incidents(snapshot) == {"A_100": ("Other", "Out of School Suspension", 2.0)}


def test_two_actions_add_up_and_one_given_twice_does_not(tmp_path: Path):
    actual = "<ActualDisciplineActionLength>1</ActualDisciplineActionLength>"
    report, snapshot = disciplined(
        tmp_path,
        incident("A", "2025-12-01"),
        part("A"),
        action("1", of_incident("A"), 3),
        action("2", of_incident("A"), 3, actual),
        action("3", of_incident("A"), 3),
        action("1", of_incident("A"), 3),
    )
    assert incidents(snapshot) == {"A_100": ("Other", "Out of School Suspension", 4.0)}
    assert ignored(report, "StudentDiscipline.xml") == {"DisciplineAction that was given before": 2}


def test_two_behaviors_in_one_incident_are_one_row(tmp_path: Path):
    _, snapshot = disciplined(
        tmp_path, incident("A", "2025-12-01"), part("A", behavior="Fight"), part("A"), part("A")
    )
    assert incidents(snapshot) == {"A_100": ("Fight; Other", None, None)}
    assert snapshot.quarantined().num_rows == 0


def test_an_action_of_no_number_of_days_is_refused_and_the_load_goes_on(tmp_path: Path):
    _, snapshot = disciplined(
        tmp_path, incident("A", "2025-12-01"), part("A"), action("1", of_incident("A"), "several")
    )
    [bad] = snapshot.quarantined().to_pylist()
    assert (bad["line"], bad["column"]) == (4, "DisciplineActionLength")
    assert incidents(snapshot) == {"A_100": ("Other", None, None)}


def program(kind: str, more: str, number: int = 1, name: str = "P", type_: str = "Other") -> str:
    at = reference(
        "Program", f"<ProgramName>{name}</ProgramName><ProgramType>{type_}</ProgramType>"
    )
    return f"<Student{kind}Association>{of_student(number)}{at}{more}</Student{kind}Association>"


def begin(day: str = "2025-08-20", end: str = "") -> str:
    last = f"<EndDate>{end}</EndDate>" if end else ""
    return f"<BeginDate>{day}</BeginDate>{last}"


def meals(*services: str) -> str:
    name = "SchoolFoodServiceProgramService"
    return "".join(
        f"<{name}><{name}>uri://ed-fi.org/{name}Descriptor#{service}</{name}></{name}>"
        for service in services
    )


ENROLLED = (
    f"<StudentSchoolAssociation>{of_student()}{SCHOOL}<EntryDate>2025-12-01</EntryDate>"
    "<EntryGradeLevel>Ninth grade</EntryGradeLevel></StudentSchoolAssociation>"
)


def with_programs(
    tmp_path: Path, *programs: str, enrollment: str = ENROLLED
) -> tuple[LoadReport, Snapshot]:
    folder = wrote(
        tmp_path / "in",
        Student=student(1) + student(2),
        StudentEnrollment=enrollment,
        StudentProgram="".join(f"\n{one}" for one in programs),
    )
    return loaded(folder, tmp_path / "home")


def test_programs_that_ended_or_were_refused_are_no_facts_of_today(cases: Path, tmp_path: Path):
    _, snapshot = loaded(cases / "18-edfi-programs", tmp_path)
    facts = facts_of(snapshot)
    fact_of = {
        "1": "english_learner",
        "2": "special_education",
        "3": "special_education",
        "4": "meal_eligible",
        "5": "unstable_housing",
    }
    assert [facts[student][fact] for student, fact in fact_of.items()] == [False] * 5
    assert rows_of(snapshot, "english_learner_periods") == [
        {
            "student_id": "1",
            "first_date": date(2020, 8, 20),
            "last_date": date(2022, 5, 30),
        }
    ]
    assert rows_of(snapshot, "special_education_periods") == []
    assert rows_of(snapshot, "meal_eligible_periods") == []


def test_what_a_district_does_not_send_stays_unknown(cases: Path, tmp_path: Path):
    _, snapshot = loaded(cases / "19-edfi-programs-one-kind", tmp_path)
    facts = facts_of(snapshot)
    assert {student: row["special_education"] for student, row in facts.items()} == {
        student: student == "2" for student in facts
    }
    for fact in ("english_learner", "unstable_housing", "meal_eligible"):
        assert {row[fact] for row in facts.values()} == {None}


@pytest.mark.parametrize(
    ("kind", "more", "fact", "expected"),
    [
        ("SpecialEducationProgram", begin(), "special_education", True),
        (
            "SpecialEducationProgram",
            begin() + "<SpecialEducationExitDate>2025-09-30</SpecialEducationExitDate>",
            "special_education",
            False,
        ),
        (
            "SpecialEducationProgram",
            begin() + "<IdeaEligibility>0</IdeaEligibility>",
            "special_education",
            False,
        ),
        (
            "Section504Program",
            begin() + "<Section504Eligibility>false</Section504Eligibility>",
            "special_education",
            False,
        ),
        (
            "Section504Program",
            begin() + "<Section504Eligibility>true</Section504Eligibility>",
            "special_education",
            True,
        ),
        ("LanguageInstructionProgram", begin(), "english_learner", True),
        ("LanguageInstructionProgram", begin(end="2025-09-30"), "english_learner", False),
        (
            "LanguageInstructionProgram",
            begin() + "<EnglishLearnerParticipation>false</EnglishLearnerParticipation>",
            "english_learner",
            None,
        ),
        (
            "LanguageInstructionProgram",
            begin()
            + "<EnglishLanguageProficiencyAssessment><Monitored>Year 1</Monitored>"
            + "</EnglishLanguageProficiencyAssessment>",
            "english_learner",
            False,
        ),
        (
            "LanguageInstructionProgram",
            begin()
            + "<ProgramParticipationStatus><ParticipationStatus>Exited</ParticipationStatus>"
            + "</ProgramParticipationStatus>",
            "english_learner",
            False,
        ),
        (
            "LanguageInstructionProgram",
            begin()
            + "<LanguageInstructionProgramService><ServiceEndDate>2025-09-30</ServiceEndDate>"
            + "</LanguageInstructionProgramService>",
            "english_learner",
            None,
        ),
        ("HomelessProgram", begin(), "unstable_housing", True),
        ("HomelessProgram", begin(end="2026-06-01"), "unstable_housing", None),
        ("SchoolFoodServiceProgram", begin() + meals("Free Lunch"), "meal_eligible", True),
        ("SchoolFoodServiceProgram", begin() + meals("REDUCED-PRICE LUNCH"), "meal_eligible", True),
        ("SchoolFoodServiceProgram", begin() + meals("Full Price Lunch"), "meal_eligible", False),
        ("SchoolFoodServiceProgram", begin() + meals("Other"), "meal_eligible", None),
        ("SchoolFoodServiceProgram", begin(), "meal_eligible", None),
        (
            "SchoolFoodServiceProgram",
            begin() + "<DirectCertification>true</DirectCertification>",
            "meal_eligible",
            True,
        ),
    ],
)
def test_each_kind_of_program_says_what_it_says(
    kind: str, more: str, fact: str, expected: bool | None, tmp_path: Path
):
    _, snapshot = with_programs(tmp_path, program(kind, more))
    facts = facts_of(snapshot)
    assert facts["1"][fact] is expected
    assert facts["2"][fact] is False


@pytest.mark.parametrize(
    ("name", "type_", "fact"),
    [
        ("Bilingual", "Other", "english_learner"),
        (
            "ESL",
            "uri://ed-fi.org/ProgramTypeDescriptor#English as a Second Language (ESL)",
            "english_learner",
        ),
        ("Support", "Special Education", "special_education"),
    ],
)
def test_a_program_of_the_general_kind_is_known_by_name_or_type(
    name: str, type_: str, fact: str, tmp_path: Path
):
    general = program("Program", begin(), name=name, type_=type_)
    other = program("Program", begin(), number=2, name="Chess", type_="Athletics")
    report, snapshot = with_programs(tmp_path, general, other)
    assert {student: row[fact] for student, row in facts_of(snapshot).items()} == {
        "1": True,
        "2": False,
    }
    assert ignored(report, "StudentProgram.xml") == {"StudentProgramAssociation: not used": 1}


def test_a_program_that_ran_twice_has_two_periods_and_holds_if_one_is_open(tmp_path: Path):
    _, snapshot = with_programs(
        tmp_path,
        program("HomelessProgram", begin("2021-10-01", "2022-05-30")),
        program("HomelessProgram", begin("2025-09-01")),
        program("HomelessProgram", begin("2025-09-01", "2025-09-30")),
    )
    assert facts_of(snapshot)["1"]["unstable_housing"] is True
    assert [
        (str(row["first_date"]), row["last_date"] and str(row["last_date"]))
        for row in rows_of(snapshot, "unstable_housing_periods")
    ] == [("2021-10-01", "2022-05-30"), ("2025-09-01", None)]


@pytest.mark.parametrize(("attended", "homeless"), [("2025-12-18", False), ("2025-08-25", None)])
def test_a_program_has_ended_once_the_source_knows_a_later_day(
    attended: str, homeless: bool | None, tmp_path: Path
):
    event = (
        f"<StudentSchoolAttendanceEvent>{of_student()}{SCHOOL}<AttendanceEvent><EventDate>{attended}"
        "</EventDate><AttendanceEventCategory>Tardy</AttendanceEventCategory></AttendanceEvent>"
        "</StudentSchoolAttendanceEvent>"
    )
    folder = wrote(
        tmp_path / "in",
        Student=student(),
        StudentAttendance=event,
        StudentProgram=program("HomelessProgram", begin(end="2025-10-31")),
    )
    report, snapshot = loaded(folder, tmp_path / "home")
    assert facts_of(snapshot)["1"]["unstable_housing"] is homeless
    assert "StudentSchoolAttendance.xml" not in {missing.file for missing in report.missing}


@pytest.mark.parametrize(
    ("days", "column", "found"),
    [
        (begin("2025-13-01"), "BeginDate", "'2025-13-01'"),
        (begin("2025-09-01", "2025-08-01"), "EndDate", "before BeginDate"),
    ],
)
def test_days_of_a_program_that_are_none_are_refused(
    days: str, column: str, found: str, tmp_path: Path
):
    _, snapshot = with_programs(tmp_path, program("HomelessProgram", days))
    [bad] = snapshot.quarantined().to_pylist()
    assert (bad["file"], bad["line"], bad["column"]) == ("StudentProgram.xml", 2, column)
    assert found in bad["reason"]
    assert {row["unstable_housing"] for row in facts_of(snapshot).values()} == {None}


def described(number: int = 1, **codes: str) -> str:
    inside = "".join(
        f"<{name}>uri://ed-fi.org/{name}Descriptor#{code}</{name}>"
        for name, all_ in codes.items()
        for code in all_.split("|")
    ).replace("uri://ed-fi.org/HispanicLatinoEthnicityDescriptor#", "")
    return (
        "<StudentEducationOrganizationAssociation>"
        f"{of_student(number)}{inside}</StudentEducationOrganizationAssociation>"
    )


def test_codes_that_say_nothing_are_unknown(cases: Path, tmp_path: Path):
    report, snapshot = loaded(cases / "20-edfi-demographics", tmp_path)
    facts = facts_of(snapshot)
    assert {number: (row["sex"], row["race_ethnicity"]) for number, row in facts.items()} == {
        "1": (None, None),
        "2": ("female", "white"),
        "3": ("male", "hispanic"),
        "4": ("female", None),
        "5": ("female", "two_or_more"),
        "6": ("female", None),
        "7": ("male", "pacific_islander"),
        "8": ("male", "white"),
    }
    assert {number for number, row in facts.items() if row["english_learner"]} == {"8"}
    assert {row["english_learner"] for row in facts.values()} == {None, True}
    assert [note for note in report.notes if "'Middle Eastern or North African': 1" in note]
    assert [note for note in report.notes if "'Other': 1" in note]


def test_the_races_of_version_5_2_are_understood(cases: Path, tmp_path: Path):
    _, snapshot = loaded(cases / "34-edfi-ds52-races", tmp_path)
    assert [row["race_ethnicity"] for row in facts_of(snapshot).values()] == [
        "american_indian",
        "black",
        "pacific_islander",
        "hispanic",
        None,
        "asian",
        "white",
        "two_or_more",
    ]


@pytest.mark.parametrize(
    ("races", "group"),
    [
        ("American Indian - Alaskan Native", "american_indian"),
        ("Native Hawaiian or Other Pacific Islander", "pacific_islander"),
        ("BLACK OR AFRICAN-AMERICAN", "black"),
        ("White|Hispanic or Latino", "hispanic"),
        ("White|Other", "two_or_more"),
        ("White|Asian", "two_or_more"),
        ("Two or More", "two_or_more"),
        ("Asian|Middle Eastern or North African", "two_or_more"),
        ("White|Middle Eastern or North African", None),
        ("White|Martian", None),
        ("Martian", None),
        ("Other", None),
        ("Other|Choose Not to Respond", None),
        ("Choose Not to Respond", None),
        ("", None),
    ],
)
def test_races_make_one_federal_group_or_none(races: str, group: str | None):
    codes = [race for race in races.split("|") if race]
    assert federal_group(codes, hispanic=False)[0] == group
    assert federal_group(codes, hispanic=True)[0] == "hispanic"


@pytest.mark.parametrize(
    ("code", "sex"),
    [
        ("Female", "female"),
        ("MALE", "male"),
        ("Non-binary", "another"),
        ("X", "another"),
        ("Not Selected", "unknown"),
        ("Not Applicable", "unknown"),
        ("Purple", None),
    ],
)
def test_a_sex_is_one_of_three_or_unknown(code: str, sex: str | None):
    assert sex_of(code) == sex


def test_what_is_not_understood_is_unknown_and_named(tmp_path: Path):
    folder = wrote(
        tmp_path / "in",
        Student=student(1) + student(2),
        StudentEnrollment=described(
            1, Sex="Purple", Race="White|Martian", LimitedEnglishProficiency="Perhaps"
        )
        + described(2, Sex="Female", Race="Asian", LimitedEnglishProficiency="NotLimited"),
    )
    report, snapshot = loaded(folder, tmp_path / "home")
    facts = facts_of(snapshot)
    assert set(facts["1"].values()) == {None}
    assert (facts["2"]["race_ethnicity"], facts["2"]["english_learner"]) == ("asian", False)
    for code in ("Purple", "Martian", "Perhaps"):
        assert [note for note in report.notes if f"'{code}': 1" in note]


def test_the_records_of_two_schools_about_a_student_add_up(tmp_path: Path):
    folder = wrote(
        tmp_path / "in",
        Student=student(),
        StudentEnrollment=described(1, Race="White", Sex="Female")
        + described(1, Race="Asian")
        + described(1, LimitedEnglishProficiency="Limited Monitored 1"),
    )
    _, snapshot = loaded(folder, tmp_path / "home")
    facts = facts_of(snapshot)["1"]
    assert (facts["sex"], facts["race_ethnicity"]) == ("female", "two_or_more")
    assert facts["english_learner"] is False


def test_version_2_gives_races_and_english_with_the_student(tmp_path: Path):
    more = (
        "<Sex>Male</Sex><HispanicLatinoEthnicity>false</HispanicLatinoEthnicity><Race>Asian</Race>"
        "<LimitedEnglishProficiency><CodeValue>Limited</CodeValue></LimitedEnglishProficiency>"
    )
    _, snapshot = loaded(wrote(tmp_path / "in", Student=student(more=more)), tmp_path / "home")
    facts = facts_of(snapshot)["1"]
    assert (facts["sex"], facts["race_ethnicity"], facts["english_learner"]) == (
        "male",
        "asian",
        True,
    )


def test_older_versions_give_homelessness_and_meals_with_the_student(tmp_path: Path):
    def facts(characteristic: str, meals: str, folder: Path) -> dict[str, object]:
        more = (
            "<StudentCharacteristic><StudentCharacteristic><CodeValue>Single parent</CodeValue>"
            "</StudentCharacteristic></StudentCharacteristic>"
            f"{characteristic}<SchoolFoodServicesEligibility>{meals}"
            "</SchoolFoodServicesEligibility>"
        )
        folder.mkdir()
        _, snapshot = loaded(wrote(folder / "in", Student=student(more=more)), folder / "home")
        found = facts_of(snapshot)["1"]
        return {name: found[name] for name in ("unstable_housing", "meal_eligible")}

    def homeless(*days: str) -> str:
        return (
            "<StudentCharacteristic><StudentCharacteristic><CodeValue>Homeless</CodeValue>"
            f"</StudentCharacteristic>{''.join(days)}</StudentCharacteristic>"
        )

    begin_, end = "<BeginDate>2025-09-01</BeginDate>", "<EndDate>2025-09-30</EndDate>"
    assert facts(homeless(begin_), "Free", tmp_path / "1") == {
        "unstable_housing": True,
        "meal_eligible": True,
    }
    period = f"<Period>{begin_}{end}</Period>"
    assert facts(homeless(period), "Full price", tmp_path / "2") == {
        "unstable_housing": None,
        "meal_eligible": False,
    }
    assert facts("", "Unknown", tmp_path / "3") == {
        "unstable_housing": None,
        "meal_eligible": None,
    }


def test_a_language_program_decides_before_the_proficiency(tmp_path: Path):
    said = described(1, LimitedEnglishProficiency="Limited")
    ended = program("LanguageInstructionProgram", begin(end="2025-09-30"))
    _, snapshot = with_programs(
        tmp_path, ended, enrollment=ENROLLED + said + said.replace(">1<", ">2<")
    )
    facts = facts_of(snapshot)
    assert (facts["1"]["english_learner"], facts["2"]["english_learner"]) == (False, True)


def test_the_api_gives_the_same_meaning(tmp_path: Path):
    ods = FakeEdFiApi()
    by = {"studentReference": {"studentUniqueId": "1"}}
    incident_ = {"incidentIdentifier": "A", "schoolId": 100}
    with ods.running():
        for number in ("1", "2"):
            ods.add("ed-fi/students", (number,), {"studentUniqueId": number, "lastSurname": None})
        ods.add(
            "ed-fi/studentSchoolAssociations",
            (1,),
            by
            | {
                "schoolReference": {"schoolId": 100},
                "entryDate": "2025-12-01",
                "entryGradeLevelDescriptor": descriptor("GradeLevel", "Ungraded"),
            },
        )
        ods.add(
            "ed-fi/studentEducationOrganizationAssociations",
            (1,),
            by
            | {
                "sexDescriptor": descriptor("Sex", "Not Selected"),
                "hispanicLatinoEthnicity": False,
                "races": [
                    {"raceDescriptor": descriptor("Race", race)} for race in ("White", "Other")
                ],
                "limitedEnglishProficiencyDescriptor": descriptor(
                    "LimitedEnglishProficiency", "Limited"
                ),
            },
        )
        ods.add(
            "ed-fi/studentSection504ProgramAssociations",
            (1,),
            by | {"beginDate": "2025-08-20", "section504Eligibility": False},
        )
        ods.add(
            "ed-fi/studentSchoolFoodServiceProgramAssociations",
            (1,),
            by
            | {
                "beginDate": "2025-08-20",
                "schoolFoodServiceProgramServices": [
                    {
                        "schoolFoodServiceProgramServiceDescriptor": descriptor(
                            "SchoolFoodServiceProgramService", "Reduced Price Lunch"
                        ),
                        "serviceEndDate": "2025-10-31",
                    }
                ],
            },
        )
        ods.add(
            "ed-fi/gradingPeriods",
            (1,),
            {
                "gradingPeriodDescriptor": descriptor("GradingPeriod", "First Nine Weeks"),
                "periodSequence": 1,
                "endDate": "2025-10-17",
                "schoolReference": {"schoolId": 100},
                "schoolYearTypeReference": {"schoolYear": 2026},
            },
        )
        for type_, mark in (("Exam", 41.0), ("Grading Period", 85.0), ("Final", 80.0)):
            ods.add(
                "ed-fi/grades",
                (type_,),
                {
                    "numericGradeEarned": mark,
                    "gradeTypeDescriptor": descriptor("GradeType", type_),
                    "gradingPeriodReference": {
                        "gradingPeriodDescriptor": descriptor("GradingPeriod", "First Nine Weeks"),
                        "periodSequence": 1,
                        "schoolId": 100,
                        "schoolYear": 2026,
                    },
                    "studentSectionAssociationReference": {
                        "localCourseCode": "MATH7",
                        "sectionIdentifier": "7",
                        "studentUniqueId": "1",
                    },
                },
            )
        ods.add(
            "ed-fi/disciplineIncidents",
            (1,),
            {
                "incidentIdentifier": "A",
                "incidentDate": "2025-12-01",
                "schoolReference": {"schoolId": 100},
            },
        )
        ods.add(
            "ed-fi/studentDisciplineIncidentAssociations",
            (1,),
            by
            | {
                "disciplineIncidentReference": incident_,
                "studentParticipationCodeDescriptor": descriptor(
                    "StudentParticipationCode", "Perpetrator"
                ),
                "behaviors": [{"behaviorDescriptor": descriptor("Behavior", "Other")}],
            },
        )
        ods.add(
            "ed-fi/disciplineActions",
            (1,),
            by
            | {
                "disciplineActionIdentifier": "1",
                "disciplineActionLength": 2.5,
                "disciplines": [{"disciplineDescriptor": descriptor("Discipline", "Removal")}],
                "studentDisciplineIncidentAssociations": [
                    {"studentDisciplineIncidentAssociationReference": incident_}
                ],
            },
        )
        connector = ods.connector()
        connector.fetch(tmp_path / "mirror", lambda name, done, total: None)
        report = load(connector, tmp_path / "mirror", tmp_path / "home")
    snapshot = Snapshot.current(tmp_path / "home")
    assert snapshot.quarantined().num_rows == 0
    assert marks(snapshot) == [("MATH7", 1, 85.0)]
    assert sum(ignored(report, "ed-fi/grades").values()) == 2
    assert incidents(snapshot) == {"A_100": ("Other", "Removal", 2.5)}
    assert facts_of(snapshot)["1"] == {
        "student_id": "1",
        "sex": None,
        "race_ethnicity": "two_or_more",
        "english_learner": True,
        "special_education": False,
        "unstable_housing": None,
        "meal_eligible": False,
    }
    assert rows_of(snapshot, "meal_eligible_periods") == [
        {"student_id": "1", "first_date": date(2025, 8, 20), "last_date": date(2025, 10, 31)}
    ]
    [row] = [row for row in rows_of(snapshot, "students") if row["student_id"] == "1"]
    assert (row["last_name"], row["grade_level"], row["school_id"]) == (None, None, "100")


def test_a_newer_server_is_not_said_to_lack_what_version_3_has(tmp_path: Path):
    ods = FakeEdFiApi()
    ods.refused = {"ed-fi/studentDisciplineIncidentAssociations": 404}
    with ods.running():
        ods.add("ed-fi/students", ("1",), {"studentUniqueId": "1"})
        connector = ods.connector()
        connector.fetch(tmp_path / "mirror", lambda name, done, total: None)
        report = load(connector, tmp_path / "mirror", tmp_path / "home")
    assert report.missing == []
