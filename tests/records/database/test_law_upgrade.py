"""Migration 0007 fills its new columns: who lifted a hold, and emergencies in UTC."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path

import pytest
from alembic import command
from alembic.config import Config
from sqlalchemy import create_engine, select, text

import records.database
from records.database.engine import open_database
from records.database.tables import EmergencyRow
from records.permissions.legal_holds import holds
from records.system.clock import to_utc

MORNING = datetime(2026, 4, 17, 9, 30)


@pytest.fixture(params=["sqlite", "postgresql"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """A database at migration 0006, with two lifted holds, an open one and an emergency."""
    if request.param == "sqlite":
        address = f"sqlite:///{tmp_path / 'handrail.db'}"
    else:
        server: str = request.getfixturevalue("postgres_server")
        name = f"l{abs(hash(str(tmp_path))):x}"[:30]
        with create_engine(
            server.format(name="postgres"), isolation_level="AUTOCOMMIT"
        ).connect() as connection:
            connection.execute(text(f'CREATE DATABASE "{name}"'))
        address = server.format(name=name)
    engine = create_engine(address)
    config = Config()
    config.set_main_option(
        "script_location", str(Path(records.database.__file__).parent / "migrations")
    )
    with engine.begin() as connection:
        config.attributes["connection"] = connection
        command.upgrade(config, "0006")
        connection.execute(
            text("INSERT INTO organizations VALUES ('district', 'District', 'district')")
        )
        connection.execute(
            text(
                "INSERT INTO staff VALUES ('u1', 'g@d.example', 'Grace', 'district_admin',"
                " 'district', 'x', true)"
            )
        )
        put = text(
            "INSERT INTO legal_holds (student_id, since, lifted_at, placed_by, reason) "
            "VALUES (:student, :at, :lifted, 'u1', :reason)"
        )
        for student, lifted, reason in (
            ("s1", MORNING, "Lawsuit\nLifted by Grace: Settled: all of it"),
            ("s2", MORNING, "Lawsuit\nLifted by Somebody else: Closed"),
            ("s3", None, "A line\nand another"),
        ):
            connection.execute(
                put, {"student": student, "at": MORNING, "lifted": lifted, "reason": reason}
            )
        connection.execute(
            text(
                "INSERT INTO emergencies (opened_at, ends_at, opened_by, user_id, organization_id,"
                " student_id, categories, threat, reason) VALUES (:at, :at, 'u1', 'u1', 'district',"
                " 's1', 'grades', 'x', 'x')"
            ),
            {"at": MORNING},
        )
    engine.dispose()
    return address


def test_what_a_hold_said_when_it_was_lifted_is_taken_apart(url: str):
    database = open_database(url)
    lasting, by_somebody, by_grace = holds(database)
    assert (by_grace.reason, by_grace.lifted_by, by_grace.lift_reason) == (
        "Lawsuit",
        "u1",
        "Settled: all of it",
    )
    assert (by_somebody.lifted_by, by_somebody.lift_reason) == (None, "Somebody else: Closed")
    assert (lasting.reason, lasting.lifted_by, lasting.lift_reason) == (
        "A line\nand another",
        None,
        None,
    )
    with database.session() as session:
        row = session.scalars(select(EmergencyRow)).one()
        assert (row.opened_utc, row.ends_utc) == (to_utc(MORNING), to_utc(MORNING))
