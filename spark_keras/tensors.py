"""Which columns feed which tensors of a model: settled on the driver, before a job starts."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Sequence
from typing import Any

import keras
from pyspark.sql import functions as F

from spark_keras import columns, input_forms, signature, validation_rows
from spark_keras.columns import TensorColumn
from spark_keras.signature import Tensor
from spark_keras.training.shard import ShardColumns


def set_value(stage: Any, name: str) -> Any:
    """A Param's value; None where it is not set, empty, or not a Param of this stage."""
    if not stage.hasParam(name) or not stage.isDefined(name):
        return None
    value = stage.getOrDefault(name)
    return None if value == "" or value == [] or value == {} else value


def require_model_inputs(dataset: Any, stage: Any, model: keras.Model) -> tuple[TensorColumn, ...]:
    """The model's input tensors with their columns; shapes are as the model has them, or () where it takes any."""
    wanted = signature.inputs_of(model)
    named = set_value(stage, "inputCols")
    several = set_value(stage, "featuresCols")
    if named is not None and several is not None:
        raise ValueError(
            f"Params `inputCols` and `featuresCols` exclude each other. Received: inputCols={named!r}, "
            f"featuresCols={several!r}. Expected: inputCols for a model with several inputs, featuresCols for "
            "scalar columns that together make one."
        )
    if named is None:
        if wanted is not None and len(wanted) > 1:
            raise ValueError(
                f"The model has {len(wanted)} inputs {[tensor.name for tensor in wanted]}. Received: one, "
                f"{'featuresCols' if several else 'featuresCol'}. Expected: Param `inputCols`, such as "
                f"{ {tensor.name: 'column' for tensor in wanted} }."
            )
        name = wanted[0].name if wanted else "features"
        if several:
            return (_scalars(dataset, name, several, wanted),)
        return (_column(dataset, "featuresCol", name, stage.getFeaturesCol(), wanted[0] if wanted else None),)
    if wanted is None:
        pairs = input_forms.named(model, named)
        return tuple(_column(dataset, "inputCols", name, column, None) for name, column in pairs)
    if input_forms.is_nested(named):
        named = [column for _, column in input_forms.leaves(named)]
    return tuple(
        _column(dataset, "inputCols", tensor.name, column, tensor)
        for tensor, column in zip(wanted, _in_order("inputCols", "inputs", named, wanted))
    )


def _in_order(param: str, what: str, named: Any, wanted: Sequence[Tensor]) -> list[str]:
    """Columns in the model's order, from a dict by name or a list."""
    names = [tensor.name for tensor in wanted]
    agrees = set(named) == set(names) if isinstance(named, dict) else len(named) == len(names)
    if not agrees:
        raise ValueError(
            f"Wrong {what} in Param `{param}`. Received: {named!r}. "
            f"Expected: {len(names)} column{'s' if len(names) > 1 else ''}, one for each of the model's {what} {names}."
        )
    return [named[name] for name in names] if isinstance(named, dict) else list(named)


def _column(dataset: Any, param: str, name: str, column: str, wanted: Tensor | None) -> TensorColumn:
    data_type = columns.check_column(dataset, param, column)
    depth, _ = columns.column_depth(data_type, param, column)
    return TensorColumn(name, param, (column,), (), _numpy_dtype(wanted), depth)


def _scalars(dataset: Any, name: str, several: Sequence[str], wanted: Sequence[Tensor] | None) -> TensorColumn:
    for column in several:
        data_type = columns.check_column(dataset, "featuresCols", column)
        depth, _ = columns.column_depth(data_type, "featuresCols", column)
        if depth:
            raise ValueError(
                f"Column {column!r} in Param `featuresCols` is not a scalar. Received type: "
                f"{data_type.simpleString()}. Expected: numbers or booleans; an array or vector goes into featuresCol."
            )
    depth = 1 if len(several) > 1 else 0
    return TensorColumn(name, "featuresCols", tuple(several), (), _numpy_dtype(wanted[0] if wanted else None), depth)


def _numpy_dtype(tensor: Tensor | None) -> str:
    dtype = tensor.dtype if tensor else keras.config.floatx()
    if dtype == "string":
        raise ValueError(
            f"Input {tensor.name!r} of the model takes strings. Expected: numbers; turn strings into numbers first, "
            "with pyspark.ml.feature.StringIndexer."
        )
    # numpy has no bfloat16, and half precision travels as float32; Keras casts to the layer's own type.
    return dtype if "int" in dtype or dtype == "float64" else "float32"


