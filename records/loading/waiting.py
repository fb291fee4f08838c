"""Which rows wait for their student, and which come back.

Rows wait whose student is not in the new roster: what was carried over from an earlier load, and
what a partner's own file says of a student whom the district does not have yet. They come back with
the student. They leave when what they came from is replaced by a newer file, when the student's
records are destroyed, or after `WAITS_FOR`.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date

import duckdb
import pyarrow as pa

from records.canonical.schema import CanonicalTable
from records.loading.parquet import quoted, union, write_groups
from records.loading.staging_sink import StagingSink
from records.snapshots.snapshot import Snapshot
from records.snapshots.waiting_rows import (
    WAITING_SINCE,
    WAITS_FOR,
    table_words,
    waiting_file,
    waiting_schema,
)

_MOST_LINES = 20
"""Line numbers of one file that a note names."""


def earlier_waiting_rows(
    engine: duckdb.DuckDBPyConnection,
    canonical: CanonicalTable,
    sink: StagingSink,
    previous: Snapshot | None,
    counts: str,
) -> tuple[duckdb.DuckDBPyRelation | None, int]:
    """Rows that waited in the previous snapshot and still count, and how many waited too long.

    On a load without a day no row has waited too long, and no row of a student on hold ever has.

    Args:
        counts: the condition under which this load does not replace a row.
    """
    file = None if previous is None else waiting_file(previous.path, canonical.name)
    if file is None or not file.exists():
        return None, 0
    rows = engine.read_parquet(str(file)).filter(counts)
    if sink.day is None:
        return rows, 0
    engine.register(
        "on_hold", pa.table({"student_id": pa.array(sorted(sink.on_hold), pa.string())})
    )
    is_late = f"coalesce({WAITING_SINCE} < {_date_sql(sink.day - WAITS_FOR)}, false)"
    may_go = "student_id not in (select student_id from on_hold)"
    is_over = f"{is_late} and {may_go}"
    [(too_long,)] = rows.filter(is_over).aggregate("count(*)").fetchall()
    return rows.filter(f"not ({is_over})"), too_long


def write_waiting_rows(
    engine: duckdb.DuckDBPyConnection,
    canonical: CanonicalTable,
    sink: StagingSink,
    previous: Snapshot | None,
    parts: Sequence[duckdb.DuckDBPyRelation],
) -> None:
    """Write the rows of a table that wait; no file if there are none.

    A row that waited before, by its key, has waited since then, whether it was left alone or was
    brought again: so the same load twice gives the same snapshot.
    """
    names = [column.name for column in canonical.columns]
    rows = union(parts, quoted(names)).set_alias("w")
    waited_before = _waited_before(engine, canonical, sink, previous).set_alias("b")
    same_row = " and ".join(
        f'w."{name}" is not distinct from b."{name}"' for name in _row_key(canonical)
    )
    columns = ", ".join(f'w."{name}"' for name in names)
    since = f"coalesce(b.{WAITING_SINCE}, {_date_sql(sink.day)}) as {WAITING_SINCE}"
    dated = rows.join(waited_before, same_row, how="left").project(f"{columns}, {since}")
    write_groups(
        dated.order(quoted([*names, WAITING_SINCE])),
        waiting_file(sink.staging, canonical.name),
        waiting_schema(canonical),
    )


def too_long_note(canonical: CanonicalTable, rows: int) -> str:
    """What a report says of rows that waited too long."""
    return (
        f"{rows:,} rows of {table_words(canonical.name)} had waited more than {WAITS_FOR.days} days"
        " for a student who did not come back: they were deleted"
    )


def came_back_note(canonical: CanonicalTable, rows: int) -> str:
    """What a report says of rows that waited and came back."""
    return f"{rows:,} rows of {table_words(canonical.name)} that had waited came back"


def own_rows_notes(rows: duckdb.DuckDBPyRelation) -> list[str]:
    """What a report says of this load's own rows that wait, by file, with their lines.

    No identifier is named; whoever has the file can look there for a mistyped one.
    """
    by_file = rows.filter("_counted").aggregate(
        f"_file, count(*), list_slice(list_sort(list(_line)), 1, {_MOST_LINES})"
    )
    return [
        f"{file}: {count:,} rows name a student who is not in the present roster, and wait for"
        f" them (line{'s' * (count > 1)} {', '.join(map(str, lines))}"
        + (f" and {count - len(lines):,} more)" if count > len(lines) else ")")
        for file, count, lines in sorted(by_file.fetchall())
    ]


def _waited_before(
    engine: duckdb.DuckDBPyConnection,
    canonical: CanonicalTable,
    sink: StagingSink,
    previous: Snapshot | None,
) -> duckdb.DuckDBPyRelation:
    """The key of each row that waited in the previous snapshot, with since when."""
    rows, _ = earlier_waiting_rows(engine, canonical, sink, previous, "true")
    if rows is None:
        rows = engine.from_arrow(waiting_schema(canonical).empty_table())
    return rows.project(quoted([*_row_key(canonical), WAITING_SINCE]))


def _row_key(canonical: CanonicalTable) -> tuple[str, ...]:
    """The key of a row and its student: under one key another student's row is another row."""
    return tuple(dict.fromkeys(("student_id", *canonical.key)))


def _date_sql(day: date | None) -> str:
    return "null::date" if day is None else f"date '{day.isoformat()}'"
