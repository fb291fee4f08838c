"""What fitting a ranker costs beyond its bare LightGBM fits, in processor seconds of one process.

Run:
    .venv/bin/python -m benchmarks.quality.training_time
    .venv/bin/python -m benchmarks.quality.training_time --students 4000

The bare fits are the work that LightGBM itself does: binning values and growing trees, timed on the
thread that does it. The rest is what Handrail adds: preparing, predicting, choosing and
calibrating. (Handrail bins values once for many fits, so the same fits written without Handrail
would cost more than is counted here.)
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from dataclasses import replace
from functools import wraps
from threading import Lock, local
from typing import Any

import lightgbm as lgb

from benchmarks.quality.simulation import SCENARIOS_BY_NAME, SUPPORTS, simulate
from training.ranking.ranker import BenefitRanker


class _ProcessorClock:
    """Adds up the processor seconds of the outermost timed calls, on all threads."""

    def __init__(self) -> None:
        self.seconds = 0.0
        self._lock, self._thread = Lock(), local()

    def timed(self, function: Callable[..., Any]) -> Callable[..., Any]:
        @wraps(function)
        def timed_function(*arguments: Any, **named: Any) -> Any:
            if getattr(self._thread, "inside", False):
                return function(*arguments, **named)
            self._thread.inside, start = True, time.thread_time()
            try:
                return function(*arguments, **named)
            finally:
                self._thread.inside = False
                with self._lock:
                    self.seconds += time.thread_time() - start

        return timed_function


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.quality.training_time")
    parser.add_argument("--students", type=int, default=16_000)
    options = parser.parse_args()
    district = simulate(
        replace(SCENARIOS_BY_NAME["base"], students=options.students), 0, new_students=10
    )
    clock = _ProcessorClock()
    for owner, name in (
        (lgb.Dataset, "construct"),
        (lgb.Booster, "__init__"),
        (lgb.Booster, "update"),
    ):
        setattr(owner, name, clock.timed(getattr(owner, name)))
    start = time.process_time()
    BenefitRanker(SUPPORTS).fit(
        district.features, district.outcome, district.support, district.student
    )
    total = time.process_time() - start
    print(
        f"{len(district.outcome):,} episodes, {len(SUPPORTS)} supports: {total:.1f} processor"
        f" seconds, {clock.seconds:.1f} of them for bare LightGBM fits; ratio"
        f" {total / clock.seconds:.2f}"
    )


if __name__ == "__main__":
    main()
