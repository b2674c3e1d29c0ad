"""DataFrame columns as Spark expressions of tensors: what the columns hold, and how they are cast on the JVM side."""

from __future__ import annotations

import functools
import math
import operator
from collections.abc import Sequence
from typing import Any

import numpy as np
from pyspark.ml.functions import vector_to_array
from pyspark.ml.linalg import VectorUDT
from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F
from pyspark.sql.types import ArrayType, BooleanType, DataType, DoubleType, IntegralType, NumericType, StringType

from spark_keras.columns import names
from spark_keras.columns.names import quoted
from spark_keras.columns.tensor_column import TensorColumn


def reference(column: str) -> Column:
    """A column of exactly this name; dots and backticks are part of it."""
    return F.col(quoted(column))


def column(dataset: DataFrame, param: str, name: str) -> Column:
    """The column that a Param names, as `column_names.field` resolves it."""
    return F.expr(names.field(dataset, param, name).sql)


def check_column(dataset: DataFrame, param: str, column: str) -> Any:
    """Returns the type of a column of exactly this name, or raises a `ValueError` that lists the columns there are."""
    fields = {field.name: field for field in dataset.schema.fields}
    if column not in fields:
        raise names.unknown_column(param, column, fields)
    return fields[column].dataType


def column_type(dataset: DataFrame, param: str, name: str) -> DataType:
    """The Spark type of the column or nested field that a Param names, as `column_names.field` resolves it."""
    return names.field(dataset, param, name).data_type


def column_depth(data_type: Any, param: str, column: str) -> tuple[int, Any]:
    """Nesting depth and element type of a column that can become a tensor (a vector has depth 1)."""
    if isinstance(data_type, VectorUDT):
        return 1, DoubleType()
    depth, element = 0, data_type
    while isinstance(element, ArrayType):
        depth, element = depth + 1, element.elementType
    if isinstance(element, (NumericType, BooleanType)):
        return depth, element
    hint = ""
    if isinstance(element, StringType):
        hint = (
            " Turn strings into numbers first, with pyspark.ml.feature.StringIndexer"
            f"(inputCol={column!r}, outputCol={column + '_index'!r}) in front of this stage."
        )
    raise ValueError(
        f"Column {column!r} in Param `{param}` cannot become a tensor. Received type: {data_type.simpleString()}. "
        f"Expected: a number, a boolean, an ML vector, or an array of numbers.{hint}"
    )


def depth_of(dataset: DataFrame, param: str, column: str) -> int:
    """Nesting depth of the column that a Param names, which can become a tensor."""
    return column_depth(column_type(dataset, param, column), param, column)[0]


# Where `TensorAnalyzer` writes shapes into a column's metadata.
_SHAPE_KEY = "tensor_shape"


def metadata_shape(
    dataset: DataFrame, column: str, depth: int, param: str = "inputCols"
) -> tuple[int | None, ...] | None:
    """Row shape of an array or vector column as its metadata tell it, with None for a free dimension; or None.

    Metadata hold what a `TensorAnalyzer` found, or the ML attributes of a vector.
    """
    metadata = names.field(dataset, param, column).metadata
    shape = metadata.get(_SHAPE_KEY)
    if shape is None:
        length = metadata.get("ml_attr", {}).get("num_attrs")
        shape = [length] if length and depth == 1 else None
    if shape is None or len(shape) != depth:
        return None
    return tuple(None if length < 0 else length for length in shape)


def with_shape(metadata: dict[str, Any], shape: Sequence[int]) -> dict[str, Any]:
    """Metadata with a row shape; -1 is a free dimension."""
    return {**metadata, _SHAPE_KEY: list(shape)}


