"""`handrail retrain`: nightly retraining, for cron or a timer."""

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
        bool, typer.Option("--behavior", help="Use discipline records as features. Off by default.")
    ] = False,
    seed: Annotated[int, typer.Option(help="Seed of every random choice.")] = 0,
    without: Without = None,
    home: Home = None,
) -> None:
    """Retrain if anything changed, then audit, compare and propose a challenger.

    What it found is stored with the version's run in the registry. A version that was found better
    than the champion, or the first one, becomes the challenger, which a reviewer may read and
    promote.
    """
    with report_user_errors(), progress_bar() as progress:
        result = retrain(
            Settings.from_environment(home),
            behavior=behavior,
            seed=seed,
            without=without or (),
            progress=progress,
        )
    print_nightly_result(result)


def print_nightly_result(result: NightlyResult) -> None:
    """Print the result of one retraining in sentences."""
    if result.comparison:
        print_comparison(result.comparison)
    print_text(
        f"Version {result.version} is new."
        if result.trained
        else f"Nothing has changed since version {result.version} was made, so nothing was trained."
    )
    print_text(
        f"Its audit: {result.verdict.replace('_', ' ')}. Against the champion: {result.finding}."
    )
    print_text(
        f"It is the challenger: `handrail promote {result.version}` would put it into service, with"
        " a reviewer's signature."
        if result.is_challenger
        else "It is not proposed."
    )
    if result.champion_verdict:
        print_text(
            "The champion was audited again, including what staff were shown and decided: "
            f"{result.champion_verdict.replace('_', ' ')}."
        )
    for sentence in summary(result.drift):
        print_text(sentence)
