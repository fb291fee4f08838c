"""Progress counted by hand, what a district lets count, and what becomes of students of whom it is
not known.
"""

from __future__ import annotations

from dataclasses import replace
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from records.access.scope import pipeline_scope
from records.access.scoped_records import ScopedRecords
from records.snapshots.snapshot import Snapshot
from tests.records.conftest import snapshot_of
from training.episodes.censoring import impute_censored
from training.episodes.episodes import Episodes, NotEnoughEvidence, build_episodes, require_evidence
from training.episodes.outcome import (
    MEASURE_UNITS,
    OUTCOME_FILE,
    OutcomeDefinition,
    OutcomeError,
    progress_points,
)
from training.estimation.pseudo_outcomes import NONE

SCHOOL_DAYS = [day for n in range(280) if (day := date(2025, 9, 1) + timedelta(n)).weekday() < 5]
DECIDED = SCHOOL_DAYS[40]
ALL = replace(OutcomeDefinition.declared(), weights=dict.fromkeys(MEASURE_UNITS, 1.0))
TESTED = 30


def student(name: str) -> dict[str, Any]:
    return {"student_id": name, "first_name": name, "school_id": "k1", "grade_level": 4}


def stay(name: str, last: date | None = None) -> dict[str, Any]:
    return {
        "student_id": name,
        "school_id": "k1",
        "school_year": 2026,
        "grade_level": 4,
        "entry_date": SCHOOL_DAYS[0],
        "exit_date": last,
    }


def mark(name: str, course: str, period: int, day: date, grade: float) -> dict[str, Any]:
    return {
        "student_id": name,
        "course": course,
        "school_year": 2026,
        "period": period,
        "date": day,
        "grade": grade,
    }


def start(name: str, program: str, after: int, last: date | None = None) -> dict[str, Any]:
    return {
        "student_id": name,
        "program_id": program,
        "organization_id": "o",
        "end_date": last,
        "start_date": DECIDED + timedelta(days=after),
    }


SOMEBODY_LATE = [
    {"student_id": "t0", "school_id": "k1", "date": day, "status": "tardy"} for day in SCHOOL_DAYS
]
"""An entry on each day: the school took attendance."""


def district(folder: Path, **tables: list[dict[str, Any]]) -> Snapshot:
    names = ["s1", "s2", "gone", *(f"t{n}" for n in range(TESTED))]
    rows = {
        "schools": [{"school_id": "k1", "name": "K"}],
        "calendar": [{"school_id": "k1", "date": day, "school_year": 2026} for day in SCHOOL_DAYS],
        "students": [student(name) for name in names],
        "school_enrollments": [
            stay(name, DECIDED + timedelta(days=10) if name == "gone" else None) for name in names
        ],
        "programs": [
            {"program_id": name, "organization_id": "o", "name": name, "support": name}
            for name in ("food", "tutoring", "mentoring")
        ],
        "attendance_events": [
            {
                "student_id": f"t{TESTED - 1}",
                "school_id": "k1",
                "date": SCHOOL_DAYS[-1],
                "status": "absent_excused",
            }
        ],
    }
    return snapshot_of(rows | tables, folder)


def points(snapshot: Snapshot, outcome: OutcomeDefinition = ALL) -> pd.DataFrame:
    records = ScopedRecords(snapshot, pipeline_scope(snapshot, "training", DECIDED))
    return progress_points(records, DECIDED, outcome)


def test_each_measure_is_its_change_counted_by_hand(tmp_path: Path):
    end = DECIDED + timedelta(days=ALL.window_days)
    before = [day for day in SCHOOL_DAYS if day <= DECIDED]
    after = [day for day in SCHOOL_DAYS if DECIDED < day <= end]
    missed = [*before[:8], *after[:3]]
    scores = [*((f"t{n}", 100.0 + 10 * n) for n in range(TESTED)), ("s1", 200.0)]
    points_by_student = points(
        district(
            tmp_path,
            attendance_events=[
                {"student_id": "s1", "school_id": "k1", "date": day, "status": "absent_unexcused"}
                for day in missed
            ]
            + SOMEBODY_LATE,
            course_grades=[
                mark("s1", "Math", 1, before[20], 50),
                mark("s1", "Art", 1, before[20], 80),
                mark("s1", "Math", 2, after[5], 70),
                mark("s1", "Art", 2, after[5], 90),
                mark("s1", "Math", 3, end + timedelta(days=1), 0),
            ],
            assessments=[
                {
                    "student_id": name,
                    "assessment": "reading",
                    "date": before[0],
                    "score": score,
                    "measure": "raw",
                }
                for name, score in scores
            ]
            + [
                {
                    "student_id": "s1",
                    "assessment": "reading",
                    "date": after[9],
                    "score": 230.0,
                    "measure": "raw",
                }
            ],
            behavior_incidents=[
                {"student_id": "s1", "incident_id": f"i{n}", "date": day}
                for n, day in enumerate([before[3], before[3], after[0], after[1], after[2]])
            ],
        )
    )
    own = points_by_student.loc["s1"]
    assert own["attendance"] == pytest.approx(100 * (8 / len(before) - 3 / len(after)))
    assert own["grades"] == pytest.approx(80 - 65)
    assert own["courses_passed"] == pytest.approx(100 - 50)
    assert own["assessments"] == pytest.approx(
        10 * 30 / np.std([score for _, score in scores], ddof=1)
    )
    assert own["incident_free_days"] == pytest.approx(100 * (1 / len(before) - 3 / len(after)))
    assert points_by_student.loc["s2", "attendance"] == 0
    assert points_by_student.loc["s2", ["grades", "courses_passed", "assessments"]].isna().all()


