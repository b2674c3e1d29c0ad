"""Functions over blocks of rows: numpy or `keras.ops` functions over columns, through Arrow.

A block is a batch of Arrow rows (`spark.sql.execution.arrow.maxRecordsPerBatch`, 10 000 by default). Shapes and types
of what a function gives are found on the driver before any job: it is called with `keras.KerasTensor`s or, where it
does not take these, as functions of numpy do not, with small arrays of ones.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
from pyspark.sql import Column
from pyspark.sql import functions as F
from pyspark.sql import types as T

from spark_keras import columns, executor
from spark_keras.arrow_function import arrow_function
from spark_keras.columns import TensorColumn, check_column, column_depth
from spark_keras.preparation import block_program
from spark_keras.preparation.block_program import BlockTask, Output

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
_SQL_TYPES = {
    "bool": "boolean",
    "int8": "tinyint",
    "int16": "smallint",
    "int32": "int",
    "int64": "bigint",
    "float32": "float",
    "float64": "double",
}
# Types that Spark does not have, and what holds their values.
_WIDER = {
    "float16": "float32",
    "bfloat16": "float32",
    "uint8": "int16",
    "uint16": "int32",
    "uint32": "int64",
    "uint64": "int64",
}


def mapBlocks(
    df: Any,
    fn: Callable[..., Any],
    outputs: str | Sequence[str] | None = None,
    *,
    inputs: Sequence[str] | None = None,
    shapes: Mapping[str, Sequence[int | None]] | None = None,
    nulls: str = "error",
) -> Any:
    """Adds columns that a function computes block by block.

    `fn` takes one array (rows, …) for each input, in the column's own type, and gives arrays (rows, …). Where the
    blocks end is Spark's affair: what it gives for a row must not depend on the others.

    Args:
        df: a DataFrame.
        fn: a function of numpy arrays or of `keras.ops`; it must not depend on variables that change.
        outputs: name of the new column, or names in the order that `fn` gives them; None where it gives a dict by name.
        inputs: the columns that `fn` takes, in its order; default the names of its parameters. Numbers, booleans, ML
            vectors and (nested) arrays of numbers.
        shapes: {"column": shape of one row}, where the types of the columns do not tell it and `fn` must know it.
        nulls: "error" (default), or "null": a row with a null in an input is not given to `fn` and has null outputs.
            NaN is a number.

    Returns:
        The DataFrame with the new columns, of arrays where an output has more than one number for a row.

    Example:
        >>> mapBlocks(df, lambda x, y: {"z": x + y})
        >>> mapBlocks(df, keras.ops.softmax, "probability", inputs=["logits"])
    """
    return _mapped("mapBlocks", df, fn, outputs, inputs, shapes, nulls, by_row=False)


def mapRows(
    df: Any,
    fn: Callable[..., Any],
    outputs: str | Sequence[str] | None = None,
    *,
    inputs: Sequence[str] | None = None,
    shapes: Mapping[str, Sequence[int | None]] | None = None,
    nulls: str = "error",
) -> Any:
    """Adds columns that a function computes row by row: its arrays have no dimension for the rows.

    The first dimension of an array column may differ from row to row. A function of `keras.ops` is applied to all rows
    of the same shape at once, by `keras.ops.vectorized_map`.

    Args:
        df: a DataFrame.
        fn, outputs, inputs, shapes: as with `mapBlocks`.
        nulls: "error" (default), or "null": a row with a null in an input is not given to `fn` and has null outputs.

    Example:
        >>> mapRows(df, lambda words: {"mean": np.mean(words, axis=0)})
    """
    return _mapped("mapRows", df, fn, outputs, inputs, shapes, nulls, by_row=True)


def reduceBlocks(
    df: Any,
    fn: Callable[..., Any],
    *,
    inputs: Sequence[str] | None = None,
    shapes: Mapping[str, Sequence[int | None]] | None = None,
    nulls: str = "error",
) -> Any:
    """Reduces all rows to one, block by block.

    `fn` takes one array (rows, …) for each input and gives one array (…) for each, of the shape of a row. It is
    applied to blocks, and again to blocks of its own results; so it must not matter how the rows are grouped (sum,
    min, max, …).

    Args:
        df: a DataFrame.
        fn: a function of numpy arrays or of `keras.ops` that gives a tensor for one input, else a dict by the names of
            the inputs, or a tuple in their order.
        inputs: the columns that `fn` takes, in its order; default the names of its parameters.
        shapes: {"column": shape of one row}, where the types of the columns do not tell it and `fn` must know it.
        nulls: "error" (default), or "skip": rows with a null in an input are left out.

    Returns:
        A numpy array for one input, else a dict of arrays by the names of the inputs.

    Raises:
        ValueError: where the DataFrame has no rows, of which nothing can be said.

    Example:
        >>> reduceBlocks(df, lambda x: keras.ops.sum(x, axis=0))
    """
    _check_rule("reduceBlocks", nulls, ("error", "skip"))
    tensors = _inputs("reduceBlocks", df, _names(fn, inputs), shapes)
    names = [tensor.name for tensor in tensors]
    found, uses_keras = _call("reduceBlocks", fn, tensors, names, by_row=False)
    for output, tensor in zip(found, tensors):
        if len(output.shape) != len(tensor.shape) or any(
            None not in (a, b) and a != b for a, b in zip(output.shape, tensor.shape)
        ):
            raise ValueError(
                f"Wrong output {output.name!r} of the function of reduceBlocks. Received: shape {output.shape}. "
                f"Expected: {tensor.shape}, as one row of column {tensor.columns[0]!r} has, because the function is "
                "applied to its own results."
            )
    task = _task("reduceBlocks", df, fn, tensors, found, uses_keras, False, nulls)
    selected = df.select(*[e.alias(f"c{i}") for i, e in enumerate(_wire(df, tensors))])
    returned = ", ".join(f"`{output.name}` {_sql_type(output)}" for output in found)

    def reduce(batches: Iterator[Any]) -> Iterator[Any]:
        return block_program.reduce_blocks(task, batches)

    rows = selected.mapInArrow(reduce, returned).collect()
    if not rows:
        raise ValueError(
            "Nothing to reduce in reduceBlocks. Received: a DataFrame without rows. Expected: one row or more."
        )
    parts = [[np.asarray(row[i], dtype=output.dtype) for i, output in enumerate(found)] for row in rows]
    reduced = parts[0] if len(parts) == 1 else block_program.combine(task, fn, parts)
    return reduced[0] if len(names) == 1 else dict(zip(names, reduced))


def aggregate(
    grouped: Any,
    fn: Callable[..., Any],
    outputs: str | Sequence[str] | None = None,
    *,
    inputs: Sequence[str] | None = None,
    shapes: Mapping[str, Sequence[int | None]] | None = None,
    nulls: str = "error",
) -> Any:
    """One row for each group, computed by a function of all rows of the group.

    `fn` takes one array (rows of the group, …) for each input. The rows come in any order, and all of a group's have
    to fit into the memory of one executor.

    Args:
        grouped: what `df.groupBy(…)` gives.
        fn, outputs, inputs, shapes: as with `mapBlocks`.
        nulls: "error" (default), or "null": a group with a null in an input has null outputs.

    Returns:
        A DataFrame with the columns of the groups and the new ones.

    Example:
        >>> aggregate(df.groupBy("key"), lambda x: {"median": np.median(x)})
    """
    _check_rule("aggregate", nulls, ("error", "null"))
    names = _names(fn, inputs)
    # One value of each column, for its type: the only public way from a grouped DataFrame to its schema.
    probe = grouped.agg(*[F.first(columns.reference(name)).alias(f"c{i}") for i, name in enumerate(names)])
    keys = probe.columns[: len(probe.columns) - len(names)]
    types = probe.select(*[F.col(f"c{i}").alias(name) for i, name in enumerate(names)])
    tensors = _inputs("aggregate", types, names, shapes)
    parts = [e.alias(f"c{i}") for i, e in enumerate(_wire(types, tensors)[:-1])]
    # Structs, because nulls alone would be left out of a list.
    collected = grouped.agg(F.collect_list(F.struct(*parts)).alias("\0rows"))
    rows = columns.reference("\0rows")
    lists = collected.select(
        *map(columns.reference, keys), *[rows.getField(f"c{i}").alias(f"\0{name}") for i, name in enumerate(names)]
    )
    several = tuple(t._replace(columns=(f"\0{t.name}",), shape=(None, *t.shape), depth=t.depth + 1) for t in tensors)
    found, uses_keras = _call("aggregate", fn, several, outputs, by_row=True)
    _check_new("aggregate", found, keys)
    task = _task("aggregate", probe, fn, several, found, uses_keras, True, nulls)
    applied = _applied(lists, task)
    return applied.drop(*[f"\0{name}" for name in names])


# --- what goes in ----------------------------------------------------------------------------------------------------


def _check_rule(step: str, rule: str, rules: Sequence[str]) -> None:
    if rule not in rules:
        raise ValueError(
            f"Invalid value for Param `nulls` of {step}. Received: {rule!r}. Expected: one of {list(rules)}."
        )


def _names(fn: Callable[..., Any], inputs: Sequence[str] | None) -> list[str]:
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


def _inputs(step: str, df: Any, names: Sequence[str], shapes: Any) -> tuple[TensorColumn, ...]:
    if not names:
        raise ValueError(
            f"No inputs for {step}. Received: (). Expected: a function with parameters, or Param `inputs`."
        )
    given = dict(shapes or {})
    unknown = sorted(set(given) - set(names))
    if unknown:
        raise ValueError(
            f"Unknown columns in Param `shapes` of {step}. Received: {unknown}. Expected: among {list(names)}."
        )
    return tuple(_input(df, name, given.get(name)) for name in names)


def _input(df: Any, name: str, shape: Sequence[int | None] | None) -> TensorColumn:
    kind = check_column(df, "inputs", name)
    depth, element = column_depth(kind, "inputs", name)
    if type(element) not in _DTYPES:
        raise ValueError(
            f"Column {name!r} cannot become a tensor. Received type: {kind.simpleString()}. "
            "Expected: a number that numpy has too; cast it to double."
        )
    known = tuple(shape) if shape is not None else columns.metadata_shape(df, name, depth) or (None,) * depth
    if len(known) != depth:
        raise ValueError(
            f"Wrong shape of column {name!r} in Param `shapes`. Received: {known}. "
            f"Expected: {depth} dimensions, as the column is {kind.simpleString()}."
        )
    return TensorColumn(name, "inputs", (name,), known, _DTYPES[type(element)], depth)


def _wire(df: Any, tensors: Sequence[TensorColumn]) -> list[Column]:
    """The columns as they travel, and whether a row has no null in any of them."""
    from pyspark.ml.functions import vector_to_array
    from pyspark.ml.linalg import VectorUDT

    complete = F.lit(True)
    parts = []
    for tensor in tensors:
        value = columns.reference(tensor.columns[0])
        if isinstance(df.schema[tensor.columns[0]].dataType, VectorUDT):
            value = vector_to_array(value)
        complete = complete & _no_null(value, tensor.depth)
        parts.append(value)
    return [*parts, complete]


def _no_null(value: Column, depth: int) -> Column:
    if depth == 0:
        return value.isNotNull()
    return F.coalesce(F.forall(value, lambda part: _no_null(part, depth - 1)), F.lit(False))


# --- what comes out --------------------------------------------------------------------------------------------------


def _call(
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
    except Exception as error:  # told to the user by `_call`
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
    except columns.InvalidData as error:
        raise ValueError(str(error)) from None


def _check_new(step: str, outputs: Sequence[Output], present: Sequence[str]) -> None:
    clash = [output.name for output in outputs if output.name in present]
    if clash:
        raise ValueError(
            f"Output columns of {step} are already present. Received: {clash}. "
            f"Expected: names that are not among {list(present)}."
        )


def _shape_of(output: Output) -> dict[str, Any]:
    """Metadata that tell estimators the shape."""
    return columns.with_shape({}, [-1 if length is None else length for length in output.shape]) if output.shape else {}


def _sql_type(output: Output) -> str:
    return "array<" * len(output.shape) + _SQL_TYPES[output.dtype] + ">" * len(output.shape)


# --- the job ---------------------------------------------------------------------------------------------------------


def _task(
    step: str, df: Any, fn: Any, tensors: Any, outputs: Any, uses_keras: bool, by_row: bool, nulls: str
) -> BlockTask:
    settings = None
    if uses_keras:
        cpus = int(df.sparkSession.conf.get("spark.task.cpus", "1"))
        settings = executor.ProcessSettings.of_driver(cpus, {})
    return BlockTask(step, executor.pickled(fn), settings, tensors, outputs, by_row, by_row and uses_keras, nulls)


def _mapped(step: str, df: Any, fn: Any, outputs: Any, inputs: Any, shapes: Any, nulls: str, by_row: bool) -> Any:
    _check_rule(step, nulls, ("error", "null"))
    tensors = _inputs(step, df, _names(fn, inputs), shapes)
    found, uses_keras = _call(step, fn, tensors, outputs, by_row)
    _check_new(step, found, df.columns)
    return _applied(df, _task(step, df, fn, tensors, found, uses_keras, by_row, nulls))


def _applied(df: Any, task: BlockTask) -> Any:
    """The DataFrame with a column for each output."""
    wire = _wire(df, task.inputs)
    wire_types = [field.dataType.simpleString() for field in df.select(*wire).schema]
    returned = ", ".join(f"f{i} {_sql_type(output)}" for i, output in enumerate(task.outputs))
    function = arrow_function(functools.partial(block_program.map_blocks, task), returned, wire_types)
    # Else Spark would push a filter on an output below the projection and run the function twice.
    struct = "\0blocks"
    applied = df.withColumn(struct, function.asNondeterministic()(*wire))
    made = []
    for i, output in enumerate(task.outputs):
        value, shape = columns.reference(struct).getField(f"f{i}"), _shape_of(output)
        if not hasattr(F, "arrow_udf") and output.dtype in ("float32", "float64"):
            # On their way through pandas NaN became nulls; the function itself gives none.
            value = F.when(wire[-1], _nan_for_null(value, len(output.shape)))
        made.append(value.alias(output.name, metadata=shape) if shape else value.alias(output.name))
    return applied.select(*map(columns.reference, df.columns), *made)


def _nan_for_null(value: Column, depth: int) -> Column:
    if depth == 0:
        return F.coalesce(value, F.lit(float("nan")).cast("float"))
    return F.transform(value, lambda part: _nan_for_null(part, depth - 1))
