"""What a version is worth on newer records, and whether it is better than the champion."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from records.snapshots.snapshot import Snapshot
from records.suppression.small_numbers import SmallNumbers
from training.episodes.episodes import (
    Episodes,
    NotEnoughEvidence,
    complete_decision_days,
)
from training.episodes.outcome import OutcomeDefinition
from training.evaluation.evaluate import (
    EvaluationSet,
    evaluate,
    evaluation_set,
)
from training.evaluation.model_comparison import (
    compare_models,
    days_not_trained_on,
    enough_to_judge,
    not_trained_on_mask,
)
from training.ranking.model_file import RankerModel, read_model
from training.ranking.ranker import BenefitRanker
from training.registry.inputs import ProgressCallback, _episodes, _programs, no_progress
from training.registry.model_card import JsonObject
from training.registry.registry import EVALUATION_FILE, ModelVersion

HOW_EVALUATED_AT_REGISTRATION = (
    "There is too little since the decision days that this version learned from. These are the"
    " figures from when it was registered: a clone that learned from the earlier decision days was"
    " judged on the later ones, not the model file itself."
)


HOW_EVALUATED_ON_NEW_DAYS = (
    "The model file was judged as it is, on decision days that it did not learn from."
)


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
    found = evaluate(
        evaluation_set(episodes, fresh, model.ranker.supports_, seed, SmallNumbers.from_home(home)),
        model.ranker,
        _programs(snapshot),
    )
    progress("judging on days that it did not learn from", 1, 1)
    return found.to_dict() | {"how": HOW_EVALUATED_ON_NEW_DAYS}


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
