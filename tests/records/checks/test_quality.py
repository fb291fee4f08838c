"""Quality checks count odd rows, and gaps in attendance are found."""

from __future__ import annotations

from datetime import date
from pathlib import Path

from records.canonical.schema import TABLES
from records.checks.quality import QUALITY_CHECKS, attendance_gaps, quality_findings
from records.snapshots.snapshot import Snapshot
from tests.records.conftest import snapshot_of
from tests.serving import district
from tests.serving.district import school_days

TODAY = date(2026, 4, 17)


def finding_counts(snapshot: Snapshot) -> dict[str, int]:
    return {finding.words: finding.rows for finding in quality_findings(snapshot, TODAY)}


def test_every_check_is_about_columns_that_exist(tmp_path: Path):
    rows = district.rows()
    for name in TABLES:
        rows.setdefault(name, [])
    rows["school_enrollments"] = [
        {
            "student_id": "s01",
            "school_id": "k1",
            "school_year": 2026,
            "entry_date": date(2025, 9, 1),
            "exit_date": date(2025, 8, 1),
        }
    ]
    rows["gradebook_entries"] = [{"student_id": "s01", "entry_id": "e1"}]
    snapshot = snapshot_of(rows, tmp_path)
    counts = finding_counts(snapshot)
    assert {check.table for check in QUALITY_CHECKS} <= {
        name for name in TABLES if snapshot.manifest["rows"].get(name)
    }
    assert counts["enrollments that end before they begin"] == 1
    assert counts["assignments without a grade"] == 1
    assert counts["students with no enrollment at a school"] == 11


def test_holes_impossible_dates_and_contradictions_are_counted(tmp_path: Path):
    rows = district.rows()
    rows["students"][0] |= {
        "birth_date": date(1990, 1, 1),
        "school_id": "nowhere",
        "first_name": None,
    }
    rows["attendance_events"] += [
        {"student_id": "s02", "school_id": "k1", "date": date(2026, 4, 18), "status": "tardy"},
        {"student_id": "s02", "school_id": "k1", "date": date(2026, 5, 1), "status": "tardy"},
    ]
    rows["course_grades"][0]["grade"] = 900.0
    rows["service_sessions"][0] |= {"minutes": 600.0, "date": date(2026, 6, 1)}
    rows["service_enrollments"][0] |= {"end_date": date(2025, 9, 1), "program_id": "p9"}
    counts = finding_counts(snapshot_of(rows, tmp_path))
    assert counts["students without a name"] == 1
    assert counts["students younger than 2 or older than 22"] == 1
    assert counts["students at a school that is not in the list of schools"] == 1
    assert counts["attendance dated in the future"] == 2
    assert counts["attendance on a day without classes at that school"] == 2, (
        "a Saturday, and a day after the calendar"
    )
    assert counts["grades below 0 or above 110"] == 1
    assert counts["sessions longer than eight hours or shorter than zero"] == 1
    assert counts["sessions dated in the future"] == 1
    assert counts["program enrollments that end before they begin"] == 1
    assert counts["enrollments in a program that is not in the list of programs"] == 1
    assert counts["sessions of students who were not in that program"] == 5, (
        "five of s01, whose enrollment names p9"
    )
    assert all(
        0 < finding.share <= 1 for finding in quality_findings(Snapshot.current(tmp_path), TODAY)
    )


def test_school_days_without_a_single_record_are_an_attendance_gap(tmp_path: Path):
    rows = district.rows()
    rows["attendance_events"] = [
        {"student_id": "s02", "school_id": "k1", "date": day, "status": "tardy"}
        for day in school_days()
        if not date(2026, 3, 2) <= day <= date(2026, 3, 6) and day <= date(2026, 4, 14)
    ]
    gaps = attendance_gaps(snapshot_of(rows, tmp_path), TODAY)
    assert [(gap.first, gap.last, gap.days) for gap in gaps] == [
        (date(2026, 4, 15), date(2026, 4, 17), 3),
        (date(2026, 3, 2), date(2026, 3, 6), 5),
    ]
