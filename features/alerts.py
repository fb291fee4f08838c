"""Early alerts: the rules of `alerts.toml`, each with the source of its threshold.

A district may put its own file of the same form into its home: then that is the whole list. A file
with a mistake is refused, never half used and never replaced by ours.

An alert needs only what the viewer may see: where a category is out of scope its feature is
missing, and a rule over a missing feature raises nothing.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from functools import cache, cached_property, lru_cache
from pathlib import Path

import pandas as pd

from features.catalog import ALERT_FEATURES, CATALOG, FEATURES_BY_NAME, Feature, feature_for_alerts
from features.declarations import COMPARISONS, Declaration, DeclarationError, read_declarations
from features.phrases import Template
from records.canonical.columns import Students
from records.canonical.schema import Category
from records.system.code_digest import code_digest
from records.system.files import district_file

ALERTS_FILE = Path(__file__).parent / "alerts.toml"
SEVERITIES = (3, 2, 1)
"""Act now, look soon, keep an eye on."""
GRADES: Mapping[str, int] = {"PK": -1, "K": 0} | {str(grade): grade for grade in range(1, 13)}
"""The grades that a rule may name, as the records count them."""
VERSION_LENGTH = 12
"""Characters of a digest that name a version of the rules."""
_INTERPRETERS = ("declarations.py", "phrases.py")
"""What else decides how a rule is read."""
_KEYS = ("severity", "features", "grades", "when", "headline", "source")
_SHARE = "share of"
"""How the unit of a feature begins that is a share, 0 to 1."""


@dataclass(frozen=True)
class AlertRule:
    """`features` are those it reads; `condition` is evaluated only where all of them are known.

    `grades` are the grade levels it speaks of; None where it speaks of all.
    """

    name: str
    severity: int
    features: tuple[str, ...]
    condition: Condition
    headline: Template
    source: str
    grades: tuple[int, ...] | None = None

    @property
    def category(self) -> Category:
        """The data category under which the alert is counted: that of the first feature."""
        return _feature(self.features[0]).category

    @property
    def categories(self) -> frozenset[Category]:
        """The data categories that an agreement must grant: those of all features."""
        return frozenset(_feature(name).category for name in self.features)


@dataclass(frozen=True)
class Alert:
    """`severity` is 3 (act now), 2 (look soon) or 1 (keep an eye on).

    `category` is that of the rule; `categories` are all that it rests on.
    """

    student_id: str
    rule: str
    severity: int
    headline: str
    detail: str
    source: str
    category: Category
    categories: frozenset[Category]


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


@dataclass(frozen=True)
class AlertRules:
    """All rules of one file, in its order: the first that holds is a student's headline.

    Attributes:
        file: where they stand.
        content: its bytes.
    """

    file: Path
    rules: tuple[AlertRule, ...]
    content: bytes = field(repr=False)

    @classmethod
    @cache
    def declared(cls) -> AlertRules:
        """The rules that come with Handrail."""
        return cls.read(ALERTS_FILE)

    @classmethod
    def of(cls, home: Path) -> AlertRules:
        """The district's own rules: `alerts.toml` in `home`; else those of Handrail.

        Raises:
            DeclarationError: as `read`.
        """
        file = district_file(home, ALERTS_FILE)
        return cls.declared() if file == ALERTS_FILE else cls.read(file)

    @classmethod
    def read(cls, file: Path) -> AlertRules:
        """The rules in a file, which are parsed again only when its content has changed.

        Raises:
            DeclarationError: it cannot be read, is not TOML or holds no rule; a key is missing,
                unknown or wrong; or a rule stands after a less severe one. The message names the
                file, the rule and the key.
        """
        try:
            content = file.read_bytes()
        except OSError as error:
            raise DeclarationError(f"{file}: cannot be read: {error.strerror}") from None
        return _parsed(file, content)

    @property
    def is_built_in(self) -> bool:
        """Whether these are the rules that come with Handrail, word for word."""
        return self.content == ALERTS_FILE.read_bytes()

    @cached_property
    def version(self) -> str:
        """The name of this version: the first characters of the SHA-256 of the file."""
        return version_of(self.content)

    @cached_property
    def sha256(self) -> str:
        """The SHA-256 of what the rules say, whatever their comments, and the code that applies
        them.

        The fairness policy says by alerts who is in need, so a signed audit holds only for these
        rules.
        """
        files = [Path(__file__), *(Path(__file__).with_name(name) for name in _INTERPRETERS)]
        parts = [[asdict(rule) for rule in self.rules], code_digest(files)]
        return hashlib.sha256(json.dumps(parts, sort_keys=True, default=str).encode()).hexdigest()

    @cached_property
    def extra_features(self) -> tuple[Feature, ...]:
        """The features that the rules read beside the columns of the feature table."""
        names = dict.fromkeys(name for rule in self.rules for name in rule.features)
        return tuple(_feature(name) for name in names if name not in FEATURES_BY_NAME)

    @cached_property
    def categories(self) -> frozenset[Category]:
        """What an alert may rest on, beyond the directory."""
        return frozenset().union(*(rule.categories for rule in self.rules)) - {Category.DIRECTORY}


def version_of(content: bytes) -> str:
    """The name of a version of the rules: the first characters of the SHA-256 of its text."""
    return hashlib.sha256(content).hexdigest()[:VERSION_LENGTH]


def read_alert_rules(file: Path) -> tuple[AlertRule, ...]:
    """The rules that a file declares, in its order.

    Raises:
        DeclarationError: as `AlertRules.read`.
    """
    return AlertRules.read(file).rules


def raise_alerts(features: pd.DataFrame, rules: AlertRules) -> list[Alert]:
    """Every alert that the features raise: the most severe first, in the order of the rules.

    A rule for some grades says nothing of a student whose grade is not known.

    Args:
        features: as `build_features` returns them with the rules' `extra_features`: float64 columns
            by feature name, indexed by student.
    """
    alerts: list[Alert] = []
    for rule in rules.rules:
        known = features[list(rule.features)].dropna()
        if rule.grades is not None:
            in_grades = features[Students.GRADE_LEVEL].isin(rule.grades)
            known = known[in_grades.loc[known.index]]
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
                            _feature(name).phrase(values[name]) for name in rule.features
                        ),
                        source=rule.source,
                        category=rule.category,
                        categories=rule.categories,
                    )
                )
    return alerts


@lru_cache(maxsize=16)
def _parsed(file: Path, content: bytes) -> AlertRules:
    rules: list[AlertRule] = []
    for declaration in read_declarations(file, _KEYS, content):
        rule = _rule(declaration)
        if rules and rule.severity > rules[-1].severity:
            raise declaration.error(
                "severity", f"is above that of {rules[-1].name}; the most severe rules come first"
            )
        rules.append(rule)
    if not rules:
        raise DeclarationError(
            f"{file}: holds no rule, so that no student would have an alert; at least one table"
            " such as [chronic_absence] must stand in it"
        )
    return AlertRules(file, tuple(rules), content)


def _rule(declaration: Declaration) -> AlertRule:
    features = declaration.texts("features")
    for name in features:
        if feature_for_alerts(name) is None:
            raise declaration.error("features", f"names {name!r}; {_FEATURES_IN_WORDS}")
    if len(set(features)) < len(features):
        raise declaration.error("features", "names a feature twice; each must stand once")
    headline = Template(declaration.text("headline"))
    if problem := headline.problem(features):
        raise declaration.error("headline", problem)
    if "source" not in declaration.values:
        raise declaration.error(
            "source", "is missing; it must say where the threshold comes from, in words"
        )
    return AlertRule(
        name=declaration.name,
        severity=int(declaration.choice("severity", SEVERITIES)),
        features=features,
        condition=_condition(declaration, features),
        headline=headline,
        source=declaration.text("source"),
        grades=_grades(declaration),
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
                limit = _limit(declaration, f"{key}.{comparison}", feature, limit)
            comparisons.append(Comparison(feature, comparison, limit))
    return Condition(tuple(comparisons))


def _limit(declaration: Declaration, key: str, feature: str, value: object) -> float:
    limit = declaration.limit(key, value)
    if _feature(feature).unit.startswith(_SHARE) and not -1 <= limit <= 1:
        raise declaration.error(
            key, f"is {value!r}; {feature} is a share of days, so 10% of them is written 0.10"
        )
    return limit


def _grades(declaration: Declaration) -> tuple[int, ...] | None:
    """The grade levels of a list of grades, or of a table with the first and the last one."""
    if "grades" not in declaration.values:
        return None
    value = declaration.values["grades"]
    if isinstance(value, dict):
        ends = {"from": min(GRADES.values()), "to": max(GRADES.values())}
        if not value or not value.keys() <= ends.keys():
            raise declaration.error("grades", "must have from, to or both, and nothing else")
        ends |= {end: _grade(declaration, f"grades.{end}", value[end]) for end in value}
        if ends["from"] > ends["to"]:
            raise declaration.error("grades", "ends before it begins; from must be the lower grade")
        return tuple(range(ends["from"], ends["to"] + 1))
    if not isinstance(value, list) or not value:
        raise declaration.error(
            "grades", f'is {value!r}; it must be a list such as ["K", "1"], or have from and to'
        )
    return tuple(sorted({_grade(declaration, "grades", grade) for grade in value}))


def _grade(declaration: Declaration, key: str, value: object) -> int:
    if not isinstance(value, str) or value not in GRADES:
        raise declaration.error(
            key, f"has {value!r}; the grades are {', '.join(GRADES)}, each in quotes"
        )
    return GRADES[value]


def _feature(name: str) -> Feature:
    feature = feature_for_alerts(name)
    assert feature is not None, name
    return feature


_FEATURES_IN_WORDS = (
    "catalog.toml has no such feature; there are "
    + ", ".join(feature.name for feature in (*CATALOG, *ALERT_FEATURES))
    + " and courses_below_N for any whole mark N from 1 to 100"
)
