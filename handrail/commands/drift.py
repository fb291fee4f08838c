"""`handrail drift`: do students still look as they did when a version learned, and did what it
predicted come true?
"""

from __future__ import annotations

from typing import Annotated

import typer
from rich.table import Table

from handrail.commands.evaluation import print_text
from handrail.console import Home, print_table, progress_bar, report_user_errors
from handrail.settings import Settings
from records.snapshots.snapshot import Snapshot
from serving.wording import drift_words, words
from training.evaluation.drift import DayDrift, DriftLevel, RealizedBenefit
from training.monitoring.drift_report import (
    DriftReport,
    compute_drift_report,
    drift_report_file,
    monitored_version,
)

Watched = Annotated[
    int | None,
    typer.Option(
        "--version", help="Which model version; by default the champion, else the newest."
    ),
]


def drift(version: Watched = None, home: Home = None) -> None:
    """Say how far students differ from those that a version learned from, and what came of what it
    predicted.

    Each decision day is compared with the same place of the school years that the version learned
    from. What is found is kept in Handrail's home and shown on the site.
    """
    with report_user_errors():
        settings = Settings.from_environment(home)
        snapshot, found = Snapshot.current(settings.home), monitored_version(settings.home, version)
        with progress_bar() as step:
            worked_out = compute_drift_report(
                snapshot, found, settings.home, settings.now(), progress=step
            )
    print_drift(worked_out)
    file = drift_report_file(settings.home, worked_out.version, worked_out.snapshot_id)
    print_text(f"Written to {file}; on the site it is the page Changes since training.")


def print_drift(drift: DriftReport) -> None:
    """What was found, as tables and sentences, what to do last."""
    for day in drift.days:
        _show_day(drift, day)
    if drift.realised is not None:
        _show_realised(drift, drift.realised)
    for sentence in drift_words.summary(drift):
        print_text(sentence)


def _show_day(drift: DriftReport, day: DayDrift) -> None:
    if not day.features:
        return
    table = Table(
        "family",
        "finding",
        "largest index",
        "by chance",
        "mean index",
        title=f"version {drift.version}, {words.day(day.day)} (school day {day.place}), about "
        f"{day.students:,} students",
    )
    for one in day.families:
        table.add_row(
            words.feature_family(one.name),
            one.verdict,
            f"{one.worst.index:.3f}",
            f"{one.worst.chance:.3f}",
            f"{one.mean:.3f}",
        )
    print_table(table)
    for one in day.families:
        if one.verdict is not DriftLevel.AS_BEFORE:
            print_text(f"{words.feature_family(one.name)}: {drift_words.largest_shift(one.worst)}.")


def _show_realised(drift: DriftReport, realised: RealizedBenefit) -> None:
    table = Table(
        "students by predicted benefit",
        "predicted",
        "came (95%)",
        "episodes",
        title=f"version {drift.version}, points of the support expected to help most",
    )
    for one in realised.fifths:
        table.add_row(
            drift_words.QUINTILES[one.place],
            drift_words.points(one.predicted),
            drift_words.estimate_with_interval(one.came),
            f"about {one.episodes:,}",
        )
    table.add_row(
        "all",
        drift_words.points(realised.predicted),
        drift_words.estimate_with_interval(realised.came),
        "" if realised.episodes is None else f"about {realised.episodes:,}",
    )
    print_table(table)
