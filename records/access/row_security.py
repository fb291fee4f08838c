"""Reading student tables as a PostgreSQL role that row-level security restricts.

The first check is the filter of `records.access.scoped_records`. This is a second, independent one:
if the filter ever let something through, PostgreSQL would still show this role no row that the
agreements, consents and enrollments in its own tables do not open for this person now. The
district's own staff and the pipelines read the snapshot itself, because every record in it is the
district's.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

import duckdb
import pyarrow as pa
import pyarrow.csv
from ibis.util import gen_name
from sqlalchemy import (
    ARRAY,
    ColumnElement,
    Select,
    Text,
    any_,
    bindparam,
    func,
    literal_column,
    select,
    table,
    text,
)
from sqlalchemy import column as sql_column

from records.access.publication import (
    LONG_FORMAT_TABLE,
    SCHEMA,
    has_row_security,
    newest_publication,
)
from records.canonical.schema import CanonicalTable, canonical_table
from records.canonical.supports import SupportCatalog
from records.database.engine import Database
from records.snapshots.snapshot import Snapshot
from records.staff.viewer import DISTRICT, Viewer
from records.system.clock import to_utc

READER_ROLE = "handrail_reader"

_AS_READER = text(
    "SELECT set_config('transaction_read_only', 'on', true), set_config('role', :reader, true), "
    "set_config('handrail.user_id', :user_id, true), set_config('handrail.now', :now, true), "
    "set_config('handrail.instant', :instant, true)"
)
_OF_PUBLICATION = text("SELECT set_config('handrail.publication', :number, true)")
_IN_SCOPE: ColumnElement[Any] = literal_column(
    "ARRAY(SELECT student_id FROM district_records.in_scope())"
)
"""The policies restrict rows to these students too; in the query as well, the index is used."""


def records_for(
    viewer: Viewer,
    database: Database,
    snapshot: Snapshot,
    now: datetime,
    students: Iterable[str] | None = None,
) -> Snapshot | RowSecuredSnapshot:
    """Where this person's records are read from: for partners on PostgreSQL, its secured copies.

    Args:
        now: the district's local time.
        students: the only ones to be read; None for all that the policies allow.
    """
    if viewer.organization_id == DISTRICT or not has_row_security(database):
        return snapshot
    return RowSecuredSnapshot(
        snapshot, database, viewer.user_id, now, None if students is None else sorted(set(students))
    )


@dataclass(frozen=True)
class RowSecuredSnapshot:
    """A snapshot as PostgreSQL shows it to one person at one moment.

    Schools, calendars and programs are read from the snapshot itself.
    """

    snapshot: Snapshot
    database: Database
    user_id: str
    now: datetime
    students: list[str] | None = None
    _views: dict[str, str] = field(default_factory=dict, repr=False)

    @property
    def id(self) -> str:
        """The identifier of the snapshot."""
        return self.snapshot.id

    @property
    def supports(self) -> SupportCatalog:
        """The district's kinds of support."""
        return self.snapshot.supports

    @property
    def engine(self) -> duckdb.DuckDBPyConnection:
        """The connection that reads `from_clause`; not to be shared between threads."""
        return self.snapshot.engine

    def table(self, name: str) -> Any:
        """The table as an Ibis expression, with the rows that the policies allow.

        Raises:
            UnknownTable: there is no such table.
            NotPublished: the snapshot has no secured copy.
        """
        if not canonical_table(name).is_student:
            return self.snapshot.table(name)
        return self.snapshot.connection.table(self.from_clause(name))

    def from_clause(self, name: str) -> str:
        """What may follow FROM in a query to `engine`, for a canonical table.

        Raises:
            UnknownTable: there is no such table.
            NotPublished: the snapshot has no secured copy.
        """
        if not canonical_table(name).is_student:
            return self.snapshot.from_clause(name)
        if name not in self._views:
            view = gen_name(name)
            self.engine.register(view, self.rows(name))
            self._views[name] = view
        return self._views[name]

    def rows(self, name: str) -> pa.Table:
        """The rows that the policies allow, read in a transaction that can write nothing.

        Raises:
            UnknownTable: there is no such table.
            NotPublished: the snapshot has no secured copy.
        """
        canonical = canonical_table(name)
        with self.database.engine.connect() as connection:
            connection.execute(_AS_READER, _reader_settings(self.user_id, self.now))
            number = newest_publication(connection, self.snapshot)
            connection.execute(_OF_PUBLICATION, {"number": str(number)})
            query = _select(canonical, number, self.students).compile(dialect=connection.dialect)
            cursor = connection.connection.driver_connection.cursor()  # type: ignore[union-attr]
            # One buffer and not a list of rows, which would trigger full garbage collections.
            content = bytearray()
            with cursor.copy(f"COPY ({query}) TO STDOUT (FORMAT csv)", query.params) as copy:
                for block in copy:
                    content += block
        return _parse_csv(canonical, content)


def _reader_settings(user_id: str, now: datetime) -> dict[str, str]:
    return {
        "reader": READER_ROLE,
        "user_id": user_id,
        "now": now.isoformat(),
        "instant": to_utc(now).isoformat(),
    }


def _select(canonical: CanonicalTable, number: int, students: list[str] | None) -> Select[Any]:
    """The rows of one publication in the canonical columns; `LONG_FORMAT_TABLE` is pivoted."""
    names = [column.name for column in canonical.columns]
    if canonical.name == LONG_FORMAT_TABLE:
        source = table(
            LONG_FORMAT_TABLE,
            *map(sql_column, ("publication", "student_id", "name", "value")),
            schema=SCHEMA,
        )
        values = [
            func.max(source.c.value).filter(source.c.name == name).label(name) for name in names[1:]
        ]
        query = select(source.c.student_id, *values).group_by(source.c.student_id)
    else:
        source = table(
            canonical.name, sql_column("publication"), *map(sql_column, names), schema=SCHEMA
        )
        query = select(*(source.c[name] for name in names))
    wanted = _IN_SCOPE if students is None else bindparam("students", students, ARRAY(Text))
    return query.where(source.c.publication == number, source.c.student_id == any_(wanted))


def _parse_csv(canonical: CanonicalTable, content: bytearray) -> pa.Table:
    schema = pa.schema([(column.name, column.type) for column in canonical.columns])
    if not content:
        return schema.empty_table()
    return pyarrow.csv.read_csv(
        pa.BufferReader(pa.py_buffer(content)),
        pyarrow.csv.ReadOptions(column_names=schema.names, use_threads=False),
        pyarrow.csv.ParseOptions(newlines_in_values=True),
        pyarrow.csv.ConvertOptions(
            column_types=schema,
            null_values=[""],
            strings_can_be_null=True,
            quoted_strings_can_be_null=False,
            true_values=["t", "true"],
            false_values=["f", "false"],
        ),
    )
