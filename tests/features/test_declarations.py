"""The data files of features and alerts, and errors that name their file, table and key."""

from __future__ import annotations

from pathlib import Path

import pytest

from features.alerts import ALERTS_FILE, AlertRules, read_alert_rules
from features.catalog import ALERT_FEATURES, CATALOG, CATALOG_FILE, catalog_hash, read_catalog
from features.declarations import DeclarationError

FEATURE = """
[absences]
family = "attendance"
category = "attendance"
unit = "school days"
description = "Absences"
phrase = "absent on {value:day|days}"
"""
RULE = """
[absent]
severity = 2
features = ["current_run"]
when.current_run.at_least = 3
headline = "Absent the last {current_run} school days"
source = "A source"
"""


def test_a_model_trained_before_the_data_file_still_opens():
    """The digest of the catalog as it stood in Python code."""
    assert catalog_hash() == "91a18b467ca9643b4fe261603351b5d00776df3efc01284e19c43624679d2005"


def test_the_files_are_what_the_package_uses():
    assert read_catalog(CATALOG_FILE) == (*CATALOG, *ALERT_FEATURES)
    assert read_alert_rules(ALERTS_FILE) == AlertRules.declared().rules


def test_a_phrase_writes_counts_shares_and_sizes(tmp_path: Path):
    file = tmp_path / "catalog.toml"
    cases = """phrase = [
  { below = 0, text = "down {value:size}, {value:percent}" },
  { equals = 1, text = "one" },
  { text = "{value:day|days}, {value}" },
]"""
    file.write_text(FEATURE.replace('phrase = "absent on {value:day|days}"', cases))
    (feature,) = read_catalog(file)
    assert [feature.phrase(value) for value in (-0.5, 1.0, 2.0)] == [
        "down 0, -50%",
        "one",
        "2 days, 2",
    ]


@pytest.mark.parametrize(
    ("before", "after", "problem"),
    [
        ('unit = "school days"\n', "", r"\[absences\] unit is missing"),
        ('unit = "school days"', "unit = 3", r"\[absences\] unit is 3; it must be a text"),
        ("description", "meaning", r"\[absences\] meaning is not known; the keys are family"),
        ('= "attendance"\nunit', '= "gossip"\nunit', r"category is 'gossip'; .* one of directory"),
        ("{value:day|days}", "{count}", r"phrase cannot be filled in with value: 'count'"),
        ("{value:day|days}", "{value:roman}", r"phrase cannot be filled in .*'roman' is not a way"),
        ("[absences]\n", "absences = 1\n[other]\n", r"absences is 1; it must be a table"),
        ("[absences]", "[absences", r"catalog.toml: "),
    ],
)
def test_a_mistake_in_the_catalog_is_named(before: str, after: str, problem: str, tmp_path: Path):
    file = tmp_path / "catalog.toml"
    file.write_text(FEATURE.replace(before, after))
    with pytest.raises(DeclarationError, match=problem) as refused:
        read_catalog(file)
    assert str(file) in str(refused.value)


@pytest.mark.parametrize(
    ("before", "after", "problem"),
    [
        ("severity = 2", "severity = 4", r"\[absent\] severity is 4; it must be one of 3, 2, 1"),
        ('["current_run"]', '["run"]', r"features names 'run'; catalog.toml has no such feature"),
        ("at_least = 3", "over = 3", r"when.current_run.over is not known; the comparisons are"),
        ("at_least = 3", 'at_least = "3"', r"when.current_run.at_least is '3'; .* a number"),
        ("when.current_run.", "when.grade_level.", r"when.grade_level is not among its features"),
        ("{current_run}", "{run}", r"headline cannot be filled in with current_run: 'run'"),
    ],
)
def test_a_mistake_in_the_alerts_is_named(before: str, after: str, problem: str, tmp_path: Path):
    file = tmp_path / "alerts.toml"
    file.write_text(RULE.replace(before, after))
    with pytest.raises(DeclarationError, match=problem) as refused:
        read_alert_rules(file)
    assert str(file) in str(refused.value)


def test_the_most_severe_rules_come_first(tmp_path: Path):
    file = tmp_path / "alerts.toml"
    file.write_text(
        RULE + RULE.replace("[absent]", "[worse]").replace("severity = 2", "severity = 3")
    )
    with pytest.raises(DeclarationError, match=r"\[worse\] severity is above that of absent"):
        read_alert_rules(file)
