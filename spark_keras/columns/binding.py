"""The columns that feed each tensor of a model, settled on the driver, before a job starts."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import keras
from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F

from spark_keras.columns import expressions, input_forms, validation_rows
from spark_keras.columns.row_spec import ShardColumns
from spark_keras.columns.tensor_column import TensorColumn
from spark_keras.keras_model import signature
from spark_keras.keras_model.signature import Tensor
from spark_keras.params.values import param_or_none


def require_model_inputs(dataset: DataFrame, stage: Any, model: keras.Model) -> tuple[TensorColumn, ...]:
    """The model's input tensors with their columns; shapes are as the model has them, or () where it takes any."""
    wanted = signature.inputs_of(model)
    named = param_or_none(stage, "inputCols")
    several = param_or_none(stage, "featuresCols")
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
        return (tensor_column(dataset, "featuresCol", name, stage.getFeaturesCol(), wanted[0] if wanted else None),)
    if wanted is None:
        pairs = input_forms.named(model, named)
        return tuple(tensor_column(dataset, "inputCols", name, column, None) for name, column in pairs)
    if input_forms.is_nested(named):
        named = [column for _, column in input_forms.leaves(named)]
    return tuple(
        tensor_column(dataset, "inputCols", tensor.name, column, tensor)
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


def tensor_column(dataset: DataFrame, param: str, name: str, column: str, wanted: Tensor | None) -> TensorColumn:
    """A tensor of one column, of whatever shape its rows have."""
    return TensorColumn(name, param, (column,), (), _numpy_dtype(wanted), expressions.depth_of(dataset, param, column))


def _scalars(dataset: DataFrame, name: str, several: Sequence[str], wanted: Sequence[Tensor] | None) -> TensorColumn:
    for column in several:
        if expressions.depth_of(dataset, "featuresCols", column):
            data_type = expressions.column_type(dataset, "featuresCols", column)
            raise ValueError(
                f"Column {column!r} in Param `featuresCols` is not a scalar. Received type: "
                f"{data_type.simpleString()}. Expected: numbers or booleans; an array or vector goes into featuresCol."
            )
    depth = 1 if len(several) > 1 else 0
    return TensorColumn(name, "featuresCols", tuple(several), (), _numpy_dtype(wanted[0] if wanted else None), depth)


def _numpy_dtype(tensor: Tensor | None) -> str:
    dtype = tensor.dtype if tensor else keras.config.floatx()
    if tensor and dtype == "string":
        raise ValueError(
            f"Input {tensor.name!r} of the model takes strings. Expected: numbers; turn strings into numbers first, "
            "with pyspark.ml.feature.StringIndexer."
        )
    # numpy has no bfloat16, and half precision travels as float32; Keras casts to the layer's own type.
    return dtype if "int" in dtype or dtype == "float64" else "float32"


def _known_shape(dataset: DataFrame, tensor: TensorColumn) -> tuple[int, ...] | None:
    if tensor.depth == 0:
        return ()
    if len(tensor.columns) > 1:
        return (len(tensor.columns),)
    shape = expressions.metadata_shape(dataset, tensor.columns[0], tensor.depth, tensor.param)
    known = tuple(size for size in shape or () if size is not None)
    return None if shape is None or len(known) < len(shape) else known


def leaves_open(model: keras.Model, count: int) -> list[bool]:
    """For each of `count` inputs, whether the model leaves a part of its row shape to the rows."""
    wanted = signature.inputs_of(model)
    return [wanted is None or None in wanted[index].shape for index in range(count)]


def found_shapes(
    dataset: DataFrame, tensors: Sequence[TensorColumn], look_up: Sequence[bool]
) -> list[tuple[int, ...] | None]:
    """Row shapes as the columns hold them: from the schema where it tells, else from the first complete row.

    Args:
        look_up: for each tensor, whether its shape is worth the job that looks at a row.
    """
    known = [_known_shape(dataset, tensor) for tensor in tensors]
    unknown = [index for index, shape in enumerate(known) if shape is None and look_up[index]]
    if unknown:
        looked_up = expressions.first_row_shapes(dataset, [tensors[index] for index in unknown])
        for index, shape in zip(unknown, looked_up):
            known[index] = shape
    return known


def settle_inputs(
    model: keras.Model, tensors: Sequence[TensorColumn], found: Sequence[tuple[int, ...] | None]
) -> tuple[TensorColumn, ...]:
    """Input tensors with the row shapes that training or inference will have."""
    wanted = signature.inputs_of(model)
    return tuple(
        expressions.fit_shape(tensor, wanted[index].shape if wanted else None, shape)
        for index, (tensor, shape) in enumerate(zip(tensors, found))
    )


def called(stage: Any, model: keras.Model, inputs: Sequence[TensorColumn]) -> tuple[tuple[Tensor, ...], Any, Any]:
    """(output tensors, the structure they come in, the form in which the model takes its inputs); builds the model."""
    symbols = [keras.KerasTensor((None, *t.tensor_shape), t.dtype, name=t.name) for t in inputs]
    forms = input_forms.possible(model, param_or_none(stage, "inputCols"), [tensor.name for tensor in inputs])
    return input_forms.called(model, forms, symbols)


def selected(dataset: DataFrame, spec: ShardColumns, *others: Column) -> DataFrame:
    """The columns that workers read: one for each tensor under its internal name, and others."""
    tensors = [expressions.expression(dataset, tensor).alias(name) for name, tensor in spec.tensors.items()]
    return dataset.select(*tensors, *others)


def loaded_rows(dataset: DataFrame, stage: Any, spec: ShardColumns) -> DataFrame:
    """The columns that a fit loads, with a boolean column `v` where rows are held out for validation."""
    indicator = param_or_none(stage, "validationIndicatorCol")
    if indicator:
        return selected(dataset, spec, expressions.column(dataset, "validationIndicatorCol", indicator).alias("v"))
    rows = selected(dataset, spec)
    if not spec.validation:
        return rows
    content = [expressions.reference(name) for name in spec.tensors]
    return validation_rows.with_held_out(rows, content, "v", stage.getOrDefault("validationSplit"), stage.getSeed())


def shard_dataset(dataset: DataFrame, stage: Any, spec: ShardColumns, workers: int) -> DataFrame:
    """The columns that travel, one partition for each worker.

    Each row carries a hash of its content, by which the worker sorts: the shuffle hands rows over in any order.
    Spark's round-robin `repartition` sorts before it deals, so that shards depend on the rows alone, too.
    """
    rows = loaded_rows(dataset, stage, spec)
    return rows.withColumn("h", F.xxhash64(*spec.tensors)).repartition(workers)


def held_out_rows(dataset: DataFrame, stage: Any, spec: ShardColumns) -> DataFrame:
    """The rows of the DataFrame that a fit validates on."""
    indicator = param_or_none(stage, "validationIndicatorCol")
    if indicator:
        return dataset.where(expressions.column(dataset, "validationIndicatorCol", indicator))
    content = [expressions.expression(dataset, tensor) for tensor in spec.tensors.values()]
    # A name that no other column has.
    name = f"_{stage.uid}_held_out"
    split = stage.getOrDefault("validationSplit")
    marked = validation_rows.with_held_out(dataset, content, name, split, stage.getSeed())
    return marked.where(expressions.reference(name)).drop(name)
