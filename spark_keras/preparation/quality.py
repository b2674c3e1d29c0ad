"""How much of a DataFrame is as a schema says: valid, invalid and missing values, column by column."""

from __future__ import annotations

import dataclasses
import json
from typing import Any

from pyspark.sql import Column, DataFrame, Window
from pyspark.sql import functions as F
from pyspark.sql import types as T

from spark_keras.columns import quoted, reference
from spark_keras.preparation import fields as kinds
from spark_keras.preparation.fields import Field
from spark_keras.preparation.schema import Schema


@dataclasses.dataclass(frozen=True)
class ColumnQuality:
    """One column: numbers of values, and examples of invalid ones.

    Args:
        name: the column.
        expected: what the schema says of it.
        valid: values that are as the schema says.
        invalid: values that are there, but not as it says.
        missing: nulls.
        examples: different invalid values as strings, the first ones in their order.
        nullable: whether the schema lets values be missing.
    """

    name: str
    expected: str
    valid: int
    invalid: int
    missing: int
    examples: tuple[str, ...] = ()
    nullable: bool = True

    @property
    def ok(self) -> bool:
        """No value is invalid, and none is missing where the schema does not let it."""
        return not self.invalid and (self.nullable or not self.missing)


@dataclasses.dataclass(frozen=True)
class DataQuality:
    """What a DataFrame holds against a `Schema`; made by `DataQuality.of`.

    Example:
        >>> quality = DataQuality.of(df, schema)
        >>> quality["amount"].invalid
        1
        >>> quality["amount"].examples
        ('-0.9',)
    """

    columns: tuple[ColumnQuality, ...]

    @staticmethod
    def of(dataset: DataFrame, schema: Schema, examples: int = 5) -> DataQuality:
        """Checks all values: one pass over the DataFrame, and one more for examples where values are invalid.

        NaN and infinity are invalid unless the schema allows them. A column of strings where the schema has a number,
        boolean, time or date is checked for whether its strings can be cast to it.

        Args:
            dataset: a DataFrame with the columns of the schema; further columns are not looked at.
            schema: what is expected.
            examples: how many different invalid values to keep for each column.

        Raises:
            ValueError: where columns are missing, or their types cannot be checked.
        """
        _check_columns(dataset, schema)
        checks = {field.name: _invalid(field, dataset.schema[field.name].dataType) for field in schema}
        figures: list[Column] = []
        for index, (name, invalid) in enumerate(checks.items()):
            figures.append(F.count_if(reference(name).isNull()).alias(f"m{index}"))
            figures.append(F.count_if(invalid).alias(f"i{index}"))
        counts = dataset.agg(F.count(F.lit(1)).alias("rows"), *figures).first()
        found = [name for index, name in enumerate(checks) if counts[f"i{index}"]]
        values = _examples(dataset, {name: checks[name] for name in found}, examples)
        columns = []
        for index, field in enumerate(schema):
            missing, invalid = counts[f"m{index}"], counts[f"i{index}"]
            valid = counts["rows"] - missing - invalid
            shown = values.get(field.name, ())
            columns.append(ColumnQuality(field.name, field.description, valid, invalid, missing, shown, field.nullable))
        return DataQuality(tuple(columns))

    @property
    def ok(self) -> bool:
        """Whether every column is as the schema says."""
        return all(column.ok for column in self.columns)

    def __getitem__(self, name: str) -> ColumnQuality:
        for column in self.columns:
            if column.name == name:
                return column
        raise KeyError(f"Unknown column. Received: {name!r}. Expected: one of {[c.name for c in self.columns]}.")

    def toPandas(self) -> Any:
        """One row for each column, as a pandas DataFrame."""
        import pandas as pd

        return pd.DataFrame([{**dataclasses.asdict(column), "ok": column.ok} for column in self.columns])

    def toJSON(self) -> str:
        """All figures as JSON: a list with one object for each column."""
        return json.dumps([{**dataclasses.asdict(column), "ok": column.ok} for column in self.columns])

    def __repr__(self) -> str:
        header = ("column", "expected", "valid", "invalid", "missing", "examples")
        rows = [
            (c.name, c.expected, str(c.valid), str(c.invalid), str(c.missing), ", ".join(c.examples))
            for c in self.columns
        ]
        widths = [max(len(row[i]) for row in [header, *rows]) for i in range(len(header))]
        lines = ["  ".join(cell.ljust(width) for cell, width in zip(row, widths)).rstrip() for row in [header, *rows]]
        return "\n".join(lines)


def _check_columns(dataset: DataFrame, schema: Schema) -> None:
    types = {field.name: field.dataType for field in dataset.schema.fields}
    problems = [f"no column {field.name!r} ({field.description})" for field in schema if field.name not in types]
    problems += [
        f"column {field.name!r} is {types[field.name].simpleString()}, not {field.sparkType.simpleString()}"
        for field in schema
        if field.name in types and not field.accepts(types[field.name]) and not _of_text(field, types[field.name])
    ]
    if problems:
        raise ValueError(
            f"The DataFrame does not agree with the schema. Received: {'; '.join(problems)}. Expected: "
            f"{schema.toDDL()}."
        )


def _of_text(field: Field, dataType: T.DataType) -> bool:
    """Whether a column holds strings that should be something simple."""
    simple = (kinds.NumberField, kinds.BooleanField, kinds.TimeField, kinds.DateField)
    return isinstance(dataType, T.StringType) and isinstance(field, simple)


def _invalid(field: Field, dataType: T.DataType) -> Column:
    value = there = reference(field.name)
    if _of_text(field, dataType):
        value = F.expr(f"try_cast({quoted(field.name)} AS {field.sparkType.simpleString()})")
        return there.isNotNull() & ~F.coalesce(field.valid(value) & value.isNotNull(), F.lit(False))
    return there.isNotNull() & ~F.coalesce(field.valid(value), F.lit(False))


def _examples(dataset: DataFrame, checks: dict[str, Column], count: int) -> dict[str, tuple[str, ...]]:
    """Some invalid values of each of these columns, in one pass."""
    if not checks:
        return {}
    texts = [
        F.when(invalid, F.struct(F.lit(index).alias("column"), _text(dataset, name).alias("value")))
        for index, (name, invalid) in enumerate(checks.items())
    ]
    different = (
        dataset.select(F.explode(F.array(*texts)).alias("bad")).where("bad IS NOT NULL").select("bad.*").distinct()
    )
    place = F.row_number().over(Window.partitionBy("column").orderBy("value"))
    found: dict[str, list[str]] = {name: [] for name in checks}
    for row in different.select("*", place.alias("place")).where(F.col("place") <= count).collect():
        found[list(checks)[row["column"]]].append(row["value"])
    return {name: tuple(sorted(values)) for name, values in found.items()}


def _text(dataset: DataFrame, name: str) -> Column:
    value = reference(name)
    return F.hex(value) if isinstance(dataset.schema[name].dataType, T.BinaryType) else value.cast("string")
