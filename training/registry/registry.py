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
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from datetime import datetime
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Literal

import pandas as pd

from records.access.scope import pipeline_scope
from records.access.scoped_records import ScopedRecords
from records.snapshots.snapshot import Snapshot
from records.suppression.small_numbers import SmallNumbers
from records.system.errors import UserError
from records.system.files import write_atomic
from training.episodes.episodes import (
    Episodes,
    NotEnoughEvidence,
    build_episodes,
    calendar_decision_days,
    complete_decision_days,
    drop_feature_families,
    require_evidence,
)
from training.episodes.outcome import OutcomeDefinition
from training.estimation.pseudo_outcomes import NONE
from training.evaluation.drift import DriftReference, build_reference
from training.evaluation.evaluate import (
    Evaluation,
    EvaluationSet,
    distinct_days,
    evaluate,
    evaluate_on_later_days,
    evaluation_set,
    later_days_mask,
)
from training.evaluation.model_comparison import (
    compare_models,
    days_not_trained_on,
    enough_to_judge,
    not_trained_on_mask,
)
from training.evaluation.plots import calibration_plot, importance_plot, overlap_plot
from training.ranking.model_file import RankerModel, read_model, write_model
from training.ranking.ranker import BenefitRanker
from training.registry.model_card import JsonObject, card_facts, card_text
from training.registry.provenance import Provenance, current_provenance

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
HOW_EVALUATED_AT_REGISTRATION = (
    "There is too little since the decision days that this version learned from. These are the"
    " figures from when it was registered: a clone that learned from the earlier decision days was"
    " judged on the later ones, not the model file itself."
)
HOW_EVALUATED_ON_NEW_DAYS = (
    "The model file was judged as it is, on decision days that it did not learn from."
)
_FILE = "ranker.json"
_REFERENCE_TAG = "drift_reference"
_TWIN_TAG = "twin"
_MADE_TAG = "made"
FoldsBy = Literal["student", "school"]
ProgressCallback = Callable[[str, int, int], None]


def no_progress(step: str, done: int, total: int) -> None:
    """No progress is told."""


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


def train(
    snapshot: Snapshot,
    home: Path,
    *,
    behavior: bool = False,
    seed: int = 0,
    ranker: BenefitRanker | None = None,
    folds_by: FoldsBy = "student",
    episodes: Episodes | None = None,
    without: Sequence[str] = (),
    progress: ProgressCallback = no_progress,
    at: datetime | None = None,
) -> ModelVersion:
    """Learn from a snapshot and register a candidate, with its card and plots.

    Args:
        behavior: let discipline be an input, which a district must opt in to.
        without: families of features that are to be no input.
        ranker: its parameters are used; by default those of the design.
        folds_by: what is never split between what is learned from and what judges it.
        episodes: those of this snapshot and outcome, where they are built already.
        at: the district's time, which the version bears; by default this machine's.

    Raises:
        NotEnoughEvidence: naming what is missing; nothing is registered.
        UnknownFeatureFamily: `without` names no family of features that could be an input, or all
            of them.
    """
    outcome, small_numbers = OutcomeDefinition.of(home), SmallNumbers.from_home(home)
    episodes = _episodes(snapshot, outcome, behavior, progress) if episodes is None else episodes
    supports = require_evidence(episodes, snapshot)
    reference = build_reference(episodes, calendar_decision_days(snapshot), small_numbers).to_json()
    episodes = episodes.by_school() if folds_by == "school" else episodes
    episodes = drop_feature_families(episodes, without)
    parameters = _parameters(ranker, seed) | {"smallest_benefit": outcome.smallest_benefit}
    recipe = recipe_digest(
        snapshot,
        home,
        behavior=behavior,
        seed=seed,
        ranker=ranker,
        folds_by=folds_by,
        without=without,
    )
    made = parameters | {"supports": supports}
    progress("judging on later decision days", 0, 1)
    twin = BenefitRanker(**made)
    judgement = evaluate_on_later_days(episodes, twin, _programs(snapshot), seed, small_numbers)
    progress("judging on later decision days", 1, 1)
    progress("learning from all decision days", 0, 1)
    fitted = BenefitRanker(**made).fit(
        episodes.features, episodes.outcome, episodes.support, episodes.student
    )
    progress("learning from all decision days", 1, 1)
    origin = current_provenance(snapshot, outcome)
    manifest = _manifest(origin, outcome, episodes, supports, behavior, made, judgement) | {
        "without": list(without)
    }
    chosen = {"behavior": behavior, "without": ", ".join(without) or "nothing"}
    facts = card_facts(
        fitted,
        episodes,
        outcome,
        origin,
        judgement,
        manifest["parameters"] | chosen,
        small_numbers,
    )
    progress("registering with MLflow", 0, 1)
    (home / "models").mkdir(parents=True, exist_ok=True)
    with TemporaryDirectory(dir=home / "models") as staging:
        file = Path(staging) / _FILE
        digest = write_model(fitted, file, manifest)
        learned = {
            "decision_dates": [
                str(day)
                for day in distinct_days(episodes.decision_date[~later_days_mask(episodes)])
            ]
        }
        twin_file = Path(staging) / "twin.json"
        own = {_TWIN_TAG: write_model(twin, twin_file, manifest | learned)}
        logged = made | chosen | {"folds_by": folds_by}
        found = register_model(
            home,
            file,
            digest,
            snapshot.id,
            judgement.metrics(),
            logged,
            tags=_tags(origin, recipe, reference) | own,
            artifacts=_artifact_texts(facts, judgement, small_numbers)
            | {
                DRIFT_REFERENCE_FILE: reference,
                HOLDOUT_CLONE_FILE: twin_file.read_text(encoding="utf-8"),
            },
            at=at,
        )
    progress("registering with MLflow", 1, 1)
    return found


