"""Limited openings across a caseload: who gets which support, and who waits.

The best plan is an exact minimum-cost flow from students through supports. The greedy plan next to
it (the pair with the most to gain first, or the students in a given order) lets a page show who
gains and who waits between the two. The input is what a `Scope` shows already: benefits of
suggestions that the viewer may see. Nothing here reads a record or a sensitive fact; the groups of
group minimums ("floors") come as an argument, from what the viewer may see. It decides nothing: a
person does.

Students may take only so many supports and lie within groups with a floor; supports have a
capacity. The rows of these constraints form two nested families, so every vertex of the linear
program is integral: Edmonds (1970), "Submodular functions, matroids, and certain polyhedra".
Solver: HiGHS through SciPy (Huangfu & Hall (2018), Mathematical Programming Computation 10).
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

FloatArray = NDArray[np.float64]
IndexArray = NDArray[np.intp]
BoolArray = NDArray[np.bool_]
RESOLUTION = 1e-6
"""Progress points below which two benefits are equal: the costs of the linear program are whole
numbers of these."""
_DUAL_TOLERANCE = 0.5
"""Costs are whole numbers, so duals are: a dual nearer to zero than this is zero."""
_SOLVED, _INFEASIBLE = 0, 2
"""Statuses of `scipy.optimize.linprog`."""


class AllocationError(ValueError):
    """The benefits, capacities or floors do not fit together; the message names which."""


class InfeasibleFloors(AllocationError):
    """Floors that no plan meets: `asked` openings for each group.

    `group` can get at most `most`; None where each floor alone could be met.
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
    """What one student gets in the greedy and in the best plan, and the difference in points."""

    student: str
    greedy: tuple[Assignment, ...]
    best: tuple[Assignment, ...]
    difference: float


@dataclass(frozen=True)
class Floors:
    """At least a share of the openings for each group.

    Attributes:
        labels: the group of each student; the labels mean nothing here.
        shares: of the openings assigned without floors, the least share for each group (0 to 1),
            rounded down to whole openings.
    """

    labels: Mapping[str, str]
    shares: Mapping[str, float]


@dataclass(frozen=True)
class Plan:
    """Who gets what and who waits for what, by student id, and the total benefit.

    `waiting`: for each student with fewer supports than allowed, the suggested support with the
    most to gain of those not assigned.
    """

    given: tuple[Assignment, ...]
    waiting: tuple[Assignment, ...]
    total: float


@dataclass(frozen=True)
class Allocation:
    """The best plan and the greedy one; `without_floors` is the best total without floors."""

    best: Plan
    greedy: Plan
    without_floors: float
    floors: Mapping[str, int] = field(default_factory=dict)
    """Openings that each group had to get at least."""

    @property
    def gain(self) -> float:
        """Progress points of the best plan beyond the greedy one.

        Negative only where floors cost more.
        """
        return self.best.total - self.greedy.total

    def changes(self) -> tuple[AssignmentChange, ...]:
        """The students whose assignments differ between the plans: those who gain most first."""
        greedy, best = _by_student(self.greedy.given), _by_student(self.best.given)
        changes = []
        for student in sorted(greedy.keys() | best.keys()):
            if greedy[student] != best[student]:
                difference = sum(assignment.benefit for assignment in best[student]) - sum(
                    assignment.benefit for assignment in greedy[student]
                )
                changes.append(
                    AssignmentChange(student, greedy[student], best[student], difference)
                )
        return tuple(sorted(changes, key=lambda change: (-change.difference, change.student)))


@dataclass(frozen=True)
class _Arcs:
    """Suggested pairs of student and support, in this order: parallel arrays of length (arcs,)."""

    students: tuple[str, ...]
    supports: tuple[str, ...]
    student: IndexArray
    support: IndexArray
    benefit: FloatArray

    def __len__(self) -> int:
        return len(self.benefit)

    def assignments(self, chosen: BoolArray) -> tuple[Assignment, ...]:
        """The chosen pairs."""
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
    """Constraints `matrix @ flow <= most`, with a flow of 0 or 1 on each arc."""

    matrix: csr_array
    most: FloatArray


