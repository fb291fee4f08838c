"""What a policy would have been worth, from episodes in which another one chose: values, intervals
and overlap.

Estimators: inverse propensity scores (IPS), self-normalised (SNIPS), doubly robust (DR; Dudik,
Langford & Li 2011, "Doubly robust policy evaluation and learning", ICML) and SWITCH-DR (Wang,
Agarwal & Dudik 2017, "Optimal and adaptive off-policy evaluation in contextual bandits", ICML).
What makes episodes dependent, the student or the school, is the cluster of every interval. Values
that are missing, and an action taken at a propensity of zero, are refused.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from statistics import NormalDist
from typing import Any, Literal

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.special import stdtrit

from training.estimation.arrays import FloatArray
from training.estimation.pseudo_outcomes import MIN_PROPENSITY

Actions = NDArray[np.intp]
Clusters = pd.Series | NDArray[Any]
IntervalKind = Literal["analytic", "percentile", "bias_corrected"]
FEW_CLUSTERS = 50
"""Below this many, intervals from resampled percentiles are too narrow; Cameron & Miller (2015),
Journal of Human Resources 50(2), section VI, put "few" between 20 and 50."""

OVERLAP_EDGES = (0.0, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0)
_TAIL = 0.025
_DRAWN_AT_ONCE = 50_000
"""Small enough to stay in a processor's cache: with 40 times as many, resampling took twice as
long."""


@dataclass(frozen=True)
class Estimate:
    """A mean in progress points with its 95% interval."""

    value: float
    lower: float
    upper: float


@dataclass(frozen=True)
class PolicyValue:
    """What following the policy would have been worth an episode, and how much evidence that rests
    on.
    """

    ips: Estimate
    snips: Estimate
    """Not a number where no episode's action was one that the policy takes."""
    dr: Estimate
    switch_dr: Estimate
    gain: Estimate
    """Self-normalised DR value less the mean of what was really reached: the gain over past
    practice.

    Fitted propensities give weights whose mean is not 1 (1.17 in `benchmarks/quality/coverage.py`);
    the correction by the model's misses is divided by it, else a gain comes out too high where the
    outcome model is too low.
    """
    effective_sample_size: float
    """Episodes of a plain mean that would be as precise as the weighted ones: (sum w)^2 / sum w^2
    (Kish 1965)."""
    thin_overlap: float
    """Share of episodes whose chosen action had a propensity at the floor: there the models
    extrapolate."""
    clusters: int

    @property
    def few_clusters(self) -> bool:
        """Whether the intervals rest on so few clusters that they are only roughly right."""
        return self.clusters < FEW_CLUSTERS


@dataclass(frozen=True)
class Overlap:
    """How likely past practice was to take what the policy takes, by action: what an overlap plot
    is drawn from.
    """

    edges: FloatArray
    """Shape (bins + 1,): a bin holds propensities above its lower edge, up to and with its upper
    one."""
    episodes: FloatArray
    """Shape (actions, bins): episodes whose chosen action is this one, each counted by the policy's
    probability."""

    def rows(self, names: Sequence[str]) -> Iterator[dict[str, str | float]]:
        """One row for each action and bin, as a chart wants them; `names` are the actions', in
        their order.
        """
        for name, counts in zip(names, self.episodes, strict=True):
            for lower, upper, count in zip(self.edges, self.edges[1:], counts, strict=False):
                yield {
                    "action": name,
                    "above": float(lower),
                    "up_to": float(upper),
                    "episodes": float(count),
                }


