"""`handrail drift`: whether students have changed since training, and predictions came true."""

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

MonitoredVersion = Annotated[
    int | None,
    typer.Option(
        "--version", help="Which model version; by default the champion, else the newest."
    ),
]


def drift(version: MonitoredVersion = None, home: Home = None) -> None:
    """Report how far students differ from the training data, and whether predictions held.

    Each decision day is compared with the same point of the school years that the version was
    trained on. The report is stored in Handrail's home and shown on the site.
    """
    with report_user_errors():
        settings = Settings.from_environment(home)
        snapshot, monitored = (
            Snapshot.current(settings.home),
            monitored_version(settings.home, version),
        )
        with progress_bar() as progress:
            report = compute_drift_report(
                snapshot, monitored, settings.home, settings.now(), progress=progress
            )
    print_drift(report)
    file = drift_report_file(settings.home, report.version, report.snapshot_id)
    print_text(f"Written to {file}; on the site it is the page Changes since training.")


def print_drift(drift: DriftReport) -> None:
    """Print a drift report as tables and sentences, what to do last."""
    for day in drift.days:
        _print_day(drift, day)
    if drift.realised is not None:
        _print_realized(drift, drift.realised)
    for sentence in drift_words.summary(drift):
        print_text(sentence)


def _print_day(drift: DriftReport, day: DayDrift) -> None:
    if not day.features:
        return
    table = Table(
        "family",
        "finding",
        "largest PSI",
        "expected by chance",
        "mean PSI",
        title=f"version {drift.version}, {words.day(day.day)} (school day {day.place}), about "
        f"{day.students:,} students",
    )
    for family in day.families:
        table.add_row(
            words.feature_family(family.name),
            family.verdict,
            f"{family.worst.index:.3f}",
            f"{family.worst.chance:.3f}",
            f"{family.mean:.3f}",
        )
    print_table(table)
    for family in day.families:
        if family.verdict is not DriftLevel.STABLE:
            print_text(
                f"{words.feature_family(family.name)}: {drift_words.largest_shift(family.worst)}."
            )


def _print_realized(drift: DriftReport, realized: RealizedBenefit) -> None:
    table = Table(
        "students by predicted benefit",
        "predicted",
        "observed (95%)",
        "episodes",
        title=f"version {drift.version}, points of the support expected to help most",
    )
    for fifth in realized.fifths:
        table.add_row(
            drift_words.QUINTILES[fifth.place],
            drift_words.points(fifth.predicted),
            drift_words.estimate_with_interval(fifth.came),
            f"about {fifth.episodes:,}",
        )
    table.add_row(
        "all",
        drift_words.points(realized.predicted),
        drift_words.estimate_with_interval(realized.came),
        "" if realized.episodes is None else f"about {realized.episodes:,}",
    )
    print_table(table)
