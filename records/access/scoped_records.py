"""The canonical tables as one scope shows them: the only way to read a student.

Rows and values out of scope are not "forbidden" but absent: rows are missing and values are null
before anything downstream sees them. `ScopedRecords` shows how to use it, and how not to.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import cached_property
from typing import Any

import ibis
import pandas as pd
import pyarrow as pa

from records.canonical.schema import CanonicalTable, Category, canonical_table
from records.canonical.supports import SupportCatalog
from records.snapshots.queries import (
    EmptyTables,
    QueryableTables,
    TableProvider,
    compile_on,
    placeholder_table,
)
from records.staff.viewer import Scope

_VISIBILITY = "_visible"
_ORGANIZATION = "_organization"
_SEES_HOUSING_SERVICES = "_sees_housing_services"
_SEES = {category: f"_sees_{category.value}" for category in Category}
_VISIBILITY_SCHEMA = pa.schema(
    [
        ("_student", pa.string()),
        (_ORGANIZATION, pa.string()),
        (_SEES_HOUSING_SERVICES, pa.bool_()),
        *((column, pa.bool_()) for column in _SEES.values()),
    ]
)
"""One row per student in scope: which categories are visible, and whose services are the viewer's
own. Its names begin with `_`, as no canonical column does."""


_HARMLESS = "_harmless_supports"
_HARMLESS_SCHEMA = pa.schema([("_support", pa.string())])
"""One row per kind of support that does not tell of housing. It is rows and not part of the SQL,
which is compiled once for every list that a district may have."""


def harmless_supports(supports: SupportCatalog) -> Any:
    """The kinds of support that do not tell of housing, as an Ibis table for
    `non_housing_programs`.
    """
    return ibis.memtable(_harmless_rows(supports))


def non_housing_programs(tables: TableProvider, harmless: Any) -> Any:
    """The programs whose enrollment does not reveal housing, as an Ibis column of identifiers.

    A program whose kind of support is unknown, or not on the district's list, is not among them: it
    may be a shelter. So is one whose kind was on the list when it was loaded and was taken out of
    it since.

    Args:
        harmless: the kinds that do not tell of housing (`harmless_supports`).
    """
    programs = tables.table("programs")
    return programs.filter(programs["support"].isin(harmless["_support"]))["program_id"]


class ScopedRecords:
    """The canonical tables as one scope shows them, for all its students or for some of them.

    If you want student data, ask through this class, with the scope of whoever asks
    (`records.access.scope.scope_for`).

    Examples:
        A snapshot of two students, and a tutor whose agreement covers the first:

        >>> import tempfile
        >>> from datetime import date
        >>> from pathlib import Path
        >>> import pyarrow.parquet as pq
        >>> from records.staff.viewer import Grant, Role, Viewer
        >>> from records.snapshots.snapshot import Snapshot
        >>> folder = Path(tempfile.mkdtemp())
        >>> rows = [{"student_id": "s1", "grade_level": 4}, {"student_id": "s2", "grade_level": 7}]
        >>> schema = canonical_table("students").arrow_schema()
        >>> pq.write_table(pa.Table.from_pylist(rows, schema), folder / "students.parquet")
        >>> snapshot = Snapshot("example", folder)
        >>> tutor = Viewer("u1", "tutor@tutors.example", "Tutor", Role.CASEWORKER, "tutors")
        >>> directory = frozenset({Category.DIRECTORY})
        >>> grant = Grant("a1", "", "school_official", "Tutoring", "tutors", directory, ())
        >>> scope = Scope(tutor, date(2026, 4, 17), {"s1": (grant,)}, b"secret")

        Right. The scope decides, and a student out of scope is absent, even if asked for:

        >>> ScopedRecords(snapshot, scope).frame("students")["student_id"].tolist()
        ['s1']
        >>> len(ScopedRecords(snapshot, scope, ["s2"]).frame("students"))
        0

        Wrong. A snapshot has no scope, so this is every student of the district, and a filter
        written by hand afterwards forgets consents, opt-outs and legal holds:

        >>> snapshot.table("students").to_pandas()["student_id"].tolist()
        ['s1', 's2']
    """

    def __init__(
        self, snapshot: QueryableTables, scope: Scope, students: Iterable[str] | None = None
    ) -> None:
        self.snapshot = snapshot
        self.scope = scope
        in_scope = scope.students if students is None else scope.students & frozenset(students)
        self.students = tuple(sorted(in_scope))

    def table(self, name: str) -> Any:
        """The table as an Ibis expression: rows and values out of scope are not in it.

        Raises:
            UnknownTable: there is no such table.
        """
        canonical = canonical_table(name)
        rows = self._tables.table(name)
        if not canonical.is_student:
            return rows
        in_scope = rows.inner_join(
            self._visibility, rows["student_id"] == self._visibility["_student"]
        )
        if canonical.is_service:
            return self._visible_services(canonical, in_scope)
        return _visible_values(canonical, in_scope)

    def frame(self, name: str) -> pd.DataFrame:
        """The table as a data frame, ordered by its key.

        Raises:
            UnknownTable: there is no such table.
        """
        return self.ask(_sorted_by_key, name)

    def ask(self, make: Callable[..., Any], *arguments: Any) -> pd.DataFrame:
        """The result of a query over these records, whose SQL is compiled once per process.

        Args:
            make: a function of a module that makes an Ibis expression from records and arguments.
                It may read tables only; the records that it gets have no scope and no students.
            arguments: hashable values. For each `date`, `make` gets a placeholder to be passed to
                `records.snapshots.queries.as_date`.
        """
        query = compile_on(make, _UnscopedRecords, *arguments)
        return query.frame(
            self.snapshot, {_VISIBILITY: self._visibility_table, _HARMLESS: self._harmless_table}
        )

    def _visible_services(self, canonical: CanonicalTable, in_scope: Any) -> Any:
        """Whole rows: an organization's own, and those of others that do not reveal housing."""
        own = in_scope["organization_id"] == in_scope[_ORGANIZATION]
        housing_allowed = (
            in_scope["program_id"].isin(non_housing_programs(self._tables, self._harmless))
            | in_scope[_SEES_HOUSING_SERVICES]
        )
        visible = in_scope.filter(
            (own & in_scope[_SEES[Category.SERVICES]])
            | (~own & in_scope[_SEES[Category.SERVICES_OTHER]] & housing_allowed)
        )
        return visible.select(*(column.name for column in canonical.columns))

    @property
    def supports(self) -> SupportCatalog:
        """The district's kinds of support, by which services are shown or not."""
        return self.snapshot.supports

    @property
    def _tables(self) -> TableProvider:
        return self.snapshot

    @cached_property
    def _harmless(self) -> Any:
        return harmless_supports(self.supports)

    @cached_property
    def _harmless_table(self) -> pa.Table:
        return _harmless_rows(self.supports)

    @cached_property
    def _visibility(self) -> Any:
        return ibis.memtable(self._visibility_table)

    @cached_property
    def _visibility_table(self) -> pa.Table:
        visible = [self.scope.categories(student) for student in self.students]
        organization = [self.scope.viewer.organization_id] * len(self.students)
        housing = [self.scope.sees_housing_services(student) for student in self.students]
        return pa.table(
            [
                pa.array(self.students, pa.string()),
                pa.array(organization, pa.string()),
                pa.array(housing, pa.bool_()),
                *(
                    pa.array([category in categories for categories in visible], pa.bool_())
                    for category in _SEES
                ),
            ],
            schema=_VISIBILITY_SCHEMA,
        )


