"""Values put in: where some are missing, or into a new column."""

from __future__ import annotations

import dataclasses
import datetime
import math
from collections.abc import Mapping
from typing import Any

from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F
from typing_extensions import Self

from spark_keras.preparation import fields as kinds
from spark_keras.preparation.array_fields import ELEMENTS
from spark_keras.preparation.clock import literal
from spark_keras.preparation.conditions import check_value, expression, value_of
from spark_keras.preparation.expressions import operand
from spark_keras.preparation.records.values import is_missing, stored, taken
from spark_keras.preparation.registry import registered
from spark_keras.preparation.schema import Schema, unknown_column
from spark_keras.preparation.scope import reference
from spark_keras.preparation.step import AddsSteps, Step, choose, each, mapping_field, pairs
from spark_keras.preparation.steps.in_sequences import one_step
from spark_keras.preparation.steps.normalise import figures
from spark_keras.preparation.steps.rows import check_fits, missing

_STRATEGIES = ("mean", "median", "mode", "min", "max")
# Those that can be counted and put in order.
_COUNTED = (kinds.NumberField, *kinds.TEXT, kinds.BooleanField, kinds.DateField)

# Types of a new column, and those of Python's values.
_TYPES: dict[str, type[kinds.Field]] = {**ELEMENTS, "time": kinds.TimeField, "date": kinds.DateField}
_NAMES = {
    bool: "boolean",
    str: "string",
    int: "long",
    float: "double",
    datetime.date: "date",
    datetime.datetime: "time",
}


class FillSteps(AddsSteps):
    """Methods of a transform process; each returns a new process."""

    def replaceMissing(self, values: Mapping[str, Any]) -> Self:
        """Puts values where there is null, or NaN: `replaceMissing({"amount": 0.0, "country": "USA"})`.

        A value may be another column, `col("b")`.
        """
        given = pairs("replaceMissing", values, '{"column": value}')
        return self.add(ReplaceMissing(tuple((name, operand(value)) for name, value in given)))

    def imputeMissing(self, *columns: str, analysis: Any, strategy: str = "mean") -> Self:
        """Puts a figure of an analysis where there is null, or NaN. The figures are part of the process from then on.

        Args:
            analysis: a `DataFrameAnalysis`; or a DataFrame with the columns, as rows, not as sequences, whose figures
                are computed now, by one job for each column.
            strategy: "mean" (default), "min" and "max" of numbers; "median", of numbers: the least value of the column
                that half of the values do not exceed, so that it is whole where they are; or "mode": the most frequent
                value, the least of several, of numbers, strings, categories, booleans and dates. An analysis knows the
                mode of strings and categories.

        Raises:
            ValueError: where there is no such figure, or a mean with a fraction for a column of whole numbers.
        """
        choose("imputeMissing", "strategy", strategy, _STRATEGIES)
        values = {}
        for name in each("imputeMissing", columns):
            types = _COUNTED if strategy == "mode" else (kinds.NumberField,)
            (field,) = one_step(self.schema).require("step imputeMissing", [name], *types)
            found = _of_rows if hasattr(analysis, "agg") else _of_analysis
            values[name] = _fitting(field, found(analysis, field, strategy), strategy)
        return self.add(ReplaceMissing(tuple(values.items())))

    def constant(self, output: str, value: Any, type: str | None = None, zone: str | None = None) -> Self:
        """Adds a column with one value in all rows.

        Args:
            value: a boolean, string, integer, float, `datetime.datetime` or `datetime.date`; None for a column without
                values.
            type: "boolean", "string", "integer", "long", "float", "double", "time" or "date"; by default that of the
                value: a long for an integer, a double for a float. None needs it.
            zone: the time zone of a time's calendar; default "UTC" for a datetime with a time zone, and none for one
                without.
        """
        if type is not None:
            choose("constant", "type", type, _TYPES)
        if zone is not None:
            kinds.checked_zone("step constant", zone)
        return self.add(Constant(output, value, type, zone))


