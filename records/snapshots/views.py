"""The tables of a snapshot's folder as SQL, whatever release wrote it.

A table without a file is empty. A column that an older release did not have is null, so that what
it would say is unknown until the source is loaded again.
"""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path

import duckdb
import pyarrow.parquet as pq

from records.canonical.schema import TABLES, CanonicalTable


def create_views(engine: duckdb.DuckDBPyConnection, folder: Path) -> frozenset[str]:
    """Make every canonical table in a folder available to SQL, with all its columns.

    Returns:
        The names of those with a row.
    """
    loaded = set()
    for name, canonical in TABLES.items():
        file = folder / f"{name}.parquet"
        if file.exists():
            engine.execute(f'create view "{name}" as from {file_as_sql(file, canonical)}')
            loaded |= {name} if engine.table(name).limit(1).fetchall() else set()
        else:
            engine.register(name, canonical.arrow_schema().empty_table())
    return frozenset(loaded)


def file_as_sql(file: Path, canonical: CanonicalTable) -> str:
    """What may follow FROM to read the rows of a table, null where the file lacks a column."""
    quoted = str(file).replace("'", "''")
    missing = _missing_columns(file, canonical.name, file.stat().st_mtime_ns)
    if not missing:
        return f"read_parquet('{quoted}')"
    names = ", ".join(
        f'null::{_SQL_TYPES[str(column.type)]} as "{column.name}"'
        if column.name in missing
        else f'"{column.name}"'
        for column in canonical.columns
    )
    return f"(from read_parquet('{quoted}') select {names})"


_SQL_TYPES = {
    "string": "varchar",
    "date32[day]": "date",
    "int32": "integer",
    "double": "double",
    "bool": "boolean",
}


@lru_cache(maxsize=500)
def _missing_columns(file: Path, name: str, written: int) -> frozenset[str]:
    """The columns of a table that its file, as `written` then, lacks."""
    present = pq.read_schema(file).names
    return frozenset(column.name for column in TABLES[name].columns) - set(present)
