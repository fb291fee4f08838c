"""Drift: do students resemble those of training, and did predictions come true?

Features are compared with those of the same point in the school year (40th, 75th or 110th school
day), so that a season does not look like a change. The measure is the population stability index
(PSI), the sum over cells of (share now - share then) * ln(share now / share then). 0.1 and 0.25 are
the usual bounds of moderate and major change (Siddiqi (2006), Credit risk scorecards); they ignore
chance, which moves the index by about chi-square(cells - 1) * (1/n + 1/m) where nothing changed
(Yurdakul & Naranjo (2020), Journal of Risk Model Validation 14(4)). A change is reported only
beyond both.

References and reports hold shares of many: no cell below the smallest (`small_numbers`), no
edge that is one student's own value (R58).
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
"""Largest probability that a day on which nothing changed shows a change of any feature."""
MIN_EXPECTED_COUNT = 30
"""Students that a cell must be expected to hold now: with fewer, the chi-square approximation
fails, and a number too small to be published would decide."""


class DriftLevel(StrEnum):
    """How much a feature, a family or a day differs from the days that a model was trained on."""

    UNKNOWN = "cannot tell"
    STABLE = "as before"
    MODERATE = "some change"
    MAJOR = "much change"


class PredictionCheck(StrEnum):
    """How realized benefits stand against predicted ones."""

    UNKNOWN = "cannot tell"
    AS_PREDICTED = "as predicted"
    MORE = "more than predicted"
    LESS = "less than predicted"


@dataclass(frozen=True)
class Distribution:
    """Shares of students by values of one feature.

    Attributes:
        edges: a cell holds what is above one edge, up to and including the next.
        shares: of all students, shape (edges + 1,); empty where the feature is known of hardly
            anybody. None is a cell with fewer students than the smallest cell.
        missing: the share of students without the feature; None for fewer than that.
    """

    edges: tuple[float, ...]
    shares: tuple[float | None, ...]
    missing: float | None


@dataclass(frozen=True)
class SchoolDayReference:
    """One point in the school year: the rounded number of students and each distribution."""

    students: int
    features: Mapping[str, Distribution]


@dataclass(frozen=True)
class DriftReference:
    """The features of a model's training students, by number of the school day (40, 75 or 110)."""

    places: Mapping[int, SchoolDayReference]

    def to_json(self) -> str:
        """The reference as JSON."""
        return _REFERENCE.dump_json(self, indent=1).decode()

    @classmethod
    def from_json(cls, data: bytes) -> DriftReference:
        """The reference that `to_json` wrote.

        Raises:
            ValueError: it is not a drift reference.
        """
        return _REFERENCE.validate_json(data)


_REFERENCE = TypeAdapter(DriftReference)


@dataclass(frozen=True)
class LargestShift:
    """Where a distribution moved most: shares above a value, among students with a known value."""

    above: float
    then: float
    now: float


@dataclass(frozen=True)
class FeatureDrift:
    """One feature on one day.

    `chance`: the index that chance alone rarely exceeds. `missing_then`, `missing_now`: shares of
    students without the feature; None where suppressed.
    """

    name: str
    index: float
    chance: float
    missing_then: float | None
    missing_now: float | None
    turn: LargestShift | None

    @property
    def family(self) -> str:
        """The feature's family in the catalog."""
        return FEATURES_BY_NAME[self.name].family

    @property
    def verdict(self) -> DriftLevel:
        """The level of change beyond chance."""
        if self.index < MODERATE_PSI or self.index <= self.chance:
            return DriftLevel.STABLE
        return DriftLevel.MAJOR if self.index >= MAJOR_PSI else DriftLevel.MODERATE


@dataclass(frozen=True)
class FamilyDrift:
    """A family of features on one day: the feature that changed most, and the mean index."""

    name: str
    worst: FeatureDrift
    mean: float

    @property
    def verdict(self) -> DriftLevel:
        """The level of its most changed feature."""
        return self.worst.verdict


