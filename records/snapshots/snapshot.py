"""Immutable snapshots of the canonical tables, and the one way to make a new one.

A load writes a new folder (Parquet per table, sorted by student; a manifest; the quarantine) and
only then moves one pointer by an atomic rename: a load that is killed leaves the old snapshot
serving. The same input gives the same snapshot. Two loads at once are refused rather than mixed.
Rows go through files, never all through memory, so that a load of any size takes about as much of
it as a small one.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import re
import shutil
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from datetime import date
from functools import cache, cached_property, lru_cache
from pathlib import Path
from typing import Any

import duckdb
import ibis
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from records.canonical.never_ingest import redact
from records.canonical.quarantine import BadRow, QuarantinedRow, Value
from records.canonical.schema import TABLES, CanonicalTable, canonical_table
from records.connectors.corrections import Correction, apply_corrections
from records.connectors.protocol import (
    Connector,
    FileCount,
    MissingFile,
    PartnerConnector,
    SourceRefused,
)
from records.connectors.zip_files import open_source_folder
from records.system.errors import UserError
from records.system.progress import ProgressCallback

_CHUNK = 50_000
_CHUNK_TEXT = 16_000_000
"""Characters of quarantined rows that may wait in memory: a damaged line can be long."""
_ROW_GROUP = 100_000
_ENGINE = {"memory_limit": "200MB", "threads": "2"}
"""What does not fit spills into the staging folder. Each thread of a sort needs memory of its own:
two are bounded."""
_BOOKKEEPING = (
    ("_file", pa.string()),
    ("_line", pa.int64()),
    ("_seq", pa.int64()),
    ("_counted", pa.bool_()),
)
_QUARANTINE = pa.schema(
    [
        ("source", pa.string()),
        ("organization_id", pa.string()),
        ("file", pa.string()),
        ("line", pa.int64()),
        ("column", pa.string()),
        ("reason", pa.string()),
        ("raw", pa.string()),
        ("columns", pa.string()),
    ]
)


DESTROYED = "[destroyed with a student's records]"
_WORD = re.compile(r"[\w.-]+")


class NoSnapshot(UserError, LookupError):
    """Nothing has been loaded yet."""


class SnapshotDamaged(UserError, RuntimeError):
    """The pointer names a snapshot that is not there: nothing may be read as if it were empty."""


class LoadInProgress(UserError, RuntimeError):
    """Another load holds the lock."""


@dataclass(frozen=True)
class Snapshot:
    """One immutable load. Only `records.access.scope` reads student tables from here."""

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
            raise NoSnapshot(
                f"no records are loaded in {home}: run `handrail load` first"
            ) from None
        path = home / "snapshots" / name
        if not (path / "manifest.json").is_file():
            raise SnapshotDamaged(
                f"the snapshot that serves is missing from {path.parent}: load the records again"
            )
        return cls(name, path)

    @cached_property
    def manifest(self) -> dict[str, Any]:
        manifest: dict[str, Any] = json.loads((self.path / "manifest.json").read_text())
        return manifest

    @cached_property
    def connection(self) -> Any:
        """A DuckDB backend of Ibis of this snapshot's own; not to be shared between threads."""
        return ibis.duckdb.from_connection(_reading_engine(os.getpid()).cursor())

    @property
    def engine(self) -> duckdb.DuckDBPyConnection:
        """What reads `source`; not to be shared between threads."""
        engine: duckdb.DuckDBPyConnection = self.connection.con
        return engine

    def table(self, name: str) -> Any:
        """The table as an Ibis expression: Parquet where there are rows, empty and typed where
        there are none.
        """
        canonical = canonical_table(name)
        file = self.path / f"{name}.parquet"
        if file.exists():
            return self.connection.read_parquet(file)
        self.engine.register(f"no_{name}", canonical.arrow_schema().empty_table())
        return self.connection.table(f"no_{name}")

    def source(self, name: str) -> str:
        """The same as what may follow FROM in a query to `engine`."""
        canonical = canonical_table(name)
        file = self.path / f"{name}.parquet"
        if file.exists():
            quoted = str(file).replace("'", "''")
            return f"read_parquet('{quoted}')"
        self.engine.register(f"no_{name}", canonical.arrow_schema().empty_table())
        return f"no_{name}"

    def quarantined(self) -> pa.Table:
        return pq.read_table(self.path / "quarantine.parquet")

    def set_aside(self) -> list[QuarantinedRow]:
        """The rows that were not loaded, by source, file and line."""
        rows = self.quarantined().to_pylist()
        return [QuarantinedRow(**row | {"columns": row.get("columns") or ""}) for row in rows]

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


