"""The words in which an audit is read: groups, verdicts and findings in plain English."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from fairness.checks.checks import CHECKS, INTERSECTION_SEPARATOR
from fairness.gate.findings import NOTHING_RECORDED, TOO_FEW, Finding
from fairness.gate.gate import Verdict
from fairness.population.comparisons import NOT_RECORDED

ATTRIBUTE_LABELS = {
    "sex": "Sex",
    "race_ethnicity": "Race or ethnicity",
    "english_learner": "Learning English",
    "special_education": "Special education",
    "unstable_housing": "Housing",
    "meal_eligible": "School meals",
    "grade_band": "Grade",
    "school": "School",
}
GROUP_LABELS = {
    ("sex", "female"): "Girls",
    ("sex", "male"): "Boys",
    ("sex", "another"): "Students of another sex",
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
    ("meal_eligible", "yes"): "Students eligible for free or reduced-price meals",
    ("meal_eligible", "no"): "Students not eligible for free or reduced-price meals",
    ("grade_band", "pre_k_2"): "Pre-kindergarten to grade 2",
    ("grade_band", "3_5"): "Grades 3 to 5",
    ("grade_band", "6_8"): "Grades 6 to 8",
    ("grade_band", "9_12"): "Grades 9 to 12",
}
VERDICT_LABELS = {
    Verdict.PASS: "Passed",
    Verdict.FAIL: "Failed",
    Verdict.CANNOT_TELL: "Cannot tell",
}
REASON_LABELS = {
    TOO_FEW: "too few students to judge",
    NOTHING_RECORDED: "not on record for anybody",
}
WHY_BRIEFLY = {TOO_FEW: "too few", NOTHING_RECORDED: "not on record"}
"""For a narrow column."""
VERDICT_SUMMARIES = {
    Verdict.PASS: (
        "Every check that the policy counts passed for every group: none is helped less than the"
        " policy allows, and for none is it left open."
    ),
    Verdict.FAIL: (
        "At least one group of students is helped less than the policy allows, by more than chance "
        "explains. This version may not serve."
    ),
    Verdict.CANNOT_TELL: (
        "Nothing was found that blocks this version, but there are questions that the figures alone"
        " do not settle. It may serve only with a reviewer's written reason."
    ),
}
METHOD_LABELS: Mapping[str, str] = {
    "as it is": "As it is",
    "family removal": "Without a family of inputs",
    "reductions": "A rule that learned to be even",
    "constrained matching": "Places with floors",
}
MITIGATION_INTRO = (
    "Nothing here is applied by itself: each option was worked out on a copy, and a person chooses."
    " Benefit captured is the part that is reached of all that open supports are expected to bring"
    " students in need who wait, as this version expects it."
)
PLACES_NOTE = (
    "\u201cPlaces with floors\u201d counts places, and its largest gap is that of students who"
    " wait. The other options count suggestions, and their largest gap is that of all students in"
    " need. So a gap of one kind cannot be compared with one of the other."
)
DOT_PLOT_ALT = (
    "How much more often each group is left out, with intervals; the numbers are in the tables"
)
TRADEOFF_CHART_ALT = (
    "Benefit captured against the largest gap, a mark for each option; the numbers are in the table"
)
LIMITATIONS = (
    "Partners see less than the whole record and may get fewer suggestions than counted here.",
    (
        "A need that leaves no trace in attendance or marks is not counted as need. Where absences"
        " of a group are not written down, its need is not seen either: the check of absences on"
        " record looks for that, and can only ask."
    ),
    "Being suggested a support is not being helped by it.",
    (
        "A gap in the records can be a gap in life: groups can differ in how often they are absent"
        " for reasons that no check here knows."
    ),
    (
        "Supports open to a grade differ, and so do suggestions: a gap between grades can be a gap"
        " in what is offered."
    ),
)
"""What an audit cannot show."""


def method(policy: Mapping[str, Any]) -> tuple[str, ...]:
    """How an audit is done, in a few paragraphs."""
    fewest = policy["smallest_cell"]
    return (
        (
            "The model was asked about every student enrolled, with all records that it may ever"
            " see and no sensitive fact. Supports that are not open to a student were left out as"
            " they are in use. Need comes from the early alerts, not from the model. The shares of"
            " groups are fairlearn's. Where students are compared within equal need or equal"
            " records, the groups are weighted as Mantel and Haenszel do. Errors come from drawing"
            " whole cohorts (the students of one grade in one school) a thousand times, and are"
            " never smaller than those of independent students. Intervals hold with a chance of"
            f" {format_rate(policy['confidence'])} each."
        ),
        (
            "A check passes where the whole interval lies within the limit. It fails where the"
            " figure lies beyond the threshold and chance does not explain it, counting how many"
            " figures were compared (Holm's procedure); of how often something was got, that is"
            " asked of the difference of the shares (Mantel and Haenszel's test). Anything else is"
            " \u201ccannot tell\u201d, which never counts as a pass."
        ),
        (
            "What is shown was tested as an attacker would: with all figures of this report"
            f" together, no number of students below {fewest} can be narrowed down to fewer than"
            f" {fewest} possibilities."
        ),
    )


def attribute_label(attribute: str) -> str:
    """What is compared by, in plain words."""
    first, *others = (
        ATTRIBUTE_LABELS.get(part, part) for part in attribute.split(INTERSECTION_SEPARATOR)
    )
    return " and ".join([first, *(other.lower() for other in others)])


def value_label(attribute: str, value: str) -> str:
    """A group in plain words."""
    if value == NOT_RECORDED:
        return "Not recorded"
    if INTERSECTION_SEPARATOR in attribute:
        pairs = zip(
            attribute.split(INTERSECTION_SEPARATOR),
            value.split(INTERSECTION_SEPARATOR),
            strict=True,
        )
        first, *others = (GROUP_LABELS.get(pair, pair[1]) for pair in pairs)
        return ", ".join([first.removesuffix(" students"), *(_within(other) for other in others)])
    return GROUP_LABELS.get((attribute, value), value)


def check_label(check: str, item: str = "") -> str:
    """A check's title, with what it is about where it asks about several things."""
    title = CHECKS[check].title
    return f"{title}: {item_label(item)}" if item else title


