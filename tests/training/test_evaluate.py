"""Off-policy values: equal to the textbook formulas, and right where the truth is known."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from tests.training.conftest import SUPPORTS, Past
from training.evaluate import choose, policy_value
from training.ranker import BenefitRanker

PROGRAMS = pd.DataFrame({"support": SUPPORTS, "min_grade": [np.nan, np.nan], "max_grade": [np.nan, np.nan]})


def logged(seed: int, rows: int = 4_000):
    """Two actions; the better one was chosen too rarely. Each action's mean reward is known."""
    rng = np.random.default_rng(seed)
    x = rng.normal(0, 1, rows)
    chance = np.clip(1 / (1 + np.exp(-x)), 0.1, 0.9)
    propensity = np.column_stack([1 - chance, chance])
    taken = (rng.random(rows) < chance).astype(np.intp)
    means = np.column_stack([x, x + 1.0])
    reward = means[np.arange(rows), taken] + rng.normal(0, 1, rows)
    return reward, taken, propensity, means, pd.Series(np.arange(rows))


def test_each_estimator_is_its_formula():
    reward, taken, propensity, _, clusters = logged(1)
    wrong_models = np.zeros_like(propensity) + 0.3
    chosen = np.ones(len(reward), dtype=np.intp)
    found = policy_value(reward, taken, chosen, propensity, wrong_models, clusters)
    weight = [(1 / p[1]) if t == 1 else 0.0 for t, p in zip(taken, propensity, strict=True)]
    ips = sum(w * r for w, r in zip(weight, reward, strict=True)) / len(reward)
    dr = sum(0.3 + w * (r - 0.3) for w, r in zip(weight, reward, strict=True)) / len(reward)
    assert found.ips.value == pytest.approx(ips, abs=1e-9)
    assert found.snips.value == pytest.approx(ips * len(reward) / sum(weight), abs=1e-9)
    assert found.dr.value == pytest.approx(dr, abs=1e-9)
    missed = sum(w * (r - 0.3) for w, r in zip(weight, reward, strict=True)) / sum(weight)
    assert found.gain.value == pytest.approx(0.3 + missed - reward.mean(), abs=1e-9)
    assert found.effective_sample_size == pytest.approx(sum(weight) ** 2 / sum(w * w for w in weight))


def test_the_interval_covers_the_true_value_about_as_often_as_it_says():
    covered = 0
    for seed in range(100):
        reward, taken, propensity, means, clusters = logged(seed, 800)
        found = policy_value(reward, taken, np.ones(800, dtype=np.intp), propensity, means * 0.5, clusters).dr
        covered += found.lower <= 1.0 <= found.upper
    assert 88 <= covered <= 100


def test_places_go_to_those_with_the_most_to_gain_and_nobody_gets_what_is_not_sure(past: Past, ranker: BenefitRanker):
    rows = past.features.head(1_000)
    free, limited = choose(ranker, rows, PROGRAMS), choose(ranker, rows, PROGRAMS, 40)
    assert (limited > 0).sum() == 40
    benefits = ranker.benefits(rows)
    best = np.column_stack([benefits[name].mean for name in SUPPORTS])
    gained = best[np.arange(len(rows)), free - 1]
    assert gained[limited > 0].min() >= gained[(free > 0) & (limited == 0)].max()
    for place, name in enumerate(SUPPORTS):
        assert (benefits[name].lower[free == place + 1] > 0).all()
    closed = PROGRAMS.assign(min_grade=[99, 99])
    assert (choose(ranker, rows, closed) == 0).all()
