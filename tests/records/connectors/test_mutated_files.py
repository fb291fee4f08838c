"""Ten thousand damaged CSV files through one real load: no line is lost, and none takes its
neighbour with it.
"""

from __future__ import annotations

import csv
import json
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import pyarrow.parquet as pq

from records.canonical.never_ingest import redact
from records.connectors.csv_files import RAW_NOT_STORED
from records.connectors.csv_text import open_as_utf8
from records.connectors.partner_files.service_history import read_canonical_file
from records.connectors.protocol import FileCount, RowSink, SourceRefused
from records.loading.load import load
from records.snapshots.snapshot import Snapshot
from records.system.progress import ProgressCallback
from tests.records import six_student_district
from tests.records.conftest import snapshot_of

FILES = 10_000
HEADER = b"session_id,student_id,program_id,organization_id,date,attended,minutes"
Edit = Callable[[bytearray, random.Random], None]


def clean_lines(number: int, rng: random.Random) -> list[bytes]:
    """Between two and ten good lines, whose keys no other file has."""
    return [
        f"f{number}-{n},s{rng.randint(1, 6)},p1,tutors,2026-03-{n + 1:02d},"
        f"{rng.choice(['true', 'no'])},45".encode()
        for n in range(rng.randint(2, 10))
    ]


def put(*content: bytes) -> Edit:
    def edit(data: bytearray, rng: random.Random) -> None:
        place = rng.randint(0, len(data))
        data[place:place] = rng.choice(content)

    return edit


def flip(data: bytearray, rng: random.Random) -> None:
    data[rng.randrange(len(data))] = rng.randrange(256)


def cut_out(data: bytearray, rng: random.Random) -> None:
    place = rng.randrange(len(data))
    del data[place : place + rng.randint(1, 30)]


def cut_short(data: bytearray, rng: random.Random) -> None:
    del data[max(1, rng.randrange(len(data))) :]


def repeat(data: bytearray, rng: random.Random) -> None:
    """A stretch again, somewhere else: often whole lines, which makes duplicates."""
    lines = bytes(data).splitlines(keepends=True)
    if len(lines) < 2 or rng.random() < 0.5:
        start = rng.randrange(len(data))
        again = bytes(data[start : start + rng.randint(1, 80)])
        put(again)(data, rng)
    else:
        data += rng.choice(lines[1:])


def new_endings(data: bytearray, rng: random.Random) -> None:
    data[:] = data.replace(b"\n", rng.choice([b"\r\n", b"\r\n", b"\r\n", b"\n\r", b"\r"]))


def byte_order_mark(data: bytearray, rng: random.Random) -> None:
    data[:0] = b"\xef\xbb\xbf"


EDITS: dict[Edit, int] = {
    flip: 20,
    cut_out: 10,
    cut_short: 4,
    repeat: 15,
    new_endings: 4,
    byte_order_mark: 3,
    put(b'"', b'""', b'","', b',"'): 20,
    put(b",", b",,", b";"): 10,
    put(b"\n", b"\r\n", b"\r", b"\n\n", b" \n"): 12,
    put(b"\0", b"\0\0"): 6,
    put(b"\xff", b"\xc3", b"\xed\xa0\x80", b"\x80"): 8,
    put("\u2028".encode(), "é".encode(), b"\x0b", b"\x1c", b"\x85"): 4,
    put(b"x" * 140_000, b'"' + b"y" * 140_000): 1,
}


def damaged(data: bytearray, rng: random.Random) -> bytearray:
    for edit in rng.choices(list(EDITS), list(EDITS.values()), k=rng.randint(1, 5)):
        edit(data, rng)
    return data


@dataclass
class Damaged:
    """A connector over damaged files, one header in ten damaged too; everything else is real.

    `written` is what each file held, as UTF-8 with line feeds, and the good lines that it was made
    of.
    """

    written: dict[str, tuple[bytes, list[bytes]]] = field(default_factory=dict)
    refused: set[str] = field(default_factory=set)
    name: str = "service-history"
    tables: tuple[str, ...] = ("service_sessions",)

    def read(self, directory: Path, sink: RowSink, progress: ProgressCallback) -> None:
        rng = random.Random(35)
        for number in range(FILES):
            path, lines = directory / f"{number:05}.csv", clean_lines(number, rng)
            whole = (
                bytes(damaged(bytearray(b"\n".join([HEADER, *lines, b""])), rng))
                if rng.random() < 0.1
                else (HEADER + b"\n" + damaged(bytearray(b"\n".join([*lines, b""])), rng))
            )
            path.write_bytes(whole)
            with open_as_utf8(path) as (stream, _):
                self.written[path.name] = stream.read(), lines
            try:
                read_canonical_file(path, "service_sessions", sink, progress)
            except SourceRefused as refusal:
                assert f"{path.name}, line " in str(refusal)
                self.refused.add(path.name)
            path.unlink()


