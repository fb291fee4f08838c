"""Attendance features once more, in plain Python: slow, and written from the rules, not the SQL.

It reads rows of the canonical tables as dictionaries and answers what `features.attendance` must.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from datetime import date, timedelta
from math import nan
from typing import Any, NamedTuple

Row = Mapping[str, Any]
Rows = Mapping[str, Sequence[Row]]

EXPECTED, USUAL, FEWEST, STUDENTS = 5.0, 0.05, 0.1, 20
FEWEST_ABSENCES = 0.0025


class Stay(NamedTuple):
    """A time of a student at a school, and the calendar that it names for its school year."""

    student: str
    school: str
    first: date | None
    last: date | None
    year: int | None
    calendar: str | None


def stays_of(rows: Rows) -> list[Stay]:
    """All stays; where there are none, everybody is where they are now."""
    enrollments = rows.get("school_enrollments", ())
    stays = [
        Stay(
            row["student_id"],
            row["school_id"],
            row["entry_date"],
            row.get("exit_date"),
            row.get("school_year"),
            row.get("calendar_code"),
        )
        for row in enrollments
    ]
    enrolled = {row["student_id"] for row in enrollments}
    stays += [
        Stay(row["student_id"], row["school_id"], None, None, None, None)
        for row in rows["students"]
        if not enrolled
    ]
    return stays


def is_there(stay: Stay, day: date) -> bool:
    return (stay.first is None or stay.first <= day) and (stay.last is None or day <= stay.last)


def calendars_of(rows: Rows, school: str, year: int) -> set[str | None]:
    return {
        row.get("calendar_code")
        for row in rows["calendar"]
        if row["school_id"] == school and row["school_year"] == year
    }


def calendar_followed(rows: Rows, stay: Stay, year: int) -> str | None:
    """The calendar that a stay names for this very year, if there is one; else the common days."""
    named = stay.calendar if stay.year == year else None
    return named if named in calendars_of(rows, stay.school, year) else None


def states(rows: Rows) -> dict[tuple[str, date], str]:
    """Of every school day, whether attendance was taken."""
    stays = stays_of(rows)
    entered: dict[tuple[str, date], set[str]] = defaultdict(set)
    for row in rows["attendance_events"]:
        entered[row["school_id"], row["date"]].add(row["student_id"])
    days: dict[str, set[tuple[date, int]]] = defaultdict(set)
    held: dict[tuple[str, date], set[str | None]] = defaultdict(set)
    for row in rows["calendar"]:
        days[row["school_id"]].add((row["date"], row["school_year"]))
        held[row["school_id"], row["date"]].add(row.get("calendar_code"))
    counts: dict[str, dict[date, tuple[int, float, int]]] = {}
    for school, listed in days.items():
        counts[school] = {}
        seen: dict[int, list[tuple[int, int]]] = defaultdict(list)
        codes = {year: calendars_of(rows, school, year) for _, year in listed}
        for day, year in sorted(listed):
            enrolled = sum(
                stay.school == school
                and is_there(stay, day)
                and (stay.calendar if stay.calendar in codes[year] else None) in held[school, day]
                for stay in stays
            )
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
        for day, (entries, expected, enrolled) in by_day.items():
            thin = is_thin(entries, expected)
            silent = enrolled >= STUDENTS and has_presences_alone(rows, school, day)
            if day in own or (day in district and thin) or silent:
                result[school, day] = "missing"
            else:
                result[school, day] = "taken" if entries else "quiet"
    return result


def has_presences_alone(rows: Rows, school: str, day: date) -> bool:
    so_far = [
        row["status"]
        for row in rows["attendance_events"]
        if row["school_id"] == school and row["date"] <= day
    ]
    present = so_far.count("present")
    absent = len(so_far) - present - so_far.count("tardy")
    return present * USUAL >= EXPECTED and absent < FEWEST_ABSENCES * present


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
) -> list[tuple[date, float, float, float, int, tuple[str, str | None]]]:
    """Day, share missed, excused and unexcused, whether late, and whose day, the oldest first."""
    known = states(rows)
    years = {row["school_year"] for row in rows["calendar"] if row["date"] <= as_of}
    if not years:
        return []
    this_year = {
        (row["school_id"], row.get("calendar_code"), row["date"])
        for row in rows["calendar"]
        if row["school_year"] == max(years) and row["date"] <= as_of
    }
    if min(day for _, _, day in this_year) <= as_of - timedelta(days=365):
        return []
    if not any(known[school, day] == "taken" for school, _, day in this_year):
        return []
    school_now = next(
        (row["school_id"] for row in rows["students"] if row["student_id"] == student), None
    )
    stays = [
        stay
        for stay in stays_of(rows)
        if stay.student == student
        and (stay.first is None or stay.first <= as_of)
        and not is_of_an_earlier_year(stay, rows, min(day for _, _, day in this_year))
    ]
    calendars = {stay: calendar_followed(rows, stay, max(years)) for stay in stays}
    result = []
    for day in sorted({day for _, _, day in this_year}):
        there = [
            stay
            for stay in stays
            if is_there(stay, day)
            and (stay.school, calendars[stay], day) in this_year
            and (
                known[stay.school, day] == "taken"
                or (known[stay.school, day] == "quiet" and day <= settled)
            )
        ]
        if not there:
            continue
        there.sort(key=lambda stay: stay.school)
        there.sort(key=lambda stay: stay.first or date.min, reverse=True)
        there.sort(key=lambda stay: stay.school != school_now)
        school, schools = there[0].school, {stay.school for stay in there}
        events = [
            row
            for row in rows["attendance_events"]
            if row["student_id"] == student
            and row["date"] == day
            and (len(schools) == 1 or row["school_id"] == school)
        ]
        result.append((day, *missed(events), (school, calendars[there[0]])))
    return result


def is_of_an_earlier_year(stay: Stay, rows: Rows, year_began: date) -> bool:
    """An open stay that nobody closed, where half of the open ones had begun this year."""
    entries = [row["entry_date"] for row in rows.get("school_enrollments", ())]
    is_open = [
        row["entry_date"] for row in rows.get("school_enrollments", ()) if not row.get("exit_date")
    ]
    if not entries or stay.first is None or stay.last is not None:
        return False
    half = sorted(is_open)[(len(is_open) - 1) // 2] if is_open else max(entries)
    begun = year_began - timedelta(days=60)
    return stay.first < begun <= half


def days_since(rows: Rows, place: tuple[str, str | None], day: date, settled: date) -> int:
    """How many days the calendar of a school has had after a day, up to `settled`."""
    own = [row for row in rows["calendar"] if (row["school_id"], row.get("calendar_code")) == place]
    year = max(row["school_year"] for row in own if row["date"] == day)
    return sum(row["school_year"] == year and day < row["date"] <= settled for row in own)


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
