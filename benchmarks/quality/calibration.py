"""What turns predictions into benefits: Handrail's level and slope, beside isotonic regression and
nothing.

Run: python -m benchmarks.quality.calibration [--seeds 5] [--scenarios base,"low overlap"]

All ways learn from the same predictions of unseen episodes and their pseudo-outcomes, with the same
weights:
- slope: as Handrail does (`training.ranking.calibration.fit_calibration`).
- isotonic: a rising step function for each support.
- isotonic together: one for all supports, of how far a prediction lies from its support's usual
  one, after the levels.
- none: predictions as they are. For 20,000 new students: shares of the oracle's gain ("open",
"places"; see `benchmarks.quality`), the root mean square of how far the mean benefit of each tenth
of the predictions lies from the truth ("off", over supports), that of single students ("error"),
and how many different benefits a support has.
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
    Floats,
    SimulatedDistrict,
    simulate,
)
from training.ranking.ranker import BenefitRanker

_TENTHS = 10


def calibration_figures(world: SimulatedDistrict, seed: int) -> dict[str, dict[str, float]]:
    """The figures of each way in one world."""
    with patch.object(
        training.ranking.ranker,
        "fit_calibration",
        wraps=training.ranking.ranker.fit_calibration,
    ) as asked:
        ranker = BenefitRanker(SUPPORTS, random_state=seed)
        ranker.fit(world.features, world.outcome, world.support, world.student)
    _, found, unseen, *_ = asked.call_args.args
    values, weights = found.values, found.weights
    raw = np.column_stack(
        [
            np.mean([model.predict(world.new) for model in ranker.models_[name]], axis=0)
            for name in SUPPORTS
        ]
    )
    turned = [ranker.calibration_[name] for name in SUPPORTS]
    usual, level = np.array([one.usual for one in turned]), np.array([one.level for one in turned])
    together = _isotonic((unseen - usual).ravel(), (values - level).ravel(), weights.ravel())
    ways = {
        "slope": np.column_stack([one.benefit(raw[:, place]) for place, one in enumerate(turned)]),
        "isotonic": np.column_stack(
            [
                _isotonic(*columns).predict(new)
                for *columns, new in zip(unseen.T, values.T, weights.T, raw.T, strict=True)
            ]
        ),
        "isotonic together": level + together.predict((raw - usual).ravel()).reshape(raw.shape),
        "none": raw,
    }
    return {name: _figures(world, benefit) for name, benefit in ways.items()}


def _isotonic(predictions: Floats, values: Floats, weights: Floats) -> Any:
    return IsotonicRegression(out_of_bounds="clip").fit(predictions, values, sample_weight=weights)


def _figures(world: SimulatedDistrict, benefit: Floats) -> dict[str, float]:
    truth = world.new_benefit
    off = []
    for said, true in zip(benefit.T, truth.T, strict=True):
        tenths = np.array_split(np.argsort(said, kind="stable"), _TENTHS)
        off += [said[tenth].mean() - true[tenth].mean() for tenth in tenths]
    return gain_shares(world, benefit, above_zero=True) | {
        "off": float(np.sqrt(np.square(off).mean())),
        "error": float(np.sqrt(np.square(benefit - truth).mean())),
        "different": float(np.mean([len(np.unique(said.round(9))) for said in benefit.T])),
    }


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.quality.calibration", description=__doc__.splitlines()[0]
    )
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--scenarios", default="base,low overlap,small district,harmful")
    given = parser.parse_args(arguments)
    rows = []
    for name in given.scenarios.split(","):
        if name not in SCENARIOS_BY_NAME:
            parser.error(f"there is no {name!r}; scenarios: {', '.join(SCENARIOS_BY_NAME)}")
        for seed in range(given.seeds):
            for way, figures in calibration_figures(
                simulate(SCENARIOS_BY_NAME[name], seed), seed
            ).items():
                rows.append({"scenario": name, "way": way} | figures)
    print(f"Medians over {given.seeds} seeds")
    print(pd.DataFrame(rows).groupby(["scenario", "way"], sort=False).median().round(3).to_string())


if __name__ == "__main__":
    main()
