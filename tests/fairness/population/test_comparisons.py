"""Figures: equal to fairlearn's and to sums written out by hand, with intervals that hold the truth
as they say.
"""

from __future__ import annotations

import math
from dataclasses import replace
from functools import cache

import numpy as np
import pandas as pd
import pytest
from fairlearn.metrics import (
    MetricFrame,
    count,
    demographic_parity_difference,
    demographic_parity_ratio,
    equal_opportunity_difference,
    equal_opportunity_ratio,
    false_negative_rate,
    mean_prediction,
    selection_rate,
)
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import t as student

from fairness.policy.checks import CHECKS
from fairness.population.comparisons import NOT_RECORDED, GroupComparison, Measure, compare_groups
from tests.fairness.synthetic_districts import POLICY, District, synthetic_district

EXACT = {"abs": 1e-12, "rel": 1e-12}
GROUPS = replace(
    POLICY, groups=("sex", "race_ethnicity", "school"), intersections=(("race_ethnicity", "sex"),)
)


@cache
def district() -> District:
    """Of some students a fact is not on record."""
    found = synthetic_district(1500, 3, {"black": 0.4}, policy=GROUPS)
    groups, rng = found.students.groups.copy(), np.random.default_rng(0)
    for name in ("sex", "race_ethnicity"):
        groups.loc[rng.random(len(groups)) < 0.05, name] = NOT_RECORDED
    known = (groups["sex"] != NOT_RECORDED) & (groups["race_ethnicity"] != NOT_RECORDED)
    both = groups["race_ethnicity"] + " x " + groups["sex"]
    return replace(
        found,
        students=replace(
            found.students,
            groups=groups.assign(**{"race_ethnicity x sex": both.where(known, NOT_RECORDED)}),
        ),
    )


@cache
def figures() -> tuple[GroupComparison, ...]:
    return tuple(district().figures())


@cache
def measures() -> dict[tuple[str, str], Measure]:
    return {(one.check, one.item): one for one in district().table.measures}


def asked(figure: GroupComparison) -> tuple[pd.DataFrame, Measure]:
    """The rows that a figure is about: those with a value on record that the check asks about."""
    measure = measures()[figure.check, figure.item]
    column = district().students.groups[figure.attribute]
    rows = pd.DataFrame(
        {
            "own": (column == figure.value).to_numpy(),
            "amount": measure.numerator,
            "out_of": measure.denominator,
            "stratum": 0 if measure.stratum is None else measure.stratum,
        }
    )
    return rows[(column != NOT_RECORDED).to_numpy() & (measure.denominator > 0)], measure


def compared() -> list[GroupComparison]:
    return [one for one in figures() if not math.isnan(one.gap)]


def test_every_check_of_the_model_gives_a_figure_for_every_group_on_record():
    groups = district().students.groups
    pairs = {(one.attribute, one.value) for one in figures()}
    assert pairs == {
        (name, value) for name in groups for value in groups[name].unique() if value != NOT_RECORDED
    }
    asked = [
        (attribute, check)
        for attribute, _ in pairs
        for check, _ in measures()
        if CHECKS[check].applies_to(attribute)
    ]
    assert len(figures()) == len(asked) > 100
    assert {one.check for one in figures()} == {
        "suggestion",
        "missed",
        "access",
        "captured",
        "support",
        "exposure",
        "silence",
        "late_alert",
    }


def test_the_shares_of_every_group_and_of_all_others_are_fairlearns():
    for one in compared():
        rows, measure = asked(one)
        if measure.is_count:
            frame = MetricFrame(
                metrics={"share": selection_rate, "rows": count},
                y_true=rows["amount"],
                y_pred=rows["amount"],
                sensitive_features=rows["own"],
            )
        else:
            frame = MetricFrame(
                metrics={"share": mean_prediction, "rows": count},
                y_true=rows["amount"],
                y_pred=rows["amount"] / rows["out_of"],
                sensitive_features=rows["own"],
                sample_params={"share": {"sample_weight": rows["out_of"]}},
            )
        found = frame.by_group
        assert (one.rows, one.others_size) == (found.loc[True, "rows"], found.loc[False, "rows"])
        assert one.rate == pytest.approx(found.loc[True, "share"], **EXACT)
        assert one.others_rate == pytest.approx(found.loc[False, "share"], **EXACT)
        if measure.stratum is None and CHECKS[one.check].contrast == "difference":
            assert abs(one.gap) == pytest.approx(
                frame.difference(method="between_groups")["share"], **EXACT
            )
        if measure.stratum is None and CHECKS[one.check].contrast == "ratio" and one.gap > 0:
            assert min(one.gap, 1 / one.gap) == pytest.approx(
                frame.ratio(method="between_groups")["share"], **EXACT
            )


