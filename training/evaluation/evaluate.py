"""Off-policy evaluation: what a ranker would have been worth on episodes it was not trained on.

An evaluation set holds held-out episodes with out-of-fold propensities and expected outcomes; an
evaluation holds a ranker's value, overlap and calibration on it. Published numbers of students are
rounded to ten and suppressed below the smallest cell (`records.suppression.small_numbers`, R60): a
table of overlap must not identify a child.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import date
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from records.suppression.small_numbers import DEFAULT_SMALL_NUMBERS, SmallNumbers
from training.episodes.episodes import Episodes, NotEnoughEvidence
from training.estimation.arrays import BoolArray, FloatArray
from training.estimation.policy_value import (
    Actions,
    PolicyValue,
    clustered_mean,
    overlap_histogram,
    policy_value,
)
from training.estimation.pseudo_outcomes import NONE, assign_folds, pseudo_outcomes
from training.estimation.sensitivity import e_value_sentence
from training.ranking.ranker import BenefitRanker
from training.ranking.suggestions import choose_actions

N_CALIBRATION_BINS = 5
TREATED_PHRASE = "received the support it would choose"
Row = dict[str, Any]


@dataclass(frozen=True)
class EvaluationSet:
    """Held-out episodes with what models of other students say of them.

    Attributes:
        taken: the action of each episode: 0 for none, else 1 + the index in `supports`, shape (n,).
        propensity, expected: of each action, shape (n, 1 + supports).
        pseudo_outcome: doubly robust, of each support, shape (n, supports).
        small_numbers: the rule by which numbers of episodes are published.
    """

    episodes: Episodes
    supports: tuple[str, ...]
    taken: Actions
    propensity: FloatArray
    expected: FloatArray
    pseudo_outcome: FloatArray
    small_numbers: SmallNumbers = DEFAULT_SMALL_NUMBERS

    def __len__(self) -> int:
        return len(self.episodes)

    @property
    def reward(self) -> FloatArray:
        """The outcomes, in progress points."""
        return self.episodes.outcome.to_numpy(dtype="float64")

    @property
    def places(self) -> int:
        """How many of the episodes received a support in the past."""
        return int((self.taken > 0).sum())

    @property
    def days(self) -> list[date]:
        """The decision days of the episodes, in order."""
        return distinct_days(self.episodes.decision_date)

    @property
    def first_day(self) -> date:
        return self.days[0]

    @property
    def last_day(self) -> date:
        return self.days[-1]

    @property
    def deviation(self) -> float:
        """Standard deviation of the outcome, in progress points."""
        return float(self.reward.std(ddof=1))

    def choices(self, ranker: BenefitRanker, programs: pd.DataFrame, places: int | None) -> Actions:
        """The action the ranker would choose for each episode, as in `taken`, shape (n,)."""
        actions = choose_actions(ranker, self.episodes.features, programs, places)
        # The ranker numbers its own supports, which may be fewer and in another order.
        index_here: Actions = np.array(
            [0, *(1 + self.supports.index(name) for name in ranker.supports_)], dtype=np.intp
        )
        return index_here[actions]

    def value(self, actions: Actions) -> PolicyValue:
        """What these actions would have been worth."""
        return policy_value(
            self.reward, self.taken, actions, self.propensity, self.expected, self.episodes.cluster
        )

    def published(self, count: float) -> int | None:
        """A number of episodes to publish: None where too few students may be behind it."""
        enough = count >= self.small_numbers.smallest_cell * len(self.days)
        return self.small_numbers.published_count(int(count)) if enough else None


@dataclass(frozen=True)
class Evaluation:
    """One ranker's policy: `same_places` at the capacity of the past, `no_limit` without a limit.

    `deviation` is the standard deviation of the outcome. `overlap` and `calibration` are tables to
    publish: small numbers of students are None in them.
    """

    first_day: date
    last_day: date
    episodes: int
    places: int
    suggested_share: float
    same_places: PolicyValue
    no_limit: PolicyValue
    deviation: float
    overlap: tuple[Row, ...]
    calibration: tuple[Row, ...]

    @property
    def sensitivity(self) -> str:
        """The sentence to print with the gain at the same capacity; empty where there is none."""
        if not self.deviation > 0:
            return ""
        return e_value_sentence(self.same_places.gain, self.deviation, TREATED_PHRASE)

    def metrics(self) -> dict[str, float]:
        """Flat figures, as an experiment tracker needs them."""
        values = {
            "episodes": float(self.episodes),
            "treated_share": self.places / self.episodes,
            "suggested_share": self.suggested_share,
        }
        for name in ("same_places", "no_limit"):
            values |= _flat(f"{name}.", asdict(getattr(self, name)))
        return values

    def to_dict(self) -> dict[str, Any]:
        """Plain values, as JSON needs them."""
        values = asdict(self) | {
            "first_day": str(self.first_day),
            "last_day": str(self.last_day),
            "sensitivity": self.sensitivity,
        }
        plain: dict[str, Any] = nan_to_none(values)
        return plain


def evaluation_set(
    episodes: Episodes,
    held_out: BoolArray,
    supports: tuple[str, ...],
    seed: int,
    small_numbers: SmallNumbers = DEFAULT_SMALL_NUMBERS,
) -> EvaluationSet:
    """The held-out episodes, with propensities and expected outcomes cross-fitted on all.

    Args:
        episodes: all that there are; those with another support than `supports` are left out.
        held_out: which of them to evaluate on, shape (episodes,).
        supports: the supports of the rankers to be evaluated.
        seed: of the folds.
        small_numbers: the district's rule.

    Raises:
        NotEnoughEvidence: nobody received a support in a held-out episode.
    """
    informative = episodes.support.isin([NONE, *supports]).to_numpy()
    episodes = episodes.take(np.flatnonzero(informative).astype(np.intp))
    held_out = held_out[informative]
    if not (episodes.support[held_out] != NONE).any():
        raise NotEnoughEvidence(
            "not enough data to evaluate: no student started a support on an evaluation day"
        )
    targets = pseudo_outcomes(
        episodes.features,
        episodes.support,
        episodes.outcome,
        supports,
        assign_folds(episodes.cluster, 5, seed),
        seed,
    )
    own = episodes.take(np.flatnonzero(held_out).astype(np.intp)).with_imputed_outcome(seed)
    taken = pd.Categorical(own.support, categories=[NONE, *supports]).codes
    return EvaluationSet(
        episodes=own,
        supports=supports,
        taken=np.asarray(taken, dtype=np.intp),
        propensity=targets.propensity[held_out],
        expected=targets.expected_outcome[held_out],
        pseudo_outcome=targets.values[held_out],
        small_numbers=small_numbers,
    )


def evaluate(evaluated: EvaluationSet, ranker: BenefitRanker, programs: pd.DataFrame) -> Evaluation:
    """A fitted ranker's policy on episodes it was not trained on.

    Args:
        evaluated: the episodes.
        ranker: fitted; its supports are among those of `evaluated`.
        programs: which grades each support is open to.
    """
    at_same_capacity = evaluated.choices(ranker, programs, evaluated.places)
    without_limit = evaluated.choices(ranker, programs, None)
    return Evaluation(
        first_day=evaluated.first_day,
        last_day=evaluated.last_day,
        episodes=len(evaluated),
        places=evaluated.places,
        suggested_share=float((without_limit > 0).mean()),
        same_places=evaluated.value(at_same_capacity),
        no_limit=evaluated.value(without_limit),
        deviation=evaluated.deviation,
        overlap=tuple(overlap_rows(evaluated, at_same_capacity)),
        calibration=tuple(calibration_rows(evaluated, ranker)),
    )


def evaluate_on_later_days(
    episodes: Episodes,
    ranker: BenefitRanker,
    programs: pd.DataFrame,
    seed: int = 0,
    small_numbers: SmallNumbers = DEFAULT_SMALL_NUMBERS,
) -> Evaluation:
    """Train `ranker` on the earlier two thirds of the decision days, evaluate it on the later.

    Raises:
        NotEnoughEvidence: there are too few decision days, or nobody received a support on the
            later ones.
    """
    later = later_days_mask(episodes)
    supports = ranker.supports or tuple(sorted(set(episodes.support) - {NONE}))
    evaluated = evaluation_set(episodes, later, tuple(supports), seed, small_numbers)
    earlier = training_split(episodes, later, seed)
    ranker.fit(earlier.features, earlier.outcome, earlier.support, earlier.cluster)
    return evaluate(evaluated, ranker, programs)


def training_split(episodes: Episodes, held_out: BoolArray, seed: int) -> Episodes:
    """The episodes that are not held out, with outcomes imputed from themselves alone."""
    return episodes.take(np.flatnonzero(~held_out).astype(np.intp)).with_imputed_outcome(seed)


def later_days_mask(episodes: Episodes) -> BoolArray:
    """Which episodes lie in the later third of the decision days, shape (episodes,).

    Raises:
        NotEnoughEvidence: there are fewer than two decision days.
    """
    days: NDArray[Any] = np.sort(episodes.decision_date.unique())
    if len(days) < 2:
        raise NotEnoughEvidence(
            f"not enough data to evaluate: {len(days)} decision days; a model is trained on the"
            " earlier ones and evaluated on the later ones"
        )
    first_later_day = days[max(1, round(len(days) * 2 / 3))]
    later: BoolArray = (episodes.decision_date >= first_later_day).to_numpy()
    return later


def distinct_days(decision_date: pd.Series) -> list[date]:
    """The decision days of episodes, each once and in order."""
    return sorted(pd.to_datetime(decision_date).dt.date.unique())


def overlap_rows(evaluated: EvaluationSet, actions: Actions) -> Iterator[Row]:
    """Episodes by the policy's action and the propensity that past practice gave to it."""
    for row in overlap_histogram(actions, evaluated.propensity).rows((NONE, *evaluated.supports)):
        yield row | {"episodes": evaluated.published(float(row["episodes"]))}


