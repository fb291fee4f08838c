"""`handrail legal`: read the register of legal demands; place and lift legal holds.

A release takes two people who are signed in on the site: no command proposes, approves or takes
one.
"""

from __future__ import annotations

from typing import Annotated

import typer
from rich.markup import escape
from rich.table import Table

from handrail.commands.accounts import authenticated_viewer
from handrail.console import Home, out, print_table, report_user_errors, say
from handrail.settings import Settings
from records.access.scope import scope_for
from records.database.engine import open_database
from records.legal_demands.legal_demands import demand, demands, events, release_barrier
from records.permissions.legal_holds import holds, lift_hold, place_hold
from records.snapshots.snapshot import Snapshot
from records.staff.accounts import staff_names

app = typer.Typer(no_args_is_help=True, help="Legal demands, to read; and legal holds.")
AdminLogin = Annotated[
    str, typer.Option("--as", help="Login of the district administrator who does it.")
]
Reason = Annotated[str, typer.Option("--reason", help="Why, in a sentence that others will read.")]


@app.command("list")
def list_demands(home: Home = None) -> None:
    """Legal demands with their status, and legal holds."""
    with report_user_errors():
        database = open_database(Settings.from_environment(home).database_url)
        table = Table(
            "demand",
            "received",
            "document",
            "issued by",
            "student",
            "status",
            title="legal demands",
        )
        for legal_demand in demands(database):
            document = legal_demand.paper
            table.add_row(
                str(legal_demand.number),
                str(document.received_on),
                document.kind,
                escape(document.issuer),
                escape(legal_demand.student_id),
                legal_demand.status,
            )
        placed = Table(
            "hold",
            "since",
            "student",
            "reason",
            "lifted",
            "by",
            "reason lifted",
            title="legal holds",
        )
        staff = staff_names(database)
        for hold in holds(database):
            lifted = f"{hold.lifted_at:%Y-%m-%d %H:%M}" if hold.lifted_at else ""
            by = staff.get(hold.lifted_by or "", "") if hold.lifted_at else ""
            placed.add_row(
                str(hold.number),
                f"{hold.since:%Y-%m-%d %H:%M}",
                escape(hold.student_id),
                escape(hold.reason),
                lifted,
                escape(by),
                escape(hold.lift_reason or ""),
            )
    print_table(table)
    print_table(placed)


@app.command("show")
def show(number: Annotated[int, typer.Argument(help="Which demand.")], home: Home = None) -> None:
    """One demand: what it can compel, what blocks its release, and what was done about it."""
    with report_user_errors():
        settings = Settings.from_environment(home)
        database = open_database(settings.database_url)
        legal_demand = demand(database, number)
        lines = [
            (
                f"Demand {number} of {legal_demand.paper.issuer} about student"
                f" {legal_demand.student_id}: {legal_demand.status}."
            ),
            f"{legal_demand.kind.label}. {legal_demand.kind.compels}",
            f"Asks for: {', '.join(sorted(legal_demand.paper.categories))}.",
            release_barrier(legal_demand, settings.now().date()),
        ]
        staff = staff_names(database)
        lines += [
            f"{event.at:%Y-%m-%d %H:%M} {event.action} by"
            f" {staff.get(event.user_id, 'somebody who has left')}: {event.reason}"
            for event in events(database, number)
        ]
    for line in filter(None, lines):
        say(line)


@app.command("hold")
def hold(
    student_id: Annotated[str, typer.Argument(help="The district's identifier of the student.")],
    admin_login: AdminLogin,
    reason: Reason,
    home: Home = None,
) -> None:
    """Place a legal hold: the record is not destroyed and no partner sees it.

    The password is asked for.
    """
    with report_user_errors():
        settings = Settings.from_environment(home)
        database = open_database(settings.database_url)
        admin = authenticated_viewer(database, admin_login, settings.now())
        scope = scope_for(
            admin, database, Snapshot.current(settings.home), settings.now(), settings.secret()
        )
        placed = place_hold(database, scope, student_id, reason, settings.now())
    out.print(
        f"Legal hold {placed.number} is placed. No partner sees this student from the next"
        " request on.",
        highlight=False,
        soft_wrap=True,
    )


@app.command("lift")
def lift(
    number: Annotated[int, typer.Argument(help="Which hold.")],
    admin_login: AdminLogin,
    reason: Reason,
    home: Home = None,
) -> None:
    """Lift a hold: partners see the student again as agreements allow.

    The password is asked for.
    """
    with report_user_errors():
        settings = Settings.from_environment(home)
        database = open_database(settings.database_url)
        admin = authenticated_viewer(database, admin_login, settings.now())
        lift_hold(database, admin, number, reason, settings.now())
    out.print(f"Legal hold {number} is lifted.", highlight=False)
