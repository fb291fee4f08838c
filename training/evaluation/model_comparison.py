"""Is a candidate better than the champion? Two policies on the same episodes, with the same number
of places.

What one policy would have been worth is far less sure than what it would have been worth beyond
another: on most students both choose alike, and what is unknown of them cancels. So the difference
is taken episode by episode, and its interval is clustered by student. "Better" is said only where
the whole interval lies above zero.

Two model files are judged on decision days that neither learned from. Where these hold too little,
the two ways of learning are judged instead: both learn anew from the earlier days, and the later
ones judge them.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable, Mapping
from dataclasses import asdict, dataclass
from datetime import date
from enum import StrEnum
from typing import Any, Literal

import numpy as np
import pandas as pd

from records.system.errors import UserError
from training.episodes.episodes import MIN_STARTS_PER_SUPPORT, Episodes
from training.estimation.arrays import BoolArray, FloatArray
from training.estimation.policy_value import (
    FEW_CLUSTERS,
    Actions,
    Clusters,
    Estimate,
    PolicyValue,
    action_probabilities,
    clustered_mean,
    self_normalized,
)
from training.estimation.pseudo_outcomes import NONE
from training.estimation.sensitivity import e_value_sentence
from training.evaluation.evaluate import (
    EvaluationSet,
    evaluation_set,
    later_days_mask,
    nan_to_none,
    published_count,
    training_split,
)
from training.ranking.model_file import RankerModel
from training.ranking.ranker import BenefitRanker

ComparisonMode = Literal["files", "learning"]
AS_REGISTERED_FILES: ComparisonMode = "files"
REFITTED: ComparisonMode = "learning"
MODE_DESCRIPTIONS: Mapping[ComparisonMode, str] = {
    "files": (
        "Both model files were judged as they are, on decision days that neither of them learned"
        " from."
    ),
    "learning": (
        "There is too little since the decision days that the two model files learned from. So the"
        " two ways of learning were judged, not the files: both learned anew from the earlier two"
        " thirds of the decision days, and the later third judged them."
    ),
}


class Superiority(StrEnum):
    """What a comparison shows of the candidate."""

    BETTER = "better"
    NO_BETTER = "no better shown"
    WORSE = "worse"


class NotComparable(UserError, ValueError):
    """Two versions that cannot be compared; the message says why."""


@dataclass(frozen=True)
class PolicyDifference:
    """What one policy is worth beyond another an episode, in progress points.

    `differing`: students for whom the two choose differently at least once.
    """

    estimate: Estimate
    differing: int

    @property
    def finding(self) -> Superiority:
        """Better or worse only where the 95% interval leaves zero out, so that a candidate that is
        no better is called better in one of forty cases; never where so few students are treated
        differently that no interval holds.
        """
        if self.differing < FEW_CLUSTERS or not math.isfinite(
            self.estimate.lower + self.estimate.upper
        ):
            return Superiority.NO_BETTER
        if self.estimate.lower > 0:
            return Superiority.BETTER
        return Superiority.WORSE if self.estimate.upper < 0 else Superiority.NO_BETTER


@dataclass(frozen=True)
class PolicyComparison:
    """A candidate against a champion on judged episodes; `places` is how many of them got a support
    in the past.

    `deviation` is the standard deviation of the outcome among them, in progress points.
    """

    way: ComparisonMode
    first_day: date
    last_day: date
    episodes: int
    places: int
    candidate: PolicyValue
    champion: PolicyValue
    difference: PolicyDifference
    deviation: float

    @property
    def finding(self) -> Superiority:
        return self.difference.finding

    @property
    def sensitivity(self) -> str:
        """What to print beside the difference: how strong something not on record would have to
        be.
        """
        if not self.deviation > 0:
            return ""
        return e_value_sentence(
            self.difference.estimate,
            self.deviation,
            "got what the one would choose and the other not",
        )

    def to_dict(self) -> dict[str, Any]:
        """Plain values, as JSON wants them. Fewer than ten students who would be treated
        differently are not told.
        """
        found = asdict(self) | {
            "first_day": str(self.first_day),
            "last_day": str(self.last_day),
            "finding": str(self.finding),
            "sensitivity": self.sensitivity,
            "how": MODE_DESCRIPTIONS[self.way],
            "difference": asdict(self.difference.estimate),
            "differing": published_count(self.difference.differing),
        }
        plain: dict[str, Any] = nan_to_none(found)
        return plain


def compare_rankers(
    episodes: Episodes,
    judged: BoolArray,
    programs: pd.DataFrame,
    candidate: BenefitRanker,
    champion: BenefitRanker,
    *,
    way: ComparisonMode = AS_REGISTERED_FILES,
    seed: int = 0,
) -> PolicyComparison:
    """Two fitted rankers on the judged episodes, from which neither of them may have learned.

    Args:
        episodes: all that there are; the propensities and expected outcomes are cross-fitted on
            them by student.
        judged: which of them judge, shape (episodes,).
        programs: which grades each support is open to.

    Raises:
        NotEnoughEvidence: nobody got a support in a judged episode.
    """
    supports = tuple(sorted({*candidate.supports_, *champion.supports_}))
    found = evaluation_set(episodes, judged, supports, seed)
    chosen = [found.choices(ranker, programs, found.places) for ranker in (candidate, champion)]
    values = [found.value(one) for one in chosen]
    return PolicyComparison(
        way,
        found.first_day,
        found.last_day,
        len(found),
        found.places,
        values[0],
        values[1],
        _paired(found, *chosen),
        found.deviation,
    )


def compare_refitted(
    episodes: Episodes,
    programs: pd.DataFrame,
    candidate: RankerModel,
    champion: RankerModel,
    *,
    seed: int = 0,
) -> PolicyComparison:
    """The ways in which two models were learned: their clones learn from the earlier decision days,
    the later judge.

    Raises:
        NotEnoughEvidence: there are too few decision days or nobody got a support on the later
            ones.
        NotComparable: this version of Handrail no longer learns as one of the two did.
    """
    judged = later_days_mask(episodes)
    earlier = training_split(episodes, judged, seed)
    clones = [
        unfitted_clone(model, earlier).fit(
            earlier.features[model.ranker.feature_names_],
            earlier.outcome,
            earlier.support,
            earlier.cluster,
        )
        for model in (candidate, champion)
    ]
    return compare_rankers(episodes, judged, programs, *clones, way=REFITTED, seed=seed)


def compare_models(
    episodes: Episodes,
    programs: pd.DataFrame,
    candidate: RankerModel,
    champion: RankerModel,
    *,
    seed: int = 0,
) -> PolicyComparison:
    """Two models: the files where there is enough that neither learned from, else the ways of
    learning.

    Raises:
        NotEnoughEvidence, NotComparable: as `compare_refitted`.
    """
    fresh = not_trained_on_mask(episodes, candidate, champion)
    if enough_to_judge(episodes, fresh):
        return compare_rankers(
            episodes,
            fresh,
            programs,
            candidate.ranker,
            champion.ranker,
            way=AS_REGISTERED_FILES,
            seed=seed,
        )
    return compare_refitted(episodes, programs, candidate, champion, seed=seed)


def paired_difference(
    reward: FloatArray,
    taken: Actions,
    candidate: Actions | FloatArray,
    champion: Actions | FloatArray,
    propensity: FloatArray,
    expected: FloatArray,
    clusters: Clusters,
) -> PolicyDifference:
    """The self-normalised doubly robust value of one policy less that of another, on the same
    episodes.

    Args:
        reward, taken, propensity, expected, clusters: as for `policy_value`.
        candidate, champion: the two policies, as `policy` there.
    """
    chances = [action_probabilities(one, propensity.shape[1]) for one in (candidate, champion)]
    rows = np.arange(len(reward))
    missed = reward - expected[rows, taken]
    worth = []
    for one in chances:
        weight = one[rows, taken] / propensity[rows, taken]
        worth.append(self_normalized((one * expected).sum(axis=1), weight, weight * missed))
    differs = np.abs(chances[0] - chances[1]).sum(axis=1) > 1e-9
    estimate = clustered_mean(worth[0] - worth[1], clusters)
    return PolicyDifference(estimate, int(pd.Series(np.asarray(clusters))[differs].nunique()))


def days_not_trained_on(days: Iterable[date], *models: RankerModel) -> list[date]:
    """The decision days that none of the models learned from.

    Raises:
        NotComparable: a model does not say which days it learned from.
    """
    learned: set[str] = set().union(*(trained_days(model.manifest) for model in models))
    return [day for day in days if str(day) not in learned]


def trained_days(manifest: Mapping[str, Any]) -> Collection[str]:
    """The decision days that a model learned from, as ISO dates.

    Raises:
        NotComparable: its manifest does not say.
    """
    days = manifest.get("decision_dates")
    if not days:
        raise NotComparable(
            "a version does not say which decision days it learned from: train it again"
        )
    found: Collection[str] = days
    return found


def not_trained_on_mask(episodes: Episodes, *models: RankerModel) -> BoolArray:
    """Which episodes lie on decision days that none of the models learned from, shape
    (episodes,).
    """
    fresh: BoolArray = episodes.decision_date.isin(
        days_not_trained_on(episodes.decision_date.unique(), *models)
    ).to_numpy()
    return fresh


def enough_to_judge(episodes: Episodes, judged: BoolArray) -> bool:
    """Whether the judged episodes hold as many starts of supports as are asked of a support to
    learn from.
    """
    return int((episodes.support[judged] != NONE).sum()) >= MIN_STARTS_PER_SUPPORT


def unfitted_clone(model: RankerModel, earlier: Episodes) -> BenefitRanker:
    """A ranker that will learn as the model did, of those of its supports that the earlier episodes
    hold.

    Raises:
        NotComparable: the model was learned with parameters that are no longer there.
    """
    parameters = dict(model.manifest.get("parameters", {}))
    unknown = sorted(set(parameters) - set(BenefitRanker().get_params()))
    if not parameters or unknown:
        raise NotComparable(
            "a version was learned in a way that Handrail no longer knows"
            f"{' (' + ', '.join(unknown) + ')' if unknown else ''}: train it again"
        )
    held = set(earlier.support)
    return BenefitRanker(
        **parameters | {"supports": tuple(name for name in model.ranker.supports_ if name in held)}
    )


def _paired(found: EvaluationSet, candidate: Actions, champion: Actions) -> PolicyDifference:
    return paired_difference(
        found.reward,
        found.taken,
        candidate,
        champion,
        found.propensity,
        found.expected,
        found.episodes.cluster,
    )
