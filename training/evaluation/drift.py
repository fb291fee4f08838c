"""Drift: do students look as they did when a model learned, and did what it predicted come true?

Features are compared with those of the same place of the school year (40th, 75th or 110th school
day), so that a season does not look like a change. The measure is the population stability index
(PSI), the sum over cells of (share now - share then) * ln(share now / share then). 0.1 and 0.25 are
the bounds in use for "some" and "much" change (Siddiqi (2006), Credit risk scorecards); they say
nothing of chance, which moves the index by about chi-square(cells - 1) * (1/n + 1/m) where nothing
changed (Yurdakul & Naranjo (2020), Journal of Risk Model Validation 14(4)). A change is said only
beyond both.

What is kept and published are shares of many: no cell of fewer students than the smallest cell
(`records.suppression.small_numbers`), no edge that is one student's own value (R58).
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from enum import StrEnum

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from pydantic import TypeAdapter
from scipy.stats import chi2

from features.catalog import FEATURES_BY_NAME
from records.suppression.small_numbers import DEFAULT_SMALL_NUMBERS, SmallNumbers
from training.episodes.episodes import DecisionDay, Episodes
from training.estimation.arrays import FloatArray
from training.estimation.policy_value import FEW_CLUSTERS, Estimate, clustered_mean
from training.evaluation.evaluate import (
    EvaluationSet,
    best_support_benefits,
    calibration_rows,
)
from training.ranking.coarsening import coarsen
from training.ranking.ranker import BenefitRanker

BINS = 10
MODERATE_PSI, MAJOR_PSI = 0.1, 0.25
FALSE_ALARM_RATE = 0.05
"""Chance that a day on which nothing changed shows a change of any feature at all, at most."""
MIN_EXPECTED_COUNT = 30
"""Students that a cell must be expected to hold now: with fewer, chance is not about chi-square,
and a number that is too small to be told would decide."""


class DriftLevel(StrEnum):
    """How much a feature, a family or a day differs from the days that a model learned from."""

    UNKNOWN = "cannot tell"
    AS_BEFORE = "as before"
    SOME = "some change"
    MUCH = "much change"


class PredictionCheck(StrEnum):
    """How what came of supports stands against what was predicted."""

    UNKNOWN = "cannot tell"
    AS_PREDICTED = "as predicted"
    MORE = "more than predicted"
    LESS = "less than predicted"


@dataclass(frozen=True)
class Distribution:
    """Shares of students by values of one feature.

    Attributes:
        edges: a cell holds what is above one edge, up to and with the next.
        shares: of all students, shape (edges + 1,), or none where the feature is hardly known of
            anybody. None is a cell with fewer students than the smallest cell.
        missing: the share of whom it is not known; None for fewer than that.
    """

    edges: tuple[float, ...]
    shares: tuple[float | None, ...]
    missing: float | None


@dataclass(frozen=True)
class SchoolDayReference:
    """One place of the school year: about how many students, and each feature's distribution by
    name.
    """

    students: int
    features: Mapping[str, Distribution]


@dataclass(frozen=True)
class DriftReference:
    """What a model's students looked like, by place of the school year."""

    places: Mapping[int, SchoolDayReference]

    def to_json(self) -> str:
        return _REFERENCE.dump_json(self, indent=1).decode()

    @classmethod
    def from_json(cls, data: bytes) -> DriftReference:
        """The reference that `to_json` wrote.

        Raises:
            ValueError: it is another thing.
        """
        return _REFERENCE.validate_json(data)


_REFERENCE = TypeAdapter(DriftReference)


@dataclass(frozen=True)
class LargestShift:
    """Where a distribution moved most: the shares of students above a value, of those of whom it is
    known.
    """

    above: float
    then: float
    now: float


@dataclass(frozen=True)
class FeatureDrift:
    """One feature on one day. `chance`: the index that chance alone passes too rarely to be meant
    here.

    `missing_then`, `missing_now`: shares of students of whom it is not known; None where too small
    to be told.
    """

    name: str
    index: float
    chance: float
    missing_then: float | None
    missing_now: float | None
    turn: LargestShift | None

    @property
    def family(self) -> str:
        return FEATURES_BY_NAME[self.name].family

    @property
    def verdict(self) -> DriftLevel:
        if self.index < MODERATE_PSI or self.index <= self.chance:
            return DriftLevel.AS_BEFORE
        return DriftLevel.MUCH if self.index >= MAJOR_PSI else DriftLevel.SOME


