"""Rows that cannot be loaded, with file, line, column and reason, so that none is lost.

Owns the conversion of source text to canonical values. It refuses to guess: text that is not
exactly what the schema asks for raises `BadValue`, which says what the text is and what would be
right.
"""

from __future__ import annotations

import re
from collections.abc import Container
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
_TIME = r"(?:[T ]+[0-9]{1,2}:[0-9]{2}.*|Z|[+-][0-9]{2}:?[0-9]{2})?"
_ISO_DATE = re.compile(rf"([0-9]{{4}})-([0-9]{{2}})-([0-9]{{2}}){_TIME}")
_BASIC_DATE = re.compile(r"([0-9]{4})([0-9]{2})([0-9]{2})")
_US_DATE = re.compile(rf"([0-9]{{1,2}})([/-])([0-9]{{1,2}})\2([0-9]{{4}}){_TIME}")
_NAMED_MONTH = re.compile(rf"([0-9]{{1,2}})-([A-Za-z]{{3}})-([0-9]{{4}}){_TIME}")
_NAMED_SHORT_YEAR = re.compile(rf"[0-9]{{1,2}}-[A-Za-z]{{3}}-[0-9]{{2}}{_TIME}")
_MONTH_NAMES = "jan feb mar apr may jun jul aug sep oct nov dec"
_SLASHED_ISO = re.compile(rf"([0-9]{{4}})/([0-9]{{1,2}})/([0-9]{{1,2}}){_TIME}")
_DAY_NUMBER = re.compile(r"[1-9][0-9]{4}(?:\.[0-9]+)?")
_NO_VALUE = {"null", "\\n", "n/a", "na", "#n/a", "none", "-", "--", "0000-00-00"}
"""How databases and spreadsheets write that there is no value, where none is a word."""
_NO_IDENTIFIER = {"null", "\\n", "n/a", "#n/a", "-", "--"}
_FORMULA_ERRORS = {"#ref!", "#value!", "#name?", "#div/0!", "#null!", "#num!"}
_REWRITTEN = re.compile(r"([0-9]+)\.0+")
_SHORT_YEAR = re.compile(rf"[0-9]{{1,2}}([/.-])[0-9]{{1,2}}\1[0-9]{{2}}{_TIME}")
_SHORTENED = re.compile(r"(?:^|,)\s*[0-9]+(?:[.,][0-9]+)?E\+[0-9]+\s*(?:,|$)", re.IGNORECASE)
_MONTHS = 12
_IDENTIFIER = "_id"
_MOST_LOST_ZEROS = 12
_TRUE, _FALSE = {"true", "1", "yes", "y", "t"}, {"false", "0", "no", "n", "f"}


def convert_row(table: CanonicalTable, texts: dict[str, str | None]) -> dict[str, Value]:
    """The canonical values of one source row, by column; columns that the source lacks are None.

    Raises:
        BadValue: naming the first column that is wrong.
    """
    return {column.name: convert(column, texts.get(column.name)) for column in table.columns}


def convert(column: Column, text: str | None, source_name: str | None = None) -> Value:
    """The canonical value of `text` for `column`; empty text is None.

    A date is written as ISO 8601 writes it, with or without a time of day, which is dropped as the
    source writes it, whatever its zone; or with month, day and a year of four digits, as in
    2/14/2026 (districts of the United States write the month first), or its name, as in
    14-Feb-2026. "NULL", "N/A" or "-" in a column of dates, numbers or yes and no is no value.

    Args:
        source_name: what the source calls the column, for messages.

    Raises:
        BadValue: the text is empty although required, is not of the column's type, is not one of
            its values, or is an identifier that a spreadsheet has shortened.
    """
    name = source_name or column.name
    stripped = text.strip() if text is not None else ""
    if not stripped:
        if column.required:
            raise BadValue(name, f"{name} is empty, and a row needs it")
        return None
    folded = stripped.casefold()
    is_identifier = column.name.endswith(_IDENTIFIER)
    if folded in (_NO_IDENTIFIER if is_identifier else _no_value_words(column)):
        if column.required:
            raise BadValue(name, f"{name} is {stripped!r}, which is no value, and a row needs one")
        return None
    if folded in _FORMULA_ERRORS:
        raise BadValue(
            name, f"{name} is {stripped!r}, the error of a spreadsheet's formula; mend it there"
        )
    if holds_ssn(stripped):
        raise BadValue(name, f"{name} holds a number shaped like a social security number")
    if column.values and stripped not in column.values:
        advice = column.advice(stripped) if column.advice else ""
        raise BadValue(
            name, f"{name} is {stripped!r}; it must be one of {', '.join(column.values)}{advice}"
        )
    if column.type == pa.date32():
        return _date(name, stripped)
    if column.type == pa.bool_():
        return _bool(name, stripped)
    if column.type == pa.int32() or column.type == pa.float64():
        return _number(column, name, stripped)
    if is_identifier:
        refuse_shortened(name, stripped)
    return stripped


