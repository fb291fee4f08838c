"""`handrail destroy` and `handrail backups`: the end of a record, with a certificate."""

from __future__ import annotations

from datetime import date
from pathlib import Path
from typing import Annotated

import typer
from rich.table import Table

from handrail.commands.accounts import authenticated_viewer
from handrail.console import Home, out, print_table, report_user_errors
from handrail.settings import Settings
from records.database.engine import Database, open_database
from records.law.backups import Backup, add_backup, backups, mark_backup_destroyed
from records.law.certificates import Certificate, certificates, overdue_destructions
from records.law.destruction import (
    DestructionError,
    destroy_agreement_data,
    destroy_student,
    finish_destructions,
)
from records.people.viewer import Viewer
from records.permissions.destructions import UnfinishedDestruction, unfinished_destructions

app = typer.Typer(
    no_args_is_help=True, help="Destroy a student's record, or what an agreement made, everywhere."
)
backups_app = typer.Typer(
    no_args_is_help=True, help="The copies kept elsewhere, which certificates of destruction name."
)
AdminLogin = Annotated[
    str, typer.Option("--as", help="Login of the district administrator who destroys.")
]
File = Annotated[
    Path | None, typer.Option("--certificate", help="Where to write the certificate too.")
]


@app.command("student")
def student(
    student_id: Annotated[str, typer.Argument(help="The district's identifier of the student.")],
    officer: AdminLogin,
    certificate: File = None,
    home: Home = None,
) -> None:
    """Remove one student from every store, for good. The next load leaves them out."""
    with report_user_errors():
        settings, database, who = _begin(officer, home)
        made = destroy_student(
            database, settings.home, student_id, who, settings.now(), settings.secret()
        )
        _hand_over(made, certificate)


@app.command("agreement")
def agreement(
    agreement_id: Annotated[
        str, typer.Argument(help="An agreement that has ended or was revoked.")
    ],
    officer: AdminLogin,
    certificate: File = None,
    home: Home = None,
) -> None:
    """Remove what an ended agreement made: decisions, consents, participants, sessions; and close
    its accounts.
    """
    with report_user_errors():
        settings, database, who = _begin(officer, home)
        _hand_over(
            destroy_agreement_data(database, settings.home, agreement_id, who, settings.now()),
            certificate,
        )


@app.command("finish")
def finish(home: Home = None) -> None:
    """Go on with every destruction that was begun and cut off. It was decided then: no password is
    asked for.
    """
    with report_user_errors():
        settings = Settings.from_environment(home)
        database = open_database(settings.database_url)
        for made in finish_destructions(database, settings.home, settings.now()):
            _hand_over(made, None)
        left = unfinished_destructions(database)
    for line in describe_unfinished(left) or ["No destruction is unfinished."]:
        out.print(line, highlight=False, soft_wrap=True)
    if left:
        raise typer.Exit(1)


@app.command("list")
def list_certificates(home: Home = None) -> None:
    """Certificates so far, what is unfinished, and agreements past their day of destruction. Exit 1
    for either.
    """
    with report_user_errors():
        settings = Settings.from_environment(home)
        database = open_database(settings.database_url)
        table = Table("certificate", "at", "what", "SHA-256", title="certificates of destruction")
        for one in certificates(database):
            table.add_row(str(one.number), f"{one.at:%Y-%m-%d %H:%M}", one.kind, one.sha256)
        late, begun = (
            overdue_destructions(database, settings.now().date()),
            unfinished_destructions(database),
        )
    print_table(table)
    for line in describe_unfinished(begun):
        out.print(line, highlight=False, soft_wrap=True)
    for ended in late:
        out.print(
            f"Overdue: {ended.agreement_id} of {ended.organization_id} was to be destroyed by "
            f"{ended.destruction_date}: run handrail destroy agreement {ended.agreement_id}",
            highlight=False,
            soft_wrap=True,
        )
    if late or begun:
        raise typer.Exit(1)


def describe_unfinished(found: list[UnfinishedDestruction]) -> list[str]:
    """One sentence for each destruction that has no certificate yet."""
    said = []
    for one in found:
        what = "a legal hold makes it wait" if one.held else "run handrail destroy finish"
        said.append(
            f"Unfinished: a student's destruction that {one.officer} began at"
            f" {one.begun_at:%Y-%m-%d %H:%M}: {what}"
        )
    return said


@backups_app.command("add")
def add(
    name: Annotated[str, typer.Argument(help="What the copy is called.")],
    place: Annotated[str, typer.Argument(help="Where it is kept.")],
    expires: Annotated[
        str, typer.Option("--expires", help="The day it ends by itself, such as 2026-12-31.")
    ],
    home: Home = None,
) -> None:
    """Put a copy that was just made on the list."""
    with report_user_errors():
        settings = Settings.from_environment(home)
        try:
            day = date.fromisoformat(expires)
        except ValueError:
            raise DestructionError(
                f"--expires is {expires!r}; it must be a day such as 2026-12-31"
            ) from None
        add_backup(open_database(settings.database_url), Backup(name, place, settings.now(), day))
    out.print(f"{name} is on the list until {day}.", highlight=False)


@backups_app.command("destroyed")
def destroyed(name: Annotated[str, typer.Argument(help="Which copy.")], home: Home = None) -> None:
    """Write down that a copy is gone."""
    with report_user_errors():
        settings = Settings.from_environment(home)
        mark_backup_destroyed(open_database(settings.database_url), name, settings.now())
    out.print(f"{name} is written down as destroyed.", highlight=False)


@backups_app.command("list")
def list_backups(home: Home = None) -> None:
    """The copies on the list."""
    with report_user_errors():
        table = Table(
            "name", "place", "taken", "expires", "destroyed", title="copies kept elsewhere"
        )
        for copy in backups(open_database(Settings.from_environment(home).database_url)):
            gone = f"{copy.destroyed_at:%Y-%m-%d}" if copy.destroyed_at else ""
            table.add_row(
                copy.name, copy.place, f"{copy.taken_at:%Y-%m-%d}", str(copy.expires_on), gone
            )
    print_table(table)


def _begin(officer: str, home: Path | None) -> tuple[Settings, Database, Viewer]:
    """The home, its store, and whoever knows the officer's password."""
    settings = Settings.from_environment(home)
    database = open_database(settings.database_url)
    return settings, database, authenticated_viewer(database, officer, settings.now())


def _hand_over(certificate: Certificate, file: Path | None) -> None:
    if file is not None:
        file.write_text(certificate.text + "\n", encoding="utf-8")
    out.print(
        f"Certificate {certificate.number}, SHA-256 {certificate.sha256}:",
        highlight=False,
        soft_wrap=True,
    )
    out.print(certificate.text, highlight=False, soft_wrap=True, markup=False)
