"""Calibration of predicted benefits: Handrail's level and slope, isotonic regression, and none.

Run:
    .venv/bin/python -m benchmarks.quality.calibration
    .venv/bin/python -m benchmarks.quality.calibration --seeds 1 --scenarios base,"low overlap"

All methods learn from the same predictions of unseen episodes and their pseudo-outcomes, with the
same weights:
- slope: as Handrail does (`training.ranking.calibration.fit_calibration`).
- isotonic: a rising step function for each support.
- isotonic together: one step function for all supports, of a prediction's distance from its
  support's usual prediction, after the levels.
- none: predictions as they are.

The figures are for 20,000 new students: shares of the oracle's gain ("open", "places"; see
`benchmarks.quality`); the root mean square error of the mean benefit of each decile of predictions
("off", over supports); that of single students ("error"); and how many different benefits a support
has ("different").
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from typing import Any
from unittest.mock import patch

import numpy as np
import pandas as pd
from sklearn.isotonic import IsotonicRegression

import training.ranking.ranker
from benchmarks.quality.__main__ import gain_shares
from benchmarks.quality.simulation import (
    SCENARIOS_BY_NAME,
    SUPPORTS,
    SimulatedDistrict,
    simulate,
)
from training.estimation.arrays import FloatArray
from training.ranking.ranker import BenefitRanker

_DECILES = 10


def calibration_figures(district: SimulatedDistrict, seed: int) -> dict[str, dict[str, float]]:
    """The figures of each method in one district."""
    with patch.object(
        training.ranking.ranker, "fit_calibration", wraps=training.ranking.ranker.fit_calibration
    ) as fit_calibration:
        ranker = BenefitRanker(SUPPORTS, random_state=seed)
        ranker.fit(district.features, district.outcome, district.support, district.student)
    _, pseudo, unseen, *_ = fit_calibration.call_args.args
    values, weights = pseudo.values, pseudo.weights
    raw = np.column_stack(
        [
            np.mean([model.predict(district.new) for model in ranker.models_[name]], axis=0)
            for name in SUPPORTS
        ]
    )
    calibrations = [ranker.calibration_[name] for name in SUPPORTS]
    usual = np.array([calibration.usual for calibration in calibrations])
    level = np.array([calibration.level for calibration in calibrations])
    together = _isotonic((unseen - usual).ravel(), (values - level).ravel(), weights.ravel())
    slope = np.column_stack(
        [
            calibration.benefit(column)
            for calibration, column in zip(calibrations, raw.T, strict=True)
        ]
    )
    isotonic = np.column_stack(
        [
            _isotonic(*columns).predict(new)
            for *columns, new in zip(unseen.T, values.T, weights.T, raw.T, strict=True)
        ]
    )
    methods = {
        "slope": slope,
        "isotonic": isotonic,
        "isotonic together": level + together.predict((raw - usual).ravel()).reshape(raw.shape),
        "none": raw,
    }
    return {name: _figures(district, benefit) for name, benefit in methods.items()}


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.quality.calibration", description=__doc__.splitlines()[0]
    )
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--scenarios", default="base,low overlap,small district,harmful")
    options = parser.parse_args(arguments)
    scenarios = options.scenarios.split(",")
    if unknown := [name for name in scenarios if name not in SCENARIOS_BY_NAME]:
        parser.error(f"there is no {unknown[0]!r}; scenarios: {', '.join(SCENARIOS_BY_NAME)}")
    rows = []
    for name in scenarios:
        for seed in range(options.seeds):
            district = simulate(SCENARIOS_BY_NAME[name], seed)
            for method, figures in calibration_figures(district, seed).items():
                rows.append({"scenario": name, "method": method} | figures)
    medians = pd.DataFrame(rows).groupby(["scenario", "method"], sort=False).median()
    print(f"Medians over {options.seeds} seeds")
    print(medians.round(3).to_string())


def _isotonic(predictions: FloatArray, values: FloatArray, weights: FloatArray) -> Any:
    return IsotonicRegression(out_of_bounds="clip").fit(predictions, values, sample_weight=weights)


def _figures(district: SimulatedDistrict, benefit: FloatArray) -> dict[str, float]:
    truth = district.new_benefit
    decile_errors = []
    for predicted, true in zip(benefit.T, truth.T, strict=True):
        deciles = np.array_split(np.argsort(predicted, kind="stable"), _DECILES)
        decile_errors += [predicted[rows].mean() - true[rows].mean() for rows in deciles]
    distinct = [len(np.unique(predicted.round(9))) for predicted in benefit.T]
    return gain_shares(district, benefit, above_zero=True) | {
        "off": float(np.sqrt(np.square(decile_errors).mean())),
        "error": float(np.sqrt(np.square(benefit - truth).mean())),
        "different": float(np.mean(distinct)),
    }


if __name__ == "__main__":
    main()
