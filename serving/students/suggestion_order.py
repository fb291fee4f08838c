"""The order of a list of suggestions, and the probability with which each support was placed first.

Without exploration the best always stands first. Where the district allows exploration, a share of
lists puts one of the near-equal supports first, each with the same probability. Only what is
suggested anyway takes part: nobody is shown a support because of a draw, and nobody loses one.
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Callable, Mapping
from datetime import date

import pandas as pd

from records.decisions.exploration import ExplorationPolicy

Draw = Callable[[str], tuple[float, float]]
"""For a student, two numbers from 0 to 1: whether the order is randomized, and which support is
then placed first."""


def weekly_draw(secret: bytes, as_of: date, model_sha256: str) -> Draw:
    """Draws that nobody can predict, and that stay equal for a student, a week and a model, whoever
    views the list.
    """
    week = as_of.isocalendar()

    def draw(student: str) -> tuple[float, float]:
        message = f"exploration\0{student}\0{week.year}-{week.week}\0{model_sha256}".encode()
        digest = hmac.new(secret, message, hashlib.sha256).digest()
        return int.from_bytes(digest[:7]) / 2**56, int.from_bytes(digest[7:14]) / 2**56

    return draw


def order_suggestions(
    table: pd.DataFrame, exploration: ExplorationPolicy, draw: Draw, max_shown: int
) -> tuple[pd.DataFrame, Mapping[str, bool]]:
    """Suggestions as they are to be shown.

    Args:
        table: that of `training.ranking.suggestions.Suggestions`.
        max_shown: how many a student is shown; no other takes part in a draw.

    Returns:
        The shown rows by student and rank, with `rank` as it is shown and `top_propensity`, the
        probability of being placed first; and for each student whose order could be randomized,
        whether it was.
    """
    shown = table[table["rank"] <= max_shown].copy()
    shown["top_propensity"] = (shown["rank"] == 1).astype("float64")
    if not exploration.on or shown.empty:
        return shown, {}
    near_best = _near_best(shown, exploration.within)
    shown["top_propensity"] = _top_propensities(shown, near_best, exploration.share)
    randomized: dict[str, bool] = {}
    for student, candidates in shown[near_best].groupby("student_id"):
        whether, which = draw(str(student))
        randomized[str(student)] = whether < exploration.share
        if randomized[str(student)]:
            chosen = candidates.index[min(int(which * len(candidates)), len(candidates) - 1)]
            shown.loc[chosen, "rank"] = 0  # before all others; ranks are counted anew below
    shown = shown.sort_values(["student_id", "rank"], ignore_index=True)
    shown["rank"] = shown.groupby("student_id").cumcount() + 1
    return shown, randomized


def _near_best(shown: pd.DataFrame, within: float) -> pd.Series:
    """Which rows are as good as the student's best to `within` points, where more than one is."""
    best = shown.groupby("student_id")["benefit"].transform("max")
    near = (best - shown["benefit"]) <= within
    return near & (near.groupby(shown["student_id"]).transform("sum") > 1)


def _top_propensities(shown: pd.DataFrame, near_best: pd.Series, share: float) -> pd.Series:
    """The probability of each row to be placed first: the best keeps all but `share` of it, which
    the near-best rows divide evenly.
    """
    count = near_best.groupby(shown["student_id"]).transform("sum")
    propensity = (shown["rank"] == 1).astype("float64")
    propensity[count > 1] *= 1 - share
    propensity[near_best] += share / count[near_best]
    return propensity
