"""What unusual Ed-Fi records mean: enrollments that never began, work in a gradebook, days to come.

The codes are those of the Ed-Fi Data Standard 3.3 to 6.0.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from records.connectors.edfi.descriptors import learns_english
from records.loading.load_history import code_warnings
from tests.records.connectors.test_edfi_cases import (
    SCHOOL,
    facts_of,
    ignored,
    loaded,
    of_student,
    program,
    reference,
    rows_of,
    student,
    wrote,
)


def enrollment(
    entry: str = "2025-08-18",
    left: str = "",
    more: str = "",
    number: int = 1,
    school: str = SCHOOL,
) -> str:
    exit_date = f"<ExitWithdrawDate>{left}</ExitWithdrawDate>" if left else ""
    return (
        f"<StudentSchoolAssociation>{of_student(number)}{school}<EntryDate>{entry}</EntryDate>"
        f"<EntryGradeLevel>Ninth grade</EntryGradeLevel>{exit_date}{more}"
        "</StudentSchoolAssociation>"
    )


def absence(day: str, school: str = SCHOOL, code: str = "Unexcused Absence") -> str:
    return (
        f"<StudentSchoolAttendanceEvent><AttendanceEvent><EventDate>{day}</EventDate>"
        f"<AttendanceEventCategory>{code}</AttendanceEventCategory></AttendanceEvent>"
        f"{of_student()}{school}</StudentSchoolAttendanceEvent>"
    )


OTHER_SCHOOL = reference("School", "<SchoolId>200</SchoolId>")


@pytest.mark.parametrize(
    "code",
    [
        "<ExitWithdrawType>uri://ed-fi.org/ExitWithdrawTypeDescriptor#No show</ExitWithdrawType>",
        "<ExitWithdrawType><CodeValue>No-show</CodeValue></ExitWithdrawType>",
        "<ExitWithdrawType>Invalid enrollment</ExitWithdrawType>",
        "<EnrollmentType>uri://ed-fi.org/EnrollmentTypeDescriptor#Preregistered</EnrollmentType>",
        "<EnrollmentType>Summer</EnrollmentType>",
    ],
)
def test_an_enrollment_that_never_began_is_no_time_at_a_school(code: str, tmp_path: Path):
    folder = wrote(
        tmp_path / "in",
        Student=student(),
        StudentEnrollment=enrollment(left="2025-08-29", more=code)
        + enrollment(school=OTHER_SCHOOL),
        # Its name comes before that of the enrollments.
        AttendanceOfStudents=absence("2025-08-19") + absence("2025-09-02", OTHER_SCHOOL),
    )
    (folder / "AttendanceOfStudents.xml").write_text(
        (folder / "AttendanceOfStudents.xml")
        .read_text()
        .replace("InterchangeAttendanceOfStudents", "InterchangeStudentAttendance")
    )
    report, snapshot = loaded(folder, tmp_path / "home")
    assert [row["school_id"] for row in rows_of(snapshot, "school_enrollments")] == ["200"]
    assert [row["school_id"] for row in rows_of(snapshot, "attendance_events")] == ["200"]
    assert [row["school_id"] for row in rows_of(snapshot, "students")] == ["200"]
    assert sum(ignored(report, "StudentEnrollment.xml").values()) == 1
    assert ignored(report, "AttendanceOfStudents.xml") == {
        "attendance at a school to which the student never came": 1
    }


def test_a_student_who_never_came_is_at_no_school(tmp_path: Path):
    folder = wrote(
        tmp_path / "in",
        Student=student(),
        StudentEnrollment=enrollment(more="<ExitWithdrawType>No show</ExitWithdrawType>"),
        StudentSchoolAttendance=absence("2025-08-19"),
    )
    _, snapshot = loaded(folder, tmp_path / "home")
    assert [row["school_id"] for row in rows_of(snapshot, "students")] == [None]


def test_an_enrollment_that_ends_before_it_begins_is_refused_with_both_days(tmp_path: Path):
    folder = wrote(
        tmp_path / "in",
        Student=student(),
        StudentEnrollment=enrollment("2025-08-18", "2025-08-15")
        + enrollment("2025-09-02", "2025-09-02"),
    )
    _, snapshot = loaded(folder, tmp_path / "home")
    [row] = snapshot.quarantined().to_pylist()
    assert (row["file"], row["column"]) == ("StudentEnrollment.xml", "ExitWithdrawDate")
    assert "2025-08-15 is before EntryDate 2025-08-18" in row["reason"]
    assert [str(row["entry_date"]) for row in rows_of(snapshot, "school_enrollments")] == [
        "2025-09-02"
    ]


def work(number: int, mark: str, most: str = "", status: str = "") -> str:
    """A piece of work of version 5, and the student's mark for it."""
    identity = f"<GradebookEntryIdentifier>w{number}</GradebookEntryIdentifier>"
    max_points = f"<MaxPoints>{most}</MaxPoints>" if most else ""
    given = f"<SubmissionStatus>{status}</SubmissionStatus>" if status else ""
    return (
        f"<GradebookEntry>{identity}<DateAssigned>2025-12-01</DateAssigned><Title>Quiz</Title>"
        f"{max_points}</GradebookEntry><StudentGradebookEntry>"
        f"{reference('GradebookEntry', identity)}{of_student()}{mark}{given}"
        "</StudentGradebookEntry>"
    )


