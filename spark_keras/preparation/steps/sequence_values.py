"""Changes inside of sequences: trimmed, filled up, offset, moving windows, stacked to tensors."""

from __future__ import annotations

import dataclasses
from typing import Any

from pyspark.sql import Column
from pyspark.sql import functions as F
from typing_extensions import Self

from spark_keras.columns.expressions import reference
from spark_keras.preparation import fields as kinds
from spark_keras.preparation.array_fields import ArrayField, SequenceField
from spark_keras.preparation.conditions import check_value, expression
from spark_keras.preparation.reductions import FIGURES
from spark_keras.preparation.registry import choice, registered
from spark_keras.preparation.schema import Schema
from spark_keras.preparation.scope import let, let_all
from spark_keras.preparation.step import AddsSteps, choose, each
from spark_keras.preparation.steps.array_shapes import padded
from spark_keras.preparation.steps.rows import check_fits
from spark_keras.preparation.steps.sequences import SequenceStep, count_of, sequence_of, sequences_of

_EDGES = ("trim", "null")


class SequenceValueSteps(AddsSteps):
    """Methods of a transform process; each returns a new process."""

    def trimSequences(self, first: int = 0, last: int = 0) -> Self:
        """Removes so many steps at the start, and so many at the end."""
        first, last = count_of("trimSequences", "first", first, 0), count_of("trimSequences", "last", last, 0)
        if not first + last:
            raise ValueError("Nothing to trim in step trimSequences. Received: first=0, last=0. Expected: 1 or more.")
        return self.add(TrimSequences(first, last))

    def padSequences(
        self, length: int, value: float = 0.0, padding: str = "pre", truncating: str = "pre", mask: str | None = None
    ) -> Self:
        """Brings all sequences to the same length, as `keras.utils.pad_sequences` does.

        Args:
            length: time steps of every sequence afterwards.
            value: what columns of numbers are filled with; all others are filled with null.
            padding: "pre" (default): filled up at the start; "post": at the end.
            truncating: "pre" (default): steps too many are removed at the start; "post": at the end.
            mask: a new column with 1.0 for steps that were there and 0.0 for those filled in, if wanted.
        """
        length = count_of("padSequences", "length", length, 1)
        return self.add(PadSequences(length, value, padding, truncating, mask))

    def lag(self, column: str, output: str, steps: int = 1, edge: str | None = None, fill: Any = None) -> Self:
        """Adds a sequence column with the values of `steps` time steps before.

        Args:
            output: the new column.
            edge: what becomes of the first steps, which have none before: "trim" (default): they are removed from all
                columns; or "null".
            fill: a value for the first steps, instead of `edge`.
        """
        return self.add(Offset(column, output, -count_of("lag", "steps", steps, 1), *checked_edge("lag", edge, fill)))

    def lead(self, column: str, output: str, steps: int = 1, edge: str | None = None, fill: Any = None) -> Self:
        """Adds a sequence column with the values of `steps` time steps after: what a network shall predict.

        `edge` and `fill` say what becomes of the last steps, as with `lag`.
        """
        return self.add(Offset(column, output, count_of("lead", "steps", steps, 1), *checked_edge("lead", edge, fill)))

    def movingWindow(self, output: str, column: str, function: str, length: int) -> Self:
        """Adds a sequence column with a function of the last `length` time steps, the present one included.

        Args:
            function: "sum", "mean", "median", "min", "max", "range", "product", "stdev" and "variance" (with n − 1),
                "populationStdev" and "populationVariance" (with n), "count", "countDistinct", "first" or "last", of
                the values that are not null. The first steps have fewer.

        The results are doubles; null where no value is left.
        """
        return self.add(MovingWindow(output, column, function, count_of("movingWindow", "length", length, 1)))

    def stackSequences(self, output: str, *columns: str) -> Self:
        """Replaces sequence columns of numbers or booleans by one array of shape (time steps, columns) of floats: the
        input of a recurrent network.
        """
        return self.add(StackSequences(output, each("stackSequences", columns)))

    def element(self, column: str, output: str, index: int = -1) -> Self:
        """Adds a column with one element of each sequence: 0 is the first, -1 (default) the last. Null where there is
        none.
        """
        if not isinstance(index, int) or isinstance(index, bool):
            raise TypeError(f"Invalid index in step element. Received: {index!r}. Expected: a whole number.")
        return self.add(Element(column, output, index))


