"""Off-policy evaluation: what the suggestions would have been worth on episodes that the ranker never learned from.

Later decision days judge a ranker trained on the earlier ones. The nuisance models are cross-fitted by student, the
values are those of `policy_value`, and their intervals are clustered by student.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from training.benefit import NONE, PseudoOutcomes, folds_of, pseudo_outcomes
from training.episodes import Episodes, NotEnoughEvidence
from training.policy_value import Actions, PolicyValue, policy_value
from training.ranker import BenefitRanker
from training.suggestions import open_to_grade, worth_suggesting


@dataclass(frozen=True)
class Evaluation:
    """A ranker against past practice, at the same number of places and without that limit."""

    episodes: int
    treated_share: float
    suggested_share: float
    same_places: PolicyValue
    no_limit: PolicyValue

    def metrics(self) -> dict[str, float]:
        """Flat figures, as an experiment tracker wants them."""
        found: dict[str, float] = {}
        _flatten("", asdict(self), found)
        return found


def evaluate(episodes: Episodes, supports: tuple[str, ...], programs: pd.DataFrame, ranker: BenefitRanker,
             seed: int = 0) -> Evaluation:  # fmt: skip
    """Fit a clone of `ranker` on the earlier two thirds of the decision days and judge it on the later ones.

    Raises:
        NotEnoughEvidence: the later days hold no episode with a support.
    """
    informative = np.flatnonzero(episodes.support.isin([NONE, *supports])).astype(np.intp)
    episodes = episodes.take(informative)
    days = np.sort(episodes.decision_date.unique())
    first_judged = days[max(1, round(len(days) * 2 / 3))]
    later = (episodes.decision_date >= first_judged).to_numpy()
    if not (episodes.support[later] != NONE).any():
        raise NotEnoughEvidence("there is not enough evidence for a model: nobody started a support on a later day")
    found = pseudo_outcomes(episodes.features, episodes.support, episodes.outcome, supports,
                            folds_of(episodes.student, 5, seed), seed)  # fmt: skip
    earlier = episodes.take(np.flatnonzero(~later).astype(np.intp)).completed(seed)
    ranker.fit(earlier.features, earlier.outcome, earlier.support, earlier.student)
    judged = episodes.take(np.flatnonzero(later).astype(np.intp)).completed(seed)
    return _judge(judged, found, later, ranker, programs)


def choose(ranker: BenefitRanker, features: pd.DataFrame, programs: pd.DataFrame,
           places: int | None = None) -> Actions:  # fmt: skip
    """The action for each row: 0 for none, else 1 + index of the best support that is sure to help.

    With `places`, only so many rows get one: those with the most to gain.
    """
    benefits = ranker.benefits(features)
    may = open_to_grade(programs, features["grade_level"], ranker.supports_).to_numpy(dtype=bool)
    means = np.column_stack([benefits[name].mean for name in ranker.supports_])
    worth = np.column_stack([worth_suggesting(benefits[name], ranker.smallest_benefit) for name in ranker.supports_])
    means = np.where(worth & may, means, -np.inf)
    best, most = means.argmax(axis=1), means.max(axis=1)
    chosen = np.where(np.isfinite(most), best + 1, 0)
    if places is not None and (chosen > 0).sum() > places:
        kept = np.argsort(-most, kind="stable")[:places]
        chosen = np.where(np.isin(np.arange(len(chosen)), kept), chosen, 0)
    return chosen.astype(np.intp)


def _judge(judged: Episodes, found: PseudoOutcomes, later: NDArray[np.bool_], ranker: BenefitRanker,
           programs: pd.DataFrame) -> Evaluation:  # fmt: skip
    names = (NONE, *found.supports)
    taken = np.asarray(pd.Categorical(judged.support, categories=list(names)).codes, dtype=np.intp)
    reward = judged.outcome.to_numpy(dtype="float64")
    places = int((taken > 0).sum())
    values = []
    for limit in (places, None):
        chosen = choose(ranker, judged.features, programs, limit)
        values.append(policy_value(reward, taken, chosen, found.propensity[later], found.outcome[later],
                                   judged.student))  # fmt: skip
    return Evaluation(len(judged), places / len(judged), float((chosen > 0).mean()), *values)


def _flatten(prefix: str, values: dict[str, object], found: dict[str, float]) -> None:
    for name, value in values.items():
        if isinstance(value, dict):
            _flatten(f"{prefix}{name}.", value, found)
        else:
            found[f"{prefix}{name}"] = float(value)  # type: ignore[arg-type]
