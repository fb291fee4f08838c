"""Results shared between requests, each under a key that says everything it depends on."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Hashable
from dataclasses import dataclass, field
from threading import Lock
from typing import Any

CACHED_RESULTS = 24
"""Results in memory: about two for each organization of a district with a dozen partners."""


class ResultCache:
    """The last few results, each by its key. A second request for a result that is being computed
    waits for the first.
    """

    def __init__(self, size: int = CACHED_RESULTS) -> None:
        self._size = size
        self._lock = Lock()
        self._slots: OrderedDict[Hashable, _Slot] = OrderedDict()

    def get(self, key: Hashable, compute: Callable[[], Any]) -> Any:
        """The result under `key`, computed where it is not cached."""
        with self._lock:
            slot = self._slots.setdefault(key, _Slot())
            self._slots.move_to_end(key)
            while len(self._slots) > self._size:
                self._slots.popitem(last=False)
        with slot.lock:
            if not slot.done:
                slot.value, slot.done = compute(), True
        return slot.value


@dataclass
class _Slot:
    lock: Lock = field(default_factory=Lock)
    done: bool = False
    value: Any = None
