"""The catalog of features, as `catalog.toml` declares them.

Sensitive facts (race, sex, language, disability, housing, meals) are never features. Discipline is
no model input unless a district opts in. A new feature is computed in the module of its family and
declared in `catalog.toml`. Some features are for alert rules alone: no model is bound to them.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from features.declarations import read_declarations
from features.phrases import Phrase, Template, read_phrase
from records.canonical.schema import Category

CATALOG_FILE = Path(__file__).parent / "catalog.toml"
_KEYS = (
    "family",
    "category",
    "unit",
    "description",
    "phrase",
    "default",
    "recorded_in",
    "model_input",
    "informative",
    "alerts_only",
)
_COURSES_BELOW = re.compile(r"courses_below_([1-9][0-9]?|100)")


@dataclass(frozen=True)
class Feature:
    """One number about one student on one day.

    `default` is its value where the category may be seen and nothing is recorded, once the table
    `recorded_in` has records of anybody: None where that is unknown. `phrase` puts a value into
    words that complete "because the record shows: ..."; `tells` is False where those words would
    tell a reader nothing about a student. What is `alerts_only` is no column of the feature table.
    """

    name: str
    family: str
    category: Category
    unit: str
    phrase: Callable[[float], str]
    description: str
    default: float | None = None
    recorded_in: str | None = None
    model_input: bool = True
    tells: bool = True
    alerts_only: bool = False


def read_catalog(file: Path) -> tuple[Feature, ...]:
    """The features that a file declares, in its order.

    Raises:
        DeclarationError: naming the file, the feature and the key that is missing, unknown or
            wrong.
    """
    return tuple(
        Feature(
            name=declaration.name,
            family=declaration.text("family"),
            category=Category(declaration.choice("category", tuple(Category))),
            unit=declaration.text("unit"),
            phrase=read_phrase(declaration, "phrase"),
            description=declaration.text("description"),
            default=declaration.optional_number("default"),
            recorded_in=declaration.optional_text("recorded_in"),
            model_input=declaration.flag("model_input", True),
            tells=declaration.flag("informative", True),
            alerts_only=declaration.flag("alerts_only", False),
        )
        for declaration in read_declarations(file, _KEYS)
    )


_DECLARED = read_catalog(CATALOG_FILE)
CATALOG: tuple[Feature, ...] = tuple(f for f in _DECLARED if not f.alerts_only)
"""The columns of the feature table, in their order."""
FEATURES_BY_NAME = {feature.name: feature for feature in CATALOG}
ALERT_FEATURES: tuple[Feature, ...] = tuple(f for f in _DECLARED if f.alerts_only)
"""Those that alert rules alone may read, but for `courses_below_N`."""
_ALERT_FEATURES_BY_NAME = {feature.name: feature for feature in ALERT_FEATURES}


def feature_for_alerts(name: str) -> Feature | None:
    """The feature that an alert rule may read by this name; None where there is none.

    >>> feature = feature_for_alerts("courses_below_65")
    >>> feature.phrase(2.0) if feature else ""
    '2 courses below 65'
    """
    declared = FEATURES_BY_NAME.get(name) or _ALERT_FEATURES_BY_NAME.get(name)
    mark = below_mark(name)
    return declared if declared or mark is None else _courses_below(mark)


def below_mark(name: str) -> int | None:
    """The mark N, 1 to 100, of a feature `courses_below_N`; None for any other feature.

    >>> below_mark("courses_below_65"), below_mark("courses_below_101")
    (65, None)
    """
    match = _COURSES_BELOW.fullmatch(name)
    return int(match[1]) if match else None


def _courses_below(mark: int) -> Feature:
    return Feature(
        name=f"courses_below_{mark}",
        family="grades",
        category=Category.GRADES,
        unit="courses",
        phrase=Phrase((), Template(f"{{value:course|courses}} below {mark}")),
        description=f"Courses below {mark} in the last grading period",
        model_input=False,
        alerts_only=True,
    )


def feature_names(*, model_only: bool = True, behavior: bool = False) -> list[str]:
    """Names of features in catalog order.

    Args:
        model_only: only those that a model reads.
        behavior: count discipline among these, which a district must opt in to.
    """
    opted_in = {Category.BEHAVIOR} if behavior else set()
    return [f.name for f in CATALOG if not model_only or f.model_input or f.category in opted_in]


def catalog_hash() -> str:
    """A digest of what the features mean: a model is bound to the catalog it was trained on."""
    lines = [
        f"{f.name}|{f.family}|{f.category}|{f.unit}|{f.description}|{f.default}|{f.model_input}"
        for f in CATALOG
    ]
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()
