"""The canonical tables as one scope shows them: the only way to read a student."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import cached_property
from typing import Any

import ibis
import pandas as pd
import pyarrow as pa

from records.canonical.schema import HOUSING_SUPPORTS, Category, canonical_table
from records.people.viewer import Scope
from records.snapshots.queries import (
    EmptyTables,
    QueryableTables,
    TableProvider,
    compile_on,
    placeholder_table,
)


def non_housing_programs(tables: TableProvider) -> Any:
    """The programs, as an Ibis column of identifiers, of which taking part does not tell of a
    child's housing.

    A program whose kind of support nobody has said, or that is on no list, is not one of them: it
    may be a shelter.
    """
    programs = tables.table("programs")
    return programs.filter(
        programs["support"].notnull(), programs["support"].notin(sorted(HOUSING_SUPPORTS))
    )["program_id"]


class ScopedRecords:
    """The canonical tables as one scope shows them, for all its students or for some of them."""

    def __init__(
        self, snapshot: QueryableTables, scope: Scope, students: Iterable[str] | None = None
    ) -> None:
        self.snapshot = snapshot
        self.scope = scope
        asked = scope.students if students is None else scope.students & frozenset(students)
        self.students = tuple(sorted(asked))

    def table(self, name: str) -> Any:
        """The table as an Ibis expression: rows and values out of scope are not in it.

        Raises:
            UnknownTable: there is no such table.
        """
        canonical = canonical_table(name)
        rows = self._tables.table(name)
        if not canonical.is_student:
            return rows
        joined = rows.inner_join(self._visible, rows["student_id"] == self._visible["_student"])
        if canonical.is_service:
            own = joined["organization_id"] == joined[_ORGANIZATION]
            freely = (
                joined["program_id"].isin(non_housing_programs(self._tables))
                | joined[_SEES_HOUSING_SERVICES]
            )
            joined = joined.filter(
                (own & joined[_flag(Category.SERVICES)])
                | (~own & joined[_flag(Category.SERVICES_OTHER)] & freely)
            )
            return joined.select(*(column.name for column in canonical.columns))
        facts = [
            column
            for column in canonical.columns
            if column.name != "student_id" and column.category
        ]
        masked = joined.select(
            "student_id",
            **{
                column.name: ibis.ifelse(
                    joined[_flag(column.category)],
                    joined[column.name],
                    ibis.null().cast(joined[column.name].type()),
                )
                for column in facts
                if column.category is not None
            },
        )
        return masked.filter(ibis.or_(*(masked[column.name].notnull() for column in facts)))

    def frame(self, name: str) -> pd.DataFrame:
        """The table as a data frame, ordered by its key."""
        return self.ask(_sorted_by_key, name)

    def ask(self, make: Callable[..., Any], *given: Any) -> pd.DataFrame:
        """The answer to a query over these records, whose SQL is written out once a process.

        Args:
            make: a function of a module that makes an Ibis expression of records and of what is
                given. It may look at tables alone: asked for its scope or its students, what it
                gets has none.
            given: what can be hashed. In place of a day `make` gets an expression, for
                `records.snapshots.queries.as_date`.
        """
        return compile_on(make, _UnscopedRecords, *given).frame(
            self.snapshot, {_VISIBLE: self._seen}
        )

    @property
    def _tables(self) -> TableProvider:
        return self.snapshot

    @cached_property
    def _visible(self) -> Any:
        return ibis.memtable(self._seen)

    @cached_property
    def _seen(self) -> pa.Table:
        """One row a student: what the scope opens of them, and whose services are the viewer's
        own.
        """
        seen = [self.scope.categories(student) for student in self.students]
        own = [self.scope.viewer.organization_id] * len(self.students)
        housing = [self.scope.sees_housing_services(student) for student in self.students]
        return pa.table(
            [
                pa.array(self.students, pa.string()),
                pa.array(own, pa.string()),
                pa.array(housing, pa.bool_()),
                *(
                    pa.array([category in categories for categories in seen], pa.bool_())
                    for category in Category
                ),
            ],
            schema=_SEEN,
        )


class _UnscopedRecords(ScopedRecords):
    """Records with tables and without a scope, for a query that is only to be written out."""

    def __init__(self) -> None:
        pass

    @property
    def _tables(self) -> TableProvider:
        return EmptyTables()

    @cached_property
    def _visible(self) -> Any:
        return placeholder_table(_VISIBLE, _SEEN)


def _sorted_by_key(records: ScopedRecords, name: str) -> Any:
    return records.table(name).order_by(list(canonical_table(name).key))


_VISIBLE = "_visible"


_ORGANIZATION = "_organization"


_SEES_HOUSING_SERVICES = "_sees_housing_services"


def _flag(category: Category) -> str:
    return f"_sees_{category.value}"


_SEEN = pa.schema(
    [
        ("_student", pa.string()),
        (_ORGANIZATION, pa.string()),
        (_SEES_HOUSING_SERVICES, pa.bool_()),
        *((_flag(category), pa.bool_()) for category in Category),
    ]
)
