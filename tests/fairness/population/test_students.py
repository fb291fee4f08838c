"""Who is audited, in need, served and missed, right against counts by hand; what each measure of
them says.
"""

from __future__ import annotations

import math
from dataclasses import replace
from datetime import date, timedelta
from functools import cache
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import roc_auc_score
from sklearn.neighbors import NearestNeighbors

from fairness.checks.policy import Policy
from fairness.gate.gate import ComparisonVerdict, Verdict, assign_verdicts
from fairness.measures.matched_pairs import matched_pair_measures
from fairness.measures.model import exposure, model_measures
from fairness.measures.past import calibration_measures, past_support_measures, record_measures
from fairness.measures.proxies import ALL_FAMILIES, auc, proxy_strengths
from fairness.population.comparisons import NOT_RECORDED, Measure, MeasureTable, compare_groups
from fairness.population.students import (
    AuditPopulation,
    ModelSuggestions,
    alert_severities,
    audit_population,
    mask_discipline,
    need_codes,
    quantile_codes,
    suggestions_for,
    with_rule_features,
)
from features.alerts import AlertRules
from features.catalog import FEATURES_BY_NAME, feature_names
from records.canonical.schema import Category
from records.snapshots.snapshot import Snapshot
from tests.fairness.synthetic_districts import (
    POLICY,
    TODAY,
    District,
    advice_from,
    in_order,
    synthetic_district,
)
from tests.records.conftest import snapshot_of
from tests.serving.trained_model import train_model
from training.episodes.episodes import Episodes
from training.estimation.pseudo_outcomes import NONE
from training.evaluation.evaluate import EvaluationSet
from training.ranking.ranker import SMALLEST_BENEFIT

BEGAN = [day for n in range(112) if (day := TODAY - timedelta(n)).weekday() < 5][::-1]
"""Eighty school days up to today."""
LAST = len(BEGAN)


def stories() -> dict[str, dict[str, object]]:
    """Students by name: on which of the eighty days they are absent, and what else there is to
    know.
    """
    eighth, fourth = set(range(3, LAST, 8)), set(range(3, LAST, 4))
    return {
        "never_absent": {},
        "last_five_days": {"absent": set(range(LAST - 5, LAST))},
        "last_two_days": {"absent": set(range(LAST - 2, LAST))},
        "every_eighth_day": {"absent": eighth},
        "every_fourth_day": {"absent": fourth},
        "fails_two_courses": {"marks": (50.0, 55.0)},
        "fails_one_course": {"marks": (58.0, 80.0)},
        "in_tutoring": {"absent": eighth, "service": ("tutor", BEGAN[40], None)},
        "out_of_tutoring_today": {"absent": eighth, "service": ("tutor", BEGAN[40], TODAY)},
        "tutored_from_tomorrow": {
            "absent": eighth,
            "service": ("tutor", TODAY + timedelta(1), None),
        },
        "in_a_club": {"absent": eighth, "service": ("club", BEGAN[40], None)},
        "in_first_grade": {"absent": fourth, "grade": 1},
        "came_two_weeks_ago": {"absent": set(range(LAST - 5, LAST)), "entry": BEGAN[-10]},
        "moved_away": {"absent": fourth, "exit": BEGAN[60]},
        "leaves_today": {"absent": eighth, "exit": TODAY},
        "without_facts": {"facts": {}},
        "at_the_other_school": {"school": "k2", "absent": eighth},
    }


def rows() -> dict[str, list[dict[str, object]]]:
    tables: dict[str, list[dict[str, object]]] = {
        "schools": [{"school_id": "k1", "name": "Adams"}, {"school_id": "k2", "name": "Adams"}],
        "calendar": [
            {"school_id": k, "date": day, "school_year": 2026}
            for k in ("k1", "k2")
            for day in BEGAN
        ],
        "programs": [
            {
                "program_id": "tutor",
                "organization_id": "o",
                "name": "T",
                "support": "tutoring",
                "capacity": 9,
                "min_grade": 3,
                "max_grade": 12,
            },
            {"program_id": "club", "organization_id": "o", "name": "C", "support": None},
        ],
        "students": [],
        "school_enrollments": [],
        "characteristics": [],
        "attendance_events": [],
        "course_grades": [],
        "service_enrollments": [],
    }
    for name, story in stories().items():
        school, grade = story.get("school", "k1"), story.get("grade", 7)
        tables["students"].append({"student_id": name, "school_id": school, "grade_level": grade})
        tables["school_enrollments"].append(
            {
                "student_id": name,
                "school_id": school,
                "school_year": 2026,
                "grade_level": grade,
                "entry_date": story.get("entry", BEGAN[0]),
                "exit_date": story.get("exit"),
            }
        )
        facts = story.get(
            "facts",
            {
                "sex": "female",
                "race_ethnicity": "black",
                "english_learner": True,
                "special_education": False,
                "unstable_housing": False,
            },
        )
        if facts:
            tables["characteristics"].append({"student_id": name, **facts})
        tables["attendance_events"] += [
            {
                "student_id": name,
                "school_id": school,
                "date": BEGAN[place],
                "status": "absent_unexcused",
            }
            for place in sorted(story.get("absent", ()))
        ]
        tables["course_grades"] += [
            {
                "student_id": name,
                "course": f"Course {place}",
                "school_year": 2026,
                "period": 1,
                "date": BEGAN[20],
                "grade": mark,
            }
            for place, mark in enumerate(story.get("marks", (85.0, 90.0)))
        ]
        if "service" in story:
            program, start, end = story["service"]
            tables["service_enrollments"].append(
                {
                    "student_id": name,
                    "program_id": program,
                    "organization_id": "o",
                    "start_date": start,
                    "end_date": end,
                }
            )
    return tables


