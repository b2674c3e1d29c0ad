"""Folders that a fit of this process uses."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator

_in_use: set[tuple[str, str]] = set()


_in_use_lock = threading.Lock()


@contextlib.contextmanager
def exclusive(param: str, folder: str) -> Iterator[None]:
    """Refuses a folder that another fit of this process has in the same Param."""
    use = param, folder.rstrip("/")
    with _in_use_lock:
        if use in _in_use:
            raise ValueError(
                f"Param `{param}` is in use by another fit that runs now. Received: {folder!r}. Expected: a folder for "
                "each fit."
            )
        _in_use.add(use)
    try:
        yield
    finally:
        with _in_use_lock:
            _in_use.discard(use)
