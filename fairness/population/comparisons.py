"""A group against all others: each figure with its standard error, from students resampled by
cohort.

Students of one grade in one school share teachers and rooms, so cohorts are drawn and not students
(a cluster bootstrap; Cameron & Miller 2015, Journal of Human Resources 50(2)). Where hardly anybody
or nearly everybody is counted, resampling knows too little: an error is never smaller than that of
independent students with one more on either side (Agresti & Caffo 2000, The American Statistician
54(4)), of numbers rounded to ten, so that it discloses nothing that the numbers next to it do not.
Figures here are exact and are not to be shown; `fairness.publication.publishing` says what may be.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from fairlearn.metrics import mean_prediction
from numpy.typing import NDArray
from scipy.special import stdtrit

from fairness.checks.checks import CHECKS, Contrast
from records.suppression.rounding import round_count
from training.estimation.arrays import BoolArray, FloatArray

Codes = NDArray[np.intp]
NOT_RECORDED = "not_recorded"
DRAWS = 1000


@dataclass(frozen=True)
class Measure:
    """What one check measures of each row, a student: arrays of shape (rows,).

    Attributes:
        item: what it is about where a check asks about several things, such as a support; else an
            empty text.
        numerator, denominator: the amount, and what it is out of: 0 where the check does not ask
            about the row.
        stratum: rows are compared within these alone (whole numbers from 0); None: all with all.
        standard_error_floors: for some groups, by value, an error that theirs is not below.
    """

    check: str
    item: str
    numerator: FloatArray
    denominator: FloatArray
    stratum: Codes | None = None
    standard_error_floors: Mapping[str, float] | None = None

    @property
    def is_count(self) -> bool:
        """Whether it counts students: each is asked about or not, and counted or not."""
        flags = (
            np.isin(self.numerator, (0.0, 1.0)).all()
            and np.isin(self.denominator, (0.0, 1.0)).all()
        )
        return CHECKS[self.check].contrast != "mean" and bool(flags)


@dataclass(frozen=True)
class MeasureTable:
    """Measures with the groups and cohorts of their rows, each a student, by whom they are
    indexed.
    """

    measures: tuple[Measure, ...]
    groups: pd.DataFrame
    cohorts: pd.Series


@dataclass(frozen=True)
class GroupComparison:
    """One group and one measure: exact, not to be shown.

    Attributes:
        rows, others_size: students whom the check asks about, in the group and among those with
            another value on record.
        rate, others_rate: numerator by denominator.
        gap: rate less the others' rate, rate by the others' rate, or the rate alone, as the check
            compares; within the strata, weighted as Mantel & Haenszel (1959) do. NaN where there is
            nothing to compare.
        estimate: the gap on the scale of its error: its logarithm where it is a ratio, with half a
            student more on either side of each share where nobody at all is counted in one.
        standard_error: of `estimate`.
        t_statistic: how many errors it lies from no gap at all. That of a ratio of shares is of
            their difference, with the error that it has where there is none: the logarithm's own
            grows as fewer are counted, so that the less a group gets the less would be sure.
        degrees_of_freedom: the group's cohorts less one.
        smallest_cell, others_smallest_cell: students of whom the rate discloses something: the
            fewer of those with any amount and of those with less than all of it. Of a mean of -1, 0
            and 1 it is how many may have either end, for all that the mean says. All of them where
            the amount has no bounds, as with progress points.
    """

    check: str
    item: str
    attribute: str
    value: str
    rows: int
    others_size: int
    rate: float
    others_rate: float
    gap: float
    estimate: float
    standard_error: float
    t_statistic: float
    degrees_of_freedom: int
    smallest_cell: int = 0
    others_smallest_cell: int = 0

    @property
    def contrast(self) -> Contrast:
        return CHECKS[self.check].contrast

    def interval(self, confidence: float) -> tuple[float, float]:
        """Both ends of the gap's interval: Student's t on its own scale, the logarithm for a
        ratio.
        """
        half = float(stdtrit(self.degrees_of_freedom, (1 + confidence) / 2)) * self.standard_error
        lower, upper = self.estimate - half, self.estimate + half
        if self.contrast != "ratio":
            return lower, upper
        return min(math.exp(lower), self.gap), max(math.exp(upper), self.gap)


def compare_groups(
    measures: Sequence[Measure],
    groups: pd.DataFrame,
    cohorts: pd.Series,
    draws: int = DRAWS,
    seed: int = 0,
) -> list[GroupComparison]:
    """Every group against all others, by every measure; nothing where there are no rows.

    Args:
        groups: a column an attribute, its values as text, `NOT_RECORDED` where unknown; rows as in
            the measures.
        cohorts: what is resampled together; indexed alike.
        seed: equal seeds give equal errors.
    """
    which = pd.factorize(cohorts, sort=True)[0].astype(np.intp)
    if not len(which):
        return []
    number = int(which.max()) + 1
    rng = np.random.default_rng(seed)
    weights = np.vstack(
        [np.ones(number), rng.multinomial(number, np.full(number, 1 / number), draws)]
    )
    return [
        comparison
        for attribute in groups.columns
        for comparison in _comparisons_by(attribute, measures, groups[attribute], which, weights)
    ]


def group_rates(measure: Measure, values: pd.Series) -> dict[str, float]:
    """What fairlearn's metric says of each group: the amount by what it is out of.

    It is asked group by group, as its `MetricFrame` asks it, which takes ten times as long to set
    up as a metric takes to compute.
    """
    included = measure.denominator > 0
    if not included.any():
        return {}
    base = measure.denominator[included]
    rows: pd.DataFrame = pd.DataFrame(
        {
            "group": values[included].to_numpy(),
            "share": measure.numerator[included] / base,
            "weight": base,
        }
    )
    if measure.is_count:
        rows = rows.groupby(["group", "share"])["weight"].sum().reset_index()
    return {
        str(group): float(mean_prediction(own["share"], own["share"], sample_weight=own["weight"]))
        for group, own in rows.groupby("group")
    }


def _comparisons_by(
    attribute: str,
    measures: Sequence[Measure],
    column: pd.Series,
    cohort: Codes,
    weights: FloatArray,
) -> Iterator[GroupComparison]:
    """Every group of one attribute against all others, by each measure that applies to it."""
    recorded = (column != NOT_RECORDED).to_numpy()
    values = sorted(column[recorded].unique())
    code = pd.Index(values).get_indexer(column)
    for measure in measures:
        if not CHECKS[measure.check].applies_to(attribute):
            continue
        rates = group_rates(measure, column)
        included = recorded & (measure.denominator > 0)
        numerators, denominators = _stratum_sums(
            measure, included, code, len(values), cohort, weights
        )
        sizes = np.bincount(code[included], minlength=len(values))
        disclosed = _disclosed_students(measure, included, code, sizes)
        gaps = _gaps(numerators, denominators, CHECKS[measure.check].contrast)
        t_statistics = _t_statistics(numerators, denominators, measure)
        for place, value in enumerate(values):
            own = float(numerators[0, place].sum()), float(denominators[0, place].sum())
            rest = float(numerators[0].sum()) - own[0], float(denominators[0].sum()) - own[1]
            estimate, error = _estimate(gaps[:, place], own, rest, measure)
            error = max(error, (measure.standard_error_floors or {}).get(str(value), error))
            n_cohorts = len(np.unique(cohort[included & (code == place)]))
            yield GroupComparison(
                check=measure.check,
                item=measure.item,
                attribute=attribute,
                value=value,
                rows=int(sizes[place]),
                others_size=int(sizes.sum() - sizes[place]),
                rate=rates.get(value, math.nan),
                others_rate=rest[0] / rest[1] if rest[1] else math.nan,
                gap=float(gaps[0, place]),
                estimate=estimate,
                standard_error=error,
                t_statistic=(
                    _over(estimate, error) if t_statistics is None else float(t_statistics[place])
                ),
                degrees_of_freedom=max(n_cohorts - 1, 1),
                smallest_cell=min(int(count[place]) for count in disclosed),
                others_smallest_cell=min(int(count.sum() - count[place]) for count in disclosed),
            )


def _stratum_sums(
    measure: Measure,
    included: BoolArray,
    code: Codes,
    n_values: int,
    cohort: Codes,
    weights: FloatArray,
) -> tuple[FloatArray, FloatArray]:
    """Sums of numerators and of denominators: shape (draws + 1, values, strata) each."""
    strata = 1 if measure.stratum is None else int(measure.stratum.max(initial=0)) + 1
    cell = code * strata + (0 if measure.stratum is None else measure.stratum)
    numerators, denominators = (
        _sums(
            amounts[included], cell[included], cohort[included], weights, n_values * strata
        ).reshape(len(weights), n_values, strata)
        for amounts in (measure.numerator, measure.denominator)
    )
    return numerators, denominators


def _disclosed_students(
    measure: Measure, included: BoolArray, code: Codes, sizes: Codes
) -> list[Codes]:
    """Numbers of students by value, the least of which is how many a rate discloses something of.

    Args:
        sizes: how many are included, by value.
    """
    if CHECKS[measure.check].unit != "share":
        return [sizes]
    if CHECKS[measure.check].contrast == "mean":
        net = np.bincount(code[included], measure.numerator[included], len(sizes))
        return [(sizes - np.abs(net).astype(np.intp)) // 2]
    any_amount = included & (measure.numerator > 0)
    not_all = included & (measure.numerator < measure.denominator)
    return [np.bincount(code[flags], minlength=len(sizes)) for flags in (any_amount, not_all)]


def _sums(
    amount: FloatArray, cell: Codes, cohort: Codes, weights: FloatArray, cells: int
) -> FloatArray:
    """Sums by draw, the first as it is, and cell: shape (draws + 1, cells)."""
    cohorts = weights.shape[1]
    flat = np.bincount(cohort * cells + cell, amount, cohorts * cells)
    drawn: FloatArray = weights @ flat.reshape(cohorts, cells)
    return drawn


def _gaps(numerators: FloatArray, denominators: FloatArray, contrast: Contrast) -> FloatArray:
    """By draw and value: the group's rate against that of all others, from sums by draw, value and
    stratum.
    """
    rest = numerators.sum(axis=1, keepdims=True) - numerators
    rest_base = denominators.sum(axis=1, keepdims=True) - denominators
    with np.errstate(divide="ignore", invalid="ignore"):
        if contrast == "mean":
            return _floats(numerators.sum(axis=2) / denominators.sum(axis=2))
        if contrast == "ratio":
            total = denominators + rest_base
            own_share = np.where(total > 0, numerators * rest_base / total, 0.0).sum(axis=2)
            rest_share = np.where(total > 0, rest * denominators / total, 0.0).sum(axis=2)
            return _floats(own_share / rest_share)
        comparable = (denominators > 0) & (rest_base > 0)
        # Mantel-Haenszel weights: a stratum without one of the two sides weighs nothing.
        weight = np.where(comparable, denominators * rest_base / (denominators + rest_base), 0.0)
        difference = np.where(comparable, numerators / denominators - rest / rest_base, 0.0)
        return _floats((weight * difference).sum(axis=2) / weight.sum(axis=2))


def _t_statistics(
    numerators: FloatArray, denominators: FloatArray, measure: Measure
) -> FloatArray | None:
    """How many errors each value's difference of shares from all others lies from none, within
    strata; None where the measure is no ratio of numbers of students.

    The error is that of Mantel and Haenszel's (1959) test under no difference, times the design
    effect: how much larger resampling of cohorts finds it than independent students would have it.
    """
    if CHECKS[measure.check].contrast != "ratio" or not measure.is_count:
        return None
    gaps = _gaps(numerators, denominators, "difference")
    own, own_base = numerators[0], denominators[0]
    rest, rest_base = own.sum(axis=0) - own, own_base.sum(axis=0) - own_base
    with np.errstate(divide="ignore", invalid="ignore"):
        weight = np.nan_to_num(own_base * rest_base / (own_base + rest_base))
        pooled_variance, own_variance, rest_variance = (
            np.nan_to_num(share * (1 - share))
            for share in ((own + rest) / (own_base + rest_base), own / own_base, rest / rest_base)
        )
        null_error = np.sqrt((weight * pooled_variance).sum(axis=1)) / weight.sum(axis=1)
        variance = own_variance / np.maximum(own_base, 1) + rest_variance / np.maximum(rest_base, 1)
        independent_error = np.sqrt((weight**2 * variance).sum(axis=1)) / weight.sum(axis=1)
        design_effect = np.nan_to_num(_spread(gaps[1:]) / independent_error, posinf=1.0)
        t_statistics = gaps[0] / (null_error * np.maximum(design_effect, 1.0))
        return _floats(np.where(gaps[0] == 0, 0.0, t_statistics))


def _spread(drawn: FloatArray) -> FloatArray:
    """The standard deviation of each column's finite values; NaN where there are not two."""
    known = np.isfinite(drawn)
    number = known.sum(axis=0)
    mean = np.where(known, drawn, 0.0).sum(axis=0) / np.maximum(number, 1)
    squares = (np.where(known, drawn - mean, 0.0) ** 2).sum(axis=0)
    return _floats(np.where(number > 1, np.sqrt(squares / np.maximum(number - 1, 1)), np.nan))


