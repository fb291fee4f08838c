"""`handrail identity`: match partners' participants to students. Prints counts, never a name."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.table import Table

from handrail.console import Home, out, print_table, report_user_errors, require_file, say
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
from records.snapshots.snapshot import Snapshot
from records.staff.accounts import organizations

app = typer.Typer(no_args_is_help=True, help="Match partners' participants to district students.")


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
    """Match a partner's participants to students where that is certain; the rest need review."""
    with report_user_errors():
        settings = Settings.from_environment(home)
        participants = (
            read_clients(file, organization)
            if file.is_dir()
            else read_participants(require_file(file), organization)
        )
        snapshot, now = Snapshot.current(settings.home), settings.now()
        students = linkage_roster(
            ScopedRecords(snapshot, pipeline_scope(snapshot, "features", now.date()))
        )
        matches = link_participants(participants.participants, students)
        database = open_database(settings.database_url)
        purge_non_student_names(database, now)
        counts = record_matches(database, organization, matches, now)
        non_students = len(confirmed_non_students(database, organization))
        waiting = sum(counts[status] for status in OPEN_STATUSES)
    _print_participants(participants)
    out.print(
        f"Linked to a student: {counts[MatchStatus.LINKED]:,}. Waiting for district review:"
        f" {waiting:,}. Not found among the students: {counts[MatchStatus.NONE]:,}. Of this"
        f" partner's participants {non_students:,} were confirmed not to be district students.",
        highlight=False,
        soft_wrap=True,
    )


@app.command("status")
def status(home: Home = None) -> None:
    """How many participants of each partner are linked, waiting for review or not found."""
    with report_user_errors():
        database = open_database(Settings.from_environment(home).database_url)
        decided = [
            (match.participant.organization_id, match.status)
            for match in manually_decided(database)
        ]
        names, counts = organizations(database), status_counts(database)
    table = Table(
        "partner",
        "linked",
        "waiting for review",
        "not found",
        "not a student",
        "decided by a person",
        title="who is who",
    )
    for organization_id, matches in counts.items():
        non_students = decided.count((organization_id, MatchStatus.NONE))
        linked = decided.count((organization_id, MatchStatus.LINKED))
        numbers = (
            matches[MatchStatus.LINKED],
            sum(matches[match] for match in OPEN_STATUSES),
            matches[MatchStatus.NONE] - non_students,
            non_students,
            linked + non_students,
        )
        table.add_row(names[organization_id].name, *(f"{number:,}" for number in numbers))
    print_table(table)


def _print_participants(participants: ParticipantList) -> None:
    """Print what became of the lines of a file."""
    out.print(
        f"{participants.file}: {participants.read:,} lines read,"
        f" {len(participants.participants):,} participants,"
        f" {len(participants.bad):,} quarantined, {participants.repeated:,} repeated,"
        f" {participants.ignored.total():,} ignored.",
        highlight=False,
    )
    if participants.bad:
        quarantined = Table("line", "column", "reason", title="quarantined lines")
        for row in participants.bad:
            quarantined.add_row(str(row.line), row.column or "", row.reason)
        print_table(quarantined)
    for note in participants.notes:
        say(f"Note: {note}.")
    for column, kind in participants.dropped.items():
        out.print(f"Never stored: {column} ({kind}).", highlight=False)
