"""From predictions of the fold models to benefits with intervals.

What a support is worth on average is shrunk toward what supports are worth on the whole (empirical
Bayes), so that a rare one borrows strength; how far students differ is shrunk by how well the folds
predicted episodes they were not trained on. The models differ in the fold of students that they
never saw; their spread gives the interval (delete-a-group jackknife: Kott (2001), Journal of
Official Statistics 17(4)).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from training.estimation.arrays import FloatArray
from training.estimation.pseudo_outcomes import PseudoOutcomes
from training.estimation.shrinkage import shrink_to_mean

Z_90 = 1.645
"""Lower and upper bounds are those of a 90% interval: one in twenty true benefits lies below the
lower one."""
_MIN_BETWEEN_SD = 0.1
"""Supports differ by a tenth of a standard deviation of the outcome at least: the median effect of
what schools tried, by Kraft (2020), "Interpreting effect sizes of education interventions",
Educational Researcher 49(4)."""
_PRIOR_SLOPE, _PRIOR_SLOPE_SD = 0.8, 0.25
"""The prior of the slope: models of weak signals go a little too far."""
_MAX_SLOPE = 1.25


class Benefit(NamedTuple):
    """Expected benefit of one support in the outcome's unit: arrays of shape (students,)."""

    mean: FloatArray
    lower: FloatArray
    upper: FloatArray


@dataclass(frozen=True)
class Calibration:
    """What turns the mean prediction of the fold models into a benefit, with its uncertainty.

    The benefit is `level + slope * (prediction - usual)`; `level_error` and `slope_error` are
    standard errors.
    """

    level: float = 0.0
    slope: float = 1.0
    usual: float = 0.0
    level_error: float = 0.0
    slope_error: float = 0.0

    def benefit(self, prediction: FloatArray) -> FloatArray:
        """The benefit of each prediction, shape (n,)."""
        return self.level + self.slope * (prediction - self.usual)


class _WithinFolds(NamedTuple):
    """Predictions and pseudo-outcomes less their fold means, and two weighted sums.

    Arrays have the shape (episodes, supports).
    """

    predictions: FloatArray
    targets: FloatArray
    squares: float
    """Of the predictions."""
    products: float
    """Of predictions and pseudo-outcomes."""


def fit_calibration(
    names: Sequence[str],
    targets: PseudoOutcomes,
    out_of_fold: FloatArray,
    folds: NDArray[np.intp],
    groups: pd.Series,
) -> dict[str, Calibration]:
    """How to turn predictions into benefits, learned from out-of-fold predictions.

    Args:
        names: the supports.
        targets: pseudo-outcomes with their weights, shape (episodes, supports).
        out_of_fold: predictions of the same shape.
        folds: the fold of each episode, shape (episodes,).
        groups: what makes episodes dependent, shape (episodes,).
    """
    weights = targets.weights / targets.weights.sum(axis=0)
    levels = (weights * targets.values).sum(axis=0)
    usual = (weights * out_of_fold).sum(axis=0)
    clustered_errors = np.array(
        [
            _clustered_error(
                weights[:, support] * (targets.values[:, support] - levels[support]), groups
            )
            for support in range(len(names))
        ]
    )
    # No less than with independent errors of the outcome model's size.
    errors = np.maximum(
        clustered_errors, targets.residual_sd / np.sqrt(targets.weights.sum(axis=0))
    )
    levels, errors = shrink_to_mean(levels, errors, _MIN_BETWEEN_SD * targets.residual_sd)
    slope, slope_error = _slope(targets, out_of_fold, folds, groups)
    return {
        name: Calibration(
            level=float(levels[support]),
            slope=slope,
            usual=float(usual[support]),
            level_error=float(errors[support]),
            slope_error=slope_error,
        )
        for support, name in enumerate(names)
    }


