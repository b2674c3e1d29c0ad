"""The two aggregations of an analysis, each over all columns at once.

All measures of a row become rows (measure, number), which are grouped by the measure (see `measured_columns`). So the
plan has the same few aggregates however many columns there are: the code that Spark generates for them stays small
enough for the JVM to compile, where thousands of aggregates side by side do not.

1. `sketches`: quantiles, least and greatest value, approximate number of distinct values.
2. `counts`: with the range known, all counts, sums of powers around the median, histogram, frequencies of strings, and
   the distinct values where there are few.

Both add up a hash of what they read, so that rows that have changed between them are found.
"""

from __future__ import annotations

import itertools
import math
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np
from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F

from spark_keras.analysis.measured_columns import HASH, UNUSUAL, Measure, by_measure, hash_of, stream, unusual

# What a row (measure, number) is counted as, where it is in no bin.
_BELOW, _ABOVE, _AT_LOW, _AT_HIGH, _STRING = range(-5, 0)

# Strings more frequent than twice this share are two neighbouring quantiles of the strings' hashes, at least.
_HASH_GRID = 0.005
_GRID = tuple(float(share) for share in np.linspace(0, 1, round(1 / _HASH_GRID) + 1))


class Sketch(NamedTuple):
    """Findings of the first pass on one measure; `quantiles` is empty where there is no finite number.

    Args:
        quantiles: {probability: value}.
        distinct: about so many distinct values.
        percentiles: the least value, the 1st to 99th percentile, the greatest value.
        heavy: of hashes, those that may be frequent.
        least, greatest: of a measure with whole keys, these.
        content: number of rows and sum of their hashes.
    """

    quantiles: dict[float, float]
    distinct: int
    percentiles: tuple[float, ...] = ()
    heavy: tuple[int, ...] = ()
    least: int | None = None
    greatest: int | None = None
    content: tuple[int, int] = (0, 0)

    def range(self, few: bool) -> Range:
        """The numbers that the second pass compares with."""
        low, median, high = (self.quantiles.get(probability) for probability in (0.0, 0.5, 1.0))
        return Range(low, high, median, self.least, self.greatest, few)


class Range(NamedTuple):
    """Numbers that a measure is compared with in the second pass; all None where nothing is known.

    Args:
        low, high, median: as doubles.
        least, greatest: the least and the greatest key, where keys are whole.
        few: whether the distinct values are counted one by one.
    """

    low: float | None = None
    high: float | None = None
    median: float | None = None
    least: int | None = None
    greatest: int | None = None
    few: bool = False

    @property
    def width(self) -> float | None:
        return None if self.low is None or self.high is None else self.high - self.low

    @property
    def scale(self) -> float:
        """Brings distances to the median to the order of 1, so that their powers neither overflow nor vanish."""
        return scale_of(self.width or 0.0)

    def edges(self, bins: int) -> np.ndarray:
        """The bins' edges, as numpy has them; it widens a range that is one number by a half on either side."""
        if self.low is None or self.high is None:
            raise ValueError("Nothing is known of the range. Expected: one of a measure with finite numbers.")
        widen = 0.5 if self.low == self.high else 0.0
        return np.linspace(self.low - widen, self.high + widen, bins + 1)


_OF_RANGE = ("low", "high", "median", "scale")


def scale_of(width: float) -> float:
    """Factor that brings numbers of a range so wide to the order of 1."""
    return 1 / width if 0 < width < math.inf and 1 / width < math.inf else 1.0


@dataclass
class Counts:
    """Findings of the second pass on one measure."""

    nulls: int = 0
    nan: int = 0
    infinite: int = 0
    below: int = 0
    above: int = 0
    at_low: int = 0
    at_high: int = 0
    zeros: int = 0
    negatives: int = 0
    sum: float = 0.0
    powers: np.ndarray = field(default_factory=lambda: np.zeros(3))  # sums of ((x - median) * scale) ** 1, 2, 3
    bins: np.ndarray = field(default_factory=lambda: np.zeros(0, int))
    strings: dict[str | None, int] = field(default_factory=dict)
    distinct: int = 0  # where `Range.few`
    content: tuple[int, int] = (0, 0)

    @property
    def finite(self) -> int:
        return int(self.bins.sum()) + self.below + self.above


def sketches(
    dataset: DataFrame, measures: Sequence[Measure], probabilities: Sequence[float], relative_error: float
) -> list[Sketch]:
    """The first pass: a sketch for each measure."""
    asked = sorted({*_GRID, *probabilities})
    rows = stream(dataset, measures)
    finite = F.abs("x") < math.inf
    found = [Sketch({}, 0)] * len(measures)
    grouped = rows.groupBy("measure").agg(
        F.percentile_approx(F.when(finite, F.col("x")), asked, round(1 / relative_error)).alias("quantiles"),
        F.approx_count_distinct(F.when(finite, F.col("key"))).alias("distinct"),
        F.min(F.when(finite, F.col("key"))).alias("least"),
        F.max(F.when(finite, F.col("key"))).alias("greatest"),
        *_content(),
    )
    for row in grouped.collect():
        quantiles = dict(zip(asked, row.quantiles or ()))
        grid = [quantiles[share] for share in _GRID] if quantiles else []
        heavy = tuple(sorted({int(left) for left, right in itertools.pairwise(grid) if left == right}))
        ends = {"least": row.least, "greatest": row.greatest} if measures[row.measure].whole else {}
        found[row.measure] = Sketch(
            quantiles, row.distinct, tuple(grid[::2]), heavy, content=(row.rows, row.hashes), **ends
        )
    return found