def item_label(item: str) -> str:
    """What one of several questions of a check is about, such as a support."""
    return item.replace("_", " ")


def sentences(findings: Sequence[Finding]) -> list[str]:
    """Each finding in a sentence or two, with the figures that may be shown; those of which none
    may be, together.
    """
    with_figures = [sentence(finding) for finding in findings if finding.gap is not None]
    groups_by_reason: dict[str, list[str]] = {}
    for group, reason in (_without_figures(finding) for finding in findings if finding.gap is None):
        groups_by_reason.setdefault(reason, []).append(group)
    without = (f"{'; '.join(groups)}: {reason}" for reason, groups in groups_by_reason.items())
    return [*with_figures, *without]


def sentence(finding: Finding) -> str:
    """A finding in a sentence or two, with the figures that may be shown."""
    group = value_label(finding.attribute, finding.value)
    if finding.gap is None:
        return ": ".join(_without_figures(finding))
    check = CHECKS[finding.check]
    text = f"{group}: {format_rate(finding.rate, check.unit)} {check.rate_label}"
    if check.contrast != "mean":
        text += f", all others {format_rate(finding.others_rate, check.unit)}"
    compared = "Among those alike in need or records, " if check.stratified else ""
    return f"{text}. {compared}{format_gap(finding)}."


def _without_figures(finding: Finding) -> tuple[str, str]:
    if finding.why == NOTHING_RECORDED:
        return (
            attribute_label(finding.attribute),
            "not on record for anybody, so no group can be judged.",
        )
    why = REASON_LABELS.get(
        finding.why,
        "the figures are not shown, since a small number of students would follow from them",
    )
    return value_label(finding.attribute, finding.value), f"{why}."


def format_gap(finding: Finding) -> str:
    """The gap and its interval in words."""
    check = CHECKS[finding.check]
    low, point, high = finding.lower, finding.gap, finding.upper
    if point is None:
        return "not shown"
    if check.contrast == "ratio":
        return f"{_ratio(point)} times as often ({_ratio(low)} to {_ratio(high)})"
    if check.unit == "points":
        return f"{point:+.1f} progress points ({_signed(low)} to {_signed(high)})"
    return f"{format_points(point)} points ({_points(low)} to {_points(high)})"


def format_rate(rate: float | None, unit: str = "share") -> str:
    """A share or a number of progress points, or that it is not shown."""
    if rate is None:
        return "not shown"
    return f"{rate:.0%}" if unit == "share" else f"{rate:+.1f} points"


def format_gap_change(check: str, change: float | None) -> str:
    """By how much a gap has changed."""
    if change is None:
        return "not known"
    comparison, unit = CHECKS[check].contrast, CHECKS[check].unit
    if comparison == "ratio":
        return f"{change + 0.0:+.2f} times"
    return (
        f"{change + 0.0:+.1f} progress points"
        if unit == "points"
        else f"{format_points(change)} points"
    )


def format_worst_gap(share: float | None) -> str:
    """The largest gap of an option, or that it is not shown."""
    return "not shown" if share is None else f"{format_points(share)} points"


def setting_label(setting: str) -> str:
    """What is chosen on a trade curve."""
    if setting.startswith("multiplier "):
        return f"evenness weighs {setting.removeprefix('multiplier ')}"
    return setting.replace("of parity", "of an even share")


def _within(label: str) -> str:
    """A group's label within a sentence."""
    return (
        label[:1].lower() + label[1:] if label.startswith(("Students ", "Girls", "Boys")) else label
    )


def format_points(share: float) -> str:
    """A difference of two shares in points of a hundred."""
    return f"{round(100 * share) + 0:+}"


def capital(text: str) -> str:
    """The text with its first letter a capital and every other as it is."""
    return text[:1].upper() + text[1:]


def _ratio(value: float | None) -> str:
    return "no limit" if value is None else f"{value:.2f}"


def _signed(value: float | None) -> str:
    return "no limit" if value is None else f"{value:+.1f}"


def _points(value: float | None) -> str:
    return "no limit" if value is None else format_points(value)
