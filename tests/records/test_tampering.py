"""The disclosure log as somebody with the file and SQL can change it: each change is found, and its row is named."""

from __future__ import annotations

import random
import shutil
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from datetime import datetime, timedelta
from pathlib import Path

import pytest

from records.database import open_database
from records.disclosures import GENESIS, Verification, chain_hash, export_head, record_disclosures, verify
from records.schema import Category
from records.scope import Role, scope_for
from tests.records import small_district
from tests.records.conftest import SECRET, TODAY, add_agreement, add_organization, at_noon, snapshot_of

ROWS = 120
NOW = datetime(2026, 4, 17, 10)
Log = sqlite3.Connection
_EDITS: dict[str, object] = {
    "at": "2026-04-17T09:00:00.000", "user_id": "somebody else", "organization_id": "pantry", "student_id": "s9",
    "categories": "directory;housing", "purpose": "another", "legal_basis": "consent", "agreement_id": "a9",
    "agreement_sha256": "0" * 64, "route": "/about", "shown_together": 3, "prev_hash": "1" * 64, "hash": "1" * 64,
}  # fmt: skip


@pytest.fixture(scope="module")
def log(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A home whose log was written look by look, with its head exported beside it."""
    home = tmp_path_factory.mktemp("logged")
    snapshot = snapshot_of(small_district.rows(), home)
    database = open_database(f"sqlite:///{home / 'handrail.db'}")
    (viewer,) = add_organization(database, "tutors", Role.CASEWORKER)
    add_agreement(database)
    scope = scope_for(viewer, database, snapshot, at_noon(TODAY), SECRET)
    for look in range(ROWS // 2):
        moment = NOW + timedelta(minutes=look)
        record_disclosures(database, scope, ["s1", "s2"], [Category.DIRECTORY], "/students/{handle}", moment)
    export_head(database, home / "head.json")
    assert verify(database, home / "head.json") == Verification(True, ROWS)
    database.engine.dispose()
    return home


def edit(log: Log, place: int, rng: random.Random) -> str:
    column = rng.choice(sorted(_EDITS))
    log.execute(f"UPDATE disclosures SET {column} = ? WHERE seq = ?", (_EDITS[column], place))  # noqa: S608
    return f"row {place} "


def delete(log: Log, place: int, rng: random.Random) -> str:
    """The row alone, or the row with all later ones moved up to hide the gap."""
    log.execute("DELETE FROM disclosures WHERE seq = ?", (place,))
    if rng.random() < 0.5:
        move(log, place + 1, -1)
    return f"row {place} "


def insert(log: Log, place: int, rng: random.Random) -> str:
    """A look that never was, chained to the row before it; later rows move down."""
    before, row = row_at(log, place - 1), row_at(log, place)
    move(log, place, 1)
    row |= {"student_id": "s9", "seq": place, "prev_hash": before["hash"] if before else GENESIS}
    write(log, row | {"hash": chain_hash(row)})
    return f"row {place + 1} "


def reorder(log: Log, place: int, rng: random.Random) -> str:
    other = rng.choice([seq for seq in range(1, ROWS + 1) if seq != place])
    for old, new in ((place, -1), (other, place), (-1, other)):
        log.execute("UPDATE disclosures SET seq = ? WHERE seq = ?", (new, old))
    return f"row {min(place, other)} "


def truncate(log: Log, place: int, rng: random.Random) -> str:
    log.execute("DELETE FROM disclosures WHERE seq >= ?", (place,))
    return f"rows {place} to {ROWS} "


def rewrite(log: Log, place: int, rng: random.Random) -> str:
    """One row is changed, and every hash from there on is made to fit."""
    previous = row_at(log, place)["prev_hash"]
    for seq in range(place, ROWS + 1):
        row = row_at(log, seq) | {"prev_hash": previous}
        if seq == place:
            row["student_id"] = "s9"
        previous = chain_hash(row)
        log.execute("DELETE FROM disclosures WHERE seq = ?", (seq,))
        write(log, row | {"hash": previous})
    return f"row {ROWS} "


KINDS = (edit, delete, insert, reorder, truncate, rewrite)


@pytest.mark.parametrize("kind", KINDS)
def test_each_kind_of_tampering_at_fifty_places_is_found_and_names_its_row(
    kind: Callable[[Log, int, random.Random], str], log: Path, tmp_path: Path
):  # R24: six kinds, fifty places each
    rng = random.Random(kind.__name__)
    found = 0
    for place in rng.sample(range(1, ROWS), 50):
        with tampered(log, tmp_path) as file:
            named = kind(file, place, rng)
        database = open_database(f"sqlite:///{tmp_path / 'handrail.db'}")
        outcome = verify(database, log / "head.json")
        database.engine.dispose()
        assert outcome.problem is not None and outcome.problem.startswith(named), (place, named, outcome)
        found += not outcome.ok
    assert found == 50


def test_looks_added_after_the_head_was_exported_are_no_tampering(log: Path, tmp_path: Path):  # R24
    with tampered(log, tmp_path) as file:
        last = row_at(file, ROWS)
        row = last | {"seq": ROWS + 1, "prev_hash": last["hash"]}
        write(file, row | {"hash": chain_hash(row)})
    outcome = verify(open_database(f"sqlite:///{tmp_path / 'handrail.db'}"), log / "head.json")
    assert outcome == Verification(True, ROWS + 1)


@contextmanager
def tampered(log: Path, folder: Path) -> Iterator[Log]:
    """A fresh copy of the log's file, open to plain SQL."""
    for file in ("handrail.db", "handrail.db-wal", "handrail.db-shm"):
        (folder / file).unlink(missing_ok=True)
    shutil.copyfile(log / "handrail.db", folder / "handrail.db")
    with closing(sqlite3.connect(folder / "handrail.db")) as file, file:
        yield file


def row_at(log: Log, place: int) -> dict[str, object]:
    log.row_factory = sqlite3.Row
    row = log.execute("SELECT * FROM disclosures WHERE seq = ?", (place,)).fetchone()
    return dict(row) if row else {}


def write(log: Log, row: dict[str, object]) -> None:
    names = ", ".join(row)
    log.execute(f"INSERT INTO disclosures ({names}) VALUES ({', '.join('?' * len(row))})",  # noqa: S608
                list(row.values()))  # fmt: skip


def move(log: Log, first: int, by: int) -> None:
    """Renumber every row from `first` on."""
    log.execute("UPDATE disclosures SET seq = -(seq + ?) WHERE seq >= ?", (by, first))
    log.execute("UPDATE disclosures SET seq = -seq WHERE seq < 0")
