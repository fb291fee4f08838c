"""Is a candidate better than the champion? Two policies on the same episodes at the same capacity.

What one policy would have been worth is far less certain than what it would have been worth beyond
another: for most students both choose alike, and what is unknown of them cancels. So the difference
is taken episode by episode, and its interval is clustered by student. "Better" needs the whole
interval above zero.

Two model files are evaluated on decision days that neither was trained on. Where these hold too
little data, the two recipes are compared instead: both are retrained on the earlier days and
evaluated on the later ones.
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

from records.suppression.small_numbers import DEFAULT_SMALL_NUMBERS, SmallNumbers
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
    evaluation_set,
    later_days_mask,
    nan_to_none,
    training_split,
)
from training.ranking.model_file import RankerModel
from training.ranking.ranker import BenefitRanker

ComparisonMode = Literal["files", "learning"]
AS_REGISTERED_FILES: ComparisonMode = "files"
REFITTED: ComparisonMode = "learning"
MODE_DESCRIPTIONS: Mapping[ComparisonMode, str] = {
    "files": (
        "Both registered models were evaluated on decision days that neither was trained on."
    ),
    "learning": (
        "There is too little data since the two models' training period, so both were retrained on"
        " the earlier two-thirds of the decision days and evaluated on the later third."
    ),
}


class Superiority(StrEnum):
    """What a comparison shows about the candidate."""

    BETTER = "better"
    NO_BETTER = "no better shown"
    WORSE = "worse"


class NotComparable(UserError, ValueError):
    """Two versions that cannot be compared; the message says why."""


@dataclass(frozen=True)
class PolicyDifference:
    """What one policy is worth beyond another per episode, in progress points.

    `differing`: students for whom the two choose differently at least once.
    """

    estimate: Estimate
    differing: int

    @property
    def finding(self) -> Superiority:
        """Better or worse only where the 95% interval excludes zero.

        So a candidate that is no better is called better in one of forty cases. Never where so few
        students are treated differently that no interval is reliable.
        """
        has_interval = math.isfinite(self.estimate.lower + self.estimate.upper)
        if self.differing < FEW_CLUSTERS or not has_interval:
            return Superiority.NO_BETTER
        if self.estimate.lower > 0:
            return Superiority.BETTER
        return Superiority.WORSE if self.estimate.upper < 0 else Superiority.NO_BETTER


@dataclass(frozen=True)
class PolicyComparison:
    """A candidate against a champion on held-out episodes.

    `places` is how many of the episodes received a support in the past; `deviation` is the standard
    deviation of their outcome, in progress points.
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
        """Whether the candidate is better, worse, or neither is shown."""
        return self.difference.finding

    @property
    def sensitivity(self) -> str:
        """The sentence to print with the difference: how strong an unrecorded factor must be."""
        if not self.deviation > 0:
            return ""
        return e_value_sentence(
            self.difference.estimate,
            self.deviation,
            "received the choice of one model but not the other",
        )

    def to_dict(self, small_numbers: SmallNumbers = DEFAULT_SMALL_NUMBERS) -> dict[str, Any]:
        """Plain values, as JSON needs them; a small number of students is suppressed."""
        values = asdict(self) | {
            "first_day": str(self.first_day),
            "last_day": str(self.last_day),
            "finding": str(self.finding),
            "sensitivity": self.sensitivity,
            "how": MODE_DESCRIPTIONS[self.way],
            "difference": asdict(self.difference.estimate),
            "differing": small_numbers.published_count(self.difference.differing),
        }
        plain: dict[str, Any] = nan_to_none(values)
        return plain


def compare_rankers(
    episodes: Episodes,
    held_out: BoolArray,
    programs: pd.DataFrame,
    candidate: BenefitRanker,
    champion: BenefitRanker,
    *,
    way: ComparisonMode = AS_REGISTERED_FILES,
    seed: int = 0,
) -> PolicyComparison:
    """Two fitted rankers on held-out episodes, which neither of them was trained on.

    Args:
        episodes: all that there are; the propensities and expected outcomes are cross-fitted on
            them by student.
        held_out: which of them to evaluate on, shape (episodes,).
        programs: which grades each support is open to.
        candidate, champion: the two rankers.
        way: what the comparison is of; recorded with it.
        seed: of the folds.

    Raises:
        NotEnoughEvidence: nobody received a support in a held-out episode.
    """
    supports = tuple(sorted({*candidate.supports_, *champion.supports_}))
    evaluated = evaluation_set(episodes, held_out, supports, seed)
    candidate_actions = evaluated.choices(candidate, programs, evaluated.places)
    champion_actions = evaluated.choices(champion, programs, evaluated.places)
    return PolicyComparison(
        way=way,
        first_day=evaluated.first_day,
        last_day=evaluated.last_day,
        episodes=len(evaluated),
        places=evaluated.places,
        candidate=evaluated.value(candidate_actions),
        champion=evaluated.value(champion_actions),
        difference=paired_difference(
            evaluated.reward,
            evaluated.taken,
            candidate_actions,
            champion_actions,
            evaluated.propensity,
            evaluated.expected,
            evaluated.episodes.cluster,
        ),
        deviation=evaluated.deviation,
    )


