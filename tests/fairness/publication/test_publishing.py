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

from fairness.checks.checks import CHECKS, INTERSECTION_SEPARATOR
from fairness.checks.policy_file import Consequence
from fairness.gate.findings import PublishedAudit
from fairness.gate.gate import Verdict
from fairness.measures.matched_pairs import matched_pair_measures
from fairness.measures.past import past_support_measures
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


def with_unknown(district: District, share: float, seed: int) -> District:
    """The district with facts of some students not on record."""
    groups, rng = district.students.groups.copy(), np.random.default_rng(seed)
    for name in district.policy.groups:
        groups.loc[rng.random(len(groups)) < share, name] = NOT_RECORDED
    for first, second in district.policy.intersections:
        known = (groups[first] != NOT_RECORDED) & (groups[second] != NOT_RECORDED)
        groups[first + INTERSECTION_SEPARATOR + second] = (
            groups[first] + INTERSECTION_SEPARATOR + groups[second]
        ).where(known, NOT_RECORDED)
    return replace(district, students=replace(district.students, groups=groups))


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
    district = synthetic_district(
        SIZES[seed], seed, {"asian": 0.95, "white": 0.7}, policy=SOME, only=only
    )
    district = with_unknown(district, 0.05, seed) if seed % 2 else district
    assert any(count < 10 for count in true_counts(district).values())
    assert small_counts_tied_down((district, district.shown())) == []


def by_another_model(district: District, seed: int, rate: float) -> District:
    """The district with suggestions to other students."""
    suggested = np.random.default_rng(seed).random(len(district.students)) < rate
    return replace(
        district, advice=advice_from(district.students, suggested, district.advice.benefit)
    )


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
    first = with_unknown(first, 0.05, seed) if seed % 2 else first
    second, third = (
        by_another_model(first, seed + more, rate) for more, rate in ((1000, 0.6), (2000, 0.8))
    )
    shown = first.shown()
    again = second.shown((first.counted(), shown))
    last = third.shown((first.counted(), shown), (second.counted(), again))
    assert small_counts_tied_down((first, shown), (second, again), (third, last)) == []


def test_two_audits_that_know_nothing_of_each_other_would_tell_together():  # R60
    first = with_unknown(
        synthetic_district(700, 9, {"asian": 0.95, "white": 0.7}, policy=SOME, only=("missed",)),
        0.05,
        9,
    )
    second = by_another_model(first, 1009, 0.6)
    assert small_counts_tied_down((first, first.shown()), (second, second.shown()))


@pytest.mark.parametrize("check", ["twins", "captured"])
def test_a_share_that_is_no_count_is_shown_where_it_tells_of_ten_or_more(check: str):  # R60
    district = synthetic_district(450, 2, {"asian": 0.95, "white": 0.7}, policy=FEW)
    groups, cohorts = district.students.groups[["sex"]], district.students.cohorts
    amount = np.random.default_rng(0).choice(
        [-1.0, 0.0, 1.0] if check == "twins" else [0.0, 0.5, 1.0], len(groups)
    )
    rows = MeasureTable((Measure(check, "", amount, np.ones(len(groups))),), groups, cohorts)
    district = replace(district, others=(rows,), only=("missed",))
    verdicts = [verdict for verdict in district.judged() if verdict.comparison.check == check]
    assert len(verdicts) == 2 and all(
        verdict.comparison.smallest_cell >= 10 for verdict in verdicts
    )
    for smallest, is_shown in ((10, True), (9, False)):
        few = [
            replace(verdict, comparison=replace(verdict.comparison, smallest_cell=smallest))
            for verdict in verdicts
        ]
        shown = publish(few, district.counted())
        assert [finding.rate is not None for finding in shown.findings] == [is_shown] * 2


def test_where_nobody_is_in_need_nothing_can_be_told():
    district = synthetic_district(450, 2, policy=FEW)
    students = replace(district.students, alert_severity=district.students.alert_severity * 0)
    twins = tuple(matched_pair_measures(students, district.advice, feature_names(), FEW))
    audit = replace(district, students=students, others=twins).audit()
    assert (audit.verdict, audit.helped, audit.comparisons) == (Verdict.CANNOT_TELL, None, 0)
    assert audit.asking and all(finding.rate is None for finding in audit.findings)


