"""OneRoster CSV, versions 1.0 to 1.2, with the district's extension files beside it.

An export is complete (bulk), or holds only what has changed since the one before (delta);
`manifest.csv` says which, file by file. Changes are applied to the mirror of earlier exports, which
stores only the columns that are read, and a snapshot is made of the result. An export that is not
what its manifest says is refused; so is a delta with nothing to apply it to. What a record means is
in `oneroster/rules.py`. Source: 1EdTech OneRoster 1.1 and 1.2 CSV Tables, section on the manifest
and on bulk and delta processing.
"""

from __future__ import annotations

import hashlib
from collections.abc import Container, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from records.canonical.never_ingest import holds_ssn, redact
from records.canonical.quarantine import BadRow
from records.connectors.csv_files import (
    CsvRecord,
    format_csv_line,
    has_rows,
    iter_readable_rows,
    read_csv,
)
from records.connectors.file_names import files_by_name, plain_name
from records.connectors.http.mirror import Mirror, open_mirror
from records.connectors.oneroster.rules import (
    FILES,
    OneRosterNormalizer,
    is_deleted,
    required_columns,
)
from records.connectors.profiles.profile import SourceProfile, standard_profile
from records.connectors.protocol import RecordSink, RowSink, SourceRefused
from records.system.progress import ProgressCallback

BULK, DELTA, ABSENT = "bulk", "delta", "absent"

_MANIFEST = "manifest.csv"
_VERSIONS = ("1.0", "1.1", "1.2")
_PAGE_SIZE = 5_000
_EARLIER_LOADS = "{} of earlier loads"
_RAW_OF_EARLIER_LOAD = "[kept only by the load that read this line]"
_STUDENT_DESTROYED = "of a student whose records were destroyed"


@dataclass
class OneRosterFiles:
    """Connector for a folder of OneRoster CSV files.

    With a `mirror_folder` what it reads is kept in the mirror there, so that a later export may be
    a delta; without, it reads bulk exports only, and faster.
    """

    mirror_folder: Path | None = None
    profile: SourceProfile = field(default_factory=lambda: standard_profile("oneroster"))
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
        """Read every known file; report those that are missing and those that are not read.

        Raises:
            SourceRefused: there is no `users.csv`, a header lacks a column, the folder is not what
                its manifest says, or holds changes to something that was never loaded.
        """
        export = _Export.at(directory, sink, progress)
        if self.mirror_folder is None:
            export.refuse_changes()
            OneRosterNormalizer(_FolderSource(export, sink, progress), sink, self.profile).run()
            return
        with open_mirror(self.mirror_folder) as mirror:
            OneRosterNormalizer(
                _MirrorSource(
                    mirror, _bring_into_mirror(export, mirror, sink, progress), sink, progress
                ),
                sink,
                self.profile,
            ).run()


@dataclass(frozen=True)
class _Export:
    """One folder, and what its manifest says about each file; without a manifest, bulk."""

    directory: Path
    files: Mapping[str, Path]
    modes: Mapping[str, str]

    @classmethod
    def at(cls, directory: Path, sink: RowSink, progress: ProgressCallback) -> _Export:
        files = files_by_name(directory, (*FILES, _MANIFEST))
        manifest = files.pop(_MANIFEST, None)
        modes = _read_manifest(manifest, files, sink, progress) if manifest is not None else {}
        export = cls(directory, files, modes)
        if not export.has("users.csv") and DELTA not in export.modes.values():
            raise SourceRefused(f"{directory} has no users.csv: it is not a OneRoster CSV folder")
        for file, mode in export.modes.items():
            if mode == ABSENT and file in export.files:
                sink.note(
                    f"{export.name_of(file)} is there, but {_MANIFEST} says that it is absent: it"
                    " was left alone"
                )
            if mode != ABSENT and file not in export.files and file in FILES:
                raise SourceRefused(
                    f"{_MANIFEST} says that {file} is {mode}, and it is not in {directory.name}:"
                    " the export is not whole"
                )
        for name, path in export.files.items():
            is_unknown = name not in FILES and path.suffix.casefold() == ".csv"
            if is_unknown and export.modes.get(name) != ABSENT:
                sink.note(f"{path.name} is not a file that this connector reads; it was left alone")
        return export

    @property
    def holds_changes(self) -> bool:
        return any(mode == DELTA for file, mode in self.modes.items() if file in FILES)

    def has(self, file: str) -> bool:
        return self.modes.get(file) != ABSENT and file in self.files

    def name_of(self, file: str) -> str:
        """The name of a file as the folder writes it."""
        path = self.files.get(file)
        return file if path is None else path.name

    def is_delta(self, file: str) -> bool:
        return self.modes.get(file) == DELTA

    def refuse_changes(self) -> None:
        """Refuse a delta export where nothing is kept that it could be applied to."""
        delta = next((file for file in FILES if self.is_delta(file)), None)
        if delta is not None:
            _refuse_delta(delta)

    def lines(
        self,
        file: str,
        required: tuple[str, ...],
        sink: RecordSink,
        progress: ProgressCallback,
        allowed_columns: Container[str] | None = None,
    ) -> Iterator[CsvRecord]:
        return read_csv(
            self.files[file],
            required,
            sink,
            progress,
            allowed_columns,
            known_columns=FILES[file].columns,
        )


