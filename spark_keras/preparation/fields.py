"""The columns that a schema can have: their Spark types, and what is a valid value.

A check is a Spark expression over the values that are not null; null is *missing*, not invalid.
"""

from __future__ import annotations

import dataclasses
import math
import re
import zoneinfo
from typing import Any, ClassVar

from pyspark.sql import Column
from pyspark.sql import functions as F
from pyspark.sql import types as T

from spark_keras.preparation.registry import registered


@dataclasses.dataclass(frozen=True)
class Field:
    """One column of a `Schema`.

    Args:
        name: the column's name; dots and spaces may be part of it.
        nullable: whether the value may be missing (null).
    """

    name: str
    nullable: bool = dataclasses.field(default=True, kw_only=True)

    kind: ClassVar[str]
    # Spark types that hold nothing which this field's own type could not hold.
    narrower: ClassVar[tuple[type, ...]] = ()

    @property
    def sparkType(self) -> T.DataType:
        """The type of the column in a DataFrame."""
        raise NotImplementedError

    def accepts(self, dataType: T.DataType) -> bool:
        """Whether a DataFrame's column of this type can be cast to the field's without loss."""
        return dataType.simpleString() == self.sparkType.simpleString() or isinstance(dataType, self.narrower)

    def valid(self, value: Column) -> Column:
        """True where a value that is not null is valid."""
        return F.lit(True)

    def named(self, name: str) -> Field:
        """The same field under another name."""
        return dataclasses.replace(self, name=name)

    @property
    def description(self) -> str:
        """The type as it is printed."""
        return self.kind

    def __str__(self) -> str:
        return f"{self.name}: {self.description}{'' if self.nullable else ' not null'}"


def _check_order(field: Any, low: str, high: str) -> None:
    least, most = getattr(field, low), getattr(field, high)
    if least is not None and most is not None and least > most:
        raise ValueError(
            f"Invalid range of column {field.name!r}. Received: {low}={least}, {high}={most}. Expected: {low} ≤ {high}."
        )


def checked_pattern(what: str, pattern: str) -> str:
    """A regular expression, refused where it cannot be compiled.

    Spark compiles it as a regular expression of Java. Python's are the same but for a few constructs of Java that are
    taken out of the check: ``\\p{…}`` and ``\\Q…\\E``.
    """
    if not isinstance(pattern, str):
        raise TypeError(
            f"Invalid pattern in {what}. Received: {pattern!r}. Expected: a regular expression as a string."
        )
    common = re.sub(r"\\[pP]\{\w+\}", r"\\w", re.sub(r"\\Q.*?\\E", "", pattern))
    try:
        re.compile(common)
    except re.error as error:
        raise ValueError(
            f"Invalid pattern in {what}. Received: {pattern!r}, {error}. Expected: a regular expression."
        ) from error
    return pattern


def checked_zone(what: str, zone: str) -> str:
    """A time zone by its name in the time zone database, or an offset such as "+02:00"."""
    if isinstance(zone, str) and re.fullmatch(r"[+-]\d\d:\d\d", zone):
        return zone
    try:
        zoneinfo.ZoneInfo(zone)
    except (zoneinfo.ZoneInfoNotFoundError, ValueError, TypeError) as error:
        raise ValueError(
            f"Unknown time zone in {what}. Received: {zone!r}. "
            'Expected: a name such as "UTC" or "America/New_York", or an offset such as "+02:00".'
        ) from error
    return zone


@registered("string")
@dataclasses.dataclass(frozen=True)
class StringField(Field):
    """Text. `pattern` must match the whole value; lengths are in characters."""

    minLength: int | None = None
    maxLength: int | None = None
    pattern: str | None = None

    kind: ClassVar[str] = "string"

    def __post_init__(self) -> None:
        _check_order(self, "minLength", "maxLength")
        if self.pattern is not None:
            checked_pattern(f"column {self.name!r}", self.pattern)

    @property
    def sparkType(self) -> T.DataType:
        return T.StringType()

    def valid(self, value: Column) -> Column:
        checks = [*in_range(F.length(value), self.minLength, self.maxLength)]
        if self.pattern is not None:
            checks.append(value.rlike(whole(self.pattern)))
        return all_of(checks)

    @property
    def description(self) -> str:
        parts = _range_text(self.minLength, self.maxLength, "length ")
        return " ".join(["string", *parts, *([f"/{self.pattern}/"] if self.pattern else [])])


def whole(pattern: str) -> str:
    """A pattern that matches whole values only; lines do not end a value."""
    return rf"\A(?:{pattern})\z"


@dataclasses.dataclass(frozen=True)
class NumberField(Field):
    """A number; `minimum` and `maximum` are valid themselves."""

    minimum: float | None = None
    maximum: float | None = None

    kind: ClassVar[str] = "number"
    whole: ClassVar[bool] = True

    def __post_init__(self) -> None:
        _check_order(self, "minimum", "maximum")

    def valid(self, value: Column) -> Column:
        return all_of(in_range(value, self.minimum, self.maximum))

    @property
    def description(self) -> str:
        return " ".join([self.kind, *_range_text(self.minimum, self.maximum)])


@registered("integer")
@dataclasses.dataclass(frozen=True)
class IntegerField(NumberField):
    """A whole number of 32 bits."""

    kind: ClassVar[str] = "integer"
    narrower: ClassVar[tuple[type, ...]] = (T.ByteType, T.ShortType)

    @property
    def sparkType(self) -> T.DataType:
        return T.IntegerType()


