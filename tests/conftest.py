"""Fixtures that every room's tests share."""

from __future__ import annotations

import os
from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder of sample data that nobody here wrote: `$HANDRAIL_SHARED/data`, by default `../shared/data`.

    In CI a missing folder fails the test; elsewhere the test is skipped, saying so.
    """
    folder = Path(os.environ.get("HANDRAIL_SHARED", "../shared")).resolve() / "data"
    if not folder.is_dir():
        message = f"sample data not found: {folder} is not a folder; set HANDRAIL_SHARED to the folder that holds data/"
        if os.environ.get("CI") == "true":
            pytest.fail(message)
        pytest.skip(message)
    return folder