def recipe_digest(
    snapshot: Snapshot,
    home: Path,
    *,
    behavior: bool = False,
    seed: int = 0,
    ranker: BenefitRanker | None = None,
    folds_by: FoldsBy = "student",
    without: Sequence[str] = (),
) -> str:
    """The digest of all that would decide what a model trained now, and its card, would be: not of
    the commit, but of the code itself.
    """
    origin = asdict(current_provenance(snapshot, OutcomeDefinition.of(home)))
    del origin["commit"]
    parts = {
        "origin": origin,
        "behavior": behavior,
        "seed": seed,
        "parameters": _parameters(ranker, seed),
        "folds_by": folds_by,
        "without": sorted(without),
        "small_numbers": SmallNumbers.from_home(home).sha256,
    }
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()


def evaluate_version(
    snapshot: Snapshot,
    found: ModelVersion,
    home: Path,
    *,
    seed: int = 0,
    progress: ProgressCallback = no_progress,
) -> JsonObject:
    """What a version's policy is worth, kept with it; `how` says by which of two ways it was
    judged.

    The model file is judged on the snapshot's decision days that it did not learn from. Where these
    hold too little, the evaluation stands that was registered with it.

    Raises:
        NotEnoughEvidence: there is neither.
        InvalidModelFile: the file is not what was registered.
    """
    model = read_model(found.file, found.sha256)
    facts = _on_new_days(snapshot, model, home, seed, progress)
    if facts is None:
        registered = found.artifact(EVALUATION_FILE)
        if registered is None:
            raise NotEnoughEvidence(
                f"there is too little since the days that version {found.version} learned from, "
                "and no evaluation was registered with it"
            )
        facts = dict(registered) | {"how": HOW_EVALUATED_AT_REGISTRATION}
    found.keep(f"evaluations/on-{snapshot.id}.json", facts)
    return facts


def holdout_evaluation(
    found: ModelVersion, episodes: Episodes, seed: int = 0
) -> tuple[EvaluationSet, BenefitRanker] | None:
    """The clone of a version, with the episodes of decision days that it did not learn from.

    None where the version was registered without one, or where nobody started a support on these
    days.

    Raises:
        InvalidModelFile: the clone's file is not what was registered.
    """
    twin = found.twin()
    if twin is None:
        return None
    learned = set(twin.manifest["decision_dates"])
    fresh = ~episodes.decision_date.astype(str).isin(learned).to_numpy()
    try:
        return evaluation_set(episodes, fresh, twin.ranker.supports_, seed), twin.ranker
    except NotEnoughEvidence:
        return None


def compare_versions(
    snapshot: Snapshot,
    candidate: ModelVersion,
    champion: ModelVersion,
    home: Path,
    *,
    seed: int = 0,
    progress: ProgressCallback = no_progress,
) -> JsonObject:
    """A candidate against a champion on the same episodes and the same number of places, kept with
    the candidate.

    Raises:
        NotEnoughEvidence, NotComparable: they cannot be compared on these records.
        InvalidModelFile: a file is not what was registered, or was trained on another catalog of
            features.
    """
    models = [read_model(one.file, one.sha256) for one in (candidate, champion)]
    behavior = any(bool(model.manifest.get("behavior")) for model in models)
    episodes = _episodes(snapshot, OutcomeDefinition.of(home), behavior, progress)
    progress("comparing", 0, 1)
    found = compare_models(episodes, _programs(snapshot), models[0], models[1], seed=seed)
    progress("comparing", 1, 1)
    facts = found.to_dict(SmallNumbers.from_home(home)) | {
        "snapshot": snapshot.id,
        **_compared(candidate, champion),
    }
    candidate.keep(_against(champion), facts)
    return facts


