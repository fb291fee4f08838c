"""`handrail drift`: do students still look as they did when a version learned, and did what it
predicted come true?
"""

from __future__ import annotations

from typing import Annotated

import typer
from rich.table import Table

from handrail.commands.evaluation import say
from handrail.console import Home, plain_errors, print_table, progress_bar
from handrail.settings import Settings
from records.snapshots.snapshot import Snapshot
from serving.wording import drift_words, words
from training.evaluation.drift import Change, DayChange, Realised
from training.monitoring.drift_report import Drift, drift_file, watched_version, work_out_drift

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
    with plain_errors():
        settings = Settings.from_environment(home)
        snapshot, found = Snapshot.current(settings.home), watched_version(settings.home, version)
        with progress_bar() as step:
            worked_out = work_out_drift(
                snapshot, found, settings.home, settings.now(), progress=step
            )
    show_drift(worked_out)
    file = drift_file(settings.home, worked_out.version, worked_out.snapshot_id)
    say(f"Written to {file}; on the site it is the page Changes since training.")


def show_drift(drift: Drift) -> None:
    """What was found, as tables and sentences, what to do last."""
    for day in drift.days:
        _show_day(drift, day)
    if drift.realised is not None:
        _show_realised(drift, drift.realised)
    for sentence in drift_words.summary(drift):
        say(sentence)


def _show_day(drift: Drift, day: DayChange) -> None:
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
            words.family(one.name),
            one.verdict,
            f"{one.worst.index:.3f}",
            f"{one.worst.chance:.3f}",
            f"{one.mean:.3f}",
        )
    print_table(table)
    for one in day.families:
        if one.verdict is not Change.AS_BEFORE:
            say(f"{words.family(one.name)}: {drift_words.moved(one.worst)}.")


def _show_realised(drift: Drift, realised: Realised) -> None:
    table = Table(
        "students by predicted benefit",
        "predicted",
        "came (95%)",
        "episodes",
        title=f"version {drift.version}, points of the support expected to help most",
    )
    for one in realised.fifths:
        table.add_row(
            drift_words.FIFTHS[one.place],
            drift_words.points(one.predicted),
            drift_words.ranged(one.came),
            f"about {one.episodes:,}",
        )
    table.add_row(
        "all",
        drift_words.points(realised.predicted),
        drift_words.ranged(realised.came),
        "" if realised.episodes is None else f"about {realised.episodes:,}",
    )
    print_table(table)
