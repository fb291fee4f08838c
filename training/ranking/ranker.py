"""The benefit ranker: for each support, the benefit expected of it for a student, and how far that
is sure.

A scikit-learn estimator. Each support has one LightGBM model a fold, trained on doubly robust
pseudo-outcomes with whole groups of features left out at random ("scope dropout"), so that it
serves a viewer who may see only some. A model learns what each feature adds by itself first, and
what features add together only afterwards, on what is left and where unseen folds bear it: with
outcomes as noisy as a child's term, main effects are what can mostly be learned, and interactions
mislead early. Before both stands what the chance of having been chosen foretells
(`training.estimation.propensity_trend`). All three together are then put into one model of the
features, which is what serves, explains and is kept.

What a support is worth on average is shrunk toward what supports are worth on the whole (empirical
Bayes), so that a rare one borrows strength; how far students differ is shrunk by how well the folds
predicted episodes that they had not seen. The models differ in the fold of students that they never
saw; their spread gives the interval (delete-a-group jackknife: Kott (2001), Journal of Official
Statistics 17(4)).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import product
from numbers import Integral
from operator import methodcaller

import lightgbm as lgb
import numpy as np
import pandas as pd
from numpy.typing import NDArray
from sklearn.base import BaseEstimator
from sklearn.utils import Tags, check_random_state
from sklearn.utils.validation import check_is_fitted, validate_data

from features.catalog import FEATURES_BY_NAME
from training.estimation.arrays import BoolArray, FloatArray
from training.estimation.early_stopping import StagedBooster, select_rounds
from training.estimation.parallel import ONE_THREAD, parallel_map
from training.estimation.propensity_trend import propensity_log_odds, propensity_trend
from training.estimation.pseudo_outcomes import NONE, PseudoOutcomes, assign_folds, pseudo_outcomes
from training.ranking.binned_rows import _Binned
from training.ranking.calibration import (
    Benefit,
    Calibration,
    _james_stein_factor,
    benefit_interval,
    error_reduction,
    fit_calibration,
)
from training.ranking.coarsening import coarsen

SMALLEST_BENEFIT = 1.0
"""Progress points; a district sets its own in `outcome.toml`."""
MIN_LEAF = 10
"""Real episodes behind each leaf of a model file, at least (R58)."""
_SMALLEST_PROPENSITY = 0.002
"""The precision weights take care of small chances; a higher floor would bias what is learned of a
rare support."""

_MAIN_EFFECTS = {
    "num_leaves": 2,
    "max_depth": 1,
    "learning_rate": 0.05,
    "lambda_l2": 20.0,
    "feature_fraction": 0.5,
    "extra_trees": True,
}
"""What each feature adds by itself. Thresholds drawn at random smooth."""
_INTERACTIONS = {
    "num_leaves": 8,
    "max_depth": 4,
    "learning_rate": 0.08,
    "lambda_l2": 20.0,
    "feature_fraction": 0.7,
}
"""What features add together. Here thresholds are sought: the first split of a pair may gain
nothing by itself, and a random one would be no place for the second."""
_DISTILL_ADDITIVE = {
    "num_leaves": 4,
    "max_depth": 2,
    "learning_rate": 0.15,
    "feature_fraction": 0.7,
    "extra_trees": True,
}
"""How the one model of the features is grown, that line and trees are put into: they hold no noise,
so there is none to fit. Where a group of features is missing, it gives what is learned of such
students on average."""
_DISTILL_FULL = {"num_leaves": 8, "max_depth": 4, "learning_rate": 0.15, "feature_fraction": 0.7}
"""The same where features add something together."""
_SMOOTH_TREES, _BENT_TREES = 140, 250
_SHARES_OF_ROUNDS = (0.05, 0.1, 0.2, 0.35, 0.5, 0.75, 1.0)

_USUAL_VALUE = 0.5
"""The share of episodes beyond which one value of the outcome is the usual one, and another an
event."""
_ALLOWED = {"dtype": "float64", "ensure_all_finite": "allow-nan"}


class BenefitRanker(BaseEstimator):  # type: ignore[misc]
    """Expected benefit of supports, in the unit of the outcome (progress points).

    Args:
        supports: the supports to learn; episodes with another are left out. By default all that
            occur.
        n_folds: folds of students, and models a support; two or more.
        scope_dropout: chance that a group of features (a data category) is missing in the second
            copy of a row.
        min_leaf: fewest real episodes in a leaf (R58); a small past uses a fortieth of its
            episodes, at least ten.
        rounds: trees of one split each, that learn what each feature adds by itself.
        interaction_rounds: trees of depth four after them, on what is left.
        most_untreated: untreated episodes kept for each treated one.
        feature_groups: the group of a feature by name, for scope dropout; by default its category
            in the catalog. A feature in no group is never left out.
        smallest_benefit: benefit below which a support is not worth a suggestion
            (`training.ranking.suggestions`); nothing is learned from it.
        random_state: equal seeds give equal models; a `numpy.random.RandomState` or None draws one.
            Which was used is `seed_`.
    """

    def __init__(
        self,
        supports: tuple[str, ...] | None = None,
        n_folds: int = 5,
        scope_dropout: float = 0.35,
        min_leaf: int = 250,
        rounds: int = 200,
        interaction_rounds: int = 150,
        most_untreated: float = 4.0,
        feature_groups: Mapping[str, str] | None = None,
        smallest_benefit: float = SMALLEST_BENEFIT,
        random_state: int | np.random.RandomState | None = 0,
    ) -> None:
        self.supports = supports
        self.n_folds = n_folds
        self.scope_dropout = scope_dropout
        self.min_leaf = min_leaf
        self.rounds = rounds
        self.interaction_rounds = interaction_rounds
        self.most_untreated = most_untreated
        self.feature_groups = feature_groups
        self.smallest_benefit = smallest_benefit
        self.random_state = random_state

    def fit(
        self,
        X: pd.DataFrame,
        y: pd.Series,
        support: pd.Series | None = None,
        groups: pd.Series | None = None,
    ) -> BenefitRanker:
        """Learn from episodes, one a row.

        Args:
            X: features, numbers by name, shape (episodes, features); NaN where unknown or out of
                scope.
            y: the outcome, higher is better.
            support: what was chosen: "none" or the name of a support.
            groups: the student, so that nobody's own outcome judges what was learned from it; by
                default each episode is somebody else's.

        Raises:
            ValueError: a column of X holds words, `min_leaf` would let a leaf of the model stand
                for fewer than ten episodes, there are fewer than two folds, `support` is missing,
                unknown in a row or of another length, nobody had a support or nobody had none, or
                there are fewer students than folds.
        """
        if self.min_leaf < MIN_LEAF:
            raise ValueError(f"min_leaf is {self.min_leaf}; it must be {MIN_LEAF} or more (R58)")
        if self.n_folds < 2:
            raise ValueError(
                f"n_folds is {self.n_folds}; nothing can be judged on unseen episodes with fewer"
                " than two"
            )
        if support is None:
            raise ValueError(
                "support is missing: say what was chosen in each episode, 'none' or a support"
            )
        self.seed_ = _seed(self.random_state)
        rng = np.random.default_rng(self.seed_)
        frame, support, outcome, groups = self._episodes(X, support, y, groups)
        names = (
            tuple(sorted(set(support) - {NONE})) if self.supports is None else tuple(self.supports)
        )
        _check_choices(support, names)
        kept = self._kept(support, names, rng)
        if groups.iloc[kept].nunique() < self.n_folds:
            raise ValueError(
                f"n_samples = {len(frame)}, with {groups.iloc[kept].nunique()} students to learn"
                f" from: {self.n_folds} folds need one each"
            )
        frame = coarsen(frame.iloc[kept].reset_index(drop=True))
        support, outcome, groups = (
            part.iloc[kept].reset_index(drop=True) for part in (support, outcome, groups)
        )
        self.feature_names_ = [str(name) for name in frame.columns]
        folds = assign_folds(groups, self.n_folds, self.seed_)
        found = pseudo_outcomes(
            frame, support, _winsorized(outcome), names, folds, self.seed_, _SMALLEST_PROPENSITY
        )
        rows = frame.to_numpy(dtype="float64")
        masked = self._masked(rows, rng)

        odds = propensity_log_odds(found.propensity)
        learned = [propensity_trend(found, odds, folds != fold) for fold in range(self.n_folds)]
        binned = parallel_map(
            lambda fold: self._binned(rows, masked, folds != fold), range(self.n_folds)
        )
        learned, alone = self._grown(
            learned, found, folds, groups, rows, binned, _MAIN_EFFECTS, _counts(self.rounds)
        )
        learned, together = self._grown(
            learned,
            found,
            folds,
            groups,
            rows,
            binned,
            _INTERACTIONS,
            _counts(self.interaction_rounds),
            doubted=True,
        )
        self.trees_ = (alone, together)

        whole = self._binned(rows, masked, np.ones(len(rows), dtype=bool))
        shape, trees = (
            (_DISTILL_FULL, _BENT_TREES) if together else (_DISTILL_ADDITIVE, _SMOOTH_TREES)
        )
        one = parallel_map(
            lambda which: whole.model(shape, trees, learned[which[1]][:, which[0]]),
            product(range(len(names)), range(self.n_folds)),
        )
        self.supports_ = names
        self.models_ = {
            name: one[place * self.n_folds :][: self.n_folds] for place, name in enumerate(names)
        }
        self.calibration_ = fit_calibration(names, found, _unseen(learned, folds), folds, groups)
        return self

    def _binned(self, rows: FloatArray, masked: FloatArray | None, kept: BoolArray) -> _Binned:
        """The rows that are kept, and their copies, in bins."""
        copies = [rows[kept]] if masked is None else [rows[kept], masked[kept]]
        return _Binned(copies, self.feature_names_, self._leaf(int(kept.sum())), self.seed_)

    def _grown(
        self,
        before: list[FloatArray],
        found: PseudoOutcomes,
        folds: NDArray[np.intp],
        groups: pd.Series,
        rows: FloatArray,
        binned: Sequence[_Binned],
        shape: Mapping[str, float],
        counts: Sequence[int],
        doubted: bool = False,
    ) -> tuple[list[FloatArray], int]:
        """Trees of one shape on what is left of the pseudo-outcomes, as many for all supports as
        foretell unseen episodes best, or none; and how many.

        Args:
            before: for each fold what was learned without it so far, of all episodes: shape
                (episodes, supports).
            binned: for each fold the rows of the others.
            doubted: only as much of what they say is kept as what they foretell is beyond chance.
        """
        known, judged = (
            _unseen(before, folds),
            [rows[folds == fold] for fold in range(self.n_folds)],
        )
        which = list(product(range(self.n_folds), range(known.shape[1])))

        def growing(one: tuple[int, int]) -> StagedBooster:
            fold, place = one
            others = folds != fold
            left = found.values[others, place] - before[fold][others, place]
            return binned[fold].growing(shape, left, found.weights[others, place], judged[fold])

        def grow(count: int) -> FloatArray:
            unseen = known.copy()
            if count:
                for (fold, place), more in zip(
                    which, parallel_map(methodcaller("grow", count), models), strict=True
                ):
                    unseen[folds == fold, place] += more
            return unseen

        def lessened(unseen: FloatArray) -> FloatArray:
            return error_reduction(found, unseen, folds, groups)

        models = parallel_map(growing, which) if counts else []
        trees, unseen = select_rounds(
            [0, *counts], grow, lambda unseen: -float(lessened(unseen).sum())
        )
        kept = _james_stein_factor(lessened(unseen) - lessened(known), groups) if doubted else 1.0
        if not trees or not kept:
            return before, 0
        after = [part.copy() for part in before]
        added = parallel_map(
            lambda one: one.model.predict(rows, num_iteration=trees, **ONE_THREAD), models
        )
        for (fold, place), one in zip(which, added, strict=True):
            after[fold][:, place] += kept * np.asarray(one)
        return after, trees

    def benefits(self, X: pd.DataFrame) -> dict[str, Benefit]:
        """The benefit of each support. A column of X that is missing throughout is a category that
        may not be seen.
        """
        rows = self._rows(X)
        found = {}
        for name, models in self.models_.items():
            predictions = [np.asarray(model.predict(rows, **ONE_THREAD)) for model in models]
            found[name] = benefit_interval(predictions, self.calibration_[name])
        return found

    def predict_benefit(self, X: pd.DataFrame) -> pd.DataFrame:
        """`benefits` as a table: index of X, columns (support, "benefit" | "lower" | "upper")."""
        columns: dict[tuple[str, str], FloatArray] = {}
        for name, benefit in self.benefits(X).items():
            columns |= {
                (name, "benefit"): benefit.mean,
                (name, "lower"): benefit.lower,
                (name, "upper"): benefit.upper,
            }
        index = X.index if isinstance(X, pd.DataFrame) else None
        return pd.DataFrame(columns, index=index)

    def predict(self, X: pd.DataFrame) -> NDArray[np.object_]:
        """The support of the greatest expected benefit above zero, or "none", shape (students,).
        Without abstention: whether the evidence suffices is for `training.ranking.suggestions`.
        """
        found = self.benefits(X)
        means = np.column_stack([benefit.mean for benefit in found.values()])
        means = np.hstack([np.zeros((len(means), 1)), means])
        names: NDArray[np.object_] = np.array([NONE, *found], dtype=object)
        chosen: NDArray[np.object_] = names[means.argmax(axis=1)]
        return chosen

    def contributions(self, X: pd.DataFrame, support: str) -> tuple[FloatArray, FloatArray]:
        """TreeSHAP of the mean benefit of one support: base (students,) and contributions
        (students, features).

        Base plus contributions is the mean of `benefits` to rounding. Source: Lundberg et al.
        (2020), Nature Machine Intelligence 2, as LightGBM computes it.
        """
        rows, turned = self._rows(X), self.calibration_[support]
        parts = [
            np.asarray(model.predict(rows, pred_contrib=True, **ONE_THREAD))
            for model in self.models_[support]
        ]
        mean = np.mean(parts, axis=0)
        return turned.benefit(mean[:, -1]), turned.slope * mean[:, :-1]

    def model_texts(self) -> dict[str, list[str]]:
        """Every model as LightGBM's own text."""
        return {
            name: [model.model_to_string() for model in models]
            for name, models in self.models_.items()
        }

    @classmethod
    def from_texts(
        cls,
        feature_names: Sequence[str],
        texts: Mapping[str, Sequence[str]],
        calibration: Mapping[str, Calibration],
    ) -> BenefitRanker:
        """A fitted ranker from LightGBM's texts. Parse only bytes whose digest was checked: a
        damaged text can kill the process.
        """
        ranker = cls(supports=tuple(texts))
        ranker.supports_ = tuple(texts)
        ranker.feature_names_ = list(feature_names)
        ranker.n_features_in_ = len(ranker.feature_names_)
        ranker.models_ = {
            name: [lgb.Booster(model_str=text) for text in models] for name, models in texts.items()
        }
        ranker.calibration_ = dict(calibration)
        return ranker

    def _rows(self, X: pd.DataFrame) -> FloatArray:
        check_is_fitted(self, "models_")
        if isinstance(X, pd.DataFrame):
            lacking = [name for name in self.feature_names_ if name not in X.columns]
            if lacking:
                raise ValueError(
                    f"X lacks features that were learned from: {', '.join(lacking)}; a column that"
                    " may not be seen is to be there, empty"
                )
            named: FloatArray = X[self.feature_names_].to_numpy(dtype="float64")
            return named
        rows: FloatArray = validate_data(self, X, reset=False, **_ALLOWED)
        return rows

    def __sklearn_tags__(self) -> Tags:
        tags = super().__sklearn_tags__()
        tags.input_tags.allow_nan = True
        tags.target_tags.required = True
        return tags

    def _episodes(
        self, X: pd.DataFrame, support: pd.Series, y: pd.Series, groups: pd.Series | None
    ) -> tuple[pd.DataFrame, pd.Series, pd.Series, pd.Series]:
        """The parts of episodes as pandas objects with the same plain index."""
        _check_numbers(X)
        rows, outcome = validate_data(self, X, y, y_numeric=True, **_ALLOWED)
        names = (
            list(X.columns)
            if isinstance(X, pd.DataFrame)
            else [f"x{place}" for place in range(rows.shape[1])]
        )
        frame = pd.DataFrame(rows, columns=[str(name) for name in names])
        who = frame.index if groups is None else groups
        for name, part in (("support", support), ("groups", who)):
            if len(part) != len(frame):
                raise ValueError(
                    f"{name} has {len(part)} rows and X {len(frame)}: each must have one an episode"
                )
        outcome = np.asarray(outcome, dtype="float64")
        return frame, pd.Series(np.asarray(support)), pd.Series(outcome), pd.Series(np.asarray(who))

    def _kept(
        self, support: pd.Series, names: tuple[str, ...], rng: np.random.Generator
    ) -> NDArray[np.intp]:
        treated = np.flatnonzero(support.isin(names))
        untreated = np.flatnonzero(support == NONE)
        count = min(len(untreated), int(self.most_untreated * len(treated)))
        return np.sort(
            np.concatenate([treated, rng.choice(untreated, count, replace=False)])
        ).astype(np.intp)

    def _groups(self) -> list[str | None]:
        """The group of each feature, None for one that nobody may be kept from."""
        if self.feature_groups is not None:
            return [self.feature_groups.get(name) for name in self.feature_names_]
        return [
            str(FEATURES_BY_NAME[name].category) if name in FEATURES_BY_NAME else None
            for name in self.feature_names_
        ]

    def _masked(self, rows: FloatArray, rng: np.random.Generator) -> FloatArray | None:
        groups = self._groups()
        named = sorted({group for group in groups if group is not None})
        if not named or self.scope_dropout <= 0:
            return None
        masked = rows.copy()
        for name in named:
            places = np.flatnonzero([group == name for group in groups])
            dropped = np.flatnonzero(rng.random(len(rows)) < self.scope_dropout)
            masked[np.ix_(dropped, places)] = np.nan
        return masked

    def _leaf(self, rows: int) -> int:
        """Fewest real episodes in a leaf where so many are learned from."""
        return max(MIN_LEAF, min(self.min_leaf, rows // 40))


def _seed(random_state: int | np.random.RandomState | None) -> int:
    """A seed for all draws, as scikit-learn takes one."""
    if isinstance(random_state, Integral):
        return int(random_state)
    return int(check_random_state(random_state).randint(2**31 - 1))


def _check_numbers(X: pd.DataFrame) -> None:
    """A table must hold numbers; an array is for scikit-learn to check."""
    columns = X.select_dtypes(exclude="number").items() if isinstance(X, pd.DataFrame) else []
    for name, column in columns:
        words = int((column.notna() & pd.to_numeric(column, errors="coerce").isna()).sum())
        if words:
            raise ValueError(
                f"column {name!r} of X holds no number in {words:,} of {len(X):,} rows: give a"
                " category columns of zeros and ones (pandas.get_dummies)"
            )


def _check_choices(support: pd.Series, names: Sequence[str]) -> None:
    """What was chosen must be known in each episode, be somebody's support, and be none for
    others.
    """
    unknown = int(support.isna().sum())
    if unknown:
        raise ValueError(
            f"support is unknown in {unknown:,} of {len(support):,} episodes: say {NONE!r} or a"
            " support"
        )
    had = sorted({str(one) for one in support})
    if not (support == NONE).any():
        raise ValueError(
            f"no episode has {NONE!r} for its support, against which benefit is measured; there are"
            f" {', '.join(had[:10])}"
        )
    if not support.isin(names).any():
        wanted = f"one of {', '.join(names)}" if names else "a support"
        raise ValueError(
            f"no episode has {wanted}, so there is nothing to learn; there are"
            f" {', '.join(had[:10])} (n_samples = {len(support)})"
        )


def _counts(most: int) -> list[int]:
    """Numbers of trees that are tried."""
    return sorted({max(1, round(share * most)) for share in _SHARES_OF_ROUNDS}) if most else []


def _unseen(learned: Sequence[FloatArray], folds: NDArray[np.intp]) -> FloatArray:
    """Of each episode what was learned without its own fold: shape (episodes, supports)."""
    unseen: FloatArray = np.stack(learned)[folds, np.arange(len(folds))]
    return unseen


def _winsorized(outcome: pd.Series) -> pd.Series:
    """The outcome without its extremes; of a rare event, where one value is most episodes', those
    are what there is to learn from.
    """
    if outcome.value_counts(normalize=True).iloc[0] > _USUAL_VALUE:
        return outcome
    clipped: pd.Series = outcome.clip(
        float(outcome.quantile(0.002)), float(outcome.quantile(0.998))
    )
    return clipped