def points(earned: str) -> str:
    return f"<PointsEarned>{earned}</PointsEarned>"


def numeric(mark: str) -> str:
    return f"<NumericGradeEarned>{mark}</NumericGradeEarned>"


def work_marks(tmp_path: Path, *works: str) -> dict[str, Any]:
    folder = wrote(tmp_path / "in", Student=student(), StudentGradebook="".join(works))
    _, snapshot = loaded(folder, tmp_path / "home")
    return {row["entry_id"]: row["grade"] for row in rows_of(snapshot, "gradebook_entries")}


@pytest.mark.parametrize(
    ("mark", "most", "status", "expected"),
    [
        (points("8"), "10", "", 80.0),
        (points("9") + numeric("9"), "10", "Graded", 90.0),
        (points("11"), "10", "", 110.0),
        (points("8"), "", "", None),
        (numeric("85"), "", "", 85.0),
        (numeric("85"), "100", "", 85.0),
        (numeric("85"), "10", "", 85.0),
        (numeric("9"), "10", "", None),
        (points("0"), "10", "Graded", 0.0),
        (points("0"), "10", "Submitted", None),
        (points("7"), "10", "Submitted", 70.0),
        (points("7"), "10", "Teleported", None),
        ("", "10", "", None),
    ],
)
def test_a_piece_of_work_is_worth_its_share_of_the_points(
    mark: str, most: str, status: str, expected: float | None, tmp_path: Path
):
    marks = work_marks(tmp_path, work(1, mark, most, status), work(2, numeric("70")))
    assert marks == {"w1": expected, "w2": 70.0}


@pytest.mark.parametrize("status", ["Exempt", "Not Submitted"])
def test_work_that_is_exempt_or_was_not_submitted_has_no_mark(status: str, tmp_path: Path):
    marks = work_marks(
        tmp_path,
        work(1, points("0") + numeric("0"), "10", f"uri://x/SubmissionStatusDescriptor#{status}"),
        work(2, numeric("70")),
    )
    assert marks == {"w2": 70.0}


def test_work_on_a_4_point_scale_is_no_failure(tmp_path: Path):
    assert work_marks(tmp_path, work(1, numeric("3")), work(2, numeric("4"))) == {
        "w1": None,
        "w2": None,
    }


@pytest.mark.parametrize("mark", [points("21"), points("-1"), points("ten")])
def test_points_that_cannot_be_right_are_refused(mark: str, tmp_path: Path):
    assert work_marks(tmp_path, work(1, mark, "10"), work(2, numeric("70"))) == {"w2": 70.0}


