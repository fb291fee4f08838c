"""What every store holds of one student: counted before anything is destroyed.

Counting first means that a destruction that is interrupted loses no count. Nothing is changed here.
"""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
from sqlalchemy import func, select
from sqlalchemy.orm import Session

from records.canonical.schema import TABLES
from records.connectors.http.mirror import open_mirror
from records.database.engine import Database
from records.database.tables import (
    ConsentRow,
    DecisionRow,
    EmergencyRow,
    ImpressionRow,
    LegalDemandRow,
    LegalHoldRow,
    LogStudentRow,
    MovedStudentRow,
    OptOutRow,
    ParticipantCandidateRow,
    ParticipantRow,
    ReferralRow,
    ReferralStepRow,
    StudentAliasRow,
)
from records.snapshots.rewriting import count_quarantined_mentions
from records.snapshots.snapshot import NoSnapshot, Snapshot
from records.snapshots.waiting_rows import waiting_files

DERIVED_FOLDERS = ("features",)
"""Folders of a home whose files are computed from records, and computed again when needed."""

STUDENT_ROWS = (
    ReferralStepRow,
    ReferralRow,
    ConsentRow,
    OptOutRow,
    DecisionRow,
    ImpressionRow,
    EmergencyRow,
    LegalHoldRow,
    ParticipantCandidateRow,
    ParticipantRow,
    StudentAliasRow,
    MovedStudentRow,
)
"""Tables of the database whose rows are deleted with the student, those that refer to others
first."""

_STUDENT_TABLES = frozenset(name for name, canonical in TABLES.items() if canonical.is_student)


@dataclass(frozen=True)
class RemovedItems:
    """What was removed from one store. `items` counts rows or files; `how` says what was done."""

    store: str
    items: int
    how: str


def holds_student(database: Database, home: Path, student_id: str) -> bool:
    """Whether any store holds the student."""
    if any(
        _count_rows(folder, student_id, ["students"]) or _count_waiting(folder, student_id)
        for folder in _snapshot_folders(home)
    ):
        return True
    with database.session() as session:
        if any(
            _count(session, row, student_id)
            for row in (*STUDENT_ROWS, LegalDemandRow, LogStudentRow)
        ):
            return True
    return any(_count_in_mirrors(home, student_id).values())


def take_inventory(database: Database, home: Path, student_id: str) -> list[RemovedItems]:
    """What every store holds of the student and is about to lose, in the order of removal."""
    items = _in_snapshots(home, student_id)
    items += [
        RemovedItems(f"mirror of {source}", records, "records deleted")
        for source, records in _count_in_mirrors(home, student_id).items()
    ]
    return items + derived_items(home) + _in_database(database, student_id)


def derived_items(home: Path) -> list[RemovedItems]:
    """The files in each of `DERIVED_FOLDERS`, whoever they are about."""
    return [
        RemovedItems(
            name,
            sum(file.is_file() for file in (home / name).rglob("*")),
            "files deleted; rebuilt from the remaining records",
        )
        for name in DERIVED_FOLDERS
    ]


def _in_snapshots(home: Path, student_id: str) -> list[RemovedItems]:
    with suppress(NoSnapshot):
        current = Snapshot.current(home)
        older = [folder for folder in _snapshot_folders(home) if folder != current.path]
        return [
            RemovedItems(
                "snapshot",
                _count_rows(current.path, student_id, TABLES),
                f"{current.id} rewritten without them",
            ),
            RemovedItems(
                "waiting rows",
                _count_waiting(current.path, student_id),
                "rows that waited for the student to be in the roster: left out",
            ),
            RemovedItems(
                "quarantine",
                count_quarantined_mentions(current, student_id),
                "quarantined rows stay counted; their content was struck out",
            ),
            RemovedItems("older snapshots", len(older), "folders deleted"),
        ]
    return []


def _in_database(database: Database, student_id: str) -> list[RemovedItems]:
    with database.session() as session:
        return [
            *(
                RemovedItems(row.__tablename__, _count(session, row, student_id), "rows deleted")
                for row in STUDENT_ROWS
            ),
            RemovedItems(
                LegalDemandRow.__tablename__,
                _count(session, LegalDemandRow, student_id),
                "the register stays; the student's identity was removed",
            ),
            RemovedItems(
                "disclosures",
                _count(session, LogStudentRow, student_id),
                "the log stays intact; the student's identity was removed",
            ),
        ]


def _snapshot_folders(home: Path) -> list[Path]:
    """Every complete snapshot: what a load is writing, or was when it was killed, is none."""
    return sorted((home / "snapshots").glob("[0-9a-f]*/"))


def _count_rows(folder: Path, student_id: str, tables: Iterable[str]) -> int:
    """The student's rows in these tables of one snapshot."""
    files = [folder / f"{name}.parquet" for name in tables if name in _STUDENT_TABLES]
    return _count_in_files(files, student_id)


def _count_waiting(folder: Path, student_id: str) -> int:
    """The rows of one snapshot that wait for the student."""
    return _count_in_files((file for _, file in waiting_files(folder)), student_id)


def _count_in_files(files: Iterable[Path], student_id: str) -> int:
    return sum(
        pq.read_table(
            file, columns=["student_id"], filters=[("student_id", "=", student_id)]
        ).num_rows
        for file in files
        if file.exists()
    )


def _count(session: Session, row: Any, student_id: str) -> int:
    query = select(func.count()).select_from(row).where(row.student_id == student_id)
    return session.scalar(query) or 0


def _count_in_mirrors(home: Path, student_id: str) -> dict[str, int]:
    """How many records of each source's mirror name the student, by source."""
    counts = {}
    for folder in sorted((home / "sources").glob("*/")):
        with open_mirror(folder) as mirror:
            counts[folder.name] = mirror.holds(student_id)
    return counts
