"""`handrail supports`: the kinds of support that the district offers, and where they are edited."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from datetime import date

import typer
from rich.markup import escape
from rich.table import Table

from handrail.console import Home, print_table, report_user_errors, say
from handrail.settings import Settings
from records.canonical.supports import (
    SUPPORTS_FILE,
    SupportCatalog,
    SupportKind,
    SupportsError,
    unlisted,
)
from records.database.engine import Database, open_database
from records.permissions.agreements import latest_agreements
from records.snapshots.snapshot import NoSnapshot, Snapshot
from records.system.files import write_atomic

app = typer.Typer(help="The kinds of support that programs offer and agreements name.")
_NOT_LOADED = "not known"


@app.callback(invoke_without_command=True)
def supports(context: typer.Context, home: Home = None) -> None:
    """The kinds of support that programs offer and agreements name.

    Without a command, the list in force.
    """
    if context.invoked_subcommand is None:
        list_supports(home)


@app.command("list")
def list_supports(home: Home = None) -> None:
    """The kinds in force and their file, and how many programs and agreements name each."""
    with report_user_errors():
        settings = Settings.from_environment(home)
        catalog = SupportCatalog.of(settings.home)
        programs = _programs_of(settings)
        agreements = agreements_by_support(
            open_database(settings.database_url), settings.now().date()
        )
    table = Table(
        "kind",
        "name",
        "in Spanish",
        "what it is",
        "tells of housing",
        "typical cost",
        "programs",
        "agreements",
    )
    for kind in catalog.kinds:
        table.add_row(
            kind.key,
            escape(kind.name),
            escape(kind.name_es),
            escape(kind.description),
            "yes" if kind.tells_of_housing else "no",
            escape(_cost(kind)),
            _NOT_LOADED if programs is None else str(len(programs.get(kind.key, ()))),
            str(len(agreements.get(kind.key, ()))),
        )
    print_table(table)
    for note in unlisted_notes(catalog, programs or {}, agreements):
        say(f"Note: {note}")
    say(
        f"The list is {catalog.file}."
        if catalog.file != SUPPORTS_FILE
        else "The list is the one of Handrail: `handrail supports write` puts a copy into"
        f" {settings.home}, to be edited there."
    )


@app.command("write")
def write_supports(home: Home = None) -> None:
    """Write the list of Handrail into the district's folder, to be edited there."""
    with report_user_errors():
        file = Settings.from_environment(home).home / SUPPORTS_FILE.name
        if file.exists():
            raise SupportsError(f"{file} exists already; it will not be overwritten")
        write_atomic(file, SUPPORTS_FILE.read_bytes())
    say(f"{file} is written. What stands there is the whole list; see it with `handrail supports`.")


def programs_by_support(snapshot: Snapshot) -> dict[str, list[str]]:
    """The programs on record of each kind of support, listed or not."""
    programs = snapshot.table("programs").select("support", "program_id").to_pyarrow().to_pylist()
    by_support: dict[str, list[str]] = defaultdict(list)
    for row in programs:
        if row["support"] is not None:
            by_support[row["support"]].append(row["program_id"])
    return dict(by_support)


def agreements_by_support(database: Database, today: date) -> dict[str, list[str]]:
    """The agreements that name each kind of support, without those that were revoked or ended."""
    by_support: dict[str, list[str]] = defaultdict(list)
    for stored in latest_agreements(database):
        if stored.revoked_at is None and today <= stored.agreement.end:
            for key in stored.agreement.supports:
                by_support[key].append(stored.agreement.agreement_id)
    return dict(by_support)


def unlisted_notes(
    catalog: SupportCatalog,
    programs: Mapping[str, Sequence[str]],
    agreements: Mapping[str, Sequence[str]],
) -> list[str]:
    """A sentence for each kind that programs or agreements name and the list does not have.

    Args:
        programs: as `programs_by_support`.
        agreements: as `agreements_by_support`.
    """
    named = {
        key: [
            *(f"program {program}" for program in programs.get(key, ())),
            *(f"agreement {agreement}" for agreement in agreements.get(key, ())),
        ]
        for key in {*programs, *agreements}
    }
    return [
        f"{key} is not in {catalog.file}, and still named by {', '.join(names)}: it is not"
        " suggested, and its services are shown as if they told of housing"
        for key, names in unlisted(catalog, named).items()
    ]


def _programs_of(settings: Settings) -> dict[str, list[str]] | None:
    """As `programs_by_support`; None where no records are loaded."""
    try:
        return programs_by_support(Snapshot.current(settings.home))
    except NoSnapshot:
        return None


def _cost(kind: SupportKind) -> str:
    return f"{kind.typical_cost} ({kind.cost_source})" if kind.typical_cost else ""
