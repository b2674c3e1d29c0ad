"""Rules of what a loss wants of the labels of its output: one for each of Keras' own, a symbolic call for any other."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any, NamedTuple

import keras

from spark_keras.columns import expressions
from spark_keras.columns.tensor_column import TensorColumn
from spark_keras.keras_model import losses
from spark_keras.keras_model.origin import of_keras
from spark_keras.keras_model.signature import Tensor


class LabelRule(NamedTuple):
    """Labels that a loss takes.

    Args:
        kind: "indices" of classes; "categories", one number for each class; "values" like the output; "either" of
            them, as `loss="crossentropy"` finds them; "identities", whole numbers in place of the last axis; a
            "sequence" of whole numbers of any length; "own" where only the loss itself can tell.
        axis: of the output, with the batch's as the first one, along which the classes lie.
        ignored: a label that the loss leaves out.
    """

    kind: str
    axis: int = -1
    ignored: int | None = None


# By the function of `keras.losses` that computes the loss; all others compare values with the output.
_KINDS = {
    "sparse_categorical_crossentropy": "indices",
    "categorical_generalized_cross_entropy": "indices",
    "categorical_crossentropy": "categories",
    "categorical_focal_crossentropy": "categories",
    "categorical_hinge": "categories",
    "circle": "identities",
    "ctc": "sequence",
}


def rule_of(loss: Any) -> LabelRule:
    """The rule of a compiled loss, in whatever form it was given to `compile`."""
    if isinstance(loss, str) and loss.lower() in ("crossentropy", "ce"):
        return LabelRule("either")
    function, settings = losses.computed_by(loss)
    if not of_keras(function):
        return LabelRule("own")
    kind = _KINDS.get(getattr(function, "__name__", ""), "values")
    if kind not in ("indices", "categories"):
        return LabelRule(kind)
    return LabelRule(kind, settings.get("axis", -1), settings.get("ignore_class"))


def settle_label(
    label: TensorColumn, found: tuple[int, ...] | None, output: Tensor, loss: Any, classifier: bool
) -> TensorColumn:
    """A label tensor as the output's loss wants it: class indices, one-hot rows, values like the output, or whatever
    a loss of the user's own takes.

    Args:
        found: row shape as the column holds it; None if unknown.
        loss: of the output; None if it has none.
        classifier: whether numbers are class indices, whatever the loss.

    Raises:
        ValueError: where the column does not hold what the loss wants.
    """
    label = label._replace(name=output.name)
    rule = LabelRule("none") if loss is None else rule_of(loss)
    axis = _row_axis(rule.axis, output)
    classes = output.shape[axis] if output.shape else 1
    per_class = tuple(size for index, size in enumerate(output.shape) if index != len(output.shape) + axis)
    scalar = found is not None and math.prod(found) == math.prod(dim or 1 for dim in per_class)
    kind = rule.kind
    if kind == "either":
        kind = "indices" if scalar and classes != 1 else "values"
    label = label._replace(class_axis=axis, ignored=rule.ignored)
    if kind == "indices":
        return expressions.fit_shape(label._replace(dtype="int32", classes=classes), per_class, found)
    if kind == "identities":
        return expressions.fit_shape(label._replace(dtype="int32"), per_class, found)
    if kind == "sequence":
        if found is not None and len(found) != 1:
            raise ValueError(
                f"Wrong shape in {label.label} for output {output.name!r}. Received: {_shape(found)}. Expected: one "
                "array of whole numbers per row, as its loss (CTC) takes them, 0 where a shorter one ends."
            )
        return expressions.fit_shape(label._replace(dtype="int32"), None, found)
    one_hot = label._replace(classes=classes, one_hot=True, dtype="int32")
    as_indices = classes and classes > 1 and scalar
    if as_indices and (kind == "categories" or (classifier and kind == "values")):
        return expressions.fit_shape(one_hot, per_class, found)
    if kind == "own":
        return _first_taken(loss, output, label, found, one_hot if classifier and as_indices else None)
    if classifier and scalar:
        label = label._replace(classes=max(2, classes or 0))
    return expressions.fit_shape(label, None if kind == "none" else output.shape, found)


def _row_axis(axis: int, output: Tensor) -> int:
    """An axis of the output, the batch's counted, as a row's axis counted from its last one."""
    return axis if axis < 0 else axis - 1 - len(output.shape)


def _first_taken(
    loss: Any, output: Tensor, label: TensorColumn, found: tuple[int, ...] | None, one_hot: TensorColumn | None
) -> TensorColumn:
    """The label in the first form that a loss of the user's own takes: as the column holds it, one-hot encoded, or in
    the shape of the output.
    """

    def forms() -> Iterator[TensorColumn]:
        yield expressions.fit_shape(label, None, found)
        if one_hot is not None:
            yield expressions.fit_shape(one_hot, output.shape[:-1], found)
        shape = tuple(size for size in output.shape if size is not None)
        if found is not None and shape == output.shape and math.prod(found) == math.prod(shape) and found != shape:
            yield label._replace(shape=shape)

    refused = None
    for form in forms():
        try:
            values_of(loss, form, output)
        except Exception as error:  # whatever the user's code raises
            refused = refused or error
            continue
        return form
    reason = str(refused).strip().splitlines()[-1:]
    raise ValueError(
        f"The loss of output {output.name!r} does not take the labels in {label.label}. Received: {_shape(found)}, and "
        f"an output of shape {output.shape}: {' '.join(reason)} Expected: labels of a shape that the loss can compare "
        "with this output."
    ) from refused


def values_of(loss: Any, label: TensorColumn, output: Tensor) -> tuple[int, ...] | None:
    """The shape that the losses of one row have before they become one number: () for one for each row. None where the
    output's own shape is open.

    Raises:
        Exception: whatever the loss raises at labels and outputs of these shapes.
    """
    if None in output.shape:
        return None
    # As many rows as no other axis has numbers, because labels that are broadcast by accident are no labels.
    sizes = {*output.shape, *label.tensor_shape}
    rows = next(count for count in (7, 11, 13, 17, *range(19, 1000)) if count not in sizes)
    y = keras.KerasTensor((rows, *label.tensor_shape), "float32" if label.one_hot else label.dtype)
    return losses.unreduced_shape(loss, y, keras.KerasTensor((rows, *output.shape), output.dtype))[1:]


def _shape(found: tuple[int, ...] | None) -> str:
    return "one number per row" if found == () else f"shape {found} per row"
