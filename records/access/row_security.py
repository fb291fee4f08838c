"""The second wall: a partner's staff read students as a PostgreSQL role that row-level security
holds.

The filter of `records.access.scope` is the first wall, and stays. Should it ever let something
through, the database still shows this role no row that the agreements, consents and enrolments in
its own tables do not open for this person now. The district's own people and the pipelines read the
snapshot itself: every record there is the district's.
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
    column,
    func,
    literal_column,
    select,
    table,
    text,
)

from records.access.publication import (
    LONG_FORMAT_TABLE,
    SCHEMA,
    has_row_security,
    newest_publication,
)
from records.canonical.schema import CanonicalTable
from records.canonical.schema import canonical_table as canonical_table
from records.database.engine import Database
from records.people.viewer import DISTRICT, Viewer
from records.snapshots.snapshot import Snapshot
from records.system.clock import to_utc

READER_ROLE = "handrail_reader"


def records_for(
    viewer: Viewer,
    database: Database,
    snapshot: Snapshot,
    now: datetime,
    students: Iterable[str] | None = None,
) -> Snapshot | RowSecuredSnapshot:
    """Where this person's records are read from: behind the wall where there is one, unless they
    are the district's.

    Args:
        now: the district's local time.
        students: the only ones that are asked for; None for all whom the wall lets through.
    """
    if viewer.organization_id == DISTRICT or not has_row_security(database):
        return snapshot
    return RowSecuredSnapshot(
        snapshot, database, viewer.user_id, now, None if students is None else sorted(set(students))
    )


@dataclass(frozen=True)
class RowSecuredSnapshot:
    """A snapshot as PostgreSQL shows it to one person at one moment; schools, calendars and
    programs as they are.
    """

    snapshot: Snapshot
    database: Database
    user_id: str
    now: datetime
    students: list[str] | None = None
    _read: dict[str, str] = field(default_factory=dict, repr=False)

    @property
    def id(self) -> str:
        return self.snapshot.id

    def table(self, name: str) -> Any:
        """The table as an Ibis expression: the rows of the students asked for that the policies let
        through.

        Raises:
            UnknownTable: there is no such table.
            NotPublished: the snapshot has no copy behind the wall.
        """
        if not canonical_table(name).is_student:
            return self.snapshot.table(name)
        return self.snapshot.connection.table(self.source(name))

    def source(self, name: str) -> str:
        """The same as what may follow FROM in a query to `engine`.

        Raises:
            UnknownTable, NotPublished: as `table`.
        """
        if not canonical_table(name).is_student:
            return self.snapshot.source(name)
        if name not in self._read:
            here = gen_name(name)
            self.engine.register(here, self.rows(name))
            self._read[name] = here
        return self._read[name]

    @property
    def engine(self) -> duckdb.DuckDBPyConnection:
        """What reads `source`; not to be shared between threads."""
        return self.snapshot.engine

    def rows(self, name: str) -> pa.Table:
        """The same as an Arrow table, read in a transaction of its own that can write nothing."""
        canonical = canonical_table(name)
        with self.database.engine.connect() as connection:
            connection.execute(_AS_READER, _who_and_when(self.user_id, self.now))
            number = newest_publication(connection, self.snapshot)
            connection.execute(_OF_PUBLICATION, {"number": str(number)})
            asked = _asked(canonical, number, self.students).compile(dialect=connection.dialect)
            cursor = connection.connection.driver_connection.cursor()  # type: ignore[union-attr]
            found = (
                bytearray()
            )  # not a list of rows, which would set off the collection of all garbage
            with cursor.copy(f"COPY ({asked}) TO STDOUT (FORMAT csv)", asked.params) as copy:
                for row in copy:
                    found += row
        return _arrow(canonical, found)


def _who_and_when(user_id: str, now: datetime) -> dict[str, str]:
    return {
        "reader": READER_ROLE,
        "user_id": user_id,
        "now": now.isoformat(),
        "instant": to_utc(now).isoformat(),
    }


_AS_READER = text(
    "SELECT set_config('transaction_read_only', 'on', true), set_config('role', :reader, true), "
    "set_config('handrail.user_id', :user_id, true), set_config('handrail.now', :now, true), "
    "set_config('handrail.instant', :instant, true)"
)
_OF_PUBLICATION = text("SELECT set_config('handrail.publication', :number, true)")
_EVERYBODY: ColumnElement[Any] = literal_column(
    "ARRAY(SELECT student_id FROM district_records.in_scope())"
)
"""Said in the query, though the policies say it too, so that the rows are found by their index."""


def _asked(canonical: CanonicalTable, number: int, students: list[str] | None) -> Select[Any]:
    names = [one.name for one in canonical.columns]
    if canonical.name == LONG_FORMAT_TABLE:
        source = table(
            LONG_FORMAT_TABLE,
            *map(column, ("publication", "student_id", "name", "value")),
            schema=SCHEMA,
        )
        facts = [
            func.max(source.c.value).filter(source.c.name == name).label(name) for name in names[1:]
        ]
        query = select(source.c.student_id, *facts).group_by(source.c.student_id)
    else:
        source = table(canonical.name, column("publication"), *map(column, names), schema=SCHEMA)
        query = select(*(source.c[name] for name in names))
    these = _EVERYBODY if students is None else bindparam("students", students, ARRAY(Text))
    return query.where(source.c.publication == number, source.c.student_id == any_(these))


def _arrow(canonical: CanonicalTable, found: bytearray) -> pa.Table:
    schema = pa.schema([(one.name, one.type) for one in canonical.columns])
    if not found:
        return schema.empty_table()
    return pyarrow.csv.read_csv(
        pa.BufferReader(pa.py_buffer(found)),
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
