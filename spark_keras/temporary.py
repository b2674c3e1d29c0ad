"""Folders that are there for a while, and gone afterwards whatever happens meanwhile."""

from __future__ import annotations

import contextlib
import os
import shutil
import tempfile
import uuid
import weakref
from collections.abc import Iterator

PREFIX = "spark_keras_"


# An interrupt may come while a folder is made: who is to remove it is settled before, so its name is chosen first.
def new_path(parent: str | None = None) -> str:
    """A path that nothing else has, for a folder in `parent` or where the system keeps temporary files."""
    return os.path.join(parent or tempfile.gettempdir(), PREFIX + uuid.uuid4().hex)


def make(path: str) -> None:
    """Makes a folder that only this user can enter."""
    os.mkdir(path, 0o700)


@contextlib.contextmanager
def folder() -> Iterator[str]:
    """A new folder of this user's own, removed when the context ends."""
    path = new_path()
    try:
        make(path)
        yield path
    finally:
        remove(path)


def folder_of(owner: object) -> str:
    """A new folder of this user's own, removed when the owner is gone."""
    path = new_path()
    weakref.finalize(owner, remove, path)
    make(path)
    return path


def remove(path: str) -> None:
    """Removes a folder and what is in it; also when an interrupt, such as Ctrl-C, comes just then.

    Unlike `tempfile.TemporaryDirectory`, which leaves what it had not yet removed.
    """
    try:
        shutil.rmtree(path, ignore_errors=True)
    except BaseException:
        shutil.rmtree(path, ignore_errors=True)
        raise
