"""Reading the data files of this folder (`catalog.toml`, `alerts.toml`), checked key by key.

Every error names the file, the table and the key, what is there and what would be right. A key
that is unknown is refused, so that a misspelling cannot quietly leave a default in force.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from operator import eq, ge, gt, le, lt
from pathlib import Path
from typing import Any

from records.system.errors import UserError
from records.system.files import parse_toml

COMPARISONS: Mapping[str, Callable[[float, float], bool]] = {
    "above": gt,
    "at_least": ge,
    "below": lt,
    "at_most": le,
    "equals": eq,
}
"""The words with which a data file compares a number with a limit."""


class DeclarationError(UserError, ValueError):
    """A data file that cannot be used; the message names the file, the table and the key."""


@dataclass(frozen=True)
class Declaration:
    """One table of a data file, whose methods return the value of a key.

    Each raises `DeclarationError` where the value is missing or wrong.
    """

    file: Path
    name: str
    values: Mapping[str, Any]

    def error(self, key: str, problem: str) -> DeclarationError:
        """The error to raise about a key of this table."""
        return DeclarationError(f"{self.file}: [{self.name}] {key} {problem}")

    def text(self, key: str) -> str:
        """A text that is not empty."""
        value = self._required(key)
        if not isinstance(value, str) or not value.strip():
            raise self.error(key, f"is {value!r}; it must be a text")
        return value

    def number(self, key: str) -> float:
        """A number, whole or not."""
        return self.limit(key, self._required(key))

    def limit(self, key: str, value: object) -> float:
        """The value of a key within this table, as a number."""
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise self.error(key, f"is {value!r}; it must be a number")
        return float(value)

    def optional_number(self, key: str) -> float | None:
        """A number, or None where the key is absent."""
        return self.number(key) if key in self.values else None

    def optional_text(self, key: str) -> str | None:
        """A text, or None where the key is absent."""
        return self.text(key) if key in self.values else None

    def flag(self, key: str, default: bool) -> bool:
        """True or false; `default` where the key is absent."""
        value = self.values.get(key, default)
        if not isinstance(value, bool):
            raise self.error(key, f"is {value!r}; it must be true or false")
        return value

    def choice(self, key: str, choices: Collection[Any]) -> Any:
        """One of `choices`."""
        value = self._required(key)
        if value not in choices:
            allowed = ", ".join(str(choice) for choice in choices)
            raise self.error(key, f"is {value!r}; it must be one of {allowed}")
        return value

    def texts(self, key: str) -> tuple[str, ...]:
        """A list of at least one text."""
        value = self._required(key)
        if not (isinstance(value, list) and value and all(isinstance(item, str) for item in value)):
            raise self.error(key, f"is {value!r}; it must be a list of texts")
        return tuple(value)

    def table(self, key: str) -> Mapping[str, Any]:
        """A table that is not empty."""
        value = self._required(key)
        if not isinstance(value, dict) or not value:
            raise self.error(key, f"is {value!r}; it must be a table")
        return value

    def _required(self, key: str) -> Any:
        if key not in self.values:
            raise self.error(key, "is missing")
        return self.values[key]


def read_declarations(
    file: Path, keys: Collection[str], content: bytes | None = None
) -> tuple[Declaration, ...]:
    """The tables of a TOML file, in their order.

    Args:
        keys: the keys that a table may have.
        content: the bytes of the file, where they have been read already.

    Raises:
        DeclarationError: the file is not TOML, something in it is not a table, or a key is unknown.
    """
    read = file.read_bytes() if content is None else content
    declarations = []
    for name, values in parse_toml(file, read, DeclarationError).items():
        if not isinstance(values, dict):
            raise DeclarationError(f"{file}: {name} is {values!r}; it must be a table: [{name}]")
        declaration = Declaration(file, name, values)
        for key in values:
            if key not in keys:
                raise declaration.error(key, f"is not known; the keys are {', '.join(keys)}")
        declarations.append(declaration)
    return tuple(declarations)
