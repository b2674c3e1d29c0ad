"""Folders that are there for a while, and gone afterwards whatever happens meanwhile."""

from __future__ import annotations

import contextlib
import shutil
import tempfile
from collections.abc import Iterator

PREFIX = "spark_keras_"


@contextlib.contextmanager
def folder() -> Iterator[str]:
    """A new folder of this user's own, removed when the context ends."""
    made = tempfile.mkdtemp(prefix=PREFIX)
    try:
        yield made
    finally:
        remove(made)


def remove(path: str) -> None:
    """Removes a folder and what is in it; also when an interrupt, such as Ctrl-C, comes just then.

    Unlike `tempfile.TemporaryDirectory`, which leaves what it had not yet removed.
    """
    try:
        shutil.rmtree(path, ignore_errors=True)
    except BaseException:
        shutil.rmtree(path, ignore_errors=True)
        raise
