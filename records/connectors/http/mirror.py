"""The local copy of an API source, record by record, from which full loads and deltas are read.

Each page that was read is one transaction, with the point at which to continue: a fetch that is
killed loses no page and reads none twice. A record holds only the fields that its connector names;
whatever must never be stored is dropped before anything reaches this file. A snapshot is made from
a mirror only when every resource of it is complete.
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

_ERASED_BODY = "null"
"""The body of an erased student's record: it counts, and contains nothing."""


class MirrorLocked(SourceRefused):
    """Another process is using this mirror."""


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
        self._in_transaction = False
        self._erased = list(connection.execute("SELECT salt, digest FROM forgotten ORDER BY rowid"))

    @contextmanager
    def single_transaction(self) -> Iterator[None]:
        """Make all passes inside one transaction: for a source that is read in one go."""
        with self._connection:
            self._in_transaction = True
            try:
                yield
            finally:
                self._in_transaction = False

    def resume_point(self, resource: str) -> Any:
        """Where an unfinished pass continues; None when no pass is under way."""
        row = self._resource_row(resource)
        return json.loads(row[2]) if row and row[2] is not None else None

    def sync_state(self, resource: str) -> Any:
        """The point from which changes count, as recorded by the last finished pass; or None."""
        row = self._resource_row(resource)
        return json.loads(row[3]) if row and row[3] is not None else None

    def begin(self, resource: str, resume_point: Any, *, sweeps: bool) -> None:
        """Begin a pass and discard an unfinished one.

        Args:
            resume_point: where it starts (JSON), returned by `resume_point` until the pass is
                finished.
            sweeps: the pass reads every record there is, so that a record it does not see is gone
                at the source.
        """
        with self._transaction():
            self._connection.execute(
                "INSERT INTO resources VALUES (?, 1, ?, ?, NULL) ON CONFLICT (resource) DO UPDATE"
                " SET pass = pass + 1, sweeps = excluded.sweeps, place = excluded.place",
                (resource, int(sweeps), json.dumps(resume_point)),
            )

    def take_page(
        self,
        resource: str,
        records: Iterable[tuple[str, Mapping[str, Any]]],
        next_resume_point: Any,
        *,
        deleted: Iterable[str] = (),
    ) -> None:
        """Save one page of a pass, and where the next one starts, in one transaction.

        Args:
            records: (identifier, body), already reduced by `select_fields`.
            next_resume_point: where the next page starts (JSON).
            deleted: identifiers that the source reports as deleted.
        """
        pass_number = self._pass_number(resource)
        with self._transaction():
            self._connection.executemany(
                "INSERT INTO records VALUES (?, ?, ?, ?) ON CONFLICT (resource, id) DO UPDATE SET "
                "pass = excluded.pass, body = excluded.body",
                [
                    (resource, stored_id, pass_number, body)
                    for stored_id, body in (self._stored_form(id_, body) for id_, body in records)
                ],
            )
            self._connection.executemany(
                "DELETE FROM records WHERE resource = ? AND id IN (?, ?)",
                [(resource, id_, self._pseudonym(id_)) for id_ in deleted],
            )
            self._connection.execute(
                "UPDATE resources SET place = ? WHERE resource = ?",
                (json.dumps(next_resume_point), resource),
            )

    def finish(self, resource: str, sync_state: Any) -> None:
        """Finish a pass; after a full scan, delete the records that it did not see."""
        with self._transaction():
            self._connection.execute(
                "DELETE FROM records WHERE resource = ? AND pass < (SELECT pass FROM resources"
                " WHERE resource = ?) AND (SELECT sweeps FROM resources WHERE resource = ?)",
                (resource,) * 3,
            )
            self._connection.execute(
                "UPDATE resources SET place = NULL, synced = ? WHERE resource = ?",
                (json.dumps(sync_state), resource),
            )

    def mark_unavailable(
        self, resource: str, sync_state: Mapping[str, Any], refusal: RequestRefused
    ) -> None:
        """Leave a resource empty and complete, because the source does not provide it.

        Raises:
            SourceRefused: it could be read before; what was read of it is kept.
        """
        if self.count(resource):
            raise SourceRefused(
                f"{refusal}. It could be read before ({self.count(resource):,} records, which are"
                " kept), so nothing was changed. Ask whoever runs the source to let this client"
                f" read {resource} again; to go on without it, delete this source's mirror folder"
                " and load everything again"
            ) from None
        self.begin(resource, None, sweeps=True)
        self.finish(resource, {**sync_state, "missing": refusal.status})

    def count_seen(self, resource: str) -> int:
        """Number of records seen by the pass under way, or by the last one."""
        query = (
            "SELECT count(*) FROM records WHERE resource = ? "
            "AND pass = (SELECT pass FROM resources WHERE resource = ?)"
        )
        return int(self._connection.execute(query, (resource, resource)).fetchone()[0])

    def was_seen(self, resource: str, id_: str) -> bool:
        """Whether the pass under way, or the last one, has seen the record."""
        query = (
            "SELECT 1 FROM records WHERE resource = ? AND id IN (?, ?) "
            "AND pass = (SELECT pass FROM resources WHERE resource = ?)"
        )
        return (
            self._connection.execute(
                query, (resource, id_, self._pseudonym(id_), resource)
            ).fetchone()
            is not None
        )

    def count(self, resource: str) -> int:
        """Number of records of a resource."""
        query = "SELECT count(*) FROM records WHERE resource = ?"
        return int(self._connection.execute(query, (resource,)).fetchone()[0])

    def records(self, resource: str) -> Iterator[MirrorRecord]:
        """Every record of a resource in the order of its identifier, however it arrived."""
        query = "SELECT id, body FROM records WHERE resource = ? AND body <> ? ORDER BY id"
        for number, (id_, body) in enumerate(
            self._connection.execute(query, (resource, _ERASED_BODY)), start=1
        ):
            yield MirrorRecord(number, id_, json.loads(body))

    def drop_other_resources(self, resources: Iterable[str]) -> None:
        """Delete every resource but these: what is no longer read is not stored either."""
        names = json.dumps(list(resources))
        with self._connection:
            for table in ("records", "resources", "refused"):
                statement = (
                    f"DELETE FROM {table} WHERE resource NOT IN (SELECT value FROM json_each(?))"  # noqa: S608
                )
                self._connection.execute(statement, (names,))

    def fingerprint(self, resource: str) -> str:
        """A digest of a resource's records: equal exactly when the records are equal."""
        digest = hashlib.sha256()
        for row in self._connection.execute(
            "SELECT id, body FROM records WHERE resource = ? ORDER BY id", (resource,)
        ):
            digest.update(json.dumps(row).encode())
        return digest.hexdigest()

    def forget(self, student_id: str) -> int:
        """Erase a student and store nothing about them again; returns the number of records.

        What the source goes on sending about them is counted and not stored, so that a resource can
        still be found complete.
        """
        records = self._records_naming(student_id)
        salt = secrets.token_hex(16)
        self._erased.append((salt, _digest(salt, student_id)))
        with self._connection:
            self._connection.execute("INSERT INTO forgotten VALUES (?, ?)", self._erased[-1])
            self._connection.executemany(
                "UPDATE records SET id = ?, body = ? WHERE resource = ? AND id = ?",
                [(self._pseudonym(id_), _ERASED_BODY, resource, id_) for resource, id_ in records],
            )
        for statement in (
            "PRAGMA wal_checkpoint(TRUNCATE)",
            "VACUUM",
            "PRAGMA wal_checkpoint(TRUNCATE)",
        ):
            self._connection.execute(statement)
        return len(records)

    def incomplete_resources(self, resources: Iterable[str]) -> list[str]:
        """Those of these resources that were never read, or that a pass is reading."""
        return [
            name
            for name in resources
            if self.sync_state(name) is None or self.resume_point(name) is not None
        ]

    def record_dropped_fields(self, resource: str, fields: Mapping[str, str]) -> None:
        """Record the names and kinds of dropped fields, for the load report."""
        with self._transaction():
            self._connection.executemany(
                "INSERT OR IGNORE INTO refused VALUES (?, ?, ?)",
                [(resource, name, kind) for name, kind in sorted(fields.items())],
            )

    def dropped_fields(self) -> list[tuple[str, str, str]]:
        """(resource, field, kind) of everything that was dropped and is never stored."""
        return list(
            self._connection.execute(
                "SELECT resource, field, kind FROM refused ORDER BY resource, field"
            )
        )

    def holds(self, student_id: str) -> int:
        """Number of records that name the student."""
        return len(self._records_naming(student_id))

    def _records_naming(self, student_id: str) -> list[tuple[str, str]]:
        """(resource, identifier) of the records that name a student."""
        like = f"%{json.dumps(student_id)[1:-1]}%"
        query = "SELECT resource, id, body FROM records WHERE id = ? OR body LIKE ?"
        return [
            (resource, id_)
            for resource, id_, body in self._connection.execute(query, (student_id, like))
            if student_id in {id_, *_students_named(json.loads(body))}
        ]

    def _stored_form(self, id_: str, body: Mapping[str, Any]) -> tuple[str, str]:
        if self._erased and self._is_erased(id_, body):
            return self._pseudonym(id_), _ERASED_BODY
        return id_, json.dumps(body, sort_keys=True)

    def _is_erased(self, id_: str, body: Any) -> bool:
        names = {id_, *_students_named(body)}
        return any(_digest(salt, name) == digest for name in names for salt, digest in self._erased)

    def _pseudonym(self, id_: str) -> str:
        """What replaces the identifier of an erased record, which may be a student's own."""
        return f"forgotten-{_digest(self._erased[0][0], id_)[:32]}" if self._erased else id_

    @contextmanager
    def _transaction(self) -> Iterator[None]:
        if self._in_transaction:
            yield
        else:
            with self._connection:
                yield

    def _pass_number(self, resource: str) -> int:
        row = self._resource_row(resource)
        if row is None:
            raise LookupError(f"no pass over {resource} has begun")
        return int(row[0])

    def _resource_row(self, resource: str) -> tuple[Any, ...] | None:
        query = "SELECT pass, sweeps, place, synced FROM resources WHERE resource = ?"
        row: tuple[Any, ...] | None = self._connection.execute(query, (resource,)).fetchone()
        return row


