"""What is odd is said in plain words, the worst first, and never about too few students."""

from __future__ import annotations

import re
from dataclasses import replace
from datetime import date
from pathlib import Path

import pytest

from records.checks.measures import MEASURES
from records.checks.oddities import oddities
from records.checks.plausible_ranges import (
    PLAUSIBLE_RANGES_FILE,
    PlausibleRangesError,
    declared_ranges,
    plausible_ranges,
)
from records.checks.quality import SilentSchool
from records.checks.school_figures import LoadFigures, SchoolFigures

DAY = date(2026, 3, 20)
RANGES = declared_ranges()
OAK = SchoolFigures("oak", "Oak High", 200, 100, 100, DAY, 200, 0.94, 200, 30)


def words(
    *schools: SchoolFigures,
    before: list[SchoolFigures] | None = None,
    silent: list[SilentSchool] | None = None,
) -> list[str]:
    def load(some: list[SchoolFigures]) -> LoadFigures:
        return LoadFigures(DAY, 10, {one.school_id: one for one in some})

    last = load(before) if before is not None else None
    return [one.words for one in oddities(load([*schools]), last, RANGES, silent or [])]


def test_a_plausible_school_is_not_mentioned():
    assert words(OAK, before=[OAK]) == []


def test_a_figure_beyond_its_range_is_said_with_the_range_and_its_source():
    [sentence] = words(replace(OAK, attendance=0.52))
    assert sentence.startswith(
        "At Oak High the average attendance is 52%; 80% to 99% is plausible (NCES, School"
    )


def test_the_worst_comes_first_and_silence_before_all():
    silent = SilentSchool("Elm Terrace", date(2026, 3, 3), 12, "elm")
    never = SilentSchool("Pine", None, 100, "pine")
    low, lower = replace(OAK, attendance=0.70), replace(OAK, name="Ash", attendance=0.30)
    sentences = words(low, replace(lower, school_id="ash"), silent=[silent, never])
    assert sentences[:2] == [
        "Elm Terrace has no absences since March 3, 2026: its clerk may not have sent them."
        " 12 school days are unknown",
        "Pine has no absences this school year: its clerk may not have sent them."
        " 100 school days are unknown",
    ]
    assert [sentence.split(" the ")[0] for sentence in sentences[2:]] == ["At Ash", "At Oak High"]


@pytest.mark.parametrize(("high", "scale"), [(4, 4), (4.3, 5), (10, 10), (12, 12), (19, 20)])
def test_marks_of_another_scale_are_recognized(high: float, scale: int):
    [sentence] = words(replace(OAK, marked=200, lowest=1.0, highest=high, mean_mark=high / 2))
    assert sentence.startswith(
        f"Marks at Oak High run from 1 to {high:g}: they may be on a {scale}-"
    )


def test_what_is_about_too_few_students_is_not_said():
    few = replace(OAK, enrolled=9, attended_by=9, attendance=0.1, judged=9, chronic=9)
    assert words(few) == []


def test_an_enrollment_that_jumps_is_said_beside_the_last_load():
    [sentence] = words(replace(OAK, enrolled=150), before=[OAK])
    assert sentence.startswith(
        "At Oak High 150 students are enrolled; there were 200 at the last load (March 20, 2026)."
    )
    assert words(replace(OAK, enrolled=160), before=[OAK]) == []


def test_what_no_school_knows_is_no_fault_of_one():
    unknown = replace(OAK, unknown={"meal_eligible": 200})
    elm = replace(unknown, school_id="elm", name="Elm")
    assert words(unknown, elm) == []
    [sentence] = words(unknown, replace(elm, unknown={"meal_eligible": 0}))
    assert sentence.startswith(
        "At Oak High the share of students whose eligibility for meals is unknown is 100%"
    )


def test_each_range_is_of_a_figure_and_says_where_it_comes_from():
    used = {measure.range_key for measure in MEASURES if measure.range_key}
    assert used | {"enrolled_change"} == set(RANGES)
    assert all(len(one.source) > 20 for one in RANGES.values())


def test_a_district_may_put_its_own_range_in_place_of_one(tmp_path: Path):
    assert plausible_ranges(tmp_path) == RANGES
    own = tmp_path / PLAUSIBLE_RANGES_FILE.name
    own.write_text('[attendance]\nlow = 0.9\nhigh = 1.0\nsource = "Board policy"\n')
    changed = plausible_ranges(tmp_path)
    assert (changed["attendance"].low, changed["attendance"].source) == (0.9, "Board policy")
    assert {**changed, "attendance": RANGES["attendance"]} == RANGES


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('[atendance]\nlow = 0\nhigh = 1\nsource = "x"', "atendance is not known; there are days_"),
        ("[attendance]\nlow = 0.5", "attendance must have low, high, source, and nothing else"),
        ("attendance = 3", "attendance must have low, high, source"),
        ('[attendance]\nlow = "a"\nhigh = 1\nsource = "x"', "low is 'a'; it must be a number"),
        ('[attendance]\nlow = 2\nhigh = 1\nsource = "x"', "low is 2; it must be below high, 1"),
        ('[attendance]\nlow = 0\nhigh = 1\nsource = " "', "source is ' '; it must say in words"),
        (
            '[attendance]\nlow = 0.9\nhigh = 1\nsource = "Board policy"\nsilence_below = 0.95',
            "silence_below is 0.95; it must not lie within the range: low is 0.9",
        ),
        (
            '[attendance]\nlow = 0.9\nhigh = 1\nsource = "Board policy"\nsilence_above = "x"',
            "silence_above is 'x'; it must be a number",
        ),
        ("[attendance", "plausible_ranges.toml: Expected"),
    ],
)
def test_a_file_that_cannot_be_used_says_what_would_be_right(
    tmp_path: Path, text: str, message: str
):
    own = tmp_path / PLAUSIBLE_RANGES_FILE.name
    own.write_text(text)
    with pytest.raises(PlausibleRangesError, match=re.escape(message)):
        plausible_ranges(tmp_path)
