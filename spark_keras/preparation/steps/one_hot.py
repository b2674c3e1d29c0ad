"""Whole numbers as one-hot columns."""

from __future__ import annotations

from pyspark.sql import Column
from pyspark.sql import functions as F
from typing_extensions import Self

from spark_keras.preparation import fields as kinds
from spark_keras.preparation.array_fields import ArrayField
from spark_keras.preparation.fields import Field
from spark_keras.preparation.registry import registered
from spark_keras.preparation.schema import Schema
from spark_keras.preparation.scope import reference
from spark_keras.preparation.step import Step, by_rule, choose
from spark_keras.preparation.steps.adding import AddsSteps
from spark_keras.preparation.steps.categories import one_hot_names


class OneHotSteps(AddsSteps):
    """Methods of a transform process; each returns a new process. A null stays null."""

    def integerToOneHot(
        self,
        column: str,
        minimum: int | None = None,
        maximum: int | None = None,
        unseen: str = "error",
        asArray: bool = False,
    ) -> Self:
        """Replaces whole numbers by one column for each from `minimum` to `maximum`, `column[0]`, `column[1]` …, that
        holds 1 or 0.

        Args:
            minimum: default what the schema has for the column.
            maximum: likewise.
            unseen: what happens to a number outside: "error" (default), "null", or "keep": 0 in all columns.
            asArray: one column with an array of floats instead of several columns.
        """
        choose("integerToOneHot", "rule `unseen`", unseen, ("error", "null", "keep"))
        return self.add(IntegerToOneHot(column, minimum, maximum, unseen, bool(asArray)))


@registered("integerToOneHot")
class IntegerToOneHot(Step):
    column: str
    minimum: int | None = None
    maximum: int | None = None
    unseen: str = "error"
    asArray: bool = False

    def _range(self, schema: Schema) -> range:
        types = (kinds.IntegerField, kinds.LongField)
        (field,) = schema.require(self.label, [self.column], *types, expected="integer or long")
        least = field.minimum if self.minimum is None else self.minimum
        most = field.maximum if self.maximum is None else self.maximum
        whole = not isinstance(least, bool) and not isinstance(most, bool)
        if whole and isinstance(least, int) and isinstance(most, int) and least <= most:
            return range(least, most + 1)
        raise ValueError(
            f"Invalid range in {self.label}. Received: minimum={least}, maximum={most} of column {self.column!r}. "
            "Expected: whole numbers, minimum ≤ maximum, here or in the schema."
        )

    def schema_after(self, schema: Schema) -> Schema:
        numbers, nullable = self._range(schema), schema[self.column].nullable or self.unseen == "null"
        if self.asArray:
            made: Field = ArrayField(self.column, "float", (len(numbers),), nullable=nullable)
            return schema.replaced({self.column: made})
        names = one_hot_names(self.column, [str(number) for number in numbers])
        schema.require_new(self.label, names)
        columns = [kinds.IntegerField(name, minimum=0, maximum=1, nullable=nullable) for name in names]
        return schema.inserted(self.column, columns).without([self.column])

    def _inside(self, schema: Schema) -> Column:
        numbers = self._range(schema)
        return reference(self.column).between(numbers[0], numbers[-1])

    def expressions(self, schema: Schema) -> dict[str, Column]:
        numbers, value = self._range(schema), reference(self.column)
        if self.unseen != "keep":
            expected = f"{numbers[0]} to {numbers[-1]}"
            value = by_rule(self.unseen, self.label, self.column, value, F.when(self._inside(schema), value), expected)
        if self.asArray:
            made = F.array(*[(value == number).cast("float") for number in numbers])
            return {self.column: F.when(value.isNotNull(), made)}
        names = one_hot_names(self.column, [str(number) for number in numbers])
        return {name: (value == number).cast("int") for name, number in zip(names, numbers)}

    def unusable(self, schema: Schema) -> dict[str, Column]:
        return {self.column: ~self._inside(schema)}
