"""What randomized list order was worth: the value of each way to fill the first place.

Where a draw decided which near-equal support stood first, the log of shown lists is a small
randomized trial of the order. The probability of each support to stand first is logged with the
list, so no propensity is fitted and none can be wrong. Nobody gets or loses a support by a draw, so
this is about orders alone. Source: Bottou et al. (2013), "Counterfactual reasoning and learning
systems", JMLR 14; the estimates are self-normalized (Swaminathan & Joachims 2015, NeurIPS 28),
their intervals clustered by student.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from typing import NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from records.access.scope import pipeline_scope
from records.access.scoped_records import ScopedRecords
from records.decisions.impressions import Impression, RankedSupport
from records.snapshots.snapshot import Snapshot
from records.suppression.small_numbers import DEFAULT_SMALL_NUMBERS, SmallNumbers
from training.episodes.outcome import OutcomeDefinition, progress_points
from training.estimation.arrays import FloatArray
from training.estimation.policy_value import Estimate, policy_value
from training.evaluation.model_comparison import PolicyDifference, paired_difference

Reward = Callable[[date], Mapping[str, float]]
"""Progress points of students, by identifier, after a day; without students whose progress is not
known."""

BEST_FIRST = "highest expected benefit first"
NEAR_BEST_FIRST = "a near-equal support first"
CHALLENGER_FIRST = "the challenger's first choice"


@dataclass(frozen=True)
class FirstSlotPolicy:
    """One way to fill the first place: its value, and the difference from `BEST_FIRST`."""

    name: str
    value: Estimate
    difference_from_best: PolicyDifference | None


@dataclass(frozen=True)
class ExplorationValue:
    """The value of each policy on `lists` of `students` that were open to a draw.

    Only lists with a known outcome count; there are no orders where these are too few.
    """

    lists: int
    students: int
    orders: tuple[FirstSlotPolicy, ...]


def estimate_exploration_value(
    lists: Iterable[Impression],
    reward: Reward,
    progress: Callable[[int, int], None] = lambda done, total: None,
    *,
    small_numbers: SmallNumbers = DEFAULT_SMALL_NUMBERS,
) -> ExplorationValue:
    """The value of each order of the lists that were open to a draw.

    Args:
        lists: the log of shown lists.
        reward: called once for each day on which a list was shown; without students for a day too
            recent.
        progress: called with how many days are done, of how many.
        small_numbers: the district's rule.
    """
    drawn = [
        shown for shown in lists if any(0 < entry.top_propensity < 1 for entry in shown.listed)
    ]
    days, rewards = sorted({shown.as_of for shown in drawn}), {}
    for done, day in enumerate(days):
        progress(done, len(days))
        rewards[day] = reward(day)
    progress(len(days), len(days))
    evaluated = [shown for shown in drawn if shown.student_id in rewards[shown.as_of]]
    students = pd.Series([shown.student_id for shown in evaluated], dtype=object)
    if students.nunique() < small_numbers.smallest_cell:
        return ExplorationValue(len(evaluated), students.nunique(), ())
    outcomes = np.array([rewards[shown.as_of][shown.student_id] for shown in evaluated])
    policies = tuple(_first_slot_policies(evaluated, outcomes, students, small_numbers))
    return ExplorationValue(len(evaluated), students.nunique(), policies)


def progress_after(snapshot: Snapshot, outcome: OutcomeDefinition, day: date) -> dict[str, float]:
    """Progress points of every student after a day; of nobody where the records end too early."""
    if day + timedelta(days=outcome.window_days) > snapshot.latest_date():
        return {}
    points = progress_points(
        ScopedRecords(snapshot, pipeline_scope(snapshot, "training", day)), day, outcome
    )
    return {
        str(student): float(value)
        for student, value in points.sum(axis=1, skipna=False).dropna().items()
    }


class _Draws(NamedTuple):
    """Probabilities of each support to stand first, and which one did.

    Shape (lists, supports), as drawn and by policy; `first` has the shape (lists,).
    """

    drawn: FloatArray
    best_first: FloatArray
    near_best_first: FloatArray
    challenger_first: FloatArray
    first: NDArray[np.intp]


def _first_slot_policies(
    lists: Sequence[Impression],
    outcomes: FloatArray,
    students: pd.Series,
    small_numbers: SmallNumbers,
) -> Iterable[FirstSlotPolicy]:
    """The value of each policy, on the lists where it applies."""
    draws = _draws(lists)
    # Nothing but the order differs, so the mean outcome is expected of every support.
    expected = np.full(draws.drawn.shape, outcomes.mean())
    best_value = policy_value(
        outcomes, draws.first, draws.best_first, draws.drawn, expected, students
    )
    yield FirstSlotPolicy(BEST_FIRST, best_value.snips, None)
    for name, policy in (
        (NEAR_BEST_FIRST, draws.near_best_first),
        (CHALLENGER_FIRST, draws.challenger_first),
    ):
        applies = policy.sum(axis=1) > 0
        if students[applies].nunique() >= small_numbers.smallest_cell:
            value = policy_value(
                outcomes[applies],
                draws.first[applies],
                policy[applies],
                draws.drawn[applies],
                expected[applies],
                students[applies],
            )
            difference = paired_difference(
                outcomes[applies],
                draws.first[applies],
                policy[applies],
                draws.best_first[applies],
                draws.drawn[applies],
                expected[applies],
                students[applies],
            )
            yield FirstSlotPolicy(name, value.snips, difference)


def _draws(lists: Sequence[Impression]) -> _Draws:
    supports = sorted({entry.support for shown in lists for entry in shown.listed})
    column = {support: index for index, support in enumerate(supports)}
    drawn, best, near_best, challenger = (np.zeros((len(lists), len(supports))) for _ in range(4))
    first = np.zeros(len(lists), dtype=np.intp)
    for row, shown in enumerate(lists):
        first[row] = column[shown.first]
        for entry in shown.listed:
            drawn[row, column[entry.support]] = entry.top_propensity
        best_entry = min(shown.listed, key=lambda entry: (-entry.benefit, entry.support))
        best[row, column[best_entry.support]] = 1.0
        others = [
            entry for entry in shown.listed if entry.top_propensity > 0 and entry is not best_entry
        ]
        for entry in others:
            near_best[row, column[entry.support]] = 1 / len(others)
        if shown.challenger and _first_probability(shown.listed, shown.challenger[0]) > 0:
            challenger[row, column[shown.challenger[0]]] = 1.0
    return _Draws(drawn, best, near_best, challenger, first)


def _first_probability(listed: Sequence[RankedSupport], support: str) -> float:
    return next((entry.top_propensity for entry in listed if entry.support == support), 0.0)