def checked_edge(step: str, edge: str | None, fill: Any) -> tuple[str, Any]:
    """Settles what becomes of time steps at the end: "trim", "null", or "fill" with a value."""
    if fill is not None and edge is None:
        return "fill", fill
    if fill is not None:
        raise ValueError(
            f"Step {step} wants `edge` or `fill`. Received: edge={edge!r}, fill={fill!r}. Expected: one of them."
        )
    return choose(step, "edge", "trim" if edge is None else edge, _EDGES), None


@registered("trimSequences")
class TrimSequences(SequenceStep):
    first: int = 0
    last: int = 0

    def schema_after(self, schema: Schema) -> Schema:
        def shorter(length: int | None) -> int | None:
            return None if length is None else max(0, length - self.first - self.last)

        fields = sequences_of(schema, self.label)
        return schema.replaced({f.name: dataclasses.replace(f, length=shorter(f.length)) for f in fields})

    def expressions(self, schema: Schema) -> dict[str, Column]:
        return {f.name: inner_slice(f.name, self.first, self.last) for f in sequences_of(schema, self.label)}


def inner_slice(name: str, first: int, last: int) -> Column:
    array = reference(name)
    return F.slice(array, F.lit(first + 1), F.greatest(F.size(array) - (first + last), F.lit(0)))


@registered("padSequences")
class PadSequences(SequenceStep):
    length: int
    value: float = 0.0
    padding: str = choice(("pre", "post"), default="pre")
    truncating: str = choice(("pre", "post"), default="pre")
    mask: str | None = None

    def schema_after(self, schema: Schema) -> Schema:
        changed: dict[str, kinds.Field] = {}
        for field in sequences_of(schema, self.label):
            element = field.element
            if getattr(element, "whole", False) and self.value != int(self.value):
                expected = f"a whole number, as the column is {field.description}"
                raise kinds.wrong_value(self.label, field.name, str(self.value), expected)
            if not isinstance(element, kinds.NumberField):
                element = dataclasses.replace(element, nullable=True)
            changed[field.name] = dataclasses.replace(field, element=element, length=self.length)
        if self.mask is not None:
            schema.require_new(self.label, [self.mask])
            ones = kinds.FloatField(self.mask, minimum=0, maximum=1, nullable=False)
            changed[self.mask] = SequenceField(self.mask, element=ones, length=self.length, nullable=False)
        return schema.replaced(changed)

    def expressions(self, schema: Schema) -> dict[str, Column]:
        fields = sequences_of(schema, self.label)
        made = {}
        for field in fields:
            number = isinstance(field.element, kinds.NumberField)
            filling = F.lit(self.value if number else None).cast(field.element.sparkType)
            made[field.name] = self._padded(reference(field.name), filling)
        if self.mask is not None:
            ones = F.transform(reference(fields[0].name), lambda _: F.lit(1.0).cast("float"))
            made[self.mask] = self._padded(ones, F.lit(0.0).cast("float"))
        return made

    def _padded(self, array: Column, filling: Column) -> Column:
        return padded(array, self.length, filling, self.padding, self.truncating)


