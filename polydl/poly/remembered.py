"""What was computed of late for some values, found again by their identity.

Deep values (trees, models) cost more to hash than much of what is computed from them. Transformations leave what they
do not change as it is, the same objects: so identity finds it, and what is equal but another object is made again.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from typing import Generic, TypeVar

__all__ = ["Remembered"]

T = TypeVar("T")


class Remembered(threading.local, Generic[T]):
    """A bounded table per thread; a key is some objects, compared by identity."""

    def __init__(self, entries: int) -> None:
        self.entries = entries
        self.found: OrderedDict[tuple[int, ...], tuple[tuple[object, ...], T]] = OrderedDict()

    def get(self, *key: object) -> T | None:
        """What was put there; None if it has not been or is forgotten."""
        at = tuple(map(id, key))
        entry = self.found.get(at)
        if entry is None:
            return None
        self.found.move_to_end(at)
        return entry[1]

    def put(self, value: T, *key: object) -> T:
        """Remember a value, and the objects of its key, so that no other ones get their addresses."""
        self.found[tuple(map(id, key))] = key, value
        if len(self.found) > self.entries:
            self.found.popitem(last=False)
        return value
