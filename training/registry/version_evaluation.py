"""What a version is worth on newer records, and whether it is better than the champion."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from records.snapshots.snapshot import Snapshot
from records.suppression.small_numbers import SmallNumbers
from training.episodes.episodes import Episodes, NotEnoughEvidence, complete_decision_days
from training.episodes.outcome import OutcomeDefinition
from training.evaluation.evaluate import EvaluationSet, evaluate, evaluation_set
from training.evaluation.model_comparison import (
    compare_models,
    days_not_trained_on,
    enough_to_judge,
    not_trained_on_mask,
)
from training.ranking.model_file import RankerModel, read_model
from training.ranking.ranker import BenefitRanker
from training.registry.inputs import (
    EpisodesLoader,
    ProgressCallback,
    load_episodes,
    load_programs,
    no_progress,
)
from training.registry.model_card import JsonObject
from training.registry.registry import EVALUATION_FILE, ModelVersion

HOW_EVALUATED_AT_REGISTRATION = (
    "There is too little data since this version's training period. These figures date from"
    " registration: a holdout model trained on the earlier decision days was evaluated on the later"
    " ones, not the model file itself."
)
HOW_EVALUATED_ON_NEW_DAYS = (
    "The registered model was evaluated on decision days it was not trained on."
)


def evaluate_version(
    snapshot: Snapshot,
    version: ModelVersion,
    home: Path,
    *,
    seed: int = 0,
    progress: ProgressCallback = no_progress,
) -> JsonObject:
    """What a version's policy is worth, stored with it; `how` says how it was evaluated.

    The model file is evaluated on the snapshot's decision days that it was not trained on. Where
    these hold too little data, the evaluation made at registration stands.

    Raises:
        NotEnoughEvidence: there is neither.
        InvalidModelFile: the file is not what was registered.
    """
    model = read_model(version.file, version.sha256)
    evaluation = _evaluation_on_new_days(snapshot, model, home, seed, progress)
    if evaluation is None:
        registered = version.artifact(EVALUATION_FILE)
        if registered is None:
            raise NotEnoughEvidence(
                f"there is too little data since version {version.version}'s training period, "
                "and no evaluation was registered with it"
            )
        evaluation = dict(registered) | {"how": HOW_EVALUATED_AT_REGISTRATION}
    version.keep(f"evaluations/on-{snapshot.id}.json", evaluation)
    return evaluation


def holdout_evaluation(
    version: ModelVersion, episodes: Episodes, seed: int = 0
) -> tuple[EvaluationSet, BenefitRanker] | None:
    """The holdout clone of a version, with the episodes of decision days it was not trained on.

    None where the version was registered without one, or where nobody started a support on these
    days.

    Raises:
        InvalidModelFile: the clone's file is not what was registered.
    """
    clone = version.twin()
    if clone is None:
        return None
    trained_days = set(clone.manifest["decision_dates"])
    held_out = ~episodes.decision_date.astype(str).isin(trained_days).to_numpy()
    try:
        return evaluation_set(episodes, held_out, clone.ranker.supports_, seed), clone.ranker
    except NotEnoughEvidence:
        return None


def compare_versions(
    snapshot: Snapshot,
    candidate: ModelVersion,
    champion: ModelVersion,
    home: Path,
    *,
    seed: int = 0,
    load: EpisodesLoader = load_episodes,
    progress: ProgressCallback = no_progress,
) -> JsonObject:
    """A candidate against a champion on the same episodes and capacity, stored with the candidate.

    Raises:
        NotEnoughEvidence, NotComparable: they cannot be compared on these records.
        InvalidModelFile: a file is not what was registered, or was trained on a different feature
            catalog.
    """
    candidate_model = read_model(candidate.file, candidate.sha256)
    champion_model = read_model(champion.file, champion.sha256)
    behavior = any(
        bool(model.manifest.get("behavior")) for model in (candidate_model, champion_model)
    )
    episodes = load(snapshot, OutcomeDefinition.of(home), behavior, progress)
    progress("comparing", 0, 1)
    comparison = compare_models(
        episodes, load_programs(snapshot), candidate_model, champion_model, seed=seed
    )
    progress("comparing", 1, 1)
    stored = comparison.to_dict(SmallNumbers.from_home(home)) | {
        "snapshot": snapshot.id,
        **_versions(candidate, champion),
    }
    candidate.keep(_comparison_file(champion), stored)
    return stored


def stored_comparison(candidate: ModelVersion, champion: ModelVersion) -> JsonObject | None:
    """The newest comparison on record of exactly these two models; None where there is none."""
    comparison = candidate.artifact(_comparison_file(champion))
    is_of_these = comparison is not None and all(
        comparison.get(name) == value for name, value in _versions(candidate, champion).items()
    )
    return comparison if is_of_these else None


def _evaluation_on_new_days(
    snapshot: Snapshot, model: RankerModel, home: Path, seed: int, progress: ProgressCallback
) -> JsonObject | None:
    """The model evaluated on days it was not trained on; None where these hold too little data."""
    outcome = OutcomeDefinition.of(home)
    if not days_not_trained_on(complete_decision_days(snapshot, outcome), model):
        return None
    behavior = bool(model.manifest.get("behavior"))
    episodes = load_episodes(snapshot, outcome, behavior, progress)
    held_out = not_trained_on_mask(episodes, model)
    if not enough_to_judge(episodes, held_out):
        return None
    progress("evaluating on held-out days", 0, 1)
    small_numbers = SmallNumbers.from_home(home)
    evaluated = evaluation_set(episodes, held_out, model.ranker.supports_, seed, small_numbers)
    evaluation = evaluate(evaluated, model.ranker, load_programs(snapshot))
    progress("evaluating on held-out days", 1, 1)
    return evaluation.to_dict() | {"how": HOW_EVALUATED_ON_NEW_DAYS}


def _versions(candidate: ModelVersion, champion: ModelVersion) -> dict[str, Any]:
    """What binds a comparison to two models and no others."""
    return {
        "candidate_version": candidate.version,
        "candidate_sha256": candidate.sha256,
        "champion_version": champion.version,
        "champion_sha256": champion.sha256,
    }


def _comparison_file(champion: ModelVersion) -> str:
    return f"comparisons/against-v{champion.version}.json"
