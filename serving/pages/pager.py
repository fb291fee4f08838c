"""A long list in pages."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import ceil
from typing import TypeVar

PAGE_SIZE = 50
_Item = TypeVar("_Item")


@dataclass(frozen=True)
class Pager:
    """One page of a list.

    Attributes:
        page: its number, from 1; one beyond the last page holds nothing.
        total: items on the whole list.
        size: items on a page.
    """

    page: int
    total: int
    size: int = PAGE_SIZE

    @property
    def pages(self) -> int:
        """How many pages there are, at least one."""
        return max(1, ceil(self.total / self.size))

    @property
    def offset(self) -> int:
        """Items before this page."""
        return (self.page - 1) * self.size

    @property
    def first(self) -> int:
        """The number of the first item of this page, from 1."""
        return self.offset + 1

    @property
    def last(self) -> int:
        """The number of the last item of this page."""
        return min(self.offset + self.size, self.total)

    def slice(self, items: Sequence[_Item]) -> Sequence[_Item]:
        """The items of this page, of the whole list."""
        return items[self.offset : self.offset + self.size]
