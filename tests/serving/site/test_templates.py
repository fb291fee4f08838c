"""Templates are read by people too: no line is wider than a screen."""

from __future__ import annotations

from pathlib import Path

import pytest

import fairness.report
import serving

MAX_COLUMNS = 160
FOLDERS = (
    Path(serving.__file__).parent / "templates",
    Path(fairness.report.__file__).parent / "templates",
)


@pytest.mark.parametrize("folder", FOLDERS, ids=("serving", "fairness"))
def test_no_template_line_is_over_160_columns(folder: Path):
    templates = sorted(folder.iterdir())
    wide = [
        f"{template.name}:{number}"
        for template in templates
        for number, line in enumerate(template.read_text().splitlines(), 1)
        if len(line) > MAX_COLUMNS
    ]
    assert templates and wide == []
