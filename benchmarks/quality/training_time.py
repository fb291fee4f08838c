"""What fitting a ranker costs beyond its bare LightGBM fits, in processor seconds of one process.

Run: python -m benchmarks.quality.training_time [--students 16000]

The bare fits are the same calls of `lightgbm.train` with the same data, timed as they are made, each on the thread that
makes it. All else is what Handrail adds: preparing, predicting, choosing, calibrating.
"""

from __future__ import annotations

import argparse
import time
from dataclasses import replace
from threading import Lock
from typing import Any

import lightgbm as lgb

from benchmarks.quality.worlds import BY_NAME, SUPPORTS, draw
from training.ranker import BenefitRanker


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.quality.training_time")
    parser.add_argument("--students", type=int, default=16_000)
    given = parser.parse_args()
    world = draw(replace(BY_NAME["base"], students=given.students), 0, new_students=10)
    spent, count, lock, bare = 0.0, 0, Lock(), lgb.train

    def timed(*arguments: Any, **named: Any) -> lgb.Booster:
        nonlocal spent, count
        start = time.thread_time()
        made = bare(*arguments, **named)
        with lock:
            spent, count = spent + time.thread_time() - start, count + 1
        return made

    lgb.train = timed
    start = time.process_time()
    BenefitRanker(SUPPORTS).fit(world.features, world.outcome, world.support, world.student)
    whole = time.process_time() - start
    print(f"{len(world.outcome):,} episodes, {len(SUPPORTS)} supports: {whole:.1f} s of a processor, of which "
          f"{spent:.1f} s are {count} bare LightGBM fits: {whole / spent:.2f} times")  # fmt: skip


if __name__ == "__main__":
    main()
