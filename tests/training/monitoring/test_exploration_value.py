"""Draws tell what an order is worth: by the chances on record alone, and only where enough students
are known.
"""

from __future__ import annotations

from datetime import date

import numpy as np
import pandas as pd
import pytest

from records.decisions.exploration import ExplorationPolicy
from records.decisions.impressions import Impression, RankedSupport
from serving.students.suggestion_order import order_suggestions, weekly_draw
from training.evaluation.model_comparison import Superiority
from training.monitoring.exploration_value import (
    BEST_FIRST,
    CHALLENGER_FIRST,
    NEAR_BEST_FIRST,
    estimate_exploration_value,
)

DAY, LATER = date(2026, 1, 12), date(2026, 4, 13)
STUDENTS = [f"s{n:05d}" for n in range(6_000)]
BENEFIT = {"food": 3.0, "tutoring": 2.9, "health": 2.8}


def shown_on(day: date, share: float = 0.1, students: list[str] = STUDENTS) -> list[Impression]:
    """Lists as the site would show and keep them; a challenger would put tutoring first."""
    rows = [
        (student, name, rank, BENEFIT[name])
        for student in students
        for rank, name in enumerate(BENEFIT, 1)
    ]
    table = pd.DataFrame(rows, columns=["student_id", "support", "rank", "benefit"])
    shown, drawn = order_suggestions(
        table, ExplorationPolicy(share, 0.5), weekly_draw(b"secret", day, "a" * 64), 3
    )
    found = []
    for student, own in shown.groupby("student_id"):
        listed = tuple(
            RankedSupport(row.support, row.rank, row.top_propensity, row.benefit, 1.0)
            for row in own.itertuples()
        )
        found.append(
            Impression(
                str(student),
                "tutors",
                day,
                "snap",
                "a" * 64,
                listed,
                drawn.get(str(student), False),
                "b" * 64,
                ("tutoring",),
            )
        )
    return found


def first(one: Impression) -> str:
    return min(one.listed, key=lambda entry: entry.rank).support


def fared(lists: list[Impression], worth: dict[str, float], seed: int = 3) -> dict[str, float]:
    """Progress that depends on which support stood first, and on chance."""
    rng = np.random.default_rng(seed)
    return {shown.student_id: worth.get(first(shown), 0.0) + rng.normal(0, 2) for shown in lists}


def test_what_is_better_put_first_is_found_and_by_how_much():
    lists = shown_on(DAY)
    reward = fared(lists, {"tutoring": 2.0, "health": 1.0})
    exploration = estimate_exploration_value(lists, lambda day: reward)
    assert (exploration.lists, exploration.students) == (len(STUDENTS), len(STUDENTS))
    best, another, challengers = exploration.orders
    assert [policy.name for policy in exploration.orders] == [
        BEST_FIRST,
        NEAR_BEST_FIRST,
        CHALLENGER_FIRST,
    ] and best.difference_from_best is None
    for one, truth in ((another, 1.5), (challengers, 2.0)):
        assert (
            one.difference_from_best.estimate.lower
            < truth
            < one.difference_from_best.estimate.upper
        )
        assert one.difference_from_best.finding is Superiority.BETTER
    by_hand = np.mean([reward[shown.student_id] for shown in lists if first(shown) == "tutoring"])
    assert challengers.value.value == pytest.approx(by_hand), "all these chances are alike"


def test_where_orders_are_worth_the_same_a_difference_is_rarely_claimed():
    lists = shown_on(DAY, students=STUDENTS[:2_000])
    runs = [
        estimate_exploration_value(lists, lambda day, seed=seed: fared(lists, {}, seed)).orders
        for seed in range(40)
    ]
    claimed = sum(
        orders[1].difference_from_best.finding is not Superiority.NO_BETTER for orders in runs
    )
    assert claimed <= 6, "one in twenty is expected"


def test_lists_without_a_draw_or_a_known_outcome_do_not_count_and_few_students_are_not_told():
    lists = shown_on(DAY, students=STUDENTS[:300]) + shown_on(LATER, students=STUDENTS[:300])
    sure = shown_on(DAY, share=0.0, students=STUDENTS[300:600])
    asked = []

    def reward(day: date) -> dict[str, float]:
        asked.append(day)
        return dict.fromkeys(STUDENTS, 1.0) if day == DAY else {}

    exploration = estimate_exploration_value([*lists, *sure], reward)
    assert (exploration.lists, exploration.students) == (300, 300) and asked == [DAY, LATER]
    assert estimate_exploration_value(sure, reward).lists == 0
    few = estimate_exploration_value(lists[:9], reward)
    assert (few.lists, few.students, few.orders) == (9, 9, ())
