"""Values of a policy from what another one did: formulas, universal rules, and a library by other
hands.
"""

from __future__ import annotations

import importlib
import importlib.util
import math
import os
import sys
import types
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from training.estimation.policy_value import (
    FEW_CLUSTERS,
    IntervalKind,
    clustered_mean,
    overlap_histogram,
    policy_value,
)
from training.estimation.pseudo_outcomes import MIN_PROPENSITY

KINDS: tuple[IntervalKind, ...] = ("analytic", "percentile", "bias_corrected")
ESTIMATES = ("ips", "snips", "dr", "switch_dr", "gain")


class Logged(NamedTuple):
    """The arguments of `policy_value`, in their order."""

    reward: np.ndarray
    taken: np.ndarray
    policy: np.ndarray
    propensity: np.ndarray
    expected: np.ndarray
    clusters: np.ndarray

    def take(self, rows: np.ndarray) -> Logged:
        return Logged(*(array[rows] for array in self))


def logged(seed: int, rows: int = 300, actions: int = 4, clusters: int = 80) -> Logged:
    """Episodes whose actions were drawn by their propensities, and a policy that draws by other
    chances.
    """
    rng = np.random.default_rng(seed)
    propensity = rng.dirichlet(np.full(actions, 1.5), rows).clip(0.02)
    propensity /= propensity.sum(axis=1, keepdims=True)
    taken = (propensity.cumsum(axis=1) < rng.random((rows, 1))).sum(axis=1).clip(max=actions - 1)
    expected = rng.normal(0, 2, (rows, actions))
    reward = expected[np.arange(rows), taken] + rng.normal(0, 3, rows)
    clustered = np.concatenate([np.arange(clusters), rng.integers(0, clusters, rows - clusters)])
    return Logged(
        reward,
        taken,
        rng.dirichlet(np.full(actions, 0.4), rows),
        propensity,
        expected + 0.5,
        clustered,
    )


episodes = st.builds(
    logged, st.integers(0, 2**32 - 1), st.integers(60, 200), st.integers(2, 6), st.integers(2, 60)
)


@given(episodes)
@settings(max_examples=30, deadline=None)
def test_each_estimator_is_its_formula(given: Logged):
    value = policy_value(*given, threshold=1.7)
    n, weights, ips, dr, switch, model_alone, missed = (
        len(given.reward),
        [],
        0.0,
        0.0,
        0.0,
        0.0,
        0.0,
    )
    for r, a, pi, e, q, _ in zip(*given, strict=True):
        weight, model = pi[a] / e[a], sum(p * m for p, m in zip(pi, q, strict=True))
        weights.append(weight)
        ips += weight * r / n
        dr += (model + weight * (r - q[a])) / n
        model_alone, missed = model_alone + model / n, missed + weight * (r - q[a])
        switch += (model + (weight * (r - q[a]) if weight <= 1.7 else 0.0)) / n
    assert value.ips.value == pytest.approx(ips, abs=1e-9)
    assert value.snips.value == pytest.approx(ips * n / sum(weights), abs=1e-9)
    assert value.dr.value == pytest.approx(dr, abs=1e-9)
    assert value.switch_dr.value == pytest.approx(switch, abs=1e-9)
    assert value.gain.value == pytest.approx(
        model_alone + missed / sum(weights) - sum(given.reward) / n, abs=1e-9
    )
    assert value.effective_sample_size == pytest.approx(
        sum(weights) ** 2 / sum(w * w for w in weights)
    )
    assert 0 < value.effective_sample_size <= n + 1e-6


@given(episodes)
@settings(max_examples=30, deadline=None)
def test_switch_with_no_threshold_is_dr(given: Logged):
    value = policy_value(*given, threshold=math.inf)
    assert value.switch_dr == value.dr


@given(episodes)
@settings(max_examples=30, deadline=None)
def test_switch_at_zero_is_the_outcome_model_alone(given: Logged):
    value = policy_value(*given, threshold=0.0)
    assert value.switch_dr.value == pytest.approx(
        np.average(given.expected, axis=1, weights=given.policy).mean()
    )


