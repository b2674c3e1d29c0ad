"""DataFrame columns ↔ tensors: what the model wants, what the columns hold, and the way between them.

On the driver: which columns feed which tensor, checked against the schema and the model before a job starts, and the
Spark expressions that cast them on the JVM side. On the worker: Arrow arrays to contiguous numpy, with no per-row
Python.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from spark_keras import column_names
from spark_keras.column_names import quoted
from spark_keras.executor.invalid_data import InvalidData


class TensorColumn(NamedTuple):
    """One tensor and the DataFrame columns it is made of.

    Args:
        name: the tensor's name in the model, such as an input's name.
        param: the Param that names the columns, for messages.
        columns: the DataFrame columns; several scalar columns are put side by side.
        shape: shape of one row, without the batch dimension; `None` where only the data can tell.
        dtype: numpy dtype of the tensor.
        depth: how many arrays are nested in the column that travels (0 for a number).
        classes: for integer labels, their number: every label lies in [0, classes).
        one_hot: whether integer labels become one-hot rows of `classes` numbers.
        class_axis: for one-hot labels, which of a row's axes has the classes, counted from the last one (−1).
        ignored: for integer labels, one that the loss leaves out, inside of [0, classes) or not; or None.
        non_negative: whether negative numbers are refused (row weights).
    """

    name: str
    param: str
    columns: tuple[str, ...]
    shape: tuple[int | None, ...]
    dtype: str = "float32"
    depth: int = 1
    classes: int | None = None
    one_hot: bool = False
    non_negative: bool = False
    class_axis: int = -1
    ignored: int | None = None

    @property
    def label(self) -> str:
        """How messages name this tensor's columns."""
        columns = ", ".join(repr(column) for column in self.columns)
        return f"{'column' if len(self.columns) == 1 else 'columns'} {columns} ({self.param})"

    @property
    def tensor_shape(self) -> tuple[int, ...]:
        """Shape of one row of the finished tensor."""
        if not self.one_hot:
            return self.shape
        place = len(self.shape) + 1 + self.class_axis
        return (*self.shape[:place], self.classes, *self.shape[place:])


# --- on the driver -------------------------------------------------------------------------------------------------


def reference(column: str) -> Any:
    """A column of exactly this name; dots and backticks are part of it."""
    from pyspark.sql import functions as F

    return F.col(quoted(column))


def column(dataset: Any, param: str, name: str) -> Any:
    """The column that a Param names, as `column_names.field` resolves it."""
    from pyspark.sql import functions as F

    return F.expr(column_names.field(dataset, param, name).sql)


def check_column(dataset: Any, param: str, column: str) -> Any:
    """Returns the type of a column of exactly this name, or raises a `ValueError` that lists the columns there are."""
    fields = {field.name: field for field in dataset.schema.fields}
    if column not in fields:
        raise ValueError(
            f"Unknown column in Param `{param}`. Received: {column!r}. "
            f"Expected: one of the DataFrame's columns {list(fields)}."
        )
    return fields[column].dataType


def column_type(dataset: Any, param: str, name: str) -> Any:
    """The Spark type of the column or nested field that a Param names, as `column_names.field` resolves it."""
    return column_names.field(dataset, param, name).data_type


def check_new_column(dataset: Any, param: str, column: str) -> None:
    column_names.check_new(dataset, [(param, column)])


def column_depth(data_type: Any, param: str, column: str) -> tuple[int, Any]:
    """Nesting depth and element type of a column that can become a tensor (a vector has depth 1)."""
    from pyspark.ml.linalg import VectorUDT
    from pyspark.sql.types import ArrayType, BooleanType, DoubleType, NumericType, StringType

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


# Where `TensorAnalyzer` writes shapes into a column's metadata.
_SHAPE_KEY = "tensor_shape"


