"""Places of the numbers of each measure among edges that are known, in one pass over the rows."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F

from spark_keras.analysis.measured_columns import UNUSUAL, Measure, literals, stream, unusual


class Placed(NamedTuple):
    """Counts of one measure.

    Args:
        nulls, nan, infinite: values that are.
        places: with k edges, 2 k + 1 counts of finite numbers: below the first edge, on it, between it and the second,
            on the second, and so on.
        greatest: the greatest finite number, None where there is none.
        strings: of a measure with strings, how often each one occurs.
    """

    nulls: int
    nan: int
    infinite: int
    places: np.ndarray
    greatest: float | None = None
    strings: Mapping[str | None, int] = {}

    @property
    def finite(self) -> int:
        """Finite numbers."""
        return int(self.places.sum())

    @property
    def rows(self) -> int:
        """Values of every kind, and nulls."""
        return self.nulls + self.nan + self.infinite + self.finite

    @property
    def below_first(self) -> int:
        """Numbers below the first edge."""
        return int(self.places[0]) if len(self.places) > 1 else 0

    @property
    def above_last(self) -> int:
        """Numbers above the last edge; all of them where there are no edges."""
        return int(self.places[-1])


def count_places(
    dataset: DataFrame, measures: Sequence[Measure], edges: Sequence[np.ndarray], strings: Sequence[Any] = ()
) -> list[Placed]:
    """One pass over the rows.

    Args:
        edges: for each measure distinct finite numbers in ascending order, maybe none.
        strings: for each measure a Spark column of strings that are counted with it, or None.
    """
    rows = with_places(stream(dataset, measures, strings), edges)
    x = F.col("x")
    grouped = rows.groupBy("measure", unusual(x).otherwise(F.col("place")).alias("place"), "string").agg(
        F.count("*").alias("rows"), F.max("x").alias("greatest")
    )
    found = [Placed(0, 0, 0, np.zeros(2 * len(each) + 1, int), None, {}) for each in edges]
    for row in grouped.collect():
        placed = found[row.measure]
        placed.strings[row.string] = placed.strings.get(row.string, 0) + row.rows
        if row.place in UNUSUAL:
            name = UNUSUAL[row.place]
            placed = placed._replace(**{name: getattr(placed, name) + row.rows})
        else:
            placed.places[row.place] += row.rows
            placed = placed._replace(
                greatest=max(row.greatest, -math.inf if placed.greatest is None else placed.greatest)
            )
        found[row.measure] = placed
    return found


def with_places(rows: DataFrame, edges: Sequence[np.ndarray]) -> DataFrame:
    """The stream with a column "place", which is 2 i + 1 on the edge i and 2 i below it; a binary search."""
    steps = max((len(each) for each in edges), default=0).bit_length()
    width = 2**steps - 1
    padded = np.full((len(edges), width), np.nan)
    for row, each in zip(padded, edges):
        row[: len(each)] = each
    every = literals(padded.ravel().tolist(), "double")
    first = F.col("measure") * width

    def reached(place: Column) -> Column:
        return F.get(every, first + place) <= F.col("x")

    rows = rows.withColumn("edge", F.lit(0))
    for step in reversed(range(steps)):
        # In a projection of its own each, so that the expressions do not grow within one another.
        rows = rows.withColumn(
            "edge", F.col("edge") + F.when(reached(F.col("edge") + (2**step - 1)), 2**step).otherwise(0)
        )
    on_edge = F.get(every, first + F.col("edge") - 1) == F.col("x")
    return rows.withColumn(
        "place", F.when(on_edge & (F.col("edge") > 0), F.col("edge") * 2 - 1).otherwise(F.col("edge") * 2)
    )
