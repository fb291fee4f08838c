"""`handrail agreements`: the texts that say who may see what, checked, put in force, compared,
explained and ended.
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
from records.access.explanation import (
    EXPLAINED_CATEGORIES,
    CategoryAccess,
    Explanation,
    agreement_status,
    explain_access,
)
from records.access.scope import scope_for
from records.canonical.schema import Category
from records.database.engine import Database, open_database
from records.disclosure_log.disclosures import record_disclosures
from records.people.accounts import staff_member
from records.people.district_admins import NotADistrictAdmin
from records.people.viewer import DISTRICT, Role
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

app = typer.Typer(no_args_is_help=True, help="The agreements that say who may see what.")
File = Annotated[Path, typer.Argument(help="An agreement as a TOML file.")]
Which = Annotated[str, typer.Argument(help="Which agreement.")]
Version = Annotated[
    int | None, typer.Option("--version", help="Which version; the newest if left out.")
]
_SIGNS = {"kept": " ", "added": "+", "removed": "-"}


@app.command("check")
def check(file: File) -> None:
    """Read an agreement as the law asks for it; name the line of the first thing that is missing or
    wrong.
    """
    with report_user_errors():
        agreement = read_agreement(require_file(file))
    categories = ", ".join(sorted(agreement.categories))
    out.print(
        f"{agreement.agreement_id} version {agreement.version} is whole:"
        f" {agreement.organization_id} may see {categories} for: {agreement.purpose}, from"
        f" {agreement.start} to {agreement.end} ({agreement.legal_basis}).",
        highlight=False,
    )


@app.command("add")
def add(file: File, home: Home = None) -> None:
    """Put an agreement, or a newer version of one, in force, and say what it changes."""
    with report_user_errors():
        agreement = read_agreement(require_file(file))
        database = open_database(Settings.from_environment(home).database_url)
        before = agreement_versions(database, agreement.agreement_id)
        save_agreement(database, agreement)
    _say_added(agreement, before)


@app.command("reinstate")
def reinstate_command(
    file: File,
    officer: Annotated[
        str, typer.Option("--as", help="Login of the district administrator who takes it back.")
    ],
    reason: Annotated[
        str, typer.Option("--reason", help="Why, in a sentence that others will read.")
    ],
    home: Home = None,
) -> None:
    """Take a revocation back: put a newer version of a revoked agreement in force. The password is
    asked for.
    """
    with report_user_errors():
        agreement = read_agreement(require_file(file))
        settings = Settings.from_environment(home)
        database, now = open_database(settings.database_url), settings.now()
        before = agreement_versions(database, agreement.agreement_id)
        reinstate(database, agreement, authenticated_viewer(database, officer, now), reason, now)
    _say_added(agreement, before)
    out.print(
        "Its revocation is taken back, and the agreement's page says by whom and why.",
        highlight=False,
    )


@app.command("list")
def list_command(home: Home = None) -> None:
    """Every agreement: whose, on which ground, from when to when, and whether it counts today."""
    with report_user_errors():
        settings = Settings.from_environment(home)
        table = Table("agreement", "version", "organisation", "ground", "from", "to", "today")
        for one in latest_agreements(open_database(settings.database_url)):
            found = one.agreement
            table.add_row(
                found.agreement_id,
                str(found.version),
                found.organization_id,
                found.legal_basis,
                str(found.start),
                str(found.end),
                agreement_status(one, settings.now().date()),
            )
    print_table(table)


@app.command("show")
def show(agreement_id: Which, version: Version = None, home: Home = None) -> None:
    """Print an agreement's text, to the last byte."""
    with report_user_errors():
        database = open_database(Settings.from_environment(home).database_url)
        found = _version(database, agreement_id, version)
    typer.echo(found.agreement.text.encode(), nl=False)


@app.command("diff")
def diff(agreement_id: Which, version: Version = None, home: Home = None) -> None:
    """What a version changes in the one before it: in words, and line by line with the newer line's
    number.
    """
    with report_user_errors():
        database = open_database(Settings.from_environment(home).database_url)
        after = _version(database, agreement_id, version).agreement
        older = [
            one.agreement
            for one in agreement_versions(database, agreement_id)
            if one.agreement.version < after.version
        ]
        if not older:
            raise AgreementError(
                f"version {after.version} of {agreement_id} is the first: nothing came before it"
            )
        lines = diff_lines(older[0].text, after.text)
    for change in describe_changes(older[0], after):
        out.print(change, highlight=False, soft_wrap=True, markup=False)
    for line in lines:
        typer.echo(f"{line.after or '':>4} {_SIGNS[line.kind]} {line.text}")


