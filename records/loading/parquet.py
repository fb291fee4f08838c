"""Sorted Parquet files, written a row group at a time.

Groups have one size, whatever the engine's batches, so that equal rows are equal bytes.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq

from records.canonical.schema import CanonicalTable
from records.loading.load_report import LoadReport, source_key
from records.loading.staging_sink import StagingSink
from records.snapshots.snapshot import Snapshot
from records.snapshots.staging import QUARANTINE_SCHEMA

ROW_GROUP_SIZE = 100_000
"""Rows."""


def write_sorted(
    parts: Sequence[duckdb.DuckDBPyRelation], file: Path, canonical: CanonicalTable
) -> None:
    """Write the parts of a table as one file, sorted by all columns, the first being the student.

    Without rows there is no file.
    """
    names = quoted(column.name for column in canonical.columns)
    write_groups(union(parts, names).order(names), file, canonical.arrow_schema())


def write_groups(rows: duckdb.DuckDBPyRelation, file: Path, schema: pa.Schema) -> None:
    """Stream rows into a file in groups of one size; no rows, no file."""
    groups = _groups(rows.to_arrow_reader(ROW_GROUP_SIZE), schema)
    first = next(groups, None)
    if first is not None:
        with pq.ParquetWriter(file, schema) as writer:
            writer.write_table(first)
            for group in groups:
                writer.write_table(group)


def union(parts: Sequence[duckdb.DuckDBPyRelation], names: str) -> duckdb.DuckDBPyRelation:
    """The rows of all parts, at least one, with the columns `names` (SQL)."""
    rows = parts[0].project(names)
    for part in parts[1:]:
        rows = rows.union(part.project(names))
    return rows


def quoted(names: Iterable[str]) -> str:
    """Column names as SQL."""
    return ", ".join(f'"{name}"' for name in names)


def write_quarantine(
    engine: duckdb.DuckDBPyConnection,
    sink: StagingSink,
    previous: Snapshot | None,
    remaining_sources: Sequence[dict[str, Any]],
) -> None:
    """Write the rows that this load quarantined, and those of earlier loads that still count.

    Those of a file of this source that is missing now count while its table is not brought.

    Args:
        remaining_sources: the reports of earlier loads whose rows still count.
    """
    sink.spill_quarantine()
    names = quoted(QUARANTINE_SCHEMA.names)
    rows = engine.read_parquet(str(sink.staging / "raw-quarantine-*.parquet")).project(
        f"{names}, _seq"
    )
    if previous is not None:
        earlier = _earlier_quarantine(engine, sink.report, previous, remaining_sources)
        if earlier is not None:
            rows = rows.union(earlier)
    ordered = rows.order("source, organization_id nulls first, file, line, _seq").project(names)
    file = sink.staging / "quarantine.parquet"
    write_groups(ordered, file, QUARANTINE_SCHEMA)
    if not file.exists():
        pq.write_table(QUARANTINE_SCHEMA.empty_table(), file)


def _earlier_quarantine(
    engine: duckdb.DuckDBPyConnection,
    report: LoadReport,
    previous: Snapshot,
    remaining_sources: Sequence[dict[str, Any]],
) -> duckdb.DuckDBPyRelation | None:
    """Quarantined rows of the sources that remain; None for a snapshot that names no sources.

    A snapshot of an earlier release may lack columns: these are empty.
    """
    keys = [source_key(report) for report in remaining_sources]
    engine.register("remaining_keys", pa.table({"key": pa.array(keys, pa.string())}))
    earlier = engine.read_parquet(str(previous.path / "quarantine.parquet"), file_row_number=True)
    if "source" not in earlier.columns:
        return None
    missing = _files_still_counted(earlier, report)
    engine.register("missing_files", pa.table({"file": pa.array(missing, pa.string())}))
    engine.register("this_source", pa.table({"key": [source_key(asdict(report))]}))
    remains = (
        "_key in (select key from remaining_keys) or (_key in (select key from this_source)"
        " and file in (select file from missing_files))"
    )
    columns = ", ".join(
        f'"{name}"' if name in earlier.columns else f'null as "{name}"'
        for name in QUARANTINE_SCHEMA.names
    )
    key = "source || chr(10) || coalesce(organization_id, '') as _key"
    return (
        earlier.project(f"*, {key}").filter(remains).project(f"{columns}, file_row_number as _seq")
    )


def _files_still_counted(earlier: duckdb.DuckDBPyRelation, report: LoadReport) -> list[str]:
    """Files with earlier quarantined rows that are missing from this load, so that their tables are
    not brought. What a source reports may be the beginning of their names.
    """
    missing = sorted({file for files in report.not_brought.values() for file in files})
    read = {count.file for count in report.files}
    return sorted(
        file
        for (file,) in earlier.project("file").distinct().fetchall()
        if file not in read
        and any(file == name or file.startswith(Path(name).stem) for name in missing)
    )


def _groups(batches: Iterable[pa.RecordBatch], schema: pa.Schema) -> Iterator[pa.Table]:
    pending = schema.empty_table()
    for batch in batches:
        pending = pa.concat_tables([pending, pa.Table.from_batches([batch]).cast(schema)])
        while pending.num_rows >= ROW_GROUP_SIZE:
            yield pending.slice(0, ROW_GROUP_SIZE).combine_chunks()
            pending = pending.slice(ROW_GROUP_SIZE)
    if pending.num_rows:
        yield pending.combine_chunks()
