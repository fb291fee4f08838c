"""Nicknames of first names, so that Bob on a partner's list may be Robert on the district's.

A pair in `nicknames.csv` says only that one child may go by both names; it never says that two
children are one. A name that is not there is compared letter by letter like any other.
"""

from __future__ import annotations

import csv
from collections import defaultdict
from collections.abc import Mapping
from pathlib import Path

_FILE = Path(__file__).with_name("nicknames.csv")


def possible_full_names(name: str) -> frozenset[str]:
    """The name itself and every full name that it may be short for.

    Args:
        name: in lower case without accents.
    """
    return _FULL_NAMES.get(name, frozenset()) | {name}


def _read_short_forms() -> dict[str, str]:
    lines = _FILE.read_text(encoding="utf-8").splitlines()
    rows = csv.DictReader(line for line in lines if not line.startswith("#"))
    return {row["full_name"]: row["short_forms"] for row in rows}


def _invert(short_forms: Mapping[str, str]) -> dict[str, frozenset[str]]:
    """The full names that each short form may stand for."""
    full_names: defaultdict[str, set[str]] = defaultdict(set)
    for full_name, forms in short_forms.items():
        for form in forms.split():
            full_names[form].add(full_name)
    return {form: frozenset(names) for form, names in full_names.items()}


SHORT_FORMS: Mapping[str, str] = _read_short_forms()
"""Full names with the short forms and spellings that stand for them, separated by spaces."""

_FULL_NAMES = _invert(SHORT_FORMS)
