"""Quality checks count odd rows; a feed that stopped or shrank is not taken for the truth."""

from __future__ import annotations

from datetime import date, datetime, timedelta
from pathlib import Path

from records.canonical.schema import TABLES
from records.loading.load_history import (
    STALE_AFTER,
    last_loads,
    load_warnings,
    loads,
    record_load,
    stale_attendance_since,
)
from records.loading.load_report import LoadReport
from records.loading.quality import QUALITY_CHECKS, attendance_gaps, quality_findings
from records.snapshots.snapshot import Snapshot
from tests.records.conftest import snapshot_of
from tests.serving import district
from tests.serving.district import school_days

TODAY = date(2026, 4, 17)
NOW = datetime(2026, 4, 17, 7)


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


def big_district(students: int) -> district.Rows:
    return {
        "students": [{"student_id": f"s{i}"} for i in range(students)],
        "attendance_events": [
            {
                "student_id": "s0",
                "school_id": "k1",
                "date": date(2026, 4, 1),
                "status": "absent_excused",
            }
        ],
    }


def test_a_feed_with_a_fifth_fewer_students_is_doubted(tmp_path: Path):  # R42
    current, enough, too_few = (
        snapshot_of(big_district(n), tmp_path / str(n)) for n in (100, 80, 79)
    )
    assert load_warnings(current, None) == []
    assert load_warnings(enough, current) == []
    assert load_warnings(too_few, current) == [
        "it has 79 students, and the current records have 100"
    ]


def test_a_new_day_on_which_half_the_district_is_absent_is_doubted(tmp_path: Path):  # R42
    current = snapshot_of(big_district(100), tmp_path / "current")
    for absent, doubted in ((50, False), (51, True)):
        rows = big_district(100)
        for day in (date(2026, 3, 31), date(2026, 4, 2)):
            rows["attendance_events"] += [
                {
                    "student_id": f"s{i}",
                    "school_id": "k1",
                    "date": day,
                    "status": "absent_unexcused",
                }
                for i in range(absent)
            ]
        warnings = load_warnings(snapshot_of(rows, tmp_path / str(absent)), current)
        expected = ["on 2026-04-02 51 of 100 students are absent"] if doubted else []
        assert warnings == expected, "an older day is history"


def test_loads_are_recorded_and_a_stale_feed_is_known(tmp_path: Path):  # R42
    (tmp_path / "snapshots").mkdir()
    report = LoadReport("oneroster", snapshot_id="abc")
    assert stale_attendance_since(tmp_path, NOW) is None, "a home from before loads were recorded"
    record_load(tmp_path, report, ("students", "attendance_events"), NOW)
    later = LoadReport("service-history", snapshot_id="abd")
    record_load(tmp_path, later, ("service_sessions",), NOW + timedelta(hours=30))
    assert stale_attendance_since(tmp_path, NOW + STALE_AFTER) is None
    assert stale_attendance_since(tmp_path, NOW + STALE_AFTER + timedelta(seconds=1)) == NOW
    assert [load.source for load in loads(tmp_path)] == ["service-history", "oneroster"]
    assert last_loads(tmp_path)["oneroster", None].at == NOW


def test_a_torn_line_of_the_load_history_loses_no_other(tmp_path: Path):
    (tmp_path / "snapshots").mkdir()
    record_load(tmp_path, LoadReport("oneroster", snapshot_id="abc"), ("students",), NOW)
    with (tmp_path / "snapshots" / "loads.jsonl").open("a") as log:
        log.write('{"at": "2026-')
    assert len(loads(tmp_path)) == 1
    record_load(tmp_path, LoadReport("edfi", snapshot_id="abd"), ("students",), NOW)
    assert [load.source for load in loads(tmp_path)] == ["edfi", "oneroster"]