@registered("long")
@dataclasses.dataclass(frozen=True)
class LongField(NumberField):
    """A whole number of 64 bits."""

    kind: ClassVar[str] = "long"
    narrower: ClassVar[tuple[type, ...]] = (T.ByteType, T.ShortType, T.IntegerType)

    @property
    def sparkType(self) -> T.DataType:
        return T.LongType()


@dataclasses.dataclass(frozen=True)
class FloatingField(NumberField):
    """A number with fractions. NaN and infinity are invalid unless they are allowed."""

    allowNaN: bool = False
    allowInfinite: bool = False

    whole: ClassVar[bool] = False

    def valid(self, value: Column) -> Column:
        # To Spark, NaN is larger than any number: a range would refuse it where it is allowed.
        number = all_of([*in_range(value, self.minimum, self.maximum), *self._finite(value)])
        return F.when(F.isnan(value), F.lit(self.allowNaN)).otherwise(number)

    def _finite(self, value: Column) -> list[Column]:
        return [] if self.allowInfinite else [F.abs(value) < F.lit(math.inf)]

    @property
    def description(self) -> str:
        allowed = [*(["NaN"] if self.allowNaN else []), *(["infinity"] if self.allowInfinite else [])]
        return super().description + (f" or {', '.join(allowed)}" if allowed else "")


@registered("float")
@dataclasses.dataclass(frozen=True)
class FloatField(FloatingField):
    """A floating point number of 32 bits."""

    kind: ClassVar[str] = "float"
    narrower: ClassVar[tuple[type, ...]] = (T.ByteType, T.ShortType)

    @property
    def sparkType(self) -> T.DataType:
        return T.FloatType()


@registered("double")
@dataclasses.dataclass(frozen=True)
class DoubleField(FloatingField):
    """A floating point number of 64 bits."""

    kind: ClassVar[str] = "double"
    narrower: ClassVar[tuple[type, ...]] = (T.ByteType, T.ShortType, T.IntegerType, T.FloatType)

    @property
    def sparkType(self) -> T.DataType:
        return T.DoubleType()


@registered("boolean")
@dataclasses.dataclass(frozen=True)
class BooleanField(Field):
    """True or false."""

    kind: ClassVar[str] = "boolean"

    @property
    def sparkType(self) -> T.DataType:
        return T.BooleanType()


@registered("categorical")
@dataclasses.dataclass(frozen=True)
class CategoricalField(Field):
    """One of several strings; the order of `states` gives them their numbers, from 0."""

    states: tuple[str, ...] = ()

    kind: ClassVar[str] = "categorical"

    def __post_init__(self) -> None:
        object.__setattr__(self, "states", checked_states(self.name, self.states))

    @property
    def sparkType(self) -> T.DataType:
        return T.StringType()

    def valid(self, value: Column) -> Column:
        return value.isin(list(self.states))

    @property
    def description(self) -> str:
        shown = ", ".join(self.states[:6])
        return f"categorical {{{shown}{f', … {len(self.states)} states' if len(self.states) > 6 else ''}}}"


def checked_states(name: str, states: Any) -> tuple[str, ...]:
    """The states of a categorical column: strings, each once."""
    given = tuple(states) if isinstance(states, (list, tuple)) else ()
    if not given or not all(isinstance(state, str) for state in given) or len(set(given)) < len(given):
        raise ValueError(
            f"Invalid states of categorical column {name!r}. Received: {states!r}. "
            "Expected: a list of strings, at least one, each once."
        )
    return given


@registered("time")
@dataclasses.dataclass(frozen=True)
class TimeField(Field):
    """A point in time (TIMESTAMP), whose calendar is that of `zone`; with `zone=None` a time of no zone
    (TIMESTAMP_NTZ).
    """

    zone: str | None = "UTC"

    kind: ClassVar[str] = "time"

    def __post_init__(self) -> None:
        if self.zone is not None:
            checked_zone(f"column {self.name!r}", self.zone)

    @property
    def sparkType(self) -> T.DataType:
        return T.TimestampNTZType() if self.zone is None else T.TimestampType()

    @property
    def description(self) -> str:
        return f"time {self.zone or 'without zone'}"


@registered("day")
@dataclasses.dataclass(frozen=True)
class DateField(Field):
    """A day of the calendar."""

    kind: ClassVar[str] = "date"

    @property
    def sparkType(self) -> T.DataType:
        return T.DateType()


@registered("binary")
@dataclasses.dataclass(frozen=True)
class BinaryField(Field):
    """Bytes."""

    minLength: int | None = None
    maxLength: int | None = None

    kind: ClassVar[str] = "binary"

    def __post_init__(self) -> None:
        _check_order(self, "minLength", "maxLength")

    @property
    def sparkType(self) -> T.DataType:
        return T.BinaryType()

    def valid(self, value: Column) -> Column:
        return all_of(in_range(F.length(value), self.minLength, self.maxLength))

    @property
    def description(self) -> str:
        return " ".join(["binary", *_range_text(self.minLength, self.maxLength, "length ")])


def all_of(checks: list[Column]) -> Column:
    """True where each check is."""
    result = F.lit(True)
    for check in checks:
        result = result & check
    return result


def in_range(value: Column, least: float | None, most: float | None) -> list[Column]:
    checks = []
    if least is not None:
        checks.append(value >= F.lit(least))
    if most is not None:
        checks.append(value <= F.lit(most))
    return checks


def _range_text(least: Any, most: Any, what: str = "") -> list[str]:
    if least is None and most is None:
        return []
    if least is None:
        return [f"{what}≤ {most}"]
    if most is None:
        return [f"{what}≥ {least}"]
    return [f"{what}{least}…{most}"]
