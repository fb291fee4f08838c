"""The feature table: one row a student, from what a scope shows, as of a day.

It is computed from `ScopedRecords` alone: what may not be seen is missing before anything is
computed. Records dated after `as_of` change nothing.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Sequence
from datetime import date, timedelta
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from features.assessments import assessments
from features.attendance import attendance, grade_level
from features.behavior import behavior
from features.catalog import CATALOG, Feature, below_mark, catalog_hash
from features.grades import courses_below, gradebook, grades
from features.services import active_programs, recent_sessions
from records.access.expressions import TableExpr
from records.access.scoped_records import ScopedRecords
from records.canonical.columns import Coverage, Students
from records.canonical.schema import Category
from records.system.files import write_atomic

FAMILIES: tuple[Callable[..., TableExpr], ...] = (
    grade_level,
    attendance,
    grades,
    gradebook,
    assessments,
    active_programs,
    recent_sessions,
    behavior,
)


def build_features(
    records: ScopedRecords,
    as_of: date,
    settled: date | None = None,
    also: Sequence[Feature] = (),
) -> pd.DataFrame:
    """Features of every student in `records`.

    Args:
        records: as a scope shows them.
        as_of: the day; later records are not read.
        settled: the last school day that may count as attended where nobody has an entry
            (`features.attendance.student_days`); `as_of` if left out.
        also: features outside the catalog's table, that alert rules read.

    Returns:
        float64 columns in catalog order, then those of `also`, indexed by `student_id`, sorted.
        NaN where the category is out of scope for that student or nothing is on record.
    """
    index = pd.Index(records.students, name=Students.STUDENT_ID, dtype=object)
    computed: dict[str, pd.Series] = {}
    for family in FAMILIES:
        days = (as_of, settled or as_of) if family is attendance else (as_of,)
        frame = records.ask(family, *days).set_index(Students.STUDENT_ID)
        for name in frame.columns:
            computed[name] = frame[name].astype("float64").reindex(index)
    for feature in also:
        mark = below_mark(feature.name)
        if mark is not None and feature.name not in computed:
            frame = records.ask(courses_below, as_of, mark).set_index(Students.STUDENT_ID)
            computed[feature.name] = frame["courses_below"].astype("float64").reindex(index)
    is_visible = _visibility(records)
    recorded = _recorded(records, as_of)
    columns = {}
    for feature in (*CATALOG, *also):
        values = computed[feature.name].to_numpy(dtype="float64", copy=True)
        if feature.default is not None and feature.recorded_in in recorded:
            values[np.isnan(values)] = feature.default
        values[~is_visible[feature.category]] = np.nan
        columns[feature.name] = values
    return pd.DataFrame(columns, index=index, dtype="float64")


def write_features(
    records: ScopedRecords, as_of: date, home: Path, today: date | None = None
) -> Path:
    """Write the features to `home/features/<snapshot>-<day>.parquet` with a manifest next to it.

    Args:
        today: the day of the computation, on which nobody knows yet who is at school.

    Returns:
        The file.
    """
    settled = as_of if today is None else min(as_of, today - timedelta(days=1))
    frame = build_features(records, as_of, settled)
    folder = home / "features"
    folder.mkdir(parents=True, exist_ok=True)
    file = folder / f"{records.snapshot.id}-{as_of}.parquet"
    staging = file.with_suffix(".new")
    frame.to_parquet(staging)
    manifest = {
        "snapshot": records.snapshot.id,
        "as_of": str(as_of),
        "catalog": catalog_hash(),
        "students": len(frame),
        "known": {name: int(frame[name].notna().sum()) for name in frame.columns},
        "sha256": hashlib.sha256(staging.read_bytes()).hexdigest(),
    }
    staging.replace(file)
    write_atomic(file.with_suffix(".json"), json.dumps(manifest, indent=1))
    return file


def _recorded(records: ScopedRecords, as_of: date) -> frozenset[str]:
    """The tables that have records of anybody up to `as_of`: of others nothing is known."""
    coverage = records.frame(Coverage.TABLE)
    begun = pd.to_datetime(coverage[Coverage.FIRST_DATE]) <= pd.Timestamp(as_of)
    return frozenset(coverage.loc[begun, Coverage.TABLE_NAME])


def _visibility(records: ScopedRecords) -> dict[Category, NDArray[np.bool_]]:
    """For each category, of which students it may be seen: shape (students,)."""
    by_student = [records.scope.categories(student) for student in records.students]
    return {
        category: np.array([category in visible for visible in by_student], dtype=bool)
        for category in Category
    }