def _content() -> list[Column]:
    """Aggregates that differ where the values do: how many they are, and the sum of 28 bits of their hashes."""
    # So few bits that the sum of ten billion fits into a bigint.
    return [F.count("*").alias("rows"), F.sum(F.shiftright(F.xxhash64("key"), 36)).alias("hashes")]


def counts(
    dataset: DataFrame,
    measures: Sequence[Measure],
    ranges: Sequence[Range],
    bins: int,
    strings: Sequence[Any],
) -> list[Counts]:
    """The second pass: counts for each measure.

    Args:
        ranges: one for each measure; nothing is known of hashes.
        strings: for each measure of hashes a Spark column of the strings to count one by one, others being null in it;
            None for other measures.
    """
    first_string = sum(each.role != HASH for each in measures)
    measure, x, key = F.col("measure"), F.col("x"), F.col("key")
    numbers = [by_measure([getattr(each, n) for each in ranges], "double").alias(n) for n in _OF_RANGE]
    ends = [
        F.coalesce(key == by_measure([getattr(each, end) for each in ranges], "bigint"), F.lit(False)).alias(end)
        for end in ("least", "greatest")
    ]
    rows = stream(dataset, measures, strings).select(
        "measure",
        "x",
        "key",
        "string",
        *numbers,
        by_measure([None if each.width is None else each.width / bins for each in ranges], "double").alias("step"),
        *ends,
        F.when(by_measure([int(each.few) for each in ranges], "int") == 1, key).alias("value"),
    )
    low, high, step = F.col("low"), F.col("high"), F.col("step")
    # Within the bins before it becomes a whole number: infinity does not fit into one.
    place = F.least(F.greatest((x - low) / (high - low) * bins, F.lit(0.0)), F.lit(bins - 1.0))
    guess = F.when(high > low, F.floor(place))
    z = (x - F.col("median")) * F.col("scale")
    rows = rows.select(*rows.columns, guess.alias("guess"), z.alias("z"))
    guess, z = F.col("guess"), F.col("z")
    # As in numpy.histogram: rounding may put a number next to its bin, which the edges themselves put right.
    number_of_bin = F.when(x < guess * step + low, guess - 1).when(
        (x >= (guess + 1) * step + low) & (guess < bins - 1), guess + 1
    )
    place = (
        unusual(x)
        .when(low.isNull() | (x > high), _ABOVE)
        .when(x < low, _BELOW)
        .when(x == low, _AT_LOW)
        .when(x == high, _AT_HIGH)
        .otherwise(number_of_bin.otherwise(guess))
    )
    place = F.when(measure >= first_string, _STRING).otherwise(place)
    sums = {
        "rows": F.count("*"),
        "hashes": _content()[1],
        "sum": F.sum("x"),
        "z1": F.sum(z),
        "z2": F.sum(z * z),
        "z3": F.sum(z * z * z),
        "zeros": F.count(F.when(x == 0, 0)),
        "negatives": F.count(F.when(x < 0, 0)),
        "at_least": F.count(F.when(F.col("least"), 0)),
        "at_greatest": F.count(F.when(F.col("greatest"), 0)),
    }
    grouped = rows.groupBy("measure", place.alias("place"), "string", "value").agg(
        *[sum_.alias(name) for name, sum_ in sums.items()]
    )
    if any(each.few for each in ranges):
        # Distinct values are counted where they are, so that the driver need not see them.
        grouped = grouped.groupBy("measure", "place", "string").agg(
            F.count("value").alias("distinct"), *[F.sum(name).alias(name) for name in sums]
        )
    else:
        grouped = grouped.withColumn("distinct", F.lit(0))
    by_index = defaultdict(list)
    for row in grouped.collect():
        by_index[row.measure].append(row)
    return [_counts(by_index[index], each, bins) for index, each in enumerate(ranges)]


def _counts(rows: Sequence[Any], range_: Range, bins: int) -> Counts:
    found = Counts(bins=np.zeros(bins, int))
    names = {**UNUSUAL, _BELOW: "below", _ABOVE: "above"}
    whole = range_.least is not None
    for row in rows:
        found.content = (found.content[0] + row.rows, found.content[1] + row.hashes)
        if row.place == _STRING:
            found.strings[row.string] = row.rows
            continue
        if row.place in names:
            setattr(found, names[row.place], row.rows)
        elif row.place == _AT_LOW:
            found.at_low = row.rows
            first = 0
            if range_.low is not None and range_.low == range_.high:
                first = int(np.searchsorted(range_.edges(bins)[1:-1], range_.low, "right"))
            found.bins[first] += row.rows
        elif row.place == _AT_HIGH:
            found.at_high = row.rows
            found.bins[-1] += row.rows
        else:
            found.bins[row.place] += row.rows
        if row.place not in UNUSUAL:
            found.sum += row.sum
            found.zeros += row.zeros
            found.negatives += row.negatives
            found.distinct += row.distinct
            if row.z1 is not None:
                found.powers += [row.z1, row.z2, row.z3]
    if range_.low == range_.high:
        found.at_high = found.at_low
    if whole:
        found.at_low, found.at_high = sum(row.at_least for row in rows), sum(row.at_greatest for row in rows)
    return found


def only_strings(text: Column, strings: Sequence[str]) -> Column:
    """These strings; others become null."""
    return F.when(text.isin(*strings), text) if strings else F.lit(None).cast("string")


def only_hashes(text: Column, hashes: Sequence[int]) -> Column:
    """The strings with one of these hashes; others become null."""
    return F.when(hash_of(text).isin(*hashes), text) if hashes else F.lit(None).cast("string")
