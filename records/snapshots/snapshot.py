"""Reading one immutable snapshot of the canonical tables.

A snapshot is a folder with a Parquet file per table, sorted by student, a manifest and the
quarantine. The file `CURRENT` names the one in use; `staging.py` replaces it. A snapshot that is
missing or damaged is an error and never reads as an empty district.
"""

from __future__ import annotations

import json
import os
from dataclasses import dataclass, field
from datetime import date
from functools import cache, cached_property
from pathlib import Path
from typing import Any

import duckdb
import ibis
import pyarrow as pa
import pyarrow.parquet as pq

from records.canonical.quarantine import QuarantinedRow
from records.canonical.schema import CanonicalTable, canonical_table
from records.canonical.supports import SupportCatalog
from records.snapshots.views import file_as_sql
from records.system.errors import UserError

DATE_COLUMNS = {
    "attendance_events": "date",
    "course_grades": "date",
    "gradebook_entries": "due_date",
    "assessments": "date",
    "service_sessions": "date",
}
"""The tables of dated records about students, and the column that holds the date."""


class NoSnapshot(UserError, LookupError):
    """Nothing has been loaded yet."""


class SnapshotDamaged(UserError, RuntimeError):
    """`CURRENT` names a snapshot that does not exist; it may not read as an empty one."""


@dataclass(frozen=True)
class Snapshot:
    """One immutable load. Outside `records` its student tables are read by `ScopedRecords` only.

    `supports` is the district's list now: it says of which programs the services tell of housing.
    It is not part of the load, so that a change of it counts at once.
    """

    id: str
    path: Path
    supports: SupportCatalog = field(
        default_factory=SupportCatalog.declared, repr=False, compare=False
    )

    @classmethod
    def current(cls, home: Path) -> Snapshot:
        """The snapshot in use now.

        Raises:
            NoSnapshot: nothing has been loaded into `home`.
            SnapshotDamaged: the snapshot that `CURRENT` names does not exist.
            SupportsError: the district's list of supports cannot be used.
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
        return cls(name, path, SupportCatalog.of(home))

    @cached_property
    def manifest(self) -> dict[str, Any]:
        """What the load recorded: counts of rows, hashes of files, latest dates, sources."""
        manifest: dict[str, Any] = json.loads((self.path / "manifest.json").read_text())
        return manifest

    @cached_property
    def connection(self) -> Any:
        """This snapshot's own Ibis backend of DuckDB; not to be shared between threads."""
        return ibis.duckdb.from_connection(_reading_engine(os.getpid()).cursor())

    @property
    def engine(self) -> duckdb.DuckDBPyConnection:
        """The connection that reads `from_clause`; not to be shared between threads."""
        engine: duckdb.DuckDBPyConnection = self.connection.con
        return engine

    def table(self, name: str) -> Any:
        """The table as an Ibis expression; empty, with its columns, if nothing was loaded for it.

        Raises:
            UnknownTable: there is no such table.
        """
        canonical = canonical_table(name)
        file = self.path / f"{name}.parquet"
        if not file.exists():
            return self.connection.table(self._empty_view(canonical))
        source = file_as_sql(file, canonical)
        if source.startswith("read_parquet"):
            return self.connection.read_parquet(file)
        view = f"older_{name}"
        self.engine.execute(f"create or replace temp view {view} as from {source}")
        return self.connection.table(view)

    def from_clause(self, name: str) -> str:
        """What may follow FROM in a query to `engine`, for a canonical table.

        Raises:
            UnknownTable: there is no such table.
        """
        canonical = canonical_table(name)
        file = self.path / f"{name}.parquet"
        return file_as_sql(file, canonical) if file.exists() else self._empty_view(canonical)

    def quarantined(self) -> pa.Table:
        """The rows that were not loaded, as a table with the columns of `QUARANTINE_SCHEMA`."""
        return pq.read_table(self.path / "quarantine.parquet")

    def set_aside(self) -> list[QuarantinedRow]:
        """The rows that were not loaded, by source, file and line."""
        rows = self.quarantined().to_pylist()
        return [QuarantinedRow(**row | {"columns": row.get("columns") or ""}) for row in rows]

    def latest_date(self) -> date:
        """The last date on which anything was recorded about a student: the default `as_of`.

        Raises:
            NoSnapshot: no dated record is loaded.
        """
        latest = [self.manifest["latest"].get(name) for name in DATE_COLUMNS]
        dates = [date.fromisoformat(day) for day in latest if day]
        if not dates:
            raise NoSnapshot("no dated record is loaded: no attendance, grade, test or session")
        return max(dates)

    def _empty_view(self, canonical: CanonicalTable) -> str:
        view = f"no_{canonical.name}"
        self.engine.register(view, canonical.arrow_schema().empty_table())
        return view


@cache
def _reading_engine(process: int) -> duckdb.DuckDBPyConnection:
    """The one DuckDB engine of a process: starting one takes ten times as long as a small query.

    Views belong to each snapshot's own cursor. The process is the key of the cache because a fork
    may not use its parent's engine. Files are not cached, so that destroyed records do not stay in
    memory.
    """
    return duckdb.connect(config={"enable_external_file_cache": "false"})
