"""How a challenger's unseen lists compare with those that were shown, as numbers of students.

Counts only: nothing here names a student, and a number behind which fewer students than the
smallest cell may be is suppressed.
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
    """Shown and unseen lists, compared by their first support.

    Attributes:
        students: each counts once, by the newest list.
        same_top: for how many both have the same support first; None where that, less the pairs
            that are published, would reveal a number below the smallest cell.
        first_places: pairs with at least that many students, the most frequent first.
        other: students of all other pairs together, none or at least that many.
    """

    students: int
    same_top: int | None
    first_places: tuple[TopSuggestionPair, ...]
    other: int


def compare_shadow_lists(
    lists: Iterable[Impression], small_numbers: SmallNumbers = DEFAULT_SMALL_NUMBERS
) -> ShadowComparison:
    """Compare the lists that were shown with those a challenger would have shown.

    Args:
        lists: of all students, older ones first.
        small_numbers: the district's rule.
    """
    fewest = small_numbers.smallest_cell
    newest = {(shown.student_id, shown.organization_id): shown for shown in lists}
    latest = {student: impression for (student, _), impression in newest.items()}
    counts = Counter(
        (
            impression.first or NO_SUGGESTION,
            impression.challenger[0] if impression.challenger else NO_SUGGESTION,
        )
        for impression in latest.values()
    )
    published = [
        TopSuggestionPair(*pair, count) for pair, count in counts.most_common() if count >= fewest
    ]
    # The rest is published too, as the difference to all students: it must not be small either.
    while published and 0 < _rest(latest, published) < fewest:
        published.pop()
    same = sum(count for (shown, unseen), count in counts.items() if shown == unseen)
    rest = _rest(latest, published)
    published_same = sum(pair.students for pair in published if pair.shown == pair.unseen)
    same_in_rest = same - published_same
    # Whoever subtracts the published pairs from `same` learns how the rest divides.
    is_safe = min(same, len(latest) - same) >= fewest and all(
        part == 0 or part >= fewest for part in (same_in_rest, rest - same_in_rest)
    )
    return ShadowComparison(len(latest), same if is_safe else None, tuple(published), rest)


def _rest(students: Collection[str], published: Collection[TopSuggestionPair]) -> int:
    return len(students) - sum(pair.students for pair in published)
