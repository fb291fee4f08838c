"""CSV: from bytes to fields, so that a damaged line can never swallow its neighbors.

This module owns what a record is. A record is one physical line, or several where a quoted field
holds line breaks (RFC 4180): following lines are joined only if the quote closes within
`MAX_JOINED_LINES` lines, the whole then has exactly the header's number of fields, and none of the
lines that would be joined is a whole record by itself. Otherwise the first line is quarantined
alone, and the next line is a record of its own. A joined record counts once, with the number of its
first line; its other lines count as part of it. Whatever else cannot be read (an unclosed quote, a
byte that the file's encoding does not have, too few or too many fields) is quarantined by itself.

The separator is the one with which the header names the columns that are read, and a header in
another case or with other spaces names them too. Columns that are never stored are cut out before a
field or a raw line leaves this module. Identifiers that a spreadsheet has shortened, and dates of
which it cannot be told whether month or day stands first, are quarantined here, because every
connector would take them for good. What a spreadsheet puts around a text (="00123", '00123) and
signs that nobody sees are taken off.
"""

from __future__ import annotations

import codecs
import csv
import re
from collections import Counter, deque
from collections.abc import Collection, Container, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import BinaryIO

from records.canonical.never_ingest import prohibited_kind
from records.canonical.quarantine import BadRow, BadValue, Value, convert, refuse_shortened
from records.canonical.schema import CanonicalTable
from records.connectors.csv_text import SAVE_AS_CSV, UTF_8, TextForm, open_as_utf8
from records.connectors.file_names import plain_name
from records.connectors.protocol import RecordSink, SourceRefused
from records.system.progress import ProgressCallback

MAX_JOINED_LINES = 50
"""Lines of one record at most. A comment on a piece of work has paragraphs, not pages."""

_MEMO_LIMIT = 100_000
_PROGRESS_EVERY = 20_000
_MAX_LINE_BYTES = 1 << 20
"""Bytes of one record: a file without line ends must not be read into memory as one record."""
_LONG_LINE_EXCERPT = 1_000
_UNDECODABLE = "backslashreplace"
_UNCLOSED_QUOTE = "a quotation mark is opened and not closed on the same line"
_MISPLACED_QUOTE = "a quoted field is followed by something else than a comma, or is too long"
RAW_NOT_STORED = "[not kept: this file has columns that are not stored]"
_SEPARATORS = {",": "commas", ";": "semicolons", "\t": "tabs", "|": "vertical bars"}
_SEPARATOR_LINE = re.compile(rb'(?:\xef\xbb\xbf)?"?sep=(.)"?\r?\n?', re.IGNORECASE)
"""The first line by which Excel tells itself the separator."""
_IDENTIFIER_ENDINGS = ("id", "ids", "identifier", "number", "key")
_NUMERIC_DATE = re.compile(r"([0-9]{1,2})[/-]([0-9]{1,2})[/-][0-9]{4}(?![0-9])")
_MONTHS = 12
_SURE_MONTHS_PER_SLIP = 10
"""Dates that surely have the month first, for each that has not, in a column that does."""
_EMPTY = b' \t\r\n,;|"'
_INVISIBLE = re.compile("[\u200b\u200e\u200f\u2060\ufeff]")
"""Signs without width that no word is told apart by, as left where files were put together."""
_TEXT_FORMULA = re.compile(r'(?<![^,;\t|])="([^"]*)"(?=[,;\t|\r\n]|$)')
_QUOTED_TEXT_FORMULA = re.compile(r'"=""([^"]*)"""')
"""How exports tell Excel that a number is a text."""
_TEXT_MARK = re.compile(r"\s*'(?=[0-9])")
"""How a spreadsheet shows that a number is a text."""
_HEADER_AGAIN = "the header again"
HEADER_WITHIN = 20
"""Lines of a file among which a header is looked for."""
_FOOTER_LIMIT = 20
_FOOTER_WORDS = re.compile(
    r"copyright|\(c\)|©|confidential|do not distribute|all rights reserved|^(grand )?totals?\b"
    r"|^[\d,]+ (records?|rows?)\b|^(records?|rows?|record count|total records)\b.*\d"
    r"|^(report )?(generated|created|printed|exported)\b|^page \d+",
    re.IGNORECASE,
)
_TOTAL = re.compile(r"(grand |sub-?)?totals?:?", re.IGNORECASE)
FOOTER = "a line below the records (the report's footer)"
ABOVE_HEADER = "a line above the header"