_DATED = {
    "attendance_events": "date",
    "course_grades": "date",
    "gradebook_entries": "due_date",
    "assessments": "date",
    "service_sessions": "date",
}


@dataclass
class LoadReport:
    """What a load read, kept and left out. For every file read = kept + quarantined + duplicates +
    ignored.

    `organization_id` is the partner whose files these were, None for a source that reports on no
    single partner; `organizations` are those whose programs and services this source brought, and
    `of_partners` says whether these were partners' own files.
    """

    source: str
    organization_id: str | None = None
    organizations: list[str] = field(default_factory=list)
    of_partners: bool = False
    snapshot_id: str = ""
    changed: bool = False
    files: list[FileCount] = field(default_factory=list)
    missing: list[MissingFile] = field(default_factory=list)
    dropped_columns: list[dict[str, str]] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    rows: dict[str, int] = field(default_factory=dict)

    def to_dict(self) -> dict[str, Any]:
        return asdict(self) | {
            "files": [asdict(count) | {"read": count.read} for count in self.files]
        }


@cache
def _reading_engine(process: int) -> duckdb.DuckDBPyConnection:
    """The one engine of a process for all its snapshots: to start one takes ten times as long as a
    small query.

    What a snapshot's connection has named is its own; a fork may not use its parent's. No file
    stays in its memory, so that what is destroyed on disk is destroyed.
    """
    return duckdb.connect(config={"enable_external_file_cache": "false"})


def load(
    connector: Connector,
    directory: Path,
    home: Path,
    *,
    merge: bool = False,
    progress: ProgressCallback = lambda file, done, total: None,
    publish: Callable[[Snapshot], None] = lambda snapshot: None,
    leave_out: Callable[[str], bool] | None = None,
    corrections: Sequence[Correction] = (),
) -> LoadReport:
    """Read a source into a new snapshot and make it current.

    With `merge`, tables that the connector does not bring are carried over from the current
    snapshot, and so are the programs and services of organisations that this source does not bring
    now and did not bring before. `publish` is called with the new snapshot when it is whole, before
    it is the current one; should it raise, the old one stays.

    Args:
        directory: the folder that holds the source's files, or a ZIP file of them.
        leave_out: whether the records of a student, by identifier, were destroyed and must not come
            back.
        corrections: lines that a person has put right, read in place of the source's own.

    Raises:
        SourceRefused: the source cannot be read, or is not the one that was corrected; the current
            snapshot stays.
        LoadInProgress: another load runs.
    """
    snapshots = home / "snapshots"
    snapshots.mkdir(parents=True, exist_ok=True)
    with _only_load(snapshots) as staging:
        collected = _Collected(staging, connector, leave_out)
        with (
            open_source_folder(directory, staging) as folder,
            apply_corrections(folder, corrections, staging) as right,
        ):
            connector.read(right, collected, progress)
        previous = _previous(home, collected.report) if merge else None
        report = _write_tables(collected, connector, previous)
        _publish(staging, snapshots, report, publish)
    return report


@dataclass(frozen=True)
class Rewritten:
    """What `rewrite_without_student` did: rows left out, quarantined rows struck out, older
    snapshots deleted.
    """

    snapshot_id: str
    rows: int
    quarantined: int
    older: int


