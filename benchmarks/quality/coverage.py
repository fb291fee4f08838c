"""How often the 95% intervals of a policy's value, and of its gain over past practice, hold the
truth.

Run: .venv/bin/python -m benchmarks.quality.coverage [--replications 200] [--scenario base]

Every replication draws a world. The policy is the best choice by the true benefit plus noise of its
own, so it owes nothing to the episodes. Its nuisances are cross-fitted by
`training.estimation.pseudo_outcomes`, as in use, or are the true propensities, to tell what the
intervals miss from what the models get wrong.

The truth is the population's: the mean over a large draw of new students of what would follow,
given that world's benefits, and for the gain that mean less the same for past practice with its
true chances. A world's schools shift outcomes for better or worse. Intervals by student are judged
against the value at these very schools; intervals by school are judged against the value at schools
in general, where the shift is zero. The gain is the same for both: the shift cancels.
"""

from __future__ import annotations

import argparse
import math
from collections import defaultdict
from dataclasses import dataclass
from statistics import NormalDist

import numpy as np
import pandas as pd
from rich.console import Console
from rich.progress import track
from rich.table import Table
from scipy.stats import binomtest

from benchmarks.quality.simulation import (
    DECISIONS,
    SCENARIOS_BY_NAME,
    SUPPORTS,
    Floats,
    Scenario,
    SimulatedDistrict,
    simulate,
    small,
    untreated_outcome,
)
from training.estimation.policy_value import Actions, Estimate, IntervalKind, policy_value
from training.estimation.pseudo_outcomes import MIN_PROPENSITY, assign_folds, pseudo_outcomes

STUDENTS, NEW_STUDENTS = 2_000, 40_000
SCORE_NOISE = 1.5
"""Standard deviation of the policy's own error on each support's benefit, in progress points."""

KINDS: tuple[IntervalKind, ...] = ("analytic", "percentile", "bias_corrected")
METHODS: tuple[tuple[str, str, IntervalKind], ...] = (
    *(("fitted", "student", kind) for kind in KINDS),
    *(("fitted", "school", kind) for kind in KINDS),
    ("true propensity", "student", "analytic"),
    ("true propensity", "school", "analytic"),
)
"""Nuisances, clusters and kind of interval that are tried; folds are always by student, as in
use."""

NAMES = ("none", *SUPPORTS)


@dataclass(frozen=True)
class Truth:
    """In progress points an episode."""

    value: float
    gain: float
    at_these_schools: float
    """What this world's schools add to the value."""


@dataclass(frozen=True)
class Case:
    """One row of the table."""

    figure: str
    nuisances: str
    clusters: str
    kind: str


def policy_of(benefit: Floats, rng: np.random.Generator) -> Actions:
    """The support with the best noisy score, shape (n,), or none (0) where no score is above
    zero.
    """
    scores = benefit + SCORE_NOISE * rng.normal(size=benefit.shape)
    return np.where(scores.max(axis=1) > 0, scores.argmax(axis=1) + 1, 0).astype(np.intp)


def truth_of(world: SimulatedDistrict, rng: np.random.Generator) -> Truth:
    """The population's value and gain of the policy, from the world's new students."""
    if world.scenario.shift:
        raise ValueError(
            "new students who differ from the past ones have another value than the past ones had"
        )
    chosen = policy_of(world.new_benefit, rng)
    given = np.hstack([np.zeros((len(chosen), 1)), world.new_benefit])
    reached = given[np.arange(len(chosen)), chosen]
    practice = (world.new_propensity * given).sum(axis=1)
    return Truth(
        float((untreated_outcome(world.new) + reached).mean()),
        float((reached - practice).mean()),
        school_shift(world),
    )


def school_shift(world: SimulatedDistrict) -> float:
    """What this world's schools add to the mean outcome of its population of students.

    A school is a rounded sum of two normal draws of variance 4 (`worlds.draw`), kept between -6 and
    6.
    """
    edges = np.concatenate([[-np.inf], np.arange(-5.5, 6.0), [np.inf]])
    chances = np.diff([NormalDist(0.0, math.sqrt(8)).cdf(edge) for edge in edges])
    return float(chances @ world.school_effects)


