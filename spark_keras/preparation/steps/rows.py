"""Which rows stay, and values replaced where a condition holds."""

from __future__ import annotations

import dataclasses
from typing import Any

from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F

from spark_keras.columns import reference
from spark_keras.preparation.conditions import ColumnName, Condition, check_value, checked_condition, expression
from spark_keras.preparation.expressions import operand
from spark_keras.preparation.registry import registered
from spark_keras.preparation.schema import Schema
from spark_keras.preparation.step import Step, each


class RowSteps:
    """Methods of a transform process; each returns a new process."""

    def add(self, step: Step) -> Any:
        raise NotImplementedError

    def keepWhere(self, condition: Condition) -> Any:
        """Keeps the rows for which the condition holds; a row for which it is unknown, because of a null, goes."""
        return self.add(KeepWhere(checked_condition("step keepWhere", condition)))

    def removeWhere(self, condition: Condition) -> Any:
        """Removes the rows for which the condition holds; a row for which it is unknown, because of a null, stays."""
        return self.add(RemoveWhere(checked_condition("step removeWhere", condition)))

    def replaceWhere(self, column: str, value: Any, condition: Condition) -> Any:
        """Puts a value, or that of another column (`col("b")`), where the condition holds; None makes it missing."""
        return self.add(ReplaceWhere(column, operand(value), checked_condition("step replaceWhere", condition)))

    def removeMissing(self, *columns: str) -> Any:
        """Removes the rows that have null, or NaN, in one of these columns."""
        return self.add(RemoveMissing(each("removeMissing", columns)))


@registered("keepWhere")
@dataclasses.dataclass(frozen=True)
class KeepWhere(Step):
    condition: Condition

    def schema_after(self, schema: Schema) -> Schema:
        self.condition.check(schema, self.label)
        return schema

    def apply(self, dataset: DataFrame, schema: Schema) -> DataFrame:
        return dataset.where(self.condition.holds(schema))


@registered("removeWhere")
@dataclasses.dataclass(frozen=True)
class RemoveWhere(KeepWhere):
    def apply(self, dataset: DataFrame, schema: Schema) -> DataFrame:
        return dataset.where(~self.condition.holds(schema))


@registered("replaceWhere")
@dataclasses.dataclass(frozen=True)
class ReplaceWhere(Step):
    column: str
    value: Any
    condition: Condition

    def schema_after(self, schema: Schema) -> Schema:
        self.condition.check(schema, self.label)
        (field,) = schema.require(self.label, [self.column])
        nullable = field.nullable or self.value is None
        if isinstance(self.value, ColumnName):
            nullable |= schema[self.value.name].nullable if self.value.name in schema else False
        if self.value is not None:
            check_value(self.label, field, self.value, schema)
            check_fits(self.label, field, self.value, schema)
        return schema.replaced({self.column: dataclasses.replace(field, nullable=nullable)})

    def expressions(self, schema: Schema) -> dict[str, Column]:
        value = F.lit(None) if self.value is None else expression(self.value)
        value = value.cast(schema[self.column].sparkType)
        return {self.column: F.when(self.condition.holds(schema), value).otherwise(reference(self.column))}


def check_fits(step: str, field: Any, value: Any, schema: Schema) -> None:
    """Raises a `ValueError` where a number would lose something in the column's type."""
    fractions = not getattr(field, "whole", False)
    wider = {"integer": 0, "long": 1, "float": 2, "double": 3}
    if isinstance(value, ColumnName):
        other = schema[value.name]
        fits = wider.get(other.kind, 0) <= wider.get(field.kind, 3)
        received = other.description
    else:
        limits = {"integer": 2**31, "long": 2**63}
        fits = fractions or (isinstance(value, int) and -limits[field.kind] <= value < limits[field.kind])
        received = repr(value)
    if not fits:
        raise ValueError(
            f"Value does not fit column {field.name!r} in {step}. Received: {received}. "
            f"Expected: {field.description}; cast the column first where it shall hold such numbers."
        )


@registered("removeMissing")
@dataclasses.dataclass(frozen=True)
class RemoveMissing(Step):
    columns: tuple[str, ...]

    def schema_after(self, schema: Schema) -> Schema:
        schema.require(self.label, self.columns)
        return schema.replaced({name: dataclasses.replace(schema[name], nullable=False) for name in self.columns})

    def apply(self, dataset: DataFrame, schema: Schema) -> DataFrame:
        complete = F.lit(True)
        for name in self.columns:
            complete = complete & ~missing(schema[name])
        return dataset.where(complete)


def missing(field: Any) -> Column:
    """Whether a value is null, or NaN where the column can hold NaN."""
    value = reference(field.name)
    if getattr(field, "whole", True):
        return value.isNull()
    return value.isNull() | F.isnan(value)
