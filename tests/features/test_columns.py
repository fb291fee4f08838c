"""The typed column names are those of the canonical schema, no more and no fewer."""

from __future__ import annotations

import inspect

from records.canonical import columns
from records.canonical.schema import TABLES

CLASSES = [
    member
    for _, member in inspect.getmembers(columns, inspect.isclass)
    if member.__module__ == columns.__name__ and hasattr(member, "TABLE")
]


def names_of(table: type) -> dict[str, str]:
    return {
        name: value for name, value in vars(table).items() if name.isupper() and name != "TABLE"
    }


def test_every_canonical_table_has_its_column_names_and_no_other():
    assert sorted(table.TABLE for table in CLASSES) == sorted(TABLES)
    for table in CLASSES:
        expected = [column.name for column in TABLES[table.TABLE].columns]
        assert list(names_of(table).values()) == expected, table.__name__


def test_a_member_is_called_as_its_column():
    for table in CLASSES:
        for name, value in names_of(table).items():
            assert name == value.upper(), table.__name__
