"""What fitting a ranker costs beyond its bare LightGBM fits, in processor seconds of one process.

Run: python -m benchmarks.quality.training_time [--students 16000]

The bare fits are what LightGBM itself does with the same data to make the same models: putting
values into bins and adding trees, timed as it is done, each on the thread that does it. All else is
what Handrail adds: preparing, predicting, choosing, calibrating. (Values that LightGBM would put
into bins again for each fit are put there once for many, so the bare fits as a user would write
them cost more than is counted here.)
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


class _Clock:
    """Adds up the processor seconds of the outermost calls of what it times, on all threads."""

    def __init__(self) -> None:
        self.spent = 0.0
        self._lock, self._here = Lock(), local()

    def timed(self, function: Callable[..., Any]) -> Callable[..., Any]:
        @wraps(function)
        def called(*arguments: Any, **named: Any) -> Any:
            if getattr(self._here, "inside", False):
                return function(*arguments, **named)
            self._here.inside, start = True, time.thread_time()
            try:
                return function(*arguments, **named)
            finally:
                self._here.inside = False
                with self._lock:
                    self.spent += time.thread_time() - start

        return called


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.quality.training_time")
    parser.add_argument("--students", type=int, default=16_000)
    given = parser.parse_args()
    world = simulate(
        replace(SCENARIOS_BY_NAME["base"], students=given.students), 0, new_students=10
    )
    clock = _Clock()
    for owner, name in (
        (lgb.Dataset, "construct"),
        (lgb.Booster, "__init__"),
        (lgb.Booster, "update"),
    ):
        setattr(owner, name, clock.timed(getattr(owner, name)))
    start = time.process_time()
    BenefitRanker(SUPPORTS).fit(world.features, world.outcome, world.support, world.student)
    whole = time.process_time() - start
    print(
        f"{len(world.outcome):,} episodes, {len(SUPPORTS)} supports: {whole:.1f} s of a processor,"
        f" of which {clock.spent:.1f} s are bare LightGBM fits: {whole / clock.spent:.2f} times"
    )


if __name__ == "__main__":
    main()
