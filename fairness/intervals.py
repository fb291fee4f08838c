"""Intervals for two shares: their difference and their ratio, in closed form from Wilson's interval of each.

An audit has some sixty intervals that must hold at once, so each end is a quantile near one in two thousand. A
bootstrap over students would need far more draws for that, changes with its seed, and gives an interval without width
where none or all of a small group were suggested a support; these do not.
"""

from __future__ import annotations

import math

from fairness.gate import Interval

NOTHING_KNOWN = Interval(math.nan, math.nan, math.nan)


def wilson(count: int, of: int, z: float) -> Interval:
    """The share count/of. Source: Wilson (1927), JASA 22(158); `of` is at least 1."""
    share, shrink = count / of, 1 + z * z / of
    middle = (share + z * z / (2 * of)) / shrink
    half = z / shrink * math.sqrt(share * (1 - share) / of + z * z / (4 * of * of))
    return Interval(share, min(share, max(0.0, middle - half)), max(share, min(1.0, middle + half)))


def difference(count: int, of: int, other_count: int, other_of: int, z: float) -> Interval:
    """Share minus other share. Source: Newcombe (1998), Statistics in Medicine 17(8), method 10."""
    if not of or not other_of:
        return NOTHING_KNOWN
    one, two = wilson(count, of, z), wilson(other_count, other_of, z)
    point = one.point - two.point
    return Interval(point, point - math.hypot(one.point - one.lower, two.upper - two.point),
                    point + math.hypot(one.upper - one.point, two.point - two.lower))  # fmt: skip


def ratio(count: int, of: int, other_count: int, other_of: int, z: float) -> Interval:
    """Share over other share; infinite where only the other is 0, unknown where both are.

    Source: Donner & Zou (2012), Statistical Methods in Medical Research 21(4), the MOVER-R interval.
    """
    if not of or not other_of or not (count or other_count):
        return NOTHING_KNOWN
    one, two = wilson(count, of, z), wilson(other_count, other_of, z)
    product = one.point * two.point
    low = one.lower * (2 * one.point - one.lower)
    below = math.sqrt(max(0.0, product**2 - low * two.upper * (2 * two.point - two.upper)))
    high = one.upper * (2 * one.point - one.upper)
    under = two.lower * (2 * two.point - two.lower)
    above = math.sqrt(max(0.0, product**2 - high * under))
    return Interval(
        one.point / two.point if other_count else math.inf,
        low / (product + below) if low > 0 else 0.0,
        (product + above) / under if under > 0 else math.inf,
    )
