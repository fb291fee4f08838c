"""What is shown: rounded, never of fewer than ten students, and nothing from which a small number
would follow.
"""

from __future__ import annotations

import math
from dataclasses import replace
from datetime import date
from functools import cache

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fairness.gate.findings import PublishedAudit
from fairness.gate.gate import Verdict
from fairness.measures.matched_pairs import matched_pair_measures
from fairness.measures.past import past_support_measures
from fairness.policy.checks import CHECKS, INTERSECTION_SEPARATOR
from fairness.policy.policy_file import Consequence
from fairness.population.comparisons import NOT_RECORDED, Measure, MeasureTable
from fairness.publication.publishing import publish
from features.catalog import feature_names
from tests.fairness.attacker import SHARES, small_counts_tied_down, true_counts
from tests.fairness.synthetic_districts import (
    POLICY,
    District,
    advice_from,
    find_finding,
    size_of,
    synthetic_district,
)
from training.episodes.episodes import Episodes

SOME = replace(
    POLICY,
    groups=("sex", "race_ethnicity", "english_learner", "school"),
    intersections=(("race_ethnicity", "sex"),),
)
FEW = replace(SOME, groups=("sex", "race_ethnicity"))
PLAIN = ("suggestion", "missed")


def some_unknown(found: District, share: float, seed: int) -> District:
    """The same, with facts of some students not on record."""
    groups, rng = found.students.groups.copy(), np.random.default_rng(seed)
    for name in found.policy.groups:
        groups.loc[rng.random(len(groups)) < share, name] = NOT_RECORDED
    for one, two in found.policy.intersections:
        known = (groups[one] != NOT_RECORDED) & (groups[two] != NOT_RECORDED)
        groups[one + INTERSECTION_SEPARATOR + two] = (
            groups[one] + INTERSECTION_SEPARATOR + groups[two]
        ).where(known, NOT_RECORDED)
    return replace(found, students=replace(found.students, groups=groups))


SIZES = (120, 300, 450, 700, 900, 1400)


@pytest.mark.parametrize(
    ("seed", "only"),
    [
        (0, ("missed",)),
        (1, ("missed",)),
        (2, ("missed",)),
        (5, ("missed",)),
        (1, PLAIN),
        (2, PLAIN),
        (3, PLAIN),
        (5, PLAIN),
        (3, SHARES),
        (5, SHARES),
    ],
)
def test_whoever_reads_all_that_is_shown_finds_no_number_below_ten(
    seed: int, only: tuple[str, ...]
):  # R60
    found = synthetic_district(
        SIZES[seed], seed, {"asian": 0.95, "white": 0.7}, policy=SOME, only=only
    )
    found = some_unknown(found, 0.05, seed) if seed % 2 else found
    assert any(count < 10 for count in true_counts(found).values())
    assert small_counts_tied_down((found, found.shown())) == []


def by_another_model(found: District, seed: int, rate: float) -> District:
    """The same students, with suggestions to others of them."""
    suggested = np.random.default_rng(seed).random(len(found.students)) < rate
    return replace(found, advice=advice_from(found.students, suggested, found.advice.benefit))


@pytest.mark.parametrize(
    ("seed", "size", "only"),
    [
        (2, 450, SHARES),
        (4, 900, PLAIN),
        (7, 300, PLAIN),
        (8, 450, SHARES),
        (9, 700, ("missed",)),
    ],
)
def test_whoever_reads_audits_of_several_models_finds_no_number_below_ten(
    seed: int, size: int, only: tuple[str, ...]
):  # R60
    first = synthetic_district(size, seed, {"asian": 0.95, "white": 0.7}, policy=SOME, only=only)
    first = some_unknown(first, 0.05, seed) if seed % 2 else first
    second, third = (
        by_another_model(first, seed + more, rate) for more, rate in ((1000, 0.6), (2000, 0.8))
    )
    shown = first.shown()
    again = second.shown((first.counted(), shown))
    last = third.shown((first.counted(), shown), (second.counted(), again))
    assert small_counts_tied_down((first, shown), (second, again), (third, last)) == []


def test_two_audits_that_know_nothing_of_each_other_would_tell_together():  # R60
    first = some_unknown(
        synthetic_district(700, 9, {"asian": 0.95, "white": 0.7}, policy=SOME, only=("missed",)),
        0.05,
        9,
    )
    second = by_another_model(first, 1009, 0.6)
    assert small_counts_tied_down((first, first.shown()), (second, second.shown()))


