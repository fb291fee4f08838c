"""Quarantined lines, corrected by a person and read again in their place.

The quarantine is handed out as a CSV file: file, line, column and reason, then the raw line with
the names of its fields. A person edits the raw lines; `apply_corrections` gives a folder that is
the source's own except for those lines. Columns that were dropped are not handed out: they stay as
the source has them. A line that is no longer the quarantined one is refused: the source has changed
since. So is a row that is not a line of a file: it is corrected in the source system.
"""

from __future__ import annotations

import csv
import hashlib
import io
import os
import re
import shutil
import tempfile
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from records.canonical.never_ingest import prohibited_kind, redact
from records.canonical.quarantine import BadRow, QuarantinedRow
from records.connectors.csv_files import (
    HEADER_WITHIN,
    RAW_NOT_STORED,
    CsvLayout,
    first_lines,
    format_csv_line,
    open_records,
    parse_csv_line,
    parse_record,
)
from records.connectors.file_names import is_clutter, plain_name
from records.connectors.protocol import SourceRefused

QUARANTINE_COLUMNS = (
    "file",
    "line",
    "column",
    "reason",
    "columns",
    "raw",
    "as_found",
    "source",
    "organization",
)
"""The columns of the file that is handed out. `columns` names the fields of the raw line, and is
empty where it cannot be corrected here; `as_found` is a digest of the raw line. These two, and
those that say where a line came from, must not be edited."""

_WORD = re.compile(r"[\w.-]+")
FORMULA_GUARD = "|"
"""Stands before each raw line and its field names, so that no spreadsheet takes it for a formula;
removed when read."""


@dataclass(frozen=True)
class Correction:
    """One corrected line: `raw` is a line of CSV whose fields are `columns`.

    `original_digest` is the digest of the line that it was made from.
    """

    file: str
    line: int
    raw: str
    columns: str
    original_digest: str
    source: str
    organization_id: str | None


def quarantine_to_csv(rows: Sequence[QuarantinedRow], access_notice: str) -> str:
    """The quarantine as CSV text to be edited, one row a record, `access_notice` last."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(QUARANTINE_COLUMNS)
    for row in rows:
        columns = FORMULA_GUARD + row.columns if row.columns else ""
        writer.writerow(
            (
                _spreadsheet_safe(row.file),
                row.line,
                row.column or "",
                row.reason,
                columns,
                FORMULA_GUARD + row.raw,
                line_digest(row.raw),
                row.source,
                _spreadsheet_safe(row.organization_id or ""),
            )
        )
    writer.writerow((f"# {access_notice}", *[""] * (len(QUARANTINE_COLUMNS) - 1)))
    return text.getvalue()


def students_named_in(rows: Sequence[BadRow], students: Collection[str]) -> list[str]:
    """Which of these students, by identifier, the rows name."""
    words = {word for row in rows for word in _WORD.findall(f"{row.raw} {row.reason}")}
    return sorted(words.intersection(students))


def read_corrections(file: Path) -> list[Correction]:
    """The rows of an edited quarantine whose raw line was changed.

    Raises:
        SourceRefused: naming the line of the first row that cannot be used.
    """
    corrections = []
    with file.open(encoding="utf-8-sig", newline="") as stream:
        reader = csv.DictReader(stream, strict=True)
        try:
            for name in QUARANTINE_COLUMNS:
                if name not in (reader.fieldnames or ()):
                    raise SourceRefused(
                        f"{file.name}, line 1: there is no column {name!r}; a quarantine that was "
                        f"handed out has {', '.join(QUARANTINE_COLUMNS)}"
                    )
            for row in reader:
                if not row["file"].startswith("# "):
                    corrections.append(
                        _parse_correction(f"{file.name}, line {reader.line_num}", row)
                    )
        except (csv.Error, UnicodeDecodeError) as error:
            raise SourceRefused(
                f"{file.name}, after line {reader.line_num}: this is not CSV in UTF-8, as it was "
                f"handed out: {error}"
            ) from None
    return [correction for correction in corrections if correction is not None]


@contextmanager
def apply_corrections(
    folder: Path, corrections: Sequence[Correction], temp_parent: Path
) -> Iterator[Path]:
    """The folder with corrected lines in place of the quarantined ones, while the context lasts.

    Args:
        temp_parent: folder in which the corrected copy is made.

    Raises:
        SourceRefused: a file or line is not there, or is not the quarantined one.
    """
    if not corrections:
        yield folder
        return
    by_file: dict[str, dict[int, Correction]] = {}
    for correction in corrections:
        by_file.setdefault(correction.file, {})[correction.line] = correction
    for name in by_file:
        if Path(name).name != name or not (folder / name).is_file():
            raise SourceRefused(f"{folder.name} has no file {name!r} to correct")
    with tempfile.TemporaryDirectory(prefix=".corrected-", dir=temp_parent) as temporary:
        copy = Path(temporary)
        for file in folder.iterdir():
            if file.name in by_file:
                _rewrite(file, copy / file.name, by_file[file.name])
            elif file.is_file() and not is_clutter(file.name):
                _link_or_copy(file, copy / file.name)
        yield copy


def line_digest(raw: str) -> str:
    """A short digest by which an edited row is matched to the line that it was made from."""
    return hashlib.sha256(raw.encode()).hexdigest()[:16]


def _spreadsheet_safe(name: str) -> str:
    """A name that no spreadsheet takes for a formula."""
    return f"./{name}" if name[:1] in tuple("=+-@") else name


def _parse_correction(where: str, row: dict[str, str]) -> Correction | None:
    """The correction of a row that was edited; None for a row that was not."""
    if None in row or None in row.values():
        raise SourceRefused(f"{where}: too few or too many fields")
    if not row["line"].isdigit() or int(row["line"]) < 2:
        raise SourceRefused(f"{where}: line is {row['line']!r}; it must be a number, 2 or more")
    if not row["raw"].startswith(FORMULA_GUARD):
        raise SourceRefused(f"{where}: the raw line must still begin with {FORMULA_GUARD}")
    raw = row["raw"].removeprefix(FORMULA_GUARD)
    if line_digest(raw) == row["as_found"]:
        return None
    if _breaks_outside_quotes(raw):
        raise SourceRefused(f"{where}: the raw line contains a line break")
    if not row["columns"]:
        raise SourceRefused(
            f"{where}: this row is not a line of one file, so it cannot be corrected here; correct "
            "it in the source system and load it again"
        )
    return Correction(
        file=row["file"].removeprefix("./"),
        line=int(row["line"]),
        raw=raw,
        columns=row["columns"].removeprefix(FORMULA_GUARD),
        original_digest=row["as_found"],
        source=row["source"],
        organization_id=row["organization"].removeprefix("./") or None,
    )


def _breaks_outside_quotes(raw: str) -> bool:
    """Whether a raw line holds a line break that is not part of a quoted field."""
    if "\n" not in raw and "\r" not in raw:
        return False
    try:
        parse_csv_line(raw if '"' in raw else f'""{raw}')
    except csv.Error:
        return True
    return '"' not in raw


def _rewrite(file: Path, copy: Path, lines: dict[int, Correction]) -> None:
    """Write a copy with the corrected lines, in UTF-8, whatever the file's own encoding."""
    pending = dict(lines)
    header_line = _header_line(file, next(iter(lines.values())))
    with open_records(file, header_line) as (layout, records), copy.open("wb") as target:
        for number, record in records:
            correction = pending.pop(number, None)
            target.write(
                record
                if correction is None
                else _corrected_line(file.name, record, correction, layout)
            )
    if pending:
        raise SourceRefused(
            f"{file.name} has no line {min(pending)}: the source has changed since it was"
            " quarantined"
        )


