"""Where a connector's rows go while a source is read: files in the staging folder, and counts."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Callable, Mapping
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
)
from records.loading.load_report import LoadReport
from records.snapshots.staging import DESTROYED, QUARANTINE_SCHEMA

_CHUNK = 50_000


_CHUNK_TEXT = 16_000_000
"""Characters of quarantined rows that may wait in memory: a damaged line can be long."""


BOOKKEEPING_COLUMNS = (
    ("_file", pa.string()),
    ("_line", pa.int64()),
    ("_seq", pa.int64()),
    ("_counted", pa.bool_()),
)


_WORD = re.compile(r"[\w.-]+")


class StagingSink:
    """The `Sink` of a load: rows spill to Parquet in the staging folder, chunk by chunk."""

    def __init__(
        self, staging: Path, connector: Connector, leave_out: Callable[[str], bool] | None
    ) -> None:
        self.staging = staging
        self._leaves_out = lru_cache(200_000)(leave_out) if leave_out else None
        self.report = LoadReport(connector.name)
        if isinstance(connector, PartnerConnector):
            self.report.organization_id, self.report.of_partners = connector.organization_id, True
        self._bad: list[dict[str, Any]] = []
        self._bad_text = 0
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

    def keep(self, table: str, values: Mapping[str, Value], file: str, line: int) -> None:
        if self._leaves_out and self._leaves_out(str(values.get("student_id"))):
            self.ignore(file, "records of a student that were destroyed")
            return
        self.count(file).kept += 1
        self._add(table, values, file, line, True)

    def derive(self, table: str, values: Mapping[str, Value], file: str, line: int) -> None:
        if not (self._leaves_out and self._leaves_out(str(values.get("student_id")))):
            self._add(table, values, file, line, False)

    def use(self, file: str) -> None:
        self.count(file).kept += 1

    def quarantine(self, row: BadRow) -> None:
        self.count(row.file).quarantined += 1
        self.set_aside(row)

    def set_aside(self, row: BadRow) -> None:
        """Keep a row in the quarantine that no physical record stands for."""
        self._seq += 1
        if self._leaves_out and any(
            map(self._leaves_out, _WORD.findall(f"{row.raw} {row.reason}"))
        ):
            row = BadRow(row.file, row.line, row.column, "not loaded", DESTROYED)
        kept = {
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
        self._bad.append(kept)
        self._bad_text += len(row.raw)
        if len(self._bad) >= _CHUNK or self._bad_text >= _CHUNK_TEXT:
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

    def _add(
        self, name: str, values: Mapping[str, Value], file: str, line: int, counted: bool
    ) -> None:
        self._seq += 1
        rows = self._rows[name]
        rows.append(
            (*(values.get(c.name) for c in TABLES[name].columns), file, line, self._seq, counted)
        )
        if len(rows) >= _CHUNK:
            self._spill(name)

    def _spill(self, name: str) -> None:
        fields = [(c.name, c.type) for c in TABLES[name].columns] + list(BOOKKEEPING_COLUMNS)
        columns = zip(*self._rows.pop(name), strict=True)
        arrays = [
            pa.array(values, type=type_) for values, (_, type_) in zip(columns, fields, strict=True)
        ]
        chunk = pa.Table.from_arrays(arrays, names=[field_name for field_name, _ in fields])
        pq.write_table(chunk, self.staging / f"raw-{name}-{self._chunks[name]}.parquet")
        self._chunks[name] += 1

    def spill_quarantine(self) -> None:
        """Write the quarantined rows that still wait in memory; the first call leaves a file even
        of none.
        """
        schema = QUARANTINE_SCHEMA.append(pa.field("_seq", pa.int64()))
        pq.write_table(
            pa.Table.from_pylist(self._bad, schema=schema),
            self.staging / f"raw-quarantine-{self._chunks['quarantine']}.parquet",
        )
        self._chunks["quarantine"] += 1
        self._bad, self._bad_text = [], 0

    def finish(self) -> list[str]:
        """Spill what is left; the names of the tables that have rows."""
        for name in list(self._rows):
            self._spill(name)
        return [name for name in TABLES if self._chunks[name]]