@dataclass(frozen=True, slots=True)
class CsvRecord:
    """One readable record of a CSV file.

    `fields` are by column name; `raw` and `columns` are the line and its header, without the
    columns that are never stored. `line_number` counts physical lines from 1, the header included.
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
    *,
    known_columns: Iterable[str] = (),
    header_line: int = 1,
    has_footer: bool = False,
    date_columns: Collection[str] | None = None,
) -> Iterator[CsvRecord]:
    """Yield each record of a file; what cannot be read goes to `sink`, with its line and reason.

    A note in the report says if the file is not UTF-8, not separated by commas, or writes dates
    with the month first.

    Args:
        required: columns without which the file is of no use.
        allowed_columns: columns that may leave this module; all others are dropped as if they were
            never to be stored. None allows all.
        known_columns: further columns that are read. A byte that cannot be read in any other column
            does no harm; where `required` and this are both empty, all columns count as read.
        header_line: the line of the column names; those above it are ignored, and counted.
        has_footer: whether lines of one field at the end may be a report's footer: ignored, and
            counted.
        date_columns: columns whose dates may have month or day first, as the file shows; by default
            those with "date" in their names. Empty where the caller knows how dates are written.

    Raises:
        SourceRefused: the file is a workbook, or the header is missing, names a column twice or
            lacks a required one.
    """
    total, done = path.stat().st_size, 0
    known = tuple(dict.fromkeys((*required, *known_columns)))
    with open_as_utf8(path) as (stream, form):
        lines = _Lines(stream)
        header, _ = _read_header(path, lines, required, known, header_line)
        for _ in range(header.line - header.lines):
            sink.ignore(path.name, ABOVE_HEADER)
        layout = _layout(path, header, form, sink, known, allowed_columns)
        if form.holds_numeric_dates:
            layout.uncertain_dates = _uncertain_dates(path, header_line, layout, sink, date_columns)
        _note_form(path.name, form, header, sink)
        footer = _Footer(path.name, layout, sink) if has_footer else None
        number = header.line
        while line := lines.take():
            number += 1
            first, done = number, done + len(line)
            if number % _PROGRESS_EVERY == 0:
                progress(path.name, min(done, total), total)
            if footer is not None and footer.takes(number, line):
                continue
            if b'"' in line:
                line, joined = _whole_record(line, lines, layout)
                number += joined
            record = parse_record(path.name, first, line, layout, sink)
            if record is not None:
                yield record
        if footer is not None:
            footer.finish()
    progress(path.name, total, total)


def iter_readable_rows(
    path: Path, known_columns: Iterable[str] = (), header_line: int = 1
) -> Iterator[list[str]]:
    """The header of a file, then the fields of each readable record; nothing is counted.

    Raises:
        SourceRefused: the file is a workbook, or the header is missing or names a column twice.
    """
    with open_as_utf8(path) as (stream, form):
        lines = _Lines(stream)
        header, _ = _read_header(path, lines, (), tuple(known_columns), header_line)
        yield list(header.names)
        layout = CsvLayout.of(header, form.encoding)
        for _, fields in _readable_fields(lines, layout, header.line):
            yield fields


def has_rows(path: Path, required: tuple[str, ...] = (), known_columns: Iterable[str] = ()) -> bool:
    """Whether anything but empty lines follows the header of a file.

    Args:
        required: columns that the header must name.
        known_columns: columns that are read, of which none may be there twice.

    Raises:
        SourceRefused: the file is a workbook, or the header is missing, names a column twice or
            lacks a required one.
    """
    with open_as_utf8(path) as (stream, _):
        lines = _Lines(stream)
        _read_header(path, lines, required, tuple(known_columns), 1)
        while line := lines.take():
            if line.strip(_EMPTY):
                return True
    return False


def first_lines(path: Path, count: int) -> list[list[str]]:
    """The fields of the first physical lines of a file, by the separator that each line shows.

    A line that cannot be read is empty here.

    Raises:
        SourceRefused: the file is a workbook.
    """
    with open_as_utf8(path) as (stream, _):
        lines = _Lines(stream)
        return [_fields_of_any(lines.take()) for _ in range(count)]


@contextmanager
def open_records(
    path: Path, header_line: int = 1
) -> Iterator[tuple[CsvLayout, Iterator[tuple[int, bytes]]]]:
    """How the records of a file are written, and each record as bytes of UTF-8.

    A record is given with the number of its first line and all of its lines, line ends included.
    What stands above the records comes before them, as number 1.

    Raises:
        SourceRefused: the file is a workbook, or the header is missing or names a column twice.
    """
    with open_as_utf8(path) as (stream, form):
        lines = _Lines(stream)
        header, above = _read_header(path, lines, (), (), header_line)
        layout = CsvLayout.of(header, form.encoding)

        def records() -> Iterator[tuple[int, bytes]]:
            yield 1, above
            number = header.line + 1
            while line := lines.take():
                whole, joined = _whole_record(line, lines, layout)
                yield number, whole
                number += 1 + joined

        yield layout, records()


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
            BadValue: naming the first column of the source that is wrong.
        """
        row: dict[str, Value] = {}
        fields = record.fields
        for column, source in self._columns:
            text = fields.get(source, "")
            memo = self._memo[column.name]
            try:
                row[column.name] = memo[text]
            except KeyError:
                value = convert(column, text, source)
                if len(memo) < _MEMO_LIMIT:
                    memo[text] = value
                row[column.name] = value
        return row