@contextmanager
def open_mirror(folder: Path) -> Iterator[Mirror]:
    """The mirror in `folder`, created if it does not exist, for this process alone.

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
    """The mirror in `folder`, every resource complete; dropped fields are reported to `sink`.

    Raises:
        SourceRefused: a resource is incomplete.
        MirrorLocked: another process has it open.
    """
    with open_mirror(folder) as mirror:
        incomplete = mirror.incomplete_resources(resources)
        if incomplete:
            raise SourceRefused(
                f"{folder} is incomplete ({', '.join(incomplete)}): load the source again"
            )
        for resource, field, kind in mirror.dropped_fields():
            sink.drop_column(resource, field, kind)
        yield mirror


def select_fields(
    record: Mapping[str, Any], selection: FieldSelection
) -> tuple[dict[str, Any], dict[str, str]]:
    """The selected fields of a record, and the never-stored fields it had (name -> kind).

    A number shaped like a social security number is redacted in every selected text; a redacted
    value is quarantined, with its reason, when the record is read.
    """
    dropped: dict[str, str] = {}
    return _select(record, selection, dropped), dropped


def _students_named(value: Any) -> Iterator[str]:
    """The identifiers of students in a body, at any depth."""
    if isinstance(value, list):
        for item in value:
            yield from _students_named(item)
    elif isinstance(value, Mapping):
        for name, inner in value.items():
            if name in STUDENT_ID_FIELDS and isinstance(inner, str | int):
                yield str(inner)
            elif name in STUDENT_REFERENCES and isinstance(inner, Mapping):
                yield str(inner.get("sourcedId"))
            yield from _students_named(inner)


def _digest(salt: str, student_id: str) -> str:
    return hmac.new(salt.encode(), student_id.encode(), hashlib.sha256).hexdigest()


def _select(
    record: Mapping[str, Any], selection: FieldSelection, dropped: dict[str, str]
) -> dict[str, Any]:
    selected: dict[str, Any] = {}
    for name, value in record.items():
        inner_selection = selection.get(name)
        if inner_selection is None:
            _collect_dropped(name, value, dropped)
        elif inner_selection is True:
            selected[name] = _clean_value(value)
        elif isinstance(value, Mapping):
            selected[name] = _select(value, inner_selection, dropped)
        elif isinstance(value, list):
            selected[name] = [
                _select(item, inner_selection, dropped)
                for item in value
                if isinstance(item, Mapping)
            ]
    return selected


def _clean_value(value: Any) -> Any:
    if isinstance(value, str):
        return redact(value)
    if isinstance(value, list):
        return [_clean_value(item) for item in value if not isinstance(item, Mapping | list)]
    return None if isinstance(value, Mapping) else value


def _collect_dropped(name: str, value: Any, dropped: dict[str, str]) -> None:
    kind = prohibited_kind(name)
    if kind is not None:
        dropped[name] = kind
    for item in value if isinstance(value, list) else [value]:
        if isinstance(item, Mapping):
            for inner_name, inner_value in item.items():
                _collect_dropped(inner_name, inner_value, dropped)
