"""`handrail exploration` and `handrail shadow`: chance in the order of suggestions, and a
challenger nobody sees.
"""

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
from records.people.accounts import staff_names
from records.snapshots.snapshot import Snapshot
from records.suppression.small_numbers import SmallNumbers
from training.episodes.outcome import OutcomeDefinition
from training.monitoring.exploration_value import estimate_exploration_value, progress_after
from training.monitoring.shadow import compare_shadow_lists
from training.registry.model_card import format_estimate
from training.registry.registry import ModelNotFound, challenger_version, model_version

app = typer.Typer(
    no_args_is_help=True, help="Whether the order of near-equal suggestions may be drawn by lot."
)


@app.command("show")
def show(home: Home = None) -> None:
    """Say what holds now, and who set what before and why."""
    with report_user_errors():
        database = open_database(Settings.from_environment(home).database_url)
        now, names = current_exploration(database), staff_names(database)
        out.print(_in_words(now), highlight=False, soft_wrap=True)
        table = Table("when", "who", "share of lists", "near (points)", "why", title="settings")
        for one in exploration_settings(database):
            table.add_row(
                f"{one.set_at:%Y-%m-%d %H:%M}",
                names.get(one.set_by, "somebody who has left"),
                f"{one.exploration.share:.0%}",
                f"{one.exploration.within:g}",
                one.reason,
            )
        if table.row_count:
            print_table(table)


@app.command("found")
def show_draw_results(home: Home = None) -> None:
    """Say what the draws have shown so far: how students fared by which of near-equal supports
    stood first.
    """
    with report_user_errors():
        settings = Settings.from_environment(home)
        snapshot, outcome = Snapshot.current(settings.home), OutcomeDefinition.of(settings.home)
        small_numbers = SmallNumbers.from_home(settings.home)
        scope = pipeline_scope(snapshot, "training", settings.now().date())
        shown = logged_impressions(open_database(settings.database_url), scope)
        with progress_bar() as step:
            told = estimate_exploration_value(
                shown,
                partial(progress_after, snapshot, outcome),
                partial(step, "looking at what followed"),
                small_numbers=small_numbers,
            )
    if not told.orders:
        print_text(
            f"Too little is known yet: {told.lists:,} lists had an order that was open to a draw"
            f" and have {outcome.window_days} days of progress after them, of fewer than"
            f" {small_numbers.smallest_cell} students."
        )
        return
    print_text(
        f"{told.lists:,} lists of {told.students:,} students were open to a draw and have"
        f" {outcome.window_days} days of progress after them."
    )
    table = Table("stood first", "progress points (95%)", "beyond the first line (95%)", "finding")
    for one in told.orders:
        beyond = one.beyond_best
        table.add_row(
            one.name,
            format_estimate(asdict(one.value)),
            format_estimate(asdict(beyond.estimate)) if beyond else "",
            str(beyond.finding) if beyond else "",
        )
    print_table(table)
    print_text(
        "Which stood first was decided by lot, so nothing off the record can explain a difference"
        " away. It is a difference between orders of a list, not between supports."
    )


@app.command("set")
def change_exploration(
    share: Annotated[float, typer.Option(help="Share of lists, from 0 (off) to 0.1.")],
    reason: Annotated[
        str, typer.Option("--reason", help="Why, in a sentence that others will read.")
    ],
    officer: Annotated[
        str, typer.Option("--as", help="Login of the district administrator who decides.")
    ],
    within: Annotated[
        float, typer.Option(help="How near the best, in progress points, at most 1.")
    ] = 0.5,
    home: Home = None,
) -> None:
    """Let the order of near-equal suggestions be drawn for a share of lists, or turn that off with
    a share of 0.

    The password is asked for, or read from HANDRAIL_PASSWORD.
    """
    with report_user_errors():
        settings = Settings.from_environment(home)
        database = open_database(settings.database_url)
        viewer = authenticated_viewer(database, officer, settings.now())
        made = set_exploration(
            database, viewer, ExplorationPolicy(share, within), reason, settings.now()
        )
    out.print(_in_words(made.exploration), highlight=False, soft_wrap=True)


def shadow(home: Home = None) -> None:
    """Compare the challenger's unseen lists with those that were shown, as numbers of students."""
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
        found = compare_shadow_lists(
            logged_impressions(open_database(settings.database_url), scope, challenger.sha256),
            small_numbers,
        )
    out.print(
        f"Version {version} ran unseen beside the lists of {found.students:,} students. "
        + (
            f"The first support was the same for {found.same_first:,}."
            if found.same_first is not None
            else (
                "For how many the first support was the same is not told: fewer than"
                f" {small_numbers.in_words} students would stand out."
            )
        ),
        highlight=False,
        soft_wrap=True,
    )
    if found.first_places:
        table = Table("shown first", "the challenger's first", "students", title="first places")
        for one in found.first_places:
            table.add_row(one.shown, one.unseen, f"{one.students:,}")
        if found.other:
            table.add_row("others", "", f"{found.other:,}")
        print_table(table)


def _in_words(exploration: ExplorationPolicy) -> str:
    if not exploration.on:
        return "Exploration is off: the support that is expected to help most always stands first."
    return (
        f"For {exploration.share:.0%} of lists a draw decides which stands first among the supports"
        f" within {exploration.within:g} progress points of the best."
    )
