"""From predictions of the fold models to benefits with intervals."""

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


_USUAL_SPREAD = 0.1
"""Supports differ by a tenth of a standard deviation of the outcome at least: the median effect of
what schools tried, by Kraft (2020), "Interpreting effect sizes of education interventions",
Educational Researcher 49(4)."""


_USUAL_SLOPE = 0.8


_SLOPE_SPREAD = 0.25
"""What is held of the slope before any episode speaks: models of weak signals go a little too
far."""


_MOST_SLOPE = 1.25


class Benefit(NamedTuple):
    """Expected benefit of one support in the outcome's unit: arrays of shape (students,)."""

    mean: FloatArray
    lower: FloatArray
    upper: FloatArray


@dataclass(frozen=True)
class Calibration:
    """What turns the fold models' mean prediction of one support into a benefit, and how far that
    itself is sure.

    The benefit is `level + slope * (prediction - usual)`; `level_error` and `slope_error` are
    standard errors.
    """

    level: float = 0.0
    slope: float = 1.0
    usual: float = 0.0
    level_error: float = 0.0
    slope_error: float = 0.0

    def benefit(self, raw: FloatArray) -> FloatArray:
        return self.level + self.slope * (raw - self.usual)


def error_reduction(
    found: PseudoOutcomes, unseen: FloatArray, folds: NDArray[np.intp], groups: pd.Series
) -> FloatArray:
    """By how much predictions of unseen episodes lessen the weighted squared error of the
    pseudo-outcomes, with the slope that they will be given: of each episode, shape (episodes,).
    (With the best slope, few trees would be chosen whose slope is then held back.)
    """
    apart, differs, _, _ = _compared(found, unseen, folds)
    slope, _ = _slope(found, unseen, folds, groups)
    lessened: FloatArray = (found.weights * slope * apart * (2 * differs - slope * apart)).sum(
        axis=1
    )
    return lessened


def _james_stein_factor(gained: FloatArray, groups: pd.Series) -> float:
    """The share of a gain that is left when chance is taken off: one less the squared inverse of
    its ratio to its standard error, none where that ratio is below one. In a small past some pair
    always foretells a little.

    Source: the positive part of James & Stein (1961), "Estimation with quadratic loss", 4th
    Berkeley Symposium, vol. 1.
    """
    gain, error = float(gained.sum()), _clustered(gained, groups)
    return max(0.0, 1 - (error / gain) ** 2) if gain > 0 else 0.0


def _compared(
    found: PseudoOutcomes, unseen: FloatArray, folds: NDArray[np.intp]
) -> tuple[FloatArray, FloatArray, float, float]:
    """Predictions and pseudo-outcomes within their folds, and the weighted sums of squares of the
    former and of the products of both.
    """
    apart, differs = (
        _within(unseen, found.weights, folds),
        _within(found.values, found.weights, folds),
    )
    weighted = found.weights * apart
    return apart, differs, float((weighted * apart).sum()), float((weighted * differs).sum())


def _within(values: FloatArray, weights: FloatArray, folds: NDArray[np.intp]) -> FloatArray:
    """Values less their weighted mean in their own fold: a fold's mean and what was learned without
    it are at odds.
    """
    apart = np.empty_like(values)
    for fold in np.unique(folds):
        own = folds == fold
        apart[own] = values[own] - np.average(values[own], axis=0, weights=weights[own])
    return apart


def fit_calibration(
    names: Sequence[str],
    found: PseudoOutcomes,
    unseen: FloatArray,
    folds: NDArray[np.intp],
    groups: pd.Series,
) -> dict[str, Calibration]:
    """How to turn predictions into benefits, from predictions of episodes that their model had not
    seen.

    Args:
        found: pseudo-outcomes with their weights, shape (episodes, supports).
        unseen: predictions of the same shape.
        folds, groups: the fold of each episode, and what makes episodes dependent, shape
            (episodes,).
    """
    weights = found.weights / found.weights.sum(axis=0)
    levels, usual = (weights * found.values).sum(axis=0), (weights * unseen).sum(axis=0)
    clustered = np.array(
        [
            _clustered(weights[:, place] * (found.values[:, place] - levels[place]), groups)
            for place in range(len(names))
        ]
    )
    errors = np.maximum(clustered, found.noise / np.sqrt(found.weights.sum(axis=0)))
    levels, errors = shrink_to_mean(levels, errors, _USUAL_SPREAD * found.noise)
    slope, error = _slope(found, unseen, folds, groups)
    return {
        name: Calibration(
            float(levels[place]), slope, float(usual[place]), float(errors[place]), error
        )
        for place, name in enumerate(names)
    }


def _slope(
    found: PseudoOutcomes, unseen: FloatArray, folds: NDArray[np.intp], groups: pd.Series
) -> tuple[float, float]:
    """By how much the benefit rises where the prediction does, with its standard error."""
    apart, differs, size, along = _compared(found, unseen, folds)
    held = 1 / _SLOPE_SPREAD**2
    if not size > 0:
        return _USUAL_SLOPE, _SLOPE_SPREAD
    slope = along / size
    error = (
        _clustered((found.weights * apart * (differs - slope * apart)).sum(axis=1), groups) / size
    )
    said = 1 / max(error, 1e-9) ** 2
    slope = (said * slope + held * _USUAL_SLOPE) / (said + held)
    return float(np.clip(slope, 0.0, _MOST_SLOPE)), float(1 / np.sqrt(said + held))


def benefit_interval(predictions: list[FloatArray], turned: Calibration) -> Benefit:
    """Mean, lower and upper from the fold models' predictions: they differ, and their calibration
    is not sure.
    """
    stacked = np.vstack(predictions)
    raw = stacked.mean(axis=0)
    count = len(predictions)
    spread = (count - 1) / count * ((stacked - raw) ** 2).sum(axis=0)
    error = np.sqrt(
        turned.slope**2 * spread
        + turned.level_error**2
        + (turned.slope_error * (raw - turned.usual)) ** 2
    )
    mean = turned.benefit(raw)
    return Benefit(mean, mean - Z_90 * error, mean + Z_90 * error)


def _clustered(parts: FloatArray, groups: pd.Series) -> float:
    """The standard error of a sum of dependent parts."""
    sums = pd.Series(parts).groupby(groups.to_numpy()).sum().to_numpy()
    return float(np.sqrt((sums**2).sum()))
