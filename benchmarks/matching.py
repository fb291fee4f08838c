"""What an optimal allocation of limited openings gains over a greedy one, and how long it takes.

Run:
    .venv/bin/python -m benchmarks.matching

The reference is SciPy's `linear_sum_assignment` (Jonker-Volgenant) with one column per opening, in
the same run: the total of an optimal plan, computed by another method. Benefits are simulated in
steps of a tenth, as a model made of trees gives them, so there are many ties.
"""

from __future__ import annotations

import time

import numpy as np
import pandas as pd
from scipy.optimize import linear_sum_assignment

from training.allocation.allocation import Floors, allocate

SIZES = ((300, 12), (16_000, 6))
"""(students, supports) of each row of the table."""

OPENINGS_SHARE = 0.1
"""All openings together, as a share of students: openings are scarce."""


def simulate_benefits(
    students: int, supports: int, seed: int = 5
) -> tuple[pd.DataFrame, dict[str, int], dict[str, str]]:
    """Benefits (about two fifths suggested, the rest NaN), openings by support, group by student.

    Args:
        students: number of rows.
        supports: number of columns.
        seed: of the random numbers.
    """
    rng = np.random.default_rng(seed)
    need = rng.normal(size=(students, 1))
    values = np.round(2.5 + need + rng.normal(size=(students, supports)), 1)
    values[(values < 1.0) | (rng.random(values.shape) < 0.5)] = np.nan
    names = [f"s{number:05}" for number in range(students)]
    columns = [f"support {number:02}" for number in range(supports)]
    benefits = pd.DataFrame(values, index=names, columns=columns)
    capacity = dict.fromkeys(columns, max(1, round(OPENINGS_SHARE * students / supports)))
    groups = dict(zip(names, rng.choice(["a", "b"], students), strict=True))
    return benefits, capacity, groups


def total_by_assignment(benefits: pd.DataFrame, capacity: dict[str, int]) -> float:
    """The total benefit of an optimal plan, from a dense matrix of students x openings."""
    columns = np.repeat(
        np.arange(len(benefits.columns)), [capacity[name] for name in benefits.columns]
    )
    dense = np.nan_to_num(benefits.to_numpy(), nan=0.0)[:, columns]
    row, column = linear_sum_assignment(dense, maximize=True)
    return float(dense[row, column].sum())


def main() -> None:
    print(
        "| students x supports | openings | optimal | greedy order | gain | seconds |"
        " linear_sum_assignment, seconds | ratio | same total | with group minimums, seconds |"
    )
    print("|---|---|---|---|---|---|---|---|---|---|")
    for students, supports in SIZES:
        benefits, capacity, groups = simulate_benefits(students, supports)
        start = time.perf_counter()
        allocation = allocate(benefits, capacity)
        after_allocation = time.perf_counter()
        reference_total = total_by_assignment(benefits, capacity)
        after_reference = time.perf_counter()
        allocate(benefits, capacity, floors=Floors(groups, {"a": 0.45, "b": 0.45}))
        with_minimums = time.perf_counter() - after_reference
        own, reference = after_allocation - start, after_reference - after_allocation
        print(
            f"| {students:,} x {supports} | {sum(capacity.values()):,} |"
            f" {allocation.best.total:,.1f} | {allocation.greedy.total:,.1f} |"
            f" {allocation.gain:,.1f} | {own:.2f} | {reference:.2f} | {own / reference:.2f} |"
            f" {abs(reference_total - allocation.best.total) < 1e-6} | {with_minimums:.2f} |",
            flush=True,
        )


if __name__ == "__main__":
    main()
