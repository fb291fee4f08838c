"""Early alerts: the rules of `alerts.toml`, each with the source of its threshold.

An alert needs only what the viewer may see: where a category is out of scope its feature is
missing, and a rule over a missing feature raises nothing.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

import pandas as pd

from features.catalog import FEATURES_BY_NAME
from features.declarations import COMPARISONS, Declaration, read_declarations
from features.phrases import Template
from records.canonical.schema import Category
from records.system.code_digest import code_digest

ALERTS_FILE = Path(__file__).parent / "alerts.toml"
SEVERITIES = (3, 2, 1)
"""Act now, look soon, keep an eye on."""
_KEYS = ("severity", "features", "when", "headline", "source")


@dataclass(frozen=True)
class AlertRule:
    """`features` are those it reads; `condition` is evaluated only where all of them are known."""

    name: str
    severity: int
    features: tuple[str, ...]
    condition: Callable[[Mapping[str, float]], bool]
    headline: Callable[[Mapping[str, float]], str]
    source: str

    @property
    def category(self) -> Category:
        """The data category that an agreement must grant: that of the first feature."""
        return FEATURES_BY_NAME[self.features[0]].category


@dataclass(frozen=True)
class Alert:
    """`severity` is 3 (act now), 2 (look soon) or 1 (keep an eye on)."""

    student_id: str
    rule: str
    severity: int
    headline: str
    detail: str
    source: str
    category: Category


@dataclass(frozen=True)
class Comparison:
    """One feature compared with a number or with another feature."""

    feature: str
    comparison: str
    limit: float | str

    def __call__(self, values: Mapping[str, float]) -> bool:
        limit = values[self.limit] if isinstance(self.limit, str) else self.limit
        return COMPARISONS[self.comparison](values[self.feature], limit)


@dataclass(frozen=True)
class Condition:
    """Comparisons that must all hold."""

    comparisons: tuple[Comparison, ...]

    def __call__(self, values: Mapping[str, float]) -> bool:
        return all(comparison(values) for comparison in self.comparisons)


def read_alert_rules(file: Path) -> tuple[AlertRule, ...]:
    """The rules that a file declares, in its order.

    Raises:
        DeclarationError: naming the file, the rule and the key that is missing, unknown or wrong,
            or a rule that stands after a less severe one.
    """
    rules: list[AlertRule] = []
    for declaration in read_declarations(file, _KEYS):
        rule = _rule(declaration)
        if rules and rule.severity > rules[-1].severity:
            raise declaration.error(
                "severity", f"is above that of {rules[-1].name}; the most severe rules come first"
            )
        rules.append(rule)
    return tuple(rules)


def raise_alerts(features: pd.DataFrame) -> list[Alert]:
    """Every alert that the features raise: the most severe first, in the order of the rules.

    Args:
        features: as `build_features` returns them: float64 columns by feature name, indexed by
            student.
    """
    alerts: list[Alert] = []
    for rule in ALERT_RULES:
        known = features[list(rule.features)].dropna()
        for student, row in zip(known.index, known.to_dict("records"), strict=True):
            values = {str(name): float(value) for name, value in row.items()}
            if rule.condition(values):
                alerts.append(
                    Alert(
                        student_id=str(student),
                        rule=rule.name,
                        severity=rule.severity,
                        headline=rule.headline(values),
                        detail=" · ".join(
                            FEATURES_BY_NAME[name].phrase(values[name]) for name in rule.features
                        ),
                        source=rule.source,
                        category=rule.category,
                    )
                )
    return alerts


def alert_rules_hash() -> str:
    """The SHA-256 of all alert rules: their data, and the code that applies them.

    The fairness policy says by alerts who is in need, so a signed audit holds only for these rules.
    """
    parts = [[asdict(rule) for rule in ALERT_RULES], code_digest([Path(__file__)])]
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()


def _rule(declaration: Declaration) -> AlertRule:
    features = declaration.texts("features")
    for name in features:
        if name not in FEATURES_BY_NAME:
            raise declaration.error("features", f"names {name!r}; catalog.toml has no such feature")
    headline = Template(declaration.text("headline"))
    if problem := headline.problem(features):
        raise declaration.error("headline", problem)
    return AlertRule(
        name=declaration.name,
        severity=int(declaration.choice("severity", SEVERITIES)),
        features=features,
        condition=_condition(declaration, features),
        headline=headline,
        source=declaration.text("source"),
    )


def _condition(declaration: Declaration, features: tuple[str, ...]) -> Condition:
    comparisons = []
    for feature, limits in declaration.table("when").items():
        key = f"when.{feature}"
        if feature not in features:
            raise declaration.error(key, f"is not among its features: {', '.join(features)}")
        if not isinstance(limits, dict) or not limits:
            raise declaration.error(key, f"needs a comparison: {', '.join(COMPARISONS)}")
        for comparison, limit in limits.items():
            if comparison not in COMPARISONS:
                raise declaration.error(
                    f"{key}.{comparison}",
                    f"is not known; the comparisons are {', '.join(COMPARISONS)}",
                )
            if limit not in features:
                limit = declaration.limit(f"{key}.{comparison}", limit)
            comparisons.append(Comparison(feature, comparison, limit))
    return Condition(tuple(comparisons))


ALERT_RULES: tuple[AlertRule, ...] = read_alert_rules(ALERTS_FILE)
"""In the order in which they are read: the first that holds is a student's headline."""
