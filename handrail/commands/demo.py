"""`handrail demo`: a made-up district, or real sample records, as a site that can be looked at."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.table import Table

from handrail.commands.records import FILE_SOURCES, print_load_report
from handrail.commands.serve import demo_staff, serve
from handrail.console import print_table, progress_bar, report_user_errors
from handrail.demo.build import DEFAULT_STUDENTS, make_demo
from handrail.demo.partners import ORGANIZATION_NAMES, PASSWORD
from handrail.demo.samples import make_sample_demo
from handrail.settings import Settings, SettingsError
from records.database.engine import open_database

MIN_STUDENTS = 4_000
_KINDS = ", ".join(FILE_SOURCES)


def demo(
    folder: Annotated[
        Path | None,
        typer.Argument(
            help="Where the demo is made and kept; demo-district, or demo-samples with --from."
        ),
    ] = None,
    students: Annotated[
        int | None,
        typer.Option(
            help=f"How many students the made-up district has; {DEFAULT_STUDENTS:,} "
            "unless a finished one is there."
        ),
    ] = None,
    samples: Annotated[
        Path | None,
        typer.Option(
            "--from", help="Real sample records to look at instead: a folder or ZIP file."
        ),
    ] = None,
    source: Annotated[
        str | None,
        typer.Option(help=f"Kind of these samples, where they do not show it: {_KINDS}."),
    ] = None,
    port: Annotated[int, typer.Option(help="Port of the site.")] = 8765,
    site: Annotated[
        bool, typer.Option("--site/--no-site", help="Serve the site when all is made.")
    ] = True,
) -> None:
    """Make a demo district, from its files to a signed model, and serve the site.

    A finished demo is served at once. With --from the site shows real sample records as they are,
    without a model and without partners, on the day of the newest of them.
    """
    with report_user_errors():
        if samples is not None:
            settings = _sample_demo(folder or Path("demo-samples"), samples, source, students)
        else:
            settings = _made_up_demo(folder or Path("demo-district"), source, students)
    _show_accounts(settings)
    if site:
        serve(port=port, home=settings.home)


def _sample_demo(folder: Path, samples: Path, source: str | None, students: int | None) -> Settings:
    if students is not None:
        raise SettingsError("--students is for the made-up district; samples have their own")
    with progress_bar() as progress:
        settings, report = make_sample_demo(folder, samples, source, progress=progress)
    print_load_report(report)
    return settings


def _made_up_demo(folder: Path, source: str | None, students: int | None) -> Settings:
    if source is not None:
        raise SettingsError("--source is for samples: give --from, the folder that holds them")
    if students is not None and students < MIN_STUDENTS:
        raise SettingsError(
            f"--students is {students}; below {MIN_STUDENTS} there is too little to learn from"
        )
    with progress_bar() as progress:
        return make_demo(folder, students=students, progress=progress)


def _show_accounts(settings: Settings) -> None:
    table = Table(title=f"The password of every demo account is: {PASSWORD}")
    table.add_column("sign in as", no_wrap=True)
    table.add_column("who")
    for login, name, role, organization in demo_staff(open_database(settings.database_url)):
        table.add_row(
            login, f"{name}, {role.value.replace('_', ' ')} of {ORGANIZATION_NAMES[organization]}"
        )
    print_table(table)
