"""Functions over blocks of rows as the executors run them. Free of Keras at import time; see `spark_keras.executor`."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import cloudpickle
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from spark_keras.columns import arrow
from spark_keras.columns.tensor_column import TensorColumn
from spark_keras.executor import process
from spark_keras.executor.invalid_data import InvalidData


class Output(NamedTuple):
    """A tensor that a function gives for one row; None stands for a dimension that only the data tell."""

    name: str
    shape: tuple[int | None, ...]
    dtype: str


class BlockTask(NamedTuple):
    """The task that the closure carries to the executors.

    Args:
        step: the public function, for messages.
        function: the user's function, cloudpickled.
        settings: of a process that needs Keras for it, else None.
        inputs: what it takes.
        outputs: what it gives.
        by_row: whether it takes one row instead of a block.
        vectorized: whether a function of one row can be applied to many by `keras.ops.vectorized_map`.
        nulls: "error", or "null"/"skip" where rows with nulls are not given to it.
    """

    step: str
    function: bytes
    settings: process.ProcessSettings | None
    inputs: tuple[TensorColumn, ...]
    outputs: tuple[Output, ...]
    by_row: bool
    vectorized: bool
    nulls: str


def map_blocks(task: BlockTask, batches: Iterator[Sequence[pa.Array]]) -> Iterator[pa.StructArray]:
    """One struct for each row, with fields f0, f1 …; the last array of a batch tells which rows have no null."""
    function = _function(task)
    for batch in batches:
        usable = _usable(task, batch)
        arrays = [array.filter(pa.array(usable)) for array in batch[:-1]]
        if not usable.any():
            yield _nothing(task, len(usable))
            continue
        results = _by_row(task, function, arrays) if task.by_row else _by_block(task, function, arrays)
        structs = pa.StructArray.from_arrays(results, [f"f{i}" for i in range(len(results))])
        # A null index takes a null.
        index = np.cumsum(usable) - 1
        yield structs if usable.all() else pc.take(structs, pa.array(index, mask=~usable))


def reduce_blocks(task: BlockTask, batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
    """One row for each partition that has rows."""
    function = None
    reduced: list[np.ndarray] | None = None
    for batch in batches:
        usable = _usable(task, batch.columns)
        if not usable.any():
            continue
        function = function or _function(task)
        arrays = [array.filter(pa.array(usable)) for array in batch.columns[:-1]]
        inputs = [_tensor(array, tensor) for array, tensor in zip(arrays, task.inputs)]
        part = apply_once(task, function, inputs)
        reduced = part if reduced is None else combine(task, function, [reduced, part])
    if reduced is not None:
        results = [arrow.to_arrow(value[None]) for value in reduced]
        yield pa.RecordBatch.from_arrays(results, [output.name for output in task.outputs])


def combine(task: BlockTask, function: Any, parts: Sequence[Sequence[np.ndarray]]) -> list[np.ndarray]:
    """The function applied to its own results, as a block."""
    return apply_once(task, function, [np.stack(values) for values in zip(*parts)])


def apply_once(task: BlockTask, function: Any, inputs: Sequence[np.ndarray]) -> list[np.ndarray]:
    """The function's outputs as numpy arrays of the types that were found before."""
    results = named_outputs(task.step, function(*inputs), [output.name for output in task.outputs])
    return [_numpy(result, output.dtype) for result, output in zip(results, task.outputs)]


def named_outputs(step: str, result: Any, names: Sequence[str]) -> list[Any]:
    """Results of a function in the order of the names: a dict by name, a tuple or list, or one tensor."""
    if isinstance(result, dict):
        if set(result) != set(names):
            raise InvalidData(
                f"Wrong outputs of the function of {step}. Received: {sorted(result)}. Expected: {names}."
            )
        return [result[name] for name in names]
    several = list(result) if isinstance(result, (tuple, list)) else [result]
    if len(several) != len(names):
        raise InvalidData(
            f"Wrong number of outputs of the function of {step}. Received: {len(several)}. Expected: {len(names)}, "
            f"{names}."
        )
    return several


def _function(task: BlockTask) -> Any:
    if task.settings is not None:
        process.prepare(task.settings)
        process.enter_keras(task.settings)
    return cloudpickle.loads(task.function)


