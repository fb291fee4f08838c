"""Mitigation: each way as a curve of benefit against parity, with figures that anybody can work out
again.
"""

from __future__ import annotations

from dataclasses import replace
from datetime import date
from functools import cache
from itertools import product

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import linear_sum_assignment

from fairness.audit.mitigation import (
    MULTIPLIERS,
    STRENGTHS,
    PublishableGap,
    TradeoffCurve,
    TradeoffPoint,
    consistent_with_audit,
    group_blind_classifiers,
    pareto_front,
    places_by_support,
    publishable_gap,
    tradeoff_curves,
)
from fairness.checks.policy import Policy
from fairness.population.comparisons import NOT_RECORDED
from fairness.population.students import AuditPopulation, suggestions_for
from features.catalog import feature_names
from tests.fairness.handwritten_audits import finding
from training.ranking.model_file import RankerModel
from training.ranking.ranker import BenefitRanker

POLICY = Policy.declared()
RACE = "race_ethnicity"
PROGRAMS = pd.DataFrame(
    {"support": ["tutoring", "tutoring", "mentoring", None], "capacity": [200, 100, 150, 40]}
)
TOO_FEW = "pacific_islander"


@cache
def taught() -> RankerModel:
    """A real ranker: tutoring brings more with absences, and with test results, in which the groups
    differ.
    """
    rng = np.random.default_rng(5)
    features = pd.DataFrame({name: rng.normal(0, 1, 3_000) for name in feature_names()})
    chosen = pd.Series(rng.choice(["none", "tutoring", "mentoring"], 3_000))
    tutoring = 2 + 2.5 * features["assessment_last"] + 1.5 * features["absence_rate_year"]
    worth = np.select(
        [chosen == "tutoring", chosen == "mentoring"],
        [tutoring, 0.8 + features["current_run"]],
        0.0,
    )
    ranker = BenefitRanker(
        ("mentoring", "tutoring"), n_folds=2, min_leaf=30, rounds=60, interaction_rounds=0
    )
    students = pd.Series([f"t{number}" for number in range(3_000)])
    return RankerModel(
        ranker.fit(features, worth + rng.normal(0, 0.5, 3_000), chosen, students), {}, "ab" * 32
    )


@cache
def district(number: int = 3_000) -> AuditPopulation:
    """Made-up students: test results of one group are lower; nothing is open at one school; twenty
    of a tiny group.
    """
    rng = np.random.default_rng(7)
    index = pd.Index([f"s{place:04}" for place in range(number)], name="student_id")
    features = pd.DataFrame(
        {name: rng.normal(0, 1, number) for name in feature_names(model_only=False)}, index=index
    )
    race = rng.choice(
        ["white", "black", "asian", NOT_RECORDED], number, p=(0.45, 0.3, 0.2, 0.05)
    ).astype(object)
    race[:20] = TOO_FEW
    features["assessment_last"] -= 1.0 * (race == "black")
    school = rng.choice(["North", "South", "West"], number, p=(0.4, 0.4, 0.2)).astype(object)
    may = pd.DataFrame(
        {"mentoring": rng.random(number) < 0.5, "tutoring": rng.random(number) < 0.9}, index=index
    )
    may[school == "West"] = False
    severity = pd.DataFrame(
        {"attendance": rng.choice([0, 2, 3], number), "grades": rng.choice([0, 2], number)}, index
    )
    cohorts = (
        pd.Series(school, index) + "|" + pd.Series(rng.integers(1, 9, number).astype(str), index)
    )
    return AuditPopulation(
        date(2026, 4, 17),
        features,
        pd.DataFrame({RACE: race, "school": school}, index),
        cohorts,
        severity,
        severity.max(axis=1).astype("float64"),
        may,
        rng.random(number) < 0.15,
    )


@cache
def curves(attribute: str = RACE) -> dict[str, TradeoffCurve]:
    return {
        curve.way: curve
        for curve in tradeoff_curves(taught(), district(), POLICY, attribute, PROGRAMS)
    }


def by_setting(curve: TradeoffCurve) -> dict[str, TradeoffPoint]:
    return {point.setting: point for point in curve.points}


def waiting() -> pd.Series:
    students = district()
    return pd.Series(
        (students.alert_severity.max(axis=1) >= 2).to_numpy() & ~students.in_support,
        students.groups.index,
    )