@dataclass(frozen=True)
class CsvHeader:
    """The names of a file's columns.

    `unnamed` counts columns without a name at the end, whose fields must be empty. `line` is the
    last of the `lines` of the names, and `written` are the names as the file writes them. A name
    that is not read may be there twice, or be empty.
    """

    names: tuple[str, ...]
    separator: str = ","
    unnamed: int = 0
    line: int = 1
    written: tuple[str, ...] = ()
    lines: int = 1


class CsvLayout:
    """How the records of one file are read, and what of them may leave it.

    Args:
        names: of its columns in order, None for each that is dropped.
        separator: between fields.
        unnamed: columns at the end without a name.
        encoding: what messages call the file's encoding.
        header: all names as the file writes them; files that were put together have them again.
        read: columns in which a byte that cannot be read does harm; None where it does in all.

    `uncertain_dates` says for each column of dates in which month and day cannot be told apart why.
    """

    __slots__ = (
        "columns",
        "drops_columns",
        "encoding",
        "header",
        "identifiers",
        "keeps_raw",
        "kept",
        "kept_names",
        "names",
        "read",
        "separator",
        "uncertain_dates",
        "unnamed",
        "width",
    )

    def __init__(
        self,
        names: Sequence[str | None],
        separator: str = ",",
        unnamed: int = 0,
        encoding: str = UTF_8,
        read: frozenset[str] | None = None,
        header: tuple[str, ...] = (),
    ) -> None:
        self.names, self.separator, self.unnamed = names, separator, unnamed
        self.encoding, self.read, self.header = encoding, read, header
        self.width = len(names)
        self.drops_columns = None in names
        self.keeps_raw = not self.drops_columns and separator == ","
        self.kept = [(place, name) for place, name in enumerate(names) if name is not None]
        self.kept_names = tuple(name for _, name in self.kept)
        self.columns = format_csv_line(self.kept_names)
        self.identifiers = [
            name
            for name in self.kept_names
            if _is_identifier(name) and (read is None or name in read)
        ]
        self.uncertain_dates: Mapping[str, str] = {}

    @classmethod
    def of(cls, header: CsvHeader, encoding: str) -> CsvLayout:
        """The layout of a file of which every column may leave."""
        return cls(header.names, header.separator, header.unnamed, encoding, header=header.written)

    def fits(self, fields: Sequence[str]) -> bool:
        """Whether a record has as many fields as the header; unnamed ones may be left out."""
        return len(fields) == self.width or len(fields) == self.width + self.unnamed

    def misfit(self, fields: Sequence[str]) -> str | None:
        """Why a record does not fit the header; None if it does."""
        if not self.fits(fields):
            columns = self.width + self.unnamed
            return f"the line has {len(fields)} fields and the header has {columns}"
        for position in range(self.width, len(fields)):
            if fields[position].strip():
                return f"field {position + 1} of the line is in a column without a name"
        return None


def format_csv_line(fields: Iterable[str], separator: str = ",") -> str:
    """Fields as one record of CSV, without a line end."""
    return separator.join(
        '"' + field.replace('"', '""') + '"'
        if '"' in field or separator in field or "\n" in field or "\r" in field
        else field
        for field in fields
    )


