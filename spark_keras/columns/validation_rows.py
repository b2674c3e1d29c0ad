"""The rows that a fit holds out to validate on."""

from __future__ import annotations

from collections.abc import Sequence

from pyspark.sql import Column, DataFrame, Window
from pyspark.sql import functions as F

from spark_keras.columns import expressions

# A draw is one of so many numbers.
_DRAWS = 2**31


def with_held_out(dataset: DataFrame, content: Sequence[Column], column: str, share: float, seed: int) -> DataFrame:
    """The DataFrame with a boolean column: the rows that a share of all rows consists of.

    Of c rows of one content, share · c are held out, rounded up or down: systematic sampling (Cochran, Sampling
    Techniques, chapter 8) within each content, from a start that the hash of content and seed draws. So the choice
    depends neither on partitions nor on the order of rows, and a content that occurs once is held out with a
    probability of `share`.

    Args:
        content: columns by which rows are told apart; rows that are equal in all of them may stand for each other.
        column: a name that no column has.
        share: in (0, 1).
    """
    number, drawn = f"{column} number", f"{column} drawn"
    # Of rows that are equal in content, which one is taken depends on the other columns, not on their order.
    copies = Window.partitionBy(drawn).orderBy(F.xxhash64(*_hashable(dataset)))
    hashed = dataset.withColumn(drawn, F.xxhash64(F.lit(f"validation {seed}"), *content))
    numbered = hashed.withColumn(number, F.row_number().over(copies))
    step = int(share * _DRAWS)
    before = f"({_DRAWS - 1}L - pmod(`{drawn}`, {_DRAWS}L) + (`{number}` - 1) * {step}L)"
    held_out = F.expr(f"({before} + {step}L) div {_DRAWS}L > {before} div {_DRAWS}L")
    return numbered.withColumn(column, held_out).drop(number, drawn)


def _hashable(dataset: DataFrame) -> list[Column]:
    """The columns that Spark can hash, and that their names tell apart."""
    fields = dataset.schema.fields
    names = [field.name for field in fields if "map<" not in field.dataType.simpleString()]
    return [expressions.reference(name) for name in names if names.count(name) == 1] or [F.lit(0)]
