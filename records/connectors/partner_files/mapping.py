"""How a partner's export becomes service history, as a TOML file that the partner's data person can
read.

Owns the format: which file holds what, which column is which, how dates are written, what a code
means. A mapping that lacks a column that a row needs, names a column of a kind that is never
stored, or could read one date as two days is refused, with its line. `proposal.py` writes a first
draft from an export's headers.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import date, datetime
from typing import Any, NoReturn

from records.canonical.never_ingest import prohibited_kind
from records.canonical.quarantine import BadValue, convert
from records.canonical.schema import CanonicalTable, canonical_table
from records.system.errors import UserError


class MappingError(UserError, ValueError):
    """A mapping that cannot be used; the message names file and line."""


@dataclass(frozen=True)
class FileKind:
    """One thing that a partner's file may hold.

    `more` are columns that only a mapping has; `needs` are groups of columns, of each of which one
    must be there.
    """

    table: str
    more: tuple[str, ...]
    needs: tuple[tuple[str, ...], ...]

    @property
    def canonical(self) -> CanonicalTable:
        return canonical_table(self.table)

    @property
    def columns(self) -> tuple[str, ...]:
        """Everything that may be mapped."""
        return (
            *(one.name for one in self.canonical.columns if one.name != "organization_id"),
            *self.more,
        )


FILE_KINDS: dict[str, FileKind] = {
    "programs": FileKind("programs", (), (("program_id",),)),
    "enrollments": FileKind(
        "service_enrollments",
        ("participant_id", "enrollment_id"),
        (("student_id", "participant_id"), ("program_id",), ("start_date",)),
    ),
    "exits": FileKind(
        "service_enrollments",
        ("participant_id", "enrollment_id"),
        (
            ("enrollment_id", "student_id", "participant_id"),
            ("enrollment_id", "program_id"),
            ("end_date",),
        ),
    ),
    "sessions": FileKind(
        "service_sessions",
        ("participant_id", "hours", "start_time", "end_time"),
        (
            ("student_id", "participant_id"),
            ("session_id",),
            ("program_id",),
            ("date",),
            ("attended",),
        ),
    ),
}
_EITHER = (("student_id", "participant_id"), ("minutes", "hours", "start_time"))
"""Columns of which a file may map only one."""
_FILE_PARTS = ("name", "holds", "dates", "columns", "values", "leave_out", "constants")
_PARTS = ("organization_id", "programs", "file")
_DATE_WORDS = {"YYYY": "%Y", "YY": "%y", "MM": "%m", "DD": "%d"}
_DATE_FORMAT = re.compile(r"(YYYY|YY|MM|DD)([-/. ]?)(YYYY|YY|MM|DD)\2(YYYY|YY|MM|DD)")


@dataclass(frozen=True)
class FileMapping:
    """What one file, or every file whose name fits a pattern such as `Enrollments*.csv`, holds.

    `columns` gives for each thing the export's columns that say it: one, or for `session_id`
    several that together tell a session from all others. `values` and `leave_out` are by the
    export's own words, in lower case.
    """

    name: str
    holds: str
    columns: Mapping[str, tuple[str, ...]]
    dates: tuple[str, ...] = ()
    values: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    leave_out: Mapping[str, frozenset[str]] = field(default_factory=dict)
    constants: Mapping[str, str] = field(default_factory=dict)

    @property
    def kind(self) -> FileKind:
        return FILE_KINDS[self.holds]

    def read_date(self, text: str) -> date | None:
        """The day that a text says in one of the file's formats, None if in none. A time behind it
        is left out.
        """
        words = (
            text
            if any(" " in one for one in self.dates)
            else re.split(r"[ T]", text, maxsplit=1)[0]
        )
        for one in self.dates:
            day = _parse(one, words)
            if day is not None:
                return day
        return None


@dataclass(frozen=True)
class ServiceMapping:
    """One partner's mapping. `programs` gives each program's canonical values by its name in the
    export.
    """

    file: str
    organization_id: str
    programs: Mapping[str, Mapping[str, str]]
    files: tuple[FileMapping, ...]


def parse_mapping(text: str, file: str) -> ServiceMapping:
    """Read and check a mapping.

    Raises:
        MappingError: naming file and line of the first thing that is wrong.
    """
    try:
        found = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise MappingError(f"{file}: not valid TOML: {error}") from None
    return _Reader(text, file, found).mapping()


def normalize_word(text: str) -> str:
    """The form in which the words of an export are compared."""
    return " ".join(text.split()).casefold()


def _parse(date_format: str, text: str) -> date | None:
    try:
        return datetime.strptime(text, _strptime(date_format)).date()
    except ValueError:
        return None


def _strptime(date_format: str) -> str:
    for word, directive in _DATE_WORDS.items():
        date_format = date_format.replace(word, directive)
    return date_format


TomlPath = tuple[str | int, ...]
_KEY = re.compile(r"""\s*("(?:[^"\\]|\\.)*"|'[^']*'|[A-Za-z0-9_-]+)\s*=""")


