"""Features: right by another way of counting, blind to the future, and missing where they may not
be seen.
"""

from __future__ import annotations

import tempfile
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from features.alerts import AlertRules, raise_alerts
from features.build import build_features
from features.catalog import CATALOG, FEATURES_BY_NAME, feature_names
from records.access.scope import pipeline_scope, scope_for
from records.access.scoped_records import ScopedRecords
from records.canonical.schema import ABSENT_STATUSES, TABLES, Category
from records.database.engine import open_database
from records.snapshots.snapshot import Snapshot
from records.staff.viewer import Role, Viewer
from tests.records.conftest import (
    SECRET,
    TODAY,
    add_agreement,
    add_organization,
    at_noon,
    snapshot_of,
)

DAYS = [day for n in range(230) if (day := date(2025, 9, 1) + timedelta(n)).weekday() < 5]
IDS = ["s1", "s2", "s3"]


@st.composite
def districts(draw: st.DrawFn) -> dict[str, list[dict[str, Any]]]:
    student, day = st.sampled_from(IDS), st.sampled_from(DAYS)
    statuses = st.sampled_from(["absent_excused", "absent_unexcused", "tardy"])
    absences = draw(st.dictionaries(st.tuples(student, day), statuses, max_size=80))
    marks = draw(
        st.dictionaries(
            st.tuples(student, st.sampled_from(["Math", "Art"]), st.integers(1, 4)),
            st.integers(40, 100),
            max_size=20,
        )
    )
    incidents = draw(st.lists(st.tuples(student, day), max_size=6))
    return {
        "schools": [{"school_id": "k1", "name": "K"}],
        "calendar": [{"school_id": "k1", "date": day, "school_year": 2026} for day in DAYS],
        "students": [
            {"student_id": s, "first_name": s, "school_id": "k1", "grade_level": 4} for s in IDS
        ],
        "attendance_events": [
            {"student_id": s, "school_id": "k1", "date": d, "status": status}
            for (s, d), status in absences.items()
        ],
        "course_grades": [
            {
                "student_id": s,
                "course": c,
                "school_year": 2026,
                "period": p,
                "grade": float(mark),
                "date": date(2025, 9, 1) + timedelta(56 * p),
            }
            for (s, c, p), mark in marks.items()
        ],
        "behavior_incidents": [
            {"student_id": s, "incident_id": f"i{n}", "date": d, "days_removed": 1.0}
            for n, (s, d) in enumerate(incidents)
        ],
        "service_enrollments": [
            {
                "student_id": s,
                "program_id": "p1",
                "organization_id": "tutors",
                "start_date": DAYS[0],
            }
            for s in IDS
        ],
    }


def of(rows: dict[str, list[dict[str, Any]]], as_of: date) -> pd.DataFrame:
    with tempfile.TemporaryDirectory() as folder:
        snapshot = snapshot_of(rows, Path(folder))
        return build_features(
            ScopedRecords(snapshot, pipeline_scope(snapshot, "features", as_of)), as_of
        )


@settings(max_examples=12, deadline=None, phases=[Phase.explicit, Phase.generate])
@given(rows=districts(), place=st.integers(5, len(DAYS) - 1))
def test_records_dated_after_the_day_change_nothing(rows, place):
    as_of = DAYS[place]
    before = {
        name: [row for row in table if (row.get("date") or as_of) <= as_of]
        for name, table in rows.items()
    }
    pd.testing.assert_frame_equal(of(rows, as_of), of(before, as_of))


@settings(max_examples=12, deadline=None, phases=[Phase.explicit, Phase.generate])
@given(rows=districts(), place=st.integers(5, len(DAYS) - 1))
def test_features_agree_with_a_count_by_hand(rows, place):
    as_of = DAYS[place]
    frame = of(rows, as_of)
    is_taken = any(row["date"] <= as_of for row in rows["attendance_events"])
    held = [day for day in DAYS if day <= as_of]
    for student in IDS:
        away = {
            row["date"]: row["status"]
            for row in rows["attendance_events"]
            if row["student_id"] == student
        }
        absent = [away.get(day) in ABSENT_STATUSES for day in held]
        row = frame.loc[student]
        if not is_taken:
            assert row[[name for name in row.index if "abs" in name or "run" in name]].isna().all()
            continue
        assert row["absences_last_10"] == sum(absent[-10:])
        assert row["absent_days_year"] == sum(absent)
        assert row["absence_rate_60"] == pytest.approx(np.mean(absent[-60:]))
        run = 0
        while run < len(absent) and absent[-1 - run]:
            run += 1
        assert row["current_run"] == run
        longest = max(
            (len(part) for part in "".join("x" if a else " " for a in absent[-60:]).split()),
            default=0,
        )
        assert row["longest_run_60"] == longest
        assert row["monday_absences_60"] == sum(
            a for d, a in zip(held[-60:], absent[-60:], strict=True) if d.weekday() == 0
        )
        marks = [
            r for r in rows["course_grades"] if r["student_id"] == student and r["date"] <= as_of
        ]
        if marks:
            last = max(mark["period"] for mark in marks)
            latest = [mark["grade"] for mark in marks if mark["period"] == last]
            assert row["grade_average"] == pytest.approx(np.mean(latest))
            assert row["courses_below_70"] == sum(grade < 70 for grade in latest)
        else:
            assert np.isnan(row["grade_average"])


