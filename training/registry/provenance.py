"""What a model is made from: hashes of records, feature catalog, outcome and code.

Two trainings with equal provenance and parameters give equal models, so a nightly one may be
skipped.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from importlib.metadata import version as installed_version
from pathlib import Path

from features.catalog import catalog_hash
from records.snapshots.snapshot import Snapshot
from training.episodes.outcome import OutcomeDefinition

_ROOT = Path(__file__).parents[2]
_ROOMS = ("records", "features", "training")
"""The packages whose code decides what is trained."""


@dataclass(frozen=True)
class Provenance:
    """Hashes and versions of a model's inputs.

    `commit` is that of the checkout that the code runs from, empty without one; `source` is a
    digest of the code itself, so that changes since the commit count too.
    """

    snapshot: str
    snapshot_manifest: str
    catalog: str
    outcome: str
    version: str
    commit: str
    source: str


def current_provenance(snapshot: Snapshot, outcome: OutcomeDefinition) -> Provenance:
    """The provenance of a model of this snapshot and outcome, trained now by this code."""
    manifest = hashlib.sha256((snapshot.path / "manifest.json").read_bytes()).hexdigest()
    return Provenance(
        snapshot.id,
        manifest,
        catalog_hash(),
        outcome.sha256,
        installed_version("handrail"),
        git_commit(_ROOT),
        _source_digest(),
    )


def git_commit(checkout: Path) -> str:
    """The commit of a checkout, read from git's own files (git need not be installed), or ""."""
    folder = checkout / ".git"
    try:
        if folder.is_file():
            folder = (checkout / folder.read_text().removeprefix("gitdir:").strip()).resolve()
        head = (folder / "HEAD").read_text().strip()
        return _ref(folder, head.removeprefix("ref:").strip()) if head.startswith("ref:") else head
    except OSError:
        return ""


def _ref(folder: Path, name: str) -> str:
    """The commit of a branch; those of a linked work tree lie where its `commondir` points."""
    shared = folder / "commondir"
    common = (folder / shared.read_text().strip()).resolve() if shared.exists() else folder
    if (common / name).exists():
        return (common / name).read_text().strip()
    packed = [line.split() for line in (common / "packed-refs").read_text().splitlines()]
    return next((parts[0] for parts in packed if parts[1:] == [name]), "")


def _source_digest() -> str:
    digest = hashlib.sha256()
    for room in _ROOMS:
        for file in sorted((_ROOT / room).rglob("*.py")):
            digest.update(str(file.relative_to(_ROOT)).encode() + b"\0" + file.read_bytes())
    return digest.hexdigest()