@pytest.mark.parametrize("check", ["twins", "captured"])
def test_a_share_that_is_no_count_is_shown_where_it_tells_of_ten_or_more(check: str):  # R60
    found = synthetic_district(450, 2, {"asian": 0.95, "white": 0.7}, policy=FEW)
    groups, cohorts = found.students.groups[["sex"]], found.students.cohorts
    amount = np.random.default_rng(0).choice(
        [-1.0, 0.0, 1.0] if check == "twins" else [0.0, 0.5, 1.0], len(groups)
    )
    asked = MeasureTable((Measure(check, "", amount, np.ones(len(groups))),), groups, cohorts)
    found = replace(found, others=(asked,), only=("missed",))
    of = [one for one in found.judged() if one.comparison.check == check]
    assert len(of) == 2 and all(one.comparison.smallest_cell >= 10 for one in of)
    for told, is_shown in ((10, True), (9, False)):
        few = [replace(one, comparison=replace(one.comparison, smallest_cell=told)) for one in of]
        shown = publish(few, found.counted())
        assert [one.rate is not None for one in shown.findings] == [is_shown] * 2


def test_where_nobody_is_in_need_nothing_can_be_told():
    found = synthetic_district(450, 2, policy=FEW)
    students = replace(found.students, alert_severity=found.students.alert_severity * 0)
    twins = tuple(matched_pair_measures(students, found.advice, feature_names(), FEW))
    audit = replace(found, students=students, others=twins).audit()
    assert (audit.verdict, audit.helped, audit.comparisons) == (Verdict.CANNOT_TELL, None, 0)
    assert audit.asking and all(one.rate is None for one in audit.findings)


def test_an_audit_of_the_same_model_again_shows_what_the_first_did():  # R60
    found = synthetic_district(450, 2, {"asian": 0.95, "white": 0.7}, policy=SOME)
    shown = found.shown()
    assert found.shown((found.counted(), shown)) == shown


def test_what_was_shown_under_another_policy_counts_too():  # R60
    first = synthetic_district(700, 3, policy=SOME, only=PLAIN)
    found = replace(
        by_another_model(first, 5, 0.7),
        policy=replace(SOME, groups=("sex", "race_ethnicity"), need_severity=2, fewest_in_need=40),
    )
    found = replace(
        found,
        students=replace(
            found.students, groups=first.students.groups.drop(columns=["english_learner", "school"])
        ),
    )
    shown = first.shown()
    assert (
        small_counts_tied_down((first, shown), (found, found.shown((first.counted(), shown)))) == []
    )
    severe = replace(found, policy=replace(found.policy, need_severity=3))
    assert severe.shown((first.counted(), shown)).groups


def test_the_attacker_is_no_fool():  # R60
    found = synthetic_district(
        900, 4, policy=SOME, only=PLAIN, races={"white": 0.6, "black": 0.385, "asian": 0.015}
    )
    counts, shown = true_counts(found), found.shown()
    assert counts["need", ("race_ethnicity", "asian")] < 10
    told = tuple(
        replace(
            one,
            students=round(counts["students", (one.attribute, one.value)] + 0.1, -1),
            in_need=round(counts["need", (one.attribute, one.value)] + 0.1, -1),
        )
        for one in shown.groups
    )
    assert ("need", ("race_ethnicity", "asian")) in {
        tied[:2] for tied in small_counts_tied_down((found, replace(shown, groups=told)))
    }


@settings(max_examples=8, deadline=None)
@given(st.integers(0, 10_000), st.integers(60, 700), st.floats(0.05, 0.95), st.floats(0.02, 0.98))
def test_no_figure_of_fewer_than_ten_students_is_shown(
    seed: int, students: int, need: float, rate: float
):  # R60
    found = synthetic_district(
        students, seed, rate, need=need, policy=FEW, only=("missed", "captured", "late_alert")
    )
    shown, table = found.shown(), found.table
    counts, groups = true_counts(found), found.students.groups
    for one in shown.groups:
        cell = (one.attribute, one.value)
        for number, what in ((one.students, "students"), (one.in_need, "need")):
            assert number is None or (number % 10 == 0 and counts[what, cell] >= 10)
            assert number is None or abs(number - counts[what, cell]) <= 5
    measures = {(one.check, one.item): one for one in table.measures}
    for one in shown.findings:
        if one.why == "nothing_recorded":
            continue
        measure, column = measures[one.check, one.item], groups[one.attribute]
        own = (column == one.value).to_numpy()
        for share, rows in (
            (one.rate, own),
            (one.others_rate, ~own & (column != NOT_RECORDED).to_numpy()),
        ):
            if share is None:
                continue
            some, whole = measure.numerator[rows].sum(), measure.denominator[rows].sum()
            assert (
                share == pytest.approx(round(share, 2))
                and abs(share - some / whole) <= 0.005 + 1e-12
            )
            if measure.is_count:
                assert min(some, whole - some) >= 10
            else:
                assert (measure.denominator[rows] > 0).sum() >= 30
        if one.gap is not None:
            assert one.rate is not None and one.others_rate is not None
        if one.lower is not None:
            assert one.gap is not None and one.lower <= one.gap
    assert shown.students % 10 == 0 and (shown.in_need is None or shown.in_need % 10 == 0)


