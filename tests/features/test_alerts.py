"""A district's own alert rules: read whole or refused, for some grades, for unexcused absences, for
any pass mark; and the versions that have been in force.
"""

from __future__ import annotations

import shutil
from datetime import date, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from features.alert_versions import (
    BUILT_IN,
    OWN,
    keep_version,
    kept_rules,
    version_file,
    versions_in_force,
)
from features.alerts import ALERTS_FILE, AlertRules, raise_alerts
from features.build import build_features
from features.catalog import CATALOG, catalog_hash, feature_names
from features.declarations import DeclarationError
from records.access.scope import pipeline_scope, scope_for
from records.access.scoped_records import ScopedRecords
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
HELD = [day for day in DAYS if day <= TODAY]
FIRST_GRADE = {"kinder": 0, "ninth": 9, "tenth": 10, "unknown": None}
RULE = """
[{name}]
severity = {severity}
features = {features}
{more}
{when}
headline = "{headline}"
source = "A source"
"""


def rule(
    *features: str,
    when: str,
    name: str = "own",
    severity: int = 2,
    more: str = "",
    headline: str = "Look",
) -> str:
    listed = "[" + ", ".join(f'"{feature}"' for feature in features) + "]"
    return RULE.format(
        name=name, severity=severity, features=listed, more=more, when=when, headline=headline
    )


def own_rules(home: Path, *texts: str) -> AlertRules:
    home.mkdir(parents=True, exist_ok=True)
    (home / ALERTS_FILE.name).write_text("".join(texts), encoding="utf-8")
    return AlertRules.of(home)


def rows(
    absences: dict[str, list[tuple[int, str, float | None]]] | None = None,
    marks: dict[str, list[float]] | None = None,
) -> dict[str, list[dict[str, Any]]]:
    """Students of `FIRST_GRADE`; absences as (days before the last one, status, share)."""
    return {
        "schools": [{"school_id": "k1", "name": "K"}],
        "calendar": [{"school_id": "k1", "date": day, "school_year": 2026} for day in DAYS],
        "students": [
            {"student_id": name, "first_name": name, "school_id": "k1", "grade_level": grade}
            for name, grade in FIRST_GRADE.items()
        ],
        "attendance_events": [
            {
                "student_id": name,
                "school_id": "k1",
                "date": HELD[-1 - ago],
                "status": status,
                "absent_share": share,
            }
            for name, days in (absences or {"unknown": [(60, "tardy", None)]}).items()
            for ago, status, share in days
        ],
        "course_grades": [
            {
                "student_id": name,
                "course": f"Course {place}",
                "school_year": 2026,
                "period": 1,
                "date": DAYS[20],
                "grade": mark,
            }
            for name, own in (marks or {}).items()
            for place, mark in enumerate(own)
        ],
        "service_enrollments": [
            {
                "student_id": name,
                "program_id": "p1",
                "organization_id": "tutors",
                "start_date": DAYS[0],
            }
            for name in FIRST_GRADE
        ],
    }


def features_of(snapshot: Snapshot, rules: AlertRules) -> pd.DataFrame:
    records = ScopedRecords(snapshot, pipeline_scope(snapshot, "features", TODAY))
    return build_features(records, TODAY, also=rules.extra_features)


def raised(snapshot: Snapshot, rules: AlertRules) -> dict[str, str]:
    """The headline of each student who has an alert; they have one at most."""
    alerts = raise_alerts(features_of(snapshot, rules), rules)
    assert len({alert.student_id for alert in alerts}) == len(alerts)
    return {alert.student_id: alert.headline for alert in alerts}


def test_a_districts_own_file_is_the_whole_list_of_rules(tmp_path: Path):
    assert AlertRules.of(tmp_path) is AlertRules.declared()
    assert AlertRules.declared().is_built_in
    own = own_rules(tmp_path, rule("current_run", when="when.current_run.at_least = 4"))
    assert [known.name for known in own.rules] == ["own"]
    assert not own.is_built_in and own.file == tmp_path / "alerts.toml"
    assert AlertRules.of(tmp_path) is own, "it is parsed again only when its content has changed"
    shutil.copyfile(ALERTS_FILE, tmp_path / ALERTS_FILE.name)
    assert AlertRules.of(tmp_path).is_built_in
    assert AlertRules.of(tmp_path).sha256 == AlertRules.declared().sha256


