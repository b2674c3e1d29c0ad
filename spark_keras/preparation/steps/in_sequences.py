"""Steps for single rows, taken within each time step of sequences; and which time steps stay."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Set
from typing import Any

from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F
from typing_extensions import Self

from spark_keras.columns.expressions import reference
from spark_keras.preparation.array_fields import OtherField, SequenceField
from spark_keras.preparation.conditions import Condition, checked_condition
from spark_keras.preparation.registry import registered
from spark_keras.preparation.schema import Schema
from spark_keras.preparation.scope import inside, let, let_all
from spark_keras.preparation.step import AddsSteps, Step
from spark_keras.preparation.steps.sequences import SequenceStep, all_positions, sequences_of

_VALUES = "_spark_keras_values"
_POSITIONS = "_spark_keras_positions"


class TimeStepSteps(AddsSteps):
    """Methods of a transform process; each returns a new process."""

    def keepSteps(self, condition: Condition) -> Self:
        """Keeps the time steps of sequences for which the condition holds; where it is unknown, because of a null,
        they go. A sequence of which nothing is left is empty.
        """
        return self.add(KeepSteps(checked_condition("step keepSteps", condition), True))

    def removeSteps(self, condition: Condition) -> Self:
        """Removes the time steps of sequences for which the condition holds; where it is unknown, they stay."""
        return self.add(KeepSteps(checked_condition("step removeSteps", condition), False))


def settled(step: Step, schema: Schema) -> tuple[Step, Schema]:
    """The step and the schema behind it; a step for single rows that asks for what sequences hold is taken within
    each of their time steps.
    """
    if not (step.within_row and step.same_rows) or not any(isinstance(field, SequenceField) for field in schema):
        return step, step.schema_after(schema)
    try:
        return step, step.schema_after(schema)
    except ValueError:
        step = InSequences(step)
        return step, step.schema_after(schema)


def one_step(schema: Schema) -> Schema:
    """The schema of one time step: sequences as single values."""
    return Schema([field.element.named(field.name) if isinstance(field, SequenceField) else field for field in schema])


class _Noted(dict[str, Column]):
    """Columns that note which of them are asked for."""

    def __init__(self, names: list[str]):
        super().__init__({name: reference(name) for name in names})
        self.asked: list[str] = []

    def get(self, name: str, default: Any = None) -> Any:
        if name in self and name not in self.asked:
            self.asked.append(name)
        return super().get(name, default)


def _with_steps(
    schema: Schema,
    value: Callable[[], Column],
    result: Callable[[Column, Callable[[Column], Column]], Column],
) -> Column:
    """`result` of one of the sequences and of a function that gives `value` in the time step at a position, from 0."""
    noted = _Noted([field.name for field in schema if isinstance(field, SequenceField)])
    with inside(noted):
        value()
    names = noted.asked or list(noted)[:1]

    def of_arrays(arrays: dict[str, Column]) -> Column:
        def at(position: Column) -> Column:
            with inside({name: F.get(array, position) for name, array in arrays.items()}):
                return value()

        return result(arrays[names[0]], at)

    return let_all({name: reference(name) for name in names}, of_arrays)


def in_each_step(schema: Schema, value: Callable[[], Column]) -> Column:
    """Array of what `value` gives in each time step."""
    return _with_steps(schema, value, lambda array, at: F.transform(array, lambda _, position: at(position)))


def positions_where(schema: Schema, condition: Condition, keep: bool = True) -> Column:
    """Positions of the time steps for which a condition is known to hold, or of the others."""
    before = one_step(schema)
    return _with_steps(
        schema,
        lambda: condition.holds(before),
        lambda array, holds: F.filter(all_positions(F.size(array)), lambda p: holds(p) == F.lit(keep)),
    )


def taken(name: str, positions: Column) -> Column:
    """The time steps of a sequence at these positions."""
    return let(reference(name), lambda array: F.transform(positions, lambda position: F.get(array, position)))


@registered("inSequences")
class InSequences(Step):
    """A step for single rows, within each time step. Columns that are no sequences are the same in all of them."""

    within_row = False
    same_rows = True

    step: Step

    @property
    def label(self) -> str:
        return self.step.label

    def without(self, missing: Set[str]) -> Step | None:
        left = self.step.without(missing)
        return None if left is None else dataclasses.replace(self, step=left)

    def schema_after(self, schema: Schema) -> Schema:
        fields = sequences_of(schema, self.label)
        before = one_step(schema)
        made = []
        for field in self.step.schema_after(before):
            # Fields that a step does not touch stay the same objects.
            if field.name in before and field is before[field.name]:
                made.append(schema[field.name])
                continue
            self._check(schema, field.name)
            made.append(SequenceField(field.name, element=field, length=fields[0].length, nullable=False))
        return Schema(made)

    def _check(self, schema: Schema, changed: str) -> None:
        if changed in schema and not isinstance(schema[changed], SequenceField):
            raise ValueError(
                f"Column {changed!r} does not fit {self.label}, which is taken in each time step. "
                f"Received: {schema[changed].description}. Expected: a sequence; change other columns in a step of "
                "their own, or add a new column."
            )

    def apply(self, dataset: DataFrame, schema: Schema) -> DataFrame:
        before = one_step(schema)
        after = self.step.schema_after(before)

        def values() -> Column:
            parts = []
            for name, value in self.step.expressions(before).items():
                self._check(schema, name)
                field = after[name]
                parts.append(value if isinstance(field, OtherField) else value.cast(field.sparkType))
            return F.struct(*[part.alias(f"f{i}") for i, part in enumerate(parts)])

        wide = dataset.select("*", in_each_step(schema, values).alias(_VALUES))
        return super().apply(wide, schema)

    def expressions(self, schema: Schema) -> dict[str, Column]:
        names = self.step.expressions(one_step(schema))
        return {name: F.col(_VALUES).getField(f"f{i}") for i, name in enumerate(names)}

    def unusable(self, schema: Schema) -> dict[str, Column]:
        return {
            name: F.exists(self._unusable(schema, name), lambda bad: bad)
            for name in self.step.unusable(one_step(schema))
        }

    def _unusable(self, schema: Schema, name: str) -> Column:
        before = one_step(schema)
        return in_each_step(schema, lambda: F.coalesce(self.step.unusable(before)[name], F.lit(False)))

    def shown(self, schema: Schema, column: str) -> Column:
        """The first of the unusable values of a sequence."""
        before = one_step(schema)

        def bad_value() -> Column:
            value = self.step.shown(before, column).cast("string")
            return F.when(self.step.unusable(before)[column], F.coalesce(value, F.lit("null")))

        found = in_each_step(schema, bad_value)
        return F.get(F.filter(found, lambda value: value.isNotNull()), F.lit(0))

    def __str__(self) -> str:
        return str(self.step)


@registered("keepSteps")
class KeepSteps(SequenceStep):
    condition: Condition
    keep: bool

    @property
    def label(self) -> str:
        return "step keepSteps" if self.keep else "step removeSteps"

    def schema_after(self, schema: Schema) -> Schema:
        fields = sequences_of(schema, self.label)
        self.condition.check(one_step(schema), self.label)
        return schema.replaced({field.name: dataclasses.replace(field, length=None) for field in fields})

    def apply(self, dataset: DataFrame, schema: Schema) -> DataFrame:
        positions = positions_where(schema, self.condition, self.keep)
        return super().apply(dataset.select("*", positions.alias(_POSITIONS)), schema)

    def expressions(self, schema: Schema) -> dict[str, Column]:
        return {field.name: taken(field.name, F.col(_POSITIONS)) for field in sequences_of(schema, self.label)}

    def __str__(self) -> str:
        return f"{self.label.removeprefix('step ')}({self.condition})"


@registered("ofSteps")
class OfSteps(Condition):
    """A condition holds in all, or in at least one, of the time steps of the row's sequences."""

    condition: Condition
    every: bool

    def check(self, schema: Schema, step: str) -> None:
        sequences_of(schema, step)
        self.condition.check(one_step(schema), step)

    def column(self, schema: Schema) -> Column:
        holds = in_each_step(schema, lambda: self.condition.holds(one_step(schema)))
        return (F.forall if self.every else F.exists)(holds, lambda step: step)

    def __str__(self) -> str:
        return f"{'allSteps' if self.every else 'anyStep'}({self.condition})"


def anyStep(condition: Condition) -> Condition:
    """The condition holds in at least one time step of the row's sequences: `keepWhere(anyStep(col("delay") > 60))`.

    Unknown, because of a null, counts as no.
    """
    return OfSteps(checked_condition("anyStep", condition), False)


def allSteps(condition: Condition) -> Condition:
    """The condition holds in all time steps of the row's sequences, as it does where there are none."""
    return OfSteps(checked_condition("allSteps", condition), True)
