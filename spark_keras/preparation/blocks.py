"""Functions over blocks of rows: numpy or `keras.ops` functions over columns, through Arrow.

A block is a batch of Arrow rows (`spark.sql.execution.arrow.maxRecordsPerBatch`, 10 000 by default). Shapes and types
of what a function gives are found on the driver, before any job.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from pyspark.ml.functions import vector_to_array
from pyspark.ml.linalg import VectorUDT
from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F

from spark_keras.cluster import slots
from spark_keras.cluster.arrow_udf import arrow_column
from spark_keras.columns import expressions
from spark_keras.columns.tensor_column import TensorColumn
from spark_keras.executor import pickling, process
from spark_keras.preparation import block_program, block_signature
from spark_keras.preparation.block_program import BlockTask


def mapBlocks(
    df: DataFrame,
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
    df: DataFrame,
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
        fn: as with `mapBlocks`, and so are the next three.
        outputs: names of the new columns.
        inputs: names of the columns that `fn` takes.
        shapes: of the inputs.
        nulls: "error" (default), or "null": a row with a null in an input is not given to `fn` and has null outputs.

    Example:
        >>> mapRows(df, lambda words: {"mean": np.mean(words, axis=0)})
    """
    return _mapped("mapRows", df, fn, outputs, inputs, shapes, nulls, by_row=True)


def reduceBlocks(
    df: DataFrame,
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
    block_signature.check_rule("reduceBlocks", nulls, ("error", "skip"))
    tensors = block_signature.inputs_of("reduceBlocks", df, block_signature.names_of(fn, inputs), shapes)
    names = [tensor.name for tensor in tensors]
    found, uses_keras = block_signature.outputs_of("reduceBlocks", fn, tensors, names, by_row=False)
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
    returned = ", ".join(f"{expressions.quoted(output.name)} {block_signature.sql_type(output)}" for output in found)

    rows = selected.mapInArrow(functools.partial(block_program.reduce_blocks, task), returned).collect()
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
        fn: as with `mapBlocks`, and so are the next three.
        outputs: names of the new columns.
        inputs: names of the columns that `fn` takes.
        shapes: of the inputs.
        nulls: "error" (default), or "null": a group with a null in an input has null outputs.

    Returns:
        A DataFrame with the columns of the groups and the new ones.

    Example:
        >>> aggregate(df.groupBy("key"), lambda x: {"median": np.median(x)})
    """
    block_signature.check_rule("aggregate", nulls, ("error", "null"))
    names = block_signature.names_of(fn, inputs)
    # One value of each column, for its type: the only public way from a grouped DataFrame to its schema.
    probe = grouped.agg(*[F.first(expressions.reference(name)).alias(f"c{i}") for i, name in enumerate(names)])
    keys = probe.columns[: len(probe.columns) - len(names)]
    types = probe.select(*[F.col(f"c{i}").alias(name) for i, name in enumerate(names)])
    tensors = block_signature.inputs_of("aggregate", types, names, shapes)
    parts = [e.alias(f"c{i}") for i, e in enumerate(_wire(types, tensors)[:-1])]
    # Structs, because nulls alone would be left out of a list.
    collected = grouped.agg(F.collect_list(F.struct(*parts)).alias("\0rows"))
    rows = expressions.reference("\0rows")
    lists = collected.select(
        *map(expressions.reference, keys), *[rows.getField(f"c{i}").alias(f"\0{name}") for i, name in enumerate(names)]
    )
    several = tuple(t._replace(columns=(f"\0{t.name}",), shape=(None, *t.shape), depth=t.depth + 1) for t in tensors)
    found, uses_keras = block_signature.outputs_of("aggregate", fn, several, outputs, by_row=True)
    block_signature.check_new("aggregate", found, keys)
    task = _task("aggregate", probe, fn, several, found, uses_keras, True, nulls)
    return _applied(lists, task).drop(*[f"\0{name}" for name in names])


# --- the job ---------------------------------------------------------------------------------------------------------


def _wire(df: DataFrame, tensors: Sequence[TensorColumn]) -> list[Column]:
    """The columns as they travel, and whether a row has no null in any of them."""
    complete = F.lit(True)
    parts = []
    for tensor in tensors:
        value = expressions.reference(tensor.columns[0])
        if isinstance(df.schema[tensor.columns[0]].dataType, VectorUDT):
            value = vector_to_array(value)
        complete = complete & _no_null(value, tensor.depth)
        parts.append(value)
    return [*parts, complete]


def _no_null(value: Column, depth: int) -> Column:
    if depth == 0:
        return value.isNotNull()
    return F.coalesce(F.forall(value, lambda part: _no_null(part, depth - 1)), F.lit(False))


def _task(
    step: str, df: DataFrame, fn: Any, tensors: Any, outputs: Any, uses_keras: bool, by_row: bool, nulls: str
) -> BlockTask:
    settings = None
    if uses_keras:
        settings = process.ProcessSettings.of_driver(slots.task_cpus(df.sparkSession), {})
    return BlockTask(step, pickling.pickled(fn), settings, tensors, outputs, by_row, by_row and uses_keras, nulls)


def _mapped(
    step: str, df: DataFrame, fn: Any, outputs: Any, inputs: Any, shapes: Any, nulls: str, by_row: bool
) -> DataFrame:
    block_signature.check_rule(step, nulls, ("error", "null"))
    tensors = block_signature.inputs_of(step, df, block_signature.names_of(fn, inputs), shapes)
    found, uses_keras = block_signature.outputs_of(step, fn, tensors, outputs, by_row)
    block_signature.check_new(step, found, df.columns)
    return _applied(df, _task(step, df, fn, tensors, found, uses_keras, by_row, nulls))


def _applied(df: DataFrame, task: BlockTask) -> DataFrame:
    """The DataFrame with a column for each output."""
    wire = _wire(df, task.inputs)
    fields = ",".join(f"f{i}:{block_signature.sql_type(output)}" for i, output in enumerate(task.outputs))
    struct = "\0blocks"
    results = arrow_column(functools.partial(block_program.map_blocks, task), f"struct<{fields}>", df, wire)
    applied = df.withColumn(struct, results)
    made = []
    for i, output in enumerate(task.outputs):
        value, shape = expressions.reference(struct).getField(f"f{i}"), block_signature.shape_metadata(output)
        if not hasattr(F, "arrow_udf") and output.dtype in ("float32", "float64"):
            # On their way through pandas NaN became nulls; the function itself gives none.
            value = F.when(wire[-1], _nan_for_null(value, len(output.shape)))
        made.append(value.alias(output.name, metadata=shape) if shape else value.alias(output.name))
    return applied.select(*map(expressions.reference, df.columns), *made)


def _nan_for_null(value: Column, depth: int) -> Column:
    if depth == 0:
        return F.coalesce(value, F.lit(float("nan")).cast("float"))
    return F.transform(value, lambda part: _nan_for_null(part, depth - 1))