@dataclass(frozen=True)
class FamilyDrift:
    """A family of features on one day: the feature that changed most, and the mean index."""

    name: str
    worst: FeatureDrift
    mean: float

    @property
    def verdict(self) -> DriftLevel:
        return self.worst.verdict


@dataclass(frozen=True)
class DayDrift:
    """One decision day against the same place of the years that were learned from.

    `features` is empty where that cannot be compared; then `cannot_tell` says why, in words.
    `students` is rounded.
    """

    day: date
    place: int
    students: int | None
    features: tuple[FeatureDrift, ...]
    cannot_tell: str = ""

    @property
    def families(self) -> list[FamilyDrift]:
        """In the order of the catalog."""
        found: dict[str, list[FeatureDrift]] = {}
        for one in self.features:
            found.setdefault(one.family, []).append(one)
        return [
            FamilyDrift(
                name,
                max(ones, key=lambda one: (_RANK[one.verdict], one.index)),
                float(np.mean([one.index for one in ones])),
            )
            for name, ones in found.items()
        ]

    @property
    def verdict(self) -> DriftLevel:
        return worst_level([one.verdict for one in self.features])


_RANK = {verdict: place for place, verdict in enumerate(DriftLevel)}


@dataclass(frozen=True)
class Quintile:
    """A fifth of the episodes by predicted benefit, the least first: what was predicted and what
    came, in points.
    """

    place: int
    predicted: float
    came: Estimate
    episodes: int


@dataclass(frozen=True)
class RealizedBenefit:
    """What was predicted of each student's best support, and what it came to, in progress points,
    doubly robust.

    Attributes:
        episodes: rounded to ten.
        slope: what came for each point that was predicted; None where the same was predicted of
            all.
    """

    days: tuple[date, ...]
    episodes: int | None
    predicted: float
    came: Estimate
    slope: Estimate | None
    fifths: tuple[Quintile, ...]

    @property
    def verdict(self) -> PredictionCheck:
        """Less where the 95% interval of the level lies below what was predicted, or that of the
        slope below one: each by chance alone in one of forty cases. Nothing is said where the level
        may as well be no benefit at all.
        """
        if self.came.upper < self.predicted or (self.slope is not None and self.slope.upper < 1):
            return PredictionCheck.LESS
        if self.came.lower > self.predicted:
            return PredictionCheck.MORE
        return (
            PredictionCheck.UNKNOWN
            if self.came.lower <= 0 < self.predicted
            else PredictionCheck.AS_PREDICTED
        )


def worst_level(found: Sequence[DriftLevel]) -> DriftLevel:
    """The greatest change among these; `UNKNOWN` where there is none."""
    return max(found, key=lambda one: _RANK[one], default=DriftLevel.UNKNOWN)


def build_reference(
    episodes: Episodes,
    days: Sequence[DecisionDay],
    small_numbers: SmallNumbers = DEFAULT_SMALL_NUMBERS,
) -> DriftReference:
    """What the students of episodes looked like at each place of the school year.

    Args:
        days: which place of its school year each decision day of the episodes is.
    """
    place_of = {one.day: one.place for one in days}
    places = episodes.decision_date.map(place_of)
    found = {}
    for place in sorted(set(place_of.values()) & set(places)):
        rows = (places == place).to_numpy()
        features, students = episodes.features[rows], episodes.student[rows]
        number = small_numbers.published_count(students.nunique())
        if number is not None:
            first = ~students.duplicated().to_numpy()
            coarse = coarsen(features)
            found[int(place)] = SchoolDayReference(
                number,
                {
                    str(name): _distribution(
                        _floats(features[name]),
                        _floats(coarse[name]),
                        first,
                        small_numbers.smallest_cell,
                    )
                    for name in features.columns
                },
            )
    return DriftReference(found)