def test_days_after_a_student_left_are_not_days_attended(tmp_path: Path):
    points_by_student = points(district(tmp_path))
    assert np.isnan(points_by_student.loc["gone", "attendance"]) and np.isnan(
        points_by_student.loc["gone", "incident_free_days"]
    )


def test_a_weight_of_zero_leaves_a_measure_out_and_others_scale(tmp_path: Path):
    outcome = replace(ALL, weights=dict.fromkeys(MEASURE_UNITS, 0.0) | {"attendance": 0.5})
    points_by_student = points(
        district(
            tmp_path,
            attendance_events=[
                {"student_id": "s2", "school_id": "k1", "date": day, "status": "absent_excused"}
                for day in SCHOOL_DAYS[:4]
            ]
            + SOMEBODY_LATE,
        ),
        outcome,
    )
    assert list(points_by_student.columns) == ["attendance"]
    assert points_by_student.loc["s2", "attendance"] == pytest.approx(0.5 * 100 * 4 / 41)


def test_the_choice_is_the_first_support_that_starts_and_is_new(tmp_path: Path):
    services = [
        start("s1", "food", -20),
        start("s1", "tutoring", 5),
        start("s1", "mentoring", 9),
        start("s2", "food", 3),
        start("s2", "tutoring", 3),
        start("t1", "food", -20),
        start("t2", "tutoring", 30),
        start("t3", "food", 25),
        start("t4", "food", -20),
        start("t4", "food", 7),
        start("t5", "food", -20, DECIDED),
        start("t5", "food", 7),
    ]
    episodes = build_episodes(district(tmp_path, service_enrollments=services))
    episodes = episodes.take(np.flatnonzero(episodes.decision_date == DECIDED).astype(np.intp))
    chosen = dict(zip(episodes.student, episodes.support, strict=True))
    assert (chosen["s1"], chosen["t3"], chosen["t5"]) == ("tutoring", "food", "food")
    assert "s2" not in chosen, "two different supports on one day say nothing of either"
    assert chosen["t1"] == chosen["t2"] == chosen["t4"] == NONE
    assert episodes.features["services_active"][episodes.student == "s1"].tolist() == [1.0]
    moved = dict(zip(episodes.student, episodes.moved_away, strict=True))
    assert [name for name, left in moved.items() if left] == ["gone"]
    assert set(episodes.school) == {"k1"}


def test_schools_are_the_clusters_where_there_are_enough_of_them():
    rows = 60
    episodes = Episodes(
        pd.DataFrame({"x": np.arange(rows, dtype="float64")}),
        pd.Series([f"s{n}" for n in range(rows)]),
        pd.Series([DECIDED] * rows),
        pd.Series([NONE] * rows),
        pd.Series(np.zeros(rows)),
        school=pd.Series([f"k{n % 12}" for n in range(rows)]),
    )
    assert episodes.clustered_by_school().cluster.tolist() == episodes.school.tolist()
    with pytest.raises(
        NotEnoughEvidence, match="the episodes are of 5 schools; folds by school need 10"
    ):
        episodes.take(np.arange(5, dtype=np.intp)).clustered_by_school()


def censored(
    seed: int, rows: int = 8_000
) -> tuple[pd.DataFrame, pd.Series, pd.DataFrame, pd.Series]:
    """Half are helped by 2 points. Those who do badly are more often not known, most of all without
    the support.
    """
    rng = np.random.default_rng(seed)
    features = pd.DataFrame({"x": rng.normal(size=rows), "other": rng.normal(size=rows)})
    helped = rng.random(rows) < 0.5
    value = 3 * features["x"] + 2 * helped + rng.normal(size=rows)
    stays = rng.random(rows) < 1 / (
        1 + np.exp(-(1.0 + 1.2 * features["x"] * np.where(helped, 0.2, 1.0)))
    )
    points = pd.DataFrame({"attendance": value.where(stays), "grades": np.zeros(rows)})
    return features, pd.Series(np.where(helped, "food", NONE)), points, value


