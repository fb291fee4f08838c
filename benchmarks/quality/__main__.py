"""What share of the achievable gain each way of ranking reaches, where true benefits are known.

Run:
    .venv/bin/python -m benchmarks.quality
    .venv/bin/python -m benchmarks.quality --seeds 1 --scenarios base,null --out FILE.csv
    .venv/bin/python -m benchmarks.quality --learners Handrail,imitation

Each figure is the true gain of the choices for 20,000 new students, as a share of the oracle's:
- open: every student gets the support with the highest score; where scores are benefits, nobody
  gets one below zero.
- places: only as many students as past practice served get one, those with the highest scores.
- surely: what Handrail would suggest, abstaining where the evidence is thin.

In the null scenario nothing can be gained: read the share of students with a suggestion instead.
EconML's learners need the libraries of `requirements-bench.lock`.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from rich.console import Console
from rich.progress import Progress

from benchmarks.quality.baselines import BASELINES, Baseline, Scorer
from benchmarks.quality.simulation import (
    SCENARIOS_BY_NAME,
    SUPPORTS,
    SimulatedDistrict,
    masked_columns,
    simulate,
)
from records.system.files import write_atomic
from training.estimation.arrays import FloatArray
from training.ranking.ranker import BenefitRanker
from training.ranking.suggestions import worth_suggesting

HANDRAIL = "Handrail"
FOR_THIS_SCOPE = "Handrail, learned for this scope"


def gain(chosen: np.ndarray, benefit: FloatArray) -> float:
    """The mean true benefit per student of choices.

    Args:
        chosen: shape (students,): 0 for none, else 1 + column of the support.
        benefit: true benefits, shape (students, supports).
    """
    with_none = np.hstack([np.zeros((len(benefit), 1)), benefit])
    return float(with_none[np.arange(len(chosen)), chosen].mean())


def best_actions(
    scores: FloatArray, *, above_zero: bool, capacity: int | None = None
) -> np.ndarray:
    """The support with the highest score for each student, shape (students,); 0 for none.

    Args:
        scores: shape (students, supports).
        above_zero: whether a score of zero or less means none.
        capacity: the most students who get a support, those with the highest scores.
    """
    best, highest = scores.argmax(axis=1), scores.max(axis=1)
    chosen = np.where((highest > 0) | (not above_zero), best + 1, 0)
    if capacity is not None:
        chosen[np.argsort(-highest, kind="stable")[capacity:]] = 0
    return chosen


def gain_shares(
    district: SimulatedDistrict, scores: FloatArray, *, above_zero: bool
) -> dict[str, float]:
    """The gain of scores as a share of the oracle's, without ("open") and with limited places."""
    past_capacity = round(float((district.support != "none").mean()) * len(district.new))
    truth = district.new_benefit
    shares = {}
    for name, capacity in (("open", None), ("places", past_capacity)):
        oracle = gain(best_actions(truth, above_zero=True, capacity=capacity), truth)
        own = gain(best_actions(scores, above_zero=above_zero, capacity=capacity), truth)
        shares[name] = own / (oracle if oracle > 0 else np.nan)
    return shares


def run_handrail(
    district: SimulatedDistrict, seed: int, features: pd.DataFrame, new_features: pd.DataFrame
) -> dict[str, float]:
    """The figures of a `BenefitRanker` that learns from `features` and sees `new_features`."""
    ranker = BenefitRanker(SUPPORTS, random_state=seed).fit(
        features, district.outcome, district.support, district.student
    )
    benefits = ranker.benefits(new_features)
    means = np.column_stack([benefits[name].mean for name in SUPPORTS])
    worth = np.column_stack([worth_suggesting(benefits[name]) for name in SUPPORTS])
    suggested = np.where(worth, means, -1.0)
    harmful = district.scenario.harmful
    main_effect_trees, interaction_trees = ranker.n_trees_
    return gain_shares(district, means, above_zero=True) | {
        "surely": gain_shares(district, suggested, above_zero=True)["open"],
        "suggested": float(worth.any(axis=1).mean()),
        "harmful suggested": float(worth[:, SUPPORTS.index(harmful)].mean()) if harmful else np.nan,
        "trees alone": main_effect_trees,
        "trees together": interaction_trees,
    }


def run_learner(district: SimulatedDistrict, seed: int, name: str) -> dict[str, float]:
    """The figures of one learner in one district."""
    masked = district.scenario.masked
    new_features = district.new_students_masked() if masked else district.new
    if name == HANDRAIL:
        return run_handrail(district, seed, district.features, new_features)
    if name == FOR_THIS_SCOPE:
        hidden = masked_columns(new_features)
        visible = [column for column in new_features.columns if column not in hidden]
        return run_handrail(district, seed, district.features[visible], new_features[visible])
    baseline: Baseline = next(baseline for baseline in BASELINES if baseline.name == name)
    score: Scorer = baseline.learn(district, seed)
    return gain_shares(district, score(new_features), above_zero=baseline.benefit)


def main(arguments: Sequence[str] | None = None) -> None:
    options = read_options(arguments)
    out = Path(options.out) if options.out else None
    rows: list[dict[Any, Any]] = []
    if out and out.exists():
        rows = pd.read_csv(out, keep_default_na=False, na_values="").to_dict("records")
    done = {(row["scenario"], row["seed"], row["learner"]) for row in rows}
    with Progress(console=Console(stderr=True)) as progress:
        task = progress.add_task("learning", total=len(options.scenarios) * options.seeds)
        for seed in range(options.seeds):
            for scenario in options.scenarios:
                district = simulate(SCENARIOS_BY_NAME[scenario], seed)
                extra = [FOR_THIS_SCOPE] if district.scenario.masked else []
                for learner in [*options.learners, *extra]:
                    if (scenario, seed, learner) in done:
                        continue
                    start = time.perf_counter()
                    figures = run_learner(district, seed, learner)
                    rows.append(
                        {"scenario": scenario, "seed": seed, "learner": learner}
                        | figures
                        | {"seconds": time.perf_counter() - start}
                    )
                    if out:
                        write_atomic(out, pd.DataFrame(rows).to_csv(index=False))
                progress.advance(task)
    medians = (
        pd.DataFrame(rows)
        .drop(columns="seed")
        .groupby(["scenario", "learner"], sort=False)
        .median()
    )
    with pd.option_context("display.width", 200, "display.max_rows", None):
        print(f"Medians over {options.seeds} seeds")
        print(medians.round(3).to_string(na_rep=""))


def read_options(arguments: Sequence[str] | None) -> argparse.Namespace:
    learners = [HANDRAIL, *(baseline.name for baseline in BASELINES)]
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.quality", description=__doc__.splitlines()[0]
    )
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--scenarios", default=",".join(SCENARIOS_BY_NAME))
    parser.add_argument("--learners", default=",".join(learners))
    parser.add_argument(
        "--out", help="a CSV file for every figure; figures already in it are not computed again"
    )
    options = parser.parse_args(arguments)
    options.scenarios, options.learners = options.scenarios.split(","), options.learners.split(",")
    unknown = set(options.scenarios) - set(SCENARIOS_BY_NAME)
    for name in [*unknown, *set(options.learners) - set(learners)]:
        parser.error(
            f"there is no {name!r}; scenarios: {', '.join(SCENARIOS_BY_NAME)}; learners:"
            f" {', '.join(sorted(learners))}"
        )
    return options


if __name__ == "__main__":
    main()
