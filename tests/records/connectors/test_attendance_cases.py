"""Attendance as real districts export it: each case through the real load, to the feature."""

from __future__ import annotations

from datetime import date, timedelta
from pathlib import Path

import pandas as pd
import pytest

from features.alerts import AlertRules, raise_alerts
from features.build import build_features
from records.access.scope import pipeline_scope
from records.access.scoped_records import ScopedRecords
from records.connectors.edfi.files import EdFiFiles
from records.connectors.oneroster.files import OneRosterFiles
from records.connectors.profiles.profile import ProfileError, read_profile
from records.connectors.protocol import Connector
from records.loading.load import load
from records.loading.load_history import code_warnings
from records.loading.load_report import LoadReport
from records.snapshots.snapshot import Snapshot

AS_OF = date(2025, 12, 19)
SCHOOL_DAYS = [
    day for n in range(124) if (day := date(2025, 8, 18) + timedelta(days=n)).weekday() < 5
]


def load_case(connector: Connector, folder: Path, home: Path) -> tuple[LoadReport, Snapshot]:
    report = load(connector, folder, home)
    for file in report.files:
        kinds = file.kept + file.quarantined + file.duplicates + file.ignored
        assert file.read == kinds > 0 or file.read == 0
    return report, Snapshot.current(home)


def features_on(
    snapshot: Snapshot, as_of: date = AS_OF, settled: date | None = None
) -> pd.DataFrame:
    records = ScopedRecords(snapshot, pipeline_scope(snapshot, "features", as_of))
    return build_features(records, as_of, settled)


def headlines(features: pd.DataFrame) -> list[str]:
    return [alert.headline for alert in raise_alerts(features, AlertRules.declared())]


@pytest.mark.parametrize(
    ("case", "as_of", "expected"),
    [
        (
            "01-edfi-holidays",
            AS_OF,
            {"days_enrolled_year": 80, "absent_days_year": 8, "absence_rate_year": 0.1},
        ),
        (
            "02-edfi-section-only",
            AS_OF,
            {"days_enrolled_year": 90, "absent_days_year": 5, "current_run": 5},
        ),
        (
            "03-edfi-summer",
            date(2026, 7, 10),
            {"days_enrolled_year": 190, "absent_days_year": 20, "current_run": 20},
        ),
        (
            "04-edfi-half-days",
            AS_OF,
            {
                "days_enrolled_year": 90,
                "absent_days_year": 9,
                "absence_rate_year": 0.1,
                "longest_run_60": 0,
            },
        ),
        ("10-edfi-makeup-day", AS_OF, {"days_enrolled_year": 90, "absent_days_year": 4}),
        ("35-edfi-ds52-present", AS_OF, {"absent_days_year": 1}),
        ("107-edfi-absent-then-tardy", AS_OF, {"absent_days_year": 0, "tardies_60": 10}),
    ],
)
def test_a_real_export_gives_the_right_attendance(
    cases: Path, tmp_path: Path, case: str, as_of: date, expected: dict[str, float]
):
    _, snapshot = load_case(EdFiFiles(), cases / case, tmp_path)
    row = features_on(snapshot, as_of).iloc[0]
    assert {name: row[name] for name in expected} == pytest.approx(expected)


def test_ten_percent_of_the_days_that_a_calendar_lists_is_chronic_absence(
    cases: Path, tmp_path: Path
):
    _, snapshot = load_case(EdFiFiles(), cases / "01-edfi-holidays", tmp_path)
    assert headlines(features_on(snapshot)) == [
        "Absent 8 of 80 school days this year, excused or not"
    ]


def test_an_absence_corrected_to_a_late_arrival_is_named(cases: Path, tmp_path: Path):
    report, snapshot = load_case(EdFiFiles(), cases / "107-edfi-absent-then-tardy", tmp_path)
    [reason] = {row.reason for row in snapshot.set_aside()}
    assert "recorded as late on the same day" in reason
    assert sum(file.quarantined for file in report.files) == 10


def test_codes_that_nobody_has_explained_are_named_and_nothing_is_made_of_them(
    cases: Path, tmp_path: Path
):
    report, snapshot = load_case(EdFiFiles(), cases / "09-edfi-local-codes", tmp_path)
    [warning] = code_warnings(snapshot, "edfi")
    assert warning == (
        "of 48 values of AttendanceEventCategory, 48 are codes that nobody has explained ('UX' 48)"
    )
    assert any("attendance counts as not on record" in note for note in report.notes)
    features = features_on(snapshot)
    attendance = [name for name in features if "abs" in name or "run" in name or "tard" in name]
    assert features[attendance].isna().all(axis=None)
    assert headlines(features) == []


