"""`handrail load` and `handrail records`: load a district's files, and report what was loaded."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from datetime import datetime
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.markup import escape
from rich.table import Table

from features.alert_versions import keep_version
from features.alerts import AlertRules
from features.declarations import DeclarationError
from handrail.commands.accounts import authenticated_viewer
from handrail.commands.destruction import describe_unfinished
from handrail.commands.supports import (
    agreements_by_support,
    programs_by_support,
    unlisted_notes,
)
from handrail.console import (
    Home,
    err,
    out,
    print_table,
    progress_bar,
    report_user_errors,
    require_file,
    say,
)
from handrail.settings import Settings, SettingsError
from records.access.publication import (
    publish_if_needed,
    publish_snapshot,
    withdraw_other_publications,
)
from records.access.scope import scope_for
from records.canonical.schema import TABLES, Category
from records.canonical.supports import SupportCatalog
from records.checks.confirmations import (
    confirm_figure,
    confirmed_figures,
    load_doubts,
    take_back_confirmation,
)
from records.checks.doubts import measure_words, value_text
from records.checks.measures import figure_rows, range_sources
from records.checks.oddities import oddities
from records.checks.plausible_ranges import plausible_ranges
from records.checks.quality import not_on_record, silent_schools
from records.checks.school_figures import figures_before, keep_figures, school_figures
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
from records.connectors.profiles.profile import read_profile
from records.connectors.protocol import ApiConnector, Connector, PartnerConnector, SourceRefused
from records.database.engine import open_database
from records.destruction.certificates import overdue_destructions
from records.destruction.destruction import destroyed_student_filter
from records.disclosure_log.disclosures import record_disclosures
from records.identity.aliases import Identities, keep_identities, known_aliases, protect
from records.identity.participants import (
    confirmed_non_students,
    linked_students,
    purge_non_student_names,
)
from records.loading.load import load
from records.loading.load_history import (
    SuspiciousLoad,
    code_warnings,
    last_loads,
    load_warnings,
    record_load,
    stale_attendance_since,
)
from records.loading.load_report import LoadReport
from records.loading.profile_versions import profile_name, profile_versions
from records.permissions import legal_holds
from records.permissions.destructions_in_progress import unfinished_destructions
from records.snapshots.snapshot import NoSnapshot, Snapshot, SnapshotDamaged
from records.snapshots.waiting_rows import waiting_words
from records.staff.accounts import organizations, staff_names
from records.staff.viewer import Role
from records.suppression.small_numbers import SmallNumbers
from records.system.progress import ProgressCallback

FILE_SOURCES = ("edfi", "oneroster")
PARTNER_SOURCES = ("service-history", "hmis")
API_CONNECTORS: dict[str, Callable[[ApiSettings], ApiConnector]] = {
    "edfi-api": EdFiApi,
    "oneroster-api": OneRosterApi,
    "powerschool": PowerSchool,
}
SOURCES = (*FILE_SOURCES, *PARTNER_SOURCES, *API_CONNECTORS)
app = typer.Typer(no_args_is_help=True, help="Show what is loaded, as counts only.")


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
        typer.Option(help="An edited quarantine file (see `handrail records quarantine`)."),
    ] = None,
    accept: Annotated[
        bool, typer.Option("--accept", help="Load even if it looks like an export error.")
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
    """Load a source into a new snapshot. The current one stays in use until it is complete."""
    with report_user_errors():
        settings = Settings.from_environment(home)
        has_snapshot = (settings.home / "snapshots" / "CURRENT").exists()
        with progress_bar() as progress:
            if source in API_CONNECTORS and corrections is not None:
                raise SourceRefused(
                    "--corrections is for files: data from an API is corrected in the"
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
                connector, folder = _open_source(
                    source, directory, settings.home, progress, keep=keep
                )
            merge = has_snapshot or source in PARTNER_SOURCES
            report = load_and_publish(
                settings,
                connector,
                folder,
                merge,
                progress,
                accept=accept,
                corrections=_corrections_for(connector, corrections),
            )
    print_load_report(report)


def load_and_publish(
    settings: Settings,
    connector: Connector,
    directory: Path,
    merge: bool,
    progress: ProgressCallback,
    *,
    accept: bool = False,
    corrections: Sequence[Correction] = (),
    at: datetime | None = None,
) -> LoadReport:
    """Load a source without destroyed students, and record that it was loaded.

    On PostgreSQL its rows are behind row-level security before the snapshot is used, and older rows
    are removed.

    Args:
        at: when it is said to have been loaded; now if left out.

    Raises:
        SuspiciousLoad: it looks like a fault of the export, and `accept` does not say otherwise.
    """
    database = open_database(settings.database_url)
    current, rule = _current_snapshot(settings.home), SmallNumbers.from_home(settings.home)
    purge_non_student_names(database, settings.now())
    loaded_at = at or settings.now()
    identities = Identities()

    def identify(found: Identities) -> None:
        nonlocal identities
        identities = found

    def admit(snapshot: Snapshot) -> None:
        changes = [] if accept else identities.changes()
        if changes:
            raise SuspiciousLoad(
                f"nothing was changed, since {'; and '.join(changes)}. If that is right, give the"
                " same command with --accept; if not, correct the identifiers in the source"
            )
        warnings = [] if accept else load_warnings(snapshot, current, loaded_at.date())
        if warnings:
            raise SuspiciousLoad(
                "nothing was changed, since this looks like an export error:"
                f" {'; '.join(warnings)}. If it is right, give the same command with --accept"
            )
        unexplained = [] if accept else code_warnings(snapshot, connector.name)
        if unexplained:
            name = profile_name(connector.name)
            raise SuspiciousLoad(
                f"nothing was changed: {'; '.join(unexplained)}. Say what they mean in"
                f" {settings.home / 'profiles' / f'{name}.toml'} (`handrail sources profile {name}`"
                " drafts it), or give the same command with --accept: then what they say stays"
                " unknown"
            )
        protect(database, identities, loaded_at.date())
        publish_if_needed(database, snapshot, progress)

    report = load(
        connector,
        directory,
        settings.home,
        merge=merge,
        progress=progress,
        publish=admit,
        leave_out=destroyed_student_filter(database, settings.secret()),
        corrections=corrections,
        day=loaded_at.date(),
        on_hold=legal_holds.in_force(database),
        aliases=known_aliases(database),
        identify=identify,
    )
    # A snapshot that served already was not admitted again.
    protect(database, identities, loaded_at.date())
    report.notes += keep_identities(database, identities, connector.name, loaded_at)
    record_load(settings.home, report, connector.tables, loaded_at)
    loaded = Snapshot.current(settings.home)
    keep_figures(settings.home, loaded, school_figures(loaded, loaded_at.date(), rule))
    report.notes += unlisted_notes(
        loaded.supports,
        programs_by_support(loaded),
        agreements_by_support(database, loaded_at.date()),
    )
    _keep_alert_rules(settings.home, loaded_at)
    if settings.uses_postgresql:
        published = Snapshot.current(settings.home)
        publish_if_needed(database, published, progress)
        in_use = withdraw_other_publications(database, published)
        if in_use:
            report.notes.append(
                f"{in_use} tables of older copies are being read; `handrail records publish`"
                " removes them"
            )
    return report


def _keep_alert_rules(home: Path, at: datetime) -> None:
    """Note which alert rules a load found in force; rules with a mistake do not undo the load."""
    try:
        keep_version(home, AlertRules.of(home), at)
    except DeclarationError as error:
        err.print(
            f"handrail: the records are loaded, but the alert rules have a mistake: {error}",
            highlight=False,
            soft_wrap=True,
            markup=False,
        )


@app.command("status")
def status(home: Home = None) -> None:
    """The current snapshot, its age, and what is overdue for destruction. Exit 1 if late."""
    with report_user_errors():
        settings = Settings.from_environment(home)
        snapshot = Snapshot.current(settings.home)
        counts = Table("table", "rows", "what it is", title=f"snapshot {snapshot.id}")
        for name, rows in snapshot.manifest["rows"].items():
            counts.add_row(name, f"{rows:,}", TABLES[name].description)
        print_table(counts)
        _print_waiting(snapshot.manifest)
        newest = last_loads(settings.home).values()
        for last in sorted(newest, key=lambda last: (last.source, last.organization_id or "")):
            owner = f" of {last.organization_id}" if last.organization_id else ""
            out.print(
                f"{last.source}{owner} was last loaded on {last.at:%Y-%m-%d at %H:%M}.",
                highlight=False,
            )
        for version in profile_versions(snapshot, settings.home):
            out.print(f"{version.words}.", highlight=False, soft_wrap=True)
            if version.change:
                err.print(f"handrail: {version.change}", highlight=False, soft_wrap=True)
        unknown = not_on_record(snapshot)
        silent = silent_schools(snapshot, settings.now().date())
        stale_since = stale_attendance_since(settings.home, settings.now())
        database = open_database(settings.database_url)
        overdue, unfinished = (
            overdue_destructions(database, settings.now().date()),
            unfinished_destructions(database),
        )
    if unknown:
        out.print(
            f"Not on record for anybody: {', '.join(unknown)}. Nothing is shown or raised of it.",
            highlight=False,
            soft_wrap=True,
        )
    for school in silent:
        since = f"since {school.since}" if school.since else "this school year"
        are = "are unknown" if school.is_unknown else "count as attended, as it is very small"
        err.print(
            f"handrail: {school.name} has sent no attendance {since}: {school.days} school days"
            f" {are}",
            highlight=False,
            soft_wrap=True,
        )
    if stale_since is not None:
        err.print(
            "handrail: attendance is older than 36 hours: absence alerts are turned off",
            highlight=False,
        )
    for agreement in overdue:
        err.print(
            f"handrail: what {agreement.agreement_id} of {agreement.organization_id} produced was"
            f" to be destroyed by {agreement.destruction_date}",
            highlight=False,
            soft_wrap=True,
        )
    for line in describe_unfinished(unfinished):
        err.print(f"handrail: {line}", highlight=False, soft_wrap=True)
    if overdue or unfinished or stale_since is not None:
        raise typer.Exit(1)


@app.command("check")
def check(home: Home = None) -> None:
    """What to look at before trusting a load, school by school. Exit 1 if beyond plausible."""
    with report_user_errors():
        settings = Settings.from_environment(home)
        snapshot, today = Snapshot.current(settings.home), settings.now().date()
        rule, ranges = SmallNumbers.from_home(settings.home), plausible_ranges(settings.home)
        figures = school_figures(snapshot, today, rule)
        before = figures_before(settings.home, snapshot, rule)
        found = oddities(figures, before, ranges, silent_schools(snapshot, today))
        database = open_database(settings.database_url)
        doubted, names = load_doubts(settings.home, database, snapshot), staff_names(database)
    for oddity in found:
        say(f"{oddity.words}.")
    if not found:
        out.print("Nothing is beyond what is plausible.")
    for doubt in doubted.standing:
        say(
            f"Alerts that rest on {doubt.category.replace('_', ' ')} are silent at {doubt.school}"
            f" until the figure is right or is confirmed: `handrail records confirm"
            f" {doubt.school_id} {doubt.measure} --reason ... --as LOGIN`."
        )
    for doubt, confirmed in doubted.settled:
        say(
            f"{doubt.school}, {doubt.measure}: confirmed by"
            f" {names.get(confirmed.confirmed_by, 'somebody who has left')} on"
            f" {confirmed.at:%Y-%m-%d}: {confirmed.reason}"
        )
    last = f"last load ({before.day})" if before is not None else "last load"
    table = Table("school", "figure", "now", last, "other schools (median)", "plausible")
    for school_id, school in figures.schools.items():
        for row in figure_rows(school_id, figures, before, ranges):
            table.add_row(
                escape(school.name), row.words, row.now, row.before, row.others, row.plausible
            )
    print_table(table)
    out.print(
        f"Withheld: about fewer than {rule.in_words} students, or about all but so few."
        " Ends of marks leave out as many students.",
        soft_wrap=True,
    )
    for source in range_sources(ranges):
        say(f"{source}.")
    if found:
        raise typer.Exit(1)


@app.command("confirm")
def confirm(
    school_id: Annotated[str, typer.Argument(help="The school, as `check` names it.")],
    measure: Annotated[str, typer.Argument(help="The figure, as `check` names it.")],
    reason: Annotated[
        str, typer.Option("--reason", help="Why it is right, in a sentence that others will read.")
    ],
    admin_login: Annotated[
        str, typer.Option("--as", help="Login of the district administrator who says so.")
    ],
    home: Home = None,
) -> None:
    """Say that an unusual figure of a school is right, so that its alerts are raised again.

    The password is asked for, or read from HANDRAIL_PASSWORD.
    """
    with report_user_errors():
        settings = Settings.from_environment(home)
        snapshot, database = (
            Snapshot.current(settings.home),
            open_database(settings.database_url),
        )
        admin = authenticated_viewer(database, admin_login, settings.now())
        doubted = load_doubts(settings.home, database, snapshot)
        doubt = doubted.find(school_id, measure)
        confirm_figure(database, admin, doubt, doubted.school_year, reason, settings.now())
    say(
        f"Confirmed: {doubt.words}. Alerts that rest on {doubt.category.replace('_', ' ')} are"
        f" raised at {doubt.school} again, unless something else of it is doubted."
    )


@app.command("unconfirm")
def unconfirm(
    confirmation: Annotated[
        int, typer.Argument(help="Its number, as `confirmations` lists it.", min=1)
    ],
    admin_login: Annotated[
        str, typer.Option("--as", help="Login of the district administrator who takes it back.")
    ],
    home: Home = None,
) -> None:
    """Take back that an unusual figure is right, so that its alerts are silent again.

    What was said stays on record. The password is asked for, or read from HANDRAIL_PASSWORD.
    """
    with report_user_errors():
        settings = Settings.from_environment(home)
        database = open_database(settings.database_url)
        admin = authenticated_viewer(database, admin_login, settings.now())
        one = take_back_confirmation(database, admin, confirmation, settings.now())
    say(
        f"Taken back: confirmation {one.id}, of {measure_words(one.measure)} at {one.school_id}."
        " While the figure is beyond plausible, the alerts that rest on it are silent."
    )


@app.command("confirmations")
def confirmations(home: Home = None) -> None:
    """Every unusual figure that was said to be right: when, by whom, why, and if it was taken
    back.
    """
    with report_user_errors():
        settings = Settings.from_environment(home)
        database = open_database(settings.database_url)
        names = staff_names(database)
        known = confirmed_figures(database)
    table = Table(
        "number", "when", "who", "school", "figure", "value", "school year", "why", "taken back"
    )
    for one in known:
        table.add_row(
            str(one.id),
            f"{one.at:%Y-%m-%d %H:%M}",
            escape(names.get(one.confirmed_by, "somebody who has left")),
            escape(one.school_id),
            one.measure,
            value_text(one.measure, one.value),
            f"{one.school_year - 1}-{one.school_year % 100:02}",
            escape(one.reason),
            f"{one.taken_back_at:%Y-%m-%d %H:%M}" if one.taken_back_at is not None else "no",
        )
    print_table(table)


@app.command("publish")
def publish_records(home: Home = None) -> None:
    """Copy the current snapshot to PostgreSQL again, behind row-level security.

    Every older copy is removed.
    """
    with report_user_errors():
        settings = Settings.from_environment(home)
        if not settings.uses_postgresql:
            raise SettingsError(
                "row-level security needs PostgreSQL; HANDRAIL_DATABASE_URL must begin with"
                " postgresql"
            )
        database, snapshot = open_database(settings.database_url), Snapshot.current(settings.home)
        with progress_bar() as progress:
            publish_snapshot(database, snapshot, progress)
        in_use = withdraw_other_publications(database, snapshot)
    out.print(
        f"Snapshot {snapshot.id} is published."
        + (
            f" {in_use} tables of older copies are being read: publish again later."
            if in_use
            else ""
        )
    )


@app.command("quarantine")
def quarantine(
    to: Annotated[
        Path | None, typer.Option("--to", help="Write the rows themselves to a file.")
    ] = None,
    admin_login: Annotated[
        str | None, typer.Option("--as", help="Login of the district administrator who reads.")
    ] = None,
    home: Home = None,
) -> None:
    """The rows that could not be loaded: file, line, column and reason.

    The rows themselves go to a file only. It names students, so whoever takes it gives their
    password and is logged.
    """
    with report_user_errors():
        settings = Settings.from_environment(home)
        snapshot = Snapshot.current(settings.home)
        if to is not None:
            _write_quarantine(settings, snapshot, to, admin_login)
            return
        rows = Table("file", "line", "column", "reason", title="quarantined rows")
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
    stays = {
        file
        for name, files in report.not_brought.items()
        if report.rows.get(name)
        for file in files
    }
    for missing in report.missing:
        effect = (
            "What an earlier load brought of it stays"
            if missing.file in stays
            else f"Not available without it: {missing.stays_empty}"
        )
        is_empty = any(note.startswith(f"{missing.file} has a header") for note in report.notes)
        out.print(f"{'Empty' if is_empty else 'Not found'}: {missing.file}. {effect}.")
    for dropped in report.dropped_columns:
        out.print(f"Never stored: {dropped['column']} in {dropped['file']} ({dropped['kind']}).")
    for note in report.notes:
        out.print(f"Note: {note}")
    _print_waiting(asdict(report))
    changed = "is now" if report.changed else "already was"
    out.print(f"Snapshot {report.snapshot_id} {changed} the current one.")


def _print_waiting(manifest: Mapping[str, Any]) -> None:
    """Print which rows wait for their student.

    Args:
        manifest: a snapshot's, or the report of its load.
    """
    for sentence in waiting_words(manifest):
        out.print(f"Waiting: {sentence}.", highlight=False)


def _partner_connector(
    source: str, organization: str | None, mapping: Path | None, settings: Settings
) -> Connector:
    """The connector of a partner's files, with its known links to students."""
    if source == "hmis" and (organization is None or mapping is not None):
        raise SourceRefused(
            "an HMIS export needs --organization, the partner it belongs to, and no --mapping"
        )
    supports = SupportCatalog.of(settings.home)
    parsed = (
        parse_mapping(require_file(mapping).read_text(encoding="utf-8"), mapping.name, supports)
        if mapping is not None
        else None
    )
    if organization is None and parsed is not None:
        organization = parsed.organization_id
    if organization is None:
        return ServiceHistory(supports=supports)
    database = open_database(settings.database_url)
    if organization not in organizations(database):
        raise SourceRefused(
            f"there is no organization {organization!r}: run `handrail accounts organizations`"
            " first"
        )
    links, non_students = (
        linked_students(database, organization),
        confirmed_non_students(database, organization),
    )
    if source == "hmis":
        return Hmis(organization, links, non_students, supports)
    return ServiceHistory(organization, parsed, links, non_students, supports)


