"""Tables as CSV files that a spreadsheet opens without running anything.

A cell that a spreadsheet would take for a formula gets an apostrophe in front; a plain negative
number stays a number. Source: OWASP, "CSV Injection"; full-width forms, because some programs read
them as the narrow ones.
"""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterable, Sequence

_FORMULA = ("=", "+", "-", "@", "\t", "\r", "\n", "＝", "＋", "－", "＠")  # noqa: RUF001
_NEGATIVE_NUMBER = re.compile(r"-\d+(\.\d+)?")


def csv_bytes(stamp: str, header: Sequence[str], rows: Iterable[Sequence[str]]) -> bytes:
    """A CSV file: on the first line the terms on which it was made, on the second the names of the
    columns.

    UTF-8 with a byte order mark, without which Excel garbles every accent.
    """
    text = io.StringIO(newline="")
    writer = csv.writer(text)
    writer.writerow([f"# {stamp}"])
    writer.writerow(header)
    writer.writerows([escape_formula(cell) for cell in row] for row in rows)
    return text.getvalue().encode("utf-8-sig")


def escape_formula(cell: str) -> str:
    """The cell, with an apostrophe in front where a spreadsheet could take it for a formula."""
    return (
        f"'{cell}" if cell.startswith(_FORMULA) and not _NEGATIVE_NUMBER.fullmatch(cell) else cell
    )
