"""Features of course marks and of incidents once more, in plain Python from the rules, not the SQL.

It reads rows of the canonical tables as dictionaries. Attendance has its own reference
(`tests.features.attendance_reference`).
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date, timedelta
from math import nan

from tests.features.attendance_reference import Row, Rows, attendance_features


def expected_features(rows: Rows, student: str, as_of: date) -> dict[str, float]:
    """Every feature of attendance, course marks and incidents of one student."""
    return {
        **attendance_features(rows, student, as_of),
        **grade_features(rows, student, as_of),
        **behavior_features(rows, student, as_of),
    }


def grade_features(rows: Rows, student: str, as_of: date) -> dict[str, float]:
    """Features of the marks that were final by the day; NaN without a mark to say it from."""
    by_period: dict[tuple[int, int], list[float]] = {}
    for row in _of(rows["course_grades"], student):
        if row["date"] <= as_of:
            by_period.setdefault((row["school_year"], row["period"]), []).append(row["grade"])
    newest_first = [by_period[period] for period in sorted(by_period, reverse=True)]
    last, previous = (*newest_first, [], [])[:2]
    return {
        "grade_average": _mean(last),
        "grade_previous": _mean(previous),
        "grade_change": _mean(last) - _mean(previous),
        "lowest_grade": min(last, default=nan),
        "courses_below_70": sum(mark < 70 for mark in last) if last else nan,
        "courses_below_60": sum(mark < 60 for mark in last) if last else nan,
        "grade_long_average": _mean([mark for marks in newest_first for mark in marks]),
    }


def behavior_features(rows: Rows, student: str, as_of: date) -> dict[str, float]:
    """Incidents up to the day; unknown of everybody before the first incident of anybody."""
    incidents = rows["behavior_incidents"]
    if not any(row["date"] <= as_of for row in incidents):
        return dict.fromkeys(("incidents_60", "incidents_year", "days_removed_year"), nan)
    ages = [(as_of - row["date"], row["days_removed"] or 0.0) for row in _of(incidents, student)]
    year = [(age, days) for age, days in ages if timedelta(0) <= age < timedelta(365)]
    return {
        "incidents_60": sum(age < timedelta(60) for age, _ in year),
        "incidents_year": len(year),
        "days_removed_year": sum(days for _, days in year),
    }


def _of(rows: Sequence[Row], student: str) -> list[Row]:
    return [row for row in rows if row["student_id"] == student]


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values) if values else nan
