"""The gate: what passes, what fails and what cannot be told; how often it is wrong; what follows
from each answer.
"""

from __future__ import annotations

import math
from dataclasses import replace
from itertools import product

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import t as student

from fairness.audit.audit import verdict_of
from fairness.checks.checks import CHECKS
from fairness.checks.policy import Threshold
from fairness.checks.policy_file import Consequence
from fairness.gate.gate import (
    Verdict,
    assign_verdicts,
    consequence,
    holm,
    overall_verdict,
    worst_verdict,
)
from fairness.population.comparisons import GroupComparison, Measure, compare_groups
from tests.fairness.synthetic_districts import POLICY, advice_from, find_finding, synthetic_district

PASS, FAIL, CANNOT_TELL = Verdict.PASS, Verdict.FAIL, Verdict.CANNOT_TELL
STOPS, ASKS, SHOWS = Consequence.STOPS, Consequence.ASKS, Consequence.SHOWS
SMALL = replace(
    POLICY,
    groups=("sex", "race_ethnicity", "grade_band", "school"),
    intersections=(("race_ethnicity", "sex"),),
)
FEW = {"white": 0.6, "black": 0.4}


def figure(
    check: str,
    gap: float,
    error: float,
    rows: int = 200,
    others: int = 800,
    freedom: int = 60,
    attribute: str = "sex",
) -> GroupComparison:
    ratio = CHECKS[check].contrast == "ratio"
    scaled = math.log(gap) if ratio and gap > 0 else gap
    apart = scaled / error if error > 0 else math.nan
    return GroupComparison(
        check, "", attribute, "female", rows, others, 0.4, 0.4, gap, scaled, error, apart, freedom
    )


def verdict(*args: object, **kwargs: object) -> Verdict:
    return assign_verdicts([figure(*args, **kwargs)], POLICY)[0].verdict


def step_down(p_values: list[float], alpha: float) -> list[bool]:
    """Holm's own words: order them; reject while the k-th least of m is at most alpha / (m - k +
    1); then stop.
    """
    rejected = [False] * len(p_values)
    for k, place in enumerate(
        sorted(range(len(p_values)), key=lambda place: p_values[place]), start=1
    ):
        if p_values[place] > alpha / (len(p_values) - k + 1):
            break
        rejected[place] = True
    return rejected


def test_holms_adjusted_p_values_are_those_of_a_worked_example():
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([0.5, 0.9, 0.02]) == pytest.approx([1.0, 1.0, 0.06])
    assert holm([]) == []


@given(st.lists(st.floats(0, 1), min_size=1, max_size=30), st.floats(0.001, 0.3))
def test_what_is_adjusted_below_alpha_is_what_holms_steps_reject(p_values, alpha):
    adjusted = holm(p_values)
    by_formula = [
        max(
            min(
                1.0,
                sum(
                    other > p or (other == p and place >= first)
                    for place, other in enumerate(p_values)
                )
                * p,
            )
            for first, p in enumerate(p_values)
            if (p, first) <= (mine, own)
        )
        for own, mine in enumerate(p_values)
    ]
    assert adjusted == pytest.approx(by_formula, rel=1e-12, abs=1e-15)
    close = [abs(adjusted_p - alpha) < 1e-9 for adjusted_p in adjusted]
    assert all(
        near or (adjusted_p <= alpha) is says
        for adjusted_p, says, near in zip(adjusted, step_down(p_values, alpha), close, strict=True)
    )