def metadata_shape(dataset: Any, column: str, depth: int, param: str = "inputCols") -> tuple[int | None, ...] | None:
    """Row shape of an array or vector column as its metadata tell it, with None for a free dimension; or None.

    Metadata hold what a `TensorAnalyzer` found, or the ML attributes of a vector.
    """
    metadata = column_names.field(dataset, param, column).metadata
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


def expression(dataset: Any, tensor: TensorColumn) -> Any:
    """The Spark column that carries a tensor: a number or (nested) array in the type that the worker wants.

    Floats travel as the model's own float type. Integer tensors travel exactly: as bigint, or as double where the
    source has fractions, and the worker checks that nothing is lost.
    """
    from pyspark.ml.functions import vector_to_array
    from pyspark.ml.linalg import VectorUDT
    from pyspark.sql import functions as F
    from pyspark.sql.types import BooleanType, IntegralType

    casts = []
    for column in tensor.columns:
        sql, data_type, _ = column_names.field(dataset, tensor.param, column)
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


def first_row_shapes(dataset: Any, tensors: Sequence[TensorColumn]) -> list[tuple[int, ...] | None]:
    """Shapes of the first row that has no null in these columns, from one job over one row; None if there is none."""
    from functools import reduce

    from pyspark.sql import functions as F

    arrays = [expression(dataset, tensor) for tensor in tensors]
    usable = reduce(lambda left, right: left & right, (array.isNotNull() for array in arrays))
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


# --- on the worker -------------------------------------------------------------------------------------------------


def usable_rows(array: pa.Array) -> np.ndarray:
    """Boolean mask of the rows that hold no null and no NaN, at any depth."""
    if _all_usable(array):
        return np.ones(len(array), bool)
    usable = np.asarray(array.is_valid())
    if pa.types.is_list(array.type) or pa.types.is_large_list(array.type):
        elements = array.flatten()
        bad = ~usable_rows(elements)
        if bad.any():
            lengths = pc.fill_null(pc.list_value_length(array), 0).to_numpy(zero_copy_only=False)
            ends = np.cumsum(lengths)
            count = np.concatenate([[0], np.cumsum(bad)])
            usable = usable & (count[ends] == count[ends - lengths])
    elif pa.types.is_floating(array.type):
        usable = usable & ~np.isnan(pc.fill_null(array, 0.0).to_numpy(zero_copy_only=False))
    return usable


def _all_usable(array: pa.Array) -> bool:
    """Whether there is surely no null and no NaN; a tenth of the time of looking at each value."""
    if array.null_count:
        return False
    if pa.types.is_list(array.type) or pa.types.is_large_list(array.type):
        return _all_usable(array.flatten())
    if not pa.types.is_floating(array.type):
        return True
    with np.errstate(over="ignore", invalid="ignore"):
        return not np.isnan(array.to_numpy(zero_copy_only=False).sum())


def to_numpy(array: pa.Array, tensor: TensorColumn) -> np.ndarray:
    """A column without nulls as one contiguous array of shape (rows, *tensor.tensor_shape).

    Raises:
        InvalidData: as `to_stored` does.
    """
    return finished(to_stored(array, tensor), tensor)


def finished(stored: np.ndarray, tensor: TensorColumn, allocate: Callable[..., np.ndarray] = np.empty) -> np.ndarray:
    """A tensor as the model takes it, of what is kept of it: class indices of shape (…, *tensor.shape) become one-hot
    rows, float32 of shape (…, *tensor.tensor_shape); all else is kept as it is taken.

    Args:
        allocate: makes an array of a shape and dtype.
    """
    if not tensor.one_hot:
        return stored
    place = stored.ndim + 1 + tensor.class_axis
    rows = allocate((*stored.shape[:place], tensor.classes, *stored.shape[place:]), np.dtype("float32"))
    rows[...] = 0
    np.put_along_axis(rows, np.expand_dims(stored, place), 1.0, axis=place)
    return rows


