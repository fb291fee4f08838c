"""The nightly retraining: train if anything changed, audit, compare with the champion, propose.

It never approves a version: at most it points the alias `challenger` to one. Each step is done only
if it is not done yet, so that an interrupted night is finished by the next one.
"""

from __future__ import annotations

import fcntl
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

from fairness.audit.audit import Audit, AuditError
from fairness.checks.policy import Policy
from fairness.gate.gate import Verdict
from fairness.report.report import latest_audit
from handrail.commands.models import audit_version
from handrail.settings import Settings
from records.snapshots.snapshot import Snapshot
from records.system.errors import UserError
from records.system.progress import ProgressCallback
from training.episodes.outcome import OutcomeDefinition
from training.evaluation.model_comparison import Superiority
from training.monitoring.drift_report import DriftReport, compute_drift_report
from training.ranking.model_file import InvalidModelFile, read_model
from training.ranking.ranker import BenefitRanker
from training.registry.inputs import EpisodesLoader, KeptEpisodes
from training.registry.model_card import JsonObject
from training.registry.registry import (
    ModelVersion,
    champion_version,
    model_version,
    model_versions,
    set_challenger,
)
from training.registry.train import recipe_digest, train
from training.registry.version_evaluation import compare_versions, stored_comparison


class RetrainInProgress(UserError, RuntimeError):
    """Another nightly retraining holds the lock."""


@dataclass(frozen=True)
class NightlyResult:
    """What one nightly retraining did and found.

    `comparison` is with the champion, None where there was none to compare with; `is_challenger`
    says that the version is the challenger now. `drift` is that of the champion, or of this version
    where there is none. `champion_verdict` is the champion's own new audit, where one was due.
    """

    version: int
    trained: bool
    verdict: Verdict
    comparison: JsonObject | None
    is_challenger: bool
    drift: DriftReport
    champion_verdict: Verdict | None = None

    @property
    def finding(self) -> str:
        """How the version compares with the champion."""
        return (
            str(self.comparison["finding"])
            if self.comparison
            else "there is no champion that it could be compared with"
        )

    def to_dict(self) -> dict[str, Any]:
        """Plain values for night.json."""
        return {
            "version": self.version,
            "trained": self.trained,
            "audit": str(self.verdict),
            "finding": self.finding,
            "reaudited": str(self.champion_verdict) if self.champion_verdict else None,
            "proposed": self.is_challenger,
            "drift": {
                "version": self.drift.version,
                "features": str(self.drift.features),
                "outcome": str(self.drift.outcome),
                "train_anew": self.drift.needs_retraining,
            },
        }


def retrain(
    settings: Settings,
    *,
    behavior: bool = False,
    seed: int = 0,
    ranker: BenefitRanker | None = None,
    without: Sequence[str] = (),
    progress: ProgressCallback,
) -> NightlyResult:
    """Retrain on the current snapshot; the result is stored with the version as night.json.

    Raises:
        RetrainInProgress: another retraining is running.
        NotEnoughEvidence: these records are too few to train on, or to compare versions.
        NotComparable: the champion was trained in a way that is no longer supported.
        DriftReferenceCorrupt: the champion's reference data are not as registered.
    """
    with _retrain_lock(settings.home):
        snapshot, load = Snapshot.current(settings.home), KeptEpisodes()
        version, trained = _train_if_needed(
            snapshot, settings, behavior, seed, ranker, without, load, progress
        )
        audit = _audit_if_missing(settings, version, load, progress)
        champion = _usable_champion(settings.home)
        comparison = None
        if champion is not None and champion.version != version.version:
            comparison = stored_comparison(version, champion) or compare_versions(
                snapshot, version, champion, settings.home, seed=seed, load=load, progress=progress
            )
        better = champion is None or (
            comparison is not None and comparison["finding"] == Superiority.BETTER
        )
        is_challenger = better and audit.verdict is not Verdict.FAIL
        if is_challenger:
            set_challenger(settings.home, version.version)
        drift = compute_drift_report(
            snapshot,
            champion or version,
            settings.home,
            settings.now(),
            seed=seed,
            progress=progress,
        )
        champion_verdict = _reaudit_champion(settings, champion, load, progress)
        result = NightlyResult(
            version.version,
            trained,
            audit.verdict,
            comparison,
            is_challenger,
            drift,
            champion_verdict,
        )
        version.keep("night.json", result.to_dict())
    return result


def _train_if_needed(
    snapshot: Snapshot,
    settings: Settings,
    behavior: bool,
    seed: int,
    ranker: BenefitRanker | None,
    without: Sequence[str],
    load: EpisodesLoader,
    progress: ProgressCallback,
) -> tuple[ModelVersion, bool]:
    """The newest version, and whether it was trained now: not if its inputs are unchanged."""
    home = settings.home
    versions = model_versions(home)
    recipe = recipe_digest(
        snapshot, home, behavior=behavior, seed=seed, ranker=ranker, without=without
    )
    if versions and versions[0].recipe == recipe:
        return versions[0], False
    return train(
        snapshot,
        home,
        behavior=behavior,
        seed=seed,
        ranker=ranker,
        episodes=load(snapshot, OutcomeDefinition.of(home), behavior, progress),
        without=without,
        progress=progress,
        at=settings.now(),
    ), True


def _audit_if_missing(
    settings: Settings, version: ModelVersion, load: EpisodesLoader, progress: ProgressCallback
) -> Audit:
    """The version's audit. An existing one stays as it is: a signature may rest on it."""
    try:
        audit = latest_audit(settings.home, version.version)
    except AuditError:
        audit = None
    if audit is None:
        audit, _ = audit_version(settings, version.version, progress, load=load)
    return audit


def _reaudit_champion(
    settings: Settings,
    champion: ModelVersion | None,
    load: EpisodesLoader,
    progress: ProgressCallback,
) -> Verdict | None:
    """Audit the champion again if its newest audit is older than the policy's days."""
    if champion is None:
        return None
    newest = latest_audit(settings.home, champion.version)
    max_age = timedelta(days=Policy.from_home(settings.home).reaudit_days)
    if newest is not None and settings.now() - newest.at < max_age:
        return None
    audit, _ = audit_version(settings, champion.version, progress, load=load)
    return audit.verdict


def _usable_champion(home: Path) -> ModelVersion | None:
    """The champion, if its file can still be read; one that cannot be used is no rival."""
    number = champion_version(home)
    if number is None:
        return None
    champion = model_version(home, number)
    try:
        read_model(champion.file, champion.sha256)
    except InvalidModelFile:
        return None
    return champion


@contextmanager
def _retrain_lock(home: Path) -> Iterator[None]:
    """Hold the lock of nightly retraining; it ends with the process, however that ends."""
    folder = home / "models"
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / ".retrain.lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise RetrainInProgress(
                "another retraining is already running; this one did nothing"
            ) from None
        yield
