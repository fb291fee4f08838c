"""Alert rules as sentences that the district's officers read before they put them in force."""

from __future__ import annotations

from collections.abc import Mapping

from features.alerts import GRADES, AlertRule, Comparison
from features.catalog import feature_for_alerts

SEVERITIES: Mapping[int, str] = {3: "act now", 2: "look soon", 1: "keep an eye on"}
_COMPARISONS: Mapping[str, str] = {
    "above": "above",
    "at_least": "at least",
    "below": "below",
    "at_most": "at most",
    "equals": "exactly",
}


def condition(rule: AlertRule) -> str:
    """What must hold for the alert, in one sentence."""
    held = "; and ".join(_compared(comparison) for comparison in rule.condition.comparisons)
    return f"Raised for {grades(rule)}: {held}."


def grades(rule: AlertRule) -> str:
    """Of whom the rule speaks."""
    if rule.grades is None:
        return "students in any grade"
    names = {level: name for name, level in GRADES.items()}
    levels = rule.grades
    if len(levels) > 2 and levels[-1] - levels[0] == len(levels) - 1:
        return f"students in grades {names[levels[0]]} to {names[levels[-1]]}"
    listed = ", ".join(names[level] for level in levels)
    return f"students in grade{'s' if len(levels) > 1 else ''} {listed}"


def _compared(comparison: Comparison) -> str:
    return (
        f"{_described(comparison.feature)} {_COMPARISONS[comparison.comparison]}"
        f" {_limit(comparison)}"
    )


def _limit(comparison: Comparison) -> str:
    if isinstance(comparison.limit, str):
        return f"the number of {_described(comparison.limit)}"
    feature = feature_for_alerts(comparison.feature)
    if feature is not None and feature.unit.startswith("share of"):
        return f"{100 * comparison.limit:g}%"
    return f"{comparison.limit:g}"


def _described(name: str) -> str:
    feature = feature_for_alerts(name)
    text = name if feature is None else feature.description
    return text[0].lower() + text[1:]
