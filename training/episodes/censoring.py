"""Outcomes that are not known: a student moved away, was given no mark or took no test within the
window.

Leaving such episodes out would compare those who stayed, and who stays differs between those with a
support and those without. Each measure is completed instead: where it is known, it counts by one
over the chance of being known (inverse probability of censoring weights), and what was expected of
such a student stands for the rest. The mean of the completed outcome is right when either the
chance or the expectation is. Source: Rubin & van der Laan (2007), "A doubly robust censoring
unbiased transformation", International Journal of Biostatistics 3(1). It takes as given that, among
students alike in features and support, those of whom nothing is known are no better or worse off.
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
"""Known outcomes count ten times at most: heavier weights would let single episodes decide."""
NOT_APPLICABLE_BELOW = 0.02
"""Students who are alike and whose measure is known in fewer than one in fifty are ones it does not
apply to (no marks in kindergarten): it counts as no change for them, whatever they were given."""
MIN_OBSERVED = 50
"""Known episodes, below which there is nothing to learn from who is known and what of."""
_TREES = (5, 10, 20, 40, 60, 100)
_KNOWN = {
    "objective": "binary",
    "num_leaves": 8,
    "max_depth": 3,
    "lambda_l2": 5.0,
    "learning_rate": 0.1,
}
_POINTS = {
    "objective": "regression",
    "num_leaves": 8,
    "max_depth": 3,
    "lambda_l2": 5.0,
    "learning_rate": 0.1,
}
_SHARED = {"verbosity": -1, "deterministic": True, "force_row_wise": True} | ONE_THREAD


@dataclass(frozen=True)
class CensoringReport:
    """How far one measure was known: a line of the report on an outcome.

    `effective`: known episodes, as the number that would weigh alike (Kish).
    """

    measure: str
    episodes: int
    known: int
    does_not_apply: int
    effective: float


def impute_censored(
    points: pd.DataFrame,
    features: pd.DataFrame,
    support: pd.Series,
    students: pd.Series,
    seed: int = 0,
) -> tuple[pd.Series, list[CensoringReport]]:
    """The sum of all measures, completed where some are not known.

    Args:
        points: progress points by measure, NaN where unknown, shape (episodes, measures).
        features: what was known on the decision day, shape (episodes, features).
        support, students: what was chosen, and who it was about, shape (episodes,).

    Returns:
        Progress points, shape (episodes,), and a report for each measure. Where all is known, just
        the sum.

    A measure that hardly anybody has counts as no change for the others; whether that is evidence
    enough is for `training.episodes.episodes.require_evidence`.
    """
    codes, names = pd.factorize(support, sort=True)
    given = append_treatment_dummies(features.to_numpy(dtype="float64"), codes, len(names))
    folds = assign_folds(students, min(N_FOLDS, students.nunique()), seed)
    whole, report = np.zeros(len(points)), []
    for measure in points.columns:
        values, found = _completed(
            str(measure), points[measure].to_numpy(dtype="float64"), given, folds, seed
        )
        whole += values
        report.append(found)
    return pd.Series(whole, index=points.index), report


def _completed(
    measure: str, values: FloatArray, given: FloatArray, folds: NDArray[np.intp], seed: int
) -> tuple[FloatArray, CensoringReport]:
    known = np.isfinite(values)
    if known.all():
        return values, CensoringReport(measure, len(values), len(values), 0, float(len(values)))
    if known.sum() < MIN_OBSERVED:
        return np.where(known, values, 0.0), CensoringReport(
            measure, len(values), int(known.sum()), int((~known).sum()), 0.0
        )
    chance = _chances(known, given, folds, seed)
    expected = _expected(np.where(known, values, 0.0), known, given, folds, seed)
    applies = known | (chance >= NOT_APPLICABLE_BELOW)
    weight = known / np.maximum(chance, MIN_OBSERVED_PROBABILITY)
    completed = np.where(
        applies, expected + np.where(known, weight * (values - expected), 0.0), 0.0
    )
    effective = float(weight.sum() ** 2 / (weight**2).sum())
    return completed, CensoringReport(
        measure, len(values), int(known.sum()), int((~applies).sum()), effective
    )


def _chances(known: BoolArray, given: FloatArray, folds: NDArray[np.intp], seed: int) -> FloatArray:
    """Chance that the measure is known, from models that did not see the student."""
    found = cross_fit(
        _KNOWN | _SHARED | {"seed": seed}, given, known.astype("float64"), folds, _TREES
    )
    return np.clip(found.unseen, 1e-6, 1 - 1e-6)


def _expected(
    values: FloatArray, known: BoolArray, given: FloatArray, folds: NDArray[np.intp], seed: int
) -> FloatArray:
    """What is expected of the measure, from models that did not see the student."""
    return cross_fit(_POINTS | _SHARED | {"seed": seed}, given, values, folds, _TREES, known).unseen
