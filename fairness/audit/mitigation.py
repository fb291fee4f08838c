"""What could be done where the gate fails: curves of benefit captured against parity, for a person
to choose from.

Three ways besides the model as it is: a family of inputs is removed, the decision to suggest is
learned under parity (fairlearn's reductions), or limited places are given out with floors.
Everything here is worked out on a copy in memory and nothing is applied: each curve says how a
person would apply it. Figures may be shown: they are in hundredths, and a number of students below
the policy's smallest cell counts as none, so that no figure discloses it, nor several together.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Any, Literal

import numpy as np
import pandas as pd
from fairlearn.reductions import DemographicParity, ErrorRate, GridSearch
from lightgbm import LGBMClassifier

from fairness.checks.policy import Policy
from fairness.gate.findings import Finding
from fairness.population.comparisons import NOT_RECORDED
from fairness.population.students import AuditPopulation, ModelSuggestions, suggestions_for
from features.catalog import FEATURES_BY_NAME
from records.suppression.rounding import round_share
from training.allocation.allocation import Floors, InfeasibleFloors, allocate
from training.episodes.episodes import REQUIRED_FAMILY
from training.estimation.arrays import BoolArray, FloatArray
from training.estimation.parallel import ONE_THREAD
from training.estimation.pseudo_outcomes import assign_folds
from training.ranking.model_file import RankerModel
from training.registry.inputs import ProgressCallback, no_progress

MitigationMethod = Literal["as it is", "family removal", "reductions", "constrained matching"]
MULTIPLIERS = (0.0, 0.1, 0.2, 0.3, 0.5, 0.75, 1.0, 1.5, 3.0)
"""What parity weighs: so many times the usual stake of a decision, for each student of the group
furthest off."""
STRENGTHS = (0.0, 0.25, 0.5, 0.75, 0.9, 1.0)
"""Of a floor: 1 is a group's full share of the places."""
OTHER_GROUPS = "others"
"""Students of groups too small to be compared, or of none on record: parity is not asked for
them."""
_PLACES: MitigationMethod = "constrained matching"
"""Of those who wait, and not of all in need."""
_FOLDS = 3
_LIGHTGBM_PARAMETERS: dict[str, Any] = {
    "n_estimators": 60,
    "num_leaves": 8,
    "learning_rate": 0.1,
    "min_child_samples": 30,
    "verbosity": -1,
    "deterministic": True,
    "force_row_wise": True,
} | ONE_THREAD
_APPLIES: Mapping[MitigationMethod, str] = {
    "as it is": "Nothing changes.",
    "family removal": (
        "`handrail train --without FAMILY` registers a candidate that never reads the family; it is"
        " audited and signed like any other."
    ),
    "reductions": (
        "This is not offered for serving: it shows what a rule that is not told the group could"
        " reach, and it suggests where the evidence is not sure enough, where the model says"
        " nothing."
    ),
    "constrained matching": (
        "A person asks for floors on the site's Places page, for groups that this person may see; "
        "nobody's suggestions change."
    ),
}


@dataclass(frozen=True)
class TradeoffPoint:
    """One choice on a curve, as it may be shown.

    Attributes:
        setting: what is chosen, in plain words.
        captured: the share of the attainable expected benefit of students in need who wait that is
            captured, as the model with all its inputs expects it.
        worst_gap: the largest gap of a group that is compared: its share with neither a support nor
            a suggestion, of students in need, less that of all others; with limited places its
            share without a place, of those who wait. None where the audit does not show it.
        worst_group: whose gap that is, attribute and value.
        helped: the share of students in need who have a support, a suggestion or a place; None
            where the audit does not show it.
    """

    setting: str
    captured: float
    worst_gap: float | None
    worst_group: tuple[str, str]
    helped: float | None


@dataclass(frozen=True)
class TradeoffCurve:
    """One way. `attribute` is what is evened out, empty where nothing is asked for it; `applies`:
    how a person would apply a point, or why it is not offered for serving.
    """

    way: MitigationMethod
    attribute: str
    points: tuple[TradeoffPoint, ...]
    applies: str


