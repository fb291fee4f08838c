"""Attendance features once more, in plain Python: slow, and written from the rules, not the SQL.

It reads rows of the canonical tables as dictionaries and answers what `features.attendance` must.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from datetime import date, timedelta
from math import nan
from typing import Any

Row = Mapping[str, Any]
Rows = Mapping[str, Sequence[Row]]

EXPECTED, USUAL, FEWEST, STUDENTS = 5.0, 0.05, 0.1, 20


def stays_of(rows: Rows) -> list[tuple[str, str, date | None, date | None]]:
    """Student, school, first and last day; where there are none, all are where they are now."""
    enrollments = rows.get("school_enrollments", ())
    stays = [
        (row["student_id"], row["school_id"], row["entry_date"], row.get("exit_date"))
        for row in enrollments
    ]
    enrolled = {row["student_id"] for row in enrollments}
    stays += [
        (row["student_id"], row["school_id"], None, None)
        for row in rows["students"]
        if not enrolled
    ]
    return stays


def is_there(stay: tuple[str, str, date | None, date | None], day: date) -> bool:
    _, _, first, last = stay
    return (first is None or first <= day) and (last is None or day <= last)


def states(rows: Rows) -> dict[tuple[str, date], str]:
    """Of every school day, whether attendance was taken."""
    stays = stays_of(rows)
    entered: dict[tuple[str, date], set[str]] = defaultdict(set)
    for row in rows["attendance_events"]:
        entered[row["school_id"], row["date"]].add(row["student_id"])
    days: dict[str, list[tuple[date, int]]] = defaultdict(list)
    for row in rows["calendar"]:
        days[row["school_id"]].append((row["date"], row["school_year"]))
    counts: dict[str, dict[date, tuple[int, float, int]]] = {}
    for school, listed in days.items():
        counts[school] = {}
        seen: dict[int, list[tuple[int, int]]] = defaultdict(list)
        for day, year in sorted(listed):
            enrolled = sum(stay[1] == school and is_there(stay, day) for stay in stays)
            entries = len(entered[school, day])
            seen[year].append((entries, enrolled))
            base = sum(n for e, n in seen[year] if e)
            share = min(USUAL, sum(e for e, _ in seen[year]) / base) if base else USUAL
            counts[school][day] = (entries, enrolled * share, enrolled)
    everywhere: dict[date, tuple[int, float, int]] = {}
    for by_day in counts.values():
        for day, parts in by_day.items():
            before = everywhere.get(day, (0, 0.0, 0))
            everywhere[day] = tuple(a + b for a, b in zip(before, parts, strict=True))  # type: ignore[assignment]
    district = missing_days(everywhere)
    result = {}
    for school, by_day in counts.items():
        own = missing_days(by_day)
        for day, (entries, expected, _) in by_day.items():
            thin = is_thin(entries, expected)
            if day in own or (day in district and thin):
                result[school, day] = "missing"
            else:
                result[school, day] = "taken" if entries else "quiet"
    return result


def is_thin(entries: int, expected: float) -> bool:
    return entries == 0 or entries < FEWEST * expected


def missing_days(by_day: Mapping[date, tuple[int, float, int]]) -> set[date]:
    missing, lacking = set(), 0.0
    for day in sorted(by_day):
        entries, expected, enrolled = by_day[day]
        if not is_thin(entries, expected):
            lacking = 0.0
            continue
        lacking += expected - entries
        if lacking >= EXPECTED and enrolled >= STUDENTS:
            missing.add(day)
    return missing


def student_days(
    rows: Rows, student: str, as_of: date, settled: date
) -> list[tuple[date, float, float, float, int, str]]:
    """Day, share missed, excused and unexcused, whether late, and school, the oldest first."""
    known = states(rows)
    years = {row["school_year"] for row in rows["calendar"] if row["date"] <= as_of}
    if not years:
        return []
    this_year = {
        (row["school_id"], row["date"])
        for row in rows["calendar"]
        if row["school_year"] == max(years) and row["date"] <= as_of
    }
    if min(day for _, day in this_year) <= as_of - timedelta(days=365):
        return []
    if not any(known[place] == "taken" for place in this_year):
        return []
    school_now = next(
        (row["school_id"] for row in rows["students"] if row["student_id"] == student), None
    )
    stays = [
        stay
        for stay in stays_of(rows)
        if stay[0] == student
        and (stay[2] is None or stay[2] <= as_of)
        and not is_of_an_earlier_year(stay, rows, min(day for _, day in this_year))
    ]
    result = []
    for day in sorted({day for _, day in this_year}):
        there = [
            stay
            for stay in stays
            if is_there(stay, day)
            and (stay[1], day) in this_year
            and (
                known[stay[1], day] == "taken"
                or (known[stay[1], day] == "quiet" and day <= settled)
            )
        ]
        if not there:
            continue
        there.sort(key=lambda stay: stay[1])
        there.sort(key=lambda stay: stay[2] or date.min, reverse=True)
        there.sort(key=lambda stay: stay[1] != school_now)
        school, schools = there[0][1], {stay[1] for stay in there}
        events = [
            row
            for row in rows["attendance_events"]
            if row["student_id"] == student
            and row["date"] == day
            and (len(schools) == 1 or row["school_id"] == school)
        ]
        result.append((day, *missed(events), school))
    return result


def is_of_an_earlier_year(
    stay: tuple[str, str, date | None, date | None], rows: Rows, year_began: date
) -> bool:
    """An open stay that nobody closed, where half of the open ones had begun this year."""
    entries = [row["entry_date"] for row in rows.get("school_enrollments", ())]
    is_open = [
        row["entry_date"] for row in rows.get("school_enrollments", ()) if not row.get("exit_date")
    ]
    if not entries or stay[2] is None or stay[3] is not None:
        return False
    half = sorted(is_open)[(len(is_open) - 1) // 2] if is_open else max(entries)
    begun = year_began - timedelta(days=60)
    return stay[2] < begun <= half


def days_since(rows: Rows, school: str, day: date, settled: date) -> int:
    """How many school days the school has had after a day, up to `settled`."""
    year = max(
        row["school_year"]
        for row in rows["calendar"]
        if row["school_id"] == school and row["date"] == day
    )
    return sum(
        row["school_id"] == school and row["school_year"] == year and day < row["date"] <= settled
        for row in rows["calendar"]
    )


def missed(events: Iterable[Row]) -> tuple[float, float, float, int]:
    absent = excused = unexcused = 0.0
    late = 0
    for row in events:
        share = row.get("absent_share")
        match row["status"]:
            case "absent_excused":
                share = 1.0 if share is None else share
                absent, excused = absent + share, excused + share
            case "absent_unexcused":
                share = 1.0 if share is None else share
                absent, unexcused = absent + share, unexcused + share
            case "partial":
                absent += share or 0.0
            case "tardy":
                late = 1
    excused = min(excused, 1.0)
    return min(absent, 1.0), excused, min(unexcused, 1.0 - excused), late


def attendance_features(
    rows: Rows, student: str, as_of: date, settled: date | None = None
) -> dict[str, float]:
    days = student_days(rows, student, as_of, settled or as_of)
    is_recent = bool(days) and days_since(rows, days[-1][5], days[-1][0], settled or as_of) <= 2
    absent = [share for _, share, _, _, _, _ in days]
    last_60, last_30 = days[-60:], absent[-30:]
    month_before = absent[-60:-30]

    def mean(values: Sequence[float]) -> float:
        return sum(values) / len(values) if values else nan

    run = 0
    while run < len(absent) and absent[-1 - run] > 0.5:
        run += 1
    longest = current = 0
    for _, share, *_ in last_60:
        current = current + 1 if share > 0.5 else 0
        longest = max(longest, current)
    if not days:
        names = (
            "absences_last_10 absences_last_30 absence_rate_year absence_rate_60 absence_change"
            " absent_days_year current_run longest_run_60 unexcused_60 excused_60"
            " monday_absences_60 tardies_60 days_enrolled_year"
        )
        return dict.fromkeys(names.split(), nan)
    return {
        "absences_last_10": sum(absent[-10:]) if is_recent else nan,
        "absences_last_30": sum(absent[-30:]),
        "absence_rate_year": mean(absent),
        "absence_rate_60": mean(absent[-60:]),
        "absence_change": mean(last_30) - mean(month_before) if is_recent else nan,
        "absent_days_year": sum(absent),
        "current_run": run if is_recent else nan,
        "longest_run_60": longest,
        "unexcused_60": sum(day[3] for day in last_60),
        "excused_60": sum(day[2] for day in last_60),
        "monday_absences_60": sum(day[1] for day in last_60 if day[0].weekday() == 0),
        "tardies_60": sum(day[4] for day in last_60),
        "days_enrolled_year": len(days),
    }