def test_missed_is_fairlearns_false_negative_rate_and_its_gap_is_equal_opportunity():
    students, advice = district().students, district().advice
    need = (students.alert_severity.max(axis=1) >= 2).to_numpy()
    helped = advice.suggested_supports.any(axis=1).to_numpy() | students.in_support
    for one in [figure for figure in compared() if figure.check in ("missed", "suggestion")]:
        column = students.groups[one.attribute]
        known = (column != NOT_RECORDED).to_numpy()
        own = (column == one.value).to_numpy()[known]
        y, said = need[known], helped[known]
        frame = MetricFrame(
            metrics=false_negative_rate, y_true=y, y_pred=said, sensitive_features=own
        )
        if one.check == "missed":
            assert (one.rate, one.others_rate) == pytest.approx(
                (frame.by_group[True], frame.by_group[False]), **EXACT
            )
            assert abs(one.gap) == pytest.approx(frame.difference(), **EXACT)
            assert abs(one.gap) == pytest.approx(
                equal_opportunity_difference(y, said, sensitive_features=own), **EXACT
            )
            parity = demographic_parity_difference(y[y], said[y], sensitive_features=own[y])
            assert abs(one.gap) == pytest.approx(parity, **EXACT)
        elif one.gap > 0:
            lesser = min(one.gap, 1 / one.gap)
            assert lesser == pytest.approx(
                equal_opportunity_ratio(y, said, sensitive_features=own), **EXACT
            )
            parity = demographic_parity_ratio(y[y], said[y], sensitive_features=own[y])
            assert lesser == pytest.approx(parity, **EXACT)


def test_within_strata_the_gap_is_that_of_fairlearns_shares_weighted_as_mantel_and_haenszel_do():
    matched = [one for one in compared() if measures()[one.check, one.item].stratum is not None]
    assert {one.check for one in matched} == {"access", "support"}
    for one in matched:
        rows, _ = asked(one)
        found = MetricFrame(
            metrics={"share": selection_rate, "rows": count},
            y_true=rows["amount"],
            y_pred=rows["amount"],
            sensitive_features=rows["own"],
            control_features=rows["stratum"],
        ).by_group
        apart = weight = ours = theirs = 0.0
        for stratum in rows["stratum"].unique():
            mine, rest = found.loc[(stratum, True)], found.loc[(stratum, False)]
            if not (mine["rows"] > 0 and rest["rows"] > 0):
                continue
            both = mine["rows"] * rest["rows"] / (mine["rows"] + rest["rows"])
            apart, weight = apart + both * (mine["share"] - rest["share"]), weight + both
            ours, theirs = ours + both * mine["share"], theirs + both * rest["share"]
        expected = ours / theirs if CHECKS[one.check].contrast == "ratio" else apart / weight
        assert one.gap == pytest.approx(expected, **EXACT)


def test_every_figure_equals_sums_written_out_row_by_row():
    for one in figures():
        rows, _ = asked(one)
        sums: dict[tuple[int, bool], list[float]] = {}
        for own, amount, out_of, stratum in rows.itertuples(index=False):
            cell = sums.setdefault((stratum, own), [0.0, 0.0])
            cell[0], cell[1] = cell[0] + amount, cell[1] + out_of
        whole = {
            own: [
                math.fsum(cell[part] for (_, its), cell in sums.items() if its is own)
                for part in (0, 1)
            ]
            for own in (True, False)
        }
        if not whole[True][1] or not whole[False][1]:
            assert math.isnan(one.gap)
            continue
        assert one.rate == pytest.approx(whole[True][0] / whole[True][1], **EXACT)
        assert one.others_rate == pytest.approx(whole[False][0] / whole[False][1], **EXACT)
        top = bottom = 0.0
        for stratum in {stratum for stratum, _ in sums}:
            a, n1 = sums.get((stratum, True), (0.0, 0.0))
            c, n0 = sums.get((stratum, False), (0.0, 0.0))
            if n1 and n0:
                ratio = CHECKS[one.check].contrast == "ratio"
                top += a * n0 / (n1 + n0) if ratio else (n1 * n0 / (n1 + n0)) * (a / n1 - c / n0)
                bottom += c * n1 / (n1 + n0) if ratio else n1 * n0 / (n1 + n0)
        assert one.gap == pytest.approx(top / bottom, **EXACT) if bottom else math.isnan(one.gap)


