"""The columns that a schema can have: their Spark types, and what is a valid value.

A check is SQL text over the values that are not null; null is *missing*, not invalid.
"""

from __future__ import annotations

import dataclasses
import datetime
import functools
import math
import operator
import re
import zoneinfo
from collections.abc import Sequence
from typing import Any, ClassVar

from pyspark.sql import Column
from pyspark.sql import functions as F
from pyspark.sql import types as T
from typing_extensions import Self

from spark_keras.preparation import sql_text
from spark_keras.preparation.registry import registered
from spark_keras.preparation.scope import written


@dataclasses.dataclass(frozen=True)
class Field:
    """One column of a `Schema`.

    Args:
        name: the column's name; dots and spaces may be part of it.
        nullable: whether the value may be missing (null).
        label: whether it is a label, which rows that are to be scored need not have.
    """

    name: str
    nullable: bool = dataclasses.field(default=True, kw_only=True)
    label: bool = dataclasses.field(default=False, kw_only=True)

    kind: ClassVar[str]
    # The type of the column in a DataFrame, where it is the same for all fields of the class.
    fixedType: ClassVar[T.DataType]
    # Spark types that hold nothing which this field's own type could not hold.
    narrower: ClassVar[tuple[type, ...]] = ()

    @property
    def sparkType(self) -> T.DataType:
        """The type of the column in a DataFrame."""
        return self.fixedType

    def accepts(self, dataType: T.DataType) -> bool:
        """Tells whether a DataFrame's column of this type can be cast to the field's without loss."""
        return dataType.simpleString() == self.sparkType.simpleString() or isinstance(dataType, self.narrower)

    def check(self, value: str) -> str:
        """SQL text that is true where a value that is not null, given as SQL text, is valid."""
        return sql_text.all_true(self._checks(value))

    def _checks(self, value: str) -> list[str]:
        """Conditions that are all true of a valid value."""
        return []

    def valid(self) -> Column:
        """True where the column's value, if it is not null, is valid."""
        return written(self.name, self.check)

    def named(self, name: str) -> Self:
        """The same field under another name."""
        return dataclasses.replace(self, name=name)

    @property
    def description(self) -> str:
        """The type as it is printed."""
        return self.kind

    def __str__(self) -> str:
        return f"{self.name}: {self.description}{self.marks}"

    @property
    def marks(self) -> str:
        """Marks that are printed behind the description."""
        return f"{'' if self.nullable else ' not null'}{', label' if self.label else ''}"


def _check_order(field: Any, low: str, high: str) -> None:
    least, most = getattr(field, low), getattr(field, high)
    for name, limit in ((low, least), (high, most)):
        expected = sql_text.whole_number_problem(limit)
        if expected and not isinstance(field, FloatingField):
            raise ValueError(f"Invalid {name} of column {field.name!r}. Received: {limit}. Expected: {expected}.")
    if least is not None and most is not None and least > most:
        raise ValueError(
            f"Invalid range of column {field.name!r}. Received: {low}={least}, {high}={most}. Expected: {low} ≤ {high}."
        )


@dataclasses.dataclass(frozen=True)
class _OfLength(Field):
    """A field whose values have a length from `minLength` to `maxLength`, both of them included."""

    minLength: int | None = None
    maxLength: int | None = None

    def __post_init__(self) -> None:
        _check_order(self, "minLength", "maxLength")

    def _checks(self, value: str) -> list[str]:
        return sql_text.in_range(f"length({value})", self.minLength, self.maxLength, sql_text.number_literal)

    @property
    def description(self) -> str:
        return " ".join([self.kind, *_range_text(self.minLength, self.maxLength, "length ")])


@registered("string")
class StringField(_OfLength):
    """Text. `pattern` must match the whole value; lengths are in characters."""

    pattern: str | None = None

    kind: ClassVar[str] = "string"
    fixedType: ClassVar[T.DataType] = T.StringType()

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.pattern is not None:
            checked_pattern(f"column {self.name!r}", self.pattern)

    def _checks(self, value: str) -> list[str]:
        of_pattern = [] if self.pattern is None else [f"{value} RLIKE {sql_text.text_literal(whole(self.pattern))}"]
        return [*super()._checks(value), *of_pattern]

    @property
    def description(self) -> str:
        return super().description + (f" /{self.pattern}/" if self.pattern else "")


