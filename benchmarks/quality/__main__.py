"""How much of what could be gained each way of ranking finds, in districts whose truth is known.

Run: python -m benchmarks.quality [--seeds 5] [--scenarios base,null] [--learners
Handrail,imitation] [--out FILE.csv]

Each figure is the true gain of the choices for 20,000 new students as a share of the oracle's:
- open: everybody gets the support with the highest score; where the score is a benefit, nobody gets
  one below zero.
- places: only as many as past practice served get one, those with the highest scores.
- surely: what Handrail would suggest, with its silence where the evidence is thin. In the null
scenario nothing can be gained, and the share of students with a suggestion is printed instead.
EconML's learners need the libraries of `requirements-bench.lock`.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd
from rich.console import Console
from rich.progress import Progress

from benchmarks.quality.baselines import BASELINES, Baseline, Scorer
from benchmarks.quality.simulation import (
    SCENARIOS,
    SUPPORTS,
    Floats,
    SimulatedDistrict,
    hidden_columns,
    simulate,
)
from records.system.files import write_atomic
from training.ranking.ranker import BenefitRanker
from training.ranking.suggestions import worth_suggesting

OURS = "Handrail"
FOR_THIS_SCOPE = "Handrail, learned for this scope"


def gain(chosen: np.ndarray, benefit: Floats) -> float:
    """The true benefit a student of choices, 0 for none, else 1 + index of the support."""
    with_none = np.hstack([np.zeros((len(benefit), 1)), benefit])
    return float(with_none[np.arange(len(chosen)), chosen].mean())


def best_actions(scores: Floats, *, above_zero: bool, places: int | None = None) -> np.ndarray:
    best, most = scores.argmax(axis=1), scores.max(axis=1)
    chosen = np.where((most > 0) | (not above_zero), best + 1, 0)
    if places is not None:
        chosen[np.argsort(-most, kind="stable")[places:]] = 0
    return chosen


def gain_shares(world: SimulatedDistrict, scores: Floats, *, above_zero: bool) -> dict[str, float]:
    places = round(float((world.support != "none").mean()) * len(world.new))
    found = {}
    for name, limit in (("open", None), ("places", places)):
        most = gain(
            best_actions(world.new_benefit, above_zero=True, places=limit), world.new_benefit
        )
        found[name] = gain(
            best_actions(scores, above_zero=above_zero, places=limit), world.new_benefit
        )
        found[name] /= most if most > 0 else np.nan
    return found


def ours(
    world: SimulatedDistrict, seed: int, features: pd.DataFrame, seen: pd.DataFrame
) -> dict[str, float]:
    ranker = BenefitRanker(SUPPORTS, random_state=seed).fit(
        features, world.outcome, world.support, world.student
    )
    benefits = ranker.benefits(seen)
    means = np.column_stack([benefits[name].mean for name in SUPPORTS])
    sure = np.column_stack([worth_suggesting(benefits[name]) for name in SUPPORTS])
    shown = np.where(sure, means, -1.0)
    found = gain_shares(world, means, above_zero=True)
    harmful = world.scenario.harmful
    return found | {
        "surely": gain_shares(world, shown, above_zero=True)["open"],
        "suggested": float(sure.any(axis=1).mean()),
        "harmful suggested": float(sure[:, SUPPORTS.index(harmful)].mean()) if harmful else np.nan,
        "trees alone": ranker.n_trees_[0],
        "trees together": ranker.n_trees_[1],
    }


def run_learner(world: SimulatedDistrict, seed: int, name: str) -> dict[str, float]:
    """The figures of one learner in one world."""
    seen = world.hidden() if world.scenario.masked else world.new
    if name == OURS:
        return ours(world, seed, world.features, seen)
    if name == FOR_THIS_SCOPE:
        visible = [column for column in seen.columns if column not in hidden_columns(seen)]
        return ours(world, seed, world.features[visible], seen[visible])
    rival: Baseline = next(rival for rival in BASELINES if rival.name == name)
    score: Scorer = rival.learn(world, seed)
    return gain_shares(world, score(seen), above_zero=rival.benefit)


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.quality", description=__doc__.splitlines()[0]
    )
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--scenarios", default=",".join(scenario.name for scenario in SCENARIOS))
    parser.add_argument(
        "--learners", default=",".join([OURS, *(rival.name for rival in BASELINES)])
    )
    parser.add_argument(
        "--out", help="keep every figure in this CSV file; what it has already is not run again"
    )
    given = parser.parse_args(arguments)
    wanted, learners = given.scenarios.split(","), given.learners.split(",")
    known = {scenario.name: scenario for scenario in SCENARIOS}
    names = {OURS, *(rival.name for rival in BASELINES)}
    for name in [*set(wanted) - set(known), *set(learners) - names]:
        parser.error(
            f"there is no {name!r}; scenarios: {', '.join(known)}; learners:"
            f" {', '.join(sorted(names))}"
        )
    out = Path(given.out) if given.out else None
    rows = (
        pd.read_csv(out, keep_default_na=False, na_values="").to_dict("records")
        if out and out.exists()
        else []
    )
    done = {(row["scenario"], row["seed"], row["learner"]) for row in rows}
    with Progress(console=Console(stderr=True)) as progress:
        task = progress.add_task("learning", total=len(wanted) * given.seeds)
        for seed in range(given.seeds):
            for scenario in wanted:
                world = simulate(known[scenario], seed)
                for name in [*learners, *([FOR_THIS_SCOPE] if world.scenario.masked else [])]:
                    if (scenario, seed, name) in done:
                        continue
                    start = time.perf_counter()
                    found = run_learner(world, seed, name)
                    rows.append(
                        {"scenario": scenario, "seed": seed, "learner": name}
                        | found
                        | {"seconds": time.perf_counter() - start}
                    )
                    if out:
                        write_atomic(out, pd.DataFrame(rows).to_csv(index=False))
                progress.advance(task)
    table = (
        pd.DataFrame(rows)
        .drop(columns="seed")
        .groupby(["scenario", "learner"], sort=False)
        .median()
    )
    with pd.option_context("display.width", 200, "display.max_rows", None):
        print(f"Medians over {given.seeds} seeds")
        print(table.round(3).to_string(na_rep=""))


if __name__ == "__main__":
    main()