def tradeoff_curves(
    model: RankerModel,
    students: AuditPopulation,
    policy: Policy,
    attribute: str,
    programs: pd.DataFrame,
    *,
    seed: int = 0,
    progress: ProgressCallback = no_progress,
) -> tuple[TradeoffCurve, ...]:
    """Every way as a curve, first the model as it is.

    Args:
        attribute: by which the gate failed, a column of the students' groups.
        programs: support and capacity of each program.
        seed: equal seeds give equal curves.

    Returns:
        Nothing where no group has enough students in need to be compared, or those who wait have
        nothing to gain.

    Raises:
        ValueError: the audit does not compare by this attribute.
    """
    if attribute not in students.groups.columns:
        raise ValueError(
            f"no attribute {attribute!r}; there are {', '.join(students.groups.columns)}"
        )
    waiting = _WaitingStudents.of(model, students, policy, attribute)
    if not waiting.compared or not waiting.attainable.sum() > 0:
        return ()
    families_read = dict.fromkeys(
        FEATURES_BY_NAME[name].family for name in model.ranker.feature_names_
    )
    families = [family for family in families_read if family != REQUIRED_FAMILY]
    points = [waiting.suggesting("as it is", waiting.advice)]
    for done, family in enumerate(families):
        progress("trade curves", done, len(families) + 2)
        points.append(_without_family(family, model, waiting))
    progress("trade curves", len(families), len(families) + 2)
    learned = _under_parity(model, waiting, seed)
    progress("trade curves", len(families) + 1, len(families) + 2)
    floored = _with_floors(waiting, programs)
    progress("trade curves", len(families) + 2, len(families) + 2)
    return (
        _tradeoff_curve("as it is", "", points[:1]),
        _tradeoff_curve("family removal", "", points[1:]),
        _tradeoff_curve("reductions", attribute, learned),
        _tradeoff_curve(_PLACES, attribute, floored),
    )


def consistent_with_audit(
    curves: Sequence[TradeoffCurve], findings: Sequence[Finding], helped: float | None
) -> Iterator[TradeoffCurve]:
    """Curves in which the model as it is shows what its audit publishes, and no more; so does each
    choice whose figures equal those of the model as it is.

    Args:
        curves: those of one attribute, first that of the model as it is.
        findings, helped: what the audit shows of groups, and of all students in need.
    """
    if not curves:
        return
    gaps = {
        (finding.attribute, finding.value): finding.gap
        for finding in findings
        if finding.check == "missed"
    }
    as_it_is = curves[0].points[0]
    published_gap = gaps.get(as_it_is.worst_group)
    for curve in curves:
        if curve.way == _PLACES:
            yield curve
            continue
        points = tuple(
            (
                replace(point, worst_gap=published_gap, helped=helped)
                if _student_figures(point) == _student_figures(as_it_is)
                else point
            )
            for point in curve.points
        )
        yield replace(curve, points=points)


def _student_figures(point: TradeoffPoint) -> tuple[float | None, tuple[str, str], float | None]:
    """The figures of a choice that depend on numbers of students."""
    return point.worst_gap, point.worst_group, point.helped


def group_blind_classifiers(
    inputs: pd.DataFrame, worth: FloatArray, groups: pd.Series, seed: int = 0
) -> list[Any]:
    """Classifiers of "suggest" (1) or not (0), one for each of `MULTIPLIERS`, that do not read the
    group: it is used in training alone, as a Lagrange multiplier of demographic parity.

    Source: Agarwal et al. (2018), "A Reductions Approach to Fair Classification", ICML, section
    3.4. Where there are many groups a grid over all their multipliers is out of reach; here these
    grow together, in proportion to how far each group falls short of all where everybody who is
    worth it gets a suggestion.

    Args:
        inputs: what a rule may read, shape (students, features).
        worth: what a suggestion is worth less what it costs, in progress points; below zero it is
            not worth it.
        groups: the group of each student; nothing is asked for `OTHER_GROUPS`.
    """
    stake = float(np.abs(worth).mean())
    scaled = worth / stake if stake > 0 else worth
    grid = pd.DataFrame({f"{size:g}": size * _direction(worth > 0, groups) for size in MULTIPLIERS})
    search = GridSearch(
        LGBMClassifier(**_LIGHTGBM_PARAMETERS, random_state=seed), _Parity(scaled), grid=grid
    )
    search.fit(inputs, (worth > 0).astype(int), sensitive_features=groups.to_numpy(dtype=object))
    return list(search.predictors_)


