"""Reductions over the elements of an array: the time steps of a sequence, or a moving window of them."""

from __future__ import annotations

from collections.abc import Callable

from pyspark.sql import Column
from pyspark.sql import functions as F

from spark_keras.preparation.scope import let


def _total(values: Column, add: Callable[[Column, Column], Column], start: Column) -> Column:
    """Null where there are no values."""
    return F.when(F.size(values) > 0, F.aggregate(values, start, add))


def _doubles(values: Column) -> Column:
    return values.cast("array<double>")


def whole_sum(values: Column) -> Column:
    """The sum of longs; null where it overflows."""
    return _total(values, F.try_add, F.lit(0).cast("bigint"))


def double_sum(values: Column) -> Column:
    return _total(_doubles(values), lambda total, value: total + value, F.lit(0.0))


def mean(values: Column) -> Column:
    return double_sum(values) / F.size(values)


def _variance(ddof: int) -> Callable[[Column], Column]:
    def variance(values: Column) -> Column:
        def around(center: Column) -> Column:
            def add(total: Column, value: Column) -> Column:
                return total + (value - center) * (value - center)

            return F.aggregate(_doubles(values), F.lit(0.0), add)

        return F.when(F.size(values) > ddof, let(mean(values), around) / (F.size(values) - ddof))

    return variance


def _root(of: Callable[[Column], Column]) -> Callable[[Column], Column]:
    return lambda values: F.sqrt(of(values))


def _median(values: Column) -> Column:
    """The middle value, or the mean of the two in the middle."""

    def middle(ordered: Column) -> Column:
        size = F.size(ordered)
        low = F.get(ordered, F.floor((size - 1) / 2).cast("int"))
        return (low + F.get(ordered, F.floor(size / 2).cast("int"))) / 2

    return F.when(F.size(values) > 0, let(F.array_sort(_doubles(values)), middle))


# Of the values that are not null, in their order.
FIGURES: dict[str, Callable[[Column], Column]] = {
    "sum": double_sum,
    "mean": mean,
    "stdev": _root(_variance(1)),
    "variance": _variance(1),
    "populationStdev": _root(_variance(0)),
    "populationVariance": _variance(0),
    "median": _median,
    "min": F.array_min,
    "max": F.array_max,
    "range": lambda values: F.try_subtract(F.array_max(values), F.array_min(values)),
    "product": lambda values: _total(_doubles(values), lambda total, value: total * value, F.lit(1.0)),
    "count": F.size,
    "countDistinct": lambda values: F.size(F.array_distinct(values)),
    "first": lambda values: F.get(values, F.lit(0)),
    "last": lambda values: F.try_element_at(values, F.lit(-1)),
}