@cache
def plain_district() -> tuple[District, PublishedAudit]:
    found = synthetic_district(2500, 9, {"black": 0.4}, policy=SOME)
    return found, found.shown()


def test_the_gap_of_plain_counts_is_that_of_the_shares_beside_it():
    found, shown = plain_district()
    counted = {(one.check, one.item) for one in found.table.measures if one.is_count}
    seen = 0
    for one in shown.findings:
        if (one.check, one.item) not in counted or CHECKS[one.check].stratified or one.gap is None:
            continue
        exact = (
            one.rate / one.others_rate
            if CHECKS[one.check].contrast == "ratio"
            else one.rate - one.others_rate
        )
        assert one.gap == pytest.approx(round(exact, 2), abs=1e-9)
        seen += 1
    assert seen > 20


def test_verdicts_and_what_follows_are_those_of_the_exact_figures():
    found, shown = plain_district()
    judged = {
        (
            one.comparison.check,
            one.comparison.item,
            one.comparison.attribute,
            one.comparison.value,
        ): one
        for one in found.judged()
    }
    assert len(judged) == len(shown.findings)
    for one in shown.findings:
        exact = judged[one.check, one.item, one.attribute, one.value]
        assert one.verdict is exact.verdict
        threshold = found.policy.checks[one.check]
        does = {
            Verdict.PASS: Consequence.SHOWS,
            Verdict.FAIL: threshold.fails,
            Verdict.CANNOT_TELL: threshold.unsure,
        }
        if one.is_intersection and one.verdict is Verdict.CANNOT_TELL:
            assert one.does is Consequence.SHOWS
        else:
            assert one.does is does[one.verdict]
    assert find_finding(shown, "missed", "race_ethnicity", "black").verdict is Verdict.FAIL


def test_the_interval_moves_with_the_rounded_gap_and_keeps_its_width():
    found, shown = plain_district()
    for exact in (
        one.comparison
        for one in found.judged()
        if one.comparison.check in PLAIN and one.sufficient_data
    ):
        one = find_finding(shown, exact.check, exact.attribute, exact.value)
        if one.gap is None:
            continue
        lower, upper = exact.interval(0.95)
        if exact.check == "missed":
            assert one.upper - one.lower == pytest.approx(upper - lower, abs=0.0101)
            assert one.lower == pytest.approx(lower, abs=0.0151)
        else:
            assert one.upper / one.lower == pytest.approx(upper / lower, rel=0.04)


def test_a_group_that_the_policy_only_reports_is_shown_with_its_verdict_and_does_nothing():
    found, _ = plain_district()
    policy = replace(SOME, reported={"race_ethnicity": "x" * 40, "race_ethnicity x sex": "x" * 40})
    shown = replace(found, policy=policy, only=PLAIN).shown()
    black = find_finding(shown, "missed", "race_ethnicity", "black")
    assert (black.verdict, black.does, black.counts) == (Verdict.FAIL, Consequence.SHOWS, False)
    assert black.rate is not None and find_finding(shown, "missed", "sex", "female").counts


def test_a_fact_that_is_on_record_for_nobody_asks():
    found = synthetic_district(1500, 5, policy=SOME, only=PLAIN)
    unknown = found.students.groups.assign(english_learner=NOT_RECORDED)
    shown = replace(found, students=replace(found.students, groups=unknown)).shown()
    one = find_finding(shown, "missed", "english_learner", NOT_RECORDED)
    assert (one.verdict, one.does, one.why) == (
        Verdict.CANNOT_TELL,
        Consequence.ASKS,
        "nothing_recorded",
    )
    assert one.rate is one.gap is None
    assert [each for each in shown.findings if each.attribute == "english_learner"] == [one]
    assert size_of(shown, "english_learner", NOT_RECORDED).students == 1500