def test_an_audit_of_the_same_model_again_shows_what_the_first_did():  # R60
    district = synthetic_district(450, 2, {"asian": 0.95, "white": 0.7}, policy=SOME)
    shown = district.shown()
    assert district.shown((district.counted(), shown)) == shown


def test_what_was_shown_under_another_policy_counts_too():  # R60
    first = synthetic_district(700, 3, policy=SOME, only=PLAIN)
    district = replace(
        by_another_model(first, 5, 0.7),
        policy=replace(SOME, groups=("sex", "race_ethnicity"), need_severity=2, fewest_in_need=40),
    )
    district = replace(
        district,
        students=replace(
            district.students,
            groups=first.students.groups.drop(columns=["english_learner", "school"]),
        ),
    )
    shown = first.shown()
    assert (
        small_counts_tied_down((first, shown), (district, district.shown((first.counted(), shown))))
        == []
    )
    severe = replace(district, policy=replace(district.policy, need_severity=3))
    assert severe.shown((first.counted(), shown)).groups


def test_the_attacker_is_no_fool():  # R60
    district = synthetic_district(
        900, 4, policy=SOME, only=PLAIN, races={"white": 0.6, "black": 0.385, "asian": 0.015}
    )
    counts, shown = true_counts(district), district.shown()
    assert counts["need", ("race_ethnicity", "asian")] < 10
    rounded_groups = tuple(
        replace(
            group,
            students=round(counts["students", (group.attribute, group.value)] + 0.1, -1),
            in_need=round(counts["need", (group.attribute, group.value)] + 0.1, -1),
        )
        for group in shown.groups
    )
    assert ("need", ("race_ethnicity", "asian")) in {
        tied[:2]
        for tied in small_counts_tied_down((district, replace(shown, groups=rounded_groups)))
    }


@settings(max_examples=8, deadline=None)
@given(st.integers(0, 10_000), st.integers(60, 700), st.floats(0.05, 0.95), st.floats(0.02, 0.98))
def test_no_figure_of_fewer_than_ten_students_is_shown(
    seed: int, students: int, need: float, rate: float
):  # R60
    district = synthetic_district(
        students, seed, rate, need=need, policy=FEW, only=("missed", "captured", "late_alert")
    )
    shown, table = district.shown(), district.table
    counts, groups = true_counts(district), district.students.groups
    for group in shown.groups:
        cell = (group.attribute, group.value)
        for number, what in ((group.students, "students"), (group.in_need, "need")):
            assert number is None or (number % 10 == 0 and counts[what, cell] >= 10)
            assert number is None or abs(number - counts[what, cell]) <= 5
    measures = {(measure.check, measure.item): measure for measure in table.measures}
    for finding in shown.findings:
        if finding.why == "nothing_recorded":
            continue
        measure, column = measures[finding.check, finding.item], groups[finding.attribute]
        own = (column == finding.value).to_numpy()
        for share, rows in (
            (finding.rate, own),
            (finding.others_rate, ~own & (column != NOT_RECORDED).to_numpy()),
        ):
            if share is None:
                continue
            count, total = measure.numerator[rows].sum(), measure.denominator[rows].sum()
            assert (
                share == pytest.approx(round(share, 2))
                and abs(share - count / total) <= 0.005 + 1e-12
            )
            if measure.is_count:
                assert min(count, total - count) >= 10
            else:
                assert (measure.denominator[rows] > 0).sum() >= 30
        if finding.gap is not None:
            assert finding.rate is not None and finding.others_rate is not None
        if finding.lower is not None:
            assert finding.gap is not None and finding.lower <= finding.gap
    assert shown.students % 10 == 0 and (shown.in_need is None or shown.in_need % 10 == 0)


@cache
def plain_district() -> tuple[District, PublishedAudit]:
    district = synthetic_district(2500, 9, {"black": 0.4}, policy=SOME)
    return district, district.shown()


