"""Sequences: rows grouped and ordered into arrays, cut, filled up and put together for a recurrent network.

After `toSequences` each row is a sequence: its columns, apart from the keys, are arrays of the same length, one
element for each time step.
"""

from __future__ import annotations

import dataclasses
import datetime
import re
from collections.abc import Sequence
from typing import Any

from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F
from typing_extensions import Self

from spark_keras.columns.expressions import reference
from spark_keras.preparation import fields as kinds
from spark_keras.preparation.array_fields import ArrayField, SequenceField
from spark_keras.preparation.clock import microseconds
from spark_keras.preparation.reductions import ORDERED
from spark_keras.preparation.registry import registered
from spark_keras.preparation.schema import Schema
from spark_keras.preparation.scope import let
from spark_keras.preparation.step import AddsSteps, Step
from spark_keras.preparation.steps.reduce import several

_SLICES = "_spark_keras_slices"


class SequenceSteps(AddsSteps):
    """Methods of a transform process; each returns a new process."""

    def toSequences(self, by: str | Sequence[str], orderBy: str | Sequence[str]) -> Self:
        """One row for each group of rows: the keys as they are, every other column as an array in the order of
        `orderBy`.

        Nulls come first in the order; rows that tie are ordered by their other columns, so that the result does not
        depend on where the rows were.
        """
        return self.add(ToSequences(several(by), several(orderBy)))

    def splitSequences(
        self, *, gap: Any = None, on: str | None = None, length: int | None = None, equal: bool = False
    ) -> Self:
        """Splits sequences into several rows, in either of two ways.

        Args:
            gap: a new sequence begins where column `on` grows by more than this from one step to the next: a number,
                or, for times, a `datetime.timedelta` or a text such as "2 hours". A step whose `on` is null (or NaN)
                stays with the steps before; whether a gap follows is measured from the last one that is known.
            on: the sequence column that `gap` is measured on.
            length: a new sequence begins after so many steps; the last one may be shorter.
            equal: split into as few parts of at most `length` steps as there have to be, whose lengths differ by one
                at most, the longer ones first (as `numpy.array_split` does it).
        """
        if (gap is None) == (length is None) or (gap is None) != (on is None):
            raise ValueError(
                f"Step splitSequences wants `gap` and `on`, or `length`. Received: gap={gap!r}, on={on!r}, "
                f'length={length!r}. Expected: such as gap="2 hours", on="time".'
            )
        if length is not None:
            return self.add(SplitByLength(count_of("splitSequences", "length", length, 1), bool(equal)))
        if equal or on is None:
            raise ValueError(
                "Step splitSequences makes equal parts by `length`. Received: equal=True with `gap`. Expected: length."
            )
        return self.add(SplitByGap(on, _gap(gap), isinstance(gap, (str, datetime.timedelta))))

    def windows(self, length: int, step: int = 1) -> Self:
        """Replaces each sequence by its windows of `length` time steps, each `step` behind the one before.

        Windows overlap where `step` is less than `length`. A sequence that is shorter than a window has none.
        """
        return self.add(Windows(count_of("windows", "length", length, 1), count_of("windows", "step", step, 1)))


class SequenceStep(Step):
    """A step that looks at whole sequences."""

    within_row = False


def count_of(step: str, what: str, value: Any, least: int) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or not least <= value < 2**31:
        raise ValueError(
            f"Invalid {what} in step {step}. Received: {value!r}. Expected: a whole number, {least} or more, below 2³¹."
        )
    return value


def _gap(gap: Any) -> float:
    """A number as it is, a length of time in microseconds."""
    if isinstance(gap, (str, datetime.timedelta)):
        return duration("splitSequences", "gap", gap)
    if not isinstance(gap, (int, float)) or isinstance(gap, bool):
        raise TypeError(
            f"Invalid gap in step splitSequences. Received: {gap!r}. Expected: a number, timedelta or text."
        )
    return gap


