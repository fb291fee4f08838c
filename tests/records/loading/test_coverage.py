"""On which days a school took attendance, from what it recorded until then."""

from __future__ import annotations

from datetime import date, timedelta
from pathlib import Path
from typing import Any

from records.checks.quality import not_on_record, silent_schools
from records.snapshots.snapshot import Snapshot
from tests.records.conftest import snapshot_of

FIRST = date(2025, 9, 1)
DAYS = [FIRST + timedelta(days=n) for n in range(40) if (FIRST + timedelta(days=n)).weekday() < 5]
Rows = dict[str, list[dict[str, Any]]]


def district(sizes: dict[str, int], entries: dict[str, dict[date, int]]) -> Rows:
    """Schools of some sizes, with so many absences on each day."""
    return {
        "schools": [{"school_id": school, "name": school.title()} for school in sizes],
        "calendar": [
            {"school_id": school, "date": day, "school_year": 2026}
            for school in sizes
            for day in DAYS
        ],
        "students": [
            {"student_id": f"{school}{n:03}", "first_name": "A", "school_id": school}
            for school, size in sizes.items()
            for n in range(size)
        ],
        "attendance_events": [
            {
                "student_id": f"{school}{n:03}",
                "school_id": school,
                "date": day,
                "status": "absent_excused",
            }
            for school, by_day in entries.items()
            for day, absent in by_day.items()
            for n in range(absent)
        ],
    }


def states_of(snapshot: Snapshot, school: str) -> list[str]:
    rows = snapshot.table("attendance_taken").to_pandas()
    return rows[rows["school_id"] == school].sort_values("date")["state"].tolist()


def test_a_large_school_without_an_entry_took_no_attendance(tmp_path: Path):
    absences = dict.fromkeys(DAYS, 12)
    silent = DAYS[10:13]
    snapshot = snapshot_of(
        district({"large": 300}, {"large": {d: n for d, n in absences.items() if d not in silent}}),
        tmp_path,
    )
    assert states_of(snapshot, "large") == ["missing" if day in silent else "taken" for day in DAYS]


def test_a_planned_absence_does_not_mean_that_attendance_was_taken(tmp_path: Path):
    absences = dict.fromkeys(DAYS[:-1], 20) | {DAYS[-1]: 1}
    snapshot = snapshot_of(district({"large": 400}, {"large": absences}), tmp_path)
    assert states_of(snapshot, "large") == ["taken"] * (len(DAYS) - 1) + ["missing"]


def test_a_small_school_may_have_a_day_without_absences(tmp_path: Path):
    snapshot = snapshot_of(district({"small": 10}, {"small": {DAYS[0]: 1, DAYS[-1]: 1}}), tmp_path)
    assert states_of(snapshot, "small") == ["taken", *["quiet"] * (len(DAYS) - 2), "taken"]


def test_a_day_on_which_nobody_in_the_district_has_an_entry_counts_nowhere(tmp_path: Path):
    holiday = DAYS[5]
    absences = {day: 15 for day in DAYS if day != holiday}
    snapshot = snapshot_of(
        district({"large": 300, "small": 15}, {"large": absences, "small": {DAYS[0]: 1}}), tmp_path
    )
    assert states_of(snapshot, "small")[5] == "missing"
    assert states_of(snapshot, "small").count("missing") == 1


def test_the_state_of_a_day_rests_on_nothing_after_it(tmp_path: Path):
    absences = {day: (n * 7) % 23 for n, day in enumerate(DAYS) if n % 4}
    sizes, cut = {"large": 300, "small": 40}, 15
    entries = {"large": absences, "small": {day: n % 3 for n, day in enumerate(DAYS)}}
    until = {
        school: {day: n for day, n in by_day.items() if day <= DAYS[cut]}
        for school, by_day in entries.items()
    }
    whole = snapshot_of(district(sizes, entries), tmp_path / "whole")
    part = snapshot_of(district(sizes, until), tmp_path / "part")
    for school in sizes:
        assert states_of(whole, school)[: cut + 1] == states_of(part, school)[: cut + 1]


def test_without_any_entry_nothing_is_known_of_any_day(tmp_path: Path):
    snapshot = snapshot_of(district({"large": 300}, {}), tmp_path)
    assert "attendance_taken" not in snapshot.manifest["rows"]


