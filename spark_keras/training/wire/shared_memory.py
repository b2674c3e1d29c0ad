"""Arrays between two processes of one machine without a copy through a socket."""

from __future__ import annotations

import mmap
import os
import platform
import socket
import tempfile
import uuid
from collections.abc import Sequence
from typing import Any

import numpy as np

from spark_keras import temporary
from spark_keras.executor.aligned import ALIGNMENT

SOCKET = "socket"


def machine() -> str:
    """The same string in all processes of one running machine, and only there."""
    try:
        with open("/proc/sys/kernel/random/boot_id") as file:
            return file.read().strip()
    except OSError:
        return platform.node()


def new_folder() -> str:
    """A path for a new folder, in memory where the system has such a place."""
    memory = "/dev/shm"
    in_memory = os.path.isdir(memory) and os.access(memory, os.W_OK | os.X_OK)
    parent = memory if in_memory else tempfile.gettempdir()
    _remove_abandoned(parent)
    return temporary.new_path(parent)


def _remove_abandoned(parent: str) -> None:
    """Removes the folders of drivers that were killed: nobody listens at the sockets in them."""
    for folder in os.scandir(parent):
        path = os.path.join(folder.path, SOCKET)
        if folder.name.startswith(temporary.PREFIX) and os.path.exists(path) and not _listens(path):
            temporary.remove(folder.path)


def _listens(path: str) -> bool:
    with socket.socket(socket.AF_UNIX) as probe:
        probe.setblocking(False)  # a driver that is stopped accepts nobody, and is there all the same
        try:
            probe.connect(path)
        except ConnectionRefusedError:
            return False
        except OSError:
            return True
    return True


class SharedMemory:
    """A file that a worker and the driver map: each writes one half and reads the other's. Or one that the driver
    writes and all workers of its machine read.

    What was read is a view: it holds until the other side writes again. The two take turns, so a request stays as it
    is until its answer has been used.
    """

    def __init__(self, path: str, side: int, sides: int = 2):
        with open(path, "r+b") as file:
            self._map = mmap.mmap(file.fileno(), 0)
        self.capacity = len(self._map) // sides
        self._own, self._other = side * self.capacity, (sides - 1 - side) * self.capacity
        # What was read last. Round after round, arrays of the same sizes lie at the same places.
        self._described: list[Any] = []
        self._views: list[np.ndarray] = []

    @classmethod
    def create(cls, folder: str, size: int) -> tuple[str, SharedMemory]:
        """The worker's side; the file's name, by which the driver opens its own, and the memory.

        Raises OSError where the folder has no room for it.

        Args:
            size: bytes of one half.
        """
        return cls._created(folder, size, sides=2)

    @classmethod
    def create_for_all(cls, folder: str, size: int) -> tuple[str, SharedMemory]:
        """Likewise the driver's side of one that all workers open."""
        return cls._created(folder, size, sides=1)

    @classmethod
    def _created(cls, folder: str, size: int, sides: int) -> tuple[str, SharedMemory]:
        name = uuid.uuid4().hex
        path = os.path.join(folder, name)
        # The size of whole pages, and at least one.
        length = sides * (size // mmap.PAGESIZE + 1) * mmap.PAGESIZE
        with open(os.open(path, os.O_CREAT | os.O_EXCL | os.O_RDWR, 0o600), "r+b") as file:
            try:
                # Reserved now: a write into a full file system would kill the process.
                getattr(os, "posix_fallocate", _extend)(file.fileno(), 0, length)
            except OSError:
                os.unlink(path)
                raise
        return name, cls(path, side=sides - 1, sides=sides)

    @classmethod
    def open(cls, folder: str, name: str) -> SharedMemory:
        """The driver's side. The file loses its name, so that it is gone when both processes are."""
        path = os.path.join(folder, uuid.UUID(hex=name).hex)
        memory = cls(path, side=0)
        os.unlink(path)
        return memory

    @classmethod
    def open_for_all(cls, folder: str, name: str) -> SharedMemory:
        """A worker's side of one that all workers open. It keeps its name for those to come."""
        return cls(os.path.join(folder, uuid.UUID(hex=name).hex), side=0, sides=1)

    def fits(self, arrays: Sequence[np.ndarray]) -> bool:
        return footprint(arrays) <= self.capacity

    def put(self, arrays: Sequence[np.ndarray]) -> bool:
        """Writes one-dimensional arrays into this side's half; False, and nothing written, if they do not fit."""
        if not self.fits(arrays):
            return False
        start = self._own
        for array in arrays:
            np.frombuffer(self._map, array.dtype, len(array), start)[:] = array
            start += _padded(array.nbytes)
        return True

    def get(self, described: list[Any]) -> list[np.ndarray]:
        """Views of the other side's arrays, given their dtypes and lengths in the order in which they were put; the
        same objects as before where these are the same as before.
        """
        if described == self._described:
            return list(self._views)
        arrays, start, end = [], self._other, self._other + self.capacity
        for dtype, length in described:
            size = np.dtype(dtype).itemsize * length
            if length < 0 or start + size > end:
                raise ValueError(f"A message announces {length} numbers of type {dtype} beyond the shared memory.")
            arrays.append(np.frombuffer(self._map, dtype, length, start))
            start += _padded(size)
        self._described, self._views = described, arrays
        return list(arrays)


def footprint(arrays: Sequence[np.ndarray]) -> int:
    """Bytes that arrays take in a half."""
    return sum(_padded(array.nbytes) for array in arrays)


def _padded(size: int) -> int:
    return -(-size // ALIGNMENT) * ALIGNMENT


def _extend(descriptor: int, _: int, length: int) -> None:
    os.ftruncate(descriptor, length)
