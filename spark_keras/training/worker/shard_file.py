"""Rows of a shard that is too large for memory: sorted on the executor's local disk, and read in windows.

Files have no name: the system drops them when the process ends, in whatever way it ends.
"""

from __future__ import annotations

import contextlib
import errno
import os
import shutil
import tempfile
from collections.abc import Iterable, Iterator
from typing import IO, NamedTuple

import numpy as np

from spark_keras.columns.row_spec import Arrays, row_bytes
from spark_keras.training.worker.order import EpochOrder, block_rows

# Rows that are sorted in memory at once.
RUN_BYTES = 64 * 2**20


class FileRows:
    """Rows in a file, block after block, within a block tensor after tensor.

    Args:
        file: holds the blocks.
        like: arrays of the tensors' types and row shapes, as they are kept.
        count: number of rows.
        row_bytes: of a row as it is trained, by which rows are divided into blocks.
    """

    storage = "file"

    def __init__(self, file: IO[bytes], like: Arrays, count: int, row_bytes: int):
        self.count = count
        self.row_bytes = row_bytes
        self._file = file
        self._like = _empty(like, 0)
        self._held: tuple[bytes, Arrays] = (b"", {})

    def parts(self, order: EpochOrder, start: int, stop: int) -> Iterator[tuple[Arrays, np.ndarray]]:
        """Rows `start` to `stop` of an epoch, as (arrays, rows within them), for each window."""
        for window, index in order.parts(start, stop):
            yield self._window(order, window), index

    def close(self) -> None:
        self._held = (b"", {})
        self._file.close()

    def _window(self, order: EpochOrder, window: int) -> Arrays:
        wanted = order.blocks(window).tobytes()
        held, arrays = self._held
        if held != wanted:
            self._held = (b"", {})  # makes room
            arrays = self._read(order.blocks(window))
            self._held = (wanted, arrays)
            if window + 1 < order.windows:
                self._announce(order.blocks(window + 1))
        return arrays

    def _read(self, blocks: np.ndarray) -> Arrays:
        size = block_rows(self.row_bytes)
        rows = np.minimum(self.count - blocks * size, size)
        arrays = _empty(self._like, int(rows.sum()))
        stop = 0
        for block, length in zip(blocks.tolist(), rows.tolist()):
            start, stop = stop, stop + length
            _read(self._file, [array[start:stop] for array in arrays.values()], block * size * row_bytes(self._like))
        return arrays

    def _announce(self, blocks: np.ndarray) -> None:
        """Lets the system read the next window while this one is trained."""
        if not hasattr(os, "posix_fadvise"):
            return
        size = block_rows(self.row_bytes) * row_bytes(self._like)
        for block in blocks.tolist():
            os.posix_fadvise(self._file.fileno(), block * size, size, os.POSIX_FADV_WILLNEED)


def sort_into_files(chunks: Iterable[Arrays], trained_bytes: int) -> tuple[FileRows, FileRows]:
    """Training and validation rows in files, sorted by hash; memory is needed for some runs, not for the rows.

    Args:
        chunks: tensors, with "hash" and, where rows are held out, "validation"; at least one chunk.
        trained_bytes: of a row as it is trained.
    """
    directory = local_directory()
    with contextlib.ExitStack() as on_failure, _disk_full_explained(directory):
        with _open(directory) as file:
            runs = list(_write_runs(file, chunks))
            like = {name: none for name, none in runs[0].like.items() if name not in ("hash", "validation")}
            files = [on_failure.enter_context(_open(directory)) for _ in range(2)]
            training, validation = (_Writer(each, like, trained_bytes) for each in files)
            for rows in _merge(file, runs):
                held_out = rows.pop("validation", None)
                kept = {name: rows.pop(name) for name in like}
                if held_out is not None:
                    validation.append({name: array[held_out] for name, array in kept.items()})
                    kept = {name: kept.pop(name)[~held_out] for name in like}
                training.append(kept)
                kept.clear()  # makes room for the next ones
        finished = training.finish(), validation.finish()
        on_failure.pop_all()
    return finished


def write(chunks: Iterable[Arrays], like: Arrays, trained_bytes: int) -> FileRows:
    """Rows in a file, in the order in which they come.

    Args:
        like: arrays of their types and row shapes.
        trained_bytes: of a row as it is trained.
    """
    directory = local_directory()
    with contextlib.ExitStack() as on_failure, _disk_full_explained(directory):
        writer = _Writer(on_failure.enter_context(_open(directory)), _empty(like, 0), trained_bytes)
        for chunk in chunks:
            writer.append(chunk)
        written = writer.finish()
        on_failure.pop_all()
    return written


# --- sorting -------------------------------------------------------------------------------------------------------


class _Run(NamedTuple):
    """Sorted rows in a file, tensor after tensor, from byte `offset` on."""

    offset: int
    count: int  # type: ignore[assignment]  # hides tuple.count, which nobody calls
    like: Arrays

    def read(self, file: IO[bytes], start: int, stop: int) -> Arrays:
        arrays, offset = _empty(self.like, stop - start), self.offset
        for array in arrays.values():
            width = row_bytes({"": array})
            _read(file, [array], offset + start * width)
            offset += self.count * width
        return arrays