@pytest.fixture(scope="module")
def snapshot(tmp_path_factory: pytest.TempPathFactory) -> Snapshot:
    return snapshot_of(rows(), tmp_path_factory.mktemp("stories"))


@pytest.fixture(scope="module")
def audited(snapshot: Snapshot) -> AuditPopulation:
    return audit_population(snapshot, TODAY, POLICY, ("tutoring",))


SEVERITY = {
    "never_absent": (0, 0),
    "last_five_days": (3, 0),
    "last_two_days": (1, 0),
    "every_eighth_day": (2, 0),
    "every_fourth_day": (3, 0),
    "fails_two_courses": (0, 3),
    "fails_one_course": (0, 2),
    "in_tutoring": (2, 0),
    "out_of_tutoring_today": (2, 0),
    "tutored_from_tomorrow": (2, 0),
    "in_a_club": (2, 0),
    "in_first_grade": (3, 0),
    "came_two_weeks_ago": (3, 0),
    "leaves_today": (2, 0),
    "without_facts": (0, 0),
    "at_the_other_school": (2, 0),
}
"""Of absences and of marks, as the rules of the early alerts say: 10 of 80 days is 0.125, 20 of 80
a quarter."""


def test_every_student_enrolled_on_the_day_is_audited_and_nobody_else(audited: AuditPopulation):
    assert list(audited.groups.index) == sorted(stories().keys() - {"moved_away"})
    assert (
        list(audited.features.index) == list(audited.eligible.index) == list(audited.groups.index)
    )
    assert len(audited) == len(stories()) - 1


def test_nobody_is_in_need_by_an_alert_on_what_is_doubted_of_their_school(
    snapshot: Snapshot, audited: AuditPopulation
):
    [school] = {
        str(row["school_id"])
        for row in rows()["students"]
        if row["student_id"] == "at_the_other_school"
    }
    doubted = audit_population(
        snapshot, TODAY, POLICY, ("tutoring",), doubted=[(school, Category.ATTENDANCE)]
    )
    here = {
        str(row["student_id"]) for row in rows()["students"] if row["school_id"] == school
    } & set(doubted.groups.index)
    assert here
    expected = {
        name: (0 if name in here else absences, marks)
        for name, (absences, marks) in SEVERITY.items()
    }
    assert {
        str(name): tuple(row)
        for name, row in doubted.alert_severity[["attendance", "grades"]].iterrows()
    } == expected
    assert len(doubted) == len(audited), "they stay among the audited students"
    assert doubted.doubted_schools == tuple(
        sorted({str(doubted.groups.loc[name, "school"]) for name in here})
    )


def test_need_is_what_the_early_alerts_say(audited: AuditPopulation):
    severities = {
        str(name): tuple(row)
        for name, row in audited.alert_severity[["attendance", "grades"]].iterrows()
    }
    assert severities == SEVERITY
    need = dict(zip(audited.groups.index, audited.in_need(POLICY), strict=True))
    assert need == {name: max(severity) >= 2 for name, severity in SEVERITY.items()}
    acting = dict(
        zip(audited.groups.index, audited.in_need(replace(POLICY, need_severity=3)), strict=True)
    )
    assert {name for name, now in acting.items() if now} == {
        "last_five_days",
        "every_fourth_day",
        "fails_two_courses",
        "in_first_grade",
        "came_two_weeks_ago",
    }


def test_who_takes_part_in_a_support_today_is_served_and_not_missed(audited: AuditPopulation):
    assert set(audited.groups.index[audited.in_support]) == {"in_tutoring"}
    silent = advice_from(
        audited,
        np.zeros(len(audited), dtype=bool),
        pd.DataFrame(1.0, audited.eligible.index, ["tutoring"]),
    )
    measures = {
        model_measure.check: model_measure
        for model_measure in model_measures(audited, silent, POLICY)
    }
    missed = set(audited.groups.index[measures["missed"].numerator > 0])
    assert missed == {name for name, severity in SEVERITY.items() if max(severity) >= 2} - {
        "in_tutoring"
    }
    assert set(audited.groups.index[measures["suggestion"].numerator > 0]) == {"in_tutoring"}


def test_supports_are_open_by_grade_and_to_those_who_do_not_take_part_already(
    audited: AuditPopulation,
):
    closed = set(audited.eligible.index[~audited.eligible["tutoring"]])
    assert closed == {"in_first_grade", "in_tutoring"}


def test_groups_are_the_facts_on_record(audited: AuditPopulation):
    groups = audited.groups
    assert list(groups.columns) == list(POLICY.attributes)
    assert set(groups.loc["without_facts", list(POLICY.groups[:6])]) == {NOT_RECORDED}
    assert list(
        groups.loc[
            "never_absent", ["sex", "race_ethnicity", "english_learner", "special_education"]
        ]
    ) == ["female", "black", "yes", "no"]
    assert set(groups["meal_eligible"]) == {NOT_RECORDED}
    assert groups.loc["never_absent", "race_ethnicity x sex"] == "black x female"
    assert groups.loc["without_facts", "race_ethnicity x sex"] == NOT_RECORDED
    assert groups["grade_band"].drop("in_first_grade").unique().tolist() == ["6_8"]
    assert groups.loc["in_first_grade", "grade_band"] == "pre_k_2"
    assert groups.loc["never_absent", "school"] == "Adams (k1)", "two schools have the name"
    assert groups.loc["at_the_other_school", "school"] == "Adams (k2)"
    assert (
        audited.cohorts["never_absent"]
        == audited.cohorts["in_tutoring"]
        != audited.cohorts["in_first_grade"]
    )
    assert audited.cohorts["at_the_other_school"] not in set(
        audited.cohorts.drop("at_the_other_school")
    )


