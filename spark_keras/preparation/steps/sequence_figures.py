"""Figures of whole sequences, differences within them, and sequences as rows again."""

from __future__ import annotations

import dataclasses
from typing import Any

from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F
from typing_extensions import Self

from spark_keras.columns.expressions import reference
from spark_keras.preparation import fields as kinds
from spark_keras.preparation.array_fields import SequenceField
from spark_keras.preparation.reductions import FIGURES, Reduction, whole_sum
from spark_keras.preparation.registry import registered
from spark_keras.preparation.schema import Schema
from spark_keras.preparation.scope import let, let_all
from spark_keras.preparation.step import AddsSteps, mapping_field
from spark_keras.preparation.steps.in_sequences import one_step, positions_where, taken
from spark_keras.preparation.steps.reduce import checked_reductions
from spark_keras.preparation.steps.sequence_values import TrimSequences, check_filling, checked_edge, inner_slice
from spark_keras.preparation.steps.sequences import SequenceStep, all_positions, count_of, sequence_of, sequences_of

_POSITION = "_spark_keras_position"


class SequenceFigureSteps(AddsSteps):
    """Methods of a transform process; each returns a new process."""

    def reduceSequences(self, **outputs: Reduction) -> Self:
        """Adds columns with figures of each row's sequences; the sequences stay.

            process.reduceSequences(longest=col("delay").max(), late=countRows(where=col("delay") > 15))

        The reductions are those of `agg`, over the time steps of the row; `first`, `last`, `append` and `prepend` go
        by the order of the sequence unless `by` tells another.
        """
        checked_reductions("reduceSequences", outputs)
        return self.add(ReduceSequences(tuple(outputs.items())))

    def difference(
        self, column: str, output: str, steps: int = 1, edge: str | None = None, fill: float | None = None
    ) -> Self:
        """Adds a sequence column with each value minus that of `steps` time steps before.

        Args:
            output: the new column, of longs for whole numbers (null where one overflows), else of doubles. The
                difference is null where one of the values is.
            edge: what becomes of the first steps, which have none before: "trim" (default): they are removed from all
                columns; or "null".
            fill: a difference for the first steps, such as 0, instead of `edge`.
        """
        steps = count_of("difference", "steps", steps, 1)
        return self.add(Difference(column, output, steps, *checked_edge("difference", edge, fill)))

    def toRows(self, position: str | None = None) -> Self:
        """Replaces each row of sequences by one row for each time step; the inverse of `toSequences`.

        Args:
            position: a new column with the number of the time step in its sequence, from 0, if wanted.

        A row whose sequences are empty has no rows afterwards.
        """
        return self.add(ToRows(position))


@registered("reduceSequences")
class ReduceSequences(SequenceStep):
    each_alone = "outputs"

    outputs: tuple[tuple[str, Reduction], ...] = mapping_field()

    def schema_after(self, schema: Schema) -> Schema:
        sequences_of(schema, self.label)
        schema.require_new(self.label, dict(self.outputs))
        for name, reduction in self.outputs:
            if not isinstance(reduction, Reduction):
                raise ValueError(
                    f"Reduction {name!r} does not fit {self.label}. Received: {reduction}. Expected: a reduction of "
                    "col; SQL can aggregate rows only."
                )
            for column in filter(None, (reduction.name, reduction.by)):
                sequence_of(schema, self.label, column)
        before = one_step(schema)
        return schema.replaced(
            {name: reduction.field(before, self.label, name, ordered=True) for name, reduction in self.outputs}
        )

    def expressions(self, schema: Schema) -> dict[str, Column]:
        return {name: _figure(schema, reduction) for name, reduction in self.outputs}

    def column_of(self, part: tuple[str, Reduction]) -> str | None:
        return part[1].name

    def __str__(self) -> str:
        return f"reduceSequences({', '.join(f'{name}={reduction}' for name, reduction in self.outputs)})"


