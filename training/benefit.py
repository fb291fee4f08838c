"""Doubly robust pseudo-outcomes: what a support is worth against none, for each episode, cross-fitted.

For support s, with outcome models m_s, m_0 and propensities e_s, e_0 that never saw the student's own fold:
psi_s = m_s - m_0 + 1[T=s](Y - m_s)/e_s - 1[T=none](Y - m_0)/e_0. Its mean given the features is the benefit when
either the outcome model or the propensity is right. Source: Kennedy (2023), "Towards optimal doubly robust estimation
of heterogeneous causal effects", Electronic Journal of Statistics 17(2); weights as in Nie & Wager (2021).
"""

from __future__ import annotations

from dataclasses import dataclass

import lightgbm as lgb
import numpy as np
import pandas as pd
from numpy.typing import NDArray

from training.episodes import NONE
from training.parallel import ONE_THREAD, side_by_side

Floats = NDArray[np.float64]
Flags = NDArray[np.bool_]
SMALLEST_PROPENSITY = 0.01
_PROPENSITY = {"objective": "multiclass", "num_leaves": 8, "max_depth": 3, "min_data_in_leaf": 100, "verbosity": -1,
               "learning_rate": 0.1, "deterministic": True, "force_row_wise": True} | ONE_THREAD  # fmt: skip
_OUTCOME = {"objective": "regression", "num_leaves": 15, "min_data_in_leaf": 100, "learning_rate": 0.08,
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


def folds_of(students: pd.Series, n_folds: int, seed: int) -> NDArray[np.intp]:
    """The fold of each episode, by student, so that nobody's own outcome trains what judges them."""
    codes, uniques = pd.factorize(students, sort=True)
    shuffled = np.random.default_rng(seed).permutation(len(uniques))
    folds: NDArray[np.intp] = (shuffled[codes] % n_folds).astype(np.intp)
    return folds


def pseudo_outcomes(features: pd.DataFrame, support: pd.Series, outcome: pd.Series, supports: tuple[str, ...],
                    folds: NDArray[np.intp], seed: int) -> PseudoOutcomes:  # fmt: skip
    """Cross-fitted pseudo-outcomes of every support for every episode. Episodes with another support inform nothing."""
    names = (NONE, *supports)
    treatment = pd.Categorical(support, categories=names).codes
    rows = features.to_numpy(dtype="float64")
    target = outcome.to_numpy(dtype="float64")
    propensity, expected = np.zeros((len(rows), len(names))), np.zeros((len(rows), len(names)))

    def judge(fold: int) -> None:
        train, judged = folds != fold, folds == fold
        chooser = lgb.train(_PROPENSITY | {"num_class": len(names), "seed": seed},
                            lgb.Dataset(rows[train], treatment[train]), 50)  # fmt: skip
        propensity[judged] = chooser.predict(rows[judged], **ONE_THREAD)
        model = lgb.train(_OUTCOME | {"seed": seed}, lgb.Dataset(_with(rows, treatment, len(names))[train],
                                                                 target[train]), 120)  # fmt: skip
        for place in range(len(names)):
            given = _with(rows[judged], np.full(judged.sum(), place), len(names))
            expected[judged, place] = model.predict(given, **ONE_THREAD)

    side_by_side(judge, np.unique(folds).tolist())
    propensity = np.clip(propensity, SMALLEST_PROPENSITY, 1.0)
    untreated = (treatment == 0) * (target - expected[:, 0]) / propensity[:, 0]
    treated = np.eye(len(names))[treatment] * (target[:, None] - expected) / propensity
    values = expected[:, 1:] - expected[:, :1] + treated[:, 1:] - untreated[:, None]
    weights = 1.0 / (1.0 / propensity[:, 1:] + 1.0 / propensity[:, :1])
    return PseudoOutcomes(supports, values, weights, propensity, expected)


def _with(rows: Floats, treatment: NDArray[np.integer], count: int) -> Floats:
    return np.hstack([rows, np.eye(count)[treatment][:, 1:]])
