"""Files that are written whole or not at all, so that a killed process leaves the old one or the
new one.
"""

from __future__ import annotations

from pathlib import Path


def write_atomic(file: Path, content: str | bytes) -> Path:
    """Write bytes, or text in UTF-8, to a file, and its folder where there is none; the file."""
    file.parent.mkdir(parents=True, exist_ok=True)
    staging = file.with_name(f"{file.name}.new")
    staging.write_bytes(content.encode() if isinstance(content, str) else content)
    return staging.replace(file)
