"""The effect of a service by the amount that was received."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from training.effects.effects import Effect, Values, estimate_effect


class DoseBand(NamedTuple):
    """Those served who received `least` to `most` (sessions or minutes), each band against none."""

    name: str
    least: float
    most: float
    effect: Effect


NEVER_ATTENDED = "enrolled, never came"


DOSE_BANDS = ("low", "middle", "high")


def dose_response(
    outcome: Values,
    treated: Values,
    amount: Values,
    features: pd.DataFrame,
    students: Values,
    schools: Values | None = None,
    **options: Any,
) -> tuple[DoseBand, ...]:
    """The effect by amount of service received, each band against none, for the students of that
    band (ATT).

    Bands are the thirds of those served with an amount above zero; those enrolled who never came
    stand apart. How much somebody takes part follows from how they fare too, so bands say more
    about who stays than about what more would do.

    Args:
        amount: sessions attended or minutes, shape (n,), read for rows served only; missing where
            not recorded.
        options: as for `estimate_effect`.
    """
    came, received = np.asarray(treated, dtype=bool), np.asarray(amount, dtype="float64")
    some = received[came & (received > 0)]
    if not len(some):
        return ()
    edges = [0.0, *np.quantile(some, [1 / 3, 2 / 3], method="lower"), float("inf")]
    parts = [(NEVER_ATTENDED, came & (received == 0))]
    parts += [
        (name, came & (received > low) & (received <= high))
        for name, low, high in zip(DOSE_BANDS, edges, edges[1:], strict=False)
    ]
    found = []
    for name, band in parts:
        if band.any():
            rows = np.flatnonzero(band | ~came)
            where = None if schools is None else np.asarray(schools, dtype=object)[rows]
            judged = estimate_effect(
                np.asarray(outcome)[rows],
                band[rows],
                features.iloc[rows],
                np.asarray(students, dtype=object)[rows],
                where,
                **options,
            )
            found.append(
                DoseBand(name, float(received[band].min()), float(received[band].max()), judged)
            )
    return tuple(found)