def parse_record(
    file: str, line_number: int, raw_line: bytes, layout: CsvLayout, sink: RecordSink
) -> CsvRecord | None:
    """The lines of one record as a record; None where it goes to `sink`, with its reason."""
    line = raw_line.rstrip(b"\r\n")
    if len(line) > _MAX_LINE_BYTES:
        _quarantine_line(
            file,
            line_number,
            f"the line is longer than {_MAX_LINE_BYTES:,} bytes",
            line[:_LONG_LINE_EXCERPT].decode("utf-8", _UNDECODABLE),
            layout,
            sink,
        )
        return None
    if not line.strip():
        sink.ignore(file, "empty line")
        return None
    try:
        text = line.decode("utf-8")
    except UnicodeDecodeError as error:
        text = line.decode("utf-8", _UNDECODABLE)
        if not _is_damaged_only_where_not_read(line, layout):
            reason = _undecodable_reason(line, error.start, layout.encoding)
            _quarantine_line(file, line_number, reason, text, layout, sink)
            return None
    if not text.isascii():
        text = _INVISIBLE.sub("", text)
    # The way of nearly every line: neither quoted nor damaged.
    if '"' not in text and "\0" not in text:
        fields, why = text.split(layout.separator), None
    else:
        fields, why = _quoted_fields(text, layout)
    if why is None and len(fields) != layout.width:
        why = layout.misfit(fields)
    if why is not None:
        _quarantine_line(file, line_number, why, text, layout, sink)
        return None
    if not fields[0] and not any(field.strip() for field in fields):
        sink.ignore(file, "empty line")
        return None
    if layout.header and fields[0].strip() == layout.header[0] and _is_header(fields, layout):
        sink.ignore(file, _HEADER_AGAIN)
        return None
    if layout.drops_columns:
        named = {name: fields[position] for position, name in layout.kept}
    else:
        # The number of fields was checked, and this runs for every line of a district.
        named = dict(zip(layout.kept_names, fields))  # noqa: B905
    record = CsvRecord(
        file,
        line_number,
        named,
        text if layout.keeps_raw else format_csv_line(named.values()),
        layout.columns,
    )
    if "'" in text:
        record = _without_text_marks(record, layout)
    if layout.uncertain_dates or "+" in text:
        try:
            _check_values(record, layout)
        except BadValue as error:
            quarantine_record(sink, file, record, error)
            return None
    return record


def quarantine_record(sink: RecordSink, file: str, record: CsvRecord, error: BadValue) -> None:
    """Quarantine a record, with the column and the reason of the error."""
    sink.quarantine(
        BadRow(file, record.line_number, error.column, error.reason, record.raw, record.columns)
    )


def parse_header(
    path: Path,
    header_line: bytes,
    required: tuple[str, ...] = (),
    known: tuple[str, ...] = (),
    line_number: int = 1,
    separator: str | None = None,
) -> CsvHeader:
    """The names of a file's columns, from their line.

    A name that differs from a known one only in case, spaces, hyphens and underscores becomes it.

    Args:
        known: all columns that are read.
        separator: of the fields; None where the line shows it.

    Raises:
        SourceRefused: it is missing, names a column twice or lacks a required one.
    """
    where = f"{path.name}, line {line_number}"
    try:
        text = header_line.decode("utf-8-sig").rstrip("\r\n")
    except UnicodeDecodeError as error:
        raise SourceRefused(f"{where}: the header cannot be read: {error}") from None
    if "\r" in text:
        raise SourceRefused(
            f"{where}: the header cannot be read: some lines end in a bare CR and others do not;"
            f" {SAVE_AS_CSV}"
        )
    chosen = separator or _separator(text, known)
    try:
        found = [name.strip() for name in parse_csv_line(text, chosen)]
    except csv.Error:
        raise SourceRefused(
            f"{where}: the header cannot be read: a quotation mark is misplaced or not closed"
        ) from None
    if not any(found):
        raise SourceRefused(f"{where}: there is no header")
    unnamed = 0
    while not found[-1]:
        found.pop()
        unnamed += 1
    written = tuple(found)
    names = _known_names(found, known)
    missing = [name for name in required if name not in names]
    # Without any required name the line may be a child's record, and is not repeated.
    if missing:
        hint = (
            f"found {', '.join(names)}"
            if len(missing) < len(required)
            else "is the header missing?"
        )
        if chosen != ",":
            hint += f" (the fields are separated by {_separator_name(chosen)})"
        raise _ColumnMissing(f"{where}: there is no column {missing[0]!r}; {hint}")
    for name, count in Counter(names).items():
        if count > 1 and (name in known or not known):
            if not name:
                raise SourceRefused(f"{where}: several columns have no name: name or remove them")
            raise SourceRefused(f"{where}: the column {name!r} is there twice")
    return CsvHeader(tuple(names), chosen, unnamed, line_number, written)


