"""Coverage of the 95% intervals of a policy's value and of its gain over past practice.

Run:
    .venv/bin/python -m benchmarks.quality.coverage
    .venv/bin/python -m benchmarks.quality.coverage --replications 50 --scenario base

Every replication simulates a district. The policy chooses by the true benefit plus noise of its
own, so it does not depend on the episodes. Propensities are cross-fitted by
`training.estimation.pseudo_outcomes`, as in use, or are the true ones, which separates what the
intervals miss from what the models get wrong.

The truth is the population's: the mean outcome over a large draw of new students under the policy,
and for the gain that mean less the mean under past practice with its true propensities. A
district's schools shift outcomes up or down. Intervals clustered by student are compared with the
value at these schools; intervals clustered by school are compared with the value at schools in
general, where the shift is zero. The gain is the same for both, because the shift cancels.
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
    Scenario,
    SimulatedDistrict,
    simulate,
    untreated_outcome,
    with_students,
)
from training.estimation.arrays import FloatArray
from training.estimation.policy_value import Actions, Estimate, IntervalKind, policy_value
from training.estimation.pseudo_outcomes import MIN_PROPENSITY, assign_folds, pseudo_outcomes

STUDENTS, NEW_STUDENTS = 2_000, 40_000
SCORE_NOISE = 1.5
"""Standard deviation of the policy's error on each support's benefit, in progress points."""

KINDS: tuple[IntervalKind, ...] = ("analytic", "percentile", "bias_corrected")
METHODS: tuple[tuple[str, str, IntervalKind], ...] = (
    *(("fitted", "student", kind) for kind in KINDS),
    *(("fitted", "school", kind) for kind in KINDS),
    ("true propensity", "student", "analytic"),
    ("true propensity", "school", "analytic"),
)
"""(propensities, clusters, interval) of each row; folds are always by student, as in use."""

NAMES = ("none", *SUPPORTS)


@dataclass(frozen=True)
class Truth:
    """What a policy is truly worth, in progress points per episode.

    Attributes:
        value: at schools in general.
        gain: over past practice.
        school_shift: what this district's schools add to the value.
    """

    value: float
    gain: float
    school_shift: float


@dataclass(frozen=True)
class Case:
    """One row of the table."""

    figure: str
    propensities: str
    clusters: str
    kind: str


def policy_of(benefit: FloatArray, rng: np.random.Generator) -> Actions:
    """The support with the best noisy score above zero, shape (n,); 0 for none."""
    scores = benefit + SCORE_NOISE * rng.normal(size=benefit.shape)
    return np.where(scores.max(axis=1) > 0, scores.argmax(axis=1) + 1, 0).astype(np.intp)


def truth_of(district: SimulatedDistrict, rng: np.random.Generator) -> Truth:
    """The population's value and gain of the policy, from the district's new students.

    Raises:
        ValueError: the scenario shifts new students, whose value then is not that of past ones.
    """
    if district.scenario.shift:
        raise ValueError("new students differ from past ones, so their value does too")
    actions = policy_of(district.new_benefit, rng)
    with_none = np.hstack([np.zeros((len(actions), 1)), district.new_benefit])
    received = with_none[np.arange(len(actions)), actions]
    past_practice = (district.new_propensity * with_none).sum(axis=1)
    return Truth(
        float((untreated_outcome(district.new) + received).mean()),
        float((received - past_practice).mean()),
        school_shift(district),
    )


def school_shift(district: SimulatedDistrict) -> float:
    """What this district's schools add to the mean outcome of its population, in progress points.

    A school is a rounded sum of two normal draws of variance 4, clipped to -6 to 6
    (`simulation.simulate`).
    """
    edges = np.concatenate([[-np.inf], np.arange(-5.5, 6.0), [np.inf]])
    shares = np.diff([NormalDist(0.0, math.sqrt(8)).cdf(edge) for edge in edges])
    return float(shares @ district.school_effects)


def replicate(scenario: Scenario, seed: int) -> tuple[Truth, dict[Case, Estimate], float, float]:
    """One district's truth, each case's estimate, share of thin overlap, effective sample size."""
    district = simulate(scenario, seed, NEW_STUDENTS)
    rng = np.random.default_rng([seed, 1])
    truth = truth_of(district, rng)
    actions, taken = policy_of(district.benefit, rng), _codes(district)
    outcome = district.outcome.to_numpy()
    fitted = pseudo_outcomes(
        district.features,
        district.support,
        district.outcome,
        SUPPORTS,
        assign_folds(district.student, 5, seed),
        seed,
    )
    estimates: dict[Case, Estimate] = {}
    propensity_of = {"fitted": fitted.propensity, "true propensity": district.propensity}
    cluster_of = {"student": district.student, "school": district.school}
    for propensities, clusters, kind in METHODS:
        value = policy_value(
            outcome,
            taken,
            actions,
            propensity_of[propensities],
            fitted.expected_outcome,
            cluster_of[clusters],
            interval=kind,
            seed=seed,
        )
        for figure, estimate in (
            ("value", value.dr),
            ("gain", value.gain),
            ("value, SWITCH-DR", value.switch_dr),
        ):
            estimates[Case(figure, propensities, clusters, kind)] = estimate
    default = policy_value(
        outcome, taken, actions, fitted.propensity, fitted.expected_outcome, district.student
    )
    return truth, estimates, default.thin_overlap, default.effective_sample_size


def table_of(rows: dict[Case, list[tuple[float, Estimate]]], title: str) -> Table:
    """Each case's coverage with its Monte Carlo interval, its bias, and its error and width."""
    table = Table(
        "figure",
        "propensities",
        "clusters",
        "interval",
        "coverage",
        "Monte Carlo 95%",
        "bias",
        "sd of error",
        "mean half width / 1.96",
        title=title,
    )
    for case, pairs in sorted(rows.items(), key=lambda row: (row[0].figure, row[0].propensities)):
        covered = sum(estimate.lower <= true <= estimate.upper for true, estimate in pairs)
        errors = np.array([estimate.value - true for true, estimate in pairs])
        standard_errors = [(estimate.upper - estimate.lower) / 2 / 1.96 for _, estimate in pairs]
        monte_carlo = binomtest(covered, len(pairs)).proportion_ci(method="wilson")
        table.add_row(
            case.figure,
            case.propensities,
            case.clusters,
            case.kind,
            f"{covered / len(pairs):.1%}",
            f"{monte_carlo.low:.1%} to {monte_carlo.high:.1%}",
            f"{errors.mean():+.3f}",
            f"{errors.std(ddof=1):.3f}",
            f"{np.mean(standard_errors):.3f}",
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
    options = parser.parse_args()
    scenario = with_students(SCENARIOS_BY_NAME[options.scenario], options.students)
    rows: defaultdict[Case, list[tuple[float, Estimate]]] = defaultdict(list)
    thin_overlap, sample_sizes = [], []
    console = Console(width=150)
    for seed in track(
        range(options.replications), "simulating districts", console=Console(stderr=True)
    ):
        truth, estimates, thin, sample_size = replicate(scenario, seed)
        thin_overlap.append(thin)
        sample_sizes.append(sample_size)
        for case, estimate in estimates.items():
            shift = truth.school_shift if case.clusters == "student" else 0.0
            true_figure = truth.gain if case.figure == "gain" else truth.value + shift
            rows[case].append((true_figure, estimate))
    title = f"{scenario.name}, {scenario.students:,} students, {options.replications} districts"
    console.print(table_of(rows, title))
    console.print(
        f"Chosen action at the propensity floor of {MIN_PROPENSITY}: {np.mean(thin_overlap):.1%} of"
        f" episodes; effective sample size {np.mean(sample_sizes):,.0f} of"
        f" {scenario.students * DECISIONS:,}."
    )


def _codes(district: SimulatedDistrict) -> Actions:
    """The support that each episode got, shape (n,); 0 for none."""
    return np.asarray(pd.Categorical(district.support, categories=list(NAMES)).codes, dtype=np.intp)


if __name__ == "__main__":
    main()
