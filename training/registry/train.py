"""From records to a registered candidate: episodes, a ranker, its evaluation and its card."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
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
from training.registry.inputs import ProgressCallback, _episodes, _programs, no_progress
from training.registry.model_card import JsonObject, card_facts, card_text
from training.registry.provenance import Provenance, current_provenance
from training.registry.registry import (
    _FILE,
    _REFERENCE_TAG,
    _TWIN_TAG,
    DRIFT_REFERENCE_FILE,
    EVALUATION_FILE,
    HOLDOUT_CLONE_FILE,
    ModelVersion,
    _json,
    register_model,
)

FoldsBy = Literal["student", "school"]


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
    episodes = episodes.clustered_by_school() if folds_by == "school" else episodes
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
        episodes.features, episodes.outcome, episodes.support, episodes.cluster
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