def _no_value_words(column: Column) -> Container[str]:
    """The words that say that a column has no value: none where any word may be one."""
    is_text = column.type == pa.string() or bool(column.values)
    return () if is_text else _NO_VALUE


def refuse_shortened(name: str, text: str) -> None:
    """Refuse an identifier that a spreadsheet has shortened, as 1.23E+09: its digits are lost.

    Raises:
        BadValue: it is such a one.
    """
    if _SHORTENED.search(text):
        raise BadValue(
            name,
            f"{name} is {text.strip()!r}, which looks like a number that a spreadsheet has"
            " shortened; export the file anew with the column as text",
        )


def lost_zeros_hint(identifier: str, known: Container[str]) -> str:
    """What to add to the reason why an identifier is unknown, if zeros in front would make it one.

    Args:
        known: identifiers that exist.

    Returns:
        A half-sentence that begins with a semicolon; empty where no known identifier, or more than
        one, is the same but for zeros in front.
    """
    rewritten = _REWRITTEN.fullmatch(identifier)
    if rewritten is not None and rewritten[1] in known:
        return (
            f"; as {rewritten[1]!r} it would be one: a spreadsheet has written it as a decimal"
            " number, so export the file anew with the column as text"
        )
    if not (identifier.isascii() and identifier.isdigit()):
        return ""
    padded = ("0" * zeros + identifier for zeros in range(1, _MOST_LOST_ZEROS + 1))
    found = [candidate for candidate in padded if candidate in known]
    if len(found) != 1:
        return ""
    return (
        f"; with zeros in front, {found[0]!r}, it would be one: a spreadsheet may have removed"
        " them, so export the file anew with the column as text"
    )


def date_as_iso(text: str) -> str:
    """The day of a text in any form that `convert` reads, as 2026-04-17; else its first 10 signs.

    For putting texts in order that are not stored as dates.
    """
    stripped = text.strip()
    try:
        return _day("", stripped).isoformat()
    except ValueError:
        return stripped[:10]


def _date(name: str, text: str) -> date:
    try:
        day = _day(name, text)
    except ValueError as error:
        if isinstance(error, BadValue):
            raise
        raise BadValue(name, f"{name} is {text!r}; there is no such day") from None
    if not _EARLIEST <= day <= _LATEST:
        raise BadValue(name, f"{name} is {day}, outside {_EARLIEST} to {_LATEST}")
    return day


def _day(name: str, text: str) -> date:
    iso = _ISO_DATE.fullmatch(text) or _BASIC_DATE.fullmatch(text)
    if iso is not None:
        return date(int(iso[1]), int(iso[2]), int(iso[3]))
    slashed = _SLASHED_ISO.fullmatch(text)
    if slashed is not None:
        return date(int(slashed[1]), int(slashed[2]), int(slashed[3]))
    named = _NAMED_MONTH.fullmatch(text)
    if named is not None and named[2].lower() in _MONTH_NAMES.split():
        return date(int(named[3]), _MONTH_NAMES.split().index(named[2].lower()) + 1, int(named[1]))
    us = _US_DATE.fullmatch(text)
    if us is not None:
        month, day, year = int(us[1]), int(us[3]), int(us[4])
        if month > _MONTHS >= day:
            raise BadValue(
                name,
                f"{name} is {text!r}, with the day first; a date must look like 2026-04-17, or"
                " like 4/17/2026 with the month first",
            )
        return date(year, month, day)
    if _SHORT_YEAR.fullmatch(text) or _NAMED_SHORT_YEAR.fullmatch(text):
        raise BadValue(
            name,
            f"{name} is {text!r}, with a year of two digits, which could be of either century; a"
            " date must look like 2026-04-17 or 4/17/2026",
        )
    hint = (
        ", and this looks like a spreadsheet's number of a day: format the column as a date"
        if _DAY_NUMBER.fullmatch(text)
        else ""
    )
    raise BadValue(name, f"{name} is {text!r}; a date must look like 2026-04-17 or 4/17/2026{hint}")


def _bool(name: str, text: str) -> bool:
    lowered = text.lower()
    if lowered in _TRUE:
        return True
    if lowered in _FALSE:
        return False
    raise BadValue(name, f"{name} is {text!r}; it must be true or false")


def _number(column: Column, name: str, text: str) -> int | float:
    try:
        return int(text) if column.type == pa.int32() else _finite(text)
    except ValueError:
        raise BadValue(name, f"{name} is {text!r}; it must be a number") from None


def _finite(text: str) -> float:
    number = float(text)
    if number != number or number in (float("inf"), float("-inf")):
        raise ValueError(text)
    return number
