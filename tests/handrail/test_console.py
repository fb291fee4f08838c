"""A table is a table where its words fit the terminal, and otherwise loses none of them; a bar
reaches its end.
"""

from __future__ import annotations

from io import StringIO

import pytest
from rich.console import Console
from rich.table import Table

from handrail import console


def printed(table: Table, width: int, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    monkeypatch.setattr(console, "out", Console(file=StringIO(), width=width))
    console.print_table(table)
    return [line.rstrip() for line in console.out.file.getvalue().splitlines()]


def programs() -> Table:
    table = Table("program", "partner", "points (95%)", "a student", title="progress")
    table.add_row("After-school tutoring", "BrightPath Tutoring", "+1.0 (+0.6 to +1.4)", "$1,150")
    table.add_row("Grandparent readers", "Silver Pages", "cannot tell", "")
    return table


def test_a_table_that_fits_is_one(monkeypatch: pytest.MonkeyPatch):
    lines = printed(programs(), 100, monkeypatch)
    assert any("After-school tutoring" in line and "$1,150" in line for line in lines)


def test_where_a_word_would_be_cut_each_row_is_lines_of_its_own(monkeypatch: pytest.MonkeyPatch):
    assert printed(programs(), 44, monkeypatch) == [
        "progress",
        "After-school tutoring",
        "  partner       BrightPath Tutoring",
        "  points (95%)  +1.0 (+0.6 to +1.4)",
        "  a student     $1,150",
        "Grandparent readers",
        "  partner       Silver Pages",
        "  points (95%)  cannot tell",
    ]


def test_a_step_of_nothing_is_done_at_once(monkeypatch: pytest.MonkeyPatch):
    written = StringIO()
    monkeypatch.setattr(console, "err", Console(file=written, width=80, force_terminal=False))
    with console.progress_bar() as step:
        step("looking back", 0, 0)
        step("auditing", 1, 4)
    looked, audited = (line for line in written.getvalue().splitlines() if line)
    assert "100%" in looked and " 25%" in audited