def rewrite_without_student(
    home: Path, student_id: str, *, publish: Callable[[Snapshot], None] = lambda snapshot: None
) -> Rewritten:
    """Write the current snapshot anew without one student, and delete every other snapshot.
    `publish` as in `load`.

    Raises:
        NoSnapshot: nothing is loaded.
        LoadInProgress: a load runs.
    """
    snapshots = home / "snapshots"
    Snapshot.current(home)
    with _only_load(snapshots) as staging:
        old = Snapshot.current(home)
        names = _names_of(old, student_id)
        rows = sum(
            _copy_without(old.path / f"{name}.parquet", staging, student_id)
            for name in TABLES
            if (old.path / f"{name}.parquet").exists()
        )
        quarantined = _strike_out(old, staging, student_id, names)
        report = LoadReport("destruction")
        files = sorted(staging.glob("[a-z]*.parquet"))
        manifest = old.manifest | {
            "rows": {
                file.stem: pq.read_metadata(file).num_rows for file in files if file.stem in TABLES
            },
            "hashes": {file.name: _sha256(file) for file in files},
        }
        report.snapshot_id = _digest(manifest)
        (staging / "manifest.json").write_text(json.dumps(manifest, indent=1, sort_keys=True))
        _publish(staging, snapshots, report, publish)
        older = [
            folder
            for folder in snapshots.iterdir()
            if folder.is_dir() and folder not in (staging, snapshots / report.snapshot_id)
        ]
        for folder in older:
            shutil.rmtree(folder)
    return Rewritten(
        report.snapshot_id, rows, quarantined, len(older) - (report.snapshot_id != old.id)
    )


def _names_of(snapshot: Snapshot, student_id: str) -> tuple[str, ...]:
    """First and last name, by which a damaged row may name the student."""
    file = snapshot.path / "students.parquet"
    if not file.exists():
        return ()
    rows = pq.read_table(
        file, columns=["first_name", "last_name"], filters=[("student_id", "=", student_id)]
    )
    return tuple(name for row in rows.to_pylist() for name in row.values() if name)


def _copy_without(file: Path, staging: Path, student_id: str) -> int:
    """Copy a table but for one student's rows, batch by batch; the number left out."""
    source = pq.ParquetFile(file)
    if "student_id" not in source.schema_arrow.names:
        shutil.copyfile(file, staging / file.name)
        return 0
    left_out = 0
    with pq.ParquetWriter(staging / file.name, source.schema_arrow) as writer:
        for batch in source.iter_batches():
            kept = batch.filter(pc.not_equal(batch["student_id"], student_id))
            left_out += batch.num_rows - kept.num_rows
            writer.write_batch(kept)
    return left_out


def count_quarantined_mentions(snapshot: Snapshot, student_id: str) -> int:
    """How many rows that were set aside name the student."""
    names = _names_of(snapshot, student_id)
    return sum(_tells_of(row, student_id, names) for row in snapshot.quarantined().to_pylist())


def _tells_of(row: Mapping[str, Any], student_id: str, names: tuple[str, ...]) -> bool:
    texts = f"{row['raw']} {row['reason']}"
    whole_id = rf"(?<![A-Za-z0-9]){re.escape(student_id)}(?![A-Za-z0-9])"
    return re.search(whole_id, texts) is not None or (
        len(names) == 2 and all(name in texts for name in names)
    )


def _strike_out(snapshot: Snapshot, staging: Path, student_id: str, names: tuple[str, ...]) -> int:
    """Copy the quarantine; what a row held that names the student is struck out, and the row stays
    counted.
    """
    struck = 0
    rows = snapshot.quarantined().to_pylist()
    for row in rows:
        if _tells_of(row, student_id, names):
            row |= {"raw": DESTROYED, "reason": "not loaded", "columns": ""}
            struck += 1
    pq.write_table(pa.Table.from_pylist(rows, schema=_QUARANTINE), staging / "quarantine.parquet")
    return struck


def _previous(home: Path, report: LoadReport) -> Snapshot | None:
    try:
        return Snapshot.current(home)
    except SnapshotDamaged:
        report.notes.append(
            "the snapshot that served was gone, so nothing was carried over from it: load every"
            " source"
        )
        return None


@contextmanager
def _only_load(snapshots: Path) -> Iterator[Path]:
    """Be the only one who writes snapshots, with an empty folder to write in, which is gone
    afterwards.
    """
    with (snapshots / ".lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise LoadInProgress(
                f"another load is writing to {snapshots}; try again when it has ended"
            ) from None
        staging = snapshots / ".staging"
        shutil.rmtree(staging, ignore_errors=True)
        staging.mkdir()
        try:
            yield staging
        finally:
            shutil.rmtree(staging, ignore_errors=True)


