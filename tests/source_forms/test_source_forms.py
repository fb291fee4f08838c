"""One district in every source form: each load gives the same rows and the same features."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterable
from datetime import date
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from features.build import build_features
from records.access.scope import pipeline_scope
from records.access.scoped_records import ScopedRecords
from records.connectors.edfi.files import EdFiFiles
from records.connectors.oneroster.files import OneRosterFiles
from records.connectors.profiles.profile import read_profile
from records.connectors.protocol import Connector
from records.loading.load import load
from records.loading.load_report import LoadReport
from records.snapshots.snapshot import Snapshot
from tests.source_forms import oneroster, powerschool
from tests.source_forms.districts import (
    WEEKDAYS,
    YEAR_ENDS,
    District,
    Entry,
    Rows,
    Spell,
    Student,
    canonical_rows,
    districts,
)
from tests.source_forms.edfi_xml import STANDARDS, write_edfi
from tests.source_forms.reference import expected_features

Form = Callable[[District, Path], tuple[Connector, Path]]
"""Writes a district into a folder; the connector of the form, and what it is to read."""
TABLES = {
    "calendar": "school_id date school_year",
    "students": "student_id grade_level",
    "characteristics": "student_id sex race_ethnicity",
    "school_enrollments": "student_id school_id entry_date exit_date",
    "attendance_events": "student_id school_id date status absent_share",
    "course_grades": "student_id course school_year period date grade",
    "behavior_incidents": "student_id incident_id date behavior action days_removed",
}
"""The tables that every form carries, and their columns that every form carries."""
SLOW = settings(
    max_examples=3,
    deadline=None,
    phases=[Phase.explicit, Phase.generate],
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)


def edfi(version: str, *, by_section: bool) -> Form:
    def form(district: District, folder: Path) -> tuple[Connector, Path]:
        standard = STANDARDS[version]
        return EdFiFiles(), write_edfi(district, folder / "in", standard, by_section=by_section)

    return form


def oneroster_csv(version: str) -> Form:
    def form(district: District, folder: Path) -> tuple[Connector, Path]:
        return OneRosterFiles(), oneroster.write_csv(district, folder / "in", version)

    return form


def oneroster_api(version: str) -> Form:
    def form(district: District, folder: Path) -> tuple[Connector, Path]:
        files = oneroster.EXTENSIONS
        extensions = oneroster.write_extensions(district, folder / "beside", files)
        server = oneroster.server_of(district, version)
        with server.running():
            connector = server.connector(page_size=100, extensions=str(extensions))
            connector.fetch(folder / "in", lambda name, done, total: None)
        return connector, folder / "in"

    return form


def powerschool_api(district: District, folder: Path) -> tuple[Connector, Path]:
    extensions = oneroster.write_extensions(district, folder / "beside", ["incidents.csv"])
    server = powerschool.server_of(district)
    with server.running():
        connector = server.connector(
            page_size=500, races=powerschool.RACE_CODES, extensions=str(extensions)
        )
        connector.profile = read_profile("powerschool", powerschool.write_profile(folder))
        connector.fetch(folder / "in", lambda name, done, total: None)
    return connector, folder / "in"


FORMS: dict[str, Form] = {
    "Ed-Fi 2.2, sections": edfi("2.2", by_section=True),
    "Ed-Fi 3.3, days": edfi("3.3", by_section=False),
    "Ed-Fi 5.2, days": edfi("5.2", by_section=False),
    "Ed-Fi 5.2, sections": edfi("5.2", by_section=True),
    **{f"OneRoster {version}, files": oneroster_csv(version) for version in ("1.1", "1.2")},
    **{f"OneRoster {version}, server": oneroster_api(version) for version in ("1.1", "1.2")},
    "PowerSchool": powerschool_api,
}


def load_form(form: Form, district: District, folder: Path) -> tuple[LoadReport, Snapshot]:
    connector, source = form(district, folder)
    report = load(connector, source, folder / "home")
    return report, Snapshot.current(folder / "home")


def assert_row_equation(report: LoadReport, form: str) -> None:
    """Every record is counted once, and of a good source none is refused or lost."""
    for file in report.files:
        kinds = file.kept + file.quarantined + file.duplicates + file.ignored
        assert file.read == kinds, (form, file)
        assert file.quarantined == file.duplicates == 0, (form, file)


def rows_of(rows: Iterable[dict[str, Any]], table: str) -> list[tuple[Any, ...]]:
    """Rows as every form carries them.

    An absence of the whole day has no share, a stay to the end of the year has no end, and a
    student of whom nothing is known has no characteristics.
    """
    columns = TABLES[table].split()
    plain = []
    for row in rows:
        values = dict(row)
        if table == "attendance_events" and values["absent_share"] == 1:
            values["absent_share"] = None
        if table == "school_enrollments" and values["exit_date"] == YEAR_ENDS:
            values["exit_date"] = None
        if table != "characteristics" or values["sex"] or values["race_ethnicity"]:
            plain.append(tuple(values[column] for column in columns))
    return sorted(plain, key=repr)


def assert_rows(snapshot: Snapshot, expected: Rows, form: str) -> None:
    for table in TABLES:
        present = snapshot.table(table).to_pyarrow().to_pylist()
        assert rows_of(present, table) == rows_of(expected[table], table), (form, table)


def features_on(snapshot: Snapshot, as_of: date) -> pd.DataFrame:
    records = ScopedRecords(snapshot, pipeline_scope(snapshot, "features", as_of))
    return build_features(records, as_of)


def assert_features(frame: pd.DataFrame, expected: Rows, as_of: date, form: str) -> None:
    """The features of every student are those of the plain recomputation."""
    assert sorted(frame.index) == sorted(row["student_id"] for row in expected["students"]), form
    for student in frame.index:
        right = expected_features(expected, student, as_of)
        found = {name: float(frame.loc[student, name]) for name in right}
        assert found == pytest.approx(right, rel=0, abs=1e-9, nan_ok=True), (form, student)


def assert_forms_agree(forms: dict[str, Form], district: District, as_of: date) -> None:
    expected = canonical_rows(district)
    frames = {}
    for name, form in forms.items():
        with tempfile.TemporaryDirectory() as folder:
            report, snapshot = load_form(form, district, Path(folder))
            assert_row_equation(report, name)
            assert_rows(snapshot, expected, name)
            frames[name] = features_on(snapshot, as_of)
        assert_features(frames[name], expected, as_of, name)
    first = next(iter(frames.values()))
    for name, frame in frames.items():
        pd.testing.assert_frame_equal(frame, first, rtol=0, atol=1e-9, obj=name)


@SLOW
@given(district=districts(), place=st.integers(5, len(WEEKDAYS) - 1))
def test_every_form_of_a_district_gives_the_same_numbers(district: District, place: int):
    assert_forms_agree(FORMS, district, WEEKDAYS[place])


def district_of(*students: Student) -> District:
    """A district of one school that held classes on every weekday."""
    return District(("100",), {"100": WEEKDAYS}, students, ())


def student(id_: str, *spells: Spell) -> Student:
    """A student who was absent on the first day."""
    entries = (Entry("100", spells[0].first, "absent_unexcused", 1.0),)
    return Student(id_, 7, "female", "white", spells, entries, ())


BACK_AFTER_A_MONTH = district_of(
    student(
        "1",
        Spell("100", WEEKDAYS[0], WEEKDAYS[19]),
        Spell("100", WEEKDAYS[40], None),
    )
)


@pytest.mark.parametrize(
    "form", ["Ed-Fi 5.2, days", "PowerSchool", "OneRoster 1.2, files", "OneRoster 1.2, server"]
)
def test_days_away_from_a_school_are_no_days_at_school(form: str, tmp_path: Path):
    _, snapshot = load_form(FORMS[form], BACK_AFTER_A_MONTH, tmp_path)
    row = features_on(snapshot, WEEKDAYS[59]).loc["1"]
    assert row["days_enrolled_year"] == 40
    assert row["absence_rate_year"] == pytest.approx(1 / 40)
