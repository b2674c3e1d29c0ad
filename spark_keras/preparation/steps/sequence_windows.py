"""Windows over time: the time steps of a sequence that lie in the same hour, day …"""

from __future__ import annotations

import dataclasses
import datetime

from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F
from typing_extensions import Self

from spark_keras.preparation import fields as kinds
from spark_keras.preparation.array_fields import SequenceField
from spark_keras.preparation.clock import clock_at, microseconds, point_in_time, wall_clock
from spark_keras.preparation.registry import registered
from spark_keras.preparation.schema import Schema
from spark_keras.preparation.scope import let
from spark_keras.preparation.step import AddsSteps
from spark_keras.preparation.steps.in_sequences import in_each_step, taken
from spark_keras.preparation.steps.sequences import SequenceStep, all_positions, duration, sequence_of, sequences_of

_DAY = 86_400_000_000
_TIMES, _START, _POSITIONS = "_spark_keras_times", "_spark_keras_start", "_spark_keras_positions"


class SequenceWindowSteps(AddsSteps):
    """Methods of a transform process; each returns a new process."""

    def timeWindows(
        self,
        length: str | datetime.timedelta,
        on: str,
        every: str | datetime.timedelta | None = None,
        offset: str | datetime.timedelta | None = None,
        start: str | None = None,
        end: str | None = None,
        keepEmpty: bool = False,
    ) -> Self:
        """Replaces each sequence by its windows of time: the time steps with start ≤ time < start + `length`.

            process.timeWindows("1 hour", on="at", every="15 minutes", start="from").reduceSequences(
                mean=col("load").mean()
            )

        Args:
            length: of a window: a timedelta, or a text such as "90 seconds", "1 hour", "1 day".
            on: the sequence column of times or dates; a time step without a time is in no window.
            every: how far windows start from each other; by default `length`, so that each time step is in one. Windows
                overlap where it is less.
            offset: windows start so much after whole multiples of `every` since 1970-01-01 00:00 (a Thursday). Where
                `length` and `every` are whole days, that is midnight in the column's time zone, and a day may have 23
                or 25 hours; else it is UTC.
            start: a new column with the start of the window, if wanted.
            end: a new column with its end, if wanted.
            keepEmpty: whether windows without time steps stay, between the first and the last that have some. By
                default they are left out.
        """
        length_ = duration("timeWindows", "length", length)
        every_ = length_ if every is None else duration("timeWindows", "every", every)
        if length_ <= 0 or every_ <= 0:
            raise ValueError(
                f"Invalid window in step timeWindows. Received: length={length!r}, every={every!r}. "
                "Expected: more than no time."
            )
        offset_ = 0 if offset is None else duration("timeWindows", "offset", offset)
        return self.add(TimeWindows(length_, on, every_, offset_, start, end, bool(keepEmpty)))


@registered("timeWindows")
class TimeWindows(SequenceStep):
    """Lengths of time are in microseconds."""

    length: int
    on: str
    every: int
    offset: int = 0
    start: str | None = None
    end: str | None = None
    keepEmpty: bool = False

    def schema_after(self, schema: Schema) -> Schema:
        fields = sequences_of(schema, self.label)
        time = sequence_of(schema, self.label, self.on, kinds.TimeField, kinds.DateField).element
        if isinstance(time, kinds.DateField) and (not self._of_days or self.offset % _DAY):
            field = time.named(self.on)
            raise kinds.unfit(self.label, field, "a time, or windows of whole days", f", and windows of {self}")
        made: dict[str, kinds.Field] = {field.name: dataclasses.replace(field, length=None) for field in fields}
        for name in filter(None, (self.start, self.end)):
            schema.require_new(self.label, [name])
            made[name] = self._bound(time, name)
        if self.start is not None and self.start == self.end:
            raise ValueError(f"Columns of {self.label} have the same name. Received: {self.start!r}, twice.")
        return schema.replaced(made)

    @staticmethod
    def _bound(time: kinds.Field, name: str) -> kinds.Field:
        if not isinstance(time, kinds.TimeField):
            return kinds.DateField(name, nullable=False)
        return kinds.TimeField(name, time.zone, nullable=False)

    @property
    def _of_days(self) -> bool:
        return self.length % _DAY == 0 and self.every % _DAY == 0

    def apply(self, dataset: DataFrame, schema: Schema) -> DataFrame:
        time = schema.field(self.on, SequenceField).element.named(self.on)
        times = in_each_step(schema, lambda: self._microseconds(time))
        known = F.filter(F.col(_TIMES), lambda at: at.isNotNull())
        with_times = dataset.select("*", times.alias(_TIMES))
        starts = with_times.select("*", F.explode(self._starts(known)).alias(_START))
        positions = F.filter(
            all_positions(F.size(_TIMES)),
            lambda p: (F.get(_TIMES, p) >= F.col(_START)) & (F.get(_TIMES, p) < F.col(_START) + F.lit(self.length)),
        )
        return super().apply(starts.select("*", positions.alias(_POSITIONS)), schema)

    def _microseconds(self, time: kinds.Field) -> Column:
        """The time on the axis on which windows are measured."""
        if self._of_days and isinstance(time, kinds.TimeField):
            return microseconds(kinds.TimeField(time.name, None), wall_clock(time))
        return microseconds(time)

    def _last_start(self, at: Column) -> Column:
        """The last window that starts at this time or before it."""
        return at - F.pmod(at - F.lit(self.offset), F.lit(self.every))

    def _starts(self, times: Column) -> Column:
        step = F.lit(self.every).cast("bigint")

        def of_one(at: Column) -> Column:
            first, last = self._last_start(at - F.lit(self.length)) + step, self._last_start(at)
            return F.when(first <= last, F.sequence(first, last, step)).otherwise(F.array().cast("array<bigint>"))

        starts = F.array_distinct(F.flatten(F.transform(times, of_one)))
        if not self.keepEmpty:
            return starts
        return let(
            starts, lambda some: F.when(F.size(some) > 0, F.sequence(F.array_min(some), F.array_max(some), step))
        )

    def expressions(self, schema: Schema) -> dict[str, Column]:
        made = {field.name: taken(field.name, F.col(_POSITIONS)) for field in sequences_of(schema, self.label)}
        time = schema.field(self.on, SequenceField).element
        if self.start is not None:
            made[self.start] = self._as_time(time, F.col(_START))
        if self.end is not None:
            made[self.end] = self._as_time(time, F.col(_START) + F.lit(self.length))
        return made

    def _as_time(self, time: kinds.Field, value: Column) -> Column:
        if not isinstance(time, kinds.TimeField):
            return F.date_from_unix_date(((value - F.pmod(value, F.lit(_DAY))) / F.lit(_DAY)).cast("int"))
        if time.zone is None:
            return clock_at(value, "UTC")
        return point_in_time(clock_at(value, "UTC"), time.zone) if self._of_days else F.timestamp_micros(value)

    def __str__(self) -> str:
        def shown(value: int) -> str:
            return repr(str(datetime.timedelta(microseconds=value)))

        options = [
            *([f"every={shown(self.every)}"] if self.every != self.length else []),
            *([f"offset={shown(self.offset)}"] if self.offset else []),
            *([f"start={self.start!r}"] if self.start is not None else []),
            *([f"end={self.end!r}"] if self.end is not None else []),
            *(["keepEmpty=True"] if self.keepEmpty else []),
        ]
        return f"timeWindows({', '.join([shown(self.length), f'on={self.on!r}', *options])})"
