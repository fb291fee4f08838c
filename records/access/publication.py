"""Publishing copies of the student tables to PostgreSQL, behind row-level security.

A snapshot is published whole or not at all: one transaction creates a partition of every table,
fills it and puts it behind the policies (`migrations/versions/0006_row_security.py`). A copy is
there before its snapshot comes into use, and copies of older snapshots are withdrawn afterwards; if
a process is killed in between, the next load or `handrail records publish` completes the work. On
SQLite there is no row-level security, and these functions do nothing.
"""

from __future__ import annotations

import io
from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv
import pyarrow.parquet as pq
from sqlalchemy import Connection, text
from sqlalchemy.exc import OperationalError

from records.access.scoped_records import harmless_supports, non_housing_programs
from records.canonical.schema import TABLES, CanonicalTable
from records.database.engine import Database
from records.snapshots.snapshot import NoSnapshot, Snapshot
from records.system.errors import UserError
from records.system.progress import ProgressCallback

SCHEMA = "district_records"
LONG_FORMAT_TABLE = "characteristics"
"""The one table published a value per row, so that the policies can tell its categories apart."""

REVEALS_HOUSING = "tells_of_housing"
"""The column of published services that says whether a row reveals a child's housing."""

_PUBLISHING = 0x5055424C
""""PUBL" in ASCII: the advisory lock for publishing and withdrawing."""

_LOCK_TIMEOUT = "3s"
"""How long dropping a table may wait for a long query, such as a backup, while readers wait too."""


class PublicationError(UserError, ValueError):
    """A snapshot that PostgreSQL cannot hold; the message names the table and why."""


class NotPublished(NoSnapshot):
    """The snapshot has no copy in PostgreSQL; it may not read as an empty one."""


def has_row_security(database: Database) -> bool:
    """Whether the database has row-level security: PostgreSQL does, SQLite does not."""
    return database.engine.dialect.name == "postgresql"


def publish_snapshot(
    database: Database,
    snapshot: Snapshot,
    progress: ProgressCallback = lambda table, done, total: None,
) -> None:
    """Copy the student tables of a snapshot to PostgreSQL, in one transaction.

    The copies in use stay as they are.

    Raises:
        PublicationError: there is a value that PostgreSQL cannot hold.
    """
    if not has_row_security(database):
        return
    with database.engine.begin() as connection:
        _lock_publications(connection)
        number = connection.scalar(
            text(
                "INSERT INTO district_records.publications (snapshot_id) VALUES (:snapshot)"
                " RETURNING number"
            ),
            {"snapshot": snapshot.id},
        )
        for canonical in student_tables():
            try:
                _add_partition(connection, canonical, snapshot, int(number or 0), progress)
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
    """Publish a snapshot unless it already has a copy.

    Raises:
        PublicationError: there is a value that PostgreSQL cannot hold.
    """
    if has_row_security(database) and not is_published(database, snapshot):
        publish_snapshot(database, snapshot, progress)


def is_published(database: Database, snapshot: Snapshot) -> bool:
    """Whether a partner's staff can read this snapshot."""
    try:
        with database.engine.connect() as connection:
            newest_publication(connection, snapshot)
    except NotPublished:
        return False
    return True


