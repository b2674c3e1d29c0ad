"""The loss of each row, on the executors.

Free of Keras at import time; see `spark_keras.executor`.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pyarrow as pa

from spark_keras.columns import arrow, row_spec
from spark_keras.evaluation.rows import LabelledTask, model_of


def of_batches(task: LabelledTask, penalty: float, invalid: str, batches: Iterator[Any]) -> Iterator[pa.Array]:
    """One loss for each row; null for a row with null or NaN, unless those are refused."""
    model = model_of(task)  # before Keras is imported here, which it prepares
    import keras

    names = list(task.columns.tensors)
    for given in batches:
        # Spark hands a single column over without a tuple around it.
        arrays = list(given) if isinstance(given, (tuple, list)) else [given]
        usable = np.ones(len(arrays[0]), bool)
        if invalid != "error":
            for array in arrays:
                usable &= arrow.usable_rows(array)
        batch = pa.RecordBatch.from_arrays(arrays, names)
        _, tensors = row_spec.tensors_of(batch, task.columns, {})
        values = np.full(len(usable), np.nan)
        for start in range(0, int(np.count_nonzero(usable)), task.batch_size):
            where = np.flatnonzero(usable)[start : start + task.batch_size]
            chunk = {name: array[start : start + task.batch_size] for name, array in tensors.items()}
            values[where] = of_rows(model, *keras.utils.unpack_x_y_sample_weight(task.columns.pack(chunk))) + penalty
        yield pa.array(values, mask=~usable)


def of_rows(model: Any, x: Any, y: Any, sample_weight: Any = None) -> np.ndarray:
    """What Keras' loss is for each row alone, without the terms of the weights' regularizers; shape (rows,)."""
    from spark_keras.keras_model import state

    if model._compile_loss is None or _adds_losses(model, x) or _has_mask(model, x):
        # What layers add is one number for a batch; and a mask is scaled by what it leaves of the whole batch.
        return np.array([_of_batch(model, *row) for row in _rows(x, y, sample_weight)])
    compiled = _duplicate(model._compile_loss)
    compiled._flat_losses = [each._replace(loss=_by_row(each.loss)) for each in compiled._flat_losses]
    losses = compiled.call(y, model.predict_on_batch(x), sample_weight)
    return state.to_numpy(losses).astype("float64")


def _rows(*given: Any) -> Iterator[list[Any]]:
    """Each row as a batch of its own."""
    import keras

    def part(index: int) -> Any:
        return lambda array: None if array is None else array[index : index + 1]

    for index in range(len(keras.tree.flatten(given[0])[0])):
        yield [keras.tree.map_structure(part(index), each) for each in given]


def _of_batch(model: Any, x: Any, y: Any, sample_weight: Any) -> float:
    prediction = model(x, training=False)
    compiled = 0.0 if model._compile_loss is None else float(model._compile_loss(y, prediction, sample_weight))
    return compiled + sum(float(loss) for loss in _added(model))


def _added(model: Any) -> list[Any]:
    """What layers added to the loss in the last call."""
    return [loss for layer in model._flatten_layers() for loss in layer._losses]


def _adds_losses(model: Any, x: Any) -> bool:
    import keras

    model(keras.tree.map_structure(lambda array: array[:1], x), training=False)
    return bool(_added(model))


def _duplicate(loss: Any) -> Any:
    """A shallow copy; that of the module copy would go by way of the loss's config."""
    duplicate = object.__new__(type(loss))
    duplicate.__dict__.update(vars(loss))
    return duplicate


def _by_row(loss: Any) -> Any:
    import keras

    unreduced = _duplicate(loss)
    unreduced.reduction = None
    total = loss.reduction == "sum"
    # This reduction divides by the weights, and a row's own weight is all there is.
    weighted = loss.reduction != "mean_with_sample_weight"

    def row_by_row(y: Any, prediction: Any, sample_weight: Any = None) -> Any:
        values = unreduced(y, prediction, sample_weight if weighted else None)
        values = keras.ops.reshape(values, (values.shape[0], -1))
        if not weighted and sample_weight is not None:
            weights = keras.ops.reshape(keras.ops.cast(sample_weight, values.dtype), (values.shape[0], -1))
            weights = keras.ops.broadcast_to(weights, values.shape)
            return keras.ops.divide_no_nan(keras.ops.sum(values * weights, axis=1), keras.ops.sum(weights, axis=1))
        return keras.ops.sum(values, axis=1) if total else keras.ops.mean(values, axis=1)

    return row_by_row


def _has_mask(model: Any, x: Any) -> bool:
    import keras

    first = keras.tree.map_structure(lambda array: array[:1], x)
    outputs = keras.tree.flatten(model(first, training=False))
    return any(getattr(output, "_keras_mask", None) is not None for output in outputs)