def test_an_alert_is_late_where_there_was_none_thirty_school_days_before(audited: AuditPopulation):
    assert math.isnan(audited.earlier_severity["came_two_weeks_ago"])
    assert (
        audited.earlier_severity["last_five_days"] == 0
        and audited.earlier_severity["every_fourth_day"] == 3
    )
    assert audited.earlier_severity["fails_two_courses"] == 3
    silent = advice_from(
        audited,
        np.zeros(len(audited), dtype=bool),
        pd.DataFrame(1.0, audited.eligible.index, ["tutoring"]),
    )
    late = next(
        model_measure
        for model_measure in model_measures(audited, silent, POLICY)
        if model_measure.check == "late_alert"
    )
    assert set(audited.groups.index[late.denominator > 0]) == {
        "last_five_days",
        "every_fourth_day",
        "fails_two_courses",
        "in_first_grade",
    }
    assert set(audited.groups.index[late.numerator > 0]) == {"last_five_days"}
    unknown = replace(audited, earlier_severity=pd.Series(math.nan, audited.groups.index))
    assert "late_alert" not in {
        model_measure.check for model_measure in model_measures(unknown, silent, POLICY)
    }


def test_advice_is_what_serving_shows_at_most(audited: AuditPopulation):
    model = train_model("tutoring")
    advice = suggestions_for(model, audited)
    expected = model.ranker.predict_benefit(audited.features)["tutoring"]
    for name in audited.groups.index:
        worth = (
            expected.loc[name, "lower"] > 0 and expected.loc[name, "benefit"] >= SMALLEST_BENEFIT
        )
        listed = bool(worth and audited.eligible.loc[name, "tutoring"])
        assert advice.suggested_supports.loc[name, "tutoring"] == listed
        assert (
            advice.rank.loc[name, "tutoring"] == 1
            if listed
            else math.isnan(advice.rank.loc[name, "tutoring"])
        )
        assert advice.benefit.loc[name, "tutoring"] == pytest.approx(expected.loc[name, "benefit"])
        assert pd.isna(advice.silence[name]) if listed else isinstance(advice.silence[name], str)
    assert (
        list(advice.has_suggestion) == list(advice.suggested_supports.any(axis=1))
        and advice.has_suggestion.any()
    )


def test_captured_benefit_of_a_taught_model_equals_a_count_by_hand(audited: AuditPopulation):
    model = train_model("tutoring")
    advice, expected = (
        suggestions_for(model, audited),
        model.ranker.predict_benefit(audited.features)["tutoring", "benefit"],
    )
    captured = next(
        model_measure
        for model_measure in model_measures(audited, advice, POLICY)
        if model_measure.check == "captured"
    )
    for place, name in enumerate(audited.groups.index):
        waiting = max(SEVERITY[name]) >= 2 and name != "in_tutoring"
        attainable = (
            max(expected[name], 0.0) if waiting and audited.eligible.loc[name, "tutoring"] else 0.0
        )
        first = (
            expected[name] if waiting and advice.suggested_supports.loc[name, "tutoring"] else 0.0
        )
        assert captured.denominator[place] == pytest.approx(attainable, abs=1e-12)
        assert captured.numerator[place] == pytest.approx(first, abs=1e-12)
    assert 0 < captured.numerator.sum() <= captured.denominator.sum()


def test_without_enrollments_every_student_is_audited(tmp_path: Path):
    few = rows() | {"school_enrollments": []}
    population = audit_population(snapshot_of(few, tmp_path), TODAY, POLICY, ("tutoring",))
    assert set(population.groups.index) == set(stories())


def test_discipline_can_be_hidden_and_nothing_else_goes():
    frame = synthetic_district(50).students.features
    hidden = mask_discipline(frame)
    assert {name for name in frame if hidden[name].isna().all()} == {
        "incidents_60",
        "incidents_year",
        "days_removed_year",
    }
    pd.testing.assert_frame_equal(
        hidden.dropna(axis=1),
        frame.drop(columns=["incidents_60", "incidents_year", "days_removed_year"]),
    )


@cache
def district() -> District:
    """Students of whom one support is open to some, with other places in the lists of each."""
    return synthetic_district(400, 12)


def measure(check: str, item: str = "", blind: ModelSuggestions | None = None) -> Measure:
    synthetic = district()
    return next(
        model_measure
        for model_measure in model_measures(synthetic.students, synthetic.advice, POLICY, blind)
        if (model_measure.check, model_measure.item) == (check, item)
    )


def by_hand() -> pd.DataFrame:
    """One row a student: in need, waiting, with a suggestion, with something open."""
    students, advice = district().students, district().advice
    flags = pd.DataFrame(index=students.groups.index)
    flags["need"] = [max(row) >= 2 for row in students.alert_severity.itertuples(index=False)]
    flags["waiting"] = [
        need and not served for need, served in zip(flags["need"], students.in_support, strict=True)
    ]
    flags["suggested"] = [any(row) for row in advice.suggested_supports.itertuples(index=False)]
    flags["open"] = [any(row) for row in students.eligible.itertuples(index=False)]
    return flags


