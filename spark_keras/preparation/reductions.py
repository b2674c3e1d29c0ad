"""Reductions to one value, of the rows of a group or the elements of an array; and aggregate expressions of SQL."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable
from typing import Any, NamedTuple

from pyspark.errors import AnalysisException, ParseException
from pyspark.sql import Column
from pyspark.sql import functions as F
from pyspark.sql import types as T

from spark_keras.cluster import session
from spark_keras.preparation import fields as kinds
from spark_keras.preparation.conditions import Condition, checked_condition
from spark_keras.preparation.fields import Field
from spark_keras.preparation.registry import registered
from spark_keras.preparation.schema import Schema
from spark_keras.preparation.scope import let, reference

# What rows can be grouped and ordered by.
ORDERED = (
    kinds.NumberField,
    kinds.StringField,
    kinds.CategoricalField,
    kinds.BooleanField,
    kinds.TimeField,
    kinds.DateField,
)


def _same(field: Field, name: str) -> Field:
    return dataclasses.replace(field.named(name), nullable=True)


def _sum(field: kinds.NumberField, name: str) -> Field:
    return kinds.LongField(name) if field.whole else kinds.DoubleField(name)


def _double(_field: Field, name: str) -> Field:
    return kinds.DoubleField(name)


def _count(_field: Field | None, name: str) -> Field:
    return kinds.LongField(name, minimum=0, nullable=False)


def _text(_field: Field, name: str) -> Field:
    return kinds.StringField(name)


# --- of the elements of an array ---


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


def _product(values: Column) -> Column:
    return _total(_doubles(values), lambda total, value: total * value, F.lit(1.0))


def _array_range(values: Column) -> Column:
    return F.try_subtract(F.array_max(values), F.array_min(values))


# --- all of them ---


class _Function(NamedTuple):
    """A reduction: the columns that it takes, what comes out, and its two forms.

    Args:
        of_rows: the Spark aggregate; None where `Reduction` makes it of several.
        of_array: of the values of an array that are not null, in their order; None where only time steps have it.
    """

    takes: tuple[type[Field], ...]
    makes: Callable[[Any, str], Field]
    of_rows: Callable[..., Column] | None
    of_array: Callable[[Column], Column] | None


_NUMBER = (kinds.NumberField,)

_FUNCTIONS = {
    "sum": _Function(_NUMBER, _sum, F.try_sum, double_sum),
    "mean": _Function(_NUMBER, _double, F.avg, mean),
    "stdev": _Function(_NUMBER, _double, F.stddev_samp, _root(_variance(1))),
    "variance": _Function(_NUMBER, _double, F.var_samp, _variance(1)),
    "range": _Function(_NUMBER, _sum, lambda value: F.try_subtract(F.max(value), F.min(value)), _array_range),
    "min": _Function(ORDERED, _same, F.min, F.array_min),
    "max": _Function(ORDERED, _same, F.max, F.array_max),
    "count": _Function((), _count, F.count, F.size),
    "countDistinct": _Function(ORDERED, _count, F.count_distinct, lambda values: F.size(F.array_distinct(values))),
    "first": _Function((), _same, F.min_by, lambda values: F.get(values, F.lit(0))),
    "last": _Function((), _same, F.max_by, lambda values: F.try_element_at(values, F.lit(-1))),
    "product": _Function(_NUMBER, _double, F.product, _product),
    "populationStdev": _Function(_NUMBER, _double, F.stddev_pop, _root(_variance(0))),
    "populationVariance": _Function(_NUMBER, _double, F.var_pop, _variance(0)),
    "median": _Function(_NUMBER, _double, F.median, _median),
    "append": _Function(kinds.TEXT, _text, None, None),
    "prepend": _Function(kinds.TEXT, _text, None, None),
}
# Those of the elements of an array: the time steps of a sequence, or a moving window of them.
FIGURES = {name: each.of_array for name, each in _FUNCTIONS.items() if each.of_array is not None}

# What depends on the order of rows.
_ORDERED = ("first", "last", "append", "prepend")


@registered("reduction")
class Reduction:
    """One figure of a group, made by `col("amount").sum(where=…)` and its kin, or by `countRows(where=…)`.

    Rows where the condition does not hold, and nulls, are left out; if none is left, the figure is null, and a count 0.
    """

    function: str
    name: str | None
    where: Condition | None = None
    by: str | None = None
    separator: str = ""

    def __post_init__(self) -> None:
        if self.function not in _FUNCTIONS:
            raise ValueError(f"Unknown reduction. Received: {self.function!r}. Expected: one of {list(_FUNCTIONS)}.")
        if self.where is not None:
            object.__setattr__(self, "where", checked_condition(f"{self.function}(where=…)", self.where))

    def field(self, schema: Schema, step: str, output: str, ordered: bool = False) -> Field:
        """The column that comes out; raises a `ValueError` where the reduction does not fit the schema.

        Args:
            ordered: whether the rows have an order, as the time steps of a sequence do.
        """
        function = _FUNCTIONS[self.function]
        if self.by is None and self.function in _ORDERED and not ordered:
            raise ValueError(
                f"No order in {step}, {self.function}. Received: by=None. Expected: a column that orders the rows of a "
                "group; only the time steps of a sequence have an order."
            )
        if self.where is not None:
            self.where.check(schema, step)
        if not isinstance(self.separator, str):
            raise TypeError(f"Invalid separator in {step}. Received: {self.separator!r}. Expected: a string.")
        if self.by is not None:
            schema.require(step, [self.by], *ORDERED)
        found = None
        if self.name is not None:
            (found,) = schema.require(f"{step}, {self.function}", [self.name], *function.takes)
        return function.makes(found, output)

    def column(self, schema: Schema) -> Column:
        aggregate = _FUNCTIONS[self.function].of_rows
        if aggregate is None:
            return self._joined(schema)
        value = F.lit(1) if self.name is None else reference(self.name)
        if self.name is not None and self.function in ("sum", "range"):
            value = value.cast("bigint" if schema.field(self.name, kinds.NumberField).whole else "double")
        if self.by is not None:
            # min_by and max_by leave out rows whose order is null.
            order = reference(self.by)
            if self.where is not None:
                order = F.when(self.where.holds(schema), order)
            return aggregate(value, order)
        if self.where is not None:
            value = F.when(self.where.holds(schema), value)
        return aggregate(value)

    def _joined(self, schema: Schema) -> Column:
        """Strings in the order of `by`, and where that ties in their own, so that the result is always the same."""
        order, value = reference(self.by or ""), reference(self.name or "")
        usable = order.isNotNull() & value.isNotNull()
        if self.where is not None:
            usable = usable & self.where.holds(schema)
        pair = F.struct(order.alias("order"), value.alias("value"))
        pairs = F.sort_array(F.collect_list(F.when(usable, pair)), asc=self.function == "append")
        texts = F.transform(pairs, lambda part: part["value"])
        return F.when(F.size(texts) > 0, F.array_join(texts, self.separator))

    def __str__(self) -> str:
        options = [
            *([f"separator={self.separator!r}"] if self.separator else []),
            *([f"by={self.by!r}"] if self.by else []),
            *([f"where={self.where}"] if self.where is not None else []),
        ]
        if self.name is None:
            return f"countRows({', '.join(options)})"
        return f"col({self.name!r}).{self.function}({', '.join(options)})"


@registered("sqlReduction")
class SqlReduction:
    """One figure of a group, made by `sqlReduction("…")`.

    `type` is Spark's type of the figure as JSON, once Spark's active session has been asked; a saved process knows it.
    """

    expression: str
    type: str | None = None

    def __post_init__(self) -> None:
        if not isinstance(self.expression, str) or not self.expression.strip():
            raise TypeError(
                f"Invalid sqlReduction. Received: {self.expression!r}. "
                'Expected: an aggregate expression of SQL, such as "sum(amount * price)".'
            )

    def settled(self, schema: Schema, step: str) -> SqlReduction:
        """The reduction with its type, from Spark's analysis of no rows; raises a `ValueError` where that fails."""
        # Without the metadata, which would be taken for what the figure is.
        plain = T.StructType([T.StructField(field.name, field.sparkType) for field in schema])
        try:
            empty = session.running_or_new().createDataFrame([], plain)
            found = empty.groupBy().agg(F.expr(self.expression).alias("figure")).schema["figure"].dataType
        except (AnalysisException, ParseException) as error:
            raise ValueError(
                f"Invalid sqlReduction in {step}. Received: {self.expression!r}; Spark says: "
                f"{str(error).splitlines()[0]}. Expected: an aggregate expression of SQL over the columns "
                f"{schema.names}."
            ) from error
        return dataclasses.replace(self, type=found.json())

    def field(self, schema: Schema, step: str, output: str) -> Field:
        """The column that comes out."""
        settled = self if self.type is not None else self.settled(schema, step)
        kind = T.StructType.fromJson(
            {"fields": [{"name": output, "type": json.loads(settled.type or "null"), "nullable": True, "metadata": {}}]}
        )
        return Schema.of(kind)[output]

    def column(self, schema: Schema) -> Column:
        return F.expr(self.expression)

    def __str__(self) -> str:
        return f"sqlReduction({self.expression!r})"
