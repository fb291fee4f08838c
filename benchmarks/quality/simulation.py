"""Simulated districts in which the true benefit of every support for every student is known.

A district is drawn from a scenario and a seed. Its features have the catalog's names and look like
a real district's (shares of days missed, grades, test scores, counts of services), correlated
through four latent traits. The benefit of a support is a function of observed features, so an
oracle exists. Past practice chooses supports by need, which also drives the untreated outcome:
that is the confounding. Nothing here is shared with the demo district.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import numpy as np
import pandas as pd

from training.estimation.arrays import FloatArray

SUPPORTS = ("college", "food", "health", "mentoring", "tutoring", "after_school")
RARE = "college"
"""Chosen for about one student in a hundred."""

NOISE = 7.0
"""Standard deviation of the outcome given features and support, in progress points."""

DECISIONS = 3
"""Episodes per student; those of one student share part of their noise."""

MASKED_PREFIXES = ("grade_", "lowest_grade", "courses_", "gradebook_", "assessment_")
"""Prefixes of the features that a viewer without course grades and test scores does not see."""


@dataclass(frozen=True)
class Scenario:
    """What makes a district hard to learn from.

    Attributes:
        students: number of past students, with `DECISIONS` episodes each.
        confounding: how strongly past practice follows need; 1 is usual.
        selection: how strongly past choices follow the true benefit; below zero, a support went to
            those whom it helps least.
        benefit: factor on every true benefit; 0 for none.
        harmful: the support that harms nearly everyone, if any.
        shift: how far the traits of new students differ from those of past ones.
        masked: whether new students are seen without course grades and test scores.
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
    """Past episodes to learn from, and new students with their true benefits.

    Attributes:
        features, support, outcome, student, school: one row per episode.
        propensity: true probabilities of "none" and each support, shape (episodes, 1 + supports).
        benefit: true benefits in progress points, shape (episodes, supports).
        new, new_benefit, new_propensity: the same quantities for students not learned from.
        school_effects: what each of the schools k00 to k12 adds to every outcome, shape (13,).
    """

    scenario: Scenario
    features: pd.DataFrame
    support: pd.Series
    outcome: pd.Series
    student: pd.Series
    school: pd.Series
    propensity: FloatArray = field(repr=False)
    benefit: FloatArray = field(repr=False)
    new: pd.DataFrame = field(repr=False)
    new_benefit: FloatArray = field(repr=False)
    new_propensity: FloatArray = field(repr=False)
    school_effects: FloatArray = field(repr=False)

    @property
    def supports(self) -> tuple[str, ...]:
        return SUPPORTS

    def new_students_masked(self) -> pd.DataFrame:
        """The new students as seen by a viewer without course grades and test scores."""
        masked = self.new.copy()
        masked.loc[:, masked_columns(masked)] = np.nan
        return masked


def masked_columns(frame: pd.DataFrame) -> list[str]:
    return [name for name in frame.columns if str(name).startswith(MASKED_PREFIXES)]


def with_students(scenario: Scenario, students: int) -> Scenario:
    """A scenario with another number of past students."""
    return replace(scenario, students=students)


def simulate(scenario: Scenario, seed: int, new_students: int = 20_000) -> SimulatedDistrict:
    """One district; equal scenarios and seeds give equal districts."""
    rng = np.random.default_rng([seed, *scenario.name.encode()])
    shape = _Shape(rng)
    student = np.repeat(np.arange(scenario.students), DECISIONS)
    traits = rng.normal(size=(scenario.students, 4))[student]
    features = _features(rng, traits, 0.0)
    new = _features(rng, _traits(rng, new_students, scenario.shift), scenario.shift)
    benefit, new_benefit = (_benefit(shape, frame, scenario) for frame in (features, new))
    propensity, new_propensity = (
        _propensity(shape, frame, true_benefit, scenario)
        for frame, true_benefit in ((features, benefit), (new, new_benefit))
    )
    chosen = (propensity.cumsum(axis=1) < rng.random((len(student), 1))).sum(axis=1)
    school = (
        (traits[:, 3] * 2 + rng.normal(size=scenario.students)[student] * 2).round().clip(-6, 6)
    )
    student_effects = rng.normal(size=scenario.students)
    school_effects = 0.1 * NOISE * rng.normal(size=13)
    # Of the noise's variance 16% is the student's and 1% the school's.
    noise = NOISE * (
        0.4 * student_effects[student] + np.sqrt(1 - 0.16 - 0.01) * rng.normal(size=len(student))
    )
    noise = noise + school_effects[(school + 6).astype(int)]
    received = np.hstack([np.zeros((len(student), 1)), benefit])[np.arange(len(student)), chosen]
    outcome = untreated_outcome(features) + received + noise
    names = np.array(["none", *SUPPORTS], dtype=object)
    return SimulatedDistrict(
        scenario,
        features,
        pd.Series(names[chosen]),
        pd.Series(outcome),
        pd.Series([f"s{number:05d}" for number in student]),
        pd.Series([f"k{int(number + 6):02d}" for number in school]),
        propensity,
        benefit,
        new,
        new_benefit,
        new_propensity,
        school_effects,
    )


@dataclass(frozen=True)
class _Shape:
    """How benefits differ between districts: drawn afresh, so that no method is tuned to one."""

    rng: np.random.Generator
    size: FloatArray = field(init=False)
    turn: FloatArray = field(init=False)
    taste: FloatArray = field(init=False)

    def __post_init__(self) -> None:
        count = len(SUPPORTS)
        object.__setattr__(self, "size", self.rng.uniform(2.5, 4.5, count))
        object.__setattr__(self, "turn", self.rng.uniform(-0.4, 0.4, count))
        object.__setattr__(self, "taste", self.rng.normal(0, 0.5, (count, 4)))


