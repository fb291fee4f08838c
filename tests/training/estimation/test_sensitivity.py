"""E-values: the figures that their authors print, and words that claim no more than they may."""

from __future__ import annotations

import math
import re

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from training.estimation.policy_value import Estimate
from training.estimation.sensitivity import e_value, e_value_of_risk_ratio, e_value_sentence

sizes = st.floats(-30, 30, allow_nan=False)
intervals = st.tuples(sizes, sizes, sizes).map(
    lambda three: Estimate(*(sorted(three)[one] for one in (1, 0, 2)))
)
deviations = st.floats(0.5, 50)


@pytest.mark.parametrize(("ratio", "printed"), [(3.9, 7.26), (1.8, 3.0), (0.5, 3.41), (1.0, 1.0)])
def test_a_risk_ratio_has_the_e_value_of_the_published_tables(ratio: float, printed: float):
    """3.9 (1.8 to 8.7) is the example of VanderWeele & Ding (2017): 7.26, and 3.0 for the
    interval.
    """
    assert e_value_of_risk_ratio(ratio) == pytest.approx(printed, abs=0.005)


def test_a_difference_of_means_is_standardised_first():
    strength = e_value(Estimate(3.0, 1.2, 4.8), 6.0)
    point, limit = math.exp(0.91 * 0.5), math.exp(0.91 * 0.2)
    assert strength.point == pytest.approx(point + math.sqrt(point * (point - 1)))
    assert strength.limit == pytest.approx(limit + math.sqrt(limit * (limit - 1)))


@given(intervals, deviations)
def test_harm_and_help_of_one_size_are_as_hard_to_explain_away(
    estimate: Estimate, deviation: float
):
    turned = Estimate(-estimate.value, -estimate.upper, -estimate.lower)
    one, other = e_value(estimate, deviation), e_value(turned, deviation)
    assert (one.point, one.limit) == pytest.approx((other.point, other.limit))


@given(intervals, deviations)
def test_the_end_of_the_interval_is_never_harder_to_explain_away_than_the_point(
    estimate: Estimate, deviation: float
):
    strength = e_value(estimate, deviation)
    assert 1.0 <= strength.limit <= strength.point * (1 + 1e-12)


@given(intervals, deviations)
def test_nothing_is_needed_where_the_interval_holds_zero(estimate: Estimate, deviation: float):
    assume(estimate.lower <= 0 <= estimate.upper)
    assert e_value(estimate, deviation).limit == 1.0
    assert "includes zero" in e_value_sentence(estimate, deviation)


@given(intervals, deviations, st.floats(0.1, 10))
def test_the_unit_of_the_outcome_does_not_matter(estimate: Estimate, deviation: float, unit: float):
    scaled = Estimate(estimate.value * unit, estimate.lower * unit, estimate.upper * unit)
    one, other = e_value(estimate, deviation), e_value(scaled, deviation * unit)
    assert (one.point, one.limit) == pytest.approx((other.point, other.limit))


def test_a_hidden_difference_as_strong_as_the_e_value_just_explains_a_ratio_away():
    """The bounding factor of Ding & VanderWeele (2016) for two equal associations E is E^2 / (2E -
    1).
    """
    for ratio in (1.1, 2.0, 3.9):
        strength = e_value_of_risk_ratio(ratio)
        assert strength**2 / (2 * strength - 1) == pytest.approx(ratio)


def test_the_words_hold_both_figures_rounded_down_and_the_group():
    words = e_value_sentence(Estimate(3.0, 1.2, 4.8), 6.0, "were given tutoring")
    assert "students who were given tutoring" in words and "do well" in words
    assert "at least 2.52 times as common" in words and "1.68 times each" in words
    assert "do badly" in e_value_sentence(Estimate(-3.0, -4.8, -1.2), 6.0)


@given(intervals, deviations)
def test_the_words_claim_no_cause_and_use_no_jargon(estimate: Estimate, deviation: float):
    words = e_value_sentence(estimate, deviation)
    forbidden = (
        r"caus|effect|impact|because|e-value|confound|risk"
        r" ratio|unmeasured|exposure|covariate|significan|bias"
    )
    assert not re.search(forbidden, words, re.IGNORECASE)
    assert "explain" in words and words.endswith(".")


@pytest.mark.parametrize("deviation", [0.0, -1.0, math.nan, math.inf])
def test_an_outcome_that_does_not_vary_is_refused(deviation: float):
    with pytest.raises(ValueError, match="standard deviation"):
        e_value(Estimate(1.0, 0.5, 1.5), deviation)


def test_a_difference_that_is_not_a_number_is_refused():
    with pytest.raises(ValueError, match="must be numbers"):
        e_value(Estimate(math.nan, math.nan, math.nan), 1.0)
