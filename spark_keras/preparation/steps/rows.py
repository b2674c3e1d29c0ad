"""Rows kept and removed, and values replaced where a condition holds."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any, ClassVar

from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F
from typing_extensions import Self

from spark_keras.preparation import fields as kinds
from spark_keras.preparation.conditions import (
    ColumnName,
    Condition,
    check_value,
    checked_condition,
    expression,
    value_of,
)
from spark_keras.preparation.expressions import operand
from spark_keras.preparation.records.values import is_missing, is_valid, stored
from spark_keras.preparation.registry import registered
from spark_keras.preparation.schema import Schema
from spark_keras.preparation.scope import reference
from spark_keras.preparation.step import AddsSteps, Step, each

_AS_IT_IS: Any = object()


class RowSteps(AddsSteps):
    """Methods of a transform process; each returns a new process."""

    def keepWhere(self, condition: Condition) -> Self:
        """Keeps the rows for which the condition holds; a row for which it is unknown, because of a null, goes."""
        return self.add(KeepWhere(checked_condition("step keepWhere", condition)))

    def removeWhere(self, condition: Condition) -> Self:
        """Removes the rows for which the condition holds; a row for which it is unknown, because of a null, stays."""
        return self.add(RemoveWhere(checked_condition("step removeWhere", condition)))

    def replaceWhere(self, column: str, value: Any, condition: Condition, otherwise: Any = _AS_IT_IS) -> Self:
        """Puts a value, or that of another column (`col("b")`), where the condition holds; None makes it missing.

        Args:
            otherwise: the value, other column or None, where the condition does not hold or is unknown because of a
                null; by default what is there stays.
        """
        condition = checked_condition("step replaceWhere", condition)
        if otherwise is _AS_IT_IS:
            return self.add(ReplaceWhere(column, operand(value), condition))
        return self.add(ReplaceByCondition(column, operand(value), operand(otherwise), condition))

    def removeMissing(self, *columns: str) -> Self:
        """Removes the rows that have null, or NaN, in one of these columns; by default, in any column."""
        return self.add(RemoveMissing(each("removeMissing", columns) if columns else ()))

    def removeInvalid(self, *columns: str) -> Self:
        """Removes the rows in which a value of these columns, by default of any column, is not as the schema says:
        out of range, no state, NaN where it is not allowed, null where the column is not nullable.

        Where a column is nullable, null is missing, not invalid; `removeMissing` removes such rows.
        """
        return self.add(RemoveInvalid(each("removeInvalid", columns) if columns else ()))


@registered("keepWhere")
class KeepWhere(Step):
    filters = True
    keeps: ClassVar[bool] = True

    condition: Condition

    def schema_after(self, schema: Schema) -> Schema:
        self.condition.check(schema, self.label)
        return schema

    def apply(self, dataset: DataFrame, schema: Schema) -> DataFrame:
        holds = self.condition.holds(schema)
        return dataset.where(holds if self.keeps else ~holds)

    def record(self, row: Mapping[str, Any], schema: Schema) -> Mapping[str, Any] | None:
        return {} if bool(self.condition.answer(row, schema)) == self.keeps else None


@registered("removeWhere")
class RemoveWhere(KeepWhere):
    keeps = False


class _Replace(Step):
    """A step that puts values, which are checked against the column, into it."""

    column: str
    condition: Condition

    def _replaced(self, schema: Schema, *values: Any) -> Schema:
        self.condition.check(schema, self.label)
        (field,) = schema.require(self.label, [self.column])
        nullable = False
        for value in values:
            if value is None:
                nullable = True
                continue
            check_value(self.label, field, value, schema)
            check_fits(self.label, field, value, schema)
            nullable |= isinstance(value, ColumnName) and schema[value.name].nullable
        return schema.replaced({self.column: dataclasses.replace(field, nullable=nullable)})

    def _value(self, schema: Schema, value: Any) -> Column:
        return (F.lit(None) if value is None else expression(value)).cast(schema[self.column].sparkType)


@registered("replaceWhere")
class ReplaceWhere(_Replace):
    column: str
    value: Any
    condition: Condition

    def schema_after(self, schema: Schema) -> Schema:
        after = self._replaced(schema, self.value)
        if not schema[self.column].nullable:
            return after
        return after.replaced({self.column: dataclasses.replace(after[self.column], nullable=True)})

    def expressions(self, schema: Schema) -> dict[str, Column]:
        value = self._value(schema, self.value)
        return {self.column: F.when(self.condition.holds(schema), value).otherwise(reference(self.column))}

    def record(self, row: Mapping[str, Any], schema: Schema) -> Mapping[str, Any]:
        holds = self.condition.answer(row, schema)
        return {self.column: stored(schema[self.column], value_of(self.value, row)) if holds else row[self.column]}


@registered("replaceWhereElse")
class ReplaceByCondition(_Replace):
    column: str
    value: Any
    otherwise: Any
    condition: Condition

    label = "step replaceWhere"

    def schema_after(self, schema: Schema) -> Schema:
        return self._replaced(schema, self.value, self.otherwise)

    def expressions(self, schema: Schema) -> dict[str, Column]:
        yes, no = self._value(schema, self.value), self._value(schema, self.otherwise)
        return {self.column: F.when(self.condition.holds(schema), yes).otherwise(no)}

    def __str__(self) -> str:
        value, otherwise = (str(v) if isinstance(v, ColumnName) else repr(v) for v in (self.value, self.otherwise))
        return f"replaceWhere({self.column!r}, {value}, {self.condition}, otherwise={otherwise})"

    def record(self, row: Mapping[str, Any], schema: Schema) -> Mapping[str, Any]:
        value = self.value if self.condition.answer(row, schema) else self.otherwise
        return {self.column: stored(schema[self.column], value_of(value, row))}


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
        expected = f"{field.description}; cast the column first where it shall hold such numbers"
        raise kinds.wrong_value(step, field.name, received, expected)


@registered("removeMissing")
class RemoveMissing(Step):
    filters = True
    each_alone = "columns"

    columns: tuple[str, ...]

    def schema_after(self, schema: Schema) -> Schema:
        fields = self._fields(schema)
        return schema.replaced({field.name: dataclasses.replace(field, nullable=False) for field in fields})

    def _fields(self, schema: Schema) -> list[kinds.Field]:
        """Those of the columns; without any, all of the schema's."""
        return schema.require(self.label, self.columns or schema.known)

    def apply(self, dataset: DataFrame, schema: Schema) -> DataFrame:
        return dataset.where(kinds.all_of([self._fits(field) for field in self._fields(schema)]))

    def record(self, row: Mapping[str, Any], schema: Schema) -> Mapping[str, Any] | None:
        fits = all(self._value_fits(field, row[field.name]) for field in self._fields(schema))
        return {} if fits else None

    def _fits(self, field: kinds.Field) -> Column:
        return ~missing(field)

    def _value_fits(self, field: kinds.Field, value: Any) -> bool:
        return not is_missing(value)


@registered("removeInvalid")
class RemoveInvalid(RemoveMissing):
    def schema_after(self, schema: Schema) -> Schema:
        self._fields(schema)
        return schema

    def _fits(self, field: kinds.Field) -> Column:
        valid = F.coalesce(field.valid(), F.lit(False))
        return F.when(reference(field.name).isNull(), F.lit(field.nullable)).otherwise(valid)

    def _value_fits(self, field: kinds.Field, value: Any) -> bool:
        return field.nullable if value is None else is_valid(field, value)


def missing(field: Any) -> Column:
    """Tells whether a value is null, or NaN where the column can hold NaN."""
    value = reference(field.name)
    if getattr(field, "whole", True):
        return value.isNull()
    return value.isNull() | F.isnan(value)
