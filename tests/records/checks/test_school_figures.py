"""The figures of a school are what one counts by hand, and say unknown where nothing is known."""

from __future__ import annotations

from datetime import date, datetime, timedelta
from pathlib import Path

import pytest

from records.checks.measures import MEASURES, MEASURES_BY_KEY, Silent, figure_rows
from records.checks.plausible_ranges import declared_ranges
from records.checks.school_figures import (
    GROUPED_BY,
    SchoolFigures,
    figures_before,
    keep_figures,
    school_figures,
)
from records.loading.load_history import record_load
from records.loading.load_report import LoadReport
from records.suppression.small_numbers import SmallNumbers
from tests.records.conftest import snapshot_of
from tests.records.loading.test_coverage import DAYS, Rows, district

AFTER = DAYS[-1] + timedelta(days=1)
PUPILS = 40


def school(**changes: list[dict[str, object]]) -> Rows:
    """Elm, with 40 students and one absent on each day, and Oak, where nothing is known."""
    rows = district({"elm": PUPILS, "oak": 12}, {"elm": dict.fromkeys(DAYS, 1)})
    return {**rows, **changes}  # type: ignore[dict-item]


def figures(rows: Rows, home: Path, day: date = AFTER, school_id: str = "elm") -> SchoolFigures:
    return school_figures(snapshot_of(rows, home), day).schools[school_id]


def stay(number: int, entry: date, leave: date | None = None, where: str = "elm"):
    return {
        "student_id": f"elm{number:03}",
        "school_id": where,
        "school_year": 2026,
        "entry_date": entry,
        "exit_date": leave,
    }


def test_attendance_is_of_the_days_that_count_and_of_those_alone(tmp_path: Path):
    elm = figures(school(), tmp_path)
    assert (elm.name, elm.enrolled, elm.attended_by) == ("Elm", PUPILS, PUPILS)
    assert (elm.school_days, elm.days_known, elm.last_taken) == (len(DAYS), len(DAYS), DAYS[-1])
    assert elm.attendance == pytest.approx(1 - len(DAYS) / (PUPILS * len(DAYS)))
    assert (elm.judged, elm.chronic) == (PUPILS, 1)


def test_days_without_attendance_are_not_days_attended(tmp_path: Path):
    rows = district({"elm": 300}, {"elm": dict.fromkeys(DAYS[:20], 15)})
    elm = figures(rows, tmp_path)
    assert (elm.school_days, elm.days_known, elm.last_taken) == (len(DAYS), 20, DAYS[19])
    assert elm.attendance == pytest.approx(1 - 15 / 300)


def test_a_student_is_counted_for_the_days_of_their_stays_once_each(tmp_path: Path):
    stays = [stay(n, DAYS[0]) for n in range(1, PUPILS)]
    # Two stays that overlap, and days before the first, on which nobody missed anything.
    stays += [stay(0, DAYS[5], DAYS[14]), stay(0, DAYS[10], DAYS[24])]
    elm = figures(school(school_enrollments=stays), tmp_path)
    assert elm.enrolled == PUPILS - 1
    assert elm.attendance == pytest.approx(1 - 20 / ((PUPILS - 1) * len(DAYS) + 20))
    assert (elm.judged, elm.chronic) == (PUPILS, 1)


def test_on_a_day_at_two_schools_an_absence_counts_where_it_was_recorded(tmp_path: Path):
    stays = [stay(n, DAYS[0]) for n in range(PUPILS)] + [stay(5, DAYS[10], None, "oak")]
    stays += [stay(n, DAYS[0], None, "oak") | {"student_id": f"oak{n:03}"} for n in range(12)]
    rows = school(school_enrollments=stays)
    rows["attendance_events"] += [
        {"student_id": "elm005", "school_id": "oak", "date": day, "status": "absent_excused"}
        for day in (DAYS[2], DAYS[12])
    ]
    found = school_figures(snapshot_of(rows, tmp_path), AFTER).schools
    # Before the second stay began, the entry of Oak is about the only school there was.
    assert found["elm"].attendance == pytest.approx(1 - (30 + 1) / (PUPILS * 30))
    assert (found["oak"].enrolled, found["oak"].days_known) == (13, 30)
    assert found["oak"].attendance == pytest.approx(1 - 1 / (12 * 30 + 20))


