"""The real site over a small loaded district, a SQLite store, real accounts and a clock that the
test turns.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path

import httpx2
import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient

from records.access.scope import scope_for
from records.database.engine import Database, open_database
from records.disclosure_log.history import Disclosure, disclosures
from records.disclosure_log.limits import DisclosureLimits
from records.snapshots.snapshot import Snapshot
from records.staff.accounts import Organization, active_staff_member, add_organization, add_staff
from records.staff.sessions import start_session
from records.staff.viewer import DISTRICT, Role
from serving.app import SiteConfig, create_app
from tests.approved_home import SECRET
from tests.records.conftest import add_agreement, snapshot_of
from tests.serving import district

PASSWORD = "a password of the test"
NOW = datetime(2026, 4, 17, 10, 30)
GRANTED = ["directory", "attendance", "grades", "assessments", "services"]
STAFF = {
    "caseworker": ("caseworker@tutors.example", Role.CASEWORKER, "tutors"),
    "partner_admin": ("admin@tutors.example", Role.PARTNER_ADMIN, "tutors"),
    "coordinator": ("coordinator@tutors.example", Role.COORDINATOR, "tutors"),
    "pantry": ("caseworker@pantry.example", Role.CASEWORKER, "pantry"),
    "evaluator": ("caseworker@college.example", Role.CASEWORKER, "college"),
    "district_admin": ("admin@district.example", Role.DISTRICT_ADMIN, DISTRICT),
    "equity_reviewer": ("equity@district.example", Role.EQUITY_REVIEWER, DISTRICT),
    "data_scientist": ("data@district.example", Role.DATA_SCIENTIST, DISTRICT),
}


@dataclass
class TestSite:
    """A running site and what a test needs to ask of it."""

    __test__ = False
    home: Path
    database: Database
    app: FastAPI
    clock: list[datetime] = field(default_factory=lambda: [NOW])

    def browser(self, who: str | None = None) -> httpx2.Client:
        """A browser, signed in as `who` unless that is None; it follows no redirects."""
        client = TestClient(self.app, follow_redirects=False)
        if who is not None:
            viewer = active_staff_member(self.database, STAFF[who][0])
            client.cookies.set("handrail", start_session(self.database, viewer, self.clock[0]))
        return client

    def handle(self, who: str, student: str) -> str:
        """The handle by which the organization of `who` knows a student."""
        viewer = active_staff_member(self.database, STAFF[who][0])
        scope = scope_for(viewer, self.database, Snapshot.current(self.home), self.clock[0], SECRET)
        return scope.handle(student)

    def log(self) -> list[Disclosure]:
        """Every row of the disclosure log, the oldest first."""
        return disclosures(self.database, limit=100_000)[::-1]


def open_site(home: Path, limits: DisclosureLimits | None = None) -> TestSite:
    database = open_database(f"sqlite:///{home / 'handrail.db'}")
    clock = [NOW]
    app = create_app(
        SiteConfig(home, database, SECRET, lambda: clock[0], limits=limits or DisclosureLimits())
    )
    app.state.site.approved_models.wait()
    return TestSite(home, database, app, clock)


def add_partners_and_staff(database: Database) -> None:
    """Organisations, agreements and staff: tutors and pantry see students, the college
    evaluates.
    """
    for key, name in (
        ("tutors", "Tutors"),
        ("pantry", "Pantry"),
        ("college", "College"),
        (DISTRICT, "The District"),
    ):
        add_organization(database, Organization(key, name, "partner"))
    add_agreement(database, categories=GRANTED, supports=["tutoring", "mentoring", "food"])
    add_agreement(
        database,
        agreement_id="a2",
        organization_id="pantry",
        categories=["directory", "services"],
        programs=["p2"],
        supports=[],
    )
    add_agreement(
        database,
        agreement_id="a3",
        organization_id="college",
        legal_basis="audit_evaluation",
        categories=["directory", "attendance"],
        programs=[],
        supports=[],
    )
    for name, (login, role, organization) in STAFF.items():
        add_staff(database, login, f"Staff {name}", role, organization, PASSWORD)


@pytest.fixture(scope="session")
def filled_home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A loaded home, made once and copied for each test."""
    home = tmp_path_factory.mktemp("district")
    snapshot_of(district.rows(), home)
    database = open_database(f"sqlite:///{home / 'handrail.db'}")
    add_partners_and_staff(database)
    database.engine.dispose()
    return home


@pytest.fixture
def new_site(filled_home: Path, tmp_path: Path) -> Callable[[str], TestSite]:
    def make(name: str) -> TestSite:
        shutil.copytree(filled_home, tmp_path / name)
        return open_site(tmp_path / name)

    return make


@pytest.fixture
def site(new_site: Callable[[str], TestSite]) -> TestSite:
    return new_site("home")