def test_who_has_no_value_on_record_takes_no_part():
    found, kept = district(), (district().students.groups != NOT_RECORDED).all(axis=1).to_numpy()
    measure = measures()["missed", ""]
    groups, cohorts = found.students.groups[["sex"]], found.students.cohorts
    known = (groups["sex"] != NOT_RECORDED).to_numpy()
    without = replace(
        measure, numerator=measure.numerator[known], denominator=measure.denominator[known]
    )
    here = compare_groups([measure], groups, cohorts)
    there = compare_groups([without], groups[known], cohorts[known])
    assert 0 < kept.sum() < known.sum() < len(known)
    assert [(one.value, one.rate, one.others_rate, one.gap) for one in here] == [
        (one.value, one.rate, one.others_rate, one.gap) for one in there
    ]
    assert here[0].rows + here[0].others_size == measure.denominator[known].sum()


def test_equal_seeds_give_equal_figures_and_others_nearly_the_same_errors():
    one, two, three = (
        compare_groups(
            [measures()["missed", ""]],
            district().students.groups,
            district().students.cohorts,
            seed=seed,
        )
        for seed in (0, 0, 1)
    )
    assert one == two
    assert [figure.gap for figure in one] == [figure.gap for figure in three]
    assert [figure.standard_error for figure in one] != [figure.standard_error for figure in three]
    assert [figure.standard_error for figure in one] == pytest.approx(
        [figure.standard_error for figure in three], rel=0.2
    )


def counted(
    check: str, own: tuple[int, int], others: tuple[int, int], cohorts: int = 20
) -> GroupComparison:
    """The figure of a group in which so many of so many are counted, against the others."""
    (some, size), (rest, rest_size) = own, others
    amount = np.r_[np.arange(size) < some, np.arange(rest_size) < rest].astype(float)
    groups = pd.DataFrame({"sex": ["female"] * size + ["male"] * rest_size})
    cohort = pd.Series(np.arange(size + rest_size) % cohorts)
    return compare_groups([Measure(check, "", amount, np.ones(len(amount)))], groups, cohort)[0]


def least(some: int, size: int, *, log: bool) -> float:
    """Agresti and Caffo's variance: one more on either side, of a number rounded to ten."""
    tens = int(size / 10 + 0.5) * 10
    share = (tens * some / size + 1) / (tens + 2)
    return (1 - share) / share / (tens + 2) if log else share * (1 - share) / (tens + 2)


@pytest.mark.parametrize(
    ("own", "others"), [((0, 40), (0, 400)), ((40, 40), (400, 400)), ((0, 34), (200, 400))]
)
def test_an_error_is_never_smaller_than_that_of_independent_students(own, others):
    one = counted("missed", own, others)
    assert one.gap == pytest.approx(own[0] / own[1] - others[0] / others[1])
    floor = math.sqrt(least(*own, log=False) + least(*others, log=False))
    assert (
        one.standard_error == pytest.approx(floor, rel=1e-12)
        if others[0] in (0, 400)
        else one.standard_error >= floor * (1 - 1e-12)
    )
    lower, upper = one.interval(0.95)
    half = student.ppf(0.975, 19) * one.standard_error
    assert (lower, upper) == pytest.approx((one.gap - half, one.gap + half))
    assert lower < one.gap < upper


def test_a_ratio_to_or_from_nobody_has_an_interval_with_half_a_student_more_on_either_side():
    none, all_others = (
        counted("suggestion", (0, 40), (100, 400)),
        counted("suggestion", (20, 40), (0, 400)),
    )
    assert none.gap == 0 and math.isinf(all_others.gap)
    for one, own, others in ((none, (0, 40), (100, 400)), (all_others, (20, 40), (0, 400))):
        scaled = math.log((own[0] + 0.5) / (own[1] + 1)) - math.log(
            (others[0] + 0.5) / (others[1] + 1)
        )
        error = math.sqrt(least(*own, log=True) + least(*others, log=True))
        assert (one.estimate, one.standard_error) == pytest.approx((scaled, error), rel=1e-12)
        half = student.ppf(0.975, one.degrees_of_freedom) * error
        low, high = one.interval(0.95)
        assert low == pytest.approx(0 if one is none else math.exp(scaled - half), rel=1e-9)
        assert high == (pytest.approx(math.exp(scaled + half)) if one is none else math.inf)
    nothing = counted("suggestion", (0, 40), (0, 400))
    assert math.isnan(nothing.gap) and math.isnan(nothing.estimate)


