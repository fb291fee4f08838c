"""Outcomes that were not observed, imputed from those that were.

A student moved away, was given no grade or took no test within the window.

Leaving such episodes out would compare those who stayed, and who stays differs between those with a
support and those without. Each measure is imputed instead: where it was observed, it counts by one
over the probability of being observed (inverse probability of censoring weights), and an outcome
model stands for the rest. The mean of the imputed outcome is right when either the probability or
the outcome model is. Source: Rubin & van der Laan (2007), "A doubly robust censoring unbiased
transformation", International Journal of Biostatistics 3(1). The assumption is that, among students
alike in features and support, those not observed do no better or worse.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from training.estimation.arrays import BoolArray, FloatArray
from training.estimation.parallel import ONE_THREAD
from training.estimation.pseudo_outcomes import append_treatment_dummies, assign_folds, cross_fit

N_FOLDS = 5
MIN_OBSERVED_PROBABILITY = 0.1
"""Observed outcomes count ten times at most: heavier weights would let single episodes decide."""
NOT_APPLICABLE_BELOW = 0.02
"""Where a measure is observed for fewer than one in fifty similar students, it does not apply to
them (no grades in kindergarten): it counts as no change, whatever support they received."""
MIN_OBSERVED = 50
"""Observed episodes below which neither model can be fitted."""
_TREES = (5, 10, 20, 40, 60, 100)
_OBSERVED_MODEL = {
    "objective": "binary",
    "num_leaves": 8,
    "max_depth": 3,
    "lambda_l2": 5.0,
    "learning_rate": 0.1,
}
_OUTCOME_MODEL = {
    "objective": "regression",
    "num_leaves": 8,
    "max_depth": 3,
    "lambda_l2": 5.0,
    "learning_rate": 0.1,
}
_SHARED = {"verbosity": -1, "deterministic": True, "force_row_wise": True} | ONE_THREAD


@dataclass(frozen=True)
class CensoringReport:
    """How far one measure was observed.

    `effective_sample_size`: observed episodes, as the number of equally weighted ones that would be
    as precise (Kish).
    """

    measure: str
    episodes: int
    observed: int
    not_applicable: int
    effective_sample_size: float


def impute_censored(
    points: pd.DataFrame,
    features: pd.DataFrame,
    support: pd.Series,
    clusters: pd.Series,
    seed: int = 0,
) -> tuple[pd.Series, list[CensoringReport]]:
    """The sum of all measures, imputed where some were not observed.

    Args:
        points: progress points by measure, NaN where not observed, shape (episodes, measures).
        features: what was known on the decision day, shape (episodes, features).
        support: what was chosen, shape (episodes,).
        clusters: the student or school of each episode, never split between folds, shape
            (episodes,).

    Returns:
        Progress points, shape (episodes,), and a report for each measure. Where everything was
        observed, just the sum.

    A measure that hardly anybody has counts as no change for the others; whether that is evidence
    enough is decided by `training.episodes.episodes.require_evidence`.
    """
    treatment, supports = pd.factorize(support, sort=True)
    inputs = append_treatment_dummies(features.to_numpy(dtype="float64"), treatment, len(supports))
    folds = assign_folds(clusters, min(N_FOLDS, clusters.nunique()), seed)
    outcome, reports = np.zeros(len(points)), []
    for measure in points.columns:
        values, report = _imputed(
            str(measure), points[measure].to_numpy(dtype="float64"), inputs, folds, seed
        )
        outcome += values
        reports.append(report)
    return pd.Series(outcome, index=points.index), reports


def _imputed(
    measure: str, values: FloatArray, inputs: FloatArray, folds: NDArray[np.intp], seed: int
) -> tuple[FloatArray, CensoringReport]:
    is_observed = np.isfinite(values)
    count, observed = len(values), int(is_observed.sum())
    if observed == count:
        return values, CensoringReport(measure, count, observed, 0, float(count))
    if observed < MIN_OBSERVED:
        report = CensoringReport(measure, count, observed, count - observed, 0.0)
        return np.where(is_observed, values, 0.0), report
    probability = _observed_probability(is_observed, inputs, folds, seed)
    expected = _expected_values(
        np.where(is_observed, values, 0.0), is_observed, inputs, folds, seed
    )
    applies = is_observed | (probability >= NOT_APPLICABLE_BELOW)
    weight = is_observed / np.maximum(probability, MIN_OBSERVED_PROBABILITY)
    correction = np.where(is_observed, weight * (values - expected), 0.0)
    imputed = np.where(applies, expected + correction, 0.0)
    effective = float(weight.sum() ** 2 / (weight**2).sum())
    return imputed, CensoringReport(measure, count, observed, int((~applies).sum()), effective)


def _observed_probability(
    is_observed: BoolArray, inputs: FloatArray, folds: NDArray[np.intp], seed: int
) -> FloatArray:
    """Probability that the measure is observed, out of fold."""
    fit = cross_fit(
        _OBSERVED_MODEL | _SHARED | {"seed": seed},
        inputs,
        is_observed.astype("float64"),
        folds,
        _TREES,
    )
    return np.clip(fit.out_of_fold, 1e-6, 1 - 1e-6)


def _expected_values(
    values: FloatArray,
    is_observed: BoolArray,
    inputs: FloatArray,
    folds: NDArray[np.intp],
    seed: int,
) -> FloatArray:
    """The expected measure, out of fold, from a model of the observed ones."""
    parameters = _OUTCOME_MODEL | _SHARED | {"seed": seed}
    return cross_fit(parameters, inputs, values, folds, _TREES, is_observed).out_of_fold
