"""The audit: figures equal to a count by hand, verdicts that say "cannot tell", and no small cell shown anywhere."""

from __future__ import annotations

import json
import math
import re
from dataclasses import asdict, replace
from datetime import date, datetime
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fairness.audit import (
    CROSS,
    NOT_RECORDED,
    Audit,
    AuditError,
    Group,
    figures,
    heat,
    published,
    verdict_of,
)
from fairness.gate import GROUPS, Interval, Policy, PolicyError, Verdict, judge_difference, judge_ratio, overall
from fairness.intervals import difference, ratio
from fairness.report import read_audit, write_report
from fairness.small_cells import about, hidden_cells

DECLARED = Policy.declared()
POLICY = replace(DECLARED, reported={})
"""The declared thresholds with every group counted, whatever a district only reports."""
RACES = ("white", "hispanic", "black", "asian", "american_indian")


def district(students: int, seed: int, rates: dict[str, float], *, need: float = 0.5) -> pd.DataFrame:
    """Made-up students: `rates` gives the suggestion rate by race, the rest of the groups do not matter."""
    rng = np.random.default_rng(seed)
    frame = pd.DataFrame(index=pd.Index([f"s{n}" for n in range(students)], name="student_id"))
    frame["race_ethnicity"] = rng.choice(RACES, students, p=(0.4, 0.3, 0.2, 0.095, 0.005))
    frame["sex"] = rng.choice(["female", "male"], students)
    for name in ("english_learner", "special_education", "unstable_housing", "meal_eligible"):
        frame[name] = rng.choice(["yes", "no"], students)
    frame["grade_band"] = rng.choice(["pre_k_2", "3_5", "6_8", "9_12"], students)
    frame["race_ethnicity" + CROSS + "sex"] = frame["race_ethnicity"] + CROSS + frame["sex"]
    frame["in_need"] = rng.random(students) < need
    frame["suggested"] = rng.random(students) < frame["race_ethnicity"].map(rates).fillna(0.6)
    frame["benefit"] = np.where(frame["suggested"], rng.normal(3, 1, students), np.nan)
    return frame


def supports_of(frame: pd.DataFrame) -> pd.DataFrame:
    return pd.DataFrame({"tutoring": frame["suggested"], "food": frame["suggested"] & (frame["sex"] == "female")})


def groups_of(frame: pd.DataFrame, policy: Policy = POLICY) -> tuple[Group, ...]:
    return published(figures(frame, policy), heat(frame, supports_of(frame), policy), policy)


def audit_of(frame: pd.DataFrame) -> Audit:
    groups = groups_of(frame)
    content = json.loads(json.dumps(asdict(POLICY)))
    return Audit(1, "a" * 64, "snap", date(2026, 4, 17), datetime(2026, 4, 17, 9), POLICY.sha256, content, 60,
                 verdict_of(groups), about(len(frame)), about(int(frame["in_need"].sum())), 0.5, groups)  # fmt: skip


def the(groups: tuple[Group, ...], attribute: str, value: str) -> Group:
    return next(group for group in groups if (group.attribute, group.value) == (attribute, value))


def test_every_figure_equals_a_count_by_hand():
    frame = district(3000, 1, {"black": 0.4})
    found = figures(frame, POLICY)
    assert set(found["attribute"]) == {*GROUPS, "race_ethnicity" + CROSS + "sex"}
    for row in found.itertuples():
        mine = frame[row.attribute] == row.value
        need, others = frame[mine & frame["in_need"]], frame[~mine & frame["in_need"]]
        assert (row.students, row.in_need, row.others_in_need) == (mine.sum(), len(need), len(others))
        assert (row.suggested, row.others_suggested) == (need["suggested"].sum(), others["suggested"].sum())
        assert row.silent == (~frame.loc[mine, "suggested"]).sum()
        assert row.suggestion_rate == pytest.approx(need["suggested"].mean(), nan_ok=True)
        assert row.missed_rate == pytest.approx(1 - need["suggested"].mean(), nan_ok=True)
        assert row.mean_benefit == pytest.approx(need.loc[need["suggested"], "benefit"].mean(), nan_ok=True)
        share, other_share = need["suggested"].mean(), others["suggested"].mean()
        assert row.ratio.point == pytest.approx(share / other_share, nan_ok=True)
        assert row.difference.point == pytest.approx(other_share - share, nan_ok=True)


