"""Files: written whole or not at all, and the rules that a district may put in place of ours."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Any


def write_atomic(file: Path, content: str | bytes) -> Path:
    """Write bytes, or text as UTF-8, to a file, and create its folder if needed; returns the file.

    Raises:
        OSError: the file cannot be written; an old one is left as it was.
    """
    file.parent.mkdir(parents=True, exist_ok=True)
    staging = file.with_name(f"{file.name}.new")
    staging.write_bytes(content.encode() if isinstance(content, str) else content)
    return staging.replace(file)


def district_file(home: Path, ours: Path) -> Path:
    """The district's own file, which lies in its home under the name of ours; else ours."""
    own = home / ours.name
    return own if own.exists() else ours


def read_toml(file: Path, error: type[Exception]) -> dict[str, Any]:
    """The content of a TOML file.

    Raises:
        Exception: an `error` that names the file, where it is not TOML.
    """
    return parse_toml(file, file.read_bytes(), error)


def parse_toml(file: Path, content: bytes, error: type[Exception]) -> dict[str, Any]:
    """The content of a TOML file whose bytes have been read already.

    Raises:
        Exception: an `error` that names the file, where it is not TOML.
    """
    try:
        # Some editors write a mark before the first character; line ends are for TOML to judge.
        return tomllib.loads(content.decode("utf-8-sig"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as problem:
        raise error(f"{file}: {problem}") from None