def test_switch_keeps_what_weighs_just_as_much_as_the_threshold():
    given = logged(1)._replace(
        policy=np.zeros(300, dtype=np.intp), propensity=np.full((300, 4), 0.25)
    )
    assert policy_value(*given, threshold=4.0).switch_dr == policy_value(*given).dr
    assert policy_value(*given, threshold=3.99).switch_dr != policy_value(*given).dr


@given(episodes)
@settings(max_examples=30, deadline=None)
def test_switch_leaves_to_the_model_by_default_what_weighs_more_than_the_root_of_n(given: Logged):
    assert policy_value(*given) == policy_value(*given, threshold=len(given.reward) ** 0.5)


@given(episodes)
@settings(max_examples=30, deadline=None)
def test_past_practice_itself_is_worth_the_mean_reward(given: Logged):
    value = policy_value(*given._replace(policy=given.propensity))
    assert value.ips.value == pytest.approx(given.reward.mean(), abs=1e-9)
    assert value.snips.value == pytest.approx(given.reward.mean(), abs=1e-9)
    assert value.effective_sample_size == pytest.approx(len(given.reward))


@given(episodes)
@settings(max_examples=30, deadline=None)
def test_an_action_that_is_chosen_has_all_the_chance(given: Logged):
    chosen = given.policy.argmax(axis=1)
    certain = np.array(
        [[float(place == one) for place in range(given.policy.shape[1])] for one in chosen]
    )
    assert policy_value(*given._replace(policy=chosen)) == policy_value(
        *given._replace(policy=certain)
    )


@given(episodes, st.sampled_from(KINDS), st.integers(0, 100))
@settings(max_examples=40, deadline=None)
def test_nothing_depends_on_the_order_of_rows(given: Logged, kind: IntervalKind, seed: int):
    shuffled = given.take(np.random.default_rng(seed).permutation(len(given.reward)))
    one, other = (policy_value(*each, interval=kind, resamples=50) for each in (given, shuffled))
    for name in ESTIMATES:
        assert _ends(getattr(one, name)) == pytest.approx(_ends(getattr(other, name)), abs=1e-7)


@given(episodes, st.sampled_from(KINDS), st.integers(2, 4))
@settings(max_examples=40, deadline=None)
def test_rows_told_again_within_their_cluster_are_no_new_evidence(
    given: Logged, kind: IntervalKind, times: int
):
    again = given.take(np.tile(np.arange(len(given.reward)), times))
    one, other = (
        policy_value(*each, threshold=5.0, interval=kind, resamples=50) for each in (given, again)
    )
    for name in ESTIMATES:
        assert _ends(getattr(one, name)) == pytest.approx(_ends(getattr(other, name)), abs=1e-7)


def test_dr_is_right_where_either_model_is():
    rng = np.random.default_rng(5)
    x = rng.normal(size=150_000)
    chance = 0.1 + 0.8 / (1 + np.exp(-2 * x))
    propensity = np.column_stack([1 - chance, chance])
    taken = (rng.random(len(x)) < chance).astype(np.intp)
    means = np.column_stack([x, x + 1.0])
    reward = means[np.arange(len(x)), taken] + rng.normal(size=len(x))
    lots, who = np.tile([0.25, 0.75], (len(x), 1)), np.arange(len(x))
    wrong_model, wrong_chance = np.zeros_like(means), np.full_like(propensity, 0.5)
    for right in ((propensity, wrong_model), (wrong_chance, means)):
        assert policy_value(reward, taken, lots, *right, who).dr.value == pytest.approx(
            0.75, abs=0.03
        )
    assert (
        abs(policy_value(reward, taken, lots, wrong_chance, wrong_model, who).dr.value - 0.75) > 0.2
    )


