"""`handrail retrain`: the nightly training, for cron or a timer."""

from __future__ import annotations

from typing import Annotated

import typer

from handrail.commands.evaluation import print_comparison, print_text
from handrail.commands.models import Without
from handrail.console import Home, progress_bar, report_user_errors
from handrail.retraining import NightlyResult, retrain
from handrail.settings import Settings
from serving.wording.drift_words import summary


def retrain_nightly(
    behavior: Annotated[
        bool, typer.Option("--behavior", help="Let discipline be an input. Off by default.")
    ] = False,
    seed: Annotated[int, typer.Option(help="Seed of every random choice.")] = 0,
    without: Without = None,
    home: Home = None,
) -> None:
    """Train anew where something changed, audit, compare, and propose. It never lets a version
    serve.

    What it found is kept with the version's run in the registry. A version that was found better
    than the champion, or the first one, becomes the challenger, which a reviewer may read and
    promote.
    """
    with report_user_errors(), progress_bar() as step:
        night = retrain(
            Settings.from_environment(home),
            behavior=behavior,
            seed=seed,
            without=without or (),
            step=step,
        )
    print_nightly_result(night)


def print_nightly_result(night: NightlyResult) -> None:
    """What one night found, in sentences."""
    if night.compared:
        print_comparison(night.compared)
    print_text(
        f"Version {night.version} is new."
        if night.trained
        else f"Nothing has changed since version {night.version} was made, so nothing was trained."
    )
    print_text(
        f"Its audit: {night.verdict.replace('_', ' ')}. Against the champion: {night.finding}."
    )
    print_text(
        f"It is the challenger: `handrail promote {night.version}` would let it serve, with a"
        " reviewer's signature."
        if night.proposed
        else "It is not proposed."
    )
    if night.reaudited:
        print_text(
            "The champion was audited again, with what staff were shown and decided: "
            f"{night.reaudited.replace('_', ' ')}."
        )
    for sentence in summary(night.drift):
        print_text(sentence)
