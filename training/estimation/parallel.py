"""Many small fits side by side, each on one thread.

One fit on many threads waits at a barrier for each tree; where another process wants the same cores
that made training ten times slower. Fits that share nothing need no barrier.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

import lightgbm as lgb
import numpy as np

One = TypeVar("One")
Result = TypeVar("Result")
ONE_THREAD: dict[str, Any] = {"num_threads": 1}
"""LightGBM's parameter for what runs here."""


def parallel_map(function: Callable[[One], Result], items: Iterable[One]) -> list[Result]:
    """`function` of each item, in their order, on as many threads as there are processors."""
    with ThreadPoolExecutor(os.cpu_count(), initializer=_quiet) as pool:
        return list(pool.map(function, items))


def _quiet() -> None:
    """LightGBM keeps how much it says by thread, and takes it from whatever that thread made
    last.
    """
    lgb.Dataset(np.zeros((2, 1)), params={"verbosity": -1}).construct()
