"""Mismatches in what a model was compiled with: losses and activations, metrics and labels."""

from __future__ import annotations

import contextlib
import sys
import warnings
from collections.abc import Iterator, Sequence
from typing import Any

import keras
import numpy as np

from spark_keras.columns import output_meaning
from spark_keras.columns.row_spec import ShardColumns, zeros
from spark_keras.columns.tensor_column import TensorColumn
from spark_keras.keras_model import activations, signature
from spark_keras.keras_model.origin import of_keras
from spark_keras.keras_model.signature import Tensor


def warn_of_losses(model: keras.Model, outputs: Sequence[Tensor]) -> None:
    """Warns of losses that take the numbers of an output for something that its activation does not make of them.

    Keras trains such a model without a word, and it learns little or something else.
    """
    made = signature.symbolic_outputs(model)
    for index, (symbol, output) in enumerate(zip(made, outputs)):
        activation = activations.activation_of(symbol)
        if activation is None:
            continue
        loss = signature.loss_of(model, index, output.name)
        problem = _problem(activation, output.shape, output_meaning.said_by_loss(loss).kind)
        if problem:
            warnings.warn(
                f"Output {output.name!r} and its loss do not go together. Received: activation {activation!r} and loss "
                f"{_described(loss)}. {problem}",
                UserWarning,
                stacklevel=_level_of_the_caller(),
            )


@contextlib.contextmanager
def metrics_explained(model: keras.Model, spec: ShardColumns, outputs: Sequence[Tensor]) -> Iterator[None]:
    """Around the building of a compiled model: an error of a metric that does not fit its labels names the metric."""
    try:
        yield
    except Exception as error:
        for metric, label, output in _compared(model, spec, outputs):
            refused = _refusal(metric, label, output)
            if refused is not None:
                raise ValueError(_metric_problem(metric, label, output, refused)) from error
        raise
    for metric, label, output in _compared(model, spec, outputs):
        if output.shape[-1:] == (1,) or not of_keras(type(metric).update_state):
            continue
        refused = _refusal(metric, label, output)
        if isinstance(metric, keras.metrics.CategoricalAccuracy) and _indices(label, output):
            # Keras computes a number, of the largest among one class index.
            refused = "it compares one-hot rows"
        if refused is not None:
            raise ValueError(_metric_problem(metric, label, output, refused))


def _compared(
    model: keras.Model, spec: ShardColumns, outputs: Sequence[Tensor]
) -> Iterator[tuple[keras.metrics.Metric, TensorColumn, Tensor]]:
    """Each compiled metric with the label and the output that it compares."""
    for metrics_of_outputs in signature.metrics_by_output(model):
        for metrics, label, output in zip(metrics_of_outputs, spec.labels, outputs):
            if label is not None:
                yield from ((metric, label, output) for metric in metrics)


def _refusal(metric: keras.metrics.Metric, label: TensorColumn, output: Tensor) -> str | None:
    """Error that Keras raises on a few rows; None where it computes something."""
    prediction = np.zeros((7, *(length or 1 for length in output.shape)), "float32")
    try:
        metric.update_state(zeros(label, 7), prediction)
    except Exception as error:  # whatever the backend raises
        return (str(error).strip().splitlines() or [type(error).__name__])[0]
    finally:
        metric.reset_state()
    return None


def _indices(label: TensorColumn, output: Tensor) -> bool:
    """Tells whether a label is one class index for an output with several classes."""
    return len(label.tensor_shape) < len(output.shape) and (output.shape[-1] or 2) > 1


def _metric_problem(metric: keras.metrics.Metric, label: TensorColumn, output: Tensor, said: str) -> str:
    expected = "a metric for such labels"
    if _indices(label, output):
        expected = (
            '"accuracy", "sparse_categorical_accuracy" or "sparse_top_k_categorical_accuracy" for class indices; or '
            'loss "categorical_crossentropy", for which class indices are one-hot encoded, as Precision, Recall, AUC '
            "and the like want them"
        )
    elif label.one_hot:
        expected = 'a metric for one-hot rows, such as "accuracy"; or loss "sparse_categorical_crossentropy"'
    return (
        f"Metric {metric.name!r} does not fit the labels of output {output.name!r}. Received: {type(metric).__name__} "
        f"(Keras: {said}), labels of shape {label.tensor_shape} per row and outputs of shape {output.shape}. "
        f"Expected: {expected}."
    )


def _problem(activation: str, shape: tuple[int | None, ...], wanted: str | None) -> str | None:
    given = output_meaning.said_by_activation(activation).kind
    if activation == "softmax" and shape[-1:] == (1,):
        return 'A softmax over one number is always 1. Expected: activation "sigmoid", or an output for each class.'
    if wanted is None or wanted == given:
        return None
    if wanted == "probabilities":
        return (
            "The loss takes the numbers for probabilities, and they may be any. Expected: activation "
            '"softmax" or "sigmoid", or the loss with from_logits=True, such as '
            "keras.losses.SparseCategoricalCrossentropy(from_logits=True)."
        )
    if given == "probabilities":
        taken = "logits (from_logits=True)" if wanted == "logits" else "margins, of which the sign tells the class"
        return f"The loss takes the numbers for {taken}, and they are probabilities. Expected: a linear last layer."
    return None


def _described(loss: Any) -> str:
    if not isinstance(loss, keras.losses.Loss):
        return repr(getattr(loss, "__name__", loss))
    logits = loss.get_config().get("from_logits")
    return f"{type(loss).__name__}({'' if logits is None else f'from_logits={logits}'})"


def _level_of_the_caller() -> int:
    """The `stacklevel` at which a warning of the function that calls this one names the user's own line."""
    level, frame = 1, sys._getframe(1)
    while frame.f_back and frame.f_globals.get("__name__", "").split(".")[0] in ("spark_keras", "pyspark"):
        level, frame = level + 1, frame.f_back
    return level
