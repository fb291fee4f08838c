"""Limited places: the best plan there is, whole places only, floors kept or named, and no luck in
the order of rows.
"""

from __future__ import annotations

from itertools import product

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from training.allocation.allocation import (
    Allocation,
    AllocationError,
    Floors,
    InfeasibleFloors,
    allocate,
    benefit_matrix,
)

ILLUSTRATION = pd.DataFrame(
    {"mentoring": [5.0, 4.0, np.nan], "tutoring": [4.0, 1.0, 2.0]}, index=["ana", "ben", "cy"]
)


@st.composite
def caseloads(draw: st.DrawFn) -> tuple[pd.DataFrame, dict[str, int], int]:
    """Up to six students and three supports, with ties, pairs that are not suggested, and full
    supports.
    """
    students, supports = draw(st.integers(1, 6)), draw(st.integers(1, 3))
    value = st.one_of(st.just(np.nan), st.integers(-1, 8).map(lambda n: n / 2), st.floats(0.1, 9))
    rows = draw(
        st.lists(
            st.lists(value, min_size=supports, max_size=supports),
            min_size=students,
            max_size=students,
        )
    )
    names = draw(st.permutations([f"s{number}" for number in range(students)]))
    frame = pd.DataFrame(rows, index=names, columns=list("abc")[:supports], dtype="float64")
    capacity = {name: draw(st.integers(0, 3)) for name in frame.columns}
    return frame, capacity, draw(st.integers(1, 2))


def every_plan(benefits: pd.DataFrame, capacity: dict[str, int], most_each: int):
    """All plans that keep to the rules, one by one: sets of (student, support) by position."""
    width = len(benefits.columns)
    options = [
        [
            bits
            for bits in product((0, 1), repeat=width)
            if sum(bits) <= most_each
            and all(not bit or value > 0 for bit, value in zip(bits, row, strict=True))
        ]
        for row in benefits.to_numpy()
    ]
    for plan in product(*options):
        used = [sum(bits[place] for bits in plan) for place in range(width)]
        if all(count <= capacity[name] for count, name in zip(used, benefits.columns, strict=True)):
            yield plan


def worth(benefits: pd.DataFrame, plan: tuple[tuple[int, ...], ...]) -> float:
    return float(np.where(np.array(plan) == 1, benefits.to_numpy(), 0.0).sum())


def keeps_the_rules(
    found: Allocation, benefits: pd.DataFrame, capacity: dict[str, int], most_each: int
) -> None:
    for plan in (found.best, found.greedy):
        assert len(set(plan.given)) == len(plan.given)
        for place in plan.given:
            assert benefits.loc[place.student, place.support] == place.benefit > 0
        supports = [place.support for place in plan.given]
        assert all(supports.count(name) <= capacity[name] for name in benefits.columns)
        students = [place.student for place in plan.given]
        assert all(students.count(name) <= most_each for name in benefits.index)
        assert plan.total == pytest.approx(sum(place.benefit for place in plan.given), abs=1e-9)


def test_the_best_plan_takes_a_place_from_one_who_loses_less():
    allocation = allocate(ILLUSTRATION, {"mentoring": 1, "tutoring": 1})
    assert [(p.student, p.support) for p in allocation.greedy.given] == [
        ("ana", "mentoring"),
        ("cy", "tutoring"),
    ]
    assert [(p.student, p.support) for p in allocation.best.given] == [
        ("ana", "tutoring"),
        ("ben", "mentoring"),
    ]
    assert (allocation.greedy.total, allocation.best.total, allocation.gain) == (7.0, 8.0, 1.0)
    assert [(p.student, p.support) for p in allocation.best.waiting] == [("cy", "tutoring")]
    assert [(c.student, c.difference) for c in allocation.changes()] == [
        ("ben", 4.0),
        ("ana", -1.0),
        ("cy", -2.0),
    ]


