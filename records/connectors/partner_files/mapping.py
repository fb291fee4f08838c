"""How a partner's export becomes service history: a TOML file for the partner's own data staff.

Owns the format: what each file contains, which column is which, how dates are written, what a code
means. A mapping is refused, with its line, if it lacks a column that a row needs, names a column of
a kind that is never stored, or could read the same text as two dates. `mapping_proposal.py` drafts
one from an export's headers.
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
from records.canonical.supports import SupportCatalog
from records.system.errors import UserError


class MappingError(UserError, ValueError):
    """A mapping that cannot be used; the message names file and line."""


@dataclass(frozen=True)
class FileKind:
    """One kind of content that a partner's file may have.

    `extra_columns` exist only in a mapping; of each of the `required_groups` one column must be
    mapped.
    """

    table: str
    extra_columns: tuple[str, ...]
    required_groups: tuple[tuple[str, ...], ...]

    @property
    def canonical(self) -> CanonicalTable:
        return canonical_table(self.table)

    @property
    def columns(self) -> tuple[str, ...]:
        """Everything that may be mapped."""
        return (
            *(column.name for column in self.canonical.columns if column.name != "organization_id"),
            *self.extra_columns,
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
_ALTERNATIVES = (("student_id", "participant_id"), ("minutes", "hours", "start_time"))
"""Columns of which a file may map only one."""
DATE_COLUMNS = ("start_date", "end_date", "date")
"""What a mapping may name that is a date."""
_FILE_PARTS = (
    "name",
    "holds",
    "header_line",
    "dates",
    "columns",
    "values",
    "leave_out",
    "constants",
)
_MAPPING_PARTS = ("organization_id", "programs", "file")
_DATE_WORDS = {"YYYY": "%Y", "YY": "%y", "MM": "%m", "DD": "%d"}
_DATE_FORMAT = re.compile(r"(YYYY|YY|MM|DD)([-/. ]?)(YYYY|YY|MM|DD)\2(YYYY|YY|MM|DD)")


@dataclass(frozen=True)
class FileMapping:
    """What a file contains, or every file whose name matches a pattern (`Enrollments*.csv`).

    `columns` maps each canonical column to the export's: one, or for `session_id` several that
    together identify a session. `values` and `leave_out` are keyed by the export's own words, in
    lower case. Lines above `header_line`, such as a report's title, are ignored.
    """

    name: str
    holds: str
    columns: Mapping[str, tuple[str, ...]]
    dates: tuple[str, ...] = ()
    values: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    leave_out: Mapping[str, frozenset[str]] = field(default_factory=dict)
    constants: Mapping[str, str] = field(default_factory=dict)
    header_line: int = 1

    @property
    def kind(self) -> FileKind:
        return FILE_KINDS[self.holds]

    @property
    def date_headers(self) -> tuple[str, ...]:
        """The export's columns that are mapped to dates."""
        return tuple(header for name in DATE_COLUMNS for header in self.columns.get(name, ()))

    def read_date(self, text: str) -> date | None:
        """The date of a text in one of the file's formats, None if in none; drops a time."""
        date_text = (
            text
            if any(" " in date_format for date_format in self.dates)
            else re.split(r"[ T]", text, maxsplit=1)[0]
        )
        for date_format in self.dates:
            day = _parse(date_format, date_text)
            if day is not None:
                return day
        return None


@dataclass(frozen=True)
class ServiceMapping:
    """One partner's mapping; `programs` are canonical values by the export's program name."""

    file: str
    organization_id: str
    programs: Mapping[str, Mapping[str, str]]
    files: tuple[FileMapping, ...]


def parse_mapping(text: str, file: str, supports: SupportCatalog | None = None) -> ServiceMapping:
    """Read and check a mapping.

    Args:
        supports: the kinds of support that it may name; by default those of Handrail.

    Raises:
        MappingError: naming file and line of the first thing that is wrong.
    """
    try:
        document = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise MappingError(f"{file}: not valid TOML: {error}") from None
    return _MappingReader(text, file, document, supports or SupportCatalog.declared()).mapping()


