"""A real ranker, taught on made-up numbers that one support is followed by progress whoever takes
part.
"""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pandas as pd

from features.catalog import feature_names
from tests.serving.conftest import TestSite
from training.ranking.model_file import RankerModel
from training.ranking.ranker import BenefitRanker


def train_model(support: str) -> RankerModel:
    rng = np.random.default_rng(3)
    features = pd.DataFrame({name: rng.normal(0, 1, 600) for name in feature_names()})
    given = pd.Series(np.where(rng.random(600) < 0.4, support, "none"))
    outcome = pd.Series(np.where(given == support, 4.0, 0.0) + rng.normal(0, 1, 600))
    students = pd.Series([f"t{number}" for number in range(600)])
    ranker = BenefitRanker((support,), n_folds=2, min_leaf=30, rounds=8).fit(
        features, outcome, given, students
    )
    return RankerModel(ranker, {}, "ab" * 32)


def install_model(site: TestSite, model: RankerModel) -> None:
    """Let it serve. Approval itself is proved in tests/fairness."""
    site.app.state.site.approved_models = SimpleNamespace(
        model=lambda now: (model, ""), challenger=lambda now: None
    )