@pytest.mark.parametrize(
    ("check", "gap", "error", "expected"),
    [
        # More is harm: beyond 0.05 fails; the whole interval within 0.10 passes.
        ("missed", 0.0, 0.02, PASS),
        ("missed", 0.04, 0.01, PASS),
        ("missed", -0.3, 0.05, PASS),
        ("missed", 0.06, 0.02, FAIL),
        ("missed", 0.06, 0.01, FAIL),
        ("missed", 0.3, 0.05, FAIL),
        ("missed", 0.06, 0.05, CANNOT_TELL),
        ("missed", 0.04, 0.05, CANNOT_TELL),
        ("missed", 0.0, 0.08, CANNOT_TELL),
        ("access", 0.12, 0.03, FAIL),
        ("access", 0.0, 0.03, PASS),
        ("access", 0.07, 0.06, CANNOT_TELL),
        ("discipline_record", 0.12, 0.03, FAIL),
        ("discipline_record", -0.2, 0.03, PASS),
        # Less is harm.
        ("captured", 0.0, 0.02, PASS),
        ("captured", -0.04, 0.01, PASS),
        ("captured", 0.3, 0.05, PASS),
        ("captured", -0.06, 0.02, FAIL),
        ("captured", -0.06, 0.05, CANNOT_TELL),
        ("captured", -0.04, 0.05, CANNOT_TELL),
        # Progress points, and less is harm: beyond 0.5 fails, within 1.0 passes.
        ("calibration", 0.0, 0.3, PASS),
        ("calibration", -0.7, 0.2, FAIL),
        ("calibration", -0.7, 0.5, CANNOT_TELL),
        ("calibration", 2.0, 0.3, PASS),
        # Ratios: below 0.80 fails; the whole interval from 0.80 on passes. Errors are of the log.
        ("suggestion", 1.0, 0.05, PASS),
        ("suggestion", 0.9, 0.04, PASS),
        ("suggestion", 0.81, 0.005, PASS),
        ("suggestion", 1.3, 0.05, PASS),
        ("suggestion", 0.7, 0.1, FAIL),
        ("suggestion", 0.75, 0.1, FAIL),
        ("suggestion", 0.75, 0.2, CANNOT_TELL),
        ("suggestion", 0.9, 0.1, CANNOT_TELL),
        ("support", 0.5, 0.1, FAIL),
        ("exposure", 0.95, 0.3, CANNOT_TELL),
        ("attendance_record", 0.9, 0.01, FAIL),
        ("attendance_record", 0.96, 0.01, PASS),
        ("attendance_record", 0.94, 0.05, PASS),
        ("attendance_record", 0.94, 0.15, CANNOT_TELL),
        # A mean, against nothing.
        ("twins", 0.0, 0.02, PASS),
        ("twins", 0.08, 0.02, FAIL),
        ("twins", 0.08, 0.06, CANNOT_TELL),
        ("twins", -0.3, 0.02, PASS),
    ],
)
def test_a_gap_fails_where_chance_does_not_explain_it_and_passes_only_well_within_the_threshold(
    check: str, gap: float, error: float, expected: Verdict
):
    assert verdict(check, gap, error) is expected


@pytest.mark.parametrize("check", CHECKS)
def test_every_check_can_pass_fail_and_be_left_open_on_the_side_of_its_harm(check: str):
    threshold, harm = POLICY.checks[check], CHECKS[check].harm_sign
    worse = (
        threshold.beyond * 0.7
        if CHECKS[check].contrast == "ratio"
        else harm * (threshold.beyond + 0.1) * 2
    )
    better = 1.5 if CHECKS[check].contrast == "ratio" else -worse
    assert verdict(check, worse, 0.001) is FAIL
    assert verdict(check, better, 0.001) is PASS
    assert verdict(check, worse, 3.0) is CANNOT_TELL


@given(
    st.sampled_from(list(CHECKS)),
    st.floats(-1, 3),
    st.floats(0.001, 2),
    st.integers(1, 100),
    st.integers(0, 400),
    st.integers(0, 400),
    st.integers(0, 60),
)
def test_what_cannot_be_told_never_becomes_a_pass(check, gap, error, freedom, rows, others, more):
    gap = abs(gap) if CHECKS[check].contrast == "ratio" else gap
    comparison = figure(check, gap, error, rows, others, freedom)
    alone, *_ = assign_verdicts([comparison], POLICY)
    among, *_ = assign_verdicts([comparison, *[figure("missed", 0.0, 0.02)] * more], POLICY)
    harm, within = CHECKS[check].harm_sign, POLICY.checks[check].within
    half = student.ppf(0.975, freedom) * error
    ratio = CHECKS[check].contrast == "ratio"
    enough = (
        rows if CHECKS[check].contrast == "mean" else min(rows, others)
    ) >= POLICY.fewest_in_need
    if ratio:
        inside = gap > 0 and min(gap, math.exp(math.log(gap) - half)) >= within
    else:
        inside = (gap + half if harm > 0 else half - gap) <= within
    for answer in (alone, among):
        if not enough:
            assert (answer.verdict, answer.sufficient_data) == (CANNOT_TELL, False) and math.isnan(
                answer.adjusted_p
            )
        elif answer.verdict is PASS:
            assert inside
    if alone.verdict is CANNOT_TELL:
        assert among.verdict is CANNOT_TELL
        assert consequence(among.verdict, POLICY.checks["missed"], True) is ASKS


@pytest.mark.parametrize(
    ("rows", "others", "check", "expected"),
    [
        (29, 800, "missed", CANNOT_TELL),
        (30, 800, "missed", FAIL),
        (800, 29, "missed", CANNOT_TELL),
        (29, 29, "missed", CANNOT_TELL),
        (30, 0, "twins", FAIL),
        (29, 800, "twins", CANNOT_TELL),
    ],
)
def test_fewer_than_thirty_on_either_side_cannot_be_told_whatever_the_figures_say(
    rows, others, check, expected
):
    assert verdict(check, 0.9, 0.02, rows=rows, others=others) is expected


