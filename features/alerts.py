"""Early alerts: plain rules over the same features, each with the source of its threshold.

An alert needs only what the viewer may see: where a category is out of scope its feature is
missing, and a rule over a missing feature says nothing.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields
from pathlib import Path

import pandas as pd

from features.catalog import FEATURES_BY_NAME
from records.canonical.schema import Category
from records.system.code_digest import code_digest

_ATTENDANCE_WORKS = "Attendance Works, Chronic Absence: 10% of school days for any reason"
_BALFANZ = (
    "Balfanz, Herzog & Mac Iver (2007), Educational Psychologist 42(4): absence and failed courses"
    " in grade 6"
)
_ALLENSWORTH = (
    "Allensworth & Easton (2007), What Matters for Staying On-Track, University of Chicago"
)
_RUNS = (
    "California Education Code 48260 takes three days; two and five are this district's own steps"
)
_DROPS = "This district's own step, to be tuned on its records"
_FEWEST_DAYS = 20
"""School days on the roll before a rate is spoken of; below it one absence is 5% or more."""


@dataclass(frozen=True)
class AlertRule:
    """`needs` names the features it reads; `holds` is asked only when all of them are known."""

    name: str
    severity: int
    needs: tuple[str, ...]
    holds: Callable[[Mapping[str, float]], bool]
    says: Callable[[Mapping[str, float]], str]
    source: str

    @property
    def category(self) -> Category:
        return FEATURES_BY_NAME[self.needs[0]].category


@dataclass(frozen=True)
class Alert:
    """`severity` is 3 (act now), 2 (look soon) or 1 (keep an eye on)."""

    student_id: str
    rule: str
    severity: int
    headline: str
    detail: str
    source: str
    category: Category


def _run(name: str, severity: int, least: int, most: float) -> AlertRule:
    return AlertRule(
        name,
        severity,
        ("current_run",),
        lambda f: least <= f["current_run"] < most,
        lambda f: f"Absent the last {f['current_run']:.0f} school days in a row",
        _RUNS,
    )


def _chronic(name: str, severity: int, least: float, most: float) -> AlertRule:
    return AlertRule(
        name,
        severity,
        ("absence_rate_year", "absent_days_year", "days_enrolled_year"),
        lambda f: (
            f["days_enrolled_year"] >= _FEWEST_DAYS and least <= f["absence_rate_year"] < most
        ),
        lambda f: (
            f"Absent {f['absent_days_year']:.0f} of {f['days_enrolled_year']:.0f} school days this"
            " year"
        ),
        _ATTENDANCE_WORKS,
    )


def _courses(count: float) -> str:
    return "1 course" if count == 1 else f"{count:.0f} courses"


ALERT_RULES: tuple[AlertRule, ...] = (
    _run("absent_5_in_a_row", 3, 5, float("inf")),
    _chronic("severe_chronic_absence", 3, 0.20, float("inf")),
    AlertRule(
        "failing_courses",
        3,
        ("courses_below_60",),
        lambda f: f["courses_below_60"] >= 2,
        lambda f: f"Below 60 in {_courses(f['courses_below_60'])} last period",
        _ALLENSWORTH,
    ),
    _run("absent_3_in_a_row", 2, 3, 5),
    _chronic("chronic_absence", 2, 0.10, 0.20),
    AlertRule(
        "sudden_absence",
        2,
        ("absences_last_10", "absence_change"),
        lambda f: f["absences_last_10"] >= 3 and f["absence_change"] >= 0.10,
        lambda f: (
            f"Absent {f['absences_last_10']:.0f} of the last 10 school days, far more than before"
        ),
        _DROPS,
    ),
    AlertRule(
        "marks_dropped",
        2,
        ("grade_change", "grade_average", "grade_previous"),
        lambda f: f["grade_change"] <= -8,
        lambda f: f"Course average went from {f['grade_previous']:.0f} to {f['grade_average']:.0f}",
        _DROPS,
    ),
    AlertRule(
        "failing_course",
        2,
        ("courses_below_60",),
        lambda f: f["courses_below_60"] == 1,
        lambda f: "Below 60 in 1 course last period",
        _BALFANZ,
    ),
    _run("absent_2_in_a_row", 1, 2, 3),
    AlertRule(
        "low_course",
        1,
        ("courses_below_70", "courses_below_60"),
        lambda f: f["courses_below_70"] > f["courses_below_60"],
        lambda f: f"Below 70 in {_courses(f['courses_below_70'])} last period",
        _BALFANZ,
    ),
)
"""In the order in which they are read: the first that holds is a student's headline."""


def raise_alerts(features: pd.DataFrame) -> list[Alert]:
    """Every alert that the features raise: the most severe first, then in the order of the rules,
    then by student.

    Args:
        features: what `build_features` gave: float64 columns by feature name, indexed by student.
    """
    found: list[Alert] = []
    for rule in ALERT_RULES:
        known = features[list(rule.needs)].dropna()
        for student, values in zip(known.index, known.to_dict("records"), strict=True):
            row = {str(name): float(value) for name, value in values.items()}
            if rule.holds(row):
                found.append(
                    Alert(
                        str(student),
                        rule.name,
                        rule.severity,
                        rule.says(row),
                        " · ".join(FEATURES_BY_NAME[name].phrase(row[name]) for name in rule.needs),
                        rule.source,
                        rule.category,
                    )
                )
    return found


def alert_rules_hash() -> str:
    """The SHA-256 of all alert rules: their data, and the code that applies them.

    The fairness policy says by alerts who is in need, so a signed audit holds only for these rules.
    """
    rules = [
        {
            field.name: value
            for field in fields(rule)
            if not callable(value := getattr(rule, field.name))
        }
        for rule in ALERT_RULES
    ]
    parts = [rules, code_digest([Path(__file__)])]
    return hashlib.sha256(json.dumps(parts, sort_keys=True, default=str).encode()).hexdigest()
