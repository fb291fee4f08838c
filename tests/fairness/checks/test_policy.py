"""The policy: every threshold says where it comes from, and a file that protects nobody is refused
in plain words.
"""

from __future__ import annotations

import re
import tomllib
from dataclasses import replace
from pathlib import Path

import pytest

from fairness.checks.checks import CHECKS, INTERSECTION_SEPARATOR
from fairness.checks.policy import POLICY_FILE, Policy
from fairness.checks.policy_file import GROUP_ATTRIBUTES, Consequence, PolicyError
from fairness.population.comparisons import NOT_RECORDED
from records.canonical.schema import CONSENT_CATEGORIES, Category
from records.suppression.small_numbers import DISTRICT_SOURCE, SmallNumbers

DECLARED = Policy.declared()
TEXT = POLICY_FILE.read_text(encoding="utf-8")


def of(name: str, kind: str = "checks") -> str:
    """One entry as it stands in the file."""
    start = TEXT.index(f"[{kind}.{name}]\n")
    return TEXT[start : TEXT.find("\n\n", start)] + "\n"


def changed(name: str, old: str, new: str, kind: str = "checks") -> tuple[str, str]:
    entry = of(name, kind)
    replacement = re.sub(old, new, entry, count=1, flags=re.MULTILINE)
    assert replacement != entry, f"{old} is not in {entry}"
    return entry, replacement


def test_every_threshold_and_every_check_names_its_source():
    assert set(DECLARED.sources) == set(DECLARED.says) and all(
        map(str.strip, DECLARED.sources.values())
    )
    assert set(DECLARED.checks) == set(CHECKS)
    for name, threshold in DECLARED.checks.items():
        assert re.search(r"\(\d{4}\)|CFR|own step", threshold.source), name
    for source in DECLARED.sources.values():
        assert re.search(r"\(\d{4}\)|NCES|\.toml|own step|Measured", source)


def test_the_declared_policy_is_the_one_that_the_report_explains():
    assert (DECLARED.smallest_cell, DECLARED.fewest_in_need, DECLARED.confidence) == (10, 30, 0.95)
    assert (DECLARED.checks["suggestion"].beyond, DECLARED.checks["missed"].beyond) == (0.80, 0.05)
    assert DECLARED.groups == GROUP_ATTRIBUTES
    assert DECLARED.attributes == (
        *GROUP_ATTRIBUTES,
        "race_ethnicity x sex",
        "race_ethnicity x special_education",
    )
    for name in ("suggestion", "missed", "access"):
        assert DECLARED.checks[name].fails is Consequence.STOPS
        assert DECLARED.checks[name].unsure is Consequence.ASKS
    assert all(threshold.unsure is not Consequence.STOPS for threshold in DECLARED.checks.values())


def test_every_sensitive_fact_is_compared_by_and_counts():
    facts = {
        "sex",
        "race_ethnicity",
        "english_learner",
        "special_education",
        "unstable_housing",
        "meal_eligible",
    }
    assert facts <= set(DECLARED.groups)
    assert all(
        DECLARED.counts(check, fact)
        for fact in facts
        for check in ("suggestion", "missed", "access")
    )
    assert set(Category) >= CONSENT_CATEGORIES and NOT_RECORDED not in DECLARED.groups


def test_what_is_only_reported_says_why_at_length():
    assert all(len(why) >= DECLARED.shortest_reason for why in DECLARED.reported.values())
    assert not DECLARED.counts("missed", "school") and not DECLARED.counts(
        "support", "meal_eligible"
    )
    assert DECLARED.counts("support", "race_ethnicity")
    assert DECLARED.counts("missed", "race_ethnicity" + INTERSECTION_SEPARATOR + "sex")


def test_any_change_of_the_policy_changes_its_digest():
    others = [
        replace(DECLARED, valid_days=181),
        replace(DECLARED, reported={}),
        replace(
            DECLARED,
            checks=DECLARED.checks | {"missed": replace(DECLARED.checks["missed"], beyond=0.04)},
        ),
        replace(DECLARED, says=DECLARED.says | {"valid_days": "Days"}),
        replace(DECLARED, intersections=()),
    ]
    digests = {policy.sha256 for policy in (DECLARED, *others)}
    assert len(digests) == 1 + len(others)
    assert Policy.declared().sha256 == DECLARED.sha256


