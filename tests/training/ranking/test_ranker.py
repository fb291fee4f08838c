"""The ranker: finds who is helped, knows when it is not sure, and explains itself without a
residual.
"""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import shap
from sklearn.base import clone
from sklearn.utils.estimator_checks import parametrize_with_checks

from features.catalog import FEATURES_BY_NAME
from records.canonical.schema import Category
from tests.training.conftest import SUPPORTS, Past, draw_past
from training.estimation.pseudo_outcomes import PseudoOutcomes
from training.estimation.shrinkage import shrink_to_mean
from training.ranking.calibration import fit_calibration, james_stein_factor
from training.ranking.ranker import BenefitRanker


def test_the_benefit_found_is_that_of_the_truth_and_not_the_gap_that_habit_left(
    past: Past, ranker: BenefitRanker
):
    new = draw_past(12)
    benefits = ranker.benefits(new.features)
    for support in SUPPORTS:
        helped = new.truth[support] > 0
        true_gap = new.truth[support][helped].mean()
        assert benefits[support].mean[helped].mean() == pytest.approx(true_gap, abs=1.2)
        assert benefits[support].mean[~helped].mean() == pytest.approx(0.0, abs=0.8)
        naive = (
            past.outcome[past.support == support].mean()
            - past.outcome[past.support == "none"].mean()
        )
        average = new.truth[support].mean()
        assert abs(benefits[support].mean.mean() - average) < abs(naive - average) / 2
        assert (benefits[support].lower <= benefits[support].mean).all()
        assert (benefits[support].mean <= benefits[support].upper).all()


def test_where_nothing_helps_hardly_anybody_gets_a_sure_benefit():
    null = draw_past(13)
    helped = np.select(
        [null.support == "food", null.support == "tutoring"],
        [null.truth["food"], null.truth["tutoring"]],
        0.0,
    )
    fitted = BenefitRanker(SUPPORTS).fit(
        null.features, null.outcome - helped, null.support, null.student
    )
    for benefit in fitted.benefits(null.features).values():
        assert ((benefit.lower > 0) & (benefit.mean >= 1.0)).mean() <= 0.05


def test_contributions_are_tree_shap_and_add_up_to_the_benefit(
    past: Past, ranker: BenefitRanker
):  # R6
    rows = past.features.head(60).copy()
    rows.iloc[::3, 5:9] = np.nan
    for support in SUPPORTS:
        base, contributions = ranker.contributions(rows, support)
        np.testing.assert_allclose(
            base + contributions.sum(axis=1), ranker.benefits(rows)[support].mean, rtol=0, atol=1e-9
        )
        by_shap = [
            shap.TreeExplainer(model).shap_values(rows.to_numpy())
            for model in ranker.models_[support]
        ]
        slope = ranker.calibration_[support].slope
        np.testing.assert_allclose(
            contributions, slope * np.mean(by_shap, axis=0), rtol=0, atol=1e-9
        )


def test_a_ranker_that_learned_with_dropout_stays_right_on_average_when_marks_are_hidden(
    ranker: BenefitRanker,
):
    new = draw_past(14)
    masked = new.features.copy()
    masked[
        [name for name in masked.columns if FEATURES_BY_NAME[name].category is Category.GRADES]
    ] = np.nan
    benefits = ranker.benefits(masked)
    assert benefits["tutoring"].mean.mean() == pytest.approx(new.truth["tutoring"].mean(), abs=0.7)
    helped = new.truth["food"] > 0
    assert benefits["food"].mean[helped].mean() > benefits["food"].mean[~helped].mean() + 2


def test_the_same_past_and_seed_give_the_same_model_and_a_clone_is_unfitted(
    past: Past, ranker: BenefitRanker
):
    again = clone(ranker)
    assert not hasattr(again, "models_")
    assert again.get_params() == ranker.get_params()
    again.fit(past.features, past.outcome, past.support, past.student)
    assert again.model_texts() == ranker.model_texts()


