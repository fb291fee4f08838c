"""Is one policy better than another: the difference is its formula, and "better" is said only where
it shows.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from features.catalog import feature_names
from tests.training.conftest import DAYS, PROGRAMS, SUPPORTS, draw_past, episodes_of
from training.episodes.episodes import Episodes
from training.estimation.policy_value import Estimate, policy_value
from training.estimation.pseudo_outcomes import NONE
from training.evaluation.evaluate import later_days_mask
from training.evaluation.model_comparison import (
    AS_REGISTERED_FILES,
    REFITTED,
    NotComparable,
    PolicyDifference,
    Superiority,
    compare_models,
    compare_rankers,
    compare_refitted,
    enough_to_judge,
    not_trained_on_mask,
    paired_difference,
)
from training.ranking.model_file import RankerModel
from training.ranking.ranker import BenefitRanker

QUICK = {"supports": SUPPORTS, "n_folds": 3, "rounds": 30, "interaction_rounds": 10, "min_leaf": 50}


def learned(episodes: Episodes, **changes: object) -> BenefitRanker:
    ranker = BenefitRanker(**QUICK | changes)
    return ranker.fit(episodes.features, episodes.outcome, episodes.support, episodes.student)


def model_of(ranker: BenefitRanker, days: tuple[str, ...], **changes: object) -> RankerModel:
    parameters = {
        name: list(value) if isinstance(value, tuple) else value
        for name, value in ranker.get_params().items()
    }
    return RankerModel(
        ranker, {"decision_dates": list(days), "parameters": parameters} | changes, "0" * 64
    )


@pytest.fixture(scope="module")
def episodes() -> Episodes:
    return episodes_of(draw_past(11, 3_000))


@pytest.fixture(scope="module")
def good(episodes: Episodes) -> BenefitRanker:
    return learned(episodes.take(np.flatnonzero(~later_days_mask(episodes))))


@pytest.fixture(scope="module")
def bad(episodes: Episodes) -> BenefitRanker:
    """Learned from outcomes that were turned round: it prefers whom a support helps least."""
    earlier = episodes.take(np.flatnonzero(~later_days_mask(episodes)))
    turned = earlier.outcome.where(earlier.support == NONE, -3 * earlier.outcome)
    return learned(replace(earlier, outcome=turned))


def test_the_difference_is_that_of_the_two_gains():
    rng = np.random.default_rng(4)
    rows = 600
    propensity = rng.dirichlet([4, 2, 2], rows)
    taken = (propensity.cumsum(axis=1) < rng.random((rows, 1))).sum(axis=1)
    reward, expected = rng.normal(0, 3, rows), rng.normal(0, 1, (rows, 3))
    one, other = rng.integers(0, 3, rows), rng.integers(0, 3, rows)
    students = np.arange(rows) // 2
    difference = paired_difference(reward, taken, one, other, propensity, expected, students)
    gains = [
        policy_value(reward, taken, policy, propensity, expected, students).gain.value
        for policy in (one, other)
    ]
    assert difference.estimate.value == pytest.approx(gains[0] - gains[1], abs=1e-9)
    weights = [
        np.where(taken == policy, 1 / propensity[np.arange(rows), taken], 0.0)
        for policy in (one, other)
    ]
    missed = reward - expected[np.arange(rows), taken]
    direct = expected[np.arange(rows), one].mean() - expected[np.arange(rows), other].mean()
    ratios = [float((weight * missed).sum() / weight.sum()) for weight in weights]
    assert difference.estimate.value == pytest.approx(direct + ratios[0] - ratios[1], abs=1e-9)
    assert difference.differing == len(
        {student for student, differs in zip(students, one != other, strict=True) if differs}
    )
    back = paired_difference(reward, taken, other, one, propensity, expected, students)
    assert back.estimate.value == pytest.approx(-difference.estimate.value)
    assert back.estimate.upper == pytest.approx(-difference.estimate.lower)


def test_better_is_said_only_where_the_whole_interval_lies_above_zero_and_enough_students_differ():
    for estimate, differing, finding in (
        (Estimate(0.5, 0.01, 0.99), 400, Superiority.BETTER),
        (Estimate(0.5, -0.01, 1.01), 400, Superiority.NO_BETTER),
        (Estimate(0.5, 0.0, 1.0), 400, Superiority.NO_BETTER),
        (Estimate(-0.5, -0.9, -0.1), 400, Superiority.WORSE),
        (Estimate(5.0, 4.0, 6.0), 49, Superiority.NO_BETTER),
        (Estimate(np.nan, np.nan, np.nan), 400, Superiority.NO_BETTER),
    ):
        assert PolicyDifference(estimate, differing).finding is finding


def test_a_policy_is_no_better_than_itself(episodes: Episodes, good: BenefitRanker):
    comparison = compare_rankers(episodes, later_days_mask(episodes), PROGRAMS, good, good)
    assert (comparison.difference.estimate, comparison.difference.differing) == (
        Estimate(0.0, 0.0, 0.0),
        0,
    )
    assert comparison.finding is Superiority.NO_BETTER and "includes zero" in comparison.sensitivity
    assert comparison.to_dict()["differing"] is None


def test_what_truly_helps_more_is_found_better(
    episodes: Episodes, good: BenefitRanker, bad: BenefitRanker
):
    judged = later_days_mask(episodes)
    comparison = compare_rankers(episodes, judged, PROGRAMS, good, bad)
    assert (
        comparison.finding is Superiority.BETTER
        and comparison.candidate.dr.value > comparison.champion.dr.value
    )
    own = episodes.support[judged]
    assert (comparison.episodes, comparison.places) == (len(own), int((own != NONE).sum()))
    assert "times as common" in comparison.sensitivity
    assert (str(comparison.first_day), str(comparison.last_day)) == (DAYS[2], DAYS[2])


def test_model_files_are_judged_on_days_that_neither_learned_from_and_else_the_ways_of_learning(
    episodes: Episodes, good: BenefitRanker, bad: BenefitRanker
):
    early, all_days = model_of(good, DAYS[:2]), model_of(good, DAYS)
    assert (not_trained_on_mask(episodes, early) == (episodes.decision_date == DAYS[2])).all()
    assert not not_trained_on_mask(episodes, early, all_days).any()
    files = compare_models(episodes, PROGRAMS, model_of(bad, DAYS[:1]), early)
    assert (files.way, files.finding) == (AS_REGISTERED_FILES, Superiority.WORSE)
    ways = compare_models(episodes, PROGRAMS, early, all_days)
    assert (ways.way, ways.finding, ways.difference.differing) == (
        REFITTED,
        Superiority.NO_BETTER,
        0,
    )
    assert "both were retrained" in ways.to_dict()["how"]
    few = episodes.take(
        np.flatnonzero((episodes.support != NONE) & not_trained_on_mask(episodes, early))[:99]
    )
    assert not enough_to_judge(few, not_trained_on_mask(few, early))


def test_a_clone_learns_with_its_own_parameters_and_its_own_features(episodes: Episodes):
    seen = episodes.features.columns[:5]
    narrow = learned(replace(episodes, features=episodes.features[seen]), supports=("food",))
    wide = learned(episodes)
    comparison = compare_refitted(episodes, PROGRAMS, model_of(wide, DAYS), model_of(narrow, DAYS))
    assert comparison.way == REFITTED and comparison.difference.differing > 0
    with pytest.raises(NotComparable, match=r"no longer supports \(leaves\)"):
        compare_refitted(
            episodes, PROGRAMS, model_of(wide, DAYS), model_of(wide, DAYS, parameters={"leaves": 3})
        )
    with pytest.raises(NotComparable, match="does not list its training days"):
        not_trained_on_mask(episodes, model_of(wide, ()))


def test_the_past_of_these_tests_has_every_feature(episodes: Episodes):
    assert list(episodes.features.columns) == feature_names()
