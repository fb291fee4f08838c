"""The catalog of features, as `catalog.toml` declares them.

Sensitive facts (race, sex, language, disability, housing, meals) are never features. Discipline is
no model input unless a district opts in. A new feature is computed in the module of its family and
declared in `catalog.toml`.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from features.declarations import read_declarations
from features.phrases import read_phrase
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
)


@dataclass(frozen=True)
class Feature:
    """One number about one student on one day.

    `default` is its value where the category may be seen and nothing is recorded, once the table
    `recorded_in` has records of anybody: None where that is unknown. `phrase` puts a value into
    words that complete "because the record shows: ..."; `tells` is False where those words would
    tell a reader nothing about a student.
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
        )
        for declaration in read_declarations(file, _KEYS)
    )


CATALOG: tuple[Feature, ...] = read_catalog(CATALOG_FILE)
FEATURES_BY_NAME = {feature.name: feature for feature in CATALOG}


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
