"""The benefit ranker: the expected benefit of each support for a student, with an interval.

A scikit-learn estimator. Each support has one LightGBM model per fold, trained on doubly robust
pseudo-outcomes with whole groups of features left out at random ("scope dropout"), so that it
serves a viewer who may see only some. Training adds up three parts: what the propensity of past
practice predicts (`training.estimation.propensity_trend`), main effects (what each feature adds by
itself), and interactions, which are fitted on what is left and kept only as far as they predict
held-out folds beyond chance. With outcomes as noisy as a child's term, main effects are most of
what can be learned, and interactions mislead early. The three are then distilled into one model of
the features, which is what is stored, serves and explains. `training.ranking.calibration` turns its
predictions into benefits with intervals.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import product
from numbers import Integral
from operator import methodcaller
from typing import NamedTuple

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
from training.ranking.binned_rows import BinnedRows
from training.ranking.calibration import (
    Benefit,
    Calibration,
    benefit_interval,
    error_reduction,
    fit_calibration,
    james_stein_factor,
)
from training.ranking.coarsening import coarsen

SMALLEST_BENEFIT = 1.0
"""Progress points; a district sets its own in `outcome.toml`."""
MIN_LEAF = 10
"""Real episodes behind each leaf of a model file, at least (R58)."""
_MIN_PROPENSITY = 0.002
"""The precision weights take care of small propensities; a higher minimum would bias what is
learned of a rare support."""

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
"""What features add together. Here thresholds are searched for: the first split of a pair may gain
nothing by itself, and a random one would leave no place for the second."""
_DISTILL_ADDITIVE = {
    "num_leaves": 4,
    "max_depth": 2,
    "learning_rate": 0.15,
    "feature_fraction": 0.7,
    "extra_trees": True,
}
"""The one model of the features that trend and main effects are distilled into: they hold no noise,
so there is none to fit. Where a group of features is missing, it predicts the average of such
students."""
_DISTILL_FULL = {"num_leaves": 8, "max_depth": 4, "learning_rate": 0.15, "feature_fraction": 0.7}
"""The one model where there are interactions too."""
_DISTILL_ADDITIVE_TREES, _DISTILL_FULL_TREES = 140, 250
_SHARES_OF_ROUNDS = (0.05, 0.1, 0.2, 0.35, 0.5, 0.75, 1.0)
_USUAL_VALUE_SHARE = 0.5
"""The share of episodes beyond which one value of the outcome is the usual one, and any other an
event."""
_WINSORIZED_QUANTILES = 0.002, 0.998
_VALIDATION = {"dtype": "float64", "ensure_all_finite": "allow-nan"}


class _Training(NamedTuple):
    """What all stages of one fit read: episodes, their folds and their pseudo-outcomes."""

    rows: FloatArray
    """Features, shape (episodes, features)."""
    masked: FloatArray | None
    """The rows with groups of features missing at random; None without scope dropout."""
    targets: PseudoOutcomes
    folds: NDArray[np.intp]
    groups: pd.Series


class BenefitRanker(BaseEstimator):  # type: ignore[misc]
    """Expected benefit of supports, in the unit of the outcome (progress points).

    Args:
        supports: the supports to learn; episodes with another are left out. By default all that
            occur.
        n_folds: folds of students, and models per support; two or more.
        scope_dropout: chance that a group of features (a data category) is missing in the second
            copy of a row.
        min_leaf: fewest real episodes in a leaf (R58); a small past uses a fortieth of its
            episodes, at least ten.
        rounds: trees of one split each, for main effects.
        interaction_rounds: trees of depth four after them, on what is left.
        most_untreated: untreated episodes sampled for each treated one.
        feature_groups: the group of a feature by name, for scope dropout; by default its category
            in the catalog. A feature in no group is never left out.
        smallest_benefit: benefit below which a support is not worth a suggestion
            (`training.ranking.suggestions`); training does not use it.
        random_state: equal seeds give equal models; a `numpy.random.RandomState` or None draws one.

    Attributes:
        supports_: the supports, in the order of the models.
        feature_names_: the columns of X, in the order of training.
        models_: by support one LightGBM model per fold.
        calibration_: by support what turns its models' predictions into a benefit.
        n_trees_: trees of main effects and of interactions that were selected.
        seed_: the seed that was used.

    Examples:
        Tutoring adds 4 points to students whose grades are low, and nothing to others:

        >>> import numpy as np, pandas as pd
        >>> rng = np.random.default_rng(0)
        >>> n = 3000
        >>> X = pd.DataFrame({"grade_average": rng.normal(78, 10, n)})
        >>> support = pd.Series(np.where(rng.random(n) < 0.3, "tutoring", "none"))
        >>> helped = (support == "tutoring") & (X["grade_average"] < 75)
        >>> y = pd.Series(4.0 * helped + rng.normal(0, 2, n))
        >>> ranker = BenefitRanker(n_folds=3, min_leaf=50).fit(X, y, support)
        >>> new = pd.DataFrame({"grade_average": [60.0, 90.0]}, index=["ana", "ben"])
        >>> ranker.predict_benefit(new)["tutoring"]["benefit"].round().tolist()
        [4.0, 0.0]
        >>> (ranker.predict_benefit(new)["tutoring"]["lower"] > 1).tolist()
        [True, False]
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
            y: the outcome, higher is better, shape (episodes,).
            support: what was chosen: "none" or the name of a support, shape (episodes,).
            groups: the student or school of each episode, never split between folds, shape
                (episodes,); by default each episode is its own group.

        Raises:
            ValueError: a column of X has values that are not numbers, `min_leaf` would let a leaf
                of the model stand for fewer than ten episodes, there are fewer than two folds,
                `support` is missing, unknown in a row or of another length, nobody had a support or
                nobody had none, or there are fewer groups than folds.
        """
        self._check_parameters()
        if support is None:
            raise ValueError("support is required: the support chosen in each episode, or 'none'")
        self.seed_ = _seed(self.random_state)
        rng = np.random.default_rng(self.seed_)
        frame, support, outcome, groups = self._validated(X, support, y, groups)
        names = (
            tuple(sorted(set(support) - {NONE})) if self.supports is None else tuple(self.supports)
        )
        _check_support(support, names)
        sample = self._sample(support, names, rng)
        n_groups = groups.iloc[sample].nunique()
        if n_groups < self.n_folds:
            raise ValueError(
                f"n_samples = {len(frame)}, with {n_groups} students to learn from:"
                f" {self.n_folds} folds need one each"
            )
        frame = coarsen(frame.iloc[sample].reset_index(drop=True))
        support, outcome, groups = (
            part.iloc[sample].reset_index(drop=True) for part in (support, outcome, groups)
        )
        self.feature_names_ = [str(name) for name in frame.columns]
        folds = assign_folds(groups, self.n_folds, self.seed_)
        targets = pseudo_outcomes(
            frame, support, _winsorized(outcome), names, folds, self.seed_, _MIN_PROPENSITY
        )
        rows = frame.to_numpy(dtype="float64")
        training = _Training(rows, self._masked(rows, rng), targets, folds, groups)
        scores, self.n_trees_ = self._boost(training)
        self.supports_ = names
        self.models_ = self._distill(training, scores)
        self.calibration_ = fit_calibration(
            names, targets, _out_of_fold(scores, folds), folds, groups
        )
        return self

    def benefits(self, X: pd.DataFrame) -> dict[str, Benefit]:
        """The benefit of each support for each row of X; a column out of scope is all-NaN."""
        rows = self._rows(X)
        benefits = {}
        for name, models in self.models_.items():
            predictions = [np.asarray(model.predict(rows, **ONE_THREAD)) for model in models]
            benefits[name] = benefit_interval(predictions, self.calibration_[name])
        return benefits

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

        It never abstains: whether the evidence suffices is decided by
        `training.ranking.suggestions`.
        """
        benefits = self.benefits(X)
        means = np.column_stack([benefit.mean for benefit in benefits.values()])
        means = np.hstack([np.zeros((len(means), 1)), means])
        names: NDArray[np.object_] = np.array([NONE, *benefits], dtype=object)
        best: NDArray[np.object_] = names[means.argmax(axis=1)]
        return best

    def contributions(self, X: pd.DataFrame, support: str) -> tuple[FloatArray, FloatArray]:
        """TreeSHAP of one support's benefit: base (students,), contributions (students, features).

        Base plus contributions is the mean of `benefits` to rounding. Source: Lundberg et al.
        (2020), Nature Machine Intelligence 2, as LightGBM computes it.
        """
        rows, calibration = self._rows(X), self.calibration_[support]
        by_fold = [
            np.asarray(model.predict(rows, pred_contrib=True, **ONE_THREAD))
            for model in self.models_[support]
        ]
        mean = np.mean(by_fold, axis=0)
        return calibration.benefit(mean[:, -1]), calibration.slope * mean[:, :-1]

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
        """A fitted ranker from LightGBM's texts.

        Parse only bytes whose digest was checked: a damaged text can kill the process.
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

    def __sklearn_tags__(self) -> Tags:
        tags = super().__sklearn_tags__()
        tags.input_tags.allow_nan = True
        tags.target_tags.required = True
        return tags

    def _check_parameters(self) -> None:
        if self.min_leaf < MIN_LEAF:
            raise ValueError(f"min_leaf is {self.min_leaf}; it must be {MIN_LEAF} or more (R58)")
        if self.n_folds < 2:
            raise ValueError(f"n_folds is {self.n_folds}; cross-fitting needs at least 2 folds")

    def _validated(
        self, X: pd.DataFrame, support: pd.Series, y: pd.Series, groups: pd.Series | None
    ) -> tuple[pd.DataFrame, pd.Series, pd.Series, pd.Series]:
        """The parts of episodes as pandas objects with one plain index."""
        _check_numbers(X)
        rows, outcome = validate_data(self, X, y, y_numeric=True, **_VALIDATION)
        names = (
            list(X.columns)
            if isinstance(X, pd.DataFrame)
            else [f"x{number}" for number in range(rows.shape[1])]
        )
        frame = pd.DataFrame(rows, columns=[str(name) for name in names])
        episode_groups = frame.index if groups is None else groups
        for name, part in (("support", support), ("groups", episode_groups)):
            if len(part) != len(frame):
                raise ValueError(
                    f"{name} has {len(part)} rows and X {len(frame)}: each must have one an episode"
                )
        outcome = np.asarray(outcome, dtype="float64")
        return (
            frame,
            pd.Series(np.asarray(support)),
            pd.Series(outcome),
            pd.Series(np.asarray(episode_groups)),
        )

    def _sample(
        self, support: pd.Series, names: tuple[str, ...], rng: np.random.Generator
    ) -> NDArray[np.intp]:
        """Positions of all treated episodes and of a sample of the untreated, ascending."""
        treated = np.flatnonzero(support.isin(names))
        untreated = np.flatnonzero(support == NONE)
        count = min(len(untreated), int(self.most_untreated * len(treated)))
        return np.sort(
            np.concatenate([treated, rng.choice(untreated, count, replace=False)])
        ).astype(np.intp)

    def _group_of_each_feature(self) -> list[str | None]:
        """The dropout group of each feature; None for one that no viewer is kept from."""
        if self.feature_groups is not None:
            return [self.feature_groups.get(name) for name in self.feature_names_]
        return [
            str(FEATURES_BY_NAME[name].category) if name in FEATURES_BY_NAME else None
            for name in self.feature_names_
        ]

    def _masked(self, rows: FloatArray, rng: np.random.Generator) -> FloatArray | None:
        """A copy of the rows with whole groups of features missing at random ("scope dropout")."""
        group_of = self._group_of_each_feature()
        groups = sorted({group for group in group_of if group is not None})
        if not groups or self.scope_dropout <= 0:
            return None
        masked = rows.copy()
        for group in groups:
            columns = np.flatnonzero([of_feature == group for of_feature in group_of])
            dropped_rows = np.flatnonzero(rng.random(len(rows)) < self.scope_dropout)
            masked[np.ix_(dropped_rows, columns)] = np.nan
        return masked

    def _binned(self, training: _Training, use: BoolArray) -> BinnedRows:
        """The rows in use, and their masked copies, in bins."""
        copies = [training.rows[use]]
        if training.masked is not None:
            copies.append(training.masked[use])
        n_rows = int(use.sum())
        leaf = max(MIN_LEAF, min(self.min_leaf, n_rows // 40))
        return BinnedRows(copies, self.feature_names_, leaf, self.seed_)

    def _boost(self, training: _Training) -> tuple[list[FloatArray], tuple[int, int]]:
        """Trend, main effects and interactions, added up.

        Returns:
            By fold the scores of all episodes, shape (episodes, supports), learned without that
            fold; and how many trees of main effects and of interactions were selected.
        """
        folds = range(self.n_folds)
        odds = propensity_log_odds(training.targets.propensity)
        scores = [
            propensity_trend(training.targets, odds, training.folds != fold) for fold in folds
        ]
        binned = parallel_map(lambda fold: self._binned(training, training.folds != fold), folds)
        scores, main_effects = _add_trees(
            scores, training, binned, _MAIN_EFFECTS, _tree_counts(self.rounds)
        )
        scores, interactions = _add_trees(
            scores,
            training,
            binned,
            _INTERACTIONS,
            _tree_counts(self.interaction_rounds),
            shrink=True,
        )
        return scores, (main_effects, interactions)

    def _distill(
        self, training: _Training, scores: Sequence[FloatArray]
    ) -> dict[str, list[lgb.Booster]]:
        """For each support and fold one model of the features that reproduces the scores."""
        has_interactions = self.n_trees_[1] > 0
        shape, trees = (
            (_DISTILL_FULL, _DISTILL_FULL_TREES)
            if has_interactions
            else (_DISTILL_ADDITIVE, _DISTILL_ADDITIVE_TREES)
        )
        binned = self._binned(training, np.ones(len(training.rows), dtype=bool))
        supports = range(len(self.supports_))
        models = iter(
            parallel_map(
                lambda support_and_fold: binned.train(
                    shape, trees, scores[support_and_fold[1]][:, support_and_fold[0]]
                ),
                product(supports, range(self.n_folds)),
            )
        )
        return {name: [next(models) for _ in range(self.n_folds)] for name in self.supports_}

    def _rows(self, X: pd.DataFrame) -> FloatArray:
        check_is_fitted(self, "models_")
        if isinstance(X, pd.DataFrame):
            missing = [name for name in self.feature_names_ if name not in X.columns]
            if missing:
                raise ValueError(
                    f"X is missing features the model was trained on: {', '.join(missing)}; pass"
                    " out-of-scope columns as all-NaN"
                )
            named: FloatArray = X[self.feature_names_].to_numpy(dtype="float64")
            return named
        rows: FloatArray = validate_data(self, X, reset=False, **_VALIDATION)
        return rows


def _add_trees(
    scores: list[FloatArray],
    training: _Training,
    binned: Sequence[BinnedRows],
    shape: Mapping[str, float],
    counts: Sequence[int],
    *,
    shrink: bool = False,
) -> tuple[list[FloatArray], int]:
    """Trees of one shape on what is left of the pseudo-outcomes.

    As many for all supports as predict held-out folds best, or none.

    Args:
        scores: by fold what was learned without it so far, of all episodes: shape (episodes,
            supports).
        training: the episodes.
        binned: by fold the rows of the others.
        shape: LightGBM's parameters of the trees.
        counts: numbers of trees to try, ascending.
        shrink: add only as much of the trees' predictions as improves on the scores beyond chance.

    Returns:
        The scores with the trees added, and the number of trees.
    """
    targets, folds, groups = training.targets, training.folds, training.groups
    before = _out_of_fold(scores, folds)
    held_out_rows = [training.rows[folds == fold] for fold in range(len(scores))]
    jobs = list(product(range(len(scores)), range(before.shape[1])))

    def staged_booster(job: tuple[int, int]) -> StagedBooster:
        fold, support = job
        others = folds != fold
        residuals = targets.values[others, support] - scores[fold][others, support]
        return binned[fold].staged_booster(
            shape, residuals, targets.weights[others, support], held_out_rows[fold]
        )

    boosters = parallel_map(staged_booster, jobs) if counts else []

    def out_of_fold_with(n_trees: int) -> FloatArray:
        predictions = before.copy()
        if n_trees:
            added = parallel_map(methodcaller("predict_with", n_trees), boosters)
            for (fold, support), of_held_out in zip(jobs, added, strict=True):
                predictions[folds == fold, support] += of_held_out
        return predictions

    def reduction(predictions: FloatArray) -> FloatArray:
        return error_reduction(targets, predictions, folds, groups)

    n_trees, after = select_rounds(
        [0, *counts], out_of_fold_with, lambda predictions: -float(reduction(predictions).sum())
    )
    share = james_stein_factor(reduction(after) - reduction(before), groups) if shrink else 1.0
    if not n_trees or not share:
        return scores, 0
    added = parallel_map(
        lambda booster: np.asarray(
            booster.model.predict(training.rows, num_iteration=n_trees, **ONE_THREAD)
        ),
        boosters,
    )
    new_scores = [of_fold.copy() for of_fold in scores]
    for (fold, support), predictions in zip(jobs, added, strict=True):
        new_scores[fold][:, support] += share * predictions
    return new_scores, n_trees


def _tree_counts(most: int) -> list[int]:
    """Numbers of trees that are tried."""
    return sorted({max(1, round(share * most)) for share in _SHARES_OF_ROUNDS}) if most else []


def _out_of_fold(scores: Sequence[FloatArray], folds: NDArray[np.intp]) -> FloatArray:
    """The score of each episode that was learned without its fold: shape (episodes, supports)."""
    out_of_fold: FloatArray = np.stack(scores)[folds, np.arange(len(folds))]
    return out_of_fold


def _seed(random_state: int | np.random.RandomState | None) -> int:
    """A seed for all draws, from what scikit-learn accepts as a random state."""
    if isinstance(random_state, Integral):
        return int(random_state)
    return int(check_random_state(random_state).randint(2**31 - 1))


def _winsorized(outcome: pd.Series) -> pd.Series:
    """The outcome without its extremes, unless it is a rare event, which is all in the extremes."""
    if outcome.value_counts(normalize=True).iloc[0] > _USUAL_VALUE_SHARE:
        return outcome
    low, high = (float(outcome.quantile(quantile)) for quantile in _WINSORIZED_QUANTILES)
    clipped: pd.Series = outcome.clip(low, high)
    return clipped


def _check_numbers(X: pd.DataFrame) -> None:
    """A table must hold numbers; scikit-learn checks an array."""
    columns = X.select_dtypes(exclude="number").items() if isinstance(X, pd.DataFrame) else []
    for name, column in columns:
        is_text = column.notna() & pd.to_numeric(column, errors="coerce").isna()
        if texts := int(is_text.sum()):
            raise ValueError(
                f"column {name!r} of X has non-numeric values in {texts:,} of {len(X):,} rows: give"
                " a category columns of zeros and ones (pandas.get_dummies)"
            )


def _check_support(support: pd.Series, names: Sequence[str]) -> None:
    """The support must be known in each episode, one of `names` in some and none in others."""
    unknown = int(support.isna().sum())
    if unknown:
        raise ValueError(
            f"support is unknown in {unknown:,} of {len(support):,} episodes: give {NONE!r} or a"
            " support"
        )
    present = ", ".join(sorted({str(name) for name in support})[:10])
    if not (support == NONE).any():
        raise ValueError(
            f"no episode has {NONE!r} for its support, against which benefit is measured; supports"
            f" present: {present}"
        )
    if not support.isin(names).any():
        wanted = f"one of {', '.join(names)}" if names else "a support"
        raise ValueError(
            f"no episode has {wanted}, so there is nothing to fit; supports present: {present}"
            f" (n_samples = {len(support)})"
        )
