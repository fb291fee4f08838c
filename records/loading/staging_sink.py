"""The sink of a load: where a connector's rows go while a source is read.

Rows spill to files in the staging folder, and every physical record is counted. Rows of students
whose records were destroyed are left out here, before anything is written.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Callable, Collection, Mapping
from datetime import date
from functools import lru_cache
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from records.canonical.never_ingest import redact
from records.canonical.quarantine import BadRow, Value
from records.canonical.schema import TABLES
from records.connectors.protocol import (
    Connector,
    FileCount,
    MissingFile,
    PartnerConnector,
    ProfiledConnector,
)
from records.identity.aliases import KnownStudents
from records.loading.load_report import CodeCounts, LoadReport
from records.snapshots.staging import DESTROYED, QUARANTINE_SCHEMA

BOOKKEEPING_COLUMNS = (
    ("_file", pa.string()),
    ("_line", pa.int64()),
    ("_seq", pa.int64()),
    ("_counted", pa.bool_()),
)
"""Columns of a staged row beyond the canonical ones: where and in which order it was read, and
whether a physical record stands for it."""

_CHUNK_ROWS = 50_000
_CHUNK_CHARACTERS = 16_000_000
"""Of quarantined rows that may wait in memory: a damaged line can be long."""

_CODES_NAMED, _CODE_CHARACTERS = 200, 40
"""Of codes that are not understood: how many are named, and how much of each."""

_WORD = re.compile(r"[\w.-]+")


class StagingSink:
    """The `Sink` of a load: rows spill to Parquet in the staging folder, chunk by chunk.

    Its methods are described in `records.connectors.protocol.Sink`. `day` is the day of the load,
    None where nobody said; `on_hold` are the students whose records a legal hold keeps. `aliases`
    are the further identifiers whose rows are those of their student: what the source itself says
    where it brings students, else what is known already. `passing_notes` are for the report and not
    for the manifest: the same load again does not have them.
    """

    def __init__(
        self,
        staging: Path,
        connector: Connector,
        leave_out: Callable[[str], bool] | None,
        day: date | None = None,
        on_hold: Collection[str] = (),
        known_students: KnownStudents | None = None,
    ) -> None:
        self.staging, self.day, self.on_hold = staging, day, on_hold
        self.known_students = known_students or KnownStudents()
        self.aliases: Mapping[str, str] = (
            {} if "students" in connector.tables else self.known_students.aliases
        )
        # The rule computes an HMAC for each student ID, and a student has thousands of rows.
        self._leaves_out = lru_cache(200_000)(leave_out) if leave_out else None
        self.report = LoadReport(connector.name)
        if isinstance(connector, PartnerConnector):
            self.report.organization_id, self.report.of_partners = connector.organization_id, True
        if isinstance(connector, ProfiledConnector):
            profile = connector.profile
            self.report.profile = {"digest": profile.digest, "text": profile.text}
        self.passing_notes: list[str] = []
        self._quarantined: list[dict[str, Any]] = []
        self._quarantined_characters = 0
        self._counts: dict[str, FileCount] = {}
        self._rows: dict[str, list[tuple[Any, ...]]] = defaultdict(list)
        self._chunks: dict[str, int] = defaultdict(int)
        self._seq = 0
        self._dropped: set[tuple[str, str]] = set()

    def count(self, file: str) -> FileCount:
        if file not in self._counts:
            self._counts[file] = FileCount(file)
            self.report.files.append(self._counts[file])
        return self._counts[file]

    def same_students(self, aliases: Mapping[str, str]) -> None:
        self.aliases = aliases

    def keep(self, table: str, values: Mapping[str, Value], file: str, line: int) -> None:
        values = self._of_student(values)
        if self._leaves_out and self._leaves_out(str(values.get("student_id"))):
            self.ignore(file, "records of a student that were destroyed")
            return
        self.count(file).kept += 1
        self._add(table, values, file, line, counted=True)

    def derive(self, table: str, values: Mapping[str, Value], file: str, line: int) -> None:
        values = self._of_student(values)
        if not (self._leaves_out and self._leaves_out(str(values.get("student_id")))):
            self._add(table, values, file, line, counted=False)

    def use(self, file: str) -> None:
        self.count(file).kept += 1

    def quarantine(self, row: BadRow) -> None:
        self.count(row.file).quarantined += 1
        self.quarantine_derived(row)

    def quarantine_derived(self, row: BadRow) -> None:
        """Quarantine a row that no physical record stands for, so that no record is counted."""
        self._seq += 1
        words = _WORD.findall(f"{row.raw} {row.reason}")
        if self._leaves_out and any(self._leaves_out(word) for word in words):
            row = BadRow(row.file, row.line, row.column, "not loaded", DESTROYED)
        entry = {
            "source": self.report.source,
            "organization_id": self.report.organization_id,
            "file": row.file,
            "line": row.line,
            "column": row.column,
            "reason": redact(row.reason),
            "raw": redact(row.raw),
            "columns": row.columns,
            "_seq": self._seq,
        }
        self._quarantined.append(entry)
        self._quarantined_characters += len(row.raw)
        if (
            len(self._quarantined) >= _CHUNK_ROWS
            or self._quarantined_characters >= _CHUNK_CHARACTERS
        ):
            self.spill_quarantine()

    def ignore(self, file: str, kind: str) -> None:
        count = self.count(file)
        count.ignored += 1
        count.ignored_kinds[kind] = count.ignored_kinds.get(kind, 0) + 1

    def missing(self, file: str, stays_empty: str) -> None:
        self.report.missing.append(MissingFile(file, stays_empty))

    def drop_column(self, file: str, column: str, kind: str) -> None:
        if (file, column) not in self._dropped:
            self._dropped.add((file, column))
            self.report.dropped_columns.append({"file": file, "column": column, "kind": kind})

    def note(self, text: str) -> None:
        self.report.notes.append(text)

    def passing_note(self, text: str) -> None:
        self.passing_notes.append(text)

    def code(self, table: str, column: str, code: str, understood: bool) -> None:
        counts = self.report.codes.setdefault(column, CodeCounts(table))
        if understood:
            counts.understood += 1
            return
        counts.not_understood += 1
        name = redact(code)[:_CODE_CHARACTERS]
        if name in counts.codes or len(counts.codes) < _CODES_NAMED:
            counts.codes[name] = counts.codes.get(name, 0) + 1

    def _of_student(self, values: Mapping[str, Value]) -> Mapping[str, Value]:
        """The values with the student's own identifier in place of an alias."""
        student = self.aliases.get(str(values.get("student_id")))
        return values if student is None else {**values, "student_id": student}

    def _add(
        self, table: str, values: Mapping[str, Value], file: str, line: int, *, counted: bool
    ) -> None:
        self._seq += 1
        canonical_values = (values.get(column.name) for column in TABLES[table].columns)
        rows = self._rows[table]
        rows.append((*canonical_values, file, line, self._seq, counted))
        if len(rows) >= _CHUNK_ROWS:
            self._spill(table)

    def _spill(self, table: str) -> None:
        canonical_fields = [(column.name, column.type) for column in TABLES[table].columns]
        fields = [*canonical_fields, *BOOKKEEPING_COLUMNS]
        columns = zip(*self._rows.pop(table), strict=True)
        arrays = [
            pa.array(values, type=arrow_type)
            for values, (_, arrow_type) in zip(columns, fields, strict=True)
        ]
        chunk = pa.Table.from_arrays(arrays, names=[name for name, _ in fields])
        pq.write_table(chunk, self.staging / f"raw-{table}-{self._chunks[table]}.parquet")
        self._chunks[table] += 1

    def spill_quarantine(self) -> None:
        """Write the quarantined rows that wait in memory, in a file even if there are none."""
        schema = QUARANTINE_SCHEMA.append(pa.field("_seq", pa.int64()))
        pq.write_table(
            pa.Table.from_pylist(self._quarantined, schema=schema),
            self.staging / f"raw-quarantine-{self._chunks['quarantine']}.parquet",
        )
        self._chunks["quarantine"] += 1
        self._quarantined, self._quarantined_characters = [], 0

    def finish(self) -> list[str]:
        """Spill what is left.

        Returns:
            The names of the tables that have rows, in canonical order.
        """
        for table in list(self._rows):
            self._spill(table)
        return [table for table in TABLES if self._chunks[table]]