def policy_value(
    reward: FloatArray,
    taken: Actions,
    policy: Actions | FloatArray,
    propensity: FloatArray,
    expected: FloatArray,
    clusters: Clusters,
    *,
    threshold: float | None = None,
    floor: float = MIN_PROPENSITY,
    interval: IntervalKind = "analytic",
    resamples: int = 1_000,
    seed: int = 0,
) -> PolicyValue:
    """The value of a policy from what another one did.

    Args:
        reward: outcome of each episode, shape (n,), in progress points.
        taken: index of the action that was taken, shape (n,).
        policy: chance that the policy gives to each action, shape (n, actions), rows summing to 1;
            or, where it is deterministic, the index of the action that it chooses, shape (n,).
        propensity, expected: chance and expected outcome of each action, shape (n, actions).
        clusters: what makes episodes dependent, the student or the school, shape (n,).
        threshold: SWITCH-DR leaves an episode to the outcome model where its importance weight is
            above this. By default the square root of n, at which truncated weights still give a
            consistent mean: Ionides (2008), Journal of Computational and Graphical Statistics
            17(2).
        floor: propensity up to which overlap counts as thin.
        interval: "analytic" is cluster-robust (CR1) with a t-quantile; the others resample
            clusters, `resamples` times, and are t-intervals with the resampled standard error below
            `FEW_CLUSTERS` clusters. Over 200 worlds (`benchmarks/quality/coverage.py`) the analytic
            one held the true gain in 93.0%, percentiles in 92.0% and bias-corrected ones in 91.5%:
            the first is the default, and of the resampled ones percentiles are to be preferred.

    Raises:
        ValueError: shapes do not agree, a value is missing, a policy's row does not sum to 1, an
            action was taken at a propensity of zero, or there are fewer than two clusters.
    """
    chances = action_probabilities(policy, propensity.shape[1])
    _check(reward, taken, chances, propensity, expected)
    rows = np.arange(len(reward))
    weight = chances[rows, taken] / propensity[rows, taken]
    direct = (chances * expected).sum(axis=1)
    correction = weight * (reward - expected[rows, taken])
    largest = np.sqrt(len(reward)) if threshold is None else threshold
    robust, switched = direct + correction, direct + np.where(weight <= largest, correction, 0.0)
    normalised = self_normalized(direct, weight, correction)
    ones = np.ones(len(reward))
    found, count = _estimates(
        np.column_stack([weight * reward, weight * reward, robust, switched, normalised - reward]),
        np.column_stack([ones, weight, ones, ones, ones]),
        clusters,
        interval,
        resamples,
        seed,
    )
    ips, snips, dr, switch_dr, gain = found
    thin = float((chances * (propensity <= floor)).sum(axis=1).mean())
    return PolicyValue(ips, snips, dr, switch_dr, gain, effective_sample_size(weight), thin, count)


def self_normalized(direct: FloatArray, weight: FloatArray, correction: FloatArray) -> FloatArray:
    """Values, shape (n,), whose mean is the direct one plus the weighted mean of the corrections.

    They vary as that ratio of means does (the delta method).
    """
    size = float(weight.mean())
    if not size > 0:
        return direct
    ratio = float(correction.mean()) / size
    varying: FloatArray = direct + ratio + (correction - ratio * weight) / size
    return varying


def action_probabilities(policy: Actions | FloatArray, actions: int) -> FloatArray:
    """The policy as chances of shape (n, actions): those given, or 1 for the action chosen, shape
    (n,), else 0.
    """
    given = np.asarray(policy)
    if given.ndim == 1:
        if (
            not np.issubdtype(given.dtype, np.integer)
            or (given < 0).any()
            or (given >= actions).any()
        ):
            raise ValueError(f"a chosen action must be a whole number from 0 to {actions - 1}")
        given = np.eye(actions)[given]
    return np.asarray(given, dtype="float64")


def effective_sample_size(weight: FloatArray) -> float:
    """(sum w)^2 / sum w^2 of importance weights, shape (n,); 0 where all are 0."""
    squares = float((weight**2).sum())
    return float(weight.sum()) ** 2 / squares if squares > 0 else 0.0


def overlap_histogram(
    policy: Actions | FloatArray, propensity: FloatArray, edges: Sequence[float] = OVERLAP_EDGES
) -> Overlap:
    """The histogram of the propensity of the chosen action, by action; arrays as for
    `policy_value`.
    """
    chances = action_probabilities(policy, propensity.shape[1])
    bins = len(edges) - 1
    place = np.clip(np.digitize(propensity, edges, right=True) - 1, 0, bins - 1)
    counts = [
        np.bincount(place[:, one], chances[:, one], bins) for one in range(propensity.shape[1])
    ]
    return Overlap(np.asarray(edges, dtype="float64"), np.vstack(counts))


def clustered_mean(
    values: FloatArray,
    clusters: Clusters,
    *,
    interval: IntervalKind = "analytic",
    resamples: int = 1_000,
    seed: int = 0,
) -> Estimate:
    """The mean of `values`, shape (n,), with an interval as `policy_value` makes them."""
    column = np.asarray(values, dtype="float64")[:, None]
    return _estimates(column, np.ones_like(column), clusters, interval, resamples, seed)[0][0]