def to_stored(array: pa.Array, tensor: TensorColumn) -> np.ndarray:
    """A column without nulls as one contiguous array of shape (rows, *tensor.shape), labels to be one-hot encoded as
    class indices: a row of thousands of classes takes four bytes until its minibatch is made.

    Raises:
        InvalidData: on ragged arrays, a wrong number of elements, fractions or overflow in an integer tensor, labels
            outside [0, classes), negative weights.
    """
    rows = len(array)
    dims = []
    while pa.types.is_list(array.type) or pa.types.is_large_list(array.type):
        lengths = pc.list_value_length(array)
        if len(lengths):
            shortest, longest = pc.min_max(lengths).as_py().values()
            if shortest != longest:
                raise InvalidData(
                    f"Ragged arrays in {tensor.label}. Received: arrays of {shortest} and of {longest} elements. "
                    f"Expected: the same number in every row, for shape {tensor.shape}."
                )
            dims.append(longest)
        array = array.flatten()
    if rows and math.prod(dims) != math.prod(tensor.shape):
        raise InvalidData(
            f"Wrong shape in {tensor.label}. Received: a row with {math.prod(dims)} elements. "
            f"Expected: shape {tensor.shape}, {math.prod(tensor.shape)} elements per row."
        )
    values = array.to_numpy(zero_copy_only=False)
    _check_values(values, tensor)
    return np.ascontiguousarray(values.astype(tensor.dtype, copy=False).reshape(rows, *tensor.shape))


def _check_values(values: np.ndarray, tensor: TensorColumn) -> None:
    whole = tensor.classes is not None or np.issubdtype(tensor.dtype, np.integer)
    if whole and np.issubdtype(values.dtype, np.floating):
        fractions = values != np.floor(values)
        if fractions.any():
            raise InvalidData(
                f"Fractions in {tensor.label}. Received: {values[fractions][0]}. Expected: whole numbers, as tensor "
                f"{tensor.name!r} holds {'class indices' if tensor.classes else tensor.dtype}."
            )
    if tensor.classes is not None:
        outside = (values < 0) | (values >= tensor.classes)
        if tensor.ignored is not None:
            outside &= values != tensor.ignored
        if outside.any():
            raise InvalidData(
                f"Label outside [0, {tensor.classes}) in {tensor.label}. Received: {values[outside][0]:g}. "
                f"Expected: class indices from 0 to {tensor.classes - 1}, because the model has {tensor.classes} "
                f"classes{'' if tensor.ignored is None else f'; or {tensor.ignored}, which the loss ignores'}; "
                "StringIndexer makes such indices."
            )
    if np.issubdtype(tensor.dtype, np.integer) and len(values):
        limits = np.iinfo(tensor.dtype)
        if values.min() < limits.min or values.max() > limits.max:
            raise InvalidData(
                f"Overflow in {tensor.label}. Received: {values.min():g} to {values.max():g}. "
                f"Expected: numbers that fit into {tensor.dtype}."
            )
    if tensor.non_negative and len(values) and values.min() < 0:
        raise InvalidData(f"Negative weight in {tensor.label}. Received: {values.min():g}. Expected: 0 or more.")


def to_arrow(values: np.ndarray, nullable: bool = True) -> pa.Array:
    """Rows of a tensor as an Arrow array: numbers for shape (rows,), else nested lists.

    Args:
        nullable: whether the type of the lists says that their elements may be null, which these never are.
    """
    array = pa.array(np.ascontiguousarray(values).reshape(-1))
    for size, count in zip(values.shape[:0:-1], np.cumprod(values.shape)[-2::-1]):
        offsets = pa.array(np.arange(0, (count + 1) * size, size, dtype="int32")[: count + 1])
        kind = pa.list_(pa.field("element", array.type, nullable=nullable))
        array = pa.ListArray.from_buffers(kind, count, [None, offsets.buffers()[1]], children=[array])
    return array
