"""`handrail disclosures`: verify the log of who saw which record, and report from it."""

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
from records.snapshots.snapshot import Snapshot
from records.staff.accounts import organizations, staff_member
from records.staff.district_admins import require_district_admin
from records.staff.viewer import NotInScope, Scope, Viewer
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
    """Verify the whole log: find any row that was edited, removed, added or moved. Exit 1 if so.

    The log is also compared with the checkpoints that the home has saved.
    """
    with report_user_errors():
        settings = Settings.from_environment(home)
        checkpoints = [
            *saved_checkpoints(settings.home),
            *(read_checkpoints(require_file(head)) if head is not None else ()),
        ]
        database = open_database(settings.database_url)
        with progress_bar() as progress:
            outcome = verify(
                database,
                checkpoints,
                lambda done, total: (
                    progress("reading the log", done, total)
                    if total >= PROGRESS_BAR_FROM_ROWS
                    else None
                ),
                os.cpu_count() or 1,
            )
    if not outcome.ok:
        err.print(
            f"handrail: the disclosure log failed verification: {outcome.problem}",
            highlight=False,
            soft_wrap=True,
        )
        raise typer.Exit(1)
    out.print(f"The disclosure log is intact: {outcome.rows:,} rows.", highlight=False)
    if outcome.nameless:
        out.print(
            f"The disclosures about {words.count(outcome.nameless, 'student', 'students')} no"
            " longer name a student: there must be as many certificates in handrail destroy list.",
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
    admin_login: Annotated[
        str, typer.Option("--as", help="Login of the district administrator who makes the report.")
    ],
    kind: Annotated[str, typer.Option("--format", help="One of text, csv, html, pdf.")] = "text",
    file: Out = None,
    home: Home = None,
) -> None:
    """Report to a family who viewed one student's record and why. The report itself is logged.

    The administrator's password is asked for, or read from HANDRAIL_PASSWORD.
    """
    with report_user_errors():
        if kind not in FORMATS:
            raise SettingsError(f"--format is {kind!r}; it must be one of {', '.join(FORMATS)}")
        if kind == "pdf" and file is None:
            raise SettingsError("a PDF needs a file to be written to: give --out")
        settings = Settings.from_environment(home)
        database, now = open_database(settings.database_url), settings.now()
        admin = authenticated_viewer(database, admin_login, now)
        _write(FORMATS[kind](_build_report(settings, database, admin, student_id, now)), file)


@app.command("breach-report")
def breach_report(
    account: Annotated[
        str, typer.Option("--account", help="Login of the account that somebody else used.")
    ],
    admin_login: Annotated[
        str, typer.Option("--as", help="Login of the district administrator who makes the report.")
    ],
    since: Annotated[str, typer.Option("--from", help="The first day, such as 2026-04-01.")],
    until: Annotated[str, typer.Option("--to", help="The last day.")],
    file: Out = None,
    home: Home = None,
) -> None:
    """Report whose records one account saw between two dates: which students, data and times.

    It is a spreadsheet of identifiers, without names or values. Running it is itself logged as a
    disclosure of each of these students. The administrator's password is asked for, or read from
    HANDRAIL_PASSWORD.
    """
    with report_user_errors():
        settings = Settings.from_environment(home)
        database, now = open_database(settings.database_url), settings.now()
        first, last = _parse_day("--from", since), _parse_day("--to", until)
        if last < first:
            raise SettingsError(
                f"--from is {since} and --to is {until}: the last day is before the first"
            )
        scope = _admin_scope(
            settings,
            database,
            authenticated_viewer(database, admin_login, now),
            Snapshot.current(settings.home),
        )
        member = staff_member(database, account)
        exposed = exposures(database, member.user_id, first, last)
        students = [exposure.student_id for exposure in exposed if exposure.student_id is not None]
        record_disclosures(database, scope, students, [], "handrail disclosures breach-report", now)
        views = sum(exposure.looks for exposure in exposed)
        summary = (
            f"{account} of {member.organization_id} saw"
            f" {words.count(len(exposed), 'student', 'students')} in"
            f" {words.count(views, 'view', 'views')} from {first} to {last}."
        )
        header = ("student", "views", "first", "last", "data shown")
        _write(csv_bytes(summary, header, map(_exposure_row, exposed)), file)
    err.print(summary, highlight=False, soft_wrap=True)


def _admin_scope(
    settings: Settings, database: Database, admin: Viewer, snapshot: Snapshot
) -> Scope:
    """The scope of an administrator, with students who have left.

    Raises:
        NotADistrictAdmin: they are not.
    """
    with database.session() as session:
        require_district_admin(session, admin, "make this report")
    scope = scope_for(admin, database, snapshot, settings.now(), settings.secret())
    return with_former_students(database, scope)


def _build_report(
    settings: Settings, database: Database, admin: Viewer, student_id: str, now: datetime
) -> DisclosureReport:
    """The report, after logging that it was made."""
    snapshot = Snapshot.current(settings.home)
    scope = _admin_scope(settings, database, admin, snapshot)
    if student_id not in scope.students:
        raise NotInScope(
            f"neither the records nor the disclosure log contain a student {student_id!r}"
        )
    roster = read_roster(ScopedRecords(snapshot, scope, [student_id]))
    name = roster[student_id].name if scope.categories(student_id) else None
    record_disclosures(
        database, scope, [student_id], [Category.DIRECTORY], "handrail disclosures report", now
    )
    shown_to = f"{admin.name}, {organizations(database)[admin.organization_id].name}"
    return read_report(
        database, student_id, name, now, words.own_records_shown_to(shown_to, now), None
    )


def _exposure_row(exposure: Exposure) -> tuple[str, ...]:
    return (
        exposure.student_id or "destroyed",
        str(exposure.looks),
        exposure.first,
        exposure.last,
        words.categories(exposure.categories),
    )


def _write(content: bytes, file: Path | None) -> None:
    """Write to a file that nobody else may read, or to the terminal."""
    if file is None:
        typer.echo(content.decode("utf-8-sig"), nl=False)
        return
    file.touch(mode=0o600)
    file.write_bytes(content)
    out.print(f"Wrote {file}.", highlight=False, soft_wrap=True)


def _parse_day(option: str, text: str) -> date:
    try:
        return date.fromisoformat(text)
    except ValueError:
        raise SettingsError(f"{option} is {text!r}; it must be a day such as 2026-04-17") from None