def test_a_district_explains_its_codes_in_its_own_file(cases: Path, tmp_path: Path):
    profile = tmp_path / "profiles" / "edfi.toml"
    profile.parent.mkdir()
    profile.write_text('[attendance.codes]\nUX = "absent_unexcused"\n')
    connector = EdFiFiles(read_profile("edfi", tmp_path))
    _, snapshot = load_case(connector, cases / "09-edfi-local-codes", tmp_path)
    assert code_warnings(snapshot, "edfi") == []
    features = features_on(snapshot)
    assert features["absent_days_year"].sum() == features["unexcused_60"].sum() == 48


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('[attendances]\nby = "day"', r"there is no \[attendances\]; the tables are attendance"),
        ('[attendance]\nby = "week"', r"\[attendance\] by is 'week'; it must be one of day"),
        ('[attendance.codes]\nUX = "gone"', r"codes says 'gone' of 'UX'; it must be one of"),
        (
            '[attendance.codes]\nT = { status = "tardy", absent_share = 0.5 }',
            "how much of a day is missed by 'T', which is no absence",
        ),
        ("[calendar]\nschool_days = 3", r"\[calendar\] school_days is 3; it must be a list"),
        ("[attendance", "edfi.toml"),
    ],
)
def test_a_profile_that_cannot_be_used_names_file_and_key(tmp_path: Path, text: str, message: str):
    file = tmp_path / "profiles" / "edfi.toml"
    file.parent.mkdir()
    file.write_text(text)
    with pytest.raises(ProfileError, match=message):
        read_profile("edfi", tmp_path)


def test_today_is_not_counted_before_attendance_was_taken(cases: Path, tmp_path: Path):
    _, snapshot = load_case(
        OneRosterFiles(), cases / "100-today-counts-as-attended" / "roster", tmp_path
    )
    for today in (date(2025, 12, 18), AS_OF):
        yesterday = date.fromordinal(today.toordinal() - 1)
        features = features_on(snapshot, today, settled=yesterday)
        assert features.loc["1", "current_run"] == 5
        assert "Absent the last 5 school days in a row, excused or not" in headlines(
            features.loc[["1"]]
        )


def test_without_an_attendance_file_nothing_is_said_of_attendance(cases: Path, tmp_path: Path):
    _, snapshot = load_case(OneRosterFiles(), cases / "26-or-no-attendance", tmp_path)
    features = features_on(snapshot)
    attendance = [name for name in features if "abs" in name or "run" in name or "tard" in name]
    assert len(features)
    assert features[attendance].isna().all(axis=None)


def roster_with_attendance(cases: Path, folder: Path, attendance: str) -> Path:
    """The roster of a case, with other attendance."""
    folder.mkdir()
    for file in (cases / "100-today-counts-as-attended" / "roster").glob("*.csv"):
        (folder / file.name).write_bytes(file.read_bytes())
    (folder / "attendance.csv").write_text(attendance)
    return folder


def test_a_roster_beside_which_districts_own_codes_lie_is_read_by_the_profile(
    cases: Path, tmp_path: Path
):
    folder = roster_with_attendance(
        cases,
        tmp_path / "in",
        "userSourcedId,school_id,date,status,absent_share,part\n"
        "1,100,2025-12-12,UX,,\n"
        "1,100,2025-12-15,EX,,AM\n"
        "1,100,2025-12-15,UX,,PM\n"
        "1,100,2025-12-16,HD,,\n"
        "1,100,2025-12-17,UX,,P3\n"
        "1,100,2025-12-18,T,,\n"
        "2,100,2025-12-18,FT,,\n"
        "3,100,2025-12-18,??,,\n" + "".join(f"5,100,{day},T,,\n" for day in SCHOOL_DAYS[:60]),
    )
    profile = tmp_path / "profiles" / "oneroster.toml"
    profile.parent.mkdir()
    profile.write_text(
        "[attendance.codes]\n"
        'UX = "absent_unexcused"\nEX = "absent_excused"\nT = "tardy"\nFT = "ignored"\n'
        'HD = { status = "absent_excused", absent_share = 0.5 }\n'
    )
    connector = OneRosterFiles(profile=read_profile("oneroster", tmp_path))
    report, snapshot = load_case(connector, folder, tmp_path)
    row = features_on(snapshot).loc["1"]
    assert row["absent_days_year"] == 2.5
    assert (row["excused_60"], row["unexcused_60"], row["tardies_60"]) == (1.0, 1.5, 1)
    reasons = {(aside.line, aside.column): aside.reason for aside in snapshot.set_aside()}
    assert "how much of the day that is" in reasons[6, "absent_share"]
    assert "profiles/oneroster.toml must say what it means" in reasons[9, "status"]
    assert report.codes["status"].codes == {"??": 1}