@pytest.mark.parametrize(
    ("gap", "error"), [(math.nan, 0.1), (0.5, math.nan), (math.inf, 0.1), (0.5, 0.0)]
)
def test_figures_that_say_nothing_cannot_be_told(gap: float, error: float):
    assert verdict("missed", gap, error) is CANNOT_TELL
    assert (
        assign_verdicts([replace(figure("missed", 0.5, 0.1), t_statistic=math.nan)], POLICY)[
            0
        ].verdict
        is CANNOT_TELL
    )


def test_the_number_of_comparisons_counts_for_a_failure_and_not_for_a_pass():
    doubtful, fair = figure("missed", 0.08, 0.035), figure("missed", 0.0, 0.02)
    p = student.sf(0.08 / 0.035, 60)
    for number in (1, 3, 20):
        answers = assign_verdicts([doubtful, *[fair] * (number - 1)], POLICY)
        assert answers[0].adjusted_p == pytest.approx(min(1.0, number * p))
        assert answers[0].verdict is (FAIL if number * p < 0.05 else CANNOT_TELL)
        assert all(answer.verdict is PASS for answer in answers[1:])


def test_p_values_are_one_sided_toward_the_groups_harm():
    for check, gap, scaled in (
        ("missed", 0.05, -0.05),
        ("captured", -0.05, -0.05),
        ("suggestion", 0.9, math.log(0.9)),
        ("captured", 0.05, 0.05),
        ("missed", -0.05, 0.05),
    ):
        answer = assign_verdicts([figure(check, gap, 0.04, freedom=9)], POLICY)[0]
        assert answer.adjusted_p == pytest.approx(student.cdf(scaled / 0.04, 9), rel=1e-9)


def test_a_group_that_is_only_reported_is_judged_never_counts_and_takes_nothing_from_the_others():
    policy = replace(POLICY, reported={"school": "x" * 40, "missed:sex": "y" * 40})
    doubtful = figure("missed", 0.08, 0.035, attribute="race_ethnicity")
    many = [
        figure("missed", 0.3, 0.02, attribute="school"),
        figure("missed", 0.3, 0.02, attribute="sex"),
    ] * 20
    answers = assign_verdicts([doubtful, *many], policy)
    assert answers[0] == assign_verdicts([doubtful], policy)[0] and answers[0].verdict is FAIL
    assert all(answer.verdict is FAIL for answer in answers[1:])
    assert {
        consequence(
            answer.verdict,
            policy.checks["missed"],
            policy.counts("missed", answer.comparison.attribute),
        )
        for answer in answers[1:]
    } == {SHOWS}
    fair = [figure("missed", 0.0, 0.03, attribute=name) for name in ("school", "sex")] * 20
    assert assign_verdicts([doubtful, *fair], POLICY)[0].verdict is CANNOT_TELL
    assert assign_verdicts([doubtful, *fair], policy)[0].verdict is FAIL
    among_schools = replace(doubtful, attribute="school")
    assert assign_verdicts([among_schools], policy)[0].verdict is FAIL
    assert assign_verdicts([among_schools, *fair], policy)[0].verdict is CANNOT_TELL, (
        "what is only shown is corrected too"
    )
    assert policy.counts("access", "sex") and not policy.counts("access", "school")


@pytest.mark.parametrize(
    ("answer", "fails", "unsure", "counts"),
    list(product(Verdict, Consequence, (ASKS, SHOWS), (True, False))),
)
def test_what_follows_is_what_the_policy_says_of_the_answer(answer, fails, unsure, counts):
    expected = {PASS: SHOWS, FAIL: fails, CANNOT_TELL: unsure}[answer] if counts else SHOWS
    assert consequence(answer, Threshold(0.05, 0.1, fails, unsure, "here"), counts) is expected


@pytest.mark.parametrize(
    "consequences",
    [list(some) for number in (1, 2, 3) for some in product(Consequence, repeat=number)],
)
def test_a_model_fails_where_anything_stops_it_and_passes_only_where_nothing_asks(consequences):
    answers = [(CANNOT_TELL, True, does) for does in consequences]
    known = FAIL if STOPS in consequences else CANNOT_TELL
    assert overall_verdict(answers) is known
    assert overall_verdict([*answers, (PASS, False, SHOWS)]) is known, (
        "what passes and does not count is no pass"
    )
    passed = FAIL if STOPS in consequences else CANNOT_TELL if ASKS in consequences else PASS
    assert overall_verdict([*answers, (PASS, True, SHOWS)]) is passed


