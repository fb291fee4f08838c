"""What other alert rules would change, counted by hand, and no small number among it."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from fairness.publication.alert_changes import (
    DISTRICT,
    RULE,
    AlertChange,
    alert_changes,
    changed_rules,
)
from features.alerts import AlertRules
from features.catalog import feature_names

SMALLEST = 10


def rules(folder: Path, **limits: int) -> AlertRules:
    """Rules over the run of absences and the failed courses, each with its least number."""
    features = {"run": "current_run", "marks": "courses_below_60", "late": "tardies_60"}
    file = folder / f"{'-'.join(f'{name}{limit}' for name, limit in limits.items())}.toml"
    file.write_text(
        "".join(
            f"""
[{name}]
severity = 2
features = ["{features[name]}"]
when.{features[name]}.at_least = {limit}
headline = "Look"
source = "A source"
"""
            for name, limit in limits.items()
        )
    )
    return AlertRules.read(file)


def district(**counts: dict[tuple[int, int], int]) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Students by school: how many have each (run of absences, failed courses)."""
    known = [
        (school, run, marks)
        for school, kinds in counts.items()
        for (run, marks), number in kinds.items()
        for _ in range(number)
    ]
    index = pd.Index([f"s{place:04d}" for place in range(len(known))], name="student_id")
    features = pd.DataFrame(math.nan, index=index, columns=feature_names())
    features["current_run"] = [run for _, run, _ in known]
    features["courses_below_60"] = [marks for _, _, marks in known]
    features["tardies_60"] = 0.0
    groups = pd.DataFrame({"school": [school for school, *_ in known]}, index=index, dtype=object)
    return features.astype("float64"), groups


def row(changes: tuple[AlertChange, ...], attribute: str, value: str = "") -> AlertChange:
    return next(c for c in changes if (c.attribute, c.value) == (attribute, value))


def test_who_begins_and_ends_is_counted_by_school_and_rule(tmp_path: Path):
    features, groups = district(
        Adams={(0, 0): 200, (2, 0): 41, (3, 0): 33, (0, 1): 27, (2, 1): 12},
        Baker={(0, 0): 150, (2, 0): 58, (4, 0): 25, (0, 2): 44, (0, 1): 30},
    )
    before, after = rules(tmp_path, run=3, marks=1), rules(tmp_path, run=2, marks=2)
    changes = alert_changes(features, groups, before, after, SMALLEST)
    # Adams: 33 + 27 + 12 have one now; 41 get one; 27 lose theirs (12 keep one for the run).
    assert row(changes, "school", "Adams") == AlertChange("school", "Adams", 310, 70, 40, 30)
    assert row(changes, "school", "Baker") == AlertChange("school", "Baker", 310, 100, 60, 30)
    assert row(changes, DISTRICT) == AlertChange(DISTRICT, "", 620, 170, 100, 60)
    run, marks = row(changes, RULE, "run"), row(changes, RULE, "marks")
    assert (run.now, run.begin, run.end) == (60, 110, None), "nobody loses it: none is too few"
    assert (marks.now, marks.begin, marks.end) == (110, None, 70)


def test_a_small_number_follows_from_no_other(tmp_path: Path):
    features, groups = district(
        Adams={(0, 0): 200, (2, 0): 45, (3, 0): 40},
        Baker={(0, 0): 200, (2, 0): 4, (3, 0): 40},
    )
    before, after = rules(tmp_path, run=3), rules(tmp_path, run=2)
    changes = alert_changes(features, groups, before, after, SMALLEST)
    assert row(changes, "school", "Baker").begin is None
    shown = [
        row(changes, DISTRICT).begin,
        row(changes, "school", "Adams").begin,
        row(changes, RULE, "run").begin,
    ]
    assert None in shown, "of 49 less 45, each rounded, fewer than ten numbers would be left"
    assert row(changes, DISTRICT).now == 80


def test_a_rule_that_stays_as_it_is_is_said_to_stay(tmp_path: Path):
    features, groups = district(Adams={(0, 0): 100, (3, 0): 30, (2, 0): 30, (0, 1): 30})
    before, after = rules(tmp_path, run=3, marks=1), rules(tmp_path, marks=1, run=2)
    assert changed_rules(before, after) == {"run"}
    changes = alert_changes(features, groups, before, after, SMALLEST)
    marks = row(changes, RULE, "marks")
    assert marks.unchanged and (marks.now, marks.begin, marks.end) == (30, None, None)
    assert row(changes, RULE, "run") == AlertChange(RULE, "run", None, 30, 30, None)
    assert changed_rules(before, before) == set()
    assert changed_rules(before, rules(tmp_path, run=3)) == {"marks"}


@pytest.mark.parametrize("seed", range(4))
def test_any_district_can_be_published(seed: int, tmp_path: Path):
    rng = np.random.default_rng(seed)
    students = 400
    index = pd.Index([f"s{place:04d}" for place in range(students)], name="student_id")
    features = pd.DataFrame(math.nan, index=index, columns=feature_names()).assign(
        current_run=rng.integers(0, 5, students).astype(float),
        courses_below_60=rng.integers(0, 4, students).astype(float),
        tardies_60=rng.integers(0, 9, students).astype(float),
    )
    groups = pd.DataFrame(
        {
            "school": rng.choice(["A", "B", "C", "D"], students, p=[0.5, 0.3, 0.15, 0.05]),
            "sex": rng.choice(["female", "male", "x"], students, p=[0.5, 0.48, 0.02]),
            "band": rng.choice(["3_5", "6_8", "9_12"], students),
        },
        index=index,
    ).astype(object)
    before = rules(tmp_path, run=3, marks=2)
    after = rules(tmp_path, run=2, marks=3, late=7)
    changes = alert_changes(features, groups, before, after, SMALLEST)
    now = (features["current_run"] >= 3) | (features["courses_below_60"] >= 2)
    then = (
        (features["current_run"] >= 2)
        | (features["courses_below_60"] >= 3)
        | (features["tardies_60"] >= 7)
    )
    for change in changes:
        if change.attribute == RULE:
            continue
        here = (
            pd.Series(True, index=index)
            if change.attribute == DISTRICT
            else groups[change.attribute] == change.value
        )
        for number, flags in (
            (change.now, now),
            (change.begin, then & ~now),
            (change.end, now & ~then),
        ):
            true = int((here & flags).sum())
            assert number is None or (true >= SMALLEST and abs(number - true) <= 5)
    assert row(changes, DISTRICT).begin is not None
