"""A feed that stopped or shrank is not taken for the truth."""

from __future__ import annotations

from datetime import date, datetime, timedelta
from pathlib import Path

from records.loading.load_history import (
    STALE_AFTER,
    last_loads,
    load_warnings,
    loads,
    record_load,
    stale_attendance_since,
)
from records.loading.load_report import LoadReport
from tests.records.conftest import snapshot_of
from tests.serving import district

TODAY = date(2026, 4, 17)
NOW = datetime(2026, 4, 17, 7)


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