@app.command("explain")
def explain_command(
    person: Annotated[str, typer.Argument(help="The login of whoever looks.")],
    student: Annotated[str, typer.Argument(help="The district's identifier of the student.")],
    officer: Annotated[
        str, typer.Option("--as", help="Login of the district administrator who asks.")
    ],
    category: Annotated[
        str, typer.Option("--category", help="One part of the record, with every question.")
    ] = "",
    on: Annotated[
        str, typer.Option("--on", help="Another day than today, at noon, by what is on record now.")
    ] = "",
    home: Home = None,
) -> None:
    """What may this person see of this student, and which line says so? The question itself is
    written down.
    """
    with report_user_errors():
        settings = Settings.from_environment(home)
        database, now = open_database(settings.database_url), settings.now()
        asked = _category(category) if category else None
        viewer, moment = staff_member(database, person), _noon(on) if on else now
        who = authenticated_viewer(database, officer, now)
        if who.role is not Role.DISTRICT_ADMIN or who.organization_id != DISTRICT:
            raise NotADistrictAdmin(
                f"{officer} is not a district administrator: only they may ask about a student"
            )
        snapshot = Snapshot.current(settings.home)
        scope = scope_for(who, database, snapshot, now, settings.secret())
        found = explain_access(viewer, student, database, snapshot, moment)
        record_disclosures(
            database, scope, [student], EXPLAINED_CATEGORIES, "handrail agreements explain", now
        )
    out.print(
        f"{viewer.login}, {viewer.role.replace('_', ' ')} of {viewer.organization_id}, and student"
        f" {student} on {moment:%Y-%m-%d at %H:%M}:",
        highlight=False,
        soft_wrap=True,
    )
    if asked is None:
        out.print(_summary(found))
        if found.housing_services:
            out.print(found.housing_services, highlight=False, soft_wrap=True)
    else:
        _print_answer(next(answer for answer in found.answers if answer.category is asked))


@app.command("revoke")
def revoke_command(agreement_id: Which, home: Home = None) -> None:
    """End an agreement at once: the next request sees nothing by it."""
    with report_user_errors():
        settings = Settings.from_environment(home)
        revoke_agreement(open_database(settings.database_url), agreement_id, settings.now())
    out.print(f"{agreement_id} is revoked. Nothing is shown by it any more.", highlight=False)


def _say_added(agreement: Agreement, before: list[StoredAgreement]) -> None:
    out.print(
        f"{agreement.agreement_id} version {agreement.version} is in force from {agreement.start}"
        f" to {agreement.end}.",
        highlight=False,
    )
    if before and before[0].agreement.version < agreement.version:
        out.print(f"What it changes in version {before[0].agreement.version}:", highlight=False)
        for change in describe_changes(before[0].agreement, agreement):
            out.print(f"  {change}", highlight=False, soft_wrap=True, markup=False)


def _version(database: Database, agreement_id: str, version: int | None) -> StoredAgreement:
    found = agreement_versions(database, agreement_id)
    if not found:
        raise AgreementError(f"there is no agreement {agreement_id!r}")
    for one in found:
        if version in (None, one.agreement.version):
            return one
    raise AgreementError(
        f"{agreement_id} has no version {version}; the newest is {found[0].agreement.version}"
    )


def _category(name: str) -> Category:
    if name not in tuple(Category):
        raise AgreementError(f"--category is {name!r}; it may be {', '.join(Category)}")
    return Category(name)


def _noon(text: str) -> datetime:
    try:
        return datetime.combine(date.fromisoformat(text), datetime.min.time()).replace(hour=12)
    except ValueError:
        raise AgreementError(f"--on is {text!r}; it must be a day such as 2026-04-17") from None


def _summary(found: Explanation) -> Table:
    table = Table("part of the record", "seen", "what decides", "where it is written")
    for answer in found.answers:
        reason = answer.reason
        table.add_row(
            answer.category,
            "yes" if answer.visible else "no",
            f"{reason.asked} {reason.answer}.",
            reason.written,
        )
    return table


def _print_answer(answer: CategoryAccess) -> None:
    for way in answer.ways:
        digest = f", SHA-256 {way.sha256}" if way.sha256 else ""
        table = Table("", "question", "answer", "where it is written")
        for one in way.conditions:
            table.add_row("yes" if one.holds else "no", one.asked, one.answer, one.written)
        out.print(f"By {way.name}{digest}:", highlight=False, soft_wrap=True)
        print_table(table)
    seen = "is seen" if answer.visible else "is not seen"
    out.print(
        f"{answer.category} {seen}: {answer.reason.asked} {answer.reason.answer}."
        f" ({answer.reason.written})",
        highlight=False,
        soft_wrap=True,
    )