def _open_source(
    source: str, path: Path, home: Path, progress: ProgressCallback, *, keep: bool
) -> tuple[Connector, Path]:
    """The connector and the folder that it reads: for an API, its updated mirror.

    OneRoster files that were once kept for changes are kept from then on: the mirror must be what
    was loaded last.
    """
    oneroster_mirror = home / "sources" / "oneroster_files"
    if source == "oneroster":
        mirror = oneroster_mirror if keep or oneroster_mirror.is_dir() else None
        return OneRosterFiles(mirror, read_profile("oneroster", home)), path
    if keep:
        raise SourceRefused(
            "--keep-for-changes is for oneroster: only its exports may hold what has changed"
        )
    if source == "edfi":
        return EdFiFiles(read_profile("edfi", home)), path
    if source not in API_CONNECTORS:
        raise SourceRefused(f"there is no source {source!r}; the sources are: {', '.join(SOURCES)}")
    settings = read_api_settings(require_file(path))
    if settings.kind != source:
        raise SourceRefused(
            f"{path.name}: kind is {settings.kind!r}, and the command says {source!r}"
        )
    connector, mirror = API_CONNECTORS[source](settings), home / "sources" / settings.name
    if isinstance(connector, EdFiApi | OneRosterApi | PowerSchool):
        connector.profile = read_profile(profile_name(source), home)
    connector.fetch(mirror, progress)
    return connector, mirror


