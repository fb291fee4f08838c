"""The ranker in worlds that others made up, against meta-learners: it must not be good in our own
worlds alone.

Run: python -m benchmarks.quality.published_designs [--rows 4000] [--seeds 3] [--worlds A/B/pair]

A to D are those of Nie & Wager (2021), "Quasi-oracle estimation of heterogeneous treatment
effects", Biometrika 108(2), section 4, with normal features in B to D. In "pair" two features help
together and neither tells anything alone; in "pair, confounded" who needs it got it. "several" has
three supports, each helping in a way of its own. In "against" past choices went to those who gain
least. Each figure is a mean over seeds: the squared error of the benefit, and the true gain of
giving 10,000 new people the best support above zero as a share of the oracle's.
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
from benchmarks.quality.simulation import Floats
from training.ranking.ranker import BenefitRanker

FEATURES, NEW = 8, 10_000
RIVAL_NAMES = ("T-learner", "pooled regression", "X-learner", "R-learner", "one model a support")
"""Those of `rivals` whose scores are benefits; the last is a DR-learner."""


@dataclass(eq=False)
class Sample:
    """People of a world, one episode each, and their true benefits (n, supports)."""

    features: pd.DataFrame
    support: pd.Series
    outcome: pd.Series
    benefit: Floats
    student: pd.Series = field(init=False)

    def __post_init__(self) -> None:
        self.student = pd.Series(np.arange(len(self.features)))

    @property
    def supports(self) -> tuple[str, ...]:
        return names_of(self.benefit.shape[1])


def names_of(count: int) -> tuple[str, ...]:
    return tuple(f"support {place + 1}" for place in range(count))


DataGeneratingProcess = Callable[[Floats], tuple[Floats, Floats, Floats]]
"""From features: the chance of each support (n, supports), the outcome without any (n,), the
benefits (n, supports)."""


def _a(X: Floats) -> tuple[Floats, Floats, Floats]:
    curve = np.sin(np.pi * X[:, 0] * X[:, 1])
    usual = curve + 2 * (X[:, 2] - 0.5) ** 2 + X[:, 3] + 0.5 * X[:, 4]
    return np.clip(curve, 0.1, 0.9)[:, None], usual, ((X[:, 0] + X[:, 1]) / 2 - 0.5)[:, None]


def _b(X: Floats) -> tuple[Floats, Floats, Floats]:
    usual = np.maximum(0, np.maximum(X[:, 0] + X[:, 1], X[:, 2])) + np.maximum(0, X[:, 3] + X[:, 4])
    return np.full((len(X), 1), 0.5), usual, (X[:, 0] + np.log1p(np.exp(X[:, 1])) - 1)[:, None]


def _c(X: Floats) -> tuple[Floats, Floats, Floats]:
    return (
        expit(X[:, 1] + X[:, 2])[:, None],
        2 * np.log1p(np.exp(X[:, 0] + X[:, 1] + X[:, 2])),
        np.ones((len(X), 1)),
    )


def _d(X: Floats) -> tuple[Floats, Floats, Floats]:
    with_it, without = np.maximum(X[:, :3].sum(axis=1), 0), np.maximum(X[:, 3] + X[:, 4], 0)
    chance = 1 / (1 + np.exp(-X[:, 0]) + np.exp(-X[:, 1]))
    return chance[:, None], (with_it + without) / 2, (with_it - without)[:, None]


def _pair(X: Floats) -> tuple[Floats, Floats, Floats]:
    return np.full((len(X), 1), 0.5), X[:, 2], np.where(X[:, 0] * X[:, 1] > 0, 1.0, -1.0)[:, None]


def _pair_confounded(X: Floats) -> tuple[Floats, Floats, Floats]:
    return expit(X[:, 2])[:, None], X[:, 2], np.where(X[:, 0] * X[:, 1] > 0, 1.5, -0.5)[:, None]


def _several(X: Floats) -> tuple[Floats, Floats, Floats]:
    odds = np.column_stack(
        [np.zeros(len(X)), 0.5 * X[:, 0] - 1.2, 0.5 * X[:, 1] - 1.2, 0.5 * X[:, 2] - 1.5]
    )
    benefit = np.column_stack([0.6 * X[:, 0] + 0.2, (X[:, 4] > 0) - 0.3, 0.5 * X[:, 5] * X[:, 6]])
    return softmax(odds, axis=1)[:, 1:], X[:, 0] + 0.5 * X[:, 3] ** 2, benefit


def _against(X: Floats) -> tuple[Floats, Floats, Floats]:
    return expit(-1.2 * X[:, 0] - 0.3)[:, None], X[:, 1], 0.8 * X[:, :1]


WORLDS: dict[str, DataGeneratingProcess] = {
    "A": _a,
    "B": _b,
    "C": _c,
    "D": _d,
    "pair": _pair,
    "pair, confounded": _pair_confounded,
    "several": _several,
    "against": _against,
}


def draw_sample(name: str, rows: int, rng: np.random.Generator) -> Sample:
    X = rng.random((rows, FEATURES)) if name == "A" else rng.normal(size=(rows, FEATURES))
    chance, usual, benefit = WORLDS[name](X)
    got = (
        rng.random(rows)[:, None]
        > np.cumsum(np.column_stack([1 - chance.sum(axis=1), chance]), axis=1)
    ).sum(axis=1)
    got = np.minimum(got, chance.shape[1])
    noise = (0.5 if name == "A" else 1.0) * rng.normal(size=rows)
    outcome = usual + np.column_stack([np.zeros(rows), benefit])[np.arange(rows), got] + noise
    support = np.array(["none", *names_of(chance.shape[1])], dtype=object)[got]
    features = pd.DataFrame(X, columns=[f"x{place}" for place in range(FEATURES)])
    return Sample(features, pd.Series(support), pd.Series(outcome), benefit)


def handrail(past: TrainingData, seed: int) -> Scorer:
    ranker = BenefitRanker(past.supports, random_state=seed)
    ranker.fit(past.features, past.outcome, past.support, past.student)

    def score(new: pd.DataFrame) -> Floats:
        found = ranker.benefits(new)
        return np.column_stack([found[name].mean for name in past.supports])

    return score


LEARNERS = {"Handrail": handrail} | {
    rival.name: rival.learn for rival in BASELINES if rival.name in RIVAL_NAMES
}


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.quality.published_designs")
    parser.add_argument("--rows", type=int, default=4_000)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--worlds", default="/".join(WORLDS), help="names with / between them")
    given = parser.parse_args()
    worlds = given.worlds.split("/")
    if unknown := [name for name in worlds if name not in WORLDS]:
        parser.error(f"there is no {unknown[0]!r}; worlds: {' / '.join(WORLDS)}")
    table = Table(
        "world", *LEARNERS, title=f"{given.rows:,} rows: squared error, share of the oracle's gain"
    )
    for name in track(worlds, "learning", console=Console(stderr=True)):
        figures: dict[str, list[tuple[float, float]]] = {learner: [] for learner in LEARNERS}
        for seed in range(given.seeds):
            rng = np.random.default_rng(seed)
            past, new = draw_sample(name, given.rows, rng), draw_sample(name, NEW, rng)
            most = gain(best_actions(new.benefit, above_zero=True), new.benefit)
            for learner, learn in LEARNERS.items():
                scores = learn(past, seed)(new.features)
                had = gain(best_actions(scores, above_zero=True), new.benefit)
                figures[learner].append((float(((scores - new.benefit) ** 2).mean()), had / most))
        table.add_row(
            name,
            *(
                f"{error:.3f}, {share:.2f}"
                for error, share in (np.mean(pairs, axis=0) for pairs in figures.values())
            ),
        )
    Console(width=120).print(table)


if __name__ == "__main__":
    main()
