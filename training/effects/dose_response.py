"""The effect of a service by the amount that was received."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from training.effects.effects import Effect, Values, estimate_effect

NEVER_ATTENDED = "enrolled, never came"
"""The name of the band of those who never attended; it is stored in effect files."""
DOSE_BANDS = ("low", "middle", "high")
_TERCILES = [1 / 3, 2 / 3]


class DoseBand(NamedTuple):
    """Those served who received `least` to `most` (sessions or minutes), against none."""

    name: str
    least: float
    most: float
    effect: Effect


def dose_response(
    outcome: Values,
    treated: Values,
    amount: Values,
    features: pd.DataFrame,
    students: Values,
    schools: Values | None = None,
    **options: Any,
) -> tuple[DoseBand, ...]:
    """The effect by amount received: each band against none, for the students of that band (ATT).

    Bands are the thirds of those served with an amount above zero; those enrolled who never
    attended are a band of their own. How much students take part also depends on how they fare, so
    bands say more about who stays than about what more would do.

    Args:
        outcome, treated, features, students, schools: as for `estimate_effect`.
        amount: sessions attended or minutes, shape (n,), read for rows served only; missing where
            not recorded.
        options: as for `estimate_effect`.

    Returns:
        The bands that anybody is in; none where no amount above zero is on record.
    """
    served, received = np.asarray(treated, dtype=bool), np.asarray(amount, dtype="float64")
    some = received[served & (received > 0)]
    if not len(some):
        return ()
    edges = [0.0, *np.quantile(some, _TERCILES, method="lower"), float("inf")]
    members = {NEVER_ATTENDED: served & (received == 0)}
    for name, low, high in zip(DOSE_BANDS, edges, edges[1:], strict=False):
        members[name] = served & (received > low) & (received <= high)
    bands = []
    for name, in_band in members.items():
        if not in_band.any():
            continue
        rows = np.flatnonzero(in_band | ~served)
        effect = estimate_effect(
            np.asarray(outcome)[rows],
            in_band[rows],
            features.iloc[rows],
            np.asarray(students, dtype=object)[rows],
            None if schools is None else np.asarray(schools, dtype=object)[rows],
            **options,
        )
        least, most = float(received[in_band].min()), float(received[in_band].max())
        bands.append(DoseBand(name, least, most, effect))
    return tuple(bands)
