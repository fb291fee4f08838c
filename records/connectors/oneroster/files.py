"""OneRoster CSV, versions 1.0 to 1.2, with the district's extension files beside it.

An export is whole (bulk), or holds only what has changed since the one before (delta);
`manifest.csv` says which, file by file. Changes are applied to what is kept of earlier exports, cut
to the columns that are read, and a snapshot is made of the whole. An export that is not what its
manifest says is refused; so are changes with nothing to apply them to. What a record means is in
`oneroster_rules`. Source: 1EdTech OneRoster 1.1 and 1.2 CSV Tables, section on the manifest and on
bulk and delta processing.
"""

from __future__ import annotations

import hashlib
from collections.abc import Container, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from records.canonical.never_ingest import holds_ssn, redact
from records.canonical.quarantine import BadRow
from records.connectors.csv_files import CsvRecord, format_csv_line, read_csv
from records.connectors.http.mirror import Mirror, open_mirror
from records.connectors.oneroster.rules import (
    FILES,
    OneRosterNormalizer,
    is_deleted,
    required_columns,
)
from records.connectors.protocol import RecordSink, RowSink, SourceRefused
from records.system.progress import ProgressCallback

BULK, DELTA, ABSENT = "bulk", "delta", "absent"

_MANIFEST = "manifest.csv"
_VERSIONS = ("1.0", "1.1", "1.2")
_PAGE = 5_000
_EARLIER = "{} of earlier loads"
_RAW_NOT_KEPT = "[kept only by the load that read this line]"
_DESTROYED = "of a student whose records were destroyed"


@dataclass
class OneRosterFiles:
    """Connector for a folder of OneRoster CSV files.

    With `kept_in` it keeps what it reads in the mirror in that folder, so that a later export may
    be one of changes; without, it reads whole exports only, and faster.
    """

    kept_in: Path | None = None
    name: str = field(default="oneroster", init=False)
    tables: tuple[str, ...] = field(
        default=(
            "schools",
            "calendar",
            "students",
            "characteristics",
            "school_enrollments",
            "attendance_events",
            "course_grades",
            "gradebook_entries",
            "assessments",
            "behavior_incidents",
        ),
        init=False,
    )

    def read(self, directory: Path, sink: RowSink, progress: ProgressCallback) -> None:
        """Read every file that is known; name those that are missing and those that are not read.

        Raises:
            SourceRefused: there is no `users.csv`, a header lacks a column, the folder is not what
                its manifest says, or holds changes to something that was never loaded.
        """
        export = _Export.at(directory, sink, progress)
        if self.kept_in is None:
            export.refuse_changes()
            OneRosterNormalizer(_Folder(export, sink, progress), sink).run()
            return
        with open_mirror(self.kept_in) as mirror:
            OneRosterNormalizer(
                _Kept(mirror, _take(export, mirror, sink, progress), sink, progress), sink
            ).run()


@dataclass(frozen=True)
class _Export:
    """One folder, and what its manifest says of each file. Without a manifest it is whole."""

    directory: Path
    modes: Mapping[str, str]

    @classmethod
    def at(cls, directory: Path, sink: RowSink, progress: ProgressCallback) -> _Export:
        found = cls(directory, _read_manifest(directory / _MANIFEST, sink, progress))
        if not found.has("users.csv") and DELTA not in found.modes.values():
            raise SourceRefused(f"{directory} has no users.csv: it is not a OneRoster CSV folder")
        for file, mode in found.modes.items():
            present = (directory / file).is_file()
            if mode == ABSENT and present:
                sink.note(
                    f"{file} is there, but {_MANIFEST} says that it is absent: it was left alone"
                )
            if mode != ABSENT and not present and file in FILES:
                raise SourceRefused(
                    f"{_MANIFEST} says that {file} is {mode}, and it is not in {directory.name}:"
                    " the export is not whole"
                )
        for path in sorted(directory.glob("*.csv")):
            if (
                path.name not in FILES
                and path.name != _MANIFEST
                and found.modes.get(path.name) != ABSENT
            ):
                sink.note(f"{path.name} is not a file that this connector reads; it was left alone")
        return found

    @property
    def holds_changes(self) -> bool:
        return any(mode == DELTA for file, mode in self.modes.items() if file in FILES)

    def has(self, file: str) -> bool:
        return self.modes.get(file) != ABSENT and (self.directory / file).is_file()

    def is_delta(self, file: str) -> bool:
        return self.modes.get(file) == DELTA

    def refuse_changes(self) -> None:
        """Refuse an export of changes where nothing is kept that they could be applied to."""
        delta = next((file for file in FILES if self.is_delta(file)), None)
        if delta is not None:
            _refuse_delta(delta)

    def lines(
        self,
        file: str,
        required: tuple[str, ...],
        sink: RecordSink,
        progress: ProgressCallback,
        only: Container[str] | None = None,
    ) -> Iterator[CsvRecord]:
        return read_csv(self.directory / file, required, sink, progress, only)


