"""The one encoding of a list of data categories in the database.

Every table that stores which parts of a record something covers (agreement terms, consents,
emergencies, legal demands, the disclosure log) stores them as `CategoryList`: the names in
alphabetical order, joined by `;`. The order is part of the disclosure log's hashes and of the
PostgreSQL policies that read the text, so it may not change. The log alone is read as
`LoggedCategoryList`, which does not refuse a text that somebody tampered with.
"""

from __future__ import annotations

from collections.abc import Iterable

from sqlalchemy import Dialect, String
from sqlalchemy.types import TypeDecorator

from records.canonical.schema import Category

_SEPARATOR = ";"
_NAMES = frozenset(map(str, Category))


def encode_categories(categories: Iterable[Category]) -> str:
    """The stored text of a set of categories; empty for none.

    Raises:
        ValueError: a name that is not a category.

    >>> encode_categories({Category.GRADES, Category.ATTENDANCE})
    'attendance;grades'
    """
    return _SEPARATOR.join(sorted({Category(category) for category in categories}))


def decode_categories(text: str) -> frozenset[Category]:
    """The categories that a stored text names.

    Raises:
        ValueError: the text names something that is not a category.

    >>> sorted(decode_categories("attendance;grades"))
    [<Category.ATTENDANCE: 'attendance'>, <Category.GRADES: 'grades'>]
    """
    return frozenset(Category(name) for name in text.split(_SEPARATOR)) if text else frozenset()


class CategoryList(TypeDecorator[frozenset[Category]]):
    """A column of categories: a frozenset in Python, the text of `encode_categories` in SQL."""

    impl = String(400)
    cache_ok = True

    def process_bind_param(self, value: Iterable[Category] | None, dialect: Dialect) -> str | None:
        return None if value is None else encode_categories(value)

    def process_result_value(
        self, value: str | None, dialect: Dialect
    ) -> frozenset[Category] | None:
        return None if value is None else decode_categories(value)


class LoggedCategoryList(CategoryList):
    """The log's column of categories: a tampered text is read as well, so that it can be shown.

    A name that is no category stays the plain string that stands there. What is written is checked
    as in any `CategoryList`.
    """

    cache_ok = True

    def process_result_value(  # type: ignore[override]
        self, value: str | bytes | None, dialect: Dialect
    ) -> frozenset[str] | None:
        if value is None:
            return None
        # SQLite keeps bytes where somebody put them in place of text.
        text = value.decode(errors="replace") if isinstance(value, bytes) else value
        return frozenset(map(_category_or_name, text.split(_SEPARATOR))) if text else frozenset()


def _category_or_name(name: str) -> str:
    return Category(name) if name in _NAMES else name