def _traits(rng: np.random.Generator, count: int, shift: float) -> FloatArray:
    traits = rng.normal(size=(count, 4))
    traits[:, 0] += 0.7 * shift
    traits[:, 1] -= 0.4 * shift
    return traits


def _features(rng: np.random.Generator, traits: FloatArray, shift: float) -> pd.DataFrame:
    """Features from latent traits: trouble getting to school, learning, belonging, age."""
    away, learning, belonging, age = traits.T
    count = len(traits)

    def near(value: FloatArray, spread: float) -> FloatArray:
        noisy: FloatArray = value + spread * rng.normal(size=count)
        return noisy

    rate = 1 / (1 + np.exp(-(-2.6 + 0.8 * away - 0.3 * belonging + 0.3 * rng.normal(size=count))))
    days = rng.integers(35, 115, count)
    recent = 1 / (1 + np.exp(-np.log(rate / (1 - rate)) - near(np.zeros(count), 0.5)))
    last_60, last_30 = rng.binomial(np.minimum(days, 60), rate), rng.binomial(30, recent)
    unexcused = rng.binomial(last_60, 1 / (1 + np.exp(-(-0.3 + 0.7 * away))))
    average = np.clip(near(76 + 7 * learning - 3 * away, 4), 20, 100)
    previous_average = np.clip(near(77 + 7 * learning - 2 * away, 4), 20, 100)
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
            "grade_average": average,
            "grade_previous": previous_average,
            "grade_change": average - previous_average,
            "lowest_grade": np.clip(average - np.abs(near(np.full(count, 6.0), 5)), 0, 100),
            "courses_below_70": rng.binomial(6, 1 / (1 + np.exp((average - 68) / 5))),
            "courses_below_60": rng.binomial(6, 1 / (1 + np.exp((average - 58) / 5))),
            "grade_long_average": near(77 + 6 * learning - 2 * away, 3),
            "gradebook_average_60": np.clip(near(average, 5), 0, 100),
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


def _scores(features: pd.DataFrame) -> FloatArray:
    """Observed need, shape (students, 4): absence, low course grades, lateness, grade level."""
    absence = (features["absence_rate_60"] - 0.08) / 0.07
    low_grades = (76 - features["grade_average"]) / 8
    lateness = (features["tardies_60"] - 1.5) / 1.6 - (features["service_sessions_60"] - 0.7)
    age = (features["grade_level"] - 6) / 3.3
    need: FloatArray = np.column_stack([absence, low_grades, lateness, age])
    return need.clip(-2.5, 3.5)


def _benefit(shape: _Shape, features: pd.DataFrame, scenario: Scenario) -> FloatArray:
    absence, low_grades, lateness, age = _scores(features).T
    change = np.clip(-features["grade_change"].to_numpy() / 6, -2, 2)
    unexcused = np.clip(features["unexcused_60"].to_numpy() / 3, 0, 3)
    curves = np.column_stack(
        [
            _step(age - 0.6) * (0.4 + 0.5 * np.tanh(-low_grades)) * 1.4,
            _step(absence - 0.3) * 1.1 - 0.25,
            0.6 * np.tanh(unexcused - 1.0) + 0.3 * _step(absence - 1.2),
            0.5 * np.tanh(lateness) + 0.35,
            _step(low_grades - 0.2) * (0.7 + 0.4 * np.tanh(change)) - 0.2 * _step(absence - 1.5),
            0.45 * np.exp(-((age + 0.3) ** 2)) + 0.25 * np.tanh(0.8 * change) - 0.1,
        ]
    )
    unscaled = curves - 0.12 + 0.12 * np.tanh(_scores(features) @ shape.taste.T) + 0.15 * shape.turn
    benefit: FloatArray = scenario.benefit * shape.size * unscaled
    if scenario.harmful:
        benefit[:, SUPPORTS.index(scenario.harmful)] = -1.5 - 1.0 * np.tanh(absence)
    return benefit


def _propensity(
    shape: _Shape, features: pd.DataFrame, benefit: FloatArray, scenario: Scenario
) -> FloatArray:
    """The probability of each choice, "none" first: by visible need and `scenario.selection`."""
    absence, low_grades, lateness, age = _scores(features).T
    need = np.column_stack(
        [
            age + 0.3 * low_grades,
            absence,
            0.7 * absence + 0.2 * lateness,
            lateness + 0.3 * absence,
            low_grades,
            0.4 * lateness - 0.5 * age,
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
    propensity: FloatArray = odds / odds.sum(axis=1, keepdims=True)
    return propensity


def untreated_outcome(features: pd.DataFrame) -> FloatArray:
    """The outcome without any support: trouble persists, and extremes regress to the mean.

    Returns:
        Progress points, shape (students,).
    """
    absence, low_grades, lateness, age = _scores(features).T
    regression_to_mean = 14 * np.clip(features["absence_change"].to_numpy(), -0.4, 0.4)
    falling = 0.10 * features["grade_change"].to_numpy()
    points: FloatArray = (
        -2.2 * np.tanh(0.8 * absence)
        - 1.6 * np.tanh(low_grades)
        - 0.9 * np.maximum(absence * low_grades, 0)
        - 0.5 * np.tanh(lateness)
        + regression_to_mean
        - falling
        + 0.4 * age
    )
    return points


def _step(value: FloatArray) -> FloatArray:
    """A smooth step from 0 to 1 around zero."""
    step: FloatArray = 1 / (1 + np.exp(-3 * value))
    return step