class _Collected:
    """The `Sink` of a load: rows spill to Parquet in the staging folder, chunk by chunk."""

    def __init__(
        self, staging: Path, connector: Connector, leave_out: Callable[[str], bool] | None
    ) -> None:
        self.staging = staging
        self._leaves_out = lru_cache(200_000)(leave_out) if leave_out else None
        self.report = LoadReport(connector.name)
        if isinstance(connector, PartnerConnector):
            self.report.organization_id, self.report.of_partners = connector.organization_id, True
        self._bad: list[dict[str, Any]] = []
        self._bad_text = 0
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
        if self._leaves_out and self._leaves_out(str(values.get("student_id"))):
            self.ignore(file, "records of a student that were destroyed")
            return
        self.count(file).kept += 1
        self._add(table, values, file, line, True)

    def derive(self, table: str, values: Mapping[str, Value], file: str, line: int) -> None:
        if not (self._leaves_out and self._leaves_out(str(values.get("student_id")))):
            self._add(table, values, file, line, False)

    def use(self, file: str) -> None:
        self.count(file).kept += 1

    def quarantine(self, row: BadRow) -> None:
        self.count(row.file).quarantined += 1
        self.set_aside(row)

    def set_aside(self, row: BadRow) -> None:
        """Keep a row in the quarantine that no physical record stands for."""
        self._seq += 1
        if self._leaves_out and any(
            map(self._leaves_out, _WORD.findall(f"{row.raw} {row.reason}"))
        ):
            row = BadRow(row.file, row.line, row.column, "not loaded", DESTROYED)
        kept = {
            "source": self.report.source,
            "organization_id": self.report.organization_id,
            "file": row.file,
            "line": row.line,
            "column": row.column,
            "reason": redact(row.reason),
            "raw": redact(row.raw),
            "columns": row.columns,
            "_seq": self._seq,
        }
        self._bad.append(kept)
        self._bad_text += len(row.raw)
        if len(self._bad) >= _CHUNK or self._bad_text >= _CHUNK_TEXT:
            self.spill_quarantine()

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

    def _add(
        self, name: str, values: Mapping[str, Value], file: str, line: int, counted: bool
    ) -> None:
        self._seq += 1
        rows = self._rows[name]
        rows.append(
            (*(values.get(c.name) for c in TABLES[name].columns), file, line, self._seq, counted)
        )
        if len(rows) >= _CHUNK:
            self._spill(name)

    def _spill(self, name: str) -> None:
        fields = [(c.name, c.type) for c in TABLES[name].columns] + list(_BOOKKEEPING)
        columns = zip(*self._rows.pop(name), strict=True)
        arrays = [
            pa.array(values, type=type_) for values, (_, type_) in zip(columns, fields, strict=True)
        ]
        chunk = pa.Table.from_arrays(arrays, names=[field_name for field_name, _ in fields])
        pq.write_table(chunk, self.staging / f"raw-{name}-{self._chunks[name]}.parquet")
        self._chunks[name] += 1

    def spill_quarantine(self) -> None:
        """Write the quarantined rows that still wait in memory; the first call leaves a file even
        of none.
        """
        schema = _QUARANTINE.append(pa.field("_seq", pa.int64()))
        pq.write_table(
            pa.Table.from_pylist(self._bad, schema=schema),
            self.staging / f"raw-quarantine-{self._chunks['quarantine']}.parquet",
        )
        self._chunks["quarantine"] += 1
        self._bad, self._bad_text = [], 0

    def finish(self) -> list[str]:
        """Spill what is left; the names of the tables that have rows."""
        for name in list(self._rows):
            self._spill(name)
        return [name for name in TABLES if self._chunks[name]]


