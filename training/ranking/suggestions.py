"""From expected benefits to a short ranked list, or to silence with its reason. Serving and the
audit share this.

A support is suggested when it is open to the student, the lower bound of its benefit is above zero
and the benefit is not too small to matter. What may not be seen is missing from the features
already, so that nothing here can depend on it.
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
from records.canonical.schema import Category
from training.estimation.arrays import BoolArray
from training.estimation.policy_value import Actions
from training.ranking.calibration import Benefit
from training.ranking.ranker import SMALLEST_BENEFIT, BenefitRanker

TOO_LITTLE_DATA = "little_known"
NO_OPEN_SUPPORT = "nothing_open"
TOO_UNCERTAIN = "not_sure"
ABSTENTION_REASONS = {
    TOO_LITTLE_DATA: "neither attendance nor marks may be seen, or none are on record",
    NO_OPEN_SUPPORT: "no support is open to the student that is not received already",
    TOO_UNCERTAIN: "for no support is it sure enough that it would help, and by enough to matter",
}
_EVIDENCE = [
    feature.name
    for feature in CATALOG
    if feature.category in (Category.ATTENDANCE, Category.GRADES)
]


@dataclass(frozen=True)
class Suggestions:
    """`table`: student_id, support, rank (1 is best), benefit, lower, upper, sorted by student and
    rank.

    `silence`: for every student without a row, one code of `ABSTENTION_REASONS`. `benefits`: of
    every support that was asked about, whether it is suggested or not, in the order of the
    students.
    """

    table: pd.DataFrame
    silence: pd.Series
    benefits: Mapping[str, Benefit]


def eligible_supports(records: ScopedRecords, as_of: date, supports: Sequence[str]) -> pd.DataFrame:
    """Which supports are open: a program serves the grade, and the student is not in one of that
    support already.

    Returns:
        bool, students x supports. Only what the scope shows of a student's services counts.
    """
    index = pd.Index(records.students, name="student_id", dtype=object)
    grades = records.ask(grade_level, as_of).set_index("student_id")["grade_level"].reindex(index)
    programs = records.frame("programs")
    open_now = open_to_grade(programs, grades.astype("float64"), supports)
    active = active_enrollments(records, programs, as_of)
    for support, rows in active[active["support"].isin(list(supports))].groupby("support"):
        open_now.loc[open_now.index.isin(rows["student_id"]), str(support)] = False
    return open_now


def active_enrollments(records: ScopedRecords, programs: pd.DataFrame, as_of: date) -> pd.DataFrame:
    """Who takes part in a program with a support on the day, as far as the scope shows it: the
    enrolments, with `support`.
    """
    services = records.frame("service_enrollments").merge(
        programs[["program_id", "support"]], on="program_id"
    )
    start, end, day = (
        pd.to_datetime(services["start_date"]),
        pd.to_datetime(services["end_date"]),
        pd.Timestamp(as_of),
    )
    return services[(start <= day) & (end.isna() | (end > day)) & services["support"].notna()]


def open_to_grade(
    programs: pd.DataFrame, grades: pd.Series, supports: Sequence[str]
) -> pd.DataFrame:
    """Which supports have a program for each grade: bool, indexed as `grades`. An unknown grade
    fits only no limits.
    """
    columns = {}
    for support in supports:
        fits = np.zeros(len(grades), dtype=bool)
        offered = programs.loc[programs["support"] == support, ["min_grade", "max_grade"]].astype(
            "float64"
        )
        for low, high in offered.to_numpy():
            above = (grades >= low).to_numpy() if np.isfinite(low) else True
            below = (grades <= high).to_numpy() if np.isfinite(high) else True
            fits |= np.broadcast_to(above & below, len(grades))
        columns[support] = fits
    return pd.DataFrame(columns, index=grades.index, dtype=bool)


def worth_suggesting(benefit: Benefit, smallest: float = SMALLEST_BENEFIT) -> BoolArray:
    """Whether a support is sure enough to help, and by `smallest` at least: shape (students,)."""
    worth: BoolArray = (benefit.lower > 0) & (benefit.mean >= smallest)
    return worth


def choose_actions(
    ranker: BenefitRanker, features: pd.DataFrame, programs: pd.DataFrame, places: int | None = None
) -> Actions:
    """The action for each row: 0 for none, else 1 + index of the best support that is sure to help.

    With `places`, only so many rows get one: those with the most to gain.
    """
    benefits = ranker.benefits(features)
    may = open_to_grade(programs, features["grade_level"], ranker.supports_).to_numpy(dtype=bool)
    means = np.column_stack([benefits[name].mean for name in ranker.supports_])
    worth = np.column_stack(
        [worth_suggesting(benefits[name], ranker.smallest_benefit) for name in ranker.supports_]
    )
    means = np.where(worth & may, means, -np.inf)
    best, most = means.argmax(axis=1), means.max(axis=1)
    chosen = np.where(np.isfinite(most), best + 1, 0)
    if places is not None and (chosen > 0).sum() > places:
        kept = np.argsort(-most, kind="stable")[:places]
        chosen = np.where(np.isin(np.arange(len(chosen)), kept), chosen, 0)
    return chosen.astype(np.intp)


def suggest(ranker: BenefitRanker, features: pd.DataFrame, allowed: pd.DataFrame) -> Suggestions:
    """The ranked supports of each student in `features` (index student_id) among those that are
    `allowed` (same index).

    Args:
        allowed: bool, students x supports; a support that the ranker does not know is left out.
    """
    known = features[_EVIDENCE].notna().any(axis=1).to_numpy()
    supports = [name for name in ranker.supports_ if name in allowed.columns]
    may = allowed[supports].to_numpy(dtype=bool)
    found = ranker.benefits(features) if supports and len(features) else {}
    parts = []
    for place, support in enumerate(supports if found else []):
        benefit = found[support]
        shown = np.flatnonzero(
            worth_suggesting(benefit, ranker.smallest_benefit) & may[:, place] & known
        )
        parts.append(
            pd.DataFrame(
                {
                    "student_id": features.index[shown],
                    "support": support,
                    "benefit": benefit.mean[shown],
                    "lower": benefit.lower[shown],
                    "upper": benefit.upper[shown],
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
    reason = np.where(
        ~known, TOO_LITTLE_DATA, np.where(may.any(axis=1), TOO_UNCERTAIN, NO_OPEN_SUPPORT)
    )
    silence = pd.Series(reason, index=features.index, dtype=object)
    return Suggestions(table, silence[~silence.index.isin(table["student_id"])], found)
