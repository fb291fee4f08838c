"""What drift was found of a model version on a snapshot, as one file: aggregates only, and what to
do.

`home/drift/<version>-<snapshot>.json` holds it with its own digest. Whoever works it out again from
the same version, records and outcome finds the same, but for the time at which it was worked out.
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
    """A file of findings that is not as it was written; the message names it."""


@dataclass(frozen=True)
class DriftReport:
    """What was found of one version on one snapshot.

    Attributes:
        learned_until: the last decision day that the version learned from.
        known: whether it is on record what its students looked like.
        days: the decision days since, the newest last.
        next_day, next_place: the decision day that comes next, where the calendar holds one.
        realised: what came of what it predicted; None where that cannot be told, and `why_not` says
            why in words.
        smallest_cell: students below which nothing is published of them; a file that holds none was
            written where that is ten.
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
        return worst_level([one.verdict for one in self.days])

    @property
    def outcome(self) -> PredictionCheck:
        return PredictionCheck.UNKNOWN if self.realised is None else self.realised.verdict

    @property
    def train_anew(self) -> bool:
        """Whether the version is to be trained anew and audited again."""
        return self.features is DriftLevel.MUCH or self.outcome is PredictionCheck.LESS

    def made_of(
        self,
        found: ModelVersion,
        snapshot_id: str,
        outcome_sha256: str,
        small_numbers: SmallNumbers = DEFAULT_SMALL_NUMBERS,
    ) -> bool:
        """Whether this was worked out of just these."""
        return (
            self.version,
            self.sha256,
            self.snapshot_id,
            self.outcome_sha256,
            self.smallest_cell,
        ) == (
            found.version,
            found.sha256,
            snapshot_id,
            outcome_sha256,
            small_numbers.smallest_cell,
        )

    def to_json(self) -> str:
        """Canonical JSON with its own digest."""
        by_default = self.smallest_cell == DEFAULT_SMALL_NUMBERS.smallest_cell
        unwritten = {"smallest_cell"} if by_default else set()
        drift = _DRIFT.dump_python(self, mode="json", exclude=unwritten)
        content = {"format": FORMAT, "found": drift}
        return json.dumps(
            content | {"sha256": _digest(content)}, sort_keys=True, indent=1, allow_nan=False
        )

    @classmethod
    def from_json(cls, text: str) -> DriftReport:
        """What `to_json` wrote.

        Raises:
            ValueError: it is not as it was written.
        """
        content = json.loads(text)
        if not isinstance(content, dict) or content.pop("sha256", "") != _digest(content):
            raise ValueError("its digest is another")
        if content.get("format") != FORMAT:
            raise ValueError("its format is another")
        return _DRIFT.validate_json(json.dumps(content["found"]))


_DRIFT = TypeAdapter(DriftReport)


def monitored_version(home: Path, version: int | None = None) -> ModelVersion:
    """The version that drift is asked of: this one, else the champion, else the newest.

    Raises:
        ModelNotFound: there is none.
    """
    return model_version(home, version if version is not None else champion_version(home))


def compute_drift_report(
    snapshot: Snapshot,
    found: ModelVersion,
    home: Path,
    at: datetime,
    *,
    seed: int = 0,
    progress: ProgressCallback = no_progress,
) -> DriftReport:
    """What drift there is of a version on a snapshot, written down; what is there already is taken.

    Raises:
        InvalidModelFile: the model file is not what was registered, or was trained on another
            catalog of features.
        DriftReferenceCorrupt: nor is what its students looked like.
        NotComparable: the version does not say which days it learned from.
    """
    outcome, small_numbers = OutcomeDefinition.of(home), SmallNumbers.from_home(home)
    before = _before(home, found.version, snapshot.id)
    if before is not None and before.made_of(found, snapshot.id, outcome.sha256, small_numbers):
        return before
    model, reference = read_model(found.file, found.sha256), found.reference()
    until = max(date.fromisoformat(day) for day in trained_days(model.manifest))
    since, coming = _days_after(snapshot, until)
    behavior = bool(model.manifest.get("behavior"))
    days = (
        ()
        if reference is None
        else _compared(snapshot, reference, since, behavior, small_numbers, progress)
    )
    realised, why_not = _realised(snapshot, model, outcome, seed, small_numbers, progress)
    drift = DriftReport(
        at,
        found.version,
        found.sha256,
        snapshot.id,
        outcome.sha256,
        until,
        reference is not None,
        days,
        coming.day if coming else None,
        coming.place if coming else None,
        realised,
        why_not,
        small_numbers.smallest_cell,
    )
    write_drift_report(drift, home)
    return drift


