"""A district as a PowerSchool server that runs the queries of Handrail's plugin.

PowerSchool ends every enrollment, at the latest with the school year, so that a time at a school
that goes on has the last day of the year. Half days are codes of the district's own, which its
profile explains. Incidents are in the extension file. A student who has left is at no school now,
and which section of a course a mark is from is not carried.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

from tests.records.fake_powerschool import LONG_AGO, FakePowerSchool
from tests.source_forms.districts import (
    COURSES,
    PERIODS,
    WEEKDAYS,
    YEAR_ENDS,
    District,
    Mark,
    Spell,
    Student,
)

RACE_CODES = {"W": "white", "B": "black", "S": "asian"}
RACES = {
    "white": "W",
    "black": "B",
    "asian": "S",
    "two_or_more": "WS",
    "hispanic": "W",
}
GENDERS = {"female": "F", "male": "M", "another": "X"}
PROFILE = """
[attendance.codes]
HA = { status = "absent_unexcused", absent_share = 0.5 }
HE = { status = "absent_excused", absent_share = 0.5 }
"""
CODES = {
    ("absent_unexcused", 1.0): "A",
    ("absent_excused", 1.0): "E",
    ("tardy", None): "T",
    ("absent_unexcused", 0.5): "HA",
    ("absent_excused", 0.5): "HE",
}
_YEAR_ZERO_ENDS_IN = 1991


def write_profile(home: Path) -> Path:
    """Write the district's own file that explains its codes; the home."""
    (home / "profiles").mkdir(parents=True, exist_ok=True)
    (home / "profiles" / "powerschool.toml").write_text(PROFILE)
    return home


def server_of(district: District) -> FakePowerSchool:
    """A server that holds a district."""
    server = FakePowerSchool()
    server.written = datetime.now(UTC) - LONG_AGO
    for school in district.schools:
        _add_school(server, school, district.days[school], district.closed(school))
    for number, code in enumerate(CODES.values()):
        presence = "Present" if code == "T" else "Absent"
        server.add("attendance_code", id=number, att_code=code, presence_status_cd=presence)
    for student in district.students:
        _add_student(server, student)
    return server


def _add_school(
    server: FakePowerSchool, school: str, held: Iterable[date], closed: Iterable[date]
) -> None:
    server.add("schools", school_number=int(school), name=f"School {school}")
    year = _year_id(PERIODS[1].school_year)
    server.add(
        "terms",
        schoolid=int(school),
        yearid=year,
        isyearrec=1,
        firstday=str(WEEKDAYS[0]),
        lastday=str(YEAR_ENDS),
    )
    for days, in_session in ((held, 1), (closed, 0)):
        for day in days:
            server.add(
                "calendar_day", schoolid=int(school), date_value=str(day), insession=in_session
            )


def _add_student(server: FakePowerSchool, student: Student) -> None:
    id_ = 1000 + int(student.id)
    *earlier, now = student.spells
    server.add(
        "students",
        id=id_,
        student_number=int(student.id),
        first_name=f"First{student.id}",
        last_name="Test",
        dob="2012-03-04",
        gender=GENDERS.get(student.sex or ""),
        fedethnicity=int(student.race == "hispanic"),
        enroll_status=0 if now.last is None else 2,
        **_stay(student, now),
    )
    for code in RACES.get(student.race or "", ""):
        server.add("studentrace", studentid=id_, racecd=code)
    for spell in earlier:
        server.add("reenrollments", studentid=id_, **_stay(student, spell))
    for entry in student.entries:
        server.add(
            "attendance",
            studentid=id_,
            schoolid=int(entry.school),
            att_date=str(entry.day),
            att_mode_code="ATT_ModeDaily",
            attendance_codeid=list(CODES.values()).index(CODES[entry.status, entry.share]),
        )
    for mark in student.marks:
        _add_mark(server, id_, mark)


def _stay(student: Student, spell: Spell) -> dict[str, object]:
    """The columns of one time at a school; the exit date is the day after the last."""
    return {
        "schoolid": int(spell.school),
        "grade_level": student.grade,
        "entrydate": str(spell.first),
        "exitdate": str((spell.last or YEAR_ENDS) + timedelta(days=1)),
    }


def _add_mark(server: FakePowerSchool, student: int, mark: Mark) -> None:
    server.add(
        "storedgrades",
        studentid=student,
        course_name=COURSES[mark.course],
        termid=_year_id(mark.period.school_year) * 100 + mark.period.number,
        storecode=f"Q{mark.period.number}",
        datestored=str(mark.period.last),
        percent=mark.points,
        grade=str(mark.points),
    )


def _year_id(school_year: int) -> int:
    return school_year - _YEAR_ZERO_ENDS_IN