def test_greedy_order_may_be_given_and_then_each_takes_their_best_in_turn():
    allocation = allocate(
        ILLUSTRATION, {"mentoring": 1, "tutoring": 1}, order=["zoe", "cy", "ben", "ana"]
    )
    assert [(p.student, p.support) for p in allocation.greedy.given] == [
        ("ben", "mentoring"),
        ("cy", "tutoring"),
    ]
    assert allocation.best == allocate(ILLUSTRATION, {"mentoring": 1, "tutoring": 1}).best
    assert allocation.gain == 2.0 and [c.student for c in allocation.changes()] == ["ana", "cy"]
    both = allocate(
        ILLUSTRATION, {"mentoring": 1, "tutoring": 1}, order=["ben", "ana", "cy"], most_each=2
    )
    assert [(p.student, p.support) for p in both.greedy.given] == [
        ("ben", "mentoring"),
        ("ben", "tutoring"),
    ]


@settings(max_examples=80, deadline=None)
@given(caseloads(), st.randoms(use_true_random=False))
def test_no_order_of_students_is_better_than_the_best_plan(
    case: tuple[pd.DataFrame, dict[str, int], int], random
):
    benefits, capacity, most_each = case
    order = list(benefits.index)
    random.shuffle(order)
    allocation = allocate(benefits, capacity, most_each=most_each, order=order)
    keeps_the_rules(allocation, benefits, capacity, most_each)
    assert (
        allocation.gain >= -1e-4
        and allocation.best == allocate(benefits, capacity, most_each=most_each).best
    )


@settings(max_examples=150, deadline=None)
@given(caseloads())
def test_no_plan_is_better_and_greedy_order_never_is(
    case: tuple[pd.DataFrame, dict[str, int], int],
):
    benefits, capacity, most_each = case
    allocation = allocate(benefits, capacity, most_each=most_each)
    keeps_the_rules(allocation, benefits, capacity, most_each)
    most = max(worth(benefits, plan) for plan in every_plan(benefits, capacity, most_each))
    assert allocation.best.total == pytest.approx(most, abs=1e-4)
    assert allocation.gain >= -1e-4


@settings(max_examples=80, deadline=None)
@given(caseloads(), st.randoms(use_true_random=False))
def test_the_order_of_rows_and_columns_changes_nothing(
    case: tuple[pd.DataFrame, dict[str, int], int], random
):
    benefits, capacity, most_each = case
    rows, columns = list(benefits.index), list(benefits.columns)
    random.shuffle(rows)
    random.shuffle(columns)
    shuffled = dict(random.sample(list(capacity.items()), len(capacity)))
    assert allocate(benefits, capacity, most_each=most_each) == allocate(
        benefits.loc[rows, columns], shuffled, most_each=most_each
    )


@settings(max_examples=80, deadline=None)
@given(caseloads(), st.data())
def test_floors_are_kept_at_the_least_cost_or_named(
    case: tuple[pd.DataFrame, dict[str, int], int], data: st.DataObject
):
    benefits, capacity, most_each = case
    labels = {name: data.draw(st.sampled_from(["north", "south"])) for name in benefits.index}
    share = data.draw(st.sampled_from([0.25, 0.5, 0.75, 1.0]))
    free = allocate(benefits, capacity, most_each=most_each)
    least = int(share * len(free.best.given))
    side = np.array([labels[name] == "south" for name in benefits.index])
    fair = [
        plan
        for plan in every_plan(benefits, capacity, most_each)
        if np.array(plan)[side].sum() >= least
    ]
    floors = Floors(labels, {"south": share})
    if not fair:
        with pytest.raises(
            InfeasibleFloors, match=rf"'south' asks for {least} places; at most \d can"
        ) as error:
            allocate(benefits, capacity, most_each=most_each, floors=floors)
        most = max(np.array(plan)[side].sum() for plan in every_plan(benefits, capacity, most_each))
        assert (error.value.group, error.value.most, error.value.asked) == (
            "south",
            most,
            {"south": least},
        )
        return
    allocation = allocate(benefits, capacity, most_each=most_each, floors=floors)
    keeps_the_rules(allocation, benefits, capacity, most_each)
    assert allocation.floors == {"south": least}
    assert sum(labels[place.student] == "south" for place in allocation.best.given) >= least
    assert allocation.best.total == pytest.approx(
        max(worth(benefits, plan) for plan in fair), abs=1e-4
    )
    assert allocation.without_floors == pytest.approx(free.best.total, abs=1e-9)


