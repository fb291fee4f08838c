"""What the documents tell a reader to type can be typed: each command, option and argument is
there.
"""

from __future__ import annotations

import ast
import builtins
import re
import shlex
from pathlib import Path
from typing import Any

import pytest
import typer

from handrail.cli import LazyCommand, app
from records.permissions.agreements import parse_agreement

ROOT = Path(__file__).parents[1]
FRONT = ("CHANGELOG.md", "CONTRIBUTING.md", "SECURITY.md")
GUIDES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
DOCUMENTS = [*GUIDES, *(ROOT / name for name in FRONT)]
ROOMS = ("records", "features", "training", "fairness", "serving", "handrail")
_BLOCK = re.compile(r"^```sh\n(.*?)^```", re.S | re.M)
_SAID = re.compile(r"(?<!`)`(handrail [^`\n]+)`(?!`)")
_PATH = re.compile(
    r"`((?:records|features|training|fairness|serving|handrail|tests|benchmarks|mlflow|docs)/[^`:\s]*)"
    r"(?::([A-Za-z_.]+))?(?:::[^`]+)?`"
)
"""A file or folder of this repository, and after a colon a name that is defined there."""


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
    return command.command if isinstance(command, LazyCommand) else command


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


def test_every_command_is_in_a_guide():
    shown = " ".join(file.read_text() for file in GUIDES)
    missing = [
        name for name in commands(typer.main.get_command(app)) if f"handrail {name}" not in shown
    ]
    assert missing == []


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
        file.read_text()
        for name in ("accounts.py", "consents.py")
        for file in (ROOT / "records").rglob(name)
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


def defined_in(file: Path) -> set[str]:
    """The names that a module defines, and those of its classes as `Class.name`."""
    names: set[str] = set()
    for node in ast.parse(file.read_text()).body:
        own = names_of(node)
        names |= own
        if isinstance(node, ast.ClassDef):
            names |= {f"{node.name}.{name}" for inner in node.body for name in names_of(inner)}
    return names


def names_of(node: ast.stmt) -> set[str]:
    if isinstance(node, ast.FunctionDef | ast.ClassDef):
        return {node.name}
    targets = node.targets if isinstance(node, ast.Assign) else []
    targets = [node.target] if isinstance(node, ast.AnnAssign) else targets
    return {target.id for target in targets if isinstance(target, ast.Name)}


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda file: file.name)
def test_each_path_and_name_that_a_document_mentions_is_there(document: Path):
    for path, name in _PATH.findall(document.read_text()):
        assert (ROOT / path).exists(), (document.name, path)
        if name:
            assert name in defined_in(ROOT / path), (document.name, path, name)


def test_the_glossary_defines_each_term_once_and_in_order():
    page = (ROOT / "docs" / "glossary.md").read_text()
    groups = [re.findall(r"^\*\*(.+?)\*\*:", part, re.M) for part in page.split("\n## ")[1:]]
    terms = [term.casefold() for group in groups for term in group]
    assert len(terms) > 100 and len(terms) == len(set(terms))
    for group in groups:
        assert group == sorted(group, key=str.casefold)


def test_every_document_is_in_the_navigation_of_the_site():
    navigation = (ROOT / "mkdocs.yml").read_text()
    pages = [file.relative_to(ROOT / "docs") for file in sorted((ROOT / "docs").rglob("*.md"))]
    assert [str(page) for page in pages if f"{page}\n" not in navigation] == []


def test_every_decision_says_its_status_and_date_and_is_in_the_index():
    index = (ROOT / "docs" / "decisions" / "index.md").read_text()
    for file in sorted((ROOT / "docs" / "decisions").glob("0*.md")):
        header = r"# \d+\. .+\n\n- Status: (.+)\n- Date: (\d{4}-\d\d-\d\d)\n- Supersedes: .+\n"
        match = re.match(header, file.read_text())
        assert match, file.name
        assert f"({file.name}) | {match[2]} |" in index, file.name


def test_every_folder_is_in_the_architecture():
    page = (ROOT / "docs" / "architecture.md").read_text()
    folders = [
        file.parent.relative_to(ROOT)
        for room in ROOMS
        for file in sorted((ROOT / room).glob("*/__init__.py"))
    ]
    assert folders and [str(folder) for folder in folders if f"`{folder}/`" not in page] == []


def test_each_exception_that_a_docstring_names_exists():
    trees = [
        (file, ast.parse(file.read_text()))
        for room in ROOMS
        for file in sorted((ROOT / room).rglob("*.py"))
    ]
    ours = {
        node.name for _, tree in trees for node in ast.walk(tree) if isinstance(node, ast.ClassDef)
    }
    known = ours | set(dir(builtins)) | {"HTTPException", "TypstError"}
    for file, tree in trees:
        for node in ast.walk(tree):
            if isinstance(node, ast.FunctionDef):
                _, _, raises = (ast.get_docstring(node) or "").partition("Raises:\n")
                names = re.findall(r"^ {4}([A-Z]\w+(?:, [A-Z]\w+)*):", raises, re.M)
                named = {name for line in names for name in line.split(", ")}
                assert named <= known, (str(file.relative_to(ROOT)), node.name, named - known)