def counts_match(compared: Measure, amount: pd.Series, out_of: pd.Series) -> bool:
    return np.array_equal(compared.numerator, amount.astype(float)) and np.array_equal(
        compared.denominator, out_of.astype(float)
    )


def test_the_counts_of_each_check_are_those_of_its_words():
    who = by_hand()
    missed = who["waiting"] & ~who["suggested"]
    assert counts_match(measure("missed"), missed, who["need"])
    assert counts_match(measure("suggestion"), who["need"] & ~missed, who["need"])
    assert counts_match(measure("access"), missed & who["open"], who["need"] & who["open"])
    assert counts_match(measure("silence"), missed & who["open"], who["waiting"] & who["open"])
    students, advice = district().students, district().advice
    for name in ("mentoring", "tutoring"):
        assert counts_match(
            measure("support", name),
            who["need"] & advice.suggested_supports[name],
            who["need"] & students.eligible[name],
        )
    assert 0 < missed.sum() < who["waiting"].sum() < who["need"].sum() and not who["open"].all()


def test_equal_need_is_the_same_alerts_and_for_a_support_also_whether_one_is_received():
    students = district().students
    pairs = list(students.alert_severity.itertuples(index=False, name=None))
    strata = measure("access").stratum
    both = [(*pair, bool(served)) for pair, served in zip(pairs, students.in_support, strict=True)]
    for codes, keys in ((strata, pairs), (measure("support", "tutoring").stratum, both)):
        assert len(set(zip(codes, keys, strict=True))) == len(set(codes)) == len(set(keys))


def test_a_suggestion_that_seeing_discipline_takes_away_is_counted():
    synthetic, who = district(), by_hand()
    blind = advice_from(synthetic.students, np.ones(400, dtype=bool), synthetic.advice.benefit)
    lost = who["waiting"] & who["open"] & ~who["suggested"]
    assert counts_match(measure("discipline", blind=blind), lost, who["waiting"])
    assert "discipline" not in {model_measure.check for model_measure in synthetic.table.measures}


def test_place_in_the_queue_weighs_by_one_over_the_logarithm():
    students, advice = district().students, district().advice
    weights = dict.fromkeys(students.groups.index, 0.0)
    for support in advice.suggested_supports:
        queue = advice.benefit.loc[advice.suggested_supports[support], support]
        for name, benefit in queue.items():
            place = 1 + int((queue > benefit).sum())
            weights[name] = max(weights[name], 1 / math.log2(1 + place))
    assert exposure(advice) == pytest.approx(list(weights.values()), rel=1e-12)
    exposed, waiting = measure("exposure"), by_hand()["waiting"].to_numpy()
    assert exposed.numerator == pytest.approx(np.where(waiting, list(weights.values()), 0.0))
    assert np.array_equal(exposed.denominator, waiting.astype(float))
    assert max(weights.values()) == 1.0


def test_equals_in_a_queue_share_their_places():
    index = ["a", "b", "c"]
    benefit = pd.DataFrame({"tutoring": [2.0, 2.0, 5.0]}, index=index)
    advice = ModelSuggestions(
        benefit > 0, benefit * 0 + 1, benefit, pd.Series(None, index=index, dtype=object)
    )
    assert exposure(advice) == pytest.approx([1 / math.log2(3.5), 1 / math.log2(3.5), 1.0])


def test_captured_benefit_is_of_the_best_that_is_open():
    students, advice, who = district().students, district().advice, by_hand()
    captured = measure("captured")
    for place, name in enumerate(students.groups.index):
        open_to = [
            advice.benefit.loc[name, support]
            for support in advice.benefit
            if students.eligible.loc[name, support]
        ]
        waiting = who.loc[name, "waiting"]
        assert captured.denominator[place] == (
            pytest.approx(max(open_to, default=0.0)) if waiting else 0.0
        )
        assert captured.numerator[place] == (
            pytest.approx(max(open_to, default=0.0))
            if waiting and who.loc[name, "suggested"]
            else 0.0
        )


@given(st.lists(st.tuples(st.integers(0, 3), st.integers(0, 3)), min_size=1, max_size=30))
def test_each_combination_of_alerts_has_its_own_number(pairs):
    codes = need_codes(pd.DataFrame(pairs, columns=["attendance", "grades"]))
    assert len(set(zip(codes, pairs, strict=True))) == len(set(codes)) == len(set(pairs))


@given(st.lists(st.floats(-5, 5), min_size=1, max_size=60), st.integers(1, 10))
def test_parts_of_a_spread_are_as_large_as_can_be_and_in_order(values, parts):
    codes = quantile_codes(np.array(values), parts)
    sizes = np.bincount(codes, minlength=parts)
    assert sizes.max() - sizes.min() <= 1
    assert all(
        codes[first] <= codes[second]
        for first in range(len(values))
        for second in range(len(values))
        if values[first] < values[second]
    )


RECORDS = replace(POLICY, groups=("sex", "race_ethnicity", "special_education"), intersections=())


