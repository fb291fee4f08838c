"""All bytes that a home holds on disk, with the decoded rows of its Parquet files."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pyarrow.parquet as pq


def files_on_disk(home: Path) -> Iterator[tuple[Path, bytes]]:
    """Each file with its bytes, followed for Parquet by its decoded rows."""
    for file in sorted(home.rglob("*")):
        if file.is_file():
            decoded = (
                str(pq.read_table(file).to_pylist()).encode() if file.suffix == ".parquet" else b""
            )
            yield file, file.read_bytes() + decoded