def compare_refitted(
    episodes: Episodes,
    programs: pd.DataFrame,
    candidate: RankerModel,
    champion: RankerModel,
    *,
    seed: int = 0,
) -> PolicyComparison:
    """Two models' recipes: clones trained on the earlier days, evaluated on the later ones.

    Raises:
        NotEnoughEvidence: there are too few decision days or nobody received a support on the later
            ones.
        NotComparable: this release no longer supports the parameters of one of the two.
    """
    held_out = later_days_mask(episodes)
    earlier = training_split(episodes, held_out, seed)
    clones = [
        unfitted_clone(model, earlier).fit(
            earlier.features[model.ranker.feature_names_],
            earlier.outcome,
            earlier.support,
            earlier.cluster,
        )
        for model in (candidate, champion)
    ]
    return compare_rankers(episodes, held_out, programs, *clones, way=REFITTED, seed=seed)


def compare_models(
    episodes: Episodes,
    programs: pd.DataFrame,
    candidate: RankerModel,
    champion: RankerModel,
    *,
    seed: int = 0,
) -> PolicyComparison:
    """Two models: their files where enough days are new to both, else their recipes.

    Raises:
        NotEnoughEvidence, NotComparable: as `compare_refitted`.
    """
    new_to_both = not_trained_on_mask(episodes, candidate, champion)
    if enough_to_judge(episodes, new_to_both):
        return compare_rankers(
            episodes,
            new_to_both,
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
    """The self-normalized doubly robust value of one policy less that of another.

    Args:
        reward, taken, propensity, expected, clusters: as for `policy_value`.
        candidate, champion: the two policies, as `policy` there.
    """
    policies = [
        action_probabilities(policy, propensity.shape[1]) for policy in (candidate, champion)
    ]
    rows = np.arange(len(reward))
    residual = reward - expected[rows, taken]
    values = []
    for policy in policies:
        weight = policy[rows, taken] / propensity[rows, taken]
        direct = (policy * expected).sum(axis=1)
        values.append(self_normalized(direct, weight, weight * residual))
    differs = np.abs(policies[0] - policies[1]).sum(axis=1) > 1e-9
    estimate = clustered_mean(values[0] - values[1], clusters)
    return PolicyDifference(estimate, int(pd.Series(np.asarray(clusters))[differs].nunique()))


def days_not_trained_on(days: Iterable[date], *models: RankerModel) -> list[date]:
    """The decision days that none of the models was trained on.

    Raises:
        NotComparable: a model file does not list its training days.
    """
    trained: set[str] = set().union(*(trained_days(model.manifest) for model in models))
    return [day for day in days if str(day) not in trained]


def trained_days(manifest: Mapping[str, Any]) -> Collection[str]:
    """The decision days that a model was trained on, as ISO dates.

    Raises:
        NotComparable: its manifest does not list them.
    """
    days = manifest.get("decision_dates")
    if not days:
        raise NotComparable("the model file does not list its training days; retrain it")
    listed: Collection[str] = days
    return listed


def not_trained_on_mask(episodes: Episodes, *models: RankerModel) -> BoolArray:
    """Which episodes lie on days that none of the models was trained on, shape (episodes,)."""
    new_days = days_not_trained_on(episodes.decision_date.unique(), *models)
    mask: BoolArray = episodes.decision_date.isin(new_days).to_numpy()
    return mask


def enough_to_judge(episodes: Episodes, held_out: BoolArray) -> bool:
    """Whether the held-out episodes have as many starts of supports as training needs of one."""
    return int((episodes.support[held_out] != NONE).sum()) >= MIN_STARTS_PER_SUPPORT


def unfitted_clone(model: RankerModel, earlier: Episodes) -> BenefitRanker:
    """An unfitted ranker with the model's parameters, for supports in the earlier episodes.

    Raises:
        NotComparable: the model was trained with parameters this release no longer supports.
    """
    parameters = dict(model.manifest.get("parameters", {}))
    unknown = sorted(set(parameters) - set(BenefitRanker().get_params()))
    if not parameters or unknown:
        raise NotComparable(
            "a version was trained with parameters this release no longer supports"
            f"{' (' + ', '.join(unknown) + ')' if unknown else ''}; retrain it"
        )
    present = set(earlier.support)
    supports = tuple(name for name in model.ranker.supports_ if name in present)
    return BenefitRanker(**parameters | {"supports": supports})