def test_a_comment_is_another_version_and_says_nothing_else(tmp_path: Path):
    text = rule("current_run", when="when.current_run.at_least = 4")
    first = own_rules(tmp_path, text)
    second = own_rules(tmp_path, "# Agreed in June.\r\n", text)
    third = own_rules(tmp_path, text.replace("= 4", "= 5"))
    assert first.sha256 == second.sha256 != third.sha256
    assert len({first.version, second.version, third.version}) == 3
    assert all(len(rules.version) == 12 for rules in (first, second, third))


def test_a_file_saved_by_a_spreadsheet_or_notepad_is_read(tmp_path: Path):
    text = rule("current_run", when="when.current_run.at_least = 4").replace("\n", "\r\n")
    (tmp_path / "alerts.toml").write_bytes(b"\xef\xbb\xbf" + text.encode())
    assert [known.name for known in AlertRules.of(tmp_path).rules] == ["own"]


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("", r"holds no rule, .* at least one table"),
        ("# nothing yet\n", r"holds no rule"),
        ("version = 2\n", r"version is 2; it must be a table: \[version\]"),
        ("[own\n", r"alerts.toml: "),
        (
            rule("current_run", when="when.current_run.at_least = 4").replace("source =", "#"),
            r"\[own\] source is missing; it must say where the threshold comes from",
        ),
        (
            rule("current_runs", when="when.current_runs.at_least = 4"),
            r"\[own\] features names 'current_runs'; .*there are grade_level, .*unexcused_run.*"
            r"courses_below_N for any whole mark N from 1 to 100",
        ),
        (
            rule("courses_below_0", when="when.courses_below_0.at_least = 1"),
            r"features names 'courses_below_0'",
        ),
        (
            rule("courses_below_101", when="when.courses_below_101.at_least = 1"),
            r"features names 'courses_below_101'",
        ),
        (
            rule("courses_below_6.5", when="when.current_run.at_least = 1"),
            r"features names 'courses_below_6.5'",
        ),
        (
            rule("current_run", "current_run", when="when.current_run.at_least = 1"),
            r"features names a feature twice",
        ),
        (
            rule("absence_rate_year", when="when.absence_rate_year.at_least = 10"),
            r"when.absence_rate_year.at_least is 10; .*10% of them is written 0.10",
        ),
        (
            rule("current_run", when="when.current_run.at_least = 1", more='grades = "9"'),
            r"\[own\] grades is '9'; it must be a list such as",
        ),
        (
            rule("current_run", when="when.current_run.at_least = 1", more="grades = []"),
            r"\[own\] grades is \[\]; it must be a list such as",
        ),
        (
            rule("current_run", when="when.current_run.at_least = 1", more="grades = [9]"),
            r"\[own\] grades has 9; the grades are PK, K, 1, .*12, each in quotes",
        ),
        (
            rule("current_run", when="when.current_run.at_least = 1", more="grades.from = '13'"),
            r"\[own\] grades.from has '13'; the grades are PK",
        ),
        (
            rule("current_run", when="when.current_run.at_least = 1", more="grades.until = '9'"),
            r"\[own\] grades must have from, to or both",
        ),
        (
            rule(
                "current_run",
                when="when.current_run.at_least = 1",
                more="grades = { from = '9', to = '8' }",
            ),
            r"\[own\] grades ends before it begins",
        ),
    ],
)
def test_a_mistake_is_named_and_no_rule_of_ours_stands_in(text: str, problem: str, tmp_path: Path):
    (tmp_path / "alerts.toml").write_text(text, encoding="utf-8")
    with pytest.raises(DeclarationError, match=problem) as refused:
        AlertRules.of(tmp_path)
    assert str(tmp_path / "alerts.toml") in str(refused.value)


