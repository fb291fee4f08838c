"""The differences between two versions of an agreement, by element in words and line by line.

Both come from the two texts only, so that a lawyer can check them against the files.
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
    """A line of either text with its number in each; None in a version that does not have it."""

    kind: Literal["kept", "added", "removed"]
    before: int | None
    after: int | None
    text: str


def describe_changes(before: Agreement, after: Agreement) -> list[str]:
    """One sentence for each element that differs, in reading order."""
    old, new = tomllib.loads(before.text), tomllib.loads(after.text)
    terms = [element for element in ELEMENTS if element.key not in _NOT_TERMS]
    changes = [
        f"{term.description.capitalize()}: {_change(old.get(term.key), new.get(term.key))}."
        for term in terms
        if old.get(term.key) != new.get(term.key)
    ]
    return changes or ["Only comments or formatting."]


def diff_lines(before: str, after: str) -> list[DiffLine]:
    """Both texts as one list of lines; where a line changed, the old one comes first."""
    old, new = before.splitlines(), after.splitlines()
    lines: list[DiffLine] = []
    matcher = SequenceMatcher(a=old, b=new, autojunk=False)
    for operation, i, i_end, j, j_end in matcher.get_opcodes():
        if operation == "equal":
            lines += [DiffLine("kept", i + k + 1, j + k + 1, old[i + k]) for k in range(i_end - i)]
        else:
            lines += [DiffLine("removed", k + 1, None, old[k]) for k in range(i, i_end)]
            lines += [DiffLine("added", None, k + 1, new[k]) for k in range(j, j_end)]
    return lines


def _change(old: Any, new: Any) -> str:
    if isinstance(old, list) and isinstance(new, list):
        added = [item for item in new if item not in old]
        removed = [item for item in old if item not in new]
        changes = [f"now also {_words(added)}"] if added else []
        changes += [f"no longer {_words(removed)}"] if removed else []
        return "; ".join(changes) or "in another order"
    if old is None:
        return f"{_words(new)}, not stated before"
    return f"{_words(new)} instead of {_words(old)}"


def _words(value: Any) -> str:
    if isinstance(value, list):
        return ", ".join(_words(item) for item in value) or "none"
    return f'"{value}"' if isinstance(value, str) and " " in value else str(value)
