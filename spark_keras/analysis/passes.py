"""The two aggregations of an analysis, each over all columns at once.

All measures of a row become rows (measure, number), which are grouped by the measure. So the plan has the same few
aggregates however many columns there are: the code that Spark generates for them stays small enough for the JVM to
compile, where thousands of aggregates side by side do not.

1. `sketches`: quantiles, least and greatest value, approximate number of distinct values.
2. `counts`: with the range known, all counts, sums of powers around the median, histogram and frequencies of strings.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np

from spark_keras.analysis.measures import Category, Measure

# What a row (measure, number) is counted as, where it is in no bin.
_NULL, _NAN, _INFINITE, _BELOW, _ABOVE, _AT_LOW, _AT_HIGH, _STRING = range(-8, 0)

# Strings more frequent than twice this share are two neighbouring quantiles of the strings' hashes, at least.
_HASH_GRID = 0.005
_GRID = tuple(float(share) for share in np.linspace(0, 1, round(1 / _HASH_GRID) + 1))


class Sketch(NamedTuple):
    """What the first pass tells of one measure; `quantiles` is empty where there is no finite number."""

    quantiles: dict[float, float]
    distinct: int
    heavy: tuple[int, ...] = ()

    @property
    def low(self) -> float | None:
        return self.quantiles.get(0.0)

    @property
    def high(self) -> float | None:
        return self.quantiles.get(1.0)


class Range(NamedTuple):
    """What a measure's numbers are compared with in the second pass; all None where nothing is known."""

    low: float | None = None
    high: float | None = None
    median: float | None = None

    @property
    def scale(self) -> float:
        """Brings distances to the median to the order of 1, so that their powers neither overflow nor vanish."""
        width = self.high - self.low if self.low is not None else 0.0
        return 1 / width if 0 < width < math.inf and 1 / width < math.inf else 1.0


@dataclass
class Counts:
    """What the second pass tells of one measure."""

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

    @property
    def finite(self) -> int:
        return int(self.bins.sum()) + self.below + self.above


def sketches(
    dataset: Any,
    measures: Sequence[Measure],
    categories: Sequence[Category],
    probabilities: Sequence[float],
    relative_error: float,
) -> list[Sketch]:
    """The first pass: a sketch for each measure, then one for the hashes of each category."""
    from pyspark.sql import functions as F

    asked = sorted({*_GRID, *probabilities})
    numbers = [measure.expression for measure in measures] + [_hash(each).cast("double") for each in categories]
    stream = dataset.select(F.posexplode(F.array(*numbers)).alias("measure", "x"))
    finite = stream.select("measure", F.when(F.abs("x") < math.inf, F.col("x")).alias("x"))
    rows = finite.groupBy("measure").agg(
        F.percentile_approx("x", asked, round(1 / relative_error)).alias("quantiles"),
        F.approx_count_distinct("x").alias("distinct"),
    )
    found = [Sketch({}, 0)] * len(numbers)
    for row in rows.collect():
        if row.quantiles is not None:
            quantiles = dict(zip(asked, row.quantiles))
            grid = [quantiles[share] for share in _GRID]
            heavy = tuple(sorted({int(left) for left, right in zip(grid, grid[1:]) if left == right}))
            found[row.measure] = Sketch(quantiles, row.distinct, heavy)
    return found


