"""What past choices tell of need: for each support a line of its benefit over the log-odds of
having been chosen.

Whoever chose a support for a student saw need in many features at once. One number that holds what
they saw, the fitted chance of the choice, says more than each of them where few students alike were
treated otherwise. How far benefit follows it, and whether it does, is learned from what came after,
not from the habit: where past choices were no better than chance, the line is flat. The chance is a
function of the same features as all else here, so nothing new is known. Source: Hahn, Murray &
Carvalho (2020), "Bayesian regression tree models for causal inference", Bayesian Analysis 15(3),
who put the chance among the features for the same reason.
"""

from __future__ import annotations

import numpy as np

from training.estimation.arrays import BoolArray, FloatArray
from training.estimation.pseudo_outcomes import PseudoOutcomes
from training.estimation.shrinkage import MIN_TO_POOL, shrink_to_mean, shrink_to_zero

_EXTREME = 0.005
_USUAL_SLOPE = 0.1
"""Benefit rises by a tenth of a standard deviation of the outcome for each unit of log-odds, give
or take: a prior that hardly holds where there is evidence."""
_USUAL_DIFFERENCE = 0.05
"""And the slopes of two supports differ by half as much, give or take."""


def propensity_log_odds(propensity: FloatArray) -> FloatArray:
    """Of each support against none, without its extremes: shape (episodes, supports).

    Args:
        propensity: chance of each choice, none first, shape (episodes, 1 + supports).
    """
    odds = np.log(propensity[:, 1:] / propensity[:, :1])
    lowest, highest = np.quantile(odds, [_EXTREME, 1 - _EXTREME], axis=0)
    clipped: FloatArray = np.clip(odds, lowest, highest)
    return clipped


def propensity_trend(found: PseudoOutcomes, odds: FloatArray, train: BoolArray) -> FloatArray:
    """The benefit of each support by its log-odds alone, learned from the rows of `train`: shape
    (episodes, supports).

    The line is for everybody, also where choices were all but settled, and overlap weights would
    fit it where they were open alone; no weights at all would leave it to the few episodes that
    went against the odds. Their square root lies between. Slopes are drawn toward each other by how
    much of their distance may be noise.
    """
    weights = np.sqrt(found.weights[train])
    weights = weights / np.maximum(weights.sum(axis=0), 1e-12)
    x, y = odds[train], found.values[train]
    middle, level = (weights * x).sum(axis=0), (weights * y).sum(axis=0)
    spread = np.maximum((weights * (x - middle) ** 2).sum(axis=0), 1e-12)
    slope = (weights * (x - middle) * (y - level)).sum(axis=0) / spread
    missed = y - level - slope * (x - middle)
    error = np.sqrt((weights**2 * (x - middle) ** 2 * missed**2).sum(axis=0)) / spread
    line: FloatArray = level + _held(slope, error, found.residual_sd) * (odds - middle)
    return line


def _held(slope: FloatArray, error: FloatArray, noise: float) -> FloatArray:
    """Slopes less what may be noise in them."""
    if len(slope) < MIN_TO_POOL:
        return shrink_to_zero(slope, error, _USUAL_SLOPE * noise)
    held, _ = shrink_to_mean(slope, error, _USUAL_DIFFERENCE * noise)
    return held
