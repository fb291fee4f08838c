"""`handrail load` and `handrail records`: bringing a district's files in, and counting what came of them."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.table import Table

from handrail.console import Home, out, plain_errors, progress_bar
from handrail.settings import Settings
from records.connectors.edfi import EdFi
from records.connectors.oneroster import OneRoster
from records.connectors.protocol import Connector, SourceRefused
from records.connectors.service_history import ServiceHistory
from records.schema import TABLES
from records.snapshots import LoadReport, Snapshot, load

CONNECTORS: dict[str, Connector] = {
    "edfi": EdFi(),
    "oneroster": OneRoster(),
    "service-history": ServiceHistory(),
}
app = typer.Typer(no_args_is_help=True, help="Look at what is loaded, as counts: never at a student.")


def load_source(
    source: Annotated[str, typer.Argument(help=f"Kind of source: {', '.join(CONNECTORS)}.")],
    directory: Annotated[Path, typer.Argument(help="Folder that holds the source's files.")],
    home: Home = None,
) -> None:
    """Load a source into a new snapshot. The old one serves until the new one is whole."""
    with plain_errors():
        connector = CONNECTORS.get(source)
        if connector is None:
            raise SourceRefused(f"there is no source {source!r}; the sources are: {', '.join(CONNECTORS)}")
        folder = Settings.from_environment(home).home
        loaded = (folder / "snapshots" / "CURRENT").exists()
        with progress_bar() as step:
            report = load(connector, directory, folder, merge=loaded or source == "service-history", progress=step)
    show(report)


@app.command("status")
def status(home: Home = None) -> None:
    """Which snapshot serves, and how many rows each table has."""
    with plain_errors():
        snapshot = Snapshot.current(Settings.from_environment(home).home)
        counts = Table("table", "rows", "what it is", title=f"snapshot {snapshot.id}")
        for name, rows in snapshot.manifest["rows"].items():
            counts.add_row(name, f"{rows:,}", TABLES[name].description)
        out.print(counts)


@app.command("quarantine")
def quarantine(home: Home = None) -> None:
    """The rows that could not be loaded: file, line, column and reason (the row itself is not shown)."""
    with plain_errors():
        snapshot = Snapshot.current(Settings.from_environment(home).home)
        rows = Table("file", "line", "column", "why", title="quarantined rows")
        for row in snapshot.quarantined().to_pylist():
            rows.add_row(row["file"], str(row["line"]), row["column"] or "", row["reason"])
        out.print(rows)


def show(report: LoadReport) -> None:
    """Print what a load read, kept and left out."""
    table = Table("file", "read", "kept", "quarantined", "duplicates", "ignored", "why ignored", title="what was read")
    for count in report.files:
        why = "; ".join(f"{kind} ({rows})" for kind, rows in sorted(count.ignored_kinds.items()))
        table.add_row(count.file, *(f"{n:,}" for n in (count.read, count.kept, count.quarantined, count.duplicates,
                                                       count.ignored)), why)  # fmt: skip
    out.print(table)
    for missing in report.missing:
        out.print(f"Not found: {missing.file}. Stays empty: {missing.stays_empty}.")
    for dropped in report.dropped_columns:
        out.print(f"Never stored: {dropped['column']} in {dropped['file']} ({dropped['kind']}).")
    for note in report.notes:
        out.print(f"Note: {note}")
    changed = "is now" if report.changed else "already was"
    out.print(f"Snapshot {report.snapshot_id} {changed} the current one.")
