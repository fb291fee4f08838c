"""Immutable snapshots of the canonical tables, and the one way to make a new one.

A load writes a new folder (Parquet per table, sorted by student; a manifest; the quarantine) and only then
moves one pointer by an atomic rename: a load that is killed leaves the old snapshot serving. The same input
gives the same snapshot. Two loads at once are refused rather than mixed.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import shutil
from collections import defaultdict
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from datetime import date
from functools import cached_property
from pathlib import Path
from typing import Any

import duckdb
import ibis
import pyarrow as pa
import pyarrow.parquet as pq

from records.connectors.protocol import Connector, FileCount, MissingFile, Progress, SourceRefused
from records.never_ingest import redact
from records.quarantine import BadRow, Value
from records.schema import TABLES, Table, table

_CHUNK = 200_000
_BOOKKEEPING = (("_file", pa.string()), ("_line", pa.int64()), ("_seq", pa.int64()), ("_counted", pa.bool_()))
_QUARANTINE = pa.schema([("file", pa.string()), ("line", pa.int64()), ("column", pa.string()),
                         ("reason", pa.string()), ("raw", pa.string())])  # fmt: skip


class NoSnapshot(LookupError):
    """Nothing has been loaded yet."""


class SnapshotDamaged(RuntimeError):
    """The pointer names a snapshot that is not there: nothing may be read as if it were empty."""


class LoadInProgress(RuntimeError):
    """Another load holds the lock."""


@dataclass(frozen=True)
class Snapshot:
    """One immutable load. Only `records.scope` reads student tables from here."""

    id: str
    path: Path

    @classmethod
    def current(cls, home: Path) -> Snapshot:
        """The snapshot that serves now.

        Raises:
            NoSnapshot: nothing has been loaded into `home`.
            SnapshotDamaged: what the pointer names is not there.
        """
        pointer = home / "snapshots" / "CURRENT"
        try:
            name = pointer.read_text().strip()
        except FileNotFoundError:
            raise NoSnapshot(f"no records are loaded in {home}: run `handrail load` first") from None
        path = home / "snapshots" / name
        if not (path / "manifest.json").is_file():
            raise SnapshotDamaged(f"the snapshot that serves is missing from {path.parent}: load the records again")
        return cls(name, path)

    @cached_property
    def manifest(self) -> dict[str, Any]:
        manifest: dict[str, Any] = json.loads((self.path / "manifest.json").read_text())
        return manifest

    @cached_property
    def connection(self) -> Any:
        """A DuckDB backend of Ibis of this snapshot's own; not to be shared between threads."""
        return ibis.duckdb.connect()

    def table(self, name: str) -> Any:
        """The table as an Ibis expression: Parquet where there are rows, empty and typed where there are none."""
        canonical = table(name)
        file = self.path / f"{name}.parquet"
        if file.exists():
            return self.connection.read_parquet(file)
        return ibis.memtable(canonical.arrow_schema().empty_table())

    def quarantined(self) -> pa.Table:
        return pq.read_table(self.path / "quarantine.parquet")

    def latest_date(self) -> date:
        """The last day on which anything was recorded of a student: the default `as_of`.

        Raises:
            NoSnapshot: no dated record is loaded.
        """
        days = [self.manifest["latest"].get(name) for name in _DATED]
        known = [date.fromisoformat(day) for day in days if day]
        if not known:
            raise NoSnapshot("no dated record is loaded: no attendance, grade, test or session")
        return max(known)


_DATED = {"attendance_events": "date", "course_grades": "date", "gradebook_entries": "due_date",
          "assessments": "date", "service_sessions": "date"}  # fmt: skip


@dataclass
class LoadReport:
    """What a load read, kept and left out. For every file read = kept + quarantined + duplicates + ignored."""

    source: str
    snapshot_id: str = ""
    changed: bool = False
    files: list[FileCount] = field(default_factory=list)
    missing: list[MissingFile] = field(default_factory=list)
    dropped_columns: list[dict[str, str]] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    rows: dict[str, int] = field(default_factory=dict)

    def to_dict(self) -> dict[str, Any]:
        return asdict(self) | {"files": [asdict(count) | {"read": count.read} for count in self.files]}


def load(connector: Connector, directory: Path, home: Path, *, merge: bool = False,
         progress: Progress = lambda file, done, total: None) -> LoadReport:  # fmt: skip
    """Read a source into a new snapshot and make it current.

    With `merge`, tables that the connector does not bring are carried over from the current snapshot.

    Raises:
        SourceRefused: the source cannot be read; the current snapshot stays.
        LoadInProgress: another load runs.
    """
    if not directory.is_dir():
        raise SourceRefused(f"{directory} is not a folder")
    snapshots = home / "snapshots"
    snapshots.mkdir(parents=True, exist_ok=True)
    with _only_load(snapshots):
        staging = snapshots / ".staging"
        shutil.rmtree(staging, ignore_errors=True)
        staging.mkdir()
        try:
            collected = _Collected(staging, connector.name)
            connector.read(directory, collected, progress)
            previous = _previous(home, collected.report) if merge else None
            report = _write_tables(collected, connector, previous)
            _publish(staging, snapshots, report)
        finally:
            shutil.rmtree(staging, ignore_errors=True)
        return report


