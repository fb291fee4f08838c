"""Atomic file writes: a process that is killed leaves either the old file or the new one."""

from __future__ import annotations

from pathlib import Path


def write_atomic(file: Path, content: str | bytes) -> Path:
    """Write bytes, or text as UTF-8, to a file, and create its folder if needed; returns the file.

    Raises:
        OSError: the file cannot be written; an old one is left as it was.
    """
    file.parent.mkdir(parents=True, exist_ok=True)
    staging = file.with_name(f"{file.name}.new")
    staging.write_bytes(content.encode() if isinstance(content, str) else content)
    return staging.replace(file)
