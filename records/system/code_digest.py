"""A digest of source code that changes when what the code does may have changed, and not otherwise.

Comments, docstrings and layout do not count. Names do, since nobody can say for certain that they
do not matter.
"""

from __future__ import annotations

import ast
import hashlib
import json
from collections.abc import Iterable
from functools import cache
from pathlib import Path
from typing import Any


def code_digest(files: Iterable[Path]) -> str:
    """The SHA-256 of Python files, by their names and syntax trees.

    Args:
        files: in any order; two with the same name are told apart by their content alone.
    """
    parts = sorted((file.name, _file_digest(file, file.stat().st_mtime_ns)) for file in files)
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()


@cache
def _file_digest(file: Path, changed_at: int) -> str:
    """Of one file as it was at a time, so that the site need not parse the code at each request."""
    del changed_at
    tree = _plain(ast.parse(file.read_text(encoding="utf-8")))
    return hashlib.sha256(json.dumps(tree).encode()).hexdigest()


def _plain(node: Any) -> Any:
    """A syntax tree as lists and text, without docstrings.

    Not `ast.dump`: fields that are empty are left out here, so that a version of Python that knows
    more of them finds the same digest.
    """
    if isinstance(node, list):
        return [_plain(part) for part in node]
    if not isinstance(node, ast.AST):
        return repr(node)
    fields = dict(ast.iter_fields(node))
    if isinstance(fields.get("body"), list):
        fields["body"] = [part for part in fields["body"] if not _is_text_alone(part)]
    return [
        type(node).__name__,
        [[name, _plain(part)] for name, part in fields.items() if part not in (None, [])],
    ]


def _is_text_alone(node: ast.AST) -> bool:
    """Whether a statement is nothing but text: a docstring, or the words below a constant."""
    return (
        isinstance(node, ast.Expr)
        and isinstance(node.value, ast.Constant)
        and isinstance(node.value.value, str)
    )
