"""Times as texts, and the formats of texts that are taken for times on request."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

from pyspark.sql import Column
from pyspark.sql import functions as F
from typing_extensions import Self

from spark_keras.preparation import fields as kinds
from spark_keras.preparation.clock import microseconds, wall_clock
from spark_keras.preparation.registry import registered
from spark_keras.preparation.schema import Schema
from spark_keras.preparation.step import AddsSteps, Step

_MONTHS = "January February March April May June July August September October November December".split()
_DAYS = "Monday Tuesday Wednesday Thursday Friday Saturday Sunday".split()


_DATES = ("yyyy-MM-dd", "yyyy/MM/dd", "yyyy.MM.dd", "yyyyMMdd", "dd.MM.yyyy", "d MMM yyyy", "MMM d, yyyy")
_CLOCK = "['T'][ ]HH:mm[:ss][.SSSSSSSSS][,SSSSSSSSS]"
# Formats that only one reading fits; 01/02/2020 is a day in January or in February, so it is none of them.
GUESSED = tuple(pattern for date in _DATES for pattern in (f"{date}[{_CLOCK}]", f"{date}{_CLOCK}[ ]XXX"))


class TimeTextSteps(AddsSteps):
    """Methods of a transform process; each returns a new process. A null stays null."""

    def formatTime(self, column: str, output: str, pattern: str) -> Self:
        """Adds a column with times or dates as texts, in the calendar of their own time zone.

        Args:
            output: the new column, or the old one to replace it.
            pattern: a datetime pattern as Spark has it, such as "yyyy-MM-dd HH:mm:ss.SSS". Its letters are y, M, d, D,
                Q, E, H, h, a, m, s, S, VV (the zone's name) and XXX or xxx (its offset); names of months and days are
                English; literal text stands between quotes '.
        """
        return self.add(FormatTime(column, output, pattern))


def _padded(number: Column, width: int) -> Column:
    text = number.cast("string")
    return F.when(F.length(text) < width, F.lpad(text, width, "0")).otherwise(text)


def _named(names: list[str], short: bool) -> Callable[[Column], Column]:
    """A name by its number from 1."""
    array = F.array(*[F.lit(name[:3] if short else name) for name in names])
    return lambda number: F.get(array, number - 1)


def _number(part: Callable[[Column], Column]) -> Callable[[kinds.Field, int], Column]:
    return lambda field, width: _padded(part(wall_clock(field)), width)


def _name(part: Callable[[Column], Column], names: list[str]) -> Callable[[kinds.Field, int], Column]:
    return lambda field, width: _named(names, width < 4)(part(wall_clock(field)))


def _year(field: kinds.Field, width: int) -> Column:
    year = F.year(wall_clock(field))
    return _padded(F.pmod(year, F.lit(100)), 2) if width == 2 else _padded(year, width)


def _fraction(field: kinds.Field, width: int) -> Column:
    micros = F.lpad(F.pmod(microseconds(field), F.lit(1_000_000)).cast("string"), 6, "0")
    return F.substring(F.rpad(micros, 9, "0"), 1, width)


def _offset(field: Any, zero: str | None) -> Column:
    wall = microseconds(kinds.TimeField(field.name, None), wall_clock(field))
    minutes = ((wall - microseconds(field)) / F.lit(60_000_000)).cast("int")
    sign = F.when(minutes < 0, F.lit("-")).otherwise(F.lit("+"))
    hours = _padded(F.floor(F.abs(minutes) / 60), 2)
    text = F.concat(sign, hours, F.lit(":"), _padded(F.abs(minutes) % 60, 2))
    return text if zero is None else F.when(minutes == 0, F.lit(zero)).otherwise(text)


# Letter: (how often it may stand in a row, the text, what a column must have: nothing, a clock, or a zone)
_LETTERS: dict[str, tuple[range, Callable[[Any, int], Column], str]] = {
    "y": (range(1, 7), _year, ""),
    "M": (range(1, 3), _number(F.month), ""),
    "d": (range(1, 3), _number(F.dayofmonth), ""),
    "D": (range(1, 4), _number(F.dayofyear), ""),
    "Q": (range(1, 3), _number(F.quarter), ""),
    "E": (range(1, 5), _name(lambda wall: F.weekday(wall) + 1, _DAYS), ""),
    "H": (range(1, 3), _number(F.hour), "clock"),
    "h": (range(1, 3), _number(lambda wall: F.pmod(F.hour(wall) + 11, F.lit(12)) + 1), "clock"),
    "a": (range(1, 2), lambda field, _: F.when(F.hour(wall_clock(field)) < 12, "AM").otherwise("PM"), "clock"),
    "m": (range(1, 3), _number(F.minute), "clock"),
    "s": (range(1, 3), _number(F.second), "clock"),
    "S": (range(1, 10), _fraction, "clock"),
    "V": (range(2, 3), lambda field, _: F.lit(field.zone), "zone"),
    "X": (range(3, 4), lambda field, _: _offset(field, "Z"), "zone"),
    "x": (range(3, 4), lambda field, _: _offset(field, None), "zone"),
}
_MONTH_NAMES = (range(3, 5), _name(F.month, _MONTHS), "")


def _pieces(pattern: Any) -> list[tuple[str, int]]:
    """(letter, how often it stands there), and ("", …) replaced by (text, 0) for literal text."""
    received = f"Invalid pattern in step formatTime. Received: {pattern!r}"
    if not isinstance(pattern, str) or not pattern:
        raise ValueError(f'{received}. Expected: a pattern such as "yyyy-MM-dd HH:mm:ss".')
    if pattern.count("'") % 2:
        raise ValueError(f"{received}, with a quote that does not end. Expected: literal text between two quotes '.")
    found = []
    for quoted, run, letter, other in re.findall(r"'([^']*)'|(([A-Za-z])\3*)|([^'A-Za-z])", pattern):
        if letter:
            lengths = [*_LETTERS[letter][0]] if letter in _LETTERS else []
            if len(run) not in [*lengths, *(_MONTH_NAMES[0] if letter == "M" else ())]:
                raise ValueError(
                    f"{received}, with {run!r}. Expected: letters such as yyyy MM MMM dd EEE HH hh a mm ss SSS VV XXX; "
                    "literal text between quotes '."
                )
            found.append((letter, len(run)))
        else:
            # Two quotes are one quote.
            found.append((quoted or other or "'", 0))
    return found


@registered("formatTime")
class FormatTime(Step):
    column: str
    output: str
    pattern: str

    def schema_after(self, schema: Schema) -> Schema:
        (field,) = schema.require(self.label, [self.column], kinds.TimeField, kinds.DateField)
        for letter, times in _pieces(self.pattern):
            wanted = _LETTERS[letter][2] if times else ""
            has_clock = isinstance(field, kinds.TimeField)
            if (wanted == "clock" and not has_clock) or (wanted == "zone" and getattr(field, "zone", None) is None):
                expected = f"a time{' with a zone' if wanted == 'zone' else ''}"
                raise kinds.unfit(self.label, field, expected, f", of which {letter * times!r} is wanted")
        return schema.made(self.label, kinds.StringField(self.output, nullable=field.nullable), self.column)

    def expressions(self, schema: Schema) -> dict[str, Column]:
        field = schema[self.column]
        parts = []
        for letter, times in _pieces(self.pattern):
            if not times:
                parts.append(F.lit(letter))
                continue
            _, text, _ = _MONTH_NAMES if letter == "M" and times > 2 else _LETTERS[letter]
            parts.append(text(field, times))
        return {self.output: F.when(microseconds(field).isNotNull(), F.concat(*parts))}
