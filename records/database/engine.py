"""Opening the operational database, SQLite on one machine or PostgreSQL in production.

`open_database` brings the schema up to date with Alembic before anything is read, so that callers
never see an older one. Student records are not here: they are in snapshots.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from alembic import command
from alembic.config import Config
from sqlalchemy import Engine, create_engine, event, text
from sqlalchemy.exc import ArgumentError, OperationalError
from sqlalchemy.orm import Session

from records.system.errors import UserError

_MIGRATIONS = Path(__file__).parent / "migrations"
_WRITE_LOCK = 0x48414E44
""""HAND" in ASCII: the PostgreSQL advisory lock that every writer of the log takes."""


class DatabaseUnavailable(UserError, RuntimeError):
    """The operational database cannot be opened; nothing was changed."""


@dataclass(frozen=True)
class Database:
    """An open operational database."""

    engine: Engine

    @contextmanager
    def session(self) -> Iterator[Session]:
        """A session that commits at the end, or rolls back on an error."""
        with Session(self.engine) as session, session.begin():
            yield session

    @contextmanager
    def write_transaction(self) -> Iterator[Session]:
        """A session that excludes every other writer, for what must be appended in order."""
        with Session(self.engine) as session, session.begin():
            if self.engine.dialect.name == "sqlite":
                # An UPDATE takes SQLite's one write lock, even if it changes no row.
                session.execute(text("UPDATE disclosures SET seq = seq WHERE seq = -1"))
            else:
                session.execute(text("SELECT pg_advisory_xact_lock(:lock)"), {"lock": _WRITE_LOCK})
            yield session


def open_database(url: str) -> Database:
    """Open the database at a SQLAlchemy URL and bring its schema up to date.

    Raises:
        DatabaseUnavailable: nothing answers there, or the URL is not a database address.
    """
    if url.startswith("sqlite:///"):
        Path(url.removeprefix("sqlite:///")).parent.mkdir(parents=True, exist_ok=True)
    engine = _engine(url)
    if engine.dialect.name == "sqlite":
        event.listen(engine, "connect", _prepare_sqlite)
    _check_connection(engine)
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


def _check_connection(engine: Engine) -> None:
    """Raise unless the database answers.

    Its own message is left out, because it may repeat what was sent to it.
    """
    try:
        engine.connect().close()
    except OperationalError:
        raise DatabaseUnavailable(
            f"the database {_display_name(engine)} cannot be opened: is it running, and are its"
            " login and password still valid?"
        ) from None


def _display_name(engine: Engine) -> str:
    """The database as a message may name it: without login and password."""
    url = engine.url
    if url.drivername == "sqlite":
        return str(url.database)
    port = f":{url.port}" if url.port else ""
    return f"{url.database!r} on {url.host or 'this machine'}{port}"


def _prepare_sqlite(connection: object, _record: object) -> None:
    cursor = connection.cursor()  # type: ignore[attr-defined]
    for pragma in ("journal_mode=WAL", "foreign_keys=ON", "secure_delete=ON", "busy_timeout=10000"):
        cursor.execute(f"PRAGMA {pragma}")
    cursor.close()
