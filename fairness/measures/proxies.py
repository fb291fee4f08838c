"""How much of a sensitive fact shows through what the model reads, family by family of its inputs,
and all together.

No sensitive fact is an input. Where one can be guessed from the inputs, a model can treat its
groups differently all the same; that is no fault by itself, and this test decides nothing: it says
where to look. Source: Feldman et al. (2015), Certifying and Removing Disparate Impact, KDD, which
tests an input by how well it predicts the fact.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import lightgbm as lgb
import numpy as np
import pandas as pd

from fairness.checks.checks import INTERSECTION_SEPARATOR
from fairness.population.comparisons import NOT_RECORDED, Codes
from fairness.population.students import AuditPopulation
from features.catalog import FEATURES_BY_NAME
from training.estimation.arrays import BoolArray, FloatArray
from training.estimation.parallel import ONE_THREAD
from training.estimation.pseudo_outcomes import assign_folds

ALL_FAMILIES = "all"
EXCLUDED_ATTRIBUTES = ("grade_band", "school")
"""Groups that the inputs hold, or nearly: the grade is one."""
_FOLDS, _ROUNDS, _DRAWS, _MAX_STUDENTS = 3, 30, 200, 6_000
_LIGHTGBM_PARAMETERS = {
    "objective": "multiclass",
    "num_leaves": 8,
    "learning_rate": 0.1,
    "min_data_in_leaf": 40,
    "verbosity": -1,
    "deterministic": True,
    "seed": 0,
} | ONE_THREAD


@dataclass(frozen=True)
class Proxy:
    """How well a family of inputs predicts one group fact.

    Attributes:
        auc: how often of two students, one of a group and one not, the right one is guessed, over
            the groups by their size; 0.5 is chance, 1 is always. `lower` and `upper` hold it with
            the policy's confidence.
    """

    attribute: str
    family: str
    auc: float
    lower: float
    upper: float


def proxy_strengths(
    students: AuditPopulation, inputs: Sequence[str], fewest: int, confidence: float, seed: int = 0
) -> list[Proxy]:
    """Every group fact that is on record, by every family of `inputs`, from students of other
    cohorts.
    """
    rng = np.random.default_rng(seed)
    sample = np.sort(rng.permutation(len(students))[:_MAX_STUDENTS])
    families = list(dict.fromkeys(FEATURES_BY_NAME[name].family for name in inputs))
    columns = {
        family: [name for name in inputs if FEATURES_BY_NAME[name].family == family]
        for family in families
    }
    columns[ALL_FAMILIES] = list(inputs)
    proxies = []
    for attribute in students.groups.columns:
        if attribute in EXCLUDED_ATTRIBUTES or INTERSECTION_SEPARATOR in attribute:
            continue
        values = students.groups[attribute].iloc[sample].reset_index(drop=True)
        cohorts = students.cohorts.iloc[sample].reset_index(drop=True)
        is_testable = values.isin(
            [
                name
                for name, size in values.value_counts().items()
                if name != NOT_RECORDED and size >= fewest
            ]
        ).to_numpy()
        if values[is_testable].nunique() < 2:
            continue
        rows = students.features.iloc[sample][is_testable]
        proxies += list(
            _attribute_proxies(
                attribute, rows, columns, values[is_testable], cohorts[is_testable], confidence, rng
            )
        )
    return proxies


def _attribute_proxies(
    attribute: str,
    rows: pd.DataFrame,
    columns: dict[str, list[str]],
    values: pd.Series,
    cohorts: pd.Series,
    confidence: float,
    rng: np.random.Generator,
) -> Iterator[Proxy]:
    codes, names = pd.factorize(values, sort=True)
    cohort_codes = pd.factorize(cohorts, sort=True)[0]
    drawn = rng.multinomial(
        cohort_codes.max() + 1,
        np.full(cohort_codes.max() + 1, 1 / (cohort_codes.max() + 1)),
        _DRAWS,
    )
    folds = assign_folds(cohorts.reset_index(drop=True), _FOLDS, 0)
    for family, inputs in columns.items():
        probabilities = _predicted_probabilities(
            rows[inputs].to_numpy(dtype="float64"), codes.astype(np.intp), folds, len(names)
        )
        weights = np.vstack([np.ones(len(cohort_codes)), drawn[:, cohort_codes]])
        aucs = np.column_stack(
            [auc(probabilities[:, place], codes == place, weights) for place in range(len(names))]
        )
        sizes = np.bincount(codes)
        weighted_aucs = np.nansum(aucs * sizes, axis=1) / (np.isfinite(aucs) * sizes).sum(axis=1)
        tails = np.quantile(weighted_aucs[1:], [(1 - confidence) / 2, (1 + confidence) / 2])
        yield Proxy(
            attribute,
            family,
            round(float(weighted_aucs[0]), 2),
            *(round(float(end), 2) for end in tails),
        )


def auc(score: FloatArray, is_one: BoolArray, weights: FloatArray) -> FloatArray:
    """Area under the curve by draw, ties by halves: weights of shape (draws, rows); NaN where one
    side is empty.
    """
    order = np.argsort(score, kind="stable")
    weights, ones = weights[:, order], is_one[order]
    starts = np.flatnonzero(np.r_[True, np.diff(score[order]) > 0])
    inside = np.add.reduceat(weights * ones, starts, axis=1)
    outside = np.add.reduceat(weights * ~ones, starts, axis=1)
    below = np.cumsum(outside, axis=1) - outside / 2
    with np.errstate(invalid="ignore"):
        areas: FloatArray = (inside * below).sum(axis=1) / (
            inside.sum(axis=1) * outside.sum(axis=1)
        )
    return areas


def _predicted_probabilities(
    rows: FloatArray, codes: Codes, folds: Codes, classes: int
) -> FloatArray:
    """Each student's probability of each group, predicted from other folds; (students, groups)."""
    probabilities = np.full((len(rows), classes), 1 / classes)
    for fold in range(_FOLDS):
        data = lgb.Dataset(rows[folds != fold], codes[folds != fold], free_raw_data=True)
        model = lgb.train(_LIGHTGBM_PARAMETERS | {"num_class": classes}, data, _ROUNDS)
        probabilities[folds == fold] = np.asarray(model.predict(rows[folds == fold], **ONE_THREAD))
    return probabilities
