"""`handrail destroy` and `handrail backups`: permanent deletion, with a certificate."""

from __future__ import annotations

from datetime import date
from pathlib import Path
from typing import Annotated

import typer
from rich.table import Table

from handrail.commands.accounts import authenticated_viewer
from handrail.console import Home, out, print_table, report_user_errors, say
from handrail.settings import Settings
from records.database.engine import Database, open_database
from records.destruction.backups import Backup, add_backup, backups, mark_backup_destroyed
from records.destruction.certificates import Certificate, certificates, overdue_destructions
from records.destruction.destruction import (
    DestructionError,
    destroy_agreement_data,
    destroy_student,
    finish_destructions,
)
from records.permissions.destructions_in_progress import (
    UnfinishedDestruction,
    unfinished_destructions,
)
from records.staff.viewer import Viewer

app = typer.Typer(
    no_args_is_help=True,
    help="Destroy a student's record, or what an agreement produced, everywhere.",
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
    admin_login: AdminLogin,
    certificate: File = None,
    home: Home = None,
) -> None:
    """Permanently delete one student from every store. Later loads skip them."""
    with report_user_errors():
        settings, database, admin = _as_admin(admin_login, home)
        done = destroy_student(
            database, settings.home, student_id, admin, settings.now(), settings.secret()
        )
        _print_certificate(done, certificate)


@app.command("agreement")
def agreement(
    agreement_id: Annotated[
        str, typer.Argument(help="An agreement that has ended or was revoked.")
    ],
    admin_login: AdminLogin,
    certificate: File = None,
    home: Home = None,
) -> None:
    """Delete what an ended agreement produced (decisions, consents, participants, sessions).

    Its accounts are closed as well.
    """
    with report_user_errors():
        settings, database, admin = _as_admin(admin_login, home)
        _print_certificate(
            destroy_agreement_data(database, settings.home, agreement_id, admin, settings.now()),
            certificate,
        )


@app.command("finish")
def finish(home: Home = None) -> None:
    """Finish every interrupted destruction. It was authorized already: no password is needed."""
    with report_user_errors():
        settings = Settings.from_environment(home)
        database = open_database(settings.database_url)
        for done in finish_destructions(database, settings.home, settings.now()):
            _print_certificate(done, None)
        unfinished = unfinished_destructions(database)
    for line in describe_unfinished(unfinished) or ["No destruction is unfinished."]:
        out.print(line, highlight=False, soft_wrap=True)
    if unfinished:
        raise typer.Exit(1)


@app.command("list")
def list_certificates(home: Home = None) -> None:
    """Certificates, unfinished destructions and overdue agreements. Exit 1 for the last two."""
    with report_user_errors():
        settings = Settings.from_environment(home)
        database = open_database(settings.database_url)
        table = Table("certificate", "at", "what", "SHA-256", title="certificates of destruction")
        for issued in certificates(database):
            table.add_row(
                str(issued.number), f"{issued.at:%Y-%m-%d %H:%M}", issued.kind, issued.sha256
            )
        overdue, unfinished = (
            overdue_destructions(database, settings.now().date()),
            unfinished_destructions(database),
        )
    print_table(table)
    for line in describe_unfinished(unfinished):
        out.print(line, highlight=False, soft_wrap=True)
    for ended in overdue:
        out.print(
            f"Overdue: {ended.agreement_id} of {ended.organization_id} was to be destroyed by "
            f"{ended.destruction_date}: run handrail destroy agreement {ended.agreement_id}",
            highlight=False,
            soft_wrap=True,
        )
    if overdue or unfinished:
        raise typer.Exit(1)


def describe_unfinished(unfinished: list[UnfinishedDestruction]) -> list[str]:
    """One sentence for each destruction that has no certificate yet."""
    sentences = []
    for destruction in unfinished:
        next_step = "blocked by a legal hold" if destruction.held else "run handrail destroy finish"
        sentences.append(
            f"Unfinished: a student's destruction that {destruction.officer} began at"
            f" {destruction.begun_at:%Y-%m-%d %H:%M}: {next_step}"
        )
    return sentences


@backups_app.command("add")
def add(
    name: Annotated[str, typer.Argument(help="What the copy is called.")],
    place: Annotated[str, typer.Argument(help="Where it is kept.")],
    expires: Annotated[
        str, typer.Option("--expires", help="The date it expires, such as 2026-12-31.")
    ],
    home: Home = None,
) -> None:
    """Add a copy that was just made to the list."""
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
    """Record that a copy was destroyed."""
    with report_user_errors():
        settings = Settings.from_environment(home)
        mark_backup_destroyed(open_database(settings.database_url), name, settings.now())
    out.print(f"{name} is recorded as destroyed.", highlight=False)


@backups_app.command("list")
def list_backups(home: Home = None) -> None:
    """The copies on the list."""
    with report_user_errors():
        table = Table(
            "name", "place", "taken", "expires", "destroyed", title="copies kept elsewhere"
        )
        for copy in backups(open_database(Settings.from_environment(home).database_url)):
            destroyed_on = f"{copy.destroyed_at:%Y-%m-%d}" if copy.destroyed_at else ""
            table.add_row(
                copy.name,
                copy.place,
                f"{copy.taken_at:%Y-%m-%d}",
                str(copy.expires_on),
                destroyed_on,
            )
    print_table(table)


def _as_admin(admin_login: str, home: Path | None) -> tuple[Settings, Database, Viewer]:
    """The settings, the database, and the administrator whose password was confirmed."""
    settings = Settings.from_environment(home)
    database = open_database(settings.database_url)
    return settings, database, authenticated_viewer(database, admin_login, settings.now())


def _print_certificate(certificate: Certificate, file: Path | None) -> None:
    if file is not None:
        file.write_text(certificate.text + "\n", encoding="utf-8")
    out.print(
        f"Certificate {certificate.number}, SHA-256 {certificate.sha256}:",
        highlight=False,
        soft_wrap=True,
    )
    say(certificate.text)
