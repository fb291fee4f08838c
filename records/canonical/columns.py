"""The names of the canonical tables and columns, for code that reads them.

A query written with these names cannot misspell a column: mypy refuses a member that does not
exist, and where a function takes a `ColumnName` it refuses a bare string too. The names are plain
strings at run time. `tests/features/test_columns.py` holds them equal to
`records.canonical.schema`, which stays the only place that says what a column means.
"""

from __future__ import annotations

from typing import Final, NewType

ColumnName = NewType("ColumnName", str)
"""A column's name, declared once."""


class Schools:
    TABLE: Final = "schools"
    SCHOOL_ID: Final = ColumnName("school_id")
    NAME: Final = ColumnName("name")


class Calendar:
    TABLE: Final = "calendar"
    SCHOOL_ID: Final = ColumnName("school_id")
    DATE: Final = ColumnName("date")
    SCHOOL_YEAR: Final = ColumnName("school_year")
    CALENDAR_CODE: Final = ColumnName("calendar_code")


class Students:
    TABLE: Final = "students"
    STUDENT_ID: Final = ColumnName("student_id")
    FIRST_NAME: Final = ColumnName("first_name")
    LAST_NAME: Final = ColumnName("last_name")
    BIRTH_DATE: Final = ColumnName("birth_date")
    GRADE_LEVEL: Final = ColumnName("grade_level")
    SCHOOL_ID: Final = ColumnName("school_id")


class Characteristics:
    TABLE: Final = "characteristics"
    STUDENT_ID: Final = ColumnName("student_id")
    SEX: Final = ColumnName("sex")
    RACE_ETHNICITY: Final = ColumnName("race_ethnicity")
    ENGLISH_LEARNER: Final = ColumnName("english_learner")
    SPECIAL_EDUCATION: Final = ColumnName("special_education")
    UNSTABLE_HOUSING: Final = ColumnName("unstable_housing")
    MEAL_ELIGIBLE: Final = ColumnName("meal_eligible")


class EnglishLearnerPeriods:
    TABLE: Final = "english_learner_periods"
    STUDENT_ID: Final = ColumnName("student_id")
    FIRST_DATE: Final = ColumnName("first_date")
    LAST_DATE: Final = ColumnName("last_date")


class SpecialEducationPeriods:
    TABLE: Final = "special_education_periods"
    STUDENT_ID: Final = ColumnName("student_id")
    FIRST_DATE: Final = ColumnName("first_date")
    LAST_DATE: Final = ColumnName("last_date")


class UnstableHousingPeriods:
    TABLE: Final = "unstable_housing_periods"
    STUDENT_ID: Final = ColumnName("student_id")
    FIRST_DATE: Final = ColumnName("first_date")
    LAST_DATE: Final = ColumnName("last_date")


class MealEligiblePeriods:
    TABLE: Final = "meal_eligible_periods"
    STUDENT_ID: Final = ColumnName("student_id")
    FIRST_DATE: Final = ColumnName("first_date")
    LAST_DATE: Final = ColumnName("last_date")


class SchoolEnrollments:
    TABLE: Final = "school_enrollments"
    STUDENT_ID: Final = ColumnName("student_id")
    SCHOOL_ID: Final = ColumnName("school_id")
    SCHOOL_YEAR: Final = ColumnName("school_year")
    GRADE_LEVEL: Final = ColumnName("grade_level")
    ENTRY_DATE: Final = ColumnName("entry_date")
    EXIT_DATE: Final = ColumnName("exit_date")
    CALENDAR_CODE: Final = ColumnName("calendar_code")


class AttendanceEvents:
    TABLE: Final = "attendance_events"
    STUDENT_ID: Final = ColumnName("student_id")
    SCHOOL_ID: Final = ColumnName("school_id")
    DATE: Final = ColumnName("date")
    STATUS: Final = ColumnName("status")
    ABSENT_SHARE: Final = ColumnName("absent_share")
    PART: Final = ColumnName("part")


class AttendanceTaken:
    TABLE: Final = "attendance_taken"
    SCHOOL_ID: Final = ColumnName("school_id")
    DATE: Final = ColumnName("date")
    STATE: Final = ColumnName("state")


class Coverage:
    TABLE: Final = "coverage"
    TABLE_NAME: Final = ColumnName("table_name")
    FIRST_DATE: Final = ColumnName("first_date")
    LAST_DATE: Final = ColumnName("last_date")


class CourseGrades:
    TABLE: Final = "course_grades"
    STUDENT_ID: Final = ColumnName("student_id")
    COURSE: Final = ColumnName("course")
    SCHOOL_YEAR: Final = ColumnName("school_year")
    PERIOD: Final = ColumnName("period")
    DATE: Final = ColumnName("date")
    GRADE: Final = ColumnName("grade")
    SECTION_ID: Final = ColumnName("section_id")


class GradebookEntries:
    TABLE: Final = "gradebook_entries"
    STUDENT_ID: Final = ColumnName("student_id")
    ENTRY_ID: Final = ColumnName("entry_id")
    COURSE: Final = ColumnName("course")
    TITLE: Final = ColumnName("title")
    DUE_DATE: Final = ColumnName("due_date")
    GRADE: Final = ColumnName("grade")


class Assessments:
    TABLE: Final = "assessments"
    STUDENT_ID: Final = ColumnName("student_id")
    ASSESSMENT: Final = ColumnName("assessment")
    DATE: Final = ColumnName("date")
    SCORE: Final = ColumnName("score")
    MEASURE: Final = ColumnName("measure")


class BehaviorIncidents:
    TABLE: Final = "behavior_incidents"
    STUDENT_ID: Final = ColumnName("student_id")
    INCIDENT_ID: Final = ColumnName("incident_id")
    DATE: Final = ColumnName("date")
    BEHAVIOR: Final = ColumnName("behavior")
    ACTION: Final = ColumnName("action")
    DAYS_REMOVED: Final = ColumnName("days_removed")


class Programs:
    TABLE: Final = "programs"
    PROGRAM_ID: Final = ColumnName("program_id")
    ORGANIZATION_ID: Final = ColumnName("organization_id")
    NAME: Final = ColumnName("name")
    SUPPORT: Final = ColumnName("support")
    CAPACITY: Final = ColumnName("capacity")
    COST_PER_SESSION: Final = ColumnName("cost_per_session")
    MIN_GRADE: Final = ColumnName("min_grade")
    MAX_GRADE: Final = ColumnName("max_grade")


class ServiceEnrollments:
    TABLE: Final = "service_enrollments"
    STUDENT_ID: Final = ColumnName("student_id")
    PROGRAM_ID: Final = ColumnName("program_id")
    ORGANIZATION_ID: Final = ColumnName("organization_id")
    START_DATE: Final = ColumnName("start_date")
    END_DATE: Final = ColumnName("end_date")
    EXIT_REASON: Final = ColumnName("exit_reason")


class ServiceSessions:
    TABLE: Final = "service_sessions"
    STUDENT_ID: Final = ColumnName("student_id")
    SESSION_ID: Final = ColumnName("session_id")
    PROGRAM_ID: Final = ColumnName("program_id")
    ORGANIZATION_ID: Final = ColumnName("organization_id")
    DATE: Final = ColumnName("date")
    ATTENDED: Final = ColumnName("attended")
    MINUTES: Final = ColumnName("minutes")