def test_points_of_progress_are_shown_in_tenths_of_thirty_students_and_more():
    found = synthetic_district(800, 6, policy=SOME, only=PLAIN)
    rng = np.random.default_rng(0)
    groups = found.students.groups[["sex", "race_ethnicity"]]
    measure = Measure("calibration", "", rng.normal(0.44, 3, 800), np.ones(800))
    others = (MeasureTable((measure,), groups, found.students.cohorts),)
    shown = replace(found, others=others).shown()
    for value, size in groups["race_ethnicity"].value_counts().items():
        one = find_finding(shown, "calibration", "race_ethnicity", value)
        own = (groups["race_ethnicity"] == value).to_numpy()
        assert (one.rate is None) is (size < 30)
        if one.rate is not None:
            assert one.rate == round(float(measure.numerator[own].mean()), 1)
            assert one.gap == round(
                float(measure.numerator[own].mean() - measure.numerator[~own].mean()), 1
            )
            assert 10 * one.lower == pytest.approx(round(10 * one.lower))


def test_the_rows_of_other_days_are_protected_too():  # R60
    found = synthetic_district(900, 7, policy=SOME, only=PLAIN)
    rng = np.random.default_rng(1)
    groups = found.students.groups.iloc[:300]
    got = (rng.random(300) < 0.15).astype(float)
    rows = MeasureTable(
        (Measure("past_support", "tutoring", got, np.ones(300), np.zeros(300, dtype=np.intp)),),
        groups,
        found.students.cohorts.iloc[:300],
    )
    shown = replace(found, others=(rows,)).shown()
    hidden = 0
    for one in [each for each in shown.findings if each.check == "past_support"]:
        own = (groups[one.attribute] == one.value).to_numpy()
        for share, who in ((one.rate, own), (one.others_rate, ~own)):
            some = got[who].sum()
            hidden += share is None
            assert share is None or min(some, who.sum() - some) >= 10
    assert hidden > 2
    stranger = replace(rows, groups=groups.rename(index={groups.index[0]: "CANARY-another"}))
    with pytest.raises(
        ValueError, match="the rows of past_support are not of the audited students"
    ):
        replace(found, others=(stranger,)).shown()


def test_what_is_shown_is_the_same_twice():
    found = synthetic_district(400, 8, policy=SOME, only=PLAIN)
    assert found.shown() == found.shown()
    assert "CANARY" not in repr(found.shown())


def none_of(found: District, attribute: str, value: str) -> District:
    """The same, with no suggestion and no support for one group."""
    own = (found.students.groups[attribute] == value).to_numpy()
    suggested = found.advice.suggested_supports.any(axis=1).to_numpy() & ~own
    students = replace(found.students, in_support=found.students.in_support & ~own)
    return replace(
        found, students=students, advice=advice_from(students, suggested, found.advice.benefit)
    )


@pytest.mark.parametrize("check", ["captured", "exposure"])
def test_a_share_of_benefit_does_not_say_that_nobody_of_a_group_has_a_suggestion(check: str):  # R60
    found = none_of(synthetic_district(900, 3, policy=SOME), "race_ethnicity", "asian")
    shown = found.shown()
    assert find_finding(shown, "missed", "race_ethnicity", "asian").rate is None, (
        "nobody is helped: withheld"
    )
    assert find_finding(shown, check, "race_ethnicity", "asian").rate != 0.0


def test_a_share_of_the_past_is_of_ten_students_and_not_of_ten_rows():  # R60
    found = synthetic_district(400, 14, policy=FEW, only=PLAIN, races={"white": 0.6, "black": 0.4})
    race = found.students.groups["race_ethnicity"].copy()
    race.iloc[:12] = "asian"
    groups = found.students.groups.assign(race_ethnicity=race)
    students = replace(
        found.students,
        groups=groups.assign(
            **{"race_ethnicity x sex": race + INTERSECTION_SEPARATOR + groups["sex"]}
        ),
    )
    who, rng = np.tile(np.arange(400), 3), np.random.default_rng(14)
    got = np.where(who < 12, who < 4, rng.random(400)[who] < 0.4)
    features = pd.DataFrame(math.nan, index=range(1200), columns=feature_names()).assign(
        grade_level=5.0, absence_rate_year=0.15, absent_days_year=12.0, days_enrolled_year=80.0
    )
    days = pd.Series(np.repeat([date(2025, 10, 1), date(2025, 12, 1), date(2026, 2, 2)], 400))
    episodes = Episodes(
        features,
        pd.Series(race.index[who]),
        days,
        pd.Series(np.where(got, "tutoring", "none")),
        pd.Series(np.zeros(1200)),
    )
    programs = pd.DataFrame({"support": ["tutoring"], "min_grade": [-1.0], "max_grade": [12.0]})
    rows = past_support_measures(episodes, programs, students, ("tutoring",), FEW)
    shown = replace(found, students=students, others=(rows,)).shown()
    assert (
        find_finding(shown, "past_support", "race_ethnicity", "white", "tutoring").rate is not None
    )
    assert (
        find_finding(shown, "past_support", "race_ethnicity", "asian", "tutoring").rate is None
    ), "four of twelve students"
