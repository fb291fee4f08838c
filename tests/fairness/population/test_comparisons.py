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

from fairness.checks.checks import CHECKS
from fairness.population.comparisons import NOT_RECORDED, GroupComparison, Measure, compare_groups
from tests.fairness.synthetic_districts import POLICY, District, synthetic_district

EXACT = {"abs": 1e-12, "rel": 1e-12}
GROUPS = replace(
    POLICY, groups=("sex", "race_ethnicity", "school"), intersections=(("race_ethnicity", "sex"),)
)


@cache
def district() -> District:
    """Of some students a fact is not on record."""
    complete = synthetic_district(1500, 3, {"black": 0.4}, policy=GROUPS)
    groups, rng = complete.students.groups.copy(), np.random.default_rng(0)
    for name in ("sex", "race_ethnicity"):
        groups.loc[rng.random(len(groups)) < 0.05, name] = NOT_RECORDED
    known = (groups["sex"] != NOT_RECORDED) & (groups["race_ethnicity"] != NOT_RECORDED)
    both = groups["race_ethnicity"] + " x " + groups["sex"]
    return replace(
        complete,
        students=replace(
            complete.students,
            groups=groups.assign(**{"race_ethnicity x sex": both.where(known, NOT_RECORDED)}),
        ),
    )


@cache
def figures() -> tuple[GroupComparison, ...]:
    return tuple(district().figures())


@cache
def measures() -> dict[tuple[str, str], Measure]:
    return {(measure.check, measure.item): measure for measure in district().table.measures}


def rows_in_question(figure: GroupComparison) -> tuple[pd.DataFrame, Measure]:
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
    return [figure for figure in figures() if not math.isnan(figure.gap)]