def _write_tables(
    collected: _Collected, connector: Connector, previous: Snapshot | None
) -> LoadReport:
    found, report = collected.finish(), collected.report
    if not found and not any(count.quarantined for count in report.files):
        raise SourceRefused(f"no {connector.name} records were found: is this the right folder?")
    with duckdb.connect(
        config=_ENGINE | {"temp_directory": str(collected.staging / "spilled")}
    ) as engine:
        engine.execute("set enable_progress_bar = false")
        of_partners = frozenset() if report.of_partners else _of_partners(previous)
        engine.register(
            "of_partners", pa.table({"organization_id": pa.array(sorted(of_partners), pa.string())})
        )
        report.organizations = sorted(set(_organizations(engine, collected, found)) - of_partners)
        replaced = _replaced(previous, report)
        engine.register(
            "replaced", pa.table({"organization_id": pa.array(sorted(replaced), pa.string())})
        )
        untouched = (
            _copy_untouched(collected, connector, previous)
            if "students" not in found
            else frozenset()
        )
        for name in sorted(set(TABLES) - untouched, key=lambda name: (name != "students", name)):
            carried = _carried(engine, TABLES[name], connector, collected, previous)
            kept = _settle(engine, TABLES[name], collected, carried) if name in found else None
            parts = [rows for rows in (carried, kept) if rows is not None]
            if parts:
                _write_sorted(engine, parts, collected.staging / f"{name}.parquet", TABLES[name])
        sources = _staying(previous, report, replaced)
        _write_quarantine(engine, collected, previous, sources)
        latest = {}
        for name in TABLES:
            file = collected.staging / f"{name}.parquet"
            if file.exists():
                report.rows[name] = pq.read_metadata(file).num_rows
                if name in _DATED:
                    last = (
                        engine.read_parquet(str(file))
                        .aggregate(f"max({_DATED[name]})")
                        .fetchall()[0][0]
                    )
                    latest[name] = str(last) if last else None
    for raw in collected.staging.glob("raw-*.parquet"):
        raw.unlink()
    shutil.rmtree(collected.staging / "spilled", ignore_errors=True)
    manifest = {
        "sources": sorted([*sources, _told(report)], key=_source_key),
        "rows": report.rows,
        "latest": latest,
        "hashes": {
            file.name: _sha256(file) for file in sorted(collected.staging.glob("[a-z]*.parquet"))
        },
    }
    report.snapshot_id = _digest(manifest)
    (collected.staging / "manifest.json").write_text(json.dumps(manifest, indent=1, sort_keys=True))
    return report


def _copy_untouched(
    collected: _Collected, connector: Connector, previous: Snapshot | None
) -> frozenset[str]:
    """Copy the tables of which a load changes nothing, because it brings neither them nor the
    students; their names.
    """
    if previous is None:
        return frozenset()
    files = [previous.path / f"{name}.parquet" for name in TABLES if name not in connector.tables]
    for file in files:
        if file.exists():
            shutil.copyfile(file, collected.staging / file.name)
    return frozenset(file.stem for file in files)


def _organizations(
    engine: duckdb.DuckDBPyConnection, collected: _Collected, found: list[str]
) -> list[str]:
    """The partners of whom this load speaks, the one whose files these are among them."""
    one = collected.report.organization_id
    organizations = set() if one is None else {one}
    for name in found:
        if _is_partners(TABLES[name]):
            rows = engine.read_parquet(str(collected.staging / f"raw-{name}-*.parquet"))
            organizations |= {
                row[0] for row in rows.project("organization_id").distinct().fetchall()
            }
    return sorted(organizations)


def _of_partners(previous: Snapshot | None) -> frozenset[str]:
    """The partners whose own files were loaded: a district's source neither replaces nor adds to
    what they said.
    """
    before = [] if previous is None else previous.manifest["sources"]
    return frozenset[str]().union(
        *(one["organizations"] for one in before if one.get("of_partners"))
    )


def _is_partners(canonical: CanonicalTable) -> bool:
    return any(column.name == "organization_id" for column in canonical.columns)


def _replaced(previous: Snapshot | None, report: LoadReport) -> frozenset[str]:
    """The partners whose earlier programs and services make room: those of this load, and those
    that it brought before.

    So loading one partner's history leaves the others' alone, and a partner who is gone from a
    source is gone.
    """
    before = [] if previous is None else previous.manifest["sources"]
    named = [
        one.get("organizations", ())
        for one in before
        if _source_key(one) == _source_key(asdict(report))
    ]
    return frozenset(report.organizations).union(*named)


def _staying(
    previous: Snapshot | None, report: LoadReport, replaced: frozenset[str]
) -> list[dict[str, Any]]:
    """The reports of earlier loads of which something is still there."""
    before = [] if previous is None else previous.manifest["sources"]
    others = [one for one in before if _source_key(one) != _source_key(asdict(report))]
    return [
        one
        | {
            "organization_id": one.get("organization_id"),
            "organizations": sorted(set(one.get("organizations", ())) - replaced),
        }
        for one in others
        if one.get("organization_id") not in replaced
    ]


