"""Checking a segment of the disclosure log's hash chain, in this process or in another one.

Each row holds its own hash, so a segment needs of the rest only the hash before it, and segments
are checked side by side. A process that does so imports this module and the database's driver,
nothing else: all that the program imports takes longer than a hundred thousand rows.
"""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, closing
from dataclasses import asdict, dataclass
from importlib import import_module
from typing import Any

GENESIS = "0" * 64
"""The hash before the first row."""

SEPARATOR = "\x1f"
"""ASCII unit separator, between the fields of a row: no field may hold it."""

_BATCH_ROWS = 10_000
_ALTERED = "row {} does not match: it or the previous row was altered"


@dataclass(frozen=True)
class Segment:
    """The rows after `after` up to `until`, and what a driver needs to read them.

    `until` is None for all rows that follow. `query` gives, in order, each row's number, hash and
    reference, then its hashed fields: one by one, or joined by the database with the separator.
    `previous` is the hash of the row numbered `after`. `checkpoints` are the numbers and hashes of
    rows that checkpoints name.
    """

    driver: str
    arguments: tuple[Any, ...]
    options: Mapping[str, Any]
    query: str
    after: int
    until: int | None
    previous: str
    checkpoints: Sequence[tuple[int, str]]


@dataclass(frozen=True)
class SegmentResult:
    """The last row that was read, the problem there if any, and each reference's first row."""

    last_row: int
    problem: str | None
    first_rows: Mapping[str, int]


def digest(fields: Iterable[str]) -> str:
    """SHA-256 over fields with a separator between, in hexadecimal digits."""
    return hashlib.sha256(SEPARATOR.join(fields).encode()).hexdigest()


def check_segment(segment: Segment) -> SegmentResult:
    """Read one segment to its end, or to the first row that does not hold."""
    driver = import_module(segment.driver)
    first_rows: dict[str, int] = {}
    with closing(driver.connect(*segment.arguments, **segment.options)) as connection:
        last_row, problem = _check_rows(segment, driver, connection, first_rows)
    return SegmentResult(last_row, problem, first_rows)


def check_segments(segments: Sequence[Segment], processes: int = 1) -> Iterator[SegmentResult]:
    """The results in the order of the segments, each as soon as it is known.

    Args:
        processes: how many check side by side; below two, this process does it all.

    Raises:
        RuntimeError: a process stopped before it was done.
    """
    processes = min(processes, len(segments))
    if processes < 2:
        yield from map(check_segment, segments)
        return
    with ExitStack() as stack:
        workers = [
            stack.enter_context(_start_worker(segments[start::processes]))
            for start in range(processes)
        ]
        for worker in workers:
            stack.callback(worker.kill)
        for index in range(len(segments)):
            output = workers[index % processes].stdout
            assert output is not None
            line = output.readline()
            if not line:
                raise RuntimeError("a process that read the log stopped before it was done")
            yield SegmentResult(**json.loads(line))


def _start_worker(segments: Sequence[Segment]) -> subprocess.Popen[str]:
    """A process that runs this module: segments as JSON in, one result on each line out."""
    command = [sys.executable, "-P", "-m", __name__]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert process.stdin is not None
    json.dump([asdict(segment) for segment in segments], process.stdin)
    process.stdin.close()
    return process


def _check_rows(
    segment: Segment, driver: Any, connection: Any, first_rows: dict[str, int]
) -> tuple[int, str | None]:
    """The last row read and its problem, if any; fills in the first row of each reference."""
    row_number, previous = segment.after, segment.previous
    expected_hashes: dict[int, set[str]] = {}
    for seq, expected in segment.checkpoints:
        expected_hashes.setdefault(seq, set()).add(expected)
    try:
        for seq, row_hash, reference, *fields in _rows(driver, connection, segment.query):
            row_number += 1
            if seq != row_number:
                return row_number, f"row {row_number} is missing or out of order: {seq} was found"
            if digest([*fields, previous]) != row_hash:
                return row_number, _ALTERED.format(row_number)
            if row_number in expected_hashes and expected_hashes[row_number] != {row_hash}:
                return row_number, f"row {row_number} does not match its saved checkpoint"
            if reference not in first_rows:
                first_rows[reference] = row_number
            previous = row_hash
    except TypeError:
        # A field is no text: SQLite stores other types in a text column, and a NULL joins to NULL.
        return row_number, _ALTERED.format(row_number)
    except driver.Error:
        return row_number, f"row {row_number + 1} cannot be read"
    if segment.until is not None and row_number < segment.until:
        return row_number + 1, f"row {row_number + 1} is missing"
    return row_number, None


def _rows(driver: Any, connection: Any, query: str) -> Iterable[tuple[Any, ...]]:
    if driver.__name__.startswith("sqlite3"):
        return connection.execute(query)  # type: ignore[no-any-return]
    cursor = connection.cursor(name="log")
    cursor.itersize = _BATCH_ROWS
    return cursor.execute(query)  # type: ignore[no-any-return]


if __name__ == "__main__":
    for segment_fields in json.load(sys.stdin):
        print(json.dumps(asdict(check_segment(Segment(**segment_fields)))), flush=True)
