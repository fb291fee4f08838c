"""Source text becomes a canonical value, or an error that says what would be right."""

from __future__ import annotations

from datetime import date

import pytest

from records.canonical.quarantine import BadValue, convert, convert_row
from records.canonical.schema import TABLES


def column(table: str, name: str):
    return TABLES[table].column(name)


@pytest.mark.parametrize(
    ("table", "name", "text", "value"),
    [
        ("students", "birth_date", "2014-05-06", date(2014, 5, 6)),
        ("students", "grade_level", "-1", -1),
        ("students", "birth_date", "2014/5/6", date(2014, 5, 6)),
        ("students", "birth_date", "06-May-2014", date(2014, 5, 6)),
        ("students", "birth_date", "NULL", None),
        ("students", "last_name", "Null", "Null"),
        ("course_grades", "grade", "87.5", 87.5),
        ("characteristics", "english_learner", "Yes", True),
        ("characteristics", "english_learner", "0", False),
        ("students", "first_name", "  ", None),
    ],
)
def test_good_text_becomes_its_value(table, name, text, value):
    assert convert(column(table, name), text) == value


@pytest.mark.parametrize(
    ("table", "name", "text", "part"),
    [
        ("students", "student_id", "", "a row needs it"),
        ("students", "birth_date", "5 June 2014", "must look like 2026-04-17 or 4/17/2026"),
        ("students", "birth_date", "14/02/2014", "with the day first"),
        ("students", "birth_date", "13/13/2014", "there is no such day"),
        ("students", "birth_date", "14.02.2014", "must look like"),
        ("students", "birth_date", "2/14/14", "a year of two digits"),
        ("students", "birth_date", "14-FEB-14", "a year of two digits"),
        ("students", "birth_date", "41765", "a spreadsheet's number of a day"),
        ("students", "last_name", "#REF!", "the error of a spreadsheet's formula"),
        ("students", "birth_date", "2/14-2014", "must look like"),
        ("students", "birth_date", "2/30/2014", "there is no such day"),
        ("students", "birth_date", "2014-02-30", "there is no such day"),
        ("students", "birth_date", "2014-02-14 (about)", "must look like"),
        ("students", "birth_date", "41684", "must look like"),
        ("students", "student_id", "1.2E+09", "shortened"),
        ("students", "student_id", "1.23457e+12", "shortened"),
        ("students", "school_id", "1,2E+09", "export the file anew with the column as text"),
        ("students", "birth_date", "0014-05-06", "outside"),
        ("attendance_events", "status", "sleeping", "must be one of"),
        ("course_grades", "grade", "nan", "must be a number"),
        ("course_grades", "grade", "A", "must be a number"),
        ("students", "last_name", "Lee 123-45-6789", "social security"),
    ],
)
def test_bad_text_says_the_column_and_what_would_be_right(table, name, text, part):
    with pytest.raises(BadValue, match=part) as error:
        convert(column(table, name), text)
    assert error.value.column == name
    assert "123-45-6789" not in str(error.value)


def test_a_column_that_the_source_lacks_is_empty_not_guessed():
    assert convert_row(TABLES["students"], {"student_id": "7"})["grade_level"] is None
