"""Conditions on the length of a value: `col("delay").length() >= 10`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pyspark.sql import Column
from pyspark.sql import functions as F

from spark_keras.preparation import fields as kinds
from spark_keras.preparation.array_fields import ArrayField, SequenceField
from spark_keras.preparation.conditions import OPERATORS, Condition, any_true, compared
from spark_keras.preparation.registry import registered
from spark_keras.preparation.schema import Schema
from spark_keras.preparation.scope import reference

_ARRAYS = (SequenceField, ArrayField)
_TEXTS = (kinds.StringField, kinds.CategoricalField, kinds.BinaryField)


@registered("compareLength")
class CompareLength(Condition):
    """The length of a column's value compared with a whole number, or with one of several by "in"."""

    name: str
    operator: str
    value: Any

    def check(self, schema: Schema, step: str) -> None:
        schema.require(step, [self.name], *_ARRAYS, *_TEXTS, expected="a sequence, array, string or binary")
        known = [*OPERATORS, "in"]
        if self.operator not in known:
            raise ValueError(f"Unknown comparison in {step}. Received: {self.operator!r}. Expected: {known}.")
        values = self.value if isinstance(self.value, tuple) else (self.value,)
        if not values or not all(isinstance(n, int) and not isinstance(n, bool) for n in values):
            raise ValueError(
                f"Invalid length of column {self.name!r} in {step}. Received: {self.value!r}. Expected: a whole number."
            )

    def column(self, schema: Schema) -> Column:
        value = reference(self.name)
        # The size of a missing array is -1 in some sessions, null in others.
        size = F.when(value.isNotNull(), F.size(value))
        length = size if isinstance(schema[self.name], _ARRAYS) else F.length(value)
        if self.operator == "in":
            return length.isin(list(self.value))
        return OPERATORS[self.operator](length, F.lit(self.value))

    def __str__(self) -> str:
        if self.operator == "in":
            return f"col({self.name!r}).length().isIn({', '.join(map(str, self.value))})"
        return f"col({self.name!r}).length() {self.operator} {self.value}"

    def answer(self, row: Mapping[str, Any], schema: Schema) -> bool | None:
        length = None if row[self.name] is None else len(row[self.name])
        if self.operator == "in":
            return any_true([compared("==", length, value) for value in self.value])
        return compared(self.operator, length, self.value)


class Compared:
    """What is compared with values by Python's operators, to conditions."""

    # So it is no key of a dict.
    __hash__ = None  # type: ignore[assignment]  # Python's own way to say so

    def _compare(self, operator: str, other: Any) -> Condition:
        raise NotImplementedError

    def __eq__(self, other: Any) -> Condition:  # type: ignore[override]  # as in Spark's Column
        return self._compare("==", other)

    def __ne__(self, other: Any) -> Condition:  # type: ignore[override]  # as in Spark's Column
        return self._compare("!=", other)

    def __lt__(self, other: Any) -> Condition:
        return self._compare("<", other)

    def __le__(self, other: Any) -> Condition:
        return self._compare("<=", other)

    def __gt__(self, other: Any) -> Condition:
        return self._compare(">", other)

    def __ge__(self, other: Any) -> Condition:
        return self._compare(">=", other)

    def between(self, low: Any, high: Any) -> Condition:
        """low ≤ value ≤ high."""
        return (self >= low) & (self <= high)


class LengthExpression(Compared):
    """The length of a column's value; the methods make conditions, which are unknown where the value is null."""

    def __init__(self, name: str):
        self.name = name

    def __repr__(self) -> str:
        return f"col({self.name!r}).length()"

    def _compare(self, operator: str, other: Any) -> Condition:
        return CompareLength(self.name, operator, other)

    def isIn(self, *lengths: int) -> Condition:
        """The length is one of these."""
        return CompareLength(self.name, "in", tuple(lengths))