def allocate(
    benefits: pd.DataFrame,
    capacity: Mapping[str, int],
    *,
    most_each: int = 1,
    floors: Floors | None = None,
    order: Sequence[str] | None = None,
) -> Allocation:
    """The assignments with the greatest expected benefit of all students together.

    Args:
        benefits: students (index) x supports (columns) in progress points; NaN where a support is
            not suggested to a student or not allowed. Nobody gets what is not above zero. Benefits
            of two supports of one student add up.
        capacity: free openings of each support.
        most_each: new supports a student may start at once.
        floors: least shares of places by group; None for no floors.
        order: of students in the greedy plan, each of whom takes the free support with the most to
            gain. None for the pair with the most to gain first, whoever it is.

    Of plans with equal benefit (to `RESOLUTION` per opening), the one that serves students earlier
    by id; the order of rows and columns changes nothing.

    Raises:
        InfeasibleFloors: no plan meets the floors.
        AllocationError: a student or support twice, a support without capacity, a capacity below
            zero, a student without a label or a place in the order, by name.
    """
    _check(benefits, capacity, most_each, floors, order)
    arcs = _arcs(benefits)
    limits = _limits(arcs, capacity, most_each)
    greedy = _greedy(arcs, capacity, most_each, order)
    unconstrained = _best(arcs, limits)
    best, minimums = unconstrained, {}
    if floors is not None:
        n_assigned = unconstrained.sum()
        minimums = {
            label: int(share * n_assigned + 1e-9) for label, share in sorted(floors.shares.items())
        }
        best = _best_with_floors(arcs, limits, floors.labels, minimums)
    return Allocation(
        best=_plan(arcs, best, most_each),
        greedy=_plan(arcs, greedy, most_each),
        without_floors=float(arcs.benefit[unconstrained].sum()),
        floors=minimums,
    )


def benefit_matrix(table: pd.DataFrame) -> pd.DataFrame:
    """`benefits` for `allocate` from the table of `training.ranking.suggestions.Suggestions`."""
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
    unlabeled = sorted(str(student) for student in benefits.index if student not in floors.labels)
    if unlabeled:
        raise AllocationError(
            f"no group for student {unlabeled[0]!r}; {len(unlabeled)} in all have no label"
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
        students=tuple(ordered.index),
        supports=tuple(ordered.columns),
        student=student,
        support=support,
        benefit=values[student, support],
    )


def _limits(arcs: _Arcs, capacity: Mapping[str, int], most_each: int) -> _Limits:
    """One constraint for each support, and one for each student with more arcs than allowed."""
    ones, columns = np.ones(len(arcs)), np.arange(len(arcs))
    per_student = csr_array(
        coo_array((ones, (arcs.student, columns)), shape=(len(arcs.students), len(arcs)))
    )
    per_support = csr_array(
        coo_array((ones, (arcs.support, columns)), shape=(len(arcs.supports), len(arcs)))
    )
    is_limited = np.diff(per_student.indptr) > most_each
    openings = np.array([capacity[name] for name in arcs.supports], dtype="float64")
    return _Limits(
        vstack([per_student[is_limited], per_support], format="csr"),
        np.concatenate([np.full(is_limited.sum(), float(most_each)), openings]),
    )


def _best_with_floors(
    arcs: _Arcs, limits: _Limits, labels: Mapping[str, str], minimums: Mapping[str, int]
) -> BoolArray:
    group = np.array([labels[student] for student in arcs.students], dtype=object)[arcs.student]
    is_member = np.array([group == label for label in minimums], dtype="float64").reshape(
        len(minimums), len(arcs)
    )
    least = np.array(list(minimums.values()), dtype="float64")
    # At least so many of a group is at most minus so many of the negative row.
    with_floors = _Limits(
        vstack([limits.matrix, csr_array(-is_member)], format="csr"),
        np.concatenate([limits.most, -least]),
    )
    try:
        return _best(arcs, with_floors)
    except _Infeasible:
        raise _infeasible_floors(limits, is_member, minimums) from None


def _infeasible_floors(
    limits: _Limits, is_member: FloatArray, minimums: Mapping[str, int]
) -> InfeasibleFloors:
    """The error that names the first group whose floor cannot be met alone, if there is one."""
    for members, (label, minimum) in zip(is_member, minimums.items(), strict=True):
        most = round(float(_solve(members, limits).flow @ members))
        if most < minimum:
            return InfeasibleFloors(minimums, label, most)
    return InfeasibleFloors(minimums)


class _Infeasible(Exception):
    """No flow meets the limits."""


