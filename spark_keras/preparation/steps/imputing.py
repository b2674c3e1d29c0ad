"""Missing values replaced by a figure of other rows."""

from __future__ import annotations

import datetime
from typing import Any

from pyspark.sql import DataFrame
from pyspark.sql import functions as F
from typing_extensions import Self

from spark_keras.preparation import fields as kinds
from spark_keras.preparation.fields import Field
from spark_keras.preparation.schema import unknown_column
from spark_keras.preparation.scope import reference
from spark_keras.preparation.step import choose, each
from spark_keras.preparation.steps.adding import AddsSteps
from spark_keras.preparation.steps.in_sequences import one_step
from spark_keras.preparation.steps.missing import ReplaceMissing
from spark_keras.preparation.steps.normalise import figures
from spark_keras.preparation.steps.rows import missing

_STRATEGIES = ("mean", "median", "mode", "min", "max")
# Those that can be counted and put in order.
_COUNTED = (kinds.NumberField, kinds.StringField, kinds.CategoricalField, kinds.BooleanField, kinds.DateField)


class ImputeSteps(AddsSteps):
    """Methods of a transform process; each returns a new process."""

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


def _of_analysis(analysis: Any, field: Field, strategy: str) -> Any:
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


def _of_rows(dataset: DataFrame, field: Field, strategy: str) -> Any:
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


def _fitting(field: Field, value: Any, strategy: str) -> Any:
    """A figure as a value of the column."""
    if not isinstance(field, kinds.NumberField):
        day = isinstance(value, str) and isinstance(field, kinds.DateField)
        return datetime.date.fromisoformat(value) if day else value
    if not field.whole:
        return float(value)
    if float(value) != int(value):
        raise ValueError(
            f"Value does not fit column {field.name!r} in step imputeMissing. Received: {value}, the {strategy}. "
            f'Expected: a whole number, as the column is {field.description}: strategy="median" or "mode", or a cast '
            "to double before."
        )
    return int(value)
