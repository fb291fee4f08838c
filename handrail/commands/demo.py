"""`handrail demo`: a made-up district from its files to a site that can be looked at."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.table import Table

from handrail.commands.serve import serve
from handrail.console import print_table, progress_bar, report_user_errors
from handrail.demo.build import DEFAULT_STUDENTS, make_demo
from handrail.demo.partners import ORGANIZATION_NAMES, PASSWORD, all_staff
from handrail.settings import SettingsError

MIN_STUDENTS = 4_000


def demo(
    folder: Annotated[Path, typer.Argument(help="Where the demo is made and kept.")] = Path(
        "demo-district"
    ),
    students: Annotated[
        int | None,
        typer.Option(
            help=f"How many students the made-up district has; {DEFAULT_STUDENTS:,} "
            "unless a finished one is there."
        ),
    ] = None,
    port: Annotated[int, typer.Option(help="Port of the site.")] = 8765,
    site: Annotated[
        bool, typer.Option("--site/--no-site", help="Serve the site when all is made.")
    ] = True,
) -> None:
    """Make a demo district, from its files to a signed model, and serve the site.

    A finished demo is served at once.
    """
    with report_user_errors():
        if students is not None and students < MIN_STUDENTS:
            raise SettingsError(
                f"--students is {students}; below {MIN_STUDENTS} there is too little to learn from"
            )
        with progress_bar() as progress:
            settings = make_demo(folder, students=students, progress=progress)
    _show_accounts()
    if site:
        serve(port=port, home=settings.home)


def _show_accounts() -> None:
    table = Table(title=f"The password of every demo account is: {PASSWORD}")
    table.add_column("sign in as", no_wrap=True)
    table.add_column("who")
    for login, name, role, organization in all_staff():
        table.add_row(
            login, f"{name}, {role.value.replace('_', ' ')} of {ORGANIZATION_NAMES[organization]}"
        )
    print_table(table)