def counts(
    dataset: Any,
    measures: Sequence[Measure],
    ranges: Sequence[Range],
    bins: int,
    strings: Sequence[Any],
) -> list[Counts]:
    """The second pass: counts for each measure, then for each category.

    Args:
        ranges: one for each measure.
        strings: for each category a Spark column of the strings to count one by one; others are null in it.
    """
    from pyspark.sql import functions as F

    first_string = len(measures)
    # A string takes part with its place alone.
    numbers = [measure.expression for measure in measures] + [F.lit(0.0)] * len(strings)
    stream = dataset.select(
        F.array(*numbers).alias("numbers"), F.array(*strings).cast("array<string>").alias("strings")
    ).select(F.posexplode("numbers").alias("measure", "x"), "strings")
    measure, x = F.col("measure"), F.col("x")
    stream = stream.select(
        "measure",
        "x",
        F.when(measure >= first_string, F.col("strings")[measure - first_string]).alias("string"),
        *[
            _by_measure([*values, *[None] * len(strings)], name)
            for name, values in (
                ("low", [each.low for each in ranges]),
                ("high", [each.high for each in ranges]),
                ("median", [each.median for each in ranges]),
                ("scale", [each.scale for each in ranges]),
                ("step", [None if each.low is None else (each.high - each.low) / bins for each in ranges]),
            )
        ],
    )
    low, high, step = F.col("low"), F.col("high"), F.col("step")
    # Within the bins before it becomes a whole number: infinity does not fit into one.
    place = F.least(F.greatest((x - low) / (high - low) * bins, F.lit(0.0)), F.lit(bins - 1.0))
    guess = F.when(high > low, F.floor(place))
    z = (x - F.col("median")) * F.col("scale")
    stream = stream.select("measure", "x", "string", low, high, step, guess.alias("guess"), z.alias("z"))
    guess, z = F.col("guess"), F.col("z")
    # As in numpy.histogram: rounding may put a number next to its bin, which the edges themselves put right.
    number_of_bin = F.when(x < guess * step + low, guess - 1).when(
        (x >= (guess + 1) * step + low) & (guess < bins - 1), guess + 1
    )
    place = (
        F.when(measure >= first_string, _STRING)
        .when(x.isNull(), _NULL)
        .when(F.isnan(x), _NAN)
        .when(F.abs(x) == math.inf, _INFINITE)
        .when(low.isNull() | (x > high), _ABOVE)
        .when(x < low, _BELOW)
        .when(x == low, _AT_LOW)
        .when(x == high, _AT_HIGH)
        .otherwise(number_of_bin.otherwise(guess))
    )
    rows = (
        stream.groupBy("measure", place.alias("place"), "string")
        .agg(
            F.count("*").alias("count"),
            F.sum("x").alias("sum"),
            F.sum(z).alias("z1"),
            F.sum(z * z).alias("z2"),
            F.sum(z * z * z).alias("z3"),
            F.sum((x == 0).cast("int")).alias("zeros"),
            F.sum((x < 0).cast("int")).alias("negatives"),
        )
        .collect()
    )
    by_measure = defaultdict(list)
    for row in rows:
        by_measure[row.measure].append(row)
    return [
        _counts(by_measure[index], ranges[index] if index < first_string else Range(), bins)
        for index in range(first_string + len(strings))
    ]


def _counts(rows: Sequence[Any], range_: Range, bins: int) -> Counts:
    found = Counts(bins=np.zeros(bins, int))
    names = {_NULL: "nulls", _NAN: "nan", _INFINITE: "infinite", _BELOW: "below", _ABOVE: "above"}
    for row in rows:
        if row.place == _STRING:
            found.strings[row.string] = row["count"]
            continue
        if row.place in names:
            setattr(found, names[row.place], row["count"])
        elif row.place == _AT_LOW:
            found.at_low = row["count"]
            # Where all numbers are the same, numpy widens the range by a half on either side.
            found.bins[0 if range_.high > range_.low else bins // 2] += row["count"]
        elif row.place == _AT_HIGH:
            found.at_high = row["count"]
            found.bins[-1] += row["count"]
        else:
            found.bins[row.place] += row["count"]
        if row.place not in (_NULL, _NAN, _INFINITE):
            found.sum += row.sum
            found.zeros += row.zeros
            found.negatives += row.negatives
            if row.z1 is not None:
                found.powers += [row.z1, row.z2, row.z3]
    if range_.low == range_.high:
        found.at_high = found.at_low
    return found


def _by_measure(values: Sequence[float | None], name: str) -> Any:
    """The value that belongs to the row's measure."""
    from pyspark.sql import functions as F

    literals = ", ".join("CAST(NULL AS DOUBLE)" if value is None else f"{value!r}D" for value in map(_float, values))
    return F.expr(f"array({literals})")[F.col("measure")].alias(name)


def _float(value: float | None) -> float | None:
    return None if value is None or not math.isfinite(value) else float(value)


def _hash(category: Category) -> Any:
    """A string's hash, in the 53 bits that a double holds exactly."""
    from pyspark.sql import functions as F

    return F.when(category.expression.isNotNull(), F.shiftright(F.xxhash64(category.expression), 11))


def only_hashes(category: Category, hashes: Sequence[int]) -> Any:
    """The strings with one of these hashes; others become null."""
    from pyspark.sql import functions as F

    return F.when(_hash(category).isin(*hashes), category.expression) if hashes else F.lit(None).cast("string")


def only_strings(category: Category, strings: Sequence[str]) -> Any:
    """These strings; others become null."""
    from pyspark.sql import functions as F

    return F.when(category.expression.isin(*strings), category.expression) if strings else F.lit(None).cast("string")