def system_named(directory: Path) -> str:
    """The system that an export says it comes from (`source.systemName`); empty if it says none."""
    manifest = files_by_name(directory, (_MANIFEST,)).get(_MANIFEST)
    if manifest is None:
        return ""
    rows = iter_readable_rows(manifest, ("propertyName", "value"))
    properties = {row[0].strip().casefold(): row[1].strip() for row in rows if len(row) > 1}
    return properties.get("source.systemname") or properties.get("source.systemcode") or ""


def _refuse_delta(file: str) -> None:
    raise SourceRefused(
        f"{_MANIFEST} says that {file} holds only changes (delta), and no whole {file} is kept that"
        " they could be applied to: load a bulk export with --keep-for-changes first"
    )


def _read_manifest(
    path: Path, files: Mapping[str, Path], sink: RowSink, progress: ProgressCallback
) -> dict[str, str]:
    """The mode of each file that a manifest names; a mode that is left empty says nothing."""
    modes: dict[str, str] = {}
    names = {plain_name(file): file for file in (*FILES, *files)}
    for record in read_csv(path, (), sink, progress, known_columns=("propertyName", "value")):
        stated, value = (
            record.fields.get(column, "").strip() for column in ("propertyName", "value")
        )
        sink.ignore(path.name, f"a property of the export ({stated})"[:60])
        name = stated.casefold()
        if name == "oneroster.version" and value not in _VERSIONS:
            sink.note(
                f"{_MANIFEST} says version {value or '(none)'}; it was read as {_VERSIONS[-1]}"
            )
        if name.startswith("file.") and value:
            file = f"{name.removeprefix('file.').removesuffix('.csv')}.csv"
            modes[names.get(plain_name(file), file)] = mode = value.lower()
            if mode not in (BULK, DELTA, ABSENT):
                raise SourceRefused(
                    f"{path.name}, line {record.line_number}: {stated} is {value!r}; it must be"
                    " bulk, delta or absent"
                )
    return modes


@dataclass
class _FolderSource:
    """The records of a bulk export, straight from its files."""

    export: _Export
    sink: RowSink
    progress: ProgressCallback
    has_students_only: bool = False

    def has(self, file: str) -> bool:
        return self.export.has(file)

    def display_name(self, file: str) -> str:
        return self.export.name_of(file)

    def is_empty(self, file: str) -> bool:
        return self.has(file) and not has_rows(
            self.export.files[file], known_columns=FILES[file].columns
        )

    def lines(self, file: str, required: tuple[str, ...]) -> Iterable[CsvRecord]:
        return self.export.lines(file, required, self.sink, self.progress) if self.has(file) else ()


def _bring_into_mirror(
    export: _Export, mirror: Mirror, sink: RowSink, progress: ProgressCallback
) -> dict[str, str]:
    """Bring an export into the mirror, all of it or nothing.

    Returns:
        The files that it contained, each with its name there.
    """
    updated = {}
    with mirror.single_transaction():
        for file in FILES:
            if export.has(file):
                if export.is_delta(file) and not mirror.sync_state(file):
                    _refuse_delta(file)
                _FileUpdate(mirror, file, export.name_of(file), sink).apply(export, progress)
                updated[file] = export.name_of(file)
            elif not export.holds_changes:
                mirror.begin(file, None, sweeps=True)
                mirror.finish(file, 0)
    return updated


