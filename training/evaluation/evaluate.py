"""Off-policy evaluation: what a policy would have been worth on episodes that it never learned
from.

Episodes that judge, and all that is known of a ranker judged by them: values, overlap, calibration.
Chances and expectations of each judged episode come from models that did not see its student. What
leaves this room of the numbers of students is rounded to ten, and left out below ten (R60): a table
of overlap must not tell of a child.
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

SMALLEST_CELL = 10
"""Fewest students behind a number that is published (NCES 2011-603)."""
ROUNDED_TO = 10
N_CALIBRATION_BINS = 5
TREATED_PHRASE = "got what it would choose"
Row = dict[str, Any]


@dataclass(frozen=True)
class EvaluationSet:
    """Judged episodes only, with arrays of shape (n,) and (n, 1 + supports), the first column that
    of none.

    `benefit`: doubly robust pseudo-outcomes of the supports, shape (n, supports).
    """

    episodes: Episodes
    supports: tuple[str, ...]
    taken: Actions
    propensity: FloatArray
    expected: FloatArray
    benefit: FloatArray

    def __len__(self) -> int:
        return len(self.episodes)

    @property
    def reward(self) -> FloatArray:
        """The outcomes, in progress points."""
        return self.episodes.outcome.to_numpy(dtype="float64")

    @property
    def places(self) -> int:
        """How many of them got a support in the past."""
        return int((self.taken > 0).sum())

    @property
    def days(self) -> list[date]:
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
        """What the ranker would choose, as places among (none, *supports), shape (n,)."""
        chosen = choose_actions(ranker, self.episodes.features, programs, places)
        among: Actions = np.array(
            [0, *(1 + self.supports.index(name) for name in ranker.supports_)], dtype=np.intp
        )
        return among[chosen]

    def value(self, chosen: Actions) -> PolicyValue:
        """What these choices would have been worth."""
        return policy_value(
            self.reward, self.taken, chosen, self.propensity, self.expected, self.episodes.cluster
        )

    def published(self, count: float) -> int | None:
        """A number of episodes as it may be told: rounded to ten; None where fewer than ten
        students may be behind.
        """
        return published_count(int(count) if count >= SMALLEST_CELL * len(self.days) else 0)


@dataclass(frozen=True)
class Evaluation:
    """One ranker's policy, judged: `same_places` with as many places as the past had, `no_limit`
    without that limit.

    `overlap` and `calibration` are tables to publish: small numbers of students are None in them.
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
        """What to print beside the gain at the same places."""
        return (
            e_value_sentence(self.same_places.gain, self.deviation, TREATED_PHRASE)
            if self.deviation > 0
            else ""
        )

    def metrics(self) -> dict[str, float]:
        """Flat figures, as an experiment tracker wants them."""
        values = {
            "episodes": float(self.episodes),
            "treated_share": self.places / self.episodes,
            "suggested_share": self.suggested_share,
        }
        for name in ("same_places", "no_limit"):
            values |= _flat(f"{name}.", asdict(getattr(self, name)))
        return values

    def to_dict(self) -> dict[str, Any]:
        """Plain values, as JSON wants them."""
        found = asdict(self) | {
            "first_day": str(self.first_day),
            "last_day": str(self.last_day),
            "sensitivity": self.sensitivity,
        }
        plain: dict[str, Any] = nan_to_none(found)
        return plain


def evaluation_set(
    episodes: Episodes, judged: BoolArray, supports: tuple[str, ...], seed: int
) -> EvaluationSet:
    """The judged ones of all episodes, from which chances and expectations are learned,
    cross-fitted by student.

    Episodes with another support than `supports` are left out.

    Raises:
        NotEnoughEvidence: nobody got a support in a judged episode.
    """
    informative = episodes.support.isin([NONE, *supports]).to_numpy()
    episodes, judged = (
        episodes.take(np.flatnonzero(informative).astype(np.intp)),
        judged[informative],
    )
    if not (episodes.support[judged] != NONE).any():
        raise NotEnoughEvidence(
            "there is not enough evidence to judge by: nobody started a support on a judged day"
        )
    found = pseudo_outcomes(
        episodes.features,
        episodes.support,
        episodes.outcome,
        supports,
        assign_folds(episodes.cluster, 5, seed),
        seed,
    )
    own = episodes.take(np.flatnonzero(judged).astype(np.intp)).with_imputed_outcome(seed)
    taken = np.asarray(
        pd.Categorical(own.support, categories=[NONE, *supports]).codes, dtype=np.intp
    )
    return EvaluationSet(
        own,
        supports,
        taken,
        found.propensity[judged],
        found.expected_outcome[judged],
        found.values[judged],
    )


def evaluate(found: EvaluationSet, ranker: BenefitRanker, programs: pd.DataFrame) -> Evaluation:
    """A fitted ranker's policy on episodes that it did not learn from."""
    limited, free = (found.choices(ranker, programs, places) for places in (found.places, None))
    return Evaluation(
        found.first_day,
        found.last_day,
        len(found),
        found.places,
        float((free > 0).mean()),
        found.value(limited),
        found.value(free),
        found.deviation,
        tuple(overlap_rows(found, limited)),
        tuple(calibration_rows(found, ranker)),
    )


