"""The order of a list of suggestions, and the chance that each of its supports had to stand first.

Without exploration the best stands first, always. Where the district lets the order be drawn, a
share of lists puts one of the supports that are nearly as good first, each with the same chance.
Only what is suggested anyhow takes part: nobody is shown a support because of a draw, and nobody
loses one.
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Callable, Mapping
from datetime import date

import pandas as pd

from records.decisions.exploration import ExplorationPolicy

Draw = Callable[[str], tuple[float, float]]
"""For a student, two numbers from 0 to 1: whether the order is drawn, and which support stands
first then."""


def weekly_draw(secret: bytes, as_of: date, model_sha256: str) -> Draw:
    """Draws that stay the same for a student, a week and a model, whoever looks, and that nobody
    can foretell.
    """
    week = as_of.isocalendar()

    def draw(student: str) -> tuple[float, float]:
        message = f"exploration\0{student}\0{week.year}-{week.week}\0{model_sha256}".encode()
        found = hmac.new(secret, message, hashlib.sha256).digest()
        return int.from_bytes(found[:7]) / 2**56, int.from_bytes(found[7:14]) / 2**56

    return draw


def order_suggestions(
    table: pd.DataFrame, exploration: ExplorationPolicy, draw: Draw, places: int
) -> tuple[pd.DataFrame, Mapping[str, bool]]:
    """Suggestions as they are to be shown.

    Args:
        table: that of `training.ranking.suggestions.Suggestions`.
        places: how many a student is shown; no other takes part in a draw.

    Returns:
        The shown rows with `rank` as it is shown and `first_chance`, by student and rank; and by
        student, where the order was open to a draw, whether it was drawn.
    """
    shown = table[table["rank"] <= places].copy()
    shown["first_chance"] = (shown["rank"] == 1).astype("float64")
    if not exploration.on or shown.empty:
        return shown, {}
    best = shown.groupby("student_id")["benefit"].transform("max")
    near = (best - shown["benefit"]) <= exploration.within
    count = near.groupby(shown["student_id"]).transform("sum")
    open_ = count > 1
    shown.loc[open_, "first_chance"] *= 1 - exploration.share
    shown.loc[open_ & near, "first_chance"] += exploration.share / count[open_ & near]
    drawn: dict[str, bool] = {}
    for student, rows in shown[open_ & near].groupby("student_id"):
        whether, which = draw(str(student))
        drawn[str(student)] = whether < exploration.share
        if drawn[str(student)]:
            shown.loc[rows.index[min(int(which * len(rows)), len(rows) - 1)], "rank"] = 0
    shown = shown.sort_values(["student_id", "rank"], ignore_index=True)
    shown["rank"] = shown.groupby("student_id").cumcount() + 1
    return shown, drawn