def test_in_ten_thousand_damaged_files_kept_quarantined_and_duplicate_lines_are_all_lines(
    tmp_path: Path,
):  # R35
    snapshot_of(six_student_district.rows() | {"service_sessions": []}, tmp_path)
    source = Damaged()
    (tmp_path / "in").mkdir()
    report = load(source, tmp_path / "in", tmp_path, merge=True)
    counts = {count.file: count for count in report.files}
    snapshot = Snapshot.current(tmp_path)
    loaded = set(
        pq.read_table(snapshot.path / "service_sessions.parquet")["session_id"].to_pylist()
    )
    aside = snapshot.quarantined().to_pylist()
    contested = {
        (row["file"], json.loads(row["raw"])["session_id"])
        for row in aside
        if row["reason"].startswith("another row has the same key")
    }
    assert len(source.written) == FILES and len(source.refused) < FILES / 10
    for file, (data, lines) in source.written.items():
        count, physical = counts.get(file, FileCount(file)), data_lines(data)
        records = list(data_records(data).values())
        if file in source.refused:
            assert count.read == 0, file
            continue
        blank = sum(not record.strip() for record in records)
        assert count.kept + count.quarantined + count.duplicates == len(records) - blank, file
        assert count.ignored == blank + empty_lines_above(data), file
        intact = data.split(b"\n")[0].removeprefix(b"\xef\xbb\xbf").rstrip(b"\r") == HEADER
        for line in set(lines) & set(physical) if intact else ():
            key = line.split(b",")[0].decode()
            assert key in loaded or (file, key) in contested, (file, line)
    for kind in ("kept", "quarantined", "duplicates"):
        assert sum(getattr(count, kind) for count in report.files) > 1_000, kind
    assert len(aside) == sum(count.quarantined for count in report.files)
    for row in aside:
        record = data_records(source.written[row["file"]][0])[row["line"]]
        line = record.decode("utf-8", "backslashreplace")
        assert row["reason"] and row["raw"], row
        # A sign without width, as where files were joined, is no part of a line; and of a line
        # that cannot be told into columns nothing is kept where the header has others than ours.
        same = row["raw"].replace("\ufeff", "") == redact(line.replace("\ufeff", ""))
        header = source.written[row["file"]][0].split(b"\n")[0].removeprefix(b"\xef\xbb\xbf")
        has_others = header.rstrip(b"\r") != HEADER and row["raw"] == RAW_NOT_STORED
        explained = row["reason"].startswith(("another row", "no student"))
        assert same or has_others or explained, row
    assert pq.read_metadata(snapshot.path / "service_sessions.parquet").num_rows == sum(
        c.kept for c in report.files
    )


def data_records(data: bytes) -> dict[int, bytes]:
    """The records below the header by their first line: of one line each, or of several where a
    quoted field holds line breaks.
    """
    lines, above = data.split(b"\n"), empty_lines_above(data)
    width = fields(lines[above].removeprefix(b"\xef\xbb\xbf"))
    records, number = {}, above + 1
    while number < len(lines) - (lines[-1:] == [b""]):
        last = end_of_record(lines, number, width)
        records[number + 1] = b"\n".join(lines[number : last + 1]).rstrip(b"\r\n")
        number = last + 1
    return records


def empty_lines_above(data: bytes) -> int:
    """How many empty lines stand above the header."""
    lines = data.removeprefix(b"\xef\xbb\xbf").split(b"\n")
    return next((number for number, line in enumerate(lines) if line.strip()), 0)


def end_of_record(lines: Sequence[bytes], first: int, width: int | None) -> int:
    """The last line of a record; the first one wherever joining would be a guess."""
    if fields(lines[first]) is not None:
        return first
    for last in range(first + 1, min(first + 50, len(lines))):
        if fields(lines[last]) == width:
            return first
        if fields(b"\n".join(lines[first : last + 1])) == width:
            return last
    return first


def fields(record: bytes) -> int | None:
    """How many fields a record has; None if it is damaged or not at its end."""
    text = record.rstrip(b"\r\n").decode("utf-8", "backslashreplace")
    if '"' not in text:
        return text.count(",") + 1
    try:
        return len(next(csv.reader([text], strict=True), []))
    except csv.Error:
        return None


def data_lines(data: bytes) -> list[bytes]:
    """The physical lines below the header, without their endings."""
    lines = data.split(b"\n")
    return [line.rstrip(b"\r") for line in (lines[1:-1] if not lines[-1] else lines[1:])]
