"""How a challenger's unseen lists compare with those that were shown, as numbers of lists.

Counts only: nothing here names a student, and a number behind which fewer students than the
smallest cell may stand is suppressed.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable
from dataclasses import dataclass

from records.decisions.impressions import Impression
from records.suppression.small_numbers import DEFAULT_SMALL_NUMBERS, SmallNumbers

NO_SUGGESTION = "no suggestion"


@dataclass(frozen=True)
class TopSuggestionPair:
    """Students whose list had `shown` first and, in the challenger's, `unseen`."""

    shown: str
    unseen: str
    students: int


@dataclass(frozen=True)
class ShadowComparison:
    """`students`: each counts once, by the newest list. `same_first`: for how many both have the
    same support first; None where that, less the pairs that are published, would give away a number
    below the smallest cell.

    `first_places`: pairs with at least as many students as the smallest cell, the most frequent
    first; `other`: all other pairs together, none or as many at least.
    """

    students: int
    same_first: int | None
    first_places: tuple[TopSuggestionPair, ...]
    other: int


def compare_shadow_lists(
    lists: Iterable[Impression], small_numbers: SmallNumbers = DEFAULT_SMALL_NUMBERS
) -> ShadowComparison:
    """Compare what was shown with what a challenger would have shown beside it."""
    fewest = small_numbers.smallest_cell
    newest = {(one.student_id, one.organization_id): one for one in lists}
    latest = {student: one for (student, _), one in newest.items()}
    pairs = Counter(
        (one.first or NO_SUGGESTION, one.challenger[0] if one.challenger else NO_SUGGESTION)
        for one in latest.values()
    )
    told = [
        TopSuggestionPair(*pair, count) for pair, count in pairs.most_common() if count >= fewest
    ]
    while told and 0 < _others(latest, told) < fewest:
        told.pop()
    same = sum(count for (shown, unseen), count in pairs.items() if shown == unseen)
    other = _others(latest, told)
    hidden = same - sum(one.students for one in told if one.shown == one.unseen)
    tells = min(same, len(latest) - same) >= fewest and all(
        part == 0 or part >= fewest for part in (hidden, other - hidden)
    )
    return ShadowComparison(len(latest), same if tells else None, tuple(told), other)


def _others(students: Collection[str], told: Collection[TopSuggestionPair]) -> int:
    return len(students) - sum(one.students for one in told)
