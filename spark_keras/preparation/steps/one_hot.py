"""Categories and whole numbers as one-hot columns, and back."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from pyspark.sql import Column
from pyspark.sql import functions as F
from typing_extensions import Self

from spark_keras.preparation import fields as kinds
from spark_keras.preparation.array_fields import ArrayField
from spark_keras.preparation.registry import choice, registered
from spark_keras.preparation.schema import Schema
from spark_keras.preparation.scope import reference
from spark_keras.preparation.step import AddsSteps, RuledStep, Step, each
from spark_keras.preparation.steps.categories import (
    RULES,
    RULES_WITH_KEEP,
    OfStates,
    one_hot_names,
    state_by_rule,
)


class OneHotSteps(AddsSteps):
    """Methods of a transform process; each returns a new process. A null stays null."""

    def categoricalToOneHot(self, *columns: str, unseen: str = "error", asArray: bool = False) -> Self:
        """Replaces a column by one for each state, `country[USA]`, `country[CAN]` …, that holds 1 or 0.

        Args:
            unseen: what happens to a string that is no state: "error" (default), "null", or "keep": 0 in all columns.
            asArray: one column with an array of floats, as long as there are states, instead of several columns.
        """
        return self.add(CategoricalToOneHot(each("categoricalToOneHot", columns), unseen, asArray))

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
        return self.add(IntegerToOneHot(column, minimum, maximum, unseen, bool(asArray)))

    def oneHotToCategorical(self, column: str, states: Sequence[str], unseen: str = "error") -> Self:
        """The inverse of categoricalToOneHot: of the columns `column[state]`, or of the array `column`.

        Args:
            unseen: what happens to a row that is not 1 for one state and 0 for all others: "error" (default), or
                "null".
        """
        kinds.checked_states(column, states)
        return self.add(OneHotToCategorical(column, tuple(states), unseen))


def one_hot_schema(step: Any, schema: Schema, field: kinds.Field, states: Sequence[str]) -> Schema:
    """The schema with a column replaced by one for each state, or by one array of them, as the step wants it."""
    column, nullable = field.name, step.may_be_null(field)
    if step.asArray:
        return schema.replaced({column: ArrayField(column, "float", (len(states),), nullable=nullable)})
    names = one_hot_names(column, states)
    schema.require_new(step.label, names)
    made = [kinds.IntegerField(name, minimum=0, maximum=1, nullable=nullable) for name in names]
    return schema.inserted(column, made).without([column])


def one_hot(step: Any, column: str, states: Sequence[str], source: Column, ones: Sequence[Column]) -> dict[str, Column]:
    """The new columns: whether each state is meant, of a source that is null where that is unknown."""
    if step.asArray:
        return {column: F.when(source.isNotNull(), F.array(*[one.cast("float") for one in ones]))}
    return {name: one.cast("int") for name, one in zip(one_hot_names(column, states), ones)}


@registered("categoricalToOneHot")
class CategoricalToOneHot(OfStates):
    each_alone = "columns"

    columns: tuple[str, ...]
    unseen: str = choice(RULES_WITH_KEEP, "rule `unseen`", default="error")
    asArray: bool = False

    def schema_after(self, schema: Schema) -> Schema:
        for field in self.categorical(schema):
            schema = one_hot_schema(self, schema, field, field.states)
        return schema

    def expressions(self, schema: Schema) -> dict[str, Column]:
        made: dict[str, Column] = {}
        for field in self.categorical(schema):
            number = self.number(field, -1)
            ones = [number == position for position in range(len(field.states))]
            made.update(one_hot(self, field.name, field.states, number, ones))
        return made

    def record(self, row: Mapping[str, Any], schema: Schema) -> Mapping[str, Any]:
        made: dict[str, Any] = {}
        for field in self.categorical(schema):
            value = row[field.name]
            state = state_by_rule(self, field.name, value, field.states)
            known = state is not None or (self.unseen == "keep" and value is not None)
            if self.asArray:
                made[field.name] = [float(other == state) for other in field.states] if known else None
            else:
                ones = [int(other == state) if known else None for other in field.states]
                made.update(zip(one_hot_names(field.name, field.states), ones))
        return made


@registered("integerToOneHot")
class IntegerToOneHot(Step):
    column: str
    minimum: int | None = None
    maximum: int | None = None
    unseen: str = choice(RULES_WITH_KEEP, "rule `unseen`", default="error")
    asArray: bool = False

    def _range(self, schema: Schema) -> range:
        (field,) = schema.require(self.label, [self.column], kinds.IntegerField, kinds.LongField)
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
        return one_hot_schema(self, schema, schema[self.column], list(map(str, self._range(schema))))

    def _inside(self, schema: Schema) -> Column:
        numbers = self._range(schema)
        return reference(self.column).between(numbers[0], numbers[-1])

    def expressions(self, schema: Schema) -> dict[str, Column]:
        numbers, value = self._range(schema), reference(self.column)
        if self.unseen != "keep":
            expected = f"{numbers[0]} to {numbers[-1]}"
            value = self.by_rule(self.column, value, F.when(self._inside(schema), value), expected)
        ones = [value == number for number in numbers]
        return one_hot(self, self.column, list(map(str, numbers)), value, ones)

    def unusable(self, schema: Schema) -> dict[str, Column]:
        return {self.column: ~self._inside(schema)}


@registered("oneHotToCategorical")
class OneHotToCategorical(RuledStep):
    column: str
    states: tuple[str, ...]
    unseen: str = choice(RULES, "rule `unseen`", default="error")

    def schema_after(self, schema: Schema) -> Schema:
        made = kinds.CategoricalField(self.column, self.states)
        if self.column in schema:
            (field,) = schema.require(self.label, [self.column], ArrayField)
            if field.shape not in ((len(self.states),), (None,)) or not isinstance(
                field.elementField, kinds.NumberField
            ):
                expected = f"an array of {len(self.states)} numbers, one for each state"
                raise kinds.unfit(self.label, field, expected)
            return schema.replaced({self.column: made})
        names = one_hot_names(self.column, self.states)
        schema.require(self.label, names, kinds.NumberField, expected="a number")
        return schema.inserted(names[-1], [made]).without(names)

    def expected(self, column: str) -> str:
        return f"1 for one of the states {list(self.states)} and 0 for all others"

    def shown(self, schema: Schema, column: str) -> Column:
        if self.column in schema:
            return reference(self.column)
        names = one_hot_names(self.column, self.states)
        complete = kinds.all_of([reference(name).isNotNull() for name in names])
        return F.when(complete, F.array(*[reference(name).cast("double") for name in names]))

    def results(self, schema: Schema) -> dict[str, Column]:
        array = self.shown(schema, self.column)
        position = F.call_function("array_position", array.cast("array<double>"), F.lit(1.0)).cast("int")
        zeros = F.size(F.filter(array, lambda x: x == 0))
        one_hot = (position > 0) & (zeros == len(self.states) - 1) & (F.size(array) == len(self.states))
        states = F.array(*[F.lit(state) for state in self.states])
        return {self.column: F.when(one_hot, F.try_element_at(states, position))}

    def record(self, row: Mapping[str, Any], schema: Schema) -> Mapping[str, Any]:
        if self.column in schema:
            ones = row[self.column]
        else:
            ones = [row[name] for name in one_hot_names(self.column, self.states)]
            ones = None if None in ones else ones
        right = ones is not None and len(ones) == len(self.states) and [one for one in ones if one != 0] == [1]
        state = self.states[list(ones).index(1)] if right else None
        return {self.column: self.value_by_rule(self.column, ones, state, self.expected(self.column))}
