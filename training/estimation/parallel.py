"""Many small fits at the same time, each on one thread.

One fit on many threads waits at a barrier for each tree; where another process wants the same cores
that made training ten times slower. Fits that share nothing need no barrier.

Every module that calls LightGBM imports this one. LightGBM keeps its number of threads for the
whole process, and any call changes it: a call without `num_threads` while a fit runs beside it lets
that fit write past the buffers that it laid out for one thread, and the process dies. A ceiling of
one thread, set once here, holds whatever a call asks for.
"""

from __future__ import annotations

import ctypes
import os
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

import lightgbm as lgb
import numpy as np

Item = TypeVar("Item")
Result = TypeVar("Result")
ONE_THREAD: dict[str, Any] = {"num_threads": 1}
"""LightGBM's parameter for fits and predictions that run in `parallel_map`."""
_LIBRARY: ctypes.CDLL = lgb.basic._LIB  # type: ignore[attr-defined]
"""LightGBM's C API: the ceiling has no call in its Python package."""


def parallel_map(function: Callable[[Item], Result], items: Iterable[Item]) -> list[Result]:
    """`function` of each item, in order, on as many threads as there are processors."""
    with ThreadPoolExecutor(os.cpu_count(), initializer=_quiet) as pool:
        return list(pool.map(function, items))


def _quiet() -> None:
    """LightGBM's verbosity belongs to a thread, which takes it from the last data set it made."""
    lgb.Dataset(np.zeros((2, 1)), params={"verbosity": -1} | ONE_THREAD).construct()


def max_threads() -> int:
    """The ceiling on LightGBM's threads in this process; -1 where none is set."""
    threads = ctypes.c_int(0)
    _LIBRARY.LGBM_GetMaxThreads(ctypes.byref(threads))
    return threads.value


_LIBRARY.LGBM_SetMaxThreads(1)