def test_work_of_version_3_is_named_by_title_day_and_section(tmp_path: Path):
    offering = reference("CourseOffering", f"<LocalCourseCode>ALG-1</LocalCourseCode>{SCHOOL}")
    section = reference("Section", f"<SectionIdentifier>S1</SectionIdentifier>{offering}")
    body = ""
    for title, day, mark in (("Quiz", 1, 71), ("Quiz", 2, 72), ("Test", 2, 73)):
        identity = (
            f"<GradebookEntryTitle>{title}</GradebookEntryTitle>"
            f"<DateAssigned>2025-12-0{day}</DateAssigned>{section}"
        )
        body += (
            f"<GradebookEntry>{identity}</GradebookEntry><StudentGradebookEntry>"
            f"{reference('GradebookEntry', identity)}{of_student()}{numeric(str(mark))}"
            "</StudentGradebookEntry>"
        )
    _, snapshot = loaded(
        wrote(tmp_path / "in", Student=student(), StudentGradebook=body), tmp_path / "home"
    )
    rows = rows_of(snapshot, "gradebook_entries")
    assert len({row["entry_id"] for row in rows}) == 3
    assert {(row["title"], row["course"], str(row["due_date"]), row["grade"]) for row in rows} == {
        ("Quiz", "ALG-1", "2025-12-01", 71.0),
        ("Quiz", "ALG-1", "2025-12-02", 72.0),
        ("Test", "ALG-1", "2025-12-02", 73.0),
    }


def span(first: str, last: str = "") -> str:
    end = f"<EndDate>{last}</EndDate>" if last else ""
    return f"<BeginDate>{first}</BeginDate>{end}"


def test_what_is_planned_does_not_make_a_program_that_runs_a_past_one(tmp_path: Path):
    """Student 2 is in a program until January; student 3 is enrolled for the year to come."""
    kind = "SpecialEducationProgram"
    folder = wrote(
        tmp_path / "in",
        Student="".join(student(number) for number in (1, 2, 3, 4)),
        StudentEnrollment="".join(enrollment(number=number) for number in (1, 2, 4))
        + enrollment("2026-08-17", number=3),
        StudentProgram=program(kind, span("2026-01-15"), 1)
        + program(kind, span("2025-08-18", "2026-01-10"), 2)
        + program(kind, span("2025-08-18", "2025-10-10"), 4),
        StudentSchoolAttendance=absence("2025-12-18"),
    )
    _, snapshot = loaded(folder, tmp_path / "home")
    said = {number: facts["special_education"] for number, facts in facts_of(snapshot).items()}
    assert said == {"1": None, "2": None, "3": False, "4": False}
    assert len(rows_of(snapshot, "special_education_periods")) == 3


@pytest.mark.parametrize(
    ("code", "learns"),
    [
        ("RFEP", "false"),
        ("Reclassified Fluent English Proficient", "false"),
        ("IFEP", "false"),
        ("EO", "false"),
        ("Former English Learner", "false"),
        ("Emergent Bilingual", "true"),
        ("EL", "true"),
        ("TBD", None),
    ],
)
def test_states_words_for_learners_of_english(code: str, learns: str | None):
    assert learns_english(code) == learns


