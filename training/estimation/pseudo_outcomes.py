"""Doubly robust pseudo-outcomes: what a support is worth against none, for each episode,
cross-fitted.

For support s, with outcome models m_s, m_0 and propensities e_s, e_0 that never saw the student's
own fold: psi_s = m_s - m_0 + 1[T=s](Y - m_s)/e_s - 1[T=none](Y - m_0)/e_0. Its mean given the
features is the benefit when either the outcome model or the propensity is right. Source: Kennedy
(2023), "Towards optimal doubly robust estimation of heterogeneous causal effects", Electronic
Journal of Statistics 17(2); weights as in Nie & Wager (2021).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
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
"""The choice of no support."""

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
    outcome: FloatArray
    """Expected outcome, of the same shape as `propensity`."""

    noise: float
    """Standard deviation of the outcome around what was expected of what was chosen."""


@dataclass(frozen=True)
class CrossFit:
    """Models by fold, how many trees of them count, and what those say of the rows that their model
    did not see: a mean, a chance or, shape (n, classes), chances.
    """

    models: dict[int, lgb.Booster]
    trees: int
    unseen: FloatArray


def assign_folds(students: pd.Series, n_folds: int, seed: int) -> NDArray[np.intp]:
    """The fold of each episode, by student, so that nobody's own outcome trains what judges
    them.
    """
    codes, uniques = pd.factorize(students, sort=True)
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
    smallest_propensity: float = MIN_PROPENSITY,
) -> PseudoOutcomes:
    """Cross-fitted pseudo-outcomes of every support for every episode. Episodes with another
    support inform nothing.

    How many trees the models have is chosen by how well they foretell the folds that they did not
    see, so that a small past does not get propensities that are surer than it can know.
    """
    names = (NONE, *supports)
    treatment = np.asarray(pd.Categorical(support, categories=names).codes, dtype=np.intp)
    rows = features.to_numpy(dtype="float64")
    target = outcome.to_numpy(dtype="float64")
    given = append_treatment_dummies(rows, treatment, len(names))
    chances = cross_fit(
        _PROPENSITY | {"num_class": len(names), "seed": seed},
        rows,
        treatment,
        folds,
        _PROPENSITY_TREES,
    )
    propensity = np.clip(chances.unseen, smallest_propensity, 1.0)
    followed = cross_fit(_OUTCOME | {"seed": seed}, given, target, folds, _OUTCOME_TREES)
    expected = np.zeros((len(rows), len(names)))

    def expect(which: tuple[int, int]) -> None:
        place, fold = which
        judged = folds == fold
        asked = append_treatment_dummies(rows[judged], np.full(judged.sum(), place), len(names))
        expected[judged, place] = followed.models[fold].predict(
            asked, num_iteration=followed.trees, **ONE_THREAD
        )

    parallel_map(expect, [(place, fold) for place in range(len(names)) for fold in followed.models])
    untreated = (treatment == 0) * (target - expected[:, 0]) / propensity[:, 0]
    treated = np.eye(len(names))[treatment] * (target[:, None] - expected) / propensity
    values = expected[:, 1:] - expected[:, :1] + treated[:, 1:] - untreated[:, None]
    weights = 1.0 / (1.0 / propensity[:, 1:] + 1.0 / propensity[:, :1])
    noise = float(np.sqrt(((target - followed.unseen) ** 2).mean()))
    return PseudoOutcomes(supports, values, weights, propensity, expected, noise)


def cross_fit(
    parameters: Mapping[str, Any],
    rows: FloatArray,
    target: NDArray[Any],
    folds: NDArray[np.intp],
    counts: Sequence[int],
    usable: BoolArray | None = None,
) -> CrossFit:
    """A LightGBM model for each fold, learned from the usable rows of the others.

    All have as many trees, the one of `counts` with which they foretell best the usable rows that
    they did not see. Once two counts in a row foretold worse than the best, no more trees are
    grown.

    Args:
        target: for the objective "multiclass" the place of the class, for "binary" zero or one.
    """
    used = np.ones(len(folds), dtype=bool) if usable is None else usable

    def growing(fold: int) -> StagedBooster:
        train = used & (folds != fold)
        sized = _sized(parameters, train)
        return StagedBooster(
            sized, lgb.Dataset(rows[train], target[train], params=sized), rows[folds == fold]
        )

    models = {int(fold): growing(int(fold)) for fold in np.unique(folds)}

    def grow(count: int) -> FloatArray:
        return _together(parallel_map(methodcaller("grow", count), models.values()), folds, models)

    trees, unseen = select_rounds(
        counts, grow, lambda said: _missed(parameters["objective"], said[used], target[used])
    )
    return CrossFit({fold: one.model for fold, one in models.items()}, trees, unseen)


def _together(
    parts: Sequence[FloatArray], folds: NDArray[np.intp], counted: Iterable[int]
) -> FloatArray:
    """What the folds' models say of the rows that they did not see."""
    whole = np.zeros((len(folds), *parts[0].shape[1:]))
    for fold, own in zip(counted, parts, strict=True):
        whole[folds == fold] = own
    return whole


def _missed(objective: str, said: FloatArray, target: NDArray[Any]) -> float:
    """How far predictions are from what came: squared error, or the surprise at a choice."""
    if objective == "regression":
        return float(((target - said) ** 2).mean())
    binary = objective == "binary"
    chance = np.where(target > 0, said, 1 - said) if binary else said[np.arange(len(said)), target]
    return float(-np.log(np.maximum(chance, 1e-6)).mean())


def _sized(parameters: Mapping[str, Any], train: BoolArray) -> dict[str, Any]:
    """The same with leaves that a small past can fill."""
    return dict(parameters) | {"min_data_in_leaf": max(10, min(100, int(train.sum()) // 100))}


def append_treatment_dummies(
    rows: FloatArray, treatment: NDArray[np.integer], count: int
) -> FloatArray:
    """Rows with a column of zeros and ones for each action but the first, shape (n, features +
    count - 1).
    """
    return np.hstack([rows, np.eye(count)[treatment][:, 1:]])
