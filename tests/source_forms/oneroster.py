"""A district as OneRoster: CSV files of version 1.1 or 1.2, or a server of either version.

Rosters are OneRoster's own; the calendar, attendance, marks and incidents are in the extension
files beside them, as OneRoster has none. A time at a school is an enrollment in two of its classes.
"""

from __future__ import annotations

import csv
from collections.abc import Iterable, Sequence
from pathlib import Path

from tests.records.fake_oneroster_api import FakeOneRosterApi
from tests.records.synthetic_roster import STAMP, Fields, Roster, with_roles
from tests.source_forms.districts import (
    COURSES,
    WEEKDAYS,
    YEAR_ENDS,
    District,
    Student,
    canonical_rows,
)

EXTENSIONS = {
    "calendar.csv": ("calendar", "school_id date school_year"),
    "attendance.csv": ("attendance_events", "userSourcedId school_id date status absent_share"),
    "course_grades.csv": ("course_grades", "userSourcedId course school_year period date grade"),
    "incidents.csv": (
        "behavior_incidents",
        "userSourcedId incident_id date behavior action days_removed",
    ),
}
"""Extension file -> the table that it holds, and its columns."""
SEXES = {"female": "female", "male": "male", "another": "other"}
RACES = {
    "white": ("white",),
    "black": ("blackOrAfricanAmerican",),
    "asian": ("asian",),
    "two_or_more": ("white", "asian"),
    "hispanic": ("white", "hispanicOrLatinoEthnicity"),
}
_RACE_COLUMNS = ("asian", "blackOrAfricanAmerican", "white", "hispanicOrLatinoEthnicity")


def write_csv(district: District, folder: Path, version: str) -> Path:
    """Write a bulk export of a district, with its extension files, into a new folder."""
    folder.mkdir(parents=True)
    made = roster(district)
    for file, records in (with_roles(made) if version == "1.2" else made).items():
        columns = list(dict.fromkeys(name for fields in records.values() for name in fields))
        _write(
            folder / file,
            ["sourcedId", "status", "dateLastModified", *columns],
            (
                [id_, "active", STAMP, *(fields.get(column, "") for column in columns)]
                for id_, fields in records.items()
            ),
        )
    return write_extensions(district, folder, EXTENSIONS)


def server_of(district: District, version: str) -> FakeOneRosterApi:
    """A server that holds the roster of a district."""
    server = FakeOneRosterApi(version)
    server.set_roster(roster(district))
    return server


def write_extensions(district: District, folder: Path, files: Iterable[str]) -> Path:
    """Write these extension files of a district beside what is in a folder."""
    folder.mkdir(parents=True, exist_ok=True)
    rows = canonical_rows(district)
    for file in files:
        table, columns = EXTENSIONS[file]
        names = columns.replace("userSourcedId", "student_id").split()
        _write(
            folder / file,
            columns.split(),
            ([_text(row[name]) for name in names] for row in rows[table]),
        )
    return folder


def roster(district: District) -> Roster:
    """The roster of a district, file by file."""
    made: Roster = {
        "orgs.csv": {
            school: {"name": f"School {school}", "type": "school"} for school in district.schools
        },
        "academicSessions.csv": {
            "year": {
                "title": "2025-2026",
                "type": "schoolYear",
                "startDate": str(WEEKDAYS[0]),
                "endDate": str(YEAR_ENDS),
                "schoolYear": "2026",
            }
        },
        "users.csv": {},
        "demographics.csv": {},
        "courses.csv": {code: {"title": title} for code, title in COURSES.items()},
        "classes.csv": {
            f"{code}-{school}": {
                "title": title,
                "courseSourcedId": code,
                "schoolSourcedId": school,
                "termSourcedIds": "year",
            }
            for school in district.schools
            for code, title in COURSES.items()
        },
        "enrollments.csv": {},
    }
    for student in district.students:
        made["users.csv"][student.id] = _user(student)
        made["demographics.csv"][student.id] = _demographics(student)
        made["enrollments.csv"] |= _enrollments(student)
    return made


def _user(student: Student) -> Fields:
    return {
        "givenName": f"First{student.id}",
        "familyName": "Test",
        "role": "student",
        "enabledUser": "true",
        "orgSourcedIds": student.spells[-1].school,
        "grades": f"{student.grade:02}",
    }


def _demographics(student: Student) -> Fields:
    marked = RACES.get(student.race or "", ())
    return {
        "birthDate": "2012-03-04",
        "sex": SEXES.get(student.sex or "", ""),
        **{name: "true" if name in marked else "false" for name in _RACE_COLUMNS},
    }


def _enrollments(student: Student) -> dict[str, Fields]:
    return {
        f"{student.id}-{number}-{code}": {
            "classSourcedId": f"{code}-{spell.school}",
            "schoolSourcedId": spell.school,
            "userSourcedId": student.id,
            "role": "student",
            "beginDate": str(spell.first),
            "endDate": _text(spell.last),
        }
        for number, spell in enumerate(student.spells)
        for code in COURSES
    }


def _text(value: object) -> str:
    return "" if value is None else str(value)


def _write(path: Path, columns: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    with path.open("w", newline="", encoding="utf-8") as stream:
        out = csv.writer(stream)
        out.writerow(columns)
        out.writerows(rows)