@registered("offset")
class Offset(SequenceStep):
    column: str
    output: str
    steps: int
    edge: str = "trim"
    fill: Any = None

    @property
    def label(self) -> str:
        return "step lag" if self.steps < 0 else "step lead"

    def _trimmed(self) -> TrimSequences:
        return TrimSequences(-self.steps, 0) if self.steps < 0 else TrimSequences(0, self.steps)

    def schema_after(self, schema: Schema) -> Schema:
        field = sequence_of(schema, self.label, self.column)
        schema.require_new(self.label, [self.output])
        moved = field.named(self.output)
        if self.edge == "fill":
            check_filling(self.label, field, self.fill, schema)
        if self.edge == "null":
            moved = dataclasses.replace(moved, element=dataclasses.replace(moved.element, nullable=True))
        after = schema.inserted(self.column, [moved])
        return self._trimmed().schema_after(after) if self.edge == "trim" else after

    def expressions(self, schema: Schema) -> dict[str, Column]:
        array, count = reference(self.column), abs(self.steps)
        if self.edge == "trim":
            # The other way round: what is left are the steps that the kept ones look at.
            first, last = (0, count) if self.steps < 0 else (count, 0)
            return {**self._trimmed().expressions(schema), self.output: inner_slice(self.column, first, last)}
        filling = F.lit(None) if self.fill is None else expression(self.fill)
        filling = filling.cast(schema.field(self.column, SequenceField).element.sparkType)
        nothing = F.array_repeat(filling, F.least(F.lit(count), F.size(array)))
        there = F.greatest(F.size(array) - count, F.lit(0))
        if self.steps < 0:
            return {self.output: F.concat(nothing, F.slice(array, F.lit(1), there))}
        return {self.output: F.concat(F.slice(array, F.lit(count + 1), there), nothing)}

    def __str__(self) -> str:
        name = "lag" if self.steps < 0 else "lead"
        edge = f"fill={self.fill!r}" if self.edge == "fill" else f"edge={self.edge!r}"
        return f"{name}({self.column!r}, {self.output!r}, steps={abs(self.steps)}, {edge})"


def check_filling(step: str, field: SequenceField, value: Any, schema: Schema) -> None:
    element = field.element.named(field.name)
    check_value(step, element, value, schema)
    if isinstance(element, kinds.NumberField):
        check_fits(step, element, value, schema)


@registered("movingWindow")
class MovingWindow(SequenceStep):
    output: str
    column: str
    function: str = choice(FIGURES)
    length: int

    def schema_after(self, schema: Schema) -> Schema:
        field = sequence_of(schema, self.label, self.column, kinds.NumberField)
        schema.require_new(self.label, [self.output])
        always = ("sum", "mean", "median", "min", "max", "range", "product", "count", "countDistinct")
        nullable = field.element.nullable or self.function not in always
        element = kinds.DoubleField(self.output, nullable=nullable)
        return schema.inserted(self.column, [dataclasses.replace(field, name=self.output, element=element)])

    def expressions(self, schema: Schema) -> dict[str, Column]:
        array = reference(self.column)

        def reduced(_: Column, position: Column) -> Column:
            start = F.greatest(position - (self.length - 1), F.lit(0))
            last = F.slice(array, start + 1, position - start + 1).cast("array<double>")
            return let(F.filter(last, lambda value: value.isNotNull()), FIGURES[self.function])

        return {self.output: F.transform(array, reduced)}


@registered("stackSequences")
class StackSequences(SequenceStep):
    output: str
    columns: tuple[str, ...]

    def schema_after(self, schema: Schema) -> Schema:
        numbers = (kinds.NumberField, kinds.BooleanField)
        lengths = {sequence_of(schema, self.label, name, *numbers).length for name in self.columns}
        length = lengths.pop() if len(lengths) == 1 else None
        made = ArrayField(self.output, "float", (length, len(self.columns)), nullable=False)
        rest = schema.inserted(self.columns[-1], [made.named("\0")]).without(self.columns)
        rest.require_new(self.label, [self.output])
        return Schema([made if field.name == "\0" else field for field in rest])

    def expressions(self, schema: Schema) -> dict[str, Column]:
        first = self.columns[0]

        def side_by_side(arrays: dict[str, Column]) -> Column:
            def at(_: Column, position: Column) -> Column:
                return F.array(*[F.get(arrays[name], position).cast("float") for name in self.columns])

            return F.transform(arrays[first], at)

        return {self.output: let_all({name: reference(name) for name in self.columns}, side_by_side)}


@registered("element")
class Element(SequenceStep):
    column: str
    output: str
    index: int = -1

    def schema_after(self, schema: Schema) -> Schema:
        field = sequence_of(schema, self.label, self.column)
        inside = field.length is not None and -field.length <= self.index < field.length
        element = field.element.named(self.output)
        return schema.made(self.label, dataclasses.replace(element, nullable=element.nullable or not inside))

    def expressions(self, schema: Schema) -> dict[str, Column]:
        at = self.index + 1 if self.index >= 0 else self.index
        return {self.output: F.try_element_at(reference(self.column), F.lit(at))}