def test_an_unfair_district_fails_and_says_for_whom():  # R61
    groups = groups_of(district(4000, 2, {"black": 0.3}))
    assert verdict_of(groups) is Verdict.FAIL
    assert the(groups, "race_ethnicity", "black").verdict is Verdict.FAIL
    assert the(groups, "sex", "female").verdict is Verdict.PASS


@pytest.mark.parametrize("seed", range(12))
def test_a_fair_district_does_not_fail(seed):  # R61
    assert verdict_of(groups_of(district(3000, seed, {}))) is not Verdict.FAIL


def test_a_fair_district_without_a_tiny_group_passes():
    frame = district(20_000, 3, {})
    frame = frame[frame["race_ethnicity"] != "american_indian"]
    assert verdict_of(groups_of(frame)) is Verdict.PASS


def test_a_tiny_group_cannot_be_told_and_keeps_the_model_from_a_silent_pass():  # R61
    groups = groups_of(district(6000, 4, {"american_indian": 0.0}))
    tiny = the(groups, "race_ethnicity", "american_indian")
    assert (tiny.verdict, tiny.why) == (Verdict.CANNOT_TELL, "too_few")
    assert verdict_of(groups) is Verdict.CANNOT_TELL


def test_a_characteristic_that_nobody_recorded_cannot_be_told():
    frame = district(20_000, 5, {})
    frame = frame[frame["race_ethnicity"] != "american_indian"].assign(unstable_housing=NOT_RECORDED)
    groups = groups_of(frame)
    assert the(groups, "unstable_housing", NOT_RECORDED).why == "nothing_recorded"
    assert verdict_of(groups) is Verdict.CANNOT_TELL


def test_a_group_that_the_policy_only_reports_does_not_count_but_its_failing_leads_the_report(tmp_path: Path):
    frame = district(4000, 6, {})
    young = frame["grade_band"] == "pre_k_2"
    frame.loc[young, "suggested"] &= np.random.default_rng(0).random(young.sum()) < 0.4
    assert verdict_of(groups_of(frame)) is Verdict.FAIL
    policy = replace(POLICY, reported={"grade_band": "No partner serves the youngest: a gap in programs"})
    groups = groups_of(frame, policy)
    assert verdict_of(groups) is not Verdict.FAIL
    young_group = the(groups, "grade_band", "pre_k_2")
    assert not young_group.judged and young_group.verdict is Verdict.FAIL and young_group.ratio.point is not None
    words = json.loads(json.dumps(asdict(policy)))
    audit = replace(audit_of(frame), groups=groups, verdict=verdict_of(groups), policy=words)
    lead = write_report(audit, tmp_path).read_text().split("<h2>")[0]
    assert "Not counted, but beyond" in lead and "Pre-kindergarten to grade 2" in lead


def test_where_nobody_is_suggested_anything_nothing_passes():
    frame = district(4000, 7, {}).assign(suggested=False, benefit=math.nan)
    assert verdict_of(groups_of(frame)) is Verdict.CANNOT_TELL


@pytest.mark.parametrize(("figure", "expected"), [
    (Interval(1.0, 0.9, 1.1), Verdict.PASS), (Interval(0.85, 0.81, 0.9), Verdict.PASS),
    (Interval(0.7, 0.6, 0.75), Verdict.FAIL), (Interval(0.75, 0.6, 0.9), Verdict.FAIL),
    (Interval(0.75, 0.5, 1.1), Verdict.CANNOT_TELL), (Interval(0.95, 0.7, 1.2), Verdict.CANNOT_TELL),
    (Interval(math.nan, math.nan, math.nan), Verdict.CANNOT_TELL),
])  # fmt: skip
def test_a_ratio_fails_beyond_the_threshold_only_where_chance_does_not_explain_it(figure, expected):
    assert judge_ratio(figure, POLICY) is expected


