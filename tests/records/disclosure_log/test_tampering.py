"""Somebody with the file and SQL changes the disclosure log: each change is found at its row."""

from __future__ import annotations

import random
import shutil
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from datetime import datetime, timedelta
from pathlib import Path

import pytest

from records.access.scope import scope_for
from records.canonical.schema import Category
from records.database.engine import open_database
from records.disclosure_log.checkpoints import export_checkpoint, read_checkpoints, save_checkpoint
from records.disclosure_log.disclosures import chain_hash, record_disclosures
from records.disclosure_log.hash_chain import GENESIS
from records.disclosure_log.history import disclosures, exposures, parties
from records.disclosure_log.verification import Verification, verify_log
from records.staff.viewer import Role
from tests.records import six_student_district
from tests.records.conftest import (
    SECRET,
    TODAY,
    add_agreement,
    add_organization,
    at_noon,
    snapshot_of,
)

ROWS = 120
NOW = datetime(2026, 4, 17, 10)
Log = sqlite3.Connection
_EDITS: dict[str, object] = {
    "at": "2026-04-17T09:00:00.000",
    "user_id": "somebody else",
    "organization_id": "pantry",
    "student_ref": "9" * 64,
    "categories": "directory;housing",
    "purpose": "another",
    "legal_basis": "consent",
    "law_requires": "yes",
    "agreement_id": "a9",
    "agreement_sha256": "0" * 64,
    "route": "/about",
    "shown_together": 3,
    "hash": "1" * 64,
}


