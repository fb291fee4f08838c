"""Values of features as a model may remember them: without the extremes of single students.

A model file holds thresholds and ranges of its training data, so these must be no student's own
(R58).
"""

from __future__ import annotations

import numpy as np
import pandas as pd

from features.catalog import FEATURES_BY_NAME

_QUANTILES = 0.005, 0.995
"""Values beyond these are those of one student in two hundred at either end."""


def coarsen(X: pd.DataFrame) -> pd.DataFrame:
    """Values clipped to their 0.5% and 99.5% quantiles and rounded.

    Shares are rounded to a hundredth, other values to whole numbers.

    A feature that is not in the catalog is rounded to a hundredth of its range.
    """
    columns = {}
    for name in X.columns:
        values = X[name].astype("float64")
        low, high = (float(values.quantile(quantile)) for quantile in _QUANTILES)
        step = _step(str(name), high - low)
        columns[name] = (values.clip(low, high) / step).round() * step
    return pd.DataFrame(columns, index=X.index)


def _step(name: str, width: float) -> float:
    if name in FEATURES_BY_NAME:
        return 0.01 if FEATURES_BY_NAME[name].unit.startswith("share") else 1.0
    return float(width / 100) if np.isfinite(width) and width > 0 else 1.0