REFUSED = {
    "a smallest cell of its own": (
        (
            "[thresholds.valid_days]",
            "[thresholds.smallest_cell]\nvalue = 3\n[thresholds.valid_days]",
        ),
        "thresholds.smallest_cell is not known",
    ),
    "nine in need are enough": (
        changed("fewest_in_need", "value = 30", "value = 9", "thresholds"),
        "fewest_in_need.value is 9; it must be a whole number from 20 to 10000",
    ),
    "a coin's confidence": (
        changed("confidence", "0.95", "0.5", "thresholds"),
        "confidence.value is 0.5; it must be a number with a decimal point, from 0.8",
    ),
    "certainty": (changed("confidence", "0.95", "1.0", "thresholds"), "confidence.value is 1.0"),
    "a whole number for a share": (
        changed("confidence", "0.95", "1", "thresholds"),
        "confidence.value is 1;",
    ),
    "days that are true": (
        changed("valid_days", "180", "true", "thresholds"),
        "valid_days.value is True",
    ),
    "days as text": (
        changed("valid_days", "180", '"180"', "thresholds"),
        "valid_days.value is '180'",
    ),
    "valid for ever": (
        changed("valid_days", "180", "100000", "thresholds"),
        "valid_days.value is 100000",
    ),
    "need by a milder alert": (
        changed("need_severity", "2", "0", "thresholds"),
        "need_severity.value is 0",
    ),
    "no need at all": (
        changed("need_severity", "2", "4", "thresholds"),
        "need_severity.value is 4",
    ),
    "a reason of a word": (
        changed("shortest_reason", "40", "5", "thresholds"),
        "shortest_reason.value is 5",
    ),
    "a threshold without a source": (
        changed("valid_days", "^source = .*$", "", "thresholds"),
        "thresholds.valid_days.source is missing",
    ),
    "a threshold with an empty source": (
        changed("valid_days", "^source = .*$", 'source = "  "', "thresholds"),
        "thresholds.valid_days.source is '  '; it must say something",
    ),
    "a threshold without words": (
        changed("valid_days", "^says = .*$", "", "thresholds"),
        "thresholds.valid_days.says is missing",
    ),
    "an unknown threshold": (
        ("[thresholds.valid_days]", "[thresholds.valid_weeks]"),
        "thresholds.valid_weeks is not known",
    ),
    "a missing threshold": (
        (of("drift_days", "thresholds"), ""),
        "thresholds.drift_days is missing",
    ),
    "a missed need as a remark": (
        changed("missed", 'fails = "stops"', 'fails = "shows"'),
        "checks.missed: a failing one must stop",
    ),
    "a missed need that asks": (
        changed("missed", 'fails = "stops"', 'fails = "asks"'),
        "checks.missed: a failing one must stop",
    ),
    "four fifths as a remark": (
        changed("suggestion", 'fails = "stops"', 'fails = "shows"'),
        "checks.suggestion: a failing one",
    ),
    "no doubt about access": (
        changed("access", 'unsure = "asks"', 'unsure = "shows"'),
        "checks.access: .* must ask",
    ),
    "doubt that stops": (
        changed("missed", 'unsure = "asks"', 'unsure = "stops"'),
        "checks.missed.unsure is 'stops'; it must be 'asks' or 'shows'",
    ),
    "an unknown consequence": (
        changed("twins", 'fails = "asks"', 'fails = "warns"'),
        "checks.twins.fails is 'warns'; it must be 'stops', 'asks' or 'shows'",
    ),
    "an unknown check": (("[checks.twins]", "[checks.siblings]"), "checks.siblings is not known"),
    "a missing check": ((of("captured"), ""), "checks.captured is missing"),
    "a check without a source": (
        changed("missed", "^source = .*$", ""),
        "checks.missed.source is missing",
    ),
    "a check with an empty source": (
        changed("missed", "^source = .*$", 'source = " "'),
        "checks.missed.source is ' '; it must say something",
    ),
    "a check with one entry more": (
        changed("missed", "^unsure", "mercy = true\nunsure"),
        "checks.missed.mercy is not known",
    ),
    "a limit that is whole": (
        changed("missed", "beyond = 0.05", "beyond = 0"),
        "checks.missed.beyond is 0; it must be a number with a decimal point",
    ),
    "a limit that nobody reaches": (
        changed("missed", "beyond = 0.05", "beyond = 0.9"),
        "checks.missed.beyond is 0.9",
    ),
    "a limit below nothing": (
        changed("missed", "within = 0.10", "within = -0.1"),
        "checks.missed.within is -0.1",
    ),
    "one fifth for four fifths": (
        changed("suggestion", "beyond = 0.80", "beyond = 0.20"),
        "checks.suggestion.beyond is 0.2",
    ),
    "five fifths": (
        changed("suggestion", "within = 0.80", "within = 1.25"),
        "checks.suggestion.within is 1.25",
    ),
    "ten progress points": (
        changed("calibration", "beyond = 0.5", "beyond = 10.0"),
        "checks.calibration.beyond is 10.0",
    ),
    "a limit that is no number": (
        changed("missed", "beyond = 0.05", "beyond = nan"),
        "checks.missed.beyond is nan",
    ),
    "a reported group that is none": (
        ("[reported]", f'[reported]\nshoe = "{"x" * 40}"'),
        "reported.shoe is none of the groups",
    ),
    "a reported check that is none": (
        ("[reported]", f'[reported]\n"luck:sex" = "{"x" * 40}"'),
        "reported.luck:sex",
    ),
    "a reason too short": (
        ("[reported]", '[reported]\nunstable_housing = "no"'),
        "reported.unstable_housing must give a reason of 40",
    ),
    "a group left out that always counts": (
        ("[reported]", f'[reported]\nrace_ethnicity = "{"x" * 40}"'),
        "reported.race_ethnicity would leave out a group",
    ),
    "a main check of such a group left out": (
        ("[reported]", f'[reported]\n"missed:sex" = "{"x" * 40}"'),
        "reported.missed:sex would leave out a group",
    ),
    "an intersection of such a group left out": (
        ("[reported]", f'[reported]\n"race_ethnicity x sex" = "{"x" * 40}"'),
        "would leave out a group",
    ),
    "a group of shoes": (('"sex", "race', '"shoe", "race'), "no group 'shoe'"),
    "a group twice": (('"sex", "race', '"sex", "sex", "race'), "each once"),
    "an intersection with itself": (
        ('[["race_ethnicity", "sex"]', '[["sex", "sex"]'),
        "the intersection .* must be of two",
    ),
    "an intersection of an unknown group": (
        ('[["race_ethnicity", "sex"]', '[["shoe", "sex"]'),
        "the intersection .*shoe",
    ),
    "a part that is not known": (
        ("[reported]", "[excused]\n\n[reported]"),
        "excused is not known",
    ),
    "a syntax error": (("groups = [", "groups = [["), "line"),
}


