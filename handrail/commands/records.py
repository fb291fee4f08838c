"""`handrail load` and `handrail records`: bringing a district's files in, and counting what came of
them.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime
from pathlib import Path
from typing import Annotated

import typer
from rich.table import Table

from handrail.commands.accounts import authenticated_viewer
from handrail.commands.destruction import describe_unfinished
from handrail.console import (
    Home,
    err,
    out,
    print_table,
    progress_bar,
    report_user_errors,
    require_file,
)
from handrail.settings import Settings, SettingsError
from records.access.publication import (
    publish_if_needed,
    publish_snapshot,
    withdraw_other_publications,
)
from records.access.scope import scope_for
from records.canonical.schema import TABLES, Category
from records.connectors.corrections import (
    Correction,
    quarantine_to_csv,
    read_corrections,
    students_named_in,
)
from records.connectors.edfi.api import EdFiApi
from records.connectors.edfi.files import EdFiFiles
from records.connectors.http.settings import ApiSettings, read_api_settings
from records.connectors.oneroster.api import OneRosterApi
from records.connectors.oneroster.files import OneRosterFiles
from records.connectors.partner_files.hmis import Hmis
from records.connectors.partner_files.mapping import parse_mapping
from records.connectors.partner_files.service_history import ServiceHistory
from records.connectors.powerschool import PowerSchool
from records.connectors.protocol import ApiConnector, Connector, PartnerConnector, SourceRefused
from records.database.engine import open_database
from records.disclosure_log.disclosures import record_disclosures
from records.identity.participants import (
    confirmed_non_students,
    linked_students,
    purge_non_student_names,
)
from records.law.certificates import overdue_destructions
from records.law.destruction import destroyed_student_filter
from records.loading.load import load
from records.loading.load_history import (
    SuspiciousLoad,
    last_loads,
    load_warnings,
    record_load,
    stale_attendance_since,
)
from records.loading.load_report import LoadReport
from records.people.accounts import organizations
from records.people.viewer import Role
from records.permissions.destructions import unfinished_destructions
from records.snapshots.snapshot import NoSnapshot, Snapshot, SnapshotDamaged
from records.system.progress import ProgressCallback

FILE_CONNECTORS: dict[str, Connector] = {
    "edfi": EdFiFiles(),
    "oneroster": OneRosterFiles(),
}
PARTNER_SOURCES = ("service-history", "hmis")
API_CONNECTORS: dict[str, Callable[[ApiSettings], ApiConnector]] = {
    "edfi-api": EdFiApi,
    "oneroster-api": OneRosterApi,
    "powerschool": PowerSchool,
}
SOURCES = (*FILE_CONNECTORS, *PARTNER_SOURCES, *API_CONNECTORS)
app = typer.Typer(
    no_args_is_help=True, help="Look at what is loaded, as counts: never at a student."
)


def load_source(
    source: Annotated[str, typer.Argument(help=f"Kind of source: {', '.join(SOURCES)}.")],
    directory: Annotated[
        Path, typer.Argument(help="Folder or ZIP file of the source's files, or an API's settings.")
    ],
    organization: Annotated[
        str | None, typer.Option(help="The one partner whose files these are.")
    ] = None,
    mapping: Annotated[
        Path | None, typer.Option(help="How to read a partner's export (see `handrail map`).")
    ] = None,
    corrections: Annotated[
        Path | None,
        typer.Option(
            help="A quarantine file with lines put right (see `handrail records quarantine`)."
        ),
    ] = None,
    accept: Annotated[
        bool, typer.Option("--accept", help="Load even what looks like a fault of the export.")
    ] = False,
    keep: Annotated[
        bool,
        typer.Option(
            "--keep-for-changes",
            help="OneRoster: later exports may hold only what has changed.",
        ),
    ] = False,
    home: Home = None,
) -> None:
    """Load a source into a new snapshot. The old one serves until the new one is whole."""
    with report_user_errors():
        settings = Settings.from_environment(home)
        loaded = (settings.home / "snapshots" / "CURRENT").exists()
        with progress_bar() as step:
            if source in API_CONNECTORS and corrections is not None:
                raise SourceRefused(
                    "--corrections is for files: what comes by an API is put right in the"
                    " district's own system, and the next load brings it"
                )
            if source in PARTNER_SOURCES:
                connector, folder = (
                    _partner_connector(source, organization, mapping, settings),
                    directory,
                )
            elif organization is not None or mapping is not None:
                raise SourceRefused(
                    f"--organization and --mapping are for {' and '.join(PARTNER_SOURCES)}"
                )
            else:
                connector, folder = _open_source(source, directory, settings.home, step, keep=keep)
            merge = loaded or source in PARTNER_SOURCES
            report = load_and_publish(
                settings,
                connector,
                folder,
                merge,
                step,
                accept=accept,
                corrections=_put_right(connector, corrections),
            )
    print_load_report(report)


def load_and_publish(
    settings: Settings,
    connector: Connector,
    directory: Path,
    merge: bool,
    step: ProgressCallback,
    *,
    accept: bool = False,
    corrections: Sequence[Correction] = (),
    at: datetime | None = None,
) -> LoadReport:
    """Load a source, leave out whom nobody may bring back, and write down that it was loaded.

    On PostgreSQL its rows are behind the second wall before they serve, and the older ones leave.

    Args:
        at: when it is said to have been loaded; now if left out.

    Raises:
        SuspiciousLoad: it looks like a fault of the export, and `accept` does not say otherwise.
    """
    database = open_database(settings.database_url)
    before = _serving(settings.home)
    purge_non_student_names(database, settings.now())

    def admit(snapshot: Snapshot) -> None:
        found = [] if accept else load_warnings(snapshot, before)
        if found:
            raise SuspiciousLoad(
                "nothing was changed, since this looks like a fault of the export:"
                f" {'; '.join(found)}. If it is right, give the same command with --accept"
            )
        publish_if_needed(database, snapshot, step)

    report = load(
        connector,
        directory,
        settings.home,
        merge=merge,
        progress=step,
        publish=admit,
        leave_out=destroyed_student_filter(database, settings.secret()),
        corrections=corrections,
    )
    record_load(settings.home, report, connector.tables, at or settings.now())
    if settings.on_postgresql:
        serving = Snapshot.current(settings.home)
        publish_if_needed(database, serving, step)
        left = withdraw_other_publications(database, serving)
        if left:
            report.notes.append(
                f"{left} tables of older copies are being read; `handrail records publish` removes "
                "them"
            )
    return report


@app.command("status")
def status(home: Home = None) -> None:
    """Which snapshot serves, how fresh it is, and what should have been destroyed. Exit 1 when
    something is late.
    """
    with report_user_errors():
        settings = Settings.from_environment(home)
        snapshot = Snapshot.current(settings.home)
        counts = Table("table", "rows", "what it is", title=f"snapshot {snapshot.id}")
        for name, rows in snapshot.manifest["rows"].items():
            counts.add_row(name, f"{rows:,}", TABLES[name].description)
        print_table(counts)
        newest = last_loads(settings.home).values()
        for last in sorted(newest, key=lambda last: (last.source, last.organization_id or "")):
            whose = f" of {last.organization_id}" if last.organization_id else ""
            out.print(
                f"{last.source}{whose} was last loaded on {last.at:%Y-%m-%d at %H:%M}.",
                highlight=False,
            )
        old = stale_attendance_since(settings.home, settings.now())
        database = open_database(settings.database_url)
        late, begun = (
            overdue_destructions(database, settings.now().date()),
            unfinished_destructions(database),
        )
    if old is not None:
        err.print(
            "handrail: attendance is older than 36 hours: no alert about absences is given",
            highlight=False,
        )
    for one in late:
        err.print(
            f"handrail: what {one.agreement_id} of {one.organization_id} made was to be destroyed"
            f" by {one.destruction_date}",
            highlight=False,
            soft_wrap=True,
        )
    for line in describe_unfinished(begun):
        err.print(f"handrail: {line}", highlight=False, soft_wrap=True)
    if late or begun or old is not None:
        raise typer.Exit(1)


@app.command("publish")
def publish_records(home: Home = None) -> None:
    """Copy the snapshot that serves to PostgreSQL again, behind row-level security, and remove
    every older copy.
    """
    with report_user_errors():
        settings = Settings.from_environment(home)
        if not settings.on_postgresql:
            raise SettingsError(
                "only PostgreSQL has a second wall; HANDRAIL_DATABASE_URL must begin with"
                " postgresql"
            )
        database, snapshot = open_database(settings.database_url), Snapshot.current(settings.home)
        with progress_bar() as step:
            publish_snapshot(database, snapshot, step)
        left = withdraw_other_publications(database, snapshot)
    out.print(
        f"Snapshot {snapshot.id} is published."
        + (
            f" {left} tables of older copies are being read by somebody: publish again later."
            if left
            else ""
        )
    )


@app.command("quarantine")
def quarantine(
    to: Annotated[
        Path | None, typer.Option("--to", help="Write the rows themselves to a file.")
    ] = None,
    officer: Annotated[
        str | None, typer.Option("--as", help="Login of the district administrator who reads.")
    ] = None,
    home: Home = None,
) -> None:
    """The rows that could not be loaded: file, line, column and reason. The rows themselves go to a
    file only.

    The file names students, so that whoever takes it gives their password and is written down.
    """
    with report_user_errors():
        settings = Settings.from_environment(home)
        snapshot = Snapshot.current(settings.home)
        if to is not None:
            _hand_out(settings, snapshot, to, officer)
            return
        rows = Table("file", "line", "column", "why", title="quarantined rows")
        for row in snapshot.quarantined().to_pylist():
            rows.add_row(row["file"], str(row["line"]), row["column"] or "", row["reason"])
        print_table(rows)


def print_load_report(report: LoadReport) -> None:
    """Print what a load read, kept and left out."""
    table = Table(
        "file",
        "read",
        "kept",
        "quarantined",
        "duplicates",
        "ignored",
        "why ignored",
        title="what was read",
    )
    for count in report.files:
        why = "; ".join(f"{kind} ({rows})" for kind, rows in sorted(count.ignored_kinds.items()))
        table.add_row(
            count.file,
            *(
                f"{n:,}"
                for n in (
                    count.read,
                    count.kept,
                    count.quarantined,
                    count.duplicates,
                    count.ignored,
                )
            ),
            why,
        )
    print_table(table)
    for missing in report.missing:
        out.print(f"Not found: {missing.file}. Stays empty: {missing.stays_empty}.")
    for dropped in report.dropped_columns:
        out.print(f"Never stored: {dropped['column']} in {dropped['file']} ({dropped['kind']}).")
    for note in report.notes:
        out.print(f"Note: {note}")
    changed = "is now" if report.changed else "already was"
    out.print(f"Snapshot {report.snapshot_id} {changed} the current one.")


def _partner_connector(
    source: str, organization: str | None, mapping: Path | None, settings: Settings
) -> Connector:
    """The connector of a partner's files, with what is known of who its participants are."""
    if source == "hmis" and (organization is None or mapping is not None):
        raise SourceRefused(
            "an HMIS export needs --organization, the partner whose it is, and no --mapping"
        )
    found = (
        parse_mapping(require_file(mapping).read_text(encoding="utf-8"), mapping.name)
        if mapping is not None
        else None
    )
    if organization is None and found is not None:
        organization = found.organization_id
    if organization is None:
        return ServiceHistory()
    database = open_database(settings.database_url)
    if organization not in organizations(database):
        raise SourceRefused(
            f"there is no organisation {organization!r}: run `handrail accounts organizations`"
            " first"
        )
    known, no_students = (
        linked_students(database, organization),
        confirmed_non_students(database, organization),
    )
    if source == "hmis":
        return Hmis(organization, known, no_students)
    return ServiceHistory(organization, found, known, no_students)