def _corrections_for(connector: Connector, file: Path | None) -> list[Correction]:
    """The corrected lines of this source; the file may contain those of other sources too."""
    if file is None:
        return []
    organization = connector.organization_id if isinstance(connector, PartnerConnector) else None
    corrections = [
        correction
        for correction in read_corrections(require_file(file))
        if (correction.source, correction.organization_id) == (connector.name, organization)
    ]
    if not corrections:
        owner = f" of {organization}" if organization else ""
        raise SourceRefused(
            f"{file.name} corrects no line of {connector.name}{owner}, so there is nothing to load"
            " again"
        )
    return corrections


def _current_snapshot(home: Path) -> Snapshot | None:
    try:
        return Snapshot.current(home)
    except (NoSnapshot, SnapshotDamaged):
        return None


def _write_quarantine(
    settings: Settings, snapshot: Snapshot, file: Path, admin_login: str | None
) -> None:
    if admin_login is None:
        raise SettingsError(
            "--to needs --as: the file names students, and who took it is written down"
        )
    database = open_database(settings.database_url)
    viewer = authenticated_viewer(database, admin_login, settings.now())
    scope = scope_for(viewer, database, snapshot, settings.now(), settings.secret())
    if viewer.role is not Role.DISTRICT_ADMIN or not scope.students:
        raise SettingsError(
            f"{admin_login} is not a district administrator: only they may take the file"
        )
    rows, aliases = snapshot.set_aside(), known_aliases(database)
    named = students_named_in(rows, scope.students.union(aliases))
    record_disclosures(
        database,
        scope,
        sorted(scope.students.intersection(aliases.get(name, name) for name in named)),
        list(Category),
        "records quarantine",
        settings.now(),
    )
    access_notice = (
        f"Shown to {viewer.name} from the district's own records on"
        f" {settings.now():%Y-%m-%d at %H:%M}."
    )
    file.write_text(quarantine_to_csv(rows, access_notice), encoding="utf-8")
    out.print(
        f"{len(rows):,} rows are in {file}: correct the raw lines, then load with --corrections"
        f" {file}",
        highlight=False,
        soft_wrap=True,
    )
