"""What a load does not bring though its source could, because a file is missing.

An earlier load's tables and columns then stay as they were: a file that is missing for a night, or
has a header alone, says nothing about students.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import duckdb

from records.canonical.schema import CanonicalTable
from records.connectors.missing_files import WORKED_OUT, columns_without, tables_without
from records.connectors.protocol import Connector
from records.loading.load_report import LoadReport, source_key
from records.loading.parquet import union
from records.loading.staging_sink import StagingSink
from records.snapshots.snapshot import Snapshot


def tables_not_brought(
    engine: duckdb.DuckDBPyConnection,
    connector: Connector,
    sink: StagingSink,
    staged: Sequence[str],
    previous: Snapshot | None,
) -> dict[str, list[str]]:
    """Tables of the source without a row because of missing files, with these files.

    A table that was worked out in place of its file is among them if the file was there before.
    """
    needs: dict[str, list[str]] = {}
    for missing in sink.report.missing:
        for name in tables_without(connector, missing.file):
            if name not in staged or (
                name in WORKED_OUT
                and _was_brought(previous, sink.report, name, missing.file)
                and not staged_rows(engine, sink, name).filter("_counted").limit(1).fetchall()
            ):
                needs.setdefault(name, []).append(missing.file)
    return needs


def columns_not_brought(connector: Connector, report: LoadReport) -> dict[str, dict[str, str]]:
    """Columns of the tables that are brought, without values because of a missing file."""
    missing = [missing.file for missing in report.missing]
    columns = {name: columns_without(connector, name, missing) for name in connector.tables}
    return {
        name: files for name, files in columns.items() if files and name not in report.not_brought
    }


def of_other_school_years(
    rows: duckdb.DuckDBPyRelation, earlier: Sequence[duckdb.DuckDBPyRelation]
) -> duckdb.DuckDBPyRelation:
    """The days that were worked out for schools and years of which no earlier calendar is kept."""
    if not earlier:
        return rows
    year = "row(school_id, school_year)"
    union(earlier, f"{year} as year").distinct().create_view("years_kept", replace=True)
    rows = rows.project(f"*, {year} as _year")
    return rows.filter("_year not in (select year from years_kept)")


def with_earlier_columns(
    canonical: CanonicalTable,
    sink: StagingSink,
    kept: duckdb.DuckDBPyRelation,
    earlier: duckdb.DuckDBPyRelation | None,
    is_known: str,
) -> duckdb.DuckDBPyRelation:
    """The rows with what an earlier load brought of columns whose file is missing now.

    A student of whom nothing else is reported keeps a row of characteristics with these alone.

    Args:
        earlier: the table as the previous snapshot has it; None if it has none.
        is_known: the condition (SQL) that a row's student is in the new roster.
    """
    columns = sink.report.columns_not_brought.get(canonical.name, {})
    if not columns or earlier is None:
        return kept
    names = [column.name for column in canonical.columns]
    has_values = " or ".join(f'"{name}" is not null' for name in columns)
    earlier, kept = earlier.filter(has_values).set_alias("e"), kept.set_alias("k")
    is_same = " and ".join(f'k."{name}" = e."{name}"' for name in canonical.key)
    joined = kept.join(earlier, is_same, how="left")
    rows = joined.project(
        ", ".join(
            f'coalesce(k."{name}", e."{name}") as "{name}"' if name in columns else f'k."{name}"'
            for name in names
        )
    )
    is_filled = " or ".join(f'(k."{name}" is null and e."{name}" is not null)' for name in columns)
    [(changed,)] = joined.filter(is_filled).aggregate("count(*)").fetchall()
    if canonical.name == "characteristics":
        alone = earlier.join(kept, is_same, how="anti").filter(is_known)
        alone = alone.project(
            ", ".join(
                f'"{name}"'
                if name in columns or name in canonical.key
                else f'nullif("{name}", "{name}") as "{name}"'  # a null of the column's type
                for name in names
            )
        )
        rows, changed = rows.union(alone), changed + alone.shape[0]
    if changed:
        sink.passing_notes.append(
            f"{' and '.join(sorted(set(columns.values())))} not there: {changed:,} rows of"
            f" {canonical.name} keep {', '.join(columns)} as an earlier load brought them"
        )
    return rows


def staged_rows(
    engine: duckdb.DuckDBPyConnection, sink: StagingSink, table: str
) -> duckdb.DuckDBPyRelation:
    """What the connector has read of a table that it has rows of."""
    return engine.read_parquet(str(sink.staging / f"raw-{table}-*.parquet"))


def source_reports(previous: Snapshot | None) -> list[dict[str, Any]]:
    """The reports of the loads that a snapshot was made from; none without a snapshot."""
    return [] if previous is None else previous.manifest["sources"]


def _was_brought(previous: Snapshot | None, report: LoadReport, table: str, file: str) -> bool:
    """Whether the source's load before had this file, or kept the table of one that had."""
    return any(
        table in earlier.get("not_brought", {})
        or any(count["file"].startswith(Path(file).stem) for count in earlier["files"])
        for earlier in source_reports(previous)
        if source_key(earlier) == source_key(asdict(report))
    )