def _corrected_line(file: str, line: bytes, correction: Correction, layout: CsvLayout) -> bytes:
    """The line with its correction: all of it replaced, or only the fields that were handed out."""
    names = [str(name) for name in layout.names]
    where, ending = f"{file}, line {correction.line}", line[len(line.rstrip(b"\r\n")) :]
    columns = _as_named_in_file(_fields(where, correction.columns), names)
    recorder = _RawLineRecorder()
    record = parse_record(file, correction.line, line, layout, recorder)
    fields = (
        {}
        if record is None
        else {name: text for name, text in record.fields.items() if not prohibited_kind(name)}
    )
    handed_out = (
        format_csv_line(fields.get(name, "") for name in columns)
        if record is not None
        else RAW_NOT_STORED
    )
    if correction.original_digest not in (
        line_digest(redact(record.raw if record is not None else recorder.raw)),
        line_digest(redact(handed_out)),
    ):
        raise SourceRefused(
            f"{where}: this is not the line that was quarantined: the source has changed since"
        )
    if correction.raw.count("\n") != line.rstrip(b"\r\n").count(b"\n"):
        raise SourceRefused(
            f"{where}: the corrected line must have as many line breaks as the line that was"
            " quarantined"
        )
    if columns == names and layout.separator == ",":
        return correction.raw.encode() + ending
    corrected_fields = _fields(where, correction.raw, layout, len(columns))
    if len(corrected_fields) != len(columns):
        raise SourceRefused(
            f"{where}: the corrected line has {len(corrected_fields)} fields; it needs"
            f" {len(columns)}: {correction.columns}"
        )
    for name, field in zip(columns, corrected_fields, strict=True):
        if field and name not in names:
            raise SourceRefused(
                f"{where}: the correction fills {name!r}, and the file has no such column"
            )
        fields[name] = field
    in_order = (fields.get(name, "") for name in names)
    return format_csv_line(in_order, layout.separator).encode() + ending


def _header_line(file: Path, correction: Correction) -> int:
    """The line of a file that names the fields of a correction; 1 if none of the first does."""
    wanted = {plain_name(name) for name in _fields(file.name, correction.columns)}
    for number, names in enumerate(first_lines(file, HEADER_WITHIN), start=1):
        if wanted <= {plain_name(name) for name in names}:
            return number
    return 1


def _as_named_in_file(columns: Sequence[str], names: Sequence[str]) -> list[str]:
    """Names of columns as the file's header writes them."""
    in_file = {plain_name(name): name for name in names}
    return [name if name in names else in_file.get(plain_name(name), name) for name in columns]


def _fields(
    where: str, text: str, layout: CsvLayout | None = None, count: int | None = None
) -> list[str]:
    """The fields of a text that was handed out, or that is still as the file separates it."""
    try:
        fields = parse_csv_line(text)
        if layout is not None and len(fields) != count:
            as_in_file = parse_csv_line(text, layout.separator)
            fields = as_in_file if len(as_in_file) == count else fields
        return fields
    except csv.Error as error:
        raise SourceRefused(f"{where}: the corrected line cannot be read: {error}") from None


class _RawLineRecorder:
    """Remembers what the quarantine showed of a line that cannot be read."""

    raw = ""

    def quarantine(self, row: BadRow) -> None:
        self.raw = row.raw

    def ignore(self, file: str, kind: str) -> None:
        """An empty line is never quarantined."""

    def drop_column(self, file: str, column: str, kind: str) -> None:
        """The columns were already reported when the source was read."""

    def note(self, text: str) -> None:
        """Notes were already made when the source was read."""


def _link_or_copy(file: Path, copy: Path) -> None:
    try:
        os.link(file, copy)
    except OSError:
        shutil.copyfile(file, copy)
