"""What a source's API last said, record by record: the ground on which a full load and a delta are
the same.

Each page that was read is one transaction, with the place from which to go on: a fetch that is
killed loses no page and reads none twice. A record holds only the fields that its connector names;
whatever must never be stored is cut out before anything reaches this file. A snapshot is made from
a mirror only when every resource of it is whole.
"""

from __future__ import annotations

import fcntl
import hashlib
import hmac
import json
import secrets
import sqlite3
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from records.canonical.never_ingest import prohibited_kind, redact
from records.connectors.http.client import RequestRefused
from records.connectors.protocol import RowSink, SourceRefused

FieldSelection = Mapping[str, Any]
"""Names of fields to keep: True for a value (or a list of values), another `FieldSelection` for an
object or for each object of a list."""

_FILE = "mirror.sqlite"
_SCHEMA = """
CREATE TABLE IF NOT EXISTS records (
    resource TEXT NOT NULL, id TEXT NOT NULL, pass INTEGER NOT NULL, body TEXT NOT NULL,
    PRIMARY KEY (resource, id)
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS resources (
    resource TEXT PRIMARY KEY, pass INTEGER NOT NULL, sweeps INTEGER NOT NULL, place TEXT,
    synced TEXT
);
CREATE TABLE IF NOT EXISTS forgotten (salt TEXT NOT NULL, digest TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS refused (resource TEXT NOT NULL, field TEXT NOT NULL, kind TEXT NOT NULL,
                                    PRIMARY KEY (resource, field));
"""


STUDENT_ID_FIELDS = frozenset(
    {"studentUniqueId", "student_id", "userSourcedId", "studentSourcedId", "student_number"}
)
"""Fields, at any depth, whose value is the district's identifier of a student."""

STUDENT_REFERENCES = frozenset({"user", "student"})
"""Fields whose object names a student by its `sourcedId`."""

_NOTHING = "null"
"""The body of a record of which nothing may be kept: it counts, and says nothing."""


class MirrorLocked(SourceRefused):
    """Another fetch writes to this mirror."""


@dataclass(frozen=True)
class MirrorRecord:
    """One record of a mirror. `number` counts from 1 within its resource, in the order of `id`."""

    number: int
    id: str
    body: Mapping[str, Any]


