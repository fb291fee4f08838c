"""Made-up districts whose truth is known: what every support is worth to every student.

A world is drawn from a scenario and a seed. The features have the catalog's names and look like a
district's (shares of days missed, marks, test results, counts of services), with correlations
through four hidden traits. What a support is worth is a function of features that may be seen, so
that an oracle exists; habit chooses supports by need, which also drives what would have happened
anyhow. Nothing here is shared with the demo district.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import numpy as np
import pandas as pd
from numpy.typing import NDArray

Floats = NDArray[np.float64]
SUPPORTS = ("college", "food", "health", "mentoring", "tutoring", "after_school")
RARE = "college"
"""Chosen for about one student in a hundred."""

NOISE = 7.0
"""Standard deviation of the outcome given everything, in progress points: what happens in a child's
term anyhow."""

DECISIONS = 3
"""Episodes a student; those of one student share a part of their noise."""

GRADES_HIDDEN = ("grade_", "lowest_grade", "courses_", "gradebook_", "assessment_")
"""Beginnings of the names that a viewer without marks and test results does not see."""


@dataclass(frozen=True)
class Scenario:
    """What makes a world hard. `confounding` scales how far habit follows need; `selection` how far
    past choices follow the true benefit (below zero: those got a support whom it helps least);
    `shift` moves the later students.
    """

    name: str
    students: int = 16_000
    confounding: float = 1.0
    selection: float = 0.0
    benefit: float = 1.0
    harmful: str | None = None
    shift: float = 0.0
    masked: bool = False


SCENARIOS = (
    Scenario("base"),
    Scenario("strong confounding", confounding=2.5, selection=-0.15),
    Scenario("low overlap", confounding=4.5),
    Scenario("small district", students=1_500),
    Scenario("null", benefit=0.0),
    Scenario("harmful", harmful="food"),
    Scenario("shift", shift=1.0),
    Scenario("masked", masked=True),
)
SCENARIOS_BY_NAME = {scenario.name: scenario for scenario in SCENARIOS}


@dataclass(frozen=True, eq=False)
class SimulatedDistrict:
    """Episodes for learning, and new students with their true benefit of each support, shape
    (students, supports).
    """

    scenario: Scenario
    features: pd.DataFrame
    support: pd.Series
    outcome: pd.Series
    student: pd.Series
    school: pd.Series
    propensity: Floats = field(repr=False)
    benefit: Floats = field(repr=False)
    new: pd.DataFrame = field(repr=False)
    new_benefit: Floats = field(repr=False)
    new_propensity: Floats = field(repr=False)
    school_effects: Floats = field(repr=False)
    """What each of the schools k00 to k12 adds to every outcome, shape (13,)."""

    @property
    def supports(self) -> tuple[str, ...]:
        return SUPPORTS

    def hidden(self) -> pd.DataFrame:
        """The new students as a viewer sees them who may see neither marks nor test results."""
        seen = self.new.copy()
        seen.loc[:, hidden_columns(seen)] = np.nan
        return seen


def hidden_columns(frame: pd.DataFrame) -> list[str]:
    return [name for name in frame.columns if str(name).startswith(GRADES_HIDDEN)]


def simulate(scenario: Scenario, seed: int, new_students: int = 20_000) -> SimulatedDistrict:
    """One world: the same scenario and seed give the same one."""
    rng = np.random.default_rng([seed, *scenario.name.encode()])
    shape = _Shape(rng)
    student = np.repeat(np.arange(scenario.students), DECISIONS)
    traits = rng.normal(size=(scenario.students, 4))[student]
    features = _features(rng, traits, 0.0)
    new = _features(rng, _traits(rng, new_students, scenario.shift), scenario.shift)
    benefit, new_benefit = (_benefit(shape, frame, scenario) for frame in (features, new))
    propensity, new_propensity = (
        _habit(shape, frame, found, scenario)
        for frame, found in ((features, benefit), (new, new_benefit))
    )
    chosen = (propensity.cumsum(axis=1) < rng.random((len(student), 1))).sum(axis=1)
    school = (
        (traits[:, 3] * 2 + rng.normal(size=scenario.students)[student] * 2).round().clip(-6, 6)
    )
    own, effects = rng.normal(size=scenario.students), 0.1 * NOISE * rng.normal(size=13)
    noise = NOISE * (0.4 * own[student] + np.sqrt(1 - 0.16 - 0.01) * rng.normal(size=len(student)))
    noise = noise + effects[(school + 6).astype(int)]
    given = np.hstack([np.zeros((len(student), 1)), benefit])[np.arange(len(student)), chosen]
    outcome = untreated_outcome(features) + given + noise
    names = np.array(["none", *SUPPORTS], dtype=object)
    return SimulatedDistrict(
        scenario,
        features,
        pd.Series(names[chosen]),
        pd.Series(outcome),
        pd.Series([f"s{one:05d}" for one in student]),
        pd.Series([f"k{int(one + 6):02d}" for one in school]),
        propensity,
        benefit,
        new,
        new_benefit,
        new_propensity,
        effects,
    )


@dataclass(frozen=True)
class _Shape:
    """How benefits differ between worlds: sizes and turning points drawn anew, so that nothing is
    tuned to one.
    """

    rng: np.random.Generator
    size: Floats = field(init=False)
    turn: Floats = field(init=False)
    taste: Floats = field(init=False)

    def __post_init__(self) -> None:
        count = len(SUPPORTS)
        object.__setattr__(self, "size", self.rng.uniform(2.5, 4.5, count))
        object.__setattr__(self, "turn", self.rng.uniform(-0.4, 0.4, count))
        object.__setattr__(self, "taste", self.rng.normal(0, 0.5, (count, 4)))


def _traits(rng: np.random.Generator, count: int, shift: float) -> Floats:
    traits = rng.normal(size=(count, 4))
    traits[:, 0] += 0.7 * shift
    traits[:, 1] -= 0.4 * shift
    return traits


def _features(rng: np.random.Generator, traits: Floats, shift: float) -> pd.DataFrame:
    """Hidden traits: trouble getting to school, learning, belonging, age."""
    away, learning, belonging, age = traits.T
    count = len(traits)

    def near(value: Floats, spread: float) -> Floats:
        noisy: Floats = value + spread * rng.normal(size=count)
        return noisy

    rate = 1 / (1 + np.exp(-(-2.6 + 0.8 * away - 0.3 * belonging + 0.3 * rng.normal(size=count))))
    days = rng.integers(35, 115, count)
    recent = 1 / (1 + np.exp(-np.log(rate / (1 - rate)) - near(np.zeros(count), 0.5)))
    last_60, last_30 = rng.binomial(np.minimum(days, 60), rate), rng.binomial(30, recent)
    unexcused = rng.binomial(last_60, 1 / (1 + np.exp(-(-0.3 + 0.7 * away))))
    marks = np.clip(near(76 + 7 * learning - 3 * away, 4), 20, 100)
    before = np.clip(near(77 + 7 * learning - 2 * away, 4), 20, 100)
    frame = pd.DataFrame(
        {
            "grade_level": np.clip(np.round(6 + 3.4 * age), -1, 12),
            "absences_last_10": rng.binomial(10, recent),
            "absences_last_30": last_30,
            "absence_rate_year": rng.binomial(days, rate) / days,
            "absence_rate_60": last_60 / np.minimum(days, 60),
            "absence_change": last_30 / 30 - last_60 / np.minimum(days, 60),
            "absent_days_year": rng.binomial(days, rate),
            "current_run": rng.geometric(1 - recent.clip(0, 0.8)) - 1,
            "longest_run_60": np.minimum(last_60, rng.geometric(1 - rate.clip(0, 0.8))),
            "unexcused_60": unexcused,
            "excused_60": last_60 - unexcused,
            "monday_absences_60": rng.binomial(12, rate),
            "tardies_60": rng.poisson(np.exp(0.3 + 0.5 * away - 0.4 * belonging)),
            "days_enrolled_year": days,
            "grade_average": marks,
            "grade_previous": before,
            "grade_change": marks - before,
            "lowest_grade": np.clip(marks - np.abs(near(np.full(count, 6.0), 5)), 0, 100),
            "courses_below_70": rng.binomial(6, 1 / (1 + np.exp((marks - 68) / 5))),
            "courses_below_60": rng.binomial(6, 1 / (1 + np.exp((marks - 58) / 5))),
            "grade_long_average": near(77 + 6 * learning - 2 * away, 3),
            "gradebook_average_60": np.clip(near(marks, 5), 0, 100),
            "assessment_last": near(500 + 38 * learning, 20),
            "assessment_change": near(10 - 4 * away, 15),
            "services_active": rng.poisson(0.3, count),
            "service_sessions_60": rng.poisson(np.exp(-0.6 + 0.6 * belonging)),
        },
        dtype="float64",
    )
    for name in ("assessment_last", "assessment_change", "gradebook_average_60"):
        frame.loc[rng.random(count) < 0.15, name] = np.nan
    return frame


def _scores(features: pd.DataFrame) -> Floats:
    """What is known of a student on one scale each: absence, low marks, late and out of touch,
    higher grade.
    """
    absence = (features["absence_rate_60"] - 0.08) / 0.07
    marks = (76 - features["grade_average"]) / 8
    touch = (features["tardies_60"] - 1.5) / 1.6 - (features["service_sessions_60"] - 0.7)
    age = (features["grade_level"] - 6) / 3.3
    return np.clip(np.column_stack([absence, marks, touch, age]), -2.5, 3.5)


def _benefit(shape: _Shape, features: pd.DataFrame, scenario: Scenario) -> Floats:
    absence, marks, touch, age = _scores(features).T
    change = np.clip(-features["grade_change"].to_numpy() / 6, -2, 2)
    unexcused = np.clip(features["unexcused_60"].to_numpy() / 3, 0, 3)
    bent = np.column_stack(
        [
            _step(age - 0.6) * (0.4 + 0.5 * np.tanh(-marks)) * 1.4,
            _step(absence - 0.3) * 1.1 - 0.25,
            0.6 * np.tanh(unexcused - 1.0) + 0.3 * _step(absence - 1.2),
            0.5 * np.tanh(touch) + 0.35,
            _step(marks - 0.2) * (0.7 + 0.4 * np.tanh(change)) - 0.2 * _step(absence - 1.5),
            0.45 * np.exp(-((age + 0.3) ** 2)) + 0.25 * np.tanh(0.8 * change) - 0.1,
        ]
    )
    mixed = bent - 0.12 + 0.12 * np.tanh(_scores(features) @ shape.taste.T) + 0.15 * shape.turn
    benefit: Floats = scenario.benefit * shape.size * mixed
    if scenario.harmful:
        benefit[:, SUPPORTS.index(scenario.harmful)] = -1.5 - 1.0 * np.tanh(absence)
    return benefit


def _habit(shape: _Shape, features: pd.DataFrame, benefit: Floats, scenario: Scenario) -> Floats:
    """The chance of each choice, none first: by need, as people see it, and by nothing else."""
    absence, marks, touch, age = _scores(features).T
    need = np.column_stack(
        [
            age + 0.3 * marks,
            absence,
            0.7 * absence + 0.2 * touch,
            touch + 0.3 * absence,
            marks,
            0.4 * touch - 0.5 * age,
        ]
    )
    base = np.array([-4.9, -3.2, -3.4, -3.0, -2.8, -3.2])
    logit = (
        base
        + 0.55 * scenario.confounding * need
        - 0.12 * (scenario.confounding - 1) * need.std(axis=0)
    )
    logit = logit + scenario.selection * benefit
    odds = np.exp(np.hstack([np.zeros((len(features), 1)), logit]))
    chances: Floats = odds / odds.sum(axis=1, keepdims=True)
    return chances


def untreated_outcome(features: pd.DataFrame) -> Floats:
    """What would follow without a support: trouble goes on, and extremes come back toward the
    middle.
    """
    absence, marks, touch, age = _scores(features).T
    back = 14 * np.clip(features["absence_change"].to_numpy(), -0.4, 0.4)
    falling = 0.10 * features["grade_change"].to_numpy()
    points: Floats = (
        -2.2 * np.tanh(0.8 * absence)
        - 1.6 * np.tanh(marks)
        - 0.9 * np.maximum(absence * marks, 0)
        - 0.5 * np.tanh(touch)
        + back
        - falling
        + 0.4 * age
    )
    return points


def _step(value: Floats) -> Floats:
    bent: Floats = 1 / (1 + np.exp(-3 * value))
    return bent


def small(scenario: Scenario, students: int) -> Scenario:
    """The same scenario with fewer students, for a quick look."""
    return replace(scenario, students=students)
