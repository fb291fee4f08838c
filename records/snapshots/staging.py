"""Writing a snapshot: one writer at a time, a folder of its own, and one pointer moved at the end.

A writer that is killed leaves the old snapshot serving.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import shutil
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pyarrow as pa

from records.snapshots.snapshot import Snapshot
from records.system.errors import UserError

QUARANTINE_SCHEMA = pa.schema(
    [
        ("source", pa.string()),
        ("organization_id", pa.string()),
        ("file", pa.string()),
        ("line", pa.int64()),
        ("column", pa.string()),
        ("reason", pa.string()),
        ("raw", pa.string()),
        ("columns", pa.string()),
    ]
)


DESTROYED = "[destroyed with a student's records]"


class LoadInProgress(UserError, RuntimeError):
    """Another load holds the lock."""


@contextmanager
def staging_folder(snapshots: Path) -> Iterator[Path]:
    """Be the only one who writes snapshots, with an empty folder to write in, which is gone
    afterwards.
    """
    with (snapshots / ".lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise LoadInProgress(
                f"another load is writing to {snapshots}; try again when it has ended"
            ) from None
        staging = snapshots / ".staging"
        shutil.rmtree(staging, ignore_errors=True)
        staging.mkdir()
        try:
            yield staging
        finally:
            shutil.rmtree(staging, ignore_errors=True)


def activate(
    staging: Path,
    snapshots: Path,
    snapshot_id: str,
    publish: Callable[[Snapshot], None] = lambda snapshot: None,
) -> bool:
    """Make a whole snapshot in `staging` the one that serves; False where it served already.

    Args:
        publish: called with the snapshot before the pointer moves; should it raise, the old one
            stays.
    """
    target = snapshots / snapshot_id
    pointer = snapshots / "CURRENT"
    for file in staging.iterdir():
        _fsync_path(file)
    if not target.exists():
        staging.rename(target)
    _fsync_path(snapshots)
    publish(Snapshot(snapshot_id, target))
    changed = not pointer.exists() or pointer.read_text().strip() != snapshot_id
    if changed:
        fresh = snapshots / ".CURRENT.new"
        fresh.write_text(snapshot_id + "\n")
        _fsync_path(fresh)
        fresh.replace(pointer)
        _fsync_path(snapshots)
    return changed


def _fsync_path(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def file_sha256(file: Path) -> str:
    with file.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def manifest_digest(manifest: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps(manifest, sort_keys=True).encode()).hexdigest()[:20]
