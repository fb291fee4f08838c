"""The nightly training: learn anew where something changed, audit, compare with the champion, and
propose.

It stops at the gate: the most that it does is to let the alias `challenger` point to a version.
Each step is done only where it is not done yet, so that a night that was cut short is finished by
the next one.
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
from fairness.gate.gate import Verdict
from fairness.policy.policy import Policy
from fairness.report.report import latest_audit
from handrail.commands.models import audit_version
from handrail.console import ProgressCallback
from handrail.settings import Settings
from records.snapshots.snapshot import Snapshot
from records.system.errors import UserError
from training.evaluation.model_comparison import Superiority
from training.monitoring.drift_report import DriftReport, compute_drift_report
from training.ranking.model_file import InvalidModelFile, read_model
from training.ranking.ranker import BenefitRanker
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
    """Another nightly training holds the lock."""


@dataclass(frozen=True)
class NightlyResult:
    """What one night found. `compared` is None where there was nothing to compare with; `proposed`:
    the version is the challenger now. `drift` is that of the champion, or of this version where
    there is none. `reaudited`: what the champion's own audit said, where one was due.
    """

    version: int
    trained: bool
    verdict: Verdict
    compared: JsonObject | None
    proposed: bool
    drift: DriftReport
    reaudited: Verdict | None = None

    @property
    def finding(self) -> str:
        """How the version stands against the champion."""
        return (
            str(self.compared["finding"])
            if self.compared
            else "there is no champion that it could be compared with"
        )

    def to_dict(self) -> dict[str, Any]:
        """Plain values, as JSON wants them."""
        return {
            "version": self.version,
            "trained": self.trained,
            "audit": str(self.verdict),
            "finding": self.finding,
            "reaudited": str(self.reaudited) if self.reaudited else None,
            "proposed": self.proposed,
            "drift": {
                "version": self.drift.version,
                "features": str(self.drift.features),
                "outcome": str(self.drift.outcome),
                "train_anew": self.drift.train_anew,
            },
        }


def retrain(
    settings: Settings,
    *,
    behavior: bool = False,
    seed: int = 0,
    ranker: BenefitRanker | None = None,
    without: Sequence[str] = (),
    step: ProgressCallback,
) -> NightlyResult:
    """One night's work on the current snapshot; what it found is kept with the version as
    night.json.

    Raises:
        RetrainInProgress: another one runs.
        NotEnoughEvidence: nothing can be learned, or compared, from these records.
        NotComparable: the champion was learned in a way that is no longer known.
        DriftReferenceCorrupt: what its students looked like is not as it was registered.
    """
    with _only_one(settings.home):
        snapshot = Snapshot.current(settings.home)
        made, trained = _newest(snapshot, settings, behavior, seed, ranker, without, step)
        audit = _audited(settings, made, step)
        champion = _champion(settings.home)
        compared = None
        if champion is not None and champion.version != made.version:
            compared = stored_comparison(made, champion) or compare_versions(
                snapshot, made, champion, settings.home, seed=seed, progress=step
            )
        better = champion is None or (
            compared is not None and compared["finding"] == Superiority.BETTER
        )
        proposed = better and audit.verdict is not Verdict.FAIL
        if proposed:
            set_challenger(settings.home, made.version)
        drift = compute_drift_report(
            snapshot, champion or made, settings.home, settings.now(), seed=seed, progress=step
        )
        again = _reaudited(settings, champion, step)
        night = NightlyResult(
            made.version, trained, audit.verdict, compared, proposed, drift, again
        )
        made.keep("night.json", night.to_dict())
    return night


def _newest(
    snapshot: Snapshot,
    settings: Settings,
    behavior: bool,
    seed: int,
    ranker: BenefitRanker | None,
    without: Sequence[str],
    step: ProgressCallback,
) -> tuple[ModelVersion, bool]:
    """The newest version, trained now unless it was made from just this."""
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
        without=without,
        progress=step,
        at=settings.now(),
    ), True


def _audited(settings: Settings, made: ModelVersion, step: ProgressCallback) -> Audit:
    """The version's audit. One that is there stays as it is: a signature may rest on it."""
    try:
        audit = latest_audit(settings.home, made.version)
    except AuditError:
        audit = None
    if audit is None:
        audit, _ = audit_version(settings, made.version, step)
    return audit


def _reaudited(
    settings: Settings, champion: ModelVersion | None, step: ProgressCallback
) -> Verdict | None:
    """Audit the champion again where its newest audit is older than the policy's days; what that
    said.
    """
    if champion is None:
        return None
    before = latest_audit(settings.home, champion.version)
    due = timedelta(days=Policy.from_home(settings.home).reaudit_days)
    if before is not None and settings.now() - before.at < due:
        return None
    audit, _ = audit_version(settings, champion.version, step)
    return audit.verdict


def _champion(home: Path) -> ModelVersion | None:
    """The champion, if its file can still be used: one that cannot serve is nothing to be better
    than.
    """
    version = champion_version(home)
    if version is None:
        return None
    found = model_version(home, version)
    try:
        read_model(found.file, found.sha256)
    except InvalidModelFile:
        return None
    return found


@contextmanager
def _only_one(home: Path) -> Iterator[None]:
    """Be the only nightly training; the lock ends with the process, however that ends."""
    folder = home / "models"
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / ".retrain.lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise RetrainInProgress(
                "another nightly training is at work; this one did nothing"
            ) from None
        yield
