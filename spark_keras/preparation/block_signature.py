"""Inputs and outputs of a function over blocks, settled on the driver before a job starts.

The function is called with small arrays of ones, and with `keras.KerasTensor`s where it gives tensors of Keras or does
not take such arrays.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from pyspark.sql import DataFrame
from pyspark.sql import types as T

from spark_keras.columns import expressions
from spark_keras.columns.expressions import check_column, column_depth
from spark_keras.columns.tensor_column import TensorColumn
from spark_keras.executor.invalid_data import InvalidData
from spark_keras.preparation import block_program
from spark_keras.preparation.block_program import Output
from spark_keras.similar_names import did_you_mean

_DTYPES: dict[type[T.DataType], str] = {
    T.BooleanType: "bool",
    T.ByteType: "int8",
    T.ShortType: "int16",
    T.IntegerType: "int32",
    T.LongType: "int64",
    T.FloatType: "float32",
    T.DoubleType: "float64",
}
_NUMPY = (np.ndarray, np.generic, int, float, bool)
_SQL_TYPES = {dtype: kind().simpleString() for kind, dtype in _DTYPES.items()}
# Types that Spark does not have, and what holds their values.
_WIDER = {
    "float16": "float32",
    "bfloat16": "float32",
    "uint8": "int16",
    "uint16": "int32",
    "uint32": "int64",
    "uint64": "int64",
}


# --- what goes in ----------------------------------------------------------------------------------------------------


def check_rule(step: str, rule: str, rules: Sequence[str]) -> None:
    if rule not in rules:
        raise ValueError(
            f"Invalid value for Param `nulls` of {step}. Received: {rule!r}. Expected: one of {list(rules)}."
        )


def names_of(fn: Callable[..., Any], inputs: Sequence[str] | None) -> list[str]:
    if inputs is not None:
        return [inputs] if isinstance(inputs, str) else list(inputs)
    try:
        parameters = inspect.signature(fn).parameters.values()
    except (TypeError, ValueError) as error:
        raise ValueError(
            f"The function does not tell its parameters. Received: {fn!r}. Expected: Param `inputs`, the names of "
            "columns."
        ) from error
    positional = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
    return [p.name for p in parameters if p.kind in positional and p.default is inspect.Parameter.empty]


def inputs_of(step: str, df: DataFrame, names: Sequence[str], shapes: Any) -> tuple[TensorColumn, ...]:
    if not names:
        raise ValueError(
            f"No inputs for {step}. Received: (). Expected: a function with parameters, or Param `inputs`."
        )
    given = dict(shapes or {})
    unknown = sorted(set(given) - set(names))
    if unknown:
        raise ValueError(
            f"Unknown columns in Param `shapes` of {step}. Received: {unknown}. Expected: among {list(names)}."
            f"{did_you_mean(unknown[0], names)}"
        )
    return tuple(_input(df, name, given.get(name)) for name in names)


def _input(df: DataFrame, name: str, shape: Sequence[int | None] | None) -> TensorColumn:
    kind = check_column(df, "inputs", name)
    depth, element = column_depth(kind, "inputs", name)
    if type(element) not in _DTYPES:
        raise ValueError(
            f"Column {name!r} cannot become a tensor. Received type: {kind.simpleString()}. "
            "Expected: a number that numpy has too; cast it to double."
        )
    known = tuple(shape) if shape is not None else expressions.metadata_shape(df, name, depth) or (None,) * depth
    if len(known) != depth:
        raise ValueError(
            f"Wrong shape of column {name!r} in Param `shapes`. Received: {known}. "
            f"Expected: {depth} dimensions, as the column is {kind.simpleString()}."
        )
    return TensorColumn(name, "inputs", (name,), known, _DTYPES[type(element)], depth)


# --- what comes out --------------------------------------------------------------------------------------------------


def outputs_of(
    step: str, fn: Callable[..., Any], tensors: Sequence[TensorColumn], outputs: Any, by_row: bool
) -> tuple[tuple[Output, ...], bool]:
    """(what the function gives for one row, or for a reduction, whether it uses Keras), without data."""
    reduces = step == "reduceBlocks"
    tried = _tried(fn, tensors, by_row)
    if not isinstance(tried, Exception) and all(isinstance(value, _NUMPY) for value in _flat(tried[0])):
        first, second = (_named(step, result, outputs) for result in tried)
        found = []
        for (name, a), (_, b) in zip(first, second):
            shape = tuple(n if n == m else None for n, m in zip(np.shape(a), np.shape(b)))
            found.append((name, shape, str(np.asarray(a).dtype)))
        uses_keras = False
    else:
        symbolic = _symbolic(fn, tensors, by_row)
        if isinstance(symbolic, Exception):
            received = ", ".join(f"{t.name} {_block_shape(t, by_row)} {t.dtype}" for t in tensors)
            said = tried if isinstance(tried, Exception) else "it gives no arrays of numpy"
            raise ValueError(
                f"The function of {step} cannot be called with its inputs. Received: {received}. Called with arrays of "
                f"ones: {said}. Called with Keras tensors: {symbolic}. Expected: a function of numpy or keras.ops; "
                "where it must know lengths that are None here, they can be told in Param `shapes`."
            ) from symbolic
        import keras

        found = [
            (name, tuple(value.shape), keras.backend.standardize_dtype(value.dtype))
            for name, value in _named(step, symbolic, outputs)
        ]
        uses_keras = True
    return tuple(_output(step, *item, drop_rows=not by_row and not reduces) for item in found), uses_keras


def _output(step: str, name: str, shape: tuple[int | None, ...], dtype: str, drop_rows: bool) -> Output:
    if drop_rows:
        if shape[:1] != (None,):
            raise ValueError(
                f"Wrong output {name!r} of the function of {step}. Received: shape {shape}. "
                "Expected: (rows, …), one for each row of the block; reduceBlocks reduces rows."
            )
        shape = shape[1:]
    dtype = _WIDER.get(dtype, dtype)
    if dtype not in _SQL_TYPES:
        raise ValueError(
            f"Wrong output {name!r} of the function of {step}. Received: {dtype}. Expected: one of {list(_SQL_TYPES)}."
        )
    return Output(name, shape, dtype)


def _block_shape(tensor: TensorColumn, by_row: bool) -> tuple[int | None, ...]:
    return tensor.shape if by_row else (None, *tensor.shape)


def _tried(fn: Callable[..., Any], tensors: Sequence[TensorColumn], by_row: bool) -> Any:
    """The function's results for ones, twice with other numbers in place of the unknown lengths; or its exception."""
    results = []
    for length in (2, 3):
        shapes = [tuple(length if n is None else n for n in _block_shape(t, by_row)) for t in tensors]
        try:
            results.append(fn(*[np.ones(shape, t.dtype)[()] for shape, t in zip(shapes, tensors)]))
        except Exception as error:  # told to the user if the symbolic call fails, too
            return error
    return results


