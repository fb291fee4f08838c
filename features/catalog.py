"""Every feature, declared once: its family, data category, unit and the words in which it is said
of a student.

Sensitive facts (race, sex, language, disability, housing, meals) are never features. Discipline is
no model input unless a district opts in. A feature is added in its family's file and listed here by
that family.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass

from records.canonical.schema import Category


@dataclass(frozen=True)
class Feature:
    """One number about one student on one day.

    `default` is its value where the category may be seen and nothing is recorded: None where that
    is unknown. `phrase` completes "because the record shows: ..." in plain words; `tells` is False
    where those words would tell a reader nothing about a student.
    """

    name: str
    family: str
    category: Category
    unit: str
    phrase: Callable[[float], str]
    description: str
    default: float | None = None
    model_input: bool = True
    tells: bool = True


def _times(count: float, one: str, many: str) -> str:
    return f"1 {one}" if round(count) == 1 else f"{count:.0f} {many}"


def _share(value: float) -> str:
    return f"{100 * value:.0f}%"


def _attendance(
    name: str, unit: str, phrase: Callable[[float], str], description: str, *, tells: bool = True
) -> Feature:
    return Feature(name, "attendance", Category.ATTENDANCE, unit, phrase, description, tells=tells)


def _grades(name: str, unit: str, phrase: Callable[[float], str], description: str) -> Feature:
    return Feature(name, "grades", Category.GRADES, unit, phrase, description)


CATALOG: tuple[Feature, ...] = (
    Feature(
        "grade_level",
        "grade_level",
        Category.DIRECTORY,
        "grade",
        lambda v: f"in grade {v:.0f}" if v > 0 else "in kindergarten or before",
        "Grade on the day",
    ),
    _attendance(
        "absences_last_10",
        "school days",
        lambda v: f"absent {v:.0f} of the last 10 school days",
        "Absences in the last 10 school days",
    ),
    _attendance(
        "absences_last_30",
        "school days",
        lambda v: f"absent {v:.0f} of the last 30 school days",
        "Absences in the last 30 school days",
    ),
    _attendance(
        "absence_rate_year",
        "share of school days",
        lambda v: f"absent {_share(v)} of school days this year",
        "Share of this school year's days missed",
    ),
    _attendance(
        "absence_rate_60",
        "share of school days",
        lambda v: f"absent {_share(v)} of the last 60 school days",
        "Share of the last 60 school days missed",
    ),
    _attendance(
        "absence_change",
        "share of school days",
        lambda v: (
            "absent more often than a month ago"
            if v > 0
            else "absent no more often than a month ago"
        ),
        "Share of the last 30 school days missed less that of the 30 before",
    ),
    _attendance(
        "absent_days_year",
        "school days",
        lambda v: f"{_times(v, 'absence', 'absences')} this year",
        "Absences this school year",
    ),
    _attendance(
        "current_run",
        "school days",
        lambda v: (
            f"absent the last {v:.0f} school days"
            if v > 1
            else ("absent on the last school day" if v == 1 else "at school on the last school day")
        ),
        "Absences in a row up to the last school day",
    ),
    _attendance(
        "longest_run_60",
        "school days",
        lambda v: f"absent up to {_times(v, 'day', 'days')} in a row",
        "Longest run in 60 school days",
    ),
    _attendance(
        "unexcused_60",
        "school days",
        lambda v: (
            f"{_times(v, 'absence', 'absences')} without an excuse in the last 60 school days"
        ),
        "Unexcused absences in 60 school days",
    ),
    _attendance(
        "excused_60",
        "school days",
        lambda v: f"{_times(v, 'excused absence', 'excused absences')} in the last 60 school days",
        "Excused absences in 60 school days",
    ),
    _attendance(
        "monday_absences_60",
        "school days",
        lambda v: f"{_times(v, 'Monday', 'Mondays')} missed in the last 60 school days",
        "Mondays missed in 60 school days",
    ),
    _attendance(
        "tardies_60",
        "school days",
        lambda v: f"late on {_times(v, 'day', 'days')} of the last 60 school days",
        "Late arrivals in 60 school days",
    ),
    _attendance(
        "days_enrolled_year",
        "school days",
        lambda v: f"{v:.0f} school days on the roll this year",
        "School days enrolled this year",
        tells=False,
    ),
    _grades(
        "grade_average",
        "points of 100",
        lambda v: f"course average {v:.0f} of 100",
        "Average of the last grading period",
    ),
    _grades(
        "grade_previous",
        "points of 100",
        lambda v: f"course average {v:.0f} the period before",
        "Average of the grading period before",
    ),
    _grades(
        "grade_change",
        "points of 100",
        lambda v: (
            f"course average {'down' if v < 0 else 'up'} {abs(v):.0f} points since the period"
            " before"
        ),
        "Last grading period less the one before",
    ),
    _grades(
        "lowest_grade",
        "points of 100",
        lambda v: f"lowest course mark {v:.0f} of 100",
        "Lowest mark of the last grading period",
    ),
    _grades(
        "courses_below_70",
        "courses",
        lambda v: f"{_times(v, 'course', 'courses')} below 70",
        "Courses below 70 in the last grading period",
    ),
    _grades(
        "courses_below_60",
        "courses",
        lambda v: f"{_times(v, 'course', 'courses')} below 60",
        "Courses below 60 in the last grading period",
    ),
    _grades(
        "grade_long_average",
        "points of 100",
        lambda v: f"course average over time {v:.0f} of 100",
        "Average of all marks up to the day",
    ),
    _grades(
        "gradebook_average_60",
        "points of 100",
        lambda v: f"recent class work {v:.0f} of 100",
        "Average of class work due in the last 60 days",
    ),
    Feature(
        "assessment_last",
        "assessments",
        Category.ASSESSMENTS,
        "test scale",
        lambda v: f"latest test results around {v:.0f}",
        "Mean of the latest score of each test",
    ),
    Feature(
        "assessment_change",
        "assessments",
        Category.ASSESSMENTS,
        "test scale",
        lambda v: f"test results {'down' if v < 0 else 'up'} {abs(v):.0f} since the time before",
        "Mean change of each test since the time before",
    ),
    Feature(
        "services_active",
        "services",
        Category.SERVICES_OTHER,
        "programs",
        lambda v: f"takes part in {_times(v, 'program', 'programs')} now",
        "Programs on the day",
        0.0,
    ),
    Feature(
        "service_sessions_60",
        "services",
        Category.SERVICES_OTHER,
        "sessions",
        lambda v: f"{_times(v, 'session', 'sessions')} with partners in the last 60 days",
        "Sessions attended in the last 60 days",
        0.0,
    ),
    Feature(
        "incidents_60",
        "behavior",
        Category.BEHAVIOR,
        "incidents",
        lambda v: f"{_times(v, 'incident', 'incidents')} at school in the last 60 days",
        "Incidents in 60 days",
        0.0,
        False,
    ),
    Feature(
        "incidents_year",
        "behavior",
        Category.BEHAVIOR,
        "incidents",
        lambda v: f"{_times(v, 'incident', 'incidents')} at school within a year",
        "Incidents in 365 days",
        0.0,
        False,
    ),
    Feature(
        "days_removed_year",
        "behavior",
        Category.BEHAVIOR,
        "school days",
        lambda v: f"out of class on {_times(v, 'day', 'days')} within a year",
        "Days out of class in 365 days",
        0.0,
        False,
    ),
)
FEATURES_BY_NAME = {feature.name: feature for feature in CATALOG}


def feature_names(*, model_only: bool = True, behavior: bool = False) -> list[str]:
    """Names in catalog order; `behavior` adds discipline to the model's inputs, which a district
    must opt in to.
    """
    opted_in = {Category.BEHAVIOR} if behavior else set()
    return [f.name for f in CATALOG if not model_only or f.model_input or f.category in opted_in]


def catalog_hash() -> str:
    """A digest of what the features mean: a model is bound to the catalog that it was trained
    on.
    """
    lines = [
        f"{f.name}|{f.family}|{f.category}|{f.unit}|{f.description}|{f.default}|{f.model_input}"
        for f in CATALOG
    ]
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()