def attainable() -> pd.Series:
    """The greatest expected benefit of an open support, one student at a time."""
    expected, may = taught().ranker.predict_benefit(district().features), district().eligible
    return pd.Series(
        {
            student: max(
                [
                    0.0,
                    *(
                        expected.loc[student, (name, "benefit")]
                        for name in may.columns
                        if may.loc[student, name]
                    ),
                ]
            )
            for student in may.index[waiting()]
        }
    )


def worst(missed: pd.Series, groups: pd.Series) -> tuple[float, str]:
    """The largest gap of shares in hundredths, of the groups that have enough."""
    recorded = groups[groups != NOT_RECORDED]
    gaps = []
    for value in set(recorded) - {TOO_FEW}:
        own, others = (
            missed[recorded.index][recorded == value],
            missed[recorded.index][recorded != value],
        )
        assert min(own.sum(), (~own).sum(), others.sum(), (~others).sum()) >= POLICY.smallest_cell
        gaps.append((round(round(own.mean(), 2) - round(others.mean(), 2), 2), value))
    return max(gaps)


def test_each_way_is_a_curve_that_says_how_a_person_would_apply_it():
    by_way = curves()
    assert list(by_way) == ["as it is", "family removal", "reductions", "constrained matching"]
    assert [curve.attribute for curve in by_way.values()] == ["", "", RACE, RACE]
    assert "handrail train --without" in by_way["family removal"].applies
    assert "not offered for serving" in by_way["reductions"].applies
    assert "Places page" in by_way["constrained matching"].applies


@pytest.mark.parametrize(
    ("way", "setting", "hidden"),
    [
        ("as it is", "as it is", []),
        ("family removal", "without assessments", ["assessment_last", "assessment_change"]),
    ],
)
def test_a_point_equals_a_count_by_hand(way: str, setting: str, hidden: list[str]):
    students, waits = district(), waiting()
    expected = taught().ranker.predict_benefit(students.features)
    without = taught().ranker.predict_benefit(
        students.features.assign(**dict.fromkeys(hidden, np.nan))
    )
    brings = {}
    for student in students.groups.index[waits]:
        sure = [
            (without.loc[student, (name, "benefit")], name)
            for name in ("mentoring", "tutoring")
            if students.eligible.loc[student, name]
            and without.loc[student, (name, "lower")] > 0
            and without.loc[student, (name, "benefit")] >= 1.0
        ]
        if sure:
            brings[student] = expected.loc[student, (max(sure)[1], "benefit")]
    need = (students.alert_severity.max(axis=1) >= 2).to_numpy()
    missed = (waits & ~waits.index.isin(brings))[need]
    point = by_setting(curves()[way])[setting]
    assert point.captured == round(sum(brings.values()) / attainable().sum(), 2)
    assert point.helped == round(1 - missed.mean(), 2)
    assert (point.worst_gap, point.worst_group[1]) == worst(missed, students.groups.loc[need, RACE])


def test_removing_the_family_that_alone_carries_a_bias_lowers_the_gap():
    now, removed = curves()["as it is"].points[0], by_setting(curves()["family removal"])
    assert set(removed) == {
        "without attendance",
        "without grades",
        "without assessments",
        "without services",
    }
    without = removed["without assessments"]
    assert now.worst_group == (RACE, "black") and without.worst_gap < now.worst_gap - 0.05
    assert all(
        point.worst_gap > now.worst_gap - 0.05 for point in removed.values() if point is not without
    )


def test_rules_learned_under_parity_trade_benefit_for_parity_at_as_many_suggestions_as_now():
    now, points = curves()["as it is"].points[0], curves()["reductions"].points
    assert len(points) >= 3 and points[0].captured >= now.captured
    assert [point.captured for point in points] == sorted(
        {point.captured for point in points}, reverse=True
    )
    assert [point.worst_gap for point in points] == sorted(
        {point.worst_gap for point in points}, reverse=True
    )
    assert points[-1].worst_gap < now.worst_gap - 0.05
    assert {point.helped for point in points} == {now.helped}