class Mirror:
    """The mirror in one folder. Open it with `open_mirror`."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection
        self._is_joined = False
        self._forgotten = list(
            connection.execute("SELECT salt, digest FROM forgotten ORDER BY rowid")
        )

    @contextmanager
    def at_once(self) -> Iterator[None]:
        """All passes inside are one transaction: for a source that is read in one go and never
        resumed.
        """
        with self._connection:
            self._is_joined = True
            try:
                yield
            finally:
                self._is_joined = False

    def place(self, resource: str) -> Any:
        """Where an unfinished pass goes on; None when no pass is under way."""
        found = self._resource(resource)
        return json.loads(found[2]) if found and found[2] is not None else None

    def synced(self, resource: str) -> Any:
        """What the last finished pass wrote down as the point from which changes count; None before
        the first.
        """
        found = self._resource(resource)
        return json.loads(found[3]) if found and found[3] is not None else None

    def begin(self, resource: str, place: Any, *, sweeps: bool) -> None:
        """Begin a pass, forgetting an unfinished one.

        Args:
            place: where it starts (JSON), given back by `place` until the pass is finished.
            sweeps: the pass reads every record there is, so that one that it does not meet is gone
                at the source.
        """
        with self._transaction():
            self._connection.execute(
                "INSERT INTO resources VALUES (?, 1, ?, ?, NULL) ON CONFLICT (resource) DO UPDATE"
                " SET pass = pass + 1, sweeps = excluded.sweeps, place = excluded.place",
                (resource, int(sweeps), json.dumps(place)),
            )

    def take_page(
        self,
        resource: str,
        records: Iterable[tuple[str, Mapping[str, Any]]],
        next_place: Any,
        *,
        deleted: Iterable[str] = (),
    ) -> None:
        """Keep one page of a pass, and where the next one starts, in one transaction.

        Args:
            records: (identifier, body), already cut to what is wanted by `select_fields`.
            deleted: identifiers that the source says are gone.
        """
        number = self._pass(resource)
        with self._transaction():
            self._connection.executemany(
                "INSERT INTO records VALUES (?, ?, ?, ?) ON CONFLICT (resource, id) DO UPDATE SET "
                "pass = excluded.pass, body = excluded.body",
                [
                    (resource, kept, number, body)
                    for kept, body in (self._kept(id_, body) for id_, body in records)
                ],
            )
            self._connection.executemany(
                "DELETE FROM records WHERE resource = ? AND id IN (?, ?)",
                [(resource, id_, self._stand_in(id_)) for id_ in deleted],
            )
            self._connection.execute(
                "UPDATE resources SET place = ? WHERE resource = ?",
                (json.dumps(next_place), resource),
            )

    def finish(self, resource: str, synced: Any) -> None:
        """End a pass: drop what a sweeping pass did not meet, and write down from where changes
        count next time.
        """
        with self._transaction():
            self._connection.execute(
                "DELETE FROM records WHERE resource = ? AND pass < (SELECT pass FROM resources"
                " WHERE resource = ?) AND (SELECT sweeps FROM resources WHERE resource = ?)",
                (resource,) * 3,
            )
            self._connection.execute(
                "UPDATE resources SET place = NULL, synced = ? WHERE resource = ?",
                (json.dumps(synced), resource),
            )

    def mark_missing(
        self, resource: str, synced: Mapping[str, Any], refused: RequestRefused
    ) -> None:
        """Leave a resource empty and whole, because the source does not give it.

        Raises:
            SourceRefused: it could be read before; what was read of it is kept.
        """
        if self.count(resource):
            raise SourceRefused(
                f"{refused}. It could be read before ({self.count(resource):,} records, which are"
                " kept), so nothing was changed. Ask whoever runs the source to let this client"
                f" read {resource} again; to go on without it, remove the folder in which this"
                " source is kept, and load everything anew"
            ) from None
        self.begin(resource, None, sweeps=True)
        self.finish(resource, {**synced, "missing": refused.status})

    def met(self, resource: str) -> int:
        """Records that the pass under way, or the last one, has met."""
        query = (
            "SELECT count(*) FROM records WHERE resource = ? "
            "AND pass = (SELECT pass FROM resources WHERE resource = ?)"
        )
        return int(self._connection.execute(query, (resource, resource)).fetchone()[0])

    def has_met(self, resource: str, id_: str) -> bool:
        """Whether the pass under way, or the last one, has met the record."""
        query = (
            "SELECT 1 FROM records WHERE resource = ? AND id IN (?, ?) "
            "AND pass = (SELECT pass FROM resources WHERE resource = ?)"
        )
        return (
            self._connection.execute(
                query, (resource, id_, self._stand_in(id_), resource)
            ).fetchone()
            is not None
        )

    def count(self, resource: str) -> int:
        query = "SELECT count(*) FROM records WHERE resource = ?"
        return int(self._connection.execute(query, (resource,)).fetchone()[0])

    def records(self, resource: str) -> Iterator[MirrorRecord]:
        """Every record of a resource, by identifier: the same whatever order it arrived in."""
        query = "SELECT id, body FROM records WHERE resource = ? AND body <> ? ORDER BY id"
        for number, (id_, body) in enumerate(
            self._connection.execute(query, (resource, _NOTHING)), start=1
        ):
            yield MirrorRecord(number, id_, json.loads(body))

    def keep_only(self, resources: Iterable[str]) -> None:
        """Forget every resource but these: what a source is no longer read for is not kept
        either.
        """
        names = json.dumps(list(resources))
        with self._connection:
            for table in ("records", "resources", "refused"):
                unread = (
                    f"DELETE FROM {table} WHERE resource NOT IN (SELECT value FROM json_each(?))"  # noqa: S608
                )
                self._connection.execute(unread, (names,))

    def fingerprint(self, resource: str) -> str:
        """The same for the same records, and for no others."""
        digest = hashlib.sha256()
        for row in self._connection.execute(
            "SELECT id, body FROM records WHERE resource = ? ORDER BY id", (resource,)
        ):
            digest.update(json.dumps(row).encode())
        return digest.hexdigest()

    def forget(self, student_id: str) -> int:
        """Delete what is held of a student, and keep nothing of them again; the number of records.

        What the source goes on sending of them is counted and not kept, so that a resource can
        still be found whole.
        """
        found = self._naming(student_id)
        salt = secrets.token_hex(16)
        self._forgotten.append((salt, _digest(salt, student_id)))
        with self._connection:
            self._connection.execute("INSERT INTO forgotten VALUES (?, ?)", self._forgotten[-1])
            self._connection.executemany(
                "UPDATE records SET id = ?, body = ? WHERE resource = ? AND id = ?",
                [(self._stand_in(id_), _NOTHING, resource, id_) for resource, id_ in found],
            )
        for statement in (
            "PRAGMA wal_checkpoint(TRUNCATE)",
            "VACUUM",
            "PRAGMA wal_checkpoint(TRUNCATE)",
        ):
            self._connection.execute(statement)
        return len(found)

    def unfinished(self, resources: Iterable[str]) -> list[str]:
        """Those that are not whole: never read, or a pass is under way."""
        return [
            name for name in resources if self.synced(name) is None or self.place(name) is not None
        ]

    def note_refused(self, resource: str, fields: Mapping[str, str]) -> None:
        """Remember, for the load report, the names of fields that were cut out, and what kind of
        thing they hold.
        """
        with self._transaction():
            self._connection.executemany(
                "INSERT OR IGNORE INTO refused VALUES (?, ?, ?)",
                [(resource, name, kind) for name, kind in sorted(fields.items())],
            )

    def refused(self) -> list[tuple[str, str, str]]:
        """(resource, field, kind) of everything that was cut out and is never stored."""
        return list(
            self._connection.execute(
                "SELECT resource, field, kind FROM refused ORDER BY resource, field"
            )
        )

    def holds(self, student_id: str) -> int:
        """How many records name the student."""
        return len(self._naming(student_id))

    def _naming(self, student_id: str) -> list[tuple[str, str]]:
        """(resource, identifier) of the records that name a student."""
        like = f"%{json.dumps(student_id)[1:-1]}%"
        query = "SELECT resource, id, body FROM records WHERE id = ? OR body LIKE ?"
        return [
            (resource, id_)
            for resource, id_, body in self._connection.execute(query, (student_id, like))
            if student_id in {id_, *_students_named(json.loads(body))}
        ]

    def _kept(self, id_: str, body: Mapping[str, Any]) -> tuple[str, str]:
        if self._forgotten and self._is_forgotten(id_, body):
            return self._stand_in(id_), _NOTHING
        return id_, json.dumps(body, sort_keys=True)

    def _is_forgotten(self, id_: str, body: Any) -> bool:
        named = {id_, *_students_named(body)}
        return any(
            _digest(salt, one) == digest for one in named for salt, digest in self._forgotten
        )

    def _stand_in(self, id_: str) -> str:
        """What stands for the identifier of a record of which nothing is kept: it may be a
        student's own.
        """
        return f"forgotten-{_digest(self._forgotten[0][0], id_)[:32]}" if self._forgotten else id_

    @contextmanager
    def _transaction(self) -> Iterator[None]:
        if self._is_joined:
            yield
        else:
            with self._connection:
                yield

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
        MirrorLocked: another process has it open.
    """
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    with (folder / ".lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise MirrorLocked(
                f"another load reads into {folder}; try again when it has ended"
            ) from None
        connection = sqlite3.connect(folder / _FILE)
        try:
            for pragma in ("journal_mode = WAL", "synchronous = FULL", "secure_delete = ON"):
                connection.execute(f"PRAGMA {pragma}")
            connection.executescript(_SCHEMA)
            yield Mirror(connection)
        finally:
            connection.close()