def _refuse_delta(file: str) -> None:
    raise SourceRefused(
        f"{_MANIFEST} says that {file} holds only changes (delta), and no whole {file} is kept that"
        " they could be applied to: load a bulk export with --keep-for-changes first"
    )


def _read_manifest(path: Path, sink: RowSink, progress: ProgressCallback) -> dict[str, str]:
    modes: dict[str, str] = {}
    if not path.is_file():
        return modes
    for line in read_csv(path, (), sink, progress):
        name, value = (line.fields.get(column, "").strip() for column in ("propertyName", "value"))
        sink.ignore(_MANIFEST, f"a property of the export ({name})"[:60])
        if name == "oneroster.version" and value not in _VERSIONS:
            sink.note(
                f"{_MANIFEST} says version {value or '(none)'}; it was read as {_VERSIONS[-1]}"
            )
        if name.startswith("file."):
            modes[f"{name.removeprefix('file.')}.csv"] = mode = value.lower()
            if mode not in (BULK, DELTA, ABSENT):
                raise SourceRefused(
                    f"{_MANIFEST}, line {line.number}: {name} is {value!r}; it must be bulk, delta"
                    " or absent"
                )
    return modes


@dataclass
class _Folder:
    """The lines of a whole export, straight from its files."""

    export: _Export
    sink: RowSink
    progress: ProgressCallback
    only_students: bool = False

    def has(self, file: str) -> bool:
        return self.export.has(file)

    def called(self, file: str) -> str:
        return file

    def lines(self, file: str, required: tuple[str, ...]) -> Iterable[CsvRecord]:
        return self.export.lines(file, required, self.sink, self.progress) if self.has(file) else ()


def _take(
    export: _Export, mirror: Mirror, sink: RowSink, progress: ProgressCallback
) -> frozenset[str]:
    """Bring an export into the mirror, all of it or nothing; the files that it held."""
    taken = []
    with mirror.at_once():
        for file in FILES:
            if export.has(file):
                if export.is_delta(file) and not mirror.synced(file):
                    _refuse_delta(file)
                _Taking(mirror, file, sink).take(export, progress)
                taken.append(file)
            elif not export.holds_changes:
                mirror.begin(file, None, sweeps=True)
                mirror.finish(file, 0)
    return frozenset(taken)


