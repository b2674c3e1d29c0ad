"""Times: parsed, moved, taken apart. Every step reads the calendar in the time zone of the column, never the
session's.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Callable, Mapping
from typing import Any

from pyspark.sql import Column
from pyspark.sql import functions as F
from typing_extensions import Self

from spark_keras.preparation import clock
from spark_keras.preparation import fields as kinds
from spark_keras.preparation.clock import MICROSECONDS
from spark_keras.preparation.records import times, values
from spark_keras.preparation.registry import choice, registered
from spark_keras.preparation.schema import Schema
from spark_keras.preparation.scope import reference
from spark_keras.preparation.step import AddsSteps, RuledStep, Step, choose, mapping_field, pairs
from spark_keras.preparation.steps.time_texts import GUESSED

_DAY = MICROSECONDS["days"]
# Units of the calendar: a day can have 23 or 25 hours.
_CALENDAR = {"days": ("DAY", 1), "weeks": ("DAY", 7), "months": ("MONTH", 1), "years": ("YEAR", 1)}


class TimeSteps(AddsSteps):
    """Methods of a transform process; each returns a new process. A null stays null."""

    def parseTime(
        self, column: str, *formats: str, zone: str | None = "UTC", invalid: str = "error", guess: bool = False
    ) -> Self:
        """Reads a string column as points in time, or as times of no zone.

        Args:
            formats: patterns of Spark such as "yyyy-MM-dd HH:mm:ss.SSS"; the first one that fits a value is taken.
            zone: the time zone of the strings, unless the pattern itself has one (V, z, O, X, x or Z), and of the
                column's calendar afterwards. Of a local time that occurs twice the earlier is meant; one that the
                clock skips is moved by the skipped time. None: the strings are times that belong to no zone.
            invalid: what happens to a string that no pattern fits: "error" (default), or "null";
                `TransformProcess.problems` counts them and gives examples.
            guess: with True, usual formats are tried behind `formats`, of which none may be given: dates such as
                2020-01-31, 2020/01/31, 2020.01.31, 20200131, 31.01.2020, 31 Jan 2020 and Jan 31, 2020, alone or with a
                clock such as 17:05, 17:05:09.25 behind a blank or a T, with an offset such as Z or +02:00 or without.
                Days whose month and day could be taken for each other, such as 01/02/2020, are not guessed.
        """
        if zone is not None:
            kinds.checked_zone("step parseTime", zone)
        if guess:
            formats = (*formats, *(p for p in GUESSED if zone is not None or not _has_zone(p)))
        for pattern in formats:
            _check_time_pattern(pattern)
            if zone is None and _has_zone(pattern):
                raise ValueError(
                    f"Invalid pattern in step parseTime. Received: {pattern!r}, which reads a zone, with "
                    "zone=None. Expected: a zone, because times with one are points in time."
                )
        if not formats:
            raise ValueError(
                'No format in step parseTime. Received: (). Expected: a pattern such as "yyyy-MM-dd HH:mm".'
            )
        return self.add(ParseTime(column, tuple(formats), zone, invalid))

    def epochToTime(self, column: str, unit: str = "seconds", zone: str = "UTC") -> Self:
        """Reads whole numbers as times since 1970-01-01 00:00 UTC, in "seconds" (default) or "milliseconds"."""
        kinds.checked_zone("step epochToTime", zone)
        return self.add(EpochToTime(column, unit, zone))

    def inZone(self, column: str, zone: str) -> Self:
        """Reads the calendar of a time column in another time zone from here on; the points in time stay the same."""
        return self.add(InZone(column, kinds.checked_zone("step inZone", zone)))

    def addTime(self, column: str, amount: int, unit: str) -> Self:
        """Moves times by a whole number of units, forwards or backwards.

        Args:
            unit: "milliseconds", "seconds", "minutes" and "hours" are lengths of time; "days", "weeks", "months" and
                "years" are those of the calendar in the column's time zone, at the same time of day.
        """
        if not isinstance(amount, int) or isinstance(amount, bool):
            raise TypeError(f"Invalid amount in step addTime. Received: {amount!r}. Expected: a whole number.")
        return self.add(AddTime(column, amount, unit))

    def timeDifference(self, output: str, end: str, start: str, unit: str = "seconds") -> Self:
        """Adds a column with end − start as a double, in "milliseconds", "seconds" (default), "minutes", "hours" or
        "days" (of 24 hours).
        """
        return self.add(TimeDifference(output, end, start, unit))

    def deriveTime(self, column: str, parts: Mapping[str, str]) -> Self:
        """Adds columns with parts of a time or date, right behind it: `deriveTime("time", {"hour of day": "hour"})`.

        Args:
            parts: the new columns and their part: "year", "quarter", "month", "week" (ISO), "day", "dayOfYear",
                "dayOfWeek" (Monday is 1), "hour", "minute", "second", "millisecond" and "secondOfDay" as integers,
                "date" as a date, "epochSeconds" and "epochMilliseconds" (rounded down) as longs.
        """
        given = pairs("deriveTime", parts, '{"new column": "part"}')
        for _, part in given:
            choose("deriveTime", "part", part, PARTS)
        return self.add(DeriveTime(column, given))


def _check_time_pattern(pattern: Any) -> None:
    received = f"Invalid pattern in step parseTime. Received: {pattern!r}"
    if not isinstance(pattern, str) or not pattern.strip():
        raise ValueError(f'{received}. Expected: a pattern such as "yyyy-MM-dd HH:mm:ss".')
    if pattern.count("'") % 2:
        raise ValueError(f"{received}, with a quote that does not end. Expected: literal text between two quotes '.")
    letters = re.sub(r"'[^']*'", "", pattern)
    unknown = sorted(set(re.findall("[A-Za-z]", letters)) - set("GyDMLdQqEFahKkHmsSVzOXxZ"))
    if unknown:
        raise ValueError(
            f"{received}, with the letters {unknown}. Expected: letters of Spark's datetime patterns, such as yyyy "
            "MM dd HH mm ss SSS; literal text between quotes '."
        )
    if letters.count("[") != letters.count("]"):
        raise ValueError(f"{received}, with a bracket that does not end. Expected: optional parts between [ and ].")


def _has_zone(pattern: str) -> bool:
    return re.search("[VzOXxZ]", re.sub(r"'[^']*'", "", pattern)) is not None


# --- steps -----------------------------------------------------------------------------------------------------------


@registered("parseTime")
class ParseTime(RuledStep):
    column: str
    formats: tuple[str, ...]
    zone: str | None = "UTC"
    invalid: str = choice(("error", "null"), "rule `invalid`", default="error")

    def schema_after(self, schema: Schema) -> Schema:
        (field,) = schema.require(self.label, [self.column], kinds.StringField)
        return schema.replaced({self.column: kinds.TimeField(self.column, self.zone, nullable=self.may_be_null(field))})

    def expected(self, column: str) -> str:
        return f"a time as {' or '.join(self.formats)}"

    def results(self, schema: Schema) -> dict[str, Column]:
        value = reference(self.column)
        legacy = clock.has_legacy_parser()
        tries = []
        for pattern in self.formats:
            if _has_zone(pattern):
                if legacy:
                    _check_legacy_zone(pattern)
                tries.append(F.try_to_timestamp(value, F.lit(pattern)))
            elif legacy or self.zone is None:
                wall = clock.wall_clock_of_text(value, pattern)
                tries.append(wall if self.zone is None else clock.point_in_time(wall, self.zone))
            else:
                # With the zone in the text, Spark does not ask for the session's.
                text = F.concat(value, F.lit(f" {self.zone}"))
                letters = "xxx" if self.zone[0] in "+-" else "VV"
                tries.append(F.try_to_timestamp(text, F.lit(f"{pattern} {letters}")))
        return {self.column: F.coalesce(*tries)}

    def record(self, row: Mapping[str, Any], schema: Schema) -> Mapping[str, Any]:
        text, result = row[self.column], None
        for pattern in self.formats if text is not None else ():
            result = times.parsed(text, pattern, self.zone)
            if result is not None:
                break
        return {self.column: self.value_by_rule(self.column, text, result, self.expected(self.column))}


def _check_legacy_zone(pattern: str) -> None:
    unknown = sorted(set(re.findall("[VOx]", re.sub(r"'[^']*'", "", pattern))))
    if unknown:
        raise ValueError(
            f"Pattern of step parseTime does not fit the session. Received: {pattern!r}, of which the old parser of "
            f"spark.sql.legacy.timeParserPolicy=LEGACY does not know {unknown}. Expected: X or z, or another policy."
        )


@registered("epochToTime")
class EpochToTime(Step):
    column: str
    unit: str = choice(("seconds", "milliseconds"), default="seconds")
    zone: str = "UTC"

    def schema_after(self, schema: Schema) -> Schema:
        (field,) = schema.require(self.label, [self.column], kinds.IntegerField, kinds.LongField)
        return schema.replaced({self.column: kinds.TimeField(self.column, self.zone, nullable=field.nullable)})

    def expressions(self, schema: Schema) -> dict[str, Column]:
        make = F.timestamp_seconds if self.unit == "seconds" else F.timestamp_millis
        return {self.column: make(reference(self.column))}

    def record(self, row: Mapping[str, Any], schema: Schema) -> Mapping[str, Any]:
        value, length = row[self.column], MICROSECONDS[self.unit] * times.MICRO
        return {self.column: None if value is None else values.in_zone(times.EPOCH + value * length, self.zone)}


@registered("inZone")
class InZone(Step):
    column: str
    zone: str

    def schema_after(self, schema: Schema) -> Schema:
        (field,) = schema.require(self.label, [self.column], kinds.TimeField)
        if field.zone is None:
            raise kinds.unfit(self.label, field, "a point in time")
        return schema.replaced({self.column: dataclasses.replace(field, zone=self.zone)})

    def record(self, row: Mapping[str, Any], schema: Schema) -> Mapping[str, Any]:
        value = row[self.column]
        return {self.column: None if value is None else values.in_zone(value, self.zone)}


@registered("addTime")
class AddTime(Step):
    column: str
    amount: int
    unit: str = choice([*(unit for unit in MICROSECONDS if unit not in _CALENDAR), *_CALENDAR])

    def schema_after(self, schema: Schema) -> Schema:
        (field,) = schema.require(self.label, [self.column], kinds.TimeField)
        # What an interval of Spark can hold: days as microseconds of 64 bits, months as 32 bits.
        most = {"months": 2**31, "years": 2**31 // 12}.get(self.unit, 2**63 // MICROSECONDS.get(self.unit, 7 * _DAY))
        if abs(self.amount) >= most:
            raise ValueError(
                f"Invalid amount in {self.label}. Received: {self.amount} {self.unit}. Expected: less than {most}."
            )
        if field.minimum is None and field.maximum is None:
            return schema
        return schema.replaced({self.column: dataclasses.replace(field, minimum=None, maximum=None)})

    def expressions(self, schema: Schema) -> dict[str, Column]:
        field = schema.field(self.column, kinds.TimeField)
        if self.unit in _CALENDAR:
            unit, times = _CALENDAR[self.unit]
            interval = F.expr(f"INTERVAL '{self.amount * times}' {unit}")
            return {self.column: clock.moved_by_calendar(field, interval)}
        if field.zone is None:
            seconds = self.amount * MICROSECONDS[self.unit] / 1_000_000
            return {self.column: reference(self.column) + F.expr(f"INTERVAL '{seconds:.3f}' SECOND")}
        moved = clock.microseconds(field) + F.lit(self.amount * MICROSECONDS[self.unit])
        return {self.column: F.timestamp_micros(moved)}

    def record(self, row: Mapping[str, Any], schema: Schema) -> Mapping[str, Any]:
        value, zone = row[self.column], schema.field(self.column, kinds.TimeField).zone
        if value is None:
            return {self.column: None}
        if self.unit in _CALENDAR:
            return {self.column: times.moved_by_calendar(value, self.amount, self.unit, zone)}
        length = self.amount * MICROSECONDS[self.unit] * times.MICRO
        if zone is None:
            return {self.column: value + length}
        return {self.column: values.in_zone(value.astimezone(values.UTC) + length, zone)}


@registered("timeDifference")
class TimeDifference(Step):
    output: str
    end: str
    start: str
    unit: str = choice(MICROSECONDS, default="seconds")

    def schema_after(self, schema: Schema) -> Schema:
        end, start = schema.require(self.label, [self.end, self.start], kinds.TimeField, kinds.DateField)
        if type(end) is not type(start) or (getattr(end, "zone", "") is None) != (getattr(start, "zone", "") is None):
            raise ValueError(
                f"Columns of {self.label} do not fit each other. Received: {end} and {start}. "
                "Expected: two points in time, two times without zone, or two dates."
            )
        return schema.made(self.label, kinds.DoubleField(self.output, nullable=end.nullable or start.nullable))

    def expressions(self, schema: Schema) -> dict[str, Column]:
        difference = clock.microseconds(schema[self.end]) - clock.microseconds(schema[self.start])
        return {self.output: difference / F.lit(float(MICROSECONDS[self.unit]))}

    def record(self, row: Mapping[str, Any], schema: Schema) -> Mapping[str, Any]:
        end, start = row[self.end], row[self.start]
        if end is None or start is None:
            return {self.output: None}
        return {self.output: (times.microseconds(end) - times.microseconds(start)) / float(MICROSECONDS[self.unit])}


def _integer(
    low: int | None, high: int | None, part: Callable[[Column], Column], of_value: Callable[[Any], int]
) -> Any:
    def field_of(name: str) -> kinds.Field:
        return kinds.IntegerField(name, minimum=low, maximum=high)

    return field_of, lambda field: part(clock.wall_clock(field)), of_value


def _second_of_day(wall: Column) -> Column:
    return F.hour(wall) * 3600 + F.minute(wall) * 60 + F.second(wall)


def _whole(value: Column, divisor: int) -> Column:
    """A bigint over a whole number, rounded down; a division by doubles would round up far from 1970."""
    return F.round((value - F.pmod(value, F.lit(divisor))) / divisor).cast("bigint")


# Part: (the column that comes out, its value, that of a time or date of Python). Dates have none of the clock.
_CLOCK: dict[str, Any] = {
    "hour": _integer(0, 23, F.hour, lambda t: t.hour),
    "minute": _integer(0, 59, F.minute, lambda t: t.minute),
    "second": _integer(0, 59, F.second, lambda t: t.second),
    "millisecond": (
        lambda name: kinds.IntegerField(name, minimum=0, maximum=999),
        lambda field: F.floor(F.pmod(clock.microseconds(field), F.lit(1_000_000)) / 1000),
        lambda t: t.microsecond // 1000,
    ),
    "secondOfDay": _integer(0, 86_399, _second_of_day, lambda t: t.hour * 3600 + t.minute * 60 + t.second),
}
PARTS: dict[str, Any] = {
    "year": _integer(None, None, F.year, lambda t: t.year),
    "quarter": _integer(1, 4, F.quarter, lambda t: (t.month + 2) // 3),
    "month": _integer(1, 12, F.month, lambda t: t.month),
    "week": _integer(1, 53, F.weekofyear, lambda t: t.isocalendar()[1]),
    "day": _integer(1, 31, F.dayofmonth, lambda t: t.day),
    "dayOfYear": _integer(1, 366, F.dayofyear, lambda t: t.timetuple().tm_yday),
    "dayOfWeek": _integer(1, 7, lambda wall: F.weekday(wall) + 1, lambda t: t.isoweekday()),
    "date": (kinds.DateField, lambda field: clock.wall_clock(field).cast("date"), times.day),
    "epochSeconds": (
        kinds.LongField,
        lambda field: _whole(clock.microseconds(field), 1_000_000),
        lambda t: times.microseconds(t) // 1_000_000,
    ),
    "epochMilliseconds": (
        kinds.LongField,
        lambda field: _whole(clock.microseconds(field), 1_000),
        lambda t: times.microseconds(t) // 1_000,
    ),
    **_CLOCK,
}


@registered("deriveTime")
class DeriveTime(Step):
    column: str
    parts: tuple[tuple[str, str], ...] = mapping_field()

    def schema_after(self, schema: Schema) -> Schema:
        (field,) = schema.require(self.label, [self.column], kinds.TimeField, kinds.DateField)
        schema.require_new(self.label, [name for name, _ in self.parts])
        of_clock = [part for _, part in self.parts if part in _CLOCK]
        if isinstance(field, kinds.DateField) and of_clock:
            raise kinds.unfit(self.label, field, "a time", f", of which {of_clock} are wanted")
        made = [dataclasses.replace(PARTS[part][0](name), nullable=field.nullable) for name, part in self.parts]
        return schema.inserted(self.column, made)

    def expressions(self, schema: Schema) -> dict[str, Column]:
        return {name: PARTS[part][1](schema[self.column]) for name, part in self.parts}

    def record(self, row: Mapping[str, Any], schema: Schema) -> Mapping[str, Any]:
        value = row[self.column]
        return {name: None if value is None else PARTS[part][2](value) for name, part in self.parts}
