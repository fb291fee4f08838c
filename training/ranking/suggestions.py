"""From expected benefits to a short ranked list, or to an abstention with its reason.

A support is suggested when it is open to the student, the lower bound of its benefit is above zero
and the benefit is not too small to matter. What may not be seen is missing from the features
already, so that nothing here can depend on it. Serving and the audit share this.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date

import numpy as np
import pandas as pd

from features.attendance import grade_level
from features.catalog import CATALOG
from records.access.scoped_records import ScopedRecords
from records.canonical.columns import Programs, ServiceEnrollments, Students
from records.canonical.schema import Category
from training.estimation.arrays import BoolArray
from training.estimation.policy_value import Actions
from training.ranking.calibration import Benefit
from training.ranking.ranker import SMALLEST_BENEFIT, BenefitRanker

TOO_LITTLE_DATA = "little_known"
NO_OPEN_SUPPORT = "nothing_open"
TOO_UNCERTAIN = "not_sure"
ABSTENTION_REASONS = {
    TOO_LITTLE_DATA: "attendance and grades are not shared with you or not on record",
    NO_OPEN_SUPPORT: "every support open to this student is already being received",
    TOO_UNCERTAIN: "no support is certain enough to help by a meaningful amount",
}
_EVIDENCE = [
    feature.name
    for feature in CATALOG
    if feature.category in (Category.ATTENDANCE, Category.GRADES)
]
"""Features of which one at least must be known for a suggestion."""


@dataclass(frozen=True)
class Suggestions:
    """Ranked supports, and why there are none for the other students.

    Attributes:
        table: student_id, support, rank (1 is best), benefit, lower, upper, sorted by student and
            rank.
        silence: for every student without a row, one code of `ABSTENTION_REASONS`.
        benefits: of every allowed support, whether it is suggested or not, in the order of the
            students.
    """

    table: pd.DataFrame
    silence: pd.Series
    benefits: Mapping[str, Benefit]


def eligible_supports(records: ScopedRecords, as_of: date, supports: Sequence[str]) -> pd.DataFrame:
    """Which supports are open: a program serves the grade, and none of the kind is received yet.

    Returns:
        bool, students x supports. Only what the scope shows of a student's services counts.
    """
    index = pd.Index(records.students, name=Students.STUDENT_ID, dtype=object)
    grade_now = records.ask(grade_level, as_of).set_index(Students.STUDENT_ID)[Students.GRADE_LEVEL]
    programs = records.frame(Programs.TABLE)
    eligible = open_to_grade(programs, grade_now.reindex(index).astype("float64"), supports)
    active = active_enrollments(records, programs, as_of)
    asked = active[active[Programs.SUPPORT].isin(list(supports))]
    for support, enrollments in asked.groupby(Programs.SUPPORT):
        receiving = eligible.index.isin(enrollments[ServiceEnrollments.STUDENT_ID])
        eligible.loc[receiving, str(support)] = False
    return eligible


def active_enrollments(records: ScopedRecords, programs: pd.DataFrame, as_of: date) -> pd.DataFrame:
    """Enrollments with a `support` that are active on the day, as far as the scope shows them."""
    services = records.frame(ServiceEnrollments.TABLE).merge(
        programs[[Programs.PROGRAM_ID, Programs.SUPPORT]], on=Programs.PROGRAM_ID
    )
    start = pd.to_datetime(services[ServiceEnrollments.START_DATE])
    end = pd.to_datetime(services[ServiceEnrollments.END_DATE])
    day = pd.Timestamp(as_of)
    is_active = (start <= day) & (end.isna() | (end > day))
    return services[is_active & services[Programs.SUPPORT].notna()]


def open_to_grade(
    programs: pd.DataFrame, grades: pd.Series, supports: Sequence[str]
) -> pd.DataFrame:
    """Which supports have a program for each grade: bool, indexed as `grades`.

    An unknown grade is served only by programs without limits.
    """
    columns = {}
    for support in supports:
        fits = np.zeros(len(grades), dtype=bool)
        limits = programs.loc[
            programs[Programs.SUPPORT] == support, [Programs.MIN_GRADE, Programs.MAX_GRADE]
        ].astype("float64")
        for low, high in limits.to_numpy():
            above = (grades >= low).to_numpy() if np.isfinite(low) else True
            below = (grades <= high).to_numpy() if np.isfinite(high) else True
            fits |= np.broadcast_to(above & below, len(grades))
        columns[support] = fits
    return pd.DataFrame(columns, index=grades.index, dtype=bool)


def worth_suggesting(benefit: Benefit, smallest: float = SMALLEST_BENEFIT) -> BoolArray:
    """Whether a support surely helps, and by `smallest` at least: shape (students,)."""
    is_worth: BoolArray = (benefit.lower > 0) & (benefit.mean >= smallest)
    return is_worth


def choose_actions(
    ranker: BenefitRanker,
    features: pd.DataFrame,
    programs: pd.DataFrame,
    capacity: int | None = None,
) -> Actions:
    """The action for each row: 0 for none, else 1 + index of the best support worth suggesting.

    Args:
        ranker: fitted.
        features: of students, shape (n, features).
        programs: which grades each support is open to.
        capacity: the most rows that may get a support: those with the most to gain. None for no
            limit.
    """
    benefits = ranker.benefits(features)
    is_open = open_to_grade(programs, features["grade_level"], ranker.supports_).to_numpy(
        dtype=bool
    )
    means = np.column_stack([benefits[name].mean for name in ranker.supports_])
    is_worth = np.column_stack(
        [worth_suggesting(benefits[name], ranker.smallest_benefit) for name in ranker.supports_]
    )
    means = np.where(is_worth & is_open, means, -np.inf)
    best, most = means.argmax(axis=1), means.max(axis=1)
    actions = np.where(np.isfinite(most), best + 1, 0)
    if capacity is not None and (actions > 0).sum() > capacity:
        most_to_gain = np.argsort(-most, kind="stable")[:capacity]
        actions = np.where(np.isin(np.arange(len(actions)), most_to_gain), actions, 0)
    return actions.astype(np.intp)


def suggest(ranker: BenefitRanker, features: pd.DataFrame, allowed: pd.DataFrame) -> Suggestions:
    """The ranked supports of each student in `features` among those that are `allowed`.

    Args:
        ranker: fitted.
        features: of students, as the viewer may see them.
        allowed: bool, students x supports; a support that the ranker does not know is left out.
    """
    has_evidence = features[_EVIDENCE].notna().any(axis=1).to_numpy()
    supports = [name for name in ranker.supports_ if name in allowed.columns]
    is_allowed = allowed[supports].to_numpy(dtype=bool)
    benefits = ranker.benefits(features) if supports and len(features) else {}
    parts = []
    for column, support in enumerate(supports if benefits else []):
        benefit = benefits[support]
        is_worth = worth_suggesting(benefit, ranker.smallest_benefit)
        rows = np.flatnonzero(is_worth & is_allowed[:, column] & has_evidence)
        parts.append(
            pd.DataFrame(
                {
                    "student_id": features.index[rows],
                    "support": support,
                    "benefit": benefit.mean[rows],
                    "lower": benefit.lower[rows],
                    "upper": benefit.upper[rows],
                }
            )
        )
    table = (
        pd.concat(parts, ignore_index=True)
        if parts
        else pd.DataFrame(columns=["student_id", "support", "benefit", "lower", "upper"])
    )
    table = table.sort_values(
        ["student_id", "benefit", "support"], ascending=[True, False, True], ignore_index=True
    )
    table["rank"] = table.groupby("student_id").cumcount() + 1
    reason = np.where(is_allowed.any(axis=1), TOO_UNCERTAIN, NO_OPEN_SUPPORT)
    reason = np.where(~has_evidence, TOO_LITTLE_DATA, reason)
    abstentions = pd.Series(reason, index=features.index, dtype=object)
    has_suggestion = abstentions.index.isin(table["student_id"])
    return Suggestions(table, abstentions[~has_suggestion], benefits)