def duration(step: str, what: str, value: Any) -> int:
    """A length of time, a timedelta or a text such as "2 hours", in microseconds."""
    match = None
    if isinstance(value, str):
        match = re.fullmatch(r"(\d+(?:\.\d+)?)\s*(second|minute|hour|day|week)s?", value.strip())
        if match:
            value = datetime.timedelta(**{match[2] + "s": float(match[1])})
    if not isinstance(value, datetime.timedelta):
        raise ValueError(
            f"Invalid {what} in step {step}. Received: {value!r}. "
            'Expected: such as "90 seconds", "2 hours", "1 day", or a timedelta.'
        )
    return value // datetime.timedelta(microseconds=1)


def sequences_of(schema: Schema, step: str) -> list[SequenceField]:
    found = [field for field in schema if isinstance(field, SequenceField)]
    if not found:
        raise ValueError(
            f"No sequences for {step}. Received: columns {schema.names}. Expected: sequences; toSequences makes them."
        )
    return found


def sequence_of(schema: Schema, step: str, name: str, *types: type[kinds.Field]) -> SequenceField:
    (field,) = schema.require(step, [name], SequenceField, expected="a sequence; toSequences makes them")
    Schema([field.element.named(name)]).require(step, [name], *types)
    return field


def _numeric_array(field: SequenceField) -> Column:
    """A sequence as numbers, times in microseconds."""
    if isinstance(field.element, kinds.NumberField):
        return reference(field.name)
    return F.transform(reference(field.name), lambda step: microseconds(field.element, step))


@registered("toSequences")
class ToSequences(Step):
    by: tuple[str, ...]
    orderBy: tuple[str, ...]

    def schema_after(self, schema: Schema) -> Schema:
        if not self.by or not self.orderBy:
            raise ValueError(
                f"No keys or no order in {self.label}. Received: by={self.by}, orderBy={self.orderBy}. "
                "Expected: one column or more each."
            )
        keys = schema.require(self.label, self.by, *ORDERED)
        schema.without(self.by).require(self.label, self.orderBy, *ORDERED)
        values = self._values(schema)
        simple = (*ORDERED, ArrayField, kinds.BinaryField)
        schema.require(self.label, values.names, *simple, expected="a column that rows can be ordered by, or an array")
        return Schema([*keys, *(SequenceField(field.name, element=field, nullable=False) for field in values)])

    def _values(self, schema: Schema) -> Schema:
        return Schema([field for field in schema if field.name in schema.known and field.name not in self.by])

    def apply(self, dataset: DataFrame, schema: Schema) -> DataFrame:
        values = self._values(schema).names
        names = [*self.orderBy, *(name for name in values if name not in self.orderBy)]
        # Positions instead of names, which may hold dots.
        struct = F.struct(*[reference(name).alias(f"c{index}") for index, name in enumerate(names)])
        steps = F.sort_array(F.collect_list(struct)).alias("steps")
        grouped = dataset.groupBy(*map(reference, self.by)).agg(steps)
        arrays = [F.col(f"steps.c{names.index(name)}").alias(name) for name in values]
        return grouped.select(*map(reference, self.by), *arrays)


