"""What each partner's service achieved, for the district: an effect with its interval, or "cannot
tell" with a reason.

Students served are compared with students who were not and whose records looked alike on the
decision day: augmented inverse propensity weighting (AIPW), cross-fitted, with intervals that are
robust to what students of one school share. The naive comparison stands beside it, called naive. It
refuses a number that the data cannot carry: too few served, or nobody alike among those who were
not. Everything here is a pure function of tables. What is not on record is not adjusted for; no
figure here is proof of a cause.

Sources: Robins, Rotnitzky & Zhao (1994), JASA 89 (AIPW); Chernozhukov et al. (2018), Econometrics
Journal 21 (cross-fitting); Chiang, Kato, Ma & Sasaki (2022), JBES 40 (clusters); Crump, Hotz,
Imbens & Mitnik (2009), Biometrika 96 (trimming); Cameron & Miller (2015), Journal of Human
Resources 50 (few clusters); Holm (1979), Scandinavian Journal of Statistics 6 (several programs at
once).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal, NamedTuple

import lightgbm as lgb
import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.special import expit
from scipy.stats import t as student_t

from records.system.errors import UserError
from training.estimation.arrays import BoolArray, FloatArray
from training.estimation.parallel import ONE_THREAD, parallel_map
from training.estimation.policy_value import Estimate, effective_sample_size
from training.estimation.pseudo_outcomes import assign_folds
from training.estimation.sensitivity import EValue, e_value

Values = NDArray[Any] | pd.Series | pd.Index
Estimand = Literal["ATT", "ATE"]
"""ATT: the effect on those who were served, which is what a service achieved. ATE: on all, had all
been served."""

MIN_STUDENTS = 30
"""Students on each side (after trimming: as an effective number) below which there is no figure:
with fewer the normal approximation behind an interval is poor."""
MAX_TRIMMED_SHARE = 0.5
"""Share of those whom the target is about without anybody alike, above which the rest no longer
speak for them."""
MIN_SCHOOL_CLUSTERS = 10
"""Schools with somebody served that an interval by school needs: with fewer, cluster-robust errors
are far too small (Cameron & Miller 2015, section VI)."""
MAX_PROPENSITY = 0.9
"""ATT: rows with a higher propensity have next to nobody alike who was not served."""
CRUMP_BOUND = 0.1
"""ATE: rows with a propensity nearer to 0 or 1 are left out, the rule of thumb of Crump et al.
(2009); see `_crump`."""

SPLITS, SMALL = 3, 5_000
"""Ways of splitting into folds that are averaged where there are fewer rows than this: with 400
rows one split alone adds a quarter to the error, which no interval shows; with many it adds next to
nothing."""

CONTROLS_PER_SERVED, MIN_CONTROLS = 20, 6_000
"""Rows not served that partners' programs are compared with: so many for each row served, and no
fewer than the second. With twice as many, intervals of 430 served in a made-up world with strong
confounding were 4 to 7% narrower."""

FEW_SERVED = "few_served"
FEW_CONTROLS = "few_compared"
NO_OVERLAP = "no_overlap"
FEW_AFTER_TRIMMING = "few_alike"
NO_ESTIMATE_REASONS: Mapping[str, str] = {
    FEW_SERVED: f"fewer than {MIN_STUDENTS} students were served whose progress is known",
    FEW_CONTROLS: f"fewer than {MIN_STUDENTS} students were not served whose progress is known",
    NO_OVERLAP: "for most of the students served there is nobody alike who was not",
    FEW_AFTER_TRIMMING: (
        "without those who have nobody alike, the comparison would rest on fewer than"
        f" {MIN_STUDENTS} students"
    ),
}
GAIN, LOSS, NO_DIFFERENCE, UNKNOWN = "gain", "loss", "no_difference", "cannot_tell"

_LEAVES = {
    "num_leaves": 6,
    "max_depth": 3,
    "learning_rate": 0.1,
    "lambda_l2": 1.0,
    "verbosity": -1,
    "seed": 0,
    "deterministic": True,
    "force_row_wise": True,
} | ONE_THREAD
_ROUNDS = 160
_LEAF_SHARE, _SMALLEST_LEAF, _LARGEST_LEAF = 1 / 50, 10, 50
_CLIP = 0.001


class EffectsError(UserError, ValueError):
    """The tables do not fit together; the message names the row or the program."""


@dataclass(frozen=True)
class Effect:
    """One comparison, in the outcome's unit (progress points, for partners).

    Attributes:
        served, compared: students (not rows) served, and not served, before anybody was left out.
        naive: the plain difference of means, with nothing adjusted; None where a side has fewer
            than `MIN_STUDENTS` students.
        clustered_by, clusters: what the intervals are robust to, and how many of them.
        spread: standard deviation of the outcome among those not served: the unit of a standardised
            effect.
        served_left_out, left_out: rows left out for want of somebody alike: of those served, and of
            all.
        effective: the rows compared, as the number that would weigh alike (Kish); NaN where none
            were weighed.
        estimate: the effect with its 95% interval, or None; then `cannot_tell` holds a key of
            `NO_ESTIMATE_REASONS`.
        error: standard error of the estimate; NaN without one.
        degrees: degrees of freedom of the t distribution that the interval is made of; 0 without an
            estimate.
        e_value: how strong a hidden cause would have to be to explain the estimate away
            (`training.estimation.sensitivity`).
    """

    target: Estimand
    served: int
    compared: int
    naive: Estimate | None
    clustered_by: str
    clusters: int
    spread: float
    served_left_out: int = 0
    left_out: int = 0
    effective: float = float("nan")
    estimate: Estimate | None = None
    error: float = float("nan")
    degrees: int = 0
    cannot_tell: str = ""
    e_value: EValue | None = None

    @property
    def verdict(self) -> str:
        """`GAIN` or `LOSS` where the interval leaves out zero, `NO_DIFFERENCE` where it does not,
        or `UNKNOWN`.
        """
        if self.estimate is None:
            return UNKNOWN
        if self.estimate.lower > 0:
            return GAIN
        return LOSS if self.estimate.upper < 0 else NO_DIFFERENCE

    @property
    def p_value(self) -> float:
        """Two-sided, of no difference, by the distribution of the interval; NaN without an
        estimate.

        Below 0.05 exactly where the interval leaves out zero.
        """
        if self.estimate is None:
            return float("nan")
        if self.degrees < 1 or self.error == 0:
            return float(self.estimate.value == 0 or self.degrees < 1)
        return float(2 * student_t.sf(abs(self.estimate.value) / self.error, self.degrees))


def estimate_effect(
    outcome: Values,
    treated: Values,
    features: pd.DataFrame,
    students: Values,
    schools: Values | None = None,
    *,
    target: Estimand = "ATT",
    n_folds: int = 5,
    folds_by_school: bool = False,
    thin: bool = False,
    seed: int = 0,
) -> Effect:
    """The effect of one service against none.

    Args:
        outcome: what followed, shape (n,), no missing values.
        treated: whether each row was served, shape (n,), bool.
        features: what was known before, shape (n, features), float64; missing values are allowed.
        students: who each row is about, shape (n,): nobody's outcome trains the models that judge
            them.
        schools: the school of each row, shape (n,). With somebody served in `MIN_SCHOOL_CLUSTERS`
            of them or more, the interval is robust to what students of a school share, else to what
            rows of a student share.
        target: see `Estimand`.
        folds_by_school: cross-fit by school where enough schools serve, so that nobody's school
            trains their models.
        thin: compare with some students not served, drawn at random, where there are far more than
            needed (`CONTROLS_PER_SERVED`).

    The interval is Student's t with the clusters on the smaller side, less one, as degrees of
    freedom. The order of rows changes nothing.

    Raises:
        EffectsError: lengths differ, an outcome is missing, or a student or school is.
    """
    rows = _sorted_rows(outcome, treated, features, students, schools)
    clusters, by = _clusters(rows)
    found = Effect(
        target,
        _count(rows.student, rows.treated),
        _count(rows.student, ~rows.treated),
        None,
        by,
        len(np.unique(clusters)),
        _spread(rows),
    )
    if min(found.served, found.compared) < MIN_STUDENTS:
        return replace(
            found, cannot_tell=FEW_SERVED if found.served < MIN_STUDENTS else FEW_CONTROLS
        )
    found = replace(found, naive=_naive(rows, clusters))
    if thin:
        rows = _thinned(rows, seed)
        clusters, by = _clusters(rows)
    splits = [
        _folds(rows, by == "school" and folds_by_school, n_folds, seed + 1_000 * turn)
        for turn in range(SPLITS if len(rows.outcome) < SMALL else 1)
    ]
    models = _nuisances(rows, splits, target)
    overlap = _overlap(rows, models.propensity, target)
    found = replace(
        found,
        served_left_out=int((rows.treated & ~overlap.kept).sum()),
        left_out=int((~overlap.kept).sum()),
        effective=overlap.effective,
    )
    if overlap.cannot_tell:
        return replace(found, cannot_tell=overlap.cannot_tell)
    value, influence = _robust(rows, models, overlap, target)
    estimate, error, degrees = _interval(value, influence, clusters, rows.treated, overlap.kept)
    return replace(
        found,
        estimate=estimate,
        error=error,
        degrees=degrees,
        clusters=len(np.unique(clusters[overlap.kept])),
        e_value=e_value(estimate, found.spread) if found.spread > 0 else None,
    )


@dataclass(frozen=True)
class _Rows:
    """Parallel arrays in an order that their content alone decides."""

    outcome: FloatArray
    treated: BoolArray
    features: FloatArray
    student: NDArray[Any]
    school: NDArray[Any] | None


class _Models(NamedTuple):
    propensity: FloatArray
    untreated: FloatArray
    treated: FloatArray
    """Expected outcome if served; equal to `untreated` where the target does not need it."""


class _Overlap(NamedTuple):
    kept: BoolArray
    weight: FloatArray
    effective: float
    cannot_tell: str


def _sorted_rows(
    outcome: Values,
    treated: Values,
    features: pd.DataFrame,
    students: Values,
    schools: Values | None,
) -> _Rows:
    """Rows sorted by student and content: learners add up in the order of rows, and rounding would
    tell.
    """
    values, flags = np.asarray(outcome, dtype="float64"), np.asarray(treated, dtype=bool)
    known = features.to_numpy(dtype="float64")
    named = {"treated": flags, "features": known, "students": np.asarray(students, dtype=object)}
    if schools is not None:
        named["schools"] = np.asarray(schools, dtype=object)
    for name, array in named.items():
        if len(array) != len(values):
            raise EffectsError(f"{name} has {len(array)} rows; outcome has {len(values)}")
    for name, missing in (
        ("outcome", np.isnan(values)),
        *((name, pd.isna(named[name])) for name in ("students", "schools") if name in named),
    ):
        if missing.any():
            raise EffectsError(
                f"{name} is missing in row {int(np.flatnonzero(missing)[0])}; leave such rows out"
            )
    codes = [
        pd.factorize(named[name], sort=True)[0] for name in ("schools", "students") if name in named
    ]
    order = np.lexsort((*known.T, values, flags, *codes))
    school = named["schools"][order] if schools is not None else None
    return _Rows(values[order], flags[order], known[order], named["students"][order], school)


def _thinned(rows: _Rows, seed: int) -> _Rows:
    """All rows served, and those of students not served, drawn at random, until there are
    enough.
    """
    idle, busy = np.flatnonzero(~rows.treated), np.flatnonzero(rows.treated)
    student, names = pd.factorize(rows.student[idle], sort=True)
    turn = np.random.default_rng(seed).permutation(len(names))[student]
    drawn = idle[
        np.argsort(turn, kind="stable")[: max(CONTROLS_PER_SERVED * len(busy), MIN_CONTROLS)]
    ]
    kept = np.sort(np.concatenate([busy, drawn]))
    school = None if rows.school is None else rows.school[kept]
    return _Rows(
        rows.outcome[kept], rows.treated[kept], rows.features[kept], rows.student[kept], school
    )


def _count(students: NDArray[Any], chosen: BoolArray) -> int:
    return len(pd.unique(students[chosen]))


def _clusters(rows: _Rows) -> tuple[NDArray[np.intp], str]:
    if rows.school is not None and _count(rows.school, rows.treated) >= MIN_SCHOOL_CLUSTERS:
        return pd.factorize(rows.school, sort=True)[0], "school"
    return pd.factorize(rows.student, sort=True)[0], "student"


def _folds(rows: _Rows, by_school: bool, n_folds: int, seed: int) -> NDArray[np.intp]:
    """By student, or by the school that a student was at first in the alphabet, so that nobody is
    in two folds.
    """
    if not by_school:
        return assign_folds(pd.Series(rows.student), n_folds, seed)
    first = pd.Series(rows.school).groupby(rows.student).transform("min")
    return assign_folds(first, n_folds, seed)


def _nuisances(rows: _Rows, splits: Sequence[NDArray[np.intp]], target: Estimand) -> _Models:
    """Predictions of models that never saw the row's own fold, averaged over several ways of
    splitting.
    """
    sums = _Models(*(np.zeros(len(rows.outcome)) for _ in range(3)))
    chosen = rows.treated.astype("float64")

    def judge(split_and_fold: tuple[NDArray[np.intp], int]) -> tuple[BoolArray, _Models]:
        folds, fold = split_and_fold
        train, judged = folds != fold, folds == fold
        seen = rows.features[judged]
        propensity = expit(_learned(rows.features[train], chosen[train], "binary")(seen))
        idle, busy = train & ~rows.treated, train & rows.treated
        usual = _learned(rows.features[idle], rows.outcome[idle], "regression")
        untreated = treated = usual(seen)
        if target == "ATE":
            beyond = rows.outcome[busy] - usual(rows.features[busy])
            treated = untreated + _learned(rows.features[busy], beyond, "regression")(seen)
        return judged, _Models(propensity, untreated, treated)

    for judged, found in parallel_map(
        judge, [(folds, fold) for folds in splits for fold in np.unique(folds)]
    ):
        for whole, part in zip(sums, found, strict=True):
            whole[judged] += part / len(splits)
    return sums._replace(propensity=np.clip(sums.propensity, _CLIP, 1.0 - _CLIP))


def _learned(
    features: FloatArray, target: FloatArray, objective: Literal["binary", "regression"]
) -> Callable[[FloatArray], FloatArray]:
    """LightGBM: the log odds, or the mean, given features. Stopping early by held-out loss left
    about twice the bias: what a nuisance model smooths away stays in the effect.
    """
    leaf = int(np.clip(len(target) * _LEAF_SHARE, _SMALLEST_LEAF, _LARGEST_LEAF))
    parameters = _LEAVES | {"objective": objective, "min_data_in_leaf": leaf}
    model = lgb.train(parameters, lgb.Dataset(features, target), _ROUNDS)

    def predict(rows: FloatArray) -> FloatArray:
        return np.asarray(model.predict(rows, raw_score=True, **ONE_THREAD), dtype="float64")

    return predict


def _crump(propensity: FloatArray, treated: BoolArray) -> BoolArray:
    """Rows whose propensity would lie within `CRUMP_BOUND` of neither 0 nor 1 were as many rows
    served as not.

    As it stands the rule would leave out everybody for a service that one student in twelve has,
    whom nothing tells from the others; a share of one half makes it a rule about who is alike, not
    about how common the service is.
    """
    share = treated.mean()
    busy, idle = propensity * (1.0 - share), (1.0 - propensity) * share
    even = busy / (busy + idle)
    kept: BoolArray = (even >= CRUMP_BOUND) & (even <= 1.0 - CRUMP_BOUND)
    return kept


def _overlap(rows: _Rows, propensity: FloatArray, target: Estimand) -> _Overlap:
    kept = propensity <= MAX_PROPENSITY if target == "ATT" else _crump(propensity, rows.treated)
    weight = _weights(rows.treated, propensity, target) * kept
    busy, idle = (effective_sample_size(weight[side]) for side in (rows.treated, ~rows.treated))
    about = [rows.treated] if target == "ATT" else [rows.treated, np.ones(len(kept), dtype=bool)]
    reason = ""
    if max(float((~kept[side]).mean()) for side in about) > MAX_TRIMMED_SHARE:
        reason = NO_OVERLAP
    elif min(busy, idle, _count(rows.student, rows.treated & kept)) < MIN_STUDENTS:
        reason = FEW_AFTER_TRIMMING
    return _Overlap(kept, weight, idle, reason)


def _weights(treated: BoolArray, propensity: FloatArray, target: Estimand) -> FloatArray:
    """Of each row for the mean of its side; both sides then look like the target's students."""
    odds = propensity / (1.0 - propensity)
    found: FloatArray = (
        np.where(treated, 1.0, odds)
        if target == "ATT"
        else np.where(treated, 1.0 / propensity, 1.0 + odds)
    )
    return found


