"""Files that are written whole or not at all, so that a killed process leaves the old one or the new one."""

from __future__ import annotations

from pathlib import Path


def write_whole(file: Path, text: str) -> Path:
    """Write UTF-8 text to a file, and its folder where there is none; the file."""
    file.parent.mkdir(parents=True, exist_ok=True)
    staging = file.with_name(f"{file.name}.new")
    staging.write_text(text, encoding="utf-8")
    return staging.replace(file)
