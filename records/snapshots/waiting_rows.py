"""Rows that wait for a student who is not in the present roster, in files of their own.

What hangs on a student is not lost because one night's roster lacks them. Such rows are no part of
any table: `Snapshot.table` never shows them, and nobody has them in scope. A load puts them there
and brings them back (`records.loading.waiting`); a destruction removes them.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from records.canonical.schema import TABLES, CanonicalTable

WAITING_SINCE = "waiting_since"
"""The column beyond the canonical ones: the day of the load since which a row has waited; null
where that load was given no day."""

WAITS_FOR = timedelta(days=400)
"""How long a row waits at most. A student who leaves in one school year and comes back at the
beginning of the next but one is away for less: a school year, a summer, and a month to spare."""

_PREFIX = "waiting-"
_TABLE_WORDS = {
    "service_enrollments": "program enrollments",
    "service_sessions": "program sessions",
}


def waiting_file(folder: Path, table: str) -> Path:
    """Where the waiting rows of a table are in a snapshot's folder; no file if there are none."""
    return folder / f"{_PREFIX}{table}.parquet"


def waiting_files(folder: Path) -> Iterator[tuple[str, Path]]:
    """Each table that has waiting rows in a snapshot's folder, with their file."""
    for name in TABLES:
        file = waiting_file(folder, name)
        if file.exists():
            yield name, file


def waiting_schema(canonical: CanonicalTable) -> pa.Schema:
    """The canonical columns, and since when a row has waited."""
    return canonical.arrow_schema().append(pa.field(WAITING_SINCE, pa.date32()))


def waiting_counts(folder: Path) -> tuple[dict[str, int], dict[str, int]]:
    """The waiting rows of each table, and of how many students they are."""
    rows, students = {}, {}
    for name, file in waiting_files(folder):
        ids = pq.read_table(file, columns=["student_id"])["student_id"]
        if len(ids):
            rows[name], students[name] = len(ids), pc.count_distinct(ids).as_py()
    return rows, students


def waiting_words(manifest: Mapping[str, Any]) -> list[str]:
    """What waits, in plain words, a sentence for each table.

    Args:
        manifest: a snapshot's. One of an earlier release names no waiting rows.
    """
    students = manifest.get("waiting_students", {})
    return [
        _sentence(table_words(name), rows, students[name])
        for name, rows in manifest.get("waiting", {}).items()
    ]


def table_words(name: str) -> str:
    """A table's name as people say it, in the plural."""
    return _TABLE_WORDS.get(name, name.replace("_", " "))


def _sentence(table: str, rows: int, students: int) -> str:
    rows_wait = f"{rows:,} row of {table}" if rows == 1 else f"{rows:,} rows of {table}"
    of_students = (
        "1 student who is not in the present roster"
        if students == 1
        else f"{students:,} students who are not in the present roster"
    )
    wait = "is waiting; it comes" if rows == 1 else "are waiting; they come"
    return f"{rows_wait} of {of_students} {wait} back with the student{'s' * (students > 1)}"
