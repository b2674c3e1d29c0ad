"""Reductions of the rows of a group to one value: functions of a column, and aggregate expressions of SQL."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable
from typing import Any

from pyspark.errors import AnalysisException, ParseException
from pyspark.sql import Column, SparkSession
from pyspark.sql import functions as F
from pyspark.sql import types as T

from spark_keras.preparation import fields as kinds
from spark_keras.preparation.conditions import Condition, checked_condition
from spark_keras.preparation.fields import Field
from spark_keras.preparation.registry import registered
from spark_keras.preparation.schema import Schema
from spark_keras.preparation.scope import reference

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


_TEXT = (kinds.StringField, kinds.CategoricalField)

# Name: (columns it takes, what comes out, the Spark aggregate; `_joined` makes those without)
_FUNCTIONS: dict[str, tuple[tuple[type[Field], ...], Callable[[Any, str], Field], Callable[..., Column] | None]] = {
    "sum": ((kinds.NumberField,), _sum, F.try_sum),
    "mean": ((kinds.NumberField,), _double, F.avg),
    "stdev": ((kinds.NumberField,), _double, F.stddev_samp),
    "variance": ((kinds.NumberField,), _double, F.var_samp),
    "range": ((kinds.NumberField,), _sum, lambda value: F.try_subtract(F.max(value), F.min(value))),
    "min": (ORDERED, _same, F.min),
    "max": (ORDERED, _same, F.max),
    "count": ((), _count, F.count),
    "countDistinct": (ORDERED, _count, F.count_distinct),
    "first": ((), _same, F.min_by),
    "last": ((), _same, F.max_by),
    "product": ((kinds.NumberField,), _double, F.product),
    "populationStdev": ((kinds.NumberField,), _double, F.stddev_pop),
    "populationVariance": ((kinds.NumberField,), _double, F.var_pop),
    "median": ((kinds.NumberField,), _double, F.median),
    "append": (_TEXT, _text, None),
    "prepend": (_TEXT, _text, None),
}


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
        types, result, _ = _FUNCTIONS[self.function]
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
            (found,) = schema.require(f"{step}, {self.function}", [self.name], *types)
        return result(found, output)

    def column(self, schema: Schema) -> Column:
        aggregate = _FUNCTIONS[self.function][2]
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
            empty = SparkSession.builder.getOrCreate().createDataFrame([], plain)
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
