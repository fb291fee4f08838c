"""Doubly robust pseudo-outcomes: what a support is worth against none, for each episode, cross-fitted.

For support s, with outcome models m_s, m_0 and propensities e_s, e_0 that never saw the student's own fold:
psi_s = m_s - m_0 + 1[T=s](Y - m_s)/e_s - 1[T=none](Y - m_0)/e_0. Its mean given the features is the benefit when
either the outcome model or the propensity is right. Source: Kennedy (2023), "Towards optimal doubly robust estimation
of heterogeneous causal effects", Electronic Journal of Statistics 17(2); weights as in Nie & Wager (2021).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import lightgbm as lgb
import numpy as np
import pandas as pd
from numpy.typing import NDArray

from training.parallel import ONE_THREAD, side_by_side

NONE = "none"
"""The choice of no support."""

Floats = NDArray[np.float64]
Flags = NDArray[np.bool_]
SMALLEST_PROPENSITY = 0.01
_PROPENSITY_TREES = (5, 10, 20, 35, 50, 75, 100, 150)
_OUTCOME_TREES = (20, 40, 80, 120, 180, 250)
_PROPENSITY = {"objective": "multiclass", "num_leaves": 8, "max_depth": 3, "lambda_l2": 5.0, "verbosity": -1,
               "learning_rate": 0.1, "deterministic": True, "force_row_wise": True} | ONE_THREAD  # fmt: skip
_OUTCOME = {"objective": "regression", "num_leaves": 15, "lambda_l2": 5.0, "learning_rate": 0.06,
            "verbosity": -1, "deterministic": True, "force_row_wise": True} | ONE_THREAD  # fmt: skip


@dataclass(frozen=True)
class PseudoOutcomes:
    """Arrays of shape (episodes, supports): the pseudo-outcome and the precision weight of each."""

    supports: tuple[str, ...]
    values: Floats
    weights: Floats
    propensity: Floats
    """Shape (episodes, 1 + supports); the first column is that of no support."""
    outcome: Floats
    """Expected outcome, of the same shape as `propensity`."""

    noise: float
    """Standard deviation of the outcome around what was expected of what was chosen."""


def folds_of(students: pd.Series, n_folds: int, seed: int) -> NDArray[np.intp]:
    """The fold of each episode, by student, so that nobody's own outcome trains what judges them."""
    codes, uniques = pd.factorize(students, sort=True)
    shuffled = np.random.default_rng(seed).permutation(len(uniques))
    folds: NDArray[np.intp] = (shuffled[codes] % n_folds).astype(np.intp)
    return folds


def pseudo_outcomes(features: pd.DataFrame, support: pd.Series, outcome: pd.Series, supports: tuple[str, ...],
                    folds: NDArray[np.intp], seed: int,
                    smallest_propensity: float = SMALLEST_PROPENSITY) -> PseudoOutcomes:  # fmt: skip
    """Cross-fitted pseudo-outcomes of every support for every episode. Episodes with another support inform nothing.

    How many trees the models have is chosen by how well they foretell the folds that they did not see, so that a small
    past does not get propensities that are surer than it can know.
    """
    names = (NONE, *supports)
    treatment = np.asarray(pd.Categorical(support, categories=names).codes, dtype=np.intp)
    rows = features.to_numpy(dtype="float64")
    target = outcome.to_numpy(dtype="float64")
    given = with_flags(rows, treatment, len(names))
    _, chances = cross_fitted(_PROPENSITY | {"num_class": len(names), "seed": seed}, rows, treatment, folds,
                              _PROPENSITY_TREES)  # fmt: skip
    at = np.arange(len(rows))
    surprise = [-np.log(np.maximum(found[at, treatment], 1e-6)).mean() for found in chances]
    propensity = np.clip(chances[int(np.argmin(surprise))], smallest_propensity, 1.0)
    followers, followed = cross_fitted(_OUTCOME | {"seed": seed}, given, target, folds, _OUTCOME_TREES)
    misses = [((target - found) ** 2).mean() for found in followed]
    trees = _OUTCOME_TREES[int(np.argmin(misses))]
    expected = np.zeros((len(rows), len(names)))

    def expect(which: tuple[int, int]) -> None:
        place, fold = which
        judged = folds == fold
        asked = with_flags(rows[judged], np.full(judged.sum(), place), len(names))
        expected[judged, place] = followers[fold].predict(asked, num_iteration=trees, **ONE_THREAD)

    side_by_side(expect, [(place, fold) for place in range(len(names)) for fold in followers])
    untreated = (treatment == 0) * (target - expected[:, 0]) / propensity[:, 0]
    treated = np.eye(len(names))[treatment] * (target[:, None] - expected) / propensity
    values = expected[:, 1:] - expected[:, :1] + treated[:, 1:] - untreated[:, None]
    weights = 1.0 / (1.0 / propensity[:, 1:] + 1.0 / propensity[:, :1])
    noise = float(np.sqrt(min(misses)))
    return PseudoOutcomes(supports, values, weights, propensity, expected, noise)


def cross_fitted(parameters: Mapping[str, Any], rows: Floats, target: NDArray[Any], folds: NDArray[np.intp],
                 counts: Sequence[int],
                 usable: Flags | None = None) -> tuple[dict[int, lgb.Booster], list[Floats]]:  # fmt: skip
    """A LightGBM model for each fold, learned from the usable rows of the others, with as many trees as the last count.

    Returns:
        The models by fold; and for each count of trees what the models say of the rows that they did not see, shape
        (n,) or (n, classes).
    """
    counted = np.unique(folds).tolist()
    used = np.ones(len(folds), dtype=bool) if usable is None else usable

    def fit(fold: int) -> tuple[lgb.Booster, list[Floats]]:
        train, judged = used & (folds != fold), folds == fold
        model = lgb.train(_sized(parameters, train), lgb.Dataset(rows[train], target[train]), counts[-1])
        return model, by_trees(model, rows[judged], counts)

    fitted = side_by_side(fit, counted)
    models = {fold: model for fold, (model, _) in zip(counted, fitted, strict=True)}
    return models, _together([said for _, said in fitted], folds, counted)


def by_trees(model: lgb.Booster, rows: Floats, counts: Sequence[int]) -> list[Floats]:
    """Predictions of the first so many trees, for each count. A booster remembers the count that it was last asked for:
    nobody else may ask it meanwhile."""
    return [np.asarray(model.predict(rows, num_iteration=trees, **ONE_THREAD)) for trees in counts]


def _together(parts: list[list[Floats]], folds: NDArray[np.intp], counted: list[int]) -> list[Floats]:
    """For each count of trees, what the folds' models say of the rows that they did not see."""
    found = []
    for said in zip(*parts, strict=True):
        whole = np.zeros((len(folds), *said[0].shape[1:]))
        for fold, own in zip(counted, said, strict=True):
            whole[folds == fold] = own
        found.append(whole)
    return found


def _sized(parameters: Mapping[str, Any], train: Flags) -> dict[str, Any]:
    """The same with leaves that a small past can fill."""
    return dict(parameters) | {"min_data_in_leaf": max(10, min(100, int(train.sum()) // 100))}


def with_flags(rows: Floats, treatment: NDArray[np.integer], count: int) -> Floats:
    """Rows with a column of zeros and ones for each action but the first, shape (n, features + count - 1)."""
    return np.hstack([rows, np.eye(count)[treatment][:, 1:]])
