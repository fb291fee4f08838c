"""`handrail consents`: families' consents and opt-outs, recorded by a district administrator."""

from __future__ import annotations

from datetime import date, datetime
from pathlib import Path
from typing import Annotated

import typer
from rich.table import Table

from handrail.commands.accounts import authenticated_viewer
from handrail.console import Home, out, print_table, report_user_errors, require_file
from handrail.settings import Settings
from records.access.scope import scope_for
from records.database.engine import Database, open_database
from records.permissions.consents import Consent, add_consents, consents, parse_date, revoke_consent
from records.permissions.opt_outs import add_opt_out, end_opt_out, opt_outs
from records.snapshots.snapshot import Snapshot
from records.staff.viewer import Scope

app = typer.Typer(
    no_args_is_help=True,
    help="Families' consents and opt-outs: each takes effect at the next request.",
)
AdminLogin = Annotated[
    str, typer.Option("--as", help="Login of the district administrator who records it.")
]
Student = Annotated[str, typer.Argument(help="The district's identifier of the student.")]
Day = Annotated[
    str,
    typer.Option(
        "--on", help="The date from which it is in effect, such as 2026-04-17; default: today."
    ),
]


@app.command("add")
def add(
    file: Annotated[
        Path, typer.Argument(help="CSV of signed consents; docs/setting-up.md names its columns.")
    ],
    admin_login: AdminLogin,
    home: Home = None,
) -> None:
    """Record signed consents. If one line is wrong, none is recorded; existing ones stay."""
    with report_user_errors():
        database, scope, now = _as_admin(admin_login, home)
        count = add_consents(database, scope, require_file(file), now)
    out.print(
        f"{count} consents were recorded; all others were already on record.", highlight=False
    )


@app.command("list")
def show(
    student: Annotated[
        str | None, typer.Argument(help="One student's identifier; every student if left out.")
    ] = None,
    home: Home = None,
) -> None:
    """Consents and opt-outs on record, and whether each is in effect today."""
    with report_user_errors():
        settings = Settings.from_environment(home)
        database, today = open_database(settings.database_url), settings.now().date()
        signed = Table(
            "consent", "student", "organization", "opens", "signed by", "from", "to", "today"
        )
        for consent in consents(database, student):
            signed.add_row(
                str(consent.number),
                consent.signed.student_id,
                consent.signed.organization_id,
                ", ".join(sorted(consent.signed.categories)),
                consent.signed.signer,
                str(consent.signed.signed_on),
                str(consent.signed.expires_on),
                _status_today(consent, today),
            )
        opted_out = Table("opt-out", "student", "since", "ended", "today")
        for opt_out in opt_outs(database, student):
            opted_out.add_row(
                str(opt_out.number),
                opt_out.student_id,
                str(opt_out.since),
                str(opt_out.ended or ""),
                "in effect" if opt_out.counts(today) else "not in effect",
            )
    print_table(signed)
    print_table(opted_out)


@app.command("revoke")
def revoke(
    number: Annotated[
        int, typer.Argument(help="Which consent, as `handrail consents list` numbers it.")
    ],
    admin_login: AdminLogin,
    by: Annotated[
        str, typer.Option("--by", help="Who took it back: a name, or a relation to the child.")
    ],
    on: Day = "",
    home: Home = None,
) -> None:
    """Record that a family revoked a consent."""
    with report_user_errors():
        database, scope, now = _as_admin(admin_login, home)
        revoked = revoke_consent(database, scope.viewer, number, by=by, on=_day(on, now), now=now)
        others = [
            consent
            for consent in consents(database, revoked.signed.student_id)
            if consent.signed.organization_id == revoked.signed.organization_id
            and consent.counts(now.date())
            and consent.signed.categories & revoked.signed.categories
        ]
    out.print(f"Consent {number} is revoked from {revoked.revoked_on} on.", highlight=False)
    for consent in others:
        opens = ", ".join(sorted(consent.signed.categories & revoked.signed.categories))
        out.print(
            f"Consent {consent.number}, signed on {consent.signed.signed_on}, still opens {opens}.",
            highlight=False,
        )


@app.command("opt-out")
def start_opt_out(
    student: Student, admin_login: AdminLogin, on: Day = "", home: Home = None
) -> None:
    """Hide a student from every partner, as the family requested."""
    with report_user_errors():
        database, scope, now = _as_admin(admin_login, home)
        opt_out = add_opt_out(database, scope, student, _day(on, now), now)
    out.print(f"No partner sees this student from {opt_out.since} on.", highlight=False)


@app.command("end-opt-out")
def stop_opt_out(
    student: Student, admin_login: AdminLogin, on: Day = "", home: Home = None
) -> None:
    """Record that a family ended its opt-out."""
    with report_user_errors():
        database, scope, now = _as_admin(admin_login, home)
        opt_out = end_opt_out(database, scope.viewer, student, _day(on, now), now)
    out.print(
        f"From {opt_out.ended} on, partners see this student again as agreements allow.",
        highlight=False,
    )


def _as_admin(admin_login: str, home: Path | None) -> tuple[Database, Scope, datetime]:
    settings = Settings.from_environment(home)
    database, now = open_database(settings.database_url), settings.now()
    admin = authenticated_viewer(database, admin_login, now)
    return (
        database,
        scope_for(admin, database, Snapshot.current(settings.home), now, settings.secret()),
        now,
    )


def _day(text: str, now: datetime) -> date:
    return parse_date("--on", text) if text else now.date()


def _status_today(consent: Consent, today: date) -> str:
    if consent.revoked_on is not None:
        return f"revoked on {consent.revoked_on}"
    return "in effect" if consent.counts(today) else "not in effect"
