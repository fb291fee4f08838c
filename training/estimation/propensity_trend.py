"""The propensity trend: a line of each support's benefit on the log-odds of its selection.

Whoever chose a support for a student saw need in many features at once. One number that summarizes
what they saw, the propensity, says more than each feature where few similar students were treated
otherwise. Whether and how far benefit follows it is learned from what came after, not from the
habit: where past choices were no better than chance, the line is flat. The propensity is a function
of the model's own features, so it adds no information. Source: Hahn, Murray & Carvalho (2020),
"Bayesian regression tree models for causal inference", Bayesian Analysis 15(3), who add the
propensity to the features for the same reason.
"""

from __future__ import annotations

import numpy as np

from training.estimation.arrays import BoolArray, FloatArray
from training.estimation.pseudo_outcomes import PseudoOutcomes
from training.estimation.shrinkage import MIN_TO_POOL, shrink_to_mean, shrink_to_zero

_EXTREME = 0.005
"""Share of log-odds at either end that is clipped."""
_PRIOR_SLOPE_SD = 0.1
"""The prior of a slope: benefit changes by about a tenth of a standard deviation of the outcome per
unit of log-odds. It hardly matters where there is evidence."""
_MIN_SLOPE_DIFFERENCE_SD = 0.05
"""The slopes of supports differ by about half as much, at least."""


def propensity_log_odds(propensity: FloatArray) -> FloatArray:
    """Log-odds of each support against none, clipped at their extremes: shape (episodes, supports).

    Args:
        propensity: of each action, none first, shape (episodes, 1 + supports).
    """
    odds = np.log(propensity[:, 1:] / propensity[:, :1])
    lowest, highest = np.quantile(odds, [_EXTREME, 1 - _EXTREME], axis=0)
    clipped: FloatArray = np.clip(odds, lowest, highest)
    return clipped


def propensity_trend(targets: PseudoOutcomes, odds: FloatArray, train: BoolArray) -> FloatArray:
    """The benefit of each support by its log-odds alone, shape (episodes, supports).

    The weights are the square roots of the precision weights: the full weights would fit the line
    only where choices were open, though it is for everybody, and none would leave it to the few
    episodes that went against the odds. Slopes are shrunk by how much of them may be noise.

    Args:
        targets: pseudo-outcomes with their weights, shape (episodes, supports).
        odds: `propensity_log_odds`, of the same shape.
        train: the rows to fit on, shape (episodes,).
    """
    weights = np.sqrt(targets.weights[train])
    weights = weights / np.maximum(weights.sum(axis=0), 1e-12)
    x, y = odds[train], targets.values[train]
    middle, level = (weights * x).sum(axis=0), (weights * y).sum(axis=0)
    spread = np.maximum((weights * (x - middle) ** 2).sum(axis=0), 1e-12)
    slope = (weights * (x - middle) * (y - level)).sum(axis=0) / spread
    residual = y - level - slope * (x - middle)
    error = np.sqrt((weights**2 * (x - middle) ** 2 * residual**2).sum(axis=0)) / spread
    shrunk_slope = _shrunk(slope, error, targets.residual_sd)
    line: FloatArray = level + shrunk_slope * (odds - middle)
    return line


def _shrunk(slope: FloatArray, error: FloatArray, outcome_sd: float) -> FloatArray:
    """Slopes shrunk to each other, or to zero where they are too few."""
    if len(slope) < MIN_TO_POOL:
        return shrink_to_zero(slope, error, _PRIOR_SLOPE_SD * outcome_sd)
    shrunk, _ = shrink_to_mean(slope, error, _MIN_SLOPE_DIFFERENCE_SD * outcome_sd)
    return shrunk
