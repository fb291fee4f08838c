"""From records to a registered candidate: episodes, a ranker, its evaluation and its card."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Literal

from records.snapshots.snapshot import Snapshot
from records.suppression.small_numbers import SmallNumbers
from training.episodes.episodes import (
    Episodes,
    calendar_decision_days,
    drop_feature_families,
    require_evidence,
)
from training.episodes.outcome import OutcomeDefinition
from training.estimation.pseudo_outcomes import NONE
from training.evaluation.drift import build_reference
from training.evaluation.evaluate import (
    Evaluation,
    distinct_days,
    evaluate_on_later_days,
    later_days_mask,
)
from training.evaluation.plots import calibration_plot, importance_plot, overlap_plot
from training.ranking.model_file import write_model
from training.ranking.ranker import BenefitRanker
from training.registry.inputs import ProgressCallback, load_episodes, load_programs, no_progress
from training.registry.model_card import JsonObject, card_facts, card_text
from training.registry.provenance import Provenance, current_provenance
from training.registry.registry import (
    DRIFT_REFERENCE_FILE,
    DRIFT_REFERENCE_TAG,
    EVALUATION_FILE,
    HOLDOUT_CLONE_FILE,
    HOLDOUT_CLONE_TAG,
    MODEL_FILE_NAME,
    ModelVersion,
    artifact_json,
    register_model,
)

FoldsBy = Literal["student", "school"]


@dataclass(frozen=True)
class _Fit:
    """One training run: its inputs, the model, the holdout clone and the clone's evaluation."""

    outcome: OutcomeDefinition
    episodes: Episodes
    provenance: Provenance
    parameters: Mapping[str, Any]
    """Of both rankers, with the supports."""
    behavior: bool
    without: Sequence[str]
    ranker: BenefitRanker
    clone: BenefitRanker
    """Trained on the earlier decision days."""
    evaluation: Evaluation
    """Of the clone, on the later ones."""
    small_numbers: SmallNumbers

    @property
    def inputs(self) -> dict[str, Any]:
        """What decided which features are read, as the card and the registry show it."""
        return {"behavior": self.behavior, "without": ", ".join(self.without) or "nothing"}


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
    """Train on a snapshot and register a candidate, with its card and plots.

    Args:
        snapshot: the records.
        home: the folder of the registry; the district's definition of progress is read from it.
        behavior: let discipline be an input, which a district must opt in to.
        seed: of all draws.
        ranker: its parameters are used; by default those of the design.
        folds_by: what is never split between training and held-out episodes.
        episodes: those of this snapshot and outcome, where they are built already.
        without: families of features that are to be no input.
        progress: called with the step and how much of it is done.
        at: the district's time, which the version bears; by default this machine's.

    Raises:
        NotEnoughEvidence: naming what is missing; nothing is registered.
        UnknownFeatureFamily: `without` names no family of features that could be an input, or all
            of them.
    """
    outcome, small_numbers = OutcomeDefinition.of(home), SmallNumbers.from_home(home)
    if episodes is None:
        episodes = load_episodes(snapshot, outcome, behavior, progress)
    supports = require_evidence(episodes, snapshot)
    reference = build_reference(episodes, calendar_decision_days(snapshot), small_numbers).to_json()
    episodes = episodes.clustered_by_school() if folds_by == "school" else episodes
    episodes = drop_feature_families(episodes, without)
    recipe = recipe_digest(
        snapshot,
        home,
        behavior=behavior,
        seed=seed,
        ranker=ranker,
        folds_by=folds_by,
        without=without,
    )
    parameters = _parameters(ranker, seed) | {
        "smallest_benefit": outcome.smallest_benefit,
        "supports": supports,
    }
    progress("evaluating on later decision days", 0, 1)
    clone = BenefitRanker(**parameters)
    evaluation = evaluate_on_later_days(
        episodes, clone, load_programs(snapshot), seed, small_numbers
    )
    progress("evaluating on later decision days", 1, 1)
    progress("training on all decision days", 0, 1)
    fitted = BenefitRanker(**parameters).fit(
        episodes.features, episodes.outcome, episodes.support, episodes.cluster
    )
    progress("training on all decision days", 1, 1)
    fit = _Fit(
        outcome=outcome,
        episodes=episodes,
        provenance=current_provenance(snapshot, outcome),
        parameters=parameters,
        behavior=behavior,
        without=without,
        ranker=fitted,
        clone=clone,
        evaluation=evaluation,
        small_numbers=small_numbers,
    )
    progress("registering with MLflow", 0, 1)
    version = _register(fit, snapshot, home, folds_by, recipe, reference, at)
    progress("registering with MLflow", 1, 1)
    return version


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
    """The digest of all that would decide what a model trained now, and its card, would be.

    It covers the code itself, not its commit. Arguments as for `train`.
    """
    provenance = asdict(current_provenance(snapshot, OutcomeDefinition.of(home)))
    del provenance["commit"]
    recipe = {
        "origin": provenance,
        "behavior": behavior,
        "seed": seed,
        "parameters": _parameters(ranker, seed),
        "folds_by": folds_by,
        "without": sorted(without),
        "small_numbers": SmallNumbers.from_home(home).sha256,
    }
    return hashlib.sha256(json.dumps(recipe, sort_keys=True).encode()).hexdigest()