def compare_day(
    reference: DriftReference,
    day: DecisionDay,
    now: pd.DataFrame,
    small_numbers: SmallNumbers = DEFAULT_SMALL_NUMBERS,
) -> DayDrift:
    """One decision day against the reference of its place.

    Args:
        now: the features of the day, one row a student.
    """
    then, students = reference.places.get(day.place), small_numbers.published_count(len(now))
    if then is None:
        return DayDrift(
            day.day,
            day.place,
            students,
            (),
            "the model did not learn from this place of a school year",
        )
    if min(len(now), then.students) < FEW_CLUSTERS:
        return DayDrift(
            day.day, day.place, students, (), f"fewer than {FEW_CLUSTERS} students are compared"
        )
    level = FALSE_ALARM_RATE / len(then.features)
    return DayDrift(
        day.day,
        day.place,
        students,
        tuple(
            compare_feature(name, one, _floats(now[name]), then.students, level, small_numbers)
            for name, one in then.features.items()
        ),
    )


def compare_feature(
    name: str,
    then: Distribution,
    now: FloatArray,
    students: int,
    level: float = FALSE_ALARM_RATE,
    small_numbers: SmallNumbers = DEFAULT_SMALL_NUMBERS,
) -> FeatureDrift:
    """One feature against its distribution among `students`.

    Args:
        now: values, shape (m,), NaN where unknown.
        level: chance that `chance` is passed where nothing changed.
    """
    told = _merged_for(then, len(now))
    counts = _counts(now, told.edges)
    smallest = small_numbers.smallest_cell
    expected, actual = _shares(told, counts, students, smallest)
    index = float(((actual - expected) * np.log(actual / expected)).sum())
    chance = float(chi2.ppf(1 - level, max(1, len(expected) - 1))) * (1 / students + 1 / len(now))
    return FeatureDrift(
        name,
        round(index, 3),
        round(chance, 3),
        _percent(then.missing),
        _told_share(int(counts[-1]), len(now), smallest),
        _turn(then, now, smallest),
    )


def realized_benefit(found: EvaluationSet, ranker: BenefitRanker) -> RealizedBenefit:
    """What a ranker predicted on episodes that it did not learn from, and what it came to."""
    predicted, came = best_support_benefits(found, ranker)
    students, usual = found.episodes.cluster.to_numpy(), float(predicted.mean())
    gap = clustered_mean(came - predicted, students)
    fifths = tuple(
        Quintile(
            row["fifth"],
            row["predicted"],
            Estimate(row["realised"], row["lower"], row["upper"]),
            row["episodes"],
        )
        for row in calibration_rows(found, ranker)
    )
    return RealizedBenefit(
        tuple(found.days),
        found.published(len(found)),
        usual,
        Estimate(usual + gap.value, usual + gap.lower, usual + gap.upper),
        _slope(predicted, came, students),
        fifths,
    )


def _distribution(
    values: FloatArray, coarse: FloatArray, first: NDArray[np.bool_], smallest: int
) -> Distribution:
    """Cells of about a tenth, each with `smallest` students or more; a student counts for one cell
    alone, by `first`.
    """
    known = ~np.isnan(values)
    if (known & first).sum() < smallest:
        return Distribution((), (), 1.0)
    tenths = np.quantile(coarse[known], np.arange(1, BINS) / BINS, method="inverted_cdf")
    edges = np.unique(tenths.round(6) + 0.0).tolist()
    _joined(edges, [float(one) for one in _counts(values[first], edges)[:-1]], smallest)
    missing = float((~known).mean()) if (~known & first).sum() >= smallest else None
    if not edges:
        top = round(float(coarse[known].max()), 6)
        return Distribution((top,), (round(1 - (missing or 0.0), 3), None), _rounded(missing))
    counted = _counts(values, edges)[:-1]
    total = len(values) if missing is not None else int(known.sum())
    return Distribution(
        tuple(edges), tuple(round(float(one) / total, 3) for one in counted), _rounded(missing)
    )


def _joined(edges: list[float], sizes: list[float], least: float) -> None:
    """Join cells in place, each with its smaller neighbour, until each has `least` or one is
    left.
    """
    while len(sizes) > 1 and min(sizes) < least:
        at = sizes.index(min(sizes))
        last = at == len(sizes) - 1
        below = at if last or (at > 0 and sizes[at - 1] <= sizes[at + 1]) else at + 1
        sizes[below - 1 : below + 1] = [sizes[below - 1] + sizes[below]]
        del edges[below - 1]