def benefit_interval(predictions: list[FloatArray], calibration: Calibration) -> Benefit:
    """Mean, lower and upper bound from the fold models' predictions, shape (students,) each."""
    stacked = np.vstack(predictions)
    raw = stacked.mean(axis=0)
    count = len(predictions)
    jackknife_variance = (count - 1) / count * ((stacked - raw) ** 2).sum(axis=0)
    error = np.sqrt(
        calibration.slope**2 * jackknife_variance
        + calibration.level_error**2
        + (calibration.slope_error * (raw - calibration.usual)) ** 2
    )
    mean = calibration.benefit(raw)
    return Benefit(mean, mean - Z_90 * error, mean + Z_90 * error)


def error_reduction(
    targets: PseudoOutcomes, out_of_fold: FloatArray, folds: NDArray[np.intp], groups: pd.Series
) -> FloatArray:
    """How much out-of-fold predictions reduce the weighted squared error, by episode.

    The error is that of the pseudo-outcomes; shape (episodes,).

    The slope is the one they will be given: with the best slope, few trees would be chosen whose
    slope is then shrunk.
    """
    within = _within_folds(targets, out_of_fold, folds)
    slope, _ = _slope(targets, out_of_fold, folds, groups)
    scaled = slope * within.predictions
    reduction: FloatArray = (
        targets.weights * slope * within.predictions * (2 * within.targets - scaled)
    ).sum(axis=1)
    return reduction


def james_stein_factor(gains: FloatArray, groups: pd.Series) -> float:
    """The share of a gain, summed over episodes, that is left when chance is taken off.

    One less the squared inverse of its ratio to its standard error; none where that ratio is below
    one. In a small past some pair of features always predicts a little. Source: the positive part
    of James & Stein (1961), "Estimation with quadratic loss", 4th Berkeley Symposium, vol. 1.
    """
    gain, error = float(gains.sum()), _clustered_error(gains, groups)
    return max(0.0, 1 - (error / gain) ** 2) if gain > 0 else 0.0


def _slope(
    targets: PseudoOutcomes, out_of_fold: FloatArray, folds: NDArray[np.intp], groups: pd.Series
) -> tuple[float, float]:
    """By how much the benefit rises where the prediction does, with its standard error.

    The weighted regression through the folds' means, combined with the prior by precision.
    """
    within = _within_folds(targets, out_of_fold, folds)
    if not within.squares > 0:
        return _PRIOR_SLOPE, _PRIOR_SLOPE_SD
    slope = within.products / within.squares
    residuals = within.targets - slope * within.predictions
    influence = (targets.weights * within.predictions * residuals).sum(axis=1)
    error = _clustered_error(influence, groups) / within.squares
    precision, prior_precision = 1 / max(error, 1e-9) ** 2, 1 / _PRIOR_SLOPE_SD**2
    total = precision + prior_precision
    slope = (precision * slope + prior_precision * _PRIOR_SLOPE) / total
    return float(np.clip(slope, 0.0, _MAX_SLOPE)), float(1 / np.sqrt(total))


def _within_folds(
    targets: PseudoOutcomes, out_of_fold: FloatArray, folds: NDArray[np.intp]
) -> _WithinFolds:
    predictions = _less_fold_mean(out_of_fold, targets.weights, folds)
    values = _less_fold_mean(targets.values, targets.weights, folds)
    weighted = targets.weights * predictions
    return _WithinFolds(
        predictions,
        values,
        float((weighted * predictions).sum()),
        float((weighted * values).sum()),
    )


def _less_fold_mean(values: FloatArray, weights: FloatArray, folds: NDArray[np.intp]) -> FloatArray:
    """Values less their weighted mean in their own fold.

    A fold's mean and what was learned without that fold are negatively related, so comparisons
    between folds would mislead.
    """
    centered = np.empty_like(values)
    for fold in np.unique(folds):
        own = folds == fold
        centered[own] = values[own] - np.average(values[own], axis=0, weights=weights[own])
    return centered


def _clustered_error(parts: FloatArray, groups: pd.Series) -> float:
    """The standard error of a sum of parts that depend on each other within groups."""
    sums = pd.Series(parts).groupby(groups.to_numpy()).sum().to_numpy()
    return float(np.sqrt((sums**2).sum()))