@pytest.mark.parametrize(("figure", "expected"), [
    (Interval(0.0, -0.05, 0.05), Verdict.PASS), (Interval(0.2, 0.12, 0.3), Verdict.FAIL),
    (Interval(0.12, 0.02, 0.2), Verdict.FAIL), (Interval(0.12, -0.02, 0.3), Verdict.CANNOT_TELL),
    (Interval(0.05, -0.1, 0.2), Verdict.CANNOT_TELL),
])  # fmt: skip
def test_a_missed_need_is_judged_alike(figure, expected):
    assert judge_difference(figure, POLICY) is expected


def test_an_intersection_can_fail_a_model_and_its_doubt_does_not_hold_it_up():
    passed, failed, unsure = Verdict.PASS, Verdict.FAIL, Verdict.CANNOT_TELL
    assert overall([passed], [unsure]) is passed
    assert overall([passed], [failed]) is failed
    assert overall([unsure, passed], [passed]) is unsure
    assert overall([], []) is unsure


def test_intervals_hold_the_true_figure_about_as_often_as_they_say():
    rng, z, of, others, runs = np.random.default_rng(0), 1.96, 40, 500, 4000
    count, other = rng.binomial(of, 0.3, runs), rng.binomial(others, 0.5, runs)
    pairs = [(int(a), int(b)) for a, b in zip(count, other, strict=True)]
    ratios = [ratio(a, of, b, others, z) for a, b in pairs]
    differences = [difference(a, of, b, others, z) for a, b in pairs]
    assert 0.935 < np.mean([r.lower <= 0.6 <= r.upper for r in ratios]) < 0.975
    assert 0.935 < np.mean([d.lower <= -0.2 <= d.upper for d in differences]) < 0.975


@given(st.integers(0, 60), st.integers(1, 60), st.integers(0, 400), st.integers(1, 400), st.floats(0.5, 4))
def test_an_interval_holds_its_own_figure_and_has_width(count, of, other, others, z):
    count, other = min(count, of), min(other, others)
    gap = difference(count, of, other, others, z)
    assert gap.lower <= gap.point <= gap.upper and gap.upper > gap.lower
    times = ratio(count, of, other, others, z)
    if count or other:
        assert times.lower <= times.point + 1e-9 and times.point <= times.upper + 1e-9
        assert times.upper > times.lower or math.isinf(times.lower)


@given(st.dictionaries(st.integers(), st.tuples(st.integers(0, 40)), min_size=1, max_size=8))
def test_a_hidden_cell_does_not_follow_from_the_total_and_what_is_shown(counts):  # R60
    hidden = hidden_cells(counts, 10)
    assert all(counts[cell][0] >= 10 for cell in counts.keys() - hidden)
    if hidden and hidden != set(counts):
        shown = len(counts) - len(hidden)
        assert (len(hidden) >= 2 and sum(counts[c][0] for c in hidden) >= 10) or 5 * (shown + 1) >= 20


@settings(max_examples=12, deadline=None)
@given(st.integers(0, 10_000), st.integers(60, 1500), st.floats(0.05, 0.95), st.floats(0.02, 0.98))
def test_no_figure_of_fewer_than_ten_students_is_shown(seed, students, need, rate):  # R60
    frame = district(students, seed, dict.fromkeys(RACES, rate), need=need)
    supports = supports_of(frame)
    for group in groups_of(frame):
        mine = frame[frame[group.attribute] == group.value]
        in_need = mine[mine["in_need"]]
        some, rest = in_need["suggested"].sum(), (~in_need["suggested"]).sum()
        assert group.students is None or len(mine) >= 10
        assert group.in_need is None or len(in_need) >= 10
        shown = (group.suggestion_rate, group.others_rate, group.ratio.point, group.ratio.lower, group.mean_benefit,
                 group.missed_difference.point, group.missed_difference.upper)  # fmt: skip
        assert set(shown) == {None} or min(some, rest) >= 10
        silent = (~mine["suggested"]).sum()
        assert group.silence_rate is None or min(silent, len(mine) - silent) >= 10
        for name, share in group.supports.items():
            given_to = supports.loc[in_need.index, name].sum()
            assert share is None or min(given_to, len(in_need) - given_to) >= 10
        for number in (group.students, group.in_need):
            assert number is None or number % 10 == 0


