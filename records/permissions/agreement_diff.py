"""What a newer version of an agreement changes: element by element in words, and line by line.

Both are read off the two texts alone, so that a lawyer can check them with the files in hand.
"""

from __future__ import annotations

import tomllib
from dataclasses import dataclass
from difflib import SequenceMatcher
from typing import Any, Literal

from records.permissions.agreements import ELEMENTS, Agreement

_NOT_TERMS = frozenset({"agreement_id", "version"})


@dataclass(frozen=True)
class DiffLine:
    """A line of either text, and its number in each; None where that version does not have it."""

    kind: Literal["kept", "added", "removed"]
    before: int | None
    after: int | None
    text: str


def describe_changes(before: Agreement, after: Agreement) -> list[str]:
    """Each element that differs, as a sentence, in the order in which an agreement is read."""
    old, new = tomllib.loads(before.text), tomllib.loads(after.text)
    found = [
        f"{element.says.capitalize()}: {_change(old.get(element.key), new.get(element.key))}."
        for element in ELEMENTS
        if element.key not in _NOT_TERMS and old.get(element.key) != new.get(element.key)
    ]
    return found or ["Nothing but remarks or layout."]


def diff_lines(before: str, after: str) -> list[DiffLine]:
    """Both texts as one: what was kept, and where a line changed first the old one and then the new
    one.
    """
    old, new = before.splitlines(), after.splitlines()
    lines: list[DiffLine] = []
    for kind, i, i_end, j, j_end in SequenceMatcher(a=old, b=new, autojunk=False).get_opcodes():
        if kind == "equal":
            lines += [DiffLine("kept", i + k + 1, j + k + 1, old[i + k]) for k in range(i_end - i)]
        else:
            lines += [DiffLine("removed", k + 1, None, old[k]) for k in range(i, i_end)]
            lines += [DiffLine("added", None, k + 1, new[k]) for k in range(j, j_end)]
    return lines


def _change(old: Any, new: Any) -> str:
    if isinstance(old, list) and isinstance(new, list):
        said = (
            ("now also", [one for one in new if one not in old]),
            ("no longer", [one for one in old if one not in new]),
        )
        return (
            "; ".join(f"{what} {_words(names)}" for what, names in said if names)
            or "in another order"
        )
    if old is None:
        return f"{_words(new)}, where nothing was said"
    return f"{_words(new)} instead of {_words(old)}"


def _words(value: Any) -> str:
    if isinstance(value, list):
        return ", ".join(_words(one) for one in value) or "none"
    return f'"{value}"' if isinstance(value, str) and " " in value else str(value)
