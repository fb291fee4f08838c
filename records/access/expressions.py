"""The part of Ibis that days at school, features and outcomes use, with types.

Ibis ships no types, so every expression would be `Any` and a misspelled column would fail only when
a query runs. These protocols take declared column names alone (`ColumnName`) and describe what the
expressions return; at run time they are Ibis's own objects.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import timedelta
from typing import Any, Protocol

import ibis

from records.canonical.columns import ColumnName
from records.snapshots.queries import TableProvider, as_date


class Day(Protocol):
    """A `date`, or its placeholder in a query that is compiled once and run on many days."""

    def __add__(self, duration: timedelta, /) -> Day: ...

    def __sub__(self, duration: timedelta, /) -> Day: ...


class Window(Protocol):
    """Rows that a window function looks at."""


class SortKey(Protocol):
    """A column to sort by, downward."""


class ColumnExpr(Protocol):
    """One value for each row, or one for a group of rows."""

    def __eq__(self, other: object) -> ColumnExpr: ...  # type: ignore[override]

    def __ne__(self, other: object) -> ColumnExpr: ...  # type: ignore[override]

    def __lt__(self, other: object, /) -> ColumnExpr: ...

    def __le__(self, other: object, /) -> ColumnExpr: ...

    def __gt__(self, other: object, /) -> ColumnExpr: ...

    def __ge__(self, other: object, /) -> ColumnExpr: ...

    def __and__(self, other: ColumnExpr, /) -> ColumnExpr: ...

    def __or__(self, other: ColumnExpr, /) -> ColumnExpr: ...

    def __invert__(self) -> ColumnExpr: ...

    def __add__(self, other: ColumnExpr | float, /) -> ColumnExpr: ...

    def __sub__(self, other: ColumnExpr | float, /) -> ColumnExpr: ...

    def __rsub__(self, other: float, /) -> ColumnExpr: ...

    def __mul__(self, other: ColumnExpr | float, /) -> ColumnExpr: ...

    def isnull(self) -> ColumnExpr: ...

    def notnull(self) -> ColumnExpr: ...

    def isin(self, values: Sequence[str], /) -> ColumnExpr: ...

    def fill_null(self, value: ColumnExpr | float, /) -> ColumnExpr: ...

    def cast(self, target_type: str, /) -> ColumnExpr: ...

    def sum(self, *, where: ColumnExpr | None = None) -> ColumnExpr: ...

    def mean(self, *, where: ColumnExpr | None = None) -> ColumnExpr: ...

    def min(self, *, where: ColumnExpr | None = None) -> ColumnExpr: ...

    def max(self, *, where: ColumnExpr | None = None) -> ColumnExpr: ...

    def any(self) -> ColumnExpr: ...

    def nunique(self) -> ColumnExpr: ...

    def lead(self) -> ColumnExpr: ...

    def over(self, window: Window, /) -> ColumnExpr: ...

    def as_scalar(self) -> ColumnExpr: ...

    @property
    def day_of_week(self) -> DayOfWeek: ...


class DayOfWeek(Protocol):
    def index(self) -> ColumnExpr:
        """0 on a Monday."""


class GroupedExpr(Protocol):
    def aggregate(self, **columns: ColumnExpr) -> TableExpr: ...


class TableExpr(Protocol):
    """Rows with named columns."""

    def __getitem__(self, name: ColumnName, /) -> ColumnExpr: ...

    def filter(self, *conditions: ColumnExpr) -> TableExpr: ...

    def select(self, *names: ColumnName, **columns: ColumnName | ColumnExpr) -> TableExpr: ...

    def mutate(self, **columns: ColumnExpr) -> TableExpr: ...

    def rename(self, **names: ColumnName) -> TableExpr: ...

    def drop(self, *names: ColumnName) -> TableExpr: ...

    def order_by(self, *names: str) -> TableExpr: ...

    def distinct(self) -> TableExpr: ...

    def view(self) -> TableExpr: ...

    def union(self, other: TableExpr, /) -> TableExpr: ...

    def semi_join(
        self, other: TableExpr, pairs: Sequence[tuple[ColumnName, ColumnName]], /
    ) -> TableExpr: ...

    def anti_join(
        self, other: TableExpr, pairs: Sequence[tuple[ColumnName, ColumnName]], /
    ) -> TableExpr: ...

    def count(self) -> ColumnExpr: ...

    def group_by(self, *names: ColumnName, **columns: ColumnExpr) -> GroupedExpr: ...

    def inner_join(
        self, other: TableExpr, pairs: Sequence[tuple[ColumnName, ColumnName]], /
    ) -> TableExpr: ...

    def left_join(
        self, other: TableExpr, pairs: Sequence[tuple[ColumnName, ColumnName]], /
    ) -> TableExpr: ...


def table(records: TableProvider, name: str) -> TableExpr:
    """A canonical table, as the scope of `records` shows it where they have one.

    Raises:
        UnknownTable: there is no such table.
    """
    expression: TableExpr = records.table(name)
    return expression


def date_of(day: Day) -> ColumnExpr:
    """A day as a value that columns can be compared with."""
    expression: ColumnExpr = as_date(day)
    return expression


def earlier(day: ColumnExpr, duration: timedelta) -> ColumnExpr:
    """The day that lies so much earlier."""
    shifted: Any = day
    expression: ColumnExpr = shifted - duration
    return expression


def row_number() -> ColumnExpr:
    """The place of each row in a window, from 0."""
    expression: ColumnExpr = ibis.row_number()
    return expression


def smaller(one: ColumnExpr, other: ColumnExpr | float) -> ColumnExpr:
    """The smaller of two values; a missing value gives way to the other."""
    expression: ColumnExpr = ibis.least(one, other)
    return expression


def dense_rank() -> ColumnExpr:
    """The rank of each row in a window, from 0; equal rows have equal ranks, without gaps."""
    expression: ColumnExpr = ibis.dense_rank()
    return expression


def known_where(condition: ColumnExpr, value: ColumnExpr) -> ColumnExpr:
    """A value where a condition holds, and missing elsewhere."""
    expression: ColumnExpr = ibis.ifelse(condition, value, ibis.null())
    return expression


def text(value: str) -> ColumnExpr:
    """One text for every row."""
    expression: ColumnExpr = ibis.literal(value)
    return expression


def null(target_type: str) -> ColumnExpr:
    """A missing value of a type."""
    expression: ColumnExpr = ibis.null().cast(target_type)
    return expression


def descending(key: ColumnName | ColumnExpr) -> SortKey:
    """Sort by `key`, the greatest first."""
    expression: SortKey = ibis.desc(key)
    return expression


def window(*group_by: ColumnName, order_by: Iterable[ColumnName | SortKey] | None = None) -> Window:
    """The rows that agree in the columns `group_by`, in the order of `order_by`."""
    keys: dict[str, Any] = {"group_by": list(group_by)}
    if order_by is not None:
        keys["order_by"] = list(order_by)
    expression: Window = ibis.window(**keys)
    return expression