def _write_runs(file: IO[bytes], chunks: Iterable[Arrays]) -> Iterator[_Run]:
    held: list[Arrays] = []
    for chunk in chunks:
        most = max(1, RUN_BYTES // row_bytes(chunk))
        # A chunk may be larger than a run.
        for first in range(0, _length(chunk), most):
            part = _slice(chunk, first, first + most)
            if held and sum(map(_length, held)) + _length(part) > most:
                yield _write_run(file, held)
            held.append(part)
    if held:
        yield _write_run(file, held)


def _write_run(file: IO[bytes], held: list[Arrays]) -> _Run:
    """Writes rows sorted by hash, and gives up what is held."""
    offset, like = file.tell(), _empty(held[0], 0)
    order = np.argsort(np.concatenate([part["hash"] for part in held]), kind="stable")
    places = np.empty_like(order)
    places[order] = np.arange(len(order))
    for name, none in like.items():
        column = np.empty((len(order), *none.shape[1:]), none.dtype)
        stop = 0
        for part in held:
            start, stop = stop, stop + len(part[name])
            column[places[start:stop]] = part.pop(name)
        file.write(column.data)
    file.flush()
    held.clear()
    return _Run(offset, len(order), like)


def _merge(file: IO[bytes], runs: list[_Run]) -> Iterator[Arrays]:
    """The rows of all runs in the order of their hashes, piece by piece."""
    most = max(1, RUN_BYTES // (row_bytes(runs[0].like) * len(runs)))
    read = [0] * len(runs)
    buffers = [run.like for run in runs]
    while any(map(_length, buffers)) or any(stop < run.count for stop, run in zip(read, runs)):
        limits = []
        for i, run in enumerate(runs):
            stop = min(run.count, read[i] + most - _length(buffers[i]))
            if stop > read[i]:
                buffers[i] = _concatenated([buffers[i], run.read(file, read[i], stop)])
                read[i] = stop
            if stop < run.count:
                limits.append(buffers[i]["hash"][-1])
        # Nothing that is still in the file comes before the smallest of these hashes.
        cuts = [
            int(np.searchsorted(buffer["hash"], min(limits), side="right")) if limits else _length(buffer)
            for buffer in buffers
        ]
        piece = _concatenated([_slice(buffer, 0, cut) for buffer, cut in zip(buffers, cuts)])
        buffers = [_slice(buffer, cut, None) for buffer, cut in zip(buffers, cuts)]
        order = np.argsort(piece["hash"], kind="stable")
        yield {name: piece.pop(name)[order] for name in list(piece)}


class _Writer:
    """Appends rows to a file of blocks."""

    def __init__(self, file: IO[bytes], like: Arrays, trained_bytes: int):
        self._file, self._like, self._count, self._trained_bytes = file, like, 0, trained_bytes
        self._size = block_rows(trained_bytes)
        self._begun = like  # the block that is not full yet

    def append(self, rows: Arrays) -> None:
        self._count += _length(rows)
        missing = self._size - _length(self._begun)
        self._begun = _concatenated([self._begun, _slice(rows, 0, missing)])
        for first in range(missing, _length(rows) + 1, self._size):
            self._write(self._begun)
            self._begun = _slice(rows, first, first + self._size)
        self._begun = {name: array.copy() for name, array in self._begun.items()}

    def finish(self) -> FileRows:
        self._write(self._begun)
        self._file.flush()
        return FileRows(self._file, self._like, self._count, self._trained_bytes)

    def _write(self, block: Arrays) -> None:
        for array in block.values():
            self._file.write(np.ascontiguousarray(array).data)


# --- files ---------------------------------------------------------------------------------------------------------


def local_directory() -> str:
    """Of the directories that Spark gives its executors for such files, the one with the most room."""
    named = os.environ.get("SPARK_LOCAL_DIRS", "").split(",")
    usable = [path for path in named if path and os.path.isdir(path) and os.access(path, os.W_OK)]
    return max(usable, key=lambda path: shutil.disk_usage(path).free) if usable else tempfile.gettempdir()


def _open(directory: str) -> IO[bytes]:
    return tempfile.TemporaryFile(prefix="spark_keras_", dir=directory)


def _read(file: IO[bytes], arrays: list[np.ndarray], offset: int) -> None:
    """Fills contiguous arrays, one after the other, with what stands in the file from `offset` on."""
    # Not a memory map, because a limit on the address space (spark.executor.pyspark.memory) counts its whole length;
    # and not seek and read, because two threads may read.
    views = [array.data.cast("B") for array in arrays if array.size]
    while views:
        count = os.preadv(file.fileno(), views, offset)
        if count == 0:
            raise EOFError(f"The file of a shard ends {sum(map(len, views))} bytes early.")
        offset += count
        while views and count >= len(views[0]):
            count -= len(views.pop(0))
        if count:
            views[0] = views[0][count:]


def _length(arrays: Arrays) -> int:
    return len(next(iter(arrays.values())))


def _slice(arrays: Arrays, start: int, stop: int | None) -> Arrays:
    return {name: array[start:stop] for name, array in arrays.items()}


def _empty(like: Arrays, rows: int) -> Arrays:
    return {name: np.empty((rows, *array.shape[1:]), array.dtype) for name, array in like.items()}


def _concatenated(parts: list[Arrays]) -> Arrays:
    return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}


@contextlib.contextmanager
def _disk_full_explained(directory: str) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT):
            raise
        raise OSError(
            error.errno,
            f"A shard larger than Param `maxShardMemory` does not fit into {directory!r}: {error.strerror}. Expected: "
            "room for twice the shard in the executors' local directories (spark.local.dir), or more workers.",
        ) from error
