"""A list of categories is stored in one form, and an older database is migrated to it."""

from __future__ import annotations

import uuid
from datetime import date, datetime
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from alembic import command
from alembic.config import Config
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy.exc import StatementError

import records.database
from records.canonical.schema import Category
from records.database.category_list import CategoryList, decode_categories, encode_categories
from records.database.engine import Database, open_database
from records.database.tables import AgreementTermsRow, ConsentRow, EmergencyRow, OrmTable

READ_ORDER = "attendance;grades;behavior;housing"
STORED = "attendance;behavior;grades;housing"
CATEGORIES = {Category.ATTENDANCE, Category.BEHAVIOR, Category.GRADES, Category.HOUSING}


@given(st.frozensets(st.sampled_from(list(Category))))
def test_what_is_written_is_read_back_from_names_in_alphabetical_order(
    categories: frozenset[Category],
):
    text = encode_categories(categories)
    assert decode_categories(text) == categories
    assert [name for name in text.split(";") if name] == sorted(map(str, categories))
    assert len(encode_categories(Category)) <= 400, "all of them fit into the column"


def test_a_name_that_is_no_category_is_neither_written_nor_read(database: Database):
    with pytest.raises(ValueError, match="diagnoses"):
        decode_categories("attendance;diagnoses")
    consent = ConsentRow(
        student_id="s1",
        organization_id="tutors",
        categories="attendance;grades",  # type: ignore[arg-type]
        purpose="",
        signer="",
        signed_on=date(2026, 1, 1),
        expires_on=date(2026, 1, 1),
    )
    with pytest.raises(StatementError), database.session() as session:
        session.add(consent)


def test_every_column_of_categories_has_the_one_encoding():
    columns = [
        column
        for table in OrmTable.metadata.tables.values()
        for column in table.columns
        if column.name == "categories"
    ]
    assert len(columns) == 5
    assert all(isinstance(column.type, CategoryList) for column in columns)


@pytest.fixture(params=["sqlite", "postgresql"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """A database at migration 0011: JSON terms, a consent in reading order, a row of the log."""
    if request.param == "sqlite":
        address = f"sqlite:///{tmp_path / 'handrail.db'}"
    else:
        server: str = request.getfixturevalue("postgres_server")
        name = f"categories{uuid.uuid4().hex[:12]}"
        with sa.create_engine(
            server.format(name="postgres"), isolation_level="AUTOCOMMIT"
        ).connect() as connection:
            connection.execute(sa.text(f'CREATE DATABASE "{name}"'))
        address = server.format(name=name)
    engine = sa.create_engine(address)
    config = Config()
    config.set_main_option(
        "script_location", str(Path(records.database.__file__).parent / "migrations")
    )
    with engine.begin() as connection:
        config.attributes["connection"] = connection
        command.upgrade(config, "0011")
        for table, row in _ROWS.items():
            connection.execute(sa.insert(_reflected(connection, table)).values(row))
    engine.dispose()
    return address


def test_a_database_of_the_release_before_is_put_into_the_one_form(url: str):
    database = open_database(url)
    with database.session() as session:
        assert session.scalars(sa.select(AgreementTermsRow.categories)).all() == [CATEGORIES]
        assert session.scalars(sa.select(AgreementTermsRow.programs)).all() == [["p;1", "p2"]]
        same_categories = sa.select(ConsentRow.id).where(
            ConsentRow.categories == frozenset(CATEGORIES)
        )
        assert session.scalars(same_categories).all() == [1]
        assert session.scalars(sa.select(EmergencyRow.categories)).all() == [CATEGORIES]
    with database.engine.connect() as connection:
        for table in ("agreement_terms", "consents", "emergencies"):
            text = connection.scalar(sa.text(f"SELECT categories FROM {table}"))  # noqa: S608
            assert text == STORED, table
        log = connection.scalar(sa.text("SELECT categories FROM disclosures"))
        assert log == READ_ORDER, "hashes cover the log's text, whatever its order"
        kinds = {c["name"]: str(c["type"]) for c in sa.inspect(connection).get_columns("consents")}
        terms = sa.inspect(connection).get_columns("agreement_terms")
        assert {c["name"]: str(c["type"]) for c in terms}["categories"] == kinds["categories"]


def _reflected(connection: sa.Connection, table: str) -> sa.Table:
    return sa.Table(table, sa.MetaData(), autoload_with=connection)


_NOON = datetime(2026, 4, 17, 12)
_ROWS: dict[str, dict[str, Any]] = {
    "organizations": {"organization_id": "tutors", "name": "Tutors", "kind": "partner"},
    "agreements": {
        "agreement_id": "a1",
        "version": 1,
        "organization_id": "tutors",
        "document": "",
        "sha256": "",
    },
    "agreement_terms": {
        "agreement_id": "a1",
        "version": 1,
        "sha256": "",
        "legal_basis": "consent",
        "starts_on": _NOON.date(),
        "ends_on": _NOON.date(),
        "categories": READ_ORDER.split(";"),
        "programs": ["p;1", "p2"],
    },
    "consents": {
        "student_id": "s1",
        "organization_id": "tutors",
        "categories": READ_ORDER,
        "purpose": "Help",
        "signer": "A parent",
        "signed_on": _NOON.date(),
        "expires_on": _NOON.date(),
    },
    "emergencies": {
        "opened_at": _NOON,
        "ends_at": _NOON,
        "opened_utc": _NOON,
        "ends_utc": _NOON,
        "opened_by": "u1",
        "user_id": "u1",
        "organization_id": "tutors",
        "student_id": "s1",
        "categories": STORED,
        "threat": "",
        "reason": "",
    },
    "disclosures": {
        "seq": 1,
        "at": "2026-04-17T12:00:00.000",
        "user_id": "u1",
        "organization_id": "tutors",
        "student_ref": "0" * 64,
        "categories": READ_ORDER,
        "purpose": "Help",
        "legal_basis": "consent",
        "law_requires": "no",
        "agreement_id": "a1",
        "agreement_sha256": "0" * 64,
        "route": "/students",
        "shown_together": 1,
        "hash": "0" * 64,
    },
}
