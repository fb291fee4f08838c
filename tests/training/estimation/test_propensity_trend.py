"""The line over past choices: it holds for everybody, is learned from what came after, and not from
the habit.
"""

from __future__ import annotations

import numpy as np
import pytest

from training.estimation.arrays import FloatArray
from training.estimation.propensity_trend import propensity_log_odds, propensity_trend
from training.estimation.pseudo_outcomes import PseudoOutcomes
from training.estimation.shrinkage import shrink_to_zero

ROWS = 40_000


def past_with(slopes: list[float], rng: np.random.Generator) -> tuple[PseudoOutcomes, FloatArray]:
    """Supports whose benefit follows the log-odds of having been chosen by these slopes, and the
    log-odds. The less the overlap, the noisier is what is known.
    """
    odds = rng.normal(-2.0, 1.5, (ROWS, len(slopes)))
    chance = np.exp(odds)
    propensity = np.column_stack([np.ones(ROWS), chance]) / (1 + chance.sum(axis=1))[:, None]
    overlap = 1 / (1 / propensity[:, 1:] + 1 / propensity[:, :1])
    values = np.array(slopes) * odds + rng.normal(0, 1, odds.shape) / np.sqrt(overlap)
    names = tuple("abcdefgh"[: len(slopes)])
    return PseudoOutcomes(names, values, overlap, propensity, propensity, 1.0), propensity_log_odds(
        propensity
    )


def slopes_of(line: FloatArray, odds: FloatArray) -> FloatArray:
    return (
        (line.max(axis=0) - line.min(axis=0))
        / (odds.max(axis=0) - odds.min(axis=0))
        * np.sign(
            [np.corrcoef(line[:, place], odds[:, place])[0, 1] for place in range(line.shape[1])]
        )
    )


def test_benefit_that_followed_past_choices_is_found_and_an_unlike_support_keeps_its_own():
    targets, odds = past_with([0.3, 0.3, 0.3, -0.4, 0.3], np.random.default_rng(1))
    slopes = slopes_of(propensity_trend(targets, odds, np.ones(ROWS, dtype=bool)), odds)
    assert np.delete(slopes, 3) == pytest.approx(0.3, abs=0.05)
    assert slopes[3] < -0.25


def test_where_past_choices_were_no_better_than_chance_the_line_is_flat():
    targets, odds = past_with([0.0] * 5, np.random.default_rng(2))
    line = propensity_trend(targets, odds, np.ones(ROWS, dtype=bool))
    assert np.abs(slopes_of(line, odds)).max() < 0.03


def test_what_the_judged_fold_holds_is_not_learned_from():
    found, odds = past_with([0.3, 0.2, 0.1, 0.3], np.random.default_rng(3))
    train = np.arange(ROWS) % 5 != 0
    line = propensity_trend(found, odds, train)
    found.values[~train] = 1e6
    np.testing.assert_array_equal(propensity_trend(found, odds, train), line)


def test_the_few_supports_of_a_small_catalog_are_drawn_toward_zero():
    targets, odds = past_with([0.0], np.random.default_rng(4))
    few = np.arange(ROWS) < 60
    known, error = np.array([0.5]), np.array([0.1])
    assert shrink_to_zero(known, error, 0.1) == pytest.approx([0.25])
    assert abs(slopes_of(propensity_trend(targets, odds, few), odds)[0]) < 0.1


def test_a_line_for_everybody_heeds_those_whose_choice_was_all_but_settled():
    """Benefit that bends: flat where choices were open, steep where they were settled. Overlap
    weights would not see the second; their square root does.
    """
    found, odds = past_with([0.0] * 4, np.random.default_rng(5))
    bent = np.maximum(-odds - 3.0, 0.0)
    found.values[:] = -bent + found.values * 0.1
    line = propensity_trend(found, odds, np.ones(ROWS, dtype=bool))
    overlap = found.weights / found.weights.sum(axis=0)
    middle = (overlap * odds).sum(axis=0)
    by_overlap = (overlap * (odds - middle) * found.values).sum(axis=0) / (
        overlap * (odds - middle) ** 2
    ).sum(axis=0)
    assert (slopes_of(line, odds) > by_overlap + 0.02).all()
