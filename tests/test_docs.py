"""What the documents tell a reader to type can be typed: each command, option and argument is
there.
"""

from __future__ import annotations

import re
import shlex
from pathlib import Path
from typing import Any

import pytest
import typer

from handrail.cli import LazyCommand, app
from records.permissions.agreements import parse_agreement

ROOT = Path(__file__).parents[1]
DOCUMENTS = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
ROOMS = ("records", "features", "training", "fairness", "serving", "handrail")
_BLOCK = re.compile(r"^```sh\n(.*?)^```", re.S | re.M)
_SAID = re.compile(r"(?<!`)`(handrail [^`\n]+)`(?!`)")


def typed() -> list[tuple[str, str]]:
    """(document, line) of each line of a shell block; a line that ends in a backslash goes on."""
    blocks = [
        (str(file.relative_to(ROOT)), block)
        for file in DOCUMENTS
        for block in _BLOCK.findall(file.read_text())
    ]
    return [
        (document, line.strip())
        for document, block in blocks
        for line in block.replace("\\\n", " ").splitlines()
        if line.strip()
    ]


def said() -> list[tuple[str, str]]:
    """(file, words) of each command that prose, help or a message has in backticks."""
    files = [*DOCUMENTS, *(file for room in ROOMS for file in sorted((ROOT / room).rglob("*.py")))]
    return sorted(
        {
            (str(file.relative_to(ROOT)), words)
            for file in files
            for words in _SAID.findall(file.read_text())
        }
    )


def find(words: list[str]) -> tuple[Any, list[str]]:
    """The command that these words name, and the words after it."""
    command: Any = typer.main.get_command(app)
    while hasattr(command, "commands") and words:
        assert words[0] in command.commands, (
            f"there is no command {words[0]!r} in {sorted(command.commands)}"
        )
        command, words = real(command.commands[words[0]]), words[1:]
    return command, words


def real(command: Any) -> Any:
    """The command itself, for one that is not imported before it is used."""
    return command.real if isinstance(command, LazyCommand) else command


def check(line: str) -> None:
    program, *words = shlex.split(line, comments=True)
    assert program == "handrail"
    command, rest = find(words)
    alone = not hasattr(command, "commands") or command.invoke_without_command
    assert alone, f"{line!r} names a group of commands and none of them"
    command.make_context(command.name, rest)


def test_there_is_something_to_check():
    lines = [line for _, line in typed()]
    assert sum(line.startswith("handrail ") for line in lines) > 20
    assert any(line.startswith("make demo") for line in lines) and any(
        line.startswith("make test") for line in lines
    )


@pytest.mark.parametrize(("document", "line"), typed())
def test_each_line_of_a_shell_block_can_be_typed(document: str, line: str):
    if line.startswith("make "):
        target = shlex.split(line, comments=True)[1]
        assert re.search(rf"^{target}:", (ROOT / "Makefile").read_text(), re.M), (document, line)
    elif not line.startswith("#"):
        check(line)


@pytest.mark.parametrize(("file", "words"), said())
def test_each_command_that_is_named_anywhere_is_there(file: str, words: str):
    _, *asked = shlex.split(words)
    command, rest = find(asked)
    options = {name for parameter in command.params for name in parameter.opts}
    assert {word for word in rest if word.startswith("--")} <= options, (file, words)


@pytest.mark.parametrize(
    "line",
    [
        "handrail lode edfi FOLDER",
        "handrail load edfi",
        "handrail serve --hots 0.0.0.0",
        "handrail agreements",
        "handrail sign one --as A --reason B",
        "handrail models 1",
        "handrail serve --port high",
    ],
)
def test_a_line_that_cannot_be_typed_is_found(line: str):
    with pytest.raises((AssertionError, *typer.BadParameter.__bases__)):
        check(line)


def test_every_command_is_in_a_document():
    shown = " ".join(file.read_text() for file in DOCUMENTS)
    missing = [
        name for name in commands(typer.main.get_command(app)) if f"handrail {name}" not in shown
    ]
    assert missing == ["demo"], "make demo stands for it"


def commands(command: Any, before: str = "") -> list[str]:
    if not hasattr(command, "commands"):
        return [before.strip()]
    return [
        name
        for key, inner in command.commands.items()
        for name in commands(real(inner), f"{before} {key}")
    ]


@pytest.mark.parametrize(
    "file", sorted((ROOT / "docs" / "examples").glob("*.toml")), ids=lambda file: file.name
)
def test_each_example_agreement_is_whole(file: Path):
    assert parse_agreement(file.read_text(), file.name).supports


def test_the_columns_that_the_guide_names_are_those_that_are_read():
    guide = (ROOT / "docs" / "setting-up.md").read_text()
    source = "".join(
        (ROOT / "records" / file).read_text() for file in ("accounts.py", "consents.py")
    )
    named = (
        re.search(r"`consents\.csv` has (.+?)\.", guide, re.S),
        re.search(r"has the columns (.+?);", guide, re.S),
    )
    for found in named:
        assert found is not None
        for column in re.findall(r"`([a-z_]+)`", found[1]):
            assert f'"{column}"' in source, column


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda file: file.name)
def test_what_a_document_links_to_is_there(document: Path):
    for target in re.findall(r"\]\(([^)#]+)", document.read_text()):
        assert (document.parent / target).exists(), (document.name, target)
