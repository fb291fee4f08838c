"""How numbers of students are rounded before they are published.

Every number of students is shown rounded to ten, every share to a whole percent. Which of them may
be shown at all is for `cell_suppression`. Source: NCES 2011-603, Statistical Methods for Protecting
Personally Identifiable Information in Aggregate Reporting.
"""

from __future__ import annotations

ROUNDING_BASE = 10


def round_count(count: int) -> int:
    """A number of students, rounded to ten (halves up).

    >>> round_count(14), round_count(15)
    (10, 20)
    """
    return (count + ROUNDING_BASE // 2) // ROUNDING_BASE * ROUNDING_BASE


def round_share(share: float) -> float:
    """A share in hundredths."""
    return round(share, 2)
