"""Rows of features in LightGBM's bins, shared by many models."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Literal

import lightgbm as lgb
import numpy as np

from training.estimation.arrays import FloatArray
from training.estimation.early_stopping import StagedBooster
from training.estimation.parallel import ONE_THREAD

_PLAIN_NAME = re.compile(r"[\w.-]+")
"""Names of features that LightGBM can write into a model's text; it refuses brackets, quotes,
colons and commas."""


class BinnedRows:
    """Rows and their copies with groups missing, put into LightGBM's bins once for many models.

    Args:
        copies: the rows, and any copies of them, shape (n, features) each.
        names: of the features.
        leaf: fewest real rows in a leaf; copies do not count.
        seed: of LightGBM's draws.
    """

    def __init__(
        self, copies: Sequence[FloatArray], names: Sequence[str], leaf: int, seed: int
    ) -> None:
        self._n_copies = len(copies)
        self._parameters = {
            "objective": "regression",
            "min_data_in_leaf": leaf * self._n_copies,
            "verbosity": -1,
            "seed": seed,
            "deterministic": True,
            "force_row_wise": True,
            **ONE_THREAD,
        }
        stacked = np.vstack(copies)
        self._all_rows = list(range(len(stacked)))
        feature_names: list[str] | Literal["auto"] = (
            list(names) if all(map(_PLAIN_NAME.fullmatch, names)) else "auto"
        )
        self._data = lgb.Dataset(
            stacked, feature_name=feature_names, params=self._parameters
        ).construct()

    def staged_booster(
        self,
        shape: Mapping[str, float],
        values: FloatArray,
        weights: FloatArray,
        held_out: FloatArray,
    ) -> StagedBooster:
        """A model of `values` with precision weights, shape (n,), that gets trees step by step."""
        return StagedBooster(
            {**self._parameters, **shape},
            self._labeled(values).set_weight(self._tiled(weights)),
            held_out,
        )

    def train(self, shape: Mapping[str, float], trees: int, values: FloatArray) -> lgb.Booster:
        """A model of `values`, shape (n,), with that many trees."""
        return lgb.train({**self._parameters, **shape}, self._labeled(values), trees)

    def _labeled(self, values: FloatArray) -> lgb.Dataset:
        """A data set on the shared bins: models trained at the same time cannot share labels."""
        return self._data.subset(self._all_rows).construct().set_label(self._tiled(values))

    def _tiled(self, values: FloatArray) -> FloatArray:
        return np.tile(values, self._n_copies)