def parse_csv_line(text: str, separator: str = ",") -> list[str]:
    """The fields of one record of CSV; `csv.Error` when it is not complete by itself.

    A blank between a separator and a quotation mark is left out.
    """
    if '"' not in text:
        return text.split(separator)
    if '="' in text:
        text = _TEXT_FORMULA.sub(r'"\1"', _QUOTED_TEXT_FORMULA.sub(r'"\1"', text))
    if f'{separator} "' in text:
        try:
            return _fields(text, separator, skips_blanks=True)
        except csv.Error:
            # A field that holds quotation marks within: they are its own.
            pass
    return _fields(text, separator, skips_blanks=False)


def _fields(text: str, separator: str, *, skips_blanks: bool) -> list[str]:
    return next(csv.reader([text], delimiter=separator, strict=True, skipinitialspace=skips_blanks))


class _ColumnMissing(SourceRefused):
    """A header without a column that is needed."""


class _Lines:
    """The physical lines of a stream one after the other, with a look at those that follow.

    An overlong line is cut, and the rest of it skipped.
    """

    __slots__ = ("_ahead", "_stream")

    def __init__(self, stream: BinaryIO) -> None:
        self._stream = stream
        self._ahead: deque[bytes] = deque()

    def take(self) -> bytes:
        """The next line; empty at the end."""
        if self._ahead:
            return self._ahead.popleft()
        line = self._stream.readline(_MAX_LINE_BYTES + 1)
        return line if len(line) <= _MAX_LINE_BYTES else self._cut(line)

    def peek(self, position: int) -> bytes:
        """The line at this position after the one that was taken last; empty past the end."""
        while len(self._ahead) <= position:
            line = self._stream.readline(_MAX_LINE_BYTES + 1)
            if not line:
                return b""
            self._ahead.append(line if len(line) <= _MAX_LINE_BYTES else self._cut(line))
        return self._ahead[position]

    def _cut(self, line: bytes) -> bytes:
        rest = line
        while len(rest) > _MAX_LINE_BYTES and not rest.endswith(b"\n"):
            rest = self._stream.readline(_MAX_LINE_BYTES + 1)
        return line


def _whole_record(line: bytes, lines: _Lines, layout: CsvLayout) -> tuple[bytes, int]:
    """A record that begins with a line, and how many further lines were joined to it."""
    if line.count(b'"') % 2 == 0 or layout.width == 1 or not _is_open(line, layout):
        return line, 0
    joined = [line]
    size = len(line)
    for position in range(MAX_JOINED_LINES - 1):
        following = lines.peek(position)
        size += len(following)
        if not following or size > _MAX_LINE_BYTES or _is_whole(following, layout):
            break
        joined.append(following)
        if b'"' not in following:
            continue
        whole = b"".join(joined)
        if _is_whole(whole, layout):
            for _ in range(len(joined) - 1):
                lines.take()
            return whole, len(joined) - 1
        if not _is_open(whole, layout):
            break
    return line, 0


def _is_whole(line: bytes, layout: CsvLayout) -> bool:
    """Whether it is a record with the header's number of fields."""
    try:
        text = line.rstrip(b"\r\n").decode("utf-8", _UNDECODABLE)
        return layout.fits(parse_csv_line(text, layout.separator))
    except csv.Error:
        return False


def _is_open(line: bytes, layout: CsvLayout) -> bool:
    """Whether a quote is opened and not closed."""
    try:
        parse_csv_line(line.rstrip(b"\r\n").decode("utf-8", _UNDECODABLE), layout.separator)
    except csv.Error as error:
        return "unexpected end" in str(error)
    return False


