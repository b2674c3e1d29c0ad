"""The measures of a DataFrame as one stream of rows (measure, number), whatever the columns are."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F

from spark_keras.analysis.measured_columns import VALUES, Measure

# Numbers that have no place among others, and what they are called.
NULL, NAN, INFINITE = -8, -7, -6
UNUSUAL = {NULL: "nulls", NAN: "nan", INFINITE: "infinite"}


def unusual(x: Column) -> Column:
    """Tells nulls, NaN and infinity; `otherwise` is to follow."""
    return F.when(x.isNull(), NULL).when(F.isnan(x), NAN).when(F.abs(x) == math.inf, INFINITE)


def stream(
    dataset: DataFrame, measures: Sequence[Measure], strings: Sequence[Any] = (), kept: Mapping[str, Any] | None = None
) -> Any:
    """A row for each measure of each row, and for each value of the measures of arrays.

    Args:
        strings: for each measure a Spark column of strings that travels with it, or None; none at all for no strings.
        kept: more columns of each row, which stand beside all of its measures.

    Returns:
        Columns "measure" (index), "x" (double), "key" (bigint; equal for equal values) and "string".
    """

    def zipped(values: Any, keys: Any, texts: Any) -> Column:
        # arrays_zip fills up with nulls what is missing.
        nothing = F.array()
        keys = nothing.cast("array<bigint>") if keys is None else keys
        texts = nothing.cast("array<string>") if texts is None else texts
        return F.arrays_zip(values, keys, texts).cast("array<struct<x:double,key:bigint,string:string>>")

    def array(values: Sequence[Any], data_type: str) -> Column | None:
        if all(value is None for value in values):
            return None
        null = F.lit(None).cast(data_type)
        return F.array(*[null if value is None else value for value in values])

    names = list(kept or {})
    beside = [column.alias(name) for name, column in (kept or {}).items()]
    alone = [index for index, measure in enumerate(measures) if measure.role != VALUES]
    arrays = [index for index, measure in enumerate(measures) if measure.role == VALUES]
    numbers = zipped(
        F.array(*[measures[index].expression for index in alone]),
        array([measures[index].key for index in alone], "bigint"),
        array([strings[index] for index in alone], "string") if strings else None,
    )
    if arrays:
        # Two steps, so that no row carries more than its own arrays.
        groups = [F.struct(F.lit(-1).alias("array"), numbers.alias("numbers"))]
        for index in arrays:
            measure = measures[index]
            values = zipped(measure.expression, measure.key, None)
            groups.append(F.struct(F.lit(index).alias("array"), values.alias("numbers")))
        grouped = dataset.select(*beside, F.inline(F.array(*groups)))
        rows = grouped.select(*names, "array", F.posexplode("numbers").alias("place", "number"))
        number = F.when(F.col("array") < 0, _order(alone)).otherwise(F.col("array"))
    else:
        rows = dataset.select(*beside, F.posexplode(numbers).alias("place", "number"))
        number = F.col("place")
    x, key = F.col("number.x"), F.col("number.key")
    return rows.select(*names, number.alias("measure"), x.alias("x"), "number.string", key.alias("key")).select(
        *names, "measure", "x", F.coalesce("key", F.xxhash64("x")).alias("key"), "string"
    )


def _order(alone: Sequence[int]) -> Column:
    if list(alone) == list(range(len(alone))):
        return F.col("place")
    return F.get(literals(alone, "int"), F.col("place"))


def by_measure(values: Sequence[float | None], data_type: str) -> Column:
    """The value that belongs to the row's measure; null for None and for numbers that are not finite."""
    return F.get(literals(values, data_type), F.col("measure"))


def literals(values: Sequence[float | None], data_type: str) -> Column:
    """An array of numbers, as one literal: an expression for each would take long with many."""
    # JSON has no other numbers.
    texts = ["null" if value is None or not math.isfinite(value) else repr(value) for value in values]
    return F.from_json(F.lit(f"[{','.join(texts)}]"), f"array<{data_type}>")
