"""Labels and weights: which columns hold them, for which outputs, and what each output's loss makes of them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import keras
from pyspark.sql import DataFrame

from spark_keras.columns import expressions as columns
from spark_keras.columns import label_rules
from spark_keras.columns.binding import tensor_column
from spark_keras.columns.class_weights import ClassWeights
from spark_keras.columns.row_spec import ShardColumns
from spark_keras.columns.tensor_column import TensorColumn
from spark_keras.keras_model import held, signature
from spark_keras.keras_model.signature import Tensor
from spark_keras.params.values import param_or_none


class Named(NamedTuple):
    """Columns as a Param names them.

    Args:
        param: the Param.
        value: its value: one column, {"output name": "column"}, or a list; None for none.
        columns: by name, or by place in the list; those named "" left out.
    """

    param: str
    value: Any
    columns: dict[Any, TensorColumn]

    def by_output(self, outputs: Sequence[Tensor], wanted: Sequence[bool]) -> list[Any]:
        """For each output the key of its column, or None.

        Args:
            wanted: which outputs have something to compare with a label, as a list may name columns of these alone.
        """
        if isinstance(self.value, dict):
            return [output.name if output.name in self.columns else None for output in outputs]
        count = len(self.value) if isinstance(self.value, list) else 1
        places = range(len(outputs)) if count == len(outputs) else [i for i, each in enumerate(wanted) if each]
        keys = dict(zip(places, range(count))) if len(places) == count else {}
        return [keys.get(index) if keys.get(index) in self.columns else None for index in range(len(outputs))]


def _named(dataset: DataFrame, param: str, value: Any, tensor: str) -> Named:
    """The columns that the value of a Param names, each with its depth."""
    by_key = value if isinstance(value, dict) else dict(enumerate(value if isinstance(value, list) else [value]))
    found = {key: tensor_column(dataset, param, tensor, column, None) for key, column in by_key.items() if column}
    return Named(param, value, found)


# --- labels --------------------------------------------------------------------------------------------------------


def label_columns(dataset: DataFrame, stage: Any, model: keras.Model) -> Named:
    """The label columns that the Params name, each with its depth.

    The default of `labelCol` is a column that some models do without: one that compares nothing with labels, unless
    its own code may look at them and the DataFrame has the column; and one with a train_step of its own, where the
    DataFrame has none.
    """
    named = param_or_none(stage, "labelCols")
    if named is not None:
        return _named(dataset, "labelCols", named, "label")
    column = param_or_none(stage, "labelCol")
    if column is not None and not stage.isSet("labelCol"):
        may_lack_one = held.has_own_step(model) or not _compares(model)
        looks_at_one = has_own_step(model) or _compares(model)
        if not looks_at_one or (may_lack_one and not _has_column(dataset, column)):
            column = None
    return _named(dataset, "labelCol", column, "label")


def _has_column(dataset: DataFrame, column: str) -> bool:
    try:
        columns.column_type(dataset, "labelCol", column)
    except ValueError:
        return False
    return True


def has_own_step(model: keras.Model) -> bool:
    """Tells whether code of the user's sees the labels."""
    return any(
        getattr(type(model), name) is not getattr(keras.Model, name)
        for name in ("train_step", "test_step", "compute_loss", "compute_metrics")
    )


def _compares(model: keras.Model) -> bool:
    """Tells whether a loss or metric was given to `compile`."""
    given = [getattr(model, "loss", None), *signature.compiled_metrics(model)]
    return any(each is not None for each in keras.tree.flatten(given))


def labels_by_output(stage: Any, named: Named, model: keras.Model, outputs: Sequence[Tensor]) -> list[Any]:
    """For each output the key of its label column; None for one without a label.

    Raises:
        ValueError: where an output with a loss or metric has no label, or a name is no output's.
    """
    if len(outputs) > 1 and not stage.hasParam("labelCols"):
        signature.check_only_output(outputs)
    wanted = [signature.compares(model, index, output.name, len(outputs)) for index, output in enumerate(outputs)]
    keys = named.by_output(outputs, wanted)
    names = [output.name for output in outputs]
    missing = [name for name, key, each in zip(names, keys, wanted) if each and key is None]
    given = len([key for key in keys if key is not None])
    if given < len(named.columns) or (missing and not (given == 0 and has_own_step(model))):
        _refuse(named, names, [name for name, each in zip(names, wanted) if each])
    return keys


