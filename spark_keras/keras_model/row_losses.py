"""A compiled model's loss of single rows."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import keras
import numpy as np

from spark_keras.keras_model import state


def activity_regularized(model: keras.Model) -> list[str]:
    """Names of layers that add a term of their activations to the loss, which depends on all rows of a batch."""
    return [layer.name for layer in model._flatten_layers() if getattr(layer, "activity_regularizer", None)]


def of_rows(model: keras.Model, x: Any, y: Any, sample_weight: Any = None) -> np.ndarray:
    """Keras' loss for each row alone, without the terms of the weights' regularizers; shape (rows,)."""
    outputs = keras.tree.flatten(model(keras.tree.map_structure(lambda array: array[:1], x), training=False))
    masked = any(getattr(output, "_keras_mask", None) is not None for output in outputs)
    if model._compile_loss is None or _added(model) or masked:
        # What layers add is one number for a batch; and a mask is scaled by what it leaves of the whole batch.
        return np.array([_of_batch(model, *row) for row in _rows(x, y, sample_weight)])
    compiled = _duplicate(model._compile_loss)
    compiled._flat_losses = [each._replace(loss=_by_row(each.loss)) for each in compiled._flat_losses]
    losses = compiled.call(y, model.predict_on_batch(x), sample_weight)
    return state.to_numpy(losses).astype("float64")


def _rows(*given: Any) -> Iterator[list[Any]]:
    """Each row as a batch of its own."""

    def part(index: int) -> Any:
        return lambda array: None if array is None else array[index : index + 1]

    for index in range(len(keras.tree.flatten(given[0])[0])):
        yield [keras.tree.map_structure(part(index), each) for each in given]


def _of_batch(model: keras.Model, x: Any, y: Any, sample_weight: Any) -> float:
    prediction = model(x, training=False)
    compiled = 0.0 if model._compile_loss is None else float(model._compile_loss(y, prediction, sample_weight))
    return compiled + sum(float(loss) for loss in _added(model))


def _added(model: keras.Model) -> list[Any]:
    """Losses that layers added in the last call."""
    return [loss for layer in model._flatten_layers() for loss in layer._losses]


def _duplicate(loss: Any) -> Any:
    """A shallow copy; that of the module copy would go by way of the loss's config."""
    duplicate = object.__new__(type(loss))
    duplicate.__dict__.update(vars(loss))
    return duplicate


def _by_row(loss: Any) -> Any:
    each = _duplicate(loss)
    each.reduction = None
    total = loss.reduction == "sum"
    # This reduction divides by the weights, and a row's own weight is all there is.
    weighted = loss.reduction != "mean_with_sample_weight"

    def row_by_row(y: Any, prediction: Any, sample_weight: Any = None) -> Any:
        values = each(y, prediction, sample_weight if weighted else None)
        values = keras.ops.reshape(values, (values.shape[0], -1))
        if not weighted and sample_weight is not None:
            weights = keras.ops.reshape(keras.ops.cast(sample_weight, values.dtype), (values.shape[0], -1))
            weights = keras.ops.broadcast_to(weights, values.shape)
            return keras.ops.divide_no_nan(keras.ops.sum(values * weights, axis=1), keras.ops.sum(weights, axis=1))
        return keras.ops.sum(values, axis=1) if total else keras.ops.mean(values, axis=1)

    return row_by_row