def on_record(seed: int, *, thinned: str = "", disciplined: str = "") -> AuditPopulation:
    """Six thousand students whose absences and incidents follow their marks; of a group some are
    not written down, or more are.
    """
    students = synthetic_district(
        6000, seed, policy=RECORDS, races={"white": 0.45, "hispanic": 0.3, "black": 0.25}
    ).students
    rng, race = np.random.default_rng(seed), students.groups["race_ethnicity"]
    rate = 0.07 * np.exp(-0.4 * students.features["grade_average"] + rng.normal(0, 0.3, 6000)).clip(
        0, 4
    )
    absent = rng.binomial(100, rate.clip(0, 0.9))
    absent = np.where(race == thinned, rng.binomial(absent, 0.7), absent)
    chance = (0.10 - 0.04 * students.features["grade_average"]).clip(0.01, 0.4) + 0.12 * (
        race == disciplined
    )
    incidents = (rng.random(6000) < chance).astype(float)
    schools = pd.Series(rng.integers(0, 60, 6000).astype(str), students.groups.index)
    features = students.features.assign(
        absent_days_year=absent.astype(float), days_enrolled_year=100.0, incidents_year=incidents
    )
    return replace(students, features=features, cohorts=schools)


def failed_groups(rows: MeasureTable, policy: Policy = RECORDS) -> dict[str, set[str]]:
    groups_by_check: dict[str, set[str]] = {}
    for answer in assign_verdicts(compare_groups(*in_order(rows)), policy):
        groups_by_check.setdefault(answer.comparison.check, set())
        if answer.verdict is Verdict.FAIL:
            groups_by_check[answer.comparison.check].add(answer.comparison.value)
    return groups_by_check


def recorded(students: AuditPopulation) -> MeasureTable:
    return MeasureTable(tuple(record_measures(students)), students.groups, students.cohorts)


def test_where_records_are_kept_alike_no_group_is_asked_about():
    assert failed_groups(recorded(on_record(1))) == {
        "attendance_record": set(),
        "discipline_record": set(),
    }


def test_absences_of_one_group_that_are_not_written_down_are_found_and_of_no_other():
    students = on_record(2, thinned="black")
    assert failed_groups(recorded(students)) == {
        "attendance_record": {"black"},
        "discipline_record": set(),
    }
    ratio = next(
        figure
        for figure in compare_groups(*in_order(recorded(students)))
        if figure.value == "black"
    )
    assert ratio.gap == pytest.approx(0.7, abs=0.05)


def test_incidents_of_one_group_that_are_written_down_more_often_are_found_and_of_no_other():
    groups_by_check = failed_groups(recorded(on_record(3, disciplined="hispanic")))
    assert groups_by_check == {"attendance_record": set(), "discipline_record": {"hispanic"}}


def test_a_group_with_other_marks_is_not_asked_about_for_absences_that_follow_them():
    students = on_record(4)
    worse = students.groups["special_education"] == "yes"
    rng = np.random.default_rng(4)
    marks = students.features["grade_average"] - 1.0 * worse
    absent = rng.binomial(100, (0.07 * np.exp(-0.4 * marks)).clip(0, 0.9)).astype(float)
    students = replace(
        students, features=students.features.assign(grade_average=marks, absent_days_year=absent)
    )
    plain = pd.Series(absent).groupby(worse.to_numpy()).mean()
    assert plain[False] < 0.75 * plain[True], (
        "not compared within their marks, the others would seem to be missing"
    )
    assert "no" not in failed_groups(recorded(students))["attendance_record"]


def test_records_are_compared_within_tenths_of_what_the_others_foretell():
    students = on_record(5)
    attendance, discipline = record_measures(students)
    assert np.array_equal(attendance.numerator, students.features["absent_days_year"])
    assert set(attendance.denominator) == {100.0} and set(discipline.denominator) == {1.0}
    assert np.bincount(attendance.stratum).tolist() == [600] * 10
    means = [attendance.numerator[attendance.stratum == tenth].mean() for tenth in range(10)]
    assert means[9] > 2 * means[0] and np.corrcoef(means, range(10))[0, 1] > 0.8
    other = record_measures(
        replace(students, features=students.features.assign(absence_rate_60=0.0, incidents_60=9.0))
    )
    assert np.array_equal(other[0].stratum, attendance.stratum), (
        "attendance and discipline do not foretell attendance"
    )


def test_nothing_is_foretold_of_few_students_or_of_what_nobody_has():
    students = on_record(6)
    few = students.groups.index[:499]
    assert (
        record_measures(
            replace(
                students,
                features=students.features.loc[few],
                groups=students.groups.loc[few],
                cohorts=students.cohorts.loc[few],
            )
        )
        == []
    )
    nobody = students.features.assign(incidents_year=0.0, absent_days_year=0.0)
    assert record_measures(replace(students, features=nobody)) == []
    unknown = students.features["absent_days_year"].where(np.arange(6000) % 3 > 0)
    attendance, _ = record_measures(
        replace(students, features=students.features.assign(absent_days_year=unknown))
    )
    assert attendance.denominator[::3].sum() == 0 and (attendance.denominator > 0).sum() == 4000


PROGRAMS = pd.DataFrame(
    {"support": ["tutoring", "mentoring"], "min_grade": [-1.0, 6.0], "max_grade": [12.0, 12.0]}
)


@cache
def past(unfair: str = "") -> tuple[Episodes, AuditPopulation]:
    """Two decision days of three thousand students, whose absences alone raise alerts."""
    students, rng = synthetic_district(3000, 7, policy=RECORDS).students, np.random.default_rng(7)
    number = 6000
    student = pd.Series(np.tile(students.groups.index.to_numpy(), 2))
    rate = rng.choice([0.05, 0.15, 0.25], number)
    features = pd.DataFrame(math.nan, index=range(number), columns=feature_names())
    features = features.assign(
        absence_rate_year=rate,
        absent_days_year=80 * rate,
        days_enrolled_year=80.0,
        grade_level=np.tile(students.features["grade_level"].to_numpy(), 2),
    )
    race = students.groups["race_ethnicity"].loc[student].to_numpy()
    chance = np.select([rate > 0.2, rate > 0.1], [0.4, 0.25], 0.1) * np.where(
        race == unfair, 0.5, 1.0
    )
    support = pd.Series(np.where(rng.random(number) < chance, "tutoring", NONE))
    day = pd.Series(np.repeat([date(2025, 11, 3), date(2026, 1, 12)], 3000))
    return Episodes(features, student, day, support, pd.Series(np.zeros(number))), students


