"""The short list: only what is open, sure and worth it; and silence with its reason."""

from __future__ import annotations

from datetime import date
from pathlib import Path

import numpy as np
import pandas as pd

from features.catalog import CATALOG
from records.access.scope import pipeline_scope
from records.access.scoped_records import ScopedRecords
from records.canonical.schema import Category
from tests.records import six_student_district
from tests.records.conftest import TODAY, snapshot_of
from tests.training.conftest import PROGRAMS, SUPPORTS, Past
from training.ranking.ranker import BenefitRanker
from training.ranking.suggestions import (
    NO_OPEN_SUPPORT,
    TOO_LITTLE_DATA,
    TOO_UNCERTAIN,
    choose_actions,
    eligible_supports,
    suggest,
)


def named(past: Past, count: int = 400) -> pd.DataFrame:
    frame = past.features.head(count).copy()
    frame.index = pd.Index([f"s{i}" for i in range(count)], name="student_id")
    return frame.reindex(columns=[feature.name for feature in CATALOG])


def all_open(frame: pd.DataFrame) -> pd.DataFrame:
    return pd.DataFrame(True, index=frame.index, columns=list(SUPPORTS))


def test_a_list_is_ranked_sure_and_worth_it(past: Past, ranker: BenefitRanker):
    frame = named(past)
    suggestions = suggest(ranker, frame, all_open(frame))
    assert len(suggestions.table) > 20
    assert (suggestions.table["lower"] > 0).all()
    assert (suggestions.table["benefit"] >= 1.0).all()
    for _, rows in suggestions.table.groupby("student_id"):
        assert rows["rank"].tolist() == list(range(1, len(rows) + 1))
        assert rows["benefit"].is_monotonic_decreasing
    assert set(suggestions.silence.index) == set(frame.index) - set(suggestions.table["student_id"])
    assert set(suggestions.silence) == {TOO_UNCERTAIN}


def test_what_is_not_open_is_never_suggested(past: Past, ranker: BenefitRanker):
    frame = named(past)
    allowed = all_open(frame)
    allowed["food"] = False
    assert set(suggest(ranker, frame, allowed).table["support"]) == {"tutoring"}
    none = suggest(ranker, frame, allowed & False)
    assert none.table.empty
    assert set(none.silence) == {NO_OPEN_SUPPORT}


def test_without_attendance_and_marks_there_is_silence(past: Past, ranker: BenefitRanker):
    frame = named(past)
    hidden = [f.name for f in CATALOG if f.category in (Category.ATTENDANCE, Category.GRADES)]
    frame[hidden] = np.nan
    suggestions = suggest(ranker, frame, all_open(frame))
    assert suggestions.table.empty
    assert set(suggestions.silence) == {TOO_LITTLE_DATA}


def test_a_support_is_open_where_a_program_serves_the_grade_and_it_is_not_received_already(
    tmp_path: Path,
):
    rows = six_student_district.rows()
    rows["programs"][0] |= {"min_grade": 2, "max_grade": 4}
    snapshot = snapshot_of(rows, tmp_path)
    records = ScopedRecords(snapshot, pipeline_scope(snapshot, "features", TODAY))
    eligible = eligible_supports(records, date(2026, 4, 17), ("tutoring", "food", "health"))
    assert eligible["tutoring"].to_dict() == {
        "s1": False,
        "s2": False,
        "s3": True,
        "s4": True,
        "s5": False,
        "s6": False,
    }
    assert eligible["food"].to_dict() == {
        "s1": False,
        "s2": True,
        "s3": True,
        "s4": False,
        "s5": True,
        "s6": True,
    }
    assert not eligible["health"].any()


def test_places_go_to_those_with_the_most_to_gain_and_nobody_gets_what_is_not_sure(
    past: Past, ranker: BenefitRanker
):
    rows = past.features.head(1_000)
    free, limited = (
        choose_actions(ranker, rows, PROGRAMS),
        choose_actions(ranker, rows, PROGRAMS, 40),
    )
    assert (limited > 0).sum() == 40
    benefits = ranker.benefits(rows)
    best = np.column_stack([benefits[name].mean for name in SUPPORTS])
    gained = best[np.arange(len(rows)), free - 1]
    assert gained[limited > 0].min() >= gained[(free > 0) & (limited == 0)].max()
    for place, name in enumerate(SUPPORTS):
        assert (benefits[name].lower[free == place + 1] > 0).all()
    closed = PROGRAMS.assign(min_grade=[99, 99])
    assert (choose_actions(ranker, rows, closed) == 0).all()