@dataclass(frozen=True)
class _WaitingStudents:
    """Students in need who take part in no support, among all in need.

    Attributes:
        students, advice: those who wait, and what the model suggests to them.
        groups: of all in need, by the attribute; `waits`: who of them waits, shape (in need,).
        compared: groups with enough in need, who stand against enough others.
    """

    policy: Policy
    attribute: str
    students: AuditPopulation
    advice: ModelSuggestions
    groups: pd.Series
    waits: BoolArray
    compared: tuple[str, ...]

    @classmethod
    def of(
        cls, model: RankerModel, students: AuditPopulation, policy: Policy, attribute: str
    ) -> _WaitingStudents:
        need = students.in_need(policy)
        groups = students.groups.loc[need, attribute]
        sizes = groups[groups != NOT_RECORDED].value_counts()
        fewest = policy.fewest_in_need
        compared = [
            str(value) for value, size in sizes.items() if min(size, sizes.sum() - size) >= fewest
        ]
        waiting = _selected_students(students, need & ~students.in_support)
        return cls(
            policy,
            attribute,
            waiting,
            suggestions_for(model, waiting),
            groups,
            ~students.in_support[need],
            tuple(sorted(compared)),
        )

    @property
    def own_groups(self) -> pd.Series:
        """Of those who wait."""
        return self.students.groups[self.attribute]

    @property
    def best(self) -> FloatArray:
        """The greatest expected benefit of an open support of each who waits, minus infinity where
        none is open.
        """
        may = self.students.eligible[self.advice.benefit.columns].to_numpy(dtype=bool)
        return _floats(
            np.where(may, self.advice.benefit.to_numpy(), -np.inf).max(axis=1, initial=-np.inf)
        )

    @property
    def attainable(self) -> FloatArray:
        return self.best.clip(min=0.0)

    def suggesting(self, setting: str, advice: ModelSuggestions) -> TradeoffPoint:
        """What it would be if those who wait had these suggestions, of which the first is taken."""
        first = (advice.rank == 1).to_numpy()
        return self.point(
            setting,
            advice.has_suggestion,
            np.where(first, self.advice.benefit.to_numpy(), 0.0).sum(axis=1),
        )

    def point(
        self, setting: str, got: BoolArray, benefit: FloatArray, *, of_waiting: bool = False
    ) -> TradeoffPoint:
        """One choice.

        Args:
            got, benefit: who of those who wait gets something, and what is expected of it.
            of_waiting: shares are of those who wait, not of all in need.
        """
        missed = np.zeros(len(self.groups), dtype=bool)
        missed[self.waits] = ~got
        groups, missed = (self.own_groups, ~got) if of_waiting else (self.groups, missed)
        not_recorded = (groups == NOT_RECORDED).to_numpy()
        gaps = {}
        for value in self.compared:
            own = (groups == value).to_numpy()
            parts = [
                (int((missed & members).sum()), int(members.sum()))
                for members in (own, ~own & ~not_recorded, not_recorded)
            ]
            gaps[value] = publishable_gap(parts, self.policy.smallest_cell)
        worst = max(self.compared, key=lambda value: (gaps[value].gap, value))
        captured = round_share(float(benefit.sum() / self.attainable.sum()))
        helped = round_share(1 - gaps[worst].missed / len(self.groups))
        return TradeoffPoint(setting, captured, gaps[worst].gap, (self.attribute, worst), helped)


@dataclass(frozen=True)
class PublishableGap:
    """What one choice may show: a group's gap, in hundredths, and how many are missed in all."""

    gap: float
    missed: int


def publishable_gap(parts: Sequence[tuple[int, int]], smallest: int) -> PublishableGap:
    """What may be published of one choice, worked out from counts that disclose none below
    `smallest`, so that together the results disclose none either.

    Args:
        parts: (missed, total) students of the group, of all others, and of those whose group is not
            on record.
        smallest: the policy's smallest cell, in students.
    """
    counts = [_coarse_count(missed, total, smallest) for missed, total in parts]
    own_share, others_share = (
        round_share(count / total) if total else 0.0
        for count, (_, total) in zip(counts[:2], parts, strict=False)
    )
    return PublishableGap(round_share(own_share - others_share), sum(counts))