def test_a_group_that_got_a_support_half_as_often_at_equal_need_is_found_and_no_other():
    episodes, students = past("black")
    measured = past_support_measures(episodes, PROGRAMS, students, ("tutoring",), RECORDS)
    assert failed_groups(measured) == {"past_support": {"black"}}
    gap = next(
        figure for figure in compare_groups(*in_order(measured)) if figure.value == "black"
    ).gap
    assert gap == pytest.approx(0.5, abs=0.08)
    assert failed_groups(
        past_support_measures(*past()[:1], PROGRAMS, past()[1], ("tutoring",), RECORDS)
    ) == {"past_support": set()}


def test_past_supports_are_asked_of_those_in_need_to_whom_they_were_open():
    episodes, students = past()
    gone = episodes.student.iloc[5]
    here = students.groups.index != gone
    fewer = replace(students, groups=students.groups[here], cohorts=students.cohorts[here])
    measured = past_support_measures(episodes, PROGRAMS, fewer, ("mentoring", "tutoring"), RECORDS)
    remaining = sorted({student for student in episodes.student if student != gone})
    assert len(remaining) == 2999 == len(measured.groups)
    features, rows = episodes.features, {student: [] for student in remaining}
    for row, student in enumerate(episodes.student):
        if student != gone:
            rows[student].append(row)
    for support_measure in measured.measures:
        assert support_measure.check == "past_support"
        lowest = 6 if support_measure.item == "mentoring" else -1
        days = [
            [
                row
                for row in rows[student]
                if features["absence_rate_year"][row] >= 0.1
                and features["grade_level"][row] >= lowest
            ]
            for student in remaining
        ]
        got = [any(episodes.support[row] == support_measure.item for row in own) for own in days]
        assert np.array_equal(
            support_measure.denominator, np.array([len(own) > 0 for own in days], dtype=float)
        )
        assert np.array_equal(support_measure.numerator, np.array(got, dtype=float))
        worst = [
            max((features["absence_rate_year"][row] for row in own), default=0.0) for own in days
        ]
        pairs = {
            (stratum, min(len(own), 3), rate >= 0.2)
            for stratum, own, rate in zip(support_measure.stratum, days, worst, strict=True)
            if own
        }
        assert len(pairs) == len({stratum for stratum, _, _ in pairs}), (
            "same need and as many days, same stratum"
        )
    assert list(measured.cohorts) == [students.cohorts[student] for student in remaining]
    assert list(measured.groups["sex"]) == [
        students.groups["sex"][student] for student in remaining
    ]


def test_what_came_true_is_the_pseudo_outcome_of_the_best_support_less_what_was_expected():
    rng, ranker = np.random.default_rng(9), train_model("tutoring").ranker
    students = synthetic_district(200, 9).students
    features = pd.DataFrame(rng.normal(0, 1, (300, len(feature_names()))), columns=feature_names())
    student = pd.Series([*students.groups.index, *(f"gone {n}" for n in range(100))])
    episodes = Episodes(
        features,
        student,
        pd.Series([TODAY] * 300),
        pd.Series([NONE] * 300),
        pd.Series(np.zeros(300)),
    )
    benefit = rng.normal(4, 2, (300, 2))
    some = np.full((300, 3), 1 / 3)
    judged = EvaluationSet(
        episodes, ("mentoring", "tutoring"), np.zeros(300, dtype=np.intp), some, some, benefit
    )
    rows = calibration_measures(judged, ranker, students)
    (calibration,) = rows.measures
    expected = ranker.predict_benefit(features)["tutoring", "benefit"].to_numpy()
    assert calibration.check == "calibration" and calibration.numerator == pytest.approx(
        (benefit[:, 1] - expected)[:200], rel=1e-12
    )
    assert calibration.denominator.tolist() == [1.0] * 200
    assert rows.groups.equals(students.groups)


INPUTS = ["grade_average", "absence_rate_year", "services_active"]
TRACE = "services_active"


def twins_of(audited_district: District, inputs: list[str]) -> list[ComparisonVerdict]:
    figures = [
        figure
        for rows in matched_pair_measures(
            audited_district.students, audited_district.advice, inputs, RECORDS
        )
        for figure in compare_groups(*in_order(rows))
    ]
    return assign_verdicts(figures, RECORDS)


def ruled(rule: str) -> District:
    """A rule by marks alone, or also by a family fact that nearly tells who is of a group."""
    synthetic = synthetic_district(
        3000, 10, served=0.1, policy=RECORDS, races={"white": 0.5, "hispanic": 0.3, "black": 0.2}
    )
    rng = np.random.default_rng(10)
    black = (synthetic.students.groups["race_ethnicity"] == "black").to_numpy()
    trace = np.where(rng.random(3000) < 0.95, black, ~black).astype(float)
    features = synthetic.students.features.assign(**{TRACE: trace})
    students = replace(
        synthetic.students, features=features, eligible=synthetic.students.eligible | True
    )
    suggested = features["grade_average"].to_numpy() < 0.3
    if rule == "proxy":
        suggested = suggested & (trace < 0.5)
    return replace(
        synthetic,
        students=students,
        advice=advice_from(students, suggested, synthetic.advice.benefit),
    )


