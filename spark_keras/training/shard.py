"""A worker's rows: loaded once from Arrow into contiguous numpy, put into an order of their own, dealt out."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa

from spark_keras import columns
from spark_keras.columns import TensorColumn


class ShardColumns(NamedTuple):
    """What travels to the workers: the internal column names, shared by driver and worker.

    Args:
        features: columns `x0`, `x1`, … ; one tensor, or several named inputs.
        labels: columns `y0`, `y1`, …
        weight: column `w`, or None.
        feature_structure: how the model's inputs are nested; None for a model that takes whatever it is given.
        label_structure: how the model's outputs are nested; labels are packed the same way.
        validation: whether there is a boolean column `v`.
        skip_invalid: whether rows with null or NaN are left out and counted, instead of refused.
    """

    features: tuple[TensorColumn, ...]
    labels: tuple[TensorColumn, ...]
    weight: TensorColumn | None
    feature_structure: Any
    label_structure: Any
    validation: bool
    skip_invalid: bool

    @property
    def tensors(self) -> dict[str, TensorColumn]:
        named = {f"x{i}": tensor for i, tensor in enumerate(self.features)}
        named |= {f"y{i}": tensor for i, tensor in enumerate(self.labels)}
        return named | ({"w": self.weight} if self.weight else {})

    def pack(self, arrays: dict[str, np.ndarray]) -> tuple[Any, ...]:
        """(x, y) or (x, y, sample_weight), nested as the model takes them."""
        import keras

        from spark_keras.signature import pack_inputs

        inputs = [arrays[f"x{i}"] for i in range(len(self.features))]
        x = pack_inputs(self.feature_structure, [tensor.name for tensor in self.features], inputs)
        outputs = [arrays[f"y{i}"] for i in range(len(self.labels))]
        y = outputs[0] if len(outputs) == 1 else keras.tree.pack_sequence_as(self.label_structure, outputs)
        return (x, y, arrays["w"]) if self.weight else (x, y)

    def sample(self) -> tuple[Any, ...]:
        """A few rows of zeros, to build a model with.

        Not one row, which broadcasts with everything: a loss or metric that does not fit the labels would only be
        found on the workers.
        """
        return self.pack({name: zeros(tensor, 7) for name, tensor in self.tensors.items()})


def zeros(tensor: TensorColumn, rows: int) -> np.ndarray:
    return np.zeros((rows, *tensor.tensor_shape), "float32" if tensor.one_hot else tensor.dtype)


class Rows(NamedTuple):
    """Rows as tensors, sorted by the hash of their content."""

    arrays: dict[str, np.ndarray]
    count: int


class Shard(NamedTuple):
    """One worker's rows.

    Args:
        training: rows to train on.
        validation: rows to evaluate on.
        skipped: rows left out, by column: {"column 'age' (featuresCol)": 3}.
    """

    training: Rows
    validation: Rows
    skipped: dict[str, int]


def load(batches: Iterable[pa.RecordBatch], spec: ShardColumns) -> Shard:
    """Reads a partition. The result depends on its rows alone, not on the order in which they arrive."""
    chunks: list[dict[str, np.ndarray]] = []
    skipped: dict[str, int] = {}
    for batch in batches:
        keep = np.ones(batch.num_rows, bool)
        for name, tensor in spec.tensors.items():
            usable = columns.usable_rows(batch.column(name))
            missing = int(np.count_nonzero(keep & ~usable))
            if missing and not spec.skip_invalid:
                raise columns.InvalidData(
                    f"Null or NaN in {tensor.label}. Received: {missing} such rows in a batch of {batch.num_rows}. "
                    'Expected: complete rows, or handleInvalid="skip" to leave such rows out and count them.'
                )
            if missing:
                skipped[tensor.label] = skipped.get(tensor.label, 0) + missing
            keep &= usable
        if not keep.all():
            batch = batch.filter(pa.array(keep))
        arrays = {name: columns.to_numpy(batch.column(name), tensor) for name, tensor in spec.tensors.items()}
        arrays["hash"] = batch.column("h").to_numpy(zero_copy_only=False)
        if spec.validation:
            if batch.column("v").null_count:
                raise columns.InvalidData(
                    "Null in the validationIndicatorCol. Received: a row with null. Expected: true or false in each."
                )
            arrays["validation"] = batch.column("v").to_numpy(zero_copy_only=False).astype(bool)
        chunks.append(arrays)
    if not chunks:
        empty = {name: zeros(tensor, 0) for name, tensor in spec.tensors.items()}
        return Shard(Rows(empty, 0), Rows(empty, 0), skipped)
    whole = {name: np.concatenate([chunk.pop(name) for chunk in chunks]) for name in list(chunks[0])}
    order = np.argsort(whole.pop("hash"), kind="stable")
    held_out = whole.pop("validation", np.zeros(len(order), bool))[order]
    return Shard(_take(whole, order[~held_out]), _take(whole, order[held_out]), skipped)


def _take(arrays: dict[str, np.ndarray], index: np.ndarray) -> Rows:
    return Rows({name: array[index] for name, array in arrays.items()}, len(index))


def epoch_order(rows: int, seed: int, shard: int, epoch: int, shuffle: bool) -> np.ndarray:
    """The order in which a shard's rows are trained in an epoch: a function of its arguments alone."""
    if not shuffle:
        return np.arange(rows)
    return np.random.default_rng([seed % 2**64, shard, epoch]).permutation(rows)


class Stack(NamedTuple):
    """Consecutive minibatches of one size, stacked for one call of the kernel.

    Args:
        arrays: shape (count, size, …); only the first `steps` of `count` are to be trained.
        steps: how many minibatches.
        rows: how many rows they have together.
        start: index of the first one in the epoch.
        short: whether it is the epoch's last minibatch, of fewer rows than a full one.
    """

    arrays: dict[str, np.ndarray]
    steps: int
    rows: int
    start: int
    short: bool


# A stack is a copy of its rows, and each shape of stack compiles a program of its own: hence stacks of a fixed count.
STACK_COUNT = 64
STACK_BYTES = 64 * 2**20


def stack_count(rows: Rows, most: int, batch_size: int) -> int:
    """How many full minibatches a stack has room for."""
    row_bytes = sum(array[:1].nbytes for array in rows.arrays.values())
    fitting = STACK_BYTES // max(1, row_bytes * batch_size)
    return max(1, min(most, STACK_COUNT, fitting, rows.count // batch_size))


def stacks(rows: Rows, order: np.ndarray, start: int, stop: int, batch_size: int, count: int) -> Iterator[Stack]:
    """Minibatches `start` to `stop` of an epoch: full ones in stacks of `count`, then the short last one."""
    full = rows.count // batch_size
    for first in range(start, min(stop, full), count):
        steps = min(count, stop - first, full - first)
        index = order[first * batch_size : (first + steps) * batch_size]
        # Short stacks are filled up with any rows, which are not trained, so that no other program is compiled.
        padded = np.concatenate([index, np.zeros((count - steps) * batch_size, index.dtype)])
        yield Stack(_gather(rows, padded.reshape(count, batch_size)), steps, len(index), first, False)
    if start <= full < stop and rows.count % batch_size:
        index = order[full * batch_size :]
        yield Stack(_gather(rows, index.reshape(1, -1)), 1, len(index), full, True)


def _gather(rows: Rows, index: np.ndarray) -> dict[str, np.ndarray]:
    return {name: array[index] for name, array in rows.arrays.items()}
