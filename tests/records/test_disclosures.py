"""The log of who saw whom: complete, nameless, and any tampering is found."""

from __future__ import annotations

import random
from datetime import datetime, timedelta
from pathlib import Path

import pytest
from sqlalchemy import delete, insert, select, update
from sqlalchemy import text as sql

from records.database import Database, DisclosureRow
from records.disclosures import DisclosureLogUnavailable, disclosures, export_head, record_disclosures, verify
from records.schema import Category
from records.scope import NotInScope, Role, Scope, scope_for
from records.snapshots import Snapshot
from tests.records import small_district
from tests.records.conftest import SECRET, TODAY, add_agreement, add_organization, at_noon, snapshot_of

NOW = datetime(2026, 4, 17, 10)


@pytest.fixture(scope="module")
def snapshot(tmp_path_factory: pytest.TempPathFactory) -> Snapshot:
    return snapshot_of(small_district.rows(), tmp_path_factory.mktemp("home"))


@pytest.fixture
def scope(database: Database, snapshot: Snapshot) -> Scope:
    (viewer,) = add_organization(database, "tutors", Role.CASEWORKER)
    add_agreement(database)
    return scope_for(viewer, database, snapshot, at_noon(TODAY), SECRET)


def fill(database: Database, scope: Scope, looks: int) -> None:
    for i in range(looks):
        record_disclosures(database, scope, ["s1", "s2"], [Category.DIRECTORY], "/", NOW + timedelta(minutes=i))


def test_each_student_shown_is_one_row_with_only_the_categories_that_scope_allows(database, scope):  # R23, R25
    record_disclosures(database, scope, ["s1", "s2"], [Category.DIRECTORY, Category.GRADES], "/students", NOW)
    newest, oldest = disclosures(database)
    assert (oldest.student_id, newest.student_id, newest.shown_together) == ("s1", "s2", 2)
    assert newest.categories == "directory"
    assert newest.legal_basis == "school_official"
    assert not newest.law_requires
    assert not any(name in str(newest) for name in ("First", "Last", "Somebody"))
    assert verify(database).rows == 2


def test_a_student_out_of_scope_cannot_be_logged_as_shown(database, scope):
    with pytest.raises(NotInScope):
        record_disclosures(database, scope, ["s1", "s4"], [Category.DIRECTORY], "/", NOW)
    assert verify(database).rows == 0


def test_a_log_that_cannot_be_written_refuses_and_says_so(database, scope):  # R23
    with database.engine.begin() as connection:
        connection.execute(sql("ALTER TABLE disclosures RENAME TO gone"))
    with pytest.raises(DisclosureLogUnavailable):
        record_disclosures(database, scope, ["s1"], [Category.DIRECTORY], "/", NOW)


def test_each_kind_of_tampering_is_found_on_both_databases(database, scope, tmp_path: Path):  # R24
    fill(database, scope, 10)
    head = tmp_path / "head.json"
    export_head(database, head)
    with database.session() as session:
        original = [dict(row._mapping) for row in session.execute(select(DisclosureRow.__table__))]
    rng = random.Random(24)
    for kind in ("edit", "delete", "insert", "reorder", "truncate", "rewrite"):
        for place in rng.sample(range(1, len(original)), 3):
            tamper(database, kind, place, original)
            outcome = verify(database, head)
            assert not outcome.ok and outcome.problem is not None and "row" in outcome.problem, (kind, place)
            restore(database, original)
            assert verify(database, head).ok


def tamper(database: Database, kind: str, place: int, original: list[dict[str, object]]) -> None:
    from records.disclosures import GENESIS, chain_hash

    with database.session() as session:
        if kind == "edit":
            session.execute(update(DisclosureRow).where(DisclosureRow.seq == place).values(student_id="s9"))
        elif kind == "delete":
            session.execute(delete(DisclosureRow).where(DisclosureRow.seq == place))
        elif kind == "truncate":
            session.execute(delete(DisclosureRow).where(DisclosureRow.seq > place))
        elif kind == "insert":
            session.execute(insert(DisclosureRow), [original[place - 1] | {"seq": len(original) + 1}])
        elif kind == "reorder":
            for old, new in ((place, -2), (place + 1, place), (-2, place + 1)):
                session.execute(update(DisclosureRow).where(DisclosureRow.seq == old).values(seq=new))
        else:
            session.execute(delete(DisclosureRow))
            previous, rows = GENESIS, []
            for row in original:
                changed = row | {"route": "/about", "prev_hash": previous}
                previous = chain_hash(changed)
                rows.append(changed | {"hash": previous})
            session.execute(insert(DisclosureRow), rows)


def restore(database: Database, original: list[dict[str, object]]) -> None:
    with database.session() as session:
        session.execute(delete(DisclosureRow))
        session.execute(insert(DisclosureRow), original)
