"""The copies of the student tables that PostgreSQL keeps behind row-level security, and how they
come and go.

A snapshot is published whole or not at all: one transaction makes a partition of every table, fills
it and puts it behind the policies (`migrations/versions/0006_row_security.py`). Rows are there
before the pointer of the snapshots moves, and those of snapshots that no longer serve are withdrawn
after it moved; whatever is killed in between, the next load or `handrail records publish` puts
right. On SQLite there are no copies and no second wall: nothing is done there.
"""

from __future__ import annotations

import io
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv
import pyarrow.parquet as pq
from sqlalchemy import Connection, text
from sqlalchemy.exc import OperationalError

from records.access.scoped_records import non_housing_programs
from records.canonical.schema import TABLES, CanonicalTable
from records.database.engine import Database
from records.snapshots.snapshot import NoSnapshot, Snapshot
from records.system.errors import UserError
from records.system.progress import ProgressCallback

SCHEMA = "district_records"
LONG_FORMAT_TABLE = "characteristics"
"""The one table that is published a fact a row, so that the policies can tell its categories
apart."""

REVEALS_HOUSING = "tells_of_housing"
"""A column that services are published with: whether a row tells of a child's housing to another
organisation."""

_PUBLISHING = 0x5055424C  # "PUBL": the advisory lock of whoever publishes or withdraws
_PATIENCE = "3s"
"""How long a withdrawal may keep readers waiting behind a long reading, a backup for instance,
before it gives up."""


class PublicationError(UserError, ValueError):
    """A snapshot that PostgreSQL cannot hold; the message names the table and why."""


class NotPublished(NoSnapshot):
    """A snapshot without a copy behind the wall: nothing may be read as if it were empty."""


def has_row_security(database: Database) -> bool:
    """True on PostgreSQL; SQLite knows no row-level security."""
    return database.engine.dialect.name == "postgresql"


def publish_snapshot(
    database: Database,
    snapshot: Snapshot,
    progress: ProgressCallback = lambda table, done, total: None,
) -> None:
    """Copy the student tables of a snapshot to PostgreSQL, in one transaction. The copies that
    serve stay as they are.

    Raises:
        PublicationError: a value that PostgreSQL cannot hold.
    """
    if not has_row_security(database):
        return
    with database.engine.begin() as connection:
        _wait_for_others(connection)
        number = connection.scalar(
            text(
                "INSERT INTO district_records.publications (snapshot_id) VALUES (:snapshot)"
                " RETURNING number"
            ),
            {"snapshot": snapshot.id},
        )
        for canonical in student_tables():
            try:
                _fill(connection, canonical, snapshot, int(number or 0), progress)
            except database.engine.dialect.loaded_dbapi.DataError as error:
                raise PublicationError(
                    f"{canonical.name} of snapshot {snapshot.id} cannot be published to PostgreSQL:"
                    f" {str(error).splitlines()[0]}"
                ) from None


def publish_if_needed(
    database: Database,
    snapshot: Snapshot,
    progress: ProgressCallback = lambda table, done, total: None,
) -> None:
    """Publish a snapshot unless it has a copy already.

    Raises:
        PublicationError: a value that PostgreSQL cannot hold.
    """
    if has_row_security(database) and not is_published(database, snapshot):
        publish_snapshot(database, snapshot, progress)


def is_published(database: Database, snapshot: Snapshot) -> bool:
    """True when a partner's staff could read this snapshot."""
    try:
        with database.engine.connect() as connection:
            newest_publication(connection, snapshot)
    except NotPublished:
        return False
    return True


def check_published(database: Database, home: Path) -> None:
    """Refuse to serve what partners could not read.

    Raises:
        NotPublished: records are loaded, and have no copy behind the wall.
    """
    if not has_row_security(database) or not (home / "snapshots" / "CURRENT").exists():
        return
    with database.engine.connect() as connection:
        newest_publication(connection, Snapshot.current(home))


def newest_publication(connection: Connection, snapshot: Snapshot) -> int:
    """The number of the newest copy of a snapshot.

    Raises:
        NotPublished: it has none.
    """
    found: int | None = connection.scalar(
        text("SELECT max(number) FROM district_records.publications WHERE snapshot_id = :snapshot"),
        {"snapshot": snapshot.id},
    )
    if found is None:
        raise NotPublished(
            f"snapshot {snapshot.id} is not in PostgreSQL: run `handrail records publish`"
        )
    return found