def _merged_for(then: Distribution, now: int) -> Distribution:
    """The same in cells that `now` students would fill; one that is too small to be told stays as
    it is.
    """
    if None in then.shares or not then.shares:
        return then
    edges, shares = list(then.edges), [float(one or 0.0) for one in then.shares]
    _joined(edges, shares, MIN_EXPECTED_COUNT / now)
    return Distribution(tuple(edges), tuple(shares), then.missing)


def _shares(
    then: Distribution, counts: NDArray[np.intp], students: int, smallest: int
) -> tuple[FloatArray, FloatArray]:
    """Shares then and now in each cell and, last, of whom the feature is missing, shape (cells,);
    each adds up to one.

    A cell of fewer than `smallest` now counts as half of that: its number decides nothing. Of a
    cell that was too small to be told, or whose number now would be by chance, the share then is
    taken to be what it is now, up to what it may have been. So is the share missing, where it is
    smaller now: a first year of records has no marks of the year before, and that more is known of
    students than then does not mislead who learned from both.
    """
    held = np.where(counts < smallest, smallest / 2, counts.astype("float64"))
    actual = held / held.sum()
    told = np.array([one if one is not None else np.nan for one in (*then.shares, then.missing)])
    if not then.shares:
        told = np.array([np.nan, then.missing if then.missing is not None else np.nan])
    few = MIN_EXPECTED_COUNT / int(counts.sum())
    rare = np.isnan(told) | (told < few)
    rare[-1] |= bool(then.shares) and actual[-1] < told[-1]
    limit = np.maximum(np.where(np.isnan(told), smallest / students, told), few)
    expected = np.where(rare, np.minimum(actual, limit), told)
    if rare.all():
        return actual, actual
    expected[~rare] *= (1 - expected[rare].sum()) / expected[~rare].sum()
    return expected, actual


def _counts(values: FloatArray, edges: Sequence[float]) -> NDArray[np.intp]:
    """How many values lie in each cell, and last how many are missing, shape (edges + 2,)."""
    known = values[~np.isnan(values)]
    held = np.bincount(
        np.searchsorted(np.asarray(edges, dtype="float64"), known - 1e-9), minlength=len(edges) + 1
    )
    return np.append(held, len(values) - len(known))


def _turn(then: Distribution, now: FloatArray, smallest: int) -> LargestShift | None:
    """The edge above which the shares differ most, where there are `smallest` students or more on
    both sides of it.
    """
    if None in then.shares or len(then.shares) < 2:
        return None
    before = np.array([float(one or 0.0) for one in then.shares])
    above_then = (before.sum() - before.cumsum())[:-1] / before.sum()
    counts = _counts(now, then.edges)[:-1]
    known = int(counts.sum())
    above_now = known - counts.cumsum()[:-1]
    enough = (above_now >= smallest) & (known - above_now >= smallest)
    if not enough.any():
        return None
    at = int(np.where(enough, np.abs(above_now / max(known, 1) - above_then), -1.0).argmax())
    return LargestShift(
        then.edges[at], round(float(above_then[at]), 2), round(float(above_now[at]) / known, 2)
    )


def _slope(
    predicted: FloatArray, came: FloatArray, students: NDArray[np.object_]
) -> Estimate | None:
    """The least-squares slope of what came on what was predicted, clustered by student by its
    influence function.
    """
    off = predicted - predicted.mean()
    spread = float((off**2).mean())
    if spread < 1e-12:
        return None
    slope = float((off * came).mean()) / spread
    found = clustered_mean(slope + off * (came - came.mean() - slope * off) / spread, students)
    return found if math.isfinite(found.lower + found.upper) else None


def _told_share(count: int, of: int, smallest: int) -> float | None:
    return _percent(count / of) if min(count, of - count) >= smallest else None


def _percent(share: float | None) -> float | None:
    return None if share is None else round(share, 2)


def _rounded(share: float | None) -> float | None:
    return None if share is None else round(share, 3)


def _floats(column: pd.Series) -> FloatArray:
    return column.to_numpy(dtype="float64")
