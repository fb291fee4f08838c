"""What a district could use instead: each learns from the same episodes and scores the same new
students.

A rival gives a score for every student and support. Where the score is an expected benefit, "none"
is chosen below zero; where it is a habit or a rule it only ranks. LightGBM and its settings are
those of our own nuisance models wherever a rival needs a regressor, so that the method is compared
and not the library.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from typing import Protocol

import lightgbm as lgb
import numpy as np
import pandas as pd

from benchmarks.quality.simulation import Floats
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
Scorer = Callable[[pd.DataFrame], Floats]


class TrainingData(Protocol):
    """Episodes to learn from: features by name, what was chosen ("none" or one of `supports`), what
    came, and who.
    """

    features: pd.DataFrame
    support: pd.Series
    outcome: pd.Series
    student: pd.Series

    @property
    def supports(self) -> tuple[str, ...]: ...


@dataclass(frozen=True)
class Baseline:
    """`learn` gives a scorer: new features in, scores (students, supports) out. `benefit`: scores
    are benefits.
    """

    name: str
    learn: Callable[[TrainingData, int], Scorer]
    benefit: bool = True


def t_learner(past: TrainingData, seed: int) -> Scorer:
    """One outcome model a support and one for none; the difference (Künzel et al. 2019, PNAS
    116).
    """
    rows, outcome, chosen = _arrays(past)
    names = ("none", *past.supports)

    def fit(name: str) -> lgb.Booster:
        return _fit(rows[chosen == name], outcome[chosen == name], seed)

    models = parallel_map(fit, names)
    return lambda new: np.column_stack(
        [_predict(model, new) - _predict(models[0], new) for model in models[1:]]
    )


def s_learner(past: TrainingData, seed: int) -> Scorer:
    """One outcome model with the support among its inputs: pooled regression."""
    rows, outcome, chosen = _arrays(past)
    names = ("none", *past.supports)
    codes = np.asarray(pd.Categorical(chosen, categories=names).codes)
    model = _fit(append_treatment_dummies(rows, codes, len(names)), outcome, seed)

    def score(new: pd.DataFrame) -> Floats:
        values = new.to_numpy(dtype="float64")
        found = [
            _score(model, append_treatment_dummies(values, np.full(len(new), place), len(names)))
            for place in range(len(names))
        ]
        return np.column_stack([one - found[0] for one in found[1:]])

    return score


def x_learner(past: TrainingData, seed: int) -> Scorer:
    """Imputed effects of the treated and the untreated, weighted by propensity (Künzel et al.
    2019).
    """
    rows, outcome, chosen = _arrays(past)
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

    models = parallel_map(fit, past.supports)

    def score(new: pd.DataFrame) -> Floats:
        columns = []
        for of_treated, of_untreated, propensity in models:
            chance = _predict(propensity, new)
            columns.append(
                chance * _predict(of_untreated, new) + (1 - chance) * _predict(of_treated, new)
            )
        return np.column_stack(columns)

    return score


def r_learner(past: TrainingData, seed: int) -> Scorer:
    """Residual on residual, each support against none (Nie & Wager 2021, Biometrika 108)."""
    rows, outcome, chosen = _arrays(past)

    def fit(name: str) -> lgb.Booster:
        pair = (chosen == name) | (chosen == "none")
        x, y, w = rows[pair], outcome[pair], (chosen == name)[pair].astype(float)
        folds = assign_folds(past.student[pair].reset_index(drop=True), 5, seed)
        expected, chance = np.zeros(len(y)), np.zeros(len(y))
        for fold in range(5):
            train, judged = folds != fold, folds == fold
            expected[judged] = _score(_fit(x[train], y[train], seed), x[judged])
            chance[judged] = _score(
                lgb.train(
                    _REGRESSOR | {"objective": "binary", "seed": seed},
                    lgb.Dataset(x[train], w[train]),
                    50,
                ),
                x[judged],
            )
        residual = w - np.clip(chance, 0.01, 0.99)
        return _fit(x, (y - expected) / residual, seed, residual**2)

    models = parallel_map(fit, past.supports)
    return lambda new: np.column_stack([_predict(model, new) for model in models])


def dr_each(past: TrainingData, seed: int) -> Scorer:
    """One LightGBM a support on the doubly robust pseudo-outcomes, without sharing between
    supports.
    """
    found, rows = _pseudo(past, seed), past.features.to_numpy(dtype="float64")
    models = parallel_map(
        lambda place: _fit(rows, _clipped(found.values[:, place]), seed), range(len(past.supports))
    )
    return lambda new: np.column_stack([_predict(model, new) for model in models])


def dr_pooled(past: TrainingData, seed: int) -> Scorer:
    """One LightGBM on all pseudo-outcomes, the support a category among its inputs."""
    found = _pseudo(past, seed)
    values = np.column_stack(
        [_clipped(found.values[:, place]) for place in range(len(past.supports))]
    )
    return _pooled(past, seed, {}, values.ravel(), weight=found.weights.ravel())


def lambdarank(past: TrainingData, seed: int) -> Scorer:
    """LightGBM's `lambdarank` on the pseudo-outcomes of each episode, graded in five. It ranks, and
    knows no zero.
    """
    found = _pseudo(past, seed)
    grades = np.searchsorted(np.quantile(found.values, [0.2, 0.4, 0.6, 0.8]), found.values.ravel())
    sizes = np.full(len(found.values), len(past.supports))
    return _pooled(past, seed, {"objective": "lambdarank"}, grades, group=sizes)


def _pooled(
    past: TrainingData,
    seed: int,
    parameters: dict[str, str],
    target: np.ndarray,
    **data: np.ndarray,
) -> Scorer:
    """One model of every pair of episode and support, the support as a category."""
    count = len(past.supports)
    rows = np.hstack(
        [
            np.repeat(past.features.to_numpy(dtype="float64"), count, axis=0),
            np.tile(np.arange(count), len(past.features))[:, None],
        ]
    )
    pairs = lgb.Dataset(rows, target, categorical_feature=[rows.shape[1] - 1], **data)
    model = lgb.train(_REGRESSOR | parameters | {"seed": seed}, pairs, _ROUNDS)

    def score(new: pd.DataFrame) -> Floats:
        values = new.to_numpy(dtype="float64")
        return np.column_stack(
            [
                _score(model, np.hstack([values, np.full((len(new), 1), place)]))
                for place in range(count)
            ]
        )

    return score


def imitation(past: TrainingData, seed: int) -> Scorer:
    """What people used to choose for such a student: the propensity itself."""
    rows, _, chosen = _arrays(past)
    codes = pd.Categorical(chosen, categories=["none", *past.supports]).codes
    model = lgb.train(
        _REGRESSOR | {"objective": "multiclass", "num_class": len(past.supports) + 1, "seed": seed},
        lgb.Dataset(rows, codes),
        50,
    )
    return lambda new: np.asarray(model.predict(new.to_numpy(dtype="float64"), **ONE_THREAD))[:, 1:]


def abc_rule(past: TrainingData, seed: int) -> Scorer:
    """Attendance, behavior and course marks, as early-warning handbooks sort students (Balfanz et
    al. 2007).
    """

    def score(new: pd.DataFrame) -> Floats:
        absent, marks = new["absence_rate_year"].to_numpy(), new["grade_average"].to_numpy()
        late, grade = new["tardies_60"].to_numpy(), new["grade_level"].to_numpy()
        points = {
            "food": (absent >= 0.1) * 2.0,
            "health": (absent >= 0.2) * 3.0,
            "tutoring": (marks < 70) * 2.5,
            "mentoring": (late >= 4) * 1.5,
            "college": (grade >= 11) * 1.0,
            "after_school": (grade <= 8) * 0.5,
        }
        return np.column_stack([points[name] + absent - marks / 1000 for name in past.supports])

    return score


def at_random(past: TrainingData, seed: int) -> Scorer:
    rng = np.random.default_rng(seed)
    return lambda new: np.asarray(rng.random((len(new), len(past.supports))))


def dr_learner(past: TrainingData, seed: int) -> Scorer:
    """EconML's `DRLearner` with LightGBM for each of its models."""
    from econml.dr import DRLearner

    model = DRLearner(
        model_propensity=_classifier(seed),
        model_regression=_regressor(seed),
        model_final=_regressor(seed),
        cv=5,
        categories=["none", *past.supports],
        random_state=seed,
        min_propensity=0.01,
    )
    return _econml(model, past)