def _refuse(named: Named, names: list[str], wanted: list[str]) -> None:
    if named.param == "labelCols":
        raise ValueError(
            f"Wrong outputs in Param `labelCols`. Received: {named.value!r}. Expected: "
            f"{len(wanted)} column{'s' if len(wanted) > 1 else ''}, one for each of the model's outputs {wanted} that "
            f"have a loss or metric{'' if wanted == names else f'; its outputs are {names}'}."
        )
    if named.value is None:
        raise ValueError(
            f'The model compares labels with its outputs {wanted}. Received: labelCol="". Expected: Param '
            f"`{'labelCol' if len(wanted) == 1 else 'labelCols'}` names their columns; an autoencoder's may be the "
            "features column."
        )
    raise ValueError(
        f"The model has {len(names)} outputs {names}. Received: one label column, labelCol. Expected: Param "
        f"`labelCols`, such as { {name: 'column' for name in wanted or names} }."
    )


def refuse_without_loss(model: keras.Model, spec: ShardColumns) -> None:
    """Raises `ValueError` for a built model that is trained by Keras' own step and gives it nothing to minimise.

    Only a call with numbers tells whether layers add losses of their own.
    """
    if getattr(model, "loss", None) is not None or has_own_step(model):
        return
    x, _, _ = keras.utils.unpack_x_y_sample_weight(spec.sample())
    model(x, training=False)
    if not model.losses:
        raise ValueError(
            f"The model {model.name!r} has no loss. Received: compile() without `loss`, and no layer that calls "
            "add_loss(). Expected: a model after model.compile(optimizer=…, loss=…), or one that computes its own loss."
        )


# --- weights -------------------------------------------------------------------------------------------------------


def weight_columns(dataset: DataFrame, stage: Any, model: keras.Model) -> Named:
    """The weight columns that the Params name, each with its depth."""
    column, several = param_or_none(stage, "weightCol"), param_or_none(stage, "weightCols")
    if column is not None and several is not None:
        raise ValueError(
            f"Params `weightCol` and `weightCols` exclude each other. Received: weightCol={column!r}, "
            f"weightCols={several!r}. Expected: weightCol for rows, weightCols for each output of them."
        )
    param, value = ("weightCol", column) if several is None else ("weightCols", several)
    named = _named(dataset, param, value, "sample_weight")
    for weight in named.columns.values():
        # Before a row is looked at for the array's length.
        if weight.depth and _one_loss_for_a_row(model):
            _refuse_array(weight, "the losses of this model have one number for a row, too")
    weights = {key: each._replace(dtype="float32", non_negative=True) for key, each in named.columns.items()}
    return named._replace(columns=weights)


def _one_loss_for_a_row(model: keras.Model) -> bool:
    """Tells whether the losses are surely no longer than the rows."""
    outputs = signature.symbolic_outputs(model)
    losses = keras.tree.flatten(getattr(model, "loss", None))
    if not outputs or any(loss is None or label_rules.rule_of(loss).kind == "own" for loss in losses):
        return False
    return all(len(output.shape) <= 2 for output in outputs)


def _refuse_array(weight: TensorColumn, reason: str) -> None:
    raise ValueError(
        f"Column {weight.columns[0]!r} in Param `{weight.param}` is not a scalar. Expected: one number for each row, "
        f"because {reason}."
    )


class Weights(NamedTuple):
    """Weights as workers load them; see `ShardColumns`."""

    weight: TensorColumn | None
    weights: tuple[TensorColumn | None, ...]
    axes: tuple[int, ...]


