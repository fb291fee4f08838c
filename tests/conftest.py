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


@pytest.fixture(scope="session")
def approved(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A home with a trained, audited and signed model, made once: each test starts from a copy."""
    from tests.approved_home import make_approved_home

    return make_approved_home(tmp_path_factory.mktemp("approved"))