@contextmanager
def open_complete_mirror(folder: Path, resources: Iterable[str], sink: RowSink) -> Iterator[Mirror]:
    """The mirror in `folder`, to be read: every one of these resources is whole. What was cut out
    is told to `sink`.

    Raises:
        SourceRefused: a resource is not whole.
        MirrorLocked: another process has it open.
    """
    with open_mirror(folder) as mirror:
        unfinished = mirror.unfinished(resources)
        if unfinished:
            raise SourceRefused(
                f"{folder} is not whole ({', '.join(unfinished)}): load the source again"
            )
        for resource, name, kind in mirror.refused():
            sink.drop_column(resource, name, kind)
        yield mirror


def select_fields(
    record: Mapping[str, Any], wanted: FieldSelection
) -> tuple[dict[str, Any], dict[str, str]]:
    """Only what is wanted of a record, and the names (with kinds) of what it held that is never
    stored.

    A number shaped like a social security number is struck out of every text that is kept; a value
    that was struck out is refused, with its reason, when the record is read.
    """
    refused: dict[str, str] = {}
    return _cut(record, wanted, refused), refused


def _students_named(value: Any) -> Iterator[str]:
    """The identifiers of students that a body names, at any depth."""
    if isinstance(value, list):
        for one in value:
            yield from _students_named(one)
    elif isinstance(value, Mapping):
        for name, held in value.items():
            if name in STUDENT_ID_FIELDS and isinstance(held, str | int):
                yield str(held)
            elif name in STUDENT_REFERENCES and isinstance(held, Mapping):
                yield str(held.get("sourcedId"))
            yield from _students_named(held)


def _digest(salt: str, student_id: str) -> str:
    return hmac.new(salt.encode(), student_id.encode(), hashlib.sha256).hexdigest()


def _cut(
    record: Mapping[str, Any], wanted: FieldSelection, refused: dict[str, str]
) -> dict[str, Any]:
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
    kind = prohibited_kind(name)
    if kind is not None:
        refused[name] = kind
    for inner in value if isinstance(value, list) else [value]:
        if isinstance(inner, Mapping):
            for deeper, held in inner.items():
                _note_refused(deeper, held, refused)
