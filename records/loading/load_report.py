"""What one load read, kept, and left out."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from records.connectors.protocol import FileCount, MissingFile

MAX_CODES_NOT_UNDERSTOOD = 0.02
"""Share of a column's codes that may go unexplained: at an ordinary 6% of days missed, that is one
day in a thousand."""


@dataclass
class CodeCounts:
    """How many codes of one column were understood; `codes` are those that were not, with counts.

    `table` is the canonical table over whose rows they decide.

    The fields are keys of a snapshot's manifest.
    """

    table: str
    understood: int = 0
    not_understood: int = 0
    codes: dict[str, int] = field(default_factory=dict)

    @property
    def share_not_understood(self) -> float:
        """Share of the column's codes, 0 to 1."""
        total = self.understood + self.not_understood
        return self.not_understood / total if total else 0.0

    @property
    def is_too_little_understood(self) -> bool:
        """Whether what the rows say of a student cannot be relied on."""
        return self.share_not_understood > MAX_CODES_NOT_UNDERSTOOD


@dataclass
class LoadReport:
    """What a load read, kept and left out.

    For every file read = kept + quarantined + duplicates + ignored.

    `organization_id` is the partner whose files these were, None for a source that reports on no
    single partner. `organizations` are those whose programs and services this source brought, and
    `of_partners` says whether these were partners' own files. `not_brought` are the tables of the
    source that stay as an earlier load brought them, each with the missing files it needs, and
    `columns_not_brought` the columns of other tables that do, each with its missing file. `codes`
    are the codes that the source profile explains, by column, and `profile` is that profile: its
    `digest` with the words of the standard, and the `text` of the district's own file, empty where
    there is none. It is empty for a source without a profile. `rows` counts the rows of each table
    of the new snapshot, `waiting` those that wait for their student, and `waiting_students` these
    students. The fields are keys of a snapshot's manifest.
    """

    source: str
    organization_id: str | None = None
    organizations: list[str] = field(default_factory=list)
    of_partners: bool = False
    snapshot_id: str = ""
    changed: bool = False
    files: list[FileCount] = field(default_factory=list)
    missing: list[MissingFile] = field(default_factory=list)
    not_brought: dict[str, list[str]] = field(default_factory=dict)
    columns_not_brought: dict[str, dict[str, str]] = field(default_factory=dict)
    dropped_columns: list[dict[str, str]] = field(default_factory=list)
    codes: dict[str, CodeCounts] = field(default_factory=dict)
    profile: dict[str, str] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    rows: dict[str, int] = field(default_factory=dict)
    waiting: dict[str, int] = field(default_factory=dict)
    waiting_students: dict[str, int] = field(default_factory=dict)

    def to_dict(self) -> dict[str, Any]:
        """The report as a manifest stores it, with what was read of each file."""
        files = [asdict(count) | {"read": count.read} for count in self.files]
        return asdict(self) | {"files": files}


def source_key(report: Mapping[str, Any]) -> str:
    """What distinguishes a source from the others: its connector and the partner, as one text.

    Args:
        report: a load report as a manifest stores it.
    """
    return f"{report['source']}\n{report.get('organization_id') or ''}"