def _told(report: LoadReport) -> dict[str, Any]:
    """What a manifest tells of one load: what depends on its own files alone, whatever was loaded
    before.
    """
    return {
        name: value
        for name, value in report.to_dict().items()
        if name not in ("rows", "changed", "snapshot_id")
    }


def _source_key(report: Mapping[str, Any]) -> str:
    return f"{report['source']}\n{report.get('organization_id') or ''}"


def _carried(
    engine: duckdb.DuckDBPyConnection,
    canonical: CanonicalTable,
    connector: Connector,
    collected: _Collected,
    previous: Snapshot | None,
) -> duckdb.DuckDBPyRelation | None:
    """The rows of the snapshot before that stay, but for those of students whom the district no
    longer has.
    """
    file = None if previous is None else previous.path / f"{canonical.name}.parquet"
    if file is None or not file.exists():
        return None
    rows = engine.read_parquet(str(file))
    if canonical.name in connector.tables:
        if not _is_partners(canonical):
            return None
        rows = rows.filter("organization_id not in (select organization_id from replaced)")
    known = _known(engine, canonical, collected)
    lost = rows.filter(f"not ({known})").aggregate("count(*)").fetchall()[0][0]
    if lost:
        collected.note(
            f"{lost:,} rows of {canonical.name} from an earlier load are of students not in"
            " this one"
        )
    return rows.filter(known)


_EVERYBODY = "true"


def _known(
    engine: duckdb.DuckDBPyConnection, canonical: CanonicalTable, collected: _Collected
) -> str:
    """The condition that a row is of a student who is in the snapshot; true where no students are
    loaded at all.
    """
    students = collected.staging / "students.parquet"
    if not canonical.is_student or canonical.name == "students" or not students.exists():
        return _EVERYBODY
    engine.read_parquet(str(students)).create_view("known_students", replace=True)
    return "student_id in (select student_id from known_students)"


def _settle(
    engine: duckdb.DuckDBPyConnection,
    canonical: CanonicalTable,
    collected: _Collected,
    carried: duckdb.DuckDBPyRelation | None,
) -> duckdb.DuckDBPyRelation:
    """Sort out unknown students, duplicates and conflicting keys of one table; the rows that are
    kept.

    Rows of unknown students go first: they must not take the place of a good row with the same key.
    """
    key = ", ".join(f'"{name}"' for name in canonical.key)
    rows = engine.read_parquet(str(collected.staging / f"raw-{canonical.name}-*.parquet"))
    known = _known(engine, canonical, collected)
    if known != _EVERYBODY:
        _reject(
            collected,
            canonical,
            rows.filter(f"not ({known})"),
            "student_id",
            "no student has this identifier in the students that were loaded",
        )
        rows = rows.filter(known)
    if _is_partners(canonical):
        theirs = "organization_id in (select organization_id from of_partners)"
        _reject(
            collected,
            canonical,
            rows.filter(theirs),
            "organization_id",
            "this organisation's programs and services come from its own files",
        )
        rows = rows.filter(f"not ({theirs})")
    if carried is not None and "organization_id" not in canonical.key:
        carried.project(f"row({key}) as key").create_view("of_others", replace=True)
        rows = rows.project(f"*, row({key}) as _key")
        taken = "_key in (select key from of_others)"
        _reject(
            collected,
            canonical,
            rows.filter(taken),
            canonical.key[0],
            "another organisation has a row with the same key (" + ", ".join(canonical.key) + ")",
        )
        rows = rows.filter(f"not ({taken})")
    window = f"partition by {key} order by _seq"
    whole = "row(" + ", ".join(f'"{column.name}"' for column in canonical.columns) + ")"
    rows.project(
        f"*, row_number() over ({window}) as _rank, "
        f"{whole} is not distinct from first_value({whole}) over ({window}) as _same"
    ).create("ranked")
    ranked = engine.table("ranked")
    if not ranked.filter("_rank > 1").limit(1).fetchall():
        return ranked
    _reject(
        collected,
        canonical,
        ranked.filter("_rank > 1 and not _same"),
        canonical.key[0],
        "another row has the same key (" + ", ".join(canonical.key) + ") and other values",
    )
    for file, count in (
        ranked.filter("_rank > 1 and _same and _counted").aggregate("_file, count(*)").fetchall()
    ):
        collected.count(file).duplicates += count
        collected.count(file).kept -= count
    return ranked.filter("_rank = 1")


