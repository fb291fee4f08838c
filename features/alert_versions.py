"""The versions of the alert rules that have been in force, kept in the district's home.

Whatever rests on alerts, a load, an audit, a signature or a page, notes the version it finds. So
the list says of any day which rules a caseworker read, and the text of each version stays.
"""

from __future__ import annotations

import csv
import io
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from features.alerts import AlertRules, version_of
from features.declarations import DeclarationError
from records.system.files import write_atomic

FOLDER = "alert_rules"
HISTORY = "in_force.csv"
BUILT_IN, OWN = "built in", "the district's own"
_COLUMNS = ("since", "version", "origin")


@dataclass(frozen=True)
class VersionInForce:
    """A version of the rules and when it was first found in force.

    Attributes:
        version: the first characters of the SHA-256 of its text.
        origin: `BUILT_IN` or `OWN`.
    """

    since: datetime
    version: str
    origin: str


def keep_version(home: Path, rules: AlertRules, at: datetime) -> VersionInForce:
    """Keep the text of the rules and note since when they are in force, if that is not known yet.

    Returns:
        The version and since when it is in force.

    Raises:
        OSError: it cannot be written.
    """
    keep_text(home, rules.content)
    known = versions_in_force(home)
    if known and known[-1].version == rules.version:
        return known[-1]
    new = VersionInForce(at, rules.version, BUILT_IN if rules.is_built_in else OWN)
    lines = io.StringIO()
    writer = csv.writer(lines, lineterminator="\n")
    writer.writerow(_COLUMNS)
    for entry in (*known, new):
        writer.writerow((entry.since.isoformat(), entry.version, entry.origin))
    write_atomic(home / FOLDER / HISTORY, lines.getvalue())
    return new


def keep_text(home: Path, content: bytes) -> Path:
    """Keep the text of rules, in force or not, under its digest; returns the file.

    Raises:
        OSError: it cannot be written.
    """
    file = version_file(home, version_of(content))
    return file if file.exists() else write_atomic(file, content)


def versions_in_force(home: Path) -> tuple[VersionInForce, ...]:
    """Every version that was found in force, the oldest first; one may come back."""
    file = home / FOLDER / HISTORY
    if not file.exists():
        return ()
    with file.open(encoding="utf-8", newline="") as lines:
        return tuple(
            VersionInForce(datetime.fromisoformat(row["since"]), row["version"], row["origin"])
            for row in csv.DictReader(lines)
        )


def kept_rules(home: Path, sha256: str) -> AlertRules | None:
    """The rules by the digest of what they say (`AlertRules.sha256`); None where no text of them is
    kept, or the code that applies them is another now.
    """
    for entry in versions_in_force(home):
        try:
            rules = AlertRules.read(version_file(home, entry.version))
        except DeclarationError:
            continue
        if rules.sha256 == sha256:
            return rules
    return None


def version_file(home: Path, version: str) -> Path:
    """Where the text of a version is kept."""
    return home / FOLDER / f"{version}.toml"