def test_the_interval_covers_the_true_value_about_as_often_as_it_says():
    covered = 0
    for seed in range(100):
        rng = np.random.default_rng(seed)
        x = rng.normal(0, 1, 800)
        chance = np.clip(1 / (1 + np.exp(-x)), 0.1, 0.9)
        taken = (rng.random(800) < chance).astype(np.intp)
        means = np.column_stack([x, x + 1.0])
        reward = means[np.arange(800), taken] + rng.normal(0, 1, 800)
        value = policy_value(
            reward,
            taken,
            np.ones(800, dtype=np.intp),
            np.column_stack([1 - chance, chance]),
            means * 0.5,
            np.arange(800),
        ).dr
        covered += value.lower <= 1.0 <= value.upper
    assert 88 <= covered <= 100


def test_propensities_that_are_all_too_small_do_not_move_the_gain():
    """With every weight twice what it should be, DR adds the model's misses twice; the gain still
    adds them once.
    """
    rng = np.random.default_rng(8)
    taken = rng.integers(0, 2, 40_000)
    reward = taken + rng.normal(size=len(taken))
    half, quarter = np.full((len(taken), 2), 0.5), np.full((len(taken), 2), 0.25)
    chosen, wrong_model = np.ones(len(taken), dtype=np.intp), np.zeros((len(taken), 2))
    right, wrong = (
        policy_value(reward, taken, chosen, chance, wrong_model, np.arange(len(taken)))
        for chance in (half, quarter)
    )
    assert _ends(wrong.gain) == pytest.approx(
        _ends(right.gain)
    ) and right.gain.value == pytest.approx(0.5, abs=0.03)
    assert wrong.dr.value == pytest.approx(2 * right.dr.value)


@given(episodes)
@settings(max_examples=30, deadline=None)
def test_the_analytic_interval_is_cluster_robust_with_a_t_quantile(given: Logged):
    found = policy_value(*given)
    score = [
        (p * q).sum() + p[a] / e[a] * (r - q[a]) for r, a, p, e, q, _ in zip(*given, strict=True)
    ]
    weight = [p[a] / e[a] for _, a, p, e, _, _ in zip(*given, strict=True)]
    missed = [
        w * (r - q[a])
        for w, (r, a, _, _, q, _) in zip(weight, zip(*given, strict=True), strict=True)
    ]
    ratio, size = sum(missed) / sum(weight), sum(weight) / len(weight)
    above = [
        (p * q).sum() + ratio + (m - ratio * w) / size - r
        for m, w, (r, _, p, _, q, _) in zip(missed, weight, zip(*given, strict=True), strict=True)
    ]
    for estimate, values in ((found.dr, score), (found.gain, above)):
        sums: dict[int, float] = {}
        for value, cluster in zip(values, given.clusters, strict=True):
            sums[cluster] = sums.get(cluster, 0.0) + value - sum(values) / len(values)
        g = found.clusters
        assert g == len(sums)
        error = math.sqrt(g / (g - 1) * sum(total**2 for total in sums.values())) / len(values)
        reach, center = stats.t.ppf(0.975, g - 1) * error, estimate.value
        assert _ends(estimate) == pytest.approx((center, center - reach, center + reach), abs=1e-9)


def test_percentiles_are_those_of_whole_clusters_drawn_with_replacement():
    rng = np.random.default_rng(2)
    sizes = rng.integers(1, 6, 60)
    clusters = np.repeat(np.arange(60), sizes)
    values = rng.exponential(3, 60)[clusters] + rng.exponential(1, sizes.sum())
    groups = [values[clusters == one] for one in range(60)]
    drawn = [
        np.concatenate([groups[one] for one in rng.integers(0, 60, 60)]).mean()
        for _ in range(20_000)
    ]
    below = stats.norm.ppf(np.mean(np.array(drawn) < values.mean()))
    tails = {
        "percentile": (0.025, 0.975),
        "bias_corrected": stats.norm.cdf(2 * below + stats.norm.ppf([0.025, 0.975])),
    }
    for kind in KINDS[1:]:
        estimate = clustered_mean(values, clusters, interval=kind, resamples=20_000)
        assert _ends(estimate) == pytest.approx(
            (values.mean(), *np.quantile(drawn, tails[kind])), abs=0.03
        )