def _open_source(
    source: str, given: Path, home: Path, step: ProgressCallback, *, keep: bool
) -> tuple[Connector, Path]:
    """The connector, and the folder that it reads: for an API its mirror, which is first brought up
    to date.

    OneRoster files that were once kept for changes are kept from then on: what is kept must be what
    was loaded last.
    """
    kept = home / "sources" / "oneroster_files"
    if source == "oneroster" and (keep or kept.is_dir()):
        return OneRosterFiles(kept), given
    if keep:
        raise SourceRefused(
            "--keep-for-changes is for oneroster: only its exports may hold what has changed"
        )
    if source in FILE_CONNECTORS:
        return FILE_CONNECTORS[source], given
    if source not in API_CONNECTORS:
        raise SourceRefused(f"there is no source {source!r}; the sources are: {', '.join(SOURCES)}")
    settings = read_api_settings(require_file(given))
    if settings.kind != source:
        raise SourceRefused(
            f"{given.name}: kind is {settings.kind!r}, and the command says {source!r}"
        )
    connector, mirror = API_CONNECTORS[source](settings), home / "sources" / settings.name
    connector.fetch(mirror, step)
    return connector, mirror


def _put_right(connector: Connector, file: Path | None) -> list[Correction]:
    """The lines of this source that somebody has put right; a file may hold those of other sources
    too.
    """
    if file is None:
        return []
    organization = connector.organization_id if isinstance(connector, PartnerConnector) else None
    found = [
        one
        for one in read_corrections(require_file(file))
        if (one.source, one.organization_id) == (connector.name, organization)
    ]
    if not found:
        whose = f" of {organization}" if organization else ""
        raise SourceRefused(
            f"{file.name} puts no line of {connector.name}{whose} right, so there is nothing to"
            " load again"
        )
    return found


