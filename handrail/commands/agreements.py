"""`handrail agreements`: check, add, compare, explain and revoke agreements."""

from __future__ import annotations

from datetime import date, datetime
from pathlib import Path
from typing import Annotated

import typer
from rich.table import Table

from handrail.commands.accounts import authenticated_viewer
from handrail.console import Home, out, print_table, report_user_errors, require_file, say
from handrail.settings import Settings
from records.access.explanation import (
    EXPLAINED_CATEGORIES,
    CategoryAccess,
    Explanation,
    agreement_status,
    explain_access,
)
from records.access.scope import scope_for
from records.canonical.schema import Category
from records.canonical.supports import SupportCatalog
from records.database.engine import Database, open_database
from records.disclosure_log.disclosures import record_disclosures
from records.permissions.agreement_diff import describe_changes, diff_lines
from records.permissions.agreements import (
    Agreement,
    AgreementError,
    StoredAgreement,
    agreement_versions,
    latest_agreements,
    read_agreement,
    revoke_agreement,
    save_agreement,
)
from records.permissions.reinstatements import reinstate
from records.snapshots.snapshot import Snapshot
from records.staff.accounts import staff_member
from records.staff.district_admins import NotADistrictAdmin
from records.staff.viewer import DISTRICT, Role

app = typer.Typer(no_args_is_help=True, help="The agreements that say who may see what.")
File = Annotated[Path, typer.Argument(help="An agreement as a TOML file.")]
Which = Annotated[str, typer.Argument(help="Which agreement.")]
Version = Annotated[
    int | None, typer.Option("--version", help="Which version; the newest if left out.")
]
_SIGNS = {"kept": " ", "added": "+", "removed": "-"}


@app.command("check")
def check(file: File, home: Home = None) -> None:
    """Check an agreement against what the law requires; report the first line that is wrong."""
    with report_user_errors():
        supports = SupportCatalog.of(Settings.from_environment(home).home)
        agreement = read_agreement(require_file(file), supports)
    categories = ", ".join(sorted(agreement.categories))
    out.print(
        f"{agreement.agreement_id} version {agreement.version} is complete:"
        f" {agreement.organization_id} may see {categories} for: {agreement.purpose}, from"
        f" {agreement.start} to {agreement.end} ({agreement.legal_basis}).",
        highlight=False,
    )


@app.command("add")
def add(file: File, home: Home = None) -> None:
    """Put an agreement, or a newer version of one, in force, and say what it changes."""
    with report_user_errors():
        settings = Settings.from_environment(home)
        agreement = read_agreement(require_file(file), SupportCatalog.of(settings.home))
        database = open_database(settings.database_url)
        earlier = agreement_versions(database, agreement.agreement_id)
        save_agreement(database, agreement)
    _report_added(agreement, earlier)


@app.command("reinstate")
def reinstate_command(
    file: File,
    admin_login: Annotated[
        str, typer.Option("--as", help="Login of the district administrator who reinstates it.")
    ],
    reason: Annotated[
        str, typer.Option("--reason", help="Why, in a sentence that others will read.")
    ],
    home: Home = None,
) -> None:
    """Reinstate a revoked agreement with a newer version. Asks for the password."""
    with report_user_errors():
        settings = Settings.from_environment(home)
        agreement = read_agreement(require_file(file), SupportCatalog.of(settings.home))
        database, now = open_database(settings.database_url), settings.now()
        earlier = agreement_versions(database, agreement.agreement_id)
        reinstate(
            database, agreement, authenticated_viewer(database, admin_login, now), reason, now
        )
    _report_added(agreement, earlier)
    out.print(
        "Its revocation was reversed; the agreement's page shows who reversed it and why.",
        highlight=False,
    )


@app.command("list")
def list_command(home: Home = None) -> None:
    """Every agreement: its organization, legal basis, dates, and whether it is in force today."""
    with report_user_errors():
        settings = Settings.from_environment(home)
        table = Table("agreement", "version", "organization", "legal basis", "from", "to", "today")
        for stored in latest_agreements(open_database(settings.database_url)):
            agreement = stored.agreement
            table.add_row(
                agreement.agreement_id,
                str(agreement.version),
                agreement.organization_id,
                agreement.legal_basis,
                str(agreement.start),
                str(agreement.end),
                agreement_status(stored, settings.now().date()),
            )
    print_table(table)


@app.command("show")
def show(agreement_id: Which, version: Version = None, home: Home = None) -> None:
    """Print an agreement's text exactly as stored."""
    with report_user_errors():
        database = open_database(Settings.from_environment(home).database_url)
        stored = _version(database, agreement_id, version)
    typer.echo(stored.agreement.text.encode(), nl=False)


@app.command("diff")
def diff(agreement_id: Which, version: Version = None, home: Home = None) -> None:
    """What a version changes in the previous one: in words, and line by line."""
    with report_user_errors():
        database = open_database(Settings.from_environment(home).database_url)
        after = _version(database, agreement_id, version).agreement
        older = [
            stored.agreement
            for stored in agreement_versions(database, agreement_id)
            if stored.agreement.version < after.version
        ]
        if not older:
            raise AgreementError(
                f"version {after.version} of {agreement_id} is the first: nothing came before it"
            )
        lines = diff_lines(older[0].text, after.text)
    for change in describe_changes(older[0], after):
        say(change)
    for line in lines:
        typer.echo(f"{line.after or '':>4} {_SIGNS[line.kind]} {line.text}")