def test_the_ratio_of_snips_is_resampled_as_a_ratio():
    given = logged(8, rows=400, clusters=100)
    value = policy_value(*given, interval="percentile", resamples=5_000).snips
    rng, weight = np.random.default_rng(1), given.policy / given.propensity
    weight = weight[np.arange(400), given.taken]
    members = [np.flatnonzero(given.clusters == one) for one in range(100)]
    drawn = []
    for _ in range(5_000):
        rows = np.concatenate([members[one] for one in rng.integers(0, 100, 100)])
        drawn.append((weight[rows] * given.reward[rows]).sum() / weight[rows].sum())
    assert _ends(value)[1:] == pytest.approx(tuple(np.quantile(drawn, [0.025, 0.975])), abs=0.06)


def test_the_same_seed_gives_the_same_interval_and_another_one_another():
    given = logged(4)
    one, same, other = (
        policy_value(*given, interval="percentile", seed=seed) for seed in (1, 1, 2)
    )
    assert one == same
    assert one.dr.value == other.dr.value and one.dr != other.dr


@pytest.mark.parametrize("kind", KINDS[1:])
def test_with_few_clusters_a_resampled_interval_is_as_wide_as_the_t_interval(kind: IntervalKind):
    given = logged(3, rows=400, clusters=13)
    analytic, resampled = policy_value(*given), policy_value(*given, interval=kind, resamples=5_000)
    assert analytic.few_clusters and resampled.few_clusters
    assert resampled.dr.upper - resampled.dr.lower == pytest.approx(
        analytic.dr.upper - analytic.dr.lower, rel=0.05
    )
    assert not policy_value(*logged(3, rows=400, clusters=FEW_CLUSTERS)).few_clusters


def test_snips_is_not_a_number_where_nobody_got_what_the_policy_chooses():
    given = logged(6)
    never = (given.taken + 1) % 4
    for kind in KINDS:
        value = policy_value(*given._replace(policy=never), interval=kind, resamples=20)
        assert all(map(math.isnan, _ends(value.snips)))
        assert value.effective_sample_size == 0.0
        assert value.dr.value == pytest.approx(given.expected[np.arange(300), never].mean())


def test_overlap_counts_what_the_policy_chooses_by_how_likely_it_was():
    propensity = np.array([[0.99, 0.01], [0.8, 0.2], [0.5, 0.5], [0.3, 0.7]])
    overlap = overlap_histogram(
        np.array([1, 1, 1, 0]), propensity, edges=(0.0, 0.01, 0.2, 0.5, 1.0)
    )
    assert overlap.episodes.tolist() == [[0, 0, 1, 0], [1, 1, 1, 0]]
    rows = list(overlap.rows(("none", "food")))
    assert rows[2] == {"action": "none", "above": 0.2, "up_to": 0.5, "episodes": 1.0}
    assert rows[4] == {"action": "food", "above": 0.0, "up_to": 0.01, "episodes": 1.0}


@given(episodes)
@settings(max_examples=30, deadline=None)
def test_the_overlap_table_holds_every_episode_once_and_thin_overlap_is_its_first_column(
    given: Logged,
):
    floored = given._replace(propensity=given.propensity.clip(0.05))
    table = overlap_histogram(floored.policy, floored.propensity, edges=(0.0, 0.05, 0.3, 1.0))
    assert table.episodes.sum(axis=1) == pytest.approx(given.policy.sum(axis=0))
    thin = policy_value(*floored, floor=0.05).thin_overlap
    assert thin == pytest.approx(table.episodes[:, 0].sum() / len(given.reward))