def test_completed_outcomes_are_right_where_those_who_stay_differ():
    off, naive_off = [], []
    for seed in range(3):
        features, support, points, value = censored(seed)
        imputed, report = impute_censored(
            points, features, support, pd.Series(np.arange(len(features)))
        )
        helped = support == "food"

        def difference(outcome: pd.Series, helped: pd.Series = helped) -> float:
            return float(outcome[helped].mean() - outcome[~helped].mean())

        off.append(difference(imputed) - difference(value))
        naive_off.append(difference(points["attendance"]) - difference(value))
        assert [measure.measure for measure in report] == ["attendance", "grades"]
        assert (
            report[0].observed
            == points["attendance"].notna().sum()
            > report[0].effective_sample_size
        )
        assert report[1].observed == report[1].effective_sample_size == len(features)
    assert abs(np.mean(off)) < 0.12 < 0.5 < abs(np.mean(naive_off))


def test_what_is_known_of_all_is_just_added_up():
    points = pd.DataFrame({"attendance": [1.0, -2.0, 3.0], "grades": [0.5, 0.0, -1.0]})
    imputed, _ = impute_censored(
        points,
        pd.DataFrame({"x": [0.0, 1.0, 2.0]}),
        pd.Series([NONE, "food", NONE]),
        pd.Series(["a", "b", "c"]),
    )
    assert imputed.tolist() == [1.5, -2.0, 2.0]


def test_a_measure_that_does_not_apply_counts_as_no_change():
    features, support, points, _ = censored(1, 4_000)
    young = features["other"] > 0
    points["grades"] = np.where(young, np.nan, 5.0)
    imputed, report = impute_censored(
        points[["grades"]], features, support, pd.Series(np.arange(len(features)))
    )
    assert report[0].not_applicable > 0.9 * young.sum()
    assert imputed[young].abs().median() == 0 and imputed[~young].mean() == pytest.approx(
        5.0, abs=0.2
    )


def test_a_measure_that_hardly_anybody_has_is_no_evidence(tmp_path: Path):
    points = pd.DataFrame({"grades": [np.nan, 2.0]})
    imputed, report = impute_censored(
        points, pd.DataFrame({"x": [0.0, 1.0]}), pd.Series([NONE, NONE]), pd.Series(["a", "b"])
    )
    assert imputed.tolist() == [0.0, 2.0] and report[0].effective_sample_size == 0
    snapshot = district(tmp_path)
    with pytest.raises(
        NotEnoughEvidence,
        match="grades, which counts as progress, is known in 0 episodes; at least",
    ):
        require_evidence(build_episodes(snapshot), snapshot)


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        (
            "attendance = 1.0",
            "attendance = 'much'",
            "weights.attendance is 'much'; it must be a number from 0 to 100",
        ),
        (
            "attendance = 1.0",
            "attendence = 1.0",
            "weights.attendence is not known; there are attendance, grades",
        ),
        ("attendance = 1.0", "", "weights.attendance is missing"),
        (
            "window_days = 90",
            "window_days = 900",
            "window_days is 900; it must be a whole number from 14 to 400",
        ),
        (
            "window_days = 90",
            "window_days = 90.5",
            "window_days is 90.5; it must be a whole number",
        ),
        ("window_days = 90", "windows = 90", "windows is not known"),
        ("[weights]", "[weight]", "weight is not known"),
        ("[weights]", "[weights", "line"),
    ],
)
def test_a_wrong_file_of_weights_is_said_plainly(tmp_path: Path, old: str, new: str, message: str):
    file = tmp_path / "outcome.toml"
    file.write_text(OUTCOME_FILE.read_text().replace(old, new, 1))
    with pytest.raises(OutcomeError) as refused:
        OutcomeDefinition.of(tmp_path)
    assert str(file) in str(refused.value) and message in str(refused.value)


def test_a_district_sets_its_own_weights_and_without_them_those_of_handrail_count(tmp_path: Path):
    assert OutcomeDefinition.of(tmp_path) == OutcomeDefinition.declared()
    (tmp_path / "outcome.toml").write_text(
        OUTCOME_FILE.read_text().replace("grades = 0.5", "grades = 0.2")
    )
    own = OutcomeDefinition.of(tmp_path)
    assert own.weights["grades"] == 0.2 and own.sha256 != OutcomeDefinition.declared().sha256
    (tmp_path / "outcome.toml").write_text(
        OUTCOME_FILE.read_text()
        .replace("attendance = 1.0", "attendance = 0")
        .replace("grades = 0.5", "grades = 0")
    )
    with pytest.raises(OutcomeError, match="at least one weight must be above 0"):
        OutcomeDefinition.of(tmp_path)
