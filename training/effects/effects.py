"""The effect of one service: an estimate with its interval, or the reason why there is none.

Students served are compared with students who were not and whose records looked alike on the
decision day: augmented inverse propensity weighting (AIPW), cross-fitted, with intervals that are
robust to what students of one school share. The naive difference is given with it. There is no
estimate where the data cannot carry one: too few students served, or nobody alike among those who
were not. Everything here is a pure function of arrays. What is not on record is not adjusted for;
no figure here is proof of a cause.

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
"""ATT: the effect on those who were served, which is what a service achieved. ATE: the effect on
everybody, had everybody been served."""

MIN_STUDENTS = 30
"""Students on each side (after trimming: as an effective number) below which there is no figure:
with fewer the normal approximation behind an interval is poor."""
MAX_TRIMMED_SHARE = 0.5
"""Share of the target population without a comparable student, above which the rest no longer
represents it."""
MIN_SCHOOL_CLUSTERS = 10
"""Schools with somebody served that an interval by school needs: with fewer, cluster-robust errors
are far too small (Cameron & Miller 2015, section VI)."""
MAX_PROPENSITY = 0.9
"""ATT: rows with a higher propensity have next to no comparable student who was not served."""
CRUMP_BOUND = 0.1
"""ATE: rows with a propensity nearer to 0 or 1 are left out, the rule of thumb of Crump et al.
(2009); see `_crump`."""

SPLITS, SMALL = 3, 5_000
"""Ways of splitting into folds that are averaged where there are fewer rows than this: with 400
rows one split alone adds a quarter to the error, which no interval shows; with many it adds next to
nothing."""

CONTROLS_PER_SERVED, MIN_CONTROLS = 20, 6_000
"""Rows not served that partners' programs are compared with: so many for each row served, and no
fewer than the second. With twice as many, intervals for 430 students served in a simulation with
strong confounding were 4 to 7% narrower."""

FEW_SERVED = "few_served"
FEW_CONTROLS = "few_compared"
NO_OVERLAP = "no_overlap"
FEW_AFTER_TRIMMING = "few_alike"
NO_ESTIMATE_REASONS: Mapping[str, str] = {
    FEW_SERVED: f"fewer than {MIN_STUDENTS} students with known progress were served",
    FEW_CONTROLS: f"fewer than {MIN_STUDENTS} comparison students have known progress",
    NO_OVERLAP: "most students served have no comparable student who was not served",
    FEW_AFTER_TRIMMING: (
        f"after removing students with no comparable peer, fewer than {MIN_STUDENTS} remain"
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
        target: the estimand.
        served, compared: students (not rows) served, and not served, before trimming.
        naive: the plain difference of means, with nothing adjusted; None where a side has fewer
            than `MIN_STUDENTS` students.
        clustered_by, clusters: what the intervals are robust to, and how many of them.
        spread: standard deviation of the outcome among those not served: the unit of a standardized
            effect.
        served_left_out, left_out: rows trimmed for want of a comparable student: of those served,
            and of all.
        effective: effective sample size of the rows compared (Kish); NaN where none were
            weighed.
        estimate: the effect with its 95% interval, or None; then `cannot_tell` holds a key of
            `NO_ESTIMATE_REASONS`.
        error: standard error of the estimate; NaN without one.
        degrees: degrees of freedom of the t distribution that the interval is made of; 0 without an
            estimate.
        e_value: how strong an unrecorded factor would have to be to explain the estimate away
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
        """`GAIN` or `LOSS` where the interval excludes zero, else `NO_DIFFERENCE`, or `UNKNOWN`."""
        if self.estimate is None:
            return UNKNOWN
        if self.estimate.lower > 0:
            return GAIN
        return LOSS if self.estimate.upper < 0 else NO_DIFFERENCE

    @property
    def p_value(self) -> float:
        """Two-sided, of no difference; NaN without an estimate.

        It comes from the distribution of the interval, so it is below 0.05 exactly where that
        excludes zero.
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
    subsample_controls: bool = False,
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
        subsample_controls: compare with a random sample of the students not served, where there
            are far more than needed (`CONTROLS_PER_SERVED`).
        n_folds: folds of cross-fitting.
        seed: of the folds and of the sample.

    The interval is Student's t with the clusters on the smaller side, less one, as degrees of
    freedom. The order of rows changes nothing.

    Raises:
        EffectsError: lengths differ, an outcome is missing, or a student or school is.

    Examples:
        Tutoring adds 3 points; students in need get it more often, and do worse anyway:

        >>> import numpy as np, pandas as pd
        >>> rng = np.random.default_rng(0)
        >>> need = rng.normal(size=1000)
        >>> tutored = rng.random(1000) < 1 / (1 + np.exp(1 - need))
        >>> points = 3.0 * tutored - 2.0 * need + rng.normal(0, 2, 1000)
        >>> features = pd.DataFrame({"need": need})
        >>> students = [f"s{number}" for number in range(1000)]
        >>> effect = estimate_effect(points, tutored, features, students)
        >>> effect.naive.value < 2 < effect.estimate.value
        True
        >>> effect.estimate.lower < 3 < effect.estimate.upper
        True
        >>> effect.verdict
        'gain'
    """
    rows = _sorted_rows(outcome, treated, features, students, schools)
    effect = _unadjusted(rows, target)
    if effect.cannot_tell:
        return effect
    if subsample_controls:
        rows = _with_sampled_controls(rows, seed)
    return _adjusted(effect, rows, n_folds, folds_by_school, seed)


@dataclass(frozen=True)
class _Rows:
    """Parallel arrays in an order that their content alone decides."""

    outcome: FloatArray
    treated: BoolArray
    features: FloatArray
    student: NDArray[Any]
    school: NDArray[Any] | None

    def take(self, positions: NDArray[np.intp]) -> _Rows:
        return _Rows(
            self.outcome[positions],
            self.treated[positions],
            self.features[positions],
            self.student[positions],
            None if self.school is None else self.school[positions],
        )


class _Nuisances(NamedTuple):
    """Out-of-fold predictions, shape (n,)."""

    propensity: FloatArray
    untreated: FloatArray
    """Expected outcome if not served."""
    treated: FloatArray
    """Expected outcome if served; equal to `untreated` where the target does not need it."""


class _Overlap(NamedTuple):
    """Which rows have somebody alike on the other side, and how much each weighs."""

    retained: BoolArray
    weight: FloatArray
    effective_sample_size: float
    reason: str
    """Why the overlap does not suffice; empty where it does."""


def _unadjusted(rows: _Rows, target: Estimand) -> Effect:
    """The sizes of both sides and the naive difference, or the reason why a side is too small."""
    clusters, clustered_by = _clusters(rows)
    untreated_outcome = rows.outcome[~rows.treated]
    effect = Effect(
        target=target,
        served=_distinct(rows.student[rows.treated]),
        compared=_distinct(rows.student[~rows.treated]),
        naive=None,
        clustered_by=clustered_by,
        clusters=_distinct(clusters),
        spread=float(untreated_outcome.std()) if len(untreated_outcome) else float("nan"),
    )
    if effect.served < MIN_STUDENTS:
        return replace(effect, cannot_tell=FEW_SERVED)
    if effect.compared < MIN_STUDENTS:
        return replace(effect, cannot_tell=FEW_CONTROLS)
    return replace(effect, naive=_naive_difference(rows, clusters))


def _adjusted(
    effect: Effect, rows: _Rows, n_folds: int, folds_by_school: bool, seed: int
) -> Effect:
    """The effect with its AIPW estimate, or with the reason why the overlap does not carry one."""
    clusters, clustered_by = _clusters(rows)
    by_school = clustered_by == "school" and folds_by_school
    n_splits = SPLITS if len(rows.outcome) < SMALL else 1
    splits = [_folds(rows, by_school, n_folds, seed + 1_000 * split) for split in range(n_splits)]
    nuisances = _cross_fitted_nuisances(rows, splits, effect.target)
    overlap = _overlap(rows, nuisances.propensity, effect.target)
    trimmed = ~overlap.retained
    effect = replace(
        effect,
        served_left_out=int((rows.treated & trimmed).sum()),
        left_out=int(trimmed.sum()),
        effective=overlap.effective_sample_size,
        cannot_tell=overlap.reason,
    )
    if overlap.reason:
        return effect
    value, influence = _aipw(rows, nuisances, overlap, effect.target)
    estimate, error, degrees = _interval(value, influence, clusters, rows.treated, overlap.retained)
    return replace(
        effect,
        estimate=estimate,
        error=error,
        degrees=degrees,
        clusters=_distinct(clusters[overlap.retained]),
        e_value=e_value(estimate, effect.spread) if effect.spread > 0 else None,
    )


def _sorted_rows(
    outcome: Values,
    treated: Values,
    features: pd.DataFrame,
    students: Values,
    schools: Values | None,
) -> _Rows:
    """Rows sorted by student and content, since models add up (and round) in the order of rows."""
    outcomes, flags = np.asarray(outcome, dtype="float64"), np.asarray(treated, dtype=bool)
    inputs = features.to_numpy(dtype="float64")
    named = {"treated": flags, "features": inputs, "students": np.asarray(students, dtype=object)}
    if schools is not None:
        named["schools"] = np.asarray(schools, dtype=object)
    for name, array in named.items():
        if len(array) != len(outcomes):
            raise EffectsError(f"{name} has {len(array)} rows; outcome has {len(outcomes)}")
    for name, missing in (
        ("outcome", np.isnan(outcomes)),
        *((name, pd.isna(named[name])) for name in ("students", "schools") if name in named),
    ):
        if missing.any():
            raise EffectsError(
                f"{name} is missing in row {int(np.flatnonzero(missing)[0])}; leave such rows out"
            )
    codes = [
        pd.factorize(named[name], sort=True)[0] for name in ("schools", "students") if name in named
    ]
    order = np.lexsort((*inputs.T, outcomes, flags, *codes))
    rows = _Rows(outcomes, flags, inputs, named["students"], named.get("schools"))
    return rows.take(order)


def _with_sampled_controls(rows: _Rows, seed: int) -> _Rows:
    """All rows served, and enough rows of students not served, drawn at random."""
    served, controls = np.flatnonzero(rows.treated), np.flatnonzero(~rows.treated)
    student, names = pd.factorize(rows.student[controls], sort=True)
    turn_of_student = np.random.default_rng(seed).permutation(len(names))[student]
    enough = max(CONTROLS_PER_SERVED * len(served), MIN_CONTROLS)
    sampled = controls[np.argsort(turn_of_student, kind="stable")[:enough]]
    return rows.take(np.sort(np.concatenate([served, sampled])))


def _distinct(values: NDArray[Any]) -> int:
    return len(pd.unique(values))


def _clusters(rows: _Rows) -> tuple[NDArray[np.intp], str]:
    """The cluster of each row, and whether that is its school or its student."""
    if rows.school is not None and _distinct(rows.school[rows.treated]) >= MIN_SCHOOL_CLUSTERS:
        return pd.factorize(rows.school, sort=True)[0], "school"
    return pd.factorize(rows.student, sort=True)[0], "student"


def _folds(rows: _Rows, by_school: bool, n_folds: int, seed: int) -> NDArray[np.intp]:
    """Folds by student or school, so that no student is in two folds.

    By school, a student of several schools counts with the first in the alphabet.
    """
    if not by_school:
        return assign_folds(pd.Series(rows.student), n_folds, seed)
    first_school = pd.Series(rows.school).groupby(rows.student).transform("min")
    return assign_folds(first_school, n_folds, seed)


def _cross_fitted_nuisances(
    rows: _Rows, splits: Sequence[NDArray[np.intp]], target: Estimand
) -> _Nuisances:
    """Out-of-fold predictions, averaged over several ways of splitting into folds."""
    treated = rows.treated.astype("float64")

    def predict_fold(
        split_and_fold: tuple[NDArray[np.intp], int],
    ) -> tuple[BoolArray, _Nuisances]:
        folds, fold = split_and_fold
        train, held_out = folds != fold, folds == fold
        inputs = rows.features[held_out]
        propensity = expit(_fitted(rows.features[train], treated[train], "binary")(inputs))
        controls, served = train & ~rows.treated, train & rows.treated
        predict_untreated = _fitted(rows.features[controls], rows.outcome[controls], "regression")
        expected_untreated = expected_treated = predict_untreated(inputs)
        if target == "ATE":
            # The few served are modeled as a difference from the many who were not.
            difference = rows.outcome[served] - predict_untreated(rows.features[served])
            expected_treated = expected_untreated + _fitted(
                rows.features[served], difference, "regression"
            )(inputs)
        return held_out, _Nuisances(propensity, expected_untreated, expected_treated)

    means = _Nuisances(*(np.zeros(len(rows.outcome)) for _ in range(3)))
    for held_out, predictions in parallel_map(
        predict_fold, [(folds, fold) for folds in splits for fold in np.unique(folds)]
    ):
        for mean, part in zip(means, predictions, strict=True):
            mean[held_out] += part / len(splits)
    return means._replace(propensity=np.clip(means.propensity, _CLIP, 1.0 - _CLIP))


def _fitted(
    features: FloatArray, target: FloatArray, objective: Literal["binary", "regression"]
) -> Callable[[FloatArray], FloatArray]:
    """A LightGBM model of the log odds, or of the mean, given features.

    Stopping early by held-out loss left about twice the bias: what a nuisance model smooths away
    stays in the effect.
    """
    leaf = int(np.clip(len(target) * _LEAF_SHARE, _SMALLEST_LEAF, _LARGEST_LEAF))
    parameters = _LEAVES | {"objective": objective, "min_data_in_leaf": leaf}
    model = lgb.train(parameters, lgb.Dataset(features, target), _ROUNDS)

    def predict(rows: FloatArray) -> FloatArray:
        return np.asarray(model.predict(rows, raw_score=True, **ONE_THREAD), dtype="float64")

    return predict


def _crump(propensity: FloatArray, treated: BoolArray) -> BoolArray:
    """Rows with a propensity further than `CRUMP_BOUND` from 0 and 1, if half the rows were served.

    Unscaled, the rule would leave out everybody for a service that one student in twelve has, even
    if it were given at random; at a share of one half it is a rule about who is alike, not about
    how common the service is.
    """
    share = treated.mean()
    served_odds, control_odds = propensity * (1.0 - share), (1.0 - propensity) * share
    balanced = served_odds / (served_odds + control_odds)
    retained: BoolArray = (balanced >= CRUMP_BOUND) & (balanced <= 1.0 - CRUMP_BOUND)
    return retained


def _overlap(rows: _Rows, propensity: FloatArray, target: Estimand) -> _Overlap:
    """Rows after trimming, their weights, and whether enough are left."""
    treated = rows.treated
    retained = propensity <= MAX_PROPENSITY if target == "ATT" else _crump(propensity, treated)
    weight = _weights(treated, propensity, target) * retained
    served, controls = (effective_sample_size(weight[side]) for side in (treated, ~treated))
    everybody = np.ones(len(retained), dtype=bool)
    populations = [treated] if target == "ATT" else [treated, everybody]
    trimmed_share = max(float((~retained[population]).mean()) for population in populations)
    reason = ""
    if trimmed_share > MAX_TRIMMED_SHARE:
        reason = NO_OVERLAP
    elif min(served, controls, _distinct(rows.student[treated & retained])) < MIN_STUDENTS:
        reason = FEW_AFTER_TRIMMING
    return _Overlap(retained, weight, controls, reason)


def _weights(treated: BoolArray, propensity: FloatArray, target: Estimand) -> FloatArray:
    """The weight of each row in the mean of its side: both then look like the target's students."""
    odds = propensity / (1.0 - propensity)
    weights: FloatArray = (
        np.where(treated, 1.0, odds)
        if target == "ATT"
        else np.where(treated, 1.0 / propensity, 1.0 + odds)
    )
    return weights


