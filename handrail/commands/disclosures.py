"""`handrail disclosures`: the log of who saw which student's record, checked, kept and told to
those who ask.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from datetime import date, datetime
from pathlib import Path
from typing import Annotated

import typer

from handrail.commands.accounts import authenticated_viewer
from handrail.console import Home, err, out, progress_bar, report_user_errors, require_file
from handrail.settings import Settings, SettingsError
from records.access.scope import scope_for
from records.access.scoped_records import ScopedRecords
from records.canonical.schema import Category
from records.database.engine import Database, open_database
from records.disclosure_log.checkpoints import (
    export_checkpoint,
    read_checkpoints,
    saved_checkpoints,
)
from records.disclosure_log.disclosures import record_disclosures
from records.disclosure_log.history import Exposure, exposures
from records.disclosure_log.student_references import with_former_students
from records.disclosure_log.verification import verify_log as verify
from records.people.accounts import organizations, staff_member
from records.people.district_admins import require_district_admin
from records.people.viewer import NotInScope, Scope, Viewer
from records.snapshots.snapshot import Snapshot
from serving.exports.csv_export import csv_bytes
from serving.exports.disclosure_report import (
    DisclosureReport,
    read_report,
    report_csv,
    report_html,
    report_pdf,
    report_text,
)
from serving.students.roster import read_roster
from serving.wording import words

app = typer.Typer(no_args_is_help=True, help="The log of who saw which student's record.")
PROGRESS_BAR_FROM_ROWS = 50_000
"""Rows from which on reading the log takes long enough for a bar."""

FORMATS: Mapping[str, Callable[[DisclosureReport], bytes]] = {
    "text": lambda report: report_text(report).encode(),
    "csv": report_csv,
    "html": report_html,
    "pdf": report_pdf,
}
Out = Annotated[
    Path | None, typer.Option("--out", help="The file to write; by default the terminal.")
]


@app.command("verify")
def verify_command(
    head: Annotated[
        Path | None, typer.Option(help="A head that was exported earlier, to compare with.")
    ] = None,
    home: Home = None,
) -> None:
    """Read the whole log and find any row that was edited, removed, added or moved. Exit 1 when one
    is found.

    The log is compared with the heads that the home has kept, too.
    """
    with report_user_errors():
        settings = Settings.from_environment(home)
        heads = [
            *saved_checkpoints(settings.home),
            *(read_checkpoints(require_file(head)) if head is not None else ()),
        ]
        database = open_database(settings.database_url)
        with progress_bar() as step:
            outcome = verify(
                database,
                heads,
                lambda done, total: (
                    step("reading the log", done, total)
                    if total >= PROGRESS_BAR_FROM_ROWS
                    else None
                ),
                os.cpu_count() or 1,
            )
    if not outcome.ok:
        err.print(
            f"handrail: the disclosure log does not hold: {outcome.problem}",
            highlight=False,
            soft_wrap=True,
        )
        raise typer.Exit(1)
    out.print(f"The disclosure log holds: {outcome.rows:,} rows.", highlight=False)
    if outcome.nameless:
        out.print(
            f"The looks at {words.count(outcome.nameless, 'student', 'students')} name nobody any"
            " more: there must be as many certificates in handrail destroy list.",
            highlight=False,
            soft_wrap=True,
        )


@app.command("head")
def export_log_head(
    file: Annotated[Path, typer.Argument(help="Where to write the head.")], home: Home = None
) -> None:
    """Write the log's last hash to a file, to be kept away from this machine."""
    with report_user_errors():
        export_checkpoint(open_database(Settings.from_environment(home).database_url), file)
    out.print(f"Wrote {file}.", highlight=False)


@app.command("report")
def report(
    student_id: Annotated[str, typer.Argument(help="The district's identifier of the student.")],
    officer: Annotated[
        str, typer.Option("--as", help="Login of the district administrator who makes the report.")
    ],
    kind: Annotated[str, typer.Option("--format", help="One of text, csv, html, pdf.")] = "text",
    file: Out = None,
    home: Home = None,
) -> None:
    """Tell a family who has looked at one student's record, and what for. Making the report is
    itself on the list.

    The administrator's password is asked for, or read from HANDRAIL_PASSWORD.
    """
    with report_user_errors():
        if kind not in FORMATS:
            raise SettingsError(f"--format is {kind!r}; it must be one of {', '.join(FORMATS)}")
        if kind == "pdf" and file is None:
            raise SettingsError("a PDF needs a file to be written to: give --out")
        settings = Settings.from_environment(home)
        database, now = open_database(settings.database_url), settings.now()
        who = authenticated_viewer(database, officer, now)
        _deliver(FORMATS[kind](_made(settings, database, who, student_id, now)), file)


