"""How often the fairness gate finds a bias that was put into a demo district, and how often it
passes a fair one.

Run: python -m benchmarks.fairness [--worlds 40] [--models 4] [--scenarios fair,model] [--processes
2] [--out FILE.csv]

Each world is a demo district of 16,000 students, drawn anew and read in like any other. What is
done to it is done to its source files, or to the habit by which its past offered supports
(benchmarks/fairness/injected_bias.py says what). The candidates were learned in other districts of
the same kind. With --out, worlds that the file holds are not made again: a run that was stopped
goes on where it was.
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import time
from concurrent.futures import ProcessPoolExecutor, as_completed
from pathlib import Path

import numpy as np
import pandas as pd
from rich.console import Console
from rich.progress import Progress
from rich.table import Table
from scipy.stats import binomtest

from benchmarks.fairness.generated_districts import candidate
from benchmarks.fairness.injected_bias import SCENARIOS, trials


def tabled(outcomes: pd.DataFrame) -> Table:
    table = Table("scenario", "found", "share", "95% interval", "the gap that was put in", "notes")
    for name, some in outcomes.groupby("scenario", sort=False):
        caught = int(some["caught"].sum())
        ends = binomtest(caught, len(some)).proportion_ci(method="wilson")
        gap, notes = some["gap"], some["note"].dropna().drop_duplicates()
        table.add_row(
            str(name),
            f"{caught} of {len(some)}",
            f"{caught / len(some):.1%}",
            f"{ends.low:.1%} to {ends.high:.1%}",
            f"{np.mean(gap):+.3f} ({gap.min():+.3f} to {gap.max():+.3f})",
            "" if notes.empty else f"{notes.min()} to {notes.max()}",
        )
    return table


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--worlds", type=int, default=40)
    parser.add_argument("--models", type=int, default=4)
    parser.add_argument("--scenarios", default=",".join(SCENARIOS))
    parser.add_argument("--seed", type=int, default=7_000)
    parser.add_argument("--processes", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--out", type=Path)
    asked = parser.parse_args()
    names, began = asked.scenarios.split(","), time.monotonic()
    if unknown := set(names) - set(SCENARIOS):
        parser.error(
            f"no such scenario: {', '.join(sorted(unknown))} (there are: {', '.join(SCENARIOS)})"
        )
    parts = [pd.read_csv(asked.out)] if asked.out and asked.out.exists() else []
    done = {(int(row.seed), str(row.asked)) for part in parts for row in part.itertuples()}
    console = Console(width=150)
    with (
        Progress(console=console) as progress,
        ProcessPoolExecutor(
            asked.processes, mp_context=multiprocessing.get_context("spawn")
        ) as pool,
    ):
        task = progress.add_task("learning candidates", total=asked.models)
        models = []
        for model in pool.map(candidate, range(asked.models)):
            models.append(model)
            progress.advance(task)
        task = progress.add_task("districts", total=asked.worlds)
        running = []
        for place in range(asked.worlds):
            seed = asked.seed + place
            left = [name for name in names if (seed, name) not in done]
            running.append(pool.submit(trials, seed, models[place % len(models)], left))
        for one in as_completed(running):
            parts.append(one.result())
            progress.advance(task)
            if asked.out:
                pd.concat(parts).to_csv(asked.out, index=False)
    console.print(tabled(pd.concat(parts)))
    console.print(
        f"{asked.worlds} districts, {asked.models} candidates, {asked.processes} processes, "
        f"{time.monotonic() - began:,.0f} s"
    )


if __name__ == "__main__":
    main()
