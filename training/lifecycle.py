"""From records to a registered model version: train, evaluate, write the file, register it with MLflow.

The registry (MLflow on SQLite) holds what each version is and how it was made. Nothing here moves the alias
`champion`: that takes the fairness gate and a reviewer's signature (`fairness.signoff`). MLflow is imported when first
needed, since its import takes seconds; its telemetry is off, and no row of data is logged (R57).
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import version as installed_version
from pathlib import Path
from typing import Any

from features.catalog import catalog_hash
from records.scope import ScopedRecords, pipeline_scope
from records.snapshots import Snapshot
from training.episodes import OUTCOME_FILE, Episodes, build_episodes, check_sufficient
from training.evaluate import Evaluation, evaluate
from training.model_file import write_model
from training.ranker import BenefitRanker

REGISTERED_MODEL = "handrail-ranker"
CHAMPION = "champion"
EXPERIMENT = "handrail"
_FILE = "ranker.json"
Progress = Callable[[str, int, int], None]


class NoModel(LookupError):
    """No such model version is registered."""


@dataclass(frozen=True)
class ModelVersion:
    """One registered version. `sha256` is that of the bytes of `file` when it was registered."""

    version: int
    run_id: str
    sha256: str
    file: Path
    created_at: datetime
    snapshot_id: str
    metrics: Mapping[str, float]


def train(snapshot: Snapshot, home: Path, *, behavior: bool = False, seed: int = 0, ranker: BenefitRanker | None = None,
          progress: Progress = lambda step, done, total: None) -> ModelVersion:  # fmt: skip
    """Learn from a snapshot and register a candidate.

    Args:
        behavior: let discipline be an input, which a district must opt in to.
        ranker: its parameters are used; by default those of the design.

    Raises:
        NotEnoughEvidence: naming what is missing; nothing is registered.
    """

    def looked_back(done: int, total: int) -> None:
        progress("looking back at decision days", done, total)

    episodes = build_episodes(snapshot, behavior=behavior, progress=looked_back)
    supports = check_sufficient(episodes, snapshot)
    parameters = (ranker or BenefitRanker(random_state=seed)).get_params() | {"supports": supports}
    programs = ScopedRecords(snapshot, pipeline_scope(snapshot, "training", snapshot.latest_date())).frame("programs")
    progress("judging on later decision days", 0, 1)
    evaluation = evaluate(episodes, supports, programs, BenefitRanker(**parameters), seed)
    progress("judging on later decision days", 1, 1)
    progress("learning from all decision days", 0, 1)
    fitted = BenefitRanker(**parameters).fit(episodes.features, episodes.outcome, episodes.support, episodes.student)
    progress("learning from all decision days", 1, 1)
    manifest = _manifest(snapshot, episodes, supports, behavior, parameters, evaluation)
    staging = home / "models" / "candidate.json"
    digest = write_model(fitted, staging, manifest)
    progress("registering with MLflow", 0, 1)
    found = register_model(home, staging, digest, snapshot.id, evaluation.metrics(), parameters)
    staging.unlink()
    progress("registering with MLflow", 1, 1)
    return found


def register_model(home: Path, file: Path, sha256: str, snapshot_id: str, metrics: Mapping[str, float],
                   parameters: Mapping[str, Any]) -> ModelVersion:  # fmt: skip
    """Register a model file as a new version. It serves nobody until it is audited and signed."""
    client = registry(home)
    run = client.create_run(_experiment(client, home))
    run_id = run.info.run_id
    for name, value in parameters.items():
        client.log_param(run_id, name, value)
    for name, number in metrics.items():
        client.log_metric(run_id, name, number)
    target = file.with_name(_FILE)
    file.rename(target)
    client.log_artifact(run_id, str(target), "model")
    target.rename(file)
    client.set_terminated(run_id)
    if not client.search_registered_models(f"name = '{REGISTERED_MODEL}'"):
        client.create_registered_model(REGISTERED_MODEL)
    source, tags = f"{run.info.artifact_uri}/model", {"sha256": sha256, "snapshot": snapshot_id}
    made = client.create_model_version(REGISTERED_MODEL, source, run_id, tags=tags)
    return model_version(home, int(made.version))


def model_versions(home: Path) -> list[ModelVersion]:
    """Every registered version, the newest first; none where nothing was ever registered."""
    if not _store(home).exists():
        return []
    client = registry(home)
    found = client.search_model_versions(f"name = '{REGISTERED_MODEL}'")
    return sorted((_version(client, home, made) for made in found), key=lambda made: -made.version)


def model_version(home: Path, version: int | None = None) -> ModelVersion:
    """A version, by default the newest.

    Raises:
        NoModel: there is no such version.
    """
    for found in model_versions(home):
        if version is None or found.version == version:
            return found
    raise NoModel(f"there is no model version {version}" if version else "no model is registered: run `handrail train`")


def champion_version(home: Path) -> int | None:
    """Where the alias points, whoever moved it: not yet a promise that it may serve."""
    if not _store(home).exists():
        return None
    found = registry(home).search_registered_models(f"name = '{REGISTERED_MODEL}'")
    version = found[0].aliases.get(CHAMPION) if found else None
    return int(version) if version is not None else None


def registry(home: Path) -> Any:
    """MLflow's client on this home's registry."""
    os.environ["MLFLOW_DISABLE_TELEMETRY"] = "true"
    os.environ["DO_NOT_TRACK"] = "true"
    os.environ["MLFLOW_ALLOW_PICKLE_DESERIALIZATION"] = "false"
    from mlflow import MlflowClient

    home.mkdir(parents=True, exist_ok=True)
    return MlflowClient(tracking_uri=f"sqlite:///{_store(home)}", registry_uri=f"sqlite:///{_store(home)}")


def _manifest(snapshot: Snapshot, episodes: Episodes, supports: tuple[str, ...], behavior: bool,
              parameters: Mapping[str, Any], evaluation: Evaluation) -> dict[str, Any]:  # fmt: skip
    counts = episodes.support.value_counts()
    return {
        "snapshot": snapshot.id, "catalog": catalog_hash(), "code": installed_version("handrail"),
        "outcome_sha256": hashlib.sha256(OUTCOME_FILE.read_bytes()).hexdigest(), "behavior": behavior,
        "decision_dates": sorted(str(day) for day in episodes.decision_date.unique()),
        "episodes": {name: int(counts[name]) for name in ("none", *supports)},
        "parameters": {name: list(value) if isinstance(value, tuple) else value for name, value in parameters.items()},
        "evaluation": evaluation.metrics(),
    }  # fmt: skip


def _experiment(client: Any, home: Path) -> str:
    """The experiment whose artifacts lie in this home; another where the home was moved, since theirs never move."""
    location = _artifacts(home).as_uri()
    known = client.search_experiments()
    for experiment in known:
        if experiment.artifact_location == location:
            return str(experiment.experiment_id)
    name = EXPERIMENT if EXPERIMENT not in {one.name for one in known} else f"{EXPERIMENT} in {home}"
    return str(client.create_experiment(name, artifact_location=location))


def _version(client: Any, home: Path, made: Any) -> ModelVersion:
    run = client.get_run(made.run_id)
    return ModelVersion(
        int(made.version), made.run_id, made.tags["sha256"], _artifacts(home) / made.run_id / "artifacts/model" / _FILE,
        datetime.fromtimestamp(made.creation_timestamp / 1000, UTC), made.tags["snapshot"], dict(run.data.metrics),
    )  # fmt: skip


def _store(home: Path) -> Path:
    return home / "mlflow.db"


def _artifacts(home: Path) -> Path:
    return home / "mlartifacts"