def _known_shape(dataset: Any, tensor: TensorColumn) -> tuple[int, ...] | None:
    if tensor.depth == 0:
        return ()
    if len(tensor.columns) > 1:
        return (len(tensor.columns),)
    shape = columns.metadata_shape(dataset, tensor.columns[0], tensor.depth)
    return None if shape is None or None in shape else shape


def leaves_open(model: keras.Model, count: int) -> list[bool]:
    """For each of `count` inputs, whether the model leaves a part of its row shape to the rows."""
    wanted = signature.inputs_of(model)
    return [wanted is None or None in wanted[index].shape for index in range(count)]


def found_shapes(
    dataset: Any, tensors: Sequence[TensorColumn], look_up: Sequence[bool]
) -> list[tuple[int, ...] | None]:
    """Row shapes as the columns hold them: from the schema where it tells, else from the first complete row.

    Args:
        look_up: for each tensor, whether its shape is worth the job that looks at a row.
    """
    known = [_known_shape(dataset, tensor) for tensor in tensors]
    unknown = [index for index, shape in enumerate(known) if shape is None and look_up[index]]
    if unknown:
        looked_up = columns.first_row_shapes(dataset, [tensors[index] for index in unknown])
        for index, shape in zip(unknown, looked_up):
            known[index] = shape
    return known


def settle_inputs(
    model: keras.Model, tensors: Sequence[TensorColumn], found: Sequence[tuple[int, ...] | None]
) -> tuple[TensorColumn, ...]:
    """Input tensors with the row shapes that training or inference will have."""
    wanted = signature.inputs_of(model)
    return tuple(
        columns.fit_shape(tensor, wanted[index].shape if wanted else None, shape)
        for index, (tensor, shape) in enumerate(zip(tensors, found))
    )


def called(stage: Any, model: keras.Model, inputs: Sequence[TensorColumn]) -> tuple[tuple[Tensor, ...], Any, Any]:
    """(output tensors, the structure they come in, the form in which the model takes its inputs); builds the model."""
    symbols = [keras.KerasTensor((None, *t.tensor_shape), t.dtype, name=t.name) for t in inputs]
    forms = input_forms.possible(model, set_value(stage, "inputCols"), [tensor.name for tensor in inputs])
    return input_forms.called(model, forms, symbols)


def training_columns(
    dataset: Any, stage: Any, model: keras.Model, classifier: bool, seeding: Any = None
) -> tuple[ShardColumns, tuple[Tensor, ...]]:
    """Everything a worker loads, checked against the model; and the model's outputs. Builds the model's weights.

    Args:
        seeding: a context to build them in.
    """
    features = require_model_inputs(dataset, stage, model)
    labels = _label_columns(dataset, stage)
    weight_col = set_value(stage, "weightCol")
    weight = None
    if weight_col:
        weight = _column(dataset, "weightCol", "sample_weight", weight_col, None)
        if weight.depth:
            raise ValueError(
                f"Column {weight_col!r} in Param `weightCol` is not a scalar. Expected: one number for each row."
            )
        weight = weight._replace(dtype="float32", non_negative=True)
    validation = _validates(dataset, stage)
    # A row may cost as much as all of them. None is looked at for flat arrays, which take the model's shape; workers
    # refuse those of another length.
    look_up = [free or tensor.depth > 1 for free, tensor in zip(leaves_open(model, len(features)), features)]
    found = found_shapes(dataset, [*features, *labels], [*look_up, *[True] * len(labels)])
    features = settle_inputs(model, features, found[: len(features)])
    with seeding or contextlib.nullcontext():
        outputs, structure, form = called(stage, model, features)
    ordered = _labels_by_output(stage, labels, found[len(features) :], outputs)
    settled = tuple(
        settle_label(label, shape, output, signature.loss_of(model, index, output.name), classifier)
        for index, (output, (label, shape)) in enumerate(zip(outputs, ordered))
    )
    spec = ShardColumns(
        features=features,
        labels=settled,
        weight=weight,
        feature_structure=form,
        label_structure=structure,
        validation=validation,
        skip_invalid=stage.getOrDefault("handleInvalid") != "error",
    )
    return spec, outputs


