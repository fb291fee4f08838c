"""CSV in which each physical line is one record, so that one damaged line can never swallow its
neighbours.

This module owns the way from bytes to fields. A line that cannot be read alone (an unclosed quote,
bytes that are not UTF-8, too few or too many fields) is quarantined alone. Columns that are never
stored are cut out before a field or a raw line leaves this module.
"""

from __future__ import annotations

import csv
from collections.abc import Container, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from records.canonical.never_ingest import prohibited_kind
from records.canonical.quarantine import BadRow, BadValue, Value, convert
from records.canonical.schema import CanonicalTable
from records.connectors.protocol import RecordSink, SourceRefused
from records.system.progress import ProgressCallback

_MEMO_LIMIT = 100_000
_PROGRESS_EVERY = 20_000
_LONGEST = 1 << 20
"""Bytes of one line: a file without line ends must not be read into memory as one record."""
_SHOWN_OF_LONG = 1_000
_SHOWN = "backslashreplace"
_UNCLOSED = "a quotation mark is opened and not closed on the same line"
_MISPLACED = "a quoted field is followed by something else than a comma, or is too long"
RAW_NOT_STORED = "[not kept: this file has columns that are not stored]"


@dataclass(frozen=True, slots=True)
class CsvRecord:
    """One readable record: `fields` by column name, `raw` and the names of its `columns` as they
    may be kept.
    """

    file: str
    number: int
    fields: Mapping[str, str]
    raw: str
    columns: str = ""


def read_csv(
    path: Path,
    required: tuple[str, ...],
    sink: RecordSink,
    progress: ProgressCallback,
    only: Container[str] | None = None,
) -> Iterator[CsvRecord]:
    """Yield each record of a file; what cannot be read goes to `sink`, with its line and reason.

    Args:
        required: columns without which the file is of no use.
        only: columns that may leave this module; the others are cut out as if they were never to be
            stored.

    Raises:
        SourceRefused: the header is missing, names a column twice or lacks a required one.
    """
    total, done = path.stat().st_size, 0
    with path.open("rb") as stream:
        first = stream.readline(_LONGEST)
        header = parse_header(path, first, required)
        names = [
            None
            if _report_dropped(path.name, name, sink) or (only is not None and name not in only)
            else name
            for name in header
        ]
        cut = ColumnFilter(names)
        done = len(first)
        for number, chunk in enumerate(_lines(stream), start=2):
            done += len(chunk)
            if number % _PROGRESS_EVERY == 0:
                progress(path.name, done, total)
            line = parse_record(path.name, number, chunk, cut, sink)
            if line is not None:
                yield line
    progress(path.name, total, total)


def iter_readable_rows(path: Path) -> Iterator[list[str]]:
    """The header of a file, then the fields of each record that can be read: to look at, with
    nothing accounted for.

    Raises:
        SourceRefused: the header is missing or names a column twice.
    """
    with path.open("rb") as stream:
        header = parse_header(path, stream.readline(_LONGEST))
        yield header
        for chunk in _lines(stream):
            try:
                fields = parse_csv_line(chunk.rstrip(b"\r\n").decode("utf-8"))
            except (UnicodeDecodeError, csv.Error):
                continue
            if len(fields) == len(header):
                yield fields


class RowReader:
    """Turns lines into rows of one canonical table. Values met before are not converted again."""

    def __init__(
        self, table: CanonicalTable, source_names: Mapping[str, str] | None = None
    ) -> None:
        renamed = source_names or {}
        self._columns = [
            (column, renamed.get(column.name, column.name)) for column in table.columns
        ]
        self._memo: dict[str, dict[str, Value]] = {column.name: {} for column in table.columns}

    def row(self, line: CsvRecord) -> dict[str, Value]:
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


class ColumnFilter:
    """What may leave a file: `names` of its columns in order, None for each one that is cut out."""

    def __init__(self, names: Sequence[str | None]) -> None:
        self.names = names
        self.guarded = None in names
        self.columns = format_csv_line([name for name in names if name is not None])