def _aipw(
    rows: _Rows, nuisances: _Nuisances, overlap: _Overlap, target: Estimand
) -> tuple[float, FloatArray]:
    """The estimate and each row's influence on it; weights are normalized on each side (Hajek)."""
    served, controls = overlap.weight * rows.treated, overlap.weight * ~rows.treated
    expected = nuisances.untreated if target == "ATT" else nuisances.treated
    above, below = rows.outcome - expected, rows.outcome - nuisances.untreated
    mean_above = float(served @ above / served.sum())
    mean_below = float(controls @ below / controls.sum())
    influence = (
        served * (above - mean_above) / served.sum()
        - controls * (below - mean_below) / controls.sum()
    )
    if target == "ATT":
        return mean_above - mean_below, influence
    modeled = nuisances.treated - nuisances.untreated
    mean = float(modeled[overlap.retained].mean())
    return (
        mean + mean_above - mean_below,
        influence + overlap.retained * (modeled - mean) / overlap.retained.sum(),
    )


def _naive_difference(rows: _Rows, clusters: NDArray[np.intp]) -> Estimate:
    served, controls = rows.treated, ~rows.treated
    above, below = rows.outcome[served].mean(), rows.outcome[controls].mean()
    influence = (
        served * (rows.outcome - above) / served.sum()
        - controls * (rows.outcome - below) / controls.sum()
    )
    everybody = np.ones(len(served), dtype=bool)
    return _interval(float(above - below), influence, clusters, served, everybody)[0]


def _interval(
    value: float,
    influence: FloatArray,
    clusters: NDArray[np.intp],
    treated: BoolArray,
    retained: BoolArray,
) -> tuple[Estimate, float, int]:
    """The 95% interval of a sum of influences, its standard error and its degrees of freedom."""
    sums = np.bincount(clusters, weights=influence)
    count = _distinct(clusters[retained])
    degrees = min(_distinct(clusters[retained & side]) for side in (treated, ~treated)) - 1
    if degrees < 1:
        return Estimate(value, -float("inf"), float("inf")), float("inf"), 0
    error = float(np.sqrt((sums**2).sum() * count / (count - 1)))
    reach = float(student_t.ppf(0.975, degrees)) * error
    return Estimate(value, value - reach, value + reach), error, degrees
