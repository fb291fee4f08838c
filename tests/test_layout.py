"""Rules about the whole tree that no single room can keep."""

from __future__ import annotations

import ast
import re
import tomllib
from pathlib import Path

ROOT = Path(__file__).parents[1]
ROOMS = ("features", "training", "fairness", "serving", "handrail")
HANDLES = {"Database", "open_database", "DatabaseUnavailable"}
"""All that may be had of the operational store outside records/: something to hand back to it."""


def imports(file: Path) -> list[tuple[str, str]]:
    """(module, name) of each import; the name is empty for `import module`."""
    found: list[tuple[str, str]] = []
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.Import):
            found += [(alias.name, "") for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            found += [(node.module or "", alias.name) for alias in node.names]
    return found


def test_nothing_outside_records_touches_an_engine_a_table_or_a_snapshot_file():  # R17
    for room in ROOMS:
        for file in (ROOT / room).rglob("*.py"):
            for module, name in imports(file):
                where = f"{file.relative_to(ROOT)} imports {module} {name}"
                assert module.split(".")[0] not in ("sqlalchemy", "duckdb", "sqlite3", "psycopg"), (
                    where
                )
                assert not module.startswith("records.database") or name in HANDLES, where
                assert module.split(".")[0] not in ("pickle", "joblib", "shelve"), where


ROOMS_WITH_FOLDERS = ("records", "training", "fairness", "serving")
MOST_FILES = 10
OPEN_FILES = {"records": set(), "training": set(), "fairness": set(), "serving": {"app.py"}}
"""Modules that stand in a room itself, beside its folders: where its reader begins."""


def folders(room: str) -> list[Path]:
    """The folders of a room at every level, but for what is no code of today."""
    return sorted(
        folder
        for folder in (ROOT / room).rglob("*/")
        if any(folder.glob("*.py")) and "migrations" not in folder.parts
    )


def test_each_folder_is_one_subject_of_at_most_about_nine_files():
    for room in ROOMS_WITH_FOLDERS:
        modules = {file.name for file in (ROOT / room).glob("*.py")} - {"__init__.py"}
        assert modules == OPEN_FILES[room], room
        for folder in folders(room):
            files = [file.name for file in folder.glob("*.py") if file.name != "__init__.py"]
            assert len(files) <= MOST_FILES, f"{folder.relative_to(ROOT)}: {sorted(files)}"


def test_each_folder_says_what_it_owns_what_it_refuses_and_where_to_start():
    for room in ROOMS_WITH_FOLDERS:
        for folder in [ROOT / room, *folders(room)]:
            text = ast.get_docstring(ast.parse((folder / "__init__.py").read_text())) or ""
            where = str(folder.relative_to(ROOT))
            assert len(text.split()) >= 15, where
            named = set(re.findall(r"`([a-z_]+)(?:\.py)?[`.]", text))
            here = {file.stem for file in folder.iterdir()}
            assert named & here, f"{where} names no file or folder of its own to start with"


def test_the_order_of_folders_is_a_contract_that_names_each():
    contracts = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]
    layers = {
        layer.strip()
        for contract in contracts["contracts"]
        for line in contract["layers"]
        for layer in line.split("|")
    }
    for room in ROOMS_WITH_FOLDERS:
        for folder in (ROOT / room).iterdir():
            if folder.is_dir() and any(folder.glob("*.py")):
                assert f"{room}.{folder.name}" in layers, f"{room}/{folder.name} has no place"


def test_no_sql_text_is_written_outside_records():  # R17
    statement = re.compile(
        r"^\s*(select\s.+\sfrom|insert\s+into|update\s.+\sset|delete\s+from)\s", re.I | re.S
    )
    for room in ROOMS:
        for file in (ROOT / room).rglob("*.py"):
            for node in ast.walk(ast.parse(file.read_text())):
                if isinstance(node, ast.Constant) and isinstance(node.value, str):
                    assert not statement.match(node.value), (
                        f"{file.relative_to(ROOT)}, line {node.lineno}"
                    )


def test_the_mlflow_folder_holds_no_python_file():
    assert (ROOT / "mlflow" / "MLproject").is_file()
    assert not list((ROOT / "mlflow").rglob("*.py"))


def test_nothing_served_or_locked_names_another_host():
    locks = [*ROOT.glob("requirements*.lock"), ROOT / "tests" / "obp.lock"]
    assert {"requirements.lock", "requirements-mlflow.lock"} <= {lock.name for lock in locks}
    for lock in locks:
        assert "://" not in lock.read_text(), lock
    for folder in ("serving/templates", "serving/static", "fairness/report/templates"):
        for file in (ROOT / folder).rglob("*"):
            if file.is_file():
                text = file.read_text(encoding="utf-8", errors="replace").replace(
                    "http://www.w3.org/", ""
                )
                assert "http://" not in text and "https://" not in text and "//cdn" not in text, (
                    file
                )
