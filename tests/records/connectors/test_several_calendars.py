"""A school with several calendars: each student is counted by their own, and by no other."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import date
from pathlib import Path

import pandas as pd
import pyarrow.parquet as pq
import pytest

from records.checks.school_figures import school_figures
from records.connectors.edfi.files import EdFiFiles
from records.loading.load import load
from records.snapshots.snapshot import Snapshot
from tests.records.connectors.test_attendance_cases import SCHOOL_DAYS, features_on, load_case
from tests.records.connectors.test_attendance_variants import (
    HEAD,
    LAST_5,
    absent,
    district,
    school_reference,
)
from tests.records.connectors.test_attendance_variants import enrolled as enrolled_plainly
from tests.records.fake_edfi_api import FakeEdFiApi, descriptor

AWAY = SCHOOL_DAYS[30:50]
TRACK = [day for day in SCHOOL_DAYS if day not in AWAY]


def calendar_identity(code: str) -> str:
    return (
        f"<CalendarReference><CalendarIdentity><CalendarCode>{code}</CalendarCode>"
        f"{school_reference('100')}<SchoolYear>2025-2026</SchoolYear></CalendarIdentity>"
        "</CalendarReference>"
    )


def calendar(code: str, type_: str = "School", grades: Iterable[str] = ()) -> str:
    levels = "".join(
        f"<GradeLevel>uri://ed-fi.org/GradeLevel#{grade}</GradeLevel>" for grade in grades
    )
    return (
        f"<Calendar><CalendarCode>{code}</CalendarCode>{school_reference('100')}"
        f"<SchoolYear>2025-2026</SchoolYear><CalendarType>uri://ed-fi.org/CalendarType#{type_}"
        f"</CalendarType>{levels}</Calendar>"
    )


def dates(days: Mapping[str, Iterable[date]]) -> str:
    return "".join(
        f"<CalendarDate><Date>{day}</Date><CalendarEvent>Instructional day</CalendarEvent>"
        f"{calendar_identity(code)}</CalendarDate>"
        for code, own in days.items()
        for day in own
    )


def enrolled(student: str, code: str = "", grade: str = "7th Grade") -> str:
    text = enrolled_plainly(student, "2025-08-18").replace("7th Grade", grade)
    end = "</StudentSchoolAssociation>"
    return text.replace(end, f"{calendar_identity(code) if code else ''}{end}")


def loaded(
    folder: Path,
    days: Mapping[str, Iterable[date]],
    enrollments: list[str],
    *,
    calendars: Iterable[str] = (),
    attendance: Iterable[str] = (),
) -> Snapshot:
    students = [str(number) for number in range(1, len(enrollments) + 1)]
    events = [absent("1", LAST_5[0]), *attendance]
    source = district(folder / "in", events, enrollments, students)
    content = "".join(calendars) + dates(days)
    (source / "EducationOrgCalendar.xml").write_text(
        HEAD.format("EducationOrgCalendar", content, "EducationOrgCalendar")
    )
    return load_case(EdFiFiles(), source, folder / "home")[1]


def days_of(snapshot: Snapshot) -> list[float]:
    counted: list[float] = features_on(snapshot)["days_enrolled_year"].tolist()
    return counted


def test_a_student_is_counted_by_the_calendar_of_their_enrollment(tmp_path: Path):
    snapshot = loaded(
        tmp_path,
        {"A": SCHOOL_DAYS, "B": TRACK},
        [enrolled("1", "A"), enrolled("2", "B"), enrolled("3"), enrolled("4", "of another year")],
        attendance=[absent("2", AWAY[0]), absent("2", TRACK[0]), absent("3", AWAY[0])],
    )
    frame = features_on(snapshot)
    assert frame["days_enrolled_year"].tolist() == [90, 70, 70, 70]
    # Nobody is absent on a day that is no school day of theirs, or not known to be one.
    assert frame["absent_days_year"].tolist() == [1, 1, 0, 0]


def test_an_enrollment_without_a_calendar_follows_the_one_for_its_grade(tmp_path: Path):
    snapshot = loaded(
        tmp_path,
        {"A": SCHOOL_DAYS, "B": TRACK},
        [enrolled("1"), enrolled("2", grade="Ninth grade"), enrolled("3", grade="Ungraded")],
        calendars=[
            calendar("A", grades=["Seventh grade", "Eighth grade"]),
            calendar("B", grades=["Ninth grade"]),
        ],
    )
    assert days_of(snapshot) == [90, 70, 70]


def test_calendars_of_staff_and_of_single_students_say_nothing_of_others(tmp_path: Path):
    snapshot = loaded(
        tmp_path,
        {"A": SCHOOL_DAYS, "IEP001": SCHOOL_DAYS[::5], "T": SCHOOL_DAYS[:85]},
        [enrolled("1"), enrolled("2", "IEP001")],
        calendars=[calendar("A"), calendar("IEP001", "IEP"), calendar("T", "Teacher")],
    )
    assert days_of(snapshot) == [90, 18]
    stored = snapshot.table("school_enrollments").to_pandas()["calendar_code"]
    assert not stored.str.contains("IEP").any()


def test_calendars_that_follow_one_another_are_one(tmp_path: Path):
    snapshot = loaded(
        tmp_path,
        {"FALL": SCHOOL_DAYS[:45], "SPRING": SCHOOL_DAYS[45:]},
        [enrolled("1", "FALL"), enrolled("2")],
    )
    assert days_of(snapshot) == [90, 90]


def test_a_calendar_of_a_few_days_takes_no_days_from_others(tmp_path: Path):
    snapshot = loaded(
        tmp_path,
        {"A": SCHOOL_DAYS, "B": SCHOOL_DAYS[10:80:30]},
        [enrolled("1"), enrolled("2", "A")],
    )
    assert days_of(snapshot) == [90, 90]


def test_two_calendars_of_a_school_are_not_twice_its_days(tmp_path: Path):
    snapshot = loaded(
        tmp_path, {"A": SCHOOL_DAYS, "B": TRACK}, [enrolled("1", "A"), enrolled("2", "B")]
    )
    figures = school_figures(snapshot, date(2025, 12, 20)).schools["100"]
    assert (figures.school_days, figures.days_known) == (90, 90)
    assert figures.attendance == pytest.approx(1 - 1 / (90 + 70))


def test_a_snapshot_of_an_earlier_release_reads_as_before(tmp_path: Path):
    source = district(tmp_path / "in", [absent("1", day) for day in LAST_5])
    _, snapshot = load_case(EdFiFiles(), source, tmp_path / "home")
    before = features_on(snapshot)
    for name in ("calendar", "school_enrollments"):
        file = snapshot.path / f"{name}.parquet"
        pq.write_table(pq.read_table(file).drop_columns(["calendar_code"]), file)
    older = Snapshot(snapshot.id, snapshot.path)
    pd.testing.assert_frame_equal(features_on(older), before)
    (tmp_path / "in" / "EducationOrgCalendar.xml").unlink()
    report = load(EdFiFiles(), tmp_path / "in", tmp_path / "home", merge=True)
    assert "calendar" in report.not_brought
    pd.testing.assert_frame_equal(features_on(Snapshot.current(tmp_path / "home")), before)


def test_an_api_says_as_much_of_days_as_the_files(tmp_path: Path):
    ods = FakeEdFiApi()
    year = {"schoolYear": 2026}
    at, by = {"schoolReference": {"schoolId": 100}}, {"studentReference": {"studentUniqueId": "1"}}
    of_year = {"schoolYearTypeReference": year}
    ods.add("ed-fi/schools", (100,), {"schoolId": 100, "nameOfInstitution": "One"})
    for name, code, begin, end in (
        ("Fall", "Fall Semester", SCHOOL_DAYS[0], SCHOOL_DAYS[79]),
        ("Late", "Summer Semester", SCHOOL_DAYS[80], SCHOOL_DAYS[89]),
    ):
        ods.add(
            "ed-fi/sessions",
            (name,),
            at
            | of_year
            | {
                "sessionName": name,
                "termDescriptor": descriptor("Term", code),
                "beginDate": str(begin),
                "endDate": str(end),
            },
        )
    for code, own, grade in (("A", SCHOOL_DAYS, "Seventh grade"), ("B", TRACK, "Ninth grade")):
        ods.add(
            "ed-fi/calendars",
            (code,),
            at
            | of_year
            | {
                "calendarCode": code,
                "calendarTypeDescriptor": descriptor("CalendarType", "School"),
                "gradeLevels": [{"gradeLevelDescriptor": descriptor("GradeLevel", grade)}],
            },
        )
        for day in own:
            ods.add(
                "ed-fi/calendarDates",
                (code, day.toordinal()),
                {
                    "date": str(day),
                    "calendarEvents": [
                        {
                            "calendarEventDescriptor": descriptor(
                                "CalendarEvent", "Instructional day"
                            )
                        }
                    ],
                    "calendarReference": {"calendarCode": code, "schoolId": 100} | year,
                },
            )
    ods.add(
        "ed-fi/students", ("1",), {"studentUniqueId": "1", "firstName": "A", "lastSurname": "B"}
    )
    ods.add(
        "ed-fi/studentSchoolAssociations",
        ("1",),
        at
        | by
        | {
            "entryDate": "2025-08-18",
            "entryGradeLevelDescriptor": descriptor("GradeLevel", "Ninth grade"),
            "schoolYearTypeReference": year,
        },
    )
    category = {
        "attendanceEventCategoryDescriptor": descriptor(
            "AttendanceEventCategory", "Unexcused Absence"
        )
    }
    ods.add(
        "ed-fi/studentSchoolAttendanceEvents",
        ("1",),
        at | by | category | {"eventDate": str(SCHOOL_DAYS[0]), "eventDuration": 0.5},
    )
    with ods.running():
        connector = ods.connector()
        connector.fetch(tmp_path / "mirror", lambda name, done, total: None)
    load(connector, tmp_path / "mirror", tmp_path / "home")
    row = features_on(Snapshot.current(tmp_path / "home")).loc["1"]
    assert row["days_enrolled_year"] == 60
    assert row["absent_days_year"] == 0.5


@pytest.mark.parametrize("owner", ["100", "9"])
def test_version_2_lists_the_days_of_a_school_or_of_its_district(tmp_path: Path, owner: str):
    source = district(tmp_path / "in", [absent("1", LAST_5[0])])
    days = "".join(
        f"<CalendarDate><Date>{day}</Date><CalendarEvent><CalendarEvent><CodeValue>"
        f"{'Holiday' if day in AWAY else 'Instructional day'}</CodeValue></CalendarEvent>"
        "<EventDuration>1</EventDuration></CalendarEvent><EducationOrganizationReference>"
        f"<EducationOrganizationIdentity><EducationOrganizationId>{owner}"
        "</EducationOrganizationId></EducationOrganizationIdentity>"
        "</EducationOrganizationReference></CalendarDate>"
        for day in SCHOOL_DAYS
    )
    (source / "EducationOrgCalendar.xml").write_text(
        HEAD.format("EducationOrgCalendar", days, "EducationOrgCalendar")
    )
    (source / "EducationOrganization.xml").write_text(
        HEAD.format(
            "EducationOrganization",
            "<LocalEducationAgency><LocalEducationAgencyId>9</LocalEducationAgencyId>"
            "</LocalEducationAgency><School><SchoolId>100</SchoolId></School>",
            "EducationOrganization",
        )
    )
    report, snapshot = load_case(EdFiFiles(), source, tmp_path / "home")
    assert days_of(snapshot) == [70]
    assert not any(file.quarantined for file in report.files)