def expression(dataset: DataFrame, tensor: TensorColumn) -> Column:
    """The Spark column that carries a tensor: a number or (nested) array in the type that the worker wants.

    Floats travel as the model's own float type. Integer tensors travel exactly: as bigint, or as double where the
    source has fractions, and the worker checks that nothing is lost.
    """
    casts = []
    for column in tensor.columns:
        sql, data_type, _ = names.field(dataset, tensor.param, column)
        _, element = column_depth(data_type, tensor.param, column)
        if np.issubdtype(tensor.dtype, np.floating):
            wire = "double" if tensor.dtype == "float64" else "float"
        else:
            wire = "bigint" if isinstance(element, (IntegralType, BooleanType)) else "double"
        if isinstance(data_type, VectorUDT):
            return vector_to_array(F.expr(sql), "float32" if wire == "float" else "float64")
        depth = tensor.depth if len(tensor.columns) == 1 else 0
        casts.append(f"CAST({sql} AS {'array<' * depth}{wire}{'>' * depth})")
    # As text, because thousands of columns would be many thousands of calls into the JVM.
    return F.expr(casts[0] if len(casts) == 1 else f"array({', '.join(casts)})")


def first_row_shapes(dataset: DataFrame, tensors: Sequence[TensorColumn]) -> list[tuple[int, ...] | None]:
    """Shapes of the first row that has no null in these columns, from one job over one row; None if there is none."""
    arrays = [expression(dataset, tensor) for tensor in tensors]
    usable = functools.reduce(operator.and_, (array.isNotNull() for array in arrays))
    lengths = []
    for array, tensor in zip(arrays, tensors):
        steps = []
        for _ in range(tensor.depth):
            steps.append(F.size(array))
            array = array.getItem(0)
        lengths.append(F.array(*steps).cast("array<int>"))
    row = dataset.where(usable).select(*[length.alias(f"s{i}") for i, length in enumerate(lengths)]).first()
    if row is None:
        return [None] * len(tensors)
    return [tuple(shape) for shape in row]


def fit_shape(tensor: TensorColumn, wanted: Sequence[int | None] | None, found: Sequence[int] | None) -> TensorColumn:
    """Settles a tensor's row shape from what the model wants and what the data holds.

    A flat array takes the model's shape when the number of elements agrees; nested arrays may differ from it in
    dimensions of size 1 only.

    Args:
        wanted: the model's shape without the batch dimension, with None for free dimensions; None if it takes any.
        found: lengths of the (nested) arrays of one row; None if unknown.

    Raises:
        ValueError: naming the columns, what they hold and what the model wants.
    """
    if wanted is None:
        if found is None:
            raise ValueError(
                f"The shape of {tensor.label} is unknown: the model was never built and no row without nulls was "
                "found. Expected: a model with an Input layer, or at least one complete row."
            )
        return tensor._replace(shape=tuple(found))
    wanted = tuple(wanted)
    if found is None:
        if None in wanted:
            raise ValueError(
                f"The shape of {tensor.label} is unknown: the model wants {wanted} and no row without nulls was found."
            )
        return tensor._replace(shape=wanted)
    found = tuple(found)
    size = math.prod(found)
    free = wanted.count(None)
    known = math.prod(dim for dim in wanted if dim is not None)
    if len(found) <= 1:
        # One level of array (or a number): elements in row-major order, as numpy.reshape reads them.
        if free == 0 and size == known:
            return tensor._replace(shape=wanted)
        if free == 1 and known and size % known == 0:
            return tensor._replace(shape=tuple(size // known if dim is None else dim for dim in wanted))
    elif free and len(found) == len(wanted) and all(w in (None, f) for w, f in zip(wanted, found)):
        return tensor._replace(shape=found)
    elif not free and [d for d in found if d != 1] == [d for d in wanted if d != 1]:
        return tensor._replace(shape=wanted)
    elif free and len(found) == len(wanted) - 1 and wanted[-1] == 1:
        return fit_shape(tensor, wanted, (*found, 1))
    elements = f"{size} element{'s' if size != 1 else ''} per row"
    raise ValueError(
        f"Wrong shape in {tensor.label} for tensor {tensor.name!r}. "
        f"Received: {'shape ' + str(found) + ', ' if len(found) > 1 else ''}{elements}. "
        f"Expected: shape {wanted} as the model has it"
        f"{'' if free else f', {known} elements per row'}."
    )