def test_a_school_that_has_stopped_sending_attendance_is_named(tmp_path: Path):
    absences = dict.fromkeys(DAYS, 12)
    stopped = {day: n for day, n in absences.items() if day <= DAYS[20]}
    snapshot = snapshot_of(
        district(
            {"elm": 300, "oak": 300, "new": 300, "small": 15},
            {"elm": stopped, "oak": absences, "small": {DAYS[0]: 1}},
        ),
        tmp_path,
    )
    silent = silent_schools(snapshot, DAYS[-1] + timedelta(days=1))
    assert [(school.name, school.since, school.days, school.is_unknown) for school in silent] == [
        ("Elm", DAYS[20], len(DAYS) - 21, True),
        ("New", None, len(DAYS), True),
        ("Small", DAYS[0], len(DAYS) - 1, False),
    ]
    earlier = silent_schools(snapshot, DAYS[22])
    assert [(school.name, school.days) for school in earlier] == [("New", 22), ("Small", 21)]
    # Of 15 students five absences should have come within seven school days.
    assert "Small" not in {school.name for school in silent_schools(snapshot, DAYS[7])}


def test_what_no_source_speaks_of_is_named(tmp_path: Path):
    snapshot = snapshot_of(district({"oak": 30}, {"oak": dict.fromkeys(DAYS, 2)}), tmp_path)
    named = not_on_record(snapshot)
    assert "attendance" not in named
    assert {"course grades", "behavior incidents", "English learners", "school meals"} <= set(named)
    assert "attendance" in not_on_record(snapshot_of(district({"oak": 30}, {}), tmp_path / "none"))


def with_presence(made: Rows, school: str, size: int, days: list[date]) -> Rows:
    """The district with an entry of each student of a school who has none, on these days."""
    taken = {(row["student_id"], row["date"]) for row in made["attendance_events"]}
    made["attendance_events"] += [
        {"student_id": student, "school_id": school, "date": day, "status": "present"}
        for day in days
        for n in range(size)
        if ((student := f"{school}{n:03}"), day) not in taken
    ]
    return made


def test_a_school_that_records_only_who_was_there_says_nothing_of_absences(tmp_path: Path):
    made = district({"large": 60, "small": 10}, {"small": dict.fromkeys(DAYS, 1)})
    made = with_presence(made, "large", 57, DAYS)  # three are never there
    snapshot = snapshot_of(made, tmp_path)
    # Of 57 presences nobody can say yet whether absences are missing.
    assert states_of(snapshot, "large") == ["taken"] + ["missing"] * (len(DAYS) - 1)
    assert set(states_of(snapshot, "small")) == {"taken"}
    [note] = [note for note in notes_of(snapshot) if "hardly an absence" in note]
    assert note.endswith(": large")


def test_at_a_small_school_it_is_said_and_the_days_stay_as_they_are(tmp_path: Path):
    """Otherwise the absence of one child would change what is said of another."""
    made = district({"small": 8, "large": 60}, {"large": dict.fromkeys(DAYS, 4)})
    snapshot = snapshot_of(with_presence(made, "small", 7, DAYS), tmp_path)
    assert set(states_of(snapshot, "small")) == {"taken"}
    [note] = [note for note in notes_of(snapshot) if "hardly an absence" in note]
    assert note.endswith(
        "with fewer than 20 students such a day counts as attended, so ask them: small"
    )


def test_a_school_that_records_both_is_silent_only_until_its_first_absence(tmp_path: Path):
    made = district({"large": 60}, {"large": dict.fromkeys(DAYS[4:], 4)})
    snapshot = snapshot_of(with_presence(made, "large", 60, DAYS), tmp_path)
    # Of 60 presences nobody can say yet whether absences are missing.
    expected = ["taken"] + ["missing"] * 3 + ["taken"] * (len(DAYS) - 4)
    assert states_of(snapshot, "large") == expected
    assert not any("hardly an absence" in note for note in notes_of(snapshot))


def test_a_few_presences_beside_a_list_of_absences_say_nothing(tmp_path: Path):
    made = district({"large": 60}, {"large": dict.fromkeys(DAYS[1:], 4)})
    snapshot = snapshot_of(with_presence(made, "large", 5, DAYS[:1]), tmp_path)
    assert set(states_of(snapshot, "large")) == {"taken"}


def notes_of(snapshot: Snapshot) -> list[str]:
    return [note for source in snapshot.manifest["sources"] for note in source["notes"]]
