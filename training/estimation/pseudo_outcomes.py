"""Doubly robust pseudo-outcomes: what a support is worth against none, per episode.

For support s, with outcome models m_s, m_0 and propensities e_s, e_0 that never saw the student's
own fold: psi_s = m_s - m_0 + 1[T=s](Y - m_s)/e_s - 1[T=none](Y - m_0)/e_0. Its mean given the
features is the benefit when either the outcome model or the propensity is right. Source: Kennedy
(2023), "Towards optimal doubly robust estimation of heterogeneous causal effects", Electronic
Journal of Statistics 17(2); weights as in Nie & Wager (2021).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from operator import methodcaller
from typing import Any

import lightgbm as lgb
import numpy as np
import pandas as pd
from numpy.typing import NDArray

from training.estimation.arrays import BoolArray, FloatArray
from training.estimation.early_stopping import StagedBooster, select_rounds
from training.estimation.parallel import ONE_THREAD, parallel_map

NONE = "none"
"""The action of no support."""

MIN_PROPENSITY = 0.01
_PROPENSITY_TREES = (5, 10, 20, 35, 50, 75, 100, 150)
_OUTCOME_TREES = (20, 40, 80, 120, 180, 250)
_PROPENSITY = {
    "objective": "multiclass",
    "num_leaves": 8,
    "max_depth": 3,
    "lambda_l2": 5.0,
    "verbosity": -1,
    "learning_rate": 0.1,
    "deterministic": True,
    "force_row_wise": True,
} | ONE_THREAD
_OUTCOME = {
    "objective": "regression",
    "num_leaves": 15,
    "lambda_l2": 5.0,
    "learning_rate": 0.06,
    "verbosity": -1,
    "deterministic": True,
    "force_row_wise": True,
} | ONE_THREAD


@dataclass(frozen=True)
class PseudoOutcomes:
    """Arrays of shape (episodes, supports): the pseudo-outcome and the precision weight of each."""

    supports: tuple[str, ...]
    values: FloatArray
    weights: FloatArray
    propensity: FloatArray
    """Shape (episodes, 1 + supports); the first column is that of no support."""
    expected_outcome: FloatArray
    """The outcome model's prediction for each action, of the same shape as `propensity`."""

    residual_sd: float
    """Standard deviation of the outcome around the prediction for the action that was taken."""


@dataclass(frozen=True)
class CrossFit:
    """Models by fold, how many of their trees count, and their out-of-fold predictions.

    Predictions are means, probabilities or, shape (n, classes), probabilities.
    """

    models: dict[int, lgb.Booster]
    trees: int
    out_of_fold: FloatArray


def assign_folds(clusters: pd.Series, n_folds: int, seed: int) -> NDArray[np.intp]:
    """The fold of each episode, shape (n,): all episodes of one cluster share a fold."""
    codes, uniques = pd.factorize(clusters, sort=True)
    shuffled = np.random.default_rng(seed).permutation(len(uniques))
    folds: NDArray[np.intp] = (shuffled[codes] % n_folds).astype(np.intp)
    return folds


def pseudo_outcomes(
    features: pd.DataFrame,
    support: pd.Series,
    outcome: pd.Series,
    supports: tuple[str, ...],
    folds: NDArray[np.intp],
    seed: int,
    min_propensity: float = MIN_PROPENSITY,
) -> PseudoOutcomes:
    """Cross-fitted pseudo-outcomes of every support for every episode.

    Episodes with another support inform nothing.

    The number of trees is the one that predicts the other folds best, so that a small past does not
    get propensities more certain than it can know.

    Args:
        features: what was known on the decision day, shape (episodes, features).
        support: what was chosen: "none" or a support.
        outcome: what followed, in progress points.
        supports: the supports to estimate.
        folds: the fold of each episode (`assign_folds`).
        min_propensity: propensities below this are raised to it.
    """
    actions = (NONE, *supports)
    taken = np.asarray(pd.Categorical(support, categories=actions).codes, dtype=np.intp)
    rows = features.to_numpy(dtype="float64")
    target = outcome.to_numpy(dtype="float64")
    propensity_fit = cross_fit(
        _PROPENSITY | {"num_class": len(actions), "seed": seed},
        rows,
        taken,
        folds,
        _PROPENSITY_TREES,
    )
    propensity = np.clip(propensity_fit.out_of_fold, min_propensity, 1.0)
    inputs = append_treatment_dummies(rows, taken, len(actions))
    outcome_fit = cross_fit(_OUTCOME | {"seed": seed}, inputs, target, folds, _OUTCOME_TREES)
    expected = _expected_by_action(outcome_fit, rows, folds, len(actions))

    residual = target[:, None] - expected
    correction_none = (taken == 0) * residual[:, 0] / propensity[:, 0]
    correction = np.eye(len(actions))[taken] * residual / propensity
    values = expected[:, 1:] - expected[:, :1] + correction[:, 1:] - correction_none[:, None]
    # The inverse of the variance that the two propensities alone give a pseudo-outcome.
    weights = 1.0 / (1.0 / propensity[:, 1:] + 1.0 / propensity[:, :1])
    residual_sd = float(np.sqrt(((target - outcome_fit.out_of_fold) ** 2).mean()))
    return PseudoOutcomes(supports, values, weights, propensity, expected, residual_sd)