def settle_weights(
    named: Named,
    found: dict[Any, tuple[int, ...] | None],
    labels: Sequence[TensorColumn | None],
    model: keras.Model,
    outputs: Sequence[Tensor],
    by_class: bool,
) -> Weights:
    """Weights of the shapes that the outputs' losses have: one number for a row, or one for each of its time steps.

    Args:
        found: row shapes as the columns hold them, by key.
        by_class: whether weights of classes join them.
    """
    if not named.columns and not by_class:
        return Weights(None, (), ())
    labelled = [label is not None for label in labels]
    if not any(labelled):
        raise ValueError(
            f"Params `{named.param if named.columns else 'classWeight'}` weighs losses that compare labels with "
            "outputs. Received: a model without labels. Expected: no weights."
        )
    losses = [signature.loss_of(model, index, output.name) for index, output in enumerate(outputs)]
    shapes = [
        label_rules.values_of(loss, label, output) if label and loss is not None else None
        for loss, label, output in zip(losses, labels, outputs)
    ]
    axes = tuple(len(shape or ()) for shape in shapes)
    if named.param == "weightCol":
        (weight,) = named.columns.values() or (None,)
        if weight is None or not weight.depth:
            # Rows are weighed as they always were where each has one loss.
            return Weights(weight, (), axes if by_class or any(axes) else ())
        if sum(labelled) > 1:
            _refuse_array(
                weight,
                f"the model has {sum(labelled)} outputs with labels; Param `weightCols` weighs each output's own time "
                "steps",
            )
        keys = [0 if each else None for each in labelled]
    else:
        keys = named.by_output(outputs, labelled)
        unknown = len(named.columns) - len([key for key in keys if key is not None])
        if unknown or any(key is not None and not each for key, each in zip(keys, labelled)):
            raise ValueError(
                f"Wrong outputs in Param `weightCols`. Received: {named.value!r}. Expected: columns of outputs that "
                f"have a label, which are {[o.name for o, each in zip(outputs, labelled) if each]}."
            )
    weights = tuple(
        None if key is None else _fitted(named.columns[key], found[key], shape, output)
        for key, shape, output in zip(keys, shapes, outputs)
    )
    return Weights(None, weights, axes)


def _fitted(
    weight: TensorColumn, found: tuple[int, ...] | None, wanted: tuple[int, ...] | None, output: Tensor
) -> TensorColumn:
    if not weight.depth:
        return weight
    if wanted is not None and found is not None and found != wanted:
        try:
            return columns.fit_shape(weight, wanted, found)
        except ValueError:
            raise ValueError(
                f"Wrong shape of weights in {weight.label}. Received: shape {found} per row. Expected: one number for "
                f"each row{f', or shape {wanted}' if wanted else ''}, because the loss of output {output.name!r} has "
                f"{'so many numbers in a row' if wanted else 'one number in a row'}."
            ) from None
    return columns.fit_shape(weight, wanted, found)


def class_weights(stage: Any, labels: Sequence[TensorColumn | None]) -> ClassWeights | None:
    """The Param `classWeight`, checked; of "balanced" the classes are counted later.

    Raises:
        ValueError: where no label, or more than one, has classes to weigh, or a class is not the model's.
    """
    given = param_or_none(stage, "classWeight")
    if given is None:
        return None
    named = [label for label in labels if label is not None]
    if len(named) != 1:
        raise ValueError(
            f"Param `classWeight` weighs the classes of one label, as in Keras. Received: {given!r}, and a model with "
            f"{len(named)} labels. Expected: one; Param `weightCols` weighs the rows of each output."
        )
    if given == "balanced":
        return ClassWeights((), ())
    classes = named[0].classes
    unknown = [] if classes is None else [index for index in given if not 0 <= index < classes]
    if classes is not None and unknown:
        raise ValueError(
            f"Unknown classes in Param `classWeight`. Received: {unknown}. Expected: class indices from 0 to "
            f"{classes - 1}, because the model has {classes} classes."
        )
    return ClassWeights.by_class(given)
