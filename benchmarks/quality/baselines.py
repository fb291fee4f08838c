"""Other ways to rank supports; each learns from the same episodes and scores the same new students.

A baseline scores every student and support. Where scores are expected benefits, "none" is chosen
below zero; where they are a propensity or a rule they only rank. Wherever a baseline needs a
regressor it is LightGBM with the settings of Handrail's own nuisance models, so that methods are
compared and not libraries.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from typing import Protocol

import lightgbm as lgb
import numpy as np
import pandas as pd

from training.estimation.arrays import FloatArray
from training.estimation.parallel import ONE_THREAD, parallel_map
from training.estimation.pseudo_outcomes import (
    PseudoOutcomes,
    append_treatment_dummies,
    assign_folds,
    pseudo_outcomes,
)

_REGRESSOR = {
    "objective": "regression",
    "num_leaves": 15,
    "min_data_in_leaf": 100,
    "learning_rate": 0.08,
    "verbosity": -1,
    "deterministic": True,
    "force_row_wise": True,
} | ONE_THREAD
_ROUNDS = 120
Scorer = Callable[[pd.DataFrame], FloatArray]
"""From features of new students, one row each, to scores, shape (students, supports)."""


class TrainingData(Protocol):
    """Episodes to learn from, one row each; `support` is "none" or one of `supports`."""

    @property
    def features(self) -> pd.DataFrame: ...

    @property
    def support(self) -> pd.Series: ...

    @property
    def outcome(self) -> pd.Series: ...

    @property
    def student(self) -> pd.Series: ...

    @property
    def supports(self) -> tuple[str, ...]: ...


@dataclass(frozen=True)
class Baseline:
    """A way to learn.

    Attributes:
        name: as in the tables of docs/benchmarks.md.
        learn: from training data and a seed to a scorer.
        benefit: whether scores are expected benefits, so that zero means "no better than none".
    """

    name: str
    learn: Callable[[TrainingData, int], Scorer]
    benefit: bool = True


def t_learner(data: TrainingData, seed: int) -> Scorer:
    """The difference of separate outcome models, one per support (Künzel et al. 2019, PNAS 116)."""
    rows, outcome, chosen = _arrays(data)
    names = ("none", *data.supports)

    def fit(name: str) -> lgb.Booster:
        return _fit(rows[chosen == name], outcome[chosen == name], seed)

    models = parallel_map(fit, names)
    return lambda new: np.column_stack(
        [_predict(model, new) - _predict(models[0], new) for model in models[1:]]
    )


def s_learner(data: TrainingData, seed: int) -> Scorer:
    """One outcome model with the support among its inputs: pooled regression."""
    rows, outcome, chosen = _arrays(data)
    names = ("none", *data.supports)
    codes = np.asarray(pd.Categorical(chosen, categories=names).codes)
    model = _fit(append_treatment_dummies(rows, codes, len(names)), outcome, seed)

    def score(new: pd.DataFrame) -> FloatArray:
        values = new.to_numpy(dtype="float64")
        without, *expected = [
            _score(model, append_treatment_dummies(values, np.full(len(new), code), len(names)))
            for code in range(len(names))
        ]
        return np.column_stack([outcomes - without for outcomes in expected])

    return score


def x_learner(data: TrainingData, seed: int) -> Scorer:
    """Imputed effects of treated and untreated, weighted by propensity (Künzel et al. 2019)."""
    rows, outcome, chosen = _arrays(data)
    none = chosen == "none"
    base = _fit(rows[none], outcome[none], seed)

    def fit(name: str) -> tuple[lgb.Booster, lgb.Booster, lgb.Booster]:
        treated = chosen == name
        arm = _fit(rows[treated], outcome[treated], seed)
        of_treated = _fit(rows[treated], outcome[treated] - _score(base, rows[treated]), seed)
        of_untreated = _fit(rows[none], _score(arm, rows[none]) - outcome[none], seed)
        pair = treated | none
        propensity = lgb.train(
            _REGRESSOR | {"objective": "binary", "seed": seed},
            lgb.Dataset(rows[pair], treated[pair].astype(float)),
            50,
        )
        return of_treated, of_untreated, propensity

    models = parallel_map(fit, data.supports)

    def score(new: pd.DataFrame) -> FloatArray:
        columns = []
        for of_treated, of_untreated, propensity in models:
            treated_share = _predict(propensity, new)
            columns.append(
                treated_share * _predict(of_untreated, new)
                + (1 - treated_share) * _predict(of_treated, new)
            )
        return np.column_stack(columns)

    return score


def r_learner(data: TrainingData, seed: int) -> Scorer:
    """Residual-on-residual regression per support (Nie & Wager 2021, Biometrika 108)."""
    rows, outcome, chosen = _arrays(data)

    def fit(name: str) -> lgb.Booster:
        pair = (chosen == name) | (chosen == "none")
        x, y, treated = rows[pair], outcome[pair], (chosen == name)[pair].astype(float)
        folds = assign_folds(data.student[pair].reset_index(drop=True), 5, seed)
        expected, propensity = np.zeros(len(y)), np.zeros(len(y))
        for fold in range(5):
            train, unseen = folds != fold, folds == fold
            expected[unseen] = _score(_fit(x[train], y[train], seed), x[unseen])
            propensity[unseen] = _score(
                lgb.train(
                    _REGRESSOR | {"objective": "binary", "seed": seed},
                    lgb.Dataset(x[train], treated[train]),
                    50,
                ),
                x[unseen],
            )
        residual = treated - np.clip(propensity, 0.01, 0.99)
        return _fit(x, (y - expected) / residual, seed, residual**2)

    models = parallel_map(fit, data.supports)
    return lambda new: np.column_stack([_predict(model, new) for model in models])


def dr_each(data: TrainingData, seed: int) -> Scorer:
    """One LightGBM per support on doubly robust pseudo-outcomes: a DR-learner."""
    pseudo, rows = _pseudo_outcomes(data, seed), data.features.to_numpy(dtype="float64")
    models = parallel_map(
        lambda column: _fit(rows, _clip_extremes(pseudo.values[:, column]), seed),
        range(len(data.supports)),
    )
    return lambda new: np.column_stack([_predict(model, new) for model in models])


def dr_pooled(data: TrainingData, seed: int) -> Scorer:
    """One LightGBM on all pseudo-outcomes, the support a category among its inputs."""
    pseudo = _pseudo_outcomes(data, seed)
    values = np.column_stack(
        [_clip_extremes(pseudo.values[:, column]) for column in range(len(data.supports))]
    )
    return _fit_pooled(data, seed, {}, values.ravel(), weight=pseudo.weights.ravel())


def lambdarank(data: TrainingData, seed: int) -> Scorer:
    """LightGBM's `lambdarank` on the quintiles of pseudo-outcomes. It ranks and knows no zero."""
    values = _pseudo_outcomes(data, seed).values
    quintiles = np.searchsorted(np.quantile(values, [0.2, 0.4, 0.6, 0.8]), values.ravel())
    sizes = np.full(len(values), len(data.supports))
    return _fit_pooled(data, seed, {"objective": "lambdarank"}, quintiles, group=sizes)


