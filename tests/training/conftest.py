"""A small past with a known truth: who was helped by what, and by how much."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd
import pytest

from features.catalog import feature_names
from training.episodes.episodes import Episodes
from training.estimation.pseudo_outcomes import NONE
from training.ranking.ranker import BenefitRanker

SUPPORTS = ("food", "tutoring")
DAYS = ("2025-10-01", "2025-12-01", "2026-02-02")
PROGRAMS = pd.DataFrame(
    {"support": SUPPORTS, "min_grade": [np.nan, np.nan], "max_grade": [np.nan, np.nan]}
)


@dataclass(frozen=True)
class Past:
    """Episodes drawn with a confounded assignment; `truth` is the benefit of each support for each
    row.
    """

    features: pd.DataFrame
    support: pd.Series
    outcome: pd.Series
    student: pd.Series
    truth: pd.DataFrame


def draw_past(seed: int, rows: int = 6_000) -> Past:
    """Tutoring adds 4 points below a course average of 75, food 5 points with 3 or more Mondays
    missed; else nothing.

    Both went mostly to students who were doing worse anyway.
    """
    rng = np.random.default_rng(seed)
    X = pd.DataFrame({name: rng.normal(0, 1, rows) for name in feature_names()})
    X["grade_average"] = rng.normal(80, 9, rows)
    X["monday_absences_60"] = rng.poisson(1.2, rows).astype("float64")
    X["absence_rate_60"] = np.clip(
        rng.normal(0.08, 0.05, rows) + 0.02 * X["monday_absences_60"], 0, 1
    )
    truth = pd.DataFrame(
        {
            "food": np.where(X["monday_absences_60"] >= 3, 5.0, 0.0),
            "tutoring": np.where(X["grade_average"] < 75, 4.0, 0.0),
        }
    )
    need = (78 - X["grade_average"]) / 9 + 8 * (X["absence_rate_60"] - 0.1)
    chance = 0.35 / (1 + np.exp(-need))
    drawn = rng.random(rows)
    support = np.where(drawn < chance / 2, "food", np.where(drawn < chance, "tutoring", NONE))
    helped = np.select(
        [support == "food", support == "tutoring"], [truth["food"], truth["tutoring"]], 0.0
    )
    outcome = -3.0 * need + helped + rng.normal(0, 2.0, rows)
    return Past(
        X, pd.Series(support), pd.Series(outcome), pd.Series([f"s{i}" for i in range(rows)]), truth
    )


def episodes_of(past: Past, days: tuple[str, ...] = DAYS) -> Episodes:
    """A past in which every day has an equal share."""
    day = pd.Series(np.array(days)[np.arange(len(past.outcome)) % len(days)])
    return Episodes(past.features, past.student, day, past.support, past.outcome)


@pytest.fixture(scope="session")
def past() -> Past:
    return draw_past(11)


@pytest.fixture(scope="session")
def ranker(past: Past) -> BenefitRanker:
    return BenefitRanker(SUPPORTS, min_leaf=50).fit(
        past.features, past.outcome, past.support, past.student
    )