class _Footer:
    """Tells a report's footer from records that are cut off: it is the last of a file.

    Lines wait until the file ends or a record follows. A footer stands below an empty line, as
    Salesforce writes it, or says what only a footer says.
    """

    def __init__(self, file: str, layout: CsvLayout, sink: RecordSink) -> None:
        self.file, self.layout, self.sink = file, layout, sink
        self._waiting: list[tuple[int, bytes]] = []
        self._below_empty_line = False
        self._separator = layout.separator.encode()
        self._blanks = b" \t\r\n" + self._separator

    def takes(self, number: int, line: bytes) -> bool:
        """Whether a line may be of a footer; where it is not, those that wait are no footer."""
        if not line.strip(self._blanks):
            self._below_empty_line = True
            return False
        if self._may_be_footer(line) and len(self._waiting) < _FOOTER_LIMIT:
            self._waiting.append((number, line))
            return True
        for waiting_number, waiting in self._waiting:
            parse_record(self.file, waiting_number, waiting, self.layout, self.sink)
        self._waiting, self._below_empty_line = [], False
        return False

    def finish(self) -> None:
        for _ in self._waiting:
            self.sink.ignore(self.file, FOOTER)

    def _may_be_footer(self, line: bytes) -> bool:
        first, *others = line.split(self._separator, 2)
        if others and first.strip() and others[0].strip() and b'"' not in line:
            return _TOTAL.fullmatch(first.decode("utf-8", _UNDECODABLE).strip()) is not None
        text = line.rstrip(b"\r\n").decode("utf-8", _UNDECODABLE)
        try:
            fields = parse_csv_line(text, self.layout.separator)
        except csv.Error:
            return False
        if _TOTAL.fullmatch(fields[0].strip()):
            return True
        filled = [field.strip() for field in fields if field.strip()]
        if len(filled) != 1 or self.layout.width == 1:
            return False
        stands_below = len(fields) == 1 and (self._below_empty_line or bool(self._waiting))
        return stands_below or _FOOTER_WORDS.search(filled[0]) is not None


def _read_header(
    path: Path, lines: _Lines, required: tuple[str, ...], known: tuple[str, ...], header_line: int
) -> tuple[CsvHeader, bytes]:
    """The header of a file of which nothing was read yet, and all lines down to it."""
    line, separator = lines.take(), None
    taken = [line]
    while line and (len(taken) < header_line or _stands_above_a_header(line, len(taken))):
        if stated := _SEPARATOR_LINE.fullmatch(line):
            separator = stated[1].decode("latin-1")
        line = lines.take()
        taken.append(line)
    header_number = len(taken)
    while _is_open_header(line) and len(taken) - header_number < MAX_JOINED_LINES:
        following = lines.take()
        if not following or len(line) > _MAX_LINE_BYTES:
            break
        taken.append(following)
        line = line.rstrip(b"\r\n") + b" " + following
    try:
        header = parse_header(path, line, required, known, header_number, separator)
    except _ColumnMissing as refusal:
        later = _line_that_names(path, required) if header_line == 1 else None
        if later is None:
            raise
        raise SourceRefused(
            f"{refusal}; line {later} looks like the header: remove the lines above it, or say"
            f" header_line = {later} where the file has a mapping"
        ) from None
    lines_of_header = len(taken) - header_number + 1
    return replace(header, line=len(taken), lines=lines_of_header), b"".join(taken)


def _is_open_header(line: bytes) -> bool:
    """Whether the name of a column goes on below, as in a form's questions of several lines."""
    if line.count(b'"') % 2 == 0:
        return False
    text = line.rstrip(b"\r\n").decode("utf-8-sig", _UNDECODABLE)
    for separator in _SEPARATORS:
        try:
            parse_csv_line(text, separator)
        except csv.Error as error:
            if "unexpected end" in str(error):
                return True
    return False


def _is_header(fields: Sequence[str], layout: CsvLayout) -> bool:
    """Whether a record is the header, which files that were put together have again."""
    written = layout.header
    return tuple(field.strip() for field in fields[: len(written)]) == written


def _without_text_marks(record: CsvRecord, layout: CsvLayout) -> CsvRecord:
    """A record without the apostrophes by which a spreadsheet marks numbers as text."""
    marked = {
        name: _TEXT_MARK.sub("", text, count=1)
        for name in layout.identifiers
        if _TEXT_MARK.match(text := record.fields[name])
    }
    return replace(record, fields={**record.fields, **marked}) if marked else record