def test_the_catalog_is_what_is_built_and_no_sensitive_fact_or_discipline_is_a_model_input():
    sensitive = {column.name for column in TABLES["characteristics"].columns} - {"student_id"}
    assert not sensitive & set(FEATURES_BY_NAME)
    assert not any(FEATURES_BY_NAME[name].category is Category.BEHAVIOR for name in feature_names())
    assert len(feature_names(behavior=True)) == len(CATALOG) >= 29
    for feature in CATALOG:
        assert feature.phrase(3.0) and feature.description


def rows_with_absences(count: int) -> dict[str, list[dict[str, Any]]]:
    held = [day for day in DAYS if day <= TODAY]
    return {
        "schools": [{"school_id": "k1", "name": "K"}],
        "calendar": [{"school_id": "k1", "date": day, "school_year": 2026} for day in DAYS],
        "students": [
            {"student_id": s, "first_name": s, "school_id": "k1", "grade_level": 4} for s in IDS
        ],
        "characteristics": [{"student_id": s, "unstable_housing": s == "s1"} for s in IDS],
        "attendance_events": [
            {"student_id": s, "school_id": "k1", "date": day, "status": "absent_unexcused"}
            for s in ("s1", "s2")
            for day in held[-count:]
        ],
        "behavior_incidents": [{"student_id": "s1", "incident_id": "i", "date": held[-1]}],
        "service_enrollments": [
            {
                "student_id": s,
                "program_id": "p1",
                "organization_id": "tutors",
                "start_date": DAYS[0],
            }
            for s in IDS
        ],
    }


def viewed(snapshot: Snapshot, home: Path, *categories: str) -> pd.DataFrame:
    database = open_database(f"sqlite:///{home / 'h.db'}")
    add_organization(database, "tutors", Role.CASEWORKER)
    add_agreement(database, categories=["directory", *categories])
    viewer = Viewer("tutors-caseworker", "", "", Role.CASEWORKER, "tutors")
    scope = scope_for(viewer, database, snapshot, at_noon(TODAY), SECRET)
    return build_features(ScopedRecords(snapshot, scope), TODAY)


def test_an_alert_names_only_what_is_granted_and_is_the_same_for_a_housed_twin(
    tmp_path: Path,
):  # R8
    frame = viewed(snapshot_of(rows_with_absences(4), tmp_path), tmp_path, "attendance")
    alerts = [
        (alert.rule, alert.severity, alert.headline, alert.detail)
        for s in ("s1", "s2")
        for alert in raise_alerts(frame.loc[[s]], AlertRules.declared())
    ]
    assert alerts[: len(alerts) // 2] == alerts[len(alerts) // 2 :]
    assert alerts[0][2] == "Absent the last 4 school days in a row, excused or not"
    words = " ".join(text for alert in alerts for text in (alert[2], alert[3])).lower()
    assert not any(
        word in words for word in ("hous", "homeless", "shelter", "mckinney", "incident")
    )


def test_what_is_not_granted_is_missing_before_any_rule_reads_it(tmp_path: Path):
    frame = viewed(snapshot_of(rows_with_absences(9), tmp_path), tmp_path, "grades")
    hidden = [
        feature.name
        for feature in CATALOG
        if feature.category not in (Category.DIRECTORY, Category.GRADES)
    ]
    assert frame[hidden].isna().all(axis=None)
    assert raise_alerts(frame, AlertRules.declared()) == []


@pytest.mark.parametrize(
    ("count", "rule"),
    [(2, "absent_2_in_a_row"), (3, "absent_3_in_a_row"), (5, "absent_5_in_a_row")],
)
def test_absences_in_a_row_raise_their_step(count: int, rule: str, tmp_path: Path):
    frame = viewed(snapshot_of(rows_with_absences(count), tmp_path), tmp_path, "attendance")
    alerts = raise_alerts(frame, AlertRules.declared())
    assert {alert.student_id for alert in alerts} == {"s1", "s2"}
    assert [alert.rule for alert in alerts if alert.rule.startswith("absent")] == [rule, rule]
    assert [alert.severity for alert in alerts] == sorted(
        (alert.severity for alert in alerts), reverse=True
    )


def test_a_zero_needs_a_source_that_has_begun_to_speak():
    first = DAYS[20]
    rows: dict[str, list[dict[str, Any]]] = {
        "schools": [{"school_id": "k1", "name": "K"}],
        "calendar": [{"school_id": "k1", "date": day, "school_year": 2026} for day in DAYS],
        "students": [{"student_id": name, "first_name": name, "school_id": "k1"} for name in IDS],
        "behavior_incidents": [{"student_id": IDS[0], "incident_id": "i1", "date": first}],
    }
    before, after = of(rows, DAYS[19]), of(rows, DAYS[21])
    assert before["incidents_year"].isna().all()
    assert after["incidents_year"].tolist() == [1.0, 0.0, 0.0]
    assert after["services_active"].isna().all()
