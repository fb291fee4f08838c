"""A log of the first format is brought up to date only if it holds, and then it holds again."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import pytest
from alembic import command
from alembic.config import Config
from sqlalchemy import create_engine, inspect, text

import records.database
from records.database.engine import open_database
from records.disclosure_log.disclosures import DisclosureLogDamaged
from records.disclosure_log.history import disclosures
from records.disclosure_log.verification import verify_log

ROWS = 25
BASES = (
    "school_official",
    "consent",
    "own_records",
    "audit_evaluation",
    "health_or_safety_emergency",
)


@pytest.fixture(params=["sqlite", "postgresql"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """A database as the first three migrations left it, with a log in the format of then."""
    if request.param == "sqlite":
        address = f"sqlite:///{tmp_path / 'handrail.db'}"
    else:
        server: str = request.getfixturevalue("postgres_server")
        name = f"u{abs(hash(str(tmp_path))):x}"[:30]
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
        command.upgrade(config, "0003")
        rows = old_log()
        names = ", ".join(f":{name}" for name in rows[0])
        insert = f"INSERT INTO disclosures ({', '.join(rows[0])}) VALUES ({names})"  # noqa: S608
        connection.execute(text(insert), rows)
    engine.dispose()
    return address


def old_log() -> list[dict[str, object]]:
    """Rows hashed as they were then: JSON of every field with sorted keys."""
    previous, rows = "0" * 64, []
    for seq in range(1, ROWS + 1):
        row: dict[str, object] = {
            "seq": seq,
            "at": f"2026-04-17T10:{seq:02}:00.000",
            "user_id": "u1",
            "organization_id": "tutors",
            "student_id": f"s{seq % 4}",
            "categories": "attendance;directory",
            "purpose": 'Tutoring "after" school, ñ',
            "legal_basis": BASES[seq % 5],
            "agreement_id": "a1",
            "agreement_sha256": "f" * 64,
            "route": "/students",
            "shown_together": 3,
            "prev_hash": previous,
        }
        previous = hashlib.sha256(
            json.dumps(row, sort_keys=True, separators=(",", ":")).encode()
        ).hexdigest()
        rows.append(row | {"hash": previous})
    return rows


def test_an_old_log_that_holds_is_written_anew_and_says_the_same(url: str):  # R24
    database = open_database(url)
    assert verify_log(database).ok
    upgraded = disclosures(database)[::-1]
    unchanged = (
        "seq",
        "at",
        "user_id",
        "organization_id",
        "student_id",
        "categories",
        "purpose",
        "legal_basis",
        "agreement_id",
        "agreement_sha256",
        "route",
        "shown_together",
    )
    assert [{name: getattr(row, name) for name in unchanged} for row in upgraded] == [
        {name: row[name] for name in unchanged} | {"categories": {"attendance", "directory"}}
        for row in old_log()
    ]
    required = {row.legal_basis for row in upgraded if row.law_requires}
    assert required == {"audit_evaluation", "health_or_safety_emergency"}
    assert len({row.student_ref for row in upgraded}) == 4
    assert len(disclosures(database, student_id="s1")) == 7
    database.engine.dispose()
    assert verify_log(open_database(url)).rows == ROWS, "opened a second time, it is left as it is"


@pytest.mark.parametrize(
    "change",
    [
        "SET student_id = 's9' WHERE seq = 7",
        "SET seq = 99 WHERE seq = 7",
        "SET prev_hash = hash WHERE seq = 7",
    ],
)
def test_an_old_log_that_does_not_hold_is_left_as_it_is(url: str, change: str):  # R24
    engine = create_engine(url)
    with engine.begin() as connection:
        connection.execute(text(f"UPDATE disclosures {change}"))
        before = connection.execute(text("SELECT * FROM disclosures ORDER BY seq")).all()
    with pytest.raises(
        DisclosureLogDamaged,
        match="does not hold at row 7, so the database is not brought up to date",
    ):
        open_database(url)
    with engine.connect() as connection:
        assert connection.execute(text("SELECT * FROM disclosures ORDER BY seq")).all() == before
        assert (
            connection.execute(text("SELECT version_num FROM alembic_version")).scalar() == "0003"
        )
        assert "log_students" not in inspect(connection).get_table_names()
    engine.dispose()


def test_an_upgrade_that_fails_half_way_leaves_the_old_log(url: str):  # R24, R36
    engine = create_engine(url)
    with engine.begin() as connection:
        connection.execute(text("CREATE TABLE pk_hindrance (x INTEGER)"))
        connection.execute(text("CREATE INDEX ix_disclosures_student_ref ON pk_hindrance (x)"))
        before = connection.execute(text("SELECT * FROM disclosures ORDER BY seq")).all()
    with pytest.raises(Exception, match="ix_disclosures_student_ref"):
        open_database(url)
    with engine.begin() as connection:
        assert connection.execute(text("SELECT * FROM disclosures ORDER BY seq")).all() == before
        assert inspect(connection).get_table_names().count("log_students") == 0
        connection.execute(text("DROP TABLE pk_hindrance"))
    engine.dispose()
    assert verify_log(open_database(url)).rows == ROWS
