"""What every test of a command shares: output as wide as it is, however the tests are run."""

from __future__ import annotations

import pytest

from handrail.console import err, out


@pytest.fixture(autouse=True)
def wide_output(monkeypatch: pytest.MonkeyPatch) -> None:
    """No line is wrapped: a console takes its width once, and test workers are narrow."""
    for console in (out, err):
        monkeypatch.setattr(console, "width", 250)
