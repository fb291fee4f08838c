"""A compiled query gives for every snapshot and scope what Ibis gives."""

from __future__ import annotations

from datetime import date, timedelta
from pathlib import Path
from typing import Any

import ibis
import numpy as np
import pandas as pd
import pytest

from features.build import FAMILIES
from records.access.scope import pipeline_scope, scope_for
from records.access.scoped_records import ScopedRecords
from records.canonical.schema import TABLES, canonical_table
from records.snapshots.queries import DateLike, as_date, compile_query
from records.snapshots.snapshot import Snapshot
from tests.random_districts import NOW, draw_access_rules, draw_rows
from tests.records.conftest import snapshot_of
from tests.serving.conftest import SECRET


@pytest.mark.parametrize("seed", range(3))
def test_every_table_of_every_scope_is_as_ibis_has_it(seed: int, new_sqlite, tmp_path: Path):
    rng = np.random.default_rng(seed)
    rows = draw_rows(rng, 40)
    if seed:
        del rows["assessments"]
    database, snapshot = new_sqlite("law"), snapshot_of(rows, tmp_path)
    viewers = draw_access_rules(rng, database, [str(row["student_id"]) for row in rows["students"]])
    scopes = [scope_for(viewer, database, snapshot, NOW, SECRET) for viewer in viewers]
    seen = [scope for scope in scopes if scope.students][:5]
    assert len(seen) > 2
    for scope in [*seen, scopes[-1], pipeline_scope(snapshot, "audit", NOW.date())]:
        records = ScopedRecords(snapshot, scope)
        for name in TABLES:
            expected = records.table(name).order_by(list(canonical_table(name).key)).to_pandas()
            pd.testing.assert_frame_equal(records.frame(name), expected)


def test_every_family_of_features_is_as_ibis_has_it(tmp_path: Path):
    snapshot = snapshot_of(draw_rows(np.random.default_rng(5), 40), tmp_path)
    records = ScopedRecords(snapshot, pipeline_scope(snapshot, "features", NOW.date()))
    for day in (NOW.date(), date(2026, 1, 20)):
        for family in FAMILIES:
            result, expected = (
                frame.sort_values("student_id", ignore_index=True)
                for frame in (records.ask(family, day), family(records, day).to_pandas())
            )
            pd.testing.assert_frame_equal(result, expected)


def test_one_written_query_answers_any_snapshot(tmp_path: Path):
    query = compile_query(names_of_schools)
    assert query.sql is compile_query(names_of_schools).sql
    for count in (30, 50):
        snapshot = snapshot_of(
            draw_rows(np.random.default_rng(count), count), tmp_path / f"it's {count}"
        )
        expected = names_of_schools(snapshot).to_pandas()
        assert len(expected) > 0 and query.frame(snapshot).equals(expected)


def test_what_is_given_to_a_query_does_not_stay_behind(tmp_path: Path):
    snapshot = snapshot_of(draw_rows(np.random.default_rng(1), 20), tmp_path)
    records = ScopedRecords(snapshot, pipeline_scope(snapshot, "features", NOW.date()))
    assert len(records.frame("students")) == 20
    alone = ScopedRecords(snapshot, records.scope, records.students[:1])
    assert list(alone.frame("students")["student_id"]) == [records.students[0]]
    views = "select view_name from duckdb_views() where not internal"
    assert snapshot.engine.execute(views).fetchall() == []


def test_a_query_that_looks_at_whom_it_is_asked_of_cannot_be_written(tmp_path: Path):
    snapshot = snapshot_of(draw_rows(np.random.default_rng(1), 20), tmp_path)
    records = ScopedRecords(snapshot, pipeline_scope(snapshot, "features", NOW.date()))
    for curious in (of_its_students, of_its_viewer):
        with pytest.raises(AttributeError):
            records.ask(curious)


def test_one_written_query_answers_any_day(tmp_path: Path):
    snapshot = snapshot_of(draw_rows(np.random.default_rng(2), 60), tmp_path)
    records = ScopedRecords(snapshot, pipeline_scope(snapshot, "features", NOW.date()))
    counts = set()
    for day in (date(2026, 2, 3), date(2026, 3, 3), NOW.date()):
        first = pd.Timestamp(day - timedelta(days=20))
        rows = records.frame("attendance_events")
        expected = rows[
            (pd.to_datetime(rows["date"]) > first)
            & (pd.to_datetime(rows["date"]) <= pd.Timestamp(day))
        ]
        answer = records.ask(absences_within, 20, day)
        assert sorted(answer["student_id"]) == sorted(expected["student_id"])
        counts.add(len(answer))
    assert len(counts) > 1


def absences_within(records: ScopedRecords, many: int, day: DateLike) -> Any:
    rows = records.table("attendance_events")
    return rows.filter(
        rows["date"] > as_date(day - timedelta(days=many)), rows["date"] <= as_date(day)
    )


def names_of_schools(tables: Snapshot) -> Any:
    return tables.table("schools").select("school_id", "name").order_by("school_id")


def of_its_students(records: ScopedRecords) -> Any:
    students = records.table("students")
    return students.filter(students["student_id"].isin(list(records.students)))


def of_its_viewer(records: ScopedRecords) -> Any:
    return records.table("students").mutate(viewer=ibis.literal(records.scope.viewer.login))
