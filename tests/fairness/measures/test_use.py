"""What staff were shown and decided, by group: as a count by hand has it, and asked of pipelines
alone.
"""

from __future__ import annotations

from datetime import date, datetime
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from fairness.checks.policy import Policy
from fairness.gate.gate import Verdict, assign_verdicts
from fairness.measures.use import impression_measures, use_measures
from fairness.population.comparisons import compare_groups
from fairness.population.students import AuditPopulation
from records.access.scope import pipeline_scope
from records.database.engine import open_database
from records.decisions.decisions import (
    ACCEPTED,
    DISMISSED,
    Decision,
    decisions_for_model,
    record_decision,
)
from records.decisions.impressions import Impression, RankedSupport, log_impressions
from records.staff.viewer import DISTRICT, Grant, NotInScope, Role, Scope, Viewer
from tests.records.conftest import snapshot_of

POLICY = Policy.declared()
NOW, DAY = datetime(2026, 4, 17, 9), date(2026, 4, 17)
MODEL = "ab" * 32


def students(count: int, seed: int = 0) -> AuditPopulation:
    """Made-up students, half of them girls, half of them in need."""
    rng = np.random.default_rng(seed)
    index = pd.Index([f"s{number:04}" for number in range(count)], name="student_id")
    groups = pd.DataFrame({"sex": rng.choice(["female", "male"], count)}, index=index)
    severity = pd.DataFrame(
        {"attendance": np.where(rng.random(count) < 0.5, 2, 0), "grades": 0}, index=index
    )
    cohorts = pd.Series(rng.choice([f"c{number}" for number in range(40)], count), index=index)
    return AuditPopulation(
        DAY,
        pd.DataFrame(index=index),
        groups,
        cohorts,
        severity,
        pd.Series(np.nan, index=index),
        pd.DataFrame({"tutoring": True}, index=index),
        np.zeros(count, dtype=bool),
    )


def a_list(
    student: str, *supports: str, organization: str = "tutors", day: date = DAY
) -> Impression:
    listed = tuple(
        RankedSupport(name, rank, 1.0, 2.0, 1.0) for rank, name in enumerate(supports, start=1)
    )
    return Impression(student, organization, day, "snap", MODEL, listed)


def decided(student: str, action: str, organization: str = "tutors") -> Decision:
    return Decision(NOW, "u1", organization, student, "tutoring", action, "why", MODEL, 1, "{}")


def test_a_student_counts_once_with_the_newest_list_of_each_organization():
    people = students(400)
    need = pd.Series(people.in_need(POLICY), index=people.groups.index)
    names = list(people.groups.index[:300])
    lists = [a_list(name, *(["tutoring"] if place % 3 else [])) for place, name in enumerate(names)]
    lists += [
        a_list(names[0], "tutoring", organization="pantry"),
        a_list("left the district", "tutoring"),
    ]
    lists = [a_list(names[3], "tutoring", day=date(2026, 4, 1)), *lists]
    decisions = [
        decided(name, ACCEPTED if place % 2 else DISMISSED) for place, name in enumerate(names)
    ]
    decisions += [
        decided(names[1], DISMISSED),
        decided(names[2], ACCEPTED, organization="never showed it"),
    ]
    rows = impression_measures(lists, decisions, people, POLICY)
    assert rows is not None and len(rows.groups) == 300
    measures = {measure.check: measure for measure in rows.measures}
    full = {name: place % 3 > 0 or place == 0 for place, name in enumerate(names)}
    assert measures["shown"].denominator.sum() == sum(need[name] for name in names)
    assert measures["shown"].numerator.sum() == sum(need[name] and full[name] for name in names)
    accepted = {name for place, name in enumerate(names) if place % 2}
    dismissed = {name for place, name in enumerate(names) if not place % 2} | {names[1]}
    for check, some in (("accepted", accepted), ("dismissed", dismissed)):
        assert measures[check].denominator.sum() == sum(full.values())
        assert measures[check].numerator.sum() == sum(full[name] and name in some for name in names)
    assert list(rows.groups["sex"]) == [people.groups["sex"][name] for name in sorted(names)]


def test_a_group_whose_suggestions_staff_dismiss_more_often_is_found_and_others_are_not():
    people, rng = students(3000, 1), np.random.default_rng(2)
    girls = people.groups["sex"] == "female"
    lists = [a_list(name, "tutoring") for name in people.groups.index]
    decisions = [
        decided(name, DISMISSED if rng.random() < (0.35 if girls[name] else 0.2) else ACCEPTED)
        for name in people.groups.index
    ]
    rows = impression_measures(lists, decisions, people, POLICY)
    judged = {
        (answer.comparison.check, answer.comparison.value): answer.verdict
        for answer in assign_verdicts(
            compare_groups(rows.measures, rows.groups, rows.cohorts), POLICY
        )
    }
    assert (
        judged["dismissed", "female"] is Verdict.FAIL
        and judged["dismissed", "male"] is Verdict.PASS
    )
    assert judged["shown", "female"] is judged["shown", "male"] is Verdict.PASS


def test_without_a_list_that_anybody_was_shown_nothing_is_asked(tmp_path: Path):
    snapshot = snapshot_of(
        {"students": [{"student_id": "s0000", "first_name": "A"}]}, tmp_path / "home"
    )
    database = open_database(f"sqlite:///{tmp_path / 'handrail.db'}")
    assert use_measures(database, snapshot, students(1), MODEL, POLICY) is None
    log_impressions(database, [a_list("s0000", "tutoring")], NOW)
    assert use_measures(database, snapshot, students(1), MODEL, POLICY) is not None
    assert use_measures(database, snapshot, students(1), "cd" * 32, POLICY) is None


def test_decisions_of_all_organizations_are_read_by_a_pipeline_alone_and_without_reasons(
    tmp_path: Path,
):
    snapshot = snapshot_of(
        {"students": [{"student_id": name, "first_name": "A"} for name in ("s0", "s1")]},
        tmp_path / "home",
    )
    database = open_database(f"sqlite:///{tmp_path / 'handrail.db'}")
    for number, organization in enumerate(("tutors", "pantry")):
        grant = Grant(
            "a", "0" * 64, "school_official", "p", organization, frozenset(), ("tutoring",)
        )
        viewer = Viewer(f"u{number}", "login", "Name", Role.CASEWORKER, organization)
        scope = Scope(viewer, DAY, {f"s{number}": (grant,)}, b"secret")
        record_decision(
            database, scope, f"s{number}", "tutoring", DISMISSED, "a reason", MODEL, 1, {}, NOW
        )
        with pytest.raises(NotInScope):
            decisions_for_model(database, scope, MODEL)
    reviewer = Scope(Viewer("u9", "eve", "Eve", Role.EQUITY_REVIEWER, DISTRICT), DAY, {}, b"secret")
    with pytest.raises(NotInScope):
        decisions_for_model(database, reviewer, MODEL)
    decisions = decisions_for_model(database, pipeline_scope(snapshot, "audit", DAY), MODEL)
    assert [
        (decision.student_id, decision.organization_id, decision.reason) for decision in decisions
    ] == [
        ("s0", "tutors", ""),
        ("s1", "pantry", ""),
    ]
