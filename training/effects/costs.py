"""What a program costs: for each student served, and for each progress point of its effect."""

from __future__ import annotations

from typing import Literal, NamedTuple

import numpy as np
import pandas as pd

from records.canonical.columns import Programs
from training.effects.effects import Effect
from training.estimation.policy_value import Estimate


class Cost(NamedTuple):
    """What a program costs: dollars for each student, each year, or each session attended."""

    dollars: float
    per: Literal["student", "year", "session"]


def cost_per_point(per_student: float, effect: Effect) -> Estimate | None:
    """Dollars for one progress point of one student, or None.

    None unless the whole interval of the effect lies above zero: a quotient with a denominator near
    zero has no useful interval (Fieller (1954), JRSS B 16). The cost is taken as known exactly, so
    that the bounds of the effect give those of the quotient.
    """
    if effect.estimate is None or effect.estimate.lower <= 0:
        return None
    return Estimate(
        value=per_student / effect.estimate.value,
        lower=per_student / effect.estimate.upper,
        upper=per_student / effect.estimate.lower,
    )


def cost_per_student(cost: Cost, students_per_year: float, sessions_each: float) -> float | None:
    """Dollars for one student served; None where sessions or students are needed and not on record.

    Args:
        cost: of the program.
        students_per_year: students in the program in a year, on average.
        sessions_each: sessions that a student attends, on average; NaN where not recorded.
    """
    if cost.per == "student":
        return cost.dollars
    if cost.per == "session":
        return cost.dollars * sessions_each if np.isfinite(sessions_each) else None
    return cost.dollars / students_per_year if students_per_year > 0 else None


def session_costs(programs: pd.DataFrame) -> dict[str, Cost]:
    """The costs per session that partners have stated in the table `programs`, by program."""
    stated = programs.dropna(subset=[Programs.COST_PER_SESSION])
    return {
        str(row[Programs.PROGRAM_ID]): Cost(float(row[Programs.COST_PER_SESSION]), "session")
        for row in stated.to_dict("records")
    }
