"""Operational stores made from others: a copy takes a fraction of what migrations and hashes of
passwords take.
"""

from __future__ import annotations

from pathlib import Path

from sqlalchemy import create_engine, insert, select, text
from sqlalchemy.pool import NullPool

from records.database.engine import Database, open_database
from records.database.tables import OrmTable


def make_database(server: str, name: str, template: str = "template1") -> str:
    """The URL of a new database of a PostgreSQL server, a copy of `template`, to which nobody may
    be connected.
    """
    admin = create_engine(
        server.format(name="postgres"), isolation_level="AUTOCOMMIT", poolclass=NullPool
    )
    with admin.connect() as connection:
        connection.execute(text(f'CREATE DATABASE "{name}" TEMPLATE "{template}"'))
    return server.format(name=name)


def copy_rows(home: Path, new: Database) -> None:
    """Every row of the SQLite store of a home into an empty store, whose counters of rows do not
    move by it.
    """
    old = open_database(f"sqlite:///{home / 'handrail.db'}")
    with old.engine.connect() as reading, new.engine.begin() as writing:
        for table in OrmTable.metadata.sorted_tables:
            rows = [dict(row._mapping) for row in reading.execute(select(table))]
            if rows:
                writing.execute(insert(table), rows)
    old.engine.dispose()
