"""Queries that Ibis writes out as SQL once a process, to be asked of any snapshot, scope and day
afterwards.

Ibis takes fifty milliseconds and more to turn one expression into SQL, which DuckDB then answers in
five; a page of one student asks six. The SQL names a stand-in for each table and each day. Who
asks, and of whom, is no part of it: that is in the rows of the table that stands for the scope.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import date
from functools import lru_cache
from itertools import count
from typing import Any, NamedTuple, Protocol

import duckdb
import ibis
import pandas as pd
import pyarrow as pa
from ibis.expr.operations import UnboundTable
from ibis.formats.pandas import PandasData

from records.canonical.schema import canonical_table

_PLACEHOLDER = "stand_in_for_"
_STUDENTS_PARAM = "_asked"
_STUDENTS = pa.schema([("student_id", pa.string())])
_NUMBERS = count()
"""Rows that are given have a name of their own each time: no reading can take another's for its
own."""
DateLike = Any
"""A `date`, or what stands for one in a query that is to be written out: both go with `as_date` and
`timedelta`."""


class TableProvider(Protocol):
    """Tables as an expression wants them."""

    def table(self, name: str) -> Any:
        """A canonical table as an Ibis expression."""


class QueryableTables(TableProvider, Protocol):
    """Where tables are read from: a snapshot, or what the second wall shows of one
    (`records.access.row_security`).
    """

    @property
    def id(self) -> str: ...

    def source(self, name: str) -> str:
        """The same as what may follow FROM in a query to `engine`."""

    @property
    def engine(self) -> duckdb.DuckDBPyConnection:
        """What reads the sources; not to be shared between threads."""


class EmptyTables:
    """Tables that have columns and no rows, for an expression that is only to be written out."""

    def table(self, name: str) -> Any:
        return placeholder_table(
            name, pa.schema([(one.name, one.type) for one in canonical_table(name).columns])
        )


@dataclass(frozen=True)
class CompiledQuery:
    """One expression as SQL for DuckDB. `names` are the tables that it reads, `days` what its days
    are.
    """

    sql: str
    names: tuple[str, ...]
    schema: Any = field(repr=False)
    days: tuple[date, ...] = ()

    def arrow(
        self, tables: QueryableTables, given: Mapping[str, pa.Table] | None = None
    ) -> pa.Table:
        """The answer as an Arrow table.

        Args:
            given: rows for the stand-ins that are no canonical tables.
        """
        sql, engine = self.sql, tables.engine
        registered = {
            f"{name}_{next(_NUMBERS)}": (name, rows) for name, rows in (given or {}).items()
        }
        sources = {name: here for here, (name, _) in registered.items()}
        for place, day in enumerate(self.days):
            sql = sql.replace(_day_in_sql(place), f"DATE '{day.isoformat()}'")
        for name in self.names:
            sql = sql.replace(
                f'"{_PLACEHOLDER}{name}"', sources[name] if name in sources else tables.source(name)
            )
        try:
            for here, (_, rows) in registered.items():
                engine.register(here, rows)
            return engine.sql(sql).to_arrow_table()
        finally:
            for here in registered:
                engine.unregister(here)

    def frame(
        self, tables: QueryableTables, given: Mapping[str, pa.Table] | None = None
    ) -> pd.DataFrame:
        """The answer as a data frame, with the types that Ibis gives its own."""
        found = self.arrow(tables, given)
        columns = {
            name: column.to_pylist() if column.null_count else column.to_pandas()
            for name, column in zip(found.column_names, found.columns, strict=True)
        }
        frame: pd.DataFrame = PandasData.convert_table(pd.DataFrame(columns), self.schema)
        return frame


def placeholder_table(name: str, schema: pa.Schema) -> Any:
    """A table without rows whose name in SQL is known to `CompiledQuery`."""
    return ibis.table(ibis.Schema.from_pyarrow(schema), name=_PLACEHOLDER + name)


def students_placeholder() -> Any:
    """Stands for the students that a query is asked about, as an Ibis table with the column
    `student_id`.
    """
    return placeholder_table(_STUDENTS_PARAM, _STUDENTS)


def students_param(students: Iterable[str]) -> dict[str, pa.Table]:
    """The rows that `students_placeholder` stands for, to be given to a query."""
    return {_STUDENTS_PARAM: pa.table([pa.array(students, pa.string())], schema=_STUDENTS)}


def as_date(day: DateLike) -> Any:
    """A day as Ibis wants it: a `date`, or what stands for one in a query that is to be written
    out.
    """
    return ibis.date(day.isoformat()) if isinstance(day, date) else day


def compile_query(make: Callable[..., Any], *given: Any) -> CompiledQuery:
    """What `make` makes of tables and of what is given, written out once.

    Args:
        make: a function of a module, that looks at nothing but what it is given.
        given: what can be hashed. In place of a day `make` gets an expression, to be used by way of
            `as_date`; a `timedelta` may be added to it or taken from it.
    """
    return compile_on(make, EmptyTables, *given)


def compile_on(make: Callable[..., Any], on: Callable[[], Any], *given: Any) -> CompiledQuery:
    """The same over what `on` makes."""
    days = tuple(one for one in given if isinstance(one, date))
    places = iter(range(len(days)))
    return replace(
        _compile(
            make, on, tuple(_Day(next(places)) if isinstance(one, date) else one for one in given)
        ),
        days=days,
    )


class _Day(NamedTuple):
    """Where among the days one stands."""

    place: int


@lru_cache(maxsize=500)
def _compile(
    make: Callable[..., Any], on: Callable[[], Any], given: tuple[Any, ...]
) -> CompiledQuery:
    expression = make(
        on(), *(_stand_in_day(one.place) if isinstance(one, _Day) else one for one in given)
    )
    tables = expression.op().find(UnboundTable)
    names = tuple(sorted({one.name.removeprefix(_PLACEHOLDER) for one in tables}))
    return CompiledQuery(str(ibis.to_sql(expression, dialect="duckdb")), names, expression.schema())


def _stand_in_day(place: int) -> Any:
    def day() -> date:
        raise NotImplementedError

    return ibis.udf.scalar.builtin(day, name=f"{_PLACEHOLDER}day_{place}")()


def _day_in_sql(place: int) -> str:
    return f"{_PLACEHOLDER}day_{place}()".upper()
