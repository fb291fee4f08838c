"""`handrail effects`: the estimated effect of each partner's program, and programs' costs."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Annotated

import typer
from rich.table import Table

from handrail.commands.accounts import authenticated_viewer
from handrail.console import (
    Home,
    out,
    print_table,
    progress_bar,
    report_user_errors,
    require_file,
)
from handrail.settings import Settings, SettingsError
from records.access.scope import pipeline_scope
from records.access.scoped_records import ScopedRecords
from records.database.engine import Database, open_database
from records.decisions.program_costs import program_costs, replace_program_costs
from records.snapshots.snapshot import Snapshot
from records.staff.accounts import organizations
from records.system.progress import ProgressCallback
from serving.wording.effect_words import (
    VERDICTS,
    dollars,
    dollars_per_point,
    dosage_range,
    estimate_with_interval,
    sensitivity,
    students_served,
)
from serving.wording.words import count
from training.effects.program_effects import ServiceTables, program_effects
from training.effects.published_effects import (
    REASONS,
    EffectFileCorrupt,
    EffectReport,
    PublishedEffect,
    current_costs,
    current_inputs,
    publish_effects,
    read_effects,
    write_effects,
)
from training.episodes.episodes import Episodes, NotEnoughEvidence, build_episodes
from training.episodes.outcome import OutcomeDefinition

app = typer.Typer(
    help="Estimated effect of each partner's program with its interval, or why there is none."
)
AdminLogin = Annotated[
    str, typer.Option("--as", help="Login of the district administrator who records them.")
]


@app.callback(invoke_without_command=True)
def effects(context: typer.Context, home: Home = None) -> None:
    """Estimated effect of each partner's program with its interval, or why there is none."""
    with report_user_errors():
        if context.invoked_subcommand is not None:
            if home is not None:
                raise SettingsError(f"--home must come after {context.invoked_subcommand}")
            return
        settings = Settings.from_environment(home)
        database = open_database(settings.database_url)
        with progress_bar() as progress:
            report, file = compute_effects(settings, database, progress)
        _print_effects(
            report,
            {key: organization.name for key, organization in organizations(database).items()},
        )
    out.print(
        f"Written to {file}; on the site it is the page Programs.", highlight=False, soft_wrap=True
    )


@app.command("costs")
def costs(
    file: Annotated[
        Path,
        typer.Argument(help="CSV with the columns program, dollars, per (student, year, session)."),
    ],
    admin_login: AdminLogin,
    home: Home = None,
) -> None:
    """Record what programs cost, replacing all earlier costs. One wrong line changes nothing.

    The password is asked for, or read from HANDRAIL_PASSWORD.
    """
    with report_user_errors():
        settings = Settings.from_environment(home)
        database = open_database(settings.database_url)
        admin = authenticated_viewer(database, admin_login, settings.now())
        dropped = replace_program_costs(
            database, admin, require_file(file), _program_ids(settings), settings.now()
        )
        current = program_costs(database)
    programs = count(len(current), "program", "programs")
    out.print(
        f"Costs are recorded for {programs}. Run handrail effects to include them.",
        highlight=False,
        soft_wrap=True,
    )
    if dropped:
        names = ", ".join(cost.price.program_id for cost in dropped)
        out.print(
            f"Recorded before and not in {file.name}, so no longer counted: {names}",
            highlight=False,
            soft_wrap=True,
        )


def compute_effects(
    settings: Settings,
    database: Database,
    progress: ProgressCallback,
    episodes: Episodes | None = None,
) -> tuple[EffectReport, Path]:
    """The effects for the current snapshot and their file; reused if all inputs are unchanged.

    Args:
        episodes: those of the current snapshot and outcome, where they are built already.

    Raises:
        NotEnoughEvidence: there is no decision day with progress after it.
    """
    snapshot = Snapshot.current(settings.home)
    records = ScopedRecords(snapshot, pipeline_scope(snapshot, "training", snapshot.latest_date()))
    services = ServiceTables(
        *(
            records.frame(name)
            for name in (
                "programs",
                "service_enrollments",
                "service_sessions",
                "school_enrollments",
            )
        )
    )
    stated_costs = current_costs(services.programs, program_costs(database))
    inputs = current_inputs(settings.home, snapshot.id, stated_costs)
    earlier = _earlier_report(settings.home, snapshot.id)
    if earlier is not None and earlier.inputs == inputs:
        return earlier, write_effects(earlier, settings.home)
    outcome = OutcomeDefinition.of(settings.home)
    if episodes is None:
        episodes = build_episodes(
            snapshot, outcome=outcome, progress=partial(progress, "building episodes")
        )
    if not len(episodes):
        raise NotEnoughEvidence(
            "no student's progress is known: there must be school enrollments, attendance and"
            " grades before and after a decision day"
        )
    estimates = program_effects(
        episodes,
        services,
        stated_costs,
        outcome=outcome,
        progress=partial(progress, "comparing students"),
    )
    report = publish_effects(estimates, services.programs, stated_costs, inputs, settings.now())
    return report, write_effects(report, settings.home)


def _earlier_report(home: Path, snapshot_id: str) -> EffectReport | None:
    try:
        return read_effects(home, snapshot_id)
    except EffectFileCorrupt:
        return None


def _program_ids(settings: Settings) -> list[str]:
    programs = Snapshot.current(settings.home).table("programs")
    program_ids: list[str] = programs["program_id"].to_pyarrow().to_pylist()
    return program_ids


def _print_effects(report: EffectReport, partners: Mapping[str, str]) -> None:
    table = Table(
        "program",
        "partner",
        "served",
        "points (95%)",
        "finding",
        "unadjusted",
        "per student",
        "per point (95%)",
        title="progress compared with similar students, and cost",
    )
    for program in report.programs:
        table.add_row(
            program.name,
            partners.get(program.organization_id, program.organization_id),
            students_served(program.figures),
            estimate_with_interval(program.figures.estimate),
            VERDICTS[program.verdict],
            estimate_with_interval(program.figures.naive),
            dollars(program.cost_per_student),
            dollars_per_point(program.cost_per_point),
        )
    print_table(table)
    for program in report.programs:
        for line in _notes(program):
            out.print(f"{program.name}: {line}", highlight=False, soft_wrap=True)
    compared = count(report.family, "program is", "programs are")
    out.print(
        f"{compared} compared at once: findings are adjusted for multiple comparisons (Holm);"
        " intervals and figures by sessions are not.",
        highlight=False,
        soft_wrap=True,
    )


def _notes(effect: PublishedEffect) -> list[str]:
    """What must stand next to a figure, or in its place."""
    if effect.figures.estimate is None:
        return [f"not estimated: {REASONS[effect.figures.cannot_tell]}."]
    bands = "; ".join(
        f"{dosage_range(band).lower()}: {estimate_with_interval(band.figures.estimate)}"
        for band in effect.amounts
    )
    return [sensitivity(effect), *([f"by sessions attended: {bands}."] if bands else [])]