@pytest.mark.parametrize(("change", "words"), REFUSED.values(), ids=list(REFUSED))
def test_a_policy_that_would_not_protect_anybody_is_refused_and_the_file_and_entry_are_named(
    tmp_path: Path, change: tuple[str, str], words: str
):
    old, new = change
    assert TEXT.count(old) == 1
    file = tmp_path / "policy.toml"
    file.write_text(TEXT.replace(old, new), encoding="utf-8")
    with pytest.raises(PolicyError, match=rf"policy\.toml: (?s:.)*{words}"):
        Policy.read(file)


GROUPS_LINE = re.compile(r"^groups = \[.*?\]\n", re.DOTALL | re.MULTILINE)
PAIRS_LINE = re.compile(r"^intersections = .*$", re.MULTILINE)
BROKEN = {
    "no groups": (GROUPS_LINE, "", "groups is missing"),
    "an empty list of groups": (GROUPS_LINE, "groups = []\n", "groups must be named"),
    "groups that are a word": (
        GROUPS_LINE,
        'groups = "sex"\n',
        "groups is 'sex'; it must be a list",
    ),
    "groups in a list of lists": (
        GROUPS_LINE,
        'groups = [["sex"]]\n',
        r"groups\.0 is \['sex'\]; it must be text",
    ),
    "an intersection of three": (
        PAIRS_LINE,
        'intersections = [["race_ethnicity", "sex", "school"]]',
        r"intersections\.0 is .*; it must be a list of two",
    ),
    "a threshold that is a number": (
        re.compile(r"^\[thresholds.valid_days\]\n(.+\n)+", re.MULTILINE),
        "[thresholds]\nvalid_days = 180\n",
        "thresholds.valid_days is 180; it must be a table",
    ),
    "a check that is a number": (
        re.compile(r"^\[checks.twins\]\n(.+\n)+", re.MULTILINE),
        "[checks]\ntwins = 0.05\n",
        "checks.twins is 0.05; it must be a table",
    ),
    "a reason that is a number": (
        re.compile(r"^\[reported\]", re.MULTILINE),
        "[reported]\nsex = 1",
        "reported.sex is 1; it must be text",
    ),
}


