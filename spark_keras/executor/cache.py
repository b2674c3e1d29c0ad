"""Models that are dear to rebuild, kept in a process from one task to the next."""

from __future__ import annotations

import threading
from collections import OrderedDict
from typing import Any


class RecentlyUsed:
    """A small mapping that forgets what was not used for longest: for models that are dear to rebuild."""

    def __init__(self, size: int):
        self._size = size
        self._items: OrderedDict[Any, Any] = OrderedDict()
        self._lock = threading.Lock()

    def get(self, key: Any, make: Any) -> Any:
        with self._lock:
            if key in self._items:
                self._items.move_to_end(key)
            else:
                self._items[key] = make()
                while len(self._items) > self._size:
                    self._items.popitem(last=False)
            return self._items[key]