@dataclass(frozen=True)
class _Reader:
    text: str
    file: str
    found: dict[str, Any]

    def mapping(self) -> ServiceMapping:
        for name in self.found:
            if name not in _PARTS:
                self.refuse(
                    (name,), f"{name} is not part of a mapping; the parts are {', '.join(_PARTS)}"
                )
        organization = self.word(("organization_id",), self.found.get("organization_id"))
        programs = self.part((), self.found, "programs", dict)
        files = self.part((), self.found, "file", list)
        if not files:
            self.refuse(("file",), "no [[file]] says which file holds what")
        return ServiceMapping(
            self.file,
            organization,
            {
                normalize_word(name): self.program(("programs", name), name, one)
                for name, one in programs.items()
            },
            tuple(self.one_file(("file", number), one) for number, one in enumerate(files)),
        )

    def program(self, place: TomlPath, name: str, found: Any) -> dict[str, str]:
        canonical = canonical_table("programs")
        allowed = [column.name for column in canonical.columns if column.name != "organization_id"]
        if not isinstance(found, dict) or "program_id" not in found:
            self.refuse(place, f"the program {name!r} has no program_id")
        for part, value in found.items():
            if part not in allowed:
                self.refuse(
                    (*place, part),
                    f"{part} is not part of a program; the parts are {', '.join(allowed)}",
                )
            self.value((*place, part), canonical, part, value)
        return {"name": name} | {part: _said(value) for part, value in found.items()}

    def one_file(self, place: TomlPath, found: Any) -> FileMapping:
        if not isinstance(found, dict):
            self.refuse(place, "a file is written as [[file]]")
        for part in found:
            if part not in _FILE_PARTS:
                self.refuse(
                    (*place, part),
                    f"{part} is not part of a file; the parts are {', '.join(_FILE_PARTS)}",
                )
        name = self.word((*place, "name"), found.get("name"))
        if "/" in name or "\\" in name:
            self.refuse(
                (*place, "name"), f"name is {name!r}; it must be a file's name without a folder"
            )
        holds = self.word((*place, "holds"), found.get("holds"))
        if holds not in FILE_KINDS:
            self.refuse(
                (*place, "holds"), f"holds is {holds!r}; it must be one of {', '.join(FILE_KINDS)}"
            )
        mapped = FileMapping(
            name, holds, self.columns(place, holds, found), self.dates(place, found)
        )
        constants = self.constants(place, mapped, found)
        self.check_complete(place, mapped, constants)
        return replace(
            mapped,
            constants=constants,
            values=self.values(place, mapped, found),
            leave_out=self.leave_out(place, mapped, found),
        )

    def columns(
        self, place: TomlPath, holds: str, found: dict[str, Any]
    ) -> dict[str, tuple[str, ...]]:
        allowed, columns = FILE_KINDS[holds].columns, {}
        for name, value in self.part(place, found, "columns", dict).items():
            at = (*place, "columns", name)
            if name not in allowed:
                self.refuse(
                    at, f"{name} is not something that {holds} have; they have {', '.join(allowed)}"
                )
            several = isinstance(value, list) and name == "session_id" and value
            headers = tuple(self.word(at, one) for one in (value if several else [value]))
            for header in headers:
                kind = prohibited_kind(header)
                if kind is not None:
                    self.refuse(
                        at, f"{name} names the column {header!r}, which is never stored ({kind})"
                    )
            columns[name] = headers
        for either in _EITHER:
            both = [name for name in columns if name in either]
            if len(both) > 1:
                self.refuse(
                    (*place, "columns", both[1]),
                    f"{' and '.join(both)} are both mapped; one says it",
                )
        if ("start_time" in columns) != ("end_time" in columns):
            self.refuse((*place, "columns"), "start_time and end_time are of use only together")
        return columns

    def dates(self, place: TomlPath, found: dict[str, Any]) -> tuple[str, ...]:
        at = (*place, "dates")
        formats = tuple(self.word(at, one) for one in self.part(place, found, "dates", list))
        for one in formats:
            match = _DATE_FORMAT.fullmatch(one)
            if match is None or {word[0] for word in match.group(1, 3, 4)} != {"Y", "M", "D"}:
                self.refuse(
                    at, f"dates holds {one!r}; a format is written like MM/DD/YYYY or DD.MM.YY"
                )
        example = date(2003, 2, 1)
        for one in formats:
            written = example.strftime(_strptime(one))
            for other in formats:
                if _parse(other, written) not in (None, example):
                    self.refuse(
                        at, f"dates holds {one} and {other}: one text would be read as two days"
                    )
        return formats

    def constants(
        self, place: TomlPath, mapped: FileMapping, found: dict[str, Any]
    ) -> dict[str, str]:
        constants = {}
        canonical = mapped.kind.canonical
        for name, value in self.part(place, found, "constants", dict).items():
            at = (*place, "constants", name)
            if name in mapped.columns:
                self.refuse(at, f"{name} is both a column and a constant")
            if name not in mapped.kind.columns or name in mapped.kind.more or name == "student_id":
                self.refuse(at, f"{name} cannot be the same for every row")
            self.value(at, canonical, name, value)
            constants[name] = _said(value)
        return constants

    def check_complete(
        self, place: TomlPath, mapped: FileMapping, constants: Mapping[str, str]
    ) -> None:
        for group in mapped.kind.needs:
            if not any(name in mapped.columns or name in constants for name in group):
                self.refuse(
                    (*place, "columns"),
                    f"{mapped.holds} need {' or '.join(group)}, and no column says it",
                )

    def values(
        self, place: TomlPath, mapped: FileMapping, found: dict[str, Any]
    ) -> dict[str, dict[str, str]]:
        values: dict[str, dict[str, str]] = {}
        for name, words in self.part(place, found, "values", dict).items():
            at = (*place, "values", name)
            self.check_mapped(at, mapped, name)
            if name not in (
                column.name for column in mapped.kind.canonical.columns
            ) or not isinstance(words, dict):
                self.refuse(at, f"{name} has no words to translate")
            if name == "program_id" and self.found.get("programs"):
                self.refuse(at, "program_id has its words under [programs] already")
            for word, value in words.items():
                self.value((*at, word), mapped.kind.canonical, name, value)
            values[name] = {normalize_word(word): _said(value) for word, value in words.items()}
        return values

    def leave_out(
        self, place: TomlPath, mapped: FileMapping, found: dict[str, Any]
    ) -> dict[str, frozenset[str]]:
        left_out = {}
        for name, words in self.part(place, found, "leave_out", dict).items():
            at = (*place, "leave_out", name)
            self.check_mapped(at, mapped, name)
            if not isinstance(words, list):
                self.refuse(at, f"{name} must be a list of words")
            left_out[name] = frozenset(normalize_word(self.word(at, word)) for word in words)
        return left_out

    def check_mapped(self, place: TomlPath, mapped: FileMapping, name: str) -> None:
        if len(mapped.columns.get(name, ())) != 1:
            self.refuse(place, f"{name} is not one of the columns mapped above")

    def part(self, place: TomlPath, found: dict[str, Any], name: str, kind: type) -> Any:
        value = found.get(name, kind())
        if type(value) is not kind:
            self.refuse(
                (*place, name),
                f"{name} is {value!r}; it must be a {'list' if kind is list else 'table'}",
            )
        return value

    def word(self, place: TomlPath, value: Any) -> str:
        if not isinstance(value, str) or not value.strip():
            said = "is missing" if value is None else f"is {value!r}; it must be words"
            self.refuse(place, f"{place[-1]} {said}")
        return str(value)

    def value(self, place: TomlPath, canonical: CanonicalTable, name: str, value: Any) -> None:
        try:
            convert(canonical.column(name), _said(value))
        except BadValue as error:
            self.refuse(place, error.reason)

    def refuse(self, place: TomlPath, reason: str) -> NoReturn:
        raise MappingError(f"{self.file}, line {self.line_of(place)}: {reason}")

    def line_of(self, place: TomlPath) -> int:
        """The line that writes a part, or that of the nearest part around it; past the end if there
        is none.
        """
        lines = _lines(self.text)
        while place and place not in lines:
            place = place[:-1]
        return lines.get(place, len(self.text.splitlines()) + 1)


def _said(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def _lines(text: str) -> dict[TomlPath, int]:
    """Where each section and each key of a section stands."""
    lines: dict[TomlPath, int] = {}
    section: TomlPath = ()
    files = -1
    for number, line in enumerate(text.splitlines(), start=1):
        stripped = line.strip()
        key = _KEY.match(line)
        if stripped.startswith("[") and key is None:
            files += stripped.startswith("[[")
            section = _section(stripped, files)
            lines.setdefault(section, number)
        elif key is not None:
            lines.setdefault((*section, key.group(1).strip("\"'")), number)
    return lines


def _section(header: str, files: int) -> TomlPath:
    try:
        found: Any = tomllib.loads(header)
    except tomllib.TOMLDecodeError:
        return ()
    place: TomlPath = ()
    while found:
        name = next(iter(found))
        place = (*place, name, files) if name == "file" and not place else (*place, name)
        found = found[name][0] if isinstance(found[name], list) else found[name]
    return place