def test_where_nothing_was_asked_it_cannot_be_told():
    assert overall_verdict([]) is CANNOT_TELL


def test_the_worst_of_no_verdict_is_that_it_cannot_be_told():
    assert worst_verdict([]) is CANNOT_TELL
    assert worst_verdict([PASS, PASS]) is PASS
    assert worst_verdict([PASS, CANNOT_TELL]) is CANNOT_TELL
    assert worst_verdict([PASS, FAIL, CANNOT_TELL]) is FAIL


def test_a_tiny_group_cannot_be_told_and_asks_for_a_written_reason():  # R61
    district = synthetic_district(
        5000, 4, {"american_indian": 0.0}, policy=SMALL, only=("suggestion", "missed")
    )
    shown = district.shown()
    tiny = find_finding(shown, "missed", "race_ethnicity", "american_indian")
    assert (tiny.verdict, tiny.why, tiny.does) == (CANNOT_TELL, "too_few", ASKS)
    assert verdict_of(shown.findings) is CANNOT_TELL
    crossed = [
        finding
        for finding in shown.findings
        if finding.is_intersection and finding.value.startswith("american_indian")
    ]
    assert {(finding.verdict, finding.does) for finding in crossed} == {(CANNOT_TELL, SHOWS)}, (
        "asked once, of the whole group"
    )


def test_a_fair_district_without_a_tiny_group_passes():  # R61
    district = synthetic_district(
        20_000, 3, policy=SMALL, races=FEW, only=("suggestion", "missed", "access")
    )
    assert verdict_of(district.shown().findings) is PASS


def test_an_unfair_district_fails_and_says_for_whom():  # R61
    shown = synthetic_district(
        6000, 2, {"black": 0.4}, policy=SMALL, only=("suggestion", "missed")
    ).shown()
    assert verdict_of(shown.findings) is FAIL
    stopped = {
        (finding.check, finding.attribute, finding.value)
        for finding in shown.findings
        if finding.does is STOPS
    }
    assert {
        ("missed", "race_ethnicity", "black"),
        ("suggestion", "race_ethnicity", "black"),
    } <= stopped
    assert all("black" in value for _, _, value in stopped)
    assert find_finding(shown, "missed", "sex", "female").verdict is PASS


def test_where_nobody_is_suggested_anything_nothing_passes_the_four_fifths_rule():
    district = synthetic_district(
        3000, 7, served=0.0, policy=SMALL, races=FEW, only=("suggestion",)
    )
    nobody = advice_from(district.students, np.zeros(3000, dtype=bool), district.advice.benefit)
    judged = replace(district, advice=nobody).judged()
    assert {answer.verdict for answer in judged} == {CANNOT_TELL}


def world(rng: np.random.Generator, size: int, *, more: float = 0.0) -> list[GroupComparison]:
    """Students in need in 24 cohorts that differ, 25 groups; of a fifth of them more are missed."""
    cohort = rng.integers(0, 24, size)
    race = rng.choice(
        ["white", "hispanic", "black", "asian", "american_indian"],
        size,
        p=(0.4, 0.25, 0.2, 0.1, 0.05),
    )
    sex = rng.choice(["female", "male"], size)
    chance = 0.35 + rng.normal(0, 0.05, 24)[cohort] + more * (race == "black")
    missed = (rng.random(size) < chance).astype(float)
    groups = pd.DataFrame({"sex": sex, "race_ethnicity": race, "school": cohort % 8})
    groups = groups.assign(
        school=groups["school"].map("School {}".format), both=race + np.array(" x ") + sex
    )
    groups = groups.astype(object).rename(columns={"both": "race_ethnicity x sex"})
    return compare_groups(
        [Measure("missed", "", missed, np.ones(size))], groups, pd.Series(cohort), draws=400
    )


def test_fair_districts_seldom_fail():  # R61
    rng, worlds = np.random.default_rng(21), 200
    failed = 0
    for _ in range(worlds):
        judged = assign_verdicts(world(rng, 1500), POLICY)
        assert len(judged) == 25
        failed += any(answer.verdict is FAIL for answer in judged)
    assert failed / worlds <= 0.08


def test_a_district_in_which_a_fifth_are_missed_ten_points_more_often_fails():  # R61
    rng = np.random.default_rng(22)
    for _ in range(10):
        judged = assign_verdicts(world(rng, 4000, more=0.10), POLICY)
        failed = {answer.comparison.value for answer in judged if answer.verdict is FAIL}
        assert "black" in failed
