"""Partners' service history: programs, who took part, and each session, as three CSV files.

The header of each file is the canonical column names. Loaded onto the district's records that are there already:
a student whom the district does not know is quarantined.
"""

from __future__ import annotations

from pathlib import Path

from records.connectors.csv_files import RowReader, quarantine, read_csv
from records.connectors.protocol import Progress, Sink, SourceRefused
from records.quarantine import BadValue
from records.schema import table

FILES = {"programs.csv": "programs", "enrollments.csv": "service_enrollments", "sessions.csv": "service_sessions"}
_WITHOUT = {
    "programs.csv": "what partners offer; nothing can be suggested",
    "enrollments.csv": "who takes part; no partner sees any student",
    "sessions.csv": "single sessions",
}


class ServiceHistory:
    """Connector for a folder of `programs.csv`, `enrollments.csv` and `sessions.csv`."""

    name = "service-history"
    tables: tuple[str, ...] = tuple(FILES.values())

    def read(self, directory: Path, sink: Sink, progress: Progress) -> None:
        """Read the three files.

        Raises:
            SourceRefused: none is there, or a header lacks a column.
        """
        if not any((directory / file).is_file() for file in FILES):
            raise SourceRefused(f"{directory} holds none of {', '.join(FILES)}")
        for file, name in FILES.items():
            if (directory / file).is_file():
                read_table(directory / file, name, sink, progress)
            else:
                sink.missing(file, _WITHOUT[file])


def read_table(path: Path, name: str, sink: Sink, progress: Progress, student_column: str = "student_id") -> None:
    """Read a file whose columns are those of a canonical table, into that table."""
    canonical = table(name)
    renamed = {"student_id": student_column}
    required = tuple(renamed.get(column.name, column.name) for column in canonical.columns if column.required)
    reader = RowReader(canonical, renamed)
    for line in read_csv(path, required, sink, progress):
        try:
            row = reader.row(line)
        except BadValue as error:
            quarantine(sink, path.name, line, error)
        else:
            sink.keep(name, row, path.name, line.number)
