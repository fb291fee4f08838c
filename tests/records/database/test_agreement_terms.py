"""The terms that the SQL policy reads are those of the text, in new and old agreements."""

from __future__ import annotations

from pathlib import Path

import pytest
from alembic import command
from alembic.config import Config
from sqlalchemy import Engine, create_engine, insert, select

import records.database
from records.database.engine import Database, open_database
from records.database.tables import AgreementRow, AgreementTermsRow, OrganizationRow
from records.permissions.agreements import parse_agreement
from tests.records.conftest import add_agreement, add_organization, agreement_text


def terms_of(database: Database) -> list[tuple[object, ...]]:
    with database.session() as session:
        rows = session.scalars(select(AgreementTermsRow).order_by(AgreementTermsRow.version))
        return [
            (
                row.agreement_id,
                row.version,
                row.sha256,
                row.legal_basis,
                row.starts_on,
                row.ends_on,
                row.categories,
                row.programs,
            )
            for row in rows
        ]


def terms_in(text: str) -> tuple[object, ...]:
    agreement = parse_agreement(text, "agreement.toml")
    return (
        agreement.agreement_id,
        agreement.version,
        agreement.sha256,
        agreement.legal_basis,
        agreement.start,
        agreement.end,
        agreement.categories,
        sorted(agreement.programs),
    )


def test_the_terms_are_kept_with_each_version(database: Database):
    add_organization(database, "tutors")
    add_agreement(database, programs=["p2", "p;1"])
    assert terms_of(database) == [terms_in(agreement_text(programs=["p2", "p;1"]))]


@pytest.fixture(params=["sqlite", "postgresql"])
def engine_of_before(request: pytest.FixtureRequest, tmp_path: Path) -> Engine:
    """A database as it was before agreements had terms."""
    if request.param == "sqlite":
        engine = create_engine(f"sqlite:///{tmp_path / 'handrail.db'}")
    else:
        server: str = request.getfixturevalue("postgres_server")
        with create_engine(
            server.format(name="postgres"), isolation_level="AUTOCOMMIT"
        ).connect() as connection:
            connection.exec_driver_sql(f'CREATE DATABASE "{tmp_path.name}"')
        engine = create_engine(server.format(name=tmp_path.name))
    config = Config()
    config.set_main_option(
        "script_location", str(Path(records.database.__file__).parent / "migrations")
    )
    with engine.begin() as connection:
        config.attributes["connection"] = connection
        command.upgrade(config, "0005")
    return engine


def test_an_agreement_from_before_gets_its_terms(engine_of_before: Engine):
    texts = [
        agreement_text(),
        agreement_text(categories=["grades"]).replace("version = 1", "version = 2"),
    ]
    with engine_of_before.begin() as connection:
        connection.execute(
            insert(OrganizationRow),
            {"organization_id": "tutors", "name": "Tutors", "kind": "partner"},
        )
        for version, text in enumerate(texts, start=1):
            connection.execute(
                insert(AgreementRow),
                {
                    "agreement_id": "a1",
                    "version": version,
                    "organization_id": "tutors",
                    "document": text,
                    "sha256": terms_in(text)[2],
                    "revoked_at": None,
                },
            )
    database = open_database(engine_of_before.url.render_as_string(hide_password=False))
    assert terms_of(database) == [terms_in(text) for text in texts]
