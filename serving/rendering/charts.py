"""Small charts as numbers for SVG attributes: no style, no script; the templates draw them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import ceil, floor, log10

WIDTH, HEIGHT, _MARGIN = 220, 56, 6
"""Of sparklines and intervals, in the units of their view box."""

BAR = 120
"""Width of a bar's view box."""

_EDGE = 4.0
"""Empty percent of the width at both ends of a dot plot."""


@dataclass(frozen=True)
class Sparkline:
    """A line over evenly spaced values: `points` for the polyline, and its dots as pairs."""

    points: str
    dots: tuple[tuple[float, float], ...]


@dataclass(frozen=True)
class Bar:
    """A bar from the middle of the box: to the right for more, to the left for less."""

    x: float
    width: float
    positive: bool


@dataclass(frozen=True)
class IntervalMark:
    """An interval on a scale from zero: where it starts and ends, and where its middle is."""

    start: float
    end: float
    middle: float


@dataclass(frozen=True)
class Dot:
    """A value with its interval, in percent of the width."""

    start: float
    middle: float
    end: float


@dataclass(frozen=True)
class DotPlot:
    """Intervals on one scale that holds zero, in percent of the width, so that text keeps its size.

    Attributes:
        ticks: where each tick is, and its label.
        zero: where zero is.
    """

    dots: tuple[Dot, ...]
    ticks: tuple[tuple[float, str], ...]
    zero: float


@dataclass(frozen=True)
class CappedBar:
    """A bar from zero, in percent of the width; `capped` where the value is beyond the scale."""

    width: float
    capped: bool


def sparkline(values: Sequence[float], low: float, high: float) -> Sparkline:
    """A line of `values` between `low` (bottom) and `high` (top)."""
    steps = max(1, len(values) - 1)
    across = (WIDTH - 2 * _MARGIN) / steps
    dots = tuple(
        (
            round(_MARGIN + place * across, 1),
            round(HEIGHT - _MARGIN - (value - low) / (high - low) * (HEIGHT - 2 * _MARGIN), 1),
        )
        for place, value in enumerate(values)
    )
    return Sparkline(" ".join(f"{x},{y}" for x, y in dots), dots)


def bars(values: Sequence[float]) -> list[Bar]:
    """One bar for each value, all on one scale."""
    largest = max((abs(value) for value in values), default=0.0) or 1.0
    half = BAR / 2
    widths = [max(2.0, round(abs(value) / largest * half, 1)) for value in values]
    return [
        Bar(half if value >= 0 else half - width, width, value >= 0)
        for value, width in zip(values, widths, strict=True)
    ]


def interval(lower: float, middle: float, upper: float, scale_end: float) -> IntervalMark:
    """An interval on a scale from zero to `scale_end`."""
    width = WIDTH - 2 * _MARGIN
    start, center, end = (
        round(_MARGIN + max(0.0, min(value / scale_end, 1.0)) * width, 1)
        for value in (lower, middle, upper)
    )
    return IntervalMark(start, end, center)


def dot_plot(intervals: Sequence[tuple[float, float, float]]) -> DotPlot:
    """A dot plot of (lower, value, upper), each finite; there is at least one."""
    low = min(0.0, *(lower for lower, _, _ in intervals))
    high = max(0.0, *(upper for _, _, upper in intervals))
    step = _step(high - low)
    first, last = floor(low / step), max(ceil(high / step), floor(low / step) + 1)

    def percent(value: float) -> float:
        return round(_EDGE + (100.0 - 2 * _EDGE) * (value / step - first) / (last - first), 2)

    ticks = tuple(
        (percent(tick * step), f"{tick * step:+g}" if tick else "0")
        for tick in range(first, last + 1)
    )
    dots = tuple(
        Dot(percent(lower), percent(value), percent(upper)) for lower, value, upper in intervals
    )
    return DotPlot(dots, ticks, percent(0.0))


def capped_bars(
    values: Sequence[float], bounds: Sequence[float]
) -> tuple[tuple[CappedBar, ...], tuple[float, ...]]:
    """Bars of values from zero, and where the bounds are, in percent of a scale that ends at twice
    the largest bound.
    """
    end = 2 * max(bounds)
    capped = tuple(
        CappedBar(round(100 * min(max(value, 0.0), end) / end, 2), value > end) for value in values
    )
    return capped, tuple(round(100 * bound / end, 2) for bound in bounds)


def _step(width: float) -> float:
    """A round number of which `width` is at most five."""
    size = 10.0 ** floor(log10(max(width, 1e-9) / 5))
    return next(size * times for times in (1, 2, 5, 10) if width <= 5 * size * times)
