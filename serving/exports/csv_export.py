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


def csv_bytes(terms: str, header: Sequence[str], rows: Iterable[Sequence[str]]) -> bytes:
    """A CSV file: first the terms on which it was made, then the column titles, then the rows.

    UTF-8 with a byte order mark, without which Excel garbles every accent.
    """
    text = io.StringIO(newline="")
    writer = csv.writer(text)
    writer.writerow([f"# {terms}"])
    writer.writerow(header)
    writer.writerows([escape_formula(cell) for cell in row] for row in rows)
    return text.getvalue().encode("utf-8-sig")


def escape_formula(cell: str) -> str:
    """The cell, with an apostrophe in front where a spreadsheet could take it for a formula."""
    looks_like_formula = cell.startswith(_FORMULA) and not _NEGATIVE_NUMBER.fullmatch(cell)
    return f"'{cell}" if looks_like_formula else cell