def _coarse_count(count: int, total: int, smallest: int) -> int:
    """`count` out of `total`: fewer than `smallest`, or all but so few, count as none or all."""
    if count < smallest or total < 2 * smallest:
        return 0
    return total if total - count < smallest else count


def _without_family(family: str, model: RankerModel, waiting: _WaitingStudents) -> TradeoffPoint:
    hidden = {
        name: np.nan
        for name in model.ranker.feature_names_
        if FEATURES_BY_NAME[name].family == family
    }
    blinded = suggestions_for(model, waiting.students, waiting.students.features.assign(**hidden))
    return waiting.suggesting(f"without {family.replace('_', ' ')}", blinded)


def _under_parity(model: RankerModel, waiting: _WaitingStudents, seed: int) -> list[TradeoffPoint]:
    """As many suggestions as the model makes now, to those whom rules learned from students of
    other cohorts put first. With their number left open, benefit would rise by suggesting more, and
    nothing would be traded. The rules read what the model reads, and what it expects of the best
    support that is open.
    """
    eligible = np.flatnonzero(np.isfinite(waiting.best))
    places = int(waiting.advice.has_suggestion.sum())
    inputs = waiting.students.features.iloc[eligible][list(model.ranker.feature_names_)].assign(
        expected=waiting.best[eligible]
    )
    groups = waiting.own_groups.iloc[eligible]
    groups = groups.where(groups.isin(waiting.compared), OTHER_GROUPS)
    worth = waiting.best[eligible] - np.sort(waiting.best[eligible])[-max(places, 1)]
    folds = assign_folds(waiting.students.cohorts.iloc[eligible], _FOLDS, seed)
    scores = np.zeros((len(MULTIPLIERS), len(eligible)))
    for fold in np.unique(folds):
        own = folds == fold
        training_rows = ~own if (~own).any() else own
        for row, rule in enumerate(
            group_blind_classifiers(
                inputs[training_rows], worth[training_rows], groups[training_rows], seed
            )
        ):
            scores[row, own] = rule.predict_proba(inputs[own]) @ rule.classes_
    points = []
    for size, score in zip(MULTIPLIERS, scores, strict=True):
        yes = np.zeros(len(waiting.students), dtype=bool)
        yes[eligible[np.argsort(-score, kind="stable")[:places]]] = True
        points.append(
            waiting.point(f"multiplier {size:g}", yes, np.where(yes, waiting.attainable, 0.0))
        )
    return pareto_front(points)


def pareto_front(points: Sequence[TradeoffPoint]) -> list[TradeoffPoint]:
    """Without those that another equals or betters in both benefit and parity: the first of equals
    stays.
    """
    return [
        point
        for place, point in enumerate(points)
        if not any(
            _betters(other, point) or (before < place and _equals(other, point))
            for before, other in enumerate(points)
        )
    ]


def _betters(point: TradeoffPoint, other: TradeoffPoint) -> bool:
    return (
        point.captured >= other.captured
        and _unevenness(point) <= _unevenness(other)
        and not _equals(point, other)
    )


def _equals(point: TradeoffPoint, other: TradeoffPoint) -> bool:
    return (point.captured, point.worst_gap) == (other.captured, other.worst_gap)


def _unevenness(point: TradeoffPoint) -> float:
    return math.inf if point.worst_gap is None else point.worst_gap


def _with_floors(waiting: _WaitingStudents, programs: pd.DataFrame) -> list[TradeoffPoint]:
    """Places among what is suggested; a strength that no plan can keep is left out."""
    benefits = waiting.advice.benefit.where(waiting.advice.suggested_supports)
    capacity = places_by_support(programs, waiting.advice)
    labels = {str(student): str(value) for student, value in waiting.own_groups.items()}
    sizes = waiting.own_groups.value_counts()
    points = []
    for strength in STRENGTHS:
        shares = {
            value: strength * float(sizes.get(value, 0)) / len(waiting.students)
            for value in waiting.compared
        }
        try:
            given = allocate(benefits, capacity, floors=Floors(labels, shares)).best.given
        except InfeasibleFloors:
            continue
        benefit = pd.Series({place.student: place.benefit for place in given}, dtype="float64")
        placed = waiting.students.groups.index
        setting = f"floor at {strength:.0%} of parity" if strength else "without floors"
        points.append(
            waiting.point(
                setting,
                placed.isin(benefit.index),
                _floats(benefit.reindex(placed).fillna(0.0)),
                of_waiting=True,
            )
        )
    return points


