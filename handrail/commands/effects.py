"""`handrail effects`: what went along with each partner's program, and what programs cost."""

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
    ProgressCallback,
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
from records.people.accounts import organizations
from records.snapshots.snapshot import Snapshot
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
    help=(
        "What went along with each partner's program: an effect with its range, or why nobody can"
        " tell."
    )
)
AdminLogin = Annotated[
    str, typer.Option("--as", help="Login of the district administrator who states them.")
]


@app.callback(invoke_without_command=True)
def effects(context: typer.Context, home: Home = None) -> None:
    """What went along with each partner's program: an effect with its range, or why nobody can
    tell.
    """
    with report_user_errors():
        if context.invoked_subcommand is not None:
            if home is not None:
                raise SettingsError(f"--home must come after {context.invoked_subcommand}")
            return
        settings = Settings.from_environment(home)
        database = open_database(settings.database_url)
        with progress_bar() as step:
            report, file = compute_effects(settings, database, step)
        _show(report, {key: one.name for key, one in organizations(database).items()})
    out.print(
        f"Written to {file}; on the site it is the page Programs.", highlight=False, soft_wrap=True
    )


@app.command("costs")
def costs(
    file: Annotated[
        Path,
        typer.Argument(help="CSV with the columns program, dollars, per (student, year, session)."),
    ],
    officer: AdminLogin,
    home: Home = None,
) -> None:
    """State what programs cost, in place of all that was stated before. One wrong line, and nothing
    is changed.

    The password is asked for, or read from HANDRAIL_PASSWORD.
    """
    with report_user_errors():
        settings = Settings.from_environment(home)
        database = open_database(settings.database_url)
        viewer = authenticated_viewer(database, officer, settings.now())
        gone = replace_program_costs(
            database, viewer, require_file(file), _programs(settings), settings.now()
        )
        counting = program_costs(database)
    what = count(len(counting), "program costs", "programs cost")
    out.print(
        f"It is stated what {what}. Run handrail effects to work it in.",
        highlight=False,
        soft_wrap=True,
    )
    if gone:
        names = ", ".join(one.price.program_id for one in gone)
        out.print(
            f"Stated before and not in {file.name}, so no longer counted: {names}",
            highlight=False,
            soft_wrap=True,
        )


def compute_effects(
    settings: Settings, database: Database, step: ProgressCallback, episodes: Episodes | None = None
) -> tuple[EffectReport, Path]:
    """The figures of the current snapshot and their file; what is there is taken if all that it was
    made of is alike.

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
    known = current_costs(services.programs, program_costs(database))
    inputs = current_inputs(settings.home, snapshot.id, known)
    before = _before(settings.home, snapshot.id)
    if before is not None and before.inputs == inputs:
        return before, write_effects(before, settings.home)
    outcome = OutcomeDefinition.of(settings.home)
    if episodes is None:
        episodes = build_episodes(
            snapshot, outcome=outcome, progress=partial(step, "looking back at decision days")
        )
    if not len(episodes):
        raise NotEnoughEvidence(
            "nobody's progress is known: there must be school enrollments, attendance and marks "
            "before and after a day on which students were looked at"
        )
    found = program_effects(
        episodes, services, known, outcome=outcome, progress=partial(step, "comparing students")
    )
    report = publish_effects(found, services.programs, known, inputs, settings.now())
    return report, write_effects(report, settings.home)


def _before(home: Path, snapshot_id: str) -> EffectReport | None:
    try:
        return read_effects(home, snapshot_id)
    except EffectFileCorrupt:
        return None


def _programs(settings: Settings) -> list[str]:
    programs = Snapshot.current(settings.home).table("programs")
    found: list[str] = programs["program_id"].to_pyarrow().to_pylist()
    return found


def _show(report: EffectReport, partners: Mapping[str, str]) -> None:
    table = Table(
        "program",
        "partner",
        "served",
        "points (95%)",
        "so",
        "naive",
        "a student",
        "a point (95%)",
        title="progress beside similar students, and what it cost",
    )
    for one in report.programs:
        table.add_row(
            one.name,
            partners.get(one.organization_id, one.organization_id),
            students_served(one.figures),
            estimate_with_interval(one.figures.estimate),
            VERDICTS[one.verdict],
            estimate_with_interval(one.figures.naive),
            dollars(one.cost_per_student),
            dollars_per_point(one.cost_per_point),
        )
    print_table(table)
    for one in report.programs:
        for line in _beside(one):
            out.print(f"{one.name}: {line}", highlight=False, soft_wrap=True)
    together = count(report.family, "program is", "programs are")
    out.print(
        f"{together} compared at once: gains and losses are corrected for it (Holm), ranges "
        "and figures by sessions are not.",
        highlight=False,
        soft_wrap=True,
    )


def _beside(one: PublishedEffect) -> list[str]:
    """What must stand beside a figure, or in its place."""
    if one.figures.estimate is None:
        return [f"cannot tell: {REASONS[one.figures.cannot_tell]}."]
    bands = "; ".join(
        f"{dosage_range(band).lower()}: {estimate_with_interval(band.figures.estimate)}"
        for band in one.amounts
    )
    return [sensitivity(one), *([f"by sessions attended: {bands}."] if bands else [])]
