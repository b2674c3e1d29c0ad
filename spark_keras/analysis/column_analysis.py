"""Findings of an analysis on a column: plain, immutable figures, and the way to JSON and back."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np

from spark_keras.analysis import times
from spark_keras.reports import charts
from spark_keras.reports.cards import Shown
from spark_keras.reports.numbers import number
from spark_keras.reports.tables import html_table


@dataclass(frozen=True)
class Histogram:
    """Counts in bins of equal width, as `numpy.histogram` has them: the last bin is closed, the others half open.

    Args:
        edges: one more than there are bins; the first is the minimum, the last the maximum. Where both are the same
            number m, they are m - 0.5 and m + 0.5.
        counts: values in each bin.
    """

    edges: tuple[float, ...]
    counts: tuple[int, ...]


@dataclass(frozen=True)
class Statistics:
    """Figures of numbers. What is not known, or not defined for so few values, is None.

    Nulls are left out of everything. NaN and infinite values are counted in `count`, `nan` and `infinite` and left
    out of everything else. Numbers are analysed as doubles: `bigint` and `decimal` are exact up to 2**53, but for
    `min`, `max` and their counts of `bigint` and times, and for `distinct`, which are exact beyond.

    Args:
        count: values that are not null (as in Spark; pandas leaves out NaN, too).
        nan: values that are NaN.
        infinite: values that are plus or minus infinity.
        min: least value.
        max: greatest value.
        mean: arithmetic mean.
        stdev: standard deviation of the sample: the root of `variance`.
        variance: sum of the squared distances to the mean, over n - 1; None for fewer than two values.
        sum: exact for whole numbers as long as it stays below 2**53.
        skewness: third standardised moment, m3 / m2**1.5 with n in the denominators (Spark's `skewness`, scipy's
            `skew(bias=True)`); None where all values are the same.
        zeros: values that are 0.
        negatives: values below 0.
        positives: values above 0.
        countAtMin: values that are equal to `min`.
        countAtMax: values that are equal to `max`.
        distinct: number of distinct values; up to `maxDistinct` counted one by one, else by Spark's
            `approx_count_distinct` (relative standard deviation 5 %), but never more than there are values.
        quantiles: {probability: value}. By default as Spark's `percentile_approx` gives them: the least value of the
            column that so large a share of the values does not exceed; nothing is interpolated. With
            quantileRule="midpoint" and n values, where probability * n is a whole number k, the mean of the k-th and
            the next value instead (definition 2 of Hyndman and Fan, "Sample quantiles in statistical packages", 1996;
            `averaged_inverted_cdf` in numpy), and of dates the day before the middle: 0, 5, 3 and -1 have the
            quartiles -0.5, 1.5 and 4, where the default tells -1, 0 and 3. Ranks are off by at most `relativeError`
            times the number of values.
        histogram: over [min, max].
        percentiles: the least value, the 1st to 99th percentile, and the greatest value, as doubles; those of times as
            the histogram's edges are. Later rows are compared at them.
    """

    count: int = 0
    nan: int | None = None
    infinite: int | None = None
    min: Any = None
    max: Any = None
    mean: Any = None
    stdev: Any = None
    variance: float | None = None
    sum: float | None = None
    skewness: float | None = None
    zeros: int | None = None
    negatives: int | None = None
    positives: int | None = None
    countAtMin: int | None = None
    countAtMax: int | None = None
    distinct: int | None = None
    quantiles: dict[float, Any] | None = None
    histogram: Histogram | None = None
    percentiles: tuple[float, ...] | None = None


@dataclass(frozen=True, repr=False)
class ColumnAnalysis(Shown, Statistics):
    """Findings of the analysis on one column.

    | kind | columns | the figures of `Statistics` are those of |
    |---|---|---|
    | numeric | numbers | the values |
    | categorical | numbers with nominal ML attributes, such as those of a `StringIndexer` | the values |
    | boolean | booleans | false as 0, true as 1: `zeros` are false, `positives` true, `mean` is the share of true |
    | time | timestamp, timestamp_ntz, date | the values, `datetime` (aware, UTC; naive for timestamp_ntz) or `date` |
    | string | strings | `lengths` has them, of the lengths in characters |
    | binary | binary | `lengths`, in bytes |
    | array | arrays and ML vectors | `lengths`, in elements |
    | map | maps | `lengths`, in entries |
    | struct | structs; each field is a column of its own, "address.city" | nothing |
    | other | anything else | nothing |

    Of times there is no sum and no count of zeros, negatives and positives; `stdev` is a `timedelta`, `variance` in
    seconds squared, and edges of histograms are microseconds since 1970 (days for dates). Times before the year 1 and
    after 9999, which Python's `datetime` lacks, are `numpy.datetime64`, timestamps in UTC; so are all times of such a
    column.

    Args:
        name: the column's name; a field of a struct has the struct's name and a dot in front.
        dataType: Spark's type, as `simpleString()` has it.
        kind: see above.
        rows: rows of the DataFrame: `count + nulls`.
        nulls: rows in which the column is null.
        distinct: as in `Statistics`.
        distinctIsExact: whether every distinct value was counted: strings and categories with up to `maxDistinct`
            distinct values.
        mostFrequent: ((value, count), …), most frequent first, of strings and categories; counts are exact. Where there
            are more than `maxDistinct` distinct values, those that are at least 1 % of the column.
        lengths: statistics of the lengths.
        tensorShape: lengths of (nested) arrays and vectors, with None for a dimension whose length
            differs between rows.
        elements: statistics of each position of the (flattened) arrays, on request (`elementStatistics`).
        values: statistics of all values of arrays and vectors of numbers, whatever their position.
    """

    name: str = ""
    dataType: str = ""
    kind: str = "other"
    rows: int = 0
    nulls: int = 0
    distinctIsExact: bool = False
    mostFrequent: tuple[tuple[str, int], ...] | None = None
    lengths: Statistics | None = None
    tensorShape: tuple[int | None, ...] | None = None
    elements: tuple[Statistics, ...] | None = None
    values: Statistics | None = None

    def _facts(self) -> dict[str, Any]:
        names = ("name", "dataType", "kind", "rows", "nulls", "distinct", "min", "mean", "max", "stdev")
        return {name: value if isinstance(value, str) else number(value) for name, value in self._known(names).items()}

    def _parts(self) -> list[str]:
        names = [field.name for field in dataclasses.fields(self)]
        figures = [(name, number(value)) for name, value in self._known(names).items() if not _holds_several(value)]
        title = f"Most frequent values of {self.name}"
        drawn = [charts.bars(self.mostFrequent[:12], title)] if self.mostFrequent else []
        return [*drawn, html_table(("figure", "value"), figures)]

    def _known(self, names: Iterable[str]) -> dict[str, Any]:
        return {name: getattr(self, name) for name in names if getattr(self, name) is not None}


def _holds_several(value: Any) -> bool:
    return isinstance(value, (dict, tuple, Histogram, Statistics))


# --- JSON ----------------------------------------------------------------------------------------------------------


def to_dict(statistics: Statistics) -> dict[str, Any]:
    """Gives what JSON can hold; figures that are None are left out."""
    values = {}
    for field in dataclasses.fields(statistics):
        value = getattr(statistics, field.name)
        if value is not None:
            values[field.name] = _encoded(field.name, value)
    return values


def _encoded(name: str, value: Any) -> Any:
    if isinstance(value, Statistics):
        return to_dict(value)
    if isinstance(value, Histogram):
        return {"edges": list(value.edges), "counts": list(value.counts)}
    if name == "elements":
        return [to_dict(each) for each in value]
    if name == "quantiles":
        return [[probability, _encoded("", each)] for probability, each in value.items()]
    if isinstance(value, tuple):
        return [list(each) if isinstance(each, tuple) else each for each in value]
    return times.encoded(value)


def from_dict(cls: type, values: dict[str, Any]) -> Any:
    """The `Statistics` or `ColumnAnalysis` of `to_dict`."""
    decoded = dict(values)
    decode: Callable[[str], Any] | None = None
    if values.get("kind") == "time":
        ends = [times.parsed(values[name]) for name in ("min", "max") if name in values]
        wide = any(isinstance(each, np.datetime64) for each in ends)
        decode = functools.partial(times.parsed, wide=wide)

    for name, value in values.items():
        if name == "histogram":
            decoded[name] = Histogram(tuple(value["edges"]), tuple(value["counts"]))
        elif name in ("lengths", "values"):
            decoded[name] = from_dict(Statistics, value)
        elif name == "elements":
            decoded[name] = tuple(from_dict(Statistics, each) for each in value)
        elif name == "quantiles":
            decoded[name] = {probability: decode(each) if decode else each for probability, each in value}
        elif name == "mostFrequent":
            decoded[name] = tuple((each, count) for each, count in value)
        elif name in ("tensorShape", "percentiles"):
            decoded[name] = tuple(value)
        elif decode and name in ("min", "max", "mean"):
            decoded[name] = decode(value)
        elif decode and name == "stdev":
            decoded[name] = times.duration(value)
    return cls(**decoded)


def positions(column: ColumnAnalysis, figure: str) -> np.ndarray:
    """A figure of every position of an array column, such as `positions(analysis["pixels"], "mean")`; NaN for None."""
    if column.elements is None:
        raise ValueError(
            f"Column {column.name!r} has no statistics of its elements. "
            "Expected: an analysis with elementStatistics=True."
        )
    return np.array([getattr(each, figure) for each in column.elements], dtype="float64")
