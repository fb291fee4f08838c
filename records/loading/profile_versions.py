"""By which version of its profile each source was loaded, and whether that has changed since."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from records.connectors.profiles.profile import ProfileError, read_profile
from records.snapshots.snapshot import Snapshot

_SHOWN = 12
"""Digits of a digest that are shown: enough to tell versions apart."""


@dataclass(frozen=True)
class ProfileVersion:
    """The profile of a source as it was at its last load; `change` is empty where it still is."""

    source: str
    digest: str
    has_own: bool
    change: str

    @property
    def short_digest(self) -> str:
        """As much of the digest as is shown."""
        return self.digest[:_SHOWN]

    @property
    def words(self) -> str:
        """A sentence about the version, without its full stop."""
        own = f"profiles/{profile_name(self.source)}.toml" if self.has_own else "no file of its own"
        return f"{self.source} was read by profile version {self.short_digest} ({own})"


def profile_name(source: str) -> str:
    """The name of a source's profile, which is one whether it comes as files or by an API."""
    return source.removesuffix("-api")


def profile_versions(snapshot: Snapshot, home: Path) -> list[ProfileVersion]:
    """The profile of each source of a snapshot, in their order.

    A source that was loaded before versions were kept is left out.

    Args:
        home: the district's folder, with its profiles as they are now.
    """
    return [
        ProfileVersion(
            report["source"],
            report["profile"]["digest"],
            bool(report["profile"]["text"]),
            _change(report["source"], report["profile"], home),
        )
        for report in snapshot.manifest["sources"]
        if report.get("profile")
    ]


def _change(source: str, loaded: dict[str, str], home: Path) -> str:
    name = profile_name(source)
    try:
        now = read_profile(name, home)
    except ProfileError as error:
        return f"{error}: it cannot be used for the next load"
    if now.digest == loaded["digest"]:
        return ""
    what = f"profiles/{name}.toml"
    if now.text == loaded["text"]:
        what = f"what Handrail itself knows of the words of {name}"
    return f"{what} changed since the last load: load again"