def write_drift_report(drift: DriftReport, home: Path) -> Path:
    """Write the file, whole or not at all."""
    return write_atomic(drift_report_file(home, drift.version, drift.snapshot_id), drift.to_json())


def drift_report_file(home: Path, version: int, snapshot_id: str) -> Path:
    """Where what was found of a version on a snapshot is kept."""
    return home / "drift" / f"{version}-{snapshot_id}.json"


def newest_drift_report(home: Path) -> DriftReport | None:
    """What was worked out last, of whichever version and records; None where nothing was.

    Raises:
        DriftReportCorrupt: a file is not as it was written.
    """
    return max(
        (_read(file) for file in (home / "drift").glob("*.json")),
        key=lambda one: one.at,
        default=None,
    )


def drift_reports_of(home: Path, version: int) -> list[DriftReport]:
    """What was worked out of one version, on whichever records.

    Raises:
        DriftReportCorrupt: a file is not as it was written.
    """
    return [_read(file) for file in sorted((home / "drift").glob(f"{version}-*.json"))]


def _read(file: Path) -> DriftReport:
    try:
        return DriftReport.from_json(file.read_text(encoding="utf-8"))
    except ValueError as error:
        raise DriftReportCorrupt(
            f"{file} is not as it was written: {error}. Take it away and run `handrail drift`"
        ) from None


def _before(home: Path, version: int, snapshot_id: str) -> DriftReport | None:
    file = drift_report_file(home, version, snapshot_id)
    try:
        return _read(file) if file.exists() else None
    except DriftReportCorrupt:
        return None


def _days_after(snapshot: Snapshot, until: date) -> tuple[list[DecisionDay], DecisionDay | None]:
    """The decision days after this one that the records have reached, and the next that they have
    not.
    """
    planned, last = calendar_decision_days(snapshot), snapshot.latest_date()
    coming = [one for one in planned if one.day > last]
    return [one for one in planned if until < one.day <= last], coming[0] if coming else None


def _compared(
    snapshot: Snapshot,
    reference: DriftReference,
    since: Sequence[DecisionDay],
    behavior: bool,
    small_numbers: SmallNumbers,
    progress: ProgressCallback,
) -> tuple[DayDrift, ...]:
    found = []
    for done, one in enumerate(since):
        progress("comparing decision days", done, len(since))
        features = features_as_of(snapshot, one.day, behavior=behavior)
        found.append(compare_day(reference, one, features, small_numbers))
    progress("comparing decision days", len(since), len(since))
    return tuple(found)


def _realised(
    snapshot: Snapshot,
    model: RankerModel,
    outcome: OutcomeDefinition,
    seed: int,
    small_numbers: SmallNumbers,
    progress: ProgressCallback,
) -> tuple[RealizedBenefit | None, str]:
    """What came of what the model predicted, or why that cannot be told."""
    if model.manifest.get("outcome") != outcome.sha256:
        return None, "what counts as progress was changed since it was trained"
    if not days_not_trained_on(complete_decision_days(snapshot, outcome), model):
        return (
            None,
            (
                f"there is no decision day since whose {outcome.window_days} days of progress after"
                " it are on record"
            ),
        )
    episodes = build_episodes(
        snapshot,
        behavior=bool(model.manifest.get("behavior")),
        outcome=outcome,
        progress=partial(progress, "looking back at decision days"),
    )
    fresh = not_trained_on_mask(episodes, model)
    if not enough_to_judge(episodes, fresh):
        return (
            None,
            (
                f"fewer than {MIN_STARTS_PER_SUPPORT} students started a support on the decision"
                " days since whose progress is on record"
            ),
        )
    progress("judging what came of it", 0, 1)
    found = realized_benefit(
        evaluation_set(episodes, fresh, model.ranker.supports_, seed, small_numbers), model.ranker
    )
    progress("judging what came of it", 1, 1)
    return found, ""


def _digest(content: Any) -> str:
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()
