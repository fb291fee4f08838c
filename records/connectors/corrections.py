"""Lines that were set aside, put right by a person, and read again in their place.

The quarantine is handed out as a CSV file: file, line, column and reason, then the raw line under
the names of its fields. Whoever knows better edits the raw lines; `apply_corrections` gives a
folder that is the source's own but for those lines. Columns that were cut out are not handed out:
they stay as the source has them. A line that is no longer the one that was set aside is refused:
the source has changed since. So is a row that is no line of a file: it is put right at its source.
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
    RAW_NOT_STORED,
    ColumnFilter,
    format_csv_line,
    parse_csv_line,
    parse_header,
    parse_record,
)
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
"""Of the file that is handed out. `columns` names the fields of the raw line, and is empty where it
cannot be put right here; `as_found` is a digest of the raw line. These two, and what says where a
line came from, must stay."""

_WORD = re.compile(r"[\w.-]+")
FORMULA_GUARD = "|"
"""Before each raw line and the names of its fields, so that no spreadsheet takes it for a formula;
it is taken off."""


@dataclass(frozen=True)
class Correction:
    """One line put right: `raw` is a line of CSV whose fields are `columns`."""

    file: str
    line: int
    raw: str
    columns: str
    as_found: str
    source: str
    organization_id: str | None


def quarantine_to_csv(rows: Sequence[QuarantinedRow], terms: str) -> str:
    """What was set aside, as a CSV text to be edited: one row a line that was not loaded, and last
    to whom it went.
    """
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(QUARANTINE_COLUMNS)
    for row in rows:
        columns = FORMULA_GUARD + row.columns if row.columns else ""
        writer.writerow(
            (
                _plain(row.file),
                row.line,
                row.column or "",
                row.reason,
                columns,
                FORMULA_GUARD + row.raw,
                line_digest(row.raw),
                row.source,
                _plain(row.organization_id or ""),
            )
        )
    writer.writerow((f"# {terms}", *[""] * (len(QUARANTINE_COLUMNS) - 1)))
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
    found = []
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
                    found.append(_correction(f"{file.name}, line {reader.line_num}", row))
        except (csv.Error, UnicodeDecodeError) as error:
            raise SourceRefused(
                f"{file.name}, after line {reader.line_num}: this is not CSV in UTF-8, as it was "
                f"handed out: {error}"
            ) from None
    return [one for one in found if one is not None]


@contextmanager
def apply_corrections(
    folder: Path, corrections: Sequence[Correction], within: Path
) -> Iterator[Path]:
    """The folder with these lines in place of those that were set aside; gone when the context
    ends.

    Args:
        within: where the files that differ are written for the while.

    Raises:
        SourceRefused: a file or line is not there, or is not the one that was set aside.
    """
    if not corrections:
        yield folder
        return
    by_file: dict[str, dict[int, Correction]] = {}
    for one in corrections:
        by_file.setdefault(one.file, {})[one.line] = one
    for name in by_file:
        if Path(name).name != name or not (folder / name).is_file():
            raise SourceRefused(f"{folder.name} has no file {name!r} to correct")
    with tempfile.TemporaryDirectory(prefix=".corrected-", dir=within) as temporary:
        copy = Path(temporary)
        for file in folder.iterdir():
            if file.name in by_file:
                _rewrite(file, copy / file.name, by_file[file.name])
            elif file.is_file():
                _borrow(file, copy / file.name)
        yield copy


def line_digest(raw: str) -> str:
    return hashlib.sha256(raw.encode()).hexdigest()[:16]


def _plain(name: str) -> str:
    """A name that no spreadsheet takes for a formula."""
    return f"./{name}" if name[:1] in tuple("=+-@") else name


def _correction(where: str, row: dict[str, str]) -> Correction | None:
    """The correction of a row that was edited; None for one that was not."""
    if None in row or None in row.values():
        raise SourceRefused(f"{where}: too few or too many fields")
    if not row["line"].isdigit() or int(row["line"]) < 2:
        raise SourceRefused(f"{where}: line is {row['line']!r}; it must be a number, 2 or more")
    if not row["raw"].startswith(FORMULA_GUARD):
        raise SourceRefused(f"{where}: the raw line must still begin with {FORMULA_GUARD}")
    if "\n" in row["raw"] or "\r" in row["raw"]:
        raise SourceRefused(f"{where}: the raw line was broken in two")
    raw = row["raw"].removeprefix(FORMULA_GUARD)
    if line_digest(raw) == row["as_found"]:
        return None
    if not row["columns"]:
        raise SourceRefused(
            f"{where}: this row is not a line of one file as it stands there, so it cannot be put "
            "right here; put it right at its source, and load that again"
        )
    return Correction(
        row["file"].removeprefix("./"),
        int(row["line"]),
        raw,
        row["columns"].removeprefix(FORMULA_GUARD),
        row["as_found"],
        row["source"],
        row["organization"].removeprefix("./") or None,
    )


def _rewrite(file: Path, copy: Path, lines: dict[int, Correction]) -> None:
    left = dict(lines)
    with file.open("rb") as source, copy.open("wb") as target:
        header = source.readline()
        target.write(header)
        names = parse_header(file, header)
        for number, line in enumerate(source, start=2):
            correction = left.pop(number, None)
            target.write(
                line if correction is None else _put_right(file.name, line, correction, names)
            )
    if left:
        raise SourceRefused(
            f"{file.name} has no line {min(left)}: the source has changed since it was set aside"
        )


def _put_right(file: str, line: bytes, correction: Correction, names: list[str]) -> bytes:
    """The line with its correction: in place of all of it, or of those fields of it that were
    handed out.
    """
    where, ending = f"{file}, line {correction.line}", line[len(line.rstrip(b"\r\n")) :]
    columns = _fields(where, correction.columns)
    aside = _Aside()
    found = parse_record(file, correction.line, line, ColumnFilter(names), aside)
    fields = (
        {}
        if found is None
        else {name: text for name, text in found.fields.items() if not prohibited_kind(name)}
    )
    shown = (
        format_csv_line(fields.get(name, "") for name in columns)
        if found is not None
        else RAW_NOT_STORED
    )
    if correction.as_found not in (
        line_digest(redact(found.raw if found is not None else aside.raw)),
        line_digest(redact(shown)),
    ):
        raise SourceRefused(
            f"{where}: this is not the line that was set aside: the source has changed since"
        )
    if columns == names:
        return correction.raw.encode() + ending
    right = _fields(where, correction.raw)
    if len(right) != len(columns):
        raise SourceRefused(
            f"{where}: the corrected line has {len(right)} fields; it needs {len(columns)}: "
            f"{correction.columns}"
        )
    for name, field in zip(columns, right, strict=True):
        if field and name not in names:
            raise SourceRefused(
                f"{where}: the correction fills {name!r}, and the file has no such column"
            )
        fields[name] = field
    return format_csv_line(fields.get(name, "") for name in names).encode() + ending


def _fields(where: str, text: str) -> list[str]:
    try:
        return parse_csv_line(text)
    except csv.Error as error:
        raise SourceRefused(f"{where}: the corrected line cannot be read: {error}") from None


class _Aside:
    """Takes a line that cannot be read, to see what was shown of it."""

    raw = ""

    def quarantine(self, row: BadRow) -> None:
        self.raw = row.raw

    def ignore(self, file: str, kind: str) -> None:
        """An empty line was never set aside."""

    def drop_column(self, file: str, column: str, kind: str) -> None:
        """The header has told that already."""


def _borrow(file: Path, copy: Path) -> None:
    try:
        os.link(file, copy)
    except OSError:
        shutil.copyfile(file, copy)