@app.command("explain")
def explain_command(
    person: Annotated[str, typer.Argument(help="Login of the person whose access to explain.")],
    student: Annotated[str, typer.Argument(help="The district's identifier of the student.")],
    admin_login: Annotated[
        str, typer.Option("--as", help="Login of the district administrator who asks.")
    ],
    category: Annotated[
        str, typer.Option("--category", help="One part of the record, with every question.")
    ] = "",
    on: Annotated[
        str,
        typer.Option(
            "--on",
            help="A date other than today (at noon), using the records on file now.",
        ),
    ] = "",
    home: Home = None,
) -> None:
    """Explain what a person may see of a student, and which line says so. This is logged."""
    with report_user_errors():
        settings = Settings.from_environment(home)
        database, now = open_database(settings.database_url), settings.now()
        chosen = _parse_category(category) if category else None
        viewer, moment = staff_member(database, person), _parse_noon(on) if on else now
        admin = authenticated_viewer(database, admin_login, now)
        if admin.role is not Role.DISTRICT_ADMIN or admin.organization_id != DISTRICT:
            raise NotADistrictAdmin(
                f"{admin_login} is not a district administrator: only they may ask about a student"
            )
        snapshot = Snapshot.current(settings.home)
        scope = scope_for(admin, database, snapshot, now, settings.secret())
        explanation = explain_access(viewer, student, database, snapshot, moment)
        record_disclosures(
            database, scope, [student], EXPLAINED_CATEGORIES, "handrail agreements explain", now
        )
    out.print(
        f"{viewer.login}, {viewer.role.replace('_', ' ')} of {viewer.organization_id}, and student"
        f" {student} on {moment:%Y-%m-%d at %H:%M}:",
        highlight=False,
        soft_wrap=True,
    )
    if chosen is None:
        out.print(_summary(explanation))
        if explanation.housing_services:
            out.print(explanation.housing_services, highlight=False, soft_wrap=True)
    else:
        _print_answer(next(answer for answer in explanation.answers if answer.category is chosen))


@app.command("revoke")
def revoke_command(agreement_id: Which, home: Home = None) -> None:
    """End an agreement at once: from the next request it gives no access."""
    with report_user_errors():
        settings = Settings.from_environment(home)
        revoke_agreement(open_database(settings.database_url), agreement_id, settings.now())
    out.print(f"{agreement_id} is revoked. It no longer gives access to anything.", highlight=False)


def _report_added(agreement: Agreement, earlier: list[StoredAgreement]) -> None:
    out.print(
        f"{agreement.agreement_id} version {agreement.version} is in force from {agreement.start}"
        f" to {agreement.end}.",
        highlight=False,
    )
    if earlier and earlier[0].agreement.version < agreement.version:
        out.print(f"What it changes in version {earlier[0].agreement.version}:", highlight=False)
        for change in describe_changes(earlier[0].agreement, agreement):
            say(f"  {change}")


def _version(database: Database, agreement_id: str, version: int | None) -> StoredAgreement:
    versions = agreement_versions(database, agreement_id)
    if not versions:
        raise AgreementError(f"there is no agreement {agreement_id!r}")
    for stored in versions:
        if version in (None, stored.agreement.version):
            return stored
    raise AgreementError(
        f"{agreement_id} has no version {version}; the newest is {versions[0].agreement.version}"
    )


def _parse_category(name: str) -> Category:
    if name not in tuple(Category):
        raise AgreementError(f"--category is {name!r}; it may be {', '.join(Category)}")
    return Category(name)


def _parse_noon(text: str) -> datetime:
    try:
        return datetime.combine(date.fromisoformat(text), datetime.min.time()).replace(hour=12)
    except ValueError:
        raise AgreementError(f"--on is {text!r}; it must be a day such as 2026-04-17") from None


def _summary(explanation: Explanation) -> Table:
    table = Table("part of the record", "seen", "what decides", "where it is written")
    for answer in explanation.answers:
        reason = answer.reason
        table.add_row(
            answer.category,
            "yes" if answer.visible else "no",
            f"{reason.asked} {reason.answer}.",
            reason.written,
        )
    return table


def _print_answer(answer: CategoryAccess) -> None:
    for basis in answer.ways:
        digest = f", SHA-256 {basis.sha256}" if basis.sha256 else ""
        table = Table("", "question", "answer", "where it is written")
        for condition in basis.conditions:
            table.add_row(
                "yes" if condition.holds else "no",
                condition.asked,
                condition.answer,
                condition.written,
            )
        out.print(f"By {basis.name}{digest}:", highlight=False, soft_wrap=True)
        print_table(table)
    visibility = "is seen" if answer.visible else "is not seen"
    out.print(
        f"{answer.category} {visibility}: {answer.reason.asked} {answer.reason.answer}."
        f" ({answer.reason.written})",
        highlight=False,
        soft_wrap=True,
    )