class _Taking:
    """Brings one file into the mirror. Lines that cannot be read are kept too, as the places where
    they were.

    `number` counts the times that the file was taken: it tells the lines of this export from those
    of earlier ones.
    """

    def __init__(self, mirror: Mirror, file: str, sink: RowSink) -> None:
        self.mirror, self.file, self.sink = mirror, file, sink
        self.number = int(mirror.synced(file) or 0) + 1
        self.page: dict[str, dict[str, Any] | None] = {}
        self.kept = 0

    def take(self, export: _Export, progress: ProgressCallback) -> None:
        expected = FILES[self.file]
        required = required_columns(
            self.file, has_roles=export.has("roles.csv") or self._roles_are_kept()
        )
        self.mirror.begin(self.file, None, sweeps=not export.is_delta(self.file))
        for line in export.lines(
            self.file, required, self, progress, only=frozenset(expected.columns)
        ):
            fields = _redacted(line)
            if is_deleted(fields) and not expected.is_extension:
                self.sink.ignore(self.file, "deleted at the source")
                self._put(_identifier(self.file, line), None)
            else:
                self._put(
                    _identifier(self.file, line),
                    {"load": self.number, "line": line.number, "fields": fields},
                )
        self._write_page()
        for _ in range(self.kept - self.mirror.met(self.file)):
            self.sink.ignore(self.file, "said anew further down in the same file")
        self.mirror.finish(self.file, self.number)

    def quarantine(self, row: BadRow) -> None:
        self.sink.quarantine(row)
        said = hashlib.sha256(f"{row.line}\n{row.reason}\n{row.raw}".encode()).hexdigest()
        self._put(
            f"unread {said}",
            {"load": self.number, "line": row.line, "why": [row.column, row.reason]},
        )

    def ignore(self, file: str, kind: str) -> None:
        self.sink.ignore(file, kind)

    def drop_column(self, file: str, column: str, kind: str) -> None:
        self.sink.drop_column(file, column, kind)

    def _put(self, id_: str, body: dict[str, Any] | None) -> None:
        self.page[id_] = body
        self.kept += body is not None
        if len(self.page) == _PAGE:
            self._write_page()

    def _write_page(self) -> None:
        records = [(id_, body) for id_, body in self.page.items() if body is not None]
        deleted = [id_ for id_, body in self.page.items() if body is None]
        self.mirror.take_page(self.file, records, None, deleted=deleted)
        self.page = {}

    def _roles_are_kept(self) -> bool:
        return bool(self.mirror.synced("roles.csv"))


def _identifier(file: str, line: CsvRecord) -> str:
    """What a later line about the same thing has too; the place of the line where there is no such
    thing.
    """
    named = line.fields.get("sourcedId", "").strip()
    if file == "demographics.csv":
        named = named or line.fields.get("userSourcedId", "").strip()
    is_named = named and not FILES[file].is_extension and not holds_ssn(named)
    return named if is_named else f"line {line.number:012}"


def _redacted(line: CsvRecord) -> dict[str, str]:
    told = holds_ssn(line.raw)
    return {name: redact(text) if told else text for name, text in line.fields.items() if text}


@dataclass
class _Kept:
    """The lines of everything that the mirror holds. `taken` are the files of the export that was
    just brought in.
    """

    mirror: Mirror
    taken: frozenset[str]
    sink: RowSink
    progress: ProgressCallback
    only_students: bool = False

    def has(self, file: str) -> bool:
        return bool(self.mirror.synced(file))

    def called(self, file: str) -> str:
        return file

    def lines(self, file: str, required: tuple[str, ...]) -> Iterable[CsvRecord]:
        empty = dict.fromkeys(FILES[file].columns, "")
        total, now = (
            self.mirror.count(file),
            self.mirror.synced(file) if file in self.taken else None,
        )
        earlier, seen, seen_now = _EARLIER.format(file), 0, 0
        for kept in self.mirror.records(file):
            is_new = kept.body["load"] == now
            seen, seen_now = seen + 1, seen_now + is_new
            if "fields" in kept.body:
                fields = empty | kept.body["fields"]
                yield CsvRecord(
                    file if is_new else earlier,
                    kept.body["line"],
                    fields,
                    format_csv_line(fields.values()),
                    format_csv_line(fields) if is_new else "",
                )
            elif not is_new:
                column, reason = kept.body["why"]
                self.sink.quarantine(
                    BadRow(earlier, kept.body["line"], column, reason, _RAW_NOT_KEPT)
                )
            if seen % _PAGE == 0:
                self.progress(file, seen, total)
        met = self.mirror.met(file) if now else 0
        for name, missing in ((file, met - seen_now), (earlier, total - met - (seen - seen_now))):
            for _ in range(missing):
                self.sink.ignore(name, _DESTROYED)
        self.progress(file, total, max(total, 1))
