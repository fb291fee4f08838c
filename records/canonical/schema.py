"""The canonical tables: every column with its type, unit and data category.

This module owns the shape of everything that Handrail stores about a student. Connectors write
these tables and nothing else; a column that is not here is never stored. An unknown name raises
`UnknownTable` for a table and `KeyError` for a column.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum

import pyarrow as pa


class Category(StrEnum):
    """A kind of data that an agreement can grant, in the order in which people read them."""

    DIRECTORY = "directory"
    SCHEDULE = "schedule"
    ATTENDANCE = "attendance"
    GRADES = "grades"
    ASSESSMENTS = "assessments"
    BEHAVIOR = "behavior"
    SPECIAL_EDUCATION = "special_education"
    ENGLISH_LEARNER = "english_learner"
    HOUSING = "housing"
    MEAL_ELIGIBILITY = "meal_eligibility"
    DEMOGRAPHICS = "demographics"
    SERVICES = "services"
    SERVICES_OTHER = "services_other"


CONSENT_CATEGORIES = frozenset(
    {Category.HOUSING, Category.MEAL_ELIGIBILITY, Category.SPECIAL_EDUCATION}
)
"""Categories that also need that student's own signed consent.

42 U.S.C. 11432(g)(3)(G) (housing), 7 CFR 245.6 (meal eligibility), 34 CFR 300.622 (disability).
"""


class UnknownTable(KeyError):
    """A table name that is not in the canonical schema."""


@dataclass(frozen=True)
class Column:
    """One canonical column; `values` are the only ones allowed, empty if any are.

    `category` is None for columns that hold no student data (keys of schools, calendars, programs).
    `advice` gives what to say of a text that is not among `values`, after them. Which kinds of
    support there are is the district's list (`records.canonical.supports`), and not in the schema.
    """

    name: str
    type: pa.DataType
    category: Category | None
    description: str
    unit: str | None = None
    required: bool = False
    values: tuple[str, ...] = ()
    advice: Callable[[str], str] | None = None


@dataclass(frozen=True)
class CanonicalTable:
    """One canonical table. `key` is unique within a snapshot; student tables have `student_id`."""

    name: str
    description: str
    columns: tuple[Column, ...]
    key: tuple[str, ...]

    @property
    def is_student(self) -> bool:
        """Whether the rows are about students."""
        return any(column.name == "student_id" for column in self.columns)

    @property
    def is_service(self) -> bool:
        """Whether the rows are about services, each of one organization.

        An organization's own rows need the category `services`, those of others `services_other`.
        Others' rows that reveal a child's housing need `housing` too
        (`records.access.scoped_records.non_housing_programs`).
        """
        return self.is_student and any(
            column.category is Category.SERVICES for column in self.columns
        )

    def column(self, name: str) -> Column:
        """The column of that name.

        Raises:
            KeyError: naming the columns that exist.
        """
        for column in self.columns:
            if column.name == name:
                return column
        raise KeyError(
            f"{self.name} has no column {name!r}; it has {', '.join(c.name for c in self.columns)}"
        )

    def arrow_schema(self) -> pa.Schema:
        """Names and types of the columns; the required ones are not nullable."""
        return pa.schema([pa.field(c.name, c.type, nullable=not c.required) for c in self.columns])


_TEXT, _DATE, _INT, _FLOAT, _BOOL = pa.string(), pa.date32(), pa.int32(), pa.float64(), pa.bool_()

ATTENDANCE_STATUSES = ("absent_excused", "absent_unexcused", "tardy", "partial", "present")
ABSENT_STATUSES = ("absent_excused", "absent_unexcused")
ATTENDANCE_STATES = ("taken", "quiet", "missing")
SEXES = ("female", "male", "another")
RACE_ETHNICITIES = (
    "american_indian",
    "asian",
    "black",
    "hispanic",
    "pacific_islander",
    "two_or_more",
    "white",
)


def _directory(name: str, type_: pa.DataType, description: str, **more: object) -> Column:
    return Column(name, type_, Category.DIRECTORY, description, **more)  # type: ignore[arg-type]


def _student() -> Column:
    return _directory("student_id", _TEXT, "The district's own student identifier", required=True)


PERIOD_CATEGORIES = {
    "english_learner": Category.ENGLISH_LEARNER,
    "special_education": Category.SPECIAL_EDUCATION,
    "unstable_housing": Category.HOUSING,
    "meal_eligible": Category.MEAL_ELIGIBILITY,
}
"""Characteristics of which a source may say from when to when -> the category of the dates."""


def _periods(characteristic: str, category: Category) -> CanonicalTable:
    return CanonicalTable(
        f"{characteristic}_periods",
        f"From when to when {characteristic} held, where the source says so",
        (
            _student(),
            Column("first_date", _DATE, category, "First day", required=True),
            Column("last_date", _DATE, category, "Last day, empty while it holds"),
        ),
        ("student_id", "first_date"),
    )


TABLES: dict[str, CanonicalTable] = {
    table.name: table
    for table in (
        CanonicalTable(
            "schools",
            "Schools of the district",
            (
                Column("school_id", _TEXT, None, "The district's school identifier", required=True),
                Column("name", _TEXT, None, "Name of the school"),
            ),
            ("school_id",),
        ),
        CanonicalTable(
            "calendar",
            "Days on which a school held classes",
            (
                Column("school_id", _TEXT, None, "School", required=True),
                Column("date", _DATE, None, "An instructional day", required=True),
                Column(
                    "school_year",
                    _INT,
                    None,
                    "Calendar year in which the school year ends",
                    required=True,
                ),
                Column(
                    "calendar_code",
                    _TEXT,
                    None,
                    "Which calendar of the school, where it has several in a year, by a digest;"
                    " empty for the days common to all that are not of single students",
                ),
            ),
            ("school_id", "date", "calendar_code"),
        ),
        CanonicalTable(
            "students",
            "One row a student",
            (
                _student(),
                _directory("first_name", _TEXT, "First name"),
                _directory("last_name", _TEXT, "Last name"),
                _directory("birth_date", _DATE, "Date of birth"),
                _directory(
                    "grade_level",
                    _INT,
                    "Grade now: -1 is pre-kindergarten, 0 kindergarten",
                    unit="grade",
                ),
                _directory("school_id", _TEXT, "School now"),
            ),
            ("student_id",),
        ),
        CanonicalTable(
            "characteristics",
            "Sensitive facts, one row a student: read by the fairness audit, never a model input",
            (
                _student(),
                Column("sex", _TEXT, Category.DEMOGRAPHICS, "Sex", values=SEXES),
                Column(
                    "race_ethnicity",
                    _TEXT,
                    Category.DEMOGRAPHICS,
                    "Federal group",
                    values=RACE_ETHNICITIES,
                ),
                Column("english_learner", _BOOL, Category.ENGLISH_LEARNER, "Is learning English"),
                Column(
                    "special_education",
                    _BOOL,
                    Category.SPECIAL_EDUCATION,
                    "Has an IEP or a 504 plan",
                ),
                Column("unstable_housing", _BOOL, Category.HOUSING, "McKinney-Vento eligible"),
                Column(
                    "meal_eligible", _BOOL, Category.MEAL_ELIGIBILITY, "Free or reduced-price meals"
                ),
            ),
            ("student_id",),
        ),
        *(_periods(name, category) for name, category in PERIOD_CATEGORIES.items()),
        CanonicalTable(
            "school_enrollments",
            "When a student was enrolled where",
            (
                _student(),
                _directory("school_id", _TEXT, "School", required=True),
                _directory(
                    "school_year",
                    _INT,
                    "Calendar year in which the school year ends",
                    required=True,
                ),
                _directory("grade_level", _INT, "Grade in that year", unit="grade"),
                _directory("entry_date", _DATE, "First day", required=True),
                _directory("exit_date", _DATE, "Last day, empty while enrolled"),
                _directory(
                    "calendar_code",
                    _TEXT,
                    "The calendar that the enrollment follows, if calendar has it for that year;"
                    " else its days are those common to all",
                ),
            ),
            ("student_id", "school_id", "entry_date"),
        ),
        CanonicalTable(
            "attendance_events",
            "Days on which a student was not simply present",
            (
                _student(),
                Column("school_id", _TEXT, Category.ATTENDANCE, "School", required=True),
                Column("date", _DATE, Category.ATTENDANCE, "School day", required=True),
                Column(
                    "status",
                    _TEXT,
                    Category.ATTENDANCE,
                    "What was recorded",
                    required=True,
                    values=ATTENDANCE_STATUSES,
                ),
                Column(
                    "absent_share",
                    _FLOAT,
                    Category.ATTENDANCE,
                    "How much of the day was missed; empty for all of it if absent, else none",
                    unit="share of the school day",
                ),
                Column(
                    "part",
                    _TEXT,
                    Category.ATTENDANCE,
                    "Which part of the day, where a day has several entries of one status",
                ),
            ),
            ("student_id", "school_id", "date", "status", "part"),
        ),
        CanonicalTable(
            "attendance_taken",
            "Whether a school took attendance on a school day; worked out by every load",
            (
                Column("school_id", _TEXT, None, "School", required=True),
                Column("date", _DATE, None, "School day", required=True),
                Column(
                    "state",
                    _TEXT,
                    None,
                    "taken: there are entries; quiet: none, as may be at a school this small;"
                    " missing: none or hardly any where there must be",
                    required=True,
                    values=ATTENDANCE_STATES,
                ),
            ),
            ("school_id", "date"),
        ),
        CanonicalTable(
            "coverage",
            "From when to when each table speaks; worked out by every load",
            (
                Column("table_name", _TEXT, None, "A table with dates", required=True),
                Column("first_date", _DATE, None, "Day of its first record", required=True),
                Column(
                    "last_date",
                    _DATE,
                    None,
                    "Day of its last record; of enrollments see records.loading.coverage",
                    required=True,
                ),
            ),
            ("table_name",),
        ),
        CanonicalTable(
            "course_grades",
            "Marks at the end of a grading period",
            (
                _student(),
                Column("course", _TEXT, Category.GRADES, "Course title", required=True),
                Column(
                    "school_year",
                    _INT,
                    Category.GRADES,
                    "Year in which the school year ends",
                    required=True,
                ),
                Column(
                    "period",
                    _INT,
                    Category.GRADES,
                    "Grading period within the year, from 1",
                    required=True,
                ),
                Column(
                    "date", _DATE, Category.GRADES, "Day on which the mark was final", required=True
                ),
                Column(
                    "grade", _FLOAT, Category.GRADES, "Mark", unit="points of 100", required=True
                ),
                Column(
                    "section_id",
                    _TEXT,
                    Category.GRADES,
                    "Which section of the course, where the source tells them apart",
                ),
            ),
            ("student_id", "course", "school_year", "period", "section_id"),
        ),
        CanonicalTable(
            "gradebook_entries",
            "Marks for single pieces of work",
            (
                _student(),
                Column(
                    "entry_id", _TEXT, Category.GRADES, "The gradebook's identifier", required=True
                ),
                Column("course", _TEXT, Category.GRADES, "Course title or code"),
                Column("title", _TEXT, Category.GRADES, "Piece of work"),
                Column("due_date", _DATE, Category.GRADES, "Day it was due"),
                Column("grade", _FLOAT, Category.GRADES, "Mark", unit="points of 100"),
            ),
            ("student_id", "entry_id"),
        ),
        CanonicalTable(
            "assessments",
            "Test results",
            (
                _student(),
                Column("assessment", _TEXT, Category.ASSESSMENTS, "Which test", required=True),
                Column("date", _DATE, Category.ASSESSMENTS, "Day taken", required=True),
                Column(
                    "score",
                    _FLOAT,
                    Category.ASSESSMENTS,
                    "Score on the test's own scale",
                    required=True,
                ),
                Column(
                    "measure",
                    _TEXT,
                    Category.ASSESSMENTS,
                    "How the score is reported, for example raw score",
                ),
            ),
            ("student_id", "assessment", "date", "measure"),
        ),
        CanonicalTable(
            "behavior_incidents",
            "Discipline incidents, without any narrative",
            (
                _student(),
                Column(
                    "incident_id",
                    _TEXT,
                    Category.BEHAVIOR,
                    "The district's identifier",
                    required=True,
                ),
                Column("date", _DATE, Category.BEHAVIOR, "Day of the incident", required=True),
                Column("behavior", _TEXT, Category.BEHAVIOR, "Coded kind of incident"),
                Column("action", _TEXT, Category.BEHAVIOR, "Coded response of the school"),
                Column(
                    "days_removed",
                    _FLOAT,
                    Category.BEHAVIOR,
                    "Days out of class",
                    unit="school days",
                ),
            ),
            ("student_id", "incident_id"),
        ),
        CanonicalTable(
            "programs",
            "What partners offer",
            (
                Column("program_id", _TEXT, None, "Program identifier", required=True),
                Column("organization_id", _TEXT, None, "Who runs it", required=True),
                Column("name", _TEXT, None, "Name of the program"),
                Column("support", _TEXT, None, "Kind of support, of the district's list"),
                Column("capacity", _INT, None, "Places", unit="students"),
                Column("cost_per_session", _FLOAT, None, "Cost", unit="US dollars"),
                Column("min_grade", _INT, None, "Lowest grade served"),
                Column("max_grade", _INT, None, "Highest grade served"),
            ),
            ("program_id",),
        ),
        CanonicalTable(
            "service_enrollments",
            "Who takes part in which partner program, and when",
            (
                _student(),
                Column("program_id", _TEXT, Category.SERVICES, "Program", required=True),
                Column("organization_id", _TEXT, Category.SERVICES, "Who runs it", required=True),
                Column("start_date", _DATE, Category.SERVICES, "First day", required=True),
                Column("end_date", _DATE, Category.SERVICES, "Last day, empty while active"),
                Column("exit_reason", _TEXT, Category.SERVICES, "Why it ended"),
            ),
            ("student_id", "program_id", "start_date"),
        ),
        CanonicalTable(
            "service_sessions",
            "Single sessions of a partner program",
            (
                _student(),
                Column(
                    "session_id",
                    _TEXT,
                    Category.SERVICES,
                    "The partner's identifier",
                    required=True,
                ),
                Column("program_id", _TEXT, Category.SERVICES, "Program", required=True),
                Column("organization_id", _TEXT, Category.SERVICES, "Who ran it", required=True),
                Column("date", _DATE, Category.SERVICES, "Day", required=True),
                Column("attended", _BOOL, Category.SERVICES, "Took part", required=True),
                Column("minutes", _FLOAT, Category.SERVICES, "Length", unit="minutes"),
            ),
            ("organization_id", "session_id"),
        ),
    )
}


DERIVED_TABLES = ("attendance_taken", "coverage")
"""Worked out by every load, whatever it brings; no source has them."""


def canonical_table(name: str) -> CanonicalTable:
    """The canonical table of that name.

    Raises:
        UnknownTable: naming the tables that exist.
    """
    try:
        return TABLES[name]
    except KeyError:
        raise UnknownTable(f"no table {name!r}; the tables are {', '.join(TABLES)}") from None
