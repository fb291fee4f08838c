"""What training and evaluation read from a snapshot: episodes and programs."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import pandas as pd

from records.access.scope import pipeline_scope
from records.access.scoped_records import ScopedRecords
from records.snapshots.snapshot import Snapshot
from training.episodes.episodes import (
    Episodes,
    build_episodes,
)
from training.episodes.outcome import OutcomeDefinition

ProgressCallback = Callable[[str, int, int], None]


def no_progress(step: str, done: int, total: int) -> None:
    """No progress is told."""


def _episodes(
    snapshot: Snapshot, outcome: OutcomeDefinition, behavior: bool, progress: ProgressCallback
) -> Episodes:
    told = partial(progress, "looking back at decision days")
    return build_episodes(snapshot, behavior=behavior, outcome=outcome, progress=told)


def _programs(snapshot: Snapshot) -> pd.DataFrame:
    return ScopedRecords(
        snapshot, pipeline_scope(snapshot, "training", snapshot.latest_date())
    ).frame("programs")
