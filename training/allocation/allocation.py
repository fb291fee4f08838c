"""Limited places across a caseload: who gets which support, so that all together gain most, and who
waits.

An exact minimum-cost flow from students through supports, beside "greedy order" (the pair with the
most to gain first, or the students in an order that is given), so that a page can show who gains
and who waits between the two. It takes only what a `Scope` has let through already: benefits of
suggestions that the viewer may see. It reads no record and no sensitive fact; labels of groups, for
floors, come as an argument: from a viewer's side of what that viewer sees alone. It decides
nothing: a person does.

Students who may take only so many supports lie within groups with a floor; supports have a
capacity. The rows of these constraints form two nested families, so every vertex of the linear
program is whole: Edmonds (1970), "Submodular functions, matroids, and certain polyhedra". Solver:
HiGHS through SciPy (Huangfu & Hall (2018), Mathematical Programming Computation 10).
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.optimize import linprog
from scipy.sparse import coo_array, csr_array, vstack

Floats = NDArray[np.float64]
Places = NDArray[np.intp]
Flags = NDArray[np.bool_]
RESOLUTION = 1e-6
"""Progress points below which two benefits are the same: the program's costs are whole numbers of
these."""
_NEXT_TO_NOTHING = 0.5
"""Costs are whole, so duals are: what is nearer to zero than this is zero."""


class AllocationError(ValueError):
    """The benefits, the places or the floors do not go together; the message names which."""


class InfeasibleFloors(AllocationError):
    """Floors that no plan keeps: `asked` places of each group.

    `group` can get at most `most` of its own; None where each group alone could have what is asked.
    """

    def __init__(self, asked: Mapping[str, int], group: str | None = None, most: int = 0) -> None:
        each = ", ".join(f"{label!r} {places}" for label, places in asked.items())
        super().__init__(
            f"the floors cannot be met together, only each alone: {each} places"
            if group is None
            else (
                f"the floor of group {group!r} asks for {asked[group]} places; at most {most} can"
                " be given to it"
            )
        )
        self.asked, self.group, self.most = asked, group, most


class Assignment(NamedTuple):
    """One student and one support, with the expected benefit in progress points."""

    student: str
    support: str
    benefit: float


class AssignmentChange(NamedTuple):
    """What one student has in greedy order and in the best plan, and the difference in progress
    points.
    """

    student: str
    greedy: tuple[Assignment, ...]
    best: tuple[Assignment, ...]
    difference: float


@dataclass(frozen=True)
class Floors:
    """At least a share of the places for each group.

    Attributes:
        labels: the group of each student; the labels mean nothing here.
        shares: of the places that would be given without floors, the least part for each group (0
            to 1), rounded down to whole places.
    """

    labels: Mapping[str, str]
    shares: Mapping[str, float]


@dataclass(frozen=True)
class Plan:
    """Who gets what and who waits for what, by student id, and the benefit of all places together.

    `waiting`: for each student who got less than may be had, the suggested support with the most to
    gain of those not given.
    """

    given: tuple[Assignment, ...]
    waiting: tuple[Assignment, ...]
    total: float


@dataclass(frozen=True)
class Allocation:
    """The best plan beside greedy order; `without_floors` is the total that floors were paid
    from.
    """

    best: Plan
    greedy: Plan
    without_floors: float
    floors: Mapping[str, int] = field(default_factory=dict)
    """Places that each group had to get at least."""

    @property
    def gain(self) -> float:
        """Progress points that the best plan has over greedy order: below zero only where floors
        cost more.
        """
        return self.best.total - self.greedy.total

    def changes(self) -> tuple[AssignmentChange, ...]:
        """The students whose places differ from greedy order: those who gain most first, those who
        wait last.
        """
        before, after = _by_student(self.greedy.given), _by_student(self.best.given)
        found = [
            AssignmentChange(
                student,
                before[student],
                after[student],
                sum(place.benefit for place in after[student])
                - sum(place.benefit for place in before[student]),
            )
            for student in sorted(before.keys() | after.keys())
            if before[student] != after[student]
        ]
        return tuple(sorted(found, key=lambda change: (-change.difference, change.student)))


@dataclass(frozen=True)
class _Arcs:
    """Suggested pairs, by student and then support: parallel arrays of length (arcs,)."""

    students: tuple[str, ...]
    supports: tuple[str, ...]
    student: Places
    support: Places
    benefit: Floats

    def __len__(self) -> int:
        return len(self.benefit)

    def places(self, chosen: Flags) -> tuple[Assignment, ...]:
        return tuple(
            Assignment(
                self.students[self.student[arc]],
                self.supports[self.support[arc]],
                float(self.benefit[arc]),
            )
            for arc in np.flatnonzero(chosen)
        )


@dataclass(frozen=True)
class _Limits:
    """Rows `matrix @ flow <= most`, with `flow` of one unit an arc."""

    matrix: csr_array
    most: Floats


def allocate(
    benefits: pd.DataFrame,
    capacity: Mapping[str, int],
    *,
    most_each: int = 1,
    floors: Floors | None = None,
    order: Sequence[str] | None = None,
) -> Allocation:
    """The places that add most to the expected benefit of all.

    Args:
        benefits: students (index) x supports (columns) in progress points; NaN where a support is
            not suggested to a student or not allowed. Nobody gets what is not above zero. Benefits
            of two supports of one student add up.
        capacity: free places of each support.
        most_each: new supports a student may start at once.
        floors: least shares of places by group; None for no floors.
        order: who comes first in greedy order: each student in turn takes what has the most to gain
            of what is free. None for the pair with the most to gain first, whoever it is.

    Of plans worth the same (to `RESOLUTION` a place), the one that serves students earlier by id;
    the order of rows and columns changes nothing.

    Raises:
        InfeasibleFloors: no plan keeps the floors.
        AllocationError: a student or support twice, a support without capacity, a capacity below
            zero, a student without a label or a place in the order, by name.
    """
    _check(benefits, capacity, most_each, floors, order)
    arcs = _arcs(benefits)
    limits = _limits(arcs, capacity, most_each)
    greedy = _greedy(arcs, capacity, most_each, order)
    free = _best(arcs, limits)
    least: dict[str, int] = {}
    best = free
    if floors is not None:
        least = {
            label: int(share * free.sum() + 1e-9) for label, share in sorted(floors.shares.items())
        }
        best = _best_with_floors(arcs, limits, floors.labels, least)
    without_floors = float(arcs.benefit[free].sum())
    return Allocation(
        _plan(arcs, best, most_each), _plan(arcs, greedy, most_each), without_floors, least
    )


def benefit_matrix(table: pd.DataFrame) -> pd.DataFrame:
    """`benefits` for `allocate` from rows of (student_id, support, benefit), as
    `training.ranking.suggestions` makes them.
    """
    return table.pivot(index="student_id", columns="support", values="benefit")


def _check(
    benefits: pd.DataFrame,
    capacity: Mapping[str, int],
    most_each: int,
    floors: Floors | None,
    order: Sequence[str] | None,
) -> None:
    for names, what in ((benefits.index, "student"), (benefits.columns, "support")):
        if not names.is_unique:
            raise AllocationError(
                f"{what} {names[names.duplicated()][0]!r} is there twice; each must be there once"
            )
    for support in benefits.columns:
        if support not in capacity:
            raise AllocationError(
                f"no capacity for {support!r}; say how many places are free, 0 if there are none"
            )
        if capacity[support] < 0:
            raise AllocationError(
                f"capacity of {support!r} is {capacity[support]}; it must be 0 or more"
            )
    if most_each < 1:
        raise AllocationError(f"most_each is {most_each}; it must be 1 or more")
    left_out = sorted(set(benefits.index) - set(order)) if order is not None else []
    if left_out:
        raise AllocationError(
            f"student {left_out[0]!r} has no place in the order; {len(left_out)} in all have none"
        )
    if floors is None:
        return
    unlabelled = sorted(str(student) for student in benefits.index if student not in floors.labels)
    if unlabelled:
        raise AllocationError(
            f"no group for student {unlabelled[0]!r}; {len(unlabelled)} in all have no label"
        )
    for label, share in floors.shares.items():
        if not 0 <= share <= 1:
            raise AllocationError(
                f"floor of group {label!r} is {share}; it must be a share from 0 to 1"
            )


def _arcs(benefits: pd.DataFrame) -> _Arcs:
    ordered = benefits.sort_index(axis=0).sort_index(axis=1)
    values = ordered.to_numpy(dtype="float64", na_value=np.nan)
    student, support = np.nonzero(values > RESOLUTION)
    return _Arcs(
        tuple(ordered.index), tuple(ordered.columns), student, support, values[student, support]
    )


def _limits(arcs: _Arcs, capacity: Mapping[str, int], most_each: int) -> _Limits:
    ones, order = np.ones(len(arcs)), np.arange(len(arcs))
    per_student = csr_array(
        coo_array((ones, (arcs.student, order)), shape=(len(arcs.students), len(arcs)))
    )
    per_support = csr_array(
        coo_array((ones, (arcs.support, order)), shape=(len(arcs.supports), len(arcs)))
    )
    crowded = np.diff(per_student.indptr) > most_each
    places = np.array([capacity[name] for name in arcs.supports], dtype="float64")
    return _Limits(
        vstack([per_student[crowded], per_support], format="csr"),
        np.concatenate([np.full(crowded.sum(), float(most_each)), places]),
    )


def _best_with_floors(
    arcs: _Arcs, limits: _Limits, labels: Mapping[str, str], least: Mapping[str, int]
) -> Flags:
    group = np.array([labels[student] for student in arcs.students], dtype=object)[arcs.student]
    rows = np.array([group == label for label in least], dtype="float64").reshape(
        len(least), len(arcs)
    )
    asked = np.array(list(least.values()), dtype="float64")
    bounded = _Limits(
        vstack([limits.matrix, csr_array(-rows)], format="csr"),
        np.concatenate([limits.most, -asked]),
    )
    try:
        return _best(arcs, bounded)
    except _Impossible:
        raise _why_impossible(limits, rows, least) from None


def _why_impossible(limits: _Limits, rows: Floats, least: Mapping[str, int]) -> InfeasibleFloors:
    for row, (label, places) in zip(rows, least.items(), strict=True):
        most = round(float(_solve(row, limits).flow @ row))
        if most < places:
            return InfeasibleFloors(least, label, most)
    return InfeasibleFloors(least)


class _Impossible(Exception):
    """No flow keeps to the limits."""


class _Solution(NamedTuple):
    flow: Floats
    fixed_low: Flags
    fixed_high: Flags
    tight: Flags


_SOLVED, _IMPOSSIBLE = 0, 2
"""Statuses of `scipy.optimize.linprog`."""


def _best(arcs: _Arcs, limits: _Limits) -> Flags:
    """The arcs of the best plan. Among equally good ones a second program, on the optimal face,
    prefers early ids.
    """
    if not len(arcs):
        return np.zeros(0, dtype=bool)
    whole: Floats = np.round(arcs.benefit / RESOLUTION)
    first = _solve(whole, limits)
    early: Floats = len(arcs.students) - arcs.student.astype(np.float64)
    chosen: Flags = _solve(early, limits, face=first).flow > 0.5
    return chosen


def _solve(worth: Floats, limits: _Limits, face: _Solution | None = None) -> _Solution:
    """The flow worth most; with `face`, among those that are optimal there (complementary
    slackness).
    """
    low, high = np.zeros(len(worth)), np.ones(len(worth))
    tight = np.zeros(len(limits.most), dtype=bool)
    if face is not None:
        low[face.fixed_high], high[face.fixed_low] = 1.0, 0.0
        tight = face.tight
    found: Any = linprog(
        -worth,
        A_ub=limits.matrix[~tight],
        b_ub=limits.most[~tight],
        method="highs",
        A_eq=limits.matrix[tight] if tight.any() else None,
        b_eq=limits.most[tight] if tight.any() else None,
        bounds=np.column_stack([low, high]),
    )
    if found.status == _IMPOSSIBLE and face is None:
        raise _Impossible
    if found.status != _SOLVED:
        raise AllocationError(f"the solver gave no answer: {found.message}")
    kept = np.zeros(len(limits.most), dtype=bool)
    kept[~tight] = found.ineqlin.marginals < -_NEXT_TO_NOTHING
    return _Solution(
        np.asarray(found.x),
        found.lower.marginals > _NEXT_TO_NOTHING,
        found.upper.marginals < -_NEXT_TO_NOTHING,
        kept,
    )


def _greedy(
    arcs: _Arcs, capacity: Mapping[str, int], most_each: int, order: Sequence[str] | None
) -> Flags:
    """While there are places: by turn where there is one, best benefit first, then by student and
    support.
    """
    turns = {student: turn for turn, student in enumerate(order or ())}
    turn = np.array([turns.get(student, 0) for student in arcs.students], dtype=np.intp)
    left = [capacity[name] for name in arcs.supports]
    may = [most_each] * len(arcs.students)
    chosen = np.zeros(len(arcs), dtype=bool)
    rounded = np.round(arcs.benefit / RESOLUTION)
    for arc in np.lexsort((arcs.support, arcs.student, -rounded, turn[arcs.student])):
        student, support = arcs.student[arc], arcs.support[arc]
        if left[support] and may[student]:
            chosen[arc] = True
            left[support] -= 1
            may[student] -= 1
    return chosen


def _plan(arcs: _Arcs, chosen: Flags, most_each: int) -> Plan:
    counts = np.bincount(arcs.student[chosen], minlength=len(arcs.students))
    open_arcs = np.flatnonzero(~chosen & (counts[arcs.student] < most_each))
    order = open_arcs[
        np.lexsort((arcs.support[open_arcs], -arcs.benefit[open_arcs], arcs.student[open_arcs]))
    ]
    _, first = np.unique(arcs.student[order], return_index=True)
    waits = np.zeros(len(arcs), dtype=bool)
    waits[order[first]] = True
    return Plan(arcs.places(chosen), arcs.places(waits), float(arcs.benefit[chosen].sum()))


def _by_student(places: Sequence[Assignment]) -> defaultdict[str, tuple[Assignment, ...]]:
    found: defaultdict[str, tuple[Assignment, ...]] = defaultdict(tuple)
    for place in places:
        found[place.student] += (place,)
    return found