class _Solution(NamedTuple):
    """An optimal flow, and what every optimal flow has in common."""

    flow: FloatArray
    fixed_low: BoolArray
    """Arcs without flow."""
    fixed_high: BoolArray
    """Arcs with full flow."""
    tight: BoolArray
    """Constraints that hold with equality."""


def _best(arcs: _Arcs, limits: _Limits) -> BoolArray:
    """The arcs of the best plan.

    Among equally good plans a second program, on the optimal face, prefers early ids.
    """
    if not len(arcs):
        return np.zeros(0, dtype=bool)
    whole_benefit: FloatArray = np.round(arcs.benefit / RESOLUTION)
    optimum = _solve(whole_benefit, limits)
    earliness: FloatArray = len(arcs.students) - arcs.student.astype(np.float64)
    chosen: BoolArray = _solve(earliness, limits, face=optimum).flow > 0.5
    return chosen


def _solve(value: FloatArray, limits: _Limits, face: _Solution | None = None) -> _Solution:
    """The flow of greatest value; with `face`, only among the flows that are optimal there.

    By complementary slackness these are the flows that agree with the optimum wherever a dual is
    not zero: on fixed arcs and on tight constraints.
    """
    low, high = np.zeros(len(value)), np.ones(len(value))
    tight = np.zeros(len(limits.most), dtype=bool)
    if face is not None:
        low[face.fixed_high], high[face.fixed_low] = 1.0, 0.0
        tight = face.tight
    result: Any = linprog(
        -value,
        A_ub=limits.matrix[~tight],
        b_ub=limits.most[~tight],
        method="highs",
        A_eq=limits.matrix[tight] if tight.any() else None,
        b_eq=limits.most[tight] if tight.any() else None,
        bounds=np.column_stack([low, high]),
    )
    if result.status == _INFEASIBLE and face is None:
        raise _Infeasible
    if result.status != _SOLVED:
        raise AllocationError(f"the solver gave no answer: {result.message}")
    now_tight = np.zeros(len(limits.most), dtype=bool)
    now_tight[~tight] = result.ineqlin.marginals < -_DUAL_TOLERANCE
    return _Solution(
        flow=np.asarray(result.x),
        fixed_low=result.lower.marginals > _DUAL_TOLERANCE,
        fixed_high=result.upper.marginals < -_DUAL_TOLERANCE,
        tight=now_tight,
    )


def _greedy(
    arcs: _Arcs, capacity: Mapping[str, int], most_each: int, order: Sequence[str] | None
) -> BoolArray:
    """The arcs of the greedy plan.

    By turn if there is an order, then the greatest benefit first, then by student and support.
    """
    turn_by_student = {student: turn for turn, student in enumerate(order or ())}
    turn = np.array([turn_by_student.get(student, 0) for student in arcs.students], dtype=np.intp)
    openings_left = [capacity[name] for name in arcs.supports]
    supports_left = [most_each] * len(arcs.students)
    chosen = np.zeros(len(arcs), dtype=bool)
    rounded = np.round(arcs.benefit / RESOLUTION)
    for arc in np.lexsort((arcs.support, arcs.student, -rounded, turn[arcs.student])):
        student, support = arcs.student[arc], arcs.support[arc]
        if openings_left[support] and supports_left[student]:
            chosen[arc] = True
            openings_left[support] -= 1
            supports_left[student] -= 1
    return chosen


def _plan(arcs: _Arcs, chosen: BoolArray, most_each: int) -> Plan:
    """The chosen assignments, and for each student with room the best one that was not chosen."""
    n_chosen = np.bincount(arcs.student[chosen], minlength=len(arcs.students))
    unmet = np.flatnonzero(~chosen & (n_chosen[arcs.student] < most_each))
    best_first = unmet[np.lexsort((arcs.support[unmet], -arcs.benefit[unmet], arcs.student[unmet]))]
    _, first_of_student = np.unique(arcs.student[best_first], return_index=True)
    waits = np.zeros(len(arcs), dtype=bool)
    waits[best_first[first_of_student]] = True
    return Plan(
        arcs.assignments(chosen), arcs.assignments(waits), float(arcs.benefit[chosen].sum())
    )


def _by_student(
    assignments: Sequence[Assignment],
) -> defaultdict[str, tuple[Assignment, ...]]:
    by_student: defaultdict[str, tuple[Assignment, ...]] = defaultdict(tuple)
    for assignment in assignments:
        by_student[assignment.student] += (assignment,)
    return by_student