def test_an_action_that_was_not_taken_removes_nobody(tmp_path: Path):
    incident = (
        "<DisciplineIncident><IncidentIdentifier>1</IncidentIdentifier><IncidentDate>2025-10-01"
        f"</IncidentDate>{SCHOOL}</DisciplineIncident>"
    )
    of_incident = reference(
        "DisciplineIncident", f"<IncidentIdentifier>1</IncidentIdentifier>{SCHOOL}"
    )
    part = (
        f"<StudentDisciplineIncidentBehaviorAssociation>{of_student()}{of_incident}"
        "<Behavior>Other</Behavior></StudentDisciplineIncidentBehaviorAssociation>"
    )
    actions = "".join(
        f"<DisciplineAction><DisciplineActionIdentifier>{name}</DisciplineActionIdentifier>"
        f"<Discipline>No action for incident</Discipline><DisciplineDate>2025-10-02"
        f"</DisciplineDate><DisciplineActionLength>5</DisciplineActionLength>{of_student()}{of}"
        "</DisciplineAction>"
        for name, of in (("a", of_incident), ("b", ""))
    )
    folder = wrote(tmp_path / "in", Student=student(), StudentDiscipline=incident + part + actions)
    _, snapshot = loaded(folder, tmp_path / "home")
    [row] = rows_of(snapshot, "behavior_incidents")
    assert (row["action"], row["days_removed"]) == ("No action for incident", None)
    [quarantined] = snapshot.quarantined().to_pylist()
    assert "the action names no incident" in quarantined["reason"]


def calendar_date(day: str, *events: str) -> str:
    listed = "".join(f"<CalendarEvent>{event}</CalendarEvent>" for event in events)
    at = reference(
        "Calendar", f"<CalendarCode>R</CalendarCode>{SCHOOL}<SchoolYear>2025-2026</SchoolYear>"
    )
    return f"<CalendarDate><Date>{day}</Date>{listed}{at}</CalendarDate>"


@pytest.mark.parametrize("turned", [False, True])
def test_a_day_that_one_record_plans_and_another_closes_was_closed(turned: bool, tmp_path: Path):
    days = [
        calendar_date("2025-12-01", "Instructional day"),
        calendar_date("2025-12-01", "Weather day"),
        calendar_date("2025-12-02", "Instructional day"),
        calendar_date("2025-12-02", "Other"),
        calendar_date("2025-12-03", "Holiday"),
        calendar_date("2025-12-03", "Make-up day"),
        calendar_date("2025-12-04", "Instructional day"),
    ]
    folder = wrote(
        tmp_path / "in",
        EducationOrganization="<School><SchoolId>100</SchoolId></School>",
        EducationOrgCalendar="".join(reversed(days) if turned else days),
        Student=student(),
    )
    report, snapshot = loaded(folder, tmp_path / "home")
    held = sorted(row["date"].day for row in rows_of(snapshot, "calendar"))
    assert held == [2, 3, 4]
    assert ignored(report, "EducationOrgCalendar.xml") == {
        "CalendarDate without classes": 3,
        "a planned day that another record of its calendar closes": 1,
    }


def of_section(name: str) -> str:
    offering = reference("CourseOffering", f"<LocalCourseCode>C</LocalCourseCode>{SCHOOL}")
    return reference("Section", f"<SectionIdentifier>{name}</SectionIdentifier>{offering}")


def missed_share(tmp_path: Path, periods: dict[str, str], missed: list[str]) -> dict[str, float]:
    """What a day is of which a student misses some sections, by the periods of all of them."""
    offering = reference("CourseOffering", f"<LocalCourseCode>C</LocalCourseCode>{SCHOOL}")
    sections = "".join(
        f"<Section><SectionIdentifier>{name}</SectionIdentifier>{offering}"
        + reference("ClassPeriod", f"<ClassPeriodName>{period}</ClassPeriodName>{SCHOOL}")
        + "</Section>"
        for name, period in periods.items()
    )
    roster = "".join(
        f"<StudentSectionAssociation>{of_student()}{of_section(name)}<BeginDate>2025-08-18"
        "</BeginDate></StudentSectionAssociation>"
        for name in periods
    )
    events = "".join(
        "<StudentSectionAttendanceEvent><AttendanceEvent><EventDate>2025-12-01</EventDate>"
        f"<AttendanceEventCategory>{code}</AttendanceEventCategory></AttendanceEvent>"
        f"{of_student()}{of_section(name)}</StudentSectionAttendanceEvent>"
        for name, code in (entry.split(":") for entry in missed)
    )
    folder = wrote(
        tmp_path / "in",
        MasterSchedule=sections,
        Student=student(),
        StudentEnrollment=enrollment() + roster,
        StudentSectionAttendance=events,
    )
    _, snapshot = loaded(folder, tmp_path / "home")
    return {row["status"]: row["absent_share"] for row in rows_of(snapshot, "attendance_events")}