def _fit_pooled(
    data: TrainingData,
    seed: int,
    parameters: dict[str, str],
    target: np.ndarray,
    **dataset: np.ndarray,
) -> Scorer:
    """One model of every pair of episode and support, with the support as a category."""
    count = len(data.supports)
    rows = np.hstack(
        [
            np.repeat(data.features.to_numpy(dtype="float64"), count, axis=0),
            np.tile(np.arange(count), len(data.features))[:, None],
        ]
    )
    pairs = lgb.Dataset(rows, target, categorical_feature=[rows.shape[1] - 1], **dataset)
    model = lgb.train(_REGRESSOR | parameters | {"seed": seed}, pairs, _ROUNDS)

    def score(new: pd.DataFrame) -> FloatArray:
        values = new.to_numpy(dtype="float64")
        return np.column_stack(
            [
                _score(model, np.hstack([values, np.full((len(new), 1), column)]))
                for column in range(count)
            ]
        )

    return score


def imitation(data: TrainingData, seed: int) -> Scorer:
    """What people chose for similar students in the past: the propensity itself."""
    rows, _, chosen = _arrays(data)
    codes = pd.Categorical(chosen, categories=["none", *data.supports]).codes
    model = lgb.train(
        _REGRESSOR | {"objective": "multiclass", "num_class": len(data.supports) + 1, "seed": seed},
        lgb.Dataset(rows, codes),
        50,
    )
    return lambda new: np.asarray(model.predict(new.to_numpy(dtype="float64"), **ONE_THREAD))[:, 1:]


def abc_rule(data: TrainingData, seed: int) -> Scorer:
    """Attendance, behavior and course grades, as in early-warning systems (Balfanz et al. 2007)."""

    def score(new: pd.DataFrame) -> FloatArray:
        absent, average = new["absence_rate_year"].to_numpy(), new["grade_average"].to_numpy()
        late, grade = new["tardies_60"].to_numpy(), new["grade_level"].to_numpy()
        points = {
            "food": (absent >= 0.1) * 2.0,
            "health": (absent >= 0.2) * 3.0,
            "tutoring": (average < 70) * 2.5,
            "mentoring": (late >= 4) * 1.5,
            "college": (grade >= 11) * 1.0,
            "after_school": (grade <= 8) * 0.5,
        }
        return np.column_stack([points[name] + absent - average / 1000 for name in data.supports])

    return score


