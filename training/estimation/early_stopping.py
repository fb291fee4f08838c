"""Boosted models that are grown step by step, until more trees no longer foretell what they have
not seen.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any, TypeVar

import lightgbm as lgb
import numpy as np
from scipy.special import expit, softmax

from training.estimation.arrays import FloatArray
from training.estimation.parallel import ONE_THREAD

Said = TypeVar("Said")
PATIENCE = 2
"""Counts in a row that foretell worse than the best before no more trees are grown."""

_SAID: Mapping[str, Callable[[FloatArray], FloatArray]] = {
    "regression": lambda raw: raw,
    "binary": expit,
    "multiclass": lambda raw: softmax(raw, axis=1),
}


class StagedBooster:
    """One model that gets trees step by step, and what it says of the rows that judge it.

    Args:
        parameters: LightGBM's, with the objective "regression", "binary" or "multiclass".
        data: what it learns from.
        judged: rows that it does not learn from, shape (n, features).
    """

    def __init__(
        self, parameters: Mapping[str, Any], data: lgb.Dataset, judged: FloatArray
    ) -> None:
        self.model = lgb.Booster(dict(parameters), data)
        self._said, self._judged = _SAID[str(parameters["objective"])], judged
        self._trees, self._raw = 0, np.zeros(())

    def grow(self, count: int) -> FloatArray:
        """Predictions of the judged rows with so many trees, no fewer than before: shape (n,) or
        (n, classes).
        """
        for _ in range(count - self._trees):
            self.model.update()
        added = self.model.predict(
            self._judged,
            start_iteration=self._trees,
            num_iteration=count - self._trees,
            raw_score=True,
            **ONE_THREAD,
        )
        self._raw, self._trees = self._raw + np.asarray(added, dtype="float64"), count
        return self._said(self._raw)


def select_rounds(
    counts: Iterable[int], grow: Callable[[int], Said], missed: Callable[[Said], float]
) -> tuple[int, Said]:
    """The number of trees that foretells best, and what is said with it.

    Args:
        counts: numbers of trees to try, ascending.
        grow: what is said with so many trees.
        missed: how far that is from what came; the least is best.

    Raises:
        ValueError: there are no counts.
    """
    found: tuple[int, Said] | None = None
    least, worse = np.inf, 0
    for count in counts:
        said = grow(count)
        far = missed(said)
        if found is None or far < least:
            found = count, said
        worse, least = (0, far) if far < least else (worse + 1, least)
        if worse == PATIENCE:
            break
    if found is None:
        raise ValueError("there are no numbers of trees to try")
    return found
