"""What a source's API last said, record by record: the ground on which a full load and a delta are the same.

Each page that was read is one transaction, with the place from which to go on: a fetch that is killed loses no page
and reads none twice. A record holds only the fields that its connector names; whatever must never be stored is cut out
before anything reaches this file. A snapshot is made from a mirror only when every resource of it is whole.
"""

from __future__ import annotations

import fcntl
import json
import sqlite3
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from records.connectors.protocol import SourceRefused
from records.never_ingest import redact, refused_kind

Wanted = Mapping[str, Any]
"""Names of fields to keep: True for a value (or a list of values), another `Wanted` for an object or for each object
of a list."""

_FILE = "mirror.sqlite"
_SCHEMA = """
CREATE TABLE IF NOT EXISTS records (
    resource TEXT NOT NULL, id TEXT NOT NULL, pass INTEGER NOT NULL, body TEXT NOT NULL, PRIMARY KEY (resource, id)
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS resources (
    resource TEXT PRIMARY KEY, pass INTEGER NOT NULL, sweeps INTEGER NOT NULL, place TEXT, synced TEXT
);
CREATE TABLE IF NOT EXISTS refused (resource TEXT NOT NULL, field TEXT NOT NULL, kind TEXT NOT NULL,
                                    PRIMARY KEY (resource, field));
"""


class MirrorInUse(SourceRefused):
    """Another fetch writes to this mirror."""


@dataclass(frozen=True)
class Kept:
    """One record of a mirror. `number` counts from 1 within its resource, in the order of `id`."""

    number: int
    id: str
    body: Mapping[str, Any]


