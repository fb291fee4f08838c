"""A database that does not answer is one plain sentence: no traceback, and no password."""

from __future__ import annotations

import socket
from pathlib import Path

import pytest
from typer.testing import CliRunner

from handrail.cli import app
from tests.records.conftest import snapshot_of
from tests.records.six_student_district import rows

PASSWORD = "a-secret-of-the-database"


def closed_port() -> int:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        return int(taken.getsockname()[1])


@pytest.mark.parametrize(
    "arguments",
    [
        ("records", "status"),
        ("identity", "status"),
        ("destroy", "list"),
        ("agreements", "list"),
        ("disclosures", "verify"),
    ],
)
def test_a_database_that_does_not_answer_is_one_plain_sentence(
    arguments: tuple[str, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    snapshot_of(rows(), tmp_path)
    port = closed_port()
    monkeypatch.setenv("HANDRAIL_HOME", str(tmp_path))
    monkeypatch.setenv(
        "HANDRAIL_DATABASE_URL",
        f"postgresql+psycopg://handrail:{PASSWORD}@127.0.0.1:{port}/handrail",
    )
    run = CliRunner().invoke(app, list(arguments))
    assert run.exit_code == 2, run.output
    output = " ".join(run.stderr.split())
    assert f"handrail: the database 'handrail' on 127.0.0.1:{port} cannot be opened" in output
    assert PASSWORD not in run.output and "Traceback" not in run.output


@pytest.mark.parametrize(
    "url", [f"//handrail:{PASSWORD}@host", f"nosuch+driver://handrail:{PASSWORD}@host/x"]
)
def test_an_address_that_is_none_is_one_plain_sentence(
    url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("HANDRAIL_HOME", str(tmp_path))
    monkeypatch.setenv("HANDRAIL_DATABASE_URL", url)
    run = CliRunner().invoke(app, ["identity", "status"])
    assert run.exit_code == 2 and "the address of the database cannot be used" in run.stderr
    assert PASSWORD not in run.output