def test_a_file_that_cannot_be_read_is_named(tmp_path: Path):
    (tmp_path / "alerts.toml").mkdir()
    with pytest.raises(DeclarationError, match=r"alerts.toml: cannot be read"):
        AlertRules.of(tmp_path)


@pytest.mark.parametrize(
    ("grades", "expected"),
    [
        ("", {"kinder", "ninth", "tenth", "unknown"}),
        ('grades = ["K", "10"]', {"kinder", "tenth"}),
        ('grades.from = "9"', {"ninth", "tenth"}),
        ('grades.to = "9"', {"kinder", "ninth"}),
        ('grades = { from = "10", to = "12" }', {"tenth"}),
        ('grades = ["PK"]', set()),
    ],
)
def test_a_rule_speaks_of_its_grades_alone_and_never_of_an_unknown_one(
    grades: str, expected: set[str], tmp_path: Path
):
    away = {name: [(ago, "absent_excused", None) for ago in range(4)] for name in FIRST_GRADE}
    rules = own_rules(
        tmp_path, rule("current_run", when="when.current_run.at_least = 4", more=grades)
    )
    assert raised(snapshot_of(rows(away), tmp_path), rules).keys() == expected


def test_courses_below_any_mark_are_counted(tmp_path: Path):
    marks = {
        "kinder": [64.0, 64.9, 65.0, 90.0],
        "ninth": [65.0, 66.0],
        "tenth": [10.0, 20.0, 30.0],
    }
    snapshot = snapshot_of(rows(marks=marks), tmp_path)
    text = rule(
        "courses_below_65",
        when="when.courses_below_65.at_least = 2",
        headline="Grade below 65 in {courses_below_65:course|courses}",
    )
    rules = own_rules(tmp_path, text)
    assert raised(snapshot, rules) == {
        "kinder": "Grade below 65 in 2 courses",
        "tenth": "Grade below 65 in 3 courses",
    }
    assert [a.detail for a in raise_alerts(features_of(snapshot, rules), rules)] == [
        "2 courses below 65",
        "3 courses below 65",
    ]
    every = AlertRules.read(own_rules(tmp_path, text.replace("65", "100")).file)
    frame = features_of(snapshot, every)
    assert frame["courses_below_100"].dropna().to_dict() == {"kinder": 4, "ninth": 2, "tenth": 3}
    for mark in (60, 70):
        known = own_rules(tmp_path, text.replace("65", str(mark)))
        assert known.extra_features == (), "a column of the feature table is not computed twice"


def test_unexcused_absences_are_counted_apart_and_an_unknown_kind_is_never_a_no(tmp_path: Path):
    excused, unexcused = "absent_excused", "absent_unexcused"
    away: dict[str, list[tuple[int, str, float | None]]] = {
        # Two unexcused up to the last day, then an excused one and two more.
        "kinder": [
            (0, unexcused, None),
            (1, unexcused, None),
            (2, excused, None),
            (3, unexcused, None),
            (9, unexcused, 0.5),
        ],
        # The day before may have been unexcused as well: nobody said.
        "ninth": [(0, unexcused, None), (1, "partial", 0.9), (30, unexcused, None)],
        # Nothing says of any absence what it was.
        "tenth": [(0, "partial", 0.9), (5, "partial", 0.4)],
    }
    text = rule(
        "unexcused_run",
        "unexcused_days_year",
        "unexcused_rate_year",
        when="when.unexcused_run.at_least = 2",
        headline="{unexcused_days_year:tenths} unexcused",
    )
    rules = own_rules(tmp_path, text)
    frame = features_of(snapshot_of(rows(away), tmp_path), rules)
    names = ["unexcused_run", "unexcused_days_year", "unexcused_rate_year", "current_run"]
    assert list(frame.columns) == [*(feature.name for feature in CATALOG), *names[:3]]
    known = frame[names].replace(np.nan, None).to_dict("index")
    days = len(HELD)
    assert known["kinder"] == {
        "unexcused_run": 2,
        "unexcused_days_year": 3.5,
        "unexcused_rate_year": pytest.approx(3.5 / days),
        "current_run": 4,
    }
    assert known["ninth"]["unexcused_run"] is None
    assert known["ninth"]["unexcused_days_year"] == 2
    assert known["tenth"]["unexcused_run"] is None
    assert known["tenth"]["unexcused_days_year"] is None
    assert known["tenth"]["unexcused_rate_year"] is None
    assert known["unknown"] == {
        "unexcused_run": 0,
        "unexcused_days_year": 0,
        "unexcused_rate_year": 0,
        "current_run": 0,
    }
    alerts = raise_alerts(frame, rules)
    assert [(alert.student_id, alert.headline) for alert in alerts] == [("kinder", "3.5 unexcused")]


