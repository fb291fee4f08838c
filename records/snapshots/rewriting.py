"""Rewriting the current snapshot without one student, when their records are destroyed.

Their rows are left out, those that wait for them too; quarantined rows that mention them are
blanked but still counted, and every older snapshot is deleted.
"""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from records.canonical.schema import TABLES
from records.snapshots.snapshot import Snapshot
from records.snapshots.staging import (
    DESTROYED,
    QUARANTINE_SCHEMA,
    activate,
    file_sha256,
    manifest_digest,
    staging_folder,
)
from records.snapshots.waiting_rows import waiting_counts, waiting_files


@dataclass(frozen=True)
class RewriteResult:
    """What `rewrite_without_student` did.

    `rows` of tables were left out and `waiting` ones that waited for the student; `quarantined`
    rows were blanked, `older` snapshots were deleted.
    """

    snapshot_id: str
    rows: int
    waiting: int
    quarantined: int
    older: int


def rewrite_without_student(
    home: Path, student_id: str, *, publish: Callable[[Snapshot], None] = lambda snapshot: None
) -> RewriteResult:
    """Rewrite the current snapshot without one student, and delete every other snapshot.

    Args:
        publish: called with the new snapshot before it comes into use; if it raises, the old one
            stays.

    Raises:
        NoSnapshot: nothing is loaded.
        LoadInProgress: a load is running.
    """
    snapshots = home / "snapshots"
    Snapshot.current(home)  # raises before there is a folder to lock
    with staging_folder(snapshots) as staging:
        old = Snapshot.current(home)
        names = _names_of(old, student_id)
        rows = sum(
            _copy_without(old.path / f"{name}.parquet", staging, student_id)
            for name in TABLES
            if (old.path / f"{name}.parquet").exists()
        )
        waiting = sum(
            _copy_without(file, staging, student_id) for _, file in waiting_files(old.path)
        )
        for _, file in waiting_files(staging):
            if not pq.read_metadata(file).num_rows:
                file.unlink()
        waiting_rows, waiting_students = waiting_counts(staging)
        quarantined = _redact_student(old, staging, student_id, names)
        files = sorted(staging.glob("[a-z]*.parquet"))
        manifest = old.manifest | {
            "rows": {
                file.stem: pq.read_metadata(file).num_rows for file in files if file.stem in TABLES
            },
            "waiting": waiting_rows,
            "waiting_students": waiting_students,
            "hashes": {file.name: file_sha256(file) for file in files},
        }
        snapshot_id = manifest_digest(manifest)
        (staging / "manifest.json").write_text(json.dumps(manifest, indent=1, sort_keys=True))
        activate(staging, snapshots, snapshot_id, publish)
        older = [
            folder
            for folder in snapshots.iterdir()
            if folder.is_dir() and folder not in (staging, snapshots / snapshot_id)
        ]
        for folder in older:
            shutil.rmtree(folder)
    return RewriteResult(
        snapshot_id, rows, waiting, quarantined, len(older) - (snapshot_id != old.id)
    )


def count_quarantined_mentions(snapshot: Snapshot, student_id: str) -> int:
    """How many quarantined rows mention the student, by identifier or by first and last name."""
    names = _names_of(snapshot, student_id)
    return sum(
        _mentions_student(row, student_id, names) for row in snapshot.quarantined().to_pylist()
    )


def _names_of(snapshot: Snapshot, student_id: str) -> tuple[str, ...]:
    """First and last name, by which a damaged row may mention the student."""
    file = snapshot.path / "students.parquet"
    if not file.exists():
        return ()
    rows = pq.read_table(
        file, columns=["first_name", "last_name"], filters=[("student_id", "=", student_id)]
    )
    return tuple(name for row in rows.to_pylist() for name in row.values() if name)


def _copy_without(file: Path, staging: Path, student_id: str) -> int:
    """Copy a table without one student's rows, batch by batch; returns the number left out."""
    source = pq.ParquetFile(file)
    if "student_id" not in source.schema_arrow.names:
        shutil.copyfile(file, staging / file.name)
        return 0
    left_out = 0
    with pq.ParquetWriter(staging / file.name, source.schema_arrow) as writer:
        for batch in source.iter_batches():
            others = batch.filter(pc.not_equal(batch["student_id"], student_id))
            left_out += batch.num_rows - others.num_rows
            writer.write_batch(others)
    return left_out


def _mentions_student(row: Mapping[str, Any], student_id: str, names: tuple[str, ...]) -> bool:
    text = f"{row['raw']} {row['reason']}"
    identifier = rf"(?<![A-Za-z0-9]){re.escape(student_id)}(?![A-Za-z0-9])"
    has_both_names = len(names) == 2 and all(name in text for name in names)
    return has_both_names or re.search(identifier, text) is not None


def _redact_student(
    snapshot: Snapshot, staging: Path, student_id: str, names: tuple[str, ...]
) -> int:
    """Copy the quarantine, blanking rows that mention the student; returns how many."""
    blanked = 0
    rows = snapshot.quarantined().to_pylist()
    for row in rows:
        if _mentions_student(row, student_id, names):
            row |= {"raw": DESTROYED, "reason": "not loaded", "columns": ""}
            blanked += 1
    pq.write_table(
        pa.Table.from_pylist(rows, schema=QUARANTINE_SCHEMA), staging / "quarantine.parquet"
    )
    return blanked
