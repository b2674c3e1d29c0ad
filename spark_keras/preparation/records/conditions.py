"""Conditions asked of one record: True, False, or None where the answer is unknown."""

from __future__ import annotations

import functools
import math
import operator
from collections.abc import Mapping
from typing import Any

from spark_keras.preparation import conditions as c
from spark_keras.preparation import fields as kinds
from spark_keras.preparation.lengths import CompareLength
from spark_keras.preparation.records.values import as_float, is_valid, order, printed, python_pattern
from spark_keras.preparation.schema import Schema
from spark_keras.preparation.sql_text import fits_float

_COMPARE = {
    "==": operator.eq,
    "!=": operator.ne,
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
}


@functools.singledispatch
def answer(condition: Any, row: Mapping[str, Any], schema: Schema) -> bool | None:
    """Whether a record fulfils a condition."""
    raise NotImplementedError(f"Condition has no form for one record. Received: {condition}. Expected: Spark.")


def value_of(value: Any, row: Mapping[str, Any], field: Any = None) -> Any:
    """A value of a step, or that of another column of the record."""
    if isinstance(value, c.ColumnName):
        return row[value.name]
    number = isinstance(value, (int, float)) and not isinstance(value, bool)
    return as_float(value) if number and isinstance(field, kinds.FloatField) and fits_float(value) else value


def compared(sign: str, left: Any, right: Any) -> bool | None:
    return None if left is None or right is None else _COMPARE[sign](order(left), order(right))


@answer.register
def _(condition: c.Compare, row: Mapping[str, Any], schema: Schema) -> bool | None:
    other = value_of(condition.value, row, schema[condition.name])
    return compared(condition.operator, row[condition.name], other)


@answer.register
def _(condition: c.IsIn, row: Mapping[str, Any], schema: Schema) -> bool | None:
    field = schema[condition.name]
    return _any([compared("==", row[condition.name], value_of(value, row, field)) for value in condition.values])


@answer.register
def _(condition: c.Matches, row: Mapping[str, Any], schema: Schema) -> bool | None:
    value, single = row[condition.name], isinstance(schema[condition.name], kinds.FloatField)
    return None if value is None else python_pattern(condition.pattern).fullmatch(printed(value, single)) is not None


@answer.register
def _(condition: c.IsNull, row: Mapping[str, Any], _schema: Schema) -> bool | None:
    return row[condition.name] is None


@answer.register
def _(condition: c.IsNaN, row: Mapping[str, Any], _schema: Schema) -> bool | None:
    # Of null, Spark's isnan is false.
    return row[condition.name] is not None and math.isnan(row[condition.name])


@answer.register
def _(condition: c.IsInfinite, row: Mapping[str, Any], _schema: Schema) -> bool | None:
    return None if row[condition.name] is None else math.isinf(row[condition.name])


@answer.register
def _(condition: c.IsInvalid, row: Mapping[str, Any], schema: Schema) -> bool | None:
    value = row[condition.name]
    return value is not None and not is_valid(schema[condition.name], value)


@answer.register
def _(condition: CompareLength, row: Mapping[str, Any], _schema: Schema) -> bool | None:
    length = None if row[condition.name] is None else len(row[condition.name])
    if condition.operator == "in":
        return _any([compared("==", length, value) for value in condition.value])
    return compared(condition.operator, length, condition.value)


@answer.register
def _(condition: c.Both, row: Mapping[str, Any], schema: Schema) -> bool | None:
    left, right = answer(condition.left, row, schema), answer(condition.right, row, schema)
    return False if False in (left, right) else (None if None in (left, right) else True)


@answer.register
def _(condition: c.Either, row: Mapping[str, Any], schema: Schema) -> bool | None:
    return _any([answer(condition.left, row, schema), answer(condition.right, row, schema)])


@answer.register
def _(condition: c.OneOfTwo, row: Mapping[str, Any], schema: Schema) -> bool | None:
    left, right = answer(condition.left, row, schema), answer(condition.right, row, schema)
    return None if None in (left, right) else left != right


@answer.register
def _(condition: c.Not, row: Mapping[str, Any], schema: Schema) -> bool | None:
    inner = answer(condition.condition, row, schema)
    return None if inner is None else not inner


def _any(answers: list[bool | None]) -> bool | None:
    return True if True in answers else (None if None in answers else False)
