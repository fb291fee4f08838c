"""Values of features as a model may remember them."""

from __future__ import annotations

import numpy as np
import pandas as pd

from features.catalog import FEATURES_BY_NAME


def coarsen(X: pd.DataFrame) -> pd.DataFrame:
    """Values as a model may remember them: no extremes of single students, shares to a hundredth,
    else whole numbers.

    A model file holds thresholds and ranges of its training data (R58). Of a feature that is in no
    catalog, a hundred steps between its extremes are kept.
    """
    columns = {}
    for name in X.columns:
        values = X[name].astype("float64")
        low, high = float(values.quantile(0.005)), float(values.quantile(0.995))
        step = _step(str(name), high - low)
        columns[name] = (values.clip(low, high) / step).round() * step
    return pd.DataFrame(columns, index=X.index)


def _step(name: str, width: float) -> float:
    if name in FEATURES_BY_NAME:
        return 0.01 if FEATURES_BY_NAME[name].unit.startswith("share") else 1.0
    return float(width / 100) if np.isfinite(width) and width > 0 else 1.0