@app.command("breach-report")
def breach_report(
    account: Annotated[
        str, typer.Option("--account", help="Login of the account that somebody else used.")
    ],
    officer: Annotated[
        str, typer.Option("--as", help="Login of the district administrator who makes the report.")
    ],
    since: Annotated[str, typer.Option("--from", help="The first day, such as 2026-04-01.")],
    until: Annotated[str, typer.Option("--to", help="The last day.")],
    file: Out = None,
    home: Home = None,
) -> None:
    """Whose records one account saw from one day to another: which students, what of them, how
    often and when.

    It is a spreadsheet of identifiers, and holds no name and no value. Making it is itself a look
    at each of these students, and written down. The administrator's password is asked for, or read
    from HANDRAIL_PASSWORD.
    """
    with report_user_errors():
        settings = Settings.from_environment(home)
        database, now = open_database(settings.database_url), settings.now()
        first, last = _day("--from", since), _day("--to", until)
        if last < first:
            raise SettingsError(
                f"--from is {since} and --to is {until}: the last day is before the first"
            )
        scope = _officer(
            settings,
            database,
            authenticated_viewer(database, officer, now),
            Snapshot.current(settings.home),
        )
        who = staff_member(database, account)
        seen = exposures(database, who.user_id, first, last)
        students = [one.student_id for one in seen if one.student_id is not None]
        record_disclosures(database, scope, students, [], "handrail disclosures breach-report", now)
        told = (
            f"{account} of {who.organization_id} saw"
            f" {words.count(len(seen), 'student', 'students')} in"
            f" {words.count(sum(one.looks for one in seen), 'look', 'looks')} from {first} to"
            f" {last}."
        )
        header = ("student", "looks", "first", "last", "what was shown")
        _deliver(csv_bytes(told, header, map(_exposed, seen)), file)
    err.print(told, highlight=False, soft_wrap=True)


def _officer(settings: Settings, database: Database, who: Viewer, snapshot: Snapshot) -> Scope:
    """The scope of an officer who asks for looks at students, those of students who have left too.

    Raises:
        NotADistrictAdmin: they are not.
    """
    with database.session() as session:
        require_district_admin(session, who, "make this report")
    scope = scope_for(who, database, snapshot, settings.now(), settings.secret())
    return with_former_students(database, scope)


def _made(
    settings: Settings, database: Database, who: Viewer, student_id: str, now: datetime
) -> DisclosureReport:
    """The report, once it is written down that it is made."""
    snapshot = Snapshot.current(settings.home)
    scope = _officer(settings, database, who, snapshot)
    if student_id not in scope.students:
        raise NotInScope(
            f"neither the records nor the log of disclosures know a student {student_id!r}"
        )
    listed = read_roster(ScopedRecords(snapshot, scope, [student_id]))
    name = listed[student_id].name if scope.categories(student_id) else None
    record_disclosures(
        database, scope, [student_id], [Category.DIRECTORY], "handrail disclosures report", now
    )
    officer = f"{who.name}, {organizations(database)[who.organization_id].name}"
    return read_report(
        database, student_id, name, now, words.own_records_shown_to(officer, now), None
    )


def _exposed(one: Exposure) -> tuple[str, ...]:
    return (
        one.student_id or "destroyed",
        str(one.looks),
        one.first,
        one.last,
        words.categories(one.categories),
    )


def _deliver(content: bytes, file: Path | None) -> None:
    """To a file that nobody else may read, or to the terminal."""
    if file is None:
        typer.echo(content.decode("utf-8-sig"), nl=False)
        return
    file.touch(mode=0o600)
    file.write_bytes(content)
    out.print(f"Wrote {file}.", highlight=False, soft_wrap=True)


def _day(option: str, text: str) -> date:
    try:
        return date.fromisoformat(text)
    except ValueError:
        raise SettingsError(f"{option} is {text!r}; it must be a day such as 2026-04-17") from None
