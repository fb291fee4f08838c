"""The benefit ranker: for each support, the benefit expected of it for a student, and how far that is sure.

A scikit-learn estimator. Each support has one small LightGBM model a fold, trained on doubly robust pseudo-outcomes
with whole groups of features left out at random ("scope dropout"), so that it serves a viewer who may see only some.
The models differ in the fold of students that they never saw; their spread gives the interval (delete-a-group
jackknife: Kott (2001), Journal of Official Statistics 17(4)).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import lightgbm as lgb
import numpy as np
import pandas as pd
from numpy.typing import NDArray
from sklearn.base import BaseEstimator

from features.catalog import BY_NAME
from training.benefit import Floats, folds_of, pseudo_outcomes
from training.episodes import NONE
from training.parallel import ONE_THREAD, side_by_side

Z_90 = 1.645
"""Lower and upper bounds are those of a 90% interval: one in twenty true benefits lies below the lower one."""
FEWEST_IN_A_LEAF = 10
"""Real episodes behind each leaf of a model file, at least (R58)."""


class Benefit(NamedTuple):
    """Expected benefit of one support in progress points: arrays of shape (students,)."""

    mean: Floats
    lower: Floats
    upper: Floats


class BenefitRanker(BaseEstimator):  # type: ignore[misc]
    """Expected benefit of supports in progress points.

    Args:
        supports: the supports to learn; episodes with another are left out.
        n_folds: folds of students, and models a support.
        scope_dropout: chance that a group of features (a data category) is missing in the second copy of a row.
        min_leaf: fewest training rows in a leaf, both copies counted: half as many real episodes (R58).
        most_untreated: untreated episodes kept for each treated one.
    """

    def __init__(self, supports: tuple[str, ...] = (), n_folds: int = 5, scope_dropout: float = 0.35,
                 min_leaf: int = 400, rounds: int = 80, most_untreated: float = 3.0,
                 random_state: int = 0) -> None:  # fmt: skip
        self.supports = supports
        self.n_folds = n_folds
        self.scope_dropout = scope_dropout
        self.min_leaf = min_leaf
        self.rounds = rounds
        self.most_untreated = most_untreated
        self.random_state = random_state

    def fit(self, X: pd.DataFrame, support: pd.Series, outcome: pd.Series, groups: pd.Series) -> BenefitRanker:
        """Learn from episodes: features (float64 by name), support chosen ("none" or one), outcome, student.

        Raises:
            ValueError: `min_leaf` would let a leaf of the model stand for fewer than ten episodes.
        """
        if self.min_leaf < 2 * FEWEST_IN_A_LEAF:
            raise ValueError(f"min_leaf is {self.min_leaf}; it must be {2 * FEWEST_IN_A_LEAF} or more (R58)")
        rng = np.random.default_rng(self.random_state)
        kept = self._kept(support, rng)
        X = coarsened(X.iloc[kept].reset_index(drop=True))
        support, outcome, groups = (part.iloc[kept].reset_index(drop=True) for part in (support, outcome, groups))
        self.feature_names_ = [str(name) for name in X.columns]
        folds = folds_of(groups, self.n_folds, self.random_state)
        found = pseudo_outcomes(X, support, outcome, self.supports, folds, self.random_state)
        rows = X.to_numpy(dtype="float64")
        masked = self._masked(rows, rng)

        def model(which: tuple[int, int]) -> lgb.Booster:
            place, fold = which
            values, weights = _winsorized(found.values[:, place]), found.weights[:, place]
            return self._model(rows, masked, values, weights, folds != fold)

        fits = [(place, fold) for place in range(len(self.supports)) for fold in range(self.n_folds)]
        fitted = iter(side_by_side(model, fits))
        self.models_ = {name: [next(fitted) for _ in range(self.n_folds)] for name in self.supports}
        return self

    def predict_benefit(self, X: pd.DataFrame) -> dict[str, Benefit]:
        """The benefit of each support. A column of X that is missing throughout is a category that may not be seen."""
        rows = self._rows(X)
        return {name: interval([np.asarray(model.predict(rows, **ONE_THREAD)) for model in models])
                for name, models in self.models_.items()}  # fmt: skip

    def contributions(self, X: pd.DataFrame, support: str) -> tuple[Floats, Floats]:
        """TreeSHAP of the mean benefit of one support: base (students,) and contributions (students, features).

        Base plus contributions is the mean of `predict_benefit` to rounding. Source: Lundberg et al. (2020), Nature
        Machine Intelligence 2, as LightGBM computes it.
        """
        rows = self._rows(X)
        parts = [np.asarray(model.predict(rows, pred_contrib=True, **ONE_THREAD)) for model in self.models_[support]]
        mean = np.mean(parts, axis=0)
        return mean[:, -1], mean[:, :-1]

    def model_texts(self) -> dict[str, list[str]]:
        """Every model as LightGBM's own text."""
        return {name: [model.model_to_string() for model in models] for name, models in self.models_.items()}

    @classmethod
    def from_texts(cls, feature_names: Sequence[str], texts: Mapping[str, Sequence[str]]) -> BenefitRanker:
        """A fitted ranker from LightGBM's texts. Parse only bytes whose digest was checked: a damaged text can kill
        the process."""
        ranker = cls(supports=tuple(texts))
        ranker.feature_names_ = list(feature_names)
        ranker.models_ = {name: [lgb.Booster(model_str=text) for text in models] for name, models in texts.items()}
        return ranker

    def _rows(self, X: pd.DataFrame) -> Floats:
        rows: Floats = X[self.feature_names_].to_numpy(dtype="float64")
        return rows

    def _kept(self, support: pd.Series, rng: np.random.Generator) -> NDArray[np.intp]:
        treated = np.flatnonzero(support.isin(self.supports))
        untreated = np.flatnonzero(support == NONE)
        count = min(len(untreated), int(self.most_untreated * len(treated)))
        return np.sort(np.concatenate([treated, rng.choice(untreated, count, replace=False)])).astype(np.intp)

    def _masked(self, rows: Floats, rng: np.random.Generator) -> Floats:
        masked = rows.copy()
        categories = [BY_NAME[name].category for name in self.feature_names_]
        for category in sorted(set(categories)):
            places = np.flatnonzero([found is category for found in categories])
            dropped = np.flatnonzero(rng.random(len(rows)) < self.scope_dropout)
            masked[np.ix_(dropped, places)] = np.nan
        return masked

    def _model(self, rows: Floats, masked: Floats, values: Floats, weights: Floats,
               train: NDArray[np.bool_]) -> lgb.Booster:  # fmt: skip
        data = lgb.Dataset(np.vstack([rows[train], masked[train]]), np.tile(values[train], 2),
                           weight=np.tile(weights[train], 2), feature_name=self.feature_names_)  # fmt: skip
        parameters = {
            "objective": "regression", "num_leaves": 6, "max_depth": 3, "min_data_in_leaf": self.min_leaf,
            "learning_rate": 0.05, "lambda_l2": 20.0, "verbosity": -1, "seed": self.random_state,
            "deterministic": True, "force_row_wise": True, **ONE_THREAD,
        }  # fmt: skip
        return lgb.train(parameters, data, self.rounds)


def interval(predictions: list[Floats]) -> Benefit:
    """Mean, lower and upper of the fold models' predictions."""
    stacked = np.vstack(predictions)
    mean = stacked.mean(axis=0)
    count = len(predictions)
    spread = np.sqrt((count - 1) / count * ((stacked - mean) ** 2).sum(axis=0))
    return Benefit(mean, mean - Z_90 * spread, mean + Z_90 * spread)


def coarsened(X: pd.DataFrame) -> pd.DataFrame:
    """Values as a model may remember them: no extremes of single students, shares to a hundredth, else whole numbers.

    A model file holds thresholds and ranges of its training data (R58).
    """
    columns = {}
    for name in X.columns:
        values = X[name].astype("float64")
        low, high = float(values.quantile(0.005)), float(values.quantile(0.995))
        digits = 2 if BY_NAME[str(name)].unit.startswith("share") else 0
        columns[name] = values.clip(low, high).round(digits)
    return pd.DataFrame(columns, index=X.index)


def _winsorized(values: Floats) -> Floats:
    low, high = np.quantile(values, [0.002, 0.998])
    clipped: Floats = np.clip(values, low, high)
    return clipped
