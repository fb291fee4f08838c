"""From records to a registered model version: train, evaluate, compare, write the file, register it
with MLflow.

The registry (MLflow on SQLite) holds what each version is, how it was made and what was found of it
since. Nothing here moves the alias `champion`: that takes the fairness gate and a reviewer's
signature (`fairness.approval.signoff`). MLflow is imported when first needed, since its import
takes seconds; its telemetry is off, and no row of data is logged (R57).
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
"""The newest version that was found better than the champion, or the newest where there is none. It
serves nobody."""
EXPERIMENT = "handrail"
EVALUATION_FILE = "evaluation.json"
DRIFT_REFERENCE_FILE = "drift/reference.json"
"""What the students that a version learned from looked like: what drift is measured against."""
HOLDOUT_CLONE_FILE = "twin/ranker.json"
"""The clone of a version that learned from the earlier decision days and was judged on the later
ones."""
_FILE = "ranker.json"
_REFERENCE_TAG = "drift_reference"
_TWIN_TAG = "twin"
_MADE_TAG = "made"


class ModelNotFound(UserError, LookupError):
    """No such model version is registered."""


class DriftReferenceCorrupt(UserError, ValueError):
    """What a version's students looked like is not as it was registered."""


@dataclass(frozen=True)
class ModelVersion:
    """One registered version. `sha256` is that of the bytes of `file` when it was registered.

    `recipe` is a digest of all that decided what it is: records, catalog, outcome, code and
    parameters. Equal recipes give equal models; it is empty where that is not known.
    `reference_sha256` is that of the bytes of `DRIFT_REFERENCE_FILE`, empty where the version was
    registered without one; `twin_sha256` is that of `HOLDOUT_CLONE_FILE`, alike. `created_at` is in
    the district's time, without a zone.
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
    twin_sha256: str = ""

    def artifact(self, name: str) -> JsonObject | None:
        """What was found of this version under this name; None where nothing was."""
        file = self.artifacts / name
        found: JsonObject | None = (
            json.loads(file.read_text(encoding="utf-8")) if file.exists() else None
        )
        return found

    def reference(self) -> DriftReference | None:
        """What its students looked like; None where it was registered without.

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
                f"what version {self.version} learned from cannot be read: {error}"
            ) from None
        if hashlib.sha256(data).hexdigest() != self.reference_sha256:
            raise DriftReferenceCorrupt(
                f"{file} is not the file that was registered: its SHA-256 is another"
            )
        return DriftReference.from_json(data)

    def twin(self) -> RankerModel | None:
        """The clone that was judged in its place; None where it was registered without.

        Raises:
            InvalidModelFile: the file is not the one that was registered, or of another catalog of
                features.
        """
        return (
            read_model(self.artifacts / HOLDOUT_CLONE_FILE, self.twin_sha256)
            if self.twin_sha256
            else None
        )

    def keep(self, name: str, found: JsonObject) -> None:
        """Keep what was found of this version, whole or not at all: MLflow's own way copies in
        place.
        """
        write_atomic(self.artifacts / name, _json(found))

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

    The version is made last: what is cut short before leaves a run that belongs to none.

    Args:
        tags: further ones, of the run and of the version.
        artifacts: further texts to keep with the run, by the name of their file.
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
        shutil.copyfile(file, Path(staging) / "model" / _FILE)
        client.log_artifacts(run_id, staging)
    client.set_terminated(run_id)
    if not client.search_registered_models(f"name = '{REGISTERED_MODEL}'"):
        client.create_registered_model(REGISTERED_MODEL)
    source = f"{run.info.artifact_uri}/model"
    moment = (at or datetime.now()).isoformat(timespec="seconds")
    own = {"sha256": sha256, "snapshot": snapshot_id, _MADE_TAG: moment} | dict(tags or {})
    made = client.create_model_version(REGISTERED_MODEL, source, run_id, tags=own)
    return model_version(home, int(made.version))


def model_versions(home: Path) -> list[ModelVersion]:
    """Every registered version, the newest first; none where nothing was ever registered."""
    if not _store(home).exists():
        return []
    client = registry_client(home)
    found = client.search_model_versions(f"name = '{REGISTERED_MODEL}'")
    return sorted((_version(client, home, made) for made in found), key=lambda made: -made.version)