def _estimates(
    numerators: FloatArray,
    denominators: FloatArray,
    clusters: Clusters,
    interval: IntervalKind,
    resamples: int,
    seed: int,
) -> tuple[list[Estimate], int]:
    """The ratio of the sums of each column, arrays of shape (n, columns), and the number of
    clusters.
    """
    codes, names = pd.factorize(np.asarray(clusters), sort=True)
    count = len(names)
    if len(codes) != len(numerators) or (codes < 0).any():
        raise ValueError(
            f"each of {len(numerators)} episodes needs its cluster; {int((codes >= 0).sum())}"
            " have one"
        )
    if count < 2:
        raise ValueError(f"an interval needs at least two clusters; there is {count}")
    above, below = _sums(numerators, codes, count), _sums(denominators, codes, count)
    with np.errstate(invalid="ignore", divide="ignore"):
        center = above.sum(axis=0) / below.sum(axis=0)
        if interval == "analytic":
            error = np.sqrt(((above - center * below) ** 2).sum(axis=0)) / below.sum(axis=0)
            return _within_t(center, error, count), count
        redrawn = _resampled(above, below, resamples, seed)
    if count < FEW_CLUSTERS:
        return _within_t(center, np.nanstd(redrawn, axis=0), count), count
    found = [
        _percentiles(value, column, interval)
        for value, column in zip(center, redrawn.T, strict=True)
    ]
    return found, count


def _within_t(center: FloatArray, error: FloatArray, clusters: int) -> list[Estimate]:
    """CR1's small-sample factor and the t-quantile with one degree of freedom fewer than clusters,
    as Cameron & Miller (2015), section VI.
    """
    reach = stdtrit(clusters - 1, 1 - _TAIL) * np.sqrt(clusters / (clusters - 1)) * error
    ends = zip(center, center - reach, center + reach, strict=True)
    return [Estimate(float(value), float(lower), float(upper)) for value, lower, upper in ends]


def _percentiles(center: float, redrawn: FloatArray, interval: IntervalKind) -> Estimate:
    """Efron & Tibshirani (1993), "An introduction to the bootstrap", chapters 13 and 14, without
    acceleration.
    """
    redrawn = redrawn[~np.isnan(redrawn)]
    if not len(redrawn):
        return Estimate(float(center), np.nan, np.nan)
    normal, tails = NormalDist(), np.array([_TAIL, 1 - _TAIL])
    if interval == "bias_corrected":
        half = 0.5 / len(redrawn)
        shift = normal.inv_cdf(float(np.clip((redrawn < center).mean(), half, 1 - half)))
        tails = np.array([normal.cdf(2 * shift + normal.inv_cdf(tail)) for tail in tails])
    lower, upper = np.quantile(redrawn, tails)
    return Estimate(float(center), float(lower), float(upper))


def _resampled(above: FloatArray, below: FloatArray, resamples: int, seed: int) -> FloatArray:
    """Ratios, shape (resamples, columns), where clusters are drawn with replacement: how often each
    is drawn times its sums, so that no episode is touched again.
    """
    rng, count = np.random.default_rng(seed), len(above)
    both = np.hstack([above, below])
    at_once = max(1, _DRAWN_AT_ONCE // count)
    totals = []
    for start in range(0, resamples, at_once):
        size = min(at_once, resamples - start)
        drawn = rng.integers(0, count, (size, count)) + count * np.arange(size)[:, None]
        times = np.bincount(drawn.ravel(), minlength=size * count).reshape(size, count)
        totals.append(times.astype("float64") @ both)
    found = np.vstack(totals)
    ratios: FloatArray = found[:, : above.shape[1]] / found[:, above.shape[1] :]
    return ratios


def _sums(values: FloatArray, codes: NDArray[np.intp], count: int) -> FloatArray:
    return np.column_stack([np.bincount(codes, column, count) for column in values.T])


def _check(
    reward: FloatArray,
    taken: Actions,
    chances: FloatArray,
    propensity: FloatArray,
    expected: FloatArray,
) -> None:
    shape = (len(reward), propensity.shape[1])
    for name, array, wanted in (
        ("taken", taken, shape[:1]),
        ("policy", chances, shape),
        ("propensity", propensity, shape),
        ("expected", expected, shape),
    ):
        if array.shape != wanted:
            raise ValueError(
                f"{name} has the shape {array.shape}; with {shape[0]} rewards it must be {wanted}"
            )
    if (taken < 0).any() or (taken >= shape[1]).any():
        raise ValueError(f"a taken action must be a whole number from 0 to {shape[1] - 1}")
    _refuse(
        ~np.isfinite(np.column_stack([reward, chances, propensity, expected]).sum(axis=1)),
        "holds a value that is missing or infinite",
    )
    _refuse(
        (chances.min(axis=1) < 0) | (np.abs(chances.sum(axis=1) - 1) > 1e-6),
        "has policy chances below 0 or not summing to 1",
    )
    _refuse(
        propensity[np.arange(shape[0]), taken] <= 0,
        "took an action whose propensity is not above zero",
    )


def _refuse(bad: NDArray[Any], what: str) -> None:
    if bad.any():
        raise ValueError(f"episode {int(bad.argmax())} {what}")