def _robust(
    rows: _Rows, models: _Models, overlap: _Overlap, target: Estimand
) -> tuple[float, FloatArray]:
    """The estimate and each row's influence on it; weights are normalised on each side (Hajek)."""
    busy, idle = overlap.weight * rows.treated, overlap.weight * ~rows.treated
    expected = models.untreated if target == "ATT" else models.treated
    above, below = rows.outcome - expected, rows.outcome - models.untreated
    mean_above, mean_below = float(busy @ above / busy.sum()), float(idle @ below / idle.sum())
    influence = busy * (above - mean_above) / busy.sum() - idle * (below - mean_below) / idle.sum()
    if target == "ATT":
        return mean_above - mean_below, influence
    modelled = models.treated - models.untreated
    mean = float(modelled[overlap.kept].mean())
    return (
        mean + mean_above - mean_below,
        influence + overlap.kept * (modelled - mean) / overlap.kept.sum(),
    )


def _spread(rows: _Rows) -> float:
    others = rows.outcome[~rows.treated]
    return float(others.std()) if len(others) else float("nan")


def _naive(rows: _Rows, clusters: NDArray[np.intp]) -> Estimate:
    busy, idle = rows.treated, ~rows.treated
    above, below = rows.outcome[busy].mean(), rows.outcome[idle].mean()
    influence = (
        busy * (rows.outcome - above) / busy.sum() - idle * (rows.outcome - below) / idle.sum()
    )
    return _interval(
        float(above - below), influence, clusters, busy, np.ones(len(busy), dtype=bool)
    )[0]


def _interval(
    value: float,
    influence: FloatArray,
    clusters: NDArray[np.intp],
    treated: BoolArray,
    kept: BoolArray,
) -> tuple[Estimate, float, int]:
    """The 95% interval of a sum of influences, its standard error and its degrees of freedom."""
    sums = np.bincount(clusters, weights=influence)
    count = len(np.unique(clusters[kept]))
    degrees = min(len(np.unique(clusters[kept & side])) for side in (treated, ~treated)) - 1
    if degrees < 1:
        return Estimate(value, -float("inf"), float("inf")), float("inf"), 0
    error = float(np.sqrt((sums**2).sum() * count / (count - 1)))
    reach = float(student_t.ppf(0.975, degrees)) * error
    return Estimate(value, value - reach, value + reach), error, degrees