def replicate(scenario: Scenario, seed: int) -> tuple[Truth, dict[Case, Estimate], float, float]:
    """The truth of one world, what every kind of interval says of it, thin overlap and effective
    sample size.
    """
    world = simulate(scenario, seed, NEW_STUDENTS)
    rng = np.random.default_rng([seed, 1])
    truth = truth_of(world, rng)
    chosen, taken, reward = policy_of(world.benefit, rng), _codes(world), world.outcome.to_numpy()
    fitted = pseudo_outcomes(
        world.features,
        world.support,
        world.outcome,
        SUPPORTS,
        assign_folds(world.student, 5, seed),
        seed,
    )
    found: dict[Case, Estimate] = {}
    propensities = {"fitted": fitted.propensity, "true propensity": world.propensity}
    by = {"student": world.student, "school": world.school}
    for nuisances, clusters, kind in METHODS:
        judged = policy_value(
            reward,
            taken,
            chosen,
            propensities[nuisances],
            fitted.expected_outcome,
            by[clusters],
            interval=kind,
            seed=seed,
        )
        for figure, estimate in (
            ("value", judged.dr),
            ("gain", judged.gain),
            ("value, SWITCH-DR", judged.switch_dr),
        ):
            found[Case(figure, nuisances, clusters, kind)] = estimate
    last = policy_value(
        reward, taken, chosen, fitted.propensity, fitted.expected_outcome, world.student
    )
    return truth, found, last.thin_overlap, last.effective_sample_size


def table_of(rows: dict[Case, list[tuple[float, Estimate]]], title: str) -> Table:
    """Each case's coverage with its Monte Carlo interval, its bias, and how its error compares with
    its width.
    """
    table = Table(
        "figure",
        "nuisances",
        "clusters",
        "interval",
        "coverage",
        "Monte Carlo 95%",
        "bias",
        "sd of error",
        "mean half width / 1.96",
        title=title,
    )
    for case, pairs in sorted(rows.items(), key=lambda row: (row[0].figure, row[0].nuisances)):
        held = sum(one.lower <= true <= one.upper for true, one in pairs)
        errors = np.array([one.value - true for true, one in pairs])
        half = np.array([(one.upper - one.lower) / 2 / 1.96 for _, one in pairs])
        share = held / len(pairs)
        ends = binomtest(held, len(pairs)).proportion_ci(method="wilson")
        table.add_row(
            case.figure,
            case.nuisances,
            case.clusters,
            case.kind,
            f"{share:.1%}",
            f"{ends.low:.1%} to {ends.high:.1%}",
            f"{errors.mean():+.3f}",
            f"{errors.std(ddof=1):.3f}",
            f"{half.mean():.3f}",
        )
    return table


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--replications", type=int, default=200)
    parser.add_argument(
        "--scenario",
        default="base",
        choices=[name for name in SCENARIOS_BY_NAME if not SCENARIOS_BY_NAME[name].shift],
    )
    parser.add_argument("--students", type=int, default=STUDENTS)
    asked = parser.parse_args()
    scenario = small(SCENARIOS_BY_NAME[asked.scenario], asked.students)
    rows: defaultdict[Case, list[tuple[float, Estimate]]] = defaultdict(list)
    thin, sizes = [], []
    console = Console(width=150)
    for seed in track(range(asked.replications), "worlds", console=Console(stderr=True)):
        truth, found, share, size = replicate(scenario, seed)
        thin.append(share)
        sizes.append(size)
        for case, estimate in found.items():
            shift = truth.at_these_schools if case.clusters == "student" else 0.0
            rows[case].append(
                (truth.gain if case.figure == "gain" else truth.value + shift, estimate)
            )
    console.print(
        table_of(
            rows, f"{scenario.name}, {scenario.students:,} students, {asked.replications} worlds"
        )
    )
    console.print(
        f"Chosen action at the propensity floor of {MIN_PROPENSITY}: {np.mean(thin):.1%} of"
        f" episodes; effective sample size {np.mean(sizes):,.0f} of"
        f" {scenario.students * DECISIONS:,}."
    )


def _codes(world: SimulatedDistrict) -> Actions:
    return np.asarray(pd.Categorical(world.support, categories=list(NAMES)).codes, dtype=np.intp)


if __name__ == "__main__":
    main()