def _figure(schema: Schema, reduction: Reduction) -> Column:
    """A reduction of the time steps of a row."""
    if reduction.where is None:
        positions = all_positions(F.size(reference(sequences_of(schema, "")[0].name)))
    else:
        positions = positions_where(schema, reduction.where)
    if reduction.name is None:
        return F.size(positions)
    values = taken(reduction.name, positions) if reduction.by is None else _by_order(reduction, positions)
    if reduction.function in ("first", "last"):
        return let(values, FIGURES[reduction.function])
    values = F.filter(values, lambda value: value.isNotNull())
    if reduction.function in ("append", "prepend"):
        texts = values if reduction.function == "append" else F.reverse(values)
        return let(texts, lambda found: F.when(F.size(found) > 0, F.array_join(found, reduction.separator)))
    element = schema.field(reduction.name, SequenceField).element
    whole = getattr(element, "whole", False)
    if reduction.function in ("sum", "range"):
        values = values.cast("array<bigint>" if whole else "array<double>")
    return let(values, whole_sum if whole and reduction.function == "sum" else FIGURES[reduction.function])


def _by_order(reduction: Reduction, positions: Column) -> Column:
    """The values at these positions in the order of another sequence; where it ties, the earlier time step first."""

    def ordered(arrays: dict[str, Column]) -> Column:
        def pair_at(position: Column) -> Column:
            by, value = F.get(arrays["by"], position), F.get(arrays["value"], position)
            return F.struct(by.alias("by"), position.alias("at"), value.alias("value"))

        pairs = F.transform(positions, pair_at)
        return F.array_sort(F.filter(pairs, lambda pair: pair["by"].isNotNull()))

    pairs = let_all({"by": reference(reduction.by or ""), "value": reference(reduction.name or "")}, ordered)
    return F.transform(pairs, lambda pair: pair["value"])


@registered("difference")
class Difference(SequenceStep):
    column: str
    output: str
    steps: int = 1
    edge: str = "trim"
    fill: Any = None

    def _element(self, schema: Schema) -> kinds.Field:
        element = sequence_of(schema, self.label, self.column, kinds.NumberField).element
        whole = isinstance(element, kinds.NumberField) and element.whole
        # A difference of longs can overflow.
        nullable = element.nullable or element.kind == "long" or self.edge == "null"
        return (kinds.LongField if whole else kinds.DoubleField)(self.output, nullable=nullable)

    def schema_after(self, schema: Schema) -> Schema:
        made = SequenceField(self.output, element=self._element(schema), nullable=False)
        made = dataclasses.replace(made, length=schema.field(self.column, SequenceField).length)
        schema.require_new(self.label, [self.output])
        if self.edge == "fill":
            check_filling(self.label, made, self.fill, schema)
        after = schema.inserted(self.column, [made])
        return TrimSequences(self.steps, 0).schema_after(after) if self.edge == "trim" else after

    def expressions(self, schema: Schema) -> dict[str, Column]:
        array = reference(self.column)
        kind = self._element(schema).sparkType.simpleString()
        wide = array.cast(f"array<{kind}>")
        later = F.slice(wide, F.lit(self.steps + 1), F.greatest(F.size(array) - self.steps, F.lit(0)))
        earlier = F.slice(wide, F.lit(1), F.greatest(F.size(array) - self.steps, F.lit(0)))
        changes = F.zip_with(later, earlier, F.try_subtract)
        if self.edge == "trim":
            kept = {f.name: inner_slice(f.name, self.steps, 0) for f in sequences_of(schema, self.label)}
            return {**kept, self.output: changes}
        filling = F.lit(self.fill).cast(kind)
        return {self.output: F.concat(F.array_repeat(filling, F.least(F.lit(self.steps), F.size(array))), changes)}


@registered("toRows")
class ToRows(SequenceStep):
    position: str | None = None

    def schema_after(self, schema: Schema) -> Schema:
        sequences_of(schema, self.label)
        after = one_step(schema)
        if self.position is None:
            return after
        return after.made(self.label, kinds.IntegerField(self.position, minimum=0, nullable=False))

    def apply(self, dataset: DataFrame, schema: Schema) -> DataFrame:
        fields = sequences_of(schema, self.label)
        positions = all_positions(F.size(reference(fields[0].name)))
        return super().apply(dataset.select("*", F.explode(positions).alias(_POSITION)), schema)

    def expressions(self, schema: Schema) -> dict[str, Column]:
        at = F.col(_POSITION)
        made = {field.name: F.get(reference(field.name), at) for field in sequences_of(schema, self.label)}
        return made if self.position is None else {**made, self.position: at}
