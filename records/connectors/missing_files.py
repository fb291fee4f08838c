"""Which canonical tables cannot be filled when a file of a source is missing.

A connector reports the file (`RowSink.missing`). If it has no row of such a table either, the load
does not bring the table, and what an earlier load brought stays. A file with a header alone counts
as missing too: an export that was cut short looks the same. Partners' own files are not here: a
file that a partner no longer sends is gone.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping

from records.canonical.schema import PERIOD_CATEGORIES
from records.connectors.protocol import Connector

_PERIODS = tuple(f"{name}_periods" for name in PERIOD_CATEGORIES)
_ONEROSTER = {
    "orgs.csv": ("schools",),
    "academicSessions.csv": (),
    "demographics.csv": ("characteristics",),
    "characteristics.csv": ("characteristics",),
    "calendar.csv": ("calendar",),
    "courses.csv": (),
    "classes.csv": ("school_enrollments",),
    "enrollments.csv": ("school_enrollments",),
    "lineItems.csv": ("gradebook_entries",),
    "results.csv": ("gradebook_entries",),
    "attendance.csv": ("attendance_events",),
    "course_grades.csv": ("course_grades",),
    "assessments.csv": ("assessments",),
    "incidents.csv": ("behavior_incidents",),
}
_ONEROSTER_RESOURCES = {
    "schools": "orgs.csv",
    "academicSessions": "academicSessions.csv",
    "demographics": "demographics.csv",
    "courses": "courses.csv",
    "classes": "classes.csv",
    "enrollments": "enrollments.csv",
    "lineItems": "lineItems.csv",
    "results": "results.csv",
}
_EDFI_FILES = {
    "EducationOrganization.xml": ("schools",),
    "EducationOrgCalendar.xml": ("calendar", "course_grades"),
    "MasterSchedule.xml": (),
    "Student.xml": ("students", "characteristics"),
    "StudentEnrollment.xml": ("school_enrollments",),
    "StudentSchoolAttendance.xml": ("attendance_events",),
    "StudentDiscipline.xml": ("behavior_incidents",),
    "StudentGrade.xml": ("course_grades",),
    "StudentGradebook.xml": ("gradebook_entries",),
    "StudentTranscript.xml": (),
    "StudentAssessment.xml": ("assessments",),
    "StudentProgram.xml": ("characteristics", *_PERIODS),
    "StudentIntervention.xml": ("programs", "service_enrollments"),
}
_EDFI_RESOURCES = {
    "ed-fi/schools": ("schools",),
    "ed-fi/communityProviders": (),
    "ed-fi/sessions": (),
    "ed-fi/gradingPeriods": ("course_grades",),
    "ed-fi/calendars": (),
    "ed-fi/calendarDates": ("calendar",),
    "ed-fi/courses": (),
    "ed-fi/courseOfferings": (),
    "ed-fi/sections": (),
    "ed-fi/bellSchedules": (),
    "ed-fi/students": ("students",),
    "ed-fi/studentEducationOrganizationAssociations": ("characteristics",),
    "ed-fi/studentSchoolAssociations": ("school_enrollments",),
    "ed-fi/studentSchoolAttendanceEvents": ("attendance_events",),
    "ed-fi/studentSectionAttendanceEvents": (),
    "ed-fi/studentSectionAssociations": (),
    "ed-fi/gradebookEntries": (),
    "ed-fi/studentGradebookEntries": ("gradebook_entries",),
    "ed-fi/grades": ("course_grades",),
    "ed-fi/studentAssessments": ("assessments",),
    "ed-fi/disciplineIncidents": ("behavior_incidents",),
    "ed-fi/studentDisciplineIncidentBehaviorAssociations": ("behavior_incidents",),
    "ed-fi/studentDisciplineIncidentAssociations": (),
    "ed-fi/disciplineActions": (),
    "ed-fi/studentSpecialEducationProgramAssociations": (
        "characteristics",
        "special_education_periods",
    ),
    "ed-fi/studentSection504ProgramAssociations": (
        "characteristics",
        "special_education_periods",
    ),
    "ed-fi/studentLanguageInstructionProgramAssociations": (
        "characteristics",
        "english_learner_periods",
    ),
    "ed-fi/studentHomelessProgramAssociations": (
        "characteristics",
        "unstable_housing_periods",
    ),
    "ed-fi/studentSchoolFoodServiceProgramAssociations": (
        "characteristics",
        "meal_eligible_periods",
    ),
    "ed-fi/studentProgramAssociations": ("characteristics",),
    "ed-fi/interventions": ("programs", "service_enrollments"),
    "ed-fi/studentInterventionAssociations": ("service_enrollments",),
}
_POWERSCHOOL_QUERIES = {
    "org.handrail.records.school.schools": ("schools",),
    "org.handrail.records.school.days": ("calendar",),
    "org.handrail.records.student.students": ("students", "school_enrollments", "characteristics"),
    "org.handrail.records.student.races": ("characteristics",),
    "org.handrail.records.student.reenrollments": (),
    "org.handrail.records.school.bells": (),
    "org.handrail.records.school.meetings": (),
    "org.handrail.records.student.classes": (),
    "org.handrail.records.student.attendance": ("attendance_events",),
    "org.handrail.records.student.storedgrades": ("course_grades",),
}
MISSING_FILES: Mapping[str, Mapping[str, tuple[str, ...]]] = {
    "oneroster": _ONEROSTER,
    "oneroster-api": _ONEROSTER
    | {resource: _ONEROSTER[file] for resource, file in _ONEROSTER_RESOURCES.items()},
    "edfi": _EDFI_FILES,
    "edfi-api": _EDFI_RESOURCES,
    "powerschool": _ONEROSTER | _POWERSCHOOL_QUERIES,
}
"""Connector -> each file or resource that it may report as missing -> the tables that have no rows
without it. A table that can be worked out without the file (a calendar from terms) has rows then,
and is brought."""


_FLAGS = ("english_learner", "special_education", "unstable_housing", "meal_eligible")
_ONEROSTER_COLUMNS = {
    ("students", "birth_date"): "demographics.csv",
    ("characteristics", "sex"): "demographics.csv",
    ("characteristics", "race_ethnicity"): "demographics.csv",
} | {("characteristics", flag): "characteristics.csv" for flag in _FLAGS}
MISSING_COLUMNS: Mapping[str, Mapping[tuple[str, str], str]] = {
    "oneroster": _ONEROSTER_COLUMNS,
    "oneroster-api": {
        column: "demographics" if file == "demographics.csv" else file
        for column, file in _ONEROSTER_COLUMNS.items()
    },
    "edfi": {
        ("students", "school_id"): "StudentEnrollment.xml",
        ("students", "grade_level"): "StudentEnrollment.xml",
    }
    | {("characteristics", flag): "StudentProgram.xml" for flag in _FLAGS},
    "edfi-api": {
        ("students", "school_id"): "ed-fi/studentSchoolAssociations",
        ("students", "grade_level"): "ed-fi/studentSchoolAssociations",
        ("characteristics", "sex"): "ed-fi/studentEducationOrganizationAssociations",
        ("characteristics", "race_ethnicity"): "ed-fi/studentEducationOrganizationAssociations",
        ("characteristics", "special_education"): (
            "ed-fi/studentSpecialEducationProgramAssociations"
        ),
        ("characteristics", "english_learner"): (
            "ed-fi/studentLanguageInstructionProgramAssociations"
        ),
        ("characteristics", "unstable_housing"): "ed-fi/studentHomelessProgramAssociations",
        ("characteristics", "meal_eligible"): ("ed-fi/studentSchoolFoodServiceProgramAssociations"),
    },
    "powerschool": {("characteristics", "race_ethnicity"): "org.handrail.records.student.races"}
    | {("characteristics", flag): "characteristics.csv" for flag in _FLAGS[:3]},
}
"""Connector -> each column of a table that has rows without its file -> that file. What an earlier
load brought of the column stays."""

WORKED_OUT = frozenset({"calendar"})
"""Tables that a connector works out, less exactly, where their file is missing: a calendar from
terms counts holidays as school days. Once there was a file, what it brought stays."""


def columns_without(connector: Connector, table: str, missing: Collection[str]) -> dict[str, str]:
    """The columns of a table that are empty because one of these files is missing, with the file.

    Args:
        missing: names of files, as the connector reports them.
    """
    return {
        column: file
        for (name, column), file in MISSING_COLUMNS.get(connector.name, {}).items()
        if name == table and file in missing
    }


def tables_without(connector: Connector, file: str) -> tuple[str, ...]:
    """The connector's tables that may have no rows because this file is missing.

    Args:
        file: its name, as the connector reports it; one that is not known affects no table.
    """
    affected = MISSING_FILES.get(connector.name, {}).get(file, ())
    return tuple(name for name in affected if name in connector.tables)
