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
from records.system.errors import SaidPlainly
from records.system.files import write_whole
from training.episodes.episodes import (
    FEWEST_OF_A_SUPPORT,
    DecisionDay,
    build_episodes,
    decision_dates,
    features_on,
    planned_days,
)
from training.episodes.outcome import Outcome
from training.evaluation.drift import (
    Came,
    Change,
    DayChange,
    Realised,
    Reference,
    day_change,
    realised_outcome,
    worst_change,
)
from training.evaluation.evaluate import judged_episodes
from training.evaluation.model_comparison import enough_to_judge, fresh_days, learned_days, new_days
from training.ranking.model_file import RankerModel, read_model
from training.registry.registry import (
    ModelVersion,
    Progress,
    champion_version,
    model_version,
    silently,
)

FORMAT = "handrail-drift-1"


class DriftDamaged(SaidPlainly, ValueError):
    """A file of findings that is not as it was written; the message names it."""


@dataclass(frozen=True)
class Drift:
    """What was found of one version on one snapshot.

    Attributes:
        learned_until: the last decision day that the version learned from.
        known: whether it is on record what its students looked like.
        days: the decision days since, the newest last.
        next_day, next_place: the decision day that comes next, where the calendar holds one.
        realised: what came of what it predicted; None where that cannot be told, and `why_not` says
            why in words.
    """

    at: datetime
    version: int
    sha256: str
    snapshot_id: str
    outcome_sha256: str
    learned_until: date
    known: bool
    days: tuple[DayChange, ...]
    next_day: date | None
    next_place: int | None
    realised: Realised | None
    why_not: str = ""

    @property
    def features(self) -> Change:
        """The greatest change on any decision day since."""
        return worst_change([one.verdict for one in self.days])

    @property
    def outcome(self) -> Came:
        return Came.UNKNOWN if self.realised is None else self.realised.verdict

    @property
    def train_anew(self) -> bool:
        """Whether the version is to be trained anew and audited again."""
        return self.features is Change.MUCH or self.outcome is Came.LESS

    def made_of(self, found: ModelVersion, snapshot_id: str, outcome_sha256: str) -> bool:
        """Whether this was worked out of just these."""
        return (self.version, self.sha256, self.snapshot_id, self.outcome_sha256) == (
            found.version,
            found.sha256,
            snapshot_id,
            outcome_sha256,
        )

    def to_json(self) -> str:
        """Canonical JSON with its own digest."""
        content = {"format": FORMAT, "found": _DRIFT.dump_python(self, mode="json")}
        return json.dumps(
            content | {"sha256": _digest(content)}, sort_keys=True, indent=1, allow_nan=False
        )

    @classmethod
    def from_json(cls, text: str) -> Drift:
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


_DRIFT = TypeAdapter(Drift)


def watched_version(home: Path, version: int | None = None) -> ModelVersion:
    """The version that drift is asked of: this one, else the champion, else the newest.

    Raises:
        NoModel: there is none.
    """
    return model_version(home, version if version is not None else champion_version(home))


def work_out_drift(
    snapshot: Snapshot,
    found: ModelVersion,
    home: Path,
    at: datetime,
    *,
    seed: int = 0,
    progress: Progress = silently,
) -> Drift:
    """What drift there is of a version on a snapshot, written down; what is there already is taken.

    Raises:
        ModelRefused: the model file is not what was registered, or was trained on another catalog
            of features.
        ReferenceDamaged: nor is what its students looked like.
        NotComparable: the version does not say which days it learned from.
    """
    outcome = Outcome.of(home)
    before = _before(home, found.version, snapshot.id)
    if before is not None and before.made_of(found, snapshot.id, outcome.sha256):
        return before
    model, reference = read_model(found.file, found.sha256), found.reference()
    until = max(date.fromisoformat(day) for day in learned_days(model.manifest))
    since, coming = _days_after(snapshot, until)
    behavior = bool(model.manifest.get("behavior"))
    days = () if reference is None else _compared(snapshot, reference, since, behavior, progress)
    realised, why_not = _realised(snapshot, model, outcome, seed, progress)
    drift = Drift(
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
    )
    write_drift(drift, home)
    return drift


def write_drift(drift: Drift, home: Path) -> Path:
    """Write the file, whole or not at all."""
    return write_whole(drift_file(home, drift.version, drift.snapshot_id), drift.to_json())


def drift_file(home: Path, version: int, snapshot_id: str) -> Path:
    """Where what was found of a version on a snapshot is kept."""
    return home / "drift" / f"{version}-{snapshot_id}.json"


def newest_drift(home: Path) -> Drift | None:
    """What was worked out last, of whichever version and records; None where nothing was.

    Raises:
        DriftDamaged: a file is not as it was written.
    """
    return max(
        (_read(file) for file in (home / "drift").glob("*.json")),
        key=lambda one: one.at,
        default=None,
    )


def drifts_of(home: Path, version: int) -> list[Drift]:
    """What was worked out of one version, on whichever records.

    Raises:
        DriftDamaged: a file is not as it was written.
    """
    return [_read(file) for file in sorted((home / "drift").glob(f"{version}-*.json"))]


def _read(file: Path) -> Drift:
    try:
        return Drift.from_json(file.read_text(encoding="utf-8"))
    except ValueError as error:
        raise DriftDamaged(
            f"{file} is not as it was written: {error}. Take it away and run `handrail drift`"
        ) from None


def _before(home: Path, version: int, snapshot_id: str) -> Drift | None:
    file = drift_file(home, version, snapshot_id)
    try:
        return _read(file) if file.exists() else None
    except DriftDamaged:
        return None


def _days_after(snapshot: Snapshot, until: date) -> tuple[list[DecisionDay], DecisionDay | None]:
    """The decision days after this one that the records have reached, and the next that they have
    not.
    """
    planned, last = planned_days(snapshot), snapshot.latest_date()
    coming = [one for one in planned if one.day > last]
    return [one for one in planned if until < one.day <= last], coming[0] if coming else None


def _compared(
    snapshot: Snapshot,
    reference: Reference,
    since: Sequence[DecisionDay],
    behavior: bool,
    progress: Progress,
) -> tuple[DayChange, ...]:
    found = []
    for done, one in enumerate(since):
        progress("comparing decision days", done, len(since))
        found.append(day_change(reference, one, features_on(snapshot, one.day, behavior=behavior)))
    progress("comparing decision days", len(since), len(since))
    return tuple(found)


def _realised(
    snapshot: Snapshot, model: RankerModel, outcome: Outcome, seed: int, progress: Progress
) -> tuple[Realised | None, str]:
    """What came of what the model predicted, or why that cannot be told."""
    if model.manifest.get("outcome") != outcome.sha256:
        return None, "what counts as progress was changed since it was trained"
    if not new_days(decision_dates(snapshot, outcome), model):
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
    fresh = fresh_days(episodes, model)
    if not enough_to_judge(episodes, fresh):
        return (
            None,
            (
                f"fewer than {FEWEST_OF_A_SUPPORT} students started a support on the decision days"
                " since whose progress is on record"
            ),
        )
    progress("judging what came of it", 0, 1)
    found = realised_outcome(
        judged_episodes(episodes, fresh, model.ranker.supports_, seed), model.ranker
    )
    progress("judging what came of it", 1, 1)
    return found, ""


def _digest(content: Any) -> str:
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()
