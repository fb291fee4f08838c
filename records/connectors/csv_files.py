"""CSV in which each physical line is one record, so that one damaged line can never swallow its neighbours.

This module owns the way from bytes to fields. A line that cannot be read alone (an unclosed quote, bytes that are
not UTF-8, too few or too many fields) is quarantined alone. Columns that are never stored are cut out before a
field or a raw line leaves this module.
"""

from __future__ import annotations

import csv
from collections.abc import Container, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from records.connectors.protocol import LineSink, Progress, SourceRefused
from records.never_ingest import refused_kind
from records.quarantine import BadRow, BadValue, Value, convert
from records.schema import Table

_MEMO_LIMIT = 100_000
_PROGRESS_EVERY = 20_000
_LONGEST = 1 << 20
"""Bytes of one line: a file without line ends must not be read into memory as one record."""
_SHOWN_OF_LONG = 1_000
_UNCLOSED = "a quotation mark is opened and not closed on the same line"
_MISPLACED = "a quoted field is followed by something else than a comma, or is too long"
_NOT_KEPT = "[not kept: this file has columns that are not stored]"


@dataclass(frozen=True, slots=True)
class Line:
    """One readable record: `fields` by column name, `raw` as it may be kept."""

    file: str
    number: int
    fields: Mapping[str, str]
    raw: str


def read_csv(path: Path, required: tuple[str, ...], sink: LineSink, progress: Progress,
             only: Container[str] | None = None) -> Iterator[Line]:  # fmt: skip
    """Yield each record of a file; what cannot be read goes to `sink`, with its line and reason.

    Args:
        required: columns without which the file is of no use.
        only: columns that may leave this module; the others are cut out as if they were never to be stored.

    Raises:
        SourceRefused: the header is missing, names a column twice or lacks a required one.
    """
    total, done = path.stat().st_size, 0
    with path.open("rb") as stream:
        first = stream.readline(_LONGEST)
        header = _header(path, first, required)
        names = [None if _report_dropped(path.name, name, sink) or (only is not None and name not in only) else name
                 for name in header]  # fmt: skip
        guarded = None in names
        done = len(first)
        for number, chunk in enumerate(_lines(stream), start=2):
            done += len(chunk)
            if number % _PROGRESS_EVERY == 0:
                progress(path.name, done, total)
            line = _line(path.name, number, chunk, names, guarded, sink)
            if line is not None:
                yield line
    progress(path.name, total, total)


def readable(path: Path) -> Iterator[list[str]]:
    """The header of a file, then the fields of each record that can be read: to look at, with nothing accounted for.

    Raises:
        SourceRefused: the header is missing or names a column twice.
    """
    with path.open("rb") as stream:
        header = _header(path, stream.readline(_LONGEST), ())
        yield header
        for chunk in _lines(stream):
            try:
                fields = _fields(chunk.rstrip(b"\r\n").decode("utf-8"))
            except (UnicodeDecodeError, csv.Error):
                continue
            if len(fields) == len(header):
                yield fields


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


def quarantine(sink: LineSink, file: str, line: Line, error: BadValue) -> None:
    """Put a line aside with what was wrong with it."""
    sink.quarantine(BadRow(file, line.number, error.column, error.reason, line.raw))


def _lines(stream: BinaryIO) -> Iterator[bytes]:
    """Each physical line; of one that is too long only so much as shows that it is, and then the next line."""
    while chunk := stream.readline(_LONGEST + 1):
        yield chunk
        while len(chunk) > _LONGEST and not chunk.endswith(b"\n"):
            chunk = stream.readline(_LONGEST + 1)


def _header(path: Path, first: bytes, required: tuple[str, ...]) -> list[str]:
    try:
        names = [name.strip() for name in next(csv.reader([first.decode("utf-8-sig").rstrip("\r\n")], strict=True), [])]
    except (UnicodeDecodeError, csv.Error) as error:
        raise SourceRefused(f"{path.name}, line 1: the header cannot be read: {error}") from None
    if not any(names):
        raise SourceRefused(f"{path.name}, line 1: there is no header")
    missing = [name for name in required if name not in names]
    if missing:  # without any needed name the line may be a child's record, and is not repeated
        found = f"found {', '.join(names)}" if len(missing) < len(required) else "is the header missing?"
        raise SourceRefused(f"{path.name}, line 1: there is no column {missing[0]!r}; {found}")
    for name in names:
        if names.count(name) > 1:
            raise SourceRefused(f"{path.name}, line 1: the column {name!r} is there twice")
    return names


def _report_dropped(file: str, name: str, sink: LineSink) -> bool:
    kind = refused_kind(name)
    if kind is not None:
        sink.drop_column(file, name, kind)
    return kind is not None


def _line(file: str, number: int, chunk: bytes, names: list[str | None], guarded: bool, sink: LineSink) -> Line | None:
    stripped = chunk.rstrip(b"\r\n")
    if len(stripped) > _LONGEST:
        raw = _NOT_KEPT if guarded else stripped[:_SHOWN_OF_LONG].decode("utf-8", "backslashreplace")
        sink.quarantine(BadRow(file, number, None, f"the line is longer than {_LONGEST:,} bytes", raw))
        return None
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
    return Line(file, number, named, ",".join(named.values()) if guarded else text)


def _fields(text: str) -> list[str]:
    if '"' not in text:
        return text.split(",")
    return next(csv.reader([text], strict=True))
