"""Drift: no change is called none, a change is found, and nothing that is kept or told is of fewer
than ten.
"""

from __future__ import annotations

import hashlib
import shutil
from dataclasses import replace
from datetime import date, datetime
from itertools import pairwise
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from features.catalog import feature_names
from handrail.demo import write_source_files
from records.connectors.oneroster.files import OneRosterFiles
from records.loading.load import load
from records.snapshots.snapshot import Snapshot
from tests.training.conftest import SUPPORTS, draw_past
from training.episodes.episodes import DecisionDay, Episodes, calendar_decision_days, features_as_of
from training.estimation.policy_value import Estimate
from training.estimation.pseudo_outcomes import NONE
from training.evaluation.drift import (
    FALSE_ALARM_RATE,
    Distribution,
    DriftLevel,
    DriftReference,
    PredictionCheck,
    RealizedBenefit,
    SchoolDayReference,
    build_reference,
    compare_day,
    compare_feature,
    realized_benefit,
)
from training.evaluation.evaluate import evaluation_set
from training.evaluation.model_comparison import NotComparable
from training.monitoring.drift_report import (
    DriftReportCorrupt,
    compute_drift_report,
    drift_report_file,
    monitored_version,
    newest_drift_report,
)
from training.ranking.model_file import write_model
from training.ranking.ranker import BenefitRanker
from training.registry.registry import (
    DRIFT_REFERENCE_FILE,
    DriftReferenceCorrupt,
    ModelVersion,
    register_model,
)

AT = datetime(2026, 4, 17, 10, 30)
THEN, NOW = (
    DecisionDay(date(2024, 12, 10), 75, date(2025, 6, 5)),
    DecisionDay(date(2025, 12, 9), 75, date(2026, 6, 4)),
)


def episodes_of(features: pd.DataFrame, day: date) -> Episodes:
    """Episodes in which nothing began, one a student."""
    students = pd.Series([f"s{number}" for number in range(len(features))])
    frame = features.reset_index(drop=True)
    return Episodes(
        frame,
        students,
        pd.Series([day] * len(frame)),
        pd.Series([NONE] * len(frame)),
        pd.Series(0.0, index=frame.index),
    )


def distribution(values: np.ndarray, name: str = "grade_average") -> Distribution:
    features = pd.DataFrame({name: values})
    return build_reference(episodes_of(features, THEN.day), [THEN]).places[75].features[name]


def marks(rng: np.random.Generator, size: int, missing: float) -> np.ndarray:
    return np.where(rng.random(size) < missing, np.nan, rng.normal(80, 9, size))


def absences(rng: np.random.Generator, size: int, missing: float) -> np.ndarray:
    return np.where(rng.random(size) < missing, np.nan, rng.poisson(1.2, size).astype("float64"))


@pytest.mark.parametrize(("then", "now"), [(300, 150), (1_500, 1_500)])
@pytest.mark.parametrize("draw", [marks, absences])
@pytest.mark.parametrize("missing", [0.01, 0.3])
def test_chance_alone_is_called_a_change_in_one_of_twenty_at_most(
    then: int, now: int, draw, missing: float
):
    rng, alarms, tries = np.random.default_rng(7), 0, 150
    for _ in range(tries):
        drift = compare_feature(
            "grade_average", distribution(draw(rng, then, missing)), draw(rng, now, missing), then
        )
        alarms += drift.index > drift.chance
    assert (
        alarms / tries
        <= FALSE_ALARM_RATE + 2 * (FALSE_ALARM_RATE * (1 - FALSE_ALARM_RATE) / tries) ** 0.5
    ), "two standard errors above the level"


def test_the_index_is_the_textbooks_where_no_cell_is_small():
    then = Distribution((70.0, 80.0, 90.0), (0.1, 0.4, 0.3, 0.2), None)
    now = np.repeat([65.0, 75.0, 85.0, 95.0], [300, 300, 200, 200])
    drift = compare_feature("grade_average", then, now, 1_000)
    assert drift.index == pytest.approx(
        0.2 * np.log(3) - 0.1 * np.log(0.75) - 0.1 * np.log(2 / 3), rel=0.01
    )
    assert drift.verdict is DriftLevel.MAJOR
    assert drift.turn is not None and (drift.turn.above, drift.turn.then, drift.turn.now) == (
        70.0,
        0.9,
        0.7,
    )


