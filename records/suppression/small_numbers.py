"""The smallest number of students that may be published: `small_numbers.toml`, or a district's own.

Every room that publishes counts takes a `SmallNumbers` and asks it; none has a limit of its own. A
file that would allow less than ten students is refused.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from functools import cache
from pathlib import Path
from typing import Any

from records.suppression.rounding import ROUNDING_BASE, round_count
from records.system.errors import UserError
from records.system.files import district_file, read_toml

SMALL_NUMBERS_FILE = Path(__file__).with_name("small_numbers.toml")
LEAST, MOST = 10, 1000
"""Range of the smallest cell. Source of the least: NCES 2011-603."""
DISTRICT_SOURCE = "The district's own rule, stricter than NCES 2011-603"


class SmallNumbersError(UserError, ValueError):
    """A file that cannot be used; the message names it, the entry and what would be right."""


@dataclass(frozen=True)
class SmallNumbers:
    """How few students may stand behind a published number.

    Examples:
        >>> rule = SmallNumbers(smallest_cell=20)
        >>> rule.published_count(19) is None
        True
        >>> rule.published_count(26)
        30

    Attributes:
        smallest_cell: students; a count below it is suppressed, as is whatever would give it away.
        source: where the number comes from.
    """

    smallest_cell: int
    source: str = DISTRICT_SOURCE

    @classmethod
    @cache
    def declared(cls) -> SmallNumbers:
        """The rule that comes with Handrail."""
        return cls.read(SMALL_NUMBERS_FILE)

    @classmethod
    def from_home(cls, home: Path) -> SmallNumbers:
        """The district's own rule, where `small_numbers.toml` lies in its home; else the declared.

        Raises:
            SmallNumbersError: as `read`.
        """
        file = district_file(home, SMALL_NUMBERS_FILE)
        return cls.declared() if file == SMALL_NUMBERS_FILE else cls.read(file)

    @classmethod
    def read(cls, file: Path) -> SmallNumbers:
        """The rule in a file.

        Raises:
            SmallNumbersError: it is no TOML, an entry is missing or unknown, or it would allow
                fewer than ten students.
        """
        content = read_toml(file, SmallNumbersError)
        _check(file, content)
        return cls(**content)

    @property
    def sha256(self) -> str:
        """A digest of the rule and of how numbers are rounded."""
        content = {**asdict(self), "rounding_base": ROUNDING_BASE}
        return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()

    @property
    def in_words(self) -> str:
        """The smallest cell as a sentence has it: "ten", and in figures above that."""
        return "ten" if self.smallest_cell == LEAST else f"{self.smallest_cell:,}"

    def published_count(self, students: int) -> int | None:
        """A number of students rounded to ten, halves up; None where it is suppressed."""
        return round_count(students) if students >= self.smallest_cell else None


def _check(file: Path, content: Mapping[str, Any]) -> None:
    known = ("smallest_cell", "source")
    for name in content:
        if name not in known:
            raise SmallNumbersError(f"{file}: {name} is not known; there are {', '.join(known)}")
    if "smallest_cell" not in content:
        raise SmallNumbersError(f"{file}: smallest_cell is missing")
    value, source = content["smallest_cell"], content.get("source", DISTRICT_SOURCE)
    if not isinstance(value, int) or isinstance(value, bool) or not LEAST <= value <= MOST:
        raise SmallNumbersError(
            f"{file}: smallest_cell is {value!r}; it must be a whole number from {LEAST} to {MOST}"
        )
    if not isinstance(source, str) or not source.strip():
        raise SmallNumbersError(
            f"{file}: source is {source!r}; it must say in words where smallest_cell comes from"
        )


DEFAULT_SMALL_NUMBERS = SmallNumbers.declared()
"""The rule that comes with Handrail: what a function assumes that is given no district's rule."""