def _previous(home: Path, report: LoadReport) -> Snapshot | None:
    try:
        return Snapshot.current(home)
    except SnapshotDamaged:
        report.notes.append("the snapshot that served was gone, so nothing was carried over from it: load every source")
        return None


@contextmanager
def _only_load(snapshots: Path) -> Iterator[None]:
    with (snapshots / ".lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise LoadInProgress(f"another load is writing to {snapshots}; try again when it has ended") from None
        yield


class _Collected:
    """The `Sink` of a load: rows spill to Parquet in the staging folder, chunk by chunk."""

    def __init__(self, staging: Path, source: str) -> None:
        self.staging = staging
        self.report = LoadReport(source)
        self.bad: list[BadRow] = []
        self._counts: dict[str, FileCount] = {}
        self._rows: dict[str, list[tuple[Any, ...]]] = defaultdict(list)
        self._chunks: dict[str, int] = defaultdict(int)
        self._seq = 0
        self._dropped: set[tuple[str, str]] = set()

    def count(self, file: str) -> FileCount:
        if file not in self._counts:
            self._counts[file] = FileCount(file)
            self.report.files.append(self._counts[file])
        return self._counts[file]

    def keep(self, table: str, values: Mapping[str, Value], file: str, line: int) -> None:
        self.count(file).kept += 1
        self._add(table, values, file, line, True)

    def derive(self, table: str, values: Mapping[str, Value], file: str, line: int) -> None:
        self._add(table, values, file, line, False)

    def use(self, file: str) -> None:
        self.count(file).kept += 1

    def quarantine(self, row: BadRow) -> None:
        self.count(row.file).quarantined += 1
        self.bad.append(BadRow(row.file, row.line, row.column, redact(row.reason), redact(row.raw)))

    def ignore(self, file: str, kind: str) -> None:
        count = self.count(file)
        count.ignored += 1
        count.ignored_kinds[kind] = count.ignored_kinds.get(kind, 0) + 1

    def missing(self, file: str, stays_empty: str) -> None:
        self.report.missing.append(MissingFile(file, stays_empty))

    def drop_column(self, file: str, column: str, kind: str) -> None:
        if (file, column) not in self._dropped:
            self._dropped.add((file, column))
            self.report.dropped_columns.append({"file": file, "column": column, "kind": kind})

    def note(self, text: str) -> None:
        self.report.notes.append(text)

    def _add(self, name: str, values: Mapping[str, Value], file: str, line: int, counted: bool) -> None:
        self._seq += 1
        rows = self._rows[name]
        rows.append((*(values.get(c.name) for c in TABLES[name].columns), file, line, self._seq, counted))
        if len(rows) >= _CHUNK:
            self._spill(name)

    def _spill(self, name: str) -> None:
        fields = [(c.name, c.type) for c in TABLES[name].columns] + list(_BOOKKEEPING)
        columns = zip(*self._rows.pop(name), strict=True)
        arrays = [pa.array(values, type=type_) for values, (_, type_) in zip(columns, fields, strict=True)]
        chunk = pa.Table.from_arrays(arrays, names=[field_name for field_name, _ in fields])
        pq.write_table(chunk, self.staging / f"raw-{name}-{self._chunks[name]}.parquet")
        self._chunks[name] += 1

    def finish(self) -> list[str]:
        """Spill what is left; the names of the tables that have rows."""
        for name in list(self._rows):
            self._spill(name)
        return [name for name in TABLES if self._chunks[name]]


def _write_tables(collected: _Collected, connector: Connector, previous: Snapshot | None) -> LoadReport:
    found = collected.finish()
    if not found and not collected.bad:
        raise SourceRefused(f"no {connector.name} records were found: is this the right folder?")
    carried = [] if previous is None else [
        name for name in TABLES if name not in connector.tables and (previous.path / f"{name}.parquet").exists()
    ]  # fmt: skip
    for name in carried:
        assert previous is not None
        shutil.copyfile(previous.path / f"{name}.parquet", collected.staging / f"{name}.parquet")
    with duckdb.connect() as engine:
        for name in sorted(found, key=lambda name: name != "students"):
            _settle(engine, TABLES[name], collected)
        if "students" in found:
            for name in carried:
                _drop_unknown(engine, TABLES[name], collected)
        latest = {}
        for name in TABLES:
            file = collected.staging / f"{name}.parquet"
            if file.exists():
                collected.report.rows[name] = pq.read_metadata(file).num_rows
                if name in _DATED:
                    last = engine.read_parquet(str(file)).aggregate(f"max({_DATED[name]})").fetchall()[0][0]
                    latest[name] = str(last) if last else None
    bad = sorted(collected.bad, key=lambda row: (row.file, row.line))
    pq.write_table(pa.Table.from_pylist([asdict(row) for row in bad], schema=_QUARANTINE),
                   collected.staging / "quarantine.parquet")  # fmt: skip
    inherited = previous.manifest["sources"] if previous is not None else []
    manifest = {
        "sources": [s for s in inherited if s["source"] != connector.name] + [collected.report.to_dict()],
        "rows": collected.report.rows,
        "latest": latest,
        "hashes": {file.name: _sha256(file) for file in sorted(collected.staging.glob("[a-z]*.parquet"))
                   if not file.name.startswith("raw-")},
    }  # fmt: skip
    collected.report.snapshot_id = _digest(manifest)
    for raw in collected.staging.glob("raw-*.parquet"):
        raw.unlink()
    (collected.staging / "manifest.json").write_text(json.dumps(manifest, indent=1, sort_keys=True))
    return collected.report


def _settle(engine: duckdb.DuckDBPyConnection, canonical: Table, collected: _Collected) -> None:
    """Sort out duplicates, conflicting keys and unknown students of one table, then write it sorted."""
    names = [column.name for column in canonical.columns]
    key = ", ".join(f'"{name}"' for name in canonical.key)
    raw = engine.read_parquet(str(collected.staging / f"raw-{canonical.name}-*.parquet"))
    row_text = "md5(concat_ws('|', " + ", ".join(f"coalesce(\"{n}\"::varchar, '~')" for n in names) + "))"
    window = f"partition by {key} order by _seq"
    ranked = raw.project(f"*, row_number() over ({window}) as _rank, "
                         f"{row_text} = first_value({row_text}) over ({window}) as _same")  # fmt: skip
    ranked.create(f"ranked_{canonical.name}")
    ranked = engine.table(f"ranked_{canonical.name}")
    students = collected.staging / "students.parquet"
    known = "true"
    if canonical.is_student and canonical.name != "students" and students.exists():
        engine.read_parquet(str(students)).create_view("known_students", replace=True)
        known = "student_id in (select student_id from known_students)"
    _reject(collected, canonical, ranked.filter(f"_rank > 1 and not _same and {known}"), canonical.key[0],
            "another row has the same key (" + ", ".join(canonical.key) + ") and other values")  # fmt: skip
    _reject(collected, canonical, ranked.filter(f"not ({known})"), "student_id",
            "no student has this identifier in the students that were loaded")  # fmt: skip
    repeated = ranked.filter(f"_rank > 1 and _same and _counted and {known}").aggregate("_file, count(*)")
    for file, count in repeated.fetchall():
        collected.count(file).duplicates += count
        collected.count(file).kept -= count
    kept = ranked.filter(f"_rank = 1 and {known}")
    if not kept.limit(1).fetchall():
        return
    columns = ", ".join(f'"{name}"' for name in names)
    sorted_rows = kept.project(columns).order(", ".join(str(i + 1) for i in range(len(names))))
    pq.write_table(sorted_rows.to_arrow_table().cast(canonical.arrow_schema()),
                   collected.staging / f"{canonical.name}.parquet")  # fmt: skip


def _drop_unknown(engine: duckdb.DuckDBPyConnection, canonical: Table, collected: _Collected) -> None:
    """Leave out carried rows of students whom the new load no longer has; they stay in the older snapshot."""
    if not canonical.is_student:
        return
    file = collected.staging / f"{canonical.name}.parquet"
    engine.read_parquet(str(collected.staging / "students.parquet")).create_view("known_students", replace=True)
    rows = engine.read_parquet(str(file))
    known = rows.filter("student_id in (select student_id from known_students)").to_arrow_table()
    lost = pq.read_metadata(file).num_rows - known.num_rows
    if lost:
        collected.note(f"{lost:,} rows of {canonical.name} from an earlier load are of students not in this one")
        file.unlink()
        if known.num_rows:
            pq.write_table(known.cast(canonical.arrow_schema()), file)


def _reject(collected: _Collected, canonical: Table, rows: duckdb.DuckDBPyRelation, column: str, reason: str) -> None:
    names = [c.name for c in canonical.columns]
    quoted = ", ".join(f'"{name}"' for name in names)
    for file, line, counted, *values in rows.project(f"_file, _line, _counted, {quoted}").fetchall():
        raw = json.dumps(dict(zip(names, values, strict=True)), default=str)
        if counted:
            collected.count(file).kept -= 1
            collected.quarantine(BadRow(file, line, column, reason, raw))
        else:
            collected.bad.append(BadRow(file, line, column, reason, redact(raw)))


def _publish(staging: Path, snapshots: Path, report: LoadReport) -> None:
    target = snapshots / report.snapshot_id
    pointer = snapshots / "CURRENT"
    for file in staging.iterdir():
        _fsync(file)
    if not target.exists():
        staging.rename(target)
    _fsync(snapshots)
    report.changed = not pointer.exists() or pointer.read_text().strip() != report.snapshot_id
    if report.changed:
        fresh = snapshots / ".CURRENT.new"
        fresh.write_text(report.snapshot_id + "\n")
        _fsync(fresh)
        fresh.replace(pointer)
        _fsync(snapshots)


def _fsync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _sha256(file: Path) -> str:
    with file.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def _digest(manifest: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps(manifest, sort_keys=True).encode()).hexdigest()[:20]
