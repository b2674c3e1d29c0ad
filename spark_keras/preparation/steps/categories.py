"""Categories as strings, integers and one-hot; pivot; first digit."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

from pyspark.sql import Column
from pyspark.sql import functions as F
from typing_extensions import Self

from spark_keras.preparation import fields as kinds
from spark_keras.preparation.array_fields import ArrayField
from spark_keras.preparation.conditions import check_value
from spark_keras.preparation.fields import Field, checked_states
from spark_keras.preparation.registry import registered
from spark_keras.preparation.schema import Schema
from spark_keras.preparation.scope import reference, try_cast
from spark_keras.preparation.step import Step, by_rule, choose, each
from spark_keras.preparation.steps.adding import AddsSteps

_RULES = ("error", "null")
_RULES_WITH_KEEP = ("error", "null", "keep")


class CategorySteps(AddsSteps):
    """Methods of a transform process; each returns a new process. A null stays null."""

    def toCategorical(self, column: str, states: Sequence[str], unseen: str = "error") -> Self:
        """Makes a string column categorical.

        Args:
            states: its strings, in the order of their numbers.
            unseen: what happens to a string that is not among them: "error" (default), or "null".
        """
        checked_states(column, states)
        return self.add(ToCategorical(column, tuple(states), choose("toCategorical", "rule `unseen`", unseen, _RULES)))

    def categoricalToInteger(self, *columns: str, unseen: str = "error") -> Self:
        """Replaces states by their numbers, from 0 in the order of the states.

        Args:
            unseen: what happens to a string that is no state: "error" (default), "null", or "keep": the number behind
                the last state's, as with pyspark.ml.feature.StringIndexer.

        The new columns carry ML attributes with the states, so that a classifier knows its labels' names.
        """
        names = each("categoricalToInteger", columns)
        choose("categoricalToInteger", "rule `unseen`", unseen, _RULES_WITH_KEEP)
        return self.add(CategoricalToInteger(names, unseen))

    def categoricalToOneHot(self, *columns: str, unseen: str = "error", asArray: bool = False) -> Self:
        """Replaces a column by one for each state, `country[USA]`, `country[CAN]` …, that holds 1 or 0.

        Args:
            unseen: what happens to a string that is no state: "error" (default), "null", or "keep": 0 in all columns.
            asArray: one column with an array of floats, as long as there are states, instead of several columns.
        """
        names = each("categoricalToOneHot", columns)
        choose("categoricalToOneHot", "rule `unseen`", unseen, _RULES_WITH_KEEP)
        return self.add(CategoricalToOneHot(names, unseen, asArray))

    def integerToCategorical(self, column: str, states: Sequence[str], unseen: str = "error") -> Self:
        """Replaces numbers by states: 0 by the first one. `unseen` is "error" (default) or "null"."""
        checked_states(column, states)
        choose("integerToCategorical", "rule `unseen`", unseen, _RULES)
        return self.add(IntegerToCategorical(column, tuple(states), unseen))

    def oneHotToCategorical(self, column: str, states: Sequence[str], unseen: str = "error") -> Self:
        """The inverse of categoricalToOneHot: of the columns `column[state]`, or of the array `column`.

        Args:
            unseen: what happens to a row that is not 1 for one state and 0 for all others: "error" (default), or
                "null".
        """
        checked_states(column, states)
        choose("oneHotToCategorical", "rule `unseen`", unseen, _RULES)
        return self.add(OneHotToCategorical(column, tuple(states), unseen))

    def pivot(self, key: str, value: str, default: Any = 0, unseen: str = "error") -> Self:
        """Replaces a categorical column `key` and a column `value` by one column for each state, `key[state]`.

        In each row the column of the row's state holds the value, the others hold `default` (None: null). Followed by
        `groupBy(…).agg(…)` it makes a table with one row for each group and one column for each state.

        Args:
            unseen: what happens to a row whose key is no state: "error" (default), or "keep": `default` in all
                columns, as where the key is null.
        """
        return self.add(Pivot(key, value, default, choose("pivot", "rule `unseen`", unseen, ("error", "keep"))))

    def firstDigit(self, column: str, output: str, invalid: str = "error") -> Self:
        """Adds a categorical column with the first digit of a number that is not 0, or of 0; of a string, the first
        character.

        Args:
            invalid: what happens to NaN, infinity, and a string that starts with no digit: "error" (default), "null",
                or "other": an eleventh state of this name.
        """
        choose("firstDigit", "rule `invalid`", invalid, ("error", "null", "other"))
        return self.add(FirstDigit(column, output, invalid))


def one_hot_names(column: str, states: Sequence[str]) -> list[str]:
    return [f"{column}[{state}]" for state in states]


def number_of_state(value: Column, states: Sequence[str]) -> Column:
    """The number of a state, from 0; null for a string that is none."""
    position = F.call_function("array_position", F.array(*[F.lit(state) for state in states]), value).cast("int")
    return F.when(position > 0, position - 1)


def is_unseen(field: kinds.CategoricalField) -> Column:
    value = reference(field.name)
    return value.isNotNull() & ~value.isin(list(field.states))


@registered("toCategorical")
class ToCategorical(Step):
    column: str
    states: tuple[str, ...]
    unseen: str = "error"

    def schema_after(self, schema: Schema) -> Schema:
        (field,) = schema.require(self.label, [self.column], kinds.StringField, kinds.CategoricalField)
        nullable = field.nullable or self.unseen == "null"
        return schema.replaced({self.column: kinds.CategoricalField(self.column, self.states, nullable=nullable)})

    def expressions(self, schema: Schema) -> dict[str, Column]:
        value = reference(self.column)
        known = F.when(value.isin(list(self.states)), value)
        expected = f"one of the states {list(self.states)}"
        return {self.column: by_rule(self.unseen, self.label, self.column, value, known, expected)}

    def unusable(self, schema: Schema) -> dict[str, Column]:
        return {self.column: is_unseen(kinds.CategoricalField(self.column, self.states))}


class _OfStates(Step):
    """A step that reads categorical columns and has a rule for strings that are no states."""

    columns: tuple[str, ...]
    unseen: str

    def _categorical(self, schema: Schema) -> list[kinds.CategoricalField]:
        expected = "categorical; toCategorical makes it so"
        return schema.require(self.label, self.columns, kinds.CategoricalField, expected=expected)

    def _checked(self, field: Any, result: Column) -> Column:
        """The result, which is null where the string is no state, by the rule."""
        source, expected = reference(field.name), f"one of the states {list(field.states)}"
        return by_rule(
            "null" if self.unseen == "keep" else self.unseen, self.label, field.name, source, result, expected
        )

    def unusable(self, schema: Schema) -> dict[str, Column]:
        return {name: is_unseen(schema.field(name, kinds.CategoricalField)) for name in self.columns}


@registered("categoricalToInteger")
class CategoricalToInteger(_OfStates):
    each_alone = "columns"

    columns: tuple[str, ...]
    unseen: str = "error"

    def schema_after(self, schema: Schema) -> Schema:
        changed = {}
        for field in self._categorical(schema):
            last = len(field.states) - (self.unseen != "keep")
            nullable = field.nullable or self.unseen == "null"
            changed[field.name] = kinds.IntegerField(field.name, minimum=0, maximum=last, nullable=nullable)
        return schema.replaced(changed)

    def expressions(self, schema: Schema) -> dict[str, Column]:
        made = {}
        for field in self._categorical(schema):
            number = self._checked(field, number_of_state(reference(field.name), field.states))
            if self.unseen == "keep":
                number = F.when(is_unseen(field), F.lit(len(field.states))).otherwise(number)
            made[field.name] = number
        return made

    def metadata(self, schema: Schema) -> dict[str, dict[str, Any]]:
        extra = ["__unknown"] if self.unseen == "keep" else []
        return {
            field.name: {"ml_attr": {"type": "nominal", "name": field.name, "vals": [*field.states, *extra]}}
            for field in self._categorical(schema)
        }


@registered("categoricalToOneHot")
class CategoricalToOneHot(_OfStates):
    each_alone = "columns"

    columns: tuple[str, ...]
    unseen: str = "error"
    asArray: bool = False

    def schema_after(self, schema: Schema) -> Schema:
        for field in self._categorical(schema):
            nullable = field.nullable or self.unseen == "null"
            if self.asArray:
                made: list[Field] = [ArrayField(field.name, "float", (len(field.states),), nullable=nullable)]
                schema = schema.replaced({field.name: made[0]})
                continue
            names = one_hot_names(field.name, field.states)
            schema.require_new(self.label, names)
            made = [kinds.IntegerField(name, minimum=0, maximum=1, nullable=nullable) for name in names]
            schema = schema.inserted(field.name, made).without([field.name])
        return schema

    def expressions(self, schema: Schema) -> dict[str, Column]:
        made = {}
        for field in self._categorical(schema):
            number = self._checked(field, number_of_state(reference(field.name), field.states))
            if self.unseen == "keep":
                number = F.when(is_unseen(field), F.lit(-1)).otherwise(number)
            ones = [(number == position).cast("int") for position in range(len(field.states))]
            if self.asArray:
                made[field.name] = F.when(number.isNotNull(), F.array(*ones))
            else:
                made.update(zip(one_hot_names(field.name, field.states), ones))
        return made


@registered("integerToCategorical")
class IntegerToCategorical(Step):
    column: str
    states: tuple[str, ...]
    unseen: str = "error"

    def schema_after(self, schema: Schema) -> Schema:
        types = (kinds.IntegerField, kinds.LongField)
        (field,) = schema.require(self.label, [self.column], *types, expected="integer or long")
        nullable = field.nullable or self.unseen == "null"
        return schema.replaced({self.column: kinds.CategoricalField(self.column, self.states, nullable=nullable)})

    def _state(self) -> Column:
        numbered = F.create_map(*[F.lit(part) for pair in enumerate(self.states) for part in pair])
        return F.try_element_at(numbered, try_cast(reference(self.column), "int"))

    def expressions(self, schema: Schema) -> dict[str, Column]:
        expected = f"0 to {len(self.states) - 1}"
        return {
            self.column: by_rule(self.unseen, self.label, self.column, reference(self.column), self._state(), expected)
        }

    def unusable(self, schema: Schema) -> dict[str, Column]:
        return {self.column: reference(self.column).isNotNull() & self._state().isNull()}


@registered("oneHotToCategorical")
class OneHotToCategorical(Step):
    column: str
    states: tuple[str, ...]
    unseen: str = "error"

    def schema_after(self, schema: Schema) -> Schema:
        made = kinds.CategoricalField(self.column, self.states)
        if self.column in schema:
            (field,) = schema.require(self.label, [self.column], ArrayField)
            if field.shape not in ((len(self.states),), (None,)) or not isinstance(
                field.elementField, kinds.NumberField
            ):
                raise ValueError(
                    f"Column {self.column!r} does not fit {self.label}. Received: {field.description}. "
                    f"Expected: an array of {len(self.states)} numbers, one for each state."
                )
            return schema.replaced({self.column: made})
        names = one_hot_names(self.column, self.states)
        schema.require(self.label, names, kinds.NumberField, expected="a number")
        return schema.inserted(names[-1], [made]).without(names)

    def _array(self, schema: Schema) -> Column:
        if self.column in schema:
            return reference(self.column)
        names = one_hot_names(self.column, self.states)
        complete = F.lit(True)
        for name in names:
            complete = complete & reference(name).isNotNull()
        return F.when(complete, F.array(*[reference(name).cast("double") for name in names]))

    def _state(self, schema: Schema) -> Column:
        array = self._array(schema)
        position = F.call_function("array_position", array.cast("array<double>"), F.lit(1.0)).cast("int")
        zeros = F.size(F.filter(array, lambda x: x == 0))
        one_hot = (position > 0) & (zeros == len(self.states) - 1) & (F.size(array) == len(self.states))
        return F.when(one_hot, F.try_element_at(F.array(*[F.lit(state) for state in self.states]), position))

    def expressions(self, schema: Schema) -> dict[str, Column]:
        expected = f"1 for one of the states {list(self.states)} and 0 for all others"
        source = self._array(schema)
        return {self.column: by_rule(self.unseen, self.label, self.column, source, self._state(schema), expected)}

    def unusable(self, schema: Schema) -> dict[str, Column]:
        return {self.column: self._array(schema).isNotNull() & self._state(schema).isNull()}

    def shown(self, schema: Schema, column: str) -> Column:
        return self._array(schema)


@registered("pivot")
class Pivot(Step):
    key: str
    value: str
    default: Any = 0
    unseen: str = "error"

    def schema_after(self, schema: Schema) -> Schema:
        expected = "categorical; toCategorical makes it so"
        (key,) = schema.require(self.label, [self.key], kinds.CategoricalField, expected=expected)
        (value,) = schema.require(self.label, [self.value])
        if self.default is not None:
            check_value(self.label, value, self.default, schema)
        names = one_hot_names(self.key, key.states)
        schema.require_new(self.label, names)
        nullable = value.nullable or self.default is None
        made = [dataclasses.replace(value.named(name), nullable=nullable) for name in names]
        return schema.inserted(self.key, made).without([self.key, self.value])

    def expressions(self, schema: Schema) -> dict[str, Column]:
        key, states = reference(self.key), schema.field(self.key, kinds.CategoricalField).states
        default = F.lit(self.default).cast(schema[self.value].sparkType)
        if self.unseen == "error":
            known = F.when(key.isin(list(states)), key)
            key = by_rule("error", self.label, self.key, key, known, f"one of the states {list(states)}")
        return {
            name: F.when(key == state, reference(self.value)).otherwise(default)
            for name, state in zip(one_hot_names(self.key, states), states)
        }

    def unusable(self, schema: Schema) -> dict[str, Column]:
        return {self.key: is_unseen(schema.field(self.key, kinds.CategoricalField))}


@registered("firstDigit")
class FirstDigit(Step):
    column: str
    output: str
    invalid: str = "error"

    def schema_after(self, schema: Schema) -> Schema:
        types = (kinds.NumberField, kinds.StringField, kinds.CategoricalField)
        (field,) = schema.require(self.label, [self.column], *types, expected="a number or string")
        schema.require_new(self.label, [self.output])
        states = tuple("0123456789") + (("other",) if self.invalid == "other" else ())
        nullable = field.nullable or self.invalid == "null"
        return schema.inserted(self.column, [kinds.CategoricalField(self.output, states, nullable=nullable)])

    def _digit(self, schema: Schema) -> Column:
        value = reference(self.column)
        if not isinstance(schema[self.column], kinds.NumberField):
            return F.when(value.rlike(r"\A[0-9]"), F.substring(value, 1, 1))
        # In 0.034 and in 3.4E-2 alike, the first digit that is not 0.
        return F.when(value == 0, F.lit("0")).when(
            value.cast("string").rlike("[1-9]"), F.regexp_extract(value.cast("string"), "[1-9]", 0)
        )

    def expressions(self, schema: Schema) -> dict[str, Column]:
        value, digit = reference(self.column), self._digit(schema)
        if self.invalid == "other":
            return {self.output: F.coalesce(digit, F.when(value.isNotNull(), F.lit("other")))}
        return {
            self.output: by_rule(self.invalid, self.label, self.column, value, digit, "a value that has a first digit")
        }

    def unusable(self, schema: Schema) -> dict[str, Column]:
        return {self.column: reference(self.column).isNotNull() & self._digit(schema).isNull()}
