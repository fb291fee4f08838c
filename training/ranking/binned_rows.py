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

_PLAIN = re.compile(r"[\w.-]+")
"""Names of features that LightGBM can write into a model's text; it refuses brackets, quotes,
colons and commas."""


class _Binned:
    """Rows of features, and their copies with groups missing, put into LightGBM's bins once for
    many models.
    """

    def __init__(
        self, copies: Sequence[FloatArray], names: Sequence[str], leaf: int, seed: int
    ) -> None:
        self._copies = len(copies)
        self._parameters = {
            "objective": "regression",
            "min_data_in_leaf": leaf * self._copies,
            "verbosity": -1,
            "seed": seed,
            "deterministic": True,
            "force_row_wise": True,
            **ONE_THREAD,
        }
        stacked = np.vstack(copies)
        self._all = list(range(len(stacked)))
        written: list[str] | Literal["auto"] = (
            list(names) if all(map(_PLAIN.fullmatch, names)) else "auto"
        )
        self._data = lgb.Dataset(stacked, feature_name=written, params=self._parameters).construct()

    def growing(
        self,
        shape: Mapping[str, float],
        values: FloatArray,
        weights: FloatArray,
        judged: FloatArray,
    ) -> StagedBooster:
        return StagedBooster(
            {**self._parameters, **shape},
            self._labelled(values).set_weight(self._tiled(weights)),
            judged,
        )

    def model(self, shape: Mapping[str, float], trees: int, values: FloatArray) -> lgb.Booster:
        return lgb.train({**self._parameters, **shape}, self._labelled(values), trees)

    def _labelled(self, values: FloatArray) -> lgb.Dataset:
        """The same rows with labels of their own: models that are learned side by side cannot share
        those.
        """
        return self._data.subset(self._all).construct().set_label(self._tiled(values))

    def _tiled(self, values: FloatArray) -> FloatArray:
        return np.tile(values, self._copies)