def places_by_support(programs: pd.DataFrame, advice: ModelSuggestions) -> dict[str, int]:
    """Places of each support, in proportion to its programs' capacity: as many in all as students
    have a suggestion, or the capacity if that is less. A support without a capacity on record
    counts for as many as it is suggested first to.
    """
    firsts = (advice.rank == 1).sum()
    offered = programs[programs["support"].notna()].groupby("support")["capacity"]
    known = offered.sum().where(~offered.apply(lambda places: places.isna().any()))
    capacities = {
        str(name): float(firsts[name] if pd.isna(known.get(name, 0)) else known.get(name, 0))
        for name in advice.benefit.columns
    }
    total = sum(capacities.values())
    places = min(int(advice.has_suggestion.sum()), int(total))
    ends = np.cumsum([0.0, *capacities.values()]) * (places / total if total else 0.0)
    return {
        name: int(end) - int(start)
        for name, (start, end) in zip(capacities, pairwise(np.round(ends)), strict=True)
    }


class _Parity(DemographicParity):  # type: ignore[misc]
    """Demographic parity, bought with what a decision is worth."""

    def __init__(self, worth: FloatArray) -> None:
        super().__init__()
        self.worth = worth

    def default_objective(self) -> _Forgone:
        return _Forgone(self.worth)


class _Forgone(ErrorRate):  # type: ignore[misc]
    """What wrong decisions forgo: fairlearn weighs each student's mistake alike, and here each has
    a stake.
    """

    def __init__(self, worth: FloatArray) -> None:
        super().__init__()
        self.worth = worth

    def gamma(self, predictor: Callable[[Any], Any]) -> pd.Series:
        wrong = np.asarray(predictor(self.X)) != (self.worth > 0)
        return pd.Series(float(np.abs(self.worth[wrong]).sum()) / len(self.worth), index=self.index)

    def signed_weights(self, lambda_vec: pd.Series | None = None) -> pd.Series:
        return pd.Series(self.worth, index=self.tags.index)


def _direction(yes: BoolArray, groups: pd.Series) -> pd.Series:
    """Multipliers of parity, indexed as fairlearn does: "-" where a group gets too few, "+" where
    it gets too many.

    Each is weighed by the group's size, so that each student of it counts for as much as the group
    falls short; the group that is furthest off counts 1.
    """
    rates, sizes = (
        pd.Series(yes).groupby(groups.to_numpy()).mean(),
        groups.value_counts(normalize=True),
    )
    short = (yes.mean() - rates).where(rates.index != OTHER_GROUPS, 0.0)
    furthest = float(short.abs().max())
    pushed = short * sizes.reindex(short.index) / (furthest if furthest > 0 else 1.0)
    named = {("+", "all"): (-pushed).clip(lower=0.0), ("-", "all"): pushed.clip(lower=0.0)}
    multipliers: pd.Series = pd.concat(named, names=["sign", "event", "group_id"])
    return multipliers


def _tradeoff_curve(
    way: MitigationMethod, attribute: str, points: Sequence[TradeoffPoint]
) -> TradeoffCurve:
    return TradeoffCurve(way, attribute, tuple(points), _APPLIES[way])


def _selected_students(students: AuditPopulation, selected: BoolArray) -> AuditPopulation:
    """Some of the students."""
    return replace(
        students,
        features=students.features[selected],
        groups=students.groups[selected],
        cohorts=students.cohorts[selected],
        alert_severity=students.alert_severity[selected],
        earlier_severity=students.earlier_severity[selected],
        eligible=students.eligible[selected],
        in_support=students.in_support[selected],
    )


def _floats(values: Any) -> FloatArray:
    return np.asarray(values, dtype="float64")
