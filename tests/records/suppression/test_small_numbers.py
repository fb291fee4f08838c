"""One rule of small numbers: a district may tighten it, never loosen it."""

from __future__ import annotations

from pathlib import Path

import pytest

from records.suppression.small_numbers import (
    DISTRICT_SOURCE,
    SMALL_NUMBERS_FILE,
    SmallNumbers,
    SmallNumbersError,
)

DECLARED = SmallNumbers.declared()


def test_ten_students_are_the_fewest_unless_a_district_says_more(tmp_path: Path):
    assert DECLARED.smallest_cell == 10 and "NCES 2011-603" in DECLARED.source
    assert SmallNumbers.from_home(tmp_path) == DECLARED
    own = tmp_path / SMALL_NUMBERS_FILE.name
    own.write_text("smallest_cell = 20\n", encoding="utf-8")
    assert SmallNumbers.from_home(tmp_path) == SmallNumbers(20, DISTRICT_SOURCE)
    own.write_text('smallest_cell = 20\nsource = "Board policy 5125"\n', encoding="utf-8")
    assert SmallNumbers.from_home(tmp_path).source == "Board policy 5125"
    assert SmallNumbers(20).sha256 != DECLARED.sha256


@pytest.mark.parametrize(
    ("smallest", "published"),
    [
        (10, {0: None, 9: None, 10: 10, 14: 10, 15: 20, 25: 30}),
        (20, {9: None, 19: None, 20: 20, 24: 20, 25: 30}),
    ],
)
def test_a_count_is_rounded_to_ten_or_suppressed(smallest: int, published: dict[int, int | None]):
    rule = SmallNumbers(smallest)
    assert {count: rule.published_count(count) for count in published} == published


def test_the_rule_reads_as_a_sentence_has_it():
    assert (DECLARED.in_words, SmallNumbers(20).in_words) == ("ten", "20")


REFUSED = {
    "nine": ("smallest_cell = 9", "smallest_cell is 9; it must be a whole number from 10 to 1000"),
    "two thousand": ("smallest_cell = 2000", "smallest_cell is 2000"),
    "half a student": ("smallest_cell = 10.5", "smallest_cell is 10.5"),
    "true": ("smallest_cell = true", "smallest_cell is True"),
    "text": ('smallest_cell = "20"', "smallest_cell is '20'"),
    "nothing": ("", "smallest_cell is missing"),
    "another name": (
        "smallest_cell = 20\nleast = 3",
        "least is not known; there are smallest_cell",
    ),
    "an empty source": ('smallest_cell = 20\nsource = " "', "source is ' '; it must say in words"),
    "no TOML": ("smallest_cell 20", "line 1"),
}


@pytest.mark.parametrize("name", list(REFUSED))
def test_a_file_that_would_allow_less_is_refused_and_named(tmp_path: Path, name: str):
    text, words = REFUSED[name]
    file = tmp_path / SMALL_NUMBERS_FILE.name
    file.write_text(text, encoding="utf-8")
    with pytest.raises(SmallNumbersError) as refused:
        SmallNumbers.from_home(tmp_path)
    assert str(refused.value).startswith(f"{file}: ") and words in str(refused.value)
