"""From a district's files to a registered candidate; and a plain refusal where the evidence is too
thin.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import sqlite3
import zipfile
from dataclasses import asdict, replace
from datetime import datetime, timedelta
from importlib.metadata import version as installed_version
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pandas as pd
import pytest

from features.catalog import FEATURES_BY_NAME, catalog_hash, feature_names
from handrail.demo import write_source_files
from records.access.scope import pipeline_scope
from records.access.scoped_records import ScopedRecords
from records.connectors.edfi.files import EdFiFiles
from records.connectors.oneroster.files import OneRosterFiles
from records.connectors.partner_files.service_history import ServiceHistory
from records.loading.load import load
from records.snapshots.snapshot import Snapshot
from training.episodes.episodes import (
    Episodes,
    NotEnoughEvidence,
    UnknownFeatureFamily,
    build_episodes,
    calendar_decision_days,
)
from training.episodes.outcome import OUTCOME_FILE, OutcomeDefinition
from training.estimation.pseudo_outcomes import NONE
from training.evaluation.drift import build_reference
from training.monitoring.exploration_value import progress_after
from training.ranking.model_file import InvalidModelFile, read_model
from training.ranking.ranker import BenefitRanker
from training.registry.provenance import current_provenance, git_commit
from training.registry.registry import (
    REGISTERED_MODEL,
    ModelNotFound,
    ModelVersion,
    champion_version,
    model_version,
    model_versions,
    register_model,
    registry_client,
)
from training.registry.train import recipe_digest, train
from training.registry.version_evaluation import holdout_evaluation

QUICK = BenefitRanker(min_leaf=30, n_folds=3, rounds=20)


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("district")
    files = write_source_files(folder / "source", students=1_400)
    load(OneRosterFiles(), files.sis, folder / "home")
    load(ServiceHistory(), files.service_history, folder / "home", merge=True)
    return folder / "home"


@pytest.fixture(scope="module")
def episodes(home: Path) -> Episodes:
    return build_episodes(Snapshot.current(home))


def test_a_candidate_is_registered_by_its_bytes_and_serves_nobody(home: Path):  # R57
    snapshot = Snapshot.current(home)
    with pytest.raises(ModelNotFound, match="handrail train"):
        model_version(home)
    made = train(snapshot, home, ranker=QUICK, at=datetime(2026, 4, 17, 2, 4))
    assert model_versions(home) == [made] and made.created_at == datetime(2026, 4, 17, 2, 4)
    assert hashlib.sha256(made.file.read_bytes()).hexdigest() == made.sha256
    model = read_model(made.file, made.sha256)
    assert model.manifest["snapshot"] == snapshot.id
    assert set(model.ranker.supports_) <= set(model.manifest["episodes"])
    assert model.ranker.feature_names_ == feature_names()
    assert champion_version(home) is None
    assert made.metrics["same_places.gain.lower"] <= made.metrics["same_places.gain.value"]
    stored = [file for file in home.rglob("*") if file.is_file() and "snapshots" not in file.parts]
    students = snapshot.table("students").to_pandas()
    canaries = [*students["student_id"].head(500), *set(students["last_name"])]
    held = b"\n".join(file.read_bytes() for file in stored)
    assert not [
        name for name in canaries if f'"{name}"'.encode() in held or f" {name} ".encode() in held
    ]


def test_a_version_of_an_earlier_release_bears_the_time_of_the_registry(tmp_path: Path):
    file = tmp_path / "ranker.json"
    file.write_text("{}")
    made = register_model(tmp_path, file, "x", "s", {}, {})
    registry_client(tmp_path).delete_model_version_tag(REGISTERED_MODEL, str(made.version), "made")
    assert abs(model_version(tmp_path).created_at - made.created_at) < timedelta(minutes=5)


def test_nothing_that_training_leaves_behind_is_a_pickle(home: Path):  # R57
    trained(home)
    stored = [file for file in home.rglob("*") if file.is_file()]
    assert len(stored) > 10
    for file in stored:
        content = file.read_bytes()
        assert file.suffix not in (
            ".pkl",
            ".pickle",
            ".joblib",
            ".cloudpickle",
            ".npy",
            ".npz",
            ".zip",
        ), file
        assert not re.match(rb"\x80[\x02-\x05]", content), file
        assert b"\x80\x04\x95" not in content and b"\x80\x05\x95" not in content, file
        assert not zipfile.is_zipfile(file), file
    for file in (home / "mlartifacts").rglob("*.json"):
        assert isinstance(json.loads(file.read_text()), dict), file


def test_the_registry_logs_no_row_sends_no_word_and_opens_no_pickle(home: Path):  # R57
    made = trained(home)
    client = registry_client(home)
    assert os.environ["MLFLOW_DISABLE_TELEMETRY"] == "true" and os.environ["DO_NOT_TRACK"] == "true"
    assert os.environ["MLFLOW_ALLOW_PICKLE_DESERIALIZATION"] == "false"
    from mlflow.telemetry.utils import is_telemetry_disabled

    assert is_telemetry_disabled()
    for run in client.search_runs(
        [experiment.experiment_id for experiment in client.search_experiments()]
    ):
        assert not run.inputs.dataset_inputs and not run.inputs.model_inputs
        assert not [
            name
            for name in (*run.data.tags, *run.data.params)
            if "example" in name or "dataset" in name
        ]
    left = sorted(
        str(file.relative_to(made.artifacts)) for file in (home / "mlartifacts").rglob("*.*")
    )
    assert left == [
        "card/model_card.json",
        "card/model_card.md",
        "drift/reference.json",
        "evaluation.json",
        "model/ranker.json",
        "plots/calibration.svg",
        "plots/importance.svg",
        "plots/overlap.svg",
        "twin/ranker.json",
    ]
    with sqlite3.connect(home / "mlflow.db") as store:
        tables = [
            name for (name,) in store.execute("SELECT name FROM sqlite_master WHERE type = 'table'")
        ]
        assert {"runs", "datasets", "inputs"} <= set(tables)
        for table in ("datasets", "inputs", "input_tags", "trace_info", "logged_models"):
            count = f"SELECT count(*) FROM {table}"  # noqa: S608
            assert table not in tables or store.execute(count).fetchone() == (0,), table


def test_a_run_says_from_what_and_how_the_model_was_made(home: Path):
    made, snapshot = trained(home), Snapshot.current(home)
    run = registry_client(home).get_run(made.run_id)
    manifest = hashlib.sha256((snapshot.path / "manifest.json").read_bytes()).hexdigest()
    origin = current_provenance(snapshot, OutcomeDefinition.of(home))
    assert origin.snapshot_manifest == manifest and origin.catalog == catalog_hash()
    assert origin.outcome == OutcomeDefinition.of(
        home
    ).sha256 and origin.version == installed_version("handrail")
    tags = {name.removeprefix("handrail."): value for name, value in run.data.tags.items()}
    assert {name: tags[name] for name in asdict(origin) if name not in ("commit", "source")} == {
        name: value for name, value in asdict(origin).items() if name not in ("commit", "source")
    }
    assert set(BenefitRanker().get_params()) | {"behavior", "folds_by", "without"} == set(
        run.data.params
    )
    assert run.data.params["n_folds"] == "3" and run.data.params["behavior"] == "False"
    assert {"same_places.gain.lower", "no_limit.dr.value", "episodes"} <= set(run.data.metrics)


def test_the_recipe_is_another_where_records_outcome_or_parameters_are(home: Path, tmp_path: Path):
    made, snapshot = trained(home), Snapshot.current(home)
    assert made.recipe == recipe_digest(snapshot, home, ranker=QUICK)
    others = {
        recipe_digest(snapshot, home, ranker=QUICK),
        recipe_digest(snapshot, home, seed=1, ranker=QUICK),
        recipe_digest(snapshot, home, behavior=True, ranker=QUICK),
        recipe_digest(snapshot, home),
    }
    (tmp_path / "outcome.toml").write_text(
        OUTCOME_FILE.read_text().replace("attendance = 1.0", "attendance = 2.0")
    )
    others.add(recipe_digest(snapshot, tmp_path, ranker=QUICK))
    assert len(others) == 5


def test_the_card_and_the_plots_hold_what_was_found_and_no_small_number(home: Path):
    made = trained(home)
    card, evaluation = made.artifact("card/model_card.json"), made.artifact("evaluation.json")
    assert card is not None and card["evaluation"] == evaluation
    for part in ("value", "lower", "upper"):
        assert evaluation["same_places"]["gain"][part] == pytest.approx(
            made.metrics[f"same_places.gain.{part}"]
        )
    assert evaluation["episodes"] == made.metrics["episodes"]
    counts = [row["episodes"] for row in (*evaluation["overlap"], *evaluation["calibration"])]
    assert None in counts and all(
        count is None or (count >= 10 and count % 10 == 0) for count in counts
    )
    assert {row["family"] for row in card["importance"]} == set(card["features"])
    assert card["importance"][0]["points"] > 0
    text = (made.artifacts / "card/model_card.md").read_text()
    assert (
        evaluation["sensitivity"] in text
        and "## Out-of-scope use" in text
        and "fairness audit" in text
    )
    for name in ("overlap", "calibration", "importance"):
        plot = ElementTree.fromstring((made.artifacts / f"plots/{name}.svg").read_text())
        assert plot.tag == "{http://www.w3.org/2000/svg}svg"
        assert len(list(plot.iter("{http://www.w3.org/2000/svg}path"))) > 3
    students = Snapshot.current(home).table("students").to_pandas()
    for file in (
        file for file in made.artifacts.rglob("*") if file.suffix in (".md", ".json", ".svg")
    ):
        words = set(re.findall(r"[\w-]+", file.read_text()))
        assert not words & set(students["student_id"]), file


def test_the_commit_is_read_from_a_checkout_of_any_kind_and_is_empty_without_one(tmp_path: Path):
    assert git_commit(tmp_path) == ""
    git = tmp_path / ".git"
    (git / "refs/heads").mkdir(parents=True)
    (git / "HEAD").write_text("ref: refs/heads/main\n")
    assert git_commit(tmp_path) == ""
    (git / "packed-refs").write_text(
        f"# pack-refs with: peeled\n{'a' * 40} refs/heads/main\n^{'b' * 40}\n"
    )
    assert git_commit(tmp_path) == "a" * 40
    (git / "refs/heads/main").write_text("c" * 40 + "\n")
    assert git_commit(tmp_path) == "c" * 40
    linked = tmp_path / "linked"
    linked.mkdir()
    (git / "worktrees/linked").mkdir(parents=True)
    (git / "worktrees/linked/HEAD").write_text("ref: refs/heads/main")
    (git / "worktrees/linked/commondir").write_text("../..\n")
    (linked / ".git").write_text("gitdir: ../.git/worktrees/linked\n")
    assert git_commit(linked) == "c" * 40
    (git / "HEAD").write_text("d" * 40)
    assert git_commit(tmp_path) == "d" * 40


def trained(home: Path) -> ModelVersion:
    """The version that an earlier test registered, or a new one."""
    versions = model_versions(home)
    return versions[0] if versions else train(Snapshot.current(home), home, ranker=QUICK)


def test_the_twin_learned_from_the_earlier_days_and_is_judged_on_the_others(
    home: Path, episodes: Episodes
):
    made = trained(home)
    twin = made.twin()
    assert (
        twin is not None
        and twin.ranker.supports_ == read_model(made.file, made.sha256).ranker.supports_
    )
    days = sorted(str(day) for day in episodes.decision_date.unique())
    assert twin.manifest["decision_dates"] == days[: max(1, round(len(days) * 2 / 3))]
    holdout = holdout_evaluation(made, episodes)
    assert (
        holdout is not None
        and [str(day) for day in holdout[0].days] == days[len(twin.manifest["decision_dates"]) :]
    )
    assert holdout_evaluation(replace(made, holdout_clone_sha256=""), episodes) is None
    with pytest.raises(InvalidModelFile):
        holdout_evaluation(replace(made, holdout_clone_sha256="0" * 64), episodes)


def test_a_family_that_is_left_out_is_no_input_and_makes_another_recipe(
    home: Path, episodes: Episodes, tmp_path: Path
):
    snapshot, some = Snapshot.current(home), episodes.take(np.arange(0, len(episodes), 2))
    made = train(
        snapshot, tmp_path, ranker=QUICK, without=["assessments", "services"], episodes=some
    )
    model = read_model(made.file, made.sha256)
    families = {FEATURES_BY_NAME[name].family for name in model.ranker.feature_names_}
    assert families == {FEATURES_BY_NAME[name].family for name in feature_names()} - {
        "assessments",
        "services",
    }
    assert model.manifest["without"] == ["assessments", "services"]
    assert (
        registry_client(tmp_path).get_run(made.run_id).data.params["without"]
        == "assessments, services"
    )
    whole = recipe_digest(snapshot, tmp_path, ranker=QUICK)
    assert (
        made.recipe
        == recipe_digest(snapshot, tmp_path, ranker=QUICK, without=["services", "assessments"])
        != whole
    )


@pytest.mark.parametrize(
    ("families", "words"),
    [
        (
            ["marks"],
            (
                "no family of features 'marks' to leave out; there are attendance, grades,"
                " assessments, services"
            ),
        ),
        (["grade_level"], "no family of features 'grade_level'"),
        (["attendance", "grades", "assessments", "services"], "no feature would be left"),
    ],
)
def test_a_family_that_is_none_is_refused_by_name(
    home: Path, episodes: Episodes, tmp_path: Path, families, words
):
    with pytest.raises(UnknownFeatureFamily, match=words):
        train(Snapshot.current(home), tmp_path, ranker=QUICK, without=families, episodes=episodes)


def test_where_folds_are_by_school_drift_is_still_measured_against_students(
    home: Path, episodes: Episodes, tmp_path: Path
):
    snapshot, some = Snapshot.current(home), episodes.take(np.arange(0, len(episodes), 2))
    made = train(snapshot, tmp_path, ranker=QUICK, folds_by="school", episodes=some)
    assert made.reference() == build_reference(some, calendar_decision_days(snapshot))
    run = registry_client(tmp_path).get_run(made.run_id)
    assert run.data.params["folds_by"] == "school"


def test_the_support_of_an_episode_is_what_began_soon_after_its_day(home: Path, episodes: Episodes):
    snapshot = Snapshot.current(home)
    day = sorted(episodes.decision_date.unique())[1]
    records = ScopedRecords(snapshot, pipeline_scope(snapshot, "training", day))
    services = records.frame("service_enrollments").merge(
        records.frame("programs"), on="program_id"
    )
    window = OutcomeDefinition.declared().start_within_days
    chosen = episodes.support[episodes.decision_date == day]
    students = episodes.student[episodes.decision_date == day]
    for student, support in list(zip(students, chosen, strict=True))[:300]:
        own = services[(services["student_id"] == student) & services["support"].notna()]
        gaps = (pd.to_datetime(own["start_date"]) - pd.Timestamp(day)).dt.days
        assert (support == NONE) == (not gaps.between(1, window).any())


def test_progress_since_a_list_is_what_episodes_of_that_day_have(home: Path, episodes: Episodes):
    snapshot, day = Snapshot.current(home), sorted(episodes.decision_date.unique())[1]
    since = progress_after(snapshot, OutcomeDefinition.declared(), day)
    own = episodes.measure_points[episodes.decision_date == day].sum(axis=1, skipna=False).dropna()
    assert len(own) > 500
    for place, value in own.items():
        assert since[episodes.student[place]] == pytest.approx(value, abs=1e-9)
    assert progress_after(snapshot, OutcomeDefinition.declared(), snapshot.latest_date()) == {}


def test_the_published_sample_is_too_thin_and_the_refusal_names_what_is_missing(
    shared_data: Path, tmp_path: Path
):
    load(EdFiFiles(), shared_data / "edfi", tmp_path)
    with pytest.raises(NotEnoughEvidence) as refused:
        train(Snapshot.current(tmp_path), tmp_path)
    message = str(refused.value)
    for part in (
        "no school enrollments",
        "no course grades",
        "25 program enrollments on record; at least 200",
        "no support with 100 starts",
    ):
        assert part in message
    assert model_versions(tmp_path) == []
