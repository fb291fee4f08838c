"""School days and absences of every kind of stay, against a plain recomputation."""

from __future__ import annotations

import tempfile
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from features.build import build_features
from records.access.scope import pipeline_scope
from records.access.scoped_records import ScopedRecords
from records.canonical.schema import ATTENDANCE_STATUSES
from tests.features.attendance_reference import attendance_features, states
from tests.records.conftest import snapshot_of

FIRST = date(2025, 8, 18)
DAYS = [FIRST + timedelta(days=n) for n in range(150) if (FIRST + timedelta(days=n)).weekday() < 5]
SCHOOLS = ("k1", "k2")
IDS = ("s1", "s2", "s3")
CODES = st.sampled_from((None, "a", "b", "gone"))
Rows = dict[str, list[dict[str, Any]]]


@st.composite
def districts(draw: st.DrawFn) -> Rows:
    """Stays with gaps, at two schools at once and by several calendars, and unknown days."""
    holidays = draw(st.sets(st.sampled_from(DAYS), max_size=6))
    tracks: dict[str | None, set[date]] = {None: holidays}
    if draw(st.booleans()):
        breaks = [draw(st.sets(st.sampled_from(DAYS), max_size=15)) for _ in "ab"]
        tracks |= {code: holidays | away for code, away in zip("ab", breaks, strict=True)}
        tracks[None] = holidays.union(*breaks)
    silent = draw(
        st.lists(st.tuples(st.sampled_from(SCHOOLS), st.integers(0, 90), st.integers(1, 25)))
    )
    classmates = draw(st.sampled_from((0, 0, 25)))
    students = [
        {
            "student_id": student,
            "first_name": student,
            "school_id": draw(st.sampled_from((*SCHOOLS, None))),
        }
        for student in IDS
    ]
    students += [{"student_id": f"c{n:02}", "school_id": "k1"} for n in range(classmates)]
    stays = {}
    for student in IDS:
        if draw(st.booleans()):
            long_ago = FIRST - timedelta(days=draw(st.sampled_from((30, 300, 700))))
            stays[student, "k2", long_ago] = {
                "student_id": student,
                "school_id": "k2",
                "school_year": 2025,
                "entry_date": long_ago,
                "exit_date": None,
                "calendar_code": draw(CODES),
            }
        for first in draw(st.lists(st.integers(0, len(DAYS) - 1), max_size=3)):
            length = draw(st.integers(0, 60) | st.none())
            school = draw(st.sampled_from(SCHOOLS))
            stays[student, school, DAYS[first]] = {
                "student_id": student,
                "school_id": school,
                "school_year": 2026,
                "entry_date": DAYS[first],
                "exit_date": None if length is None else DAYS[first] + timedelta(days=length),
                "calendar_code": draw(CODES),
            }
    events = {}
    for _ in range(draw(st.integers(0, 40))):
        student, day = draw(st.sampled_from(IDS)), draw(st.sampled_from(DAYS))
        school, status = draw(st.sampled_from(SCHOOLS)), draw(st.sampled_from(ATTENDANCE_STATUSES))
        share = draw(st.sampled_from((None, 0.25, 0.5, 0.75)))
        events[student, school, day, status] = {
            "student_id": student,
            "school_id": school,
            "date": day,
            "status": status,
            "absent_share": share if status.startswith("absent") or status == "partial" else None,
        }
    late = {
        (e["student_id"], e["school_id"], e["date"])
        for e in events.values()
        if e["status"] in ("tardy", "present")
    }
    kept = [
        event
        for event in events.values()
        if not (
            event["status"].startswith("absent")
            and event["absent_share"] is None
            and (event["student_id"], event["school_id"], event["date"]) in late
        )
    ]
    for n, day in enumerate(DAYS):
        if classmates and not any(
            school == "k1" and first <= n < first + length for school, first, length in silent
        ):
            kept += [
                {
                    "student_id": f"c{(n + k) % classmates:02}",
                    "school_id": "k1",
                    "date": day,
                    "status": "tardy",
                    "absent_share": None,
                }
                for k in range(2)
            ]
    return {
        "schools": [{"school_id": school, "name": school} for school in SCHOOLS],
        "calendar": [
            {"school_id": school, "date": day, "school_year": 2026, "calendar_code": code}
            for school in SCHOOLS
            for code, closed in (tracks if school == "k1" else {None: holidays}).items()
            for day in DAYS
            if day not in closed
        ],
        "students": students,
        "school_enrollments": list(stays.values()),
        "attendance_events": kept,
    }


@settings(max_examples=40, deadline=None, phases=[Phase.explicit, Phase.generate])
@given(
    rows=districts(),
    place=st.integers(3, len(DAYS) - 1),
    is_today=st.booleans(),
    later=st.sampled_from((0, 0, 300)),
)
def test_attendance_agrees_with_a_plain_recomputation(
    rows: Rows, place: int, is_today: bool, later: int
):
    as_of = DAYS[place] + timedelta(days=later)
    settled = as_of - timedelta(days=1) if is_today else as_of
    with tempfile.TemporaryDirectory() as folder:
        snapshot = snapshot_of(rows, Path(folder))
        taken = snapshot.table("attendance_taken").to_pandas()
        records = ScopedRecords(snapshot, pipeline_scope(snapshot, "features", as_of))
        frame = build_features(records, as_of, settled)
    if rows["attendance_events"]:
        by_day = {(row.school_id, row.date.date()): row.state for row in taken.itertuples()}
        assert by_day == states(rows)
    for student in IDS:
        expected = attendance_features(rows, student, as_of, settled)
        row = frame.loc[student, list(expected)].to_dict()
        assert row == pytest.approx(expected, nan_ok=True), student