def calibration_rows(evaluated: EvaluationSet, ranker: BenefitRanker) -> Iterator[Row]:
    """Predicted and realized benefit of students' best supports, by fifths of the former.

    No row where a fifth may stand for fewer students than the smallest cell.
    """
    predicted, realized = best_support_benefits(evaluated, ranker)
    clusters = evaluated.episodes.cluster.to_numpy()
    fifths = np.array_split(np.argsort(predicted, kind="stable"), N_CALIBRATION_BINS)
    for number, rows in enumerate(fifths, start=1):
        episodes = evaluated.published(len(rows))
        if episodes is not None:
            mean = clustered_mean(realized[rows], clusters[rows])
            yield {
                "fifth": number,
                "predicted": float(predicted[rows].mean()),
                "realised": mean.value,
                "lower": mean.lower,
                "upper": mean.upper,
                "episodes": episodes,
            }


def best_support_benefits(
    evaluated: EvaluationSet, ranker: BenefitRanker
) -> tuple[FloatArray, FloatArray]:
    """Predicted benefit and pseudo-outcome of each student's best support, shape (n,) each."""
    benefits = ranker.benefits(evaluated.episodes.features)
    means = np.column_stack([benefits[name].mean for name in ranker.supports_])
    index_here = np.array([evaluated.supports.index(name) for name in ranker.supports_])
    best = index_here[means.argmax(axis=1)]
    return means.max(axis=1), evaluated.pseudo_outcome[np.arange(len(evaluated)), best]


