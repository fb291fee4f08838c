"""Texts with numbers to fill in, such as "absent {value:percent} of school days".

A placeholder is the name of a number, and after a colon how to write it: `{value}` rounded to a
whole number, `{value:size}` the same without its sign, `{value:tenths}` with one decimal where it
has parts ("9.5", "9"), `{value:percent}` a share as a percentage, `{value:day|days}` a number of
that kind with its noun in the singular or plural.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from features.declarations import COMPARISONS, Declaration

_TRIAL_VALUES = (-2.0, 0.0, 1.0, 3.0)


class _Number(float):
    """A number that writes itself as a placeholder asks."""

    def __format__(self, style: str) -> str:
        value = float(self)
        if style == "":
            return f"{value:.0f}"
        if style == "size":
            return f"{abs(value):.0f}"
        if style == "tenths":
            return f"{value:.1f}".removesuffix(".0")
        if style == "percent":
            return f"{100 * value:.0f}%"
        if style.count("|") == 1:
            singular, plural = style.split("|")
            number = f"{self:tenths}"
            return f"{number} {singular if number == '1' else plural}"
        raise ValueError(f"{style!r} is not a way to write a number")


@dataclass(frozen=True)
class Template:
    """A text with placeholders for numbers by name."""

    text: str

    def __call__(self, values: Mapping[str, float]) -> str:
        return self.text.format_map({name: _Number(value) for name, value in values.items()})

    def problem(self, names: tuple[str, ...]) -> str:
        """What keeps the text from being filled in with these numbers; empty where nothing does."""
        for value in _TRIAL_VALUES:
            try:
                self(dict.fromkeys(names, value))
            except (ValueError, KeyError, IndexError, AttributeError) as error:
                return f"cannot be filled in with {', '.join(names)}: {error}"
        return ""


@dataclass(frozen=True)
class PhraseCase:
    """A phrase for the values of which a comparison with a limit holds."""

    comparison: str
    limit: float
    template: Template


@dataclass(frozen=True)
class Phrase:
    """A value in plain words: the first case whose comparison holds, else `otherwise`."""

    cases: tuple[PhraseCase, ...]
    otherwise: Template

    def __call__(self, value: float) -> str:
        for case in self.cases:
            if COMPARISONS[case.comparison](value, case.limit):
                return case.template({"value": value})
        return self.otherwise({"value": value})


def read_phrase(declaration: Declaration, key: str) -> Phrase:
    """The phrase under a key: a text, or a list of cases of which the last has no condition.

    Raises:
        DeclarationError: it is neither, a condition is unknown, or a placeholder is.
    """
    value = declaration.values.get(key)
    if not isinstance(value, list):
        return Phrase((), _template(declaration, key, declaration.text(key)))
    if not value or not all(isinstance(item, dict) for item in value):
        raise declaration.error(key, "must be a text or a list of tables with a text each")
    *conditional, last = value
    if set(last) != {"text"}:
        raise declaration.error(key, "must end with a table that has a text and no condition")
    cases = []
    for item in conditional:
        limits = [name for name in item if name != "text"]
        if "text" not in item or len(limits) != 1 or limits[0] not in COMPARISONS:
            raise declaration.error(
                key, f"holds {item}; it must be a text with one of {', '.join(COMPARISONS)}"
            )
        limit = declaration.limit(f"{key}.{limits[0]}", item[limits[0]])
        cases.append(PhraseCase(limits[0], limit, _template(declaration, key, item["text"])))
    return Phrase(tuple(cases), _template(declaration, key, last["text"]))


def _template(declaration: Declaration, key: str, text: object) -> Template:
    if not isinstance(text, str):
        raise declaration.error(key, f"holds {text!r}; it must be a text")
    template = Template(text)
    if problem := template.problem(("value",)):
        raise declaration.error(key, problem)
    return template