def _parameters(ranker: BenefitRanker | None, seed: int) -> dict[str, Any]:
    parameters: dict[str, Any] = (ranker or BenefitRanker(random_state=seed)).get_params()
    return parameters


def _register(
    fit: _Fit,
    snapshot: Snapshot,
    home: Path,
    folds_by: FoldsBy,
    recipe: str,
    reference: str,
    at: datetime | None,
) -> ModelVersion:
    """Write the files of a fit and register them as a version.

    Args:
        recipe: digest of the recipe.
        reference: the drift reference, as JSON.
    """
    manifest = _manifest(fit)
    clone_days = distinct_days(fit.episodes.decision_date[~later_days_mask(fit.episodes)])
    clone_manifest = manifest | {"decision_dates": [str(day) for day in clone_days]}
    facts = card_facts(
        fit.ranker,
        fit.episodes,
        fit.outcome,
        fit.provenance,
        fit.evaluation,
        manifest["parameters"] | fit.inputs,
        fit.small_numbers,
    )
    (home / "models").mkdir(parents=True, exist_ok=True)
    with TemporaryDirectory(dir=home / "models") as staging:
        file, clone_file = Path(staging) / MODEL_FILE_NAME, Path(staging) / "twin.json"
        model_sha256 = write_model(fit.ranker, file, manifest)
        clone_sha256 = write_model(fit.clone, clone_file, clone_manifest)
        return register_model(
            home,
            file,
            model_sha256,
            snapshot.id,
            fit.evaluation.metrics(),
            {**fit.parameters, **fit.inputs, "folds_by": folds_by},
            tags=_tags(fit.provenance, recipe, reference) | {HOLDOUT_CLONE_TAG: clone_sha256},
            artifacts=_artifact_texts(facts, fit.evaluation, fit.small_numbers)
            | {
                DRIFT_REFERENCE_FILE: reference,
                HOLDOUT_CLONE_FILE: clone_file.read_text(encoding="utf-8"),
            },
            at=at,
        )


def _manifest(fit: _Fit) -> dict[str, Any]:
    """What a model file says of its own training."""
    counts = fit.episodes.support.value_counts()
    supports = fit.parameters["supports"]
    return {
        **asdict(fit.provenance),
        "weights": dict(fit.outcome.weights),
        "behavior": fit.behavior,
        "decision_dates": sorted(str(day) for day in fit.episodes.decision_date.unique()),
        "episodes": {name: int(counts[name]) for name in (NONE, *supports)},
        "parameters": {
            name: list(value) if isinstance(value, tuple) else value
            for name, value in fit.parameters.items()
        },
        "evaluation": fit.evaluation.metrics(),
        "without": list(fit.without),
    }


def _tags(provenance: Provenance, recipe: str, reference: str) -> dict[str, str]:
    """Tags of the run and the version. MLflow has a name of its own for the commit."""
    tags = {f"handrail.{name}": value for name, value in asdict(provenance).items()}
    tags["recipe"] = recipe
    tags[DRIFT_REFERENCE_TAG] = hashlib.sha256(reference.encode()).hexdigest()
    if provenance.commit:
        tags["mlflow.source.git.commit"] = provenance.commit
    return tags


def _artifact_texts(
    facts: JsonObject, evaluation: Evaluation, small_numbers: SmallNumbers
) -> dict[str, str]:
    return {
        "card/model_card.md": card_text(facts, small_numbers),
        "card/model_card.json": artifact_json(facts),
        EVALUATION_FILE: artifact_json(evaluation.to_dict()),
        "plots/overlap.svg": overlap_plot(evaluation.overlap),
        "plots/calibration.svg": calibration_plot(evaluation.calibration),
        "plots/importance.svg": importance_plot(facts["importance"]),
    }