class _Ranged(Field):
    """A field whose values lie from `minimum` to `maximum`, both of them included."""

    minimum: Any
    maximum: Any

    # A limit as the column's values are compared with it.
    _literal: ClassVar[staticmethod[[Any], str]] = staticmethod(sql_text.number_literal)

    def _checks(self, value: str) -> list[str]:
        return sql_text.in_range(value, self.minimum, self.maximum, self._literal)

    @property
    def description(self) -> str:
        return " ".join([self.kind, *_range_text(self.minimum, self.maximum)])


@dataclasses.dataclass(frozen=True)
class NumberField(_Ranged):
    """A number; `minimum` and `maximum` are valid themselves."""

    minimum: float | None = None
    maximum: float | None = None

    kind: ClassVar[str] = "number"
    whole: ClassVar[bool] = True

    def __post_init__(self) -> None:
        _check_order(self, "minimum", "maximum")


@registered("integer")
class IntegerField(NumberField):
    """A whole number of 32 bits."""

    kind: ClassVar[str] = "integer"
    fixedType: ClassVar[T.DataType] = T.IntegerType()
    narrower: ClassVar[tuple[type, ...]] = (T.ByteType, T.ShortType)


@registered("long")
class LongField(NumberField):
    """A whole number of 64 bits."""

    kind: ClassVar[str] = "long"
    fixedType: ClassVar[T.DataType] = T.LongType()
    narrower: ClassVar[tuple[type, ...]] = (T.ByteType, T.ShortType, T.IntegerType)


@dataclasses.dataclass(frozen=True)
class FloatingField(NumberField):
    """A number with fractions. NaN and infinity are invalid unless they are allowed."""

    allowNaN: bool = False
    allowInfinite: bool = False

    whole: ClassVar[bool] = False

    def check(self, value: str) -> str:
        # To Spark, NaN is larger than any number: a range would refuse it where it is allowed.
        finite = [] if self.allowInfinite else [f"abs({value}) < {sql_text.number_literal(math.inf)}"]
        number = sql_text.all_true([*super()._checks(value), *finite])
        return f"CASE WHEN isnan({value}) THEN {str(self.allowNaN).lower()} ELSE {number} END"

    @property
    def description(self) -> str:
        allowed = [*(["NaN"] if self.allowNaN else []), *(["infinity"] if self.allowInfinite else [])]
        return super().description + (f" or {', '.join(allowed)}" if allowed else "")


@registered("float")
class FloatField(FloatingField):
    """A floating point number of 32 bits."""

    kind: ClassVar[str] = "float"
    fixedType: ClassVar[T.DataType] = T.FloatType()
    narrower: ClassVar[tuple[type, ...]] = (T.ByteType, T.ShortType)
    # 0.1 as a float is more than 0.1 as a double.
    _literal: ClassVar[staticmethod[[Any], str]] = staticmethod(sql_text.float_literal)


@registered("double")
class DoubleField(FloatingField):
    """A floating point number of 64 bits."""

    kind: ClassVar[str] = "double"
    fixedType: ClassVar[T.DataType] = T.DoubleType()
    narrower: ClassVar[tuple[type, ...]] = (T.ByteType, T.ShortType, T.IntegerType, T.FloatType)


@registered("boolean")
class BooleanField(Field):
    """True or false."""

    kind: ClassVar[str] = "boolean"
    fixedType: ClassVar[T.DataType] = T.BooleanType()


@registered("categorical")
class CategoricalField(Field):
    """One of several strings; the order of `states` gives them their numbers, from 0."""

    states: tuple[str, ...] = ()

    kind: ClassVar[str] = "categorical"
    fixedType: ClassVar[T.DataType] = T.StringType()

    def __post_init__(self) -> None:
        object.__setattr__(self, "states", checked_states(self.name, self.states))

    def check(self, value: str) -> str:
        return f"{value} IN ({', '.join(map(sql_text.text_literal, self.states))})"

    @property
    def description(self) -> str:
        shown = ", ".join(self.states[:6])
        return f"categorical {{{shown}{f', … {len(self.states)} states' if len(self.states) > 6 else ''}}}"


