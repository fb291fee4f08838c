"""A group against all others: each figure with its standard error, from students resampled by
cohort.

Students of one grade in one school share teachers and rooms, so cohorts are drawn and not students
(a cluster bootstrap; Cameron & Miller 2015, Journal of Human Resources 50(2)). Where hardly anybody
or nearly everybody is counted, resampling knows too little: an error is never smaller than that of
independent students with one more on either side (Agresti & Caffo 2000, The American Statistician
54(4)), of numbers rounded to ten, so that it tells nothing that the numbers beside it do not.
Figures here are exact and are not to be shown; `fairness.publication.publishing` says what may be.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from fairlearn.metrics import MetricFrame, mean_prediction
from numpy.typing import NDArray
from scipy.special import stdtrit

from fairness.policy.checks import CHECKS, Contrast
from records.suppression.rounding import round_count
from training.estimation.arrays import BoolArray, FloatArray

Codes = NDArray[np.intp]
NOT_RECORDED = "not_recorded"
DRAWS = 1000


@dataclass(frozen=True)
class Measure:
    """What one check measures of each row, a student: an amount out of something, shape (rows,).

    Attributes:
        item: what it is about where a check asks about several things, such as a support; else an
            empty text.
        out_of: 0 where the row is not asked about.
        stratum: rows are compared within these alone (whole numbers from 0); None: all with all.
        least_errors: for some groups, by value, an error that theirs is not below.
    """

    check: str
    item: str
    amount: FloatArray
    out_of: FloatArray
    stratum: Codes | None = None
    least_errors: Mapping[str, float] | None = None

    @property
    def counts(self) -> bool:
        """Whether it counts students: each is asked about or not, and counted or not."""
        flags = np.isin(self.amount, (0.0, 1.0)).all() and np.isin(self.out_of, (0.0, 1.0)).all()
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
        rows, others: students who are asked about, in the group and among those with another value
            on record.
        rate, others_rate: amount by what it is out of.
        gap: rate less the others' rate, rate by the others' rate, or the rate alone, as the check
            compares; within the strata, weighted as Mantel & Haenszel (1959) do. NaN where there is
            nothing to compare.
        scaled: the gap on the scale of its error: its logarithm where it is a ratio, with half a
            student more on either side of each share where nobody at all is counted in one.
        error: standard error of `scaled`.
        apart: how many errors it lies from no gap at all. That of a ratio of shares is of their
            difference, with the error that it has where there is none: the logarithm's own grows as
            fewer are counted, so that the less a group gets the less would be sure.
        freedom: degrees of freedom, the group's cohorts less one.
        told, others_told: students whom the rate tells something of: the fewer of those with any
            amount and of those with less than all of it. Of a mean of -1, 0 and 1 it is how many
            may have either end, for all that the mean says. All of them where the amount has no
            bounds, as with progress points.
    """

    check: str
    item: str
    attribute: str
    value: str
    rows: int
    others: int
    rate: float
    others_rate: float
    gap: float
    scaled: float
    error: float
    apart: float
    freedom: int
    told: int = 0
    others_told: int = 0

    @property
    def contrast(self) -> Contrast:
        return CHECKS[self.check].contrast

    def interval(self, confidence: float) -> tuple[float, float]:
        """Both ends of the gap's interval: Student's t on its own scale, the logarithm for a
        ratio.
        """
        half = float(stdtrit(self.freedom, (1 + confidence) / 2)) * self.error
        lower, upper = self.scaled - half, self.scaled + half
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
        figure
        for attribute in groups.columns
        for figure in _by(attribute, measures, groups[attribute], which, weights)
    ]


def group_rates(measure: Measure, values: pd.Series) -> dict[str, float]:
    """What fairlearn's `MetricFrame` says of each group: the amount by what it is out of.

    Rows that count alike are given to it once, with their number as the weight: it is slow on many
    rows.
    """
    asked = measure.out_of > 0
    if not asked.any():
        return {}
    base = measure.out_of[asked]
    rows: pd.DataFrame = pd.DataFrame(
        {"group": values[asked].to_numpy(), "share": measure.amount[asked] / base, "weight": base}
    )
    if measure.counts:
        rows = rows.groupby(["group", "share"])["weight"].sum().reset_index()
    found = MetricFrame(
        metrics=mean_prediction,
        y_true=np.zeros(len(rows)),
        y_pred=rows["share"],
        sensitive_features=rows["group"],
        sample_params={"sample_weight": rows["weight"]},
    ).by_group
    return {str(group): float(rate) for group, rate in found.items()}