def test_what_alert_rules_read_alone_is_no_input_of_a_model():
    for name in ("unexcused_run", "unexcused_days_year", "unexcused_rate_year", "courses_below_65"):
        assert name not in feature_names(model_only=False, behavior=True)
    assert catalog_hash() == "91a18b467ca9643b4fe261603351b5d00776df3efc01284e19c43624679d2005"


@pytest.mark.parametrize(
    ("granted", "expected"),
    [
        (["attendance"], {"unexcused", "row"}),
        (["grades"], {"marks"}),
        (["attendance", "grades"], {"unexcused", "row", "marks", "both"}),
        (["assessments"], set()),
    ],
)
def test_no_rule_reads_what_is_not_granted(granted: list[str], expected: set[str], tmp_path: Path):
    away = {"ninth": [(ago, "absent_unexcused", None) for ago in range(4)]}
    snapshot = snapshot_of(rows(away, {"ninth": [50.0, 60.0]}), tmp_path)
    rules = own_rules(
        tmp_path,
        rule("unexcused_days_year", when="when.unexcused_days_year.at_least = 3", name="unexcused"),
        rule("unexcused_run", when="when.unexcused_run.at_least = 3", name="row"),
        rule("courses_below_65", when="when.courses_below_65.at_least = 2", name="marks"),
        rule(
            "courses_below_65",
            "unexcused_run",
            when="when.courses_below_65.at_least = 2",
            name="both",
        ),
    )
    database = open_database(f"sqlite:///{tmp_path / 'h.db'}")
    add_organization(database, "tutors", Role.CASEWORKER)
    add_agreement(database, categories=["directory", *granted])
    viewer = Viewer("tutors-caseworker", "", "", Role.CASEWORKER, "tutors")
    scope = scope_for(viewer, database, snapshot, at_noon(TODAY), SECRET)
    frame = build_features(ScopedRecords(snapshot, scope), TODAY, also=rules.extra_features)
    alerts = raise_alerts(frame, rules)
    assert {alert.rule for alert in alerts} == expected
    assert all(
        {"directory", *granted} >= {category.value for category in alert.categories}
        for alert in alerts
    )


def test_every_version_that_was_in_force_is_kept_with_its_day(tmp_path: Path):
    first, later = datetime(2026, 4, 1, 8), datetime(2026, 4, 17, 9)
    keep_version(tmp_path, AlertRules.of(tmp_path), first)
    keep_version(tmp_path, AlertRules.of(tmp_path), later)
    own = own_rules(tmp_path, rule("current_run", when="when.current_run.at_least = 4"))
    keep_version(tmp_path, own, later)
    declared = AlertRules.declared()
    assert [
        (entry.since, entry.version, entry.origin) for entry in versions_in_force(tmp_path)
    ] == [
        (first, declared.version, BUILT_IN),
        (later, own.version, OWN),
    ]
    assert version_file(tmp_path, own.version).read_bytes() == own.content
    found = kept_rules(tmp_path, declared.sha256)
    assert found is not None and found.rules == declared.rules
    assert kept_rules(tmp_path, "0" * 64) is None
