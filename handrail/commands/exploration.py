"""`handrail exploration` and `handrail shadow`: random order of suggestions; shadow lists."""

from __future__ import annotations

from dataclasses import asdict
from functools import partial
from typing import Annotated

import typer
from rich.table import Table

from handrail.commands.accounts import authenticated_viewer
from handrail.commands.evaluation import print_text
from handrail.console import Home, out, print_table, progress_bar, report_user_errors
from handrail.settings import Settings
from records.access.scope import pipeline_scope
from records.database.engine import open_database
from records.decisions.exploration import (
    ExplorationPolicy,
    current_exploration,
    exploration_settings,
    set_exploration,
)
from records.decisions.impressions import logged_impressions
from records.snapshots.snapshot import Snapshot
from records.staff.accounts import staff_names
from records.suppression.small_numbers import SmallNumbers
from training.episodes.outcome import OutcomeDefinition
from training.monitoring.exploration_value import estimate_exploration_value, progress_after
from training.monitoring.shadow import compare_shadow_lists
from training.registry.model_card import format_estimate
from training.registry.registry import ModelNotFound, challenger_version, model_version

app = typer.Typer(
    no_args_is_help=True, help="Whether the order of near-equal suggestions may be randomized."
)


@app.command("show")
def show(home: Home = None) -> None:
    """Show the current setting, and who changed it before and why."""
    with report_user_errors():
        database = open_database(Settings.from_environment(home).database_url)
        current, names = current_exploration(database), staff_names(database)
        out.print(_describe(current), highlight=False, soft_wrap=True)
        table = Table("when", "who", "share of lists", "near (points)", "why", title="settings")
        for setting in exploration_settings(database):
            table.add_row(
                f"{setting.set_at:%Y-%m-%d %H:%M}",
                names.get(setting.set_by, "somebody who has left"),
                f"{setting.exploration.share:.0%}",
                f"{setting.exploration.within:g}",
                setting.reason,
            )
        if table.row_count:
            print_table(table)


@app.command("found")
def show_draw_results(home: Home = None) -> None:
    """Report how students fared by which of near-equal supports was randomly listed first."""
    with report_user_errors():
        settings = Settings.from_environment(home)
        snapshot, outcome = Snapshot.current(settings.home), OutcomeDefinition.of(settings.home)
        small_numbers = SmallNumbers.from_home(settings.home)
        scope = pipeline_scope(snapshot, "training", settings.now().date())
        impressions = logged_impressions(open_database(settings.database_url), scope)
        with progress_bar() as progress:
            results = estimate_exploration_value(
                impressions,
                partial(progress_after, snapshot, outcome),
                partial(progress, "looking at what followed"),
                small_numbers=small_numbers,
            )
    if not results.orders:
        print_text(
            f"Too little is known yet: {results.lists:,} lists were eligible for randomization"
            f" and have {outcome.window_days} days of progress after them, of fewer than"
            f" {small_numbers.smallest_cell} students."
        )
        return
    print_text(
        f"{results.lists:,} lists of {results.students:,} students were eligible for randomization"
        f" and have {outcome.window_days} days of progress after them."
    )
    table = Table(
        "listed first",
        "progress points (95%)",
        "difference from the default order (95%)",
        "finding",
    )
    for order in results.orders:
        beyond = order.difference_from_best
        table.add_row(
            order.name,
            format_estimate(asdict(order.value)),
            format_estimate(asdict(beyond.estimate)) if beyond else "",
            str(beyond.finding) if beyond else "",
        )
    print_table(table)
    print_text(
        "The first place was randomized, so unmeasured factors cannot explain a difference. It is a"
        " difference between orders of a list, not between supports."
    )


@app.command("set")
def change_exploration(
    share: Annotated[float, typer.Option(help="Share of lists, from 0 (off) to 0.1.")],
    reason: Annotated[
        str, typer.Option("--reason", help="Why, in a sentence that others will read.")
    ],
    admin_login: Annotated[
        str, typer.Option("--as", help="Login of the district administrator who decides.")
    ],
    within: Annotated[
        float, typer.Option(help="How near the best, in progress points, at most 1.")
    ] = 0.5,
    home: Home = None,
) -> None:
    """Randomize the order of near-equal suggestions for a share of lists; 0 turns it off.

    The password is asked for, or read from HANDRAIL_PASSWORD.
    """
    with report_user_errors():
        settings = Settings.from_environment(home)
        database = open_database(settings.database_url)
        admin = authenticated_viewer(database, admin_login, settings.now())
        setting = set_exploration(
            database, admin, ExplorationPolicy(share, within), reason, settings.now()
        )
    out.print(_describe(setting.exploration), highlight=False, soft_wrap=True)


def shadow(home: Home = None) -> None:
    """Compare the challenger's shadow lists with those that were shown, as numbers of students."""
    with report_user_errors():
        settings = Settings.from_environment(home)
        version = challenger_version(settings.home)
        if version is None:
            raise ModelNotFound(
                "there is no challenger: `handrail retrain` proposes one where it does better"
            )
        challenger = model_version(settings.home, version)
        scope = pipeline_scope(Snapshot.current(settings.home), "training", settings.now().date())
        small_numbers = SmallNumbers.from_home(settings.home)
        comparison = compare_shadow_lists(
            logged_impressions(open_database(settings.database_url), scope, challenger.sha256),
            small_numbers,
        )
    out.print(
        f"Version {version} ran in shadow mode alongside the lists of {comparison.students:,}"
        " students. "
        + (
            f"The first support was the same for {comparison.same_top:,}."
            if comparison.same_top is not None
            else (
                "The number with the same first support is suppressed: it would reveal fewer than"
                f" {small_numbers.in_words} students."
            )
        ),
        highlight=False,
        soft_wrap=True,
    )
    if comparison.first_places:
        table = Table("shown first", "the challenger's first", "students", title="first places")
        for pair in comparison.first_places:
            table.add_row(pair.shown, pair.unseen, f"{pair.students:,}")
        if comparison.other:
            table.add_row("others", "", f"{comparison.other:,}")
        print_table(table)


def _describe(exploration: ExplorationPolicy) -> str:
    if not exploration.on:
        return "Exploration is off: the support that is expected to help most is always first."
    return (
        f"For {exploration.share:.0%} of lists, chance decides which is listed first among the"
        f" supports within {exploration.within:g} progress points of the best."
    )