def _write_sorted(
    engine: duckdb.DuckDBPyConnection,
    parts: list[duckdb.DuckDBPyRelation],
    file: Path,
    canonical: CanonicalTable,
) -> None:
    """Write a table sorted by all its columns, the first of which is the student."""
    names = ", ".join(f'"{column.name}"' for column in canonical.columns)
    rows = parts[0].project(names)
    for part in parts[1:]:
        rows = rows.union(part.project(names))
    _write_groups(rows.order(names), file, canonical.arrow_schema())
    engine.execute("drop table if exists ranked")


def _write_groups(rows: duckdb.DuckDBPyRelation, file: Path, schema: pa.Schema) -> None:
    """Stream rows into a file in groups of one size, so that equal rows are equal bytes. No rows,
    no file.
    """
    groups = _groups(rows.to_arrow_reader(_ROW_GROUP), schema)
    first = next(groups, None)
    if first is not None:
        with pq.ParquetWriter(file, schema) as writer:
            writer.write_table(first)
            for group in groups:
                writer.write_table(group)


def _groups(batches: Iterable[pa.RecordBatch], schema: pa.Schema) -> Iterator[pa.Table]:
    held = schema.empty_table()
    for batch in batches:
        held = pa.concat_tables([held, pa.Table.from_batches([batch]).cast(schema)])
        while held.num_rows >= _ROW_GROUP:
            yield held.slice(0, _ROW_GROUP).combine_chunks()
            held = held.slice(_ROW_GROUP)
    if held.num_rows:
        yield held.combine_chunks()


def _write_quarantine(
    engine: duckdb.DuckDBPyConnection,
    collected: _Collected,
    previous: Snapshot | None,
    sources: list[dict[str, Any]],
) -> None:
    """What this load set aside, and what is still set aside of earlier loads."""
    collected.spill_quarantine()
    names = ", ".join(f'"{name}"' for name in _QUARANTINE.names)
    rows = engine.read_parquet(str(collected.staging / "raw-quarantine-*.parquet")).project(
        f"{names}, _seq"
    )
    if previous is not None:
        engine.register(
            "staying",
            pa.table({"key": pa.array([_source_key(one) for one in sources], pa.string())}),
        )
        earlier = engine.read_parquet(
            str(previous.path / "quarantine.parquet"), file_row_number=True
        )
        if "source" in earlier.columns:
            stays = (
                "source || chr(10) || coalesce(organization_id, '') in (select key from staying)"
            )
            known = ", ".join(
                f'"{name}"' if name in earlier.columns else f'null as "{name}"'
                for name in _QUARANTINE.names
            )
            rows = rows.union(earlier.filter(stays).project(f"{known}, file_row_number as _seq"))
    ordered = rows.order("source, organization_id nulls first, file, line, _seq").project(names)
    file = collected.staging / "quarantine.parquet"
    _write_groups(ordered, file, _QUARANTINE)
    if not file.exists():
        pq.write_table(_QUARANTINE.empty_table(), file)


def _reject(
    collected: _Collected,
    canonical: CanonicalTable,
    rows: duckdb.DuckDBPyRelation,
    column: str,
    reason: str,
) -> None:
    names = [c.name for c in canonical.columns]
    quoted = ", ".join(f'"{name}"' for name in names)
    ordered = rows.project(f"_file, _line, _counted, _seq, {quoted}").order("_seq")
    for batch in ordered.to_arrow_reader(_ROW_GROUP):
        for row in batch.to_pylist():
            raw = json.dumps({name: row[name] for name in names}, default=str)
            bad = BadRow(row["_file"], row["_line"], column, reason, raw)
            if row["_counted"]:
                collected.count(bad.file).kept -= 1
                collected.quarantine(bad)
            else:
                collected.set_aside(bad)


def _publish(
    staging: Path,
    snapshots: Path,
    report: LoadReport,
    publish: Callable[[Snapshot], None] = lambda snapshot: None,
) -> None:
    target = snapshots / report.snapshot_id
    pointer = snapshots / "CURRENT"
    for file in staging.iterdir():
        _fsync(file)
    if not target.exists():
        staging.rename(target)
    _fsync(snapshots)
    publish(Snapshot(report.snapshot_id, target))
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