def test_parts_of_days_add_up_to_no_more_than_one(tmp_path: Path):
    def entry(number: int, day: date, share: float | None, status: str, part: str = ""):
        return {
            "student_id": f"elm{number:03}",
            "school_id": "elm",
            "date": day,
            "status": status,
            "absent_share": share,
            "part": part or None,
        }

    events = [entry(39, day, None, "tardy") for day in DAYS]
    events += [
        entry(1, DAYS[0], 0.5, "absent_excused", "am"),
        entry(1, DAYS[0], 0.75, "absent_excused", "pm"),
        entry(2, DAYS[1], 0.25, "partial"),
        entry(3, DAYS[1], None, "partial"),
        entry(4, DAYS[1], None, "absent_unexcused"),
    ]
    elm = figures(school(attendance_events=events), tmp_path)
    assert elm.attendance == pytest.approx(1 - (1 + 0.25 + 1) / (PUPILS * len(DAYS)))
    assert elm.chronic == 0


def test_a_tenth_of_at_least_ten_days_is_chronic(tmp_path: Path):
    stays = [stay(n, DAYS[0]) for n in range(2, PUPILS)]
    stays += [stay(0, DAYS[0], DAYS[8]), stay(1, DAYS[0], DAYS[9])]
    absences = [
        {"student_id": f"elm{n:03}", "school_id": "elm", "date": day, "status": "absent_excused"}
        for n, days in {0: DAYS[:5], 1: DAYS[:1], 2: DAYS[:2], 3: DAYS[:3], 4: DAYS}.items()
        for day in days
    ]
    elm = figures(school(school_enrollments=stays, attendance_events=absences), tmp_path)
    assert len(DAYS) == 30
    # Of 9 days nobody is judged; 1 of 10, 3 of 30 and 30 of 30 are chronic, 2 of 30 is not.
    assert (elm.judged, elm.chronic) == (PUPILS - 1, 3)


def test_marks_are_those_of_the_last_period_without_the_ends(tmp_path: Path):
    marks = [
        {
            "student_id": f"elm{n:03}",
            "course": "Art",
            "school_year": 2026,
            "period": period,
            "date": DAYS[9 * period],
            "grade": float(grade),
        }
        for n in range(PUPILS)
        for period, grade in ((1, 20), (2, 50 + n), (3, 99))
    ]
    elm = figures(school(course_grades=marks), tmp_path, DAYS[20])
    assert (elm.marked, elm.lowest, elm.highest) == (PUPILS, 59, 80)
    assert elm.mean_mark == pytest.approx(50 + (PUPILS - 1) / 2)
    few = figures(school(course_grades=marks[: 3 * 19]), tmp_path, DAYS[20])
    assert (few.marked, few.lowest, few.highest) == (19, None, None)
    assert MEASURES_BY_KEY["lowest_mark"].value(few, 10) is Silent.WITHHELD
    assert MEASURES_BY_KEY["mean_mark"].value(few, 10) == pytest.approx(59)


def test_groups_are_as_of_the_day_and_unknown_is_not_no(tmp_path: Path):
    facts = [
        {"student_id": f"elm{n:03}", "english_learner": n < 12 if n < 30 else None, "sex": "female"}
        for n in range(35)
    ]
    periods = [
        {"student_id": "elm000", "first_date": DAYS[0], "last_date": DAYS[2]},  # no longer
        {"student_id": "elm031", "first_date": DAYS[0]},  # now
        {"student_id": "elm032", "first_date": AFTER + timedelta(days=5)},  # not yet known
    ]
    elm = figures(school(characteristics=facts, english_learner_periods=periods), tmp_path)
    assert elm.with_flag["english_learner"] == 11 + 1
    assert elm.without_flag["english_learner"] == 18 + 1
    assert elm.unknown["english_learner"] == PUPILS - 31
    assert (elm.unknown["sex"], elm.unknown["meal_eligible"]) == (PUPILS - 35, PUPILS)


