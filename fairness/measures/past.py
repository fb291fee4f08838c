"""What the records hold of each group: supports given, absences and incidents written down, and
what came of support.

A model learns from these and sees through them, so a gap here is a question for the district, not a
fault of the model. That two groups differ is no proof that something is amiss with the records. So
students are compared within what their other records predict.
"""

from __future__ import annotations

from collections.abc import Sequence

import lightgbm as lgb
import numpy as np
import pandas as pd

from fairness.checks.policy import Policy
from fairness.population.comparisons import Codes, Measure, MeasureTable
from fairness.population.students import (
    AuditPopulation,
    alert_severities,
    need_codes,
    quantile_codes,
)
from features.catalog import CATALOG
from records.canonical.schema import Category
from training.episodes.episodes import Episodes
from training.estimation.arrays import BoolArray, FloatArray
from training.estimation.parallel import ONE_THREAD
from training.estimation.pseudo_outcomes import assign_folds
from training.evaluation.evaluate import EvaluationSet, best_support_benefits
from training.ranking.ranker import BenefitRanker
from training.ranking.suggestions import open_to_grade

MIN_STUDENTS_TO_PREDICT = 500
"""With fewer students, no record is predicted from the others."""
_TENTHS = 10
_MAX_DAYS_IN_NEED = 3
"""Decision days in need from which on they count as many."""
_FOLDS = 5
_LIGHTGBM_PARAMETERS = {
    "objective": "regression",
    "num_leaves": 8,
    "learning_rate": 0.1,
    "min_data_in_leaf": 50,
    "verbosity": -1,
    "deterministic": True,
    "seed": 0,
} | ONE_THREAD
_ROUNDS = 40


def record_measures(students: AuditPopulation) -> list[Measure]:
    """Absences and incidents on record, within tenths of what the other records predict.

    Nothing where there are too few students, or where none of a kind is on record.
    """
    absent, days = (
        students.features[name].to_numpy(dtype="float64")
        for name in ("absent_days_year", "days_enrolled_year")
    )
    incidents = students.features["incidents_year"].to_numpy(dtype="float64")
    measures: list[Measure] = []
    if len(students) < MIN_STUDENTS_TO_PREDICT:
        return measures
    known = np.isfinite(absent) & (days > 0)
    if absent[known].sum() > 0:
        share = np.where(known, absent / np.where(known, days, 1.0), np.nan)
        measures.append(
            Measure(
                "attendance_record",
                "",
                np.where(known, absent, 0.0),
                np.where(known, days, 0.0),
                _predicted_tenths(students, share, {Category.ATTENDANCE, Category.BEHAVIOR}),
            )
        )
    if (incidents > 0).any():
        has = (incidents > 0).astype("float64")
        measures.append(
            Measure(
                "discipline_record",
                "",
                has,
                np.ones(len(has)),
                _predicted_tenths(students, has, {Category.BEHAVIOR}),
            )
        )
    return measures


def past_support_measures(
    episodes: Episodes,
    programs: pd.DataFrame,
    students: AuditPopulation,
    supports: Sequence[str],
    policy: Policy,
) -> MeasureTable:
    """Who ever started each support on the decision days, of those who were ever in need then and
    to whom it was open.

    A student counts once: single days tell too little, since few supports begin on each. Equal need
    is the same most severe alerts on as many days, three or more being as many.
    """
    rows = episodes.student.isin(students.groups.index).to_numpy()
    own = episodes.take(np.flatnonzero(rows).astype(np.intp))
    severity = alert_severities(own.features.set_axis(range(len(own)), axis=0), students.rules)
    need = (severity.max(axis=1) >= policy.need_severity).to_numpy()
    may = open_to_grade(programs, own.features["grade_level"], supports)
    codes, who = pd.factorize(own.student, sort=True)
    measures = []
    for support in supports:
        in_need_and_eligible = need & may[support].to_numpy(dtype=bool)
        started = in_need_and_eligible & (own.support == support).to_numpy()
        days, starts = (
            np.bincount(codes, flags, len(who)) for flags in (in_need_and_eligible, started)
        )
        worst = (
            severity[in_need_and_eligible]
            .groupby(codes[in_need_and_eligible])
            .max()
            .reindex(range(len(who)), fill_value=0)
        )
        days_in_need = np.minimum(days, _MAX_DAYS_IN_NEED).astype(np.intp)
        measures.append(
            Measure(
                "past_support",
                support,
                (starts > 0).astype("float64"),
                (days > 0).astype("float64"),
                need_codes(worst) * (_MAX_DAYS_IN_NEED + 1) + days_in_need,
            )
        )
    return MeasureTable(tuple(measures), *groups_and_cohorts(pd.Series(who), students))


def calibration_measures(
    evaluation_set: EvaluationSet, ranker: BenefitRanker, students: AuditPopulation
) -> MeasureTable:
    """What came of each judged student's best support, doubly robust, less what was expected:
    progress points, the mean over the decision days.
    """
    expected, realized = best_support_benefits(evaluation_set, ranker)
    difference = (
        pd.Series(realized - expected).groupby(evaluation_set.episodes.student.to_numpy()).mean()
    )
    difference = difference[difference.index.isin(students.groups.index)]
    measure = Measure(
        "calibration", "", np.asarray(difference, dtype="float64"), np.ones(len(difference))
    )
    return MeasureTable((measure,), *groups_and_cohorts(pd.Series(difference.index), students))


def groups_and_cohorts(
    student: pd.Series, students: AuditPopulation
) -> tuple[pd.DataFrame, pd.Series]:
    """The groups and cohorts of rows, indexed by their students."""
    return students.groups.loc[student], students.cohorts.loc[student]


def _predicted_tenths(
    students: AuditPopulation, target: FloatArray, hidden: set[Category]
) -> Codes:
    """Tenths (0 to 9) of `target` as the features outside `hidden` predict it, of each cohort from
    the others.
    """
    names = [feature.name for feature in CATALOG if feature.category not in hidden]
    rows, known = students.features[names].to_numpy(dtype="float64"), np.isfinite(target)
    folds = assign_folds(students.cohorts.reset_index(drop=True), _FOLDS, 0)
    predicted = np.full(len(target), float(np.nanmean(target)))
    for fold in range(_FOLDS):
        training_rows: BoolArray = known & (folds != fold)
        if training_rows.sum() >= MIN_STUDENTS_TO_PREDICT // 2 and (folds == fold).any():
            data = lgb.Dataset(rows[training_rows], target[training_rows], free_raw_data=True)
            model = lgb.train(_LIGHTGBM_PARAMETERS, data, _ROUNDS)
            predicted[folds == fold] = np.asarray(model.predict(rows[folds == fold], **ONE_THREAD))
    return quantile_codes(predicted, _TENTHS)
