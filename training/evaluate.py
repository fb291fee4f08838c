"""Off-policy evaluation: what the suggestions would have been worth on episodes that the ranker never learned from.

Later decision days judge a ranker trained on the earlier ones. The nuisance models are cross-fitted by student.
Estimators: inverse propensity scores (IPS), self-normalised (SNIPS), doubly robust (DR): Dudik, Langford & Li (2011),
"Doubly robust policy evaluation and learning", ICML. Intervals are clustered by student.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from training.benefit import SMALLEST_PROPENSITY, Floats, PseudoOutcomes, folds_of, pseudo_outcomes
from training.episodes import NONE, Episodes, NotEnoughEvidence
from training.ranker import BenefitRanker
from training.suggestions import open_to_grade, worth_suggesting

Z_95 = 1.96
Actions = NDArray[np.intp]


@dataclass(frozen=True)
class Estimate:
    """A mean in progress points with its 95% interval."""

    value: float
    lower: float
    upper: float


@dataclass(frozen=True)
class PolicyValue:
    """What choosing `chosen` would have been worth an episode, and how much evidence that rests on."""

    ips: Estimate
    snips: Estimate
    dr: Estimate
    gain: Estimate
    """DR value less the mean of what was really reached: the gain over past practice."""
    effective_sample_size: float
    thin_overlap: float
    """Share of episodes whose chosen action had a propensity at the floor: there the models extrapolate."""


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


def policy_value(reward: Floats, taken: Actions, chosen: Actions, propensity: Floats, expected: Floats,
                 clusters: pd.Series) -> PolicyValue:  # fmt: skip
    """The value of a policy from what another one did.

    Args:
        reward: outcome of each episode, shape (n,), in progress points.
        taken, chosen: index of the action that was taken, and of the one that the policy chooses, shape (n,).
        propensity, expected: chance and expected outcome of each action, shape (n, actions).
        clusters: what makes episodes dependent, the student, shape (n,).
    """
    rows = np.arange(len(reward))
    chance = propensity[rows, chosen]
    weight = np.where(taken == chosen, 1.0 / chance, 0.0)
    direct = expected[rows, chosen]
    robust = direct + weight * (reward - direct)
    ratio = float((weight * reward).sum() / max(weight.sum(), 1e-12))
    snips = _mean(ratio + weight * (reward - ratio) / max(weight.mean(), 1e-12), clusters)
    return PolicyValue(
        _mean(weight * reward, clusters), snips, _mean(robust, clusters), _mean(robust - reward, clusters),
        float(weight.sum() ** 2 / max((weight**2).sum(), 1e-12)), float((chance <= SMALLEST_PROPENSITY).mean()),
    )  # fmt: skip


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
    earlier = episodes.take(np.flatnonzero(~later).astype(np.intp))
    ranker.fit(earlier.features, earlier.support, earlier.outcome, earlier.student)
    judged = episodes.take(np.flatnonzero(later).astype(np.intp))
    return _judge(judged, found, later, ranker, programs)


def choose(ranker: BenefitRanker, features: pd.DataFrame, programs: pd.DataFrame,
           places: int | None = None) -> Actions:  # fmt: skip
    """The action for each row: 0 for none, else 1 + index of the best support that is sure to help.

    With `places`, only so many rows get one: those with the most to gain.
    """
    benefits = ranker.predict_benefit(features)
    may = open_to_grade(programs, features["grade_level"], ranker.supports).to_numpy(dtype=bool)
    means = np.column_stack([benefits[name].mean for name in ranker.supports])
    worth = np.column_stack([worth_suggesting(benefits[name]) for name in ranker.supports])
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


def _mean(values: Floats, clusters: pd.Series) -> Estimate:
    center = float(values.mean())
    sums = pd.Series(values - center).groupby(clusters.to_numpy()).sum().to_numpy()
    error = float(np.sqrt((sums**2).sum())) / len(values)
    return Estimate(center, center - Z_95 * error, center + Z_95 * error)


def _flatten(prefix: str, values: dict[str, object], found: dict[str, float]) -> None:
    for name, value in values.items():
        if isinstance(value, dict):
            _flatten(f"{prefix}{name}.", value, found)
        else:
            found[f"{prefix}{name}"] = float(value)  # type: ignore[arg-type]