def test_active_program_enrollments_are_counted(tmp_path: Path):
    services = [
        {
            "student_id": f"elm{n:03}",
            "program_id": program,
            "organization_id": "o1",
            "start_date": start,
            "end_date": end,
        }
        for n, program, start, end in (
            (0, "p1", DAYS[0], None),
            (0, "p2", DAYS[0], AFTER),
            (1, "p1", DAYS[0], DAYS[5]),
            (2, "p1", AFTER + timedelta(days=1), None),
        )
    ]
    elm = figures(school(service_enrollments=services), tmp_path)
    assert (elm.in_programs, elm.program_enrollments) == (1, 2)
    assert MEASURES_BY_KEY["program_enrollments"].value(elm, 10) is Silent.WITHHELD


def test_what_was_not_loaded_is_unknown(tmp_path: Path):
    rows: Rows = {
        "schools": [{"school_id": "elm"}],
        "students": [
            {"student_id": f"e{n}", "first_name": "A", "school_id": "elm"} for n in range(30)
        ],
    }
    elm = figures(rows, tmp_path)
    values = {measure.key: measure.value(elm, 10) for measure in MEASURES}
    enrolled = values.pop("enrolled")
    assert (elm.name, enrolled) == ("elm", 30)
    unknown = {f"unknown_{name}" for name in GROUPED_BY}
    assert {values[key] for key in unknown} == {1.0}
    assert {value for key, value in values.items() if key not in unknown} == {Silent.UNKNOWN}


def test_what_is_about_too_few_students_is_withheld():
    small = SchoolFigures("s", "S", 9, 10, 10, DAYS[0], 9, 0.9, 9, 1, 9, None, None, 80.0)
    shown = {measure.key: measure.value(small, 10) for measure in MEASURES}
    for key in ("enrolled", "attendance", "chronic_absence", "mean_mark", "lowest_mark"):
        assert shown[key] is Silent.WITHHELD, key
    large = SchoolFigures(
        "l", "L", 100, with_flag={"english_learner": 91}, without_flag={"english_learner": 9}
    )
    share = MEASURES_BY_KEY["english_learner"]
    assert share.value(large, 10) is Silent.WITHHELD
    assert share.value(large, 5) == pytest.approx(0.91)


def test_the_last_load_and_the_other_schools_stand_beside(tmp_path: Path):
    first = snapshot_of(school(), tmp_path)
    now = datetime(2025, 10, 20, 7)
    record_load(tmp_path, LoadReport("rows", snapshot_id=first.id), ("students",), now)
    keep_figures(tmp_path, first, school_figures(first, DAYS[-1]))
    assert figures_before(tmp_path, first) is None
    rows = school()
    rows["students"] = rows["students"][:30] + rows["students"][40:]
    second = snapshot_of(rows, tmp_path)
    record_load(tmp_path, LoadReport("rows", snapshot_id=second.id), ("students",), now)
    before = figures_before(tmp_path, second)
    assert before == school_figures(first, DAYS[-1])
    assert figures_before(tmp_path, second, SmallNumbers(20)) is None
    figures_now = school_figures(second, AFTER)
    row = figure_rows("elm", figures_now, before, declared_ranges())[0]
    assert (row.words, row.now, row.before, row.others) == (
        "The number of students enrolled",
        "30",
        "40",
        "12",
    )


def test_kept_figures_name_no_student(tmp_path: Path):
    snapshot = snapshot_of(school(), tmp_path)
    kept = keep_figures(tmp_path, snapshot, school_figures(snapshot, AFTER)).read_text()
    assert "elm0" not in kept and '"Elm"' in kept
