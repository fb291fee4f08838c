"""How often a candidate that is truly no better than the champion is called better, and a better
one is.

Run: .venv/bin/python -m benchmarks.quality.promotion_errors [--replications 200] [--pairs 4]
[--scenario base] [--learned 0]

Every replication draws a world. A policy chooses the support with the best score among those above
zero, for as many students as past practice served, the highest scores first; a score is the true
benefit plus noise of the policy's own. Champion and candidate with equal noise are worth exactly
the same in the population, since nothing else tells them apart: they are the hardest case of "no
better". More noise makes a candidate worse, less makes it better. What a candidate is truly worth
beyond the champion is worked out on new students. All candidates of a world are judged by
`training.evaluation.model_comparison.paired_difference` with nuisances cross-fitted as in use,
which is what takes time; so several pairs are drawn for each world, and the Monte Carlo intervals
are a little too narrow for that.

With `--learned N` another N worlds compare two real rankers: the champion learned from the earlier
two episodes of each student, the candidate from half of these students;
`training.evaluation.model_comparison.compare_rankers` judges them on the last episodes.
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
    Floats,
    Scenario,
    SimulatedDistrict,
    simulate,
    small,
)
from training.episodes.episodes import Episodes
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
"""Standard deviation of the champion's own error on each support's benefit, in progress points."""

CANDIDATE_NOISE = {"just as good": 1.5, "slightly worse": 1.8, "worse": 3.0, "better": 0.5}
PROGRAMS = pd.DataFrame({"support": SUPPORTS, "min_grade": np.nan, "max_grade": np.nan})
NAMES = ("none", *SUPPORTS)


def noisy_actions(benefit: Floats, noise: float, places: int, rng: np.random.Generator) -> Actions:
    """The support with the best noisy score above zero for those with the highest, shape (n,); 0
    for none.
    """
    scores = benefit + noise * rng.normal(size=benefit.shape)
    best, most = scores.argmax(axis=1), scores.max(axis=1)
    kept = np.zeros(len(scores), dtype=bool)
    kept[np.argsort(-most, kind="stable")[:places]] = True
    return np.where(kept & (most > 0), best + 1, 0).astype(np.intp)


def worth(chosen: Actions, benefit: Floats) -> float:
    """The true benefit a student of choices, in progress points."""
    given = np.hstack([np.zeros((len(benefit), 1)), benefit])
    return float(given[np.arange(len(chosen)), chosen].mean())


def noisy_policies(
    scenario: Scenario, seed: int, pairs: int
) -> Iterator[tuple[str, tuple[float, PolicyDifference]]]:
    """Each candidate of one world, `pairs` times: its true worth beyond the champion's, and what is
    found of it.
    """
    world = simulate(scenario, seed, NEW_STUDENTS)
    rng = np.random.default_rng([seed, 2])
    taken = _codes(world)
    fitted = pseudo_outcomes(
        world.features,
        world.support,
        world.outcome,
        SUPPORTS,
        assign_folds(world.student, 5, seed),
        seed,
    )
    places = int((taken > 0).sum())
    places_new = round(places / len(taken) * len(world.new))
    reward = world.outcome.to_numpy()
    for _, (name, noise) in product(range(pairs), CANDIDATE_NOISE.items()):
        candidate, champion = (
            noisy_actions(world.benefit, one, places, rng) for one in (noise, CHAMPION_NOISE)
        )
        truth = [
            worth(noisy_actions(world.new_benefit, one, places_new, rng), world.new_benefit)
            for one in (noise, CHAMPION_NOISE)
        ]
        yield (
            name,
            (
                0.0 if noise == CHAMPION_NOISE else truth[0] - truth[1],
                paired_difference(
                    reward,
                    taken,
                    candidate,
                    champion,
                    fitted.propensity,
                    fitted.expected_outcome,
                    world.student,
                ),
            ),
        )


def learned_policies(scenario: Scenario, seed: int) -> tuple[float, PolicyDifference]:
    """Two real rankers of one world, the candidate learned from half of the students."""
    world = simulate(scenario, seed, NEW_STUDENTS)
    day = pd.Series(np.arange(len(world.student)) % DECISIONS)
    episodes = Episodes(
        world.features,
        world.student,
        day.map(lambda one: f"2025-0{one + 1}-01"),
        world.support,
        world.outcome,
    )
    judged = (day == DECISIONS - 1).to_numpy()
    half = (assign_folds(world.student, 2, seed) == 0) & ~judged
    candidate, champion = (_learned(world, np.flatnonzero(rows), seed) for rows in (half, ~judged))
    found = compare_rankers(episodes, judged, PROGRAMS, candidate, champion, seed=seed)
    places = round(found.places / found.episodes * len(world.new))
    worths = [
        worth(choose_actions(ranker, world.new, PROGRAMS, places), world.new_benefit)
        for ranker in (candidate, champion)
    ]
    return worths[0] - worths[1], found.difference


def table_of(rows: dict[str, list[tuple[float, PolicyDifference]]], title: str) -> Table:
    """How often each kind of candidate was called better and worse, and how often the interval held
    the truth.
    """
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
        better = sum(one.finding is Superiority.BETTER for _, one in pairs)
        worse = sum(one.finding is Superiority.WORSE for _, one in pairs)
        held = sum(one.estimate.lower <= truth <= one.estimate.upper for truth, one in pairs)
        errors = np.array([one.estimate.value - truth for truth, one in pairs])
        half = np.array([(one.estimate.upper - one.estimate.lower) / 2 / 1.96 for _, one in pairs])
        ends = binomtest(better, len(pairs)).proportion_ci(method="wilson")
        table.add_row(
            name,
            f"{np.mean([truth for truth, _ in pairs]):+.3f}",
            f"{better} of {len(pairs)}",
            f"{ends.low:.1%} to {ends.high:.1%}",
            f"{worse}",
            f"{held / len(pairs):.1%}",
            f"{errors.mean():+.3f}",
            f"{errors.std():.3f}",
            f"{half.mean():.3f}",
        )
    return table


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--replications", type=int, default=200)
    parser.add_argument(
        "--pairs", type=int, default=4, help="pairs of policies that are drawn for each world"
    )
    parser.add_argument("--learned", type=int, default=0)
    parser.add_argument(
        "--scenario",
        default="base",
        choices=[name for name in SCENARIOS_BY_NAME if not SCENARIOS_BY_NAME[name].shift],
    )
    parser.add_argument("--students", type=int, default=STUDENTS)
    parser.add_argument("--first-seed", type=int, default=0)
    asked = parser.parse_args()
    scenario = small(SCENARIOS_BY_NAME[asked.scenario], asked.students)
    rows: defaultdict[str, list[tuple[float, PolicyDifference]]] = defaultdict(list)
    console = Console(width=150)
    title = f"{scenario.name}, {scenario.students:,} students"
    for done in range(asked.replications + asked.learned):
        seed = asked.first_seed + done
        if done < asked.replications:
            found = list(noisy_policies(scenario, seed, asked.pairs))
        else:
            truth, difference = learned_policies(scenario, seed)
            found = [
                (
                    "learned, truly no better" if truth <= 0 else "learned, truly better",
                    (truth, difference),
                )
            ]
        for name, pair in found:
            rows[name].append(pair)
        if done % 10 == 9:
            console.print(table_of(rows, f"{title}, {done + 1} worlds"))
    console.print(
        table_of(
            rows, f"{title}, {asked.replications} worlds of policies, {asked.learned} of rankers"
        )
    )


def _learned(world: SimulatedDistrict, rows: np.ndarray, seed: int) -> BenefitRanker:
    ranker = BenefitRanker(SUPPORTS, random_state=seed)
    return ranker.fit(
        world.features.iloc[rows],
        world.outcome.iloc[rows],
        world.support.iloc[rows],
        world.student.iloc[rows],
    )


def _codes(world: SimulatedDistrict) -> Actions:
    return np.asarray(pd.Categorical(world.support, categories=list(NAMES)).codes, dtype=np.intp)


if __name__ == "__main__":
    main()
