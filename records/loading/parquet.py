"""Sorted Parquet files, written a row group at a time."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq

from records.canonical.schema import CanonicalTable
from records.loading.load_report import source_key
from records.loading.staging_sink import StagingSink
from records.snapshots.snapshot import Snapshot
from records.snapshots.staging import QUARANTINE_SCHEMA

ROW_GROUP_SIZE = 100_000


def write_sorted(
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
    groups = _groups(rows.to_arrow_reader(ROW_GROUP_SIZE), schema)
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
        while held.num_rows >= ROW_GROUP_SIZE:
            yield held.slice(0, ROW_GROUP_SIZE).combine_chunks()
            held = held.slice(ROW_GROUP_SIZE)
    if held.num_rows:
        yield held.combine_chunks()


def write_quarantine(
    engine: duckdb.DuckDBPyConnection,
    collected: StagingSink,
    previous: Snapshot | None,
    sources: list[dict[str, Any]],
) -> None:
    """What this load set aside, and what is still set aside of earlier loads."""
    collected.spill_quarantine()
    names = ", ".join(f'"{name}"' for name in QUARANTINE_SCHEMA.names)
    rows = engine.read_parquet(str(collected.staging / "raw-quarantine-*.parquet")).project(
        f"{names}, _seq"
    )
    if previous is not None:
        engine.register(
            "staying",
            pa.table({"key": pa.array([source_key(one) for one in sources], pa.string())}),
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
                for name in QUARANTINE_SCHEMA.names
            )
            rows = rows.union(earlier.filter(stays).project(f"{known}, file_row_number as _seq"))
    ordered = rows.order("source, organization_id nulls first, file, line, _seq").project(names)
    file = collected.staging / "quarantine.parquet"
    _write_groups(ordered, file, QUARANTINE_SCHEMA)
    if not file.exists():
        pq.write_table(QUARANTINE_SCHEMA.empty_table(), file)