def test_the_gap_of_plain_counts_is_that_of_the_shares_shown_with_it():
    district, shown = plain_district()
    counted = {
        (measure.check, measure.item) for measure in district.table.measures if measure.is_count
    }
    compared = 0
    for finding in shown.findings:
        if (
            (finding.check, finding.item) not in counted
            or CHECKS[finding.check].stratified
            or finding.gap is None
        ):
            continue
        exact = (
            finding.rate / finding.others_rate
            if CHECKS[finding.check].contrast == "ratio"
            else finding.rate - finding.others_rate
        )
        assert finding.gap == pytest.approx(round(exact, 2), abs=1e-9)
        compared += 1
    assert compared > 20


def test_verdicts_and_what_follows_are_those_of_the_exact_figures():
    district, shown = plain_district()
    judged = {
        (
            verdict.comparison.check,
            verdict.comparison.item,
            verdict.comparison.attribute,
            verdict.comparison.value,
        ): verdict
        for verdict in district.judged()
    }
    assert len(judged) == len(shown.findings)
    for finding in shown.findings:
        exact = judged[finding.check, finding.item, finding.attribute, finding.value]
        assert finding.verdict is exact.verdict
        threshold = district.policy.checks[finding.check]
        does = {
            Verdict.PASS: Consequence.SHOWS,
            Verdict.FAIL: threshold.fails,
            Verdict.CANNOT_TELL: threshold.unsure,
        }
        if finding.is_intersection and finding.verdict is Verdict.CANNOT_TELL:
            assert finding.does is Consequence.SHOWS
        else:
            assert finding.does is does[finding.verdict]
    assert find_finding(shown, "missed", "race_ethnicity", "black").verdict is Verdict.FAIL


def test_the_interval_moves_with_the_rounded_gap_and_keeps_its_width():
    district, shown = plain_district()
    for exact in (
        verdict.comparison
        for verdict in district.judged()
        if verdict.comparison.check in PLAIN and verdict.sufficient_data
    ):
        finding = find_finding(shown, exact.check, exact.attribute, exact.value)
        if finding.gap is None:
            continue
        lower, upper = exact.interval(0.95)
        if exact.check == "missed":
            assert finding.upper - finding.lower == pytest.approx(upper - lower, abs=0.0101)
            assert finding.lower == pytest.approx(lower, abs=0.0151)
        else:
            assert finding.upper / finding.lower == pytest.approx(upper / lower, rel=0.04)


def test_a_group_that_the_policy_only_reports_is_shown_with_its_verdict_and_does_nothing():
    district, _ = plain_district()
    policy = replace(SOME, reported={"race_ethnicity": "x" * 40, "race_ethnicity x sex": "x" * 40})
    shown = replace(district, policy=policy, only=PLAIN).shown()
    black = find_finding(shown, "missed", "race_ethnicity", "black")
    assert (black.verdict, black.does, black.counts) == (Verdict.FAIL, Consequence.SHOWS, False)
    assert black.rate is not None and find_finding(shown, "missed", "sex", "female").counts


def test_a_fact_that_is_on_record_for_nobody_asks():
    district = synthetic_district(1500, 5, policy=SOME, only=PLAIN)
    unknown = district.students.groups.assign(english_learner=NOT_RECORDED)
    shown = replace(district, students=replace(district.students, groups=unknown)).shown()
    unrecorded = find_finding(shown, "missed", "english_learner", NOT_RECORDED)
    assert (unrecorded.verdict, unrecorded.does, unrecorded.why) == (
        Verdict.CANNOT_TELL,
        Consequence.ASKS,
        "nothing_recorded",
    )
    assert unrecorded.rate is unrecorded.gap is None
    asking = [finding for finding in shown.findings if finding.attribute == "english_learner"]
    assert asking == [unrecorded]
    assert size_of(shown, "english_learner", NOT_RECORDED).students == 1500