def test_a_group_without_others_and_one_that_nobody_is_asked_about_have_no_gap():
    groups = pd.DataFrame({"sex": ["female"] * 50, "school": ["Adams"] * 25 + ["Baker"] * 25})
    only_adams = np.r_[np.ones(25), np.zeros(25)]
    measure = Measure("missed", "", only_adams, only_adams)
    found = {
        (one.attribute, one.value): one
        for one in compare_groups([measure], groups, pd.Series(np.arange(50) % 5))
    }
    assert found["sex", "female"].others_size == 0 and math.isnan(found["sex", "female"].gap)
    assert found["school", "Baker"].rows == 0 and math.isnan(found["school", "Baker"].rate)
    assert math.isnan(found["school", "Adams"].gap)


def test_a_mean_is_compared_with_nothing():
    rng = np.random.default_rng(1)
    amount, paired = (
        rng.choice([-1.0, 0.0, 1.0], 300, p=(0.1, 0.6, 0.3)),
        (rng.random(300) < 0.9).astype(float),
    )
    amount = amount * paired
    groups = pd.DataFrame({"sex": rng.choice(["female", "male", NOT_RECORDED], 300)})
    cohorts = pd.Series(np.arange(300) % 30)
    for one in compare_groups([Measure("twins", "", amount, paired)], groups, cohorts):
        own = (groups["sex"] == one.value).to_numpy() & (paired > 0)
        assert one.rows == own.sum()
        assert (
            one.gap
            == pytest.approx(amount[own].mean(), **EXACT)
            == pytest.approx(one.rate, **EXACT)
        )
        means = pd.Series(amount[own]).groupby(cohorts[own].to_numpy()).agg(["sum", "size"])
        spread = ((means["sum"] - one.gap * means["size"]) ** 2).sum() ** 0.5 / own.sum()
        assert one.standard_error == pytest.approx(spread, rel=0.15), (
            "about the linearised error of a ratio of cohort sums"
        )


def drawn(
    rng: np.random.Generator, cohorts: int, alike: float
) -> tuple[list[Measure], pd.DataFrame, pd.Series]:
    """Who of 240 and 960 students of three strata got something, with no gap; cohorts differ by so
    much.
    """
    cohort, stratum = rng.integers(0, cohorts, 1200), rng.integers(0, 3, 1200)
    chance = np.clip(
        0.2 * np.exp(rng.normal(0, alike, cohorts))[cohort] * (1 + 0.4 * stratum), 0, 1
    )
    got = (rng.random(1200) < chance).astype("float64")
    groups = pd.DataFrame({"sex": np.where(np.arange(1200) < 240, "female", "male")})
    measure = Measure("past_support", "tutoring", got, np.ones(1200), stratum.astype(np.intp))
    return [measure], groups, pd.Series(cohort)


def test_a_ratio_of_shares_lies_as_far_from_chance_as_mantel_and_haenszels_test_says():
    (measure,), groups, _ = drawn(np.random.default_rng(0), 1200, 0.0)
    own, excess, spread = (groups["sex"] == "female").to_numpy(), 0.0, 0.0
    for stratum in range(3):
        here = measure.stratum == stratum
        number, some, ours = here.sum(), measure.numerator[here].sum(), (here & own).sum()
        excess += measure.numerator[here & own].sum() - ours * some / number
        spread += ours * (number - ours) * some * (number - some) / number**3
    by_hand = excess / math.sqrt(spread)
    one, two = compare_groups([measure], groups, pd.Series(range(1200)))
    assert by_hand == pytest.approx(one.t_statistic, rel=0.1) and abs(one.t_statistic) <= abs(
        by_hand
    ) * (1 + 1e-9)
    assert two.t_statistic == pytest.approx(-one.t_statistic, rel=1e-9)


def test_where_everybody_got_it_there_is_no_gap_to_explain():
    (measure,), groups, cohorts = drawn(np.random.default_rng(0), 40, 0.4)
    for one in compare_groups([replace(measure, numerator=measure.denominator)], groups, cohorts):
        assert (one.gap, one.estimate, one.t_statistic) == (
            1.0,
            0.0,
            0.0,
        ) and one.standard_error > 0


