"""Models are grown only until more trees no longer foretell what they have not seen."""

from __future__ import annotations

import lightgbm as lgb
import numpy as np
import pytest

from training.estimation.early_stopping import StagedBooster, select_rounds

PARAMETERS = {
    "objective": "regression",
    "num_leaves": 4,
    "verbosity": -1,
    "num_threads": 1,
    "deterministic": True,
}


@pytest.mark.parametrize(
    ("missed", "settles_at", "tried"),
    [
        ({1: 5.0, 2: 4.0, 4: 4.5, 8: 4.2, 16: 1.0}, 2, [1, 2, 4, 8]),
        ({1: 5.0, 2: 6.0, 4: 3.0, 8: 2.0}, 8, [1, 2, 4, 8]),
        ({0: 1.0, 5: 1.0, 9: 1.0}, 0, [0, 5, 9]),
        ({3: np.nan, 4: 2.0}, 4, [3, 4]),
        ({3: np.nan}, 3, [3]),
    ],
)
def test_two_counts_in_a_row_that_foretell_worse_than_the_best_end_the_growing(
    missed, settles_at, tried
):
    asked = []

    def grow(count: int) -> str:
        asked.append(count)
        return f"{count} trees"

    assert select_rounds(missed, grow, lambda said: missed[int(said.split()[0])]) == (
        settles_at,
        f"{settles_at} trees",
    )
    assert asked == tried


def test_without_counts_there_is_nothing_to_settle():
    with pytest.raises(ValueError, match="no numbers of trees"):
        select_rounds([], str, float)


def test_growing_step_by_step_is_training_at_once():
    rng = np.random.default_rng(0)
    rows, new = rng.normal(size=(600, 4)), rng.normal(size=(50, 4))
    values = rows[:, 0] * rows[:, 1] + rng.normal(size=600)
    growing = StagedBooster(PARAMETERS, lgb.Dataset(rows, values, params=PARAMETERS), new)
    for count in (3, 10, 25):
        per_response = lgb.train(PARAMETERS, lgb.Dataset(rows, values, params=PARAMETERS), count)
        np.testing.assert_allclose(
            growing.predict_with(count), per_response.predict(new), rtol=0, atol=1e-12
        )
