"""Ibis expressions compiled to SQL once per process, then run on any snapshot, scope and date.

Ibis takes fifty milliseconds and more to turn an expression into SQL, which DuckDB then answers in
five; a page of one student runs six queries. The compiled SQL therefore has a placeholder for each
table and each date. Who asks, and about whom, is never part of the SQL: that is in the rows of the
table that stands for the scope.
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
from records.canonical.supports import SupportCatalog

DateLike = Any
"""A `date`, or in a query that is being compiled its placeholder; both take a `timedelta`."""

_PLACEHOLDER = "stand_in_for_"
_STUDENTS_PARAM = "_asked"
_STUDENTS = pa.schema([("student_id", pa.string())])
_NUMBERS = count()
"""Numbers for the views of rows, so that no query ever reads the rows of another."""


class TableProvider(Protocol):
    """Anything that gives the canonical tables as Ibis expressions."""

    def table(self, name: str) -> Any:
        """A canonical table as an Ibis expression."""


class QueryableTables(TableProvider, Protocol):
    """Tables that a compiled query can run on.

    Either a snapshot, or what row-level security shows of one (`records.access.row_security`).
    """

    @property
    def id(self) -> str:
        """The identifier of the snapshot."""

    @property
    def supports(self) -> SupportCatalog:
        """The district's kinds of support."""

    def from_clause(self, name: str) -> str:
        """What may follow FROM in a query to `engine`, for a canonical table."""

    @property
    def engine(self) -> duckdb.DuckDBPyConnection:
        """The connection that reads the tables; not to be shared between threads."""


class EmptyTables:
    """Tables with columns and no rows, for compiling an expression."""

    def table(self, name: str) -> Any:
        """A canonical table as a placeholder.

        Raises:
            UnknownTable: there is no such table.
        """
        columns = canonical_table(name).columns
        return placeholder_table(
            name, pa.schema([(column.name, column.type) for column in columns])
        )


@dataclass(frozen=True)
class CompiledQuery:
    """One expression as SQL for DuckDB, with placeholders.

    `names` are the tables behind the placeholders, canonical ones and others; `dates` are the
    values of the date placeholders, by position.
    """

    sql: str
    names: tuple[str, ...]
    schema: Any = field(repr=False)
    dates: tuple[date, ...] = ()

    def arrow(
        self, tables: QueryableTables, rows: Mapping[str, pa.Table] | None = None
    ) -> pa.Table:
        """The result as an Arrow table.

        Args:
            rows: the rows of placeholders that are not canonical tables, by name.
        """
        views = {f"{name}_{next(_NUMBERS)}": name for name in rows or {}}
        sql = self._sql_on(tables, {name: view for view, name in views.items()})
        engine = tables.engine
        try:
            for view, name in views.items():
                engine.register(view, (rows or {})[name])
            return engine.sql(sql).to_arrow_table()
        finally:
            for view in views:
                engine.unregister(view)

    def frame(
        self, tables: QueryableTables, rows: Mapping[str, pa.Table] | None = None
    ) -> pd.DataFrame:
        """The result as a data frame, with the types that Ibis gives to its own results.

        Args:
            rows: the rows of placeholders that are not canonical tables, by name.
        """
        result = self.arrow(tables, rows)
        columns = {
            name: column.to_pylist() if column.null_count else column.to_pandas()
            for name, column in zip(result.column_names, result.columns, strict=True)
        }
        frame: pd.DataFrame = PandasData.convert_table(pd.DataFrame(columns), self.schema)
        return frame

    def _sql_on(self, tables: QueryableTables, views: Mapping[str, str]) -> str:
        """The SQL with every placeholder replaced: dates, then views and canonical tables."""
        sql = self.sql
        for position, day in enumerate(self.dates):
            sql = sql.replace(_date_placeholder_sql(position), f"DATE '{day.isoformat()}'")
        for name in self.names:
            from_clause = views[name] if name in views else tables.from_clause(name)
            sql = sql.replace(f'"{_PLACEHOLDER}{name}"', from_clause)
        return sql


def placeholder_table(name: str, schema: pa.Schema) -> Any:
    """An Ibis table without rows, which `CompiledQuery` replaces by rows or a canonical table."""
    return ibis.table(ibis.Schema.from_pyarrow(schema), name=_PLACEHOLDER + name)


def students_placeholder() -> Any:
    """A placeholder for the students that a query is about: an Ibis table with `student_id`."""
    return placeholder_table(_STUDENTS_PARAM, _STUDENTS)


def students_param(students: Iterable[str]) -> dict[str, pa.Table]:
    """The rows for `students_placeholder`, to be passed to a compiled query."""
    return {_STUDENTS_PARAM: pa.table([pa.array(students, pa.string())], schema=_STUDENTS)}


def as_date(day: DateLike) -> Any:
    """A date as an Ibis expression; the placeholder of one stays as it is."""
    return ibis.date(day.isoformat()) if isinstance(day, date) else day


def compile_query(make: Callable[..., Any], *arguments: Any) -> CompiledQuery:
    """The expression that `make` builds from tables and arguments, compiled once per process.

    Args:
        make: a function of a module that depends on its arguments only.
        arguments: hashable values. For each `date`, `make` gets a placeholder to be passed to
            `as_date`; a `timedelta` may be added to it or subtracted.
    """
    return compile_on(make, EmptyTables, *arguments)


def compile_on(
    make: Callable[..., Any], tables: Callable[[], Any], *arguments: Any
) -> CompiledQuery:
    """As `compile_query`, with the tables that `tables` returns in place of `EmptyTables`."""
    dates = tuple(argument for argument in arguments if isinstance(argument, date))
    positions = iter(range(len(dates)))
    # Dates become positions, so that one compiled query in the cache serves every date.
    cache_key = tuple(
        _DatePosition(next(positions)) if isinstance(argument, date) else argument
        for argument in arguments
    )
    return replace(_compile(make, tables, cache_key), dates=dates)


class _DatePosition(NamedTuple):
    """Stands for a date among the arguments of a query: which of its dates it is."""

    position: int


@lru_cache(maxsize=500)
def _compile(
    make: Callable[..., Any], tables: Callable[[], Any], arguments: tuple[Any, ...]
) -> CompiledQuery:
    expression = make(
        tables(),
        *(
            _date_placeholder(argument.position)
            if isinstance(argument, _DatePosition)
            else argument
            for argument in arguments
        ),
    )
    placeholders = expression.op().find(UnboundTable)
    names = tuple(sorted({table.name.removeprefix(_PLACEHOLDER) for table in placeholders}))
    return CompiledQuery(str(ibis.to_sql(expression, dialect="duckdb")), names, expression.schema())


def _date_placeholder(position: int) -> Any:
    """A call of a function that does not exist, recognized in the SQL by its name."""

    def day() -> date:
        raise NotImplementedError

    return ibis.udf.scalar.builtin(day, name=f"{_PLACEHOLDER}day_{position}")()


def _date_placeholder_sql(position: int) -> str:
    return f"{_PLACEHOLDER}day_{position}()".upper()