def withdraw_other_publications(database: Database, snapshot: Snapshot) -> int:
    """Remove every copy but the newest one of `snapshot`; the number of tables that a long reading
    kept for later.

    A copy is out of reach at once, when its number is gone; its tables follow one by one, so that a
    reader never waits for more than one of them.

    Raises:
        NotPublished: `snapshot` has no copy itself.
    """
    if not has_row_security(database):
        return 0
    with database.engine.begin() as connection:
        _wait_for_others(connection)
        kept = newest_publication(connection, snapshot)
        connection.execute(
            text("DELETE FROM district_records.publications WHERE number <> :kept"), {"kept": kept}
        )
        partitions = connection.scalars(
            text(
                "SELECT child.relname FROM pg_inherits JOIN pg_class child ON child.oid = inhrelid"
                " WHERE child.relnamespace = 'district_records'::regnamespace AND child.relkind ="
                " 'r' ORDER BY child.relname"
            )
        ).all()
    return sum(not _dropped(database, name) for name in partitions if not name.endswith(f"_{kept}"))


def student_tables() -> Iterator[CanonicalTable]:
    """The canonical tables that are published: those that name a student."""
    return (canonical for canonical in TABLES.values() if canonical.is_student)


def published_columns(canonical: CanonicalTable) -> tuple[str, ...]:
    """The columns of a published table, beside the number of its publication."""
    if canonical.name == LONG_FORMAT_TABLE:
        return "student_id", "category", "name", "value"
    more = (REVEALS_HOUSING,) if canonical.is_service else ()
    return (*(column.name for column in canonical.columns), *more)


def _wait_for_others(connection: Connection) -> None:
    connection.execute(text("SELECT pg_advisory_xact_lock(:lock)"), {"lock": _PUBLISHING})


def _fill(
    connection: Connection,
    canonical: CanonicalTable,
    snapshot: Snapshot,
    number: int,
    progress: ProgressCallback,
) -> None:
    parent = f"{SCHEMA}.{canonical.name}"
    partition = f"{parent}_{number}"
    connection.execute(text(f"CREATE TABLE {partition} (LIKE {parent} INCLUDING INDEXES)"))
    connection.execute(text(f"ALTER TABLE {partition} ALTER publication SET DEFAULT {number}"))
    file = snapshot.path / f"{canonical.name}.parquet"
    if file.exists():
        freely = (
            non_housing_programs(snapshot).to_pyarrow().combine_chunks()
            if canonical.is_service
            else None
        )
        _copy(connection, canonical, partition, pq.ParquetFile(file), freely, progress)
    connection.execute(text(f"ANALYZE {partition}"))
    for wall in ("ENABLE", "FORCE"):
        connection.execute(text(f"ALTER TABLE {partition} {wall} ROW LEVEL SECURITY"))
    connection.execute(
        text(f"ALTER TABLE {parent} ATTACH PARTITION {partition} FOR VALUES IN ({number})")
    )


def _copy(
    connection: Connection,
    canonical: CanonicalTable,
    partition: str,
    source: Any,
    freely: Any,
    progress: ProgressCallback,
) -> None:
    columns = ", ".join(published_columns(canonical))
    cursor = connection.connection.driver_connection.cursor()  # type: ignore[union-attr]
    read = written = 0
    with cursor.copy(f"COPY {partition} ({columns}) FROM STDIN (FORMAT csv)") as copy:
        for batch in source.iter_batches():
            rows = (
                _split(canonical, batch) if canonical.name == LONG_FORMAT_TABLE else pa.table(batch)
            )
            if freely is not None:
                told = pc.invert(pc.is_in(rows["program_id"], value_set=freely))
                rows = rows.append_column(REVEALS_HOUSING, told)
            copy.write(_csv(rows))
            read, written = read + batch.num_rows, written + rows.num_rows
            progress(f"publishing {canonical.name}", read, source.metadata.num_rows)
    if cursor.rowcount != written:
        raise PublicationError(
            f"PostgreSQL took {cursor.rowcount:,} of {written:,} rows of {canonical.name}"
        )


def _split(canonical: CanonicalTable, batch: Any) -> Any:
    """One row for each fact that is on record."""
    found = []
    for column in canonical.columns:
        if column.name == "student_id":
            continue
        known = batch.filter(pc.is_valid(batch[column.name]))
        words = [
            pa.array([word] * known.num_rows, pa.string())
            for word in (column.category, column.name)
        ]
        values = pc.cast(known[column.name], pa.string())
        found.append(
            pa.table(
                [known["student_id"], *words, values], names=list(published_columns(canonical))
            )
        )
    return pa.concat_tables(found)


def _csv(rows: Any) -> bytes:
    """CSV as PostgreSQL reads it: text in quotes, so that an empty text is not a missing one."""
    stream = io.BytesIO()
    pyarrow.csv.write_csv(rows, stream, pyarrow.csv.WriteOptions(include_header=False))
    return stream.getvalue()


def _dropped(database: Database, name: str) -> bool:
    try:
        with database.engine.begin() as connection:
            connection.execute(text(f"SET LOCAL lock_timeout = '{_PATIENCE}'"))
            connection.execute(text(f"DROP TABLE IF EXISTS {SCHEMA}.{name}"))
    except OperationalError as error:
        if getattr(error.orig, "sqlstate", None) != "55P03":  # lock_not_available
            raise
        return False
    return True