def test_every_check_of_the_model_gives_a_figure_for_every_group_on_record():
    groups = district().students.groups
    pairs = {(figure.attribute, figure.value) for figure in figures()}
    assert pairs == {
        (name, value) for name in groups for value in groups[name].unique() if value != NOT_RECORDED
    }
    applicable = [
        (attribute, check)
        for attribute, _ in pairs
        for check, _ in measures()
        if CHECKS[check].applies_to(attribute)
    ]
    assert len(figures()) == len(applicable) > 100
    assert {figure.check for figure in figures()} == {
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
    for figure in compared():
        rows, measure = rows_in_question(figure)
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
        by_group = frame.by_group
        assert (figure.rows, figure.others_size) == (
            by_group.loc[True, "rows"],
            by_group.loc[False, "rows"],
        )
        assert figure.rate == pytest.approx(by_group.loc[True, "share"], **EXACT)
        assert figure.others_rate == pytest.approx(by_group.loc[False, "share"], **EXACT)
        if measure.stratum is None and CHECKS[figure.check].contrast == "difference":
            assert abs(figure.gap) == pytest.approx(
                frame.difference(method="between_groups")["share"], **EXACT
            )
        if measure.stratum is None and CHECKS[figure.check].contrast == "ratio" and figure.gap > 0:
            assert min(figure.gap, 1 / figure.gap) == pytest.approx(
                frame.ratio(method="between_groups")["share"], **EXACT
            )


def test_missed_is_fairlearns_false_negative_rate_and_its_gap_is_equal_opportunity():
    students, advice = district().students, district().advice
    need = (students.alert_severity.max(axis=1) >= 2).to_numpy()
    helped = advice.suggested_supports.any(axis=1).to_numpy() | students.in_support
    for figure in [figure for figure in compared() if figure.check in ("missed", "suggestion")]:
        column = students.groups[figure.attribute]
        known = (column != NOT_RECORDED).to_numpy()
        own = (column == figure.value).to_numpy()[known]
        y, predicted = need[known], helped[known]
        frame = MetricFrame(
            metrics=false_negative_rate, y_true=y, y_pred=predicted, sensitive_features=own
        )
        if figure.check == "missed":
            assert (figure.rate, figure.others_rate) == pytest.approx(
                (frame.by_group[True], frame.by_group[False]), **EXACT
            )
            assert abs(figure.gap) == pytest.approx(frame.difference(), **EXACT)
            assert abs(figure.gap) == pytest.approx(
                equal_opportunity_difference(y, predicted, sensitive_features=own), **EXACT
            )
            parity = demographic_parity_difference(y[y], predicted[y], sensitive_features=own[y])
            assert abs(figure.gap) == pytest.approx(parity, **EXACT)
        elif figure.gap > 0:
            lesser = min(figure.gap, 1 / figure.gap)
            assert lesser == pytest.approx(
                equal_opportunity_ratio(y, predicted, sensitive_features=own), **EXACT
            )
            parity = demographic_parity_ratio(y[y], predicted[y], sensitive_features=own[y])
            assert lesser == pytest.approx(parity, **EXACT)


def test_within_strata_the_gap_is_that_of_fairlearns_shares_weighted_as_mantel_and_haenszel_do():
    matched = [
        figure for figure in compared() if measures()[figure.check, figure.item].stratum is not None
    ]
    assert {figure.check for figure in matched} == {"access", "support"}
    for figure in matched:
        rows, _ = rows_in_question(figure)
        by_group = MetricFrame(
            metrics={"share": selection_rate, "rows": count},
            y_true=rows["amount"],
            y_pred=rows["amount"],
            sensitive_features=rows["own"],
            control_features=rows["stratum"],
        ).by_group
        apart = weight = ours = theirs = 0.0
        for stratum in rows["stratum"].unique():
            mine, rest = by_group.loc[(stratum, True)], by_group.loc[(stratum, False)]
            if not (mine["rows"] > 0 and rest["rows"] > 0):
                continue
            both = mine["rows"] * rest["rows"] / (mine["rows"] + rest["rows"])
            apart, weight = apart + both * (mine["share"] - rest["share"]), weight + both
            ours, theirs = ours + both * mine["share"], theirs + both * rest["share"]
        expected = ours / theirs if CHECKS[figure.check].contrast == "ratio" else apart / weight
        assert figure.gap == pytest.approx(expected, **EXACT)


def test_every_figure_equals_sums_written_out_row_by_row():
    for figure in figures():
        rows, _ = rows_in_question(figure)
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
            assert math.isnan(figure.gap)
            continue
        assert figure.rate == pytest.approx(whole[True][0] / whole[True][1], **EXACT)
        assert figure.others_rate == pytest.approx(whole[False][0] / whole[False][1], **EXACT)
        top = bottom = 0.0
        for stratum in {stratum for stratum, _ in sums}:
            a, n1 = sums.get((stratum, True), (0.0, 0.0))
            c, n0 = sums.get((stratum, False), (0.0, 0.0))
            if n1 and n0:
                ratio = CHECKS[figure.check].contrast == "ratio"
                top += a * n0 / (n1 + n0) if ratio else (n1 * n0 / (n1 + n0)) * (a / n1 - c / n0)
                bottom += c * n1 / (n1 + n0) if ratio else n1 * n0 / (n1 + n0)
        assert (
            figure.gap == pytest.approx(top / bottom, **EXACT) if bottom else math.isnan(figure.gap)
        )


def test_who_has_no_value_on_record_takes_no_part():
    audited, complete = (
        district(),
        (district().students.groups != NOT_RECORDED).all(axis=1).to_numpy(),
    )
    measure = measures()["missed", ""]
    groups, cohorts = audited.students.groups[["sex"]], audited.students.cohorts
    known = (groups["sex"] != NOT_RECORDED).to_numpy()
    without = replace(
        measure, numerator=measure.numerator[known], denominator=measure.denominator[known]
    )
    here = compare_groups([measure], groups, cohorts)
    there = compare_groups([without], groups[known], cohorts[known])
    assert 0 < complete.sum() < known.sum() < len(known)
    assert [(figure.value, figure.rate, figure.others_rate, figure.gap) for figure in here] == [
        (figure.value, figure.rate, figure.others_rate, figure.gap) for figure in there
    ]
    assert here[0].rows + here[0].others_size == measure.denominator[known].sum()


def test_equal_seeds_give_equal_figures_and_others_nearly_the_same_errors():
    first, again, other_seed = (
        compare_groups(
            [measures()["missed", ""]],
            district().students.groups,
            district().students.cohorts,
            seed=seed,
        )
        for seed in (0, 0, 1)
    )
    assert first == again
    assert [figure.gap for figure in first] == [figure.gap for figure in other_seed]
    assert [figure.standard_error for figure in first] != [
        figure.standard_error for figure in other_seed
    ]
    assert [figure.standard_error for figure in first] == pytest.approx(
        [figure.standard_error for figure in other_seed], rel=0.2
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
    figure = counted("missed", own, others)
    assert figure.gap == pytest.approx(own[0] / own[1] - others[0] / others[1])
    floor = math.sqrt(least(*own, log=False) + least(*others, log=False))
    assert (
        figure.standard_error == pytest.approx(floor, rel=1e-12)
        if others[0] in (0, 400)
        else figure.standard_error >= floor * (1 - 1e-12)
    )
    lower, upper = figure.interval(0.95)
    half = student.ppf(0.975, 19) * figure.standard_error
    assert (lower, upper) == pytest.approx((figure.gap - half, figure.gap + half))
    assert lower < figure.gap < upper


def test_a_ratio_to_or_from_nobody_has_an_interval_with_half_a_student_more_on_either_side():
    none, all_others = (
        counted("suggestion", (0, 40), (100, 400)),
        counted("suggestion", (20, 40), (0, 400)),
    )
    assert none.gap == 0 and math.isinf(all_others.gap)
    for figure, own, others in ((none, (0, 40), (100, 400)), (all_others, (20, 40), (0, 400))):
        scaled = math.log((own[0] + 0.5) / (own[1] + 1)) - math.log(
            (others[0] + 0.5) / (others[1] + 1)
        )
        error = math.sqrt(least(*own, log=True) + least(*others, log=True))
        assert (figure.estimate, figure.standard_error) == pytest.approx((scaled, error), rel=1e-12)
        half = student.ppf(0.975, figure.degrees_of_freedom) * error
        low, high = figure.interval(0.95)
        assert low == pytest.approx(0 if figure is none else math.exp(scaled - half), rel=1e-9)
        assert high == (pytest.approx(math.exp(scaled + half)) if figure is none else math.inf)
    nothing = counted("suggestion", (0, 40), (0, 400))
    assert math.isnan(nothing.gap) and math.isnan(nothing.estimate)


def test_a_group_without_others_and_one_that_nobody_is_asked_about_have_no_gap():
    groups = pd.DataFrame({"sex": ["female"] * 50, "school": ["Adams"] * 25 + ["Baker"] * 25})
    only_adams = np.r_[np.ones(25), np.zeros(25)]
    measure = Measure("missed", "", only_adams, only_adams)
    by_group = {
        (figure.attribute, figure.value): figure
        for figure in compare_groups([measure], groups, pd.Series(np.arange(50) % 5))
    }
    assert by_group["sex", "female"].others_size == 0 and math.isnan(by_group["sex", "female"].gap)
    assert by_group["school", "Baker"].rows == 0 and math.isnan(by_group["school", "Baker"].rate)
    assert math.isnan(by_group["school", "Adams"].gap)


def test_a_mean_is_compared_with_nothing():
    rng = np.random.default_rng(1)
    amount, paired = (
        rng.choice([-1.0, 0.0, 1.0], 300, p=(0.1, 0.6, 0.3)),
        (rng.random(300) < 0.9).astype(float),
    )
    amount = amount * paired
    groups = pd.DataFrame({"sex": rng.choice(["female", "male", NOT_RECORDED], 300)})
    cohorts = pd.Series(np.arange(300) % 30)
    for figure in compare_groups([Measure("twins", "", amount, paired)], groups, cohorts):
        own = (groups["sex"] == figure.value).to_numpy() & (paired > 0)
        assert figure.rows == own.sum()
        assert (
            figure.gap
            == pytest.approx(amount[own].mean(), **EXACT)
            == pytest.approx(figure.rate, **EXACT)
        )
        means = pd.Series(amount[own]).groupby(cohorts[own].to_numpy()).agg(["sum", "size"])
        spread = ((means["sum"] - figure.gap * means["size"]) ** 2).sum() ** 0.5 / own.sum()
        assert figure.standard_error == pytest.approx(spread, rel=0.15), (
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
    female, male = compare_groups([measure], groups, pd.Series(range(1200)))
    assert by_hand == pytest.approx(female.t_statistic, rel=0.1) and abs(female.t_statistic) <= abs(
        by_hand
    ) * (1 + 1e-9)
    assert male.t_statistic == pytest.approx(-female.t_statistic, rel=1e-9)


def test_where_everybody_got_it_there_is_no_gap_to_explain():
    (measure,), groups, cohorts = drawn(np.random.default_rng(0), 40, 0.4)
    for figure in compare_groups(
        [replace(measure, numerator=measure.denominator)], groups, cohorts
    ):
        assert (figure.gap, figure.estimate, figure.t_statistic) == (
            1.0,
            0.0,
            0.0,
        ) and figure.standard_error > 0


def test_where_there_is_no_gap_chance_explains_it_as_often_as_it_says():
    drawn_figures = [
        compare_groups(*drawn(np.random.default_rng(seed), 40, 0.4), draws=200)[0]
        for seed in range(300)
    ]
    p_values = student.cdf(
        [figure.t_statistic for figure in drawn_figures],
        [figure.degrees_of_freedom for figure in drawn_figures],
    )
    for level in (0.05, 0.2, 0.5):
        room = 3 * math.sqrt(level * (1 - level) / len(drawn_figures))
        assert (p_values < level).mean() == pytest.approx(level, abs=room)


@given(*[st.integers(0, 60)] * 3)
def test_a_mean_tells_of_as_many_as_may_lie_at_either_end(more: int, less: int, same: int):
    """Who knows how many there are and their mean exactly: so many numbers with more there can be,
    less one.
    """
    amount = np.repeat([1.0, -1.0, 0.0], [more, less, same])
    groups = pd.DataFrame({"sex": ["female"] * len(amount)})
    compared_means = compare_groups(
        [Measure("twins", "", amount, np.ones(len(amount)))], groups, pd.Series(range(len(amount)))
    )
    assert len(compared_means) == (len(amount) > 0)
    for figure in compared_means:
        can_be = [
            up for up in range(len(amount) + 1) if 0 <= up - (more - less) <= len(amount) - up
        ]
        assert figure.smallest_cell == len(can_be) - 1


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
        figure = compare_groups(
            [Measure(check, "", amount, np.ones(size), stratum)],
            groups,
            pd.Series(cohort),
            draws=400,
        )[0]
        lower, upper = figure.interval(0.95)
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
    figure = counted(check, (min(some, size), size), (min(rest, rest_size), rest_size))
    if math.isfinite(figure.estimate) and figure.standard_error > 0:
        lower, upper = figure.interval(confidence)
        assert lower <= figure.gap <= upper and upper > lower
