"""A model's plots as SVG: overlap, calibration, importance. They show no more than its card."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from training.evaluation.evaluate import Row

_BLUE, _GRAY = "#0072B2", "#444"
"""Okabe & Ito (2008): distinct with any color vision."""


def overlap_plot(rows: Sequence[Row]) -> str:
    """Bars, one panel a support: episodes by the propensity of what the policy chooses."""
    import altair as alt

    bars = [row | {"range": _range(row)} for row in rows if row["episodes"] is not None]
    order = list(dict.fromkeys(_range(row) for row in rows))
    x = alt.X("range:N", title="Chance that past practice chose the same", sort=order)
    y = alt.Y("episodes:Q", title="Episodes, to the nearest ten")
    chart = _bars(bars).encode(
        x=x, y=y, facet=alt.Facet("action:N", columns=3, title=None, header=_header())
    )
    return _svg(
        chart.resolve_scale(y="independent"),
        bars,
        "No number of episodes is large enough to show",
        width=None,
    )


def calibration_plot(rows: Sequence[Row]) -> str:
    """Dots with intervals: predicted and realized benefit of students' best supports, by fifths."""
    import altair as alt

    base = alt.Chart(alt.InlineData(values=list(rows)))
    x = alt.X("predicted:Q", title="Predicted benefit (progress points), in fifths")
    lines = base.mark_rule(strokeWidth=2.5, color=_BLUE).encode(
        x=x, y=alt.Y("lower:Q"), y2="upper:Q"
    )
    y = alt.Y("realised:Q", title="Realized benefit, doubly robust (95% CI)")
    dots = base.mark_point(filled=True, size=90, opacity=1, color=_BLUE).encode(x=x, y=y)
    ends = [row[end] for row in rows for end in ("predicted", "lower", "upper")] or [0.0, 1.0]
    same = alt.InlineData(values=[{"at": end} for end in (min(ends), max(ends))])
    diagonal = alt.Chart(same).mark_line(strokeDash=[4, 3], color=_GRAY).encode(x="at:Q", y="at:Q")
    return _svg(diagonal + lines + dots, rows, "Too few students to show")


def importance_plot(rows: Sequence[Row]) -> str:
    """Bars: mean absolute contribution of each family of features."""
    import altair as alt

    x = alt.X("points:Q", title="Mean absolute contribution (progress points)")
    return _svg(
        _bars(rows).encode(x=x, y=alt.Y("family:N", title=None, sort=None)),
        rows,
        "There is nothing to show",
    )


def _range(row: Row) -> str:
    return f"{row['above']:g} to {row['up_to']:g}"


def _bars(rows: Sequence[Row]) -> Any:
    import altair as alt

    return alt.Chart(alt.InlineData(values=list(rows))).mark_bar(color=_BLUE)


def _header() -> Any:
    import altair as alt

    return alt.Header(labelFontSize=12, labelColor="#222")


def _svg(chart: Any, rows: Sequence[Row], empty: str, width: int | None = 420) -> str:
    """The chart as SVG, or a sentence in its place where there is nothing to show."""
    import altair as alt
    import vl_convert

    if not rows:
        chart = (
            alt.Chart(alt.InlineData(values=[{"says": empty}]))
            .mark_text(fontSize=13)
            .encode(text="says:N")
        )
    sized = chart if width is None else chart.properties(width=width)
    styled = (
        sized.properties(padding=20, background="white")
        .configure_axis(labelFontSize=12, titleFontSize=12, labelColor="#222", titleColor="#222")
        .configure_view(stroke=None)
    )
    svg: str = vl_convert.vegalite_to_svg(styled.to_json())
    return svg