def _serving(home: Path) -> Snapshot | None:
    try:
        return Snapshot.current(home)
    except (NoSnapshot, SnapshotDamaged):
        return None


def _hand_out(settings: Settings, snapshot: Snapshot, file: Path, officer: str | None) -> None:
    if officer is None:
        raise SettingsError(
            "--to needs --as: the file names students, and who took it is written down"
        )
    database = open_database(settings.database_url)
    viewer = authenticated_viewer(database, officer, settings.now())
    scope = scope_for(viewer, database, snapshot, settings.now(), settings.secret())
    if viewer.role is not Role.DISTRICT_ADMIN or not scope.students:
        raise SettingsError(
            f"{officer} is not a district administrator: only they may take the file"
        )
    rows = snapshot.set_aside()
    record_disclosures(
        database,
        scope,
        students_named_in(rows, scope.students),
        list(Category),
        "records quarantine",
        settings.now(),
    )
    terms = (
        f"Shown to {viewer.name} from the district's own records on"
        f" {settings.now():%Y-%m-%d at %H:%M}."
    )
    file.write_text(quarantine_to_csv(rows, terms), encoding="utf-8")
    out.print(
        f"{len(rows):,} rows are in {file}: put the raw lines right, and load with --corrections"
        f" {file}",
        highlight=False,
        soft_wrap=True,
    )
