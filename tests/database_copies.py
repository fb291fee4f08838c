"""Copies of operational databases: much faster than new migrations and password hashes."""

from __future__ import annotations

from pathlib import Path

from sqlalchemy import create_engine, insert, select, text
from sqlalchemy.pool import NullPool

from records.database.engine import Database, open_database
from records.database.tables import OrmTable


def make_database(server: str, name: str, template: str = "template1") -> str:
    """The URL of a new database on a PostgreSQL server.

    Args:
        server: the server's URL with `{name}` for a database.
        name: of the new database.
        template: the database that is copied; nobody may be connected to it.
    """
    admin = create_engine(
        server.format(name="postgres"), isolation_level="AUTOCOMMIT", poolclass=NullPool
    )
    with admin.connect() as connection:
        connection.execute(text(f'CREATE DATABASE "{name}" TEMPLATE "{template}"'))
    return server.format(name=name)


def copy_rows(home: Path, new: Database) -> None:
    """Copy every row of a home's SQLite database into an empty one. Sequences do not advance."""
    old = open_database(f"sqlite:///{home / 'handrail.db'}")
    with old.engine.connect() as reading, new.engine.begin() as writing:
        for table in OrmTable.metadata.sorted_tables:
            rows = [dict(row._mapping) for row in reading.execute(select(table))]
            if rows:
                writing.execute(insert(table), rows)
    old.engine.dispose()