def test_a_rule_that_favors_others_through_a_proxy_is_seen_and_one_that_does_not_is_not():
    unfair, fair = (
        {answer.comparison.value: answer for answer in twins_of(ruled(rule), feature_names())}
        for rule in ("proxy", "marks")
    )
    assert unfair["black"].verdict is Verdict.FAIL and unfair["black"].comparison.gap > 0.3
    assert fair["black"].verdict is not Verdict.FAIL and abs(fair["black"].comparison.gap) < 0.05
    assert {value for value, answer in unfair.items() if answer.comparison.gap > 0.15} == {"black"}


def test_where_a_rule_reads_marks_alone_twins_seldom_raise_an_alarm():
    alarms = 0
    for seed in range(12):
        synthetic = synthetic_district(
            3000, seed, policy=RECORDS, races={"white": 0.5, "hispanic": 0.3, "black": 0.2}
        )
        students = replace(synthetic.students, eligible=synthetic.students.eligible | True)
        suggested = (students.features["grade_average"] < 0.7).to_numpy()
        fair = replace(
            synthetic,
            students=students,
            advice=advice_from(students, suggested, synthetic.advice.benefit),
        )
        alarms += any(answer.verdict is Verdict.FAIL for answer in twins_of(fair, feature_names()))
    assert alarms <= 2


def test_where_only_the_group_itself_is_near_a_twin_is_not_found_and_that_is_no_pass():
    judged = {answer.comparison.value: answer for answer in twins_of(ruled("proxy"), INPUTS)}
    assert judged["black"].verdict is not Verdict.FAIL
    synthetic = ruled("proxy")
    black = (synthetic.students.groups["race_ethnicity"] == "black").to_numpy()
    copied = replace(
        synthetic.students,
        features=synthetic.students.features.assign(**{TRACE: black.astype(float)}),
    )
    alone = {
        answer.comparison.value: answer
        for answer in twins_of(replace(synthetic, students=copied), INPUTS)
    }
    assert (
        alone["black"].comparison.rows < RECORDS.fewest_in_need
        and alone["black"].verdict is Verdict.CANNOT_TELL
    )


def test_a_twin_is_the_nearest_student_outside_the_group_as_another_search_finds():
    synthetic = ruled("proxy")
    students, need = (
        synthetic.students,
        (synthetic.students.alert_severity.max(axis=1) >= 2).to_numpy()
        & ~synthetic.students.in_support,
    )
    groups = students.groups[need].reset_index(drop=True)
    points = students.features.loc[need, INPUTS]
    points = ((points - points.median()) / points.std(ddof=0)).to_numpy()
    suggested = synthetic.advice.suggested_supports.any(axis=1).to_numpy()[need]
    rows = next(
        rows
        for rows in matched_pair_measures(students, synthetic.advice, INPUTS, RECORDS)
        if "race_ethnicity" in rows.groups
    )
    distances, amounts = np.empty(len(groups)), np.empty(len(groups))
    for value in groups["race_ethnicity"].unique():
        own = (groups["race_ethnicity"] == value).to_numpy()
        far, near = (
            NearestNeighbors(n_neighbors=1, algorithm="brute")
            .fit(points[~own])
            .kneighbors(points[own])
        )
        _, inside = NearestNeighbors(n_neighbors=1, algorithm="brute").fit(points[own]).kneighbors()
        distances[own] = far[:, 0]
        amounts[own] = suggested[~own][near[:, 0]].astype(float) - suggested[own][inside[:, 0]]
    paired = distances <= 2 * np.median(distances)
    (twins,) = rows.measures
    assert np.array_equal(twins.denominator, paired.astype(float))
    assert np.array_equal(twins.numerator, np.where(paired, amounts, 0.0))
    assert set(twins.numerator) == {-1.0, 0.0, 1.0}


def test_who_is_served_or_of_an_unknown_group_has_no_twin_and_is_none():
    synthetic = ruled("marks")
    groups = synthetic.students.groups.copy()
    groups.iloc[:1500, groups.columns.get_loc("race_ethnicity")] = NOT_RECORDED
    rows = next(
        rows
        for rows in matched_pair_measures(
            replace(synthetic.students, groups=groups), synthetic.advice, INPUTS, RECORDS
        )
        if "race_ethnicity" in rows.groups
    )
    unknown = (rows.groups["race_ethnicity"] == NOT_RECORDED).to_numpy()
    assert unknown.any() and rows.measures[0].denominator[unknown].sum() == 0
    assert (
        len(rows.groups)
        == (synthetic.students.in_need(RECORDS) & ~synthetic.students.in_support).sum()
    )
    alone = replace(synthetic.students, groups=groups.assign(race_ethnicity="white"))
    tables = [
        rows
        for rows in matched_pair_measures(alone, synthetic.advice, INPUTS, RECORDS)
        if "race_ethnicity" in rows.groups
    ]
    assert tables[0].measures[0].denominator.sum() == 0


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 10_000), st.integers(2, 60), st.integers(1, 40), st.booleans())
def test_the_area_under_the_curve_is_scikit_learns_with_ties_and_weights(
    seed, rows, levels, weighted
):
    rng = np.random.default_rng(seed)
    score, is_member = (
        rng.integers(0, levels, rows) / levels,
        np.r_[True, False, rng.random(rows - 2) < 0.4],
    )
    weights = rng.integers(0, 4, (3, rows)).astype(float) + 0.25 if weighted else np.ones((3, rows))
    expected = [roc_auc_score(is_member, score, sample_weight=weight) for weight in weights]
    assert auc(score, is_member, weights) == pytest.approx(expected, abs=1e-12)