def _by(
    attribute: str,
    measures: Sequence[Measure],
    column: pd.Series,
    cohort: Codes,
    weights: FloatArray,
) -> Iterator[GroupComparison]:
    recorded = (column != NOT_RECORDED).to_numpy()
    values = sorted(column[recorded].unique())
    code = pd.Index(values).get_indexer(column)
    for measure in measures:
        if not CHECKS[measure.check].applies_to(attribute):
            continue
        known = group_rates(measure, column)
        asked = recorded & (measure.out_of > 0)
        strata = 1 if measure.stratum is None else int(measure.stratum.max(initial=0)) + 1
        cell = code * strata + (0 if measure.stratum is None else measure.stratum)
        some, base = (
            _sums(part[asked], cell[asked], cohort[asked], weights, len(values) * strata).reshape(
                len(weights), len(values), strata
            )
            for part in (measure.amount, measure.out_of)
        )
        present = np.bincount(code[asked], minlength=len(values))
        told = _told(measure, asked, code, present)
        together = [len(np.unique(cohort[asked & (code == place)])) for place in range(len(values))]
        gaps, apart = (
            _gaps(some, base, CHECKS[measure.check].contrast),
            _differences(some, base, measure),
        )
        for place, value in enumerate(values):
            rows, others = int(present[place]), int(present.sum() - present[place])
            one, one_base = float(some[0, place].sum()), float(base[0, place].sum())
            rest, rest_base = float(some[0].sum()) - one, float(base[0].sum()) - one_base
            scaled, error = _scaled(gaps[:, place], (one, one_base), (rest, rest_base), measure)
            error = max(error, (measure.least_errors or {}).get(str(value), error))
            own_told = min(int(count[place]) for count in told)
            rest_told = min(int(count.sum() - count[place]) for count in told)
            yield GroupComparison(
                measure.check,
                measure.item,
                attribute,
                value,
                rows,
                others,
                known.get(value, math.nan),
                rest / rest_base if rest_base else math.nan,
                float(gaps[0, place]),
                scaled,
                error,
                _over(scaled, error) if apart is None else float(apart[place]),
                max(together[place] - 1, 1),
                own_told,
                rest_told,
            )


