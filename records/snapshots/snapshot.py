"""Immutable snapshots of the canonical tables, and the one way to make a new one.

A load writes a new folder (Parquet per table, sorted by student; a manifest; the quarantine) and
only then moves one pointer by an atomic rename: a load that is killed leaves the old snapshot
serving. The same input gives the same snapshot. Two loads at once are refused rather than mixed.
Rows go through files, never all through memory, so that a load of any size takes about as much of
it as a small one.
"""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from datetime import date
from functools import cache, cached_property
from pathlib import Path
from typing import Any

import duckdb
import ibis
import pyarrow as pa
import pyarrow.parquet as pq

from records.canonical.quarantine import QuarantinedRow
from records.canonical.schema import canonical_table
from records.system.errors import UserError


class NoSnapshot(UserError, LookupError):
    """Nothing has been loaded yet."""


class SnapshotDamaged(UserError, RuntimeError):
    """The pointer names a snapshot that is not there: nothing may be read as if it were empty."""


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
        days = [self.manifest["latest"].get(name) for name in DATE_COLUMNS]
        known = [date.fromisoformat(day) for day in days if day]
        if not known:
            raise NoSnapshot("no dated record is loaded: no attendance, grade, test or session")
        return max(known)


DATE_COLUMNS = {
    "attendance_events": "date",
    "course_grades": "date",
    "gradebook_entries": "due_date",
    "assessments": "date",
    "service_sessions": "date",
}


@cache
def _reading_engine(process: int) -> duckdb.DuckDBPyConnection:
    """The one engine of a process for all its snapshots: to start one takes ten times as long as a
    small query.

    What a snapshot's connection has named is its own; a fork may not use its parent's. No file
    stays in its memory, so that what is destroyed on disk is destroyed.
    """
    return duckdb.connect(config={"enable_external_file_cache": "false"})
