"""Boosted models that get trees until more no longer predict held-out rows better."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any, TypeVar

import lightgbm as lgb
import numpy as np
from scipy.special import expit, softmax

from training.estimation.arrays import FloatArray
from training.estimation.parallel import ONE_THREAD

Predictions = TypeVar("Predictions")
PATIENCE = 2
"""Counts in a row that predict worse than the best before no more trees are added."""

_FROM_RAW_SCORE: Mapping[str, Callable[[FloatArray], FloatArray]] = {
    "regression": lambda raw: raw,
    "binary": expit,
    "multiclass": lambda raw: softmax(raw, axis=1),
}


class StagedBooster:
    """One model that gets trees step by step, and its predictions of held-out rows.

    Args:
        parameters: LightGBM's, with the objective "regression", "binary" or "multiclass".
        data: what it is trained on.
        held_out: rows that it is not trained on, shape (n, features).
    """

    def __init__(
        self, parameters: Mapping[str, Any], data: lgb.Dataset, held_out: FloatArray
    ) -> None:
        self.model = lgb.Booster(dict(parameters), data)
        self._from_raw_score = _FROM_RAW_SCORE[str(parameters["objective"])]
        self._held_out = held_out
        self._n_trees, self._raw_score = 0, np.zeros(())

    def predict_with(self, n_trees: int) -> FloatArray:
        """Predictions of the held-out rows with this many trees, shape (n,) or (n, classes).

        The number must not be smaller than before.
        """
        for _ in range(n_trees - self._n_trees):
            self.model.update()
        # Only the new trees are evaluated; raw scores of trees add up.
        added = self.model.predict(
            self._held_out,
            start_iteration=self._n_trees,
            num_iteration=n_trees - self._n_trees,
            raw_score=True,
            **ONE_THREAD,
        )
        self._raw_score = self._raw_score + np.asarray(added, dtype="float64")
        self._n_trees = n_trees
        return self._from_raw_score(self._raw_score)


def select_rounds(
    counts: Iterable[int],
    predict_with: Callable[[int], Predictions],
    loss: Callable[[Predictions], float],
) -> tuple[int, Predictions]:
    """The number of trees with the least loss, and the predictions with it.

    Args:
        counts: numbers of trees to try, ascending.
        predict_with: held-out predictions with so many trees.
        loss: of these predictions.

    Raises:
        ValueError: there are no counts.
    """
    best: tuple[int, Predictions] | None = None
    least_loss, worse_in_a_row = np.inf, 0
    for count in counts:
        predictions = predict_with(count)
        current_loss = loss(predictions)
        if best is None or current_loss < least_loss:
            best = count, predictions
        if current_loss < least_loss:
            worse_in_a_row, least_loss = 0, current_loss
        else:
            worse_in_a_row += 1
        if worse_in_a_row == PATIENCE:
            break
    if best is None:
        raise ValueError("there are no numbers of trees to try")
    return best
