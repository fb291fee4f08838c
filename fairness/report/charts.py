"""The charts of a report, as SVG drawn here: dots with intervals, and trade curves. Colors differ
for any eye, and shapes repeat what they say (Okabe & Ito 2008).
"""

from __future__ import annotations

import textwrap
from collections.abc import Mapping, Sequence
from typing import Any

from fairness.audit.audit import Audit
from fairness.checks.checks import CHECKS
from fairness.gate.findings import Finding
from fairness.gate.gate import Verdict
from fairness.report.views import TradeoffOption, TradeoffTable
from fairness.report.wording import METHOD_LABELS, VERDICT_LABELS, value_label

_COLORS = {Verdict.PASS: "#0072B2", Verdict.CANNOT_TELL: "#7A7A7A", Verdict.FAIL: "#D55E00"}
_SHAPES = {Verdict.PASS: "circle", Verdict.CANNOT_TELL: "diamond", Verdict.FAIL: "square"}
_WAY_COLORS = ("#333333", "#0072B2", "#D55E00", "#007A5E")
_WAY_SHAPES = ("cross", "circle", "square", "triangle-up")
_IN_ORDER = ("reductions", "constrained matching")
"""Ways whose settings follow one another, so that a line between them says something."""
_PLACES = "constrained matching"
_DRAWN = ("missed", "access")
_WIDEST = 40.0
"""Points of a hundred at which the axis ends; what lies beyond is drawn at its end."""
_NEAREST = 4.0
"""Points of a hundred that a trade chart shows at least, so that small gaps look small."""
_FONT = "Arial, Liberation Sans, Helvetica, sans-serif"
"""Fonts of equal widths: a chart is laid out here and drawn where it is read."""
_NOT_DRAWN = ("school",)
_LETTERS = 20
"""Letters in a line of a narrow chart's labels."""


def dot_plot(audit: Audit, narrow: bool = False) -> str:
    """How many more points of each group are missed than of all others, as dots with intervals:
    SVG.

    Args:
        narrow: for a phone: one panel below the other, and labels of several lines.
    """
    import altair as alt

    rows = [
        _dot_row(finding, narrow)
        for finding in audit.findings
        if finding.check in _DRAWN
        and finding.gap is not None
        and not finding.is_intersection
        and finding.attribute not in _NOT_DRAWN
    ]
    data = alt.InlineData(
        values=rows
        or [
            {
                "group": "No group may be shown",
                "verdict": VERDICT_LABELS[audit.verdict],
                "check": CHECKS[_DRAWN[0]].title,
            }
        ]
    )
    order = list(dict.fromkeys(str(row["group"]) for row in rows))
    ends = [abs(float(row[end])) for row in rows for end in ("lower", "upper")]
    most = min(_WIDEST, max([12.0, *ends]))
    x = alt.X(
        "point:Q",
        title=["Percentage points more with", "neither a support nor a suggestion"],
        scale=alt.Scale(domain=[-most, most], clamp=True),
    )
    y = alt.Y(
        "group:N",
        title=None,
        sort=order,
        axis=alt.Axis(labelLimit=340, labelExpr="split(datum.value, '\\n')", labelLineHeight=13),
    )
    names = [VERDICT_LABELS[verdict] for verdict in Verdict]
    color = alt.Color(
        "verdict:N", title=None, scale=alt.Scale(domain=names, range=[_COLORS[v] for v in Verdict])
    )
    shape = alt.Shape(
        "verdict:N", title=None, scale=alt.Scale(domain=names, range=[_SHAPES[v] for v in Verdict])
    )
    base = alt.Chart()
    lines = base.mark_rule(strokeWidth=2.5).encode(
        x=alt.X("lower:Q"), x2="upper:Q", y=y, color=color
    )
    dots = base.mark_point(filled=True, size=80, opacity=1).encode(
        x=x, y=y, color=color, shape=shape
    )
    zero = base.mark_rule(color="#444").encode(x=alt.datum(0))
    limit = base.mark_rule(strokeDash=[4, 3], color="#444").encode(
        x=alt.datum(100 * audit.policy["checks"][_DRAWN[0]]["within"])
    )
    titles = [CHECKS[name].title for name in _DRAWN]
    panels = alt.layer(zero, limit, lines, dots, data=data).properties(
        width=140 if narrow else 230, height=alt.Step(42 if narrow else 20)
    )
    chart = panels.facet(
        columns=1 if narrow else len(titles),
        facet=alt.Facet(
            "check:N",
            title=None,
            sort=titles,
            header=alt.Header(labelFontSize=13, labelFontWeight="bold"),
        ),
    )
    return _svg(chart, room=18) if narrow else _svg(chart)