def _validates(dataset: Any, stage: Any) -> bool:
    """Whether rows are held out for validation; checks the Params that say which."""
    indicator = set_value(stage, "validationIndicatorCol")
    if indicator:
        data_type = columns.check_column(dataset, "validationIndicatorCol", indicator)
        if data_type.simpleString() != "boolean":
            raise ValueError(
                f"Column {indicator!r} in Param `validationIndicatorCol` is not boolean. "
                f"Received type: {data_type.simpleString()}. Expected: true for rows to validate on."
            )
    split = stage.getOrDefault("validationSplit") if stage.hasParam("validationSplit") else 0.0
    if indicator and split:
        raise ValueError(
            "Params `validationIndicatorCol` and `validationSplit` exclude each other. "
            f"Received: {indicator!r} and {split}. Expected: one of them."
        )
    return bool(indicator or split)


def _label_columns(dataset: Any, stage: Any) -> list[TensorColumn]:
    named = set_value(stage, "labelCols")
    if named is None:
        return [_column(dataset, "labelCol", "label", stage.getLabelCol(), None)]
    pairs = named.items() if isinstance(named, dict) else ((column, column) for column in named)
    return [_column(dataset, "labelCols", name, column, None) for name, column in pairs]


def _labels_by_output(stage: Any, labels: Any, found: Any, outputs: Sequence[Tensor]) -> list[Any]:
    pairs = list(zip(labels, found))
    named = set_value(stage, "labelCols")
    if named is None:
        if len(outputs) > 1:
            if not stage.hasParam("labelCols"):
                signature.check_only_output(outputs)
            raise ValueError(
                f"The model has {len(outputs)} outputs {[tensor.name for tensor in outputs]}. Received: one label "
                f"column, labelCol. Expected: Param `labelCols`, such as { {t.name: 'column' for t in outputs} }."
            )
        return pairs
    _in_order("labelCols", "outputs", named, outputs)
    if isinstance(named, list):
        return pairs
    by_name = {label.name: pair for pair in pairs for label in pair[:1]}
    return [by_name[output.name] for output in outputs]


def settle_label(
    label: TensorColumn, found: tuple[int, ...] | None, output: Tensor, loss: Any, classifier: bool
) -> TensorColumn:
    """A label tensor as the output's loss wants it: class indices, one-hot rows, or values like the output."""
    kind = signature.label_kind(loss)
    label = label._replace(name=output.name)
    classes = output.shape[-1] if output.shape else 1
    per_class = output.shape[:-1]
    scalar = found is not None and math.prod(found) == math.prod(dim or 1 for dim in per_class)
    if kind == "indices":
        label = label._replace(dtype="int32", classes=classes)
        return columns.fit_shape(label, per_class, found)
    if classes and classes > 1 and scalar and (kind == "categories" or (classifier and kind == "values")):
        return columns.fit_shape(label._replace(classes=classes, one_hot=True, dtype="int32"), per_class, found)
    if classifier and scalar:
        label = label._replace(classes=max(2, classes or 0))
    if kind is None:
        return columns.fit_shape(label, None, found)
    return columns.fit_shape(label, output.shape, found)


def selected(dataset: Any, spec: ShardColumns, *others: Any) -> Any:
    """The columns that workers read: one for each tensor under its internal name, and others."""
    tensors = [columns.expression(dataset, tensor).alias(name) for name, tensor in spec.tensors.items()]
    return dataset.select(*tensors, *others)


def shard_dataset(dataset: Any, stage: Any, spec: ShardColumns, workers: int) -> Any:
    """The columns that travel, one partition for each worker.

    Each row carries a hash of its content, by which the worker sorts: the shuffle hands rows over in any order.
    Spark's round-robin `repartition` sorts before it deals, so that shards depend on the rows alone, too.
    """
    indicator = set_value(stage, "validationIndicatorCol")
    rows = selected(dataset, spec, *([columns.reference(indicator).alias("v")] if indicator else []))
    if spec.validation and not indicator:
        content = [columns.reference(name) for name in spec.tensors]
        rows = validation_rows.with_held_out(rows, content, "v", stage.getOrDefault("validationSplit"), stage.getSeed())
    return rows.withColumn("h", F.xxhash64(*spec.tensors)).repartition(workers)


def held_out_rows(dataset: Any, stage: Any, spec: ShardColumns) -> Any:
    """The rows of the DataFrame that a fit validates on."""
    if set_value(stage, "validationIndicatorCol"):
        return dataset.where(columns.reference(stage.getValidationIndicatorCol()))
    content = [columns.expression(dataset, tensor) for tensor in spec.tensors.values()]
    # A name that no other column has.
    name = f"_{stage.uid}_held_out"
    marked = validation_rows.with_held_out(
        dataset, content, name, stage.getOrDefault("validationSplit"), stage.getSeed()
    )
    return marked.where(columns.reference(name)).drop(name)