def test_a_feature_that_stops_coming_is_much_change_and_one_of_which_more_is_known_is_none():
    rng = np.random.default_rng(3)
    full, half = marks(rng, 1_000, 0.0), marks(rng, 1_000, 0.5)
    stopped = compare_feature("grade_average", distribution(full), half, 1_000)
    assert stopped.verdict is DriftLevel.MAJOR and stopped.missing_then is None
    assert stopped.missing_now == round(float(np.isnan(half).mean()), 2)
    assert (
        compare_feature("grade_average", distribution(full), np.full(1_000, np.nan), 1_000).verdict
        is DriftLevel.MAJOR
    )
    assert (
        compare_feature("grade_average", distribution(half), full, 1_000).verdict
        is DriftLevel.STABLE
    )
    never = distribution(np.full(1_000, np.nan))
    assert compare_feature("grade_average", never, full, 1_000).verdict is DriftLevel.MAJOR
    assert (
        compare_feature("grade_average", never, np.full(1_000, np.nan), 1_000).verdict
        is DriftLevel.STABLE
    )


def test_what_was_the_same_for_everybody_and_is_no_longer_is_found():
    then = distribution(np.zeros(500), "courses_below_60")
    assert then == Distribution((0.0,), (1.0, None), None)
    assert (
        compare_feature("courses_below_60", then, np.repeat([0.0, 2.0], [300, 200]), 500).verdict
        is DriftLevel.MAJOR
    )
    assert (
        compare_feature("courses_below_60", then, np.repeat([0.0, 2.0], [495, 5]), 500).verdict
        is DriftLevel.STABLE
    )


def test_each_cell_that_is_kept_holds_ten_students_and_edges_are_coarse():  # R58, R60
    rng = np.random.default_rng(5)
    for size in (12, 40, 95, 700):
        for missing in (0.0, 0.05, 0.5):
            values = marks(rng, size, missing)
            held = distribution(values)
            known = values[~np.isnan(values)]
            ends = [-np.inf, *held.edges, np.inf]
            for low, high in pairwise(ends if held.shares and None not in held.shares else ()):
                assert ((known > low) & (known <= high)).sum() >= 10
            assert all(edge == round(edge) for edge in held.edges)
            few = np.isnan(values).sum() < 10
            assert (held.missing is None) == few or not held.shares
            published_shares = [
                share for share in (*held.shares, held.missing) if share is not None
            ]
            assert sum(published_shares) == pytest.approx(1, abs=0.01)


def test_one_student_of_several_years_counts_once_for_a_cell():  # R60
    values = np.repeat([10.0, 90.0], [9 * 3, 60])
    students = pd.Series(
        [f"s{number // 3}" for number in range(27)] + [f"t{number}" for number in range(60)]
    )
    many = replace(episodes_of(pd.DataFrame({"grade_average": values}), THEN.day), student=students)
    assert build_reference(many, [THEN]).places[75].features["grade_average"].shares == (1.0, None)


def test_a_number_of_fewer_than_ten_students_now_changes_nothing_that_is_told():  # R60
    then = Distribution((0.0,), (0.95, 0.05), None)
    drifts = [
        compare_feature("courses_below_60", then, np.repeat([0.0, 1.0], [600 - few, few]), 600)
        for few in (0, 4, 9)
    ]
    assert len({drift.turn for drift in drifts}) == 1 and drifts[0].turn is None
    assert max(drift.index for drift in drifts) - min(drift.index for drift in drifts) <= 0.002


