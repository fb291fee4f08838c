"""Disclosure control: an attacker written anew finds every small count open by ten in what is left
to see.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import Bounds, LinearConstraint, milp

from records.suppression.cell_suppression import (
    CellKind,
    CountName,
    LinkedTables,
    TableCell,
    complement,
    suppressed_cells,
)

CROSSED = "race x sex"


@dataclass(frozen=True)
class Students:
    """Made-up students: of each one the value by attribute, and which quantities count them."""

    groups: dict[str, np.ndarray]
    counted: dict[str, np.ndarray]
    nested: tuple[tuple[str, str], ...]


def made_up(
    seed: int, size: int, attributes: dict[str, int], measures: int, *, uneven: float = 0.7
) -> Students:
    """Students of uneven groups; half are in need, and each measure counts some of those."""
    rng = np.random.default_rng(seed)
    groups = {
        name: rng.choice(n, size, p=rng.dirichlet(np.full(n, uneven)))
        for name, n in attributes.items()
    }
    if {"race", "sex"} <= attributes.keys():
        groups[CROSSED] = groups["race"] * attributes["sex"] + groups["sex"]
    counted = {"students": np.ones(size, dtype=bool), "in_need": rng.random(size) < 0.5}
    nested = [("in_need", "students")]
    for number in range(measures):
        out_of = "in_need"
        if number % 2:
            out_of = f"asked {number}"
            counted[out_of] = counted["in_need"] & (rng.random(size) < rng.uniform(0.3, 0.95))
            nested.append((out_of, "in_need"))
        counted[f"measure {number}"] = counted[out_of] & (
            rng.random(size) < rng.uniform(0.03, 0.97)
        )
        nested.append((f"measure {number}", out_of))
    return Students(groups, counted, tuple(nested))


def published(students: Students, *, backwards: bool = False) -> LinkedTables:
    """All tables of these students: numbers rounded, measures as shares; intersections add up both
    ways.
    """
    tables = LinkedTables()
    values = {name: sorted(set(group.tolist())) for name, group in students.groups.items()}
    cells: list[CountName] = [
        (),
        *((name, str(value)) for name, each in values.items() for value in each),
    ]
    order = -1 if backwards else 1
    for quantity, chosen in list(students.counted.items())[::order]:
        tables.add_count((quantity,), int(chosen.sum()))
        for attribute, value in cells[1:]:
            tables.add_count(
                (quantity, attribute, value),
                int((chosen & (students.groups[attribute] == int(value))).sum()),
            )
        for attribute in values:
            tables.add_total(
                (quantity,), [(quantity, *cell) for cell in cells[1:] if cell[0] == attribute]
            )
        if CROSSED in values:
            of_race, of_sex = crossing(students)
            for whole, parts in (of_race | of_sex).items():
                tables.add_total(
                    (quantity, *whole), [(quantity, CROSSED, str(part)) for part in parts]
                )
    for (part, whole), cell in list(product(students.nested, cells))[::order]:
        tables.add_subset((part, *cell), (whole, *cell))
        table = f"{part} by {cell[0] if cell else 'nothing'}"
        if part.startswith("measure"):
            tables.publish_share((part, *cell), (whole, *cell), table)
        else:
            tables.publish_count((part, *cell), table)
    for cell in cells:
        tables.publish_count(("students", *cell), f"students by {cell[0] if cell else 'nothing'}")
    return tables


def crossing(students: Students) -> tuple[dict[CountName, set[int]], dict[CountName, set[int]]]:
    of_race: dict[CountName, set[int]] = {}
    of_sex: dict[CountName, set[int]] = {}
    for race, sex, both in zip(
        *(students.groups[name].tolist() for name in ("race", "sex", CROSSED)), strict=True
    ):
        of_race.setdefault(("race", str(race)), set()).add(both)
        of_sex.setdefault(("sex", str(sex)), set()).add(both)
    return of_race, of_sex


class Attacker:
    """Reads what is shown, as text and numbers, and asks for the ends of a quantity; shares no code
    with the module.
    """

    def __init__(self, tables: LinkedTables, withheld: set[TableCell]) -> None:
        self.names = [name for name in tables.true_counts if "but not" not in name]
        self.rows: list[tuple[np.ndarray, float, float]] = []
        for whole, parts in tables.totals:
            self.rows.append((self.sum_of(parts) - self.sum_of([whole]), 0.0, 0.0))
        for part, whole in tables.subsets:
            self.rows.append((self.sum_of([whole]) - self.sum_of([part]), 0.0, np.inf))
        for fact in tables.cells - withheld:
            if fact.kind is CellKind.ROUNDED:
                shown = 10 * tens(tables.true_counts[fact.names[0]])
                self.rows.append((self.sum_of(fact.names), shown - 5, shown + 4))
            else:
                part, whole = fact.names
                shown = round(tables.true_counts[part] / tables.true_counts[whole], 2)
                row, of = self.sum_of([part]), self.sum_of([whole])
                self.rows += [
                    (row - (shown - 0.005) * of, 0.0, np.inf),
                    (row - (shown + 0.005) * of, -np.inf, 0.0),
                ]

    def sum_of(self, names: Sequence[CountName]) -> np.ndarray:
        row = np.zeros(len(self.names))
        for name in names:
            row[self.names.index(name)] += 1
        return row

    def width(self, quantity: np.ndarray, *, whole_students: bool = False) -> float:
        matrix, low, high = (np.array(each) for each in zip(*self.rows, strict=True))
        bounds = Bounds(0, np.inf)
        # Far above every count of these tests: an end beyond it is as good as none.
        within = [
            LinearConstraint(matrix, low, high),
            LinearConstraint(quantity[None, :], -np.inf, 1e5),
        ]
        ends = []
        for sign in (1, -1):
            solution = milp(
                sign * quantity, integrality=int(whole_students), bounds=bounds, constraints=within
            )
            assert solution.status == 0, solution.message
            ends.append(sign * solution.fun)
        return ends[1] - ends[0]


def narrowest(
    tables: LinkedTables, withheld: set[TableCell], *, whole_students: bool = False
) -> float:
    """The least width that the attacker finds of all small counts and small complements of
    shares.
    """
    attacker = Attacker(tables, withheld)
    small = [attacker.sum_of([name]) for name in attacker.names if tables.true_counts[name] < 10]
    for cell in tables.cells:
        if (
            cell.kind is CellKind.SHARE
            and tables.true_counts[cell.names[1]] - tables.true_counts[cell.names[0]] < 10
        ):
            small.append(attacker.sum_of([cell.names[1]]) - attacker.sum_of([cell.names[0]]))
    return min(
        (attacker.width(quantity, whole_students=whole_students) for quantity in small),
        default=np.inf,
    )


def partition(*counts: int, table: str = "students") -> LinkedTables:
    """A total and its parts, all of them shown rounded."""
    tables = LinkedTables()
    tables.add_count(("all",), sum(counts))
    for number, count in enumerate(counts):
        tables.add_count(("part", str(number)), count)
        tables.publish_count(("part", str(number)), table)
    tables.add_total(("all",), [("part", str(number)) for number in range(len(counts))])
    tables.publish_count(("all",), table)
    return tables


def tens(count: int) -> int:
    return int(count / 10 + 0.5)


def rounded(name: CountName, table: str = "students") -> TableCell:
    return TableCell(table, CellKind.ROUNDED, (name,))


@settings(max_examples=12, deadline=None)
@given(st.integers(0, 10_000), st.integers(30, 900), st.integers(0, 3))
def test_no_small_count_is_tied_down_to_fewer_than_ten_students(seed, size, measures):  # R60
    tables = published(made_up(seed, size, {"race": 3, "sex": 2, "english_learner": 2}, measures))
    assert narrowest(tables, suppressed_cells(tables)) >= 10 - 1e-6


@settings(max_examples=25, deadline=None)
@given(st.lists(st.integers(0, 60), min_size=1, max_size=3))
def test_by_counting_all_that_can_be_a_small_part_may_be_ten_different_numbers_and_more(
    counts,
):  # R60
    tables = partition(*counts)
    withheld = suppressed_cells(tables)
    shown = [rounded(("part", str(number))) not in withheld for number in range(len(counts))]
    fits = [
        range(count // 5 * 5 - 10, count + 10) if is_shown else range(120)
        for count, is_shown in zip(counts, shown, strict=True)
    ]
    possible = [
        guess
        for guess in product(*fits)
        if min(guess) >= 0
        and (rounded(("all",)) in withheld or tens(sum(guess)) == tens(sum(counts)))
        and all(
            not is_shown or tens(guessed) == tens(count)
            for guessed, count, is_shown in zip(guess, counts, shown, strict=True)
        )
    ]
    assert tuple(counts) in possible
    for number, count in enumerate(counts):
        if count < 10:
            assert (
                max(guess[number] for guess in possible) - min(guess[number] for guess in possible)
                >= 10
            )


def test_a_hidden_cell_does_not_follow_from_the_total():  # R60
    tables = partition(46, 4)
    withheld = suppressed_cells(tables)
    assert rounded(("part", "1")) in withheld
    assert narrowest(tables, {rounded(("part", "1"))}) < 10
    assert narrowest(tables, withheld) >= 10
    assert withheld == {rounded(("part", "0")), rounded(("part", "1"))}, (
        "the next smallest is hidden, the total stays"
    )


def test_a_hidden_intersection_does_not_follow_from_its_row_and_its_column():  # R60
    tables = published(made_up(4, 600, {"race": 4, "sex": 2}, 2, uneven=1.5))
    own = tables.primary_suppressions(10)
    assert narrowest(tables, own) < 10, "the intersections of these students are small"
    withheld = suppressed_cells(tables)
    assert narrowest(tables, withheld) >= 10 - 1e-6
    assert own < withheld < tables.cells


def test_rounded_counts_and_a_share_do_not_give_a_small_complement():  # R60
    tables = LinkedTables()
    for name, count in {
        "in_need": 60,
        "suggested": 56,
        "here": 30,
        "there": 30,
        "s here": 28,
        "s there": 28,
    }.items():
        tables.add_count((name,), count)
    tables.add_total(("in_need",), [("here",), ("there",)])
    tables.add_total(("suggested",), [("s here",), ("s there",)])
    for part, whole in (("suggested", "in_need"), ("s here", "here"), ("s there", "there")):
        share = tables.publish_share((part,), (whole,), "suggestions")
        assert share in tables.primary_suppressions(10), f"{whole} less {part} is under ten"
        tables.publish_count((part,), "suggestions")
        tables.publish_count((whole,), "students")
    assert narrowest(tables, tables.primary_suppressions(10)) < 10, (
        "46 to 64 in need less 55 to 64 suggested"
    )
    assert narrowest(tables, suppressed_cells(tables)) >= 10 - 1e-6


def test_a_share_is_shown_only_with_ten_students_on_either_side():  # R60
    for part, shown in ((0, False), (9, False), (10, True), (50, True), (51, False), (60, False)):
        tables = LinkedTables()
        tables.add_count(("in_need",), 60)
        tables.add_count(("suggested",), part)
        share = tables.publish_share(("suggested",), ("in_need",), "suggestions")
        assert (share not in suppressed_cells(tables)) is shown


def test_a_figure_that_two_tables_show_is_withheld_from_both():
    tables = partition(46, 4)
    again = tables.publish_count(("part", "0"), "another page")
    assert {again, rounded(("part", "0"))} <= suppressed_cells(tables)


def test_where_every_count_is_large_nothing_is_withheld():
    students = Students(
        {"race": np.arange(1200) % 3, "sex": np.arange(1200) // 3 % 2},
        {
            "students": np.ones(1200, dtype=bool),
            "in_need": np.arange(1200) // 6 % 2 == 0,
            "measure 0": np.arange(1200) // 12 % 4 == 0,
        },
        (("in_need", "students"), ("measure 0", "in_need")),
    )
    tables = published(students)
    assert min(tables.true_counts.values()) >= 10
    assert suppressed_cells(tables) == set()


def test_the_answer_is_the_same_twice_and_in_whatever_order_the_tables_were_declared():
    students = made_up(3, 300, {"race": 4, "sex": 2, "english_learner": 2}, 3)
    first = suppressed_cells(published(students))
    assert (
        first
        == suppressed_cells(published(students))
        == suppressed_cells(published(students, backwards=True))
    )
    assert sorted(first)[0] in first


def test_ranges_are_those_of_the_attacker_and_have_no_end_where_nothing_is_shown():
    tables = published(made_up(8, 250, {"race": 3, "sex": 2}, 2))
    withheld = tables.primary_suppressions(10)
    attacker = Attacker(tables, withheld)
    names = [("students", "race", "0"), ("in_need", CROSSED, "1"), ("measure 0",)]
    for name, (least, greatest) in tables.feasibility_intervals(names, withheld).items():
        assert least <= tables.true_counts[name] <= greatest
        assert greatest - least == pytest.approx(attacker.width(attacker.sum_of([name])), abs=1e-6)
    assert tables.feasibility_intervals([("in_need",)], tables.cells) == {("in_need",): (0, np.inf)}


def test_an_audit_of_a_real_size_is_settled():  # R60
    attributes = {
        "race": 7,
        "sex": 3,
        "english_learner": 2,
        "special_education": 2,
        "housing": 2,
        "meals": 2,
        "grade": 4,
        "school": 12,
    }
    tables = published(made_up(1, 3000, attributes, 12))
    withheld = suppressed_cells(tables)
    assert tables.primary_suppressions(10) < withheld < tables.cells
    assert len(withheld - tables.primary_suppressions(10)) < len(tables.cells - withheld) / 2
    small = sorted(name for name, count in tables.true_counts.items() if count < 10)
    some = small[:: len(small) // 12]
    assert all(
        greatest - least >= 10 - 1e-6
        for least, greatest in tables.feasibility_intervals(some, withheld).values()
    )


def test_a_count_that_follows_with_nothing_shown_is_named():
    tables = partition(30, 0)
    tables.add_total(("all",), [("part", "0")])
    with pytest.raises(
        ValueError, match=r"\('part', '1'\) lies between 0 and 0 with nothing more to withhold"
    ):
        suppressed_cells(tables)


def test_tables_that_do_not_add_up_are_refused():
    tables = partition(30, 20)
    with pytest.raises(ValueError, match="add up to 30, not to 50"):
        tables.add_total(("all",), [("part", "0")])
    with pytest.raises(ValueError, match="not different counts"):
        tables.add_total(("all",), [("all",), ("part", "0")])
    with pytest.raises(ValueError, match="is 50, more than"):
        tables.add_subset(("all",), ("part", "0"))
    with pytest.raises(ValueError, match="is not declared"):
        tables.publish_count(("nobody",), "students")
    with pytest.raises(ValueError, match="cannot be 31; declared before: 30"):
        tables.add_count(("part", "0"), 31)
    with pytest.raises(ValueError, match="cannot be -1"):
        tables.add_count(("nobody",), -1)
    tables.publish_share(("part", "0"), ("all",), "students")
    assert tables.true_counts[complement(("part", "0"), ("all",))] == 20
