"""The ranker and meta-learners on published simulation designs, and on four variations.

Run:
    .venv/bin/python -m benchmarks.quality.published_designs
    .venv/bin/python -m benchmarks.quality.published_designs --rows 1000 --seeds 1 --worlds A/pair

A to D are the designs of Nie & Wager (2021), "Quasi-oracle estimation of heterogeneous treatment
effects", Biometrika 108(2), section 4, with normal features in B to D. In
"pair" two features matter only together and neither is informative alone; in "pair, confounded"
those in need were more often treated. "several" has three supports whose benefits follow different
features. In "against" past choices went to those who gain least.

Each figure is a mean over seeds: the squared error of the benefit, and the true gain of giving
10,000 new people their best support above zero, as a share of the oracle's.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
import pandas as pd
from rich.console import Console
from rich.progress import track
from rich.table import Table
from scipy.special import expit, softmax

from benchmarks.quality.__main__ import best_actions, gain
from benchmarks.quality.baselines import BASELINES, Scorer, TrainingData
from training.estimation.arrays import FloatArray
from training.ranking.ranker import BenefitRanker

N_FEATURES, N_NEW = 8, 10_000
BASELINE_NAMES = ("T-learner", "pooled regression", "X-learner", "R-learner", "one model a support")
"""Baselines whose scores are benefits; the last is a DR-learner."""


@dataclass(eq=False)
class Sample:
    """People of a design, one episode each, and their true benefits, shape (n, supports)."""

    features: pd.DataFrame
    support: pd.Series
    outcome: pd.Series
    benefit: FloatArray
    student: pd.Series = field(init=False)

    def __post_init__(self) -> None:
        self.student = pd.Series(np.arange(len(self.features)))

    @property
    def supports(self) -> tuple[str, ...]:
        return names_of(self.benefit.shape[1])


def names_of(count: int) -> tuple[str, ...]:
    return tuple(f"support {number + 1}" for number in range(count))


DataGeneratingProcess = Callable[[FloatArray], tuple[FloatArray, FloatArray, FloatArray]]
"""From features, shape (n, features): the propensity of each support (n, supports), the outcome
without any (n,), and the benefits (n, supports)."""


def _a(X: FloatArray) -> tuple[FloatArray, FloatArray, FloatArray]:
    curve = np.sin(np.pi * X[:, 0] * X[:, 1])
    untreated = curve + 2 * (X[:, 2] - 0.5) ** 2 + X[:, 3] + 0.5 * X[:, 4]
    return np.clip(curve, 0.1, 0.9)[:, None], untreated, ((X[:, 0] + X[:, 1]) / 2 - 0.5)[:, None]


def _b(X: FloatArray) -> tuple[FloatArray, FloatArray, FloatArray]:
    untreated = np.maximum(0, np.maximum(X[:, 0] + X[:, 1], X[:, 2]))
    untreated = untreated + np.maximum(0, X[:, 3] + X[:, 4])
    return np.full((len(X), 1), 0.5), untreated, (X[:, 0] + np.log1p(np.exp(X[:, 1])) - 1)[:, None]


def _c(X: FloatArray) -> tuple[FloatArray, FloatArray, FloatArray]:
    return (
        expit(X[:, 1] + X[:, 2])[:, None],
        2 * np.log1p(np.exp(X[:, 0] + X[:, 1] + X[:, 2])),
        np.ones((len(X), 1)),
    )


def _d(X: FloatArray) -> tuple[FloatArray, FloatArray, FloatArray]:
    treated, untreated = np.maximum(X[:, :3].sum(axis=1), 0), np.maximum(X[:, 3] + X[:, 4], 0)
    propensity = 1 / (1 + np.exp(-X[:, 0]) + np.exp(-X[:, 1]))
    return propensity[:, None], (treated + untreated) / 2, (treated - untreated)[:, None]


def _pair(X: FloatArray) -> tuple[FloatArray, FloatArray, FloatArray]:
    return np.full((len(X), 1), 0.5), X[:, 2], np.where(X[:, 0] * X[:, 1] > 0, 1.0, -1.0)[:, None]


def _pair_confounded(X: FloatArray) -> tuple[FloatArray, FloatArray, FloatArray]:
    return expit(X[:, 2])[:, None], X[:, 2], np.where(X[:, 0] * X[:, 1] > 0, 1.5, -0.5)[:, None]


def _several(X: FloatArray) -> tuple[FloatArray, FloatArray, FloatArray]:
    odds = np.column_stack(
        [np.zeros(len(X)), 0.5 * X[:, 0] - 1.2, 0.5 * X[:, 1] - 1.2, 0.5 * X[:, 2] - 1.5]
    )
    benefit = np.column_stack([0.6 * X[:, 0] + 0.2, (X[:, 4] > 0) - 0.3, 0.5 * X[:, 5] * X[:, 6]])
    return softmax(odds, axis=1)[:, 1:], X[:, 0] + 0.5 * X[:, 3] ** 2, benefit


def _against(X: FloatArray) -> tuple[FloatArray, FloatArray, FloatArray]:
    return expit(-1.2 * X[:, 0] - 0.3)[:, None], X[:, 1], 0.8 * X[:, :1]


DESIGNS: dict[str, DataGeneratingProcess] = {
    "A": _a,
    "B": _b,
    "C": _c,
    "D": _d,
    "pair": _pair,
    "pair, confounded": _pair_confounded,
    "several": _several,
    "against": _against,
}


def draw_sample(design: str, rows: int, rng: np.random.Generator) -> Sample:
    uniform = design == "A"
    X = rng.random((rows, N_FEATURES)) if uniform else rng.normal(size=(rows, N_FEATURES))
    propensity, untreated, benefit = DESIGNS[design](X)
    n_supports = propensity.shape[1]
    with_none = np.column_stack([1 - propensity.sum(axis=1), propensity])
    action = (rng.random(rows)[:, None] > np.cumsum(with_none, axis=1)).sum(axis=1)
    # Rounding can leave a cumulative sum below 1, and a draw above it.
    action = np.minimum(action, n_supports)
    noise = (0.5 if uniform else 1.0) * rng.normal(size=rows)
    received = np.column_stack([np.zeros(rows), benefit])[np.arange(rows), action]
    support = np.array(["none", *names_of(n_supports)], dtype=object)[action]
    features = pd.DataFrame(X, columns=[f"x{number}" for number in range(N_FEATURES)])
    return Sample(features, pd.Series(support), pd.Series(untreated + received + noise), benefit)


def learn_handrail(data: TrainingData, seed: int) -> Scorer:
    ranker = BenefitRanker(data.supports, random_state=seed)
    ranker.fit(data.features, data.outcome, data.support, data.student)

    def score(new: pd.DataFrame) -> FloatArray:
        benefits = ranker.benefits(new)
        return np.column_stack([benefits[name].mean for name in data.supports])

    return score


LEARNERS = {"Handrail": learn_handrail} | {
    baseline.name: baseline.learn for baseline in BASELINES if baseline.name in BASELINE_NAMES
}


def error_and_gain(scores: FloatArray, benefit: FloatArray) -> tuple[float, float]:
    """The mean squared error of scores as benefits, and their gain as a share of the oracle's."""
    oracle = gain(best_actions(benefit, above_zero=True), benefit)
    own = gain(best_actions(scores, above_zero=True), benefit)
    return float(((scores - benefit) ** 2).mean()), own / oracle


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.quality.published_designs")
    parser.add_argument("--rows", type=int, default=4_000)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument(
        "--worlds", default="/".join(DESIGNS), help="names of designs, separated by /"
    )
    options = parser.parse_args()
    designs = options.worlds.split("/")
    if unknown := [name for name in designs if name not in DESIGNS]:
        parser.error(f"there is no {unknown[0]!r}; designs: {' / '.join(DESIGNS)}")
    table = Table(
        "design",
        *LEARNERS,
        title=f"{options.rows:,} rows: squared error, share of the oracle's gain",
    )
    for design in track(designs, "learning", console=Console(stderr=True)):
        figures: dict[str, list[tuple[float, float]]] = {learner: [] for learner in LEARNERS}
        for seed in range(options.seeds):
            rng = np.random.default_rng(seed)
            past = draw_sample(design, options.rows, rng)
            new = draw_sample(design, N_NEW, rng)
            for learner, learn in LEARNERS.items():
                scores = learn(past, seed)(new.features)
                figures[learner].append(error_and_gain(scores, new.benefit))
        means = (np.mean(pairs, axis=0) for pairs in figures.values())
        table.add_row(design, *(f"{error:.3f}, {share:.2f}" for error, share in means))
    Console(width=120).print(table)


if __name__ == "__main__":
    main()
