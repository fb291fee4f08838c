"""An audit as files: JSON for machines, a chart, and a page to read and print. Nothing in them is fetched.

They lie in `home/audits/v<version>/`. The JSON is written last, so that an audit that can be read has its report.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import jinja2
from markupsafe import Markup

from fairness.audit import CROSS, NOBODY_SUGGESTED, NOT_RECORDED, NOTHING_RECORDED, TOO_FEW, Audit, Group
from fairness.gate import Verdict
from records.files import write_whole

__all__ = ["ATTRIBUTES", "VALUES", "VERDICTS", "WHY", "Audit", "Signature", "group_label", "read_audit", "write_report"]

ATTRIBUTES = {
    "sex": "Sex", "race_ethnicity": "Race or ethnicity", "english_learner": "Learning English",
    "special_education": "Special education", "unstable_housing": "Housing", "meal_eligible": "School meals",
    "grade_band": "Grade",
}  # fmt: skip
VALUES = {
    ("sex", "female"): "Girls", ("sex", "male"): "Boys", ("sex", "another"): "Students of another sex",
    ("race_ethnicity", "american_indian"): "American Indian or Alaska Native students",
    ("race_ethnicity", "asian"): "Asian students",
    ("race_ethnicity", "black"): "Black or African American students",
    ("race_ethnicity", "hispanic"): "Hispanic or Latino students",
    ("race_ethnicity", "pacific_islander"): "Native Hawaiian or other Pacific Islander students",
    ("race_ethnicity", "two_or_more"): "Students of two or more races",
    ("race_ethnicity", "white"): "White students",
    ("english_learner", "yes"): "Students who are learning English",
    ("english_learner", "no"): "Students who are not learning English",
    ("special_education", "yes"): "Students with an IEP or a 504 plan",
    ("special_education", "no"): "Students without an IEP or a 504 plan",
    ("unstable_housing", "yes"): "Students without a stable home",
    ("unstable_housing", "no"): "Students with a stable home",
    ("meal_eligible", "yes"): "Eligible for free or reduced-price meals",
    ("meal_eligible", "no"): "Not eligible for free or reduced-price meals",
    ("grade_band", "pre_k_2"): "Pre-kindergarten to grade 2", ("grade_band", "3_5"): "Grades 3 to 5",
    ("grade_band", "6_8"): "Grades 6 to 8", ("grade_band", "9_12"): "Grades 9 to 12",
}  # fmt: skip
VERDICTS = {Verdict.PASS: "Passed", Verdict.FAIL: "Failed", Verdict.CANNOT_TELL: "Cannot tell"}
WHY = {
    TOO_FEW: "too few students in need to judge", NOBODY_SUGGESTED: "no student in need was suggested a support",
    NOTHING_RECORDED: "not on record for anybody",
}  # fmt: skip
SUMMARIES = {
    Verdict.PASS: "Every group that the policy counts was judged, and none of them is suggested support "
                  "less often, or missed more often, than the policy allows.",
    Verdict.FAIL: "At least one group of students in need is suggested support less often, or missed more often, than "
                  "the policy allows, by more than chance explains. This version may not serve.",
    Verdict.CANNOT_TELL: "No group that the policy counts was found to be treated unfairly, but for at least one "
                         "there is too little to say that it is treated fairly. It may serve only with a "
                         "reviewer's written reason.",
}  # fmt: skip
_COLORS = {Verdict.PASS: "#0072B2", Verdict.CANNOT_TELL: "#7A7A7A", Verdict.FAIL: "#D55E00"}
"""Blue, grey and vermillion, told apart with any colour vision (Okabe & Ito 2008); the shape says the same again."""
_SHAPES = {Verdict.PASS: "circle", Verdict.CANNOT_TELL: "diamond", Verdict.FAIL: "square"}
_WIDEST_RATIO = 2.0


@dataclass(frozen=True)
class Signature:
    """A reviewer's decision as the report prints it: `decision` is "signed" or "refused"."""

    at: datetime
    name: str
    decision: str
    reason: str


def write_report(audit: Audit, home: Path, signatures: Sequence[Signature] = ()) -> Path:
    """Write audit.json, chart.svg and report.html, each whole or not at all; the report's file."""
    folder = home / "audits" / f"v{audit.version}"
    chart = _chart(audit)
    write_whole(folder / "chart.svg", chart)
    report = write_whole(folder / "report.html", _page(audit, chart, signatures))
    write_whole(folder / "audit.json", audit.to_json())
    return report


def read_audit(home: Path, version: int) -> Audit | None:
    """The audit of a model version; None where it was not audited.

    Raises:
        AuditError: the file is there and cannot be read as an audit.
    """
    file = home / "audits" / f"v{version}" / "audit.json"
    try:
        text = file.read_text(encoding="utf-8")
    except FileNotFoundError:
        return None
    return Audit.from_json(text)


