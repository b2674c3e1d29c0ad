"""The loss of each row, on the executors.

Free of Keras at import time; see `spark_keras.executor`.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pyarrow as pa

from spark_keras import columns
from spark_keras.evaluation.rows import LabelledTask, model_of
from spark_keras.training import shard as shards


def of_batches(task: LabelledTask, penalty: float, invalid: str, batches: Iterator[Any]) -> Iterator[pa.Array]:
    """One loss for each row; null for a row with null or NaN, unless those are refused."""
    model = model_of(task)
    names = list(task.columns.tensors)
    for given in batches:
        # Spark hands a single column over without a tuple around it.
        arrays = list(given) if isinstance(given, (tuple, list)) else [given]
        usable = np.ones(len(arrays[0]), bool)
        if invalid != "error":
            for array in arrays:
                usable &= columns.usable_rows(array)
        batch = pa.RecordBatch.from_arrays(arrays, names)
        _, tensors = shards.tensors_of(batch, task.columns, {})
        values = np.full(len(usable), np.nan)
        for start in range(0, int(np.count_nonzero(usable)), task.batch_size):
            where = np.flatnonzero(usable)[start : start + task.batch_size]
            chunk = {name: array[start : start + task.batch_size] for name, array in tensors.items()}
            values[where] = of_rows(model, *task.columns.pack(chunk)) + penalty
        yield pa.array(values, mask=~usable)


def of_rows(model: Any, x: Any, y: Any, sample_weight: Any = None) -> np.ndarray:
    """What Keras' compiled loss is for each row alone, without the regularizers' terms; shape (rows,)."""
    import keras

    from spark_keras.training import state

    if _has_mask(model, x):
        # Keras scales a mask by what it leaves of the whole batch, so that rows cannot be told apart afterwards.
        rows = len(keras.tree.flatten(x)[0])
        given = (x, y) if sample_weight is None else (x, y, sample_weight)
        parts = [keras.tree.map_structure(lambda a, i=i: a[i : i + 1], given) for i in range(rows)]
        return np.array([float(model._compile_loss(y1, model(x1, training=False), *w1)) for x1, y1, *w1 in parts])
    compiled = _duplicate(model._compile_loss)
    compiled._flat_losses = [each._replace(loss=_by_row(each.loss)) for each in compiled._flat_losses]
    losses = compiled.call(y, model.predict_on_batch(x), sample_weight)
    return state.to_numpy(losses).astype("float64")


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
        return keras.ops.sum(values, axis=1) if total else keras.ops.mean(values, axis=1)

    return row_by_row


def _has_mask(model: Any, x: Any) -> bool:
    import keras

    first = keras.tree.map_structure(lambda array: array[:1], x)
    outputs = keras.tree.flatten(model(first, training=False))
    return any(getattr(output, "_keras_mask", None) is not None for output in outputs)
