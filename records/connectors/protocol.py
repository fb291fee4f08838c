"""What every connector is given and must give back.

A physical record (a line of CSV, a top-level XML element) ends in exactly one of four counts: kept,
quarantined, duplicate or ignored. `RowSink` keeps that account; `derive` adds rows that no single
record stands for (a calendar worked out of a term's dates) and leaves the account alone.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol, runtime_checkable

from records.canonical.quarantine import BadRow, Value
from records.system.errors import UserError
from records.system.progress import ProgressCallback


@dataclass
class FileCount:
    """What became of each physical record of one file: read = kept + quarantined + duplicates +
    ignored.
    """

    file: str
    kept: int = 0
    quarantined: int = 0
    duplicates: int = 0
    ignored: int = 0
    ignored_kinds: dict[str, int] = field(default_factory=dict)

    @property
    def read(self) -> int:
        return self.kept + self.quarantined + self.duplicates + self.ignored


@dataclass(frozen=True)
class MissingFile:
    """A file that the source should have held, and what stays empty without it."""

    file: str
    stays_empty: str


class RecordSink(Protocol):
    """Takes what a file holds besides rows: lines that cannot be trusted, empty ones, columns that
    are never stored.
    """

    def quarantine(self, row: BadRow) -> None: ...

    def ignore(self, file: str, kind: str) -> None: ...

    def drop_column(self, file: str, column: str, kind: str) -> None: ...


class RowSink(RecordSink, Protocol):
    """Takes rows, one call a physical record (but for `derive` and `note`)."""

    def keep(self, table: str, values: Mapping[str, Value], file: str, line: int) -> None: ...

    def derive(self, table: str, values: Mapping[str, Value], file: str, line: int) -> None: ...

    def use(self, file: str) -> None: ...

    def missing(self, file: str, stays_empty: str) -> None: ...

    def note(self, text: str) -> None: ...


class Connector(Protocol):
    """Reads one source. `tables` are what it replaces in a snapshot; the other tables stay as they
    are.
    """

    name: str
    tables: tuple[str, ...]

    def read(self, directory: Path, sink: RowSink, progress: ProgressCallback) -> None:
        """Read every file under `directory` into `sink`.

        Raises:
            SourceRefused: the folder holds nothing of this source, or a file that must not be
                opened.
        """


@runtime_checkable
class PartnerConnector(Connector, Protocol):
    """Reads what partners report of their own work.

    With an `organization_id` everything that it brings is of that organisation; with None, of
    several.
    """

    organization_id: str | None


class ApiConnector(Connector, Protocol):
    """Reads one source behind an API: first into its mirror, then from there as any other connector
    reads a folder.
    """

    def fetch(self, folder: Path, progress: ProgressCallback) -> None:
        """Bring the mirror in `folder` up to date: all of it at first, later what has changed
        since.

        A fetch that was cut short goes on where it stopped. Nothing is written at the source.

        Raises:
            SourceRefused: the source will not answer; SourceUnavailable: not now.
        """


class SourceRefused(UserError, ValueError):
    """A source that cannot be read at all; nothing was changed."""
