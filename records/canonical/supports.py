"""The kinds of support that a district offers: `supports.toml`, or the district's own copy.

Owns which kinds there are, what they are called, and which of them tell that a child has no stable
home. A kind that is on no list is treated as if it told so, because nobody has said otherwise. A
file is refused, with the kind and the key, rather than read in part.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, replace
from difflib import get_close_matches
from functools import cache
from pathlib import Path
from typing import Any

from records.canonical.schema import CanonicalTable, Column
from records.system.errors import UserError
from records.system.files import district_file, read_toml

SUPPORTS_FILE = Path(__file__).parent / "supports.toml"
SUPPORT_COLUMN = "support"
"""The canonical column, of programs, that holds a kind of support."""

_TEXTS = ("name", "name_es", "description", "description_es")
_COST = ("typical_cost", "cost_source")
_HOUSING = "tells_of_housing"
_KEYS = (*_TEXTS, *_COST, _HOUSING)
_KEY = re.compile(r"[a-z0-9_]+")
_RESERVED = "none"
"""What models call no support at all."""

_SHELTER_SUPPORT = "housing_help"
_SIMILAR = 0.7
"""How alike two words must be, of 1, for one to be a likely misspelling of the other."""


class SupportsError(UserError, ValueError):
    """A list of supports that cannot be used; the message names the file, the kind and the key."""


@dataclass(frozen=True)
class SupportKind:
    """One kind of support.

    Attributes:
        key: what programs, mappings and agreements call it.
        name, name_es: what people read.
        description, description_es: what it is, in one sentence.
        tells_of_housing: whether taking part tells that a child has no stable home.
        typical_cost: what it usually costs, in words for planning; never what a program costs.
        cost_source: who says so; both costs are empty or neither is.
    """

    key: str
    name: str
    name_es: str
    description: str
    description_es: str
    tells_of_housing: bool
    typical_cost: str = ""
    cost_source: str = ""


@dataclass(frozen=True)
class SupportCatalog:
    """All kinds of support of a district, in the order of its file."""

    file: Path
    kinds: tuple[SupportKind, ...]

    @classmethod
    @cache
    def declared(cls) -> SupportCatalog:
        """The list that comes with Handrail."""
        return cls.read(SUPPORTS_FILE)

    @classmethod
    def of(cls, home: Path) -> SupportCatalog:
        """The district's own list: `supports.toml` in `home`; else the one of Handrail.

        Raises:
            SupportsError: as `read`.
        """
        file = district_file(home, SUPPORTS_FILE)
        return cls.declared() if file == SUPPORTS_FILE else cls.read(file)

    @classmethod
    def read(cls, file: Path) -> SupportCatalog:
        """The list in a file.

        Raises:
            SupportsError: it is not TOML, names no kind, or a kind has a wrong key, lacks an entry
                or has one that is unknown, empty or of another type; or two kinds share a name.
        """
        content = read_toml(file, SupportsError)
        if not content:
            raise SupportsError(f"{file}: there is no kind of support; name at least one")
        kinds = tuple(_Entry(file, key, values).kind() for key, values in content.items())
        for language in ("name", "name_es"):
            _check_names_differ(file, kinds, language)
        return cls(file, kinds)

    @property
    def keys(self) -> tuple[str, ...]:
        """What programs, mappings and agreements may name."""
        return tuple(kind.key for kind in self.kinds)

    def __contains__(self, key: object) -> bool:
        return key in self.keys

    @property
    def harmless(self) -> tuple[str, ...]:
        """The kinds that do not tell of housing. All others do, also those on no list."""
        return tuple(kind.key for kind in self.kinds if not kind.tells_of_housing)

    @property
    def shelter_support(self) -> str | None:
        """The kind of a shelter whose export names none: `housing_help`, or else the only kind that
        tells of housing; None where that leaves it open.
        """
        telling = [kind.key for kind in self.kinds if kind.tells_of_housing]
        if _SHELTER_SUPPORT in telling:
            return _SHELTER_SUPPORT
        return telling[0] if len(telling) == 1 else None

    def label(self, key: str) -> str:
        """A kind in words; of one that is on no list its key, with underscores as spaces."""
        return self._words(key, lambda kind: kind.name)

    def label_es(self, key: str) -> str:
        """As `label`, in Spanish."""
        return self._words(key, lambda kind: kind.name_es)

    def nearest(self, text: str) -> str | None:
        """The kind that a text most likely means, by key or name in either language; or None."""
        by_word = {
            _plain(word): kind.key
            for kind in reversed(self.kinds)
            for word in (kind.name_es, kind.name, kind.key)
        }
        close = get_close_matches(_plain(text), list(by_word), n=1, cutoff=_SIMILAR)
        return by_word[close[0]] if close else None

    def advice(self, text: str) -> str:
        """What to do about a text that is no kind of the list: it follows the kinds that there are.
        It names no folder, because the same file must be refused with the same words everywhere.
        """
        nearest = self.nearest(text)
        return (f"; {nearest} is the nearest" if nearest else "") + (
            f"; a kind is added in the district's {SUPPORTS_FILE.name} (`handrail supports write`)"
        )

    def column(self, column: Column) -> Column:
        """A canonical column as the list limits it: only kinds of the list are values of a kind of
        support, and every other column stays as it is.
        """
        if column.name != SUPPORT_COLUMN:
            return column
        return replace(column, values=self.keys, advice=self.advice)

    def table(self, table: CanonicalTable) -> CanonicalTable:
        """A canonical table with its columns as `column` limits them."""
        return replace(table, columns=tuple(self.column(column) for column in table.columns))

    def rules(self, keys: Iterable[str]) -> dict[str, bool | None]:
        """Of each of these kinds whether it tells of housing; None if it is on no list.

        That is all that decides what may be seen and suggested: names, descriptions and costs
        decide nothing.
        """
        listed = {kind.key: kind.tells_of_housing for kind in self.kinds}
        return {key: listed.get(key) for key in sorted(keys)}

    @property
    def sha256(self) -> str:
        """A digest of the `rules` of all kinds: equal lists may share what they decide."""
        return hashlib.sha256(json.dumps(self.rules(self.keys)).encode()).hexdigest()

    def _words(self, key: str, name: Callable[[SupportKind], str]) -> str:
        for kind in self.kinds:
            if kind.key == key:
                return name(kind)
        return key.replace("_", " ").capitalize()


@dataclass(frozen=True)
class _Entry:
    """One table of a file, before it is known to be right."""

    file: Path
    key: str
    values: Any

    def kind(self) -> SupportKind:
        if not _KEY.fullmatch(self.key) or self.key == _RESERVED:
            raise SupportsError(
                f"{self.file}: [{self.key}] is not a key of a support: it must be lower-case"
                f" letters, digits and underscores, such as motel_vouchers, and not {_RESERVED!r}"
            )
        if not isinstance(self.values, dict):
            raise SupportsError(
                f"{self.file}: {self.key} is {self.values!r}; it must be a table: [{self.key}]"
            )
        for name in self.values:
            if name not in _KEYS:
                raise self._error(name, f"is not known; the entries are {', '.join(_KEYS)}")
        texts = {name: self._text(name) for name in _TEXTS}
        costs = {name: self._text(name) for name in _COST if name in self.values}
        if len(costs) == 1:
            (missing,) = set(_COST) - set(costs)
            raise self._error(missing, f"is missing; {' and '.join(_COST)} are given together")
        return SupportKind(self.key, tells_of_housing=self._flag(_HOUSING), **texts, **costs)

    def _text(self, name: str) -> str:
        value = self._required(name, "a text in quotes")
        if not isinstance(value, str) or not value.strip():
            raise self._error(name, f"is {value!r}; it must be a text in quotes")
        return value.strip()

    def _flag(self, name: str) -> bool:
        value = self._required(name, "true or false")
        if not isinstance(value, bool):
            raise self._error(name, f"is {value!r}; it must be true or false, without quotes")
        return value

    def _required(self, name: str, right: str) -> object:
        if name not in self.values:
            raise self._error(name, f"is missing; it must be {right}")
        value: object = self.values[name]
        return value

    def _error(self, name: str, problem: str) -> SupportsError:
        return SupportsError(f"{self.file}: [{self.key}] {name} {problem}")


def _check_names_differ(file: Path, kinds: Collection[SupportKind], language: str) -> None:
    key_of: dict[str, str] = {}
    for kind in kinds:
        name = getattr(kind, language)
        other = key_of.setdefault(_plain(name), kind.key)
        if other != kind.key:
            raise SupportsError(
                f"{file}: [{kind.key}] {language} is {name!r}, as of [{other}]; each kind needs a"
                " name of its own"
            )


def _plain(text: str) -> str:
    """A word as words are compared: letters and digits in lower case, anything else a space."""
    return " ".join(re.findall(r"\w+", text.casefold().replace("_", " ")))


def unlisted(
    supports: SupportCatalog, names: Mapping[str, Collection[str]]
) -> dict[str, list[str]]:
    """The kinds on record that are on no list, with what names each, sorted.

    Args:
        names: kind -> what names it, such as programs or agreements.
    """
    return {key: sorted(names[key]) for key in sorted(names) if key not in supports}
