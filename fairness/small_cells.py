"""Numbers of students too small to show, and others from which they would follow.

Source: NCES 2011-603, Statistical Methods for Protecting Personally Identifiable Information in Aggregate Reporting.
Every number of students is shown rounded to ten, every share to a whole percent; a share is shown only where both the
students it counts and those it does not are enough.
"""

from __future__ import annotations

from collections.abc import Collection, Hashable, Mapping
from typing import TypeVar

Cell = TypeVar("Cell", bound=Hashable)
ROUNDED_TO = 10


def hidden_cells(counts: Mapping[Cell, tuple[int, ...]], smallest: int, *, shares: bool = False) -> set[Cell]:
    """The cells of one partition that must not be shown.

    Args:
        counts: for each cell the numbers that its row would reveal, for example with and without a suggestion.
        shares: what is shown of a cell is a share in whole percent, not a number rounded to ten.

    Returns:
        Cells with a number below `smallest`, and then the next smallest cells until the total less what is shown
        gives no small cell away: because at least two are hidden and come to `smallest` together in each number, or
        because the rounding of what is shown leaves more than `smallest` students open on either side, twice over.
    """
    hidden = {cell for cell, numbers in counts.items() if min(numbers) < smallest}
    if not hidden:
        return hidden
    for cell in sorted(counts.keys() - hidden, key=lambda cell: (min(counts[cell]), str(cell))):
        together = [sum(numbers) for numbers in zip(*(counts[one] for one in hidden), strict=True)]
        mixed = len(hidden) >= 2 and min(together) >= smallest
        if mixed or _left_open(counts, hidden, shares) >= 2 * smallest:
            break
        hidden.add(cell)
    return hidden


def _left_open(counts: Mapping[Cell, tuple[int, ...]], hidden: Collection[Cell], shares: bool) -> float:
    """Students by which the total less what is shown may be wrong, for rounding alone."""
    shown = [sum(numbers) for cell, numbers in counts.items() if cell not in hidden]
    total = sum(sum(numbers) for numbers in counts.values())
    return (sum(shown) + total) / 200 if shares else ROUNDED_TO / 2 * (len(shown) + 1)


def about(count: int) -> int:
    """A number of students, rounded to ten (halves up)."""
    return (count + ROUNDED_TO // 2) // ROUNDED_TO * ROUNDED_TO


def percent(share: float) -> float:
    """A share in hundredths."""
    return round(share, 2)