def _stands_above_a_header(line: bytes, number: int) -> bool:
    """Whether a line, if the header was not yet found, is empty or only states the separator."""
    is_empty = not line.removeprefix(codecs.BOM_UTF8).strip(_EMPTY)
    return number < HEADER_WITHIN and (is_empty or _SEPARATOR_LINE.fullmatch(line) is not None)


def _line_that_names(path: Path, required: tuple[str, ...]) -> int | None:
    """The first line that names all required columns."""
    wanted = {plain_name(name) for name in required}
    for number, names in enumerate(first_lines(path, HEADER_WITHIN), start=1):
        if wanted <= {plain_name(name) for name in names}:
            return number
    return None


def _separator(text: str, known: tuple[str, ...]) -> str:
    """The separator of a header: the one with which it names most of the known columns.

    Where that does not decide, a comma, unless the line has none and one of the others.
    """
    found: dict[str, list[str]] = {}
    for separator in _SEPARATORS:
        try:
            names = [name.strip() for name in parse_csv_line(text, separator)]
        except csv.Error:
            continue
        found[separator] = _known_names(names, known)
    if not found:
        return ","

    def rank(separator: str) -> tuple[int, bool, int]:
        names = found[separator]
        count = len(names)
        return len(set(names) & set(known)), separator == "," and count > 1, count

    return max(found, key=rank)


def _known_names(names: Sequence[str], known: Collection[str]) -> list[str]:
    """The names, each that is a known one but for case and spaces replaced by it."""
    by_plain_name: dict[str, str] = {}
    for name in known:
        by_plain_name.setdefault(plain_name(name), name)
    return [
        name
        if name in known or (alike := by_plain_name.get(plain_name(name))) is None or alike in names
        else alike
        for name in names
    ]


def _separator_name(separator: str) -> str:
    return _SEPARATORS.get(separator, repr(separator))


def _layout(
    path: Path,
    header: CsvHeader,
    form: TextForm,
    sink: RecordSink,
    known: tuple[str, ...],
    allowed_columns: Container[str] | None,
) -> CsvLayout:
    # A name that is there twice, or none, is of columns that are not read.
    once = {name for name, count in Counter(header.names).items() if name and count == 1}
    names = [
        None
        if _report_dropped(path.name, name, sink)
        or (allowed_columns is not None and name not in allowed_columns)
        or (known and name not in once)
        else name
        for name in header.names
    ]
    read = frozenset(known) if known else None
    return CsvLayout(names, header.separator, header.unnamed, form.encoding, read, header.written)


def _note_form(file: str, form: TextForm, header: CsvHeader, sink: RecordSink) -> None:
    if form.encoding != UTF_8:
        sink.note(f"{file} is not UTF-8: it was read as {form.encoding}")
    if header.separator != ",":
        separator = _separator_name(header.separator)
        sink.note(f"the fields of {file} are separated by {separator}, not by commas")


def _uncertain_dates(
    path: Path,
    header_line: int,
    layout: CsvLayout,
    sink: RecordSink,
    date_columns: Collection[str] | None,
) -> dict[str, str]:
    """Columns in which it cannot be told whether the month or the day stands first, each with why.

    Exports of districts in the United States write the month first. A column with a first number
    above 12 does not, unless that is one slip among many second numbers above 12; nor can it be
    assumed of a file that is separated by semicolons, as spreadsheets elsewhere write it, unless
    such a second number shows it.
    """
    columns = {
        position: name
        for position, name in enumerate(layout.names)
        if name is not None
        and (layout.read is None or name in layout.read)
        and ("date" in name.casefold() if date_columns is None else name in date_columns)
    }
    first_day_first: dict[str, int] = {}
    day_first, month_first = Counter[str](), Counter[str]()
    numeric: dict[str, None] = {}
    if columns:
        with open_as_utf8(path) as (stream, _):
            lines = _Lines(stream)
            header, _ = _read_header(path, lines, (), (), header_line)
            for number, fields in _readable_fields(lines, layout, header.line):
                for position, name in columns.items():
                    match = _NUMERIC_DATE.match(fields[position].strip())
                    if match is None:
                        continue
                    numeric[name] = None
                    if int(match[1]) > _MONTHS:
                        first_day_first.setdefault(name, number)
                        day_first[name] += 1
                    elif int(match[2]) > _MONTHS:
                        month_first[name] += 1
    uncertain = {
        name: f"line {number} of the same column has the day first"
        for name, number in first_day_first.items()
        if month_first[name] < _SURE_MONTHS_PER_SLIP * day_first[name]
    }
    if layout.separator == ";":
        for name in numeric.keys() - month_first.keys():
            uncertain.setdefault(
                name,
                "the file is separated by semicolons, as spreadsheets outside of the United States"
                " write it",
            )
    if sure := [name for name in numeric if name not in uncertain]:
        sink.note(
            f"dates of {path.name} were read with the month first, as in 2/14/2026:"
            f" {', '.join(sure)}"
        )
    return uncertain