def _told(measure: Measure, asked: BoolArray, code: Codes, present: Codes) -> list[Codes]:
    """Numbers of students by value, of which the least is whom the rate tells something of;
    `present`: who is asked.
    """
    if CHECKS[measure.check].unit != "share":
        return [present]
    if CHECKS[measure.check].contrast == "mean":
        net = np.bincount(code[asked], measure.amount[asked], len(present))
        return [(present - np.abs(net).astype(np.intp)) // 2]
    some, less = (asked & flags for flags in (measure.amount > 0, measure.amount < measure.out_of))
    return [np.bincount(code[flags], minlength=len(present)) for flags in (some, less)]


def _sums(
    amount: FloatArray, cell: Codes, cohort: Codes, weights: FloatArray, cells: int
) -> FloatArray:
    """Sums by draw, the first as it is, and cell: shape (draws + 1, cells)."""
    cohorts = weights.shape[1]
    flat = np.bincount(cohort * cells + cell, amount, cohorts * cells)
    drawn: FloatArray = weights @ flat.reshape(cohorts, cells)
    return drawn


def _gaps(some: FloatArray, base: FloatArray, comparison: Contrast) -> FloatArray:
    """By draw and value: the group's rate against that of all others, from sums by draw, value and
    stratum.
    """
    rest, rest_base = some.sum(axis=1, keepdims=True) - some, base.sum(axis=1, keepdims=True) - base
    with np.errstate(divide="ignore", invalid="ignore"):
        if comparison == "mean":
            return _known(some.sum(axis=2) / base.sum(axis=2))
        if comparison == "ratio":
            whole = base + rest_base
            one = np.where(whole > 0, some * rest_base / whole, 0.0).sum(axis=2)
            other = np.where(whole > 0, rest * base / whole, 0.0).sum(axis=2)
            return _known(one / other)
        both = (base > 0) & (rest_base > 0)
        weight = np.where(both, base * rest_base / (base + rest_base), 0.0)
        apart = np.where(both, some / base - rest / rest_base, 0.0)
        return _known((weight * apart).sum(axis=2) / weight.sum(axis=2))


def _differences(some: FloatArray, base: FloatArray, measure: Measure) -> FloatArray | None:
    """How many errors the difference of each value's share and that of all others lies from none,
    within the strata; None where it is no ratio of numbers of students.

    The error is that of Mantel & Haenszel's (1959) test, where both are alike, by as much more as
    resampling finds that students of one cohort are alike.
    """
    if CHECKS[measure.check].contrast != "ratio" or not measure.counts:
        return None
    gaps = _gaps(some, base, "difference")
    one, out_of = some[0], base[0]
    rest, rest_out_of = one.sum(axis=0) - one, out_of.sum(axis=0) - out_of
    with np.errstate(divide="ignore", invalid="ignore"):
        weight = np.nan_to_num(out_of * rest_out_of / (out_of + rest_out_of))
        spread = [
            share * (1 - share)
            for share in ((one + rest) / (out_of + rest_out_of), one / out_of, rest / rest_out_of)
        ]
        alike, own, others = (np.nan_to_num(part) for part in spread)
        none = np.sqrt((weight * alike).sum(axis=1)) / weight.sum(axis=1)
        parts = weight**2 * (own / np.maximum(out_of, 1) + others / np.maximum(rest_out_of, 1))
        independent = np.sqrt(parts.sum(axis=1)) / weight.sum(axis=1)
        together = np.nan_to_num(_spread(gaps[1:]) / independent, posinf=1.0)
        return _known(np.where(gaps[0] == 0, 0.0, gaps[0] / (none * np.maximum(together, 1.0))))


def _spread(drawn: FloatArray) -> FloatArray:
    """The standard deviation of each column's finite values; NaN where there are not two."""
    known = np.isfinite(drawn)
    number = known.sum(axis=0)
    mean = np.where(known, drawn, 0.0).sum(axis=0) / np.maximum(number, 1)
    squares = (np.where(known, drawn - mean, 0.0) ** 2).sum(axis=0)
    return _known(np.where(number > 1, np.sqrt(squares / np.maximum(number - 1, 1)), np.nan))


def _over(scaled: float, error: float) -> float:
    return scaled / error if error > 0 else math.nan


def _known(values: FloatArray) -> FloatArray:
    return np.asarray(values, dtype="float64")


def _scaled(
    gaps: FloatArray, one: tuple[float, float], other: tuple[float, float], measure: Measure
) -> tuple[float, float]:
    """One group's gap on the scale of its error, and the error: as resampling says, for counts no
    less than `_least_error`.
    """
    ratio = CHECKS[measure.check].contrast == "ratio"
    with np.errstate(divide="ignore", invalid="ignore"):
        scaled = np.log(gaps) if ratio else gaps
        error = float(_spread(scaled[1:]))
    if CHECKS[measure.check].contrast == "mean":
        least = _least_error((abs(one[0]), one[1]), None, ratio)
        return float(scaled[0]), max(error, least) if math.isfinite(error) else least
    if not measure.counts:
        return float(scaled[0]), error if error > 0 else math.nan
    least = _least_error(one, other, ratio)
    if ratio and math.isinf(scaled[0]):
        halves = [math.log((some + 0.5) / (base + 1)) for some, base in (one, other)]
        return halves[0] - halves[1], least
    return float(scaled[0]), max(error, least) if math.isfinite(error) else least


def _least_error(one: tuple[float, float], other: tuple[float, float] | None, ratio: bool) -> float:
    """The error of one or two independent shares, each with one more on either side, of numbers
    rounded to ten.
    """
    squares = 0.0
    for some, base in (one,) if other is None else (one, other):
        size = round_count(round(base))
        if not size:
            return math.nan
        share = (size * some / base + 1) / (size + 2)
        squares += (1 - share) / (share * (size + 2)) if ratio else share * (1 - share) / (size + 2)
    return math.sqrt(squares)