def model_version(home: Path, version: int | None = None) -> ModelVersion:
    """A version, by default the newest.

    Raises:
        ModelNotFound: there is no such version.
    """
    for found in model_versions(home):
        if version is None or found.version == version:
            return found
    raise ModelNotFound(
        f"there is no model version {version}"
        if version
        else "no model is registered: run `handrail train`"
    )


def champion_version(home: Path) -> int | None:
    """Where the alias points, whoever moved it: not yet a promise that it may serve."""
    return _aliased(home, CHAMPION)


def challenger_version(home: Path) -> int | None:
    """The version that a nightly training found better than the champion; it serves nobody."""
    return _aliased(home, CHALLENGER)


def set_challenger(home: Path, version: int) -> None:
    """Let the alias `challenger` point to a version. That opens nothing: it proposes."""
    registry_client(home).set_registered_model_alias(REGISTERED_MODEL, CHALLENGER, str(version))


def registry_client(home: Path) -> Any:
    """MLflow's client on this home's registry."""
    os.environ["MLFLOW_DISABLE_TELEMETRY"] = "true"
    os.environ["DO_NOT_TRACK"] = "true"
    os.environ["MLFLOW_ALLOW_PICKLE_DESERIALIZATION"] = "false"
    os.environ.setdefault("MLFLOW_LOGGING_LEVEL", "WARNING")
    home.mkdir(parents=True, exist_ok=True)
    if not _store(home).exists():
        _lay_out(_store(home))
    return _client(_store(home))


def _client(store: Path) -> Any:
    from mlflow import MlflowClient

    return MlflowClient(tracking_uri=f"sqlite:///{store}", registry_uri=f"sqlite:///{store}")


def _lay_out(store: Path) -> None:
    """Make an empty registry, whole or not at all: MLflow lays its tables out in many steps."""
    staging = store.with_suffix(f".{os.getpid()}.new")
    staging.unlink(missing_ok=True)
    _client(staging).search_experiments()
    with suppress(FileExistsError):
        os.link(staging, store)
    staging.unlink()


def _json(facts: JsonObject) -> str:
    return json.dumps(facts, sort_keys=True, indent=1, allow_nan=False)


def _aliased(home: Path, alias: str) -> int | None:
    if not _store(home).exists():
        return None
    found = registry_client(home).search_registered_models(f"name = '{REGISTERED_MODEL}'")
    version = found[0].aliases.get(alias) if found else None
    return int(version) if version is not None else None


def _experiment(client: Any, home: Path) -> str:
    """The experiment whose artifacts lie in this home; another where the home was moved, since
    theirs never move.
    """
    location = _artifacts(home).as_uri()
    known = client.search_experiments()
    for experiment in known:
        if experiment.artifact_location == location:
            return str(experiment.experiment_id)
    name = (
        EXPERIMENT if EXPERIMENT not in {one.name for one in known} else f"{EXPERIMENT} in {home}"
    )
    return str(client.create_experiment(name, artifact_location=location))


def _version(client: Any, home: Path, made: Any) -> ModelVersion:
    run = client.get_run(made.run_id)
    return ModelVersion(
        int(made.version),
        made.run_id,
        made.tags["sha256"],
        _artifacts(home) / made.run_id / "artifacts/model" / _FILE,
        _made_at(made),
        made.tags["snapshot"],
        dict(run.data.metrics),
        made.tags.get("recipe", ""),
        made.tags.get(_REFERENCE_TAG, ""),
        made.tags.get(_TWIN_TAG, ""),
    )


def _made_at(made: Any) -> datetime:
    """The district's time of a version; that of the registry where an earlier release made it."""
    said = made.tags.get(_MADE_TAG)
    return (
        datetime.fromisoformat(said)
        if said
        else datetime.fromtimestamp(made.creation_timestamp / 1000)
    )


def _store(home: Path) -> Path:
    return home / "mlflow.db"


def _artifacts(home: Path) -> Path:
    return home / "mlartifacts"
