"""Off-policy evaluation: what a policy would have been worth, had it chosen.

Estimators: inverse propensity scores (IPS), self-normalized (SNIPS), doubly robust (DR; Dudik,
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
"""Below this many, intervals from resampled percentiles are too narrow: Cameron & Miller (2015),
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
    """What following the policy would have been worth per episode, and on how much evidence."""

    ips: Estimate
    snips: Estimate
    """NaN where no episode's action was one that the policy takes."""
    dr: Estimate
    switch_dr: Estimate
    gain: Estimate
    """Self-normalized DR value less the mean outcome: the gain over past practice.

    Fitted propensities give weights whose mean is not 1 (1.17 in `benchmarks/quality/coverage.py`);
    the correction by the model's residuals is divided by it, else a gain is overestimated where the
    outcome model is too low.
    """
    effective_sample_size: float
    """Equally weighted episodes that would be as precise: (sum w)^2 / sum w^2 (Kish 1965)."""
    thin_overlap: float
    """Share of episodes whose chosen action had a propensity at the floor, where models
    extrapolate."""
    clusters: int

    @property
    def few_clusters(self) -> bool:
        """Whether the intervals rest on so few clusters that they are only approximate."""
        return self.clusters < FEW_CLUSTERS


@dataclass(frozen=True)
class Overlap:
    """How likely past practice was to take what the policy takes, by action."""

    edges: FloatArray
    """Shape (bins + 1,): a bin holds propensities above its lower edge, up to and including its
    upper one."""
    episodes: FloatArray
    """Shape (actions, bins): episodes whose chosen action is this one, each counted by the policy's
    probability."""

    def rows(self, names: Sequence[str]) -> Iterator[dict[str, str | float]]:
        """One row for each action and bin, for a chart; `names` are the actions', in order."""
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
    """The value of a policy, estimated from episodes in which another one chose.

    Args:
        reward: outcome of each episode, shape (n,), in progress points.
        taken: index of the action that was taken, shape (n,).
        policy: probability that the policy gives to each action, shape (n, actions), rows summing
            to 1; or, where it is deterministic, the index of the action that it chooses, shape
            (n,).
        propensity, expected: probability and expected outcome of each action, shape (n, actions).
        clusters: what makes episodes dependent, the student or the school, shape (n,).
        threshold: SWITCH-DR leaves an episode to the outcome model where its importance weight is
            above this. By default the square root of n, at which truncated weights still give a
            consistent mean: Ionides (2008), Journal of Computational and Graphical Statistics
            17(2).
        floor: propensity up to which overlap counts as thin.
        interval: "analytic" is cluster-robust (CR1) with a t-quantile; the others resample
            clusters, `resamples` times, and are t-intervals with the resampled standard error below
            `FEW_CLUSTERS` clusters. Over 200 simulated districts
            (`benchmarks/quality/coverage.py`) the analytic one covered the true gain in 93.0%,
            percentiles in 92.0% and bias-corrected ones in 91.5%.
        resamples, seed: of the resampled intervals.

    Raises:
        ValueError: shapes do not agree, a value is missing, a policy's row does not sum to 1, an
            action was taken at a propensity of zero, or there are fewer than two clusters.

    Examples:
        Past practice flipped a coin; action 1 adds 2 points. What if everybody got it?

        >>> import numpy as np
        >>> rng = np.random.default_rng(0)
        >>> n = 2000
        >>> taken = rng.integers(0, 2, n)
        >>> reward = 2.0 * taken + rng.normal(0, 1, n)
        >>> value = policy_value(
        ...     reward,
        ...     taken,
        ...     policy=np.ones(n, dtype=int),
        ...     propensity=np.full((n, 2), 0.5),
        ...     expected=np.tile([0.0, 2.0], (n, 1)),
        ...     clusters=np.arange(n),
        ... )
        >>> round(value.dr.value, 1)
        2.0
        >>> round(value.gain.value, 1), value.gain.lower > 0.9
        (1.0, True)
    """
    probabilities = action_probabilities(policy, propensity.shape[1])
    _check(reward, taken, probabilities, propensity, expected)
    rows = np.arange(len(reward))
    weight = probabilities[rows, taken] / propensity[rows, taken]
    direct = (probabilities * expected).sum(axis=1)
    correction = weight * (reward - expected[rows, taken])
    largest = np.sqrt(len(reward)) if threshold is None else threshold
    normalized = self_normalized(direct, weight, correction)
    ones = np.ones(len(reward))
    # Each figure is a ratio of sums over episodes: name, numerators, denominators.
    ratios = {
        "ips": (weight * reward, ones),
        "snips": (weight * reward, weight),
        "dr": (direct + correction, ones),
        "switch_dr": (direct + np.where(weight <= largest, correction, 0.0), ones),
        "gain": (normalized - reward, ones),
    }
    estimates, count = _ratio_estimates(
        np.column_stack([numerator for numerator, _ in ratios.values()]),
        np.column_stack([denominator for _, denominator in ratios.values()]),
        clusters,
        interval,
        resamples,
        seed,
    )
    figures = dict(zip(ratios, estimates, strict=True))
    return PolicyValue(
        ips=figures["ips"],
        snips=figures["snips"],
        dr=figures["dr"],
        switch_dr=figures["switch_dr"],
        gain=figures["gain"],
        effective_sample_size=effective_sample_size(weight),
        thin_overlap=float((probabilities * (propensity <= floor)).sum(axis=1).mean()),
        clusters=count,
    )