class _FileUpdate:
    """Brings one file into the mirror.

    A line that cannot be read is stored as a placeholder with its line number and reason.
    `load_number` counts the loads of this file: it tells the lines of this export from earlier
    ones.
    """

    def __init__(self, mirror: Mirror, file: str, name: str, sink: RowSink) -> None:
        self.mirror, self.file, self.name, self.sink = mirror, file, name, sink
        self.load_number = int(mirror.sync_state(file) or 0) + 1
        self.page: dict[str, dict[str, Any] | None] = {}
        self.stored = 0

    def apply(self, export: _Export, progress: ProgressCallback) -> None:
        expected = FILES[self.file]
        required = required_columns(
            self.file, has_roles=export.has("roles.csv") or self._mirror_has_roles()
        )
        self.mirror.begin(self.file, None, sweeps=not export.is_delta(self.file))
        for record in export.lines(
            self.file, required, self, progress, allowed_columns=frozenset(expected.columns)
        ):
            fields = _redacted(record)
            if is_deleted(fields) and not expected.is_extension:
                self.sink.ignore(self.name, "deleted at the source")
                self._put(_record_id(self.file, record), None)
            else:
                self._put(
                    _record_id(self.file, record),
                    {"load": self.load_number, "line": record.line_number, "fields": fields},
                )
        self._write_page()
        for _ in range(self.stored - self.mirror.count_seen(self.file)):
            self.sink.ignore(self.name, "said anew further down in the same file")
        self.mirror.finish(self.file, self.load_number)

    def quarantine(self, row: BadRow) -> None:
        self.sink.quarantine(row)
        digest = hashlib.sha256(f"{row.line}\n{row.reason}\n{row.raw}".encode()).hexdigest()
        self._put(
            f"unread {digest}",
            {"load": self.load_number, "line": row.line, "why": [row.column, row.reason]},
        )

    def ignore(self, file: str, kind: str) -> None:
        self.sink.ignore(file, kind)

    def drop_column(self, file: str, column: str, kind: str) -> None:
        self.sink.drop_column(file, column, kind)

    def note(self, text: str) -> None:
        self.sink.note(text)

    def _put(self, id_: str, body: dict[str, Any] | None) -> None:
        self.page[id_] = body
        self.stored += body is not None
        if len(self.page) == _PAGE_SIZE:
            self._write_page()

    def _write_page(self) -> None:
        records = [(id_, body) for id_, body in self.page.items() if body is not None]
        deleted = [id_ for id_, body in self.page.items() if body is None]
        self.mirror.take_page(self.file, records, None, deleted=deleted)
        self.page = {}

    def _mirror_has_roles(self) -> bool:
        return bool(self.mirror.sync_state("roles.csv"))


def _record_id(file: str, record: CsvRecord) -> str:
    """The identifier that a later line about this record has too, or else its position."""
    source_id = record.fields.get("sourcedId", "").strip()
    if file == "demographics.csv":
        source_id = source_id or record.fields.get("userSourcedId", "").strip()
    is_named = source_id and not FILES[file].is_extension and not holds_ssn(source_id)
    return source_id if is_named else f"line {record.line_number:012}"


def _redacted(record: CsvRecord) -> dict[str, str]:
    may_hold_ssn = holds_ssn(record.raw)
    return {
        name: redact(text) if may_hold_ssn else text for name, text in record.fields.items() if text
    }


@dataclass
class _MirrorSource:
    """The records of the whole mirror.

    `taken` are the files of the export that was just read, each with its name there.
    """

    mirror: Mirror
    taken: Mapping[str, str]
    sink: RowSink
    progress: ProgressCallback
    has_students_only: bool = False

    def has(self, file: str) -> bool:
        return bool(self.mirror.sync_state(file))

    def display_name(self, file: str) -> str:
        return self.taken.get(file, file)

    def is_empty(self, file: str) -> bool:
        return self.has(file) and not self.mirror.count(file)

    def lines(self, file: str, required: tuple[str, ...]) -> Iterable[CsvRecord]:
        name = self.display_name(file)
        empty = dict.fromkeys(FILES[file].columns, "")
        earlier = _EARLIER_LOADS.format(file)
        total = self.mirror.count(file)
        this_load = self.mirror.sync_state(file) if file in self.taken else None
        read = read_of_this_load = 0
        for stored in self.mirror.records(file):
            body = stored.body
            is_new = body["load"] == this_load
            read, read_of_this_load = read + 1, read_of_this_load + is_new
            if "fields" in body:
                fields = empty | body["fields"]
                yield CsvRecord(
                    file=name if is_new else earlier,
                    line_number=body["line"],
                    fields=fields,
                    raw=format_csv_line(fields.values()),
                    columns=format_csv_line(fields) if is_new else "",
                )
            elif not is_new:
                column, reason = body["why"]
                self.sink.quarantine(
                    BadRow(earlier, body["line"], column, reason, _RAW_OF_EARLIER_LOAD)
                )
            if read % _PAGE_SIZE == 0:
                self.progress(name, read, total)
        # The mirror still counts the records of erased students, but no longer yields them.
        counted_of_this_load = self.mirror.count_seen(file) if this_load else 0
        counted_of_earlier = total - counted_of_this_load
        self._ignore_erased(name, counted_of_this_load - read_of_this_load)
        self._ignore_erased(earlier, counted_of_earlier - (read - read_of_this_load))
        self.progress(name, total, max(total, 1))

    def _ignore_erased(self, file: str, count: int) -> None:
        for _ in range(count):
            self.sink.ignore(file, _STUDENT_DESTROYED)