class _UnscopedRecords(ScopedRecords):
    """Records with empty tables and without a scope, for compiling a query."""

    def __init__(self) -> None:
        pass

    @property
    def _tables(self) -> TableProvider:
        return EmptyTables()

    @cached_property
    def _harmless(self) -> Any:
        return placeholder_table(_HARMLESS, _HARMLESS_SCHEMA)

    @cached_property
    def _visibility(self) -> Any:
        return placeholder_table(_VISIBILITY, _VISIBILITY_SCHEMA)


def _harmless_rows(supports: SupportCatalog) -> pa.Table:
    return pa.table([pa.array(supports.harmless, pa.string())], schema=_HARMLESS_SCHEMA)


def _visible_values(canonical: CanonicalTable, in_scope: Any) -> Any:
    """Rows with each value out of scope replaced by null; rows without any value are left out."""
    categories = {
        column.name: column.category
        for column in canonical.columns
        if column.name != "student_id" and column.category is not None
    }
    masked = in_scope.select(
        "student_id",
        **{
            name: ibis.ifelse(
                in_scope[_SEES[category]],
                in_scope[name],
                ibis.null().cast(in_scope[name].type()),
            )
            for name, category in categories.items()
        },
    )
    return masked.filter(ibis.or_(*(masked[name].notnull() for name in categories)))


def _sorted_by_key(records: ScopedRecords, name: str) -> Any:
    return records.table(name).order_by(list(canonical_table(name).key))
