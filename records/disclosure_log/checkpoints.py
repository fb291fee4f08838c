"""Checkpoints: the last row of the log at some moment, stored where the log cannot rewrite them.

A log that was cut short or rewritten from start to finish holds together by itself; only a
checkpoint stored elsewhere shows that it is another log.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from datetime import datetime
from pathlib import Path

from records.database.engine import Database
from records.disclosure_log.disclosures import DisclosureLogDamaged, last_entry, timestamp

CHECKPOINTS_FILE = "log-heads.jsonl"
"""The file of a home to which each start of the site adds a checkpoint."""


@dataclass(frozen=True)
class Checkpoint:
    """Number and hash of the last row of the log at some moment; 0 for an empty log."""

    seq: int
    hash: str


def latest_checkpoint(database: Database) -> Checkpoint:
    """The last row of the log now; number 0 where the log is empty."""
    with database.session() as session:
        return Checkpoint(*last_entry(session))


def export_checkpoint(database: Database, file: Path) -> None:
    """Write the latest checkpoint to a file, to be stored where nobody can rewrite it."""
    file.write_text(json.dumps(asdict(latest_checkpoint(database))) + "\n")


def save_checkpoint(database: Database, home: Path, now: datetime) -> None:
    """Add the latest checkpoint to the file of a home, unless it is the last one there already."""
    checkpoint = latest_checkpoint(database)
    if checkpoint not in saved_checkpoints(home)[-1:]:
        with (home / CHECKPOINTS_FILE).open("a") as stream:
            stream.write(json.dumps({"at": timestamp(now)} | asdict(checkpoint)) + "\n")


def saved_checkpoints(home: Path) -> list[Checkpoint]:
    """The checkpoints of a home, oldest first; empty before the site was first started.

    Raises:
        DisclosureLogDamaged: a line of the file is not a checkpoint.
    """
    file = home / CHECKPOINTS_FILE
    return read_checkpoints(file) if file.exists() else []


def read_checkpoints(file: Path) -> list[Checkpoint]:
    """The checkpoints of a file, one on each line: an exported one, or all those of a home.

    Raises:
        DisclosureLogDamaged: a line is not a checkpoint.
    """
    lines = file.read_text().splitlines()
    return [_parse(file, number, line) for number, line in enumerate(lines, start=1)]


def _parse(file: Path, number: int, line: str) -> Checkpoint:
    try:
        entry = json.loads(line)
        return Checkpoint(int(entry["seq"]), str(entry["hash"]))
    except (ValueError, TypeError, KeyError):
        raise DisclosureLogDamaged(
            f"{file.name}, line {number} is not a log checkpoint; a checkpoint looks like"
            ' {"seq": 12, "hash": "64 hex digits"}'
        ) from None
