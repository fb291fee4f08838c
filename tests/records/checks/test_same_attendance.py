"""What a data officer is shown of a school is what the features say of its students, together."""

from __future__ import annotations

import tempfile
from datetime import timedelta
from pathlib import Path

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from features.attendance import student_days
from features.build import build_features
from records.access.scope import pipeline_scope
from records.access.scoped_records import ScopedRecords
from records.checks.school_figures import school_figures
from tests.records.conftest import snapshot_of
from tests.source_forms.districts import WEEKDAYS, YEAR, District, canonical_rows, districts


@settings(
    max_examples=6,
    deadline=None,
    phases=[Phase.explicit, Phase.generate],
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)
@given(district=districts(), place=st.integers(5, len(WEEKDAYS) - 1))
def test_average_attendance_is_the_mean_of_the_features(district: District, place: int):
    rows = canonical_rows(district)
    for row in rows["school_enrollments"]:
        row["school_year"] = YEAR
    today = WEEKDAYS[place]
    settled = today - timedelta(days=1)
    with tempfile.TemporaryDirectory() as folder:
        snapshot = snapshot_of(rows, Path(folder))
        figures = school_figures(snapshot, today).schools
        records = ScopedRecords(snapshot, pipeline_scope(snapshot, "features", today))
        days = records.ask(student_days, today, settled)
        features = build_features(records, today, settled)
    for school, found in figures.items():
        own = days[days["school_id"] == school]
        assert found.attended_by == own["student_id"].nunique()
        if len(own):
            assert found.attendance == pytest.approx(1 - own["absent"].sum() / len(own))
        else:
            assert found.attendance is None
    known = features[features["days_enrolled_year"] > 0]
    weights = known["days_enrolled_year"]
    assert weights.sum() == len(days)
    if len(days):
        mean = (known["absence_rate_year"] * weights).sum() / weights.sum()
        assert mean == pytest.approx(days["absent"].sum() / len(days))
