"""How often the fairness gate detects an injected bias, and how often it passes a fair model.

Run:
    .venv/bin/python -m benchmarks.fairness
    .venv/bin/python -m benchmarks.fairness --worlds 2 --models 1 --scenarios fair,model
    .venv/bin/python -m benchmarks.fairness --processes 2 --out FILE.csv

Each district is a demo district of 16,000 students, generated afresh and loaded like any other. A
bias is injected into its source files or into how supports were offered in its past
(benchmarks/fairness/injected_bias.py). The candidates are trained in other generated districts.
With --out, districts that are in the file already are not generated again, so a stopped run
resumes where it was.
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

from benchmarks.fairness.generated_districts import train_candidate
from benchmarks.fairness.injected_bias import SCENARIOS, trials


def table_of(trial_rows: pd.DataFrame) -> Table:
    """One row for each scenario, from rows of `injected_bias.trials`."""
    table = Table("scenario", "detected", "share", "95% interval", "injected gap", "notes")
    for name, rows in trial_rows.groupby("scenario", sort=False):
        detected = int(rows["caught"].sum())
        interval = binomtest(detected, len(rows)).proportion_ci(method="wilson")
        gap, notes = rows["gap"], rows["note"].dropna().drop_duplicates()
        table.add_row(
            str(name),
            f"{detected} of {len(rows)}",
            f"{detected / len(rows):.1%}",
            f"{interval.low:.1%} to {interval.high:.1%}",
            f"{np.mean(gap):+.3f} ({gap.min():+.3f} to {gap.max():+.3f})",
            "" if notes.empty else f"{notes.min()} to {notes.max()}",
        )
    return table


def main() -> None:
    options = read_options()
    start = time.monotonic()
    parts = [pd.read_csv(options.out)] if options.out and options.out.exists() else []
    done = {
        pair
        for part in parts
        for pair in zip(part["seed"].astype(int), part["asked"].astype(str), strict=True)
    }
    console = Console(width=150)
    with (
        Progress(console=console) as progress,
        ProcessPoolExecutor(
            options.processes, mp_context=multiprocessing.get_context("spawn")
        ) as pool,
    ):
        task = progress.add_task("training candidates", total=options.models)
        models = []
        for model in pool.map(train_candidate, range(options.models)):
            models.append(model)
            progress.advance(task)
        task = progress.add_task("districts", total=options.worlds)
        running = []
        for number in range(options.worlds):
            seed = options.seed + number
            names = [name for name in options.scenarios if (seed, name) not in done]
            running.append(pool.submit(trials, seed, models[number % len(models)], names))
        for future in as_completed(running):
            parts.append(future.result())
            progress.advance(task)
            if options.out:
                pd.concat(parts).to_csv(options.out, index=False)
    console.print(table_of(pd.concat(parts)))
    console.print(
        f"{options.worlds} districts, {options.models} candidates, {options.processes} processes, "
        f"{time.monotonic() - start:,.0f} s"
    )


def read_options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.fairness",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--worlds", type=int, default=40, help="districts")
    parser.add_argument("--models", type=int, default=4, help="candidates")
    parser.add_argument("--scenarios", default=",".join(SCENARIOS))
    parser.add_argument("--seed", type=int, default=7_000, help="of the first district")
    parser.add_argument("--processes", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--out", type=Path, help="a CSV file for every trial")
    options = parser.parse_args()
    options.scenarios = options.scenarios.split(",")
    if unknown := set(options.scenarios) - set(SCENARIOS):
        parser.error(
            f"no such scenario: {', '.join(sorted(unknown))} (there are: {', '.join(SCENARIOS)})"
        )
    return options


if __name__ == "__main__":
    main()