def _check_limits(field: Any, expected: str) -> None:
    of_zone = getattr(field, "zone", None) is not None
    for name in ("minimum", "maximum"):
        limit = getattr(field, name)
        is_time = isinstance(limit, datetime.datetime)
        fits = isinstance(limit, datetime.date) and is_time == isinstance(field, TimeField)
        if limit is not None and not (fits and (limit.tzinfo is not None if is_time else False) == of_zone):
            raise ValueError(f"Invalid {name} of column {field.name!r}. Received: {limit!r}. Expected: {expected}.")
    _check_order(field, "minimum", "maximum")


@registered("time")
class TimeField(_Ranged):
    """A point in time (TIMESTAMP), whose calendar is that of `zone`; with `zone=None` a time of no zone
    (TIMESTAMP_NTZ).

    Columns of texts, and of times of no zone, are read as points in time of `zone`.
    """

    zone: str | None = "UTC"
    minimum: datetime.datetime | None = None
    maximum: datetime.datetime | None = None

    kind: ClassVar[str] = "time"
    _literal: ClassVar[staticmethod[[Any], str]] = staticmethod(sql_text.time_literal)

    def accepts(self, dataType: T.DataType) -> bool:
        of_zone = (T.StringType, T.TimestampNTZType) if self.zone is not None else ()
        return super().accepts(dataType) or isinstance(dataType, of_zone)

    def __post_init__(self) -> None:
        if self.zone is not None:
            checked_zone(f"column {self.name!r}", self.zone)
        _check_limits(self, f"a datetime with{'out' if self.zone is None else ''} a time zone")

    @property
    def sparkType(self) -> T.DataType:
        return T.TimestampNTZType() if self.zone is None else T.TimestampType()

    @property
    def description(self) -> str:
        return " ".join([f"time {self.zone or 'without zone'}", *_range_text(self.minimum, self.maximum)])


@registered("day")
class DateField(_Ranged):
    """A day of the calendar."""

    minimum: datetime.date | None = None
    maximum: datetime.date | None = None

    kind: ClassVar[str] = "date"
    fixedType: ClassVar[T.DataType] = T.DateType()
    _literal: ClassVar[staticmethod[[Any], str]] = staticmethod(sql_text.time_literal)

    def __post_init__(self) -> None:
        _check_limits(self, "a date")


@registered("binary")
class BinaryField(_OfLength):
    """Bytes."""

    kind: ClassVar[str] = "binary"
    fixedType: ClassVar[T.DataType] = T.BinaryType()


# Fields of strings.
TEXT = (StringField, CategoricalField)


def all_of(checks: Sequence[Column]) -> Column:
    """True where each check is."""
    return functools.reduce(operator.and_, checks, F.lit(True))


def unfit(step: str, field: Field, expected: str, but: str = "") -> ValueError:
    """The error of a column whose field does not fit a step; `but` is what is wanted of it."""
    return ValueError(
        f"Column {field.name!r} does not fit {step}. Received: {field.description}{but}. Expected: {expected}."
    )


def wrong_value(step: str, name: str, received: str, expected: str) -> ValueError:
    """The error of a value that a step would put into a column."""
    return ValueError(f"Value does not fit column {name!r} in {step}. Received: {received}. Expected: {expected}.")


def _range_text(least: Any, most: Any, what: str = "") -> list[str]:
    if least is None and most is None:
        return []
    if least is None:
        return [f"{what}≤ {most}"]
    if most is None:
        return [f"{what}≥ {least}"]
    return [f"{what}{least}…{most}"]


# --- as users give them ---


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


def whole(pattern: str) -> str:
    """A pattern that matches whole values only; lines do not end a value."""
    return rf"\A(?:{pattern})\z"


def checked_states(name: str, states: Any) -> tuple[str, ...]:
    """The states of a categorical column: strings, each once."""
    given = tuple(states) if isinstance(states, (list, tuple)) else ()
    if not given or not all(isinstance(state, str) for state in given) or len(set(given)) < len(given):
        raise ValueError(
            f"Invalid states of categorical column {name!r}. Received: {states!r}. "
            "Expected: a list of strings, at least one, each once."
        )
    return given
