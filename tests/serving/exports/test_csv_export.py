"""A spreadsheet opens the site's CSV files without running anything in them."""

from __future__ import annotations

import csv
import io

import pytest
from hypothesis import given
from hypothesis import strategies as st

from serving.exports.csv_export import csv_bytes, escape_formula

STARTS = ["=", "+", "-", "@", "\t", "\r", "\n", "\uff1d", "\uff0b", "\uff0d", "\uff20"]


@pytest.mark.parametrize("start", STARTS)
def test_a_cell_that_could_be_a_formula_gets_an_apostrophe(start: str):  # R52
    assert escape_formula(f"{start}cmd|' /C calc'!A0") == f"'{start}cmd|' /C calc'!A0"
    assert escape_formula(start) == f"'{start}"


@pytest.mark.parametrize("number", ["-1", "-12.5", "-0.75", "3", "2026-04-17"])
def test_a_plain_number_stays_a_number(number: str):  # R52
    assert escape_formula(number) == number


@given(
    st.lists(st.text(st.characters(exclude_categories=["Cs"]), max_size=20), min_size=2, max_size=2)
)
def test_every_cell_comes_back_as_it_was_and_none_is_a_formula(cells: list[str]):  # R52
    file = csv_bytes("Shown to somebody", ("a", "b"), [cells])
    stamp, header, *rows = csv.reader(io.StringIO(file.decode("utf-8-sig"), newline=""))
    assert (stamp, header) == (["# Shown to somebody"], ["a", "b"])
    (row,) = rows
    for cell, was in zip(row, cells, strict=True):
        assert cell in (was, f"'{was}")
        assert not cell.startswith(tuple(STARTS)) or cell.lstrip("-").replace(".", "").isdigit()