def test_a_rule_reads_what_the_model_reads_and_never_the_group():
    students, rng = district(), np.random.default_rng(1)
    inputs = students.features[list(taught().ranker.feature_names_)]
    worth = inputs["assessment_last"].to_numpy() + rng.normal(0, 0.1, len(inputs))
    groups = students.groups[RACE]
    rules = group_blind_classifiers(inputs, worth, groups)
    assert len(rules) == len(MULTIPLIERS)
    assert all(rule.feature_name_ == list(inputs.columns) for rule in rules)
    gained = [worth[rule.predict(inputs) == 1].sum() for rule in rules]
    assert max(gained) == gained[0] > gained[-1]
    shares = [
        pd.Series(rule.predict(inputs)).groupby(groups.to_numpy()).mean()
        for rule in (rules[0], rules[4])
    ]
    assert abs(shares[1]["black"] - shares[1]["white"]) < abs(
        shares[0]["black"] - shares[0]["white"]
    )
    shuffled = groups.sample(frac=1, random_state=0).set_axis(groups.index)
    unconstrained = group_blind_classifiers(inputs, worth, shuffled)[0]
    assert np.array_equal(unconstrained.predict_proba(inputs), rules[0].predict_proba(inputs))


def test_where_nothing_or_everything_is_worth_it_every_rule_says_so():
    inputs, groups = district().features, district().groups[RACE]
    for worth, says in ((-1.0, 0), (1.0, 1)):
        for recorded in (groups, groups.where(groups.isna(), "white")):
            rules = group_blind_classifiers(inputs, np.full(len(inputs), worth), recorded)
            assert all((rule.predict(inputs) == says).all() for rule in rules)


def test_who_is_in_which_group_changes_no_suggestion():
    students = district()
    shuffled = students.groups.sample(frac=1, random_state=3).set_axis(students.groups.index)
    other = tradeoff_curves(taught(), replace(students, groups=shuffled), POLICY, RACE, PROGRAMS)
    for curve, reshuffled in zip(list(curves().values())[:2], other[:2], strict=True):
        assert [(point.setting, point.captured, point.helped) for point in curve.points] == [
            (point.setting, point.captured, point.helped) for point in reshuffled.points
        ]


def test_a_floor_of_full_parity_brings_the_gap_near_zero_and_no_floor_raises_benefit():
    points = curves()["constrained matching"].points
    assert [point.setting for point in points] == [
        "without floors",
        *(f"floor at {strength:.0%} of parity" for strength in STRENGTHS[1:]),
    ]
    assert points[0].worst_gap > 0.05 and points[-1].worst_gap <= 0.01
    assert [point.captured for point in points] == sorted(
        (point.captured for point in points), reverse=True
    )


def test_places_without_floors_are_worth_what_another_solver_finds():
    students, waits = district(), waiting()
    features = students.features[waits]
    expected, may = taught().ranker.predict_benefit(features), students.eligible[waits]
    sure = {
        name: may[name] & (expected[name, "lower"] > 0) & (expected[name, "benefit"] >= 1.0)
        for name in may.columns
    }
    benefit = pd.DataFrame(
        {name: expected[name, "benefit"].where(shown) for name, shown in sure.items()}
    )
    places = min(int(benefit.notna().any(axis=1).sum()), 450)
    columns = np.repeat([0, 1], [round(places * 150 / 450), places - round(places * 150 / 450)])
    dense = benefit.fillna(0.0).to_numpy()[:, columns]
    row, column = linear_sum_assignment(dense, maximize=True)
    point = curves()["constrained matching"].points[0]
    assert point.captured == round(dense[row, column].sum() / attainable().sum(), 2)
    placed = pd.Series(False, index=features.index)
    placed.iloc[row[dense[row, column] > 0]] = True
    need = (students.alert_severity.max(axis=1) >= 2).sum()
    assert point.helped == round(1 - (~placed).sum() / need, 2)
    assert (point.worst_gap, point.worst_group[1]) == worst(
        ~placed, students.groups.loc[waits, RACE]
    )


def test_a_floor_that_no_plan_can_keep_is_left_out():  # nothing is open at West
    assert curves("school")["as it is"].points[0].worst_group == ("school", "West")
    assert [point.setting for point in curves("school")["constrained matching"].points] == [
        "without floors"
    ]


def test_places_are_as_many_as_suggestions_in_proportion_to_capacity():
    advice = suggestions_for(taught(), district())
    suggested, firsts = int(advice.has_suggestion.sum()), (advice.rank == 1).sum()
    assert places_by_support(PROGRAMS, advice) == {"mentoring": 150, "tutoring": 300}
    many = places_by_support(PROGRAMS.assign(capacity=PROGRAMS["capacity"] * 100), advice)
    assert sum(many.values()) == suggested and many["mentoring"] == round(suggested / 3)
    unknown = PROGRAMS.assign(capacity=[200, None, 0, 40])
    assert places_by_support(unknown, advice) == {"mentoring": 0, "tutoring": firsts["tutoring"]}


