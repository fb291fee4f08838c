"""The ranker: finds who is helped, knows when it is not sure, and explains itself without a residual."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import shap
from sklearn.base import clone

from features.catalog import BY_NAME
from records.schema import Category
from tests.training.conftest import SUPPORTS, Past, draw_past
from training.ranker import BenefitRanker


def test_the_benefit_found_is_that_of_the_truth_and_not_the_gap_that_habit_left(past: Past, ranker: BenefitRanker):
    new = draw_past(12)
    found = ranker.predict_benefit(new.features)
    for support in SUPPORTS:
        helped = new.truth[support] > 0
        true_gap = new.truth[support][helped].mean()
        assert found[support].mean[helped].mean() == pytest.approx(true_gap, abs=1.2)
        assert found[support].mean[~helped].mean() == pytest.approx(0.0, abs=0.8)
        naive = past.outcome[past.support == support].mean() - past.outcome[past.support == "none"].mean()
        average = new.truth[support].mean()
        assert abs(found[support].mean.mean() - average) < abs(naive - average) / 2
        assert (found[support].lower <= found[support].mean).all()
        assert (found[support].mean <= found[support].upper).all()


def test_where_nothing_helps_hardly_anybody_gets_a_sure_benefit():
    null = draw_past(13)
    helped = np.select([null.support == "food", null.support == "tutoring"],
                       [null.truth["food"], null.truth["tutoring"]], 0.0)  # fmt: skip
    fitted = BenefitRanker(SUPPORTS, min_leaf=400).fit(null.features, null.support, null.outcome - helped, null.student)
    for benefit in fitted.predict_benefit(null.features).values():
        assert ((benefit.lower > 0) & (benefit.mean >= 1.0)).mean() <= 0.05


def test_contributions_are_tree_shap_and_add_up_to_the_benefit(past: Past, ranker: BenefitRanker):  # R6
    rows = past.features.head(60).copy()
    rows.iloc[::3, 5:9] = np.nan
    for support in SUPPORTS:
        base, contributions = ranker.contributions(rows, support)
        np.testing.assert_allclose(base + contributions.sum(axis=1), ranker.predict_benefit(rows)[support].mean,
                                   rtol=0, atol=1e-9)  # fmt: skip
        by_shap = [shap.TreeExplainer(model).shap_values(rows.to_numpy()) for model in ranker.models_[support]]
        np.testing.assert_allclose(contributions, np.mean(by_shap, axis=0), rtol=0, atol=1e-9)


def test_a_ranker_that_learned_with_dropout_stays_right_on_average_when_marks_are_hidden(ranker: BenefitRanker):
    new = draw_past(14)
    masked = new.features.copy()
    masked[[name for name in masked.columns if BY_NAME[name].category is Category.GRADES]] = np.nan
    found = ranker.predict_benefit(masked)
    assert found["tutoring"].mean.mean() == pytest.approx(new.truth["tutoring"].mean(), abs=0.7)
    helped = new.truth["food"] > 0
    assert found["food"].mean[helped].mean() > found["food"].mean[~helped].mean() + 2


def test_the_same_past_and_seed_give_the_same_model_and_a_clone_is_unfitted(past: Past, ranker: BenefitRanker):
    again = clone(ranker)
    assert not hasattr(again, "models_")
    assert again.get_params() == ranker.get_params()
    again.fit(past.features, past.support, past.outcome, past.student)
    assert again.model_texts() == ranker.model_texts()


def test_every_leaf_stands_for_ten_episodes_or_more(past: Past, ranker: BenefitRanker):  # R58
    counts = []
    for models in ranker.models_.values():
        for model in models:
            trees = model.trees_to_dataframe()
            counts.append(trees.loc[trees["left_child"].isna(), "count"].min())
    assert min(counts) / 2 >= 10
    with pytest.raises(ValueError, match="min_leaf is 12"):
        BenefitRanker(SUPPORTS, min_leaf=12).fit(past.features, past.support, past.outcome, past.student)


def test_thresholds_of_a_model_are_no_single_students_values(past: Past, ranker: BenefitRanker):  # R58
    trees = pd.concat([model.trees_to_dataframe() for models in ranker.models_.values() for model in models])
    averages = trees.loc[trees["split_feature"] == "grade_average", "threshold"].astype(float).to_numpy()
    halves = averages * 2
    assert len(averages) and np.abs(halves - halves.round()).max() < 1e-6
