"""Rows that cannot be loaded, with file, line, column and reason, so that none is lost.

Owns the conversion of source text to canonical values. It refuses to guess: text that is not
exactly what the schema asks for raises `BadValue`, which says what the text is and what would be
right.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date

import pyarrow as pa

from records.canonical.never_ingest import holds_ssn
from records.canonical.schema import CanonicalTable, Column


@dataclass(frozen=True)
class BadRow:
    """One physical row that was not loaded. `raw` is its text, with forbidden values struck out.

    `columns` are the names of the fields in `raw`, as a line of CSV; columns that are never stored
    are in neither. It is empty if `raw` is not a line of a file, and so cannot be corrected there.
    """

    file: str
    line: int
    column: str | None
    reason: str
    raw: str
    columns: str = ""


@dataclass(frozen=True)
class QuarantinedRow(BadRow):
    """A quarantined row with its source: the connector, and the partner if the file was theirs."""

    source: str = ""
    organization_id: str | None = None


class BadValue(ValueError):
    """A value that its column cannot hold."""

    def __init__(self, column: str | None, reason: str) -> None:
        super().__init__(reason)
        self.column = column
        self.reason = reason


Value = str | int | float | bool | date | None

_EARLIEST, _LATEST = date(1980, 1, 1), date(2100, 1, 1)
_TRUE, _FALSE = {"true", "1", "yes", "y", "t"}, {"false", "0", "no", "n", "f"}


def convert_row(table: CanonicalTable, texts: dict[str, str | None]) -> dict[str, Value]:
    """The canonical values of one source row, by column; columns that the source lacks are None.

    Raises:
        BadValue: naming the first column that is wrong.
    """
    return {column.name: convert(column, texts.get(column.name)) for column in table.columns}


def convert(column: Column, text: str | None) -> Value:
    """The canonical value of `text` for `column`; empty text is None.

    Raises:
        BadValue: the text is empty although required, is not of the column's type, or is not one of
            its values.
    """
    stripped = text.strip() if text is not None else ""
    if not stripped:
        if column.required:
            raise BadValue(column.name, f"{column.name} is empty, and a row needs it")
        return None
    if holds_ssn(stripped):
        raise BadValue(
            column.name, f"{column.name} holds a number shaped like a social security number"
        )
    if column.values and stripped not in column.values:
        raise BadValue(
            column.name,
            f"{column.name} is {stripped!r}; it must be one of {', '.join(column.values)}",
        )
    if column.type == pa.date32():
        return _date(column, stripped)
    if column.type == pa.bool_():
        return _bool(column, stripped)
    if column.type == pa.int32() or column.type == pa.float64():
        return _number(column, stripped)
    return stripped


def _date(column: Column, text: str) -> date:
    try:
        day = date.fromisoformat(text[:10])
    except ValueError:
        raise BadValue(
            column.name, f"{column.name} is {text!r}; a date must look like 2026-04-17"
        ) from None
    if not _EARLIEST <= day <= _LATEST:
        raise BadValue(column.name, f"{column.name} is {day}, outside {_EARLIEST} to {_LATEST}")
    return day


def _bool(column: Column, text: str) -> bool:
    lowered = text.lower()
    if lowered in _TRUE:
        return True
    if lowered in _FALSE:
        return False
    raise BadValue(column.name, f"{column.name} is {text!r}; it must be true or false")


def _number(column: Column, text: str) -> int | float:
    try:
        return int(text) if column.type == pa.int32() else _finite(text)
    except ValueError:
        raise BadValue(column.name, f"{column.name} is {text!r}; it must be a number") from None


def _finite(text: str) -> float:
    number = float(text)
    if number != number or number in (float("inf"), float("-inf")):
        raise ValueError(text)
    return number
