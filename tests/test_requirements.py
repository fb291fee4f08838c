"""The numbered requirements: each number in use is defined in `docs/requirements.md`, which lists
the tests that hold each one.

A test names what it holds in a comment (`# R23`). `python -m tests.test_requirements` writes the
lists anew.
"""

from __future__ import annotations

import ast
import io
import re
import tokenize
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[1]
PAGE = ROOT / "docs" / "requirements.md"
FOLDERS = (
    "records",
    "features",
    "training",
    "fairness",
    "serving",
    "handrail",
    "benchmarks",
    "tests",
)
NOT_YET = "not yet"
_NUMBER = re.compile(r"\bR[1-9][0-9]?\b")
_HEADING = re.compile(r"^### (R[1-9][0-9]?) ", re.M)


def functions(tree: ast.Module) -> Iterator[tuple[str, ast.FunctionDef]]:
    """(node name, function) of each test of a module, those of test classes too."""
    for node in tree.body:
        for inner in node.body if isinstance(node, ast.ClassDef) else [node]:
            if isinstance(inner, ast.FunctionDef) and inner.name.startswith("test_"):
                prefix = f"{node.name}::" if isinstance(node, ast.ClassDef) else ""
                yield prefix + inner.name, inner


def comments(source: str) -> Iterator[tuple[int, list[str]]]:
    """(line, numbers) of each comment that names a requirement."""
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        if token.type == tokenize.COMMENT and _NUMBER.search(token.string):
            yield token.start[0], _NUMBER.findall(token.string)


def held_by() -> dict[str, list[str]]:
    """Number -> the tests whose comments name it, as `file::test`."""
    tests: dict[str, set[str]] = defaultdict(set)
    for file in sorted((ROOT / "tests").rglob("test_*.py")):
        source = file.read_text()
        lines = [
            (name, range(node.lineno, (node.end_lineno or node.lineno) + 1))
            for name, node in functions(ast.parse(source))
        ]
        for line, numbers in comments(source):
            names = [name for name, span in lines if line in span]
            assert names, f"{file.relative_to(ROOT)}, line {line}: this comment is in no test"
            for number in numbers:
                tests[number].add(f"{file.relative_to(ROOT)}::{names[0]}")
    return {number: sorted(nodes) for number, nodes in tests.items()}


def sections(page: str) -> dict[str, str]:
    """Number -> the text below its heading."""
    parts = re.split(r"^#{2,3} ", page, flags=re.M)
    numbered = [(_NUMBER.match(part), part) for part in parts]
    return {match[0]: part for match, part in numbered if match}


def listed(section: str) -> list[str]:
    """The tests that a section lists; none where it says that there is none yet."""
    items = re.findall(r"^- (.+)$", section, re.M)
    return [] if items == [NOT_YET] else [item.strip("`") for item in items]


def with_lists(page: str) -> str:
    """The page with the list of each requirement as the tests' comments have it."""
    tests = held_by()
    lines: list[str] = []
    number = ""

    def finish() -> None:
        if number:
            while lines and not lines[-1]:
                lines.pop()
            items = [f"- `{node}`" for node in tests.get(number, [])]
            lines.extend(["", *(items or [f"- {NOT_YET}"]), ""])

    for line in page.splitlines():
        if line.startswith("## ") or line.startswith("### "):
            finish()
            heading = _HEADING.match(line)
            number = heading[1] if heading else ""
        if not (number and line.startswith("- ")):
            lines.append(line)
    finish()
    return "\n".join(lines).rstrip("\n") + "\n"


def test_each_requirement_is_defined_once():
    numbers = _HEADING.findall(PAGE.read_text())
    assert numbers == [f"R{number}" for number in range(1, len(numbers) + 1)]


def test_each_number_in_use_is_defined():
    defined = set(_HEADING.findall(PAGE.read_text()))
    files = [file for folder in FOLDERS for file in sorted((ROOT / folder).rglob("*.py"))]
    files += [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
    unknown = {
        (str(file.relative_to(ROOT)), number)
        for file in files
        for number in _NUMBER.findall(file.read_text())
        if number not in defined
    }
    assert unknown == set()


def test_each_test_that_the_page_names_exists():
    for number, section in sections(PAGE.read_text()).items():
        for node in listed(section):
            file, _, name = node.partition("::")
            assert (ROOT / file).is_file(), (number, node)
            names = {test for test, _ in functions(ast.parse((ROOT / file).read_text()))}
            assert name in names, (number, node)


def test_each_requirement_lists_the_tests_that_name_it():
    tests = held_by()
    stale = [
        number
        for number, section in sections(PAGE.read_text()).items()
        if listed(section) != tests.get(number, [])
    ]
    assert stale == [], "run `python -m tests.test_requirements` to write the lists anew"


def test_the_page_is_as_it_would_be_written():
    assert with_lists(PAGE.read_text()) == PAGE.read_text()


if __name__ == "__main__":
    PAGE.write_text(with_lists(PAGE.read_text()))
