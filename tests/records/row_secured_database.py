"""A PostgreSQL database as docs/postgresql.md sets it up, with its owner and the site's login."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from sqlalchemy import create_engine, text
from sqlalchemy.exc import ProgrammingError

from records.database.engine import Database, open_database

GUIDE = Path(__file__).parents[2] / "docs" / "postgresql.md"


@dataclass(frozen=True)
class RowSecuredDatabase:
    """One database, opened by each of its logins."""

    owner: Database
    site: Database
    owner_url: str


def row_secured_database(server: str, name: str) -> RowSecuredDatabase:
    """Run the statements of the guide, unchanged except for the name of the database."""
    in_server, in_database, on_the_log = re.findall(r"```sql\n(.*?)```", GUIDE.read_text(), re.S)
    _execute(
        server.format(name="postgres"), in_server.replace("DATABASE handrail ", f"DATABASE {name} ")
    )
    _execute(server.format(name=name), in_database)
    owner_url, site_url = (
        server.format(name=name).replace("//handrail@", f"//{login}@")
        for login in ("handrail_owner", "handrail_site")
    )
    owner = open_database(owner_url)
    _execute(owner_url, on_the_log)
    return RowSecuredDatabase(owner, open_database(site_url), owner_url)


def _execute(url: str, statements: str) -> None:
    engine = create_engine(url, isolation_level="AUTOCOMMIT")
    with engine.connect() as connection:
        for statement in filter(str.strip, statements.split(";")):
            try:
                connection.execute(text(statement))
            except ProgrammingError as error:
                there = (
                    getattr(error.orig, "sqlstate", "") == "42710"
                )  # duplicate_object: the cluster has the role
                if not there or "CREATE ROLE" not in statement:
                    raise
    engine.dispose()