@pytest.mark.parametrize("name", list(BROKEN))
def test_a_policy_of_another_shape_is_refused_in_words(tmp_path: Path, name: str):
    old, new, words = BROKEN[name]
    text, times = old.subn(new, TEXT)
    assert times == 1
    file = tmp_path / "policy.toml"
    file.write_text(text, encoding="utf-8")
    with pytest.raises(PolicyError, match=rf"policy\.toml: .*({words})"):
        Policy.read(file)


def test_a_district_may_tighten_the_policy(tmp_path: Path):
    file = tmp_path / "policy.toml"
    text = TEXT.replace(*changed("missed", "beyond = 0.05", "beyond = 0.02"))
    text = text.replace(*changed("captured", 'unsure = "shows"', 'unsure = "asks"'))
    file.write_text(text, encoding="utf-8")
    policy = Policy.from_home(tmp_path)
    assert (policy.checks["missed"].beyond, policy.smallest_cell) == (0.02, 10)
    assert policy.checks["captured"].unsure is Consequence.ASKS
    assert policy.sha256 != DECLARED.sha256


def test_a_policy_takes_the_smallest_cell_from_the_rule_that_all_figures_obey(tmp_path: Path):
    assert Policy.from_home(tmp_path) == DECLARED
    assert DECLARED.sources["smallest_cell"] == SmallNumbers.declared().source
    (tmp_path / "small_numbers.toml").write_text("smallest_cell = 20\n", encoding="utf-8")
    policy = Policy.from_home(tmp_path)
    assert (policy.smallest_cell, policy.sources["smallest_cell"]) == (20, DISTRICT_SOURCE)
    assert policy.sha256 != DECLARED.sha256


def test_every_mistake_in_a_policy_is_named_at_once(tmp_path: Path):
    file = tmp_path / "policy.toml"
    text = TEXT.replace(*changed("missed", "beyond = 0.05", "beyond = 0.9"))
    file.write_text(text.replace('"sex", "race', '"shoe", "race'), encoding="utf-8")
    with pytest.raises(PolicyError) as refused:
        Policy.read(file)
    lines = str(refused.value).splitlines()
    assert all(line.startswith(f"{file}: ") for line in lines)
    assert any("checks.missed.beyond" in line for line in lines)
    assert any("no group 'shoe'" in line for line in lines)


def test_the_file_as_it_comes_is_what_is_read():
    content = tomllib.loads(TEXT)
    assert {name: entry["value"] for name, entry in content["thresholds"].items()} == {
        name: getattr(DECLARED, name) for name in content["thresholds"]
    }
    for name, entry in content["checks"].items():
        threshold = DECLARED.checks[name]
        assert (
            threshold.beyond,
            threshold.within,
            threshold.fails,
            threshold.unsure,
            threshold.source,
        ) == tuple(entry.values())