def self_normalized(direct: FloatArray, weight: FloatArray, correction: FloatArray) -> FloatArray:
    """Values, shape (n,), whose mean is the direct one plus the weighted mean of the corrections.

    Their variance is that of the ratio of means (the delta method).

    Args:
        direct: expected outcome under the policy, shape (n,).
        weight: importance weights, shape (n,).
        correction: weighted residuals, shape (n,).
    """
    size = float(weight.mean())
    if not size > 0:
        return direct
    ratio = float(correction.mean()) / size
    varying: FloatArray = direct + ratio + (correction - ratio * weight) / size
    return varying


def action_probabilities(policy: Actions | FloatArray, actions: int) -> FloatArray:
    """The policy as probabilities, shape (n, actions); a deterministic one gives 1 to its action.

    Raises:
        ValueError: a chosen action is not an index of an action.
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
    """Episodes by propensity of the policy's action, by action; arrays as for `policy_value`."""
    n_actions, n_bins = propensity.shape[1], len(edges) - 1
    probabilities = action_probabilities(policy, n_actions)
    bins = np.clip(np.digitize(propensity, edges, right=True) - 1, 0, n_bins - 1)
    counts = [
        np.bincount(bins[:, action], probabilities[:, action], n_bins)
        for action in range(n_actions)
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
    estimates, _ = _ratio_estimates(
        column, np.ones_like(column), clusters, interval, resamples, seed
    )
    return estimates[0]


def _ratio_estimates(
    numerators: FloatArray,
    denominators: FloatArray,
    clusters: Clusters,
    interval: IntervalKind,
    resamples: int,
    seed: int,
) -> tuple[list[Estimate], int]:
    """The ratio of the sums of each column, arrays (n, columns), and the number of clusters."""
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
        resampled = _resampled(above, below, resamples, seed)
    if count < FEW_CLUSTERS:
        return _within_t(center, np.nanstd(resampled, axis=0), count), count
    estimates = [
        _percentiles(value, column, interval)
        for value, column in zip(center, resampled.T, strict=True)
    ]
    return estimates, count


def _within_t(center: FloatArray, error: FloatArray, clusters: int) -> list[Estimate]:
    """t-intervals with CR1's small-sample factor: Cameron & Miller (2015), section VI."""
    reach = stdtrit(clusters - 1, 1 - _TAIL) * np.sqrt(clusters / (clusters - 1)) * error
    ends = zip(center, center - reach, center + reach, strict=True)
    return [Estimate(float(value), float(lower), float(upper)) for value, lower, upper in ends]


def _percentiles(center: float, resampled: FloatArray, interval: IntervalKind) -> Estimate:
    """Efron & Tibshirani (1993), chapters 13 and 14, without acceleration."""
    resampled = resampled[~np.isnan(resampled)]
    if not len(resampled):
        return Estimate(float(center), np.nan, np.nan)
    normal, tails = NormalDist(), np.array([_TAIL, 1 - _TAIL])
    if interval == "bias_corrected":
        half = 0.5 / len(resampled)
        shift = normal.inv_cdf(float(np.clip((resampled < center).mean(), half, 1 - half)))
        tails = np.array([normal.cdf(2 * shift + normal.inv_cdf(tail)) for tail in tails])
    lower, upper = np.quantile(resampled, tails)
    return Estimate(float(center), float(lower), float(upper))


def _resampled(above: FloatArray, below: FloatArray, resamples: int, seed: int) -> FloatArray:
    """Ratios, shape (resamples, columns), with clusters drawn with replacement.

    A resample is how often each cluster is drawn, times its sums: no episode is read again.
    """
    rng, count = np.random.default_rng(seed), len(above)
    both = np.hstack([above, below])
    per_response = max(1, _DRAWN_AT_ONCE // count)
    totals = []
    for start in range(0, resamples, per_response):
        size = min(per_response, resamples - start)
        # One bincount for all resamples: each has its own range of numbers for the clusters.
        drawn = rng.integers(0, count, (size, count)) + count * np.arange(size)[:, None]
        times = np.bincount(drawn.ravel(), minlength=size * count).reshape(size, count)
        totals.append(times.astype("float64") @ both)
    stacked = np.vstack(totals)
    ratios: FloatArray = stacked[:, : above.shape[1]] / stacked[:, above.shape[1] :]
    return ratios


def _sums(values: FloatArray, codes: NDArray[np.intp], count: int) -> FloatArray:
    return np.column_stack([np.bincount(codes, column, count) for column in values.T])


def _check(
    reward: FloatArray,
    taken: Actions,
    probabilities: FloatArray,
    propensity: FloatArray,
    expected: FloatArray,
) -> None:
    shape = (len(reward), propensity.shape[1])
    for name, array, wanted in (
        ("taken", taken, shape[:1]),
        ("policy", probabilities, shape),
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
        ~np.isfinite(np.column_stack([reward, probabilities, propensity, expected]).sum(axis=1)),
        "holds a value that is missing or infinite",
    )
    _refuse(
        (probabilities.min(axis=1) < 0) | (np.abs(probabilities.sum(axis=1) - 1) > 1e-6),
        "has policy probabilities below 0 or not summing to 1",
    )
    _refuse(
        propensity[np.arange(shape[0]), taken] <= 0,
        "took an action whose propensity is not above zero",
    )


def _refuse(bad: NDArray[Any], what: str) -> None:
    if bad.any():
        raise ValueError(f"episode {int(bad.argmax())} {what}")
