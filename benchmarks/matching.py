"""What limited places are worth when they are given out for the best of all, and how long that
takes.

The yardstick is SciPy's `linear_sum_assignment` (Jonker-Volgenant) with one column a place, in the
same run: the same plan's worth, found by another method. Benefits are made up: steps, as a model of
trees gives them, so ties are many.

Run: .venv/bin/python -m benchmarks.matching
"""

from __future__ import annotations

import time

import numpy as np
import pandas as pd
from scipy.optimize import linear_sum_assignment

from training.allocation.allocation import Floors, allocate

SIZES = ((300, 12), (16_000, 6))
PLACES_SHARE = 0.1
"""Places in all, as a share of students: places are scarce."""


def made_up(
    students: int, supports: int, seed: int = 5
) -> tuple[pd.DataFrame, dict[str, int], dict[str, str]]:
    """Benefits of which two fifths are suggested, places, and a label for each student."""
    rng = np.random.default_rng(seed)
    need = rng.normal(size=(students, 1))
    values = np.round(2.5 + need + rng.normal(size=(students, supports)), 1)
    values[(values < 1.0) | (rng.random(values.shape) < 0.5)] = np.nan
    names = [f"s{number:05}" for number in range(students)]
    frame = pd.DataFrame(
        values, index=names, columns=[f"support {number:02}" for number in range(supports)]
    )
    each = max(1, round(PLACES_SHARE * students / supports))
    return (
        frame,
        dict.fromkeys(frame.columns, each),
        dict(zip(names, rng.choice(["a", "b"], students), strict=True)),
    )


def by_assignment(benefits: pd.DataFrame, capacity: dict[str, int]) -> float:
    """The worth of the best plan with one support each, from a dense matrix of students x
    places.
    """
    columns = np.repeat(
        np.arange(len(benefits.columns)), [capacity[name] for name in benefits.columns]
    )
    dense = np.nan_to_num(benefits.to_numpy(), nan=0.0)[:, columns]
    row, column = linear_sum_assignment(dense, maximize=True)
    return float(dense[row, column].sum())


def main() -> None:
    print(
        "| students x supports | places | best | greedy order | gain | seconds |"
        " linear_sum_assignment | ratio | same worth | with floors"
        " |\n|---|---|---|---|---|---|---|---|---|---|"
    )
    for students, supports in SIZES:
        benefits, capacity, labels = made_up(students, supports)
        start = time.perf_counter()
        found = allocate(benefits, capacity)
        middle = time.perf_counter()
        other = by_assignment(benefits, capacity)
        end = time.perf_counter()
        allocate(benefits, capacity, floors=Floors(labels, {"a": 0.45, "b": 0.45}))
        floored = time.perf_counter() - end
        print(
            f"| {students:,} x {supports} | {sum(capacity.values()):,} | {found.best.total:,.1f} |"
            f" {found.greedy.total:,.1f} | {found.gain:,.1f} | {middle - start:.2f} |"
            f" {end - middle:.2f} | {(middle - start) / (end - middle):.2f} |"
            f" {abs(other - found.best.total) < 1e-6} | {floored:.2f} |",
            flush=True,
        )


if __name__ == "__main__":
    main()