def test_every_leaf_stands_for_ten_episodes_or_more(past: Past, ranker: BenefitRanker):  # R58
    counts = []
    for models in ranker.models_.values():
        for model in models:
            trees = model.trees_to_dataframe()
            counts.append(trees.loc[trees["left_child"].isna(), "count"].min())
    assert min(counts) / 2 >= 10
    with pytest.raises(ValueError, match="min_leaf is 9"):
        BenefitRanker(SUPPORTS, min_leaf=9).fit(
            past.features, past.outcome, past.support, past.student
        )


def test_thresholds_of_a_model_are_no_single_students_values(
    past: Past, ranker: BenefitRanker
):  # R58
    trees = pd.concat(
        [model.trees_to_dataframe() for models in ranker.models_.values() for model in models]
    )
    averages = (
        trees.loc[trees["split_feature"] == "grade_average", "threshold"].astype(float).to_numpy()
    )
    halves = averages * 2
    assert len(averages) and np.abs(halves - halves.round()).max() < 1e-6


class HalfHelped(BenefitRanker):
    """The ranker as scikit-learn's checks call it: with X and y alone, and a number for each row.

    Every other row had a support.
    """

    def fit(self, X, y):
        rows = len(X) if hasattr(X, "__len__") else X.shape[0]
        return super().fit(X, y, pd.Series(np.where(np.arange(rows) % 2, "tutoring", "none")))

    def predict(self, X):
        return self.benefits(X)["tutoring"].mean


@parametrize_with_checks([HalfHelped(rounds=5, interaction_rounds=2, n_folds=2)])
def test_scikit_learn_finds_an_estimator(estimator: HalfHelped, check):
    check(estimator)


def test_features_of_no_catalog_and_a_trial_of_one_support_will_do():
    rng = np.random.default_rng(5)
    X = rng.normal(0, 1, (4_000, 4))
    given = rng.random(4_000) < 0.5
    y = X[:, 0] + np.where(given, 1.0 + (X[:, 1] > 0), 0.0) + rng.normal(0, 1, 4_000)
    ranker = BenefitRanker().fit(X, y, np.where(given, "program", "none"))
    benefits = ranker.predict_benefit(X)
    assert list(benefits.columns) == [
        ("program", "benefit"),
        ("program", "lower"),
        ("program", "upper"),
    ]
    high, low = (
        benefits["program", "benefit"][X[:, 1] > 0].mean(),
        benefits["program", "benefit"][X[:, 1] <= 0].mean(),
    )
    assert high == pytest.approx(2.0, abs=0.25) and low == pytest.approx(1.0, abs=0.25)
    assert (ranker.predict(X) == "program").all()


@pytest.mark.parametrize(
    ("chosen", "supports", "words"),
    [
        (
            ["control", "x"] * 50,
            None,
            r"no episode has 'none' for its support.*present: control, x",
        ),
        ([0, 1] * 50, None, r"no episode has 'none'.*present: 0, 1"),
        (["none", None] * 50, None, r"support is unknown in 50 of 100 episodes"),
        (["none"] * 100, None, r"no episode has a support, so there is nothing to fit"),
        (["none", "x"] * 50, ("food",), r"no episode has one of food.*present: none, x"),
        (["none"], None, r"support has 1 rows and X 100"),
    ],
)
def test_choices_that_cannot_be_learned_from_are_refused_in_words(chosen, supports, words):
    X = np.random.default_rng(7).normal(0, 1, (100, 2))
    with pytest.raises(ValueError, match=words):
        BenefitRanker(supports).fit(X, X[:, 0], pd.Series(chosen, dtype=object))


def test_a_column_of_words_is_named_with_what_to_do():
    X = pd.DataFrame(
        {
            "age": [1.0, 2.0] * 50,
            "place": pd.Categorical(["town", None] * 50),
            "known": [True, None] * 50,
        }
    )
    with pytest.raises(
        ValueError,
        match=r"column 'place' .* non-numeric values in 50 of 100 rows.*get_dummies",
    ):
        BenefitRanker().fit(X, X["age"], ["none", "x"] * 50)


