"""A small district through the ordinary load, and both real databases."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, time
from pathlib import Path

import pytest

from records.canonical.quarantine import Value
from records.canonical.schema import TABLES, Category
from records.canonical.supports import SupportCatalog
from records.connectors.protocol import RowSink
from records.database.engine import Database, open_database
from records.database.tables import ConsentRow, OrganizationRow, StaffRow
from records.loading.load import load
from records.permissions.agreements import (
    PURPOSE_KINDS,
    LegalBasis,
    parse_agreement,
    save_agreement,
)
from records.snapshots.snapshot import Snapshot
from records.staff.viewer import Role, Viewer
from records.system.progress import ProgressCallback
from tests.database_copies import make_database

Rows = Mapping[str, Sequence[Mapping[str, Value]]]
TODAY = date(2026, 4, 17)
SECRET = b"a secret that only this test knows"


@dataclass
class InMemory:
    """A connector over rows in memory; the rest of the load is the real one."""

    rows: Rows
    name: str = "rows"
    tables: tuple[str, ...] = tuple(TABLES)

    def read(self, directory: Path, sink: RowSink, progress: ProgressCallback) -> None:
        for table, rows in self.rows.items():
            for line, row in enumerate(rows, start=1):
                sink.keep(table, row, f"{table}.rows", line)


def at_noon(day: date) -> datetime:
    return datetime.combine(day, time(12))


def snapshot_of(rows: Rows, home: Path, leave_out: Callable[[str], bool] | None = None) -> Snapshot:
    home.mkdir(parents=True, exist_ok=True)
    load(InMemory(rows), home, home, leave_out=leave_out)
    return Snapshot.current(home)


AGREEMENT = """
agreement_id = "{agreement_id}"
version = 1
organization_id = "{organization_id}"
legal_basis = "{legal_basis}"
purpose = "Tutoring after school"
purpose_kind = "{purpose_kind}"
activity = "Staff read what is shared before each session, to help where help is needed"
categories = {categories}
consent_required = {consent_required}
programs = {programs}
supports = {supports}
start = 2025-08-01
end = 2026-07-31
destruction_date = 2026-09-30
officers = ["Ana Ruiz, data officer"]
safeguards = "Read in Handrail only, by trained staff who work with the student"
redisclosure = "None without the district's written word"
breach_notice_hours = 24
"""


def agreement_text(**changes: object) -> str:
    import json

    values: dict[str, object] = {
        "agreement_id": "a1",
        "organization_id": "tutors",
        "legal_basis": "school_official",
        "categories": ["directory", "attendance", "services"],
        "consent_required": [],
        "programs": ["p1"],
        "supports": ["tutoring"],
    }
    values |= changes
    values.setdefault("purpose_kind", PURPOSE_KINDS[LegalBasis(values["legal_basis"])][0])
    return AGREEMENT.format(
        **{k: json.dumps(v) if isinstance(v, list) else v for k, v in values.items()}
    )


def add_organization(database: Database, organization_id: str, *roles: Role) -> list[Viewer]:
    """The organization with one member of staff for each role."""
    viewers = [
        Viewer(
            f"{organization_id}-{role}",
            f"{role}@{organization_id}.example",
            "Somebody",
            role,
            organization_id,
        )
        for role in roles
    ]
    with database.session() as session:
        session.add(
            OrganizationRow(organization_id=organization_id, name=organization_id, kind="partner")
        )
        session.flush()
        for viewer in viewers:
            session.add(
                StaffRow(
                    user_id=viewer.user_id,
                    login=viewer.login,
                    name=viewer.name,
                    role=viewer.role,
                    organization_id=organization_id,
                    password_hash="x",
                    active=True,
                )
            )
    return viewers


def add_agreement(
    database: Database, *, kinds: SupportCatalog | None = None, **changes: object
) -> None:
    """An agreement with these elements; it may name the supports of `kinds`."""
    save_agreement(database, parse_agreement(agreement_text(**changes), "agreement.toml", kinds))


def add_consent(
    database: Database, student_id: str, *categories: Category, organization_id: str = "tutors"
) -> None:
    with database.session() as session:
        session.add(
            ConsentRow(
                student_id=student_id,
                organization_id=organization_id,
                purpose="Tutoring",
                categories=frozenset(categories),
                signer="A parent",
                signed_on=date(2025, 9, 1),
                expires_on=date(2026, 8, 31),
                revoked_on=None,
            )
        )


@pytest.fixture(params=["sqlite", "postgresql"])
def database(request: pytest.FixtureRequest, tmp_path: Path) -> Database:
    """An empty operational database, on SQLite and on PostgreSQL."""
    if request.param == "sqlite":
        open_new: Callable[[str], Database] = request.getfixturevalue("new_sqlite")
        return open_new("handrail")
    name = f"t{abs(hash(str(tmp_path))):x}"[:30]
    server, template = (
        request.getfixturevalue("postgres_server"),
        request.getfixturevalue("empty_postgresql"),
    )
    return open_database(make_database(server, name, template))