def _usable(task: BlockTask, batch: Sequence[pa.Array]) -> np.ndarray:
    usable = batch[-1].to_numpy(zero_copy_only=False).astype(bool)
    if task.nulls == "error" and not usable.all():
        names = ", ".join(tensor.label for tensor in task.inputs)
        raise InvalidData(
            f"Null in {names}. Received: {np.count_nonzero(~usable)} such rows in a block of {len(usable)}. "
            f"Expected: rows without nulls, or another rule for them in Param `nulls` of {task.step}."
        )
    return usable


def _nothing(task: BlockTask, rows: int) -> pa.StructArray:
    fields = [(f"f{i}", _arrow_type(output)) for i, output in enumerate(task.outputs)]
    return pa.nulls(rows, pa.struct(fields))


def _arrow_type(output: Output) -> pa.DataType:
    kind = pa.from_numpy_dtype(np.dtype(output.dtype))
    for _ in output.shape:
        kind = pa.list_(kind)
    return kind


def _tensor(array: pa.Array, tensor: TensorColumn) -> np.ndarray:
    """A column as (rows, *shape), with the dimensions that were not known before as the first row has them."""
    lengths, inner = [], array
    for _ in tensor.shape:
        lengths.append(len(inner[0]) if len(inner) and inner[0].is_valid else 0)
        inner = inner.flatten()
    shape = tuple(found if known is None else known for known, found in zip(tensor.shape, lengths))
    return arrow.to_numpy(array, tensor._replace(shape=shape))


def _by_block(task: BlockTask, function: Any, arrays: Sequence[pa.Array]) -> list[pa.Array]:
    inputs = [_tensor(array, tensor) for array, tensor in zip(arrays, task.inputs)]
    results = apply_once(task, function, inputs)
    for result, output in zip(results, task.outputs):
        if result.shape[:1] != (len(inputs[0]),):
            raise InvalidData(
                f"Wrong output {output.name!r} of the function of {task.step}. Received: shape {result.shape} for a "
                f"block of {len(inputs[0])} rows. Expected: one row for each, ({len(inputs[0])}, …)."
            )
    return [arrow.to_arrow(result) for result in results]


def _by_row(task: BlockTask, function: Any, arrays: Sequence[pa.Array]) -> list[pa.Array]:
    """The function over each row: rows of the same shapes together, which may differ from row to row."""
    rows = len(arrays[0])
    groups: dict[tuple[int, ...], list[int]] = {}
    for row, lengths in enumerate(_lengths(task, arrays)):
        groups.setdefault(lengths, []).append(row)
    order, parts = [], []
    for members in groups.values():
        taken = arrays if len(members) == rows else [array.take(pa.array(members)) for array in arrays]
        inputs = [_tensor(array, tensor) for array, tensor in zip(taken, task.inputs)]
        parts.append([arrow.to_arrow(result) for result in _over_rows(task, function, inputs)])
        order += members
    back = pa.array(np.argsort(np.asarray(order)))
    return [pa.concat_arrays(pieces).take(back) for pieces in zip(*parts)]


def _lengths(task: BlockTask, arrays: Sequence[pa.Array]) -> list[tuple[int, ...]]:
    """For each row, the lengths that its arrays have in the first dimension where that is not known.

    Further dimensions must be the same in all rows.
    """
    free = [array for array, tensor in zip(arrays, task.inputs) if tensor.shape and tensor.shape[0] is None]
    if not free:
        return [()] * len(arrays[0])
    return list(zip(*(pc.list_value_length(array).to_pylist() for array in free)))


def _over_rows(task: BlockTask, function: Any, inputs: Sequence[np.ndarray]) -> list[np.ndarray]:
    if not task.vectorized:
        parts = [apply_once(task, function, row) for row in zip(*inputs)]
        return [np.stack(values) for values in zip(*parts)]
    import keras

    names = [output.name for output in task.outputs]
    tensors = tuple(keras.ops.convert_to_tensor(array) for array in inputs)
    results = keras.ops.vectorized_map(lambda row: tuple(named_outputs(task.step, function(*row), names)), tensors)
    return [_numpy(result, output.dtype) for result, output in zip(results, task.outputs)]


def _numpy(value: Any, dtype: str) -> np.ndarray:
    if not isinstance(value, (np.ndarray, np.generic, int, float)):
        import keras

        value = keras.ops.convert_to_numpy(value)
    return np.asarray(value).astype(dtype, copy=False)
