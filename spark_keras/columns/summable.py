"""Metrics whose states add up: the state over all rows is the sum of the states over parts of them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import keras
import numpy as np

from spark_keras.columns import arrow
from spark_keras.columns.row_spec import ShardColumns
from spark_keras.keras_model import metrics
from spark_keras.keras_model.origin import of_keras
from spark_keras.keras_model.signature import Tensor

# Rows in each of the two parts that are compared.
_ROWS = 16


def not_summable(model: keras.Model, spec: ShardColumns, outputs: Sequence[Tensor]) -> set[str]:
    """Names of the metrics of a built model whose states do not add up, or are not known to.

    Keras' own metrics all count and add. One of the user's is tried on made-up rows: its state over two parts must be
    the sum of its states over each.
    """
    return _doubtful(model) - _tried(model, spec, outputs, adds_up=True)


def refuse_not_summable(model: keras.Model, spec: ShardColumns, outputs: Sequence[Tensor]) -> None:
    """Raises `ValueError` where a fit would add up states that do not add up."""
    wrong = _doubtful(model) & _tried(model, spec, outputs, adds_up=False)
    if wrong:
        raise ValueError(
            f"Metrics whose states do not add up over workers. Received: a model compiled with {sorted(wrong)}. "
            "Expected: metrics whose update_state() only adds to variables that start at 0. Leave the others out of "
            "compile(), and evaluate them with the fitted model's evaluate(df, metrics=[…])."
        )


def _doubtful(model: keras.Model) -> set[str]:
    # A class of the user's may leave Keras' own `update_state` as it is, and only change what is counted.
    return {metric.name for metric in leaves(model) if not of_keras(type(metric).update_state)}


def leaves(model: keras.Model) -> list[keras.metrics.Metric]:
    """The metrics themselves, without the containers that Keras puts compiled ones into."""
    found: list[keras.metrics.Metric] = []
    for metric in model.metrics:
        inner = getattr(metric, "metrics", None)
        found.extend([metric] if inner is None else inner)
    return found


def _tried(model: keras.Model, spec: ShardColumns, outputs: Sequence[Tensor], adds_up: bool) -> set[str]:
    """Metrics that were found to add up, or not to; one that cannot be tried is neither."""
    compiled = next((metric for metric in model.metrics if getattr(metric, "metrics", None)), None)
    doubtful = [metric for metric in getattr(compiled, "metrics", []) if not of_keras(type(metric).update_state)]
    if compiled is None or not doubtful:
        return set()
    parts = [_made_up_rows(spec, outputs, seed) for seed in (1, 2)]
    found: list[list[np.ndarray]] = []
    try:
        for rows in (parts[:1], parts[1:], parts):
            compiled.reset_state()
            for metric in doubtful:
                # As the workers start them.
                for variable in metric.variables:
                    variable.assign(np.zeros(variable.shape))
            for y, prediction in rows:
                compiled.update_state(y, prediction, np.ones(_ROWS, "float32"))
            found.append([metrics.states_of(metric.variables) for metric in doubtful])
    except Exception:  # the user's code, given rows that it was not made for
        return set()
    finally:
        model.reset_metrics()
    agree = [np.allclose(one + other, both, rtol=1e-4, atol=1e-6) for one, other, both in zip(*found)]
    return {metric.name for metric, same in zip(doubtful, agree) if same == adds_up}


def _made_up_rows(spec: ShardColumns, outputs: Sequence[Tensor], seed: int) -> tuple[Any, Any]:
    """Labels, and predictions that could be probabilities."""
    random = np.random.default_rng(seed)
    labels: list[np.ndarray | None] = []
    predictions = []
    for label, output in zip(spec.labels or [None] * len(outputs), outputs):
        shape = tuple(dim or 1 for dim in output.shape)
        scores = random.uniform(0.1, 1.0, (_ROWS, *shape)).astype("float32")
        predictions.append(scores / scores.sum(axis=-1, keepdims=True) if shape and shape[-1] > 1 else scores)
        if label is None:
            labels.append(None)
            continue
        rows = (_ROWS, *label.row_shape)
        values = random.integers(0, label.classes, rows) if label.classes else random.uniform(0.0, 1.0, rows)
        labels.append(arrow.finished(values.astype(label.dtype), label))

    def pack(tensors: list[Any]) -> Any:
        return tensors[0] if len(tensors) == 1 else keras.tree.pack_sequence_as(spec.label_structure, tensors)

    return pack(labels), pack(predictions)
