"""The contract of a connector, and the sink that it reads into.

A physical record (a line of CSV, a top-level XML element) ends in exactly one of four counts: kept,
quarantined, duplicate or ignored. A `RowSink` counts; `derive` adds rows that no single record
stands for (a calendar inferred from a term's dates) and counts nothing.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol, runtime_checkable

from records.canonical.quarantine import BadRow, Value
from records.connectors.profiles.profile import SourceProfile
from records.identity.aliases import KnownStudents
from records.system.errors import UserError
from records.system.progress import ProgressCallback


@dataclass
class FileCount:
    """What became of each physical record of one file.

    read = kept + quarantined + duplicates + ignored.
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
    """A file that the source should contain, and what stays empty without it."""

    file: str
    stays_empty: str


class RecordSink(Protocol):
    """Takes what is not a row: unreadable and ignored records, never-stored columns, notes."""

    def quarantine(self, row: BadRow) -> None: ...

    def ignore(self, file: str, kind: str) -> None: ...

    def drop_column(self, file: str, column: str, kind: str) -> None: ...

    def note(self, text: str) -> None: ...


class RowSink(RecordSink, Protocol):
    """Takes rows as well, one call for each physical record (except `derive`).

    `known_students` is what earlier loads settled of identifiers of students.
    """

    @property
    def known_students(self) -> KnownStudents: ...

    def same_students(self, aliases: Mapping[str, str]) -> None:
        """State every further identifier of a student in this source, with the student."""

    def passing_note(self, text: str) -> None:
        """Say something in the report alone, which may name students: it is not stored."""

    def keep(self, table: str, values: Mapping[str, Value], file: str, line: int) -> None: ...

    def derive(self, table: str, values: Mapping[str, Value], file: str, line: int) -> None: ...

    def use(self, file: str) -> None: ...

    def missing(self, file: str, stays_empty: str) -> None: ...

    def code(self, table: str, column: str, code: str, understood: bool) -> None:
        """Count a code that decides over rows of `table`, and whether anybody has explained it."""


class Connector(Protocol):
    """Reads one source into canonical tables.

    `tables` are those it replaces in a snapshot; all others stay as they are.
    """

    name: str
    tables: tuple[str, ...]

    def read(self, directory: Path, sink: RowSink, progress: ProgressCallback) -> None:
        """Read every file under `directory` into `sink`.

        Raises:
            SourceRefused: the folder has no files of this source, or one that must not be opened.
        """


@runtime_checkable
class PartnerConnector(Connector, Protocol):
    """Reads what partners report about their own work.

    With an `organization_id`, all of it belongs to that organization; with None, to several.
    """

    organization_id: str | None


@runtime_checkable
class ProfiledConnector(Connector, Protocol):
    """Reads a source whose own words a profile explains."""

    profile: SourceProfile


class ApiConnector(Connector, Protocol):
    """Reads one source behind an API: first into its mirror, then from the mirror."""

    def fetch(self, folder: Path, progress: ProgressCallback) -> None:
        """Bring the mirror in `folder` up to date: at first everything, later the changes.

        An interrupted fetch continues where it stopped. Nothing is written at the source.

        Raises:
            SourceUnavailable: the source does not answer now.
            SourceRefused: the source will not answer at all.
        """


class SourceRefused(UserError, ValueError):
    """A source that cannot be read; nothing was changed."""