def importance_rows(
    ranker: BenefitRanker, features: pd.DataFrame, families: Mapping[str, str], rows: int = 300
) -> list[Row]:
    """Mean absolute SHAP contribution to a support's benefit by family, in progress points.

    Args:
        ranker: fitted.
        features: of students, of whom `rows` evenly spaced ones are used.
        families: the family of each feature by name.
        rows: the number of students to use.
    """
    sample = features.iloc[np.linspace(0, len(features) - 1, min(rows, len(features))).astype(int)]
    family_of = np.array([families[name] for name in ranker.feature_names_])
    sizes: dict[str, list[float]] = {family: [] for family in sorted(set(family_of))}
    for support in ranker.supports_:
        _, contributions = ranker.contributions(sample, support)
        for family, by_support in sizes.items():
            of_family = contributions[:, family_of == family].sum(axis=1)
            by_support.append(float(np.abs(of_family).mean()))
    importance: list[Row] = [
        {"family": family, "points": float(np.mean(by_support))}
        for family, by_support in sizes.items()
    ]
    return sorted(importance, key=lambda row: -row["points"])


def nan_to_none(value: Any) -> Any:
    """A value as strict JSON can hold it: None for NaN and infinity, lists for tuples."""
    if isinstance(value, Mapping):
        return {name: nan_to_none(item) for name, item in value.items()}
    if isinstance(value, Sequence) and not isinstance(value, str):
        return [nan_to_none(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _flat(prefix: str, values: Mapping[str, Any]) -> dict[str, float]:
    flat: dict[str, float] = {}
    for name, value in values.items():
        if isinstance(value, Mapping):
            flat |= _flat(f"{prefix}{name}.", value)
        else:
            flat[f"{prefix}{name}"] = float(value)
    return flat
