"""CSV in which each physical line is one record, so that one damaged line can never swallow its neighbours.

This module owns the way from bytes to fields. A line that cannot be read alone (an unclosed quote, bytes that are
not UTF-8, too few or too many fields) is quarantined alone. Columns that are never stored are cut out before a
field or a raw line leaves this module.
"""

from __future__ import annotations

import csv
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from records.connectors.protocol import Progress, Sink, SourceRefused
from records.never_ingest import refused_kind
from records.quarantine import BadRow, BadValue, Value, convert
from records.schema import Table

_MEMO_LIMIT = 100_000
_PROGRESS_EVERY = 20_000
_UNCLOSED = "a quotation mark is opened and not closed on the same line"
_MISPLACED = "a quoted field is followed by something else than a comma, or is too long"
_NOT_KEPT = "[not kept: this file has columns that are never stored]"


@dataclass(frozen=True, slots=True)
class Line:
    """One readable record: `fields` by column name, `raw` as it may be kept."""

    number: int
    fields: Mapping[str, str]
    raw: str


def read_csv(path: Path, required: tuple[str, ...], sink: Sink, progress: Progress) -> Iterator[Line]:
    """Yield each record of a file; what cannot be read goes to `sink`, with its line and reason.

    Args:
        required: columns without which the file is of no use.

    Raises:
        SourceRefused: the header is missing, names a column twice or lacks a required one.
    """
    total, done = path.stat().st_size, 0
    with path.open("rb") as stream:
        first = stream.readline()
        header = _header(path, first, required)
        dropped = {place for place, name in enumerate(header) if _report_dropped(path.name, name, sink)}
        names = [None if place in dropped else name for place, name in enumerate(header)]
        done = len(first)
        for number, chunk in enumerate(stream, start=2):
            done += len(chunk)
            if number % _PROGRESS_EVERY == 0:
                progress(path.name, done, total)
            line = _line(path.name, number, chunk, names, bool(dropped), sink)
            if line is not None:
                yield line
    progress(path.name, total, total)


class RowReader:
    """Turns lines into rows of one canonical table. Values met before are not converted again."""

    def __init__(self, table: Table, source_names: Mapping[str, str] | None = None) -> None:
        renamed = source_names or {}
        self._columns = [(column, renamed.get(column.name, column.name)) for column in table.columns]
        self._memo: dict[str, dict[str, Value]] = {column.name: {} for column in table.columns}

    def row(self, line: Line) -> dict[str, Value]:
        """The canonical row of a line.

        Raises:
            BadValue: naming the first column that is wrong.
        """
        row: dict[str, Value] = {}
        fields = line.fields
        for column, source in self._columns:
            text = fields.get(source, "")
            memo = self._memo[column.name]
            try:
                row[column.name] = memo[text]
            except KeyError:
                value = convert(column, text)
                if len(memo) < _MEMO_LIMIT:
                    memo[text] = value
                row[column.name] = value
        return row


def quarantine(sink: Sink, file: str, line: Line, error: BadValue) -> None:
    """Put a line aside with what was wrong with it."""
    sink.quarantine(BadRow(file, line.number, error.column, error.reason, line.raw))


def _header(path: Path, first: bytes, required: tuple[str, ...]) -> list[str]:
    try:
        names = [name.strip() for name in next(csv.reader([first.decode("utf-8-sig").rstrip("\r\n")], strict=True), [])]
    except (UnicodeDecodeError, csv.Error) as error:
        raise SourceRefused(f"{path.name}, line 1: the header cannot be read: {error}") from None
    if not any(names):
        raise SourceRefused(f"{path.name}, line 1: there is no header")
    for name in names:
        if names.count(name) > 1:
            raise SourceRefused(f"{path.name}, line 1: the column {name!r} is there twice")
    for name in required:
        if name not in names:
            raise SourceRefused(f"{path.name}, line 1: there is no column {name!r}; found {', '.join(names)}")
    return names


def _report_dropped(file: str, name: str, sink: Sink) -> bool:
    kind = refused_kind(name)
    if kind is not None:
        sink.drop_column(file, name, kind)
    return kind is not None


def _line(file: str, number: int, chunk: bytes, names: list[str | None], guarded: bool, sink: Sink) -> Line | None:
    stripped = chunk.rstrip(b"\r\n")
    if not stripped.strip():
        sink.ignore(file, "empty line")
        return None
    try:
        text = stripped.decode("utf-8")
    except UnicodeDecodeError as error:
        raw = _NOT_KEPT if guarded else stripped.decode("utf-8", "backslashreplace")
        sink.quarantine(BadRow(file, number, None, f"byte {error.start + 1} of the line is not UTF-8", raw))
        return None
    raw = _NOT_KEPT if guarded else text
    if "\0" in text:
        sink.quarantine(BadRow(file, number, None, "the line holds a zero byte", raw))
        return None
    try:
        fields = _fields(text)
    except csv.Error as error:
        reason = _UNCLOSED if "unexpected end" in str(error) else _MISPLACED
        sink.quarantine(BadRow(file, number, None, reason, raw))
        return None
    if len(fields) != len(names):
        reason = f"the line has {len(fields)} fields and the header has {len(names)}"
        sink.quarantine(BadRow(file, number, None, reason, raw))
        return None
    named = {name: field for name, field in zip(names, fields, strict=True) if name is not None}
    return Line(number, named, ",".join(named.values()) if guarded else text)


def _fields(text: str) -> list[str]:
    if '"' not in text:
        return text.split(",")
    return next(csv.reader([text], strict=True))