def test_without_one_side_there_is_no_area():
    assert math.isnan(auc(np.array([0.1, 0.2]), np.array([True, True]), np.ones((1, 2)))[0])
    assert math.isnan(auc(np.array([0.1, 0.2]), np.array([True, False]), np.array([[1.0, 0.0]]))[0])


def test_an_input_that_copies_a_group_is_a_trace_and_noise_is_none():
    policy = replace(
        POLICY,
        groups=("sex", "race_ethnicity", "grade_band", "school"),
        intersections=(("race_ethnicity", "sex"),),
    )
    students = synthetic_district(2000, 11, policy=policy).students
    copied = students.features.assign(
        assessment_last=(students.groups["sex"] == "male") + 0.01 * np.arange(2000) % 0.1
    )
    proxies = proxy_strengths(replace(students, features=copied), feature_names(), 30, 0.95)
    by_name = {(proxy.attribute, proxy.family): proxy for proxy in proxies}
    assert {proxy.attribute for proxy in proxies} == {"sex", "race_ethnicity"}, (
        "the grade is an input; schools have grades"
    )
    assert {proxy.family for proxy in proxies} == {
        FEATURES_BY_NAME[name].family for name in feature_names()
    } | {ALL_FAMILIES}
    assert by_name["sex", "assessments"].auc >= 0.99 and by_name["sex", ALL_FAMILIES].auc >= 0.95
    noise = [
        proxy
        for key, proxy in by_name.items()
        if key[0] == "race_ethnicity" or key[1] not in ("assessments", ALL_FAMILIES)
    ]
    assert all(abs(proxy.auc - 0.5) <= 0.06 for proxy in noise)
    assert all(0 <= proxy.lower <= proxy.auc <= proxy.upper <= 1 for proxy in proxies)
    assert proxy_strengths(replace(students, features=copied), feature_names(), 30, 0.95) == proxies


def test_groups_too_small_to_be_judged_leave_no_trace():
    students = synthetic_district(2000, 11).students
    groups = students.groups[["sex"]].assign(sex=["another"] * 20 + ["male"] * 1980)
    assert proxy_strengths(replace(students, groups=groups), ["grade_average"], 30, 0.95) == []
    unknown = students.groups[["sex"]].assign(sex=NOT_RECORDED)
    assert proxy_strengths(replace(students, groups=unknown), ["grade_average"], 30, 0.95) == []


def test_severity_is_that_of_the_worst_alert_of_a_family():
    frame = pd.DataFrame(math.nan, index=["a", "b"], columns=feature_names())
    frame.loc[
        "a", ["absence_rate_year", "absent_days_year", "days_enrolled_year", "current_run"]
    ] = [0.15, 12, 80, 2]
    frame.loc["b", ["courses_below_60", "courses_below_70"]] = [2, 3]
    assert alert_severities(frame, AlertRules.declared()).to_dict("index") == {
        "a": {"attendance": 2, "grades": 0},
        "b": {"attendance": 0, "grades": 3},
    }


OWN_RULES = """
[many_unexcused]
severity = 3
features = ["unexcused_days_year"]
when.unexcused_days_year.at_least = 15
headline = "{unexcused_days_year} unexcused"
source = "The district"

[out_of_class]
severity = 2
features = ["incidents_year"]
when.incidents_year.at_least = 1
headline = "An incident"
source = "The district"
"""


def own_rules(folder: Path) -> AlertRules:
    file = folder / "alerts.toml"
    file.write_text(OWN_RULES)
    return AlertRules.read(file)


def test_a_districts_own_rules_say_who_is_in_need_of_whatever_kind(tmp_path: Path):
    district = rows() | {
        "behavior_incidents": [
            {"student_id": "in_first_grade", "incident_id": "i", "date": BEGAN[60]}
        ]
    }
    snapshot = snapshot_of(district, tmp_path / "home")
    audited = audit_population(snapshot, TODAY, POLICY, ("tutoring",), own_rules(tmp_path))
    unexcused = {
        name for name, story in stories().items() if len(list(story.get("absent", ()))) >= 15
    } - {"moved_away"}
    severities = audited.alert_severity.to_dict("index")
    assert {name for name, row in severities.items() if row["attendance"] == 3} == unexcused
    assert {name for name, row in severities.items() if row["behavior"] == 2} == {"in_first_grade"}
    assert set(audited.groups.index[audited.in_need(POLICY)]) == unexcused | {"in_first_grade"}
    assert "unexcused_days_year" not in audited.features, "no model reads it"


def test_episodes_get_what_a_districts_rules_read_as_of_their_own_day(tmp_path: Path):
    snapshot = snapshot_of(rows(), tmp_path / "home")
    student = "last_five_days"
    day = pd.Series([BEGAN[-1], BEGAN[-4]])
    empty = pd.DataFrame(math.nan, index=range(2), columns=feature_names())
    episodes = Episodes(
        empty, pd.Series([student] * 2), day, pd.Series([NONE] * 2), pd.Series(np.zeros(2))
    )
    read = with_rule_features(snapshot, episodes, own_rules(tmp_path)).features
    assert read["unexcused_days_year"].tolist() == [5, 2]
    assert list(read.columns) == [*feature_names(), "unexcused_days_year", "incidents_year"]
    assert with_rule_features(snapshot, episodes, AlertRules.declared()) is episodes
