"""The registry of model versions: MLflow on SQLite, in the district's home.

It holds what each version is, how it was trained and how it was evaluated since. Nothing here moves
the alias `champion`: that takes the fairness gate and a reviewer's signature
(`fairness.approval.signoff`). MLflow is imported when first needed, since its import takes seconds;
its telemetry is off, and no row of data is logged (R57).
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from records.system.errors import UserError
from records.system.files import write_atomic
from training.evaluation.drift import DriftReference
from training.ranking.model_file import RankerModel, read_model
from training.registry.model_card import JsonObject

REGISTERED_MODEL = "handrail-ranker"
CHAMPION = "champion"
CHALLENGER = "challenger"
"""The newest version that is better than the champion, or the newest where there is none. It serves
nobody."""
EXPERIMENT = "handrail"
EVALUATION_FILE = "evaluation.json"
DRIFT_REFERENCE_FILE = "drift/reference.json"
"""The features of the students that a version was trained on, which drift is measured against."""
HOLDOUT_CLONE_FILE = "twin/ranker.json"
"""The clone of a version that was trained on the earlier decision days and evaluated on the later
ones."""
MODEL_FILE_NAME = "ranker.json"
DRIFT_REFERENCE_TAG = "drift_reference"
HOLDOUT_CLONE_TAG = "twin"
_CREATED_AT_TAG = "made"


class ModelNotFound(UserError, LookupError):
    """No such model version is registered."""


class DriftReferenceCorrupt(UserError, ValueError):
    """The drift reference of a version is not the file that was registered."""


@dataclass(frozen=True)
class ModelVersion:
    """One registered version. `sha256` is that of the bytes of `file` when it was registered.

    `recipe` is a digest of all that decided what it is: records, catalog, outcome, code and
    parameters. Equal recipes give equal models; it is empty where that is not known.
    `reference_sha256` and `holdout_clone_sha256` are those of `DRIFT_REFERENCE_FILE` and
    `HOLDOUT_CLONE_FILE`, empty where the version was registered without. `created_at` is in the
    district's time, without a zone.
    """

    version: int
    run_id: str
    sha256: str
    file: Path
    created_at: datetime
    snapshot_id: str
    metrics: Mapping[str, float]
    recipe: str = ""
    reference_sha256: str = ""
    holdout_clone_sha256: str = ""

    def artifact(self, name: str) -> JsonObject | None:
        """The JSON stored with this version under this name; None where there is none."""
        file = self.artifacts / name
        if not file.exists():
            return None
        content: JsonObject = json.loads(file.read_text(encoding="utf-8"))
        return content

    def reference(self) -> DriftReference | None:
        """The drift reference; None where the version was registered without.

        Raises:
            DriftReferenceCorrupt: the file is not the one that was registered.
        """
        if not self.reference_sha256:
            return None
        file = self.artifacts / DRIFT_REFERENCE_FILE
        try:
            data = file.read_bytes()
        except OSError as error:
            raise DriftReferenceCorrupt(
                f"the drift reference of version {self.version} cannot be read: {error}"
            ) from None
        if hashlib.sha256(data).hexdigest() != self.reference_sha256:
            raise DriftReferenceCorrupt(
                f"{file} does not match the registered file: its SHA-256 differs"
            )
        return DriftReference.from_json(data)

    def twin(self) -> RankerModel | None:
        """The holdout clone; None where the version was registered without.

        Raises:
            InvalidModelFile: the file is not the one that was registered, or was trained on a
                different feature catalog.
        """
        if not self.holdout_clone_sha256:
            return None
        return read_model(self.artifacts / HOLDOUT_CLONE_FILE, self.holdout_clone_sha256)

    def keep(self, name: str, content: JsonObject) -> None:
        """Store JSON with this version under this name, atomically; MLflow would copy in place."""
        write_atomic(self.artifacts / name, artifact_json(content))

    @property
    def artifacts(self) -> Path:
        """The folder of the run's artifacts."""
        return self.file.parents[1]


def register_model(
    home: Path,
    file: Path,
    sha256: str,
    snapshot_id: str,
    metrics: Mapping[str, float],
    parameters: Mapping[str, Any],
    *,
    tags: Mapping[str, str] | None = None,
    artifacts: Mapping[str, str] | None = None,
    at: datetime | None = None,
) -> ModelVersion:
    """Register a model file as a new version. It serves nobody until it is audited and signed.

    The version is created last: an interrupted registration leaves a run without a version.

    Args:
        home: the folder of the registry.
        file: the model file.
        sha256: of its bytes.
        snapshot_id: of the records it was trained on.
        metrics, parameters: of the run, for MLflow.
        tags: further ones, of the run and of the version.
        artifacts: further texts to store with the run, by the name of their file.
        at: the district's time; by default this machine's.
    """
    client = registry_client(home)
    run = client.create_run(_experiment(client, home), tags=dict(tags or {}))
    run_id = run.info.run_id
    for name, value in parameters.items():
        client.log_param(run_id, name, value)
    for name, number in metrics.items():
        client.log_metric(run_id, name, number)
    with TemporaryDirectory(dir=file.parent) as staging:
        for name, text in (artifacts or {}).items():
            target = Path(staging) / name
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_text(text, encoding="utf-8")
        (Path(staging) / "model").mkdir()
        shutil.copyfile(file, Path(staging) / "model" / MODEL_FILE_NAME)
        client.log_artifacts(run_id, staging)
    client.set_terminated(run_id)
    if not client.search_registered_models(f"name = '{REGISTERED_MODEL}'"):
        client.create_registered_model(REGISTERED_MODEL)
    source = f"{run.info.artifact_uri}/model"
    created_at = (at or datetime.now()).isoformat(timespec="seconds")
    own_tags = {"sha256": sha256, "snapshot": snapshot_id, _CREATED_AT_TAG: created_at}
    created = client.create_model_version(
        REGISTERED_MODEL, source, run_id, tags=own_tags | dict(tags or {})
    )
    return model_version(home, int(created.version))


