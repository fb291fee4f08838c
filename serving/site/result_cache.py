"""Results kept between requests, each by a key that says everything it depends on."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Hashable
from dataclasses import dataclass, field
from threading import Lock
from typing import Any

CACHED_RESULTS = 24
"""Results kept in memory: about two for each organisation of a district with a dozen partners."""


class ResultCache:
    """The last few results, each by its key. Whoever asks for one that is being worked out waits
    for it.
    """

    def __init__(self, size: int = CACHED_RESULTS) -> None:
        self._size = size
        self._lock = Lock()
        self._results: OrderedDict[Hashable, _Slot] = OrderedDict()

    def get(self, key: Hashable, make: Callable[[], Any]) -> Any:
        with self._lock:
            slot = self._results.setdefault(key, _Slot())
            self._results.move_to_end(key)
            while len(self._results) > self._size:
                self._results.popitem(last=False)
        with slot.lock:
            if not slot.done:
                slot.value, slot.done = make(), True
        return slot.value


@dataclass
class _Slot:
    lock: Lock = field(default_factory=Lock)
    done: bool = False
    value: Any = None
