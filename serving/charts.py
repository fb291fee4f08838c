"""Small charts as numbers for SVG attributes: no style, no script, drawn by the templates."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

WIDTH, HEIGHT, _MARGIN = 220, 56, 6
BAR = 120


@dataclass(frozen=True)
class Line:
    """A line over evenly spaced places: `points` for a polyline, and the same as pairs for its dots."""

    points: str
    dots: tuple[tuple[float, float], ...]


@dataclass(frozen=True)
class Bar:
    """A bar from a middle line: to the right for more, to the left for less."""

    x: float
    width: float
    positive: bool


@dataclass(frozen=True)
class Range:
    """An interval on a scale from zero: where it starts and ends, and where its middle is."""

    start: float
    end: float
    middle: float


def trend(values: Sequence[float], low: float, high: float) -> Line:
    """A line of `values` between `low` (bottom) and `high` (top)."""
    steps = max(1, len(values) - 1)
    across = (WIDTH - 2 * _MARGIN) / steps
    dots = tuple((round(_MARGIN + place * across, 1),
                  round(HEIGHT - _MARGIN - (value - low) / (high - low) * (HEIGHT - 2 * _MARGIN), 1))
                 for place, value in enumerate(values))  # fmt: skip
    return Line(" ".join(f"{x},{y}" for x, y in dots), dots)


def bars(values: Sequence[float]) -> list[Bar]:
    """One bar a value, all on one scale."""
    most = max((abs(value) for value in values), default=0.0) or 1.0
    half = BAR / 2
    widths = [max(2.0, round(abs(value) / most * half, 1)) for value in values]
    return [Bar(half if value >= 0 else half - width, width, value >= 0)
            for value, width in zip(values, widths, strict=True)]  # fmt: skip


def interval(lower: float, middle: float, upper: float, most: float) -> Range:
    """An interval on a scale from zero to `most`."""
    scale = WIDTH - 2 * _MARGIN
    start, centre, end = (round(_MARGIN + max(0.0, min(value / most, 1.0)) * scale, 1)
                          for value in (lower, middle, upper))  # fmt: skip
    return Range(start, end, centre)