def test_points_of_progress_are_shown_in_tenths_of_thirty_students_and_more():
    district = synthetic_district(800, 6, policy=SOME, only=PLAIN)
    rng = np.random.default_rng(0)
    groups = district.students.groups[["sex", "race_ethnicity"]]
    measure = Measure("calibration", "", rng.normal(0.44, 3, 800), np.ones(800))
    others = (MeasureTable((measure,), groups, district.students.cohorts),)
    shown = replace(district, others=others).shown()
    for value, size in groups["race_ethnicity"].value_counts().items():
        finding = find_finding(shown, "calibration", "race_ethnicity", value)
        own = (groups["race_ethnicity"] == value).to_numpy()
        assert (finding.rate is None) is (size < 30)
        if finding.rate is not None:
            assert finding.rate == round(float(measure.numerator[own].mean()), 1)
            assert finding.gap == round(
                float(measure.numerator[own].mean() - measure.numerator[~own].mean()), 1
            )
            assert 10 * finding.lower == pytest.approx(round(10 * finding.lower))


def test_the_rows_of_other_days_are_protected_too():  # R60
    district = synthetic_district(900, 7, policy=SOME, only=PLAIN)
    rng = np.random.default_rng(1)
    groups = district.students.groups.iloc[:300]
    got = (rng.random(300) < 0.15).astype(float)
    rows = MeasureTable(
        (Measure("past_support", "tutoring", got, np.ones(300), np.zeros(300, dtype=np.intp)),),
        groups,
        district.students.cohorts.iloc[:300],
    )
    shown = replace(district, others=(rows,)).shown()
    hidden = 0
    for finding in [finding for finding in shown.findings if finding.check == "past_support"]:
        own = (groups[finding.attribute] == finding.value).to_numpy()
        for share, who in ((finding.rate, own), (finding.others_rate, ~own)):
            some = got[who].sum()
            hidden += share is None
            assert share is None or min(some, who.sum() - some) >= 10
    assert hidden > 2
    stranger = replace(rows, groups=groups.rename(index={groups.index[0]: "CANARY-another"}))
    with pytest.raises(
        ValueError, match="the rows of past_support are not of the audited students"
    ):
        replace(district, others=(stranger,)).shown()


def test_what_is_shown_is_the_same_twice():
    district = synthetic_district(400, 8, policy=SOME, only=PLAIN)
    assert district.shown() == district.shown()
    assert "CANARY" not in repr(district.shown())


def none_of(district: District, attribute: str, value: str) -> District:
    """The district with no suggestion and no support for one group."""
    own = (district.students.groups[attribute] == value).to_numpy()
    suggested = district.advice.suggested_supports.any(axis=1).to_numpy() & ~own
    students = replace(district.students, in_support=district.students.in_support & ~own)
    return replace(
        district,
        students=students,
        advice=advice_from(students, suggested, district.advice.benefit),
    )


@pytest.mark.parametrize("check", ["captured", "exposure"])
def test_a_share_of_benefit_does_not_say_that_nobody_of_a_group_has_a_suggestion(check: str):  # R60
    district = none_of(synthetic_district(900, 3, policy=SOME), "race_ethnicity", "asian")
    shown = district.shown()
    assert find_finding(shown, "missed", "race_ethnicity", "asian").rate is None, (
        "nobody is helped: withheld"
    )
    assert find_finding(shown, check, "race_ethnicity", "asian").rate != 0.0


def test_a_share_of_the_past_is_of_ten_students_and_not_of_ten_rows():  # R60
    district = synthetic_district(
        400, 14, policy=FEW, only=PLAIN, races={"white": 0.6, "black": 0.4}
    )
    race = district.students.groups["race_ethnicity"].copy()
    race.iloc[:12] = "asian"
    groups = district.students.groups.assign(race_ethnicity=race)
    students = replace(
        district.students,
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
    shown = replace(district, students=students, others=(rows,)).shown()
    assert (
        find_finding(shown, "past_support", "race_ethnicity", "white", "tutoring").rate is not None
    )
    assert (
        find_finding(shown, "past_support", "race_ethnicity", "asian", "tutoring").rate is None
    ), "four of twelve students"