def at_random(data: TrainingData, seed: int) -> Scorer:
    rng = np.random.default_rng(seed)
    return lambda new: np.asarray(rng.random((len(new), len(data.supports))))


def dr_learner(data: TrainingData, seed: int) -> Scorer:
    """EconML's `DRLearner` with LightGBM for each of its models."""
    from econml.dr import DRLearner

    model = DRLearner(
        model_propensity=_classifier(seed),
        model_regression=_regressor(seed),
        model_final=_regressor(seed),
        cv=5,
        categories=["none", *data.supports],
        random_state=seed,
        min_propensity=0.01,
    )
    return _econml(model, data)


def causal_forest(data: TrainingData, seed: int) -> Scorer:
    """EconML's `CausalForestDML` with LightGBM for its nuisance models."""
    from econml.dml import CausalForestDML

    model = CausalForestDML(
        model_y=_regressor(seed),
        model_t=_classifier(seed),
        discrete_treatment=True,
        cv=5,
        categories=["none", *data.supports],
        n_estimators=400,
        min_samples_leaf=50,
        inference=False,
        n_jobs=2,
        random_state=seed,
    )
    return _econml(model, data)


BASELINES = (
    Baseline("T-learner", t_learner),
    Baseline("pooled regression", s_learner),
    Baseline("X-learner", x_learner),
    Baseline("R-learner", r_learner),
    Baseline("one model a support", dr_each),
    Baseline("pooled pseudo-outcomes", dr_pooled),
    Baseline("lambdarank", lambdarank, benefit=False),
    Baseline("EconML DRLearner", dr_learner),
    Baseline("EconML CausalForestDML", causal_forest),
    Baseline("imitation", imitation, benefit=False),
    Baseline("ABC rule", abc_rule, benefit=False),
    Baseline("random", at_random, benefit=False),
)


def _econml(model: object, data: TrainingData) -> Scorer:
    medians = data.features.median()
    _, outcome, chosen = _arrays(data)
    filled = data.features.fillna(medians).to_numpy(dtype="float64")
    model.fit(outcome, chosen, X=filled, groups=data.student.to_numpy())  # type: ignore[attr-defined]

    def score(new: pd.DataFrame) -> FloatArray:
        values = new.fillna(medians).to_numpy(dtype="float64")
        return np.column_stack(
            [
                model.effect(values, T0="none", T1=name)  # type: ignore[attr-defined]
                for name in data.supports
            ]
        )

    return score


def _regressor(seed: int) -> lgb.LGBMRegressor:
    return lgb.LGBMRegressor(
        n_estimators=_ROUNDS,
        num_leaves=15,
        min_child_samples=100,
        learning_rate=0.08,
        verbosity=-1,
        random_state=seed,
        n_jobs=2,
    )


def _classifier(seed: int) -> lgb.LGBMClassifier:
    return lgb.LGBMClassifier(
        n_estimators=50,
        num_leaves=8,
        max_depth=3,
        min_child_samples=100,
        learning_rate=0.1,
        verbosity=-1,
        random_state=seed,
        n_jobs=2,
    )


def _arrays(data: TrainingData) -> tuple[FloatArray, FloatArray, np.ndarray]:
    return (
        data.features.to_numpy(dtype="float64"),
        data.outcome.to_numpy(dtype="float64"),
        data.support.to_numpy(dtype=object),
    )


@lru_cache(maxsize=1)
def _pseudo_outcomes(data: TrainingData, seed: int) -> PseudoOutcomes:
    """Cached for the most recent data, because three baselines learn from it."""
    return pseudo_outcomes(
        data.features,
        data.support,
        data.outcome,
        data.supports,
        assign_folds(data.student, 5, seed),
        seed,
    )


def _clip_extremes(values: FloatArray) -> FloatArray:
    low, high = np.quantile(values, [0.002, 0.998])
    clipped: FloatArray = np.clip(values, low, high)
    return clipped


def _fit(
    rows: FloatArray, outcome: FloatArray, seed: int, weight: FloatArray | None = None
) -> lgb.Booster:
    return lgb.train(
        _REGRESSOR | {"seed": seed}, lgb.Dataset(rows, outcome, weight=weight), _ROUNDS
    )


def _score(model: lgb.Booster, rows: FloatArray) -> FloatArray:
    return np.asarray(model.predict(rows, **ONE_THREAD))


def _predict(model: lgb.Booster, new: pd.DataFrame) -> FloatArray:
    return _score(model, new.to_numpy(dtype="float64"))