def _readable_fields(
    lines: _Lines, layout: CsvLayout, number: int
) -> Iterator[tuple[int, list[str]]]:
    """The line and the fields of each record that is readable; `number` is the header's line."""
    while line := lines.take():
        number += 1
        first = number
        whole, joined = _whole_record(line, lines, layout)
        number += joined
        try:
            fields = parse_csv_line(whole.rstrip(b"\r\n").decode("utf-8"), layout.separator)
        except (UnicodeDecodeError, csv.Error):
            continue
        if layout.fits(fields):
            yield first, fields[: layout.width]


def _fields_of_any(line: bytes) -> list[str]:
    try:
        text = line.decode("utf-8-sig").rstrip("\r\n")
        return [field.strip() for field in parse_csv_line(text, _separator(text, ()))]
    except (UnicodeDecodeError, csv.Error):
        return []


def _quoted_fields(text: str, layout: CsvLayout) -> tuple[list[str], str | None]:
    """The fields of a record that may be quoted or damaged, or why it has none."""
    if "\0" in text:
        return [], "the line holds a zero byte"
    try:
        return parse_csv_line(text, layout.separator), None
    except csv.Error as error:
        return [], _UNCLOSED_QUOTE if "unexpected end" in str(error) else _MISPLACED_QUOTE


def _undecodable_reason(line: bytes, start: int, encoding: str) -> str:
    """Where a line cannot be read; `line` is UTF-8 up to `start`, whatever the file's encoding."""
    if encoding == UTF_8:
        return f"byte {start + 1} of the line is not UTF-8"
    unit = "character" if encoding.startswith("UTF-16") else "byte"
    return f"{unit} {len(line[:start].decode('utf-8')) + 1} of the line is not {encoding}"


def _is_damaged_only_where_not_read(line: bytes, layout: CsvLayout) -> bool:
    """Whether a line with bytes that cannot be read has them only in columns that are not read."""
    if layout.read is None:
        return False
    text = line.decode("utf-8", "surrogateescape")
    try:
        fields = parse_csv_line(text, layout.separator)
    except csv.Error:
        return False
    if not layout.fits(fields):
        return False
    return not any(
        name in layout.read and _holds_surrogate(field)
        for name, field in zip(layout.names, fields, strict=False)
    )


def _holds_surrogate(text: str) -> bool:
    return any("\ud800" <= character <= "\udfff" for character in text)


def _check_values(record: CsvRecord, layout: CsvLayout) -> None:
    """Refuse what every connector would take for good.

    Raises:
        BadValue: naming the column.
    """
    for name in layout.identifiers:
        refuse_shortened(name, record.fields[name])
    for name, why in layout.uncertain_dates.items():
        text = record.fields[name].strip()
        match = _NUMERIC_DATE.match(text)
        first, second = (int(match[1]), int(match[2])) if match else (0, 0)
        if first != second and max(first, second) <= _MONTHS:
            raise BadValue(
                name,
                f"{name} is {text!r}, and month and day cannot be told apart, because {why}; write"
                " a date like 2026-04-17",
            )


def _is_identifier(name: str) -> bool:
    return plain_name(name).endswith(_IDENTIFIER_ENDINGS)


def _quarantine_line(
    file: str, line_number: int, reason: str, raw: str, layout: CsvLayout, sink: RecordSink
) -> None:
    shown = RAW_NOT_STORED if layout.drops_columns else raw
    sink.quarantine(BadRow(file, line_number, None, reason, shown, layout.columns))


def _report_dropped(file: str, column: str, sink: RecordSink) -> bool:
    kind = prohibited_kind(column)
    if kind is not None:
        sink.drop_column(file, column, kind)
    return kind is not None
