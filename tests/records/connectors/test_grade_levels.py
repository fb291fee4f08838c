"""One function knows the words for grades, whatever source they come from."""

from __future__ import annotations

import pytest

from records.canonical.quarantine import BadValue
from records.connectors.grade_levels import grade_level

CEDS = ["IT", "PR", "PK", "TK", "KG", *(f"{n:02}" for n in range(1, 14)), "PS", "UG", "Other"]
ED_FI = [
    "Infant/toddler",
    "Preschool",
    "Prekindergarten",
    "Transitional Kindergarten",
    "Kindergarten",
    *("First grade", "Second grade", "Third grade", "Fourth grade", "Fifth grade", "Sixth grade"),
    *("Seventh grade", "Eighth grade", "Ninth grade", "Tenth grade", "Eleventh grade"),
    "Twelfth grade",
    "Grade 13",
    "Postsecondary",
    "Ungraded",
    "Other",
]
EXPECTED = [-1, -1, -1, 0, 0, *range(1, 14), None, None, None]


def test_the_codes_of_ceds_and_the_code_values_of_ed_fi_are_the_same_grades():
    assert [grade_level(code) for code in CEDS] == EXPECTED
    assert [grade_level(value) for value in ED_FI] == EXPECTED
    uri = "uri://ed-fi.org/GradeLevelDescriptor#"
    assert [grade_level(uri + value) for value in ED_FI] == EXPECTED


@pytest.mark.parametrize(
    ("texts", "expected"),
    [
        (["9", "09", "9th", "9TH", " 9th grade ", "Grade 9", "grade 09", "Gr. 9", "G9"], 9),
        (["Ninth", "ninth_grade", "NINTH GRADE", "Freshman", "9.0", "Grade nine", "09th"], 9),
        (["1", "1st", "First grade", "Grade 1"], 1),
        (["12", "Twelfth grade", "12th Grade", "Senior"], 12),
        (["K", "KG", "Kindergarten", "0", "00", "TK", "KF", "Kindergarten (half day)"], 0),
        (["PK", "Pre-K", "PreK", "-1", "-2", "Preschool/Prekindergarten", "Early Education"], -1),
        (["", "  ", "-", "UG", "ungraded", "PS", "Post-secondary", "AE", "ABE", "N/A"], None),
    ],
)
def test_the_usual_spellings_are_known(texts: list[str], expected: int | None):
    assert {text: grade_level(text) for text in texts} == dict.fromkeys(texts, expected)


@pytest.mark.parametrize("text", ["ninety", "14", "99", "-9", "9-12", "Year 9", "Room 9", "A"])
def test_what_is_no_word_for_a_grade_is_refused_with_what_would_be_right(text: str):
    with pytest.raises(BadValue) as refused:
        grade_level(text, "grades")
    assert refused.value.column == "grades"
    assert refused.value.reason == (
        f"grades is {text!r}; a grade must look like KG, 01, 12, Ninth grade or UG"
    )