def format_csv_line(fields: Iterable[str]) -> str:
    """Fields as one line of CSV, without its end."""
    return ",".join(
        '"' + field.replace('"', '""') + '"' if '"' in field or "," in field else field
        for field in fields
    )


def parse_record(
    file: str, number: int, chunk: bytes, cut: ColumnFilter, sink: RecordSink
) -> CsvRecord | None:
    """One physical line as a record; None where it goes to `sink`, with its reason."""

    def aside(reason: str, raw: str) -> None:
        sink.quarantine(
            BadRow(file, number, None, reason, RAW_NOT_STORED if cut.guarded else raw, cut.columns)
        )

    stripped = chunk.rstrip(b"\r\n")
    if len(stripped) > _LONGEST:
        aside(
            f"the line is longer than {_LONGEST:,} bytes",
            stripped[:_SHOWN_OF_LONG].decode("utf-8", _SHOWN),
        )
        return None
    if not stripped.strip():
        sink.ignore(file, "empty line")
        return None
    try:
        text = stripped.decode("utf-8")
    except UnicodeDecodeError as error:
        aside(f"byte {error.start + 1} of the line is not UTF-8", stripped.decode("utf-8", _SHOWN))
        return None
    if "\0" in text:
        aside("the line holds a zero byte", text)
        return None
    try:
        fields = parse_csv_line(text)
    except csv.Error as error:
        aside(_UNCLOSED if "unexpected end" in str(error) else _MISPLACED, text)
        return None
    if len(fields) != len(cut.names):
        aside(f"the line has {len(fields)} fields and the header has {len(cut.names)}", text)
        return None
    named = {name: field for name, field in zip(cut.names, fields, strict=True) if name is not None}
    return CsvRecord(
        file, number, named, format_csv_line(named.values()) if cut.guarded else text, cut.columns
    )


def quarantine_record(sink: RecordSink, file: str, line: CsvRecord, error: BadValue) -> None:
    """Put a line aside with what was wrong with it."""
    sink.quarantine(BadRow(file, line.number, error.column, error.reason, line.raw, line.columns))


def _lines(stream: BinaryIO) -> Iterator[bytes]:
    """Each physical line; of one that is too long only so much as shows that it is, and then the
    next line.
    """
    while chunk := stream.readline(_LONGEST + 1):
        yield chunk
        while len(chunk) > _LONGEST and not chunk.endswith(b"\n"):
            chunk = stream.readline(_LONGEST + 1)


def parse_header(path: Path, first: bytes, required: tuple[str, ...] = ()) -> list[str]:
    """The names of a file's columns, from its first line.

    Raises:
        SourceRefused: it is missing, names a column twice or lacks a required one.
    """
    try:
        names = [
            name.strip()
            for name in next(
                csv.reader([first.decode("utf-8-sig").rstrip("\r\n")], strict=True), []
            )
        ]
    except (UnicodeDecodeError, csv.Error) as error:
        raise SourceRefused(f"{path.name}, line 1: the header cannot be read: {error}") from None
    if not any(names):
        raise SourceRefused(f"{path.name}, line 1: there is no header")
    missing = [name for name in required if name not in names]
    if missing:  # without any needed name the line may be a child's record, and is not repeated
        found = (
            f"found {', '.join(names)}"
            if len(missing) < len(required)
            else "is the header missing?"
        )
        raise SourceRefused(f"{path.name}, line 1: there is no column {missing[0]!r}; {found}")
    for name in names:
        if names.count(name) > 1:
            raise SourceRefused(f"{path.name}, line 1: the column {name!r} is there twice")
    return names


def _report_dropped(file: str, name: str, sink: RecordSink) -> bool:
    kind = prohibited_kind(name)
    if kind is not None:
        sink.drop_column(file, name, kind)
    return kind is not None


def parse_csv_line(text: str) -> list[str]:
    """The fields of one line of CSV, which must be whole (`csv.Error`)."""
    if '"' not in text:
        return text.split(",")
    return next(csv.reader([text], strict=True))