@pytest.fixture(scope="module")
def log(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A home with a log of `ROWS` rows and a checkpoint of it in `head.json`."""
    home = tmp_path_factory.mktemp("logged")
    snapshot = snapshot_of(six_student_district.rows(), home)
    database = open_database(f"sqlite:///{home / 'handrail.db'}")
    (viewer,) = add_organization(database, "tutors", Role.CASEWORKER)
    add_agreement(database)
    scope = scope_for(viewer, database, snapshot, at_noon(TODAY), SECRET)
    for minute in range(ROWS // 2):
        moment = NOW + timedelta(minutes=minute)
        record_disclosures(
            database, scope, ["s1", "s2"], [Category.DIRECTORY], "/students/{handle}", moment
        )
    export_checkpoint(database, home / "head.json")
    assert verify_log(database, read_checkpoints(home / "head.json")) == Verification(True, ROWS)
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
    """A disclosure that never was, chained to the row before it; later rows move down."""
    before, row = row_at(log, place - 1), row_at(log, place)
    move(log, place, 1)
    row |= {"student_ref": "9" * 64, "seq": place}
    write(log, row | {"hash": chain_hash(str(before["hash"]) if before else GENESIS, row)})
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
    previous = str(row_at(log, place - 1).get("hash", GENESIS))
    for seq in range(place, ROWS + 1):
        row = row_at(log, seq)
        if seq == place:
            row["student_ref"] = "9" * 64
        previous = chain_hash(previous, row)
        log.execute("DELETE FROM disclosures WHERE seq = ?", (seq,))
        write(log, row | {"hash": previous})
    return f"row {ROWS} "


KINDS = (edit, delete, insert, reorder, truncate, rewrite)


@pytest.fixture(autouse=True)
def short_segments(monkeypatch: pytest.MonkeyPatch) -> None:
    """A long log is checked in segments; so is this one."""
    monkeypatch.setattr("records.disclosure_log.verification._SEGMENT_ROWS", 17)


@pytest.mark.parametrize("kind", KINDS)
def test_each_kind_of_tampering_at_fifty_places_is_found_and_names_its_row(
    kind: Callable[[Log, int, random.Random], str], log: Path, tmp_path: Path
):  # R24: six kinds, fifty places each
    rng = random.Random(kind.__name__)
    detected = 0
    for place in rng.sample(range(1, ROWS), 50):
        with tampered(log, tmp_path) as file:
            named = kind(file, place, rng)
        database = open_database(f"sqlite:///{tmp_path / 'handrail.db'}")
        outcome = verify_log(database, read_checkpoints(log / "head.json"))
        database.engine.dispose()
        assert outcome.problem is not None and outcome.problem.startswith(named), (
            place,
            named,
            outcome,
        )
        detected += not outcome.ok
    assert detected == 50


def test_processes_side_by_side_find_the_first_of_several_changes(log: Path, tmp_path: Path):  # R24
    database = open_database(f"sqlite:///{log / 'handrail.db'}")
    reports: list[tuple[int, int]] = []
    checkpoints = read_checkpoints(log / "head.json")
    outcome = verify_log(
        database, checkpoints, lambda done, total: reports.append((done, total)), processes=3
    )
    assert outcome == Verification(True, ROWS)
    assert reports == [(min(done, ROWS), ROWS) for done in range(17, ROWS + 17, 17)]
    database.engine.dispose()
    with tampered(log, tmp_path) as file:
        for place in (99, 40, 18):
            edit(file, place, random.Random(place))
    database = open_database(f"sqlite:///{tmp_path / 'handrail.db'}")
    assert (verify_log(database, checkpoints, processes=3).problem or "").startswith("row 18 ")
    database.engine.dispose()


@pytest.mark.parametrize(
    ("first", "last"), [(1, 1), (17, 17), (18, 18), (18, 34), (10, 60), (1, 119)]
)
def test_a_hole_is_named_by_its_first_row_wherever_a_segment_begins(
    log: Path, tmp_path: Path, first: int, last: int
):
    with tampered(log, tmp_path) as file:  # R24
        file.execute("DELETE FROM disclosures WHERE seq BETWEEN ? AND ?", (first, last))
    assert (outcome_of(tmp_path).problem or "").startswith(f"row {first} ")


def test_a_row_before_the_first_is_found(log: Path, tmp_path: Path):  # R24
    with tampered(log, tmp_path) as file:
        write(file, row_at(file, 3) | {"seq": -4})
    assert (outcome_of(tmp_path).problem or "").startswith(
        "row 1 is missing or out of order: -4 was found"
    )


def test_a_disclosure_given_to_another_student_is_found_by_its_reference(
    log: Path, tmp_path: Path
):  # R24
    with tampered(log, tmp_path) as file:
        file.executescript("""
            UPDATE log_students SET student_id = 'nobody' WHERE student_id = 's1';
            UPDATE log_students SET student_id = 's1' WHERE student_id = 's2';
            UPDATE log_students SET student_id = 's2' WHERE student_id = 'nobody';
        """)
    assert outcome_of(tmp_path).problem == "row 1 was given the name of another student"


@pytest.mark.parametrize("column", ["student_id", "salt"])
def test_a_changed_name_or_salt_behind_a_reference_is_found(
    log: Path, tmp_path: Path, column: str
):  # R24
    with tampered(log, tmp_path) as file:
        file.execute(f"UPDATE log_students SET {column} = 's9' WHERE student_id = 's2'")  # noqa: S608
    assert outcome_of(tmp_path).problem == "row 2 was given the name of another student"


def test_values_of_another_type_with_the_same_text_are_found(
    log: Path, tmp_path: Path
):  # R24: SQLite keeps any kind
    changes = (
        ("shown_together", 2.5),
        ("shown_together", "2x"),
        ("purpose", b"Tutoring after school"),
        ("route", "/students/{handle}\0 and more"),
    )
    for column, value in changes:
        with tampered(log, tmp_path) as file:
            file.execute(f"UPDATE disclosures SET {column} = ? WHERE seq = 7", (value,))  # noqa: S608
        assert (outcome_of(tmp_path).problem or "").startswith("row 7 "), (column, value)


@pytest.mark.parametrize("stored", ["directory;diagnoses", b"directory;diagnoses"])
def test_a_category_that_does_not_exist_is_found_and_can_still_be_read(
    log: Path, tmp_path: Path, stored: str | bytes
):  # R24: who looks at a tampered log is shown what stands in it
    with tampered(log, tmp_path) as file:
        file.execute("UPDATE disclosures SET categories = ? WHERE seq = 7", (stored,))
    assert (outcome_of(tmp_path).problem or "").startswith("row 7 ")
    database = open_database(f"sqlite:///{tmp_path / 'handrail.db'}")
    rows = {row.seq: row.categories for row in disclosures(database)}
    (party,) = parties(database, "s1")
    (first, second) = exposures(database, disclosures(database)[0].user_id, NOW.date(), NOW.date())
    database.engine.dispose()
    assert rows[7] == {Category.DIRECTORY, "diagnoses"} and rows[8] == {Category.DIRECTORY}
    assert party.categories == {Category.DIRECTORY, "diagnoses"} and party.looks == ROWS // 2
    assert first.categories == {Category.DIRECTORY, "diagnoses"}
    assert second.categories == {Category.DIRECTORY}


def test_a_row_that_is_no_text_at_all_is_named_too(log: Path, tmp_path: Path):  # R24
    with tampered(log, tmp_path) as file:
        file.execute("UPDATE disclosures SET purpose = CAST(x'ff' AS TEXT) WHERE seq = 7")
    assert outcome_of(tmp_path).problem == "row 7 cannot be read"


def test_text_moved_from_one_field_to_its_neighbor_is_found(log: Path, tmp_path: Path):  # R24
    for cut in ("'/students' WHERE seq = 7", "route || x'1f' || shown_together WHERE seq = 7"):
        with tampered(log, tmp_path) as file:
            file.execute(f"UPDATE disclosures SET route = {cut}")  # noqa: S608
        assert (outcome_of(tmp_path).problem or "").startswith("row 7 "), cut


def test_a_cut_student_leaves_a_chain_that_holds_and_is_counted(log: Path, tmp_path: Path):  # R24
    with tampered(log, tmp_path) as file:
        file.execute("DELETE FROM log_students WHERE student_id = 's1'")
    assert outcome_of(tmp_path) == Verification(True, ROWS, nameless=1)


def test_disclosures_added_after_a_checkpoint_are_no_tampering(log: Path, tmp_path: Path):  # R24
    with tampered(log, tmp_path) as file:
        last = row_at(file, ROWS)
        row = last | {"seq": ROWS + 1}
        write(file, row | {"hash": chain_hash(str(last["hash"]), row)})
    assert outcome_of(tmp_path, log / "head.json") == Verification(True, ROWS + 1)


def test_every_checkpoint_of_a_home_is_compared(
    log: Path, tmp_path: Path
):  # R24: the tail cut and written anew
    with tampered(log, tmp_path):
        pass
    database = open_database(f"sqlite:///{tmp_path / 'handrail.db'}")
    for again in range(2):
        save_checkpoint(database, tmp_path, NOW + timedelta(days=again))
    database.engine.dispose()
    assert len(read_checkpoints(tmp_path / "log-heads.jsonl")) == 1, (
        "a checkpoint that is saved already is not saved again"
    )
    with closing(sqlite3.connect(tmp_path / "handrail.db")) as file, file:
        rewrite(file, ROWS - 5, random.Random(24))
    database = open_database(f"sqlite:///{tmp_path / 'handrail.db'}")
    save_checkpoint(database, tmp_path, NOW)
    database.engine.dispose()
    assert len(read_checkpoints(tmp_path / "log-heads.jsonl")) == 2
    assert outcome_of(tmp_path).ok
    outcome = outcome_of(tmp_path, tmp_path / "log-heads.jsonl")
    assert outcome.problem == f"row {ROWS} does not match its saved checkpoint"


def outcome_of(folder: Path, checkpoints: Path | None = None) -> Verification:
    database = open_database(f"sqlite:///{folder / 'handrail.db'}")
    outcome = verify_log(database, read_checkpoints(checkpoints) if checkpoints else ())
    database.engine.dispose()
    return outcome


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
    log.execute(
        f"INSERT INTO disclosures ({names}) VALUES ({', '.join('?' * len(row))})",  # noqa: S608
        list(row.values()),
    )


def move(log: Log, first: int, by: int) -> None:
    """Renumber every row from `first` on."""
    log.execute("UPDATE disclosures SET seq = -(seq + ?) WHERE seq >= ?", (by, first))
    log.execute("UPDATE disclosures SET seq = -seq WHERE seq < 0")