def test_written_files_hold_no_student_and_no_small_number_and_fetch_nothing(tmp_path: Path):  # R25, R60
    frame = district(900, 8, {"black": 0.3})
    frame.index = [f"CANARY-{n}" for n in range(len(frame))]
    audit = audit_of(frame)
    write_report(audit, tmp_path)
    files = {file.name: file.read_text() for file in (tmp_path / "audits" / "v1").iterdir()}
    assert set(files) == {"audit.json", "chart.svg", "report.html"}
    for text in files.values():
        assert "CANARY" not in text
    assert not re.search(r"https?:|src=|@import|<script|<link", files["report.html"])
    for cell in re.findall(r"</td><td>([\d,]+)</td>", files["report.html"].split("The policy</h2>")[0]):
        assert int(cell.replace(",", "")) >= 10
    for group in json.loads(files["audit.json"])["groups"]:
        assert all(group[name] is None or group[name] >= 10 for name in ("students", "in_need"))


def test_the_report_says_the_verdict_and_that_nobody_signed_and_escapes_what_it_prints(tmp_path: Path):
    audit = replace(audit_of(district(4000, 2, {"black": 0.3})), snapshot_id="<script>alert(1)</script>")
    html = write_report(audit, tmp_path).read_text()
    assert "Failed" in html and "Black or African American students" in html and "Not signed yet" in html
    assert "<svg" in html and "<script>" not in html and "&lt;script&gt;" in html


def test_an_audit_reads_back_as_it_was_and_a_changed_verdict_is_refused(tmp_path: Path):
    audit = audit_of(district(4000, 2, {"black": 0.3}))
    write_report(audit, tmp_path)
    assert read_audit(tmp_path, 1) == audit
    assert read_audit(tmp_path, 2) is None
    file = tmp_path / "audits" / "v1" / "audit.json"
    changed = json.loads(file.read_text()) | {"verdict": "pass"}
    file.write_text(json.dumps(changed))
    with pytest.raises(AuditError, match="its groups say fail"):
        read_audit(tmp_path, 1)
    file.write_text("{")
    with pytest.raises(AuditError):
        read_audit(tmp_path, 1)


def test_every_threshold_of_the_policy_names_its_source_and_a_weak_policy_is_refused(tmp_path: Path):
    found = DECLARED
    assert (found.least_suggestion_ratio, found.most_missed_difference, found.smallest_cell) == (0.80, 0.10, 10)
    assert set(found.groups) == set(GROUPS) and set(found.reported) <= {"grade_band"}
    assert set(found.sources) == set(found.says) and all(found.sources.values())
    text = (Path(__file__).parents[2] / "fairness" / "policy.toml").read_text()
    for old, new in (("value = 10\n", "value = 3\n"), ("value = 0.80", "value = 0.1"),
                     ('"sex", "race', '"shoe", "race'), ("[reported]", '[reported]\nsex = "no"'),
                     ("valid_days]", "valid_weeks]"),
                     ("value = 180", "value = true"), ('source = "29 CFR', 'origin = "29 CFR'),
                     ("groups = [", "groups = [[")):  # fmt: skip
        assert old in text
        file = tmp_path / "policy.toml"
        file.write_text(text.replace(old, new, 1))
        with pytest.raises(PolicyError, match=r"policy\.toml"):
            Policy.declared(file)
