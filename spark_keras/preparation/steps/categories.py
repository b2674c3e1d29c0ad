"""Categories as strings, integers and one-hot; pivot; first digit."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

from pyspark.sql import Column
from pyspark.sql import functions as F
from typing_extensions import Self

from spark_keras.preparation import fields as kinds
from spark_keras.preparation.conditions import check_value
from spark_keras.preparation.records import values
from spark_keras.preparation.registry import choice, registered
from spark_keras.preparation.schema import Schema
from spark_keras.preparation.scope import reference, try_cast
from spark_keras.preparation.step import AddsSteps, RuledStep, Step, each

RULES = ("error", "null")
RULES_WITH_KEEP = ("error", "null", "keep")


class CategorySteps(AddsSteps):
    """Methods of a transform process; each returns a new process. A null stays null."""

    def toCategorical(self, column: str, states: Sequence[str], unseen: str = "error") -> Self:
        """Makes a string column categorical.

        Args:
            states: its strings, in the order of their numbers.
            unseen: what happens to a string that is not among them: "error" (default), or "null".
        """
        kinds.checked_states(column, states)
        return self.add(ToCategorical(column, tuple(states), unseen))

    def categoricalToInteger(self, *columns: str, unseen: str = "error") -> Self:
        """Replaces states by their numbers, from 0 in the order of the states.

        Args:
            unseen: what happens to a string that is no state: "error" (default), "null", or "keep": the number behind
                the last state's, as with pyspark.ml.feature.StringIndexer.

        The new columns carry ML attributes with the states, so that a classifier knows its labels' names.
        """
        return self.add(CategoricalToInteger(each("categoricalToInteger", columns), unseen))

    def integerToCategorical(self, column: str, states: Sequence[str], unseen: str = "error") -> Self:
        """Replaces numbers by states: 0 by the first one. `unseen` is "error" (default) or "null"."""
        kinds.checked_states(column, states)
        return self.add(IntegerToCategorical(column, tuple(states), unseen))

    def pivot(self, key: str, value: str, default: Any = 0, unseen: str = "error") -> Self:
        """Replaces a categorical column `key` and a column `value` by one column for each state, `key[state]`.

        In each row the column of the row's state holds the value, the others hold `default` (None: null). Followed by
        `groupBy(…).agg(…)` it makes a table with one row for each group and one column for each state.

        Args:
            unseen: what happens to a row whose key is no state: "error" (default), or "keep": `default` in all
                columns, as where the key is null.
        """
        return self.add(Pivot(key, value, default, unseen))

    def firstDigit(self, column: str, output: str, invalid: str = "error") -> Self:
        """Adds a categorical column with the first digit of a number that is not 0, or of 0; of a string, the first
        character.

        Args:
            invalid: what happens to NaN, infinity, and a string that starts with no digit: "error" (default), "null",
                or "other": an eleventh state of this name.
        """
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


def state_by_rule(step: Any, column: str, value: Any, states: Sequence[str]) -> Any:
    """The value of one record, if it is a state; else by the step's rule, which may be to keep what is unseen."""
    known = value if value in states else None
    return step.value_by_rule(column, value, known, f"one of the states {list(states)}")


@registered("toCategorical")
class ToCategorical(RuledStep):
    takes: ClassVar[tuple[type[kinds.Field], ...]] = kinds.TEXT

    column: str
    states: tuple[str, ...]
    unseen: str = choice(RULES, "rule `unseen`", default="error")

    def schema_after(self, schema: Schema) -> Schema:
        (field,) = schema.require(self.label, [self.column], *self.takes)
        made = kinds.CategoricalField(self.column, self.states, nullable=self.may_be_null(field))
        return schema.replaced({self.column: made})

    def results(self, schema: Schema) -> dict[str, Column]:
        value = reference(self.column)
        return {self.column: F.when(value.isin(list(self.states)), value)}

    def expected(self, column: str) -> str:
        return f"one of the states {list(self.states)}"

    def record(self, row: Mapping[str, Any], schema: Schema) -> Mapping[str, Any]:
        return {self.column: state_by_rule(self, self.column, row[self.column], self.states)}


class OfStates(Step):
    """A step that reads categorical columns and has a rule for strings that are no states."""

    columns: tuple[str, ...]
    unseen: str

    def categorical(self, schema: Schema) -> list[kinds.CategoricalField]:
        expected = "categorical; toCategorical makes it so"
        return schema.require(self.label, self.columns, kinds.CategoricalField, expected=expected)

    def number(self, field: kinds.CategoricalField, unseen: int) -> Column:
        """The number of a state, other strings by the rule; `unseen` for those that it keeps."""
        value = reference(field.name)
        number = number_of_state(value, field.states)
        if self.unseen == "keep":
            return F.when(is_unseen(field), F.lit(unseen)).otherwise(number)
        return self.by_rule(field.name, value, number, f"one of the states {list(field.states)}")

    def unusable(self, schema: Schema) -> dict[str, Column]:
        return {name: is_unseen(schema.field(name, kinds.CategoricalField)) for name in self.columns}