def stored_comparison(candidate: ModelVersion, champion: ModelVersion) -> JsonObject | None:
    """The newest comparison on record of exactly these two models; None where there is none."""
    found = candidate.artifact(_against(champion))
    same = found is not None and all(
        found.get(name) == value for name, value in _compared(candidate, champion).items()
    )
    return found if same else None


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


def _episodes(
    snapshot: Snapshot, outcome: OutcomeDefinition, behavior: bool, progress: ProgressCallback
) -> Episodes:
    told = partial(progress, "looking back at decision days")
    return build_episodes(snapshot, behavior=behavior, outcome=outcome, progress=told)


def _on_new_days(
    snapshot: Snapshot, model: RankerModel, home: Path, seed: int, progress: ProgressCallback
) -> JsonObject | None:
    """The model file judged on decision days that it did not learn from; None where these hold too
    little.
    """
    outcome = OutcomeDefinition.of(home)
    if not days_not_trained_on(complete_decision_days(snapshot, outcome), model):
        return None
    episodes = _episodes(snapshot, outcome, bool(model.manifest.get("behavior")), progress)
    fresh = not_trained_on_mask(episodes, model)
    if not enough_to_judge(episodes, fresh):
        return None
    progress("judging on days that it did not learn from", 0, 1)
    small_numbers = SmallNumbers.from_home(home)
    found = evaluate(
        evaluation_set(episodes, fresh, model.ranker.supports_, seed, small_numbers),
        model.ranker,
        _programs(snapshot),
    )
    progress("judging on days that it did not learn from", 1, 1)
    return found.to_dict() | {"how": HOW_EVALUATED_ON_NEW_DAYS}


def _programs(snapshot: Snapshot) -> pd.DataFrame:
    return ScopedRecords(
        snapshot, pipeline_scope(snapshot, "training", snapshot.latest_date())
    ).frame("programs")


def _parameters(ranker: BenefitRanker | None, seed: int) -> dict[str, Any]:
    parameters: dict[str, Any] = (ranker or BenefitRanker(random_state=seed)).get_params()
    return parameters


def _manifest(
    origin: Provenance,
    outcome: OutcomeDefinition,
    episodes: Episodes,
    supports: tuple[str, ...],
    behavior: bool,
    parameters: Mapping[str, Any],
    judgement: Evaluation,
) -> dict[str, Any]:
    counts = episodes.support.value_counts()
    return {
        **asdict(origin),
        "weights": dict(outcome.weights),
        "behavior": behavior,
        "decision_dates": sorted(str(day) for day in episodes.decision_date.unique()),
        "episodes": {name: int(counts[name]) for name in (NONE, *supports)},
        "parameters": {
            name: list(value) if isinstance(value, tuple) else value
            for name, value in parameters.items()
        },
        "evaluation": judgement.metrics(),
    }


def _tags(origin: Provenance, recipe: str, reference: str) -> dict[str, str]:
    """MLflow has a name of its own for the commit."""
    own = {f"handrail.{name}": value for name, value in asdict(origin).items()}
    own |= {"recipe": recipe, _REFERENCE_TAG: hashlib.sha256(reference.encode()).hexdigest()}
    return own | ({"mlflow.source.git.commit": origin.commit} if origin.commit else {})


def _artifact_texts(
    facts: JsonObject, judgement: Evaluation, small_numbers: SmallNumbers
) -> dict[str, str]:
    return {
        "card/model_card.md": card_text(facts, small_numbers),
        "card/model_card.json": _json(facts),
        EVALUATION_FILE: _json(judgement.to_dict()),
        "plots/overlap.svg": overlap_plot(judgement.overlap),
        "plots/calibration.svg": calibration_plot(judgement.calibration),
        "plots/importance.svg": importance_plot(facts["importance"]),
    }


def _compared(candidate: ModelVersion, champion: ModelVersion) -> dict[str, Any]:
    """What binds a comparison to two models and no others."""
    return {
        "candidate_version": candidate.version,
        "candidate_sha256": candidate.sha256,
        "champion_version": champion.version,
        "champion_sha256": champion.sha256,
    }


def _against(champion: ModelVersion) -> str:
    return f"comparisons/against-v{champion.version}.json"


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