def evaluate_on_later_days(
    episodes: Episodes, ranker: BenefitRanker, programs: pd.DataFrame, seed: int = 0
) -> Evaluation:
    """Let `ranker` learn from the earlier two thirds of the decision days, and judge it on the
    later ones.

    Raises:
        NotEnoughEvidence: there are too few decision days, or nobody got a support on the later
            ones.
    """
    later = later_days_mask(episodes)
    supports = ranker.supports or tuple(sorted(set(episodes.support) - {NONE}))
    found = evaluation_set(episodes, later, tuple(supports), seed)
    earlier = training_split(episodes, later, seed)
    ranker.fit(earlier.features, earlier.outcome, earlier.support, earlier.cluster)
    return evaluate(found, ranker, programs)


def training_split(episodes: Episodes, judged: BoolArray, seed: int) -> Episodes:
    """The episodes that do not judge, with outcomes completed from themselves alone."""
    return episodes.take(np.flatnonzero(~judged).astype(np.intp)).with_imputed_outcome(seed)


def later_days_mask(episodes: Episodes) -> BoolArray:
    """Which episodes lie in the later third of the decision days, shape (episodes,).

    Raises:
        NotEnoughEvidence: there are fewer than two decision days.
    """
    days: NDArray[Any] = np.sort(episodes.decision_date.unique())
    if len(days) < 2:
        raise NotEnoughEvidence(
            f"there is not enough evidence to judge by: {len(days)} decision days, of which the "
            "later ones must judge what the earlier ones teach"
        )
    later: BoolArray = (episodes.decision_date >= days[max(1, round(len(days) * 2 / 3))]).to_numpy()
    return later


def distinct_days(decision_date: pd.Series) -> list[date]:
    """The decision days of episodes, each once and in order."""
    return sorted(pd.to_datetime(decision_date).dt.date.unique())


def overlap_rows(found: EvaluationSet, chosen: Actions) -> Iterator[Row]:
    """How likely past practice was to choose what the policy does, by support: episodes in each
    range of chances.
    """
    for row in overlap_histogram(chosen, found.propensity).rows((NONE, *found.supports)):
        yield row | {"episodes": found.published(float(row["episodes"]))}


def calibration_rows(found: EvaluationSet, ranker: BenefitRanker) -> Iterator[Row]:
    """What was predicted of each student's best support and what it came to, doubly robust, by
    fifths of the former.

    Nothing where a fifth would stand for fewer than ten students.
    """
    predicted, realised = best_support_benefits(found, ranker)
    students = found.episodes.cluster.to_numpy()
    for place, rows in enumerate(
        np.array_split(np.argsort(predicted, kind="stable"), N_CALIBRATION_BINS)
    ):
        episodes = found.published(len(rows))
        if episodes is not None:
            came = clustered_mean(realised[rows], students[rows])
            yield {
                "fifth": place + 1,
                "predicted": float(predicted[rows].mean()),
                "realised": came.value,
                "lower": came.lower,
                "upper": came.upper,
                "episodes": episodes,
            }


def best_support_benefits(
    found: EvaluationSet, ranker: BenefitRanker
) -> tuple[FloatArray, FloatArray]:
    """What the ranker predicts of each student's best support, and its doubly robust
    pseudo-outcome, shape (n,).
    """
    benefits = ranker.benefits(found.episodes.features)
    means = np.column_stack([benefits[name].mean for name in ranker.supports_])
    among = np.array([found.supports.index(name) for name in ranker.supports_])
    return means.max(axis=1), found.benefit[np.arange(len(found)), among[means.argmax(axis=1)]]


def importance_rows(
    ranker: BenefitRanker, features: pd.DataFrame, families: Mapping[str, str], rows: int = 300
) -> list[Row]:
    """Mean absolute SHAP contribution to the benefit of a support by family of features, in
    progress points.

    Args:
        features: students to ask about; evenly spaced ones, as many as `rows`, are.
        families: the family of each feature by name.
    """
    asked = features.iloc[np.linspace(0, len(features) - 1, min(rows, len(features))).astype(int)]
    names = np.array([families[name] for name in ranker.feature_names_])
    sizes: dict[str, list[float]] = {family: [] for family in sorted(set(names))}
    for support in ranker.supports_:
        _, parts = ranker.contributions(asked, support)
        for family, found in sizes.items():
            found.append(float(np.abs(parts[:, names == family].sum(axis=1)).mean()))
    found_rows: list[Row] = [
        {"family": family, "points": float(np.mean(found))} for family, found in sizes.items()
    ]
    return sorted(found_rows, key=lambda row: -row["points"])


def published_count(students: int) -> int | None:
    """A number of students as it may be published: rounded to ten (halves up), None below ten."""
    return (
        None
        if students < SMALLEST_CELL
        else (students + ROUNDED_TO // 2) // ROUNDED_TO * ROUNDED_TO
    )


def nan_to_none(value: Any) -> Any:
    """The same with None for each number that is none, and lists for tuples: what strict JSON can
    hold.
    """
    if isinstance(value, Mapping):
        return {name: nan_to_none(one) for name, one in value.items()}
    if isinstance(value, Sequence) and not isinstance(value, str):
        return [nan_to_none(one) for one in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _flat(prefix: str, values: Mapping[str, Any]) -> dict[str, float]:
    found: dict[str, float] = {}
    for name, value in values.items():
        found |= (
            _flat(f"{prefix}{name}.", value)
            if isinstance(value, Mapping)
            else {f"{prefix}{name}": float(value)}
        )
    return found
