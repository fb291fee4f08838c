"""False promotions and power: how often a candidate is called better than the champion.

Run:
    .venv/bin/python -m benchmarks.quality.promotion_errors
    .venv/bin/python -m benchmarks.quality.promotion_errors --replications 50 --pairs 4
    .venv/bin/python -m benchmarks.quality.promotion_errors --learned 60

Every replication simulates a district. A policy chooses the support with the best score among those
above zero, for as many students as past practice served, highest scores first; a score is the true
benefit plus the policy's own noise. A champion and a candidate with equal noise are worth exactly
the same in the population: the hardest case of "no better". More noise makes a candidate worse,
less makes it better. True differences come from new students.

`training.evaluation.model_comparison.paired_difference` evaluates all candidates of a district with
nuisances cross-fitted as in use. That takes most of the time, so several pairs are drawn for each
district; they are not independent, and the Monte Carlo intervals are slightly too narrow.

With `--learned N` another N districts compare two real rankers: the champion learned from the
earlier two episodes of each student, the candidate from half of these students.
`training.evaluation.model_comparison.compare_rankers` evaluates them on the last episodes.
"""

from __future__ import annotations

import argparse
from collections import defaultdict
from collections.abc import Iterator
from itertools import product

import numpy as np
import pandas as pd
from rich.console import Console
from rich.table import Table
from scipy.stats import binomtest

from benchmarks.quality.simulation import (
    DECISIONS,
    SCENARIOS_BY_NAME,
    SUPPORTS,
    Scenario,
    SimulatedDistrict,
    simulate,
    with_students,
)
from training.episodes.episodes import Episodes
from training.estimation.arrays import FloatArray
from training.estimation.policy_value import Actions
from training.estimation.pseudo_outcomes import assign_folds, pseudo_outcomes
from training.evaluation.model_comparison import (
    PolicyDifference,
    Superiority,
    compare_rankers,
    paired_difference,
)
from training.ranking.ranker import BenefitRanker
from training.ranking.suggestions import choose_actions

STUDENTS, NEW_STUDENTS = 1_000, 10_000
CHAMPION_NOISE = 1.5
"""Standard deviation of the champion's error on each support's benefit, in progress points."""

CANDIDATE_NOISE = {"just as good": 1.5, "slightly worse": 1.8, "worse": 3.0, "better": 0.5}
PROGRAMS = pd.DataFrame({"support": SUPPORTS, "min_grade": np.nan, "max_grade": np.nan})
NAMES = ("none", *SUPPORTS)


def noisy_actions(
    benefit: FloatArray, noise: float, capacity: int, rng: np.random.Generator
) -> Actions:
    """The support with the best noisy score above zero, for those with the highest scores.

    Args:
        benefit: true benefits in progress points, shape (n, supports).
        noise: standard deviation of the policy's error, in progress points.
        capacity: the most students who get a support.
        rng: where the errors are drawn from.

    Returns:
        Shape (n,): 0 for none, else 1 + column of the support.
    """
    scores = benefit + noise * rng.normal(size=benefit.shape)
    best, highest = scores.argmax(axis=1), scores.max(axis=1)
    has_place = np.zeros(len(scores), dtype=bool)
    has_place[np.argsort(-highest, kind="stable")[:capacity]] = True
    return np.where(has_place & (highest > 0), best + 1, 0).astype(np.intp)


def true_value(actions: Actions, benefit: FloatArray) -> float:
    """The mean true benefit per student, in progress points."""
    with_none = np.hstack([np.zeros((len(benefit), 1)), benefit])
    return float(with_none[np.arange(len(actions)), actions].mean())


def noisy_policies(
    scenario: Scenario, seed: int, pairs: int
) -> Iterator[tuple[str, float, PolicyDifference]]:
    """Each candidate of one district, `pairs` times: its name, true difference and its estimate."""
    district = simulate(scenario, seed, NEW_STUDENTS)
    rng = np.random.default_rng([seed, 2])
    taken = _codes(district)
    fitted = pseudo_outcomes(
        district.features,
        district.support,
        district.outcome,
        SUPPORTS,
        assign_folds(district.student, 5, seed),
        seed,
    )
    capacity = int((taken > 0).sum())
    new_capacity = round(capacity / len(taken) * len(district.new))
    outcome = district.outcome.to_numpy()
    for _, (name, candidate_noise) in product(range(pairs), CANDIDATE_NOISE.items()):
        noises = (candidate_noise, CHAMPION_NOISE)
        candidate, champion = (
            noisy_actions(district.benefit, noise, capacity, rng) for noise in noises
        )
        candidate_value, champion_value = (
            true_value(
                noisy_actions(district.new_benefit, noise, new_capacity, rng), district.new_benefit
            )
            for noise in noises
        )
        equal = candidate_noise == CHAMPION_NOISE
        difference = paired_difference(
            outcome,
            taken,
            candidate,
            champion,
            fitted.propensity,
            fitted.expected_outcome,
            district.student,
        )
        yield name, 0.0 if equal else candidate_value - champion_value, difference