def check_published(database: Database, home: Path) -> None:
    """Refuse to serve a snapshot that partners could not read.

    Raises:
        NotPublished: records are loaded, and the current snapshot has no copy.
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
    number: int | None = connection.scalar(
        text("SELECT max(number) FROM district_records.publications WHERE snapshot_id = :snapshot"),
        {"snapshot": snapshot.id},
    )
    if number is None:
        raise NotPublished(
            f"snapshot {snapshot.id} is not in PostgreSQL: run `handrail records publish`"
        )
    return number


def withdraw_other_publications(database: Database, snapshot: Snapshot) -> int:
    """Remove every copy except the newest one of `snapshot`; returns how many tables remain.

    A copy is out of reach as soon as its number is deleted. Its tables are dropped one by one, so
    that a reader never waits for more than one of them; a table that a long query still reads
    remains for the next time.

    Raises:
        NotPublished: `snapshot` has no copy itself.
    """
    if not has_row_security(database):
        return 0
    with database.engine.begin() as connection:
        _lock_publications(connection)
        newest = newest_publication(connection, snapshot)
        connection.execute(
            text("DELETE FROM district_records.publications WHERE number <> :newest"),
            {"newest": newest},
        )
        partitions = connection.scalars(
            text(
                "SELECT child.relname FROM pg_inherits JOIN pg_class child ON child.oid = inhrelid"
                " WHERE child.relnamespace = 'district_records'::regnamespace AND child.relkind ="
                " 'r' ORDER BY child.relname"
            )
        ).all()
    withdrawn = [name for name in partitions if not name.endswith(f"_{newest}")]
    return sum(not _drop_table(database, name) for name in withdrawn)


def student_tables() -> Iterator[CanonicalTable]:
    """The canonical tables that are published: those about students."""
    return (canonical for canonical in TABLES.values() if canonical.is_student)


def published_columns(canonical: CanonicalTable) -> tuple[str, ...]:
    """The columns of a published table, apart from the number of its publication."""
    if canonical.name == LONG_FORMAT_TABLE:
        return "student_id", "category", "name", "value"
    extra = (REVEALS_HOUSING,) if canonical.is_service else ()
    return (*(column.name for column in canonical.columns), *extra)


def _lock_publications(connection: Connection) -> None:
    """Wait until nobody else publishes or withdraws, and keep them out until the commit."""
    connection.execute(text("SELECT pg_advisory_xact_lock(:lock)"), {"lock": _PUBLISHING})


def _add_partition(
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
        non_housing = (
            non_housing_programs(snapshot, harmless_supports(snapshot.supports))
            .to_pyarrow()
            .combine_chunks()
            if canonical.is_service
            else None
        )
        _copy_rows(connection, canonical, partition, pq.ParquetFile(file), non_housing, progress)
    connection.execute(text(f"ANALYZE {partition}"))
    for action in ("ENABLE", "FORCE"):
        connection.execute(text(f"ALTER TABLE {partition} {action} ROW LEVEL SECURITY"))
    connection.execute(
        text(f"ALTER TABLE {parent} ATTACH PARTITION {partition} FOR VALUES IN ({number})")
    )


def _copy_rows(
    connection: Connection,
    canonical: CanonicalTable,
    partition: str,
    source: pq.ParquetFile,
    non_housing: pa.Array | None,
    progress: ProgressCallback,
) -> None:
    columns = ", ".join(published_columns(canonical))
    cursor = connection.connection.driver_connection.cursor()  # type: ignore[union-attr]
    read = written = 0
    with cursor.copy(f"COPY {partition} ({columns}) FROM STDIN (FORMAT csv)") as copy:
        for batch in source.iter_batches():
            rows = (
                _long_format(canonical, batch)
                if canonical.name == LONG_FORMAT_TABLE
                else _with_all_columns(canonical, batch)
            )
            if non_housing is not None:
                reveals_housing = pc.invert(pc.is_in(rows["program_id"], value_set=non_housing))
                rows = rows.append_column(REVEALS_HOUSING, reveals_housing)
            copy.write(_csv(rows))
            read, written = read + batch.num_rows, written + rows.num_rows
            progress(f"publishing {canonical.name}", read, source.metadata.num_rows)
    if cursor.rowcount != written:
        raise PublicationError(
            f"PostgreSQL took {cursor.rowcount:,} of {written:,} rows of {canonical.name}"
        )


def _with_all_columns(canonical: CanonicalTable, batch: pa.RecordBatch) -> pa.Table:
    """The rows with null in the columns that the release which wrote them did not have."""
    return pa.table(
        {
            column.name: batch[column.name]
            if column.name in batch.schema.names
            else pa.nulls(batch.num_rows, column.type)
            for column in canonical.columns
        }
    )


def _long_format(canonical: CanonicalTable, batch: pa.RecordBatch) -> pa.Table:
    """One row for each value that is not null."""
    parts = []
    for column in canonical.columns:
        if column.name == "student_id":
            continue
        known = batch.filter(pc.is_valid(batch[column.name]))
        labels = [
            pa.array([label] * known.num_rows, pa.string())
            for label in (column.category, column.name)
        ]
        values = pc.cast(known[column.name], pa.string())
        parts.append(
            pa.table(
                [known["student_id"], *labels, values], names=list(published_columns(canonical))
            )
        )
    return pa.concat_tables(parts)


def _csv(rows: pa.Table) -> bytes:
    """CSV as PostgreSQL reads it: text in quotes, so that empty text is not null."""
    stream = io.BytesIO()
    pyarrow.csv.write_csv(rows, stream, pyarrow.csv.WriteOptions(include_header=False))
    return stream.getvalue()


def _drop_table(database: Database, name: str) -> bool:
    """Drop a partition; False if a query holds it longer than `_LOCK_TIMEOUT`."""
    try:
        with database.engine.begin() as connection:
            connection.execute(text(f"SET LOCAL lock_timeout = '{_LOCK_TIMEOUT}'"))
            connection.execute(text(f"DROP TABLE IF EXISTS {SCHEMA}.{name}"))
    except OperationalError as error:
        if getattr(error.orig, "sqlstate", None) != "55P03":  # lock_not_available
            raise
        return False
    return True