class Mirror:
    """The mirror in one folder. Open it with `open_mirror`."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection

    def place(self, resource: str) -> Any:
        """Where an unfinished pass goes on; None when no pass is under way."""
        found = self._resource(resource)
        return json.loads(found[2]) if found and found[2] is not None else None

    def synced(self, resource: str) -> Any:
        """What the last finished pass wrote down as the point from which changes count; None before the first."""
        found = self._resource(resource)
        return json.loads(found[3]) if found and found[3] is not None else None

    def begin(self, resource: str, place: Any, *, sweeps: bool) -> None:
        """Begin a pass, forgetting an unfinished one.

        Args:
            place: where it starts (JSON), given back by `place` until the pass is finished.
            sweeps: the pass reads every record there is, so that one that it does not meet is gone at the source.
        """
        with self._connection:
            self._connection.execute(
                "INSERT INTO resources VALUES (?, 1, ?, ?, NULL) ON CONFLICT (resource) DO UPDATE SET "
                "pass = pass + 1, sweeps = excluded.sweeps, place = excluded.place",
                (resource, int(sweeps), json.dumps(place)),
            )

    def take_page(self, resource: str, records: Iterable[tuple[str, Mapping[str, Any]]], next_place: Any, *,
                  deleted: Iterable[str] = ()) -> None:  # fmt: skip
        """Keep one page of a pass, and where the next one starts, in one transaction.

        Args:
            records: (identifier, body), already cut to what is wanted by `cut`.
            deleted: identifiers that the source says are gone.
        """
        number = self._pass(resource)
        with self._connection:
            self._connection.executemany(
                "INSERT INTO records VALUES (?, ?, ?, ?) ON CONFLICT (resource, id) DO UPDATE SET "
                "pass = excluded.pass, body = excluded.body",
                [(resource, id_, number, json.dumps(body, sort_keys=True)) for id_, body in records],
            )
            self._connection.executemany("DELETE FROM records WHERE resource = ? AND id = ?",
                                         [(resource, id_) for id_ in deleted])  # fmt: skip
            self._connection.execute("UPDATE resources SET place = ? WHERE resource = ?",
                                     (json.dumps(next_place), resource))  # fmt: skip

    def finish(self, resource: str, synced: Any) -> None:
        """End a pass: drop what a sweeping pass did not meet, and write down from where changes count next time."""
        with self._connection:
            self._connection.execute(
                "DELETE FROM records WHERE resource = ? AND pass < (SELECT pass FROM resources WHERE resource = ?) "
                "AND (SELECT sweeps FROM resources WHERE resource = ?)", (resource,) * 3,
            )  # fmt: skip
            self._connection.execute("UPDATE resources SET place = NULL, synced = ? WHERE resource = ?",
                                     (json.dumps(synced), resource))  # fmt: skip

    def met(self, resource: str) -> int:
        """Records that the pass under way, or the last one, has met."""
        query = ("SELECT count(*) FROM records WHERE resource = ? "
                 "AND pass = (SELECT pass FROM resources WHERE resource = ?)")  # fmt: skip
        return int(self._connection.execute(query, (resource, resource)).fetchone()[0])

    def count(self, resource: str) -> int:
        query = "SELECT count(*) FROM records WHERE resource = ?"
        return int(self._connection.execute(query, (resource,)).fetchone()[0])

    def records(self, resource: str) -> Iterator[Kept]:
        """Every record of a resource, by identifier: the same whatever order it arrived in."""
        query = "SELECT id, body FROM records WHERE resource = ? ORDER BY id"
        for number, (id_, body) in enumerate(self._connection.execute(query, (resource,)), start=1):
            yield Kept(number, id_, json.loads(body))

    def unfinished(self, resources: Iterable[str]) -> list[str]:
        """Those that are not whole: never read, or a pass is under way."""
        return [name for name in resources if self.synced(name) is None or self.place(name) is not None]

    def note_refused(self, resource: str, fields: Mapping[str, str]) -> None:
        """Remember, for the load report, the names of fields that were cut out, and what kind of thing they hold."""
        with self._connection:
            self._connection.executemany("INSERT OR IGNORE INTO refused VALUES (?, ?, ?)",
                                         [(resource, name, kind) for name, kind in sorted(fields.items())])  # fmt: skip

    def refused(self) -> list[tuple[str, str, str]]:
        """(resource, field, kind) of everything that was cut out and is never stored."""
        return list(self._connection.execute("SELECT resource, field, kind FROM refused ORDER BY resource, field"))

    def _pass(self, resource: str) -> int:
        found = self._resource(resource)
        if found is None:
            raise LookupError(f"no pass over {resource} has begun")
        return int(found[0])

    def _resource(self, resource: str) -> tuple[Any, ...] | None:
        query = "SELECT pass, sweeps, place, synced FROM resources WHERE resource = ?"
        found: tuple[Any, ...] | None = self._connection.execute(query, (resource,)).fetchone()
        return found


@contextmanager
def open_mirror(folder: Path) -> Iterator[Mirror]:
    """The mirror in `folder`, made when it is not there, for this process alone.

    Raises:
        MirrorInUse: another process has it open.
    """
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    with (folder / ".lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise MirrorInUse(f"another load reads into {folder}; try again when it has ended") from None
        connection = sqlite3.connect(folder / _FILE)
        try:
            for pragma in ("journal_mode = WAL", "synchronous = FULL", "secure_delete = ON"):
                connection.execute(f"PRAGMA {pragma}")
            connection.executescript(_SCHEMA)
            yield Mirror(connection)
        finally:
            connection.close()


def cut(record: Mapping[str, Any], wanted: Wanted) -> tuple[dict[str, Any], dict[str, str]]:
    """Only what is wanted of a record, and the names (with kinds) of what it held that is never stored.

    A number shaped like a social security number is struck out of every text that is kept; a value that was struck
    out is refused, with its reason, when the record is read.
    """
    refused: dict[str, str] = {}
    return _cut(record, wanted, refused), refused


def _cut(record: Mapping[str, Any], wanted: Wanted, refused: dict[str, str]) -> dict[str, Any]:
    kept: dict[str, Any] = {}
    for name, value in record.items():
        shape = wanted.get(name)
        if shape is None:
            _note_refused(name, value, refused)
        elif shape is True:
            kept[name] = _plain(value)
        elif isinstance(value, Mapping):
            kept[name] = _cut(value, shape, refused)
        elif isinstance(value, list):
            kept[name] = [_cut(one, shape, refused) for one in value if isinstance(one, Mapping)]
    return kept


def _plain(value: Any) -> Any:
    if isinstance(value, str):
        return redact(value)
    if isinstance(value, list):
        return [_plain(one) for one in value if not isinstance(one, Mapping | list)]
    return None if isinstance(value, Mapping) else value


def _note_refused(name: str, value: Any, refused: dict[str, str]) -> None:
    kind = refused_kind(name)
    if kind is not None:
        refused[name] = kind
    for inner in value if isinstance(value, list) else [value]:
        if isinstance(inner, Mapping):
            for deeper, held in inner.items():
                _note_refused(deeper, held, refused)
