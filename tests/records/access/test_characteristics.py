"""Sensitive facts as of a day: the days of a period decide, and only for who may see them."""

from __future__ import annotations

from datetime import date
from pathlib import Path

import pytest

from records.access.characteristics import characteristics_on
from records.access.scope import pipeline_scope, scope_for
from records.access.scoped_records import ScopedRecords
from records.canonical.schema import PERIOD_CATEGORIES, Category
from records.database.engine import Database
from records.snapshots.snapshot import Snapshot
from records.staff.viewer import Role
from tests.records import six_student_district
from tests.records.conftest import (
    SECRET,
    TODAY,
    add_agreement,
    add_consent,
    add_organization,
    at_noon,
    snapshot_of,
)

FIRST, LAST = date(2025, 9, 1), date(2025, 12, 19)
PERIODS = {
    "s1": [(FIRST, LAST)],
    "s3": [(date(2022, 1, 10), date(2022, 6, 3)), (FIRST, None)],
    "s5": [(FIRST, LAST)],
}
"""Of unstable housing, for which s1, s3 and s5 are recorded as false, the others as true; here s5
is not recorded at all."""


@pytest.fixture(scope="module")
def snapshot(tmp_path_factory: pytest.TempPathFactory) -> Snapshot:
    rows = six_student_district.rows()
    rows["characteristics"] = [row for row in rows["characteristics"] if row["student_id"] != "s5"]
    rows["unstable_housing_periods"] = [
        {"student_id": student, "first_date": first, "last_date": last}
        for student, periods in PERIODS.items()
        for first, last in periods
    ]
    return snapshot_of(rows, tmp_path_factory.mktemp("home"))


def housing_on(snapshot: Snapshot, day: date) -> dict[str, bool | None]:
    records = ScopedRecords(snapshot, pipeline_scope(snapshot, "audit", day))
    facts = characteristics_on(records, day)
    assert list(facts.columns) == list(records.frame("characteristics").columns)
    return dict(zip(facts["student_id"], facts["unstable_housing"], strict=True))


@pytest.mark.parametrize(
    ("day", "housing"),
    [
        (date(2021, 1, 4), {"s1": False, "s3": False, "s5": None}),
        (date(2022, 1, 10), {"s1": False, "s3": True, "s5": None}),
        (date(2022, 6, 4), {"s1": False, "s3": False, "s5": None}),
        (FIRST, {"s1": True, "s3": True, "s5": True}),
        (LAST, {"s1": True, "s3": True, "s5": True}),
        (date(2025, 12, 20), {"s1": False, "s3": True, "s5": False}),
    ],
)
def test_a_fact_holds_on_the_days_of_its_periods(
    day: date, housing: dict[str, bool | None], snapshot: Snapshot
):
    found = housing_on(snapshot, day)
    assert {student: found[student] for student in housing} == housing
    assert [found[student] for student in ("s2", "s4", "s6")] == [True] * 3


def test_without_periods_the_facts_are_those_recorded(tmp_path: Path):
    snapshot = snapshot_of(six_student_district.rows(), tmp_path)
    records = ScopedRecords(snapshot, pipeline_scope(snapshot, "audit", TODAY))
    facts, recorded = characteristics_on(records, TODAY), records.frame("characteristics")
    for name in recorded.columns:
        unknown = recorded[name].isna()
        assert facts[name].isna().equals(unknown)
        assert facts[name][~unknown].tolist() == recorded[name][~unknown].tolist()


def test_who_may_not_see_housing_sees_nothing_of_its_days(database: Database, snapshot: Snapshot):
    viewer, *_ = add_organization(database, "tutors", Role.CASEWORKER)
    add_agreement(
        database,
        categories=["directory", "housing", "meal_eligibility"],
        consent_required=["housing", "meal_eligibility"],
    )
    add_consent(database, "s1", Category.MEAL_ELIGIBILITY)
    scope = scope_for(viewer, database, snapshot, at_noon(TODAY), SECRET)
    records = ScopedRecords(snapshot, scope, ["s1"])
    for day in (FIRST, TODAY):
        facts = characteristics_on(records, day)
        assert facts["unstable_housing"].tolist() == [None]
        assert facts["meal_eligible"].tolist() == [True]
    for name in PERIOD_CATEGORIES:
        assert records.frame(f"{name}_periods").empty
