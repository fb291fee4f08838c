"""The command line. Every error is one plain sentence on standard error and exit status 2."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn
from rich.table import Table

from handrail.settings import Settings
from records.agreements import AgreementError, parse_agreement
from records.connectors.edfi import EdFi
from records.connectors.oneroster import OneRoster
from records.connectors.protocol import Connector, SourceRefused
from records.connectors.service_history import ServiceHistory
from records.database import open_database
from records.disclosures import export_head, verify
from records.schema import TABLES
from records.snapshots import LoadInProgress, LoadReport, NoSnapshot, Snapshot, load

app = typer.Typer(no_args_is_help=True, pretty_exceptions_show_locals=False, help="Early, fair, explained support.")
records = typer.Typer(no_args_is_help=True, help="Look at what is loaded, as counts: never at a student.")
app.add_typer(records, name="records")
agreements = typer.Typer(no_args_is_help=True, help="Check the agreements that say who may see what.")
app.add_typer(agreements, name="agreements")
disclosures = typer.Typer(no_args_is_help=True, help="The log of who saw which student's record.")
app.add_typer(disclosures, name="disclosures")

CONNECTORS: dict[str, Connector] = {
    "edfi": EdFi(),
    "oneroster": OneRoster(),
    "service-history": ServiceHistory(),
}

Home = Annotated[Path | None, typer.Option("--home", help="Where Handrail keeps its data (or set HANDRAIL_HOME).")]
_out = Console()
_err = Console(stderr=True)


@app.command("load")
def load_source(
    source: Annotated[str, typer.Argument(help=f"Kind of source: {', '.join(CONNECTORS)}.")],
    directory: Annotated[Path, typer.Argument(help="Folder that holds the source's files.")],
    home: Home = None,
) -> None:
    """Load a source into a new snapshot. The old one serves until the new one is whole."""
    with _plain_errors():
        connector = CONNECTORS.get(source)
        if connector is None:
            raise SourceRefused(f"there is no source {source!r}; the sources are: {', '.join(CONNECTORS)}")
        with Progress(TextColumn("{task.description}"), BarColumn(), TaskProgressColumn(), console=_err) as bar:
            tasks = {}

            def progress(file: str, done: int, total: int) -> None:
                if file not in tasks:
                    tasks[file] = bar.add_task(file, total=max(total, 1))
                bar.update(tasks[file], completed=done)

            folder = Settings.from_environment(home).home
            loaded = (folder / "snapshots" / "CURRENT").exists()
            report = load(connector, directory, folder, merge=loaded or source == "service-history", progress=progress)
    _show(report)


@records.command("status")
def status(home: Home = None) -> None:
    """Which snapshot serves, and how many rows each table has."""
    with _plain_errors():
        snapshot = Snapshot.current(Settings.from_environment(home).home)
        counts = Table("table", "rows", "what it is", title=f"snapshot {snapshot.id}")
        for name, rows in snapshot.manifest["rows"].items():
            counts.add_row(name, f"{rows:,}", TABLES[name].description)
        _out.print(counts)


@records.command("quarantine")
def quarantine(home: Home = None) -> None:
    """The rows that could not be loaded: file, line, column and reason (the row itself is not shown)."""
    with _plain_errors():
        snapshot = Snapshot.current(Settings.from_environment(home).home)
        rows = Table("file", "line", "column", "why", title="quarantined rows")
        for row in snapshot.quarantined().to_pylist():
            rows.add_row(row["file"], str(row["line"]), row["column"] or "", row["reason"])
        _out.print(rows)


@agreements.command("check")
def check_agreement(file: Annotated[Path, typer.Argument(help="An agreement as a TOML file.")]) -> None:
    """Read an agreement as the law asks for it; name the line of the first thing that is missing or wrong."""
    with _plain_errors():
        if not file.is_file():
            raise AgreementError(f"{file} is not a file")
        agreement = parse_agreement(file.read_text(encoding="utf-8"), file.name)
    categories = ", ".join(sorted(agreement.categories))
    _out.print(f"{agreement.agreement_id} version {agreement.version} is whole: {agreement.organization_id} may see "
               f"{categories} for: {agreement.purpose}, from {agreement.start} to {agreement.end} "
               f"({agreement.legal_basis}).", highlight=False)  # fmt: skip


@disclosures.command("verify")
def verify_disclosures(
    head: Annotated[Path | None, typer.Option(help="A head that was exported earlier, to compare with.")] = None,
    home: Home = None,
) -> None:
    """Read the whole log and find any row that was edited, removed, added or moved. Exit 1 when one is found."""
    with _plain_errors():
        if head is not None and not head.is_file():
            raise AgreementError(f"{head} is not a file")
        outcome = verify(open_database(Settings.from_environment(home).database_url), head)
    if not outcome.ok:
        _err.print(f"handrail: the disclosure log does not hold: {outcome.problem}", highlight=False, soft_wrap=True)
        raise typer.Exit(1)
    _out.print(f"The disclosure log holds: {outcome.rows:,} rows.", highlight=False)


@disclosures.command("head")
def head_of_disclosures(
    file: Annotated[Path, typer.Argument(help="Where to write the head.")], home: Home = None
) -> None:
    """Write the log's last hash to a file, to be kept away from this machine."""
    with _plain_errors():
        export_head(open_database(Settings.from_environment(home).database_url), file)
    _out.print(f"Wrote {file}.", highlight=False)


def _show(report: LoadReport) -> None:
    table = Table("file", "read", "kept", "quarantined", "duplicates", "ignored", "why ignored", title="what was read")
    for count in report.files:
        why = "; ".join(f"{kind} ({rows})" for kind, rows in sorted(count.ignored_kinds.items()))
        table.add_row(count.file, *(f"{n:,}" for n in (count.read, count.kept, count.quarantined, count.duplicates,
                                                       count.ignored)), why)  # fmt: skip
    _out.print(table)
    for missing in report.missing:
        _out.print(f"Not found: {missing.file}. Stays empty: {missing.stays_empty}.")
    for dropped in report.dropped_columns:
        _out.print(f"Never stored: {dropped['column']} in {dropped['file']} ({dropped['kind']}).")
    for note in report.notes:
        _out.print(f"Note: {note}")
    changed = "is now" if report.changed else "already was"
    _out.print(f"Snapshot {report.snapshot_id} {changed} the current one.")


@contextmanager
def _plain_errors() -> Iterator[None]:
    try:
        yield
    except (SourceRefused, LoadInProgress, NoSnapshot, AgreementError, OSError) as error:
        _err.print(f"handrail: {error}", highlight=False, soft_wrap=True)
        raise typer.Exit(2) from None