def cross_fit(
    parameters: Mapping[str, Any],
    rows: FloatArray,
    target: NDArray[Any],
    folds: NDArray[np.intp],
    counts: Sequence[int],
    usable: BoolArray | None = None,
) -> CrossFit:
    """A LightGBM model for each fold, trained on the usable rows of the others.

    All have the same number of trees: the one of `counts` that predicts the usable out-of-fold rows
    best. Once two counts in a row were worse than the best, no more trees are added.

    Args:
        rows: inputs, shape (n, features).
        target: what to predict, shape (n,): for the objective "multiclass" the index of the class,
            for "binary" zero or one.
        folds: the fold of each row, shape (n,).
        usable: rows to train and to evaluate on, shape (n,); by default all.
    """
    is_usable = np.ones(len(folds), dtype=bool) if usable is None else usable

    def staged_booster(fold: int) -> StagedBooster:
        train = is_usable & (folds != fold)
        sized = _with_leaf_size(parameters, train)
        return StagedBooster(
            sized, lgb.Dataset(rows[train], target[train], params=sized), rows[folds == fold]
        )

    boosters = {int(fold): staged_booster(int(fold)) for fold in np.unique(folds)}

    def predict_with(n_trees: int) -> FloatArray:
        by_fold = parallel_map(methodcaller("predict_with", n_trees), boosters.values())
        return _merged_folds(by_fold, folds, boosters)

    def loss(predictions: FloatArray) -> float:
        return _loss(parameters["objective"], predictions[is_usable], target[is_usable])

    trees, out_of_fold = select_rounds(counts, predict_with, loss)
    models = {fold: booster.model for fold, booster in boosters.items()}
    return CrossFit(models, trees, out_of_fold)


def append_treatment_dummies(
    rows: FloatArray, treatment: NDArray[np.integer], count: int
) -> FloatArray:
    """Rows with a 0/1 column for each action but the first, shape (n, features + count - 1)."""
    return np.hstack([rows, np.eye(count)[treatment][:, 1:]])


def _expected_by_action(
    fit: CrossFit, rows: FloatArray, folds: NDArray[np.intp], n_actions: int
) -> FloatArray:
    """What each row's out-of-fold outcome model predicts for each action, shape (n, actions)."""

    def predict(action_and_fold: tuple[int, int]) -> tuple[int, BoolArray, FloatArray]:
        action, fold = action_and_fold
        held_out = folds == fold
        inputs = append_treatment_dummies(
            rows[held_out], np.full(held_out.sum(), action), n_actions
        )
        predictions = fit.models[fold].predict(inputs, num_iteration=fit.trees, **ONE_THREAD)
        return action, held_out, np.asarray(predictions)

    expected = np.zeros((len(rows), n_actions))
    for action, held_out, predictions in parallel_map(
        predict, product(range(n_actions), fit.models)
    ):
        expected[held_out, action] = predictions
    return expected


def _merged_folds(
    predictions: Sequence[FloatArray], folds: NDArray[np.intp], fold_order: Iterable[int]
) -> FloatArray:
    """Predictions by fold, put together in the order of the rows."""
    merged = np.zeros((len(folds), *predictions[0].shape[1:]))
    for fold, fold_predictions in zip(fold_order, predictions, strict=True):
        merged[folds == fold] = fold_predictions
    return merged


def _loss(objective: str, predictions: FloatArray, target: NDArray[Any]) -> float:
    """Mean squared error, or mean negative log-likelihood."""
    if objective == "regression":
        return float(((target - predictions) ** 2).mean())
    if objective == "binary":
        likelihood = np.where(target > 0, predictions, 1 - predictions)
    else:
        likelihood = predictions[np.arange(len(predictions)), target]
    return float(-np.log(np.maximum(likelihood, 1e-6)).mean())


def _with_leaf_size(parameters: Mapping[str, Any], train: BoolArray) -> dict[str, Any]:
    """The parameters with leaves that a small past can fill: a hundredth of the rows, 10 to 100."""
    return dict(parameters) | {"min_data_in_leaf": max(10, min(100, int(train.sum()) // 100))}
