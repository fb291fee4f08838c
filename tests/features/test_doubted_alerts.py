"""What is doubted of a school takes away the alerts that rest on it, and no others."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
from hypothesis import given
from hypothesis import strategies as st

from features.alerts import AlertRules, raise_alerts
from features.catalog import CATALOG
from features.doubted_alerts import doubted_categories, undoubted
from records.access.scope import pipeline_scope
from records.access.scoped_records import ScopedRecords
from records.canonical.schema import Category
from tests.records.conftest import snapshot_of
from tests.serving import district
from tests.serving.conftest import NOW

RULES = AlertRules.declared()
CATEGORIES = st.sampled_from([Category.ATTENDANCE, Category.GRADES, Category.BEHAVIOR])
STUDENTS = [f"s{number}" for number in range(6)]
DOUBTED = st.dictionaries(st.sampled_from(STUDENTS), st.frozensets(CATEGORIES))


def features(rates: list[float], failing: list[int]) -> pd.DataFrame:
    """What the rules read: each student's absence rate and failed courses."""
    names = {feature.name for feature in CATALOG} | {
        name for rule in RULES.rules for name in rule.features
    }
    frame = pd.DataFrame(float("nan"), index=STUDENTS, columns=sorted(names))
    frame["absence_rate_year"], frame["courses_below_60"] = rates, [float(n) for n in failing]
    frame["days_enrolled_year"], frame["absent_days_year"] = 100.0, 100 * frame["absence_rate_year"]
    return frame


@given(
    st.lists(st.floats(0, 1), min_size=6, max_size=6),
    st.lists(st.integers(0, 4), min_size=6, max_size=6),
    DOUBTED,
)
def test_a_doubt_takes_away_each_alert_that_rests_on_it_and_no_other(
    rates: list[float], failing: list[int], doubted: dict[str, frozenset[Category]]
):
    raised = raise_alerts(features(rates, failing), RULES)
    left = undoubted(raised, doubted)
    for alert in raised:
        is_doubted = any(one in doubted.get(alert.student_id, ()) for one in alert.categories)
        assert (alert in left) is not is_doubted
    assert left == [alert for alert in raised if alert in left], "in their order"


def test_a_student_is_doubted_by_the_school_of_today(tmp_path: Path):
    rows = district.rows()
    school = {str(row["student_id"]): row["school_id"] for row in rows["students"]}
    snapshot = snapshot_of(rows, tmp_path)
    records = ScopedRecords(snapshot, pipeline_scope(snapshot, "features", NOW.date()))
    doubted = doubted_categories(records, [("k1", Category.GRADES), ("none", Category.ATTENDANCE)])
    assert doubted == {
        student: {Category.GRADES} for student, where in school.items() if where == "k1"
    }
    assert doubted and len(doubted) < len(school)