@registered("replaceMissing")
class ReplaceMissing(Step):
    each_alone = "values"

    values: tuple[tuple[str, Any], ...] = mapping_field()

    def schema_after(self, schema: Schema) -> Schema:
        changed = {}
        for name, value in self.values:
            (field,) = schema.require(self.label, [name])
            check_value(self.label, field, value, schema)
            if isinstance(value, float) and math.isnan(value):
                raise kinds.wrong_value(self.label, name, "nan", "a value that is not itself a missing one")
            check_fits(self.label, field, value, schema)
            other = getattr(value, "name", None)
            changed[name] = dataclasses.replace(field, nullable=other is not None and schema[other].nullable)
        return schema.replaced(changed)

    def expressions(self, schema: Schema) -> dict[str, Column]:
        return {
            name: F.when(missing(schema[name]), expression(value).cast(schema[name].sparkType)).otherwise(
                reference(name)
            )
            for name, value in self.values
        }

    def record(self, row: Mapping[str, Any], schema: Schema) -> Mapping[str, Any]:
        return {
            name: stored(schema[name], value_of(value, row)) if is_missing(row[name]) else row[name]
            for name, value in self.values
        }


def _of_analysis(analysis: Any, field: kinds.Field, strategy: str) -> Any:
    if strategy in ("mean", "min", "max"):
        return figures("imputeMissing", analysis, field.name, strategy)[0]
    wanted = "quantiles" if strategy == "median" else "mostFrequent"
    try:
        known = getattr(analysis[field.name], wanted, None)
    except (KeyError, ValueError, TypeError):
        known = None
    found = (known or {}).get(0.5) if strategy == "median" else known[0][0] if known else None
    if found is None:
        raise ValueError(
            f"The analysis does not fit step imputeMissing. Received: {type(analysis).__name__}, with no {strategy} of "
            f"column {field.name!r}. Expected: one with `{wanted}` of it, or a DataFrame as `analysis`."
        )
    return found


def _of_rows(dataset: DataFrame, field: kinds.Field, strategy: str) -> Any:
    if field.name not in dataset.columns:
        raise ValueError(unknown_column("the DataFrame of step imputeMissing", field.name, dataset.columns))
    value = reference(field.name)
    there = dataset.where(~missing(field)).select(value.alias("value"))
    if strategy == "mode":
        first = there.groupBy("value").count().orderBy(F.desc("count"), "value").first()
    else:
        median = F.percentile_approx("value", 0.5, 1_000_000)
        first = there.agg({"mean": F.avg, "min": F.min, "max": F.max}.get(strategy, lambda _: median)("value")).first()
    if first is None or first[0] is None:
        raise ValueError(
            f"No values for step imputeMissing. Received: a DataFrame without values in column {field.name!r}. "
            "Expected: one value or more."
        )
    return first[0]


def _fitting(field: kinds.Field, value: Any, strategy: str) -> Any:
    """A figure as a value of the column."""
    if not isinstance(field, kinds.NumberField):
        day = isinstance(value, str) and isinstance(field, kinds.DateField)
        return datetime.date.fromisoformat(value) if day else value
    if not field.whole:
        return float(value)
    if float(value) != int(value):
        wanted = f"a whole number, as the column is {field.description}"
        advice = 'strategy="median" or "mode", or a cast to double before'
        raise kinds.wrong_value("step imputeMissing", field.name, f"{value}, the {strategy}", f"{wanted}: {advice}")
    return int(value)


@registered("constant")
class Constant(Step):
    output: str
    value: Any
    type: str | None = None
    zone: str | None = None

    def schema_after(self, schema: Schema) -> Schema:
        name = self.type or _NAMES.get(type(self.value))
        if name is None:
            raise TypeError(
                f"Invalid value in {self.label}. Received: {self.value!r}. Expected: a boolean, string, integer, "
                'float, datetime or date; or None, with a type such as type="double".'
            )
        field = _TYPES[name](self.output, nullable=self.value is None)
        if isinstance(field, kinds.TimeField):
            without_zone = isinstance(self.value, datetime.datetime) and self.value.tzinfo is None
            field = dataclasses.replace(field, zone=None if without_zone else self.zone or "UTC")
        if self.zone is not None and getattr(field, "zone", None) != self.zone:
            raise ValueError(
                f"Value does not fit the time zone in {self.label}. Received: {self.value!r}, zone={self.zone!r}. "
                "Expected: a datetime with a time zone, or no `zone`."
            )
        if self.value is not None:
            check_value(self.label, field, self.value, schema)
            if isinstance(field, kinds.NumberField):
                check_fits(self.label, field, self.value, schema)
        return schema.made(self.label, field)

    def expressions(self, schema: Schema) -> dict[str, Column]:
        return {self.output: F.lit(None) if self.value is None else literal(self.value)}

    def record(self, row: Mapping[str, Any], schema: Schema) -> Mapping[str, Any]:
        return {self.output: taken(self.schema_after(schema)[self.output], self.value)}
