"""Copies in PostgreSQL are complete or absent, there before use, and withdrawn afterwards."""

from __future__ import annotations

import random
import shutil
import time
import uuid
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from sqlalchemy import inspect, text
from typer.testing import CliRunner, Result

from handrail.cli import app
from handrail.commands.records import load_and_publish
from handrail.settings import Settings
from records.access.publication import (
    PublicationError,
    check_published,
    is_published,
    publish_if_needed,
    publish_snapshot,
    published_columns,
    student_tables,
    withdraw_other_publications,
)
from records.access.row_security import RowSecuredSnapshot
from records.database.engine import Database
from records.snapshots.snapshot import Snapshot
from records.staff.viewer import DISTRICT, Role
from tests.records import six_student_district
from tests.records.conftest import InMemory, add_organization, snapshot_of
from tests.records.loading.test_kills import FORK, forking, run
from tests.records.random_access_rules import NOON, draw_rows
from tests.records.row_secured_database import RowSecuredDatabase, row_secured_database

KILLS = 14
FEW, MANY = 20, 300
WHOLE = ("students", "school_enrollments", "attendance_events", "assessments")
STUDENT_TABLES = [canonical.name for canonical in student_tables()]
LOADING = FORK.format(
    imports="from tests.records.access.test_publication import load_large",
    work="load_large(Path(home), source)",
)


@pytest.fixture
def walled(postgres_server: str) -> RowSecuredDatabase:
    return row_secured_database(postgres_server, f"published{uuid.uuid4().hex[:12]}")


def load_large(home: Path, url: str) -> None:
    load_and_publish(
        Settings(home, url), InMemory(draw_rows(np.random.default_rng(1), MANY)), home, False, quiet
    )


def quiet(table: str, done: int, total: int | None) -> None:
    pass


def partitions(database: Database) -> list[str]:
    with database.engine.connect() as connection:
        return list(
            connection.scalars(
                text(
                    "SELECT relname FROM pg_class WHERE relnamespace ="
                    " 'district_records'::regnamespace AND relkind = 'r' AND relname <>"
                    " 'publications' ORDER BY relname"
                )
            )
        )


def test_a_published_table_has_the_columns_of_the_schema(walled: RowSecuredDatabase):
    """A column that is added to the schema needs a migration of its published table."""
    inspector = inspect(walled.owner.engine)
    for canonical in student_tables():
        columns = [
            column["name"]
            for column in inspector.get_columns(canonical.name, schema="district_records")
        ]
        assert columns == ["publication", *published_columns(canonical)], canonical.name


def test_publishing_again_replaces_the_copy_and_withdraws_the_old_one(
    walled: RowSecuredDatabase, tmp_path: Path
):
    snapshot = snapshot_of(six_student_district.rows(), tmp_path)
    for number in (1, 2):
        publish_snapshot(walled.owner, snapshot)
        assert withdraw_other_publications(walled.owner, snapshot) == 0
        assert partitions(walled.owner) == sorted(f"{name}_{number}" for name in STUDENT_TABLES)


def test_what_postgresql_cannot_hold_refuses_the_load_and_the_old_records_serve(
    walled: RowSecuredDatabase, tmp_path: Path
):
    rows = six_student_district.rows()
    old = snapshot_of(rows, tmp_path)
    publish_snapshot(walled.owner, old)
    rows["students"][0] |= {"first_name": "A\0B"}
    with pytest.raises(PublicationError, match="students of snapshot"):
        load_and_publish(
            Settings(tmp_path, walled.owner_url), InMemory(rows), tmp_path, False, quiet
        )
    assert Snapshot.current(tmp_path) == old
    assert is_published(walled.owner, old)
    assert len(partitions(walled.owner)) == len(STUDENT_TABLES)


def test_a_copy_that_somebody_still_reads_is_out_of_reach_at_once_and_removed_later(
    walled: RowSecuredDatabase, tmp_path: Path
):
    old, new = snapshot_of(six_student_district.rows(), tmp_path), None
    publish_snapshot(walled.owner, old)
    with walled.owner.engine.connect() as reading:
        reading.execute(text("SELECT 1 FROM district_records.students_1"))
        new = snapshot_of(draw_rows(np.random.default_rng(2), 5), tmp_path)
        publish_snapshot(walled.owner, new)
        assert withdraw_other_publications(walled.owner, new) == 1
        assert not is_published(walled.owner, old)
    assert withdraw_other_publications(walled.owner, new) == 0
    assert partitions(walled.owner) == sorted(f"{name}_2" for name in STUDENT_TABLES)


def test_a_publication_killed_at_any_moment_leaves_what_serves_published_and_whole(  # R36
    walled: RowSecuredDatabase, tmp_path: Path
):
    (officer,) = add_organization(walled.owner, DISTRICT, Role.DISTRICT_ADMIN)
    home, saved, rng = tmp_path / "home", tmp_path / "kept", random.Random(36)
    old = snapshot_of(draw_rows(np.random.default_rng(0), FEW), saved)
    publish_snapshot(walled.owner, old)
    killed = {FEW: 0, MANY: 0}
    with forking(LOADING) as parent:
        for _ in range(2):
            start_anew(home, saved)
            begun = time.monotonic()
            assert not run(parent, walled.owner_url, home)
            longest = time.monotonic() - begun
        while sum(killed.values()) < KILLS:
            if Snapshot.current(home) != replace(old, path=home / "snapshots" / old.id):
                start_anew(home, saved)
                publish_if_needed(walled.owner, old)
            was_killed = run(parent, walled.owner_url, home, rng.uniform(0, longest))
            serving = RowSecuredSnapshot(
                Snapshot.current(home), walled.owner, officer.user_id, NOON
            )
            students = {len(set(serving.rows(name)["student_id"].to_pylist())) for name in WHOLE}
            assert len(students) == 1
            killed[students.pop()] += was_killed
        assert killed[FEW] > KILLS / 4, "many were killed before the end"
        assert not run(parent, walled.owner_url, home)
    assert len(partitions(walled.owner)) == len(STUDENT_TABLES)


def start_anew(home: Path, saved: Path) -> None:
    shutil.rmtree(home, ignore_errors=True)
    shutil.copytree(saved, home)


def test_the_command_publishes_what_serves_and_only_then_may_it_be_served(  # R18
    walled: RowSecuredDatabase, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    snapshot = snapshot_of(six_student_district.rows(), tmp_path)
    monkeypatch.setenv("HANDRAIL_DATABASE_URL", walled.owner_url)
    unpublished = handrail("serve", "--home", str(tmp_path), "--port", "0")
    assert unpublished.exit_code == 2
    assert (
        unpublished.stderr.strip()
        == f"handrail: snapshot {snapshot.id} is not in PostgreSQL: run `handrail records publish`"
    )
    assert handrail("records", "publish", "--home", str(tmp_path)).exit_code == 0
    check_published(walled.site, tmp_path)


def test_there_is_nothing_to_publish_on_sqlite(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.delenv("HANDRAIL_DATABASE_URL", raising=False)
    snapshot_of(six_student_district.rows(), tmp_path)
    run = handrail("records", "publish", "--home", str(tmp_path))
    assert run.exit_code == 2
    assert "row-level security needs PostgreSQL" in run.stderr


def handrail(*arguments: str) -> Result:
    return CliRunner().invoke(app, arguments)