@dataclass(frozen=True)
class DayDrift:
    """One decision day against the same point in the years of training.

    `place` is the number of the school day. `features` is empty where they cannot be compared; then
    `cannot_tell` says why. `students` is rounded.
    """

    day: date
    place: int
    students: int | None
    features: tuple[FeatureDrift, ...]
    cannot_tell: str = ""

    @property
    def families(self) -> list[FamilyDrift]:
        """The drift of each family, in the order of the catalog."""
        by_family: dict[str, list[FeatureDrift]] = {}
        for feature in self.features:
            by_family.setdefault(feature.family, []).append(feature)
        return [
            FamilyDrift(
                family,
                max(features, key=lambda feature: (_RANK[feature.verdict], feature.index)),
                float(np.mean([feature.index for feature in features])),
            )
            for family, features in by_family.items()
        ]

    @property
    def verdict(self) -> DriftLevel:
        """The greatest level of any feature."""
        return worst_level([feature.verdict for feature in self.features])


_RANK = {level: rank for rank, level in enumerate(DriftLevel)}


@dataclass(frozen=True)
class Quintile:
    """A fifth of the episodes by predicted benefit, the least first: predicted and realized points.

    `place` is its number from 1; `came` is the realized benefit.
    """

    place: int
    predicted: float
    came: Estimate
    episodes: int


