"""Writing a snapshot: one writer at a time, in a folder of its own, activated at the end.

Activation replaces the file `CURRENT` atomically, so a writer that is killed leaves the old
snapshot in use. A second writer is refused.
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

from records.canonical.supports import SupportCatalog
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
"""Replaces the text of a quarantined row that mentioned a destroyed student. Stored: keep it."""


class LoadInProgress(UserError, RuntimeError):
    """Another load or destruction is writing a snapshot."""


@contextmanager
def staging_folder(snapshots: Path) -> Iterator[Path]:
    """Hold the lock on snapshots, with an empty folder to write in that is removed afterwards.

    Raises:
        LoadInProgress: another process holds the lock.
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
    """Make the finished snapshot in `staging` the current one; False if it already was.

    Args:
        snapshot_id: the digest of its manifest.
        publish: called with the snapshot before `CURRENT` changes; if it raises, the old snapshot
            stays in use.

    Raises:
        SupportsError: the district's list of supports cannot be used.
    """
    supports = SupportCatalog.of(snapshots.parent)
    target = snapshots / snapshot_id
    pointer = snapshots / "CURRENT"
    for file in staging.iterdir():
        _fsync_path(file)
    if not target.exists():
        staging.rename(target)
    _fsync_path(snapshots)
    publish(Snapshot(snapshot_id, target, supports))
    changed = not pointer.exists() or pointer.read_text().strip() != snapshot_id
    if changed:
        new_pointer = snapshots / ".CURRENT.new"
        new_pointer.write_text(snapshot_id + "\n")
        _fsync_path(new_pointer)
        new_pointer.replace(pointer)
        _fsync_path(snapshots)
    return changed


def file_sha256(file: Path) -> str:
    """The SHA-256 of a file's bytes, in hexadecimal digits."""
    with file.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def manifest_digest(manifest: Mapping[str, Any]) -> str:
    """The identifier of the snapshot with this manifest: 20 hexadecimal digits of its SHA-256."""
    return hashlib.sha256(json.dumps(manifest, sort_keys=True).encode()).hexdigest()[:20]


def _fsync_path(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