def test_a_place_that_was_not_learned_from_and_a_handful_of_students_cannot_be_told():
    rng = np.random.default_rng(2)
    features = pd.DataFrame({"grade_average": marks(rng, 300, 0.0)})
    reference = build_reference(episodes_of(features, THEN.day), [THEN])
    assert compare_day(reference, NOW._replace(place=110), features).verdict is DriftLevel.UNKNOWN
    few = compare_day(reference, NOW, features.head(30))
    assert few.verdict is DriftLevel.UNKNOWN
    assert few.cannot_tell == "too few students to compare (fewer than 50)"
    assert compare_day(reference, NOW, features).verdict is DriftLevel.STABLE


def test_what_came_is_as_predicted_and_less_where_the_model_promised_too_much(
    ranker: BenefitRanker,
):
    past = draw_past(12)
    episodes = Episodes(
        past.features,
        past.student,
        pd.Series([NOW.day] * len(past.student)),
        past.support,
        past.outcome,
    )
    judged = evaluation_set(episodes, np.ones(len(episodes), dtype=bool), SUPPORTS, 0)
    realized = realized_benefit(judged, ranker)
    best = past.truth.to_numpy().max(axis=1).mean()
    assert (
        realized.verdict is PredictionCheck.AS_PREDICTED
        and realized.came.lower < best < realized.came.upper
    )
    assert [fifth.place for fifth in realized.fifths] == [
        1,
        2,
        3,
        4,
        5,
    ] and realized.slope is not None
    real = ranker.calibration_
    try:
        ranker.calibration_ = {
            name: replace(one, level=one.level + 2.0) for name, one in real.items()
        }
        assert realized_benefit(judged, ranker).verdict is PredictionCheck.LESS
        ranker.calibration_ = {
            name: replace(one, slope=3.0 * one.slope) for name, one in real.items()
        }
        steep = realized_benefit(judged, ranker)
        assert (
            steep.verdict is PredictionCheck.LESS
            and steep.slope is not None
            and steep.slope.upper < 1
        )
    finally:
        ranker.calibration_ = real


@pytest.mark.parametrize(
    ("came", "slope", "verdict"),
    [
        (Estimate(1.0, 0.5, 1.5), None, PredictionCheck.AS_PREDICTED),
        (Estimate(0.2, -0.8, 1.2), None, PredictionCheck.UNKNOWN),
        (Estimate(0.2, -0.8, 0.9), None, PredictionCheck.LESS),
        (Estimate(3.0, 2.0, 4.0), None, PredictionCheck.MORE),
        (Estimate(1.0, 0.5, 1.5), Estimate(0.1, -0.5, 0.7), PredictionCheck.LESS),
    ],
)
def test_a_range_that_holds_nothing_as_well_as_the_prediction_says_nothing(came, slope, verdict):
    assert RealizedBenefit((NOW.day,), 100, 1.0, came, slope, ()).verdict is verdict


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_source_files(tmp_path_factory.mktemp("source"), students=1_800).sis


