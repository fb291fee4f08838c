"""What a program costs: for each student served, and for each progress point of its effect."""

from __future__ import annotations

from typing import Literal, NamedTuple

import numpy as np
import pandas as pd

from training.effects.effects import Effect
from training.estimation.policy_value import Estimate


class Cost(NamedTuple):
    """What a program costs: dollars for each student, each year, or each session attended."""

    dollars: float
    per: Literal["student", "year", "session"]


def cost_per_point(per_student: float, found: Effect) -> Estimate | None:
    """Dollars for one progress point of one student; None where the interval of the effect does not
    lie above zero.

    A quotient with a denominator near zero has no useful interval: Fieller (1954), JRSS B 16. The
    cost is taken as known exactly, so that the bounds of the effect give those of the quotient.
    """
    if found.estimate is None or found.estimate.lower <= 0:
        return None
    return Estimate(
        *(
            per_student / points
            for points in (found.estimate.value, found.estimate.upper, found.estimate.lower)
        )
    )


def cost_per_student(cost: Cost, students_a_year: float, sessions_each: float) -> float | None:
    """Dollars for one student served; None where that takes sessions or students that are not on
    record.
    """
    if cost.per == "student":
        return cost.dollars
    if cost.per == "session":
        return cost.dollars * sessions_each if np.isfinite(sessions_each) else None
    return cost.dollars / students_a_year if students_a_year > 0 else None


def session_costs(programs: pd.DataFrame) -> dict[str, Cost]:
    """The costs by session that partners have stated in `programs`."""
    stated = programs.dropna(subset=["cost_per_session"])
    return {
        str(row["program_id"]): Cost(float(row["cost_per_session"]), "session")
        for row in stated.to_dict("records")
    }
