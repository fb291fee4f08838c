"""The operational store: agreements, staff, consents, opt-outs, emergencies, legal demands and the
disclosure log.

SQLite on one machine, PostgreSQL in production, the same code on both. `open_database` brings the
schema up to date by Alembic before anything is read. Student records are not here: they are in
snapshots.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from alembic import command
from alembic.config import Config
from sqlalchemy import (
    Engine,
    create_engine,
    event,
    text,
)
from sqlalchemy.exc import ArgumentError, OperationalError
from sqlalchemy.orm import Session

from records.system.errors import UserError

_MIGRATIONS = Path(__file__).parent / "migrations"
_WRITE_LOCK = (
    0x48414E44  # "HAND": the one PostgreSQL advisory lock that every writer of the log takes
)


class DatabaseUnavailable(UserError, RuntimeError):
    """The operational store cannot be opened; nothing was changed."""


@dataclass(frozen=True)
class Database:
    """An open operational store."""

    engine: Engine

    @contextmanager
    def session(self) -> Iterator[Session]:
        """A session that commits at the end, or rolls back on an error."""
        with Session(self.engine) as session, session.begin():
            yield session

    @contextmanager
    def write_transaction(self) -> Iterator[Session]:
        """A session that no other writer runs beside: for what must be appended in order."""
        with Session(self.engine) as session, session.begin():
            if self.engine.dialect.name == "sqlite":
                session.execute(text("UPDATE disclosures SET seq = seq WHERE seq = -1"))
            else:
                session.execute(text("SELECT pg_advisory_xact_lock(:lock)"), {"lock": _WRITE_LOCK})
            yield session


def open_database(url: str) -> Database:
    """Open the store at a SQLAlchemy URL and bring its schema up to date.

    Raises:
        DatabaseUnavailable: nothing answers there, or it is no address of a database.
    """
    if url.startswith("sqlite:///"):
        Path(url.removeprefix("sqlite:///")).parent.mkdir(parents=True, exist_ok=True)
    engine = _engine(url)
    if engine.dialect.name == "sqlite":
        event.listen(engine, "connect", _prepare_sqlite)
    _reach(engine)
    config = Config()
    config.set_main_option("script_location", str(_MIGRATIONS))
    with engine.begin() as connection:
        config.attributes["connection"] = connection
        command.upgrade(config, "head")
    return Database(engine)


def _engine(url: str) -> Engine:
    try:
        return create_engine(url, hide_parameters=True)
    except (ArgumentError, ImportError):
        raise DatabaseUnavailable(
            "the address of the database cannot be used; it must look like "
            "postgresql+psycopg://handrail@host/handrail"
        ) from None


def _reach(engine: Engine) -> None:
    """See that the database answers. What it says of a failure may hold what was sent, and is not
    repeated.
    """
    try:
        engine.connect().close()
    except OperationalError:
        at = engine.url
        where = (
            f"{at.host or 'this machine'}{f':{at.port}' if at.port else ''}"
            if at.drivername != "sqlite"
            else ""
        )
        name = f"{at.database!r} on {where}" if where else str(at.database)
        raise DatabaseUnavailable(
            f"the database {name} cannot be opened: is it running, and do its login and password "
            "still count?"
        ) from None


def _prepare_sqlite(connection: object, _record: object) -> None:
    cursor = connection.cursor()  # type: ignore[attr-defined]
    for pragma in ("journal_mode=WAL", "foreign_keys=ON", "secure_delete=ON", "busy_timeout=10000"):
        cursor.execute(f"PRAGMA {pragma}")
    cursor.close()