def normalize_word(text: str) -> str:
    """The form in which words of an export are compared: single spaces, case folded."""
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
class _MappingReader:
    text: str
    file: str
    document: dict[str, Any]
    supports: SupportCatalog

    def mapping(self) -> ServiceMapping:
        for name in self.document:
            if name not in _MAPPING_PARTS:
                self.refuse(
                    (name,),
                    f"{name} is not part of a mapping; the parts are {', '.join(_MAPPING_PARTS)}",
                )
        organization = self.required_text(
            ("organization_id",), self.document.get("organization_id")
        )
        programs = self.section((), self.document, "programs", dict)
        files = self.section((), self.document, "file", list)
        if not files:
            self.refuse(("file",), "no [[file]] says which file holds what")
        return ServiceMapping(
            self.file,
            organization,
            {
                normalize_word(name): self.program(("programs", name), name, program)
                for name, program in programs.items()
            },
            tuple(self.file_mapping(("file", number), table) for number, table in enumerate(files)),
        )

    def program(self, path: TomlPath, name: str, table: Any) -> dict[str, str]:
        canonical = canonical_table("programs")
        allowed = [column.name for column in canonical.columns if column.name != "organization_id"]
        if not isinstance(table, dict) or "program_id" not in table:
            self.refuse(path, f"the program {name!r} has no program_id")
        for part, value in table.items():
            if part not in allowed:
                self.refuse(
                    (*path, part),
                    f"{part} is not part of a program; the parts are {', '.join(allowed)}",
                )
            self.value((*path, part), canonical, part, value)
        return {"name": name} | {part: _as_text(value) for part, value in table.items()}

    def file_mapping(self, path: TomlPath, table: Any) -> FileMapping:
        if not isinstance(table, dict):
            self.refuse(path, "a file is written as [[file]]")
        for part in table:
            if part not in _FILE_PARTS:
                self.refuse(
                    (*path, part),
                    f"{part} is not part of a file; the parts are {', '.join(_FILE_PARTS)}",
                )
        name = self.required_text((*path, "name"), table.get("name"))
        if "/" in name or "\\" in name:
            self.refuse(
                (*path, "name"), f"name is {name!r}; it must be a file's name without a folder"
            )
        holds = self.required_text((*path, "holds"), table.get("holds"))
        if holds not in FILE_KINDS:
            self.refuse(
                (*path, "holds"), f"holds is {holds!r}; it must be one of {', '.join(FILE_KINDS)}"
            )
        mapped = FileMapping(name, holds, self.columns(path, holds, table), self.dates(path, table))
        constants = self.constants(path, mapped, table)
        self.check_complete(path, mapped, constants)
        return replace(
            mapped,
            constants=constants,
            header_line=self.header_line(path, table),
            values=self.values(path, mapped, table),
            leave_out=self.leave_out(path, mapped, table),
        )

    def columns(
        self, path: TomlPath, holds: str, table: dict[str, Any]
    ) -> dict[str, tuple[str, ...]]:
        allowed, columns = FILE_KINDS[holds].columns, {}
        for name, value in self.section(path, table, "columns", dict).items():
            key_path = (*path, "columns", name)
            if name not in allowed:
                self.refuse(
                    key_path,
                    f"{name} is not something that {holds} have; they have {', '.join(allowed)}",
                )
            is_list = isinstance(value, list) and name == "session_id" and value
            headers = tuple(
                self.required_text(key_path, header) for header in (value if is_list else [value])
            )
            for header in headers:
                kind = prohibited_kind(header)
                if kind is not None:
                    self.refuse(
                        key_path,
                        f"{name} names the column {header!r}, which is never stored ({kind})",
                    )
            columns[name] = headers
        for alternatives in _ALTERNATIVES:
            mapped = [name for name in columns if name in alternatives]
            if len(mapped) > 1:
                self.refuse(
                    (*path, "columns", mapped[1]),
                    f"{' and '.join(mapped)} are both mapped; map only one",
                )
        if ("start_time" in columns) != ("end_time" in columns):
            self.refuse((*path, "columns"), "start_time and end_time are of use only together")
        return columns

    def header_line(self, path: TomlPath, table: dict[str, Any]) -> int:
        line = table.get("header_line", 1)
        if type(line) is not int or line < 1:
            self.refuse(
                (*path, "header_line"),
                f"header_line is {line!r}; it must be the number of the line with the names of the"
                " columns",
            )
        return int(line)

    def dates(self, path: TomlPath, table: dict[str, Any]) -> tuple[str, ...]:
        key_path = (*path, "dates")
        formats = tuple(
            self.required_text(key_path, date_format)
            for date_format in self.section(path, table, "dates", list)
        )
        for date_format in formats:
            match = _DATE_FORMAT.fullmatch(date_format)
            if match is None or {word[0] for word in match.group(1, 3, 4)} != {"Y", "M", "D"}:
                self.refuse(
                    key_path,
                    f"dates holds {date_format!r}; a format is written like MM/DD/YYYY or DD.MM.YY",
                )
        example = date(2003, 2, 1)
        for date_format in formats:
            example_text = example.strftime(_strptime(date_format))
            for other in formats:
                if _parse(other, example_text) not in (None, example):
                    self.refuse(
                        key_path,
                        f"dates holds {date_format} and {other}: the same text could mean two"
                        " dates",
                    )
        return formats

    def constants(
        self, path: TomlPath, mapped: FileMapping, table: dict[str, Any]
    ) -> dict[str, str]:
        constants = {}
        canonical = mapped.kind.canonical
        for name, value in self.section(path, table, "constants", dict).items():
            key_path = (*path, "constants", name)
            if name in mapped.columns:
                self.refuse(key_path, f"{name} is both a column and a constant")
            if (
                name not in mapped.kind.columns
                or name in mapped.kind.extra_columns
                or name == "student_id"
            ):
                self.refuse(key_path, f"{name} cannot be a constant")
            self.value(key_path, canonical, name, value)
            constants[name] = _as_text(value)
        return constants

    def check_complete(
        self, path: TomlPath, mapped: FileMapping, constants: Mapping[str, str]
    ) -> None:
        for group in mapped.kind.required_groups:
            if not any(name in mapped.columns or name in constants for name in group):
                self.refuse(
                    (*path, "columns"),
                    f"{mapped.holds} need {' or '.join(group)}, and no column is mapped to it",
                )

    def values(
        self, path: TomlPath, mapped: FileMapping, table: dict[str, Any]
    ) -> dict[str, dict[str, str]]:
        values: dict[str, dict[str, str]] = {}
        for name, words in self.section(path, table, "values", dict).items():
            key_path = (*path, "values", name)
            self.check_mapped(key_path, mapped, name)
            if name not in (
                column.name for column in mapped.kind.canonical.columns
            ) or not isinstance(words, dict):
                self.refuse(key_path, f"{name} has no words to translate")
            if name == "program_id" and self.document.get("programs"):
                self.refuse(key_path, "program_id is already translated under [programs]")
            for word, value in words.items():
                self.value((*key_path, word), mapped.kind.canonical, name, value)
            values[name] = {normalize_word(word): _as_text(value) for word, value in words.items()}
        return values

    def leave_out(
        self, path: TomlPath, mapped: FileMapping, table: dict[str, Any]
    ) -> dict[str, frozenset[str]]:
        left_out = {}
        for name, words in self.section(path, table, "leave_out", dict).items():
            key_path = (*path, "leave_out", name)
            self.check_mapped(key_path, mapped, name)
            if not isinstance(words, list):
                self.refuse(key_path, f"{name} must be a list of words")
            left_out[name] = frozenset(
                normalize_word(self.required_text(key_path, word)) for word in words
            )
        return left_out

    def check_mapped(self, path: TomlPath, mapped: FileMapping, name: str) -> None:
        if len(mapped.columns.get(name, ())) != 1:
            self.refuse(path, f"{name} is not one of the columns mapped above")

    def section(self, path: TomlPath, table: dict[str, Any], name: str, kind: type) -> Any:
        value = table.get(name, kind())
        if type(value) is not kind:
            self.refuse(
                (*path, name),
                f"{name} is {value!r}; it must be a {'list' if kind is list else 'table'}",
            )
        return value

    def required_text(self, path: TomlPath, value: Any) -> str:
        if not isinstance(value, str) or not value.strip():
            problem = "is missing" if value is None else f"is {value!r}; it must be words"
            self.refuse(path, f"{path[-1]} {problem}")
        return str(value)

    def value(self, path: TomlPath, canonical: CanonicalTable, name: str, value: Any) -> None:
        try:
            convert(self.supports.column(canonical.column(name)), _as_text(value))
        except BadValue as error:
            self.refuse(path, error.reason)

    def refuse(self, path: TomlPath, reason: str) -> NoReturn:
        raise MappingError(f"{self.file}, line {self.line_of(path)}: {reason}")

    def line_of(self, path: TomlPath) -> int:
        """The line of an entry or the nearest entry around it; past the end if none."""
        lines = _lines(self.text)
        while path and path not in lines:
            path = path[:-1]
        return lines.get(path, len(self.text.splitlines()) + 1)


def _as_text(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def _lines(text: str) -> dict[TomlPath, int]:
    """The line number of each section and of each key of a section."""
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
        nested: Any = tomllib.loads(header)
    except tomllib.TOMLDecodeError:
        return ()
    path: TomlPath = ()
    while nested:
        name = next(iter(nested))
        path = (*path, name, files) if name == "file" and not path else (*path, name)
        nested = nested[name][0] if isinstance(nested[name], list) else nested[name]
    return path
