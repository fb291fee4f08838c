"""Lines that were set aside, put right by a person, and read again in their place.

The quarantine is handed out as a CSV file of file, line, column, reason and raw line. Whoever knows better edits the
raw lines; `corrected` gives a folder that is the source's own but for those lines, to be loaded like any other. A
line that is no longer the one that was set aside is refused: the source has changed since.
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

from records.connectors.protocol import SourceRefused
from records.never_ingest import redact, refused_kind
from records.quarantine import BadRow

COLUMNS = ("file", "line", "column", "reason", "raw", "as_found")
"""Of the file that is handed out. `as_found` is a digest of the raw line, which must stay as it is."""

_WORD = re.compile(r"[\w.-]+")
MARK = "|"
"""Before each raw line, so that no spreadsheet takes it for a formula; it is taken off again."""


@dataclass(frozen=True)
class Correction:
    """One line put right."""

    file: str
    line: int
    raw: str
    as_found: str


def quarantine_csv(rows: Sequence[BadRow], terms: str) -> str:
    """What was set aside, as a CSV text to be edited: one row a line that was not loaded, and last to whom it went."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(COLUMNS)
    for row in rows:
        name = f"./{row.file}" if row.file[:1] in "=+-@" else row.file
        writer.writerow((name, row.line, row.column or "", row.reason, MARK + row.raw, digest(row.raw)))
    writer.writerow((f"# {terms}", *[""] * (len(COLUMNS) - 1)))
    return text.getvalue()


def named_in(rows: Sequence[BadRow], students: Collection[str]) -> list[str]:
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
        for name in COLUMNS:
            if name not in (reader.fieldnames or ()):
                raise SourceRefused(f"{file.name}, line 1: there is no column {name!r}; a quarantine that was handed "
                                    f"out has {', '.join(COLUMNS)}")  # fmt: skip
        for row in reader:
            where = f"{file.name}, line {reader.line_num}"
            if row["file"].startswith("# "):
                continue
            if None in row or None in row.values():
                raise SourceRefused(f"{where}: too few or too many fields")
            if not row["line"].isdigit() or int(row["line"]) < 2:
                raise SourceRefused(f"{where}: line is {row['line']!r}; it must be a number, 2 or more")
            if not row["raw"].startswith(MARK):
                raise SourceRefused(f"{where}: the raw line must still begin with {MARK}")
            if "\n" in row["raw"] or "\r" in row["raw"]:
                raise SourceRefused(f"{where}: the raw line was broken in two")
            raw = row["raw"].removeprefix(MARK)
            if digest(raw) != row["as_found"]:
                found.append(Correction(row["file"].removeprefix("./"), int(row["line"]), raw, row["as_found"]))
    return found


@contextmanager
def corrected(folder: Path, corrections: Sequence[Correction]) -> Iterator[Path]:
    """The folder with these lines in place of those that were set aside; gone when the context ends.

    Raises:
        SourceRefused: a file or line is not there, or is not the one that was set aside.
    """
    by_file: dict[str, dict[int, Correction]] = {}
    for one in corrections:
        by_file.setdefault(one.file, {})[one.line] = one
    for name in by_file:
        if Path(name).name != name or not (folder / name).is_file():
            raise SourceRefused(f"{folder} has no file {name!r} to correct")
    with tempfile.TemporaryDirectory(prefix="handrail-corrected-") as temporary:
        copy = Path(temporary)
        for file in folder.iterdir():
            if file.name in by_file:
                _rewrite(file, copy / file.name, by_file[file.name])
            elif file.is_file():
                _borrow(file, copy / file.name)
        yield copy


def digest(raw: str) -> str:
    return hashlib.sha256(raw.encode()).hexdigest()[:16]


def _rewrite(file: Path, copy: Path, lines: dict[int, Correction]) -> None:
    left = dict(lines)
    with file.open("rb") as source, copy.open("wb") as target:
        header = source.readline()
        target.write(header)
        names = next(csv.reader([header.decode("utf-8-sig").rstrip("\r\n")]))
        dropped = [place for place, name in enumerate(names) if refused_kind(name)]
        for number, line in enumerate(source, start=2):
            correction = left.pop(number, None)
            target.write(line if correction is None else _put_right(file.name, line, correction, names, dropped))
    if left:
        raise SourceRefused(f"{file.name} has no line {min(left)}: the source has changed since it was set aside")


def _put_right(file: str, line: bytes, correction: Correction, names: list[str], dropped: list[int]) -> bytes:
    found = line.rstrip(b"\r\n")
    if not dropped and digest(redact(found.decode("utf-8", "backslashreplace"))) != correction.as_found:
        raise SourceRefused(f"{file}, line {correction.line}: this is not the line that was set aside: the source has "
                            "changed since")  # fmt: skip
    if not dropped:
        return correction.raw.encode() + line[len(found) :]
    fields = next(csv.reader([correction.raw], strict=True), [])
    if len(fields) != len(names) - len(dropped):
        raise SourceRefused(f"{file}, line {correction.line}: the corrected line has {len(fields)} fields; it needs "
                            f"{len(names) - len(dropped)}, without the columns that are never stored")  # fmt: skip
    for place in dropped:
        fields.insert(place, "")
    text = ",".join(f'"{field}"' if set(field) & set(',"') else field for field in (
        field.replace('"', '""') for field in fields))  # fmt: skip
    return text.encode() + line[len(found) :]


def _borrow(file: Path, copy: Path) -> None:
    try:
        os.link(file, copy)
    except OSError:
        shutil.copyfile(file, copy)
