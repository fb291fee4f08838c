"""Checking a stretch of the disclosure log's chain, in this process or in one beside it.

Each row holds its own hash, so a stretch needs of the rest only the hash before it, and stretches
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
SEPARATOR = "\x1f"  # ASCII unit separator: no field holds it, and one that did would not be written
_BATCH = 10_000
_CHANGED = "row {} does not fit: it was changed, or the one before"


@dataclass(frozen=True)
class Segment:
    """The rows after `after` up to `until`, None for all that follow, and what a driver needs to
    read them.

    `query` gives, in order, each row's number, its hash, its reference, and all that it says: field
    by field, or joined by the database with the separator between. `heads` are the rows, with their
    hashes, whose heads were kept.
    """

    driver: str
    arguments: tuple[Any, ...]
    options: Mapping[str, Any]
    query: str
    after: int
    until: int | None
    previous: str
    heads: Sequence[tuple[int, str]]


@dataclass(frozen=True)
class SegmentResult:
    """The last row that was read, what is wrong there if anything, and each reference's first
    row.
    """

    place: int
    problem: str | None
    firsts: Mapping[str, int]


def digest(said: Iterable[str]) -> str:
    """SHA-256 over fields with a separator between, in hexadecimal digits."""
    return hashlib.sha256(SEPARATOR.join(said).encode()).hexdigest()


def check_segment(stretch: Segment) -> SegmentResult:
    """Read one stretch to its end, or to the first row that does not hold."""
    driver = import_module(stretch.driver)
    firsts: dict[str, int] = {}
    with closing(driver.connect(*stretch.arguments, **stretch.options)) as connection:
        place, problem = _check(stretch, driver, connection, firsts)
    return SegmentResult(place, problem, firsts)


def check_segments(stretches: Sequence[Segment], processes: int = 1) -> Iterator[SegmentResult]:
    """The outcomes in the order of the stretches, each as soon as it is known, from so many
    processes side by side.

    Raises:
        RuntimeError: a process stopped before it was done.
    """
    processes = min(processes, len(stretches))
    if processes < 2:
        yield from map(check_segment, stretches)
        return
    with ExitStack() as stack:
        started = [
            stack.enter_context(_started(stretches[first::processes])) for first in range(processes)
        ]
        for process in started:
            stack.callback(process.kill)
        for place in range(len(stretches)):
            output = started[place % processes].stdout
            assert output is not None
            answer = output.readline()
            if not answer:
                raise RuntimeError("a process that read the log stopped before it was done")
            yield SegmentResult(**json.loads(answer))


def _started(stretches: Sequence[Segment]) -> subprocess.Popen[str]:
    command = [sys.executable, "-P", "-m", __name__]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert process.stdin is not None
    json.dump([asdict(stretch) for stretch in stretches], process.stdin)
    process.stdin.close()
    return process


def _check(
    stretch: Segment, driver: Any, connection: Any, firsts: dict[str, int]
) -> tuple[int, str | None]:
    place, previous = stretch.after, stretch.previous
    heads: dict[int, set[str]] = {}
    for head, kept in stretch.heads:
        heads.setdefault(head, set()).add(kept)
    try:
        for seq, hashed, reference, *said in _rows(driver, connection, stretch.query):
            place += 1
            if seq != place:
                return place, f"row {place} is missing or out of order: {seq} was found"
            said.append(previous)
            if digest(said) != hashed:
                return place, _CHANGED.format(place)
            if place in heads and heads[place] != {hashed}:
                return place, f"row {place} is not the one whose head was kept"
            if reference not in firsts:
                firsts[reference] = place
            previous = hashed
    except (
        TypeError
    ):  # SQLite keeps what is no text in a column of text; a database joins nothing with a NULL
        return place, _CHANGED.format(place)
    except driver.Error:
        return place, f"row {place + 1} cannot be read"
    if stretch.until is not None and place < stretch.until:
        return place + 1, f"row {place + 1} is missing"
    return place, None


def _rows(driver: Any, connection: Any, query: str) -> Iterable[tuple[Any, ...]]:
    if driver.__name__.startswith("sqlite3"):
        return connection.execute(query)  # type: ignore[no-any-return]
    cursor = connection.cursor(name="log")
    cursor.itersize = _BATCH
    return cursor.execute(query)  # type: ignore[no-any-return]


if __name__ == "__main__":
    for asked in json.load(sys.stdin):
        print(json.dumps(asdict(check_segment(Segment(**asked)))), flush=True)
