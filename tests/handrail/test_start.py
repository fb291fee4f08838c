"""The command line starts without the libraries that a command does not need, and still knows every
command.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
import typer

from handrail.cli import COMMANDS, LazyCommand
from handrail.console import report_user_errors
from records.system.errors import UserError

HEAVY = (
    "sklearn",
    "lightgbm",
    "fairlearn",
    "mlflow",
    "fastapi",
    "scipy",
    "splink",
    "typst",
    "uvicorn",
)
"""What learning, judging and serving need; none of it is needed to keep records and accounts."""

FOR_RECORDS = (*HEAVY, "pandas", "ibis", "duckdb", "sqlalchemy")

_TELLS_MODULES = """
import sys
from handrail.cli import app
sys.argv[0] = "handrail"
try:
    app()
finally:
    print("\\n" + " ".join(sorted(sys.modules)))
"""


def run(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run a command in its own process; its last line of output names every imported module."""
    return subprocess.run(
        [sys.executable, "-c", _TELLS_MODULES, *arguments],
        capture_output=True,
        text=True,
        check=False,
        env=os.environ | environment,
    )


def imported(process: subprocess.CompletedProcess[str]) -> set[str]:
    return set(process.stdout.splitlines()[-1].split())


@pytest.mark.parametrize(
    "arguments", [("--help",), ("no-such-command",), ("--show-completion", "bash")]
)
def test_what_needs_no_command_imports_none_and_no_library_of_records(arguments: tuple[str, ...]):
    modules = imported(run(*arguments))
    assert "handrail.cli" in modules
    assert modules.isdisjoint(FOR_RECORDS)
    assert not {name for name in modules if name.startswith("handrail.commands.")}


@pytest.mark.parametrize(
    ("arguments", "code", "expected"),
    [
        (
            ("accounts", "organizations", "organizations.csv"),
            0,
            "1 organizations were added or updated from organizations.csv.",
        ),
        (("agreements", "list"), 0, "agreements"),
        (("consents", "list"), 0, "consent"),
        (("records", "status"), 2, "run `handrail load` first"),
        (("legal", "list"), 0, "legal demands"),
        (("destroy", "--help"), 0, "Destroy a student's record"),
    ],
)
def test_keeping_records_and_accounts_imports_nothing_of_learning_and_serving(
    arguments: tuple[str, ...],
    code: int,
    expected: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
):
    monkeypatch.chdir(tmp_path)
    Path("organizations.csv").write_text("organization_id,name,kind\nlake,Lake Tutors,partner\n")
    process = run(*arguments, HANDRAIL_HOME=str(tmp_path / "home"))
    assert process.returncode == code, process.stderr
    assert expected in " ".join((process.stdout + process.stderr).split())
    assert "records.database.engine" in imported(process)
    assert imported(process).isdisjoint(HEAVY)


@pytest.mark.parametrize("name", COMMANDS)
def test_the_line_of_help_is_the_commands_own(name: str):
    real = LazyCommand(name, COMMANDS[name]).command
    assert " ".join((real.help or "").split("\n\n")[0].split()) == COMMANDS[name].help


def test_every_command_of_a_module_is_in_the_table():
    folder = Path(__file__).parents[2] / "handrail" / "commands"
    assert {place.module for place in COMMANDS.values()} == {
        file.stem for file in folder.glob("[!_]*.py")
    }


def test_a_command_that_is_not_there_is_answered_with_those_that_are_like_it():
    process = run("agrements", "list")
    assert process.returncode == 2
    assert "No such command 'agrements'. Did you mean 'agreements'?" in process.stderr


@pytest.mark.parametrize(
    ("typed", "completions"),
    [
        ("handrail agr", {"agreements"}),
        ("handrail agreements re", {"reinstate", "revoke"}),
        ("handrail load edfi --corr", {"--corrections"}),
    ],
)
def test_a_shell_completes_commands_those_of_a_group_and_options(typed: str, completions: set[str]):
    process = run(
        _HANDRAIL_COMPLETE="complete_bash", COMP_WORDS=typed, COMP_CWORD=str(len(typed.split()) - 1)
    )
    assert set(process.stdout.splitlines()[:-1]) - {""} == completions


def test_a_group_without_a_command_shows_its_help():
    process = run("backups")
    assert (process.returncode, "Usage: " in process.stdout + process.stderr) == (2, True)


def test_an_error_of_no_ordinary_use_is_never_said_plainly(capsys: pytest.CaptureFixture[str]):
    with pytest.raises(typer.Exit), report_user_errors():
        raise UserError("the plain words")
    assert capsys.readouterr().err == "handrail: the plain words\n"
    with pytest.raises(ValueError, match="a fault"), report_user_errors():
        raise ValueError("a fault")
