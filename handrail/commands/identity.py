"""`handrail identity`: who a partner's participants are. Tells counts only, never a name."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.table import Table

from handrail.console import Home, out, print_table, report_user_errors, require_file
from handrail.settings import Settings
from records.access.scope import pipeline_scope
from records.access.scoped_records import ScopedRecords
from records.connectors.partner_files.hmis import read_clients
from records.connectors.partner_files.participant_list import (
    COLUMN_NAMES,
    ParticipantList,
    read_participants,
)
from records.database.engine import open_database
from records.identity.linkage import link_participants
from records.identity.participants import (
    OPEN_STATUSES,
    MatchStatus,
    confirmed_non_students,
    linkage_roster,
    manually_decided,
    purge_non_student_names,
    record_matches,
    status_counts,
)
from records.people.accounts import organizations
from records.snapshots.snapshot import Snapshot

app = typer.Typer(
    no_args_is_help=True, help="Who a partner's participants are among the district's students."
)


@app.command("link")
def link_file(
    file: Annotated[
        Path,
        typer.Argument(
            help=f"CSV with the columns {', '.join(COLUMN_NAMES)}; or a folder of HMIS CSV."
        ),
    ],
    organization: Annotated[str, typer.Option(help="The partner whose participants these are.")],
    home: Home = None,
) -> None:
    """Link a partner's participants to students where that is sure; the rest wait for a person, on
    the site.
    """
    with report_user_errors():
        settings = Settings.from_environment(home)
        found = (
            read_clients(file, organization)
            if file.is_dir()
            else read_participants(require_file(file), organization)
        )
        snapshot, now = Snapshot.current(settings.home), settings.now()
        students = linkage_roster(
            ScopedRecords(snapshot, pipeline_scope(snapshot, "features", now.date()))
        )
        matches = link_participants(found.participants, students)
        database = open_database(settings.database_url)
        purge_non_student_names(database, now)
        stands = record_matches(database, organization, matches, now)
        no_students = len(confirmed_non_students(database, organization))
    _show(found)
    out.print(
        f"Linked to a student: {stands[MatchStatus.LINKED]:,}. Waiting for somebody at the district"
        f" to say who they are: {sum(stands[one] for one in OPEN_STATUSES):,}. Not found among the"
        f" students: {stands[MatchStatus.NONE]:,}. Of this partner's participants {no_students:,}"
        " are no students of the district, as somebody said.",
        highlight=False,
        soft_wrap=True,
    )


@app.command("status")
def status(home: Home = None) -> None:
    """How many participants of each partner are linked, wait for a person or were not found."""
    with report_user_errors():
        database = open_database(Settings.from_environment(home).database_url)
        by_person = [
            (one.participant.organization_id, one.status) for one in manually_decided(database)
        ]
        names, stands = organizations(database), status_counts(database)
    table = Table(
        "partner",
        "linked",
        "waiting for a person",
        "not found",
        "no student",
        "said by a person",
        title="who is who",
    )
    for organization_id, found in stands.items():
        no_student = by_person.count((organization_id, MatchStatus.NONE))
        linked = by_person.count((organization_id, MatchStatus.LINKED))
        numbers = (
            found[MatchStatus.LINKED],
            sum(found[one] for one in OPEN_STATUSES),
            found[MatchStatus.NONE] - no_student,
            no_student,
            linked + no_student,
        )
        table.add_row(names[organization_id].name, *(f"{number:,}" for number in numbers))
    print_table(table)


def _show(found: ParticipantList) -> None:
    """What became of the lines of a file."""
    out.print(
        f"{found.file}: {found.read:,} lines read, {len(found.participants):,} participants,"
        f" {len(found.bad):,} put aside, {found.repeated:,} repeated, {found.ignored.total():,}"
        " ignored.",
        highlight=False,
    )
    if found.bad:
        lines = Table("line", "column", "why", title="lines put aside")
        for row in found.bad:
            lines.add_row(str(row.line), row.column or "", row.reason)
        print_table(lines)
    for column, kind in found.dropped.items():
        out.print(f"Never stored: {column} ({kind}).", highlight=False)
