"""What a model is made from: the records, the catalog of features, the outcome and the code, each
by its hash.

Two trainings of one origin with the same parameters give the same model, so that a nightly one has
nothing to do.
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
"""The rooms whose code decides what is learned."""


@dataclass(frozen=True)
class Provenance:
    """`git_commit` is that of the checkout that the code runs from, empty where it runs from none;
    `source` is a digest of the code itself, which also tells what was changed since the commit.
    """

    snapshot: str
    snapshot_manifest: str
    catalog: str
    outcome: str
    version: str
    commit: str
    source: str


def current_provenance(snapshot: Snapshot, outcome: OutcomeDefinition) -> Provenance:
    """What a model of this snapshot and outcome, learned now by this code, is made from."""
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
    """The commit that a checkout stands on, read from git's own files, so that git need not be
    installed; else "".
    """
    folder = checkout / ".git"
    try:
        if folder.is_file():
            folder = (checkout / folder.read_text().removeprefix("gitdir:").strip()).resolve()
        head = (folder / "HEAD").read_text().strip()
        return _ref(folder, head.removeprefix("ref:").strip()) if head.startswith("ref:") else head
    except OSError:
        return ""


def _ref(folder: Path, name: str) -> str:
    """The commit of a branch. A linked work tree's branches lie in the folder that its `commondir`
    names.
    """
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