def test_features_and_supports_may_have_any_name():
    """What `pandas.get_dummies` and `pandas.cut` call columns, LightGBM refuses."""
    rng = np.random.default_rng(10)
    X = pd.DataFrame(
        rng.normal(0, 1, (600, 3)), columns=["age: [0, 10)", 'said "yes"', "new\tline"]
    )
    support = np.where(rng.random(600) < 0.5, "club {5}", "none")
    y = X.iloc[:, 0] + (support != "none")
    plain, named = (
        BenefitRanker(rounds=5, interaction_rounds=2).fit(features, y, support)
        for features in (X.to_numpy(), X)
    )
    benefits = named.predict_benefit(X)
    np.testing.assert_array_equal(benefits, plain.predict_benefit(X.to_numpy()))
    read = BenefitRanker.from_texts(named.feature_names_, named.model_texts(), named.calibration_)
    pd.testing.assert_frame_equal(read.predict_benefit(X[X.columns[::-1]]), benefits)


@pytest.mark.parametrize("random_state", [None, np.random.RandomState(1), np.int64(1)])
def test_a_random_state_may_be_all_that_scikit_learn_allows_and_the_seed_is_kept(
    random_state: object,
):
    X = np.random.default_rng(11).normal(0, 1, (300, 2))
    support = np.where(np.arange(300) % 2 == 0, "x", "none")
    small = BenefitRanker(rounds=5, interaction_rounds=0)
    ranker = clone(small).set_params(random_state=random_state).fit(X, X[:, 0], support)
    again = small.set_params(random_state=ranker.seed_).fit(X, X[:, 0], support)
    pd.testing.assert_frame_equal(again.predict_benefit(X), ranker.predict_benefit(X))


def test_what_is_no_random_state_is_refused():
    with pytest.raises(ValueError, match="'often' cannot be used to seed"):
        BenefitRanker(random_state="often").fit(np.eye(4), np.arange(4), ["none", "x"] * 2)


def test_one_fold_is_refused():
    with pytest.raises(ValueError, match=r"n_folds is 1; cross-fitting needs at least 2 folds"):
        BenefitRanker(n_folds=1).fit(np.eye(4), np.arange(4), ["none", "x"] * 2)


def test_features_that_are_missing_altogether_are_named(past: Past, ranker: BenefitRanker):
    with pytest.raises(ValueError, match=r"X is missing features .* trained on: grade_level;"):
        ranker.predict_benefit(past.features.drop(columns="grade_level"))


def test_a_benefit_of_two_features_together_is_found_though_neither_tells_anything_alone():
    """And where benefits add up, the trees that look for pairs are left out: they would learn
    noise.
    """
    rng = np.random.default_rng(8)
    X = rng.normal(0, 1, (5_000, 4))
    given = np.where(rng.random(5_000) < 0.5, "program", "none")
    alike, helped = X[:, 0] * X[:, 1] > 0, given == "program"
    noise = X[:, 2] + rng.normal(0, 1, 5_000)
    ranker = BenefitRanker().fit(
        X, noise + np.where(helped, np.where(alike, 1.0, -1.0), 0.0), given
    )
    benefits = ranker.predict_benefit(X)["program", "benefit"]
    assert benefits[alike].mean() == pytest.approx(1.0, abs=0.2) and benefits[
        ~alike
    ].mean() == pytest.approx(-1.0, abs=0.2)
    assert ((benefits > 0) == alike).mean() > 0.9 and ranker.n_trees_[1] > 0
    assert (
        BenefitRanker().fit(X, noise + np.where(helped, 0.3 * X[:, 0], 0.0), given).n_trees_[1] == 0
    )


def test_a_table_of_benefits_keeps_the_names_of_its_rows(past: Past, ranker: BenefitRanker):
    rows = past.features.head(5).set_axis(list("abcde"))
    benefits = ranker.predict_benefit(rows)
    assert list(benefits.index) == list("abcde") and benefits.shape == (5, 3 * len(SUPPORTS))
    np.testing.assert_array_equal(benefits["food", "lower"], ranker.benefits(rows)["food"].lower)


