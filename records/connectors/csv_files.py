"""CSV in which each physical line is one record: a damaged line can never swallow its neighbors.

This module owns the way from bytes to fields. A line that cannot be read by itself (an unclosed
quote, bytes that are not UTF-8, too few or too many fields) is quarantined by itself. Columns that
are never stored are cut out before a field or a raw line leaves this module.
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
_MAX_LINE_BYTES = 1 << 20
"""Bytes of one line: a file without line ends must not be read into memory as one record."""
_LONG_LINE_EXCERPT = 1_000
_UNDECODABLE = "backslashreplace"
_UNCLOSED_QUOTE = "a quotation mark is opened and not closed on the same line"
_MISPLACED_QUOTE = "a quoted field is followed by something else than a comma, or is too long"
RAW_NOT_STORED = "[not kept: this file has columns that are not stored]"


@dataclass(frozen=True, slots=True)
class CsvRecord:
    """One readable record of a CSV file.

    `fields` are by column name; `raw` and `columns` are the line and its header, without the
    columns that are never stored. `line_number` counts from 1, the header included.
    """

    file: str
    line_number: int
    fields: Mapping[str, str]
    raw: str
    columns: str = ""


def read_csv(
    path: Path,
    required: tuple[str, ...],
    sink: RecordSink,
    progress: ProgressCallback,
    allowed_columns: Container[str] | None = None,
) -> Iterator[CsvRecord]:
    """Yield each record of a file; what cannot be read goes to `sink`, with its line and reason.

    Args:
        required: columns without which the file is of no use.
        allowed_columns: columns that may leave this module; all others are dropped as if they were
            never to be stored. None allows all.

    Raises:
        SourceRefused: the header is missing, names a column twice or lacks a required one.
    """
    total, done = path.stat().st_size, 0
    with path.open("rb") as stream:
        header_line = stream.readline(_MAX_LINE_BYTES)
        header = parse_header(path, header_line, required)
        names = [
            None
            if _report_dropped(path.name, name, sink)
            or (allowed_columns is not None and name not in allowed_columns)
            else name
            for name in header
        ]
        column_filter = ColumnFilter(names)
        done = len(header_line)
        for number, chunk in enumerate(_physical_lines(stream), start=2):
            done += len(chunk)
            if number % _PROGRESS_EVERY == 0:
                progress(path.name, done, total)
            record = parse_record(path.name, number, chunk, column_filter, sink)
            if record is not None:
                yield record
    progress(path.name, total, total)


def iter_readable_rows(path: Path) -> Iterator[list[str]]:
    """The header of a file, then the fields of each readable record; nothing is counted.

    Raises:
        SourceRefused: the header is missing or names a column twice.
    """
    with path.open("rb") as stream:
        header = parse_header(path, stream.readline(_MAX_LINE_BYTES))
        yield header
        for line in _physical_lines(stream):
            try:
                fields = parse_csv_line(line.rstrip(b"\r\n").decode("utf-8"))
            except (UnicodeDecodeError, csv.Error):
                continue
            if len(fields) == len(header):
                yield fields


class RowReader:
    """Turns CSV records into rows of one canonical table; converts no value twice."""

    def __init__(
        self, table: CanonicalTable, source_names: Mapping[str, str] | None = None
    ) -> None:
        renamed = source_names or {}
        self._columns = [
            (column, renamed.get(column.name, column.name)) for column in table.columns
        ]
        self._memo: dict[str, dict[str, Value]] = {column.name: {} for column in table.columns}

    def row(self, record: CsvRecord) -> dict[str, Value]:
        """The canonical row of a record.

        Raises:
            BadValue: naming the first column that is wrong.
        """
        row: dict[str, Value] = {}
        fields = record.fields
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
    """What may leave a file: `names` of its columns in order, None for each that is dropped."""

    def __init__(self, names: Sequence[str | None]) -> None:
        self.names = names
        self.drops_columns = None in names
        self.columns = format_csv_line([name for name in names if name is not None])


def format_csv_line(fields: Iterable[str]) -> str:
    """Fields as one line of CSV, without a line end."""
    return ",".join(
        '"' + field.replace('"', '""') + '"' if '"' in field or "," in field else field
        for field in fields
    )


def parse_record(
    file: str, line_number: int, raw_line: bytes, column_filter: ColumnFilter, sink: RecordSink
) -> CsvRecord | None:
    """One physical line as a record; None where it goes to `sink`, with its reason."""

    def quarantine(reason: str, raw: str) -> None:
        sink.quarantine(
            BadRow(
                file,
                line_number,
                None,
                reason,
                RAW_NOT_STORED if column_filter.drops_columns else raw,
                column_filter.columns,
            )
        )

    line = raw_line.rstrip(b"\r\n")
    if len(line) > _MAX_LINE_BYTES:
        quarantine(
            f"the line is longer than {_MAX_LINE_BYTES:,} bytes",
            line[:_LONG_LINE_EXCERPT].decode("utf-8", _UNDECODABLE),
        )
        return None
    if not line.strip():
        sink.ignore(file, "empty line")
        return None
    try:
        text = line.decode("utf-8")
    except UnicodeDecodeError as error:
        quarantine(
            f"byte {error.start + 1} of the line is not UTF-8", line.decode("utf-8", _UNDECODABLE)
        )
        return None
    if "\0" in text:
        quarantine("the line holds a zero byte", text)
        return None
    try:
        fields = parse_csv_line(text)
    except csv.Error as error:
        quarantine(_UNCLOSED_QUOTE if "unexpected end" in str(error) else _MISPLACED_QUOTE, text)
        return None
    if len(fields) != len(column_filter.names):
        quarantine(
            f"the line has {len(fields)} fields and the header has {len(column_filter.names)}", text
        )
        return None
    named = {
        name: field
        for name, field in zip(column_filter.names, fields, strict=True)
        if name is not None
    }
    return CsvRecord(
        file,
        line_number,
        named,
        format_csv_line(named.values()) if column_filter.drops_columns else text,
        column_filter.columns,
    )


def quarantine_record(sink: RecordSink, file: str, record: CsvRecord, error: BadValue) -> None:
    """Quarantine a record, with the column and the reason of the error."""
    sink.quarantine(
        BadRow(file, record.line_number, error.column, error.reason, record.raw, record.columns)
    )


def _physical_lines(stream: BinaryIO) -> Iterator[bytes]:
    """Each physical line; an overlong one is cut, and the rest of it skipped."""
    while line := stream.readline(_MAX_LINE_BYTES + 1):
        yield line
        while len(line) > _MAX_LINE_BYTES and not line.endswith(b"\n"):
            line = stream.readline(_MAX_LINE_BYTES + 1)


def parse_header(path: Path, header_line: bytes, required: tuple[str, ...] = ()) -> list[str]:
    """The names of a file's columns, from its first line.

    Raises:
        SourceRefused: it is missing, names a column twice or lacks a required one.
    """
    try:
        names = [
            name.strip()
            for name in next(
                csv.reader([header_line.decode("utf-8-sig").rstrip("\r\n")], strict=True), []
            )
        ]
    except (UnicodeDecodeError, csv.Error) as error:
        raise SourceRefused(f"{path.name}, line 1: the header cannot be read: {error}") from None
    if not any(names):
        raise SourceRefused(f"{path.name}, line 1: there is no header")
    missing = [name for name in required if name not in names]
    # Without any required name the line may be a child's record, and is not repeated.
    if missing:
        hint = (
            f"found {', '.join(names)}"
            if len(missing) < len(required)
            else "is the header missing?"
        )
        raise SourceRefused(f"{path.name}, line 1: there is no column {missing[0]!r}; {hint}")
    for name in names:
        if names.count(name) > 1:
            raise SourceRefused(f"{path.name}, line 1: the column {name!r} is there twice")
    return names


def _report_dropped(file: str, column: str, sink: RecordSink) -> bool:
    kind = prohibited_kind(column)
    if kind is not None:
        sink.drop_column(file, column, kind)
    return kind is not None


def parse_csv_line(text: str) -> list[str]:
    """The fields of one line of CSV; `csv.Error` when the line is not complete by itself."""
    if '"' not in text:
        return text.split(",")
    return next(csv.reader([text], strict=True))