def test_where_there_is_no_gap_chance_explains_it_as_often_as_it_says():
    found = [
        compare_groups(*drawn(np.random.default_rng(seed), 40, 0.4), draws=200)[0]
        for seed in range(300)
    ]
    p_values = student.cdf(
        [one.t_statistic for one in found], [one.degrees_of_freedom for one in found]
    )
    for level in (0.05, 0.2, 0.5):
        room = 3 * math.sqrt(level * (1 - level) / len(found))
        assert (p_values < level).mean() == pytest.approx(level, abs=room)


@given(*[st.integers(0, 60)] * 3)
def test_a_mean_tells_of_as_many_as_may_lie_at_either_end(more: int, less: int, same: int):
    """Who knows how many there are and their mean exactly: so many numbers with more there can be,
    less one.
    """
    amount = np.repeat([1.0, -1.0, 0.0], [more, less, same])
    groups = pd.DataFrame({"sex": ["female"] * len(amount)})
    found = compare_groups(
        [Measure("twins", "", amount, np.ones(len(amount)))], groups, pd.Series(range(len(amount)))
    )
    assert len(found) == (len(amount) > 0)
    for one in found:
        can_be = [
            up for up in range(len(amount) + 1) if 0 <= up - (more - less) <= len(amount) - up
        ]
        assert one.smallest_cell == len(can_be) - 1


def test_an_error_grows_where_cohorts_differ_as_that_of_cohort_sums_does():
    rng = np.random.default_rng(2)
    cohort = np.repeat(np.arange(40), 25)
    amount = (rng.random(1000) < rng.beta(1, 1, 40)[cohort]).astype(float)
    own = rng.random(40)[cohort] < 0.5
    groups = pd.DataFrame({"sex": np.where(own, "female", "male")})
    female = compare_groups(
        [Measure("missed", "", amount, np.ones(1000))], groups, pd.Series(cohort)
    )[0]
    square = 0.0
    for side, rate in ((own, female.rate), (~own, female.others_rate)):
        sums = [(amount[side & (cohort == c)] - rate).sum() / side.sum() for c in range(40)]
        square += math.fsum(part**2 for part in sums)
    alike = math.sqrt(
        sum(
            p * (1 - p) / side.sum() for side, p in ((own, female.rate), (~own, female.others_rate))
        )
    )
    assert female.standard_error == pytest.approx(math.sqrt(square), rel=0.15)
    assert female.standard_error > 2 * alike


@pytest.mark.parametrize(
    ("check", "truth"), [("missed", 0.08), ("suggestion", 0.8), ("access", 0.08)]
)
def test_intervals_hold_the_truth_about_as_often_as_they_say(check: str, truth: float):
    worlds, size, number = 300, 600, 40
    rng, held = np.random.default_rng(11), 0
    for _ in range(worlds):
        cohort = rng.integers(0, number, size)
        effect = rng.normal(0, 0.07, number)[cohort]
        own = rng.random(size) < rng.uniform(0.15, 0.55, number)[cohort]
        need = rng.integers(0, 3, size)
        base = 0.4 + effect + (0.05 * (need - 1) if check == "access" else 0.0)
        chance = (
            base * np.where(own, 0.8, 1.0)
            if check == "suggestion"
            else base + np.where(own, 0.08, 0.0)
        )
        amount = (rng.random(size) < chance).astype(float)
        stratum = need.astype(np.intp) if check == "access" else None
        groups = pd.DataFrame({"sex": np.where(own, "female", "male")})
        one = compare_groups(
            [Measure(check, "", amount, np.ones(size), stratum)],
            groups,
            pd.Series(cohort),
            draws=400,
        )[0]
        lower, upper = one.interval(0.95)
        held += lower <= truth <= upper
    assert 0.92 <= held / worlds <= 0.98


@settings(max_examples=60, deadline=None)
@given(
    st.integers(0, 60),
    st.integers(1, 60),
    st.integers(0, 200),
    st.integers(1, 200),
    st.sampled_from(["missed", "suggestion"]),
    st.floats(0.5, 0.999),
)
def test_an_interval_holds_its_own_figure_and_has_width(
    some, size, rest, rest_size, check, confidence
):
    one = counted(check, (min(some, size), size), (min(rest, rest_size), rest_size))
    if math.isfinite(one.estimate) and one.standard_error > 0:
        lower, upper = one.interval(confidence)
        assert lower <= one.gap <= upper and upper > lower