def test_of_what_was_gained_on_unseen_episodes_as_much_is_believed_as_is_beyond_chance():
    """The episodes of a student count as one: what three times the same child says is not three
    times as sure.
    """
    alike, apart = pd.Series(np.repeat(range(4), 3)), pd.Series(range(12))
    gained = np.repeat([1.0, 1.0, -0.5, 0.5], 3)
    gain, error = 6.0, np.sqrt(3**2 + 3**2 + 1.5**2 + 1.5**2)
    assert james_stein_factor(gained, alike) == pytest.approx(1 - (error / gain) ** 2)
    assert james_stein_factor(gained, apart) > james_stein_factor(gained, alike)
    assert james_stein_factor(np.array([3.0, -2.0, -0.5]), pd.Series(range(3))) == 0.0
    assert james_stein_factor(-gained, apart) == james_stein_factor(0 * gained, apart) == 0.0


def test_averages_of_supports_are_drawn_together_the_more_the_less_they_are_known():
    levels, errors = np.array([1.0, 1.2, 0.8, 1.1, 5.0]), np.array([0.2, 0.2, 0.2, 0.2, 2.0])
    shrunk, sure = shrink_to_mean(levels, errors, min_between_sd=0.7)
    signal = 0.7**2 / (0.7**2 + errors**2)
    others = [
        np.average(np.delete(levels, i), weights=np.delete(errors, i) ** -2.0) for i in range(5)
    ]
    assert shrunk[4] == pytest.approx(others[4] + signal[4] * (5.0 - others[4]), abs=0.01)
    assert abs(shrunk[:4] - levels[:4]).max() < 0.05 and (sure <= errors).all()
    np.testing.assert_array_equal(shrink_to_mean(levels[:3], errors[:3])[0], levels[:3])


def test_predictions_that_foretell_nothing_are_not_believed():
    """Only the usual slope speaks for them, and the more episodes say otherwise the less it
    does.
    """
    rng = np.random.default_rng(6)
    rows = 20_000
    truth = rng.normal(0, 1, (rows, 1))
    values = 2.0 + truth + rng.normal(0, 3, (rows, 1))
    targets = PseudoOutcomes(
        ("food",), values, np.ones((rows, 1)), np.ones((rows, 2)), np.ones((rows, 2)), 3.0
    )
    folds, groups = np.arange(rows) % 5, pd.Series(np.arange(rows))
    assert fit_calibration(["food"], targets, truth, folds, groups)["food"].slope == pytest.approx(
        1.0, abs=0.05
    )
    assert fit_calibration(["food"], targets, 2 * truth, folds, groups)[
        "food"
    ].slope == pytest.approx(0.5, abs=0.05)
    turned = fit_calibration(["food"], targets, rng.normal(0, 1, (rows, 1)), folds, groups)["food"]
    assert turned.slope == pytest.approx(0.0, abs=0.05) and turned.level == pytest.approx(
        2.0, abs=0.1
    )


def test_what_separates_folds_says_nothing_of_the_slope():
    """A fold's mean and that of what was learned without it are at odds; only differences within a
    fold count.
    """
    folds, groups = np.repeat(np.arange(5), 200), pd.Series(np.arange(1_000))
    truth = np.tile(np.linspace(-1, 1, 200), 5)[:, None]
    of_fold = np.arange(5.0)[folds][:, None]
    targets = PseudoOutcomes(
        ("food",),
        truth + 10 * of_fold,
        np.ones((1_000, 1)),
        np.ones((1_000, 2)),
        np.ones((1_000, 2)),
        0.1,
    )
    turned = fit_calibration(["food"], targets, truth - 10 * of_fold, folds, groups)["food"]
    assert turned.slope == pytest.approx(1.0, abs=0.01)


@pytest.mark.parametrize("events", [0, 3])
def test_an_outcome_that_is_always_or_nearly_always_the_same_has_benefits_and_no_holes(events: int):
    """An event of three in 2,000 lies beyond the quantiles that other outcomes are drawn in to."""
    rng = np.random.default_rng(9)
    X, given = rng.normal(0, 1, (2_000, 3)), np.where(np.arange(2_000) % 2 == 0, "program", "none")
    y = np.isin(np.arange(2_000), 2 * rng.choice(1_000, events, replace=False)).astype(float)
    benefits = BenefitRanker().fit(X, y, given).predict_benefit(X)["program"]
    assert benefits["benefit"].mean() == pytest.approx(events / 1_000, rel=0.3, abs=1e-12)
    assert (benefits["lower"] <= benefits["benefit"]).all() and (
        benefits["benefit"] <= benefits["upper"]
    ).all()
