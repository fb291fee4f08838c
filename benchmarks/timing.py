"""Wall-clock time of a piece of work, for the benchmarks that report times."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable


def seconds(work: Callable[[], object]) -> float:
    """How long one call takes, in seconds."""
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def median_seconds(work: Callable[[], object], runs: int = 5) -> float:
    """The median time of several calls, in seconds."""
    return statistics.median(seconds(work) for _ in range(runs))
