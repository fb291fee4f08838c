"""A dot plot keeps every interval, zero and its round ticks within the width, each where its value
is.
"""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from serving.rendering.charts import dot_plot

NUMBERS = st.floats(-1e4, 1e4, allow_nan=False).map(lambda value: round(value, 2))
INTERVALS = st.lists(
    st.tuples(NUMBERS, NUMBERS, NUMBERS).map(lambda three: tuple(sorted(three))),
    min_size=1,
    max_size=12,
)


@given(INTERVALS)
def test_places_follow_values_on_one_scale(intervals: list[tuple[float, float, float]]):
    plot = dot_plot(intervals)
    ticks = [(float(label), place) for place, label in plot.ticks]
    assert (0.0, plot.zero) in ticks and 2 <= len(ticks) <= 8
    (first, left), (last, right) = ticks[0], ticks[-1]
    assert (left, right) == (4.0, 96.0) and first <= min(0, *(low for low, _, _ in intervals))
    assert last >= max(0, *(high for _, _, high in intervals))
    for (low, value, high), dot in zip(intervals, plot.dots, strict=True):
        for number, place in ((low, dot.start), (value, dot.middle), (high, dot.end)):
            assert place == pytest.approx(4 + 92 * (number - first) / (last - first), abs=0.02)
        assert 4 <= dot.start <= dot.middle <= dot.end <= 96


def test_ticks_are_round_and_say_which_way():
    assert [label for _, label in dot_plot([(-2.8, -0.7, 1.9)]).ticks] == [
        "-3",
        "-2",
        "-1",
        "0",
        "+1",
        "+2",
    ]
    assert [label for _, label in dot_plot([(0.1, 0.2, 0.34)]).ticks] == [
        "0",
        "+0.1",
        "+0.2",
        "+0.3",
        "+0.4",
    ]
    assert next(label for _, label in dot_plot([(0.0, 0.0, 0.0)]).ticks) == "0"