def tradeoff_chart(trades: Sequence[TradeoffTable]) -> str:
    """Benefit captured against the largest gap, a mark for each option that has one shown, with its
    number in the table: SVG. Places and suggestions count other students, so they stand in panels
    of their own.
    """
    import altair as alt

    rows = _numbered(
        [
            _chart_row(trade.title, way, option, option.worst_gap)
            for trade in trades
            for way, _, options in trade.ways
            for option in options
            if option.worst_gap is not None
        ]
    )
    ways = [way for way in METHOD_LABELS.values() if way in {row["way"] for row in rows}]
    places = [list(METHOD_LABELS.values()).index(way) for way in ways]
    most = max(_NEAREST, *(float(row["gap"]) for row in rows))
    gap = alt.X(
        "gap:Q",
        title="Largest gap of a group, in points",
        axis=alt.Axis(tickMinStep=1),
        scale=alt.Scale(domain=[min(0.0, *(float(row["gap"]) for row in rows)), most + 1]),
    )
    captured = alt.Y(
        "captured:Q", title="Benefit captured, in %", scale=alt.Scale(zero=False, padding=14)
    )
    color = alt.Color(
        "way:N", title=None, scale=alt.Scale(domain=ways, range=[_WAY_COLORS[at] for at in places])
    )
    shape = alt.Shape(
        "way:N", title=None, scale=alt.Scale(domain=ways, range=[_WAY_SHAPES[at] for at in places])
    )
    in_order = [METHOD_LABELS[way] for way in _IN_ORDER]
    data = alt.InlineData(values=rows[::-1])
    base = alt.Chart().encode(x=gap, y=captured)
    lines = (
        base.transform_filter(alt.FieldOneOfPredicate("way", in_order))
        .mark_line(strokeWidth=1.5)
        .encode(color=color, order="number:O", detail="way:N")
    )
    marks = base.mark_point(filled=True, size=70, opacity=1).encode(color=color, shape=shape)
    numbers = base.mark_text(dx=8, dy=-8, fontSize=11, color="#222").encode(text="numbers:N")
    panels = alt.layer(lines, marks, numbers, data=data).properties(width=300, height=220)
    header = alt.Header(labelFontSize=12, labelFontWeight="bold")
    chart = panels.facet(
        row=alt.Row("evened:N", title=None, header=header),
        column=alt.Column("counts:N", title=None, header=header, sort="descending"),
    ).resolve_axis(x="independent", y="independent")
    return _svg(chart)


def _chart_row(title: str, way: str, option: TradeoffOption, gap: float) -> dict[str, Any]:
    counts = (
        "Places, of those who wait"
        if way == METHOD_LABELS[_PLACES]
        else "Suggestions, of all in need"
    )
    return {
        "evened": title,
        "way": way,
        "counts": counts,
        "number": option.number,
        "gap": round(100 * gap),
        "captured": round(100 * option.captured),
    }


def _numbered(rows: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """With the numbers of all that lie on one spot, on the first of them."""
    spots: dict[tuple[Any, ...], list[int]] = {}
    for row in rows:
        spots.setdefault(_spot(row), []).append(row["number"])
    return [
        row
        | {
            "numbers": ", ".join(map(str, spots[_spot(row)]))
            if row["number"] == spots[_spot(row)][0]
            else ""
        }
        for row in rows
    ]


def _spot(row: Mapping[str, Any]) -> tuple[Any, ...]:
    return tuple(row[name] for name in ("evened", "counts", "gap", "captured"))


def _svg(chart: Any, room: int = 60) -> str:
    """Drawn with room at the left, in pixels, and in the legend for a reader's wider fonts."""
    import vl_convert

    plain = (
        chart.properties(
            padding={"left": room, "right": min(room, 20), "top": 10, "bottom": 10},
            background="white",
        )
        .configure(font=_FONT)
        .configure_axis(labelFontSize=12, titleFontSize=12, labelColor="#222", titleColor="#222")
        .configure_legend(
            labelFontSize=12, labelLimit=0, columnPadding=min(room, 40), orient="bottom"
        )
        .configure_view(stroke=None)
    )
    return str(vl_convert.vegalite_to_svg(plain.to_json()))


def _dot_row(finding: Finding, narrow: bool) -> dict[str, Any]:
    ends: Sequence[float | None] = (finding.gap, finding.lower, finding.upper)
    point, lower, upper = (0.0 if end is None else round(100 * end) for end in ends)
    group = value_label(finding.attribute, finding.value)
    group = textwrap.fill(group, _LETTERS, break_on_hyphens=False) if narrow else group
    return {
        "check": CHECKS[finding.check].title,
        "group": group,
        "verdict": VERDICT_LABELS[finding.verdict],
        "point": point,
        "lower": lower,
        "upper": upper,
    }