def test_equal_seeds_give_equal_curves_and_nothing_of_the_students_changes():
    students = district()
    before = students.features.copy(), students.groups.copy(), students.eligible.copy()
    steps: list[tuple[int, int]] = []
    again = tradeoff_curves(
        taught(),
        students,
        POLICY,
        RACE,
        PROGRAMS,
        progress=lambda step, done, total: steps.append((done, total)),
    )
    assert again == tuple(curves().values())
    assert steps == [(done, 6) for done in range(7)]
    for frame, now in zip(
        before, (students.features, students.groups, students.eligible), strict=True
    ):
        pd.testing.assert_frame_equal(frame, now)


def test_a_group_with_too_few_is_never_named_and_where_all_are_nothing_is_shown():
    named = {point.worst_group[1] for curve in curves().values() for point in curve.points}
    assert named <= {"white", "black", "asian"}
    assert (
        tradeoff_curves(taught(), district(), replace(POLICY, fewest_in_need=5_000), RACE, PROGRAMS)
        == ()
    )
    unknown = replace(district(), groups=district().groups.assign(**{RACE: NOT_RECORDED}))
    assert tradeoff_curves(taught(), unknown, POLICY, RACE, PROGRAMS) == ()
    with pytest.raises(ValueError, match="no attribute 'faith'; there are race_ethnicity, school"):
        tradeoff_curves(taught(), district(), POLICY, "faith", PROGRAMS)


PART = st.integers(0, 32).flatmap(lambda total: st.tuples(st.integers(0, total), st.just(total)))
LARGE = st.tuples(st.integers(10, 300), st.integers(10, 300)).map(lambda part: (part[0], sum(part)))


@given(st.tuples(LARGE, LARGE, LARGE))
def test_where_no_number_is_small_all_is_shown_as_it_is(parts: tuple[tuple[int, int], ...]):
    published = publishable_gap(parts, 10)
    (missed, total), (others_missed, others_total), _ = parts
    gap = round(missed / total, 2) - round(others_missed / others_total, 2)
    assert published == PublishableGap(round(gap, 2), sum(missed for missed, _ in parts))


@settings(max_examples=40, deadline=None)
@given(st.tuples(PART, PART, PART))
def test_who_knows_the_rule_and_all_sizes_finds_no_small_number_behind_a_choice(
    parts: tuple[tuple[int, int], ...],
):
    published = publishable_gap(parts, 10)
    totals = [total for _, total in parts]
    alike = [
        counts
        for counts in product(*(range(total + 1) for total in totals))
        if publishable_gap(list(zip(counts, totals, strict=True)), 10) == published
    ]
    for place, (missed, total) in enumerate(parts):
        if min(missed, total - missed) < 10:
            assert len({counts[place] for counts in alike}) >= min(10, total + 1)


def test_the_model_as_it_is_shows_what_its_audit_shows_and_no_more():
    computed = tradeoff_curves(taught(), district(), POLICY, RACE, PROGRAMS)
    group = computed[0].points[0].worst_group[1]
    shows = finding("missed", RACE, group, 0.07)
    now, removed = computed[0].points[0], computed[1].points[0]
    assert (removed.worst_gap, removed.helped) != (now.worst_gap, now.helped)
    unchanged = replace(
        removed, worst_gap=now.worst_gap, worst_group=now.worst_group, helped=now.helped
    )
    computed = (computed[0], replace(computed[1], points=(unchanged, removed)), *computed[2:])
    for gap, helped in ((0.07, 0.83), (None, None)):
        consistent = list(
            consistent_with_audit(
                computed, [finding("access", RACE, group, 0.5), replace(shows, gap=gap)], helped
            )
        )
        assert consistent[0].points == (replace(now, worst_gap=gap, helped=helped),)
        assert consistent[1].points == (replace(unchanged, worst_gap=gap, helped=helped), removed)
        assert consistent[2:] == list(computed[2:])


@given(st.lists(st.tuples(st.integers(0, 5), st.integers(0, 5)), max_size=8))
def test_no_point_that_stays_is_beaten_and_each_that_goes_is(pairs: list[tuple[int, int]]):
    points = [
        TradeoffPoint(str(place), benefit, gap, (RACE, "white"), 1.0)
        for place, (benefit, gap) in enumerate(pairs)
    ]
    front = pareto_front(points)
    for point in points:
        as_good = [
            other
            for other in front
            if other.captured >= point.captured and other.worst_gap <= point.worst_gap
        ]
        assert as_good == [point] if point in front else as_good