def test_floors_that_only_fail_together_are_all_named():
    benefits = pd.DataFrame(
        {"tutoring": [5.0, 5.0, 1.0], "food": [np.nan, np.nan, 1.0]}, index=["a", "b", "c"]
    )
    floors = Floors({"a": "north", "b": "north", "c": "south"}, {"north": 1.0, "south": 1.0})
    with pytest.raises(
        AllocationError, match="floor of group 'north' asks for 2 places; at most 1 can"
    ):
        allocate(benefits, {"tutoring": 1, "food": 1}, floors=floors)
    apart = pd.DataFrame({"tutoring": [5.0, 4.0]}, index=["a", "c"])
    with pytest.raises(
        AllocationError,
        match="cannot be met together, only each alone: 'north' 1, 'south' 1 places",
    ):
        allocate(apart, {"tutoring": 1}, floors=floors)


def test_of_equal_benefits_the_earlier_ids_are_served():
    names = [f"s{number}" for number in range(9)]
    benefits = pd.DataFrame({"food": 2.0, "tutoring": 2.0}, index=names[::-1])
    allocation = allocate(benefits, {"food": 2, "tutoring": 3})
    assert sorted(place.student for place in allocation.best.given) == names[:5]
    assert [place.student for place in allocation.best.waiting] == names[5:]


def test_nobody_to_place_is_an_empty_plan():
    nothing = pd.DataFrame({"food": [np.nan]}, index=["a"])
    assert allocate(nothing, {"food": 3}) == Allocation(
        *[allocate(nothing, {"food": 0}).best] * 2, 0.0
    )
    assert allocate(nothing.iloc[:0], {"food": 3}).best.given == ()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"capacity": {"mentoring": 1}}, "no capacity for 'tutoring'"),
        (
            {"capacity": {"mentoring": 1, "tutoring": -1}},
            "capacity of 'tutoring' is -1; it must be 0 or more",
        ),
        ({"benefits": pd.concat([ILLUSTRATION, ILLUSTRATION])}, "student 'ana' is there twice"),
        ({"order": ["ana"]}, "student 'ben' has no place in the order; 2 in all"),
        ({"most_each": 0}, "most_each is 0; it must be 1 or more"),
        (
            {"floors": Floors({"ana": "north"}, {"north": 0.5})},
            "no group for student 'ben'; 2 in all",
        ),
        (
            {"floors": Floors(dict.fromkeys(ILLUSTRATION.index, "north"), {"north": 5})},
            "a share from 0 to 1",
        ),
    ],
)
def test_what_does_not_fit_is_named(change: dict[str, object], message: str):
    given = {"benefits": ILLUSTRATION, "capacity": {"mentoring": 1, "tutoring": 1}} | change
    with pytest.raises(AllocationError, match=message):
        allocate(**given)


def test_a_list_of_suggestions_becomes_benefits():
    table = pd.DataFrame(
        {
            "student_id": ["a", "a", "b"],
            "support": ["food", "tutoring", "food"],
            "benefit": [2.0, 3.0, 1.5],
        }
    )
    allocation = allocate(benefit_matrix(table), {"food": 1, "tutoring": 1})
    assert [(p.student, p.support, p.benefit) for p in allocation.best.given] == [
        ("a", "tutoring", 3.0),
        ("b", "food", 1.5),
    ]
