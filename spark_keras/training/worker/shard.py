"""A worker's rows: loaded once from Arrow into contiguous numpy, put into an order of their own, dealt out."""

from __future__ import annotations

import itertools
import sys
from collections.abc import Iterable, Iterator
from typing import NamedTuple, Protocol

import numpy as np
import pyarrow as pa

from spark_keras.columns import row_spec
from spark_keras.columns.row_spec import ShardColumns, stored_zeros, tensors_of
from spark_keras.executor.invalid_data import InvalidData
from spark_keras.training.worker import shard_file
from spark_keras.training.worker.order import EpochOrder


class Rows(Protocol):
    """Rows as tensors, sorted by the hash of their content, wherever they are kept.

    Attributes:
        row_bytes: of a row as it is trained, which may be more than is kept of it.
    """

    storage: str
    count: int
    row_bytes: int

    def parts(self, order: EpochOrder, start: int, stop: int) -> Iterator[tuple[dict[str, np.ndarray], np.ndarray]]:
        """Rows `start` to `stop` of an epoch, piece by piece: arrays, and which of their rows."""

    def close(self) -> None:
        """Gives back what the rows hold."""


class MemoryRows:
    """Rows in memory."""

    storage = "memory"

    def __init__(self, arrays: dict[str, np.ndarray], row_bytes: int | None = None):
        self.arrays = arrays
        self.count = len(next(iter(arrays.values())))
        self.row_bytes = row_spec.row_bytes(arrays) if row_bytes is None else row_bytes

    def parts(self, order: EpochOrder, start: int, stop: int) -> Iterator[tuple[dict[str, np.ndarray], np.ndarray]]:
        for window, index in order.parts(start, stop):
            yield self.arrays, order.rows(window, index)

    def close(self) -> None:
        self.arrays = {}


class Shard(NamedTuple):
    """One worker's rows.

    Args:
        training: rows to train on.
        validation: rows to evaluate on.
        skipped: rows left out, by column: {"column 'age' (featuresCol)": 3}.
        digest: of the rows' content, whatever their order.
    """

    training: Rows
    validation: Rows
    skipped: dict[str, int]
    digest: str

    @property
    def storage(self) -> str:
        """Place of the rows: "memory" or "file"."""
        return self.training.storage

    @property
    def bytes(self) -> int:
        """Of the rows as they are trained."""
        return sum(rows.count * rows.row_bytes for rows in (self.training, self.validation))

    def close(self) -> None:
        self.training.close()
        self.validation.close()


def load(batches: Iterable[pa.RecordBatch], spec: ShardColumns, max_memory: int = sys.maxsize) -> Shard:
    """Reads a partition. The result depends on its rows alone, not on the order in which they arrive.

    Args:
        max_memory: rows that take more bytes when they are trained go to a file, which changes nothing but where they
            are.
    """
    skipped: dict[str, int] = {}
    digest = _Digest()
    chunks = digest.of(_chunks(batches, spec, skipped))
    held: list[dict[str, np.ndarray]] = []
    size = 0
    for chunk in chunks:
        held.append(chunk)
        size += len(chunk["hash"]) * spec.row_bytes
        if size > max_memory:
            sorted_rows = shard_file.sort_into_files(itertools.chain(_drained(held), chunks), spec.row_bytes)
            return Shard(*sorted_rows, skipped, str(digest))
    if not held:
        empty = MemoryRows({name: stored_zeros(tensor, 0) for name, tensor in spec.tensors.items()}, spec.row_bytes)
        return Shard(empty, empty, skipped, str(digest))
    whole = {name: np.concatenate([chunk.pop(name) for chunk in held]) for name in list(held[0])}
    order = np.argsort(whole.pop("hash"), kind="stable")
    held_out = whole.pop("validation", np.zeros(len(order), bool))[order]
    training, validation = (_take(whole, order[part], spec.row_bytes) for part in (~held_out, held_out))
    return Shard(training, validation, skipped, str(digest))


def _chunks(
    batches: Iterable[pa.RecordBatch], spec: ShardColumns, skipped: dict[str, int]
) -> Iterator[dict[str, np.ndarray]]:
    """The tensors of each batch, with "hash" and, where rows are held out, "validation"; counts what is skipped."""
    for batch in batches:
        batch, arrays = tensors_of(batch, spec, skipped)
        arrays["hash"] = batch.column("h").to_numpy(zero_copy_only=False)
        if spec.validation:
            if batch.column("v").null_count:
                raise InvalidData(
                    "Null in the validationIndicatorCol. Received: a row with null. Expected: true or false in each."
                )
            arrays["validation"] = batch.column("v").to_numpy(zero_copy_only=False).astype(bool)
        yield arrays


class _Digest:
    """Sums of the rows' hashes and of their squares, modulo 2**64: the same for the same rows in any order."""

    def __init__(self) -> None:
        self._sums = np.zeros((2, 2), "uint64")

    def of(self, chunks: Iterator[dict[str, np.ndarray]]) -> Iterator[dict[str, np.ndarray]]:
        for chunk in chunks:
            hashes = chunk["hash"].view("uint64")
            held_out = chunk.get("validation", np.zeros(len(hashes), bool))
            for sums, part in zip(self._sums, (hashes[~held_out], hashes[held_out])):
                sums += np.array([part.sum(dtype="uint64"), np.square(part).sum(dtype="uint64")])
            yield chunk

    def __str__(self) -> str:
        return self._sums.tobytes().hex()


def _drained(held: list[dict[str, np.ndarray]]) -> Iterator[dict[str, np.ndarray]]:
    while held:
        yield held.pop(0)


def _take(arrays: dict[str, np.ndarray], index: np.ndarray, row_bytes: int) -> MemoryRows:
    return MemoryRows({name: array[index] for name, array in arrays.items()}, row_bytes)


def epoch_order(rows: Rows, seed: int, shard: int, epoch: int, shuffle: bool) -> EpochOrder:
    """The order of an epoch over these rows, wherever they are kept."""
    return EpochOrder(rows.count, rows.row_bytes, seed, shard, epoch, shuffle)
