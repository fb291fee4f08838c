"""The drift report of a model version on a snapshot, as one file of aggregates.

`home/drift/<version>-<snapshot>.json` holds it with its own digest. A report computed again from
the same version, records and outcome is the same but for its time.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime
from functools import partial
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter

from records.snapshots.snapshot import Snapshot
from records.suppression.small_numbers import DEFAULT_SMALL_NUMBERS, SmallNumbers
from records.system.errors import UserError
from records.system.files import write_atomic
from training.episodes.episodes import (
    MIN_STARTS_PER_SUPPORT,
    DecisionDay,
    build_episodes,
    calendar_decision_days,
    complete_decision_days,
    features_as_of,
)
from training.episodes.outcome import OutcomeDefinition
from training.evaluation.drift import (
    DayDrift,
    DriftLevel,
    DriftReference,
    PredictionCheck,
    RealizedBenefit,
    compare_day,
    realized_benefit,
    worst_level,
)
from training.evaluation.evaluate import evaluation_set
from training.evaluation.model_comparison import (
    days_not_trained_on,
    enough_to_judge,
    not_trained_on_mask,
    trained_days,
)
from training.ranking.model_file import RankerModel, read_model
from training.registry.inputs import ProgressCallback, no_progress
from training.registry.registry import ModelVersion, champion_version, model_version

FORMAT = "handrail-drift-1"


class DriftReportCorrupt(UserError, ValueError):
    """A drift report that is damaged; the message names the file."""


@dataclass(frozen=True)
class DriftReport:
    """The drift of one version on one snapshot.

    Attributes:
        at: when it was computed.
        version, sha256: the model version and the digest of its file.
        snapshot_id, outcome_sha256: the records and the definition of progress.
        learned_until: the last decision day that the version was trained on.
        known: whether the version has a drift reference.
        days: the decision days since, the newest last.
        next_day, next_place: the decision day that comes next and the number of its school day,
            where the calendar holds one.
        realised: realized against predicted benefit; None where that is not known yet, and
            `why_not` says why in words.
        smallest_cell: students below which nothing of them is published; a file that holds none
            was written where that is ten.
    """

    at: datetime
    version: int
    sha256: str
    snapshot_id: str
    outcome_sha256: str
    learned_until: date
    known: bool
    days: tuple[DayDrift, ...]
    next_day: date | None
    next_place: int | None
    realised: RealizedBenefit | None
    why_not: str = ""
    smallest_cell: int = DEFAULT_SMALL_NUMBERS.smallest_cell

    @property
    def small_numbers(self) -> SmallNumbers:
        """The rule that the figures obey."""
        return SmallNumbers(self.smallest_cell)

    @property
    def features(self) -> DriftLevel:
        """The greatest change on any decision day since."""
        return worst_level([day.verdict for day in self.days])

    @property
    def outcome(self) -> PredictionCheck:
        """How realized benefits stand against predicted ones."""
        return PredictionCheck.UNKNOWN if self.realised is None else self.realised.verdict

    @property
    def needs_retraining(self) -> bool:
        """Whether the version must be retrained and audited again."""
        return self.features is DriftLevel.MAJOR or self.outcome is PredictionCheck.LESS

    def made_of(
        self,
        version: ModelVersion,
        snapshot_id: str,
        outcome_sha256: str,
        small_numbers: SmallNumbers = DEFAULT_SMALL_NUMBERS,
    ) -> bool:
        """Whether the report is of exactly this version, these records, this outcome and rule."""
        return (
            self.version == version.version
            and self.sha256 == version.sha256
            and self.snapshot_id == snapshot_id
            and self.outcome_sha256 == outcome_sha256
            and self.smallest_cell == small_numbers.smallest_cell
        )

    def to_json(self) -> str:
        """Canonical JSON with its own digest."""
        by_default = self.smallest_cell == DEFAULT_SMALL_NUMBERS.smallest_cell
        unwritten = {"smallest_cell"} if by_default else set()
        report = _DRIFT.dump_python(self, mode="json", exclude=unwritten)
        content = {"format": FORMAT, "found": report}
        return json.dumps(
            content | {"sha256": _digest(content)}, sort_keys=True, indent=1, allow_nan=False
        )

    @classmethod
    def from_json(cls, text: str) -> DriftReport:
        """The report that `to_json` wrote.

        Raises:
            ValueError: it is not as it was written.
        """
        content = json.loads(text)
        if not isinstance(content, dict) or content.pop("sha256", "") != _digest(content):
            raise ValueError("its checksum does not match")
        if content.get("format") != FORMAT:
            raise ValueError(f"its format is not {FORMAT}")
        return _DRIFT.validate_json(json.dumps(content["found"]))


_DRIFT = TypeAdapter(DriftReport)


def monitored_version(home: Path, version: int | None = None) -> ModelVersion:
    """The version to monitor: this one, else the champion, else the newest.

    Raises:
        ModelNotFound: there is none.
    """
    return model_version(home, version if version is not None else champion_version(home))


def compute_drift_report(
    snapshot: Snapshot,
    version: ModelVersion,
    home: Path,
    at: datetime,
    *,
    seed: int = 0,
    progress: ProgressCallback = no_progress,
) -> DriftReport:
    """The drift report of a version on a snapshot, computed and written unless it exists already.

    Raises:
        InvalidModelFile: the model file is not what was registered, or was trained on a different
            feature catalog.
        DriftReferenceCorrupt: the drift reference is not what was registered.
        NotComparable: the model file does not list its training days.
    """
    outcome, small_numbers = OutcomeDefinition.of(home), SmallNumbers.from_home(home)
    existing = _existing_report(home, version.version, snapshot.id)
    if existing is not None and existing.made_of(
        version, snapshot.id, outcome.sha256, small_numbers
    ):
        return existing
    model, reference = read_model(version.file, version.sha256), version.reference()
    trained_until = max(date.fromisoformat(day) for day in trained_days(model.manifest))
    days_since, next_day = _days_after(snapshot, trained_until)
    behavior = bool(model.manifest.get("behavior"))
    days = (
        ()
        if reference is None
        else _compared_days(snapshot, reference, days_since, behavior, small_numbers, progress)
    )
    realized, why_not = _realized(snapshot, model, outcome, seed, small_numbers, progress)
    report = DriftReport(
        at=at,
        version=version.version,
        sha256=version.sha256,
        snapshot_id=snapshot.id,
        outcome_sha256=outcome.sha256,
        learned_until=trained_until,
        known=reference is not None,
        days=days,
        next_day=next_day.day if next_day else None,
        next_place=next_day.place if next_day else None,
        realised=realized,
        why_not=why_not,
        smallest_cell=small_numbers.smallest_cell,
    )
    write_drift_report(report, home)
    return report


def write_drift_report(report: DriftReport, home: Path) -> Path:
    """Write the report to its file, atomically."""
    file = drift_report_file(home, report.version, report.snapshot_id)
    return write_atomic(file, report.to_json())


def drift_report_file(home: Path, version: int, snapshot_id: str) -> Path:
    """The file of the report of a version on a snapshot."""
    return home / "drift" / f"{version}-{snapshot_id}.json"


def newest_drift_report(home: Path) -> DriftReport | None:
    """The newest report, of whichever version and records; None where there is none.

    Raises:
        DriftReportCorrupt: a file is damaged.
    """
    reports = (_read(file) for file in (home / "drift").glob("*.json"))
    return max(reports, key=lambda report: report.at, default=None)


def drift_reports_of(home: Path, version: int) -> list[DriftReport]:
    """All reports of one version, on whichever records.

    Raises:
        DriftReportCorrupt: a file is damaged.
    """
    return [_read(file) for file in sorted((home / "drift").glob(f"{version}-*.json"))]


def _read(file: Path) -> DriftReport:
    try:
        return DriftReport.from_json(file.read_text(encoding="utf-8"))
    except ValueError as error:
        raise DriftReportCorrupt(
            f"{file} is damaged: {error}. Delete it and run `handrail drift` again"
        ) from None


def _existing_report(home: Path, version: int, snapshot_id: str) -> DriftReport | None:
    file = drift_report_file(home, version, snapshot_id)
    try:
        return _read(file) if file.exists() else None
    except DriftReportCorrupt:
        return None


def _days_after(snapshot: Snapshot, after: date) -> tuple[list[DecisionDay], DecisionDay | None]:
    """The decision days after this one that the records have reached, and the next one."""
    planned, latest = calendar_decision_days(snapshot), snapshot.latest_date()
    reached = [decision for decision in planned if after < decision.day <= latest]
    coming = [decision for decision in planned if decision.day > latest]
    return reached, coming[0] if coming else None


def _compared_days(
    snapshot: Snapshot,
    reference: DriftReference,
    decision_days: Sequence[DecisionDay],
    behavior: bool,
    small_numbers: SmallNumbers,
    progress: ProgressCallback,
) -> tuple[DayDrift, ...]:
    drifts = []
    for done, decision in enumerate(decision_days):
        progress("comparing decision days", done, len(decision_days))
        features = features_as_of(snapshot, decision.day, behavior=behavior)
        drifts.append(compare_day(reference, decision, features, small_numbers))
    progress("comparing decision days", len(decision_days), len(decision_days))
    return tuple(drifts)


def _realized(
    snapshot: Snapshot,
    model: RankerModel,
    outcome: OutcomeDefinition,
    seed: int,
    small_numbers: SmallNumbers,
    progress: ProgressCallback,
) -> tuple[RealizedBenefit | None, str]:
    """Realized against predicted benefit, or why that is not known yet."""
    if model.manifest.get("outcome") != outcome.sha256:
        return None, "the definition of progress has changed since it was trained"
    if not days_not_trained_on(complete_decision_days(snapshot, outcome), model):
        return None, (
            f"no decision day since then has {outcome.window_days} days of progress data yet"
        )
    episodes = build_episodes(
        snapshot,
        behavior=bool(model.manifest.get("behavior")),
        outcome=outcome,
        progress=partial(progress, "looking back at decision days"),
    )
    held_out = not_trained_on_mask(episodes, model)
    if not enough_to_judge(episodes, held_out):
        return None, (
            f"fewer than {MIN_STARTS_PER_SUPPORT} students with known progress have started a"
            " support since then"
        )
    progress("comparing predictions with outcomes", 0, 1)
    evaluated = evaluation_set(episodes, held_out, model.ranker.supports_, seed, small_numbers)
    realized = realized_benefit(evaluated, model.ranker)
    progress("comparing predictions with outcomes", 1, 1)
    return realized, ""


def _digest(content: Any) -> str:
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()
