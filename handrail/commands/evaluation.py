"""`handrail evaluate` and `compare`: what a version is worth, and which of two is better."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.table import Table

from handrail.commands.models import Version
from handrail.console import Home, print_table, progress_bar, report_user_errors, say
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
    """Estimate what a version's suggestions would have been worth, on records held out.

    The figures are stored with the version's run in the registry.
    """
    with report_user_errors():
        home_folder = Settings.from_environment(home).home
        snapshot, registered = Snapshot.current(home_folder), model_version(home_folder, version)
        with progress_bar() as progress:
            evaluation = evaluate_version(snapshot, registered, home_folder, progress=progress)
    print_evaluation(registered, evaluation)


def compare_candidate(
    first: Annotated[
        int | None, typer.Argument(help="The candidate; by default the newest version.")
    ] = None,
    second: Annotated[
        int | None, typer.Argument(help="What it is compared with; by default the champion.")
    ] = None,
    home: Home = None,
) -> None:
    """Compare two versions on the same episodes at equal capacity: is the first better?

    The comparison is stored with the first version's run in the registry; `handrail promote` asks
    for it.
    """
    with report_user_errors():
        home_folder = Settings.from_environment(home).home
        snapshot = Snapshot.current(home_folder)
        candidate, champion = _versions_to_compare(home_folder, first, second)
        with progress_bar() as progress:
            comparison = compare_versions(
                snapshot, candidate, champion, home_folder, progress=progress
            )
    print_comparison(comparison)


def print_evaluation(version: ModelVersion, evaluation: JsonObject) -> None:
    """Print an evaluation as tables and sentences."""
    print_text(evaluation["how"])
    table = Table(
        "figure",
        "equal capacity (95%)",
        "no limit on places (95%)",
        title=f"version {version.version}, {_period(evaluation)}, progress points an episode",
    )
    for row in value_rows([evaluation["same_places"], evaluation["no_limit"]]):
        table.add_row(*row)
    print_table(table)
    heading, rows = overlap_grid(evaluation["overlap"])
    overlap = Table(
        *heading,
        title="episodes by propensity of the same choice under past practice, rounded to ten",
    )
    for cells in rows:
        overlap.add_row(*cells)
    print_table(overlap)
    print_text(
        "Gain over past practice at equal capacity:"
        f" {format_estimate(evaluation['same_places']['gain'])}. {evaluation['sensitivity']}"
    )


def print_comparison(comparison: JsonObject) -> None:
    """Print a comparison as a table and sentences, the finding last."""
    first, second = (
        f"version {comparison[name]}" for name in ("candidate_version", "champion_version")
    )
    print_text(comparison["how"])
    table = Table(
        "figure", first, second, title=f"{_period(comparison)}, progress points an episode"
    )
    for row in value_rows([comparison["candidate"], comparison["champion"]]):
        table.add_row(*row)
    print_table(table)
    print_text(
        f"{first} minus {second}, on the same episodes at equal capacity:"
        f" {format_estimate(comparison['difference'])} progress points per episode; they choose"
        f" differently for {format_count(comparison['differing'])} students."
        f" {comparison['sensitivity']}"
    )
    print_text(f"Finding: {comparison['finding']}.")


def print_text(words: str) -> None:
    """Print text as it is, wrapped by the terminal."""
    say(words)


def _period(evaluation: JsonObject) -> str:
    return (
        f"{evaluation['first_day']} to {evaluation['last_day']},"
        f" {evaluation['episodes']:,} episodes, {evaluation['places']:,} places"
    )


def _versions_to_compare(
    home_folder: Path, first: int | None, second: int | None
) -> tuple[ModelVersion, ModelVersion]:
    champion = champion_version(home_folder) if second is None else second
    if champion is None:
        raise ModelNotFound("no version is the champion: name the version to compare with")
    others = [
        version.version for version in model_versions(home_folder) if version.version != champion
    ]
    if first is None and not others:
        raise ModelNotFound(
            f"version {champion} is the only one: there is nothing to compare it with"
        )
    candidate = others[0] if first is None else first
    if candidate == champion:
        raise ModelNotFound(f"version {champion} cannot be compared with itself")
    return model_version(home_folder, candidate), model_version(home_folder, champion)