@registered("categoricalToInteger")
class CategoricalToInteger(OfStates):
    each_alone = "columns"

    columns: tuple[str, ...]
    unseen: str = choice(RULES_WITH_KEEP, "rule `unseen`", default="error")

    def schema_after(self, schema: Schema) -> Schema:
        changed = {}
        for field in self.categorical(schema):
            last = len(field.states) - (self.unseen != "keep")
            changed[field.name] = kinds.IntegerField(
                field.name, minimum=0, maximum=last, nullable=self.may_be_null(field)
            )
        return schema.replaced(changed)

    def expressions(self, schema: Schema) -> dict[str, Column]:
        return {field.name: self.number(field, len(field.states)) for field in self.categorical(schema)}

    def metadata(self, schema: Schema) -> dict[str, dict[str, Any]]:
        extra = ["__unknown"] if self.unseen == "keep" else []
        return {
            field.name: {"ml_attr": {"type": "nominal", "name": field.name, "vals": [*field.states, *extra]}}
            for field in self.categorical(schema)
        }

    def record(self, row: Mapping[str, Any], schema: Schema) -> Mapping[str, Any]:
        made = {}
        for field in self.categorical(schema):
            value = row[field.name]
            state = state_by_rule(self, field.name, value, field.states)
            unseen = len(field.states) if self.unseen == "keep" and value is not None else None
            made[field.name] = unseen if state is None else field.states.index(state)
        return made


@registered("integerToCategorical")
class IntegerToCategorical(ToCategorical):
    takes = (kinds.IntegerField, kinds.LongField)

    def results(self, schema: Schema) -> dict[str, Column]:
        numbered = F.create_map(*[F.lit(part) for pair in enumerate(self.states) for part in pair])
        return {self.column: F.try_element_at(numbered, try_cast(reference(self.column), "int"))}

    def expected(self, column: str) -> str:
        return f"0 to {len(self.states) - 1}"

    def record(self, row: Mapping[str, Any], schema: Schema) -> Mapping[str, Any]:
        value = row[self.column]
        state = self.states[value] if value is not None and 0 <= value < len(self.states) else None
        return {self.column: self.value_by_rule(self.column, value, state, self.expected(self.column))}


@registered("pivot")
class Pivot(Step):
    key: str
    value: str
    default: Any = 0
    unseen: str = choice(("error", "keep"), "rule `unseen`", default="error")

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
        states = schema.field(self.key, kinds.CategoricalField).states
        default = F.lit(self.default).cast(schema[self.value].sparkType)
        key = reference(self.key)
        known = F.when(key.isin(list(states)), key)
        key = self.by_rule(self.key, key, known, f"one of the states {list(states)}")
        return {
            name: F.when(key == state, reference(self.value)).otherwise(default)
            for name, state in zip(one_hot_names(self.key, states), states)
        }

    def unusable(self, schema: Schema) -> dict[str, Column]:
        return {self.key: is_unseen(schema.field(self.key, kinds.CategoricalField))}

    def record(self, row: Mapping[str, Any], schema: Schema) -> Mapping[str, Any]:
        states = schema.field(self.key, kinds.CategoricalField).states
        key = state_by_rule(self, self.key, row[self.key], states)
        default = values.stored(schema[self.value], self.default)
        return {
            name: row[self.value] if state == key else default
            for name, state in zip(one_hot_names(self.key, states), states)
        }


@registered("firstDigit")
class FirstDigit(RuledStep):
    column: str
    output: str
    invalid: str = choice(("error", "null", "other"), "rule `invalid`", default="error")

    def schema_after(self, schema: Schema) -> Schema:
        types = (kinds.NumberField, *kinds.TEXT)
        (field,) = schema.require(self.label, [self.column], *types, expected="a number or string")
        schema.require_new(self.label, [self.output])
        states = tuple("0123456789") + (("other",) if self.invalid == "other" else ())
        made = kinds.CategoricalField(self.output, states, nullable=self.may_be_null(field))
        return schema.inserted(self.column, [made])

    def expected(self, column: str) -> str:
        return "a value that has a first digit"

    def results(self, schema: Schema) -> dict[str, Column]:
        value = reference(self.column)
        if not isinstance(schema[self.column], kinds.NumberField):
            return {self.column: F.when(value.rlike(r"\A[0-9]"), F.substring(value, 1, 1))}
        # In 0.034 and in 3.4E-2 alike, the first digit that is not 0.
        text = value.cast("string")
        digit = F.when(text.rlike("[1-9]"), F.regexp_extract(text, "[1-9]", 0))
        return {self.column: F.when(value == 0, F.lit("0")).otherwise(digit)}

    def expressions(self, schema: Schema) -> dict[str, Column]:
        digit = super().expressions(schema)[self.column]
        if self.invalid == "other":
            digit = F.coalesce(digit, F.when(reference(self.column).isNotNull(), F.lit("other")))
        return {self.output: digit}

    def record(self, row: Mapping[str, Any], schema: Schema) -> Mapping[str, Any]:
        value, digit = row[self.column], None
        if isinstance(value, str):
            digit = value[0] if value[:1] in tuple("0123456789") else None
        elif value == 0:
            digit = "0"
        elif value is not None:
            found = re.search("[1-9]", values.printed(value, isinstance(schema[self.column], kinds.FloatField)))
            digit = found[0] if found else None
        if self.invalid == "other" and value is not None:
            return {self.output: digit or "other"}
        return {self.output: self.value_by_rule(self.column, value, digit, self.expected(self.column))}
