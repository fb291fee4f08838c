"""What services achieved: right where the truth is known, honest about what rows share, and silent
where it must be.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import date, timedelta
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from scipy.stats import t as student_t

from features.catalog import feature_names
from training.effects import effects
from training.effects.costs import Cost, cost_per_point, cost_per_student, session_costs
from training.effects.dose_response import NEVER_ATTENDED, dose_response
from training.effects.effects import (
    FEW_AFTER_TRIMMING,
    FEW_SERVED,
    GAIN,
    LOSS,
    NO_DIFFERENCE,
    NO_OVERLAP,
    UNKNOWN,
    Effect,
    EffectsError,
    estimate_effect,
)
from training.effects.joint_verdicts import holm, joint_verdicts
from training.effects.program_effects import (
    ProgramEffect,
    ServiceTables,
    effects_table,
    program_effects,
    programs_of_episodes,
)
from training.episodes.episodes import Episodes
from training.episodes.outcome import OutcomeDefinition
from training.estimation.policy_value import Estimate
from training.estimation.pseudo_outcomes import NONE
from training.estimation.sensitivity import e_value

WORKSHOP_UNIT = 0.6430088062029851
"""Standard deviation of the outcome as the workshop gave it out (grf-labs/grf,
experiments/acic18/synthetic_data.csv, column Y). `learning_mindset.csv` holds that column divided
by it; Athey & Wager's 0.247 is in the workshop's unit."""


@dataclass(frozen=True)
class World:
    features: pd.DataFrame
    treated: np.ndarray
    outcome: np.ndarray
    students: np.ndarray
    benefit: np.ndarray


def made_up(seed: int, rows: int = 1_200, confounding: float = 1.0) -> World:
    """Those who do worse anyway are served more often; serving adds 3 points, and more to those
    with a high third feature, who are served more often too.
    """
    rng = np.random.default_rng(seed)
    known = rng.normal(size=(rows, 6))
    need = known[:, 0] + 0.5 * known[:, 1]
    treated = rng.random(rows) < 1 / (1 + np.exp(1.2 - confounding * need - 0.5 * known[:, 2]))
    benefit = 3.0 + known[:, 2]
    outcome = -2.0 * need + benefit * treated + rng.normal(0, 3.0, rows)
    known[:, 3:][rng.random((rows, 3)) < 0.1] = np.nan
    columns = [f"feature {place}" for place in range(6)]
    names = np.array([f"s{number:05}" for number in rng.permutation(rows)], dtype=object)
    return World(pd.DataFrame(known, columns=columns), treated, outcome, names, benefit)


def judged(world: World, **options: object) -> Effect:
    return estimate_effect(world.outcome, world.treated, world.features, world.students, **options)


def test_the_randomised_effect_of_learning_mindsets_is_found(shared_data: Path):
    rows = pd.read_csv(shared_data / "learning_mindset" / "learning_mindset.csv")
    known = rows.drop(columns=["schoolid", "intervention", "achievement_score"]).astype("float64")
    effect = estimate_effect(
        rows["achievement_score"],
        rows["intervention"] == 1,
        known,
        rows.index,
        rows["schoolid"],
        target="ATE",
    )
    assert (effect.clustered_by, effect.clusters, effect.left_out) == ("school", 76, 0)
    assert effect.estimate.value * WORKSHOP_UNIT == pytest.approx(0.247, abs=0.02)
    assert 0.012 < effect.error * WORKSHOP_UNIT < 0.024, "the published standard error is 0.020"
    assert effect.naive.value * WORKSHOP_UNIT > 0.247 + 2 * 0.020, (
        "and the naive comparison is wrong"
    )


def test_under_confounding_the_naive_comparison_is_wrong_and_the_adjusted_one_is_not():
    world = made_up(3, 3_000)
    truth = world.benefit[world.treated].mean()
    effect = judged(world)
    assert effect.naive.upper < truth - 1.0
    assert effect.estimate.lower < truth < effect.estimate.upper
    assert effect.verdict == GAIN
    assert effect.e_value == e_value(effect.estimate, float(world.outcome[~world.treated].std()))


def test_the_interval_covers_the_truth_about_as_often_as_it_says():
    covered = []
    for seed in range(100, 120):
        world = made_up(seed, 400, confounding=0.6)
        effect = judged(world).estimate
        covered.append(effect.lower <= world.benefit[world.treated].mean() <= effect.upper)
    assert sum(covered) >= 16, "fewer than 16 of 20 come about 1 time in 400 at 95%"


def test_with_some_of_very_many_who_were_not_served_the_answer_is_about_as_sure(
    monkeypatch: pytest.MonkeyPatch,
):
    monkeypatch.setattr(effects, "MIN_CONTROLS", 500)
    world = made_up(7, 4_000)
    served = world.treated & (np.arange(4_000) % 16 == 0)
    rows = np.flatnonzero(served | ~world.treated)
    few = World(
        world.features.iloc[rows],
        served[rows],
        world.outcome[rows],
        world.students[rows],
        world.benefit[rows],
    )
    thinned, whole = judged(few, subsample_controls=True), judged(few)
    truth = few.benefit[few.treated].mean()
    assert len(rows) > 30 * served.sum(), "there is something to leave out"
    assert (thinned.served, thinned.compared, thinned.naive) == (
        whole.served,
        whole.compared,
        whole.naive,
    )
    assert thinned.estimate != whole.estimate and thinned.error < 1.25 * whole.error
    for effect in (thinned, whole):
        assert effect.estimate.lower < truth < effect.estimate.upper
    order = np.random.default_rng(0).permutation(len(rows))
    assert thinned == estimate_effect(
        few.outcome[order],
        few.treated[order],
        few.features.iloc[order],
        few.students[order],
        subsample_controls=True,
    )


def test_those_served_and_everybody_are_two_questions():
    world = made_up(5, 6_000, confounding=0.3)
    on_served, on_all = judged(world), judged(world, target="ATE")
    served, everybody = world.benefit[world.treated].mean(), world.benefit.mean()
    assert served - everybody > 0.3
    assert on_served.estimate.lower < served < on_served.estimate.upper
    assert on_all.estimate.lower < everybody < on_all.estimate.upper
    assert on_served.estimate.value > on_all.estimate.value


def test_a_service_without_effect_is_not_told_from_none():
    world = made_up(8)
    effect = estimate_effect(
        world.outcome - world.benefit * world.treated, world.treated, world.features, world.students
    )
    assert effect.verdict == NO_DIFFERENCE
    assert effect.naive.upper < 0, "the naive comparison would have said that it harms"


def test_without_overlap_there_is_no_number():
    world = made_up(2)
    need = world.features["feature 0"].fillna(0).to_numpy()
    effect = estimate_effect(world.outcome, need > 0.3, world.features, world.students)
    assert (effect.estimate, effect.cannot_tell, effect.verdict) == (None, NO_OVERLAP, UNKNOWN)
    assert effect.served_left_out > 0.5 * (need > 0.3).sum()
    assert (
        estimate_effect(
            world.outcome, need > 0.3, world.features, world.students, target="ATE"
        ).estimate
        is None
    )
    assert effect.naive is not None


def test_too_few_served_have_no_number():
    world = made_up(2)
    few = np.zeros(len(world.treated), dtype=bool)
    few[:29] = True
    effect = estimate_effect(world.outcome, few, world.features, world.students)
    assert (effect.estimate, effect.cannot_tell, effect.served, effect.naive) == (
        None,
        FEW_SERVED,
        29,
        None,
    )
    two_rows_each = np.array([f"s{number // 2:05}" for number in range(len(few))], dtype=object)
    few[:58] = True
    assert (
        estimate_effect(world.outcome, few, world.features, two_rows_each).cannot_tell == FEW_SERVED
    )


def test_those_served_who_resemble_few_others_have_no_number():
    rng = np.random.default_rng(4)
    alike = np.repeat([1.0, 0.0], [220, 600])
    treated = np.arange(820) < 180
    features = pd.DataFrame({"alike": alike, "noise": rng.normal(size=820)})
    apart = np.where((alike == 1) & ~treated & (np.arange(820) >= 195), 0.0, alike)
    effect = estimate_effect(
        rng.normal(size=820), treated, features.assign(alike=apart), np.arange(820)
    )
    assert (effect.estimate, effect.cannot_tell in (FEW_AFTER_TRIMMING, NO_OVERLAP)) == (None, True)


def test_the_order_of_rows_changes_nothing():
    world = made_up(6, 700)
    schools = np.array([f"school {number % 14}" for number in range(700)], dtype=object)
    order = np.random.default_rng(0).permutation(700)
    twice = world.students.copy()
    twice[:100] = twice[100:200]
    for target in ("ATT", "ATE"):
        first = estimate_effect(
            world.outcome, world.treated, world.features, twice, schools, target=target
        )
        again = estimate_effect(
            world.outcome[order],
            world.treated[order],
            world.features.iloc[order],
            twice[order],
            schools[order],
            target=target,
        )
        assert first == again


@pytest.mark.parametrize("by_school", [False, True])
def test_nobodys_outcome_trains_the_model_that_judges_them(by_school: bool):
    world = made_up(9, 600)
    students = np.array([f"s{number // 2:04}" for number in range(600)], dtype=object)
    schools = np.array([f"school {number // 2 % 20:02}" for number in range(600)], dtype=object)
    rows = effects._sorted_rows(world.outcome, world.treated, world.features, students, schools)
    folds = effects._folds(rows, by_school, 5, 0)
    assert pd.Series(folds).groupby(rows.school if by_school else rows.student).nunique().max() == 1
    assert len(np.unique(folds)) == 5
    before = effects._cross_fitted_nuisances(rows, [folds], "ATE")
    spoilt = replace(rows, outcome=np.where(folds == 2, 1e6, rows.outcome))
    after = effects._cross_fitted_nuisances(spoilt, [folds], "ATE")
    own = folds == 2
    assert (before.untreated[own] == after.untreated[own]).all()
    assert (before.treated[own] == after.treated[own]).all()
    assert not np.allclose(before.untreated[~own], after.untreated[~own])


def test_what_a_school_shares_widens_the_interval():
    rng = np.random.default_rng(1)
    world = made_up(7, 2_000, confounding=0.0)
    school = rng.integers(0, 25, 2_000)
    shared = 3.0 * rng.normal(size=25)[school] * world.treated
    by_student = estimate_effect(
        world.outcome + shared, world.treated, world.features, world.students
    )
    by_school = estimate_effect(
        world.outcome + shared, world.treated, world.features, world.students, school
    )
    assert (by_student.clustered_by, by_school.clustered_by, by_school.clusters) == (
        "student",
        "school",
        25,
    )
    assert by_school.estimate.value == pytest.approx(by_student.estimate.value, abs=0.2)
    assert by_school.error > 2 * by_student.error
    few = estimate_effect(world.outcome, world.treated, world.features, world.students, school % 9)
    assert few.clustered_by == "student", "nine schools are too few for an interval by school"


def test_the_naive_interval_is_its_formula():
    world = made_up(1, 400, confounding=0.0)
    school = np.arange(400) % 12
    effect = estimate_effect(
        world.outcome, world.treated, world.features, world.students, school
    ).naive
    up, down = world.outcome[world.treated].mean(), world.outcome[~world.treated].mean()
    sums = [
        sum(
            (world.outcome[row] - up) / world.treated.sum()
            if world.treated[row]
            else -(world.outcome[row] - down) / (~world.treated).sum()
            for row in np.flatnonzero(school == one)
        )
        for one in range(12)
    ]
    reach = student_t.ppf(0.975, 11) * np.sqrt(sum(value**2 for value in sums) * 12 / 11)
    assert effect.value == pytest.approx(up - down, abs=1e-9)
    assert effect.upper == pytest.approx(up - down + reach, abs=1e-9)
    assert effect.lower == pytest.approx(up - down - reach, abs=1e-9)


def test_trimming_is_about_who_is_alike_and_not_about_how_common_a_service_is():
    half = np.arange(100) < 50
    chances = np.linspace(0.005, 0.995, 100)
    assert (effects._crump(chances, half) == ((chances >= 0.1) & (chances <= 0.9))).all()
    assert effects._crump(np.full(100, 0.02), np.arange(100) < 2).all()


def test_more_service_with_more_effect_is_found_in_order():
    rng = np.random.default_rng(12)
    world = made_up(12, 4_000, confounding=0.8)
    amount = np.where(world.treated, rng.integers(0, 31, 4_000), np.nan)
    amount[np.flatnonzero(world.treated)[:60]] = 0.0
    outcome = world.outcome - world.benefit * world.treated + 0.25 * np.nan_to_num(amount)
    bands = dose_response(outcome, world.treated, amount, world.features, world.students)
    assert [band.name for band in bands] == [NEVER_ATTENDED, "low", "middle", "high"]
    values = [band.effect.estimate.value for band in bands]
    assert values == sorted(values)
    for band in bands:
        inside = world.treated & (amount >= band.least) & (amount <= band.most)
        truth = 0.25 * amount[inside].mean()
        assert band.effect.estimate.lower < truth < band.effect.estimate.upper
        assert band.effect.served == inside.sum()
    assert sum(band.effect.served for band in bands) == world.treated.sum()


def test_without_sessions_on_record_there_are_no_bands():
    world = made_up(12, 300)
    assert (
        dose_response(
            world.outcome, world.treated, np.full(300, np.nan), world.features, world.students
        )
        == ()
    )


def told(value: float, lower: float, upper: float) -> Effect:
    return Effect(
        "ATT",
        100,
        500,
        None,
        "student",
        600,
        5.0,
        estimate=Estimate(value, lower, upper),
        error=1.0,
    )


def test_a_p_value_is_that_of_the_interval():
    effect = judged(made_up(3, 800))
    ratio = effect.estimate.value / effect.error
    assert effect.p_value == pytest.approx(2 * student_t.sf(abs(ratio), effect.degrees), rel=1e-9)
    reach = student_t.ppf(0.975, effect.degrees) * effect.error
    assert effect.estimate.upper - effect.estimate.value == pytest.approx(reach, rel=1e-9)
    edge = replace(effect, estimate=Estimate(reach, 0.0, 2 * reach))
    assert edge.p_value == pytest.approx(0.05, abs=1e-9)
    assert np.isnan(replace(effect, estimate=None).p_value)


def test_holm_multiplies_by_how_many_are_left_and_never_goes_down():
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx(
        [3 * 0.01, 2 * 0.03, 2 * 0.03, 4 * 0.005]
    )
    assert holm([]) == [] and holm([0.4]) == [0.4] and holm([0.9, 0.8]) == [1.0, 1.0]


def program_of(value: float, error: float, **changes: object) -> ProgramEffect:
    reach = float(student_t.ppf(0.975, 500)) * error
    effect = replace(told(value, value - reach, value + reach), error=error, degrees=500, **changes)
    return ProgramEffect("p", "o", "Program", "food", effect, (), 80.0, None, None)


def test_verdicts_on_several_programs_hold_together():
    alone = program_of(2.1, 1.0)
    assert (alone.verdict, joint_verdicts([alone])[0].verdict) == (GAIN, GAIN)
    silent = program_of(9.0, 1.0, estimate=None, cannot_tell=FEW_SERVED)
    others = [program_of(-5.0, 1.0), alone, program_of(0.3, 1.0), silent]
    joint = joint_verdicts(others)
    assert [verdict.verdict for verdict in joint] == [LOSS, NO_DIFFERENCE, NO_DIFFERENCE, UNKNOWN]
    assert joint[1].p_value == pytest.approx(2 * alone.effect.p_value), (
        "the strongest of three is out of the way"
    )
    assert np.isnan(joint[3].p_value), "who has no figure is no comparison"


def test_among_programs_without_effect_a_false_verdict_is_as_rare_as_it_says():
    rng = np.random.default_rng(5)
    families = [[program_of(value, 1.0) for value in rng.normal(size=8)] for _ in range(1_000)]
    plain = sum(any(program.verdict != NO_DIFFERENCE for program in family) for family in families)
    joint = sum(
        any(one.verdict != NO_DIFFERENCE for one in joint_verdicts(family)) for family in families
    )
    assert plain > 280, "eight looks, each at 5%"
    assert joint < 75, "5% of 1000 is 50, and 75 lies 3.6 standard errors above it"


def test_a_cost_per_point_needs_an_effect_that_is_surely_above_zero():
    cost = cost_per_point(600.0, told(3.0, 2.0, 4.0))
    assert (cost.value, cost.lower, cost.upper) == (200.0, 150.0, 300.0)
    assert cost_per_point(600.0, told(3.0, -0.1, 6.1)) is None
    assert cost_per_point(600.0, told(-3.0, -4.0, -2.0)) is None
    assert cost_per_point(600.0, replace(told(3.0, 2.0, 4.0), estimate=None)) is None


def test_costs_a_student_follow_from_what_they_are_stated_per():
    assert cost_per_student(Cost(500.0, "student"), 0.0, float("nan")) == 500.0
    assert cost_per_student(Cost(50_000.0, "year"), 80.0, 3.0) == 625.0
    assert cost_per_student(Cost(50_000.0, "year"), 0.0, 3.0) is None
    assert cost_per_student(Cost(40.0, "session"), 80.0, 12.5) == 500.0
    assert cost_per_student(Cost(40.0, "session"), 80.0, float("nan")) is None
    programs = pd.DataFrame({"program_id": ["a", "b"], "cost_per_session": [12.0, np.nan]})
    assert session_costs(programs) == {"a": Cost(12.0, "session")}


def test_a_missing_outcome_or_a_short_column_is_named():
    world = made_up(1, 50)
    gap = world.outcome.copy()
    gap[7] = np.nan
    with pytest.raises(EffectsError, match="outcome is missing in row 7"):
        estimate_effect(gap, world.treated, world.features, world.students)
    with pytest.raises(EffectsError, match="students has 49 rows; outcome has 50"):
        estimate_effect(world.outcome, world.treated, world.features, world.students[1:])


DAYS = (date(2023, 11, 6), date(2024, 2, 5))
HELPFUL, IDLE, TINY = "p1", "p2", "p3"
WINDOW = replace(OutcomeDefinition.declared(), window_days=90, start_within_days=25)


@dataclass(frozen=True)
class Town:
    episodes: Episodes
    services: ServiceTables
    program: np.ndarray


def town(seed: int = 0, students: int = 700) -> Town:
    """Two decision days, twelve schools, and three programs: one worth 4 points, one worth nothing,
    one very small.
    """
    rng = np.random.default_rng(seed)
    rows = 2 * students
    features = pd.DataFrame({name: rng.normal(size=rows) for name in feature_names()})
    need = features["absence_rate_60"].to_numpy()
    drawn, first = rng.random(rows), np.arange(rows) < students
    chance = 0.3 / (1 + np.exp(-need))
    program = np.where(
        drawn < chance, HELPFUL, np.where(drawn < 0.3, IDLE, np.where(drawn < 0.303, TINY, NONE))
    )
    outcome = (
        -2.0 * need
        + 4.0 * (program == HELPFUL)
        + np.where(first, 0.0, -3.0)
        + rng.normal(0, 3, rows)
    )
    names = pd.Series([f"s{number % students:04}" for number in range(rows)])
    days = pd.Series([DAYS[number // students] for number in range(rows)])
    support = {HELPFUL: "tutoring", IDLE: "mentoring", TINY: "food", NONE: NONE}
    served = np.flatnonzero(program != NONE)
    enrollments = pd.DataFrame(
        {
            "student_id": names[served],
            "program_id": program[served],
            "organization_id": ["o" + one[1:] for one in program[served]],
            "start_date": [days[row] + timedelta(days=int(row % 20) + 1) for row in served],
            "end_date": [days[row] + timedelta(days=80) for row in served],
        }
    )
    sessions = pd.DataFrame(
        [
            {
                "student_id": names[row],
                "session_id": f"{row}-{turn}",
                "program_id": HELPFUL,
                "organization_id": "o1",
                "date": days[row] + timedelta(days=25 + 3 * turn),
                "attended": turn != 1,
                "minutes": 30.0,
            }
            for row in served
            if program[row] == HELPFUL
            for turn in range(-1, 2 + row % 9)
        ]
    )
    programs = pd.DataFrame(
        {
            "program_id": [HELPFUL, IDLE, TINY],
            "organization_id": ["o1", "o2", "o3"],
            "name": ["Readers", "Friends", "Pantry"],
            "support": ["tutoring", "mentoring", "food"],
        }
    )
    stays = pd.DataFrame(
        {
            "student_id": names[:students],
            "school_id": [f"h{n % 12:02}" for n in range(students)],
            "entry_date": date(2023, 8, 20),
            "exit_date": None,
        }
    )
    return Town(
        Episodes(
            features, names, days, pd.Series([support[one] for one in program]), pd.Series(outcome)
        ),
        ServiceTables(programs, enrollments, sessions, stays),
        program,
    )


def test_episodes_find_the_program_the_sessions_and_the_school_behind_them():
    made = town()
    early = made.services.enrollments.iloc[[0]].assign(
        start_date=DAYS[0] - timedelta(days=9), program_id=TINY
    )
    later = made.services.enrollments.iloc[[0]].assign(
        start_date=DAYS[0] + timedelta(days=24), program_id=TINY
    )
    services = replace(
        made.services, enrollments=pd.concat([later, made.services.enrollments, early])
    )
    joined = programs_of_episodes(made.episodes, services, WINDOW)
    assert (joined["program_id"].fillna(NONE) == made.program).all()
    for row in (
        *np.flatnonzero(made.program == HELPFUL)[:20],
        *np.flatnonzero(made.program == IDLE)[:3],
    ):
        one, day = joined.iloc[row], made.episodes.decision_date[row]
        held = services.sessions[
            (services.sessions["student_id"] == made.episodes.student[row])
            & services.sessions["attended"]
        ]
        inside = [when for when in held["date"] if day < when <= day + timedelta(days=90)]
        assert one["school_id"] == f"h{int(made.episodes.student[row][1:]) % 12:02}"
        if made.program[row] == HELPFUL:
            assert (one["sessions"], one["minutes"]) == (len(inside), 30.0 * len(inside))
        else:
            assert np.isnan(one["sessions"]), (
                "a program that records no sessions has no amount, not none"
            )


def test_an_episode_that_no_enrollment_explains_is_named():
    made = town(students=60)
    row = int(np.flatnonzero(made.program != NONE)[0])
    lost = replace(made.services, enrollments=made.services.enrollments.iloc[1:])
    with pytest.raises(
        EffectsError, match=rf"1 episodes name a support .* row {row}, \w+ on 2023-11-06"
    ):
        programs_of_episodes(made.episodes, lost, WINDOW)


def test_each_program_is_answered_for_with_its_costs_or_told_that_nobody_can_tell():
    made = town()
    costs = {HELPFUL: Cost(90_000.0, "year"), TINY: Cost(100.0, "student")}
    found = {
        program.program_id: program
        for program in program_effects(made.episodes, made.services, costs, outcome=WINDOW)
    }
    helpful, idle, tiny = found[HELPFUL], found[IDLE], found[TINY]
    assert helpful.effect.estimate.lower < 4.0 < helpful.effect.estimate.upper
    assert (helpful.verdict, helpful.effect.clustered_by) == (GAIN, "school")
    assert idle.effect.estimate.lower < 0.0 < idle.effect.estimate.upper
    assert (tiny.verdict, tiny.effect.cannot_tell, tiny.cost_per_point) == (
        UNKNOWN,
        FEW_SERVED,
        None,
    )
    taking_part = {
        name
        for name, one in zip(made.episodes.student, made.program, strict=True)
        if one == HELPFUL
    }
    assert helpful.students_per_year == len(taking_part)
    assert helpful.cost_per_student == pytest.approx(90_000.0 / len(taking_part), abs=1e-9)
    bounds = helpful.effect.estimate
    assert helpful.cost_per_point.value * bounds.value == pytest.approx(
        helpful.cost_per_student, abs=1e-9
    )
    assert helpful.cost_per_point.lower * bounds.upper == pytest.approx(
        helpful.cost_per_student, abs=1e-9
    )
    assert (idle.cost_per_student, tiny.cost_per_student) == (None, 100.0)
    assert (len(helpful.dosage), idle.dosage) == (3, ())
    table = effects_table(tuple(found.values()))
    assert table["program_id"].tolist() == [HELPFUL, IDLE, TINY]
    assert table["verdict"].tolist()[::2] == [GAIN, UNKNOWN]
    assert table["reason"].tolist()[0] == ""
    assert table["reason"].tolist()[2] == "fewer than 30 students with known progress were served"