def model_versions(home: Path) -> list[ModelVersion]:
    """Every registered version, the newest first."""
    if not _store(home).exists():
        return []
    client = registry_client(home)
    registered = client.search_model_versions(f"name = '{REGISTERED_MODEL}'")
    versions = [_version(client, home, entry) for entry in registered]
    return sorted(versions, key=lambda version: -version.version)


def model_version(home: Path, version: int | None = None) -> ModelVersion:
    """A version, by default the newest.

    Raises:
        ModelNotFound: there is no such version.
    """
    for registered in model_versions(home):
        if version is None or registered.version == version:
            return registered
    raise ModelNotFound(
        f"there is no model version {version}"
        if version
        else "no model is registered yet; run `handrail train`"
    )


def champion_version(home: Path) -> int | None:
    """The version of the alias `champion`; whether it may serve is decided elsewhere."""
    return _aliased(home, CHAMPION)


def challenger_version(home: Path) -> int | None:
    """The version of the alias `challenger`; it serves nobody."""
    return _aliased(home, CHALLENGER)


def set_challenger(home: Path, version: int) -> None:
    """Move the alias `challenger` to a version. That proposes it and opens nothing."""
    registry_client(home).set_registered_model_alias(REGISTERED_MODEL, CHALLENGER, str(version))


def registry_client(home: Path) -> Any:
    """MLflow's client on this home's registry."""
    os.environ["MLFLOW_DISABLE_TELEMETRY"] = "true"
    os.environ["DO_NOT_TRACK"] = "true"
    os.environ["MLFLOW_ALLOW_PICKLE_DESERIALIZATION"] = "false"
    os.environ.setdefault("MLFLOW_LOGGING_LEVEL", "WARNING")
    home.mkdir(parents=True, exist_ok=True)
    if not _store(home).exists():
        _create_store(_store(home))
    return _client(_store(home))


def artifact_json(content: JsonObject) -> str:
    """The text of a JSON artifact: sorted keys, no NaN."""
    return json.dumps(content, sort_keys=True, indent=1, allow_nan=False)


def _client(store: Path) -> Any:
    from mlflow import MlflowClient

    return MlflowClient(tracking_uri=f"sqlite:///{store}", registry_uri=f"sqlite:///{store}")


def _create_store(store: Path) -> None:
    """Create an empty registry atomically: MLflow creates its tables in many steps."""
    staging = store.with_suffix(f".{os.getpid()}.new")
    staging.unlink(missing_ok=True)
    _client(staging).search_experiments()
    with suppress(FileExistsError):
        os.link(staging, store)
    staging.unlink()


def _aliased(home: Path, alias: str) -> int | None:
    if not _store(home).exists():
        return None
    models = registry_client(home).search_registered_models(f"name = '{REGISTERED_MODEL}'")
    version = models[0].aliases.get(alias) if models else None
    return int(version) if version is not None else None


def _experiment(client: Any, home: Path) -> str:
    """The experiment whose artifacts lie in this home.

    MLflow never moves an experiment's artifacts, so a home that was moved gets another experiment.
    """
    location = _artifacts(home).as_uri()
    experiments = client.search_experiments()
    for experiment in experiments:
        if experiment.artifact_location == location:
            return str(experiment.experiment_id)
    is_taken = EXPERIMENT in {experiment.name for experiment in experiments}
    name = f"{EXPERIMENT} in {home}" if is_taken else EXPERIMENT
    return str(client.create_experiment(name, artifact_location=location))


def _version(client: Any, home: Path, entry: Any) -> ModelVersion:
    run = client.get_run(entry.run_id)
    return ModelVersion(
        version=int(entry.version),
        run_id=entry.run_id,
        sha256=entry.tags["sha256"],
        file=_artifacts(home) / entry.run_id / "artifacts/model" / MODEL_FILE_NAME,
        created_at=_created_at(entry),
        snapshot_id=entry.tags["snapshot"],
        metrics=dict(run.data.metrics),
        recipe=entry.tags.get("recipe", ""),
        reference_sha256=entry.tags.get(DRIFT_REFERENCE_TAG, ""),
        holdout_clone_sha256=entry.tags.get(HOLDOUT_CLONE_TAG, ""),
    )


def _created_at(entry: Any) -> datetime:
    """The district's time of a version; the registry's where an earlier release registered it."""
    stated = entry.tags.get(_CREATED_AT_TAG)
    if stated:
        return datetime.fromisoformat(stated)
    return datetime.fromtimestamp(entry.creation_timestamp / 1000)


def _store(home: Path) -> Path:
    return home / "mlflow.db"


def _artifacts(home: Path) -> Path:
    return home / "mlartifacts"
