"""`handrail evaluate` and `compare`: what a version is worth, and whether it is better than
another.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.table import Table

from handrail.commands.models import Version
from handrail.console import Home, out, print_table, progress_bar, report_user_errors
from handrail.settings import Settings
from records.snapshots.snapshot import Snapshot
from training.registry.model_card import (
    JsonObject,
    format_count,
    format_estimate,
    overlap_grid,
    value_rows,
)
from training.registry.registry import (
    ModelNotFound,
    ModelVersion,
    champion_version,
    model_version,
    model_versions,
)
from training.registry.version_evaluation import compare_versions, evaluate_version


def evaluate_model(version: Version = None, home: Home = None) -> None:
    """Say what a version's suggestions would have been worth, on records that it did not learn
    from.

    The figures are kept with the version's run in the registry.
    """
    with report_user_errors():
        folder = Settings.from_environment(home).home
        snapshot, made = Snapshot.current(folder), model_version(folder, version)
        with progress_bar() as step:
            facts = evaluate_version(snapshot, made, folder, progress=step)
    print_evaluation(made, facts)


def compare_candidate(
    first: Annotated[
        int | None, typer.Argument(help="The candidate; by default the newest version.")
    ] = None,
    second: Annotated[
        int | None, typer.Argument(help="What it is compared with; by default the champion.")
    ] = None,
    home: Home = None,
) -> None:
    """Compare two versions on the same episodes with the same number of places: is the first
    better?

    The comparison is kept with the first version's run in the registry; `handrail promote` asks for
    it.
    """
    with report_user_errors():
        folder = Settings.from_environment(home).home
        snapshot = Snapshot.current(folder)
        candidate, champion = _pair(folder, first, second)
        with progress_bar() as step:
            facts = compare_versions(snapshot, candidate, champion, folder, progress=step)
    print_comparison(facts)


def print_evaluation(made: ModelVersion, facts: JsonObject) -> None:
    """An evaluation as tables and sentences."""
    print_text(facts["how"])
    table = Table(
        "figure",
        "same number of places (95%)",
        "no limit on places (95%)",
        title=f"version {made.version}, {_days(facts)}, progress points an episode",
    )
    for row in value_rows([facts["same_places"], facts["no_limit"]]):
        table.add_row(*row)
    print_table(table)
    heading, rows = overlap_grid(facts["overlap"])
    overlap = Table(
        *heading,
        title="episodes by the chance that past practice chose the same, to the nearest ten",
    )
    for cells in rows:
        overlap.add_row(*cells)
    print_table(overlap)
    print_text(
        "Gain over past practice at the same number of places:"
        f" {format_estimate(facts['same_places']['gain'])}. {facts['sensitivity']}"
    )


def print_comparison(facts: JsonObject) -> None:
    """A comparison as a table and sentences, the finding last."""
    first, second = (f"version {facts[name]}" for name in ("candidate_version", "champion_version"))
    print_text(facts["how"])
    table = Table("figure", first, second, title=f"{_days(facts)}, progress points an episode")
    for row in value_rows([facts["candidate"], facts["champion"]]):
        table.add_row(*row)
    print_table(table)
    print_text(
        f"{first} less {second}, on the same episodes at the same number of places:"
        f" {format_estimate(facts['difference'])} progress points an episode; they choose"
        f" differently for {format_count(facts['differing'])} students. {facts['sensitivity']}"
    )
    print_text(f"Finding: {facts['finding']}.")


def print_text(words: str) -> None:
    """Words as they are, on as many lines as they take."""
    out.print(words, highlight=False, soft_wrap=True, markup=False)


def _days(facts: JsonObject) -> str:
    return (
        f"{facts['first_day']} to {facts['last_day']}, {facts['episodes']:,} episodes,"
        f" {facts['places']:,} places"
    )


def _pair(folder: Path, first: int | None, second: int | None) -> tuple[ModelVersion, ModelVersion]:
    champion = champion_version(folder) if second is None else second
    if champion is None:
        raise ModelNotFound("no version is the champion: name the version to compare with")
    others = [made.version for made in model_versions(folder) if made.version != champion]
    if first is None and not others:
        raise ModelNotFound(
            f"version {champion} is the only one: there is nothing to compare it with"
        )
    candidate = others[0] if first is None else first
    if candidate == champion:
        raise ModelNotFound(f"version {champion} cannot be compared with itself")
    return model_version(folder, candidate), model_version(folder, champion)