def _symbolic(fn: Callable[..., Any], tensors: Sequence[TensorColumn], by_row: bool) -> Any:
    import keras

    arguments = [keras.KerasTensor(_block_shape(t, by_row), dtype=t.dtype, name=t.name) for t in tensors]
    try:
        result = fn(*arguments)
    except Exception as error:  # told to the user by `outputs_of`
        return error
    wrong = [value for value in _flat(result) if not isinstance(value, keras.KerasTensor)]
    return TypeError(f"it gives {wrong[0]!r}, which is no tensor") if wrong else result


def _flat(result: Any) -> list[Any]:
    if isinstance(result, dict):
        return list(result.values())
    return list(result) if isinstance(result, (tuple, list)) else [result]


def _named(step: str, result: Any, outputs: Any) -> list[tuple[str, Any]]:
    if outputs is None:
        if not isinstance(result, dict) or not result:
            raise ValueError(
                f"Outputs of the function of {step} have no names. Received: {type(result).__name__}. "
                "Expected: a dict by name, or Param `outputs`."
            )
        return list(result.items())
    names = [outputs] if isinstance(outputs, str) else list(outputs)
    try:
        return list(zip(names, block_program.named_outputs(step, result, names)))
    except InvalidData as error:
        raise ValueError(str(error)) from None


def check_new(step: str, outputs: Sequence[Output], present: Sequence[str]) -> None:
    clash = [output.name for output in outputs if output.name in present]
    if clash:
        raise ValueError(
            f"Output columns of {step} are already present. Received: {clash}. "
            f"Expected: names that are not among {list(present)}."
        )


def shape_metadata(output: Output) -> dict[str, Any]:
    """Metadata that tell estimators the shape."""
    return (
        expressions.with_shape({}, [-1 if length is None else length for length in output.shape])
        if output.shape
        else {}
    )


def sql_type(output: Output) -> str:
    return "array<" * len(output.shape) + _SQL_TYPES[output.dtype] + ">" * len(output.shape)