class _Cut(Step):
    """A step that replaces each row by the slices of its sequences."""

    def _starts(self, schema: Schema, size: Column) -> Column:
        """Array of the positions, from 0, at which slices start."""
        raise NotImplementedError

    def _lengths(self, starts: Column, size: Column) -> Column:
        """Array of structs with start and length."""

        def slices(starts: Column) -> Column:
            def until_next(start: Column, index: Column) -> Column:
                end = F.coalesce(F.get(starts, index + 1), size)
                return F.struct(start.alias("start"), (end - start).alias("length"))

            return F.transform(starts, until_next)

        return let(starts, slices)

    def _length(self, before: int | None) -> int | None:
        """Length of the slices, where it is known."""
        return None

    def schema_after(self, schema: Schema) -> Schema:
        fields = sequences_of(schema, self.label)
        return schema.replaced({f.name: dataclasses.replace(f, length=self._length(f.length)) for f in fields})

    def apply(self, dataset: DataFrame, schema: Schema) -> DataFrame:
        fields = sequences_of(schema, self.label)
        size = F.size(reference(fields[0].name))
        slices = self._lengths(self._starts(schema, size), size)
        cut = dataset.select("*", F.explode(slices).alias(_SLICES))
        start, length = F.col(f"{_SLICES}.start"), F.col(f"{_SLICES}.length")
        sequences = {field.name for field in fields}
        return cut.select(
            *[
                F.slice(reference(name), start + 1, length).alias(name) if name in sequences else reference(name)
                for name in schema.names
            ]
        )


def all_positions(size: Column, step: int = 1) -> Column:
    """0, step, 2·step … below size; none for an empty sequence."""
    return F.when(size > 0, F.sequence(F.lit(0), F.greatest(size - 1, F.lit(0)), F.lit(step))).otherwise(
        F.array().cast("array<int>")
    )


@registered("splitByLength")
class SplitByLength(_Cut):
    length: int
    equal: bool = False

    label = "step splitSequences"

    def _starts(self, schema: Schema, size: Column) -> Column:
        if not self.equal:
            return all_positions(size, self.length)
        parts = F.ceil(size / self.length).cast("int")
        shorter = F.floor(size / F.greatest(parts, F.lit(1))).cast("int")
        return F.transform(all_positions(parts), lambda part: part * shorter + F.least(part, size - parts * shorter))

    def __str__(self) -> str:
        return f"splitSequences(length={self.length}{', equal=True' if self.equal else ''})"


@registered("splitByGap")
class SplitByGap(_Cut):
    on: str
    gap: float
    ofTime: bool = False

    label = "step splitSequences"

    def schema_after(self, schema: Schema) -> Schema:
        sequences_of(schema, self.label)
        types = (kinds.TimeField, kinds.DateField) if self.ofTime else (kinds.NumberField,)
        sequence_of(schema, self.label, self.on, *types)
        return super().schema_after(schema)

    def _starts(self, schema: Schema, size: Column) -> Column:
        placed = F.transform(
            _numeric_array(schema.field(self.on, SequenceField)),
            lambda value, index: F.struct(value.alias("v"), index.alias("i")),
        )
        # A gap may lie around a step whose value is missing.
        known = F.filter(placed, lambda step: step["v"].isNotNull() & ~F.isnan(step["v"].cast("double")))
        count = F.size(known)
        # Pairs of neighbours, each the later one's position if a sequence begins there.
        begins = F.zip_with(
            F.slice(known, F.lit(2), count), F.slice(known, F.lit(1), F.greatest(count - 1, F.lit(0))), self._begins
        )
        return F.concat(all_positions(F.least(size, F.lit(1))), F.filter(begins, lambda index: index.isNotNull()))

    def _begins(self, later: Column, earlier: Column) -> Column:
        # A difference too large for a long is null.
        grows = F.coalesce(F.try_subtract(later["v"], earlier["v"]) > F.lit(self.gap), later["v"] > earlier["v"])
        return F.when(grows, later["i"])

    def __str__(self) -> str:
        gap = f"'{self.gap / 1e6:g} seconds'" if self.ofTime else self.gap
        return f"splitSequences(gap={gap}, on={self.on!r})"


@registered("windows")
class Windows(_Cut):
    length: int
    step: int = 1

    def _starts(self, schema: Schema, size: Column) -> Column:
        return all_positions(size - (self.length - 1), self.step)

    def _lengths(self, starts: Column, size: Column) -> Column:
        length = F.lit(self.length)
        return F.transform(starts, lambda start: F.struct(start.alias("start"), length.alias("length")))

    def _length(self, before: int | None) -> int | None:
        return self.length