@pytest.fixture(scope="module")
def home(source: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A district's own records of three years."""
    home = tmp_path_factory.mktemp("district") / "home"
    load(OneRosterFiles(), source, home)
    return home


@pytest.fixture(scope="module")
def reference(home: Path) -> DriftReference:
    """What its students looked like in the December before last."""
    snapshot = Snapshot.current(home)
    return build_reference(
        episodes_of(features_as_of(snapshot, THEN.day), THEN.day), calendar_decision_days(snapshot)
    )


def twice_as_often_absent(source: Path, folder: Path, since: str) -> Path:
    """The same files in which each absence since a day is followed by one on the student's next day
    at school.
    """
    shutil.copytree(source, folder)
    days = sorted(
        {line.split(",")[1] for line in (folder / "calendar.csv").read_text().splitlines()[1:]}
    )
    following = dict(pairwise(days))
    lines = (folder / "attendance.csv").read_text().splitlines()
    known, added = {line[: line.rfind(",")] for line in lines}, []
    for line in lines[1:]:
        student, *school, day, status = line.split(",")
        while status.startswith("absent") and since <= day in following:
            day = following[day]
            key = ",".join((student, *school, day))
            if key not in known:
                known.add(key)
                added.append(f"{key},{status}")
                break
    (folder / "attendance.csv").write_text("\n".join([*lines, *added]) + "\n")
    return folder


def test_a_district_that_went_on_as_before_is_said_to(home: Path, reference: DriftReference):
    day_drift = compare_day(reference, NOW, features_as_of(Snapshot.current(home), NOW.day))
    assert {feature.name for feature in day_drift.features} == set(feature_names())
    verdicts = {family.name: family.verdict for family in day_drift.families}
    assert verdicts == dict.fromkeys(verdicts, DriftLevel.STABLE) and "attendance" in verdicts
    assert day_drift.students == 1_800


def test_absences_recorded_twice_as_often_are_much_change_of_attendance_alone(
    source: Path, reference: DriftReference, tmp_path: Path
):
    load(
        OneRosterFiles(),
        twice_as_often_absent(source, tmp_path / "sis", "2025-08-01"),
        tmp_path / "home",
    )
    day_drift = compare_day(
        reference, NOW, features_as_of(Snapshot.current(tmp_path / "home"), NOW.day)
    )
    verdicts = {family.name: family.verdict for family in day_drift.families}
    assert verdicts.pop("attendance") is DriftLevel.MAJOR
    assert set(verdicts.values()) == {DriftLevel.STABLE}


def register(home: Path, ranker: BenefitRanker, reference: DriftReference | None) -> ModelVersion:
    """A version that learned until the first decision day of the year, with another outcome."""
    text = None if reference is None else reference.to_json()
    file = home / "models" / "new.json"
    manifest = {"decision_dates": [str(date(2025, 10, 15))], "outcome": "another"}
    return register_model(
        home,
        file,
        write_model(ranker, file, manifest),
        Snapshot.current(home).id,
        {},
        {},
        tags={"drift_reference": hashlib.sha256(text.encode()).hexdigest()} if text else {},
        artifacts={DRIFT_REFERENCE_FILE: text} if text else {},
    )


def test_drift_of_a_version_is_written_once_and_read_back(
    home: Path, reference: DriftReference, ranker: BenefitRanker
):
    snapshot, made = Snapshot.current(home), register(home, ranker, reference)
    assert monitored_version(home) == made
    report = compute_drift_report(snapshot, made, home, AT)
    assert [(day.day, day.verdict) for day in report.days] == [
        (NOW.day, DriftLevel.STABLE),
        (date(2026, 2, 11), DriftLevel.UNKNOWN),
    ]
    assert "no training data for this point" in report.days[1].cannot_tell
    assert (
        report.outcome is PredictionCheck.UNKNOWN
        and "definition of progress has changed" in report.why_not
    )
    assert not report.needs_retraining and newest_drift_report(home) == report
    assert compute_drift_report(snapshot, made, home, AT.replace(hour=12)) == report
    file = drift_report_file(home, made.version, snapshot.id)
    text = file.read_text()
    assert not [key for key in snapshot.table("students").to_pandas()["student_id"] if key in text]
    file.write_text(text.replace("0.0", "0.1"))
    with pytest.raises(DriftReportCorrupt, match="handrail drift"):
        newest_drift_report(home)


def test_a_reference_that_was_changed_is_refused_and_one_that_never_was_is_said(
    home: Path, reference: DriftReference, ranker: BenefitRanker
):
    snapshot, made = Snapshot.current(home), register(home, ranker, reference)
    (made.artifacts / DRIFT_REFERENCE_FILE).write_text(
        DriftReference({75: SchoolDayReference(100, {})}).to_json()
    )
    with pytest.raises(DriftReferenceCorrupt, match="its SHA-256 differs"):
        compute_drift_report(snapshot, made, home, AT)
    report = compute_drift_report(snapshot, register(home, ranker, None), home, AT)
    assert (report.known, report.days, report.features) == (False, (), DriftLevel.UNKNOWN)
    file = home / "models" / "new.json"
    silent = register_model(home, file, write_model(ranker, file, {}), "none", {}, {})
    with pytest.raises(NotComparable, match="does not list its training days; retrain it"):
        compute_drift_report(snapshot, silent, home, AT)
