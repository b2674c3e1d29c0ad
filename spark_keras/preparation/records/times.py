"""Times of one record: parsed, moved, taken apart."""

from __future__ import annotations

import datetime
import functools
import re
from typing import Any

from spark_keras.preparation import fields as kinds
from spark_keras.preparation.clock import MICROSECONDS
from spark_keras.preparation.records.steps import Row, by_rule, changed
from spark_keras.preparation.records.values import UTC, in_zone, zone_of
from spark_keras.preparation.schema import Schema
from spark_keras.preparation.steps import time

_EPOCH = datetime.datetime(1970, 1, 1, tzinfo=UTC)
_MICRO = datetime.timedelta(microseconds=1)
# Runs of a letter in a pattern: what they read, as a regular expression; one alone takes one or two digits.
_LETTERS = {"y": "year", "M": "month", "d": "day", "H": "hour", "m": "minute", "s": "second"}


@functools.lru_cache
def _reader(pattern: str) -> re.Pattern[str]:
    """A regular expression of a pattern of Spark; a `ValueError` where only Spark can read it."""
    text = ""
    for found in re.finditer(r"'((?:[^']|'')*)'|([A-Za-z])\2*|\[|\]|.", pattern, re.DOTALL):
        run, letter = found[0], found[2]
        if letter is None:
            plain = (found[1].replace("''", "'") or "'") if found[1] is not None else run
            text += {"[": "(?:", "]": ")?"}.get(run, re.escape(plain))
        elif letter in _LETTERS and (len(run) <= 2 if letter != "y" else len(run) == 4):
            text += f"(?P<{_LETTERS[letter]}>" + ("[0-9]{1,2}" if len(run) == 1 else f"[0-9]{{{len(run)}}}") + ")"
        elif letter == "S" and len(run) <= 9:
            text += f"(?P<fraction>[0-9]{{1,{len(run)}}})" if len(run) > 1 else "(?P<fraction>[0-9])"
        elif run == "XXX":
            text += "(?P<offset>Z|[+-][0-9]{2}:[0-9]{2})"
        else:
            raise ValueError(
                f"Pattern has no form for one record. Received: {pattern!r}, with {run!r}. "
                "Expected: yyyy, MM, dd, HH, mm, ss, S, XXX, text between quotes; Spark reads the others."
            )
    return re.compile(text)


def _parsed(text: str, pattern: str, zone: str | None) -> datetime.datetime | None:
    found = _reader(pattern).fullmatch(text)
    if not found:
        return None
    parts = found.groupdict()
    given = {name: int(parts[name]) for name in _LETTERS.values() if parts.get(name)}
    micros = int(((parts.get("fraction") or "") + "000000")[:6])
    try:
        day = datetime.date(given.get("year", 1970), given.get("month", 1), given.get("day", 1))
        clock = datetime.time(given.get("hour", 0), given.get("minute", 0), given.get("second", 0), micros)
        wall = datetime.datetime.combine(day, clock)
    except ValueError:
        return None
    if zone is None:
        return wall
    offset = parts.get("offset")
    if offset:
        wall = wall.replace(tzinfo=UTC if offset == "Z" else zone_of(offset))
    return in_zone(wall, zone)


@changed.register
def _(step: time.ParseTime, row: Row, _schema: Schema) -> Row:
    text, result = row[step.column], None
    for pattern in step.formats if text is not None else ():
        result = _parsed(text, pattern, step.zone)
        if result is not None:
            break
    return {
        step.column: by_rule(step.invalid, step, step.column, text, result, f"a time as {' or '.join(step.formats)}")
    }


@changed.register
def _(step: time.EpochToTime, row: Row, _schema: Schema) -> Row:
    value = row[step.column]
    length = 1_000_000 if step.unit == "seconds" else 1_000
    return {step.column: None if value is None else in_zone(_EPOCH + value * length * _MICRO, step.zone)}


@changed.register
def _(step: time.InZone, row: Row, _schema: Schema) -> Row:
    value = row[step.column]
    return {step.column: None if value is None else in_zone(value, step.zone)}


@changed.register
def _(step: time.AddTime, row: Row, schema: Schema) -> Row:
    value, zone = row[step.column], schema.field(step.column, kinds.TimeField).zone
    if value is None:
        return {step.column: None}
    if step.unit not in ("days", "weeks", "months", "years"):
        length = step.amount * MICROSECONDS[step.unit] * _MICRO
        return {step.column: value + length if zone is None else in_zone(value.astimezone(UTC) + length, zone)}
    wall = value.replace(tzinfo=None)
    if step.unit in ("days", "weeks"):
        wall += datetime.timedelta(**{step.unit: step.amount})
    else:
        wall = _months_later(wall, step.amount * (12 if step.unit == "years" else 1))
    if zone is None:
        return {step.column: wall}
    # The same offset from UTC, where the clock shows that time with it.
    kept = in_zone((wall - value.utcoffset()).replace(tzinfo=UTC), zone)
    return {step.column: kept if kept.replace(tzinfo=None) == wall else in_zone(wall, zone)}


def _months_later(wall: datetime.datetime, months: int) -> datetime.datetime:
    """The same day of another month, or its last one."""
    year, month = divmod(wall.year * 12 + wall.month - 1 + months, 12)
    following = datetime.date(year + (month + 1) // 12, (month + 1) % 12 + 1, 1)
    last = (following - datetime.timedelta(days=1)).day
    return wall.replace(year=year, month=month + 1, day=min(wall.day, last))


def _micros(value: Any) -> int:
    """Microseconds since 1970-01-01 00:00 UTC; of a time without zone, or a date, as if in UTC."""
    if not isinstance(value, datetime.datetime):
        value = datetime.datetime(value.year, value.month, value.day)
    return ((value if value.tzinfo is not None else value.replace(tzinfo=UTC)) - _EPOCH) // _MICRO


@changed.register
def _(step: time.TimeDifference, row: Row, _schema: Schema) -> Row:
    end, start = row[step.end], row[step.start]
    if end is None or start is None:
        return {step.output: None}
    return {step.output: (_micros(end) - _micros(start)) / float(MICROSECONDS[step.unit])}


_PARTS = {
    "year": lambda t: t.year,
    "quarter": lambda t: (t.month + 2) // 3,
    "month": lambda t: t.month,
    "week": lambda t: t.isocalendar()[1],
    "day": lambda t: t.day,
    "dayOfYear": lambda t: t.timetuple().tm_yday,
    "dayOfWeek": lambda t: t.isoweekday(),
    "hour": lambda t: t.hour,
    "minute": lambda t: t.minute,
    "second": lambda t: t.second,
    "millisecond": lambda t: t.microsecond // 1000,
    "secondOfDay": lambda t: t.hour * 3600 + t.minute * 60 + t.second,
    "date": lambda t: t.date() if isinstance(t, datetime.datetime) else t,
    "epochSeconds": lambda t: _micros(t) // 1_000_000,
    "epochMilliseconds": lambda t: _micros(t) // 1_000,
}


@changed.register
def _(step: time.DeriveTime, row: Row, _schema: Schema) -> Row:
    value = row[step.column]
    unknown = [part for _, part in step.parts if part not in _PARTS]
    if unknown:
        raise NotImplementedError(
            f"Part of a time has no form for one record. Received: {unknown}. Expected: {list(_PARTS)}."
        )
    return {name: None if value is None else _PARTS[part](value) for name, part in step.parts}