def causal_forest(past: TrainingData, seed: int) -> Scorer:
    """EconML's `CausalForestDML` with LightGBM for its nuisance models."""
    from econml.dml import CausalForestDML

    model = CausalForestDML(
        model_y=_regressor(seed),
        model_t=_classifier(seed),
        discrete_treatment=True,
        cv=5,
        categories=["none", *past.supports],
        n_estimators=400,
        min_samples_leaf=50,
        inference=False,
        n_jobs=2,
        random_state=seed,
    )
    return _econml(model, past)


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


def _econml(model: object, past: TrainingData) -> Scorer:
    middle = past.features.median()
    _, outcome, chosen = _arrays(past)
    filled = past.features.fillna(middle).to_numpy(dtype="float64")
    model.fit(outcome, chosen, X=filled, groups=past.student.to_numpy())  # type: ignore[attr-defined]

    def score(new: pd.DataFrame) -> Floats:
        values = new.fillna(middle).to_numpy(dtype="float64")
        return np.column_stack(
            [
                model.effect(values, T0="none", T1=name)  # type: ignore[attr-defined]
                for name in past.supports
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


def _arrays(past: TrainingData) -> tuple[Floats, Floats, np.ndarray]:
    return (
        past.features.to_numpy(dtype="float64"),
        past.outcome.to_numpy(dtype="float64"),
        past.support.to_numpy(dtype=object),
    )


@lru_cache(maxsize=1)
def _pseudo(past: TrainingData, seed: int) -> PseudoOutcomes:
    """Kept of the past that was asked of last: three rivals learn from the same."""
    return pseudo_outcomes(
        past.features,
        past.support,
        past.outcome,
        past.supports,
        assign_folds(past.student, 5, seed),
        seed,
    )


def _clipped(values: Floats) -> Floats:
    low, high = np.quantile(values, [0.002, 0.998])
    found: Floats = np.clip(values, low, high)
    return found


def _fit(rows: Floats, outcome: Floats, seed: int, weight: Floats | None = None) -> lgb.Booster:
    return lgb.train(
        _REGRESSOR | {"seed": seed}, lgb.Dataset(rows, outcome, weight=weight), _ROUNDS
    )


def _score(model: lgb.Booster, rows: Floats) -> Floats:
    return np.asarray(model.predict(rows, **ONE_THREAD))


def _predict(model: lgb.Booster, new: pd.DataFrame) -> Floats:
    return _score(model, new.to_numpy(dtype="float64"))
