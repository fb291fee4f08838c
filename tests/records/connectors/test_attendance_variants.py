"""Forms of attendance beside those of the cases: each has been read wrong once."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import date
from pathlib import Path

import pandas as pd
import pytest

from records.connectors.edfi.files import EdFiFiles
from records.connectors.profiles.profile import read_profile
from records.loading.load_history import code_warnings
from tests.records.connectors.test_attendance_cases import SCHOOL_DAYS, features_on, load_case

HEAD = '<?xml version="1.0" encoding="UTF-8"?>\n<Interchange{} xmlns="http://ed-fi.org/5.2.0">{}</Interchange{}>'
LAST_5 = SCHOOL_DAYS[-5:]


def student_reference(student: str) -> str:
    return (
        f"<StudentReference><StudentIdentity><StudentUniqueId>{student}</StudentUniqueId>"
        "</StudentIdentity></StudentReference>"
    )


def school_reference(school: str) -> str:
    return (
        f"<SchoolReference><SchoolIdentity><SchoolId>{school}</SchoolId></SchoolIdentity>"
        "</SchoolReference>"
    )


def absent(
    student: str, day: date, code: str = "Unexcused Absence", share: str = "", school: str = "100"
) -> str:
    duration = f"<EventDuration>{share}</EventDuration>" if share else ""
    return (
        f"<StudentSchoolAttendanceEvent><AttendanceEvent><EventDate>{day}</EventDate>"
        f"<AttendanceEventCategory>uri://ed-fi.org/AttendanceEventCategoryDescriptor#{code}"
        f"</AttendanceEventCategory>{duration}</AttendanceEvent>{student_reference(student)}"
        f"{school_reference(school)}</StudentSchoolAttendanceEvent>"
    )


def absent_from(student: str, day: date, section: int, code: str = "Unexcused Absence") -> str:
    return (
        f"<StudentSectionAttendanceEvent><AttendanceEvent><EventDate>{day}</EventDate>"
        f"<AttendanceEventCategory>uri://ed-fi.org/AttendanceEventCategoryDescriptor#{code}"
        f"</AttendanceEventCategory></AttendanceEvent>{student_reference(student)}"
        f"<SectionReference><SectionIdentity><SectionIdentifier>{section}</SectionIdentifier>"
        "<CourseOfferingReference><CourseOfferingIdentity><LocalCourseCode>C</LocalCourseCode>"
        f"{school_reference('100')}</CourseOfferingIdentity></CourseOfferingReference>"
        "</SectionIdentity></SectionReference></StudentSectionAttendanceEvent>"
    )


def enrolled(
    student: str, entry: str, left: str = "", school: str = "100", primary: str = ""
) -> str:
    flag = f"<PrimarySchool>{primary}</PrimarySchool>" if primary else ""
    exit_ = f"<ExitWithdrawDate>{left}</ExitWithdrawDate>" if left else ""
    return (
        f"<StudentSchoolAssociation>{student_reference(student)}{school_reference(school)}{flag}"
        f"<EntryDate>{entry}</EntryDate><EntryGradeLevel>7th Grade</EntryGradeLevel>{exit_}"
        "</StudentSchoolAssociation>"
    )


def district(
    folder: Path,
    attendance: Iterable[str],
    enrollments: Sequence[str] = (),
    students: Sequence[str] = ("1",),
    events: dict[date, tuple[str, ...]] | None = None,
) -> Path:
    folder.mkdir()
    schools = "".join(
        f"<School><SchoolId>{school}</SchoolId></School>" for school in ("100", "200")
    )
    days = "".join(
        f"<CalendarDate><Date>{day}</Date>"
        + "".join(
            f"<CalendarEvent>{event}</CalendarEvent>"
            for event in (events or {}).get(day, ("Instructional day",))
        )
        + "<CalendarReference><CalendarIdentity><CalendarCode>A</CalendarCode>"
        f"{school_reference(school)}<SchoolYear>2025-2026</SchoolYear></CalendarIdentity>"
        "</CalendarReference></CalendarDate>"
        for school in ("100", "200")
        for day in SCHOOL_DAYS
    )
    people = "".join(
        f"<Student><StudentUniqueId>{student}</StudentUniqueId><Name><FirstName>A</FirstName>"
        "<LastSurname>B</LastSurname></Name></Student>"
        for student in students
    )
    own = list(enrollments) or [enrolled(student, "2025-08-18") for student in students]
    for name, content in (
        ("EducationOrganization", schools),
        ("EducationOrgCalendar", days),
        ("Student", people),
        ("StudentEnrollment", "".join(own)),
        ("StudentAttendance", "".join(attendance)),
    ):
        (folder / f"{name}.xml").write_text(HEAD.format(name, content, name))
    return folder


def features(tmp_path: Path, *args: object, **kwargs: object) -> pd.DataFrame:
    folder = district(tmp_path / "in", *args, **kwargs)  # type: ignore[arg-type]
    return features_on(load_case(EdFiFiles(), folder, tmp_path / "home")[1])


def test_late_to_one_class_takes_no_absence_from_others_away(tmp_path: Path):
    records = [absent_from("1", day, section) for day in LAST_5 for section in range(2, 7)]
    records += [absent_from("1", day, 1, "Tardy") for day in LAST_5]
    records += [absent_from("2", day, section) for day in LAST_5 for section in range(1, 7)]
    records += [absent_from("3", day, 1) for day in LAST_5]
    records += [absent_from("3", day, 1, "Tardy") for day in LAST_5]
    frame = features(tmp_path, records, students=("1", "2", "3"))
    assert frame["absent_days_year"].tolist() == pytest.approx([5 * 5 / 6, 5, 0])
    assert frame["tardies_60"].tolist() == [5, 0, 5]


def test_one_day_entered_at_the_office_leaves_the_classes_of_others_read(tmp_path: Path):
    records = [absent_from("1", day, section) for day in LAST_5 for section in range(1, 7)]
    frame = features(tmp_path, [*records, absent("2", LAST_5[0])], students=("1", "2"))
    assert frame["absent_days_year"].tolist() == [5, 1]


def test_two_halves_of_a_day_with_one_code_are_a_day(tmp_path: Path):
    records = [absent("1", LAST_5[0], share="0.5")] * 2 + [absent("1", LAST_5[1], share="0.33")]
    assert features(tmp_path, records).loc["1", "absent_days_year"] == pytest.approx(1.33)


@pytest.mark.parametrize("flags", [("true", "false"), ("", "")])
def test_of_two_schools_the_primary_one_or_the_one_attended_counts(
    tmp_path: Path, flags: tuple[str, str]
):
    enrollments = [
        enrolled("1", "2025-08-18", primary=flags[0]),
        enrolled("1", "2025-08-18", school="200", primary=flags[1]),
    ]
    frame = features(tmp_path, [absent("1", day) for day in SCHOOL_DAYS[-10:]], enrollments)
    assert frame.loc["1", ["absent_days_year", "days_enrolled_year"]].tolist() == [10, 90]


def test_next_years_enrollment_is_not_this_years_school(tmp_path: Path):
    enrollments = [
        enrolled("1", "2025-08-18"),
        enrolled("1", "2025-09-02", "2025-10-01", school="200"),
        enrolled("1", "2026-08-17", school="200"),
    ]
    folder = district(tmp_path / "in", [absent("1", LAST_5[0])], enrollments)
    _, snapshot = load_case(EdFiFiles(), folder, tmp_path / "home")
    [student] = snapshot.table("students").to_pandas().to_dict("records")
    assert (student["school_id"], student["grade_level"]) == ("100", 7)


def test_a_storm_closes_a_planned_day_and_a_late_start_does_not(tmp_path: Path):
    events = {
        SCHOOL_DAYS[3]: ("Instructional day", "Weather day"),
        SCHOOL_DAYS[4]: ("Instructional day", "Student late arrival/early dismissal"),
        SCHOOL_DAYS[5]: ("Make-up day", "Holiday"),
        SCHOOL_DAYS[6]: ("Instructional day", "Other"),
    }
    frame = features(tmp_path, [absent("1", LAST_5[0])], events=events)
    assert frame.loc["1", "days_enrolled_year"] == 89


def test_a_student_without_enrollment_is_unknown_where_others_have_one(tmp_path: Path):
    frame = features(
        tmp_path,
        [absent("1", LAST_5[0])],
        [enrolled("1", "2025-08-18")],
        students=("1", "2"),
    )
    assert frame["days_enrolled_year"].isna().tolist() == [False, True]


def test_an_open_enrollment_of_last_year_is_no_stay_of_this_one(tmp_path: Path):
    frame = features(
        tmp_path,
        [absent("1", LAST_5[0])],
        [enrolled("1", "2025-08-18"), enrolled("2", "2025-08-18"), enrolled("3", "2024-08-19")],
        students=("1", "2", "3"),
    )
    assert frame["days_enrolled_year"].isna().tolist() == [False, False, True]


def test_where_students_are_enrolled_once_for_all_years_every_open_stay_counts(tmp_path: Path):
    frame = features(
        tmp_path,
        [absent("1", LAST_5[0])],
        [enrolled("1", "2025-08-18"), enrolled("2", "2023-08-18"), enrolled("3", "2021-08-19")],
        students=("1", "2", "3"),
    )
    assert frame["days_enrolled_year"].tolist() == [90, 90, 90]


def test_an_absence_of_somebody_recorded_as_present_is_set_aside_and_counted(tmp_path: Path):
    records = [absent("1", day) for day in LAST_5]
    records += [absent("1", day, "In Attendance") for day in LAST_5[:3]]
    records += [absent("1", SCHOOL_DAYS[0], share="0.5"), absent("1", SCHOOL_DAYS[0], "Present")]
    folder = district(tmp_path / "in", records)
    report, snapshot = load_case(EdFiFiles(), folder, tmp_path / "home")
    assert features_on(snapshot).loc["1", "absent_days_year"] == 2.5
    [reason] = {row.reason for row in snapshot.set_aside()}
    assert "recorded as present on the same day" in reason
    assert sum(file.quarantined for file in report.files) == 3


def test_a_part_of_a_day_of_unknown_length_is_no_absence_and_is_named(tmp_path: Path):
    records = [absent("1", day) for day in SCHOOL_DAYS[:5]]
    records += [absent("1", day, "Partial") for day in LAST_5]
    records += [absent("1", SCHOOL_DAYS[9], "Partial", "0.25")]
    records += [absent("1", SCHOOL_DAYS[10], "Early departure")]
    folder = district(tmp_path / "in", records)
    report, snapshot = load_case(EdFiFiles(), folder, tmp_path / "home")
    assert report.codes["AttendanceEventCategory"].codes == {"Partial": 5}
    assert (
        "5 are codes that nobody has explained ('Partial' 5)" in code_warnings(snapshot, "edfi")[0]
    )
    [note] = [note for note in report.notes if "how much" in note]
    assert "5 ('Partial' 5)" in note and "profiles/edfi.toml" in note
    assert '"Partial" = { status = "partial", absent_share = 0.25 }' in note
    profile = tmp_path / "profiles" / "edfi.toml"
    profile.parent.mkdir()
    profile.write_text(
        '[attendance.codes]\n"Partial" = { status = "partial", absent_share = 0.25 }\n'
    )
    connector = EdFiFiles(read_profile("edfi", tmp_path))
    report, snapshot = load_case(connector, folder, tmp_path / "home")
    assert not any("how much" in note for note in report.notes)
    assert features_on(snapshot).loc["1", "absent_days_year"] == 5 + 6 * 0.25


def test_a_few_parts_of_unknown_length_leave_the_other_days_known(tmp_path: Path):
    records = [absent("1", day) for day in SCHOOL_DAYS[:80]] + [absent("1", LAST_5[0], "Partial")]
    folder = district(tmp_path / "in", records)
    report, snapshot = load_case(EdFiFiles(), folder, tmp_path / "home")
    assert features_on(snapshot).loc["1", "absent_days_year"] == 80
    assert any("how much: 1 ('Partial' 1)" in note for note in report.notes)


def in_section(student: str, section: int) -> str:
    event = absent_from(student, SCHOOL_DAYS[0], section)
    begin = event.index("<StudentReference>")
    end = event.index("</StudentSectionAttendanceEvent>")
    return (
        f"<StudentSectionAssociation>{event[begin:end]}<BeginDate>2025-08-18</BeginDate>"
        "</StudentSectionAssociation>"
    )


def every_other_day(folder: Path, records: Iterable[str], students: Sequence[str] = ("1",)) -> Path:
    """Eight classes a student: the first four meet on one day, the others on the next."""
    enrollments = [enrolled(student, "2025-08-18") for student in students]
    enrollments += [in_section(student, n) for student in students for n in range(1, 9)]
    return district(folder, records, enrollments, students)


def whole_days(student: str, days: Iterable[date]) -> list[str]:
    first = {day: 1 + 4 * (place % 2) for place, day in enumerate(SCHOOL_DAYS)}
    return [absent_from(student, day, first[day] + n) for day in days for n in range(4)]


def test_classes_that_take_turns_are_seen_in_what_was_recorded(tmp_path: Path):
    records = [*whole_days("1", SCHOOL_DAYS[-10:]), absent_from("2", SCHOOL_DAYS[-10], 1)]
    folder = every_other_day(tmp_path / "in", records, ("1", "2"))
    frame = features_on(load_case(EdFiFiles(), folder, tmp_path / "home")[1])
    assert frame["absent_days_year"].tolist() == [10, 0.25]
    assert frame.loc["1", "current_run"] == 10


def test_half_days_of_one_kind_or_another_are_no_days_that_take_turns(tmp_path: Path):
    mornings = [day for place, day in enumerate(SCHOOL_DAYS[:20]) if place % 3]
    afternoons = [day for day in SCHOOL_DAYS[:20] if day not in mornings]
    records = [absent_from("1", day, n) for day in mornings[:10] for n in range(1, 5)]
    records += [absent_from("1", day, n) for day in afternoons for n in range(5, 9)]
    folder = every_other_day(tmp_path / "in", records)
    frame = features_on(load_case(EdFiFiles(), folder, tmp_path / "home")[1])
    assert frame.loc["1", "absent_days_year"] == (10 + len(afternoons)) / 2


def test_bell_schedules_say_which_classes_meet_on_a_day(tmp_path: Path):
    records = [*whole_days("1", SCHOOL_DAYS[-3:]), absent_from("2", SCHOOL_DAYS[-10], 1)]
    folder = every_other_day(tmp_path / "in", records, ("1", "2"))

    def period(number: int) -> str:
        return (
            f"<ClassPeriodReference><ClassPeriodIdentity><ClassPeriodName>P{number}"
            "</ClassPeriodName></ClassPeriodIdentity></ClassPeriodReference>"
        )

    sections = "".join(
        f"<Section><SectionIdentifier>{n}</SectionIdentifier><CourseOfferingReference>"
        "<CourseOfferingIdentity><LocalCourseCode>C</LocalCourseCode>"
        f"{school_reference('100')}</CourseOfferingIdentity></CourseOfferingReference>{period(n)}"
        "</Section>"
        for n in range(1, 9)
    )
    bells = "".join(
        f"<BellSchedule><BellScheduleName>{name}</BellScheduleName>"
        f"{''.join(map(period, range(first, first + 4)))}{school_reference('100')}"
        f"{''.join(f'<Date>{day}</Date>' for day in SCHOOL_DAYS[turn::2])}</BellSchedule>"
        for turn, (name, first) in enumerate((("A", 1), ("B", 5)))
    )
    (folder / "MasterSchedule.xml").write_text(
        HEAD.format("MasterSchedule", sections + bells, "MasterSchedule")
    )
    frame = features_on(load_case(EdFiFiles(), folder, tmp_path / "home")[1])
    assert frame["absent_days_year"].tolist() == [3, 0.25]
