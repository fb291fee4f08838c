"""What the log of shown lists tells of orders, where a draw decided which support stood first.

A draw is a small randomised trial of the order. How likely each support was to stand first is
written down with the list, so no propensity is fitted and none can be wrong; nor does anybody get a
support by a draw, or lose one, so this tells of orders alone. Source: Bottou et al. (2013),
"Counterfactual reasoning and learning systems", JMLR 14; the estimates are self-normalised
(Swaminathan & Joachims 2015, NeurIPS 28), their intervals clustered by student.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, timedelta

import numpy as np
import pandas as pd

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
"""Progress points of students, by identifier, after a day; a student whose progress is not known is
not in it."""

BEST_FIRST = "what is expected to help most"
NEAR_BEST_FIRST = "another that is expected to help about as much"
CHALLENGER_FIRST = "what the challenger would put first"


@dataclass(frozen=True)
class FirstSlotPolicy:
    """One way to fill the first place: its value in progress points, and how much more that is than
    with `BEST_FIRST`.
    """

    name: str
    value: Estimate
    beyond_best: PolicyDifference | None


@dataclass(frozen=True)
class ExplorationValue:
    """`lists` of `students` were open to a draw and have a known outcome. No orders where there are
    too few of them.
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
        reward: asked once for each day on which a list was shown; of a day too recent to tell it
            knows nobody.
    """
    opened = [one for one in lists if any(0 < entry.first_chance < 1 for entry in one.listed)]
    days, known = sorted({one.as_of for one in opened}), {}
    for done, day in enumerate(days):
        progress(done, len(days))
        known[day] = reward(day)
    progress(len(days), len(days))
    judged = [one for one in opened if one.student_id in known[one.as_of]]
    students = pd.Series([one.student_id for one in judged], dtype=object)
    if students.nunique() < small_numbers.smallest_cell:
        return ExplorationValue(len(judged), students.nunique(), ())
    outcomes = np.array([known[one.as_of][one.student_id] for one in judged])
    return ExplorationValue(
        len(judged), students.nunique(), tuple(_orders(judged, outcomes, students, small_numbers))
    )


def progress_after(snapshot: Snapshot, outcome: OutcomeDefinition, day: date) -> dict[str, float]:
    """Progress points of every student after a day; of nobody where the records do not reach that
    far.
    """
    if day + timedelta(days=outcome.window_days) > snapshot.latest_date():
        return {}
    points = progress_points(
        ScopedRecords(snapshot, pipeline_scope(snapshot, "training", day)), day, outcome
    )
    return {
        str(student): float(value)
        for student, value in points.sum(axis=1, skipna=False).dropna().items()
    }


def _orders(
    judged: Sequence[Impression],
    outcomes: FloatArray,
    students: pd.Series,
    small_numbers: SmallNumbers,
) -> Iterable[FirstSlotPolicy]:
    names = sorted({entry.support for one in judged for entry in one.listed})
    chances, best, another, challengers = (np.zeros((len(judged), len(names))) for _ in range(4))
    taken = np.zeros(len(judged), dtype=np.intp)
    for row, one in enumerate(judged):
        first = min(one.listed, key=lambda entry: (-entry.benefit, entry.support))
        others = [entry for entry in one.listed if entry.first_chance > 0 and entry is not first]
        taken[row] = names.index(one.first)
        for entry in one.listed:
            chances[row, names.index(entry.support)] = entry.first_chance
        best[row, names.index(first.support)] = 1.0
        for entry in others:
            another[row, names.index(entry.support)] = 1 / len(others)
        if one.challenger and _chance(one.listed, one.challenger[0]) > 0:
            challengers[row, names.index(one.challenger[0])] = 1.0
    usual = np.full(chances.shape, outcomes.mean())
    yield FirstSlotPolicy(
        BEST_FIRST, policy_value(outcomes, taken, best, chances, usual, students).snips, None
    )
    for name, order in ((NEAR_BEST_FIRST, another), (CHALLENGER_FIRST, challengers)):
        told = order.sum(axis=1) > 0
        if students[told].nunique() >= small_numbers.smallest_cell:
            parts = (
                outcomes[told],
                taken[told],
                order[told],
                chances[told],
                usual[told],
                students[told],
            )
            reward, first, mine, chance, centre, who = parts
            yield FirstSlotPolicy(
                name,
                policy_value(reward, first, mine, chance, centre, who).snips,
                paired_difference(reward, first, mine, best[told], chance, centre, who),
            )


def _chance(listed: Sequence[RankedSupport], support: str) -> float:
    return next((entry.first_chance for entry in listed if entry.support == support), 0.0)
