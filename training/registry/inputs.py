"""What training and evaluation read from a snapshot: episodes and programs."""

from __future__ import annotations

from collections.abc import Callable, Hashable
from functools import partial
from typing import Protocol

import pandas as pd

from records.access.scope import pipeline_scope
from records.access.scoped_records import ScopedRecords
from records.canonical.columns import Programs
from records.snapshots.snapshot import Snapshot
from training.episodes.episodes import Episodes, build_episodes
from training.episodes.outcome import OutcomeDefinition

ProgressCallback = Callable[[str, int, int], None]
"""Called with the step, how much of it is done, and of how much."""


def no_progress(step: str, done: int, total: int) -> None:
    """Report nothing."""


def load_episodes(
    snapshot: Snapshot, outcome: OutcomeDefinition, behavior: bool, progress: ProgressCallback
) -> Episodes:
    """All episodes of a snapshot, with progress reported by decision day."""
    by_day = partial(progress, "looking back at decision days")
    return build_episodes(snapshot, behavior=behavior, outcome=outcome, progress=by_day)


class EpisodesLoader(Protocol):
    """Gives the episodes of a snapshot: `load_episodes`, or what keeps those it has given."""

    def __call__(
        self,
        snapshot: Snapshot,
        outcome: OutcomeDefinition,
        behavior: bool,
        progress: ProgressCallback,
    ) -> Episodes:
        """All episodes of a snapshot, with progress reported by decision day."""


class KeptEpisodes:
    """Loads each snapshot's episodes once, however many steps of a job ask for them.

    It holds them as long as it lives, so that it should live no longer than the job.
    """

    def __init__(self) -> None:
        self._kept: dict[tuple[Hashable, ...], Episodes] = {}

    def __call__(
        self,
        snapshot: Snapshot,
        outcome: OutcomeDefinition,
        behavior: bool,
        progress: ProgressCallback,
    ) -> Episodes:
        """All episodes of a snapshot; no progress is reported of those kept.

        Those of another list of supports, or of another outcome, are built anew.
        """
        key = snapshot, snapshot.supports, outcome.sha256, behavior
        if key not in self._kept:
            self._kept[key] = load_episodes(snapshot, outcome, behavior, progress)
        return self._kept[key]


def load_programs(snapshot: Snapshot) -> pd.DataFrame:
    """The table of programs."""
    scope = pipeline_scope(snapshot, "training", snapshot.latest_date())
    return ScopedRecords(snapshot, scope).frame(Programs.TABLE)