def learned_policies(scenario: Scenario, seed: int) -> tuple[float, PolicyDifference]:
    """Two real rankers of one district, the candidate learned from half of the students.

    Returns:
        The true difference in progress points per student, and its estimate.
    """
    district = simulate(scenario, seed, NEW_STUDENTS)
    day = pd.Series(np.arange(len(district.student)) % DECISIONS)
    episodes = Episodes(
        district.features,
        district.student,
        day.map(lambda number: f"2025-0{number + 1}-01"),
        district.support,
        district.outcome,
    )
    is_last = (day == DECISIONS - 1).to_numpy()
    half = (assign_folds(district.student, 2, seed) == 0) & ~is_last
    candidate, champion = (
        _fit_ranker(district, np.flatnonzero(rows), seed) for rows in (half, ~is_last)
    )
    comparison = compare_rankers(episodes, is_last, PROGRAMS, candidate, champion, seed=seed)
    capacity = round(comparison.places / comparison.episodes * len(district.new))
    candidate_value, champion_value = (
        true_value(choose_actions(ranker, district.new, PROGRAMS, capacity), district.new_benefit)
        for ranker in (candidate, champion)
    )
    return candidate_value - champion_value, comparison.difference


def table_of(rows: dict[str, list[tuple[float, PolicyDifference]]], title: str) -> Table:
    """How often each kind of candidate was called better and worse, and interval coverage."""
    table = Table(
        "candidate",
        "true difference",
        "called better",
        "Monte Carlo 95%",
        "called worse",
        "coverage",
        "bias",
        "sd of error",
        "mean half width / 1.96",
        title=title,
    )
    for name, pairs in rows.items():
        truths = np.array([truth for truth, _ in pairs])
        differences = [difference for _, difference in pairs]
        better = sum(difference.finding is Superiority.BETTER for difference in differences)
        worse = sum(difference.finding is Superiority.WORSE for difference in differences)
        estimates = [difference.estimate for difference in differences]
        covered = sum(
            estimate.lower <= truth <= estimate.upper
            for truth, estimate in zip(truths, estimates, strict=True)
        )
        errors = np.array([estimate.value for estimate in estimates]) - truths
        standard_errors = [(estimate.upper - estimate.lower) / 2 / 1.96 for estimate in estimates]
        monte_carlo = binomtest(better, len(pairs)).proportion_ci(method="wilson")
        table.add_row(
            name,
            f"{truths.mean():+.3f}",
            f"{better} of {len(pairs)}",
            f"{monte_carlo.low:.1%} to {monte_carlo.high:.1%}",
            f"{worse}",
            f"{covered / len(pairs):.1%}",
            f"{errors.mean():+.3f}",
            f"{errors.std():.3f}",
            f"{np.mean(standard_errors):.3f}",
        )
    return table


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--replications", type=int, default=200)
    parser.add_argument(
        "--pairs", type=int, default=4, help="pairs of policies that are drawn for each district"
    )
    parser.add_argument(
        "--learned", type=int, default=0, help="further districts, in which two rankers learn"
    )
    parser.add_argument(
        "--scenario",
        default="base",
        choices=[name for name in SCENARIOS_BY_NAME if not SCENARIOS_BY_NAME[name].shift],
    )
    parser.add_argument("--students", type=int, default=STUDENTS)
    parser.add_argument("--first-seed", type=int, default=0)
    options = parser.parse_args()
    scenario = with_students(SCENARIOS_BY_NAME[options.scenario], options.students)
    rows: defaultdict[str, list[tuple[float, PolicyDifference]]] = defaultdict(list)
    console = Console(width=150)
    title = f"{scenario.name}, {scenario.students:,} students"
    for number in range(options.replications + options.learned):
        seed = options.first_seed + number
        if number < options.replications:
            for name, truth, difference in noisy_policies(scenario, seed, options.pairs):
                rows[name].append((truth, difference))
        else:
            truth, difference = learned_policies(scenario, seed)
            name = "learned, truly no better" if truth <= 0 else "learned, truly better"
            rows[name].append((truth, difference))
        if number % 10 == 9:
            console.print(table_of(rows, f"{title}, {number + 1} districts"))
    console.print(
        table_of(
            rows,
            f"{title}, {options.replications} districts of policies, {options.learned} of rankers",
        )
    )


def _fit_ranker(district: SimulatedDistrict, rows: np.ndarray, seed: int) -> BenefitRanker:
    ranker = BenefitRanker(SUPPORTS, random_state=seed)
    return ranker.fit(
        district.features.iloc[rows],
        district.outcome.iloc[rows],
        district.support.iloc[rows],
        district.student.iloc[rows],
    )


def _codes(district: SimulatedDistrict) -> Actions:
    """The support that each episode got, shape (n,); 0 for none."""
    return np.asarray(pd.Categorical(district.support, categories=list(NAMES)).codes, dtype=np.intp)


if __name__ == "__main__":
    main()