def test_thin_overlap_is_by_default_at_the_floor_that_propensities_are_held_to():
    given = logged(7)
    chosen = np.zeros(300, dtype=np.intp)
    held = given.propensity.copy()
    held[:30, 0] = MIN_PROPENSITY
    assert policy_value(
        *given._replace(policy=chosen, propensity=held)
    ).thin_overlap == pytest.approx(0.1)


@pytest.mark.parametrize(
    ("name", "change", "words"),
    [
        (
            "reward",
            lambda array: np.where(np.arange(300) == 17, np.nan, array),
            "episode 17 .* missing",
        ),
        ("policy", lambda array: array * 0.9, "episode 0 .* summing to 1"),
        ("policy", lambda array: np.full(300, 4), "from 0 to 3"),
        ("policy", lambda array: array[:, :3], r"policy has the shape \(300, 3\).*\(300, 4\)"),
        ("taken", lambda array: array - 5, "from 0 to 3"),
        (
            "propensity",
            np.zeros_like,
            "episode 0 took an action whose propensity is not above zero",
        ),
        ("clusters", np.zeros_like, "at least two clusters"),
        ("clusters", lambda array: pd.Series(array).where(array > 0, None), "needs its cluster"),
        ("clusters", lambda array: array[:10], "needs its cluster"),
    ],
)
def test_what_cannot_be_judged_is_refused_by_name(name: str, change: Callable, words: str):
    given = logged(9)
    with pytest.raises(ValueError, match=words):
        policy_value(*given._replace(**{name: change(getattr(given, name))}))


@pytest.fixture(scope="module")
def obp() -> types.ModuleType:
    """The estimators of Open Bandit Pipeline, without what their package imports first: torch,
    seaborn and more.
    """
    spec = importlib.util.find_spec("obp")
    if spec is None or spec.origin is None:
        message = "Open Bandit Pipeline is not installed: run `make .venv/.dev`"
        if os.environ.get("CI") == "true":
            pytest.fail(message)
        pytest.skip(message)
    folder = Path(spec.origin).parent
    before = dict(sys.modules)
    for name, path in (("obp", folder), ("obp.ope", folder / "ope")):
        sys.modules[name] = types.ModuleType(name)
        sys.modules[name].__path__ = [str(path)]
    sys.modules["torch"] = types.ModuleType("torch")
    sys.modules["torch"].tensor = sys.modules["torch"].Tensor = type("Tensor", (), {})
    try:
        return importlib.import_module("obp.ope.estimators")
    finally:
        for name in [one for one in sys.modules if one.partition(".")[0] in ("obp", "torch")]:
            del sys.modules[name]
        sys.modules.update(
            {name: module for name, module in before.items() if name not in sys.modules}
        )


@given(given=episodes, certain=st.booleans(), threshold=st.sampled_from([0.3, 1.0, 5.0, math.inf]))
@settings(max_examples=60, deadline=None)
def test_every_estimator_equals_that_of_open_bandit_pipeline(
    obp: types.ModuleType, given: Logged, certain: bool, threshold: float
):
    if certain:
        given = given._replace(policy=np.eye(given.policy.shape[1])[given.policy.argmax(axis=1)])
        given.taken[0] = given.policy[0].argmax()
    value = policy_value(*given, threshold=threshold)
    arrays = {
        "reward": given.reward,
        "action": given.taken,
        "action_dist": given.policy[:, :, None],
        "pscore": given.propensity[np.arange(len(given.reward)), given.taken],
        "estimated_rewards_by_reg_model": given.expected[:, :, None],
    }
    for ours, theirs in (
        (value.ips, obp.InverseProbabilityWeighting()),
        (value.snips, obp.SelfNormalizedInverseProbabilityWeighting()),
        (value.dr, obp.DoublyRobust()),
        (value.switch_dr, obp.SwitchDoublyRobust(tau=threshold)),
    ):
        assert ours.value == pytest.approx(theirs.estimate_policy_value(**arrays), abs=1e-9, rel=0)


def _ends(estimate) -> tuple[float, float, float]:
    return estimate.value, estimate.lower, estimate.upper