def _over(scaled: float, error: float) -> float:
    return scaled / error if error > 0 else math.nan


def _floats(values: FloatArray) -> FloatArray:
    return np.asarray(values, dtype="float64")


def _estimate(
    gaps: FloatArray, own: tuple[float, float], rest: tuple[float, float], measure: Measure
) -> tuple[float, float]:
    """One group's gap on the scale of its error, and the error, as resampling says.

    Where students are counted it is no smaller than `_least_error`.

    Args:
        own, rest: numerator and denominator of the group and of all others.
    """
    ratio = CHECKS[measure.check].contrast == "ratio"
    with np.errstate(divide="ignore", invalid="ignore"):
        estimates = np.log(gaps) if ratio else gaps
        error = float(_spread(estimates[1:]))
    estimate = float(estimates[0])
    if CHECKS[measure.check].contrast == "mean":
        least = _least_error((abs(own[0]), own[1]), None, ratio)
        return estimate, max(error, least) if math.isfinite(error) else least
    if not measure.is_count:
        return estimate, error if error > 0 else math.nan
    least = _least_error(own, rest, ratio)
    if ratio and math.isinf(estimate):
        own_log, rest_log = (
            math.log((numerator + 0.5) / (denominator + 1))
            for numerator, denominator in (own, rest)
        )
        return own_log - rest_log, least
    return estimate, max(error, least) if math.isfinite(error) else least


def _least_error(own: tuple[float, float], rest: tuple[float, float] | None, ratio: bool) -> float:
    """The error of one or two independent shares, each with one more on either side, of numbers
    rounded to ten.
    """
    squares = 0.0
    for numerator, denominator in (own,) if rest is None else (own, rest):
        size = round_count(round(denominator))
        if not size:
            return math.nan
        share = (size * numerator / denominator + 1) / (size + 2)
        squares += (1 - share) / (share * (size + 2)) if ratio else share * (1 - share) / (size + 2)
    return math.sqrt(squares)
