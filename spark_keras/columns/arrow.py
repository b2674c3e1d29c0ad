"""Arrow arrays to contiguous numpy, and back, with no Python for each row."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from spark_keras.columns.tensor_column import TensorColumn
from spark_keras.executor.invalid_data import InvalidData


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
    """Tells whether there is surely no null and no NaN; a tenth of the time of looking at each value."""
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
    if rows and math.prod(dims) != math.prod(tensor.row_shape):
        raise InvalidData(
            f"Wrong shape in {tensor.label}. Received: a row with {math.prod(dims)} elements. "
            f"Expected: shape {tensor.shape}, {math.prod(tensor.row_shape)} elements per row."
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