FOUR = {"a": "1", "b": "2", "c": "3", "d": "4"}


@pytest.mark.parametrize(
    ("periods", "missed", "expected"),
    [
        (FOUR, ["a:Unexcused Absence"], {"absent_unexcused": 0.25}),
        # A lab in the period of its lecture is no further class of the day.
        (
            FOUR | {"lab": "1"},
            ["a:Unexcused Absence", "lab:Unexcused Absence"],
            {"absent_unexcused": 0.25},
        ),
        (
            FOUR | {"lab": "1"},
            ["a:Excused Absence", "lab:Unexcused Absence"],
            {"absent_unexcused": 0.25},
        ),
        (
            FOUR | {"lab": "1"},
            [f"{name}:Excused Absence" for name in "abcd"] + ["lab:Excused Absence"],
            {"absent_excused": 1.0},
        ),
        # One period for all classes of an elementary school tells nothing apart.
        (
            dict.fromkeys("abcd", "All day"),
            ["a:Unexcused Absence", "b:Unexcused Absence"],
            {"absent_unexcused": 0.5},
        ),
    ],
)
def test_sections_of_one_period_are_one_class_of_the_day(
    periods: dict[str, str], missed: list[str], expected: dict[str, float], tmp_path: Path
):
    assert missed_share(tmp_path, periods, missed) == expected


def timed(day: int, minutes: str, duration: str = "", code: str = "Unexcused Absence") -> str:
    event = absence(f"2025-12-{day:02}", code=code)
    more = f"<EventDuration>{duration}</EventDuration></AttendanceEvent>" if duration else ""
    event = event.replace("</AttendanceEvent>", more) if more else event
    length = f"<SchoolAttendanceDuration>{minutes}</SchoolAttendanceDuration>"
    return event.replace(
        "</StudentSchoolAttendanceEvent>", f"{length}</StudentSchoolAttendanceEvent>"
    )


def test_minutes_are_a_share_of_the_schools_usual_whole_day(tmp_path: Path):
    folder = wrote(
        tmp_path / "in",
        Student=student(),
        StudentEnrollment=enrollment(),
        StudentSchoolAttendance=timed(1, "195")
        + timed(2, "390")
        + timed(3, "390")
        + timed(4, "600")
        + timed(5, "195", duration="0.25")
        + timed(8, "195", duration="1")
        + timed(9, "0")
        + timed(10, "30", code="Tardy"),
    )
    _, snapshot = loaded(folder, tmp_path / "home")
    shares = {
        row["date"].day: (row["status"], row["absent_share"])
        for row in rows_of(snapshot, "attendance_events")
    }
    whole = ("absent_unexcused", None)
    assert shares == {
        1: ("absent_unexcused", 0.5),
        2: whole,
        3: whole,
        4: whole,
        5: ("absent_unexcused", 0.25),
        8: whole,
        9: whole,
        10: ("tardy", None),
    }


def test_minutes_without_any_whole_day_are_a_part_of_unknown_length(tmp_path: Path):
    folder = wrote(
        tmp_path / "in",
        Student=student(),
        StudentEnrollment=enrollment(),
        StudentSchoolAttendance=timed(1, "45") + timed(2, "90"),
    )
    report, snapshot = loaded(folder, tmp_path / "home")
    assert {row["status"] for row in rows_of(snapshot, "attendance_events")} == {"partial"}
    [warning] = code_warnings(snapshot, "edfi")
    assert "of 2 values of SchoolAttendanceDuration, 2 are codes" in warning
    assert any("SchoolAttendanceDuration" in note and ": 2." in note for note in report.notes)