@dataclass(frozen=True)
class RealizedBenefit:
    """Predicted and realized benefit of students' best supports, in progress points.

    Attributes:
        days: the decision days.
        episodes: rounded to ten.
        predicted, came: the mean predicted and the mean realized benefit.
        slope: realized points per predicted point; None where all predictions are equal.
        fifths: by predicted benefit.
    """

    days: tuple[date, ...]
    episodes: int | None
    predicted: float
    came: Estimate
    slope: Estimate | None
    fifths: tuple[Quintile, ...]

    @property
    def verdict(self) -> PredictionCheck:
        """How the realized benefit compares with the prediction.

        Less where the 95% interval of the level lies below the prediction, or that of the slope
        below one: each happens by chance in one of forty cases. Unknown where the interval of the
        level includes no benefit at all.
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


def worst_level(levels: Sequence[DriftLevel]) -> DriftLevel:
    """The greatest of these levels; `UNKNOWN` where there are none."""
    return max(levels, key=lambda level: _RANK[level], default=DriftLevel.UNKNOWN)


def build_reference(
    episodes: Episodes,
    days: Sequence[DecisionDay],
    small_numbers: SmallNumbers = DEFAULT_SMALL_NUMBERS,
) -> DriftReference:
    """The features of the students of episodes, by number of the school day.

    Args:
        episodes: those a model is trained on.
        days: the decision days of the calendar.
        small_numbers: the district's rule.
    """
    school_day_of = {decision.day: decision.place for decision in days}
    school_days = episodes.decision_date.map(school_day_of)
    references = {}
    for school_day in sorted(set(school_day_of.values()) & set(school_days)):
        rows = (school_days == school_day).to_numpy()
        features, students = episodes.features[rows], episodes.student[rows]
        number = small_numbers.published_count(students.nunique())
        if number is not None:
            first_of_student = ~students.duplicated().to_numpy()
            coarse = coarsen(features)
            distributions = {
                str(name): _distribution(
                    _floats(features[name]),
                    _floats(coarse[name]),
                    first_of_student,
                    small_numbers.smallest_cell,
                )
                for name in features.columns
            }
            references[int(school_day)] = SchoolDayReference(number, distributions)
    return DriftReference(references)


def compare_day(
    reference: DriftReference,
    day: DecisionDay,
    now: pd.DataFrame,
    small_numbers: SmallNumbers = DEFAULT_SMALL_NUMBERS,
) -> DayDrift:
    """One decision day against the reference of its point in the school year.

    Args:
        reference: of the model.
        day: the decision day.
        now: the features of the day, one row a student.
        small_numbers: the district's rule.
    """
    then, students = reference.places.get(day.place), small_numbers.published_count(len(now))
    if then is None:
        reason = "the model has no training data for this point in the school year"
        return DayDrift(day.day, day.place, students, (), reason)
    if min(len(now), then.students) < FEW_CLUSTERS:
        reason = f"too few students to compare (fewer than {FEW_CLUSTERS})"
        return DayDrift(day.day, day.place, students, (), reason)
    level = FALSE_ALARM_RATE / len(then.features)  # Bonferroni over the features
    features = tuple(
        compare_feature(name, distribution, _floats(now[name]), then.students, level, small_numbers)
        for name, distribution in then.features.items()
    )
    return DayDrift(day.day, day.place, students, features)


def compare_feature(
    name: str,
    then: Distribution,
    now: FloatArray,
    students: int,
    level: float = FALSE_ALARM_RATE,
    small_numbers: SmallNumbers = DEFAULT_SMALL_NUMBERS,
) -> FeatureDrift:
    """One feature against its distribution in training.

    Args:
        name: of the feature.
        then: its distribution among the students of training.
        now: values, shape (m,), NaN where unknown.
        students: number of students of training.
        level: probability that the index exceeds `chance` where nothing changed.
        small_numbers: the district's rule.
    """
    smallest = small_numbers.smallest_cell
    merged = _merged_for(then, len(now))
    counts = _counts(now, merged.edges)
    expected, actual = _expected_and_actual(merged, counts, students, smallest)
    index = float(((actual - expected) * np.log(actual / expected)).sum())
    chance = float(chi2.ppf(1 - level, max(1, len(expected) - 1))) * (1 / students + 1 / len(now))
    return FeatureDrift(
        name=name,
        index=round(index, 3),
        chance=round(chance, 3),
        missing_then=_percent(then.missing),
        missing_now=_published_share(int(counts[-1]), len(now), smallest),
        turn=_largest_shift(then, now, smallest),
    )


def realized_benefit(evaluated: EvaluationSet, ranker: BenefitRanker) -> RealizedBenefit:
    """Predicted and realized benefit on episodes that a ranker was not trained on."""
    predicted, realized = best_support_benefits(evaluated, ranker)
    clusters, mean = evaluated.episodes.cluster.to_numpy(), float(predicted.mean())
    gap = clustered_mean(realized - predicted, clusters)
    fifths = tuple(
        Quintile(
            place=row["fifth"],
            predicted=row["predicted"],
            came=Estimate(row["realised"], row["lower"], row["upper"]),
            episodes=row["episodes"],
        )
        for row in calibration_rows(evaluated, ranker)
    )
    return RealizedBenefit(
        days=tuple(evaluated.days),
        episodes=evaluated.published(len(evaluated)),
        predicted=mean,
        came=Estimate(mean + gap.value, mean + gap.lower, mean + gap.upper),
        slope=_slope(predicted, realized, clusters),
        fifths=fifths,
    )


def _distribution(
    values: FloatArray, coarse: FloatArray, first: NDArray[np.bool_], smallest: int
) -> Distribution:
    """Cells of about a tenth of the episodes, each with `smallest` students or more.

    Args:
        values: of the feature, shape (n,), NaN where unknown.
        coarse: the values as a model may remember them, from which edges are taken.
        first: which rows are the first of their student, so that each student counts once.
    """
    known = ~np.isnan(values)
    if (known & first).sum() < smallest:
        return Distribution((), (), 1.0)
    tenths = np.quantile(coarse[known], np.arange(1, BINS) / BINS, method="inverted_cdf")
    edges = np.unique(tenths.round(6) + 0.0).tolist()
    students_by_cell = [float(count) for count in _counts(values[first], edges)[:-1]]
    _join_small_cells(edges, students_by_cell, smallest)
    missing = float((~known).mean()) if (~known & first).sum() >= smallest else None
    if not edges:
        top = round(float(coarse[known].max()), 6)
        return Distribution((top,), (round(1 - (missing or 0.0), 3), None), _rounded(missing))
    counts = _counts(values, edges)[:-1]
    total = len(values) if missing is not None else int(known.sum())
    shares = tuple(round(float(count) / total, 3) for count in counts)
    return Distribution(tuple(edges), shares, _rounded(missing))


def _join_small_cells(edges: list[float], sizes: list[float], least: float) -> None:
    """Join cells in place with their smaller neighbor, until each has `least` or one is left."""
    while len(sizes) > 1 and min(sizes) < least:
        smallest = sizes.index(min(sizes))
        is_last = smallest == len(sizes) - 1
        joins_left = is_last or (smallest > 0 and sizes[smallest - 1] <= sizes[smallest + 1])
        right = smallest if joins_left else smallest + 1
        sizes[right - 1 : right + 1] = [sizes[right - 1] + sizes[right]]
        del edges[right - 1]


def _merged_for(then: Distribution, now: int) -> Distribution:
    """The distribution in cells that `now` students would fill, if none is suppressed."""
    if None in then.shares or not then.shares:
        return then
    edges, shares = list(then.edges), [float(share or 0.0) for share in then.shares]
    _join_small_cells(edges, shares, MIN_EXPECTED_COUNT / now)
    return Distribution(tuple(edges), tuple(shares), then.missing)


def _expected_and_actual(
    then: Distribution, counts: NDArray[np.intp], students: int, smallest: int
) -> tuple[FloatArray, FloatArray]:
    """Shares expected from training and shares now, by cell and last of missing values.

    Both have the shape (cells + 1,) and add up to one.

    Small numbers must not decide, nor may the index show what is suppressed:

    - A cell of fewer than `smallest` now counts as half of that.
    - Where the share in training is suppressed, or so small that its count now is chance, it is
      taken to be what it is now, up to what it may have been.
    - So is the share of missing values where it is smaller now: a first year of records has no
      grades of the year before, and a model trained with missing values is not misled by fewer.
    """
    held = np.where(counts < smallest, smallest / 2, counts.astype("float64"))
    actual = held / held.sum()
    shares = then.shares or (None,)
    stored = np.array([np.nan if share is None else share for share in (*shares, then.missing)])
    few = MIN_EXPECTED_COUNT / int(counts.sum())
    undecided = np.isnan(stored) | (stored < few)
    undecided[-1] |= bool(then.shares) and actual[-1] < stored[-1]
    limit = np.maximum(np.where(np.isnan(stored), smallest / students, stored), few)
    expected = np.where(undecided, np.minimum(actual, limit), stored)
    if undecided.all():
        return actual, actual
    expected[~undecided] *= (1 - expected[undecided].sum()) / expected[~undecided].sum()
    return expected, actual


def _counts(values: FloatArray, edges: Sequence[float]) -> NDArray[np.intp]:
    """How many values lie in each cell, and last how many are missing, shape (edges + 2,)."""
    known = values[~np.isnan(values)]
    cells = np.searchsorted(np.asarray(edges, dtype="float64"), known - 1e-9)
    return np.append(np.bincount(cells, minlength=len(edges) + 1), len(values) - len(known))


def _largest_shift(then: Distribution, now: FloatArray, smallest: int) -> LargestShift | None:
    """The edge above which the shares differ most, with `smallest` students or more on each
    side.
    """
    if None in then.shares or len(then.shares) < 2:
        return None
    shares = np.array([float(share or 0.0) for share in then.shares])
    above_then = (shares.sum() - shares.cumsum())[:-1] / shares.sum()
    counts = _counts(now, then.edges)[:-1]
    known = int(counts.sum())
    above_now = known - counts.cumsum()[:-1]
    enough = (above_now >= smallest) & (known - above_now >= smallest)
    if not enough.any():
        return None
    shifts = np.where(enough, np.abs(above_now / max(known, 1) - above_then), -1.0)
    largest = int(shifts.argmax())
    return LargestShift(
        above=then.edges[largest],
        then=round(float(above_then[largest]), 2),
        now=round(float(above_now[largest]) / known, 2),
    )


def _slope(
    predicted: FloatArray, realized: FloatArray, clusters: NDArray[np.object_]
) -> Estimate | None:
    """The least-squares slope of realized on predicted benefit, with a clustered interval."""
    centered = predicted - predicted.mean()
    variance = float((centered**2).mean())
    if variance < 1e-12:
        return None
    slope = float((centered * realized).mean()) / variance
    residual = realized - realized.mean() - slope * centered
    estimate = clustered_mean(slope + centered * residual / variance, clusters)
    return estimate if math.isfinite(estimate.lower + estimate.upper) else None


def _published_share(count: int, of: int, smallest: int) -> float | None:
    return _percent(count / of) if min(count, of - count) >= smallest else None


def _percent(share: float | None) -> float | None:
    return None if share is None else round(share, 2)


def _rounded(share: float | None) -> float | None:
    return None if share is None else round(share, 3)


def _floats(column: pd.Series) -> FloatArray:
    return column.to_numpy(dtype="float64")
