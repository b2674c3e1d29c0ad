"""Arrays of other lengths and shapes."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Sequence

from pyspark.sql import Column
from pyspark.sql import functions as F
from typing_extensions import Self

from spark_keras.preparation import fields as kinds
from spark_keras.preparation.array_fields import ArrayField
from spark_keras.preparation.registry import choice, registered
from spark_keras.preparation.schema import Schema
from spark_keras.preparation.scope import let, reference, refused
from spark_keras.preparation.step import AddsSteps, Step
from spark_keras.preparation.steps.columns import is_number
from spark_keras.preparation.steps.sequences import count_of


class ArrayShapeSteps(AddsSteps):
    """Methods of a transform process; each returns a new process. A null array stays null."""

    def padArray(
        self, column: str, length: int, value: float = 0.0, padding: str = "post", truncating: str = "post"
    ) -> Self:
        """Brings flat arrays of numbers to one length.

        Args:
            value: what they are filled with.
            padding: "post" (default): filled up at the end; "pre": at the start.
            truncating: "post" (default): elements too many are removed at the end; "pre": at the start.
        """
        return self.add(PadArray(column, count_of("padArray", "length", length, 1), value, padding, truncating))

    def flipArray(self, column: str, axis: int) -> Self:
        """Reverses the order of elements along an axis, from 0, as `numpy.flip` does. Axis 0 of an image turns it
        upside down, axis 1 mirrors it.
        """
        return self.add(FlipArray(column, count_of("flipArray", "axis", axis, 0)))

    def reshape(self, column: str, shape: Sequence[int]) -> Self:
        """Gives an array another shape with the same elements in row-major order, as `numpy.reshape` does.

        Args:
            shape: lengths by dimension. A row with another number of elements is an error when the rows are computed.
        """
        sizes = tuple(count_of("reshape", "length in `shape`", length, 1) for length in shape)
        if not sizes:
            raise ValueError("Invalid shape in step reshape. Received: (). Expected: such as (28, 28).")
        return self.add(Reshape(column, sizes))


def mapped(value: Column, depth: int, function: Callable[[Column], Column]) -> Column:
    """A function of the elements, so many arrays deep."""
    if depth == 0:
        return function(value)
    return F.transform(value, lambda part: mapped(part, depth - 1, function))


def flattened(value: Column, depth: int) -> Column:
    for _ in range(depth - 1):
        value = F.flatten(value)
    return value


def number_arrays(schema: Schema, step: str, names: Sequence[str], flat: bool = False) -> list[ArrayField]:
    """The fields of arrays of numbers, whose shapes agree where they are known."""
    found = schema.require(step, names, ArrayField)
    for field in found:
        if not isinstance(field.elementField, kinds.NumberField) or (flat and len(field.shape) > 1):
            raise kinds.unfit(step, field, f"{'a flat array' if flat else 'an array'} of numbers")
    return found


@registered("padArray")
class PadArray(Step):
    column: str
    length: int
    value: float = 0.0
    padding: str = choice(("pre", "post"), default="post")
    truncating: str = choice(("pre", "post"), default="post")

    def schema_after(self, schema: Schema) -> Schema:
        (field,) = number_arrays(schema, self.label, [self.column], flat=True)
        element = field.elementField
        whole = isinstance(element, kinds.NumberField) and element.whole
        if not is_number(self.value) or (whole and self.value != int(self.value)):
            expected = f"a {'whole ' if whole else ''}number, as the column is {field.description}"
            raise kinds.wrong_value(self.label, self.column, repr(self.value), expected)
        return schema.replaced({self.column: dataclasses.replace(field, shape=(self.length,))})

    def expressions(self, schema: Schema) -> dict[str, Column]:
        filling = F.lit(self.value).cast(schema.field(self.column, ArrayField).elementField.sparkType)
        return {self.column: padded(reference(self.column), self.length, filling, self.padding, self.truncating)}


def padded(array: Column, length: int, filling: Column, padding: str, truncating: str) -> Column:
    """An array of one length, as `keras.utils.pad_sequences` makes it."""
    too_many = F.greatest(F.size(array) - length, F.lit(0))
    start = too_many + 1 if truncating == "pre" else F.lit(1)
    kept = F.slice(array, start, F.lit(length))
    filled = F.array_repeat(filling, F.greatest(length - F.size(array), F.lit(0)))
    return F.concat(filled, kept) if padding == "pre" else F.concat(kept, filled)


@registered("flipArray")
class FlipArray(Step):
    column: str
    axis: int

    def schema_after(self, schema: Schema) -> Schema:
        (field,) = schema.require(self.label, [self.column], ArrayField)
        if self.axis >= len(field.shape):
            raise ValueError(
                f"Invalid axis in {self.label}. Received: {self.axis}. Expected: 0 to {len(field.shape) - 1}, as "
                f"column {self.column!r} is {field.description}."
            )
        return schema

    def expressions(self, schema: Schema) -> dict[str, Column]:
        return {self.column: mapped(reference(self.column), self.axis, F.reverse)}


@registered("reshape")
class Reshape(Step):
    column: str
    shape: tuple[int, ...]

    def schema_after(self, schema: Schema) -> Schema:
        (field,) = schema.require(self.label, [self.column], ArrayField)
        sizes = [size for size in field.shape if size is not None]
        known = math.prod(sizes) if len(sizes) == len(field.shape) else None
        if known not in (None, math.prod(self.shape)):
            raise ValueError(
                f"Shape does not fit column {self.column!r} in {self.label}. Received: {self.shape}, "
                f"{math.prod(self.shape)} elements. Expected: {known} elements, as the column is {field.description}."
            )
        return schema.replaced({self.column: dataclasses.replace(field, shape=self.shape)})

    def expressions(self, schema: Schema) -> dict[str, Column]:
        flat = flattened(reference(self.column), len(schema.field(self.column, ArrayField).shape))
        return {self.column: let(flat, self._shaped)}

    def _shaped(self, flat: Column) -> Column:
        value = flat
        for axis in range(len(self.shape) - 1, 0, -1):
            value = self._grouped(value, math.prod(self.shape[:axis]), self.shape[axis])
        wrong = refused(
            f"Array of column {self.column!r} does not fit {self.label}. Received: ",
            F.size(flat),
            f" elements. Expected: {math.prod(self.shape)}, for shape {self.shape}.",
        )
        return F.when(F.size(flat) == math.prod(self.shape), value).when(flat.isNotNull(), wrong)

    @staticmethod
    def _grouped(value: Column, count: int, length: int) -> Column:
        starts = F.sequence(F.lit(0), F.lit(count - 1))
        return let(value, lambda all_: F.transform(starts, lambda i: F.slice(all_, i * length + 1, F.lit(length))))
