"""`handrail consents`: what families have signed, taken back and refused, written down by a
district administrator.
"""

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
from records.people.viewer import Scope
from records.permissions.consents import Consent, add_consents, consents, parse_date, revoke_consent
from records.permissions.opt_outs import add_opt_out, end_opt_out, opt_outs
from records.snapshots.snapshot import Snapshot

app = typer.Typer(
    no_args_is_help=True, help="Families' consents and opt-outs: each counts at the next request."
)
AdminLogin = Annotated[
    str, typer.Option("--as", help="Login of the district administrator who writes it down.")
]
Student = Annotated[str, typer.Argument(help="The district's identifier of the student.")]
Day = Annotated[
    str,
    typer.Option(
        "--on", help="The day from which it counts, such as 2026-04-17; today if left out."
    ),
]


@app.command("add")
def add(
    file: Annotated[
        Path, typer.Argument(help="CSV of signed consents; docs/setting-up.md names its columns.")
    ],
    officer: AdminLogin,
    home: Home = None,
) -> None:
    """Write down signed consents. One wrong line, and none is written down; what is on record stays
    as it is.
    """
    with report_user_errors():
        database, scope, now = _begin(officer, home)
        count = add_consents(database, scope, require_file(file), now)
    out.print(
        f"{count} consents were written down; all others were on record already.", highlight=False
    )


@app.command("list")
def show(
    student: Annotated[
        str | None, typer.Argument(help="One student's identifier; every student if left out.")
    ] = None,
    home: Home = None,
) -> None:
    """Consents and opt-outs on record, and whether each counts today."""
    with report_user_errors():
        settings = Settings.from_environment(home)
        database, today = open_database(settings.database_url), settings.now().date()
        signed = Table(
            "consent", "student", "organisation", "opens", "signed by", "from", "to", "today"
        )
        for one in consents(database, student):
            signed.add_row(
                str(one.number),
                one.signed.student_id,
                one.signed.organization_id,
                ", ".join(sorted(one.signed.categories)),
                one.signed.signer,
                str(one.signed.signed_on),
                str(one.signed.expires_on),
                _state(one, today),
            )
        kept_out = Table("opt-out", "student", "since", "ended", "today")
        for found in opt_outs(database, student):
            kept_out.add_row(
                str(found.number),
                found.student_id,
                str(found.since),
                str(found.ended or ""),
                "counts" if found.counts(today) else "does not count",
            )
    print_table(signed)
    print_table(kept_out)


@app.command("revoke")
def revoke(
    number: Annotated[
        int, typer.Argument(help="Which consent, as `handrail consents list` numbers it.")
    ],
    officer: AdminLogin,
    by: Annotated[
        str, typer.Option("--by", help="Who took it back: a name, or a relation to the child.")
    ],
    on: Day = "",
    home: Home = None,
) -> None:
    """Write down that a family took a consent back."""
    with report_user_errors():
        database, scope, now = _begin(officer, home)
        revoked = revoke_consent(database, scope.viewer, number, by=by, on=_day(on, now), now=now)
        others = [
            one
            for one in consents(database, revoked.signed.student_id)
            if one.signed.organization_id == revoked.signed.organization_id
            and one.counts(now.date())
            and one.signed.categories & revoked.signed.categories
        ]
    out.print(f"Consent {number} is revoked from {revoked.revoked_on} on.", highlight=False)
    for one in others:
        opens = ", ".join(sorted(one.signed.categories & revoked.signed.categories))
        out.print(
            f"Consent {one.number}, signed on {one.signed.signed_on}, still opens {opens}.",
            highlight=False,
        )


@app.command("opt-out")
def start_opt_out(student: Student, officer: AdminLogin, on: Day = "", home: Home = None) -> None:
    """Keep a student out of every partner's sight, as the family wishes."""
    with report_user_errors():
        database, scope, now = _begin(officer, home)
        kept = add_opt_out(database, scope, student, _day(on, now), now)
    out.print(f"No partner sees this student from {kept.since} on.", highlight=False)


@app.command("end-opt-out")
def stop_opt_out(student: Student, officer: AdminLogin, on: Day = "", home: Home = None) -> None:
    """Write down that a family ended its opt-out."""
    with report_user_errors():
        database, scope, now = _begin(officer, home)
        ended = end_opt_out(database, scope.viewer, student, _day(on, now), now)
    out.print(
        f"From {ended.ended} on, partners see this student again as far as agreements go.",
        highlight=False,
    )


def _begin(login: str, home: Path | None) -> tuple[Database, Scope, datetime]:
    settings = Settings.from_environment(home)
    database, now = open_database(settings.database_url), settings.now()
    officer = authenticated_viewer(database, login, now)
    return (
        database,
        scope_for(officer, database, Snapshot.current(settings.home), now, settings.secret()),
        now,
    )


def _day(text: str, now: datetime) -> date:
    return parse_date("--on", text) if text else now.date()


def _state(consent: Consent, today: date) -> str:
    if consent.revoked_on is not None:
        return f"revoked on {consent.revoked_on}"
    return "counts" if consent.counts(today) else "does not count"