def group_label(group: Group) -> str:
    """A group in plain words."""
    if group.value == NOT_RECORDED:
        return "Not recorded"
    if group.crossed:
        pairs = zip(group.attribute.split(CROSS), group.value.split(CROSS), strict=True)
        return ", ".join(VALUES.get(pair, pair[1]) for pair in pairs).replace(" students,", ",")
    return VALUES.get((group.attribute, group.value), group.value)


def _attribute_label(attribute: str) -> str:
    first, *others = (ATTRIBUTES.get(part, part) for part in attribute.split(CROSS))
    return " and ".join([first, *(other.lower() for other in others)])


def _page(audit: Audit, chart: str, signatures: Sequence[Signature]) -> str:
    loader = jinja2.FileSystemLoader(Path(__file__).with_name("templates"))
    pages = jinja2.Environment(loader=loader, autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True,
                               lstrip_blocks=True)  # fmt: skip
    attributes = dict.fromkeys(group.attribute for group in audit.groups)
    tables = [(_attribute_label(name), name, [group for group in audit.groups if group.attribute == name])
              for name in attributes]  # fmt: skip
    inline = re.sub(r' xmlns(:\w+)?="[^"]*"', "", chart)
    return pages.get_template("report.html").render(
        audit=audit, chart=Markup(inline), tables=tables, signatures=signatures, summary=SUMMARIES[audit.verdict],
        verdicts=VERDICTS, why=WHY, label=group_label, policy=audit.policy, percent=_percent, number=_number,
        supports=sorted({name for group in audit.groups for name in group.supports}),
        failed=_of(audit, Verdict.FAIL, False) + _of(audit, Verdict.FAIL, True),
        beyond=[group_label(group) for group in audit.groups
                if group.value != NOT_RECORDED and not group.judged and group.verdict is Verdict.FAIL],
        unsure=_of(audit, Verdict.CANNOT_TELL, False), unsure_crossed=_of(audit, Verdict.CANNOT_TELL, True),
    )  # fmt: skip


def _of(audit: Audit, verdict: Verdict, crossed: bool) -> list[str]:
    return [group_label(group) if group.value != NOT_RECORDED else _attribute_label(group.attribute)
            for group in audit.groups
            if group.judged and group.verdict is verdict and group.crossed is crossed]  # fmt: skip


def _percent(share: float | None) -> str:
    return "not shown" if share is None else f"{share:.0%}"


def _number(value: float | None, form: str = ",") -> str:
    return "not shown" if value is None else format(value, form)


def _chart(audit: Audit) -> str:
    """The suggestion ratio of each group that may be shown, as dots with intervals: SVG."""
    import altair as alt
    import vl_convert

    rows = [_dot(group) for group in audit.groups if group.ratio.point is not None and not group.crossed
            and group.value != NOT_RECORDED]  # fmt: skip
    data = alt.InlineData(values=rows or [{"group": "No group may be shown", "verdict": VERDICTS[audit.verdict]}])
    order = [str(row["group"]) for row in rows]
    x = alt.X("point:Q", title="Suggested a support, against all others in need (1: as often)",
              scale=alt.Scale(domain=[0, _WIDEST_RATIO], clamp=True))  # fmt: skip
    y = alt.Y("group:N", title=None, sort=order, axis=alt.Axis(labelLimit=340))
    names = [VERDICTS[verdict] for verdict in Verdict]
    color = alt.Color("verdict:N", title=None, scale=alt.Scale(domain=names, range=[_COLORS[v] for v in Verdict]))
    shape = alt.Shape("verdict:N", title=None, scale=alt.Scale(domain=names, range=[_SHAPES[v] for v in Verdict]))
    base = alt.Chart(data)
    lines = base.mark_rule(strokeWidth=2.5).encode(x=alt.X("lower:Q"), x2="upper:Q", y=y, color=color)
    dots = base.mark_point(filled=True, size=90, opacity=1).encode(x=x, y=y, color=color, shape=shape)
    marks = alt.InlineData(values=[{"at": audit.policy["least_suggestion_ratio"]}, {"at": 1.0}])
    rules = alt.Chart(marks).mark_rule(strokeDash=[4, 3], color="#444").encode(x="at:Q")
    size = {"width": 420, "height": alt.Step(24), "padding": 40, "background": "white"}
    chart = (rules + lines + dots).properties(**size).configure_axis(
        labelFontSize=12, titleFontSize=12, labelColor="#222", titleColor="#222").configure_legend(
        labelFontSize=12, orient="bottom").configure_view(stroke=None)  # fmt: skip
    svg: str = vl_convert.vegalite_to_svg(chart.to_json())
    return svg


def _dot(group: Group) -> dict[str, Any]:
    upper = group.ratio.upper
    return {
        "group": group_label(group),
        "verdict": VERDICTS[group.ratio.verdict], "point": group.ratio.point, "lower": group.ratio.lower,
        "upper": _WIDEST_RATIO if upper is None else min(upper, _WIDEST_RATIO),
    }  # fmt: skip
